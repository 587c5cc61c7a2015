"""Scores and expectations of a few rows at a time: by NumPy where it says the same as torch.

A call of torch costs more than the arithmetic of one row. So networks that
`improbable.portable` knows are taken out of the model once.
"""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from torch import nn

from improbable.data.parts import FAR, Bools, Floats
from improbable.data.rows import DenseRows, Rows, dense
from improbable.data.table import TableCodec
from improbable.data.windows import WindowCodec
from improbable.errors import ImprobableWarning
from improbable.generation import Mixture as Predictive
from improbable.model import Model
from improbable.networks import MemberMLP
from improbable.places import places_of
from improbable.portable.densities import DENSITIES
from improbable.portable.network import SCORES, Draws, Mixture, Network, Perceptron, StandardNormal
from improbable.portable.network import Prior as PlainPrior
from improbable.portable.scorer import settled
from improbable.portable.shares import score_with_shares
from improbable.portable.shares import shares as shares_of
from improbable.priors import AggregatedPosterior, Prior
from improbable.priors import StandardNormal as TorchNormal
from improbable.typical import PARTIAL

PROBES = 6


@dataclass(frozen=True)
class Swift:
    """A model in NumPy.

    Attributes
    ----------
    network : Network
    as_trained : Network
        The same under the prior of training, which `conditional` weighs by.
    """

    network: Network
    as_trained: Network


def plain_network(model: Model) -> Swift | None:
    """The ensemble of a model in NumPy; None where only torch scores it the same.

    Warns
    -----
    ImprobableWarning
        If the network is a known one, and still differs.
    """
    codec, vae = model.codec, model.vae
    prior, trained = _plain_prior(model.prior), _plain_prior(vae.prior)
    known = isinstance(codec, TableCodec | WindowCodec) and model.score_function in SCORES
    parts = all(part.likelihood in DENSITIES for part in codec.parts)
    networks = all(isinstance(side, MemberMLP) for side in (vae.encoder, vae.decoder))
    if not (known and parts and codec.parts and networks) or prior is None or trained is None:
        return None
    cells = codec.part_columns if codec.span is None else codec.span.part_cells
    network = Network(
        encoder=_perceptron(vae.encoder),
        decoder=_perceptron(vae.decoder),
        parts=codec.parts,
        cells=cells,
        tied_params=_plain(vae.tied_params),
        prior=prior,
        noise=_plain(model.noise),
        completes=model.completes,
        known=_plain_places(model),
    )
    as_trained = replace(network, prior=trained)
    as_trained.__dict__["places"] = network.places  # decoded once
    swift = Swift(network, as_trained)
    if _agrees(model, swift):
        return swift
    warnings.warn(
        "NumPy scores this model otherwise than PyTorch does, so PyTorch judges the stream: its "
        "readings are right, and take several times as long. Please report it.",
        ImprobableWarning,
        stacklevel=2,
    )
    return None


def _agrees(model: Model, swift: Swift) -> bool:
    """Whether rows drawn at random, some with holes, have the model's scores and shares."""
    rng, n = np.random.default_rng(0), PROBES
    observed = rng.random((n, len(model.codec.parts))) < np.linspace(0.5, 1.0, n)[:, None]
    values = rng.normal(size=(n, model.codec.event_size))
    values *= observed[:, swift.network.entry_part]
    nothing = np.zeros((n, len(model.codec.names)))
    rows = DenseRows(values, observed, nothing, *[nothing.astype(bool)] * 3)
    pairs = (
        (decision_scores(model, swift, rows), model.decision_scores(rows)),
        (shares(model, swift, rows), model.shares(rows)),
    )
    return all(np.allclose(found, expected, 1e-9, 1e-8) for found, expected in pairs)


def decision_scores(model: Model, swift: Swift | None, rows: Rows) -> Floats:
    """`Model.decision_scores` of rows that overlap no others asked for.

    Parameters
    ----------
    model : Model
    swift : Swift, optional
        Its `plain_network`.
    rows : Rows
    """
    if swift is None:
        return model.decision_scores(rows)
    if model.cells is None:
        found = [_scores(model, swift, batch) for batch in swift.network.batches(rows)]
        return settled(model.comparable(np.concatenate(found), rows), model.held_out)
    name, columns = model.score_function, model.codec.part_columns
    draws = (_draws(model, swift, batch) for batch in swift.network.batches(rows))
    both = [score_with_shares(some, name, columns) for some in draws]
    score, parts = (np.concatenate(side) for side in zip(*both, strict=True))
    return settled(model.judged(score, parts, rows), model.held_out)


def shares(model: Model, swift: Swift, rows: Rows) -> Floats:
    """`Model.shares` of rows that overlap no others asked for."""
    draws = (_draws(model, swift, batch) for batch in swift.network.batches(rows))
    return np.concatenate([shares_of(some, model.codec.part_columns) for some in draws])


def _scores(model: Model, swift: Swift, rows: Rows) -> Floats:
    draws = _draws(model, swift, rows)
    if model.codec.span is not None and model.score_function in PARTIAL:
        share = swift.network.observed_cells(draws.rows.observed).mean(axis=-1)
        draws.__dict__["kl"] = swift.network.prior.kl(draws.posterior) * share
    with np.errstate(over="ignore"):
        found: Floats = SCORES[model.score_function](draws).mean(axis=0)
    return found


def conditional(swift: Swift, rows: DenseRows, visible: Bools) -> Predictive:
    """`generation.conditional`: what the visible parts let the model expect of all of them.

    Parameters
    ----------
    swift : Swift
    rows : DenseRows
        n rows.
    visible : ndarray of bool of shape (n, n_parts)
    """
    network = swift.as_trained
    filled = network.filled_twice(replace(rows, observed=visible), ~visible)
    drawn = [Draws(network, some) for some in filled]
    raw = np.concatenate([network.decode(draws.z) for draws in drawn], axis=1)
    with np.errstate(over="ignore"):
        parts = network.log_prob_parts(raw, rows.values) * visible
    ratios = [draws.log_ratio + nats for draws, nats in zip(drawn, (0.0, FAR), strict=False)]
    log_weights = parts.sum(-1) + np.concatenate(ratios, axis=1)
    weights = softmax(log_weights.reshape(-1, len(visible)), axis=0)
    moments = (network.mean(raw), network.variance(raw))
    return Predictive(weights, *(m.reshape(-1, *m.shape[2:]) for m in moments))


def _draws(model: Model, swift: Swift, rows: Rows) -> Draws:
    """Draws of rows of which the judged parts count; see `Model.draws`."""
    span, seen = model.codec.span, dense(rows)
    if span is None:
        return Draws(swift.network, seen)
    counted = seen.observed if span.judged is None else seen.observed & span.judged
    gone = ~swift.network.observed_cells(seen.observed)[:, swift.network.place]
    if gone.any():
        seen = swift.network.filled_likeliest(seen, gone)
    draws = Draws(swift.network, replace(seen, observed=counted))
    draws.__dict__["posterior"] = swift.network.encode(seen)
    return draws


def _perceptron(network: nn.Module) -> Perceptron:
    layers: Any = network.layers
    pairs = tuple((_plain(layer.weight), _plain(layer.bias)) for layer in layers)
    return Perceptron(pairs, _plain(network.linear))


def _plain_prior(prior: Prior) -> PlainPrior | None:
    if isinstance(prior, AggregatedPosterior):
        return Mixture(_plain(prior.loc), _plain(prior.scale))
    return StandardNormal() if isinstance(prior, TorchNormal) else None


def _plain_places(model: Model) -> Floats | None:
    loc = places_of(model.vae, model.prior) if model.has_places else None
    return None if loc is None else _plain(loc)


def _plain(tensor: Any) -> Floats:
    array: Floats = torch.as_tensor(tensor).detach().cpu().double().contiguous().numpy()
    return array
