"""Columns of moments: a trend, and the time of day, week and year."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from improbable.data.columns import Cyclic, Values, fitted
from improbable.data.lines import TICKS
from improbable.data.numeric import NumericEncoding
from improbable.data.parts import Bools, Cells, Floats, Part
from improbable.errors import DataError

DAY = 86_400.0
YEAR = 365.2425 * DAY
PERIODS = {"day": DAY, "week": 7 * DAY, "year": YEAR}
WHOLE_TURNS = {"day": DAY, "week": 7 * DAY, "year": 364 * DAY}
STEPS = (7 * DAY, DAY, 3_600.0, 60.0, 1.0)
FEW_TURNS = 0.2
ROUNDING = 1e-3
UNITS = ("", *TICKS)
EARLIEST, LATEST = 1e9, 2e9  # seconds: from September 2001 to May 2033


@dataclass(frozen=True)
class Datetime:
    """Moments: a trend, and the time of day, week and year where training spans them.

    The future is not an anomaly: up to `horizon` seconds outside the training
    range the trend is that of a moment in the middle of it, at the same time
    of day, of the week and about that of the year. Farther out it goes on, so that
    a wrong century is one.

    Moments are given back at the time of day, week and year that is expected
    nearest to the expected trend, and whole `step`s away from `origin`, as the
    training values are.

    Attributes
    ----------
    unit : str
        Of numbers that count since 1970: "s", "ms", "us" or "ns". Empty for stamps.
    """

    unit: str = ""
    trend: NumericEncoding | None = None
    cycles: tuple[str, ...] = ()
    horizon: float = 0.0
    step: float = 0.0
    origin: float = 0.0

    @property
    def storage(self) -> str:
        """How raw values come: numbers if they count units, else stamps."""
        return "number" if self.unit else "time"

    def seconds(self, values: Values) -> Values:
        """Seconds since 1970 of values."""
        return values / TICKS[self.unit] if self.unit else values

    def fit(self, values: Values) -> Self:
        if self.unit not in UNITS:
            raise DataError(f"{self.unit!r} is no unit of time. Use one of {', '.join(TICKS)}.")
        values = self.seconds(values)
        finite = values[np.isfinite(values)]
        span = float(np.ptp(finite)) if len(finite) else 0.0
        within_day = len(np.unique(np.mod(finite, DAY))) > 1
        cycles = [name for name, period in PERIODS.items() if span >= period]
        cycles = [name for name in cycles if name != "day" or within_day]
        trend = NumericEncoding.fit(values, spike=False)
        origin = float(finite.min(initial=np.inf)) if len(finite) else 0.0
        step = next((s for s in STEPS if not np.mod(finite - origin, s).any()), 0.0)
        learned = replace(self, trend=trend, cycles=tuple(cycles), horizon=YEAR)
        return replace(learned, step=step, origin=origin)

    def parts(self) -> tuple[Part, ...]:
        return (*fitted(self.trend).parts(), *(p for c in self._circles() for p in c.parts()))

    def transform(self, values: Values) -> Cells:
        values = self.seconds(values)
        cells = fitted(self.trend).transform(self._within(values))
        circles = [circle.transform(values) for circle in self._circles()]
        return replace(
            cells,
            values=np.hstack([cells.values, *(c.values for c in circles)]),
            observed=np.hstack([cells.observed, *(c.observed for c in circles)]),
            out_of_range=self._outside(values, self.horizon),
        )

    def inverse_transform(self, encoded: Floats) -> Values:
        found = self._moments(encoded)
        return found * TICKS[self.unit] if self.unit else found

    def _moments(self, encoded: Floats) -> Values:
        found = fitted(self.trend).inverse_transform(encoded[:, :1])
        if not self.horizon:
            return found
        for i, circle in reversed(list(enumerate(self._circles()))):
            x, y = encoded[:, 1 + 2 * i], encoded[:, 2 + 2 * i]
            period = circle.period
            ahead = np.mod(np.arctan2(y, x) / (2.0 * np.pi) * period - found, period)
            nearest = found + ahead - np.where(ahead > period / 2.0, period, 0.0)
            found = np.where(np.hypot(x, y) > FEW_TURNS, nearest, found)
        if self.step:
            found = self.origin + np.round((found - self.origin) / self.step) * self.step
        return found

    def _within(self, values: Values) -> Values:
        """Moments as the trend has them: those less than a horizon outside moved inside.

        By whole turns of the longest cycle, to the middle of the range, so that all
        cycles are where that trend has them; to the nearer end without a cycle.
        """
        if not self.horizon:
            return values
        first, last = self._ends()
        near = np.clip(values, first - self.horizon, last + self.horizon)
        inside = near
        if self.cycles:
            turn = WHOLE_TURNS[self.cycles[-1]]
            moved = near + np.round(((first + last) / 2.0 - near) / turn) * turn
            inside = np.where(self._outside(near), moved, near)
        found: Values = np.clip(inside, first, last) + (values - near)
        return found

    def _ends(self) -> tuple[float, float]:
        """The first and the last moment of training."""
        trend = fitted(self.trend)
        return trend.loc + trend.low * trend.scale, trend.loc + trend.high * trend.scale

    def _outside(self, values: Values, horizon: float = 0.0) -> Bools:
        first, last = self._ends()
        farther = horizon + ROUNDING
        found: Bools = (values > last + farther) | (values < first - farther)
        return found

    def _circles(self) -> list[Cyclic]:
        return [Cyclic(period=PERIODS[name]) for name in self.cycles]


def unit_of(values: Values) -> str:
    """Unit in which numbers count from 1970 if all are moments of our time then; else empty."""
    low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
    fits = (u for u, ticks in TICKS.items() if EARLIEST <= low / ticks and high / ticks < LATEST)
    return next(fits, "") if len(values) else ""
