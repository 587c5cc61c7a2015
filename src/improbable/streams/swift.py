"""Decision scores of a few rows at a time: by NumPy where it says the same as torch.

A call of torch costs more than the arithmetic of one row. So networks that
`improbable.portable` knows are taken out of the model once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import nn

from improbable.data.parts import Bools, Floats
from improbable.data.rows import DenseRows, Rows
from improbable.data.table import TableCodec
from improbable.data.windows import WindowCodec
from improbable.generation import FILL_ROUNDS
from improbable.model import PARTIAL, Model
from improbable.networks import MemberMLP
from improbable.portable.densities import DENSITIES, LOGIT_BOUND, Block
from improbable.portable.network import SCORES, Draws, Mixture, Network, Perceptron, StandardNormal
from improbable.portable.network import Prior as PlainPrior
from improbable.portable.scorer import DECIMALS, settled
from improbable.priors import AggregatedPosterior, Prior
from improbable.priors import StandardNormal as TorchNormal

PROBES = 6


@dataclass(frozen=True)
class Swift:
    """A model in NumPy.

    Attributes
    ----------
    network : Network
    place : ndarray of int of shape (n_parts,)
        Cell of each part, among those that have parts.
    order, starts : ndarray of int
        Parts in order of their cells, and where each cell begins among them.
    """

    network: Network
    place: NDArray[np.intp]
    order: NDArray[np.intp]
    starts: NDArray[np.intp]

    def observed_cells(self, observed: Bools) -> Bools:
        """Cells with an observed part, shape (n, n_cells)."""
        if len(self.starts) == len(self.order):
            return observed
        return np.logical_or.reduceat(observed[:, self.order], self.starts, axis=1)


def plain_network(model: Model) -> Swift | None:
    """The ensemble of a model in NumPy; None where only torch scores it the same."""
    codec, vae, prior = model.codec, model.vae, _plain_prior(model.prior)
    known = isinstance(codec, TableCodec | WindowCodec) and model.score_function in SCORES
    parts = all(part.likelihood in DENSITIES for part in codec.parts)
    if not (known and parts and codec.parts and isinstance(vae.encoder, MemberMLP)):
        return None
    if prior is None:
        return None
    network = Network(
        encoder=_perceptron(vae.encoder),
        decoder=_perceptron(vae.decoder),
        parts=codec.parts,
        tied_params=_plain(vae.tied_params),
        prior=prior,
        noise=_plain(model.noise),
    )
    cells = codec.part_columns if codec.span is None else codec.span.part_cells
    place = np.unique(cells, return_inverse=True)[1].astype(np.intp)
    if place.max() + 1 == len(place):  # a part a cell: the order of cells is that of parts
        place = np.arange(len(place))
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(place.max() + 1))
    swift = Swift(network, place, order, starts)
    return swift if _agrees(model, swift) else None


def _agrees(model: Model, swift: Swift) -> bool:
    """Whether rows drawn at random, some with holes, score as the model says."""
    rng, n = np.random.default_rng(0), PROBES
    observed = rng.random((n, len(model.codec.parts))) < np.linspace(0.5, 1.0, n)[:, None]
    values = rng.normal(size=(n, model.codec.event_size))
    values *= observed[:, swift.network.entry_part]
    nothing = np.zeros((n, len(model.codec.names)))
    rows = DenseRows(values, observed, nothing, *[nothing.astype(bool)] * 3)
    expected = model.decision_scores(rows)
    return np.allclose(decision_scores(model, swift, rows), expected, 1e-9, 1e-8)


def decision_scores(model: Model, swift: Swift | None, rows: Rows) -> Floats:
    """`Model.decision_scores` of rows that overlap no others asked for.

    Parameters
    ----------
    model : Model
    swift : Swift, optional
        Its `plain_network`.
    rows : Rows
        Few enough for one batch.
    """
    if swift is None:
        return model.decision_scores(rows)
    span, seen = model.codec.span, _dense(rows)
    if span is None:
        return _settled(model, _scores(model, swift, seen, seen.observed), rows)
    counted = seen.observed if span.judged is None else seen.observed & span.judged
    if not seen.observed.all():
        if not all(part.likelihood in MEANS for part in model.codec.parts):
            return model.decision_scores(rows)
        seen = _filled(swift, seen)
    return _settled(model, _scores(model, swift, seen, counted), rows)


def _scores(model: Model, swift: Swift, seen: DenseRows, counted: Bools) -> Floats:
    """Scores of the parts that count, by what the encoder makes of those seen."""
    draws = Draws(swift.network, replace(seen, observed=counted))
    posterior = swift.network.encode(seen)
    draws.__dict__["posterior"] = posterior
    if model.codec.span is not None and model.score_function in PARTIAL:
        share = swift.observed_cells(counted).mean(axis=-1)
        draws.__dict__["kl"] = swift.network.prior.kl(posterior) * share
    with np.errstate(over="ignore"):
        found: Floats = SCORES[model.score_function](draws).mean(axis=0)
    return found


def _filled(swift: Swift, rows: DenseRows) -> DenseRows:
    """Rows whose cells without value hold what the rest lets expect; see `generation.fill_in`."""
    network = swift.network
    gone = ~swift.observed_cells(rows.observed)[:, swift.place]
    if not gone.any():
        return rows
    kept = ~gone[:, network.entry_part]
    filled = replace(rows, values=rows.values * kept)
    everything = rows.observed | gone
    for _ in range(FILL_ROUNDS):
        raw = network.decoder(network.encode(filled).loc)
        raw = np.where(network.tied, network.tied_params, raw)
        mean = np.concatenate(_means(network, raw), axis=-1).mean(axis=0)
        filled = replace(rows, values=np.where(kept, rows.values, mean), observed=everything)
    return filled


def _means(network: Network, raw: Floats) -> list[Floats]:
    """Expected entries of each block."""
    ends = np.cumsum([block.param_size for block in network.likelihood])[:-1]
    pieces = zip(network.likelihood, np.split(raw, ends, axis=-1), strict=True)
    return [MEANS[block.likelihood](block, piece) for block, piece in pieces]


def _loc(block: Block, raw: Floats) -> Floats:
    return raw[..., : block.event_size]


def _chance(block: Block, raw: Floats) -> Floats:
    found: Floats = expit(np.clip(raw, -LOGIT_BOUND, LOGIT_BOUND))
    return found


def _chances(block: Block, raw: Floats) -> Floats:
    found: Floats = softmax(block.fold(raw), axis=-1).reshape(raw.shape)
    return found


MEANS: dict[str, Callable[[Block, Floats], Floats]] = {
    "normal": _loc,
    "normal_per_column": _loc,
    "normal_fixed": _loc,
    "student_t": _loc,
    "bernoulli": _chance,
    "categorical": _chances,
}


def _settled(model: Model, scores: Floats, rows: Rows) -> Floats:
    absent = rows.absent
    if absent.any():
        scores = scores + absent @ model.typical
    return settled(np.round(scores, DECIMALS), model.held_out)


def _dense(rows: Rows) -> DenseRows:
    nothing = np.zeros((len(rows), 0), dtype=bool)
    return DenseRows(rows.values, rows.observed, rows.offsets, *[nothing] * 3)


def _perceptron(network: nn.Module) -> Perceptron:
    layers: Any = network.layers
    pairs = tuple((_plain(layer.weight), _plain(layer.bias)) for layer in layers)
    return Perceptron(pairs, _plain(network.linear))


def _plain_prior(prior: Prior) -> PlainPrior | None:
    if isinstance(prior, AggregatedPosterior):
        return Mixture(_plain(prior.loc), _plain(prior.scale))
    return StandardNormal() if isinstance(prior, TorchNormal) else None


def _plain(tensor: Any) -> Floats:
    array: Floats = torch.as_tensor(tensor).detach().cpu().double().contiguous().numpy()
    return array
