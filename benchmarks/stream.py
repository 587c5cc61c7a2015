"""How fast points are judged as they come: points a second and latency, on one core.

    python benchmarks/stream.py                              # a window of 64 points, 4,000 points
    python benchmarks/stream.py --markdown docs/streams.md   # the same, into the document
    python benchmarks/stream.py --window 100 --points 10000 --no-adapt --anomalies 0

One by one, each point is pushed when the one before is done; processor time leaves out what other
work on the machine takes away. As they arrive, points come at 2,000 a second and each push takes
all that wait; a point's latency is the time from its arrival to its reading. `improbable watch` is
the same, from a line on standard input to a line on standard output, both of another process. Rows
of the thyroid table are dicts of 29 columns, flagged for p-values up to 0.05. Flagged points cost
more, for their reasons, so some points are made anomalies, and flagged ones are shown apart.
Quantiles are medians over the repetitions.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from report import check_markers, environment, table, write_between_markers

from improbable import VAEDetector, WindowCodec, load_thyroid, save

torch.set_num_threads(1)
PERIOD, BEFORE = 64, 500
HEADER = ("way", "points/s", "all, median", "99th", "flagged", "median", "99th")


@dataclass(frozen=True)
class Run:
    """Seconds a point, which points were flagged, and points a second."""

    took: np.ndarray
    flagged: np.ndarray
    speed: float


def wave(n: int, seed: int, anomalies: float = 0.0) -> np.ndarray:
    """A noisy sine; the given share of its points is off by 6 standard deviations or more."""
    rng = np.random.default_rng(seed)
    values = np.sin(2.0 * np.pi * np.arange(n) / PERIOD) + 0.1 * rng.normal(size=n)
    spikes = rng.random(n) < anomalies
    return values + spikes * rng.choice([-1.0, 1.0], n) * rng.uniform(0.6, 2.0, n)


def one_by_one(stream, points: list, clock: Callable[[], float] = time.perf_counter) -> Run:
    took, flagged = np.empty(len(points)), np.zeros(len(points), dtype=bool)
    for i, point in enumerate(points):
        began = clock()
        flagged[i] = stream.push(point)[0].is_outlier
        took[i] = clock() - began
    return Run(took, flagged, len(points) / took.sum())


def in_batches(stream, values: np.ndarray, size: int = 100) -> Run:
    """A point waits until its batch is done."""
    took, flagged = np.empty(len(values)), np.zeros(len(values), dtype=bool)
    began = time.perf_counter()
    for start in range(0, len(values), size):
        place, now = slice(start, start + size), time.perf_counter()
        flagged[place] = [reading.is_outlier for reading in stream.push(values[place])]
        took[place] = time.perf_counter() - now
    return Run(took, flagged, len(values) / (time.perf_counter() - began))


def as_they_arrive(stream, values: np.ndarray, rate: float) -> Run:
    """From arrival to reading; points a second of busy time."""
    took, flagged = np.empty(len(values)), np.zeros(len(values), dtype=bool)
    due = np.arange(len(values)) / rate
    start, done, busy = time.perf_counter(), 0, 0.0
    while done < len(values):
        waiting = int(np.searchsorted(due, time.perf_counter() - start, side="right"))
        if waiting == done:
            continue
        began = time.perf_counter()
        readings = stream.push(values[done:waiting])
        end = time.perf_counter()
        busy += end - began
        took[done:waiting] = end - start - due[done:waiting]
        flagged[done:waiting] = [reading.is_outlier for reading in readings]
        done = waiting
    return Run(took, flagged, len(values) / busy)


def watched(words: list[str], values: np.ndarray, rate: float) -> Run:
    """From a line in to a line out; the first points are sent before time is taken."""
    lines = [json.dumps({"x0": value}).encode() + b"\n" for value in values.tolist()]
    took, flagged = np.empty(len(lines) - BEFORE), np.zeros(len(lines) - BEFORE, dtype=bool)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"".join(lines[:BEFORE]))
        process.stdin.flush()
        for _ in range(BEFORE):
            process.stdout.readline()
        due = time.perf_counter() + 0.1 + np.arange(len(took)) / rate
        writer = threading.Thread(target=send, args=(process.stdin, lines[BEFORE:], due))
        writer.start()
        for i in range(len(took)):
            line = process.stdout.readline()
            took[i] = time.perf_counter() - due[i]
            flagged[i] = json.loads(line)["is_outlier"]
        writer.join()
    return Run(took, flagged, len(took) / (due[-1] + took[-1] - due[0]))


def send(pipe, lines: list[bytes], due: np.ndarray) -> None:
    """Write each line when it is due, and close the pipe."""
    for line, moment in zip(lines, due, strict=True):
        time.sleep(max(moment - time.perf_counter(), 0.0))
        pipe.write(line)
        pipe.flush()
    pipe.close()


def ways(asked: argparse.Namespace, folder: str) -> dict[str, Callable[[], Run]]:
    """What is measured, by name."""
    codec = WindowCodec(length=asked.window, score_of="last")
    detector = VAEDetector(codec=codec, random_state=0).fit(wave(6_000, 0))
    values = wave(asked.points + BEFORE, 1, asked.anomalies)
    now = values[BEFORE:]
    path = Path(folder) / "model.safetensors"
    save(detector, path)
    words = [sys.executable, "-m", "improbable.cli", "watch", "-m", str(path), "--all"]
    words += ["--alpha", str(asked.alpha), *["--no-adapt"] * asked.no_adapt]
    X, y = load_thyroid()
    plain = VAEDetector(random_state=0).fit(X.filter(y == 0))
    rows = X.to_pylist()[: asked.points]

    def fresh():
        stream = detector.stream(asked.alpha, adapt=not asked.no_adapt)
        stream.push(values[:BEFORE])
        return stream

    def table_stream():
        return plain.stream(0.05, adapt=False)

    return {
        "one by one": lambda: one_by_one(fresh(), now.tolist()),
        "the same, processor time": lambda: one_by_one(fresh(), now.tolist(), time.thread_time),
        "a hundred at a time": lambda: in_batches(fresh(), now),
        f"{asked.rate:,.0f} a second": lambda: as_they_arrive(fresh(), now, asked.rate),
        f"`watch`, {asked.rate:,.0f} a second": lambda: watched(words, values, asked.rate),
        "thyroid rows, one by one": lambda: one_by_one(table_stream(), rows),
        "the same rows, processor time": lambda: one_by_one(
            table_stream(), rows, time.thread_time
        ),
    }


def shown(name: str, runs: list[Run]) -> tuple[str, ...]:
    """A line of the table: medians over the repetitions."""
    everything = np.median([quantiles(run.took) for run in runs], axis=0)
    flagged = np.median([quantiles(run.took[run.flagged]) for run in runs], axis=0)
    speed, n = np.median([run.speed for run in runs]), np.median([r.flagged.sum() for r in runs])
    cells = [f"{value:.2f} ms" if value == value else "-" for value in (*everything, *flagged)]
    return (name, f"{speed:,.0f}", *cells[:2], f"{n:,.0f}", *cells[2:])


def quantiles(seconds: np.ndarray) -> np.ndarray:
    """Median and 99th percentile, milliseconds."""
    return 1e3 * np.quantile(seconds, [0.5, 0.99]) if len(seconds) else np.full(2, np.nan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--points", type=int, default=4_000)
    parser.add_argument("--rate", type=float, default=2_000.0)
    parser.add_argument("--alpha", type=float, default=0.001)
    parser.add_argument("--anomalies", type=float, default=0.02, help="their share of the points")
    parser.add_argument("--no-adapt", action="store_true")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="show medians of N")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    asked = parser.parse_args()
    check_markers(asked.markdown, "stream")
    notes = [
        f"A window of {asked.window} points; {asked.points:,} points, {100 * asked.anomalies:g} % "
        f"of them anomalies; alpha {asked.alpha:g}. Medians of {asked.repeat}.",
        *environment(),
    ]
    with tempfile.TemporaryDirectory() as folder:
        named = ways(asked, folder)
        found: dict[str, list[Run]] = {name: [] for name in named}
        for _ in range(asked.repeat):
            for name, way in named.items():
                found[name].append(way())
    lines = table(HEADER, [shown(name, runs) for name, runs in found.items()])
    print("\n".join([*lines, "", *notes]))
    if asked.markdown is not None:
        write_between_markers(asked.markdown, lines, notes, "stream")


if __name__ == "__main__":
    main()
