"""The time series of the benchmark, each cut once into a part to learn from and one to score.

Unlike in TSB-AD, where the whole series is scored, only the test part is: no point is both learnt
from and rated. Points without value are not rated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import DataError
from series_metrics import period

FEWEST_FILLED = 0.8  # share of a regular grid that must hold a point, or the points stay as told


@dataclass(frozen=True)
class Series:
    """One series: parts of shape (time, channel), NaN where a value is missing.

    `is_anomaly` and `rated` have an entry for every test point; points that are not rated have no
    value or no label in the source. Times are seconds, or None where the source has none. Labels
    of the training part are there to look at: no method gets them.
    """

    name: str
    family: str
    train: np.ndarray
    test: np.ndarray
    is_anomaly: np.ndarray
    rated: np.ndarray
    train_labels: np.ndarray | None = None
    train_times: np.ndarray | None = None
    test_times: np.ndarray | None = None

    @property
    def kind(self) -> str:
        return "univariate" if self.train.shape[1] == 1 else "multivariate"

    @property
    def missing(self) -> float:
        """The share of missing values among those of both parts."""
        return float(np.isnan(np.concatenate([self.train, self.test])).mean())

    @cached_property
    def window(self) -> int:
        """The dominant period of the first channel over both parts: the buffer of the volumes."""
        return period(np.concatenate([filled(self.train), filled(self.test)])[:, 0])

    def complete(self) -> Series:
        """Return it with missing values replaced, for methods that cannot do without."""
        return replace(self, train=filled(self.train), test=filled(self.test))

    def thinned(self, share: float, seed: int) -> Series:
        """Return it with a random `share` of the time points of both parts made missing."""
        rng = np.random.default_rng(seed)
        parts = [np.where(rng.random((len(part), 1)) < share, np.nan, part) for part in self.parts]
        return replace(self, train=parts[0], test=parts[1])

    @property
    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        return self.train, self.test


def filled(part: np.ndarray) -> np.ndarray:
    """Interpolate missing values linearly along time; the ends are held, empty channels are 0."""
    if not np.isnan(part).any():
        return part
    columns = pd.DataFrame(part).interpolate(limit_direction="both").fillna(0.0)
    return columns.to_numpy(np.float64)


def families(folder: Path, only: list[str] | None) -> list[str]:
    """Return the families asked for, in the order of the benchmark."""
    absent = sorted(set(only or ()) - set(FAMILIES))
    if absent:
        raise DataError(f"no family {', '.join(absent)}; there: {', '.join(FAMILIES)}")
    if not (folder / "timeseries").is_dir():
        raise DataError(f"no folder {folder / 'timeseries'}: see IMPROBABLE_DATA")
    return [name for name in FAMILIES if not only or name in only]


def of_family(name: str, folder: Path) -> list[Series]:
    """Return the series of one family that have an anomaly to find."""
    found = FAMILIES[name](folder / "timeseries")
    return [series for series in found if series.is_anomaly[series.rated].any()]


def stamped(family: str, pattern: str) -> Callable[[Path], Iterator[Series]]:
    """Read files of stamped values and labels; the first half is learnt from, anomalies and all.

    A missing label is one of a point that the operators did not look at: it is not rated.
    """

    def read(folder: Path) -> Iterator[Series]:
        for path in sorted(folder.glob(pattern)):
            table = pd.read_parquet(path)
            times = table["timestamp"].to_numpy(np.int64)
            labels = table["label"].to_numpy(np.float64, na_value=np.nan)
            points = on_grid(times, table["value"].to_numpy(np.float64), labels)
            yield cut(path.stem, family, points, len(points.values) // 2)

    return read


def nab(folder: Path) -> Iterator[Series]:
    """Read NAB, labelled by its windows; four of its series have none and are left out later.

    TSB-AD learns from the first quarter, or from what precedes the first anomaly by 100 points if
    that is less, but from 500 points at least, among which there can be anomalies. Since those
    would not be rated here, the part is the first quarter, or all that precedes the first anomaly
    if that is less.
    """
    table = pd.read_parquet(folder / "nab.parquet")
    for name, rows in table.groupby("series", sort=True, observed=True):
        times = rows["timestamp"].to_numpy().astype("datetime64[s]").astype(np.int64)
        labels = rows["label"].to_numpy(np.float64)
        points = on_grid(times, rows["value"].to_numpy(np.float64), labels)
        first = int(np.argmax(points.labels == 1)) or len(points.labels)
        yield cut(str(name).partition("/")[2], "NAB", points, min(len(points.values) // 4, first))


def split(family: str, pattern: str) -> Callable[[Path], Iterator[Series]]:
    """Read files of a training and a labelled test part, without times or missing values."""

    def read(folder: Path) -> Iterator[Series]:
        for path in sorted(folder.glob(pattern)):
            with np.load(path) as arrays:
                train, test = (np.asarray(arrays[key], np.float64) for key in ("train", "test"))
                labels = arrays["test_label"].astype(bool)
            yield Series(path.stem, family, train, test, labels, np.ones(len(labels), dtype=bool))

    return read


@dataclass(frozen=True)
class Points:
    """Values of one channel in the order of time, NaN where a value or a label is missing."""

    times: np.ndarray
    values: np.ndarray
    labels: np.ndarray


def on_grid(times: np.ndarray, values: np.ndarray, labels: np.ndarray) -> Points:
    """Sort by time, keep the last of equal stamps, and put the points on a regular grid.

    The step of the grid is the median one. Where fewer than 80 % of its places would be filled,
    as with sensors that report when they like, the points are left as they come.
    """
    order = np.argsort(times, kind="stable")
    times, values, labels = times[order], values[order], labels[order]
    last = np.append(np.diff(times) > 0, True)
    times, values, labels = times[last], values[last], labels[last]
    step = np.median(np.diff(times))
    places = np.rint((times - times[0]) / step).astype(np.int64)
    n = int(places[-1]) + 1
    if len(places) < FEWEST_FILLED * n:
        return Points(times, values, labels)
    grid = [np.full(n, np.nan) for _ in range(2)]
    grid[0][places], grid[1][places] = values, labels
    return Points(times[0] + np.arange(n) * int(step), *grid)


def cut(name: str, family: str, points: Points, n_train: int) -> Series:
    """Learn from the first `n_train` points, score the others."""
    labels = points.labels == 1
    seen = ~np.isnan(points.labels) & ~np.isnan(points.values)
    values = points.values[:, None]
    return Series(
        name,
        family,
        values[:n_train],
        values[n_train:],
        labels[n_train:],
        seen[n_train:],
        labels[:n_train],
        points.times[:n_train],
        points.times[n_train:],
    )


FAMILIES: dict[str, Callable[[Path], Iterator[Series]]] = {
    "KPI": stamped("KPI", "kpi/*.parquet"),
    "donut": stamped("donut", "donut/*.parquet"),
    "NAB": nab,
    "UCR": split("UCR", "ucr/*.npz"),
    "SMD": split("SMD", "smd/*.npz"),
    "SMAP": split("SMAP", "nasa/SMAP*.npz"),
    "MSL": split("MSL", "nasa/MSL*.npz"),
    "ASD": split("ASD", "asd/*.npz"),
}
