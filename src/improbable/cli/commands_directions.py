"""Commands about named directions in latent space, which live in the model file."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from improbable.cli.console import print_either, rows_bar
from improbable.cli.options import (
    DEFAULT_BATCH_ROWS,
    About,
    Array,
    BatchRows,
    DirectionName,
    Input,
    InputFormat,
    Json,
    ModelFile,
    Seed,
    Shown,
)

if TYPE_CHECKING:
    from improbable.detector import VAEDetector


def add(
    input: Input,
    model: ModelFile,
    name: DirectionName,
    column: Annotated[
        str, typer.Option("--column", metavar="COLUMN", help="Column that tells the groups apart.")
    ],
    with_: Annotated[
        list[str],
        typer.Option("--with", metavar="VALUE", help="Value of the rows with it; repeatable."),
    ],
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without", metavar="VALUE", help="Value of those without; all others if not given."
        ),
    ] = None,
    seed: Seed = 0,
    format: InputFormat = None,
    array: Array = None,
    labels: About = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    progress: Shown = None,
    json: Json = False,
) -> None:
    """Learn what sets some rows apart from others, and keep it in the model file.

    The direction is checked on held-out rows. One of the same name is replaced.
    """
    from improbable.cli.directing import Groups, direction_record, directions_lines, learn
    from improbable.cli.inputs import InputFile
    from improbable.persistence import load

    detector = load(model)
    source = InputFile(input, format, array, labels, batch_rows)
    groups = Groups(column, with_, without or ())
    with rows_bar("encoding", shown=progress) as moved:
        learn(detector, source, name, groups, seed, moved)
    _save(detector, model)
    record = direction_record(name, detector.directions[name])
    print_either(record, directions_lines([record]), json=json)


def list_directions(model: ModelFile, json: Json = False) -> None:
    """Show the directions of a model, and how well they separate held-out rows."""
    from improbable.cli.directing import direction_record, directions_lines
    from improbable.persistence import load

    found = load(model).directions
    records = [direction_record(name, found[name]) for name in sorted(found)]
    print_either({"directions": records}, directions_lines(records), json=json)


def remove(model: ModelFile, name: DirectionName, json: Json = False) -> None:
    """Take a direction out of a model file."""
    from improbable.cli.directing import forget
    from improbable.persistence import load

    detector = load(model)
    forget(detector, name)
    _save(detector, model)
    record = {"removed": name, "directions": sorted(detector.directions)}
    print_either(record, [f"{name} removed"], json=json)


def _save(detector: "VAEDetector", model: str) -> None:
    from improbable.persistence import save

    save(detector, os.path.realpath(model))
