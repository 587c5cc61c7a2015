"""Series in one piece, and their windows, put together when they are looked at."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from improbable.data.frames import Frame, read_frame
from improbable.data.holes import windows_around
from improbable.data.parts import Bools, Floats, Part
from improbable.data.raw import RawColumn, as_times
from improbable.data.rows import DenseRows
from improbable.data.timeline import Index, Timeline, blocks_of, window_ends
from improbable.errors import DataError

LONGEST_BRIDGE = 8
TIME_NAMES = frozenset({"time", "timestamp", "date", "datetime", "ds"})
NUMBERS = ("normal", "normal_per_column", "normal_fixed", "student_t")
EARLY = "its window is not full yet"
REPEATED = "a later row has the same time and takes its place"


@dataclass(frozen=True)
class Series:
    """Rows of one or many series, with their neighbors in time.

    Attributes
    ----------
    frame : Frame
        All rows as they came.
    timeline : Timeline
        Where they lie in time.
    length : int
        Points of a window.
    index : ndarray of int of shape (n_rows,)
        Rows that are asked for.
    points : DenseRows, optional
        All rows encoded, at their places in time.
    in_index : str, optional
        Column of the frame that came as the index of a pandas data frame.
    """

    frame: Frame
    timeline: Timeline
    length: int
    index: Index
    points: DenseRows | None = None
    in_index: str | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows asked for."""
        return len(self.index)

    @property
    def library(self) -> str:
        """What tables about the rows come back as."""
        return self.frame.library

    def remarks(self, *, whole: bool) -> NDArray[np.object_]:
        """What is unusual about where rows lie, in words; `whole` if windows need to be full."""
        slots = self.timeline.slot[self.index]
        early = slots - self.timeline.start[slots] < self.length - 1
        out = np.where(early & whole, EARLY, "").astype(object)
        out[self.timeline.repeated[self.index]] = REPEATED
        return out

    @property
    def row_labels(self) -> Any:
        """Their index, if they came in a pandas data frame."""
        labels = self.frame.row_labels
        return None if labels is None else labels[self.index]

    @property
    def groups(self) -> Index:
        """Stretch of time that each row belongs to, -1 for none; see `timeline.blocks_of`."""
        found: Index = blocks_of(self.timeline, self.length)[self.index]
        return found

    def take(self, index: NDArray[np.intp]) -> Self:
        """The rows at the given positions, their neighbors kept at hand."""
        return replace(self, index=self.index[index])

    @property
    def rows(self) -> Frame:
        """The rows asked for."""
        return self.frame.take(self.index)

    @property
    def came(self) -> Frame:
        """The rows asked for with the columns that the user passed."""
        columns = {name: raw for name, raw in self.frame.columns.items() if name != self.in_index}
        return replace(self.frame, columns=columns).take(self.index)

    def to_native(self) -> Any:
        """The rows asked for as the user passed them."""
        return self.came.to_native()


@dataclass(frozen=True)
class Layout:
    """Order of a window's entries: those of a part side by side, the oldest point first.

    Attributes
    ----------
    length : int
        Points of a window.
    parts : tuple of Part
        Of one point.
    part_columns : ndarray of int of shape (n_parts,)
        Column that each part belongs to.
    """

    length: int
    parts: tuple[Part, ...]
    part_columns: Index

    @cached_property
    def entries(self) -> Index:
        """Where each entry of a window lies among its points' entries."""
        width = sum(part.width for part in self.parts)
        firsts = np.cumsum([0, *(part.width for part in self.parts)])
        found = [
            lag * width + first + np.arange(part.width)
            for part, first in zip(self.parts, firsts, strict=False)
            for lag in range(self.length)
        ]
        return np.concatenate(found)

    @cached_property
    def blocks(self) -> Index:
        """Where each part of a window lies among its points' parts."""
        n = len(self.parts)
        return (np.arange(self.length) * n + np.arange(n)[:, None]).ravel()

    @cached_property
    def undone(self) -> Index:
        """Where each entry of the points lies in a window."""
        return np.argsort(self.entries)


@dataclass(frozen=True)
class WindowRows:
    """Windows of points, put together when they are looked at.

    Attributes
    ----------
    points : DenseRows
        One row a place of the timeline, and at the end one for all that is
        missing.
    timeline : Timeline
    layout : Layout
    ends : ndarray of int of shape (n,)
        Place of each window's last point.
    spread : bool
        Whether a row is judged by all windows that contain it, or by the one
        that ends with it.
    stride : int
        Rows from one of these windows to the next.
    """

    points: DenseRows
    timeline: Timeline
    layout: Layout
    ends: Index
    spread: bool
    stride: int = 1

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def _places(self) -> Index:
        """Places of the windows' points, the oldest first, shape (n, length)."""
        back = self.ends[:, None] - np.arange(self.layout.length - 1, -1, -1)
        return np.where(back < self.timeline.start[self.ends][:, None], -1, back)

    @property
    def values(self) -> NDArray[Any]:
        """Encoded entries, zero where not observed."""
        return self._gathered(self.points.values)[:, self.layout.entries]

    @property
    def observed(self) -> Bools:
        """True where the likelihood of a part has a value to judge."""
        return self._gathered(self.points.observed)[:, self.layout.blocks]

    @property
    def offsets(self) -> Floats:
        """Log probabilities that no likelihood judges, summed over what is judged, nats."""
        if not self.spread:
            return self.points.offsets[self.ends]
        out = np.zeros((len(self), self.points.offsets.shape[1]))
        if self.points.offsets.any():
            for places in self._places.T:
                out += self.points.offsets[places]
        return out

    @property
    def absent(self) -> NDArray[Any]:
        """Share of each column's points that are missing from what is judged."""
        if not self.spread:
            return self.missing
        gone = self.points.missing[:-1]
        before = np.zeros((len(gone) + 1, gone.shape[1]), dtype=np.int64)
        np.cumsum(gone, axis=0, out=before[1:])
        first = np.maximum(self.ends - self.layout.length + 1, self.timeline.start[self.ends])
        outside = self.layout.length - (self.ends + 1 - first)
        return (before[self.ends + 1] - before[first] + outside[:, None]) / self.layout.length

    def _gathered(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Cells of the windows' points, one point after the other."""
        return cells[self._places].reshape(len(self), self.layout.length * cells.shape[1])

    @property
    def missing(self) -> Bools:
        """Whether the last point's cell is missing."""
        return self.points.missing[self.ends]

    @property
    def unseen(self) -> Bools:
        """Whether the last point's cell was never seen."""
        return self.points.unseen[self.ends]

    @property
    def out_of_range(self) -> Bools:
        """Whether the last point's cell is outside the training range."""
        return self.points.out_of_range[self.ends]

    def take(self, index: NDArray[np.intp] | slice) -> Self:
        """Windows at the given positions."""
        return replace(self, ends=self.ends[index])

    def bridged(self) -> Self:
        """The same windows over points whose short gaps are closed."""
        return replace(self, points=bridged(self.points, self.timeline, self.layout))

    def widened(self) -> Self:
        """All windows to judge that contain the last points of these."""
        if not self.spread:
            return self
        wanted = np.zeros(len(self.timeline.row) + self.layout.length, dtype=bool)
        for ahead in range(self.layout.length):
            wanted[self.ends + ahead] = True
        judged = window_ends(self.timeline, self.layout.length, self.stride)
        return replace(self, ends=np.flatnonzero(wanted[: len(judged)] & judged))

    def surrounding(self) -> Self:
        """All windows that hold the last points of these where a cell has no value."""
        timeline = self.timeline
        again = np.isin(self.ends, timeline.slot[timeline.repeated])
        gone = again | (self.missing | self.unseen).any(axis=1)
        return replace(self, ends=windows_around(self.ends[gone], timeline, self.layout.length))

    def pooled(self, values: Floats) -> Floats:
        """Mean over the windows to judge that contain each of these windows' last points."""
        if not self.spread:
            return values
        length, n_places = self.layout.length, len(self.timeline.row)
        at = np.zeros((n_places + 1, *values.shape[1:]))
        known = np.zeros(n_places + 1)
        ends = self.widened().ends
        at[ends], known[ends] = values, 1.0
        total, count = np.zeros((len(self), *values.shape[1:])), np.zeros(len(self))
        last = self.timeline.end[self.ends]
        for ahead in range(length):
            place = np.where(self.ends + ahead > last, n_places, self.ends + ahead)
            total += at[place]
            count += known[place]
        return total / count.reshape(-1, *[1] * (values.ndim - 1))


def placed(cells: DenseRows, places: Index, n_places: int) -> DenseRows:
    """Cells at their places; elsewhere, and at one further place, everything is missing."""
    arrays = {}
    for field in fields(cells):
        source = getattr(cells, field.name)
        blank = field.name == "missing"
        array = np.full((n_places + 1, source.shape[1]), blank, dtype=source.dtype)
        array[places] = source
        arrays[field.name] = array
    return DenseRows(**arrays)


def bridged(points: DenseRows, timeline: Timeline, layout: Layout) -> DenseRows:
    """Points whose missing cells lie on the line between their neighbors in time.

    Cells that are no plain numbers are those of the point before. Gaps of more
    than `LONGEST_BRIDGE` points stay open. It is for learning alone: networks that
    saw blanks in training judge windows without any less well.
    """
    values, observed = points.values.copy(), points.observed.copy()
    place, first = np.arange(len(timeline.row)), 0
    for p, part in enumerate(layout.parts):
        entries, first = slice(first, first + part.width), first + part.width
        known = ~points.missing[:-1, layout.part_columns[p]]
        before = np.maximum.accumulate(np.where(known, place, -1))
        after = np.minimum.accumulate(np.where(known, place, len(place))[::-1])[::-1]
        near = (before >= timeline.start) & (after <= timeline.end)
        gap = np.flatnonzero(~known & near & (after - before <= LONGEST_BRIDGE + 1))
        a, b = before[gap], after[gap]
        line = observed[a, p] & observed[b, p] & (part.likelihood in NUMBERS)
        weight = np.where(line, (gap - a) / (b - a), 0.0)[:, None]
        values[gap, entries] = (1.0 - weight) * values[a, entries] + weight * values[b, entries]
        observed[gap, p] = observed[a, p]
    return replace(points, values=values, observed=observed)


def read_points(
    data: Any, heads: Iterable[tuple[str, str, str]] = (), library: str = "numpy"
) -> Frame:
    """Plain columns of a table, or of one series of numbers.

    Parameters
    ----------
    data : data frame, array or list
    heads : iterable of (str, str, str)
        Name, storage and type of the columns seen at fit, which alone are read.
    library : str
        That it came from.
    """
    if isinstance(data, Frame):
        return data
    if hasattr(data, "to_frame") and getattr(data, "ndim", 1) == 1:
        return read_frame(data.to_frame())
    flat = np.ndim(data) == 1 if isinstance(data, np.ndarray | list | tuple) else False
    if flat and not len(data):
        types = {"text": object}
        columns = {
            name: RawColumn(np.empty(0, types.get(storage, np.float64)), storage, dtype)
            for name, storage, dtype in heads
        }
        return Frame(columns, 0, library)
    if flat and not isinstance(data[0], dict):
        return read_frame([[value] for value in data])
    return read_frame(data, None if library == "numpy" else [name for name, _, _ in heads])


def timed(frame: Frame, time: str | None) -> Frame:
    """The frame, and its time as a column if the index of a pandas data frame holds it.

    Parameters
    ----------
    frame : Frame
    time : str, optional
        Name of the column; "auto" takes an index of stamps where no column is of time.
    """
    labels = frame.row_labels
    if time is None or labels is None or time in frame.columns:
        return frame
    stamps = labels.dtype.kind == "M"
    if not stamps and labels.name != time or time == "auto" and time_column(frame) is not None:
        return frame
    name = str(labels.name or "time") if time == "auto" else time
    column = read_frame(labels.to_frame(index=False, name=name)).columns[name]
    return replace(frame, columns={name: column, **frame.columns})


def index_column(came: Frame, frame: Frame) -> str | None:
    """Column that `timed` has made of the index, if it has."""
    return next((name for name in frame.columns if name not in came.columns), None)


def time_column(frame: Frame) -> str | None:
    """The only column of stamps, or else the only one that is called as times are."""
    stamps = [name for name, raw in frame.columns.items() if raw.storage == "time"]
    named = [name for name in frame.columns if name.lower() in TIME_NAMES]
    found = stamps if len(stamps) == 1 else named
    return found[0] if len(found) == 1 else None


def seconds_of(name: str, raw: RawColumn) -> Floats:
    """Times of a column, all of them known.

    Raises
    ------
    DataError
        If some are missing or unreadable.
    """
    times = as_times(raw)
    if not np.isfinite(times).all():
        raise DataError(
            f"{np.count_nonzero(~np.isfinite(times))} of {len(times)} times in column {name!r} "
            "are missing or unreadable. Remove those rows, or pass time=None."
        )
    return times
