"""How fast points are judged as they come: points a second and latency, on one core.

    python benchmarks/stream.py                      # a window of 64 points, 4,000 points
    python benchmarks/stream.py --window 100 --points 10000 --no-adapt

One by one, each point is pushed when the one before is done. As they arrive, points come at
2,000 a second and each push takes all that wait; a point's latency is the time from its
arrival to its reading. Flagged points cost more, for their reasons: they are shown apart.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from collections.abc import Callable

import numpy as np
import torch

from improbable import Stream, VAEDetector, WindowCodec

torch.set_num_threads(1)
PERIOD = 64


def wave(n: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=n)
    return np.sin(2.0 * np.pi * np.arange(n) / PERIOD) + 0.1 * noise


def one_by_one(stream: Stream, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Seconds a point, which were flagged, and points a second."""
    took, flagged = np.empty(len(values)), np.zeros(len(values), dtype=bool)
    for i, value in enumerate(values.tolist()):
        began = time.perf_counter()
        flagged[i] = stream.push(value)[0].is_outlier
        took[i] = time.perf_counter() - began
    return took, flagged, len(values) / took.sum()


def as_they_arrive(
    stream: Stream, values: np.ndarray, rate: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Seconds from arrival to reading, which were flagged, and points a second of busy time."""
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
    return took, flagged, len(values) / busy


def in_batches(
    stream: Stream, values: np.ndarray, size: int = 100
) -> tuple[np.ndarray, np.ndarray, float]:
    """Seconds until a batch is done, for each of its points; flagged ones; points a second."""
    took, flagged = np.empty(len(values)), np.zeros(len(values), dtype=bool)
    began = time.perf_counter()
    for start in range(0, len(values), size):
        place, now = slice(start, start + size), time.perf_counter()
        flagged[place] = [reading.is_outlier for reading in stream.push(values[place])]
        took[place] = time.perf_counter() - now
    return took, flagged, len(values) / (time.perf_counter() - began)


def shown(name: str, found: tuple[np.ndarray, np.ndarray, float]) -> None:
    took, flagged, speed = found
    lines = [("all", took), ("not flagged", took[~flagged]), ("flagged", took[flagged])]
    print(f"{name}: {speed:,.0f} points/s, {flagged.sum()} flagged")
    for label, some in lines:
        if len(some):
            middle, high = 1e3 * np.quantile(some, [0.5, 0.99])
            print(f"  {label:12} median {middle:6.2f} ms   99th percentile {high:6.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--points", type=int, default=4_000)
    parser.add_argument("--rate", type=float, default=2_000.0)
    parser.add_argument("--alpha", type=float, default=0.001)
    parser.add_argument("--no-adapt", action="store_true")
    asked = parser.parse_args()
    codec = WindowCodec(length=asked.window, score_of="last")
    detector = VAEDetector(codec=codec, random_state=0).fit(wave(6_000, 0))
    values = wave(asked.points + 500, 1)

    def fresh() -> Stream:
        stream = detector.stream(asked.alpha, adapt=not asked.no_adapt)
        stream.push(values[:500])
        return stream

    ways: dict[str, Callable[[Stream], tuple[np.ndarray, np.ndarray, float]]] = {
        "one by one": lambda stream: one_by_one(stream, values[500:]),
        "a hundred at a time": lambda stream: in_batches(stream, values[500:]),
        f"as they arrive, {asked.rate:,.0f} a second": lambda stream: as_they_arrive(
            stream, values[500:], asked.rate
        ),
    }
    for name, way in ways.items():
        shown(name, way(fresh()))


if __name__ == "__main__":
    main()
