"""Tables to encoded rows and back: the codec of mixed-type columns."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from improbable.data.columns import Categorical, Identifier
from improbable.data.fitted_column import Column
from improbable.data.frames import Frame, read_frame
from improbable.data.given import given_columns
from improbable.data.kinds import kind_from_json, kind_to_json
from improbable.data.pairs import Pairs, codes_at_fit, lower, pair_remarks, pairs_of
from improbable.data.parts import Floats, Part
from improbable.data.raw import RawColumn, Values
from improbable.data.remarks import add_notes, cell_remarks, warn_of_new_names
from improbable.data.rows import DenseRows, Rows
from improbable.data.schema import as_kind as as_kind
from improbable.data.schema import (
    check_names,
    fit_column,
    known_kinds,
    named_likelihoods,
    schema_error,
    warn_of_zones,
)
from improbable.errors import DataError, DataWarning, SchemaError

FEWEST_ROWS = 2


@dataclass(frozen=True)
class TableCodec:
    """Codec of tables.

    Parameters
    ----------
    kinds : mapping of str to ColumnKind or str, optional
        Kinds that override inference, by column name ("x0", "x1", ... in arrays).
    likelihood : "auto", str or mapping of str to str
        Likelihood of numeric columns, for all or by name.

    Attributes
    ----------
    columns : tuple of Column
        All columns in table order, identifiers included.
    library : str
        Where the training table came from.
    n_rows : int
        Training rows.
    labels : dict of str to object
        As in `Frame`; text again in a codec that was read from a file.
    types : dict of str to str
        As in `Frame`.
    pairs : tuple of Pairs
        Values that never came together in training.
    """

    kinds: Any = None
    likelihood: Any = "auto"
    columns: tuple[Column, ...] = ()
    library: str = "numpy"
    n_rows: int = 0
    labels: dict[str, Any] = field(default_factory=dict, compare=False)
    types: dict[str, str] = field(default_factory=dict)
    pairs: tuple[Pairs, ...] = field(default=(), compare=False)

    def fit(self, data: Any, trusted: NDArray[np.intp] | None = None) -> Self:
        """Codec that knows the columns of `data`.

        Parameters
        ----------
        data : data frame, array, list, or Frame
        trusted : ndarray of int, optional
            Rows that alone set the scales of numbers. The others may be
            anomalies, so no log scale is inferred, which would hide them in a tail.

        Raises
        ------
        DataError
            If there is no row, no column, or a column cannot be what it is said to be.
        SchemaError
            If `kinds` or `likelihood` name a column that is not there.
        """
        frame = data if isinstance(data, Frame) else read_frame(data)
        if frame.n_rows < FEWEST_ROWS:
            raise DataError(
                f"Found array with {frame.n_rows} sample(s) (n_samples={frame.n_rows}) while a "
                f"minimum of {FEWEST_ROWS} is required. Pass more rows to fit."
            )
        kinds = known_kinds(self.kinds, frame)
        likelihoods = named_likelihoods(self.likelihood, frame)
        by_name = isinstance(self.likelihood, Mapping)
        columns = tuple(
            fit_column(
                name,
                raw,
                kinds.get(name),
                likelihoods.get(name),
                named=frame.named,
                by_name=by_name,
                trusted=trusted,
            )
            for name, raw in frame.columns.items()
        )
        fitted = replace(self, columns=columns, library=frame.library, n_rows=frame.n_rows)
        if not fitted.modeled:
            raise DataError(
                "Every column looks like an identifier, so nothing is left to model. "
                "Say what a column is, for instance columns={'name': 'categorical'}."
            )
        fitted = replace(fitted, labels=frame.labels, types=frame.types)
        return replace(fitted, pairs=pairs_of(codes_at_fit(fitted.modeled, frame, fitted.n_rows)))

    @cached_property
    def modeled(self) -> tuple[Column, ...]:
        """Columns that take part in the score: all but identifiers."""
        return tuple(c for c in self.columns if not isinstance(c.kind, Identifier))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the modeled columns."""
        return tuple(c.name for c in self.modeled)

    def sizes(self, rows: Rows) -> None:
        """All rows are of one size."""

    @property
    def span(self) -> None:
        """A row is judged by itself."""
        return None

    @property
    def network(self) -> str:
        """Perceptrons suit tables."""
        return "mlp"

    @property
    def n_features(self) -> int:
        """Columns of the table, identifiers included."""
        return len(self.columns)

    @property
    def feature_names(self) -> list[str] | None:
        """Names of the columns, if they came with the data."""
        return None if self.library == "numpy" else [c.name for c in self.columns]

    @property
    def shape(self) -> tuple[int, ...]:
        """Layout of an encoded row."""
        return (self.event_size,)

    def open(self, data: Any) -> Frame:
        """Plain columns of any table."""
        return read_frame(data)

    @cached_property
    def _places(self) -> list[tuple[int, int, Part]]:
        """(column, position in the column, part), equal likelihoods side by side."""
        placed = [
            (i, j, part)
            for i, column in enumerate(self.modeled)
            for j, part in enumerate(column.kind.parts())
        ]
        return sorted(placed, key=lambda place: (place[2].likelihood, place[2].width))

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Parts in the order of an encoded row."""
        return tuple(part for _, _, part in self._places)

    @cached_property
    def part_columns(self) -> NDArray[np.int64]:
        """Modeled column that each part belongs to, shape (n_parts,)."""
        return np.array([i for i, _, _ in self._places], dtype=np.int64)

    @cached_property
    def event_size(self) -> int:
        """Width of an encoded row."""
        return sum(part.width for part in self.parts)

    @cached_property
    def _slots(self) -> list[tuple[list[int], list[int]]]:
        """Encoded entries and parts of each modeled column, in the column's own order."""
        starts = np.cumsum([0, *(part.width for part in self.parts)])
        slots: list[list[tuple[int, int, int]]] = [[] for _ in self.modeled]
        for p, (i, j, _) in enumerate(self._places):
            slots[i].append((j, int(starts[p]), p))
        return [
            (
                [start + k for _, start, p in sorted(s) for k in range(self.parts[p].width)],
                [p for _, _, p in sorted(s)],
            )
            for s in slots
        ]

    def read(self, data: Any) -> Frame:
        """Plain columns of a table that matches the fitted ones, in fitted order.

        Raises
        ------
        SchemaError
            If columns are missing or of another type.
        """
        by_name = self.library != "numpy"
        return self.matched(read_frame(data, [c.name for c in self.columns] if by_name else None))

    def matched(self, frame: Frame) -> Frame:
        """A table that matches the fitted one, in fitted order; errors as in `read`."""
        if not (frame.named and self.library != "numpy"):
            frame = self._by_position(frame)
        check_names(self.columns, frame, self.n_rows)
        warn_of_zones(self.modeled, frame)
        return frame

    def transform(self, data: Any) -> DenseRows:
        """Encoded rows of a table.

        Parameters
        ----------
        data : data frame, array, list, or Frame
            With the columns seen at fit, in any order; further ones are not read.

        Returns
        -------
        DenseRows
        """
        frame = data if isinstance(data, Frame) else self.read(data)
        n, n_columns = frame.n_rows, len(self.modeled)
        values = np.zeros((self.event_size, n)).T  # columns, one after the other, in one piece
        observed = np.zeros((len(self.parts), n), dtype=bool).T
        offsets = np.zeros((n_columns, n)).T
        flags = np.zeros((3, n_columns, n), dtype=bool)
        retyped: list[str] = []
        for i, column in enumerate(self.modeled):
            raw = frame.columns[column.name]
            cells = column.cells(raw, self.n_rows)
            retyped += column.changed(raw, cells)
            entries, parts = self._slots[i]
            values[:, entries] = cells.values
            observed[:, parts] = cells.observed
            remarks = (cells.offset, cells.missing, cells.unseen, cells.out_of_range)
            for place, found in zip((offsets.T, *flags), remarks, strict=True):
                if found.any():  # memory that is only zero is never touched
                    place[i] = found
        if retyped:
            raise schema_error(retyped=retyped)
        rows = DenseRows(values, observed, offsets, *(flag.T for flag in flags))
        lower(offsets, self.pairs, self.modeled, self._slots, rows)
        warn_of_new_names(self.modeled, rows)
        return rows

    def inverse_transform(self, values: Floats, carried: Frame | None = None) -> Frame:
        """Table of encoded rows, in table order.

        Parameters
        ----------
        values : ndarray of shape (n_samples, event_size)
            Encoded rows.
        carried : Frame, optional
            Where identifiers come from, if it has them; without it they are missing.
        """
        decoded = {c.name: self.inverse_column(i, values) for i, c in enumerate(self.modeled)}
        out: dict[str, RawColumn] = {}
        for column in self.columns:
            if column.name in decoded:
                raw = decoded[column.name]
                out[column.name] = RawColumn(raw, column.kind.storage, column.dtype)
            elif carried is None:
                nothing = np.full(len(values), None, dtype=object)
                out[column.name] = RawColumn(nothing, "text", column.dtype)
            elif column.name in carried.columns:
                out[column.name] = carried.columns[column.name]
        if carried is None:
            return Frame(out, len(values), self.library, labels=self.labels, types=self.types)
        return replace(carried, columns=out, n_rows=len(values), types=self.types)

    def fill(self, values: Floats, source: Frame) -> Frame:
        """Table whose missing and unreadable cells are taken from encoded rows.

        Parameters
        ----------
        values : ndarray of shape (n_samples, event_size)
            Encoded rows.
        source : Frame
            Table with all other cells.
        """
        decoded = self.inverse_transform(values, source)
        columns = dict(decoded.columns)
        for column in self.modeled:
            cells = columns[column.name].values
            columns[column.name] = column.filled(source.columns[column.name], cells)
        return replace(decoded, columns=columns)

    def scattered(self, frame: Frame, rng: np.random.Generator, kept: Any = ()) -> Frame:
        """Table drawn from a model: rare names that share an entry told apart, but in `kept`."""
        columns = dict(frame.columns)
        for column in self.modeled:
            if isinstance(column.kind, Categorical) and column.name not in kept:
                raw = columns[column.name]
                columns[column.name] = replace(raw, values=column.kind.scattered(raw.values, rng))
        return replace(frame, columns=columns)

    def partial(self, given: Any, n: int) -> Frame:
        """Table of `n` equal rows of which only the `given` columns are known.

        Parameters
        ----------
        given : mapping of str to value
        n : int
            Rows.

        Raises
        ------
        SchemaError
            If there is no such column.
        DataError
            If a value cannot be read in its column.
        """
        columns = given_columns(given, self.columns, self.names, n)
        return Frame(columns, n, self.library, labels=self.labels, types=self.types)

    def remarks(self, rows: Rows, source: Frame) -> NDArray[np.object_]:
        """What is unusual about each row's cells, in words, shape (n,); empty if nothing."""
        out = cell_remarks(self.modeled, rows, source)
        add_notes(out, self.pair_remarks(rows))
        if self.is_reordered(source):
            order = "columns are in another order than in training"
            out[:] = [f"{order}; {note}" if note else order for note in out]
        return out

    def pair_remarks(self, rows: Rows) -> NDArray[np.object_]:
        """Remarks on values that never came together in training, shape (n,)."""
        return pair_remarks(self.pairs, self.modeled, self._slots, rows)

    def inverse_column(self, i: int, values: Floats) -> Values:
        """Values of modeled column `i`, in its own unit and storage."""
        entries, _ = self._slots[i]
        return self.modeled[i].kind.inverse_transform(values[:, entries])

    def column_entries(self, i: int) -> tuple[list[int], list[int]]:
        """Encoded entries and parts of modeled column `i`."""
        return self._slots[i]

    def is_reordered(self, frame: Frame) -> bool:
        """Whether a table holds the columns seen at fit in another order."""
        known = {column.name for column in self.columns}
        fitted = [column.name for column in self.columns if column.name in frame.columns]
        return [name for name in frame.columns if name in known] != fitted

    def to_json(self) -> dict[str, Any]:
        """Fitted codec as plain values."""
        return {
            "columns": [
                {"name": c.name, "dtype": c.dtype, "storage": c.storage, **kind_to_json(c.kind)}
                for c in self.columns
            ],
            "library": self.library,
            "n_rows": self.n_rows,
            "types": self.types,
            "pairs": [pairs.to_json() for pairs in self.pairs],
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Fitted codec from plain values."""
        columns = tuple(
            Column(str(c["name"]), kind_from_json(c), str(c["dtype"]), str(c["storage"]))
            for c in record["columns"]
        )
        library, types = str(record["library"]), record.get("types", {})
        pairs = tuple(Pairs.from_json(one) for one in record.get("pairs", ()))
        return cls(None, "auto", columns, library, int(record["n_rows"]), types=types, pairs=pairs)

    def _by_position(self, frame: Frame) -> Frame:
        if len(frame.columns) != len(self.columns):
            raise SchemaError(
                f"X has {len(frame.columns)} features, but VAEDetector is expecting "
                f"{len(self.columns)} features as input. Pass the columns seen at fit."
            )
        if self.library != "numpy":
            warnings.warn(
                "The detector was fitted on named columns and got an array: columns are taken "
                "by position. Pass a data frame to have them taken by name.",
                DataWarning,
                stacklevel=4,
            )
        renamed = zip(self.columns, frame.columns.values(), strict=True)
        return replace(frame, columns={c.name: raw for c, raw in renamed})
