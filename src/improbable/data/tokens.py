"""Sequences of tokens as they come: lists of lists, strings, columns, tables of one column."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import narwhals as nw
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from improbable.errors import DataError

END, UNKNOWN, N_MARKS = 0, 1, 2
UNKNOWN_NAME = "(unknown)"
UNITS = ("auto", "characters", "words", "tokens")
PLAIN = (str, int, float, bool, type(None))
Token = Any


@dataclass(frozen=True)
class Form:
    """How sequences came, for the way back.

    Attributes
    ----------
    library : str
        "numpy" for lists, else the library of the column or table.
    unit : str
        "characters" or "words" of strings, or "tokens" of lists.
    column : str, optional
        Name of the column.
    table : bool
        Whether it came in a table.
    kind : str, optional
        Arrow's name for what all tokens of lists are, if they are alike.
    """

    library: str = "numpy"
    unit: str = "tokens"
    column: str | None = None
    table: bool = False
    kind: str | None = None


@dataclass(frozen=True)
class Sequences:
    """Sequences of tokens of any length.

    Attributes
    ----------
    items : ndarray of objects of shape (n,)
        Tuples of tokens.
    form : Form
    row_labels : pandas.Index, optional
        Index of a pandas column or data frame, which results keep.
    """

    items: NDArray[np.object_]
    form: Form
    row_labels: Any = None

    @property
    def n_rows(self) -> int:
        """Sequences."""
        return len(self.items)

    @property
    def library(self) -> str:
        """What tables about them come back as."""
        return self.form.library

    @property
    def groups(self) -> None:
        """Sequences do not overlap."""
        return None

    def take(self, index: NDArray[np.intp]) -> Self:
        """Sequences at the given positions."""
        labels = None if self.row_labels is None else self.row_labels[index]
        return replace(self, items=self.items[index], row_labels=labels)

    def to_native(self) -> Any:
        """Sequences as the user passed them: a list, a column, or a table of one column."""
        form = self.form
        joint = {"characters": "", "words": " "}.get(form.unit)
        cells: list[Any] = [
            list(item) if joint is None else joint.join(map(str, item)) for item in self.items
        ]
        if form.library == "numpy":
            return cells
        name = form.column or "sequence"
        token = None if form.kind is None else pa.list_(getattr(pa, form.kind)())
        arrow = pa.table({name: pa.array(cells, token if joint is None else pa.string())})
        if form.library == "pyarrow":
            return arrow if form.table else arrow[name]
        frame = nw.from_arrow(arrow, backend=cast(Any, form.library))
        found = (frame if form.table else frame[name]).to_native()
        return found if self.row_labels is None else found.set_axis(self.row_labels)


def read_sequences(data: Any, unit: str = "auto") -> Sequences:
    """Sequences of anything that holds them.

    Parameters
    ----------
    data : list, array, column or table of one column
        Of strings, or of lists of tokens.
    unit : str
        "characters" or "words" of strings; lists are of "tokens". "auto" takes
        strings by characters.

    Raises
    ------
    DataError
        If there are no sequences in it, or strings and lists are mixed.
    """
    if isinstance(data, Sequences):
        return data
    cells, form, labels = _cells(data)
    for row, cell in enumerate(cells):
        if not hasattr(cell, "__iter__"):
            raise no_sequence(cell, row)
    is_text = [isinstance(cell, str) for cell in cells]
    if any(is_text) and not all(is_text):
        raise DataError("Some sequences are strings and some are lists. Pass all in one form.")
    chosen = _unit(unit, text=bool(cells) and is_text[0])
    items = np.empty(len(cells), dtype=object)
    items[:] = [_tokens(cell, chosen) for cell in cells]
    return Sequences(items, replace(form, unit=chosen), labels)


def no_sequence(cell: Any, row: int) -> DataError:
    """What is wrong with a cell that holds no sequence."""
    return DataError(
        f"Row {row} holds {cell!r}, which is no sequence. "
        "Remove it, or pass '' or [] for a sequence without tokens."
    )


def _cells(data: Any) -> tuple[list[Any], Form, Any]:
    if isinstance(data, str | bytes | dict) or not hasattr(data, "__len__"):
        raise DataError(
            f"Sequences must be a list of lists or strings, a column, or a table of one column, "
            f"got {type(data).__name__}. Wrap a single sequence in a list."
        )
    if isinstance(data, pa.Array):
        data = pa.chunked_array([data])
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    if isinstance(data, list | tuple | np.ndarray):
        return list(data), Form(), None
    try:
        found = nw.from_native(data, allow_series=True)
    except TypeError as error:
        raise DataError(
            f"{type(data).__name__} holds no sequences. Pass a list of lists or strings."
        ) from error
    if isinstance(found, nw.LazyFrame):
        found = found.collect()
    library, labels = str(found.implementation.value), nw.maybe_get_index(found)
    if isinstance(found, nw.Series):
        return found.to_list(), Form(library, column=found.name or None), labels
    if len(found.columns) != 1:
        raise DataError(
            f"The table has {len(found.columns)} columns. Pass the one that holds the sequences, "
            "as in table[['events']]."
        )
    name = found.columns[0]
    return found[name].to_list(), Form(library, column=name, table=True), labels


def _unit(unit: str, *, text: bool) -> str:
    if unit not in UNITS:
        raise DataError(f"unit must be one of {UNITS}, got {unit!r}.")
    if not text:
        return "tokens"
    if unit == "tokens":
        raise DataError(
            "The sequences are strings, not lists of tokens. "
            "Pass lists, or unit='characters' or unit='words'."
        )
    return "characters" if unit == "auto" else unit


def _tokens(cell: Any, unit: str) -> tuple[Token, ...]:
    if isinstance(cell, str):
        return tuple(cell.split() if unit == "words" else cell)
    return tuple(map(_plain, cell))


def _plain(token: Any) -> Token:
    """A token as a plain value that JSON can hold."""
    if type(token) in PLAIN:
        return token
    if isinstance(token, np.generic):
        return token.item()
    if isinstance(token, tuple | list):
        return tuple(map(_plain, token))
    raise DataError(
        f"A token is {token!r} of type {type(token).__name__}. "
        "Tokens are text, numbers, truth values, None, or tuples of these."
    )


def kind_of(tokens: Sequence[Token]) -> str | None:
    """Arrow's name for what all tokens are; None if they differ."""
    kinds = {type(token) for token in tokens}
    names = {str: "string", bool: "bool_", int: "int64", float: "float64"}
    return names.get(kinds.pop()) if len(kinds) == 1 else None


def to_names(tokens: Iterable[Token]) -> list[Any]:
    """Tokens as JSON holds them."""
    return [list(to_names(t)) if isinstance(t, tuple) else t for t in tokens]


def from_names(names: Sequence[Any]) -> tuple[Token, ...]:
    """Tokens of what JSON held."""
    return tuple(from_names(n) if isinstance(n, list) else n for n in names)
