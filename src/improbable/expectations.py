"""What cells were expected to be, given the other columns of their rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from improbable.data.clock import clock_text, is_clock
from improbable.data.columns import Constant
from improbable.data.moments import Datetime
from improbable.data.parts import Bools, Floats
from improbable.data.rows import Rows
from improbable.data.table import TableCodec
from improbable.data.windows import WindowCodec
from improbable.generation import Mixture

GRID = ndtri((np.arange(16) + 0.5) / 16)
INTERVAL = (0.05, 0.95)
BLOCK = 64
PROBED_CELLS, MOST_COLUMNS, FEWEST_ROWS = 512, 64, 8
MOST_STRETCH, LEAST_REACH = 20.0, 1e-3
Values = NDArray[Any]
Conditional = Callable[[NDArray[np.intp], Bools], Mixture]


@dataclass(frozen=True)
class Expected:
    """Expected values, medians and 90 % intervals of chosen cells; empty elsewhere."""

    values: Values
    lower: Floats
    middle: Floats
    upper: Floats

    def stretched(self, factors: Floats, least: Floats) -> "Expected":
        """The same with intervals wider about their medians, but not below the least values."""
        lower = self.middle - factors * (self.middle - self.lower)
        upper = self.middle + factors * (self.upper - self.middle)
        return replace(self, lower=np.maximum(lower, least), upper=upper)


def expected_cells(
    codec: TableCodec | WindowCodec, observed: Bools, chosen: Bools, conditional: Conditional
) -> Expected:
    """What each chosen cell was expected to be, given the other columns of its row.

    Parameters
    ----------
    codec : TableCodec or WindowCodec
    observed : ndarray of bool of shape (n, n_parts)
        Parts of the rows that hold a value.
    chosen : ndarray of bool of shape (n, n_columns)
        Cells to answer for: each costs a row with that cell hidden.
    conditional : callable
        From positions of rows, and what of each is visible, to the mixture of all
        their cells; `generation.conditional` of those rows.
    """
    values = np.full(chosen.shape, None, dtype=object)
    lower, middle, upper = (np.full(chosen.shape, np.nan) for _ in range(3))
    varies = chosen.copy()
    for i, column in enumerate(codec.modeled):
        if isinstance(column.kind, Constant):
            values[chosen[:, i], i], varies[:, i] = column.kind.value, False
    cells = np.argwhere(varies)
    for some in np.split(cells, range(BLOCK, len(cells), BLOCK)) if len(cells) else []:
        visible = observed[some[:, 0]]
        for cell, i in enumerate(some[:, 1]):
            visible[cell, codec.column_entries(i)[1]] = False
        mixture = conditional(some[:, 0], visible)
        for i in np.unique(some[:, 1]):
            here = some[:, 1] == i
            rows = some[here, 0]
            one = mixture.take(np.flatnonzero(here))
            if has_interval(codec, i):
                found = _quantiles(codec, i, one)
                lower[rows, i], middle[rows, i], upper[rows, i] = found
            values[rows, i] = _expected_values(codec, i, one, middle[rows, i])
    return Expected(values, lower, middle, upper)


def has_interval(codec: TableCodec | WindowCodec, i: int) -> bool:
    """Whether values of a column lie on a line, so that an interval can hold them."""
    parts = codec.column_entries(i)[1]
    numbers = codec.modeled[i].kind.storage != "text"
    return bool(parts) and numbers and codec.parts[parts[0]].likelihood != "von_mises"


def least_values(codec: TableCodec | WindowCodec) -> Floats:
    """Value below which a column never goes, shape (n_columns,): minus infinity if it may.

    Of numbers that are never negative it is 0, or if they are never 0 something above.
    """
    encodings = (getattr(column.kind, "encoding", None) for column in codec.modeled)
    return np.array([one.least if one and one.nonnegative else -np.inf for one in encodings])


def _expected_values(
    codec: TableCodec | WindowCodec, i: int, mixture: Mixture, middle: Floats
) -> Values:
    """Expected values of one column of a mixture: medians of numbers, moments as text."""
    column = codec.modeled[i]
    if has_interval(codec, i) and not isinstance(column.kind, Datetime):
        return middle.astype(object)
    found = codec.inverse_column(i, mixture.expected)
    if is_clock(column.dtype) and column.storage == "number":
        return clock_text(np.round(found).astype(np.float64))
    if not isinstance(column.kind, Datetime):
        return found
    return np.array(column.moments(found), dtype=object)


def _on_a_line(codec: TableCodec | WindowCodec, i: int, encoded: Floats) -> Floats:
    """Values of one column of numbers, moments in seconds since 1970."""
    values, kind = codec.inverse_column(i, encoded), codec.modeled[i].kind
    return (kind.seconds(values) if isinstance(kind, Datetime) else values).astype(np.float64)


def _quantiles(
    codec: TableCodec | WindowCodec, i: int, mixture: Mixture
) -> tuple[Floats, Floats, Floats]:
    """5 %, 50 % and 95 % quantiles of a numeric column, from equally likely grid points."""
    entries = codec.column_entries(i)[0]
    kind = codec.modeled[i].kind
    has_spike = len(entries) > 1 and not isinstance(kind, Datetime)
    size = entries[1] if has_spike else entries[0]
    points = mixture.mean[..., size, None] + np.sqrt(mixture.variance[..., size, None]) * GRID
    weights = np.broadcast_to(mixture.weights[..., None] / len(GRID), points.shape)
    encoded = np.zeros((points.size, mixture.mean.shape[-1]))
    encoded[:, entries[0]] = 1.0
    encoded[:, size] = points.ravel()
    values = _on_a_line(codec, i, encoded).reshape(points.shape)
    if has_spike:
        present = mixture.mean[..., entries[0]]
        weights = weights * present[..., None]
        zero = (mixture.weights * (1.0 - present))[..., None]
        values = np.concatenate([values, np.zeros_like(zero)], axis=-1)
        weights = np.concatenate([weights, zero], axis=-1)
    values = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
    weights = np.moveaxis(weights, 1, 0).reshape(len(values), -1)
    return _weighted_quantiles(values, weights)


def _weighted_quantiles(values: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    order = np.argsort(values, axis=1)
    ranked = np.take_along_axis(values, order, axis=1)
    reached = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    reached /= reached[:, -1:]
    found = [
        ranked[np.arange(len(ranked)), np.argmax(reached >= level - 1e-12, axis=1)]
        for level in (INTERVAL[0], 0.5, INTERVAL[1])
    ]
    return found[0], found[1], found[2]


def stretches(codec: TableCodec | WindowCodec, rows: Rows, conditional: Conditional) -> Floats:
    r"""How much wider than the model's own intervals must be to hold 90 % of held-out values.

    .. math:: c = r_{(\lceil 0.9 (n + 1) \rceil)}, \qquad
        r_i = |x_i - m_i| / |e_i - m_i|

    with m the median and e the end of the interval on the side of x: split
    conformal prediction [1]_. Intervals of hardly any width do not count, as
    no factor helps them. At least 1, at most 20; 1 for names, for columns of
    which no value is held out, and where there are more than 64 columns.

    Parameters
    ----------
    codec : TableCodec or WindowCodec
    rows : Rows
        Held-out rows; of many columns fewer are looked at.
    conditional : callable
        As in `expected_cells`, of these rows.

    Returns
    -------
    ndarray of shape (n_columns,)

    References
    ----------
    .. [1] Y. Romano et al., "Conformalized Quantile Regression", NeurIPS 2019.
    """
    factors = np.ones(len(codec.names))
    lines = np.array([has_interval(codec, i) for i in range(len(factors))], dtype=bool)
    if not lines.any() or len(factors) > MOST_COLUMNS:
        return factors
    rows = rows.take(slice(max(FEWEST_ROWS, PROBED_CELLS // int(lines.sum()))))
    chosen = lines & ~rows.missing
    found = expected_cells(codec, rows.observed, chosen, conditional)
    for i in np.flatnonzero(chosen.any(axis=0)):
        values = _on_a_line(codec, int(i), rows.values)[chosen[:, i]]
        low, middle, high = (
            side[chosen[:, i], i] for side in (found.lower, found.middle, found.upper)
        )
        reach = np.where(values < middle, middle - low, high - middle)
        wide = reach > LEAST_REACH * np.median(high - low)
        ratio = np.sort(np.abs(values - middle)[wide] / reach[wide])
        if len(ratio):
            rank = min(int(np.ceil(0.9 * (len(ratio) + 1))), len(ratio))
            factors[i] = np.clip(ratio[rank - 1], 1.0, MOST_STRETCH)
    return factors
