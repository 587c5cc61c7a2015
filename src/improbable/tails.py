"""Lower tails of columns of numbers: how improbable it is to lie that low or lower."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Floats

TAIL_SHARE, FEWEST_IN_TAIL = 0.05, 10
FEWEST_ROWS = 20
RANKS = (2, 4, 8, 16, 32)
LEAST_EXCESS = 0.3
LEAST_APART, MOST_APART = -3.0, 1.5  # nats


@dataclass(frozen=True)
class Tails:
    r"""Lower tails of some columns of numbers: shares of rows, and exponential below them.

    .. math:: \log P(s \le x) = \log p_1 - (u_1 - x) / e \quad (x < u_1)

    Above u_1 it is linear between the bounds u_k, with log p_k at each, and log p_K
    from the last one on. All bounds may be one.

    Attributes
    ----------
    log_share : ndarray of shape (n_bounds, n_columns)
        Logs of the shares p_k of rows at or below the bounds; 0 where too few rows tell.
    bound : ndarray of shape (n_bounds, n_columns)
        u_k in nats, in ascending order.
    excess : ndarray of shape (n_columns,)
        e, in nats: how far below a bound rows lie, in the mean, or by the median, which
        is :math:`e \log 2` and which single far rows do not move.
    """

    log_share: Floats
    bound: Floats
    excess: Floats

    @staticmethod
    def of_columns(values: Floats) -> "Tails":
        """Tails of numbers of shape (n, n_columns), NaN where unknown.

        Exponential from the lowest twentieth on, where the second lowest row is about
        as probable by that as among the rows: in less than one column in a hundred with
        such a tail it is not. Names of one row in some hundreds end in a step, which no
        law foresees, and single far rows flatten it. There the rows themselves tell, as
        far down as two of them, and e is the least of the mean excesses below the ranks
        of 16, of 32, and of the end of the tail.
        """
        tail, end = _Tail.of(values), len(values)
        law = tail.at((end,), tail.mean_excess((end,)))
        rows = tail.at((*RANKS, end), tail.mean_excess((16, 32, end)))
        apart = law.log_probs(rows.bound[:1])[0] - rows.log_share[0]
        refuted = (apart < LEAST_APART) | (apart > MOST_APART)
        return Tails(
            np.where(refuted, rows.log_share, law.log_share),
            np.where(refuted, rows.bound, law.bound),
            np.where(refuted, rows.excess, law.excess),
        )

    @staticmethod
    def of_scores(values: Floats, least: float = LEAST_EXCESS) -> "Tails":
        """Tail of numbers of shape (n,), by the median; e is no lower than `least`."""
        tail = _Tail.of(values[:, None])
        median = _medians(tail.below) / np.log(2.0)
        return tail.at((len(values),), np.maximum(median, least))

    def log_probs(self, values: Floats) -> Floats:
        """Log P of values this low or lower, shape (n, n_columns); NaN is typical."""
        found = np.tile(self.log_share[-1], (len(values), 1))
        row, column = np.nonzero(values < self.bound[-1])
        x, bound, log_share = values[row, column], self.bound[:, column], self.log_share[:, column]
        each, upper = np.arange(len(x)), (bound <= x).sum(axis=0)
        lower = np.maximum(upper - 1, 0)
        low, high = bound[lower, each], bound[upper, each]
        way = np.clip((x - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
        within = (1.0 - way) * log_share[lower, each] + way * log_share[upper, each]
        found[row, column] = within - np.maximum(bound[0] - x, 0.0) / self.excess[column]
        return found

    def to_table(self, n_bounds: int) -> Floats:
        """Log shares, bounds and excesses, shape (2 n_bounds + 1, n_columns).

        Where there is one bound it is repeated, which is the same tail.
        """
        repeats = n_bounds // len(self.bound)
        sides = [np.repeat(side, repeats, axis=0) for side in (self.log_share, self.bound)]
        return np.vstack([*sides, self.excess])

    @classmethod
    def from_table(cls, table: Floats) -> Self:
        """Tails that `to_table` wrote."""
        log_share, bound = table[:-1].reshape(2, -1, table.shape[1])
        return cls(log_share, bound, table[-1])

    @property
    def usable(self) -> bool:
        """Whether the numbers are those of tails."""
        finite = np.isfinite(self.log_share).all() and np.isfinite(self.excess).all()
        in_order = (self.bound[:-1] <= self.bound[1:]).all() and (self.bound < np.inf).all()
        return bool(finite and in_order and (self.excess > 0.0).all())


@dataclass(frozen=True)
class _Tail:
    """The lowest twentieth of each column, at least ten.

    Attributes
    ----------
    ordered, below : ndarray of shape (n, n_columns)
        Values in ascending order, NaN last, and how far each lies below the tail's end.
    n, count : ndarray of int of shape (n_columns,)
        Values there are, and those in the tail.
    """

    ordered: Floats
    below: Floats
    n: NDArray[np.intp]
    count: NDArray[np.intp]

    def mean_excess(self, ranks: Sequence[int]) -> Floats:
        """Mean distance below the rank, of some ranks, where it is least; or `LEAST_EXCESS`."""
        found = []
        for rank in ranks:
            place = np.maximum(np.minimum(rank, self.count), 1)
            end = np.take_along_axis(self.below, place[None] - 1, axis=0)
            within = np.arange(len(self.below))[:, None] < place
            found.append(((self.below - end) * within).sum(axis=0) / np.maximum(place - 1, 1))
        least: Floats = np.maximum(np.minimum.reduce(found), LEAST_EXCESS)
        return least

    @classmethod
    def of(cls, values: Floats) -> Self:
        n = (~np.isnan(values)).sum(axis=0)
        share = np.ceil(TAIL_SHARE * n).astype(np.intp)
        count = np.minimum(np.maximum(share, FEWEST_IN_TAIL), n)
        ordered = np.sort(values, axis=0)
        end = ordered[np.maximum(count, 1) - 1, np.arange(len(n))]
        return cls(ordered, np.nan_to_num(np.maximum(end - ordered, 0.0)), n, count)

    def at(self, ranks: Sequence[int], excess: Floats) -> Tails:
        """Tails with bounds at some ranks, as far as they lie within them."""
        place = np.maximum(np.minimum(np.array(ranks)[:, None], self.count), 1)
        known = self.n >= FEWEST_ROWS
        bound = np.where(known, np.take_along_axis(self.ordered, place - 1, axis=0), -np.inf)
        return Tails(np.where(known, np.log(place / (self.n + 1)), 0.0), bound, excess)


def _medians(below: Floats) -> Floats:
    """Median of the positive numbers of each column; 0 where there are none."""
    return np.array([np.median(c[c > 0.0]) if c.any() else 0.0 for c in below.T])
