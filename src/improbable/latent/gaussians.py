"""Diagonal Gaussians in latent space: the posteriors of rows, and how far apart they are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from improbable.data.frames import frame_library, write_frame
from improbable.data.raw import RawColumn

Floats = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Posterior:
    """q(z given x) of each row: a Gaussian with independent dimensions.

    Attributes
    ----------
    loc, scale : ndarray of shape (n_samples, latent_dim)
        Mean and standard deviation.
    library : str
        What `to_frame` gives unless told otherwise.
    row_labels : pandas.Index, optional
        Index of the rows, which a pandas data frame of them has.
    space : str
        Name of the latent space, one for each encoder; empty where it is not known.
    """

    loc: Floats
    scale: Floats
    library: str = "pyarrow"
    row_labels: Any = None
    space: str = ""

    def __len__(self) -> int:
        return len(self.loc)

    def kl_to_prior(self) -> Floats:
        r"""KL divergence from a standard Normal, nats, shape (n_samples,).

        .. math:: \tfrac12 \sum_j (\mu_j^2 + s_j^2 - 1 - 2 \log s_j)
        """
        terms = self.loc**2 + self.scale**2 - 1.0 - 2.0 * np.log(self.scale)
        return 0.5 * np.asarray(terms.sum(axis=1), dtype=np.float64)

    def __repr__(self) -> str:
        return f"<Posterior of {len(self)} rows, {self.loc.shape[1]} latent dimensions>"

    def to_frame(self, library: str | None = None) -> Any:
        """Table with columns loc_0.. and scale_0..; `library` is pandas, polars or pyarrow."""
        columns = {
            f"{side}_{j}": RawColumn(values[:, j], "number", "Float64")
            for side, values in (("loc", self.loc), ("scale", self.scale))
            for j in range(values.shape[1])
        }
        return self.table(columns, library)

    def table(self, columns: dict[str, RawColumn], library: str | None = None) -> Any:
        """Table with a line for each row, of the library that the rows came in unless told."""
        return write_frame(columns, frame_library(library or self.library), self.row_labels)


def log_density(z: Floats, items: Posterior) -> Floats:
    r"""Log density of each point under each Gaussian, nats, shape (n_points, n_items).

    .. math:: \log q(z \mid x_i) = -\tfrac12 \sum_j \big( (z_j - \mu_{ij})^2 / s_{ij}^2
              + 2 \log s_{ij} + \log 2\pi \big)

    Linear in (z, z^2), so it is one matrix product. The higher, the closer.
    """
    center = items.loc.mean(axis=0)
    shifted, items = z - center, _moved(items, center)
    return np.hstack([shifted, shifted**2]) @ natural(items)[0].T + _log_scaling(items)


def kl_divergence(first: Posterior, second: Posterior) -> Floats:
    r"""KL(first to second) of every pair, nats, shape (n_first, n_second); 0 when alike.

    .. math:: \tfrac12 \sum_j \Big( \frac{s_j^2 + (\mu_j - m_j)^2}{t_j^2} - 1
              + 2 \log \frac{t_j}{s_j} \Big)

    Linear in the moments of the first, so it is one matrix product.
    """
    center = second.loc.mean(axis=0)
    first, second = _moved(first, center), _moved(second, center)
    crossed = moments(first)[0] @ natural(second)[0].T + _log_scaling(second)
    return np.maximum(-_entropy(first)[:, None] - crossed, 0.0)


def jeffreys(first: Posterior, second: Posterior) -> Floats:
    """KL both ways, added, of every pair: nats, shape (n_first, n_second)."""
    return kl_divergence(first, second) + kl_divergence(second, first).T


def wasserstein(first: Posterior, second: Posterior) -> Floats:
    r"""2-Wasserstein distance of every pair, in units of z, shape (n_first, n_second).

    .. math:: \sqrt{\textstyle\sum_j (\mu_j - m_j)^2 + (s_j - t_j)^2}
    """
    sides = (np.hstack([side.loc, side.scale]) for side in (first, second))
    return _distances(*sides)


def euclidean(first: Posterior, second: Posterior) -> Floats:
    """Distance between the means of every pair, in units of z, shape (n_first, n_second)."""
    return _distances(first.loc, second.loc)


def bhattacharyya(first: Posterior, second: Posterior) -> Floats:
    r"""Bhattacharyya distance of every pair, nats, shape (n_first, n_second).

    .. math:: \tfrac14 \sum_j \frac{(\mu_j - m_j)^2}{s_j^2 + t_j^2}
              + \tfrac12 \sum_j \log \frac{s_j^2 + t_j^2}{2 s_j t_j}
    """
    out = np.zeros((len(first), len(second)))
    for mu, s, m, t in zip(first.loc.T, first.scale.T, second.loc.T, second.scale.T, strict=True):
        spread = np.add.outer(s**2, t**2)
        out += 0.25 * np.subtract.outer(mu, m) ** 2 / spread
        out += 0.5 * np.log(spread / (2.0 * np.multiply.outer(s, t)))
    return out


def moments(q: Posterior) -> tuple[Floats, Floats]:
    """Moments (E z, E z^2), shape (n, 2 latent_dim), and negative entropy, shape (n,)."""
    second = q.loc**2 + q.scale**2
    return np.hstack([q.loc, second]), -np.asarray((np.log(q.scale) + 0.5).sum(axis=1))


def natural(q: Posterior) -> tuple[Floats, Floats]:
    """Natural parameters (mu / s^2, -1 / 2 s^2), shape (n, 2 latent_dim), and log partition."""
    precision = q.scale**-2
    partition = (0.5 * q.loc**2 * precision + np.log(q.scale)).sum(axis=1)
    return np.hstack([q.loc * precision, -0.5 * precision]), np.asarray(partition)


def from_moments(mean: Floats) -> Posterior:
    """Gaussian of given moments."""
    loc, second = np.hsplit(mean, 2)
    return Posterior(loc, np.sqrt(np.maximum(second - loc**2, 1e-12 * second)))


def from_natural(mean: Floats) -> Posterior:
    """Gaussian of given natural parameters."""
    first, second = np.hsplit(mean, 2)
    return Posterior(-0.5 * first / second, np.sqrt(-0.5 / second))


def _moved(items: Posterior, center: Floats) -> Posterior:
    """Items about a center of their own: sums of squares far from 0 lose what sets them apart."""
    return Posterior(items.loc - center, items.scale)


def _log_scaling(items: Posterior) -> Floats:
    """What a log density holds besides the terms in z, shape (n_items,)."""
    terms = (items.loc / items.scale) ** 2 + 2.0 * np.log(items.scale) + np.log(2.0 * np.pi)
    return -0.5 * np.asarray(terms.sum(axis=1), dtype=np.float64)


def _entropy(items: Posterior) -> Floats:
    """Differential entropy, nats, shape (n_items,)."""
    terms = np.log(items.scale) + 0.5 * (1.0 + np.log(2.0 * np.pi))
    return np.asarray(terms.sum(axis=1), dtype=np.float64)


def _distances(first: Floats, second: Floats) -> Floats:
    center = second.mean(axis=0)
    first, second = first - center, second - center
    squared = (first**2).sum(1)[:, None] + (second**2).sum(1) - 2.0 * first @ second.T
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)), dtype=np.float64)
