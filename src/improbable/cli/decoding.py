"""Points in latent space as rows or images: decoded piece by piece into a file."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa

from improbable import randomness
from improbable.cli.album import BATCH_ENTRIES
from improbable.cli.outputs import open_rows, write_whole
from improbable.cli.places import Places, identifiers
from improbable.data.codec import Codec
from improbable.data.parts import Floats
from improbable.data.sequences import SequenceCodec
from improbable.data.table import TableCodec
from improbable.data.windows import WindowCodec
from improbable.detector import VAEDetector
from improbable.errors import DataError
from improbable.latent import algebra
from improbable.latent.algebra import Direction
from improbable.latent.gaussians import Posterior


def in_arrow(detector: VAEDetector) -> VAEDetector:
    """Detector whose decoded tables are Arrow tables, whatever it was fitted on."""
    model = detector.model_
    codec: Codec = model.codec
    if isinstance(codec, WindowCodec):
        codec = replace(codec, point=replace(codec.point, library="pyarrow"))
    elif isinstance(codec, TableCodec):
        codec = replace(codec, library="pyarrow")
    elif isinstance(codec, SequenceCodec):
        codec = replace(codec, form=replace(codec.form, library="pyarrow", table=True))
    found = copy(detector)
    found.model_ = replace(model, codec=codec)
    return found


def write_decoded(
    detector: VAEDetector,
    z: Floats,
    output: str,
    *,
    format: str | None = None,
    carried: pa.Table | None = None,
    draw: bool = False,
    random_state: int | np.random.Generator = 0,
) -> int:
    """Write what points decode to; how many there were.

    Parameters
    ----------
    detector : VAEDetector
    z : ndarray of shape (n, latent_dim)
    output, format : str
        Where to.
    carried : pyarrow.Table, optional
        Identifiers, a row for each point.
    draw, random_state : bool, int or Generator
        As for `VAEDetector.decode`.
    """
    arrow, rng = in_arrow(detector), np.random.default_rng(random_state)
    codec = arrow.model_.codec
    step = max(1, BATCH_ENTRIES // codec.event_size)
    schema = getattr(_decoded(arrow, z[:1], carried), "schema", None)
    with open_rows(output, codec, total=len(z), schema=schema, format=format) as write:
        for start in range(0, len(z), step):
            some = None if carried is None else carried.slice(start, step)
            piece = z[start : start + step]
            write(_decoded(arrow, piece, some, draw=draw, random_state=rng))
    return len(z)


def write_like(
    detector: VAEDetector,
    around: Posterior,
    n: int,
    output: str,
    *,
    spread: float,
    seed: int,
    format: str | None,
) -> None:
    """Write `n` new rows around the one of a posterior, as `VAEDetector.sample_like` draws them.

    Raises
    ------
    DataError
        If `spread` is below 0 or not finite.
    """
    if not np.isfinite(spread) or spread < 0.0:
        text = f"--spread {spread:g} is no number of 0 or more."
        raise DataError(f"{text} Give one, as in --spread 0.5.")
    rng = randomness.numpy_generator(randomness.seed_sequence(seed))
    noise = rng.standard_normal((n, around.loc.shape[1]))
    z = around.loc + spread * around.scale * noise
    write_decoded(detector, z, output, format=format, draw=True, random_state=rng)


def write_between(
    detector: VAEDetector, ends: Floats, n: int, path: str, output: str, *, format: str | None
) -> None:
    """Write `n` rows on the way between two points."""
    arrow = in_arrow(detector)
    found = arrow.interpolate(ends[0], ends[1], n, path=path)
    write_whole(output, arrow.model_.codec, found, format=format)


def write_steered(
    detector: VAEDetector,
    places: Places,
    name: str,
    amounts: Sequence[float],
    output: str,
    *,
    format: str | None,
) -> int:
    """Write each point with every amount of a direction added; how many there were."""
    rows = np.repeat(np.arange(len(places.loc)), len(amounts))
    steps = np.tile(amounts, len(places.loc))
    z = algebra.steer(places.loc[rows], known_direction(detector, name), steps)
    kept = identifiers(detector.model_, places.rows)
    carried = None if kept is None else kept.take(pa.array(rows))
    return write_decoded(detector, z, output, format=format, carried=carried)


def known_direction(detector: VAEDetector, name: str) -> Direction:
    """A direction of a model by name.

    Raises
    ------
    DataError
        If there is none of that name.
    """
    if name in detector.directions:
        return detector.directions[name]
    near = get_close_matches(name, detector.directions, 1)
    there = ", ".join(sorted(detector.directions)) or "none"
    hint = f"Did you mean {near[0]}?" if near else "Learn one: improbable directions add."
    raise DataError(f"The model has no direction {name!r}; there are: {there}. {hint}")


def _decoded(arrow: VAEDetector, z: Floats, carried: pa.Table | None, **options: Any) -> Any:
    found = arrow.decode(z, **options)
    if carried is not None:
        for name, cells in zip(carried.column_names, carried.itercolumns(), strict=True):
            place = found.column_names.index(name)
            found = found.set_column(place, name, cells.slice(0, len(z)))
    return found
