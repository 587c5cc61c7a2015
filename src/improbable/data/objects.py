"""Columns of Python objects, as data frames and lists hold them."""

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from improbable.data.clock import clock_type, read_clock
from improbable.data.decimals import type_of_objects
from improbable.data.native import is_null
from improbable.data.octets import read_bytes
from improbable.data.raw import RawColumn, Values
from improbable.data.texts import number_word

WORDS = {str, type(None)}
TRUTH = (bool, np.bool_)
OCTETS = (bytes, bytearray, memoryview)
NUMBERS = (int, float, np.number, np.bool_, Decimal)


def clocks(cells: Any) -> RawColumn:
    """Times of day of an Arrow array as seconds."""
    return RawColumn(read_clock(cells), "number", clock_type(cells.type.unit))


def read_objects(values: Iterable[Any]) -> RawColumn:
    """Cells in the one type that all of them are of, else as text."""
    cells = list(values)
    if set(map(type, cells)) <= WORDS:
        return RawColumn(as_text(cells), "text", "String")
    present = [v for v in cells if not is_null(v)]
    if present and all(isinstance(v, OCTETS) for v in present):
        words, name = read_bytes(None if is_null(v) else v for v in cells)
        return RawColumn(words, "text", name)
    if present and all(isinstance(v, dt.time) for v in present):
        return clocks(pa.array([None if is_null(v) else v for v in cells], pa.time64("us")))
    if present and all(isinstance(v, TRUTH) for v in present):
        return RawColumn(as_text(cells), "text", "Boolean")
    if present and all(isinstance(v, NUMBERS) for v in present):
        numbers = np.array([np.nan if is_null(v) else _as_float(v) for v in cells])
        exact = all(isinstance(v, Decimal) for v in present)
        dtype = type_of_objects(present, numbers) if exact else "Float64"
        return RawColumn(numbers, "number", dtype)
    return RawColumn(as_text(cells), "text", "String")


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def as_text(values: Iterable[Any]) -> Values:
    """Cells as text, None where missing."""
    cells = list(values)
    out = np.empty(len(cells), dtype=object)
    out[:] = [v if type(v) is str else None if is_null(v) else _word(v) for v in cells]
    return out


def _word(value: Any) -> str | None:
    """A cell as text; numbers as in columns of numbers alone, whatever stands beside them."""
    inexact = isinstance(value, float | np.floating)
    return number_word(float(str(value))) if inexact else str(value)
