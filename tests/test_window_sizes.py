"""Rows at the ends of series: how many points judge them, and p-values that allow for it."""

import numpy as np
import pandas as pd
import pytest

from improbable import VAEDetector, WindowCodec, load, save
from improbable.data.rows import DenseRows
from improbable.data.timeline import lay_out
from improbable.data.window_rows import Layout, WindowRows
from improbable.lengths import Leveling

LENGTH, N_SERIES, N_ROWS = 8, 150, 24


def windows(score_of: str, rows: list[list[float | None]]) -> WindowRows:
    """Windows of three points over series of one column."""
    codec = WindowCodec(length=3, score_of=score_of, entity="id", time=None)
    known = codec.fit(pd.DataFrame({"id": ["a"] * 12, "x": np.arange(12.0) % 5}))
    frame = pd.DataFrame([(str(i), x) for i, row in enumerate(rows) for x in row])
    frame.columns = pd.Index(["id", "x"])
    return known.transform(frame.astype({"x": float}))


def test_sizes_count_known_points_of_the_window_or_windows_that_hold_the_row():
    rows = [[1.0, 2.0, 3.0, 4.0, 5.0], [None, 2.0, 3.0], [None, None]]
    assert windows("last", rows).sizes.tolist() == [1, 2, 3, 3, 3, 1, 1, 2, 1, 1]
    assert windows("all", rows).sizes.tolist() == [1, 2, 3, 2, 1, 1, 1, 1, 2, 1]


def test_rows_before_a_hole_are_held_by_fewer_windows():
    codec = WindowCodec(length=3, time="t").fit(
        pd.DataFrame({"t": range(40), "x": np.arange(40.0) % 7.0})
    )
    times = [0, 1, 2, 3, 4, 10, 11, 12]
    rows = codec.transform(pd.DataFrame({"t": times, "x": times}))
    assert rows.sizes.tolist() == [1, 2, 3, 2, 1, 3, 2, 1]


def bare(n_rows: list[int], score_of: str, left_out: tuple[int, ...] = ()) -> WindowRows:
    """Windows of four points whose values are their own places."""
    n = sum(n_rows)
    line = lay_out(None, np.repeat(np.arange(len(n_rows)), n_rows), n)
    values = np.append(np.arange(float(n)), 0.0)[:, None]
    gone = np.arange(n + 1)[:, None] == n
    points = DenseRows(values, ~gone, 0.0 * values, gone, gone & False, gone & False)
    layout = Layout(
        4,
        WindowCodec(length=4).fit(np.random.default_rng(0).normal(size=99)).point.parts,
        np.zeros(1, int),
    )
    ends = np.delete(np.arange(n), left_out)
    return WindowRows(points, line, layout, ends, spread=score_of == "all")


@pytest.mark.parametrize("score_of", ["last", "all"])
def test_pieces_hold_rows_of_all_sizes(score_of: str):
    found = bare([30, 3, 30], score_of).of_many_sizes(40)
    n_pieces = 20
    assert sorted(found.sizes.tolist()) == sorted([1, 2, 3, 4] * n_pieces)
    own = found.points.values[found.ends, 0]
    for window, size, last in zip(found.values, found.sizes, own, strict=True):
        known = 4 if score_of == "all" else size
        expected = np.where(np.arange(4) < 4 - known, 0.0, last - np.arange(3, -1, -1))
        assert window.tolist() == expected.tolist()


def test_pieces_that_overlapping_windows_would_leave_are_not_taken():
    whole = bare([60], "all")
    fewer = bare([60], "all", left_out=(20,))
    starts = {int(v) for v in whole.of_many_sizes(4_000).points.values[:-1:7, 0]}
    assert starts == set(range(54))
    kept = {int(v) for v in fewer.of_many_sizes(4_000).points.values[:-1:7, 0]}
    assert kept == {s for s in range(54) if not s + 3 <= 20 < s + 7}


def test_rows_left_out_are_in_no_piece():
    fewer = bare([60], "last", left_out=(20,)).of_many_sizes(4_000)
    judged = fewer.points.values[fewer.ends, 0]
    assert 19.0 in judged
    assert 20.0 not in judged


def test_series_too_short_have_no_pieces():
    assert len(bare([3] * 20, "last").of_many_sizes(40)) == 0
    assert len(bare([10], "last").of_many_sizes(40)) == 0
    assert len(bare([6] * 20, "all").of_many_sizes(40)) == 0


def test_leveling_at_a_typical_size_keeps_its_scores():
    rng = np.random.default_rng(0)
    sizes = np.repeat([1, 2, 4], 2_000)
    scores = 3.0 + rng.normal(size=6_000) * 4.0 / sizes - 8.0 / sizes
    leveling = Leveling.at(scores, sizes, moved=True)
    found = leveling(scores, sizes)
    np.testing.assert_allclose(found[4_000:], scores[4_000:], atol=1e-12)
    for size in (1, 2):
        chosen = found[sizes == size]
        assert abs(chosen.mean() - 1.0) < 5.0 / np.sqrt(2_000)
        assert 0.9 < chosen.std() < 1.1
    assert Leveling.from_json(leveling.to_json()) == leveling
    still = Leveling.at(scores, sizes, moved=False)
    assert set(still.loc) == {float(np.median(scores))}


def test_a_few_outliers_do_not_move_the_leveling():
    rng = np.random.default_rng(0)
    sizes, scores = np.repeat([1, 2, 4], 50), rng.normal(size=150)
    plain = Leveling.at(scores, sizes, moved=True)
    scores[[3, 60, 149]] = -1_000.0
    spiked = Leveling.at(scores, sizes, moved=True)
    np.testing.assert_allclose(spiked.loc, plain.loc, atol=0.2)
    np.testing.assert_allclose(spiked.spread, plain.spread, rtol=0.3)
    assert max(Leveling.at(np.ones(6), np.arange(6), moved=True).spread) > 0.0


def series(n_series: int, n_rows: int, seed: int) -> pd.DataFrame:
    """Noisy sines of any phase: the first point of each comes as a surprise."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0.0, 2.0 * np.pi, n_series)[:, None]
    wave = np.sin(phase + 2.0 * np.pi * np.arange(n_rows) / 12.0)
    noisy = wave + 0.1 * rng.normal(size=wave.shape)
    return pd.DataFrame({"id": np.repeat(np.arange(n_series), n_rows), "x": noisy.ravel()})


@pytest.fixture(scope="module")
def last() -> VAEDetector:
    codec = WindowCodec(length=LENGTH, score_of="last", entity="id", time=None)
    detector = VAEDetector(codec=codec, random_state=0, max_steps=60, hidden=(32,))
    return detector.fit(series(2, 2_000, 0).astype({"id": str}))


def test_first_rows_of_series_are_flagged_as_often_as_others(last: VAEDetector):
    new = series(N_SERIES, N_ROWS, 1).astype({"id": str})
    flagged = (last.p_values(new) <= 0.1).reshape(N_SERIES, N_ROWS).mean(axis=0)
    error = np.sqrt(0.1 * 0.9 / N_SERIES)
    assert flagged[:LENGTH].mean() < 0.1 + 3.0 * error
    assert flagged[:LENGTH].max() < 0.1 + 5.0 * error
    before = last.scores(new)["elbo"].to_numpy().reshape(N_SERIES, N_ROWS)
    limit = np.quantile(before[:, LENGTH:], 0.1)
    assert (before[:, 0] <= limit).mean() < 0.03  # as they come, hardly one is low
    assert flagged[0] > 0.03


def test_rows_of_full_windows_keep_their_scores(last: VAEDetector):
    new = series(3, N_ROWS, 2).astype({"id": str})
    full = np.arange(len(new)) % N_ROWS >= LENGTH - 1
    found, as_scored = last.score_samples(new), last.scores(new)["elbo"].to_numpy()
    np.testing.assert_allclose(found[full], as_scored[full], atol=1e-8)
    assert not np.isclose(found[~full], as_scored[~full], atol=1e-3).any()


def test_streams_and_files_level_alike(last: VAEDetector, tmp_path):
    new = series(4, N_ROWS, 3).astype({"id": str})
    expected = last.score_samples(new)
    by_point = [r.score for row in new.to_dict("records") for r in last.stream().push(row)]
    assert by_point != expected.tolist()
    stream = last.stream()
    readings = [r.score for i in range(0, len(new), 5) for r in stream.push(new[i : i + 5])]
    np.testing.assert_allclose(readings, expected, atol=1e-6)
    save(last, tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model").score_samples(new), expected)


def test_last_rows_of_a_series_spread_as_others():
    codec = WindowCodec(length=LENGTH, entity="id", time=None)
    detector = VAEDetector(codec=codec, random_state=0, max_steps=60, hidden=(32,))
    detector.fit(series(2, 2_000, 0).astype({"id": str}))
    new = series(400, N_ROWS, 1).astype({"id": str})
    found = detector.score_samples(new).reshape(400, N_ROWS)
    within, at_end = found[:, LENGTH:-LENGTH].std(), found[:, -1].std()
    assert 0.75 < at_end / within < 1.25
    raw = detector.reconstruction_probability(new, "elbo").reshape(400, N_ROWS)
    assert raw[:, -1].std() > 1.15 * raw[:, LENGTH:-LENGTH].std()
