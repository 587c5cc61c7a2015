"""p(z): what a place in latent space is compared with when rows are scored.

Training uses the standard Normal, whose KL term keeps the latent space
continuous, or a mixture of Gaussians that is trained with the networks. Under
the standard Normal, the prior that makes the evidence highest for given
networks is the aggregated posterior, the mean of q(z given x) over training
rows (Tomczak and Welling, "VAE with a VampPrior", 2018): it knows where in
latent space the training rows lie, and where none do.
"""

import math
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from improbable.distributions import DiagonalNormal
from improbable.kernels import Kernels, features

KERNEL_SCALE, WINDOW_SCALE = 0.6, 0.7
SMALLEST_SCALE = 0.02
FEWEST_TO_A_COMPONENT = 0.05
SMALLEST_COMPONENT = 0.1
WIDTHS = (0.0, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0)


@runtime_checkable
class Prior(Protocol):
    """What every prior offers."""

    def kl(self, posterior: DiagonalNormal) -> Tensor:
        """KL(q to p), or an upper bound of it: nats, shape (n_members, n)."""
        ...

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z), shape (n_members, ...), for z of shape (n_members, ..., latent_dim)."""
        ...

    def sample(self, member: int, noise: Tensor, uniform: Tensor) -> Tensor:
        """Draws of z of one member, shape (n, latent_dim), from noise alike and uniform (n,)."""
        ...


@dataclass(frozen=True)
class StandardNormal:
    """Independent standard Normal dimensions."""

    latent_dim: int

    def kl(self, posterior: DiagonalNormal) -> Tensor:
        """Closed form: half the sum of loc^2 + scale^2 - 1 - 2 log scale."""
        loc, scale = posterior.mean, posterior.stddev
        terms = torch.addcmul(-0.5 - posterior.log_scale, loc, loc, value=0.5)
        return torch.addcmul(terms, scale, scale, value=0.5).sum(-1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density, nats."""
        return -0.5 * ((z**2).sum(-1) + self.latent_dim * math.log(2.0 * math.pi))

    def sample(self, member: int, noise: Tensor, uniform: Tensor) -> Tensor:
        """The noise itself."""
        return noise


@dataclass(frozen=True)
class AggregatedPosterior:
    r"""Mixture of the posteriors of training rows, equally weighted.

    .. math:: p(z) = \tfrac1M \sum_i N(z; \mu_i, \mathrm{diag}(t_i^2))

    Attributes
    ----------
    loc, scale : Tensor of shape (n_members, M, latent_dim)
        Means, and standard deviations of the kernels.
    """

    loc: Tensor
    scale: Tensor

    @cached_property
    def _kernels(self) -> Kernels:
        return Kernels.of(self.loc, self.scale)

    def kl(self, posterior: DiagonalNormal) -> Tensor:
        r"""Upper bound of the KL divergence from the mixture, by its nearest kernel.

        .. math:: \mathrm{KL}(q \| p) \le \log M + \min_i \mathrm{KL}(q \| N_i)

        At most log M above the sum over kernels of Hershey and Olsen
        ("Approximating the Kullback Leibler divergence between Gaussian
        mixture models", 2007, eq. 20), and much cheaper: no exponentials.
        """
        loc, scale = posterior.mean, posterior.stddev
        nearest = self._kernels.nearest(features(loc, loc**2 + scale**2))
        entropy = 0.5 * loc.shape[-1] + posterior.log_scale.sum(-1)
        return math.log(self.loc.shape[1]) - nearest - entropy

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of the mixture, nats."""
        flat = z.flatten(1, -2)
        found = self._kernels.densities(features(flat, flat**2))
        total = reduce(torch.logaddexp, (torch.logsumexp(f, dim=-1) for f in found))
        constant = math.log(self.loc.shape[1]) + 0.5 * z.shape[-1] * math.log(2.0 * math.pi)
        return (total - constant).reshape(z.shape[:-1])

    def sample(self, member: int, noise: Tensor, uniform: Tensor) -> Tensor:
        """A kernel chosen by `uniform`, moved and stretched by `noise`."""
        size = self.loc.shape[1]
        chosen = (uniform * size).long().clamp(max=size - 1)
        return self.loc[member, chosen] + self.scale[member, chosen] * noise


@dataclass(frozen=True)
class GaussianMixture:
    r"""Mixture of Gaussians with diagonal covariances; its component c is a second latent.

    .. math:: p(z, c) = \pi_c \, N(z; \mu_c, \mathrm{diag}(s_c^2))

    Attributes
    ----------
    log_weight : Tensor of shape (n_members, n_components)
        Log pi, nats.
    loc, scale : Tensor of shape (n_members, n_components, latent_dim)
    """

    log_weight: Tensor
    loc: Tensor
    scale: Tensor

    def _joint(self, posterior: DiagonalNormal) -> Tensor:
        """Log pi_c - KL(q to N_c), nats, shape (n_members, n, n_components)."""
        loc, scale = posterior.mean.unsqueeze(2), posterior.stddev.unsqueeze(2)
        log_scale, wide = posterior.log_scale.unsqueeze(2), self.scale.unsqueeze(1)
        ratio = ((loc - self.loc.unsqueeze(1)).square() + scale.square()) / wide.square()
        divergence = (0.5 * (ratio - 1.0) + wide.log() - log_scale).sum(-1)
        return self.log_weight.unsqueeze(1) - divergence

    def kl(self, posterior: DiagonalNormal) -> Tensor:
        r"""KL divergence from the mixture with its component: nats, shape (n_members, n).

        .. math:: \mathrm{KL}(q(z)\,q(c) \,\|\, p(z, c))
            = -\log \sum_c \pi_c \exp(-\mathrm{KL}(q \| N_c))

        for the q(c) that makes it least, `responsibilities`. It is an upper
        bound of KL(q to p), the one of Hershey and Olsen (2007, eq. 20), so the
        ELBO stays a bound of log p(x), and no component is drawn.
        """
        return -self._joint(posterior).logsumexp(dim=-1)

    def responsibilities(self, posterior: DiagonalNormal) -> Tensor:
        """q(c given x), shape (n_members, n, n_components)."""
        return self._joint(posterior).softmax(dim=-1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of the mixture, nats."""
        flat = z.flatten(1, -2).unsqueeze(2)
        wide = self.scale.unsqueeze(1)
        ratio = ((flat - self.loc.unsqueeze(1)) / wide).square()
        density = -(0.5 * (ratio + math.log(2.0 * math.pi)) + wide.log()).sum(-1)
        return (self.log_weight.unsqueeze(1) + density).logsumexp(dim=-1).reshape(z.shape[:-1])

    def sample(self, member: int, noise: Tensor, uniform: Tensor) -> Tensor:
        """A component chosen by `uniform`, moved and stretched by `noise`."""
        ends = self.log_weight[member].exp().cumsum(dim=0)[:-1].contiguous()
        chosen = torch.searchsorted(ends, uniform.to(ends), right=True)
        return self.loc[member, chosen] + self.scale[member, chosen] * noise


class LearnedMixture(nn.Module):
    """Parameters of a `GaussianMixture` that is trained with the networks.

    Scales have a floor, and so have weights, so that the encoder cannot gain by
    making latent space ever smaller, and no component is lost for good.

    Parameters
    ----------
    n_members, n_components, latent_dim : int
    """

    def __init__(self, n_members: int, n_components: int, latent_dim: int) -> None:
        super().__init__()
        self.raw_weight = nn.Parameter(torch.zeros(n_members, n_components))
        self.loc = nn.Parameter(torch.zeros(n_members, n_components, latent_dim))
        self.raw_scale = nn.Parameter(torch.zeros(n_members, n_components, latent_dim))

    def forward(self) -> GaussianMixture:
        """The mixture as it is now."""
        share = FEWEST_TO_A_COMPONENT / self.raw_weight.shape[1]
        weight = (1.0 - FEWEST_TO_A_COMPONENT) * self.raw_weight.softmax(dim=-1) + share
        return GaussianMixture(weight.log(), self.loc, SMALLEST_COMPONENT + self.raw_scale.exp())

    @torch.no_grad()
    def start(self, weight: Tensor, loc: Tensor, scale: Tensor) -> None:
        """Begin with these weights, locations and scales, as far as the floors allow."""
        self.raw_weight.copy_(weight.clamp(min=1e-4).log())
        self.loc.copy_(loc)
        self.raw_scale.copy_((scale - SMALLEST_COMPONENT).clamp(min=SMALLEST_COMPONENT).log())


@dataclass(frozen=True)
class PartialPrior:
    """A prior whose KL divergence counts as far as a row's cells are judged.

    The scaled prior term of the M-ELBO (Xu et al., "Donut", 2018, eq. 3), over the
    whole divergence, so that rows of few judged cells are not judged by z alone.

    Attributes
    ----------
    prior : Prior
    share : Tensor of shape (n,)
        Judged share of each row's cells, from 0 to 1.
    """

    prior: Prior
    share: Tensor

    def kl(self, posterior: DiagonalNormal) -> Tensor:
        """Share of the divergence, nats, shape (n_members, n)."""
        return self.prior.kl(posterior) * self.share

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of the prior, nats."""
        return self.prior.log_prob(z)

    def sample(self, member: int, noise: Tensor, uniform: Tensor) -> Tensor:
        """Draws from the prior."""
        return self.prior.sample(member, noise, uniform)


def aggregated_posterior(posterior: DiagonalNormal) -> AggregatedPosterior:
    """Prior made of the posteriors of training rows, shape (n_members, M).

    Kernels are `KERNEL_SCALE` as wide as the posteriors: a sum of full-width
    posteriors is smoother than the distribution of their means. They are
    rounded to single precision, in which they are stored.
    """
    return _kernels(posterior, KERNEL_SCALE)


def widened_posterior(posterior: DiagonalNormal, held_out: DiagonalNormal) -> AggregatedPosterior:
    """Prior made of the posteriors of training rows that overlap, such as windows of a series.

    Windows a step apart lie side by side in latent space, those of other times
    farther off than posteriors are wide. So kernels are widened until held-out
    rows, none of which overlaps the others, are nearest to them: to the width of
    `WIDTHS` with the smallest mean KL divergence.
    """
    found = [_kernels(posterior, WINDOW_SCALE, width) for width in WIDTHS]
    distances = torch.stack([prior.kl(held_out).mean() for prior in found])
    return found[int(distances.argmin())]


def _kernels(posterior: DiagonalNormal, share: float, width: float = 0.0) -> AggregatedPosterior:
    scale = (share * posterior.stddev).clamp(min=SMALLEST_SCALE).hypot(torch.tensor(width))
    loc, scale = (t.float().to(t.dtype).contiguous() for t in (posterior.mean, scale))
    return AggregatedPosterior(loc, scale)
