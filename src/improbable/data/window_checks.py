"""What series can be asked for: choices of their codec, and windows no longer than they are."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from improbable.data.frames import Frame
from improbable.data.schema import warn_of_zone
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


def check_names(names: Mapping[str, str | None], frame: Frame, *, fitted: bool) -> None:
    """Refuse names of time or entity that no column has.

    Raises
    ------
    SchemaError
    """
    for role, name in names.items():
        if name is not None and name not in frame.columns:
            remedy = f"The model takes the {role} from it: pass it, or rename a column"
            raise SchemaError(
                f"No column is called {name!r}; there are: "
                f"{', '.join((*frame.columns, *frame.unread))}. "
                f"{remedy if fitted else f'Name one of them as {role}'}."
            )


def check_times(
    head: Iterable[tuple[str, str, str]], time: str | None, frame: Frame, timeline: Timeline
) -> None:
    """Say so where times are told otherwise than in training, or rows come at another pace.

    Parameters
    ----------
    head : iterable of (str, str, str)
        Name, storage and type of the columns of time and entity at fit.
    time : str, optional
        Name of that of time.
    frame : Frame
    timeline : Timeline

    Warns
    -----
    DataWarning
    """
    for name, *at_fit in head:
        if name == time:
            warn_of_zone(name, (at_fit[0], at_fit[1]), frame.columns[name])
    if timeline.pace:
        warnings.warn(
            f"Rows are {timeline.pace} in time than those of the training series, which were "
            f"{timeline.step:g} s apart. Resample them, or fit on rows at this pace.",
            DataWarning,
            stacklevel=5,
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
