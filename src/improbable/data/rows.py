"""Encoded rows: what every codec hands to the model."""

from dataclasses import dataclass, fields
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Bools, Floats


class Rows(Protocol):
    """Encoded rows with their masks, wherever they are kept.

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
    absent : ndarray of shape (n_samples, n_columns)
        Share of each column, from 0 to 1, that is missing.
    """

    @property
    def values(self) -> NDArray[Any]: ...

    @property
    def observed(self) -> Bools: ...

    @property
    def offsets(self) -> Floats: ...

    @property
    def missing(self) -> Bools: ...

    @property
    def unseen(self) -> Bools: ...

    @property
    def out_of_range(self) -> Bools: ...

    @property
    def absent(self) -> NDArray[Any]: ...

    def __len__(self) -> int: ...

    def take(self, index: NDArray[np.intp] | slice) -> "Rows":
        """Rows at the given positions."""
        ...

    def bridged(self) -> "Rows":
        """Rows to learn from, with short gaps closed if rows lie in time."""
        ...

    def widened(self) -> "Rows":
        """All rows whose values `pooled` asks for."""
        ...

    def surrounding(self) -> "Rows":
        """All rows that missing cells of these can be filled in from."""
        ...

    def of_many_sizes(self, n: int) -> "Rows":
        """At most `n` rows, or pieces of them, as different in size as rows are."""
        ...

    def pooled(self, values: Floats) -> Floats:
        """Values of these rows from those of the widened ones, rows along the first axis."""
        ...


@dataclass(frozen=True)
class DenseRows:
    """Encoded rows in one piece of memory each, none of which overlaps another."""

    values: NDArray[Any]
    observed: Bools
    offsets: Floats
    missing: Bools
    unseen: Bools
    out_of_range: Bools

    def __len__(self) -> int:
        return len(self.values)

    @property
    def absent(self) -> Bools:
        """A column is a cell: missing or not."""
        return self.missing

    def take(self, index: NDArray[np.intp] | slice) -> Self:
        """Rows at the given positions."""
        return type(self)(*(getattr(self, f.name)[index] for f in fields(self)))

    def bridged(self) -> Self:
        """The rows themselves: none follows another."""
        return self

    def widened(self) -> Self:
        """The rows themselves."""
        return self

    def surrounding(self) -> Self:
        """The rows themselves."""
        return self

    def of_many_sizes(self, n: int) -> Self:
        """The first `n` rows."""
        return self.take(slice(n))

    def pooled(self, values: Floats) -> Floats:
        """The values themselves."""
        return values


def dense(rows: Rows) -> DenseRows:
    """Rows put together once and for all, without what is said of their cells."""
    nothing = np.zeros((len(rows), 0), dtype=bool)
    return DenseRows(rows.values, rows.observed, rows.offsets, *[nothing] * 3)
