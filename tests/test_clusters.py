"""Clusters of Gaussians against integrals, numeric minimizers and groups that are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.spatial.distance import squareform
from scipy.stats import norm
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from threadpoolctl import threadpool_info, threadpool_limits

from improbable.errors import DataError, DataWarning, ImprobableError
from improbable.latent import clusters
from improbable.latent.clusters import DIVERGENCES, Clusters, cluster, evidence, hierarchy
from improbable.latent.gaussians import Posterior, jeffreys, kl_divergence

SIDES = list(DIVERGENCES)


def some_rows(n, dim, seed=0):
    """Posteriors with nothing in common."""
    rng = np.random.default_rng(seed)
    return Posterior(rng.normal(size=(n, dim)), rng.uniform(0.05, 1.5, size=(n, dim)))


def groups(n, centers, seed=0, spread=0.3, noise=(0.05, 1.0)):
    """Rows around centers, each blurred by a scale of its own that its posterior knows."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(len(centers), size=n)
    scale = np.exp(rng.uniform(*np.log(noise), size=(n, centers.shape[1])))
    loc = centers[truth] + np.hypot(spread, scale) * rng.standard_normal(scale.shape)
    return Posterior(loc, scale), truth


def apart(count, dim, seed=1):
    """Centers at least 3 apart in some dimension."""
    rng = np.random.default_rng(seed)
    return 3.0 * rng.permuted(np.tile(np.arange(count), (dim, 1)), axis=1).T


def table(rows, side="kl"):
    return clusters._Table(*DIVERGENCES[side].rows(rows), DIVERGENCES[side])


def take(rows, index):
    return Posterior(rows.loc[index], rows.scale[index])


def brute(rows, centers, side):
    forward = side == "kl"
    return kl_divergence(rows, centers) if forward else kl_divergence(centers, rows).T


# -- divergences and centers ----------------------------------------------------------------


def integral(q, p):
    """KL between one-dimensional Gaussians, by quadrature."""
    value, _ = quad(
        lambda z: norm.pdf(z, *q) * (norm.logpdf(z, *q) - norm.logpdf(z, *p)),
        q[0] - 12 * q[1],
        q[0] + 12 * q[1],
        epsabs=1e-12,
        limit=200,
    )
    return value


@pytest.mark.parametrize("seed", range(4))
def test_divergences_are_integrals_the_right_way_round(seed):
    rows, centers = some_rows(3, 1, seed), some_rows(2, 1, seed + 10)
    for i, k in np.ndindex(3, 2):
        q = (rows.loc[i, 0], rows.scale[i, 0])
        c = (centers.loc[k, 0], centers.scale[k, 0])
        for side, expected in (("kl", integral(q, c)), ("reverse_kl", integral(c, q))):
            assert table(rows, side).to(centers)[i, k] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("side", SIDES)
def test_divergences_add_up_over_dimensions(side):
    rows, centers = some_rows(50, 6), some_rows(4, 6, 1)
    found = table(rows, side).to(centers)
    np.testing.assert_allclose(found, brute(rows, centers, side), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(np.diag(table(rows, side).to(rows)), 0.0, atol=1e-9)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("seed", range(3))
def test_no_gaussian_is_nearer_to_all_rows_than_their_center(side, seed):
    rows = some_rows(12, 2, seed)
    one = cluster(rows, 1, divergence=side, random_state=0)

    def total(values):
        center = Posterior(values[None, :2], np.exp(values[None, 2:]))
        return brute(rows, center, side).sum()

    best = minimize(total, np.zeros(4), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(one.loc[0], best.x[:2], atol=1e-5)
    np.testing.assert_allclose(one.scale[0], np.exp(best.x[2:]), rtol=1e-5)
    assert one.objectives[-1] == pytest.approx(best.fun, rel=1e-9)


def test_centers_in_closed_form():
    rows = Posterior(np.array([[-1.0], [3.0]]), np.array([[1.0], [2.0]]))
    forward = cluster(rows, 1, random_state=0)
    assert forward.loc[0, 0] == pytest.approx(1.0)
    assert forward.scale[0, 0] == pytest.approx(np.sqrt((1.0 + 4.0) / 2 + 4.0))
    backward = cluster(rows, 1, divergence="reverse_kl", random_state=0)
    assert backward.loc[0, 0] == pytest.approx((-1.0 + 3.0 / 4) / (1 + 1 / 4))
    assert backward.scale[0, 0] == pytest.approx(1 / np.sqrt((1 + 1 / 4) / 2))


# -- the algorithm --------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("seed", range(6))
def test_no_round_raises_the_objective(side, seed):
    rows = some_rows(400, 3, seed)
    found = cluster(rows, 7, divergence=side, random_state=seed, n_starts=1)
    sums = np.array(found.objectives)
    assert (np.diff(sums) <= 1e-12 * sums[:-1]).all()
    everything = brute(rows, Posterior(found.loc, found.scale), side)
    np.testing.assert_array_equal(found.labels, everything.argmin(axis=1))
    np.testing.assert_allclose(found.divergences, everything.min(axis=1), atol=1e-9)
    assert sums[-1] == pytest.approx(everything.min(axis=1).sum())


@pytest.mark.parametrize("side", SIDES)
def test_settled_centers_are_those_of_their_rows(side):
    rows = some_rows(500, 2, 3)
    found = cluster(rows, 4, divergence=side, random_state=0)
    assert found.converged
    for k in range(4):
        alone = cluster(take(rows, found.labels == k), 1, divergence=side, random_state=0)
        np.testing.assert_allclose(alone.loc[0], found.loc[k], atol=1e-6)
        np.testing.assert_allclose(alone.scale[0], found.scale[k], rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 6), st.integers(0, 99))
def test_any_rows_make_sound_clusters(n, dim, count, seed):
    rng = np.random.default_rng(seed)
    rows = Posterior(rng.normal(size=(n, dim)), np.exp(rng.normal(size=(n, dim))))
    found = cluster(rows, min(count, n), random_state=seed, n_starts=2)
    assert len(found) == min(count, n)
    assert found.sizes.sum() == n
    assert (found.sizes > 0).all()
    assert (np.diff(found.sizes) <= 0).all(), "the largest comes first"
    assert (found.scale > 0.0).all()
    assert (np.diff(found.objectives) <= 1e-9).all()
    entropy = np.log(found.scale[found.labels]).sum() - np.log(rows.scale).sum()
    if found.converged:
        assert found.objectives[-1] == pytest.approx(entropy, abs=1e-6), "KL is a gain in entropy"


@pytest.mark.parametrize("side", SIDES)
def test_groups_that_are_there_are_found(side):
    rows, truth = groups(600, apart(5, 4))
    found = cluster(rows, 5, divergence=side, random_state=0)
    assert adjusted_rand_score(truth, found.labels) > (0.97 if side == "kl" else 0.9)
    if side == "kl":
        order = [np.bincount(truth[found.labels == k]).argmax() for k in range(5)]
        np.testing.assert_allclose(found.loc, apart(5, 4)[order], atol=0.35)


def test_rows_of_unlike_certainty_are_grouped_better_than_by_their_means():
    """A dimension of which the encoder knows little in one group, and much in the other."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 400)
    scale = np.where(truth[:, None] == 0, 0.1, 1.0) * np.ones((800, 3))
    rows = Posterior(0.8 * truth[:, None] + scale * rng.standard_normal((800, 3)), scale)
    ours = cluster(rows, 2, random_state=0).labels
    means = KMeans(2, n_init=5, random_state=0).fit_predict(rows.loc)
    score = normalized_mutual_info_score
    assert score(truth, ours) > 0.9 > 0.6 > score(truth, means)


def test_groups_that_differ_in_scale_alone():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], [120, 80])
    rows = Posterior(np.zeros((200, 2)), np.where(truth[:, None] == 0, 0.2, 0.9) * np.ones(2))
    rows = Posterior(rows.loc + 0.01 * rng.standard_normal((200, 2)), rows.scale)
    np.testing.assert_array_equal(cluster(rows, 2, random_state=0).labels, truth)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_changes_nothing(seed):
    rows = some_rows(700, 3, seed)
    rows = take(rows, np.r_[np.arange(700), np.arange(200)])
    found = cluster(rows, 6, random_state=0, n_starts=3)
    again = cluster(rows, 6, random_state=0, n_starts=3)
    np.testing.assert_array_equal(found.labels, again.labels)
    mixed = np.random.default_rng(seed).permutation(900)
    other = cluster(take(rows, mixed), 6, random_state=0, n_starts=3)
    np.testing.assert_array_equal(other.labels, found.labels[mixed])
    np.testing.assert_allclose(other.loc, found.loc, atol=1e-9)
    assert other.objectives[-1] == pytest.approx(found.objectives[-1])


def test_a_sample_is_enough_to_start_from(monkeypatch):
    rows, truth = groups(2000, apart(4, 3))
    monkeypatch.setattr(clusters, "START_ROWS", 100)
    monkeypatch.setattr(clusters, "BLOCK", 64)
    small = cluster(rows, 4, random_state=0)
    assert adjusted_rand_score(truth, small.labels) > 0.95
    mixed = np.random.default_rng(0).permutation(2000)
    other = cluster(take(rows, mixed), 4, random_state=0)
    np.testing.assert_array_equal(other.labels, small.labels[mixed])


@pytest.mark.parametrize("side", SIDES)
def test_units_of_z_do_not_matter(side):
    rows = some_rows(300, 3)
    factor, shift = np.array([0.01, 1.0, 50.0]), np.array([3.0, -2.0, 10.0])
    moved = Posterior(rows.loc * factor + shift, rows.scale * factor)
    begin = Posterior(rows.loc[:4], rows.scale[:4])
    there = Posterior(begin.loc * factor + shift, begin.scale * factor)
    here, *_ = clusters._descend(table(rows, side), begin, 100)
    far, *_ = clusters._descend(table(moved, side), there, 100)
    np.testing.assert_array_equal(here.labels, far.labels)


@pytest.mark.parametrize("side", SIDES)
def test_seeds_spread_over_the_groups(side):
    """Of eight groups, eight rows at random would meet all in 1 of 400 cases."""
    rows, truth = groups(400, 0.5 * apart(8, 4), noise=(0.02, 1.0))
    places = {tuple(loc): group for loc, group in zip(rows.loc, truth, strict=True)}
    met = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        seeds = clusters._seeds(rows, 8, DIVERGENCES[side], rng)
        met.append(len({places[tuple(loc)] for loc in seeds.loc}))
    assert np.mean(met) > 7.85


def test_more_starts_are_no_worse():
    rows = some_rows(300, 3)
    ends = [
        [cluster(rows, 8, random_state=seed, n_starts=n).objectives[-1] for seed in range(5)]
        for n in (1, 10)
    ]
    assert (np.array(ends[1]) <= np.array(ends[0]) * (1 + 1e-12)).all()
    assert np.mean(ends[1]) < np.mean(ends[0])


def test_equal_sizes_are_ordered_by_their_centers():
    rows = Posterior(np.array([[5.0], [5.1], [-5.0], [-5.1]]), np.full((4, 1), 0.2))
    found = cluster(rows, 2, random_state=0)
    np.testing.assert_array_equal(found.labels, [1, 1, 0, 0])
    np.testing.assert_allclose(found.loc[:, 0], [-5.05, 5.05])


def test_an_empty_cluster_takes_the_farthest_row():
    rows, _ = groups(300, apart(3, 2))
    far = Posterior(np.array([[0.0, 0.0], [900.0, 900.0], [-900.0, 0.0]]), np.ones((3, 2)))
    last, sums, settled = clusters._descend(table(rows), far, 100)
    assert settled
    assert len(np.unique(last.labels)) == len(last.centers) == 3
    assert (np.diff(sums) <= 1e-9).all()


@pytest.mark.parametrize("side", SIDES)
def test_repeated_rows_make_no_more_clusters_than_there_are(side):
    few = some_rows(3, 2)
    rows = take(few, np.tile(np.arange(3), 40))
    found = cluster(rows, 3, divergence=side, random_state=0)
    assert adjusted_rand_score(np.tile(np.arange(3), 40), found.labels) == 1.0
    assert found.objectives[-1] == pytest.approx(0.0, abs=1e-6)
    with pytest.warns(DataWarning, match="no more than 3 clusters, not 5"):
        fewer = cluster(rows, 5, divergence=side, random_state=0)
    np.testing.assert_array_equal(fewer.labels, found.labels)
    with pytest.warns(DataWarning, match="Ask for fewer"):
        alike = cluster(take(few, np.zeros(9, dtype=int)), 2, random_state=0)
    assert len(alike) == 1
    np.testing.assert_allclose(alike.loc[0], few.loc[0])


def test_as_many_clusters_as_rows():
    rows = some_rows(6, 2)
    found = cluster(rows, 6, random_state=0)
    np.testing.assert_array_equal(found.sizes, np.ones(6))
    assert found.objectives[-1] == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_array_equal(np.sort(found.exemplars), np.arange(6))


def test_stopping_early_is_told():
    found = cluster(some_rows(300, 2), 5, random_state=0, max_iterations=1)
    assert not found.converged
    assert len(found.objectives) == 1


# -- the number of clusters -----------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_the_number_of_groups_is_found(count):
    rows, truth = groups(600, apart(count, 4, seed=count))
    found = cluster(rows, random_state=0, n_starts=2)
    assert len(found) == count == max(found.evidence, key=found.evidence.get)
    assert list(found.evidence) == list(range(1, 21))
    assert adjusted_rand_score(truth, found.labels) > 0.95


def test_numbers_to_choose_from():
    rows, _ = groups(300, apart(3, 3))
    found = cluster(rows, [2, 3, 9], random_state=0)
    assert len(found) == 3
    assert list(found.evidence) == [2, 3, 9]
    assert cluster(rows, [2], random_state=0).evidence == {}
    assert len(cluster(take(rows, slice(2)), random_state=0).evidence) == 2


def test_evidence_is_a_likelihood_less_its_price():
    rows, truth = groups(200, apart(3, 2))
    one, three = np.zeros(200, dtype=int), truth

    def likelihood(labels):
        total = 0.0
        for k in np.unique(labels):
            some = take(rows, labels == k)
            center = cluster(some, 1, random_state=0)
            gaps = kl_divergence(some, Posterior(center.loc, center.scale))
            total += len(some) * np.log(len(some) / 200) - gaps.sum()
        return total

    spread = rows.loc.var(axis=0)
    share = (spread / (spread + (rows.scale**2).mean(axis=0))).sum()
    price = 0.5 * np.log(200) * (2 + 2 * 2 * share)
    gain = evidence(rows, three) - evidence(rows, one)
    assert gain == pytest.approx(likelihood(three) - likelihood(one) - price)
    assert evidence(rows, 5 * three + 7) == pytest.approx(evidence(rows, three))


def test_dimensions_that_are_not_in_use_cost_nothing():
    rows, truth = groups(200, apart(3, 2))
    idle = np.ones((200, 30))
    more = Posterior(np.hstack([rows.loc, 0.0 * idle]), np.hstack([rows.scale, idle]))
    gain = evidence(rows, truth) - evidence(rows, 0 * truth)
    assert evidence(more, truth) - evidence(more, 0 * truth) == pytest.approx(gain)
    np.testing.assert_array_equal(
        cluster(rows, 3, random_state=0).labels, cluster(more, 3, random_state=0).labels
    )


# -- what comes back ------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
def test_responsibilities_are_probabilities(side):
    rows = some_rows(300, 2)
    found = cluster(rows, 4, divergence=side, random_state=0)
    np.testing.assert_allclose(found.responsibilities.sum(axis=1), 1.0, rtol=1e-12)
    near = np.exp(-brute(rows, Posterior(found.loc, found.scale), side)) * found.sizes
    expected = near / near.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.responsibilities, expected, atol=1e-9)
    assert found.responsibilities is found.responsibilities, "made once"
    some = found.membership(take(rows, [5, 7]))
    np.testing.assert_allclose(some, expected[[5, 7]], atol=1e-9)
    assert found.membership(take(rows, slice(0, 0))).shape == (0, 4)


def test_exemplars_are_the_nearest_rows():
    rows = some_rows(200, 3)
    found = cluster(rows, 5, random_state=0)
    np.testing.assert_array_equal(found.labels[found.exemplars], np.arange(5))
    for k, row in enumerate(found.exemplars):
        assert found.divergences[row] == found.divergences[found.labels == k].min()


def test_clusters_print_and_convert():
    rows = Posterior(np.array([[5.0], [5.1], [-5.0]]), np.full((3, 1), 0.2))
    found = cluster(rows, 2, random_state=0)
    assert repr(found) == (
        "<Clusters: 2 of 3 rows>\n"
        "  0: size 2 (66.7%), exemplar row 0\n"
        "  1: size 1 (33.3%), exemplar row 2"
    )
    frame = found.to_frame("pandas")
    assert list(frame.columns) == ["cluster", "responsibility", "divergence"]
    assert frame["cluster"].tolist() == [0, 0, 1]
    assert frame["cluster"].dtype == "int64"
    np.testing.assert_allclose(frame["responsibility"], 1.0)
    assert found.to_frame().column_names == list(frame.columns)


# -- hierarchy ------------------------------------------------------------------------------


@pytest.mark.parametrize("linkage", ["average", "complete", "single"])
def test_hierarchy_finds_groups_and_keeps_its_tree(linkage):
    rows, truth = groups(150, 4.0 * apart(4, 3), noise=(0.3, 0.5))
    found = hierarchy(rows, 4, linkage)
    assert isinstance(found, Clusters)
    assert adjusted_rand_score(truth, found.labels) == 1.0
    assert found.merges.shape == (149, 4)
    assert (np.diff(found.merges[:, 2]) >= 0.0).all()
    best = cluster(rows, 4, random_state=0)
    np.testing.assert_array_equal(found.labels, best.labels)
    np.testing.assert_allclose(found.loc, best.loc, atol=1e-9)
    np.testing.assert_array_equal(found.exemplars, best.exemplars)
    assert found.objectives[-1] == pytest.approx(best.objectives[-1])


def test_hierarchy_merges_the_nearest_by_jeffreys():
    rows = some_rows(8, 2)
    gaps = jeffreys(rows, rows) + np.diag(np.full(8, np.inf))
    pair = np.unravel_index(gaps.argmin(), gaps.shape)
    merges = hierarchy(rows, 1).merges
    np.testing.assert_array_equal(np.sort(merges[0, :2]), np.sort(pair))
    assert merges[0, 2] == pytest.approx(gaps.min())
    everything = squareform(jeffreys(rows, rows), checks=False)
    assert hierarchy(rows, 1, "complete").merges[-1, 2] == pytest.approx(everything.max())


# -- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, -1, 11, [3, 11], [], [0, 2]])
def test_numbers_of_clusters_that_cannot_be(count):
    with pytest.raises(DataError, match="Ask for 1 to 10"):
        cluster(some_rows(10, 2), count)
    with pytest.raises(DataError, match="Ask for 1 to 10"):
        hierarchy(some_rows(10, 2), count)


@pytest.mark.parametrize("count", ["a", 2.0, [2, "a"], [[2], [3, 4]], np.array(2.5), object()])
def test_numbers_of_clusters_that_are_no_numbers(count):
    for verb in (cluster, hierarchy):
        with pytest.raises(DataError, match="must be whole numbers, got .* Ask for 1 to 10"):
            verb(some_rows(10, 2), count)


def test_a_tree_is_cut_once():
    for count in (None, [2, 3]):
        with pytest.raises(ImprobableError, match="n_clusters must be one whole number, got "):
            hierarchy(some_rows(10, 2), count)


def test_a_number_of_clusters_may_be_of_numpy():
    rows = some_rows(10, 2)
    assert all(len(cluster(rows, n)) == 2 for n in (np.int64(2), np.array(2), iter([2])))


@pytest.mark.parametrize(("side", "value"), [("loc", np.nan), ("scale", 0.0), ("scale", np.inf)])
def test_rows_that_are_no_gaussians(side, value):
    rows = some_rows(10, 2)
    getattr(rows, side)[3, 1] = value
    with pytest.raises(DataError, match="finite means and scales above 0"):
        cluster(rows, 2)


def test_other_errors():
    with pytest.raises(DataError, match="Give one or more such rows"):
        cluster(take(some_rows(3, 2), slice(0, 0)), 1)
    with pytest.raises(DataError, match="kl or reverse_kl, got 'cosine'"):
        cluster(some_rows(3, 2), 2, divergence="cosine")
    with pytest.raises(DataError, match="average, complete, single, got 'ward'"):
        hierarchy(some_rows(3, 2), 2, "ward")
    with pytest.raises(DataError, match="2 to 5000 rows, got 5001.*or use cluster"):
        hierarchy(some_rows(5001, 1), 2)
    with pytest.raises(DataError, match="got 1"):
        hierarchy(some_rows(1, 1), 1)


def test_no_global_state_is_touched():
    state = np.random.get_state()[1].copy()
    with threadpool_limits(2, "blas"):
        threads = threadpool_info()
        cluster(some_rows(50, 2), 2)
        assert threadpool_info() == threads
    np.testing.assert_array_equal(np.random.get_state()[1], state)
