"""From a file to a model file, and what a model file says about itself."""

import time
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import pyarrow as pa

from improbable.calibration import smallest_p
from improbable.cli.console import aligned, number
from improbable.cli.labels import Labels, check_column
from improbable.data.columns import COLUMNS, Cyclic, Identifier, kind_name
from improbable.data.files import read_table
from improbable.data.table import tabular
from improbable.detector import VAEDetector
from improbable.errors import DataError
from improbable.persistence import save


def parse_kinds(pairs: Sequence[str]) -> dict[str, Any]:
    """Column kinds of texts such as "age=count" and "hour=cyclic:24"."""
    kinds = {}
    for pair in pairs:
        name, equals, kind = pair.rpartition("=")
        if not equals or not name:
            raise DataError(
                f"--kind {pair} is not NAME=KIND. Write it as in --kind age=count; "
                f"kinds are {', '.join(sorted(COLUMNS))}."
            )
        kinds[name] = _parse_kind(kind)
    return kinds


def _parse_kind(text: str) -> Any:
    name, _, period = text.partition(":")
    if name == "cyclic" and period:
        try:
            return Cyclic(period=float(period))
        except ValueError:
            raise DataError(f"{period!r} is no period. Write it as in cyclic:24.") from None
    if text not in COLUMNS:
        near = get_close_matches(text, COLUMNS, 1)
        hint = f" (nearest: {near[0]})" if near else ""
        raise DataError(f"{text!r} is no kind{hint}. Kinds are {', '.join(sorted(COLUMNS))}.")
    return text


def read_training(
    path: str, *, format: str | None, label: str | None, normal: str | None, drop: Sequence[str]
) -> pa.Table:
    """Rows to fit on: the normal ones if there are labels, without the columns not wanted."""
    table = read_table(path, format=format)
    names = table.column_names
    unwanted = {
        check_column(name, names, "--drop")
        for item in drop
        for name in ([item] if item in names else item.split(","))
    }
    if label is not None:
        labels = Labels(normal)
        is_normal, _ = labels.read(table[check_column(label, names, "--label")])
        labels.check_found()
        table = table.filter(pa.array(is_normal))
        unwanted.add(label)
    elif normal is not None:
        raise DataError("--normal says which label is normal. Name the column with --label.")
    return table.drop_columns(sorted(unwanted))


def fit_file(table: pa.Table, output: str, params: dict[str, Any]) -> dict[str, Any]:
    """Fit, save, and say what came out, as plain values."""
    started = time.perf_counter()
    detector = VAEDetector(**params).fit(table)
    save(detector, output)
    model, history = detector.model_, detector.history_
    codec = tabular(model.codec)
    columns = codec.columns
    return {
        "model": output,
        "rows": table.num_rows,
        "columns": Counter(kind_name(column.kind) for column in codec.modeled),
        "set_aside": [c.name for c in columns if isinstance(c.kind, Identifier)],
        "held_out_rows": len(model.held_out),
        "smallest_p_value": smallest_p(len(model.held_out)),
        "stop_reason": history.stop_reason,
        "message": history.message,
        "steps": history.steps[-1] if history.steps else 0,
        "held_out_elbo": max(history.held_out_elbo, default=None),
        "seconds": round(time.perf_counter() - started, 3),
    }


def fit_lines(record: dict[str, Any]) -> list[str]:
    """A fit as a person reads it."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in record["columns"].items())
    facts = [
        ("rows", f"{record['rows']:,}"),
        ("columns", f"{sum(record['columns'].values())}: {kinds}"),
        ("set aside", ", ".join(record["set_aside"]) or "no identifiers"),
        ("held out", f"{record['held_out_rows']:,} rows, p-values {_down_to(record)}"),
        ("training", f"{record['message']} ({record['steps']} steps)"),
        ("time", f"{record['seconds']:.1f} s"),
        ("saved to", record["model"]),
    ]
    return [f"{name:<11}{value}" for name, value in facts]


def _down_to(record: dict[str, Any]) -> str:
    if not record["held_out_rows"]:
        return "none"
    return f"from {record['smallest_p_value']:.2g} up"


def inspection(header: dict[str, Any]) -> dict[str, Any]:
    """What a model file says about itself, without its digest."""
    return {name: value for name, value in header.items() if name != "digest"}


def inspection_lines(header: dict[str, Any]) -> list[str]:
    """The same as a person reads it."""
    schema, history, calibration = (header[n] for n in ("schema", "history", "calibration"))
    versions = ", ".join(f"{name} {version}" for name, version in header["versions"].items())
    elbo = number(max(history["held_out_elbo"], default=None))
    created = [("created", str(header["created"]))] if "created" in header else []
    facts = [
        ("format", str(header["format"])),
        ("versions", versions),
        *created,
        ("trained on", f"{schema['n_rows']:,} rows from {schema['library']}"),
        ("held out", f"{calibration['n']:,} rows for p-values"),
        ("training", f"{history['message']}; held-out ELBO {elbo} nats"),
        (
            "settings",
            ", ".join(f"{k} {_plain(v)}" for k, v in header["config"].items() if k != "columns"),
        ),
    ]
    rows = [("column", "kind", "type"), *map(_column_line, schema["columns"])]
    return [*(f"{name:<12}{value}" for name, value in facts), "", *aligned(rows)]


def _plain(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value).lower()


def _column_line(column: dict[str, Any]) -> tuple[str, ...]:
    return column["name"], column["kind"], column["dtype"]
