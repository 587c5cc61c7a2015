"""Approximate nearest search with FAISS: items in cells, of which only the likeliest are probed.

A cell is taken for a Gaussian about its center, of the scale that items have on average; a query
probes the cells under which it is most probable, by the same inner product that finds items in
them. The best of those are then evaluated in float64. How many cells are probed is what a wanted
recall takes, measured on points drawn from the items.
"""

from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from improbable import randomness
from improbable.errors import ImprobableError
from improbable.latent.gaussians import Floats, Posterior
from improbable.latent.measures import MEASURES
from improbable.latent.packing import BLOCK, Items, pack
from improbable.latent.search import Best, Pairs, Positions, Task, log_sum, nearest

SAMPLE = 200
PER_CELL = 39  # FAISS warns of fewer items to a cell
TRAINED_ON = 64  # items for each cell
RETRIEVED = 128  # items at least; probabilities are among them


@dataclass(frozen=True)
class Cells:
    """Items in cells.

    Attributes
    ----------
    faiss : faiss.IndexIVFFlat
        Features of the items, once more.
    n_probe : int
        Cells looked into for a query.
    recall : float
        Share of the k closest items that are found, on average over a sample of points.
    """

    faiss: Any
    n_probe: int = 1
    recall: float = np.nan


def cells_of(items: Items) -> Cells:
    """Items in about as many cells as a cell has items.

    Raises
    ------
    ImprobableError
        If FAISS is not installed.
    """
    faiss = _faiss()
    n_cells = max(1, min(int(np.sqrt(len(items))), len(items) // PER_CELL))
    some = items.take(slice(None, None, max(1, len(items) // (TRAINED_ON * n_cells))))
    scale = some.scale.mean(axis=0)
    means = faiss.Kmeans(items.latent_dim, n_cells)
    means.train(_standard(some, items, scale))
    center = means.centroids * scale + items.center
    cells = pack(Posterior(center, np.broadcast_to(scale, center.shape)), items.center)
    quantizer = faiss.IndexFlatIP(_features(cells, slice(0, 1)).shape[1])
    quantizer.add(_features(cells, slice(None)))
    built = faiss.IndexIVFFlat(quantizer, quantizer.d, n_cells, faiss.METRIC_INNER_PRODUCT)
    built.is_trained = True
    for start in range(0, len(items), BLOCK):
        rows = slice(start, start + BLOCK)
        cell = means.index.search(_standard(items.take(rows), items, scale), 1)[1].ravel()
        features, pointer = _features(items, rows), faiss.swig_ptr
        built.add_core(len(cell), pointer(features), None, pointer(cell))
    return Cells(built)


def tuned(cells: Cells, items: Items, k: int, recall: float, random_state: Any = 0) -> Cells:
    """Cells probed until a sample shows the wanted recall; another sample says what it is."""
    rng = randomness.numpy_generator(randomness.seed_sequence(random_state))
    task, truth = _sample(items, k, rng)
    while cells.n_probe < cells.faiss.nlist and _recall(cells, task, truth) < recall:
        cells = replace(cells, n_probe=min(2 * cells.n_probe, cells.faiss.nlist))
    return replace(cells, recall=_recall(cells, *_sample(items, k, rng)))


def retrieved(cells: Cells, task: Task) -> tuple[Best, Floats]:
    """The closest of the items found, and the log of the sum of their densities.

    Queries near which the cells hold too few items are searched for among all.
    """
    wanted, n = min(task.k, len(task.items)), min(2 * task.k + RETRIEVED, len(task.items))
    options = _faiss().SearchParametersIVF(nprobe=cells.n_probe)
    points = np.ascontiguousarray(task.items.ask(task.query).features[:, :-1])
    found = np.sort(cells.faiss.search(points, n, params=options)[1], axis=1)
    enough = (found >= 0).sum(axis=1) >= wanted
    best, log_total = Best.none(len(points), wanted), np.empty(len(points))
    for place, search in ((enough, partial(_ranked, found[enough])), (~enough, nearest)):
        if place.any():
            part, log_total[place] = search(task.part(place))
            best.scores[place], best.positions[place] = part.scores, part.positions
    return best, log_total


def _ranked(found: Positions, task: Task) -> tuple[Best, Floats]:
    """The closest of some items of each query, -1 where there are fewer."""
    queries, columns = np.nonzero(found >= 0)
    positions = found[queries, columns]
    pairs = Pairs(queries, positions, task.scores(queries, positions))
    best = Best.none(len(found)).merged(pairs, task.k)
    with np.errstate(all="ignore"):
        return best, log_sum(pairs, best.scores[:, 0])


def _sample(items: Items, k: int, rng: np.random.Generator) -> tuple[Task, Positions]:
    """Points drawn from some items, and the items closest to them."""
    drawn = items.take(np.sort(rng.integers(len(items), size=SAMPLE)))
    points = drawn.loc + drawn.scale * rng.standard_normal(drawn.loc.shape)
    query = Posterior(points, np.zeros_like(points))
    task = Task(items, query, MEASURES["log_density"], k, None)
    return task, nearest(task)[0].positions


def _recall(cells: Cells, task: Task, truth: Positions) -> float:
    found = retrieved(cells, task)[0].positions
    pairs = zip(found, truth, strict=True)
    return float(np.mean([np.isin(right, some).mean() for some, right in pairs]))


def _standard(some: Posterior, items: Items, scale: Floats) -> Any:
    """Means in units of an average scale."""
    return np.ascontiguousarray((some.loc - items.center) / scale, dtype=np.float32)


def _features(items: Items, rows: slice) -> Any:
    return np.ascontiguousarray(items.head[rows, :-1])


def _faiss() -> Any:
    try:
        return import_module("faiss")
    except ImportError as error:
        raise ImprobableError(
            "Approximate search needs FAISS. Run pip install 'improbable[search]', "
            "or leave recall=1.0."
        ) from error
