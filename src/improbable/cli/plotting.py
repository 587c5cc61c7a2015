"""What the drawing commands need: rows read whole, colors, and a file for the picture."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from improbable.cli.console import counted
from improbable.cli.destinations import check_apart, check_destination
from improbable.cli.inputs import InputFile, open_feed
from improbable.cli.options import DEFAULT_BATCH_ROWS
from improbable.cli.outputs import replacing
from improbable.data.images import ImageCodec
from improbable.data.parts import Floats
from improbable.detector import VAEDetector
from improbable.errors import DataError
from improbable.latent.gaussians import Posterior

FORMATS = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Judged:
    """Rows of a file, where they lie, and how normal they are.

    Attributes
    ----------
    posterior : Posterior
    scores, p_values : ndarray of shape (n,)
    table : pyarrow.Table
        What is known of the rows.
    """

    posterior: Posterior
    scores: Floats
    p_values: Floats
    table: pa.Table


def check_picture(path: str, *others: str) -> None:
    """Refuse a path that no picture can be written to.

    Raises
    ------
    DataError
        If it has another extension, its folder is absent, or it is one of `others`.
    """
    check_apart(path, *others)
    if os.path.splitext(path)[1].lower() not in FORMATS:
        raise DataError(f"{path} is no picture. Name it .png, .svg or .pdf.")
    check_destination(path)


def read_all(detector: VAEDetector, path: str, format: str | None, array: str | None) -> Judged:
    """Posteriors and scores of all rows of a file."""
    model = detector.model_
    input = InputFile(path, format, array, batch_rows=DEFAULT_BATCH_ROWS)
    feed = open_feed(input, model.codec)
    batches, locs, scales, scores = [], [], [], []
    for batch, source in feed:
        n = batch.num_rows
        rows = model.codec.transform(source)
        found = model.posterior(rows)
        batches.append(batch)
        locs.append(found.loc[:n])
        scales.append(found.scale[:n])
        scores.append(model.decision_scores(rows)[:n])
    if not batches:
        raise DataError(f"{path} has no rows to draw. Pass some.")
    judged = np.concatenate(scores)
    posterior = Posterior(np.concatenate(locs), np.concatenate(scales))
    table = pa.Table.from_batches(batches, schema=feed.schema)
    return Judged(posterior, judged, model.p_values(judged), table)


def colors(rows: Judged, name: str | None) -> NDArray[Any] | None:
    """Values of a column, or of the scores, to color rows by.

    Raises
    ------
    DataError
        If there is no such column.
    """
    if name is None:
        return None
    known = {"score": rows.scores, "p_value": rows.p_values}
    if name in rows.table.column_names:
        return _cells(rows.table[name])
    if name not in known:
        columns = ", ".join(rows.table.column_names)
        raise DataError(f"There is no column {name!r} to color by. Use score, p_value, {columns}.")
    return known[name]


def _cells(column: pa.ChunkedArray) -> NDArray[Any]:
    """Numbers or dates if all cells are, else text."""
    for wanted in (pa.float64(), pa.timestamp("us")):
        try:
            return np.asarray(column.cast(wanted).to_numpy())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
    return np.array([str(cell) for cell in column.to_pylist()])


def of_images(detector: VAEDetector) -> VAEDetector:
    """The detector itself, if it learned from images.

    Raises
    ------
    DataError
        If it did not.
    """
    if not isinstance(detector.model_.codec, ImageCodec):
        raise DataError("This picture is of images, and the model learned from a table. Use map.")
    return detector


def least_normal(detector: VAEDetector, path: str, array: str | None, n: int) -> NDArray[Any]:
    """The `n` images of the lowest scores, the lowest first."""
    images = _images(detector, path, array)
    return images[np.argsort(detector.score_samples(images), kind="stable")[:n]]


def one_image(detector: VAEDetector, path: str, array: str | None, row: int) -> NDArray[Any]:
    """One image by number, shape (1, height, width[, channels])."""
    images = _images(detector, path, array)
    if row >= len(images):
        raise DataError(
            f"There is no image {row}: {path} has {counted(len(images), 'image')}, counted from 0."
        )
    return images[row : row + 1]


def _images(detector: VAEDetector, path: str, array: str | None) -> NDArray[Any]:
    feed = open_feed(InputFile(path, None, array), detector.model_.codec)
    stacks = [source.to_native()[: batch.num_rows] for batch, source in feed]
    if not stacks:
        raise DataError(f"{path} has no images to draw. Pass some.")
    return np.concatenate(stacks)


def keep(drawn: Any, path: str) -> None:
    """Write a figure, or the figure of axes; it appears only when it is complete."""
    figure = getattr(drawn, "figure", None) or drawn
    extension = os.path.splitext(path)[1].lower().lstrip(".")
    with replacing(path) as sink:
        figure.savefig(sink, dpi=150, format=extension)
