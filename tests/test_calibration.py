"""P-values, q-values, thresholds and tails against brute force, SciPy and known truths."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import expon, false_discovery_control, norm

from improbable import calibration, results
from improbable.calibration import (
    TAIL_ROWS,
    Tail,
    fit_tail,
    outer_fence,
    p_values,
    q_value_levels,
    q_values,
    smallest_p,
    tail_p_values,
    threshold_at,
)
from improbable.errors import CalibrationWarning, ImprobableError, NotCalibratedError

FUZZ = settings(max_examples=60, deadline=None)
scores = st.one_of(
    st.integers(-5, 5).map(float), st.floats(allow_nan=False), st.sampled_from([np.inf, -np.inf])
)
batches = st.lists(scores, min_size=1, max_size=30)
levels = st.floats(0.0, 1.0, exclude_min=True)


# -- p-values -------------------------------------------------------------------------------


@FUZZ
@given(batches, batches)
def test_p_values_count_held_out_scores_as_low(some, held_out):
    found = p_values(some, held_out)
    n = len(held_out)
    expected = [(1 + sum(h <= s for h in held_out)) / (n + 1) for s in some]
    np.testing.assert_array_equal(found, expected)
    assert (found >= smallest_p(n)).all()
    assert (found > 0.0).all()
    assert (found <= 1.0).all()


@FUZZ
@given(batches, batches)
def test_p_values_are_monotone_and_blind_to_order(some, held_out):
    ranked = np.sort(some)
    assert (np.diff(p_values(ranked, held_out)) >= 0.0).all()
    np.testing.assert_array_equal(p_values(some, held_out[::-1]), p_values(some, held_out))


def test_nan_scores_have_nan_p_values_and_nan_held_out_scores_do_not_count():
    found = p_values([0.0, np.nan, 9.0], [1.0, np.nan, 2.0, np.nan, 3.0])
    np.testing.assert_array_equal(found, [0.25, np.nan, 1.0])


@pytest.mark.parametrize("held_out", [[], [np.nan]])
def test_without_held_out_scores_there_is_no_p_value(held_out):
    with pytest.raises(NotCalibratedError, match="calibration_fraction above 0"):
        p_values([1.0], held_out)


@pytest.mark.parametrize("alpha", [0.1, 0.01, 0.001])
@pytest.mark.parametrize("rounded", [False, True])
def test_false_alarms_on_exchangeable_scores_are_alpha(alpha, rounded):
    """T7. Ties only ever make the p-values larger."""
    n, m, repeats = 999, 50, 400
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(repeats):
        drawn = rng.standard_normal(n + m)
        drawn = np.round(drawn, 1) if rounded else drawn
        alarms += int((p_values(drawn[n:], drawn[:n]) <= alpha).sum())
    share = alarms / (m * repeats)
    slack = 4.0 * np.sqrt(alpha * (1 - alpha) * (1 / (n + 2) / repeats + 1 / (m * repeats)))
    assert share <= alpha + slack
    if not rounded:
        assert share >= alpha - slack


def test_few_held_out_scores_keep_the_guarantee():
    rng = np.random.default_rng(3)
    drawn = rng.standard_normal((20_000, 10))
    share = np.mean([p_values(row[9:], row[:9])[0] <= 0.1 for row in drawn])
    assert share == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / len(drawn)))


# -- q-values -------------------------------------------------------------------------------


@FUZZ
@given(st.lists(st.one_of(levels, st.sampled_from([0.01, 0.02, 1.0])), min_size=1, max_size=40))
def test_q_values_are_benjamini_and_hochberg(p):
    found = q_values(p)
    np.testing.assert_allclose(found, false_discovery_control(p, method="bh"), rtol=1e-12)
    assert (found >= np.array(p)).all()
    assert (found <= 1.0).all()


@FUZZ
@given(st.lists(st.sampled_from([0.001, 0.01, 0.02, 0.3, 0.9, 1.0]), min_size=1, max_size=40))
def test_q_values_from_a_tally(p):
    distinct, counts = np.unique(p, return_counts=True)
    table = dict(zip(distinct, q_value_levels(distinct, counts), strict=True))
    np.testing.assert_array_equal(q_values(p), [table[value] for value in p])


def test_q_values_of_nan_and_of_nothing():
    np.testing.assert_array_equal(q_values([0.01, np.nan, 0.02, 0.9]), [0.03, np.nan, 0.03, 0.9])
    assert q_values([]).shape == (0,)
    assert np.isnan(q_values([np.nan])).all()
    assert q_value_levels(np.empty(0), np.empty(0, dtype=np.int64)).shape == (0,)


def test_benjamini_hochberg_controls_false_discoveries():
    """T8. 5 % anomalies among the rows judged; FDR over seeds, and most anomalies found."""
    fdr, m, n_outliers = 0.1, 400, 20
    false, power = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        held_out = rng.standard_normal(2000)
        judged = rng.standard_normal(m)
        judged[:n_outliers] -= 6.0
        flagged = q_values(p_values(judged, held_out)) <= fdr
        false.append(flagged[n_outliers:].sum() / max(flagged.sum(), 1))
        power.append(flagged[:n_outliers].mean())
    assert np.mean(false) <= fdr + 3 * np.std(false) / np.sqrt(len(false))
    assert np.mean(false) > 0.03, "not by flagging next to nothing"
    assert np.mean(power) > 0.9


# -- thresholds -----------------------------------------------------------------------------


@FUZZ
@given(batches, batches, levels)
def test_below_the_threshold_is_p_at_most_alpha(some, held_out, alpha):
    threshold = threshold_at(held_out, alpha)
    with np.errstate(over="ignore"):
        probe = np.array([*some, *held_out, *np.nextafter(held_out, -np.inf)])
    flagged = probe < threshold
    if alpha >= smallest_p(len(held_out)) and alpha < 1.0:
        np.testing.assert_array_equal(flagged, p_values(probe, held_out) <= alpha)
    elif alpha < 1.0:
        assert threshold == min(held_out)


@pytest.mark.parametrize("n", [1, 2, 9, 28, 99, 999])
def test_threshold_at_levels_that_p_values_reach_exactly(n):
    held_out = np.random.default_rng(n).standard_normal(n)
    for k in range(1, n + 1):
        alpha = k / (n + 1)
        for level in (alpha, np.nextafter(alpha, 0.0), np.nextafter(alpha, 1.0)):
            flagged = held_out < threshold_at(held_out, level)
            expected = p_values(held_out, held_out) <= level
            np.testing.assert_array_equal(flagged, expected)


def test_threshold_edges():
    assert threshold_at([1.0, 2.0], 1.0) == np.inf
    assert threshold_at([2.0, 1.0], 1e-9) == 1.0
    assert threshold_at([], 0.1) == -np.inf
    assert threshold_at([np.nan, 1.0, 3.0], 0.4) == 1.0
    assert smallest_p(99) == 0.01


# -- outer fence ----------------------------------------------------------------------------


def test_outer_fence_is_three_boxes_below_the_box():
    """Quartiles of 1 to 5 are 2 and 4: the box is 2 wide."""
    assert outer_fence([1.0, 2.0, 3.0, 4.0, 5.0]) == 2.0 - 3.0 * 2.0
    assert outer_fence([5.0, 3.0, 1.0, 2.0, 4.0, np.nan]) == -4.0
    assert outer_fence(np.arange(9.0) * 10.0) == 20.0 - 3.0 * 40.0


def test_outer_fence_of_one_score_of_equal_ones_and_of_none():
    assert outer_fence([7.0]) == 7.0
    assert outer_fence([7.0] * 9) == 7.0
    assert outer_fence([]) == -np.inf
    assert outer_fence([np.nan]) == -np.inf


def test_outer_fence_tells_planted_scores_and_no_normal_ones():
    rng = np.random.default_rng(0)
    normal = rng.standard_normal(2000)
    planted = rng.normal(-12.0, 1.0, 200)
    fence = outer_fence(np.r_[normal, planted])
    assert (planted < fence).all()
    assert (normal >= fence).all()


@FUZZ
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40))
def test_fewer_than_a_quarter_lie_beyond_the_outer_fence(some):
    assert np.mean(np.array(some) < outer_fence(some)) <= 0.25


@FUZZ
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40))
def test_outer_fence_moves_with_the_scores(some):
    moved = outer_fence(2.0 * np.array(some) + 5.0)
    assert moved == pytest.approx(2.0 * outer_fence(some) + 5.0, abs=1e-9)


# -- tails ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "truth", "most"),
    [
        (lambda rng, n: -rng.exponential(2.0, n), lambda s: expon.sf(-s, scale=2.0), 1.6),
        (lambda rng, n: rng.standard_normal(n), norm.cdf, 12.0),
    ],
    ids=["exponential", "normal"],
)
def test_tail_p_values_are_near_the_truth_beyond_the_held_out_scores(draw, truth, most):
    """Ten times beyond what counting supports; on the safe side where tails are lighter."""
    n, ratios = 2000, []
    for seed in range(40):
        tail = fit_tail(draw(np.random.default_rng(seed), n))
        grid = np.linspace(-40.0, 0.0, 4001)
        far = grid[np.searchsorted(truth(grid), 0.1 / n)]
        ratios.append(float(tail.p_values([far])[0]) / truth(far))
    assert 0.7 < np.exp(np.mean(np.log(ratios))) < most


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["standard_normal", "standard_exponential", "standard_cauchy"])
def test_tail_is_monotone_continuous_and_never_zero(name, seed):
    held_out = -np.abs(getattr(np.random.default_rng(seed), name)(3000))
    tail = fit_tail(held_out)
    assert tail.share == pytest.approx(0.1, abs=1e-3)
    assert 0.0 <= tail.shape <= 1.0
    assert tail.scale > 0.0
    far = tail.threshold - np.logspace(-12, 300, 400)
    found = tail.p_values(far)
    assert (np.diff(found) <= 0.0).all()
    assert (found > 0.0).all()
    assert found[0] == pytest.approx(tail.share, rel=1e-6)
    assert found[0] == pytest.approx(p_values([tail.threshold], held_out)[0], abs=2 / 3000)
    assert np.isnan(tail.p_values([tail.threshold, tail.threshold + 1.0])).all()
    inside = held_out[held_out < tail.threshold]
    worst = np.abs(tail.p_values(inside) - p_values(inside, held_out)).max()
    assert worst < 0.03, "the model follows the scores it was fitted to"


def test_tail_p_values_go_below_what_counting_supports_and_agree_above():
    held_out = np.random.default_rng(0).standard_normal(1000)
    lowest = held_out.min()
    some = np.array([lowest - 3.0, lowest - 0.5, lowest, -1.0, 0.0, 9.0, np.nan])
    found = tail_p_values(some, held_out, fit_tail(held_out))
    exact = p_values(some, held_out)
    np.testing.assert_array_equal(found[2:], exact[2:])
    assert (found[:2] < exact[:2]).all()
    assert found[0] < found[1]
    grid = np.linspace(-30.0, 3.0, 2000)
    assert (np.diff(tail_p_values(grid, held_out, fit_tail(held_out))) >= 0.0).all()
    with_nan = np.append(held_out, [np.nan] * 7)
    again = tail_p_values(some, with_nan, fit_tail(with_nan))
    np.testing.assert_array_equal(again, found)


def test_tail_never_exceeds_counting():
    """Where the model would say more than 1 / (n + 1), counting wins."""
    held_out = np.random.default_rng(0).standard_normal(1000)
    generous = Tail(threshold=0.0, share=0.5, shape=1.0, scale=100.0)
    found = tail_p_values([held_out.min() - 1.0], held_out, generous)
    assert found[0] == smallest_p(1000)


@pytest.mark.parametrize(
    "held_out",
    [
        np.zeros(1000),
        np.append(np.full(100, -5.0), np.zeros(900)),
        np.round(np.random.default_rng(0).standard_normal(1000)),
        np.random.default_rng(0).standard_normal(1000) * 1e-12,
        np.random.default_rng(0).standard_normal(1000) * 1e12,
        -np.random.default_rng(0).random(1000),
        np.append(-1e15, np.random.default_rng(0).random(999)),
    ],
    ids=["constant", "two values", "rounded", "tiny", "huge", "bounded", "one far off"],
)
def test_tails_of_awkward_scores_stay_finite(held_out):
    tail = fit_tail(held_out)
    assert np.isfinite([tail.threshold, tail.shape, tail.scale]).all()
    assert tail.scale > 0.0
    found = tail_p_values(held_out.min() - np.logspace(-20, 20, 50), held_out, tail)
    assert (found > 0.0).all()
    assert (found <= 1.0).all()
    assert (np.diff(found) <= 0.0).all()


def test_a_change_of_scale_changes_no_tail_p_value():
    held_out = np.random.default_rng(0).standard_normal(1000)
    far = held_out.min() - np.array([0.1, 1.0, 3.0])
    one = fit_tail(held_out).p_values(far)
    np.testing.assert_allclose(fit_tail(held_out * 1e3).p_values(far * 1e3), one, rtol=1e-3)


def test_too_few_rows_for_a_tail():
    draw = np.random.default_rng(0).standard_normal
    with pytest.raises(ImprobableError, match="needs 50 held-out scores.*there are 49"):
        fit_tail(draw(10 * TAIL_ROWS - 1))
    with pytest.raises(ImprobableError, match="leave tail=False"):
        fit_tail([])
    assert fit_tail(draw(10 * TAIL_ROWS)).scale > 0.0
    assert fit_tail(draw(2 * TAIL_ROWS), share=0.5).share == 0.5


def test_rows_that_were_learned_from_are_not_called_held_out():
    model = SimpleNamespace(held_out=np.arange(19), held_out_apart=False)
    with pytest.warns(CalibrationWarning, match="19 rows, none of them kept out of training,"):
        results.warn_unsupported(0.01, model, tail=False)


@pytest.mark.parametrize(("n", "offered"), [(499, False), (500, True)])
def test_a_tail_is_offered_where_one_can_be_fitted(n, offered):
    beyond = np.array([1 / (n + 1), 1.0]), np.array([9, 9])
    model = SimpleNamespace(held_out=np.arange(n), held_out_apart=True)
    for warn, expected in [
        (lambda: results.warn_unsupported(1e-4, model, tail=False), offered),
        (lambda: results.warn_unsupported(1e-4, model, tail=None), False),
        (lambda: results.warn_undiscovered(*beyond, 1e-3, n), offered),
    ]:
        with pytest.warns(CalibrationWarning) as caught:
            warn()
        assert ("pass tail=True" in str(caught[0].message)) == expected
    if not offered:
        with pytest.raises(ImprobableError, match="needs 50 held-out scores"):
            calibration.fit_tail(np.arange(float(n)))
    else:
        calibration.fit_tail(np.arange(float(n)))
