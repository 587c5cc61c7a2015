"""Record batches of a table, each beside the frame that a model reads in it.

Each frame ends in one row more, decoded from the model itself: see `improbable.judging`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from improbable.cli.labels import check_column
from improbable.data.columns import Identifier
from improbable.data.files import Reader, format_of, read_batches
from improbable.data.fitted_column import Column
from improbable.data.frames import Frame
from improbable.data.table import TableCodec
from improbable.data.texts import NULL_WORDS, TOO_FINE
from improbable.judging import decoded_row, extended, observable, unobserved

TEXT_FORMATS = ("csv", "tsv")
_TIMES = (pa.timestamp("us"), pa.timestamp("us", "UTC"))


class TableFeed:
    """Batches of a table as they are, and as frames of a model's columns.

    Attributes
    ----------
    schema : pyarrow.Schema
        Of the batches.
    text : bool
        Whether all cells are text, as in CSV.
    blank : Frame
        The frame of a batch without rows.
    n_rows : int
        Rows so far.
    """

    key = total = None
    names: list[str] = []

    def __init__(
        self, reader: Reader, codec: TableCodec, *, text: bool, without: str | None = None
    ) -> None:
        self.schema, self.text, self.n_rows = reader.schema, text, 0
        self._reader, self._codec = reader, codec
        self._without = (
            [] if without is None else [check_column(without, self.schema.names, "--label")]
        )
        self._known = decoded_row(codec)
        self._unobserved = observable(codec)
        self.blank = self.frame(pa.RecordBatch.from_pylist([], schema=reader.schema))

    def __iter__(self) -> Iterator[tuple[pa.RecordBatch, Frame]]:
        for batch in self._reader.batches():
            frame = self._read(batch)
            if self.n_rows == 0:
                self._codec.transform(frame)  # refuses re-typed columns
            self.n_rows += batch.num_rows
            self._unobserved = unobserved(frame, self._unobserved)
            yield batch, extended(frame, self._known)

    def frame(self, batch: pa.RecordBatch, places: Sequence[int] = ()) -> Frame:
        """Frame of a batch, and one row more."""
        return extended(self._read(batch), self._known)

    @property
    def never_observed(self) -> list[str]:
        """Modeled columns without a value so far."""
        return self._unobserved if self.n_rows else []

    def _read(self, batch: pa.RecordBatch) -> Frame:
        table = pa.Table.from_batches([batch]).drop_columns(self._without)
        if self.text:
            for name, column in columns_of(table.column_names, self._codec).items():
                place = table.column_names.index(name)
                table = table.set_column(place, name, as_read_at_fit(table[name], column))
        return self._codec.read(table)


def open_table(
    path: str, codec: TableCodec, *, format: str | None, batch_rows: int, without: str | None
) -> TableFeed:
    """Open a file for a model of tables.

    Raises
    ------
    DataError, SchemaError
        If it cannot be read, or lacks columns of the model.
    """
    text = format_of(path, format) in TEXT_FORMATS
    reader = read_batches(path, format=format, batch_rows=batch_rows, text=text)
    return TableFeed(reader, codec, text=text, without=without)


def columns_of(names: Sequence[str], codec: TableCodec) -> dict[str, Column]:
    """Fitted column of each name; by position if the model was fitted on an array."""
    if codec.library == "numpy":
        return dict(zip(names, codec.columns, strict=False))
    return {column.name: column for column in codec.columns if column.name in names}


def as_read_at_fit(text: Any, column: Column) -> Any:
    """Cells of CSV as they would be read if types were inferred, cell by cell."""
    if isinstance(column.kind, Identifier):
        return text
    if column.storage != "text":
        return cast_first(text, types_of(column.storage))
    return _without(text, set(NULL_WORDS) - set(getattr(column.kind, "names", ())))


def types_of(storage: str) -> Sequence[pa.DataType]:
    """Types that a column may have been read in, the first to be tried first; none for text."""
    return {"number": (pa.float64(),), "time": _TIMES}.get(storage, ())


def cast_first(text: Any, types: Sequence[pa.DataType]) -> Any:
    """Text as the first of some types that takes all cells, or as text; nulls for null words."""
    trimmed = _without(pc.utf8_trim_whitespace(text), set(NULL_WORDS))
    if types == _TIMES:
        trimmed = pc.replace_substring_regex(trimmed, TOO_FINE, r"\1\2")
    for kind in types:
        try:
            return trimmed.cast(kind)
        except pa.ArrowInvalid:
            continue
    return trimmed


def _without(text: Any, words: set[str]) -> Any:
    nothing = pc.is_in(text, pa.array(sorted(words), pa.string()))
    return pc.if_else(nothing, pa.scalar(None, pa.string()), text)
