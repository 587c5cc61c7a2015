"""What decoder outputs mean: raw numbers to distributions, one class a family.

A likelihood covers a block of equal parts of an encoded row. Called with the
decoder's raw outputs it returns a `torch.distributions.Distribution` whose
batch shape ends in the parts of the block. `improbable.joint` puts blocks side
by side.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch import distributions as td
from torch.nn.functional import softplus

from improbable import distributions
from improbable.codes import Token
from improbable.data.parts import Part

SCALE_CEILING = 3.0
LOGIT_BOUND = 12.0
Rng = np.random.Generator


@runtime_checkable
class Likelihood(Protocol):
    """What every likelihood offers.

    ``event`` turns the flat encoded entries into what the distribution judges,
    ``flat`` goes back; ``variance`` is per flat entry; ``draw`` samples with a
    local generator.
    """

    @property
    def n_parts(self) -> int: ...
    @property
    def event_size(self) -> int: ...
    @property
    def param_size(self) -> int: ...
    def __call__(self, raw: Tensor) -> td.Distribution: ...
    def event(self, flat: Tensor) -> Tensor: ...
    def flat(self, event: Tensor) -> Tensor: ...
    def variance(self, distribution: td.Distribution) -> Tensor: ...
    def draw(self, distribution: td.Distribution, rng: Rng) -> Tensor: ...


class _Scalar:
    """Parts of one entry each, judged as they are."""

    floors: tuple[float, ...]

    @property
    def n_parts(self) -> int:
        return len(self.floors)

    @property
    def event_size(self) -> int:
        return len(self.floors)

    def event(self, flat: Tensor) -> Tensor:
        return flat

    def flat(self, event: Tensor) -> Tensor:
        return event

    def variance(self, distribution: td.Distribution) -> Tensor:
        variance: Tensor = distribution.variance
        return variance


def bounded_log_scale(raw: Tensor, floors: tuple[float, ...]) -> Tensor:
    r"""Log standard deviation between log f, a floor, and log c, `SCALE_CEILING`, smooth in `raw`.

    .. math:: \log s = \log f + (\log c - \log f) \, \mathrm{sigmoid}(r)
    """
    return torch.addcmul(*_log_range(floors, raw.dtype, raw.device), torch.sigmoid(raw))


@lru_cache(maxsize=64)
def _log_range(
    floors: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Log of the floors, and how far below that of the ceiling they are."""
    low = torch.tensor(floors, dtype=dtype, device=device).log()
    return low, math.log(SCALE_CEILING) - low


def bounded_scale(raw: Tensor, floors: tuple[float, ...]) -> Tensor:
    """Standard deviation whose logarithm is `bounded_log_scale`."""
    return bounded_log_scale(raw, floors).exp()


@dataclass(frozen=True)
class Normal(_Scalar):
    """Normal numbers; `scale` is "row", "column", "shared" or "fixed".

    "row" gives each part a scale that depends on z; "column" learns one a part,
    "shared" a single one for all parts, whatever z; "fixed" is 1. The floor keeps
    the density bounded, so that duplicated rows or rounded columns cannot drive
    it to infinity (Mattei and Frellsen, NeurIPS 2018).
    """

    floors: tuple[float, ...]
    scale: str = "row"

    @property
    def param_size(self) -> int:
        return self.n_parts * (1 if self.scale == "fixed" else 2)

    @property
    def constant_scale(self) -> bool:
        """Whether the scale is learned, yet the same for all z."""
        return self.scale in ("column", "shared")

    def __call__(self, raw: Tensor) -> td.Distribution:
        if self.scale == "fixed":
            return distributions.LogScaleNormal(raw, torch.zeros_like(raw))
        loc, raw_scale = raw.chunk(2, dim=-1)
        floors = self.floors
        if self.scale == "shared":
            raw_scale, floors = raw_scale.mean(-1, keepdim=True), (max(floors),)
        return distributions.LogScaleNormal(loc, bounded_log_scale(raw_scale, floors))

    def draw(self, distribution: td.Distribution, rng: Rng) -> Tensor:
        noise = rng.standard_normal(tuple(distribution.batch_shape))
        return distribution.mean + distribution.stddev * _like(noise, distribution.mean)


@dataclass(frozen=True)
class StudentT(_Scalar):
    """Student-t numbers: heavy tails, so that outliers among training rows pull less."""

    floors: tuple[float, ...]
    df: float = 4.0

    @property
    def param_size(self) -> int:
        return 2 * self.n_parts

    def __call__(self, raw: Tensor) -> td.Distribution:
        loc, raw_scale = raw.chunk(2, dim=-1)
        scale = bounded_scale(raw_scale, self.floors)
        return td.StudentT(self.df, loc, scale, validate_args=False)

    def draw(self, distribution: td.Distribution, rng: Rng) -> Tensor:
        assert isinstance(distribution, td.StudentT)
        noise = rng.standard_t(self.df, tuple(distribution.batch_shape))
        return distribution.loc + distribution.scale * _like(noise, distribution.loc)


@dataclass(frozen=True)
class Bernoulli(_Scalar):
    """Truth values encoded as 0 and 1; logits are bounded so that no value is impossible."""

    floors: tuple[float, ...]

    @property
    def param_size(self) -> int:
        return self.n_parts

    def __call__(self, raw: Tensor) -> td.Distribution:
        return td.Bernoulli(logits=raw.clamp(-LOGIT_BOUND, LOGIT_BOUND), validate_args=False)

    def draw(self, distribution: td.Distribution, rng: Rng) -> Tensor:
        uniform = _like(rng.random(tuple(distribution.batch_shape)), distribution.mean)
        return (uniform < distribution.mean).to(distribution.mean.dtype)


@dataclass(frozen=True)
class ContinuousBernoulli(_Scalar):
    """Numbers in [0, 1] (Loaiza-Ganem and Cunningham, NeurIPS 2019)."""

    floors: tuple[float, ...]

    @property
    def param_size(self) -> int:
        return self.n_parts

    def __call__(self, raw: Tensor) -> td.Distribution:
        logits = raw.clamp(-LOGIT_BOUND, LOGIT_BOUND)
        return td.ContinuousBernoulli(logits=logits, validate_args=False)

    def draw(self, distribution: td.Distribution, rng: Rng) -> Tensor:
        uniform = _like(rng.random(tuple(distribution.batch_shape)), distribution.mean)
        return distribution.icdf(uniform)


@dataclass(frozen=True)
class DiscretizedLogistic(_Scalar):
    """Gray levels k / 255, k = 0..255, by the mass of a logistic around each."""

    floors: tuple[float, ...]

    @property
    def param_size(self) -> int:
        return 2 * self.n_parts

    def __call__(self, raw: Tensor) -> td.Distribution:
        loc, raw_scale = raw.chunk(2, dim=-1)
        scale = bounded_scale(raw_scale, self.floors)
        return distributions.DiscretizedLogistic(loc, scale, 1.0 / 255.0)

    def draw(self, distribution: td.Distribution, rng: Rng) -> Tensor:
        uniform = _like(rng.random(tuple(distribution.batch_shape)), distribution.mean)
        return distribution.icdf(uniform)


@dataclass(frozen=True)
class Categorical:
    """One-hot blocks of `width` categories each."""

    n_parts: int
    width: int

    @property
    def event_size(self) -> int:
        return self.n_parts * self.width

    @property
    def param_size(self) -> int:
        return self.event_size

    def __call__(self, raw: Tensor) -> td.Distribution:
        logits = _folded(raw, self.n_parts, self.width)
        return distributions.OneHot(logits.log_softmax(-1))

    def event(self, flat: Tensor) -> Tensor:
        return _folded(flat, self.n_parts, self.width)

    def flat(self, event: Tensor) -> Tensor:
        return event.flatten(-2)

    def variance(self, distribution: td.Distribution) -> Tensor:
        variance: Tensor = distribution.variance
        return variance.flatten(-2)

    def draw(self, distribution: td.Distribution, rng: Rng) -> Tensor:
        assert isinstance(distribution, distributions.OneHot)
        gumbel = _like(rng.gumbel(size=tuple(distribution.logits.shape)), distribution.logits)
        chosen = (distribution.logits + gumbel).argmax(-1)
        return torch.nn.functional.one_hot(chosen, self.width).to(distribution.logits.dtype)


@dataclass(frozen=True)
class VonMises:
    """Angles encoded as (cos, sin); the raw pair points to the mean, its length concentrates."""

    n_parts: int

    @property
    def event_size(self) -> int:
        return 2 * self.n_parts

    @property
    def param_size(self) -> int:
        return 2 * self.n_parts

    def __call__(self, raw: Tensor) -> td.Distribution:
        x, y = _folded(raw, self.n_parts, 2).unbind(-1)
        concentration = (x**2 + y**2 + 1e-6).sqrt().clamp(max=100.0)
        return td.VonMises(torch.atan2(y, x + 1e-12), concentration, validate_args=False)

    def event(self, flat: Tensor) -> Tensor:
        x, y = _folded(flat, self.n_parts, 2).unbind(-1)
        return torch.atan2(y, x)

    def flat(self, event: Tensor) -> Tensor:
        return torch.stack([event.cos(), event.sin()], dim=-1).flatten(-2)

    def variance(self, distribution: td.Distribution) -> Tensor:
        assert isinstance(distribution, td.VonMises)
        k = distribution.concentration  # torch's own variance is that of single precision
        variance: Tensor = 1.0 - torch.special.i1e(k) / torch.special.i0e(k)
        return variance.repeat_interleave(2, dim=-1)

    def draw(self, distribution: td.Distribution, rng: Rng) -> Tensor:
        assert isinstance(distribution, td.VonMises)
        loc, concentration = distribution.loc, distribution.concentration
        drawn = rng.vonmises(loc.cpu().numpy(), concentration.cpu().numpy())
        return _like(drawn, loc)


Link = tuple[float, float, float]


@dataclass(frozen=True)
class _Linked:
    """Counts behind the encoding ``(g(count) - loc) / scale``."""

    links: tuple[Link, ...]

    @property
    def n_parts(self) -> int:
        return len(self.links)

    @property
    def event_size(self) -> int:
        return len(self.links)

    def event(self, flat: Tensor) -> Tensor:
        loc, scale, unit = _link_rows(self.links, flat)
        size = (flat * scale + loc).clamp(max=1e15)
        counts = torch.where(unit > 0, torch.sinh(size.clamp(max=700.0)) * unit, size)
        return counts.round().clamp(0.0, 1e15)

    def flat(self, event: Tensor) -> Tensor:
        loc, scale, unit = _link_rows(self.links, event)
        size = torch.where(unit > 0, torch.arcsinh(event / unit.clamp(min=1e-300)), event)
        return (size - loc) / scale

    def variance(self, distribution: td.Distribution) -> Tensor:
        high = self.flat(distribution.mean + distribution.stddev)
        return ((high - self.flat(distribution.mean)) ** 2).clamp(min=1e-4)

    def rate(self, raw: Tensor) -> Tensor:
        """Positive rate whose raw value 0 is the column's mean."""
        loc, scale, unit = _link_rows(self.links, raw)
        mean = torch.where(unit > 0, torch.sinh(loc.clamp(max=700.0)) * unit, loc)
        return (mean.clamp(min=0.1) * torch.exp(raw.clamp(-20.0, 20.0))).clamp(1e-6, 1e12)


@dataclass(frozen=True)
class Poisson(_Linked):
    """Counts whose variance is their mean."""

    @property
    def param_size(self) -> int:
        return self.n_parts

    def __call__(self, raw: Tensor) -> td.Distribution:
        return td.Poisson(self.rate(raw), validate_args=False)

    def draw(self, distribution: td.Distribution, rng: Rng) -> Tensor:
        return _like(rng.poisson(distribution.mean.cpu().numpy()), distribution.mean)


@dataclass(frozen=True)
class NegativeBinomial(_Linked):
    """Counts whose variance exceeds their mean."""

    @property
    def param_size(self) -> int:
        return 2 * self.n_parts

    def __call__(self, raw: Tensor) -> td.Distribution:
        raw_mean, raw_total = raw.chunk(2, dim=-1)
        total = softplus(raw_total) + 0.1
        logits = self.rate(raw_mean).log() - total.log()
        return td.NegativeBinomial(total, logits=logits, validate_args=False)

    def draw(self, distribution: td.Distribution, rng: Rng) -> Tensor:
        assert isinstance(distribution, td.NegativeBinomial)
        total = distribution.total_count.cpu().numpy()
        success = 1.0 / (1.0 + np.exp(distribution.logits.cpu().numpy()))
        return _like(rng.negative_binomial(total, success), distribution.mean)


Builder = Callable[[Sequence[Part]], Likelihood]


def _floors(parts: Sequence[Part]) -> tuple[float, ...]:
    return tuple(float(part.floor) for part in parts)


LIKELIHOODS: dict[str, Builder] = {
    "normal": lambda parts: Normal(_floors(parts)),
    "normal_per_column": lambda parts: Normal(_floors(parts), scale="column"),
    "normal_shared": lambda parts: Normal(_floors(parts), scale="shared"),
    "normal_fixed": lambda parts: Normal(_floors(parts), scale="fixed"),
    "student_t": lambda parts: StudentT(_floors(parts)),
    "bernoulli": lambda parts: Bernoulli(_floors(parts)),
    "continuous_bernoulli": lambda parts: ContinuousBernoulli(_floors(parts)),
    "discretized_logistic": lambda parts: DiscretizedLogistic(_floors(parts)),
    "categorical": lambda parts: Categorical(len(parts), parts[0].width),
    "token": lambda parts: Token(len(parts), int(parts[0].link[1])),
    "von_mises": lambda parts: VonMises(len(parts)),
    "poisson": lambda parts: Poisson(tuple(part.link for part in parts)),
    "negative_binomial": lambda parts: NegativeBinomial(tuple(part.link for part in parts)),
}


def _folded(flat: Tensor, n_parts: int, width: int) -> Tensor:
    return flat.reshape(*flat.shape[:-1], n_parts, width)


def _like(values: np.ndarray, tensor: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=tensor.dtype, device=tensor.device)


def _link_rows(links: tuple[Link, ...], tensor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    table = torch.tensor(links, dtype=tensor.dtype, device=tensor.device)
    return table[:, 0], table[:, 1], table[:, 2]
