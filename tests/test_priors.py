import re
from copy import deepcopy

import numpy as np
import pytest
import torch
from oracle import batch_of, oracle
from scipy import stats
from torch.distributions import Independent, Normal

from improbable import VAEDetector, load, load_scorer, save
from improbable.distributions import DiagonalNormal
from improbable.errors import FormatError, ImprobableError
from improbable.kernels import AT_ONCE
from improbable.model import as_batch
from improbable.priors import (
    KERNEL_SCALE,
    SMALLEST_SCALE,
    AggregatedPosterior,
    GaussianMixture,
    LearnedMixture,
    PartialPrior,
    Prior,
    StandardNormal,
    aggregated_posterior,
    widened_posterior,
)
from improbable.randomness import draw_noise, seed_sequence
from improbable.scores import draw, elbo, log_marginal
from improbable.start import mixture_start
from improbable.vae import component_note

RNG = np.random.default_rng(0)


def gaussians(n, seed=0, members=2):
    rng = np.random.default_rng(seed)
    loc = torch.tensor(rng.normal(size=(members, n, 3)))
    return DiagonalNormal(loc, torch.tensor(0.2 + rng.random((members, n, 3))).log())


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
    torch.testing.assert_close(
        found, torch.distributions.kl_divergence(q.as_torch(), p.as_torch())
    )


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
    q = DiagonalNormal(torch.tensor([[[0.2]]]).double(), torch.tensor([[[0.4]]]).double().log())
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
    thin = DiagonalNormal(q.mean, torch.full_like(q.mean, 1e-5).log())
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
    learned, held_out = (DiagonalNormal(at, thin.log()) for at in (places, away))
    assert float(widened_posterior(learned, held_out).scale.mean()) == pytest.approx(0.3, abs=0.01)
    assert float(widened_posterior(learned, learned).scale.mean()) < 0.05


def test_a_partial_prior_is_the_prior_apart_from_its_share():
    share = torch.tensor([0.25, 1.0], dtype=torch.float64)
    whole, noise = StandardNormal(2), torch.zeros(2, 2, dtype=torch.float64)
    ones = torch.ones(1, 2, 2, dtype=torch.float64)
    q = DiagonalNormal(ones, (0.5 * ones).log())
    part = PartialPrior(whole, share)
    torch.testing.assert_close(part.kl(q), whole.kl(q) * share)
    torch.testing.assert_close(part.log_prob(noise), whole.log_prob(noise))
    torch.testing.assert_close(part.sample(0, noise, share), whole.sample(0, noise, share))


# --- a mixture that is trained with the networks ------------------------------------------------


def learned(components=4, members=2, seed=2):
    rng = np.random.default_rng(seed)
    found = LearnedMixture(members, components, 3).double()
    weight = torch.tensor(rng.dirichlet(np.full(components, 5.0), size=members))
    loc = torch.tensor(rng.normal(size=(members, components, 3)))
    found.start(weight, loc, torch.tensor(0.3 + rng.random((members, components, 3))))
    return found.requires_grad_(False)


def component_divergences(q, prior):
    """KL(q to N_c), row by row and component by component, by PyTorch."""
    return torch.distributions.kl_divergence(
        Independent(Normal(q.mean[:, :, None], q.stddev[:, :, None]), 1),
        Independent(Normal(prior.loc[:, None], prior.scale[:, None]), 1),
    )


def test_the_learned_mixture_is_a_prior():
    assert isinstance(learned()(), Prior)
    assert isinstance(learned()(), GaussianMixture)


def test_log_prob_of_the_learned_mixture_against_scipy():
    prior = learned()()
    z = torch.tensor(RNG.normal(size=(2, 4, 5, 3)))
    for member in range(2):
        points = z[member].reshape(-1, 3).numpy()
        density = sum(
            float(w.exp()) * stats.multivariate_normal(m, np.diag(s**2)).pdf(points)
            for w, m, s in zip(
                prior.log_weight[member], prior.loc[member], prior.scale[member], strict=True
            )
        )
        found = prior.log_prob(z)[member].reshape(-1)
        np.testing.assert_allclose(found, np.log(density), atol=1e-10)


def test_kl_of_the_learned_mixture_is_that_with_the_best_component():
    """KL(q(z) q(c) to p(z, c)), term by term; any other q(c) makes it larger."""
    q, prior = gaussians(9), learned()()
    divergence, log_weight = component_divergences(q, prior), prior.log_weight[:, None]

    def enumerated(share):
        return (share * (share.log() - log_weight + divergence)).sum(-1)

    best = prior.responsibilities(q)
    torch.testing.assert_close(best.sum(-1), torch.ones(2, 9, dtype=torch.float64))
    torch.testing.assert_close(prior.kl(q), enumerated(best))
    for seed in range(20):
        other = np.random.default_rng(seed).dirichlet(np.ones(4), size=(2, 9))
        assert (enumerated(torch.tensor(other)) >= prior.kl(q) - 1e-12).all()


def test_kl_of_the_learned_mixture_bounds_the_true_one_and_is_exact_with_one_component():
    q, prior = gaussians(6), learned()()
    noise = torch.tensor(RNG.normal(size=(20_000, 1, 3)))
    z = q.mean[:, None] + q.stddev[:, None] * noise
    log_q = Normal(q.mean[:, None], q.stddev[:, None]).log_prob(z).sum(-1)
    gap = log_q - prior.log_prob(z)
    error = gap.std(dim=1) / np.sqrt(20_000)
    assert (prior.kl(q) >= gap.mean(dim=1) - 4 * error).all()
    assert (prior.kl(q) <= gap.mean(dim=1) + np.log(4.0) + 4 * error).all()
    alone = learned(components=1)()
    torch.testing.assert_close(alone.kl(q), component_divergences(q, alone)[..., 0])


def test_samples_have_the_moments_of_the_learned_mixture():
    prior, n = learned()(), 60_000
    noise, uniform = torch.tensor(RNG.normal(size=(n, 3))), torch.tensor(RNG.random(n))
    drawn = prior.sample(1, noise, uniform)
    weight = prior.log_weight[1].exp().unsqueeze(1)
    mean = (weight * prior.loc[1]).sum(dim=0)
    variance = (weight * (prior.scale[1] ** 2 + (prior.loc[1] - mean) ** 2)).sum(dim=0)
    assert ((drawn.mean(dim=0) - mean).abs() < 4.5 * (variance / n).sqrt()).all()
    torch.testing.assert_close(drawn.var(dim=0), variance, rtol=0.05, atol=0)


def test_no_component_is_lost_and_none_becomes_a_point():
    mixture = learned()
    mixture.raw_weight[:, 0] = -50.0
    mixture.raw_scale.fill_(-50.0)
    prior = mixture()
    torch.testing.assert_close(prior.log_weight.exp().sum(-1), torch.ones(2, dtype=torch.float64))
    assert (prior.log_weight.exp()[:, 0] >= 0.05 / 4 - 1e-12).all()
    assert (prior.scale >= 0.1).all()


def test_a_mixture_starts_at_groups_of_encodings():
    model = oracle(sigma=0.1, posterior_scale=1.0)
    centers = np.array([[-4.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    group = np.repeat(np.arange(3), [200, 100, 100])
    z = centers[group] + 0.1 * np.random.default_rng(0).normal(size=(400, 2))
    mixture_start(model.vae, batch_of(z @ model.weights + model.bias), np.random.default_rng(0))
    prior = model.vae.prior
    away = np.linalg.norm(prior.loc[0].detach().numpy()[:, None] - centers, axis=-1)
    assert (away.min(axis=1) < 0.6).all()
    weight = prior.log_weight[0].detach().exp().numpy()
    found = [weight[away.argmin(axis=1) == i].sum() for i in range(3)]
    np.testing.assert_allclose(found, [0.5, 0.25, 0.25], atol=0.05)
    assert (prior.scale < 0.5).all()


def clusters(n=1500):
    """Rows of two clusters on a line."""
    rows = np.random.default_rng(0).normal(size=(n, 2)) * 0.3
    return rows + np.where(np.random.default_rng(1).random((n, 1)) < 0.5, -3.0, 3.0)


@pytest.fixture(scope="module")
def with_mixture():
    settings = {"max_steps": 60, "hidden": (16,), "random_state": 0, "latent_dim": 1}
    return VAEDetector(**settings, prior="mixture").fit(clusters())


def test_a_gap_between_groups_is_noticed_by_the_mixture(with_mixture):
    assert with_mixture.p_values(np.zeros((1, 2)))[0] < 0.01
    assert with_mixture.p_values(np.array([[3.0, 3.0], [-3.0, -3.0]])).min() > 0.05


def test_the_mixture_is_saved_and_sampled_from(with_mixture, tmp_path):
    rows = clusters(50)
    save(with_mixture, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.score_samples(rows), with_mixture.score_samples(rows))
    drawn = again.sample(200, prior="mixture", random_state=0)
    np.testing.assert_array_equal(drawn, again.sample(200, random_state=0))
    assert (np.abs(np.asarray(drawn).mean(axis=1)) > 1.0).mean() > 0.95
    plain = np.asarray(again.sample(200, prior="normal", random_state=0))
    assert (np.abs(plain.mean(axis=1)) < 1.0).mean() > 0.1
    with pytest.raises(ImprobableError, match="fitted with that, got 'aggregated'"):
        again.sample(prior="aggregated")
    with pytest.raises(FormatError, match="learned a mixture as its prior"):
        load_scorer(tmp_path / "m.safetensors")


def test_training_says_how_many_components_are_in_use(with_mixture):
    message = with_mixture.history_.message
    assert re.search(r"rows fall into \d+ of 64 components of the prior$", message)
    vae = deepcopy(with_mixture.model_.vae)
    vae.mixture.loc[:, 1:] = 100.0
    rows = as_batch(with_mixture.model_.codec.transform(clusters(50)))
    assert "1 of 64 components of the prior, so that it is one Gaussian" in component_note(
        vae, rows
    )
    vae.mixture = None
    assert component_note(vae, rows) == ""


def test_refits_keep_take_up_and_give_up_the_mixture(with_mixture):
    detector = deepcopy(with_mixture).set_params(max_steps=3)
    before = detector.model_.prior.loc
    kept = detector.refit(clusters()).model_.prior
    assert isinstance(kept, GaussianMixture)
    torch.testing.assert_close(kept.loc, before, rtol=0, atol=0.2)
    given_up = detector.set_params(prior="normal").refit(clusters()).model_
    assert isinstance(given_up.prior, StandardNormal)
    assert given_up.vae.mixture is None
    taken_up = detector.set_params(prior="mixture").refit(clusters()).model_
    assert isinstance(taken_up.prior, GaussianMixture)


def test_the_same_seed_gives_the_same_mixture(with_mixture):
    params = with_mixture.get_params() | {"max_steps": 5}
    first, second = (VAEDetector(**params).fit(clusters()).model_.prior for _ in range(2))
    torch.testing.assert_close(first.loc, second.loc, rtol=0, atol=0)


def test_no_other_prior():
    with pytest.raises(ImprobableError, match=r"'normal' or 'mixture', got 'flow'"):
        VAEDetector(prior="flow").fit(clusters(50))
