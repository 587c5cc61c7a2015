"""Series to windows and back: the codec of time series."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from improbable.data.calendar import calendar_columns, calendar_kinds, check_calendar, column_of
from improbable.data.codec import Span
from improbable.data.fitted_column import Column
from improbable.data.frames import Frame
from improbable.data.holes import mean_of_windows
from improbable.data.parts import Bools, Floats, Part
from improbable.data.periods import usual_length
from improbable.data.raw import RawColumn, Values
from improbable.data.remarks import add_notes
from improbable.data.rows import DenseRows, Rows
from improbable.data.series import (
    Series,
    index_column,
    read_points,
    seconds_of,
    time_column,
    timed,
)
from improbable.data.stuck import longest_runs, runs, stuck_remarks
from improbable.data.table import TableCodec
from improbable.data.timeline import Index, Timeline, lay_out
from improbable.data.window_checks import check_choices, check_names, check_timeline, check_times
from improbable.data.window_json import window_from_json, window_to_json
from improbable.data.window_rows import Layout, WindowRows, placed
from improbable.errors import DataError

FEWEST = 4


@dataclass(frozen=True)
class WindowCodec:
    """Codec of time series: every row is judged within the window of rows around it.

    Parameters
    ----------
    length : int or "auto"
        Points of a window; "auto" takes whole periods, 64 points or just above (of
        several columns 32), or so many points if nothing repeats itself.
    time : str or None
        Column of time stamps, or of numbers such as seconds; "auto" takes the only
        one of stamps, or one called "time", "timestamp", "date", "datetime" or
        "ds", or a pandas index of stamps. Rows are in order if there is none.
    entity : str, optional
        Column that tells series apart.
    score_of : {"all", "last"}
        Whether a row's score is the mean over all whole windows that contain it, or
        that of its own log probability in the window that ends with it, as
        streams need it.
    kinds, likelihood
        Of the other columns, as in `TableCodec`; "auto" is "normal_per_column" for
        numbers: a scale for each column and point of a window, whatever z.
    network : {"mlp", "gru", "conv"}
        What reads and writes windows: perceptrons, all points at once, or gated
        recurrent units or dilated convolutions, point by point.
    calendar : sequence of {"hour", "weekday"}
        What a row's time stamp tells of it, each as one more column that is judged.
    stride : int
        Rows from one window to the next of those whose mean is a row's score: 1
        for all of them, more for fewer, faster.

    Attributes
    ----------
    step : float
        Time between points.
    point : TableCodec
        Codec of single points.
    head : tuple of (str, str, str)
        Name, storage and type of the columns of time and entity.
    whole : bool
        Whether "all" means all whole windows; see `WindowRows`.
    longest : tuple of int
        Rows for which each column of numbers stayed the same in training, at most;
        0 for other columns.
    """

    length: int | str = "auto"
    time: str | None = "auto"
    entity: str | None = None
    score_of: str = "all"
    kinds: Any = None
    likelihood: Any = "auto"
    network: str = "mlp"
    calendar: Sequence[str] = ()
    stride: int = 1
    step: float | None = field(default=None, repr=False)
    point: TableCodec = field(default=TableCodec(), repr=False)
    head: tuple[tuple[str, str, str], ...] = field(default=(), repr=False)
    whole: bool = field(default=True, repr=False)
    longest: tuple[int, ...] = field(default=(), repr=False)

    def open(self, data: Any) -> Series:
        """Rows of series, before anything is known of them.

        Raises
        ------
        DataError, SchemaError
            If there are too few rows, or no such column.
        """
        if isinstance(data, Series):
            return data
        check_choices(vars(self))
        came = read_points(data)
        frame = timed(came, self.time)
        if frame.n_rows < FEWEST:
            raise DataError(
                f"{frame.n_rows} rows are too few for a series. Pass {FEWEST} rows or more."
            )
        opened = replace(self, time=self._time_column(frame))
        timeline = opened._timeline(frame)
        length = self.length
        if isinstance(length, str):
            length = usual_length(opened._own(frame), timeline)
        check_timeline(timeline, length)
        check_calendar(self.calendar, opened.time)
        index = np.arange(frame.n_rows)
        return Series(frame, timeline, length, index, in_index=index_column(came, frame))

    def fit(self, data: Any, trusted: NDArray[np.intp] | None = None) -> Self:
        """Codec that knows the columns, the time between points and the length of windows."""
        series = self.open(data)
        time = self._time_column(series.frame)
        opened = replace(self, time=time, length=series.length, step=series.timeline.step)
        likelihood = "normal_per_column" if self.likelihood == "auto" else self.likelihood
        kinds = calendar_kinds(time, self.calendar, self.kinds)
        point = TableCodec(kinds, likelihood)
        point = point.fit(opened._values(series.rows), trusted)
        head = tuple(
            (name, raw.storage, raw.dtype)
            for name, raw in series.frame.columns.items()
            if name in (time, self.entity)
        )
        fitted = replace(opened, point=point, head=head)
        stayed = runs(fitted._encoded(series), series.timeline, point)
        return replace(fitted, longest=longest_runs(stayed, point))

    def _time_column(self, frame: Frame) -> str | None:
        return time_column(frame) if self.time == "auto" else self.time

    def _timeline(self, frame: Frame) -> Timeline:
        check_names({"time": self.time, "entity": self.entity}, frame, fitted=bool(self.head))
        entities = None
        if self.entity is not None:
            names = frame.columns[self.entity].values.astype(str)
            entities = np.unique(names, return_inverse=True)[1].astype(np.int64)
        times = None if self.time is None else seconds_of(self.time, frame.columns[self.time])
        return lay_out(times, entities, frame.n_rows, self.step)

    def _values(self, frame: Frame) -> Frame:
        """The columns that are judged: those of values, and the calendar's."""
        own = self._own(frame)
        return replace(own, columns={**own.columns, **self.told_by_calendar(frame)})

    def told_by_calendar(self, frame: Frame) -> dict[str, RawColumn]:
        """Columns of what the calendar says of the rows of a frame."""
        at_fit = {name: dtype for name, _, dtype in self.head}.get(self.time or "")
        stamps = frame.columns.get(self.time or "")
        return calendar_columns(self.time, stamps, self.calendar, at_fit)

    def _own(self, frame: Frame) -> Frame:
        """The columns of values: all but time and entity."""
        apart = (self.time, self.entity)
        columns = {name: raw for name, raw in frame.columns.items() if name not in apart}
        if not (columns or frame.unread):
            raise DataError("The series has no column of values. Pass one or more.")
        return replace(frame, columns=columns)

    @property
    def library(self) -> str:
        """Where the training series came from."""
        return self.point.library

    @cached_property
    def layout(self) -> Layout:
        """Order of a window's entries."""
        return Layout(int(self.length), self.point.parts, self.point.part_columns)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Parts of a window: each part of a point, at every lag."""
        return tuple(part for part in self.point.parts for _ in range(int(self.length)))

    @cached_property
    def part_columns(self) -> NDArray[np.int64]:
        """Column that each part belongs to, shape (n_parts,)."""
        return np.repeat(self.point.part_columns, int(self.length))

    @cached_property
    def span(self) -> Span:
        """Points of a window: each may be missing by itself, and perhaps the last alone counts."""
        length = int(self.length)
        lags = np.tile(np.arange(length), len(self.point.parts))
        judged: Bools | None = lags == length - 1 if self.score_of == "last" else None
        return Span(length, self.part_columns * length + lags, judged)

    def sizes(self, rows: Rows) -> NDArray[np.int64]:
        """Points of what judges each row; see `WindowRows.sizes`."""
        whole = np.full(len(rows), int(self.length))
        return rows.sizes if isinstance(rows, WindowRows) else whole

    @property
    def modeled(self) -> tuple[Column, ...]:
        """Columns that take part in the score."""
        return self.point.modeled

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that take part in the score."""
        return self.point.names

    @cached_property
    def event_size(self) -> int:
        """Entries of a window."""
        return sum(part.width for part in self.parts)

    @property
    def n_features(self) -> int:
        """Columns of the series, time and entity included."""
        return self.point.n_features + len(self.head) - len(self.calendar)

    @property
    def feature_names(self) -> list[str] | None:
        """Names of the columns, if they came with the data."""
        values = self.point.feature_names
        own = [name for name in values or [] if name not in self.derived]
        return None if values is None else [name for name, _, _ in self.head] + own

    @property
    def shape(self) -> tuple[int, ...]:
        """Points of a window, and entries of each."""
        return (int(self.length), self.point.event_size)

    def read(self, data: Any) -> Series:
        """Rows of series with the columns seen at fit.

        Raises
        ------
        DataError, SchemaError
            If columns are missing or of another type.

        Warns
        -----
        DataWarning
            If rows come much faster or slower than in training, or in another time zone.
        """
        if isinstance(data, Series):
            return data
        came = read_points(data, self._heads, self.library)
        frame = timed(came, self.time, self.head)
        timeline = self._timeline(frame)
        check_times(self.head, self.time, frame, timeline)
        values = self.point.matched(self._values(frame))
        apart = {name: frame.columns[name] for name, _, _ in self.head}
        joined = replace(frame, columns={**apart, **values.columns})
        points, index = self._points(values, timeline), np.arange(frame.n_rows)
        in_index = index_column(came, frame)
        return Series(joined, timeline, int(self.length), index, points, in_index)

    @property
    def _heads(self) -> list[tuple[str, str, str]]:
        """Name, storage and type of all columns of the series."""
        own = [c for c in self.point.columns if c.name not in self.derived]
        return [*self.head, *((c.name, c.storage, c.dtype) for c in own)]

    def transform(self, data: Any) -> WindowRows:
        """Windows of series, one that ends with each row."""
        series = self.read(data)
        timeline, points = series.timeline, self._encoded(series)
        ends = timeline.slot[series.index]
        spread = self.score_of == "all"
        window = self.layout, ends, spread, int(self.stride), self.whole
        return WindowRows(points, timeline, *window)

    def _encoded(self, series: Series) -> DenseRows:
        """Rows at their places in time, encoded anew if they are not yet."""
        if series.points is not None:
            return series.points
        return self._points(self._values(series.frame), series.timeline)

    def _points(self, values: Frame, timeline: Timeline) -> DenseRows:
        """Encoded rows at their places in time."""
        filled = np.flatnonzero(timeline.row >= 0)
        cells = self.point.transform(values).take(timeline.row[filled])
        return placed(cells, filled, len(timeline.row))

    def inverse_transform(self, values: Floats, carried: Series | None = None) -> Frame | Series:
        """Last points of encoded windows, beside the time and entity of the rows in `carried`.

        Without `carried` whole windows, one below the other, with a column
        "window" that numbers them.
        """
        if carried is None:
            return self._unrolled(values)
        own = self._values(carried.rows)
        return self._headed(self.point.inverse_transform(values[:, self._last], own), carried)

    def _unrolled(self, values: Floats) -> Series:
        length = int(self.length)
        points = values[:, self.layout.undone].reshape(len(values) * length, -1)
        number = np.repeat(np.arange(len(values)), length)
        found = self.point.inverse_transform(points)
        heading = RawColumn(number.astype(np.float64), "number", "Int64")
        frame = replace(found, columns={"window": heading, **found.columns})
        timeline = lay_out(None, number, len(number))
        return Series(frame, timeline, length, np.arange(len(number)))

    def fill(self, values: Floats, source: Series) -> Frame:
        """Rows whose missing cells are the mean over the encoded windows `surrounding` them."""
        around = self.transform(source).surrounding()
        points = values[:, self.layout.undone].reshape(len(values), *self.shape)
        found = mean_of_windows(points, around.ends, around.observed, source.timeline)
        found = found[source.timeline.slot[source.index]]
        return self._headed(self.point.fill(found, self._values(source.rows)), source)

    def _headed(self, values: Frame, source: Series) -> Frame:
        """Values beside time and entity as they came, without what the calendar says."""
        rows = source.came.columns
        apart = {name: rows[name] for name, _, _ in self.head if name in rows}
        own = {name: raw for name, raw in values.columns.items() if name not in self.derived}
        return replace(values, columns={**apart, **own})

    @cached_property
    def derived(self) -> tuple[str, ...]:
        """Names of the calendar's columns."""
        return tuple(column_of(str(self.time), name) for name in self.calendar)

    @cached_property
    def _last(self) -> Index:
        """Entries of a window's last point, in the order of a point's entries."""
        return self.layout.undone[-self.point.event_size :]

    def partial(self, given: Any, n: int) -> Series:
        """Refused: windows cannot be asked for by their cells.

        Raises
        ------
        DataError
        """
        raise DataError("given names cells of a table's rows. Call sample without it for series.")

    def remarks(self, rows: Rows, source: Series) -> NDArray[np.object_]:
        """What is unusual about each row's cells, in words; empty where nothing is."""
        points, slots = self._encoded(source), source.timeline.slot[source.index]
        stayed = runs(points, source.timeline, self.point)[slots]
        out = self.point.remarks(points.take(slots), self._values(source.rows))
        add_notes(out, stuck_remarks(stayed, self.longest, self.names))
        add_notes(out, source.remarks(whole=self.score_of == "last"))
        return out

    def inverse_column(self, i: int, values: Floats) -> Values:
        """Values of modeled column `i` at the last point, in its own unit."""
        return self.point.inverse_column(i, values[:, self._last])

    def column_entries(self, i: int) -> tuple[list[int], list[int]]:
        """Encoded entries and parts of modeled column `i` at the last point."""
        entries, parts = self.point.column_entries(i)
        length = int(self.length)
        return self._last[entries].tolist(), [part * length + length - 1 for part in parts]

    def to_json(self) -> dict[str, Any]:
        """Fitted codec as plain values."""
        return window_to_json({f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Codec from plain values."""
        return cls(**window_from_json(record))
