"""The encoding that real, positive and count columns share."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from improbable.data.parts import Bools, Cells, Floats, Part

SCALE_FLOOR = 0.1
SPIKE_SHARE = 0.2
LARGEST = 1e8
WINSOR = 10.0


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
    low, high : float
        Range of the encoded training values.
    floor : float
        Smallest standard deviation, in encoded units: `SCALE_FLOOR`, or the
        rounding error of the column where that is more.
    """

    loc: float = 0.0
    scale: float = 1.0
    unit: float = 0.0
    spike: bool = False
    nonnegative: bool = False
    low: float = -1.0
    high: float = 1.0
    floor: float = SCALE_FLOOR

    @classmethod
    def fit(cls, values: Floats, *, unit: float = 0.0, spike: bool | None = None) -> Self:
        """Encoding of a column's finite values; `spike` None decides by their share."""
        values = values[np.isfinite(values)]
        if spike is None:
            spike = has_spike(values)
        raw = cls(unit=unit, spike=spike)
        sizes = raw._link(values[values != 0.0] if spike else values)
        loc, scale = _loc_scale(sizes)
        encoded = (sizes - loc) / scale
        return replace(
            raw,
            nonnegative=bool(values.min() >= 0.0),
            loc=loc,
            scale=scale,
            low=float(max(encoded.min(), -WINSOR)),
            high=float(min(encoded.max(), WINSOR)),
            floor=max(SCALE_FLOOR, resolution(encoded) / np.sqrt(12.0)),
        )

    def parts(self, likelihood: str = "normal") -> tuple[Part, ...]:
        """Parts of the encoded row: the size, and before it the spike if there is one."""
        link = (self.loc, self.scale, self.unit)
        size = Part(likelihood, 1, self.floor, self.low, self.high, link)
        return (Part("bernoulli", 1, 0.0, 0.0, 1.0), size) if self.spike else (size,)

    def transform(self, values: Floats) -> Cells:
        """Encoded cells; NaN is missing, infinities are the largest value there is."""
        missing = np.isnan(values)
        size = np.clip((self._link(values) - self.loc) / self.scale, -LARGEST, LARGEST)
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
        size = encoded[:, -1] * self.scale + self.loc
        values = np.sinh(np.clip(size, -700, 700)) * self.unit if self.unit else size
        if self.spike:
            values = np.where(encoded[:, 0] > 0.5, values, 0.0)
        return np.maximum(values, 0.0) if self.nonnegative else values

    def _link(self, values: Floats) -> Floats:
        return np.arcsinh(values / self.unit) if self.unit else values


def _loc_scale(sizes: Floats) -> tuple[float, float]:
    loc = float(sizes.mean())
    scale = float(sizes.std())
    if scale <= 1e-9 * max(abs(loc), np.finfo(float).tiny):
        return loc, max(abs(loc), 1e-300) if loc else 1.0
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
    low, middle, high = np.quantile(positive, [0.05, 0.5, 0.999])
    spread, log_spread = _skewness(positive), _skewness(np.log(positive))
    return bool(high > 100.0 * middle and low > 0.0 and abs(log_spread) < spread)


def _skewness(values: Floats) -> float:
    centered = values - values.mean()
    deviation = float(np.sqrt(np.mean(centered**2)))
    return float(np.mean(centered**3)) / deviation**3 if deviation else 0.0
