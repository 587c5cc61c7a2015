"""What `fit` learns from: rows of a table or images, the normal ones if there are labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from improbable.cli import parsing
from improbable.cli.album import open_album
from improbable.cli.feed import TEXT_FORMATS
from improbable.cli.inputs import InputFile
from improbable.cli.labels import KNOWN, Labels, check_column, listed
from improbable.cli.sequences import column_of, refuse_nulls, sequences_in
from improbable.data.codec import Codec
from improbable.data.columns import Cyclic
from improbable.data.files import format_of, read_table
from improbable.data.images import ImageCodec
from improbable.data.kinds import COLUMNS
from improbable.data.moments import Datetime
from improbable.data.padding import numbered
from improbable.data.parts import Bools
from improbable.data.pictures import Images
from improbable.data.sampling import Keep, read_sample
from improbable.data.sequences import SequenceCodec
from improbable.data.tokens import Sequences
from improbable.data.windows import WindowCodec
from improbable.errors import DataError

Params = dict[str, Any]
MOST_ROWS = 1_000_000


@dataclass(frozen=True)
class Choice:
    """What to learn from, of all that INPUT holds.

    Attributes
    ----------
    label, normal : str, optional
        Column of labels, and the label of normal rows.
    drop, kind : sequence of str
        Columns to leave out, and kinds of columns: for tables.
    size, contrast : str, optional
        What images are resized to, and what becomes of their contrast.
    max_rows : int, optional
        Most rows of a table to read, at random; a million if None. Of series the
        last ones.
    window, time, entity, score_of, calendar, network, stride
        What makes rows points of series; see `improbable.data.windows.WindowCodec`.
    sequence, unit : str, optional
        Column of sequences, and what its strings are cut into.
    """

    label: str | None = None
    normal: str | None = None
    drop: Sequence[str] = ()
    kind: Sequence[str] = ()
    size: str | None = None
    contrast: str | None = None
    max_rows: int | None = None
    window: str | None = None
    time: str | None = None
    entity: str | None = None
    score_of: str | None = None
    calendar: Sequence[str] = ()
    network: str | None = None
    stride: int | None = None
    sequence: str | None = None
    unit: str | None = None

    @property
    def series(self) -> dict[str, Any]:
        """Arguments of the codec of series that were given; none for a table."""
        length = None if self.window is None else parsing.window(self.window)
        given: dict[str, Any] = {"length": length, "time": self.time, "entity": self.entity}
        given |= {
            "score_of": self.score_of,
            "calendar": tuple(",".join(self.calendar).split(",")) if self.calendar else None,
        }
        given |= {"network": self.network, "stride": self.stride}
        return {name: value for name, value in given.items() if value is not None}

    def reading(self, labels: Labels) -> Keep | None:
        """What tells which rows a column of labels calls normal; None without such a column."""
        if self.label is None:
            if self.normal is not None:
                raise DataError(
                    "--normal says which label is normal. Name the column with --label."
                )
            return None

        def is_normal(batch: pa.RecordBatch) -> Bools:
            name = check_column(str(self.label), batch.schema.names, "--label", KNOWN)
            return labels.read(batch.column(name))[0]

        return is_normal

    def normal_rows(self, table: pa.Table) -> Bools | None:
        """Which rows of a table are normal; None without a column of labels."""
        labels = Labels(self.normal)
        keep = self.reading(labels)
        if keep is None:
            return None
        found = [keep(batch) for batch in table.to_batches()]
        labels.check_found()
        return np.concatenate([rows for rows in found if rows is not None])


def read_training(input: InputFile, choice: Choice, params: Params) -> tuple[Any, Params, int]:
    """What to fit on, the arguments of the detector that suit it, and how many rows there are."""
    if not input.is_images:
        input.check_table(choice.size, choice.contrast)
        if choice.sequence is not None or choice.unit is not None:
            return _sequences_to_learn(input, choice, params)
        if choice.series:
            return _series_to_learn(input, choice, params)
        params = {**params, "columns": parse_kinds(choice.kind) or None}
        table, n_seen = _rows(input, choice, int(params["random_state"]))
        return table, params, n_seen
    input.check_images(choice.kind, choice.drop, choice.series)
    if choice.sequence is not None or choice.unit is not None:
        raise DataError("--sequence and --unit are for tables. Leave them out.")
    sides = None if choice.size is None else parsing.size(choice.size)
    codec = ImageCodec(params.get("likelihood", "auto"), sides, choice.contrast or "kept")
    others = {name: value for name, value in params.items() if name != "likelihood"}
    images = _images(input, choice, codec)
    return images, {**others, "codec": codec}, images.n_rows


def read_more(input: InputFile, choice: Choice, codec: Codec, seed: int) -> tuple[Any, int]:
    """What a model of this codec goes on learning from, and how many rows there are."""
    if isinstance(codec, ImageCodec):
        images = _images(input, choice, codec)
        return images, images.n_rows
    input.check_table()
    if isinstance(codec, WindowCodec):
        return _points(input, choice)
    if isinstance(codec, SequenceCodec):
        return _sequences(input, choice, column_of(codec), codec.form.unit, seed)
    return _rows(input, choice, seed)


def _series_to_learn(
    input: InputFile, choice: Choice, params: Params
) -> tuple[pa.Table, Params, int]:
    """Points of series, the detector's arguments with their codec, and how many there are."""
    table, n_rows = _points(input, choice)
    others = {name: value for name, value in params.items() if name != "likelihood"}
    codec = WindowCodec(
        kinds=parse_kinds(choice.kind) or None,
        likelihood=params.get("likelihood", "auto"),
        **choice.series,
    )
    return table, {**others, "codec": codec}, n_rows


def _sequences_to_learn(
    input: InputFile, choice: Choice, params: Params
) -> tuple[Sequences, Params, int]:
    """Sequences, the detector's arguments with their codec, and how many rows there are."""
    if choice.sequence is None:
        raise DataError("--unit says what strings are cut into. Name their column: --sequence.")
    if choice.series or choice.kind or "likelihood" in params:
        raise DataError(
            "--sequence goes with neither columns nor series. Leave out --kind, --likelihood, "
            "--window and the other options of series."
        )
    unit, seed = choice.unit or "auto", int(params["random_state"])
    found, n_rows = _sequences(input, choice, choice.sequence, unit, seed)
    return found, {**params, "codec": SequenceCodec(unit)}, n_rows


def _sequences(
    input: InputFile, choice: Choice, name: str, unit: str, seed: int
) -> tuple[Sequences, int]:
    """Sequences of one column, the normal ones where there are labels."""
    table, n_seen = _rows(input, choice, seed)
    check_column(name, table.column_names, "--sequence")
    if unit == "auto" and not _holds_sequences(table[name].type):
        raise DataError(
            f"Column {name} holds {table[name].type} values, no sequences. Name one of strings or "
            "lists with --sequence; --unit characters takes these apart by their characters."
        )
    if format_of(input.path, input.format) not in TEXT_FORMATS:
        refuse_nulls(table[name])
    return sequences_in(table[name], name, unit), n_seen


def _holds_sequences(kind: pa.DataType) -> bool:
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(is_text or pa.types.is_nested(kind) or pa.types.is_null(kind))


def _points(input: InputFile, choice: Choice) -> tuple[pa.Table, int]:
    """The last rows of a file of series, those not normal without their values."""
    whole = numbered(read_table(input.path, format=input.format), choice.time)
    table = whole.slice(max(0, whole.num_rows - (choice.max_rows or MOST_ROWS)))
    unwanted = set(listed(choice.drop, table.column_names, "--drop"))
    normal = choice.normal_rows(table)
    if normal is not None:
        unwanted.add(str(choice.label))
        table = _blanked(table, normal, {choice.time, choice.entity})
    return table.drop_columns(sorted(unwanted)), whole.num_rows


def _blanked(table: pa.Table, kept: Bools, apart: set[str | None]) -> pa.Table:
    """A table with nulls where rows are not kept; time goes on."""
    for place, name in enumerate(table.column_names):
        column = table[name]
        if name not in apart and not pa.types.is_temporal(column.type):
            cells = pc.if_else(pa.array(kept), column, pa.scalar(None, column.type))
            table = table.set_column(place, name, cells)
    return table


def _rows(input: InputFile, choice: Choice, seed: int) -> tuple[pa.Table, int]:
    """Rows to learn from, at random if there are many, and how many there are."""
    labels = Labels(choice.normal)
    keep = choice.reading(labels)
    most = MOST_ROWS if choice.max_rows is None else choice.max_rows
    table, n_seen = read_sample(input.path, most, seed, format=input.format, keep=keep)
    unwanted = set(listed(choice.drop, table.column_names, "--drop"))
    if keep is not None:
        labels.check_found()
        unwanted.add(str(choice.label))
    return table.drop_columns(sorted(unwanted)), n_seen


def _images(input: InputFile, choice: Choice, codec: ImageCodec) -> Images:
    album = open_album(input.path, input.array, input.labels)
    normal = choice.normal_rows(album.about)
    found = album.whole(codec.size)
    return found if normal is None else found.take(np.flatnonzero(normal))


def parse_kinds(pairs: Sequence[str]) -> dict[str, Any]:
    """Column kinds of texts such as "age=count" and "hour=cyclic:24"."""
    kinds = {}
    for pair in pairs:
        name, equals, kind = pair.rpartition("=")
        if not equals or not name:
            raise DataError(
                f"--kind {pair} is not NAME=KIND. Write it as in --kind age=count; "
                f"kinds are {', '.join(sorted(COLUMNS))}."
            )
        kinds[name] = _parse_kind(kind)
    return kinds


def _parse_kind(text: str) -> Any:
    name, _, option = text.partition(":")
    if name == "datetime" and option:
        return Datetime(unit=option)
    if name == "cyclic" and option:
        try:
            return Cyclic(period=float(option))
        except ValueError:
            raise DataError(f"{option!r} is no period. Write it as in cyclic:24.") from None
    if text not in COLUMNS:
        near = get_close_matches(text, COLUMNS, 1)
        hint = f" (nearest: {near[0]})" if near else ""
        raise DataError(f"{text!r} is no kind{hint}. Kinds are {', '.join(sorted(COLUMNS))}.")
    return text
