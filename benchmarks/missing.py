"""Cells that are missing from new rows: filled in, beside three imputers, and decided upon.

    python benchmarks/missing.py                                  # under five minutes
    python benchmarks/missing.py --seeds 0 --sets annthyroid      # less of it
    python benchmarks/missing.py --markdown docs/missing-cells.md

Half of the normal rows of a set of ADBench, at most 5,000, are learned from, whole; of the others,
at most 2,000, a share of the cells is taken away at random. The first table holds the root mean
squared error of what is put there, in standard deviations of the column among the rows learned
from, errors above ten counting as ten. The second holds the shares of these rows, all normal, with
p-values at most .01 and .05, whole and with the cells taken away; and the same of rows drawn from
known distributions without some of their columns. Figures are means over seeds.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import DataError, data_folder
from protocol import read_set, set_files
from report import check_markers, environment, table, write_between_markers
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from improbable import VAEDetector

SETS = ("annthyroid", "landsat", "mammography", "PageBlocks", "pendigits", "satellite", "Wilt")
SHARES = (0.1, 0.4)
ALPHAS = (0.01, 0.05)
MOST_LEARNED, MOST_JUDGED, LARGEST_ERROR = 5_000, 2_000, 10.0
Rows = np.ndarray


def main(argv: Sequence[str] | None = None) -> int:
    """Run both comparisons and return the exit status."""
    options = parsed(argv)
    check_markers(options.markdown, "missing")
    try:
        files = set_files(data_folder())
        rows = {name: normal_rows(name, files[name]) for name in options.sets}
    except (DataError, KeyError) as error:
        print(f"No set {error}." if isinstance(error, KeyError) else error, file=sys.stderr)
        return 2
    context = environment("scikit-learn")[:1]  # nothing is timed
    print("\n".join(context), flush=True)
    warnings.simplefilter("ignore")
    filled, judged = [], []
    for name in options.sets:
        for share in SHARES:
            print(f"{name}, {share:.0%} of the cells", flush=True)
            found = [of_set(rows[name], share, seed) for seed in options.seeds]
            errors, rates = (np.mean(side, axis=0) for side in zip(*found, strict=True))
            best = errors.argmin()
            cells = [f"{e:.3f}{'*' if i == best else ''}" for i, e in enumerate(errors)]
            filled.append((name, f"{share:.0%}", *cells))
            judged.append((name, f"{share:.0%} of the cells", *(f"{r:.3f}" for r in rates)))
    for name, (draw, gone) in DRAWN.items():
        rates = np.mean([of_drawn(draw, gone, seed) for seed in options.seeds], axis=0)
        judged.append((name, f"{len(gone)} columns", *(f"{r:.3f}" for r in rates)))
    shown = [
        *table(("data set", "missing", "improbable", *IMPUTERS), filled, n_names=2),
        "",
        *table(HEADER, judged, n_names=2),
    ]
    print("\n" + "\n".join(shown))
    if options.markdown:
        notes = [f"Means over seeds {', '.join(map(str, options.seeds))}.", *context]
        write_between_markers(options.markdown, shown, notes, "missing")
    return 0


HEADER = ("rows", "missing", "whole, .01", ".05", "missing, .01", ".05")
IMPUTERS: dict[str, Callable[[], Any]] = {
    "kNN (k=5)": lambda: KNNImputer(n_neighbors=5),
    "chained regressions": lambda: IterativeImputer(random_state=0),
    "mean": SimpleImputer,
}


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", default=list(SETS), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--markdown", type=Path, help="write the tables between its markers")
    return parser.parse_args(argv)


def normal_rows(name: str, path: Path) -> Rows:
    data = read_set(name, path)
    return np.asarray(data.rows[data.is_anomaly == 0], dtype=float)


def of_set(rows: Rows, share: float, seed: int) -> tuple[list[float], list[float]]:
    """Errors of every method, and shares of small p-values, of one set."""
    rng = np.random.default_rng(seed)
    rows = rows[rng.permutation(len(rows))]
    half = len(rows) // 2
    train, new = rows[: min(half, MOST_LEARNED)], rows[half : half + MOST_JUDGED]
    gone = rng.random(new.shape) < share
    holed = np.where(gone, np.nan, new)
    detector = VAEDetector(random_state=seed).fit(train)
    spread = train.std(axis=0)
    varies = gone & (spread > 0)

    def error(filled: Rows) -> float:
        apart = ((filled - new) / np.where(spread > 0, spread, 1.0))[varies]
        return float(np.sqrt(np.mean(np.minimum(np.abs(apart), LARGEST_ERROR) ** 2)))

    errors = [error(np.asarray(detector.impute(holed), dtype=float))]
    for make in IMPUTERS.values():
        errors.append(error(imputed(make(), train, holed)))
    return errors, rates(detector, new, holed)


def imputed(imputer: Any, train: Rows, holed: Rows) -> Rows:
    """Rows filled in by an imputer that meets standardized columns."""
    pipeline = make_pipeline(StandardScaler(), imputer).fit(train)
    found: Rows = pipeline[0].inverse_transform(pipeline.transform(holed))
    return found


def rates(detector: VAEDetector, whole: Rows, holed: Rows) -> list[float]:
    """Shares of rows with p-values at most each alpha, whole and with missing cells."""
    p_values = [detector.p_values(rows) for rows in (whole, holed)]
    return [float(np.mean(p <= alpha)) for p in p_values for alpha in ALPHAS]


def of_drawn(draw: Callable[[int, Any], Rows], gone: list[int], seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    detector = VAEDetector(random_state=seed).fit(draw(2_000, rng))
    whole = draw(MOST_JUDGED, rng)
    holed = whole.copy()
    holed[:, gone] = np.nan
    return rates(detector, whole, holed)


def two_groups(n: int, rng: Any) -> Rows:
    side = rng.choice([-3.0, 3.0], (n, 1))
    return np.hstack([rng.normal(size=(n, 4)), side + 0.2 * rng.normal(size=(n, 3))])


def five_groups(n: int, rng: Any) -> Rows:
    centers = 3.0 * np.random.default_rng(5).normal(size=(5, 6))
    found: Rows = centers[rng.integers(0, 5, n)] + 0.3 * rng.normal(size=(n, 6))
    return found


def ring(n: int, rng: Any) -> Rows:
    angle = rng.uniform(0.0, 2.0 * np.pi, n)
    waves = [f(k * angle) for k in (1, 2) for f in (np.cos, np.sin)]
    found: Rows = np.stack([*waves, rng.normal(size=n)], axis=1) + 0.05 * rng.normal(size=(n, 5))
    return found


def eight_factors(n: int, rng: Any) -> Rows:
    loadings = np.random.default_rng(3).normal(size=(8, 30))
    found: Rows = rng.normal(size=(n, 8)) @ loadings + 0.2 * rng.normal(size=(n, 30))
    return found


DRAWN: dict[str, tuple[Callable[[int, Any], Rows], list[int]]] = {
    "two groups, told by 3 of 7 columns": (two_groups, [4, 5, 6]),
    "five groups in 6 columns": (five_groups, [0, 1, 2, 3, 4]),
    "a ring, in 4 columns and one of noise": (ring, [0, 1]),
    "8 factors in 30 columns": (eight_factors, list(range(10))),
}


if __name__ == "__main__":
    sys.exit(main())
