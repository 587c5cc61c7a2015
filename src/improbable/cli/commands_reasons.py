"""Commands that say why rows are unusual, and how well a model tells."""

from typing import Annotated

import typer

from improbable.cli.console import print_record, rows_bar
from improbable.cli.options import (
    DEFAULT_BATCH_ROWS,
    Alpha,
    BatchRows,
    Input,
    InputFormat,
    Json,
    ModelFile,
    Normal,
    Shown,
)


def explain(
    input: Input,
    model: ModelFile,
    row: Annotated[
        list[int] | None,
        typer.Option(
            "--row", min=0, metavar="N", help="Row by number, counted from 0; repeatable."
        ),
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, help="Without --row: that many, least normal first.")
    ] = 5,
    columns: Annotated[int, typer.Option(min=1, help="Columns a row, most surprising first.")] = 8,
    format: InputFormat = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    json: Json = False,
) -> None:
    """Say why rows score as they do, column by column.

    A share is a column's part of the row's log probability in nats, the lower the less normal;
    the interval holds 90 % of what the other columns let expect. --json prints a line a row.
    """
    from improbable.cli.explaining import (
        explained,
        explanation_lines,
        pick_least_normal,
        pick_rows,
    )
    from improbable.cli.feed import open_feed
    from improbable.persistence import load

    fitted = load(model).model_
    feed = open_feed(input, fitted.codec, format=format, batch_rows=batch_rows)
    picked = pick_rows(feed, row) if row else pick_least_normal(feed, fitted, top)
    for record in explained(fitted, feed, picked):
        if json:
            print_record(record)
        else:
            typer.echo("\n".join([*explanation_lines(record, columns), ""]))


def evaluate(
    input: Input,
    model: ModelFile,
    label: Annotated[str, typer.Option("--label", metavar="COLUMN", help="Column of labels.")],
    normal: Normal = None,
    alpha: Alpha = 0.01,
    format: InputFormat = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    progress: Shown = None,
    json: Json = False,
) -> None:
    """Compare scores with labels.

    Prints ROC AUC and average precision with intervals, how many anomalies are found at alpha,
    and whether p-values keep their promise on normal rows.
    """
    from improbable.cli.evaluation import evaluation, evaluation_lines, read_judged
    from improbable.cli.feed import open_feed
    from improbable.cli.labels import Labels
    from improbable.persistence import load
    from improbable.results import check_level, warn_unsupported

    check_level("alpha", alpha)
    fitted = load(model).model_
    warn_unsupported(alpha, len(fitted.held_out), tail=False)
    feed = open_feed(input, fitted.codec, format=format, batch_rows=batch_rows, without=label)
    with rows_bar("scoring", shown=progress) as moved:
        judged = read_judged(fitted, feed, label, Labels(normal), moved)
    record = evaluation(judged, alpha, len(fitted.held_out))
    if json:
        print_record(record)
    else:
        typer.echo("\n".join(evaluation_lines(record)))
