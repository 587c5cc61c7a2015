"""What every kind of data offers the model: a codec, and the items it reads.

A codec is the only place that knows what a row is made of. Beyond `transform`
and `inverse_transform` the model asks it how wide an encoded row is, which
parts it has, which networks suit it, and what to say about odd rows.
"""

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Bools, Floats, Part
from improbable.data.rows import Rows


@dataclass(frozen=True)
class Span:
    """The items that an encoded row spans, as a window does, the one it is about the last.

    Attributes
    ----------
    length : int
        Items; every column has a cell in each of them.
    part_cells : ndarray of int of shape (n_parts,)
        Cell that each part belongs to, those of a column side by side.
    judged : ndarray of bool of shape (n_parts,), optional
        Parts that scores count; all if None.
    """

    length: int
    part_cells: NDArray[np.int64]
    judged: Bools | None = None


class Source(Protocol):
    """Items as they were read, before they are encoded: a table's rows, a stack of images."""

    @property
    def n_rows(self) -> int:
        """Number of items."""
        ...

    @property
    def library(self) -> str:
        """What tables about these items come back as."""
        ...

    @property
    def row_labels(self) -> Any:
        """Index of the pandas data frame they came in, for tables about them; None elsewhere."""
        ...

    @property
    def groups(self) -> NDArray[np.intp] | None:
        """Items that must stay together when some are held out, -1 for those of no use.

        None if no item overlaps another.
        """
        ...

    def take(self, index: NDArray[np.intp]) -> Self:
        """The items at the given positions."""
        ...

    def to_native(self) -> Any:
        """The items as the user passed them."""
        ...


class Codec(Protocol):
    """From items to encoded rows and back.

    A new kind of data is a frozen dataclass with these members, a name in
    `improbable.persistence.CODECS`, and an entry in `improbable.results.explain_rows`.
    """

    @property
    def network(self) -> str:
        """Name in `improbable.architectures.NETWORKS` of the networks that suit the data.

        In `WINDOW_NETWORKS` if rows span more than one item.
        """
        ...

    @property
    def library(self) -> str:
        """What tables about the data come back as."""
        ...

    @property
    def parts(self) -> tuple[Part, ...]:
        """Parts in the order of an encoded row."""
        ...

    @property
    def part_columns(self) -> NDArray[np.int64]:
        """Column that each part belongs to, shape (n_parts,)."""
        ...

    @property
    def span(self) -> Span | None:
        """What a row spans, if it is more than one item; None otherwise."""
        ...

    def sizes(self, rows: Rows) -> NDArray[np.int64] | None:
        """Judged parts of each row, shape (n,), if that is up to the row; None otherwise.

        Decision scores are then made comparable between sizes.
        """
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that take part in the score."""
        ...

    @property
    def event_size(self) -> int:
        """Width of an encoded row."""
        ...

    @property
    def n_features(self) -> int:
        """Columns of the data as it came."""
        ...

    @property
    def feature_names(self) -> list[str] | None:
        """Their names, if they came with the data."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Layout of an encoded row: (event_size,), channels, height and width, or length first."""
        ...

    def open(self, data: Any) -> Source:
        """Items to fit on."""
        ...

    def fit(self, data: Any, trusted: NDArray[np.intp] | None = None) -> Self:
        """Codec that knows the items of `data`; those not `trusted` may be anomalies."""
        ...

    def read(self, data: Any) -> Source:
        """Items that match the fitted ones."""
        ...

    def transform(self, data: Any) -> Rows:
        """Encoded rows of items."""
        ...

    def inverse_transform(self, values: Floats, carried: Any = None) -> Source:
        """Items of encoded rows; `carried` are those they come from."""
        ...

    def fill(self, values: Floats, source: Any) -> Source:
        """`source` with what is missing taken from encoded `values`."""
        ...

    def partial(self, given: Any, n: int) -> Source:
        """`n` equal items of which only what is `given` is known."""
        ...

    def remarks(self, rows: Rows, source: Any) -> NDArray[np.object_]:
        """What is unusual about each row's cells, in words, shape (n,); empty if nothing."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Fitted codec as plain values."""
        ...
