"""Points in latent space that the user names: rows of INPUT, or numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from improbable.cli import parsing
from improbable.cli.album import IMAGE, as_batch
from improbable.cli.console import counted
from improbable.cli.explaining import pick_rows
from improbable.cli.feed import columns_of
from improbable.cli.inputs import Feed, InputFile, open_feed
from improbable.cli.options import DEFAULT_BATCH_ROWS
from improbable.data.columns import Identifier
from improbable.data.files import read_table
from improbable.data.parts import Floats
from improbable.data.table import TableCodec
from improbable.errors import DataError
from improbable.latent.gaussians import Posterior
from improbable.model import Model

Moved = Callable[[int], object]
Seen = Callable[[pa.RecordBatch], object]


@dataclass(frozen=True)
class Places:
    """Points in latent space.

    Attributes
    ----------
    found : Posterior or ndarray of shape (n, latent_dim)
        Of the rows, or the numbers given.
    names : list
        File names of images, else row numbers, or those of the points.
    rows : pyarrow.Table, optional
        The rows themselves.
    """

    found: Posterior | Floats
    names: list[Any]
    rows: pa.Table | None = None

    @property
    def loc(self) -> Floats:
        """The means of the rows, or the numbers given."""
        return self.found.loc if isinstance(self.found, Posterior) else self.found

    @property
    def only(self) -> Floats:
        """The one point there is.

        Raises
        ------
        DataError
            If there are more.
        """
        if len(self.names) != 1:
            raise DataError(f"One point is wanted, got {len(self.names)}. Pass --z once.")
        found: Floats = self.loc[0]
        return found


def input_file(
    path: str | None, format: str | None, array: str | None, batch_rows: int = DEFAULT_BATCH_ROWS
) -> InputFile | None:
    """What the user said of INPUT, if of any."""
    return None if path is None else InputFile(path, format, array, batch_rows=batch_rows)


def find_places(
    model: Model,
    input: InputFile | None,
    rows: Sequence[int] | None,
    z: Sequence[str] | None,
    moved: Moved = int,
) -> Places:
    """Points of some rows of INPUT, of all, or those given as numbers.

    Parameters
    ----------
    model : Model
    input : InputFile, optional
    rows : sequence of int, optional
        Rows by number; all if none are named.
    z : sequence of str, optional
        Points as text, instead of INPUT.
    moved : callable
        Told how many rows were read.

    Raises
    ------
    DataError
        If there are both INPUT and points or neither, or one cannot be read.
    """
    if input is None or z:
        return typed_places(model.vae.latent_dim, input, rows, z)
    feed = open_feed(input, model.codec)
    if not rows:
        kept: list[pa.RecordBatch] = []
        found = encode(model, feed, kept.append, moved)
        table = pa.Table.from_batches(kept, schema=feed.schema)
        return Places(found, _names(feed, table, range(len(found))), table)
    picked = pick_rows(feed, rows)
    found = _posterior(model, feed.frame(picked.rows, picked.places), len(rows))
    table = pa.Table.from_batches([picked.rows])
    return Places(found, _names(feed, table, picked.places), table)


def find_row(model: Model, input: InputFile, row: int) -> Posterior:
    """Posterior of one row of INPUT.

    Raises
    ------
    DataError
        If there is no such row.
    """
    feed = open_feed(input, model.codec)
    return _posterior(model, feed.frame(pick_rows(feed, [row]).rows, [row]), 1)


def typed_places(
    latent_dim: int, input: InputFile | None, rows: Sequence[int] | None, z: Sequence[str] | None
) -> Places:
    """Points given as numbers, and nothing else.

    Raises
    ------
    DataError
        If there are none, or rows besides.
    """
    if not z or input is not None:
        raise DataError("Say where to begin: pass INPUT, or points as in --z 0.5,-1; not both.")
    if rows:
        raise DataError("Rows are rows of INPUT. Leave them out, or pass INPUT.")
    points = np.array(parsing.points(z, latent_dim), dtype=np.float64)
    return Places(points, list(range(len(points))))


def find_ends(
    model: Model,
    input: InputFile | None,
    first: int | None,
    last: int | None,
    z: Sequence[str] | None,
) -> Floats:
    """Two points to go from and to, shape (2, latent_dim).

    Raises
    ------
    DataError
        If they are not two.
    """
    rows = [row for row in (first, last) if row is not None]
    if len(rows if input else z or []) != 2:
        raise DataError(
            "Two ends are wanted: pass INPUT with --from 3 --to 17, or two points as in "
            "--z 0,0 --z 1,1."
        )
    return find_places(model, input, rows, z).loc


def _names(feed: Feed, rows: pa.Table, places: Sequence[int]) -> list[Any]:
    return list(rows[IMAGE].to_pylist() if feed.names else places)


def encode(model: Model, feed: Feed, see: Seen = id, moved: Moved = int) -> Posterior:
    """Posterior of all rows of a feed, each batch shown to `see`.

    Raises
    ------
    DataError
        If there are none.
    """
    parts: list[Posterior] = []
    for batch, source in feed:
        see(batch)
        parts.append(_posterior(model, source, batch.num_rows))
        moved(batch.num_rows)
    if not parts:
        raise DataError("INPUT has no rows. Pass a file with some.")
    loc, scale = (np.concatenate([getattr(p, side) for p in parts]) for side in ("loc", "scale"))
    return Posterior(loc, scale, space=model.space)


def _posterior(model: Model, source: Any, n: int) -> Posterior:
    found = model.posterior(model.codec.transform(source))
    return Posterior(found.loc[:n], found.scale[:n], space=found.space)


def identifiers(model: Model, rows: pa.Table | None) -> pa.Table | None:
    """Columns of rows that only tell them apart; None for images and points."""
    if rows is None or not isinstance(model.codec, TableCodec):
        return None
    known = columns_of(rows.column_names, model.codec)
    names = [name for name, column in known.items() if isinstance(column.kind, Identifier)]
    renamed = [known[name].name for name in names]
    return pa.table(as_batch(rows.select(names)).columns, names=renamed)


def read_points(path: str, latent_dim: int, format: str | None) -> Floats:
    """Points of a file: an .npy, or a table with columns loc_0.., z_0.., or no others.

    Raises
    ------
    DataError
        If there are none of that many dimensions.
    """
    if path.lower().endswith(".npy"):
        return _checked(path, np.load(path, allow_pickle=False), latent_dim)
    table = read_table(path, format=format)
    for side in ("loc", "z"):
        names = [f"{side}_{j}" for j in range(latent_dim)]
        if set(names) <= set(table.column_names):
            table = table.select(names)
            break
    columns = [c.to_numpy() for c in table.itercolumns()]
    return _checked(path, np.column_stack(columns), latent_dim)


def _checked(path: str, points: Any, latent_dim: int) -> Floats:
    numeric = points.dtype.kind in "biuf" and points.ndim == 2
    if not numeric or points.shape[1] != latent_dim or not np.isfinite(points).all():
        where = f"columns z_0 to z_{latent_dim - 1}" if latent_dim > 1 else "a column z_0"
        raise DataError(
            f"{path} holds no points: a row must be {counted(latent_dim, 'finite number')}, in "
            f"{where} or in no others. Pass such a file, or --z."
        )
    found: Floats = points.astype(np.float64)
    return found
