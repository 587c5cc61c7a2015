"""Why rows of a file score as they do: chosen by number, or the least normal ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from improbable import results
from improbable.cli.console import aligned, number
from improbable.cli.feed import Feed
from improbable.data.columns import Datetime
from improbable.data.table import tabular
from improbable.errors import DataError
from improbable.explanations import Explanation
from improbable.model import Model

HEAD = ("column", "value", "expected", "interval", "share", "p-value")


@dataclass(frozen=True)
class Picked:
    """Some rows of a file, and their numbers in it, counted from 0."""

    rows: pa.RecordBatch
    places: list[int]


def pick_rows(feed: Feed, wanted: Sequence[int]) -> Picked:
    """Rows by number, in the order asked for.

    Raises
    ------
    DataError
        If the file has fewer rows.
    """
    found: dict[int, pa.RecordBatch] = {}
    for batch, _ in feed:
        first = feed.n_rows - batch.num_rows
        found |= {n: batch.slice(n - first, 1) for n in wanted if first <= n < feed.n_rows}
        if len(found) == len(set(wanted)):
            break
    absent = [n for n in wanted if n not in found]
    if absent:
        raise DataError(
            f"There is no row {absent[0]}: the file has {feed.n_rows:,} rows, counted from 0."
        )
    return Picked(_joined(feed, [found[n] for n in wanted]), list(wanted))


def pick_least_normal(feed: Feed, model: Model, count: int) -> Picked:
    """The rows of the lowest scores, the lowest first."""
    kept = _joined(feed, [])
    places, scores = np.empty(0, dtype=np.int64), np.empty(0)
    for batch, frame in feed:
        found = model.decision_scores(model.codec.transform(frame))[:-1]
        first = feed.n_rows - batch.num_rows
        scores = np.concatenate([scores, found])
        places = np.concatenate([places, np.arange(first, feed.n_rows)])
        best = np.argsort(scores, kind="stable")[:count]
        kept = _joined(feed, [kept, batch]).take(pa.array(best))
        places, scores = places[best], scores[best]
    return Picked(kept, places.tolist())


def _joined(feed: Feed, batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    table = pa.Table.from_batches(batches, schema=feed.schema).unify_dictionaries()
    whole = table.combine_chunks().to_batches()
    return whole[0] if whole else pa.RecordBatch.from_pylist([], schema=feed.schema)


def explained(model: Model, feed: Feed, picked: Picked) -> list[dict[str, Any]]:
    """A record for each row: its score, its p-value, its columns, the most surprising first."""
    frame = feed.frame(picked.rows)
    found = results.explain(model, frame)
    scores = model.decision_scores(model.codec.transform(frame))
    p_values = model.p_values(scores)
    return [
        {
            "row": place,
            "score": float(scores[row]),
            "p_value": float(p_values[row]),
            "reasons": found.reasons(row),
            "columns": [_cell(model, found, row, i) for i in found.ranking(row)],
        }
        for row, place in enumerate(picked.places)
    ]


def _cell(model: Model, found: Explanation, row: int, i: int) -> dict[str, Any]:
    """One cell of an explanation as plain values."""
    bounds = _bounds(model, i, found.lower[row, i], found.upper[row, i])
    return {
        "column": found.columns[i],
        "value": _plain(found.values[row, i]),
        "expected": _plain(found.expected[row, i]),
        "lower": bounds[0],
        "upper": bounds[1],
        "share": float(found.shares[row, i]),
        "p_value": _plain(found.p_values[row, i]),
        "surprise": float(found.surprise[row, i]),
    }


def _bounds(model: Model, i: int, lower: float, upper: float) -> list[Any]:
    if isinstance(tabular(model.codec).modeled[i].kind, Datetime):
        return [_moment(bound) for bound in (lower, upper)]
    return [_plain(bound) for bound in (lower, upper)]


def _moment(seconds: float) -> str | None:
    return str(np.datetime64(int(seconds), "s")) if np.isfinite(seconds) else None


def _plain(value: Any) -> Any:
    """Value in the terms of JSON."""
    if value is None or isinstance(value, str):
        return value
    return float(value) if np.isfinite(value) else None


def explanation_lines(record: dict[str, Any], most: int) -> list[str]:
    """A record as a person reads it, with its `most` surprising columns."""
    shown = record["columns"][:most]
    head = f"row {record['row']}   score {record['score']:.2f}   p-value {record['p_value']:.3g}"
    lines = [head, *aligned([HEAD, *map(_line, shown)], numbers=(1, 2, 4, 5))]
    left = len(record["columns"]) - len(shown)
    return [*lines, f"and {left} more columns, less surprising"] if left else lines


def _line(cell: dict[str, Any]) -> tuple[str, ...]:
    low, high = _text(cell["lower"]), _text(cell["upper"])
    return (
        cell["column"],
        _text(cell["value"]) or "(missing)",
        _text(cell["expected"]),
        f"{low} to {high}" if low else "",
        f"{cell['share']:.2f}",
        number(cell["p_value"]),
    )


def _text(value: str | float | None) -> str:
    return value if isinstance(value, str) else number(value)
