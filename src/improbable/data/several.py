"""Several files read as one table: those that a pattern such as `logs/*.csv` matches."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import pyarrow as pa

from improbable.data.native import without_views
from improbable.data.nested import flat
from improbable.errors import DataError

MARK = b"\xef\xbb\xbf"


def files_of(path: str | os.PathLike[str]) -> list[str]:
    """Files a path stands for: itself, or all that match a pattern, in order of their names.

    Raises
    ------
    DataError
        If no file matches.
    """
    name = os.fspath(path)
    if name == "-" or os.path.exists(name) or not glob.has_magic(name):
        return [name]
    found = sorted(one for one in glob.glob(name, recursive=True) if os.path.isfile(one))
    if not found:
        raise DataError(f"no file matches {name}. Check its spelling and folder.")
    return found


def join_lines(files: Iterable[tuple[str, IO[bytes]]], sink: IO[bytes], *, header: bool) -> None:
    """Write the lines of text files one after the other, a header once.

    Raises
    ------
    DataError
        If a file has other columns than the first.
    """
    first: tuple[str, bytes] | None = None
    for name, stream in files:
        line = _header(stream) if header else b""
        if header and not line:
            continue
        if first is None:
            first = name, line
            sink.write(line + b"\n" if header else b"")
        elif line != first[1]:
            raise DataError(_other_columns(name, first[0]))
        _copy_lines(stream, sink)


def _header(stream: IO[bytes]) -> bytes:
    """The first line that says something, with all lines of a quoted name."""
    line = next((line for line in stream if line.strip(MARK + b" \t\r\n")), b"")
    while line.count(b'"') % 2 and (more := stream.readline()):
        line += more
    return line.removeprefix(MARK).rstrip(b"\r\n")


def _copy_lines(stream: IO[bytes], sink: IO[bytes]) -> None:
    block = b"\n"
    for block in iter(lambda: stream.read(1 << 20), b""):
        sink.write(block)
    if not block.endswith(b"\n"):
        sink.write(b"\n")


def joined_schema(schemas: Sequence[tuple[str, pa.Schema]]) -> pa.Schema:
    """Schema that the rows of all files fit in.

    Raises
    ------
    DataError
        If a file has other columns than the first, or other types that do not go together.
    """
    (first, known), *others = schemas
    for name, schema in others:
        if sorted(schema.names) != sorted(known.names):
            raise DataError(_other_columns(name, first))
    return pa.schema([_widest(name, schemas) for name in known.names])


def _widest(column: str, schemas: Sequence[tuple[str, pa.Schema]]) -> pa.Field:
    """Field that cells of a column fit in, whichever file they come from."""
    (first, known), *others = ((name, pa.schema([one.field(column)])) for name, one in schemas)
    for name, one in others:
        try:
            known = pa.unify_schemas([known, one], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(
                f"column {column!r} holds {known.field(0).type} in {first} and "
                f"{one.field(0).type} in {name}. Give it one type."
            ) from error
    return known.field(0)


def in_schema(batches: Iterable[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Batches with the columns of a schema in its order, and its types."""
    for batch in batches:
        yield flat(without_views(batch)).select(schema.names).cast(schema)


def _other_columns(name: str, first: str) -> str:
    return f"{name} has other columns than {first}. Give all files the same ones in one order."
