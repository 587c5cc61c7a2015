"""Alarms that belong together: neighbors joined into events, and how one grows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self


@dataclass(frozen=True)
class Alarm:
    """One flagged point, as far as events ask about it."""

    position: int
    time: Any
    score: float
    p_value: float
    surprise: Mapping[str, float]


@dataclass(frozen=True)
class Event:
    """Alarms of one series with few points without alarm between them.

    Attributes
    ----------
    entity : str or None
        Series it happened in.
    start, end : int
        Positions of its first and last alarm in the stream.
    start_time, end_time : str or float or None
        Their times, if points have any.
    peak : int
        Position of the alarm with the lowest score.
    peak_time : str or float or None
    peak_score : float
        Nats. The lower, the less normal.
    peak_p_value : float
        Of that alarm.
    n_points, n_alarms : int
        Points of the series from the first alarm to the last, and those flagged.
    columns : tuple of (str, float)
        Columns at fault with their surprise summed over the alarms, nats, most first.
    """

    entity: str | None
    start: int
    end: int
    start_time: Any
    end_time: Any
    peak: int
    peak_time: Any
    peak_score: float
    peak_p_value: float
    n_points: int
    n_alarms: int
    columns: tuple[tuple[str, float], ...] = field(default=())

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Event from plain values."""
        columns = tuple((str(name), float(nats)) for name, nats in record["columns"])
        return cls(**{**record, "columns": columns})


@dataclass(frozen=True)
class Running:
    """An event that may go on.

    Attributes
    ----------
    event : Event
        What is known of it.
    quiet : int
        Points of the series without alarm since its last one.
    """

    event: Event
    quiet: int = 0


def opened(entity: str | None, alarm: Alarm) -> Running:
    """Event of one alarm."""
    at, when = alarm.position, alarm.time
    ends = (at, at, when, when, at, when)
    event = Event(entity, *ends, alarm.score, alarm.p_value, 1, 1, _ranked(alarm.surprise))
    return Running(event)


def grown(running: Running, alarm: Alarm) -> Running:
    """Event with one alarm more."""
    event = running.event
    summed = dict(event.columns)
    for name, nats in alarm.surprise.items():
        summed[name] = summed.get(name, 0.0) + nats
    longer = replace(
        event,
        end=alarm.position,
        end_time=alarm.time,
        n_points=event.n_points + running.quiet + 1,
        n_alarms=event.n_alarms + 1,
        columns=_ranked(summed),
    )
    if alarm.score < event.peak_score:
        longer = replace(
            longer,
            peak=alarm.position,
            peak_time=alarm.time,
            peak_score=alarm.score,
            peak_p_value=alarm.p_value,
        )
    return Running(longer)


def calmed(running: Running, join: int) -> tuple[Running | None, Event | None]:
    """Event after a point without alarm: still running, or closed after more than `join`."""
    if running.quiet >= join:
        return None, running.event
    return replace(running, quiet=running.quiet + 1), None


def _ranked(surprise: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(surprise.items(), key=lambda item: -item[1]))
