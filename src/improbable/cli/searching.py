"""An index of a file's rows, and what is found in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from improbable.cli import parsing
from improbable.cli.album import as_batch
from improbable.cli.console import aligned, counted, number
from improbable.cli.feed import cast_first, types_of
from improbable.cli.inputs import Feed, InputFile, open_feed
from improbable.cli.labels import KNOWN, check_column, listed
from improbable.cli.places import Moved, Places, encode, find_places, typed_places
from improbable.cli.retyping import Retyping, fits
from improbable.data.files import open_writer
from improbable.errors import DataError
from improbable.latent.index import LatentIndex
from improbable.latent.neighbors import Neighbors
from improbable.model import Model
from improbable.persistence import load

ID = "id"
NUMBERS = (pa.int64(), pa.float64())


@dataclass(frozen=True)
class Indexing:
    """A file whose rows are to be indexed.

    Attributes
    ----------
    model : Model
    feed : Feed
    id : str, optional
        Column of names.
    """

    model: Model
    feed: Feed
    id: str | None = None

    @property
    def names(self) -> str | None:
        """Column of names: that given, file names, or one called id; None numbers the rows."""
        if self.id is not None:
            return check_column(self.id, self.feed.schema.names, "--id", KNOWN)
        if self.feed.names:
            return self.feed.key
        return ID if ID in self.feed.schema.names else None

    @property
    def others(self) -> list[str]:
        """All columns but those that name the rows."""
        return [n for n in self.feed.schema.names if n not in (self.names, self.feed.key)]

    def read(self, columns: Sequence[str], moved: Moved) -> tuple[Any, Any, pa.Table | None]:
        """Posterior, ids and columns of all rows, as `LatentIndex` takes them."""
        retyping = Retyping(self.feed.schema, self.model.codec, wanted=self.feed.text)
        names = self.names
        wanted = list(dict.fromkeys([*columns, *([] if names is None else [names])]))
        kept: list[pa.RecordBatch] = []

        def see(batch: pa.RecordBatch) -> None:
            retyping.see(batch)
            kept.append(batch.select(wanted))

        posterior = encode(self.model, self.feed, see, moved)
        schema = pa.schema([self.feed.schema.field(name) for name in wanted])
        table = pa.Table.from_batches(map(retyping.cast, kept), retyping.schema(schema))
        known = {name: self._typed(table[name]) for name in columns}
        ids = None if names is None else _plain(table[names])
        return posterior, ids, pa.table(known) if known else None

    def _typed(self, column: Any) -> Any:
        """Column, as numbers or times if it came as text and holds nothing else."""
        column = _plain(column)
        text = self.feed.text and pa.types.is_string(column.type)
        if not text:
            return column
        numbers = [kind for kind in NUMBERS if fits(column, kind)]
        return cast_first(column, numbers or types_of("time"))


def _plain(column: Any) -> Any:
    kind = column.type
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column


def build_index(
    model: Model, input: InputFile, id: str | None, keep: Sequence[str] | None, moved: Moved
) -> LatentIndex:
    """Index of the rows of a file, with all its columns or those to keep."""
    rows = Indexing(model, open_feed(input, model.codec), id)
    known = rows.feed.schema.names
    columns = rows.others if keep is None else listed(keep, known, "--keep")
    return LatentIndex(*rows.read(columns, moved))


def extend_index(
    index: LatentIndex, model: Model, input: InputFile, id: str | None, moved: Moved
) -> LatentIndex:
    """Index with the rows of a file added."""
    check_space(index, model)
    rows = Indexing(model, open_feed(input, model.codec), id)
    known = [name for name in index.columns.column_names if name in rows.feed.schema.names]
    return index.add(*rows.read(known, moved))


def check_space(index: LatentIndex, model: Model) -> None:
    """Refuse a model whose latent space cannot be that of an index.

    Raises
    ------
    DataError
        If it is not the one that the index was built with, as far as that is known.
    """
    if model.vae.latent_dim != index.latent_dim:
        raise DataError(
            f"The model has {counted(model.vae.latent_dim, 'latent dimension')}, the index "
            f"{index.latent_dim}. Pass the model that it was built with."
        )
    if index.space not in ("", model.space):
        raise DataError("The index was built with another model. Pass that one, or build it anew.")


def typed_ids(index: LatentIndex, texts: Sequence[str]) -> list[Any]:
    """Ids as the index has them: names or whole numbers."""
    if index.ids.dtype.kind != "i":
        return list(texts)
    wrong = [text for text in texts if not text.lstrip("-").isdigit()]
    if wrong:
        raise DataError(f"--id {wrong[0]} is no item: ids of the index are whole numbers.")
    return [int(text) for text in texts]


@dataclass(frozen=True)
class Search:
    """What is asked of an index.

    Attributes
    ----------
    k, metric, recall : int, str, float
        As for `LatentIndex.search`.
    where, show : sequence of str
        Filters such as "sex=F", and columns of the items to show.
    """

    k: int
    metric: str
    recall: float
    where: Sequence[str] = ()
    show: Sequence[str] = ()

    def run(self, index: LatentIndex, places: Places) -> "Found":
        """Items nearest to some points."""
        kinds = {field.name: _has_order(field.type) for field in index.columns.schema}
        where = parsing.where(self.where, kinds) or None
        shown = listed(self.show, list(kinds), "--show", "the index")
        found = index.search(places.found, self.k, self.metric, where, recall=self.recall)
        items = index.columns.select(shown).take(pa.array(found.positions.ravel()))
        return Found(places.names, found, items)


def _has_order(kind: Any) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_temporal)
    return any(test(kind) for test in tests)


def queries(
    index: LatentIndex,
    model: str | None,
    input: InputFile | None,
    rows: Sequence[int] | None,
    z: Sequence[str] | None,
) -> Places:
    """Rows of INPUT, for which the model is needed, or points.

    Raises
    ------
    DataError
        If the model is absent and needed, or has another latent space.
    """
    if input is None or z:
        return typed_places(index.latent_dim, input, rows, z)
    if model is None:
        raise DataError("Rows of INPUT need the model of the index. Pass it with -m.")
    fitted = load(model).model_
    check_space(index, fitted)
    return find_places(fitted, input, rows, z)


@dataclass(frozen=True)
class Found:
    """Answers of a search.

    Attributes
    ----------
    names : list
        Of the queries.
    neighbors : Neighbors
    shown : pyarrow.Table
        Columns of the items found.
    """

    names: list[Any]
    neighbors: Neighbors
    shown: pa.Table

    @cached_property
    def table(self) -> pa.Table:
        """A line for each query and item."""
        table = self.neighbors.to_frame("pyarrow")
        named = pa.array(self.names).take(table["query"].combine_chunks())
        table = table.set_column(0, "query", named)
        for name, column in zip(self.shown.column_names, self.shown.itercolumns(), strict=True):
            taken = name in table.column_names
            table = table.append_column(f"item_{name}" if taken else name, column)
        return table

    @property
    def records(self) -> list[dict[str, Any]]:
        """A record for each query."""
        rest = self.table.drop_columns(["query"]).to_pylist()
        lines = [{name: _json(value) for name, value in line.items()} for line in rest]
        width = self.neighbors.ids.shape[1]
        about = {"metric": self.neighbors.metric, "recall": self.neighbors.recall}
        return [
            {"query": name, **about, "neighbors": lines[i * width : (i + 1) * width]}
            for i, name in enumerate(self.names)
        ]

    @property
    def lines(self) -> list[str]:
        """The table as a person reads it."""
        if not self.table.num_rows:
            return ["no item passes --where"]
        names = self.table.column_names
        head = [self.neighbors.metric if name == "value" else name for name in names]
        rows = [[_text(value) for value in line.values()] for line in self.table.to_pylist()]
        return aligned([head, *rows], numbers=range(len(names)))

    def save(self, path: str, format: str | None) -> None:
        """Write the table."""
        with open_writer(path, self.table.schema, format=format) as writer:
            writer.write(as_batch(self.table))


def _json(value: Any) -> Any:
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def _text(value: Any) -> str:
    return number(value) if isinstance(value, float) else "" if value is None else str(value)
