"""How long a series takes to repeat itself, and how long its windows are."""

import numpy as np
from numpy.typing import NDArray

from improbable.data.frames import Frame
from improbable.data.parts import Floats
from improbable.data.timeline import Timeline

LONGEST_PERIOD = 128
USUAL, USUAL_OF_MANY = 64, 32
MOST_CELLS = 2_048
LONGEST_LOOK = 20_000
SHORTEST = 3
WEAKEST = 0.1


def dominant_period(values: Floats, longest: int) -> int | None:
    """Lag at which a series is most like itself.

    The highest local maximum of the autocorrelation, averaged over columns.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_columns)
        In order of time; NaN where missing.
    longest : int
        Rows; longer lags are not looked at.

    Returns
    -------
    int or None
        Rows; None if no lag from 3 on stands out.
    """
    seen = values[:LONGEST_LOOK]
    longest = min(longest, len(seen) // 2)
    if longest <= SHORTEST:
        return None
    correlation = np.mean([autocorrelation(column, longest + 1) for column in seen.T], axis=0)
    inner = correlation[SHORTEST:-1]
    peak = (inner > correlation[SHORTEST - 1 : -2]) & (inner >= correlation[SHORTEST + 1 :])
    peak &= inner > WEAKEST
    if not peak.any():
        return None
    return SHORTEST + int(np.argmax(np.where(peak, inner, -np.inf)))


def autocorrelation(series: NDArray[np.float64], n_lags: int) -> Floats:
    """Autocorrelation at lags 0 to `n_lags`; missing points count as the mean."""
    known = ~np.isnan(series)
    centered = np.where(known, series - (series[known].mean() if known.any() else 0.0), 0.0)
    power = np.abs(np.fft.rfft(centered, 2 * len(centered))) ** 2
    products: Floats = np.fft.irfft(power)[: n_lags + 1]
    return products / products[0] if products[0] > 0.0 else np.zeros(n_lags + 1)


def usual_length(values: Frame, timeline: Timeline) -> int:
    """Whole periods of the columns of numbers, bounded by what rows and columns allow."""
    numbers = [raw.values for raw in values.columns.values() if raw.storage == "number"]
    usual = USUAL if len(values.columns) == 1 else USUAL_OF_MANY
    period = None
    if numbers:
        row = timeline.row
        placed = np.column_stack([np.where(row >= 0, cells[row], np.nan) for cells in numbers])
        period = dominant_period(placed, LONGEST_PERIOD)
    whole = usual if period is None else -(-usual // period) * period
    most = min(MOST_CELLS // len(values.columns), values.n_rows // 10)
    return max(1, min(whole, most))
