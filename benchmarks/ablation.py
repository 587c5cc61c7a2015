"""What each default of the detector is worth: the default, and the default with one thing changed.

    python benchmarks/ablation.py --quick       # six sets
    python benchmarks/ablation.py --markdown docs/ablation.md
    python benchmarks/ablation.py --settings one-class contaminated --seeds 0 1 2
    python benchmarks/ablation.py --choices default latent_dim=8 n_members=4

Sets and splits are those of adbench.py, by default the sets of 1,000 rows or more, one-class,
seed 0. Every choice is fitted on the same rows under the same seed, except those that change
nothing but `random_state`: they show how far figures lie apart by chance. One fit of the default
is ranked by every score. The rows of every fit are kept in a Parquet file as it ends, so that a
run can be stopped and taken up again; after a change of the defaults, name another file. Seconds
are processor seconds of fitting alone.
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
from datasets import DataError, data_folder
from protocol import FEWEST, SETTINGS, LabelledRows, figures, read_set, set_files, trial
from report import check_markers, environment, table, write_between_markers
from standings import counted

from improbable import VAEDetector
from improbable.scores import SCORES
from improbable.settings import AUTO_LATENT, AUTO_STEPS

CHOICES: dict[str, dict[str, Any]] = {
    "default": {},
    **{f"random_state={seed}": {"random_state": seed} for seed in (101, 102)},
    **{f"latent_dim={size}": {"latent_dim": size} for size in (2, 4, 8, 12, 32)},
    **{f"n_members={number}": {"n_members": number} for number in (1, 4)},
    "hidden=64,64": {"hidden": (64, 64)},
    "hidden=128": {"hidden": (128,)},
    "hidden=256,256": {"hidden": (256, 256)},
    **{f"max_steps={number}": {"max_steps": number} for number in (40, 300)},
    **{f"batch_size={size}": {"batch_size": size} for size in (64, 256)},
    "likelihood=normal_per_column": {"likelihood": "normal_per_column"},
    "likelihood=normal_fixed": {"likelihood": "normal_fixed"},
    "likelihood=student_t": {"likelihood": "student_t"},
    "prior=normal": {"prior": "normal"},
    **{f"n_draws={number}": {"n_draws": number} for number in (2, 16)},
}
QUICK = ("annthyroid", "landsat", "mammography", "pendigits", "thyroid", "Wilt")
KEY = ("setting", "set", "seed", "choice", "score")
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
    add("--choices", nargs="+", choices=CHOICES, default=list(CHOICES), metavar="CHOICE")
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
    return pd.read_parquet(path).to_dict("records") if path.is_file() else []


def keep(path: Path, rows: list[Row]) -> None:
    """Replace the file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    pd.DataFrame(rows).to_parquet(beside, index=False)
    os.replace(beside, path)


def chosen(rows: list[Row], options: argparse.Namespace) -> pd.DataFrame:
    """Return the rows that `options` ask for."""
    results = pd.DataFrame(rows, columns=[*KEY, "roc_auc", "average_precision", "fit_seconds"])
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
                missing = [one for one in options.choices if (*place, one) not in done]
                if not missing:
                    continue
                data = data or read_set(name, files[name])
                part = capped(data, setting, seed)
                print(f"\n{name}, {setting}, seed {seed}: {size(part)}", flush=True)
                for choice in missing:
                    rows += measured(dict(zip(KEY, (*place, choice), strict=False)), part)
                    keep(options.results, rows)


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
    detector = VAEDetector(**{"random_state": place["seed"], **CHOICES[place["choice"]]})
    begin = time.process_time()
    detector.fit(train)
    seconds = time.process_time() - begin
    names = list(SCORES) if place["choice"] == "default" else [detector.score_function]
    rows = []
    for name in names:
        if name != detector.score_function and is_slow(detector, test, name):
            print(f"  {place['choice']}: {name} is left out, too slow here", flush=True)
            continue
        scores = np.nan_to_num(-detector.reconstruction_probability(test, name))
        rated = figures(scores, is_anomaly)
        del rated["f1"]
        rows.append({**place, "score": name, **rated, "fit_seconds": seconds})
        print(line(rows[-1]), flush=True)
    return rows


def is_slow(detector: VAEDetector, test: np.ndarray, name: str) -> bool:
    """Foretell from a few rows whether a score would take more than a minute."""
    begin = time.perf_counter()
    detector.reconstruction_probability(test[:TRIED], name)
    seconds = time.perf_counter() - begin
    return seconds * len(test) / min(TRIED, len(test)) > PATIENCE


def line(row: Row) -> str:
    return (
        f"  {row['choice']:29} {row['score']:24} fit {row['fit_seconds']:6.2f} s  "
        f"AUC {100 * row['roc_auc']:6.2f}  AP {100 * row['average_precision']:6.2f}"
    )


def shown(options: argparse.Namespace, results: pd.DataFrame, context: Sequence[str]) -> int:
    """Print the table of each setting, write the document."""
    settings = [one for one in options.settings if not baseline(results, one).empty]
    if not settings:
        print(f"{options.results} holds no figures of the default.", file=sys.stderr)
        return 1
    lines: list[str] = []
    notes = [f"The default: {told_default()}.", *explained(options.seeds)]
    for setting in settings:
        part = results[results["setting"] == setting]
        sets = counted(baseline(results, setting)["set"].nunique(), "set")
        lines += [f"**{setting}** (percent, means over {sets})", "", *ablation_table(part), ""]
        notes += spread(baseline(results, setting), setting)
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
    """Spell out the arguments that the choices change, as the detector has them by default."""
    names = dict.fromkeys(name for changed in CHOICES.values() for name in changed)
    known = VAEDetector().get_params(deep=False)
    known |= {"latent_dim": AUTO_LATENT, "max_steps": AUTO_STEPS["mlp"]}
    told = [f"`{name}={known[name]!r}`" for name in names if name != "random_state"]
    return ", ".join([*told, f"ranked by `{DEFAULT[1]}`"])


def explained(seeds: Sequence[int]) -> list[str]:
    return [
        "Rows marked `random_state` change nothing else: differences of their size are chance. "
        "Rows marked as a score rank by it what the default has learned.",
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
    others = [(choice, score) for choice in CHOICES if choice != DEFAULT[0]]
    scores = [(DEFAULT[0], name) for name in SCORES if name != score]
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
