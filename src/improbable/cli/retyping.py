"""Columns of text given back the types that the model knows, where no cell is lost."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from improbable.cli.feed import cast_first, columns_of
from improbable.data.codec import Codec
from improbable.data.decimals import NUMERIC, is_whole
from improbable.data.delimited import HEXADECIMAL
from improbable.data.table import TableCodec
from improbable.data.windows import WindowCodec
from improbable.errors import DataError

LEADING_ZERO, LONG = r"^\s*[+-]?0\d", r"^\s*[+-]?\d{16,}\s*$"


class Retyping:
    """Which columns of a stream can be cast from text, once all of it was seen.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the stream.
    codec : Codec
        What the columns were at fit.
    wanted : bool
        False leaves everything as it is.
    """

    def __init__(self, schema: pa.Schema, codec: Codec, *, wanted: bool) -> None:
        known = columns_of(schema.names, tabular(codec)).items() if wanted else ()
        self._hopes = {name: _types(column.dtype) for name, column in known}

    def see(self, batch: pa.RecordBatch) -> None:
        """Give up the types that cannot hold the cells of a batch."""
        for name, hopes in self._hopes.items():
            while hopes and not fits(batch.column(name), hopes[0]):
                hopes.pop(0)

    def schema(self, schema: pa.Schema) -> pa.Schema:
        """Schema after casting."""
        return pa.schema([f.with_type(self._type(f)) for f in schema])

    def cast(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Batch after casting."""
        schema = self.schema(batch.schema)
        columns = [
            column if column.type == field.type else cast_first(column, [field.type])
            for column, field in zip(batch.columns, schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def _type(self, field: pa.Field) -> pa.DataType:
        return next(iter(self._hopes.get(field.name, ())), field.type)


def _types(dtype: str) -> list[pa.DataType]:
    if is_whole(dtype):
        return [pa.int64(), pa.float64()]
    if dtype.startswith(NUMERIC):
        return [pa.float64()]
    return [pa.bool_()] if dtype == "Boolean" else []


def fits(text: Any, kind: pa.DataType) -> bool:
    """Whether cells can be cast, no zero in front is lost, and no digit of a whole number."""
    if cast_first(text, [kind]).type != kind:
        return False
    if kind == pa.bool_():
        return True
    lost = (
        f"{LEADING_ZERO}|{HEXADECIMAL}" if pa.types.is_integer(kind) else f"{LEADING_ZERO}|{LONG}"
    )
    return not pc.any(pc.match_substring_regex(text, lost)).as_py()


def tabular(codec: Codec) -> TableCodec:
    """The codec itself if it is one of tables, that of single points if it is one of series.

    Raises
    ------
    DataError
        If it reads something else.
    """
    if isinstance(codec, WindowCodec):
        return codec.point
    if not isinstance(codec, TableCodec):
        raise DataError(
            "The model learned from images, not from a table. "
            "Pass a folder of images or an .npz file, or a model of tables."
        )
    return codec
