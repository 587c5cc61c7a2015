import numpy as np
import pytest
import torch
from oracle import batch_of, oracle
from scipy import stats
from torch.distributions import Independent, Normal

from improbable import VAEDetector
from improbable.priors import (
    AT_ONCE,
    KERNEL_SCALE,
    SMALLEST_SCALE,
    AggregatedPosterior,
    PartialPrior,
    Prior,
    StandardNormal,
    aggregated_posterior,
    widened_posterior,
)
from improbable.randomness import draw_noise, seed_sequence
from improbable.scores import draw, elbo, log_marginal

RNG = np.random.default_rng(0)


def gaussians(n, seed=0, members=2):
    rng = np.random.default_rng(seed)
    loc = torch.tensor(rng.normal(size=(members, n, 3)))
    return Independent(Normal(loc, torch.tensor(0.2 + rng.random((members, n, 3)))), 1)


def mixture(n=20):
    kernels = gaussians(n, seed=1)
    return AggregatedPosterior(kernels.mean, kernels.stddev)


def test_both_are_priors():
    assert isinstance(mixture(), Prior)
    assert isinstance(StandardNormal(3), Prior)


@pytest.mark.parametrize("size", [20, 2 * AT_ONCE + 3])
def test_log_prob_against_scipy(size):
    prior = mixture(size)
    z = torch.tensor(RNG.normal(size=(2, 4, 5, 3)))
    for member in range(2):
        points = z[member].reshape(-1, 3).numpy()
        density = np.mean(
            [
                stats.multivariate_normal(m, np.diag(s**2)).pdf(points)
                for m, s in zip(prior.loc[member], prior.scale[member], strict=True)
            ],
            axis=0,
        )
        found = prior.log_prob(z)[member].reshape(-1)
        np.testing.assert_allclose(found, np.log(density), atol=1e-10)
    standard = StandardNormal(3).log_prob(z)
    np.testing.assert_allclose(standard, stats.norm.logpdf(z.numpy()).sum(-1), atol=1e-12)


def test_kl_of_one_kernel_is_exact():
    q, p = gaussians(7), gaussians(1, seed=4)
    found = AggregatedPosterior(p.mean, p.stddev).kl(q)
    torch.testing.assert_close(found, torch.distributions.kl_divergence(q, p))


def test_kl_takes_the_nearest_of_many_kernels():
    q, prior = gaussians(9), mixture(2 * AT_ONCE + 3)
    one_by_one = torch.distributions.kl_divergence(
        Independent(Normal(q.mean[:, :, None], q.stddev[:, :, None]), 1),
        Independent(Normal(prior.loc[:, None], prior.scale[:, None]), 1),
    )
    nearest, place = one_by_one.min(dim=-1)
    torch.testing.assert_close(prior.kl(q), nearest + np.log(2 * AT_ONCE + 3))
    assert len({int(i) // AT_ONCE for i in place.flatten()}) > 1


def test_kl_is_an_upper_bound_of_the_true_one():
    q, prior = gaussians(6), mixture()
    noise = torch.tensor(RNG.normal(size=(20_000, 1, 3)))
    z = q.mean[:, None] + q.stddev[:, None] * noise
    log_q = Normal(q.mean[:, None], q.stddev[:, None]).log_prob(z).sum(-1)
    gap = log_q - prior.log_prob(z)
    error = gap.std(dim=1) / np.sqrt(20_000)
    assert (prior.kl(q) >= gap.mean(dim=1) - 4 * error).all()
    assert (gap.mean(dim=1) > -4 * error).all()


def test_kl_has_the_magnitude_of_numeric_integration():
    """In one dimension, with well separated kernels, the bound is nearly tight."""
    loc = torch.tensor([[[-5.0], [0.0], [5.0]]]).double()
    prior = AggregatedPosterior(loc, torch.full_like(loc, 0.5))
    q = Independent(Normal(torch.tensor([[[0.2]]]).double(), torch.tensor([[[0.4]]]).double()), 1)
    grid = np.linspace(-10, 10, 200_001)
    density = stats.norm.pdf(grid, 0.2, 0.4)
    log_p = prior.log_prob(torch.tensor(grid)[None, :, None])[0].numpy()
    exact = np.trapezoid(density * (stats.norm.logpdf(grid, 0.2, 0.4) - log_p), grid)
    assert float(prior.kl(q)) == pytest.approx(exact, abs=1e-6)


def test_samples_have_the_moments_of_the_mixture():
    prior, n = mixture(), 60_000
    noise, uniform = torch.tensor(RNG.normal(size=(n, 3))), torch.tensor(RNG.random(n))
    drawn = prior.sample(1, noise, uniform)
    mean = prior.loc[1].mean(dim=0)
    variance = (prior.scale[1] ** 2 + (prior.loc[1] - mean) ** 2).mean(dim=0)
    assert ((drawn.mean(dim=0) - mean).abs() < 4.5 * (variance / n).sqrt()).all()
    torch.testing.assert_close(drawn.var(dim=0), variance, rtol=0.05, atol=0)
    torch.testing.assert_close(StandardNormal(3).sample(0, noise, uniform), noise)


def test_kernels_are_narrower_than_posteriors_but_never_vanish():
    q = gaussians(5)
    prior = aggregated_posterior(q)
    expected = (KERNEL_SCALE * q.stddev).clamp(min=SMALLEST_SCALE)
    torch.testing.assert_close(prior.scale, expected, rtol=1e-7, atol=0)
    thin = Independent(Normal(q.mean, torch.full_like(q.mean, 1e-5)), 1)
    vanishing = aggregated_posterior(thin).scale
    torch.testing.assert_close(
        vanishing, torch.full_like(vanishing, SMALLEST_SCALE), rtol=1e-7, atol=0
    )
    assert (prior.loc == prior.loc.float()).all()


def test_bounds_hold_under_the_aggregated_prior():
    model = oracle(posterior_scale=1.2)
    x = model.sample(300, seed=3)
    with torch.no_grad():
        kernels = model.vae.encode(batch_of(x).values, batch_of(x).observed)
        prior = AggregatedPosterior(kernels.mean, kernels.stddev)
        noise = draw_noise(256, 2, seed_sequence(0))
        draws = draw(model.vae, batch_of(x[:50]), noise, prior=prior)
        assert (elbo(draws) <= log_marginal(draws) + 0.02).all()


def test_a_gap_between_groups_is_noticed_by_the_aggregated_prior_only():
    """Two clusters on a line: the middle is ordinary for N(0, I), empty for the data."""
    rows = np.random.default_rng(0).normal(size=(1500, 2)) * 0.3
    rows += np.where(np.random.default_rng(1).random((1500, 1)) < 0.5, -3.0, 3.0)
    settings = {"max_steps": 60, "hidden": (16,), "random_state": 0, "latent_dim": 1}
    middle = np.zeros((1, 2))
    aggregated = VAEDetector(**settings).fit(rows)
    assert aggregated.p_values(middle)[0] < 0.01
    normal = VAEDetector(**settings, prior="normal").fit(rows)
    assert normal.p_values(middle)[0] > 0.05


def test_kernels_are_as_wide_as_held_out_rows_ask_for():
    generator = torch.Generator().manual_seed(0)
    places = torch.randn(1, 40, 3, dtype=torch.float64, generator=generator) * 10.0
    thin = torch.full_like(places, 0.01)
    away = places + 0.3 * torch.randn(1, 40, 3, dtype=torch.float64, generator=generator)
    learned, held_out = (Independent(Normal(at, thin), 1) for at in (places, away))
    assert float(widened_posterior(learned, held_out).scale.mean()) == pytest.approx(0.3, abs=0.01)
    assert float(widened_posterior(learned, learned).scale.mean()) < 0.05


def test_a_partial_prior_is_the_prior_apart_from_its_share():
    share = torch.tensor([0.25, 1.0], dtype=torch.float64)
    whole, noise = StandardNormal(2), torch.zeros(2, 2, dtype=torch.float64)
    q = Independent(Normal(torch.ones(1, 2, 2, dtype=torch.float64), 0.5), 1)
    part = PartialPrior(whole, share)
    torch.testing.assert_close(part.kl(q), whole.kl(q) * share)
    torch.testing.assert_close(part.log_prob(noise), whole.log_prob(noise))
    torch.testing.assert_close(part.sample(0, noise, share), whole.sample(0, noise, share))
