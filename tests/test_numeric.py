"""The encoding that real, positive and count columns share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from improbable.data.numeric import (
    LARGEST,
    SCALE_FLOOR,
    NumericEncoding,
    has_spike,
    is_heavy_tailed,
    resolution,
)

FUZZ = settings(max_examples=40, deadline=None)
RNG = np.random.default_rng(0)
finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1.0, 1e12, 1e300])
@pytest.mark.parametrize("offset", [0.0, -3.0, 1e6])
def test_training_values_have_mean_0_and_deviation_1(scale, offset):
    base = RNG.standard_normal(500) + offset
    values = base * scale
    encoding = NumericEncoding.fit(values)
    cells = encoding.transform(values)
    assert cells.values.mean() == pytest.approx(0.0, abs=1e-6)
    assert cells.values.std() == pytest.approx(1.0, rel=1e-6)
    standard = (base - base.mean()) / base.std()
    np.testing.assert_allclose(cells.values[:, 0], standard, rtol=0, atol=1e-6)
    back = encoding.inverse_transform(cells.values)
    np.testing.assert_allclose(back, values, rtol=0, atol=1e-9 * np.abs(values).max())


@FUZZ
@given(st.lists(finite, min_size=1, max_size=20), st.sampled_from([0.0, 1.0, 1e-300, 1e300]))
def test_any_finite_values_encode_finitely_and_within_range(values, unit):
    column = np.array(values)
    encoding = NumericEncoding.fit(column, unit=unit)
    cells = encoding.transform(column)
    assert np.isfinite(cells.values).all()
    assert np.abs(cells.values).max() <= LARGEST
    assert not cells.out_of_range.any()
    order = np.argsort(column, kind="stable")
    if not encoding.spike:
        assert (np.diff(cells.values[order, 0]) >= 0.0).all()
    assert np.isfinite(encoding.inverse_transform(cells.values)).all()


def test_training_values_are_in_range_however_far_from_the_rest():
    values = np.append(RNG.standard_normal(5000), [500.0, -300.0])
    encoding = NumericEncoding.fit(values)
    assert not encoding.transform(values).out_of_range.any()
    beyond = encoding.transform(np.array([501.0, -301.0, 0.0]))
    assert beyond.out_of_range.tolist() == [True, True, False]
    (part,) = encoding.parts()
    assert part.high < encoding.high, "the encoder sees outliers clipped"
    assert part.low > encoding.low


@pytest.mark.parametrize("value", [0.0, 0.1, -7.0, 1e-300, 1e300])
def test_constant_values_are_zero_and_any_change_is_not(value):
    encoding = NumericEncoding.fit(np.full(7, value))
    change = encoding.transform(np.array([value, value + (abs(value) or 1.0)])).values[:, 0]
    assert change[0] == pytest.approx(0.0, abs=1e-12)
    assert change[1] == pytest.approx(1.0)


def spiky(n=1000, share=0.6):
    return np.where(RNG.random(n) < share, 0.0, RNG.gamma(2.0, 3.0, n))


def test_spike_is_a_part_of_its_own():
    values = spiky()
    encoding = NumericEncoding.fit(values)
    assert [part.likelihood for part in encoding.parts()] == ["bernoulli", "normal"]
    cells = encoding.transform(np.array([0.0, values.max(), np.nan, 3.0]))
    assert cells.values[:, 0].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert cells.values[[0, 2], 1].tolist() == [0.0, 0.0]
    assert cells.observed.tolist() == [[True, False], [True, True], [False, False], [True, True]]
    sizes = encoding.transform(values[values > 0.0]).values[:, 1]
    assert sizes.mean() == pytest.approx(0.0, abs=1e-9)
    assert sizes.std() == pytest.approx(1.0)
    assert encoding.inverse_transform(np.array([[0.4, 9.0], [0.6, 0.0]])).tolist() == [
        0.0,
        pytest.approx(values[values > 0.0].mean()),
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (spiky(), True),
        (-spiky(), False),
        (np.append(spiky(), -1.0), False),
        (np.array([0.0, 5.0] * 50), False),
        (np.zeros(9), False),
        (np.array([]), False),
        (RNG.random(1000) + 0.1, False),
    ],
)
def test_has_spike(values, expected):
    assert has_spike(values) is expected


def test_a_spike_can_be_forbidden():
    encoding = NumericEncoding.fit(spiky(), spike=False)
    assert len(encoding.parts()) == 1
    assert encoding.transform(np.zeros(1)).observed.all()


@FUZZ
@given(st.lists(st.floats(0.0, 1e6), min_size=2, max_size=20), finite)
def test_nonnegative_columns_never_give_back_a_negative(values, encoded):
    encoding = NumericEncoding.fit(np.array(values), spike=False)
    assert encoding.inverse_transform(np.array([[encoded], [-50.0]])).min() >= 0.0


def test_columns_with_negatives_give_negatives_back():
    encoding = NumericEncoding.fit(np.array([-1.0, 1.0, 3.0]))
    assert encoding.inverse_transform(np.array([[-5.0]]))[0] < 0.0


@pytest.mark.parametrize("unit", [0.0, 2.0])
def test_missing_and_infinite(unit):
    encoding = NumericEncoding.fit(np.array([1.0, 2.0, 3.0]), unit=unit)
    cells = encoding.transform(np.array([np.nan, np.inf, -np.inf]))
    assert cells.values[:, 0].tolist() == [0.0, LARGEST, -LARGEST]
    assert cells.missing.tolist() == [True, False, False]
    assert cells.out_of_range.tolist() == [False, True, True]
    assert cells.observed[:, 0].tolist() == [False, True, True]


def test_log_scale_is_continuous_and_monotone_over_all_floats():
    encoding = NumericEncoding.fit(RNG.lognormal(0.0, 4.0, 1000), unit=1e-5)
    grid = np.concatenate([np.logspace(-300, 308, 5000), [np.finfo(float).max]])
    sizes = encoding.transform(grid).values[:, 0]
    assert (np.diff(sizes) >= 0.0).all()
    assert np.diff(sizes).max() < 1.0, "no jump, and no ceiling, where the ratio overflows"
    assert sizes[-1] < LARGEST
    mirrored = encoding.transform(-grid).values[:, 0]
    np.testing.assert_allclose(mirrored + sizes, 2 * sizes[0], atol=1e-6)


def test_floor_follows_the_rounding_of_the_column():
    smooth = RNG.standard_normal(2000) * 10.0
    fine, coarse = NumericEncoding.fit(smooth), NumericEncoding.fit(np.round(smooth / 10.0) * 10.0)
    assert fine.floor == SCALE_FLOOR
    assert coarse.floor > fine.floor
    assert coarse.parts()[0].floor == coarse.floor
    assert coarse.floor == pytest.approx(10.0 / coarse.scale / np.sqrt(12.0))


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0], 0.0), ([1.0, 2.0, 3.0], 0.0), ([0.0, 0.5] * 9, 0.5), ([0.0, 9.0] * 9, 1.0)],
)
def test_resolution(values, expected):
    assert resolution(np.array(values)) == expected


@pytest.mark.parametrize("scale", [1e-150, 1e-6, 1.0, 1e6, 1e150])
def test_heavy_tails_are_told_from_light_ones_in_any_unit(scale):
    rng = np.random.default_rng(1)
    assert is_heavy_tailed(rng.lognormal(0.0, 3.0, 5000) * scale)
    assert not is_heavy_tailed(rng.normal(5.0, 1.0, 5000) * scale)
    assert not is_heavy_tailed(rng.random(5000) * scale)
    assert not is_heavy_tailed(np.full(50, scale))
    assert not is_heavy_tailed(rng.lognormal(0.0, 3.0, 5) * scale)
