"""Distributions that torch lacks, or validates at every call."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch import distributions as td
from torch.nn.functional import logsigmoid, softplus

HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True)
class DiagonalNormal:
    """Independent Normal dimensions, q(z given x): no more than training needs at every step.

    Attributes
    ----------
    mean, log_scale : Tensor of shape (..., latent_dim)
        Means, and logarithms of the standard deviations.
    """

    mean: Tensor
    log_scale: Tensor

    @cached_property
    def stddev(self) -> Tensor:
        """Standard deviations."""
        return self.log_scale.exp()

    def as_torch(self) -> td.Independent[td.Normal]:
        """The distribution of torch, for all else that one may ask of it."""
        return td.Independent(td.Normal(self.mean, self.stddev, validate_args=False), 1)


class OneHot(td.Distribution):
    """One of several categories, as indicator vectors.

    Parameters
    ----------
    logits : Tensor of shape (..., n_categories)
        Log probabilities.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        return (value * self.logits).sum(-1)

    @property
    def mean(self) -> Tensor:
        return self.logits.exp()

    @property
    def variance(self) -> Tensor:
        return self.mean * (1.0 - self.mean)


class LogScaleNormal(td.Distribution):
    """Normal numbers by the logarithm of their standard deviation.

    The density needs the logarithm and a reciprocal, so this spares a square,
    a logarithm and a division of every number, and their gradients.

    Parameters
    ----------
    loc, log_scale : Tensor
        Mean, and logarithm of the standard deviation; broadcast.
    """

    def __init__(self, loc: Tensor, log_scale: Tensor) -> None:
        self.loc, self.log_scale = loc, log_scale
        super().__init__(loc.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density, nats."""
        standardized = (value - self.loc) * torch.exp(-self.log_scale)
        highest = -self.log_scale - HALF_LOG_TWO_PI
        return torch.addcmul(highest, standardized, standardized, value=-0.5)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def stddev(self) -> Tensor:
        return self.log_scale.exp().expand_as(self.loc)

    @property
    def variance(self) -> Tensor:
        return self.stddev.square()


class DiscretizedLogistic(td.Distribution):
    r"""A logistic in bins of width w, on [0, 1]; the outermost bins hold the tails.

    .. math:: P(x) = \sigma\big((x + w/2 - \mu) / s\big) - \sigma\big((x - w/2 - \mu) / s\big)

    Salimans et al., "PixelCNN++", ICLR 2017, eq. 2, with one component.

    Parameters
    ----------
    loc, scale : Tensor
        Location, and scale s of the logistic; its standard deviation is
        :math:`s \pi / \sqrt 3`.
    width : float
        Distance of neighboring levels.
    """

    def __init__(self, loc: Tensor, scale: Tensor, width: float) -> None:
        self.loc, self.scale, self.width = loc, scale, width
        super().__init__(loc.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log mass of the level nearest to `value`, nats."""
        half = 0.5 * self.width
        above = (value + half - self.loc) / self.scale
        below = (value - half - self.loc) / self.scale
        inside = torch.log(-torch.expm1(-self.width / self.scale))
        middle = logsigmoid(above) + logsigmoid(-below) + inside
        found = torch.where(value >= 1.0 - half, logsigmoid(-below), middle)
        return torch.where(value <= half, logsigmoid(above), found)

    def icdf(self, value: Tensor) -> Tensor:
        """Level at a cumulative probability."""
        inner = self.loc + self.scale * torch.logit(value.clamp(1e-12, 1.0 - 1e-12))
        return (inner / self.width).round().clamp(0.0, round(1.0 / self.width)) * self.width

    @property
    def mean(self) -> Tensor:
        """Mean of the logistic cut off at 0 and 1; levels lie within half a width of it."""
        low, high = self.loc / self.scale, (self.loc - 1.0) / self.scale
        return self.scale * (softplus(low) - softplus(high))

    @property
    def variance(self) -> Tensor:
        """Variance of the logistic, at most what a mean in [0, 1] allows."""
        mean = self.mean
        return torch.minimum((self.scale * math.pi) ** 2 / 3.0, mean * (1.0 - mean))
