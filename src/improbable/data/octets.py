"""Bytes as text: that which they spell in UTF-8, or their digits."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

Texts = NDArray[np.object_]
UTF8, HEX = "Binary(utf8)", "Binary(hex)"


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
    """Text that bytes are in UTF-8, or else their hexadecimal digits."""
    word = spelled(cell)
    return bytes(cell).hex() if word is None else word


def bytes_of(word: str | None, dtype: str) -> bytes | None:
    """Bytes of a text that was read as a type says."""
    if word is None:
        return None
    if dtype == HEX:
        with suppress(ValueError):
            return bytes.fromhex(word)
    return word.encode()


def respelled(values: Texts, dtype: str, wanted: str) -> Texts:
    """Bytes as text in the way of training, though other bytes beside them need another."""
    if dtype == wanted or not {dtype, wanted} <= {UTF8, HEX}:
        return values
    cells = [bytes_of(word, dtype) for word in values]
    spell = legible if wanted == UTF8 else bytes.hex
    return _objects([None if cell is None else spell(cell) for cell in cells])


def _objects(items: list[str | None]) -> Texts:
    out = np.empty(len(items), dtype=object)
    out[:] = items
    return out
