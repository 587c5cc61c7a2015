"""Tables in files, read and written batch by batch; what is wrong with one is a `DataError`.

Memory does not grow with the length of a file, except for CSV with inferred types.
"""

import gzip
import os
import secrets
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from improbable.data.blame import Blame, blaming
from improbable.data.delimited import Contents, csv_contents, pass_remarks
from improbable.data.encodings import as_utf8
from improbable.data.json_lines import json_contents
from improbable.data.lines import write_csv, write_header, write_json
from improbable.data.native import without_views
from improbable.data.nested import flat, flat_schema
from improbable.data.parquet import parquet_appender
from improbable.data.several import files_of, in_schema, join_lines, joined_schema
from improbable.data.workbooks import workbook_contents
from improbable.errors import DataError

FORMATS: dict[str, tuple[str, ...]] = {
    "csv": (".csv", ".csv.gz"),
    "tsv": (".tsv", ".tab", ".tsv.gz"),
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".feather", ".ipc"),
    "jsonl": (".jsonl", ".ndjson", ".jsonl.gz"),
    "excel": (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods"),
}
READ_ONLY = "excel"
WRITTEN = tuple(format for format in FORMATS if format != READ_ONLY)
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_NO_ROOM = ("rows cannot be kept on disk", "Set TMPDIR to a folder with more room.")

Path = str | os.PathLike[str]
_Append = Callable[[pa.RecordBatch], object]


def format_of(path: Path, override: str | None = None, *, written: bool = False) -> str:
    """Key of `FORMATS` for a file: `override`, or as its extension says; "-" is csv.

    One that is to be `written` cannot be of all formats.
    """
    name = os.fspath(path)
    fits = (key for key, extensions in FORMATS.items() if name.lower().endswith(extensions))
    format = override or ("csv" if name == "-" else next(fits, None))
    if format == READ_ONLY and written:
        raise DataError("workbooks are read and not written. Name a .csv or .parquet file.")
    if format in FORMATS:
        return format
    if not override and os.path.isdir(name):
        pattern = pattern_of(name) or os.path.join(name, "*.csv")
        raise DataError(f"{name} is a folder. Name a file in it, or several, as in '{pattern}'.")
    what = f"{override} is no format" if override else f"{name} does not tell its format"
    known = WRITTEN if written else FORMATS
    raise DataError(f"{what}. Pass one of {', '.join(known)}, as in --format csv.")


def pattern_of(folder: str) -> str | None:
    """Pattern of the tables in a folder, those of the first format there is; None without."""
    names = tuple(name.lower() for name in os.listdir(folder))
    known = (extension for extensions in FORMATS.values() for extension in extensions)
    found = (one for one in known if any(name.endswith(one) for name in names))
    return next((os.path.join(folder, f"*{extension}") for extension in found), None)


@dataclass(frozen=True)
class Reader:
    """An open table: its schema now, its rows once."""

    schema: pa.Schema
    _rows: Iterator[pa.RecordBatch]
    _stack: ExitStack

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Record batches in file order; the file is closed after the last one."""
        with self._stack:
            yield from self._rows


def read_batches(
    path: Path, *, format: str | None = None, batch_rows: int = 65_536, text: bool = False
) -> Reader:
    """Open a table for reading in batches.

    Parameters
    ----------
    path : str or path-like
        "-" is standard input, and a pattern such as "logs/*.csv" all files that it matches,
        in order of their names. The extension decides on the format, unless it is given.
    text : bool
        Keep the cells of CSV as they are written: every column holds strings, and only the
        empty cell is null. Otherwise types are inferred from all rows, held in memory, and
        `NULL_WORDS` are null. Other formats carry their types; JSON Lines is read twice.

    Raises
    ------
    DataError
        If the file is absent, empty, damaged or of another format; reading a batch may
        raise it too. The message names the row or line where it is known.
    """
    name, format = os.fspath(path), format_of(path, format)
    names = files_of(name)
    if name != "-" and not os.path.exists(names[0]):
        raise DataError(f"there is no file {name}. Check its spelling and folder.")
    problem = f"{'standard input' if name == '-' else name} cannot be read as {format}"
    again = partial(read_batches, format=format, text=text)
    blame = partial(_blaming, names, again, problem)
    with ExitStack() as stack:
        with blame():
            found, batches = _contents(names, format, batch_rows, stack, text=text)
            schema = flat_schema(without_views(found))
            _check_names(schema.names)
            schema.to_string()  # fails for nested names that are not UTF-8
        return Reader(schema, _resliced(batches, batch_rows, blame), stack.pop_all())


@contextmanager
def _blaming(names: list[str], again: Callable[[str], Reader], problem: str) -> Iterator[None]:
    """Blame a file, that one of several which cannot be read alone either."""
    try:
        with blaming(problem, "Repair it, or pass its true format."):
            yield
    except DataError:
        for name in names if len(names) > 1 else ():
            for _ in again(name).batches():
                pass
        raise


def read_table(path: Path, *, format: str | None = None) -> pa.Table:
    """Read a whole table, with inferred types; see `read_batches`."""
    reader = read_batches(path, format=format)
    return pa.Table.from_batches(reader.batches(), schema=reader.schema)


def _contents(
    names: list[str], format: str, batch_rows: int, stack: ExitStack, *, text: bool
) -> Contents:
    if format == "jsonl":
        return json_contents(_lines_of(names, stack, header=False))
    if format in _DELIMITERS:
        lines = _lines_of(names, stack, header=True)
        return csv_contents(lines, _DELIMITERS[format], text=text)
    if len(names) == 1:
        return _typed_contents(names[0], stack, format, batch_rows)
    schemas = []
    for name in names:
        with ExitStack() as once:
            found = _typed_contents(name, once, format, batch_rows)[0]
            schemas.append((name, flat_schema(without_views(found))))
    schema = joined_schema(schemas)
    return schema, in_schema(_one_by_one(names, format, batch_rows), schema)


def _one_by_one(names: list[str], format: str, batch_rows: int) -> Iterator[pa.RecordBatch]:
    for name in names:
        with ExitStack() as once:
            yield from _typed_contents(name, once, format, batch_rows)[1]


def _opened(name: str, stack: ExitStack) -> Any:
    """Open a file on disk: what is compressed or piped is copied there first."""
    stream: Any = sys.stdin.buffer if name == "-" else stack.enter_context(open(name, "rb"))
    source = stack.enter_context(gzip.open(stream)) if name.lower().endswith(".gz") else stream
    if name == "-" or source is not stream or not stream.seekable():
        stream = stack.enter_context(tempfile.NamedTemporaryFile())
        shutil.copyfileobj(source, stream)
        stream.seek(0)
    return stream


def _lines_of(names: list[str], stack: ExitStack, *, header: bool) -> Any:
    """Open a file of text, or one of the lines of several."""
    if len(names) == 1:
        return _opened_text(names[0], stack)
    stream = stack.enter_context(tempfile.NamedTemporaryFile())
    join_lines(_texts(names, header=header), stream, header=header)
    stream.seek(0)
    return stream


def _texts(names: list[str], *, header: bool) -> Iterator[tuple[str, Any]]:
    for name in names:
        with ExitStack() as once:
            stream = _opened_text(name, once)
            if header:
                pass_remarks(stream)
            yield name, stream


def _opened_text(name: str, stack: ExitStack) -> Any:
    """Open a file of text on disk, in UTF-8."""
    called = "standard input" if name == "-" else name
    return as_utf8(_opened(name, stack), called, stack)


def _typed_contents(name: str, stack: ExitStack, format: str, batch_rows: int) -> Contents:
    stream = _opened(name, stack)
    if format == "excel":
        return workbook_contents(stream, name, batch_rows)
    if format == "parquet":
        file = pq.ParquetFile(stream, buffer_size=1 << 16, pre_buffer=False)
        return file.schema_arrow, file.iter_batches(batch_rows)
    magic = stream.read(6)
    stream.seek(0)
    if magic != b"ARROW1":
        batches = pa.ipc.open_stream(stream)
        return batches.schema, batches
    arrow = pa.ipc.open_file(stream)
    return arrow.schema, map(arrow.get_batch, range(arrow.num_record_batches))


def _check_names(names: list[str]) -> None:
    if not names:
        raise DataError("it is empty, without even a column. Pass a table with rows.")
    repeated = [repr(name) for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise DataError(f"several columns are named {', '.join(repeated)}. Rename all but one.")


def _resliced(batches: Iterable[Any], batch_rows: int, blame: Blame) -> Iterator[pa.RecordBatch]:
    with blame():
        for batch in batches:
            batch.validate(full=True)  # offsets in a damaged file may point anywhere in memory
            for start in range(0, batch.num_rows, batch_rows):
                yield flat(without_views(batch.slice(start, batch_rows)))


@dataclass(frozen=True)
class Writer:
    """An open table to be written; made by `open_writer`."""

    schema: pa.Schema
    _append: _Append
    _blame: Blame

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the rows of a batch, which must have the columns of the table."""
        with self._blame():
            self._append(batch.cast(self.schema))


@contextmanager
def open_writer(path: Path, schema: pa.Schema, *, format: str | None = None) -> Iterator[Writer]:
    """Open a table for writing that appears whole when the block ends, or not at all.

    Rows go to a hidden file, which replaces `path` at the end and is removed on an exception.
    Standard output, "-", and devices receive rows at once, arrow being the stream format
    there. Dictionary columns are written as their values. A broken pipe is left to the caller.

    Raises
    ------
    DataError
        If the destination cannot be written, or the format has no place for a value.
    """
    name, format = os.fspath(path), format_of(path, format, written=True)
    problem = f"{'standard output' if name == '-' else name} cannot be written"
    blame = partial(blaming, problem, "Name a file in a folder that exists and has room.")
    schema = _without_dictionaries(schema)
    stack = ExitStack()
    try:
        with blame():
            append = _encoder(name, format, schema, stack)
        yield Writer(schema, append, blame)
        with blame():
            stack.close()
    except BaseException as error:
        # What fails while the stack unwinds must not hide the first error.
        with suppress(Exception):
            stack.__exit__(type(error), error, error.__traceback__)
        raise


def _without_dictionaries(schema: pa.Schema) -> pa.Schema:
    """Replace dictionaries, which in an Arrow file may not differ between batches."""
    new = [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in schema]
    return pa.schema(new, schema.metadata)


def _encoder(name: str, format: str, schema: pa.Schema, stack: ExitStack) -> _Append:
    """Open the destination on the stack, and return what appends a batch to it."""
    leaves_at_once = name == "-" or (os.path.exists(name) and not os.path.isfile(name))
    opened = _leaving(name, whole=format == "parquet") if leaves_at_once else _replacing(name)
    sink: Any = stack.enter_context(opened)
    if format == "parquet":
        return parquet_appender(sink, schema, stack)
    if format == "arrow":
        writer: Any = (pa.ipc.new_stream if leaves_at_once else pa.ipc.new_file)(sink, schema)
        stack.push(lambda kind, *_: None if kind else writer.close())
        return lambda batch: writer.write(batch)
    if name.lower().endswith(".gz"):
        sink = stack.enter_context(gzip.GzipFile("", "wb", fileobj=sink, mtime=0))
    if format == "jsonl":
        return lambda batch: write_json(sink, batch)
    delimiter = _DELIMITERS[format]
    write_header(sink, schema.names, delimiter)
    return lambda batch: write_csv(sink, batch, delimiter)


@contextmanager
def _leaving(name: str, *, whole: bool) -> Iterator[IO[bytes]]:
    """Open standard output or a device; `whole` holds the bytes back until the end."""
    with nullcontext(sys.stdout.buffer) if name == "-" else open(name, "wb") as out:
        with tempfile.TemporaryFile() if whole else nullcontext(out) as sink:
            yield sink
            if whole:
                sink.seek(0)
                shutil.copyfileobj(sink, out)
        out.flush()


@contextmanager
def _replacing(name: str) -> Iterator[IO[bytes]]:
    """Open a hidden file that takes the place of another, if all goes well."""
    path = os.path.realpath(name)
    existed = os.path.exists(path)
    if existed and not os.access(path, os.W_OK):
        raise PermissionError("it is read-only")
    # Not `tempfile`: the mode of the result must follow the umask, as for any new file.
    hidden = os.path.join(os.path.dirname(path), f".{secrets.token_hex(8)}.partial")
    try:
        with open(hidden, "xb") as sink:
            yield sink
        if existed:
            shutil.copymode(path, hidden)
        os.replace(hidden, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(hidden)
        raise


@dataclass(frozen=True)
class Spill:
    """Record batches in a temporary file; made by `spill`."""

    schema: pa.Schema
    _file: IO[bytes]
    _writer: Any

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch; not after `batches` was called."""
        with blaming(*_NO_ROOM):
            self._writer.write(batch)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Batches in the order of writing; one pass at a time."""
        with blaming(*_NO_ROOM):
            self._writer.close()
            self._file.seek(0)
            yield from pa.ipc.open_stream(self._file)


@contextmanager
def spill(schema: pa.Schema) -> Iterator[Spill]:
    """Open a nameless temporary file for batches, to be read back inside the block."""
    with blaming(*_NO_ROOM):
        file = tempfile.TemporaryFile()
        writer = pa.ipc.new_stream(file, schema)
    try:
        yield Spill(schema, file, writer)
    finally:
        with suppress(OSError):  # a full disk fails here once more, and hides the first error
            file.close()
