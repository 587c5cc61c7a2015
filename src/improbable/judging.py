"""Rows judged batch by batch: what a batch tells by itself, and what only all of them tell.

What a model makes of a row must not depend on where batches begin and end. Two things would:
a column is taken for re-typed if no cell can be read, and for missing if every cell is.
So frames are extended by one row more, decoded from the model itself, which always can be read.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from improbable import arguments, calibration, results
from improbable.data.codec import Source
from improbable.data.frames import Frame
from improbable.data.parts import Bools, Floats
from improbable.data.raw import RawColumn, as_storage
from improbable.data.table import TableCodec
from improbable.model import Model
from improbable.results import Detection

EVIDENCE = (
    pa.field("p_value", pa.float64()),
    pa.field("score", pa.float64()),
    pa.field("mc_se", pa.float64()),
    pa.field("top_reasons", pa.string()),
    pa.field("warnings", pa.string()),
)
RESULT = ("is_outlier", "p_value", "q_value", "score", "mc_se", "top_reasons", "warnings")
Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)
Judged = Iterator[tuple[pa.RecordBatch, Detection]]
_TYPES = {"is_outlier": pa.bool_(), "top_reasons": pa.string(), "warnings": pa.string()}


@dataclass(frozen=True)
class Question:
    """How to decide: flag p-values up to `alpha`, or q-values up to `fdr`."""

    alpha: float
    fdr: float | None = None
    tail: bool = False

    @property
    def most_alpha(self) -> float:
        """The p-value up to which a row may come out flagged."""
        return self.alpha if self.fdr is None else max(self.alpha, self.fdr)

    def check(self) -> None:
        """Refuse rates outside (0, 1)."""
        arguments.level("alpha", self.alpha)
        if self.fdr is not None:
            arguments.level("fdr", self.fdr)

    def flags(self, p: Floats, q: Floats) -> Any:
        """Which rows are outliers."""
        return p <= self.alpha if self.fdr is None else q <= self.fdr

    def __str__(self) -> str:
        return (
            f"alpha {self.alpha:g}" if self.fdr is None else f"false discovery rate {self.fdr:g}"
        )


class Tally:
    """How often each p-value occurred: as many numbers as there are distinct ones."""

    def __init__(self) -> None:
        self._levels = np.empty(0)
        self._counts = np.empty(0, dtype=np.int64)

    def add(self, p: Floats) -> None:
        """Count the p-values of a batch."""
        levels, counts = np.unique(p[~np.isnan(p)], return_counts=True)
        merged, place = np.unique(np.concatenate([self._levels, levels]), return_inverse=True)
        total = np.zeros(len(merged), dtype=np.int64)
        np.add.at(total, place, np.concatenate([self._counts, counts]))
        self._levels, self._counts = merged, total

    def drift(self, model: Model) -> calibration.Drift | None:
        """Test of the p-values counted so far; None where no rows were kept out of training."""
        if not len(model.kept_out):
            return None
        return calibration.drift(self._levels, self._counts, model.kept_out, model.independent)

    def warn(self, question: Question, n_held_out: int) -> None:
        """Say so when an `fdr` flags nothing of what held-out rows cannot tell apart."""
        if question.fdr is not None and not question.tail:
            counted = self._levels, self._counts
            results.warn_undiscovered(*counted, question.fdr, n_held_out)

    def q_values(self) -> Callable[[Floats], Floats]:
        """Function from p-values that were counted to their q-values."""
        levels = self._levels
        table = np.append(calibration.q_value_levels(levels, self._counts), np.nan)
        return lambda p: table[np.searchsorted(levels, p)]


def judge(model: Model, source: Source, question: Question, n: int) -> Detection:
    """Decision and reasons of the first `n` items, without the one that a feed may add."""
    found = results.detect(model, source, alpha=question.most_alpha, tail=question.tail)
    return replace(found, **{name: getattr(found, name)[:n] for name in RESULT})


def judged(
    batches: Iterable[tuple[pa.RecordBatch, Source]], model: Model, question: Question
) -> Judged:
    """Batches with what a model says of them, one after the other."""
    for batch, source in batches:
        yield batch, judge(model, source, question, batch.num_rows)


def evidence_schema(schema: pa.Schema, prefix: str) -> pa.Schema:
    """Columns of the rows, then those of their evidence."""
    return pa.schema([*schema, *(f.with_name(prefix + f.name) for f in EVIDENCE)])


def with_evidence(rows: Rows, found: Detection, schema: pa.Schema) -> Rows:
    """Rows with what they tell without the others."""
    new: list[Any] = [pa.array(getattr(found, field.name), field.type) for field in EVIDENCE]
    return type(rows).from_arrays([*rows.columns, *new], schema=schema)


def result_schema(schema: pa.Schema, prefix: str) -> pa.Schema:
    """Columns of the rows, then those of `RESULT`."""
    new = [pa.field(prefix + name, _TYPES.get(name, pa.float64())) for name in RESULT]
    return pa.schema([*schema, *new])


@dataclass(frozen=True)
class Decision:
    """What turns evidence into columns of `RESULT`, once all rows are known.

    Attributes
    ----------
    question : Question
    q_values : callable
        p-values to q-values.
    never_observed : sequence of str
        Modeled columns without a value in any row.
    prefix : str
        Of the names of the evidence.
    """

    question: Question
    q_values: Callable[[Floats], Floats]
    never_observed: Sequence[str] = ()
    prefix: str = ""

    def columns(self, rows: Rows) -> dict[str, Any]:
        """Columns of `RESULT` for rows with evidence."""
        found = {
            field.name: rows.column(self.prefix + field.name).to_numpy(zero_copy_only=False)
            for field in EVIDENCE
        }
        q = self.q_values(found["p_value"])
        flagged = self.question.flags(found["p_value"], q)
        reasons = np.where(flagged, found["top_reasons"], "")
        notes = [f"{name} is missing in all rows" for name in self.never_observed]
        remarks = [_joined(old, notes) for old in found["warnings"]]
        new = {"is_outlier": flagged, "q_value": q, "top_reasons": reasons, "warnings": remarks}
        return {**found, **new}


def _joined(remark: str, notes: list[str]) -> str:
    return "; ".join([remark, *notes] if remark else notes)


def decoded_row(codec: TableCodec) -> Frame:
    """One row that the codec can always read."""
    return codec.inverse_transform(np.zeros((1, codec.event_size)))


def extended(frame: Frame, row: Frame) -> Frame:
    """A frame and one row more."""
    known = {name: raw for name, raw in row.columns.items() if name in frame.columns}
    columns = {name: _extended(frame.columns[name], raw) for name, raw in known.items()}
    return replace(frame, columns=columns, n_rows=frame.n_rows + 1)


def _extended(raw: RawColumn, known: RawColumn) -> RawColumn:
    values, _ = as_storage(known, raw.storage, raw.dtype)
    return replace(raw, values=np.concatenate([raw.values, values]))


def unobserved(frame: Frame, names: Sequence[str]) -> list[str]:
    """Those of some columns that hold no value in a frame."""
    return [name for name in names if is_missing(frame.columns[name]).all()]


def observable(codec: TableCodec) -> list[str]:
    """Modeled columns that ever held a value."""
    return [column.name for column in codec.modeled if column.kind.parts()]


def is_missing(raw: RawColumn) -> Bools:
    """Which cells hold no value."""
    if raw.storage == "text":
        return np.array([value is None for value in raw.values], dtype=bool)
    return np.isnan(raw.values)
