"""Directions of a model: learned from two groups of rows, shown, forgotten."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from improbable.cli.console import aligned, counted, number
from improbable.cli.decoding import known_direction
from improbable.cli.inputs import InputFile, open_feed
from improbable.cli.labels import KNOWN, check_column, matching
from improbable.cli.places import encode
from improbable.data.parts import Bools
from improbable.data.texts import NULL_WORDS
from improbable.detector import VAEDetector
from improbable.errors import DataError
from improbable.latent import algebra
from improbable.latent.algebra import Direction
from improbable.latent.gaussians import Posterior

FEWEST = 2


@dataclass(frozen=True)
class Groups:
    """Two groups of rows, told apart by a column.

    Attributes
    ----------
    column : str
    with_, without : sequence of str
        Values of the column; no values without are all others but missing ones.
    """

    column: str
    with_: Sequence[str]
    without: Sequence[str] = ()

    def split(self, cells: Any) -> tuple[Bools, Bools]:
        """Which rows are with, and which without."""
        ahead = matching(cells, self.with_)
        if self.without:
            return ahead, matching(cells, self.without)
        nothing = matching(cells, NULL_WORDS) | np.asarray(cells.is_null(), dtype=bool)
        return ahead, ~(ahead | nothing)

    def check(self, ahead: Bools, behind: Bools, values: Sequence[str]) -> None:
        """Refuse groups too small to learn from."""
        for option, rows in (("--with", ahead), ("--without", behind)):
            if rows.sum() < FEWEST:
                raise DataError(
                    f"{option} picks {counted(rows.sum(), 'row')} by {self.column}, which holds "
                    f"{', '.join(values)}. Name values of {FEWEST} rows or more."
                )
        if (ahead & behind).any():
            raise DataError("--with and --without name one value. Give each group its own.")


def learn(
    detector: VAEDetector,
    input: InputFile,
    name: str,
    groups: Groups,
    seed: int,
    moved: Callable[[int], object],
) -> None:
    """Give a detector a direction from one group of rows to another."""
    if not name.strip():
        raise DataError("A direction needs a name. Write it as in --name glasses.")
    feed = open_feed(input, detector.model_.codec)
    check_column(groups.column, feed.schema.names, "--column", KNOWN)
    cells: list[Any] = []
    found = encode(
        detector.model_, feed, lambda batch: cells.append(batch.column(groups.column)), moved
    )
    column = pa.chunked_array(cells, feed.schema.field(groups.column).type)
    ahead, behind = groups.split(column)
    groups.check(ahead, behind, _shown(column))
    pair = (Posterior(found.loc[rows], found.scale[rows]) for rows in (ahead, behind))
    detector.directions_[name] = algebra.direction(*pair, random_state=seed)


def _shown(column: Any, most: int = 5) -> list[str]:
    values = column.cast(pa.string()).unique().drop_null().to_pylist()
    return [*values[:most], *(["..."] if len(values) > most else [])] or ["nothing"]


def forget(detector: VAEDetector, name: str) -> None:
    """Take a direction from a detector.

    Raises
    ------
    DataError
        If there is none of that name.
    """
    known_direction(detector, name)
    del detector.directions_[name]


def direction_record(name: str, direction: Direction) -> dict[str, Any]:
    """A direction as plain values."""
    strength = direction.strength
    return {
        "name": name,
        "strength": strength if np.isfinite(strength) else None,
        "separation": direction.separation,
        "p_value": direction.p_value,
        "with": direction.n_with,
        "without": direction.n_without,
        "vector": direction.vector.tolist(),
    }


def directions_lines(records: Sequence[dict[str, Any]]) -> list[str]:
    """Directions as a person reads them."""
    if not records:
        return ["no directions yet; learn one: improbable directions add --help"]
    names = ("strength", "separation", "p_value", "with", "without")
    rows = [(r["name"], *(number(r[name]) for name in names)) for r in records]
    head = ("name", "strength", "ROC AUC", "p-value", "with", "without")
    return aligned([head, *rows], numbers=range(1, len(head)))
