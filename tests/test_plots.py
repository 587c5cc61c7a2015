"""Pictures hold what they say they show; nothing needs a display."""

import sys

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


def test_latent_map_by_number_and_by_name(detector):
    posterior = detector.posterior(NEW)
    ax = plots.latent_map(posterior, detector.score_samples(NEW), dims=(2, 0))
    assert_allclose(ax.collections[0].get_offsets(), posterior.loc[:, [2, 0]])
    assert ax.get_xlabel() == "z[2]"
    names = np.where(np.arange(60) < 20, "a", "b")
    ax = plots.latent_map(posterior, names)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b"]
    assert [len(c.get_offsets()) for c in ax.collections] == [20, 40]
    with pytest.raises(DataError, match="dims must be"):
        plots.latent_map(posterior, dims=(0, 3))


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
    assert shown(plots.strip(np.zeros((2, 4, 5, 2))))[0].shape == (4, 5)


def test_traversals_have_a_line_a_dimension(detector):
    figure = plots.traversals(detector, NEW[:1], [-1, 0, 1])
    assert len(figure.axes) == 9
    assert_allclose(shown(figure)[3], detector.traverse(NEW[:1], 1, [-1])[0])


def test_neighbors_and_exemplars_show_their_items(detector):
    index = detector.index(TRAIN)
    found = index.search(detector.posterior(NEW[:2]), 3)
    for picture, place in zip(
        shown(plots.neighbors(found, TRAIN, 1)), found.positions[1], strict=True
    ):
        assert_allclose(picture, TRAIN[place])
    groups = detector.cluster(TRAIN, 3, random_state=0)
    assert_allclose(shown(plots.exemplars(groups, TRAIN))[0], TRAIN[groups.exemplars[0]])


def test_surprise_shows_image_expectation_and_map(detector):
    found = detector.explain(NEW[:3])
    pictures = shown(plots.surprise(found, 2))
    assert len(pictures) == 6
    assert_allclose(pictures[0], NEW[0])
    assert_allclose(pictures[3], found.expected[1])
    assert_allclose(pictures[4], found.map[0])


def test_histogram_and_curves_into_given_axes(detector):
    ax = figures.Figure().subplots()
    assert plots.p_value_histogram(detector.p_values(NEW), ax) is ax
    assert sum(bar.get_height() for bar in ax.patches) == 60
    curves = plots.training_curves(detector.history_)
    assert_allclose(curves.lines[1].get_ydata(), detector.history_.held_out_elbo)


def test_tables_have_no_picture():
    with pytest.raises(DataError, match="Images are wanted"):
        plots.strip(np.zeros((3, 4)))
    with pytest.raises(DataError, match="grid of images"):
        plots.grid(np.zeros((3, 4)))


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImprobableError, match=r"improbable\[plots\]"):
        plots.p_value_histogram([0.5])
