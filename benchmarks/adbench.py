"""`improbable` and nine peers on the sets of ADBench, under a published protocol, in one command.

    python benchmarks/adbench.py --quick        # six sets, seed 0: under three minutes
    python benchmarks/adbench.py                # every set, five seeds, all but PyOD's VAE
    python benchmarks/adbench.py --methods all --markdown docs/benchmarks.md
    python benchmarks/adbench.py --check        # our kNN gives the published figures, or fail

The protocol is told in protocol.py; the figures printed as published are those of its 26 methods,
means of five seeds. A second set of tables ranks only test rows that equal no training row.
Every fit is kept in a Parquet file as it ends, so that a run can be stopped and taken up again:
what the file holds is not fitted anew, unless by `--again METHOD`. Seconds are wall-clock seconds
around fitting and around scoring alone. The data folder is named by IMPROBABLE_DATA.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from contenders import SLOW, contenders
from datasets import DataError, data_folder
from peers import Method
from protocol import (
    FEWEST,
    MOST,
    N_NEIGHBORS,
    SETTINGS,
    LabelledRows,
    Trial,
    figures,
    published,
    read_set,
    set_files,
    trial,
)
from report import check_markers, environment, table, write_between_markers
from results import Results
from standings import plot_ranks, tables

QUICK = ("annthyroid", "glass", "landsat", "thyroid", "vertebral", "Wilt")
KEY = ("setting", "set", "seed", "method", "max_train")
METHODS = tuple(contenders(1))
LABELS = {name: method.label for name, method in contenders(1).items()}
MOST_CHECKED = 7_500  # rows of a set in the contaminated part of --check, to keep it short
NOTES = (
    "Protocol and published figures: V. Livernoche et al., On Diffusion Modeling for Anomaly "
    "Detection, ICLR 2024; published figures are means of seeds 0 to 4.",
    "Ranks and wins are those among the measured methods; a published line is ranked as if it "
    "alone had joined them.",
    "Sets of fewer than 1,000 rows are drawn with replacement before the split, so most of their "
    "test rows are copies of training rows: prefer the sets of 1,000 rows or more.",
    "One-class kNN and DTE-NP look at 5 neighbours, contaminated at 32, as published; peers get "
    "standardised rows, improbable the rows as they are, at its defaults.",
    "Contaminated, improbable is told that anomalies may be among the rows "
    "(`contamination='unknown'`); the line \"untold\" is the default, which takes all for normal.",
)


def wanted(results: Results, options: argparse.Namespace) -> pd.DataFrame:
    """Return the rows that `options` ask for, in its order of settings, sets and methods."""
    keys = (key for work in planned(options) for key in keys_of(*work, options))
    return pd.DataFrame([results.rows[key] for key in keys if key in results.rows])


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for and return the exit status."""
    options = parsed(argv)
    try:
        files = set_files(data_folder())
        if options.check:
            return checked(files)
        check_markers(options.markdown, "adbench")
        choose_sets(options, files)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    context = environment("scikit-learn", "pyod")
    print("\n".join(context), flush=True)
    results = Results(options.results, KEY)
    try:
        if not options.show:
            run(options, files, results)
    except KeyboardInterrupt:
        print(f"Stopped. {options.results} holds every fit that ended.", file=sys.stderr)
        return 130
    return shown(options, wanted(results, options), context)


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="six sets and seed 0, unless named otherwise")
    add("--check", action="store_true", help="compare our kNN with the published one, and exit")
    add("--show", action="store_true", help="fit nothing, only show what the results hold")
    add("--settings", nargs="+", choices=SETTINGS, default=SETTINGS)
    add("--sets", nargs="+", metavar="SET", help="names as in the files, without number")
    add("--seeds", nargs="+", type=int, metavar="SEED", help="0 1 2 3 4 by default")
    add("--methods", nargs="+", choices=(*METHODS, "all"), metavar="METHOD", help=listed(METHODS))
    add("--again", nargs="+", choices=METHODS, default=[], metavar="METHOD", help="fit anew")
    add("--max-train", type=int, metavar="N", help="train on N rows at most")
    add("--results", type=Path, default="benchmarks/results/adbench.parquet", metavar="FILE")
    add("--plot", type=Path, metavar="FILE", help="mean ranks (default: beside the results)")
    add("--markdown", type=Path, metavar="FILE", help="write the tables there")
    options = parser.parse_args(argv)
    if options.max_train is not None and options.max_train < 2:
        parser.error("--max-train must be 2 or more")
    if options.seeds is None:
        options.seeds = [0] if options.quick else list(range(5))
    if options.methods is None:
        options.methods = [name for name in METHODS if name not in SLOW]
    elif "all" in options.methods:
        options.methods = list(METHODS)
    options.plot = options.plot or options.results.with_suffix(".png")
    return options


def listed(names: Sequence[str]) -> str:
    return f"{', '.join(names)}, or all; without it all but {', '.join(SLOW)}"


def choose_sets(options: argparse.Namespace, files: dict[str, Path]) -> None:
    """Take the sets asked for, in the order of `files`, and say which there are if one is not."""
    asked = options.sets or (QUICK if options.quick else list(files))
    names = {name.lower(): name for name in files}
    absent = [name for name in asked if name.lower() not in names]
    if absent:
        raise DataError(
            f"no set {', '.join(absent)} in the data folder; there: {', '.join(files)}"
        )
    options.sets = [name for name in files if name.lower() in {one.lower() for one in asked}]


def planned(options: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Yield every setting, set and seed, set by set."""
    for name in options.sets:
        for setting in options.settings:
            for seed in options.seeds:
                yield setting, name, seed


def keys_of(
    setting: str, name: str, seed: int, options: argparse.Namespace
) -> list[tuple[Any, ...]]:
    methods = [one for one in options.methods if suits(one, setting)]
    return [(setting, name, seed, method, options.max_train or 0) for method in methods]


def suits(method: str, setting: str) -> bool:
    """Tell whether a method is another one in this setting than those beside it."""
    return method != "improbable-auto" or setting == "contaminated"


def run(options: argparse.Namespace, files: dict[str, Path], results: Results) -> None:
    """Fit and score whatever is asked for and not in the results yet."""
    runnable = warmed_up(options.methods)
    data: LabelledRows | None = None
    for setting, name, seed in planned(options):
        keys = keys_of(setting, name, seed, options)
        missing = [
            key
            for key in keys
            if key[3] in runnable and (key not in results.rows or key[3] in options.again)
        ]
        if not missing:
            continue
        data = data if data and data.name == name else read_set(name, files[name])
        part = trial(data, setting, seed, options.max_train)
        print(f"\n{name}, {setting}, seed {seed}: {size(data, part)}", flush=True)
        methods = contenders(N_NEIGHBORS[setting], contaminated=setting == "contaminated")
        for key in missing:
            row = dict(zip(KEY, key, strict=True), n_rows=len(data.rows))
            row |= measured(methods[key[3]], part, seed)
            results.add(row)
            print(line(row), flush=True)


def warmed_up(names: Sequence[str]) -> set[str]:
    """Return the methods whose library is installed, each after a first fit of a few rows."""
    few = np.random.default_rng(0).normal(size=(256, 5))
    ready = set()
    for name, method in contenders(5).items():
        reason = method.missing() if name in names else None
        if reason:
            print(f"{method.label} is skipped, it cannot be imported ({reason})", flush=True)
        elif name in names:
            method.fit(few, 0)(few)
            ready.add(name)
    return ready


def size(data: LabelledRows, part: Trial) -> str:
    return (
        f"{len(data.rows)} rows; {len(part.train)} to train on; {len(part.test)} to rank, "
        f"{int(part.is_anomaly.sum())} anomalies; {int(part.unseen.sum())} equal no training row"
    )


def measured(method: Method, part: Trial, seed: int) -> dict[str, Any]:
    """Time one fit and one scoring, and rate the scores of all test rows and of the unseen."""
    train, test = (part.train, part.test) if method.takes_frames else part.scaled()
    begin = time.perf_counter()
    scorer = method.fit(train, seed)
    fitted = time.perf_counter()
    scores = np.asarray(scorer(test), dtype=np.float64)
    done = time.perf_counter()
    scores = np.nan_to_num(scores)  # as published: NaN counts as 0
    unseen = figures(scores[part.unseen], part.is_anomaly[part.unseen])
    return {
        "n_train": len(train),
        "n_test": len(test),
        "n_unseen": int(part.unseen.sum()),
        **figures(scores, part.is_anomaly),
        **{f"unseen_{name}": value for name, value in unseen.items()},
        "fit_seconds": fitted - begin,
        "score_seconds": done - fitted,
    }


def line(row: dict[str, Any]) -> str:
    return (
        f"  {LABELS[row['method']]:16} fit {row['fit_seconds']:7.2f} s  "
        f"score {row['score_seconds']:6.2f} s  AUC {100 * row['roc_auc']:6.2f}  "
        f"AP {100 * row['average_precision']:6.2f}  F1 {100 * row['f1']:6.2f}"
    )


def shown(options: argparse.Namespace, chosen: pd.DataFrame, context: list[str]) -> int:
    """Print the tables, draw the plot, write the document."""
    if chosen.empty:
        print(f"{options.results} holds nothing of this.", file=sys.stderr)
        return 1
    chosen = chosen.sort_values("setting", key=lambda names: names != SETTINGS[0], kind="stable")
    lines = tables(chosen, LABELS)
    print("\n" + "\n".join(lines))
    if chosen["method"].nunique() > 1:
        plot_ranks(chosen, LABELS, options.plot)
        print(f"\nMean ranks are drawn in {options.plot}.")
    if options.markdown:
        notes = [*NOTES, *measured_with(chosen), *capped(options), *context]
        write_between_markers(options.markdown, lines, notes, "adbench")
    return 0


def measured_with(chosen: pd.DataFrame) -> list[str]:
    """Say which seeds were measured, and which methods have fewer of them."""
    of_all = sorted(chosen["seed"].unique())
    found = chosen.groupby("method")["seed"].unique().map(sorted)
    fewer = [
        f"{LABELS[method]} with {', '.join(map(str, seeds))} alone"
        for method, seeds in found.items()
        if len(seeds) < len(of_all)
    ]
    return [f"Measured with seeds {', '.join(map(str, of_all))}{'; '.join(['', *fewer])}."]


def capped(options: argparse.Namespace) -> list[str]:
    n = options.max_train
    return [f"Unlike the protocol: at most {n:,} training rows."] if n else []


def checked(files: dict[str, Path]) -> int:
    """Compare our kNN and DTE-NP with the published; return 1 unless all agree to two digits.

    One-class: kNN on the sets whose split is fixed; elsewhere the published draws are others than
    those of the published code, and DTE-NP is another variant of it. Contaminated: both, on the
    smaller sets; the figures agree only because every random draw does.
    """
    known = published()
    body = []
    for name, path in files.items():
        data = read_set(name, path)
        for setting, method, seeds in comparable(len(data.rows)):
            ours = pd.DataFrame([neighbours(data, setting, method, seed) for seed in seeds])
            for figure in ("roc_auc", "average_precision"):
                mine = f"{100 * ours[figure].mean():.2f}"
                theirs = f"{known.loc[(setting, name.lower(), method), figure]:.2f}"
                same = "yes" if mine == theirs else "NO"
                body.append((name, setting, LABELS[method], figure, mine, theirs, same))
    wrong = sum(cells[-1] == "NO" for cells in body)
    header = ("set", "setting", "method", "figure", "ours", "published", "same")
    print("\n".join(table(header, body, n_names=4)))
    print(f"\n{len(body) - wrong} of {len(body)} figures are the published ones.")
    return 1 if wrong else 0


def comparable(n_rows: int) -> Iterator[tuple[str, str, range]]:
    """Yield setting, method and seeds that should give a published figure of a set so large."""
    if FEWEST <= n_rows <= MOST:
        yield "one-class", "knn", range(1)
    if n_rows <= MOST_CHECKED:
        yield "contaminated", "knn", range(5)
        yield "contaminated", "dte-np", range(5)


def neighbours(data: LabelledRows, setting: str, method: str, seed: int) -> dict[str, float]:
    part = trial(data, setting, seed)
    train, test = part.scaled()
    scorer = contenders(N_NEIGHBORS[setting])[method].fit(train, seed)
    return figures(scorer(test), part.is_anomaly)


if __name__ == "__main__":
    sys.exit(main())
