"""Commands about an index of rows in latent space: built, extended, searched."""

from typing import Annotated

import typer

from improbable.cli.console import counted, print_record, report, rows_bar
from improbable.cli.options import (
    DEFAULT_BATCH_ROWS,
    About,
    AnswersOutput,
    Array,
    BatchRows,
    IdColumn,
    Index,
    Input,
    InputFormat,
    Json,
    Metric,
    ModelFile,
    OptionalInput,
    OptionalModel,
    OutputFormat,
    Points,
    Recall,
    Show,
    Shown,
    SomeRows,
    Wanted,
    Where,
)


def build(
    input: Input,
    model: ModelFile,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Index: a Parquet file.")
    ],
    id: IdColumn = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="A,B", help="Columns to keep for --where, or none; all."),
    ] = None,
    format: InputFormat = None,
    array: Array = None,
    labels: About = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    progress: Shown = None,
    json: Json = False,
) -> None:
    """Write an index of rows by where they lie in latent space.

    It holds ids, posteriors and the columns kept, and can be read as any table.
    """
    from improbable.cli.destinations import check_apart, check_destination
    from improbable.cli.inputs import InputFile
    from improbable.cli.searching import build_index
    from improbable.persistence import load

    check_destination(output)
    check_apart(output, input, model, labels)
    fitted = load(model).model_
    source = InputFile(input, format, array, labels, batch_rows)
    with rows_bar("encoding", shown=progress) as moved:
        index = build_index(fitted, source, id, keep, moved)
    index.save(output)
    record = {"items": len(index), "latent_dim": index.latent_dim, "output": output}
    report(f"{counted(len(index), 'item')} indexed", record, json=json)


def add(
    input: Input,
    model: ModelFile,
    index: Index,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Another file than the index itself."),
    ] = None,
    id: IdColumn = None,
    format: InputFormat = None,
    array: Array = None,
    labels: About = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    progress: Shown = None,
    json: Json = False,
) -> None:
    """Add rows to an index, encoded by the model that it was built with."""
    from improbable.cli.destinations import check_apart, check_destination
    from improbable.cli.inputs import InputFile
    from improbable.cli.searching import extend_index
    from improbable.latent.index import LatentIndex
    from improbable.persistence import load

    target = output or index
    check_destination(target)
    check_apart(target, input, model, labels)
    fitted, before = load(model).model_, LatentIndex.load(index)
    source = InputFile(input, format, array, labels, batch_rows)
    with rows_bar("encoding", shown=progress) as moved:
        after = extend_index(before, fitted, source, id, moved)
    after.save(target)
    added = len(after) - len(before)
    record = {"added": added, "items": len(after), "output": target}
    report(f"{counted(added, 'item')} added, {len(after):,} in all", record, json=json)


def remove(
    index: Index,
    id: Annotated[
        list[str], typer.Option("--id", metavar="ID", help="Item to take out; repeatable.")
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Another file than the index itself."),
    ] = None,
    json: Json = False,
) -> None:
    """Take items out of an index."""
    from improbable.cli.destinations import check_destination
    from improbable.cli.searching import typed_ids
    from improbable.latent.index import LatentIndex

    target = output or index
    check_destination(target)
    before = LatentIndex.load(index)
    after = before.remove(typed_ids(before, id))
    after.save(target)
    removed = len(before) - len(after)
    record = {"removed": removed, "items": len(after), "output": target}
    report(f"{counted(removed, 'item')} removed, {len(after):,} in all", record, json=json)


def search(
    index: Index,
    input: OptionalInput = None,
    model: OptionalModel = None,
    row: SomeRows = None,
    z: Points = None,
    k: Wanted = 10,
    metric: Metric = "log_density",
    where: Where = None,
    show: Show = None,
    recall: Recall = 1.0,
    output: AnswersOutput = None,
    format: InputFormat = None,
    array: Array = None,
    output_format: OutputFormat = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    json: Json = False,
) -> None:
    """Find the items nearest to rows of INPUT, or to points.

    Value is the log density of the query under the item, in nats, unless --metric says
    otherwise; probability, that the item produced the query; distance, in the item's standard
    deviations. --json prints a line a query.
    """
    from improbable.cli.destinations import check_output
    from improbable.cli.places import input_file
    from improbable.cli.searching import Search, queries
    from improbable.latent.index import LatentIndex

    if output is not None:
        check_output(output, output_format, input, index, model)
    items = LatentIndex.load(index)
    places = queries(items, model, input_file(input, format, array, batch_rows), row, z)
    found = Search(k, metric, recall, where or (), show or ()).run(items, places)
    if output is not None:
        found.save(output, output_format)
        n = len(found.names)
        record = {"queries": n, "rows": found.table.num_rows, "output": output}
        report(f"{counted(n, 'query', 'queries')} answered", record, json=json)
    elif json:
        for record in found.records:
            print_record(record)
    else:
        typer.echo("\n".join(found.lines))
