"""Scores of a file of any size: once through the rows to score them, once to write them.

Q-values depend on all p-values, so scored rows wait in a temporary file, beside a tally of
the p-values, until the last one is known.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from improbable import calibration, results
from improbable.cli.console import rows_bar
from improbable.cli.feed import TEXT_FORMATS
from improbable.cli.inputs import Feed
from improbable.cli.labels import check_new_columns
from improbable.cli.retyping import Retyping
from improbable.data.codec import Source
from improbable.data.files import Spill, format_of, open_writer, spill
from improbable.data.parts import Floats
from improbable.model import Model
from improbable.results import Detection

_EVIDENCE = (
    pa.field("p_value", pa.float64()),
    pa.field("score", pa.float64()),
    pa.field("mc_se", pa.float64()),
    pa.field("top_reasons", pa.string()),
    pa.field("warnings", pa.string()),
)
RESULT = ("is_outlier", "p_value", "q_value", "score", "mc_se", "top_reasons", "warnings")
Moved = Callable[[int], None]


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
        results.check_level("alpha", self.alpha)
        if self.fdr is not None:
            results.check_level("fdr", self.fdr)

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

    def drift(self, n_held_out: int) -> calibration.Drift:
        """Test of the p-values counted so far."""
        return calibration.drift(self._levels, self._counts, n_held_out)

    def q_values(self) -> Callable[[Floats], Floats]:
        """Function from p-values that were counted to their q-values."""
        table = np.append(calibration.q_value_levels(self._levels, self._counts), np.nan)
        return lambda p: table[np.searchsorted(self._levels, p)]


@dataclass(frozen=True)
class Outcome:
    """What all rows came to: how many, how many flagged, and whether they drift."""

    n_rows: int
    n_flagged: int
    drift: calibration.Drift

    @property
    def remark(self) -> str:
        """A word on drift; nothing without it."""
        if not self.drift.is_drift:
            return ""
        return (
            "; as a whole the rows differ from those held out at fit (Kolmogorov-Smirnov "
            f"{self.drift.statistic:.2f}, p {self.drift.p_value:.1g}); training rows always do, "
            "for others refit if that stays"
        )


@dataclass(frozen=True)
class Scored:
    """A finished pass: the rows with their evidence, and what only all rows tell."""

    spill: Spill
    tally: Tally
    retyping: Retyping


@dataclass(frozen=True)
class Scoring:
    """A model, its question, and the names of the columns it adds."""

    model: Model
    question: Question
    prefix: str = ""

    def run(self, feed: Feed, output: str, *, format: str | None, shown: bool | None) -> Outcome:
        """Score all rows and write them."""
        check_new_columns([self.prefix + name for name in RESULT], feed.schema.names)
        typed = feed.text and format_of(output, format) not in TEXT_FORMATS
        schema = _appended(feed.schema, [f.with_name(self.prefix + f.name) for f in _EVIDENCE])
        with spill(schema) as kept:
            retyping = Retyping(feed.schema, self.model.codec, wanted=typed)
            scored = Scored(kept, Tally(), retyping)
            with rows_bar("scoring", shown=shown) as moved:
                for batch, source in feed:
                    self._score(batch, source, scored)
                    moved(batch.num_rows)
            with rows_bar("writing", shown=shown, total=feed.n_rows) as moved:
                flagged = self._write(scored, feed, output, format=format, moved=moved)
        drift = scored.tally.drift(len(self.model.held_out))
        return Outcome(feed.n_rows, flagged, drift)

    def _score(self, batch: pa.RecordBatch, source: Source, scored: Scored) -> None:
        found = judge(self.model, source, self.question, batch.num_rows)
        scored.tally.add(found.p_value)
        scored.retyping.see(batch)
        new = [pa.array(getattr(found, field.name), field.type) for field in _EVIDENCE]
        columns = [*batch.columns, *new]
        scored.spill.write(pa.RecordBatch.from_arrays(columns, schema=scored.spill.schema))

    def _write(
        self, scored: Scored, feed: Feed, output: str, *, format: str | None, moved: Moved
    ) -> int:
        q_values = scored.tally.q_values()
        notes = [f"{name} is missing in all rows" for name in feed.never_observed]
        schema = self._output_schema(scored.retyping.schema(feed.schema))
        flagged = 0
        with open_writer(output, schema, format=format) as writer:
            for batch in scored.spill.batches():
                found = self._decided(batch, q_values, notes)
                flagged += int(found["is_outlier"].sum())
                new = [pa.array(found[name]) for name in RESULT]
                kept = scored.retyping.cast(batch.select(feed.schema.names))
                rows = pa.RecordBatch.from_arrays([*kept.columns, *new], names=schema.names)
                writer.write(rows)
                moved(batch.num_rows)
        return flagged

    def _output_schema(self, schema: pa.Schema) -> pa.Schema:
        kinds = {"is_outlier": pa.bool_(), "top_reasons": pa.string(), "warnings": pa.string()}
        return _appended(
            schema, [pa.field(self.prefix + n, kinds.get(n, pa.float64())) for n in RESULT]
        )

    def _decided(
        self, batch: pa.RecordBatch, q_values: Callable[[Floats], Floats], notes: list[str]
    ) -> dict[str, Any]:
        """Columns of `RESULT`, now that all rows are known."""
        found = {
            field.name: batch.column(self.prefix + field.name).to_numpy(zero_copy_only=False)
            for field in _EVIDENCE
        }
        p = found["p_value"]
        q = q_values(p)
        flagged = self.question.flags(p, q)
        reasons = np.where(flagged, found["top_reasons"], "")
        remarks = [_joined(old, notes) for old in found["warnings"]]
        new = {"is_outlier": flagged, "q_value": q, "top_reasons": reasons, "warnings": remarks}
        return {**found, **new}


def judge(model: Model, source: Source, question: Question, n: int) -> Detection:
    """Decision and reasons of the first `n` items, without the one that a feed may add."""
    found = results.detect(model, source, alpha=question.most_alpha, tail=question.tail)
    return replace(found, **{name: getattr(found, name)[:n] for name in RESULT})


def _joined(remark: str, notes: list[str]) -> str:
    return "; ".join([remark, *notes] if remark else notes)


def _appended(schema: pa.Schema, fields: list[pa.Field]) -> pa.Schema:
    return pa.schema([*schema, *fields])
