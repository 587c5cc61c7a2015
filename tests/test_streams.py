"""Streams: the scores of whole series, point by point; events; and states that go on exactly."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from cases import FLOOR, LIKELIHOOD_CASES, LINK
from conftest import mixed_table
from numpy.testing import assert_allclose
from test_portable import ODD_LIKELIHOODS, QUICK, messy_table

from improbable import (
    Cyclic,
    DataError,
    FormatError,
    ImageCodec,
    ImprobableError,
    ImprobableWarning,
    SchemaError,
    VAEDetector,
    WindowCodec,
    load,
    load_stream,
    save,
)
from improbable.data.parts import Part
from improbable.joint import Joint
from improbable.portable import densities, network
from improbable.reasons import explain_rows
from improbable.results import N_REASONS
from improbable.streams import reasons, stream
from improbable.streams.events import Alarm, calmed, grown, opened
from improbable.streams.readings import Rule
from improbable.streams.stream import Stream
from improbable.streams.swift import decision_scores, plain_network
from improbable.wording import AS_A_WHOLE

PERIOD, LENGTH = 12, 6
SAME = 1e-9


def wave(n, seed=0, start=0):
    noise = np.random.default_rng(seed).normal(size=n)
    return np.sin(2.0 * np.pi * (start + np.arange(n)) / PERIOD) + 0.1 * noise


def machines(n, seed):
    """Two machines in turn, a minute apart, of columns of four kinds."""
    stamps = pd.date_range("2026-01-01", periods=n, freq="min")
    phase = np.arange(n) % PERIOD
    parts = [
        pd.DataFrame(
            {
                "when": stamps,
                "machine": name,
                "load": wave(n, seed + k, 3 * k),
                "mode": np.array(["day", "dusk", "night"], dtype=object)[phase // 4],
                "on": phase < 4,
                "users": phase % 3,
            }
        )
        for k, name in enumerate("ab")
    ]
    return pd.concat(parts).sort_values(["when", "machine"], ignore_index=True)


def holed(n=150, seed=9):
    """The same with cells missing, a name never seen, points missing, and two long gaps."""
    rng = np.random.default_rng(seed)
    frame = machines(n, seed)
    frame.loc[rng.random(len(frame)) < 0.05, "load"] = np.nan
    frame.loc[rng.random(len(frame)) < 0.05, "mode"] = None
    frame.loc[20, "mode"] = "dawn"
    kept = rng.random(len(frame)) > 0.1
    frame["when"] = frame["when"] + pd.to_timedelta(
        np.where(frame.index > 180, 400, 0), unit="min"
    )
    kept[60:100] = False
    return frame[kept].reset_index(drop=True)


@pytest.fixture(scope="module")
def pair():
    codec = WindowCodec(length=LENGTH, entity="machine", score_of="last")
    return VAEDetector(codec=codec, random_state=0, max_steps=30).fit(machines(500, 0))


@pytest.fixture(scope="module")
def single():
    codec = WindowCodec(length=PERIOD, score_of="last")
    return VAEDetector(codec=codec, random_state=0, max_steps=60).fit(wave(3_000))


def pieces(frame, size):
    """A table in pieces; of random sizes if `size` is None."""
    rng, start = np.random.default_rng(0), 0
    while start < len(frame):
        step = size or int(rng.integers(1, 25))
        yield frame[start : start + step]
        start += step


def scores_of(stream, parts):
    return np.array([reading.score for part in parts for reading in stream.push(part)])


def as_dicts(frame):
    """Points as JSON gives them: text for times, nothing for what is missing."""
    for row in frame.to_dict("records"):
        row["when"] = row["when"].isoformat()
        yield {name: value for name, value in row.items() if value is not None and value == value}


# --- the scores of whole series -----------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, None])
def test_scores_are_those_of_the_whole_series(pair, size):
    frame = holed()
    found = scores_of(pair.stream(), pieces(frame, size))
    assert np.abs(found - pair.score_samples(frame)).max() <= SAME


def test_points_as_dicts_score_the_same(pair):
    frame = holed()
    stream = pair.stream()
    found = [reading.score for reading in stream.watch(as_dicts(frame))]
    assert np.abs(np.array(found) - pair.score_samples(frame)).max() <= SAME
    assert stream.n_points == len(frame)
    cells = pair.stream()._reader.read(list(as_dicts(frame[:9]))).frame.columns
    assert cells["on"].values.tolist() == [str(value) for value in frame["on"][:9]]


@pytest.mark.parametrize("size", [1, 40])
def test_a_series_of_numbers_scores_the_same(single, size):
    values = wave(200, 5)
    expected = single.score_samples(values)
    assert np.abs(scores_of(single.stream(), pieces(values, size)) - expected).max() <= SAME
    if size == 1:
        found = [reading.score for reading in single.stream().watch(values.tolist())]
        assert np.abs(np.array(found) - expected).max() <= SAME


def test_a_window_of_one_point_needs_no_past():
    codec = WindowCodec(length=1, score_of="last")
    detector = VAEDetector(codec=codec, random_state=0, max_steps=20).fit(wave(600))
    values = wave(50, 3)
    found = scores_of(detector.stream(), pieces(values, 3))
    assert np.abs(found - detector.score_samples(values)).max() <= SAME


@pytest.mark.parametrize("size", [1, 30])
def test_rows_of_a_table_stand_alone(detector, new, size):
    expected = detector.score_samples(new)
    stream = detector.stream()
    readings = [reading for part in pieces(new, size) for reading in stream.push(part)]
    assert np.abs(np.array([r.score for r in readings]) - expected).max() <= SAME
    assert readings[0].entity is None
    assert readings[0].time is None


@pytest.mark.parametrize("score", ["kl", "conditional_log_prob"])
def test_other_scores_do_as_well(score):
    codec = WindowCodec(length=4, score_of="last")
    options = {"random_state": 0, "max_steps": 20, "score_function": score}
    detector = VAEDetector(codec=codec, **options).fit(wave(700))
    assert (plain_network(detector.model_) is None) == (score == "conditional_log_prob")
    values = wave(40, 2)
    found = scores_of(detector.stream(), pieces(values, 5))
    assert np.abs(found - detector.score_samples(values)).max() <= SAME


def test_the_network_in_numpy_scores_windows_with_holes_as_torch_does(pair):
    model = pair.model_
    rows = model.codec.transform(holed())
    network = plain_network(model)
    assert network is not None
    assert not rows.observed.all()
    found = decision_scores(model, network, rows)
    assert np.abs(found - model.decision_scores(rows)).max() <= SAME


# --- points out of order ------------------------------------------------------------------------


def test_of_two_points_of_one_time_the_later_stays(pair):
    frame = machines(30, 4)
    spoiled = frame.iloc[[40]].assign(load=50.0)
    twice = pd.concat([frame[:40], spoiled, frame[40:]], ignore_index=True)
    for size in (1, 100):
        stream = pair.stream()
        readings = [r for part in pieces(twice, size) for r in stream.push(part)]
        found = np.array([r.score for r in readings])
        assert np.abs(np.delete(found, 40) - pair.score_samples(frame)).max() <= SAME
        assert abs(found[40] - pair.score_samples(twice[:41])[40]) <= SAME
        assert any("takes the place" in note for note in readings[41].warnings)


@pytest.mark.parametrize("size", [1, 100])
def test_late_points_are_judged_and_disturb_nothing(pair, size):
    frame = machines(60, 4)
    late = pd.concat([frame[:40], frame[42:90], frame[40:42], frame[90:]], ignore_index=True)
    without = frame.drop([40, 41]).reset_index(drop=True)
    plain, disturbed = pair.stream(), pair.stream()
    expected = [r for part in pieces(without, size) for r in plain.push(part)]
    found = [r for part in pieces(late, size) for r in disturbed.push(part)]
    told = [r for r in found if any("older than the newest" in note for note in r.warnings)]
    assert [r.position for r in told] == [88, 89]
    kept = [r for r in found if r not in told]
    assert [r.score for r in kept] == [r.score for r in expected]
    assert [r.threshold for r in kept] == [r.threshold for r in expected]
    assert np.isfinite([r.score for r in told]).all()


def test_points_at_the_start_are_not_flagged_by_an_adapting_threshold(single):
    stream = single.stream()
    readings = stream.push(wave(40, 3) + 40.0)
    assert [r.is_outlier for r in readings[:PERIOD]] == [False] * (PERIOD - 1) + [True]
    assert readings[0].warnings[-1] == "its window is not full yet"
    assert single.stream(adapt=False).push(40.0)[0].is_outlier


# --- what a reading says ------------------------------------------------------------------------


def test_a_fixed_threshold_decides_as_detect_does(pair):
    frame = holed()
    table = pair.detect(frame, alpha=0.05)
    readings = pair.stream(alpha=0.05, adapt=False).push(frame)
    assert [r.is_outlier for r in readings] == table["is_outlier"].tolist()
    assert [r.p_value for r in readings] == table["p_value"].tolist()
    assert ["; ".join(r.reasons) for r in readings] == table["top_reasons"].tolist()
    assert any(r.is_outlier for r in readings)
    assert len({r.threshold for r in readings}) == 1
    assert all(r.is_outlier == (r.score < r.threshold) for r in readings)


def test_a_reading_names_its_point(pair):
    frame = machines(20, 3)
    frame.loc[31, "load"] = np.nan
    frame.loc[33, "mode"] = "dawn"
    frame.loc[35, "load"] = 30.0
    readings = pair.stream().push(frame)
    assert [r.position for r in readings] == list(range(40))
    assert [r.entity for r in readings[:4]] == ["a", "b", "a", "b"]
    assert readings[31].time == "2026-01-01T00:15:00"
    assert readings[31].warnings == ("load is missing",)
    assert readings[33].warnings == ("mode = 'dawn' was never seen in training",)
    assert readings[35].warnings == ("load is outside the training range",)
    assert readings[35].is_outlier
    assert readings[35].reasons[0].startswith("load = 30 (expected")
    assert all(r.reasons == () for r in readings if not r.is_outlier)


# --- reasons ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd():
    kinds = {"hour": Cyclic(24)}
    return VAEDetector(kinds, likelihood=ODD_LIKELIHOODS, **QUICK).fit(mixed_table(300))


@pytest.fixture
def numpy_only(monkeypatch):
    """Nothing is explained by torch."""

    def refuse(*args, **options):
        raise AssertionError("torch was asked")

    monkeypatch.setattr(reasons, "explain_rows", refuse)


@pytest.mark.parametrize("case", LIKELIHOOD_CASES, ids=lambda case: case.name)
def test_moments_are_those_of_torch(case):
    if case.name == "token":
        assert case.name not in densities.MOMENTS
        return
    spans = [(FLOOR, LINK), (0.3, (1.0, 0.7, 2.0)), (0.1, (-1.0, 0.7, 0.0))]
    parts = [Part(case.name, case.width, floor, -5.0, 5.0, link) for floor, link in spans]
    joint, (block,) = Joint.of(parts), densities.blocks_of(parts)
    raw = np.random.default_rng(0).normal(scale=3.0, size=(200, block.param_size))
    raw[:3] = [[0.0], [1e-3], [0.1]]
    expected = joint(torch.tensor(raw))
    assert_allclose(block.mean(raw), expected.mean, rtol=1e-9, atol=1e-9)
    # torch's Bessel functions are polynomials; close to 1/2 large terms cancel out
    rough = 1e-6 if case.name in ("von_mises", "continuous_bernoulli") else 1e-9
    assert_allclose(block.variance(raw), expected.variance, rtol=rough, atol=rough)


@pytest.mark.parametrize("entries", [network.BLOCK_ENTRIES, 1])
@pytest.mark.parametrize("name", ["detector", "odd", "pair"])
def test_numpy_explains_rows_as_torch_does(name, entries, request, monkeypatch):
    monkeypatch.setattr(network, "BLOCK_ENTRIES", entries)
    model = request.getfixturevalue(name).model_
    source = model.codec.read(holed(40) if name == "pair" else messy_table(44, 5))
    rows = model.codec.transform(source)
    assert rows.missing.any()
    expected = explain_rows(model.codec, model, source, rows, n_best=5)
    monkeypatch.setattr(reasons, "explain_rows", None)
    swift, typical = plain_network(model), model.reference.typical
    found = reasons.explain_points(model, swift, typical, source, rows, n_best=5)
    for field in ("shares", "surprise", "lower", "upper"):
        pair = getattr(found, field), getattr(expected, field)
        assert_allclose(*pair, rtol=1e-9, atol=1e-9, err_msg=field)
    for one, other in zip(found.expected.ravel(), expected.expected.ravel(), strict=True):
        assert one == other or one == pytest.approx(other, 1e-9, 1e-9, nan_ok=True)
    assert np.isfinite(found.lower).any()
    assert (found.values == expected.values).all()
    assert (found.seen == expected.seen).all()
    assert (found.columns, found.n_seen) == (expected.columns, expected.n_seen)
    said = [found.reasons(i, 5) for i in range(len(found))]
    assert said == [expected.reasons(i, 5) for i in range(len(found))]
    assert any(said)


@pytest.mark.parametrize("size", [1, 30, None])
def test_rows_of_a_table_are_flagged_for_the_reasons_of_detect(detector, new, size, numpy_only):
    table = detector.detect(new, alpha=0.5)
    explained = detector.explain(new)
    live = detector.stream(0.5, adapt=False)
    readings = [reading for part in pieces(new, size) for reading in live.push(part)]
    assert ["; ".join(r.reasons) for r in readings] == table["top_reasons"].tolist()
    for reading in readings:
        if reading.is_outlier:
            wanted = explained.reasons(reading.position, N_REASONS) or [AS_A_WHOLE]
            assert list(reading.reasons) == wanted
    assert sum(reading.is_outlier for reading in readings) > 20


@pytest.mark.parametrize("size", [1, 50])
def test_points_of_series_are_flagged_for_the_reasons_of_detect(pair, size, numpy_only):
    frame = holed()
    frame.loc[[70, 71, 72, 73], "load"] = [30.0, np.nan, -8.0, 30.0]
    table = pair.detect(frame, alpha=0.1)
    live = pair.stream(alpha=0.1, adapt=False)
    readings = [reading for part in pieces(frame, size) for reading in live.push(part)]
    assert ["; ".join(r.reasons) for r in readings] == table["top_reasons"].tolist()
    assert all(readings[i].reasons for i in (70, 72, 73))


def test_torch_explains_what_numpy_does_not_score():
    options = {**QUICK, "score_function": "conditional_log_prob"}
    detector = VAEDetector({"hour": Cyclic(24)}, **options).fit(mixed_table(300))
    new = mixed_table(40, 1)
    readings = detector.stream(0.5, adapt=False).push(new)
    table = detector.detect(new, alpha=0.5)
    assert ["; ".join(r.reasons) for r in readings] == table["top_reasons"].tolist()
    assert any(reading.reasons for reading in readings)


@pytest.mark.parametrize("score", ["elbo", "kl"])
def test_a_network_that_scores_otherwise_is_told_and_not_used(score, monkeypatch):
    codec = WindowCodec(length=3, score_of="last")
    options = {"random_state": 0, "max_steps": 10, "score_function": score}
    detector = VAEDetector(codec=codec, **options).fit(wave(700))
    n_params, density = densities.DENSITIES["normal_per_column"]
    wrong = n_params, lambda block, raw, x: density(block, raw, x) + 1e-3
    monkeypatch.setitem(densities.DENSITIES, "normal_per_column", wrong)
    with pytest.warns(ImprobableWarning, match="PyTorch judges the stream"):
        live = detector.stream()
    values = wave(30, 1)
    assert_allclose([r.score for r in live.push(values)], detector.score_samples(values))


# --- events -------------------------------------------------------------------------------------


def test_alarms_close_to_each_other_are_one_event():
    def alarm(position, score):
        return Alarm(position, position * 1.5, score, 0.01, {"a": 1.0, "b": float(position)})

    running = opened("m", alarm(3, -5.0))
    for _ in range(2):
        running, ended = calmed(running, 2)
        assert ended is None
    running = grown(running, alarm(6, -9.0))
    running = grown(running, alarm(7, -8.0))
    for _ in range(2):
        running, ended = calmed(running, 2)
    running, ended = calmed(running, 2)
    assert running is None
    assert (ended.entity, ended.start, ended.end) == ("m", 3, 7)
    assert (ended.start_time, ended.end_time, ended.peak_time) == (4.5, 10.5, 9.0)
    assert (ended.peak, ended.peak_score, ended.n_points, ended.n_alarms) == (6, -9.0, 5, 3)
    assert ended.columns == (("b", 16.0), ("a", 3.0))


def test_events_of_a_stream_begin_and_end(single):
    values = wave(300, 6)
    values[100:104] += 5.0
    values[200] += 5.0
    stream = single.stream(0.001, join=20)
    readings = []
    for value in values[:103]:
        readings += stream.push(value)
    assert stream.open_event.start == 100
    assert stream.events == []
    readings += stream.push(values[103:])
    begins = [r.position for r in readings if r.begins]
    ended = [r.ended for r in readings if r.ended is not None]
    assert 100 in begins
    assert stream.events == ended
    assert [event.start for event in ended] == begins[: len(ended)]
    first = next(event for event in ended if event.start == 100)
    assert first.end >= 103
    assert first.columns[0][0] == "x0"
    inside = [r for r in readings if first.start <= r.position <= first.end]
    assert first.n_points == len(inside)
    assert first.n_alarms == sum(r.is_outlier for r in inside)
    assert first.peak_score == min(r.score for r in inside if r.is_outlier)
    closing = next(r for r in readings if r.ended == first)
    assert closing.position == first.end + 21


def test_each_series_has_events_of_its_own(pair):
    frame = machines(40, 3)
    frame.loc[[50, 51], "load"] = 30.0
    stream = pair.stream(join=200)
    stream.push(frame)
    assert [event.entity for event in stream.open_events] == ["a", "b"]
    assert stream.open_event.entity == "b"


def test_series_unheard_of_for_long_are_dropped(pair, monkeypatch, tmp_path):
    monkeypatch.setattr(stream, "MOST_SERIES", 2)
    frame = machines(60, 3)
    frame.loc[[100, 101], "load"] = 30.0
    live = pair.stream(join=200)
    live.push(frame)
    assert [event.entity for event in live.open_events] == ["a", "b"]
    live.push(frame[118:119].assign(when=frame["when"].iloc[-1] + pd.Timedelta("1min")))
    assert list(live.kept.tracks) == ["b", "a"]
    live.save(tmp_path / "state")
    live = load_stream(tmp_path / "state", pair)
    later = frame["when"].iloc[-1] + pd.Timedelta("2min")
    (event,) = [event for event in live.open_events if event.entity == "b"]
    (reading,) = live.push(frame[118:119].assign(machine="c", when=later))
    assert reading.warnings == ("its window is not full yet",)
    assert list(live.kept.tracks) == ["a", "c"]
    assert set(live.kept.pasts) == {"a", "c"}
    assert [event.entity for event in live.open_events] == ["a"]
    assert live.events == [event]
    (reading,) = live.push(frame[119:120].assign(when=later))
    assert (reading.entity, reading.warnings) == ("b", ("its window is not full yet",))


# --- thresholds ---------------------------------------------------------------------------------


def test_a_moved_threshold_is_said_and_alarms_are_not_learned_from(single):
    stream = single.stream(0.001, depth=50)
    drifting = wave(1_500, 7) * np.linspace(1.0, 1.3, 1_500)
    readings = stream.push(drifting)
    told = [r.adapted for r in readings if r.adapted is not None]
    assert told
    notable = 0.1 * np.std(single.model_.held_out)
    assert all(abs(new - old) > notable for old, new in told)
    assert [new for _, new in told[:-1]] == [old for old, _ in told[1:]]
    before = stream.threshold()
    alarms = stream.push(np.full(3, 50.0))
    assert all(r.is_outlier for r in alarms)
    assert stream.threshold() == before


def test_a_fixed_threshold_never_moves(single):
    stream = single.stream(adapt=False)
    before = stream.threshold()
    assert all(r.adapted is None for r in stream.push(wave(300, 7)))
    assert stream.threshold() == before


# --- states -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [{}, {"adapt": False}, {"depth": 0, "alpha": 0.05, "join": 2}])
def test_a_resumed_stream_goes_on_exactly(pair, tmp_path, rule):
    frame = holed()
    frame.loc[[70, 72], "load"] = 30.0
    whole, parted = pair.stream(**rule), pair.stream(**rule)
    expected = [whole.push(frame[:73]), whole.push(frame[73:])]
    assert parted.push(frame[:73]) == expected[0]
    assert parted.open_event is not None
    parted.save(tmp_path / "state.safetensors")
    resumed = load_stream(tmp_path / "state.safetensors", pair)
    assert resumed.rule == Rule(**rule)
    assert (resumed.n_points, resumed.n_alarms) == (parted.n_points, parted.n_alarms)
    assert [asdict(e) for e in resumed.open_events] == [asdict(e) for e in parted.open_events]
    assert resumed.push(frame[73:]) == expected[1]
    assert resumed.events == whole.events
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.safetensors"]


def test_a_resumed_stream_knows_how_full_its_windows_are(single, tmp_path):
    stream = single.stream()
    stream.push(wave(4, 3))
    stream.save(tmp_path / "state")
    readings = load_stream(tmp_path / "state", single).push(wave(10, 4) + 40.0)
    assert [r.is_outlier for r in readings] == [False] * 7 + [True] * 3


def test_a_resumed_event_is_over_when_it_would_have_been(single, tmp_path):
    values = wave(300, 6)
    values[100] += 9.0
    stream = single.stream(0.001, join=9)
    for i in range(100, 300):
        stream.push(values[: i + 1] if i == 100 else values[i])
        running = stream.kept.tracks[""].running
        if running is not None and running.quiet == 4:
            break
    stream.save(tmp_path / "state")
    resumed = load_stream(tmp_path / "state", single)
    assert resumed.kept.tracks[""].running == running
    assert resumed.push(values[i + 1 :]) == stream.push(values[i + 1 :])
    assert resumed.events == stream.events != []


def test_a_resumed_threshold_goes_on_learning(single, tmp_path):
    stream = single.stream(depth=20)
    stream.push(wave(331, 3))
    stream.save(tmp_path / "state")
    resumed = load_stream(tmp_path / "state", single)
    more = wave(400, 8) * 1.1
    assert resumed.push(more) == stream.push(more)
    assert resumed.threshold() == stream.threshold()


def test_a_state_of_a_saved_model_belongs_to_it(single, tmp_path):
    save(single, tmp_path / "model")
    single.stream().save(tmp_path / "state")
    assert load_stream(tmp_path / "state", load(tmp_path / "model")).n_points == 0
    load(tmp_path / "model").stream().save(tmp_path / "again")
    assert load_stream(tmp_path / "again", single).n_points == 0


def test_states_that_do_not_fit_are_refused(single, pair, tmp_path):
    path = tmp_path / "state"
    single.stream().save(path)
    with pytest.raises(FormatError, match="of another model"):
        load_stream(path, pair)
    with pytest.raises(FormatError, match="There is no state"):
        load_stream(tmp_path / "gone", single)
    save(single, tmp_path / "model")
    with pytest.raises(FormatError, match="no state of a stream"):
        load_stream(tmp_path / "model", single)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FormatError, match="damaged"):
        load_stream(path, single)
    with pytest.raises(DataError, match="cannot be written"):
        single.stream().save(tmp_path / "no" / "state")


# --- what is refused ----------------------------------------------------------------------------


def test_models_that_look_ahead_are_refused():
    codec = WindowCodec(length=4)
    detector = VAEDetector(codec=codec, random_state=0, max_steps=5).fit(wave(800))
    with pytest.raises(DataError, match=r'Fit with WindowCodec\(score_of="last"\)'):
        detector.stream()


def test_images_are_refused():
    images = np.random.default_rng(0).random((60, 8, 8))
    options = {"random_state": 0, "max_steps": 5, "n_members": 1}
    detector = VAEDetector(codec=ImageCodec(), **options).fit(images)
    with pytest.raises(DataError, match="Streams are of tables and series"):
        detector.stream()


def test_points_that_cannot_be_read_change_nothing(pair):
    frame = machines(20, 3)
    stream = pair.stream()
    stream.push(frame[:20])
    before = stream.kept
    good = next(as_dicts(frame[20:21]))
    for bad, error, text in [
        ({"speed": 3.0}, SchemaError, "names none of the columns load, mode, on, users"),
        ([good, {**good, "when": "soon"}], DataError, "missing or unreadable"),
        ([good, {"load": 1.0, "machine": "a"}], DataError, "missing or unreadable"),
        ([good, 3.0], DataError, "one dict a point"),
        (frame[20:22].drop(columns="when"), SchemaError, "lack the column 'when'"),
        (frame[20:22].drop(columns="load"), SchemaError, "load"),
    ]:
        with pytest.raises(error, match=text):
            stream.push(bad)
        assert stream.kept is before


def test_settings_out_of_range_are_refused(single):
    for options, text in [
        ({"alpha": 0.0}, "alpha must be a number between 0 and 1"),
        ({"join": -1}, "join must be a whole number"),
        ({"depth": 2.5}, "depth must be a whole number"),
    ]:
        with pytest.raises(ImprobableError, match=text):
            single.stream(**options)


def test_no_point_gives_no_reading(single, pair):
    assert isinstance(single.stream(), Stream)
    for nothing in (np.empty((0, 1)), [], ()):
        assert single.stream().push(nothing) == []
    assert pair.stream().push([]) == []


@pytest.mark.parametrize("one", [np.array(0.5), np.float32(0.5), np.array([0.5])])
def test_a_number_may_be_of_numpy(single, one):
    assert single.stream().push(one) == single.stream().push(0.5)


@pytest.mark.parametrize("none", [None, pd.NA, np.array(None), np.array(np.nan), {"x0": None}])
def test_a_number_that_is_none_is_a_missing_point(single, none):
    assert single.stream().push(none) == single.stream().push(np.nan)


@pytest.mark.parametrize("odd", ["3", b"3", np.array("3"), object(), {1.0}, iter([1.0]), 1j])
def test_what_is_no_point_is_refused_in_a_sentence(single, odd):
    with pytest.raises(DataError, match="must be a number, a row, a dict or a data frame, not"):
        single.stream().push(odd)


def test_rows_of_a_data_frame_keep_their_names(pair):
    frame = machines(30, 4)
    expected = scores_of(pair.stream(), [frame])
    turned = frame[["users", "load", "when", "on", "mode", "machine"]]
    found = scores_of(pair.stream(), [row for _, row in turned.iterrows()])
    assert_allclose(found, expected, atol=SAME)
    indexed = frame.set_index("when")
    assert_allclose(scores_of(pair.stream(), [indexed]), expected, atol=SAME)


def test_columns_of_one_series_are_points(single):
    values = wave(40, 3)
    expected = scores_of(single.stream(), [values])
    for column in (pd.Series(values, index=np.arange(100, 140)), pl.Series("load", values)):
        assert_allclose(scores_of(single.stream(), [column]), expected, atol=SAME)


def test_series_half_a_step_apart_lose_nothing(pair):
    frame = machines(60, 5)
    late = frame["machine"] == "b"
    shifted = frame.assign(when=frame["when"] + pd.to_timedelta(np.where(late, 30, 0), unit="s"))
    readings = pair.stream().push(shifted)
    assert not any("takes the place" in note for reading in readings for note in reading.warnings)
    found = [reading.score for reading in readings]
    assert_allclose(found, scores_of(pair.stream(), [frame]), atol=SAME)
    assert_allclose(np.round(found, 9), pair.score_samples(shifted), atol=SAME)
