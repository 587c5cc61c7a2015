"""Clusters of posteriors by KL divergence beside k-means on their means.

    python benchmarks/clusters.py            # a million rows, then groups that are known
    python benchmarks/clusters.py --quick    # a tenth of the rows
    python benchmarks/clusters.py --markdown docs/latent-space.md

The rows are made here, in groups that are Normal and overlap, so that no method can find them
all. Each row is seen through noise of its own in every dimension: "sharp" is as little as in the
dimensions that image models use (posterior scales of 0.05 to 0.3), "blurred" leaves scales of 0.45
to 0.9, "mixed" spans both. Seconds are wall-clock seconds of one call,
the choice of starts included; both methods get the same number of starts, but ours makes its own
on a sample. NMI and ARI compare with the groups the rows came from; both are 1 at best.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from report import check_markers, environment, table, write_between_markers
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from improbable.latent.clusters import cluster
from improbable.latent.gaussians import Posterior

HEADER = ("rows", "method", "seconds", "NMI", "ARI", "purity")
BLURS = {"sharp": (0.05, 0.3), "mixed": (0.05, 2.0), "blurred": (0.5, 2.0)}
Labels = np.ndarray


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison and return the exit status."""
    options = parsed(argv)
    check_markers(options.markdown, "clusters")
    context, body = environment("scikit-learn"), []
    for name, posterior, truth in made(1_000_000 // (10 if options.quick else 1)):
        for cells in compared(posterior, truth, options.starts):
            body.append([name, *cells])
            print(*body[-1], sep="  ", flush=True)
    rows = table(HEADER, body, n_names=2)
    print("\n".join(["", *rows, "", *context]))
    if options.markdown:
        write_between_markers(options.markdown, rows, context, "clusters")
    return 0


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument("--starts", type=int, default=10, help="starts of each method")
    return parser.parse_args(argv)


def made(most: int) -> Iterator[tuple[str, Posterior, Labels]]:
    """Name, posteriors and groups: one large set, then a small one for each blur."""
    yield (f"{most:,} x 16, 10 groups, mixed", *groups(most, 16, 10, BLURS["mixed"]))
    for name, blur in BLURS.items():
        yield (f"20,000 x 8, 10 groups, {name}", *groups(20_000, 8, 10, blur))


def groups(
    n: int, latent_dim: int, count: int, blur: tuple[float, float], seed: int = 0
) -> tuple[Posterior, Labels]:
    """Exact posteriors of rows in groups, and the group of each.

    z is drawn around its group's center and seen through noise of a scale drawn for each row and
    dimension; the posterior is that of z under N(0, 1), as an encoder would have it.
    """
    rng = np.random.default_rng(seed)
    centers = 0.9 * rng.standard_normal((count, latent_dim))
    spread = 0.44 * rng.uniform(0.5, 1.5, (count, latent_dim))
    truth = rng.choice(count, size=n, p=rng.dirichlet(np.full(count, 5.0)))
    noise = np.exp(rng.uniform(*np.log(blur), (n, latent_dim)))
    seen = centers[truth] + np.hypot(spread[truth], noise) * rng.standard_normal(noise.shape)
    return Posterior(seen / (1.0 + noise**2), noise / np.sqrt(1.0 + noise**2)), truth


def compared(posterior: Posterior, truth: Labels, starts: int = 10) -> Iterator[list[str]]:
    """A line of the table for each method, on posteriors whose groups are known.

    Parameters
    ----------
    posterior : Posterior
        n rows, of any model.
    truth : ndarray of shape (n,)
        What they are, for instance the classes of images; there are as many clusters.
    starts : int
        Of each method.
    """
    count = len(np.unique(truth))
    kmeans = KMeans(count, n_init=starts, random_state=0)
    methods: dict[str, Callable[[], Labels]] = {
        f"improbable, {name}": lambda name=name: (
            cluster(posterior, count, divergence=name, random_state=0, n_starts=starts).labels
        )
        for name in ("kl", "reverse_kl")
    }
    methods["scikit-learn KMeans on the means"] = lambda: kmeans.fit_predict(posterior.loc)
    for name, method in methods.items():
        begin = time.perf_counter()
        labels = method()
        seconds = time.perf_counter() - begin
        yield [name, f"{seconds:.1f}", *(f"{value:.3f}" for value in agreement(truth, labels))]


def agreement(truth: Labels, labels: Labels) -> tuple[float, float, float]:
    """Normalized mutual information, adjusted Rand index, and share of rows in their majority."""
    kinds = np.unique(truth, return_inverse=True)[1]
    table = np.zeros((labels.max() + 1, kinds.max() + 1), dtype=int)
    np.add.at(table, (labels, kinds), 1)
    return (
        normalized_mutual_info_score(truth, labels),
        adjusted_rand_score(truth, labels),
        table.max(axis=1).sum() / len(truth),
    )


if __name__ == "__main__":
    sys.exit(main())
