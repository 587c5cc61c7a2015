"""How many rows p-values of series need: false alarms by how many window lengths are held out.

    python benchmarks/series_p_values.py                      # about a quarter of an hour
    python benchmarks/series_p_values.py --seeds 2            # a look
    python benchmarks/series_p_values.py --markdown docs/series.md

A sine with noise, white or autoregressive, is learned from in windows of 24 and of 48 points, and
8,000 new rows of the same law are judged. With `score_of="all"` neighboring rows score alike, so
rows that are held out count by window lengths; with "last" each has a score of its own.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from report import check_markers, environment, table, write_between_markers
from scipy.signal import lfilter

from improbable import CalibrationWarning, VAEDetector, WindowCodec

LENGTHS, NOISES = (24, 48), (0.0, 0.8)
SIZES, SIZE_OF_LAST = (31, 62, 120, 220, 440), 62
ALPHAS = (0.01, 0.05, 0.1)
PERIOD, NEW_ROWS, WARM_UP = 96, 8_000, 500
HEADER = ("score_of", "training rows, in lengths", "held out, in lengths", *map(str, ALPHAS))


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, judge new rows, print the shares that are flagged."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=6, help="fits of each length and noise")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    options = parser.parse_args(argv)
    check_markers(options.markdown, "p-values")
    warnings.simplefilter("ignore", CalibrationWarning)
    context = environment("scipy")
    cases = [*(("all", size) for size in SIZES), ("last", SIZE_OF_LAST)]
    lines = table(HEADER, [line(*case, options.seeds) for case in cases])
    print("\n".join(lines))
    notes = [
        f"Shares of {NEW_ROWS:,} new rows of the same law flagged at each level, means of "
        f"{len(LENGTHS) * len(NOISES) * options.seeds} fits; standard errors in brackets.",
        *context[:1],
    ]
    if options.markdown:
        write_between_markers(options.markdown, lines, notes, "p-values")
    return 0


def line(score_of: str, size: int, n_seeds: int) -> tuple[str, ...]:
    """A row of the table: mean shares flagged, and their standard errors."""
    found = np.array(list(flagged(score_of, size, n_seeds)))
    mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(len(found))
    shares = [f"{m:.3f} ({e:.3f})" for m, e in zip(mean[1:], error[1:], strict=True)]
    print(score_of, size, *shares, file=sys.stderr, flush=True)
    return (f'"{score_of}"', str(size), f"{mean[0]:.0f}", *shares)


def flagged(score_of: str, size: int, n_seeds: int) -> Iterator[list[float]]:
    """Held-out rows in window lengths, then the share flagged at each level, of every fit."""
    for length in LENGTHS:
        for noise in NOISES:
            for seed in range(n_seeds):
                codec = WindowCodec(length=length, score_of=score_of)
                detector = VAEDetector(codec=codec, random_state=seed, verbose=False)
                detector.fit(series(size * length, noise, seed))
                p = detector.p_values(series(NEW_ROWS, noise, 1_000 + seed))
                held_out = len(detector.model_.held_out) / length
                yield [held_out, *(float((p <= alpha).mean()) for alpha in ALPHAS)]


def series(n: int, noise: float, seed: int) -> np.ndarray:
    """A sine and noise, each value of which holds on to `noise` of the one before."""
    drawn = np.random.default_rng(seed).normal(size=n + WARM_UP)
    kept = lfilter([np.sqrt(1.0 - noise**2)], [1.0, -noise], drawn)[WARM_UP:]
    wave: np.ndarray = np.sin(2.0 * np.pi * np.arange(n) / PERIOD) + 0.1 * kept
    return wave[:, None]


if __name__ == "__main__":
    raise SystemExit(main())
