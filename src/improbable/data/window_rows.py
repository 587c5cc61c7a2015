"""Windows of points as encoded rows, put together when they are looked at."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from improbable.data.holes import windows_around
from improbable.data.parts import Bools, Floats, Part
from improbable.data.rows import DenseRows
from improbable.data.timeline import Index, Timeline, window_ends

LONGEST_BRIDGE = 8
PIECES, FEWEST_PIECES = 20, 10
NUMBERS = ("normal", "normal_per_column", "normal_fixed", "student_t")


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
    whole : bool
        Whether windows that reach beyond the beginning of a series are left out
        where there are others.
    """

    points: DenseRows
    timeline: Timeline
    layout: Layout
    ends: Index
    spread: bool
    stride: int = 1
    whole: bool = True

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def _places(self) -> Index:
        """Places of the windows' points, the oldest first, shape (n, length)."""
        back = self.ends[:, None] - np.arange(self.layout.length - 1, -1, -1)
        return np.where(back < self.timeline.start[self.ends][:, None], -1, back)

    @property
    def _judged(self) -> Bools:
        """Whether a window that ends at each place is judged."""
        return window_ends(self.timeline, self.layout.length, self.stride, whole=self.whole)

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

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Points of a row's window from the first known one on, or windows judged that hold it.

        From 1, at most the length of a window.
        """
        length, places = self.layout.length, np.arange(len(self.timeline.start))
        if self.spread:
            before = np.append(0, np.cumsum(self._judged))
            last = np.minimum(self.ends + length - 1, self.timeline.end[self.ends])
            return np.asarray(before[last + 1] - before[self.ends], dtype=np.int64)
        known = ~self.points.missing[: len(places)].all(axis=1)
        next_known = np.minimum.accumulate(np.where(known, places, len(places))[::-1])[::-1]
        begins = np.maximum(self.ends - length + 1, self.timeline.start[self.ends])
        return np.clip(self.ends - next_known[begins] + 1, 1, length)

    def of_many_sizes(self, n: int) -> "WindowRows":
        """Rows of sizes from 1 up, one of each to a piece of these series; pieces lie end to end.

        They ask for about `n` windows, more where they are long, all of them of these
        rows. None if there are too few pieces that do not overlap.
        """
        length = self.layout.length
        sizes = np.array(_steps(length))
        span = 2 * length - 1 if self.spread else length
        starts = self._pieces(span)
        if len(np.unique(starts // length)) < FEWEST_PIECES:
            return self.take(slice(0))
        n_pieces = max(n // (length if self.spread else len(sizes)), PIECES)
        starts = starts[np.linspace(0, len(starts) - 1, n_pieces).astype(np.intp)]
        places = (starts[:, None] + np.arange(span)).ravel()
        filled = self.timeline.row[places] >= 0
        first = np.arange(len(starts)) * span
        ends = (first[:, None] + (span - sizes if self.spread else sizes - 1)).ravel()
        timeline = replace(
            self.timeline,
            slot=np.flatnonzero(filled),
            row=np.where(filled, np.cumsum(filled) - 1, -1),
            start=np.repeat(first, span),
            repeated=np.zeros(np.count_nonzero(filled), dtype=bool),
        )
        points = self.points.take(np.append(places, len(self.points) - 1))
        ends = ends[np.isin(places[ends], self.ends)]
        return replace(self, points=points, timeline=timeline, ends=ends)

    def _pieces(self, span: int) -> Index:
        """Places where pieces begin all of whose full windows are among these."""
        length, row = self.layout.length, self.timeline.row
        starts = np.unique(self.ends) - (length - 1)
        starts = starts[starts + span <= len(row)]
        starts = starts[self.timeline.start[starts + span - 1] <= starts]
        left = row >= 0
        left[self.ends] = False
        before = np.append(0, np.cumsum(left))
        found: Index = starts[before[starts + span] == before[starts + length - 1]]
        return found

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
        return replace(self, ends=np.flatnonzero(wanted[: len(self.timeline.row)] & self._judged))

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


def _steps(length: int) -> list[int]:
    """Sizes from 1 to a length, each about a quarter more than the one before."""
    sizes = [1]
    while sizes[-1] < length:
        sizes.append(min((5 * sizes[-1] + 3) // 4, length))
    return sizes


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
