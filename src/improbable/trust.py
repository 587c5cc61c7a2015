"""Rows to learn from when some training rows are anomalies: those most like the majority.

A network that trains on anomalies learns to expect them. So before anything
else is learned, a Gaussian is fitted to the share of encoded rows that lie
closest together, by the concentration steps of the minimum covariance
determinant (Rousseeuw and Van Driessen, "A Fast Algorithm for the Minimum
Covariance Determinant Estimator", 1999).
"""

import numpy as np
import torch
from numpy.typing import NDArray

from improbable.data.kinds import KNEE
from improbable.data.numeric import bend
from improbable.data.parts import Floats
from improbable.start import principal_axes

TRUSTED_SHARE = 0.6
ROUNDS, STEPS = 4, 20
RIDGE = 1e-2
IQR_OF_NORMAL = 1.349
LEAST_SCALE = 0.1
WIDE, AXES = 256, 64


def trusted_share(contamination: float | str) -> float:
    """Share of the rows to learn from, for a share of anomalies or "unknown".

    Fewer than are normal: a model of the core of the normal rows ranks
    anomalies better than one of all of them and a few anomalies.
    """
    known = 0.0 if isinstance(contamination, str) else contamination
    return min(TRUSTED_SHARE, 1.0 - known)


def trusted_rows(values: Floats, share: float) -> NDArray[np.intp]:
    """Positions of the rows closest together under a Gaussian of their own.

    The steps begin at all rows, and once more at those nearest to the medians of
    their columns, which a far cluster of anomalies does not move; the end of the
    smaller determinant is taken. After each round of steps the columns are
    standardized anew by the trusted rows, so that the spread of anomalies hides
    none of them.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_features)
    share : float in (0, 1]
        Of the rows to trust.

    Returns
    -------
    ndarray of shape (ceil(share * n_samples),)
        In ascending order.
    """
    n_trusted = int(np.ceil(share * len(values)))
    spread = values.std(axis=0)
    units = values / np.where(spread > 0.0, spread, 1.0)
    starts = (np.arange(len(values)), _middle(units, n_trusted))
    ends = [_settled(units, chosen, n_trusted) for chosen in starts]
    return min(ends, key=lambda chosen: _volume(units[chosen]))


def _settled(values: Floats, chosen: NDArray[np.intp], n_trusted: int) -> NDArray[np.intp]:
    """Where the steps from a start end."""
    for _ in range(ROUNDS):
        center, scale = values[chosen].mean(axis=0), values[chosen].std(axis=0)
        standardized = bend((values - center) / np.maximum(scale, LEAST_SCALE), KNEE)
        chosen = _concentrated(standardized, chosen, n_trusted)
    return chosen


def _volume(values: Floats) -> float:
    """Log determinant of the covariance."""
    covariance = np.atleast_2d(np.cov(values.T, bias=True))
    return float(np.linalg.slogdet(covariance + LEAST_SCALE**2 * np.eye(len(covariance)))[1])


def _middle(values: Floats, n_trusted: int) -> NDArray[np.intp]:
    """Rows nearest to the medians of their columns, in units of the range of quartiles."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    scale = np.maximum((high - low) / IQR_OF_NORMAL, LEAST_SCALE)
    distance = (bend((values - middle) / scale, KNEE) ** 2).sum(axis=1)
    return np.sort(np.argpartition(distance, n_trusted - 1)[:n_trusted])


def _concentrated(values: Floats, chosen: NDArray[np.intp], n_trusted: int) -> NDArray[np.intp]:
    """Rows nearest to the Gaussian of those nearest to it, until they stay the same."""
    for _ in range(STEPS):
        distance = mahalanobis(values, values[chosen])
        nearest = np.sort(np.argpartition(distance, n_trusted - 1)[:n_trusted])
        if np.array_equal(nearest, chosen):
            break
        chosen = nearest
    return chosen


def mahalanobis(values: Floats, reference: Floats) -> Floats:
    """Squared Mahalanobis distances from the Gaussian of other rows, shape (n_samples,)."""
    centered = reference - reference.mean(axis=0)
    covariance = centered.T @ centered / len(centered) + RIDGE * np.eye(centered.shape[1])
    left = np.linalg.solve(np.linalg.cholesky(covariance), (values - reference.mean(axis=0)).T)
    distance: Floats = np.einsum("ij,ij->j", left, left)
    return distance


def narrowed(values: Floats) -> Floats:
    """Rows as they are; of wide ones the leading principal axes, and the length of the rest."""
    if values.shape[1] <= WIDE:
        return values
    centered = values - values.mean(axis=0)
    loadings, _ = principal_axes(torch.from_numpy(centered), AXES)
    directions = loadings.numpy() / np.maximum(np.linalg.norm(loadings, axis=1), 1e-12)[:, None]
    along = centered @ directions.T
    rest = np.linalg.norm(centered - along @ directions, axis=1)
    return np.column_stack([along, rest])
