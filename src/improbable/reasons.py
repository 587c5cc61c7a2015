"""Why rows score as they do, whatever they are made of: one function a kind of data."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from improbable.calibration import p_values
from improbable.data.frames import Frame
from improbable.data.images import ImageCodec
from improbable.data.parts import Floats
from improbable.data.pictures import Images
from improbable.data.rows import Rows
from improbable.data.sequences import SequenceCodec
from improbable.data.series import Series
from improbable.data.table import TableCodec
from improbable.data.tokens import END, UNKNOWN, UNKNOWN_NAME, Sequences
from improbable.data.windows import WindowCodec
from improbable.expectations import Conditional, expected_cells, least_values
from improbable.explanations import Explanation, names_seen
from improbable.model import Model
from improbable.scores import code_margins
from improbable.surprise import SurpriseMap
from improbable.token_surprise import END_NAME, TokenSurprise


class Reasons(Protocol):
    """An explanation that can be put in words."""

    def reasons(self, row: int, n: int = 3) -> list[str]:
        """Up to `n` sentences about a row, the most surprising first."""
        ...


@singledispatch
def explain_rows(codec: Any, model: Model, source: Any, rows: Rows, *, n_best: int) -> Reasons:
    """Explanation of rows, with expectations for the `n_best` columns of each.

    Parameters
    ----------
    codec : Codec
        Of the model; its type decides on the kind of explanation.
    model : Model
    source : Source
        The items of `rows`.
    rows : Rows
    n_best : int
        Columns of each row to look at closely.
    """
    raise NotImplementedError(f"Nothing explains {type(codec).__name__}. Register a function.")


@explain_rows.register(TableCodec)
def _(codec: TableCodec, model: Model, source: Frame, rows: Rows, *, n_best: int) -> Explanation:
    return _explain_columns(codec, model, source, rows, n_best)


@explain_rows.register(WindowCodec)
def _(codec: WindowCodec, model: Model, source: Series, rows: Rows, *, n_best: int) -> Explanation:
    return _explain_columns(codec, model, source.rows, rows, n_best)


def _explain_columns(
    codec: TableCodec | WindowCodec, model: Model, source: Frame, rows: Rows, n_best: int
) -> Explanation:
    shares = model.shares(rows)
    p_values = model.reference.p_values(shares, rows.missing)
    about = model.reference.typical, model.stretch
    found = Findings(shares, p_values, *about, model.conditional(rows))
    return explain_columns(codec, source, rows, found, n_best)


@dataclass(frozen=True)
class Findings:
    """What a model finds of the columns of some rows.

    Attributes
    ----------
    shares : ndarray of shape (n, n_columns)
        Of `expected_log_prob`, nats.
    p_values : ndarray of shape (n, n_columns)
        Of the shares.
    typical : ndarray of shape (n_columns,)
        Shares of an ordinary row, nats.
    stretch : ndarray of shape (n_columns,)
        Factors of the intervals.
    conditional : callable
        What cells were expected to be; see `expectations.expected_cells`.
    """

    shares: Floats
    p_values: Floats
    typical: Floats
    stretch: Floats
    conditional: Conditional


def explain_columns(
    codec: TableCodec | WindowCodec, source: Frame, rows: Rows, found: Findings, n_best: int
) -> Explanation:
    """Explanation by columns; of series their last points are expected, given what came before."""
    surprise = np.where(rows.missing, 0.0, found.typical - found.shares)
    rank = np.argsort(np.argsort(-surprise, axis=1, kind="stable"), axis=1)
    expected = expected_cells(codec, rows.observed, rank < n_best, found.conditional)
    expected = expected.stretched(found.stretch, least_values(codec))
    values = found_values(codec if isinstance(codec, TableCodec) else codec.point, source)
    modeled = codec.modeled
    seen, n_seen = names_seen(codec, values)
    return Explanation(
        columns=codec.names,
        shares=found.shares,
        p_values=found.p_values,
        surprise=surprise,
        values=values,
        expected=expected.values,
        lower=expected.lower,
        upper=expected.upper,
        seen=seen,
        n_seen=n_seen,
        library=source.library,
        time_types=tuple(column.time_type for column in modeled),
        row_labels=source.row_labels,
    )


def found_values(codec: TableCodec, frame: Frame) -> NDArray[np.object_]:
    """Values of the modeled columns as the user wrote them, shape (n, n_columns)."""
    index = np.arange(frame.n_rows)
    out = np.empty((frame.n_rows, len(codec.modeled)), dtype=object)
    for i, column in enumerate(codec.modeled):
        out[:, i] = column.displayed(frame.columns[column.name], index)
    return out


@explain_rows.register(ImageCodec)
def _(codec: ImageCodec, model: Model, source: Images, rows: Rows, *, n_best: int) -> SurpriseMap:
    shares = model.shares(rows)
    shape = (len(rows), *codec.shape)
    surprise = np.where(rows.missing, 0.0, model.reference.typical - shares)
    p_values = model.reference.p_values(shares, rows.missing)
    return SurpriseMap(
        images=source.to_native(),
        shares=codec.channels_last(shares.reshape(shape)),
        surprise=codec.channels_last(surprise.reshape(shape)),
        p_values=codec.channels_last(p_values.reshape(shape)),
        expected=codec.inverse_transform(model.decoded(rows), source).to_native(),
    )


@explain_rows.register(SequenceCodec)
def _(
    codec: SequenceCodec, model: Model, source: Sequences, rows: Rows, *, n_best: int
) -> TokenSurprise:
    shares = model.shares(rows)
    judged = rows.observed | rows.unseen
    found = model.evaluate(rows, code_margins).reshape(len(rows), 2, codec.event_size)
    best, codes = found[:, 0], np.where(rows.out_of_range, END, found[:, 1]).astype(np.int64)
    names = _objects([END_NAME, UNKNOWN_NAME, *codec.tokens])
    known = model.reference.shares[model.reference.shares < 0.0]
    p = p_values(shares.ravel(), np.sort(known)).reshape(shares.shape)
    return TokenSurprise(
        sequences=source.items,
        shares=shares,
        surprise=np.where(judged, np.maximum(best - shares, 0.0), 0.0),
        p_values=np.where(judged, p, np.nan),
        expected=names[np.where(judged, codes, UNKNOWN)],
        judged=judged,
        library=source.library,
    )


def _objects(items: Sequence[Any]) -> NDArray[np.object_]:
    """Objects side by side, tuples as they are."""
    out = np.empty(len(items), dtype=object)
    out[:] = items
    return out
