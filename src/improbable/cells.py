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
from improbable.tails import FEWEST_ROWS, Tails

LEAST_SPREAD = 1e-3
LARGEST = 1e38
CELLS = "cells"


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
        columns = Tails.of_columns(_settled(learned))
        least = columns.log_probs(_settled(shares)).min(axis=1)
        return cls(columns, Tails.of_scores(scores, LEAST_SPREAD), Tails.of_scores(least), share)

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
        beyond = log_p - self.row.log_share[-1, 0]
        told = self.row.bound[-1, 0] + self.row.excess[0] * beyond
        return np.where(beyond < 0.0, np.minimum(scores, told), scores)

    def to_array(self) -> Floats:
        """All of it in one table: log shares, bounds and excesses, the last column the share.

        Of shape (2 n_bounds + 1, n_columns + 3); rows and cells repeat their bound.
        """
        n_bounds = len(self.columns.bound)
        tails = [one.to_table(n_bounds) for one in (self.columns, self.row, self.cell)]
        return np.column_stack([*tails, np.full(2 * n_bounds + 1, self.share)])

    @classmethod
    def from_array(cls, table: Floats, n_columns: int) -> Self:
        """The test that `to_array` wrote.

        Raises
        ------
        FormatError
            If it is of another number of columns, or no test.
        """
        if table.ndim != 2 or table.shape[1] != n_columns + 3 or not _usable(table):
            raise FormatError("The stored test of cells does not fit. Save the model again.")
        columns, row, cell = (
            Tails.from_table(table[:, place])
            for place in (slice(n_columns), slice(-3, -2), slice(-2, -1))
        )
        return cls(columns, row, cell, float(table[0, -1]))


def cell_test(arrays: Mapping[str, NDArray[Any]], n_columns: int) -> CellTest | None:
    """The test among the arrays of a model file; None if it holds none."""
    if CELLS not in arrays:
        return None
    return CellTest.from_array(np.asarray(arrays[CELLS], dtype=np.float64), n_columns)


def _settled(shares: Floats) -> Floats:
    """Shares to seven digits: what the order of additions leaves behind decides nothing."""
    return np.clip(shares, -LARGEST, LARGEST).astype(np.float32).astype(np.float64)


def _usable(table: Floats) -> bool:
    """Whether a table of as many columns holds a test; before format 8 of one bound."""
    one_sized = len(table) >= 3 and len(table) % 2 == 1 and 0.0 < table[0, -1] <= 0.5
    return one_sized and Tails.from_table(table[:, :-1]).usable
