"""Who stands where: tables of means, ranks and wins over sets, and the plot of mean ranks.

Results come as a frame with a row for each setting, set, seed and method. A set counts where every
method has a figure; figures are means over the seeds that were run, in percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from protocol import FEWEST, published
from report import table
from scipy.stats import friedmanchisquare, studentized_range

MAIN = ("roc_auc", "average_precision")
NAMES = {"roc_auc": "ROC AUC", "average_precision": "average precision"}
STANDING_HEADER = (
    *("method", "ROC AUC", "AP", "F1", "rank by ROC", "rank by AP"),
    *("wins by ROC", "wins by AP", "fit s", "score s"),
)
REFERENCES = {
    "knn": "kNN, published",
    "dte-np": "DTE-NP, published",
    "icl": "ICL, published",
    "iforest": "isolation forest, published",
    "mcd": "MCD, published",
    "best": "best of 26 a set, published",
}
BESIDE = {"knn": "kNN, publ.", "icl": "ICL, publ.", "best": "best of 26"}


def by_set(results: pd.DataFrame, figure: str, *, scale: float = 100.0) -> pd.DataFrame:
    """Return sets x methods: means over seeds, of the sets on which every method has a figure."""
    wide = results.pivot_table(index="set", columns="method", values=figure, aggfunc="mean")
    in_order = wide.reindex(index=results["set"].unique(), columns=results["method"].unique())
    return scale * in_order.dropna()


def references(setting: str, sets: Sequence[str]) -> pd.DataFrame | None:
    """Return the published figures on these sets, or None where one of the sets has none."""
    figures = published().loc[setting].unstack("method")
    names = [name.lower() for name in sets]
    if not set(names) <= set(figures.index):
        return None
    return figures.loc[names].set_axis(sets)


def standings(
    results: pd.DataFrame, labels: dict[str, str], prefix: str = "", setting: str | None = None
) -> list[str]:
    """Return the table of one setting, best mean ROC AUC first; `prefix` selects the figures.

    With a `setting` the published references follow, each ranked as if it alone had joined.
    """
    figures = {name: by_set(results, prefix + name) for name in (*MAIN, "f1")}
    means = {name: wide.mean() for name, wide in figures.items()}
    seconds = [
        by_set(results, name, scale=1.0).mean() for name in ("fit_seconds", "score_seconds")
    ]
    ranks = [ranked(figures[name]).mean() for name in MAIN]
    wins = [won(figures[name]).sum() for name in MAIN]
    body = [
        (
            labels[method],
            *(f"{mean[method]:.2f}" for mean in means.values()),
            *(f"{rank[method]:.2f}" for rank in ranks),
            *(f"{win[method]:d}" for win in wins),
            *(f"{second[method]:.2f}" for second in seconds),
        )
        for method in means["roc_auc"].sort_values(ascending=False, kind="stable").index
    ]
    return table(STANDING_HEADER, body + published_lines(figures, setting))


def published_lines(
    figures: dict[str, pd.DataFrame], setting: str | None
) -> list[tuple[str, ...]]:
    """Return the published figures on the same sets, where there are any."""
    known = references(setting, list(figures["roc_auc"].index)) if setting else None
    if known is None:
        return []
    return [
        (
            label,
            *(f"{known[name][method].mean():.2f}" for name in MAIN),
            "",
            *(f"{joined(known[name][method], figures[name]).mean():.2f}" for name in MAIN),
            *(f"{(known[name][method] >= top(figures[name])).sum():d}" for name in MAIN),
            *("", ""),
        )
        for method, label in REFERENCES.items()
    ]


def ranked(wide: pd.DataFrame) -> pd.DataFrame:
    """Rank the methods on every set, 1 for the best; equal to two digits share a rank."""
    return wide.round(2).rank(axis=1, ascending=False)


def top(wide: pd.DataFrame) -> pd.Series:
    return wide.round(2).max(axis=1)


def won(wide: pd.DataFrame) -> pd.DataFrame:
    """Mark the best method of every set, all of those equal to two digits."""
    return wide.round(2).eq(top(wide), axis=0)


def joined(newcomer: pd.Series, wide: pd.DataFrame) -> pd.Series:
    """Return the rank a method would have on every set if it joined the others."""
    others = wide.round(2)
    ahead = others.gt(newcomer, axis=0).sum(axis=1)
    return 1 + ahead + 0.5 * others.eq(newcomer, axis=0).sum(axis=1)


def per_set(results: pd.DataFrame, labels: dict[str, str], setting: str, figure: str) -> list[str]:
    """Return the table of one figure on every set; * marks the best of the measured methods."""
    wide = by_set(results, figure)
    best, known = won(wide), references(setting, list(wide.index))
    beside = BESIDE if known is not None else {}
    rows = results.groupby("set")["n_rows"].first()
    body = [
        (
            name,
            f"{rows[name]:,}",
            *(f"{value:.2f}{'*' if best.loc[name, key] else ''}" for key, value in line.items()),
            *(f"{known[figure].loc[name, key]:.2f}" for key in beside),
        )
        for name, line in wide.iterrows()
    ]
    methods = [labels[method] for method in wide.columns]
    return table((f"{NAMES[figure]} of", "rows", *methods, *beside.values()), body)


def tables(results: pd.DataFrame, labels: dict[str, str]) -> list[str]:
    """Return every table: the standings of each setting, then the figures of each set."""
    lines: list[str] = []
    settings = list(results["setting"].unique())
    for setting in settings:
        part = results[results["setting"] == setting]
        large = part[part["n_rows"] >= FEWEST]
        scopes = [("every set", part, "")]
        if 0 < large["set"].nunique() < part["set"].nunique():
            scopes.append((f"sets of {FEWEST:,} rows or more", large, ""))
        if setting == "one-class":
            scopes += [
                (f"{words}; only test rows that equal no training row", rows, "unseen_")
                for words, rows, _ in scopes
            ]
        for words, rows, prefix in scopes:
            lines += standing_block(setting, words, rows, labels, prefix)
    for setting in settings:
        part = results[results["setting"] == setting]
        for figure in MAIN:
            lines += [f"**{setting}, {NAMES[figure]}, percent**", ""]
            lines += [*per_set(part, labels, setting, figure), ""]
    return lines[:-1]


def standing_block(
    setting: str, words: str, rows: pd.DataFrame, labels: dict[str, str], prefix: str
) -> list[str]:
    """Return the heading, the table of standings, and whether the ranks differ by chance."""
    n_sets, n_asked = len(by_set(rows, f"{prefix}roc_auc")), rows["set"].nunique()
    if n_sets == 0:
        return []
    compared = setting if not prefix else None
    of = "" if n_sets == n_asked else f" of {n_asked}, the others lacking figures"
    return [
        f"**{setting}, {words}** (percent, means over {counted(n_sets, 'set')}{of})",
        "",
        *standings(rows, labels, prefix, compared),
        "",
        *(difference(by_set(rows, prefix + figure), figure) for figure in MAIN),
        "",
    ]


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def difference(wide: pd.DataFrame, figure: str) -> str:
    """Say, as an item of a list, whether the mean ranks differ by more than chance."""
    if min(wide.shape) < 3:
        return f"- {NAMES[figure]}: too few sets or methods to compare ranks."
    _, p = friedmanchisquare(*wide.round(2).to_numpy().T)
    return (
        f"- {NAMES[figure]}: Friedman test p = {p:.2g}; mean ranks differ at the 5 % level where "
        f"they are {critical_difference(*wide.shape):.2f} apart (Nemenyi)."
    )


def critical_difference(n_sets: int, n_methods: int, alpha: float = 0.05) -> float:
    """Return how far apart two mean ranks must be to differ (Nemenyi 1963; Demsar 2006, p. 11)."""
    q = studentized_range.ppf(1 - alpha, n_methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_methods * (n_methods + 1) / (6 * n_sets)))


def plot_ranks(results: pd.DataFrame, labels: dict[str, str], path: Path) -> None:
    """Draw the critical-difference diagrams, a row a setting, by ROC AUC and by precision."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    settings = list(results["setting"].unique())
    n_methods = results["method"].nunique()
    size = (13, len(settings) * (1.4 + 0.26 * n_methods))
    figure, grid = plt.subplots(len(settings), 2, figsize=size, squeeze=False)
    for setting, row in zip(settings, grid, strict=True):
        part = results[results["setting"] == setting]
        for name, axes in zip(MAIN, row, strict=True):
            wide = by_set(part, name).rename(columns=labels)
            axes.set_title(f"{setting}: mean rank by {NAMES[name]}, {counted(len(wide), 'set')}")
            draw_ranks(axes, ranked(wide).mean().sort_values(), critical_difference(*wide.shape))
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_ranks(axes: Any, ranks: pd.Series, distance: float) -> None:
    """Draw one diagram: a dot a method, the best on top; bars join those that do not differ."""
    places = np.arange(len(ranks))
    axes.plot(ranks, places, "o", color="black")
    axes.set_yticks(places, [f"{name}  {rank:.2f}" for name, rank in ranks.items()])
    axes.set_xlim(0.5, len(ranks) + 0.5)
    axes.set_ylim(len(ranks) - 0.5, -0.9)
    axes.hlines(places, 0.5, ranks, color="lightgrey", zorder=0)
    axes.errorbar(1 + distance / 2, -0.55, xerr=distance / 2, color="grey", capsize=3)
    axes.text(1.1 + distance, -0.55, f"critical difference {distance:.2f}", va="center", size=8)
    for place, (first, last) in enumerate(cliques(ranks.to_numpy(), distance)):
        right = len(ranks) + 0.35 - 0.12 * place
        axes.vlines(right, first - 0.2, last + 0.2, color="black", linewidth=3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def cliques(ranks: np.ndarray, distance: float) -> list[tuple[int, int]]:
    """Return the longest runs of ascending mean ranks within `distance`: first and last place."""
    lasts = np.searchsorted(ranks, ranks + distance, side="right") - 1
    runs = [(first, int(last)) for first, last in enumerate(lasts) if last > first]
    return [run for place, run in enumerate(runs) if place == 0 or run[1] > runs[place - 1][1]]
