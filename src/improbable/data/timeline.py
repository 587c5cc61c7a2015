"""Rows of one or many series on a regular grid of time.

A row lies as many places ahead of the one before it in its series as steps fit
between their times. So no grid drifts away from stamps that jitter, and no series
depends on when another one began.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Bools, Floats

Index = NDArray[np.intp]
LONGEST_GAP, FEWEST_GAPS = 128, 3


@dataclass(frozen=True)
class Timeline:
    """Where rows lie on grids of equal steps, those of all series laid end to end.

    Attributes
    ----------
    slot : ndarray of int of shape (n_rows,)
        Place of each row on the grid.
    row : ndarray of int of shape (n_slots,)
        Row at each place, -1 where there is none.
    start : ndarray of int of shape (n_slots,)
        First place of the run that each place belongs to. No window reaches
        over the start of a run: there another series begins, or one resumes
        after a long gap.
    repeated : ndarray of bool of shape (n_rows,)
        Whether a later row has the same place and takes it.
    step : float
        Time between places; 1 if rows came without a time.
    gap : float
        Steps between rows of different times, their median; 1 if there are too few.
    """

    slot: Index
    row: Index
    start: Index
    repeated: Bools
    step: float
    gap: float = 1.0

    @property
    def end(self) -> Index:
        """Last place of the run that each place belongs to, shape (n_slots,)."""
        firsts = np.unique(self.start)
        lasts = np.append(firsts[1:], len(self.start)) - 1
        found: Index = lasts[np.searchsorted(firsts, self.start)]
        return found

    @property
    def pace(self) -> str:
        """How rows lie if not about one a place: "closer together", or "farther apart"."""
        if self.gap < 0.5 or len(self.slot) > 2 * np.count_nonzero(self.row >= 0):
            return "closer together"
        return "farther apart" if self.gap > 1.5 else ""


def lay_out(
    times: Floats | None, entities: NDArray[np.int64] | None, n: int, step: float | None = None
) -> Timeline:
    """Rows in order of time on a regular grid, series by series.

    Parameters
    ----------
    times : ndarray of shape (n,), optional
        None NaN, in any order; rows are in order if absent.
    entities : ndarray of int of shape (n,), optional
        Which series each row belongs to; one if absent.
    n : int
        Rows.
    step : float, optional
        Time between places; the median of what lies between rows if absent.
    """
    entities = np.zeros(n, dtype=np.int64) if entities is None else entities
    if times is None:
        order, step = np.argsort(entities, kind="stable"), 1.0
        at, gap = np.arange(float(n)), 1.0
    else:
        order = np.lexsort((times, entities))
        at, gaps = times[order], _gaps(times[order], entities[order])
        usual = float(np.median(gaps)) if len(gaps) else 1.0
        step = step or usual
        gap = usual / step if len(gaps) >= FEWEST_GAPS else 1.0
    advance, fresh = _advances(at, entities[order], step)
    place = np.cumsum(advance) - 1 if n else np.empty(0, dtype=np.int64)
    n_slots = int(place[-1]) + 1 if n else 0
    slot, row = np.empty(n, dtype=np.intp), np.full(n_slots, -1, dtype=np.intp)
    slot[order], row[place] = place, order
    start = np.zeros(n_slots, dtype=np.intp)
    start[place[fresh]] = place[fresh]
    repeated = row[slot] != np.arange(n)
    return Timeline(slot, row, np.maximum.accumulate(start), repeated, step, gap)


def places_ahead(time: float, before: float, step: float) -> int:
    """Places from the time of one row to that of another, halves up."""
    return math.floor((time - before) / step + 0.5)


def _advances(times: Floats, entities: NDArray[np.int64], step: float) -> tuple[Index, Bools]:
    """Places from each row to the next in order of time, and which rows begin a run."""
    fresh = np.diff(entities, prepend=-1) != 0
    ahead = np.floor(np.diff(times, prepend=times[:1]) / step + 0.5)
    if (ahead[~fresh] < 1.0).any():  # rows that share a place: the first of them counts
        before = 0.0
        for i, (time, first) in enumerate(zip(times.tolist(), fresh.tolist(), strict=True)):
            ahead[i] = 1.0 if first else places_ahead(time, before, step)
            before = time if ahead[i] > 0.0 else before
    fresh |= ahead > LONGEST_GAP
    return np.where(fresh, 1, ahead).astype(np.intp), fresh


def _gaps(times: Floats, entities: NDArray[np.int64]) -> Floats:
    """Times between rows of a series that differ in it."""
    gaps: Floats = np.diff(times)[np.diff(entities) == 0]
    return gaps[gaps > 0.0]


def window_ends(timeline: Timeline, length: int, stride: int, *, whole: bool = True) -> Bools:
    """Places where windows are judged: every `stride`-th row of a run, and its last one.

    The first is where the first whole window of the run ends, if it has one: what a
    window of which less is known says would weigh on the rows at its beginning. A
    row that no such window would hold, because a gap follows it, has its own.

    Parameters
    ----------
    timeline : Timeline
    length : int
        Points of a window.
    stride : int
        Rows from one window to the next.
    whole : bool
        False of models from before format 5: windows that are not whole are judged, too.

    Returns
    -------
    ndarray of bool of shape (n_slots,)
    """
    filled = np.flatnonzero(timeline.row >= 0)
    first = np.searchsorted(filled, timeline.start[filled])
    last = np.searchsorted(filled, timeline.end[filled], side="right") - 1
    order = np.arange(len(filled))
    full = np.searchsorted(filled, timeline.start[filled] + length - 1)
    begin = np.where((full <= last) & whole, full, first + stride - 1)
    steps = np.maximum(-(-(order - begin) // stride), 0)
    end = filled[np.minimum(begin + steps * stride, last)]
    judged = np.zeros(len(timeline.row), dtype=bool)
    judged[end] = True
    judged[filled[end - filled >= length]] = True
    return judged


def blocks_of(timeline: Timeline, length: int) -> Index:
    """Stretches of time that rows fall into, shape (n_rows,); -1 for rows at the seams.

    Windows of rows of different stretches share no point: those that would
    reach into the stretch before theirs belong to none.

    Parameters
    ----------
    timeline : Timeline
    length : int
        Points of a window.
    """
    n = len(timeline.slot)
    size = int(np.clip(n // 20, 2 * length, 16 * length))
    purged = length - 1
    if n < 6 * length:
        size, purged = max(1, n // 6), 0
    places = np.arange(len(timeline.start))
    within = (places - timeline.start) % size
    label = np.cumsum(within == 0) - 1
    straddles = (within < purged) & (places - timeline.start >= size)
    block: Index = np.where(straddles, -1, label)[timeline.slot]
    return block
