"""`improbable` and its peers on time series: every public series at hand, in one command.

    python benchmarks/series.py --quick                  # three families of short series
    python benchmarks/series.py                          # all series, all methods
    python benchmarks/series.py --only NAB KPI --methods sub-pca,random
    python benchmarks/series.py --missing 0.1            # a tenth of the points taken away first
    python benchmarks/series.py --show --markdown docs/series-benchmark.md

What is learnt from and what is scored is told in series_data.py, the figures in series_metrics.py,
the peers in series_peers.py. Every fit is kept in a Parquet file as it ends, so that a run can be
stopped and taken up again: what the file holds is not fitted anew, unless by `--again METHOD`.
Seconds are wall-clock seconds around fitting and around scoring alone. The data folder is named
by IMPROBABLE_DATA.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import DataError, data_folder
from report import check_markers, environment, table, write_between_markers
from results import Results
from series_data import FAMILIES, Series, families, of_family
from series_metrics import FIGURES, figures
from series_peers import METHODS, Method, finite

QUICK = ("UCR", "MSL", "ASD")
KEY = ("family", "series", "method", "seed", "missing")
LABELS = {name: method.label for name, method in METHODS.items()}
TITLES = {
    "vus_pr": "VUS-PR",
    "vus_roc": "VUS-ROC",
    "average_precision": "AP",
    "roc_auc": "ROC AUC",
    "range_f1": "range F1",
    "adjusted_f1": "adjusted F1 (misleading)",
}
# TSB-AD leaderboard (NeurIPS 2024): mean figures in percent, in the order of `TITLES`.
PUBLISHED = {
    "univariate": {
        "Sub-PCA": (42, 76, 37, 71, 41, 56),
        "OmniAnomaly": (29, 72, 27, 65, 29, 59),
        "Donut": (20, 68, 14, 56, 20, 57),
    },
    "multivariate": {
        "PCA": (31, 74, 31, 70, 29, 79),
        "OmniAnomaly": (31, 69, 32, 65, 37, 55),
        "Donut": (26, 71, 20, 64, 21, 52),
    },
}
NOTES = (
    "A line is the mean over series, in percent; seconds are means over series too.",
    "VUS-PR and VUS-ROC: volumes under the surfaces of precision and recall, and of ROC "
    "(Paparrizos et al., VLDB 2022), with buffers up to the dominant period, as in TSB-AD. Rank "
    "methods by VUS-PR.",
    "A series that was fitted with several seeds counts once, by the mean.",
    "Range F1 (Tatbul et al., NeurIPS 2018) and adjusted F1 are at the best threshold in "
    "hindsight. Adjusted F1 counts a whole segment as found by one flagged point; random scores "
    "do well by it. It is shown for old comparisons alone.",
    "Methods learn from the training part and are rated on the test part. NAB: the first quarter, "
    "or all that precedes the first anomaly if that is less; KPI and donut: the first half, "
    "anomalies and all; the others as their sources have it.",
    "Lines marked as published are means over the 350 or 180 series of TSB-AD, which are other "
    "series, scored whole: they give the scale only.",
    "With one channel, windows of the peers are as long as the dominant period; with more, they "
    "have 100 points, and Sub-PCA (there TSB-AD's PCA) and Sub-KNN look at single points. The "
    "matrix profile is of one channel only. Missing values are interpolated for the peers.",
    "Mean square averages the squared distance from the training mean over a window: what it "
    "reaches owes nothing to the shape of a window.",
)


def wanted(results: Results, options: argparse.Namespace) -> pd.DataFrame:
    """Return the rows of the families, methods and seeds that `options` ask for."""
    rows = [
        row
        for row in results.rows.values()
        if row["family"] in options.only
        and row["method"] in options.methods
        and row["seed"] in options.seeds
        and row["missing"] in (0.0, options.missing)
    ]
    return pd.DataFrame(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for and return the exit status."""
    options = parsed(argv)
    try:
        folder = data_folder()
        options.only = families(folder, options.only)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    check_markers(options.markdown, "series")
    context = environment("scikit-learn", "stumpy")
    print("\n".join(context), flush=True)
    results = Results(options.results, KEY)
    try:
        if not options.show:
            run(options, folder, results)
    except KeyboardInterrupt:
        print(f"Stopped. {options.results} holds every fit that ended.", file=sys.stderr)
        return 130
    return shown(options, wanted(results, options), context)


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help=f"only {', '.join(QUICK)}, unless named otherwise")
    add("--show", action="store_true", help="fit nothing, only show what the results hold")
    add("--only", nargs="+", metavar="FAMILY", help=", ".join(FAMILIES))
    add("--methods", type=lambda text: text.split(","), help=f"commas between: {named(METHODS)}")
    add("--again", type=lambda text: text.split(","), default=[], help="methods to fit anew")
    add("--seeds", nargs="+", type=int, default=[0], metavar="SEED")
    add("--missing", type=float, default=0.0, metavar="SHARE", help="take these points away")
    add("--results", type=Path, default="benchmarks/results/series.parquet", metavar="FILE")
    add("--markdown", type=Path, metavar="FILE", help="write the tables there")
    options = parser.parse_args(argv)
    options.methods = options.methods or list(METHODS)
    unknown = sorted({*options.methods, *options.again} - set(METHODS))
    if unknown:
        parser.error(f"no method {', '.join(unknown)}; there: {named(METHODS)}")
    if not 0 <= options.missing < 1:
        parser.error("--missing must be from 0 to below 1")
    options.only = options.only or (list(QUICK) if options.quick else None)
    return options


def named(names: Sequence[str] | dict[str, Any]) -> str:
    return ", ".join(names)


def run(options: argparse.Namespace, folder: Path, results: Results) -> None:
    """Fit and score whatever is asked for and not in the results yet."""
    runnable = {name: METHODS[name] for name in options.methods if ready(METHODS[name])}
    for family in options.only:
        for series in of_family(family, folder):
            for seed in options.seeds:
                fit_missing(options, results, runnable, series, seed)


def ready(method: Method) -> bool:
    """Tell whether the method's library is installed, after a first fit of a few points."""
    reason = method.missing()
    if reason:
        print(f"{method.label} is skipped, it cannot be imported ({reason})", flush=True)
        return False
    few = np.random.default_rng(0).normal(size=(600, 1))
    marks = np.zeros(600, dtype=bool)
    method.fit(Series("few", "none", few, few, marks, ~marks), 0)(few)
    return True


def fit_missing(
    options: argparse.Namespace,
    results: Results,
    runnable: dict[str, Method],
    series: Series,
    seed: int,
) -> None:
    """Fit the methods that this series and seed lack."""
    lacking = []
    for name, method in runnable.items():
        key = (series.family, series.name, name, seed, options.missing)
        if series.kind in method.kinds and (key not in results.rows or name in options.again):
            lacking.append(key)
    if lacking:
        print(f"\n{size(series)}", flush=True)
    seen = series.thinned(options.missing, seed) if options.missing else series
    for key in lacking:
        row = dict(zip(KEY, key, strict=True), kind=series.kind)
        row |= measured(runnable[key[2]], series, seen, seed)
        results.add(row)
        print(line(row), flush=True)


def size(series: Series) -> str:
    return (
        f"{series.family} {series.name}: {series.train.shape[1]} channels, {len(series.train)} "
        f"points to learn from, {len(series.test)} to score, "
        f"{int(series.is_anomaly[series.rated].sum())} anomalous, {100 * series.missing:.1f} % "
        f"missing; period {series.window}"
    )


def measured(method: Method, series: Series, seen: Series, seed: int) -> dict[str, Any]:
    """Time one fit and one scoring of `seen`, and rate the points that `series` rates."""
    given = seen if method.takes_missing else seen.complete()
    begin = time.perf_counter()
    scorer = method.fit(given, seed)
    fitted = time.perf_counter()
    scores = np.asarray(scorer(given.test), dtype=np.float64)
    done = time.perf_counter()
    if scores.shape != (len(series.test),):
        raise ValueError(f"{method.label} gave {scores.shape} scores for {len(series.test)}")
    rated = series.rated
    return {
        "n_train": len(series.train),
        "n_test": int(rated.sum()),
        "n_anomalous": int(series.is_anomaly[rated].sum()),
        "n_not_finite": int((~np.isfinite(scores[rated])).sum()),
        **figures(finite(scores[rated]), series.is_anomaly[rated], series.window),
        "fit_seconds": fitted - begin,
        "score_seconds": done - fitted,
    }


def line(row: dict[str, Any]) -> str:
    shown = "  ".join(f"{TITLES[name]} {100 * row[name]:5.1f}" for name in FIGURES[:4])
    return (
        f"  {LABELS[row['method']]:16} fit {row['fit_seconds']:7.2f} s  "
        f"score {row['score_seconds']:6.2f} s  {shown}"
    )


def shown(options: argparse.Namespace, chosen: pd.DataFrame, context: list[str]) -> int:
    """Print the tables and write the document."""
    if chosen.empty:
        print(f"{options.results} holds nothing of this.", file=sys.stderr)
        return 1
    lines = tables(chosen)
    print("\n" + "\n".join(lines))
    if options.markdown:
        write_between_markers(options.markdown, lines, [*NOTES, *context], "series")
    return 0


def tables(chosen: pd.DataFrame) -> list[str]:
    """Return the tables of each kind, by method and by family, then the loss by missing points."""
    lines: list[str] = []
    whole = over_seeds(chosen[chosen["missing"] == 0])
    for kind in ("univariate", "multivariate"):
        rows = whole[whole["kind"] == kind]
        if len(rows):
            n_series = rows[["family", "series"]].drop_duplicates().shape[0]
            lines += [f"#### {kind.capitalize()}, {n_series} series", ""]
            lines += [*by_method(rows, kind), "", "VUS-PR by family:", "", *by_family(rows), ""]
    return [*lines, *loss(chosen)]


def over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean figures of each method on each series."""
    names = ["kind", "method", "family", "series"]
    return rows.groupby(names, as_index=False)[[*TITLES, "fit_seconds", "score_seconds"]].mean()


def by_method(rows: pd.DataFrame, kind: str) -> list[str]:
    """Return mean figures and seconds, a line a method, best VUS-PR first; then published ones."""
    seconds = ["fit_seconds", "score_seconds"]
    means = rows.groupby("method")[[*TITLES, *seconds]].mean()
    means = means.sort_values("vus_pr", ascending=False)
    counts = rows.groupby("method").size()
    body = [
        (LABELS[str(name)], str(counts[name]), *percents(row[list(TITLES)]), *timed(row[seconds]))
        for name, row in means.iterrows()
    ]
    for name, known in PUBLISHED[kind].items():
        body.append((f"{name} (published, other series)", "", *map(str, known), "", ""))
    return table(("method", "series", *TITLES.values(), "fit s", "score s"), body)


def percents(values: Sequence[float]) -> list[str]:
    return ["" if np.isnan(value) else f"{100 * value:.1f}" for value in values]


def timed(values: Sequence[float]) -> list[str]:
    return [f"{value:.2f}" for value in values]


def by_family(rows: pd.DataFrame) -> list[str]:
    """Return mean VUS-PR, a line a method and a column a family, and the mean of these."""
    means = rows.pivot_table("vus_pr", "method", "family", aggfunc="mean")
    counts = rows.drop_duplicates(["family", "series"]).groupby("family").size()
    order = [name for name in FAMILIES if name in means.columns]
    means = means[order].assign(mean=means[order].mean(axis=1))
    means = means.sort_values("mean", ascending=False)
    body = [(LABELS[str(name)], *percents(row)) for name, row in means.iterrows()]
    header = ("method", *(f"{name} ({counts[name]})" for name in order), "mean of families")
    return table(header, body)


def loss(chosen: pd.DataFrame) -> list[str]:
    """Return what VUS-PR loses where points are taken away, over the fits made both ways."""
    pairs = chosen.pivot_table(
        "vus_pr", ["kind", "method", "family", "series", "seed"], "missing", aggfunc="mean"
    )
    shares = [share for share in pairs.columns if share > 0]
    body = []
    for share in shares:
        both = pairs[[0.0, share]].dropna() if 0.0 in pairs.columns else pairs.iloc[:0]
        for (kind, name), part in both.groupby(level=["kind", "method"]):
            before, after = part[0.0].mean(), part[share].mean()
            cells = (f"{len(part)}", *percents([before, after, before - after]))
            body.append((kind, LABELS[name], f"{100 * share:g} %", *cells))
    if not body:
        return []
    header = ("series", "method", "taken away", "fits", "VUS-PR whole", "VUS-PR thinned", "loss")
    body.sort(key=lambda cells: (cells[0] != "univariate", -float(cells[5])))
    title = "VUS-PR where points are taken away, other ones with each seed:"
    return [title, "", *table(header, body, n_names=2), ""]


if __name__ == "__main__":
    sys.exit(main())
