"""Values of options: numbers, pairs, ranges and sizes, as text."""

import math
import re
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from improbable.cli.console import counted
from improbable.errors import DataError

_RANGE = re.compile(r"(?P<low>.*?)\.\.(?P<high>.*)", re.DOTALL)


def numbers(text: str, option: str) -> list[float]:
    """Numbers of a text such as "0.5,-1"."""
    try:
        found = [float(item) for item in text.split(",")]
    except ValueError:
        found = [math.nan]
    if all(map(math.isfinite, found)):
        return found
    raise DataError(f"{option} {text} is no list of numbers. Write it as in {option} 0.5,-1.")


def points(texts: Sequence[str], size: int) -> list[list[float]]:
    """Points in a latent space of some size, a text each."""
    found = [numbers(text, "--z") for text in texts]
    for text, point in zip(texts, found, strict=True):
        if len(point) != size:
            example = ",".join(["0"] * size)
            raise DataError(
                f"--z {text} has {counted(len(point), 'number')}, the latent space "
                f"{counted(size, 'dimension')}. Write it as in --z {example}."
            )
    return found


def size(text: str) -> tuple[int, int]:
    """Height and width of a text such as "28x28"."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if found is None:
        raise DataError(f"--size {text} is not HEIGHTxWIDTH. Write it as in --size 28x28.")
    return int(found[1]), int(found[2])


def window(text: str) -> int | str:
    """Points of a window: a number, or "auto"."""
    if text == "auto":
        return text
    if re.fullmatch(r"[1-9]\d*", text) is None:
        raise DataError(f"--window {text} is no number of points. Write it as in --window 60.")
    return int(text)


def counts(text: str | None) -> int | range | None:
    """A number, or the numbers of a range such as "2..8"."""
    found = None if text is None else re.fullmatch(r"(\d+)(?:\.\.(\d+))?", text)
    if text is not None and found is None:
        raise DataError(f"--clusters {text} is no number and no range. Write 5, or 2..8.")
    if found is None:
        return None
    ends = [int(end) for end in found.groups() if end is not None]
    if ends[0] > ends[-1]:
        raise DataError(f"--clusters {text} goes down. Write the smaller number first.")
    return ends[0] if len(ends) == 1 else range(ends[0], ends[1] + 1)


def pair(text: str, names: Collection[str], option: str) -> tuple[str, str]:
    """Column and value of a text such as "sex=F"; a column's name may hold "=" itself."""
    splits = [(text[:i], text[i + 1 :]) for i, sign in enumerate(text) if sign == "=" and i]
    if not splits:
        raise DataError(f"{option} {text} is not COLUMN=VALUE. Write it as in {option} sex=F.")
    return next((split for split in splits if split[0] in names), splits[0])


def given(texts: Iterable[str], names: Collection[str]) -> dict[str, str]:
    """Values that columns are held at."""
    found: dict[str, str] = {}
    for text in texts:
        name, value = pair(text, names, "--given")
        if name in found:
            raise DataError(f"--given names {name!r} twice. Give each column one value.")
        found[name] = value
    return found


def where(texts: Iterable[str], kinds: dict[str, bool]) -> dict[str, Any]:
    """Filter of an index: for each column its values, or a range such as "20..40".

    Parameters
    ----------
    texts : iterable of str
        A column that is named more than once may have any of its values.
    kinds : mapping of str to bool
        Columns, and whether they have an order, so that a range can be asked for.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, value = pair(text, kinds, "--where")
        limits = _RANGE.fullmatch(value) if kinds.get(name) else None
        if name in found and (limits or isinstance(found[name], tuple)):
            raise DataError(f"--where names {name!r} twice. Give it one range, or values alone.")
        if limits:
            found[name] = (limits["low"] or None, limits["high"] or None)
        else:
            found.setdefault(name, []).append(value)
    return found


def choice(text: str, known: Collection[str], option: str) -> str:
    """One of the words that an option takes."""
    if text in known:
        return text
    near = get_close_matches(text, known, 1)
    hint = f" (nearest: {near[0]})" if near else ""
    raise DataError(f"{option} {text} is unknown{hint}. Use one of {', '.join(known)}.")
