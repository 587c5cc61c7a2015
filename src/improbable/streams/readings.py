"""Records of streams: what is said of a point, by which rule, and what is kept in between."""

from dataclasses import dataclass
from typing import Any

from improbable import arguments, results
from improbable.streams.events import Event, Running
from improbable.streams.points import Past
from improbable.streams.thresholds import Threshold


@dataclass(frozen=True)
class Reading:
    """What is said of one point.

    Attributes
    ----------
    position : int
        Points that came before it, of all series.
    entity : str or None
        Its series, if there are several.
    time : str or float or None
        Its time, if points have one.
    score : float
        Nats. The higher, the more normal.
    p_value : float
        Share of the model's held-out rows that score as low; it does not adapt.
    is_outlier : bool
        Whether it is flagged.
    threshold : float
        Score below which points were flagged when it came, nats.
    reasons : tuple of str
        Columns that surprise, the most surprising first; of flagged points only.
    warnings : tuple of str
        What is unusual about it.
    begins : bool
        Whether it is the first alarm of an event.
    ended : Event, optional
        The event that is over since it came.
    adapted : (float, float), optional
        Threshold as last said and from now on, where it moved by more than a
        tenth of the standard deviation of the held-out scores in between.
    """

    position: int
    entity: str | None
    time: Any
    score: float
    p_value: float
    is_outlier: bool
    threshold: float
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    begins: bool = False
    ended: Event | None = None
    adapted: tuple[float, float] | None = None


@dataclass(frozen=True)
class Rule:
    """How points of a stream are decided on.

    Attributes
    ----------
    alpha : float
        False-alarm rate.
    adapt : bool
        Whether the threshold follows slow drift.
    depth : int
        Scores of the moving average that is taken off; 0 for none.
    join : int
        Points without alarm that still belong to an event.
    """

    alpha: float = results.AUTO_ALPHA
    adapt: bool = True
    depth: int = 200
    join: int = 5

    def check(self) -> None:
        """Refuse settings out of range."""
        arguments.level("alpha", self.alpha)
        for name in ("depth", "join"):
            arguments.whole(name, getattr(self, name), least=0)


@dataclass(frozen=True)
class Track:
    """What is kept of one series.

    Attributes
    ----------
    threshold : Threshold, optional
        None if it is fixed.
    said : float
        Threshold as last said, nats.
    running : Running, optional
        Event that may go on.
    """

    threshold: Threshold | None
    said: float
    running: Running | None = None

    @property
    def limit(self) -> float:
        """Score below which the next point is flagged, nats."""
        return self.said if self.threshold is None else self.threshold.value


@dataclass(frozen=True)
class Kept:
    """All that a stream keeps from one point to the next.

    Attributes
    ----------
    n_points, n_alarms : int
        So far.
    tracks : dict of str to Track
    pasts : dict of str to Past
    events : tuple of Event
        Closed ones, the oldest first.
    """

    n_points: int
    n_alarms: int
    tracks: dict[str, Track]
    pasts: dict[str, Past]
    events: tuple[Event, ...]
