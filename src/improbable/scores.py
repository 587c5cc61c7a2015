"""The scores: one small function a definition, over shared Monte-Carlo draws.

With z_l drawn from q(z given x), l = 1..L, every score is a number of nats a
row and a member; the higher, the more normal. Missing cells contribute zero.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.special import chdtr, chdtrc, gammaln
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal

from improbable.codes import Codes
from improbable.distributions import DiagonalNormal
from improbable.errors import ImprobableError
from improbable.joint import JointDistribution
from improbable.priors import Prior
from improbable.vae import VAE, Batch

SMALLEST_VARIANCE = 1e-2
LOG_2PI = float(np.log(2.0 * np.pi))
IQR_OF_NORMAL = 1.349
SHARE_OF_SPREAD, MOST_DRAWS = 0.01, 64


@dataclass(frozen=True)
class Draws:
    """Everything the scores are made of: draws of z for each row, decoded and judged.

    Attributes
    ----------
    vae : VAE
    batch : Batch
        n rows.
    visible : Tensor of shape (n, n_parts)
        What the encoder saw.
    noise : Tensor of shape (n_draws, latent_dim)
        Shared by all rows and members.
    prior : Prior
        p(z).
    """

    vae: VAE
    batch: Batch
    visible: Tensor
    noise: Tensor
    prior: Prior

    @cached_property
    def posterior(self) -> DiagonalNormal:
        """q(z given x), shape (n_members, n)."""
        return self.vae.encode(self.batch.values, self.visible)

    @cached_property
    def z(self) -> Tensor:
        """Draws of shape (n_members, n_draws, n, latent_dim)."""
        loc, scale = self.posterior.mean.unsqueeze(1), self.posterior.stddev.unsqueeze(1)
        return loc + scale * self.noise[:, None, :]

    @cached_property
    def decoded(self) -> JointDistribution:
        """p(x given z) of shape (n_members, n_draws, n)."""
        return self.vae.decode(self.z, self.batch.values)

    @cached_property
    def log_prob_parts(self) -> Tensor:
        """Log p of each observed part, shape (n_members, n_draws, n, n_parts)."""
        return self.decoded.log_prob_blocks(self.batch.values) * self.batch.observed

    @cached_property
    def offset(self) -> Tensor:
        """Log prob of cells that no likelihood judges, shape (n,)."""
        return self.batch.offsets.sum(-1)

    @cached_property
    def log_prob(self) -> Tensor:
        """Log p(x given z_l), shape (n_members, n_draws, n): the one matrix of log probs."""
        if "log_prob_parts" in self.__dict__:  # known already, as where shares were asked for
            return self.log_prob_parts.sum(-1) + self.offset
        return self.decoded.log_prob(self.batch.values, self.batch.observed) + self.offset

    @cached_property
    def log_ratio(self) -> Tensor:
        """Log p(z_l) - log q(z_l given x), shape (n_members, n_draws, n)."""
        log_q = -0.5 * ((self.noise**2).sum(-1)[:, None] + self.noise.shape[-1] * LOG_2PI)
        log_q = log_q - self.posterior.log_scale.sum(-1)[:, None]
        return self.prior.log_prob(self.z) - log_q

    @cached_property
    def kl(self) -> Tensor:
        """KL(q(z given x) to p(z)) or its bound, shape (n_members, n)."""
        return self.prior.kl(self.posterior)

    @cached_property
    def entries(self) -> Tensor:
        """1 where an encoded entry is observed, shape (n, event_size)."""
        return self.vae.entries(self.batch.observed)

    @cached_property
    def mean(self) -> Tensor:
        """Decoded means averaged over draws, shape (n_members, n, event_size)."""
        return self.decoded.mean.mean(dim=1)

    def without(self, left_out: list[int]) -> "Draws":
        """The same with some draws left out, nothing decoded twice where it can be reused."""
        keep = [i for i in range(len(self.noise)) if i not in left_out]
        fewer = Draws(self.vae, self.batch, self.visible, self.noise[keep], self.prior)
        known = fewer.__dict__
        known["posterior"] = self.posterior
        if "kl" in self.__dict__:
            known["kl"] = self.kl
        for name in ("log_prob", "log_ratio"):
            if name in self.__dict__:
                known[name] = self.__dict__[name][:, keep]
        return fewer


def draw(
    vae: VAE,
    batch: Batch,
    noise: Tensor,
    visible: Tensor | None = None,
    prior: Prior | None = None,
) -> Draws:
    """Draws of z for each row of a batch.

    Parameters
    ----------
    vae : VAE
    batch : Batch
    noise : Tensor of shape (n_draws, latent_dim)
    visible : Tensor of shape (n, n_parts), optional
        What the encoder may look at; all observed cells if None.
    prior : Prior, optional
        p(z); the standard Normal of training if None.
    """
    seen = batch.observed if visible is None else visible
    return Draws(vae, batch, seen, noise, prior or vae.prior)


def log_mean_exp(values: Tensor) -> Tensor:
    """Log of the mean of exp over dimension 1, never underflowing."""
    return torch.logsumexp(values, dim=1) - float(np.log(values.shape[1]))


def expected_log_prob(draws: Draws) -> Tensor:
    r"""Expected log-likelihood: the reconstruction probability of page 8.

    .. math:: s(x) = \mathbb{E}_{q(z \mid x)} \left[ \log p(x \mid z) \right]

    The only score that is a sum over columns; `explain` shows its terms.

    References
    ----------
    .. [1] J. An and S. Cho, "Variational Autoencoder based Anomaly Detection
       using Reconstruction Probability", SNU Data Mining Center, 2015, page 8.
    """
    return draws.log_prob.mean(dim=1)


def log_expected_prob(draws: Draws) -> Tensor:
    r"""Log of the expected likelihood: page 9 (Algorithm 4) of the same report.

    .. math:: s(x) = \log \mathbb{E}_{q(z \mid x)} \left[ p(x \mid z) \right]

    At least `expected_log_prob`, by Jensen's inequality. Used by Guo et al.,
    "Multidimensional Time Series Anomaly Detection", ACML 2018, Algorithm 1.
    """
    return log_mean_exp(draws.log_prob)


def log_marginal(draws: Draws) -> Tensor:
    r"""Importance-weighted estimate of log p(x): page 9 with its weights put right.

    .. math:: s(x) = \log \frac1L \sum_l \frac{p(x \mid z_l) \, p(z_l)}{q(z_l \mid x)}

    At least the ELBO and at most log p(x), in expectation; it rises to log p(x)
    with L (Burda et al., "Importance Weighted Autoencoders", 2016, eq. 8).
    """
    return log_mean_exp(draws.log_prob + draws.log_ratio)


def elbo(draws: Draws) -> Tensor:
    r"""Evidence lower bound: `expected_log_prob` minus the KL divergence (Kingma and Welling)."""
    return draws.log_prob.mean(dim=1) - draws.kl


def kl(draws: Draws) -> Tensor:
    r"""Minus KL(q(z given x) to p(z)): how ordinary the row's place in latent space is."""
    return -draws.kl


def log_prob_of_mean(draws: Draws) -> Tensor:
    r"""Log N(x; mean of the decoded means, I): unit variance, as in the simplest demos."""
    n_entries = draws.entries.sum(-1)
    return -0.5 * (_squared_error(draws) + n_entries * LOG_2PI) + draws.offset


def log_prob_moment_matched(draws: Draws) -> Tensor:
    r"""Log N(x; m, S) with the moments of the decoded mixture.

    .. math:: S = \tfrac1L \sum_l (\mu_l - m)(\mu_l - m)^\top + \tfrac1L \sum_l \mathrm{diag}(v_l)

    The first term has rank below L; the decoder's own variances v make S
    positive definite whatever L is.
    """
    means = draws.decoded.mean * draws.entries
    center = means.mean(dim=1)
    spread = (means - center.unsqueeze(1)) / float(np.sqrt(means.shape[1]))
    noise = draws.decoded.variance.mean(dim=1).clamp(min=SMALLEST_VARIANCE)
    noise = torch.where(draws.entries > 0, noise, torch.ones_like(noise))
    normal = LowRankMultivariateNormal(
        center, spread.permute(0, 2, 3, 1).contiguous(), noise, validate_args=False
    )
    values = draws.batch.values * draws.entries
    hidden = (1.0 - draws.entries).sum(-1)
    log_prob: Tensor = normal.log_prob(values.expand_as(center))  # type: ignore[no-untyped-call]
    return log_prob + 0.5 * LOG_2PI * hidden + draws.offset


def chi_square_tail(draws: Draws) -> Tensor:
    r"""Log P(chi2_d >= D): D the mean squared Mahalanobis distance of x under p(x given z).

    .. math:: D = \tfrac1L \sum_l \sum_j (x_j - \mu_{lj})^2 / v_{lj}

    d counts the observed entries. A true (log) probability, at most 0.
    """
    variance = draws.decoded.variance.clamp(min=SMALLEST_VARIANCE)
    residual = (draws.batch.values - draws.decoded.mean) ** 2 / variance
    distance = (residual * draws.entries).sum(-1).mean(dim=1)
    degrees = draws.entries.sum(-1).clamp(min=1.0).expand_as(distance)
    tail = log_chi2_tail(distance.cpu().numpy(), degrees.cpu().numpy())
    return torch.as_tensor(tail, dtype=distance.dtype, device=distance.device) + draws.offset


def log_chi2_tail(distance: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Log of the chi-square survival function, by its leading term where that underflows."""
    below, beyond = chdtr(degrees, distance), chdtrc(degrees, distance)
    with np.errstate(divide="ignore"):
        tail: np.ndarray = np.where(below < 0.5, np.log1p(-below), np.log(beyond))
    half = np.maximum(distance, 1e-300) / 2.0
    far = (degrees / 2.0 - 1.0) * np.log(half) - half - gammaln(degrees / 2.0)
    return np.where(np.isfinite(tail), tail, far)


def reconstruction_error(draws: Draws) -> Tensor:
    r"""Minus the squared error of the decoded mean: the plain autoencoder's score."""
    return -_squared_error(draws) + draws.offset


def conditional_log_prob(draws: Draws) -> Tensor:
    r"""Mean over masks of log p(hidden columns given visible columns).

    .. math:: \tfrac1M \sum_m \left[ \log p(x) - \log p(x_{v_m}) \right]

    Each mask hides one of M groups of columns (of windows: of their cells), so
    that every one is hidden once; both terms are importance-weighted, from the
    posterior of what is visible alone.
    """
    terms = []
    for hidden in cell_groups(draws.vae):
        visible = draws.visible * (1.0 - hidden[draws.vae.part_cell])
        masked = draw(draws.vae, draws.batch, draws.noise, visible, draws.prior)
        offset = (draws.batch.offsets * (1.0 - hidden.view(draws.vae.n_columns, -1).mean(-1))).sum(
            -1
        )
        seen = (masked.log_prob_parts * visible).sum(-1) + offset + masked.log_ratio
        everything = masked.log_prob + masked.log_ratio
        terms.append(log_mean_exp(everything) - log_mean_exp(seen))
    return torch.stack(terms).mean(dim=0)


def cell_groups(vae: VAE, n_groups: int = 4) -> list[Tensor]:
    """Masks of shape (n_cells,): cell i is hidden in group i modulo their number."""
    n_groups = max(1, min(n_groups, vae.n_cells))
    cell = torch.arange(vae.n_cells)
    return [(cell % n_groups == g).to(vae.low.dtype) for g in range(n_groups)]


def _squared_error(draws: Draws) -> Tensor:
    return (((draws.batch.values - draws.mean) ** 2) * draws.entries).sum(-1)


Score = Callable[[Draws], Tensor]

SCORES: dict[str, Score] = {
    "expected_log_prob": expected_log_prob,
    "log_expected_prob": log_expected_prob,
    "log_marginal": log_marginal,
    "elbo": elbo,
    "kl": kl,
    "log_prob_of_mean": log_prob_of_mean,
    "log_prob_moment_matched": log_prob_moment_matched,
    "chi_square_tail": chi_square_tail,
    "reconstruction_error": reconstruction_error,
    "conditional_log_prob": conditional_log_prob,
}


def score_named(name: str) -> Score:
    """Score function of a name in `SCORES`."""
    if name not in SCORES:
        raise ImprobableError(f"No score is called {name!r}. Use one of {', '.join(SCORES)}.")
    return SCORES[name]


def standard_error(score: Score, draws: Draws) -> Tensor:
    r"""Monte-Carlo standard error of a score averaged over members, nats, shape (n,).

    The jackknife over antithetic pairs of draws. NaN with fewer than two pairs.
    """
    _ = score(draws)
    pairs = [[i, i + 1] for i in range(0, len(draws.noise) - 1, 2)]
    if len(pairs) < 2:
        return torch.full((len(draws.batch),), float("nan"), dtype=draws.batch.values.dtype)
    left = torch.stack([score(draws.without(pair)).mean(dim=0) for pair in pairs])
    share = (len(pairs) - 1) / len(pairs)
    return (share * ((left - left.mean(dim=0)) ** 2).sum(dim=0)).sqrt()


@torch.no_grad()
def enough_draws(score: Score, draws: Draws) -> int:
    r"""Draws that bring the standard error to a hundredth of the spread between rows.

    .. math:: L = L_0 \, (100 \, \mathrm{se} / s)^2

    rounded up to a power of two from 2 to 64, where se is the median standard
    error by the :math:`L_0` draws at hand and s the standard deviation of the
    scores by their quartiles.

    Parameters
    ----------
    score : Score
    draws : Draws
        Of rows like those to be scored, 4 draws or more.
    """
    error = float(standard_error(score, draws).median())
    low, high = score(draws).mean(dim=0).quantile(draws.batch.values.new_tensor([0.25, 0.75]))
    spread = float(high - low) / IQR_OF_NORMAL
    if not spread > 0.0 or not error >= 0.0:
        return MOST_DRAWS
    wanted = len(draws.noise) * (error / (SHARE_OF_SPREAD * spread)) ** 2
    return int(2 ** math.ceil(math.log2(min(max(wanted, 2.0), MOST_DRAWS))))


def foreseen(draws: Draws) -> Tensor:
    r"""What the model expects log p(x given z) to be of codes like these, shape (n,), nats.

    .. math:: -\sum_t H\big(p(x_t \mid x_{<t}, z)\big)

    Of parts that are judged given those before them, the difference from it has
    mean 0 in rows that the model itself makes, however many parts there are.
    """
    terms = [distribution.entropy() for distribution in draws.decoded.distributions]
    found: Tensor = -(torch.cat(terms, dim=-1) * draws.batch.observed).sum(-1).mean(dim=(0, 1))
    return found


def code_margins(draws: Draws) -> Tensor:
    """Log probability of each part's most probable code, and that code, shape (n, 2, n_parts).

    Of the mean probability over members and draws.
    """
    (codes,) = draws.decoded.distributions
    assert isinstance(codes, Codes)
    log_prob = codes.logits.log_softmax(-1).flatten(0, 1).logsumexp(0)
    best = log_prob.max(dim=-1)
    n_terms = codes.logits.shape[0] * codes.logits.shape[1]
    return torch.stack([best.values - math.log(n_terms), best.indices.to(best.values)], dim=1)


def shares(draws: Draws) -> Tensor:
    """Each column's part of `expected_log_prob`, mean over members, shape (n, n_columns), nats."""
    parts = draws.log_prob_parts.mean(dim=(0, 1))
    out = draws.batch.offsets.clone()
    return out.index_add_(1, draws.vae.part_column, parts)
