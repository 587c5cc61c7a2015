"""Rows to learn from among anomalies: distances by SciPy, planted anomalies, a minimum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import svd
from scipy.spatial.distance import mahalanobis as by_scipy

from improbable import trust
from improbable.data.numeric import bend
from improbable.trust import RIDGE, mahalanobis, narrowed, trusted_rows, trusted_share

FUZZ = settings(max_examples=40, deadline=None)


def gaussian(n, d, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d))


def with_cluster(n, share, seed):
    """Correlated Normal rows, and a share of them far off in one place."""
    rows, rng = gaussian(n, 4, seed), np.random.default_rng(seed)
    odd = np.arange(n) < share * n
    rows[odd] = 20.0 + 0.3 * rng.normal(size=(odd.sum(), 4))
    order = rng.permutation(n)
    return rows[order], odd[order]


def determinant(rows):
    return np.linalg.slogdet(np.cov(rows.T, bias=True) + RIDGE * np.eye(rows.shape[1]))[1]


def last_step(rows, share, monkeypatch):
    """Standardized rows of the round that led to the rows trusted in the end, and those."""
    seen, kept = [], trust._concentrated

    def watched(values, *rest):
        seen.append((values, kept(values, *rest)))
        return seen[-1][1]

    monkeypatch.setattr(trust, "_concentrated", watched)
    chosen = trusted_rows(rows, share)
    return [values for values, end in seen if np.array_equal(end, chosen)][-1], chosen


# -- shares and distances -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contamination", "share"),
    [("unknown", 0.6), (0.1, 0.6), (0.4, 0.6), (0.45, 0.55), (0.5, 0.5)],
)
def test_more_is_left_out_than_is_said_to_be_odd(contamination, share):
    assert trusted_share(contamination) == share


@pytest.mark.parametrize("d", [1, 2, 5])
def test_distances_are_scipys_with_the_ridge_added(d):
    reference, rows = gaussian(50, d, 0), gaussian(20, d, 1) + 3.0
    covariance = np.cov(reference.T, bias=True).reshape(d, d) + 0.01 * np.eye(d)
    inverse, center = np.linalg.inv(covariance), reference.mean(axis=0)
    wanted = [by_scipy(row, center, inverse) ** 2 for row in rows]
    np.testing.assert_allclose(mahalanobis(rows, reference), wanted, rtol=1e-9)


def test_without_any_spread_the_ridge_alone_measures():
    found = mahalanobis(np.array([[1.0, 2.0], [1.0, 3.0]]), np.ones((5, 2)))
    np.testing.assert_allclose(found, [1.0 / 0.01, 4.0 / 0.01])


# -- which rows -----------------------------------------------------------------------------


@FUZZ
@given(st.integers(2, 60), st.floats(0.01, 1.0), st.integers(0, 9))
def test_so_many_rows_each_once_in_order(n, share, seed):
    chosen = trusted_rows(gaussian(n, 3, seed), share)
    assert len(chosen) == int(np.ceil(share * n))
    assert (np.diff(chosen) > 0).all()
    assert chosen[0] >= 0
    assert chosen[-1] < n


def test_all_rows_are_trusted_when_all_are_wanted():
    np.testing.assert_array_equal(trusted_rows(gaussian(30, 3, 0), 1.0), np.arange(30))


@pytest.mark.parametrize("seed", range(8))
def test_no_row_of_a_far_cluster_is_trusted(seed):
    rows, odd = with_cluster(400, 0.2, seed)
    chosen = trusted_rows(rows, 0.6)
    assert len(chosen) == 240
    assert not odd[chosen].any()


@pytest.mark.parametrize("share", [0.3, 0.4])
def test_no_row_of_many_scattered_far_ones_is_trusted(share):
    rows, rng = gaussian(400, 4, 0), np.random.default_rng(0)
    odd = int(share * 400)
    rows[:odd] = 60.0 * rng.normal(size=(odd, 4))
    assert (trusted_rows(rows, 0.5) >= odd).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_few_rows_however_far_do_not_hide_a_cluster(seed):
    rows, odd = with_cluster(400, 0.2, seed)
    wild = np.flatnonzero(~odd)[:8]
    rows[wild] *= 10.0 ** np.arange(1, 9)[:, None]
    chosen = trusted_rows(rows, 0.6)
    assert not np.isin(wild, chosen).any()


@pytest.mark.parametrize("seed", range(3))
def test_anomalies_that_spread_a_column_hide_no_others_in_it(seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(1000, 12))
    rows[:50, 0] += rng.choice([-80.0, 80.0], 50)
    rows[50:150, 0] += 7.0
    chosen = trusted_rows(rows, 0.6)
    assert (chosen >= 150).all()


def test_the_shortest_stretch_of_a_line():
    rows = np.array([-30, -20, -12, -6, -3, -1, 0, 1, 3, 6, 12, 20, 30, 100, 110.0])[:, None]
    np.testing.assert_array_equal(trusted_rows(rows, 7 / 15), np.arange(3, 10))
    np.testing.assert_array_equal(trusted_rows(rows, 9 / 15), np.arange(2, 11))


@pytest.mark.parametrize("seed", range(3))
def test_one_more_step_changes_nothing(seed, monkeypatch):
    standardized, chosen = last_step(gaussian(300, 4, seed), 0.6, monkeypatch)
    nearest = np.argsort(mahalanobis(standardized, standardized[chosen]))[:180]
    np.testing.assert_array_equal(np.sort(nearest), chosen)


def test_the_rows_are_standardized_by_the_trusted_ones_and_bent(monkeypatch):
    rows, _ = with_cluster(400, 0.2, 0)
    standardized, chosen = last_step(rows, 0.6, monkeypatch)
    centered = (rows - rows[chosen].mean(axis=0)) / rows[chosen].std(axis=0)
    np.testing.assert_allclose(standardized, bend(centered, 3.0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_no_random_rows_lie_closer_together(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    rows, _ = with_cluster(300, 0.15, seed)
    standardized, chosen = last_step(rows, 0.6, monkeypatch)
    others = [rng.choice(300, 180, replace=False) for _ in range(200)]
    assert determinant(standardized[chosen]) < min(determinant(standardized[o]) for o in others)


# -- awkward rows ---------------------------------------------------------------------------


def test_shift_and_scale_of_columns_change_nothing():
    rows, _ = with_cluster(300, 0.2, 1)
    moved = rows * np.array([1e-6, 1.0, 40.0, 1e9]) + np.array([3.0, -1e3, 0.0, 1e10])
    np.testing.assert_array_equal(trusted_rows(moved, 0.6), trusted_rows(rows, 0.6))


def test_mirrored_columns_and_shuffled_rows_are_trusted_alike():
    rows, _ = with_cluster(300, 0.2, 1)
    order = np.random.default_rng(0).permutation(300)
    found = trusted_rows(rows[order] * [-1.0, 1.0, 1.0, -1.0], 0.6)
    np.testing.assert_array_equal(np.sort(order[found]), trusted_rows(rows, 0.6))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_a_constant_column_is_passed_over(value):
    rows, _ = with_cluster(300, 0.2, 2)
    wider = np.column_stack([rows, np.full(300, value)])
    np.testing.assert_array_equal(trusted_rows(wider, 0.6), trusted_rows(rows, 0.6))


def test_a_column_constant_but_for_anomalies_tells_them():
    """The least scale keeps the rows that agree from dividing by nothing."""
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=200), np.zeros(200)])
    rows[:40, 1] = 1.0
    chosen = trusted_rows(rows, 0.6)
    assert (chosen >= 40).all()


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((10, 3)),
        np.repeat([[1.0, 2.0], [3.0, -1.0]], 10, axis=0),
        np.array([[0.0, 1.0], [5.0, 5.0]]),
        np.full((7, 1), 1e8),
    ],
    ids=["all alike", "two rows again and again", "two rows", "one column"],
)
@pytest.mark.parametrize("share", [0.5, 0.6, 1.0])
def test_rows_without_a_spread_are_chosen_all_the_same(rows, share):
    chosen = trusted_rows(rows, share)
    assert len(set(chosen)) == int(np.ceil(share * len(rows)))


def test_the_more_frequent_of_two_rows_is_trusted():
    rows = np.repeat([[1.0, 2.0], [9.0, -1.0]], [70, 30], axis=0)
    np.testing.assert_array_equal(trusted_rows(rows, 0.6) < 70, np.ones(60, dtype=bool))


def test_the_same_rows_every_time_and_the_argument_stays_as_it_is():
    rows, _ = with_cluster(300, 0.2, 3)
    before = rows.copy()
    np.testing.assert_array_equal(trusted_rows(rows, 0.6), trusted_rows(rows, 0.6))
    np.testing.assert_array_equal(rows, before)


# -- wide rows ------------------------------------------------------------------------------


def test_rows_that_are_not_wide_stay_as_they_are():
    rows = gaussian(10, 256, 0)
    assert narrowed(rows) is rows


@pytest.mark.parametrize(("n", "rank"), [(400, 5), (30, 30), (400, 120)])
def test_wide_rows_keep_their_lengths(n, rank):
    """Orthogonal axes, and what is left: together as long as the rows themselves."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, 300)) + 7.0
    narrow = narrowed(rows)
    assert narrow.shape == (n, 65)
    lengths = np.linalg.norm(rows - rows.mean(axis=0), axis=1)
    np.testing.assert_allclose(np.linalg.norm(narrow, axis=1), lengths, rtol=1e-6)


def test_wide_rows_of_few_directions_keep_their_distances():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 300))
    narrow = narrowed(rows)
    apart, wanted = (np.linalg.norm(x[0] - x[1:], axis=1) for x in (narrow, rows))
    np.testing.assert_allclose(apart, wanted, rtol=1e-6)
    assert np.abs(narrow[:, -1]).max() < 1e-6, "nothing is left over"


def test_the_rest_is_what_the_leading_axes_of_scipy_leave():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 300)) * np.r_[np.full(64, 50.0), np.full(236, 0.1)]
    centered = rows - rows.mean(axis=0)
    axes = svd(centered, full_matrices=False)[2][:64]
    rest = np.linalg.norm(centered - centered @ axes.T @ axes, axis=1)
    np.testing.assert_allclose(narrowed(rows)[:, -1], rest, rtol=1e-6)


def test_wide_rows_without_any_spread_are_nothing():
    assert (narrowed(np.full((9, 300), 4.0)) == 0.0).all()


def test_an_anomaly_off_the_axes_of_wide_rows_is_not_trusted():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 10)) @ rng.normal(size=(10, 300)) + 0.1 * rng.normal(
        size=(300, 300)
    )
    rows[:30] += 2.0 * rng.normal(size=(30, 300))
    assert (trusted_rows(narrowed(rows), 0.6) >= 30).all()


@pytest.mark.parametrize("share", [0.2, 0.3, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_a_far_cluster_is_never_trusted(share, seed):
    rows, odd = with_cluster(400, share, seed)
    assert not odd[trusted_rows(rows, 0.6)].any()


def test_the_end_of_the_smaller_determinant_is_taken(monkeypatch):
    ends, settled = [], trust._settled
    monkeypatch.setattr(
        trust, "_settled", lambda *args: (ends.append(settled(*args)), ends[-1])[1]
    )
    won = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 3))
        rows[: rng.integers(60, 150)] += rng.normal(scale=4.0, size=3)
        ends.clear()
        chosen = trusted_rows(rows, 0.6)
        sizes = [determinant(rows[end] / rows.std(axis=0)) for end in ends]
        won.append(int(np.argmin(sizes)))
        np.testing.assert_array_equal(chosen, ends[won[-1]])
    assert {0, 1} <= set(won)
