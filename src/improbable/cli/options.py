"""Options that several commands share."""

from typing import Annotated

import typer

FORMATS = "csv, tsv, parquet, arrow or jsonl"

Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="Table in CSV, TSV, Parquet, Arrow or JSON Lines; - is standard input.",
        show_default=False,
    ),
]
ModelFile = Annotated[
    str,
    typer.Option("--model", "-m", metavar="FILE", help="Model written by fit."),
]
Output = Annotated[
    str,
    typer.Option("--output", "-o", metavar="FILE", help="Where rows go; - is standard output."),
]
InputFormat = Annotated[
    str | None,
    typer.Option("--format", metavar="FORMAT", help=f"Format of INPUT, if not told: {FORMATS}."),
]
OutputFormat = Annotated[
    str | None,
    typer.Option(
        "--output-format", metavar="FORMAT", help="Format of the output, if its name is silent."
    ),
]
BatchRows = Annotated[
    int, typer.Option("--batch-rows", min=1, help="Rows in memory at a time; changes no result.")
]
Shown = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress",
        help="Progress bar on standard error; by default on terminals.",
        show_default=False,
    ),
]
Alpha = Annotated[
    float, typer.Option("--alpha", help="False-alarm rate: flag rows with p-values up to it.")
]
Fdr = Annotated[
    float | None,
    typer.Option(help="Flag by q-value: share of false alarms expected among the flagged."),
]
Tail = Annotated[
    bool, typer.Option("--tail", help="Extrapolate p-values beyond the held-out rows.")
]
Prefix = Annotated[str, typer.Option(help="Put before the names of the new columns.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Normal = Annotated[
    str | None,
    typer.Option(
        "--normal",
        metavar="VALUE",
        help="Label of normal rows. By default 0, false, normal, inlier, benign, negative or no.",
        show_default=False,
    ),
]
DEFAULT_BATCH_ROWS = 8_192

# Options of `fit`; those not given are left to the detector.
ModelOutput = Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Model file.")]
Label = Annotated[
    str | None,
    typer.Option("--label", metavar="COLUMN", help="Labels: fit on normal rows, without them."),
]
Drop = Annotated[
    list[str] | None, typer.Option("--drop", metavar="A,B", help="Columns to leave out.")
]
Kind = Annotated[
    list[str] | None,
    typer.Option(
        "--kind", metavar="NAME=KIND", help="Kind of a column: age=count, hour=cyclic:24."
    ),
]
Members = Annotated[int | None, typer.Option(help="Networks in the ensemble.")]
Draws = Annotated[int | None, typer.Option(help="Draws of z a row when scoring.")]
LatentDim = Annotated[str | None, typer.Option(help="Size of z, or auto.")]
Hidden = Annotated[str | None, typer.Option(help="Hidden units, as in 128,128.")]
Likelihood = Annotated[str | None, typer.Option(help="Likelihood of numeric columns.")]
Prior = Annotated[str | None, typer.Option(help="p(z): aggregated or normal.")]
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
