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

from improbable.data.columns import Binary, Categorical
from improbable.data.fitted_column import Column
from improbable.data.parts import Bools, Floats
from improbable.data.rows import DenseRows

Codes = NDArray[np.intp]
FEWEST_EXPECTED = 1.0  # rows
LEAST_LOST = 1.0  # nats
MOST_COLUMNS, MOST_NAMES, MOST_PAIRS = 100, 128, 16_384
NEVER = "{} = {!r} and {} = {!r} never came together in training"


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


def codes_of(
    columns: Sequence[Column], cells: Sequence[Floats], rows: DenseRows
) -> dict[int, Codes]:
    """Place of each cell among the names of its column, -1 of those that are rare or unknown.

    Parameters
    ----------
    columns : sequence of Column
        Modeled columns, of which those of names are told.
    cells : sequence of ndarray of shape (n_rows, width)
        Their encoded entries.
    rows : DenseRows
    """
    unknown = rows.missing | rows.unseen
    found = {}
    for i, (column, encoded) in enumerate(zip(columns, cells, strict=True)):
        kind = column.kind
        if isinstance(kind, Binary) and len(kind.names) == 2:
            known, code = 2, (encoded[:, 0] > 0.5).astype(np.intp)
        elif isinstance(kind, Categorical) and len(kind.names) > 1:
            bucket = len(kind.names) > kind.width
            known, code = min(kind.width - bucket, MOST_NAMES), encoded.argmax(axis=1)
        else:
            continue
        found[i] = np.where(unknown[:, i] | (code >= known), -1, code)
    return found


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


def lower(offsets: Floats, found: Sequence[Pairs], codes: Mapping[int, Codes]) -> None:
    """Lower the offsets of rows with pairs that never came together, that of the rarer value.

    Parameters
    ----------
    offsets : ndarray of shape (n_rows, n_columns)
        Nats, changed in place: of several pairs of a cell the one that loses most counts.
    found : sequence of Pairs
    codes : mapping of int to ndarray
        As `codes_of` has them.
    """
    for pairs in found:
        rows, which = pairs.held_by(codes)
        column = np.where(pairs.blamed[which] == 0, pairs.first, pairs.second)
        offsets[rows, column] = np.minimum(offsets[rows, column], -pairs.lost)


def pair_remarks(
    columns: Sequence[Column], found: Sequence[Pairs], codes: Mapping[int, Codes], n: int
) -> NDArray[np.object_]:
    """Remarks on rows with pairs that never came together, shape (n,); empty without."""
    out = np.full(n, "", dtype=object)
    for pairs in found:
        one, other = columns[pairs.first], columns[pairs.second]
        for row, which in zip(*(side.tolist() for side in pairs.held_by(codes)), strict=True):
            a, b = pairs.values[which].tolist()
            text = NEVER.format(one.name, _name(one, a), other.name, _name(other, b))
            out[row] = f"{out[row]}; {text}" if out[row] else text
    return out


def _name(column: Column, place: int) -> str:
    names: tuple[str, ...] = getattr(column.kind, "names", ())
    return names[place]
