"""What each default of the detector is worth: the default, and the default with one thing changed.

    python benchmarks/ablation.py --quick       # six sets
    python benchmarks/ablation.py --markdown docs/ablation.md
    python benchmarks/ablation.py --settings one-class contaminated --seeds 0 1 2
    python benchmarks/ablation.py --choices default latent_dim=8 n_members=4

Sets and splits are those of adbench.py, by default the sets of 1,000 rows or more, one-class,
seed 0; the choices stand in variants.py. Every choice is fitted on the same rows under the same
seed, except those that change nothing but `random_state`: they show how far figures lie apart by
chance. One fit of the default is ranked by every score. A second table shows what choosing by
criteria without labels would reach (choosing.py). The rows of every fit are kept in a Parquet file
as it ends, so that a run can be stopped and taken up again; after a change of the defaults, name
another file. Seconds are processor seconds of fitting alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from adbench import choose_sets
from choosing import CRITERIA, NOTES, choosing_block, criteria
from datasets import DataError, data_folder
from protocol import FEWEST, SETTINGS, LabelledRows, figures, read_set, set_files, trial
from report import check_markers, environment, table, write_between_markers
from standings import counted
from variants import CHOICES, CONTAMINATED, INTERNAL, MOST_RANKED, TOGETHER, Choice, Ranking

from improbable import VAEDetector
from improbable.scores import SCORES
from improbable.settings import AUTO_LATENT, AUTO_STEPS

ALL = {**CHOICES, **CONTAMINATED}
QUICK = ("annthyroid", "landsat", "mammography", "pendigits", "thyroid", "Wilt")
KEY = ("setting", "set", "seed", "choice", "score")
COLUMNS = (*KEY, "roc_auc", "average_precision", "fit_seconds", *CRITERIA)
MOST_TEST = 8_000
TRIED, PATIENCE = 200, 60.0  # rows that foretell a score's seconds, and the most it may take
DEFAULT = ("default", VAEDetector().score_function)
HEADER = (
    *("choice", "sets", "ROC AUC", "AP", "ROC AUC - default", "AP - default"),
    *("better by AP", "worse by AP", "fit, CPU s"),
)

Part = tuple[np.ndarray, np.ndarray, np.ndarray]  # training rows, test rows, which are anomalies
Row = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for and return the exit status."""
    options = parsed(argv)
    check_markers(options.markdown, "ablation")
    try:
        files = set_files(data_folder())
        choose_sets(options, files)
        kept(options.results)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    if not options.named:
        options.sets = [name for name in options.sets if is_large(files[name])]
    context = environment("scikit-learn")
    print("\n".join(context), flush=True)
    try:
        if not options.show:
            run(options, files)
    except KeyboardInterrupt:
        print(f"Stopped. {options.results} holds every fit that ended.", file=sys.stderr)
        return 130
    return shown(options, chosen(kept(options.results), options), context[:1])


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="six sets, unless named otherwise")
    add("--show", action="store_true", help="fit nothing, only show what the results hold")
    add("--settings", nargs="+", choices=SETTINGS, default=SETTINGS[:1])
    add("--sets", nargs="+", metavar="SET", help="default: those of 1,000 rows or more")
    add("--seeds", nargs="+", type=int, default=[0], metavar="SEED", help="default: 0")
    add("--choices", nargs="+", choices=ALL, default=list(ALL), metavar="CHOICE")
    add("--results", type=Path, default="benchmarks/results/ablation.parquet", metavar="FILE")
    add("--markdown", type=Path, metavar="FILE", help="write the tables there")
    options = parser.parse_args(argv)
    options.sets = options.sets or (list(QUICK) if options.quick else None)
    options.named = options.sets is not None
    return options


def is_large(path: Path) -> bool:
    """Tell whether a set is split as it is, not first drawn up to 1,000 rows."""
    with np.load(path) as arrays:
        return len(arrays["y"]) >= FEWEST


def kept(path: Path) -> list[Row]:
    """Return the rows measured so far."""
    rows = pd.read_parquet(path) if path.is_file() else pd.DataFrame(columns=COLUMNS)
    if not set(COLUMNS) <= set(rows.columns):
        raise DataError(f"{path} is of an earlier version of this script: name another --results.")
    return rows.to_dict("records")


def keep(path: Path, rows: list[Row]) -> None:
    """Replace the file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    pd.DataFrame(rows).to_parquet(beside, index=False)
    os.replace(beside, path)


def chosen(rows: list[Row], options: argparse.Namespace) -> pd.DataFrame:
    """Return the rows that `options` ask for."""
    results = pd.DataFrame(rows, columns=COLUMNS)
    asked = {"setting": options.settings, "set": options.sets, "seed": options.seeds}
    asked["choice"] = options.choices
    return results[np.logical_and.reduce([results[name].isin(asked[name]) for name in asked])]


def run(options: argparse.Namespace, files: dict[str, Path]) -> None:
    """Fit and score whatever is asked for and not in the results yet; the first fit warms up."""
    VAEDetector(random_state=0).fit(np.random.default_rng(0).normal(size=(256, 5)))
    rows = kept(options.results)
    done = {tuple(row[name] for name in KEY[:4]) for row in rows}
    for name in options.sets:
        data: LabelledRows | None = None
        for setting in options.settings:
            for seed in options.seeds:
                place = (setting, name, seed)
                missing = [
                    one
                    for one in options.choices
                    if (*place, one) not in done and suits(one, setting)
                ]
                if not missing:
                    continue
                data = data or read_set(name, files[name])
                part = capped(data, setting, seed)
                print(f"\n{name}, {setting}, seed {seed}: {size(part)}", flush=True)
                for choice in missing:
                    rows += measured(dict(zip(KEY, (*place, choice), strict=False)), part)
                    keep(options.results, rows)


def suits(choice: str, setting: str) -> bool:
    """Tell whether a choice changes anything in a setting."""
    return choice in CHOICES or setting == "contaminated"


def capped(data: LabelledRows, setting: str, seed: int) -> Part:
    """Split a set as published, and draw at most 8,000 of its test rows, always the same."""
    whole = trial(data, setting, seed)
    n_rows = len(whole.test)
    some = np.arange(n_rows)
    if n_rows > MOST_TEST:
        some = np.sort(np.random.default_rng(0).choice(n_rows, MOST_TEST, replace=False))
    return whole.train, whole.test[some], whole.is_anomaly[some]


def size(part: Part) -> str:
    train, test, is_anomaly = part
    return f"{len(train)} rows to train on; {len(test)} to rank, {is_anomaly.sum()} anomalies"


def measured(place: Row, part: Part) -> list[Row]:
    """Fit one choice; return a row for the score that decides, of the default for every score."""
    train, test, is_anomaly = part
    choice = ALL[place["choice"]]
    begin = time.process_time()
    detectors = choice.fit(train, place["seed"], place["setting"])
    seconds = time.process_time() - begin
    said = criteria(detectors, train)
    rows = []
    for name, ranking in rankings(choice, detectors).items():
        decides = name == DEFAULT[1]
        if not decides and is_slow(ranking, test, train):
            print(f"  {place['choice']}: {name} is left out, too slow here", flush=True)
            continue
        rated = figures(np.nan_to_num(-ranking(test, train)), is_anomaly)
        del rated["f1"]
        known = said if decides else dict.fromkeys(CRITERIA, float("nan"))
        rows.append({**place, "score": name, **rated, "fit_seconds": seconds, **known})
        print(line(rows[-1]), flush=True)
    return rows


def rankings(choice: Choice, detectors: list[VAEDetector]) -> dict[str, Ranking]:
    """Return what to rank by: the score that decides, of the default every other one as well."""
    name = DEFAULT[1]
    found = {name: Ranking(tuple((one, name) for one in detectors), choice.as_ranks)}
    if choice == CHOICES[DEFAULT[0]]:
        (one,) = detectors
        found |= {name: Ranking(((one, name),)) for name in SCORES}
        for words, names in TOGETHER.items():
            found[words] = Ranking(tuple((one, name) for name in names), as_ranks=True)
    return found


def is_slow(ranking: Ranking, test: np.ndarray, train: np.ndarray) -> bool:
    """Foretell from a few rows whether a score would take more than a minute."""
    few = test[:TRIED]
    begin = time.perf_counter()
    ranking.scores(few)
    seconds = time.perf_counter() - begin
    n_rows = len(test) + (min(len(train), MOST_RANKED) if ranking.as_ranks else 0)
    return seconds * n_rows / len(few) > PATIENCE


def line(row: Row) -> str:
    return (
        f"  {row['choice']:29} {row['score']:31} fit {row['fit_seconds']:6.2f} s  "
        f"AUC {100 * row['roc_auc']:6.2f}  AP {100 * row['average_precision']:6.2f}"
    )


def shown(options: argparse.Namespace, results: pd.DataFrame, context: Sequence[str]) -> int:
    """Print the table of each setting, write the document."""
    settings = [one for one in options.settings if not baseline(results, one).empty]
    if not settings:
        print(f"{options.results} holds no figures of the default.", file=sys.stderr)
        return 1
    lines: list[str] = []
    chose = False
    notes = [f"The default: {told_default()}.", *explained(options.seeds)]
    for setting in settings:
        part = results[results["setting"] == setting]
        sets = counted(baseline(results, setting)["set"].nunique(), "set")
        lines += [f"**{setting}** (percent, means over {sets})", "", *ablation_table(part), ""]
        block = choosing_block(part[part["score"] == DEFAULT[1]], setting)
        lines, chose = lines + block, chose or bool(block)
        notes += spread(baseline(results, setting), setting)
    notes += NOTES if chose else ()
    print("\n" + "\n".join([*lines, *notes]))
    if options.markdown:
        write_between_markers(options.markdown, lines[:-1], [*notes, *context], "ablation")
    return 0


def baseline(results: pd.DataFrame, setting: str) -> pd.DataFrame:
    """Return the rows of the default, by the score that decides."""
    choice, score = DEFAULT
    of_default = (results["choice"] == choice) & (results["score"] == score)
    return results[of_default & (results["setting"] == setting)]


def told_default() -> str:
    """Spell out what the choices change, as the detector has it by default."""
    names = dict.fromkeys(name for choice in CHOICES.values() for name in choice.arguments)
    known = VAEDetector().get_params(deep=False)
    known |= {"latent_dim": AUTO_LATENT, "max_steps": AUTO_STEPS["mlp"]}
    told = [f"`{name}={known[name]!r}`" for name in names if name != "random_state"]
    told += [f"{name} {value:g}" for name, value in INTERNAL.items()]
    return ", ".join([*told, f"ranked by `{DEFAULT[1]}`"])


def explained(seeds: Sequence[int]) -> list[str]:
    return [
        "In the contaminated setting the default has `contamination='unknown'`.",
        "Rows marked `random_state` change nothing else: differences of their size are chance. "
        "Rows marked as a score rank by it what the default has learned.",
        "Scores put together as ranks: the mean rank of a row among training rows, and where rows "
        "tie, their mean in nats. Rows marked `sizes` have one member of each size.",
        "Without early stopping the best weights are still those kept; `kl_weight` weighs the "
        "held-out ELBO that picks them as well; `train_clip` is that of the loss alone.",
        "Better and worse count the sets on which average precision differs from the default's "
        "when both are rounded to two digits.",
        f"Of more than {MOST_TEST:,} test rows a random {MOST_TEST:,} are ranked, the same for "
        "every choice; figures of such sets are not those of the published protocol.",
        f"Measured with {'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}.",
    ]


def ablation_table(part: pd.DataFrame) -> list[str]:
    """Return the table of one setting: the default, every choice, every score."""
    wide = {
        name: part.pivot_table(index="set", columns=["choice", "score"], values=name)
        for name in ("roc_auc", "average_precision", "fit_seconds")
    }
    score = DEFAULT[1]
    others = [(choice, score) for choice in ALL if choice != DEFAULT[0]]
    scores = [(DEFAULT[0], name) for name in (*SCORES, *TOGETHER) if name != score]
    there = [key for key in (*others, *scores) if key in wide["roc_auc"].columns]
    return table(HEADER, [row_of(wide, key) for key in (DEFAULT, *there)])


def row_of(wide: dict[str, pd.DataFrame], key: tuple[str, str]) -> list[str]:
    """Compare one choice and score with the default, on the sets that have figures of both."""
    sets = wide["roc_auc"][[DEFAULT, key]].dropna().index
    auc, precision = (100 * wide[name].loc[sets, key] for name in ("roc_auc", "average_precision"))
    cells = [told(key), str(len(sets)), f"{auc.mean():.2f}", f"{precision.mean():.2f}"]
    seconds = f"{wide['fit_seconds'].loc[sets, key].mean():.2f}"
    if key == DEFAULT:
        return [*cells, "", "", "", "", seconds]
    gain = precision.round(2) - (100 * wide["average_precision"].loc[sets, DEFAULT]).round(2)
    in_auc = auc.mean() - 100 * wide["roc_auc"].loc[sets, DEFAULT].mean()
    in_precision = precision.mean() - 100 * wide["average_precision"].loc[sets, DEFAULT].mean()
    differences = [f"{in_auc:+z.2f}", f"{in_precision:+z.2f}"]
    return [*cells, *differences, str((gain > 0).sum()), str((gain < 0).sum()), seconds]


def told(key: tuple[str, str]) -> str:
    choice, score = key
    if key == DEFAULT:
        return choice
    return f"`{choice}`" if choice != DEFAULT[0] else f"score `{score}`"


def spread(of_default: pd.DataFrame, setting: str) -> list[str]:
    """Say how far the default's figures lie apart between seeds, if there are several."""
    wide = 100 * of_default.pivot_table(index="set", columns="seed", values="average_precision")
    wide = wide.dropna()
    if wide.shape[1] < 2 or wide.empty:
        return []
    means = wide.mean()
    return [
        f"Between seeds, {setting}: the default's mean AP lies between {means.min():.2f} and "
        f"{means.max():.2f}; on one set its standard deviation is {wide.std(axis=1).mean():.2f} "
        "on average."
    ]


if __name__ == "__main__":
    sys.exit(main())
