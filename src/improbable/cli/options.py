"""Options that several commands share."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

FORMATS = "csv, tsv, parquet, arrow, jsonl or excel"

Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help=(
            "Table in CSV, TSV, Parquet, Arrow, JSON Lines or a workbook of a spreadsheet; - is "
            "standard input, and 'logs/*.csv', in quotes, all files that match. "
            "Images: a folder of them, an .npz or an .npy."
        ),
        show_default=False,
    ),
]
OptionalInput = Annotated[
    str | None,
    typer.Argument(metavar="INPUT", help="Table or images; not beside --z.", show_default=False),
]
Array = Annotated[
    str | None,
    typer.Option("--array", metavar="NAME", help="Images: the array of an .npz that holds them."),
]
Compare = Annotated[
    str | None,
    typer.Option(
        "--compare",
        metavar="FILE",
        help="Rows the model was fitted on: nearest neighbors, an isolation forest and PCA learn "
        "from them too, and are rated on INPUT.",
    ),
]
About = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Images: columns about them; a table with a column image, or in order, or an .npy.",
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
    typer.Option(help="Flag by q-value, not by --alpha: share of false alarms among the flagged."),
]
Tail = Annotated[
    bool, typer.Option("--tail", help="Extrapolate p-values beyond the held-out rows.")
]
EngineName = Annotated[
    str,
    typer.Option("--engine", metavar="NAME", help="Who scores: local, this process, or ray."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", metavar="N", min=1, help="For --engine ray: processes; one a processor."
    ),
]
Prefix = Annotated[str, typer.Option(help="Put before the names of the new columns.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Normal = Annotated[
    str | None,
    typer.Option(
        "--normal",
        metavar="VALUE",
        help="Label of normal rows. By default 0, false, no, normal, ok, benign and the like.",
        show_default=False,
    ),
]
RowsOutput = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where rows go; - is standard output. Images: an .npz, an .npy, one .png, a folder.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
DEFAULT_BATCH_ROWS = 8_192

# Options of what works in latent space.
Points = Annotated[
    list[str] | None,
    typer.Option("--z", metavar="A,B,...", help="Point in latent space; repeatable."),
]
Given = Annotated[
    list[str] | None,
    typer.Option("--given", metavar="COLUMN=VALUE", help="Hold a column at a value; repeatable."),
]
Like = Annotated[
    str | None,
    typer.Option("--like", metavar="INPUT", help="Draw around a row of this table, or an image."),
]
LikeRow = Annotated[
    int | None,
    typer.Option("--row", min=0, metavar="N", help="For --like: its row, from 0; 0 if absent."),
]
Spread = Annotated[
    float | None,
    typer.Option(
        "--spread",
        metavar="X",
        help="For --like: times the posterior's scale; 0 stays at its mean, 1 if absent.",
    ),
]
SomeRows = Annotated[
    list[int] | None,
    typer.Option("--row", min=0, metavar="N", help="Row by number, counted from 0; repeatable."),
]
OptionalModel = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="FILE", help="For INPUT: model of the index."),
]
Wanted = Annotated[int, typer.Option("-k", min=1, help="Items a query.")]
Metric = Annotated[
    str,
    typer.Option(
        "--metric",
        help="log_density, euclidean, or of rows kl, jeffreys, wasserstein, bhattacharyya.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="COLUMN=VALUE",
        help="Search some items only: sex=F, age=20..40; repeatable.",
    ),
]
Show = Annotated[
    list[str] | None,
    typer.Option("--show", metavar="A,B", help="Columns of the items to show."),
]
Recall = Annotated[float, typer.Option("--recall", help="Below 1: approximate, by FAISS.")]
AnswersOutput = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Table of the answers.")
]
ReasonsOutput = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="A line for each cell; of images maps, an .npz."
    ),
]
ClusterCount = Annotated[
    str | None,
    typer.Option(
        "--clusters", "-k", metavar="N", help="How many, or 2..8 to choose; 1..20 if absent."
    ),
]
Centers = Annotated[
    str | None, typer.Option("--centers", metavar="FILE", help="Where the centers go, decoded.")
]
Hierarchy = Annotated[
    bool,
    typer.Option("--hierarchy", help="Merge the nearest again and again, and cut at --clusters."),
]
Linkage = Annotated[
    str | None,
    typer.Option(
        "--linkage",
        metavar="NAME",
        help="For --hierarchy: average, complete or single; average if absent.",
    ),
]
Merges = Annotated[
    str | None,
    typer.Option(
        "--merges", metavar="FILE", help="For --hierarchy: where the tree goes, a line a merge."
    ),
]
DivergenceName = Annotated[
    str, typer.Option("--divergence", help="kl, of row to center, or reverse_kl.")
]
Index = Annotated[str, typer.Option("--index", metavar="FILE", help="Index made by build.")]
IdColumn = Annotated[
    str | None,
    typer.Option(
        "--id",
        metavar="COLUMN",
        help="Names of the rows. By default a column id, file names of images, or row numbers.",
        show_default=False,
    ),
]
DirectionName = Annotated[str, typer.Option("--name", metavar="NAME", help="Of the direction.")]

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
        "--kind",
        metavar="NAME=KIND",
        help="Kind of a column: age=count, hour=cyclic:24, seen=datetime:ms.",
    ),
]
Members = Annotated[int | None, typer.Option(help="Networks in the ensemble.")]
Draws = Annotated[str | None, typer.Option(help="Draws of z a row when scoring, or auto.")]
LatentDim = Annotated[str | None, typer.Option(help="Size of z, or auto.")]
Hidden = Annotated[str | None, typer.Option(help="Hidden units, as in 128,128.")]
Likelihood = Annotated[
    str | None, typer.Option(help="Likelihood of numeric columns, or of the pixels of images.")
]
Contrast = Annotated[
    str | None,
    typer.Option("--contrast", help="Images: kept, or equal, which scales each to one contrast."),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size", metavar="28x28", help="Height and width to resize a folder's images to."
    ),
]
Prior = Annotated[str | None, typer.Option(help="p(z): aggregated, normal or mixture.")]
ScoreFunction = Annotated[str | None, typer.Option(help="The score that decides.")]
CellShare = Annotated[
    float | None,
    typer.Option(
        help="Share of a table's false alarms left to rows with one improbable cell; 0: none."
    ),
]
Contamination = Annotated[
    str | None,
    typer.Option(
        help="Share of anomalies among the training rows, or unknown. By default there are none."
    ),
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
MaxRows = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Rows of a table to learn from at most, at random; 1,000,000 by default.",
        show_default=False,
    ),
]
Window = Annotated[
    str | None,
    typer.Option(
        "--window",
        metavar="POINTS",
        help="Series: points a row is judged among; auto is the dominant period.",
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        "--time", metavar="COLUMN", help="Series: when each row was; found by itself if it can be."
    ),
]
Entity = Annotated[
    str | None,
    typer.Option("--entity", metavar="COLUMN", help="Series: which of many each row belongs to."),
]
ScoreOf = Annotated[
    str | None,
    typer.Option(
        "--score-of",
        metavar="all|last",
        help="Series: judge a row by all windows that hold it, or by those before it alone.",
    ),
]
Calendar = Annotated[
    list[str] | None,
    typer.Option(
        "--calendar",
        metavar="hour,weekday",
        help="Series: judge each row by the hour, day of the week, or both, of its time as well.",
    ),
]
NetworkName = Annotated[
    str | None,
    typer.Option(
        "--network",
        metavar="mlp|gru|conv",
        help="Series: perceptrons, recurrent units or convolutions; mlp if absent.",
    ),
]
Stride = Annotated[
    int | None,
    typer.Option(
        "--stride",
        min=1,
        metavar="ROWS",
        help="Series: rows from one window to the next when scoring; 1 if absent.",
    ),
]
SequenceColumn = Annotated[
    str | None,
    typer.Option(
        "--sequence",
        metavar="COLUMN",
        help="Sequences: the column that holds them, as strings or lists of tokens.",
    ),
]
Unit = Annotated[
    str | None,
    typer.Option(
        "--unit",
        metavar="NAME",
        help="Sequences: strings are cut into characters or words, or hold lists of tokens in "
        "JSON; characters if absent.",
    ),
]
Tune = Annotated[
    int | None,
    typer.Option(
        metavar="MODELS",
        help="Try so many sizes, steps and learning rates, and take the one that scores held-out "
        "rows highest; those given stay. Needs Optuna.",
    ),
]
Device = Annotated[str | None, typer.Option(help="Where to train: auto, cpu, cuda.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No bar, no summary.")]


def with_options(options: dict[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that ends in `**settings` further options, None unless they are said."""
    given = inspect.Parameter.KEYWORD_ONLY
    more = [inspect.Parameter(n, given, default=None, annotation=o) for n, o in options.items()]

    def changed(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command)
        *known, rest = own.parameters.values()
        before = [p for p in known if p.kind is not given]
        after = [p for p in known if p.kind is given]
        command.__signature__ = own.replace(parameters=[*before, *more, *after])  # type: ignore[attr-defined]
        del command.__annotations__[rest.name]
        command.__annotations__.update(options)
        return command

    return changed
