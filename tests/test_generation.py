import numpy as np
import pytest
import torch
from conftest import SMALL, mixed_table
from oracle import batch_of, oracle, tensor

from improbable import VAEDetector
from improbable.generation import conditional, fill_in, reconstruction, sample_prior
from improbable.randomness import draw_noise, seed_sequence
from improbable.scores import draw


def conditional_mean(model, x, hidden):
    seen, cov = ~hidden, model.covariance
    gain = cov[np.ix_(hidden, seen)] @ np.linalg.inv(cov[np.ix_(seen, seen)])
    return model.bias[hidden] + (x[:, seen] - model.bias[seen]) @ gain.T


def test_filling_in_reaches_the_conditional_mean():
    model, hidden = oracle(), np.array([False, True, False, False, True])
    x = model.sample(40, seed=7)
    visible = tensor(np.tile(~hidden, (40, 1)).astype(float))
    values, seen = fill_in(model.vae, batch_of(x), visible)
    assert bool((seen == 1).all())
    exact = conditional_mean(model, x, hidden)
    np.testing.assert_allclose(values[:, hidden].detach(), exact, atol=0.1)
    np.testing.assert_array_equal(values[:, ~hidden].detach(), x[:, ~hidden])


def test_importance_weights_give_the_conditional_mean():
    """From a posterior four times too wide and off center, the weights do the work."""
    model = oracle(posterior_scale=4.0, posterior_shift=0.5)
    hidden = np.array([True, False, False, False, False])
    x = model.sample(20, seed=8)
    visible = tensor(np.tile(~hidden, (20, 1)).astype(float))
    noise = draw_noise(8192, 2, seed_sequence(0))
    mixture = conditional(model.vae, batch_of(x), visible, noise)
    np.testing.assert_allclose(mixture.weights.sum(axis=0), 1.0)
    exact = conditional_mean(model, x, hidden)
    np.testing.assert_allclose(mixture.expected[:, hidden], exact, atol=0.06)


def test_reconstruction_of_a_linear_model_is_its_projection():
    model = oracle()
    x = model.sample(30, seed=9)
    found = reconstruction(draw(model.vae, batch_of(x), draw_noise(256, 2, seed_sequence(0))))
    cov = np.linalg.inv(model.weights @ model.weights.T / model.sigma**2 + np.eye(2))
    loc = (x - model.bias) @ model.weights.T @ cov / model.sigma**2
    np.testing.assert_allclose(found, model.bias + loc @ model.weights, atol=0.02)


def test_samples_have_the_moments_of_the_model():
    model, n = oracle(), 40_000
    drawn = sample_prior(model.vae, model.vae.prior, n, 0, np.random.default_rng(0))
    error = np.sqrt(np.diag(model.covariance) / n)
    assert (np.abs(drawn.mean(axis=0) - model.bias) < 4.5 * error).all()
    np.testing.assert_allclose(np.cov(drawn.T), model.covariance, atol=0.08)


@pytest.fixture(scope="module")
def pair():
    table = mixed_table(800)[["age", "height"]]
    return VAEDetector(**{**SMALL, "max_steps": 200}).fit(table)


def test_what_was_expected_of_a_cell_does_not_look_at_the_cell(pair):
    rows = mixed_table(6, seed=3)[["age", "height"]]
    moved = rows.assign(height=rows["height"] + 60.0)
    one, other = pair.explain(rows), pair.explain(moved)
    np.testing.assert_allclose(
        one.expected[:, 1].astype(float), other.expected[:, 1].astype(float), atol=1e-6
    )
    assert (other.values[:, 1].astype(float) > other.upper[:, 1]).all()
    assert all(other.ranking(row)[0] == 1 for row in range(6))


def test_intervals_hold_about_as_many_values_as_they_say(pair):
    rows = mixed_table(400, seed=4)[["age", "height"]]
    found = pair.explain(rows)
    inside = (rows["height"] >= found.lower[:, 1]) & (rows["height"] <= found.upper[:, 1])
    assert 0.8 < inside.mean() <= 1.0
    assert (found.lower[:, 1] < found.upper[:, 1]).all()


def test_nothing_needs_a_gradient(pair):
    assert not any(p.requires_grad for p in pair.model_.vae.parameters())
    assert torch.is_grad_enabled()
