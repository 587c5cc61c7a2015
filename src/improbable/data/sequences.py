"""Sequences of tokens to encoded rows and back: the codec of sequences."""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from improbable import arguments
from improbable.data.parts import Floats, Part
from improbable.data.rows import DenseRows, Rows
from improbable.data.tokens import (
    END,
    N_MARKS,
    UNKNOWN,
    UNKNOWN_NAME,
    Form,
    Sequences,
    from_names,
    kind_of,
    read_sequences,
    to_names,
)
from improbable.errors import DataError

LONGEST = 200
FEWEST = 2
SHOWN = 3


@dataclass(frozen=True)
class SequenceCodec:
    """Codec of sequences of tokens: each is judged given z and those before it.

    An encoded row has a part for each position: the code of its token divided
    by the number of codes. Code 0 ends a sequence, so that its length is judged,
    too; code 1 stands for all tokens that are rare or were never seen. A sequence
    longer than `max_length` has its next token in the last part, where others end.

    Parameters
    ----------
    unit : {"auto", "characters", "words", "tokens"}
        What strings are cut into, words at white space; "auto" takes characters.
        Lists hold tokens: text, numbers, truth values, None, or tuples of these.
    max_length : int or "auto"
        Tokens of a sequence that are judged; of longer ones the first, and one more
        in place of the end. "auto" is the longest training sequence, at most 200.
    min_count : int
        Tokens seen less often in training share the code of unknown ones.
    max_tokens : int
        So do all but that many tokens, the most frequent ones.

    Attributes
    ----------
    tokens : tuple
        Known tokens, the most frequent first.
    n_seen, n_rare : int
        Training tokens, and how many different ones share the code of unknown ones.
    n_ended : int
        Training sequences if all of them end within `max_length`, else 0.
    form : Form
        How sequences came.
    """

    unit: str = "auto"
    max_length: int | str = "auto"
    min_count: int = 2
    max_tokens: int = 1_000
    tokens: tuple[Any, ...] = ()
    n_seen: int = 0
    n_rare: int = 0
    n_ended: int = 0
    form: Form = Form()
    network: str = "gru"

    def open(self, data: Any) -> Sequences:
        """Sequences, before anything is known of them."""
        return read_sequences(data, self.unit)

    def fit(self, data: Any, trusted: NDArray[np.intp] | None = None) -> Self:
        """Codec that knows the tokens, and how long sequences are.

        Raises
        ------
        DataError
            If there are too few sequences, or some may be anomalies.
        """
        self._check()
        if trusted is not None:
            raise DataError(
                "Sequences with anomalies among them cannot be told apart before training. "
                "Leave contamination='auto', and remove the anomalies you know."
            )
        items = self.open(data)
        longest = max((len(item) for item in items.items), default=0)
        if items.n_rows < FEWEST or longest == 0:
            raise DataError(
                f"{items.n_rows} sequences of at most {longest} tokens are too few to fit. "
                f"Pass {FEWEST} or more, with tokens in them."
            )
        length = min(longest, LONGEST) if self.max_length == "auto" else int(self.max_length)
        counts = Counter(token for item in items.items for token in item[: length + 1])
        ranked = sorted(counts, key=lambda token: (-counts[token], repr(token)))
        common = [token for token in ranked if counts[token] >= self.min_count]
        return replace(
            self,
            max_length=length,
            tokens=tuple(common[: self.max_tokens]),
            n_seen=sum(counts.values()),
            n_rare=len(ranked) - len(common[: self.max_tokens]),
            n_ended=items.n_rows if longest <= length else 0,
            form=replace(items.form, kind=kind_of(ranked)),
        )

    def _check(self) -> None:
        for name in ("max_length", "min_count", "max_tokens"):
            value: Any = getattr(self, name)
            if (name, value) != ("max_length", "auto"):
                arguments.whole(name, value)

    @property
    def library(self) -> str:
        """What tables about sequences come back as."""
        return self.form.library

    @property
    def n_codes(self) -> int:
        """Known tokens, the end, and all others."""
        return len(self.tokens) + N_MARKS

    @property
    def event_size(self) -> int:
        """Positions: the tokens of the longest sequence, and its end or what stands there."""
        return int(self.max_length) + 1

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """One part a position."""
        part = Part("token", low=0.0, high=1.0, link=(0.0, float(self.n_codes), 0.0))
        return (part,) * self.event_size

    @property
    def part_columns(self) -> NDArray[np.int64]:
        """Every position is a column of its own."""
        return np.arange(self.event_size)

    @property
    def span(self) -> None:
        """A sequence is judged by itself."""
        return None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Positions, as in "token 7", counted from 1."""
        return tuple(f"token {place + 1}" for place in range(self.event_size))

    @property
    def n_features(self) -> int:
        """One column of sequences."""
        return 1

    @property
    def feature_names(self) -> list[str] | None:
        """Its name, if it came in a table."""
        return [self.form.column] if self.form.table and self.form.column else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Positions, and codes of each."""
        return (self.event_size, self.n_codes)

    def read(self, data: Any) -> Sequences:
        """Sequences cut into tokens as at fit.

        Raises
        ------
        DataError
            If they are strings where lists were learned from, or lists where strings were.
        """
        found = read_sequences(data, self.form.unit if self.unit == "auto" else self.unit)
        if found.n_rows and found.form.unit != self.form.unit:
            ours, theirs = self.form.unit, found.form.unit
            raise DataError(
                f"The sequences are of {theirs}, not of {ours} as at fit. "
                f"Pass {'lists of tokens' if ours == 'tokens' else 'strings'}."
            )
        return found

    def transform(self, data: Any) -> DenseRows:
        """Encoded rows of sequences, shape (n, max_length + 1), float32."""
        items = self.read(data).items
        codes = np.full((len(items), self.event_size), END, dtype=np.int64)
        observed, longer = np.zeros((2, *codes.shape), dtype=bool)
        index = {token: code for code, token in enumerate(self.tokens, N_MARKS)}
        for row, item in enumerate(items):
            kept = [index.get(token, UNKNOWN) for token in item[: self.event_size]]
            codes[row, : len(kept)] = kept
            observed[row, : len(kept) + 1] = True
            longer[row, -1] = self.n_ended > 0 and len(kept) == self.event_size
        unseen = codes == UNKNOWN
        offsets = np.where(unseen, self._rare_log_prob, 0.0)
        offsets -= longer * np.log(self.n_ended + 1.0)
        if self.n_rare == 0:  # no rare token to learn from what an unknown one is like
            observed &= ~unseen
        never = np.broadcast_to(np.zeros((), dtype=bool), codes.shape)
        values = (codes / self.n_codes).astype(np.float32)
        return DenseRows(values, observed, offsets, never, unseen, longer)

    @property
    def _rare_log_prob(self) -> float:
        """Log probability of an unknown token, or of one of them where the model expects one."""
        return -float(np.log((self.n_rare or self.n_seen) + 1.0))

    def sizes(self, rows: Rows) -> NDArray[np.int64]:
        """Positions of each sequence that are judged, its end or what stands there included."""
        found: NDArray[np.int64] = (rows.observed | rows.unseen).sum(axis=1)
        return found

    def inverse_transform(self, values: Floats, carried: Sequences | None = None) -> Sequences:
        """Sequences of encoded rows, up to their ends."""
        codes = np.rint(np.asarray(values, dtype=np.float64) * self.n_codes).astype(np.int64)
        names = np.empty(self.n_codes, dtype=object)
        names[:] = [None, UNKNOWN_NAME, *self.tokens]
        items = np.empty(len(codes), dtype=object)
        for row, code in enumerate(codes):
            ends = np.flatnonzero(code == END)
            items[row] = tuple(names[code[: ends[0] if len(ends) else len(code)]])
        form = self.form if carried is None else replace(carried.form, kind=self.form.kind)
        return Sequences(items, form, None if carried is None else carried.row_labels)

    def fill(self, values: Floats, source: Any) -> Sequences:
        """Refused: sequences have no missing tokens.

        Raises
        ------
        DataError
        """
        raise DataError("Sequences have no missing tokens to fill in. Call reconstruct or sample.")

    def partial(self, given: Any, n: int) -> Sequences:
        """Refused: sequences have no columns to hold.

        Raises
        ------
        DataError
        """
        raise DataError("given names columns of a table. Call sample without it for sequences.")

    def remarks(self, rows: Rows, source: Sequences) -> NDArray[np.object_]:
        """What is unusual about each sequence, in words; empty where nothing is."""
        out = np.full(len(rows), "", dtype=object)
        known, most = set(self.tokens), int(self.max_length)
        for row, item in enumerate(source.items):
            notes = []
            odd = list(dict.fromkeys(token for token in item[: most + 1] if token not in known))
            if odd:
                shown = ", ".join(map(repr, odd[:SHOWN])) + (", ..." if len(odd) > SHOWN else "")
                notes.append(f"tokens rare or never seen: {shown}")
            if rows.out_of_range[row, -1]:
                notes.append(f"{len(item)} tokens, those of training have {most} at most")
            if len(item) > most + 1:
                notes.append(f"only the first {most + 1} of {len(item)} tokens are judged")
            out[row] = "; ".join(notes)
        return out

    def to_json(self) -> dict[str, Any]:
        """Fitted codec as plain values."""
        return {
            "data": "sequences",
            "unit": self.unit,
            "max_length": self.max_length,
            "min_count": self.min_count,
            "max_tokens": self.max_tokens,
            "tokens": to_names(self.tokens),
            "n_seen": self.n_seen,
            "n_rare": self.n_rare,
            "n_ended": self.n_ended,
            "form": asdict(self.form),
            "network": self.network,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Codec from plain values."""
        length = record["max_length"]
        return cls(
            unit=str(record["unit"]),
            max_length=length if length == "auto" else int(length),
            min_count=int(record["min_count"]),
            max_tokens=int(record["max_tokens"]),
            tokens=from_names(record["tokens"]),
            n_seen=int(record["n_seen"]),
            n_rare=int(record["n_rare"]),
            n_ended=int(record.get("n_ended", 0)),
            form=Form(**record["form"]),
            network=str(record["network"]),
        )
