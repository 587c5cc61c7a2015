"""Rows of one or many series on a regular grid of time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Bools, Floats

Index = NDArray[np.intp]
LONGEST_GAP, FEWEST_GAPS = 128, 4


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
    """

    slot: Index
    row: Index
    start: Index
    repeated: Bools
    step: float

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
        filled = np.flatnonzero(self.row >= 0)
        if len(self.slot) > 2 * len(filled):
            return "closer together"
        apart = len(filled) >= FEWEST_GAPS and np.median(np.diff(filled)) > 1.0
        return "farther apart" if apart else ""


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
        order = np.argsort(entities, kind="stable")
        ticks, step = np.empty(n, dtype=np.int64), 1.0
        ticks[order] = np.arange(n)
    else:
        order = np.lexsort((times, entities))
        step = step or _median_step(times[order], entities[order])
        ticks = np.round((times - times.min(initial=np.inf)) / step).astype(np.int64)
    advance, fresh = _advances(ticks[order], entities[order])
    place = np.cumsum(advance) - 1 if n else np.empty(0, dtype=np.int64)
    n_slots = int(place[-1]) + 1 if n else 0
    slot, row = np.empty(n, dtype=np.intp), np.full(n_slots, -1, dtype=np.intp)
    slot[order], row[place] = place, order
    start = np.zeros(n_slots, dtype=np.intp)
    start[place[fresh]] = place[fresh]
    return Timeline(slot, row, np.maximum.accumulate(start), row[slot] != np.arange(n), step)


def _advances(ticks: NDArray[np.int64], entities: NDArray[np.int64]) -> tuple[Index, Bools]:
    """Places from each row to the next in order of time, and which rows begin a run."""
    ahead = np.diff(ticks, prepend=ticks[:1])
    fresh = np.diff(entities, prepend=-1) != 0
    fresh |= ahead > LONGEST_GAP
    return np.where(fresh, 1, ahead).astype(np.intp), fresh


def _median_step(times: Floats, entities: NDArray[np.int64]) -> float:
    gaps = np.diff(times)[np.diff(entities) == 0]
    gaps = gaps[gaps > 0.0]
    return float(np.median(gaps)) if len(gaps) else 1.0


def window_ends(timeline: Timeline, length: int, stride: int) -> Bools:
    """Places where windows are judged: every `stride`-th row of a run, and its last one.

    A row that no such window would hold, because a gap follows it, has its own.

    Parameters
    ----------
    timeline : Timeline
    length : int
        Points of a window.
    stride : int
        Rows from one window to the next.

    Returns
    -------
    ndarray of bool of shape (n_slots,)
    """
    filled = np.flatnonzero(timeline.row >= 0)
    first = np.searchsorted(filled, timeline.start[filled])
    last = np.searchsorted(filled, timeline.end[filled], side="right") - 1
    order = np.arange(len(filled))
    to_come = (stride - 1) - (order - first) % stride
    end = filled[np.minimum(order + to_come, last)]
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
