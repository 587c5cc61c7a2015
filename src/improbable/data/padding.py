"""Codes with zeros in front, such as 01067: names, though they look like numbers."""

from collections.abc import Sequence
from mmap import ACCESS_READ, mmap
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from improbable.data.texts import Texts

PADDED_SHARE, FEWEST_PADDED = 0.1, 2
CODE, PADDED = r"^\d{2,}$", r"^0\d+$"
AT_ONCE = 1 << 18
QUOTE, ZERO = ord('"'), ord("0")


def are_codes(cells: Any, share: float = PADDED_SHARE) -> bool:
    """Whether texts are whole numbers of as many digits each, not a few of them with a zero first.

    Parameters
    ----------
    cells : pyarrow.Array or ChunkedArray of string
    share : float
        Least share of such ones; two different ones are needed.
    """
    cells = cells.drop_null()
    padded = cells.filter(pc.match_substring_regex(cells, PADDED))
    if not len(padded) or len(padded) < share * len(cells):
        return False
    if pc.count_distinct(padded).as_py() < FEWEST_PADDED:
        return False
    sizes = pc.min_max(pc.utf8_length(cells)).as_py()
    alike = sizes["min"] == sizes["max"]
    return alike and bool(pc.all(pc.match_substring_regex(cells, CODE)).as_py())


def may_hold_codes(stream: Any, delimiter: str) -> bool:
    """Whether some cell of an open file of delimited text begins with a zero and a digit."""
    with mmap(stream.fileno(), 0, access=ACCESS_READ) as held:
        return any(
            _starts_padded(np.frombuffer(held[i : i + AT_ONCE + 2], np.uint8), ord(delimiter))
            for i in range(0, len(held), AT_ONCE)
        )


def _starts_padded(octets: Any, delimiter: int) -> bool:
    zeros = (octets[1:-1] == ZERO) & (octets[2:] - np.uint8(ZERO) < 10)
    before = octets[:-2][zeros]
    return bool(((before <= QUOTE) | (before == delimiter)).any())


def with_zeros(words: Texts, names: Sequence[str]) -> Texts:
    """Whole numbers as the codes that a column knows, with zeros in front; others as they came."""
    if not names or not are_codes(pa.array(names, pa.string()), share=0.0):
        return words
    width = len(names[0])
    padded = np.empty(len(words), dtype=object)
    padded[:] = [
        word.zfill(width) if word and word.isascii() and word.isdigit() else word for word in words
    ]
    return padded


def numbered(table: pa.Table, name: str | None) -> pa.Table:
    """A table whose codes in one column are numbers again, as the places of points in time are."""
    place = -1 if name is None else table.schema.get_field_index(name)
    if place < 0 or not pa.types.is_string(table.schema.types[place]):
        return table
    cells = table.column(place)
    return table.set_column(place, name, cells.cast(pa.int64())) if are_codes(cells) else table
