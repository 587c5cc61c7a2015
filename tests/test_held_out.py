import numpy as np
import pandas as pd
import pytest
import torch

from improbable import VAEDetector, held_out
from improbable.data.parts import Part, likeliest
from improbable.data.table import TableCodec
from improbable.distributions import DiagonalNormal
from improbable.model import as_batch

QUICK = {"hidden": (16,), "max_steps": 10, "latent_dim": 3}


def places(n_rows, n_members):
    """A posterior whose means name the row they belong to."""
    mean = torch.arange(float(n_rows)).expand(n_members, n_rows).unsqueeze(-1)
    return DiagonalNormal(mean, -mean)


@pytest.mark.parametrize(
    ("n_rows", "n_members", "first"),
    [(7, 2, [0, 0]), (10, 2, [0, 0]), (20, 2, [0, 10]), (14, 3, [0, 2, 4]), (90, 1, [0])],
)
def test_members_share_the_rows_out(monkeypatch, n_rows, n_members, first):
    monkeypatch.setattr(held_out, "PRIOR_ROWS", 10)
    shared = held_out._shared_out(places(n_rows, n_members))
    size = min(n_rows, 10)
    expected = np.array(first)[:, None] + np.arange(size)
    np.testing.assert_array_equal(shared.mean[..., 0], expected)
    np.testing.assert_array_equal(shared.log_scale[..., 0], -expected)


def test_kernels_lie_where_rows_that_training_saw_do(monkeypatch):
    monkeypatch.setattr(held_out, "PRIOR_ROWS", 30)
    rows = np.random.default_rng(0).normal(size=(200, 4))
    model = VAEDetector(**QUICK, random_state=0).fit(rows).model_
    batch = as_batch(model.codec.transform(rows))
    with torch.no_grad():
        posterior = model.vae.encode(batch.values, batch.observed)
    found = []
    for member in range(2):
        apart = torch.cdist(model.prior.loc[member], posterior.mean[member])
        assert float(apart.amin(dim=1).max()) < 1e-6
        found.append(set(apart.argmin(dim=1).tolist()))
    assert len(found[0]) == len(found[1]) == 30
    assert not found[0] & found[1]
    calibrated = {round(s, 9) for s in model.held_out.tolist()}
    seen = model.decision_scores(model.codec.transform(rows[sorted(found[0] | found[1])]))
    assert not calibrated & {round(s, 9) for s in seen.tolist()}


def test_hidden_parts_come_as_parts_of_rows_do():
    """The likeliest of names, a truth value, and a size only where there is one."""
    parts = [Part("categorical", 3), Part("bernoulli"), Part("normal"), Part("normal")]
    values = np.array([[0.2, 0.5, 0.3, 0.4, 2.0, 7.0], [0.5, 0.1, 0.4, 0.6, 2.0, 7.0]])
    hidden = np.array([[True, True, True, False]] * 2)
    found, held = likeliest(parts, [0, 1, 1, 2], values, hidden)
    np.testing.assert_array_equal(found, [[0, 1, 0, 0, 0, 7], [1, 0, 0, 1, 2, 7]])
    np.testing.assert_array_equal(held, [[True, True, False, True], [True] * 4])
    untouched = likeliest(parts, [0, 1, 1, 2], values, np.zeros_like(hidden))[0]
    np.testing.assert_array_equal(untouched, values)


def test_rows_of_a_table_are_already_as_they_come():
    """Spikes and sizes of several columns stand apart in a row, each kind by itself."""
    rng = np.random.default_rng(0)
    amounts = np.where(rng.random((200, 3)) < 0.5, 0.0, rng.lognormal(size=(200, 3)))
    table = pd.DataFrame(amounts, columns=list("abc")).assign(
        city=rng.choice(["anaheim", "boulder"], 200), kind=rng.choice(["r", "s", "t"], 200)
    )
    codec = TableCodec().fit(table)
    assert [part.likelihood for part in codec.parts].count("bernoulli") == 4
    rows = codec.transform(table)
    cells = codec.part_columns.tolist()
    hidden = np.ones(rows.observed.shape, dtype=bool)
    found, held = likeliest(codec.parts, cells, rows.values, hidden)
    np.testing.assert_array_equal(found, rows.values)
    np.testing.assert_array_equal(held, rows.observed)


def test_normal_rows_with_holes_in_amounts_are_not_flagged():
    """Half of eight columns that are zero together, missing."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=(2400, 2)) @ rng.normal(size=(2, 8))
    noise = rng.normal(size=(2, 2400, 8))
    rows = np.where(size + 0.2 * noise[0] < 0.0, 0.0, np.exp(size + 0.1 * noise[1]))
    detector = VAEDetector(random_state=0, calibration_fraction=0.4).fit(rows[:1600])
    new = rows[1600:].copy()
    new[np.argsort(rng.random(new.shape), axis=1) < 4] = np.nan
    share, error = np.mean(detector.p_values(new) <= 0.05), np.sqrt(0.05 * 0.95 / 800)
    assert share <= 0.05 + 5.0 * error


def test_rows_with_holes_are_decoded_and_placed_as_what_they_tell():
    """By three of six columns that tell of each other: near the whole row."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(900, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(900, 6))
    detector = VAEDetector(random_state=0, latent_dim=2).fit(rows[:800])
    whole, holed = rows[800:], rows[800:].copy()
    holed[:, ::2] = np.nan
    away = detector.reconstruct(holed)[:, ::2] - whole[:, ::2]
    assert np.sqrt(np.mean(away**2)) < 0.3 * whole[:, ::2].std()
    full, part = detector.posterior(whole), detector.posterior(holed)
    model = detector.model_
    batch = as_batch(model.codec.transform(holed))
    with torch.no_grad():
        masked = model.vae.encode(batch.values, batch.observed)
    np.testing.assert_allclose(part.scale, masked.stddev[model.lead].numpy())
    apart = [np.mean((loc - full.loc) ** 2) for loc in (part.loc, masked.mean[model.lead].numpy())]
    assert apart[0] < 0.5 * apart[1]


def test_kernels_of_rows_with_missing_cells_are_where_such_rows_are_scored():
    rows = np.random.default_rng(0).normal(size=(200, 1)) + np.zeros((1, 4))
    rows[:, 0] = np.where(np.arange(200) % 2 == 0, np.nan, rows[:, 0])
    model = VAEDetector(random_state=0, max_steps=40).fit(rows).model_
    posterior = model.posterior(model.codec.transform(rows))
    kernels = model.prior.loc[model.lead].numpy()
    scaled = (posterior.loc[:, None] - kernels) / posterior.scale[:, None]
    apart = np.linalg.norm(scaled, axis=-1).min(axis=1)
    assert np.sum(apart < 0.2) >= 0.9 * len(kernels)
