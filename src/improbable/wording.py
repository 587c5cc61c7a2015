"""Explanations in words."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MOST_LINES = 10
AS_A_WHOLE = "unusual as a whole, nothing by itself stands out"


class Told(Protocol):
    """What has reasons for each of some rows."""

    def __len__(self) -> int: ...

    def reasons(self, row: int, n: int = 3) -> list[str]:
        """Sentences about a row, the most surprising first."""
        ...


def or_as_a_whole(reasons: list[str], odd: NDArray[np.bool_] | None, row: int) -> list[str]:
    """Reasons, or where an odd row has none, a sentence that says so."""
    return reasons or ([AS_A_WHOLE] if odd is not None and odd[row] else [])


def in_words(found: Told, noun: str = "row") -> str:
    """A line for each of the first rows."""
    lines = []
    for row in range(min(len(found), MOST_LINES)):
        reasons = found.reasons(row) or ["nothing stands out"]
        lines.append(f"{noun} {row}: {'; '.join(reasons)}")
    return "\n".join(lines)
