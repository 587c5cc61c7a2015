"""Column kinds: one frozen class each, with `fit`, `transform`, `inverse_transform`.

A kind as the user writes it is empty (``Count()``); `fit` gives a copy that
holds what it learned. All fields are plain values, so a fitted kind is its own
JSON. `improbable.data.kinds` names them.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from improbable.data.numeric import NumericEncoding, is_heavy_tailed
from improbable.data.parts import (
    Cells,
    Floats,
    Part,
    counted,
    judged_cells,
    known_names,
    name_codes,
)
from improbable.errors import DataError

Values = NDArray[Any]
MAX_CATEGORIES = 32


@runtime_checkable
class ColumnKind(Protocol):
    """What every column kind offers.

    `storage` says what raw values it takes: "number" (float64, NaN missing),
    "text" (str or None) or "time" (float64 seconds since 1970, NaN missing).
    """

    @property
    def storage(self) -> str: ...
    def fit(self, values: Values) -> Self: ...
    def parts(self) -> tuple[Part, ...]: ...
    def transform(self, values: Values) -> Cells: ...
    def inverse_transform(self, encoded: Floats) -> Values: ...


class _Numeric:
    """What the kinds of numbers share: a likelihood and an encoding."""

    likelihood: str
    encoding: NumericEncoding | None

    def parts(self) -> tuple[Part, ...]:
        return fitted(self.encoding).parts(self.likelihood)

    def transform(self, values: Values) -> Cells:
        return fitted(self.encoding).transform(values)

    def inverse_transform(self, encoded: Floats) -> Values:
        return fitted(self.encoding).inverse_transform(encoded)


@dataclass(frozen=True)
class Real(_Numeric):
    """Numbers of either sign, standardized.

    Examples
    --------
    >>> Real().fit(np.array([1.0, 2.0, 3.0])).inverse_transform(np.zeros((1, 1)))
    array([2.])
    """

    likelihood: str = "normal"
    encoding: NumericEncoding | None = None
    storage: str = field(default="number", init=False)

    def fit(self, values: Values) -> Self:
        spike = None if "normal" in self.likelihood else False
        return replace(self, encoding=NumericEncoding.fit(values, spike=spike))


@dataclass(frozen=True)
class Positive(_Numeric):
    """Amounts with a heavy right tail: prices, durations, sizes; on a log scale.

    Zero, where training has none, and negative numbers lie near the smallest amounts
    on that scale, so their log prob is lowered by what a value never seen has.
    """

    likelihood: str = "normal"
    encoding: NumericEncoding | None = None
    n_seen: int = 0
    storage: str = field(default="number", init=False)

    def fit(self, values: Values) -> Self:
        positive = values[np.isfinite(values) & (values > 0.0)]
        unit = float(np.quantile(positive, 0.05)) if len(positive) else 1.0
        encoding = NumericEncoding.fit(values, unit=unit)
        return replace(self, encoding=encoding, n_seen=int((~np.isnan(values)).sum()))

    def transform(self, values: Values) -> Cells:
        cells = super().transform(values)
        return _new_signs_told(cells, values, fitted(self.encoding), self.n_seen)


@dataclass(frozen=True)
class Count(_Numeric):
    """Whole numbers from 0 up; if `log` allows, on a log scale when their tail is heavy.

    With ``likelihood="poisson"`` or ``"negative_binomial"`` the probability is
    that of the count itself; with "normal" that of its encoded value. A negative
    number is no count: to those two likelihoods it is a value never seen.
    """

    likelihood: str = "normal"
    encoding: NumericEncoding | None = None
    n_seen: int = 0
    log: bool = True
    storage: str = field(default="number", init=False)

    def fit(self, values: Values) -> Self:
        finite = values[np.isfinite(values)]
        if self._counts and not ((finite >= 0.0) & (finite == np.round(finite))).all():
            raise DataError(
                f"likelihood={self.likelihood!r} needs whole numbers from 0 up. "
                f"Use Count() or Real() with likelihood='normal'."
            )
        positive = finite[finite > 0.0]
        unit = float(positive.min()) if self.log and is_heavy_tailed(finite) else 0.0
        spike = None if "normal" in self.likelihood else False
        encoding = NumericEncoding.fit(values, unit=unit, spike=spike)
        return replace(self, encoding=encoding, n_seen=int((~np.isnan(values)).sum()))

    def transform(self, values: Values) -> Cells:
        cells = super().transform(values)
        if not self._counts:
            encoding = fitted(self.encoding)
            logs = encoding.unit > 0.0
            return _new_signs_told(cells, values, encoding, self.n_seen) if logs else cells
        return judged_cells(
            cells.values, cells.missing, values < 0.0, self.n_seen, cells.out_of_range
        )

    def inverse_transform(self, encoded: Floats) -> Values:
        least = np.ceil(fitted(self.encoding).least)
        return np.maximum(np.round(super().inverse_transform(encoded)), least)

    @property
    def _counts(self) -> bool:
        return "normal" not in self.likelihood and self.likelihood != "student_t"


@dataclass(frozen=True)
class Cyclic:
    """Numbers on a circle: hours (``period=24``), weekdays (7), angles (360)."""

    period: float = 24.0
    start: float = 0.0
    n_seen: int = 0
    storage: str = field(default="number", init=False)

    def fit(self, values: Values) -> Self:
        if not (np.isfinite(self.period) and self.period > 0.0 and np.isfinite(self.start)):
            raise DataError(
                f"Cyclic(period={self.period}, start={self.start}) needs a period above 0 and a "
                f"start, both finite. Pass for instance Cyclic(period=24)."
            )
        return replace(self, n_seen=int((~np.isnan(values)).sum()))

    def parts(self) -> tuple[Part, ...]:
        return (Part("von_mises", 2, 0.0, -1.0, 1.0),)

    def transform(self, values: Values) -> Cells:
        infinite = np.isinf(values)
        missing = np.isnan(values)
        known = np.where(infinite | missing, 0.0, values)
        turn = np.mod(known, self.period) - np.mod(self.start, self.period)
        angle = turn / self.period * (2 * np.pi)
        cells = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return judged_cells(cells, missing, infinite, self.n_seen)

    def inverse_transform(self, encoded: Floats) -> Values:
        turn = np.mod(np.arctan2(encoded[:, 1], encoded[:, 0]) / (2 * np.pi), 1.0)
        return np.where(turn < 1.0 - 1e-12, turn, 0.0) * self.period + self.start


@dataclass(frozen=True)
class Categorical:
    """Names without an order, one-hot; the rarest share one bucket beyond `max_categories`.

    A name never seen has the log probability ``-log(n_seen + 1)`` (the rule of
    succession) and is hidden from the encoder.
    """

    max_categories: int = MAX_CATEGORIES
    names: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    storage: str = field(default="text", init=False)

    def fit(self, values: Values) -> Self:
        if not self.max_categories >= 1:
            raise DataError(
                f"Categorical(max_categories={self.max_categories}) needs 1 or more. "
                f"Leave it out for {MAX_CATEGORIES}."
            )
        counts = counted(values)
        ranked = sorted(counts, key=lambda name: (-counts[name], name))
        return replace(self, names=tuple(ranked), counts=tuple(counts[n] for n in ranked))

    @property
    def n_seen(self) -> int:
        """Observed training rows."""
        return sum(self.counts)

    @property
    def width(self) -> int:
        """Encoded entries: a category each, the last one for all rare ones."""
        return min(len(self.names), self.max_categories)

    def parts(self) -> tuple[Part, ...]:
        return (Part("categorical", self.width, 0.0, 0.0, 1.0),)

    def transform(self, values: Values) -> Cells:
        code, missing, unseen = name_codes(values, known_names(self.names))
        slot = np.minimum(code, self.width - 1)
        one_hot = np.zeros((len(values), self.width))
        known = code >= 0
        one_hot[np.flatnonzero(known), slot[known]] = 1.0
        rare = self._rare_log_shares()
        cells = judged_cells(one_hot, missing, unseen, self.n_seen)
        cells.offset[known] += rare[code[known]]
        return cells

    def inverse_transform(self, encoded: Floats) -> Values:
        """The most probable names; the bucket stands for the most frequent of its own."""
        share = np.exp(self._rare_log_shares()[: self.width])
        found: Values = np.array(known_names(self.names), dtype=object)
        named: Values = found[(encoded * share).argmax(axis=1)]
        return named

    def scattered(self, values: Values, rng: np.random.Generator) -> Values:
        """Values drawn from a model, the bucket's name drawn anew by how frequent its own are."""
        bucket = np.array(self.names[self.width - 1 :], dtype=object)
        share = np.exp(self._rare_log_shares()[self.width - 1 :])
        drawn = rng.choice(bucket, size=len(values), p=share / share.sum())
        return np.where(values == bucket[0], drawn, values)

    def _rare_log_shares(self) -> Floats:
        counts = np.array(self.counts, dtype=float)
        shares = np.zeros(len(counts))
        bucket = counts[self.width - 1 :]
        shares[self.width - 1 :] = np.log(bucket / bucket.sum())
        return shares


@dataclass(frozen=True)
class Binary:
    """Two names, numbers or truth values; the second in order is encoded as 1."""

    names: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    storage: str = field(default="text", init=False)

    def fit(self, values: Values) -> Self:
        counts = counted(values)
        if len(counts) > 2:
            raise DataError(
                f"A Binary column has two values, this one has {len(counts)}. Use Categorical()."
            )
        names = tuple(sorted(counts))
        return replace(self, names=names, counts=tuple(counts[n] for n in names))

    @property
    def n_seen(self) -> int:
        """Observed training rows."""
        return sum(self.counts)

    def parts(self) -> tuple[Part, ...]:
        return (Part("bernoulli", 1, 0.0, 0.0, 1.0),)

    def transform(self, values: Values) -> Cells:
        code, missing, unseen = name_codes(values, known_names(self.names))
        return judged_cells(
            np.maximum(code, 0)[:, None].astype(float), missing, unseen, self.n_seen
        )

    def inverse_transform(self, encoded: Floats) -> Values:
        second = (encoded[:, 0] > 0.5) & (len(known_names(self.names)) > 1)
        named: Values = np.array(self.names, dtype=object)[second.astype(int)]
        return named


@dataclass(frozen=True)
class Constant:
    """One value in all training rows, or none at all; any other value is a surprise."""

    value: str | None = None
    n_seen: int = 0
    storage: str = field(default="text", init=False)

    def fit(self, values: Values) -> Self:
        counts = counted(values)
        if len(counts) > 1:
            raise DataError(
                f"A Constant column has one value, this one has {len(counts)}. Infer its kind."
            )
        return replace(self, value=next(iter(counts), None), n_seen=counts.total())

    def parts(self) -> tuple[Part, ...]:
        return ()

    def transform(self, values: Values) -> Cells:
        missing = np.array([v is None for v in values], dtype=bool)
        unseen = np.array([v != self.value for v in values], dtype=bool) & ~missing
        return judged_cells(np.zeros((len(values), 0)), missing, unseen, self.n_seen)

    def inverse_transform(self, encoded: Floats) -> Values:
        return np.full(len(encoded), self.value, dtype=object)


@dataclass(frozen=True)
class Identifier:
    """Names that tell rows apart and nothing else: set aside and carried through."""

    storage: str = field(default="text", init=False)

    def fit(self, values: Values) -> Self:
        return self

    def parts(self) -> tuple[Part, ...]:
        return ()

    def transform(self, values: Values) -> Cells:
        no = np.zeros(len(values), dtype=bool)
        return judged_cells(np.zeros((len(values), 0)), no, no, n_seen=0)

    def inverse_transform(self, encoded: Floats) -> Values:
        return np.full(len(encoded), None, dtype=object)


def _new_signs_told(cells: Cells, values: Values, encoding: NumericEncoding, n: int) -> Cells:
    """Cells of a log scale: zeros, where `n` rows had none, and negative numbers are new."""
    least = 0.0 if encoding.spike else encoding.least
    never = (values < least) & (values <= 0.0) & encoding.nonnegative
    return replace(cells, offset=np.where(never, -np.log(n + 1.0), 0.0))


def fitted(encoding: NumericEncoding | None) -> NumericEncoding:
    """The encoding that a kind has learned; a DataError if it has learned none."""
    if encoding is None:
        raise DataError("This column kind is not fitted. Call `fit` with training values first.")
    return encoding
