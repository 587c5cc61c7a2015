"""Values of columns that rows are asked to have, and which of them no row could have."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from improbable.data.columns import Count
from improbable.data.fitted_column import Column
from improbable.data.frames import Frame, read_frame
from improbable.data.raw import RawColumn
from improbable.errors import DataError, SchemaError


def given_columns(
    given: Any, columns: Sequence[Column], names: Sequence[str], n: int
) -> dict[str, RawColumn]:
    """Columns of `TableCodec.partial`, of a table whose modeled columns are `names`."""
    if not isinstance(given, Mapping) or not given:
        raise DataError(f"given must name columns and values, as {{'sex': 'F'}}, got {given!r}.")
    _check_names([str(name) for name in given], names)
    known = read_frame([dict(given)])
    _check_held(columns, known)
    found = {}
    for column in columns:
        if column.name in known.columns:
            raw = known.columns[column.name]
            found[column.name] = RawColumn(np.repeat(raw.values, n), raw.storage, raw.dtype)
            continue
        kind, nothing = (object, None) if column.storage == "text" else (float, np.nan)
        blank = np.full(n, nothing, dtype=kind)
        found[column.name] = RawColumn(blank, column.storage, column.dtype)
    return found


def _check_names(given: list[str], names: Sequence[str]) -> None:
    """Refuse columns that take no part in the model."""
    for name in given:
        if name not in names:
            near = get_close_matches(name, names, 1, 0.5)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(names)}."
            raise SchemaError(f"No modeled column is called {name!r}. {hint}")


def _check_held(columns: Sequence[Column], frame: Frame) -> None:
    """Refuse values that no row could hold: none at all, one never seen, part of a count."""
    for column in columns:
        raw = frame.columns.get(column.name)
        if raw is None:
            continue
        cells = column.cells(raw, frame.n_rows)
        if cells.missing[0]:
            raise DataError(f"given has no value for {column.name!r}. Leave it out, or give one.")
        held = f"given holds {column.displayed(raw, np.arange(1))[0]} for {column.name!r}"
        value, unreadable = (found[0] for found in column.read(raw))
        if unreadable or column.storage != "text" and np.isinf(value):
            raise DataError(f"{held}, which is no {column.storage}. Give one that is.")
        if cells.unseen[0]:
            raise DataError(f"{held}, a value never seen in training. Give a known one.")
        if isinstance(column.kind, Count) and (value < 0 or value % 1):
            raise DataError(f"{held}, a count. Give a whole number, 0 or more.")
