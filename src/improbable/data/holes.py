"""Missing points of series, seen by every window that holds them."""

import numpy as np

from improbable.data.parts import Bools, Floats
from improbable.data.timeline import Index, Timeline


def windows_around(places: Index, timeline: Timeline, length: int) -> Index:
    """Places where the windows end that hold any of some places, ascending.

    Parameters
    ----------
    places : ndarray of int
    timeline : Timeline
    length : int
        Points of a window.
    """
    change = np.zeros(len(timeline.row) + 1, dtype=np.int64)
    last = np.minimum(places + length - 1, timeline.end[places])
    np.add.at(change, places, 1)
    np.add.at(change, last + 1, -1)
    return np.flatnonzero(np.cumsum(change) > 0)


def mean_of_windows(points: Floats, ends: Index, observed: Bools, timeline: Timeline) -> Floats:
    r"""Points as the windows that hold them say, the better known ones the more.

    .. math:: x_t = \frac{\sum_w (1 + n_w)^2 \, x_{wt}}{\sum_w (1 + n_w)^2}

    Parameters
    ----------
    points : ndarray of shape (n_windows, length, width)
        Encoded points of each window, the oldest first.
    ends : ndarray of int of shape (n_windows,)
        Place of each window's last point.
    observed : ndarray of bool of shape (n_windows, n_parts)
        The windows' known parts, n_w of them.
    timeline : Timeline

    Returns
    -------
    ndarray of shape (n_slots, width)
        Zero where no window is.
    """
    _, length, width = points.shape
    weights = (1.0 + observed.sum(axis=1)) ** 2
    total, weight = np.zeros((len(timeline.row), width)), np.zeros((len(timeline.row), 1))
    for back in range(length):
        inside = ends - back >= timeline.start[ends]
        place, counted = ends[inside] - back, weights[inside, None]
        total[place] += counted * points[inside, length - 1 - back]
        weight[place] += counted
    return total / np.where(weight > 0.0, weight, 1.0)
