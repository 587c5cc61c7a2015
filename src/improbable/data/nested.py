"""Fields within fields as columns of their own: `geo` of `{"geo": {"country": "FR"}}`."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any

import narwhals as nw
import pyarrow as pa

from improbable.data.native import is_null

SEPARATOR = "."
Row = dict[str, Any]


def flat_rows(rows: Sequence[Row]) -> list[Row]:
    """Dicts without dicts in them: {"geo": {"country": "FR"}} is {"geo.country": "FR"}.

    Where a name holds dicts in some rows, nulls in others say nothing.
    """
    if not any(isinstance(value, dict) for row in rows for value in row.values()):
        return list(rows)
    found = [dict(_fields(row)) for row in rows]
    empty = parents({name for row in found for name in row})
    return [{n: v for n, v in row.items() if v is not None or n not in empty} for row in found]


def _fields(row: Row, head: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _fields(value, f"{head}{name}{SEPARATOR}")
        else:
            yield f"{head}{name}", value


def flat(data: Any) -> Any:
    """An Arrow table or batch whose structs are columns, a field each."""
    if not any(pa.types.is_struct(kind) for kind in data.schema.types):
        return data
    fields = []
    for name, column in zip(data.schema.names, data.columns, strict=True):
        fields += list(_columns(name, column))
    names, columns = zip(*fields, strict=True) if fields else ((), ())
    found = type(data).from_arrays(list(columns), names=list(names))
    return found.replace_schema_metadata(data.schema.metadata)


def flat_schema(schema: pa.Schema) -> pa.Schema:
    """Schema of `flat` tables."""
    return flat(schema.empty_table()).schema


def _columns(name: str, column: Any) -> Iterator[tuple[str, Any]]:
    if not pa.types.is_struct(column.type):
        yield name, column
        return
    inner = [column.type.field(i).name for i in range(column.type.num_fields)]
    for field, part in zip(inner, column.flatten(), strict=True):
        yield from _columns(f"{name}{SEPARATOR}{field}", part)


def unnested(series: nw.Series[Any]) -> Iterator[tuple[str, nw.Series[Any]]]:
    """A column by its name, or the fields of its structs or dicts as columns of their own."""
    structs = series.to_arrow() if series.dtype == nw.Struct else None
    if series.dtype == nw.Object:
        cells = series.to_list()
        if any(isinstance(cell, dict) for cell in cells):
            with suppress(ValueError, TypeError):  # what stands beside them is no null
                structs = pa.array([None if is_null(cell) else cell for cell in cells])
    if structs is None:
        yield str(series.name), series
        return
    fields = flat(pa.table({str(series.name): structs}))
    for name in fields.column_names:
        yield name, nw.from_native(fields[name], series_only=True).alias(name)


def parents(names: Collection[str]) -> set[str]:
    """What the columns may be called that some names are fields of."""
    found: set[str] = set()
    for name in names:
        parts = name.split(SEPARATOR)
        found.update(SEPARATOR.join(parts[:n]) for n in range(1, len(parts)))
    return found
