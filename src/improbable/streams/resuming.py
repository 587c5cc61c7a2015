"""State of a stream in a file: written whole, read only beside the model that it belongs to."""

import json
import os
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from improbable import container
from improbable.container import FORMAT, Arrays
from improbable.container import PathLike as PathLike
from improbable.data.rows import DenseRows
from improbable.errors import FormatError
from improbable.model import Model
from improbable.streams.events import Event, Running
from improbable.streams.points import Past
from improbable.streams.readings import Kept, Rule, Track
from improbable.streams.thresholds import Threshold

KIND = "stream"
ARRAYS = ("excess", "at", "recent")


def model_digest(model: Model) -> str:
    """SHA-256 of all that scores and thresholds of a model depend on."""
    arrays = {name: p.detach().float().cpu().numpy() for name, p in model.vae.state_dict().items()}
    arrays |= {"noise": model.noise.cpu().numpy(), "held_out": model.held_out}
    for side in ("loc", "scale"):
        if hasattr(model.prior, side):
            arrays[f"prior.{side}"] = getattr(model.prior, side).float().cpu().numpy()
    schema = json.loads(json.dumps(model.codec.to_json()))
    return container.digest({"schema": schema, "score": model.score_function}, arrays)


def write_state(path: PathLike, model: Model, rule: Rule, kept: Kept) -> None:
    """Write what a stream keeps; see `Stream.save`."""
    arrays: Arrays = {}
    tracks = []
    for i, (name, track) in enumerate(kept.tracks.items()):
        tracks.append({"entity": name, **_track_json(track)})
        if track.threshold is not None:
            arrays |= {f"track.{i}.{a}": getattr(track.threshold, a) for a in ARRAYS}
    pasts = []
    for i, (name, past) in enumerate(kept.pasts.items()):
        pasts.append({"entity": name, "time": past.time, "age": past.age})
        arrays |= {f"past.{i}.{f.name}": getattr(past.cells, f.name) for f in fields(DenseRows)}
        arrays[f"past.{i}.stayed"] = past.stayed
    header = {
        "format": FORMAT,
        "kind": KIND,
        "versions": container.versions(),
        "model": model_digest(model),
        "rule": asdict(rule),
        "kept": {
            "n_points": kept.n_points,
            "n_alarms": kept.n_alarms,
            "tracks": tracks,
            "pasts": pasts,
            "events": [asdict(event) for event in kept.events],
        },
    }
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    container.write_container(path, header, whole)


def read_state(path: PathLike, model: Model) -> tuple[Rule, Kept]:
    """Rule of a stream of a model, and what it kept.

    Raises
    ------
    FormatError
        As `improbable.streams.load_stream`.
    """
    if not os.path.isfile(path):
        raise FormatError(f"There is no state {path}. Check the path, or begin a new stream.")
    header, arrays = container.read_container(path)
    if header.get("kind") != KIND:
        raise FormatError(f"{path} is no state of a stream. Pass what Stream.save wrote.")
    if header["model"] != model_digest(model):
        raise FormatError(
            f"{path} is the state of a stream of another model. Resume it with the model it "
            "began with, or begin a new stream."
        )
    with container.usable(path):
        return Rule(**header["rule"]), _kept(header["kept"], arrays)


def _track_json(track: Track) -> dict[str, Any]:
    threshold = track.threshold
    plain = None
    if threshold is not None:
        plain = {f.name: getattr(threshold, f.name) for f in fields(threshold)}
        plain = {name: value for name, value in plain.items() if name not in ARRAYS}
    running = None if track.running is None else asdict(track.running)
    return {"threshold": plain, "said": track.said, "running": running}


def _kept(record: dict[str, Any], arrays: Arrays) -> Kept:
    return Kept(
        n_points=int(record["n_points"]),
        n_alarms=int(record["n_alarms"]),
        tracks={t["entity"]: _track(t, i, arrays) for i, t in enumerate(record["tracks"])},
        pasts={p["entity"]: _past(p, i, arrays) for i, p in enumerate(record["pasts"])},
        events=tuple(Event.from_json(event) for event in record["events"]),
    )


def _track(record: dict[str, Any], i: int, arrays: Arrays) -> Track:
    threshold, running = record["threshold"], record["running"]
    if threshold is not None:
        threshold |= {name: arrays[f"track.{i}.{name}"] for name in ARRAYS}
        threshold = Threshold(**threshold)
    if running is not None:
        running = Running(Event.from_json(running["event"]), int(running["quiet"]))
    return Track(threshold, float(record["said"]), running)


def _past(record: dict[str, Any], i: int, arrays: Arrays) -> Past:
    cells = DenseRows(*(arrays[f"past.{i}.{f.name}"] for f in fields(DenseRows)))
    stayed = arrays.get(f"past.{i}.stayed", np.where(cells.missing, 0, 1))
    return Past(cells, float(record["time"]), int(record["age"]), stayed)
