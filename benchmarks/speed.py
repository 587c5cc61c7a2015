"""How fast the library is, beside its rivals and beside what the machine can do.

    python benchmarks/speed.py --markdown docs/performance.md   # everything, half an hour
    python benchmarks/speed.py --quick                          # fewer rows, once: two minutes
    python benchmarks/speed.py --rows-of-work fit step --repeat 3
    python benchmarks/speed.py --rows-of-work memory --rows 100000000

The rows are made by the script. Both sides of a ratio are measured in the same run, with the same
number of threads; seconds are wall-clock seconds, medians over the repetitions. The page is
written anew after each row of work; a picture of how cost grows is drawn beside it. Where there
is a CUDA device, training is measured there as well; everything else is on the CPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import speed_parts as parts
import torch
from compare import positive
from report import check_markers, environment, table, write_between_markers
from scale import timed
from sklearn.metrics import average_precision_score
from speed_parts import Line, Plan, Report, duration, faster, mebibytes, share

from improbable import VAEDetector, save

HEADER = ("work", "this library", "beside it", "that takes", "ratio", "aim", "reached")


def fitted(plan: Plan, **arguments: Any) -> VAEDetector:
    """A detector of as many rows as a step needs, to measure scoring with."""
    rows = parts.made_rows(min(plan.fit_rows, 20_000), seed=0)
    return VAEDetector(random_state=0, device="cpu", **arguments).fit(rows)


def on(device: str) -> str:
    return "" if device == "cpu" else ", GPU"


def fit_work(plan: Plan, device: str) -> Report:
    train = parts.made_rows(plan.fit_rows, seed=0)
    test, is_anomaly = parts.planted_rows(plan.test_rows, seed=1)
    runs = [
        timed(lambda s=seed: VAEDetector(random_state=s, device=device).fit(train))
        for seed in range(plan.repeat)
    ]
    ours = median(seconds for _, seconds in runs)
    precision = median(
        average_precision_score(is_anomaly, -detector.score_samples(test)) for detector, _ in runs
    )
    work = f"fit {len(train):,} x {train.shape[1]}{on(device)}"
    report = Report()
    rivals = {"PyOD VAE": (parts.fit_pyod, 30.0), "pythae VAE": (parts.fit_pythae, 10.0)}
    for name, (fit, aim) in rivals.items():
        try:
            fit(train[:256], device)
        except ImportError as error:
            report.notes.append(f"{name} was not measured, it cannot be imported: {error}.")
            continue
        scorer, theirs = timed(lambda fit=fit: fit(train, device))
        theirs_ap = float(average_precision_score(is_anomaly, scorer(test)))
        report.lines.append(beside_rival(work, (ours, precision), name, (theirs, theirs_ap), aim))
    report.notes.append(
        f"The average precisions are those of {len(test):,} rows that none was fitted on, "
        f"{is_anomaly.sum()} of them anomalies. The rivals were measured once."
    )
    return report


def beside_rival(
    work: str, ours: tuple[float, float], name: str, theirs: tuple[float, float], aim: float
) -> Line:
    """Seconds and average precision of both; the aim asks for no lower precision too."""
    (seconds, precision), (longer, other) = ours, theirs
    cells = [f"{duration(s)}, AP {ap:.3f}" for s, ap in (ours, theirs)]
    also = round(precision, 3) >= round(other, 3)
    return Line(work, cells[0], name, cells[1], longer / seconds, "x", aim, also=also)


def large_work(plan: Plan, device: str) -> Report:
    rows = parts.made_rows(plan.large_rows, seed=0)

    def both() -> None:
        VAEDetector(random_state=0, device=device).fit(rows).score_samples(rows)

    ours = parts.median_seconds(both, plan.few)
    theirs = parts.median_seconds(lambda: parts.forest_scores(rows, rows), plan.few)
    work = f"fit and score {len(rows):,} x {rows.shape[1]}{on(device)}"
    cells = (work, duration(ours), "isolation forest", duration(theirs))
    line = Line(*cells, ours / theirs, "x its time", 2.0, at_most=True)
    said = f"The isolation forest scores in {torch.get_num_threads()} thread(s), as torch does."
    return Report([line], notes=[said])


def step_work(plan: Plan, device: str, n_members: int = 4, n_rows: int = 1_024) -> Report:
    rows = parts.made_rows(plan.fit_rows, seed=0)
    inputs = parts.training_inputs(rows, n_members=n_members, batch_size=n_rows, device=device)
    products = parts.step_products(inputs[0], n_rows)
    parts.step_seconds(inputs, 3)
    runs = [parts.step_seconds(inputs, plan.steps) for _ in range(plan.repeat)]
    seconds, n_threads = median(s for s, _ in runs), runs[0][1]
    with parts.threads(n_threads):
        bare = parts.product_seconds(products, torch.float32, device, plan.steps, plan.repeat)
    n = parts.operations(products)
    work = f"training step, {n_members} members, {n_rows:,} rows{on(device)}"
    note = (
        f"A training step{on(device)} is {n / 1e6:.0f} million operations in its matrix products, "
        f"forward and backward: {n / seconds / 1e9:.1f} GFLOP/s in the step, "
        f"{n / bare / 1e9:.1f} in the products alone (float32, {n_threads} thread(s), as many as "
        "the library takes)."
    )
    return Report([share(work, seconds, "its products alone", bare, 60.0)], notes=[note])


def draws_work(plan: Plan, device: str, n_draws: int = 16) -> Report:
    rows = parts.made_rows(plan.draws_rows, seed=1)
    detector = fitted(plan, n_draws=n_draws)
    model = detector.model_
    detector.score_samples(rows[:1_000])
    seconds = parts.median_seconds(lambda: detector.score_samples(rows), plan.few)
    size = len(next(model.blocks(detector._rows(rows[:2_000])))[1])
    products = parts.forward_products(model.vae.decoder, size * n_draws)
    times = max(1, round(len(rows) / size))
    bare = parts.product_seconds(products, torch.float64, "cpu", times, plan.few) * times
    spent = parts.stage_seconds(model, rows)
    work = f"score {len(rows):,} x {rows.shape[1]}, {n_draws} draws"
    return Report(
        [share(work, seconds, "its decoder's products alone", bare, 70.0)],
        ["**Where the time of scoring goes**", "", *parts.stage_table(spent)],
        [
            f"Scoring is {len(rows) / seconds:,.0f} rows/s with {n_draws} draws; the parts, timed "
            f"one by one, add up to {100 * sum(spent.values()) / seconds:.0f} % of it."
        ],
    )


def one_row_work(plan: Plan, device: str) -> Report:
    detector = fitted(plan)
    rows = parts.made_rows(plan.once, seed=1)
    for row in rows[:20]:
        detector.score_samples(row[None])
    seconds = median(timed(partial(detector.score_samples, row[None]))[1] for row in rows)
    cells = ("score one row, warm", duration(seconds), "", "", 1e3 * seconds, "ms")
    return Report([Line(*cells, 3.0, at_most=True)])


def loops_work(plan: Plan, device: str) -> Report:
    detector = fitted(plan)
    model, n_draws = detector.model_, len(detector.model_.noise)
    rows = parts.made_rows(plan.score_rows, seed=1)
    seconds = parts.median_seconds(lambda: detector.reconstruction_probability(rows), plan.repeat)
    ours, few = seconds / len(rows), rows[: plan.loop_rows]
    _, batch = next(model.blocks(detector._rows(few)))
    report = Report()
    for name, loop, aim in (
        ("a loop over rows", parts.loop_over_rows, 100.0),
        ("a loop over rows and draws, full covariances", parts.loop_over_draws, 1_000.0),
    ):
        loop(model, batch[:5])
        found, theirs = timed(lambda loop=loop: loop(model, batch))
        expected = detector.reconstruction_probability(few)[: len(batch)]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
        work = f"expected log prob, {n_draws} draws, per row"
        report.lines.append(faster(work, ours, name, theirs / len(batch), aim))
    report.notes.append(
        f"The loops were measured once, on {len(batch)} rows, with the same networks and draws; "
        "their scores equal the library's."
    )
    return report


def pyod_score_work(plan: Plan, device: str) -> Report:
    rows = parts.made_rows(plan.score_rows, seed=1)
    try:
        rival = parts.fit_pyod(parts.made_rows(500, seed=0), "cpu")
    except ImportError as error:
        return Report(notes=[f"PyOD VAE was not measured, it cannot be imported: {error}."])
    detector = fitted(plan)
    ours = parts.median_seconds(lambda: detector.score_samples(rows), plan.repeat)
    theirs = parts.median_seconds(lambda: rival(rows), plan.repeat)
    work = f"score {len(rows):,} x {rows.shape[1]}"
    return Report([faster(work, ours, "PyOD VAE", theirs, 1.0)])


def memory_work(plan: Plan, device: str) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.safetensors"
        save(fitted(plan), model)
        (low, _), (high, seconds) = runs = [parts.peak_of_score(model, n) for n in plan.file_rows]
    few, many = plan.file_rows
    slow, fast = (n / s for n, (_, s) in zip(plan.file_rows, runs, strict=True))
    bare = parts.peak_of([sys.executable, "-c", "import improbable.cli, torch"])
    work, beside = f"`improbable score`, {many:,} rows", f"{few:,} rows"
    above = (high - bare) / 1e9
    cells = (f"{work}: peak memory above the imports", mebibytes(high - bare))
    lines = [
        Line(f"{work}: peak memory", mebibytes(high), beside, mebibytes(low), high / low, "x"),
        Line(*cells, "the imports", mebibytes(bare), above, "GB", 1.5, at_most=True),
        Line(f"{work}: rows/s", f"{fast:,.0f}", beside, f"{slow:,.0f}", fast / slow, "x"),
    ]
    said = (
        f"`improbable score` took {duration(seconds)} for the longer file, the start of the "
        "process and all output included. Files were measured once."
    )
    return Report(lines, notes=[said])


def cold_work(plan: Plan, device: str, n_rows: int = 1_000) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        model, source = Path(folder) / "model.safetensors", Path(folder) / "rows.parquet"
        save(fitted(plan), model)
        parts.write_rows(source, n_rows)
        command = parts.score_command(model, source)
        ours = parts.median_seconds(lambda: parts.output_of(command), plan.repeat)
    bare = [sys.executable, "-c", "import torch"]
    of_torch = parts.median_seconds(lambda: parts.output_of(bare), plan.repeat)
    cells = (f"`improbable score`, {n_rows:,} rows, cold", duration(ours), "`import torch` alone")
    return Report([Line(*cells, duration(of_torch), ours, "s", 4.0, at_most=True)])


def growth_work(plan: Plan, device: str) -> Report:
    body = []
    for axis, value, n_rows, n_columns, arguments in parts.growth_points(plan):
        rows = parts.made_rows(n_rows, 0, n_columns)
        seconds = parts.growth_seconds(rows, plan.few, **arguments)
        body.append((axis, value, *seconds))
        print(f"  {value:,} {axis}: fit, score {' '.join(map(duration, seconds))}", flush=True)
    cells = [(axis, f"{value:,}", *map(duration, both)) for axis, value, *both in body]
    title = (
        f"**How cost grows** ({plan.growth_rows:,} rows of 30 columns where not said otherwise)"
    )
    blocks = [title, "", *table(("", "number", "fit", "score"), cells)]
    return Report(blocks=blocks, growth=body)


WORK: dict[str, Callable[[Plan, str], Report]] = {
    "fit": fit_work,
    "large": large_work,
    "step": step_work,
    "draws": draws_work,
    "one-row": one_row_work,
    "loops": loops_work,
    "score": pyod_score_work,
    "memory": memory_work,
    "cold": cold_work,
    "growth": growth_work,
}
ON_GPU = ("fit", "large", "step")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for and return the exit status."""
    options = parsed(argv)
    place = "long" if options.rows else "speed"
    check_markers(options.markdown, place)
    context = environment("scikit-learn", "pyod")
    print("\n".join(context), flush=True)
    plan, whole = planned(options), Report()
    if options.quick:
        context = ["A quick run, on fewer rows.", *context]
    VAEDetector(random_state=0).fit(parts.made_rows(256, seed=0))
    for name, device in runs(options.rows_of_work):
        print(f"{name}{on(device)} ...", flush=True)
        report, seconds = timed(partial(WORK[name], plan, device))
        print("\n".join([*said(report), f"  ({duration(seconds)} in all)"]), flush=True)
        whole = whole + report
        write(options.markdown, whole, [method(plan), *context], place)
    print("\n" + "\n".join([*document(whole, None), "", *whole.notes, method(plan)]))
    return 0


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer rows, each measured once unless --repeat")
    add("--rows-of-work", nargs="+", choices=WORK, default=list(WORK), metavar="NAME")
    add("--repeat", type=positive, metavar="N", help="show medians of N; default: 5")
    add(
        "--rows",
        type=positive,
        metavar="N",
        help="length of the longer file of `memory`; the shorter has a hundredth",
    )
    add("--markdown", type=Path, metavar="FILE", help="write the table there")
    options = parser.parse_args(argv)
    if options.rows and "memory" not in options.rows_of_work:
        parser.error("--rows is the length of a file of `memory`, which is not asked for")
    return options


def planned(options: argparse.Namespace) -> Plan:
    plan = Plan(quick=options.quick, **(parts.QUICK if options.quick else {}))
    plan = replace(plan, repeat=options.repeat or (1 if options.quick else plan.repeat))
    few, many = plan.file_rows
    asked = options.rows or many
    return replace(plan, file_rows=(max(few, asked // 100) if options.rows else few, asked))


def runs(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield names with their devices, in the order of the page."""
    devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    for name in WORK:
        if name in names:
            yield from ((name, device) for device in (devices if name in ON_GPU else devices[:1]))


def said(report: Report) -> list[str]:
    rows = [" | ".join(filter(None, line.cells())) for line in report.lines]
    return [f"  {words}" for words in (*rows, *report.blocks, *report.notes) if words]


def method(plan: Plan) -> str:
    """Say how often things were measured, and whether on a GPU too."""
    often = (
        f"Seconds are medians of {plan.repeat}; those of `large`, `draws` and `growth`, medians "
        f"of {plan.few}."
    )
    gpu = "" if torch.cuda.is_available() else " There is no GPU in this machine."
    return (often if plan.repeat > 1 else "Everything was measured once.") + gpu


def document(whole: Report, picture: str | None) -> list[str]:
    """Assemble the table, then the further tables, then the picture."""
    rows = table(HEADER, [line.cells() for line in whole.lines], n_names=1) if whole.lines else []
    drawn = ["", f"![Seconds of fitting and scoring]({picture})"] if picture else []
    return [*rows, *([""] if rows and whole.blocks else []), *whole.blocks, *drawn]


def write(path: Path | None, whole: Report, context: Sequence[str], place: str) -> None:
    if path is None:
        return
    picture = "images/scaling.png" if whole.growth else None
    if picture:
        parts.plot_growth(whole.growth, path.parent / picture)
    write_between_markers(path, document(whole, picture), [*whole.notes, *context], place)


if __name__ == "__main__":
    sys.exit(main())
