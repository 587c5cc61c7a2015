"""Groups of posteriors: k-means whose distance is the Kullback-Leibler divergence.

KL between Gaussians is a Bregman divergence of their coordinates, so the center of a cluster is
a plain mean: of the moments if rows stand first in KL, of the natural parameters if they stand
second [1]_ [2]_ [3]_. The divergence of all rows from all centers is one matrix product.

.. [1] J. Davis, I. Dhillon, "Differential entropic clustering of multivariate Gaussians", 2006.
.. [2] A. Banerjee et al., "Clustering with Bregman divergences", JMLR 2005, proposition 1.
.. [3] F. Nielsen, R. Nock, "Clustering multivariate normal distributions", 2009.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.special import softmax
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from improbable import arguments
from improbable.data.raw import RawColumn
from improbable.errors import DataError, DataWarning
from improbable.latent.gaussians import (
    Floats,
    Posterior,
    from_moments,
    from_natural,
    jeffreys,
    moments,
    natural,
)
from improbable.randomness import RandomState, numpy_generator, seed_sequence

Labels = NDArray[np.intp]
Side = Callable[[Posterior], tuple[Floats, Floats]]
START_ROWS, START_ROUNDS = 20_000, 100
COUNT_ROWS, COUNT_STARTS, CANDIDATES = 3_000, 3, range(1, 21)
TREE_ROWS, LINKAGES = 5_000, ("average", "complete", "single")
BLOCK, SETTLED, SAME = 8192, 1e-10, 1e-9


def _blocks(n: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]


@dataclass(frozen=True)
class Divergence:
    r"""KL divergence with rows on one side and centers on the other.

    .. math:: KL(q \| c) = \phi(\eta_q) + F(\theta_c) - \langle \eta_q, \theta_c \rangle

    `rows` and `centers` give coordinates and potential: moments eta and negative entropy phi of
    the first side of KL, natural parameters theta and log partition F of the second; `center` is
    the center nearest to rows, of the mean of their coordinates.
    """

    rows: Side
    centers: Side
    center: Callable[[Floats], Posterior]


DIVERGENCES = {
    "kl": Divergence(moments, natural, from_moments),
    "reverse_kl": Divergence(natural, moments, from_natural),
}


@dataclass(frozen=True)
class _Table:
    """Coordinates and potentials of rows: what each round of k-means reads."""

    coordinates: Floats
    potential: Floats
    side: Divergence

    def to(self, centers: Posterior, place: slice = slice(None)) -> Floats:
        """Divergence of each row from each center, nats, shape (n_rows, n_centers)."""
        coordinates, potential = self.side.centers(centers)
        found = self.potential[place, None] + potential
        found -= self.coordinates[place] @ coordinates.T
        return np.maximum(found, 0.0, out=found)


@dataclass(frozen=True, repr=False)
class Clusters:
    """Rows in groups, the largest group first.

    Attributes
    ----------
    labels : ndarray of int of shape (n,)
        Cluster of each row, from 0.
    loc, scale : ndarray of shape (n_clusters, latent_dim)
        Centers: Gaussians, units of z.
    exemplars : ndarray of int of shape (n_clusters,)
        Row of each cluster that is nearest to its center.
    divergences : ndarray of shape (n,)
        Divergence of each row from the center of its cluster, nats. The lower, the nearer.
    rows : Posterior
    objectives : tuple of float
        Sum of the divergences in each round, nats. Never rises.
    converged : bool
        False if the last round allowed still moved rows.
    divergence : str
    evidence : dict of int to float
        `evidence`, nats, of the numbers of clusters to choose from; the higher, the better.
    merges : ndarray of shape (n - 1, 4), or None
        The tree of `hierarchy` in SciPy's layout, as for a dendrogram.
    """

    labels: Labels
    loc: Floats
    scale: Floats
    exemplars: Labels
    divergences: Floats
    rows: Posterior
    objectives: tuple[float, ...]
    converged: bool = True
    divergence: str = "kl"
    evidence: dict[int, float] = field(default_factory=dict)
    merges: Floats | None = None

    def __len__(self) -> int:
        return len(self.loc)

    @property
    def sizes(self) -> Labels:
        """Rows of each cluster, shape (n_clusters,)."""
        return np.bincount(self.labels, minlength=len(self))

    @cached_property
    def responsibilities(self) -> Floats:
        """`membership` of the rows that were grouped; made when first asked for."""
        return self.membership(self.rows)

    def membership(self, rows: Posterior) -> Floats:
        """Probability of each cluster for each row, shape (n_rows, n_clusters).

        Proportional to size times exp(-divergence); `labels` go by divergence alone.
        """
        side, centers = DIVERGENCES[self.divergence], Posterior(self.loc, self.scale)
        out, weights = np.empty((len(rows), len(self))), np.log(self.sizes)
        for place in _blocks(len(rows)):
            table = _Table(*side.rows(_some(rows, place)), side)
            out[place] = softmax(weights - table.to(centers), axis=1)
        return out

    def to_frame(self, library: str | None = None) -> Any:
        """Table with a line for each row: cluster, responsibility and divergence of it."""
        sure = self.responsibilities[np.arange(len(self.labels)), self.labels]
        columns = {
            "cluster": RawColumn(self.labels * 1.0, "number", "Int64"),
            "responsibility": RawColumn(sure, "number", "Float64"),
            "divergence": RawColumn(self.divergences, "number", "Float64"),
        }
        return self.rows.table(columns, library)

    def __repr__(self) -> str:
        lines = [f"<Clusters: {len(self)} of {len(self.labels)} rows>"]
        for k, (size, row) in enumerate(zip(self.sizes, self.exemplars, strict=True)):
            lines.append(f"  {k}: size {size} ({size / len(self.labels):.1%}), exemplar row {row}")
        return "\n".join(lines)


def cluster(
    posterior: Posterior,
    n_clusters: int | Iterable[int] | None = None,
    *,
    divergence: str = "kl",
    random_state: RandomState = None,
    n_starts: int = 10,
    max_iterations: int = 300,
) -> Clusters:
    r"""Groups of rows whose posteriors are alike.

    .. math:: \min_{c, k} \sum_i KL(q_i \| c_{k(i)})

    Lloyd's algorithm on all rows, from the best of `n_starts` descents on 20,000 of them; time
    and memory are linear in rows. What is drawn depends on what rows hold and not on their
    order, so one `random_state` groups the same rows alike in any order.

    Parameters
    ----------
    posterior : Posterior
    n_clusters : int, iterable of int, or None
        A number, or numbers to choose from by `evidence` on 3,000 rows; None is 1 to 20. More
        rows can tell more groups apart. Fewer come, with a warning, if rows repeat.
    divergence : {"kl", "reverse_kl"}
        KL(row to center), whose centers cover their rows, or KL(center to row), whose centers
        lie where their rows overlap.
    random_state : int, Generator, RandomState or None
    n_starts, max_iterations : int
        Descents on the sample, and rounds on all rows.

    Raises
    ------
    DataError
        If there are fewer rows than clusters, a row is no Gaussian, or a name is unknown.
    """
    counts = _counts(posterior, n_clusters)
    if divergence not in DIVERGENCES:
        raise DataError(f"divergence must be {' or '.join(DIVERGENCES)}, got {divergence!r}.")
    for name, value in (("n_starts", n_starts), ("max_iterations", max_iterations)):
        arguments.whole(name, value)
    side, rng = DIVERGENCES[divergence], numpy_generator(seed_sequence(random_state))
    with threadpool_limits(1, "blas"):  # products so small that threads wait for each other
        sample, weighed = _sample(posterior, START_ROWS, rng), {}
        if len(counts) > 1:
            few = _some(sample, slice(COUNT_ROWS))
            ends = ((k, _best_start(few, k, side, COUNT_STARTS, rng)) for k in counts)
            weighed = {k: evidence(few, end.labels) for k, end in ends}
        wanted = max(weighed, key=lambda k: weighed[k]) if weighed else counts[0]
        start = _best_start(sample, wanted, side, n_starts, rng)
        table = _Table(*side.rows(posterior), side)
        last, objectives, settled = _descend(table, start.centers, max_iterations)
    how = {"converged": settled, "divergence": divergence, "evidence": weighed}
    found = _record(posterior, last, objectives, **how)
    if len(found) < wanted:
        text = f"Rows that differ make no more than {len(found)} clusters, not {wanted}."
        warnings.warn(f"{text} Ask for fewer, or give other rows.", DataWarning, stacklevel=2)
    return found


def _counts(posterior: Posterior, n_clusters: int | Iterable[int] | None) -> list[int]:
    """Numbers of clusters to try, of rows that have been checked."""
    finite = np.isfinite(posterior.loc).all() and np.isfinite(posterior.scale).all()
    if len(posterior) == 0 or not finite or not (posterior.scale > 0.0).all():
        raise DataError("Rows need finite means and scales above 0. Give one or more such rows.")
    if n_clusters is None:
        return [count for count in CANDIDATES if count <= len(posterior)]
    given: Any = n_clusters
    if isinstance(given, Iterable) and not isinstance(given, str | np.ndarray):
        given = list(given)
    counts = np.ravel(np.array(given, dtype=object)).tolist()
    rows = f"Ask for 1 to {len(posterior)}, the rows."
    if not all(map(arguments.is_whole, counts)):
        raise DataError(f"n_clusters must be whole numbers, got {n_clusters!r}. {rows}")
    if not counts or not 1 <= min(counts) <= max(counts) <= len(posterior):
        raise DataError(f"n_clusters is {n_clusters!r}. {rows}")
    return [int(count) for count in counts]


def _sample(rows: Posterior, size: int, rng: np.random.Generator) -> Posterior:
    """Some rows in random order, drawn from a sorted list: the same however the rows stand."""
    weights = rng.standard_normal((2, rows.loc.shape[1]))
    keys = (rows.loc * weights[0] + rows.scale * weights[1]).sum(axis=1)
    return _some(rows, np.argsort(keys, kind="stable")[rng.permutation(len(rows))[:size]])


def _some(q: Posterior, index: Any) -> Posterior:
    return Posterior(q.loc[index], q.scale[index])


def _best_start(
    rows: Posterior, count: int, side: Divergence, n_starts: int, rng: np.random.Generator
) -> "_Round":
    """Best of several descents, each from seeds of its own."""
    table = _Table(*side.rows(rows), side)
    seeds = (_seeds(rows, count, side, rng) for _ in range(n_starts))
    ends = (_descend(table, centers, START_ROUNDS)[0] for centers in seeds)
    return min(ends, key=lambda end: end.divergences.sum())


def _seeds(rows: Posterior, count: int, side: Divergence, rng: np.random.Generator) -> Posterior:
    """Centers to start from: k-means++ with a few tries each (Arthur and Vassilvitskii, 2007).

    Rows are first made wider by the spread of all: as they are, they would be centers so narrow
    that all other rows are far from them alike.
    """
    spread = rows.loc.var(axis=0) + (rows.scale**2).mean(axis=0)
    wide = Posterior(rows.loc, np.sqrt(rows.scale**2 + spread))
    table, chosen = _Table(*side.rows(wide), side), [int(rng.integers(len(rows)))]
    nearest = table.to(_some(wide, chosen))[:, 0]
    while len(chosen) < count and nearest.max() > SAME:
        tries = rng.choice(len(rows), 2 + int(np.log(count)), p=nearest / nearest.sum())
        left = np.minimum(nearest[:, None], table.to(_some(wide, tries)))
        best = int(left.sum(axis=0).argmin())
        chosen, nearest = [*chosen, int(tries[best])], left[:, best]
    return _some(wide, chosen)


@dataclass(frozen=True)
class _Round:
    """Rows with their nearest centers, and sums of coordinates to make the next from."""

    centers: Posterior
    labels: Labels
    divergences: Floats
    sums: Floats


def _descend(table: _Table, centers: Posterior, most: int) -> tuple[_Round, list[float], bool]:
    """Rounds of Lloyd's algorithm: the last one, every objective, and whether it settled."""
    last = _assign(table, centers)
    objectives = [float(last.divergences.sum())]
    while len(objectives) < most:
        before, last = last, _assign(table, _recenter(table, last))
        objectives.append(float(last.divergences.sum()))
        slow = objectives[-2] - objectives[-1] <= SETTLED * objectives[-1]
        if slow or np.array_equal(before.labels, last.labels):
            return last, objectives, True
    return last, objectives, False


def _assign(table: _Table, centers: Posterior) -> _Round:
    n = len(table.potential)
    labels, nearest = np.empty(n, dtype=np.intp), np.empty(n)
    sums = np.zeros((len(centers), table.coordinates.shape[1]))
    for place in _blocks(n):
        found = table.to(centers, place)
        labels[place], nearest[place] = found.argmin(axis=1), found.min(axis=1)
        chosen = np.equal.outer(np.arange(len(centers)), labels[place])
        sums += chosen.astype(np.float64) @ table.coordinates[place]
    return _Round(centers, labels, nearest, sums)


def _recenter(table: _Table, last: _Round) -> Posterior:
    """Centers of the clusters; the farthest rows take the places of empty ones."""
    counts, sums = np.bincount(last.labels, minlength=len(last.centers)), last.sums.copy()
    empty = np.flatnonzero(counts == 0)
    far = np.argsort(-last.divergences, kind="stable")[: len(empty)] if len(empty) else empty
    counts[empty], sums[empty] = last.divergences[far] > SAME, table.coordinates[far]
    return table.side.center(sums[counts > 0] / counts[counts > 0, None])


def evidence(rows: Posterior, labels: Labels) -> float:
    r"""Integrated completed likelihood of a grouping but for a constant, nats: higher is better.

    .. math:: \sum_k n_k \Big( \log \frac{n_k}{n} - \sum_j \log t_{kj} \Big)
        - \frac{\log n}{2} \Big( K - 1 + 2 K \sum_j \frac{v_j}{v_j + \bar s_j^2} \Big)

    Expected log likelihood of rows and labels at centers of scale t, less the price of their
    parameters (Biernacki, Celeux and Govaert, "Assessing a mixture model for clustering with
    the integrated completed likelihood", 2000). A dimension's mean and scale count by the share
    of variance that lies between rows, v of their means: one that is not in use costs nothing.
    """
    chosen = np.equal.outer(np.unique(labels), labels).astype(np.float64)
    sizes = chosen.sum(axis=1)
    scale = from_moments(chosen @ moments(rows)[0] / sizes[:, None]).scale
    fit = sizes @ (np.log(sizes / len(rows)) - np.log(scale).sum(axis=1))
    between = rows.loc.var(axis=0)
    used = (between / (between + (rows.scale**2).mean(axis=0))).sum()
    return float(fit - 0.5 * np.log(len(rows)) * (len(sizes) * (1.0 + 2.0 * used) - 1.0))


def hierarchy(posterior: Posterior, n_clusters: int, linkage: str = "average") -> Clusters:
    """Groups from merging the two nearest again and again, by Jeffreys divergence.

    Parameters
    ----------
    posterior : Posterior
        2 to 5,000 rows: every pair is compared.
    n_clusters : int
        Where to cut the tree; ties can leave fewer.
    linkage : {"average", "complete", "single"}
        Distance of two groups: the mean, largest or smallest of their pairs.

    Raises
    ------
    DataError
        As from `cluster`, or if there are too many rows.
    """
    if linkage not in LINKAGES:
        raise DataError(f"linkage must be one of {', '.join(LINKAGES)}, got {linkage!r}.")
    if not 2 <= len(posterior) <= TREE_ROWS:
        text = f"A hierarchy compares 2 to {TREE_ROWS} rows, got {len(posterior)}."
        raise DataError(f"{text} Give a sample of them, or use cluster.")
    count, *others = _counts(posterior, n_clusters)
    if others:
        arguments.refuse("n_clusters", "one whole number", n_clusters)
    apart = scipy.spatial.distance.squareform(jeffreys(posterior, posterior), checks=False)
    merges = scipy.cluster.hierarchy.linkage(apart, linkage)
    labels = scipy.cluster.hierarchy.fcluster(merges, count, "maxclust").astype(np.intp) - 1
    side = DIVERGENCES["kl"]
    table = _Table(*side.rows(posterior), side)
    chosen = np.equal.outer(np.unique(labels), labels).astype(np.float64)
    centers = side.center(chosen @ table.coordinates / chosen.sum(axis=1, keepdims=True))
    near = table.to(centers)[np.arange(len(labels)), labels]
    cut = _Round(centers, labels, near, chosen @ table.coordinates)
    return _record(posterior, cut, [float(near.sum())], merges=merges)


def _record(rows: Posterior, last: _Round, objectives: list[float], **how: Any) -> Clusters:
    """Clusters without the empty ones, the largest first; of one size, by their centers."""
    sizes = np.bincount(last.labels, minlength=len(last.centers))
    order = np.lexsort((*last.centers.loc.T[::-1], -sizes))
    labels, filled = np.argsort(order)[last.labels], order[: np.count_nonzero(sizes)]
    centers, near_first = _some(last.centers, filled), np.lexsort((last.divergences, labels))
    first = np.searchsorted(labels[near_first], np.arange(len(filled)))
    where = (near_first[first], last.divergences)
    return Clusters(labels, centers.loc, centers.scale, *where, rows, tuple(objectives), **how)
