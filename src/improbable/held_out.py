"""After training: the prior of the scores, and what is made of the rows kept out."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from improbable.cells import CellTest
from improbable.data.parts import Floats, n_places
from improbable.data.rows import DenseRows, Rows
from improbable.distributions import DiagonalNormal
from improbable.errors import CalibrationWarning
from improbable.explanations import Reference
from improbable.generation import completed
from improbable.lengths import Leveling
from improbable.model import Model, as_batch
from improbable.places import Places
from improbable.priors import Prior, aggregated_posterior, widened_posterior
from improbable.typical import typical_cells
from improbable.vae import VAE, Batch

REFERENCE_ROWS = 2_000
REFERENCE_ENTRIES = 2_000_000
PRIOR_ROWS, WIDTH_ROWS = 4_096, 512
LEVEL_ROWS = 1_000
TAIL_ROWS = 1_000
AT_ONCE = 1_024
PROBED_ROWS = 100
FEWEST_LENGTHS, ROWS_A_LENGTH = 25, 2
See = Callable[[VAE, Batch], tuple[Tensor, Tensor]]


def make_prior(
    name: str, vae: VAE, train: Rows, validation: Rows, *, overlap: bool = False
) -> Prior:
    """Prior of the scores: that of training, or "aggregated" over rows that training saw.

    Each member has at most 4,096 of them, other ones as far as there are enough,
    with missing cells as they are when rows are scored.
    Where rows overlap kernels are as wide as those held out ask for.
    """
    if name in ("normal", "mixture"):
        return vae.prior
    if overlap:
        held_out = _encoded(vae, validation.take(slice(WIDTH_ROWS)))
        return widened_posterior(_encoded(vae, train.take(slice(PRIOR_ROWS))), held_out)
    most = vae.n_members * PRIOR_ROWS
    parts = train.take(slice(most)), validation.take(slice(max(0, most - len(train))))
    holed = any((rows.missing | rows.unseen).any() for rows in parts)
    see = _completing(vae, train) if holed and not vae.looks_back else completed
    return aggregated_posterior(_shared_out(_encoded(vae, *parts, see=see)))


def _completing(vae: VAE, train: Rows) -> See:
    """`completed` by the places of some rows, which were completed without any."""
    some = _encoded(vae, train.take(slice(n_places(len(vae.low)))), see=completed)
    return partial(completed, places=Places.of(vae, some.mean))


def _shared_out(posterior: DiagonalNormal) -> DiagonalNormal:
    """At most `PRIOR_ROWS` rows to a member; together they take in as many as they can."""
    n_members, n_rows, _ = posterior.mean.shape
    size = min(n_rows, PRIOR_ROWS)
    first = torch.linspace(0, n_rows - size, n_members).long()
    rows = first.unsqueeze(1) + torch.arange(size)
    members = torch.arange(n_members).unsqueeze(1)
    return DiagonalNormal(posterior.mean[members, rows], posterior.log_scale[members, rows])


def _as_observed(vae: VAE, batch: Batch) -> tuple[Tensor, Tensor]:
    return batch.values, batch.observed


@torch.no_grad()
def _encoded(vae: VAE, *parts: Rows, see: See = _as_observed) -> DiagonalNormal:
    """q(z given x) of all rows, few at a time, each batch as `see` has it."""
    places = [(rows, i) for rows in parts for i in range(0, len(rows), AT_ONCE)]
    batches = [as_batch(rows.take(slice(i, i + AT_ONCE))) for rows, i in places]
    found = [vae.encode(*see(vae, batch)) for batch in batches]
    sides = ([one.mean for one in found], [one.log_scale for one in found])
    return DiagonalNormal(*(torch.cat(side, dim=1) for side in sides))


def calibrated(
    model: Model, learned: Sequence[Rows], held_out: Rows, cell_share: float = 0.0
) -> Model:
    """Model with the shares, the typical cells and the decision scores of its held-out rows.

    Where rows differ in size, rows that were learned from tell what that does to scores.
    Improbable cells are left a share of the false alarms, 0 for none.
    """
    n_reference = _most_told(model)
    reference, rest = (
        held_out.take(part) for part in (slice(n_reference), slice(n_reference, None))
    )
    score, shares = model.score_with_shares(reference)
    shares = np.where(reference.missing, np.nan, shares)
    model = replace(model, reference=Reference(shares))
    model = replace(model, typical=typical_cells(model, reference))
    model = replace(model, leveling=_leveling(model, learned), probe=_probe(held_out))
    if cell_share:
        known, score_as_a_whole = _shares(model, learned), model.comparable(score, reference)
        model = replace(model, cells=CellTest.fit(known, score_as_a_whole, shares, cell_share))
    found = [model.judged(score, shares, reference), model.decision_scores(rest)]
    return replace(model, held_out=np.sort(np.concatenate(found)))


def _most_told(model: Model) -> int:
    """Rows whose shares are kept."""
    return min(REFERENCE_ROWS, max(1, REFERENCE_ENTRIES // len(model.codec.names)))


def _shares(model: Model, learned: Sequence[Rows]) -> Floats:
    """Shares of some of the rows that were learned from, NaN where missing."""
    left, found = min(TAIL_ROWS, _most_told(model)), []
    for rows in learned:
        some = rows.take(slice(left))
        found.append(np.where(some.missing, np.nan, model.shares(some)))
        left -= len(some)
    return np.concatenate(found)


def _probe(held_out: Rows) -> Rows:
    """A few rows from all over those held out, apart from the others in memory."""
    some = np.linspace(0, len(held_out) - 1, min(PROBED_ROWS, len(held_out)))
    rows = held_out.take(some.astype(np.intp))
    return DenseRows(**{f.name: getattr(rows, f.name) for f in fields(DenseRows)})


def _leveling(model: Model, learned: Sequence[Rows]) -> Leveling | None:
    """What makes scores of rows of different sizes compare, by some rows it has learned from.

    None if rows are of one size, or none of them are there in many. Windows are
    typically full, and their scores stay as they are. Rows that fewer windows hold
    differ in how far their scores lie from the others', not in where.
    """
    if model.codec.sizes(learned[0]) is None:
        return None
    some = [rows.of_many_sizes(LEVEL_ROWS) for rows in learned]
    found = [model.surplus(model.score(rows, model.score_function), rows) for rows in some]
    scores, sizes = np.concatenate(found), np.concatenate([model.sizes(rows) for rows in some])
    span = model.codec.span
    if span is None:
        return Leveling.fit(scores, sizes)
    return Leveling.at(scores, sizes, moved=span.judged is not None) if len(sizes) else None


def warn_of_overlap(model: Model) -> None:
    """Warn if windows share so many of the held-out rows that small p-values are too small.

    Scores that are means over windows move with their neighbors: stretches of k
    window lengths do the work of about 2 k rows that do not. With fewer than 25
    p-values of .01 come three times as often as they say, or more.
    """
    span, n = model.codec.span, len(model.held_out)
    if span is None or span.judged is not None or not 0 < n < FEWEST_LENGTHS * span.length:
        return
    lengths = n / span.length
    least = 1.0 / (1.0 + ROWS_A_LENGTH * lengths)
    warnings.warn(
        f"{n:,} held-out rows are only {lengths:.2g} times as many as the {span.length} of a "
        "window, and rows so near to each other score alike, so p-values below "
        f"{least:.1g} come out too small. Fit on more rows, with a smaller length, or with "
        'WindowCodec(score_of="last").',
        CalibrationWarning,
        stacklevel=5,
    )
