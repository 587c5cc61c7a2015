"""A closed-form start: probabilistic PCA of the training rows, written into a VAE.

Tipping and Bishop (1999): with W from the leading eigenvectors of the
covariance, x = W z + noise has the posterior mean M^-1 W' (x - mean). Both
maps are linear, so they fit into the linear paths of encoder and decoder, and
training starts at the best linear model instead of at noise.
"""

import warnings
from typing import cast

import numpy as np
import scipy
import torch
from torch import Tensor

from improbable.likelihoods import (
    SCALE_CEILING,
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Likelihood,
    Normal,
    StudentT,
)
from improbable.networks import Network
from improbable.priors import LearnedMixture
from improbable.vae import VAE, Batch

START_ROWS = 20_000
COMPONENTS, GROUPED_ROWS, ROUNDS = 64, 4_096, 20
APART = 0.1
WIDE = 1_500
SHRINK = 0.05


@torch.no_grad()
def linear_start(vae: VAE, rows: Batch) -> None:
    """Write the probabilistic PCA of `rows` into the linear paths, if any, of a fresh VAE."""
    if vae.looks_back:
        return
    encoder, decoder = cast(Network, vae.encoder), cast(Network, vae.decoder)
    x = rows.values[:START_ROWS].clamp(-10.0, 10.0).double().cpu()
    mean = x.mean(dim=0)
    weights, noise = principal_axes(x - mean, vae.latent_dim)
    inverse = torch.linalg.inv(weights @ weights.T + noise * torch.eye(len(weights)).double())
    project = weights.T @ inverse
    scale = (noise * inverse.diagonal()).clamp(min=1e-4, max=1.0).sqrt()
    k, size, bias = vae.latent_dim, len(mean), encoder.bias
    encoder.linear[:, :size, :k] = project.to(encoder.linear.dtype)
    bias[:, 0, :k] = (-mean @ project).to(bias.dtype)
    bias[:, 0, k:] = scale.log().to(bias.dtype)
    left = (x - mean - ((x - mean) @ project) @ weights).var(dim=0, correction=0)
    _write_decoder(vae, decoder, mean, weights, left.sqrt())


def principal_axes(centered: Tensor, latent_dim: int) -> tuple[Tensor, Tensor]:
    """Loadings of shape (latent_dim, event_size) and the noise variance left over.

    Of wide rows only the first `WIDE` count: the products between so many rows
    have the same leading eigenvalues as the covariance of their columns.
    """
    wide = centered.shape[1] > WIDE
    centered = centered[:WIDE] if wide else centered
    products = centered @ centered.T if wide else centered.T @ centered
    values, vectors = torch.linalg.eigh(products / max(len(centered), 1))
    values, vectors = values.flip(0).clamp(min=0.0), vectors.flip(1)
    if wide:
        vectors = centered.T @ vectors[:, :latent_dim]
        vectors = vectors / vectors.norm(dim=0).clamp(min=1e-12)
        values = torch.cat([values, values.new_zeros(centered.shape[1] - len(values))])
    rest = values[latent_dim:]
    noise = rest.mean().clamp(min=1e-3) if len(rest) else torch.tensor(1e-2).double()
    strength = (values[:latent_dim] - noise).clamp(min=0.0).sqrt()
    weights = torch.zeros(latent_dim, centered.shape[1], dtype=torch.float64)
    weights[: len(strength)] = (vectors[:, : len(strength)] * strength).T
    return weights, noise


@torch.no_grad()
def mixture_start(vae: VAE, rows: Batch, rng: np.random.Generator) -> None:
    """Give a VAE a mixture to learn as prior, a component at each group of its encodings.

    Groups are those of k-means, so that no component begins without rows. A
    little noise tells components apart where all encodings are alike.
    """
    rows = rows[:GROUPED_ROWS]
    posterior = vae.encode(rows.values, rows.observed)
    within = posterior.stddev.square().mean(dim=1)
    vae.mixture = LearnedMixture(vae.n_members, COMPONENTS, vae.latent_dim)
    found = [_groups(points, COMPONENTS, rng) for points in posterior.mean]
    weight, loc, spread = (torch.stack(part) for part in zip(*found, strict=True))
    scale = (spread + within.unsqueeze(1)).sqrt()
    noise = torch.as_tensor(rng.standard_normal(loc.shape))
    vae.mixture.start(weight, loc + APART * scale * noise, scale)


def _groups(points: Tensor, n_groups: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
    """Shares, centers and variances of groups of points, by k-means."""
    points = points.double()
    with warnings.catch_warnings():  # groups without points keep their places
        warnings.simplefilter("ignore")
        centers, group = scipy.cluster.vq.kmeans2(
            points.numpy(), n_groups, ROUNDS, minit="++", rng=rng
        )
    member = torch.nn.functional.one_hot(torch.as_tensor(group).long(), n_groups).double()
    loc = torch.as_tensor(centers)
    count = member.sum(dim=0).clamp(min=1.0).unsqueeze(1)
    variance = member.T @ (points - loc[group]).square() / count
    return member.mean(dim=0), loc, variance


def _write_decoder(
    vae: VAE, decoder: Network, mean: Tensor, weights: Tensor, left: Tensor
) -> None:
    entry = param = 0
    bias = decoder.bias
    for block in vae.likelihood.blocks:
        entries = slice(entry, entry + block.event_size)
        linear, offset = _block_start(block, mean[entries], weights[:, entries], left[entries])
        params = slice(param, param + linear.shape[1])
        decoder.linear[:, :, params] = linear.to(decoder.linear.dtype)
        bias[:, 0, params] = offset.to(bias.dtype)
        vae.tied_params[:, 0, params] = offset.to(bias.dtype)
        entry, param = entry + block.event_size, param + block.param_size


def _block_start(
    block: Likelihood, mean: Tensor, weights: Tensor, left: Tensor
) -> tuple[Tensor, Tensor]:
    """Weights and biases of a block's raw outputs; none for families without a linear start."""
    if isinstance(block, Bernoulli | ContinuousBernoulli):
        p = mean.clamp(1e-4, 1 - 1e-4)
        return weights / (p * (1 - p)).clamp(min=SHRINK), p.logit()
    if isinstance(block, Categorical):
        p = mean.clamp(1e-4, 1.0)
        return weights / p.clamp(min=SHRINK), p.log()
    if isinstance(block, Normal | StudentT | DiscretizedLogistic):
        if block.param_size == block.event_size:
            return weights, mean
        floors = torch.tensor(block.floors, dtype=torch.float64)
        if isinstance(block, Normal) and block.scale == "shared":
            left, floors = left.square().mean().sqrt().expand_as(left), floors.max()
        share = (left.clamp(min=1e-6) / floors).log() / (SCALE_CEILING / floors).log()
        raw = share.clamp(0.05, 0.95).logit()
        return torch.cat([weights, torch.zeros_like(weights)], 1), torch.cat([mean, raw])
    return torch.zeros(len(weights), 0).double(), torch.zeros(0).double()
