"""The INPUT of a command, opened as its model reads it: a table, or images."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from improbable.cli.album import ARRAYS, ImageFeed, holds_images, open_album
from improbable.cli.feed import open_table
from improbable.cli.options import DEFAULT_BATCH_ROWS
from improbable.cli.sequences import open_sequences
from improbable.cli.series import open_series
from improbable.data.codec import Codec
from improbable.data.images import ImageCodec
from improbable.data.pictures import EXTENSIONS
from improbable.data.sequences import SequenceCodec
from improbable.data.table import TableCodec
from improbable.data.windows import WindowCodec
from improbable.errors import DataError


class Feed(Protocol):
    """Batches of what is known of some items, each beside the items as a codec reads them.

    Attributes
    ----------
    schema : pyarrow.Schema
        Of the batches.
    text : bool
        Whether all cells are text, as in CSV.
    n_rows : int
        Items so far.
    """

    schema: pa.Schema
    text: bool
    n_rows: int

    @property
    def key(self) -> str | None:
        """Column of file names or positions, if they are images."""
        ...

    @property
    def blank(self) -> Any:
        """Items of a batch without rows; None for images."""
        ...

    @property
    def total(self) -> int | None:
        """How many items there are, if that is known beforehand."""
        ...

    @property
    def names(self) -> list[str]:
        """Names of their files, if each has one."""
        ...

    @property
    def never_observed(self) -> list[str]:
        """Modeled columns without a value so far."""
        ...

    def __iter__(self) -> Iterator[tuple[pa.RecordBatch, Any]]:
        """Batches; the items may be more than the rows, those of the rows first."""
        ...

    def frame(self, batch: pa.RecordBatch, places: Sequence[int] = ()) -> Any:
        """Items of a batch from some places of the input, and perhaps more."""
        ...


@dataclass(frozen=True)
class InputFile:
    """What the user said of INPUT.

    Attributes
    ----------
    path, format : str
        The table or images, and the format of a table if its name is silent.
    array, labels : str, optional
        For images: their name in an .npz, and a file of what else is known of them.
    batch_rows : int
        Rows in memory at a time.
    """

    path: str
    format: str | None = None
    array: str | None = None
    labels: str | None = None
    batch_rows: int = DEFAULT_BATCH_ROWS

    @property
    def is_images(self) -> bool:
        """Whether the path is one that images come in."""
        return holds_images(self.path)

    def check_images(
        self,
        kind: Sequence[str] = (),
        drop: Sequence[str] = (),
        series: Mapping[str, Any] | None = None,
    ) -> None:
        """Refuse what is said of tables or series only."""
        for option, value in (("--format", self.format), ("--kind", kind), ("--drop", drop)):
            if value:
                raise DataError(f"{option} is for tables. Leave it out.")
        if series:
            raise DataError("Images have no series. Leave out --window and the like.")

    def check_table(self, size: str | None = None, contrast: str | None = None) -> None:
        """Refuse what is said of images only."""
        ours = (("--array", self.array), ("--labels", self.labels))
        said = (*ours, ("--size", size), ("--contrast", contrast))
        for option, value in said:
            if value is not None:
                raise DataError(f"{option} is for images. Leave it out.")


def open_feed(input: InputFile, codec: Codec, *, without: str | None = None) -> Feed:
    """Open INPUT for a model to read.

    Parameters
    ----------
    input : InputFile
    codec : Codec
        Of the model.
    without : str, optional
        Column of a table that is not the model's.

    Raises
    ------
    DataError, SchemaError
        If it cannot be read, or is not what the model learned from.
    """
    if isinstance(codec, TableCodec):
        input.check_table()
        _refuse_images(input.path)
        return open_table(
            input.path,
            codec,
            format=input.format,
            batch_rows=input.batch_rows,
            without=without,
        )
    if isinstance(codec, WindowCodec):
        input.check_table()
        _refuse_images(input.path)
        return open_series(
            input.path,
            codec,
            format=input.format,
            batch_rows=input.batch_rows,
            without=without,
        )
    if isinstance(codec, SequenceCodec):
        input.check_table()
        _refuse_images(input.path)
        return open_sequences(input.path, codec, format=input.format, batch_rows=input.batch_rows)
    if not isinstance(codec, ImageCodec):
        raise DataError(f"The command line does not read what {type(codec).__name__} does yet.")
    if os.path.exists(input.path) and not input.is_images or input.path == "-":
        raise DataError(
            f"The model learned from images, and {input.path} is no image, folder, .npz or .npy. "
            "Pass images, or a model of tables."
        )
    input.check_images()
    return ImageFeed(open_album(input.path, input.array, input.labels), codec, input.batch_rows)


def _refuse_images(path: str) -> None:
    files = os.listdir(path) if os.path.isdir(path) else [path]
    if any(name.lower().endswith((*ARRAYS, *EXTENSIONS)) for name in files):
        raise DataError(
            f"The model learned from a table, and {path} looks like images or arrays. "
            "Pass a table, or a model of images."
        )
