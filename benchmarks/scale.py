"""How far one machine goes: time to fit, rows scored a second, memory of the command line.

    python benchmarks/scale.py                # all 97,278 normal rows of KDD Cup 99
    python benchmarks/scale.py --quick        # a tenth of them

It prints the seconds of a fit and the rows a second of `score_samples`; the peak resident memory
of `improbable score` for a file and for one ten times as long, which should be alike; and the
operations that decoding needs, beside what this machine reaches in a plain float64 matrix product.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import DataError, data_folder, kdd99_normal

# Run by a small Python process of its own, so that the peak is that of the command alone.
# `ru_maxrss` is in KiB, on macOS in bytes.
PEAK_OF_COMMAND = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(peak * (1 if sys.platform == "darwin" else 1024))
sys.exit(status)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurements and return the exit status."""
    options = parsed(argv)
    try:
        from improbable import VAEDetector, save

        rows = kdd99_normal(data_folder())
    except (DataError, ImportError) as error:
        print(error, file=sys.stderr)
        return 2
    rows = rows[: len(rows) // 10] if options.quick else rows
    detector, seconds = timed(lambda: VAEDetector(random_state=0).fit(rows))
    print(f"fit: {seconds:.1f} s for {len(rows)} rows of {rows.shape[1]} columns", flush=True)
    detector.score_samples(rows[:100])
    _, seconds = timed(lambda: detector.score_samples(rows))
    rows_per_second = len(rows) / seconds
    print(f"score_samples: {rows_per_second:.0f} rows/s ({seconds:.2f} s)", flush=True)
    report_operations(detector, rows_per_second)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.safetensors"
        save(detector, model)
        report_memory(rows, model, 2_000 if options.quick else options.file_rows)
    return 0


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, short files")
    parser.add_argument("--file-rows", type=int, default=50_000, metavar="N", help="shorter file")
    return parser.parse_args(argv)


def timed(action: Callable[[], Any]) -> tuple[Any, float]:
    """Return what `action` returns, and its wall-clock seconds."""
    begin = time.perf_counter()
    value = action()
    return value, time.perf_counter() - begin


def report_operations(detector: Any, rows_per_second: float) -> None:
    """Set the arithmetic of decoding beside the machine's rate for a matrix product."""
    n_members, n_draws, widths = decoder_layout(detector)
    per_row = decode_operations(n_members, n_draws, widths)
    rate = matrix_product_rate()
    print(
        f"decode: {per_row / 1e6:.2f} million operations a row "
        f"({n_members} members x {n_draws} draws, layers {'-'.join(map(str, widths))}), "
        f"{per_row * rows_per_second / 1e9:.1f} GFLOP/s in score_samples; "
        f"float64 matrix product: {rate / 1e9:.1f} GFLOP/s; "
        f"ratio {per_row * rows_per_second / rate:.2f}",
        flush=True,
    )


def decoder_layout(detector: Any) -> tuple[int, int, list[int]]:
    """Read (n_members, n_draws, layer widths) off a fitted detector.

    The linear path around the layers, from z straight to the outputs, is left out.
    """
    model = detector.model_
    shapes = [tuple(layer.weight.shape) for layer in model.vae.decoder.layers]
    widths = [shapes[0][1], *(after for _, _, after in shapes)]
    return shapes[0][0], len(model.noise), widths


def decode_operations(n_members: int, n_draws: int, widths: Sequence[int]) -> int:
    """Count the multiplications and additions of the decoder's matrix products for one row."""
    return 2 * n_members * n_draws * sum(before * after for before, after in pairwise(widths))


def matrix_product_rate(size: int = 2048, n_repeats: int = 5) -> float:
    """Return the operations a second of the best of some float64 matrix products."""
    import torch

    left, right = torch.rand(2, size, size, dtype=torch.float64)
    best = min(timed(lambda: left @ right)[1] for _ in range(n_repeats))
    return 2 * size**3 / best


def report_memory(rows: pd.DataFrame, model: Path, n_rows: int) -> None:
    """Score a file and one ten times as long; print the peak memory of each command."""
    peaks = [peak_memory(rows, model, n) for n in (n_rows, 10 * n_rows)]
    print(f"memory of the longer file / of the shorter: {peaks[1] / peaks[0]:.2f}")


def peak_memory(rows: pd.DataFrame, model: Path, n_rows: int) -> int:
    """Return the peak resident bytes of `improbable score` on a CSV file of `n_rows` rows."""
    source, target = model.with_name("rows.csv"), model.with_name("scored.csv")
    rows.iloc[np.arange(n_rows) % len(rows)].to_csv(source, index=False)
    score = [str(command_line()), "score", str(source), "-m", str(model), "-o", str(target)]
    wrapper = [sys.executable, "-c", PEAK_OF_COMMAND, *score]
    done, seconds = timed(lambda: subprocess.run(wrapper, stdout=subprocess.PIPE, check=True))
    peak = int(done.stdout)
    print(
        f"improbable score: {n_rows} rows, {source.stat().st_size / 1e6:.0f} MB of CSV: "
        f"peak {peak / 2**20:.0f} MiB resident, {seconds:.1f} s",
        flush=True,
    )
    return peak


def command_line() -> Path:
    """Return the `improbable` command beside the Python that runs this file."""
    return Path(sys.executable).with_name("improbable")


if __name__ == "__main__":
    sys.exit(main())
