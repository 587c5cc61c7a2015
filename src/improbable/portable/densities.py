"""The likelihoods once more, in NumPy and SciPy: what scores without torch are made of.

`improbable.likelihoods` builds distributions of torch, for training as well;
here is only the log prob of each, the same to rounding. The constants are
written again, as importing them would import torch; the tests hold them equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from scipy.special import expit, gammaln, log_expit, log_softmax, xlogy

from improbable.data.parts import Floats, Part

SCALE_CEILING = 3.0
LOGIT_BOUND = 12.0
LOG_2PI = float(np.log(2.0 * np.pi))
# Abramowitz and Stegun, 9.8.1 and 9.8.2, highest power first, as torch evaluates them.
I0_SMALL = (0.0045813, 0.0360768, 0.2659732, 1.2067492, 3.0899424, 3.5156229, 1.0)
I0_LARGE = (
    *(0.00392377, -0.01647633, 0.02635537, -0.02057706, 0.00916281),
    *(-0.00157565, 0.00225319, 0.01328592, 0.39894228),
)


@dataclass(frozen=True)
class Block:
    """Neighboring parts of one likelihood.

    Attributes
    ----------
    likelihood : str
        Name in `DENSITIES`.
    width : int
        Encoded entries a part.
    floors : ndarray of shape (n_parts,)
        Smallest standard deviations.
    links : ndarray of shape (n_parts, 3)
        Location, scale and unit of the encoding of counts.
    """

    likelihood: str
    width: int
    floors: Floats
    links: Floats

    @property
    def event_size(self) -> int:
        """Encoded entries of all parts."""
        return len(self.floors) * self.width

    @property
    def param_size(self) -> int:
        """Raw outputs that a decoder gives for all parts."""
        return self.event_size * DENSITIES[self.likelihood][0]

    @property
    def tied(self) -> list[bool]:
        """Whether each raw output belongs to a column whatever z is."""
        tied = self.likelihood in ("normal_per_column", "normal_shared")
        half = self.param_size // 2
        return [False] * half + [tied] * (self.param_size - half)

    def log_prob(self, raw: Floats, x: Floats) -> Floats:
        """Log prob of each part, nats, shape (..., n_parts)."""
        return DENSITIES[self.likelihood][1](self, raw, x)

    def fold(self, flat: Floats) -> Floats:
        """Entries part by part, shape (..., n_parts, width)."""
        return flat.reshape(*flat.shape[:-1], len(self.floors), self.width)


def blocks_of(parts: Sequence[Part]) -> tuple[Block, ...]:
    """Blocks of an encoded row, in its order; equal neighbors share one."""
    runs = groupby(parts, key=lambda part: (part.likelihood, part.width))
    return tuple(_block(name, width, list(run)) for (name, width), run in runs)


def _block(name: str, width: int, parts: list[Part]) -> Block:
    floors, links = [part.floor for part in parts], [part.link for part in parts]
    return Block(name, width, np.array(floors, dtype=float), np.array(links, dtype=float))


def _normal(block: Block, raw: Floats, x: Floats) -> Floats:
    return _log_normal(x, *_loc_scale(block, raw))


def _normal_shared(block: Block, raw: Floats, x: Floats) -> Floats:
    loc, raw_scale = np.split(raw, 2, axis=-1)
    mean = raw_scale.mean(axis=-1, keepdims=True)
    return _log_normal(x, loc, _bounded_scale(mean, block.floors.max(keepdims=True)))


def _normal_fixed(block: Block, raw: Floats, x: Floats) -> Floats:
    return _log_normal(x, raw, np.ones_like(raw))


def _student_t(block: Block, raw: Floats, x: Floats, df: float = 4.0) -> Floats:
    loc, scale = _loc_scale(block, raw)
    constant = gammaln(0.5 * (df + 1.0)) - gammaln(0.5 * df) - 0.5 * np.log(df * np.pi)
    excess = np.log1p(((x - loc) / scale) ** 2 / df)
    found: Floats = constant - np.log(scale) - 0.5 * (df + 1.0) * excess
    return found


def _bernoulli(block: Block, raw: Floats, x: Floats) -> Floats:
    logit = np.clip(raw, -LOGIT_BOUND, LOGIT_BOUND)
    found: Floats = x * logit - np.logaddexp(0.0, logit)
    return found


def _continuous_bernoulli(block: Block, raw: Floats, x: Floats) -> Floats:
    logit = np.clip(raw, -LOGIT_BOUND, LOGIT_BOUND)
    near_half = np.abs(logit) < 1e-3
    apart = np.where(near_half, 1.0, logit)
    norm = np.where(near_half, 2.0 + logit**2 / 6.0, apart / np.tanh(0.5 * apart))
    found: Floats = _bernoulli(block, raw, x) + np.log(norm)
    return found


def _discretized_logistic(block: Block, raw: Floats, x: Floats) -> Floats:
    loc, scale = _loc_scale(block, raw)
    half = 0.5 / 255.0
    up_to, from_on = log_expit((x + half - loc) / scale), log_expit((loc - x + half) / scale)
    inside = up_to + from_on + np.log(-np.expm1(-2.0 * half / scale))
    found = np.where(x >= 1.0 - half, from_on, inside)
    ends: Floats = np.where(x <= half, up_to, found)
    return ends


def _categorical(block: Block, raw: Floats, x: Floats) -> Floats:
    chosen: Floats = (block.fold(x) * log_softmax(block.fold(raw), axis=-1)).sum(-1)
    return chosen


def _von_mises(block: Block, raw: Floats, x: Floats) -> Floats:
    a, b = np.moveaxis(block.fold(raw), -1, 0)
    cos, sin = np.moveaxis(block.fold(x), -1, 0)
    concentration = np.minimum(np.sqrt(a**2 + b**2 + 1e-6), 100.0)
    turn = np.arctan2(sin, cos) - np.arctan2(b, a + 1e-12)
    found: Floats = concentration * np.cos(turn) - LOG_2PI - _log_i0(concentration)
    return found


def _poisson(block: Block, raw: Floats, x: Floats) -> Floats:
    count, rate = _count(block, x), _rate(block, raw)
    found: Floats = xlogy(count, rate) - rate - gammaln(count + 1.0)
    return found


def _negative_binomial(block: Block, raw: Floats, x: Floats) -> Floats:
    raw_mean, raw_total = np.split(raw, 2, axis=-1)
    count, total = _count(block, x), np.logaddexp(0.0, raw_total) + 0.1
    logit = np.log(_rate(block, raw_mean)) - np.log(total)
    ways = gammaln(total + count) - gammaln(1.0 + count) - gammaln(total)
    found: Floats = ways + total * log_expit(-logit) + count * log_expit(logit)
    return found


def _log_normal(x: Floats, loc: Floats, scale: Floats) -> Floats:
    found: Floats = -0.5 * (((x - loc) / scale) ** 2 + LOG_2PI) - np.log(scale)
    return found


def _loc_scale(block: Block, raw: Floats) -> tuple[Floats, Floats]:
    loc, bent = np.split(raw, 2, axis=-1)
    return loc, _bounded_scale(bent, block.floors)


def _bounded_scale(raw: Floats, floors: Floats) -> Floats:
    low = np.log(floors)
    scale: Floats = np.exp(low + (np.log(SCALE_CEILING) - low) * expit(raw))
    return scale


def _log_i0(x: Floats) -> Floats:
    far = np.maximum(x, 3.75)
    large = far - 0.5 * np.log(far) + np.log(np.polyval(I0_LARGE, 3.75 / far))
    small = np.log(np.polyval(I0_SMALL, (np.minimum(x, 3.75) / 3.75) ** 2))
    found: Floats = np.where(x < 3.75, small, large)
    return found


def _count(block: Block, x: Floats) -> Floats:
    loc, scale, unit = block.links.T
    size = np.minimum(x * scale + loc, 1e15)
    counts = np.where(unit > 0.0, np.sinh(np.minimum(size, 700.0)) * unit, size)
    whole: Floats = np.clip(np.round(counts), 0.0, 1e15)
    return whole


def _rate(block: Block, raw: Floats) -> Floats:
    loc, _, unit = block.links.T
    mean = np.where(unit > 0.0, np.sinh(np.minimum(loc, 700.0)) * unit, loc)
    growth = np.exp(np.clip(raw, -20.0, 20.0))
    rate: Floats = np.clip(np.maximum(mean, 0.1) * growth, 1e-6, 1e12)
    return rate


Density = Callable[[Block, Floats, Floats], Floats]

DENSITIES: dict[str, tuple[int, Density]] = {
    "normal": (2, _normal),
    "normal_per_column": (2, _normal),
    "normal_shared": (2, _normal_shared),
    "normal_fixed": (1, _normal_fixed),
    "student_t": (2, _student_t),
    "bernoulli": (1, _bernoulli),
    "continuous_bernoulli": (1, _continuous_bernoulli),
    "discretized_logistic": (2, _discretized_logistic),
    "categorical": (1, _categorical),
    "von_mises": (1, _von_mises),
    "poisson": (1, _poisson),
    "negative_binomial": (2, _negative_binomial),
}
