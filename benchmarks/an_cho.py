"""The two experiments of An and Cho (2015): one digit as the anomaly, and network attacks.

    python benchmarks/an_cho.py                  # ten digits of MNIST, four groups of KDD Cup 99
    python benchmarks/an_cho.py --digits 1 7     # two digits

One fit of this library gives four scores of the same rows: the reconstruction probability of the
report's page 8 and of its page 9, the ELBO that decides by default, and the squared error of the
decoded mean, which is an autoencoder's. Beside them PCA and kernel PCA (Gaussian kernel), which
the report compares with. Digits are rows of 784 pixels here, a column each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import FULL, DataError, data_folder, existing, kdd99
from peers import encoded, fit_pca
from report import check_markers, write_between_markers
from sklearn.metrics import average_precision_score, roc_auc_score

OURS = {
    "page 8": "expected_log_prob",
    "page 9": "log_expected_prob",
    "ELBO": "elbo",
    "autoencoder": "reconstruction_error",
}
KERNEL_ROWS, KERNEL_COMPONENTS = 2_000, 64
Scores = dict[str, np.ndarray]


def main(argv: Sequence[str] | None = None) -> int:
    """Run both experiments and return the exit status."""
    options = parsed(argv)
    rows: list[str] = []
    try:
        check_markers(options.markdown)
        for name, is_anomaly, scores in experiments(data_folder(), options):
            rows += [header(scores)] if not rows else []
            rows.append(line(name, is_anomaly, scores))
            print(rows[-1], flush=True)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    if options.markdown:
        note = f"{options.rows} training images a digit; each cell is ROC AUC / average precision."
        write_between_markers(options.markdown, rows, [note])
    return 0


def experiments(
    folder: Path, options: argparse.Namespace
) -> Iterator[tuple[str, np.ndarray, Scores]]:
    """Name, labels and scores of each ranking."""
    for digit in options.digits:
        yield from mnist(folder, digit, options.rows)
    if not options.no_kdd:
        yield from attacks(folder)


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--digits", type=int, nargs="*", default=range(10), metavar="D")
    parser.add_argument("--rows", type=int, default=6_000, help="training images (default 6000)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument("--no-kdd", action="store_true", help="digits only")
    return parser.parse_args(argv)


def mnist(folder: Path, digit: int, n_rows: int) -> Iterator[tuple[str, np.ndarray, Scores]]:
    """Train on the nine other digits; the test images of `digit` are the anomalies."""
    with np.load(existing(folder / "images/mnist.npz")) as arrays:
        images = arrays["X_train"][arrays["y_train"] != digit]
        test, labels = arrays["X_test"], arrays["y_test"]
    rng = np.random.default_rng(digit)
    train = rng.permutation(images)[:n_rows].reshape(-1, 784).astype(float)
    chosen = rng.permutation(len(test))[:3_000]
    rows = test[chosen].reshape(-1, 784).astype(float)
    scores = all_scores(train, rows, train / 255.0, rows / 255.0)
    yield f"MNIST {digit}", labels[chosen] == digit, scores


def attacks(folder: Path) -> Iterator[tuple[str, np.ndarray, Scores]]:
    """Train on normal connections; each group of attacks is ranked apart."""
    split = kdd99(folder, FULL)
    scores = all_scores(split.train, split.test, *encoded(split.train, split.test))
    for ranking in split.evaluations:
        ranked = {name: values[ranking.rows] for name, values in scores.items()}
        yield ranking.name, ranking.is_anomaly, ranked


def all_scores(train: Any, test: Any, train_matrix: np.ndarray, test_matrix: np.ndarray) -> Scores:
    """Score the test rows every way; higher is less normal."""
    from improbable import VAEDetector

    detector = VAEDetector(random_state=0).fit(train)
    ours = {
        label: -detector.reconstruction_probability(test, definition=name)
        for label, name in OURS.items()
    }
    peers = {"PCA": fit_pca, "kernel PCA": fit_kernel_pca}
    theirs = {label: fit(train_matrix, 0)(test_matrix) for label, fit in peers.items()}
    return {**ours, **theirs}


def fit_kernel_pca(rows: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Score by the squared distance, in feature space, from the leading kernel components."""
    from sklearn.decomposition import KernelPCA
    from sklearn.metrics.pairwise import rbf_kernel

    kept = np.random.default_rng(seed).permutation(rows)[:KERNEL_ROWS]
    gamma = 1.0 / (rows.shape[1] * max(float(rows.var()), 1e-12))
    pca = KernelPCA(KERNEL_COMPONENTS, kernel="rbf", gamma=gamma, random_state=seed).fit(kept)
    overall = rbf_kernel(kept, gamma=gamma).mean()

    def score(new: np.ndarray) -> np.ndarray:
        near = rbf_kernel(new, kept, gamma=gamma).mean(axis=1)
        return 1.0 - 2.0 * near + overall - np.square(pca.transform(new)).sum(axis=1)

    return score


def header(scores: Scores) -> str:
    """Head of the table."""
    names = ("anomaly", *scores)
    return f"| {' | '.join(names)} |\n| {' | '.join('---' for _ in names)} |"


def line(name: str, is_anomaly: np.ndarray, scores: Scores) -> str:
    """ROC AUC and average precision of each score, a line of the table."""
    cells = [
        f"{roc_auc_score(is_anomaly, values):.3f} / "
        f"{average_precision_score(is_anomaly, values):.3f}"
        for values in scores.values()
    ]
    return f"| {' | '.join((name, *cells))} |"


if __name__ == "__main__":
    sys.exit(main())
