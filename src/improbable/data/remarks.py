"""What is unusual about cells and columns, in words, before any model has seen them."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from improbable.data.columns import Binary, Categorical, ColumnKind, Constant
from improbable.data.fitted_column import Column
from improbable.data.frames import Frame
from improbable.data.parts import Bools
from improbable.data.raw import RawColumn
from improbable.data.rows import Rows
from improbable.errors import DataWarning

UNSEEN = "{} was never seen in training"
OUTSIDE = "{} is outside the training range"
LONGEST_VALUE = 40
FEWEST_ALIKE = 10  # cells; a column of fewer may be odd by chance
LEAST_CHANCE = 1e-3
NAMES_TOLD = 3


def cell_remarks(columns: Sequence[Column], rows: Rows, source: Frame) -> NDArray[np.object_]:
    """Remarks on rows of some columns, shape (n,), joined with "; "; empty where nothing is odd.

    Parameters
    ----------
    columns : sequence of Column
        Modeled columns, in order.
    rows : Rows
    source : Frame
        The same rows as they came.
    """
    out = np.full(len(rows), "", dtype=object)
    ever = np.array([bool(column.kind.parts()) for column in columns], dtype=bool)
    gone = rows.missing & rows.missing.all(axis=0) & ever & (len(rows) > 1)
    for flag, text in (
        (rows.unseen, UNSEEN),
        (rows.out_of_range, OUTSIDE),
        (gone, "{} is missing in all rows"),
    ):
        for i in np.flatnonzero(flag.any(axis=0)).tolist():
            column, hit = columns[i], np.flatnonzero(flag[:, i])
            about = [column.name] * len(hit)
            if text == UNSEEN:
                about = unseen_cells(column, source.columns[column.name], hit)
            pairs = zip(out[hit], about, strict=True)
            out[hit] = [f"{old}; {text.format(a)}" if old else text.format(a) for old, a in pairs]
    return out


def add_notes(out: NDArray[np.object_], notes: NDArray[np.object_]) -> None:
    """Put notes on rows behind others, in place; empty ones say nothing."""
    for i in np.flatnonzero(notes != ""):
        out[i] = f"{out[i]}; {notes[i]}" if out[i] else notes[i]


def unseen_cells(column: Column, raw: RawColumn, index: NDArray[np.intp]) -> list[str]:
    """Column and value of cells at some rows, as in "city = 'atlantis'".

    The name alone where the value itself is known: the cell of another row of the
    same time was judged in its place.
    """
    some = RawColumn(raw.values[index], raw.storage, raw.dtype)
    told: Bools = column.cells(some, 1).unseen
    values = column.displayed(raw, index)
    return [
        f"{column.name} = {_shown(value)}" if new and value is not None else column.name
        for value, new in zip(values, told, strict=True)
    ]


def _shown(value: Any) -> str:
    if not isinstance(value, str):
        return f"{value:g}" if isinstance(value, float | np.floating) else repr(value)
    short = len(value) <= LONGEST_VALUE
    return repr(value if short else value[: LONGEST_VALUE - 1] + "…")


def warn_of_new_names(columns: Sequence[Column], rows: Rows) -> None:
    """Say so where not one cell of a column was seen in training, as after a change of spelling.

    Of names that were often new in training, all may well be new: with a share s
    of names seen once (Good, 1953), n new ones have a chance of :math:`s^n`.
    """
    for i, column in enumerate(columns):
        there = ~rows.missing[:, i]
        n = np.count_nonzero(there)
        empty = isinstance(column.kind, Constant) and column.kind.value is None
        if n < FEWEST_ALIKE or empty or not rows.unseen[there, i].all():
            continue
        if _share_seen_once(column.kind) ** n < LEAST_CHANCE:
            warnings.warn(
                f"Column {column.name!r} holds no value that was seen in training"
                f"{_examples(column.kind)}. If names or types are only written differently, "
                "write them as at fit.",
                DataWarning,
                stacklevel=2,
            )


def _share_seen_once(kind: ColumnKind) -> float:
    counts = kind.counts if isinstance(kind, Binary | Categorical) else ()
    return counts.count(1) / max(sum(counts), 1)


def _examples(kind: ColumnKind) -> str:
    if not isinstance(kind, Binary | Categorical):
        return ""
    frequent = np.argsort(kind.counts, kind="stable")[::-1][:NAMES_TOLD]
    return f" (such as {', '.join(_shown(kind.names[i]) for i in frequent)})"
