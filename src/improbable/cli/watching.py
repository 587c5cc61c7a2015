"""Lines in, readings out, as fast as they come and no later."""

import json
import os
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np
import typer

from improbable.cli.console import INTERRUPTED, complaint, counted, encode, say
from improbable.cli.destinations import check_destination
from improbable.errors import ImprobableError
from improbable.streams.events import Event
from improbable.streams.readings import Reading, Rule
from improbable.streams.stream import Stream, load_stream

AT_ONCE = 256
MOST_TOLD = 5
BYTES = 1 << 16
_REFUSED = (ImprobableError, ValueError, TypeError)


@dataclass(frozen=True)
class Said:
    """What is written: a line a point, a line an alarm, or a line an event."""

    points: bool
    events: bool

    @classmethod
    def of(cls, *, all: bool, events: bool) -> "Said":
        """Choice of the options."""
        if all and events:
            raise ImprobableError("--all and --events ask for different lines. Pass one of them.")
        return cls(all, events)

    def records(self, readings: list[Reading]) -> Iterator[dict[str, Any]]:
        """Plain values of what is to be written."""
        for reading in readings:
            if self.events:
                if reading.ended is not None:
                    yield event_record(reading.ended)
            elif self.points or reading.is_outlier:
                yield reading_record(reading)


@dataclass
class Count:
    """What came, so far."""

    lines: int = 0
    points: int = 0
    bad: int = 0


class Interruption:
    """Whether Ctrl-C was pressed; it cuts off waiting for lines, and never a point half taken."""

    def __init__(self) -> None:
        self.asked = self.waiting = False

    def __call__(self, number: int, frame: Any) -> None:
        """Handle the signal."""
        self.asked = True
        if self.waiting:
            raise KeyboardInterrupt


def open_stream(detector: Any, rule: Rule, state: str | None, asked: Collection[str]) -> Stream:
    """A new stream of a model, or that of a state.

    Parameters
    ----------
    detector : VAEDetector
    rule : Rule
    state : path, optional
    asked : collection of str
        Settings of `rule` that the user gave; a state must have begun with them.
    """
    if state is not None:
        check_destination(state)
    if state is None or not os.path.exists(state):
        return Stream(detector._fitted(), rule)
    stream = load_stream(state, detector)
    for name in asked:
        began, wanted = _option(name, stream.rule), _option(name, rule)
        if began != wanted:
            raise ImprobableError(
                f"{state} began with {began}, not {wanted}. Leave the option out to go on with "
                "it, or pass another file to begin anew."
            )
    return stream


def _option(name: str, rule: Rule) -> str:
    value = getattr(rule, name)
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {value}"


def watch_lines(stream: Stream, path: str, said: Said, state: str | None) -> None:
    """Judge the lines of a file or of standard input until it ends, or Ctrl-C."""
    count, began = Count(), stream.n_alarms
    with opened(path) as source, interruptible() as stop:
        try:
            for lines in waiting_lines(source, stop):
                write(said.records(judged(stream, lines, count)))
                if stop.asked:
                    break
            if said.events and not stop.asked:
                write({**event_record(event), "open": True} for event in stream.open_events)
        finally:
            if state is not None:
                stream.save(state)
    alarms = counted(stream.n_alarms - began, "alarm")
    left = f", {counted(count.bad, 'line')} left out" if count.bad else ""
    say(f"{counted(count.points, 'point')}, {alarms}{left}{'; interrupted' * stop.asked}")
    if stop.asked:
        raise typer.Exit(INTERRUPTED)
    if count.bad and not count.points:
        raise ImprobableError(
            f"None of the {counted(count.bad, 'line')} could be read. "
            "Pass JSON Lines: an object a line that names the columns of a point."
        )


def waiting_lines(source: BinaryIO, stop: Interruption) -> Iterator[list[bytes]]:
    """Whatever whole lines are there, a few at a time; waits only when there are none."""
    rest = b""
    while True:
        try:
            stop.waiting = True
            if stop.asked:
                return
            chunk = source.read1(BYTES)  # type: ignore[attr-defined]
        except KeyboardInterrupt:
            return
        finally:
            stop.waiting = False
        *lines, rest = (rest + chunk).split(b"\n") if chunk else (rest, b"")
        for start in range(0, len(lines), AT_ONCE):
            yield lines[start : start + AT_ONCE]
        if not chunk:
            return


def judged(stream: Stream, lines: list[bytes], count: Count) -> list[Reading]:
    """Readings of some lines; those that cannot be read are reported and left out."""
    first, points = count.lines + 1, {}
    for number, line in enumerate(lines, start=first):
        if line.strip():
            try:
                points[number] = _point(line)
            except _REFUSED as error:
                _report(number, error, count)
    count.lines += len(lines)
    try:
        readings = stream.push(list(points.values())) if points else []
    except _REFUSED:
        readings = []
        for number, point in points.items():
            try:
                readings += stream.push(point)
            except _REFUSED as error:
                _report(number, error, count)
    count.points += len(readings)
    return readings


def _point(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise ImprobableError(f"it is no JSON ({error}). Write one object a line.") from None
    if not isinstance(found, dict):
        raise ImprobableError("it is no JSON object. Write the columns of a point by name.")
    return found


def _report(number: int, error: BaseException, count: Count) -> None:
    count.bad += 1
    if count.points or count.bad <= MOST_TOLD:
        say(f"line {number} left out: {complaint(error)}")


def reading_record(reading: Reading) -> dict[str, Any]:
    """Plain values of a reading, without what it has none of."""
    record = {
        "position": reading.position,
        "entity": reading.entity,
        "time": reading.time,
        "is_outlier": reading.is_outlier,
        "score": _number(reading.score),
        "p_value": _number(reading.p_value),
        "threshold": _number(reading.threshold),
        "reasons": list(reading.reasons) or None,
        "warnings": list(reading.warnings) or None,
        "begins": reading.begins or None,
        "ended": None if reading.ended is None else event_record(reading.ended),
        "adapted": reading.adapted and [_number(value) for value in reading.adapted],
    }
    return {name: value for name, value in record.items() if value is not None}


def event_record(event: Event) -> dict[str, Any]:
    """Plain values of an event, without what it has none of."""
    record = {**asdict(event), "columns": dict(event.columns)}
    return {name: value for name, value in record.items() if value is not None}


def write(records: Iterator[dict[str, Any]]) -> None:
    """A line for each on standard output, at once."""
    lines = "".join(encode(record) + "\n" for record in records)
    if lines:
        sys.stdout.write(lines)
        sys.stdout.flush()


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def opened(path: str) -> Any:
    """A file, or standard input, as bytes."""
    return nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb")


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """What Ctrl-C sets while the block runs."""
    stop = Interruption()
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
