"""The constructor's arguments, checked: each refusal says what to pass instead."""

from collections.abc import Mapping
from typing import Any

from improbable import arguments, randomness
from improbable.data.codec import Codec
from improbable.data.table import TableCodec
from improbable.data.windows import WindowCodec
from improbable.errors import ImprobableError
from improbable.fitting import Settings, as_sizes
from improbable.schedules import Reliance
from improbable.scores import score_named
from improbable.training import TrainConfig

AUTO_STEPS = {"mlp": 80, "conv": 1_000, "gru": 300}
AUTO_STEPS_OF_WINDOWS = {"mlp": 80, "conv": 80, "gru": 80}
AUTO_LATENT = 16
RELIANCE = {"gru": Reliance(warm_up=0.3, unheard=0.15, free_nats=3.0)}


def check_settings(params: Mapping[str, Any]) -> Settings:
    """Settings of a fit from the detector's parameters.

    Raises
    ------
    ImprobableError
        If one is out of range.
    """
    codec = _codec(params)
    for name in ("latent_dim", "max_steps", "n_draws"):
        if params[name] != "auto":
            arguments.whole(name, params[name])
    for name in ("n_members", "batch_size", "budget"):
        arguments.whole(name, params[name])
    for name in ("validation_fraction", "calibration_fraction"):
        _check_share(name, params[name], top=0.5, zero=name == "calibration_fraction")
    if params["contamination"] not in ("auto", "unknown"):
        _check_share("contamination", params["contamination"], top=0.5, zero=False)
    _check_share("cell_share", params["cell_share"], top=0.5, zero=True)
    arguments.level("learning_rate", params["learning_rate"])
    if params["prior"] not in ("auto", "aggregated", "normal", "mixture"):
        arguments.refuse("prior", "'auto', 'aggregated', 'normal' or 'mixture'", params["prior"])
    score_named(params["score_function"])
    hidden = _layers("hidden", params["hidden"])
    mirror = params["decoder_hidden"]
    return Settings(
        codec=codec,
        latent_dim=AUTO_LATENT if params["latent_dim"] == "auto" else int(params["latent_dim"]),
        hidden=hidden,
        decoder_hidden=hidden[::-1] if mirror is None else _layers("decoder_hidden", mirror),
        prior=_prior(params),
        n_members=int(params["n_members"]),
        n_draws="auto" if params["n_draws"] == "auto" else int(params["n_draws"]),
        score_function=params["score_function"],
        cell_share=_cell_share(params, codec),
        contamination=params["contamination"],
        validation_fraction=float(params["validation_fraction"]),
        calibration_fraction=float(params["calibration_fraction"]),
        random_state=randomness.whole_seed(params["random_state"]),
        device=str(params["device"]),
        train=_training(params, codec),
    )


def _prior(params: Mapping[str, Any]) -> str:
    """Prior of the scores; an aggregated posterior would know the anomalies it learned from."""
    if params["prior"] != "auto":
        return str(params["prior"])
    return "aggregated" if params["contamination"] == "auto" else "normal"


def _cell_share(params: Mapping[str, Any], codec: Codec) -> float:
    """None where items are no rows of cells, or where anomalies are among the held-out rows."""
    told = isinstance(codec, TableCodec) and params["contamination"] == "auto"
    return float(params["cell_share"]) if told else 0.0


def _training(params: Mapping[str, Any], codec: Codec) -> TrainConfig:
    steps, windows = params["max_steps"], isinstance(codec, WindowCodec)
    if steps == "auto":
        steps = (AUTO_STEPS_OF_WINDOWS if windows else AUTO_STEPS).get(codec.network, 1)
    return TrainConfig(
        max_steps=int(steps),
        batch_size=int(params["batch_size"]),
        learning_rate=float(params["learning_rate"]),
        reliance=Reliance() if windows else RELIANCE.get(codec.network, Reliance()),
    )


def _codec(params: Mapping[str, Any]) -> Codec:
    codec = params["codec"]
    if codec is None:
        return TableCodec(params["columns"], params["likelihood"])
    if isinstance(codec, type) or not hasattr(codec, "inverse_transform"):
        arguments.refuse("codec", "a codec such as ImageCodec()", codec)
    windows = isinstance(codec, WindowCodec) and params["columns"] is not None
    if params["columns"] is not None or params["likelihood"] != "auto":
        raise ImprobableError(
            "columns and likelihood are arguments for tables. Say it to the codec, as in "
            f"codec={type(codec).__name__}({'kinds' if windows else 'likelihood'}=...)."
        )
    found: Codec = codec
    return found


def _check_share(name: str, value: Any, *, top: float, zero: bool) -> None:
    low = "0 or more" if zero else "above 0"
    if not arguments.is_number(value) or not (0.0 <= value <= top) or (value == 0.0 and not zero):
        auto = "'auto', 'unknown' or " if name == "contamination" else ""
        arguments.refuse(name, f"{auto}a number {low} and at most {top}", value)


def _layers(name: str, value: Any) -> tuple[int, ...]:
    try:
        sizes = as_sizes(value)
    except (TypeError, ValueError):
        sizes = (0,)
    if not all(size >= 1 for size in sizes):
        arguments.refuse(name, "a sequence of whole numbers such as (128, 128)", value)
    return sizes
