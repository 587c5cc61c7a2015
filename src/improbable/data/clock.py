"""Times of day as seconds since midnight, and back."""

import re
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from improbable.data.parts import Floats

Texts = NDArray[np.object_]
CLOCK, WRITTEN = "Clock", "ClockText"
TURN = 86_400.0
TOLD = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d(?:\.\d{1,9})?))?", re.ASCII)


def is_clock(dtype: str) -> bool:
    """Whether a type is one of times of day."""
    return dtype.startswith(CLOCK)


def clock_type(unit: str) -> str:
    """Name of the type of times of day in ticks of a unit."""
    return f"{CLOCK}(time_unit={unit!r})"


def is_written(dtype: str) -> bool:
    """Whether a type is one of times of day that came as text, and go back as such."""
    return dtype.startswith(WRITTEN)


def written_type(words: Collection[str]) -> str:
    """Name of the type of times of day as text, to the second if none has a part of one."""
    unit = "us" if any("." in word for word in words) else "s"
    return f"{WRITTEN}(time_unit={unit!r})"


def read_clock(cells: Any) -> Floats:
    """Seconds since midnight of an Arrow array; NaN where missing."""
    ticks = cells.cast(pa.time64("ns")).cast(pa.int64()).to_numpy(zero_copy_only=False)
    seconds: Floats = ticks.astype(np.float64) / 1e9
    return seconds


def parse_clock(word: str) -> float | None:
    """Seconds since midnight of a text such as 14:30 or 14:30:05.25; None if it is no such."""
    found = TOLD.fullmatch(word.strip())
    if found is None:
        return None
    whole, _, part = (found[3] or "0").partition(".")
    minutes = int(found[1]) * 60 + int(found[2])
    # As `read_clock` counts, to the last digit.
    return ((minutes * 60 + int(whole)) * 10**9 + int(f"{part:0<9}")) / 1e9


def clock_text(seconds: Floats, unit: str = "us") -> Texts:
    """Times of day as text, no longer than they need be; None where NaN."""
    out = np.empty(len(seconds), dtype=object)
    out[:] = arrow_clock(seconds, unit).to_pylist()
    out[:] = [None if cell is None else cell.isoformat() for cell in out]
    return out


def arrow_clock(seconds: Floats, unit: str) -> pa.Array:
    """Times of day in ticks of a unit."""
    missing = ~np.isfinite(seconds)
    per = {"s": 1.0, "ms": 1e3}.get(unit, 1e6)
    ticks = np.round(np.mod(np.where(missing, 0.0, seconds), TURN) * per) % (TURN * per)
    kind = pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
    micro = np.round(ticks * (1e6 / per)).astype(np.int64)
    cells = pa.array(micro, mask=missing).cast(pa.time64("us"))
    return cells.cast(kind, safe=False)
