"""Numbers that stay the same for longer than ever in training are said to."""

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL

from improbable import VAEDetector, WindowCodec, load, load_stream, save
from improbable.data.stuck import FEWEST, longest_runs, runs, stuck_remarks

CODEC = WindowCodec(length=6, time="hour", entity="site", score_of="last")


def readings(n=400, seed=0):
    """Two sites that are read every hour: a load, one rounded to units, a count, and a state."""
    rng = np.random.default_rng(seed)
    parts = [
        pd.DataFrame(
            {
                "hour": np.arange(n),
                "site": site,
                "load": rng.normal(50.0, 1.0, n),
                "units": np.round(rng.normal(50.0, 1.0, n)),
                "pieces": rng.poisson(3.0, n),
                "state": rng.choice(["on", "off"], n),
            }
        )
        for site in ("a", "b")
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def detector():
    return VAEDetector(codec=CODEC, **SMALL).fit(readings())


def odd_readings():
    """Rows of which some stay the same, among gaps, missing cells and doubled hours."""
    rows = readings(80, seed=1).astype({"load": "float64"})
    rows.loc[20:31, "load"] = 50.25
    rows.loc[26, "load"] = np.nan
    rows.loc[40:52, "units"] = 51.0
    rows.loc[40:60, "state"] = "on"
    rows.loc[100:115, "load"] = 49.5
    rows = rows.drop(index=[105, 106])  # a gap ends what stays the same
    again = rows.loc[[110]].assign(load=49.0)  # takes the place of a row of the same hour
    return pd.concat([rows, again]).sort_values(["hour"], kind="stable", ignore_index=True)


def expected_runs(rows, name):
    """Rows up to each one, at the hour before and so on, with the same value, one by one."""
    found, last = {}, {}
    for i, row in rows.iterrows():
        last[row["site"], row["hour"]] = i
        found[i] = 0
    for i, row in rows.iterrows():
        hour, value = row["hour"], row[name]
        n = 1 if value == value else 0
        while n:
            other = last.get((row["site"], hour - n))
            if other is None or rows[name][other] != value:
                break
            n += 1
        found[i] = n
    return np.array([found[i] for i in range(len(rows))])


def test_rows_that_stay_the_same_are_counted(detector):
    rows = odd_readings()
    codec = detector._fitted().codec
    series = codec.read(rows)
    found = runs(series.points, series.timeline, codec.point)[series.timeline.slot]
    last = ~series.timeline.repeated
    for j, name in enumerate(codec.names):
        np.testing.assert_array_equal(found[last, j], expected_runs(rows, name)[last], name)
    training = readings()
    for name, most in zip(codec.names, codec.longest, strict=True):
        assert most == (0 if name == "state" else expected_runs(training, name).max())


def stuck_notes(warnings):
    return [[w for w in str(notes).split("; ") if "stayed" in w] for notes in warnings]


def test_numbers_that_are_stuck_are_said_to_be(detector):
    rows = odd_readings()
    notes = stuck_notes(detector.detect(rows).warnings)
    codec = detector._fitted().codec
    longest = dict(zip(codec.names, codec.longest, strict=True))
    replaced = rows.duplicated(["hour", "site"], keep="last")
    for i in range(len(rows)):
        expected = []
        for name in ("load", "units", "pieces"):
            n = expected_runs(rows, name)[i]
            if n >= FEWEST and n > 2 * longest[name]:
                said = f"{name} has stayed the same for {n} rows, in training for {longest[name]}"
                expected.append(f"{said} at most")
        assert replaced[i] or notes[i] == expected, i
    told = [note for row in notes for note in row]
    assert any("load has stayed the same for 6 rows" in note for note in told)
    assert any("units has stayed" in note for note in told)
    assert not any("state" in note for note in told)


@pytest.mark.parametrize("step", [1, 7, 200])
def test_streams_say_the_same(detector, tmp_path, step):
    rows = odd_readings()
    expected = stuck_notes(detector.detect(rows).warnings)
    stream, found = detector.stream(alpha=0.01), []
    for begin in range(0, len(rows), step):
        told = stream.push(rows[begin : begin + step])
        found += [[w for w in reading.warnings if "stayed" in w] for reading in told]
        if begin <= 46 < begin + step:  # in the middle of a run
            stream.save(tmp_path / "state")
            stream = load_stream(tmp_path / "state", detector)
    replaced = set(np.flatnonzero(rows.duplicated(["hour", "site"], keep="last")))
    for i in set(range(len(rows))) - replaced:
        assert found[i] == expected[i], i


def test_files_keep_how_long_columns_stayed_the_same(detector, tmp_path):
    save(detector, tmp_path / "m")
    again = load(tmp_path / "m")
    rows = odd_readings()
    assert list(again.detect(rows).warnings) == list(detector.detect(rows).warnings)


def test_models_without_that_say_nothing(detector):
    codec = detector._fitted().codec
    record = codec.to_json()
    del record["longest"]
    old = WindowCodec.from_json(record)
    assert old.longest == ()
    rows = odd_readings()
    series = old.read(rows)
    assert not any("stayed" in note for note in old.remarks(old.transform(series), series))


def test_windows_of_one_point_know_the_point_before():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 1))
    codec = WindowCodec(length=1, time=None, score_of="last")
    stream = VAEDetector(codec=codec, **SMALL).fit(rows).stream(adapt=False)
    told = [stream.push([[0.5]])[0].warnings for _ in range(6)]
    assert [len(notes) for notes in told] == [0, 0, 0, 0, 1, 1]
    assert told[5] == ("x0 has stayed the same for 6 rows, in training for 1 at most",)


def test_remarks_ask_for_twice_the_longest_and_five_rows():
    found = np.array([[4, 4, 9], [5, 6, 9], [6, 7, 9]])
    notes = stuck_remarks(found, (1, 3, 0), ("a", "b", "c"))
    assert notes[0] == ""
    assert notes[1] == "a has stayed the same for 5 rows, in training for 1 at most"
    assert "a has" in notes[2]
    assert "; b has stayed the same for 7 rows, in training for 3 at most" in notes[2]
    assert (stuck_remarks(found, (), ("a", "b", "c")) == "").all()


def test_nothing_is_known_of_no_rows(detector):
    codec = detector._fitted().codec
    assert longest_runs(np.zeros((0, 4), dtype=int), codec.point) == (0,) * len(codec.names)
