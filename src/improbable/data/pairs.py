"""Pairs of usual values that never came together in training, as a country and a currency.

A value that is usual by itself may be odd beside another. Networks learn such
dependence slowly where many columns know nothing of it; counts of pairs tell at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from improbable.data.columns import Categorical, ColumnKind
from improbable.data.fitted_column import Column
from improbable.data.frames import Frame
from improbable.data.parts import Bools, Floats
from improbable.data.rows import Rows

Codes = NDArray[np.integer[Any]]
Slots = Sequence[tuple[list[int], list[int]]]
FEWEST_EXPECTED = 1.0  # rows
LEAST_LOST = 1.0  # nats
MOST_COLUMNS, MOST_NAMES, MOST_PAIRS = 100, 128, 16_384
NEVER = "{} = {!r} and {} = {!r} never came together in training, {:,.0f} rows were to be expected"


@dataclass(frozen=True)
class Pairs:
    r"""Pairs of values of two columns that never came together though usual.

    Of values that n_a and n_b of n rows hold, E = n_a n_b / n rows would hold both if
    the columns knew nothing of each other. All pairs with E of 1 or more that no row
    held have about the probability :math:`(n_1 + 1) / n` together, with n_1 pairs held by
    one row (Good, "The population frequencies of species and the estimation of population
    parameters", 1953, with a row more). So each is less probable than its two values by

    .. math:: \log \sum E - \log (n_1 + 1)

    Attributes
    ----------
    first, second : int
        Places of the columns among those modeled.
    lost : float
        What a pair lowers the log probability of a row by, nats.
    values : ndarray of int of shape (n_pairs, 2)
        Places of the values among the names of each.
    blamed : ndarray of int of shape (n_pairs,)
        Which of the two columns holds the rarer value, 0 or 1.
    expected : ndarray of shape (n_pairs,)
        E, in rows.
    """

    first: int
    second: int
    lost: float
    values: Codes
    blamed: Codes
    expected: Floats

    @cached_property
    def place(self) -> Codes:
        """Number of each pair by values, -1 of others, as at the ends of both axes."""
        place = np.full(self.values.max(axis=0) + 2, -1)
        place[self.values[:, 0], self.values[:, 1]] = np.arange(len(self.values))
        return place

    def held_by(self, codes: Mapping[int, Codes]) -> tuple[Codes, Codes]:
        """Rows that hold one of the pairs, and which."""
        place = self.place
        inside = (
            np.where(codes[i] < size - 1, codes[i], -1)
            for i, size in zip((self.first, self.second), place.shape, strict=True)
        )
        number = place[tuple(inside)]
        rows = np.flatnonzero(number >= 0)
        return rows, number[rows]

    def kept(self, which: Bools) -> Self:
        """Some of the pairs."""
        parts = {name: getattr(self, name)[which] for name in ("values", "blamed", "expected")}
        return replace(self, **parts)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        arrays = {name: getattr(self, name).tolist() for name in ("values", "blamed", "expected")}
        return {"first": self.first, "second": self.second, "lost": self.lost, **arrays}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        values, blamed = (np.array(record[name], dtype=np.intp) for name in ("values", "blamed"))
        columns = int(record["first"]), int(record["second"])
        return cls(*columns, float(record["lost"]), values, blamed, np.array(record["expected"]))


def codes_at_fit(columns: Sequence[Column], frame: Frame, n_rows: int) -> dict[int, Codes]:
    """Places of cells among the names of their columns, one column encoded after the other."""
    found = {}
    for i in _named(columns):
        cells = columns[i].cells(frame.columns[columns[i].name], n_rows)
        found[i] = _codes(columns[i].kind, cells.values, cells.missing | cells.unseen)
    return found


def codes_in(columns: Sequence[Column], slots: Slots, rows: Rows) -> dict[int, Codes]:
    """Places of cells of encoded rows among the names of their columns.

    Those that are missing, were never seen or are rare have -1.

    Parameters
    ----------
    columns : sequence of Column
        Modeled columns; those of names are told.
    slots : sequence of (sequence of int, sequence of int)
        Encoded entries and parts of each.
    rows : Rows
    """
    unknown = rows.missing | rows.unseen
    return {
        i: _codes(columns[i].kind, rows.values[:, slots[i][0]], unknown[:, i])
        for i in _named(columns)
    }


def _named(columns: Sequence[Column]) -> list[int]:
    """Columns of two names or more."""
    names = [getattr(column.kind, "names", ()) for column in columns]
    return [i for i, known in enumerate(names) if len(known) > 1]


def _codes(kind: ColumnKind, encoded: Floats, unknown: Bools) -> Codes:
    if isinstance(kind, Categorical):
        bucket = len(kind.names) > kind.width
        known, code = min(kind.width - bucket, MOST_NAMES), encoded.argmax(axis=1)
    else:
        known, code = 2, (encoded[:, 0] > 0.5).astype(np.intp)
    return np.where(unknown | (code >= known), -1, code).astype(np.int16)


def pairs_of(codes: Mapping[int, Codes]) -> tuple[Pairs, ...]:
    """Pairs that never came together in rows of such codes, by two columns.

    Of the first hundred columns of names, and no more than 16,384, those that would
    have come most often.
    """
    found = []
    for i, j in combinations(sorted(codes)[:MOST_COLUMNS], 2):
        seen = _counts(codes[i], codes[j])
        found += [] if seen.all() else _never(i, j, seen)
    if not found:
        return ()
    expected = np.concatenate([pairs.expected for pairs in found])
    told = np.zeros(len(expected), dtype=bool)
    told[np.argsort(-expected, kind="stable")[:MOST_PAIRS]] = True
    ends = np.cumsum([len(pairs.values) for pairs in found])
    shares = zip(found, np.split(told, ends[:-1]), strict=True)
    return tuple(pairs.kept(which) for pairs, which in shares if which.any())


def _counts(first: Codes, second: Codes) -> Codes:
    """Rows that hold each pair of values."""
    width = int(second.max(initial=-1)) + 2
    found = np.bincount((first + 1) * width + second + 1, minlength=width)
    whole = np.pad(found, (0, -len(found) % width)).reshape(-1, width)
    return whole[1:, 1:]


def _never(i: int, j: int, seen: Codes) -> list[Pairs]:
    margins = seen.sum(axis=1), seen.sum(axis=0)
    expected = np.outer(*margins) / max(int(seen.sum()), 1)
    usual = expected >= FEWEST_EXPECTED
    never = usual & (seen == 0)
    once = np.count_nonzero(usual & (seen == 1))
    lost = float(np.log(max(expected[never].sum(), 1.0) / (once + 1.0)))
    if lost < LEAST_LOST:
        return []
    values = np.argwhere(never)
    rarer = margins[1][values[:, 1]] < margins[0][values[:, 0]]
    return [Pairs(i, j, lost, values, rarer.astype(np.intp), expected[never])]


def lower(
    offsets: Floats,
    found: Sequence[Pairs],
    columns: Sequence[Column],
    slots: Slots,
    rows: Rows,
) -> None:
    """Lower the offsets of rows with pairs that never came together, that of the rarer value.

    Parameters
    ----------
    offsets : ndarray of shape (n_rows, n_columns)
        Nats, changed in place: of several pairs of a cell the one that loses most counts.
    found : sequence of Pairs
    columns, slots, rows
        As in `codes_in`.
    """
    codes = codes_in(columns, slots, rows) if found else {}
    for pairs in found:
        held, which = pairs.held_by(codes)
        column = np.where(pairs.blamed[which] == 0, pairs.first, pairs.second)
        offsets[held, column] = np.minimum(offsets[held, column], -pairs.lost)


def pair_remarks(
    found: Sequence[Pairs], columns: Sequence[Column], slots: Slots, rows: Rows
) -> NDArray[np.object_]:
    """Remarks on rows with pairs that never came together, shape (n_rows,); empty without."""
    out = np.full(len(rows), "", dtype=object)
    codes = codes_in(columns, slots, rows) if found else {}
    for pairs in found:
        one, other = columns[pairs.first], columns[pairs.second]
        for row, which in zip(*(side.tolist() for side in pairs.held_by(codes)), strict=True):
            a, b = pairs.values[which].tolist()
            names = one.name, _name(one, a), other.name, _name(other, b)
            text = NEVER.format(*names, pairs.expected[which])
            out[row] = f"{out[row]}; {text}" if out[row] else text
    return out


def _name(column: Column, place: int) -> str:
    names: tuple[str, ...] = getattr(column.kind, "names", ())
    return names[place]
