"""Numbers that count from 1970 are moments, in seconds or parts of one."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import SMALL
from scipy import stats
from typer.testing import CliRunner

from improbable import Count, Datetime, VAEDetector, load, save
from improbable.cli import app
from improbable.data.frames import read_frame
from improbable.data.inference import infer_kind
from improbable.data.kinds import kind_from_json, kind_to_json
from improbable.errors import DataError

TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
START, DAY = 1_700_000_000, 86_400


def events(n, start=START, seed=0):
    """Moments of irregular events, and a load that follows the hour of the day."""
    rng = np.random.default_rng(seed)
    moments = start + np.cumsum(rng.integers(60, 600, n))
    hour = moments % DAY / 3600.0
    load = 50.0 + 20.0 * np.sin(hour / 24.0 * 2.0 * np.pi) + rng.normal(0.0, 3.0, n)
    return pd.DataFrame({"seen": moments, "load": load, "host": rng.choice(["a", "b", "c"], n)})


def kind_of(values, name="seen", *, named=True):
    column = read_frame(pd.DataFrame({name: values})).columns[name]
    return infer_kind(column, named=named, name=name)


@pytest.mark.parametrize("unit", TICKS)
def test_the_unit_is_told_from_the_numbers(unit):
    moments = events(300).seen.to_numpy() * TICKS[unit]
    assert kind_of(moments) == Datetime(unit=unit)
    assert kind_of(moments, named=False) != Datetime(unit=unit)
    assert kind_of(pa.array(moments, pa.int64()).cast(pa.string()).to_pylist()) != Datetime(
        unit=unit
    )
    if unit != "ns":
        assert kind_of(np.append(moments, np.nan)) == Datetime(unit=unit)
        assert kind_of(moments + 0.5) == Datetime(unit=unit)


def test_fractions_of_seconds_may_be_text():
    words = [f"{moment}.123456" for moment in events(300).seen]
    assert kind_of(words) != Datetime()
    rows = events(300).assign(seen=words)
    assert VAEDetector(**SMALL).fit(rows).kinds_["seen"] == "datetime"


@pytest.mark.parametrize(
    ("values", "name", "kind"),
    [
        (START + np.arange(300) * 5, "seen", "Identifier"),  # as dense as row numbers
        (START + np.arange(300) * 5 + 0.5, "seen", "Datetime"),
        ((START + np.arange(300) * 5) * 1000, "seen", "Datetime"),
        (START + np.arange(300) * 5, "ts", "Datetime"),
        (START + np.arange(300) * 5, "eventTime", "Datetime"),
        (START + np.arange(300) * 5, "Created_At", "Datetime"),
        (START + np.arange(300) * 5, "status", "Identifier"),
        (START + np.arange(300) % 5, "seen", "Count"),  # five of them
        (START + np.arange(300) % 5, "time", "Datetime"),
        (np.full(300, START), "time", "Constant"),
        (np.append(events(300).seen, 0), "time", "Count"),
        (np.append(events(300).seen, 2_000_000_000), "time", "Count"),
        (np.append(events(300).seen, 1_000_000_000), "time", "Datetime"),
        (np.append(events(300).seen, 999_999_999), "time", "Count"),
        (np.append(events(300).seen / 1e4, np.inf), "time", "Real"),
        (np.arange(300) ** 2, "time", "Count"),
        (START + np.arange(300) ** 2 * 2_000, "seen", "Count"),  # of more than five years
        (START + np.arange(300) ** 2 * 2_000, "seenAt", "Datetime"),
        (START + np.arange(300) ** 2 * 1_000, "seen", "Datetime"),
    ],
)
def test_what_else_such_numbers_may_be(values, name, kind):
    assert type(kind_of(values, name)).__name__ == kind


@pytest.mark.parametrize("unit", TICKS)
def test_cells_are_those_of_stamps(unit):
    moments = events(900).seen.to_numpy(dtype=np.float64)
    stamps, numbers = Datetime().fit(moments), Datetime(unit=unit).fit(moments * TICKS[unit])
    later = np.append(moments[:9] + 90 * DAY, [np.nan, moments[0] + 9_000 * DAY])
    wanted, found = stamps.transform(later), numbers.transform(later * TICKS[unit])
    np.testing.assert_allclose(found.values, wanted.values, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found.out_of_range, wanted.out_of_range)
    np.testing.assert_array_equal(found.missing, wanted.missing)
    given = numbers.inverse_transform(found.values[:9])
    np.testing.assert_allclose(given / TICKS[unit], stamps.inverse_transform(wanted.values[:9]))
    again = kind_from_json(kind_to_json(numbers))
    assert again == numbers


@pytest.fixture(scope="module")
def rows():
    return events(3000)


@pytest.fixture(scope="module")
def detector(rows):
    return VAEDetector(**SMALL).fit(rows)


def test_rows_of_the_next_month_are_normal(detector, rows):
    later = events(1500, rows.seen.iloc[-1] + DAY, seed=1)
    p = detector.p_values(later)
    for alpha in (0.05, 0.2):
        least = stats.binom.ppf(0.9999, len(p), alpha) / len(p)
        n = len(detector.model_.held_out)
        slack = 4.0 * np.sqrt(alpha * (1.0 - alpha) / n)
        assert np.mean(p <= alpha) < least + slack
    night = later.assign(load=np.where(later.seen % DAY < DAY / 2, 25.0, 75.0))
    assert np.median(detector.p_values(night)) < 0.1


def test_scores_are_those_of_stamps(detector, rows):
    as_stamps = rows.assign(seen=pd.to_datetime(rows.seen, unit="s"))
    stamped = VAEDetector(**SMALL).fit(as_stamps)
    np.testing.assert_allclose(
        detector.score_samples(rows), stamped.score_samples(as_stamps), atol=1e-6
    )
    found, wanted = (
        one.explain(some.head(20)) for one, some in ((detector, rows), (stamped, as_stamps))
    )
    np.testing.assert_allclose(found.lower[:, 0], wanted.lower[:, 0])
    assert [f"{v}+00:00" for v in wanted.values[:, 0]] == found.values[:, 0].tolist()
    assert [f"{v}+00:00" for v in wanted.expected[:, 0]] == found.expected[:, 0].tolist()


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_they_come_back_as_they_came(rows, tmp_path, unit):
    odd = rows.assign(seen=rows.seen * TICKS[unit] + (7 if unit == "ns" else 0))
    save(VAEDetector(**SMALL).fit(odd), tmp_path / "m.safetensors")
    model = load(tmp_path / "m.safetensors")
    drawn = model.sample(50)
    assert drawn["seen"].dtype == np.int64
    assert 0.9 * START < drawn["seen"].min() / TICKS[unit] < drawn["seen"].max() / TICKS[unit]
    blank = odd.head(40).copy()
    blank["seen"] = blank["seen"].astype("Int64")
    blank.loc[3, "seen"] = pd.NA
    filled = model.impute(blank)
    kept = np.arange(40) != 3
    assert filled["seen"][kept].astype(np.int64).tolist() == odd["seen"].head(40)[kept].tolist()
    assert abs(filled["seen"][3] / TICKS[unit] - START) < 400 * DAY


def test_the_user_says_so(rows):
    few = rows.assign(seen=rows.seen - START).head(200)
    assert VAEDetector(**SMALL).fit(few).kinds_["seen"] == "count"
    told = VAEDetector({"seen": Datetime(unit="s")}, **SMALL).fit(few)
    assert told.explain(few.head(1)).values[0, 0].startswith("1970-01-01T00:")
    bare = VAEDetector({"seen": "datetime"}, **SMALL).fit(rows.head(200))
    assert bare.model_.codec.modeled[0].kind.unit == "s"
    assert VAEDetector({"seen": Count()}, **SMALL).fit(rows.head(200)).kinds_["seen"] == "count"
    with pytest.raises(DataError, match=r"cannot be read as time: \d+\.\d+\. Clean"):
        VAEDetector({"load": "datetime"}, **SMALL).fit(rows)
    with pytest.raises(DataError, match="'min' is no unit of time. Use one of s, ms, us, ns"):
        VAEDetector({"seen": Datetime(unit="min")}, **SMALL).fit(rows)


def test_a_unit_in_a_file_is_checked():
    record = kind_to_json(Datetime(unit="s").fit(events(50).seen.to_numpy(dtype=float)))
    with pytest.raises(ValueError, match="no unit"):
        kind_from_json({**record, "unit": "h"})
    with pytest.raises(ValueError, match="no unit"):
        kind_from_json({**record, "unit": ["s"]})
    del record["unit"]
    assert kind_from_json(record).unit == ""


def test_the_command_line_takes_a_unit(rows, tmp_path):
    rows.assign(seen=rows.seen - START).head(200).to_csv(tmp_path / "a.csv", index=False)
    command = ["fit", str(tmp_path / "a.csv"), "-o", str(tmp_path / "m"), "--max-steps", "5"]
    done = CliRunner().invoke(app, [*command, "--kind", "seen=datetime:s"])
    assert done.exit_code == 0, done.output
    assert "1 datetime" in done.output
    done = CliRunner().invoke(app, [*command, "--kind", "seen=datetime:h"])
    assert "error: Column 'seen': 'h' is no unit of time." in done.output
