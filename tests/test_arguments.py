"""Arguments that cannot be meant: one sentence each, whatever the verb."""

import numpy as np
import pytest
import torch

from improbable import ImprobableError, arguments
from improbable.errors import DataError


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 0, -1, np.float64(2.0), [1]])
def test_what_is_no_whole_number(value):
    with pytest.raises(ImprobableError, match="^k must be a whole number, 1 or more, got "):
        arguments.whole("k", value)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers(value):
    assert arguments.whole("k", value) == 3
    assert type(arguments.whole("k", value)) is int


@pytest.mark.parametrize("value", [True, "1", None, -0.1, np.nan, np.inf, [1.0], 1j, 10**400])
def test_what_is_no_number(value):
    with pytest.raises(ImprobableError, match="^spread must be a number, 0 or more, got "):
        arguments.number("spread", value)


@pytest.mark.parametrize("value", [0.0, 1.0, 1, np.nan, "0.1", True])
def test_what_is_no_level(value):
    with pytest.raises(ImprobableError, match="^alpha must be a number between 0 and 1, got "):
        arguments.level("alpha", value)


@pytest.mark.parametrize(
    "values",
    [
        "a",
        "1",
        None,
        ["1", 2],
        [True, 2.0, None],
        np.nan,
        [1.0, np.inf],
        [[1, 2], [3]],
        [True],
        [10**400],
        torch.ones(2, requires_grad=True),
        torch.ones(2, dtype=torch.bfloat16),
    ],
)
def test_what_are_no_numbers(values):
    with pytest.raises(ImprobableError, match="^amount must be finite numbers, got "):
        arguments.numbers("amount", values)


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        (2, ()),
        ([1, 2.5], (2,)),
        (np.array([1, 2], dtype=object), (2,)),
        (torch.ones(2, 3), (2, 3)),
        ([], (0,)),
    ],
)
def test_numbers_keep_their_shape(values, shape):
    found = arguments.numbers("amount", values)
    assert found.dtype == np.float64
    assert found.shape == shape


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d, X: d.sample(True), "n_samples must be a whole number"),
        (lambda d, X: d.sample_like(X[:1], True), "n_samples must be a whole number"),
        (lambda d, X: d.sample_like(X[:1], spread="wide"), "spread must be a number"),
        (lambda d, X: d.interpolate(X[:1], X[1:2], 1), "n_samples must be a whole number, 2"),
        (lambda d, X: d.traverse(X[:1], True, [0.0]), "dim must be a whole number"),
        (lambda d, X: d.traverse(X[:1], 0, ["a"]), "values must be finite numbers"),
        (lambda d, X: d.mix([X[:1], X[1:2]], ["a", "b"]), "weights must be finite numbers"),
        (lambda d, X: d.decode("z"), "z must be finite numbers"),
        (lambda d, X: d.cluster(X, True), "n_clusters must be whole numbers"),
        (lambda d, X: d.cluster(X, 2, n_starts=0), "n_starts must be a whole number"),
        (lambda d, X: d.cluster(X, 2, max_iterations=0.5), "max_iterations must be a whole"),
        (lambda d, X: d.sample(1, given={"visits": 2.5}), "given holds 2.5 for 'visits', a count"),
        (lambda d, X: d.sample(1, given={"visits": -2}), "given holds -2.0 for 'visits', a count"),
        (lambda d, X: d.sample(1, given={"age": None}), "given has no value for 'age'"),
        (lambda d, X: d.sample(1, given={"city": np.nan}), "given has no value for 'city'"),
        (lambda d, X: d.sample(1, given={"sex": "Q"}), "given holds Q for 'sex', a value never"),
        (
            lambda d, X: d.sample(1, given={"income": "low"}),
            "'income', which is no number",
        ),
        (lambda d, X: d.sample(1, given={"height": np.inf}), "which is no number"),
    ],
)
def test_a_verb_refuses(detector, new, call, message):
    with pytest.raises(ImprobableError, match=message):
        call(detector, new)


def test_an_amount_to_steer_by(detector, new):
    detector.add_direction("older", new[new.age > 40], new[new.age <= 40])
    with pytest.raises(ImprobableError, match="amount must be finite numbers, got '1'"):
        detector.steer(new[:2], "older", "1")
    detector.directions_.clear()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda X: X.iloc[0], "Pass one row as X.iloc"),
        (lambda X: X["age"], "one column as X"),
        (lambda X: X.iloc[0].to_dict(), "A dict is no table. Pass one row as"),
        (lambda X: "new.csv", "'new.csv' is text and no table. Read the file first"),
        (lambda X: None, "NoneType is no table"),
        (lambda X: 5, "int is no table"),
        (lambda X: X.itertuples(), "is no table. Pass a data frame"),
    ],
)
def test_what_is_no_table(detector, new, made, message):
    with pytest.raises(DataError, match=message):
        detector.score_samples(made(new))
