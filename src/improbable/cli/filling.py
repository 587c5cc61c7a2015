"""Items out of a model, file to file: reconstructed, imputed, sampled."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from improbable import results
from improbable.cli import parsing
from improbable.cli.feed import TEXT_FORMATS, columns_of
from improbable.cli.inputs import Feed
from improbable.cli.outputs import open_rows, write_whole
from improbable.cli.retyping import Retyping, tabular
from improbable.data.codec import Codec
from improbable.data.columns import Identifier
from improbable.data.files import format_of, open_writer, spill
from improbable.data.frames import Frame
from improbable.data.lines import number_cells, text_cells
from improbable.data.raw import RawColumn
from improbable.data.series import Series
from improbable.data.table import TableCodec
from improbable.data.windows import WindowCodec
from improbable.detector import VAEDetector
from improbable.errors import DataError
from improbable.judging import is_missing
from improbable.model import Model

Moved = Callable[[int], None]


def reconstruct_file(
    model: Model, feed: Feed, output: str, *, format: str | None, moved: Moved
) -> int:
    """Write items as the model decodes them; how many there were."""
    return _write_all(model, feed, output, results.reconstruct, format=format, moved=moved)


def impute_file(model: Model, feed: Feed, output: str, *, format: str | None, moved: Moved) -> int:
    """Write items with what is missing filled in; how many there were."""
    if not isinstance(model.codec, TableCodec | WindowCodec):
        return _write_all(model, feed, output, results.impute, format=format, moved=moved)
    blank = pa.RecordBatch.from_pylist([], schema=feed.schema)
    schema = imputed(model, blank, feed.blank).schema
    batches: Iterator[pa.RecordBatch] = _filled(model, feed, moved)
    with ExitStack() as stack:
        if feed.text and format_of(output, format) not in TEXT_FORMATS:
            retyping = Retyping(schema, model.codec, wanted=True)
            kept = stack.enter_context(spill(schema))
            for batch in batches:
                retyping.see(batch)
                kept.write(batch)
            schema, batches = retyping.schema(schema), map(retyping.cast, kept.batches())
        writer = stack.enter_context(open_writer(output, schema, format=format))
        for batch in batches:
            writer.write(batch)
    return feed.n_rows


def _write_all(
    model: Model,
    feed: Feed,
    output: str,
    verb: Callable[[Model, Any], Any],
    *,
    format: str | None,
    moved: Moved,
) -> int:
    """Write what a verb makes of each item."""
    schema = None if feed.blank is None else verb(model, feed.blank).schema
    with open_rows(
        output, model.codec, total=feed.total, schema=schema, names=feed.names, format=format
    ) as write:
        for batch, source in feed:
            write(verb(model, source)[: batch.num_rows])
            moved(batch.num_rows)
    return feed.n_rows


def sample_file(
    detector: VAEDetector,
    n: int,
    output: str,
    *,
    format: str | None,
    prior: str | None = None,
    given: Sequence[str] = (),
    random_state: int = 0,
) -> None:
    """Write new items, perhaps with some columns held at a value."""
    codec = detector.model_.codec
    if given and not isinstance(codec, TableCodec):
        raise DataError("--given holds columns of a table, and the model is not one of tables.")
    held = parsing.given(given, codec.names)
    _check_held(held, codec)
    found = detector.sample(n, prior=prior, given=held or None, random_state=random_state)
    write_whole(output, codec, found, format=format)


def check_like(like: str | None, own: dict[str, Any], others: dict[str, Any]) -> None:
    """Refuse options of --like without it, and beside it those of the whole model.

    Parameters
    ----------
    like : str, optional
        File whose row is to be varied.
    own, others : mapping of str to value
        Options and what was said, None or nothing if they were not.
    """
    if like is None:
        for option in (name for name, value in own.items() if value is not None):
            raise DataError(f"{option} is for --like. Name a file, as in --like new.csv.")
        return
    for option in (name for name, value in others.items() if value):
        raise DataError(
            f"--like draws around one row, {option} from the whole model. Leave one of them out."
        )


def _check_held(held: dict[str, str], codec: Codec) -> None:
    """Refuse text that columns of numbers or times cannot hold."""
    for column in tabular(codec).modeled if held else ():
        cell = np.array([held.get(column.name)], dtype=object)
        if column.read(RawColumn(cell, "text", "String"))[1].any():
            said = f"--given {column.name}={cell[0]}"
            raise DataError(f"{said} is no {column.kind.storage}. Give one, as the column holds.")


def imputed(model: Model, batch: pa.RecordBatch, source: Frame | Series) -> pa.RecordBatch:
    """Batch whose missing cells in modeled columns are filled; all else is as it was.

    Parameters
    ----------
    source : Frame or Series
        Of the batch; a frame with the row more that a feed adds.
    """
    found = _rows(results.impute(model, source), batch.num_rows)
    frame = source if isinstance(source, Frame) else source.rows
    for name, column in columns_of(batch.schema.names, tabular(model.codec)).items():
        if isinstance(column.kind, Identifier):
            continue
        missing = pa.array(is_missing(frame.columns[column.name])[: batch.num_rows])
        cells = _merged(batch.column(name), missing, found.column(column.name))
        batch = batch.set_column(batch.schema.get_field_index(name), name, cells)
    return batch


def _merged(old: Any, missing: Any, new: Any) -> Any:
    """Old cells where they are not missing, in the type that holds both."""
    if pa.types.is_dictionary(old.type):
        old = old.cast(old.type.value_type)
    if pa.types.is_null(old.type):
        old = old.cast(new.type)
    new = pc.if_else(missing, new, pa.scalar(None, new.type))
    measured = pa.types.is_floating(new.type) or pa.types.is_duration(new.type)
    if _is_text(old.type) or _is_binary(old.type) and not _is_binary(new.type):
        new = text_cells(new)
    elif measured and not pa.types.is_temporal(old.type):
        new = number_cells(new)
    elif pa.types.is_timestamp(old.type) and _is_text(new.type):
        new = new.cast(pa.timestamp("us"))  # of UTC, which text alone does not say
    if pa.types.is_integer(old.type) and pa.types.is_floating(new.type):
        old = old.cast(new.type)
    return pc.if_else(missing, new.cast(old.type, safe=False), old)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_binary(kind: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def _filled(model: Model, feed: Feed, moved: Moved) -> Iterator[pa.RecordBatch]:
    for batch, frame in feed:
        yield imputed(model, batch, frame)
        moved(batch.num_rows)


def _rows(table: pa.Table, n: int) -> pa.RecordBatch:
    """First rows of a table as one batch."""
    batches = table.slice(0, n).combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
