"""One training loop: early stop on the held-out ELBO, best weights kept, every ending named."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from typing import cast

import torch
from torch import Tensor

from improbable.networks import owners, share_storage
from improbable.objective import elbo
from improbable.schedules import Reliance, one_cycle
from improbable.vae import VAE, Batch, aligned, component_note

ACTIVE_UNIT = 0.01
MAX_ROLLBACKS = 5
VALIDATION_ROWS = 2048
WINSOR = 10.0
SMALL_STEP = 1e9
LARGEST_GRADIENT = 100.0
MOST_AHEAD = 16
ENTRIES_AHEAD = 2_000_000


class StopReason(Enum):
    """How a training run ended, each with its remedy."""

    CONVERGED = "the held-out ELBO stopped rising"
    MAX_STEPS = (
        "max_steps reached while the held-out ELBO was still rising: that suits detection; "
        "raise max_steps for closer reconstructions and samples"
    )
    INTERRUPTED = "interrupted: the best weights so far are kept; refit goes on, fit starts anew"
    NON_FINITE = (
        "the loss became non-finite again and again: lower learning_rate, or look for columns "
        "of extreme values; the best weights so far are kept"
    )


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run.

    Attributes
    ----------
    max_steps, batch_size : int
        Optimizer steps at most, and rows in each.
    learning_rate : float
        Peak of the one-cycle schedule.
    mask_rate : float
        Largest share of a row's cells hidden from the encoder.
    patience : int
        Checks without a better held-out ELBO before training stops, in the
        second half of `max_steps`.
    checks : int
        Looks at the held-out rows over `max_steps`.
    reliance : Reliance
        What keeps a decoder that looks back from ignoring z.
    """

    max_steps: int = 80
    batch_size: int = 128
    learning_rate: float = 3e-3
    mask_rate: float = 0.25
    patience: int = 2
    checks: int = 12
    reliance: Reliance = Reliance()


@dataclass(frozen=True, repr=False)
class History:
    """What happened during training.

    Attributes
    ----------
    steps : tuple of int
        Steps at which the held-out rows were looked at.
    train_elbo, held_out_elbo : tuple of float
        Nats a row, mean over members, at those steps.
    best_elbo : tuple of float
        Best held-out ELBO of each member.
    best_step : int
        Step of the best mean over members.
    stop_reason : str
        Name in `StopReason`.
    message : str
        The reason and its remedy, and a note on collapse or roll-backs.
    active_units : tuple of int
        Latent dimensions of each member that carry information: the variance
        over rows of the posterior mean is above 0.01 (Burda et al., 2016).
    rollbacks : int
        Non-finite steps undone.
    """

    steps: tuple[int, ...]
    train_elbo: tuple[float, ...]
    held_out_elbo: tuple[float, ...]
    best_elbo: tuple[float, ...]
    best_step: int
    stop_reason: str
    message: str
    active_units: tuple[int, ...]
    rollbacks: int

    def __repr__(self) -> str:
        elbo = sum(self.best_elbo) / len(self.best_elbo)
        return (
            f"<History: {self.stop_reason}, best held-out ELBO {elbo:.2f} nats at step "
            f"{self.best_step}, active latent dimensions {list(self.active_units)}>"
        )


Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class DataParallel:
    """One of several processes that take every step together, each on its rows of the batch.

    All of them draw the same batches, masks and noise, so their gradients add up to that of one
    process, and their weights stay equal.

    Attributes
    ----------
    rank, world_size : int
        This process among how many.
    all_reduce : callable
        Adds up a tensor over the processes, in place.
    """

    rank: int
    world_size: int
    all_reduce: Callable[[Tensor], object]

    def own(self, n: int) -> slice:
        """Rows of a batch of `n` that are this process's."""
        return slice(n * self.rank // self.world_size, n * (self.rank + 1) // self.world_size)

    def average(self, tensor: Tensor, weight: float) -> Tensor:
        """Weighted sum of a tensor over the processes, in place."""
        self.all_reduce(tensor.mul_(weight))
        return tensor


def fit(
    vae: VAE,
    rows: Batch,
    held_out: Batch,
    config: TrainConfig,
    generator: torch.Generator,
    progress: Progress | None = None,
    parallel: DataParallel | None = None,
) -> History:
    """Train a VAE in place.

    Parameters
    ----------
    vae : VAE
        Its weights become those with the best held-out ELBO, member by member.
    rows, held_out : Batch
        Rows to learn from, and rows to decide on.
    config : TrainConfig
    generator : torch.Generator
        Source of batches, masks and noise, on the device of the rows.
    progress : callable, optional
        Called with (step, max_steps, held-out ELBO) at every look.
    parallel : DataParallel, optional
        The processes that share the work, each called with the same arguments.

    Returns
    -------
    History
    """
    rows = replace(rows, values=rows.values.clamp(-WINSOR, WINSOR))
    held_out = held_out[:VALIDATION_ROWS]
    held_out = replace(held_out, values=held_out.values.clamp(-WINSOR, WINSOR))
    with _few_threads(vae, config):
        run = _Run(vae, rows, held_out, config, generator, parallel)
        reason = run.loop(progress)
        run.restore_best()
        return run.history(reason)


@contextmanager
def _few_threads(vae: VAE, config: TrainConfig) -> Iterator[None]:
    """One thread while steps are so small that a second one would mostly wait.

    On a busy machine threads that wait for each other at every small product
    cost far more than they save.
    """
    weights = sum(p.numel() for p in vae.parameters())
    convolves = any(p.dim() > 3 for p in vae.parameters())
    threads = torch.get_num_threads()
    if not convolves and 6 * weights * config.batch_size < SMALL_STEP:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Run:
    """State of one training run."""

    def __init__(
        self,
        vae: VAE,
        rows: Batch,
        held_out: Batch,
        config: TrainConfig,
        generator: torch.Generator,
        parallel: DataParallel | None = None,
    ) -> None:
        self.parallel = parallel
        self.vae, self.rows, self.held_out = vae, rows, held_out
        self.config, self.generator = config, generator
        self.rate = config.learning_rate
        self.rollbacks, self.step, self.stale = 0, 0, 0
        self.steps: list[int] = []
        self.train_curve: list[float] = []
        self.held_out_curve: list[float] = []
        self.noise = self._normal(vae.n_members, len(held_out), vae.latent_dim)
        self.batches = self.drawn_batches()
        self.weights, self.owner = share_storage(vae), owners(vae)
        self.new_optimizer()
        self.best = self.weights.clone()
        self.best_elbo = self.held_out_elbo()
        self.best_mean, self.best_step = float(self.best_elbo.mean()), 0

    def _normal(self, *shape: int) -> Tensor:
        like = self.rows.values
        return torch.randn(shape, generator=self.generator, dtype=like.dtype, device=like.device)

    def new_optimizer(self) -> None:
        self.optimizer = torch.optim.Adam(
            [self.weights], lr=self.rate, betas=(0.9, 0.99), fused=True
        )

    def loop(self, progress: Progress | None) -> StopReason:
        every = max(1, self.config.max_steps // self.config.checks)
        total, count = 0.0, 0
        try:
            while self.step < self.config.max_steps:
                loss = self.take_step()
                total, count = total + loss, count + 1
                if not math.isfinite(loss) and not self.roll_back():
                    return StopReason.NON_FINITE
                if not math.isfinite(loss):
                    total, count = 0.0, 0
                self.step += 1
                if self.step % every == 0 or self.step == self.config.max_steps:
                    self.look(-total / max(count, 1))
                    total, count = 0.0, 0
                    if progress is not None:
                        progress(self.step, self.config.max_steps, self.held_out_curve[-1])
                    if self.gave_up():
                        return StopReason.CONVERGED
        except KeyboardInterrupt:
            if count:
                self.look(-total / count)
            return StopReason.INTERRUPTED
        return StopReason.CONVERGED if self.stale else StopReason.MAX_STEPS

    def gave_up(self) -> bool:
        """Whether training may stop: never while the learning rate is still high."""
        halfway = 2 * self.step >= self.config.max_steps
        return halfway and self.stale >= self.config.patience

    def take_step(self) -> float:
        batch, visible, noise = next(self.batches)
        reliance, heard = self.config.reliance, self.draw_heard()
        weight = reliance.kl_weight(self.step / self.config.max_steps)
        bound = elbo(self.vae, batch, visible, noise, weight, heard, reliance.free_nats)
        loss = -bound.mean(dim=1).sum()
        gradient = cast(Tensor, self.weights.grad)
        gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        value = self.pooled(loss.detach()).item() / self.vae.n_members
        if math.isfinite(value):
            gradient.mul_((LARGEST_GRADIENT / gradient.norm()).clamp(max=1.0))
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate * one_cycle(self.step / self.config.max_steps)
            self.optimizer.step()
        return value

    def pooled(self, loss: Tensor) -> Tensor:
        """Loss of the whole batch, as its gradient is then, if each process saw only some rows."""
        if self.parallel is None:
            return loss
        size = min(self.config.batch_size, len(self.rows))
        rows = self.parallel.own(size)
        weight = (rows.stop - rows.start) / size
        self.parallel.average(cast(Tensor, self.weights.grad), weight)
        return self.parallel.average(loss, weight)

    def drawn_batches(self) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        """Rows, what the encoder may see of them, and noise: drawn for many steps at once."""
        vae, size = self.vae, min(self.config.batch_size, len(self.rows))
        entries = size * max(self.rows.values.shape[1], vae.n_members * vae.latent_dim)
        n_steps = max(1, min(MOST_AHEAD, ENTRIES_AHEAD // entries))
        own = slice(None) if self.parallel is None else self.parallel.own(size)
        order = torch.empty(0, dtype=torch.long, device=self.rows.values.device)
        while True:
            while len(order) < n_steps * size:
                order = torch.cat([order, self._permutation()])
            index, order = order[: n_steps * size].view(n_steps, size), order[n_steps * size :]
            batches = self.rows[index[:, own]].aligned()
            visible = aligned(batches.observed * self.draw_masks(n_steps, size)[:, own])
            noise = aligned(self._normal(n_steps, vae.n_members, size, vae.latent_dim)[:, :, own])
            yield from ((batches[i], visible[i], noise[i]) for i in range(n_steps))

    def _permutation(self) -> Tensor:
        device = self.rows.values.device
        return torch.randperm(len(self.rows), generator=self.generator, device=device)

    def draw_masks(self, *shape: int) -> Tensor:
        """1 where the encoder may look: half of the rows whole, the others with cells hidden."""
        device = self.rows.values.device
        rate = torch.rand((*shape, 1), generator=self.generator, device=device)
        rate = (2.0 * rate - 1.0).clamp(min=0.0) * self.config.mask_rate
        drawn = torch.rand((*shape, self.vae.n_cells), generator=self.generator, device=device)
        return (drawn >= rate).to(self.rows.values.dtype)[..., self.vae.part_cell]

    def draw_heard(self) -> Tensor | None:
        """1 where the decoder may look back at a cell; None if everywhere."""
        size = min(self.config.batch_size, len(self.rows))
        heard = self.config.reliance.heard(self.rows.values, size, self.generator)
        return heard if heard is None or self.parallel is None else heard[self.parallel.own(size)]

    def roll_back(self) -> bool:
        """Best weights again, at a lower rate; False when that was done too often."""
        self.rollbacks += 1
        self.rate *= 0.3
        self.restore_best()
        self.new_optimizer()
        return self.rollbacks <= MAX_ROLLBACKS

    @torch.no_grad()
    def held_out_elbo(self) -> Tensor:
        """Mean held-out ELBO of each member."""
        found = elbo(self.vae, self.held_out, self.held_out.observed, self.noise).mean(dim=1)
        if self.parallel is not None:  # so that all of them stop at the same step
            self.parallel.average(found, 1.0 / self.parallel.world_size)
        return found

    def look(self, train_elbo: float) -> None:
        found = self.held_out_elbo()
        better = found > self.best_elbo
        self.best_elbo = torch.where(better, found, self.best_elbo)
        self.best = torch.where(better[self.owner], self.weights, self.best)
        self.steps.append(self.step)
        self.train_curve.append(train_elbo)
        self.held_out_curve.append(float(found.mean()))
        improved = float(self.best_elbo.mean()) > self.best_mean + 1e-3
        self.stale = 0 if improved else self.stale + 1
        if improved:
            self.best_mean, self.best_step = float(self.best_elbo.mean()), self.step

    def restore_best(self) -> None:
        self.weights.copy_(self.best)

    def history(self, reason: StopReason) -> History:
        active = active_units(self.vae, self.held_out)
        message = _message(reason, active, self.vae.latent_dim, self.rollbacks)
        message += component_note(self.vae, self.held_out)
        return History(
            steps=tuple(self.steps),
            train_elbo=tuple(self.train_curve),
            held_out_elbo=tuple(self.held_out_curve),
            best_elbo=tuple(self.best_elbo.tolist()),
            best_step=self.best_step,
            stop_reason=reason.name.lower(),
            message=message,
            active_units=tuple(active),
            rollbacks=self.rollbacks,
        )


@torch.no_grad()
def active_units(vae: VAE, rows: Batch) -> list[int]:
    """Latent dimensions of each member whose posterior mean varies over rows."""
    loc = vae.encode(rows.values, rows.observed).mean
    return [int(n) for n in (loc.var(dim=1, correction=0) > ACTIVE_UNIT).sum(dim=-1)]


def _message(reason: StopReason, active: list[int], latent_dim: int, rollbacks: int) -> str:
    notes = [reason.value]
    if min(active) == 0:
        notes.append(
            f"posterior collapse: {active.count(0)} of {len(active)} members use none of their "
            f"{latent_dim} latent dimensions, so z tells nothing of what it decodes; that is "
            "right where all of it is independent, otherwise add rows or lower latent_dim"
        )
    if rollbacks:
        notes.append(f"{rollbacks} non-finite steps were rolled back at a lower learning rate")
    return "; ".join(notes)
