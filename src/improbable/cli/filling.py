"""Rows out of a model, file to file: reconstructed, imputed, sampled."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from improbable import results
from improbable.cli.feed import TEXT_FORMATS, Feed, columns_of, is_missing
from improbable.cli.retyping import Retyping
from improbable.data.columns import Identifier
from improbable.data.files import format_of, open_writer, spill
from improbable.data.frames import Frame
from improbable.data.table import tabular
from improbable.model import Model

Moved = Callable[[int], None]


def reconstruct_file(
    model: Model, feed: Feed, output: str, *, format: str | None, moved: Moved
) -> int:
    """Write the model's columns as it decodes them; the number of rows."""
    schema = results.reconstruct(model, feed.blank).schema
    with open_writer(output, schema, format=format) as writer:
        for batch, frame in feed:
            writer.write(_rows(results.reconstruct(model, frame), batch.num_rows))
            moved(batch.num_rows)
    return feed.n_rows


def impute_file(model: Model, feed: Feed, output: str, *, format: str | None, moved: Moved) -> int:
    """Write the table with its missing cells filled; the number of rows."""
    blank = pa.RecordBatch.from_pylist([], schema=feed.schema)
    schema = imputed(model, blank, feed.blank, text=feed.text).schema
    batches: Iterator[pa.RecordBatch] = _filled(model, feed, moved)
    with ExitStack() as stack:
        if feed.text and format_of(output, format) not in TEXT_FORMATS:
            retyping = Retyping(schema, tabular(model.codec), wanted=True)
            kept = stack.enter_context(spill(schema))
            for batch in batches:
                retyping.see(batch)
                kept.write(batch)
            schema, batches = retyping.schema(schema), map(retyping.cast, kept.batches())
        writer = stack.enter_context(open_writer(output, schema, format=format))
        for batch in batches:
            writer.write(batch)
    return feed.n_rows


def sample_file(
    model: Model, n: int, output: str, *, format: str | None, random_state: int | None
) -> None:
    """Write new rows."""
    arrow = replace(model, codec=replace(tabular(model.codec), library="pyarrow"))
    table = results.sample(arrow, n, prior=None, given=None, random_state=random_state)
    with open_writer(output, table.schema, format=format) as writer:
        writer.write(_rows(table, n))


def imputed(model: Model, batch: pa.RecordBatch, frame: Frame, *, text: bool) -> pa.RecordBatch:
    """Batch whose missing cells in modeled columns are filled; all else is as it was.

    Parameters
    ----------
    frame : Frame
        Of the batch, with the row more that a feed adds.
    text : bool
        Whether the columns stay text.
    """
    found = _rows(results.impute(model, frame), batch.num_rows)
    for name, column in columns_of(batch.schema.names, tabular(model.codec)).items():
        if isinstance(column.kind, Identifier):
            continue
        missing = pa.array(is_missing(frame.columns[column.name])[: batch.num_rows])
        cells = _merged(batch.column(name), missing, found.column(column.name), text=text)
        batch = batch.set_column(batch.schema.get_field_index(name), name, cells)
    return batch


def _merged(old: Any, missing: Any, new: Any, *, text: bool) -> Any:
    """Old cells where they are not missing, in the type that holds both."""
    if pa.types.is_dictionary(old.type):
        old = old.cast(old.type.value_type)
    if pa.types.is_integer(old.type) and pa.types.is_floating(new.type):
        old = old.cast(new.type)
    return pc.if_else(missing, new.cast(pa.string() if text else old.type, safe=False), old)


def _filled(model: Model, feed: Feed, moved: Moved) -> Iterator[pa.RecordBatch]:
    for batch, frame in feed:
        yield imputed(model, batch, frame, text=feed.text)
        moved(batch.num_rows)


def _rows(table: pa.Table, n: int) -> pa.RecordBatch:
    """First rows of a table as one batch."""
    batches = table.slice(0, n).combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
