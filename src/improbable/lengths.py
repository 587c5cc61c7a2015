"""Scores of items of different sizes, made comparable: pure numbers, no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Floats

OUTERMOST = 0.01
LEAST_SPREAD, LEFT_OUT = 0.2, 0.05
MOST_KNOTS, ROWS_A_KNOT = 6, 30


@dataclass(frozen=True)
class Leveling:
    r"""Scores moved and stretched to what they would be at a typical size.

    .. math:: s' = \frac{s - m(n)}{d(n)} \, d(n_0) + c

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
    center : float
        Where its normal scores then lie, c.
    """

    sizes: tuple[float, ...]
    loc: tuple[float, ...]
    spread: tuple[float, ...]
    typical: float
    center: float = 0.0

    @classmethod
    def at(cls, scores: Floats, sizes: NDArray[np.int64], *, moved: bool) -> Self:
        """Scores of normal items of a few sizes, to lie where those of the largest size do.

        By medians, and means of absolute deviations that leave the largest out, since
        some of the items may not be normal. Scores are stretched alone unless `moved`.
        """
        knots = np.unique(sizes)
        groups = [scores[sizes == size] for size in knots]
        loc = np.array([np.median(group if moved else scores) for group in groups])
        away = [np.sort(np.abs(g - m)) for g, m in zip(groups, loc, strict=True)]
        spread = np.array([a[: len(a) - int(LEFT_OUT * len(a))].mean() for a in away])
        spread = np.maximum(spread, max(LEAST_SPREAD * float(spread.mean()), 1e-9))
        sizes_at = tuple(float(size) for size in knots)
        center = float(loc[-1])
        return cls(sizes_at, tuple(loc.tolist()), tuple(spread.tolist()), sizes_at[-1], center)

    @classmethod
    def fit(cls, scores: Floats, sizes: NDArray[np.int64]) -> Self:
        """Scores of normal items of any sizes, to lie around 0, the outermost drawn in."""
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
        """Nats, as of items of the typical size."""
        level = np.interp(self.typical, self.sizes, self.spread)
        away = scores - np.interp(sizes, self.sizes, self.loc)
        return away / np.interp(sizes, self.sizes, self.spread) * level + self.center

    def to_json(self) -> list[list[float]]:
        """As plain values."""
        return [list(self.sizes), list(self.loc), list(self.spread), [self.typical, self.center]]

    @classmethod
    def from_json(cls, record: Sequence[Sequence[float]]) -> Self:
        """Of plain values."""
        sizes, loc, spread, at = (tuple(map(float, values)) for values in record)
        return cls(sizes, loc, spread, *at)


def _through(knots: Floats, x: NDArray[np.int64], y: Floats) -> Floats:
    """Values at knots of the line, straight between them, with the least squared error."""
    hats = np.stack([np.interp(x, knots, one) for one in np.eye(len(knots))], axis=1)
    return np.asarray(np.linalg.lstsq(hats, y, rcond=None)[0], dtype=np.float64)
