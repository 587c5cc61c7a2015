"""Why rows of a file score as they do: chosen by number, or the least normal ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from improbable import results
from improbable.cli.album import IMAGE, as_batch
from improbable.cli.console import aligned, counted, number
from improbable.cli.destinations import check_destination, check_output
from improbable.cli.inputs import Feed
from improbable.cli.outputs import open_arrays, replacing, write_array
from improbable.cli.retyping import tabular
from improbable.data.codec import Codec
from improbable.data.files import open_writer
from improbable.data.images import ImageCodec
from improbable.data.moments import Datetime
from improbable.data.parts import Floats
from improbable.errors import DataError
from improbable.explanations import Explanation
from improbable.model import Model
from improbable.surprise import SurpriseMap
from improbable.token_surprise import TokenSurprise
from improbable.wording import AS_A_WHOLE

MAPS = ("images", "shares", "surprise", "p_values", "expected")
HEAD = ("column", "value", "expected", "interval", "share", "p-value")
TOKEN_HEAD = ("position", "token", "expected", "share", "p-value")
Found = Explanation | SurpriseMap | TokenSurprise


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
        there = counted(feed.n_rows, "row")
        raise DataError(f"There is no row {absent[0]}: the file has {there}, counted from 0.")
    return Picked(_joined(feed, [found[n] for n in wanted]), list(wanted))


def pick_least_normal(feed: Feed, model: Model, count: int) -> Picked:
    """The rows of the lowest scores, the lowest first."""
    kept = _joined(feed, [])
    places, scores = np.empty(0, dtype=np.int64), np.empty(0)
    for batch, source in feed:
        found = model.decision_scores(model.codec.transform(source))[: batch.num_rows]
        first = feed.n_rows - batch.num_rows
        scores = np.concatenate([scores, found])
        places = np.concatenate([places, np.arange(first, feed.n_rows)])
        best = np.argsort(scores, kind="stable")[:count]
        kept = _joined(feed, [kept, batch]).take(pa.array(best))
        places, scores = places[best], scores[best]
    return Picked(kept, places.tolist())


def _joined(feed: Feed, batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return as_batch(pa.Table.from_batches(batches, schema=feed.schema))


@dataclass(frozen=True)
class Explained:
    """Picked rows with what explains them.

    Attributes
    ----------
    model : Model
    picked : Picked
    found : Explanation, SurpriseMap or TokenSurprise
        Its first rows are those picked.
    scores : ndarray
        Nats.
    """

    model: Model
    picked: Picked
    found: Found
    scores: Floats

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """For each row its score, its p-value, and its parts, the most surprising first."""
        p_values = self.model.p_values(self.scores)
        return [
            {
                "row": place,
                **self._name(row),
                "score": float(self.scores[row]),
                "p_value": float(p_values[row]),
                "reasons": self.found.reasons(row),
                **self._parts(row),
            }
            for row, place in enumerate(self.picked.places)
        ]

    def _name(self, row: int) -> dict[str, Any]:
        is_image = isinstance(self.found, SurpriseMap)
        return {IMAGE: self.picked.rows.column(IMAGE)[row].as_py()} if is_image else {}

    def _parts(self, row: int) -> dict[str, Any]:
        if isinstance(self.found, SurpriseMap):
            regions = self.found.regions(row)
            return {"regions": [{"place": place, "surprise": nats} for nats, place in regions]}
        if isinstance(self.found, TokenSurprise):
            return {"tokens": _tokens(self.found, row)}
        found = self.found
        return {"columns": [_cell(self.model, found, row, i) for i in found.ranking(row)]}

    def save(self, path: str, format: str | None) -> None:
        """Write the parts of all rows: a table, or the maps of images."""
        if isinstance(self.found, SurpriseMap):
            names = np.array([record[IMAGE] for record in self.records])
            with replacing(path) as sink, open_arrays(sink) as archive:
                write_array(archive, "name", names)
                for name in MAPS:
                    write_array(archive, name, getattr(self.found, name))
            return
        table = self.found.to_frame("pyarrow")
        rows = table["row"].to_numpy()
        table = table.filter(rows < len(self.picked.places))
        places = np.array(self.picked.places)[table["row"].to_numpy()]
        table = table.set_column(0, "row", pa.array(places))
        with open_writer(path, table.schema, format=format) as writer:
            writer.write(as_batch(table))


def check_explained_output(path: str, format: str | None, codec: Codec) -> None:
    """Refuse a path that explanations cannot be written to."""
    if not isinstance(codec, ImageCodec):
        return check_output(path, format)
    if format is not None or not path.lower().endswith(".npz"):
        raise DataError(f"{path} is no place for maps. Name an .npz, without --output-format.")
    return check_destination(path)


def explained(model: Model, feed: Feed, picked: Picked) -> Explained:
    """What explains the rows that were picked."""
    source = feed.frame(picked.rows, picked.places)
    scores = model.decision_scores(model.codec.transform(source))
    return Explained(model, picked, results.explain(model, source), scores)


def _tokens(found: TokenSurprise, row: int) -> list[dict[str, Any]]:
    """Tokens of a sequence as plain values, the most surprising first."""
    return [
        {
            "position": place + 1,
            "token": found.token(row, place),
            "expected": str(found.expected[row, place]),
            "share": float(found.shares[row, place]),
            "p_value": float(found.p_values[row, place]),
            "surprise": float(found.surprise[row, place]),
        }
        for place in found.ranking(row)
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
    """A record as a person reads it, with its `most` surprising columns or regions."""
    name = f" ({record[IMAGE]})" if isinstance(record.get(IMAGE), str) else ""
    head = f"row {record['row']}{name}   score {record['score']:.2f}"
    head += f"   p-value {record['p_value']:.3g}"
    if record["reasons"] == [AS_A_WHOLE]:
        head += f"   {AS_A_WHOLE}"
    if "regions" in record:
        shown = [(r["place"], f"{r['surprise']:.2f}") for r in record["regions"][:most]]
        return [head, *aligned([("region", "surprise"), *shown], numbers=(1,))]
    if "tokens" in record:
        tokens = [_token_line(token) for token in record["tokens"][:most]]
        return [head, *aligned([TOKEN_HEAD, *tokens], numbers=(0, 3, 4))]
    columns = record["columns"][:most]
    lines = [head, *aligned([HEAD, *map(_line, columns)], numbers=(1, 2, 4, 5))]
    left = len(record["columns"]) - len(columns)
    return [*lines, f"and {counted(left, 'more column')}, less surprising"] if left else lines


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


def _token_line(token: dict[str, Any]) -> tuple[str, ...]:
    share, p_value = f"{token['share']:.2f}", number(token["p_value"])
    return str(token["position"]), token["token"], token["expected"], share, p_value


def _text(value: str | float | None) -> str:
    return value if isinstance(value, str) else number(value)
