"""From a table to a fitted model: split, encode, train, calibrate."""

import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from improbable import randomness, scores, training
from improbable.data.codec import Codec, Source
from improbable.data.copies import warn_of_copies
from improbable.data.frames import Frame
from improbable.data.parts import Floats
from improbable.data.rows import Rows
from improbable.data.table import TableCodec
from improbable.errors import CalibrationWarning, DataError, TrainingWarning
from improbable.explanations import Reference
from improbable.held_out import calibrated, make_prior, warn_of_overlap
from improbable.isolation import isolated, single_precision
from improbable.model import Model, as_batch
from improbable.networks import Network, initialize
from improbable.priors import Prior
from improbable.start import GROUPED_ROWS, START_ROWS, linear_start, mixture_start
from improbable.training import History, Progress, TrainConfig
from improbable.trust import narrowed, trusted_rows, trusted_share
from improbable.vae import VAE, Batch, assemble_vae

FEWEST_TO_SPLIT = 20
FEWEST_GROUPS = 3
FEWEST_TO_LEARN = 2
MOST_HELD_OUT = 20_000
ENCODING_ROWS = 1_000_000
TRUST_ROWS = 100_000
PROBED_ROWS, PROBED_DRAWS = 256, 16
Loop = Callable[[VAE, Batch, Batch, TrainConfig, torch.Generator, Progress | None], History]


@dataclass(frozen=True)
class Settings:
    """The detector's choices, checked; `loop` trains in place of `training.fit`."""

    codec: Codec
    latent_dim: int
    hidden: tuple[int, ...]
    decoder_hidden: tuple[int, ...]
    prior: str
    n_members: int
    n_draws: int | str
    score_function: str
    validation_fraction: float
    calibration_fraction: float
    random_state: int
    device: str
    train: TrainConfig
    cell_share: float = 0.0
    contamination: float | str = "auto"
    loop: Loop | None = None


@dataclass(frozen=True)
class Split:
    """Positions of rows to learn from, to stop on, and to calibrate with."""

    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    calibration: NDArray[np.intp]
    apart: bool

    @property
    def learned(self) -> NDArray[np.intp]:
        """Positions of all rows that something is learned from."""
        return np.concatenate([self.validation, self.train]) if self.apart else self.train


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


def split_groups(
    groups: NDArray[np.intp],
    validation_fraction: float,
    calibration_fraction: float,
    rng: np.random.Generator,
) -> Split:
    """Random split of whole groups; with fewer than three all parts are all rows.

    Parameters
    ----------
    groups : ndarray of int of shape (n,)
        Rows of -1 belong to no part.
    """
    usable = np.flatnonzero(groups >= 0)
    labels, inverse, sizes = np.unique(groups[usable], return_inverse=True, return_counts=True)
    if len(labels) < FEWEST_GROUPS or len(groups) < FEWEST_TO_SPLIT:
        everything = np.arange(len(groups))
        return Split(everything, everything, everything, apart=False)
    order = rng.permutation(len(labels))
    before = np.cumsum(sizes[order]) - sizes[order]
    ends = np.array([calibration_fraction, calibration_fraction + validation_fraction])
    first, second = np.searchsorted(before, np.rint(ends * len(usable)))
    first = np.clip(first, 1, len(labels) - 2)
    second = np.clip(second, first + 1, len(labels) - 1)
    part = np.empty(len(labels), dtype=np.intp)
    part[order] = np.repeat(np.arange(3), np.diff([0, first, second, len(labels)]))
    calibration, validation, train = (usable[part[inverse] == i] for i in range(3))
    validation = rng.permutation(validation)[:MOST_HELD_OUT]
    return Split(rng.permutation(train), validation, calibration[:MOST_HELD_OUT], apart=True)


def _trusted(
    source: Source, split: Split, settings: Settings
) -> tuple[Split, Source, NDArray[np.intp]]:
    """The split with only the rows most alike to learn from; all of its rows, and which these."""
    learned = split.learned[:TRUST_ROWS]
    seen = source.take(learned)
    plain = settings.codec.fit(seen, np.arange(len(learned)))
    values: Floats = np.array(plain.transform(seen).values, dtype=np.float64)
    chosen = trusted_rows(narrowed(values), trusted_share(settings.contamination))
    n_validation = int(np.searchsorted(chosen, len(split.validation)))
    n_validation = min(max(n_validation, 1), len(chosen) - 1)
    validation, train = np.split(learned[chosen], [n_validation])
    return replace(split, train=train, validation=validation), seen, chosen


def _split(source: Source, settings: Settings, seed: np.random.SeedSequence) -> Split:
    fractions = settings.validation_fraction, settings.calibration_fraction
    rng, groups = randomness.numpy_generator(seed), source.groups
    if groups is None:
        return split_rows(source.n_rows, *fractions, rng)
    return split_groups(groups, *fractions, rng)


def learned_rows(data: Any, settings: Settings) -> Source:
    """Rows that a fit learns from, those for calibration left out."""
    source = settings.codec.open(data)
    return source.take(_split(source, settings, _seeds(settings)[0]).learned)


def fit_model(data: Any, settings: Settings, progress: Progress | None = None) -> Model:
    """Fitted model of normal rows, or of other items that a codec reads.

    The rows kept for calibration take no part in anything that is learned, the
    encoding included, so that they are exchangeable with new rows.

    Raises
    ------
    DataError, SchemaError
        If the table cannot be modeled.
    """
    source = settings.codec.open(data)
    model = fit_source(source, settings, progress)
    _warn_of_copies(source, model)
    return model


@isolated(gradients=True)
@single_precision()
def fit_source(source: Source, settings: Settings, progress: Progress | None = None) -> Model:
    """`fit_model` for rows that the codec has read."""
    split = _split(source, settings, _seeds(settings)[0])
    if settings.contamination != "auto" and split.apart:
        split, seen, chosen = _trusted(source, split, settings)
        codec = settings.codec.fit(seen, chosen)
    else:
        codec = settings.codec.fit(source.take(np.sort(split.learned[:ENCODING_ROWS])))
    if not codec.parts:
        raise DataError(
            "Every column holds one value in all rows, so there is nothing to learn. "
            "Pass rows that differ."
        )
    return _learn(source, split, codec, None, settings, progress)


def refit_model(
    model: Model, data: Any, settings: Settings, progress: Progress | None = None
) -> Model:
    """Model that goes on learning from new rows: same encoding, new weights, prior, calibration.

    Raises
    ------
    DataError, SchemaError
        If the rows are not of the kind the model learned from.
    """
    source = model.codec.read(data)
    if source.n_rows < FEWEST_TO_LEARN:
        raise DataError(
            f"Too few rows to go on learning from: {source.n_rows}. "
            f"Pass {FEWEST_TO_LEARN} or more."
        )
    refitted = _refit_source(model, source, settings, progress)
    _warn_of_copies(source, refitted)
    return refitted


@isolated(gradients=True)
@single_precision()
def _refit_source(
    model: Model, source: Source, settings: Settings, progress: Progress | None
) -> Model:
    """`refit_model` for rows that the codec has read."""
    settings = replace(
        settings,
        n_members=int(model.settings["n_members"]),
        hidden=as_sizes(model.settings["hidden"]),
        decoder_hidden=as_sizes(model.settings["decoder_hidden"]),
    )
    split = _split(source, settings, _seeds(settings)[0])
    if settings.contamination != "auto" and split.apart:
        split, *_ = _trusted(source, split, settings)
    return _learn(source, split, model.codec, model, settings, progress)


def _learn(
    source: Source,
    split: Split,
    codec: Codec,
    known: Model | None,
    settings: Settings,
    progress: Progress | None,
) -> Model:
    """Train the networks, fresh or known ones, and calibrate."""
    _, for_weights, for_batches, for_noise = _seeds(settings)
    most_seen = settings.train.max_steps * settings.train.batch_size
    overlap = source.groups is not None
    learned = codec.transform(source.take(split.train if overlap else split.train[:most_seen]))
    stopping = codec.transform(source.take(split.validation))
    train, validation = learned.take(slice(most_seen)).bridged(), stopping.bridged()
    if known is None:
        vae = _build(codec, settings, randomness.torch_generator(for_weights))
        linear_start(vae, _to(train.take(slice(START_ROWS)), "cpu"))
    else:
        vae = deepcopy(known.vae).float().requires_grad_(requires_grad=True)
    _start_prior(vae, train, settings.prior, for_weights)
    history = _train(vae, train, validation, settings, for_batches, progress)
    held_out = codec.transform(source.take(split.calibration))
    prior = make_prior(settings.prior, vae, train, validation, overlap=overlap)
    noise = _noise(vae, prior, held_out, settings, for_noise) if known is None else known.noise
    sizes = {
        "latent_dim": vae.latent_dim,
        "hidden": list(settings.hidden),
        "decoder_hidden": list(settings.decoder_hidden),
        "n_members": settings.n_members,
    }
    nothing = Reference(np.empty((0, len(codec.names)))), np.zeros(len(codec.names)), np.empty(0)
    judged = codec, vae, prior, noise, settings.score_function
    model = Model(*judged, *nothing, split.apart, history, sizes)
    return calibrated(model, [stopping, learned], held_out, settings.cell_share)


def _start_prior(vae: VAE, train: Rows, name: str, seed: np.random.SeedSequence) -> None:
    """Give a VAE the prior to train with: a mixture, its own if it has one, if it is asked for."""
    if name != "mixture":
        vae.mixture = None
    elif vae.mixture is None:
        rows = _to(train.take(slice(GROUPED_ROWS)), "cpu")
        mixture_start(vae, rows, randomness.numpy_generator(seed.spawn(1)[0]))


def _noise(
    vae: VAE, prior: Prior, held_out: Rows, settings: Settings, seed: np.random.SeedSequence
) -> torch.Tensor:
    """Noise of scoring; "auto" looks at a few held-out rows how much of it is enough."""
    if isinstance(settings.n_draws, int):
        return randomness.draw_noise(settings.n_draws, settings.latent_dim, seed)
    probe = randomness.draw_noise(PROBED_DRAWS, settings.latent_dim, seed)
    if not len(held_out):
        return probe
    seen = scores.draw(vae, as_batch(held_out.take(slice(PROBED_ROWS))), probe, prior=prior)
    enough = scores.enough_draws(scores.score_named(settings.score_function), seen)
    return randomness.draw_noise(enough, settings.latent_dim, seed)


def _seeds(settings: Settings) -> list[np.random.SeedSequence]:
    """Seeds of the split, the weights, the batches, and the noise of scoring."""
    return randomness.seed_sequence(settings.random_state).spawn(4)


def _build(codec: Codec, settings: Settings, generator: torch.Generator) -> VAE:
    vae = assemble_vae(
        codec,
        settings.latent_dim,
        settings.hidden,
        settings.decoder_hidden,
        settings.n_members,
    )
    for network in (vae.encoder, vae.decoder):
        initialize(cast(Network, network), generator)
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
    vae.to(device)
    generator = randomness.torch_generator(seed, device)
    loop = settings.loop or training.fit
    history = loop(vae, rows, held_out, settings.train, generator, progress)
    vae.to("cpu").double().eval().requires_grad_(requires_grad=False)
    return history


def _to(rows: Rows, device: str) -> Batch:
    """Rows for training, each in one piece of memory; offsets play no part there."""
    whole = 0 in rows.observed.strides
    observed = torch.ones(1, 1).expand(rows.observed.shape) if whole else _single(rows.observed)
    return Batch(_single(rows.values), observed, torch.zeros(len(rows), 1)).to(
        torch.float32, device
    )


def _single(array: NDArray[Any]) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(array, dtype=np.float32))


def choose_device(device: str) -> str:
    """Where to train: "auto" is a CUDA device if there is one."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DataError(f"device={device!r} cannot be used here. Pass device='auto'.") from error
    return device


def warn_of(model: Model) -> None:
    """Warn of a fit that ended early, that learned nothing of z, or of too few rows."""
    history = model.history
    if history.stop_reason in ("interrupted", "non_finite") or min(history.active_units) == 0:
        warnings.warn(f"Training ended: {history.message}.", TrainingWarning, stacklevel=4)
    if not model.held_out_apart:
        warnings.warn(
            f"Only {len(model.held_out)} rows: none could be kept out of training, so new rows "
            f"score lower than these, and most p-values are too small. Pass {FEWEST_TO_SPLIT} "
            "rows or more.",
            CalibrationWarning,
            stacklevel=4,
        )
    else:
        warn_of_overlap(model)


def _warn_of_copies(source: Source, model: Model) -> None:
    """Warn if rows held out of training are in it all the same, as copies."""
    if isinstance(source, Frame) and isinstance(model.codec, TableCodec) and model.held_out_apart:
        warn_of_copies(source, model.codec.columns)


def as_sizes(hidden: Sequence[int]) -> tuple[int, ...]:
    """Layer sizes as a tuple."""
    return tuple(int(size) for size in hidden)
