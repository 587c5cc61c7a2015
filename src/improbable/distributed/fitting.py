"""Training shared by workers: each works on its rows of every batch, and all take one step."""

import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray

from improbable import training
from improbable.detector import VAEDetector
from improbable.distributed.cluster import RETRIES, cluster, ray_module
from improbable.errors import ImprobableError
from improbable.fitting import fit_model
from improbable.settings import check_settings
from improbable.training import DataParallel, History, Progress, TrainConfig
from improbable.vae import VAE, Batch


def fit_distributed(detector: VAEDetector, X: Any, *, n_workers: int = 2) -> VAEDetector:
    """Fit a detector on a cluster: the model that `detector.fit` gives, within float error.

    Rows are read, encoded and calibrated here; the training steps are taken by workers, each on
    its part of every batch. A worker that dies makes them begin anew, with the same draws.

    Parameters
    ----------
    detector : VAEDetector
        Fitted in place.
    X : data frame, array or list of shape (n_samples, n_features)
        As in `VAEDetector.fit`.
    n_workers : int
        Processes, one processor each.

    Returns
    -------
    VAEDetector
        The same detector.

    Raises
    ------
    ImprobableError
        If Ray is not installed, or an argument does not suit workers.
    DataError, SchemaError
        If the table cannot be modeled.
    """
    settings = check_settings(detector.get_params(deep=False))
    if detector.tune:
        raise ImprobableError(
            "tune fits many small models, which workers do not speed up. "
            "Tune in one process, and fit with the settings that it chose."
        )
    if settings.device not in ("auto", "cpu"):
        raise ImprobableError(
            f"Workers train on their processors, not on {settings.device!r}. Pass device='cpu'."
        )
    if settings.train.batch_size < n_workers:
        raise ImprobableError(
            f"A batch of {settings.train.batch_size} rows leaves some of {n_workers} workers "
            "without any. Pass a larger batch_size, or fewer workers."
        )
    with cluster(n_workers) as found:
        loop = partial(train_on_workers, n_workers=found)
        model = fit_model(X, replace(settings, device="cpu", loop=loop))
    detector._take(model, X)
    return detector


def train_on_workers(
    vae: VAE,
    rows: Batch,
    held_out: Batch,
    config: TrainConfig,
    generator: torch.Generator,
    progress: Progress | None = None,
    *,
    n_workers: int,
) -> History:
    """Train a VAE in place, as `training.fit` does, by workers that share each batch."""
    ray, train, torch_train = map(ray_module, ("ray", "ray.train", "ray.train.torch"))
    job = ray.put((vae, rows, held_out, config, generator.get_state()))
    with (
        tempfile.TemporaryDirectory() as folder,
        _own_interrupts(),
        _failures_in_a_sentence(train),
    ):
        result = torch_train.TorchTrainer(
            train_worker,
            train_loop_config={"job": job},
            torch_config=torch_train.TorchConfig(backend="gloo"),
            scaling_config=train.ScalingConfig(
                num_workers=min(n_workers, len(rows)), resources_per_worker={"CPU": 1}
            ),
            run_config=train.RunConfig(
                storage_path=folder,
                failure_config=train.FailureConfig(
                    max_failures=RETRIES, controller_failure_limit=RETRIES
                ),
            ),
        ).fit()
    weights, history = result.return_value
    vae.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    found: History = history
    return found


@contextmanager
def _own_interrupts() -> Iterator[None]:
    """Ctrl-C means afterwards what it meant before; Ray Train leaves a handler of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _failures_in_a_sentence(train: Any) -> Iterator[None]:
    try:
        yield
    except train.TrainingFailedError as error:
        failures = getattr(error, "worker_failures", {0: error})
        why = str(next(iter(failures.values()))).strip().splitlines()[-1].rstrip(".")
        raise ImprobableError(
            f"Training on workers failed {RETRIES + 1} times ({why}). "
            "Give them more memory, or fit in one process."
        ) from error


def train_worker(task: dict[str, Any]) -> tuple[dict[str, NDArray[Any]], History]:
    """Weights and history of a training run that this process shares with others."""
    vae, rows, held_out, config, state = ray_module().get(task["job"])
    generator = torch.Generator()
    generator.set_state(state)
    group = torch.distributed
    parallel = DataParallel(group.get_rank(), group.get_world_size(), group.all_reduce)
    history = training.fit(vae, rows, held_out, config, generator, None, parallel)
    return {name: weight.numpy().copy() for name, weight in vae.state_dict().items()}, history
