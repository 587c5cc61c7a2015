"""Nearest items against brute force, to the last tie."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from scipy.stats import norm

from improbable import VAEDetector, load, save
from improbable.errors import DataError, FormatError, ImprobableError, SchemaError
from improbable.latent import gaussians, packing, search
from improbable.latent.gaussians import Posterior
from improbable.latent.index import MAGIC, LatentIndex, Neighbors

FUZZ = settings(max_examples=40, deadline=None)
GAUSSIAN = ("kl", "jeffreys", "wasserstein", "bhattacharyya")
DIVERGENCES = {
    "kl": gaussians.kl_divergence,
    "jeffreys": gaussians.jeffreys,
    "wasserstein": gaussians.wasserstein,
    "bhattacharyya": gaussians.bhattacharyya,
    "euclidean": gaussians.euclidean,
}


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks so small that a few hundred items take many."""
    monkeypatch.setattr(packing, "BLOCK", 100)
    monkeypatch.setattr(search, "LONGEST", 64)
    monkeypatch.setattr(search, "PRODUCTS", 256)
    monkeypatch.setattr(search, "GROUP", 8)
    monkeypatch.setattr(search, "GROUPS", 3)
    monkeypatch.setattr(search, "TERMS", 300)
    monkeypatch.setattr(search, "PAIRS", 7)
    monkeypatch.setattr(search, "TOGETHER", 5)


def gaussians_at(seed, n, k, low=0.1, high=1.0, center=0.0, spread=1.0):
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.uniform(np.log(low), np.log(high), (n, k)))
    return Posterior(center + spread * rng.normal(size=(n, k)), scale)


def clustered(seed, n, k):
    rng = np.random.default_rng(seed)
    loc = rng.normal(size=(5, k))[rng.integers(5, size=n)] + 0.01 * rng.normal(size=(n, k))
    return Posterior(loc, np.full((n, k), 0.05))


def tied(seed, n, k):
    """Few distinct items, each many times, some mirrored so that they tie as seen from 0."""
    some = gaussians_at(seed, 7, k)
    loc = np.vstack([some.loc, -some.loc])
    scale = np.vstack([some.scale, some.scale])
    picked = np.random.default_rng(seed).integers(14, size=n)
    return Posterior(loc[picked], scale[picked])


def nearly_tied(seed, n, k):
    """Items that float32 cannot tell apart."""
    rng = np.random.default_rng(seed)
    return Posterior(1.0 + 1e-9 * rng.normal(size=(n, k)), np.full((n, k), 0.01))


def narrow_and_wide(seed, n, k):
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.uniform(np.log(1e-3), np.log(1e2), (n, 1))) * np.ones((1, k))
    return Posterior(rng.normal(size=(n, k)), scale)


def one_outlier(seed, n, k):
    """Far from zero but for the last item, which the float32 head of the index cannot place."""
    items = gaussians_at(seed, n, k, center=1e4)
    items.loc[-1] = 1e-5
    return items


ITEMS = {
    "random": lambda n, k: gaussians_at(0, n, k),
    "clustered": lambda n, k: clustered(1, n, k),
    "tied": lambda n, k: tied(2, n, k),
    "nearly tied": lambda n, k: nearly_tied(3, n, k),
    "narrow and wide": lambda n, k: narrow_and_wide(4, n, k),
    "far": lambda n, k: gaussians_at(5, n, k, low=1e-3, center=1e4),
    "one outlier": lambda n, k: one_outlier(6, n, k),
    "beyond float32": lambda n, k: gaussians_at(7, n, k, low=1e-25, high=1e-18, spread=1e-20),
}


def log_densities(z, items):
    z, loc, scale = np.asarray(z)[:, None], items.loc, items.scale
    return norm.logpdf(z, loc, scale).sum(axis=-1)


def queries_for(items, n, seed=0):
    """Zero, points near items, points on items, and points between."""
    rng = np.random.default_rng(seed)
    a, b, c = (rng.integers(len(items), size=n) for _ in range(3))
    near = items.loc[a] + items.scale[a] * rng.normal(size=(n, items.loc.shape[1]))
    middle = 0.5 * (items.loc[b] + items.loc[c])
    return np.vstack([np.zeros((1, items.loc.shape[1])), near, items.loc[a], middle])


def assert_is_brute_force(found, logs, k):
    expected = np.argsort(-logs, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found.positions, expected)
    np.testing.assert_allclose(found.values, np.take_along_axis(logs, expected, 1), rtol=1e-13)


# -- exactness ------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 10, 700])
@pytest.mark.parametrize("kind", ITEMS)
def test_search_is_brute_force(kind, k, small_blocks):
    items = ITEMS[kind](600, 4)
    z = queries_for(items, 5)
    found = LatentIndex(items).search(z, k)
    logs = log_densities(z, items)
    assert_is_brute_force(found, logs, k)
    shares = np.take_along_axis(softmax(logs, axis=1), found.positions, 1)
    np.testing.assert_allclose(found.probabilities, shares, rtol=3e-3, atol=1e-300)
    distances = np.linalg.norm((z[:, None] - items.loc) / items.scale, axis=-1)
    np.testing.assert_allclose(
        found.distances, np.take_along_axis(distances, found.positions, 1), rtol=1e-12
    )


@pytest.mark.parametrize("kind", ITEMS)
def test_blocks_of_any_size_give_the_same_answers(kind, small_blocks, monkeypatch):
    items = ITEMS[kind](300, 3)
    z = queries_for(items, 4)
    many = LatentIndex(items).search(z, 8)
    monkeypatch.undo()
    one = LatentIndex(items).search(z, 8)
    np.testing.assert_array_equal(many.positions, one.positions)
    np.testing.assert_array_equal(many.values, one.values)
    np.testing.assert_allclose(many.probabilities, one.probabilities, rtol=3e-3)


@pytest.mark.parametrize("kind", ["random", "clustered", "tied", "narrow and wide", "far"])
@pytest.mark.parametrize("metric", DIVERGENCES)
def test_divergences_are_brute_force(metric, kind, small_blocks):
    items = ITEMS[kind](400, 3)
    query = gaussians_at(9, 7, 3)
    query = Posterior(query.loc + items.loc.mean(axis=0), query.scale)
    found = LatentIndex(items).search(query, 9, metric)
    expected = DIVERGENCES[metric](query, items)
    taken = np.take_along_axis(expected, found.positions, 1)
    np.testing.assert_allclose(found.values, taken, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.values, np.sort(expected, axis=1)[:, :9], rtol=1e-6)
    ties = np.diff(found.values) == 0.0
    assert (np.diff(found.positions)[ties] > 0).all()
    assert found.metric == metric
    logs = log_densities(query.loc, items)
    shares = np.take_along_axis(softmax(logs, axis=1), found.positions, 1)
    np.testing.assert_allclose(found.probabilities, shares, rtol=3e-3, atol=1e-300)


def test_kl_is_exact_where_float32_is_not(small_blocks):
    items = nearly_tied(0, 500, 3)
    query = Posterior(np.full((1, 3), 1.1), np.full((1, 3), 0.02))
    found = LatentIndex(items).search(query, 20, "kl")
    moved = Posterior(query.loc - 1.0, query.scale)
    exact = gaussians.kl_divergence(moved, Posterior(items.loc - 1.0, items.scale))
    np.testing.assert_allclose(found.values, np.sort(exact, axis=1)[:, :20], rtol=1e-13)


def test_every_item_in_half_a_million_bits_of_rounding():
    """Means of a hundred scales away from zero: float32 scores are wrong by whole nats."""
    rng = np.random.default_rng(0)
    items = Posterior(rng.normal(size=(4000, 8)), np.full((4000, 8), 1e-3))
    z = rng.normal(size=(6, 8))
    found = LatentIndex(items).search(z, 50)
    assert_is_brute_force(found, log_densities(z, items), 50)


finite = st.floats(-1e3, 1e3)
scales = st.floats(1e-3, 1e2)


@FUZZ
@given(st.data(), st.integers(1, 12), st.integers(1, 3), st.integers(1, 14))
def test_search_is_brute_force_for_any_items(data, n, latent_dim, k):
    loc = data.draw(arrays(float, (n, latent_dim), elements=finite))
    scale = data.draw(arrays(float, (n, latent_dim), elements=scales))
    z = data.draw(arrays(float, (2, latent_dim), elements=finite))
    items = Posterior(loc, scale)
    found = LatentIndex(items).search(z, k)
    assert_is_brute_force(found, log_densities(z, items), k)
    assert found.ids.shape == (2, min(n, k))


# -- the parts that exactness rests on ------------------------------------------------------

anything = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=0.0, exclude_min=True, allow_infinity=False)


@FUZZ
@given(st.data(), st.integers(1, 6))
def test_packing_loses_no_bit(data, n):
    loc = data.draw(arrays(float, (n, 2), elements=st.one_of(finite, anything)))
    scale = data.draw(arrays(float, (n, 2), elements=st.one_of(scales, positive)))
    center = data.draw(st.sampled_from([None, np.zeros(2), np.array([1e4, 0.1])]))
    packed = packing.pack(Posterior(loc, scale), center)
    back = packed.take(slice(None))
    np.testing.assert_array_equal(back.loc, loc)
    np.testing.assert_array_equal(back.scale, scale)


@pytest.mark.parametrize("kind", ITEMS)
def test_packing_loses_no_bit_in_any_order(kind, small_blocks):
    items = ITEMS[kind](350, 3)
    packed = packing.pack(items)
    rows = np.random.default_rng(0).permutation(350)
    back = packed.take(rows)
    np.testing.assert_array_equal(back.loc, items.loc[rows])
    np.testing.assert_array_equal(back.scale, items.scale[rows])
    small = packed.tail.dtype == np.int32
    assert small == (kind not in ("one outlier", "beyond float32"))
    assert np.isfinite(packed.center).all()


@pytest.mark.parametrize("kind", ITEMS)
def test_bounds_are_above_the_truth_and_not_far(kind):
    items = ITEMS[kind](500, 4)
    z = queries_for(items, 20)
    points = Posterior(z, np.zeros_like(z))
    packed = packing.pack(items)
    question = packed.ask(points)
    upper = packed.upper(slice(None), question, 500).astype(np.float64)
    exact = log_densities(z, items)
    assert (upper >= exact).all()
    if kind != "beyond float32":
        reach = 2.0 * np.outer(question.size, packed.slack)
        assert (upper - exact <= reach).all()
        assert ((upper - exact).max(axis=1) > 0.0).all()


def test_an_index_takes_little_more_memory_than_its_posterior():
    items = gaussians_at(0, 5000, 16)
    stored = items.loc.nbytes + items.scale.nbytes
    assert LatentIndex(items).nbytes < 1.1 * stored
    assert LatentIndex(gaussians_at(0, 5000, 16, center=1e3)).nbytes < 1.1 * stored
    items.loc[::7] = -0.0
    assert LatentIndex(items).nbytes < 1.1 * stored


# -- shapes and edges -----------------------------------------------------------------------


def test_one_item_one_point():
    index = LatentIndex(Posterior(np.array([[1.0, 2.0]]), np.array([[0.5, 1.0]])), ids=["only"])
    found = index.search([1.5, 2.0], k=3)
    assert found.ids.tolist() == [["only"]]
    assert found.probabilities.tolist() == [[1.0]]
    assert found.distances.tolist() == [[1.0]]
    assert found.recall == 1.0
    assert len(found) == 1


def test_probabilities_of_all_items_add_up_to_one():
    items = narrow_and_wide(0, 300, 3)
    found = LatentIndex(items).search(queries_for(items, 4), k=300)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1.0, rtol=1e-12)
    assert (found.probabilities >= 0.0).all()


@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0, 5.0])
def test_probabilities_of_few_among_many_items(scale):
    """What float32 adds up must not show, whether few items matter or all."""
    rng = np.random.default_rng(1)
    items = Posterior(rng.normal(size=(20_000, 6)), np.full((20_000, 6), scale))
    z = rng.normal(size=(5, 6))
    found = LatentIndex(items).search(z, k=4)
    shares = np.take_along_axis(softmax(log_densities(z, items), axis=1), found.positions, 1)
    np.testing.assert_allclose(found.probabilities, shares, rtol=1e-4)


def test_probabilities_where_float32_says_nothing():
    """Items a scale apart, hundreds of scales from zero: each must be summed in float64."""
    rng = np.random.default_rng(2)
    side = np.repeat([[-1.0], [1.0]], 1000, axis=0)
    items = Posterior(side + 3e-3 * rng.normal(size=(2000, 4)), np.full((2000, 4), 3e-3))
    z = items.loc[::500]
    found = LatentIndex(items).search(z, k=2)
    shares = np.take_along_axis(softmax(log_densities(z, items), axis=1), found.positions, 1)
    np.testing.assert_allclose(found.probabilities, shares, rtol=1e-6)


def test_few_items_are_evaluated_in_float64(monkeypatch):
    counts = []
    scores = search.Task.scores

    def counted(task, queries, rows):
        counts.append(len(rows))
        return scores(task, queries, rows)

    monkeypatch.setattr(search.Task, "scores", counted)
    items = gaussians_at(0, 30_000, 8, low=0.1, high=0.3)
    LatentIndex(items).search(queries_for(items, 5), 10)
    assert sum(counts) < 16 * 10 * 2.5, "ten for a first guess, ten that are best, few more"


@pytest.mark.parametrize("setting", ["medium", "high", RuntimeError("mixed")], ids=str)
def test_a_torch_that_rounds_more_is_not_asked(setting, monkeypatch):
    def precision():
        if isinstance(setting, Exception):
            raise setting
        return setting

    monkeypatch.setattr(torch, "get_float32_matmul_precision", precision)
    monkeypatch.delattr(torch, "mm")
    items = nearly_tied(0, 300, 3)
    z = queries_for(items, 3)
    assert_is_brute_force(LatentIndex(items).search(z, 5), log_densities(z, items), 5)


def test_one_degenerate_item_costs_its_block_only(small_blocks):
    """Its features overflow float32, and so its block is evaluated in float64."""
    items = gaussians_at(0, 400, 3)
    items.scale[7] = 1e-30
    index = LatentIndex(items)
    z = np.vstack([queries_for(items, 3), items.loc[[7]]])
    assert_is_brute_force(index.search(z, 5), log_densities(z, items), 5)
    question = index._items.ask(Posterior(z, np.zeros_like(z)))
    assert np.isinf(index._items.upper(slice(0, 64), question, 64)).all()
    assert np.isfinite(index._items.upper(slice(64, 128), question, 64)).all()


def test_a_query_far_from_everything():
    items = gaussians_at(0, 200, 3)
    z = np.array([[1e6, -1e6, 0.0], [1e150, 0.0, 0.0]])
    found = LatentIndex(items).search(z, 3)
    assert_is_brute_force(found, log_densities(z, items), 3)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1.0)
    beyond = LatentIndex(items).search([1e200, 0.0, 0.0], 3)
    assert (beyond.values == -np.inf).all(), "its density underflows for every item"
    assert beyond.positions.tolist() == [[0, 1, 2]]
    assert np.isnan(beyond.probabilities).all()


def test_posterior_queries_and_their_means():
    items = gaussians_at(0, 100, 3)
    index = LatentIndex(items)
    query = gaussians_at(1, 4, 3)
    for metric in ("log_density", "euclidean"):
        by_mean = index.search(query.loc, 5, metric)
        np.testing.assert_array_equal(index.search(query, 5, metric).values, by_mean.values)
    nearest = index.search(query, 5, "euclidean")
    distances = np.linalg.norm(query.loc[:, None] - items.loc, axis=-1)
    np.testing.assert_allclose(nearest.values, np.sort(distances, axis=1)[:, :5], rtol=1e-12)


def test_an_item_is_nearest_to_itself():
    items = gaussians_at(0, 200, 3)
    index = LatentIndex(items)
    for metric in GAUSSIAN:
        found = index.search(items, 2, metric)
        np.testing.assert_array_equal(found.positions[:, 0], np.arange(200))
        np.testing.assert_array_equal(found.values[:, 0], np.zeros(200))


def test_no_queries_and_no_items_that_count():
    index = LatentIndex(gaussians_at(0, 5, 2))
    for metric in ("log_density", "euclidean"):
        nothing = index.search(np.zeros((3, 2)), metric=metric, where=np.zeros(5, dtype=bool))
        assert nothing.ids.shape == nothing.probabilities.shape == (3, 0)
        assert index.search(np.zeros((0, 2)), 3, metric).values.shape == (0, 3)
        assert nothing.to_frame().num_rows == 0
        assert "3 queries, 0 each" in repr(nothing)


@pytest.mark.parametrize(
    ("queries", "options", "error", "message"),
    [
        ([0.0, 0.0, 0.0], {}, DataError, r"shape \(1, 3\), the items 2 latent dimensions"),
        (np.zeros((1, 1, 2)), {}, DataError, "Pass n_queries x 2 numbers"),
        ([0.0, np.nan], {}, DataError, "not finite"),
        ([[0.0, np.inf]], {"metric": "euclidean"}, DataError, "not finite"),
        (["a", "b"], {}, DataError, "no array of numbers"),
        ([0.0, 0.0], {"k": 0}, ImprobableError, "k must be a whole number, 1 or more, got 0"),
        ([0.0, 0.0], {"k": 2.5}, ImprobableError, "k must be"),
        ([0.0, 0.0], {"k": True}, ImprobableError, "k must be"),
        ([0.0, 0.0], {"metric": "log_densty"}, ImprobableError, "Did you mean 'log_density'"),
        ([0.0, 0.0], {"metric": "x"}, ImprobableError, "Use one of log_density, kl"),
        ([0.0, 0.0], {"metric": "kl"}, ImprobableError, "Pass a Posterior as query"),
        ([0.0, 0.0], {"recall": 0.0}, ImprobableError, "above 0 and at most 1"),
        ([0.0, 0.0], {"recall": 0.9, "where": {"id": 1}}, ImprobableError, "Leave recall=1.0"),
        (gaussians_at(0, 2, 3), {"metric": "kl"}, DataError, "2 latent dimensions"),
        (Posterior(np.zeros((1, 2)), np.zeros((1, 2))), {"metric": "kl"}, DataError, "above 0"),
    ],
)
def test_queries_and_arguments_are_checked(queries, options, error, message):
    with pytest.raises(error, match=message):
        LatentIndex(gaussians_at(0, 5, 2)).search(queries, **options)


@pytest.mark.parametrize(
    ("posterior", "message"),
    [
        (np.zeros((2, 2)), "Items come as a Posterior, not as ndarray"),
        (Posterior(np.zeros((0, 2)), np.zeros((0, 2))), "one or more"),
        (Posterior(np.zeros(2), np.ones(2)), "n_items x latent_dim"),
        (Posterior(np.zeros((2, 2)), np.ones((2, 3))), r"\(2, 2\) and \(2, 3\)"),
        (Posterior(np.full((1, 1), np.nan), np.ones((1, 1))), "not finite"),
        (Posterior(np.zeros((1, 1)), np.zeros((1, 1))), "above 0"),
        (Posterior(np.zeros((1, 1)), -np.ones((1, 1))), "above 0"),
    ],
)
def test_items_are_checked(posterior, message):
    with pytest.raises(DataError, match=message):
        LatentIndex(posterior)


# -- names and filters ----------------------------------------------------------------------

PEOPLE = pd.DataFrame(
    {
        "sex": ["F", "M", "F", None, "M"],
        "age": [20, 30, 41, 40, 25],
        "income": [1.5, np.nan, 3.0, 4.0, 5.0],
        "since": pd.to_datetime(["2024-01-01", "2024-02-01", "2024-03-01", None, "2024-05-01"]),
        "member": [True, False, True, True, False],
    }
)


def people(frame=PEOPLE):
    return LatentIndex(gaussians_at(0, 5, 2), ids=list("abcde"), columns=frame)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (None, "abcde"),
        ({}, "abcde"),
        ({"sex": "F"}, "ac"),
        ({"sex": ["F", "X"]}, "ac"),
        ({"sex": np.array(["M"])}, "be"),
        ({"sex": None}, "d"),
        ({"age": (20, 40)}, "abde"),
        ({"age": (26.5, None)}, "bcd"),
        ({"age": (None, 25)}, "ae"),
        ({"age": (None, None)}, "abcde"),
        ({"age": {20, 41}}, "ac"),
        ({"age": np.int64(30)}, "b"),
        ({"income": (0, 4)}, "acd"),
        ({"member": True}, "acd"),
        ({"since": ("2024-01-15", "2024-03-01")}, "bc"),
        ({"since": pd.Timestamp("2024-05-01")}, "e"),
        ({"sex": "F", "age": (20, 40)}, "a"),
        ({"id": ["b", "e"]}, "be"),
        ({"sex": []}, ""),
        ([True, False, False, False, True], "ae"),
        (np.array([False, True, True, False, False]), "bc"),
    ],
)
@pytest.mark.parametrize("metric", ["log_density", "euclidean"])
def test_filters(where, expected, metric):
    index = people()
    found = index.search(np.zeros(2), 5, metric, where)
    assert sorted(found.ids[0]) == sorted(expected)
    everyone = index.search(np.zeros(2), 5, metric)
    order = [i for i in everyone.ids[0] if i in expected]
    assert found.ids[0].tolist() == order
    if expected:
        assert found.probabilities.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("where", "error", "message"),
    [
        ({"agee": 3}, SchemaError, "no column 'agee'.*Did you mean age"),
        ({"zzz": 3}, SchemaError, "It has id, sex, age"),
        ({"age": "old"}, ImprobableError, "'age' holds int64 and cannot be compared"),
        ({"age": (1, 2, 3)}, ImprobableError, r"must be \(low, high\)"),
        ([True], ImprobableError, "a bool for each of the 5 items"),
        ([1, 0, 1, 0, 1], ImprobableError, "a bool for each"),
        ("sex", ImprobableError, "must map columns to values"),
    ],
)
def test_filters_are_checked(where, error, message):
    with pytest.raises(error, match=message):
        people().search(np.zeros(2), where=where)


@pytest.mark.parametrize(
    "library", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "arrow"]
)
def test_columns_come_in_any_frame(library):
    frame = library({"city": ["x", "y", "x"], "n": [1, 2, 3]})
    index = LatentIndex(gaussians_at(0, 3, 2), columns=frame)
    assert sorted(index.search(np.zeros(2), where={"city": "x"}).ids[0]) == [0, 2]
    assert index.columns.to_pydict() == {"city": ["x", "y", "x"], "n": [1, 2, 3]}


def test_categories_are_filtered_by_name():
    words = pa.array(["x", "y", "x"]).dictionary_encode()
    index = LatentIndex(gaussians_at(0, 3, 2), columns=pa.table({"city": words}))
    assert index.search(np.zeros(2), where={"city": "y"}).ids.tolist() == [[1]]


@pytest.mark.parametrize(
    "ids",
    [
        [7, 3, 5],
        np.array([7, 3, 5], dtype=np.int32),
        pd.Series([7, 3, 5]),
        pa.chunked_array([[7], [3, 5]]),
        [2**62 + 7, 2**62 + 3, 2**62 + 5],
        ["x", "y", "z"],
        np.array(["x", "y", "z"]),
        np.array(["x", "y", "z"], dtype=object),
        pd.Series(["x", "y", "z"]),
        pl.Series(["x", "y", "z"]),
    ],
    ids=str,
)
def test_ids_are_names_or_whole_numbers(ids):
    index = LatentIndex(gaussians_at(0, 3, 2), ids=ids)
    assert index.ids.tolist() == list(np.asarray(ids).tolist())
    found = index.search(np.zeros(2))
    assert found.ids[0].tolist() == index.ids[found.positions[0]].tolist()
    frame = found.to_frame()
    assert frame["id"].to_pylist() == found.ids[0].tolist()


@pytest.mark.parametrize(
    ("ids", "columns", "message"),
    [
        ([1, 2], None, "There are 3 items, but ids: 2"),
        ([1, 2, 2], None, "Ids repeat: 2"),
        (["a", "b", None], None, "Some ids are missing"),
        (["a", 1, 2], None, "all names or all whole numbers"),
        ([0.5, 1.0, 2.0], None, "names or whole numbers, got double"),
        ([True, False, True], None, "got bool"),
        (np.array([2**63, 1, 2], dtype=np.uint64), None, "below 2"),
        (None, {"x": [1, 2]}, "column 'x': 2"),
        (None, {"id": [1, 2, 3]}, "A column is named 'id'"),
        (None, {"loc_0": [1, 2, 3]}, "A column is named 'loc_0'"),
    ],
)
def test_ids_and_columns_are_checked(ids, columns, message):
    with pytest.raises(DataError, match=message):
        LatentIndex(gaussians_at(0, 3, 2), ids, pa.table(columns) if columns else None)


def test_repeated_column_names():
    columns = pa.table([[1], [2]], names=["x", "x"])
    with pytest.raises(DataError, match="repeat"):
        LatentIndex(gaussians_at(0, 1, 2), columns=columns)


# -- add and remove -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ITEMS)
def test_add_and_remove_are_an_index_of_the_rest(kind):
    items = ITEMS[kind](120, 3)
    parts = [Posterior(items.loc[p], items.scale[p]) for p in (slice(50), slice(50, None))]
    index = LatentIndex(parts[0]).add(parts[1])
    z = queries_for(items, 3)
    whole = LatentIndex(items)
    assert index.ids.tolist() == list(range(120))
    np.testing.assert_array_equal(index.search(z).positions, whole.search(z).positions)
    np.testing.assert_array_equal(index.posterior.loc, items.loc)
    gone = [3, 119, 77]
    rest = index.remove(gone)
    kept = np.setdiff1d(np.arange(120), gone)
    expected = LatentIndex(Posterior(items.loc[kept], items.scale[kept]), ids=kept)
    np.testing.assert_array_equal(rest.search(z, 120).ids, expected.search(z, 120).ids)
    assert len(index) == 120, "an index never changes"
    assert len(rest) == 117


def test_add_to_an_index_with_names_and_columns():
    index = people().add(
        gaussians_at(1, 1, 2),
        ["f"],
        PEOPLE[["age", "sex"]][:1].assign(income=2.0, since=PEOPLE.since[:1], member=False),
    )
    assert index.ids.tolist() == list("abcdef")
    assert index.columns["sex"].to_pylist() == ["F", "M", "F", None, "M", "F"]
    assert sorted(index.search(np.zeros(2), where={"sex": "F"}).ids[0]) == ["a", "c", "f"]


def test_rows_of_another_model_are_refused_where_that_is_known(tmp_path):
    items, unknown = gaussians_at(0, 4, 2), gaussians_at(1, 2, 2)
    ours, theirs = (replace(unknown, space=name) for name in ("ours", "theirs"))
    LatentIndex(replace(items, space="ours")).save(tmp_path / "index.parquet")
    index = LatentIndex.load(tmp_path / "index.parquet")
    for kept in (index, index.remove([0]), index.add(ours)):
        assert kept.space == kept.posterior.space == "ours"
        for call in (kept.search, kept.add):
            with pytest.raises(DataError, match="encoded by another model"):
                call(theirs)
        assert len(kept.search(ours, k=1)) == len(kept.search(unknown, k=1)) == 2
    assert LatentIndex(items).add(ours).space == "ours"


def test_models_have_one_latent_space_each(tmp_path):
    rows = np.random.default_rng(0).normal(size=(60, 3))
    first, other = (VAEDetector(random_state=i, max_steps=5).fit(rows) for i in range(2))
    save(first, tmp_path / "model")
    again = load(tmp_path / "model").posterior(rows)
    assert first.posterior(rows).space == again.space != other.posterior(rows).space
    with pytest.raises(DataError, match="another model"):
        first.index(rows).search(other.posterior(rows[:1]))


def test_whole_number_ids_go_on_after_the_largest():
    index = LatentIndex(gaussians_at(0, 2, 2), ids=[7, 3]).add(gaussians_at(1, 2, 2))
    assert index.ids.tolist() == [7, 3, 8, 9]


@pytest.mark.parametrize(
    ("posterior", "options", "error", "message"),
    [
        (gaussians_at(1, 1, 3), {"ids": ["f"]}, DataError, "have 3 latent dimensions"),
        (gaussians_at(1, 1, 2), {}, DataError, "ids of the index are names. Pass ids"),
        (gaussians_at(1, 1, 2), {"ids": ["f"]}, SchemaError, "missing: sex, age"),
        (gaussians_at(1, 1, 2), {"ids": ["a"], "columns": PEOPLE[:1]}, DataError, "repeat: 'a'"),
        (
            gaussians_at(1, 1, 2),
            {"ids": [1], "columns": PEOPLE[:1].assign(age="x")},
            SchemaError,
            "other types",
        ),
        (
            gaussians_at(1, 1, 2),
            {"ids": ["f"], "columns": PEOPLE[:1].assign(x=1)},
            SchemaError,
            "extra: x",
        ),
    ],
)
def test_what_is_added_is_checked(posterior, options, error, message):
    with pytest.raises(error, match=message):
        people().add(posterior, **options)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "x"], "no items 'x'"),
        ([1, 2, 3, 4], "no items 1, 2, 3, .... Its ids are of another type"),
        (list("abcde"), "Keep at least one"),
    ],
)
def test_what_is_removed_is_checked(ids, message):
    with pytest.raises(DataError, match=message):
        people().remove(ids)


def test_removing_nothing():
    assert people().remove([]).ids.tolist() == list("abcde")


# -- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ITEMS)
def test_a_saved_index_answers_alike(kind, tmp_path, small_blocks):
    items = ITEMS[kind](230, 3)
    columns = pd.DataFrame({"city": [f"c{i % 3}" for i in range(230)], "n": np.arange(230)})
    index = LatentIndex(items, [f"r{i}" for i in range(230)], columns).remove(["r7"])
    index.save(tmp_path / "index.parquet")
    again = LatentIndex.load(tmp_path / "index.parquet")
    z = queries_for(items, 3)
    for where in (None, {"city": ["c0", "c1"], "n": (5, 200)}):
        here, there = index.search(z, where=where), again.search(z, where=where)
        for side in ("ids", "values", "probabilities", "distances", "positions"):
            np.testing.assert_array_equal(getattr(here, side), getattr(there, side))
    assert repr(again) == repr(index)
    assert again.nbytes <= index.nbytes * 1.1
    assert again.columns.equals(index.columns)
    assert [path.name for path in tmp_path.iterdir()] == ["index.parquet"]


def test_a_saved_index_is_a_plain_table(tmp_path):
    index = people()
    index.save(tmp_path / "people.parquet")
    table = pd.read_parquet(tmp_path / "people.parquet")
    assert table.columns.tolist()[:6] == ["id", "loc_0", "loc_1", "scale_0", "scale_1", "sex"]
    np.testing.assert_array_equal(table[["loc_0", "loc_1"]], index.posterior.loc)


def test_save_where_nothing_can_be_written(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        people().save(tmp_path / "absent" / "index.parquet")


def changed(tmp_path, change):
    """Path of a saved index after a change of its table."""
    path = tmp_path / "index.parquet"
    LatentIndex(gaussians_at(0, 40, 2), columns=pa.table({"n": np.arange(40)})).save(path)
    pq.write_table(change(pq.read_table(path)), path)
    return path


def with_column(name, values):
    def change(table):
        return table.set_column(table.column_names.index(name), name, pa.array(values))

    return change


def about(text):
    return lambda table: table.replace_schema_metadata({MAGIC: text})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.replace_schema_metadata(None), "is no index"),
        (about('{"format": 2, "center": [0, 0]}'), "Install a newer version"),
        (about('{"format": 1}'), "center"),
        (about('{"format": 1, "center": []}'), "no valid center"),
        (about('{"format": 1, "center": [NaN, 0]}'), "no valid center"),
        (about('{"format": 1, "center": [0, 0, 0]}'), "loc_2"),
        (about('{"format": 1, "center": ["x", 0]}'), "cannot be read as an index"),
        (about('{"format": 1, "center": {}}'), "cannot be read as an index"),
        (about("[]"), "is no index"),
        (about("{{"), "cannot be read as an index"),
        (lambda table: table.drop_columns(["id"]), "id"),
        (lambda table: table.drop_columns(["scale_1"]), "scale_1"),
        (lambda table: table.slice(0, 0), "cannot be read as an index"),
        (with_column("loc_0", [np.nan] * 40), "not finite"),
        (with_column("scale_1", [-1.0] * 40), "above 0"),
        (with_column("loc_0", [None] * 40), "cannot be read as an index"),
        (with_column("loc_0", ["x"] * 40), "cannot be read as an index"),
        (with_column("id", [1] * 40), "repeat"),
        (with_column("id", [None] * 40), "cannot be read as an index"),
        (with_column("id", [0.5] * 40), "whole numbers"),
    ],
)
def test_files_that_are_no_index(change, message, tmp_path):
    path = changed(tmp_path, change)
    with pytest.raises(FormatError, match=message):
        LatentIndex.load(path)


def test_damaged_files(tmp_path):
    path = changed(tmp_path, lambda table: table)
    LatentIndex.load(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for size in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError):
            LatentIndex.load(path)
    path.write_bytes(rng.bytes(1000))
    with pytest.raises(FormatError):
        LatentIndex.load(path)
    with pytest.raises(FormatError, match="There is no index"):
        LatentIndex.load(tmp_path / "absent.parquet")
    with pytest.raises(FormatError):
        LatentIndex.load(tmp_path)


def test_flipped_bytes_never_crash(tmp_path):
    path = changed(tmp_path, lambda table: table)
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    for place in rng.integers(len(whole), size=60):
        broken = whole.copy()
        broken[place] ^= 1 << rng.integers(8)
        path.write_bytes(broken)
        try:
            index = LatentIndex.load(path)
        except FormatError:
            continue
        assert np.isfinite(index.posterior.loc).all()


# -- records --------------------------------------------------------------------------------


def test_neighbors_print_and_convert():
    found = people().search(np.zeros((5, 2)), 4)
    assert repr(found).startswith("<Neighbors of 5 queries, 4 each, by log_density>\n  ")
    assert repr(found).endswith("\n  ...")
    frame = found.to_frame("pandas")
    assert frame.columns.tolist() == ["query", "rank", "id", "value", "probability", "distance"]
    assert frame["query"].tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    assert frame["rank"].tolist() == [1, 2, 3, 4] * 5
    np.testing.assert_array_equal(frame["id"], found.ids.ravel())
    np.testing.assert_array_equal(frame["value"], found.values.ravel())
    assert isinstance(found.to_frame("polars"), pl.DataFrame)
    assert isinstance(found.to_frame(), pa.Table)
    assert isinstance(found.to_frame("no library"), pa.Table), "as everywhere in this library"
    query = Posterior(np.zeros((1, 2)), np.ones((1, 2)), library="pandas")
    assert isinstance(people().search(query, metric="kl").to_frame(), pd.DataFrame)
    with pytest.raises(AttributeError):
        found.ids = None


def test_an_index_prints():
    assert repr(people()).startswith("<LatentIndex of 5 items, 2 latent dimensions, columns sex")
    assert repr(LatentIndex(gaussians_at(0, 3, 2))) == (
        "<LatentIndex of 3 items, 2 latent dimensions>"
    )


# -- approximate ----------------------------------------------------------------------------


def test_approximate_search_reports_its_recall():
    pytest.importorskip("faiss")
    items = gaussians_at(0, 2000, 4, low=0.1, high=0.3)
    index = LatentIndex(items)
    z = queries_for(items, 100)
    exact = index.search(z, 5)
    recalls = []
    for wanted in (0.5, 0.95):
        found = index.search(z, 5, recall=wanted)
        assert 0.8 * wanted < found.recall <= 1.0
        reached = [np.isin(a, b).mean() for a, b in zip(exact.ids, found.ids, strict=True)]
        recalls.append(np.mean(reached))
        logs = log_densities(z, items)
        taken = np.take_along_axis(logs, found.positions, 1)
        np.testing.assert_allclose(found.values, taken, rtol=1e-12)
        assert (np.diff(found.values) <= 0.0).all()
        assert (
            found.probabilities
            >= 0.999
            * softmax(logs, axis=1).max(axis=1, initial=0)[:, None]
            * np.exp(found.values - logs.max(axis=1, keepdims=True))
        ).all()
    assert recalls[0] <= recalls[1]
    assert recalls[1] > 0.85
    assert f"recall {found.recall:.3f}" in repr(found)


def test_approximate_search_keeps_ties_in_order():
    pytest.importorskip("faiss")
    loc, scale = np.tile([[2.0, 0.0], [0.0, 1.0]], (25, 1)), np.tile([2.0, 1.0], (50, 1))
    found = LatentIndex(Posterior(loc, scale)).search(np.zeros(2), 10, recall=0.5)
    assert len(np.unique(found.values)) == 1, "although every other item is nearer by its mean"
    assert found.positions.tolist() == [list(range(10))]


def test_approximate_search_near_an_empty_cell_looks_everywhere():
    pytest.importorskip("faiss")
    items = tied(0, 3000, 3)
    z = queries_for(items, 50)
    found = LatentIndex(items).search(z, 400, recall=0.5)
    assert found.positions.shape == (len(z), 400)
    assert (found.positions >= 0).all()
    assert (np.diff(found.values) <= 0.0).all()


def test_approximate_search_of_very_few_items():
    pytest.importorskip("faiss")
    found = LatentIndex(gaussians_at(0, 3, 2)).search(np.zeros(2), 5, recall=0.9)
    assert found.recall == 1.0
    assert found.ids.shape == (1, 3)


def test_without_faiss_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImprobableError, match=r"pip install 'improbable\[search\]'"):
        LatentIndex(gaussians_at(0, 3, 2)).search(np.zeros(2), recall=0.9)


def test_neighbors_is_a_record_anyone_can_make():
    one = np.ones((1, 1))
    assert Neighbors(one, one, one, one, one.astype(int)).metric == "log_density"
