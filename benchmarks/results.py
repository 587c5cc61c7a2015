"""Figures that outlive the run: one row a fit, in a Parquet file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd


class Results:
    """The figures of every fit so far, and the file that keeps them.

    `key` names the columns that tell fits apart.
    """

    def __init__(self, path: Path, key: Sequence[str]) -> None:
        self.path, self.key = path, tuple(key)
        rows = pd.read_parquet(path).to_dict("records") if path.is_file() else []
        self.rows: dict[tuple[Any, ...], dict[str, Any]] = {self.key_of(r): r for r in rows}

    def key_of(self, row: dict[str, Any]) -> tuple[Any, ...]:
        """Return what tells a row apart."""
        return tuple(row[name] for name in self.key)

    def add(self, row: dict[str, Any]) -> None:
        """Keep one row, in place of one of the same key; the file is replaced as a whole."""
        self.rows[self.key_of(row)] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(self.path.name + ".part")
        pd.DataFrame(list(self.rows.values())).to_parquet(beside, index=False)
        os.replace(beside, self.path)
