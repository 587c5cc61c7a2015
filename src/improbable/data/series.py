"""Series in one piece, and their windows, put together when they are looked at."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from improbable.data.dates import DATE
from improbable.data.frames import Frame, read_frame
from improbable.data.parts import Floats
from improbable.data.raw import RawColumn, as_times, with_order
from improbable.data.rows import DenseRows
from improbable.data.timeline import Index, Timeline, blocks_of
from improbable.errors import DataError

TIME_NAMES = frozenset({"time", "timestamp", "date", "datetime", "ds"})
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
        again = self.timeline.repeated[self.index]
        out[again] = [f"{note}; {REPEATED}" if note else REPEATED for note in out[again]]
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


def timed(frame: Frame, time: str | None, head: Iterable[tuple[str, str, str]] = ()) -> Frame:
    """The frame, and its time as a column if the index of a pandas data frame holds it.

    Of dates such as 3/14/2025 the type of the column says the order.

    Parameters
    ----------
    frame : Frame
    time : str, optional
        Name of the column; "auto" takes an index of stamps where no column is of time.
    head : iterable of (str, str, str)
        Name, storage and type of the columns of time and entity at fit.
    """
    frame = _with_index(frame, time)
    name = (time_column(frame) if time == "auto" else time) or ""
    if name not in frame.columns:
        return frame
    at_fit = {known: dtype for known, _, dtype in head}.get(name, "")
    ordered = with_order(frame.columns[name], at_fit)
    return replace(frame, columns={**frame.columns, name: ordered})


def _with_index(frame: Frame, time: str | None) -> Frame:
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
    odd = np.flatnonzero(~np.isfinite(times))
    if len(odd):
        word = raw.values[odd[0]] if raw.storage == "text" else None
        such = f", as {word!r} is. Write them as {DATE}," if word else "."
        raise DataError(
            f"{len(odd)} of {len(times)} times in column {name!r} are missing or unreadable"
            f"{such} {'r' if word else 'R'}emove those rows, or fit without times."
        )
    return times
