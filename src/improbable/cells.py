"""Rows in which a single cell is improbable, however usual the row is as a whole.

The score of a row adds up all of its cells, so that one of twenty columns may hold
what no row ever held and be lost in the spread of the others. So two questions are
asked at once, of the row and of its least probable cell. The tails of held-out rows
make a probability of either answer, cells are left a share of the false alarms (a
weighted Bonferroni test: Genovese, Roeder and Wasserman, "False discovery control
with p-value weighting", 2006), and the smaller one decides, told as a score.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Floats
from improbable.errors import FormatError

TAIL_SHARE, FEWEST_IN_TAIL = 0.05, 10
FEWEST_ROWS = 20
LEAST_EXCESS, LEAST_SPREAD = 0.3, 1e-3
LARGEST = 1e38
CELLS = "cells"


@dataclass(frozen=True)
class Tails:
    r"""Lower tails of some columns of numbers, exponential below a bound u.

    .. math:: \log P(s \le x) = \log p_u - (u - x)_+ / e

    Attributes
    ----------
    log_share : ndarray of shape (n_columns,)
        Log of the share p_u of rows at or below the bound; 0 where too few rows tell.
    bound : ndarray of shape (n_columns,)
        u, in nats.
    excess : ndarray of shape (n_columns,)
        e, in nats: how far below the bound rows there lie, in the mean, or by the
        median, which is :math:`e \log 2` and which single far rows do not move.
    """

    log_share: Floats
    bound: Floats
    excess: Floats

    @classmethod
    def fit(cls, values: Floats, least: float = LEAST_EXCESS, *, by_median: bool = False) -> Self:
        """Tails of numbers of shape (n, n_columns), NaN where unknown; no e is below `least`."""
        n = (~np.isnan(values)).sum(axis=0)
        count = _in_tail(n)
        ordered = np.sort(values, axis=0)  # NaN last
        bound = ordered[np.maximum(count, 1) - 1, np.arange(len(n))]
        known = n >= FEWEST_ROWS
        bound = np.where(known, bound, -np.inf)
        below = _below(values, bound)
        excess = below.sum(axis=0) / np.maximum(count - 1, 1)
        if by_median:
            excess = _medians(below) / np.log(2.0)
        log_share = np.where(known, np.log(np.maximum(count, 1) / (n + 1)), 0.0)
        return cls(log_share, bound, np.maximum(excess, least))

    def log_probs(self, values: Floats) -> Floats:
        """Log P of values this low or lower, shape (n, n_columns); NaN is typical."""
        found: Floats = self.log_share - _below(values, self.bound) / self.excess
        return found


def _in_tail(n: NDArray[np.intp]) -> NDArray[np.intp]:
    share = np.ceil(TAIL_SHARE * n).astype(np.intp)
    found: NDArray[np.intp] = np.minimum(np.maximum(share, FEWEST_IN_TAIL), n)
    return found


def _medians(below: Floats) -> Floats:
    """Median of the positive numbers of each column; 0 where there are none."""
    return np.array([np.median(c[c > 0.0]) if c.any() else 0.0 for c in below.T])


def _below(values: Floats, bound: Floats) -> Floats:
    return np.maximum(bound - np.where(np.isnan(values), np.inf, values), 0.0)


@dataclass(frozen=True)
class CellTest:
    r"""What makes a row as improbable as its least probable cell.

    .. math::
        \log p = \min_j \log P_j(s_j(x)), \qquad
        s'(x) = \min\left\{s(x), \; Q\left(
            \log P(\log p) + \log \tfrac{1 - w}{w}\right)\right\}

    s_j is the share of column j, P a tail probability, Q the score that has a
    tail probability, w the share of the false alarms that cells are left. Where
    Q would lie outside the tail of the scores the cell counts for nothing.

    Attributes
    ----------
    columns : Tails
        Of the shares of the columns.
    row, cell : Tails
        Of one column each: scores of held-out rows, and the log probabilities of
        their least probable cells.
    share : float
        w, in (0, 0.5].
    """

    columns: Tails
    row: Tails
    cell: Tails
    share: float

    @classmethod
    def fit(cls, learned: Floats, scores: Floats, shares: Floats, share: float) -> Self | None:
        """The test by shares of other rows than those held out; None where too few can tell.

        Were they the same, each would be judged by a tail that it has made heavier
        itself, and new rows by one that they have not.

        Parameters
        ----------
        learned : ndarray of shape (n_rows, n_columns)
            Shares of other normal rows, nats; NaN where missing.
        scores : ndarray of shape (n,)
            Of held-out rows, nats.
        shares : ndarray of shape (n, n_columns)
            Of held-out rows, nats; NaN where missing.
        share : float
        """
        if len(scores) < FEWEST_ROWS or not shares.shape[1] or not share:
            return None
        columns = Tails.fit(_settled(learned))
        least = columns.log_probs(_settled(shares)).min(axis=1)
        row = Tails.fit(scores[:, None], LEAST_SPREAD, by_median=True)
        return cls(columns, row, Tails.fit(least[:, None], by_median=True), share)

    def __call__(self, scores: Floats, shares: Floats) -> Floats:
        """Scores of rows as they are, or lower where a cell says so.

        Parameters
        ----------
        scores : ndarray of shape (n,)
            Nats.
        shares : ndarray of shape (n, n_columns)
            Nats; NaN where missing.
        """
        least = self.columns.log_probs(_settled(shares)).min(axis=1)
        log_p = self.cell.log_probs(least[:, None])[:, 0] + np.log(1.0 / self.share - 1.0)
        beyond = log_p - self.row.log_share[0]
        told = self.row.bound[0] + self.row.excess[0] * beyond
        return np.where(beyond < 0.0, np.minimum(scores, told), scores)

    def to_array(self) -> Floats:
        """All of it in one table of shape (3, n_columns + 3), the last column the share."""
        parts = (self.columns, self.row, self.cell)
        tails = [np.concatenate([getattr(p, name) for p in parts]) for name in FIELDS]
        return np.column_stack([np.stack(tails), np.full(len(FIELDS), self.share)])

    @classmethod
    def from_array(cls, table: Floats, n_columns: int) -> Self:
        """The test that `to_array` wrote.

        Raises
        ------
        FormatError
            If it is of another number of columns, or no test.
        """
        if table.shape != (len(FIELDS), n_columns + 3) or not _usable(table):
            raise FormatError("The stored test of cells does not fit. Save the model again.")
        columns, row, cell = (
            Tails(*table[:, place]) for place in (slice(n_columns), slice(-3, -2), slice(-2, -1))
        )
        return cls(columns, row, cell, float(table[0, -1]))


FIELDS = ("log_share", "bound", "excess")


def cell_test(arrays: Mapping[str, NDArray[Any]], n_columns: int) -> CellTest | None:
    """The test among the arrays of a model file; None if it holds none."""
    if CELLS not in arrays:
        return None
    return CellTest.from_array(np.asarray(arrays[CELLS], dtype=np.float64), n_columns)


def _settled(shares: Floats) -> Floats:
    """Shares to seven digits: what the order of additions leaves behind decides nothing."""
    return np.clip(shares, -LARGEST, LARGEST).astype(np.float32).astype(np.float64)


def _usable(table: Floats) -> bool:
    log_share, bound, excess = table[:, :-1]
    share = table[0, -1]
    finite = np.isfinite(log_share).all() and np.isfinite(excess).all()
    return bool(finite and (excess > 0.0).all() and (bound < np.inf).all() and 0.0 < share <= 0.5)
