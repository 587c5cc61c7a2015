"""The benchmark of time series: its figures against plain loops, its data against its rules."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import series
import series_data
import series_metrics
import series_networks
import series_peers
from results import Results


def some_labels(seed, n=400):
    """Scores that know a little of the labels, which have a few segments."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(n, dtype=bool)
    for first in rng.integers(0, n, size=rng.integers(1, 6)):
        labels[first : first + rng.integers(1, 40)] = True
    if seed % 4 == 1:
        labels[:4] = labels[-3:] = True
    scores = rng.normal(size=n) + labels * rng.uniform(0, 2)
    return np.round(scores, 1) if seed % 3 == 0 else scores, labels


def of_one_width(scores, labels, width):
    """The areas of one buffer width by the published definition, threshold by threshold."""
    n, half = len(labels), width // 2
    true = [(a, b) for a, b in zip(*ends_of(labels), strict=True)]
    soft = labels.astype(float)
    for first, last in true:
        for away in range(1, half + 1):
            for place in (first - away, last + away):
                if 0 <= place < n:
                    soft[place] += np.sqrt(1 - away / width)
    soft = np.minimum(soft, 1)
    wide = np.zeros(n, dtype=bool)
    merged = []
    for first, last in true:
        if merged and merged[-1][1] + half >= first - half:
            merged[-1][1] = last
        else:
            merged.append([first, last])
    wide = [slice(max(a - half, 0), b + half + 1) for a, b in merged]
    recall, false_alarms, precision = [0.0], [0.0], []
    for threshold in np.sort(scores)[::-1][np.linspace(0, n - 1, 250).astype(int)]:
        flagged = scores >= threshold
        met = soft[flagged].sum()
        positive = (2 * labels.sum() + soft[flagged & ~labels].sum()) / 2
        share = np.mean([flagged[part].any() for part in wide])
        recall.append(min(met / positive, 1) * share)
        false_alarms.append((flagged.sum() - met) / (n - positive))
        precision.append(met / flagged.sum())
    roc = np.trapezoid([*recall, 1.0], [*false_alarms, 1.0])
    return roc, np.dot(np.diff(recall), precision)


def ends_of(labels):
    steps = np.diff(np.r_[0, labels.astype(int), 0])
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1


@pytest.mark.parametrize("seed", range(8))
def test_volumes_are_the_means_of_areas_computed_threshold_by_threshold(seed):
    scores, labels = some_labels(seed)
    window = 3 * seed
    one_by_one = [of_one_width(scores, labels, width) for width in range(window + 1)]
    expected = np.mean(one_by_one, axis=0)
    assert series_metrics.volumes(scores, labels, window) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_volumes_equal_those_of_the_published_package(seed):
    published = pytest.importorskip("TSB_AD.evaluation.basic_metrics")
    scores, labels = some_labels(seed)
    *_, roc, pr = published.generate_curve(labels.astype(int), scores, 2 * seed, "opt", 250)
    assert series_metrics.volumes(scores, labels, 2 * seed) == pytest.approx((roc, pr), abs=1e-6)


def test_adjusted_f1_is_the_best_over_all_thresholds():
    for seed in range(6):
        scores, labels = some_labels(seed)
        best = 0.0
        for threshold in np.unique(scores):
            flagged = scores >= threshold
            for first, last in zip(*ends_of(labels), strict=True):
                flagged[first : last + 1] |= flagged[first : last + 1].any()
            best = max(best, 2 * (flagged & labels).sum() / (flagged.sum() + labels.sum()))
        assert series_metrics.adjusted_f1(scores, labels) == pytest.approx(best)


def test_range_f1_by_hand():
    labels = np.array([0, 1, 1, 1, 1, 0, 0, 1, 1, 0], dtype=bool)
    flagged = np.array([0, 1, 0, 1, 0, 1, 0, 0, 0, 0], dtype=bool)
    recall = np.mean([0.2 + 0.8 * (2 / 4) / 2, 0])  # half of the first in two pieces
    precision = np.mean([1, 1, 0])
    expected = 2 * recall * precision / (recall + precision)
    assert series_metrics.range_f1_of(flagged, labels) == pytest.approx(expected)


@pytest.mark.parametrize("length", [7, 24, 96])
def test_period_of_a_wave(length):
    noise = np.random.default_rng(0).normal(size=3000)
    wave = np.sin(2 * np.pi * np.arange(3000) / length) + 0.1 * noise
    assert abs(series_metrics.period(wave) % length) <= 1


def test_constant_series_has_no_period():
    assert series_metrics.period(np.ones(500)) == series_metrics.NO_PERIOD


def test_points_are_sorted_the_last_of_equal_stamps_kept_and_gaps_left_open():
    times = np.array([0, 20, 10, 20, 50, 60, 70, 80, 90])
    points = series_data.on_grid(times, np.arange(9.0), np.zeros(9))
    expected = [0, 2, 3, np.nan, np.nan, 4, 5, 6, 7, 8]
    np.testing.assert_array_equal(points.times, np.arange(0, 100, 10))
    np.testing.assert_array_equal(points.values, expected)
    np.testing.assert_array_equal(np.isnan(points.labels), np.isnan(expected))


def test_points_without_a_rhythm_stay_as_they_come():
    times = np.array([0, 1, 2, 50, 51, 52, 100])
    points = series_data.on_grid(times, np.arange(7.0), np.zeros(7))
    np.testing.assert_array_equal(points.times, times)


def some_series(n_channels=1, n=400):
    rng = np.random.default_rng(0)
    wave = np.sin(np.arange(2 * n) / 4)[:, None] + 0.1 * rng.normal(size=(2 * n, n_channels))
    labels = np.zeros(n, dtype=bool)
    labels[200:215] = True
    wave[n:][labels] += 4
    return series_data.Series("wave", "none", wave[:n], wave[n:], labels, np.ones(n, dtype=bool))


def test_thinning_takes_whole_points_and_the_same_ones_for_a_seed():
    whole = some_series(n_channels=3)
    thin, again = whole.thinned(0.1, 1), whole.thinned(0.1, 1)
    np.testing.assert_array_equal(thin.train, again.train)
    gone = np.isnan(thin.test)
    assert (gone.all(axis=1) == gone.any(axis=1)).all()
    assert 0.05 < gone.mean() < 0.15
    assert not np.isnan(thin.complete().test).any()


UNTRIED = ("improbable", "random", "matrix-profile")  # the last is compiled for half a minute
PEERS = [name for name in series_peers.METHODS if name not in UNTRIED]


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("name", PEERS)
def test_peers_find_a_jump_and_repeat_themselves(name, n_channels, monkeypatch):
    monkeypatch.setattr(series_peers, "STEPS", {"univariate": 100, "multivariate": 100})
    monkeypatch.setattr(series_peers, "MULTIVARIATE_WINDOW", 20)
    method, data = series_peers.METHODS[name], some_series(n_channels)
    if method.missing() or data.kind not in method.kinds:
        pytest.skip("not for these data, or not installed")
    scores = method.fit(data, 0)(data.test)
    assert scores.shape == (len(data.test),)
    np.testing.assert_array_equal(scores, method.fit(data, 0)(data.test))
    assert series_metrics.figures(scores, data.is_anomaly, data.window)["vus_roc"] > 0.8


def test_window_scores_are_given_to_the_middle():
    np.testing.assert_array_equal(
        series_peers.centered(np.array([1, 2, 3]), 4), [1, 1, 1, 2, 3, 3]
    )


def a_result(**changes):
    row = dict.fromkeys((*series_metrics.FIGURES, "fit_seconds", "score_seconds"), 0.5)
    row |= {"family": "UCR", "series": "one", "method": "random", "seed": 0, "missing": 0.0}
    return row | {"kind": "univariate"} | changes


def test_results_are_kept_once_and_read_again(tmp_path):
    path = tmp_path / "series.parquet"
    Results(path, series.KEY).add(a_result(vus_pr=0.1))
    Results(path, series.KEY).add(a_result(vus_pr=0.2))
    rows = Results(path, series.KEY).rows
    assert [row["vus_pr"] for row in rows.values()] == [0.2]


def test_tables_tell_what_misleads_what_is_published_and_what_is_lost(tmp_path, capsys):
    results = Results(tmp_path / "series.parquet", series.KEY)
    results.add(a_result())
    results.add(a_result(missing=0.1, vus_pr=0.25))
    text = "\n".join(series.tables(series.pd.DataFrame(results.rows.values())))
    assert "adjusted F1 (misleading)" in text
    assert "Donut (published, other series)" in text
    assert "| univariate | random | " in text
    assert "25.0" in text


def test_a_series_counts_once_however_many_seeds(tmp_path):
    results = Results(tmp_path / "series.parquet", series.KEY)
    for row in (a_result(vus_pr=0.1), a_result(seed=1, vus_pr=0.3)):
        results.add(row)
    results.add(a_result(series="two", vus_pr=0.6))
    rows = series.over_seeds(series.pd.DataFrame(results.rows.values()))
    assert rows["vus_pr"].tolist() == pytest.approx([0.2, 0.6])


def test_networks_are_compared_on_the_series_that_all_have():
    rows = [
        a_result(family="ASD", series=name, method=method, vus_pr=value)
        for method, name, value in (
            ("mlp", "a", 0.2),
            ("gru", "a", 0.4),
            ("mlp", "b", 0.9),
        )
    ]
    text = "\n".join(series_networks.tables(series.pd.DataFrame(rows)))
    assert "20.0" in text
    assert "40.0" in text
    assert "90.0" not in text


def test_a_recurrent_autoencoder_finds_a_break():
    rng, time = np.random.default_rng(0), np.arange(900)
    values = np.sin(time / 3)[:, None] + 0.05 * rng.normal(size=(900, 1))
    test = values[:300].copy()
    test[150:170] = 1.5
    marks = np.zeros(300, dtype=bool)
    made = series_data.Series("made", "none", values, test, marks, ~marks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series_networks, "STEPS", 40)
        scores = series_networks.fit_recurrent_autoencoder(made, 0)(test)
    assert scores.shape == (300,)
    assert scores.argmax() in range(140, 180)
