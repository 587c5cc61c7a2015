"""What the calendar says of time stamps: the hour of the day, the day of the week."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from improbable.data.columns import Categorical, ColumnKind, Cyclic
from improbable.data.raw import RawColumn, Values, arrow_times
from improbable.errors import DataError

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FIRST_WEEKDAY = 3  # of the day that stamps count from, a Thursday
Stamps = NDArray[np.datetime64]


def _hours(stamps: Stamps) -> Values:
    hours: Values = (stamps - stamps.astype("datetime64[D]")) / np.timedelta64(1, "h")
    return hours


def _weekdays(stamps: Stamps) -> Values:
    days = stamps.astype("datetime64[D]").astype(np.int64)
    return np.array(WEEKDAYS, dtype=object)[(days + FIRST_WEEKDAY) % 7]


READ: dict[str, Callable[[Stamps], Values]] = {"hour": _hours, "weekday": _weekdays}
KINDS: dict[str, ColumnKind] = {"hour": Cyclic(period=24.0), "weekday": Categorical()}


def check_calendar(wanted: Sequence[str], time: str | None) -> None:
    """Refuse what is no part of the calendar, or has no stamps to be read from.

    Raises
    ------
    DataError
    """
    alone = wanted is None or isinstance(wanted, str)
    names = [] if alone else list(wanted)
    if alone or not set(names) <= set(READ):
        raise DataError(
            f"calendar takes some of {tuple(READ)} in a list, got {wanted!r}. Pass () for none, "
            "or on the command line --calendar hour,weekday."
        )
    if names and time is None:
        raise DataError("calendar needs a column of time stamps. Name it as time.")


def column_of(time: str, name: str) -> str:
    """Name of the column that a part of the calendar becomes."""
    return f"{time}.{name}"


def calendar_columns(
    time: str | None, raw: RawColumn | None, wanted: Sequence[str], dtype: str | None = None
) -> dict[str, RawColumn]:
    """Columns of what the calendar says, by the clock on the wall.

    Parameters
    ----------
    time : str or None
        Column of the stamps.
    raw : RawColumn or None
        Stamps.
    dtype : str, optional
        Their type at fit, whose time zone counts; their own if None.
    wanted : sequence of str
        Of "hour" (hours since midnight) and "weekday" (its name).

    Raises
    ------
    DataError
        If there are no stamps.
    """
    if time is None or raw is None or not wanted:
        return {}
    if raw.storage == "number":
        raise DataError(
            f"calendar needs time stamps, but column {time!r} holds numbers. Pass stamps."
        )
    ticks = arrow_times(replace(raw, dtype=dtype or raw.dtype))
    if getattr(ticks.type, "tz", None) is not None:
        ticks = pc.local_timestamp(ticks)
    stamps: Any = ticks.to_numpy(zero_copy_only=False).astype("datetime64[us]")
    found = {name: READ[name](stamps) for name in wanted}
    return {
        column_of(time, name): RawColumn(
            values, KINDS[name].storage, "String" if name == "weekday" else "Float64"
        )
        for name, values in found.items()
    }


def calendar_kinds(time: str | None, wanted: Sequence[str], kinds: Any) -> Any:
    """Kinds of the calendar's columns, beside those that the user names."""
    if time is None or not wanted or not (kinds is None or isinstance(kinds, Mapping)):
        return kinds
    return {**{column_of(time, name): KINDS[name] for name in wanted}, **(kinds or {})}
