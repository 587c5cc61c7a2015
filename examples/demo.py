"""Fit on healthy patients, score others, and say which are improbable and why."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score, roc_auc_score

from improbable import VAEDetector, load, load_thyroid, save
from improbable.data.kinds import kind_name

ALPHA = 0.01
N_SHOWN = 8


def main() -> None:
    console = Console(highlight=False)
    patients, is_sick = load_thyroid()
    train, others = split(is_sick)
    detector = VAEDetector(random_state=0, verbose=True).fit(patients.take(train))
    summary(console, detector, n_sick=int(is_sick.sum()))
    new, labels = patients.take(others), is_sick[others]
    found = detector.detect(new, alpha=ALPHA)
    decisions(console, found, labels, len(detector.model_.held_out))
    anomalies(console, detector, new, found, labels)
    round_trip(console, detector, new)
    console.print("\nNext, with tables of your own (.venv/bin is where make put the command):\n")
    console.print("  improbable fit normal.csv -o model.safetensors")
    console.print(f"  improbable score new.csv -m model.safetensors -o scored.csv --alpha {ALPHA}")


def split(is_sick: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of 70 % of the patients who are not sick, and of all others."""
    healthy = np.flatnonzero(is_sick == 0)
    order = np.random.default_rng(0).permutation(healthy)
    train = np.sort(order[: int(0.7 * len(healthy))])
    return train, np.setdiff1d(np.arange(len(is_sick)), train)


def summary(console: Console, detector: VAEDetector, *, n_sick: int) -> None:
    model, history = detector.model_, detector.history_
    kinds = Counter(kind_name(column.kind) for column in model.codec.columns)
    n_held_out = len(model.held_out)
    console.print("\n[bold]Fitted[/bold] on patients who are not sick")
    facts = Table(box=None, show_header=False, padding=(0, 2))
    facts.add_row("rows learned from", f"{model.codec.n_rows:,}")
    facts.add_row("columns", ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
    facts.add_row("training", f"{history.steps[-1]} steps; {history.message}")
    facts.add_row("rows held out", f"{n_held_out:,}, to calibrate p-values")
    facts.add_row("smallest p-value", f"{1.0 / (n_held_out + 1):.4f}")
    facts.add_row("labels used", f"none; the {n_sick} sick patients come now")
    console.print(facts)


def decisions(console: Console, found: pa.Table, labels: np.ndarray, n_held_out: int) -> None:
    flagged = found["is_outlier"].to_numpy().astype(bool)
    p, score = found["p_value"].to_numpy(), found["score"].to_numpy()
    sick = labels == 1
    console.print(
        f"\n[bold]Scored[/bold] {len(labels):,} other patients, {sick.sum()} of them sick"
    )
    facts = Table(box=None, show_header=False, padding=(0, 2))
    facts.add_row(
        f"flagged at alpha = {ALPHA}", f"{flagged.sum()}, of which {(flagged & sick).sum()} sick"
    )
    facts.add_row("ROC AUC", f"{roc_auc_score(sick, -score):.3f} (0.5 is chance)")
    precision = average_precision_score(sick, -score)
    facts.add_row("average precision", f"{precision:.3f} ({sick.mean():.3f} is chance)")
    for alpha in (0.1, ALPHA):
        share = (p[~sick] <= alpha).mean()
        chance = 2.0 * np.sqrt(alpha * (1.0 - alpha) * (1.0 / (~sick).sum() + 1.0 / n_held_out))
        promise = f"promised: at most {alpha:.0%}, give or take {chance:.1%} by chance"
        facts.add_row(f"not sick, p <= {alpha:g}", f"{share:.1%} ({promise})")
    console.print(facts)
    console.print(
        "Many sick patients have a common combination of values. What is flagged is improbable, "
        "ill or not; with labels of what you look for, train a classifier."
    )


def anomalies(
    console: Console, detector: VAEDetector, new: pa.Table, found: pa.Table, labels: np.ndarray
) -> None:
    order = np.argsort(found["score"].to_numpy(), kind="stable")[:N_SHOWN]
    explanation = detector.explain(new.take(order))
    shown = Table(box=box.SIMPLE, pad_edge=False)
    for name in ("row", "score", "p-value", "sick"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("reasons")
    for place, row in enumerate(order.tolist()):
        score, p_value = found["score"][row].as_py(), found["p_value"][row].as_py()
        reasons = "\n".join(explanation.reasons(place)) or "no column alone"
        sick = "yes" if labels[row] else "no"
        shown.add_row(str(row), f"{score:.1f}", f"{p_value:.4f}", sick, reasons)
    console.print(f"\n[bold]The {N_SHOWN} least probable patients[/bold]")
    console.print(shown)


def round_trip(console: Console, detector: VAEDetector, new: pa.Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save(detector, path)
        size = path.stat().st_size
        gap = np.abs(load(path).score_samples(new) - detector.score_samples(new)).max()
    console.print(
        f"[bold]Saved and loaded[/bold]: {size / 1e6:.1f} MB, no pickle; "
        f"scores differ by {gap:.0e} nats at most"
    )


if __name__ == "__main__":
    main()
