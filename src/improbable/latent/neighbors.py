"""Answers of a search in latent space."""

from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from improbable.data.frames import frame_library
from improbable.latent.gaussians import Floats, Posterior
from improbable.latent.measures import log_density_at, standard_distance
from improbable.latent.search import Best, Positions, Task


@dataclass(frozen=True, repr=False)
class Neighbors:
    """Nearest items of some queries, the nearest first.

    Attributes
    ----------
    ids : ndarray of shape (n_queries, k)
        Of the items, int or str. Fewer than k columns where fewer items count. Of items equally
        near the one that was added first comes first.
    values : ndarray of shape (n_queries, k)
        By `metric`: log q(z given x_i) in nats for "log_density", the higher the nearer; else a
        divergence or distance, the lower the nearer: nats, but units of z for "wasserstein" and
        "euclidean".
    probabilities : ndarray of shape (n_queries, k)
        Probability that the item produced z, if one of those that count did and all were as
        likely to beforehand: q(z given x_i) over its sum. z is the query, or its mean. NaN where
        every density underflows, some 1e154 standard deviations away.
    distances : ndarray of shape (n_queries, k)
        From the item's mean to z in the item's standard deviations:
        sqrt(sum_j (z_j - loc_ij)^2 / scale_ij^2).
    positions : ndarray of int of shape (n_queries, k)
        Of the items in the index.
    metric : str
        What `values` are.
    recall : float
        Share of the true neighbors to expect among these: 1 where the search was exact, else as
        measured on a sample of points drawn from the items.
    library : str
        What `to_frame` gives unless told otherwise.
    """

    ids: NDArray[Any]
    values: Floats
    probabilities: Floats
    distances: Floats
    positions: Positions
    metric: str = "log_density"
    recall: float = 1.0
    library: str = "pyarrow"

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        n, k = self.ids.shape
        how = "" if self.recall == 1.0 else f", recall {self.recall:.3f}"
        lines = [f"<Neighbors of {n} queries, {k} each, by {self.metric}{how}>"]
        for ids, values, shares in zip(
            self.ids[:3], self.values, self.probabilities, strict=False
        ):
            cells = [
                f"{i} ({v:.4g}, p {p:.3g})" for i, v, p in zip(ids, values, shares, strict=True)
            ]
            lines.append("  " + ", ".join(cells[:3]) + (", ..." if k > 3 else ""))
        return "\n".join(lines + ["  ..."] * (n > 3))

    def to_frame(self, library: str | None = None) -> Any:
        """Table with columns query, rank (from 1), id, value, probability, distance."""
        n, k = self.ids.shape
        ids = self.ids.ravel()
        table = pa.table(
            {
                "query": np.repeat(np.arange(n), k),
                "rank": np.tile(np.arange(1, k + 1), n),
                "id": pa.array(ids, pa.string() if ids.dtype == object else None),
                "value": self.values.ravel(),
                "probability": self.probabilities.ravel(),
                "distance": self.distances.ravel(),
            }
        )
        wanted: Any = frame_library(library or self.library)
        try:
            return (
                table if wanted == "pyarrow" else nw.from_arrow(table, backend=wanted).to_native()
            )
        except (ImportError, ValueError):  # as `write_frame` does for a library that is absent
            return table


def neighbors_of(
    task: Task, best: Best, log_total: Floats, ids: pa.Array, *, metric: str, recall: float
) -> Neighbors:
    """What was found, with its ids, probabilities and distances.

    Parameters
    ----------
    task, best : Task, Best
        The search and its outcome.
    log_total : ndarray of shape (n_queries,)
        Log of the sum of the densities of the items that count.
    ids : Array of shape (n_items,)
        Of all items.
    metric, recall : str, float
        See `Neighbors`.
    """
    shape = best.positions.shape
    flat = best.positions.ravel()
    found = task.items.take(flat)
    wide = *shape, task.items.latent_dim
    items = Posterior(found.loc.reshape(wide), found.scale.reshape(wide))
    query = Posterior(task.query.loc[:, None], task.query.scale[:, None])
    with np.errstate(all="ignore"):
        logs = log_density_at(query, items) - log_total[:, None]
        return Neighbors(
            ids=ids.take(pa.array(flat)).to_numpy(zero_copy_only=False).reshape(shape),
            values=task.measure.sign * best.scores + 0.0,
            probabilities=np.exp(np.minimum(logs, 0.0)),
            distances=standard_distance(query, items),
            positions=best.positions,
            metric=metric,
            recall=recall,
            library=task.query.library,
        )
