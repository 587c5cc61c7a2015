"""What `fit` learns from: rows of a table or images, the normal ones if there are labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa

from improbable.cli import parsing
from improbable.cli.album import open_album
from improbable.cli.inputs import InputFile
from improbable.cli.labels import KNOWN, Labels, check_column, listed
from improbable.data.columns import Cyclic
from improbable.data.files import read_table
from improbable.data.images import ImageCodec
from improbable.data.kinds import COLUMNS
from improbable.data.parts import Bools
from improbable.data.pictures import Images
from improbable.errors import DataError

Params = dict[str, Any]


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
    """

    label: str | None = None
    normal: str | None = None
    drop: Sequence[str] = ()
    kind: Sequence[str] = ()
    size: str | None = None
    contrast: str | None = None

    def normal_rows(self, table: pa.Table) -> Bools | None:
        """Which rows a column of labels calls normal; None without such a column."""
        if self.label is not None:
            labels = Labels(self.normal)
            name = check_column(self.label, table.column_names, "--label", KNOWN)
            is_normal, _ = labels.read(table[name])
            labels.check_found()
            return is_normal
        if self.normal is not None:
            raise DataError("--normal says which label is normal. Name the column with --label.")
        return None


def read_training(input: InputFile, choice: Choice, params: Params) -> tuple[Any, Params]:
    """What to fit on, and the arguments of the detector that suit it."""
    if not input.is_images:
        input.check_table(choice.size, choice.contrast)
        params = {**params, "columns": parse_kinds(choice.kind) or None}
        return _rows(input, choice), params
    input.check_images(choice.kind, choice.drop)
    sides = None if choice.size is None else parsing.size(choice.size)
    codec = ImageCodec(params.get("likelihood", "auto"), sides, choice.contrast or "kept")
    others = {name: value for name, value in params.items() if name != "likelihood"}
    return _images(input, choice, codec), {**others, "codec": codec}


def _rows(input: InputFile, choice: Choice) -> pa.Table:
    table = read_table(input.path, format=input.format)
    unwanted = set(listed(choice.drop, table.column_names, "--drop"))
    if (normal := choice.normal_rows(table)) is not None:
        table = table.filter(pa.array(normal))
        unwanted.add(str(choice.label))
    return table.drop_columns(sorted(unwanted))


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
    name, _, period = text.partition(":")
    if name == "cyclic" and period:
        try:
            return Cyclic(period=float(period))
        except ValueError:
            raise DataError(f"{period!r} is no period. Write it as in cyclic:24.") from None
    if text not in COLUMNS:
        near = get_close_matches(text, COLUMNS, 1)
        hint = f" (nearest: {near[0]})" if near else ""
        raise DataError(f"{text!r} is no kind{hint}. Kinds are {', '.join(sorted(COLUMNS))}.")
    return text
