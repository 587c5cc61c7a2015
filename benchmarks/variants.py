"""What the ablation compares: the default detector with one thing changed, each under its name.

A change is of constructor arguments, of a constant or function inside the library, of the kinds of
columns, or of the one detector into several whose scores are put together. Names read
`what=value`; what is changed inside the library has the names of `INTERNAL`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch import distributions as td

from improbable import (
    CalibrationWarning,
    Real,
    VAEDetector,
    fitting,
    held_out,
    priors,
    settings,
    training,
    trust,
)
from improbable.data import kinds, numeric
from improbable.distributions import DiagonalNormal
from improbable.likelihoods import Normal
from improbable.objective import elbo
from improbable.vae import VAE, Batch

MOST_RANKED = 8_000  # training rows that a score becomes a rank among
COMPONENTS = (1, 2, 4, 8, 16, 32)
LEAST_VARIANCE = 1e-3
NEVER = 10**9
OUTLIERS = 5.0  # standard deviation of numbers that are outliers, in encoded units


BASE: dict[str, dict[str, Any]] = {
    "one-class": {},
    "contaminated": {"contamination": "unknown"},
}


@dataclass(frozen=True)
class Choice:
    """The default with one thing changed.

    Attributes
    ----------
    arguments : dict
        Constructor arguments.
    patched : tuple of (module, str, object), optional
        Where a name of the library is looked up, the name, and what it stands for during the fit.
    columns : callable, optional
        From training rows to the argument `columns`.
    members : tuple of dict
        Further arguments of each of several detectors.
    as_ranks : bool
        Whether the detectors' scores are put together as ranks instead of in nats.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    patched: tuple[Any, str, Any] | None = None
    columns: Callable[[np.ndarray], dict[int, Any]] | None = None
    members: tuple[dict[str, Any], ...] = ({},)
    as_ranks: bool = False

    def fit(self, train: np.ndarray, seed: int, setting: str = "one-class") -> list[VAEDetector]:
        """Return the fitted detectors, mostly one."""
        given = {"random_state": seed, **BASE[setting], **self.arguments}
        if self.columns:
            given["columns"] = self.columns(train)
        copies = warnings.catch_warnings(action="ignore", category=CalibrationWarning)
        with self.changed(), copies:  # of which a bootstrap has many
            return [VAEDetector(**{**given, **more}).fit(train) for more in self.members]

    def changed(self) -> AbstractContextManager[Any]:
        """Return a context in which the library is changed."""
        return patch.object(*self.patched) if self.patched else nullcontext()


@dataclass(frozen=True)
class Ranking:
    """What rows are ranked by: scores of fitted detectors, put together in nats or as ranks."""

    sources: tuple[tuple[VAEDetector, str], ...]
    as_ranks: bool = False

    def __call__(self, rows: np.ndarray, train: np.ndarray) -> np.ndarray:
        """Return a number a row: the higher, the more normal."""
        found = self.scores(rows)
        if not self.as_ranks:
            return found.mean(axis=0)
        return mean_ranks(found, self.scores(train[:: math.ceil(len(train) / MOST_RANKED)]))

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Return the scores, nats, a line each."""
        return np.array([one.reconstruction_probability(rows, name) for one, name in self.sources])


def mean_ranks(found: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Order rows by their mean rank among known rows; rows of one mean rank by their mean score.

    Without the second, all rows that score below every known row would tie.
    """
    found, known = np.nan_to_num(found), np.nan_to_num(known)
    ranks = [
        np.searchsorted(np.sort(line), row, side="right")
        for line, row in zip(known, found, strict=True)
    ]
    both = np.column_stack([np.sum(ranks, axis=0), found.mean(axis=0)])
    return np.unique(both, axis=0, return_inverse=True)[1].ravel().astype(np.float64)


def as_reals(rows: np.ndarray) -> dict[int, Real]:
    """Take every column of more than two values as real: none on a log scale."""
    return {i: Real() for i, column in enumerate(rows.T) if len(np.unique(column)) > 2}


def no_start(vae: VAE, rows: Batch) -> None:
    """Leave a fresh VAE at its random weights."""


def weighted_elbo(
    vae: VAE, batch: Batch, visible: Tensor, noise: Tensor, *rest: Any, factor: float
) -> Tensor:
    """Evidence lower bound with `factor` times the weight of its KL term."""
    weight, *others = rest or (1.0,)
    return elbo(vae, batch, visible, noise, factor * weight, *others)


def beta_nll(
    vae: VAE, batch: Batch, visible: Tensor, noise: Tensor, *_: Any, beta: float = 0.5
) -> Tensor:
    """Weigh each Normal number's log prob by its variance to the power `beta`, held constant.

    Seitzer et al., "On the Pitfalls of Heteroscedastic Uncertainty Estimation", ICLR 2022, eq. 5.
    The objective of training alone: held-out rows are judged, without gradients, by the ELBO.
    """
    if not torch.is_grad_enabled():
        return elbo(vae, batch, visible, noise)
    posterior = vae.encode(batch.values, visible)
    decoded = vae.decode(posterior.mean + posterior.stddev * noise)
    pieces = decoded.log_prob_blocks(batch.values).split([b.n_parts for b in decoded.blocks], -1)
    weighted = [
        piece * one.variance.detach() ** beta if isinstance(block, Normal) else piece
        for piece, block, one in zip(pieces, decoded.blocks, decoded.distributions, strict=True)
    ]
    return (torch.cat(weighted, -1) * batch.observed).sum(-1) - vae.prior.kl(posterior)


def cell_mixture(
    vae: VAE, batch: Batch, visible: Tensor, noise: Tensor, *_: Any, share: float = 0.1
) -> Tensor:
    """Let any number be an outlier of its own: drawn, with probability `share`, from N(0, 5^2).

    Eduardo et al., "Robust Variational Autoencoders for Outlier Detection and Repair of
    Mixed-Type Data", AISTATS 2020, with the indicators summed out. Scores know of no outliers.
    """
    posterior = vae.encode(batch.values, visible)
    decoded = vae.decode(posterior.mean + posterior.stddev * noise)
    pieces = decoded.log_prob_blocks(batch.values).split([b.n_parts for b in decoded.blocks], -1)
    values = batch.values.split([b.event_size for b in decoded.blocks], -1)
    mixed = [
        torch.logaddexp(
            piece + math.log1p(-share), td.Normal(0.0, OUTLIERS).log_prob(x) + math.log(share)
        )
        if isinstance(block, Normal)
        else piece
        for piece, block, x in zip(pieces, decoded.blocks, values, strict=True)
    ]
    return (torch.cat(mixed, -1) * batch.observed).sum(-1) - vae.prior.kl(posterior)


@dataclass(frozen=True)
class MixturePrior:
    """p(z) as a mixture of a few Gaussians of any shape, one `MixtureSameFamily` a member."""

    mixtures: tuple[td.MixtureSameFamily, ...]

    def kl(self, posterior: DiagonalNormal) -> Tensor:
        """Upper bound by one component: the least of KL(q to it) - log of its weight."""
        pairs = zip(self.mixtures, posterior.mean, posterior.stddev.square(), strict=True)
        return torch.stack([crossed(*pair) for pair in pairs]) - posterior.as_torch().entropy()

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density, nats."""
        return torch.stack([one.log_prob(of) for one, of in zip(self.mixtures, z, strict=True)])

    def sample(self, member: int, noise: Tensor, uniform: Tensor) -> Tensor:
        """Return a component chosen by `uniform`, moved and stretched by `noise`."""
        mixture = self.mixtures[member]
        chosen = torch.searchsorted(mixture.mixture_distribution.probs.cumsum(0), uniform)
        chosen = chosen.clamp(max=len(mixture.mixture_distribution.probs) - 1)
        normals = mixture.component_distribution
        return normals.loc[chosen] + (normals.scale_tril[chosen] @ noise.unsqueeze(-1)).squeeze(-1)


def crossed(mixture: td.MixtureSameFamily, loc: Tensor, variance: Tensor) -> Tensor:
    """Cross entropy of each N(loc, variance) and the component nearest to it, weight included."""
    normals = mixture.component_distribution
    spread = 0.5 * variance @ normals.precision_matrix.diagonal(dim1=-2, dim2=-1).mT
    log_prob = normals.log_prob(loc.unsqueeze(1)) + mixture.mixture_distribution.logits
    return (spread - log_prob).amin(dim=-1)


def mixture_prior(posterior: DiagonalNormal) -> MixturePrior:
    """Fit a mixture to the posterior means of each member."""
    pairs = zip(posterior.mean, posterior.stddev.square(), strict=True)
    return MixturePrior(tuple(fitted_mixture(loc.numpy(), own.numpy()) for loc, own in pairs))


def fitted_mixture(loc: np.ndarray, variance: np.ndarray) -> td.MixtureSameFamily:
    """Fit by BIC; each component is widened by the mean variance of its rows' posteriors.

    Without it, a latent dimension that tells nothing would be a component of no width.
    """
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        fits = [
            GaussianMixture(number, reg_covar=LEAST_VARIANCE, random_state=0).fit(loc)
            for number in COMPONENTS
            if number <= len(loc)
        ]
    best = min(fits, key=lambda fit: fit.bic(loc))
    shares = best.predict_proba(loc)
    own = shares.T @ variance / np.maximum(shares.sum(axis=0), 1e-9)[:, None]
    widths = torch.tensor(best.covariances_) + torch.diag_embed(torch.tensor(own))
    return td.MixtureSameFamily(
        td.Categorical(probs=torch.tensor(best.weights_)),
        td.MultivariateNormal(torch.tensor(best.means_), widths),
    )


def inside(module: Any, name: str, value: Any) -> Choice:
    return Choice(patched=(module, name, value))


def trained(**changes: Any) -> Choice:
    """Change what the constructor leaves alone of the training's settings."""
    return inside(settings, "TrainConfig", partial(training.TrainConfig, **changes))


INTERNAL = {
    "mask_rate": training.TrainConfig.mask_rate,
    "kl_weight": 1,
    "train_clip": training.WINSOR,
    "scale_floor": numeric.SCALE_FLOOR,
    "kernel_scale": priors.KERNEL_SCALE,
    "kernels": held_out.PRIOR_ROWS,
    "trusted_share": trust.TRUSTED_SHARE,
    "knee": kinds.KNEE,
}
SIZES = tuple({"latent_dim": size, "n_members": 1} for size in (4, 16))
CHOICES: dict[str, Choice] = {
    "default": Choice(),
    **{f"random_state={seed}": Choice({"random_state": seed}) for seed in (101, 102)},
    **{f"latent_dim={size}": Choice({"latent_dim": size}) for size in (2, 4, 8, 12, 32)},
    **{f"n_members={number}": Choice({"n_members": number}) for number in (1, 4)},
    "sizes=4,16:nats": Choice(members=SIZES),
    "sizes=4,16:ranks": Choice(members=SIZES, as_ranks=True),
    "hidden=64,64": Choice({"hidden": (64, 64)}),
    "hidden=128,128": Choice({"hidden": (128, 128)}),
    "hidden=256,256": Choice({"hidden": (256, 256)}),
    "linear_start=off": inside(fitting, "linear_start", no_start),
    **{f"max_steps={number}": Choice({"max_steps": number}) for number in (40, 300)},
    "early_stopping=off": trained(patience=NEVER),
    **{f"batch_size={size}": Choice({"batch_size": size}) for size in (64, 256)},
    **{f"learning_rate={rate:g}": Choice({"learning_rate": rate}) for rate in (1e-3, 1e-2)},
    **{f"mask_rate={rate:g}": trained(mask_rate=rate) for rate in (0.0, 0.5)},
    **{
        f"kl_weight={weight:g}": inside(training, "elbo", partial(weighted_elbo, factor=weight))
        for weight in (0.5, 2.0)
    },
    "objective=beta_nll": inside(training, "elbo", beta_nll),
    "train_clip=4": inside(training, "WINSOR", 4.0),
    "train_clip=off": inside(training, "WINSOR", 1e9),
    "columns=real": Choice(columns=as_reals),
    "likelihood=normal_per_column": Choice({"likelihood": "normal_per_column"}),
    "likelihood=normal_fixed": Choice({"likelihood": "normal_fixed"}),
    "likelihood=student_t": Choice({"likelihood": "student_t"}),
    **{
        f"scale_floor={floor:g}": inside(numeric, "SCALE_FLOOR", floor)
        for floor in (0.05, 0.2, 0.3)
    },
    "prior=normal": Choice({"prior": "normal"}),
    "prior=gaussian_mixture": inside(held_out, "aggregated_posterior", mixture_prior),
    **{
        f"kernel_scale={scale:g}": inside(priors, "KERNEL_SCALE", scale)
        for scale in (0.4, 0.8, 1.0)
    },
    **{f"kernels={number}": inside(held_out, "PRIOR_ROWS", number) for number in (1_024, 8_192)},
    **{f"n_draws={number}": Choice({"n_draws": number}) for number in (2, 16)},
}
CONTAMINATED: dict[str, Choice] = {
    "contamination=auto": Choice({"contamination": "auto"}),
    **{
        f"trusted_share={share:g}": inside(trust, "TRUSTED_SHARE", share)
        for share in (0.5, 0.7, 0.8, 0.9)
    },
    "knee=off": inside(kinds, "KNEE", 1e9),
    "objective=cell_mixture": inside(training, "elbo", cell_mixture),
    "prior=aggregated": Choice({"prior": "aggregated"}),
}
TOGETHER = {
    "ranks:expected_log_prob+kl": ("expected_log_prob", "kl"),
    "ranks:elbo+conditional_log_prob": ("elbo", "conditional_log_prob"),
}
