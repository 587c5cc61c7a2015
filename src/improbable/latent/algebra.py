"""Arithmetic in latent space: mixtures of groups, and directions that steer."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from improbable import arguments
from improbable.data.frames import frame_library, write_frame
from improbable.data.raw import RawColumn
from improbable.errors import DataError, DataWarning
from improbable.latent.gaussians import Floats, Posterior
from improbable.latent.paths import as_point, unit_vector
from improbable.randomness import RandomState, numpy_generator, seed_sequence

LEVEL, ACTIVE = 0.05, 0.01


def combine(plus: Sequence[ArrayLike], minus: Sequence[ArrayLike] = ()) -> Floats:
    """Sum of the points in `plus` less those in `minus`, exact but for one rounding.

    The order changes no bit, and ``combine([a, b], [a])`` equals `b` exactly. Raises DataError
    if shapes differ, or the sum is not finite.
    """
    terms = [np.asarray(z, dtype=np.float64) for z in plus]
    terms += [-np.asarray(z, dtype=np.float64) for z in minus]
    if not terms or len({term.shape for term in terms}) != 1:
        raise DataError("Points of one shape can be added. Give at least one, all alike.")
    stacked = np.stack(terms)
    with np.errstate(over="ignore"):
        if not np.isfinite(np.abs(stacked).sum(axis=0)).all():
            raise DataError("Infinite, missing or huge numbers cannot be added. Leave them out.")
    sums = [math.fsum(entries) for entries in stacked.reshape(len(terms), -1).T.tolist()]
    return np.array(sums).reshape(stacked.shape[1:])


def mix(groups: Sequence[Posterior | ArrayLike], weights: ArrayLike | None = None) -> Floats:
    """Weighted sum of the centers of groups, shape (latent_dim,).

    Weights are taken as they are. Those that add up to 1 give a place between the groups, or
    beyond them where some are negative: (0.5, 0.5) is the first plus half of the difference.
    (-1, 1) is the way from the first to the second; (1, -1, 1) completes an analogy.

    Parameters
    ----------
    groups : sequence of Posterior, or of array-like of shape (latent_dim,)
        A posterior counts with its `center`, a point for itself.
    weights : array-like of shape (n_groups,), optional
        Any real numbers; equal and adding up to 1 unless given.
    """
    n = len(groups)
    shares = (
        np.full(n, 1.0 / max(n, 1))
        if weights is None
        else arguments.numbers("weights", weights).ravel()
    )
    if len(shares) != n:
        raise DataError(f"{n} groups came with {len(shares)} weights. Give one for each.")
    places = [center(g) if isinstance(g, Posterior) else as_point(g) for g in groups]
    return combine([share * place for share, place in zip(shares, places, strict=True)])


def center(group: Posterior) -> Floats:
    r"""Center of a group, its rows weighted by their precision, shape (latent_dim,).

    .. math:: c_j = \frac{\sum_i w_{ij} \mu_{ij}}{\sum_i w_{ij}}, \qquad
        w_{ij} = \frac{1}{v_j + s_{ij}^2}, \qquad v_j = \operatorname{var}_i \mu_{ij}

    A row lies off the center because rows differ (v) and because the encoder is unsure (s): its
    precision is the inverse of both together, as in a random-effects mean (DerSimonian and
    Laird, 1986). Where rows agree that is 1 / s^2; where they differ by more than the encoder
    is unsure all count alike, and no sharp row speaks for the group. v is the plain variance:
    posterior means have already shrunk by what is unsure. Raises DataError without rows.
    """
    if len(group) == 0:
        raise DataError("A group has no rows. Give one or more.")
    weights = 1.0 / (group.loc.var(axis=0) + group.scale**2)
    return np.asarray((weights * group.loc).sum(axis=0) / weights.sum(axis=0))


@dataclass(frozen=True, repr=False)
class Direction:
    """What sets one group of rows apart from another.

    Attributes
    ----------
    vector : ndarray of shape (latent_dim,)
        Center of the rows with, less that of those without; units of z.
    offset : float
        `vector` times the center of the rows without.
    strength : float
        Distance of held-out rows, in standard deviations within groups (Cohen's d).
    separation : float
        ROC AUC of held-out rows: how often one with lies further along than one without.
    p_value : float
        Chance of as much separation if there were none: Mann and Whitney's test, its z divided
        by the root of 2, as each two rows count twice, one the judge of the other.
    n_with, n_without : int
    """

    vector: Floats
    offset: float
    strength: float
    separation: float
    p_value: float
    n_with: int
    n_without: int

    def amount(self, z: ArrayLike) -> Floats:
        """How far along points lie: 0 at the center of the rows without, 1 at the other."""
        along = np.asarray(z) @ self.vector - self.offset
        return np.asarray(along / (self.vector @ self.vector))

    def to_frame(self, library: str = "pyarrow") -> Any:
        """Table with a line for each latent dimension."""
        return _frame({"dim": np.arange(len(self.vector)), "shift": self.vector}, library)

    def __repr__(self) -> str:
        held_out = f"ROC AUC {self.separation:.3f}, p = {self.p_value:.2g} on held-out rows"
        counts = f"{self.n_with} with, {self.n_without} without"
        return f"<Direction of strength {self.strength:.2f}: {held_out}; {counts}>"


def direction(
    with_: Posterior,
    without: Posterior,
    *,
    held_out_fraction: float = 0.2,
    random_state: RandomState = None,
) -> Direction:
    """Direction from the rows without something to those with it: `center` less `center`.

    Parameters
    ----------
    with_, without : Posterior
        At least 2 rows each.
    held_out_fraction : float
        Share of the rows, in (0, 0.5], kept aside at a time for the check: each row once, and
        judged by the direction that the others give.
    random_state : int, Generator, RandomState or None
        Which rows are kept aside together.

    Raises
    ------
    DataError
        If a group has fewer than 2 rows, the groups have one center or differ in latent
        dimensions, or the fraction is out of range.

    Warns
    -----
    DataWarning
        If held-out rows do not lie apart by more than chance would have it (p above 0.05).
    """
    if min(len(with_), len(without)) < 2:
        raise DataError("A direction needs rows to learn from and to check. Give 2 or more each.")
    if not 0.0 < held_out_fraction <= 0.5:
        raise DataError(f"held_out_fraction must be in (0, 0.5], got {held_out_fraction!r}.")
    low, high = center(without), center(with_)
    if low.shape != high.shape or np.array_equal(low, high):
        raise DataError("The groups have one center, or not one latent space. Give other groups.")
    rng = numpy_generator(seed_sequence(random_state))
    ahead, behind = _held_out((with_, without), round(1.0 / held_out_fraction), rng)
    test = scipy.stats.mannwhitneyu(ahead, behind, alternative="greater")
    found = Direction(
        vector=high - low,
        offset=float((high - low) @ low),
        strength=_cohens_d(ahead, behind),
        separation=float(test.statistic) / (len(ahead) * len(behind)),
        p_value=float(ndtr(ndtri(test.pvalue) / math.sqrt(2.0))),
        n_with=len(with_),
        n_without=len(without),
    )
    if not found.p_value <= LEVEL:
        remedy = "Give more rows, or groups that differ in one thing."
        warnings.warn(f"The groups do not separate: {found}. {remedy}", DataWarning, stacklevel=2)
    return found


def _held_out(
    groups: tuple[Posterior, Posterior], n_folds: int, rng: np.random.Generator
) -> list[Floats]:
    """Distances of rows beyond the plane midway between the groups, made without those rows."""
    folds = [rng.permutation(len(group)) % n_folds for group in groups]
    out = [np.zeros(len(group)) for group in groups]
    for fold in range(n_folds):
        kept = [(g, of != fold) for g, of in zip(groups, folds, strict=True)]
        high, low = (center(Posterior(g.loc[some], g.scale[some])) for g, some in kept)
        for place, group, of in zip(out, groups, folds, strict=True):
            apart = group.loc[of == fold] - 0.5 * (high + low)
            place[of == fold] = apart @ unit_vector(high - low)
    return out


def _cohens_d(ahead: Floats, behind: Floats) -> float:
    squares = len(ahead) * ahead.var() + len(behind) * behind.var()
    spread = math.sqrt(squares / (len(ahead) + len(behind) - 2))
    gap = float(ahead.mean() - behind.mean())
    return gap / spread if spread > 0.0 else math.copysign(math.inf, gap)


def steer(z: ArrayLike, direction: Direction, amount: ArrayLike = 1.0) -> Floats:
    """Points plus `amount`, one for all or one each, times a direction's vector.

    1 goes as far as from one group's center to the other's; less than 0 takes away.
    """
    points, size = np.asarray(z, dtype=np.float64), len(direction.vector)
    if points.ndim == 0 or points.shape[-1] != size:
        raise DataError(f"Points of shape {points.shape} have not {size} numbers. Encode anew.")
    far = arguments.numbers("amount", amount)
    if points.ndim > 1 and far.shape not in ((), points.shape[:-1]):
        raise DataError(f"{far.size} amounts for {len(points)} points. Pass one for all, or each.")
    return points + far[..., None] * direction.vector


def traverse(z: ArrayLike, dim: int, values: ArrayLike) -> Floats:
    """Copies of a point with coordinate `dim` replaced, shape (n_values, latent_dim)."""
    point, moved = as_point(z), arguments.numbers("values", values).ravel()
    if not arguments.is_whole(dim) or not 0 <= dim < len(point):
        raise DataError(f"dim must be a whole number from 0 to {len(point) - 1}, got {dim!r}.")
    rows = np.tile(point, (len(moved), 1))
    rows[:, dim] = moved
    return rows


@dataclass(frozen=True, repr=False)
class LatentSummary:
    """Latent dimensions, the most active first; every entry has shape (latent_dim,).

    Attributes
    ----------
    dims : ndarray of int
    activity : ndarray
        Variance over rows of the posterior mean, 0 where z says nothing about them (Burda et
        al., "Importance weighted autoencoders", 2016, section 5.2).
    kl, scale : ndarray
        Mean KL divergence from N(0, 1), nats, and mean posterior standard deviation.
    loc, low, high : ndarray
        Mean, least and largest posterior mean.
    """

    dims: NDArray[np.intp]
    activity: Floats
    kl: Floats
    scale: Floats
    loc: Floats
    low: Floats
    high: Floats
    library: str = "pyarrow"

    @property
    def n_active(self) -> int:
        """Dimensions with an activity above 0.01, the bound that Burda et al. use."""
        return int((self.activity > ACTIVE).sum())

    def to_frame(self, library: str | None = None) -> Any:
        """Table with a line for each latent dimension."""
        names = ("activity", "kl", "scale", "loc", "low", "high")
        columns = {"dim": self.dims, **{name: getattr(self, name) for name in names}}
        return _frame(columns, library or self.library)

    def __repr__(self) -> str:
        lines = [f"<LatentSummary: {self.n_active} of {len(self.dims)} dimensions active>"]
        for i, dim in enumerate(self.dims):
            lines.append(f"  z[{dim}]: activity {self.activity[i]:.3g}, kl {self.kl[i]:.3g} nats")
        return "\n".join(lines)


def latent_summary(posterior: Posterior) -> LatentSummary:
    """Activity, cost and range of each latent dimension; raises DataError without rows."""
    if len(posterior) == 0:
        raise DataError("There are no rows to sum up. Give one or more.")
    order = np.argsort(-posterior.loc.var(axis=0), kind="stable")
    loc, scale = posterior.loc[:, order], posterior.scale[:, order]
    kl = 0.5 * (loc**2 + scale**2 - 1.0 - 2.0 * np.log(scale)).mean(axis=0)
    spread = (loc.var(axis=0), kl, scale.mean(axis=0))
    place = (loc.mean(axis=0), loc.min(axis=0), loc.max(axis=0))
    return LatentSummary(order, *spread, *place, posterior.library)


def _frame(columns: dict[str, NDArray[Any]], library: str) -> Any:
    kinds = {name: "Int64" if name == "dim" else "Float64" for name in columns}
    raw = {name: RawColumn(columns[name] * 1.0, "number", kinds[name]) for name in columns}
    return write_frame(raw, frame_library(library))
