"""Commands that stream rows through a model into a file."""

import time
from typing import Annotated

import typer

from improbable.cli.console import counted, report, rows_bar
from improbable.cli.options import (
    DEFAULT_BATCH_ROWS,
    About,
    Alpha,
    Array,
    BatchRows,
    EngineName,
    Fdr,
    Given,
    Input,
    InputFormat,
    Json,
    Like,
    LikeRow,
    ModelFile,
    Output,
    OutputFormat,
    Prefix,
    Prior,
    RowsOutput,
    Seed,
    Shown,
    Spread,
    Tail,
    Workers,
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
    array: Array = None,
    labels: About = None,
    output_format: OutputFormat = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    engine: EngineName = "local",
    workers: Workers = None,
    progress: Shown = None,
    json: Json = False,
) -> None:
    """Decide on each row, with evidence and reasons.

    Keeps the input's columns and adds is_outlier, p_value, q_value, score, mc_se, top_reasons
    and warnings; images have a column image, their file name or position. Any number of rows
    passes through in constant memory; the output appears when all of it is ready.
    """
    from improbable.cli.destinations import check_output
    from improbable.cli.engines import check_engine, open_engine
    from improbable.cli.inputs import InputFile, open_feed
    from improbable.cli.scoring import Scoring
    from improbable.judging import Question
    from improbable.persistence import load

    question = Question(alpha, fdr, tail)
    question.check()
    check_engine(engine, workers)
    check_output(output, output_format, input, model, labels)
    fitted = load(model).model_
    feed = open_feed(InputFile(input, format, array, labels, batch_rows), fitted.codec)
    with open_engine(engine, workers, model, fitted, question) as judging:
        started = time.perf_counter()
        scoring = Scoring(fitted, question, prefix, judging)
        found = scoring.run(feed, output, format=output_format, shown=progress)
        speed = round(found.n_rows / (time.perf_counter() - started))
    line = f"{counted(found.n_rows, 'row')}, {found.n_flagged:,} flagged at {question}"
    record = {"rows": found.n_rows, "flagged": found.n_flagged, "alpha": alpha, "fdr": fdr}
    facts = {"output": output, "rows_per_second": speed, "drift": found.drift_record}
    report(f"{line}, {speed:,} rows/s{found.remark}", {**record, **facts}, json=json)


def reconstruct(
    input: Input,
    model: ModelFile,
    output: RowsOutput = "-",
    format: InputFormat = None,
    array: Array = None,
    output_format: OutputFormat = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    progress: Shown = None,
    json: Json = False,
) -> None:
    """Write rows as the model decodes them.

    The output has the columns seen at fit, in their units and types.
    """
    from improbable.cli.filling import reconstruct_file
    from improbable.cli.inputs import InputFile, open_feed
    from improbable.cli.outputs import check_rows_output
    from improbable.persistence import load

    fitted = load(model).model_
    check_rows_output(output, output_format, fitted.codec, input, model)
    source = InputFile(input, format, array, batch_rows=batch_rows)
    feed = open_feed(source, fitted.codec)
    with rows_bar("reconstructing", shown=progress) as moved:
        rows = reconstruct_file(fitted, feed, output, format=output_format, moved=moved)
    report(f"{counted(rows, 'row')} reconstructed", {"rows": rows, "output": output}, json=json)


def impute(
    input: Input,
    model: ModelFile,
    output: RowsOutput = "-",
    format: InputFormat = None,
    array: Array = None,
    output_format: OutputFormat = None,
    batch_rows: BatchRows = DEFAULT_BATCH_ROWS,
    progress: Shown = None,
    json: Json = False,
) -> None:
    """Fill missing cells, given the rest of their row.

    All other cells and columns stay as they are.
    """
    from improbable.cli.filling import impute_file
    from improbable.cli.inputs import InputFile, open_feed
    from improbable.cli.outputs import check_rows_output
    from improbable.persistence import load

    fitted = load(model).model_
    check_rows_output(output, output_format, fitted.codec, input, model)
    source = InputFile(input, format, array, batch_rows=batch_rows)
    feed = open_feed(source, fitted.codec)
    with rows_bar("imputing", shown=progress) as moved:
        rows = impute_file(fitted, feed, output, format=output_format, moved=moved)
    report(f"{counted(rows, 'row')} imputed", {"rows": rows, "output": output}, json=json)


def sample(
    model: ModelFile,
    n: Annotated[int, typer.Option("-n", min=1, help="How many rows.")] = 100,
    output: RowsOutput = "-",
    seed: Seed = 0,
    prior: Prior = None,
    given: Given = None,
    like: Like = None,
    row: LikeRow = None,
    spread: Spread = None,
    format: InputFormat = None,
    array: Array = None,
    output_format: OutputFormat = None,
    json: Json = False,
) -> None:
    """Write new rows or images, drawn from the model.

    Columns held by --given set the terms for the others: --given sex=F --given city=boulder.
    Or give a row to vary: --like new.csv --row 17.
    """
    from improbable.cli.decoding import in_arrow, write_like
    from improbable.cli.filling import check_like, sample_file
    from improbable.cli.inputs import InputFile
    from improbable.cli.outputs import check_rows_output
    from improbable.cli.places import find_row
    from improbable.persistence import load

    own = {"--row": row, "--spread": spread, "--format": format, "--array": array}
    check_like(like, own, {"--given": given, "--prior": prior})
    detector = in_arrow(load(model))
    check_rows_output(output, output_format, detector.model_.codec, like, model)
    if like is None:
        held = tuple(given or ())
        sample_file(
            detector, n, output, format=output_format, prior=prior, given=held, random_state=seed
        )
    else:
        around = find_row(detector.model_, InputFile(like, format, array), row or 0)
        wide = 1.0 if spread is None else spread
        write_like(detector, around, n, output, format=output_format, spread=wide, seed=seed)
    report(f"{counted(n, 'row')} sampled", {"rows": n, "output": output}, json=json)
