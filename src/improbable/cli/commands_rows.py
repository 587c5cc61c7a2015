"""Commands that stream rows through a model into a file."""

import time
from typing import Annotated, Any

import typer

from improbable.cli.console import encode, print_record, rows_bar, say
from improbable.cli.options import (
    DEFAULT_BATCH_ROWS,
    Alpha,
    BatchRows,
    Fdr,
    Input,
    InputFormat,
    Json,
    ModelFile,
    Output,
    OutputFormat,
    Prefix,
    Shown,
    Tail,
)


def score(
    input: Input,
    model: ModelFile,
    output: Output = "-",
    alpha: Alpha = 0.01,
    fdr: Fdr = None,
    tail: Tail = False,
    prefix: Prefix = "",
    format: InputFormat = None,
    output_format: OutputFormat = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    progress: Shown = None,
    json: Json = False,
) -> None:
    """Decide on each row, with evidence and reasons.

    Keeps the input's columns and adds is_outlier, p_value, q_value, score, mc_se, top_reasons
    and warnings. Any number of rows passes through in constant memory; the output appears when
    all of it is ready.
    """
    from improbable.cli.destinations import check_output
    from improbable.cli.feed import open_feed
    from improbable.cli.scoring import Question, Scoring
    from improbable.persistence import load

    question = Question(alpha, fdr, tail)
    question.check()
    check_output(output, output_format)
    fitted = load(model).model_
    feed = open_feed(input, fitted.codec, format=format, batch_rows=batch_rows)
    started = time.perf_counter()
    scoring = Scoring(fitted, question, prefix)
    rows, flagged = scoring.run(feed, output, format=output_format, shown=progress)
    speed = round(rows / (time.perf_counter() - started))
    line = f"{rows:,} rows, {flagged:,} flagged at {question}, {speed:,} rows/s"
    record = {"rows": rows, "flagged": flagged, "alpha": alpha, "fdr": fdr, "output": output}
    _report(line, {**record, "rows_per_second": speed}, json=json)


def reconstruct(
    input: Input,
    model: ModelFile,
    output: Output = "-",
    format: InputFormat = None,
    output_format: OutputFormat = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    progress: Shown = None,
    json: Json = False,
) -> None:
    """Write rows as the model decodes them.

    The output has the columns seen at fit, in their units and types.
    """
    from improbable.cli.destinations import check_output
    from improbable.cli.feed import open_feed
    from improbable.cli.filling import reconstruct_file
    from improbable.persistence import load

    check_output(output, output_format)
    fitted = load(model).model_
    feed = open_feed(input, fitted.codec, format=format, batch_rows=batch_rows)
    with rows_bar("reconstructing", shown=progress) as moved:
        rows = reconstruct_file(fitted, feed, output, format=output_format, moved=moved)
    _report(f"{rows:,} rows reconstructed", {"rows": rows, "output": output}, json=json)


def impute(
    input: Input,
    model: ModelFile,
    output: Output = "-",
    format: InputFormat = None,
    output_format: OutputFormat = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    progress: Shown = None,
    json: Json = False,
) -> None:
    """Fill missing cells, given the rest of their row.

    All other cells and columns stay as they are.
    """
    from improbable.cli.destinations import check_output
    from improbable.cli.feed import open_feed
    from improbable.cli.filling import impute_file
    from improbable.persistence import load

    check_output(output, output_format)
    fitted = load(model).model_
    feed = open_feed(input, fitted.codec, format=format, batch_rows=batch_rows)
    with rows_bar("imputing", shown=progress) as moved:
        rows = impute_file(fitted, feed, output, format=output_format, moved=moved)
    _report(f"{rows:,} rows imputed", {"rows": rows, "output": output}, json=json)


def sample(
    model: ModelFile,
    n: Annotated[int, typer.Option("-n", min=1, help="How many rows.")] = 100,
    output: Output = "-",
    seed: Annotated[int, typer.Option(help="Other seeds give other rows.")] = 0,
    output_format: OutputFormat = None,
    json: Json = False,
) -> None:
    """Write new rows, drawn from the model."""
    from improbable.cli.destinations import check_output
    from improbable.cli.filling import sample_file
    from improbable.persistence import load

    check_output(output, output_format)
    fitted = load(model).model_
    sample_file(fitted, n, output, format=output_format, random_state=seed)
    _report(f"{n:,} rows sampled", {"rows": n, "output": output}, json=json)


def _report(line: str, record: dict[str, Any], *, json: bool) -> None:
    """Sum up, where it does not get among the rows."""
    to_file = record["output"] != "-"
    if json and to_file:
        print_record(record)
    else:
        say(encode(record) if json else line)
