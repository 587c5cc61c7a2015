"""Rows by where they lie in latent space: which are nearest, and which is likely to be meant."""

import json
import os
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from improbable import arguments
from improbable.data.files import open_writer
from improbable.errors import DataError, FormatError, ImprobableError
from improbable.latent import approximate
from improbable.latent.catalog import ID, extended, labels_of, matching, remaining
from improbable.latent.gaussians import Floats, Posterior
from improbable.latent.measures import MEASURES
from improbable.latent.neighbors import Neighbors, neighbors_of
from improbable.latent.packing import BLOCK, Items, join, kept, pack
from improbable.latent.search import Task, nearest

FORMAT = 1
MAGIC = b"improbable.index"


class LatentIndex:
    """Items in latent space, each a Gaussian, to be searched for the nearest.

    An index never changes: `add` and `remove` return another. It keeps the posterior to the last
    bit: 16 latent_dim + 12 bytes an item, where loc and scale have 16 latent_dim, besides ids and
    columns.

    Parameters
    ----------
    posterior : Posterior
        The items, as `VAEDetector.posterior` gives them.
    ids : sequence of str or int, optional
        Name of each item, all different; 0 to n - 1 when absent.
    columns : data frame, optional
        What else is known of the items, a row for each, to filter by.

    Attributes
    ----------
    space : str
        Name of the latent space of the items; empty where it is not known.

    Raises
    ------
    DataError
        If there is no item, a number is not finite, a scale not positive, or lengths differ.
    """

    def __init__(self, posterior: Posterior, ids: Any = None, columns: Any = None) -> None:
        checked_items = _items(posterior)
        labels = labels_of(ids, columns, len(checked_items))
        self._assemble(pack(checked_items), labels, posterior.space)

    def _assemble(self, items: Items, labels: pa.Table, space: str) -> "LatentIndex":
        clash = {*labels.column_names[1:]} & {*_names(items.latent_dim)}
        if clash:
            raise DataError(f"A column is named {clash.pop()!r}, as one of the index. Rename it.")
        self._items, self._labels, self.space = items, labels.combine_chunks(), space
        self._cells: approximate.Cells | None = None
        self._known: dict[tuple[int, float], approximate.Cells] = {}
        return self

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        names = ", ".join(self._labels.column_names[1:])
        known = f", columns {names}" if names else ""
        return f"<LatentIndex of {len(self)} items, {self.latent_dim} latent dimensions{known}>"

    @property
    def latent_dim(self) -> int:
        """Latent dimensions."""
        return self._items.latent_dim

    @property
    def ids(self) -> NDArray[Any]:
        """Names of the items, shape (n_items,), int or str."""
        return np.asarray(self._labels[ID].to_numpy())

    @property
    def columns(self) -> pa.Table:
        """What else is known of the items."""
        return self._labels.drop_columns([ID])

    @property
    def posterior(self) -> Posterior:
        """The items."""
        return replace(self._items.take(slice(None)), space=self.space)

    @property
    def nbytes(self) -> int:
        """Bytes of memory, those of ids and columns included."""
        return self._items.nbytes + int(self._labels.nbytes)

    def search(
        self,
        queries: Any,
        k: int = 10,
        metric: str = "log_density",
        where: Any = None,
        *,
        recall: float = 1.0,
    ) -> Neighbors:
        """Nearest items of each query.

        Exact unless told otherwise: the items that a float64 evaluation of each one gives, in
        its order, ties included.

        Parameters
        ----------
        queries : array of shape (n_queries, latent_dim) or (latent_dim,), or Posterior
            Points z, or Gaussians. "log_density" and "euclidean" take the means of the latter;
            the other metrics need them.
        k : int
            Items wanted for each query.
        metric : str
            "log_density", "kl" (of the query to the item), "jeffreys", "wasserstein",
            "bhattacharyya" or "euclidean". All but the first two are evaluated for every item,
            which takes longer.
        where : mapping or array of bool, optional
            Which items count: {"sex": "F", "city": ["anaheim", "boulder"], "age": (20, 40)} asks
            for a value, one of several, and a range with both its ends.
        recall : float
            Below 1, FAISS finds this share of the nearest or more, and faster; what a sample
            shows is in `Neighbors.recall`, and probabilities are among the items that it looks
            at. For "log_density" without `where`. The first such search takes time to prepare,
            and memory for half of the posterior.

        Returns
        -------
        Neighbors

        Raises
        ------
        DataError
            If queries have another width or come from another model than the items, or a
            number is not finite.
        SchemaError
            If the items lack a column of `where`.
        ImprobableError
            If another argument is out of its range, or FAISS is absent and needed.
        """
        if metric not in MEASURES:
            raise ImprobableError(f"There is no metric {metric!r}. {_nearest_name(metric)}")
        arguments.whole("k", k)
        self._check_space(queries)
        query = _query(queries, metric, self.latent_dim)
        rows = matching(self._labels, where)
        task = Task(self._items, query, MEASURES[metric], int(k), rows)
        if recall == 1.0:
            found, measured = nearest(task), 1.0
        else:
            cells = self._tuned(task, recall)
            found, measured = approximate.retrieved(cells, task), cells.recall
        ids = self._labels[ID].chunk(0)
        return neighbors_of(task, *found, ids, metric=metric, recall=measured)

    def _tuned(self, task: Task, recall: float) -> approximate.Cells:
        """Cells for a number of neighbors and a recall, made once."""
        if not isinstance(recall, int | float) or not 0.0 < recall < 1.0:
            raise ImprobableError(f"recall must be above 0 and at most 1, got {recall!r}.")
        if task.measure is not MEASURES["log_density"] or task.rows is not None:
            raise ImprobableError(
                "Approximate search is for log_density among all items. Leave recall=1.0."
            )
        self._cells = self._cells or approximate.cells_of(self._items)
        key = task.k, recall
        if key not in self._known:
            self._known[key] = approximate.tuned(self._cells, self._items, task.k, recall)
        return self._known[key]

    def add(self, posterior: Posterior, ids: Any = None, columns: Any = None) -> "LatentIndex":
        """Index with more items after its own.

        Parameters
        ----------
        posterior, ids, columns
            As for the index. Whole-number ids go on after the largest when absent.

        Raises
        ------
        DataError
            If an id is there already, or the items are of another latent space.
        SchemaError
            If the columns differ from those of the index.
        """
        self._check_space(posterior)
        more = _items(posterior)
        if more.loc.shape[1] != self.latent_dim:
            raise DataError(
                f"The items have {more.loc.shape[1]} latent dimensions, the index has "
                f"{self.latent_dim}. Encode both with the same model."
            )
        labels = extended(self._labels, ids, columns, len(more))
        parts = [self._items, pack(more, self._items.center)]
        return _index(join(parts, len(labels)), labels, self.space or posterior.space)

    def remove(self, ids: Any) -> "LatentIndex":
        """Index without some items, named by their ids.

        Raises
        ------
        DataError
            If there is no such item, or none would remain.
        """
        rest = remaining(self._labels, ids)
        return _index(kept(self._items, rest), self._labels.take(rest), self.space)

    def _check_space(self, others: Any) -> None:
        """Refuse what is known to lie in another latent space."""
        space = getattr(others, "space", "")
        if space and self.space and space != self.space:
            raise DataError(
                "These rows were encoded by another model than those of the index. "
                "Use the model it was built with, or build it anew."
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a Parquet file, which appears under its name when it is complete.

        Its columns are id, loc_0.., scale_0.. and those of the items.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        center = self._items.center.tolist()
        about = json.dumps({"format": FORMAT, "center": center, "space": self.space})
        first = self._table(slice(0, 0)).schema.with_metadata({MAGIC: about})
        with open_writer(path, first, format="parquet") as writer:
            for start in range(0, len(self), BLOCK):
                for batch in self._table(slice(start, start + BLOCK)).to_batches():
                    writer.write(batch)

    def _table(self, rows: slice) -> pa.Table:
        labels = self._labels.slice(rows.start, rows.stop - rows.start)
        items = self._items.take(rows)
        sides = np.vstack([items.loc.T, items.scale.T])
        for place, name in enumerate(_names(self.latent_dim)):
            labels = labels.add_column(1 + place, name, pa.array(sides[place]))
        return labels

    @staticmethod
    def load(path: str | os.PathLike[str]) -> "LatentIndex":
        """Index that `save` wrote, read from a memory map piece by piece.

        Returns
        -------
        LatentIndex
            Its answers are those of the saved one, bit for bit.

        Raises
        ------
        FormatError
            If the file is missing, damaged, no index, or written by a newer version.
        """
        if not os.path.exists(path):
            raise FormatError(f"There is no index {path}. Check the path, or save one there.")
        try:
            return _read(path)
        except FormatError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:300].rstrip(".")
            raise FormatError(
                f"{path} cannot be read as an index: {reason or type(error).__name__}. "
                f"Save the index again."
            ) from error


def _index(items: Items, labels: pa.Table, space: str) -> LatentIndex:
    return LatentIndex.__new__(LatentIndex)._assemble(items, labels, space)


def _read(path: str | os.PathLike[str]) -> LatentIndex:
    with pq.ParquetFile(path, memory_map=True) as file:
        about = json.loads((file.schema_arrow.metadata or {}).get(MAGIC, b"{}"))
        center, space = _center(path, about), str(about.get("space", ""))
        names = _names(len(center))
        batches = file.iter_batches(BLOCK, columns=names)
        packed = (pack(_items(_posterior(batch, names)), center) for batch in batches)
        items = join(packed, file.metadata.num_rows)
        table = file.read([name for name in file.schema_arrow.names if name not in names])
        table.validate(full=True)
        labels = labels_of(table[ID], table.drop_columns([ID]), len(items))
        return _index(items, labels, space)


def _center(path: Any, about: dict[str, Any]) -> Floats:
    """Center that the file names, after a look at what it says of itself."""
    if "format" not in about:
        raise FormatError(f"{path} is no index. Pass a file that LatentIndex.save wrote.")
    if about["format"] != FORMAT:
        raise FormatError(
            f"{path} has format {about['format']!r}, this version of improbable reads {FORMAT}. "
            f"Install a newer version."
        )
    center = np.array(about["center"], dtype=np.float64)
    if center.ndim != 1 or not len(center) or not np.isfinite(center).all():
        raise FormatError(f"{path} has no valid center. Save the index again.")
    return center


def _posterior(batch: pa.RecordBatch, names: list[str]) -> Posterior:
    batch.validate(full=True)
    sides = np.column_stack([batch[name].to_numpy(zero_copy_only=True) for name in names])
    loc, scale = np.hsplit(sides, 2)
    return Posterior(loc, scale)


def _names(latent_dim: int) -> list[str]:
    return [f"{side}_{j}" for side in ("loc", "scale") for j in range(latent_dim)]


def _items(posterior: Posterior) -> Posterior:
    """Posterior, fit to be indexed."""
    if not isinstance(posterior, Posterior):
        raise DataError(
            f"Items come as a Posterior, not as {type(posterior).__name__}. "
            f"Pass what VAEDetector.posterior gives, or Posterior(loc, scale)."
        )
    loc, scale = (np.asarray(s, dtype=np.float64) for s in (posterior.loc, posterior.scale))
    if loc.ndim != 2 or loc.shape != scale.shape or not loc.size:
        raise DataError(
            f"loc and scale must both be n_items x latent_dim, got {loc.shape} and "
            f"{scale.shape}. Pass one row for each item, one or more."
        )
    if not np.isfinite(loc).all() or not np.isfinite(scale).all() or not (scale > 0.0).all():
        raise DataError(
            "Some loc is not finite, or some scale not finite and above 0. Leave such items out."
        )
    return replace(posterior, loc=loc, scale=scale)


def _query(queries: Any, metric: str, latent_dim: int) -> Posterior:
    """Queries as Gaussians, of scale 0 where only their means matter."""
    if MEASURES[metric].spread:
        if not isinstance(queries, Posterior):
            raise ImprobableError(
                f"{metric} compares Gaussians. Pass a Posterior as query, or use "
                f"metric='log_density' for points."
            )
        _check_width(queries.loc, latent_dim)
        return _items(queries)
    points = queries.loc if isinstance(queries, Posterior) else queries
    try:
        z = np.atleast_2d(np.asarray(points, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise DataError("Queries are no array of numbers. Pass points z.") from error
    _check_width(z, latent_dim)
    if not np.isfinite(z).all():
        raise DataError("Some query is not finite. Leave such queries out.")
    return Posterior(z, np.zeros_like(z), getattr(queries, "library", "pyarrow"))


def _check_width(z: Any, latent_dim: int) -> None:
    shape = np.shape(z)
    if len(shape) != 2 or shape[1] != latent_dim:
        raise DataError(
            f"Queries have the shape {shape}, the items {latent_dim} latent dimensions. "
            f"Pass n_queries x {latent_dim} numbers."
        )


def _nearest_name(metric: Any) -> str:
    near = get_close_matches(str(metric), MEASURES, 1)
    return f"Did you mean {near[0]!r}?" if near else f"Use one of {', '.join(MEASURES)}."
