"""Rows at random from files that may be larger than memory."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from improbable.data.files import format_of, open_writer, read_batches, read_table
from improbable.data.parts import Bools, Floats
from improbable.data.several import files_of

LARGE_TEXT = 500_000_000
Keep = Callable[[pa.RecordBatch], Bools | None]


def read_sample(
    path: str, n_rows: int, seed: int, *, format: str | None = None, keep: Keep | None = None
) -> tuple[pa.Table, int]:
    """Rows of a file: all of them, or so many at random, in file order.

    At most twice as many are in memory, whatever the length of the file; types
    of a text file beyond 500 MB are those of the rows drawn.

    Parameters
    ----------
    path : str
        "-" is standard input.
    n_rows : int
        Most rows to draw, without replacement.
    seed : int
        Of the draw.
    format : str, optional
        Of the file, if its name is silent.
    keep : callable, optional
        Which rows of a batch may be drawn; None for all.

    Returns
    -------
    table : pyarrow.Table
    n_seen : int
        Rows that could be drawn.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    text = _is_large_text(path, format)
    reader = read_batches(path, format=format, text=text)
    sample = _Sample(reader.schema, n_rows, np.random.default_rng(seed))
    for batch in reader.batches():
        chosen = None if keep is None else keep(batch)
        sample.add(batch if chosen is None else batch.filter(pa.array(chosen)))
    table = sample.table()
    return (_retyped(table) if text else table), sample.n_seen


class _Sample:
    """The rows of the lowest random keys so far: uniform, whatever the batches."""

    def __init__(self, schema: pa.Schema, n_rows: int, rng: np.random.Generator) -> None:
        self.schema, self.n_rows, self.rng = schema, n_rows, rng
        self.n_seen, self.n_held = 0, 0
        self.batches: list[pa.RecordBatch] = []
        self.keys: list[Floats] = []

    def add(self, batch: pa.RecordBatch) -> None:
        self.batches.append(batch)
        self.keys.append(self.rng.random(len(batch)))
        self.n_seen, self.n_held = self.n_seen + len(batch), self.n_held + len(batch)
        if self.n_held > 2 * self.n_rows:
            self.drop_highest()

    def drop_highest(self) -> None:
        keys = np.concatenate(self.keys)
        kept: NDArray[np.intp] = np.sort(np.argpartition(keys, self.n_rows - 1)[: self.n_rows])
        table = pa.Table.from_batches(self.batches, schema=self.schema).take(kept)
        self.batches, self.keys = table.combine_chunks().to_batches(), [keys[kept]]
        self.n_held = self.n_rows

    def table(self) -> pa.Table:
        if self.n_held > self.n_rows:
            self.drop_highest()
        return pa.Table.from_batches(self.batches, schema=self.schema)


def _is_large_text(path: str, format: str | None) -> bool:
    if path == "-" or format_of(path, format) not in ("csv", "tsv"):
        return False
    return sum(os.path.getsize(one) for one in files_of(path) if os.path.isfile(one)) > LARGE_TEXT


def _retyped(table: pa.Table) -> pa.Table:
    """Types as a text file of these rows alone would have them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.csv"
        with open_writer(path, table.schema) as writer:
            for batch in table.to_batches():
                writer.write(batch)
        return read_table(path)
