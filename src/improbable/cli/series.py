"""Series in a file: read whole, for every row is judged beside its neighbors in time."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from improbable.cli.feed import TEXT_FORMATS, as_read_at_fit, cast_first, columns_of, types_of
from improbable.cli.labels import check_column
from improbable.data.files import format_of, read_batches
from improbable.data.series import Series
from improbable.data.windows import WindowCodec
from improbable.judging import observable, unobserved


class SeriesFeed:
    """Batches of rows as they are, each beside the same rows of the series they belong to.

    Attributes
    ----------
    schema : pyarrow.Schema
        Of the batches.
    text : bool
        Whether all cells are text, as in CSV.
    n_rows : int
        Rows so far.
    never_observed : list of str
        Modeled columns without a value.
    """

    key = None
    names: list[str] = []

    def __init__(
        self,
        table: pa.Table,
        codec: WindowCodec,
        batch_rows: int,
        *,
        text: bool,
        without: str | None = None,
    ) -> None:
        self.schema, self.text, self.n_rows = table.schema, text, 0
        self._table, self._batch_rows = table.combine_chunks(), batch_rows
        if without is not None:
            table = table.drop_columns([check_column(without, table.column_names, "--label")])
        self._series = codec.read(_as_fitted(table, codec) if text else table)
        frame = self._series.frame
        self.never_observed = unobserved(frame, observable(codec.point)) if frame.n_rows else []

    @property
    def total(self) -> int:
        """Rows of the file."""
        return int(self._table.num_rows)

    @property
    def blank(self) -> Series:
        """No row of the series."""
        return self._series.take(np.empty(0, dtype=np.intp))

    def __iter__(self) -> Iterator[tuple[pa.RecordBatch, Series]]:
        for batch in self._table.to_batches(self._batch_rows):
            places = np.arange(self.n_rows, self.n_rows + batch.num_rows)
            self.n_rows += batch.num_rows
            yield batch, self._series.take(places)

    def frame(self, batch: pa.RecordBatch, places: Sequence[int] = ()) -> Series:
        """The rows at some places of the file, beside their neighbors."""
        return self._series.take(np.array(places, dtype=np.intp))


def open_series(
    path: str, codec: WindowCodec, *, format: str | None, batch_rows: int, without: str | None
) -> SeriesFeed:
    """Open a file for a model of series.

    Raises
    ------
    DataError, SchemaError
        If it cannot be read, or lacks columns of the model.
    """
    text = format_of(path, format) in TEXT_FORMATS
    reader = read_batches(path, format=format, batch_rows=batch_rows, text=text)
    table = pa.Table.from_batches(reader.batches(), schema=reader.schema)
    return SeriesFeed(table, codec, batch_rows, text=text, without=without)


def _as_fitted(table: pa.Table, codec: WindowCodec) -> pa.Table:
    """Columns of text as they would be read if types were inferred."""
    apart = {name: types_of(storage) for name, storage, _ in codec.head}
    known = columns_of([n for n in table.column_names if n not in apart], codec.point)
    for place, name in enumerate(table.column_names):
        if name in apart:
            table = table.set_column(place, name, cast_first(table[name], apart[name]))
        elif name in known:
            table = table.set_column(place, name, as_read_at_fit(table[name], known[name]))
    return table
