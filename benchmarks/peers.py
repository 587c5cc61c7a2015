"""The methods of the comparison: each learns from rows and returns a function that scores rows.

Whatever a library's own polarity, the scores returned here are higher for the more anomalous row.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Scorer = Callable[[Any], np.ndarray]


@dataclass(frozen=True)
class Method:
    """A named way to score rows; `fit` takes training rows and a seed.

    `takes_frames` tells whether a table is handed over as it is; otherwise it is encoded first,
    and the time of the encoding is not counted. `requires` is the module it cannot do without.
    """

    label: str
    requires: str
    fit: Callable[[Any, int], Scorer]
    takes_frames: bool = False

    def missing(self) -> str | None:
        """Return why the method cannot run, or None."""
        try:
            module, _, name = self.requires.partition(":")
            getattr(importlib.import_module(module), name or "__name__")
        except (ImportError, AttributeError) as error:
            return f"{type(error).__name__}: {error}"
        return None


def fit_improbable(rows: Any, seed: int, **arguments: Any) -> Scorer:
    """Fit this library, everything else at its default."""
    from improbable import CalibrationWarning, VAEDetector

    with warnings.catch_warnings(action="ignore", category=CalibrationWarning):
        detector = VAEDetector(random_state=seed, **arguments).fit(rows)  # a bootstrap has copies
    return lambda new: -detector.score_samples(new)


def fit_pyod_vae(rows: np.ndarray, seed: int) -> Scorer:
    """Fit PyOD's VAE, everything at its default: 30 epochs in batches of 32 rows.

    Its `fit` also scores the training rows, to place its threshold.
    """
    from pyod.models.vae import VAE

    return VAE(random_state=seed, verbose=0).fit(rows).decision_function


def fit_knn(rows: np.ndarray, seed: int) -> Scorer:
    """Keep the rows: the score is the distance to the fifth nearest. It has no randomness."""
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=5, n_jobs=-1).fit(rows)
    return lambda new: index.kneighbors(new)[0][:, -1]


def fit_isolation_forest(rows: np.ndarray, seed: int) -> Scorer:
    """Grow an isolation forest at scikit-learn's defaults."""
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(random_state=seed).fit(rows)
    return lambda new: -forest.score_samples(new)


def fit_pca(rows: np.ndarray, seed: int) -> Scorer:
    """Keep the components that hold 95 % of the variance: the score is what they fail to rebuild.

    PyOD's PCA divides by the share of variance of every component, which is zero for constant or
    dependent columns, and so for one-hot ones; hence scikit-learn's.
    """
    from sklearn.decomposition import PCA

    pca = PCA(n_components=0.95, svd_solver="full").fit(rows)
    return lambda new: np.square(new - pca.inverse_transform(pca.transform(new))).sum(axis=1)


METHODS: dict[str, Method] = {
    "improbable": Method(
        "improbable", "improbable:VAEDetector", fit_improbable, takes_frames=True
    ),
    "pyod-vae": Method("PyOD VAE", "pyod.models.vae", fit_pyod_vae),
    "knn": Method("kNN (k=5)", "sklearn.neighbors", fit_knn),
    "iforest": Method("isolation forest", "sklearn.ensemble", fit_isolation_forest),
    "pca": Method("PCA (95 %)", "sklearn.decomposition", fit_pca),
}


def encoded(
    train: pd.DataFrame | np.ndarray, test: pd.DataFrame | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turn a split into the float64 matrices that the peers need, learning from `train` alone.

    Numeric columns: the median for missing cells, then zero mean and unit variance. Other columns:
    one-hot, a missing cell being a value of its own, a value unseen in `train` being all zeros.
    """
    encoder = matrix_encoder(train)
    return encoder.fit_transform(train), encoder.transform(test)


def matrix_encoder(train: pd.DataFrame | np.ndarray) -> Any:
    """Return the unfitted encoder for tables like `train`."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    if isinstance(train, np.ndarray):
        return StandardScaler()
    numeric = list(train.select_dtypes("number").columns)
    others = [column for column in train.columns if column not in numeric]
    scaled = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )
    one_hot = make_pipeline(
        FunctionTransformer(missing_named),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float64),
    )
    return make_column_transformer((scaled, numeric), (one_hot, others), sparse_threshold=0)


def missing_named(columns: pd.DataFrame) -> pd.DataFrame:
    """Give missing categorical cells a name, so that they are a category like the others."""
    return columns.astype(object).where(columns.notna(), "(missing)")
