"""Points as they come, one or a few at a time: read, put in order of time, seen in windows."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from improbable.data.fitted_column import Column
from improbable.data.frames import Frame, read_frame
from improbable.data.nested import flat_rows
from improbable.data.parts import Bools, Floats
from improbable.data.raw import RawColumn, as_times
from improbable.data.rows import DenseRows
from improbable.data.series import EARLY as EARLY
from improbable.data.series import timed
from improbable.data.stuck import alike
from improbable.data.table import TableCodec
from improbable.data.texts import number_text, time_text
from improbable.data.timeline import LONGEST_GAP, Index, Timeline, places_ahead
from improbable.data.window_rows import WindowRows
from improbable.data.windows import WindowCodec
from improbable.errors import DataError, ImprobableError, SchemaError
from improbable.judging import decoded_row, extended

NUMBERS = frozenset({float, int, np.float64, np.float32, np.int64, type(None)})
WORDS = frozenset({str, type(None)})
TRUTHS = frozenset({bool, np.bool_, type(None)})
LATE = "older than the newest point of its series: judged by what is kept, and not learned from"
AGAIN = "it takes the place of another point of the same time"


@dataclass(frozen=True)
class Points:
    """Points of one or many series, in the order in which they came.

    Attributes
    ----------
    frame : Frame
        Columns of values.
    cells : DenseRows
        The same, encoded.
    entities : list of str
        Series of each; "" if there is one only.
    times : ndarray of shape (n,), optional
        Seconds or numbers.
    stamps : list of str or float or None
        Times as they are told.
    """

    frame: Frame
    cells: DenseRows
    entities: list[str]
    times: Floats | None
    stamps: list[Any]

    def __len__(self) -> int:
        return self.frame.n_rows


@dataclass(frozen=True)
class Past:
    """What is kept of a series: its latest points, encoded, blank where none came.

    Attributes
    ----------
    cells : DenseRows
        As many as a window has, the oldest first.
    time : float
        Time of the latest; of the first where several share its place.
    age : int
        Places in time since the series began, or resumed after a long gap; no
        more than a window has are counted.
    stayed : ndarray of int of shape (length, n_columns)
        Points up to each one for which a column stayed the same.
    """

    cells: DenseRows
    time: float
    age: int
    stayed: Index


@dataclass(frozen=True)
class Placed:
    """Points in their windows, and what is kept once they are taken in.

    Attributes
    ----------
    rows : WindowRows or DenseRows
        A row a point.
    early, late, repeated : ndarray of bool of shape (n,)
        Points whose window begins before their series does, points older than
        the newest, and those that replace one.
    stayed : ndarray of int of shape (n, n_columns)
        Points up to each one for which a column stayed the same; no columns in tables.
    pasts : dict of str to Past
        Of the series that took part.
    """

    rows: WindowRows | DenseRows
    early: Bools
    late: Bools
    repeated: Bools
    stayed: Index
    pasts: dict[str, Past]


@dataclass(frozen=True)
class Reader:
    """What turns points of any form into encoded ones.

    Attributes
    ----------
    codec : TableCodec or WindowCodec
    point : TableCodec
        Of single points.
    known : Frame
        A row that can always be read: what a column is taken for must not depend
        on what else came at the same time.
    """

    codec: TableCodec | WindowCodec
    point: TableCodec
    known: Frame

    def read(self, data: Any) -> Points:
        """Points of a dict, a list of them, a data frame, an array or a number.

        Raises
        ------
        DataError, SchemaError
            If columns or times are missing.
        """
        time, entity = self._head
        frame = timed(self._frame(data), time, getattr(self.codec, "head", ()))
        for name in (time, entity):
            if name is not None and name not in frame.columns:
                raise SchemaError(f"Points lack the column {name!r}. Pass it with each of them.")
        columns = {n: raw for n, raw in frame.columns.items() if n not in (time, entity)}
        if isinstance(self.codec, WindowCodec):
            columns |= self.codec.told_by_calendar(frame)
        values = self.point.matched(replace(frame, columns=columns))
        times, stamps = (
            (None, [None] * frame.n_rows) if time is None else _times(time, frame.columns[time])
        )
        names = [""] * frame.n_rows if entity is None else _names(frame.columns[entity])
        return Points(values, self._cells(values), names, times, stamps)

    @property
    def entity(self) -> str | None:
        """Column that tells series apart, if there is one."""
        return self._head[1]

    @property
    def _head(self) -> tuple[str | None, str | None]:
        codec = self.codec
        return (codec.time, codec.entity) if isinstance(codec, WindowCodec) else (None, None)

    @property
    def _asked(self) -> list[Column]:
        """Columns that points must bring along: all but those of the calendar."""
        derived = self.codec.derived if isinstance(self.codec, WindowCodec) else ()
        return [column for column in self.point.columns if column.name not in derived]

    @property
    def _wanted(self) -> list[str] | None:
        """Columns to read where they have names; all if those of training had none."""
        head = [name for name in self._head if name is not None]
        names = [*head, *(column.name for column in self._asked)]
        return None if self.codec.library == "numpy" else names

    def _frame(self, data: Any) -> Frame:
        if isinstance(data, Frame):
            return data
        data = _point(data)
        if isinstance(data, int | float | np.number):
            raw = RawColumn(np.array([data], dtype=np.float64), "number", "Float64")
            return Frame({"x0": raw}, 1, "numpy")
        if isinstance(data, dict):
            data = [data]
        if isinstance(data, list | tuple) and data and isinstance(data[0], dict):
            return self._of_dicts(list(data))
        if hasattr(data, "to_frame") and getattr(data, "ndim", 1) == 1:
            labels = getattr(data, "index", ())  # of a row of a pandas data frame: its columns
            if any(column.name in labels for column in self._asked):
                return self._of_dicts([data.to_dict()])
            data = data.to_numpy()
        if isinstance(data, np.ndarray | list | tuple) and np.ndim(np.asarray(data, object)) == 1:
            one = -1 if self.codec.n_features == 1 else 1
            data = np.asarray(data, dtype=object if _mixed(data) else None)
            data = data.reshape(one, -1) if one == 1 else data.reshape(-1, 1)
        if isinstance(data, np.ndarray) and data.ndim == 2 and data.dtype == np.float64:
            raws = (RawColumn(column, "number", "Float64") for column in data.T.copy())
            return Frame({f"x{i}": raw for i, raw in enumerate(raws)}, len(data), "numpy")
        return _table(data, self._wanted)

    def _of_dicts(self, rows: list[Any]) -> Frame:
        """Columns of dicts: what a dict does not name is missing, as null is."""
        rows = flat_rows(rows) if all(isinstance(row, dict) for row in rows) else rows
        names = [column.name for column in self._asked]
        head = [name for name in self._head if name is not None]
        for row in rows:
            if not isinstance(row, dict):
                raise DataError("A list of dicts holds something else. Pass one dict a point.")
            if not any(name in row for name in names):
                raise SchemaError(
                    f"A point names none of the columns {', '.join(names)}. "
                    "Pass those seen at fit."
                )
        found = {name: _plain([row.get(name) for row in rows]) for name in [*head, *names]}
        odd = [name for name, raw in found.items() if raw is None]
        if odd:
            read = read_frame([{name: row.get(name) for name in odd} for row in rows])
            found.update(read.columns)
        columns = {name: raw for name, raw in found.items() if raw is not None}
        return Frame(columns, len(rows), self.codec.library)

    def _cells(self, values: Frame) -> DenseRows:
        same = all(values.columns[c.name].storage == c.storage for c in self.point.modeled)
        if same:
            return self.point.transform(values)
        return self.point.transform(extended(values, self.known)).take(slice(values.n_rows))


def reader_of(codec: TableCodec | WindowCodec) -> Reader:
    """Reader of the points that a codec was fitted on."""
    point = codec.point if isinstance(codec, WindowCodec) else codec
    return Reader(codec, point, decoded_row(point))


def _point(data: Any) -> Any:
    """Points as they are, a single value as a Python number; None is a missing one.

    Raises
    ------
    DataError
        If it is text.
    """
    if isinstance(data, np.generic) or isinstance(data, np.ndarray) and data.ndim == 0:
        data = data.item()
    if isinstance(data, str | bytes):
        raise _no_point(f"the text {data!r}")
    missing = data is None or type(data).__name__ in ("NAType", "NaTType")
    return np.nan if missing else data


def _table(data: Any, wanted: list[str] | None) -> Frame:
    if isinstance(data, Iterator):
        raise _no_point(f"one of type {type(data).__name__}")
    try:
        return read_frame(data, wanted)
    except ImprobableError:
        raise
    except ValueError as error:  # scikit-learn advises to reshape what is no point at all
        raise _no_point(f"one of type {type(data).__name__}") from error


def _no_point(found: str) -> DataError:
    return DataError(
        f"A point must be a number, a row, a dict or a data frame, not {found}. "
        "Pass one of these, as in push(1.5) or push({'x0': 1.5})."
    )


def _mixed(data: Any) -> bool:
    return any(isinstance(value, str) or value is None for value in data)


def _plain(cells: list[Any]) -> RawColumn | None:
    """Column of numbers, words or truth values; None of anything else."""
    types = {type(cell) for cell in cells}
    if types <= WORDS:
        return RawColumn(_objects(cells), "text", "String")
    if types <= TRUTHS:
        words = [None if cell is None else str(bool(cell)) for cell in cells]
        return RawColumn(_objects(words), "text", "Boolean")
    if types <= NUMBERS:
        numbers = [np.nan if cell is None else cell for cell in cells]
        return RawColumn(np.array(numbers, dtype=np.float64), "number", "Float64")
    return None


def _objects(cells: list[Any]) -> NDArray[np.object_]:
    out = np.empty(len(cells), dtype=object)
    out[:] = cells
    return out


def _times(name: str, raw: RawColumn) -> tuple[Floats, list[Any]]:
    """Times as numbers, and as they are told."""
    stamps: list[Any] = raw.values.tolist()
    times = as_times(raw)
    if not np.isfinite(times).all():
        raise DataError(
            f"A time in column {name!r} is missing or unreadable. Pass one with each point."
        )
    return times, time_text(times).tolist() if raw.storage == "time" else stamps


def _names(raw: RawColumn) -> list[str]:
    words = raw.values if raw.storage == "text" else number_text(raw.values)
    return ["" if word is None else str(word) for word in words]


def placed(codec: WindowCodec, points: Points, pasts: dict[str, Past]) -> Placed:
    """Points in the windows that end with them.

    Parameters
    ----------
    codec : WindowCodec
    points : Points
    pasts : dict of str to Past
        What is kept of each series before them.
    """
    length = int(codec.length)
    names = list(dict.fromkeys(points.entities))
    known = [name for name in names if name in pasts]
    pool = _joined([points.cells, _blank(points.cells), *(pasts[n].cells for n in known)])
    blank = len(points)
    lines = dict.fromkeys(names, [blank] * length)
    for i, name in enumerate(known):
        lines[name] = list(range(blank + 1 + i * length, blank + 1 + (i + 1) * length))
    last = {name: pasts[name].time for name in known}
    ages = {name: pasts[name].age for name in known}
    found = np.empty((len(points), length), dtype=np.intp)
    before, ahead = (np.empty(len(points), dtype=np.int64) for _ in range(2))
    early = np.zeros(len(points), dtype=bool)
    for i, name in enumerate(points.entities):
        time = last.get(name, 0.0) + 1.0 if points.times is None else float(points.times[i])
        step = 1 if name not in last else places_ahead(time, last[name], float(codec.step or 1.0))
        line = [*_before(lines[name], step, blank), i]
        found[i], before[i], ahead[i] = line[-length:], line[-2], step
        if step >= 0:
            ages[name] = min(_age(ages.get(name, 0), step), length)
            lines[name], last[name] = ([blank, *line])[-length:], time if step else last[name]
            early[i] = ages[name] < length
    stayed = _stayed(codec, pool, before, [pasts[name].stayed for name in known])
    taken = {}
    for name in names:
        kept = np.array(lines[name], dtype=np.intp)
        taken[name] = Past(pool.take(kept), last[name], ages[name], stayed[kept])
    windows = _windows(codec, pool, found)
    return Placed(windows, early, ahead < 0, ahead == 0, stayed[: len(points)], taken)


def _stayed(codec: WindowCodec, pool: DenseRows, before: Index, pasts: list[Index]) -> Index:
    """Points of a pool up to each one for which a column stayed the same, (n_pool, n_columns)."""
    n = len(before)
    same = alike(pool.take(before), pool.take(slice(n)), codec.point)
    alone = np.where(pool.missing[: n + 1], 0, 1)  # new points, and the blank
    stayed = np.concatenate([alone, *pasts])
    for i, other in enumerate(before.tolist()):
        stayed[i] += np.where(same[i], stayed[other], 0)
    return stayed


def _age(age: int, ahead: int) -> int:
    return 1 if ahead > LONGEST_GAP else age + ahead


def _before(line: list[int], ahead: int, blank: int) -> list[int]:
    """Points before one that lies so many places ahead of the newest, as many or more as fit."""
    length = len(line)
    if ahead > LONGEST_GAP:
        return [blank] * length
    if ahead >= 1:
        return [*line, *[blank] * (ahead - 1)][-length:]
    return [blank] * length + line[: max(length - 1 + ahead, 0)]


def _windows(codec: WindowCodec, pool: DenseRows, places: NDArray[np.intp]) -> WindowRows:
    """Windows of points of a pool, laid side by side."""
    n, length = places.shape
    nothing = np.zeros(n * length, dtype=np.intp)
    timeline = Timeline(nothing, nothing, nothing, nothing[:0].astype(bool), 1.0)
    ends = np.arange(1, n + 1) * length - 1
    return WindowRows(pool.take(places.ravel()), timeline, codec.layout, ends, spread=False)


def _blank(cells: DenseRows) -> DenseRows:
    """One point of which everything is missing."""
    arrays = {}
    for field in fields(cells):
        source = getattr(cells, field.name)
        arrays[field.name] = np.full((1, source.shape[1]), field.name == "missing", source.dtype)
    return DenseRows(**arrays)


def _joined(rows: list[DenseRows]) -> DenseRows:
    return DenseRows(
        *(np.concatenate([getattr(r, f.name) for r in rows]) for f in fields(DenseRows))
    )
