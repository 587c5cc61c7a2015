"""Commands that say why rows are unusual, and how well a model tells."""

from typing import Annotated, Any

import typer

from improbable.cli.console import print_either, print_record, rows_bar
from improbable.cli.options import (
    DEFAULT_BATCH_ROWS,
    About,
    Alpha,
    Array,
    BatchRows,
    Compare,
    Input,
    InputFormat,
    Json,
    ModelFile,
    Normal,
    OutputFormat,
    ReasonsOutput,
    Shown,
    SomeRows,
)


def explain(
    input: Input,
    model: ModelFile,
    row: SomeRows = None,
    top: Annotated[
        int, typer.Option(min=1, help="Without --row: that many, least normal first.")
    ] = 5,
    columns: Annotated[
        int, typer.Option(min=1, help="Columns a row, or ninths an image, worst first.")
    ] = 8,
    output: ReasonsOutput = None,
    format: InputFormat = None,
    array: Array = None,
    output_format: OutputFormat = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    json: Json = False,
) -> None:
    """Say why rows score as they do, column by column.

    A share is a column's part of the row's log probability in nats, the lower the less normal;
    the interval holds 90 % of what the other columns let expect, over all rows and not within
    each small group of them. Of images, says which ninths surprise most, in nats below what is
    usual there. --json prints a line a row.
    """
    from improbable.cli.destinations import check_apart
    from improbable.cli.explaining import (
        check_explained_output,
        explained,
        pick_least_normal,
        pick_rows,
    )
    from improbable.cli.inputs import InputFile, open_feed
    from improbable.persistence import load

    fitted = load(model).model_
    if output is not None:
        check_explained_output(output, output_format, fitted.codec)
        check_apart(output, input, model)
    feed = open_feed(InputFile(input, format, array, batch_rows=batch_rows), fitted.codec)
    picked = pick_rows(feed, row) if row else pick_least_normal(feed, fitted, top)
    found = explained(fitted, feed, picked)
    if output is not None:
        found.save(output, output_format)
    if output != "-":
        _print_explained(found.records, columns, json=json)


def _print_explained(records: list[dict[str, Any]], columns: int, *, json: bool) -> None:
    from improbable.cli.explaining import explanation_lines

    for record in records:
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
    array: Array = None,
    labels: About = None,
    compare: Compare = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    progress: Shown = None,
    json: Json = False,
) -> None:
    """Compare scores with labels.

    Prints ROC AUC and average precision with intervals, how many anomalies are found at alpha,
    and whether p-values keep their promise on normal rows. With --compare, three plain detectors
    stand beside the model, and it says when one of them wins.
    """
    from improbable.arguments import level
    from improbable.cli.baselines import fit_baselines, read_matrix
    from improbable.cli.evaluation import check_label, evaluation, evaluation_lines, read_judged
    from improbable.cli.inputs import InputFile, open_feed
    from improbable.cli.labels import Labels
    from improbable.persistence import load
    from improbable.results import warn_unsupported

    level("alpha", alpha)
    fitted = load(model).model_
    check_label(fitted.codec, label)
    warn_unsupported(alpha, fitted, tail=None)
    source = InputFile(input, format, array, labels, batch_rows)
    feed = open_feed(source, fitted.codec, without=label)
    baselines = {}
    if compare is not None:
        learned = InputFile(compare, array=array, batch_rows=batch_rows)
        rows = open_feed(learned, fitted.codec)
        with rows_bar("reading", shown=progress) as moved:
            read = read_matrix(rows, fitted.codec, label, Labels(normal), moved)
        baselines = fit_baselines(read)
    with rows_bar("scoring", shown=progress) as moved:
        judged = read_judged(fitted, feed, label, Labels(normal), moved, baselines)
    record = evaluation(judged, alpha, len(fitted.held_out))
    print_either(record, evaluation_lines(record), json=json)
