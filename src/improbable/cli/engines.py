"""Who scores the rows of a command: this process, or workers of Ray."""

from collections.abc import Iterator
from contextlib import contextmanager

from improbable import results
from improbable.cli.scoring import Engine
from improbable.errors import ImprobableError
from improbable.judging import Question
from improbable.model import Model

ENGINES = ("local", "ray")


def check_engine(engine: str, workers: int | None) -> None:
    """Refuse an engine that is none, and workers for one that has none.

    Raises
    ------
    ImprobableError
        If so.
    """
    if engine not in ENGINES:
        raise ImprobableError(f"--engine must be {' or '.join(ENGINES)}, got {engine!r}.")
    if engine == "local" and workers is not None:
        raise ImprobableError("--workers is for --engine ray. Leave it out.")


@contextmanager
def open_engine(
    engine: str, workers: int | None, path: str, model: Model, question: Question
) -> Iterator[Engine | None]:
    """What judges batches in place of this process; None for this process itself.

    Raises
    ------
    ImprobableError
        If Ray is wanted and not installed, or has no room for so many workers.
    """
    if engine == "local":
        yield None
        return
    from improbable.distributed.cluster import cluster
    from improbable.distributed.scoring import judged_by_workers

    with cluster(workers) as n_workers:
        results.warn_unsupported(question.most_alpha, model, tail=question.tail)
        yield lambda feed: judged_by_workers(feed, path, question, n_workers)
