"""Options of `fit`; None leaves the choice to the detector."""

from typing import Annotated

import typer

ModelOutput = Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Model file.")]
Label = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Labels: fit on normal rows, without them.")
]
Drop = Annotated[list[str] | None, typer.Option(metavar="A,B", help="Columns to leave out.")]
Kind = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=KIND", help="Kind of a column: age=count, hour=cyclic:24."),
]
Members = Annotated[int | None, typer.Option(help="Networks in the ensemble.")]
Draws = Annotated[int | None, typer.Option(help="Draws of z a row when scoring.")]
LatentDim = Annotated[str | None, typer.Option(help="Size of z, or auto.")]
Hidden = Annotated[str | None, typer.Option(help="Hidden units, as in 128,128.")]
Likelihood = Annotated[str | None, typer.Option(help="Likelihood of numeric columns.")]
Prior = Annotated[str | None, typer.Option(help="p(z): a name that VAEDetector takes.")]
ScoreFunction = Annotated[str | None, typer.Option(help="The score that decides.")]
Contamination = Annotated[
    str | None, typer.Option(help="Share of the training rows that predict flags, or auto.")
]
MaxSteps = Annotated[int | None, typer.Option(help="Optimizer steps at most.")]
BatchSize = Annotated[int | None, typer.Option(help="Rows a step.")]
LearningRate = Annotated[float | None, typer.Option(help="Peak learning rate.")]
ValidationFraction = Annotated[
    float | None, typer.Option(help="Share of the rows that decide when to stop.")
]
CalibrationFraction = Annotated[
    float | None, typer.Option(help="Share of the rows that calibrate p-values.")
]
Device = Annotated[str | None, typer.Option(help="Where to train: auto, cpu, cuda.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No bar, no summary.")]
