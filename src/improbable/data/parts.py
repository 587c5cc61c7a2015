"""What a column turns into: the parts of an encoded row, and its cells."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


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
