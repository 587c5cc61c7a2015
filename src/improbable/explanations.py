"""Why a row scores as it does: column by column, in the column's own units."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from improbable.calibration import p_values
from improbable.data.columns import Binary, Categorical, Constant
from improbable.data.frames import frame_library, write_frame
from improbable.data.parts import Floats
from improbable.data.raw import RawColumn, shown_time
from improbable.data.table import TableCodec
from improbable.data.texts import number_word
from improbable.data.windows import WindowCodec
from improbable.wording import in_words, or_as_a_whole

Values = NDArray[Any]


@dataclass(frozen=True, repr=False)
class Explanation:
    """What each column contributes to `expected_log_prob`, and what was expected of it.

    Attributes
    ----------
    columns : tuple of str
        Modeled columns.
    shares : ndarray of shape (n_samples, n_columns)
        Nats; a row's shares add up to its `expected_log_prob`. The lower, the
        less normal. Zero where missing.
    p_values : ndarray of shape (n_samples, n_columns)
        Share of held-out rows whose share of that column is as low. NaN where missing.
    surprise : ndarray of shape (n_samples, n_columns)
        Nats by which a share lies below the column's typical one; what reasons
        are ranked by. Zero where missing.
    values, expected : ndarray of objects of shape (n_samples, n_columns)
        The value found, and the most likely one given the row's other columns.
    lower, upper : ndarray of shape (n_samples, n_columns)
        90 % interval given the other columns, in the column's unit (seconds
        since 1970 for dates), as wide as held-out rows ask for: it holds over all
        rows, not within each small group of them. NaN for names.
    seen : ndarray of int of shape (n_samples, n_columns)
        Training rows with the same name; -1 for numbers.
    n_seen : tuple of int
        Training rows of each column that have a name; 0 for numbers.
    library : str
        What `to_frame` gives unless told otherwise.
    time_types : tuple of str
        Types of the columns of time and duration; empty for all others.
    row_labels : pandas.Index, optional
        Index of a pandas data frame, which `to_frame` keeps.
    odd : ndarray of bool of shape (n,), optional
        Rows that `detect` flags by default; `reasons` says of them that they are
        unusual as a whole where nothing by itself stands out.
    """

    columns: tuple[str, ...]
    shares: Floats
    p_values: Floats
    surprise: Floats
    values: Values
    expected: Values
    lower: Floats
    upper: Floats
    seen: NDArray[np.int64]
    n_seen: tuple[int, ...]
    library: str = "pyarrow"
    time_types: tuple[str, ...] = ()
    row_labels: Any = None
    odd: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.shares)

    def ranking(self, row: int) -> list[int]:
        """Columns of a row, the most surprising first."""
        return [int(i) for i in np.argsort(-self.surprise[row], kind="stable")]

    def reasons(self, row: int, n: int = 3) -> list[str]:
        """Sentences for the `n` most surprising columns of a row, those above 1 nat only.

        Numbers within the interval that the other columns let expect are left
        out, unless there is nothing else to say.
        """
        ranked = [i for i in self.ranking(row)[:n] if self.surprise[row, i] > 1.0]
        odd = [i for i in ranked if not self._is_expected(row, i)]
        said = [self.reason(row, i) for i in odd or ranked[:1]]
        return or_as_a_whole(said, self.odd, row)

    def _is_expected(self, row: int, column: int) -> bool:
        value = self.values[row, column]
        number = isinstance(value, float | np.floating)
        return number and bool(self.lower[row, column] <= value <= self.upper[row, column])

    def reason(self, row: int, column: int) -> str:
        """One column's part in a row, in words."""
        name, value = self.columns[column], self.values[row, column]
        if self.n_seen[column]:
            return f"{name} = {value} ({self._names_seen(row, column)})"
        low, high = self.lower[row, column], self.upper[row, column]
        usual = (self.expected[row, column],) if np.isnan(low) else (low, high)
        dtype = self.time_types[column] if self.time_types else ""
        found, *ends = (_shown(v, dtype) for v in (value, *usual))
        if not dtype or dtype.startswith("Duration"):
            return f"{name} = {found} (expected {' to '.join(ends)})"
        near = f"near {self.expected[row, column]}"
        if ends[0] <= found <= ends[-1]:
            part = "weekday or season" if dtype == "Date" else "hour, weekday or season"
            return f"{name} = {found} (an unusual {part}, expected {near})"
        return f"{name} = {found} (expected {' to '.join(ends)}, {near})"

    def _names_seen(self, row: int, column: int) -> str:
        seen, total = int(self.seen[row, column]), self.n_seen[column]
        if seen == 0:
            return f"never seen in {total:,} rows"
        if seen == total:  # of a series: what surprises is a row beside it
            return "usual itself, unlike a row beside it"
        expected = self.expected[row, column]
        if expected == self.values[row, column]:
            return f"seen {seen:,} times in {total:,} rows"
        return f"expected {expected}, seen {seen:,} times in {total:,} rows"

    def to_frame(self, library: str | None = None) -> Any:
        """Table with a line for each row and column, the most surprising first in each row.

        Column "row" counts from 0; the index of a pandas data frame is kept beside it.
        Values are text: numbers to the last digit, moments to the second.
        """
        order = np.argsort(-self.surprise, axis=1, kind="stable")
        rows, cols = np.repeat(np.arange(len(self)), order.shape[1]), order.ravel()
        numbers = {
            "row": rows.astype(float),
            "share": self.shares[rows, cols],
            "p_value": self.p_values[rows, cols],
            "surprise": self.surprise[rows, cols],
            "lower": self.lower[rows, cols],
            "upper": self.upper[rows, cols],
        }
        texts = {
            "column": np.array(self.columns, dtype=object)[cols],
            "value": _texts(self.values[rows, cols]),
            "expected": _texts(self.expected[rows, cols]),
        }
        names = (
            "row",
            "column",
            "value",
            "share",
            "p_value",
            "surprise",
            "expected",
            "lower",
            "upper",
        )
        columns = {
            name: RawColumn(texts[name], "text", "String")
            if name in texts
            else RawColumn(numbers[name], "number", "Int64" if name == "row" else "Float64")
            for name in names
        }
        labels = None if self.row_labels is None else self.row_labels[rows]
        return write_frame(columns, frame_library(library or self.library), labels)

    def __repr__(self) -> str:
        return f"<Explanation of {len(self)} rows, {len(self.columns)} columns>\n{self}"

    def __str__(self) -> str:
        return in_words(self)


@dataclass(frozen=True)
class Reference:
    """What shares are compared with: those of held-out rows.

    Attributes
    ----------
    shares : ndarray of shape (n_rows, n_columns)
        Nats; NaN where missing.
    """

    shares: Floats

    @property
    def typical(self) -> Floats:
        """Median share of each column, nats; 0 for a column never observed."""
        return _column_wise(np.median, self.shares)

    @property
    def mean(self) -> Floats:
        """Mean share of each column, nats; 0 for a column never observed."""
        return _column_wise(np.mean, self.shares)

    def p_values(self, shares: Floats, missing: NDArray[np.bool_]) -> Floats:
        """Column by column, as rows are judged by `calibration.p_values`."""
        out = np.full(shares.shape, np.nan)
        for i in range(shares.shape[1]):
            known = self.shares[:, i][~np.isnan(self.shares[:, i])]
            if len(known):
                out[:, i] = p_values(np.round(shares[:, i], 9), np.round(known, 9))
        return np.where(missing, np.nan, out)


def _column_wise(statistic: Callable[[Floats], Any], shares: Floats) -> Floats:
    out = np.zeros(shares.shape[1])
    for i, column in enumerate(shares.T):
        known = column[~np.isnan(column)]
        out[i] = statistic(known) if len(known) else 0.0
    return out


def names_seen(
    codec: TableCodec | WindowCodec, values: Values
) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """How often training rows held the same name, cell by cell; -1 for numbers."""
    seen = np.full(values.shape, -1, dtype=np.int64)
    totals = []
    for i, column in enumerate(codec.modeled):
        kind = column.kind
        counts: dict[str, int]
        if isinstance(kind, Binary | Categorical):
            counts = dict(zip(kind.names, kind.counts, strict=True))
        elif isinstance(kind, Constant):
            counts = {} if kind.value is None else {kind.value: kind.n_seen}
        else:
            totals.append(0)
            continue
        totals.append(sum(counts.values()))
        seen[:, i] = [counts.get(v, 0) for v in values[:, i]]
    return seen, tuple(totals)


def _shown(value: Any, dtype: str) -> str:
    """A value in words: a moment or a duration where numbers are such."""
    if not dtype or not isinstance(value, float | np.floating):
        return _short(value)
    return (
        f"{_short(value)} s" if dtype.startswith("Duration") else shown_time(float(value), dtype)
    )


def _short(value: Any) -> str:
    if not isinstance(value, float | np.floating):
        return str(value)
    number = float(value)
    return f"{number:,.0f}" if 1e3 <= abs(number) < 1e15 else f"{number:.3g}"


def _texts(values: Values) -> Values:
    out = np.empty(len(values), dtype=object)
    out[:] = [v if v is None or isinstance(v, str) else number_word(float(v)) for v in values]
    return out
