"""How well a model tells labeled rows apart, and whether its p-values keep their promise."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from improbable.cli.baselines import Baseline, matrix
from improbable.cli.console import aligned, counted
from improbable.cli.inputs import Feed
from improbable.cli.labels import KNOWN, Labels, check_column
from improbable.data.codec import Codec
from improbable.data.parts import Bools, Floats
from improbable.errors import DataError
from improbable.model import Model

LEVELS = (0.1, 0.01, 0.001)
RESAMPLES = 200
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{self.value:.4f}  (95 % interval {self.lower:.4f} to {self.upper:.4f})"


@dataclass(frozen=True)
class Judged:
    """Labeled rows: scores, also of baselines, p-values, and whether they are normal."""

    scores: Floats
    p_values: Floats
    normal: Bools
    unlabeled: int
    baselines: dict[str, Floats] = field(default_factory=dict)


def check_label(codec: Codec, label: str) -> None:
    """Refuse a column that scores depend on.

    Raises
    ------
    DataError
        If it is one.
    """
    if label in codec.names:
        raise DataError(
            f"The model has learned from {label}, so it is no label. Name another column with "
            f"--label, or fit again with --label {label}."
        )


def read_judged(
    model: Model,
    feed: Feed,
    label: str,
    labels: Labels,
    moved: Any,
    baselines: Mapping[str, Baseline],
) -> Judged:
    """Scores and labels of a whole file, by the model and by baselines.

    Raises
    ------
    DataError
        If there are not both normal rows and others.
    """
    check_column(label, feed.schema.names, "--label", KNOWN)
    scores, normal, known = [np.empty(0)], [np.empty(0, dtype=bool)], [np.empty(0, dtype=bool)]
    others: dict[str, list[Floats]] = {name: [] for name in baselines}
    for batch, source in feed:
        rows = model.codec.transform(source)
        scores.append(model.decision_scores(rows)[: batch.num_rows])
        for name, baseline in baselines.items():
            others[name].append(baseline(matrix(rows))[: batch.num_rows])
        is_normal, is_known = labels.read(batch.column(label))
        normal.append(is_normal)
        known.append(is_known)
        moved(batch.num_rows)
    labels.check_found()
    kept = np.concatenate(known)
    judged, chosen = np.concatenate(scores)[kept], np.concatenate(normal)[kept]
    if chosen.all():
        raise DataError("All labeled rows are normal. Pass a table that has anomalies too.")
    compared = {name: np.concatenate(found)[kept] for name, found in others.items()}
    return Judged(judged, model.p_values(judged), chosen, int((~kept).sum()), compared)


def areas(anomalies: Counts, normal: Counts) -> tuple[float, float]:
    """ROC AUC and average precision from counts at each distinct score, the lowest first."""
    found, alarms = np.cumsum(anomalies), np.cumsum(normal)
    above = alarms[-1] - alarms + normal / 2
    auc = float((anomalies * above).sum() / (found[-1] * alarms[-1]))
    precision = found / np.maximum(found + alarms, 1)
    return auc, float((anomalies * precision).sum() / found[-1])


def estimate_areas(judged: Judged, seed: int = 0) -> tuple[Estimate, Estimate]:
    """ROC AUC and average precision, with intervals from resampled anomalies and normal rows."""
    levels, place = np.unique(judged.scores, return_inverse=True)
    n = len(levels)
    anomalies = np.bincount(place[~judged.normal], minlength=n)
    normal = np.bincount(place[judged.normal], minlength=n)
    rng = np.random.default_rng(seed)
    drawn = [areas(_resample(anomalies, rng), _resample(normal, rng)) for _ in range(RESAMPLES)]
    lower, upper = np.quantile(np.array(drawn), (0.025, 0.975), axis=0)
    auc, precision = (
        Estimate(value, float(lower[i]), float(upper[i]))
        for i, value in enumerate(areas(anomalies, normal))
    )
    return auc, precision


def _resample(counts: Counts, rng: np.random.Generator) -> Counts:
    total = int(counts.sum())
    return rng.multinomial(total, counts / total).astype(np.int64)


def evaluation(judged: Judged, alpha: float, n_held_out: int) -> dict[str, Any]:
    """All of it as plain values."""
    auc, precision = estimate_areas(judged)
    flagged = judged.p_values <= alpha
    hits = int((flagged & ~judged.normal).sum())
    n_anomalies = int((~judged.normal).sum())
    return {
        "rows": len(judged.scores),
        "normal": len(judged.scores) - n_anomalies,
        "anomalies": n_anomalies,
        "unlabeled": judged.unlabeled,
        "roc_auc": asdict(auc),
        "average_precision": asdict(precision),
        "alpha": alpha,
        "flagged": int(flagged.sum()),
        "detection_rate": hits / n_anomalies,
        "precision": hits / int(flagged.sum()) if flagged.any() else None,
        "reliability": [_reliability(judged, level, n_held_out) for level in LEVELS],
        "baselines": {
            name: _areas_by_name(replace(judged, scores=scores))
            for name, scores in judged.baselines.items()
        },
    }


def _areas_by_name(judged: Judged) -> dict[str, Any]:
    auc, precision = estimate_areas(judged)
    return {"roc_auc": asdict(auc), "average_precision": asdict(precision)}


def _reliability(judged: Judged, alpha: float, n_held_out: int) -> dict[str, Any]:
    """Share of normal rows flagged at `alpha`; chance adds three standard errors of both."""
    p = judged.p_values[judged.normal]
    chance = np.sqrt(alpha * (1.0 - alpha) * (1.0 / len(p) + 1.0 / max(n_held_out, 1)))
    share, allowed = float((p <= alpha).mean()), alpha + 3.0 * float(chance)
    return {
        "alpha": alpha,
        "share": share,
        "allowed": alpha,
        "allowed_with_chance": allowed,
        "kept": share <= allowed,
    }


def evaluation_lines(record: dict[str, Any]) -> list[str]:
    """An evaluation as a person reads it."""
    odd = counted(record["anomalies"], "anomaly", "anomalies")
    count = f"{record['rows']:,}  ({record['normal']:,} normal, {odd}"
    blank = f", {record['unlabeled']:,} more without a label" if record["unlabeled"] else ""
    precision = record["precision"]
    chance = record["anomalies"] / record["rows"]
    hits = "none" if precision is None else f"{precision:.1%}"
    facts = [
        ("rows", f"{count}{blank})"),
        ("ROC AUC", str(Estimate(**record["roc_auc"]))),
        (
            "average precision",
            f"{Estimate(**record['average_precision'])}; {chance:.4f} by chance",
        ),
        ("detection rate", f"{record['detection_rate']:.1%} at alpha {record['alpha']:g}"),
        ("precision", f"{hits} of {counted(record['flagged'], 'flagged row')}"),
    ]
    head = ("alpha", "normal rows with p <= alpha", "allowed", "allowed with chance")
    table = [head, *map(_reliability_line, record["reliability"])]
    lines = [f"{name:<19}{value}" for name, value in facts]
    lines += ["", *aligned(table, numbers=(0, 1, 2, 3)), "", _promise(record["reliability"])]
    return [*lines, "", *comparison_lines(record)] if record["baselines"] else lines


def comparison_lines(record: dict[str, Any]) -> list[str]:
    """The model beside baselines, and which of them ranks the anomalies best."""
    both = {"this model": record, **record["baselines"]}
    table = [("method", "ROC AUC", "average precision", "95 % interval")]
    for name, found in both.items():
        precision = Estimate(**found["average_precision"])
        interval = f"{precision.lower:.4f} to {precision.upper:.4f}"
        auc = f"{found['roc_auc']['value']:.4f}"
        table.append((name, auc, f"{precision.value:.4f}", interval))
    return [*aligned(table, numbers=(1, 2, 3)), "", _verdict(both)]


def _verdict(both: dict[str, Any]) -> str:
    first = max(both, key=lambda name: both[name]["average_precision"]["value"])
    if first == "this model":
        return "No baseline has a higher average precision."
    ours, theirs = (both[name]["average_precision"] for name in ("this model", first))
    apart = theirs["lower"] > ours["upper"]
    how = "clearly" if apart else "though the intervals overlap"
    return (
        f"By average precision {first} wins, {how}: {theirs['value']:.4f} against "
        f"{ours['value']:.4f}. On rows like these it is the simpler choice."
    )


def _promise(levels: Sequence[dict[str, Any]]) -> str:
    broken = [level for level in levels if not level["kept"]]
    if not broken:
        return "The p-values hold on these normal rows: no more are flagged than chance allows."
    most = max(broken, key=lambda level: level["share"] / level["alpha"])
    return (
        f"Of these normal rows {most['share']:.2%} have a p-value of at most {most['alpha']:g}, "
        "more than chance allows: they may differ from the rows that the model was fitted on. See "
        "why with improbable explain, or fit again with rows like them."
    )


def _reliability_line(level: dict[str, float]) -> tuple[str, ...]:
    shares = (level[name] for name in ("share", "allowed", "allowed_with_chance"))
    return (f"{level['alpha']:g}", *(f"{share:.2%}" for share in shares))
