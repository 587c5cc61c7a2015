"""Data frames before they are read: no unused columns, no views, index columns known."""

import json
from collections.abc import Collection
from contextlib import suppress
from typing import Any

import pyarrow as pa


def narrowed(data: Any, wanted: Collection[str] | None) -> tuple[Any, tuple[str, ...]]:
    """A table with some of its columns alone, and the names of the others.

    Parameters
    ----------
    data : data frame
        Returned as it is if it is of no library that lets names repeat.
    wanted : collection of str, optional
        All if None.
    """
    if wanted is None:
        return data, ()
    if isinstance(data, pa.Table):
        names, taken = data.column_names, data.select
    elif hasattr(data, "iloc") and getattr(data, "ndim", 0) == 2:
        names, taken = [str(name) for name in data.columns], lambda kept: data.iloc[:, kept]
    else:
        return data, ()
    kept = [place for place, name in enumerate(names) if name in wanted]
    others = tuple(name for name in names if name not in wanted)
    return (taken(kept) if others else data), others


def index_columns(data: Any) -> tuple[str, ...]:
    """Columns of an Arrow table that were the index of the pandas data frame it comes from."""
    if not isinstance(data, pa.Table):
        return ()
    described: Any = None
    with suppress(ValueError):
        described = json.loads((data.schema.metadata or {}).get(b"pandas", b"{}"))
    found = described.get("index_columns") if isinstance(described, dict) else None
    names = found if isinstance(found, list) else ()
    return tuple(name for name in names if isinstance(name, str) and name in data.column_names)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """A type without the views of text and bytes, which few functions of pyarrow take."""
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, plain_type(kind.value_type), kind.ordered)
    if pa.types.is_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(plain_type(kind.value_type))
    return kind


def without_views(data: Any) -> Any:
    """A schema, batch or table in types as `plain_type` gives them."""
    schema = data if isinstance(data, pa.Schema) else data.schema
    plain = pa.schema([f.with_type(plain_type(f.type)) for f in schema], schema.metadata)
    if data is schema:
        return plain
    return data if plain.types == schema.types else data.cast(plain)
