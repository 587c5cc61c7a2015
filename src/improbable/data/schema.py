"""What a table's columns are: overrides at fit, and whether a later table matches."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from improbable.data.clock import TURN, is_clock
from improbable.data.columns import Categorical, ColumnKind, Constant, Count, Cyclic, Identifier
from improbable.data.dates import DATE
from improbable.data.fitted_column import Column
from improbable.data.frames import Frame
from improbable.data.inference import foreign_words, infer_kind, unread_measurements
from improbable.data.kinds import COLUMNS, focused, kind_from_json, kind_to_json
from improbable.data.moments import Datetime, unit_of
from improbable.data.raw import (
    RawColumn,
    as_number,
    as_storage,
    understood,
    with_order,
    zone_of,
)
from improbable.errors import DataError, DataWarning, SchemaError

NUMBER_LIKELIHOODS = ("normal", "normal_per_column", "normal_fixed", "student_t")
COUNT_LIKELIHOODS = (*NUMBER_LIKELIHOODS, "poisson", "negative_binomial")


def warn_of_zones(columns: Sequence[Column], frame: Frame) -> None:
    """Say so where stamps have a time zone now and had none at fit, or the other way round."""
    for column in columns:
        warn_of_zone(column.name, (column.storage, column.dtype), frame.columns[column.name])


def warn_of_zone(name: str, at_fit: tuple[str, str], raw: RawColumn) -> None:
    """The same of one column, whose storage and type at fit are known."""
    zones = zone_of(at_fit[1]), zone_of(raw.dtype)
    told = raw.storage == at_fit[0] == "time" and not np.isnan(raw.values).all()
    if not told or all(zones) or set(zones) <= {None, "UTC", "Etc/UTC", "+00:00"}:
        return
    then, now = (zone or "no time zone" for zone in zones)
    warnings.warn(
        f"Column {name!r} has {now} here and had {then} at fit: times without a zone "
        "are taken for UTC. Give them their zone, or take it away.",
        DataWarning,
        stacklevel=6,
    )


def as_kind(kind: Any) -> ColumnKind:
    """Column kind of a kind, its class, or its name."""
    if isinstance(kind, str) and kind in COLUMNS:
        kind = COLUMNS[kind]
    if isinstance(kind, type) and kind in COLUMNS.values():
        kind = kind()
    if type(kind) not in COLUMNS.values():
        raise DataError(
            f"{kind!r} is not a column kind. Use one of {', '.join(sorted(COLUMNS))}, "
            f"as a name or as an object such as Count()."
        )
    if hasattr(kind, "likelihood"):
        _check_likelihood(kind.likelihood, _likelihoods_of(kind))
    chosen: ColumnKind = kind
    return chosen


def _likelihoods_of(kind: ColumnKind) -> tuple[str, ...]:
    if not hasattr(kind, "likelihood"):
        return ()
    return COUNT_LIKELIHOODS if isinstance(kind, Count) else NUMBER_LIKELIHOODS


def _check_likelihood(likelihood: str, allowed: tuple[str, ...]) -> None:
    if likelihood not in allowed:
        raise DataError(
            f"{likelihood!r} is not a likelihood of such columns. Use one of "
            f"{', '.join(allowed)}, or 'auto'."
        )


def named_kinds(kinds: Any, frame: Frame) -> dict[str, ColumnKind]:
    """Kinds that override inference, by the names of a table."""
    if kinds is None:
        return {}
    if not isinstance(kinds, Mapping):
        raise DataError("columns must map names to kinds, for instance {'age': Count()}.")
    chosen = {_key(name, frame): as_kind(kind) for name, kind in kinds.items()}
    _check_known(chosen, frame, "columns")
    return chosen


def known_kinds(kinds: Any, frame: Frame) -> dict[str, ColumnKind]:
    """Kinds that override inference: those the user names, and that of an index of pandas."""
    set_aside = {name: Identifier() for name in frame.index_columns if name in frame.columns}
    return {**set_aside, **named_kinds(kinds, frame)}


def named_likelihoods(likelihood: Any, frame: Frame) -> dict[str, str]:
    """Likelihoods that override "normal", by the names of a table."""
    if isinstance(likelihood, Mapping):
        chosen = {_key(name, frame): str(value) for name, value in likelihood.items()}
        _check_known(chosen, frame, "likelihood")
    else:
        chosen = dict.fromkeys(frame.columns, str(likelihood))
    chosen = {name: value for name, value in chosen.items() if value != "auto"}
    for value in chosen.values():
        _check_likelihood(value, COUNT_LIKELIHOODS)
    return chosen


def _key(name: Any, frame: Frame) -> str:
    return f"x{name}" if isinstance(name, Integral) and not frame.named else str(name)


def _check_known(chosen: Mapping[str, Any], frame: Frame, what: str) -> None:
    unknown = [name for name in chosen if name not in frame.columns]
    if unknown:
        near = {n: get_close_matches(n, list(frame.columns), 1) for n in unknown}
        hints = ", ".join(f"{n}{f' (did you mean {m[0]}?)' if m else ''}" for n, m in near.items())
        raise SchemaError(f"{what} names columns that the table does not have: {hints}.")


def fit_column(
    name: str,
    raw: RawColumn,
    kind: ColumnKind | None,
    likelihood: str | None,
    *,
    named: bool,
    by_name: bool,
    trusted: NDArray[np.intp] | None = None,
) -> Column:
    """Fitted column of a table.

    Parameters
    ----------
    name, raw : str, RawColumn
        The column.
    kind : ColumnKind, optional
        Inferred when absent.
    likelihood : str, optional
        In place of the kind's own.
    named : bool
        Whether the table came with column names.
    by_name : bool
        Whether the likelihood was said of this column rather than of all; then
        it must suit the kind, and wins over one the kind was given.
    trusted : ndarray of int, optional
        Rows that alone set the scale of numbers; then no tail decides on a log scale.

    Raises
    ------
    DataError
        If the column cannot be of the kind, or the kind not have the likelihood.
    """
    read = raw if isinstance(kind, Identifier) else understood(raw)
    if kind is None or isinstance(kind, Datetime):
        read = with_order(read)
    if kind is None:
        kind = infer_kind(read, named=named, name=name, log=trusted is None)
        _warn_of_measurements(name, read, kind)
    kind = _suited(kind, read)
    values, unreadable = as_storage(read, kind.storage, read.dtype)
    if unreadable.any():
        example = raw.values[unreadable].tolist()[0]
        dates = kind.storage == "time" and isinstance(example, str)
        clean = f"Write it as {DATE}" if dates else "Clean it"
        raise DataError(
            f"Column {name!r} cannot be read as {kind.storage}: {example!r}. "
            f"{clean}, or choose another kind for it with columns={{{name!r}: ...}}."
        )
    empty = all(v is None or v != v for v in values)
    if empty and not isinstance(kind, Constant | Identifier):
        raise DataError(f"Column {name!r} has no value at all. Leave its kind to be inferred.")
    if trusted is not None and isinstance(kind, Count):
        kind = replace(kind, log=False)
    try:
        kind = _with_likelihood(kind, likelihood, by_name=by_name)
        kind = kind.fit(values)
        if trusted is not None:
            kind = focused(kind, values[trusted])
        return Column(name, kind, read.dtype, kind.storage)
    except DataError as error:
        raise DataError(f"Column {name!r}: {error}") from error


def _suited(kind: ColumnKind, raw: RawColumn) -> ColumnKind:
    """A kind in the unit of a column: that of times of day, or of numbers that are moments."""
    if is_clock(raw.dtype) and kind == Cyclic():
        return Cyclic(period=TURN)
    if kind == Datetime() and (raw.storage == "number" or "Int" in raw.dtype):
        numbers = as_number(raw)
        return Datetime(unit=unit_of(numbers[np.isfinite(numbers)]))
    return kind


def _warn_of_measurements(name: str, raw: RawColumn, kind: ColumnKind) -> None:
    """Say so when a column is taken for names though nearly all of its cells are numbers."""
    if not isinstance(kind, Identifier | Categorical) or raw.storage != "text":
        return
    what, example = foreign_words(raw.values)
    odd = unread_measurements(raw.values)
    if what:
        problem = f"is taken for names, though its cells look like {what}, as {example!r} does"
    elif odd:
        aside = isinstance(kind, Identifier)
        taken = "is set aside as an identifier" if aside else "is taken for names"
        problem = f"{taken}, though nearly all of its cells are numbers: {odd[0]!r} is none"
    else:
        return
    known = "categorical" if isinstance(kind, Categorical) else "identifier"
    change = f"Write them as {DATE}" if what == "dates" else "Convert it"
    remedy = f"{change}, or say columns={{{name!r}: {known!r}}}."
    warnings.warn(f"Column {name!r} {problem}. {remedy}", DataWarning, stacklevel=4)


def _with_likelihood(kind: ColumnKind, likelihood: str | None, *, by_name: bool) -> ColumnKind:
    allowed = _likelihoods_of(kind)
    if likelihood is None:
        return kind
    if by_name and not allowed:
        raise DataError(
            f"A {type(kind).__name__} column has one likelihood only. Leave out {likelihood!r}."
        )
    if by_name:
        _check_likelihood(likelihood, allowed)
    if likelihood in allowed and (by_name or getattr(kind, "likelihood", "") == "normal"):
        return replace(kind, likelihood=likelihood)  # type: ignore[type-var]
    return kind


def check_names(columns: tuple[Column, ...], frame: Frame, n_rows: int) -> None:
    """Refuse a table that lacks columns that are modeled; say which others changed their type."""
    known = [c.name for c in columns]
    missing = [
        column.name
        for column in columns
        if column.name not in frame.columns and not isinstance(column.kind, Identifier)
    ]
    if not missing:
        return
    extra = [n for n in (*frame.columns, *frame.unread) if n not in known]
    retyped: list[str] = []
    for column in columns:
        if column.name in frame.columns:
            raw = frame.columns[column.name]
            retyped += column.changed(raw, column.cells(raw, n_rows))
    near = {n: get_close_matches(n, extra, 1, 0.5) for n in missing}
    hints = [f"{n} (nearest: {near[n][0]})" if near[n] else n for n in missing]
    raise schema_error(missing=hints, extra=extra, retyped=retyped)


def schema_error(
    *, missing: list[str] | None = None, extra: list[str] | None = None, retyped: list[str]
) -> SchemaError:
    """The difference between a table and the columns seen at fit, in words."""
    lines = ["The table does not match the columns seen at fit."]
    for label, notes in (("missing", missing), ("extra", extra), ("re-typed", retyped)):
        if notes:
            lines.append(f"  {label + ':':<9} {', '.join(notes)}")
    lines.append("Rename or convert these columns, or fit again on a table like this one.")
    return SchemaError("\n".join(lines))


def kinds_to_json(kinds: Mapping[str, Any] | None) -> list[list[Any]] | None:
    """Kinds that override inference as plain values, in order."""
    if kinds is None:
        return None
    return [[name, kind_to_json(as_kind(kind))] for name, kind in kinds.items()]


def kinds_from_json(record: list[list[Any]] | None) -> dict[str, ColumnKind] | None:
    """Kinds that override inference from plain values."""
    return None if record is None else {name: kind_from_json(kind) for name, kind in record}
