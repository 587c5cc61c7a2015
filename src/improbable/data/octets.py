"""Bytes as text: that which they spell in UTF-8, or else 0x and their digits."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

Texts = NDArray[np.object_]
# All cells as UTF-8, and all as bare digits, which loses nothing. A fitted column
# of the latter is MIXED: each cell as `legible` spells it; older files keep HEX.
UTF8, HEX, MIXED = "Binary(utf8)", "Binary(hex)", "Binary(mixed)"
DIGITS = "0x"


def is_octets(dtype: str) -> bool:
    """Whether a type is one of bytes."""
    return dtype in (UTF8, HEX, MIXED)


def read_bytes(cells: Iterable[Any]) -> tuple[Texts, str]:
    """Cells of bytes or None as text, and the type that tells how: UTF-8 if all of them are."""
    held = list(cells)
    words = [None if cell is None else spelled(cell) for cell in held]
    if any(word is None and cell is not None for word, cell in zip(words, held, strict=True)):
        return _objects([None if cell is None else bytes(cell).hex() for cell in held]), HEX
    return _objects(words), UTF8


def spelled(cell: bytes) -> str | None:
    """Text that bytes are in UTF-8; None where they are none."""
    with suppress(UnicodeDecodeError):
        return bytes(cell).decode()
    return None


def legible(cell: bytes) -> str:
    """Text that bytes are in UTF-8, or else 0x and their hexadecimal digits."""
    word = spelled(cell)
    return DIGITS + bytes(cell).hex() if word is None else word


def bytes_of(word: str | None, dtype: str) -> bytes | None:
    """Bytes of a text that was read as a type says, and where it is no type of bytes, as MIXED."""
    if word is None:
        return None
    if dtype == HEX:
        return bytes.fromhex(word)
    if dtype != UTF8 and word.startswith(DIGITS):
        with suppress(ValueError):
            cell = bytes.fromhex(word.removeprefix(DIGITS))
            return cell if legible(cell) == word else word.encode()
    return word.encode()


def respelled(values: Texts, dtype: str, wanted: str) -> Texts:
    """Text in the way of training, where that or this is digits alone."""
    if dtype == wanted or HEX not in (dtype, wanted):
        return values
    cells = [bytes_of(word, dtype) for word in values]
    spell = bytes.hex if wanted == HEX else legible
    return _objects([None if cell is None else spell(cell) for cell in cells])


def _objects(items: list[str | None]) -> Texts:
    out = np.empty(len(items), dtype=object)
    out[:] = items
    return out
