"""Scores of a file of any size: once through the rows to score them, once to write them.

Q-values depend on all p-values, so scored rows wait in a temporary file, beside a tally of
the p-values, until the last one is known.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from improbable import calibration
from improbable.cli.console import rows_bar
from improbable.cli.feed import TEXT_FORMATS
from improbable.cli.inputs import Feed
from improbable.cli.labels import check_new_columns
from improbable.cli.retyping import Retyping
from improbable.data.files import Spill, format_of, open_writer, spill
from improbable.judging import (
    RESULT,
    Decision,
    Judged,
    Question,
    Tally,
    evidence_schema,
    judged,
    result_schema,
    with_evidence,
)
from improbable.model import Model

Moved = Callable[[int], None]
Engine = Callable[[Feed], Judged]


@dataclass(frozen=True)
class Outcome:
    """What all rows came to: how many, how many flagged, and whether they drift."""

    n_rows: int
    n_flagged: int
    drift: calibration.Drift | None

    @property
    def drift_record(self) -> dict[str, Any] | None:
        """Drift as plain values; None where no rows were kept out of training."""
        return None if self.drift is None else asdict(self.drift)

    @property
    def remark(self) -> str:
        """A word on drift; nothing without it."""
        if self.drift is None or not self.drift.is_drift:
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
    """A model, its question, a prefix of new columns, and who judges if not this process."""

    model: Model
    question: Question
    prefix: str = ""
    engine: Engine | None = None

    def run(self, feed: Feed, output: str, *, format: str | None, shown: bool | None) -> Outcome:
        """Score all rows and write them."""
        check_new_columns([self.prefix + name for name in RESULT], feed.schema.names)
        typed = feed.text and format_of(output, format) not in TEXT_FORMATS
        with spill(evidence_schema(feed.schema, self.prefix)) as kept:
            retyping = Retyping(feed.schema, self.model.codec, wanted=typed)
            scored = Scored(kept, Tally(), retyping)
            with rows_bar("scoring", shown=shown) as moved:
                for batch, found in self._judged(feed):
                    scored.tally.add(found.p_value)
                    scored.retyping.see(batch)
                    scored.spill.write(with_evidence(batch, found, kept.schema))
                    moved(batch.num_rows)
            with rows_bar("writing", shown=shown, total=feed.n_rows) as moved:
                flagged = self._write(scored, feed, output, format=format, moved=moved)
        scored.tally.warn(self.question, len(self.model.held_out))
        return Outcome(feed.n_rows, flagged, scored.tally.drift(self.model))

    def _judged(self, feed: Feed) -> Judged:
        return (
            judged(feed, self.model, self.question) if self.engine is None else self.engine(feed)
        )

    def _write(
        self, scored: Scored, feed: Feed, output: str, *, format: str | None, moved: Moved
    ) -> int:
        question, prefix = self.question, self.prefix
        decision = Decision(question, scored.tally.q_values(), feed.never_observed, prefix)
        schema = result_schema(scored.retyping.schema(feed.schema), prefix)
        flagged = 0
        with open_writer(output, schema, format=format) as writer:
            for batch in scored.spill.batches():
                found = decision.columns(batch)
                flagged += int(found["is_outlier"].sum())
                new = [pa.array(found[name]) for name in RESULT]
                kept = scored.retyping.cast(batch.select(feed.schema.names))
                rows = pa.RecordBatch.from_arrays([*kept.columns, *new], names=schema.names)
                writer.write(rows)
                moved(batch.num_rows)
        return flagged
