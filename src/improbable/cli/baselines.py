"""Plain detectors beside a model: they learn from the same rows, as its codec encodes them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors

from improbable.cli.console import counted
from improbable.cli.inputs import Feed
from improbable.cli.labels import Labels
from improbable.data.codec import Codec
from improbable.data.parts import Floats
from improbable.data.rows import Rows
from improbable.errors import DataError

MOST_ROWS = 50_000
FEWEST_ROWS = 20
Baseline = Callable[[Floats], Floats]


def read_matrix(feed: Feed, codec: Codec, label: str, labels: Labels, moved: Any) -> Floats:
    """Encoded rows of a file, the normal ones where it has labels, at most the first 50,000.

    Raises
    ------
    DataError
        If there are fewer than 20.
    """
    blocks: list[Floats] = []
    for batch, source in feed:
        rows = matrix(codec.transform(source))[: batch.num_rows]
        labeled = label in feed.schema.names
        blocks.append(rows[labels.read(batch.column(label))[0]] if labeled else rows)
        moved(batch.num_rows)
        if sum(map(len, blocks)) >= MOST_ROWS:
            break
    learned = np.concatenate([*blocks, np.empty((0, codec.event_size))])[:MOST_ROWS]
    if len(learned) < FEWEST_ROWS:
        raise DataError(
            f"The file of --compare has {counted(len(learned), 'normal row')}, the baselines need "
            f"{FEWEST_ROWS} or more. Pass the rows that the model was fitted on."
        )
    return learned


def matrix(rows: Rows) -> Floats:
    """Encoded entries, one-hot and standardized; a missing cell is its column's mean."""
    return np.asarray(rows.values, dtype=np.float64)


def fit_baselines(rows: Floats) -> dict[str, Baseline]:
    """Baselines by name; each gives a score for every encoded row, the higher, the more normal."""
    nearest = NearestNeighbors(n_neighbors=5).fit(rows)
    forest = IsolationForest(random_state=0).fit(rows)
    pca = PCA(n_components=0.95, svd_solver="full").fit(rows)
    return {
        "nearest neighbors (k = 5)": lambda new: -nearest.kneighbors(new)[0][:, -1],
        "isolation forest": forest.score_samples,
        "PCA (95 % of the variance)": lambda new: -_left_over(pca, new),
    }


def _left_over(pca: PCA, rows: Floats) -> Floats:
    residual = rows - pca.inverse_transform(pca.transform(rows))
    squared: Floats = np.square(residual).sum(axis=1)
    return squared
