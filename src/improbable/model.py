"""A fitted model: everything scoring needs, in one frozen record, and scoring in blocks."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from improbable import calibration, generation, scores
from improbable.cells import CellTest
from improbable.data.codec import Codec
from improbable.data.parts import Bools, Floats
from improbable.data.rows import Rows
from improbable.data.table import TableCodec
from improbable.data.windows import WindowCodec
from improbable.expectations import Conditional, stretches
from improbable.explanations import Reference
from improbable.generation import completed, filled_where_missing
from improbable.isolation import isolated
from improbable.latent.gaussians import Posterior
from improbable.lengths import Leveling
from improbable.places import Places, places_of
from improbable.priors import PartialPrior, Prior
from improbable.training import History
from improbable.vae import VAE, Batch

BLOCK_ENTRIES = 500_000
DECIMALS = 9
PIECE = 4_096


@dataclass(frozen=True)
class Model:
    """What `fit` learned.

    Attributes
    ----------
    codec : Codec
        Items to encoded rows and back.
    vae : VAE
        Trained ensemble, float64, on the CPU.
    prior : Prior
        p(z) of the scores.
    noise : Tensor of shape (n_draws, latent_dim)
        Shared by all rows and calls.
    score_function : str
        Name in `improbable.scores.SCORES` of the score that decides.
    reference : Reference
        Shares of (at most 2,000) held-out rows.
    typical : ndarray of shape (n_columns,)
        Nats that a missing cell stands for in the decision score.
    held_out : ndarray of shape (n,)
        Sorted decision scores of the held-out rows. Nats.
    held_out_apart : bool
        False when there were too few rows to keep any out of training.
    history : History
        How training went.
    settings : dict
        Network sizes: latent_dim, hidden, decoder_hidden, n_members.
    leveling : Leveling, optional
        What makes decision scores comparable, where rows differ in size.
    probe : Rows, optional
        A few held-out rows, what `stretch` is found by when it is first asked
        for. Never written to a file of ours; a pickle of a fitted detector holds
        them.
    known_stretch : ndarray of shape (n_columns,), optional
        `stretch` as a file holds it.
    completes : bool
        Whether the encoder sees expected cells in place of missing ones. False
        of models from before format 4, which go on as they were calibrated.
    has_places : bool
        Whether missing cells are filled from places of training rows. False of
        models from before format 6.
    cells : CellTest, optional
        What lowers the decision score of rows with an improbable cell.
    """

    codec: Codec
    vae: VAE
    prior: Prior
    noise: Tensor
    score_function: str
    reference: Reference
    typical: Floats
    held_out: Floats
    held_out_apart: bool
    history: History
    settings: dict[str, Any]
    leveling: Leveling | None = None
    probe: Rows | None = None
    known_stretch: Floats | None = None
    completes: bool = True
    has_places: bool = True
    cells: CellTest | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the decoded places, which are found anew faster than they are read."""
        return {name: value for name, value in self.__dict__.items() if name != "places"}

    @cached_property
    def places(self) -> Places | None:
        """What rows at places of training rows look like; None where the prior knows of none."""
        loc = places_of(self.vae, self.prior) if self.has_places else None
        return None if loc is None else Places.of(self.vae, loc)

    @cached_property
    def stretch(self) -> Floats:
        """Factors of the intervals, shape (n_columns,); see `expectations.stretches`."""
        if self.known_stretch is not None:
            return self.known_stretch
        codec = self.codec
        if self.probe is None or not isinstance(codec, TableCodec | WindowCodec):
            return np.ones(len(codec.names))
        return stretches(codec, self.probe, self.conditional(self.probe))

    def conditional(self, rows: Rows) -> Conditional:
        """Mixtures of cells of some rows, given what of each is visible."""

        @isolated()
        def given(index: NDArray[np.intp], visible: Bools) -> generation.Mixture:
            batch = as_batch(rows.take(index))
            seen = torch.from_numpy(visible).to(batch.values.dtype)
            return generation.conditional(self.vae, batch, seen, self.noise, self.places)

        return given

    @property
    def kept_out(self) -> Floats:
        """Held-out scores of rows that took no part in training; none if there were too few."""
        return self.held_out if self.held_out_apart else self.held_out[:0]

    @property
    def independent(self) -> float:
        """Rows worth one on their own, a row: one a window where all that hold a row judge it."""
        span = self.codec.span
        return 1.0 if span is None or span.judged is not None else 1.0 / span.length

    @property
    def lead(self) -> int:
        """The member with the best held-out ELBO."""
        return int(np.argmax(self.history.best_elbo))

    @cached_property
    def space(self) -> str:
        """Name of the latent space of the lead member: that of its encoder's weights."""
        found = hashlib.sha256(str(self.lead).encode())
        for weights in self.vae.encoder.state_dict().values():
            found.update(weights.cpu().float().contiguous().numpy().tobytes())
        return found.hexdigest()[:16]

    def blocks(self, rows: Rows, factor: int = 1) -> Iterator[tuple[slice, Batch]]:
        """Batches small enough for the processor's cache, with their place among the rows."""
        size = self.vae.likelihood.param_size if self.vae.looks_back else self.codec.event_size
        per_row = self.vae.n_members * len(self.noise) * max(size, 128)
        size = int(np.clip(BLOCK_ENTRIES // (per_row * factor), 16, 1024))
        for start in range(0, len(rows), size):
            place = slice(start, min(start + size, len(rows)))
            yield place, as_batch(rows.take(place))

    @isolated()
    def evaluate(
        self, rows: Rows, statistic: Callable[[scores.Draws], Tensor], *, pooled: bool = True
    ) -> Floats:
        """A statistic of the draws of each row, rows along the first axis.

        Of rows that overlap it is the mean over all those that hold the item,
        unless `pooled` is False.
        """
        wide = rows.widened() if pooled else rows
        values = np.empty(0)
        for place, batch in self.blocks(wide):
            found = statistic(self.draws(batch)).cpu().numpy()
            if place.start == 0:  # one array for all: small ones would pin freed memory
                values = np.empty((len(wide), *found.shape[1:]), dtype=found.dtype)
            values[place] = found
        if not len(wide):
            return values
        return rows.pooled(values) if pooled else values

    def draws(self, batch: Batch) -> scores.Draws:
        """Draws of z for each row of a batch.

        The encoder sees what the model expects of missing cells (Xu et al.,
        "Donut", 2018, section 3.3). Where rows span many items the prior counts
        as far as cells are judged.
        """
        span = self.codec.span
        if span is None:
            visible = batch.observed
            if self.completes:
                values, visible = completed(self.vae, batch, self.places)
                batch = replace(batch, values=values)
            return scores.draw(self.vae, batch, self.noise, visible, self.prior)
        values, visible = filled_where_missing(self.vae, batch, self.places)
        judged = 1.0 if span.judged is None else torch.from_numpy(span.judged)
        batch = replace(batch, values=values, observed=batch.observed * judged)
        prior = PartialPrior(self.prior, self.vae.observed_cells(batch.observed).mean(dim=-1))
        return scores.draw(self.vae, batch, self.noise, visible, prior)

    def score(self, rows: Rows, name: str) -> Floats:
        """A score by name, mean over members, shape (n,); missing cells add nothing."""
        function = scores.score_named(name)
        return self.evaluate(rows, lambda draws: function(draws).mean(dim=0))

    def score_with_error(self, rows: Rows, name: str) -> tuple[Floats, Floats]:
        """A score and its Monte-Carlo standard error, to the ninth decimal, shapes (n,)."""
        function = scores.score_named(name)
        both = self.evaluate(
            rows,
            lambda draws: torch.stack(
                [function(draws).mean(dim=0), scores.standard_error(function, draws)], dim=1
            ),
        ).reshape(-1, 2)
        return both[:, 0], np.round(both[:, 1], DECIMALS)

    def score_with_shares(self, rows: Rows) -> tuple[Floats, Floats]:
        """The score that decides, before rows are made comparable, and `shares`."""
        function = scores.score_named(self.score_function)

        def both(draws: scores.Draws) -> Tensor:
            shares = scores.shares(draws)  # first, as the score adds up their parts
            return torch.cat([function(draws).mean(dim=0).unsqueeze(1), shares], dim=1)

        found = self.evaluate(rows, both).reshape(len(rows), 1 + len(self.codec.names))
        return found[:, 0], found[:, 1:]

    def allowance(self, rows: Rows) -> Floats:
        """Nats that make rows with missing cells comparable with complete ones, shape (n,)."""
        wide = rows.widened()
        absent = wide.absent
        return rows.pooled(absent @ self.typical) if absent.any() else np.zeros(len(rows))

    def decision_scores(self, rows: Rows) -> Floats:
        """Score that decides, shape (n,); a missing cell counts as a typical one of its column."""
        if self.cells is None:
            return self.comparable(self.score(rows, self.score_function), rows)
        found = [self.judged(*self.score_with_shares(some), some) for some in _pieces(rows)]
        return np.concatenate(found)

    def decision_with_error(self, rows: Rows) -> tuple[Floats, Floats]:
        """Scores that decide, and the Monte-Carlo standard error of rows as a whole."""
        if self.cells is None:
            score, error = self.score_with_error(rows, self.score_function)
            return self.comparable(score, rows), error
        found = [self._judged_with_error(some) for some in _pieces(rows)]
        score, error = np.concatenate(found, axis=1)
        return score, error

    def _judged_with_error(self, rows: Rows) -> Floats:
        function = scores.score_named(self.score_function)

        def statistics(draws: scores.Draws) -> Tensor:
            shares = scores.shares(draws)
            both = function(draws).mean(dim=0), scores.standard_error(function, draws)
            return torch.cat([torch.stack(both, dim=1), shares], dim=1)

        found = self.evaluate(rows, statistics).reshape(-1, 2 + len(self.codec.names))
        score = self.judged(found[:, 0], found[:, 2:], rows)
        return np.stack([score, np.round(found[:, 1], DECIMALS)])

    def judged(self, score: Floats, shares: Floats, rows: Rows) -> Floats:
        """`comparable` scores, those of rows with an improbable cell lowered."""
        found = self.comparable(score, rows)
        if self.cells is None:
            return found
        return np.round(self.cells(found, np.where(rows.missing, np.nan, shares)), DECIMALS)

    def comparable(self, score: Floats, rows: Rows) -> Floats:
        """Scores with the allowance of their missing cells, to the ninth decimal.

        Rounding makes a row tie with itself whatever batch it comes in, which
        the counting in p-values rests on.
        """
        if self.leveling is None:
            return np.round(score + self.allowance(rows), DECIMALS)
        return np.round(self.leveling(self.surplus(score, rows), self.sizes(rows)), DECIMALS)

    def surplus(self, score: Floats, rows: Rows) -> Floats:
        """Scores with the allowance of missing cells: nats, shape (n,).

        Where cells are judged given those before them, less what the model
        expects of rows like these.
        """
        if self.vae.looks_back:
            return score - self.evaluate(rows, scores.foreseen)
        return score + self.allowance(rows)

    def sizes(self, rows: Rows) -> NDArray[np.int64]:
        """Judged parts of each row."""
        found = self.codec.sizes(rows)
        return np.ones(len(rows), dtype=np.int64) if found is None else found

    def shares(self, rows: Rows) -> Floats:
        """Each column's part of `expected_log_prob`, nats, shape (n, n_columns)."""
        return self.evaluate(rows, scores.shares).reshape(len(rows), len(self.codec.names))

    def p_values(self, decision: Floats, *, tail: bool = False) -> Floats:
        """Calibrated p-values of decision scores."""
        if tail:
            fitted = calibration.fit_tail(self.held_out)
            return calibration.tail_p_values(decision, self.held_out, fitted)
        return calibration.p_values(decision, self.held_out)

    @isolated()
    def decoded(self, rows: Rows) -> Floats:
        """Entries as the model decodes them, mean over members and draws, as wide as the rows."""
        out = np.zeros(rows.values.shape)
        for place, batch in self.blocks(rows):
            out[place] = generation.reconstruction(self.draws(batch))
        return out

    def posterior(self, rows: Rows, library: str = "pyarrow", row_labels: Any = None) -> Posterior:
        """q(z given x) of the lead member.

        Of rows with missing cells the mean is that of the completed row, and the
        scale that of the encoder by the cells there are, which is too small rather
        than too large where many are missing.
        """
        found = self.evaluate(rows, self._leading, pooled=False)
        loc, scale = np.hsplit(found.reshape(len(rows), 2 * self.vae.latent_dim), 2)
        return Posterior(loc, scale, library, row_labels, self.space)

    def _leading(self, draws: scores.Draws) -> Tensor:
        seen, batch = draws.posterior, draws.batch
        if self.codec.span is None and draws.visible is not batch.observed:
            seen = replace(seen, log_scale=self.vae.encode(batch.values, batch.observed).log_scale)
        return torch.cat([seen.mean[self.lead], seen.stddev[self.lead]], dim=-1)


def as_batch(rows: Rows, dtype: torch.dtype = torch.float64) -> Batch:
    """Encoded rows as tensors, rows running fastest in memory as in the networks."""
    arrays = (rows.values, rows.observed, rows.offsets)
    found = (torch.tensor(array.T, dtype=dtype, device="cpu") for array in arrays)
    return Batch(*(tensor.contiguous().T for tensor in found))


def _pieces(rows: Rows) -> Iterator[Rows]:
    """A few rows at a time, so that what is told of every cell is never held of all rows."""
    for start in range(0, max(len(rows), 1), PIECE):
        yield rows.take(slice(start, start + PIECE))
