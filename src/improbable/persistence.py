"""One file for a fitted detector: safetensors with a JSON header, no pickle, no code.

The header says what the file is, `improbable.container` how it is written. A
few rows drawn from the model, with their scores, travel along: `load` scores
them again and refuses a file whose scores differ.
"""

import os
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from improbable import container, generation, randomness
from improbable.cells import CELLS, cell_test
from improbable.container import FORMAT, Arrays
from improbable.data.codec import Codec
from improbable.data.images import ImageCodec
from improbable.data.parts import Floats
from improbable.data.schema import kinds_from_json, kinds_to_json
from improbable.data.sequences import SequenceCodec
from improbable.data.table import TableCodec
from improbable.data.windows import WindowCodec
from improbable.detector import VAEDetector
from improbable.errors import FormatError
from improbable.expectations import MOST_STRETCH
from improbable.explanations import Reference
from improbable.isolation import isolated, single_precision
from improbable.latent.algebra import Direction
from improbable.lengths import Leveling
from improbable.model import Model
from improbable.priors import AggregatedPosterior, LearnedMixture, Prior
from improbable.scores import score_named
from improbable.training import History
from improbable.vae import VAE, assemble_vae

GOLDEN_ROWS = 8
OUTLIERS = "training_outliers"
CODECS: dict[str, Any] = {
    "table": TableCodec,
    "images": ImageCodec,
    "series": WindowCodec,
    "sequences": SequenceCodec,
}


def save(detector: VAEDetector, path: str | os.PathLike[str]) -> None:
    """Write a fitted detector to one safetensors file.

    The file appears under its name only when it is complete.

    Parameters
    ----------
    detector : VAEDetector
        Fitted.
    path : path
        Usually ends in ".safetensors".

    Raises
    ------
    DataError
        If the file cannot be written.
    sklearn.exceptions.NotFittedError
        If the detector is not fitted.
    """
    model = detector._fitted()
    arrays = {**_arrays(model), **_outliers(detector)}
    container.write_container(path, _header(detector, model), arrays)


def load(path: str | os.PathLike[str]) -> VAEDetector:
    """Read a detector that `save` wrote; runs no code from the file.

    Parameters
    ----------
    path : path

    Returns
    -------
    VAEDetector
        Scores as the saved one did.

    Raises
    ------
    FormatError
        If the file is missing, damaged, no model file, written by a newer
        version, or scores its own stored rows differently.
    """
    header, arrays = container.read_container(path)
    with container.usable(path), isolated(), single_precision():
        model = _model(header, arrays)
        detector = _detector(header, model)
        if OUTLIERS in arrays:
            detector.training_outliers_ = np.array(arrays[OUTLIERS], dtype=np.intp).ravel()
        found = golden_scores(model, arrays["golden.values"])
    container.check_golden(path, header, found, arrays["golden.scores"], _versions())
    return detector


def golden_scores(model: Model, values: Floats) -> Floats:
    """Scores of encoded rows taken through the whole path: back to items, encoded, scored."""
    items = model.codec.inverse_transform(np.asarray(values, dtype=np.float64))
    rows = model.codec.transform(items)
    return model.decision_scores(rows)


def _header(detector: VAEDetector, model: Model) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "versions": _versions(),
        "schema": model.codec.to_json(),
        "config": _config_to_json(detector.get_params(deep=False)),
        "settings": {**model.settings, "score_function": model.score_function},
        "history": asdict(model.history),
        "calibration": {"n": len(model.held_out), "apart": model.held_out_apart, **_level(model)},
        "offset": detector.offset_,
        "completes": model.completes,
        "has_places": model.has_places,
        "directions": {name: _plain_direction(d) for name, d in detector.directions_.items()},
    }


def _level(model: Model) -> dict[str, Any]:
    return {} if model.leveling is None else {"leveling": model.leveling.to_json()}


def _versions() -> dict[str, str]:
    return {**container.versions(), "torch": torch.__version__}


def _config_to_json(params: dict[str, Any]) -> dict[str, Any]:
    config = dict(params)
    if config["codec"] is not None:
        config["codec"] = config["codec"].to_json()
    config["columns"] = kinds_to_json(config["columns"])
    if not isinstance(config["likelihood"], str):
        config["likelihood"] = [list(pair) for pair in config["likelihood"].items()]
    if not isinstance(config["random_state"], int | None):
        config["random_state"] = None
    for name in ("hidden", "decoder_hidden"):
        config[name] = None if config[name] is None else [int(size) for size in config[name]]
    return {name: v.item() if isinstance(v, np.generic) else v for name, v in config.items()}


def _config_from_json(config: dict[str, Any]) -> dict[str, Any]:
    params = {"cell_share": 0.0, **config}  # of before format 7
    if params.get("codec") is not None:
        params["codec"] = CODECS[params["codec"]["data"]].from_json(params["codec"])
    params["columns"] = kinds_from_json(params["columns"])
    if not isinstance(params["likelihood"], str):
        params["likelihood"] = {name: value for name, value in params["likelihood"]}
    for name in ("hidden", "decoder_hidden"):
        params[name] = None if params[name] is None else tuple(params[name])
    return params


def _arrays(model: Model) -> Arrays:
    rng = randomness.numpy_generator(randomness.seed_sequence(0))
    golden = generation.sample_prior(model.vae, model.prior, GOLDEN_ROWS, model.lead, rng)
    weights = {f"vae.{name}": _plain(p.float()) for name, p in model.vae.state_dict().items()}
    return {
        **weights,
        **_prior_arrays(model.prior),
        "noise": _plain(model.noise),
        "held_out": np.ascontiguousarray(model.held_out),
        "reference": np.ascontiguousarray(model.reference.shares),
        "typical": np.ascontiguousarray(model.typical),
        "stretch": np.ascontiguousarray(model.stretch),
        **({} if model.cells is None else {CELLS: model.cells.to_array()}),
        "golden.values": np.ascontiguousarray(golden),
        "golden.scores": golden_scores(model, golden),
    }


def _outliers(detector: VAEDetector) -> Arrays:
    found = vars(detector).get("training_outliers_")
    return {} if found is None else {OUTLIERS: np.asarray(found, dtype=np.int64)}


def _prior_arrays(prior: Prior) -> Arrays:
    if isinstance(prior, AggregatedPosterior):
        return {"prior.loc": _short(prior.loc), "prior.scale": _short(prior.scale)}
    return {}


def _short(tensor: torch.Tensor) -> NDArray[Any]:
    """In single precision where nothing is lost, as in all but files of format 1."""
    single = tensor.float()
    return _plain(single if torch.equal(single.to(tensor.dtype), tensor) else tensor)


def _prior(vae: VAE, arrays: Arrays) -> Prior:
    if "prior.loc" not in arrays:
        return vae.prior
    loc, scale = (np.array(arrays[f"prior.{side}"], dtype=np.float64) for side in ("loc", "scale"))
    if loc.shape != scale.shape or loc.shape[::2] != (vae.n_members, vae.latent_dim):
        raise FormatError("The stored prior does not fit the network. Save the model again.")
    return AggregatedPosterior(torch.from_numpy(loc), torch.from_numpy(scale))


def _plain(tensor: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().contiguous().numpy()
    return array


def _model(header: dict[str, Any], arrays: Arrays) -> Model:
    codec = CODECS[header["schema"].get("data", "table")].from_json(header["schema"])
    settings = dict(header["settings"])
    name = settings.pop("score_function")
    score_named(name)
    history = _history(header["history"])
    if len(history.best_elbo) != settings["n_members"]:
        raise FormatError("The history does not fit the number of members. Save the model again.")
    noise = torch.from_numpy(np.array(arrays["noise"], dtype=np.float64))
    shares = np.array(arrays["reference"], dtype=np.float64)
    typical = np.array(arrays["typical"], dtype=np.float64)
    stretch = np.array(arrays.get("stretch", np.ones(len(typical))), dtype=np.float64)
    sizes = shares.shape[1], *typical.shape, *stretch.shape
    if noise.shape[1] != settings["latent_dim"] or sizes != (len(codec.names),) * 3:
        raise FormatError("Stored tables do not fit the network. Save the model again.")
    vae = _vae(codec, settings, arrays)
    level = header["calibration"].get("leveling")
    return Model(
        codec=codec,
        vae=vae,
        prior=_prior(vae, arrays),
        noise=noise,
        score_function=name,
        reference=Reference(shares),
        typical=typical,
        held_out=np.sort(np.array(arrays["held_out"], dtype=np.float64).ravel()),
        held_out_apart=bool(header["calibration"]["apart"]),
        history=history,
        settings=settings,
        leveling=None if level is None else Leveling.from_json(level),
        completes=bool(header.get("completes", False)),
        has_places=bool(header.get("has_places", False)),
        cells=cell_test(arrays, len(codec.names)),
        known_stretch=np.nan_to_num(stretch, nan=1.0).clip(1.0, MOST_STRETCH),
    )


def _vae(codec: Codec, settings: dict[str, Any], arrays: Arrays) -> VAE:
    vae = assemble_vae(
        codec,
        int(settings["latent_dim"]),
        [int(size) for size in settings["hidden"]],
        [int(size) for size in settings["decoder_hidden"]],
        int(settings["n_members"]),
    )
    prefix = "vae."
    weights = {
        name.removeprefix(prefix): torch.from_numpy(np.array(array, dtype=np.float32))
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    if "mixture.loc" in weights:
        vae.mixture = LearnedMixture(*weights["mixture.loc"].shape)
    vae.load_state_dict(weights)
    vae.double().eval().requires_grad_(requires_grad=False)
    return vae


def _history(record: dict[str, Any]) -> History:
    values: dict[str, Any] = {f.name: record[f.name] for f in fields(History)}
    for name, value in values.items():
        values[name] = tuple(value) if isinstance(value, list) else value
    return History(**values)


def _detector(header: dict[str, Any], model: Model) -> VAEDetector:
    detector = VAEDetector(**_config_from_json(header["config"]))
    detector._adopt(model, float(header["offset"]))
    for name, record in header.get("directions", {}).items():
        detector.directions_[str(name)] = _direction(record, model.vae.latent_dim)
    return detector


def _plain_direction(direction: Direction) -> dict[str, Any]:
    return {**asdict(direction), "vector": direction.vector.tolist()}


def _direction(record: dict[str, Any], latent_dim: int) -> Direction:
    vector = np.array(record["vector"], dtype=np.float64)
    if vector.shape != (latent_dim,):
        raise FormatError("A stored direction does not fit the network. Save the model again.")
    return Direction(**{**record, "vector": vector})
