"""Rows out of the model: from the prior, or of some cells given the others."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from improbable.priors import Prior
from improbable.scores import draw
from improbable.vae import VAE, Batch

Floats = NDArray[np.float64]
FILL_ROUNDS = 10


@torch.no_grad()
def sample_prior(vae: VAE, prior: Prior, n: int, member: int, rng: np.random.Generator) -> Floats:
    """Encoded rows of one member: z from the prior, x from p(x given z) and not only its mean.

    Parameters
    ----------
    vae : VAE
    prior : Prior
        p(z).
    n : int
        Rows.
    member : int
        Which member of the ensemble.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n, event_size)
    """
    noise = torch.as_tensor(rng.standard_normal((n, vae.latent_dim)), dtype=vae.low.dtype)
    z = prior.sample(member, noise, torch.as_tensor(rng.random(n)))
    drawn = vae.decode(z.expand(vae.n_members, -1, -1)).sample(rng)[member]
    encoded: Floats = drawn.cpu().numpy().astype(np.float64)
    return encoded


@dataclass(frozen=True)
class Mixture:
    """p(x given the visible cells) as a weighted mixture over members and draws.

    Attributes
    ----------
    weights : ndarray of shape (n_components, n)
        Importance weights, adding up to 1 for each row.
    mean, variance : ndarray of shape (n_components, n, event_size)
        Of each encoded entry in each component.
    """

    weights: Floats
    mean: Floats
    variance: Floats

    @property
    def expected(self) -> Floats:
        """Mean of each encoded entry, shape (n, event_size)."""
        found: Floats = np.einsum("cn,cne->ne", self.weights, self.mean)
        return found


@torch.no_grad()
def conditional(vae: VAE, batch: Batch, visible: Tensor, noise: Tensor) -> Mixture:
    r"""Predictive distribution of all cells given the visible ones.

    .. math:: p(x \mid x_v) \approx \sum_l w_l \, p(x \mid z_l), \qquad
        w_l \propto p(x_v \mid z_l) \, p(z_l) / q(z_l \mid x_v)

    Self-normalized importance weights make this the model's own conditional
    and not only the encoder's guess of it (Mattei and Frellsen, "MIWAE", 2019,
    eq. 11). p(z) is the standard Normal that training uses.

    Parameters
    ----------
    vae : VAE
    batch : Batch
        n rows.
    visible : Tensor of shape (n, n_parts)
        1 where a part may be looked at.
    noise : Tensor of shape (n_draws, latent_dim)
        Shared standard Normal draws.
    """
    filled, seen = fill_in(vae, batch, visible)
    draws = draw(vae, replace(batch, values=filled), noise, seen)
    log_weights = draws.decoded.log_prob(batch.values, visible) + draws.log_ratio
    weights = torch.softmax(log_weights.flatten(0, 1), dim=0)
    mean = draws.decoded.mean.flatten(0, 1)
    variance = draws.decoded.variance.flatten(0, 1)
    return Mixture(weights.cpu().numpy(), mean.cpu().numpy(), variance.cpu().numpy())


def fill_in(vae: VAE, batch: Batch, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Rows whose hidden entries are what the visible ones let the model expect.

    Encoding and decoding in turn, hidden entries replaced each time, moves
    them to the conditional mean (Rezende et al., 2014, appendix F); for a
    linear model it is the exact one. Returns the rows and a mask of ones.
    """
    kept = visible[:, vae.entry_part]
    values, everything = batch.values * kept, torch.ones_like(visible)
    seen = visible
    for _ in range(FILL_ROUNDS):
        mean = vae.decode(vae.encode(values, seen).mean).mean.mean(dim=0)
        values = batch.values * kept + mean * (1.0 - kept)
        seen = everything
    return values, everything


@torch.no_grad()
def reconstruction(vae: VAE, batch: Batch, noise: Tensor) -> Floats:
    """Decoded mean over members and draws, from the posterior of the whole row."""
    found: Floats = draw(vae, batch, noise).mean.mean(dim=0).cpu().numpy()
    return found
