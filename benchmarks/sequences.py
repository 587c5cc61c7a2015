"""Broken sequences of events: this library, an n-gram model, and counts of events.

    python benchmarks/sequences.py              # three seeds
    python benchmarks/sequences.py --seeds 0    # one
    python benchmarks/sequences.py --markdown docs/sequences.md

Sessions of 8 to 40 events come from a small grammar with branches, loops and optional parts,
over 25 kinds of events. 2,000 are learned from; of 1,500 others 500 stay as they are, and 1,000
are broken once: two different neighbors swapped, an event left out, or a rare one put in that
does not belong there (one in ten of an event never seen). "n-gram" is a trigram model with
add-k smoothing, k the best of four by the held-out log probability, and its score the mean log
probability of an event; "isolation forest" sees how often each event occurs. "first" is the
share of broken sequences whose most surprising event is the break itself: the first event that
the grammar does not allow there, which after a gap is the one that follows it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from report import check_markers, environment, table, write_between_markers
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from improbable import SequenceCodec, VAEDetector

HEADER = ("method", "all breaks", "swapped", "left out", "put in", "first", "fit, s", "score, ms")
BREAKS = ("swapped", "left out", "put in")
N_TRAIN, N_NORMAL, N_BROKEN = 2_000, 500, 1_000
SHORTEST, LONGEST = 8, 40
RARE, NEVER = ("alarm", "reset"), "fault"
Events = list[str]
Step = tuple[str, str, float]


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


def broken(events: Events, kind: str, rng: np.random.Generator) -> tuple[Events, int]:
    """A session with one break that the grammar forbids, and where it shows."""
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
            return out, shows
