"""A VAE whose log p(x) and posterior are known: probabilistic PCA."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from improbable.data.parts import Part
from improbable.likelihoods import SCALE_CEILING
from improbable.vae import VAE, Batch, assemble_vae

FLOOR = 0.05


def plain_codec(parts):
    """What a network needs to know of a table whose every column has one part."""
    names = tuple(f"x{i}" for i in range(len(parts)))
    columns = np.arange(len(parts))
    return SimpleNamespace(
        network="mlp", shape=(), parts=parts, part_columns=columns, names=names, span=None
    )


@dataclass(frozen=True)
class Oracle:
    """x = W z + bias + sigma noise, with orthogonal rows of W, so that q(z|x) is exact."""

    vae: VAE
    weights: np.ndarray
    bias: np.ndarray
    sigma: float

    @property
    def covariance(self) -> np.ndarray:
        return self.weights.T @ self.weights + self.sigma**2 * np.eye(len(self.bias))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Exact log p(x), by scipy."""
        return multivariate_normal(self.bias, self.covariance).logpdf(x)

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return rng.multivariate_normal(self.bias, self.covariance, size=n)


def oracle(
    *, sigma: float = 0.5, posterior_scale: float = 1.0, posterior_shift: float = 0.0
) -> Oracle:
    """Two latent dimensions, five columns; the posterior can be made wrong on purpose."""
    rng = np.random.default_rng(3)
    axes, _ = np.linalg.qr(rng.normal(size=(5, 2)))
    weights = (axes * np.array([2.0, 0.7])).T
    bias = rng.normal(size=5)
    parts = [Part("normal", 1, FLOOR, -np.inf, np.inf)] * 5
    vae = assemble_vae(plain_codec(parts), 2, (), (), 1).double()
    precision = weights @ weights.T / sigma**2 + np.eye(2)
    project = weights.T @ np.linalg.inv(precision) / sigma**2
    raw = np.log(sigma / FLOOR) / np.log(SCALE_CEILING / FLOOR)
    with torch.no_grad():
        vae.encoder.linear[0, :5, :2] = tensor(project)
        vae.encoder.layers[-1].bias[0, 0, :2] = tensor(-bias @ project + posterior_shift)
        scale = posterior_scale * np.sqrt(np.diag(np.linalg.inv(precision)))
        vae.encoder.layers[-1].bias[0, 0, 2:] = tensor(np.log(scale))
        vae.decoder.linear[0, :, :5] = tensor(weights)
        vae.decoder.layers[-1].bias[0, 0, :5] = tensor(bias)
        vae.decoder.layers[-1].bias[0, 0, 5:] = float(np.log(raw / (1.0 - raw)))
    return Oracle(vae, weights, bias, sigma)


def tensor(values: np.ndarray) -> Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float64)


def batch_of(x: np.ndarray, observed: np.ndarray | None = None) -> Batch:
    """Rows as tensors; hidden cells are zero."""
    seen = np.ones_like(x) if observed is None else observed.astype(float)
    return Batch(tensor(x * seen), tensor(seen), tensor(np.zeros_like(x)))
