"""Columns' parts of a row's log probability, in NumPy; see `improbable.scores.shares`."""

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Floats
from improbable.portable.network import Draws


def shares(draws: Draws, part_columns: NDArray[np.int64]) -> Floats:
    """Each column's part of `expected_log_prob`, mean over members, nats, shape (n, n_columns)."""
    network, rows = draws.network, draws.rows
    with np.errstate(over="ignore"):
        parts = network.log_prob_parts(network.decode(draws.z), rows.values)
    out: Floats = rows.offsets.copy()
    np.add.at(out.T, part_columns, (parts.mean(axis=(0, 1)) * rows.observed).T)
    return out
