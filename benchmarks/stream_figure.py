"""Picture of docs/streams.md: a drifting series, its scores, two thresholds and the events.

python benchmarks/stream_figure.py      # writes docs/images/stream.png
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np

from improbable import VAEDetector, WindowCodec

mpl.use("Agg")
import matplotlib.pyplot as plt

PERIOD, N = 24, 20_000
BROKEN = ((5_000, 5_010), (11_000, 11_012), (16_000, 16_006))


def series(n: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=n)
    return np.sin(2.0 * np.pi * np.arange(n) / PERIOD) + 0.1 * noise


def drifting() -> np.ndarray:
    """Noise that grows by half, and three spells of a broken sensor."""
    values = series(N, 1)
    values += np.random.default_rng(2).normal(size=N) * 0.1 * np.linspace(0.0, 1.2, N)
    for start, stop in BROKEN:
        values[start:stop] += 2.5
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/images/stream.png"))
    asked = parser.parse_args()
    codec = WindowCodec(length=PERIOD, score_of="last")
    detector = VAEDetector(codec=codec, random_state=0).fit(series(20_000, 0))
    values = drifting()
    fixed, adapting = detector.stream(0.002, adapt=False), detector.stream(0.002)
    flagged = [reading.is_outlier for reading in fixed.push(values)]
    readings = adapting.push(values)
    print(f"fixed: {sum(flagged)} alarms, {len(fixed.events)} events")
    print(f"adapting: {adapting.n_alarms} alarms, {len(adapting.events)} events")
    last = N - N // 10
    late = [r.is_outlier for r in readings[last:]]
    print(f"last tenth: fixed {np.mean(flagged[last:]):.2%}, adapting {np.mean(late):.2%}")
    at = np.arange(PERIOD, N)
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained")
    above.plot(at, values[at], lw=0.15, color="0.3")
    above.set_ylabel("value")
    below.plot(at, [readings[i].score for i in at], lw=0.15, color="0.5", label="score")
    below.axhline(fixed.threshold(), color="tab:blue", label="fixed threshold")
    limits = [readings[i].threshold for i in at]
    below.plot(at, limits, color="tab:orange", label="adapting threshold")
    marked = [i for i in at if flagged[i]]
    bottom = np.full(len(marked), -23.5)
    below.plot(marked, bottom, "|", color="tab:blue", ms=6, label="alarm at the fixed one")
    below.set_ylim(-25, 3)
    below.set_ylabel("score, nats")
    below.set_xlabel("point")
    for event in adapting.events:
        for axis in (above, below):
            axis.axvspan(event.start - 20, event.end + 20, color="tab:orange", alpha=0.3, lw=0)
    below.legend(loc="lower left", bbox_to_anchor=(0.0, 0.12), ncols=2, fontsize=8)
    figure.savefig(asked.output, dpi=110)


if __name__ == "__main__":
    main()
