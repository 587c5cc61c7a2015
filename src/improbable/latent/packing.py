"""Many Gaussians in little memory: float32 features to search by, and the bits they lose.

Half of what an item needs for its exact density is already in the float32 features of a fast
search. Only the other half is stored beside them, so that both together take no more than the
float64 posterior they stand for.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from improbable.latent.gaussians import Floats, Posterior
from improbable.latent.measures import ROOT

BLOCK = 1 << 16
FAR = 4.0  # standard deviations from zero beyond which centering gains precision
LARGEST = 1e37  # float32 sums below it cannot overflow
UNDERFLOW = 1e-35  # above what products of float32 can lose below their least normal number
Singles = NDArray[np.float32]
Rows = slice | NDArray[np.int64]


@dataclass(frozen=True)
class Question:
    """Queries as features, to be multiplied with those of the items.

    Attributes
    ----------
    features : ndarray of float32 of shape (n_queries, 2 latent_dim + 2)
        w, w^2 + s^2, 1 and `size`, where w is the query's distance from the center.
    size : ndarray of shape (n_queries,)
        Euclidean length of the first 2 latent_dim + 1 of these, rounded up.
    """

    features: Singles
    size: Floats

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Items:
    r"""Gaussians, packed without loss.

    Attributes
    ----------
    head : ndarray of float32 of shape (n_items, 2 latent_dim + 2)
        :math:`(\mu - c) / s^2`, :math:`-1 / 2 s^2`, the log density at c, and `slack`: how far
        rounding can move the product of the others with a `Question` of size 1, in nats.
    tail : ndarray of shape (n_items, 2 latent_dim)
        The bits of loc and scale that `head` lacks, int32; or loc and scale themselves, float64,
        where some item differs from what its head says by more than 31 bits.
    center : ndarray of shape (latent_dim,)
        c, near the means where these are far from zero; it affects speed, never results.
    slack : ndarray of float32 of shape (n_items,)
        Last column of `head` once more, side by side in memory.
    """

    head: Singles
    tail: NDArray[Any]
    center: Floats
    slack: Singles

    def __len__(self) -> int:
        return len(self.head)

    @property
    def latent_dim(self) -> int:
        """Latent dimensions."""
        return len(self.center)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(side.nbytes for side in (self.head, self.tail, self.center, self.slack))

    def take(self, rows: Rows) -> Posterior:
        """Items as they came, float64 to the last bit."""
        tail = self.tail[rows]
        if tail.dtype != np.int32:
            loc, scale = np.hsplit(tail, 2)
            return Posterior(loc, scale)
        near = _precisions(self.head[rows])
        loc_bits, scale_bits = np.hsplit(tail, 2)
        scale = _moved(_near_scale(near), scale_bits)
        return Posterior(_moved(_near_loc(near, scale, self.center), loc_bits), scale)

    def ask(self, query: Posterior) -> Question:
        """Queries as features; their scale is 0 for points."""
        shifted = query.loc - self.center
        with np.errstate(over="ignore"):
            exact = np.hstack([shifted, shifted**2 + query.scale**2, np.ones((len(query), 1))])
            size = np.linalg.norm(exact, axis=1) * (1.0 + 1e-6)
        return Question(_single(np.hstack([exact, size[:, None]])), size)

    def upper(self, rows: Rows, question: Question, width: int) -> Singles:
        r"""Upper bounds of the expected log density, nats, shape (n_queries, width).

        .. math:: E_{z \sim p}[\log q(z \mid x_i)] \le \sum_j \Big( h_{ij} w_j + g_{ij} (w_j^2
                  + s_j^2) \Big) + c_i + \gamma \lVert \cdot \rVert_i \lVert \cdot \rVert_z

        The bound holds in spite of float32: an inner product of n terms is off by at most
        gamma times the lengths of its factors (Higham, Accuracy and Stability of Numerical
        Algorithms, 2002, eq. 3.5, and Cauchy-Schwarz), and its last term adds that. Where
        float32 could overflow the bound is infinite. Past the last item it is minus infinity.
        """
        head, slack = self.head[rows], self.slack[rows]
        out = np.empty((len(question), width), dtype=np.float32)
        _products(question.features, head, out[:, : len(head)])
        with np.errstate(over="ignore", invalid="ignore"):
            size = float(slack.max()) / _gamma(self.latent_dim)
            out[~(question.size * (1.0 + size) < LARGEST)] = np.inf
        out[:, len(head) :] = -np.inf
        return out


def pack(posterior: Posterior, center: Floats | None = None) -> Items:
    """Posterior, packed; the center is chosen where none is given."""
    center = center_of(posterior.loc) if center is None else center
    starts = range(0, len(posterior), BLOCK)
    return join((_packed(posterior, center, slice(s, s + BLOCK)) for s in starts), len(posterior))


def center_of(loc: Floats) -> Floats:
    """Mean of each dimension, or 0 where that is within a few standard deviations of it."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = loc.mean(axis=0)
        return np.where(np.abs(mean) > FAR * loc.std(axis=0), mean, 0.0)


def join(parts: Iterable[Items], n: int) -> Items:
    """Items of several packs that share a center, `n` in all, in their order."""
    head: NDArray[Any] = np.empty(0)
    tail: NDArray[Any] = np.empty(0)
    end = 0
    for part in parts:
        if not end:
            head, tail = (np.empty((n, a.shape[1]), a.dtype) for a in (part.head, part.tail))
        if tail.dtype == np.int32 != part.tail.dtype:
            done = replace(part, head=head[:end], tail=tail[:end])
            tail = np.empty(tail.shape)
            tail[:end] = _plain(done)
        start, end = end, end + len(part)
        head[start:end] = part.head
        tail[start:end] = part.tail if tail.dtype == part.tail.dtype else _plain(part)
    head, tail = head[:end], tail[:end]
    return Items(head, tail, part.center, head[:, -1].copy())


def kept(items: Items, rows: Rows) -> Items:
    """Some of the items."""
    return replace(items, head=items.head[rows], tail=items.tail[rows], slack=items.slack[rows])


def _packed(posterior: Posterior, center: Floats, rows: slice) -> Items:
    # Adding 0 turns -0 into 0, whose bits are those of what is near it.
    loc, scale = (np.ascontiguousarray(s[rows] + 0.0) for s in (posterior.loc, posterior.scale))
    with np.errstate(all="ignore"):
        head = _head(loc, scale, center)
        near = _precisions(head)
        gaps = (_gap(loc, _near_loc(near, scale, center)), _gap(scale, _near_scale(near)))
    lost = np.hstack(gaps)
    fits = lost.astype(np.int32) == lost
    tail = lost.astype(np.int32) if fits.all() else np.hstack([loc, scale])
    return Items(head, tail, center, head[:, -1])


def _plain(items: Items) -> Floats:
    found = items.take(slice(None))
    return np.hstack([found.loc, found.scale])


def _head(loc: Floats, scale: Floats, center: Floats) -> Singles:
    shifted, precision = loc - center, scale**-2
    quadratic, logs = 0.5 * (shifted / scale) ** 2, np.log(scale)
    natural = np.hstack([shifted * precision, -0.5 * precision])
    constant = -(quadratic + logs + ROOT).sum(axis=1)
    # Not |constant|: its parts may cancel, and the error of each counts.
    size = np.hypot(np.linalg.norm(natural, axis=1), (quadratic + np.abs(logs) + ROOT).sum(axis=1))
    slack = size * (1.0 + 1e-6) * _gamma(loc.shape[1]) + UNDERFLOW
    return _single(np.hstack([natural, constant[:, None], slack[:, None]]))


def _gamma(latent_dim: int) -> float:
    """Relative error of a product of 2 latent_dim + 2 rounded terms, with a little to spare."""
    return (2 * latent_dim + 8) * 2.0**-24


def _single(values: Floats) -> Singles:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def _products(left: Singles, right: Singles, out: Singles) -> None:
    """Inner products of all rows of two matrices, in true float32."""
    try:
        trusted = torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # set by several of its interfaces
        trusted = False
    if trusted:
        sides = map(torch.from_numpy, (left, right, out))
        torch.mm(next(sides), next(sides).T, out=next(sides))
    else:  # torch is several times faster, but was told that bfloat16 will do
        np.matmul(left, right.T, out=out)


def _precisions(head: Singles) -> tuple[Floats, Floats]:
    """Natural parameters as stored, but float64."""
    k = head.shape[1] // 2 - 1
    return head[:, :k].astype(np.float64), head[:, k : 2 * k].astype(np.float64)


# Divisions, products and roots are rounded alike on all machines, so these come out the same
# whenever they are computed again.
def _near_scale(near: tuple[Floats, Floats]) -> Floats:
    return np.sqrt(-0.5 / near[1])


def _near_loc(near: tuple[Floats, Floats], scale: Floats, center: Floats) -> Floats:
    return center + near[0] * (scale * scale)


def _gap(exact: Floats, near: Floats) -> NDArray[np.int64]:
    """Distance of two numbers of one sign, in float64 numbers between them."""
    return exact.view(np.int64) - near.view(np.int64)


def _moved(near: Floats, gap: NDArray[np.int32]) -> Floats:
    return (near.view(np.int64) + gap).view(np.float64)
