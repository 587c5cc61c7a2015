"""Why a sequence scores as it does: token by token."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from improbable.data.frames import frame_library, write_frame
from improbable.data.parts import Bools, Floats
from improbable.data.raw import RawColumn
from improbable.wording import in_words, or_as_a_whole

END_NAME = "(end)"


@dataclass(frozen=True, repr=False)
class TokenSurprise:
    """What each token contributes to `expected_log_prob`, and what was expected at its place.

    Positions count from 0 in arrays and from 1 in words; the one after the last
    token is the end of the sequence, which is judged, too.

    Attributes
    ----------
    sequences : ndarray of objects of shape (n,)
        The sequences as tuples of tokens.
    shares : ndarray of shape (n, max_length + 1)
        Nats; a sequence's shares add up to its `expected_log_prob`. The lower, the
        less normal. Zero beyond the end.
    surprise : ndarray of shape (n, max_length + 1)
        Nats by which a token is less probable than the one expected. The higher,
        the less normal.
    p_values : ndarray of shape (n, max_length + 1)
        Share of tokens of held-out sequences that are as improbable. NaN beyond the end.
    expected : ndarray of objects of shape (n, max_length + 1)
        The most probable token given those before it; "(end)" where the sequence
        should have ended.
    judged : ndarray of bool of shape (n, max_length + 1)
        False beyond the end.
    library : str
        What `to_frame` gives unless told otherwise.
    odd : ndarray of bool of shape (n,), optional
        Sequences that `detect` flags by default; `reasons` says of them that they are
        unusual as a whole where nothing by itself stands out.
    """

    sequences: NDArray[np.object_]
    shares: Floats
    surprise: Floats
    p_values: Floats
    expected: NDArray[np.object_]
    judged: Bools
    library: str = "pyarrow"
    odd: Bools | None = None

    def __len__(self) -> int:
        return len(self.shares)

    def ranking(self, row: int) -> list[int]:
        """Places of a sequence, the most surprising first."""
        places = np.flatnonzero(self.judged[row])
        return [int(i) for i in places[np.argsort(-self.surprise[row, places], kind="stable")]]

    def reasons(self, row: int, n: int = 3) -> list[str]:
        """Sentences for the `n` most surprising tokens of a sequence, those above 1 nat only."""
        ranked = self.ranking(row)[:n]
        said = [self.reason(row, place) for place in ranked if self.surprise[row, place] > 1.0]
        return or_as_a_whole(said, self.odd, row)

    def reason(self, row: int, place: int) -> str:
        """One token's part in a sequence, in words."""
        expected = self.expected[row, place]
        wanted = "the end" if expected == END_NAME else repr(expected)
        if place >= len(self.sequences[row]):
            return f"ends after {place} token{'s' * (place != 1)} (expected {wanted})"
        return f"token {place + 1} = {self.sequences[row][place]!r} (expected {wanted})"

    def token(self, row: int, place: int) -> str:
        """Token at a place as text; "(end)" after the last one."""
        tokens = self.sequences[row]
        return str(tokens[place]) if place < len(tokens) else END_NAME

    def to_frame(self, library: str | None = None) -> Any:
        """Table with a line for each token, the most surprising first in each sequence."""
        places = [self.ranking(row) for row in range(len(self))]
        rows = np.repeat(np.arange(len(self)), [len(p) for p in places])
        at = np.concatenate([np.array(p, dtype=np.int64) for p in places]) if places else rows
        pairs = list(zip(rows.tolist(), at.tolist(), strict=True))
        texts = {
            "token": [self.token(row, place) for row, place in pairs],
            "expected": [str(self.expected[row, place]) for row, place in pairs],
        }
        whole = {"row": rows, "position": at + 1}
        nats = {
            "share": self.shares[rows, at],
            "p_value": self.p_values[rows, at],
            "surprise": self.surprise[rows, at],
        }
        columns = {n: RawColumn(v.astype(float), "number", "Int64") for n, v in whole.items()}
        columns["token"] = RawColumn(_texts(texts["token"]), "text", "String")
        columns |= {n: RawColumn(v, "number", "Float64") for n, v in nats.items()}
        columns["expected"] = RawColumn(_texts(texts["expected"]), "text", "String")
        return write_frame(columns, frame_library(library or self.library))

    def __repr__(self) -> str:
        return f"<TokenSurprise of {len(self)} sequences>\n{self}"

    def __str__(self) -> str:
        return in_words(self)


def _texts(names: list[str]) -> NDArray[np.object_]:
    out = np.empty(len(names), dtype=object)
    out[:] = names
    return out
