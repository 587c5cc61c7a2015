"""Missing cells filled from places of training rows: by brute force, and by what is known."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.stats import norm

from improbable import VAEDetector
from improbable.data.parts import LEAST_VARIANCE, MOST_PLACES, n_places
from improbable.generation import conditional
from improbable.model import as_batch
from improbable.places import Places
from improbable.portable.places import Places as PlainPlaces

Rows = NDArray[np.float64]


def two_groups(n: int, seed: int) -> Rows:
    """Three of seven columns tell the groups, at -3 and 3."""
    rng = np.random.default_rng(seed)
    side = rng.choice([-3.0, 3.0], (n, 1))
    return np.hstack([rng.normal(size=(n, 4)), side + 0.2 * rng.normal(size=(n, 3))])


@pytest.fixture(scope="module")
def grouped() -> VAEDetector:
    return VAEDetector(random_state=0).fit(two_groups(1500, 0))


def payments(n: int, seed: int) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """A twentieth of the rows in another currency, their amounts 150 times as large."""
    rng = np.random.default_rng(seed)
    few = rng.random(n) < 0.05
    amount = rng.lognormal(3, 0.6, n) * np.where(few, 150.0, 1.0)
    frame = {
        "currency": np.where(few, "JPY", np.where(rng.random(n) < 0.7, "EUR", "USD")),
        "amount": amount,
        "fee": 0.02 * amount * rng.lognormal(0, 0.1, n),
        "country": np.where(few, "JP", rng.choice(["DE", "FR", "US"], n)),
        "items": rng.poisson(3, n),
    }
    return pd.DataFrame(frame), few


def by_hand(mean: Rows, variance: Rows, x: Rows, seen: Rows) -> tuple[Rows, Rows]:
    """Log prob of a row's visible entries at each place, and what they let expect."""
    spread = np.sqrt(np.maximum(variance, LEAST_VARIANCE))
    log_prob = (norm.logpdf(x, mean, spread) * seen).sum(axis=-1)
    weight = np.exp(log_prob - log_prob.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    return log_prob, np.einsum("mk,mke->me", weight, mean).mean(axis=0)


def test_expectation_and_likeliest_place_by_brute_force():
    rng = np.random.default_rng(0)
    mean, variance = rng.normal(size=(2, 9, 5)), rng.uniform(0.01, 1.0, size=(2, 9, 5))
    x, seen = rng.normal(size=(20, 5)), rng.random((20, 5)) < 0.6
    places = PlainPlaces.of(mean, variance)
    for i in range(20):
        log_prob, expected = by_hand(mean, variance, x[i], seen[i])
        one = slice(i, i + 1)
        assert_allclose(places.expected(x[one], seen[one])[0], expected, rtol=1e-10)
        member, best = np.unravel_index(log_prob.argmax(), log_prob.shape)
        assert_allclose(places.likeliest(x[one], seen[one])[0], mean[member, best])


def test_torch_and_numpy_agree(grouped: VAEDetector):
    vae, places = grouped.model_.vae, grouped.model_.places
    with torch.no_grad():
        decoded = vae.decode(grouped.model_.prior.loc[:, : places.mean.shape[1]])
    plain = PlainPlaces.of(decoded.mean.numpy(), decoded.variance.numpy())
    x = np.random.default_rng(1).normal(size=(30, 7))
    seen = np.random.default_rng(2).random((30, 7)) < 0.5
    pair = torch.from_numpy(x), torch.from_numpy(seen.astype(float))
    assert_allclose(places.expected(*pair), plain.expected(x, seen), rtol=1e-9, atol=1e-9)
    assert_allclose(places.likeliest(*pair), plain.likeliest(x, seen), rtol=1e-9, atol=1e-9)


def test_wide_rows_have_fewer_places():
    assert n_places(10) == MOST_PLACES
    assert n_places(1_000) == 500
    assert n_places(10**6) == 64


@pytest.mark.parametrize("gone", [[4], [4, 5], [4, 5, 6]])
def test_rows_that_fit_two_groups_are_no_anomalies(grouped: VAEDetector, gone: list[int]):
    """Halfway between the groups there are no rows: a mean of both would be flagged."""
    n = 800
    rows = two_groups(n, 1)
    rows[:, gone] = np.nan
    for alpha in (0.01, 0.05):
        slack = 4 * np.sqrt(alpha * (1 - alpha) * (1 / n + 1 / len(grouped.model_.held_out)))
        assert np.mean(grouped.p_values(rows) <= alpha) <= alpha + slack


def test_a_row_of_nothing_is_no_anomaly(grouped: VAEDetector):
    assert grouped.p_values(np.full((1, 7), np.nan))[0] > 0.05


def test_cells_of_a_group_of_few_rows_are_found():
    train, _ = payments(2000, 0)
    fitted = VAEDetector(random_state=0).fit(train)
    new, few = payments(1500, 1)
    holed = new.assign(amount=np.nan, fee=np.nan)
    ratio = np.abs(np.log(fitted.impute(holed)["amount"] / new["amount"]))
    assert np.median(ratio[few]) < np.log(4.0)  # the others' amounts are 150 times smaller
    assert np.median(ratio[~few]) < np.log(2.0)
    assert np.mean(fitted.p_values(holed)[few] <= 0.05) < 0.2


def test_many_factors_are_followed_as_closely_as_their_exact_mean():
    """Where places are too few to tell, rounds of filling go on to the conditional mean."""
    loadings = np.random.default_rng(3).normal(size=(8, 30))
    gone, seen = np.arange(10), np.arange(10, 30)

    def rows(n: int, seed: int) -> Rows:
        rng = np.random.default_rng(seed)
        return rng.normal(size=(n, 8)) @ loadings + 0.2 * rng.normal(size=(n, 30))

    fitted = VAEDetector(random_state=0).fit(rows(2000, 0))
    new = rows(400, 1)
    holed = new.copy()
    holed[:, gone] = np.nan
    covariance = loadings.T @ loadings + 0.04 * np.eye(30)
    slope = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[np.ix_(seen, gone)])
    exact = np.sqrt(np.mean((new[:, seen] @ slope - new[:, gone]) ** 2))
    found = np.sqrt(np.mean((np.asarray(fitted.impute(holed)) - new)[:, gone] ** 2))
    assert found < 2.0 * exact


def test_draws_of_both_ways_of_filling_are_weighed_together(grouped: VAEDetector):
    model = grouped.model_
    rows = two_groups(5, 2)
    rows[:, 4:6] = np.nan
    batch = as_batch(model.codec.transform(model.codec.read(rows)))
    one = conditional(model.vae, batch, batch.observed, model.noise)
    both = conditional(model.vae, batch, batch.observed, model.noise, model.places)
    assert len(both.weights) == 2 * len(one.weights)
    assert_allclose(both.weights.sum(axis=0), 1.0)


def test_a_pickle_does_without_decoded_places(grouped: VAEDetector):
    before = len(pickle.dumps(grouped))
    rows = np.where(np.arange(7) == 2, np.nan, two_groups(3, 3))
    scores = grouped.score_samples(rows)
    assert "places" in vars(grouped.model_)
    assert len(pickle.dumps(grouped)) < before + 1000
    assert_allclose(pickle.loads(pickle.dumps(grouped)).score_samples(rows), scores, atol=1e-9)


def test_priors_that_know_no_training_rows_have_no_places():
    rows = two_groups(300, 0)
    fitted = VAEDetector(random_state=0, max_steps=10, prior="normal").fit(rows)
    assert fitted.model_.places is None
    rows[:, 4] = np.nan
    assert np.isfinite(fitted.score_samples(rows)).all()


def test_models_of_older_files_fill_cells_as_they_did(grouped: VAEDetector):
    model = grouped.model_
    older = replace(model, has_places=False)
    assert older.places is None
    rows = two_groups(50, 4)
    whole = model.codec.transform(model.codec.read(rows))
    rows[:, 4:] = np.nan
    holed = model.codec.transform(model.codec.read(rows))
    assert_allclose(older.decision_scores(whole), model.decision_scores(whole), atol=1e-9)
    assert not np.allclose(older.decision_scores(holed), model.decision_scores(holed))


def test_places_are_those_of_the_first_kernels(grouped: VAEDetector):
    model = grouped.model_
    places = Places.of(model.vae, model.prior.loc[:, :MOST_PLACES])
    assert_allclose(model.places.mean, places.mean)
