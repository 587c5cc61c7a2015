"""Scores of items of different sizes, made comparable: pure numbers, no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Floats

OUTERMOST = 0.01
LEAST_SPREAD = 0.2
MOST_KNOTS, ROWS_A_KNOT = 6, 30


@dataclass(frozen=True)
class Leveling:
    r"""Scores moved and stretched to what they would be at a typical size.

    .. math:: s' = \frac{s - m(n)}{d(n)} \, d(n_0)

    m is where scores of normal items of size n lie and d how far from there, both
    straight between a few sizes and constant beyond them.

    Attributes
    ----------
    sizes : tuple of float
        The sizes between which m and d are straight lines, ascending.
    loc, spread : tuple of float
        m and d there.
    typical : float
        The size n_0 of a typical item.
    """

    sizes: tuple[float, ...]
    loc: tuple[float, ...]
    spread: tuple[float, ...]
    typical: float

    @classmethod
    def fit(cls, scores: Floats, sizes: NDArray[np.int64]) -> Self:
        """Lines through the scores of normal items, the outermost ones drawn in."""
        n_knots = int(np.clip(len(sizes) // ROWS_A_KNOT, 1, MOST_KNOTS))
        knots = np.unique(np.quantile(sizes, np.linspace(0.0, 1.0, n_knots)))
        loc = _through(knots, sizes, scores)
        signed = scores - np.interp(sizes, knots, loc)
        ends = np.quantile(signed, (OUTERMOST, 1.0 - OUTERMOST))
        away: Floats = np.abs(np.clip(signed, *ends))
        least = max(LEAST_SPREAD * float(away.mean()), 1e-9)
        spread = np.maximum(_through(knots, sizes, away), least)
        sizes_at, loc_at, spread_at = (tuple(v.tolist()) for v in (knots, loc, spread))
        return cls(sizes_at, loc_at, spread_at, float(np.median(sizes)))

    def __call__(self, scores: Floats, sizes: NDArray[np.int64]) -> Floats:
        """Nats, as of items of the typical size; 0 is where its normal ones lie."""
        level = np.interp(self.typical, self.sizes, self.spread)
        away = scores - np.interp(sizes, self.sizes, self.loc)
        return away / np.interp(sizes, self.sizes, self.spread) * level

    def to_json(self) -> list[list[float]]:
        """As plain values."""
        return [list(self.sizes), list(self.loc), list(self.spread), [self.typical]]

    @classmethod
    def from_json(cls, record: Sequence[Sequence[float]]) -> Self:
        """Of plain values."""
        sizes, loc, spread, (typical,) = (tuple(map(float, values)) for values in record)
        return cls(sizes, loc, spread, typical)


def _through(knots: Floats, x: NDArray[np.int64], y: Floats) -> Floats:
    """Values at knots of the line, straight between them, with the least squared error."""
    hats = np.stack([np.interp(x, knots, one) for one in np.eye(len(knots))], axis=1)
    return np.asarray(np.linalg.lstsq(hats, y, rcond=None)[0], dtype=np.float64)
