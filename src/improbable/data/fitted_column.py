"""A fitted column: how its cells are read, given back and shown."""

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from improbable.data.clock import CLOCK, clock_text, is_clock, is_written
from improbable.data.columns import ColumnKind, Constant
from improbable.data.dates import is_ordered
from improbable.data.decimals import NUMERIC, has_room, is_decimal
from improbable.data.moments import Datetime
from improbable.data.octets import HEX, is_octets, respelled
from improbable.data.padding import with_zeros
from improbable.data.parts import Bools, Cells
from improbable.data.raw import RawColumn, Values, arrow_column, as_storage, is_text, shown_time

SPANS = ("Duration", CLOCK)
UTC = "Datetime(time_unit='us', time_zone='UTC')"
FEWEST_TOLD = 2  # cells; one alone is odd itself


@dataclass(frozen=True)
class Column:
    """A fitted column: its name, its kind, and the type to give it back in."""

    name: str
    kind: ColumnKind
    dtype: str
    storage: str

    def read(self, raw: RawColumn) -> tuple[Values, Bools]:
        """Values in the storage the kind takes, and which could not be read so."""
        values, unreadable = as_storage(raw, self.storage, self.dtype)
        names = getattr(self.kind, "names", ()) if raw.storage == "number" else ()
        return with_zeros(values, names), unreadable

    def suiting(self, values: Values) -> str:
        """Type to give values back in: that of training, if it has room for them."""
        if self.storage != "number" or not len(values):
            return self.dtype
        if is_decimal(self.dtype):
            return self.dtype if has_room(values, self.dtype).all() else "Float64"
        if "Int" not in self.dtype:
            return self.dtype
        limits = np.iinfo(self.dtype.lower())
        fits = (values == np.round(values)) & (values >= limits.min) & (values <= limits.max)
        return self.dtype if fits.all() else "Float64"

    def filled(self, raw: RawColumn, decoded: Values) -> RawColumn:
        """Cells as they came, but missing and unreadable ones as decoded."""
        kept = self.read(raw)[0]
        blank = np.array([v is None or v != v for v in kept], dtype=bool)
        if is_octets(raw.dtype) and self.storage == "text":
            words = (decoded, self.dtype), (raw.values, raw.dtype)
            cells = np.where(blank, *(respelled(*held, HEX) for held in words))
            return RawColumn(cells, "text", HEX)
        if raw.storage == "text" and self.storage == "number" and "Int" in raw.dtype:
            rounded = np.array([f"{number:.0f}" for number in decoded], dtype=object)
            exact = np.where(blank, rounded, raw.values)
            return RawColumn(exact, "text", self.dtype)
        as_words = is_written(self.dtype) or self.storage == "time" and is_text(self.dtype)
        if raw.storage == "text" and not is_octets(raw.dtype) and as_words:
            words = arrow_column(RawColumn(decoded, self.storage, self.dtype)).to_pylist()
            cells = np.where(blank, np.array(words, dtype=object), raw.values)
            return RawColumn(cells, "text", raw.dtype)
        cells = np.where(blank, decoded, kept)
        as_is = raw.storage == self.storage and raw.dtype.startswith(SPANS)
        return RawColumn(cells, self.storage, raw.dtype if as_is else self.suiting(kept[~blank]))

    def displayed(self, raw: RawColumn, index: NDArray[np.intp]) -> Values:
        """Values at some rows as a reader wants to see them; None where missing."""
        some = RawColumn(raw.values[index], raw.storage, raw.dtype)
        values, unreadable = self.read(some)
        out = np.empty(len(index), dtype=object)
        out[:] = [None if v is None or v != v else v for v in values]
        if isinstance(self.kind, Datetime):
            out[:] = self.moments(values)
            out[unreadable | np.isnan(values)] = None
        if is_clock(self.dtype) and self.storage == "number":
            out[:] = clock_text(values)
        out[unreadable] = respelled(some.values, some.dtype, self.dtype)[unreadable]
        return out

    @property
    def time_type(self) -> str:
        """Type of the moments or durations of a column, of numbers those of UTC; else empty."""
        if isinstance(self.kind, Datetime):
            return UTC if self.kind.unit else self.dtype
        return self.dtype if self.dtype.startswith("Duration") else ""

    def moments(self, values: Values) -> list[str]:
        """Values of a column of moments in words, to the second."""
        seconds = cast(Datetime, self.kind).seconds(values)
        return [shown_time(v, self.time_type) for v in seconds]

    def cells(self, raw: RawColumn, n_rows: int) -> Cells:
        """Encoded cells; one that cannot be read counts as never seen in `n_rows` rows."""
        values, unreadable = self.read(raw)
        cells = self.kind.transform(values)
        if not unreadable.any():
            return cells
        return replace(
            cells,
            offset=np.where(unreadable, -np.log(n_rows + 1.0), cells.offset),
            missing=cells.missing & ~unreadable,
            unseen=cells.unseen | unreadable,
        )

    def changed(self, raw: RawColumn, cells: Cells) -> list[str]:
        """A note in a list if the column came in another type that makes nothing known of it."""
        present = ~cells.missing
        if raw.storage in _storages(self.dtype) or isinstance(self.kind, Constant):
            return []
        if np.count_nonzero(present) < FEWEST_TOLD or not cells.unseen[present].all():
            return []
        return [f"{self.name} ({_short(self.dtype)} at fit, {_short(raw.dtype)} now)"]


def _storages(dtype: str) -> tuple[str, ...]:
    """Storages that values of a type come in."""
    if dtype == "Boolean":
        return ("text", "number")
    if dtype.startswith("Date"):
        return ("time",)
    if is_written(dtype):
        return ("text", "number")
    if is_ordered(dtype):
        return ("text", "time")
    numeric = dtype.startswith((*NUMERIC, *SPANS))
    return ("number",) if numeric else ("text",)


def _short(dtype: str) -> str:
    return dtype.split("(")[0]
