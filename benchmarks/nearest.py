"""Exact nearest search among a million Gaussians, beside FAISS and a loop of SciPy, in one run.

    python benchmarks/nearest.py                    # 1,000,000 items x 16 dimensions
    python benchmarks/nearest.py --quick            # a tenth of them
    python benchmarks/nearest.py --markdown docs/latent-space.md

All find the ten items under which a point is most probable: by log q(z given x_i). FAISS's flat
index holds the same float32 features and takes inner products; its answers are those of float32.
The loop calls scipy.stats.norm.logpdf once for each item; it is timed on some items, and its time
scaled to all. A call of `search` gives ids, log densities, probabilities and distances.
Figures are medians over rounds, in each of which every method has its turn.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from report import check_markers, environment, table, write_between_markers
from scipy.stats import norm

from improbable.latent.gaussians import Posterior
from improbable.latent.index import LatentIndex

K = 10
N_LOOPED = 2000
RECALLS = (0.9, 0.99)
HEADER = ("method", "1 query, ms", "100 queries, ms")
Search = Callable[[np.ndarray], Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison and return the exit status."""
    options = parsed(argv)
    check_markers(options.markdown, "nearest")
    try:
        import faiss
    except ImportError:
        print("FAISS is absent. Run pip install 'improbable[search]'.", file=sys.stderr)
        return 2
    threads = f"{faiss.omp_get_max_threads()} FAISS threads."
    context = [*environment("scipy", "faiss-cpu"), threads]
    print("\n".join(context), flush=True)
    rng = np.random.default_rng(0)
    items = posterior(rng, options.items, options.latent_dim)
    index, bytes_used = measured(lambda: LatentIndex(items))
    flat = flat_index(faiss, items)
    points = rng.standard_normal((100, options.latent_dim))
    searches = {
        "improbable, exact": lambda z: index.search(z, K),
        "FAISS IndexFlatIP": lambda z: flat.search(asked(z, items), K),
    }
    times = timed(searches, points, options.rounds)
    times["loop of norm.logpdf"] = looped(items, points)
    approximate, notes = approximated(index, points, options.rounds)
    shown = {**times, **approximate}.items()
    rows = table(HEADER, [(name, *(f"{t:,.1f}" for t in pair)) for name, pair in shown])
    closing = [
        *compared(times),
        *memory(items, bytes_used, flat),
        *agreement(index, flat, items, points),
        *notes,
    ]
    print("\n" + "\n".join([*rows, "", *closing]))
    if options.markdown:
        write_between_markers(options.markdown, rows, [*closing, *context], "nearest")
    return 0


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--latent-dim", type=int, default=16, metavar="K")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="show medians of N")
    parser.add_argument("--quick", action="store_true", help="a tenth of the items, 3 rounds")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    options = parser.parse_args(argv)
    if options.quick:
        options.items, options.rounds = options.items // 10, 3
    return options


def posterior(rng: np.random.Generator, n: int, latent_dim: int) -> Posterior:
    """Items like those of a trained VAE: together about a standard Normal, each much narrower."""
    scale = np.exp(rng.uniform(np.log(0.1), np.log(0.5), (n, latent_dim)))
    return Posterior(rng.standard_normal((n, latent_dim)) * np.sqrt(1.0 - scale**2), scale)


def flat_index(faiss: Any, items: Posterior) -> Any:
    """Return FAISS's exact index of the items' natural parameters and normalizers."""
    built = faiss.IndexFlatIP(2 * items.loc.shape[1] + 1)
    for start in range(0, len(items), 1 << 16):
        loc, scale = (side[start : start + (1 << 16)] for side in (items.loc, items.scale))
        constant = -(0.5 * (loc / scale) ** 2 + np.log(scale)).sum(axis=1, keepdims=True)
        features = np.hstack([loc / scale**2, -0.5 / scale**2, constant])
        built.add(features.astype(np.float32))
    return built


def asked(z: np.ndarray, items: Posterior) -> np.ndarray:
    return np.hstack([z, z**2, np.ones((len(z), 1))]).astype(np.float32)


def timed(
    searches: dict[str, Search], points: np.ndarray, n_rounds: int
) -> dict[str, tuple[float, float]]:
    """Median milliseconds of each search for one query and for all, after one untimed call."""
    for search in searches.values():
        search(points)
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in searches}
    for place in range(n_rounds):
        one = points[place % len(points)][None]
        for name, search in searches.items():
            single = median(milliseconds(search, one) for _ in range(5))
            seen[name].append((single, milliseconds(search, points)))
    return {
        name: tuple(median(side) for side in zip(*runs, strict=True))
        for name, runs in seen.items()
    }


def milliseconds(action: Callable[..., Any], *arguments: Any) -> float:
    begin = time.perf_counter()
    action(*arguments)
    return 1e3 * (time.perf_counter() - begin)


def looped(items: Posterior, points: np.ndarray) -> tuple[float, float]:
    """Milliseconds of a loop over all items, from its time for some of them."""

    def loop(z: np.ndarray) -> None:
        for i in range(n):
            norm.logpdf(z, items.loc[i], items.scale[i]).sum(axis=1)

    n = min(N_LOOPED, len(items))
    scaled = len(items) / n
    return tuple(
        median(milliseconds(loop, z) for _ in range(3)) * scaled for z in (points[:1], points)
    )


def approximated(
    index: LatentIndex, points: np.ndarray, n_rounds: int
) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """Times of approximate searches, and what they took to prepare."""
    notes, searches = [], {}
    for wanted in RECALLS:
        name = f"improbable, recall={wanted}"
        searches[name] = partial(index.search, k=K, recall=wanted)
        seconds = milliseconds(searches[name], points[:1]) / 1e3
        reached = searches[name](points[:1]).recall
        notes.append(f"{name}: measured recall {reached:.3f}, {seconds:.0f} s to prepare")
    return timed(searches, points, n_rounds), notes


def measured(build: Callable[[], LatentIndex]) -> tuple[LatentIndex, int]:
    """Return what `build` returns, and the bytes that it holds then."""
    tracemalloc.start()
    built = build()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return built, max(held, built.nbytes)


def memory(items: Posterior, bytes_used: int, flat: Any) -> list[str]:
    stored = items.loc.nbytes + items.scale.nbytes
    features = 4 * flat.ntotal * flat.d
    return [
        f"memory: {bytes_used / 1e6:.0f} MB for {stored / 1e6:.0f} MB of float64 loc and scale, "
        f"{bytes_used / stored:.3f} times as much; FAISS holds {features / 1e6:.0f} MB, "
        f"from which they cannot be had back"
    ]


def compared(times: dict[str, tuple[float, float]]) -> list[str]:
    ours, faiss, loop = times.values()
    lines = zip(("1 query", "100 queries"), ours, faiss, loop, strict=True)
    return [
        f"{what}: {mine / theirs:.2f} times the time of FAISS, {slow / mine:,.0f} times as fast "
        f"as the loop (timed on {N_LOOPED:,} items, scaled)"
        for what, mine, theirs, slow in lines
    ]


def agreement(index: LatentIndex, flat: Any, items: Posterior, points: np.ndarray) -> list[str]:
    """Say which answers are those of float64, item by item."""
    ours, theirs = index.search(points, K).positions, flat.search(asked(points, items), K)[1]
    truth = np.array([brute_force(z, items) for z in points])
    same = [(found == truth).all(axis=1).sum() for found in (ours, theirs)]
    return [
        f"same {K} items in the same order as float64 brute force: improbable {same[0]}, "
        f"FAISS {same[1]} of {len(points)} queries"
    ]


def brute_force(z: np.ndarray, items: Posterior) -> np.ndarray:
    logs = -(((z - items.loc) / items.scale) ** 2) / 2.0 - np.log(items.scale)
    return np.argsort(-logs.sum(axis=1), kind="stable")[:K]


if __name__ == "__main__":
    sys.exit(main())
