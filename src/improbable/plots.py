"""Pictures of a fitted detector: its latent space, its images, its p-values, its training.

Every function takes what the detector's verbs give, draws into `ax` or a new
figure, and returns it; none shows or saves anything, so all work without a
display. matplotlib is wanted only here: ``pip install 'improbable[plots]'``.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Floats
from improbable.errors import DataError, ImprobableError
from improbable.latent.clusters import Clusters
from improbable.latent.gaussians import Posterior
from improbable.latent.neighbors import Neighbors
from improbable.surprise import SurpriseMap
from improbable.training import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCHES = 1.1
MOST_NAMES = 12


def latent_map(
    posterior: Posterior, color: Any = None, dims: tuple[int, int] | None = None, ax: Any = None
) -> "Axes":
    """Posterior means in the plane.

    Parameters
    ----------
    posterior : Posterior
        Of the rows to show.
    color : array-like of shape (n_samples,), optional
        A number or a date a row (a score, a column), or a name a row; names
        beyond the eleven most frequent share a color.
    dims : pair of int, optional
        Latent dimensions to show; the two principal axes of the means if None.
    ax : Axes, optional
    """
    points, labels = _plane(posterior.loc, dims)
    panel = _axes(ax)
    values = None if color is None else np.asarray(color)
    if values is None:
        panel.scatter(points[:, 0], points[:, 1], s=6, linewidths=0)
    elif values.dtype.kind in "fiuM":
        _colored_by_size(panel, points, values)
    else:
        _colored_by_name(panel, points, values.astype(str))
    panel.set(xlabel=labels[0], ylabel=labels[1])
    return panel


def _colored_by_size(panel: "Axes", points: Floats, values: NDArray[Any]) -> None:
    """Points with a scale of colors beside them, in dates where the values are."""
    calendar: Any = import_module("matplotlib.dates")
    is_date = values.dtype.kind == "M"
    sizes = calendar.date2num(values) if is_date else values
    x, y = points.T
    drawn = panel.scatter(x, y, c=sizes, s=6, linewidths=0, cmap="viridis")
    bar = panel.figure.colorbar(drawn, ax=panel)
    if is_date:
        bar.locator = calendar.AutoDateLocator()
        bar.formatter = calendar.ConciseDateFormatter(bar.locator)
        bar.update_ticks()


def _colored_by_name(panel: "Axes", points: Floats, names: NDArray[Any]) -> None:
    """Points in a color for each name, the rarest names of many together."""
    found, counts = np.unique(names, return_counts=True)
    if len(found) > MOST_NAMES:
        rare = np.sort(found[np.argsort(-counts, kind="stable")[MOST_NAMES - 1 :]])
        others = f"{len(rare):,} others"
        names = np.where(np.isin(names, rare), others, names)
        found = np.append(found[~np.isin(found, rare)], others)
    for name in found:
        x, y = points[names == name].T
        panel.scatter(x, y, s=6, linewidths=0, label=name)
    panel.legend(markerscale=3, frameon=False)


def strip(images: Any, titles: Sequence[str] | None = None) -> "Figure":
    """Images side by side: a path from `interpolate`, samples, neighbors.

    Parameters
    ----------
    images : ndarray of shape (n, height, width[, channels])
    titles : sequence of str, optional
        One an image.
    """
    stack = _stack(images)
    return grid(stack[None], columns=titles)


def grid(
    images: Any, rows: Sequence[str] | None = None, columns: Sequence[str] | None = None
) -> "Figure":
    """Images in rows and columns: a traversal of several latent dimensions.

    Parameters
    ----------
    images : ndarray of shape (n_rows, n_columns, height, width[, channels])
    rows, columns : sequence of str, optional
        Their titles.
    """
    stack = np.asarray(images)
    if stack.ndim not in (4, 5):
        raise DataError(f"A grid of images has 4 or 5 axes, got {stack.ndim}. Stack them so.")
    n, m = stack.shape[:2]
    figure = _figure(INCHES * m, INCHES * n)
    panels = figure.subplots(n, m, squeeze=False)
    for i, line in enumerate(stack):
        for j, image in enumerate(line):
            _picture(panels[i, j], image)
            if i == 0 and columns is not None:
                panels[i, j].set_title(columns[j], fontsize=8)
        if rows is not None:
            panels[i, 0].set_ylabel(rows[i], fontsize=8)
    return figure


def traversals(detector: Any, row: Any, values: Any = (-3, -2, -1, 0, 1, 2, 3)) -> "Figure":
    """What each latent dimension does to an image, one line a dimension.

    Parameters
    ----------
    detector : VAEDetector
        Of images.
    row : one image, or a point z
    values : array-like of shape (n_columns,)
        Places along each dimension, units of z.
    """
    size = detector.model_.vae.latent_dim
    lines = [_stack(detector.traverse(row, dim, values)) for dim in range(size)]
    return grid(np.stack(lines), [f"z[{dim}]" for dim in range(size)], [f"{v:g}" for v in values])


def neighbors(found: Neighbors, images: Any, query: int = 0) -> "Figure":
    """Nearest images of one query, with the probability that each produced it.

    Parameters
    ----------
    found : Neighbors
        Of an index of `images`.
    images : ndarray of shape (n_items, height, width[, channels])
        In the order of the index.
    query : int
        Which query.
    """
    titles = [
        f"{name}\np {share:.2g}"
        for name, share in zip(found.ids[query], found.probabilities[query], strict=True)
    ]
    return strip(_stack(images)[found.positions[query]], titles)


def exemplars(found: Clusters, images: Any) -> "Figure":
    """The exemplar of each cluster, with the cluster's size.

    Parameters
    ----------
    found : Clusters
        Of `images`.
    images : ndarray of shape (n, height, width[, channels])
    """
    titles = [f"{k}: {size:,}" for k, size in enumerate(found.sizes)]
    return strip(_stack(images)[found.exemplars], titles)


def surprise(found: SurpriseMap, n_images: int = 5) -> "Figure":
    """Images, their reconstructions, and where they surprise (nats a pixel).

    Parameters
    ----------
    found : SurpriseMap
    n_images : int
        The first so many.
    """
    n = min(n_images, len(found))
    figure = _figure(INCHES * n + 1.0, INCHES * 3)
    panels = figure.subplots(3, n, squeeze=False)
    top = max(float(np.abs(found.map[:n]).max()), 1e-9)
    for j in range(n):
        _picture(panels[0, j], found.images[j])
        _picture(panels[1, j], found.expected[j])
        drawn = panels[2, j].imshow(found.map[j], cmap="RdBu_r", vmin=-top, vmax=top)
        _bare(panels[2, j])
    for panel, name in zip(panels[:, 0], ("image", "expected", "surprise"), strict=True):
        panel.set_ylabel(name, fontsize=8)
    figure.colorbar(drawn, ax=panels[2].tolist(), label="nats")
    return figure


def p_value_histogram(p_values: Any, ax: Any = None) -> "Axes":
    """Histogram of p-values; flat if rows are like the held-out ones, a peak at 0 if not."""
    values = np.asarray(p_values, dtype=np.float64)
    panel = _axes(ax)
    panel.hist(values, bins=20, range=(0.0, 1.0), color="0.6")
    panel.axhline(len(values) / 20.0, color="C3", linewidth=1, label="if all were normal")
    panel.set(xlabel="p-value", ylabel="rows", xlim=(0.0, 1.0))
    panel.legend(frameon=False)
    return panel


def training_curves(history: History, ax: Any = None) -> "Axes":
    """ELBO of training and held-out rows over the steps, nats a row."""
    panel = _axes(ax)
    panel.plot(history.steps, history.train_elbo, label="training rows")
    panel.plot(history.steps, history.held_out_elbo, label="held-out rows")
    panel.axvline(history.best_step, color="0.7", linewidth=1, label="kept")
    panel.set(xlabel="step", ylabel="ELBO (nats)")
    panel.legend(frameon=False)
    return panel


def _plane(loc: Floats, dims: tuple[int, int] | None) -> tuple[Floats, list[str]]:
    if dims is not None:
        if not all(0 <= dim < loc.shape[1] for dim in dims):
            raise DataError(f"dims must be two of 0 to {loc.shape[1] - 1}, got {dims}.")
        return loc[:, list(dims)], [f"z[{dim}]" for dim in dims]
    centered = loc - loc.mean(axis=0)
    axes = np.linalg.svd(centered, full_matrices=False)[2][:2]
    points = centered @ axes.T
    if points.shape[1] == 1:
        points = np.hstack([points, np.zeros_like(points)])
    return points, ["first principal axis", "second principal axis"]


def _stack(images: Any) -> NDArray[Any]:
    stack = np.asarray(images)
    if stack.ndim not in (3, 4) or stack.dtype.kind not in "uif":
        raise DataError(
            f"Images are wanted, an array of shape (n, height, width[, channels]), got shape "
            f"{stack.shape}. Rows of tables have no picture."
        )
    return stack


def _picture(panel: Any, image: NDArray[Any]) -> None:
    gray = image.ndim == 2 or image.shape[-1] not in (3, 4)
    shown = image if image.ndim == 2 or not gray else image.mean(axis=-1)
    panel.imshow(shown, cmap="gray" if gray else None)
    _bare(panel)


def _bare(panel: Any) -> None:
    panel.set(xticks=[], yticks=[])


def _axes(ax: Any) -> "Axes":
    if ax is None:
        ax = _figure(6.4, 4.8).subplots()
    given: Axes = ax
    return given


def _figure(width: float, height: float) -> "Figure":
    """Empty figure, in inches, that belongs to no display."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise ImprobableError(
            "Pictures need matplotlib. Install it: pip install 'improbable[plots]'."
        ) from error
    return Figure(figsize=(width, height), layout="constrained")
