"""The only door for tables: any data frame, array or list to plain columns, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import narwhals as nw
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.utils.validation import check_array

from improbable.data.parts import Bools, Floats
from improbable.errors import DataError

Values = NDArray[Any]
TRUE_WORDS = frozenset({"true", "t", "1", "1.0", "yes"})
FALSE_WORDS = frozenset({"false", "f", "0", "0.0", "no"})


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


@dataclass(frozen=True)
class Frame:
    """A table as plain columns.

    Attributes
    ----------
    columns : dict of str to RawColumn
        In the order of the table.
    n_rows : int
        Rows.
    library : str
        "pandas", "polars", "pyarrow" or "numpy": what results come back as.
    """

    columns: dict[str, RawColumn]
    n_rows: int
    library: str

    @property
    def named(self) -> bool:
        """Whether the names came with the data."""
        return self.library != "numpy"


def read_frame(data: Any) -> Frame:
    """Plain columns of anything that holds a table.

    Parameters
    ----------
    data : data frame (pandas, polars, Arrow, ...), array or list
        Two-dimensional. A list may hold rows or dicts.

    Returns
    -------
    Frame

    Raises
    ------
    DataError
        If it is no table, or names repeat.
    ValueError, TypeError
        scikit-learn's own messages about arrays: sparse, complex, not two-dimensional.
    """
    if isinstance(data, list | tuple) and data and isinstance(data[0], dict):
        data = pa.Table.from_pylist(list(data))
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    try:
        frame = nw.from_native(data)
    except nw.exceptions.DuplicateError as error:
        raise DataError(f"Column names repeat ({error}). Rename them apart.") from error
    except (TypeError, ValueError):
        return _read_array(data)
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    return _read_narwhals(frame)


def _read_narwhals(frame: nw.DataFrame[Any]) -> Frame:
    names = [str(name) for name in frame.columns]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"Column names repeat: {', '.join(repeated)}. Rename them apart.")
    columns = dict(zip(names, map(_read_series, frame.iter_columns()), strict=True))
    return Frame(columns, len(frame), str(frame.implementation.value))


def _read_series(series: nw.Series[Any]) -> RawColumn:
    dtype = series.dtype
    if dtype == nw.Boolean:
        return RawColumn(_as_text(series.to_list()), "text", "Boolean")
    if dtype.is_numeric():
        return RawColumn(_numbers(series), "number", _dtype_name(dtype))
    if dtype in (nw.Datetime, nw.Date):
        stamps = pa.array(series.to_list() if len(series) == 0 else series.to_arrow())
        seconds = stamps.cast(pa.timestamp("us", getattr(stamps.type, "tz", None)))
        values = seconds.cast(pa.int64()).to_numpy(zero_copy_only=False).astype(float)
        return RawColumn(values / 1e6, "time", str(dtype))
    return _read_objects(np.array(series.to_list(), dtype=object), _dtype_name(dtype))


def _numbers(series: nw.Series[Any]) -> Floats:
    values: Floats = np.asarray(series.to_arrow().to_numpy(zero_copy_only=False), dtype=np.float64)
    return values


def _dtype_name(dtype: Any) -> str:
    return "String" if dtype in (nw.Object, nw.Unknown) else str(dtype).split("(")[0]


def _read_objects(values: Values, dtype: str) -> RawColumn:
    present = [v for v in values if not _is_missing(v)]
    if present and all(isinstance(v, int | float | np.number) for v in present):
        if not all(isinstance(v, bool | np.bool_) for v in present):
            numbers = [np.nan if _is_missing(v) else float(v) for v in values]
            return RawColumn(np.array(numbers), "number", "Float64")
        dtype = "Boolean"
    return RawColumn(_as_text(values), "text", dtype)


def _is_missing(value: Any) -> bool:
    return value is None or value != value or type(value).__name__ in ("NAType", "NaTType")


def _as_text(values: Sequence[Any] | Values) -> Values:
    out = np.empty(len(values), dtype=object)
    out[:] = [None if v is None or v != v else v if type(v) is str else str(v) for v in values]
    return out


def _read_array(data: Any) -> Frame:
    array = check_array(data, dtype=None, ensure_all_finite=False, ensure_min_samples=0)
    if array.dtype.kind in "fiub":
        numbers = array.astype(np.float64)
        dtype = {"i": "Int64", "u": "Int64", "b": "Boolean"}.get(array.dtype.kind, "Float64")
        columns = [RawColumn(column, "number", dtype) for column in numbers.T.copy()]
    else:
        objects = array.astype(object)
        _refuse_nested(objects)
        columns = [_read_objects(column, "String") for column in objects.T]
    named = {f"x{i}": column for i, column in enumerate(columns)}
    return Frame(named, len(array), "numpy")


def _refuse_nested(objects: Values) -> None:
    for value in objects.flat:
        if isinstance(value, dict | list | set):
            raise TypeError(
                f"argument must be a string or a number, got a cell of type {type(value).__name__}"
            )


def number_text(values: Floats) -> Values:
    """Numbers as text, whole ones without a decimal point; None where NaN."""
    distinct, inverse = np.unique(values, return_inverse=True)
    names = np.empty(len(distinct), dtype=object)
    names[:] = [
        None
        if np.isnan(v)
        else str(int(v))
        if v.is_integer() and abs(v) < 2**53
        else repr(float(v))
        for v in distinct
    ]
    return names[inverse]


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
        values = column.values
        if column.storage != "text":
            values = number_text(values)
        return (_truth_words(values) if dtype == "Boolean" else values), clear
    if column.storage != "text":
        return (column.values, clear) if column.storage == storage else _all_unreadable(column)
    return _parse_numbers(column.values) if storage == "number" else _parse_times(column.values)


def _all_unreadable(column: RawColumn) -> tuple[Floats, Bools]:
    return np.full(len(column.values), np.nan), ~np.isnan(column.values)


def _truth_words(values: Values) -> Values:
    words = {v: v for v in set(values)}
    for word in words:
        lower = None if word is None else word.casefold()
        words[word] = "True" if lower in TRUE_WORDS else "False" if lower in FALSE_WORDS else word
    return np.array([words[v] for v in values], dtype=object)


def _parse_numbers(values: Values) -> tuple[Floats, Bools]:
    numbers = np.full(len(values), np.nan)
    unreadable = np.zeros(len(values), dtype=bool)
    try:
        numbers[:] = [np.nan if v is None else v for v in values]
    except ValueError:
        for i, value in enumerate(values):
            number = _parse_number(value)
            unreadable[i] = number is None
            numbers[i] = np.nan if number is None else number
    return numbers, unreadable


def _parse_number(value: str | None) -> float | None:
    if value is None or not value.strip():
        return np.nan
    word = value.casefold()
    if word in ("true", "false"):
        return float(word == "true")
    try:
        return float(value)
    except ValueError:
        return None


def _parse_times(values: Values) -> tuple[Floats, Bools]:
    seconds = np.full(len(values), np.nan)
    unreadable = np.zeros(len(values), dtype=bool)
    for i, value in enumerate(values):
        moment = parse_time(value)
        unreadable[i] = moment is None
        seconds[i] = np.nan if moment is None else moment
    return seconds, unreadable


def parse_time(value: str | None) -> float | None:
    """Seconds since 1970 of an ISO 8601 text; NaN for no text, None where it is no date."""
    if value is None or not value.strip():
        return np.nan
    if len(value) < 8 or not value[:4].isdigit():
        return None
    try:
        stamp = pa.scalar(value.strip()).cast(pa.timestamp("us", "UTC" if _zoned(value) else None))
    except pa.ArrowInvalid:
        return None
    return float(stamp.value) / 1e6


def _zoned(value: str) -> bool:
    tail = value.strip()[10:]
    return tail.endswith("Z") or "+" in tail or "-" in tail


def write_frame(columns: dict[str, RawColumn], library: str) -> Any:
    """Native table of plain columns: the data frame of `library`, or an array for "numpy"."""
    if library == "numpy":
        return _write_array(list(columns.values()))
    arrow = pa.table({name: _arrow_column(column) for name, column in columns.items()})
    if library == "pyarrow":
        return arrow
    try:
        frame = nw.from_arrow(arrow, backend=cast(Any, library))
    except (ModuleNotFoundError, ImportError, ValueError):
        return arrow
    for name, column in columns.items():
        if column.dtype in ("Categorical", "Enum"):
            frame = frame.with_columns(nw.col(name).cast(nw.Categorical))
    return frame.to_native()


def _write_array(columns: list[RawColumn]) -> Values:
    if all(column.dtype in ("Int64", "Float64") for column in columns):
        return np.column_stack([_as_number(column) for column in columns])
    return np.column_stack([_arrow_column(column).to_pylist() for column in columns]).astype(
        object
    )


def _as_number(column: RawColumn) -> Floats:
    if column.storage == "number":
        return column.values
    return np.array([np.nan if v is None else float(v) for v in column.values])


def _arrow_column(column: RawColumn) -> pa.Array:
    if column.dtype == "Boolean":
        truth = {"True": True, "False": False, "1": True, "0": False}
        return pa.array([truth.get(v) for v in _texts(column)], pa.bool_())
    if column.storage == "time":
        times = _arrow_times(column)
        return times.cast(pa.string()) if column.dtype == "String" else times
    if column.dtype in ("String", "Categorical", "Enum"):
        return pa.array(_texts(column), pa.string())
    numbers = _as_number(column)
    missing = np.isnan(numbers)
    if "Int" in column.dtype:
        whole = np.round(np.where(missing, 0.0, numbers))
        target = getattr(pa, column.dtype.lower(), pa.int64)()
        limits = np.iinfo(target.to_pandas_dtype())
        whole = np.clip(whole, float(limits.min), float(limits.max))
        return pa.array(whole.astype(np.float64), mask=missing).cast(target, safe=False)
    target = pa.float32() if column.dtype == "Float32" else pa.float64()
    return pa.array(numbers, mask=missing).cast(target)


def _texts(column: RawColumn) -> Values:
    return column.values if column.storage == "text" else number_text(column.values)


def _arrow_times(column: RawColumn) -> pa.Array:
    missing = np.isnan(column.values)
    micro = np.where(missing, 0.0, np.round(column.values * 1e6)).astype(np.int64)
    if column.dtype == "Date":
        return pa.array(micro, mask=missing).cast(pa.timestamp("us")).cast(pa.date32(), safe=False)
    zone = column.dtype.split("time_zone=")[-1].rstrip(")").strip("'\"")
    unit = next((u for u in ("ns", "us", "ms") if f"'{u}'" in column.dtype), "us")
    aware = pa.timestamp("us", None if zone in ("None", column.dtype) else zone)
    return pa.array(micro, mask=missing).cast(aware).cast(pa.timestamp(unit, aware.tz), safe=False)
