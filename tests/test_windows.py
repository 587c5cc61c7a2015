"""Time series: rows on a grid of time, windows of them, and scores aligned with the rows."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from improbable import (
    CalibrationWarning,
    DataError,
    DataWarning,
    Real,
    SchemaError,
    VAEDetector,
    WindowCodec,
    load,
    save,
)
from improbable.data.holes import mean_of_windows, windows_around
from improbable.data.periods import autocorrelation, dominant_period
from improbable.data.timeline import blocks_of, lay_out, window_ends
from improbable.fitting import split_groups
from improbable.model import as_batch
from improbable.results import impute
from improbable.scores import draw

PERIOD = 12


def wave(n: int, seed: int = 0, start: int = 0) -> np.ndarray:
    """A noisy sine of one channel."""
    noise = np.random.default_rng(seed).normal(size=n)
    return np.sin(2.0 * np.pi * (start + np.arange(n)) / PERIOD) + 0.1 * noise


@pytest.fixture(scope="module")
def detector() -> VAEDetector:
    short = VAEDetector(codec=WindowCodec(), random_state=0, max_steps=40)
    with pytest.warns(CalibrationWarning, match="466 held-out rows are only 6.5 times"):
        return short.fit(wave(3000))


def frame_of(n: int = 600) -> pd.DataFrame:
    """Two machines in turn, a minute apart, of two columns."""
    both = {"a": wave(n, 1), "b": wave(n, 2, start=3)}
    stamps = pd.date_range("2026-01-01", periods=n, freq="min")
    parts = [
        pd.DataFrame({"when": stamps, "machine": name, "load": v, "users": np.arange(n) % 3 + 0.5})
        for name, v in both.items()
    ]
    return pd.concat(parts).sort_values(["when", "machine"], ignore_index=True)


@pytest.fixture(scope="module")
def machines() -> VAEDetector:
    codec = WindowCodec(length=6, entity="machine")
    return VAEDetector(codec=codec, random_state=0, max_steps=30).fit(frame_of())


# --- the grid -----------------------------------------------------------------------------------


def test_rows_in_any_order_lie_in_order_of_time():
    found = lay_out(np.array([30.0, 10.0, 20.0]), None, 3)
    assert found.step == 10.0
    assert found.slot.tolist() == [2, 0, 1]
    assert found.row.tolist() == [1, 2, 0]


def test_gaps_leave_places_empty():
    found = lay_out(np.array([0.0, 1.0, 2.0, 5.0]), None, 4)
    assert found.row.tolist() == [0, 1, 2, -1, -1, 3]
    assert found.start.tolist() == [0] * 6


def test_long_gaps_begin_a_new_run():
    found = lay_out(np.array([0.0, 1.0, 2.0, 1e6, 1e6 + 1.0]), None, 5)
    assert found.start.tolist() == [0, 0, 0, 3, 3]
    assert found.end.tolist() == [2, 2, 2, 4, 4]


def test_the_later_of_two_rows_of_one_time_takes_its_place():
    found = lay_out(np.array([0.0, 1.0, 1.0, 2.0]), None, 4)
    assert found.row.tolist() == [0, 2, 3]
    assert found.repeated.tolist() == [False, True, False, False]


def test_jittered_times_fall_on_the_grid():
    times = np.arange(50) * 60.0 + np.random.default_rng(0).uniform(-5.0, 5.0, 50)
    assert lay_out(times, None, 50, step=60.0).row.tolist() == list(range(50))


def test_jitter_drift_and_shifts_lose_no_row():
    rng = np.random.default_rng(0)
    jittered = np.arange(1500) * 600.0 + rng.uniform(-60.0, 60.0, 1500)
    months = pd.date_range("1990-01-01", periods=420, freq="MS").astype("int64").to_numpy() / 1e9
    restarted = np.concatenate([np.arange(100), 100.5 + np.arange(100)]) * 600.0
    for times in (jittered, months, restarted):
        found = lay_out(times, None, len(times))
        assert not found.repeated.any()
        np.testing.assert_array_equal(found.row[found.slot], np.arange(len(times)))
    assert len(lay_out(jittered, None, 1500).row) == 1500


def test_a_series_lies_alike_whenever_others_begin():
    times = np.arange(200) * 600.0
    both = np.concatenate([times, times + 300.0])
    found = lay_out(both, np.repeat([0, 1], 200), 400)
    assert found.step == 600.0
    assert found.slot.tolist() == list(range(400))
    assert not found.repeated.any()


def test_of_rows_less_than_half_a_step_apart_the_last_counts():
    found = lay_out(np.array([0.0, 0.4, 1.0, 1.45, 2.0, 3.0]), None, 6, step=1.0)
    assert found.repeated.tolist() == [True, False, True, False, False, False]
    assert found.slot.tolist() == [0, 0, 1, 1, 2, 3]


@pytest.mark.parametrize(
    ("factor", "pace"),
    [
        (0.2, "closer together"),
        (1.0, ""),
        (1.2, ""),
        (2.0, "farther apart"),
        (1e3, "farther apart"),
    ],
)
def test_pace_is_that_of_the_times_themselves(factor: float, pace: str):
    assert lay_out(np.arange(50) * 60.0 * factor, None, 50, step=60.0).pace == pace


def test_series_without_times_that_take_turns_are_told_apart():
    found = lay_out(None, np.array([0, 1, 0, 1, 1]), 5)
    assert found.row.tolist() == [0, 2, 1, 3, 4]
    assert found.start.tolist() == [0, 0, 2, 2, 2]
    assert found.step == 1.0


def test_no_rows_have_no_places():
    assert len(lay_out(np.empty(0), None, 0).row) == 0


@pytest.mark.parametrize("n", [30, 200, 5000])
def test_windows_of_different_blocks_share_no_point(n: int):
    length = 8
    block = blocks_of(lay_out(None, None, n), length)
    ends = [np.flatnonzero(block == label) for label in range(block.max() + 1)]
    points = [set(range(rows.min() - length + 1, rows.max() + 1)) for rows in ends if len(rows)]
    if n >= 6 * length:
        assert all(not a & b for i, a in enumerate(points) for b in points[:i])
    assert (block >= 0).sum() >= n / 3
    assert len(points) >= 3


def test_whole_blocks_are_held_out():
    groups = np.repeat(np.arange(-1, 20), 50)
    split = split_groups(groups, 0.1, 0.2, np.random.default_rng(0))
    parts = [set(groups[rows]) for rows in (split.train, split.validation, split.calibration)]
    assert [len(part) for part in parts] == [14, 2, 4]
    assert set.union(*parts) == set(range(20))
    assert split.apart


def test_too_few_blocks_cannot_be_held_out():
    assert not split_groups(np.repeat([0, 1], 50), 0.1, 0.2, np.random.default_rng(0)).apart


# --- the period ---------------------------------------------------------------------------------


def test_the_autocorrelation_is_the_textbook_one():
    series = np.random.default_rng(0).normal(size=300).cumsum()
    centered = series - series.mean()
    expected = [np.sum(centered[k:] * centered[: len(series) - k]) for k in range(6)]
    np.testing.assert_allclose(autocorrelation(series, 5), expected / expected[0], rtol=1e-10)


@pytest.mark.parametrize("period", [7, 24, 100])
def test_the_period_of_a_sine_is_found(period: int):
    t = np.arange(1000)
    noise = np.random.default_rng(0).normal(size=1000)
    values = np.column_stack([np.sin(2 * np.pi * t / period) + 0.3 * noise])
    values[::17] = np.nan
    assert abs(dominant_period(values, 128) - period) <= 0.02 * period  # type: ignore[operator]


def test_noise_and_constants_and_little_data_have_no_period():
    noise = np.random.default_rng(0).normal(size=(2000, 1))
    assert dominant_period(noise, 128) is None
    assert dominant_period(np.ones((200, 1)), 128) is None
    assert dominant_period(np.ones((6, 1)), 128) is None


def test_auto_takes_the_period(detector: VAEDetector):
    assert detector.model_.codec.length == 6 * PERIOD
    assert WindowCodec().open(np.column_stack([wave(900), wave(900, 1)])).length == 36
    assert WindowCodec().open(np.random.default_rng(0).normal(size=2000)).length == 64


def test_auto_is_bounded_by_columns_and_rows():
    wide = np.random.default_rng(0).normal(size=(400, 200))
    assert WindowCodec().open(wide).length == 2048 // 200
    assert WindowCodec().open(wave(50)).length == 5
    assert WindowCodec().open(np.array([["a"], ["b"]] * 400, dtype=object)).length == 64


# --- windows ------------------------------------------------------------------------------------


def windows_of(codec: WindowCodec, values: np.ndarray) -> np.ndarray:
    """Windows as a loop would make them, oldest first, NaN before the beginning."""
    length = codec.length
    padded = np.concatenate([np.full(length - 1, np.nan), values])
    return np.array([padded[i : i + length] for i in range(len(values))])


def test_windows_are_those_of_a_loop():
    values = wave(300)
    codec = WindowCodec(length=7).fit(values)
    rows = codec.transform(values)
    encoded = codec.point.transform(values[:, None]).values[:, 0]
    expected = windows_of(codec, encoded)
    np.testing.assert_array_equal(rows.observed, ~np.isnan(expected))
    np.testing.assert_array_equal(rows.values, np.nan_to_num(expected))
    np.testing.assert_allclose(rows.absent[:, 0], np.isnan(expected).mean(axis=1))


def test_parts_of_several_columns_lie_side_by_side():
    frame = frame_of(200).assign(flag=lambda f: np.where(f["load"] > 0.0, "up", "down"))
    codec = WindowCodec(length=4, entity="machine").fit(frame)
    rows = codec.transform(frame)
    kinds = [part.likelihood for part in codec.parts]
    assert kinds == sorted(kinds)
    assert codec.event_size == 4 * codec.point.event_size == rows.values.shape[1]
    assert [codec.part_columns.tolist().count(i) for i in range(3)] == [4, 4, 4]
    points = codec.point.transform(codec._values(codec.read(frame).frame)).values
    place = codec._last
    np.testing.assert_array_equal(rows.values[:, place], points)
    second = codec.layout.undone[-2 * codec.point.event_size : -codec.point.event_size]
    np.testing.assert_array_equal(rows.values[2:, second], points[:-2])


def test_pooling_is_the_mean_over_windows_that_hold_a_point():
    values = wave(60)
    rows = WindowCodec(length=5).fit(values).transform(values)
    of_windows = np.random.default_rng(0).normal(size=60)
    expected = [of_windows[max(i, 4) : i + 5].mean() for i in range(60)]
    assert rows.widened().ends.tolist() == list(range(4, 60))
    np.testing.assert_allclose(rows.pooled(of_windows[4:]), expected, rtol=1e-12)
    some = rows.take(np.array([3, 40]))
    ends = some.widened().ends
    assert ends.tolist() == [4, 5, 6, 7, 40, 41, 42, 43, 44]
    np.testing.assert_allclose(some.pooled(of_windows[ends]), np.array(expected)[[3, 40]])


def test_pooling_stays_within_a_run():
    codec = WindowCodec(length=3, entity="machine", time=None)
    frame = pd.DataFrame({"machine": list("aaabbbb"), "v": wave(7)})
    rows = codec.fit(frame).transform(frame)
    found = rows.pooled(np.array([3.0, 20.0, 30.0]))
    np.testing.assert_allclose(found, [3.0, 3.0, 3.0, 20.0, 25.0, 25.0, 30.0])
    before = replace(rows, whole=False)
    found = before.pooled(np.array([1.0, 2.0, 3.0, 10.0, 20.0, 30.0, 40.0]))
    np.testing.assert_allclose(found, [2.0, 2.5, 3.0, 20.0, 30.0, 35.0, 40.0])


def test_series_shorter_than_a_window_are_judged_by_what_there_is():
    codec = WindowCodec(length=4, entity="machine", time=None)
    frame = pd.DataFrame({"machine": list("aaaaabb"), "v": wave(7)})
    rows = codec.fit(frame).transform(frame)
    assert rows.widened().ends.tolist() == [3, 4, 5, 6]
    found = rows.pooled(np.array([1.0, 2.0, 10.0, 20.0]))
    np.testing.assert_allclose(found, [1.0, 1.5, 1.5, 1.5, 2.0, 15.0, 20.0])


# --- scores -------------------------------------------------------------------------------------


def test_every_row_has_a_score_of_its_own_time(detector: VAEDetector):
    new = wave(400, seed=5)
    new[200] += 2.0
    found = detector.score_samples(new)
    assert found.shape == (400,)
    assert np.isfinite(found).all()
    assert abs(int(np.argmin(found)) - 200) < detector.model_.codec.length
    assert detector.p_values(new)[200] == detector.p_values(new).min()


def test_scores_are_means_of_window_scores(detector: VAEDetector):
    model, new = detector.model_, wave(200, seed=6)
    rows = model.codec.transform(new)
    windows = np.concatenate(
        [
            model.draws(as_batch(rows.take(slice(i, i + 1)))).log_prob.mean(dim=(0, 1)).numpy()
            for i in range(200)
        ]
    )
    length = model.codec.length
    expected = [windows[max(i, length - 1) : i + length].mean() for i in range(200)]
    found = detector.reconstruction_probability(new)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("stride", [1, 3, 7, 40])
def test_every_row_lies_in_a_window_that_is_judged(stride: int):
    rng, length = np.random.default_rng(stride), 10
    gaps = rng.choice([1, 1, 1, 2, 9, 12, 300], size=400)
    timeline = lay_out(np.cumsum(gaps).astype(float), rng.integers(0, 2, 400), 400, step=1.0)
    judged = window_ends(timeline, length, stride)
    assert (timeline.row[judged] >= 0).all()
    for place in timeline.slot:
        stop = min(place + length - 1, timeline.end[place])
        assert judged[place : stop + 1].any()
    assert judged.sum() < 400


def test_windows_are_so_many_rows_apart():
    judged = window_ends(lay_out(None, None, 23), 10, 5)
    assert np.flatnonzero(judged).tolist() == [9, 14, 19, 22]
    judged = window_ends(lay_out(None, np.repeat([0, 1], [7, 11]), 18), 10, 5)
    assert np.flatnonzero(judged).tolist() == [4, 6, 7 + 9, 7 + 10]
    judged = window_ends(lay_out(None, None, 23), 10, 5, whole=False)
    assert np.flatnonzero(judged).tolist() == [4, 9, 14, 19, 22]


def test_with_a_stride_scores_are_means_of_fewer_windows(detector: VAEDetector):
    model, new = detector.model_, wave(150, seed=6)
    codec = replace(model.codec, stride=20)
    rows = model.codec.transform(new)
    each = model.evaluate(rows, lambda draws: draws.log_prob.mean(dim=(0, 1)), pooled=False)
    length = codec.length
    ends = [*range(length - 1, 150, 20), 149]
    expected = [np.mean([each[e] for e in ends if i <= e < i + length]) for i in range(150)]
    found = replace(model, codec=codec).score(codec.transform(new), "expected_log_prob")
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_some_rows_of_a_series_score_as_they_do_among_all(detector: VAEDetector):
    model = detector.model_
    series = model.codec.read(wave(300, seed=7))
    whole = model.decision_scores(model.codec.transform(series))
    index = np.array([250, 3, 77])
    some = model.decision_scores(model.codec.transform(series.take(index)))
    np.testing.assert_array_equal(some, whole[index])


def test_order_of_rows_does_not_matter(machines: VAEDetector):
    frame = frame_of(100)
    shuffled = frame.sample(frac=1.0, random_state=0)
    found = pd.Series(machines.score_samples(shuffled), index=shuffled.index)
    for table in (machines.detect(shuffled), machines.reconstruct(shuffled)):
        assert table.index.equals(shuffled.index)
    np.testing.assert_array_equal(found.sort_index().to_numpy(), machines.score_samples(frame))


def test_other_series_change_nothing(machines: VAEDetector):
    frame = frame_of(100)
    alone = frame[frame["machine"] == "b"]
    among = machines.score_samples(frame)[(frame["machine"] == "b").to_numpy()]
    np.testing.assert_array_equal(machines.score_samples(alone), among)


def test_the_last_point_alone_is_judged(detector: VAEDetector):
    values = wave(600)
    last = VAEDetector(
        codec=WindowCodec(length=8, score_of="last"),
        score_function="expected_log_prob",
        random_state=0,
        max_steps=30,
    ).fit(values)
    model, new = last.model_, wave(120, seed=3)
    batch = as_batch(model.codec.transform(new))
    draws = draw(model.vae, batch, model.noise, prior=model.prior)
    expected = draws.log_prob_parts[..., -1].mean(dim=(0, 1)).numpy()
    found = last.reconstruction_probability(new)
    np.testing.assert_allclose(found[8:], expected[8:], rtol=1e-9)
    before = last.score_samples(new[:100])
    np.testing.assert_array_equal(last.score_samples(new)[:100], before)


def test_held_out_rows_of_clean_series_are_rarely_flagged(detector: VAEDetector):
    found = detector.p_values(wave(3000, seed=9))
    assert np.mean(found <= 0.1) < 0.2


@pytest.mark.parametrize(
    ("n", "codec"),
    [(3000, WindowCodec(length=12)), (400, WindowCodec(length=12, score_of="last"))],
    ids=["long", "last"],
)
def test_enough_held_out_window_lengths_are_not_warned_of(n: int, codec: WindowCodec):
    VAEDetector(codec=codec, random_state=0, max_steps=5).fit(wave(n))


def test_p_values_of_too_few_held_out_window_lengths_are_warned_of_once():
    """The p-value said is what twice as many independent rows as window lengths support."""
    short = VAEDetector(codec=WindowCodec(length=48), random_state=0, max_steps=5)
    with pytest.warns(CalibrationWarning) as told:
        short.fit(wave(3000))
    (said,) = [str(warning.message) for warning in told]
    lengths = len(short.model_.held_out) / 48
    assert f"only {lengths:.2g} times as many as the 48 of a window" in said
    assert f"p-values below {1.0 / (1.0 + 2.0 * lengths):.1g} come out too small" in said
    assert said.endswith('with a smaller length, or with WindowCodec(score_of="last").')


def test_missing_cells_neither_crash_nor_alarm(detector: VAEDetector):
    new = wave(400, seed=11)
    holes = new.copy()
    holes[np.random.default_rng(0).random(400) < 0.1] = np.nan
    whole, holed = detector.score_samples(new), detector.score_samples(holes)
    assert np.isfinite(holed).all()
    assert np.median(np.abs(whole - holed)) < 3.0 * whole.std()
    assert np.mean(detector.p_values(holes) <= 0.01) < 0.1


def test_gaps_in_time_count_as_missing(machines: VAEDetector):
    frame = frame_of(100)
    blank = frame.copy()
    blank.loc[80:87, ["load", "users"]] = np.nan
    kept = frame.drop(index=range(80, 88))
    among = machines.score_samples(blank)[np.r_[0:60, 140:200]]
    np.testing.assert_allclose(machines.score_samples(kept)[np.r_[0:60, 132:192]], among)


# --- the other verbs ----------------------------------------------------------------------------


def test_shares_add_up(machines: VAEDetector):
    frame = frame_of(80)
    found = machines.explain(frame)
    assert found.columns == ("load", "users")
    total = machines.reconstruction_probability(frame)
    np.testing.assert_allclose(found.shares.sum(axis=1), total, atol=1e-9)


def test_the_column_at_fault_is_named(machines: VAEDetector):
    frame = frame_of(80)
    frame.loc[100, "users"] = 9.0
    found = machines.detect(frame)
    assert bool(found["is_outlier"][100])
    assert found["top_reasons"][100].startswith("users = 9")
    assert "users is outside the training range" in found["warnings"][100]


def test_rows_come_back_beside_their_time(machines: VAEDetector):
    frame = frame_of(60)
    found = machines.reconstruct(frame)
    assert list(found.columns) == list(frame.columns)
    pd.testing.assert_series_equal(found["when"], frame["when"], check_dtype=False)
    assert np.corrcoef(found["load"], frame["load"])[0, 1] > 0.5


def test_missing_cells_are_filled(machines: VAEDetector):
    frame = frame_of(60)
    holes = frame.copy()
    holes.loc[50, "load"] = np.nan
    found = machines.impute(holes)
    assert abs(found["load"][50] - frame["load"][50]) < 1.0
    assert found["load"].drop(50).equals(frame["load"].drop(50))


def test_holes_are_filled_from_both_sides(detector: VAEDetector):
    """At the start, where nothing came before, at the end, and in between."""
    truth = wave(300, seed=8)
    for hole in (slice(0, 21), slice(150, 171), slice(279, 300)):
        holes = truth.copy()
        holes[hole] = np.nan
        found = np.ravel(detector.impute(holes))
        law = np.sin(2.0 * np.pi * np.arange(300) / PERIOD)
        assert np.abs(found - law)[hole].max() < 0.3
        assert (found == truth).sum() == 300 - 21
        series = detector.model_.codec.read(holes)
        parts = np.array_split(np.arange(300), 7)
        pieces = [impute(detector.model_, series.take(part)) for part in parts]
        np.testing.assert_allclose(np.ravel(np.concatenate(pieces)), found, rtol=1e-9)


def test_a_hole_of_a_series_is_filled_from_that_series(machines: VAEDetector):
    """The earlier of two rows of one time included, which lies in no window."""
    frame = frame_of(60)
    frame = pd.concat([frame, frame.iloc[[30, 30]]], ignore_index=True)
    frame.loc[[80, 81, 120], "load"] = np.nan
    found = machines.impute(frame)["load"]
    assert abs(found[120] - frame["load"][30]) < 0.5
    alone = frame[frame["machine"] == frame["machine"][81]]
    np.testing.assert_allclose(machines.impute(alone)["load"][81], found[81], rtol=1e-9)


def test_points_are_the_mean_of_the_windows_that_hold_them():
    timeline = lay_out(None, np.array([0, 0, 0, 1, 1]), 5)
    ends = windows_around(np.array([1, 4]), timeline, 2)
    assert ends.tolist() == [1, 2, 4]
    points = np.array([[1.0, 2.0], [4.0, 8.0], [16.0, 32.0]])[..., None]
    observed = np.array([[True, False], [True, True], [False, False]])
    found = mean_of_windows(points, ends, observed, timeline)[:, 0]
    np.testing.assert_allclose(found, [1.0, (4 * 2 + 9 * 4) / 13, 8.0, 16.0, 32.0])
    first = mean_of_windows(points[:1], np.array([3]), observed[:1], timeline)[:, 0]
    np.testing.assert_allclose(first, [0.0, 0.0, 0.0, 2.0, 0.0])  # nothing of the other series


def test_samples_are_whole_windows(machines: VAEDetector, detector: VAEDetector):
    found = machines.sample(3, random_state=0)
    assert found["window"].tolist() == np.repeat([0, 1, 2], 6).tolist()
    assert set(found.columns) == {"window", "load", "users"}
    assert detector.sample(2, random_state=0).shape == (2 * 6 * PERIOD, 2)
    with pytest.raises(DataError, match="without it for series"):
        machines.sample(3, given={"load": 1.0})


def test_latent_verbs_speak_of_windows(machines: VAEDetector):
    frame = frame_of(60)
    assert machines.posterior(frame).loc.shape[0] == 120
    assert len(machines.index(frame).search(machines.posterior(frame).loc[:2], k=3).ids) == 2


@pytest.mark.parametrize("score_of", ["all", "last"])
def test_files_keep_everything(score_of: str, tmp_path: Any):
    kinds = {"users": Real()}
    codec = WindowCodec(length=5, entity="machine", score_of=score_of, kinds=kinds, stride=2)
    fitted = VAEDetector(codec=codec, random_state=0, max_steps=10).fit(frame_of(450))
    save(fitted, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    new = frame_of(70)
    np.testing.assert_array_equal(again.score_samples(new), fitted.score_samples(new))
    assert again.model_.codec.to_json() == fitted.model_.codec.to_json()
    refitted = again.fit(frame_of(450))
    np.testing.assert_allclose(refitted.score_samples(new), fitted.score_samples(new), rtol=1e-6)


def test_refit_and_contamination_take_series(machines: VAEDetector):
    frame = frame_of(500)
    fitted = VAEDetector(
        codec=WindowCodec(length=6, entity="machine"),
        contamination="unknown",
        random_state=0,
        max_steps=10,
    ).fit(frame)
    assert fitted.refit(frame).score_samples(frame).shape == (1000,)


# --- what comes in ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        wave(100),
        wave(100).tolist(),
        wave(100)[:, None],
        pd.Series(wave(100), name="load"),
        pd.DataFrame({"load": wave(100)}),
        pl.DataFrame({"load": wave(100)}),
        [{"load": float(v)} for v in wave(100)],
    ],
    ids=["array", "list", "column", "series", "pandas", "polars", "records"],
)
def test_any_table_or_list_will_do(data: Any):
    codec = WindowCodec(length=4).fit(data)
    assert codec.transform(data).values.shape == (100, 4)


def test_the_column_of_time_is_found():
    stamps = pd.date_range("2026-01-01", periods=50, freq="h")
    frame = pd.DataFrame({"moment": stamps, "v": wave(50)})
    assert WindowCodec(length=4).fit(frame).time == "moment"
    named = pd.DataFrame({"Timestamp": np.arange(50) * 60, "v": wave(50)})
    assert WindowCodec(length=4).fit(named).time == "Timestamp"
    assert WindowCodec(length=4).fit(named).step == 60.0
    assert WindowCodec(length=4, time=None).fit(named).time is None
    text = frame.assign(moment=[str(s) for s in stamps])
    assert WindowCodec(length=4, time="moment").fit(text).step == 3600.0


def test_time_zones_do_not_matter():
    stamps = pd.date_range("2026-03-28", periods=50, freq="h", tz="Europe/Berlin")
    codec = WindowCodec(length=4).fit(pd.DataFrame({"t": stamps, "v": wave(50)}))
    there = codec.transform(pd.DataFrame({"t": stamps.tz_convert("UTC"), "v": wave(50)}))
    assert there.timeline.row.tolist() == list(range(50))


@pytest.mark.parametrize(
    ("codec", "error", "message"),
    [
        (WindowCodec(length=0), DataError, "a number of rows, not 0"),
        (WindowCodec(stride=0), DataError, "stride must be a number of rows, not 0"),
        (WindowCodec(stride="auto"), DataError, "stride must be a number of rows, not 'auto'"),
        (WindowCodec(length="long"), DataError, "'auto' or a number of rows"),
        (WindowCodec(score_of="first"), DataError, "one of \\('all', 'last'\\)"),
        (WindowCodec(time="when"), SchemaError, "No column is called 'when'; there are: v, w"),
        (WindowCodec(entity="who"), SchemaError, "No column is called 'who'"),
        (WindowCodec(time="v", entity="w"), DataError, "no column of values"),
        (WindowCodec(time=["v"]), DataError, "time must be the name of one column, not \\['v'\\]"),
        (WindowCodec(entity=["v", "w"]), DataError, "Join the columns that tell series apart"),
    ],
)
def test_what_cannot_be_is_said_so(codec: WindowCodec, error: type[Exception], message: str):
    frame = pd.DataFrame({"v": np.arange(50.0), "w": ["a"] * 50})
    with pytest.raises(error, match=message):
        codec.fit(frame)


def test_unreadable_times_are_refused():
    frame = pd.DataFrame({"v": wave(50), "time": [None, *np.arange(49.0)]})
    with pytest.raises(DataError, match="1 of 50 times in column 'time' are missing"):
        WindowCodec(length=4).fit(frame)


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="3 rows are too few for a series"):
        WindowCodec().fit([1.0, 2.0, 3.0])


@pytest.mark.parametrize("nothing", [[], (), np.array([])])
def test_an_empty_list_is_a_series_of_no_rows(
    detector: VAEDetector, machines: VAEDetector, nothing: Any
):
    for fitted in (detector, machines):
        assert fitted.score_samples(nothing).shape == (0,)
        assert len(fitted.detect(nothing)) == 0
    with pytest.raises(DataError, match="0 rows are too few for a series"):
        WindowCodec().fit(nothing)


def test_a_series_of_words_is_read_as_words():
    codec = WindowCodec(length=4).fit(["on", "off", "on", "on"] * 20)
    assert codec.transform(["on", "off"]).observed[1].sum() == 2
    with pytest.raises(SchemaError, match="x0"):
        WindowCodec(length=4).fit(wave(50)).read(["on", "off"] * 5)


def test_missing_columns_are_refused(machines: VAEDetector):
    with pytest.raises(SchemaError, match="users"):
        machines.score_samples(frame_of(50).drop(columns="users"))
    with pytest.raises(SchemaError, match="machine"):
        machines.score_samples(frame_of(50).drop(columns="machine"))


def test_repeated_times_are_remarked(machines: VAEDetector):
    frame = frame_of(60)
    twice = pd.concat([frame, frame.iloc[[10]]], ignore_index=True)
    found = machines.detect(twice)
    assert found["warnings"][10] == "a later row has the same time and takes its place"
    assert found["score"][10] == found["score"][120]


# --- missing points, and what counts ------------------------------------------------------------


def test_only_the_last_cell_is_absent_where_only_it_counts():
    values = wave(60)
    values[[20, 30]] = np.nan
    rows = WindowCodec(length=5, score_of="last").fit(values).transform(values)
    assert np.flatnonzero(rows.absent[:, 0]).tolist() == [20, 30]


def test_the_first_windows_of_a_run_are_of_use():
    block = blocks_of(lay_out(None, None, 2000), 8)
    assert (block[:8] == 0).all()


def test_numbers_have_one_scale_a_point():
    codec = WindowCodec(length=3).fit(wave(60))
    assert {part.likelihood for part in codec.parts} == {"normal_per_column"}
    rowwise = WindowCodec(length=3, likelihood="normal").fit(wave(60))
    assert {part.likelihood for part in rowwise.parts} == {"normal"}


def test_the_prior_counts_as_far_as_points_are_there(detector: VAEDetector):
    model, new = detector.model_, wave(300, seed=4)
    new[100:118] = np.nan
    row = model.codec.transform(new).take(np.array([160]))
    batch = as_batch(row)
    share = 1.0 - 18 / model.codec.length
    assert float(batch.observed.mean()) == pytest.approx(share)
    draws = model.draws(batch)
    whole = model.prior.kl(model.vae.encode(draws.batch.values, draws.visible))
    np.testing.assert_allclose(draws.kl.numpy(), share * whole.numpy(), rtol=1e-12)


def test_missing_points_are_filled_in_before_the_encoder_looks(detector: VAEDetector):
    model, new = detector.model_, wave(300, seed=4)
    new[150] = np.nan
    batch = as_batch(model.codec.transform(new).take(np.array([120, 155])))
    draws = model.draws(batch)
    assert bool((draws.visible == 1.0).all())
    np.testing.assert_array_equal(draws.batch.values[0], batch.values[0])
    gone = (batch.observed[1] == 0.0).nonzero().flatten().tolist()
    assert len(gone) == 1
    encoded = model.codec.point.transform(wave(300, seed=4)[:, None]).values[150, 0]
    assert abs(float(draws.batch.values[1, gone[0]]) - encoded) < 0.5
    assert bool((draws.batch.observed == batch.observed).all())


def test_only_missing_cells_are_filled_in():
    """A zero of a column with many of them has an unobserved part, and is not missing."""
    values = np.where(wave(800) > 0.0, wave(800), 0.0)
    fitted = VAEDetector(
        codec=WindowCodec(length=4, kinds={"x0": "positive"}), random_state=0, max_steps=5
    ).fit(values)
    model = fitted.model_
    assert len(model.codec.point.parts) == 2
    batch = as_batch(model.codec.transform(values).take(np.arange(50, 60)))
    assert bool((batch.observed == 0.0).any())
    draws = model.draws(batch)
    np.testing.assert_array_equal(draws.batch.values, batch.values)
    np.testing.assert_array_equal(draws.visible, batch.observed)


@pytest.mark.parametrize("score_of", ["all", "last"])
def test_a_window_of_nothing_scores_as_a_typical_one(score_of: str):
    codec = WindowCodec(length=10, score_of=score_of)
    fitted = VAEDetector(codec=codec, random_state=0, max_steps=40).fit(wave(3000))
    nothing = np.r_[wave(3, 1), np.full(60, np.nan)]
    found = fitted.score_samples(nothing)[40]
    low, high = np.quantile(fitted.model_.held_out, [0.15, 0.85])
    assert low < found < high


@pytest.mark.parametrize(("step", "word"), [(5, "closer together"), (240, "farther apart")])
def test_another_pace_is_warned_of(machines: VAEDetector, step: int, word: str):
    frame = frame_of(60)
    begin = frame["when"].iloc[0]
    frame["when"] = begin + (frame["when"] - begin) * (step / 60)
    with pytest.warns(DataWarning, match=f"Rows are {word} in time .* 60 s apart"):
        machines.score_samples(frame)


def test_short_gaps_are_closed_to_learn_from():
    """On the line between neighbors, or as before; long gaps and other series stay apart."""
    n = 60
    frame = pd.DataFrame({"who": ["a"] * 30 + ["b"] * 30, "v": np.arange(n) * 1.0, "mode": "on"})
    frame.loc[[20, 40], "mode"] = "off"
    holes = frame.copy()
    holes.loc[[5, 6, 7, 21, 29, 30], ["v", "mode"]] = None
    holes.loc[40:55, "v"] = None
    codec = WindowCodec(length=2, entity="who", time=None, kinds={"v": "real"}).fit(frame)
    rows = codec.transform(holes)
    closed, whole = rows.bridged().points, codec.transform(frame).points
    seen = [5, 6, 7, 21]
    number = [i for i, part in enumerate(codec.point.parts) if part.likelihood != "bernoulli"]
    assert closed.observed[seen].all()
    np.testing.assert_allclose(closed.values[5:8], whole.values[5:8], atol=1e-12)
    word = 1 - number[0]
    np.testing.assert_array_equal(closed.values[21, word], whole.values[20, word])
    assert not closed.observed[[29, 30]].any()
    assert not closed.observed[40:56, number[0]].any()
    assert not rows.points.observed[5].any()


def test_a_pandas_index_of_stamps_is_the_time(machines: VAEDetector):
    frame = frame_of(200)[lambda f: f["machine"] == "a"].drop(columns="machine")
    codec = WindowCodec(length=6, score_of="last")
    detector = VAEDetector(codec=codec, random_state=0, max_steps=10).fit(frame)
    indexed = frame.set_index("when").drop(index=frame["when"].iloc[50:60])
    expected = detector.score_samples(indexed.reset_index())
    np.testing.assert_array_equal(detector.score_samples(indexed), expected)
    shuffled = indexed.sample(frac=1.0, random_state=0)
    found = detector.detect(shuffled, alpha=0.1)
    assert found.index.equals(shuffled.index)
    np.testing.assert_array_equal(found["score"].sort_index(), np.round(expected, 9))
    again = VAEDetector(codec=codec, random_state=0, max_steps=10).fit(frame.set_index("when"))
    assert again.model_.codec.time == "when"
    np.testing.assert_array_equal(again.score_samples(indexed), expected)
    unnamed = indexed.rename_axis(None)
    np.testing.assert_array_equal(detector.score_samples(unnamed), expected)


def test_what_comes_back_has_the_index_and_columns_that_went_in(machines: VAEDetector):
    """A frame whose index holds the stamps has no column of them, before or after."""
    frame = frame_of(100)[lambda f: f["machine"] == "a"].drop(columns="machine")
    frame.loc[frame.index[50], "load"] = np.nan
    indexed = frame.set_index("when")
    codec = WindowCodec(length=6, score_of="last")
    detector = VAEDetector(codec=codec, random_state=0, max_steps=5).fit(indexed)
    for verb in (detector.reconstruct, detector.impute):
        found, beside = verb(indexed), verb(frame)
        assert list(found.columns) == ["load", "users"]
        assert list(beside.columns) == ["when", "load", "users"]
        assert found.index.equals(indexed.index)
        np.testing.assert_array_equal(found.sort_values("when")["load"], beside["load"])
    source = detector.model_.codec.read(indexed)
    pd.testing.assert_frame_equal(source.to_native(), indexed, check_dtype=False)


def test_an_index_that_is_no_time_stays_an_index():
    frame = pd.DataFrame({"load": wave(100)}, index=np.arange(100)[::-1])
    assert WindowCodec(length=6).fit(frame).time is None
    stamped = frame.set_axis(pd.date_range("2026-01-01", periods=100))
    assert WindowCodec(length=6, time=None).fit(stamped).time is None
    seconds = frame.rename_axis("second")
    assert WindowCodec(length=6, time="second").fit(seconds).head == (
        ("second", "number", "Int64"),
    )


def test_series_told_apart_by_nothing_are_said_to_be_so():
    frame = frame_of(100).drop(columns="machine")
    with pytest.warns(DataWarning, match="100 of 200 rows share their time .* entity"):
        WindowCodec(length=6).fit(frame)


def test_windows_far_apart_are_said_to_be_so(machines: VAEDetector):
    frame = frame_of(60)
    late = frame.assign(when=frame["when"].astype("datetime64[ms]").astype("int64"))
    with pytest.warns(DataWarning, match="farther apart"):
        machines.score_samples(late)


def test_windows_longer_than_every_series_are_refused():
    with pytest.raises(DataError, match="of 51 rows is longer than the longest .* of 50"):
        WindowCodec(length=51, entity="machine").fit(frame_of(50))
    WindowCodec(length=50, entity="machine").fit(frame_of(50))


def test_a_constant_is_not_blamed_for_the_row_beside_it():
    rows = np.random.default_rng(0).normal(size=(800, 2))
    rows[:, 1] = 1.0
    codec = WindowCodec(length=4)
    detector = VAEDetector(codec=codec, random_state=0, max_steps=5, verbose=False).fit(rows)
    new = rows[:20].copy()
    new[10, 1] = 2.0
    found = detector.explain(new)
    column = found.columns.index("x1")
    assert "never seen" in found.reason(10, column)
    assert found.reason(9, column) == "x1 = 1 (usual itself, unlike a row beside it)"


def noisy_wave(n, seed):
    rng = np.random.default_rng(seed)
    wave = np.sin((np.arange(n) + rng.integers(0, 60)) / 6.0)
    mode = np.where(wave > 0.0, "up", "down").astype(object)
    return pd.DataFrame({"a": wave + 0.2 * rng.normal(size=n), "mode": mode})


@pytest.fixture(scope="module")
def of_the_last_row() -> VAEDetector:
    codec = WindowCodec(length=12, score_of="last")
    return VAEDetector(codec=codec, random_state=0, max_steps=60, hidden=(32,)).fit(
        noisy_wave(1500, 0)
    )


def test_a_value_never_seen_is_charged_to_its_own_row_alone(of_the_last_row: VAEDetector):
    rows = noisy_wave(60, 1)
    odd, missing = rows.copy(), rows.copy()
    odd.loc[30, "mode"], missing.loc[30, "mode"] = "sideways", None
    found, wanted = (of_the_last_row.score_samples(one) for one in (odd, missing))
    np.testing.assert_allclose(np.delete(found, 30), np.delete(wanted, 30), atol=1e-9)
    assert found[30] < wanted[30] - 3.0


def test_rows_without_a_full_window_say_so(of_the_last_row: VAEDetector):
    notes = of_the_last_row.detect(noisy_wave(40, 1))["warnings"].tolist()
    assert notes == ["its window is not full yet"] * 11 + [""] * 29
    everything = WindowCodec(length=4)
    detector = VAEDetector(codec=everything, random_state=0, max_steps=5, hidden=(8,))
    assert set(detector.fit(noisy_wave(900, 0)).detect(noisy_wave(40, 1))["warnings"]) == {""}


def test_a_series_in_another_time_zone_says_so():
    frame = noisy_wave(300, 0)
    stamps = pd.date_range("2026-01-01", periods=300, freq="min", tz="Europe/Berlin")
    codec = WindowCodec(length=4, score_of="last")
    detector = VAEDetector(codec=codec, random_state=0, max_steps=2, hidden=(8,))
    detector.fit(frame.assign(time=stamps))
    with pytest.warns(DataWarning, match="'time' has no time zone here and had Europe/Berlin"):
        detector.score_samples(frame.assign(time=stamps.tz_localize(None)))


def test_rows_of_shared_windows_count_by_window_lengths_in_drift():
    codec = WindowCodec(length=12)
    detector = VAEDetector(codec=codec, random_state=0, max_steps=60, hidden=(32,)).fit(
        noisy_wave(4000, 0)
    )
    assert detector.model_.independent == 1 / 12
    clean = [detector.drift(noisy_wave(600, seed)).p_value for seed in range(1, 9)]
    assert min(clean) > 1e-3
    louder = noisy_wave(600, 9)
    louder["a"] *= 1.5
    assert detector.drift(louder).is_drift


def test_columns_that_a_series_does_not_use_are_not_read(machines: VAEDetector):
    rows = frame_of(200)
    odd = rows.assign(lists=[[1]] * len(rows))
    np.testing.assert_array_equal(machines.score_samples(odd), machines.score_samples(rows))
    with pytest.raises(SchemaError, match="lists"):
        machines.score_samples(odd.drop(columns="when"))
