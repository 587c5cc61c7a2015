"""Settings chosen without labels: those that give rows kept out of training the highest score.

The bound on log p(x) of rows that a model never saw needs no labels, and
compares models of one encoding. It says which model knows the rows best; that
need not be the model that ranks anomalies best, so the space stays near the
defaults.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from improbable.data.codec import Source
from improbable.errors import ImprobableError, ImprobableWarning, TrainingWarning
from improbable.fitting import Settings, fit_source, learned_rows

SELECTION_FRACTION = 0.3
FEWEST_ROWS, MOST_ROWS = 100, 20_000
STEP_FACTORS = (1, 2, 4)
SPACE: dict[str, tuple[Any, ...]] = {
    "latent_dim": (4, 8, 16, 32),
    "hidden": ((64,), (128,), (256,), (128, 128)),
    "max_steps": STEP_FACTORS,
    "learning_rate": (1e-3, 3e-3, 1e-2),
}

TuningProgress = Callable[[int, float], None]


@dataclass(frozen=True)
class Trial:
    """One choice of settings.

    Attributes
    ----------
    settings : dict
        The constructor arguments that were varied.
    held_out_score : float
        Mean ELBO of rows kept out of its training, nats. The higher, the better.
    """

    settings: dict[str, Any]
    held_out_score: float


@dataclass(frozen=True)
class Tuning:
    """What was tried, in order, the defaults first.

    Attributes
    ----------
    trials : tuple of Trial
        Each choice once.
    interrupted : bool
        Whether Ctrl-C ended the search before its budget.
    """

    trials: tuple[Trial, ...]
    interrupted: bool = False

    @property
    def best(self) -> dict[str, Any]:
        """Settings of the highest held-out score; empty if nothing was tried."""
        if not self.trials:
            return {}
        return max(self.trials, key=lambda trial: trial.held_out_score).settings


def tune(
    data: Any,
    settings: Settings,
    varied: Sequence[str],
    budget: int,
    progress: TuningProgress | None = None,
) -> tuple[Settings, Tuning]:
    """Search settings by the score of held-out rows.

    The rows that will calibrate p-values take no part, so those of the final
    fit stay valid.

    Parameters
    ----------
    data : table or other items
    settings : Settings
        Where to start. Its `random_state` is an int, so that the final fit
        keeps the same rows apart.
    varied : sequence of str
        Names in `SPACE` that may change.
    budget : int
        Trials; a choice that comes up again costs one, but no time.
    progress : callable, optional
        Called with (trials so far, best held-out score).

    Returns
    -------
    settings : Settings
        With the best values.
    tuning : Tuning

    Raises
    ------
    KeyboardInterrupt
        If the search is interrupted before any model is done; later the best
        of those done is taken.

    Warns
    -----
    TrainingWarning
        If there are too few rows to compare models, or nothing to vary.
    """
    rows = learned_rows(data, settings)
    if rows.n_rows < FEWEST_ROWS or not varied:
        _say_why_not(rows.n_rows)
        return settings, Tuning(())
    search = _Search(rows.take(np.arange(min(rows.n_rows, MOST_ROWS))), settings, varied, progress)
    search.run(budget)
    tuning = Tuning(tuple(search.trials), search.interrupted)
    return changed(settings, tuning.best), tuning


def free(params: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """Names in `SPACE` that stand at their defaults; layers of the decoder count as `hidden`."""
    given = {name for name in params if params[name] != defaults[name]}
    if "decoder_hidden" in given:
        given.add("hidden")
    return [name for name in SPACE if name not in given]


def changed(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Settings with other values of names in `SPACE`; the decoder mirrors `hidden`."""
    training = {k: v for k, v in values.items() if k in ("max_steps", "learning_rate")}
    sizes = {k: v for k, v in values.items() if k not in training}
    if "hidden" in sizes:
        sizes["decoder_hidden"] = sizes["hidden"][::-1]
    return replace(settings, **sizes, train=replace(settings.train, **training))


def held_out_score(rows: Source, settings: Settings) -> tuple[float, bool]:
    """Mean ELBO of rows that a model never saw, nats, and whether Ctrl-C ended its training."""
    asked = replace(settings, calibration_fraction=SELECTION_FRACTION, score_function="elbo")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImprobableWarning)
        model = fit_source(rows, asked)
    return float(model.held_out.mean()), model.history.stop_reason == "interrupted"


class _Search:
    """The trials so far, and the function that Optuna maximizes."""

    def __init__(
        self,
        rows: Source,
        settings: Settings,
        varied: Sequence[str],
        progress: TuningProgress | None,
    ) -> None:
        self.rows, self.settings, self.progress = rows, settings, progress
        self.space = {name: SPACE[name] for name in varied}
        if "max_steps" in varied:
            self.space["max_steps"] = tuple(settings.train.max_steps * k for k in STEP_FACTORS)
        self.trials: list[Trial] = []
        self.interrupted = False

    def run(self, budget: int) -> None:
        optuna = _optuna()
        sampler = optuna.samplers.TPESampler(seed=self.settings.random_state, n_startup_trials=5)
        with _quiet():
            study = optuna.create_study(direction="maximize", sampler=sampler)
            study.enqueue_trial(self.start())
            try:
                study.optimize(self, n_trials=budget)
            except KeyboardInterrupt:
                if not self.trials:
                    raise
                self.interrupted = True

    def start(self) -> dict[str, int]:
        """Places in the space of the values to start from."""
        values = {**vars(self.settings), **vars(self.settings.train)}
        return {n: v.index(values[n]) for n, v in self.space.items() if values[n] in v}

    def __call__(self, trial: Any) -> float:
        chosen = {n: v[trial.suggest_int(n, 0, len(v) - 1)] for n, v in self.space.items()}
        known = [one.held_out_score for one in self.trials if one.settings == chosen]
        score = known[0] if known else self.attempt(chosen)
        if self.progress is not None:
            best = max(one.held_out_score for one in self.trials)
            self.progress(trial.number + 1, best)
        return score

    def attempt(self, chosen: dict[str, Any]) -> float:
        score, interrupted = held_out_score(self.rows, changed(self.settings, chosen))
        if interrupted:
            raise KeyboardInterrupt
        self.trials.append(Trial(chosen, score))
        return score


def _optuna() -> Any:
    try:
        return import_module("optuna")
    except ModuleNotFoundError as error:
        raise ImprobableError(
            "Tuning needs Optuna. Install it: pip install 'improbable[tune]'."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No line a trial from Optuna, finished or not; its own level afterwards."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _say_why_not(n_rows: int) -> None:
    why = (
        f"only {n_rows} rows to learn from, {FEWEST_ROWS} are needed to compare models"
        if n_rows < FEWEST_ROWS
        else f"{', '.join(SPACE)} are all given"
    )
    warnings.warn(
        f"The settings were not tuned: {why}. Pass more rows, or give fewer settings.",
        TrainingWarning,
        stacklevel=5,
    )
