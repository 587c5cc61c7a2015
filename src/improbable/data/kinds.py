"""Column kinds by name: how the user says one, and how a model file holds it."""

from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np

from improbable.data.columns import (
    Binary,
    Categorical,
    ColumnKind,
    Constant,
    Count,
    Cyclic,
    Identifier,
    Positive,
    Real,
    Values,
)
from improbable.data.moments import UNITS, Datetime
from improbable.data.numeric import NumericEncoding
from improbable.errors import DataError

KNEE = 3.0
BENT = ("normal", "normal_per_column", "normal_fixed", "student_t")

COLUMNS: dict[str, type[Any]] = {
    "real": Real,
    "positive": Positive,
    "count": Count,
    "binary": Binary,
    "categorical": Categorical,
    "cyclic": Cyclic,
    "constant": Constant,
    "datetime": Datetime,
    "identifier": Identifier,
}


def focused(kind: ColumnKind, values: Values) -> ColumnKind:
    """Fitted kind of numbers that takes its scale from these values alone; others as they are."""
    encoding = getattr(kind, "encoding", None)
    if encoding is None:
        return kind
    knee = KNEE if getattr(kind, "likelihood", "") in BENT else 0.0
    return replace(kind, encoding=encoding.focused(values, knee))  # type: ignore[type-var]


def kind_name(kind: ColumnKind) -> str:
    """Name of a column kind in `COLUMNS`."""
    return next(name for name, cls in COLUMNS.items() if type(kind) is cls)


def column_kinds(codec: Any) -> dict[Any, str]:
    """Name of the kind of each column of a fitted codec of tables or series; others have none."""
    table = getattr(codec, "point", codec)
    columns, labels = getattr(table, "columns", ()), getattr(table, "labels", {})
    return {labels.get(c.name, c.name): kind_name(c.kind) for c in columns}


def kind_to_json(kind: ColumnKind) -> dict[str, Any]:
    """Fitted kind as plain values."""
    return {"kind": kind_name(kind), **asdict(kind)}  # type: ignore[call-overload]


def kind_from_json(record: dict[str, Any]) -> ColumnKind:
    """Fitted kind from plain values, each checked for its type."""
    cls = COLUMNS[record["kind"]]
    chosen = {
        f.name: _checked(f.name, record[f.name])
        for f in fields(cls)
        if f.init and f.name in record
    }
    if len(chosen.get("names", ())) != len(chosen.get("counts", ())):
        raise DataError("A column's names and counts differ in length. Save the model again.")
    kind: ColumnKind = cls(**chosen)
    return kind


def _checked(name: str, value: Any) -> Any:
    """Value of a stored field in the type it must have; ValueError or TypeError if it has not."""
    if name in ("encoding", "trend"):
        return None if value is None else NumericEncoding.from_json(value)
    if name in ("names", "cycles"):
        return tuple(str(entry) for entry in value)
    if name == "counts":
        return tuple(max(int(entry), 1) for entry in value)
    if name == "log":
        return bool(value)
    if name in ("max_categories", "n_seen"):
        return max(int(value), int(name == "max_categories"))
    if name in ("horizon", "step"):
        return max(float(np.nan_to_num(value)), 0.0)
    if name == "unit" and value not in UNITS:
        raise ValueError(f"{value!r} is no unit of time")
    if name == "origin":
        return float(np.nan_to_num(value))
    return float(value) if name in ("period", "start") else value
