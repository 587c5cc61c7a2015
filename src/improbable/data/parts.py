"""What a column turns into: the parts of an encoded row, and its cells."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from improbable.errors import DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
FILL_ROUNDS = 10  # of encoding and decoding a row with missing cells
ROUNDS_FROM_PLACES = 1  # the same from what rows at places of training rows hold
FAR = -3.0  # nats that draws count less for after rounds that know no groups of rows
LEAST_VARIANCE = 0.1  # of an entry at a place: no single one decides which place a row is like
MOST_PLACES, FEWEST_PLACES = 2_048, 64
PLACED_ENTRIES = 500_000


@dataclass(frozen=True)
class Part:
    """One slice of an encoded row that has a likelihood of its own.

    Attributes
    ----------
    likelihood : str
        Name in `improbable.likelihoods.LIKELIHOODS`.
    width : int
        Encoded entries it takes: 1 for a number, the number of categories for
        a one-hot block, 2 for an angle.
    floor : float
        Smallest standard deviation the decoder may claim, in encoded units.
    low, high : float
        Range of the training rows in encoded units. The encoder sees values
        clipped to it; the likelihood sees them as they are.
    link : tuple of float
        ``(loc, scale, unit)`` that undo the encoding, for likelihoods of counts.
    """

    likelihood: str
    width: int = 1
    floor: float = 0.0
    low: float = -np.inf
    high: float = np.inf
    link: tuple[float, float, float] = (0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Cells:
    """A transformed column.

    Attributes
    ----------
    values : ndarray of shape (n_samples, width)
        Encoded entries; zero where nothing was observed.
    observed : ndarray of shape (n_samples, n_parts)
        True where a part has a value that the likelihood can judge.
    offset : ndarray of shape (n_samples,)
        Log probability in nats to add to the column's share: that of a value
        never seen, or of a rare one within the bucket of rare ones.
    missing, unseen, out_of_range : ndarray of shape (n_samples,)
        What is unusual about the cell.
    """

    values: Floats
    observed: Bools
    offset: Floats
    missing: Bools
    unseen: Bools
    out_of_range: Bools


def judged_cells(
    values: Floats,
    missing: Bools,
    unseen: Bools,
    n_seen: int,
    out_of_range: Bools | None = None,
) -> Cells:
    """Cells of a column of one part, or none, that hides what is missing or was never seen."""
    known = ~(missing | unseen)
    n_parts = 1 if values.shape[1] else 0
    return Cells(
        values=values * known[:, None],
        observed=np.repeat(known[:, None], n_parts, axis=1),
        offset=np.where(unseen, -np.log(n_seen + 1.0), 0.0),
        missing=missing,
        unseen=unseen,
        out_of_range=np.zeros_like(missing) if out_of_range is None else out_of_range & known,
    )


def likeliest(
    parts: Sequence[Part], cells: Sequence[int], values: Floats, hidden: Bools
) -> tuple[Floats, Bools]:
    """Rows whose hidden parts, given as means, are as parts of rows come.

    One name of several, a truth value, and no size where the value is zero.

    Parameters
    ----------
    parts : sequence of Part
    cells : sequence of int
        Cell that each part belongs to.
    values : ndarray of shape (n, event_size)
    hidden : ndarray of bool of shape (n, n_parts)

    Returns
    -------
    values : ndarray of shape (n, event_size)
    held : ndarray of bool of shape (n, n_parts)
        False where a hidden part holds nothing.
    """
    values, held = values.copy(), np.ones_like(hidden)
    starts = np.cumsum([0, *(part.width for part in parts[:-1])])
    truths: dict[int, int] = {}
    for part, cell, start, gone in zip(parts, cells, starts, hidden.T, strict=True):
        if part.likelihood == "categorical":
            place = slice(start, start + part.width)
            values[gone, place] = np.eye(part.width)[values[gone, place].argmax(axis=1)]
        elif part.likelihood == "bernoulli":
            values[gone, start] = np.round(values[gone, start])
            truths[cell] = int(start)
    for i, (part, cell, start) in enumerate(zip(parts, cells, starts, strict=True)):
        if part.likelihood != "bernoulli" and cell in truths:
            gone = hidden[:, i]
            held[gone, i] = values[gone, truths[cell]] > 0.0
            values[gone, start] *= held[gone, i]
    return values, held


def n_places(event_size: int) -> int:
    """Places of training rows that missing cells are filled by, fewer of wide rows."""
    return min(MOST_PLACES, max(FEWEST_PLACES, PLACED_ENTRIES // max(event_size, 1)))


def known_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names a kind has learned; a DataError if it has learned none."""
    if not names:
        raise DataError("This column kind knows no value. Call `fit` with training values first.")
    return names


def counted(values: NDArray[Any]) -> Counter[str]:
    """How often each text comes, missing ones left out."""
    counts = Counter(values.tolist())
    counts.pop(None, None)
    return counts


def name_codes(
    values: NDArray[Any], names: Sequence[str]
) -> tuple[NDArray[np.int64], Bools, Bools]:
    """Position of each value among the names, and which values are missing and never seen."""
    index: dict[str | None, int] = {name: i for i, name in enumerate(names)} | {None: -2}
    code = np.fromiter(map(index.get, values.tolist(), repeat(-1)), np.int64, len(values))
    return code, code == -2, code == -1
