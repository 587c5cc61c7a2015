"""From a table to a fitted model: split, encode, train, calibrate."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from improbable import randomness, training
from improbable.data.frames import Frame, RawColumn, read_frame
from improbable.data.parts import Floats
from improbable.data.rows import Rows
from improbable.data.table import TableCodec
from improbable.errors import CalibrationWarning, DataError, TrainingWarning
from improbable.explanations import Reference
from improbable.model import Model, as_batch
from improbable.networks import MemberMLP, initialize
from improbable.priors import Prior, aggregated_posterior
from improbable.start import linear_start
from improbable.training import History, Progress, TrainConfig
from improbable.vae import VAE, Batch, assemble_vae

FEWEST_TO_SPLIT = 20
MOST_HELD_OUT = 20_000
ENCODING_ROWS = 1_000_000
REFERENCE_ROWS = 2_000
PRIOR_ROWS = 4_096
AUTO_LATENT = (2, 8)


@dataclass(frozen=True)
class Settings:
    """The detector's choices, checked."""

    columns: Any
    likelihood: Any
    latent_dim: int | str
    hidden: tuple[int, ...]
    decoder_hidden: tuple[int, ...]
    prior: str
    n_members: int
    n_draws: int
    score_function: str
    validation_fraction: float
    calibration_fraction: float
    random_state: randomness.RandomState
    device: str
    train: TrainConfig


@dataclass(frozen=True)
class Split:
    """Positions of rows to learn from, to stop on, and to calibrate with."""

    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    calibration: NDArray[np.intp]
    apart: bool


def split_rows(
    n: int, validation_fraction: float, calibration_fraction: float, rng: np.random.Generator
) -> Split:
    """Random split; with fewer than 20 rows all parts are all rows."""
    if n < FEWEST_TO_SPLIT:
        everything = np.arange(n)
        return Split(everything, everything, everything, apart=False)
    order = rng.permutation(n)
    n_calibration = min(int(np.ceil(calibration_fraction * n)), MOST_HELD_OUT)
    n_validation = max(1, min(int(validation_fraction * n), MOST_HELD_OUT))
    ends = np.cumsum([n_calibration, n_validation])
    calibration, validation, train = np.split(order, ends)
    return Split(train, validation, calibration, apart=True)


def take_rows(frame: Frame, index: NDArray[np.intp]) -> Frame:
    """Rows of a table at the given positions."""
    columns = {
        name: RawColumn(raw.values[index], raw.storage, raw.dtype)
        for name, raw in frame.columns.items()
    }
    return Frame(columns, len(index), frame.library)


def fit_model(data: Any, settings: Settings, progress: Progress | None = None) -> Model:
    """Fitted model of a table of normal rows.

    The rows kept for calibration take no part in anything that is learned, the
    encoding included, so that they are exchangeable with new rows.

    Raises
    ------
    DataError, SchemaError
        If the table cannot be modeled.
    """
    frame = read_frame(data)
    seeds = randomness.seed_sequence(settings.random_state).spawn(4)
    split = split_rows(
        frame.n_rows,
        settings.validation_fraction,
        settings.calibration_fraction,
        randomness.numpy_generator(seeds[0]),
    )
    codec = TableCodec(settings.columns, settings.likelihood)
    learned_from = np.concatenate([split.validation, split.train]) if split.apart else split.train
    codec = codec.fit(take_rows(frame, np.sort(learned_from[:ENCODING_ROWS])))
    if not codec.parts:
        raise DataError(
            "Every column holds one value in all rows, so there is nothing to learn. "
            "Pass rows that differ."
        )
    most_seen = settings.train.max_steps * settings.train.batch_size
    train = codec.transform(take_rows(frame, split.train[:most_seen]))
    validation = codec.transform(take_rows(frame, split.validation))
    latent_dim = _latent_dim(settings.latent_dim, codec)
    vae = _build(codec, settings, latent_dim, randomness.torch_generator(seeds[1]))
    history = _train(vae, train, validation, settings, seeds[2], progress)
    noise = randomness.draw_noise(settings.n_draws, latent_dim, seeds[3])
    held_out = codec.transform(take_rows(frame, split.calibration))
    prior = make_prior(settings.prior, vae, train, validation)
    return _calibrate(codec, vae, prior, noise, held_out, history, settings, apart=split.apart)


@torch.no_grad()
def make_prior(name: str, vae: VAE, train: Rows, validation: Rows) -> Prior:
    """Prior of the scores: "normal", or "aggregated" over at most 4,096 rows that training saw."""
    if name == "normal":
        return vae.prior
    seen = [as_batch(rows.take(slice(PRIOR_ROWS))) for rows in (train, validation)]
    values = torch.cat([rows.values for rows in seen])[:PRIOR_ROWS]
    observed = torch.cat([rows.observed for rows in seen])[:PRIOR_ROWS]
    return aggregated_posterior(vae.encode(values, observed))


def _latent_dim(latent_dim: int | str, codec: TableCodec) -> int:
    if isinstance(latent_dim, int):
        return latent_dim
    low, high = AUTO_LATENT
    return int(np.clip(len(codec.parts), low, high))


def _build(
    codec: TableCodec, settings: Settings, latent_dim: int, generator: torch.Generator
) -> VAE:
    vae = assemble_vae(
        codec.parts,
        codec.part_columns.tolist(),
        len(codec.modeled),
        latent_dim,
        settings.hidden,
        settings.decoder_hidden,
        settings.n_members,
    )
    for network in (vae.encoder, vae.decoder):
        assert isinstance(network, MemberMLP)
        initialize(network, generator)
    return vae


def _train(
    vae: VAE,
    train: Rows,
    validation: Rows,
    settings: Settings,
    seed: np.random.SeedSequence,
    progress: Progress | None,
) -> History:
    device = choose_device(settings.device)
    rows, held_out = (_to(part, device) for part in (train, validation))
    linear_start(vae, rows)
    vae.to(device)
    generator = randomness.torch_generator(seed, device)
    history = training.fit(vae, rows, held_out, settings.train, generator, progress)
    vae.to("cpu").double().eval().requires_grad_(requires_grad=False)
    if history.stop_reason in ("interrupted", "non_finite") or min(history.active_units) == 0:
        warnings.warn(f"Training ended: {history.message}.", TrainingWarning, stacklevel=5)
    return history


def _to(rows: Rows, device: str) -> Batch:
    return as_batch(rows, torch.float32).to(torch.float32, device)


def choose_device(device: str) -> str:
    """Where to train: "auto" is a CUDA device if there is one."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DataError(f"device={device!r} cannot be used here. Pass device='auto'.") from error
    return device


def _calibrate(
    codec: TableCodec,
    vae: VAE,
    prior: Prior,
    noise: torch.Tensor,
    held_out: Rows,
    history: History,
    settings: Settings,
    *,
    apart: bool,
) -> Model:
    sizes = {
        "latent_dim": vae.latent_dim,
        "hidden": list(settings.hidden),
        "decoder_hidden": list(settings.decoder_hidden),
        "n_members": settings.n_members,
    }
    blank = Reference(np.empty((0, len(codec.modeled))))
    name = settings.score_function
    model = Model(codec, vae, prior, noise, name, blank, np.empty(0), apart, history, sizes)
    reference = held_out.take(slice(REFERENCE_ROWS))
    shares = np.where(reference.missing, np.nan, model.shares(reference))
    model = replace(model, reference=Reference(shares))
    decision: Floats = np.sort(model.decision_scores(held_out)) if len(held_out) else np.empty(0)
    if not apart:
        warnings.warn(
            f"Only {len(held_out)} rows: none could be kept out of training, so p-values are "
            f"optimistic. Pass {FEWEST_TO_SPLIT} rows or more.",
            CalibrationWarning,
            stacklevel=5,
        )
    return replace(model, held_out=decision)


def as_sizes(hidden: Sequence[int]) -> tuple[int, ...]:
    """Layer sizes as a tuple."""
    return tuple(int(size) for size in hidden)
