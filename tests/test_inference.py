"""Kinds inferred from plausible columns."""

import datetime as dt
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from improbable.data.frames import read_frame
from improbable.data.inference import infer_kind
from improbable.data.raw import RawColumn, as_storage
from improbable.data.table import TableCodec
from improbable.errors import DataError

RNG = np.random.default_rng(0)
N = 300
FUZZ = settings(max_examples=40, deadline=None)


def kind_of(values, *, named=True):
    if named:
        column = read_frame(pd.DataFrame({"a": values})).columns["a"]
    else:
        column = read_frame(np.asarray(values)[:, None]).columns["x0"]
    return type(infer_kind(column, named=named)).__name__


def dates(n, step=1):
    return [str(dt.date(2020, 1, 1) + dt.timedelta(days=step * i)) for i in range(n)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (RNG.normal(size=N), "Real"),
        (RNG.random(N), "Real"),
        (RNG.normal(100.0, 5.0, N), "Real"),
        (RNG.integers(-5, 5, N), "Real"),
        (RNG.lognormal(0.0, 3.0, N), "Positive"),
        (np.append(RNG.lognormal(0.0, 3.0, N), np.nan), "Positive"),
        (-RNG.lognormal(0.0, 3.0, N), "Real"),
        (RNG.poisson(4.0, N), "Count"),
        (RNG.poisson(4.0, N).astype(float), "Count"),
        (np.append(RNG.poisson(4.0, N), np.nan), "Count"),
        (RNG.integers(0, 10**9, N), "Count"),
        (RNG.choice([200, 301, 302, 404, 500], N), "Categorical"),
        (RNG.choice([4624, 4625, 4634, 4672, 4688], N), "Categorical"),
        (RNG.choice([200, 301, 302, 404, 500], 90), "Count"),  # too few rows to tell
        (RNG.choice([100, 200, 300, 500], N), "Count"),  # steps of a hundred
        (RNG.choice([2018, 2019, 2021, 2024], N), "Count"),  # as many years, nearly
        (RNG.choice([22, 80, 443], N), "Count"),
        (RNG.choice([-200, 301, 404], N), "Real"),
        (RNG.choice([200.5, 301.0, 404.0], N), "Real"),
        (RNG.integers(100, 140, N), "Count"),
        ([0, 1] * 20, "Binary"),
        ([0.0, 1.0, np.nan] * 20, "Binary"),
        ([1, 2] * 20, "Binary"),
        ([0, 1], "Binary"),
        ([True, False, True], "Binary"),
        ([True, False, None], "Binary"),
        (["yes", "no"] * 9, "Binary"),
        (["red", "green", "blue"] * 9, "Categorical"),
        (["red", "green", "blue"], "Categorical"),
        (pd.Categorical([1, 2, 3] * 9), "Categorical"),
        ([1, "a", None, 2.5] * 9, "Categorical"),
        ([5] * 9, "Constant"),
        ([5.5], "Constant"),
        (["a", None, "a"], "Constant"),
        ([True, True], "Constant"),
        ([None, None], "Constant"),
        ([np.nan, np.nan], "Constant"),
        ([np.inf, np.inf], "Constant"),
        ([np.datetime64("2024-01-01")] * 3, "Constant"),
        ([np.datetime64("2024-01-01"), np.datetime64("2024-01-03")] * 3, "Datetime"),
        (dates(30), "Datetime"),
        ([*dates(30), None, ""], "Datetime"),
        ([f"{d}T10:00:00Z" for d in dates(30)], "Datetime"),
        ([*dates(10), "soon"] * 3, "Categorical"),
        ([" ", "  ", "\t"] * 3, "Categorical"),
        ([f"user-{i}" for i in range(N)], "Identifier"),
        (np.arange(N), "Identifier"),
        (np.arange(5000, 5000 + N)[::-1], "Identifier"),
        (np.arange(N).astype(float), "Count"),
        (np.arange(N) * 70, "Count"),
        (np.random.default_rng(0).permutation(3 * N)[:N], "Identifier"),
        (
            10**6 + np.sort(np.random.default_rng(0).choice(10**5, 2000, replace=False)),
            "Identifier",
        ),
        (np.random.default_rng(0).choice(10**9, 2000, replace=False), "Count"),
        ([f"{i / 8}" for i in range(N)], "Real"),
        ([*(f"{i / 8 - 2}" for i in range(N)), "?", "N/A", None], "Real"),
        ([f"{i:05}" for i in range(N)], "Identifier"),
        (["0.5", "1.5", "2.5"] * 9, "Categorical"),
        ([f"user-{i}" for i in range(5)], "Categorical"),
        ([1, 2], "Count"),
        ([0.5, 1.5], "Real"),
        ([-1.5, 2.0], "Real"),
        ([-np.inf, 1.0, 2.0, 3.0], "Count"),
    ],
)
def test_named_columns(values, expected):
    assert kind_of(values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.arange(N), "Count"),
        (np.arange(N).astype(float), "Count"),
        (np.array([f"user-{i}" for i in range(N)], dtype=object), "Categorical"),
        (RNG.normal(size=N), "Real"),
        (np.array([True, False] * 9), "Binary"),
        (np.array(dates(30), dtype=object), "Datetime"),
        (np.array(dates(30), dtype="M8[D]"), "Datetime"),
    ],
)
def test_array_columns_are_never_identifiers(values, expected):
    assert kind_of(values, named=False) == expected


@pytest.mark.parametrize(
    "values",
    [
        [0.0, 1.0, np.inf] * 9,
        [5.0, np.inf] * 9,
        [5.0, np.inf],
        [np.inf, -np.inf, 5.0],
        [np.inf, -np.inf],
        [np.inf, 1.5],
        [np.inf, np.nan],
        [-np.inf, 0.0, 0.0, 1.0],
    ],
)
def test_infinities_never_make_a_kind_that_cannot_fit(values):
    column = RawColumn(np.array(values), "number", "Float64")
    fit_inferred(column)


def fit_inferred(column, *, named=True):
    kind = infer_kind(column, named=named)
    stored, unreadable = as_storage(column, kind.storage, column.dtype)
    assert not unreadable.any()
    fitted = kind.fit(stored)
    cells = fitted.transform(stored)
    assert np.isfinite(cells.values).all()
    assert not cells.unseen.any()


@FUZZ
@given(
    st.lists(
        st.one_of(
            st.sampled_from([0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e308, 5e-324]), st.floats()
        ),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from(["Int64", "Float64"]),
    st.booleans(),
)
def test_whatever_kind_numbers_get_they_fit_it(values, dtype, named):
    fit_inferred(RawColumn(np.array(values), "number", dtype), named=named)


@FUZZ
@given(
    st.lists(st.one_of(st.none(), st.text(max_size=4), st.sampled_from(dates(3))), max_size=40),
    st.booleans(),
)
def test_whatever_kind_texts_get_they_fit_it(values, named):
    cells = np.empty(len(values), dtype=object)
    cells[:] = values
    fit_inferred(RawColumn(cells, "text", "String"), named=named)


def test_a_late_cell_that_is_no_date_is_named():
    data = pd.DataFrame({"when": [*dates(400), "soon"]})
    with pytest.raises(
        DataError, match=r"'when' cannot be read as time: 'soon'. Write it as 2025"
    ):
        TableCodec().fit(data)


def test_a_few_long_integers_leave_a_column_numbers():
    sizes = np.random.default_rng(0).integers(0, 5000, 200)
    sizes[7] = 2**63 - 1
    assert kind_of(sizes) == "Count"
    hashes = np.random.default_rng(0).integers(2**60, 2**62, 200)
    hashes[:50] = np.arange(50)
    assert kind_of(hashes) == "Identifier"


RATES = [f"{x:.1f}" for x in RNG.normal(50.0, 3.0, N)]
SIZES = [str(x) for x in RNG.integers(1000, 2000, N)]


@pytest.mark.parametrize(
    ("words", "odd"),
    [
        (["< 1", *RATES], "'< 1' is none"),
        (["ERR", *SIZES], "'ERR' is none"),
        (["-", "ERR", *SIZES, "ERR"], "'-' is none"),
        (["0123", "ERR", *SIZES], ""),  # codes
        (["V1", "V2", "V3", "V4", *SIZES], ""),
        (["ERR", *SIZES[:20] * 9], ""),  # a few names
        (["ERR"] * 40 + SIZES, ""),
        (RATES, ""),
    ],
)
def test_a_few_words_do_not_turn_numbers_into_names_in_silence(words, odd):
    table = pd.DataFrame({"a": words, "b": RNG.normal(size=len(words))})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        TableCodec().fit(read_frame(table))
    said = [str(one.message) for one in caught]
    assert len(said) == bool(odd)
    assert all(odd in one and "is taken for names, though nearly all" in one for one in said)
