"""The figure of docs/sequences.md: the surprise of each event in three broken sessions.

python benchmarks/sequences_figure.py docs/images/sequences.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sequences import BREAKS, broken, made, sessions

from improbable import SequenceCodec, VAEDetector

LONGEST = 18


def main() -> None:
    detector = VAEDetector(codec=SequenceCodec(), random_state=0).fit(made(0).train)
    rng = np.random.default_rng(1)
    some = [s for s in sessions(200, rng) if 12 <= len(s) <= LONGEST][: len(BREAKS)]
    found = [broken(events, kind, rng) for events, kind in zip(some, BREAKS, strict=True)]
    told = detector.explain([events for events, _ in found])
    figure, rows = plt.subplots(len(BREAKS), 1, figsize=(9, 5.4))
    for row, (axes, (events, places)) in enumerate(zip(rows, found, strict=True)):
        colors = ["#c8553d" if place in places else "#30618c" for place in range(len(events))]
        axes.bar(range(len(events)), told.surprise[row, : len(events)], color=colors)
        axes.set_xticks(range(len(events)), events, rotation=30, ha="right", fontsize=8)
        axes.set_xlim(-0.6, LONGEST - 0.4)
        axes.set_title(f"{BREAKS[row]}: {told.reasons(row)[0]}", loc="left", fontsize=9)
        axes.set_ylabel("nats")
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(Path(sys.argv[1]), dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
