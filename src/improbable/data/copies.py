"""Rows that are copies of others, as in a file that was loaded twice."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from improbable.data.columns import Identifier
from improbable.data.fitted_column import Column
from improbable.data.frames import Frame
from improbable.data.parts import Floats
from improbable.data.raw import RawColumn
from improbable.errors import CalibrationWarning

LEAST_COPIES, LEAST_SPREAD, LEAST_DISTINCT = 0.1, 0.05, 0.1
LOOKED_AT, MEASURED, AT_ONCE = 10_000, 100_000, 1 << 16
MOST_TIMES, FAR_OUT = 20, 3.5
FULL, NARROW = 0.05, 0.01
NO_NUMBER = np.uint64(0x7FF8000000000000)
ODD, SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)


def warn_of_copies(frame: Frame, columns: Sequence[Column]) -> None:
    """Warn if many rows are copies of others and chance does not make them so.

    Row numbers and other identifiers do not tell copies apart.

    Parameters
    ----------
    frame : Frame
        Training rows.
    columns : sequence of Column
        What they were found to be.
    """
    aside = [c.name for c in columns if isinstance(c.kind, Identifier) and c.name in frame.columns]
    judged = [frame.columns[c.name] for c in columns if not isinstance(c.kind, Identifier)]
    n_copies = count_copies(judged, frame.n_rows)
    if not n_copies:
        return
    but = f" but {', '.join(aside)}" if aside else ""
    warnings.warn(
        f"{n_copies:,} of {frame.n_rows:,} rows are copies of others in all columns{but}. "
        "p-values of new rows come out too small if a file was joined or loaded twice: "
        "remove the copies (drop_duplicates) and fit again.",
        CalibrationWarning,
        stacklevel=5,
    )


def count_copies(columns: Sequence[RawColumn], n_rows: int) -> int:
    """Rows that equal an earlier row; 0 if they are few, or if chance may make them so.

    Not told are copies in tables of text alone, and of tables coarser than ten rows
    to each value, whatever made them so. Missing cells equal each other. That it is
    not chance is told by a column of numbers or moments too fine to repeat, or by how
    many rows come twice, three times and so on.
    """
    numbers = [c.values for c in columns if c.storage != "text"]
    if not numbers or n_rows < 2:
        return 0
    some = np.random.default_rng(0).integers(n_rows, size=min(LOOKED_AT, n_rows))
    most = max(numbers, key=lambda values: len(np.unique(values[some])))
    n_distinct = len(np.unique(most))
    if not LEAST_DISTINCT * n_rows <= n_distinct <= (1.0 - LEAST_COPIES) * n_rows:
        return 0
    _, times = np.unique(_hashed(columns, n_rows), return_counts=True)
    n_copies = n_rows - len(times)
    spread = np.mean(times > 1) >= LEAST_SPREAD
    if n_copies < LEAST_COPIES * n_rows or not spread:
        return 0
    if not _unlike_chance(times) and not any(map(_is_fine, numbers)):
        return 0
    return n_copies


def _hashed(columns: Sequence[RawColumn], n_rows: int) -> NDArray[np.uint64]:
    """A number for each row, the same for equal rows."""
    found = np.zeros(n_rows, dtype=np.uint64)
    cells = [
        np.fromiter(map(hash, c.values), np.int64, n_rows) if c.storage == "text" else c.values
        for c in columns
    ]
    for first in range(0, n_rows, AT_ONCE):
        part = found[first : first + AT_ONCE]
        for values in cells:
            part ^= _bits(values[first : first + AT_ONCE])
            part *= ODD
            part ^= part >> SHIFT
    return found


def _bits(values: NDArray[np.generic]) -> NDArray[np.uint64]:
    """Cells as whole numbers; all NaN are one, and so are both zeros."""
    if values.dtype.kind != "f":
        return values.view(np.uint64)
    numbers: Floats = np.add(values, 0.0, dtype=np.float64)
    bits = numbers.view(np.uint64)
    bits[np.isnan(numbers)] = NO_NUMBER
    return bits


def _unlike_chance(times: NDArray[np.intp]) -> bool:
    """Whether independent rows of any distribution would not come so many times each.

    Of those, let f(k) be how many come k times. It is a mixture of Poisson laws, so
    k f(k)^2 <= (k + 1) f(k - 1) f(k + 1) but for noise. Where a file is loaded twice
    many rows come twice, and few once or three times.
    """
    counts = np.bincount(times[times <= MOST_TIMES + 1], minlength=MOST_TIMES + 2) + 0.5
    k = np.arange(2, MOST_TIMES + 1)
    below, here, above = counts[k - 1], counts[k], counts[k + 1]
    excess = np.log(k * here**2 / ((k + 1) * below * above))
    noise = np.sqrt(1.0 / below + 4.0 / here + 1.0 / above)
    return bool((excess > FAR_OUT * noise).any())


def _is_fine(values: Floats) -> bool:
    """Whether the middle half of numbers fills few of the places that their least steps make."""
    some = np.random.default_rng(0).permutation(len(values))[:MEASURED]
    finite = values[some][np.isfinite(values[some])]
    if not len(finite):
        return False
    low, high = np.quantile(finite, (0.25, 0.75))
    distinct = np.unique(finite[(finite >= low) & (finite <= high)])
    if len(distinct) < max(2.0, LEAST_DISTINCT * len(finite) / 2.0):
        return False
    step = float(np.quantile(np.diff(distinct), NARROW))
    return len(distinct) * step < FULL * float(distinct[-1] - distinct[0])
