"""The encoding that real, positive and count columns share."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from improbable.data.columns import Count
from improbable.data.numeric import (
    LARGEST,
    SCALE_FLOOR,
    NumericEncoding,
    bend,
    has_spike,
    is_heavy_tailed,
    resolution,
    unbend,
)
from improbable.errors import DataError

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


@pytest.mark.parametrize("unit", [0.0, 0.5])
def test_positive_columns_stay_above_zero_and_may_fall(unit):
    """What lies below all training values comes back as it is, while it is above zero."""
    encoding = NumericEncoding.fit(np.array([96.0, 100.0, 103.0]), unit=unit)
    lower = encoding.transform(np.array([80.0, 40.0])).values
    np.testing.assert_allclose(encoding.inverse_transform(lower), [80.0, 40.0])
    assert encoding.inverse_transform(np.array([[-900.0]]))[0] == pytest.approx(9.6)


def test_counts_that_are_never_zero_stay_so():
    kind = Count(log=False).fit(np.array([1.0, 2.0, 4.0, 3.0]))
    assert kind.inverse_transform(np.array([[-9.0]])).tolist() == [1.0]
    kind = Count(log=False).fit(np.array([0.0, 2.0, 4.0, 3.0]))
    assert kind.inverse_transform(np.array([[-9.0]])).tolist() == [0.0]


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


# -- bent beyond a knee, scaled by some rows alone ------------------------------------------


@FUZZ
@given(
    st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20), st.sampled_from([0.5, 3.0, 100.0])
)
def test_bending_and_back(values, knee):
    column = np.array(values)
    np.testing.assert_allclose(unbend(bend(column, knee), knee), column, rtol=1e-12)


def test_bending_is_the_logarithm_it_says():
    assert bend(np.array([3.0 * np.e, -3.0 * np.e**2]), 3.0) == pytest.approx([6.0, -9.0])
    assert unbend(np.array([6.0, -9.0]), 3.0) == pytest.approx([3.0 * np.e, -3.0 * np.e**2])


@pytest.mark.parametrize("knee", [1.0, 3.0])
def test_bending_leaves_what_is_within_the_knee_and_is_odd(knee):
    within = np.linspace(-knee, knee, 101)
    np.testing.assert_array_equal(bend(within, knee), within)
    np.testing.assert_array_equal(unbend(within, knee), within)
    far = np.logspace(-3, 300, 400)
    np.testing.assert_array_equal(bend(-far, knee), -bend(far, knee))
    np.testing.assert_array_equal(
        unbend(-np.linspace(0, 50, 99), knee), -unbend(np.linspace(0, 50, 99), knee)
    )


def test_bending_has_no_jump_and_no_corner_at_the_knee():
    step = 1e-6
    near = bend(3.0 + step * np.array([-1.0, 0.0, 1.0]), 3.0)
    np.testing.assert_allclose(np.diff(near), step, rtol=1e-5)


def test_bending_keeps_the_order_however_far():
    grid = np.concatenate([np.linspace(2.9, 3.1, 100), np.logspace(1, 300, 500)])
    assert (np.diff(bend(grid, 3.0)) > 0.0).all()
    far = bend(np.array([1e6, 2e6, 1e12, 1e12 + 1e6]), 3.0)
    assert (np.diff(far) > 0.0).all()
    assert np.isnan(bend(np.array([np.nan]), 3.0)).all()


def test_unbending_stays_finite():
    assert np.isfinite(unbend(np.array([1e6, -1e300]), 3.0)).all()


def test_focused_on_the_mean_and_deviation_of_some_values():
    values = np.r_[RNG.normal(5.0, 2.0, 300), np.full(9, 60.0)]
    encoding = NumericEncoding.fit(values).focused(values[:300], 3.0)
    assert encoding.loc == pytest.approx(values[:300].mean())
    assert encoding.scale == pytest.approx(values[:300].std())
    assert encoding.knee == 3.0
    standard = (values - values[:300].mean()) / values[:300].std()
    found = encoding.transform(values).values[:, 0]
    np.testing.assert_allclose(found[np.abs(standard) <= 3.0], standard[np.abs(standard) <= 3.0])
    assert found[-1] == pytest.approx(3.0 * (1.0 + np.log(standard[-1] / 3.0)))


def test_focused_without_a_knee_is_a_line():
    values = np.r_[RNG.normal(5.0, 2.0, 300), 90.0]
    encoding = NumericEncoding.fit(values).focused(values[:300], 0.0)
    found = encoding.transform(values).values[:, 0]
    np.testing.assert_allclose(found, (values - values[:300].mean()) / values[:300].std())
    np.testing.assert_allclose(encoding.inverse_transform(found[:, None]), values)
    assert [encoding.low, encoding.high] == pytest.approx([found.min(), found.max()])


def test_focused_on_values_nearly_alike_keeps_a_tenth_of_the_scale():
    values = np.r_[np.full(200, 7.0), RNG.normal(7.0, 50.0, 100)]
    whole = NumericEncoding.fit(values)
    for alike in (values[:200], values[:200] + 1e-9 * RNG.normal(size=200)):
        encoding = whole.focused(alike, 3.0)
        assert encoding.scale == pytest.approx(0.1 * whole.scale)
        assert encoding.loc == pytest.approx(7.0)


@pytest.mark.parametrize("knee", [0.0, 3.0])
@pytest.mark.parametrize("unit", [0.0, 1e-2])
def test_focused_keeps_the_range_of_all_values(knee, unit):
    values = np.r_[RNG.lognormal(0.0, 2.0, 300), 1e5]
    encoding = NumericEncoding.fit(values, unit=unit).focused(np.sort(values)[50:200], knee)
    assert not encoding.transform(values).out_of_range.any()
    beyond = np.array([values.min() * 0.9, values.max() * 1.1, 1.0])
    assert encoding.transform(beyond).out_of_range.tolist() == [True, True, False]
    sizes = encoding.transform(values).values[:, 0]
    assert [encoding.low, encoding.high] == pytest.approx([sizes.min(), sizes.max()])


@FUZZ
@given(
    st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), min_size=4, max_size=30),
    st.sampled_from([1e-9, 1.0, 1e9]),
    st.sampled_from([0.0, 1.0]),
)
def test_focused_round_trip_with_a_knee(values, scale, unit):
    column = np.array(values) * scale
    encoding = NumericEncoding.fit(column, unit=unit * scale, spike=False).focused(column[:3], 3.0)
    back = encoding.inverse_transform(encoding.transform(column).values)
    np.testing.assert_allclose(back, column, rtol=0, atol=1e-9 * np.abs(column).max())


def test_focused_spikes_count_only_sizes():
    values = spiky()
    whole = NumericEncoding.fit(values)
    chosen = values[values < 9.0]
    encoding = whole.focused(chosen, 3.0)
    sizes = chosen[chosen > 0.0]
    assert encoding.spike
    assert encoding.loc == pytest.approx(sizes.mean())
    assert encoding.scale == pytest.approx(sizes.std())
    cells = encoding.transform(values)
    assert not cells.out_of_range.any()
    np.testing.assert_allclose(encoding.inverse_transform(cells.values), values, atol=1e-9)
    assert [part.likelihood for part in encoding.parts()] == ["bernoulli", "normal"]


@pytest.mark.parametrize("some", [[], [np.nan, np.nan], [np.inf, np.nan]])
def test_focused_on_nothing_changes_nothing(some):
    whole = NumericEncoding.fit(RNG.normal(size=50))
    assert whole.focused(np.array(some), 3.0) == whole


def test_focused_on_zeros_alone_of_a_spike_changes_nothing():
    whole = NumericEncoding.fit(spiky())
    assert whole.focused(np.zeros(9), 3.0) == whole


def test_focused_passes_missing_and_infinite_values_over():
    values = RNG.normal(5.0, 2.0, 100)
    whole = NumericEncoding.fit(values)
    messy = np.r_[values[:60], np.nan, np.inf, -np.inf]
    assert whole.focused(messy, 3.0) == whole.focused(values[:60], 3.0)


def test_focused_floor_follows_rounding_in_the_new_scale():
    values = np.r_[np.round(RNG.normal(0.0, 1.5, 500)), np.full(20, 30.0)]
    whole = NumericEncoding.fit(values)
    encoding = whole.focused(values[:500], 3.0)
    assert whole.floor < encoding.floor
    assert encoding.parts()[0].floor == encoding.floor
    assert encoding.floor == pytest.approx(1.0 / encoding.scale / np.sqrt(12.0), rel=1e-6)


def test_focused_keeps_missing_infinite_and_far_cells_in_order():
    encoding = NumericEncoding.fit(RNG.normal(size=99)).focused(RNG.normal(size=50), 3.0)
    cells = encoding.transform(np.array([np.nan, -np.inf, -1e6, 0.0, 1e6, 1e7, np.inf]))
    assert cells.missing.tolist() == [True, *[False] * 6]
    assert cells.values[0, 0] == 0.0
    assert (np.diff(cells.values[1:, 0]) > 0.0).all()
    assert cells.values[-1, 0] == pytest.approx(3.0 * (1.0 + np.log(LARGEST / 3.0)))


def test_focused_units_change_nothing():
    values = np.r_[RNG.normal(5.0, 2.0, 200), 90.0]
    one, other = (
        NumericEncoding.fit(values * k).focused(values[:200] * k, 3.0) for k in (1.0, 1000.0)
    )
    np.testing.assert_allclose(
        one.transform(values).values, other.transform(values * 1000.0).values, rtol=1e-9
    )


def test_focused_survives_json_and_records_without_a_knee_are_read():
    values = RNG.normal(size=60)
    encoding = NumericEncoding.fit(values).focused(values[:40], 3.0)
    record = json.loads(json.dumps(asdict(encoding)))
    assert NumericEncoding.from_json(record) == encoding
    del record["knee"]
    assert NumericEncoding.from_json(record) == replace(encoding, knee=0.0)
    with pytest.raises(DataError, match="not finite"):
        NumericEncoding.from_json({**record, "knee": float("nan")})


def test_values_above_zero_come_back_above_zero():
    rng = np.random.default_rng(0)
    low = np.linspace(-9.0, 0.0, 50)[:, None]
    for values in (np.exp(rng.normal(size=400)), np.exp(3.0 * rng.normal(size=400))):
        for unit in (0.0, 0.1):
            encoding = NumericEncoding.fit(values, unit=unit)
            assert encoding.inverse_transform(low).min() == pytest.approx(0.1 * values.min())
    touching = np.append(rng.random(400), 0.0)
    assert NumericEncoding.fit(touching).inverse_transform(low).min() == 0.0
