"""`improbable` beside PyOD's VAE and three classic detectors, on the same rows, in one run.

    python benchmarks/compare.py                    # every set, every method
    python benchmarks/compare.py --quick            # fewer rows: under three minutes
    python benchmarks/compare.py --sets thyroid satellite --methods improbable knn
    python benchmarks/compare.py --repeat 3 --markdown README.md

The data folder is named by IMPROBABLE_DATA (default: ../shared/data beside this repository).
Seconds are wall-clock seconds around fitting and around scoring alone; each method first meets a
few rows untimed, so that imports and just-in-time compilation are not counted. Repetition r gives
every model the seed r, on the same split; the figures shown are medians over the repetitions.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from datasets import FULL, QUICK, SETS, DataError, Split, data_folder
from peers import METHODS, Method, encoded
from report import check_markers, environment, table, write_between_markers
from sklearn.metrics import average_precision_score, roc_auc_score

OURS, RIVAL = METHODS["improbable"].label, METHODS["pyod-vae"].label
HEADER = ("data set", "method", "fit s", "score s", "ROC AUC", "average precision")
FIGURES = ("fit_seconds", "score_seconds", "roc_auc", "average_precision")


@dataclass(frozen=True)
class Result:
    """What one method reached in one ranking; seconds are those of the whole set's one fit."""

    split: str
    evaluation: str
    method: str
    fit_seconds: float
    score_seconds: float
    roc_auc: float
    average_precision: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison and return the exit status."""
    options = parsed(argv)
    try:
        folder = data_folder()
        check_markers(options.markdown)
        context = environment("scikit-learn", "pyod")
        print("\n".join(context), flush=True)
        methods = list(runnable(options.methods))
        results, notes = [], ["A quick run, on fewer rows."] if options.quick else []
        for split in (
            SETS[name](folder, QUICK if options.quick else FULL) for name in options.sets
        ):
            notes.append(f"{split.name}: {split.note}.")
            print(f"\n{notes[-1]}", flush=True)
            results += measured(split, methods, options.repeat)
            save_json(options.json, results)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    closing = summary(results)
    print("\n" + "\n".join([*ranked(results), "", *closing]))
    if options.markdown:
        write_between_markers(options.markdown, ranked(results), [*closing, *context, *notes])
    return 0


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rows, under three minutes")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument(
        "--repeat", type=positive, default=1, metavar="N", help="show medians of N"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also save the raw figures")
    return parser.parse_args(argv)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def runnable(names: Sequence[str]) -> Iterator[Method]:
    """Yield the methods whose library is installed, and say which are skipped; warm them up."""
    few = np.random.default_rng(0).normal(size=(256, 5))
    for method in (METHODS[name] for name in names):
        reason = method.missing()
        if reason:
            print(f"{method.label} is skipped, it cannot be imported ({reason})", flush=True)
        else:
            method.fit(few, 0)(few)
            yield method


def measured(split: Split, methods: Sequence[Method], n_repeats: int) -> list[Result]:
    """Fit and score every method on one split; medians over the repetitions."""
    matrices = encoded(split.train, split.test)
    results = []
    for method in methods:
        train, test = (split.train, split.test) if method.takes_frames else matrices
        runs = [one_run(split, method, train, test, seed) for seed in range(n_repeats)]
        medians = [in_the_middle(same) for same in zip(*runs, strict=True)]
        print("\n".join(line(result) for result in medians), flush=True)
        results += medians
    return results


def one_run(split: Split, method: Method, train: Any, test: Any, seed: int) -> list[Result]:
    """Time one fit and one scoring, and rate the scores in every ranking of the split."""
    begin = time.perf_counter()
    scorer = method.fit(train, seed)
    fitted = time.perf_counter()
    scores = np.asarray(scorer(test), dtype=np.float64)
    done = time.perf_counter()
    return [
        Result(
            split.name,
            ranking.name,
            method.label,
            fitted - begin,
            done - fitted,
            float(roc_auc_score(ranking.is_anomaly, scores[ranking.rows])),
            float(average_precision_score(ranking.is_anomaly, scores[ranking.rows])),
        )
        for ranking in split.evaluations
    ]


def in_the_middle(runs: Sequence[Result]) -> Result:
    """Return the result whose every figure is the median over `runs`."""
    first = runs[0]
    figures = {name: median(getattr(run, name) for run in runs) for name in FIGURES}
    return Result(first.split, first.evaluation, first.method, **figures)


def cells(result: Result, mark: str = "") -> tuple[str, ...]:
    return (
        result.evaluation,
        result.method,
        f"{result.fit_seconds:.2f}",
        f"{result.score_seconds:.2f}",
        f"{result.roc_auc:.4f}",
        f"{result.average_precision:.4f}{mark}",
    )


def line(result: Result) -> str:
    name, method, fit, score, auc, precision = cells(result)
    return f"  {name:14} {method:16} fit {fit:>8} s  score {score:>7} s  AUC {auc}  AP {precision}"


def ranked(results: Sequence[Result]) -> list[str]:
    """Return the Markdown table; * marks the best average precision of each ranking."""
    winners = {ranking: best(rows) for ranking, rows in by_ranking(results).items()}
    body = [
        cells(result, "*" if result.method in winners[result.evaluation] else "")
        for results_of_one in by_ranking(results).values()
        for result in results_of_one
    ]
    return table(HEADER, body, n_names=2)


def by_ranking(results: Sequence[Result]) -> dict[str, list[Result]]:
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.evaluation, []).append(result)
    return groups


def best(results: Sequence[Result]) -> set[str]:
    """Return the methods with the highest average precision, to the four digits shown."""
    top = max(round(result.average_precision, 4) for result in results)
    return {result.method for result in results if round(result.average_precision, 4) == top}


def summary(results: Sequence[Result]) -> list[str]:
    """Say how fast `improbable` fits beside PyOD's VAE and how often it ranks best."""
    rankings = by_ranking(results)
    lines = [
        f"{split}: {faster('fit', ours.fit_seconds, theirs.fit_seconds)}; "
        f"{faster('score', ours.score_seconds, theirs.score_seconds)}"
        for split, (ours, theirs) in pairs(results).items()
    ]
    if any(result.method == OURS for result in results):
        wins = sum(OURS in best(rows) for rows in rankings.values())
        lines.append(
            f"{OURS} has the highest average precision in {wins} of {len(rankings)} rankings"
        )
    else:
        lines.append(f"{OURS} was not measured")
    return lines


def pairs(results: Sequence[Result]) -> dict[str, tuple[Result, Result]]:
    """Return our result and PyOD's VAE's, one pair a split that has both."""
    found = {(result.split, result.method): result for result in results}
    return {
        split: (found[split, OURS], found[split, RIVAL])
        for split in dict.fromkeys(result.split for result in results)
        if (split, OURS) in found and (split, RIVAL) in found
    }


def faster(what: str, ours: float, theirs: float) -> str:
    if ours <= theirs:
        return f"{what}: {OURS} is {theirs / ours:.1f} times faster than {RIVAL}"
    return f"{what}: {OURS} is {ours / theirs:.1f} times slower than {RIVAL}"


def save_json(path: Path | None, results: Sequence[Result]) -> None:
    if path:
        path.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
