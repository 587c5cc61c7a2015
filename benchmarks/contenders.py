"""The methods that `adbench.py` compares: this library, and peers at their published settings.

A variant of the detector joins as one more `Method` in `contenders`. Trained on contaminated rows
`improbable` is told so; the variant `improbable-auto` is not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from peers import METHODS, Method, Scorer, fit_improbable

SLOW = ("pyod-vae",)


def contenders(n_neighbors: int, *, contaminated: bool = False) -> dict[str, Method]:
    """Return every method, those of nearest neighbours with `n_neighbors`.

    Those that `takes_frames` get the rows in their own units, the others standardised ones.
    """
    kth = partial(fit_nearest, n_neighbors=n_neighbors, summary=lambda near: near[:, -1])
    mean = partial(fit_nearest, n_neighbors=n_neighbors, summary=lambda near: near.mean(axis=1))
    plain, told = METHODS["improbable"], partial(fit_improbable, contamination="unknown")
    return {
        "improbable": replace(plain, fit=told) if contaminated else plain,
        "improbable-auto": replace(plain, label="improbable, untold"),
        "knn": Method("kNN", "sklearn.neighbors", kth),
        "dte-np": Method("DTE-NP", "sklearn.neighbors", mean),
        "lof": Method("LOF", "sklearn.neighbors", fit_lof),
        "gmm": Method("GMM (10)", "sklearn.mixture", fit_gmm),
        "pca": METHODS["pca"],
        "mcd": Method("MCD", "sklearn.covariance", fit_mcd),
        "iforest": METHODS["iforest"],
        "ecod": Method("ECOD", "pyod.models.ecod", fit_ecod),
        "pyod-vae": METHODS["pyod-vae"],
    }


def fit_nearest(
    rows: np.ndarray, seed: int, n_neighbors: int, summary: Callable[[np.ndarray], np.ndarray]
) -> Scorer:
    """Keep the rows: the score summarises the distances to the nearest, in ascending order.

    The farthest of them is kNN's score. Their mean is that of DTE-NP (Livernoche et al. 2024):
    the posterior of the variance of the noise added to a row is about an inverse
    gamma of scale half the mean squared distance, so the expected diffusion time rises with the
    distances. The authors' code advises the mean distance, which gives their contaminated figures.
    The tree finds exact distances; brute force would round, and so break ties.
    """
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=n_neighbors, algorithm="ball_tree").fit(rows)
    return lambda new: summary(index.kneighbors(new)[0])


def fit_lof(rows: np.ndarray, seed: int) -> Scorer:
    """Compare local densities, at scikit-learn's 20 neighbours. It has no randomness."""
    from sklearn.neighbors import LocalOutlierFactor

    with warnings.catch_warnings(action="ignore"):  # sets with many equal rows
        factor = LocalOutlierFactor(novelty=True).fit(rows)
    return lambda new: -factor.score_samples(new)


def fit_gmm(rows: np.ndarray, seed: int) -> Scorer:
    """Fit ten Gaussians of full covariance, none narrower than 0.1 standard deviations."""
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings(action="ignore"):  # where 100 iterations do not suffice
        mixture = GaussianMixture(10, reg_covar=1e-2, random_state=seed).fit(rows)
    return lambda new: -mixture.score_samples(new)


def fit_mcd(rows: np.ndarray, seed: int) -> Scorer:
    """Fit one Gaussian to the tightest half of the rows (minimum covariance determinant)."""
    from sklearn.covariance import MinCovDet

    with warnings.catch_warnings(action="ignore"):  # sets with dependent columns
        covariance = MinCovDet(random_state=seed).fit(rows)
    return covariance.mahalanobis


def fit_ecod(rows: np.ndarray, seed: int) -> Scorer:
    """Keep the rows: the score adds up how far in the tail of each column a row lies."""
    from pyod.models.ecod import ECOD

    return ECOD().fit(rows).decision_function
