r"""Nearest items among many Gaussians, exactly, block by block.

Where the measure is an expected log density (`log_density` and `kl`), one float32 matrix product
bounds it from above for a block of items. An item whose bound lies below the k-th best value
found so far cannot be among the k best; the others are evaluated in float64. Answers are
therefore those of a float64 evaluation of every item, ties included, whatever float32 loses:
where it loses much, more items are evaluated. The other measures are evaluated for every item.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from improbable.latent.gaussians import Floats, Posterior
from improbable.latent.measures import MEASURES, ROOT, Measure, summed_up
from improbable.latent.packing import Items, Question, Rows, Singles

TOGETHER = 1 << 8  # queries that share a pass
PRODUCTS = 1 << 21  # bounds held at a time
LONGEST = 1 << 19  # items in a block
GROUP = 1 << 8  # neighboring items that are passed over together
GROUPS = 1 << 10  # groups looked into at a time
PAIRS = 1 << 15  # pairs evaluated at a time
TERMS = 1 << 18  # terms of sums held at a time, where every pair is evaluated
NEGLIGIBLE = 10.0  # nats: items whose probabilities add up to less than exp(-10) are left out
ROUNDING = 2e-3  # nats: from where on an item in the sum of densities is evaluated in float64
Positions = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Pairs of a query and an item, by query and then by position, with their exact scores.

    Attributes
    ----------
    queries, positions : ndarray of int of shape (n_pairs,)
        Of the query, and of the item among all items.
    scores : ndarray of shape (n_pairs,)
        The higher, the closer.
    """

    queries: Positions
    positions: Positions
    scores: Floats


@dataclass(frozen=True)
class Best:
    """The closest items so far.

    Attributes
    ----------
    scores : ndarray of shape (n_queries, at most k)
        The higher, the closer, in falling order; NaN where fewer are known.
    positions : ndarray of int of the same shape
        Of the items; those of equal scores are in rising order.
    """

    scores: Floats
    positions: Positions

    @staticmethod
    def none(n_queries: int, k: int = 0) -> "Best":
        """Nothing found yet, or room for `k` items a query."""
        return Best(np.empty((n_queries, k)), np.empty((n_queries, k), dtype=np.int64))

    def level(self, k: int) -> Floats:
        """Scores below which an item is not among the `k` closest, shape (n_queries,)."""
        if self.scores.shape[1] < k:
            return np.full(len(self.scores), -np.inf)
        return np.nan_to_num(self.scores[:, -1], nan=-np.inf, neginf=-np.inf)

    def merged(self, found: Pairs, k: int) -> "Best":
        """The `k` closest of these and of some that stand at later positions."""
        counts = np.bincount(found.queries, minlength=len(self.scores))
        places = np.arange(len(found.queries)) - np.repeat(np.cumsum(counts) - counts, counts)
        scores, positions = (np.full((len(counts), counts.max()), blank) for blank in (np.nan, -1))
        scores[found.queries, places] = found.scores
        positions[found.queries, places] = found.positions
        scores = np.hstack([self.scores, scores])
        positions = np.hstack([self.positions, positions.astype(np.int64)])
        # Stable: of equal scores the earlier position comes first. NaN comes last.
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return Best(*(np.take_along_axis(side, order, axis=1) for side in (scores, positions)))


@dataclass(frozen=True)
class Task:
    """One search.

    Attributes
    ----------
    items : Items
        Where to look.
    query : Posterior
        What for; of scale 0 where it is a point.
    measure : Measure
        What counts as close.
    k : int
        How many are wanted.
    rows : ndarray of int, optional
        Rising positions of the items that count; all when absent.
    """

    items: Items
    query: Posterior
    measure: Measure
    k: int
    rows: Positions | None

    @property
    def n_items(self) -> int:
        """Items that count."""
        return len(self.items) if self.rows is None else len(self.rows)

    def part(self, queries: slice | Bools) -> "Task":
        """The same for some of the queries."""
        query = Posterior(self.query.loc[queries], self.query.scale[queries])
        return replace(self, query=query)

    def blocks(self, size: int) -> Iterator[Rows]:
        """Positions of the items that count, `size` at a time."""
        for start in range(0, self.n_items, size):
            stop = min(start + size, self.n_items)
            yield slice(start, stop) if self.rows is None else self.rows[start:stop]

    def pairs(self, rows: Rows, queries: Positions, columns: Positions) -> Pairs:
        """Pairs of some queries and items of a block, scored."""
        positions = rows.start + columns if isinstance(rows, slice) else rows[columns]
        parts = [slice(start, start + PAIRS) for start in range(0, len(queries), PAIRS)]
        scores = [self.scores(queries[part], positions[part]) for part in parts]
        return Pairs(queries, positions, np.concatenate([np.empty(0), *scores]))

    def scores(self, queries: Any, rows: Rows) -> Floats:
        """Exact scores, the higher the closer, of queries and items whose shapes broadcast."""
        asked = Posterior(self.query.loc[queries], self.query.scale[queries])
        with np.errstate(all="ignore"):
            values = self.measure.sign * self.measure.pair(asked, self.items.take(rows))
            return np.fmax(values, -np.inf)  # NaN: what overflows both ways is far, too


def nearest(task: Task) -> tuple[Best, Floats]:
    """The closest items, and the log of the sum of all densities at the query's mean.

    Returns
    -------
    best : Best
        As many for each query as are wanted, or as count.
    log_total : ndarray of shape (n_queries,)
        Nats. The sum is off by less than 0.3 %, mostly by far less: float32 rounds those of its
        items that are not among the closest.
    """
    task = replace(task, k=min(task.k, task.n_items))
    starts = range(0, len(task.query), TOGETHER) if task.n_items else range(0)
    with np.errstate(all="ignore"):  # what overflows is infinitely far
        parts = [_nearest(task.part(slice(start, start + TOGETHER))) for start in starts]
    if not parts:
        return Best.none(len(task.query), task.k), np.empty(len(task.query))
    scores, positions = (
        np.concatenate([getattr(best, side) for best, _ in parts])
        for side in ("scores", "positions")
    )
    return Best(scores, positions), np.concatenate([log_total for _, log_total in parts])


def _nearest(task: Task) -> tuple[Best, Floats]:
    log_density = MEASURES["log_density"]
    if task.measure is log_density:
        return _swept(task, summed=True)
    points = Posterior(task.query.loc, np.zeros_like(task.query.loc))
    _, log_total = _swept(replace(task, query=points, measure=log_density, k=1), summed=True)
    best = _swept(task, summed=False)[0] if task.measure.linear else _evaluated(task)
    return best, log_total


def _evaluated(task: Task) -> Best:
    """Search that evaluates every pair."""
    best, everyone = Best.none(len(task.query)), np.arange(len(task.query))[:, None]
    for block in task.blocks(max(1, TERMS // task.query.loc.size)):
        scores = task.scores(everyone, block)
        hits = scores >= best.level(task.k)[:, None]
        queries, columns = np.nonzero(hits)
        positions = block.start + columns if isinstance(block, slice) else block[columns]
        best = best.merged(Pairs(queries, positions, scores[hits]), task.k)
    return best


@dataclass(frozen=True)
class Bounds:
    """Upper bounds for a block of items, in groups of those that stand side by side.

    Attributes
    ----------
    rows : slice or ndarray of int
        Positions of the items.
    upper : ndarray of float32 of shape (n_queries, n_groups, GROUP)
        Of expected log densities, nats; minus infinity past the last item.
    highest : ndarray of float32 of shape (n_queries, n_groups)
        Of the bounds of a group.
    slack : ndarray of float32 of shape (n_groups, GROUP)
        Of the items.
    """

    rows: Rows
    upper: Singles
    highest: Singles
    slack: Singles

    @staticmethod
    def of(task: Task, rows: Rows, question: Question) -> "Bounds":
        """Bounds of a block."""
        slack = task.items.slack[rows]
        if len(slack) % GROUP:
            slack = np.pad(slack, (0, -len(slack) % GROUP), constant_values=1.0)
        upper = task.items.upper(rows, question, len(slack)).reshape(len(question), -1, GROUP)
        highest = torch.from_numpy(upper).amax(dim=2).numpy()
        return Bounds(rows, upper, highest, slack.reshape(-1, GROUP))

    def near(self, floor: Singles) -> Iterator["Near"]:
        """Groups that may hold an item above a floor, some at a time, by query and position."""
        queries, groups = np.nonzero(self.highest >= floor[:, None])
        for start in range(0, len(queries), GROUPS):
            some = queries[start : start + GROUPS], groups[start : start + GROUPS]
            yield Near(*some, self.upper[some], self.slack[some[1]])


@dataclass(frozen=True)
class Near:
    """Groups of items worth a closer look.

    Attributes
    ----------
    queries, groups : ndarray of int of shape (n,)
    upper, slack : ndarray of float32 of shape (n, GROUP)
    """

    queries: Positions
    groups: Positions
    upper: Singles
    slack: Singles

    def rest(self, question: Question, floor: Singles, closest: Floats, hits: Bools) -> Floats:
        """Log of the sum, for each query, of the densities that float32 is good enough for.

        Those that matter and that it is not good enough for are added to `hits`.
        """
        error = self.slack * question.features[self.queries, -1:]
        if error.max() > ROUNDING:
            hits |= (error > ROUNDING) & (self.upper >= floor[self.queries, None])
        shift = _single_below(closest)
        logs = self.upper - error
        logs -= shift[self.queries, None]
        logs.ravel()[np.flatnonzero(hits)] = -np.inf
        sums = np.exp(logs, out=logs).sum(axis=1)
        total = np.bincount(self.queries, sums, len(closest))
        return np.asarray(shift + np.log(total), dtype=np.float64)

    def at(self, hits: Bools) -> Positions:
        """Queries and columns of some items in their block, shape (2, n_hits)."""
        lines, places = np.divmod(np.flatnonzero(hits), GROUP)
        return np.stack([self.queries[lines], self.groups[lines] * GROUP + places])


def _swept(task: Task, *, summed: bool) -> tuple[Best, Floats]:
    """Search by upper bounds; if `summed`, the log of the sum of densities beside it."""
    question, best = task.items.ask(task.query), Best.none(len(task.query))
    log_total = np.full(len(question), -np.inf)
    for rows in task.blocks(min(LONGEST, max(GROUP, PRODUCTS // len(question)))):
        bounds = Bounds.of(task, rows, question)
        seen = best if best.scores.size else _guess(task, bounds)
        closest = seen.scores[:, 0]
        level = _single_below(seen.level(task.k) - _entropy(task.query))
        least = closest - np.log(task.n_items) - NEGLIGIBLE
        floor = np.minimum(level, _single_below(least)) if summed else level
        wanted = [np.empty((2, 0), dtype=np.int64)]
        for near in bounds.near(floor):
            hits = near.upper >= level[near.queries, None]
            if summed:
                log_total = np.logaddexp(log_total, near.rest(question, floor, closest, hits))
            wanted.append(near.at(hits))
        found = task.pairs(rows, *np.concatenate(wanted, axis=1))
        if len(found.queries):
            best = best.merged(found, task.k)
            more = log_sum(found, np.fmax(best.scores[:, 0], closest))
            log_total = np.logaddexp(log_total, more)
    return best, log_total


def _guess(task: Task, bounds: Bounds) -> Best:
    """Items with high bounds: the closest of all are no farther."""
    lines = np.arange(len(bounds.upper))[:, None]
    if bounds.highest.shape[1] >= 4 * task.k:
        groups = _largest(bounds.highest, task.k)
        columns = groups * GROUP + bounds.upper[lines, groups].argmax(axis=2)
    else:
        upper = bounds.upper.reshape(len(lines), -1)
        columns = _largest(upper, min(task.k, int((upper[0] > -np.inf).sum())))
    queries = np.repeat(lines.ravel(), columns.shape[1])
    return Best.none(len(lines)).merged(task.pairs(bounds.rows, queries, columns.ravel()), task.k)


def _largest(values: Singles, k: int) -> Positions:
    return np.argpartition(-values, k - 1, axis=1)[:, :k]


def _entropy(query: Posterior) -> Floats:
    """What minus KL holds besides the expected log density, nats; 0 for points."""
    if not query.scale.any():
        return np.zeros(len(query))
    return summed_up(np.log(query.scale) + ROOT + 0.5)


def _single_below(level: Floats) -> Singles:
    """Float32 numbers below some levels, by more than float64 rounds; never infinite."""
    lower = level - 1e-12 * np.abs(np.where(np.isfinite(level), level, 0.0)) - 1e-12
    single = np.nextafter(lower.astype(np.float32), np.float32(-np.inf))
    return np.maximum(single, np.finfo(np.float32).min)


def log_sum(found: Pairs, closest: Floats) -> Floats:
    """Log of the sum of exact densities, for each query."""
    exact = np.exp(found.scores - closest[found.queries])
    total = np.bincount(found.queries, weights=exact, minlength=len(closest))
    return np.asarray(closest + np.log(total), dtype=np.float64)
