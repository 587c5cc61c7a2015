"""What `speed.py` measures with: made rows, rivals, counted products, processes, table rows."""

from __future__ import annotations

import copy
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from peers import Scorer
from report import table
from scale import PEAK_OF_COMMAND, command_line, timed
from torch.distributions import MultivariateNormal

from improbable import VAEDetector, scores, training
from improbable.model import Model
from improbable.vae import VAE, Batch

N_COLUMNS, N_FACTORS, NOISE = 30, 8, 0.3
SHARE = 0.01  # of anomalies among the test rows
PIECE = 100_000

GROWTH: dict[str, tuple[int, ...]] = {
    "rows": (1_000, 10_000, 100_000, 1_000_000),
    "columns": (5, 10, 30, 100, 200),
    "draws": (1, 4, 16, 64),
    "members": (1, 2, 4, 8),
}

Product = tuple[int, int, int, int]  # members, rows of the left, what is summed over, columns
Network = Any


@dataclass(frozen=True)
class Plan:
    """How many rows each row of work takes, and how often; `few` is for what takes long."""

    repeat: int = 5
    quick: bool = False
    fit_rows: int = 100_000
    test_rows: int = 20_000
    large_rows: int = 1_000_000
    draws_rows: int = 1_000_000
    score_rows: int = 100_000
    loop_rows: int = 300
    steps: int = 200
    once: int = 200
    file_rows: tuple[int, int] = (100_000, 1_000_000)
    growth_rows: int = 100_000

    @property
    def few(self) -> int:
        return min(3, self.repeat)


QUICK: dict[str, Any] = {
    "fit_rows": 1_500,
    "test_rows": 5_000,
    "large_rows": 30_000,
    "draws_rows": 200_000,
    "score_rows": 20_000,
    "loop_rows": 50,
    "steps": 20,
    "once": 50,
    "growth_rows": 2_000,
    "file_rows": (1_000, 10_000),
}


def growth_points(plan: Plan) -> Iterator[tuple[str, int, int, int, dict[str, int]]]:
    """Yield (axis, value, rows, columns, arguments); a quick run leaves out the two largest."""
    for axis, values in GROWTH.items():
        for value in values[:-2] if plan.quick else values:
            n_rows = value if axis == "rows" else plan.growth_rows
            n_columns = value if axis == "columns" else N_COLUMNS
            named = {"draws": "n_draws", "members": "n_members"}
            arguments = {named[axis]: value} if axis in named else {}
            yield axis, value, n_rows, n_columns, arguments


def pieces(n_rows: int, seed: int, n_columns: int = N_COLUMNS) -> Iterator[np.ndarray]:
    """Normal rows, at most 100,000 at a time: the same rules for every seed.

    Columns mix eight factors, every third through a sine, and all have noise of their own.
    """
    loadings = np.random.default_rng(0).normal(size=(N_FACTORS, n_columns)) / N_FACTORS**0.5
    for place, start in enumerate(range(0, n_rows, PIECE)):
        rng = np.random.default_rng((seed, place))
        factors = rng.normal(size=(min(PIECE, n_rows - start), N_FACTORS))
        rows = factors @ loadings
        rows[:, ::3] = np.sin(rows[:, ::3])
        rows += NOISE * rng.normal(size=rows.shape)
        yield rows


def made_rows(n_rows: int, seed: int, n_columns: int = N_COLUMNS) -> np.ndarray:
    return np.concatenate(list(pieces(n_rows, seed, n_columns)))


def planted_rows(n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and which are anomalies: a third each of three kinds.

    Half of the cells are those of another normal row; or further noise is added to all; or the
    whole row is stretched to twice its size.
    """
    rows, n_anomalies = made_rows(n_rows, seed), max(3, round(SHARE * n_rows))
    rng = np.random.default_rng(seed)
    broken, noisy, stretched = np.array_split(np.arange(n_anomalies), 3)
    others, swapped = made_rows(len(broken), seed + 1), rng.random((len(broken), N_COLUMNS)) < 0.5
    rows[broken] = np.where(swapped, others, rows[broken])
    rows[noisy] += 3.0 * NOISE * rng.normal(size=(len(noisy), N_COLUMNS))
    rows[stretched] *= 2.0
    return rows, np.arange(n_rows) < n_anomalies


def median_seconds(action: Callable[[], Any], repeat: int) -> float:
    return median(timed(action)[1] for _ in range(repeat))


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit_pyod(rows: np.ndarray, device: str) -> Scorer:
    """Fit PyOD's VAE, everything but the device at its default."""
    from pyod.models import vae

    return (
        vae.VAE(random_state=0, verbose=0, device=torch.device(device)).fit(rows).decision_function
    )


def fit_pythae(rows: np.ndarray, device: str) -> Scorer:
    """Fit pythae's VAE at its defaults; the score is the squared error of the reconstruction.

    Its default decoder ends in a sigmoid, so rows are brought between 0 and 1.
    """
    from pythae import models
    from pythae.trainers import BaseTrainerConfig

    low, high = rows.min(axis=0), rows.max(axis=0)
    scaled = ((rows - low) / (high - low)).astype(np.float32)
    model = models.VAE(models.VAEConfig(input_dim=(rows.shape[1],)))
    with tempfile.TemporaryDirectory() as folder:
        train_pythae(model, scaled, BaseTrainerConfig(output_dir=folder, no_cuda=device == "cpu"))
    model.to("cpu").eval()

    def score(new: np.ndarray) -> np.ndarray:
        inputs = torch.tensor((new - low) / (high - low), dtype=torch.float32)
        with torch.no_grad():
            return (inputs - model.reconstruct(inputs)).square().sum(dim=1).numpy()

    return score


def train_pythae(model: Any, rows: np.ndarray, config: Any) -> None:
    """Run its training pipeline, without the bar it prints for each epoch."""
    from pythae.pipelines import TrainingPipeline

    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            TrainingPipeline(training_config=config, model=model)(train_data=rows)
    finally:
        logging.disable(before)


def forest_scores(train: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Fit an isolation forest and score, with as many threads as torch has."""
    from joblib import parallel_config
    from sklearn.ensemble import IsolationForest

    with parallel_config("threading", n_jobs=torch.get_num_threads()):
        return IsolationForest(random_state=0).fit(train).score_samples(new)


def shapes(network: Network) -> list[tuple[int, int, int]]:
    """(members, inputs, outputs) of each layer, and last of the linear path around them."""
    return [
        tuple(map(int, w.shape)) for w in (*(one.weight for one in network.layers), network.linear)
    ]


def forward_products(network: Network, n_rows: int) -> list[Product]:
    return [(members, after, before, n_rows) for members, before, after in shapes(network)]


def backward_products(network: Network, n_rows: int, *, of_data: bool) -> list[Product]:
    """Products for the gradients of the weights and, unless the inputs are data, of the inputs."""
    layers = shapes(network)
    inner = layers[1:-1] if of_data else layers
    return [
        *((members, before, n_rows, after) for members, before, after in layers),
        *((members, before, after, n_rows) for members, before, after in inner),
    ]


def step_products(vae: VAE, n_rows: int) -> list[Product]:
    """Every matrix product of a training step."""
    return [
        *forward_products(vae.encoder, n_rows),
        *forward_products(vae.decoder, n_rows),
        *backward_products(vae.decoder, n_rows, of_data=False),
        *backward_products(vae.encoder, n_rows, of_data=True),
    ]


def operations(products: Sequence[Product]) -> int:
    """Count the multiplications and additions."""
    return sum(2 * members * m * k * n for members, m, k, n in products)


def product_seconds(
    products: Sequence[Product], dtype: torch.dtype, device: str, times: int, repeat: int
) -> float:
    """Return the seconds of running all products once, the mean over `times` in a row."""
    places = [
        [
            torch.rand(shape, dtype=dtype, device=device)
            for shape in ((b, m, k), (b, k, n), (b, m, n))
        ]
        for b, m, k, n in products
    ]

    def run(n: int) -> None:
        for _ in range(n):
            for left, right, out in places:
                torch.bmm(left, right, out=out)
        if device == "cuda":
            torch.cuda.synchronize()

    run(1)
    return median_seconds(partial(run, times), repeat) / times


def training_inputs(rows: np.ndarray, **arguments: Any) -> tuple[Any, ...]:
    """Return what a detector's fit hands to the training loop."""
    seen: list[tuple[Any, ...]] = []

    def watched(*given: Any) -> Any:
        seen.append((copy.deepcopy(given[0]), *given[1:5]))
        return fit(*given)

    fit = training.fit
    with patch.object(training, "fit", watched):
        VAEDetector(max_steps=1, random_state=0, **arguments).fit(rows)
    return seen[0]


def step_seconds(inputs: tuple[Any, ...], n_steps: int) -> tuple[float, int]:
    """Seconds of a training step, drawing of batches included, and the threads it had."""
    vae, rows, held_out, config, generator = inputs
    config = replace(config, max_steps=n_steps, checks=1)
    had: list[int] = []

    def look(*_: Any) -> None:
        had.append(torch.get_num_threads())

    learner, few = copy.deepcopy(vae), held_out[: min(256, len(held_out))]
    _, seconds = timed(lambda: training.fit(learner, rows, few, config, generator, look))
    return seconds / n_steps, had[0]


STAGES = {
    "encoder": "posterior",
    "drawing": "z",
    "decoder": "decoded",
    "log prob": "log_prob",
    "prior KL": "kl",
}


@torch.no_grad()
def stage_seconds(model: Model, rows: np.ndarray) -> dict[str, float]:
    """Seconds of each part of scoring by the ELBO."""
    spent = dict.fromkeys(("codec", *STAGES), 0.0)

    def stage(name: str, action: Callable[[], Any]) -> Any:
        value, seconds = timed(action)
        spent[name] += seconds
        return value

    encoded = stage("codec", lambda: model.codec.transform(rows))
    blocks = model.blocks(encoded)
    while (item := stage("codec", lambda: next(blocks, None))) is not None:
        draws = scores.draw(model.vae, item[1], model.noise, prior=model.prior)
        for name, attribute in STAGES.items():
            stage(name, partial(getattr, draws, attribute))
    return spent


@torch.no_grad()
def loop_over_rows(model: Model, batch: Batch) -> np.ndarray:
    """Expected log prob, one row encoded, drawn and decoded at a time."""
    found = []
    for i in range(len(batch)):
        row = batch[i : i + 1]
        posterior = model.vae.encode(row.values, row.observed)
        loc, scale = posterior.mean.unsqueeze(1), posterior.stddev.unsqueeze(1)
        decoded = model.vae.decode(loc + scale * model.noise[:, None, :])
        found.append(float(decoded.log_prob(row.values, row.observed).mean()))
    return np.array(found) + batch.offsets.sum(-1).numpy()


@torch.no_grad()
def loop_over_draws(model: Model, batch: Batch) -> np.ndarray:
    """The same, one draw at a time, each row judged by a Normal with a covariance matrix."""
    found = []
    for i in range(len(batch)):
        row = batch[i : i + 1]
        posterior = model.vae.encode(row.values, row.observed)
        total = 0.0
        for noise in model.noise:
            decoded = model.vae.decode(posterior.mean + posterior.stddev * noise)
            normal = MultivariateNormal(decoded.mean, torch.diag_embed(decoded.variance))
            total += float(normal.log_prob(row.values).mean())
        found.append(total / len(model.noise))
    return np.array(found) + batch.offsets.sum(-1).numpy()


def write_rows(path: Path, n_rows: int) -> None:
    """Write made rows to a Parquet file in single precision, piece by piece."""
    names = [f"x{i}" for i in range(N_COLUMNS)]
    schema = pa.schema([(name, pa.float32()) for name in names])
    with pq.ParquetWriter(path, schema, use_dictionary=False) as writer:
        for rows in pieces(n_rows, seed=2):
            columns = rows.T.astype(np.float32)
            writer.write_table(pa.table(dict(zip(names, columns, strict=True)), schema=schema))


def score_command(model: Path, source: Path) -> list[str]:
    """Return the command that scores a file."""
    target = model.with_name("scored.parquet")
    return [str(command_line()), "score", str(source), "-m", str(model), "-o", str(target)]


def peak_of_score(model: Path, n_rows: int) -> tuple[int, float]:
    """Return the peak resident bytes and the seconds of `improbable score` on a file of rows."""
    source = model.with_name("rows.parquet")
    write_rows(source, n_rows)
    return timed(lambda: peak_of(score_command(model, source)))


def peak_of(command: Sequence[str]) -> int:
    """Return the peak resident bytes of a command."""
    return int(output_of([sys.executable, "-c", PEAK_OF_COMMAND, *command]))


def output_of(command: Sequence[str]) -> str:
    """Run a command; where it fails, show why."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[-8:])} failed:\n{done.stderr}")
    return done.stdout


def growth_seconds(rows: np.ndarray, repeat: int, **arguments: Any) -> tuple[float, float]:
    """Return the median seconds of a fit, and of scoring the same rows."""
    fits, scorings = [], []
    for seed in range(repeat):
        detector = VAEDetector(random_state=seed, device="cpu", **arguments)
        fits.append(timed(partial(detector.fit, rows))[1])
        scorings.append(timed(partial(detector.score_samples, rows))[1])
    return median(fits), median(scorings)


@dataclass(frozen=True)
class Line:
    """A row of the table: what was measured, beside what, and whether the aim is reached.

    `ratio` is in `unit`; `also` is what must hold besides for the aim to be reached.
    """

    work: str
    ours: str
    beside: str
    theirs: str
    ratio: float
    unit: str
    aim: float | None = None
    at_most: bool = False
    also: bool = True

    def reached(self) -> bool | None:
        if self.aim is None:
            return None
        return self.also and (self.ratio <= self.aim if self.at_most else self.ratio >= self.aim)

    def cells(self) -> tuple[str, ...]:
        bound = "at most" if self.at_most else "at least"
        aim = "" if self.aim is None else f"{bound} {self.aim:,g} {self.unit}"
        reached = {None: "", True: "yes", False: "no"}[self.reached()]
        ratio = f"{figure(self.ratio)} {self.unit}"
        return (self.work, self.ours, self.beside, self.theirs, ratio, aim, reached)


@dataclass
class Report:
    """What one row of work found: rows of the table, further tables, sentences."""

    lines: list[Line] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    growth: list[tuple[str, int, float, float]] = field(default_factory=list)

    def __add__(self, then: Report) -> Report:
        gap = [""] if self.blocks and then.blocks else []
        return Report(
            self.lines + then.lines,
            self.blocks + gap + then.blocks,
            self.notes + then.notes,
            self.growth + then.growth,
        )


def figure(number: float) -> str:
    """Three digits that count, and no exponent."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def duration(seconds: float) -> str:
    if seconds >= 1:
        return f"{figure(seconds)} s"
    return f"{figure(1e3 * seconds)} ms" if seconds >= 1e-3 else f"{figure(1e6 * seconds)} µs"


def mebibytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def faster(work: str, ours: float, beside: str, theirs: float, aim: float) -> Line:
    """How many times faster this library is."""
    return Line(work, duration(ours), beside, duration(theirs), theirs / ours, "x", aim)


def share(work: str, ours: float, beside: str, theirs: float, aim: float) -> Line:
    """What part of the seconds the machine would need at its own rate."""
    ratio = 100 * theirs / ours
    return Line(work, duration(ours), beside, duration(theirs), ratio, "%", aim)


def stage_table(spent: dict[str, float]) -> list[str]:
    total = sum(spent.values())
    body = [(name, duration(s), f"{100 * s / total:.1f} %") for name, s in spent.items()]
    return table(("part of scoring", "time", "share"), body)


def plot_growth(points: Sequence[tuple[str, int, float, float]], path: Path) -> None:
    """Draw seconds over each axis on logarithmic scales; the dotted line is proportional."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(12, 3.2), layout="constrained")
    axes = list(dict.fromkeys(point[0] for point in points))
    grid = canvas.subplots(1, len(axes), sharey=True, squeeze=False)[0]
    for panel, axis in zip(grid, axes, strict=True):
        number, fit, score = np.array([point[1:] for point in points if point[0] == axis]).T
        panel.loglog(number, fit, "o-", label="fit")
        panel.loglog(number, score, "s-", label="score")
        panel.loglog(number, score[-1] * number / number[-1], ":", color="grey", linewidth=1)
        panel.set_xticks(number, [f"{n:,.0f}" for n in number])
        panel.minorticks_off()
        panel.set(xlabel=axis)
        panel.grid(visible=True, which="major", alpha=0.3)
    canvas.axes[0].set_ylabel("seconds")
    canvas.axes[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=150)
