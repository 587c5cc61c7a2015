import warnings

import numpy as np
import pytest
import torch
from conftest import SMALL
from oracle import batch_of, oracle, plain_codec, tensor

from improbable import TrainingWarning, VAEDetector, objective, training
from improbable.data.parts import Part
from improbable.networks import initialize
from improbable.randomness import seed_sequence, torch_generator
from improbable.start import linear_start, principal_axes
from improbable.training import StopReason, TrainConfig, one_cycle
from improbable.vae import assemble_vae

ROWS = oracle().sample(600, seed=2)
TRAIN, HELD_OUT = batch_of(ROWS[:500]), batch_of(ROWS[500:])


def fresh(n_members=2, latent_dim=2, hidden=(16,), likelihood="normal", seed=0):
    parts = [Part(likelihood, 1, 0.05, -10.0, 10.0)] * 5
    vae = assemble_vae(plain_codec(parts), latent_dim, hidden, hidden, n_members).double()
    for network in (vae.encoder, vae.decoder):
        initialize(network, generator(seed))
    return vae


def generator(seed=0):
    return torch_generator(seed_sequence(seed))


def run(vae, config, progress=None, seed=0):
    return training.fit(vae, TRAIN, HELD_OUT, config, generator(seed), progress)


def test_elbo_against_its_closed_form():
    """The exact posterior makes the bound tight: its mean over noise is log p(x)."""
    model = oracle()
    noise = torch.randn(1, 4000, 2, generator=generator(), dtype=torch.float64)
    batch = batch_of(np.repeat(ROWS[:1], 4000, axis=0))
    found = objective.elbo(model.vae, batch, batch.observed, noise)[0]
    found = found.detach()
    error = float(found.std()) / np.sqrt(4000)
    assert abs(float(found.mean()) - model.log_prob(ROWS[:1])) < 4 * error


def test_kl_has_a_gradient_and_its_own_scale():
    model = oracle(posterior_scale=1.7)
    posterior = model.vae.encode(TRAIN.values, TRAIN.observed)
    divergence = model.vae.prior.kl(posterior)
    loc, scale = posterior.mean, posterior.stddev
    exact = 0.5 * (loc**2 + scale**2 - 1 - 2 * scale.log()).sum(-1)
    torch.testing.assert_close(divergence, exact)
    divergence.mean().backward()
    bias = model.vae.encoder.layers[-1].bias.grad
    assert (bias.abs() > 1e-6).all()


def test_a_large_kl_weight_collapses_the_posterior():
    model = oracle()
    noise = torch.zeros(1, len(TRAIN), 2, dtype=torch.float64)
    low, high = (
        objective.elbo(model.vae, TRAIN, TRAIN.observed, noise, weight) for weight in (1.0, 3.0)
    )
    posterior = model.vae.encode(TRAIN.values, TRAIN.observed)
    torch.testing.assert_close(low - high, 2.0 * model.vae.prior.kl(posterior))


def test_training_reaches_probabilistic_pca():
    """Held-out ELBO comes within 0.15 nats of the exact mean log p(x)."""
    vae = fresh()
    linear_start(vae, TRAIN)
    history = run(vae, TrainConfig(max_steps=400, batch_size=128, mask_rate=0.0))
    exact = oracle().log_prob(ROWS[500:]).mean()
    assert exact - 0.15 < np.mean(history.best_elbo) < exact + 0.15


def test_the_start_is_the_maximum_likelihood_linear_model():
    vae = fresh(hidden=())
    for network in (vae.encoder, vae.decoder):
        for layer in network.layers:
            torch.nn.init.zeros_(layer.weight)
    linear_start(vae, TRAIN)
    noise = torch.zeros(2, len(HELD_OUT), 2, dtype=torch.float64)
    mean = vae.decode(vae.encode(HELD_OUT.values, HELD_OUT.observed).mean).mean[0]
    assert noise.shape[0] == 2
    left = ((HELD_OUT.values - mean.detach()) ** 2).mean(dim=0).sqrt()
    assert (left < 0.75).all()
    assert float(left.mean()) == pytest.approx(0.5 * np.sqrt(3 / 5), rel=0.25)


def test_principal_axes_recover_the_covariance():
    centered = tensor(ROWS - ROWS.mean(axis=0))
    weights, noise = principal_axes(centered, 2)
    rebuilt = weights.T @ weights + noise * torch.eye(5).double()
    np.testing.assert_allclose(rebuilt, np.cov(ROWS.T), atol=0.1)


def test_more_latent_dimensions_than_columns_start_silent():
    weights, noise = principal_axes(tensor(ROWS[:, :2] - ROWS[:, :2].mean(axis=0)), 4)
    assert weights.shape == (4, 2)
    assert (weights[2:] == 0).all()
    assert float(noise) > 0


@pytest.mark.parametrize("likelihood", ["normal_fixed", "student_t", "normal_per_column"])
def test_other_families_start_and_train(likelihood):
    vae = fresh(likelihood=likelihood)
    linear_start(vae, TRAIN)
    history = run(vae, TrainConfig(max_steps=60, batch_size=64))
    assert np.isfinite(history.best_elbo).all()


def test_best_weights_are_kept_member_by_member():
    vae = fresh(n_members=3)
    history = run(vae, TrainConfig(max_steps=80, batch_size=64, learning_rate=0.05))
    again = training._Run(vae, TRAIN, HELD_OUT, TrainConfig(), generator())
    again.noise = training._Run(fresh(3), TRAIN, HELD_OUT, TrainConfig(), generator()).noise
    np.testing.assert_allclose(again.held_out_elbo(), history.best_elbo, atol=1e-9)


def test_stops_early_and_says_why():
    history = run(fresh(), TrainConfig(max_steps=1000, batch_size=64, patience=3, checks=60))
    assert history.stop_reason == "converged"
    assert history.steps[-1] < 1000
    assert history.best_step <= history.steps[-1]


def test_runs_out_of_steps_and_names_the_remedy():
    history = run(fresh(), TrainConfig(max_steps=3))
    assert history.stop_reason == "max_steps"
    assert "raise max_steps" in history.message


def test_interrupt_keeps_the_best_so_far():
    vae = fresh()

    def stop(step, total, held_out_elbo):
        if step >= 40:
            raise KeyboardInterrupt

    history = run(vae, TrainConfig(max_steps=1000, batch_size=64, checks=25), stop)
    assert history.stop_reason == "interrupted"
    assert "best weights so far" in history.message
    assert all(torch.isfinite(p).all() for p in vae.parameters())
    assert history.steps[-1] == 40


def test_interrupted_fit_still_gives_a_detector(monkeypatch):
    steps = []
    take = training._Run.take_step

    def interrupted(self):
        steps.append(1)
        if len(steps) > 10:
            raise KeyboardInterrupt
        return take(self)

    monkeypatch.setattr(training._Run, "take_step", interrupted)
    with pytest.warns(TrainingWarning, match="interrupted"):
        detector = VAEDetector(**SMALL).fit(ROWS)
    assert np.isfinite(detector.score_samples(ROWS)).all()
    assert detector.history_.best_step == detector.history_.steps[-1] >= 10


def broken_steps(monkeypatch, bad):
    elbo, count = objective.elbo, []

    def poisoned(*args):
        count.append(1)
        found = elbo(*args)
        return found * float("nan") if torch.is_grad_enabled() and bad(len(count)) else found

    monkeypatch.setattr(training, "elbo", poisoned)


def test_one_non_finite_step_is_rolled_back(monkeypatch):
    broken_steps(monkeypatch, lambda n: n == 30)
    history = run(fresh(), TrainConfig(max_steps=100, batch_size=64))
    assert history.rollbacks == 1
    assert "rolled back" in history.message
    assert np.isfinite(history.best_elbo).all()


def test_endless_non_finite_steps_end_with_a_remedy(monkeypatch):
    broken_steps(monkeypatch, lambda n: n > 30)
    vae = fresh()
    history = run(vae, TrainConfig(max_steps=200, batch_size=64))
    assert history.stop_reason == "non_finite"
    assert "lower learning_rate" in history.message
    assert all(torch.isfinite(p).all() for p in vae.parameters())


def test_collapse_is_reported():
    independent = np.random.default_rng(0).normal(size=(2000, 4))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        detector = VAEDetector(**{**SMALL, "max_steps": 400}).fit(independent)
    if min(detector.history_.active_units) == 0:
        assert "collapse" in str(caught[0].message)
    message = training._message(StopReason.CONVERGED, [0, 2], 4, 0)
    assert "1 of 2 members" in message
    assert "4 latent dimensions" in message


def test_every_ending_has_a_remedy_or_none_is_needed():
    assert all(len(reason.value) > 20 for reason in StopReason)


def test_learning_rate_goes_up_and_down():
    rates = [one_cycle(p) for p in np.linspace(0, 1, 101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.02)
    assert np.argmax(rates) == 10


def test_masks_hide_whole_columns_and_leave_half_of_the_rows_alone():
    trial = training._Run(fresh(), TRAIN, HELD_OUT, TrainConfig(mask_rate=0.5), generator())
    masks = trial.draw_masks(4000)
    whole = (masks.min(dim=-1).values == 1).double().mean()
    assert 0.5 < float(whole) < 0.75
    assert 0.05 < float((masks == 0).double().mean()) < 0.2


def test_members_differ_and_do_not_mix():
    vae = fresh(n_members=2, seed=1)
    z = torch.zeros(2, 3, 2, dtype=torch.float64)
    z[1] = 1.0
    before = vae.decode(z).mean[0].clone()
    z[1] = 5.0
    torch.testing.assert_close(vae.decode(z).mean[0], before)
    first, second = vae.encode(TRAIN.values, TRAIN.observed).mean
    assert (first - second).abs().max() > 1e-3


def test_encoder_sees_clipped_and_visible_values_only():
    vae = fresh()
    far, near = TRAIN.values.clone(), TRAIN.values.clone()
    far[:, 0], near[:, 0] = 1e6, 10.0
    seen = TRAIN.observed
    torch.testing.assert_close(vae.encode(far, seen).mean, vae.encode(near, seen).mean)
    hidden = seen.clone()
    hidden[:, 0] = 0
    torch.testing.assert_close(vae.encode(far, hidden).mean, vae.encode(TRAIN.values, hidden).mean)


def test_the_number_of_threads_is_given_back(monkeypatch):
    seen = []
    take = training._Run.take_step
    monkeypatch.setattr(
        training._Run,
        "take_step",
        lambda self: (seen.append(torch.get_num_threads()), take(self))[1],
    )
    before = torch.get_num_threads()
    run(fresh(), TrainConfig(max_steps=3))
    assert set(seen) == {1}
    assert torch.get_num_threads() == before


def a_run(config, n_rows=500):
    rows = batch_of(ROWS[:n_rows])
    vae = fresh()
    return training._Run(vae, rows, HELD_OUT, config, generator())


def test_every_step_takes_the_rate_of_the_schedule():
    run_ = a_run(TrainConfig(max_steps=10, learning_rate=0.02))
    for step in range(3):
        run_.step = step
        run_.take_step()
        rate = run_.optimizer.param_groups[0]["lr"]
        assert rate == pytest.approx(0.02 * one_cycle(step / 10))


def test_a_long_gradient_is_cut(monkeypatch):
    monkeypatch.setattr(training, "LARGEST_GRADIENT", 1e-3)
    run_ = a_run(TrainConfig(max_steps=10))
    run_.take_step()
    assert float(run_.weights.grad.norm()) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("n_rows", [3, 200, 500])
def test_an_epoch_shows_every_row_once(n_rows):
    """Across the blocks in which batches are drawn ahead."""
    run_ = a_run(TrainConfig(max_steps=100, batch_size=50), n_rows)
    size = min(50, n_rows)
    epoch = [next(run_.batches)[0].values for _ in range(n_rows // size)]
    seen = np.unique(torch.cat(epoch).numpy(), axis=0)
    np.testing.assert_allclose(seen, np.unique(run_.rows.values.numpy(), axis=0))


def test_batches_come_with_masks_and_fresh_noise():
    run_ = a_run(TrainConfig(max_steps=100, batch_size=100, mask_rate=0.5))
    drawn = [next(run_.batches) for _ in range(40)]
    visible = torch.cat([visible for _, visible, _ in drawn])
    hidden = 1.0 - visible.mean()
    assert 0.08 < hidden < 0.17  # half of the rows, up to a half of the cells: 1/8
    noises = torch.stack([noise for _, _, noise in drawn])
    assert noises.shape == (40, 2, 100, 2)
    assert len(torch.unique(noises)) == noises.numel()
    assert abs(float(noises.mean())) < 4 / np.sqrt(noises.numel())


def test_what_was_not_observed_stays_hidden():
    run_ = a_run(TrainConfig(max_steps=10, batch_size=20))
    run_.rows.observed[:, 1] = 0.0
    _, visible, _ = next(run_.batches)
    assert (visible[:, 1] == 0.0).all()
    assert (visible[:, 0] == 1.0).any()


def test_few_steps_are_drawn_ahead_of_wide_rows(monkeypatch):
    monkeypatch.setattr(training, "ENTRIES_AHEAD", 1)
    run_ = a_run(TrainConfig(max_steps=10, batch_size=20))
    shapes = []
    draw = run_.draw_masks
    monkeypatch.setattr(run_, "draw_masks", lambda *shape: (shapes.append(shape), draw(*shape))[1])
    for _ in range(3):
        next(run_.batches)
    assert shapes == [(1, 20)] * 3
