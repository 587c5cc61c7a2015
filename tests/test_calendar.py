"""What the calendar adds to series: columns of the hour and the weekday."""

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import average_precision_score
from test_cli import fails, run

from improbable import DataError, SchemaError, VAEDetector, WindowCodec, load, save
from improbable.data.calendar import calendar_columns
from improbable.data.frames import read_frame

SMALL = {"n_members": 1, "hidden": (64,), "random_state": 0}
BOTH = ("hour", "weekday")


def loads(n_days, start, seed, odd=()):
    """Hourly values that rise by day, a third as much at the weekend, or on `odd` days."""
    time = pd.date_range(start, periods=24 * n_days, freq="h")
    calm = (time.day_of_week >= 5) ^ np.isin(np.arange(len(time)) // 24, odd)
    noise = np.random.default_rng(seed).normal(size=len(time))
    wave = np.where(calm, 0.3, 1.0) * np.sin(2 * np.pi * (time.hour - 8) / 24)
    return pd.DataFrame({"time": time, "load": wave + 0.1 * noise})


@pytest.fixture(scope="module")
def detector():
    codec = WindowCodec(length=24, calendar=["weekday"])
    return VAEDetector(codec=codec, **SMALL).fit(loads(182, "2026-01-05", 0))


def test_the_calendar_is_that_of_the_datetime_module():
    rng = np.random.default_rng(0)
    stamps = [
        dt.datetime(1931, 1, 1) + dt.timedelta(minutes=int(m)) for m in rng.integers(9e7, size=50)
    ]
    frame = read_frame(pa.table({"t": pa.array(stamps, pa.timestamp("us"))}))
    found = calendar_columns("t", frame.columns["t"], BOTH)
    assert found["t.weekday"].values.tolist() == [f"{s:%A}" for s in stamps]
    np.testing.assert_allclose(found["t.hour"].values, [s.hour + s.minute / 60 for s in stamps])


@pytest.mark.parametrize("as_text", [False, True])
def test_hours_are_those_of_the_clock_on_the_wall(as_text):
    stamps = pd.Series(pd.to_datetime(["2026-01-01 23:30", "2026-07-01 23:30"]))
    aware = stamps.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    frame = read_frame(pd.DataFrame({"t": stamps.astype(str) if as_text else aware}))
    hours = calendar_columns("t", frame.columns["t"], ["hour"])["t.hour"].values
    np.testing.assert_allclose(hours, [23.5, 23.5] if as_text else [8.5, 8.5])


def test_a_workday_like_a_sunday_is_found_by_the_calendar_alone(detector):
    odd = [16, 33, 52, 61]
    new = loads(70, "2026-08-03", 1, odd=odd)
    is_odd = np.isin(np.arange(len(new)) // 24, odd)
    plain = VAEDetector(codec=WindowCodec(length=24), **SMALL).fit(loads(182, "2026-01-05", 0))
    assert average_precision_score(is_odd, -detector.score_samples(new)) > 0.8
    assert average_precision_score(is_odd, -plain.score_samples(new)) < 0.3


def test_what_comes_back_has_the_columns_that_went_in(detector, tmp_path):
    new = loads(3, "2026-08-03", 2)
    new.loc[30:33, "load"] = np.nan
    for found in (detector.reconstruct(new), detector.impute(new)):
        assert list(found.columns) == ["time", "load"]
    assert detector.n_features_in_ == 2
    assert list(detector.feature_names_in_) == ["time", "load"]
    assert "time.weekday" in detector.sample(1).columns
    save(detector, tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.model_.codec.calendar == ("weekday",)
    np.testing.assert_array_equal(again.score_samples(new), detector.score_samples(new))


def test_the_length_is_that_of_the_values_alone():
    codec = WindowCodec(calendar=BOTH).open(loads(60, "2026-01-05", 0))
    assert codec.length == WindowCodec().open(loads(60, "2026-01-05", 0)).length


def test_kinds_of_other_columns_are_kept():
    codec = WindowCodec(length=4, calendar=["hour"], kinds={"load": "positive"})
    fitted = codec.fit(loads(10, "2026-01-05", 0))
    kinds = [type(column.kind).__name__ for column in fitted.modeled]
    assert kinds == ["Positive", "Cyclic"]


@pytest.mark.filterwarnings("ignore:.*share their time:improbable.errors.DataWarning")
@pytest.mark.parametrize(
    ("arguments", "column", "words"),
    [
        ({"calendar": "hour"}, "time", "in a list"),
        ({"calendar": ["year"]}, "time", "some of"),
        ({"calendar": ["hour"], "time": None}, "time", "needs a column of time stamps"),
        ({"calendar": ["hour"], "time": "load"}, "time", "holds numbers"),
        ({"calendar": ["hour"], "kinds": ["positive"]}, "time", "must map names to kinds"),
    ],
)
def test_refusals(arguments, column, words):
    with pytest.raises(DataError, match=words):
        WindowCodec(length=4, **arguments).fit(loads(4, "2026-01-05", 0))


def test_the_command_line_takes_the_calendar(tmp_path):
    loads(60, "2026-01-05", 0).to_csv(tmp_path / "a.csv", index=False)
    few = ("--max-steps", 5, "--members", 1, "--hidden", 8, "-q")
    both = ("--calendar", "hour", "--calendar", "weekday")
    run("fit", tmp_path / "a.csv", "-o", tmp_path / "m", *both, *few)
    run("score", tmp_path / "a.csv", "-m", tmp_path / "m", "-o", tmp_path / "s.csv")
    scored = pd.read_csv(tmp_path / "s.csv")
    whole = load(tmp_path / "m").score_samples(loads(60, "2026-01-05", 0))
    np.testing.assert_allclose(scored["score"], whole, atol=1e-6)
    assert "hour" in run("inspect", tmp_path / "m", "--json")[0]
    assert "some of" in fails("fit", tmp_path / "a.csv", "-o", tmp_path / "x", "--calendar", "day")


def test_the_time_zone_is_that_of_training():
    rows = loads(60, "2026-01-05", 0)
    rows["time"] = rows["time"].dt.tz_localize("Asia/Tokyo")
    few = {**SMALL, "max_steps": 5, "hidden": (8,)}
    detector = VAEDetector(codec=WindowCodec(length=8, calendar=BOTH), **few).fit(rows)
    moved = rows.assign(time=rows["time"].dt.tz_convert("UTC"))
    np.testing.assert_allclose(detector.score_samples(moved), detector.score_samples(rows))
    assert detector.explain(rows[10:11]).values[0, 1] == 10.0


def test_streams_tell_the_calendar_by_themselves():
    rows = loads(30, "2026-01-05", 0)
    codec = WindowCodec(length=6, score_of="last", calendar=BOTH)
    few = {**SMALL, "max_steps": 5, "hidden": (8,)}
    detector = VAEDetector(codec=codec, **few).fit(rows)
    stream = detector.stream(alpha=0.2)
    texts = rows.assign(time=rows["time"].astype(str)).to_dict("records")
    readings = [reading for point in texts[:60] for reading in stream.push(point)]
    np.testing.assert_allclose(
        [reading.score for reading in readings], detector.score_samples(rows)[:60], atol=1e-8
    )
    with pytest.raises(SchemaError, match="none of the columns load"):
        stream.push({"time": "2026-03-01 00:00"})
