"""Commands that make and show models."""

import sys
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from importlib.metadata import version as installed
from typing import Annotated, Any

import typer

from improbable import __version__
from improbable.cli.console import INTERRUPTED, on_terminal, print_either
from improbable.cli.options import (
    About,
    Array,
    BatchSize,
    Calendar,
    CalibrationFraction,
    CellShare,
    Contamination,
    Contrast,
    Device,
    Draws,
    Drop,
    Entity,
    Hidden,
    Input,
    InputFormat,
    Json,
    Kind,
    Label,
    LatentDim,
    LearningRate,
    Likelihood,
    MaxRows,
    MaxSteps,
    Members,
    ModelFile,
    ModelOutput,
    NetworkName,
    Normal,
    Prior,
    Quiet,
    ScoreFunction,
    ScoreOf,
    Seed,
    SequenceColumn,
    Size,
    Stride,
    Time,
    Tune,
    Unit,
    ValidationFraction,
    Window,
    with_options,
)

# Options of `fit` that are arguments of the detector, and their names there.
SETTINGS: dict[str, tuple[str, Any]] = {
    "members": ("n_members", Members),
    "draws": ("n_draws", Draws),
    "latent_dim": ("latent_dim", LatentDim),
    "hidden": ("hidden", Hidden),
    "likelihood": ("likelihood", Likelihood),
    "prior": ("prior", Prior),
    "score_function": ("score_function", ScoreFunction),
    "cell_share": ("cell_share", CellShare),
    "contamination": ("contamination", Contamination),
    "max_steps": ("max_steps", MaxSteps),
    "batch_size": ("batch_size", BatchSize),
    "learning_rate": ("learning_rate", LearningRate),
    "validation_fraction": ("validation_fraction", ValidationFraction),
    "calibration_fraction": ("calibration_fraction", CalibrationFraction),
    "device": ("device", Device),
    "tune": ("budget", Tune),
}


@with_options({name: option for name, (_, option) in SETTINGS.items()})
def fit(
    input: Input,
    output: ModelOutput,
    label: Label = None,
    normal: Normal = None,
    drop: Drop = None,
    kind: Kind = None,
    format: InputFormat = None,
    array: Array = None,
    labels: About = None,
    size: Size = None,
    contrast: Contrast = None,
    window: Window = None,
    time: Time = None,
    entity: Entity = None,
    score_of: ScoreOf = None,
    calendar: Calendar = None,
    network: NetworkName = None,
    stride: Stride = None,
    sequence: SequenceColumn = None,
    unit: Unit = None,
    max_rows: MaxRows = None,
    *,
    seed: Seed = 0,
    quiet: Quiet = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Learn what normal rows, series, sequences or images look like.

    INPUT is read, column kinds are inferred, and one model file is written. --window and the
    other options of series judge each row among its neighbors in time, --sequence the tokens
    of a column. What is not said defaults to what VAEDetector does.
    """
    _fit({**locals(), **settings})


def refit(
    input: Input,
    model: ModelFile,
    output: ModelOutput,
    label: Label = None,
    normal: Normal = None,
    drop: Drop = None,
    format: InputFormat = None,
    array: Array = None,
    labels: About = None,
    max_rows: MaxRows = None,
    contamination: Contamination = None,
    max_steps: MaxSteps = None,
    learning_rate: LearningRate = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Go on learning from further normal rows, or images.

    Columns and their encoding stay as they were at fit; weights, prior and p-values follow the
    rows of INPUT, so pass rows of before along with new ones if both are still normal.
    """
    given = {**dict.fromkeys(SETTINGS), **locals()}
    from improbable.cli.modeling import refit_file

    _fit(given, partial(refit_file, model))


def _fit(options: dict[str, Any], learn: Callable[..., dict[str, Any]] | None = None) -> None:
    from improbable.cli.inputs import InputFile
    from improbable.cli.modeling import fit_file, fit_lines, is_interrupted
    from improbable.cli.training_data import Choice

    source = InputFile(*(options[name] for name in ("input", "format", "array", "labels")))
    given: dict[str, Any] = {f.name: options.get(f.name) or f.default for f in fields(Choice)}
    choice = Choice(**given)
    record = (learn or fit_file)(source, choice, options["output"], _detector_params(options))
    if options["json"] or not options["quiet"]:
        print_either(record, fit_lines(record), json=options["json"])
    if is_interrupted(record):
        raise typer.Exit(INTERRUPTED)


def _detector_params(options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the detector that were given as options."""
    said = {name: options[name] for name in SETTINGS if options[name] is not None}
    found = {SETTINGS[name][0]: value for name, value in said.items()}
    found["random_state"] = options["seed"]
    for name, convert in (("latent_dim", int), ("n_draws", int), ("contamination", float)):
        if name in found:
            found[name] = _number_or_word(found[name], convert)
    found["tune"] = "budget" in found
    found["verbose"] = on_terminal() and not options["quiet"]
    if "hidden" in found:
        found["hidden"] = [_number_or_word(size, int) for size in found["hidden"].split(",")]
    return found


def _number_or_word(text: str, convert: Callable[[str], float]) -> float | str:
    try:
        return convert(text)
    except ValueError:
        return text


def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model written by fit.")],
    json: Json = False,
) -> None:
    """Show what a model file holds.

    Prints its versions, settings, training, calibration and columns.
    """
    from improbable.cli.modeling import inspection, inspection_lines
    from improbable.container import read_header

    header = inspection(read_header(model))
    print_either(header, inspection_lines(header), json=json)


def version(json: Json = False) -> None:
    """Print the version, and those of Python and torch."""
    python = sys.version.split()[0]
    found = {"improbable": __version__, "python": python, "torch": installed("torch")}
    lines = [f"{name} {number}" for name, number in found.items()]
    print_either(found, lines, json=json)
