"""The only door for tables: any data frame, array or list to plain columns, and back."""

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

import narwhals as nw
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.utils.validation import check_array

from improbable.data.decimals import decimal_type
from improbable.data.lines import TICKS
from improbable.data.native import (
    index_columns,
    is_null,
    narrowed,
    pandas_types,
    refuse_what_is_no_table,
    with_types,
    without_periods,
    without_views,
)
from improbable.data.nested import flat_rows, parents, unnested
from improbable.data.objects import NUMBERS, as_text, clocks, read_objects
from improbable.data.parts import Floats
from improbable.data.raw import RawColumn, Values, arrow_column
from improbable.errors import DataError

NESTED = (dict, list, tuple, set, np.ndarray, complex)


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
    row_labels : pandas.Index, optional
        Index of a pandas data frame, which results keep.
    labels : dict of str to object
        What columns are called that have no text for a name, as in pandas, by its text.
    types : dict of str to str
        Types of a pandas data frame that NumPy has not, by column, which results keep.
    index_columns : tuple of str
        Columns of an Arrow table that were the index of a pandas data frame.
    unread : tuple of str
        Names of columns that were not asked for.
    """

    columns: dict[str, RawColumn]
    n_rows: int
    library: str
    row_labels: Any = field(default=None, compare=False)
    labels: dict[str, Any] = field(default_factory=dict, compare=False)
    types: dict[str, str] = field(default_factory=dict, compare=False)
    index_columns: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def named(self) -> bool:
        """Whether the names came with the data."""
        return self.library != "numpy"

    @property
    def groups(self) -> None:
        """Rows do not overlap."""
        return None

    def take(self, index: NDArray[np.intp]) -> "Frame":
        """Rows at the given positions."""
        columns = {
            name: RawColumn(raw.values[index], raw.storage, raw.dtype)
            for name, raw in self.columns.items()
        }
        labels = None if self.row_labels is None else self.row_labels[index]
        return replace(self, columns=columns, n_rows=len(index), row_labels=labels)

    def to_native(self) -> Any:
        """Data frame of its library, or an array."""
        plain = write_frame(self.columns, self.library, self.row_labels)
        table = with_types(plain, self.types)
        return table.rename(columns=self.labels) if self.labels else table


def read_frame(data: Any, wanted: Collection[str] | None = None) -> Frame:
    """Plain columns of anything that holds a table.

    Parameters
    ----------
    data : data frame (pandas, polars, Arrow, ...), array or list
        Two-dimensional. A list may hold rows or dicts.
    wanted : collection of str, optional
        Columns to read where they have names; all if None.

    Returns
    -------
    Frame

    Raises
    ------
    DataError
        If it is no table, names repeat, or cells hold lists.
    ValueError, TypeError
        scikit-learn's own messages about arrays: sparse, complex, not two-dimensional.
    """
    wanted = None if wanted is None else set(wanted)
    if isinstance(data, list | tuple) and data and isinstance(data[0], dict):
        data = _from_dicts(data, wanted)
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    asked = None if wanted is None else set(wanted) | parents(wanted)
    data, unread = narrowed(data, asked)
    data = without_views(data) if isinstance(data, pa.Table) else without_periods(data)
    try:
        frame = nw.from_native(data)
    except nw.exceptions.DuplicateError as error:
        raise DataError(f"Column names repeat ({error}). Rename them apart.") from error
    except (TypeError, ValueError):
        return _read_array(data)
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    others = () if asked is None else tuple(n for n in frame.columns if str(n) not in asked)
    if others:
        unread, frame = unread + others, frame.drop(others)
    read = _read_narwhals(frame, wanted)
    types = pandas_types(data)
    return replace(read, index_columns=index_columns(data), unread=unread, types=types)


def _from_dicts(rows: Sequence[Any], wanted: Collection[str] | None) -> pa.Table:
    if not all(isinstance(row, dict) for row in rows):
        raise DataError("A list of dicts holds something else. Pass one dict for each row.")
    rows = flat_rows(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    nothing, columns = pa.nulls(len(rows)), {}
    for name in names:
        asked = wanted is None or str(name) in wanted
        columns[str(name)] = arrow_cells([row.get(name) for row in rows]) if asked else nothing
    return pa.table(columns)


def arrow_cells(cells: list[Any], kind: pa.DataType | None = None) -> pa.Array:
    """Cells in a type, inferred if None; those of several types become text."""
    with suppress(ValueError, TypeError, OverflowError, NotImplementedError):
        found = pa.array(cells, kind)
        if not pa.types.is_temporal(found.type) or all(map(_is_no_tick, cells)):
            return found
    present = [None if is_null(cell) else cell for cell in cells]
    if present.count(None) > cells.count(None):
        return arrow_cells(present, kind)
    return pa.array(as_text(cells), pa.string())


def _is_no_tick(cell: Any) -> bool:
    """Whether a cell is no number and no NaT, which pyarrow takes for ticks beside times."""
    number = isinstance(cell, NUMBERS) and not isinstance(cell, np.timedelta64)
    return cell is None or not (number or is_null(cell))


def _read_narwhals(frame: nw.DataFrame[Any], wanted: Collection[str] | None) -> Frame:
    series = [pair for column in frame.iter_columns() for pair in unnested(column)]
    repeated = sorted(n for n, times in Counter(name for name, _ in series).items() if times > 1)
    if repeated:
        raise DataError(f"Column names repeat: {', '.join(repeated)}. Rename them apart.")
    columns = {name: _read_series(s) for name, s in series if wanted is None or name in wanted}
    rows = nw.maybe_get_index(frame)
    labels = {str(name): name for name in frame.columns if not isinstance(name, str)}
    return Frame(columns, len(frame), str(frame.implementation.value), rows, labels)


def _read_series(series: nw.Series[Any]) -> RawColumn:
    dtype = series.dtype
    if dtype.is_numeric():
        numbers = _numbers(series)
        name = _number_type(series, numbers)
        if dtype.is_integer() and np.nanmax(np.abs(numbers), initial=0.0) >= 2.0**53:
            cells = series.to_arrow().cast(pa.string()).to_pylist()
            return RawColumn(as_text(cells), "text", name)
        return RawColumn(numbers, "number", name)
    if dtype == nw.Date:
        return RawColumn(_seconds(series, pa.timestamp("us")), "time", str(dtype))
    if dtype == nw.Datetime or _has_zone(series):
        kind = series.to_arrow().type
        name = f"Datetime(time_unit={kind.unit!r}, time_zone={kind.tz!r})"
        return RawColumn(_seconds(series, pa.timestamp("us", kind.tz)), "time", name)
    if dtype == nw.Duration:
        return RawColumn(_durations(series), "number", str(dtype))
    if dtype == nw.Time:
        return clocks(series.to_arrow())
    cells = series.to_list()
    odd = any(issubclass(kind, NESTED) for kind in set(map(type, cells)))
    nested = next(cell for cell in cells if isinstance(cell, NESTED)) if odd else None
    if nested is not None or dtype.is_nested():
        raise DataError(
            f"Column {series.name!r} holds cells of type {_type_of(nested, dtype)}. "
            f"Give each of their entries a column of its own."
        )
    if dtype in (nw.Boolean, nw.Categorical, nw.Enum):
        return RawColumn(as_text(cells), "text", str(dtype).split("(")[0])
    return read_objects(cells)


def _number_type(series: nw.Series[Any], numbers: Floats) -> str:
    if series.dtype != nw.Decimal:
        return str(series.dtype)
    kind = series.to_arrow().type
    return decimal_type(numbers, kind.precision, kind.scale)


def _type_of(cell: Any, dtype: Any) -> str:
    return str(dtype) if cell is None else type(cell).__name__


def _has_zone(series: nw.Series[Any]) -> bool:
    """Whether pandas holds moments of a zone, among them those whose name narwhals cannot read."""
    return getattr(getattr(series.to_native(), "dtype", None), "tz", None) is not None


def _numbers(series: nw.Series[Any]) -> Floats:
    values: Floats = np.asarray(series.to_arrow().to_numpy(zero_copy_only=False), dtype=np.float64)
    return values


def _seconds(series: nw.Series[Any], ticks: pa.DataType) -> Floats:
    cells = pa.array([], ticks) if len(series) == 0 else series.to_arrow()
    micro = cells.cast(ticks, safe=False).cast(pa.int64())
    seconds: Floats = micro.to_numpy(zero_copy_only=False).astype(np.float64) / 1e6
    return seconds


def _durations(series: nw.Series[Any]) -> Floats:
    """Seconds, to the last digit, so that they are the same written as text."""
    cells = pa.array([], pa.duration("us")) if len(series) == 0 else series.to_arrow()
    ticks = cells.cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.float64)
    seconds: Floats = ticks / TICKS[cells.type.unit]
    return seconds


def _read_array(data: Any) -> Frame:
    refuse_what_is_no_table(data)
    if getattr(data, "ndim", 2) > 2:
        raise DataError(
            f"Found array with dim {data.ndim}, a table has 2. "
            "Images go to VAEDetector(codec=ImageCodec())."
        )
    if isinstance(data, np.ma.MaskedArray):
        hidden, data = np.ma.getmaskarray(data), np.array(data.data, dtype=object)
        data[hidden] = None
    mixed = isinstance(data, list | tuple) and _holds_text(data)
    array = check_array(
        np.array(data, dtype=object) if mixed else data,
        dtype=None,
        ensure_all_finite=False,
        ensure_min_samples=0,
    )
    if array.dtype.kind in "fiub":
        numbers = np.array(array.T, dtype=np.float64, order="C")
        columns = [RawColumn(column, "number", _type_name(array.dtype)) for column in numbers]
    elif array.dtype.kind in "mM":
        columns = [_read_ticks(column) for column in array.T]
    else:
        objects = array.astype(object)
        _refuse_nested(objects)
        columns = [read_objects(column) for column in objects.T]
    named = {f"x{i}": column for i, column in enumerate(columns)}
    return Frame(named, len(array), "numpy")


def _type_name(dtype: np.dtype[Any]) -> str:
    """Name that data frames have for the numbers of an array."""
    bits = 8 * dtype.itemsize
    if dtype.kind == "f":
        return "Float64" if bits > 32 else "Float32"
    return {"i": f"Int{bits}", "u": f"UInt{bits}"}.get(dtype.kind, "Boolean")


def _holds_text(rows: Any) -> bool:
    """Whether NumPy would turn all cells of some rows into text because one is."""
    try:
        return np.asarray(rows).dtype.kind in "US"
    except ValueError:
        return False


def _read_ticks(column: Values) -> RawColumn:
    micro = column.astype(f"{column.dtype.kind}8[us]")
    seconds = np.where(np.isnat(column), np.nan, micro.astype(np.int64) / 1e6)
    if column.dtype.kind == "M":
        return RawColumn(seconds, "time", "Datetime(time_unit='us', time_zone=None)")
    return RawColumn(seconds, "number", "Duration(time_unit='us')")


def _refuse_nested(objects: Values) -> None:
    for value in objects.flat:
        if isinstance(value, NESTED):
            raise TypeError(
                f"argument must be a string or a number, got a cell of type {type(value).__name__}"
            )


def frame_library(library: str) -> str:
    """Library of data frames to use for results: pyarrow where the data came as an array."""
    return "pyarrow" if library == "numpy" else library


def write_frame(columns: dict[str, RawColumn], library: str, row_labels: Any = None) -> Any:
    """Native table of plain columns: the data frame of `library`, or an array for "numpy".

    Parameters
    ----------
    columns : dict of str to RawColumn
    library : str
    row_labels : pandas.Index, optional
        Index of the data frame, so that rows can be matched with those they speak of.
    """
    if library == "numpy":
        return _write_array(list(columns.values()))
    arrow = pa.table({name: arrow_column(column) for name, column in columns.items()})
    if library == "pyarrow":
        return arrow
    try:
        frame = nw.from_arrow(arrow, backend=cast(Any, library))
    except (ModuleNotFoundError, ImportError, ValueError):
        return arrow
    for name, column in columns.items():
        if column.dtype in ("Categorical", "Enum"):
            frame = frame.with_columns(nw.col(name).cast(nw.Categorical))
    table = frame.to_native()
    labeled = row_labels is not None and frame.implementation.is_pandas_like()
    return table.set_axis(row_labels) if labeled else table


def _write_array(columns: list[RawColumn]) -> Values:
    cells = [arrow_column(column) for column in columns]
    alike = len({column.type for column in cells}) == 1 and not pa.types.is_string(cells[0].type)
    if alike and (pa.types.is_floating(cells[0].type) or not any(c.null_count for c in cells)):
        return np.column_stack([column.to_numpy(zero_copy_only=False) for column in cells])
    out = np.empty((len(cells[0]), len(cells)), dtype=object)
    for i, column in enumerate(cells):
        out[:, i] = column.to_pylist()
    return out
