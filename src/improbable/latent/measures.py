"""What counts as close in latent space: each measure in float64, pair by pair, term by term.

`gaussians` has the same measures for all pairs of two sets by matrix products, which are faster
and round differently from row to row; here items that are alike have values that are alike, so
that ties are ties.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from improbable.latent.gaussians import Floats, Posterior

ROOT = 0.5 * np.log(2.0 * np.pi)
Pair = Callable[[Posterior, Posterior], Floats]


@dataclass(frozen=True)
class Measure:
    """How close an item is to a query.

    Attributes
    ----------
    pair : callable
        Value of (query, item), their arrays broadcast, the last axis being summed.
    sign : float
        +1 where the higher value is closer, -1 where the lower.
    spread : bool
        Whether the query must have a scale.
    linear : bool
        Whether it is an expected log density, but for a number that depends on the query alone.
    """

    pair: Pair
    sign: float = -1.0
    spread: bool = True
    linear: bool = False


def log_density_at(query: Posterior, item: Posterior) -> Floats:
    """Log density at the query's mean, nats, term by term as `scipy.stats.norm.logpdf` does."""
    standard = (query.loc - item.loc) / item.scale
    return summed_up(-(standard**2) / 2.0 - ROOT - np.log(item.scale))


def standard_distance(query: Posterior, item: Posterior) -> Floats:
    """Distance of the query's mean from the item's, in the item's standard deviations."""
    return np.sqrt(summed_up(((query.loc - item.loc) / item.scale) ** 2))


def _kl(query: Posterior, item: Posterior) -> Floats:
    ratio = (query.scale / item.scale) ** 2
    standard = ((query.loc - item.loc) / item.scale) ** 2
    return np.maximum(0.5 * summed_up(standard + (ratio - 1.0 - np.log(ratio))), 0.0)


def _jeffreys(query: Posterior, item: Posterior) -> Floats:
    ratio = query.scale / item.scale
    distance = (query.loc - item.loc) ** 2
    terms = (ratio - 1.0 / ratio) ** 2 + distance * (query.scale**-2 + item.scale**-2)
    return 0.5 * summed_up(terms)


def _wasserstein(query: Posterior, item: Posterior) -> Floats:
    return np.sqrt(summed_up((query.loc - item.loc) ** 2 + (query.scale - item.scale) ** 2))


def _bhattacharyya(query: Posterior, item: Posterior) -> Floats:
    spread = query.scale**2 + item.scale**2
    distance = 0.25 * (query.loc - item.loc) ** 2 / spread
    return summed_up(distance + 0.5 * np.log(spread / (2.0 * query.scale * item.scale)))


def _euclidean(query: Posterior, item: Posterior) -> Floats:
    return np.sqrt(summed_up((query.loc - item.loc) ** 2))


def summed_up(terms: Floats) -> Floats:
    """Terms summed over their last axis, one row at a time: rows that are alike get like sums."""
    return np.asarray(terms.sum(axis=-1), dtype=np.float64)


MEASURES = {
    "log_density": Measure(log_density_at, sign=1.0, spread=False, linear=True),
    "kl": Measure(_kl, linear=True),
    "jeffreys": Measure(_jeffreys),
    "wasserstein": Measure(_wasserstein),
    "bhattacharyya": Measure(_bhattacharyya),
    "euclidean": Measure(_euclidean, spread=False),
}
