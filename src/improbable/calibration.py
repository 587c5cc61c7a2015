"""Decisions from scores: p-values, q-values, thresholds. Knows no model, only numbers.

Scores are "the higher, the more normal" throughout.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray
from scipy.special import inv_boxcox, kolmogorov

from improbable.errors import ImprobableError, NotCalibratedError

Floats = NDArray[np.float64]
TAIL_SHARE = 0.1
TAIL_ROWS = 50
FENCE = 3.0
DRIFT_LEVEL = 0.001


def p_values(scores: ArrayLike, held_out: ArrayLike) -> Floats:
    r"""Split-conformal p-values.

    .. math:: p(s) = \frac{1 + \#\{i : h_i \le s\}}{n + 1}

    If a row is exchangeable with the held-out rows, P(p <= alpha) <= alpha for
    every alpha, whatever the model is; ties count against the row, so they
    keep the guarantee.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Scores to judge. The higher, the more normal.
    held_out : array-like of shape (n,)
        Scores of normal rows that took no part in training; NaN are left out.

    Returns
    -------
    ndarray of shape (n_samples,)
        In [1 / (n + 1), 1]. The lower, the less normal. NaN for a NaN score.

    Raises
    ------
    NotCalibratedError
        If `held_out` is empty.

    References
    ----------
    .. [1] S. Bates et al., "Testing for outliers with conformal p-values",
       Annals of Statistics, 2023, eq. 2.

    Examples
    --------
    >>> p_values([0.0, 5.0], [1.0, 2.0, 3.0])
    array([0.25, 1.  ])
    """
    reference = _ranked(held_out)
    if len(reference) == 0:
        raise NotCalibratedError(
            "There are no held-out scores, so no p-value exists. "
            "Fit with calibration_fraction above 0."
        )
    values = np.asarray(scores, dtype=np.float64)
    as_low = np.searchsorted(reference, values, side="right")
    found = (1.0 + as_low) / (len(reference) + 1.0)
    return np.where(np.isnan(values), np.nan, found)


def _ranked(held_out: ArrayLike) -> Floats:
    values = np.asarray(held_out, dtype=np.float64)
    return np.sort(values[~np.isnan(values)])


def outer_fence(scores: ArrayLike) -> float:
    r"""Score below which a row lies far out, :math:`Q_1 - 3 (Q_3 - Q_1)`.

    The outer fence of a box plot [1]_. Nothing in the scores alone tells a
    heavy tail of normal rows from anomalies, so it is a habit, not a guarantee.

    Parameters
    ----------
    scores : array-like of shape (n,)
        NaN are left out.

    Returns
    -------
    float
        Minus infinity without a score.

    References
    ----------
    .. [1] J. Tukey, "Exploratory Data Analysis", 1977, chapter 2.
    """
    ranked = _ranked(scores)
    if len(ranked) == 0:
        return -np.inf
    low, high = np.quantile(ranked, [0.25, 0.75])
    return float(low - FENCE * (high - low))


def q_values(p: ArrayLike) -> Floats:
    r"""Benjamini-Hochberg q-values of a batch of p-values.

    .. math:: q_{(i)} = \min_{j \ge i} \min(1, m \, p_{(j)} / j)

    Flagging the rows with q <= fdr keeps the expected share of false alarms
    among the flagged at most fdr; conformal p-values are positively dependent,
    which this procedure allows (Bates et al., 2023, theorem 2).

    Parameters
    ----------
    p : array-like of shape (m,)
        P-values. NaN stays NaN and is not counted.

    Returns
    -------
    ndarray of shape (m,)
        In (0, 1]; never below the p-value itself.

    Examples
    --------
    >>> q_values([0.01, 0.02, 0.9])
    array([0.03, 0.03, 0.9 ])
    """
    values = np.asarray(p, dtype=np.float64)
    levels, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    table = q_value_levels(levels, counts)
    out = np.full(values.shape, np.nan)
    known = ~np.isnan(values)
    out[known] = table[np.searchsorted(levels, values[known])]
    return out


def q_value_levels(levels: Floats, counts: NDArray[np.int64]) -> Floats:
    """Q-values of sorted distinct p-values that occur `counts` times each.

    The same as `q_values`, from a tally: what a stream of any length needs to keep.
    """
    if len(levels) == 0:
        return np.empty(0)
    rank = np.cumsum(counts)
    raw = np.minimum(levels * (rank[-1] / rank), 1.0)
    return np.minimum.accumulate(raw[::-1])[::-1]


def threshold_at(held_out: ArrayLike, alpha: float) -> float:
    """Score below which, and only below which, p-values are at most `alpha`.

    The lowest held-out score if `alpha` is less than what they support; minus
    infinity, which flags nothing, if there are none.
    """
    reference = _ranked(held_out)
    n = len(reference)
    if n == 0:
        return float(-np.inf)
    reached = np.arange(1.0, n + 2.0) / (n + 1.0)
    count = max(int(np.searchsorted(reached, alpha, side="right")), 1)
    return float(reference[count - 1]) if count <= n else float(np.inf)


def smallest_p(n: int) -> float:
    """Smallest p-value that `n` held-out rows can support."""
    return 1.0 / (n + 1.0)


@dataclass(frozen=True)
class Tail:
    """Generalized Pareto model of the lowest held-out scores.

    Attributes
    ----------
    threshold : float
        Score below which the model speaks.
    share : float
        Share of held-out scores at or below it.
    shape, scale : float
        Parameters of the excess ``threshold - score``; scale in nats.
    """

    threshold: float
    share: float
    shape: float
    scale: float

    def p_values(self, scores: ArrayLike) -> Floats:
        """P(score <= s) below the threshold; NaN above it."""
        values = np.asarray(scores, dtype=np.float64)
        excess = np.maximum(self.threshold - values, 0.0)
        with np.errstate(over="ignore"):
            beyond = self.share * inv_boxcox(-excess / self.scale, -self.shape)
        beyond = np.maximum(beyond, np.finfo(np.float64).tiny)
        return np.where(values < self.threshold, beyond, np.nan)


def supports_tail(n: int, share: float = TAIL_SHARE) -> bool:
    """Whether n held-out scores are enough for `fit_tail`."""
    return int(share * n) >= TAIL_ROWS


def fit_tail(held_out: ArrayLike, share: float = TAIL_SHARE) -> Tail:
    """Generalized Pareto tail of held-out scores (peaks over threshold).

    Parameters
    ----------
    held_out : array-like of shape (n,)
        Scores of normal rows kept out of training.
    share : float
        Share of the lowest scores that the tail is fitted to.

    Returns
    -------
    Tail
        Its shape is kept in [0, 1]: a tail that ends would give p = 0.

    Raises
    ------
    ImprobableError
        If fewer than 50 scores would lie in the tail.

    References
    ----------
    .. [1] A. Siffer et al., "Anomaly Detection in Streams with Extreme Value
       Theory", KDD 2017.
    """
    reference = _ranked(held_out)
    count = int(share * len(reference))
    if not supports_tail(len(reference), share):
        raise ImprobableError(
            f"A tail model needs {TAIL_ROWS} held-out scores in the lowest {share:.0%}, there are "
            f"{count}. Fit on more rows, or leave tail=False."
        )
    threshold = float(reference[count])
    excess = threshold - reference[:count]
    shape, scale = _pareto(excess)
    return Tail(threshold, count / len(reference), shape, scale)


def _pareto(excess: Floats) -> tuple[float, float]:
    """Shape in [0, 1] and scale above 0 of a generalized Pareto distribution."""
    mean = float(excess.mean())
    if not excess.min() < excess.max():
        return 0.0, max(mean, float(np.finfo(np.float64).tiny))
    shape, _, scale = scipy.stats.genpareto.fit(excess / mean, floc=0.0)
    if 0.0 <= shape <= 1.0:
        return float(shape), float(scale) * mean
    shape = float(np.clip(shape, 0.0, 1.0))
    return shape, mean * (1.0 - min(shape, 0.9))


def tail_p_values(scores: ArrayLike, held_out: ArrayLike, tail: Tail) -> Floats:
    """Conformal p-values, replaced by the tail model's where it speaks and is lower.

    Below the lowest held-out score conformal p-values are all 1 / (n + 1); the
    tail model tells those rows apart. It is an extrapolation, not a guarantee.
    """
    exact = p_values(scores, held_out)
    lowest = float(np.nanmin(np.asarray(held_out, dtype=np.float64)))
    beyond = np.asarray(scores, dtype=np.float64) < lowest
    return np.where(beyond, np.fmin(exact, tail.p_values(scores)), exact)


@dataclass(frozen=True)
class Drift:
    """Whether the p-values of many rows are still uniform.

    Attributes
    ----------
    statistic : float
        Largest distance between the share of p-values up to a level and the
        level itself, in [0, 1].
    p_value : float
        How often rows like the held-out ones lie as far from uniform. Low is drift.
    n : int
        Rows judged.
    """

    statistic: float
    p_value: float
    n: int

    @property
    def is_drift(self) -> bool:
        """Whether `p_value` is at most `DRIFT_LEVEL`."""
        return self.p_value <= DRIFT_LEVEL


def drift(
    levels: ArrayLike, counts: ArrayLike, held_out: ArrayLike, independent: float = 1.0
) -> Drift:
    r"""Two-sided Kolmogorov-Smirnov test of conformal p-values.

    Rows exchangeable with the held-out ones have p-values uniform on the levels
    that these can give: 1/(n + 1), ..., 1, less those that ties leave out. With
    m rows the statistic is compared with the limit law of two samples,
    :math:`\sqrt{nm / (n + m)} \, D` [1]_; ties make it cautious.

    Parameters
    ----------
    levels : array-like of shape (k,)
        Distinct p-values, ascending.
    counts : array-like of shape (k,)
        Rows of each.
    held_out : array-like of shape (n,)
        Held-out scores behind the p-values; NaN are left out.
    independent : float
        Rows that are worth one on their own, a row: 1 unless rows share what they are judged by.

    Returns
    -------
    Drift

    Raises
    ------
    NotCalibratedError
        If `held_out` is empty.

    References
    ----------
    .. [1] N. Smirnov, "Table for Estimating the Goodness of Fit of Empirical
       Distributions", Annals of Mathematical Statistics, 1948.
    """
    levels, counts = np.asarray(levels, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    m, reference = int(counts.sum()), _ranked(held_out)
    if len(reference) == 0:
        raise NotCalibratedError(
            "No rows were kept out of training, so drift cannot be told. Fit on more rows."
        )
    if m == 0:
        return Drift(0.0, 1.0, 0)
    as_low = np.searchsorted(reference, reference, side="right")
    possible = np.append(1.0, 1.0 + as_low) / (len(reference) + 1.0)
    place = np.searchsorted(levels, possible * (1.0 + 1e-12), side="right")
    reached = np.append(0.0, np.cumsum(counts))[place] / m
    statistic = float(np.abs(reached - possible).max())
    size = independent * m * len(reference) / (m + len(reference))
    return Drift(statistic, float(kolmogorov(np.sqrt(size) * statistic)), m)
