"""Columns named by the user, and which rows a label column calls normal."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa

from improbable.data.parts import Bools
from improbable.data.texts import NULL_WORDS, Texts, plain_words
from improbable.errors import DataError, SchemaError

NORMAL_WORDS = frozenset(
    {"0", "f", "false", "n", "no", "normal", "inlier", "benign", "negative", "ok", "good"}
    | {"regular", "healthy", "clean", "legit", "legitimate", "genuine"}
)
_SHOWN = 5
KNOWN = "INPUT, or of --labels for images"


def check_column(name: str, names: Sequence[str], option: str, of: str = "INPUT") -> str:
    """The name of a column that `option` asks for.

    Raises
    ------
    SchemaError
        If there is no such column; names the nearest one.
    """
    if name in names:
        return name
    near = get_close_matches(name, names, 1)
    hint = f" (nearest: {near[0]})" if near else ""
    raise SchemaError(f"There is no column {name!r}{hint}. {option} takes a column of {of}.")


def listed(
    items: Sequence[str], names: Sequence[str], option: str, of: str = "INPUT"
) -> list[str]:
    """Columns of options such as --drop A,B, none of them twice."""
    found = [
        check_column(name, names, option, of)
        for item in items
        for name in ([item] if item in names else filter(None, item.split(",")))
    ]
    return list(dict.fromkeys(found))


def check_new_columns(added: Sequence[str], names: Sequence[str]) -> None:
    """Refuse a table that has columns of the names to be added.

    Raises
    ------
    DataError
        If it has.
    """
    taken = [name for name in added if name in names]
    if taken:
        raise DataError(
            f"The input already has columns named {', '.join(taken)}. "
            "Add a prefix to the new ones, as in --prefix improbable_."
        )


class Labels:
    """Normal or not, row by row, from a column of labels.

    Parameters
    ----------
    normal : str, optional
        The label of normal rows; None takes any of `NORMAL_WORDS`.
    """

    def __init__(self, normal: str | None) -> None:
        self._normal = None if normal is None else _spelled([normal])[0]
        self._found = False
        self._seen: dict[str, None] = {}

    def read(self, column: Any) -> tuple[Bools, Bools]:
        """Which rows are normal, and which have a label at all."""
        labels = self._given(_spelled(column.cast(pa.string()).to_pylist()))
        known = np.array([label is not None for label in labels], dtype=bool)
        distinct = set(labels[known])
        self._seen.update(dict.fromkeys(sorted(distinct)))
        chosen = {label for label in distinct if self._is_normal(label)}
        self._found = self._found or bool(chosen)
        return np.array([label in chosen for label in labels], dtype=bool), known

    def _given(self, labels: Texts) -> Texts:
        """Labels, None for the words that stand for nothing in a file of text."""
        nothing = set(NULL_WORDS) - {self._normal}
        labels[:] = [None if label in nothing else label for label in labels]
        return labels

    def check_found(self) -> None:
        """Refuse labels none of which is the normal one."""
        if self._found:
            return
        if not self._seen:
            raise DataError("No row has a label. Fill in the column, or name another one.")
        shown = ", ".join(list(self._seen)[:_SHOWN])
        wanted = "looks normal" if self._normal is None else f"is {self._normal}"
        raise DataError(f"No label {wanted}; there are: {shown}. Pass one of them as --normal.")

    def _is_normal(self, label: str) -> bool:
        if self._normal is None:
            return label.casefold().rstrip(".") in NORMAL_WORDS
        return bool(label == self._normal)


def matching(column: Any, wanted: Sequence[str]) -> Bools:
    """Which cells of a column hold one of some values, 0 and 0.0 alike."""
    cells = _spelled(column.cast(pa.string()).to_pylist())
    chosen = set(_spelled(wanted))
    return np.array([cell in chosen for cell in cells], dtype=bool)


def _spelled(labels: Sequence[str | None]) -> Texts:
    """Labels with 0, 0.0 and 00 written alike; None where there is nothing."""
    cells = np.empty(len(labels), dtype=object)
    cells[:] = [None if label is None else label.strip() for label in labels]
    return plain_words(cells, "Float64")
