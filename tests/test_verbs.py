"""The latent verbs of a fitted detector on mixed tables, and their mathematics on the oracle."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL, mixed_table
from numpy.testing import assert_allclose, assert_array_equal
from oracle import oracle, tensor
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
from improbable.generation import decode_points, points_given, surface
from improbable.latent.gaussians import log_density
from improbable.vae import Batch

TABLE = mixed_table(400, seed=0)


@pytest.fixture(scope="module")
def detector():
    return VAEDetector(**{**SMALL, "max_steps": 120}).fit(TABLE)


def means(detector, rows):
    return detector.posterior(rows).loc


def test_decoded_points_are_rows_of_the_training_table(detector):
    rows = detector.decode(np.zeros((3, detector.model_.vae.latent_dim)))
    assert list(rows.columns) == list(TABLE.columns)
    assert (rows.dtypes == TABLE.dtypes).all()
    assert_frame_equal(detector.decode(np.zeros(detector.model_.vae.latent_dim)), rows[:1])


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
    assert len(detector.mix([TABLE[:20], detector.posterior(TABLE[20:40])])) == 1


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
        (lambda d: d.decode(np.full((1, 2), np.nan)), DataError, "finite numbers"),
        (lambda d: d.interpolate(TABLE[:2], TABLE[:1]), DataError, "One row is wanted, got 2"),
        (lambda d: d.steer(TABLE[:1], "nothing"), ImprobableError, "No direction is called"),
        (lambda d: d.add_direction(" ", TABLE[:9], TABLE[9:]), ImprobableError, "must be text"),
        (lambda d: d.sample_like(TABLE[:1], 0), ImprobableError, "1 or more"),
        (lambda d: d.sample_like(TABLE[:1], 1, spread=-1.0), ImprobableError, "spread"),
        (lambda d: d.sample(1, given={"nope": 1}), SchemaError, "No modeled column"),
        (lambda d: d.sample(1, given={}), DataError, "given must name"),
        (lambda d: d.sample(1, prior="flat"), ImprobableError, "prior must be"),
    ],
)
def test_refusals(detector, call, error, message):
    with pytest.raises(error, match=message):
        call(detector)
