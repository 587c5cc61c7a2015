"""What a missing cell stands for, so that rows that lack it compare with those that do not."""

from dataclasses import fields

import numpy as np

from improbable.data.parts import Floats
from improbable.data.rows import DenseRows, Rows
from improbable.explanations import Reference
from improbable.model import Model

PER_COLUMN = frozenset(
    {"expected_log_prob", "log_expected_prob", "log_marginal", "elbo", "conditional_log_prob"}
)
PARTIAL = frozenset({"elbo", "kl"})
PROBED_CELLS = 4096
MOST_PROBED = 256


def typical_cells(model: Model, rows: Rows) -> Floats:
    """Nats that a missing cell of each column stands for in the decision score.

    The median over rows of what the cell adds: its share of the log prob, or,
    of a score that has no shares, the fall when the cell goes missing. Zero for
    a column never observed, and for what a score leaves out.

    Parameters
    ----------
    model : Model
        Its `reference` holds the shares of `rows`.
    rows : Rows
        Held-out rows; a few of them are looked at column by column where need be.

    Returns
    -------
    ndarray of shape (n_columns,)
    """
    n_columns = model.reference.shares.shape[1]
    if model.vae.looks_back:  # cells are absent by nature, none is missing
        return np.zeros(n_columns)
    in_shares = model.score_function in PER_COLUMN
    alone = model.reference.typical if in_shares else np.zeros(n_columns)
    if model.codec.span is not None:
        return (
            alone - _spread_divergence(model, rows) if model.score_function in PARTIAL else alone
        )
    if in_shares or n_columns > MOST_PROBED:
        return alone
    probed = min(len(rows), max(8, min(64, PROBED_CELLS // n_columns)))
    return Reference(_falls(model, rows.take(slice(probed)))).typical


def _spread_divergence(model: Model, rows: Rows) -> Floats:
    """Median KL(q to p), in equal parts to the columns, shape (n_columns,)."""
    out = np.zeros(len(model.codec.names))
    columns = np.unique(model.codec.part_columns)
    out[columns] = -np.median(model.score(rows, "kl")) / len(columns)
    return out


def _falls(model: Model, rows: Rows) -> Floats:
    """Fall of the decision score when a cell goes missing, shape (n, n_columns)."""
    whole = model.score(rows, model.score_function)
    known = {f.name: np.asarray(getattr(rows, f.name)) for f in fields(DenseRows)}
    columns = np.asarray(model.codec.part_columns)
    widths = [part.width for part in model.codec.parts]
    entry_columns = np.repeat(columns, widths)
    out = np.where(rows.missing, np.nan, 0.0)
    for column in np.unique(columns):
        seen = {
            "values": known["values"] * (entry_columns != column),
            "observed": known["observed"] & (columns != column),
            "offsets": known["offsets"] * (np.arange(out.shape[1]) != column),
        }
        fewer = DenseRows(**{**known, **seen})
        out[:, column] += whole - model.score(fewer, model.score_function)
    return out
