"""Data before it is read: a table at all, no unused columns, no views, index columns known."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from numbers import Real
from os import PathLike
from typing import Any

import pyarrow as pa

from improbable.errors import DataError

EXTENDED = re.compile(r"U?Int\d+|Float\d+|boolean|string|.*\[pyarrow\]")


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


def refuse_what_is_no_table(data: Any) -> None:
    """Say how to make a table of what is often passed in place of one."""
    if hasattr(data, "iloc") and getattr(data, "ndim", 2) == 1:
        raise DataError(
            "A single row or column is no table. Pass one row as X.iloc[[0]], one column as "
            "X[['name']]."
        )
    if isinstance(data, Mapping) and not hasattr(data, "shape"):  # sparse arrays are dicts, too
        raise DataError(
            "A dict is no table. Pass one row as [row], columns as a data frame made of them."
        )
    if isinstance(data, str | PathLike):
        raise DataError(
            f"{str(data)!r} is text and no table. Read the file first, as in "
            "pandas.read_csv(path), or use the command line."
        )
    if data is None or isinstance(data, Real | Iterator):
        raise DataError(
            f"{type(data).__name__} is no table. Pass a data frame, an array, or a list of rows."
        )


def without_periods(data: Any) -> Any:
    """A pandas data frame whose periods are the moments they start; other tables as they are."""
    if not hasattr(data, "iloc") or not hasattr(data, "assign"):
        return data
    found = [name for name, kind in data.dtypes.items() if type(kind).__name__ == "PeriodDtype"]
    if not found or not data.columns.is_unique:
        return data
    started = data.copy(deep=False)
    for name in found:
        started[name] = data[name].dt.to_timestamp()
    return started


def pandas_types(data: Any) -> dict[str, str]:
    """Types of the columns of a pandas data frame that NumPy has not, by name; else nothing."""
    if not hasattr(data, "iloc") or not hasattr(data, "assign"):
        return {}
    types = {str(name): str(kind) for name, kind in data.dtypes.items()}
    return {name: kind for name, kind in types.items() if EXTENDED.fullmatch(kind)}


def with_types(table: Any, types: Mapping[str, str]) -> Any:
    """A data frame with columns in the types of `pandas_types`, where they have room.

    Tables of other libraries are as they are.
    """
    if not hasattr(table, "assign"):
        return table
    for name in types.keys() & set(table.columns):
        with suppress(TypeError, ValueError, NotImplementedError):
            table = table.assign(**{name: table[name].astype(types[name])})
    return table


def is_null(value: Any) -> bool:
    """Whether a cell is None, NaN, or what data frames have in their place."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return not isinstance(value, str) and bool(value != value)
