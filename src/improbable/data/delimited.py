"""Delimited text to record batches: CSV, also with semicolons and decimal commas."""

import csv
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from io import StringIO
from itertools import chain
from mmap import ACCESS_READ, mmap
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from improbable.data.padding import are_codes, may_hold_codes
from improbable.data.texts import NULL_WORDS, parse_number
from improbable.errors import DataError

BLOCK = 1 << 20
OTHERS = (";", "\t", "|")
WITH_COMMA = r"^\s*([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)\s*$"
WITH_POINT = WITH_COMMA.replace(",", r"\.")
HEXADECIMAL = r"^\s*[+-]?0[xX]"
THOUSANDS = r"^\s*[+-]?[1-9]\d{0,2},\d{3}\s*$"

Contents = tuple[pa.Schema, Iterable[pa.RecordBatch]]


def csv_contents(stream: Any, delimiter: str, *, text: bool) -> Contents:
    """Schema and rows of an open file on disk.

    Parameters
    ----------
    stream : file
        At its start.
    delimiter : str
        Where it is a comma and the names hold none, semicolons, tabs or bars that they and
        the first row hold stand for it. Numbers may have decimal commas where semicolons do.
    text : bool
        Keep cells as strings, with points in such numbers. Otherwise types are inferred,
        and `NULL_WORDS` are null.
    """
    pass_remarks(stream)
    lines = _decoded(stream)
    line = next((line for line in lines if line.strip("\r\n")), "")
    delimiter = _delimiter(line, stream, delimiter)
    names = next(csv.reader(chain([line], lines), delimiter=delimiter), [])
    start, nulls = stream.tell(), [""] if text else list(NULL_WORDS)
    commas = _with_commas(stream, names) if delimiter == ";" else []

    def read(texts: list[str], only: list[str] | None = None) -> Any:
        # Not the stream itself: pyarrow reads ahead, and hangs if Python exits meanwhile.
        rest = pa.OSFile(stream.name)
        rest.seek(start)
        return (pa.csv.open_csv if text else pa.csv.read_csv)(
            rest,
            # One thread: only then do errors carry the number of the row.
            pa.csv.ReadOptions(column_names=names, block_size=BLOCK, use_threads=False),
            pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            pa.csv.ConvertOptions(
                column_types=dict.fromkeys(texts, pa.string()),
                null_values=nulls,
                strings_can_be_null=True,
                include_columns=only,
            ),
        )

    try:
        rows = read(names if text else commas)
        if not text:
            rows = _with_texts(stream, rows, lambda some: read(some, some), delimiter)
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return pa.schema([(name, pa.string()) for name in names]), []
        raise
    _refuse_bytes(rows.schema)
    if text:
        return rows.schema, (_with_points(batch, commas) for batch in rows)
    table = _as_numbers(_with_points(rows, commas), commas)
    return table.schema, table.to_batches()


def _refuse_bytes(schema: pa.Schema) -> None:
    for field in schema:
        if pa.types.is_binary(field.type):
            raise DataError(f"column {field.name!r} is not UTF-8 text. Save the file as UTF-8.")


def pass_remarks(stream: Any) -> None:
    """Move an open file to its line of names: past lines before it that begin with #.

    The last of these holds the names if it has as many cells as the line after it,
    and that holds numbers or no space follows the #.
    """
    begin = place = stream.tell()
    names, at = b"", begin
    for line in iter(stream.readline, b""):
        if line.strip() and not line.removeprefix(BOM_UTF8).startswith(b"#"):
            stream.seek(at if not names or _names_cells(names, line) else place)
            return
        if line.strip():
            names, at = line, place
        place = stream.tell()
    stream.seek(begin)


def _names_cells(remark: bytes, line: bytes) -> bool:
    """Whether a line that begins with # holds the names of the cells of the next one."""
    parted = max((one.encode() for one in (",", *OTHERS)), key=line.count)
    is_close = not remark.removeprefix(BOM_UTF8)[1:2].isspace()
    numbers = [parse_number(cell) for cell in line.decode(errors="replace").split(parted.decode())]
    holds_numbers = any(number is not None and number == number for number in numbers)
    return remark.count(parted) == line.count(parted) and (is_close or holds_numbers)


def _with_texts(stream: Any, rows: Any, read: Callable[[list[str]], Any], delimiter: str) -> Any:
    """Rows whose times of day are as written, and whole numbers if some are such as 0x1F or 01067.

    As text, 11:30 is not 11:30:00, 0x1F no number, and 01067 a code.
    """
    clocks = [field.name for field in rows.schema if pa.types.is_time(field.type)]
    whole = [field.name for field in rows.schema if pa.types.is_integer(field.type)]
    names = rows.schema.names
    if len(set(names)) < len(names):  # who reads the file refuses it
        return rows
    if whole and not (_may_hold_hexadecimal(stream) or may_hold_codes(stream, delimiter)):
        whole = []
    if not clocks + whole:
        return rows
    texts = read(clocks + whole)
    for place, name in enumerate(names):
        if (
            name in clocks
            or name in whole
            and (_hexadecimal(texts[name]) or are_codes(texts[name]))
        ):
            rows = rows.set_column(place, name, texts[name])
    return rows


def _may_hold_hexadecimal(stream: Any) -> bool:
    with mmap(stream.fileno(), 0, access=ACCESS_READ) as held:
        return held.find(b"0x") >= 0 or held.find(b"0X") >= 0


def _hexadecimal(cells: Any) -> bool:
    """Whether some texts are numbers such as 0x1F."""
    return bool(pc.any(pc.match_substring_regex(cells, HEXADECIMAL)).as_py())


def _decoded(stream: Any) -> Iterator[str]:
    for line in iter(stream.readline, b""):
        try:
            yield line.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError("it is not UTF-8 text. Save the file as UTF-8.") from error


def _delimiter(header: str, stream: Any, expected: str) -> str:
    """What parts names and cells: `expected`, or what does where that does not."""
    bare = re.sub('"[^"]*"', "", header)
    found = max(OTHERS, key=bare.count)
    if expected != "," or '"' in bare or "," in bare or found not in bare:
        return expected
    place = stream.tell()
    row = re.sub(b'"[^"]*"', b"", next(filter(bytes.strip, iter(stream.readline, b"")), b""))
    stream.seek(place)
    parted = not row or b'"' in row or found.encode() in row
    return found if parted else expected


def _with_commas(stream: Any, names: list[str]) -> list[str]:
    """Names of the columns whose first cells hold numbers with commas and none with points.

    Nothing where all of them may be thousands: 1,500 and 12,250.
    """
    place = stream.tell()
    text = stream.read(BLOCK).decode("utf-8", errors="replace")
    stream.seek(place)
    rows: list[list[str]] = []
    with suppress(csv.Error):  # a cell longer than the reader takes: what came before it counts
        rows.extend(csv.reader(StringIO(text, newline=""), delimiter=";"))
    columns = list(zip(*(row for row in rows if len(row) == len(names)), strict=True))
    held = [[cell for cell in column if re.match(WITH_COMMA, cell)] for column in columns]
    if all(re.match(THOUSANDS, cell) for cells in held for cell in cells):
        return []
    pointed = [any(re.match(WITH_POINT, cell) for cell in column) for column in columns]
    return [n for n, cells, no in zip(names, held, pointed, strict=False) if cells and not no]


def _with_points(rows: Any, names: list[str]) -> Any:
    """Rows whose numbers with decimal commas have points instead, in some columns of text."""
    for i in [rows.schema.get_field_index(name) for name in names]:
        cells = pc.replace_substring_regex(rows.column(i), WITH_COMMA, r"\1.\2")
        rows = rows.set_column(i, rows.schema.field(i), cells)
    return rows


def _as_numbers(table: pa.Table, names: list[str]) -> pa.Table:
    """Table with columns of text as numbers, if all of their cells are."""
    for i in [table.schema.get_field_index(name) for name in names]:
        try:
            numbers = pc.utf8_trim_whitespace(table.column(i)).cast(pa.float64())
        except pa.ArrowInvalid:
            continue
        table = table.set_column(i, table.schema.field(i).with_type(pa.float64()), numbers)
    return table
