"""Lines of JSON to record batches; names of several types become text."""

import json
from collections.abc import Iterator
from functools import partial
from typing import IO, Any

import pyarrow as pa

from improbable.data.blame import Blame, blaming
from improbable.data.delimited import BLOCK, Contents
from improbable.data.frames import arrow_cells
from improbable.data.nested import flat_rows, parents
from improbable.errors import DataError

Rows = list[dict[str, Any]]


def json_contents(stream: IO[bytes]) -> Contents:
    """Schema and rows of an open file, which is read twice.

    A name with numbers in some lines and text in others is text, as in a list of dicts.
    """
    types: dict[str, pa.DataType] = {}
    for blame, rows in _blocks(stream):
        with blame():
            for name, cells in _columns(rows).items():
                types[name] = _wider(name, types.get(name, pa.null()), _type(name, cells))
    stream.seek(0)
    empty = {name for name in parents(types) if pa.types.is_null(types.get(name, pa.string()))}
    schema = pa.schema([(name, kind) for name, kind in types.items() if name not in empty])
    return schema, (_batch(rows, schema) for _, rows in _blocks(stream))


def _blocks(stream: IO[bytes]) -> Iterator[tuple[Blame, Rows]]:
    """Objects of many lines at a time, each with the blame for its lines."""
    last = 0
    while lines := stream.readlines(BLOCK):
        first, last = last + 1, last + len(lines)
        rows: Rows = []
        for number, line in enumerate(lines, first):
            with blaming(f"line {number}", "Write one JSON object a line."):
                rows += [{**json.loads(line)}] if line.strip() else []
        blame = partial(blaming, f"lines {first} to {last}", "Give each name one type.")
        yield blame, flat_rows(rows)


def _columns(rows: Rows) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _type(name: str, cells: list[Any]) -> pa.DataType:
    found = arrow_cells(cells).type
    if pa.types.is_string(found) and any(isinstance(cell, dict | list) for cell in cells):
        raise DataError(
            f"{name!r} holds lists or objects that do not fit together. "
            "Give their entries one type."
        )
    return found


def _wider(name: str, known: pa.DataType, found: pa.DataType) -> pa.DataType:
    """Type that cells of both types fit into."""
    if known == found:
        return known
    both = [pa.schema([(name, type)]) for type in (known, found)]
    try:
        return pa.unify_schemas(both, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        if pa.types.is_nested(known) or pa.types.is_nested(found):
            raise
        return pa.string()


def _batch(rows: Rows, schema: pa.Schema) -> pa.RecordBatch:
    cells = (arrow_cells([row.get(f.name) for row in rows], f.type) for f in schema)
    return pa.RecordBatch.from_arrays(list(cells), schema=schema)
