"""Which kind a column is, from its values."""

import re
from collections.abc import Sequence

import numpy as np

from improbable.data.clock import TURN, is_clock
from improbable.data.columns import (
    Binary,
    Categorical,
    ColumnKind,
    Constant,
    Count,
    Cyclic,
    Identifier,
    Positive,
    Real,
)
from improbable.data.dates import is_ordered
from improbable.data.decimals import is_whole
from improbable.data.lines import TICKS
from improbable.data.moments import YEAR, Datetime, unit_of
from improbable.data.numeric import is_heavy_tailed
from improbable.data.parts import Floats
from improbable.data.raw import RawColumn, Values, as_number
from improbable.data.texts import parse_number, parse_numbers, parse_time

IDENTIFIER_SHARE = 0.9
IDENTIFIER_ROWS = 20
REPEATS = 7.0
MOST_CODES, MOST_UNREAD, FEW_WORDS = 20, 0.1, 3
PADDED = re.compile(r"\s*0\d").match
FEWEST_OF_A_CODE, FARTHEST_STEPS = 20, 4.0
PROBE = 200
MOST_YEARS = 5.0  # numbers of ten digits that begin with 1 may be anything
TIME_WORDS = frozenset("ts t time timestamp datetime date epoch unixtime stamp at when".split())
WORD, _CAMEL = re.compile(r"[a-z]+"), re.compile(r"(?<=[a-z])(?=[A-Z])")
_SIZE = r"(?:\d{1,3}(?:[,' ]\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})+,\d+|\d+(?:[.,]\d+)?)"
_UNIT = r"(?:[%€$£¥₹]|EUR|USD|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|HUF|CAD|AUD|NZD|BRL|ZAR)"
AMOUNT = re.compile(rf"{_UNIT}?\s?[-+(]?{_UNIT}?\s?{_SIZE}\)?\s?{_UNIT}?")
_MONTH = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|"
    "Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
DATE = re.compile(
    r"\d{1,2}[./-]\d{1,2}[./-](\d{2}|\d{4})([ T]\d{1,2}:\d{2}.*)?|"
    rf"(\d{{1,2}}[. -]{{1,2}})?{_MONTH}\.?[ -](\d{{1,2}},? )?\d{{2,4}}"
)


def infer_kind(column: RawColumn, *, named: bool, name: str = "", log: bool = True) -> ColumnKind:
    """Kind of a column.

    Parameters
    ----------
    column : RawColumn
        Its training values.
    named : bool
        Whether the table came with column names. An array holds features,
        never identifiers.
    name : str
        What it is called: a name such as "event_time" tells moments from row numbers.
    log : bool
        Whether a heavy tail may make a column `Positive`.

    Returns
    -------
    ColumnKind
        Not yet fitted.
    """
    if column.storage == "time":
        finite = column.values[np.isfinite(column.values)]
        return Datetime() if len(np.unique(finite)) > 1 else Constant()
    if is_ordered(column.dtype):
        return Datetime()
    if is_clock(column.dtype):
        several = len(np.unique(column.values[~np.isnan(column.values)])) > 1
        return Cyclic(period=TURN) if several else Constant()
    whole = is_whole(column.dtype)
    if column.storage == "number" or whole:
        numbers = as_number(column)
        if named and (unit := _unit_of_moments(numbers, name)):
            return Datetime(unit=unit)
        if column.storage == "number" or not _mostly_long(column.values):
            kind = _infer_number(numbers, named=named, whole_type=whole)
            return Real() if isinstance(kind, Positive) and not log else kind
    return _infer_text(column.values, named=named, name=name)


def _mostly_long(values: Values) -> bool:
    """Whether most of some whole numbers, as text, are too long for floats, as hash values are."""
    distinct = set(values) - {None}
    return 2 * sum(abs(int(word)) >= 2**53 for word in distinct) > len(distinct)


def _unit_of_moments(values: Floats, name: str) -> str:
    """Unit of numbers that count from 1970; empty where they are something else.

    All of them are moments of our time then, and they are many of a few years and
    no row numbers of ten digits, or are called a time.
    """
    finite = values[np.isfinite(values)]
    unit, distinct = unit_of(finite), np.unique(finite)
    if not unit or len(distinct) < 2:
        return ""
    called = not TIME_WORDS.isdisjoint(WORD.findall(_CAMEL.sub("_", name).lower()))
    years = float(np.ptp(distinct)) / (TICKS[unit] * YEAR)
    whole = unit == "s" and bool((distinct == np.round(distinct)).all())
    numbered = whole and _counts_rows(finite, distinct)
    others = len(distinct) <= MOST_CODES or years > MOST_YEARS or numbered
    return unit if called or not others else ""


def _infer_number(values: Floats, *, named: bool, whole_type: bool) -> ColumnKind:
    present = values[~np.isnan(values)]
    distinct = np.unique(present)
    if len(distinct) < 2:
        return Constant()
    endless = np.isinf(distinct).any()
    whole = bool((distinct == np.round(distinct)).all())
    plain = endless or np.isin(distinct, (0.0, 1.0)).all()
    if len(distinct) == 2 and whole and (len(present) >= 10 or plain):
        return Binary()
    distinct = distinct[np.isfinite(distinct)]
    finite = present[np.isfinite(present)]
    if named and whole_type and _counts_rows(finite, distinct):
        return Identifier()
    if named and whole_type and _are_codes(finite, distinct):
        return Categorical()
    if distinct[0] < 0.0:
        return Real()
    if whole:
        return Count()
    return Positive() if is_heavy_tailed(finite) else Real()


def _counts_rows(finite: Floats, distinct: Floats) -> bool:
    """Whether no whole number comes twice, where chance would repeat some: row numbers do so.

    Of n independent numbers within a range of r none repeats with a probability
    of at most exp(-n (n - 1) / 2r), so rows left out do not matter.
    """
    n = len(finite)
    if n < IDENTIFIER_ROWS or len(distinct) < n:
        return False
    return bool(n * (n - 1) > 2.0 * REPEATS * (distinct[-1] - distinct[0] + 1.0))


def _are_codes(finite: Floats, distinct: Floats) -> bool:
    """Whether whole numbers are names, as the codes of HTTP and the kinds of events are.

    They are few, of three digits or more, as many each, and far apart for no reason
    of steps; amounts of such size take many values or even ones.
    """
    few = 3 <= len(distinct) <= MOST_CODES and len(finite) >= FEWEST_OF_A_CODE * len(distinct)
    if not few or distinct[0] < 100.0 or len(str(int(distinct[0]))) != len(str(int(distinct[-1]))):
        return False
    gaps = np.diff(distinct).astype(np.int64)
    return bool(gaps.mean() >= FARTHEST_STEPS * np.gcd.reduce(gaps))


def _infer_text(values: Values, *, named: bool, name: str) -> ColumnKind:
    present = [v for v in values if v is not None]
    distinct = set(present)
    if len(distinct) < 2:
        return Constant()
    if len(distinct) == 2:
        return Binary()
    moments = {parse_time(v) for v in present[:PROBE]}
    if None not in moments and moments != {np.nan}:
        return Datetime()
    if _mostly_numbers(present):
        numbers, unreadable = parse_numbers(values)
        if not unreadable.any() and _measured(numbers):
            if named and (unit := _unit_of_moments(numbers, name)):
                return Datetime(unit=unit)
            return _infer_number(numbers, named=named, whole_type=False)
    near_unique = len(distinct) >= IDENTIFIER_SHARE * len(present)
    if named and near_unique and len(present) >= IDENTIFIER_ROWS:
        return Identifier()
    return Categorical()


def _mostly_numbers(present: Sequence[str]) -> bool:
    """Whether nearly all of some texts are numbers."""
    return sum(parse_number(v) is None for v in present[:PROBE]) <= MOST_UNREAD * PROBE


def _measured(numbers: Floats) -> bool:
    """Whether numbers that came as text are measurements: no codes, some of them fractions."""
    distinct = np.unique(numbers[np.isfinite(numbers)])
    return len(distinct) > MOST_CODES and bool((distinct != np.round(distinct)).any())


def unread_measurements(values: Values) -> list[str]:
    """Texts that keep names from being numbers, in the order of the rows; none if nothing does.

    They are one cell in ten at most, and where all numbers are whole, as codes are,
    a few words for nothing or for what could not be measured.
    """
    present = [v for v in values if v is not None]
    if not _mostly_numbers(present):
        return []
    numbers, unreadable = parse_numbers(values)
    words = [str(word) for word in dict.fromkeys(values[unreadable])]
    if unreadable.sum() > MOST_UNREAD * len(present):
        return []
    amounts = len(np.unique(numbers[~unreadable])) > MOST_CODES and not any(map(PADDED, present))
    return words if _measured(numbers) or amounts and len(words) <= FEW_WORDS else []


def foreign_words(values: Values) -> tuple[str, str]:
    """What texts look like that are written in another way, and one of them; "" if nothing.

    "numbers" with commas, units or signs of money, or "dates" in another order.
    """
    present = [v.strip() for v in values if v is not None][:PROBE]
    for what, pattern in (("numbers", AMOUNT), ("dates", DATE)):
        odd = [v for v in present if pattern.fullmatch(v) and parse_number(v) is None]
        alike = sum(bool(pattern.fullmatch(v)) for v in present)
        if odd and alike >= (1.0 - MOST_UNREAD) * len(present) and len(set(present)) > MOST_CODES:
            return what, odd[0]
    return "", ""
