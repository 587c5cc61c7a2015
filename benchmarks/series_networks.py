"""Recurrent and convolutional networks over windows, and a mixture as the prior of z.

    IMPROBABLE_DATA=... python benchmarks/series_networks.py
    python benchmarks/series_networks.py --only ASD --methods default,gru-mixture
    python benchmarks/series_networks.py --show --markdown docs/series.md

"GRU, mixture, page 9" is the method of Guo et al. ("Multidimensional Time Series Anomaly
Detection: A GRU-based Gaussian Mixture Variational Autoencoder Approach", ACML 2018) by this
library's means: gated recurrent units on both sides, a mixture of Gaussians as the prior, and the
log of the mean density over draws as the score. Windows have 16 points, so that all lines can be
measured within an hour or two; the default chooses its own, 32 points or more.
Every fit is kept in a Parquet file as it ends, and is not made anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import DataError as NoData
from datasets import data_folder
from report import check_markers, environment, table, write_between_markers
from results import Results
from series import KEY, TITLES, measured, percents, size, timed
from series_data import Series, families, of_family
from series_peers import Method, Scorer, centered, fit_improbable, scaling, windows

from improbable import DataError, VAEDetector, WindowCodec

MANY = ("ASD", "SMAP", "MSL", "SMD")
SHOWN = ("vus_pr", "average_precision", "roc_auc", "range_f1")
LENGTH = 16
UNITS, LATENT, STEPS, BATCH = 64, 16, 300, 128
PAGE_9 = "log_expected_prob"
NOTES = (
    "A line is the mean over series, in percent; seconds are means over series too. Figures as in "
    "the table above. One seed, each series fitted by itself.",
    "All lines but the first have windows of 16 points, so that this can be measured within an "
    "hour or two. The recurrent autoencoder learns for 300 steps, the others for their default of "
    "80. Other work shared the processor, more at some times than at others: seconds compare "
    "roughly.",
    "Default score: the ELBO, by the aggregated posterior as prior unless the line says mixture: "
    "64 Gaussians learned with the networks. "
    "Page 9: `log_expected_prob`.",
    "GRU, mixture, page 9 is the method of Guo et al. (ACML 2018), who report other data.",
)


def fit_window(series: Series, seed: int, network: str = "mlp", **arguments: Any) -> Scorer:
    """Fit this library on short windows, else at its default; equal scores where it refuses."""
    codec = WindowCodec(network=network, length=LENGTH)
    detector = VAEDetector(codec=codec, random_state=seed, **arguments)
    try:
        detector.fit(series.train)
    except DataError:  # of one value, as `fit_improbable` says
        return lambda test: np.zeros(len(test))
    return lambda test: -np.asarray(detector.score_samples(test))


class Autoencoder(torch.nn.Module):
    """A unit reads the window, its last state is narrowed, and a second unit writes it again."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.reader = torch.nn.GRU(n_channels, UNITS, batch_first=True)
        self.narrow = torch.nn.Linear(UNITS, LATENT)
        self.writer = torch.nn.GRU(LATENT, UNITS, batch_first=True)
        self.out = torch.nn.Linear(UNITS, n_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        code = self.narrow(self.reader(x)[1][0])
        states = self.writer(code.unsqueeze(1).expand(-1, x.shape[1], -1))[0]
        return self.out(states)


def fit_recurrent_autoencoder(series: Series, seed: int) -> Scorer:
    """Train a plain recurrent autoencoder: the score is its squared error of the window."""
    length, scaled, n_channels = LENGTH, scaling(series.train), series.train.shape[1]
    draw = torch.Generator().manual_seed(seed)

    def rows_of(part: np.ndarray) -> torch.Tensor:
        views = torch.from_numpy(windows(np.clip(scaled(part), -10.0, 10.0), length))
        return views.unflatten(1, (n_channels, length)).transpose(1, 2).contiguous()

    rows, model = rows_of(series.train), Autoencoder(n_channels)
    for parameter in model.parameters():
        wide = parameter.shape[-1] ** -0.5
        torch.nn.init.uniform_(parameter, -wide, wide, generator=draw)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        batch = rows[torch.randint(len(rows), (BATCH,), generator=draw)]
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(batch), batch).backward()
        optimizer.step()

    def scorer(test: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            parts = rows_of(test).split(2048)
            errors = [(model(part) - part).square().mean(dim=(1, 2)) for part in parts]
        return centered(torch.cat(errors).numpy().astype(np.float64), length)

    return scorer


def ours(label: str, **arguments: Any) -> Method:
    return Method(label, "improbable", partial(fit_window, **arguments), takes_missing=True)


METHODS = {
    "default": Method("improbable, default", "improbable", fit_improbable, takes_missing=True),
    "mlp": ours("perceptrons, default score"),
    "mlp-mixture": ours("perceptrons, mixture, default score", prior="mixture"),
    "gru-mixture": ours(
        "GRU, mixture, page 9", network="gru", prior="mixture", score_function=PAGE_9
    ),
    "gru-normal": ours(
        "GRU, one Gaussian, page 9", network="gru", prior="normal", score_function=PAGE_9
    ),
    "gru": ours("GRU, default score", network="gru"),
    "conv": ours("dilated convolutions, default score", network="conv"),
    "gru-autoencoder": Method("recurrent autoencoder", "torch", fit_recurrent_autoencoder),
}


PAIRS = (
    ("gru-mixture", "gru-normal"),
    ("gru-mixture", "gru-autoencoder"),
    ("gru", "mlp"),
    ("conv", "mlp"),
    ("mlp-mixture", "mlp"),
    ("gru", "gru-mixture"),
    ("default", "mlp"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for and return the exit status."""
    options = parsed(argv)
    check_markers(options.markdown, "networks")
    try:
        folder = data_folder()
        names = families(folder, options.only)
    except NoData as error:
        print(error, file=sys.stderr)
        return 2
    context = environment("scikit-learn")
    results = Results(options.results, KEY)
    if not options.show:
        for family in names:
            run(of_family(family, folder)[: options.most], options.methods, results)
    rows = pd.DataFrame([row for row in results.rows.values() if row["family"] in names])
    lines = tables(rows)
    print("\n".join(lines))
    if options.markdown:
        write_between_markers(options.markdown, lines, [*NOTES, *context], "networks")
    return 0


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--show", action="store_true", help="fit nothing, only show what the results hold")
    add("--only", nargs="+", metavar="FAMILY", default=list(MANY), help=", ".join(MANY))
    add("--methods", type=lambda text: text.split(","), default=list(METHODS))
    add("--most", type=int, help="series of each family at most")
    add("--results", type=Path, default="benchmarks/results/networks.parquet", metavar="FILE")
    add("--markdown", type=Path, metavar="FILE", help="write the tables there")
    return parser.parse_args(argv)


def run(found: Sequence[Series], names: Sequence[str], results: Results) -> None:
    """Fit and score what the results lack."""
    for series in found:
        keys = [(series.family, series.name, name, 0, 0.0) for name in names]
        lacking = [key for key in keys if key not in results.rows]
        if lacking:
            print(f"\n{size(series)}", flush=True)
        for key in lacking:
            row = dict(zip(KEY, key, strict=True), kind=series.kind)
            row |= measured(METHODS[key[2]], series, series, 0)
            results.add(row)
            seconds = f"fit {row['fit_seconds']:.1f} s, score {row['score_seconds']:.1f} s"
            print(
                f"  {METHODS[key[2]].label}: VUS-PR {100 * row['vus_pr']:.1f}, {seconds}",
                flush=True,
            )


def tables(rows: pd.DataFrame) -> list[str]:
    """Return mean figures and seconds, a line a method; then VUS-PR by family."""
    present = [name for name in METHODS if name in set(rows["method"])]
    labels = [METHODS[name].label for name in present]
    shared = rows.pivot_table("vus_pr", ["family", "series"], "method")[present].dropna()
    rows = rows.set_index(["family", "series"]).loc[shared.index].reset_index()
    means = rows.groupby("method")[[*SHOWN, "fit_seconds", "score_seconds"]].mean().loc[present]
    body = [
        (label, *percents(row[list(SHOWN)]), *timed(row[["fit_seconds", "score_seconds"]]))
        for label, (_, row) in zip(labels, means.iterrows(), strict=True)
    ]
    header = ("method", *(TITLES[name] for name in SHOWN), "fit s", "score s")
    counts = shared.groupby(level="family").size()
    order = [name for name in MANY if name in counts]
    by_family = shared.groupby(level="family").mean().loc[order].T
    by_family["mean"] = by_family.mean(axis=1)
    split = [
        (label, *percents(row))
        for label, (_, row) in zip(labels, by_family.iterrows(), strict=True)
    ]
    names = ("method", *(f"{name} ({counts[name]})" for name in order), "mean of families")
    lines = [f"{len(shared)} series of several columns:", "", *table(header, body)]
    lines += ["", "VUS-PR by family:", "", *table(names, split)]
    return [*lines, "", "VUS-PR, one beside the other:", "", *differences(shared)]


def differences(shared: pd.DataFrame) -> list[str]:
    """Return how far methods are apart on the same series, with the standard error of the mean."""
    body = []
    for name, beside in PAIRS:
        if {name, beside} <= set(shared.columns):
            apart = shared[name] - shared[beside]
            error = apart.std() / len(apart) ** 0.5
            labels = METHODS[name].label, METHODS[beside].label
            body.append((*labels, *percents([apart.mean(), error])))
    return table(("method", "beside", "difference", "standard error"), body, n_names=2)


if __name__ == "__main__":
    sys.exit(main())
