"""The methods that `series.py` compares: each learns from a series and scores a test part.

Scores are higher for the more anomalous point. Peers of TSB-AD keep its settings, with one change:
they learn from the training part alone, where TSB-AD lets them see what they score. A method has
one setting for all series of a kind.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from series_data import Series
from series_metrics import period

Scorer = Callable[[np.ndarray], np.ndarray]
BOTH = ("univariate", "multivariate")
MULTIVARIATE_WINDOW = 100  # as TSB-AD-M
MOST_NEIGHBOURS = 10_000  # training windows among which neighbours are sought, evenly spaced
FOREST_TREES = 100
HIDDEN, BATCH = (128, 32, 128), 128
STEPS = {"univariate": 1_000, "multivariate": 300}


@dataclass(frozen=True)
class Method:
    """A named way to score series: `fit` takes one and a seed and returns what scores `test`.

    One that `takes_missing` gets NaN where a value is missing; the others get the values filled
    in. `requires` is the module it cannot do without.
    """

    label: str
    requires: str
    fit: Callable[[Series, int], Scorer]
    takes_missing: bool = False
    kinds: tuple[str, ...] = BOTH

    def missing(self) -> str | None:
        """Return why the method cannot run, or None."""
        try:
            module, _, name = self.requires.partition(":")
            getattr(importlib.import_module(module), name or "__name__")
        except (ImportError, AttributeError) as error:
            return f"{type(error).__name__}: {error}"
        return None


def fit_improbable(series: Series, seed: int, **arguments: Any) -> Scorer:
    """Fit this library on windows, all at its default; equal scores where it refuses."""
    from improbable import DataError, VAEDetector, WindowCodec

    detector = VAEDetector(codec=WindowCodec(), random_state=seed, **arguments)
    try:
        detector.fit(series.train)
    except DataError as error:
        print(f"  {series.name}: {error}", flush=True)
        return lambda test: np.zeros(len(test))
    return lambda test: -np.asarray(detector.score_samples(test))


def fit_random(series: Series, seed: int) -> Scorer:
    """Draw the scores: what a method must beat."""
    return lambda test: np.random.default_rng(seed).random(len(test))


def fit_spread(series: Series, seed: int) -> Scorer:
    """Average the squared distance from the training mean, in standard deviations, over windows.

    There is nothing in it of the shape of a window.
    """
    length, scaled = window_length(series), scaling(series.train)
    box = np.ones(length) / length

    def scorer(test: np.ndarray) -> np.ndarray:
        squares = np.square(scaled(test)).mean(axis=1)
        return centered(np.convolve(squares, box, mode="valid"), length)

    return scorer


def fit_sub_pca(series: Series, seed: int) -> Scorer:
    """Sum distances to the principal axes, each divided by its share of the variance.

    TSB-AD's Sub-PCA (all axes of windows of the dominant period) where there is one channel, and
    its PCA (axes of 25 % of the variance of single points) where there are more. What is summed
    are distances to the tips of unit vectors, as published: nearly multiples of the distance from
    the mean, see `fit_spread`.
    """
    length = 1 if series.kind == "multivariate" else window_length(series)
    rows = windows(series.train, length)
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    used = scale > 1e-6 * np.maximum(np.abs(rows).max(axis=0), 1e-30)
    if not used.any():
        return fit_spread(series, seed)
    mean, scale = mean[used], scale[used]
    axes, shares = principal_axes((rows[:, used] - mean) / scale, series.kind == "univariate")

    def scorer(test: np.ndarray) -> np.ndarray:
        rows = (windows(test, length)[:, used] - mean) / scale
        squares = np.square(rows).sum(axis=1)[:, None] + 1 - 2 * rows @ axes
        return centered((np.sqrt(np.maximum(squares, 0)) / shares).sum(axis=1), length)

    return scorer


def principal_axes(rows: np.ndarray, of_all: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return axes as columns and their shares of variance: all, or the first that hold 25 %."""
    covariance = (rows.T @ rows / len(rows)).astype(np.float64)
    if of_all:
        values, axes = np.linalg.eigh(covariance)
        shares = np.maximum(values / values.sum(), np.finfo(np.float64).eps)
        return axes.astype(rows.dtype), shares
    from scipy.sparse.linalg import eigsh

    start = np.random.default_rng(0).random(len(covariance))
    for n_axes in (8, 64, 512):
        values, axes = eigsh(covariance, k=min(n_axes, len(covariance) - 1), v0=start)
        values, axes = values[::-1], axes[:, ::-1]
        held = np.cumsum(values) / np.trace(covariance)
        if held[-1] >= 0.25:
            break
    n_axes = int(np.searchsorted(held, 0.25)) + 1
    shares = values[:n_axes] / np.trace(covariance)
    return axes[:, :n_axes].astype(rows.dtype), shares


def fit_sub_knn(series: Series, seed: int) -> Scorer:
    """Keep windows, each standardised by itself: the score is the distance to the 50th nearest.

    With more channels, as in TSB-AD-M, points take the place of windows, standardised over the
    training part, and the score is the mean distance to the 50 nearest.
    """
    from sklearn.neighbors import NearestNeighbors

    several, scaled = series.kind == "multivariate", scaling(series.train)
    length = 1 if several else window_length(series)

    def rows_of(part: np.ndarray) -> np.ndarray:
        return scaled(part) if several else each_standardised(windows(part, length))

    rows = rows_of(series.train)
    kept = rows[:: math.ceil(len(rows) / MOST_NEIGHBOURS)]
    index = NearestNeighbors(n_neighbors=min(50, len(kept)), algorithm="brute").fit(kept)

    def scorer(test: np.ndarray) -> np.ndarray:
        near = index.kneighbors(rows_of(test))[0]
        return centered(near.mean(axis=1) if several else near[:, -1], length)

    return scorer


def fit_matrix_profile(series: Series, seed: int) -> Scorer:
    """Keep the training part: the score is the distance to its most similar window."""
    import stumpy

    length, known = window_length(series), np.ascontiguousarray(series.train[:, 0])

    def scorer(test: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings(action="ignore"):
            profile = stumpy.stump(
                np.ascontiguousarray(test[:, 0]), length, known, ignore_trivial=False
            )
        return centered(finite(profile[:, 0].astype(np.float64)), length)

    return scorer


def fit_forest(series: Series, seed: int) -> Scorer:
    """Grow an isolation forest on windows, at scikit-learn's defaults."""
    from sklearn.ensemble import IsolationForest

    length = window_length(series)
    forest = IsolationForest(n_estimators=FOREST_TREES, random_state=seed)
    forest.fit(windows(series.train, length))
    return lambda test: centered(-forest.score_samples(windows(test, length)), length)


def fit_autoencoder(series: Series, seed: int) -> Scorer:
    """Train a small autoencoder on windows: the score is its squared error of the window."""
    import torch

    length, scaled = window_length(series), scaling(series.train)
    views = torch.from_numpy(windows(scaled(series.train), length))
    draw = torch.Generator().manual_seed(seed)
    model = perceptron((views.shape[1], *HIDDEN, views.shape[1]), draw)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(STEPS[series.kind]):
        batch = views[torch.randint(len(views), (BATCH,), generator=draw)]
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(batch), batch).backward()
        optimizer.step()

    def scorer(test: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(windows(scaled(test), length))
        with torch.no_grad():
            errors = [(model(part) - part).square().mean(dim=1) for part in rows.split(4096)]
        return centered(torch.cat(errors).numpy().astype(np.float64), length)

    return scorer


def perceptron(sizes: tuple[int, ...], draw: Any) -> Any:
    """Return layers with ReLU between them, their weights drawn from `draw` alone."""
    import torch

    layers: list[Any] = []
    for wide, narrow in zip(sizes[:-1], sizes[1:], strict=True):
        layer = torch.nn.utils.skip_init(torch.nn.Linear, wide, narrow)
        torch.nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=draw)
        torch.nn.init.zeros_(layer.bias)
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def window_length(series: Series) -> int:
    """Return the dominant period of the training part, or 100 where there are more channels."""
    if series.kind == "multivariate":
        return min(MULTIVARIATE_WINDOW, len(series.train) // 2)
    return min(period(series.train[:, 0]), len(series.train) // 2)


def windows(part: np.ndarray, length: int) -> np.ndarray:
    """Return every window of consecutive points as a row, in single precision."""
    views = np.lib.stride_tricks.sliding_window_view(part.astype(np.float32), length, axis=0)
    return np.ascontiguousarray(views.reshape(len(views), -1))


def centered(scores: np.ndarray, length: int) -> np.ndarray:
    """Give each window's score to its middle point; the first and the last reach to the ends."""
    return np.pad(scores, (math.ceil((length - 1) / 2), (length - 1) // 2), mode="edge")


def scaling(train: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return what standardises channels by the training part; constant ones are only shifted."""
    mean, scale = train.mean(axis=0), train.std(axis=0)
    scale = np.where(scale > 1e-9 * np.maximum(np.abs(mean), 1), scale, 1.0)
    return lambda part: (part - mean) / scale


def each_standardised(rows: np.ndarray) -> np.ndarray:
    """Return rows less their mean, in their own standard deviations; constant ones become 0."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    scale = rows.std(axis=1, keepdims=True)
    return np.divide(rows, scale, out=np.zeros_like(rows), where=scale > 1e-6)


def finite(scores: np.ndarray) -> np.ndarray:
    """Return scores with infinite ones at the highest finite, NaN at the lowest."""
    known = scores[np.isfinite(scores)]
    if not len(known):
        return np.zeros_like(scores)
    return np.nan_to_num(scores, nan=known.min(), posinf=known.max(), neginf=known.min())


METHODS: dict[str, Method] = {
    # This library. A variant of it joins as one more line.
    "improbable": Method(
        "improbable", "improbable:WindowCodec", fit_improbable, takes_missing=True
    ),
    "sub-pca": Method("Sub-PCA", "scipy.sparse.linalg", fit_sub_pca),
    "sub-knn": Method("Sub-KNN", "sklearn.neighbors", fit_sub_knn),
    "matrix-profile": Method(
        "matrix profile", "stumpy", fit_matrix_profile, kinds=("univariate",)
    ),
    "iforest": Method("isolation forest", "sklearn.ensemble", fit_forest),
    "autoencoder": Method("autoencoder", "torch", fit_autoencoder),
    "spread": Method("mean square", "numpy", fit_spread),
    "random": Method("random", "numpy", fit_random),
}
