"""Names of the items of an index, and what is known of them: one Arrow table, its ids first."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from improbable.data.frames import read_frame, write_frame
from improbable.errors import DataError, ImprobableError, SchemaError

ID = "id"
SHOWN = 3
Positions = NDArray[np.int64]


def labels_of(ids: Any, columns: Any, n: int) -> pa.Table:
    """Table of the ids of `n` items and of their columns.

    Parameters
    ----------
    ids : sequence of str or int, optional
        Each once; 0 to n - 1 when absent.
    columns : data frame, optional
        A row for each item.

    Raises
    ------
    DataError
        If the numbers of items differ, or an id is missing, repeated, or of another type.
    """
    labels = pa.table({ID: pa.array(np.arange(n)) if ids is None else _ids(ids)})
    for name, column in {} if columns is None else _columns(columns):
        _check_length(f"column {name!r}", len(column), n)
        labels = labels.append_column(name, column)
    _check_length("ids", len(labels), n)
    return checked(labels)


def checked(labels: pa.Table) -> pa.Table:
    """Labels, whose ids are complete and differ.

    Raises
    ------
    DataError
        If they do not.
    """
    ids = labels[ID]
    if ids.null_count:
        raise DataError("Some ids are missing. Give every item one.")
    if len(pc.unique(ids)) < len(ids):
        counts = pc.value_counts(ids)
        twice = counts.field(0).filter(pc.greater(counts.field(1), 1))
        raise DataError(f"Ids repeat: {_some(twice)}. Give every item one of its own.")
    return labels


def extended(labels: pa.Table, ids: Any, columns: Any, n: int) -> pa.Table:
    """Labels of more items below those that are there; whole-number ids may go on by themselves.

    Raises
    ------
    DataError
        If ids clash, or are absent and must not be.
    SchemaError
        If the columns differ.
    """
    if ids is None and labels.schema.field(ID).type != pa.int64():
        raise DataError("The ids of the index are names. Pass ids for the items to be added.")
    if ids is None:
        ids = np.arange(n) + pc.max(labels[ID]).as_py() + 1
    more = labels_of(ids, columns, n)
    lacking = [name for name in labels.column_names if name not in more.column_names]
    extra = [name for name in more.column_names if name not in labels.column_names]
    if lacking or extra:
        raise SchemaError(
            f"The columns of the items differ (missing: {', '.join(lacking) or 'none'}; "
            f"extra: {', '.join(extra) or 'none'}). Pass those of the index."
        )
    try:
        more = more.select(labels.column_names).cast(labels.schema)
    except (pa.ArrowException, ValueError) as error:
        raise SchemaError(
            f"The columns of the items have other types ({error}). Convert them."
        ) from error
    return checked(pa.concat_tables([labels, more]))


def remaining(labels: pa.Table, ids: Any) -> Positions:
    """Positions of the items that are not among `ids`.

    Raises
    ------
    DataError
        If there is no such item, or none remains.
    """
    names = _ids(ids)
    if not len(names):
        return np.arange(len(labels))
    if names.type != labels.schema.field(ID).type:
        raise DataError(f"The index has no items {_some(names)}. Its ids are of another type.")
    unknown = names.filter(pc.invert(pc.is_in(names, value_set=labels[ID])))
    if len(unknown):
        raise DataError(f"The index has no items {_some(unknown)}. Leave them out.")
    rest = _positions(pc.invert(pc.is_in(labels[ID], value_set=names)))
    if not len(rest):
        raise DataError("No item would remain. Keep at least one.")
    return rest


def matching(labels: pa.Table, where: Any) -> Positions | None:
    """Rising positions of the items that pass a filter; None where all count.

    Parameters
    ----------
    where : mapping or array of bool, optional
        For each column a value, a list of values, or a tuple (low, high), both included, where
        None leaves a side open; all must hold. None as a value is a missing cell.

    Raises
    ------
    SchemaError
        If the items have no such column.
    ImprobableError
        If a column cannot be compared so, or the mask has another length or type.
    """
    if where is None:
        return None
    if not isinstance(where, Mapping):
        return _masked(where, len(labels))
    passing = np.ones(len(labels), dtype=bool)
    for name, wanted in where.items():
        passing &= _truth(_passing(_column(labels, name), name, wanted))
    return np.flatnonzero(passing)


def _masked(where: Any, n: int) -> Positions:
    mask = np.asarray(where)
    if mask.dtype != bool or mask.shape != (n,):
        raise ImprobableError(
            f"where must map columns to values, or hold a bool for each of the {n} items; "
            f"got {mask.dtype} of shape {mask.shape}."
        )
    return np.flatnonzero(mask)


def _column(labels: pa.Table, name: Any) -> pa.ChunkedArray:
    if name in labels.column_names:
        return labels[name]
    near = get_close_matches(str(name), labels.column_names, 1)
    hint = f"Did you mean {near[0]}?" if near else f"It has {', '.join(labels.column_names)}."
    raise SchemaError(f"The index has no column {name!r} to filter by. {hint}")


def _passing(column: pa.ChunkedArray, name: str, wanted: Any) -> Any:
    if isinstance(wanted, tuple):
        return _within(column, name, wanted)
    if wanted is None:
        return pc.is_null(column)
    if isinstance(wanted, Collection | pa.Array) and not isinstance(wanted, str | bytes):
        values = pa.array(list(wanted))
        return _compared(name, column, values, lambda c, v: pc.is_in(c, value_set=v))
    return _compared(name, column, pa.scalar(wanted), pc.equal)


def _within(column: pa.ChunkedArray, name: str, wanted: tuple[Any, ...]) -> Any:
    if len(wanted) != 2:
        raise ImprobableError(
            f"A range of {name!r} must be (low, high), got {wanted!r}. "
            f"For several values pass a list."
        )
    passing = pc.is_valid(column)
    for limit, compare in zip(wanted, (pc.greater_equal, pc.less_equal), strict=True):
        if limit is not None:
            passing = pc.and_(passing, _compared(name, column, pa.scalar(limit), compare))
    return passing


def _compared(name: str, column: pa.ChunkedArray, value: Any, compare: Callable[..., Any]) -> Any:
    """Comparison, if need be in the type of the column, or as numbers."""
    for kind in (value.type, column.type, pa.float64()):
        with suppress(pa.ArrowException):
            return compare(column, value.cast(kind))
    raise ImprobableError(
        f"Column {name!r} holds {column.type} and cannot be compared with values of type "
        f"{value.type}. Pass some of its own type."
    )


def _truth(cells: Any) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(cells, fill_value=False), dtype=bool)


def _positions(cells: Any) -> Positions:
    return np.flatnonzero(_truth(cells))


def _ids(ids: Any) -> pa.Array:
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    try:
        cells = pa.array(ids)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError("ids must be all names or all whole numbers. Convert them.") from error
    names = pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)
    if names or pa.types.is_integer(cells.type) or not len(cells):
        try:
            return cells.cast(pa.large_string() if names else pa.int64())
        except pa.ArrowInvalid as error:
            raise DataError("ids must be below 2^63. Pass them as names.") from error
    raise DataError(f"ids must be names or whole numbers, got {cells.type}. Convert them.")


def _columns(columns: Any) -> list[tuple[str, pa.ChunkedArray]]:
    table = columns
    if not isinstance(table, pa.Table):
        table = write_frame(read_frame(columns).columns, "pyarrow")
    if ID in table.column_names:
        raise DataError(f"A column is named {ID!r}. Pass it as ids, or rename it.")
    if len(set(table.column_names)) < len(table.column_names):
        raise DataError("Names of columns repeat. Rename all but one.")
    decoded = (
        c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c
        for c in table.itercolumns()
    )
    return list(zip(table.column_names, decoded, strict=True))


def _check_length(what: str, found: int, n: int) -> None:
    if found != n:
        raise DataError(f"There are {n} items, but {what}: {found}. Give one for each item.")


def _some(cells: Any) -> str:
    shown = ", ".join(repr(cell) for cell in cells[:SHOWN].to_pylist())
    return f"{shown}, ..." if len(cells) > SHOWN else shown
