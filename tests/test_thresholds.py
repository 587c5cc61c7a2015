"""Peaks over threshold: known distributions, promised rates, and what must not be learned."""

import numpy as np
import pytest
from scipy.stats import genpareto, norm

from improbable import ImprobableError
from improbable.streams.thresholds import (
    MOST_PEAKS,
    REFIT_AFTER,
    Hidden,
    begin,
    excess_at,
    learned,
    pareto_by_moments,
)

Q, N = 1e-3, 100_000
# A rate of 1e-3 over 100,000 scores has a standard error of 1e-4 by itself. The threshold is an
# estimate, from 500 peaks whose 2 % quantile it is: 20 % to 30 % of the rate. Three of these.
LOW, HIGH = 0.4e-3, 2e-3


def alarms(held_out, scores, q=Q, depth=0):
    """Which scores are alarms, and the thresholds they met."""
    threshold = begin(held_out, q, depth)
    found, met = np.zeros(len(scores), dtype=bool), np.empty(len(scores))
    for i, score in enumerate(scores.tolist()):
        met[i] = threshold.value
        found[i] = score < met[i]
        if not found[i]:
            threshold = learned(threshold, score)
    return found, met


@pytest.mark.parametrize(("shape", "scale"), [(0.0, 2.0), (0.2, 1.0), (0.4, 0.3)])
def test_the_fit_finds_what_scipy_drew_and_agrees_with_its_fit(shape, scale):
    excess = genpareto.rvs(shape, scale=scale, size=20_000, random_state=0)
    found = pareto_by_moments(excess)
    by_likelihood = genpareto.fit(excess, floc=0.0)
    # Standard errors of the shape, and of the scale relative to it, are about 0.012 (Hosking and
    # Wallis, 1987, table 2).
    for known in ((shape, scale), (by_likelihood[0], by_likelihood[2])):
        assert found[0] == pytest.approx(known[0], abs=0.04)
        assert found[1] == pytest.approx(known[1], rel=0.04)


def test_hidden_excesses_put_a_cut_off_tail_right():
    shape, scale = 0.1, 1.0
    excess = genpareto.rvs(shape, scale=scale, size=200_000, random_state=1)
    cut = float(genpareto.isf(0.02, shape, scale=scale))
    kept = excess[excess <= cut]
    alone = pareto_by_moments(kept)
    hidden = Hidden(0.02 / 0.98 * len(kept), cut, shape, scale)
    assert pareto_by_moments(kept, hidden) == pytest.approx((shape, scale), abs=0.02)
    assert alone[0] < 0.05


@pytest.mark.parametrize("shape", [-0.1, 0.0, 0.3])
def test_the_quantile_is_that_of_scipy(shape):
    assert excess_at(0.01, shape, 2.0) == pytest.approx(genpareto.isf(0.01, shape, scale=2.0))
    assert excess_at(1.5, shape, 2.0) == 0.0


@pytest.mark.parametrize("excess", [np.full(30, 2.0), np.zeros(30)])
def test_excesses_all_alike_still_have_a_tail(excess):
    shape, scale = pareto_by_moments(excess)
    assert np.isfinite(shape)
    assert scale > 0.0


@pytest.mark.parametrize("depth", [0, 200])
def test_independent_scores_keep_their_rate(depth):
    rng = np.random.default_rng(0)
    found, met = alarms(rng.normal(size=2_000), rng.normal(size=N), depth=depth)
    assert LOW < found.mean() < HIGH
    assert met[-1] == pytest.approx(norm.ppf(Q), abs=0.3)


def test_heavy_tails_keep_their_rate():
    rng = np.random.default_rng(1)
    found, _ = alarms(-rng.exponential(3.0, size=1_000), -rng.exponential(3.0, size=N))
    assert LOW < found.mean() < HIGH


def test_a_slow_drift_keeps_the_rate_where_a_fixed_threshold_fails():
    rng = np.random.default_rng(2)
    held_out = rng.normal(size=2_000)
    scores = rng.normal(size=N) - np.linspace(0.0, 5.0, N)
    found, met = alarms(held_out, scores, depth=200)
    assert LOW < found.mean() < HIGH
    assert LOW / 2 < found[-N // 4 :].mean() < HIGH
    assert met[-1] < met[0] - 4.0
    assert (scores < np.quantile(held_out, Q)).mean() > 100 * Q


def test_alarms_move_nothing():
    rng = np.random.default_rng(3)
    held_out, scores = rng.normal(size=1_000), rng.normal(size=3_000)
    alone = alarms(held_out, scores, depth=50)[1]
    spoiled = np.insert(scores, 1_000, np.full(500, -30.0))
    found, met = alarms(held_out, spoiled, depth=50)
    assert found[1_000:1_500].all()
    assert np.array_equal(np.delete(met, slice(1_000, 1_500)), alone)


def test_the_tail_is_fitted_anew_after_some_peaks_and_forgets_old_ones():
    threshold = begin(np.random.default_rng(4).normal(size=1_000), 0.01)
    peak = -threshold.level - 0.5 * threshold.reach
    before = threshold.reach
    for _ in range(REFIT_AFTER - 1):
        threshold = learned(threshold, peak)
        assert threshold.reach == before
    assert learned(threshold, peak).reach != before
    for _ in range(MOST_PEAKS + 10):
        threshold = learned(threshold, peak)
    assert len(threshold.excess) == len(threshold.at) == MOST_PEAKS
    assert np.all(np.diff(threshold.at) >= 0)


def test_learning_gives_a_new_record():
    threshold = begin(np.random.default_rng(5).normal(size=500), 0.01, 10)
    before = threshold.recent.copy(), threshold.excess.copy(), threshold.value
    learned(threshold, -2.0)
    assert np.array_equal(threshold.recent, before[0])
    assert np.array_equal(threshold.excess, before[1])
    assert threshold.value == before[2]


def test_too_little_to_begin_with_is_refused():
    with pytest.raises(ImprobableError, match="100 held-out scores or more, there are 99"):
        begin(np.arange(99.0), 0.01)
    with pytest.raises(ImprobableError, match="up to 0.25"):
        begin(np.arange(200.0), 0.5)
