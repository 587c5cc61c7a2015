"""What the commands say: lines on standard error, bars, aligned tables, and errors of one line."""

import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import typer

from improbable.errors import ImprobableError, ImprobableWarning

WIDEST_CELL = 48
_OPTIONS = {
    r"n_clusters is": "--clusters is",
    r"leave tail=False": "leave out --tail",
    r"tail=True": "--tail",
    r"columns=\{'(.+?)': '?([^'}]+)'?\}": r"--kind '\1=\2'",
    r"(calibration|cell)_(fraction|share)": r"--\1-\2",
    r"device='auto'": "--device auto",
    r"adapt=False": "--no-adapt",
    r'WindowCodec\(score_of="last"\)': "--score-of last",
    r"ImageCodec\(size=\(height, width\)\)": "--size HEIGHTxWIDTH",
    r"(likelihood|metric|recall)='?([\w.]+)'?": r"--\1 \2",
    r"a Posterior as query": "rows as INPUT",
    r"Pass ids for the items to be added": "Name the column that holds theirs with --id",
}
_BROKEN_PIPE = 141
INTERRUPTED = 130
SEVERAL = "A pattern in quotes, as in 'logs/*.csv', reads several files."


def say(text: str) -> None:
    """Print a line on standard error."""
    typer.echo(text, err=True)


def encode(record: Any) -> str:
    """JSON on one line."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False)


def print_record(record: Any) -> None:
    """Print a JSON object on standard output."""
    typer.echo(encode(record))


def print_either(record: Any, lines: Iterable[str], *, json: bool) -> None:
    """Print a JSON object, or the same as a person reads it, on standard output."""
    typer.echo(encode(record) if json else "\n".join(lines))


def report(line: str, record: dict[str, Any], *, json: bool) -> None:
    """Sum up, where it does not get among the rows."""
    to_file = record["output"] != "-"
    if json and to_file:
        print_record(record)
    else:
        say(encode(record) if json else line)


def complaint(error: BaseException) -> str:
    """An error as the user reads it; only the library's own keep their lines."""
    if isinstance(error, ImprobableError):
        return _with_options(str(error))
    if isinstance(error, MemoryError):
        return "there is not enough memory. Pass fewer rows, or a smaller --batch-rows."
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{place}. Check the path and its permissions."
    return " ".join(str(error).split()) or type(error).__name__


def _with_options(text: str) -> str:
    """A message with arguments of the library replaced by options of the command line."""
    for argument, option in _OPTIONS.items():
        text = re.sub(argument, option, text)
    return text


@contextmanager
def errors_as_lines(*, debug: bool) -> Iterator[None]:
    """Turn a user's mistakes into one line and exit code 2, unless `debug`."""
    try:
        with _warnings_as_lines():
            yield
    except BrokenPipeError:
        _close_pipe()
        raise typer.Exit(_BROKEN_PIPE) from None
    except KeyboardInterrupt:
        if debug:
            raise
        say("interrupted: no file was written")
        raise typer.Exit(INTERRUPTED) from None
    except (ImprobableError, OSError, ValueError, TypeError, MemoryError) as error:
        if debug:
            raise
        say(f"error: {complaint(error)}")
        raise typer.Exit(2) from None


@contextmanager
def hinting_at_patterns() -> Iterator[None]:
    """Say how several files are read to who names several, as a shell does of a pattern."""
    try:
        yield
    except Exception as error:  # of a class that is not public in every version of typer
        message = getattr(error, "message", None)
        if isinstance(message, str) and "unexpected extra argument" in message:
            error.message = f"{message}. {SEVERAL}"  # type: ignore[attr-defined]
        raise


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    said: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = _with_options(" ".join(str(message).split()))
        if text not in said:
            said.add(text)
            say(f"warning: {text}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", ImprobableWarning)
        warnings.showwarning = show
        yield


def _close_pipe() -> None:
    # The interpreter flushes standard output once more when it ends.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def on_terminal() -> bool:
    """Whether standard error is read by a person."""
    return sys.stderr.isatty()


@contextmanager
def rows_bar(
    label: str, *, shown: bool | None, total: int | None = None
) -> Iterator[Callable[[int], None]]:
    """Callable that adds rows to a bar on standard error; None shows it on terminals only."""
    if not (on_terminal() if shown is None else shown):
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn(label),
        BarColumn(),
        TextColumn("{task.completed:,} rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as bar:
        task = bar.add_task(label, total=total)
        yield lambda n: bar.advance(task, n)


def aligned(rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> list[str]:
    """Lines of a table, its cells shortened and aligned; columns `numbers` to the right."""
    cells = [[_short(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _short(text: str) -> str:
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return shown if len(shown) <= WIDEST_CELL else shown[: WIDEST_CELL - 1] + "…"


def counted(n: int, noun: str, plural: str = "") -> str:
    """So many things, as in "1 row" and "1,200 rows"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def number(value: float | None) -> str:
    """A number in four digits, "" for none."""
    if value is None or value != value:
        return ""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
