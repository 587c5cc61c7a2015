"""Thresholds that adapt to slow drift: peaks over threshold, learned as scores come.

Scores are "the higher, the more normal" throughout, so the peaks are at the
low end. Knows no model, only numbers; nothing is changed in place.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from improbable.errors import ImprobableError

Floats = NDArray[np.float64]
PEAK_SHARE = 0.05
FEWEST_SCORES = 100
FEWEST_PEAKS = 20
MOST_PEAKS = 500
REFIT_AFTER = 8
SHAPES = (-0.1, 0.9)


@dataclass(frozen=True)
class Hidden:
    """Mass of a generalized Pareto distribution that alarms keep out of sight.

    Attributes
    ----------
    count : float
        Excesses expected beyond `cut`.
    cut : float
        Excess from which scores are alarms.
    shape, scale : float
        The distribution as far as it is known.
    """

    count: float
    cut: float
    shape: float
    scale: float


@dataclass(frozen=True)
class Threshold:
    r"""Streaming peaks over threshold, with or without a moving average taken off.

    With b the mean of the last `depth` scores (0 if `depth` is 0) a score s has
    the distance x = b - s. Distances above `level` are peaks, their excess is
    taken as generalized Pareto, and the alarm lies where a normal score comes with
    probability q [1]_:

    .. math:: z_q = t + \frac{\sigma}{\gamma} \left[ (q n / N_t)^{-\gamma} - 1 \right]

    Attributes
    ----------
    risk : float
        q, the false-alarm rate.
    level : float
        t, nats.
    excess : ndarray of shape (n_peaks,)
        x - t of the latest peaks, the oldest first.
    at : ndarray of int of shape (n_peaks,)
        Scores learned before each peak came.
    n, n_start : int
        Scores learned, and those among them that no alarm was kept from.
    recent : ndarray of shape (depth,)
        Latest scores that were no alarms, the oldest first.
    shape, scale : float
        gamma and sigma of the excess.
    reach : float
        z - t, nats.
    fresh : int
        Peaks since the last fit.

    References
    ----------
    .. [1] A. Siffer et al., "Anomaly Detection in Streams with Extreme Value
       Theory", KDD 2017, eq. 1 and algorithms 2 (SPOT) and 3 (DSPOT).
    """

    risk: float
    level: float
    excess: Floats
    at: NDArray[np.int64]
    n: int
    n_start: int
    recent: Floats
    shape: float
    scale: float
    reach: float
    fresh: int = 0

    @property
    def baseline(self) -> float:
        """Moving average of the scores; 0 without one."""
        return float(self.recent.mean()) if len(self.recent) else 0.0

    @property
    def value(self) -> float:
        """Score below which an alarm is raised, nats."""
        return self.baseline - self.level - self.reach


def begin(held_out: ArrayLike, risk: float, depth: int = 0) -> Threshold:
    """Threshold of scores of normal rows, before any other was seen.

    Parameters
    ----------
    held_out : array-like of shape (n,)
        In any order.
    risk : float
        False-alarm rate, from 0 to 0.25.
    depth : int
        Scores of the moving average; 0 for none. It begins at the mean.

    Returns
    -------
    Threshold

    Raises
    ------
    ImprobableError
        If there are fewer than 100 scores, or the rate is too large for a tail.
    """
    scores = np.asarray(held_out, dtype=np.float64)
    scores = scores[~np.isnan(scores)]
    if len(scores) < FEWEST_SCORES:
        raise ImprobableError(
            f"An adapting threshold starts from {FEWEST_SCORES} held-out scores or more, there "
            f"are {len(scores)}. Fit on more rows, or pass adapt=False."
        )
    if not 0.0 < risk <= 0.25:
        raise ImprobableError(
            f"An adapting threshold takes alpha up to 0.25, got {risk!r}. Pass adapt=False."
        )
    recent = np.full(depth, scores.mean())
    distance = np.sort((scores.mean() if depth else 0.0) - scores)
    count = max(int(max(PEAK_SHARE, 2.0 * risk) * len(scores)), FEWEST_PEAKS)
    level = float(distance[-count - 1])
    excess = distance[-count:] - level
    at = np.linspace(0, len(scores), count, endpoint=False).astype(np.int64)
    order = np.argsort(np.arange(count) * 0.6180339887 % 1.0)
    excess, at, n = excess[order][-MOST_PEAKS:], at[-MOST_PEAKS:], len(scores)
    start = Threshold(risk, level, excess, at, n, n, recent, 0.0, 1.0, 0.0)
    return refitted(start)


def learned(threshold: Threshold, score: float) -> Threshold:
    """Threshold that knows one more score, which must be no alarm."""
    recent = threshold.recent
    over = threshold.baseline - score - threshold.level
    if len(recent):
        recent = np.append(recent[1:], score)
    n = threshold.n + 1
    if not over > 0.0:
        return replace(threshold, n=n, recent=recent)
    excess = np.append(threshold.excess, over)[-MOST_PEAKS:]
    at = np.append(threshold.at, threshold.n)[-MOST_PEAKS:]
    fresh = threshold.fresh + 1
    found = replace(threshold, n=n, recent=recent, excess=excess, at=at, fresh=fresh)
    return refitted(found) if fresh >= REFIT_AFTER else found


def refitted(threshold: Threshold) -> Threshold:
    """Threshold whose tail is fitted to the peaks at hand.

    Alarms are not learned from, which cuts the peaks off where alarms begin; a
    tail fitted to those left would be too light, and lower the threshold further
    and further. So as many more peaks are reckoned with as normal scores should
    have raised an alarm, q of them all (`Hidden`).
    """
    first = int(threshold.at[0]) if len(threshold.excess) == MOST_PEAKS else 0
    kept_from = threshold.n - max(first, threshold.n_start)
    count = kept_from * threshold.risk / (1.0 - threshold.risk)
    hidden = Hidden(count, threshold.reach, threshold.shape, threshold.scale)
    shape, scale = pareto_by_moments(threshold.excess, hidden)
    share = (len(threshold.excess) + count) / (threshold.n - first + count)
    reach = excess_at(threshold.risk / share, shape, scale)
    return replace(threshold, shape=shape, scale=scale, reach=reach, fresh=0)


def excess_at(share: float, shape: float, scale: float) -> float:
    """Excess that a share of those of a generalized Pareto distribution reaches, 0 from 1 on."""
    log_share = float(np.log(min(share, 1.0)))
    if abs(shape) < 1e-9:
        return -scale * log_share
    return float(scale * np.expm1(-shape * log_share) / shape)


def pareto_by_moments(excess: ArrayLike, hidden: Hidden | None = None) -> tuple[float, float]:
    r"""Shape and scale of a generalized Pareto distribution by probability-weighted moments.

    With :math:`a_0 = E[Y]` and :math:`a_1 = E[Y (1 - F(Y))]` [1]_

    .. math:: \gamma = 2 - \frac{a_0}{a_0 - 2 a_1}, \quad
              \sigma = \frac{2 a_0 a_1}{a_0 - 2 a_1}

    Without iteration, and steady in small samples, unlike maximum likelihood.

    Parameters
    ----------
    excess : array-like of shape (n_peaks,)
        Above 0.
    hidden : Hidden, optional
        What lies beyond a cut and is not among them; it adds its expectation.

    Returns
    -------
    shape : float
        gamma, kept in [-0.1, 0.9]: a tail that soon ends would be too sure of itself.
    scale : float
        sigma, above 0.

    References
    ----------
    .. [1] J. Hosking and J. Wallis, "Parameter and Quantile Estimation for the
       Generalized Pareto Distribution", Technometrics, 1987, section 3.2.
    """
    ranked = np.sort(np.asarray(excess, dtype=np.float64))
    count = 0.0 if hidden is None else hidden.count
    total = len(ranked) + count
    below = (np.arange(1, len(ranked) + 1) - 0.35) / total
    first = float(ranked.sum()) / total
    second = float(((1.0 - below) * ranked).sum()) / total
    if hidden is not None and count > 0.0:
        rest = hidden.scale + hidden.shape * hidden.cut
        part = count / total
        first += part * (hidden.cut + rest / (1.0 - hidden.shape))
        second += 0.5 * part**2 * (hidden.cut + rest / (2.0 - hidden.shape))
    tiny = float(np.finfo(np.float64).tiny)
    if not first - 2.0 * second > tiny:
        return SHAPES[1], max(first * (1.0 - SHAPES[1]), tiny)
    shape = float(np.clip(2.0 - first / (first - 2.0 * second), *SHAPES))
    return shape, max(first * (1.0 - shape), tiny)
