"""Why points are flagged: `improbable.reasons` once more, in NumPy where that says the same."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Bools, Floats
from improbable.data.rows import Rows, dense
from improbable.data.series import Series
from improbable.explanations import Explanation
from improbable.generation import Mixture
from improbable.model import Model
from improbable.reasons import Findings, explain_columns, explain_rows
from improbable.streams.swift import Swift, conditional, shares


def explain_points(
    model: Model, swift: Swift | None, typical: Floats, source: Any, rows: Rows, *, n_best: int
) -> Explanation:
    """`reasons.explain_rows` of rows that overlap no others asked for.

    Parameters
    ----------
    model : Model
        Of tables or series.
    swift : Swift, optional
        Its `plain_network`; without it, torch explains.
    typical : ndarray of shape (n_columns,)
        `Reference.typical` of the model, which takes longer to find than to use.
    source : Frame or Series
        The items of `rows`.
    rows : Rows
    n_best : int
        Columns of each row to look at closely.

    Returns
    -------
    Explanation
        With `p_values` left NaN by NumPy, as readings tell none of columns.
    """
    codec: Any = model.codec
    if swift is None:
        return cast(Explanation, explain_rows(codec, model, source, rows, n_best=n_best))
    whole, found_shares = dense(rows), shares(model, swift, rows)

    def given(index: NDArray[np.intp], visible: Bools) -> Mixture:
        return conditional(swift, whole.take(index), visible)

    about = typical, model.stretch
    found = Findings(found_shares, np.full(found_shares.shape, np.nan), *about, given)
    frame = source.rows if isinstance(source, Series) else source
    return explain_columns(codec, frame, replace(whole, missing=rows.missing), found, n_best)
