"""Moments as people and servers write them, in the order of ISO 8601."""

import re
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

Texts = NDArray[np.object_]

DATE = "2025-03-01 14:30"  # one that can be read, for messages
ORDERED = "TextDate"
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_CLOCK = (
    r"(?P<hour>\d{1,2})(?=:| ?[ap]\.?m)(?P<rest>:\d\d(?::\d\d(?:\.\d{1,9})?)?)?"
    r"(?: ?(?P<half>[ap])\.?m\.?)?(?: ?(?P<zone>Z|GMT|UTC|[+-]\d\d:?\d\d))?"
)
_AFTER = rf"(?:(?:[ T]|, |,| at ){_CLOCK})?"
_WEEKDAY = r"(?:(?:Mon|Tue|Tues|Wed|Wednes|Thu|Thur|Thurs|Fri|Sat|Satur|Sun)(?:day)?,? )?"
_NAME = (
    r"(?P<name>Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sept?|Oct|Nov|Dec|January|February|March|"
    r"April|August|September|October|November|December)\.?"
)
_DAY, _MONTH, _YEAR = r"(?P<day>\d{1,2})", r"(?P<month>\d{1,2})", r"(?P<year>\d{4})"
ORDERS = [  # those that nobody reads in two ways
    re.compile(pattern, re.ASCII | re.IGNORECASE)
    for pattern in (
        rf"{_DAY}\.{_MONTH}\.{_YEAR}{_AFTER}",
        rf"{_YEAR}([-/]){_MONTH}\2{_DAY}{_AFTER}",
        rf"{_WEEKDAY}{_DAY}(?:\. ?| |-){_NAME}(?: |-){_YEAR}{_AFTER}",
        rf"{_WEEKDAY}{_NAME} {_DAY},? {_YEAR}{_AFTER}",
        rf"{_WEEKDAY}{_NAME} {{1,2}}{_DAY} {_CLOCK} {_YEAR}",
        rf"{_DAY}/{_NAME}/{_YEAR}:{_CLOCK}",
    )
]
EITHER = re.compile(
    rf"(?P<first>\d{{1,2}})([-/])(?P<second>\d{{1,2}})\2{_YEAR}{_AFTER}", re.ASCII | re.IGNORECASE
)
ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d:\d\d)(?::00$)?(.*))?")


def ordered_type(words: Collection[str]) -> str:
    """Name of the type of dates such as 3/14/2025; empty where they are something else.

    Of all of them the same number, by one that is no month, is that of the day.
    """
    found = []
    for word in words:  # of other texts the first is enough
        match = EITHER.fullmatch(word.strip())
        if match is None:
            return ""
        found.append(match)
    if len(found) < 2:
        return ""
    largest = {name: max(int(one[name]) for one in found) for name in ("first", "second")}
    days = [name for name, number in largest.items() if number > 12]
    if len(days) != 1:
        return ""
    sign = "-" if {one[2] for one in found} == {"-"} else "/"
    return f"{ORDERED}({'d{}m' if days == ['first'] else 'm{}d'})".format(sign)


def is_ordered(dtype: str) -> bool:
    """Whether a type is one of dates that came as text in an order that others tell."""
    return dtype.startswith(ORDERED)


def in_order(words: Texts, dtype: str) -> Texts:
    """Moments of ISO 8601 as a type has them, without seconds where those are 0; None is None."""
    if not is_ordered(dtype):
        return words
    out = np.empty(len(words), dtype=object)
    out[:] = [None if word is None else _in_order(word, dtype) for word in words]
    return out


def _in_order(word: str, dtype: str) -> str:
    found = ISO.fullmatch(word)
    if found is None:
        return word
    year, month, day = (str(int(number)) for number in found.group(1, 2, 3))
    sign = "-" if "-" in dtype else "/"
    date = sign.join((day, month) if _day_first(dtype) else (month, day)) + f"{sign}{year:0>4}"
    return f"{date} {found[4]}{found[5]}" if found[4] else date


def _day_first(dtype: str) -> bool:
    return dtype.startswith(f"{ORDERED}(d")


def iso_text(text: str, dtype: str = "") -> str:
    """A moment in the order of ISO 8601; other texts as they are.

    Parameters
    ----------
    text : str
        Such as 31.12.2024 23:59, 2024/12/31, 31-Dec-2024, Dec 31, 2024 11:59 PM,
        31/Dec/2024:23:59:00 +0000, or, of a type that `ordered_type` told, 12/31/2024.
    dtype : str
        Type of the column.
    """
    found = next(filter(None, (order.fullmatch(text) for order in ORDERS)), None)
    if found is None and is_ordered(dtype):
        found = EITHER.fullmatch(text)
    if found is None:
        return text
    part = {name: value or "" for name, value in found.groupdict().items()}
    if "first" in part:
        day, month = ("first", "second") if _day_first(dtype) else ("second", "first")
        part |= {"day": part[day], "month": part[month]}
    if "name" in part:
        part["month"] = str(1 + MONTHS.index(part["name"][:3].lower()))
    hour = _hour(part["hour"], part["half"].lower())
    rest, zone = part["rest"] or ":00", part["zone"].upper()
    zone = "Z" if zone in ("GMT", "UTC") else zone
    return f"{part['year']}-{part['month']:0>2}-{part['day']:0>2} {hour:0>2}{rest}{zone}"


def _hour(hour: str, half: str) -> str:
    """Hour of the day, of one of its halves if that is told; not one where that cannot be."""
    if not half:
        return hour or "0"
    if not 1 <= int(hour) <= 12:
        return "99"
    return str(int(hour) % 12 + 12 * (half == "p"))
