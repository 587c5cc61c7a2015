"""Parquet out: batches put together into groups of rows that are worth reading at once."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_TOGETHER = 131_072


def parquet_appender(
    sink: IO[bytes], schema: pa.Schema, stack: ExitStack
) -> Callable[[pa.RecordBatch], Any]:
    """What appends batches to a Parquet file, which is finished as the stack ends well.

    A dictionary of numbers that mostly differ would make them half as long again.
    """
    named = [field.name for field in schema if not pa.types.is_floating(field.type)]
    writer: Any = stack.enter_context(pq.ParquetWriter(sink, schema, use_dictionary=named))
    waiting: list[pa.RecordBatch] = []

    def flush() -> None:
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting, schema))
            waiting.clear()

    def append(batch: pa.RecordBatch) -> None:
        waiting.append(batch)
        if sum(one.num_rows for one in waiting) >= ROWS_TOGETHER:
            flush()

    stack.push(lambda kind, *_: None if kind else flush())
    return append
