"""What series can be asked for: choices of their codec, and windows no longer than they are."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from improbable.data.frames import Frame
from improbable.data.timeline import Timeline
from improbable.errors import DataError, DataWarning, SchemaError

MOST_SHARED = 0.05
SCORES_OF = ("all", "last")
NETWORKS = ("mlp", "gru", "conv")


def check_choices(choices: Mapping[str, Any]) -> None:
    """Refuse choices of a `WindowCodec` that no series can be read by.

    Raises
    ------
    DataError
    """
    for name, names in (("score_of", SCORES_OF), ("network", NETWORKS)):
        if choices[name] not in names:
            raise DataError(f"{name} must be one of {names}, got {choices[name]!r}.")
    for name, also in (("length", "'auto' or "), ("stride", "")):
        value = choices[name]
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not (whole and value >= 1) and not (also and value == "auto"):
            raise DataError(f"{name} must be {also}a number of rows, not {value!r}.")
    for name, remedy in (
        ("time", "Name one, or pass None for rows in order"),
        ("entity", "Join the columns that tell series apart into one, and name that"),
    ):
        value = choices[name]
        if value is not None and not isinstance(value, str):
            raise DataError(f"{name} must be the name of one column, not {value!r}. {remedy}.")


def check_names(names: Iterable[str | None], frame: Frame) -> None:
    """Refuse names of time or entity that no column has.

    Raises
    ------
    SchemaError
    """
    for name in names:
        if name is not None and name not in frame.columns:
            raise SchemaError(
                f"No column is called {name!r}; there are: "
                f"{', '.join((*frame.columns, *frame.unread))}. "
                "Name one of them as time or entity."
            )


def check_timeline(timeline: Timeline, length: int) -> None:
    """Refuse windows longer than every series; say so when many rows have the time of others.

    Raises
    ------
    DataError

    Warns
    -----
    DataWarning
    """
    longest = int((timeline.end - timeline.start).max()) + 1
    if length > longest:
        raise DataError(
            f"A window of {length} rows is longer than the longest series without a long gap, of "
            f"{longest}. Pass a smaller length."
        )
    n_shared, n_rows = int(timeline.repeated.sum()), len(timeline.repeated)
    if n_shared > MOST_SHARED * n_rows:
        warnings.warn(
            f"{n_shared:,} of {n_rows:,} rows share their time with a later row of their series, "
            "and only the last counts. If these are several series, name the column that tells "
            "them apart: entity.",
            DataWarning,
            stacklevel=4,
        )
