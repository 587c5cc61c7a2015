"""The latent verbs of a fitted detector on mixed tables, and their mathematics on the oracle."""

from copy import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL, mixed_table
from numpy.testing import assert_allclose, assert_array_equal
from oracle import FLOOR, batch_of, oracle, plain_codec, tensor
from pandas.testing import assert_frame_equal

from improbable import (
    DataError,
    DataWarning,
    ImprobableError,
    SchemaError,
    VAEDetector,
    load,
    save,
)
from improbable.data.parts import Part
from improbable.generation import (
    BLOCK,
    conditional,
    decode_points,
    points_given,
    reconstruction,
    sample_prior,
    surface,
)
from improbable.latent import paths
from improbable.latent.gaussians import log_density
from improbable.priors import AggregatedPosterior
from improbable.randomness import draw_noise, seed_sequence
from improbable.scores import draw
from improbable.vae import Batch, assemble_vae

TABLE = mixed_table(400, seed=0)


@pytest.fixture(scope="module")
def detector():
    return VAEDetector(**{**SMALL, "max_steps": 120}).fit(TABLE)


def led_by(detector, member):
    """The detector, as if a member had come out best."""
    found, model = copy(detector), detector.model_
    best = tuple(float(i == member) for i in range(model.vae.n_members))
    found.model_ = replace(model, history=replace(model.history, best_elbo=best))
    return found


def means(detector, rows):
    return detector.posterior(rows).loc


def test_decoded_points_are_rows_of_the_training_table(detector):
    rows = detector.decode(np.zeros((3, detector.model_.vae.latent_dim)))
    assert list(rows.columns) == list(TABLE.columns)
    assert (rows.dtypes == TABLE.dtypes).all()
    assert_frame_equal(detector.decode(np.zeros(detector.model_.vae.latent_dim)), rows[:1])


@pytest.mark.parametrize("member", [0, 1])
def test_verbs_speak_of_the_latent_space_of_the_lead_member(detector, member):
    led = led_by(detector, member)
    z = np.random.default_rng(0).normal(size=(3, led.model_.vae.latent_dim))
    model, every = led.model_, torch.as_tensor(z).expand(2, -1, -1)
    mean = model.vae.decode(every).mean[member].detach().numpy()
    assert_frame_equal(led.decode(z), model.codec.inverse_transform(mean).to_native())
    ends, at = means(led, TABLE[:2]), surface(model.vae, member)
    path = paths.interpolate(*ends, 5, "geodesic", at)
    assert_frame_equal(led.interpolate(*ends, 5, path="geodesic"), led.decode(path))
    assert np.abs(path - paths.interpolate(*ends, 5)).max() > 1e-6


def test_paths_are_the_ones_asked_for(detector):
    ends = means(detector, TABLE[:2])
    for path in ("linear", "slerp"):
        z = paths.interpolate(*ends, 5, path)
        assert_frame_equal(detector.interpolate(*ends, 5, path=path), detector.decode(z))


def test_posteriors_remember_their_library(detector):
    polars = pytest.importorskip("polars")
    assert detector.posterior(TABLE).library == "pandas"
    assert detector.posterior(polars.from_pandas(TABLE[:5])).library == "polars"


def test_draws_scatter_around_the_decoded_mean():
    model, z = oracle(), np.array([[0.3, -1.0]])
    n = 20_000
    mean = decode_points(model.vae, z, 0)
    assert_allclose(mean, model.bias + z @ model.weights)
    drawn = decode_points(model.vae, np.repeat(z, n, axis=0), 0, np.random.default_rng(0))
    assert np.abs(drawn.mean(axis=0) - mean).max() < 4.5 * model.sigma / np.sqrt(n)
    assert_allclose(drawn.std(axis=0), model.sigma, rtol=0.03)


def test_interpolation_ends_at_the_decoded_encodings(detector):
    a, b = TABLE[:1], TABLE[7:8]
    for path in ("linear", "slerp", "geodesic"):
        found = detector.interpolate(a, b, 5, path=path)
        assert len(found) == 5
        ends = pd.concat([detector.decode(means(detector, row)) for row in (a, b)])
        assert_frame_equal(found.iloc[[0, -1]].reset_index(drop=True), ends.reset_index(drop=True))


def test_a_minus_a_plus_b_is_b(detector):
    a, b = means(detector, TABLE[:1])[0], means(detector, TABLE[7:8])[0]
    assert_frame_equal(detector.mix([a, a, b], [1.0, -1.0, 1.0]), detector.decode(b))


def test_mix_takes_tables_rows_and_points(detector):
    z = means(detector, TABLE[:1])[0]
    assert_frame_equal(detector.mix([TABLE[:1]]), detector.decode(z))
    assert_frame_equal(detector.mix([z, list(z)], [0.5, 0.5]), detector.decode(z))
    few, more = TABLE[:20], detector.posterior(TABLE[20:60])
    ends = [_center(detector, few), _center(detector, TABLE[20:60])]
    mixed = detector.decode(0.3 * ends[0] + 0.7 * ends[1])
    assert_frame_equal(detector.mix([few, more], [0.3, 0.7]), mixed)


def test_traverse_moves_one_dimension(detector):
    found = detector.traverse(TABLE[:1], 1, [-2.0, 0.0, 2.0])
    z = means(detector, TABLE[:1]).repeat(3, axis=0)
    z[:, 1] = [-2.0, 0.0, 2.0]
    assert_frame_equal(found, detector.decode(z))


def test_summary_orders_dimensions_by_activity(detector):
    summary = detector.latent_summary(TABLE)
    activity = means(detector, TABLE).var(axis=0)
    assert_allclose(summary.activity, np.sort(activity)[::-1])


def test_directions_are_learned_applied_and_kept(detector, tmp_path):
    with_, without = TABLE[TABLE["age"] > 45], TABLE[TABLE["age"] < 35]
    found = detector.add_direction("older", with_, without, random_state=0)
    assert_allclose(found.vector, _center(detector, with_) - _center(detector, without))
    moved = detector.steer(TABLE[:4], "older", 1.5)
    z = means(detector, TABLE[:4]) + 1.5 * found.vector
    assert_frame_equal(moved, detector.decode(z))
    assert_frame_equal(detector.steer(z[0], "older", 0.0), detector.decode(z[0]))
    save(detector, tmp_path / "m")
    again = load(tmp_path / "m")
    assert_array_equal(again.directions["older"].vector, found.vector)
    assert again.directions["older"].separation == found.separation
    assert_frame_equal(again.steer(TABLE[:4], "older", 1.5), moved)


def test_a_direction_takes_the_place_of_the_last_of_its_name(detector):
    first = detector.add_direction("older", TABLE[TABLE["age"] > 45], TABLE[TABLE["age"] < 35])
    second = detector.add_direction("older", TABLE[TABLE["age"] < 35], TABLE[TABLE["age"] > 45])
    assert detector.directions["older"] is second
    assert_allclose(second.vector, -first.vector, rtol=1e-9)


def test_rows_kept_aside_to_check_a_direction_go_by_random_state(detector):
    groups = TABLE[TABLE["age"] > 40], TABLE[TABLE["age"] <= 40]
    found = [detector.add_direction("a", *groups, random_state=seed) for seed in (0, 0, 1, 2, 3)]
    assert found[0].separation == found[1].separation
    assert len({direction.separation for direction in found}) > 1


def _center(detector, rows):
    q = detector.posterior(rows)
    weights = 1.0 / (q.loc.var(axis=0) + q.scale**2)
    return (weights * q.loc).sum(axis=0) / weights.sum(axis=0)


def test_a_direction_between_equals_warns(detector):
    with pytest.warns(DataWarning, match="do not separate"):
        detector.add_direction("none", TABLE[:200:2], TABLE[1:200:2], random_state=0)


def test_the_nearest_item_is_the_brute_force_one(detector):
    index = detector.index(TABLE, ids=[f"row {i}" for i in range(len(TABLE))])
    posterior = detector.posterior(TABLE)
    z = np.random.default_rng(0).normal(size=(5, posterior.loc.shape[1]))
    found = index.search(z, 3)
    order = np.argsort(-log_density(z, posterior), axis=1, kind="stable")[:, :3]
    assert found.ids.tolist() == [[f"row {i}" for i in row] for row in order]


def test_an_index_is_filtered_by_the_columns_given(detector):
    index = detector.index(TABLE, columns=TABLE[["sex"]])
    found = index.search(means(detector, TABLE[:1]), 5, where={"sex": "F"})
    assert (TABLE["sex"].to_numpy()[found.positions] == "F").all()


def test_options_of_clusters_are_passed_on(detector):
    found = detector.cluster(TABLE, 3, random_state=0, divergence="reverse_kl")
    assert found.divergence == "reverse_kl"


def test_clusters_decode_to_rows(detector):
    found = detector.cluster(TABLE, 3, random_state=0)
    assert len(detector.decode(found.loc)) == len(found) == 3
    assert len(found.labels) == len(TABLE)


def test_samples_near_a_row_stay_near(detector):
    place = means(detector, TABLE[:1])[0]
    near = means(detector, detector.sample_like(TABLE[:1], 60, random_state=0))
    far = means(detector, detector.sample(60, random_state=0))
    assert np.linalg.norm(near - place, axis=1).mean() < np.linalg.norm(far - place, axis=1).mean()
    again = detector.sample_like(TABLE[:1], 60, random_state=0)
    assert_frame_equal(again, detector.sample_like(TABLE[:1], 60, random_state=0))


@pytest.mark.parametrize("spread", [0.0, 1.0, 2.5])
def test_samples_like_a_row_have_so_many_times_its_scale(detector, spread):
    around, n = detector.posterior(TABLE[3:4]), 20_000
    observed = copy(detector)
    observed.decode = lambda z, **how: (z, how)
    z, how = observed.sample_like(TABLE[3:4], n, spread=spread, random_state=0)
    assert z.shape == (n, around.loc.shape[1])
    assert how["draw"]
    assert_allclose(z.std(axis=0), spread * around.scale[0], rtol=0.03, atol=1e-9)
    bias = np.abs(z.mean(axis=0) - around.loc[0])
    assert (bias <= 4.5 * spread * around.scale[0] / np.sqrt(n) + 1e-12).all()


def test_samples_like_a_row_vary_without_spread(detector):
    found = detector.sample_like(TABLE[:1], 20, spread=0.0, random_state=0)
    assert found["height"].nunique() == 20


def test_given_columns_are_held_and_the_others_follow(detector):
    old = detector.sample(200, given={"sex": "F", "age": 65}, random_state=0)
    young = detector.sample(200, given={"sex": "F", "age": 20}, random_state=0)
    assert (old["sex"] == "F").all()
    assert (old["age"] == 65).all()
    assert list(old.columns) == list(TABLE.columns)
    error = np.hypot(old["height"].std(), young["height"].std()) / np.sqrt(200)
    assert old["height"].mean() > young["height"].mean() + 4.0 * error


def test_points_given_cells_follow_the_exact_conditional():
    """p(z given x_v) of a linear-Gaussian model, from a posterior off center and too wide."""
    model = oracle(posterior_scale=2.0, posterior_shift=0.5)
    x = model.sample(1, seed=4)
    seen = np.array([True, True, False, False, False])
    batch = Batch(tensor(x * seen), tensor(seen[None].astype(float)), tensor(np.zeros((1, 5))))
    n = 20_000
    z, ess = points_given(model.vae, model.vae.prior, batch, n, 0, np.random.default_rng(0))
    weights, sigma = model.weights[:, seen], model.sigma
    covariance = np.linalg.inv(weights @ weights.T / sigma**2 + np.eye(2))
    mean = covariance @ weights @ (x[0, seen] - model.bias[seen]) / sigma**2
    error = np.sqrt(np.diag(covariance) / min(n, ess))
    assert (np.abs(z.mean(axis=0) - mean) < 4.5 * error).all()
    assert_allclose(np.cov(z.T), covariance, atol=6.0 * covariance.max() / np.sqrt(min(n, ess)))
    assert 1_000 < ess < 20 * n


def twins():
    """The oracle as member 0, and as member 1 the same with its columns in reverse."""
    model = oracle()
    parts = [Part("normal", 1, FLOOR, -np.inf, np.inf)] * 5
    vae = assemble_vae(plain_codec(parts), 2, (), (), 2).double()
    with torch.no_grad():
        for both, one in zip(vae.parameters(), model.vae.parameters(), strict=True):
            both[:] = one
        vae.encoder.linear[1, :5] = model.vae.encoder.linear[0, :5].flip(0)
        vae.decoder.linear[1, :, :5] = model.vae.decoder.linear[0, :, :5].flip(1)
        bias = model.vae.decoder.layers[-1].bias
        vae.decoder.layers[-1].bias[1, 0, :5] = bias[0, 0, :5].flip(0)
    return model, vae


LOC, SCALE = np.array([[1.0, -0.5], [-1.0, 1.0]]), 0.6


def own_prior():
    """A prior of one kernel for each member."""
    loc = tensor(LOC[:, None])
    return AggregatedPosterior(loc, torch.full_like(loc, SCALE))


@pytest.mark.parametrize("member", [0, 1])
def test_points_are_decoded_by_their_member(member):
    model, vae = twins()
    z = np.random.default_rng(0).normal(size=(2 * BLOCK + 7, 2))
    wanted = (model.bias + z @ model.weights)[:, :: 1 - 2 * member]
    assert_allclose(decode_points(vae, z, member), wanted)
    assert_allclose(surface(vae, member)(z[:4])[0], wanted[:4])
    assert decode_points(vae, z[:0], member).shape == (0, 5)


@pytest.mark.parametrize("member", [0, 1])
def test_samples_are_those_of_their_member(member):
    (model, vae), n = twins(), 20_000
    drawn = sample_prior(vae, own_prior(), n, member, np.random.default_rng(0))
    drawn = drawn[:, :: 1 - 2 * member]
    covariance = SCALE**2 * model.weights.T @ model.weights + model.sigma**2 * np.eye(5)
    error = np.sqrt(np.diag(covariance) / n)
    mean = model.bias + LOC[member] @ model.weights
    assert (np.abs(drawn.mean(axis=0) - mean) < 4.5 * error).all()
    assert_allclose(np.cov(drawn.T), covariance, atol=6.0 * covariance.max() / np.sqrt(n))


@pytest.mark.parametrize("member", [0, 1])
def test_points_given_cells_are_those_of_their_member(member):
    """p(z given x_v) under a Normal prior of its own is exact for each member."""
    (model, vae), n = twins(), 20_000
    x, seen = model.sample(1, seed=4), np.array([True, True, False, False, False])
    turned = slice(None, None, 1 - 2 * member)
    cells, mask = (x * seen)[:, turned].copy(), seen[None, turned].astype(float)
    batch = Batch(tensor(cells), tensor(mask), tensor(np.zeros((1, 5))))
    rng = np.random.default_rng(0)
    z, ess = points_given(vae, own_prior(), batch, n, member, rng)
    weights, sigma = model.weights[:, seen], model.sigma
    covariance = np.linalg.inv(weights @ weights.T / sigma**2 + np.eye(2) / SCALE**2)
    pull = weights @ (x[0, seen] - model.bias[seen]) / sigma**2 + LOC[member] / SCALE**2
    error = np.sqrt(np.diag(covariance) / min(n, ess))
    assert (np.abs(z.mean(axis=0) - covariance @ pull) < 4.5 * error).all()
    assert_allclose(np.cov(z.T), covariance, atol=6.0 * covariance.max() / np.sqrt(min(n, ess)))
    assert len(z) == n
    assert ess > 2 * n


@pytest.mark.parametrize("member", [0, 1])
def test_half_of_the_points_proposed_come_from_the_posterior_of_their_member(member):
    """Where the whole row is seen that posterior is exact, so its half of 2,000 counts in full."""
    model, vae = twins()
    for x in model.sample(3, seed=4):
        batch = batch_of(x[None, :: 1 - 2 * member].copy())
        _, ess = points_given(vae, vae.prior, batch, 100, member, np.random.default_rng(0))
        assert ess > 900


def test_reconstructions_are_the_mean_of_all_members():
    (model, vae), noise = twins(), draw_noise(16, 2, seed_sequence(0))
    x = model.sample(4, seed=5)
    ways = (x, x[:, ::-1].copy())
    each = [reconstruction(draw(model.vae, batch_of(rows), noise)) for rows in ways]
    both = reconstruction(draw(vae, batch_of(x), noise))
    assert_allclose(both, (each[0] + each[1][:, ::-1]) / 2.0)


def test_most_draws_count_when_what_is_hidden_was_filled_in():
    """Without filling in, posteriors of hidden cells lie where few draws have weight."""
    model, x = oracle(), oracle().sample(200, seed=2)
    for n_seen in (2, 3, 4):
        visible = tensor(np.tile((np.arange(5) < n_seen).astype(float), (200, 1)))
        noise = draw_noise(256, 2, seed_sequence(0))
        weights = conditional(model.vae, batch_of(x), visible, noise).weights
        assert (1.0 / (weights**2).sum(axis=0) > 120.0).all()


def test_the_surface_pulls_back_by_the_jacobian():
    model = oracle()
    z = np.random.default_rng(0).normal(size=(4, 2))
    value, pull = surface(model.vae, 0)(z)
    assert_allclose(value, model.bias + z @ model.weights)
    cotangents = np.random.default_rng(1).normal(size=(4, 5))
    assert_allclose(pull(cotangents), cotangents @ model.weights.T)
    assert torch.is_grad_enabled()


def test_prior_can_be_named(detector):
    assert len(detector.sample(3, prior="normal", random_state=0)) == 3
    own = detector.sample(3, random_state=0)
    assert_frame_equal(detector.sample(3, prior="aggregated", random_state=0), own)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda d: d.decode([1.0]), DataError, "finite numbers a point"),
        (lambda d: d.decode(np.full((1, 2), np.nan)), ImprobableError, "finite numbers"),
        (lambda d: d.interpolate(TABLE[:2], TABLE[:1]), DataError, "One row is wanted, got 2"),
        (lambda d: d.steer(TABLE[:1], "nothing"), ImprobableError, "No direction is called"),
        (lambda d: d.add_direction(" ", TABLE[:9], TABLE[9:]), ImprobableError, "must be text"),
        (lambda d: d.sample_like(TABLE[:1], 0), ImprobableError, "1 or more"),
        (lambda d: d.sample_like(TABLE[:1], 1, spread=-1.0), ImprobableError, "spread"),
        (lambda d: d.sample_like(TABLE[:1], 1, spread=np.inf), ImprobableError, "spread"),
        (lambda d: d.sample_like(TABLE[:1], 1, spread=np.nan), ImprobableError, "spread"),
        (lambda d: d.sample_like(TABLE[:2], 1), DataError, "One row is wanted, got 2"),
        (lambda d: d.decode(np.zeros((1, 99))), DataError, "finite numbers a point"),
        (lambda d: d.sample(1, given={"nope": 1}), SchemaError, "No modeled column"),
        (lambda d: d.sample(1, given={}), DataError, "given must name"),
        (lambda d: d.sample(1, prior="flat"), ImprobableError, "prior must be"),
    ],
)
def test_refusals(detector, call, error, message):
    with pytest.raises(error, match=message):
        call(detector)


def test_steered_rows_keep_their_index(detector):
    rows = TABLE[:3].set_axis([7, 5, 9])
    ordered = TABLE.sort_values("age")
    detector.add_direction("up", ordered[-60:], ordered[:60])
    assert detector.steer(rows, "up").index.tolist() == [7, 5, 9]
    with pytest.raises(DataError, match="2 amounts for 3 points"):
        detector.steer(rows, "up", [1.0, 2.0])


def test_groups_to_mix_come_in_a_list(detector):
    with pytest.raises(DataError, match="Groups come in a list"):
        detector.mix(TABLE[:2])
