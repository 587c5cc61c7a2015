"""Can a model be chosen without labels? What a fit says of itself, and how that goes with AP.

Only choices that change the network or its training are compared: their densities are of the same
encoded rows, by the same likelihood and prior, so that their held-out scores are comparable.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from report import table
from standings import counted

from improbable import VAEDetector, scores
from improbable.model import Model

CRITERIA = {
    "held_out_elbo": "mean held-out ELBO",
    "held_out_median": "median held-out ELBO",
    "agreement": "agreement of members",
}
COMPARED = (
    *("default", "random_state", "latent_dim", "n_members", "hidden", "max_steps"),
    *("batch_size", "learning_rate", "mask_rate", "kl_weight"),
)
AGREED, FEWEST = 1_000, 3  # training rows that members must agree on; choices to choose from
FIGURES = ["roc_auc", "average_precision"]
HEADER = ("chosen by", "rank correlation with AP", "ROC AUC", "AP")
NOTES = (
    "Chosen without labels: on each set the best by the criterion among the default and the rows "
    f"marked {', '.join(f'`{name}`' for name in COMPARED[1:-1])} and `{COMPARED[-1]}`; any: their "
    "mean; best possible: the highest AP among them, for which the labels are needed.",
    "Held-out ELBO: the score of the rows that calibrate p-values. Agreement: mean Spearman "
    f"correlation between the members' scores of {AGREED:,} training rows. Rank correlations are "
    "Spearman's, across choices within a set, means over sets.",
)


def criteria(detectors: list[VAEDetector], train: np.ndarray) -> dict[str, float]:
    """Return what one fit says of its own quality, without labels; the higher, the better."""
    if len(detectors) > 1:
        return dict.fromkeys(CRITERIA, float("nan"))
    model = detectors[0].model_
    found = (np.mean(model.held_out), np.median(model.held_out), agreement(model, train[:AGREED]))
    return dict(zip(CRITERIA, map(float, found), strict=True))


def agreement(model: Model, rows: np.ndarray) -> float:
    """Return the mean rank correlation between members' scores; NaN of one member."""
    by_member = model.evaluate(model.codec.transform(rows), lambda draws: scores.elbo(draws).T)
    found = pd.DataFrame(by_member).corr("spearman").to_numpy()
    pairs = found[np.triu_indices(len(found), 1)]
    return float(pairs.mean()) if len(pairs) else float("nan")


def choosing_block(results: pd.DataFrame, setting: str) -> list[str]:
    """Return heading and table of one setting, or nothing where there is little to choose from.

    `results` has the rows of that setting, by the score that decides.
    """
    compared = results[results["choice"].str.partition("=")[0].isin(COMPARED)]
    groups = [of for _, of in compared.groupby(["set", "seed"]) if is_enough(of)]
    if not groups:
        return []
    body = [line_of(words, groups, name) for name, words in CRITERIA.items()]
    default = [of.loc[of["choice"] == "default", FIGURES].iloc[0] for of in groups]
    ways = {
        "nothing, the default": default,
        "nothing, any": [of[FIGURES].mean() for of in groups],
        "labels, best possible": [best(of, "average_precision") for of in groups],
    }
    body += [[words, "", *percent(taken)] for words, taken in ways.items()]
    sets = counted(len({of["set"].iloc[0] for of in groups}), "set")
    return [
        f"**{setting}: chosen without labels** (percent, means over {sets})",
        "",
        *table(HEADER, body),
        "",
    ]


def is_enough(of: pd.DataFrame) -> bool:
    return len(of) >= FEWEST and bool((of["choice"] == "default").any())


def line_of(words: str, groups: list[pd.DataFrame], name: str) -> list[str]:
    mean = pd.Series([correlation(of, name) for of in groups]).mean()
    told = "" if pd.isna(mean) else f"{mean:+.2f}"
    return [words, told, *percent([best(of, name) for of in groups])]


def best(of: pd.DataFrame, name: str) -> pd.Series:
    """Return the figures of the choice that is highest by a column."""
    return of.loc[of[name].idxmax(), FIGURES]


def correlation(of: pd.DataFrame, name: str) -> float:
    """Return the rank correlation with AP; NaN where either is the same for all choices."""
    known = of[[name, "average_precision"]].dropna()
    if known.nunique().min() < 2:
        return float("nan")
    return float(known.corr("spearman").iloc[0, 1])


def percent(taken: list[pd.Series]) -> list[str]:
    return [f"{100 * mean:.2f}" for mean in pd.DataFrame(taken)[FIGURES].mean()]
