"""How scores of a time series are rated: point by point, by ranges, and by volume.

All scores are higher for the more anomalous point, all labels true at an anomalous one. Apart from
the volumes, which cut at 250 ranks as published, nothing depends on the scale of the scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import argrelextrema
from sklearn.metrics import average_precision_score, roc_auc_score

FIGURES = ("vus_pr", "vus_roc", "average_precision", "roc_auc", "range_f1", "adjusted_f1")
NO_PERIOD = 125  # of a series whose autocorrelation has no usable peak, as published
N_THRESHOLDS = 250


@dataclass(frozen=True)
class Segments:
    """Stretches of consecutive anomalous points: their first and last positions."""

    first: np.ndarray
    last: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    @property
    def lengths(self) -> np.ndarray:
        return self.last - self.first + 1


def segments(labels: np.ndarray) -> Segments:
    """Return the stretches of true labels."""
    steps = np.diff(np.asarray(labels, dtype=np.int8), prepend=0, append=0)
    return Segments(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1)


def period(values: np.ndarray) -> int:
    """Return the lag of the highest peak of the autocorrelation, 125 where there is none.

    This is `find_length_rank` of TSB-AD at rank 1: the first 20,000 values, lags 3 to 400, and 125
    for a peak at the first three lags or beyond 300.
    """
    centered = np.asarray(values, dtype=np.float64)[:20_000]
    centered = centered - centered.mean()
    n = len(centered)
    power = np.square(np.abs(np.fft.rfft(centered, 2 * n)))
    correlation = np.fft.irfft(power, 2 * n)[: min(401, n)]
    if correlation[0] <= n * np.finfo(np.float64).eps:
        return NO_PERIOD
    beyond = correlation[3:] / correlation[0]
    peaks = argrelextrema(beyond, np.greater)[0]
    if not len(peaks):
        return NO_PERIOD
    highest = int(peaks[np.argsort(beyond[peaks])[-1]])
    return highest + 3 if 3 <= highest <= 300 else NO_PERIOD


def figures(scores: np.ndarray, labels: np.ndarray, window: int) -> dict[str, float]:
    """Return every figure of `FIGURES`; NaN where the labels are all alike."""
    labels = np.asarray(labels, dtype=bool)
    if labels.all() or not labels.any():
        return dict.fromkeys(FIGURES, float("nan"))
    volume_roc, volume_pr = volumes(scores, labels, window)
    return {
        "vus_pr": volume_pr,
        "vus_roc": volume_roc,
        "average_precision": float(average_precision_score(labels, scores)),
        "roc_auc": float(roc_auc_score(labels, scores)),
        "range_f1": range_f1(scores, labels),
        "adjusted_f1": adjusted_f1(scores, labels),
    }


def volumes(scores: np.ndarray, labels: np.ndarray, window: int) -> tuple[float, float]:
    """Return the volumes under the surfaces of ROC and of precision and recall.

    J. Paparrizos et al., "Volume Under the Surface", VLDB 2022, as TSB-AD (NeurIPS 2024) computes
    it: the labels get slopes of half a buffer on either side, of every width up to `window`; a
    threshold's recall is weighted by the share of the widened segments that it meets; thresholds
    are 250 ranks; areas are averaged over the widths. Equal to `RangeAUC_volume_opt`, without its
    walk over every threshold: what a threshold meets is a cumulative sum over ranks.
    """
    labels = np.asarray(labels, dtype=bool)
    true, ranks = segments(labels), threshold_ranks(scores)
    n_flagged = met_by_rank(ranks)
    hits = met_by_rank(ranks[labels])
    areas = []
    for width in range(window + 1):
        slopes = np.where(labels, 0.0, buffer_slopes(true, width, len(labels)))
        near = np.flatnonzero(slopes)
        soft = met_by_rank(ranks[near], slopes[near])
        met = hits + soft
        positive = hits[-1] + soft / 2
        recall = np.minimum(met / positive, 1) * share_met(true, width, ranks)
        false_alarms = (n_flagged - met) / (len(labels) - positive)
        areas.append(areas_under(recall, false_alarms, met / n_flagged))
    roc, precision_recall = np.mean(areas, axis=0)
    return float(roc), float(precision_recall)


def threshold_ranks(scores: np.ndarray) -> np.ndarray:
    """Return the first threshold that every score reaches, thresholds falling."""
    falling = np.sort(scores)[::-1]
    thresholds = falling[np.linspace(0, len(scores) - 1, N_THRESHOLDS).astype(int)]
    return np.searchsorted(-thresholds, -np.asarray(scores), side="left")


def met_by_rank(ranks: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Sum the weights of the points that each threshold meets."""
    return np.cumsum(np.bincount(ranks, weights, minlength=N_THRESHOLDS)).astype(np.float64)


def buffer_slopes(true: Segments, width: int, n: int) -> np.ndarray:
    """Return labels that fall off within half a `width` before and after every segment."""
    away = np.arange(1, width // 2 + 1)
    heights = np.sqrt(1 - away / max(width, 1))
    places = np.stack([true.first[:, None] - away, true.last[:, None] + away])
    inside = (places >= 0) & (places < n)
    weights = np.broadcast_to(heights, places.shape)[inside]
    return np.minimum(np.bincount(places[inside], weights, minlength=n), 1.0)


def share_met(true: Segments, width: int, ranks: np.ndarray) -> np.ndarray:
    """Return the share of segments, widened and merged, of which each threshold meets a point."""
    half = width // 2
    apart = true.last[:-1] + half < true.first[1:] - half
    first = np.maximum(true.first[np.append(True, apart)] - half, 0)
    last = np.minimum(true.last[np.append(apart, True)] + half, len(ranks) - 1)
    edges = np.column_stack([first, last + 1]).ravel()
    earliest = np.minimum.reduceat(np.append(ranks, N_THRESHOLDS), edges)[::2]
    return met_by_rank(earliest) / len(first)


def areas_under(
    recall: np.ndarray, false_alarms: np.ndarray, precision: np.ndarray
) -> tuple[float, float]:
    """Return the area under ROC by trapezoids, and that of precision and recall by steps."""
    up, along = np.r_[0, recall, 1], np.r_[0, false_alarms, 1]
    roc = np.dot(np.diff(along), (up[1:] + up[:-1]) / 2)
    return float(roc), float(np.dot(np.diff(up[:-1]), precision))


def adjusted_f1(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the best F1 after point adjustment: one flagged point counts for its whole segment.

    It misleads, since random scores reach it too: S. Kim et al., AAAI 2022. It is here for old
    comparisons alone. The best threshold is the highest score of some segment.
    """
    true = segments(labels)
    edges = np.column_stack([true.first, true.last + 1]).ravel()
    peaks = np.maximum.reduceat(np.append(scores, -np.inf), edges)[::2]
    order = np.argsort(-peaks)
    peaks, found = peaks[order], np.cumsum(true.lengths[order])
    normal = np.sort(scores[~labels])
    false_alarms = len(normal) - np.searchsorted(normal, peaks, side="left")
    return float(np.max(2 * found / (found + false_alarms + found[-1])))


def range_f1(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the best F1 of range-based precision and recall, over 250 ranks.

    N. Tatbul et al., "Precision and Recall for Time Series", NeurIPS 2018: a segment counts by the
    share that is flagged, divided by the number of pieces; one fifth of recall is for being met at
    all, as in TSB-AD.
    """
    ranks = threshold_ranks(scores)
    return max(range_f1_of(ranks <= rank, labels) for rank in np.unique(ranks))


def range_f1_of(flagged: np.ndarray, labels: np.ndarray) -> float:
    recall = range_reward(labels, flagged, for_existence=0.2)
    precision = range_reward(flagged, labels, for_existence=0.0)
    return 2 * recall * precision / (recall + precision) if recall + precision else 0.0


def range_reward(wanted: np.ndarray, found: np.ndarray, for_existence: float) -> float:
    """Return the mean reward of the segments of `wanted` for how `found` covers them."""
    whole = segments(wanted)
    covered = np.append(0, np.cumsum(found))
    begun = np.cumsum(np.diff(found.astype(np.int8), prepend=0) == 1)
    length = covered[whole.last + 1] - covered[whole.first]
    pieces = begun[whole.last] - begun[whole.first] + found[whole.first]
    overlap = length / whole.lengths / np.maximum(pieces, 1)
    return float(np.mean(for_existence * (length > 0) + (1 - for_existence) * overlap))
