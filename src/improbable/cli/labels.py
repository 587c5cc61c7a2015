"""Columns named by the user, and which rows a label column calls normal."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa

from improbable.data.frames import number_text
from improbable.data.parts import Bools
from improbable.errors import DataError, SchemaError

NORMAL_WORDS = frozenset({"0", "false", "normal", "inlier", "benign", "negative", "no"})
_SHOWN = 5


def check_column(name: str, names: Sequence[str], option: str) -> str:
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
    raise SchemaError(f"There is no column {name!r}{hint}. {option} takes a column of INPUT.")


def spell_number(cell: str) -> str | None:
    """The one spelling of a number, None for NaN; other text as it is."""
    try:
        return str(number_text(np.array([float(cell)]))[0]) if float(cell) == float(cell) else None
    except ValueError:
        return cell


def map_distinct(text: Any, convert: Callable[[str], str | None]) -> Any:
    """Text with each distinct cell converted once."""
    coded = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
    coded = coded if pa.types.is_dictionary(coded.type) else coded.dictionary_encode()
    words = [None if v is None else convert(v) for v in coded.dictionary.to_pylist()]
    return pa.array(words, pa.string()).take(coded.indices)


class Labels:
    """Normal or not, row by row, from a column of labels.

    Parameters
    ----------
    normal : str, optional
        The label of normal rows; None takes any of `NORMAL_WORDS`.
    """

    def __init__(self, normal: str | None) -> None:
        self._normal = None if normal is None else spell_number(normal)
        self._found = False
        self._seen: dict[str, None] = {}

    def read(self, column: Any) -> tuple[Bools, Bools]:
        """Which rows are normal, and which have a label at all."""
        words = map_distinct(column.cast(pa.string()), lambda cell: spell_number(cell.strip()))
        labels = np.array(words.to_pylist(), dtype=object)
        known = np.array([bool(label) for label in labels], dtype=bool)
        distinct = set(labels[known])
        self._seen.update(dict.fromkeys(sorted(distinct)))
        chosen = {label for label in distinct if self._is_normal(label)}
        self._found = self._found or bool(chosen)
        return np.array([label in chosen for label in labels], dtype=bool), known

    def check_found(self) -> None:
        """Refuse labels none of which is the normal one."""
        if self._found:
            return
        shown = ", ".join(list(self._seen)[:_SHOWN]) or "none at all"
        wanted = "looks normal" if self._normal is None else f"is {self._normal}"
        raise DataError(f"No label {wanted}; there are: {shown}. Pass one of them as --normal.")

    def _is_normal(self, label: str) -> bool:
        if self._normal is None:
            return label.casefold().rstrip(".") in NORMAL_WORDS
        return label == self._normal
