"""The data sets of the comparison, each split once into training and test rows.

Every set follows one protocol: the model sees normal rows only, and is then asked to order the
normal rows it has not seen together with the anomalies. The split depends on ``SPLIT_SEED`` alone,
so every method meets the same rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

SPLIT_SEED = 0
DOS_TEST_ROWS = 20_000  # of 391,458: bounds the time of the nearest-neighbour search
KDD_GROUPS = ("DoS", "R2L", "U2R", "Probe")
KDD_FILE = "kdd99/kddcup99_10_percent.parquet"
KDD_LABELS = ["label", "attack_group", "is_anomaly"]
ROOT = Path(__file__).resolve().parents[1]


class DataError(Exception):
    """The data folder, or a file in it, is not there."""


@dataclass(frozen=True)
class Limits:
    """The most rows of each part that a split keeps."""

    train: int | None = None
    test_normal: int | None = None
    anomalies: int | None = None


FULL = Limits()
QUICK = Limits(train=3000, test_normal=3000, anomalies=1000)


@dataclass(frozen=True)
class Evaluation:
    """Test rows that are ranked together: ``rows`` are positions in the test table."""

    name: str
    rows: np.ndarray
    is_anomaly: np.ndarray


@dataclass(frozen=True)
class Split:
    """Training rows (all normal), test rows, and the rankings made of the test rows."""

    name: str
    train: pd.DataFrame | np.ndarray
    test: pd.DataFrame | np.ndarray
    evaluations: tuple[Evaluation, ...]
    note: str


def data_folder() -> Path:
    """Return the folder named by ``IMPROBABLE_DATA``, by default ``../shared/data``."""
    folder = Path(os.environ.get("IMPROBABLE_DATA", ROOT / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        raise DataError(
            f"no data folder at {folder}: set IMPROBABLE_DATA to the folder that holds "
            "kdd99/, tabular/ and adbench/"
        )
    return folder


def existing(path: Path) -> Path:
    """Return `path`, or say which file the data folder lacks."""
    if not path.is_file():
        raise DataError(f"no file {path}: set IMPROBABLE_DATA to a data folder that holds it")
    return path


def thyroid_sick(folder: Path, limits: Limits) -> Split:
    """Thyroid records with missing cells; the anomalies are the sick."""
    table = pd.read_parquet(existing(folder / "tabular/thyroid_sick.parquet"))
    return half_split("thyroid sick", *without_label(table, ["is_anomaly"]), limits)


def vehicle_claims(folder: Path, limits: Limits) -> Split:
    """Vehicle insurance claims, mostly categorical; the anomalies are the frauds."""
    table = pd.read_parquet(existing(folder / "tabular/vehicle_claim_fraud.parquet"))
    rows, is_anomaly = without_label(table, ["is_anomaly", "PolicyNumber"])
    return half_split("vehicle claims", rows, is_anomaly, limits)


def adbench(name: str, file: str) -> Callable[[Path, Limits], Split]:
    """Return the reader of one numeric set of ADBench."""

    def read(folder: Path, limits: Limits) -> Split:
        with np.load(existing(folder / "adbench/Classical" / file)) as arrays:
            rows, is_anomaly = arrays["X"].astype(np.float64), arrays["y"].astype(bool)
        return half_split(name, rows, is_anomaly, limits)

    return read


def kdd99(folder: Path, limits: Limits) -> Split:
    """KDD Cup 99: one fit on normal connections, one ranking for each group of attacks."""
    table = pd.read_parquet(existing(folder / KDD_FILE))
    group = table["attack_group"].to_numpy(str)
    rng = np.random.default_rng(SPLIT_SEED)
    train, normal = shuffled_parts(np.flatnonzero(group == "normal"), 0.8, limits, rng)
    attacks = {name: rng.permutation(np.flatnonzero(group == name)) for name in KDD_GROUPS}
    attacks["DoS"] = attacks["DoS"][:DOS_TEST_ROWS]
    attacks = {name: rows[: limits.anomalies] for name, rows in attacks.items()}
    rows = table.drop(columns=KDD_LABELS)
    return Split(
        name="KDD99",
        train=rows.iloc[train].reset_index(drop=True),
        test=rows.iloc[np.concatenate([normal, *attacks.values()])].reset_index(drop=True),
        evaluations=tuple(ranked_apart("KDD99", len(normal), attacks)),
        note=(
            f"{len(train)} training rows (from a random 80 % of the normal ones); test: "
            f"{len(normal)} other normal rows with "
            + ", ".join(f"{len(rows)} {name}" for name, rows in attacks.items())
            + " (DoS: a random sample); one fit and one scoring serve the four rankings"
        ),
    )


def kdd99_normal(folder: Path) -> pd.DataFrame:
    """Return all normal rows of KDD Cup 99 with their 41 features."""
    table = pd.read_parquet(existing(folder / KDD_FILE))
    normal = table[table["attack_group"] == "normal"]
    return normal.drop(columns=KDD_LABELS).reset_index(drop=True)


SETS: dict[str, Callable[[Path, Limits], Split]] = {
    "thyroid": thyroid_sick,
    "vehicle": vehicle_claims,
    "annthyroid": adbench("annthyroid", "2_annthyroid.npz"),
    "satellite": adbench("satellite", "30_satellite.npz"),
    "mammography": adbench("mammography", "23_mammography.npz"),
    "kdd99": kdd99,
}


def without_label(table: pd.DataFrame, drop: list[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """Separate the features from ``is_anomaly``."""
    return table.drop(columns=drop), table["is_anomaly"].to_numpy(bool)


def half_split(
    name: str, rows: pd.DataFrame | np.ndarray, is_anomaly: np.ndarray, limits: Limits
) -> Split:
    """Train on a random half of the normal rows, test on the others and every anomaly."""
    rng = np.random.default_rng(SPLIT_SEED)
    train, normal = shuffled_parts(np.flatnonzero(~is_anomaly), 0.5, limits, rng)
    anomalies = rng.permutation(np.flatnonzero(is_anomaly))[: limits.anomalies]
    test = np.concatenate([normal, anomalies])
    ranking = Evaluation(name, np.arange(len(test)), is_anomaly[test])
    note = (
        f"{len(train)} training rows (from a random half of the normal ones); test: "
        f"{len(normal)} other normal rows with {len(anomalies)} anomalies"
    )
    return Split(name, take(rows, train), take(rows, test), (ranking,), note)


def shuffled_parts(
    rows: np.ndarray, share: float, limits: Limits, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the shuffled `rows` in two, the first part holding `share` of them."""
    rows = rng.permutation(rows)
    cut = round(share * len(rows))
    return rows[:cut][: limits.train], rows[cut:][: limits.test_normal]


def ranked_apart(name: str, n_normal: int, attacks: dict[str, np.ndarray]) -> list[Evaluation]:
    """Rank each group of attacks against the same normal rows, which come first in the test."""
    start, rankings = n_normal, []
    for group, members in attacks.items():
        positions = np.concatenate([np.arange(n_normal), start + np.arange(len(members))])
        rankings.append(Evaluation(f"{name} {group}", positions, positions >= n_normal))
        start += len(members)
    return rankings


def take(rows: pd.DataFrame | np.ndarray, positions: np.ndarray) -> pd.DataFrame | np.ndarray:
    """Return the rows at `positions`, of a frame or an array alike."""
    if isinstance(rows, pd.DataFrame):
        return rows.iloc[positions].reset_index(drop=True)
    return rows[positions]
