"""Delimited text to record batches: CSV, also with semicolons and decimal commas."""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from improbable.data.texts import NULL_WORDS
from improbable.errors import DataError

BLOCK = 1 << 20
PROBED_BYTES = 1 << 16
OTHERS = (";", "\t", "|")
WITH_COMMA = r"^([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)$"
WITH_POINT = WITH_COMMA.replace(",", r"\.")

Contents = tuple[pa.Schema, Iterable[pa.RecordBatch]]


@dataclass(frozen=True)
class Dialect:
    """What stands between cells, and between the digits of a number."""

    delimiter: str
    decimal: str


def csv_contents(stream: Any, delimiter: str, *, text: bool) -> Contents:
    """Schema and rows of an open file on disk.

    Parameters
    ----------
    stream : file
        At its start.
    delimiter : str
        Where it is a comma and the names hold none, semicolons, tabs or bars that they hold
        stand for it; numbers may then have a decimal comma.
    text : bool
        Keep cells as strings. Otherwise types are inferred, and `NULL_WORDS` are null.
    """
    lines = _header_lines(stream)
    line = next((line for line in lines if line.strip("\r\n")), "")
    delimiter = _delimiter(line, delimiter)
    names = next(csv.reader(chain([line], lines), delimiter=delimiter), [])
    start, nulls = stream.tell(), [""] if text else list(NULL_WORDS)
    dialect = Dialect(delimiter, _decimal(stream, delimiter))
    strings = pa.schema([(name, pa.string()) for name in names])

    def read(types: Any) -> Any:
        # Not the stream itself: pyarrow reads ahead, and hangs if Python exits meanwhile.
        rest = pa.OSFile(stream.name)
        rest.seek(start)
        return (pa.csv.open_csv if text else pa.csv.read_csv)(
            rest,
            # One thread: only then do errors carry the number of the row.
            pa.csv.ReadOptions(column_names=names, block_size=BLOCK, use_threads=False),
            pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            pa.csv.ConvertOptions(
                column_types=types,
                null_values=nulls,
                strings_can_be_null=True,
                decimal_point=dialect.decimal,
            ),
        )

    try:
        rows = read(strings if text else None)
        if clocks := [(f.name, pa.string()) for f in rows.schema if pa.types.is_time(f.type)]:
            rows = read(pa.schema(clocks))  # names as they are: 11:30 is not 11:30:00
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return strings, []
        raise
    for field in rows.schema:
        if pa.types.is_binary(field.type):
            raise DataError(f"column {field.name!r} is not UTF-8 text. Save the file as UTF-8.")
    if not text:
        return rows.schema, rows.to_batches()
    return rows.schema, map(_with_points, rows) if dialect.decimal == "," else rows


def _header_lines(stream: Any) -> Iterator[str]:
    for line in iter(stream.readline, b""):
        try:
            yield line.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError("it is not UTF-8 text. Save the file as UTF-8.") from error


def _delimiter(header: str, expected: str) -> str:
    """What parts the names of a table: `expected`, or what does where that does not."""
    bare = re.sub('"[^"]*"', "", header)
    found = max(OTHERS, key=bare.count)
    return found if expected == "," and "," not in bare and found in bare else expected


def _decimal(stream: Any, delimiter: str) -> str:
    """A comma where the first cells hold numbers with one, and none with a point."""
    if delimiter == ",":
        return "."
    place = stream.tell()
    lines = stream.read(PROBED_BYTES).decode("latin-1").splitlines()
    stream.seek(place)
    cells = [cell.strip() for row in csv.reader(lines, delimiter=delimiter) for cell in row]
    pointed = any(re.match(WITH_POINT, cell) for cell in cells)
    return "," if not pointed and any(re.match(WITH_COMMA, cell) for cell in cells) else "."


def _with_points(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [pc.replace_substring_regex(c, WITH_COMMA, r"\1.\2") for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)
