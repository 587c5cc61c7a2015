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
DEFAULT_BATCH_ROWS = 16_384
