"""A column in plain form, and the way back to Arrow."""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from improbable.data.clock import arrow_clock, clock_text, is_clock, is_written, written_type
from improbable.data.dates import in_order, is_ordered, ordered_type
from improbable.data.decimals import NUMERIC, arrow_decimals, is_decimal
from improbable.data.octets import HEX, MIXED, bytes_of, is_octets, respelled
from improbable.data.parts import Bools, Floats
from improbable.data.texts import (
    NULL_WORDS,
    are_clocks,
    number_text,
    parse_clocks,
    parse_numbers,
    parse_times,
    plain_words,
    shortest,
    time_text,
)

Values = NDArray[Any]
EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_799.0  # seconds: years 1 to 9999
TEXTS = ("String", "Categorical", "Enum")
NS_LIMIT, DAY = 9.2e9, 86_400.0


@dataclass(frozen=True)
class RawColumn:
    """A column as it came.

    Attributes
    ----------
    values : ndarray of shape (n_samples,)
        float64 with NaN for missing ("number"; "time" in seconds since 1970),
        or objects, str or None ("text").
    storage : str
        "number", "text" or "time".
    dtype : str
        Name of the data frame's own type, for the way back.
    """

    values: Values
    storage: str
    dtype: str


def understood(column: RawColumn) -> RawColumn:
    """A column of training with bytes as files of text spell them, times of day told from text."""
    if column.dtype == HEX:
        return RawColumn(respelled(column.values, HEX, MIXED), "text", MIXED)
    if column.dtype not in TEXTS or not are_clocks(column.values):
        return column
    dtype = written_type(set(column.values) - {None})
    return RawColumn(parse_clocks(column.values)[0], "number", dtype)


def with_order(column: RawColumn, at_fit: str = "") -> RawColumn:
    """A column of texts of a type that says in which order its dates are, such as 3/14/2025.

    Parameters
    ----------
    column : RawColumn
    at_fit : str, optional
        Type it had in training, which knows if this one is of such.
    """
    if column.dtype not in TEXTS:
        return column
    if is_ordered(at_fit):
        return replace(column, dtype=at_fit)
    dtype = ordered_type(set(column.values) - {None, *NULL_WORDS})
    return replace(column, dtype=dtype) if dtype else column


def is_text(dtype: str) -> bool:
    """Whether cells of a type are texts, dates in an order that others tell among them."""
    return dtype in TEXTS or is_ordered(dtype)


def as_storage(column: RawColumn, storage: str, dtype: str) -> tuple[Values, Bools]:
    """A column in the storage a fitted kind takes, and which cells could not be read so.

    Parameters
    ----------
    column : RawColumn
        What came.
    storage, dtype : str
        What the column was at fit.

    Returns
    -------
    values : ndarray of shape (n_samples,)
        NaN or None where missing or not readable.
    unreadable : ndarray of bool of shape (n_samples,)
    """
    clear = np.zeros(len(column.values), dtype=bool)
    if storage == "text":
        words = respelled(_texts(column), column.dtype, dtype)
        plain = column.storage == "number" and dtype.startswith(NUMERIC)
        return words if plain else plain_words(words, dtype), clear
    if column.storage == storage:
        return column.values, clear
    if column.storage != "text":
        return np.full(len(column.values), np.nan), ~np.isnan(column.values)
    words = respelled(column.values, column.dtype, dtype)
    if storage == "time":
        return parse_times(words, dtype)
    return (parse_clocks if is_clock(dtype) else parse_numbers)(words)


def as_number(column: RawColumn) -> Floats:
    """Values of a column, or the numbers that its texts mean."""
    return as_storage(column, "number", column.dtype)[0]


def as_times(column: RawColumn) -> Floats:
    """Seconds since 1970 of stamps or texts, or numbers as they are; NaN where unreadable."""
    if column.storage != "text":
        return np.asarray(column.values, dtype=np.float64)
    if "Int" in column.dtype:
        return parse_numbers(column.values)[0]
    return parse_times(column.values, column.dtype)[0]


def arrow_column(column: RawColumn) -> pa.Array:
    """Cells in the type they came in."""
    if column.dtype == "Boolean":
        truth = {"True": True, "False": False}
        return pa.array([truth.get(v) for v in plain_words(_texts(column), "Boolean")], pa.bool_())
    if is_text(column.dtype):
        return pa.array(_texts(column), pa.string())
    if is_octets(column.dtype):
        return pa.array([bytes_of(word, column.dtype) for word in _texts(column)], pa.binary())
    if column.dtype.startswith("Date"):
        return arrow_times(column)
    if is_written(column.dtype):
        return pa.array(clock_text(as_number(column), _unit(column.dtype)), pa.string())
    if is_clock(column.dtype):
        return arrow_clock(as_number(column), _unit(column.dtype))
    return _arrow_numbers(column)


def _arrow_numbers(column: RawColumn) -> pa.Array:
    if "Int" in column.dtype and column.storage == "text":
        with suppress(pa.ArrowInvalid):  # numbers too large for a float
            return pa.array(column.values, pa.string()).cast(_whole_type(column.dtype))
    numbers = as_number(column)
    missing = np.isnan(numbers)
    if column.dtype.startswith("Duration"):
        return _arrow_ticks(numbers, pa.duration("us"), pa.duration(_unit(column.dtype)))
    if "Int" in column.dtype:
        target = _whole_type(column.dtype)
        low, high = _float_range(target)
        whole = np.clip(np.round(np.where(missing, 0.0, numbers)), low, high)
        return pa.array(whole, mask=missing).cast(target, safe=False)
    if is_decimal(column.dtype):
        return arrow_decimals(numbers, column.dtype)
    target = pa.float32() if column.dtype == "Float32" else pa.float64()
    return pa.array(numbers, mask=missing).cast(target)


def _whole_type(dtype: str) -> pa.DataType:
    return getattr(pa, dtype.lower(), pa.int64)()


def _float_range(target: pa.DataType) -> tuple[float, float]:
    """Least and largest float that an integer type can hold."""
    limits = np.iinfo(target.to_pandas_dtype())
    high = float(limits.max)
    return float(limits.min), high if int(high) <= limits.max else float(np.nextafter(high, 0.0))


def _texts(column: RawColumn) -> Values:
    if column.storage == "text":
        return column.values
    if column.storage == "time":
        return in_order(time_text(column.values), column.dtype)
    if is_clock(column.dtype):
        return clock_text(column.values)
    return number_text(shortest(column.values) if column.dtype == "Float32" else column.values)


def arrow_times(column: RawColumn) -> pa.Array:
    """Time stamps, or texts of such, in the type and time zone they came in."""
    seconds = column.values if column.storage == "time" else as_times(column)
    micro = pa.timestamp("us")
    if column.dtype == "Date":
        return _arrow_ticks(seconds, micro, pa.date32())
    zone = zone_of(column.dtype)
    target = pa.timestamp(_unit(column.dtype), zone)
    return _arrow_ticks(seconds, pa.timestamp("us", zone), target)


def shown_time(seconds: float, dtype: str) -> str:
    """Moment to the second, in the time zone of a column of such a type; "?" if there is none."""
    if not np.isfinite(seconds):
        return "?"
    inside = min(max(seconds, EARLIEST + DAY), LATEST - DAY)
    stamp = pa.scalar(int(inside), pa.timestamp("s", zone_of(dtype))).as_py()
    text: str = stamp.isoformat()
    return text[:10] if dtype == "Date" else text


def zone_of(dtype: str) -> str | None:
    """Time zone in the name of a type, None without one."""
    zone = dtype.partition("time_zone=")[2].rstrip(")").strip("'\"")
    return None if zone in ("None", "") else zone


def _unit(dtype: str) -> str:
    return next((unit for unit in ("ns", "us", "ms", "s") if f"'{unit}'" in dtype), "us")


def _arrow_ticks(seconds: Floats, micro: pa.DataType, target: pa.DataType) -> pa.Array:
    missing = np.isnan(seconds)
    narrow = getattr(target, "unit", "us") == "ns"
    low, high = (-NS_LIMIT, NS_LIMIT) if narrow else (EARLIEST, LATEST)
    ticks = np.round(np.clip(np.where(missing, 0.0, seconds), low, high) * 1e6).astype(np.int64)
    return pa.array(ticks, mask=missing).cast(micro).cast(target, safe=False)
