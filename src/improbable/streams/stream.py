"""Points judged as they come, one or a few at a time, by a model that is already fitted."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np

from improbable import calibration, results
from improbable.data.parts import Floats
from improbable.data.remarks import OUTSIDE, UNSEEN, unseen_cells
from improbable.data.series import Series
from improbable.data.stuck import stuck_remarks
from improbable.data.table import TableCodec
from improbable.data.window_rows import WindowRows
from improbable.data.windows import WindowCodec
from improbable.errors import DataError
from improbable.model import Model
from improbable.streams import thresholds
from improbable.streams.events import Alarm, Event, Running, calmed, grown, opened
from improbable.streams.points import AGAIN, EARLY, LATE, Placed, Points, placed, reader_of
from improbable.streams.readings import Kept, Reading, Rule, Track
from improbable.streams.reasons import explain_points
from improbable.streams.resuming import PathLike, read_state, write_state
from improbable.streams.swift import decision_scores, plain_network
from improbable.wording import AS_A_WHOLE

SAID_AFTER = 0.1
DECIMALS = 6
MOST_EVENTS = 10_000
MOST_SERIES = 10_000


class Stream:
    """Points judged as they come; `VAEDetector.stream` makes one, `load_stream` resumes one.

    Parameters
    ----------
    model : Model
        Of tables, or of series with ``WindowCodec(score_of="last")``.
    rule : Rule
    kept : Kept, optional
        What an earlier stream of this model kept.
    """

    def __init__(self, model: Model, rule: Rule, kept: Kept | None = None) -> None:
        self._codec = _checked(model.codec)
        rule.check()
        if not rule.adapt:
            results.warn_unsupported(rule.alpha, model, tail=None)
        self.model, self.rule = model, rule
        self._reader, self._swift = reader_of(self._codec), plain_network(model)
        start = thresholds.begin(model.held_out, rule.alpha, rule.depth) if rule.adapt else None
        fixed = calibration.threshold_at(model.held_out, rule.alpha)
        self._fresh = Track(start, fixed if start is None else start.value)
        self._typical = model.reference.typical
        self._notable = SAID_AFTER * float(np.std(model.held_out))
        self.kept = kept or Kept(0, 0, {}, {}, ())

    def push(self, rows: Any) -> list[Reading]:
        """Judge the next points.

        Scores are those that `score_samples` gives for the whole series, however
        the points are divided into calls. Of two points with the same time the
        later one takes the place of the earlier one, which is already judged.
        The 10,000 series heard last are kept; any other begins anew when it
        is heard again, and an event open in it is over.

        Parameters
        ----------
        rows : dict, list of dicts, data frame, array, row or number
            One point or some, with the columns seen at fit. What a dict does not
            name is missing, and so is a number that is None. Points of a series come
            in order of time; one that is late is judged by what is kept, and not
            learned from.

        Returns
        -------
        list of Reading
            One a point, in the order in which they came.

        Raises
        ------
        DataError, SchemaError
            If a point lacks its time, is text, or columns are missing. None of the
            points is taken in then.
        """
        if isinstance(rows, list | tuple) and not rows:
            return []
        points = self._reader.read(rows)
        if not len(points):
            return []
        found = self._placed(points)
        scores = decision_scores(self.model, self._swift, found.rows)
        readings, self.kept = self._judged(points, found, scores, self.kept)
        return readings

    def watch(self, points: Iterable[Any]) -> Iterator[Reading]:
        """Readings of points of any kind that `push` takes, each as soon as it is judged."""
        for point in points:
            yield from self.push(point)

    @property
    def events(self) -> list[Event]:
        """Events that are over, the oldest first; the latest 10,000 are kept."""
        return list(self.kept.events)

    @property
    def open_events(self) -> list[Event]:
        """Events that may go on, one a series at most, the latest to begin last."""
        running = [t.running.event for t in self.kept.tracks.values() if t.running is not None]
        return sorted(running, key=lambda event: event.start)

    @property
    def open_event(self) -> Event | None:
        """The event that may go on, the latest to begin where there are several; or None."""
        return self.open_events[-1] if self.open_events else None

    @property
    def n_points(self) -> int:
        """Points so far."""
        return self.kept.n_points

    @property
    def n_alarms(self) -> int:
        """Points flagged so far."""
        return self.kept.n_alarms

    def threshold(self, entity: str = "") -> float:
        """Score below which the next point of a series is flagged, nats."""
        track = self.kept.tracks.get(entity, self._fresh)
        return track.limit

    def save(self, path: PathLike) -> None:
        """Write all that is kept, so that `load_stream` goes on as if nothing had happened.

        The file is safetensors without pickle, and appears only when complete.

        Raises
        ------
        DataError
            If it cannot be written.
        """
        write_state(path, self.model, self.rule, self.kept)

    def _placed(self, points: Points) -> Placed:
        if not isinstance(self._codec, WindowCodec):
            nothing = np.zeros(len(points), dtype=bool)
            none = np.zeros((len(points), 0), dtype=np.intp)
            return Placed(points.cells, nothing, nothing, nothing, none, {})
        return placed(self._codec, points, self.kept.pasts)

    def _judged(
        self, points: Points, found: Placed, scores: Floats, kept: Kept
    ) -> tuple[list[Reading], Kept]:
        """Readings, and all that is kept after them."""
        readings, tracks = self._decided(points, found, scores, kept)
        flagged = [i for i, reading in enumerate(readings) if reading.is_outlier]
        blamed = self._explained(points, found, flagged) if flagged else {}
        events = list(kept.events)
        for i, entity in enumerate(points.entities):
            if found.late[i]:
                ended, begins, running = None, False, tracks[entity].running
            else:
                ended, begins, running = self._joined(tracks[entity], readings[i], blamed.get(i))
            if running is not tracks[entity].running:
                tracks[entity] = replace(tracks[entity], running=running)
            if i in blamed:
                readings[i] = replace(readings[i], reasons=blamed[i][0], begins=begins)
            if ended is not None:
                readings[i] = replace(readings[i], ended=ended)
                events.append(ended)
        counts = kept.n_points + len(readings), kept.n_alarms + len(flagged)
        pasts = {**kept.pasts, **found.pasts}
        for entity in list(tracks)[:-MOST_SERIES]:
            pasts.pop(entity, None)
            running = tracks.pop(entity).running
            events += [] if running is None else [running.event]
        return readings, Kept(*counts, tracks, pasts, tuple(events[-MOST_EVENTS:]))

    def _decided(
        self, points: Points, found: Placed, scores: Floats, kept: Kept
    ) -> tuple[list[Reading], dict[str, Track]]:
        """Decisions one after the other, and the thresholds after them."""
        p_values = calibration.p_values(scores, self.model.held_out).tolist()
        remarks, named = self._remarks(points, found), self._reader.entity is not None
        idle = (found.late | found.early).tolist()
        tracks, readings = dict(kept.tracks), []
        for i, score in enumerate(scores.tolist()):
            entity, p = points.entities[i], p_values[i]
            track = tracks[entity] = tracks.pop(entity, self._fresh)  # the latest heard is last
            learner, limit, adapted = track.threshold, track.limit, None
            flag = p <= self.rule.alpha
            if learner is not None:
                flag = score < limit and not found.early[i]
                if not (flag or idle[i]):
                    learner = thresholds.learned(learner, score)
                    adapted = self._moved(track.said, learner.value)
                    said = track.said if adapted is None else adapted[1]
                    tracks[entity] = Track(learner, said, track.running)
            at, name = kept.n_points + i, entity if named else None
            time, notes = points.stamps[i], remarks[i]
            reading = Reading(
                at, name, time, score, p, flag, limit, warnings=notes, adapted=adapted
            )
            readings.append(reading)
        return readings, tracks

    def _moved(self, said: float, value: float) -> tuple[float, float] | None:
        """A threshold as said and as it is, if that is worth saying."""
        return (said, value) if abs(value - said) > self._notable else None

    def _joined(
        self, track: Track, reading: Reading, blamed: Any
    ) -> tuple[Event | None, bool, Running | None]:
        """Event that a point ends, whether it begins one, and the one that goes on."""
        running = track.running
        if not reading.is_outlier:
            if running is None:
                return None, False, None
            running, ended = calmed(running, self.rule.join)
            return ended, False, running
        alarm = Alarm(reading.position, reading.time, reading.score, reading.p_value, blamed[1])
        if running is None:
            return None, True, opened(reading.entity, alarm)
        return None, False, grown(running, alarm)

    def _explained(
        self, points: Points, found: Placed, flagged: list[int]
    ) -> dict[int, tuple[tuple[str, ...], dict[str, float]]]:
        """Reasons for some points, and the surprise of their columns."""
        at = np.array(flagged)
        source: Any = points.frame.take(at)
        if isinstance(self._codec, WindowCodec):
            timeline = cast(WindowRows, found.rows).timeline
            places = np.arange(len(at))
            source = Series(source, timeline, int(self._codec.length), places)
        n_best, names = results.N_REASONS, self._codec.names
        rows, known = found.rows.take(at), (self._swift, self._typical)
        said = explain_points(self.model, *known, source, rows, n_best=n_best)
        out = {}
        for row, i in enumerate(flagged):
            nats_of = np.round(said.surprise[row], DECIMALS).tolist()
            pairs = zip(names, nats_of, strict=True)
            surprise = {name: nats for name, nats in pairs if nats > 0.0}
            out[i] = tuple(said.reasons(row, n_best) or [AS_A_WHOLE]), surprise
        return out

    def _remarks(self, points: Points, found: Placed) -> list[tuple[str, ...]]:
        cells, names = points.cells, self._codec.names
        out: list[list[str]] = [[] for _ in range(len(points))]
        for j in np.flatnonzero(cells.unseen.any(axis=0)).tolist():
            column, hit = self._codec.modeled[j], np.flatnonzero(cells.unseen[:, j])
            told = unseen_cells(column, points.frame.columns[column.name], hit)
            for i, cell in zip(hit.tolist(), told, strict=True):
                out[i].append(UNSEEN.format(cell))
        notes = (
            (cells.out_of_range, OUTSIDE),
            (cells.missing, "{} is missing"),
            (found.early[:, None], EARLY),
            (found.late[:, None], LATE),
            (found.repeated[:, None], AGAIN),
        )
        for flags, text in notes:
            if flags.any():
                for i, j in np.argwhere(flags).tolist():
                    out[i].append(text.format(names[j]))
        said = [self._reader.point.pair_remarks(cells)]
        if isinstance(self._codec, WindowCodec):
            said.append(stuck_remarks(found.stayed, self._codec.longest, names))
        for remarks in said:
            for i in np.flatnonzero(remarks != "").tolist():
                out[i].append(remarks[i])
        return [tuple(notes) for notes in out]


def load_stream(path: PathLike, detector: Any) -> Stream:
    """Resume a stream that `Stream.save` wrote; runs no code from the file.

    Parameters
    ----------
    path : path
    detector : VAEDetector
        The one whose stream it was, or the same from its file.

    Returns
    -------
    Stream
        Its next readings are those that the saved one would have given.

    Raises
    ------
    FormatError
        If the file is missing, damaged, no state of a stream, or of another model.
    """
    model: Model = detector._fitted()
    return Stream(model, *read_state(path, model))


def _checked(codec: Any) -> TableCodec | WindowCodec:
    """A codec whose points can be judged as they come."""
    if isinstance(codec, WindowCodec) and codec.score_of != "last":
        raise DataError(
            "This model judges a point by points after it as well, which a stream does not have "
            'yet. Fit with WindowCodec(score_of="last").'
        )
    if not isinstance(codec, TableCodec | WindowCodec):
        raise DataError(
            f"Streams are of tables and series, not of what {type(codec).__name__} reads. "
            "Call detect on each item instead."
        )
    return codec
