"""A progress bar for training, on standard error."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from improbable.training import History, Progress
from improbable.tuning import TuningProgress


@contextmanager
def training_bar(*, shown: bool) -> Iterator[Progress | None]:
    """Callable that moves a bar, or None when nothing is to be shown."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps"),
        TextColumn("held-out ELBO {task.fields[elbo]:.2f} nats"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("training", total=None, elbo=float("nan"))

        def move(step: int, total: int, held_out_elbo: float) -> None:
            bar.update(task, completed=step, total=total, elbo=held_out_elbo)

        yield move


@contextmanager
def tuning_bar(budget: int, *, shown: bool) -> Iterator[TuningProgress | None]:
    """Callable that moves a bar over the models tried, or None when nothing is to be shown."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("choosing settings"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} models"),
        TextColumn("best held-out score {task.fields[score]:.2f} nats"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("choosing", total=budget, score=float("nan"))
        yield lambda done, score: bar.update(task, completed=done, score=score)


def say_ending(history: History, kinds: Mapping[str, str]) -> None:
    """Say on standard error how training ended, and which columns took no part.

    Nothing if Ctrl-C ended it, of which a warning tells.
    """
    if history.stop_reason == "interrupted":
        return
    from rich.console import Console

    console = Console(stderr=True)
    console.print(f"trained {history.steps[-1] if history.steps else 0} steps: {history.message}")
    aside = [str(name) for name, kind in kinds.items() if kind == "identifier"]
    if aside:
        console.print(f"set aside as identifiers: {', '.join(aside)}", markup=False)
