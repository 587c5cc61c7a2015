"""Sequences in a column of a file: strings, lists, or lists in JSON."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from improbable.cli.feed import TEXT_FORMATS
from improbable.cli.labels import check_column
from improbable.data.files import Reader, format_of, read_batches
from improbable.data.sequences import SequenceCodec
from improbable.data.tokens import Form, Sequences, no_sequence, read_sequences
from improbable.errors import DataError


class SequenceFeed:
    """Batches of a table as they are, each beside the sequences in one of its columns.

    Attributes
    ----------
    schema : pyarrow.Schema
        Of the batches.
    n_rows : int
        Rows so far.
    """

    key = total = None
    names: list[str] = []
    never_observed: list[str] = []
    text = False  # no column has a type to be given back

    def __init__(self, reader: Reader, codec: SequenceCodec, *, delimited: bool) -> None:
        self.schema, self.n_rows = reader.schema, 0
        self._reader, self._codec, self._delimited = reader, codec, delimited
        self._column = check_column(column_of(codec), reader.schema.names, "The model")
        self.blank = self.frame(pa.RecordBatch.from_pylist([], schema=reader.schema))

    def __iter__(self) -> Iterator[tuple[pa.RecordBatch, Sequences]]:
        for batch in self._reader.batches():
            places = range(self.n_rows, self.n_rows + batch.num_rows)
            self.n_rows += batch.num_rows
            yield batch, self.frame(batch, places)

    def frame(self, batch: pa.RecordBatch, places: Sequence[int] = ()) -> Sequences:
        """Sequences of a batch from some places of the input."""
        column, unit = batch.column(self._column), self._codec.form.unit
        if not self._delimited:
            refuse_nulls(column, places)
        return sequences_in(column, self._column, unit)


def open_sequences(
    path: str, codec: SequenceCodec, *, format: str | None, batch_rows: int
) -> SequenceFeed:
    """Open a file for a model of sequences.

    Raises
    ------
    DataError, SchemaError
        If it cannot be read, or lacks the column of the model.
    """
    text = format_of(path, format) in TEXT_FORMATS
    reader = read_batches(path, format=format, batch_rows=batch_rows, text=text)
    return SequenceFeed(reader, codec, delimited=text)


def column_of(codec: SequenceCodec) -> str:
    """Name of the column that a model of sequences reads."""
    return codec.form.column or "sequence"


def refuse_nulls(column: Any, places: Sequence[int] = ()) -> None:
    """Refuse a column that holds no sequence somewhere; only CSV writes empty ones so.

    Parameters
    ----------
    column : pyarrow.Array or ChunkedArray
    places : sequence of int
        Rows of the input, if they are not those of the column.

    Raises
    ------
    DataError
    """
    row = pc.index(pc.is_null(column), True).as_py()
    if row >= 0:
        raise no_sequence(None, places[row] if places else row)


def sequences_in(column: Any, name: str, unit: str) -> Sequences:
    """Sequences of one column; of lists in JSON, if `unit` is tokens and cells are text.

    A cell of nothing is the empty sequence, as empty cells of CSV are.

    Raises
    ------
    DataError
        If a cell holds no sequence.
    """
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if is_list:
        cells = [[] if cell is None else cell for cell in column.to_pylist()]
    else:
        cells = ["" if cell is None else cell for cell in column.cast(pa.string()).to_pylist()]
    if unit == "tokens" and not is_list:
        cells = [_parsed(cell, name) for cell in cells]
    found = read_sequences(cells, unit)
    form = Form("pyarrow", found.form.unit if cells else unit, name, table=True)
    return Sequences(found.items, form)


def _parsed(cell: str, name: str) -> list[Any]:
    try:
        found = json.loads(cell or "[]")
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, list):
        raise DataError(
            f"{cell!r} in column {name} is no list in JSON. "
            "Pass --unit words or --unit characters for strings."
        )
    return found
