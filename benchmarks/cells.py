"""Rows with one odd cell, judged with and without a share of the false alarms left to cells.

    python benchmarks/cells.py                             # under ten minutes
    python benchmarks/cells.py --seeds 0 --sets Wilt wine  # less of it
    python benchmarks/cells.py --markdown docs/odd-cells.md

Three tables of 20 columns are drawn, of which 6,000 rows are learned from: in one the columns
know nothing of each other, in the second two factors move most of them, the third is the first
with names of one row in 300 in three columns, that of the name never seen among them, and with
tails as those of a t distribution with two degrees of freedom in two. In 600 new rows one cell
is changed, the same way in all; the first table holds the shares of them with p-values at most
.01, and that of 3,000 rows left as they are. Beside it stand an isolation forest and nearest
neighbors on standardized and one-hot encoded columns, whose p-values come from a fifth of the rows
kept out. The second table holds means over sets of ADBench, one-class, as `benchmarks/adbench.py`
has them, but with at most 8,000 rows ranked. Figures are means over seeds.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import DataError, data_folder
from peers import encoded
from protocol import SETTINGS, read_set, set_files, trial
from report import check_markers, environment, table, write_between_markers
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from improbable import VAEDetector
from improbable.calibration import p_values

SHARES = (0.0, 0.01, 0.05, 0.2)
N_LEARNED, N_NORMAL, N_ODD, MOST_RANKED, LARGE = 6_000, 3_000, 600, 8_000, 1_000
ALPHA, RARE = 0.01, 1 / 300
Rows = pd.DataFrame
Judge = Callable[[Rows], np.ndarray]


def main(argv: Sequence[str] | None = None) -> int:
    """Run both comparisons and return the exit status."""
    options = parsed(argv)
    check_markers(options.markdown, "cells")
    try:
        files = set_files(data_folder())
        sets = {name: files[name] for name in options.sets or files}
    except (DataError, KeyError) as error:
        print(f"No set {error}." if isinstance(error, KeyError) else error, file=sys.stderr)
        return 2
    context = environment("scikit-learn")[:1]  # nothing is timed
    print("\n".join(context), flush=True)
    warnings.simplefilter("ignore")
    found = []
    for name, drawn in TABLES.items():
        for method, fit in METHODS.items():
            print(f"{name}, {method}", flush=True)
            shares = np.mean([flagged(fit, drawn, s) for s in options.seeds], axis=0)
            found.append((name, method, *(f"{share:.3f}" for share in shares)))
    ranked = []
    for share in SHARES:
        print(f"ADBench, cell_share={share}", flush=True)
        ranked.append((f"cell_share={share:g}", *ranking(sets, share, options.seeds[:2])))
    shown = [
        *table(("columns", "method", "normal rows", *ODD), found, n_names=2),
        "",
        *table(("ADBench, one-class", f"ROC AUC, {len(sets)} sets", "AP", *LAST), ranked),
    ]
    print("\n" + "\n".join(shown))
    if options.markdown:
        seeds = f"Means over seeds {', '.join(map(str, options.seeds))}; ADBench: the first two."
        write_between_markers(options.markdown, shown, [seeds, *context], "cells")
    return 0


LAST = ("ROC AUC, 1,000 rows or more", "AP")


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="of ADBench (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3], metavar="SEED")
    parser.add_argument("--markdown", type=Path, help="write the tables between its markers")
    return parser.parse_args(argv)


def draw(n: int, strength: float, rng: np.random.Generator) -> Rows:
    """Twenty columns: prices, measurements, names, counts and amounts."""
    factors = strength * rng.normal(size=(n, 2))
    found: dict[str, Any] = {}
    for i in range(6):
        found[f"price {i}"] = np.exp(3.0 + 0.7 * factors[:, i % 2] + rng.normal(size=n)).round(2)
    for i in range(4):
        found[f"measurement {i}"] = rng.normal(size=n)
    for i in range(6):
        names = np.array([f"name {j}" for j in range(3 + i)])
        lean = np.sin(7.0 * np.arange(3 + i) + i) + factors[:, [i % 2]] * np.linspace(-1, 1, 3 + i)
        found[f"name {i}"] = names[(lean + rng.gumbel(size=lean.shape)).argmax(axis=1)]
    for i in range(2):
        found[f"count {i}"] = rng.poisson(np.exp(1.0 + 0.5 * factors[:, i]))
        found[f"amount {i}"] = np.exp(2.5 * rng.normal(size=n) + factors[:, i]).round(4) + 0.01
    return pd.DataFrame(found)


def draw_rare(n: int, rng: np.random.Generator) -> Rows:
    """The same, with names that few rows hold and measurements far out."""
    rows = draw(n, 0.0, rng)
    for i in (2, 3, 4):
        rows[f"name {i}"] = np.where(rng.random(n) < RARE, "rare", rows[f"name {i}"])
    for i in (2, 3):
        rows[f"measurement {i}"] = rng.standard_t(2.0, size=n)
    return rows


Draw = Callable[[int, np.random.Generator], Rows]
TABLES: dict[str, Draw] = {
    "independent": lambda n, rng: draw(n, 0.0, rng),
    "two factors": lambda n, rng: draw(n, 1.0, rng),
    "rare names": draw_rare,
}
ODD: dict[str, Callable[[Rows], Rows]] = {
    "8 sd": lambda rows: rows.assign(**{"measurement 0": 8.0}),
    "price x 50": lambda rows: rows.assign(**{"price 0": 50.0 * rows["price 0"]}),
    "name never seen": lambda rows: rows.assign(**{"name 2": "other"}),
    "20 counted": lambda rows: rows.assign(**{"count 0": 20}),
    "amount of 0": lambda rows: rows.assign(**{"amount 0": 0.0}),
}


def flagged(fit: Callable[[Rows, int], Judge], drawn: Draw, seed: int) -> list[float]:
    """Share of rows with p at most `ALPHA`: normal rows, and rows with each odd cell."""
    rng = np.random.default_rng(seed)
    judge = fit(drawn(N_LEARNED, rng), seed)
    normal = drawn(N_NORMAL, rng)
    tables = [normal, *(change(normal[:N_ODD]) for change in ODD.values())]
    return [float((judge(rows) <= ALPHA).mean()) for rows in tables]


def ours(share: float) -> Callable[[Rows, int], Judge]:
    return lambda rows, seed: VAEDetector(random_state=seed, cell_share=share).fit(rows).p_values


def conformal(
    fit: Callable[[np.ndarray, int], Callable[[np.ndarray], np.ndarray]],
) -> Callable[[Rows, int], Judge]:
    """Scores, the higher the more normal, made p-values by a fifth of the rows."""

    def fitted(rows: Rows, seed: int) -> Judge:
        learned = rows[len(rows) // 5 :]
        score = fit(encoded(learned, learned)[0], seed)

        def of(some: Rows) -> np.ndarray:
            return score(encoded(learned, some)[1])

        held_out = np.sort(of(rows[: len(rows) // 5]))
        return lambda some: p_values(of(some), held_out)

    return fitted


def forest(rows: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    return IsolationForest(random_state=seed).fit(rows).score_samples


def neighbors(rows: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    found = NearestNeighbors(n_neighbors=5).fit(rows)
    return lambda some: -found.kneighbors(some)[0][:, -1]


METHODS: dict[str, Callable[[Rows, int], Judge]] = {
    **{f"cell_share={share:g}": ours(share) for share in SHARES},
    "isolation forest": conformal(forest),
    "kNN (k=5)": conformal(neighbors),
}


def ranking(sets: dict[str, Path], share: float, seeds: Sequence[int]) -> list[str]:
    """Mean ROC AUC and average precision, percent, of all sets and of the larger ones."""
    found, large = [], []
    for name, path in sets.items():
        data = read_set(name, path)
        large.append(len(data.rows) >= LARGE)
        found.append(np.mean([of_set(data, share, seed) for seed in seeds], axis=0))
    means = np.mean(found, axis=0), np.mean(np.array(found)[large], axis=0) if any(large) else ()
    return [f"{100.0 * value:.2f}" for side in means for value in side] + [""] * 2 * (
        not any(large)
    )


def of_set(data: Any, share: float, seed: int) -> tuple[float, float]:
    one = trial(data, SETTINGS[0], seed)
    rows, is_anomaly = one.test, one.is_anomaly
    if len(rows) > MOST_RANKED:
        some = np.random.default_rng(0).permutation(len(rows))[:MOST_RANKED]
        if is_anomaly[some].sum() >= 10:
            rows, is_anomaly = rows[some], is_anomaly[some]
    detector = VAEDetector(random_state=seed, cell_share=share).fit(one.train)
    score = -detector.score_samples(rows)
    return roc_auc_score(is_anomaly, score), average_precision_score(is_anomaly, score)


if __name__ == "__main__":
    raise SystemExit(main())
