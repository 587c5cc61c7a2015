"""The figure of docs/series.md: a series of taxi rides, its scores, and what is flagged.

    python benchmarks/series_figure.py docs/images/series.png

The series is "nyc_taxi" of the Numenta Anomaly Benchmark (MIT licence): half-hourly rides, with
five days marked that were unlike others. The data folder is named by IMPROBABLE_DATA.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from datasets import data_folder

from improbable import VAEDetector, WindowCodec

NAME = "realKnownCause/nyc_taxi"
LEARNED = 4_000


def main() -> None:
    rides = read()
    detector = VAEDetector(codec=WindowCodec(), random_state=0)
    detector.fit(rides[["timestamp", "value"]].iloc[:LEARNED])
    new = rides.iloc[LEARNED:].reset_index(drop=True)
    found = detector.detect(new[["timestamp", "value"]])
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(9, 4.2), sharex=True, height_ratios=(2, 1)
    )
    shade(above, new["timestamp"], new["label"].to_numpy() == 1, "#f2c14e", "marked in the data")
    above.plot(new["timestamp"], new["value"], lw=0.5, color="#30618c")
    above.set_ylabel("rides")
    shade(
        below, new["timestamp"], found["is_outlier"].to_numpy(), "#c8553d", "p-value at most 0.01"
    )
    below.plot(new["timestamp"], found["score"], lw=0.7, color="#333333")
    below.set_ylabel("score (nats)")
    for axes in (above, below):
        axes.legend(loc="lower left", frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(Path(sys.argv[1]), dpi=110, metadata={"Software": None})


def read() -> pd.DataFrame:
    whole = pd.read_parquet(data_folder() / "timeseries" / "nab.parquet")
    rides = whole[whole["series"] == NAME].sort_values("timestamp")
    return rides.assign(timestamp=pd.to_datetime(rides["timestamp"])).reset_index(drop=True)


def shade(axes: plt.Axes, times: pd.Series, flagged: np.ndarray, color: str, label: str) -> None:
    """Color the stretches of time that are flagged."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flagged.astype(int), [0]])))
    for i, (first, end) in enumerate(edges.reshape(-1, 2)):
        last = times[min(end, len(times) - 1)]
        axes.axvspan(times[first], last, color=color, alpha=0.5, lw=0, label=None if i else label)


if __name__ == "__main__":
    main()
