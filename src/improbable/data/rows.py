"""Encoded rows: what every codec hands to the model."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Bools, Floats


@dataclass(frozen=True)
class Rows:
    """Encoded rows with their masks.

    Attributes
    ----------
    values : ndarray of shape (n_samples, event_size), float64 or float32
        Encoded entries, zero where not observed.
    observed : ndarray of shape (n_samples, n_parts)
        True where the likelihood of a part has a value to judge.
    offsets : ndarray of shape (n_samples, n_columns)
        Log probabilities in nats that belong to a cell whatever z: values
        never seen, or rare ones within their bucket.
    missing, unseen, out_of_range : ndarray of shape (n_samples, n_columns)
        What is unusual about each cell.
    """

    values: NDArray[np.floating]
    observed: Bools
    offsets: Floats
    missing: Bools
    unseen: Bools
    out_of_range: Bools

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: NDArray[np.intp] | slice) -> Self:
        """Rows at the given positions."""
        return type(self)(*(getattr(self, f.name)[index] for f in fields(self)))
