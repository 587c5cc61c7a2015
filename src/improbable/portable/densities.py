"""The likelihoods once more, in NumPy and SciPy: what scores without torch are made of.

`improbable.likelihoods` builds distributions of torch, for training as well;
here are only the log prob, mean and variance of each, the same to rounding. The constants are
written again, as importing them would import torch; the tests hold them equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from scipy.special import expit, gammaln, i0e, i1e, log_expit, log_softmax, xlogy

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

    def mean(self, raw: Floats) -> Floats:
        """Mean of each encoded entry, shape (..., event_size)."""
        return MOMENTS[self.likelihood][0](self, raw)

    def variance(self, raw: Floats) -> Floats:
        """Variance of each encoded entry, shape (..., event_size)."""
        return MOMENTS[self.likelihood][1](self, raw)

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


def _encoded(block: Block, count: Floats) -> Floats:
    loc, scale, unit = block.links.T
    size = np.where(unit > 0.0, np.arcsinh(count / np.maximum(unit, 1e-300)), count)
    found: Floats = (size - loc) / scale
    return found


def _loc(block: Block, raw: Floats) -> Floats:
    return raw[..., : block.event_size]


def _chance(block: Block, raw: Floats) -> Floats:
    found: Floats = expit(np.clip(raw, -LOGIT_BOUND, LOGIT_BOUND))
    return found


def _chances(block: Block, raw: Floats) -> Floats:
    logits = block.fold(raw)
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    found: Floats = (odds / odds.sum(axis=-1, keepdims=True)).reshape(raw.shape)
    return found


def _continuous_mean(block: Block, raw: Floats) -> Floats:
    logit, p, off = _off_half(block, raw)
    found: Floats = np.where(
        np.abs(off) <= 1e-3,
        0.5 + (1.0 / 3.0 + 16.0 / 45.0 * off**2) * off,
        p / (2.0 * p - 1.0) - 1.0 / logit,
    )
    return found


def _logistic_mean(block: Block, raw: Floats) -> Floats:
    loc, scale = _loc_scale(block, raw)
    low, high = np.logaddexp(0.0, loc / scale), np.logaddexp(0.0, (loc - 1.0) / scale)
    found: Floats = scale * (low - high)
    return found


def _direction(block: Block, raw: Floats) -> Floats:
    pair = block.fold(raw) + (1e-12, 0.0)
    found: Floats = (pair / np.hypot(pair[..., :1], pair[..., 1:])).reshape(raw.shape)
    return found


def _encoded_rate(block: Block, raw: Floats) -> Floats:
    return _encoded(block, _rate(block, _loc(block, raw)))


def _scale_squared(block: Block, raw: Floats) -> Floats:
    return _loc_scale(block, raw)[1] ** 2


def _shared_squared(block: Block, raw: Floats) -> Floats:
    loc, raw_scale = np.split(raw, 2, axis=-1)
    mean = raw_scale.mean(axis=-1, keepdims=True)
    scale = _bounded_scale(mean, block.floors.max(keepdims=True))
    return np.broadcast_to(scale**2, loc.shape)


def _student_variance(block: Block, raw: Floats, df: float = 4.0) -> Floats:
    return _scale_squared(block, raw) * df / (df - 2.0)


def _chance_variance(block: Block, raw: Floats) -> Floats:
    mean = block.mean(raw)
    return mean * (1.0 - mean)


def _continuous_variance(block: Block, raw: Floats) -> Floats:
    logit, p, off = _off_half(block, raw)
    found: Floats = np.where(
        np.abs(off) <= 1e-3,
        1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * off**2) * off**2,
        p * (p - 1.0) / (1.0 - 2.0 * p) ** 2 + logit**-2.0,
    )
    return found


def _logistic_variance(block: Block, raw: Floats) -> Floats:
    _, scale = _loc_scale(block, raw)
    return np.minimum((scale * np.pi) ** 2 / 3.0, _chance_variance(block, raw))


def _circular_variance(block: Block, raw: Floats) -> Floats:
    a, b = np.moveaxis(block.fold(raw), -1, 0)
    concentration = np.minimum(np.sqrt(a**2 + b**2 + 1e-6), 100.0)
    return np.repeat(1.0 - i1e(concentration) / i0e(concentration), 2, axis=-1)


def _poisson_variance(block: Block, raw: Floats) -> Floats:
    rate = _rate(block, raw)
    return _encoded_variance(block, rate, rate)


def _negative_binomial_variance(block: Block, raw: Floats) -> Floats:
    raw_mean, raw_total = np.split(raw, 2, axis=-1)
    rate = _rate(block, raw_mean)
    total = np.logaddexp(0.0, raw_total) + 0.1
    return _encoded_variance(block, rate, rate * (1.0 + rate / total))


def _encoded_variance(block: Block, mean: Floats, variance: Floats) -> Floats:
    """Variance of an encoded count, by what one standard deviation more would be."""
    step = _encoded(block, mean + np.sqrt(variance)) - _encoded(block, mean)
    return np.maximum(step**2, 1e-4)


def _off_half(block: Block, raw: Floats) -> tuple[Floats, Floats, Floats]:
    """Logits and probabilities kept away from 1/2, and how far they were from it."""
    logit = np.clip(raw, -LOGIT_BOUND, LOGIT_BOUND)
    off = expit(logit) - 0.5
    apart = np.where(np.abs(off) <= 1e-3, 1.0, logit)
    return apart, expit(apart), off


Density = Callable[[Block, Floats, Floats], Floats]
Moment = Callable[[Block, Floats], Floats]

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

MOMENTS: dict[str, tuple[Moment, Moment]] = {
    "normal": (_loc, _scale_squared),
    "normal_per_column": (_loc, _scale_squared),
    "normal_shared": (_loc, _shared_squared),
    "normal_fixed": (_loc, lambda block, raw: np.ones_like(raw)),
    "student_t": (_loc, _student_variance),
    "bernoulli": (_chance, _chance_variance),
    "continuous_bernoulli": (_continuous_mean, _continuous_variance),
    "discretized_logistic": (_logistic_mean, _logistic_variance),
    "categorical": (_chances, _chance_variance),
    "von_mises": (_direction, _circular_variance),
    "poisson": (_encoded_rate, _poisson_variance),
    "negative_binomial": (_encoded_rate, _negative_binomial_variance),
}
