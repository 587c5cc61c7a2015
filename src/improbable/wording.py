"""Explanations in words."""

from typing import Protocol

MOST_LINES = 10


class Told(Protocol):
    """What has reasons for each of some rows."""

    def __len__(self) -> int: ...

    def reasons(self, row: int, n: int = 3) -> list[str]:
        """Sentences about a row, the most surprising first."""
        ...


def in_words(found: Told, noun: str = "row") -> str:
    """A line for each of the first rows."""
    lines = []
    for row in range(min(len(found), MOST_LINES)):
        reasons = found.reasons(row) or ["nothing stands out"]
        lines.append(f"{noun} {row}: {'; '.join(reasons)}")
    return "\n".join(lines)
