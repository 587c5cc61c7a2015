"""Rows judged by workers, each with the model in its own memory."""

import os
import warnings
from collections import deque
from collections.abc import Iterable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import torch

from improbable import results
from improbable.container import read_header
from improbable.data.codec import Source
from improbable.data.table import TableCodec
from improbable.distributed.cluster import RETRIES, checked_workers, errors_of_workers, ray_module
from improbable.errors import DataError, FormatError
from improbable.judging import (
    RESULT,
    Decision,
    Judged,
    Question,
    Tally,
    decoded_row,
    evidence_schema,
    extended,
    judge,
    observable,
    result_schema,
    unobserved,
    with_evidence,
)
from improbable.model import Model
from improbable.persistence import load
from improbable.results import AUTO_ALPHA, Detection

if TYPE_CHECKING:
    from ray.data import Dataset

BATCH_ROWS = 8_192
AHEAD = 2
NEVER = "__never_observed__"
RESTARTS = {"max_restarts": RETRIES, "max_task_retries": RETRIES}


class Judge:
    """A model in a worker's memory, and the question it answers.

    Parameters
    ----------
    path : str
        Model file, readable where the worker runs.
    digest : str
        What the file must hold, so that all workers have one model.
    question : Question
    prefix : str
        Put before the names of new columns.
    """

    def __init__(self, path: str, digest: str, question: Question, prefix: str = "") -> None:
        self.path, self.digest = path, digest
        self.question, self.prefix = question, prefix

    @cached_property
    def model(self) -> Model:
        """The model, loaded when first needed: an error then has a caller to go to."""
        torch.set_num_threads(1)
        if read_header(self.path)["digest"] != self.digest:
            raise FormatError(
                f"{self.path} holds another model on this worker. Copy one file to all of them."
            )
        return load(self.path).model_

    def judge(self, source: Source, n: int) -> Detection:
        """Decision and reasons of the first `n` items."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said once, where the work was asked for
            return judge(self.model, source, self.question, n)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """A table with its evidence, and the columns without a value in it."""
        codec = cast(TableCodec, self.model.codec)
        frame = codec.read(rows)
        found = self.judge(extended(frame, decoded_row(codec)), rows.num_rows)
        never = pa.array(["\n".join(unobserved(frame, observable(codec)))] * rows.num_rows)
        table = with_evidence(rows, found, evidence_schema(rows.schema, self.prefix))
        return table.append_column(NEVER, never)


def judged_by_workers(
    batches: Iterable[tuple[pa.RecordBatch, Source]],
    path: str,
    question: Question,
    n_workers: int,
) -> Judged:
    """Batches with what a model says of them, in their order, judged by workers.

    Each worker has a few batches ahead of it, so memory stays constant. A worker that dies is
    started anew, and its batches are judged once more.
    """
    ray = ray_module()
    start = ray.remote(num_cpus=1, **RESTARTS)(Judge).remote
    digest = read_header(path)["digest"]
    workers = [start(os.path.abspath(path), digest, question) for _ in range(n_workers)]
    waiting: deque[tuple[pa.RecordBatch, Any]] = deque()
    try:
        for i, (batch, source) in enumerate(batches):
            if len(waiting) == AHEAD * n_workers:
                yield _finished(ray, *waiting.popleft())
            waiting.append((batch, workers[i % n_workers].judge.remote(source, batch.num_rows)))
        while waiting:
            yield _finished(ray, *waiting.popleft())
    finally:
        for worker in workers:  # an error's traceback would keep them, and their processors
            ray.kill(worker)


def _finished(ray: Any, batch: pa.RecordBatch, found: Any) -> tuple[pa.RecordBatch, Detection]:
    with errors_of_workers():
        return batch, ray.get(found)


def score_dataset(
    dataset: "Dataset",
    model_path: str | os.PathLike[str],
    *,
    alpha: float = AUTO_ALPHA,
    fdr: float | None = None,
    tail: bool = False,
    prefix: str = "",
    n_workers: int | None = None,
    batch_rows: int = BATCH_ROWS,
) -> "Dataset":
    """Decision, evidence and reasons for each row of a Ray Dataset.

    The rows are scored when this is called, since q-values depend on all of them; they wait in
    the cluster's object store.

    Parameters
    ----------
    dataset : ray.data.Dataset
        Table with the columns seen at fit.
    model_path : path
        Model of a table, written by `save`; every worker reads it under this path.
    alpha, fdr, tail
        As in `VAEDetector.detect`.
    prefix : str
        Put before the names of the new columns.
    n_workers : int, optional
        Workers at most, each with the model and one thread; one a processor if None.
    batch_rows : int
        Rows that a worker scores at a time; changes no result.

    Returns
    -------
    ray.data.Dataset
        The rows in their order, and columns is_outlier, p_value, q_value, score, mc_se,
        top_reasons, warnings, as `improbable score` writes them.

    Raises
    ------
    ImprobableError
        If Ray is not installed, or an argument is out of range.
    DataError, SchemaError
        If there are no rows, or not the columns of the model.

    Warns
    -----
    CalibrationWarning
        If `alpha` is below what the held-out rows can support, or `fdr` flags none of
        those that they cannot tell apart.
    """
    question = Question(alpha, fdr, tail)
    question.check()
    path = os.path.abspath(model_path)
    model = load(path).model_
    dataset.context.execution_options.preserve_order = True
    names = _checked_names(dataset, model, batch_rows, prefix)
    results.warn_unsupported(question.most_alpha, model, tail=tail)
    judging = (path, read_header(path)["digest"], question, prefix)
    scored = _scored(dataset, judging, n_workers, batch_rows)
    decision = _decision(scored, question, prefix, len(model.held_out))
    found: Dataset = scored.map_batches(
        partial(_decided, decision=decision, names=names),
        batch_format="pyarrow",
        batch_size=batch_rows,
    )
    return found


def _checked_names(dataset: Any, model: Model, batch_rows: int, prefix: str) -> list[str]:
    """Names of the columns, once the first rows were seen to suit the model."""
    if not isinstance(model.codec, TableCodec):
        raise DataError(
            "A Ray Dataset is scored as a table, and the model learned from something else. "
            "Pass its files to improbable score --engine ray."
        )
    with errors_of_workers():
        first = next(
            iter(dataset.iter_batches(batch_size=batch_rows, batch_format="pyarrow")), None
        )
    if first is None or not first.num_rows:
        raise DataError("The dataset holds no rows. Pass one with rows.")
    taken = [prefix + name for name in RESULT if prefix + name in first.column_names]
    if taken:
        raise DataError(
            f"The dataset already has columns named {', '.join(taken)}. "
            "Add a prefix to the new ones, as in prefix='improbable_'."
        )
    model.codec.transform(model.codec.read(first))  # refuses re-typed columns
    return list(first.column_names)


def _scored(dataset: Any, judging: tuple[Any, ...], n_workers: int | None, batch_rows: int) -> Any:
    """The rows with their evidence, in the object store; Ray Data restarts workers by itself."""
    ray, data = ray_module(), ray_module("ray.data")
    most = checked_workers(ray, n_workers)
    with errors_of_workers():
        return dataset.map_batches(
            Judge,
            fn_constructor_args=judging,
            compute=data.ActorPoolStrategy(min_size=1, max_size=most),
            batch_format="pyarrow",
            batch_size=batch_rows,
            num_cpus=1,
        ).materialize()


def _decision(scored: Any, question: Question, prefix: str, n_held_out: int) -> Decision:
    """What all rows tell together: q-values, and the columns that none of them holds."""
    p_value = prefix + "p_value"
    tally, never = Tally(), None
    for batch in scored.select_columns([p_value, NEVER]).iter_batches(batch_format="pyarrow"):
        tally.add(batch[p_value].to_numpy())
        for names in batch[NEVER].unique().to_pylist():
            absent = names.split("\n") if names else []
            never = absent if never is None else [name for name in never if name in absent]
    tally.warn(question, n_held_out)
    return Decision(question, tally.q_values(), never or [], prefix)


def _decided(rows: pa.Table, decision: Decision, names: list[str]) -> pa.Table:
    """Rows with the columns of `RESULT` in place of their evidence."""
    kept = rows.select(names)
    found = decision.columns(rows)
    schema = result_schema(kept.schema, decision.prefix)
    return pa.Table.from_arrays([*kept.columns, *(found[name] for name in RESULT)], schema=schema)
