"""Broken sequences of events: this library, an n-gram model, and counts of events.

    python benchmarks/sequences.py              # three seeds
    python benchmarks/sequences.py --seeds 0    # one
    python benchmarks/sequences.py --markdown docs/sequences.md

Sessions of 8 to 40 events come from a small grammar with branches, loops and optional parts,
over 30 kinds of events. 2,000 are learned from; of 1,500 others 500 stay as they are, and 1,000
are broken once, so that the grammar could not have made them: two neighbors swapped, an event
left out, or a rare one put in (one in ten of an event never seen). "n-gram" is a trigram model
with add-k smoothing, k the best of four on held-out sessions, and its score the mean log
probability of an event; "isolation forest" sees how often each event occurs. Columns of breaks
are ROC AUC. "first" is the share of broken sessions whose most surprising event is the break
itself: one of the two that were swapped, otherwise the first event that the grammar does not
allow there, which after a gap is the one that follows it. "score" is the time a session.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from report import check_markers, environment, table, write_between_markers
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from improbable import SequenceCodec, VAEDetector

HEADER = ("method", "all", "swapped", "left out", "put in", "first", "fit, s", "score, ms")
BREAKS = ("swapped", "left out", "put in")
N_TRAIN, N_NORMAL, N_BROKEN = 2_000, 500, 1_000
SHORTEST, LONGEST = 8, 40
RARE, NEVER = ("alarm", "reset"), "fault"
Events = list[str]
Step = tuple[str, str, float]


@dataclass(frozen=True)
class Task:
    """Sequences to learn from, others with breaks, and where these show.

    Attributes
    ----------
    train, test : list of events
    kinds : ndarray of str
        Break of each test sequence; empty for normal ones.
    places : list of set of int
        Events that are the break.
    """

    train: list[Events]
    test: list[Events]
    kinds: np.ndarray
    places: list[set[int]]


@dataclass(frozen=True)
class Result:
    """Scores of the test sequences, the higher the more normal, and the top event of each."""

    scores: np.ndarray
    top: list[int]
    fit_seconds: float
    score_seconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison and return the exit status."""
    options = parsed(argv)
    check_markers(options.markdown, "sequences")
    context, found = environment("scikit-learn"), []
    for seed in options.seeds:
        task = made(seed, options.n_train)
        for name, method in METHODS.items():
            cells = line(task, method(task, seed))
            found.append((name, cells))
            print(seed, name, *(f"{value:.4f}" for value in cells), sep="  ", flush=True)
    body = [[name, *shown([c for n, c in found if n == name])] for name in METHODS]
    rows = table(HEADER, body, n_names=1)
    print("\n".join(["", *rows, "", *context]))
    if options.markdown:
        write_between_markers(options.markdown, rows, context, "sequences")
    return 0


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--n-train", type=int, default=N_TRAIN, help="sequences to learn from")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    return parser.parse_args(argv)


def made(seed: int, n_train: int = N_TRAIN) -> Task:
    """Normal and broken sequences of a seed."""
    rng = np.random.default_rng(seed)
    train, normal = sessions(n_train, rng), sessions(N_NORMAL, rng)
    kinds = [BREAKS[i % len(BREAKS)] for i in range(N_BROKEN)]
    found = [broken(e, kind, rng) for e, kind in zip(sessions(N_BROKEN, rng), kinds, strict=True)]
    test = [*normal, *(events for events, _ in found)]
    places = [*(set() for _ in normal), *(places for _, places in found)]
    return Task(train, test, np.array([""] * len(normal) + kinds), places)


def line(task: Task, result: Result) -> list[float]:
    """Numbers of a line of the table."""
    is_broken = task.kinds != ""
    areas = [roc_auc_score(is_broken, -result.scores)]
    for kind in BREAKS:
        kept = ~is_broken | (task.kinds == kind)
        areas.append(roc_auc_score(is_broken[kept], -result.scores[kept]))
    hits = [top in places for top, places in zip(result.top, task.places, strict=True) if places]
    first = float(np.mean(hits)) if result.top[0] >= 0 else np.nan
    milliseconds = 1e3 * result.score_seconds / len(task.test)
    return [*areas, first, result.fit_seconds, milliseconds]


def shown(lines: list[list[float]]) -> list[str]:
    """Means over seeds as text."""
    means = np.mean(lines, axis=0)
    first = "" if np.isnan(means[4]) else f"{means[4]:.1%}"
    areas = [f"{value:.4f}" for value in means[:4]]
    return [*areas, first, f"{means[5]:.1f}", f"{means[6]:.2f}"]


def ours(task: Task, seed: int) -> Result:
    """The detector with its defaults."""
    begin = time.perf_counter()
    detector = VAEDetector(codec=SequenceCodec(), random_state=seed).fit(task.train)
    fitted = time.perf_counter()
    scores = detector.score_samples(task.test)
    scored = time.perf_counter()
    found = detector.explain(task.test)
    top = [found.ranking(row)[0] for row in range(len(found))]
    return Result(scores, top, fitted - begin, scored - fitted)


def n_gram(task: Task, seed: int) -> Result:
    """Trigrams with add-k smoothing; k by the last tenth of the training sequences."""
    begin = time.perf_counter()
    last = len(task.train) // 10
    held_out = task.train[-last:]

    def fitness(k: float) -> float:
        model = trigrams(task.train[:-last], k)
        return float(np.mean([model(events).mean() for events in held_out]))

    model = trigrams(task.train, max((1.0, 0.1, 0.01, 0.001), key=fitness))
    fitted = time.perf_counter()
    found = [model(events) for events in task.test]
    scored = time.perf_counter()
    means = np.array([log_prob.mean() for log_prob in found])
    return Result(means, [int(p.argmin()) for p in found], fitted - begin, scored - fitted)


def trigrams(train: list[Events], k: float) -> Callable[[Events], np.ndarray]:
    """Function from events to the log probability of each, and of the end."""
    threes: Counter[tuple[str, ...]] = Counter()
    twos: Counter[tuple[str, ...]] = Counter()
    size = len({event for events in train for event in events}) + 2  # the end, and all others
    for events in train:
        padded = ["", "", *events, "."]
        threes.update(zip(padded, padded[1:], padded[2:], strict=False))
        twos.update(zip(padded, padded[1:-1], strict=False))

    def log_prob(events: Events) -> np.ndarray:
        padded = ["", "", *events, "."]
        found = zip(padded, padded[1:], padded[2:], strict=False)
        return np.array([np.log((threes[t] + k) / (twos[t[:2]] + k * size)) for t in found])

    return log_prob


def forest(task: Task, seed: int) -> Result:
    """Isolation forest on how often each event occurs."""
    begin = time.perf_counter()
    names = sorted({event for events in task.train for event in events})
    model = IsolationForest(random_state=seed).fit(counted(task.train, names))
    fitted = time.perf_counter()
    scores = model.score_samples(counted(task.test, names))
    scored = time.perf_counter()
    return Result(scores, [-1] * len(task.test), fitted - begin, scored - fitted)


def counted(sequences: list[Events], names: list[str]) -> np.ndarray:
    """How often each event occurs, and in the last column all others, shape (n, n_names + 1)."""
    place = {name: i for i, name in enumerate(names)}
    out = np.zeros((len(sequences), len(names) + 1))
    for row, events in enumerate(sequences):
        for event in events:
            out[row, place.get(event, len(names))] += 1
    return out


METHODS = {
    "improbable": ours,
    "n-gram, mean log probability": n_gram,
    "isolation forest on counts": forest,
}


def _grammar() -> dict[str, list[Step]]:
    """Events that may follow in each state, with the state after them and their probability.

    How a session began is remembered to its end: a proxy is detached, a guest leaves, who has
    logged in logs out, and nobody changes from one kind of work to another.
    """
    steps: dict[str, list[Step]] = {
        "begin": [("start", "door", 1.0)],
        "door": [("proxy", "door+", 0.3), *_door("", 0.7)],
        "door+": _door("+", 1.0),
    }
    for way in ("", "+"):
        steps |= _ending(way)
        first = [("list", 0.5), ("open", 0.3), ("sudo", 0.2)]
        works = {"list": "browse", "open": "upload", "sudo": "admin"}
        steps[f"in{way}"] = [("token", f"work{way}", 1.0)]
        steps[f"work{way}"] = [(e, f"{works[e]}{way}:{e}", p) for e, p in first]
        steps |= _browse(f"guest{way}", f"left{way}", "leave")
        steps |= _browse(f"browse{way}", f"out{way}", "logout")
        steps |= _upload(f"upload{way}", f"out{way}") | _admin(f"admin{way}", f"out{way}")
    return steps


def _door(way: str, share: float) -> list[Step]:
    return [("login", f"in{way}", 0.7 * share), ("guest", f"guest{way}", 0.3 * share)]


def _ending(way: str) -> dict[str, list[Step]]:
    last = [("stop", "end", 1.0)]
    closing = [("detach", "last", 1.0)] if way else last
    return {f"out{way}": [("revoke", f"left{way}", 1.0)], f"left{way}": closing, "last": last}


def _browse(s: str, after: str, bye: str) -> dict[str, list[Step]]:
    return {
        s: [("list", f"{s}:list", 1.0)],
        f"{s}:list": [("view", f"{s}:view", 1.0)],
        f"{s}:view": [
            ("zoom", f"{s}:zoom", 0.3),
            ("view", f"{s}:view", 0.25),
            ("cart", f"{s}:cart", 0.15),
            ("back", f"{s}:done", 0.3),
        ],
        f"{s}:zoom": [("view", f"{s}:view", 0.4), ("back", f"{s}:done", 0.6)],
        f"{s}:cart": [("pay", f"{s}:done", 1.0)],
        **_done(s, "list", after, bye),
    }


def _upload(s: str, after: str) -> dict[str, list[Step]]:
    return {
        f"{s}:open": [("chunk", f"{s}:chunk", 1.0)],
        f"{s}:chunk": [("chunk", f"{s}:chunk", 0.5), ("check", f"{s}:check", 0.5)],
        f"{s}:check": [("retry", f"{s}:retry", 0.2), ("close", f"{s}:done", 0.8)],
        f"{s}:retry": [("check", f"{s}:again", 1.0)],
        f"{s}:again": [("close", f"{s}:done", 1.0)],
        **_done(s, "open", after, "logout"),
    }


def _admin(s: str, after: str) -> dict[str, list[Step]]:
    return {
        f"{s}:sudo": [("read", f"{s}:audit", 0.6), ("lock", f"{s}:write", 0.4)],
        f"{s}:write": [("write", f"{s}:unlock", 1.0)],
        f"{s}:unlock": [("unlock", f"{s}:audit", 1.0)],
        f"{s}:audit": [("audit", f"{s}:done", 1.0)],
        **_done(s, "sudo", after, "logout"),
    }


def _done(s: str, first: str, after: str, bye: str) -> dict[str, list[Step]]:
    """States after a piece of work: another one, a ping before it, or the way out."""
    again, closing = (first, f"{s}:{first}"), (bye, after)
    return {
        f"{s}:done": [(*again, 0.5), ("ping", f"{s}:ping", 0.15), *_out(s, closing, 0.35)],
        f"{s}:ping": [(*again, 0.6), (*closing, 0.4)],
        f"{s}:rare": [(*closing, 1.0)],
    }


def _out(s: str, closing: tuple[str, str], share: float) -> list[Step]:
    return [*((event, f"{s}:rare", 0.01) for event in RARE), (*closing, share - 0.01 * len(RARE))]


GRAMMAR = _grammar()


def session(rng: np.random.Generator) -> Events:
    """One session of the grammar, of any length."""
    state, out = "begin", []
    while state != "end":
        steps = GRAMMAR[state]
        event, state, _ = steps[rng.choice(len(steps), p=[p for _, _, p in steps])]
        out.append(event)
    return out


def first_break(events: Events) -> int | None:
    """Place of the first event that no session of the grammar has there; None without one."""
    state = "begin"
    for place, event in enumerate(events):
        after = {name: then for name, then, _ in GRAMMAR.get(state, [])}
        if event not in after:
            return place
        state = after[event]
    return None


def sessions(n: int, rng: np.random.Generator) -> list[Events]:
    """Sessions of 8 to 40 events."""
    out: list[Events] = []
    while len(out) < n:
        found = session(rng)
        if SHORTEST <= len(found) <= LONGEST:
            out.append(found)
    return out


def broken(events: Events, kind: str, rng: np.random.Generator) -> tuple[Events, set[int]]:
    """A session with one break that the grammar forbids, and the events that are the break."""
    while True:
        out, place = list(events), int(rng.integers(1, len(events) - 1))
        if kind == "swapped":
            out[place], out[place + 1] = out[place + 1], out[place]
        elif kind == "left out":
            del out[place]
        else:
            out.insert(place, str(NEVER if rng.random() < 0.1 else rng.choice(RARE)))
        shows = first_break(out)
        if shows is not None:
            return out, {place, place + 1} if kind == "swapped" else {shows}


if __name__ == "__main__":
    sys.exit(main())
