"""Files of text in UTF-8, whatever they are written in."""

import codecs
import re
import tempfile
import warnings
from contextlib import ExitStack
from io import TextIOWrapper
from typing import IO, Any, BinaryIO, cast

from improbable.errors import DataWarning

BLOCK = 1 << 20
WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
BROKEN, FOREIGN = re.compile("[\udc80-\udcff]"), re.compile("[^\x00-\x7f\udc80-\udcff]")
NEVER = re.compile(rb"[\0\x81\x8d\x8f\x90\x9d]")  # no letters of Windows-1252


def as_utf8(stream: IO[bytes], name: str, stack: ExitStack) -> Any:
    """An open file on disk at its start, or a copy of it in UTF-8.

    UTF-16 says so in its first bytes. What is not UTF-8 anywhere is taken for
    Windows-1252, with a warning; what is so in part stays as it is, for its
    reader to refuse.
    """
    encoding = _encoding(stream)
    stream.seek(0)
    if not encoding:
        return stream
    if encoding == "cp1252":
        warnings.warn(
            f"{name} is not UTF-8 text and is read as Windows-1252. "
            "Save it as UTF-8 if names look wrong.",
            DataWarning,
            stacklevel=2,
        )
    copy = stack.enter_context(tempfile.NamedTemporaryFile())
    with TextIOWrapper(cast(BinaryIO, stream), encoding=encoding, newline="") as reader:
        for text in iter(lambda: reader.read(BLOCK), ""):
            copy.write(text.encode())
    copy.seek(0)
    return copy


def _encoding(stream: IO[bytes]) -> str:
    """What the text must be decoded by; empty if it is UTF-8, or no text at all."""
    if stream.read(2) in WIDE:
        return "utf-16"
    stream.seek(0)
    decoder, is_odd = codecs.getincrementaldecoder("utf-8")("surrogateescape"), False
    for block in iter(lambda: stream.read(BLOCK), b""):
        if block.isascii() and b"\0" not in block:
            continue
        text = decoder.decode(block)
        if NEVER.search(block) or FOREIGN.search(text):
            return ""
        is_odd |= bool(BROKEN.search(text))
    is_odd |= bool(decoder.decode(b"", final=True))
    return "cp1252" if is_odd else ""
