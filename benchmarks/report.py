"""What the benchmarks print and write: Markdown tables, what they ran on, places in documents."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Cells = Sequence[str]


def table(header: Cells, body: Sequence[Cells], n_names: int = 1) -> list[str]:
    """Lines of a Markdown table; the first `n_names` columns to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    ruler = [
        "-" * width if place < n_names else "-" * (width - 1) + ":"
        for place, width in enumerate(widths)
    ]
    return [_row(row, widths, n_names) for row in (header, ruler, *body)]


def _row(row: Cells, widths: Sequence[int], n_names: int) -> str:
    padded = [
        cell.ljust(width) if place < n_names else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def environment(*packages: str) -> list[str]:
    """Say what the figures were measured with, and warn where the machine was busy."""
    import torch

    names = ("improbable", "torch", "numpy", *packages)
    versions = ", ".join(f"{name} {installed(name)}" for name in names)
    threads = f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} torch threads"
    return [f"{versions}; {threads}.", *other_work()]


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(absent)"


def other_work() -> list[str]:
    """Warn where the machine is busy: sharing cores slows small torch steps many times over."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load < 0.5:
        return []
    return [f"Other work was running at the start (load {load:.1f}): do not trust the seconds."]


def markers(name: str) -> tuple[str, str]:
    """The two comments of a document between which a benchmark writes."""
    return f"<!-- {name}:start -->", f"<!-- {name}:end -->"


def check_markers(path: Path | None, name: str = "benchmark") -> None:
    """Fail before the run, not after it, where `path` has no place for the table."""
    if path is None:
        return
    start, end = markers(name)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not 0 <= text.find(start) < text.find(end):
        raise SystemExit(f"{path} has no place for the table: add the lines {start} and {end}")


def write_between_markers(
    path: Path, rows: Sequence[str], notes: Sequence[str], name: str = "benchmark"
) -> None:
    """Replace what stands between the two comment markers of a Markdown file."""
    start, end = markers(name)
    before, _, rest = path.read_text(encoding="utf-8").partition(start)
    _, _, after = rest.partition(end)
    block = "\n".join([start, "", *rows, "", *(f"- {note}" for note in notes), "", end])
    path.write_text(f"{before}{block}{after}", encoding="utf-8")
