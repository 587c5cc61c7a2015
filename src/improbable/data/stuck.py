"""Numbers that stay the same for longer than ever in training, as those of a sensor that is stuck.

Windows of such rows may be the most probable of all: nothing in them moves away from
what is expected. So they are said in words, beside the score.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from improbable.data.columns import Count, Positive, Real
from improbable.data.parts import Bools
from improbable.data.rows import DenseRows
from improbable.data.table import TableCodec
from improbable.data.timeline import Index, Timeline

NUMBERS = (Real, Positive, Count)
FEWEST = 5
TIMES = 2
STUCK = "{} has stayed the same for {} rows, in training for {} at most"


def alike(before: DenseRows, after: DenseRows, point: TableCodec) -> Bools:
    """Whether cells are those of other rows, shape (n, n_columns); missing ones are not.

    Parameters
    ----------
    before, after : DenseRows
        Encoded points, as many of each.
    point : TableCodec
        Codec of points.
    """
    same = before.values == after.values
    entries = [point.column_entries(i)[0] for i in range(len(point.modeled))]
    found = np.stack([same[:, own].all(axis=1) for own in entries], axis=1)
    unknown = before.missing | after.missing | before.unseen | after.unseen
    return found & ~unknown


def runs(points: DenseRows, timeline: Timeline, point: TableCodec) -> Index:
    """Rows up to each place at which a column held the same value, shape (n_slots, n_columns).

    A place without a row ends them; missing cells have 0.
    """
    place = np.arange(len(timeline.row))
    now, before = (points.take(at) for at in (place, np.maximum(place - 1, 0)))
    goes_on = alike(before, now, point) & (place > timeline.start)[:, None]
    first = np.maximum.accumulate(np.where(goes_on, 0, place[:, None]), axis=0)
    return np.where(now.missing, 0, place[:, None] - first + 1)


def longest_runs(found: Index, point: TableCodec) -> tuple[int, ...]:
    """Longest of `runs` of each column of numbers; 0 for others, which may stay as they are."""
    most = found.max(axis=0, initial=0)
    numbers = [isinstance(column.kind, NUMBERS) for column in point.modeled]
    return tuple(np.where(numbers, most, 0).tolist())


def stuck_remarks(
    found: Index, longest: Sequence[int], names: Sequence[str]
) -> NDArray[np.object_]:
    """Remarks on rows by `runs` up to them, shape (n,); empty where none is too long.

    One is where it is more than twice as long as the longest of training, and five
    rows or more.

    Parameters
    ----------
    found : ndarray of int of shape (n, n_columns)
    longest : sequence of int
        As `longest_runs` has them; none of models that were saved without.
    names : sequence of str
        Of the columns.
    """
    out = np.full(len(found), "", dtype=object)
    most = np.array(longest or [0] * len(names))
    for i, j in np.argwhere((found > TIMES * most) & (found >= FEWEST) & (most > 0)).tolist():
        text = STUCK.format(names[j], found[i, j], most[j])
        out[i] = f"{out[i]}; {text}" if out[i] else text
    return out
