"""ADBench under the published protocol: what is trained on, what is ranked, what is measured.

V. Livernoche, V. Jain, Y. Hezaveh, S. Ravanbakhsh, "On Diffusion Modeling for Anomaly Detection",
ICLR 2024, compare 26 methods in two settings, each for the seeds 0 to 4:

one-class      train on the first half of the normal rows, rank the others and every anomaly
contaminated   train on a bootstrap of all rows, rank all rows

Sets of fewer than 1,000 rows are first drawn up to 1,000 with replacement, so that in the
one-class setting most of their test rows are copies of training rows: `Trial.unseen` marks the
test rows that are not. Sets of more than 50,000 rows are drawn down to 50,000.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import DataError
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

FEWEST, MOST = 1_000, 50_000
N_NEIGHBORS = {"one-class": 5, "contaminated": 32}  # of kNN and DTE-NP, as published
SETTINGS = tuple(N_NEIGHBORS)
PUBLISHED = Path(__file__).with_name("published.csv")


@dataclass(frozen=True)
class LabelledRows:
    """One set as its file has it."""

    name: str
    rows: np.ndarray
    is_anomaly: np.ndarray


@dataclass(frozen=True)
class Trial:
    """Rows to learn from and rows to rank, of one set in one setting under one seed.

    Rows are in their own units; `scaled` gives them as the published methods met them.
    """

    train: np.ndarray
    test: np.ndarray
    is_anomaly: np.ndarray
    unseen: np.ndarray
    to_scale_by: np.ndarray

    def scaled(self) -> tuple[np.ndarray, np.ndarray]:
        """Return `train` and `test` in units of standard deviations from the mean."""
        scaler = StandardScaler().fit(self.to_scale_by)
        return scaler.transform(self.train), scaler.transform(self.test)


def set_files(folder: Path) -> dict[str, Path]:
    """Return the sets in the data folder: their names without number, and their files."""
    files = {path.stem.partition("_")[2]: path for path in folder.glob("adbench/Classical/*.npz")}
    if not files:
        raise DataError(f"no sets in {folder / 'adbench/Classical'}: see IMPROBABLE_DATA")
    return dict(sorted(files.items(), key=lambda item: item[0].lower()))


def read_set(name: str, path: Path) -> LabelledRows:
    with np.load(path) as arrays:
        return LabelledRows(name, arrays["X"].astype(np.float64), arrays["y"].astype(bool))


def trial(data: LabelledRows, setting: str, seed: int, max_train: int | None = None) -> Trial:
    """Split a set as published; beyond the protocol, `max_train` keeps that many training rows.

    The legacy generator is the published one, and is drawn from in the published order.
    """
    rng = np.random.RandomState(seed)
    rows, is_anomaly = sampled(data.rows, data.is_anomaly, rng)
    if setting == "one-class":
        normal = np.flatnonzero(~is_anomaly)
        half = round(0.5 * len(normal))
        train, test = normal[:half], np.append(normal[half:], np.flatnonzero(is_anomaly))
    else:
        # The original draws its labelled anomalies here. They are none, but the generator moves.
        rng.choice(np.flatnonzero(is_anomaly), 0, replace=False)
        train, test = rng.choice(np.arange(len(rows)), len(rows)), np.arange(len(rows))
    if max_train is not None and len(train) > max_train:
        train = rng.choice(train, max_train, replace=False)
    to_scale_by = rows[train] if setting == "one-class" else rows
    unseen = not_among(rows[test], rows[train])
    return Trial(rows[train], rows[test], is_anomaly[test], unseen, to_scale_by)


def sampled(
    rows: np.ndarray, is_anomaly: np.ndarray, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Bring the number of rows between 1,000 and 50,000."""
    n_rows = len(rows)
    if FEWEST <= n_rows <= MOST:
        return rows, is_anomaly
    size, replace = (FEWEST, True) if n_rows < FEWEST else (MOST, False)
    drawn = rng.choice(np.arange(n_rows), size, replace)
    return rows[drawn], is_anomaly[drawn]


def not_among(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mark the rows that equal none of `others`."""
    known = {row.tobytes() for row in others + 0.0}  # + 0.0 makes -0.0 equal 0.0
    return np.array([row.tobytes() not in known for row in rows + 0.0])


def figures(scores: np.ndarray, is_anomaly: np.ndarray) -> dict[str, float]:
    """ROC AUC, average precision, and F1 where as many rows are flagged as are anomalies.

    The scores are higher for the more anomalous row; among equal ones the first are flagged.
    """
    n_anomalies = int(is_anomaly.sum())
    if not 0 < n_anomalies < len(is_anomaly):
        return dict.fromkeys(("roc_auc", "average_precision", "f1"), float("nan"))
    flagged = np.argsort(-scores, kind="stable")[:n_anomalies]
    return {
        "roc_auc": float(roc_auc_score(is_anomaly, scores)),
        "average_precision": float(average_precision_score(is_anomaly, scores)),
        "f1": float(is_anomaly[flagged].mean()),
    }


def published() -> pd.DataFrame:
    """Return the published figures, in percent, of six methods a setting and set.

    Sets are named in lower case; "best" is the highest figure of the 26 methods.
    """
    return pd.read_csv(PUBLISHED, comment="#").set_index(["setting", "set", "method"])
