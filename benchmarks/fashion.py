"""Fashion-MNIST through the latent verbs: pictures and figures for docs/latent-space.md.

    python benchmarks/fashion.py --markdown docs/latent-space.md     # writes docs/images/*.png too
    python benchmarks/fashion.py --steps 300 --rows 6000             # a quick look

One detector learns from the 60,000 training images without their labels; labels only choose which
rows to show, and rate the clusters. KL clusters are compared with k-means on the posterior means,
by normalized mutual information with the labels, for Fashion-MNIST and for MNIST.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import DataError, data_folder, existing
from report import check_markers, write_between_markers

NAMES = (
    "T-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
TSHIRT, PULLOVER, DRESS, SNEAKER, BOOT = 0, 2, 3, 7, 9
SHOWN = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, draw and rate; return the exit status."""
    options = parsed(argv)
    try:
        check_markers(options.markdown)
        sets = {
            name: loaded(data_folder(), name, options.rows) for name in ("fashion_mnist", "mnist")
        }
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    lines, rows = [], ["| data set | clusters | KL clusters, NMI | k-means on the means, NMI |"]
    rows.append("| --- | --- | --- | --- |")
    for name, arrays in sets.items():
        detector, seconds = fitted(arrays[0], options.steps)
        lines.append(f"{name}: {len(arrays[0]):,} images, {options.steps} steps: {seconds:.0f} s.")
        rows.append(rated(name, detector, *arrays[:2]))
        print(lines[-1], rows[-1], sep="\n", flush=True)
        if name == "fashion_mnist":
            lines += pictures(detector, *arrays, options.images)
    print("\n".join(lines))
    if options.markdown:
        write_between_markers(options.markdown, rows, lines)
    return 0


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=2_000, help="optimizer steps (default 2000)")
    parser.add_argument("--rows", type=int, default=60_000, help="training images")
    parser.add_argument("--images", type=Path, default=Path("docs/images"), metavar="FOLDER")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the figures there")
    return parser.parse_args(argv)


def loaded(folder: Path, name: str, n_rows: int) -> tuple[np.ndarray, ...]:
    """Training images and labels, test images and labels."""
    with np.load(existing(folder / f"images/{name}.npz")) as arrays:
        train = arrays["X_train"][:n_rows], arrays["y_train"][:n_rows]
        return *train, arrays["X_test"], arrays["y_test"]


def fitted(images: np.ndarray, steps: int) -> tuple[Any, float]:
    """Detector of images, and the seconds it took."""
    from improbable import ImageCodec, VAEDetector

    begin = time.perf_counter()
    detector = VAEDetector(
        codec=ImageCodec(),
        n_members=1,
        n_draws=4,
        max_steps=steps,
        calibration_fraction=0.05,
        validation_fraction=0.05,
        random_state=0,
    ).fit(images)
    return detector, time.perf_counter() - begin


def rated(name: str, detector: Any, images: np.ndarray, labels: np.ndarray) -> str:
    """Line of the table: KL clusters beside k-means, each with ten groups."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score

    posterior = detector.posterior(images)
    from improbable.latent.clusters import cluster

    groups = cluster(posterior, 10, random_state=0).labels
    plain = KMeans(10, n_init=10, random_state=0).fit_predict(posterior.loc)
    kl, euclidean = (normalized_mutual_info_score(labels, g) for g in (groups, plain))
    return f"| {name} | 10 | {kl:.3f} | {euclidean:.3f} |"


def pictures(
    detector: Any,
    train: np.ndarray,
    known: np.ndarray,
    test: np.ndarray,
    labels: np.ndarray,
    folder: Path,
) -> list[str]:
    """Draw every picture of the page; what is to be said about them in figures."""
    from improbable import plots

    folder.mkdir(parents=True, exist_ok=True)

    def keep(name: str, figure: Any) -> None:
        getattr(figure, "figure", figure).savefig(folder / f"{name}.png", dpi=110)

    first = {label: test[labels == label][:1] for label in range(10)}
    keep("samples", plots.strip(detector.sample(SHOWN, random_state=1)))
    path = detector.interpolate(first[SNEAKER], first[BOOT], SHOWN)
    keep("sneaker-to-boot", plots.strip(path))
    sleeves = detector.add_direction(
        "sleeves", train[known == PULLOVER], train[known == TSHIRT], random_state=0
    )
    amounts = np.linspace(0.0, 1.5, 7)
    dressed = np.concatenate([detector.steer(first[DRESS], "sleeves", a) for a in amounts])
    keep("sleeves", plots.strip(dressed, [f"{a:g}" for a in amounts]))
    index = detector.index(train)
    z = np.zeros(index.latent_dim)
    z[:2] = 1.0, -1.0
    keep("neighbors", plots.neighbors(index.search(z, 8), train))
    groups = detector.cluster(train, 10, random_state=0)
    keep("exemplars", plots.exemplars(groups, train))
    some = np.concatenate(
        [first[label] for label in (SNEAKER, DRESS)] + [np.rot90(first[BOOT], axes=(1, 2))]
    )
    keep("surprise", plots.surprise(detector.explain(some), 3))
    posterior = detector.posterior(test[:4000])
    keep("map", plots.latent_map(posterior, [NAMES[label] for label in labels[:4000]]))
    keep("training", plots.training_curves(detector.history_))
    keep("p-values", plots.p_value_histogram(detector.p_values(test)))
    return [
        f"sleeves (pullover less T-shirt): strength {sleeves.strength:.2f}, ROC AUC "
        f"{sleeves.separation:.3f} on held-out images.",
        f"purity of ten KL clusters against the labels: {purity(groups.labels, known):.3f}.",
        *largest(groups, known),
    ]


def purity(groups: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows that carry the most frequent label of their cluster."""
    return sum(np.bincount(labels[groups == g]).max() for g in np.unique(groups)) / len(labels)


def largest(groups: Any, labels: np.ndarray) -> list[str]:
    """What each cluster holds most of."""
    cells = []
    for k in range(len(groups)):
        inside = labels[groups.labels == k]
        label = int(np.bincount(inside).argmax())
        cells.append(f"{k}: {NAMES[label]} {np.mean(inside == label):.0%}")
    return [f"clusters by size, with their most frequent label: {', '.join(cells)}."]


if __name__ == "__main__":
    sys.exit(main())
