"""Closed forms between diagonal Gaussians against numerical integration and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from improbable.latent.gaussians import (
    Posterior,
    bhattacharyya,
    euclidean,
    jeffreys,
    kl_divergence,
    log_density,
    wasserstein,
)

DIVERGENCES = {
    "kl": kl_divergence,
    "jeffreys": jeffreys,
    "wasserstein": wasserstein,
    "bhattacharyya": bhattacharyya,
    "euclidean": euclidean,
}
FUZZ = settings(max_examples=40, deadline=None)


def posteriors(seed, n, k, low=0.05, high=5.0, center=0.0):
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.uniform(np.log(low), np.log(high), (n, k)))
    return Posterior(center + rng.normal(size=(n, k)), scale)


def integral(values, x):
    """By the trapezoidal rule, which is exact to rounding for what looks like a Gaussian."""
    return values.sum() * (x[1] - x[0])


def everywhere(p, q):
    """Points as dense as the narrower needs, over all that the wider reaches."""
    low, high = (
        pick(d.mean() + c * d.std() for d in (p, q)) for pick, c in ((min, -14), (max, 14))
    )
    return np.linspace(low, high, 20_001)


def kl_integrated(p, q):
    x = everywhere(p, q)
    return integral(p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), x)


def bhattacharyya_integrated(p, q):
    x = everywhere(p, q)
    return -np.log(integral(np.exp(0.5 * (p.logpdf(x) + q.logpdf(x))), x))


def squared_wasserstein_integrated(p, q):
    """In one dimension the best transport joins equal quantiles."""
    x = np.linspace(p.mean() - 12 * p.std(), p.mean() + 12 * p.std(), 4001)
    moved = np.where(x < p.mean(), q.ppf(p.cdf(x)), q.isf(p.sf(x))) - x
    return integral(p.pdf(x) * moved**2, x)


INTEGRATED = {
    "kl": kl_integrated,
    "jeffreys": lambda p, q: kl_integrated(p, q) + kl_integrated(q, p),
    "bhattacharyya": bhattacharyya_integrated,
    "wasserstein": squared_wasserstein_integrated,
}


@pytest.mark.parametrize("center", [0.0, 1e4])
@pytest.mark.parametrize("name", INTEGRATED)
def test_closed_forms_are_the_integrals(name, center):
    first, second = posteriors(0, 2, 2, center=center), posteriors(1, 3, 2, center=center)
    found = DIVERGENCES[name](first, second)
    assert found.shape == (2, 3)
    for a in range(2):
        for b in range(3):
            sides = zip(first.loc[a], first.scale[a], second.loc[b], second.scale[b], strict=True)
            by_dimension = [INTEGRATED[name](norm(m, s), norm(u, t)) for m, s, u, t in sides]
            expected = sum(by_dimension)
            expected = np.sqrt(expected) if name == "wasserstein" else expected
            assert found[a, b] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_log_density_is_that_of_scipy_and_integrates_to_one():
    items = posteriors(0, 20, 3)
    z = np.random.default_rng(1).normal(size=(7, 3))
    expected = norm.logpdf(z[:, None], items.loc, items.scale).sum(axis=-1)
    np.testing.assert_allclose(log_density(z, items), expected, rtol=1e-9, atol=1e-9)
    one = Posterior(np.array([[0.3, -1.0]]), np.array([[0.5, 2.0]]))
    x, y = np.linspace(-6, 6, 601), np.linspace(-20, 20, 601)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    mass = np.exp(log_density(grid, one)).sum() * (x[1] - x[0]) * (y[1] - y[0])
    assert mass == pytest.approx(1.0, abs=1e-9)


def test_expected_log_density_ties_kl_to_log_density():
    """KL(p to q) = E_p[log p - log q], by Gauss-Hermite quadrature, which is exact here."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    p, q = posteriors(3, 1, 1), posteriors(4, 1, 1)
    z = p.loc + p.scale * nodes[:, None]
    difference = (log_density(z, p) - log_density(z, q))[:, 0]
    expected = weights @ difference / weights.sum()
    assert kl_divergence(p, q)[0, 0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("center", [0.0, 1e4, -1e6])
def test_far_centers_change_nothing(name, center):
    first, second = (posteriors(seed, 30, 4, low=0.01) for seed in (0, 1))
    at_home = DIVERGENCES[name](first, second)
    moved = (Posterior(side.loc + center, side.scale) for side in (first, second))
    away = DIVERGENCES[name](*moved)
    # The means themselves round to 1e-16 of the center.
    np.testing.assert_allclose(away, at_home, rtol=1e-6, atol=1e-6)


def test_far_centers_change_no_log_density():
    items = posteriors(0, 30, 4, low=0.01)
    z = np.random.default_rng(2).normal(size=(5, 4))
    moved = log_density(z + 1e4, Posterior(items.loc + 1e4, items.scale))
    np.testing.assert_allclose(moved, log_density(z, items), rtol=1e-8)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_nothing_is_closer_than_oneself(name):
    some = posteriors(5, 40, 3, low=1e-3, high=1e2)
    found = DIVERGENCES[name](some, some)
    np.testing.assert_allclose(np.diag(found), 0.0, atol=1e-6)
    assert (found >= 0.0).all()
    if name != "kl":
        np.testing.assert_allclose(found, found.T, rtol=1e-9, atol=1e-7)
    else:
        assert not np.allclose(found, found.T)


@FUZZ
@given(
    arrays(float, (3, 2), elements=st.floats(-10, 10)),
    arrays(float, (3, 2), elements=st.floats(0.01, 10)),
)
def test_inequalities_that_hold_for_all_gaussians(loc, scale):
    some = Posterior(loc, scale)
    w = wasserstein(some, some)
    slack = 1e-6
    assert (w[0, 2] <= w[0, 1] + w[1, 2] + slack).all(), "the triangle inequality"
    assert (w >= euclidean(some, some) - slack).all()
    assert (jeffreys(some, some) >= kl_divergence(some, some) - slack).all()
    # Jensen: the Bhattacharyya distance is at most a quarter of Jeffreys'.
    assert (bhattacharyya(some, some) <= 0.25 * jeffreys(some, some) + slack).all()


def test_divergences_add_over_dimensions():
    first, second = posteriors(6, 4, 3), posteriors(7, 5, 3)
    for name in ("kl", "jeffreys", "bhattacharyya"):
        each = [
            DIVERGENCES[name](
                *(Posterior(s.loc[:, [j]], s.scale[:, [j]]) for s in (first, second))
            )
            for j in range(3)
        ]
        np.testing.assert_allclose(DIVERGENCES[name](first, second), sum(each), rtol=1e-9)


def test_kl_to_prior_is_kl_to_a_standard_normal():
    some = posteriors(8, 6, 4)
    prior = Posterior(np.zeros((1, 4)), np.ones((1, 4)))
    np.testing.assert_allclose(some.kl_to_prior(), kl_divergence(some, prior)[:, 0], rtol=1e-12)


def test_posterior_prints_and_converts():
    some = posteriors(9, 2, 2)
    assert len(some) == 2
    assert repr(some) == "<Posterior of 2 rows, 2 latent dimensions>"
    assert some.to_frame().column_names == ["loc_0", "loc_1", "scale_0", "scale_1"]
    np.testing.assert_array_equal(some.to_frame("pandas")["scale_1"], some.scale[:, 1])
