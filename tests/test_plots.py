"""Pictures hold what they say they show; nothing needs a display."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from test_images import NEW, SMALL, TRAIN

from improbable import DataError, ImageCodec, ImprobableError, VAEDetector, plots
from improbable.latent.gaussians import Posterior

figures = pytest.importorskip("matplotlib.figure")


@pytest.fixture(scope="module")
def detector():
    options = {**SMALL, "max_steps": 20, "latent_dim": 3}
    return VAEDetector(codec=ImageCodec(), **options).fit(TRAIN)


def shown(figure):
    """Arrays of the pictures of a figure, panel by panel."""
    return [np.asarray(a.images[0].get_array()) for a in figure.axes if a.images]


def titles(figure):
    return [panel.get_title() for panel in figure.axes]


def test_latent_map_by_number_and_by_name(detector):
    posterior, scores = detector.posterior(NEW), detector.score_samples(NEW)
    ax = plots.latent_map(posterior, scores, dims=(2, 0))
    assert_allclose(ax.collections[0].get_offsets(), posterior.loc[:, [2, 0]])
    assert_allclose(ax.collections[0].get_array(), scores)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("z[2]", "z[0]")
    assert len(ax.figure.axes) == 2, "the map and its color bar"
    plain = plots.latent_map(posterior, dims=(1, 2)).collections[0]
    assert_allclose(plain.get_offsets(), posterior.loc[:, [1, 2]])
    names = np.where(np.arange(60) < 20, "a", "b")
    ax = plots.latent_map(posterior, names, dims=(0, 1))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b"]
    assert [len(c.get_offsets()) for c in ax.collections] == [20, 40]
    assert_allclose(ax.collections[1].get_offsets(), posterior.loc[20:, :2])
    for dims in ((0, 3), (-1, 0)):
        with pytest.raises(DataError, match="dims must be"):
            plots.latent_map(posterior, dims=dims)


def test_latent_map_by_date(detector):
    posterior = detector.posterior(NEW)
    days = np.datetime64("2026-01-01") + 2 * np.arange(60).astype("timedelta64[D]")
    ax = plots.latent_map(posterior, days)
    ax.figure.canvas.draw()
    assert_allclose(np.diff(ax.collections[0].get_array()), 2.0)
    shown = {t.get_text() for t in ax.figure.axes[1].get_yticklabels()}
    assert "Mar" in shown
    assert ax.get_legend() is None


def test_latent_map_of_many_names_shows_the_most_frequent(detector):
    posterior = detector.posterior(NEW)
    names = [f"n{i:02}" for i in range(12)] * 3 + [f"x{i:02}" for i in range(24)]
    ax = plots.latent_map(posterior, names)
    shown = [t.get_text() for t in ax.get_legend().get_texts()]
    assert shown == [f"n{i:02}" for i in range(11)] + ["25 others"]
    assert [len(c.get_offsets()) for c in ax.collections] == [3] * 11 + [27]
    everything = np.concatenate([c.get_offsets() for c in ax.collections])
    assert len(np.unique(everything, axis=0)) == len(np.unique(posterior.loc, axis=0))


def test_principal_axes_have_the_largest_variance():
    loc = np.random.default_rng(0).normal(size=(500, 3)) * [0.1, 5.0, 2.0]
    points = plots.latent_map(Posterior(loc, np.ones_like(loc))).collections[0].get_offsets()
    assert_allclose(np.var(points, axis=0), [25.0, 4.0], rtol=0.2)
    one = Posterior(loc[:, :1], np.ones((500, 1)))
    assert_allclose(plots.latent_map(one).collections[0].get_offsets()[:, 1], 0.0)


def test_strips_show_the_images(detector):
    path = detector.interpolate(NEW[:1], NEW[1:2], 4)
    figure = plots.strip(path, list("abcd"))
    for found, image in zip(shown(figure), path, strict=True):
        assert_allclose(found, image)
    assert [a.get_title() for a in figure.axes] == list("abcd")
    color = plots.strip(np.zeros((2, 4, 5, 3), dtype=np.uint8))
    assert shown(color)[0].shape == (4, 5, 3)
    assert shown(plots.strip(np.zeros((2, 4, 5, 4))))[0].shape == (4, 5, 4)
    two = np.arange(80.0).reshape(2, 4, 5, 2)
    assert_allclose(shown(plots.strip(two))[1], two[1].mean(axis=-1))


def test_traversals_have_a_line_a_dimension(detector):
    figure = plots.traversals(detector, NEW[:1], [-1, 0, 1])
    assert len(figure.axes) == 9
    assert_allclose(shown(figure)[3], detector.traverse(NEW[:1], 1, [-1])[0])
    assert titles(figure) == ["-1", "0", "1", *[""] * 6]
    assert [panel.get_ylabel() for panel in figure.axes[::3]] == ["z[0]", "z[1]", "z[2]"]


def test_neighbors_and_exemplars_show_their_items(detector):
    index = detector.index(TRAIN)
    found = index.search(detector.posterior(NEW[:2]), 3)
    for picture, place in zip(
        shown(plots.neighbors(found, TRAIN, 1)), found.positions[1], strict=True
    ):
        assert_allclose(picture, TRAIN[place])
    chances = found.probabilities[1]
    names = [f"{i}\np {p:.2g}" for i, p in zip(found.ids[1], chances, strict=True)]
    assert titles(plots.neighbors(found, TRAIN, 1)) == names
    groups = detector.cluster(TRAIN, 3, random_state=0)
    figure = plots.exemplars(groups, TRAIN)
    assert_allclose(shown(figure)[0], TRAIN[groups.exemplars[0]])
    assert titles(figure) == [f"{k}: {(groups.labels == k).sum()}" for k in range(3)]


def test_surprise_shows_image_expectation_and_map(detector):
    found = detector.explain(NEW[:3])
    pictures = shown(plots.surprise(found, 2))
    assert len(pictures) == 6
    assert_allclose(pictures[0], NEW[0])
    assert_allclose(pictures[3], found.expected[1])
    assert_allclose(pictures[4], found.map[0])
    assert len(shown(plots.surprise(found, 9))) == 9


def test_surprise_is_read_by_its_labels_and_a_scale_around_zero(detector):
    found = detector.explain(NEW[:3])
    figure = plots.surprise(replace(found, surprise=-np.abs(found.surprise)), 2)
    labels = [panel.get_ylabel() for panel in figure.axes[:6:2]]
    assert labels == ["image", "expected", "surprise"]
    assert figure.axes[6].get_ylabel() == "nats"
    top = np.abs(found.surprise[:2].sum(axis=-1)).max()
    limits = [panel.images[0].get_clim() for panel in figure.axes[4:6]]
    assert_allclose(limits, [[-top, top]] * 2)


def test_histogram_into_given_axes(detector):
    ax, p = figures.Figure().subplots(), detector.p_values(NEW)
    assert plots.p_value_histogram(p, ax) is ax
    counts = np.histogram(p, 20, (0.0, 1.0))[0]
    assert_allclose([bar.get_height() for bar in ax.patches], counts)
    assert_allclose(ax.lines[0].get_ydata(), 3.0)


def test_curves_of_training(detector):
    history = replace(detector.history_, best_step=7)
    train, held_out, kept = plots.training_curves(history).lines
    assert_allclose(train.get_ydata(), history.train_elbo)
    assert_allclose(held_out.get_ydata(), history.held_out_elbo)
    assert_allclose(held_out.get_xdata(), history.steps)
    assert_allclose(kept.get_xdata(), 7)
    labels = [line.get_label() for line in (train, held_out, kept)]
    assert labels == ["training rows", "held-out rows", "kept"]


def test_tables_have_no_picture():
    with pytest.raises(DataError, match="Images are wanted"):
        plots.strip(np.zeros((3, 4)))
    with pytest.raises(DataError, match="grid of images"):
        plots.grid(np.zeros((3, 4)))


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImprobableError, match=r"improbable\[plots\]"):
        plots.p_value_histogram([0.5])
