"""An and Cho's experiment with digits, by every score: each digit of MNIST in turn as the anomaly.

    python benchmarks/an_cho_mnist.py                                   # ten digits
    python benchmarks/an_cho_mnist.py --digits 1 9 --steps 500          # a quick look
    python benchmarks/an_cho_mnist.py --markdown FILE                   # between its marks

Training is on the nine other digits of the training set, ranking on the whole test set, with one
setting for all digits: images of equal contrast, a Normal likelihood, 8 latent dimensions,
perceptrons. Every score comes from the same fit. Beside them stand an autoencoder, PCA and kernel
PCA with as many dimensions, on the same images; the first two judge by squared error.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from an_cho import header, line
from datasets import DataError, data_folder, existing
from report import check_markers, write_between_markers
from sklearn.metrics import average_precision_score, roc_auc_score

LATENT_DIM = 8
LEFT_OUT = ("conditional_log_prob", "log_prob_moment_matched")
KERNEL_ROWS, AUTOENCODER_ROWS = 2_000, 20_000
PUBLISHED = (
    "Published replication, ELBO, test digits as here: ROC AUC .855 and average precision .462 "
    "with 2 latent dimensions, .718 and .302 with 32 (Tonnaer, PhD thesis, tables 3.3 and 3.4)."
)
Scores = dict[str, np.ndarray]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the experiment and return the exit status."""
    options = parsed(argv)
    rows, cells = [], []
    try:
        check_markers(options.markdown)
        for digit, is_anomaly, scores in experiment(data_folder(), options):
            if not rows:
                rows.append(header(scores))
                print(rows[0])
            rows.append(line(str(digit), is_anomaly, scores))
            cells.append([rated(is_anomaly, values) for values in scores.values()])
            print(rows[-1], flush=True)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    means = " | ".join(f"{auc:.3f} / {ap:.3f}" for auc, ap in np.mean(cells, axis=0))
    rows.append(f"| mean | {means} |")
    print(rows[-1])
    if options.markdown:
        note = f"{options.steps} steps; each cell is ROC AUC / average precision."
        write_between_markers(options.markdown, rows, [note, PUBLISHED])
    return 0


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--digits", type=int, nargs="*", default=range(10), metavar="D")
    parser.add_argument("--steps", type=int, default=3_000, help="optimizer steps (default 3000)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    return parser.parse_args(argv)


def experiment(
    folder: Path, options: argparse.Namespace
) -> Iterator[tuple[int, np.ndarray, Scores]]:
    """Digit, labels and scores of each ranking; higher is less normal."""
    with np.load(existing(folder / "images/mnist.npz")) as arrays:
        train, known = arrays["X_train"], arrays["y_train"]
        test, labels = arrays["X_test"], arrays["y_test"]
    for digit in options.digits:
        begin = time.perf_counter()
        scores = ours(train[known != digit], test, options.steps)
        print(f"{digit}: {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
        matrices = equal_contrast(train[known != digit]), equal_contrast(test)
        yield digit, labels == digit, {**scores, **peers(*matrices)}


def ours(train: np.ndarray, test: np.ndarray, steps: int) -> Scores:
    """Every score of one fit."""
    from improbable import ImageCodec, VAEDetector
    from improbable.scores import SCORES

    detector = VAEDetector(
        codec=ImageCodec(contrast="equal", network="mlp"),
        latent_dim=LATENT_DIM,
        hidden=(256, 128),
        n_members=1,
        n_draws=4,
        max_steps=steps,
        calibration_fraction=0.02,
        validation_fraction=0.02,
        random_state=0,
    ).fit(train)
    names = [name for name in SCORES if name not in LEFT_OUT]
    return {name: -detector.reconstruction_probability(test, name) for name in names}


def equal_contrast(images: np.ndarray) -> np.ndarray:
    """Rows of pixels, every image of one root mean square."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    return rows / np.sqrt((rows**2).mean(axis=1, keepdims=True))


def peers(train: np.ndarray, test: np.ndarray) -> Scores:
    """Autoencoder, PCA and kernel PCA of the same latent size."""
    from sklearn.decomposition import PCA, KernelPCA
    from sklearn.metrics.pairwise import rbf_kernel
    from sklearn.neural_network import MLPRegressor

    rng = np.random.default_rng(0)
    some = rng.permutation(train)[:AUTOENCODER_ROWS]
    net = MLPRegressor(
        hidden_layer_sizes=(256, LATENT_DIM, 256), max_iter=12, random_state=0, early_stopping=True
    )
    rebuilt = net.fit(some, some).predict(test)
    pca = PCA(LATENT_DIM, random_state=0).fit(some)
    flat = pca.inverse_transform(pca.transform(test))
    kept = some[:KERNEL_ROWS]
    gamma = 1.0 / (kept.shape[1] * float(kept.var()))
    kernel = KernelPCA(LATENT_DIM, kernel="rbf", gamma=gamma, random_state=0).fit(kept)
    near = rbf_kernel(test, kept, gamma=gamma).mean(axis=1)
    overall = rbf_kernel(kept, gamma=gamma).mean()
    return {
        "autoencoder": ((test - rebuilt) ** 2).sum(axis=1),
        "PCA": ((test - flat) ** 2).sum(axis=1),
        "kernel PCA": 1.0 - 2.0 * near + overall - np.square(kernel.transform(test)).sum(axis=1),
    }


def rated(is_anomaly: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """ROC AUC and average precision."""
    return (
        float(roc_auc_score(is_anomaly, scores)),
        float(average_precision_score(is_anomaly, scores)),
    )


if __name__ == "__main__":
    sys.exit(main())
