"""How long a series takes to repeat itself."""

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Floats

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
