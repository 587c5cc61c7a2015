"""Commands that make and show models."""

import sys
from importlib.metadata import version as installed
from typing import Annotated, Any

import typer

from improbable import __version__
from improbable.cli.console import on_terminal, print_record
from improbable.cli.options import Input, InputFormat, Json, Normal


def fit(
    input: Input,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Model file.")],
    label: Annotated[
        str | None,
        typer.Option(
            "--label", metavar="COLUMN", help="Labels: fit on normal rows, without them."
        ),
    ] = None,
    normal: Normal = None,
    drop: Annotated[
        list[str] | None, typer.Option("--drop", metavar="A,B", help="Columns to leave out.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind", metavar="NAME=KIND", help="Kind of a column: age=count, hour=cyclic:24."
        ),
    ] = None,
    format: InputFormat = None,
    members: Annotated[int | None, typer.Option(help="Networks in the ensemble.")] = None,
    draws: Annotated[int | None, typer.Option(help="Draws of z a row when scoring.")] = None,
    latent_dim: Annotated[str | None, typer.Option(help="Size of z, or auto.")] = None,
    hidden: Annotated[str | None, typer.Option(help="Hidden units, as in 128,128.")] = None,
    likelihood: Annotated[str | None, typer.Option(help="Likelihood of numeric columns.")] = None,
    score_function: Annotated[str | None, typer.Option(help="The score that decides.")] = None,
    contamination: Annotated[
        str | None, typer.Option(help="Share of the training rows that predict flags, or auto.")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(help="Optimizer steps at most.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    validation_fraction: Annotated[
        float | None, typer.Option(help="Share of the rows that decide when to stop.")
    ] = None,
    calibration_fraction: Annotated[
        float | None, typer.Option(help="Share of the rows that calibrate p-values.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where to train: auto, cpu, cuda.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No bar, no summary.")] = False,
    json: Json = False,
) -> None:
    """Learn what normal rows look like.

    The whole table is read, its column kinds are inferred, and one model file is written.
    What is not said defaults to what VAEDetector does.
    """
    from improbable.cli.destinations import check_destination
    from improbable.cli.modeling import fit_file, fit_lines, parse_kinds, read_training

    check_destination(output)
    kinds = parse_kinds(kind or [])
    chosen = {
        "columns": kinds or None,
        "n_members": members,
        "n_draws": draws,
        "latent_dim": _number_or_word(latent_dim, int),
        "hidden": _sizes(hidden),
        "likelihood": likelihood,
        "score_function": score_function,
        "contamination": _number_or_word(contamination, float),
        "max_steps": max_steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "validation_fraction": validation_fraction,
        "calibration_fraction": calibration_fraction,
        "device": device,
        "random_state": seed,
        "verbose": on_terminal() and not quiet,
    }
    params = {name: value for name, value in chosen.items() if value is not None}
    table = read_training(input, format=format, label=label, normal=normal, drop=drop or [])
    record = fit_file(table, output, params)
    if json:
        print_record(record)
    elif not quiet:
        typer.echo("\n".join(fit_lines(record)))


def _number_or_word(text: str | None, convert: type[int] | type[float]) -> Any:
    try:
        return None if text is None else convert(text)
    except ValueError:
        return text


def _sizes(text: str | None) -> Any:
    return None if text is None else [_number_or_word(size, int) for size in text.split(",")]


def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model written by fit.")],
    json: Json = False,
) -> None:
    """Show what a model file holds.

    Prints its versions, settings, training, calibration and columns.
    """
    from improbable.cli.modeling import inspection, inspection_lines
    from improbable.persistence import read_header

    header = inspection(read_header(model))
    if json:
        print_record(header)
    else:
        typer.echo("\n".join(inspection_lines(header)))


def version(json: Json = False) -> None:
    """Print the version, and those of Python and torch."""
    python = sys.version.split()[0]
    found = {"improbable": __version__, "python": python, "torch": installed("torch")}
    if json:
        print_record(found)
    else:
        typer.echo("\n".join(f"{name} {number}" for name, number in found.items()))
