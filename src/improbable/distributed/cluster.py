"""The cluster that work is handed to, and what it says when a worker fails."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from improbable import errors
from improbable.errors import ImprobableError

RETRIES = 3
_OWN = re.compile(r"^improbable\.errors\.(\w+Error): (.+)$", re.MULTILINE)
OBJECT_STORE = 256 * 2**20


def ray_module(name: str = "ray") -> Any:
    """Ray, or a part of it.

    Raises
    ------
    ImprobableError
        If it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ImprobableError(
            "Working on a cluster needs Ray. Install it: pip install 'improbable[ray]'."
        ) from error


@contextmanager
def cluster(n_workers: int | None = None) -> Iterator[int]:
    """Cluster to work on, and how many workers it has room for.

    The one this process is connected to, or the one that the environment variable
    `RAY_ADDRESS` names, or else one of this machine alone that ends with the block.

    Parameters
    ----------
    n_workers : int, optional
        Workers wanted; one a processor if None.

    Raises
    ------
    ImprobableError
        If there are fewer processors than workers.
    """
    ray = ray_module()
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, n_workers)
    try:
        yield checked_workers(ray, n_workers)
    finally:
        if ours:
            ray.shutdown()


def _connect(ray: Any, n_workers: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address := os.environ.get("RAY_ADDRESS"):
        ray.init(address=address, **quiet)
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local",
        num_cpus=n_workers,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE,
        **quiet,
    )


def checked_workers(ray: Any, n_workers: int | None) -> int:
    """Number of workers, one a processor if None.

    Raises
    ------
    ImprobableError
        If there are fewer processors than that.
    """
    processors = int(ray.cluster_resources().get("CPU", 0))
    if n_workers is not None and not 1 <= n_workers <= processors:
        raise ImprobableError(
            f"The cluster has no room for {n_workers} workers, one a processor. "
            f"Ask for {processors} or fewer."
        )
    return n_workers or max(processors, 1)


@contextmanager
def errors_of_workers() -> Iterator[None]:
    """Raise what a worker raised on purpose as if it were raised here."""
    exceptions = ray_module("ray.exceptions")
    try:
        yield
    except exceptions.RayError as error:
        if (cause := _purposeful(error)) is not None:
            raise cause from None
        if isinstance(error, exceptions.RayActorError | exceptions.WorkerCrashedError):
            raise ImprobableError(
                f"A worker died {RETRIES + 1} times, so the work was given up. "
                "Give the workers more memory, or pass fewer rows at a time."
            ) from error
        raise


def _purposeful(error: BaseException) -> ImprobableError | None:
    """The library's own error in the trace of one; Ray Data keeps its text, but not its type."""
    found = _OWN.findall(str(error))
    if not found:
        return None
    name, text = found[-1]
    own: ImprobableError = getattr(errors, name)(text)
    return own
