"""Text to numbers, moments and truth values, and back."""

import re

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from improbable.data.clock import CLOCK, clock_text, is_clock, parse_clock
from improbable.data.dates import iso_text
from improbable.data.decimals import NUMERIC
from improbable.data.parts import Bools, Floats

Texts = NDArray[np.object_]
NULL_WORDS = tuple(",NA,N/A,n/a,#N/A,#NA,<NA>,NaN,nan,-NaN,-nan,null,NULL,None,?".split(","))
TRUE_WORDS = frozenset({"true", "t", "1", "1.0", "yes"})
TOO_FINE = r"(\.\d{6})\d{1,3}($|[^\d])"  # digits of a second beyond the sixth
SPELLED = ("Boolean", CLOCK, *NUMERIC, "Date")  # types that write values in one way
FALSE_WORDS = frozenset({"false", "f", "0", "0.0", "no"})


def number_text(values: Floats) -> Texts:
    """Numbers as text, whole ones without a decimal point; None where NaN."""
    distinct, inverse = _distinct(values)
    names = np.empty(len(distinct), dtype=object)
    names[:] = [number_word(float(value)) for value in distinct]
    return names[inverse]


def shortest(values: Floats) -> Floats:
    """Numbers of single precision as they are written: 0.1 instead of 0.10000000149."""
    distinct, inverse = _distinct(values)
    written = np.array([float(str(value)) for value in distinct.astype(np.float32)])
    return written[inverse] if len(values) else values


def time_text(values: Floats) -> Texts:
    """Seconds since 1970 as ISO 8601 text, no longer than it need be; None where NaN."""
    distinct, inverse = _distinct(values)
    names = np.empty(len(distinct), dtype=object)
    names[:] = [None if np.isnan(value) else _moment_word(value) for value in distinct]
    return names[inverse]


def _distinct(values: Floats) -> tuple[Floats, NDArray[np.int32]]:
    """Each number once, and the place of every value among them."""
    coded = pa.array(values).dictionary_encode()
    return coded.dictionary.to_numpy(), coded.indices.to_numpy()


def number_word(value: float) -> str | None:
    """A number as text, a whole one without a decimal point; None if NaN."""
    if np.isnan(value):
        return None
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _moment_word(seconds: float) -> str:
    moment = np.datetime64(round(seconds * 1e6), "us")
    shorter = (moment.astype(f"datetime64[{unit}]") for unit in ("D", "s"))
    return str(next((short for short in shorter if short == moment), moment))


def plain_words(values: Texts, dtype: str) -> Texts:
    """Text that means a value of a type, written as that type's own values are; the rest as is.

    Parameters
    ----------
    values : ndarray of object
        str or None.
    dtype : str
        Type of the training column: "Boolean" makes "yes" and "1.0" into
        "True", "Int64" makes "1.0" into "1", "Date" shortens midnights.
    """
    if not dtype.startswith(SPELLED):
        return values
    cells = values.tolist()
    words: dict[str | None, str | None] = {None: None}
    words |= {word: _plain_word(word, dtype) for word in set(cells) - {None}}
    out = np.empty(len(cells), dtype=object)
    out[:] = list(map(words.__getitem__, cells))
    return out


def _plain_word(word: str, dtype: str) -> str | None:
    if dtype == "Boolean":
        lower = word.strip().casefold()
        return "True" if lower in TRUE_WORDS else "False" if lower in FALSE_WORDS else word
    if is_clock(dtype):
        seconds = parse_clock(word)
        return word if seconds is None else str(clock_text(np.array([seconds]))[0])
    if dtype.startswith(NUMERIC):
        number = parse_number(word)
        return word if number is None or abs(number) >= 2**53 else number_word(number)
    if dtype.startswith("Date"):
        moment = parse_time(word)
        return word if moment is None else None if np.isnan(moment) else _moment_word(moment)
    return word


def parse_number(value: str | None) -> float | None:
    """Number of a text; NaN for none or a word for nothing, None where it is no number."""
    if value is None or value.strip() in NULL_WORDS:
        return np.nan
    if _is_foreign(value):
        return None
    word = value.strip().casefold()
    if word in ("true", "false"):
        return float(word == "true")
    try:
        return float(value)
    except ValueError:
        return None


def parse_numbers(values: Texts) -> tuple[Floats, Bools]:
    """Numbers of texts, NaN where there is none, and which could not be read."""
    try:
        numbers = np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)
        foreign = _is_foreign("".join(v for v in values if v is not None))
    except ValueError:
        foreign = True
    if foreign:
        return _each([parse_number(value) for value in values])
    return numbers, np.zeros(len(values), dtype=bool)


def _is_foreign(text: str) -> bool:
    """Whether Python alone would take a text for a number: 1_000, and digits of other scripts."""
    return "_" in text or not text.isascii()


def parse_clocks(values: Texts) -> tuple[Floats, Bools]:
    """Seconds since midnight of texts, also of numbers, and which could not be read."""
    return _each([_clock_or_number(value) for value in values])


def are_clocks(values: Texts) -> bool:
    """Whether all texts but words for nothing are times of day, and there is one."""
    told = (word for word in values if word is not None and word.strip() not in NULL_WORDS)
    first = next(told, None)
    if first is None or parse_clock(first) is None:
        return False
    return all(parse_clock(word) is not None for word in set(told))


def _clock_or_number(value: str | None) -> float | None:
    seconds = None if value is None else parse_clock(value)
    return parse_number(value) if seconds is None else seconds


def parse_times(values: Texts, dtype: str = "") -> tuple[Floats, Bools]:
    """Seconds since 1970 of texts, NaN where there are none, and which could not be read."""
    return _each([parse_time(value, dtype) for value in values])


def _each(found: list[float | None]) -> tuple[Floats, Bools]:
    unreadable = np.array([value is None for value in found], dtype=bool)
    read = np.array([np.nan if value is None else value for value in found], dtype=np.float64)
    return read, unreadable


def parse_time(value: str | None, dtype: str = "") -> float | None:
    """Seconds since 1970 of an ISO 8601 text, or of one that `dates.iso_text` knows of a type.

    NaN for none or a word for nothing, None where it is no date.
    """
    text = "" if value is None else value.strip()
    if text in NULL_WORDS:
        return np.nan
    text = iso_text(text, dtype)
    if len(text) < 8 or not text[:4].isdigit():
        return None
    text = re.sub(TOO_FINE, r"\1\2", text)
    try:
        stamp = pa.scalar(text).cast(pa.timestamp("us", "UTC" if _zoned(text) else None))
    except (pa.ArrowInvalid, UnicodeEncodeError):
        return None
    return float(stamp.value) / 1e6


def _zoned(text: str) -> bool:
    tail = text[10:]
    return tail.endswith("Z") or "+" in tail or "-" in tail
