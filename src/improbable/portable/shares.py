"""Columns' parts of a row's log probability, in NumPy; see `improbable.scores.shares`."""

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Floats
from improbable.portable.network import SCORES, Draws


def shares(draws: Draws, part_columns: NDArray[np.int64]) -> Floats:
    """Each column's part of `expected_log_prob`, mean over members, nats, shape (n, n_columns)."""
    return _by_column(draws, _parts(draws), part_columns)


def score_with_shares(
    draws: Draws, name: str, part_columns: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """A score by name, mean over members, nats, shape (n,), and `shares`; decoded once."""
    parts = _parts(draws)
    draws.__dict__["log_prob"] = parts.sum(axis=-1) + draws.rows.offsets.sum(axis=-1)
    with np.errstate(over="ignore"):
        score: Floats = SCORES[name](draws).mean(axis=0)
    return score, _by_column(draws, parts, part_columns)


def _parts(draws: Draws) -> Floats:
    """Log p of each observed part, shape (n_members, n_draws, n, n_parts)."""
    network, rows = draws.network, draws.rows
    with np.errstate(over="ignore"):
        return network.log_prob_parts(network.decode(draws.z), rows.values) * rows.observed


def _by_column(draws: Draws, parts: Floats, part_columns: NDArray[np.int64]) -> Floats:
    out: Floats = draws.rows.offsets.copy()
    np.add.at(out.T, part_columns, parts.mean(axis=(0, 1)).T)
    return out
