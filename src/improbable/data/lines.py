"""Rows of a table as lines of CSV and of JSON."""

import csv
import json
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import IO, Any

import pyarrow as pa

from improbable.data.octets import legible

TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # a second


def write_header(sink: IO[bytes], names: list[str], delimiter: str) -> None:
    """Append the line of names; one alone in quotes, so that nothing in it seems to part it."""
    quoting = csv.QUOTE_ALL if len(names) == 1 else csv.QUOTE_MINIMAL
    _write([names], sink, delimiter, quoting)


def write_csv(sink: IO[bytes], batch: pa.RecordBatch, delimiter: str) -> None:
    """Append a line for each row."""
    columns = [_values(column, _cell) for column in batch.columns]
    _write(list(zip(*columns, strict=True)), sink, delimiter)


def write_json(sink: IO[bytes], batch: pa.RecordBatch) -> None:
    """Append an object for each row, each in a line of its own."""
    columns = [_values(column, _plain) for column in batch.columns]
    for row in zip(*columns, strict=True):
        line = json.dumps(dict(zip(batch.schema.names, row, strict=True)), ensure_ascii=False)
        sink.write(line.encode() + b"\n")


def text_cells(column: pa.Array) -> pa.Array:
    """Cells as `write_csv` writes them."""
    words = [None if cell is None else str(cell) for cell in _values(column, _cell)]
    return pa.array(words, pa.string())


def number_cells(column: pa.Array) -> pa.Array:
    """Durations or floats as the numbers that `write_csv` writes."""
    cells = [None if cell is None else float(cell) for cell in _values(column, _cell)]
    return pa.array(cells, pa.float64())


def _write(
    rows: list[Any], sink: IO[bytes], delimiter: str, quoting: Any = csv.QUOTE_MINIMAL
) -> None:
    lines: list[str] = []
    writer = csv.writer(SimpleNamespace(write=lines.append), delimiter=delimiter, quoting=quoting)
    # Its line end is \r\n, and so it quotes the cells that hold either of these.
    writer.writerows(rows)
    sink.write("".join(line[:-2] + "\n" for line in lines).encode())


def _values(column: pa.Array, convert: Callable[[Any], Any]) -> list[Any]:
    """Python values, converted; times come as strings of ISO 8601, durations as seconds."""
    if pa.types.is_duration(column.type):
        return [
            tick and _seconds(tick, column.type.unit) for tick in column.cast("int64").to_pylist()
        ]
    if pa.types.is_temporal(column.type) or pa.types.is_decimal(column.type):
        return [v and v.replace(" ", "T") for v in column.cast(pa.string()).to_pylist()]
    if pa.types.is_floating(column.type) and column.type != pa.float64():
        column = column.cast(pa.string()).cast(pa.float64())  # 0.1, not 0.10000000149
    return [convert(value) for value in column.to_pylist()]


def _seconds(tick: int, unit: str) -> int | float:
    """Seconds of a duration, a whole number where they are."""
    whole, rest = divmod(tick, TICKS[unit])
    return tick / TICKS[unit] if rest else whole


def _cell(value: Any) -> Any:
    """Value as a cell of CSV: lists and objects in JSON, as they are read again."""
    nested = isinstance(value, bool | dict | list)
    if nested:
        return json.dumps(_plain(value), ensure_ascii=False)
    return legible(value) if isinstance(value, bytes) else value


def _plain(value: Any) -> Any:
    """Value in the terms of JSON."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return legible(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
