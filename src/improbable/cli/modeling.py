"""From rows or images to a model file, and what a model file says about itself."""

import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from improbable.calibration import smallest_p
from improbable.cli.console import aligned, counted, number
from improbable.cli.destinations import check_apart, check_destination
from improbable.cli.inputs import InputFile
from improbable.cli.training_data import Choice, read_more, read_training
from improbable.data.codec import Codec
from improbable.data.columns import Identifier
from improbable.data.kinds import kind_name
from improbable.data.pictures import Images
from improbable.data.sequences import SequenceCodec
from improbable.data.table import TableCodec
from improbable.data.tokens import Sequences
from improbable.data.windows import WindowCodec
from improbable.errors import TrainingWarning


def fit_file(
    input: InputFile, choice: Choice, output: str, params: dict[str, Any]
) -> dict[str, Any]:
    """Fit, save, and say what came out, as plain values."""
    from improbable.detector import VAEDetector
    from improbable.persistence import save

    check_destination(output)
    check_apart(output, input.path, input.labels)
    data, params, n_rows = read_training(input, choice, params)
    started = time.perf_counter()
    with _kept_model_unsaid(output):
        detector = VAEDetector(**params).fit(data)
    _check_ending(detector, output)
    save(detector, output)
    return _record(detector, data, n_rows, output, started)


def refit_file(
    model: str, input: InputFile, choice: Choice, output: str, params: dict[str, Any]
) -> dict[str, Any]:
    """Let a model go on learning, save it, and say what came out."""
    from improbable.persistence import load, save

    check_destination(output)
    check_apart(output, input.path, input.labels)
    detector = load(model)
    data, n_rows = read_more(input, choice, detector.model_.codec, int(params["random_state"]))
    started = time.perf_counter()
    given = {name: value for name, value in params.items() if name != "tune"}
    with _kept_model_unsaid(output):
        detector.set_params(**given).refit(data)
    _check_ending(detector, output)
    save(detector, output)
    return _record(detector, data, n_rows, output, started)


def is_interrupted(record: dict[str, Any]) -> bool:
    """Whether Ctrl-C ended the training, or the search of settings, that a record tells of."""
    searched = record.get("tuning", {}).get("interrupted", False)
    return bool(searched) or record["stop_reason"] == "interrupted"


@contextmanager
def _kept_model_unsaid(output: str) -> Iterator[None]:
    """Do not say that Ctrl-C kept a model where `_check_ending` is to discard it."""
    with warnings.catch_warnings():
        if os.path.exists(output):
            warnings.filterwarnings("ignore", "Training ended: interrupted", TrainingWarning)
        yield


def _check_ending(detector: Any, output: str) -> None:
    """Leave a file as it is rather than replace it by a model whose training Ctrl-C ended."""
    ended = {"stop_reason": detector.history_.stop_reason, **_tuning(detector)}
    if is_interrupted(ended) and os.path.exists(output):
        raise KeyboardInterrupt


def _record(detector: Any, data: Any, n_rows: int, output: str, started: float) -> dict[str, Any]:
    model, history = detector.model_, detector.history_
    return {
        "model": output,
        "rows": data.n_rows if isinstance(data, Images | Sequences) else data.num_rows,
        "rows_in_input": n_rows,
        **_described(model.codec),
        "held_out_rows": len(model.held_out),
        "smallest_p_value": smallest_p(len(model.held_out)),
        "stop_reason": history.stop_reason,
        "message": history.message,
        "steps": history.steps[-1] if history.steps else 0,
        "held_out_elbo": max(history.held_out_elbo, default=None),
        **_outliers(detector),
        **_tuning(detector),
        "seconds": round(time.perf_counter() - started, 3),
    }


def _outliers(detector: Any) -> dict[str, Any]:
    """What was found among the training rows; nothing if all were taken for normal."""
    if not hasattr(detector, "training_outliers_"):
        return {}
    return {
        "training_outliers": len(detector.training_outliers_),
        "contamination": detector.contamination_,
    }


def _tuning(detector: Any) -> dict[str, Any]:
    """What a search of settings chose; nothing without one."""
    if not hasattr(detector, "tuning_"):
        return {}
    found = detector.tuning_
    scores = [trial.held_out_score for trial in found.trials]
    return {
        "tuning": {
            "models": len(scores),
            "interrupted": found.interrupted,
            "chosen": found.best,
            "held_out_score": max(scores, default=None),
            "default_held_out_score": scores[0] if scores else None,
        }
    }


def _described(codec: Codec) -> dict[str, Any]:
    if isinstance(codec, TableCodec):
        return {
            "columns": Counter(kind_name(column.kind) for column in codec.modeled),
            "set_aside": [c.name for c in codec.columns if isinstance(c.kind, Identifier)],
        }
    if isinstance(codec, WindowCodec):
        about = {"window": codec.length, "step": codec.step, "score_of": codec.score_of}
        named = {"time": codec.time, "entity": codec.entity, "calendar": list(codec.calendar)}
        return {**_described(codec.point), **about, **named}
    schema = codec.to_json()
    if isinstance(codec, SequenceCodec):
        return {name: schema[name] for name in ("max_length", "form", "n_seen", "n_rare")} | {
            "n_tokens": len(codec.tokens)
        }
    return {"shape": schema["shape"], "likelihood": schema["likelihood"]}


def fit_lines(record: dict[str, Any]) -> list[str]:
    """A fit as a person reads it."""
    facts = [
        *_data_facts(record),
        ("held out", f"{counted(record['held_out_rows'], 'row')}, p-values {_down_to(record)}"),
        ("training", f"{record['message']} ({counted(record['steps'], 'step')})"),
        *_outlier_facts(record),
        *_tuning_facts(record),
        ("time", f"{record['seconds']:.1f} s"),
        ("saved to", record["model"]),
    ]
    return [f"{name:<11}{value}" for name, value in facts]


def _data_facts(record: dict[str, Any]) -> list[tuple[str, str]]:
    if "n_tokens" in record:
        return [("sequences", f"{record['rows']:,}{_drawn(record)}"), *_token_facts(record)]
    return _table_facts(record) if "columns" in record else _image_facts(record)


def _token_facts(record: dict[str, Any]) -> list[tuple[str, str]]:
    tokens = f"{record['n_tokens']:,} different of {record['n_seen']:,} in all"
    rare = f", {record['n_rare']:,} more too rare" if record["n_rare"] else ""
    return [
        ("tokens", f"{tokens}{rare}; {record['form']['unit']} of {record['form']['column']}"),
        ("longest", f"{counted(record['max_length'], 'token')} judged of each"),
    ]


def _outlier_facts(record: dict[str, Any]) -> list[tuple[str, str]]:
    if "training_outliers" not in record:
        return []
    flagged = f"{counted(record['training_outliers'], 'training row')} flagged"
    return [("anomalies", f"{flagged}, {record['contamination']:.1%} of the rows held out")]


def _tuning_facts(record: dict[str, Any]) -> list[tuple[str, str]]:
    tuning = record.get("tuning", {})
    if not tuning.get("models"):
        return []
    best, default = tuning["held_out_score"], tuning["default_held_out_score"]
    chosen = ", ".join(_settings(tuning["chosen"]))
    early = ", interrupted" if tuning["interrupted"] else ""
    return [
        ("tuned", f"{chosen}, best of {counted(tuning['models'], 'model')}{early}"),
        ("", f"held-out score {number(best)} nats, by default {number(default)}"),
    ]


def _table_facts(record: dict[str, Any]) -> list[tuple[str, str]]:
    kinds = ", ".join(f"{count} {kind}" for kind, count in record["columns"].items())
    return [
        ("rows", f"{record['rows']:,}{_drawn(record)}"),
        ("columns", f"{sum(record['columns'].values())}: {kinds}"),
        ("set aside", ", ".join(name or "''" for name in record["set_aside"]) or "no identifiers"),
        *_series_facts(record),
    ]


def _series_facts(record: dict[str, Any]) -> list[tuple[str, str]]:
    if "window" not in record:
        return []
    window = counted(record["window"], "point")
    if record["time"] is not None:
        window = f"{window}, {number(record['step'])} s apart by {record['time']}"
    of = "" if record["entity"] is None else f", one series a value of {record['entity']}"
    how = "all that hold it" if record["score_of"] == "all" else "the one that ends with it"
    told = "".join(f", with the {name}" for name in record.get("calendar", ()))
    return [("windows", f"{window}{of}; a row is judged by {how}{told}")]


def _drawn(record: dict[str, Any]) -> str:
    n_rows = record["rows_in_input"]
    how = "the last of" if "window" in record else "drawn from"
    return f", {how} {n_rows:,}" if n_rows > record["rows"] else ""


def _image_facts(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("images", f"{record['rows']:,} of {_sides(record['shape'])}"),
        ("likelihood", record["likelihood"]),
    ]


def _sides(shape: Sequence[int]) -> str:
    channels, height, width = shape
    return f"{height} x {width}, {counted(channels, 'channel')}"


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
    windows = []
    if schema.get("data") == "series":
        windows = _series_facts({**schema, "window": schema["length"]})
        schema = schema["point"]
    is_table = "columns" in schema
    rows = (
        f"{counted(schema['n_rows'], 'row')} from {schema['library']}"
        if is_table
        else _items(schema)
    )
    facts = [
        ("format", str(header["format"])),
        ("versions", versions),
        *created,
        ("trained on", rows),
        *windows,
        ("held out", f"{counted(calibration['n'], 'row')} for p-values"),
        ("training", f"{history['message']}; held-out ELBO {elbo} nats"),
        ("settings", ", ".join(_settings({**header["config"], **header["settings"]}))),
        ("directions", ", ".join(sorted(header.get("directions", {}))) or "none"),
    ]
    columns = [("column", "kind", "type"), *map(_column_line, schema.get("columns", []))]
    lines = [f"{name:<12}{value}" for name, value in facts]
    return [*lines, "", *aligned(columns)] if is_table else lines


def _items(schema: dict[str, Any]) -> str:
    if schema["data"] == "sequences":
        facts = _token_facts({**schema, "n_tokens": len(schema["tokens"])})
        return "sequences, " + ", ".join(fact for _, fact in facts)
    return _pixels(schema)


def _pixels(schema: dict[str, Any]) -> str:
    low, high = schema["range"][:2]
    levels = f"levels {number(low)} to {number(high)}, contrast {schema['contrast']}"
    return f"images of {_sides(schema['shape'])}, {levels}, likelihood {schema['likelihood']}"


def _settings(config: dict[str, Any]) -> list[str]:
    shown = {name: v for name, v in config.items() if name not in ("columns", "codec")}
    return [f"{name} {_plain(value)}" for name, value in shown.items()]


def _plain(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value).lower()


def _column_line(column: dict[str, Any]) -> tuple[str, ...]:
    return column["name"], column["kind"], column["dtype"]
