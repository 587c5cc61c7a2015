"""A trained ensemble in NumPy: networks, p(z), and the scores of their draws.

What `improbable.vae`, `improbable.priors` and `improbable.scores` do with
torch, as far as scoring by likelihoods needs it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from improbable.data.parts import FILL_ROUNDS, ROUNDS_FROM_PLACES, Bools, Floats, Part, likeliest
from improbable.data.rows import DenseRows, Rows, dense
from improbable.portable.densities import LOG_2PI, Block, blocks_of
from improbable.portable.places import Places

LOG_SCALE_BOUND = 7.0
BLOCK_ENTRIES = 2_000_000


@dataclass(frozen=True)
class Gaussian:
    """q(z given x), independent dimensions; `loc` and `scale` (n_members, n, latent_dim)."""

    loc: Floats
    scale: Floats


class Prior(Protocol):
    """p(z), as `improbable.priors` has it."""

    @property
    def size(self) -> int:
        """Kernels of each member."""
        ...

    def kl(self, posterior: Gaussian) -> Floats:
        """KL(q to p) or its bound, nats, shape (n_members, n)."""
        ...

    def log_prob(self, z: Floats) -> Floats:
        """Log p(z), nats, shape (n_members, n), for z of shape (n_members, n, latent_dim)."""
        ...


@dataclass(frozen=True)
class StandardNormal:
    """Independent standard Normal dimensions."""

    @property
    def size(self) -> int:
        """One kernel."""
        return 1

    def kl(self, posterior: Gaussian) -> Floats:
        """Closed form: half the sum of loc^2 + scale^2 - 1 - 2 log scale."""
        loc, scale = posterior.loc, posterior.scale
        total: Floats = (loc**2 + scale**2 - 1.0 - 2.0 * np.log(scale)).sum(-1)
        return 0.5 * total

    def log_prob(self, z: Floats) -> Floats:
        """Log density, nats."""
        total: Floats = (z**2 + LOG_2PI).sum(-1)
        return -0.5 * total


@dataclass(frozen=True)
class Mixture:
    """Equally weighted Gaussian kernels; `loc` and `scale` (n_members, size, latent_dim)."""

    loc: Floats
    scale: Floats

    @property
    def size(self) -> int:
        """Kernels of each member."""
        return int(self.loc.shape[1])

    @cached_property
    def _linear(self) -> tuple[Floats, Floats]:
        """Weights and constants that make log N(z; loc, scale) linear in (z, z^2)."""
        precision = self.scale**-2
        weights = np.concatenate([self.loc * precision, -0.5 * precision], axis=-1)
        constant = -0.5 * (self.loc**2 * precision).sum(-1) - np.log(self.scale).sum(-1)
        return np.swapaxes(weights, 1, 2), constant[:, None] - np.log(self.size)

    def kl(self, posterior: Gaussian) -> Floats:
        r"""Upper bound by the nearest kernel: log M + min_i KL(q to kernel i)."""
        loc, scale = posterior.loc, posterior.scale
        weights, constant = self._linear
        crossed = np.concatenate([loc, loc**2 + scale**2], axis=-1) @ weights + constant
        entropy = 0.5 * loc.shape[-1] + np.log(scale).sum(-1)
        bound: Floats = -crossed.max(axis=-1) - entropy
        return bound

    def log_prob(self, z: Floats) -> Floats:
        """Log density of the mixture, nats."""
        weights, constant = self._linear
        density = np.concatenate([z, z**2], axis=-1) @ weights + constant
        found: Floats = logsumexp(density, axis=-1) - 0.5 * z.shape[-1] * LOG_2PI
        return found


@dataclass(frozen=True)
class Perceptron:
    """Multilayer perceptron of each member, with a linear path around it.

    Attributes
    ----------
    layers : tuple of (weight, bias)
        Shapes (n_members, in, out) and (n_members, 1, out).
    linear : ndarray of shape (n_members, first in, last out)
    """

    layers: tuple[tuple[Floats, Floats], ...]
    linear: Floats

    def __call__(self, x: Floats) -> Floats:
        """Outputs of shape (n_members, n, out), for x of shape (..., n, in)."""
        hidden = x
        for weight, bias in self.layers[:-1]:
            hidden = np.maximum(hidden @ weight + bias, 0.0)
        weight, bias = self.layers[-1]
        return hidden @ weight + bias + x @ self.linear

    @property
    def widest(self) -> int:
        """Units of its largest layer."""
        return max(int(weight.shape[-1]) for weight, _ in self.layers)


@dataclass(frozen=True)
class Network:
    """What a model file holds of a VAE: an ensemble, its prior, and the shared noise.

    Attributes
    ----------
    encoder, decoder : Perceptron
    parts : tuple of Part
        Of an encoded row.
    cells : ndarray of int of shape (n_parts,)
        Cell that each part belongs to.
    tied_params : ndarray of shape (n_members, 1, param_size)
        Raw outputs that belong to a column whatever z is.
    prior : Prior
    noise : ndarray of shape (n_draws, latent_dim)
    completes : bool
        Whether the encoder sees expected cells in place of missing ones.
    known : ndarray of shape (n_members, n_places, latent_dim), optional
        Places of training rows, from which missing cells are filled.
    """

    encoder: Perceptron
    decoder: Perceptron
    parts: tuple[Part, ...]
    cells: NDArray[np.int64]
    tied_params: Floats
    prior: Prior
    noise: Floats
    completes: bool = True
    known: Floats | None = None

    @cached_property
    def likelihood(self) -> tuple[Block, ...]:
        """Blocks of an encoded row."""
        return blocks_of(self.parts)

    @cached_property
    def tied(self) -> Bools:
        """Raw outputs that `tied_params` stand for, shape (param_size,)."""
        return np.array([tied for block in self.likelihood for tied in block.tied])

    @cached_property
    def entry_part(self) -> NDArray[np.int64]:
        """Part that each encoded entry belongs to, shape (event_size,)."""
        widths = [part.width for part in self.parts]
        return np.repeat(np.arange(len(widths)), widths)

    @cached_property
    def bounds(self) -> tuple[Floats, Floats]:
        """Range of each encoded entry in training rows, in single precision as torch keeps it."""
        sides = [[part.low for part in self.parts], [part.high for part in self.parts]]
        low, high = np.array(sides, dtype=np.float32).astype(np.float64)[:, self.entry_part]
        return low, high

    @cached_property
    def place(self) -> NDArray[np.intp]:
        """Cell of each part, among those that have parts, shape (n_parts,)."""
        place = np.unique(self.cells, return_inverse=True)[1].astype(np.intp)
        one_each = place.max() + 1 == len(place)  # the order of cells is that of parts then
        return np.arange(len(place)) if one_each else place

    @cached_property
    def _by_cell(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Parts in order of their cells, and where each cell begins among them."""
        order = np.argsort(self.place, kind="stable")
        return order, np.searchsorted(self.place[order], np.arange(self.place.max() + 1))

    def observed_cells(self, observed: Bools) -> Bools:
        """Cells with an observed part, shape (n, n_cells)."""
        order, starts = self._by_cell
        if len(starts) == len(order):
            return observed
        return np.logical_or.reduceat(observed[:, order], starts, axis=1)

    def completed(self, rows: Rows) -> Rows:
        """Rows with missing cells as the encoder sees them; see `generation.completed`."""
        if not self.completes or rows.observed.all():
            return rows
        holed = ~self.observed_cells(rows.observed)[:, self.place]
        some = np.flatnonzero(holed.any(axis=1))
        if not len(some):
            return rows
        hidden = holed[some]
        filled = self.filled_likeliest(dense(rows.take(some)), hidden)
        likely, held = likeliest(self.parts, self.cells.tolist(), filled.values, hidden)
        values, observed = rows.values.copy(), rows.observed.copy()
        values[some], observed[some] = likely, filled.observed & held
        return replace(dense(rows), values=values, observed=observed)

    def filled(
        self,
        rows: DenseRows,
        hidden: Bools,
        start: Floats | None = None,
        rounds: int = ROUNDS_FROM_PLACES,
    ) -> DenseRows:
        """Rows whose hidden parts hold what the others let expect; see `generation.fill_in`."""
        gone, everything = hidden[:, self.entry_part], rows.observed | hidden
        values = np.where(gone, 0.0 if start is None else start, rows.values)
        rounds, seen = (FILL_ROUNDS, rows.observed) if start is None else (rounds, everything)
        size = values.shape[1]
        clipped = np.clip(values, *self.bounds) * seen[:, self.entry_part]
        inputs = np.concatenate([clipped, seen], axis=-1)
        for _ in range(rounds):
            loc = self.encoder(inputs)[..., : self.noise.shape[-1]]
            mean = self.mean(self.decode(loc)).mean(axis=0)
            np.copyto(values, mean, where=gone)
            np.clip(mean, *self.bounds, out=mean)
            np.copyto(inputs[:, :size], mean, where=gone)
            inputs[:, size:] = everything
        return replace(rows, values=values, observed=everything)

    def filled_likeliest(self, rows: DenseRows, hidden: Bools) -> DenseRows:
        """`filled` from the likeliest place, as rows are when they are scored."""
        start = None if self.places is None else self.places.likeliest(*self._seen(rows))
        return self.filled(rows, hidden, start)

    def filled_twice(self, rows: DenseRows, hidden: Bools) -> list[DenseRows]:
        """Rows that draws are proposed from; see `generation.conditional`."""
        if self.places is None:
            return [self.filled(rows, hidden)]
        near = self.filled(rows, hidden, self.places.expected(*self._seen(rows)))
        rounds = FILL_ROUNDS - ROUNDS_FROM_PLACES
        return [near, self.filled(rows, hidden, near.values, rounds)]

    def _seen(self, rows: DenseRows) -> tuple[Floats, Bools]:
        return np.clip(rows.values, *self.bounds), rows.observed[:, self.entry_part]

    @cached_property
    def places(self) -> Places | None:
        """Rows at the known places, decoded."""
        if self.known is None:
            return None
        raw = self.decode(self.known)
        return Places.of(self.mean(raw), self.variance(raw))

    def encode(self, rows: Rows) -> Gaussian:
        """q(z given x); the encoder sees values clipped to the range of the training rows."""
        seen = np.clip(rows.values, *self.bounds) * rows.observed[:, self.entry_part]
        outputs = self.encoder(np.concatenate([seen, rows.observed], axis=-1))
        loc, log_scale = np.split(outputs, 2, axis=-1)
        return Gaussian(loc, np.exp(np.clip(log_scale, -LOG_SCALE_BOUND, LOG_SCALE_BOUND)))

    def log_prob(self, z: Floats, rows: Rows) -> Floats:
        """Log p(x given z) of the observed parts, (n_members, n_draws, n) as `z`."""
        n_members, _, _, latent_dim = z.shape
        raw = self.decoder(z.reshape(n_members, -1, latent_dim))
        raw = np.where(self.tied, self.tied_params, raw).reshape(*z.shape[:-1], -1)
        blocks = self.likelihood
        pieces = zip(
            blocks,
            _split(raw, [block.param_size for block in blocks]),
            _split(rows.values, [block.event_size for block in blocks]),
            _split(rows.observed, [len(block.floors) for block in blocks]),
            strict=True,
        )
        terms = [(block.log_prob(r, x) * seen).sum(-1) for block, r, x, seen in pieces]
        total: Floats = np.sum(terms, axis=0)
        return total

    def decode(self, z: Floats) -> Floats:
        """Raw outputs of the decoder, (..., param_size) for z of shape (..., latent_dim)."""
        raw = self.decoder(z.reshape(len(z), -1, z.shape[-1]))
        found: Floats = np.where(self.tied, self.tied_params, raw)
        return found.reshape(*z.shape[:-1], -1)

    def log_prob_parts(self, raw: Floats, values: Floats) -> Floats:
        """Log prob of each part, nats, (..., n_parts) for raw outputs (..., param_size)."""
        pieces = _split(values, [block.event_size for block in self.likelihood])
        trios = zip(self.likelihood, self._raw_blocks(raw), pieces, strict=True)
        return np.concatenate([block.log_prob(r, x) for block, r, x in trios], axis=-1)

    def mean(self, raw: Floats) -> Floats:
        """Mean of each encoded entry, (..., event_size) for raw outputs (..., param_size)."""
        pairs = zip(self.likelihood, self._raw_blocks(raw), strict=True)
        return np.concatenate([block.mean(piece) for block, piece in pairs], axis=-1)

    def variance(self, raw: Floats) -> Floats:
        """Variance of each encoded entry, (..., event_size) for raw outputs (..., param_size)."""
        pairs = zip(self.likelihood, self._raw_blocks(raw), strict=True)
        return np.concatenate([block.variance(piece) for block, piece in pairs], axis=-1)

    def _raw_blocks(self, raw: Floats) -> list[Floats]:
        return _split(raw, [block.param_size for block in self.likelihood])

    def batches(self, rows: Rows) -> Iterator[Rows]:
        """Rows in batches whose largest array has about `BLOCK_ENTRIES` entries."""
        widest = max(self.encoder.widest, self.decoder.widest, self.prior.size)
        per_row = len(self.tied_params) * len(self.noise) * widest
        size = max(1, BLOCK_ENTRIES // per_row)
        for start in range(0, len(rows), size):
            yield rows.take(slice(start, start + size))

    def score(self, rows: Rows, name: str) -> Floats:
        """A score by name, mean over members, nats, shape (n,)."""
        function = SCORES[name]
        with np.errstate(over="ignore"):
            found = [function(Draws(self, batch)).mean(axis=0) for batch in self.batches(rows)]
        return np.concatenate(found) if found else np.empty(0)


@dataclass(frozen=True)
class Draws:
    """Everything the scores of a batch are made of; see `improbable.scores.Draws`."""

    network: Network
    rows: Rows

    @cached_property
    def posterior(self) -> Gaussian:
        """q(z given x)."""
        return self.network.encode(self.network.completed(self.rows))

    @cached_property
    def z(self) -> Floats:
        """Draws of shape (n_members, n_draws, n, latent_dim)."""
        loc, scale = self.posterior.loc[:, None], self.posterior.scale[:, None]
        return loc + scale * self.network.noise[:, None, :]

    @cached_property
    def log_prob(self) -> Floats:
        """Log p(x given z_l), shape (n_members, n_draws, n)."""
        offset: Floats = self.rows.offsets.sum(-1)
        return self.network.log_prob(self.z, self.rows) + offset

    @cached_property
    def log_ratio(self) -> Floats:
        """Log p(z_l) - log q(z_l given x), shape (n_members, n_draws, n)."""
        log_q = -0.5 * (self.network.noise**2 + LOG_2PI).sum(-1)[:, None]
        log_q = log_q - np.log(self.posterior.scale).sum(-1)[:, None]
        flat = self.z.reshape(len(self.z), -1, self.z.shape[-1])
        ratio: Floats = self.network.prior.log_prob(flat).reshape(self.z.shape[:-1]) - log_q
        return ratio

    @cached_property
    def kl(self) -> Floats:
        """KL(q(z given x) to p(z)) or its bound, shape (n_members, n)."""
        return self.network.prior.kl(self.posterior)


def log_mean_exp(values: Floats) -> Floats:
    """Log of the mean of exp over axis 1, never underflowing."""
    found: Floats = logsumexp(values, axis=1) - np.log(values.shape[1])
    return found


SCORES: dict[str, Callable[[Draws], Floats]] = {
    "expected_log_prob": lambda draws: draws.log_prob.mean(axis=1),
    "log_expected_prob": lambda draws: log_mean_exp(draws.log_prob),
    "log_marginal": lambda draws: log_mean_exp(draws.log_prob + draws.log_ratio),
    "elbo": lambda draws: draws.log_prob.mean(axis=1) - draws.kl,
    "kl": lambda draws: -draws.kl,
}


def _split(flat: NDArray[Any], sizes: Sequence[int]) -> list[NDArray[Any]]:
    ends = list(accumulate(sizes))
    return [flat[..., end - size : end] for end, size in zip(ends, sizes, strict=True)]
