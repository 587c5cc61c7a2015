"""The encoding that real, positive and count columns share."""

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from improbable.data.parts import Bools, Cells, Floats, Part
from improbable.errors import DataError

SCALE_FLOOR = 0.1
SPIKE_SHARE = 0.2
LARGEST = 1e8
LEAST_SPREAD = 1e-12
WINSOR = 10.0
LEAST_SHARE = 0.1
LEAST_OF_LOWEST = 0.1


@dataclass(frozen=True)
class NumericEncoding:
    """Standardization, on a log scale when asked, with zeros apart when they abound.

    A value x becomes ``(g(x) - loc) / scale`` where g is the identity or
    ``arcsinh(x / unit)``. A column with a spike at zero has two parts: whether
    the value differs from zero, and its size where it does. Every constant is
    proportional to the data, so a change of unit changes no encoded value.

    Attributes
    ----------
    loc, scale : float
        Mean and standard deviation of g over the training values.
    unit : float
        Unit of the log scale; 0 for the identity.
    spike : bool
        Whether zero is a part of its own.
    nonnegative : bool
        Whether no training value is negative, so that none is ever given back.
    least : float
        Smallest value given back then: a tenth of the smallest one seen, so that what is
        always above zero stays there, and may yet fall; 0 beside a spike.
    low, high : float
        Range of the encoded training values.
    floor : float
        Smallest standard deviation, in encoded units: `SCALE_FLOOR`, or the
        rounding error of the column where that is more.
    knee : float
        Where encoded values bend from a line to a logarithm; 0 for nowhere.
    """

    loc: float = 0.0
    scale: float = 1.0
    unit: float = 0.0
    spike: bool = False
    nonnegative: bool = False
    least: float = 0.0
    low: float = -1.0
    high: float = 1.0
    floor: float = SCALE_FLOOR
    knee: float = 0.0

    @classmethod
    def fit(cls, values: Floats, *, unit: float = 0.0, spike: bool | None = None) -> Self:
        """Encoding of a column's finite values; `spike` None decides by their share."""
        values = values[np.isfinite(values)]
        if values.size == 0:
            raise DataError(
                "A column of numbers has no finite value. Leave its kind to inference."
            )
        if spike is None:
            spike = has_spike(values)
        raw = cls(unit=unit, spike=spike)
        sizes = values[values != 0.0] if spike else values
        loc, scale = _loc_scale(raw._link(sizes))
        lowest = float(values.min())
        nonnegative = lowest >= 0.0
        least = LEAST_OF_LOWEST * lowest if nonnegative and not spike else 0.0
        raw = replace(raw, loc=loc, scale=scale, nonnegative=nonnegative, least=least)
        encoded = raw._size(sizes)
        return replace(
            raw,
            low=float(encoded.min()),
            high=float(encoded.max()),
            floor=_floor(encoded),
        )

    def focused(self, values: Floats, knee: float) -> Self:
        """The same link, centered and scaled by these values alone, bent beyond `knee` of them.

        Values nearly all alike shrink the scale to `LEAST_SHARE` of what it was
        at most. The range stays.
        """
        values = values[np.isfinite(values) & (values != 0.0 if self.spike else True)]
        if values.size == 0:
            return self
        sizes = (self._link(values) - self.loc) / self.scale
        middle, spread = float(sizes.mean()), max(float(sizes.std()), LEAST_SHARE)
        loc, scale = self.loc + middle * self.scale, spread * self.scale
        ends = (np.array([self.low, self.high]) - middle) / spread
        low, high = bend(ends, knee).tolist() if knee else ends.tolist()
        raw = replace(self, loc=loc, scale=scale, low=low, high=high, knee=knee)
        return replace(raw, floor=_floor(raw._size(values)))

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Encoding from plain values, each checked."""
        checked: dict[str, Any] = {
            k: bool(v) if k in ("spike", "nonnegative") else float(v) for k, v in record.items()
        }
        if not all(np.isfinite(v) for v in checked.values()) or not checked["scale"] > 0.0:
            raise DataError("A column's encoding is not finite. Save the model again.")
        return cls(**checked)

    def parts(self, likelihood: str = "normal") -> tuple[Part, ...]:
        """Parts of the encoded row: the size, and before it the spike if there is one."""
        link = (self.loc, self.scale, self.unit)
        low, high = max(self.low, -WINSOR), min(self.high, WINSOR)
        size = Part(likelihood, 1, self.floor, low, high, link)
        return (Part("bernoulli", 1, 0.0, 0.0, 1.0), size) if self.spike else (size,)

    def transform(self, values: Floats) -> Cells:
        """Encoded cells; NaN is missing, infinities are the largest value there is."""
        missing = np.isnan(values)
        size = self._size(values)
        differs = values != 0.0 if self.spike else np.ones_like(missing)
        outside = differs & ((size < self.low - 1e-9) | (size > self.high + 1e-9))
        has_size = differs & ~missing
        encoded, observed = [np.where(has_size, size, 0.0)], [has_size]
        if self.spike:
            encoded.insert(0, np.where(missing, 0.0, differs.astype(float)))
            observed.insert(0, ~missing)
        nothing = np.zeros_like(missing)
        return Cells(
            values=np.stack(encoded, axis=1),
            observed=np.stack(observed, axis=1),
            offset=np.zeros(len(values)),
            missing=missing,
            unseen=nothing,
            out_of_range=outside & ~missing,
        )

    def inverse_transform(self, encoded: Floats) -> Floats:
        """Values in the column's own unit."""
        with np.errstate(over="ignore"):
            size = unbend(encoded[:, -1], self.knee) if self.knee else encoded[:, -1]
            size = size * self.scale + self.loc
            values = np.sinh(np.clip(size, -700, 700)) * self.unit if self.unit else size
        values = np.clip(values, -np.finfo(float).max, np.finfo(float).max)
        if self.spike:
            values = np.where(encoded[:, 0] > 0.5, values, 0.0)
        return np.maximum(values, self.least) if self.nonnegative else values

    def _size(self, values: Floats) -> Floats:
        with np.errstate(over="ignore"):
            size = np.clip((self._link(values) - self.loc) / self.scale, -LARGEST, LARGEST)
        return bend(size, self.knee) if self.knee else size

    def _link(self, values: Floats) -> Floats:
        if not self.unit:
            return values
        with np.errstate(over="ignore"):
            ratio = values / self.unit
        beyond = np.isinf(ratio) & np.isfinite(values)
        logs = np.log(2.0) + np.log(np.abs(np.where(beyond, values, 1.0))) - np.log(self.unit)
        return np.where(beyond, np.copysign(logs, values), np.arcsinh(ratio))


def bend(values: Floats, knee: float) -> Floats:
    r"""Numbers that grow as a logarithm beyond a knee k: no cell outweighs a whole row.

    .. math:: b(x) = \mathrm{sign}(x) \, k \, (1 + \log(|x| / k)) \quad \text{where } |x| > k
    """
    beyond = knee * (1.0 + np.log(np.maximum(np.abs(values), knee) / knee))
    return np.where(np.abs(values) > knee, np.copysign(beyond, values), values)


def unbend(values: Floats, knee: float) -> Floats:
    """Inverse of `bend`."""
    beyond = knee * np.exp(np.minimum(np.abs(values) / knee, 700.0) - 1.0)
    return np.where(np.abs(values) > knee, np.copysign(beyond, values), values)


def _floor(encoded: Floats) -> float:
    return max(SCALE_FLOOR, resolution(encoded) / math.sqrt(12.0))


def _loc_scale(sizes: Floats) -> tuple[float, float]:
    """Mean and standard deviation, whatever the magnitude; the mean for both if nothing varies."""
    peak = float(np.abs(sizes).max(initial=0.0))
    if peak == 0.0:
        return 0.0, 1.0
    power = np.ldexp(1.0, np.frexp(peak)[1] - 1)
    ratios = sizes / power
    mean, deviation = float(ratios.mean()), float(ratios.std())
    loc, scale = mean * float(power), deviation * float(power)
    if deviation <= LEAST_SPREAD * abs(mean) or scale == 0.0:
        return loc, abs(loc) or peak
    return loc, scale


def has_spike(values: Floats) -> bool:
    """Whether zero is so frequent in a column without negative values that it is a case apart."""
    if values.size == 0 or values.min() < 0.0:
        return False
    zero: Bools = values == 0.0
    return bool(zero.mean() >= SPIKE_SHARE and len(np.unique(values[~zero])) > 1)


def resolution(values: Floats) -> float:
    """Typical gap between neighboring distinct values; 0 when most values differ."""
    distinct = np.unique(values)
    if len(distinct) < 2 or len(distinct) > 0.5 * len(values):
        return 0.0
    return float(min(np.median(np.diff(distinct)), 1.0))


def is_heavy_tailed(values: Floats) -> bool:
    """Whether the positive values span so much that a log scale describes them better."""
    positive = values[values > 0.0]
    if len(positive) < 10:
        return False
    _, middle, high = np.quantile(positive, [0.05, 0.5, 0.999])
    spread, log_spread = _skewness(positive), _skewness(np.log(positive))
    return bool(high / 100.0 > middle and abs(log_spread) + 1e-6 < spread)


def _skewness(values: Floats) -> float:
    loc, scale = _loc_scale(values)
    return float(np.mean(((values - loc) / scale) ** 3))
