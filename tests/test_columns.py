"""Column kinds: round trips, masks, values never seen, JSON, error text."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from improbable.data.clock import clock_text
from improbable.data.columns import (
    Binary,
    Categorical,
    ColumnKind,
    Constant,
    Count,
    Cyclic,
    Identifier,
    Positive,
    Real,
)
from improbable.data.frames import read_frame
from improbable.data.inference import infer_kind
from improbable.data.kinds import COLUMNS, focused, kind_from_json, kind_name, kind_to_json
from improbable.data.moments import YEAR, Datetime
from improbable.data.raw import RawColumn
from improbable.data.schema import fit_column
from improbable.data.table import TableCodec
from improbable.errors import DataError
from improbable.joint import Joint

FUZZ = settings(max_examples=40, deadline=None)
EXTREMES = [0.0, -0.0, 1.0, 5e-324, 1e-300, 1e150, -1e150, 1e308, -1e308, np.inf, -np.inf, np.nan]
STRANGER = "never seen 馬"


def lists(elements, *extra):
    """Arrays of 2 to 30 values, duplicates made likely by drawing from a small pool as well."""
    pool = st.lists(st.one_of(elements, *extra), min_size=1, max_size=4)
    return pool.flatmap(
        lambda some: st.lists(st.one_of(st.sampled_from(some), elements), min_size=2, max_size=30)
    )


def numbers(**bounds):
    scales = st.sampled_from([1e-12, 1e-3, 1.0, 1e6, 1e12])
    cells = lists(st.floats(allow_nan=False, allow_infinity=False, width=32, **bounds))
    return st.builds(lambda values, scale: np.array(values, dtype=float) * scale, cells, scales)


def texts(alphabet="abc "):
    return lists(st.text(alphabet, max_size=3)).map(lambda v: np.array(v, dtype=object))


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * np.abs(wanted).max(initial=0.0))


def relatively_close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12 * np.abs(wanted).max())


def same_moment(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


def same_angle(found, wanted):
    assert ((found >= -3.0) & (found < 21.0)).all()
    turns = (found - wanted) / 24.0
    np.testing.assert_allclose(turns, np.round(turns), rtol=0, atol=1e-8)


def same(found, wanted):
    assert list(found) == list(wanted)


# One line a kind: name, kind, values it must give back, and how nearly.
KIND_CASES = [
    ("real", Real(), numbers(min_value=-1e6, max_value=1e6), close),
    ("real t", Real("student_t"), numbers(min_value=-1e6, max_value=1e6), close),
    ("positive", Positive(), numbers(min_value=2**-20, max_value=1e6), relatively_close),
    ("count", Count(), lists(st.integers(0, 10**6)).map(lambda v: np.array(v, float)), same),
    (
        "count p",
        Count("poisson"),
        lists(st.integers(0, 99)).map(lambda v: np.array(v, float)),
        same,
    ),
    (
        "cyclic",
        Cyclic(24.0, -3.0),
        lists(st.floats(-1e4, 1e4)).map(lambda v: np.array(v, float)),
        same_angle,
    ),
    ("binary", Binary(), lists(st.sampled_from("ab")).map(lambda v: np.array(v, object)), same),
    ("categorical", Categorical(), texts(), same),
    (
        "constant",
        Constant(),
        st.integers(1, 9).map(lambda n: np.array(["only"] * n, object)),
        same,
    ),
    (
        "datetime",
        Datetime(),
        lists(st.floats(0, 4e9)).map(lambda v: np.array(v, float)),
        same_moment,
    ),
]
by_kind = pytest.mark.parametrize(
    ("kind", "values", "alike"), [c[1:] for c in KIND_CASES], ids=[c[0] for c in KIND_CASES]
)


def nothing(kind):
    return None if kind.storage == "text" else np.nan


def with_missing(kind, values, data):
    holes = np.array(data.draw(st.lists(st.booleans(), min_size=len(values) + 1)))[: len(values)]
    out = np.append(values, values[:1])
    out[: len(holes)][holes] = nothing(kind)
    return out, np.append(holes, False)


def assert_sound(kind, cells, n):
    """Shapes agree with the parts, and nothing encoded is NaN or infinite."""
    parts = kind.parts()
    assert cells.values.shape == (n, sum(part.width for part in parts))
    assert cells.observed.shape == (n, len(parts))
    assert np.isfinite(cells.values).all()
    assert np.isfinite(cells.offset).all()
    assert (cells.offset <= 0.0).all()
    assert not (cells.missing & (cells.unseen | cells.out_of_range)).any()
    starts = np.cumsum([0, *(part.width for part in parts)])
    for p, part in enumerate(parts):
        hidden = cells.values[~cells.observed[:, p], starts[p] : starts[p] + part.width]
        assert (hidden == 0.0).all()


def test_every_kind_has_a_case():
    assert {type(case[1]) for case in KIND_CASES} == set(COLUMNS.values()) - {Identifier}


@by_kind
@FUZZ
@given(data=st.data())
def test_round_trip(kind, values, alike, data):
    column = data.draw(values)
    fitted = kind.fit(column)
    assert isinstance(fitted, ColumnKind)
    cells = fitted.transform(column)
    assert_sound(fitted, cells, len(column))
    assert not (cells.missing | cells.unseen | cells.out_of_range).any()
    assert cells.observed[:, :1].all()
    alike(fitted.inverse_transform(cells.values), column)


@by_kind
@FUZZ
@given(data=st.data())
def test_missing_cells_are_masked_and_teach_nothing(kind, values, alike, data):
    column, holes = with_missing(kind, data.draw(values), data)
    fitted = kind.fit(column)
    assert fitted == kind.fit(column[~holes])
    cells = fitted.transform(column)
    assert_sound(fitted, cells, len(column))
    np.testing.assert_array_equal(cells.missing, holes)
    assert not cells.observed[holes].any()
    assert (cells.values[holes] == 0.0).all()
    assert (cells.offset[holes] == 0.0).all()


@by_kind
@FUZZ
@given(data=st.data())
def test_json_round_trip(kind, values, alike, data):
    column = data.draw(values)
    fitted = kind.fit(column)
    stored = json.loads(json.dumps(kind_to_json(fitted), allow_nan=False))
    again = kind_from_json(stored)
    assert again == fitted
    assert stored["kind"] == kind_name(again)
    np.testing.assert_array_equal(
        again.transform(column).values, fitted.transform(column).values, strict=True
    )


@pytest.mark.parametrize("kind", [Real(), Real("student_t"), Positive(), Count(), Cyclic()])
@FUZZ
@given(st.lists(st.one_of(st.sampled_from(EXTREMES), st.floats()), min_size=1, max_size=30))
def test_extremes_stay_finite(kind, values):
    column = np.array(values)
    if not np.isfinite(column).any():
        column = np.append(column, 2.0)
    fitted = kind.fit(column)
    probe = np.append(column, EXTREMES)
    cells = fitted.transform(probe)
    assert_sound(fitted, cells, len(probe))
    assert np.isfinite(fitted.inverse_transform(cells.values)).all()
    assert kind_from_json(json.loads(json.dumps(kind_to_json(fitted), allow_nan=False))) == fitted


@pytest.mark.parametrize("kind", [Real(), Positive(), Count()])
@FUZZ
@given(data=st.data())
def test_unit_changes_nothing(kind, data):
    whole = st.integers(0, 10**6) if isinstance(kind, Count) else st.floats(-1e3, 1e6, width=32)
    column = np.array(data.draw(lists(whole)), dtype=float)
    assume(np.ptp(column) > 0.0 and column.max() > 0.0)
    probe = np.append(column, [0.0, 1.0, 7.0, 1e5, -1e5])
    small, large = kind.fit(column), kind.fit(column * 1000.0)
    one, other = small.transform(probe), large.transform(probe * 1000.0)
    np.testing.assert_allclose(one.values, other.values, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(one.observed, other.observed)
    for part, twin in zip(small.parts(), large.parts(), strict=True):
        assert part.floor == pytest.approx(twin.floor, rel=1e-6)


@pytest.mark.parametrize("kind", [Real(), Positive(), Count()])
@FUZZ
@given(data=st.data())
def test_beyond_the_range_encoding_is_monotone(kind, data):
    column = np.array(data.draw(lists(st.integers(0, 1000))), dtype=float)
    fitted = kind.fit(column)
    step = np.ptp(column) or abs(column.max()) or 1.0
    steps = np.concatenate([np.logspace(-1, 4, 20), np.logspace(10, 300, 20), [np.inf]])
    for edge, sign in ((column.max(), 1.0), (column.min(), -1.0)):
        cells = fitted.transform(edge + sign * step * steps)
        assert cells.out_of_range.all()
        sizes = sign * cells.values[:, -1]
        assert (np.diff(sizes[:20]) > 0.0).all(), "strictly worse, short of the ceiling"
        assert (np.diff(sizes) >= 0.0).all()


@FUZZ
@given(texts("abcdefgh"), st.integers(1, 5))
def test_rare_names_share_a_bucket(values, most):
    fitted = Categorical(max_categories=most).fit(values)
    (part,) = fitted.parts()
    assert part.width == min(most, len(set(values)))
    names = np.array(fitted.names, dtype=object)
    cells = fitted.transform(names)
    slots = cells.values.argmax(axis=1)
    assert (cells.values.sum(axis=1) == 1.0).all()
    bucket = slots == part.width - 1
    assert np.exp(cells.offset[bucket]).sum() == pytest.approx(1.0)
    assert (cells.offset[~bucket] == 0.0).all()
    counts = Counter(values)
    assert [counts[n] for n in names] == sorted(counts.values(), reverse=True)
    share = np.array([counts[n] for n in names[bucket]]) / sum(counts[n] for n in names[bucket])
    np.testing.assert_allclose(np.exp(cells.offset[bucket]), share)
    assert not cells.unseen.any()


@pytest.mark.parametrize(
    ("kind", "values", "stranger"),
    [
        (Binary(), ["a", "b", None, "a"], STRANGER),
        (Binary(), ["a", "a", "a"], STRANGER),
        (Categorical(), ["a", "b", "c", None], STRANGER),
        (Categorical(max_categories=2), ["b", "b", "a"], STRANGER),
        (Categorical(), ["a", "a", "a"], STRANGER),
        (Constant(), ["a", "a", None, "a"], STRANGER),
        (Cyclic(), [1.0, 2.0, np.nan, 3.0], np.inf),
        (Cyclic(), [1.0, 2.0, 3.0], -np.inf),
        (Count("poisson"), [1.0, 2.0, np.nan, 0.0], -1.0),
        (Count("negative_binomial"), [1.0, 2.0, 0.0], -np.inf),
    ],
)
def test_values_never_seen_are_hidden_and_cost_the_rule_of_succession(kind, values, stranger):
    dtype = object if kind.storage == "text" else float
    fitted = kind.fit(np.array(values, dtype=dtype))
    cells = fitted.transform(np.array([stranger, values[0], nothing(kind)], dtype=dtype))
    assert_sound(fitted, cells, 3)
    assert cells.offset[0] == pytest.approx(-np.log(3 + 1))
    assert cells.unseen.tolist() == [True, False, False]
    assert cells.missing.tolist() == [False, False, True]
    assert not cells.observed[[0, 2]].any()
    assert cells.offset[2] == 0.0


def test_constant_without_any_value_is_surprised_by_every_value():
    fitted = Constant().fit(np.array([None, None], dtype=object))
    cells = fitted.transform(np.array([None, "a"], dtype=object))
    assert cells.missing.tolist() == [True, False]
    assert cells.unseen.tolist() == [False, True]


def test_identifier_takes_no_part():
    fitted = Identifier().fit(np.array(["a", "b"], dtype=object))
    cells = fitted.transform(np.array(["c", None], dtype=object))
    assert fitted.parts() == ()
    assert cells.values.shape == (2, 0)
    assert not (cells.missing | cells.unseen).any()
    assert fitted.inverse_transform(cells.values).tolist() == [None, None]


def test_binary_encodes_the_second_name_as_one():
    fitted = Binary().fit(np.array(["yes", "no", "no"], dtype=object))
    assert fitted.transform(np.array(["yes", "no"], dtype=object)).values.tolist() == [[1.0], [0]]
    assert fitted.n_seen == 3


def test_the_bucket_is_no_more_probable_than_its_names():
    values = np.array(["a"] * 30 + ["b"] * 20 + [f"rare {i}" for i in range(50)], dtype=object)
    kind = Categorical(max_categories=3).fit(values)
    likely = np.array(
        [[0.3, 0.2, 0.5], [0.001, 0.999, 0.0], [0.005, 0.005, 0.99], [0.0, 0.0, 1.0]]
    )
    assert kind.inverse_transform(likely).tolist() == ["a", "b", "rare 0", "rare 0"]


def test_cyclic_sees_a_full_turn_as_no_change():
    fitted = Cyclic(period=24.0).fit(np.arange(24.0))
    hours = np.array([0.0, 6.0, 23.5, 12.0])
    near, far = fitted.transform(hours), fitted.transform(hours + 24e6)
    np.testing.assert_allclose(near.values, far.values, atol=1e-7)
    np.testing.assert_allclose(near.values[1], [0.0, 1.0], atol=1e-12)
    assert fitted.inverse_transform(fitted.transform(np.array([24.0])).values).tolist() == [0.0]


def test_datetime_learns_the_cycles_that_training_spans():
    hour, day = 3600.0, 86_400.0
    assert Datetime().fit(np.arange(10) * hour).cycles == ()
    assert Datetime().fit(np.arange(30) * hour).cycles == ("day",)
    assert Datetime().fit(np.arange(300) * hour).cycles == ("day", "week")
    assert Datetime().fit(np.arange(800) * day).cycles == ("week", "year")
    kind = Datetime().fit(np.arange(300) * hour)
    cells = kind.transform(np.array([5 * hour, 5 * hour + 7 * day, np.nan]))
    np.testing.assert_allclose(cells.values[0, 1:], cells.values[1, 1:], atol=1e-9)
    assert cells.values[0, 0] < cells.values[1, 0]
    assert cells.observed.tolist() == [[True] * 3, [True] * 3, [False] * 3]


@pytest.mark.parametrize(("n", "apart", "turn"), [(100, 86_400.0, 7.0), (40, 3_600.0, 1.0)])
def test_moments_up_to_a_year_outside_are_whole_turns_from_one_inside(n, apart, turn):
    day = 86_400.0
    column = 1.7e9 + np.arange(n) * apart
    kind = Datetime().fit(column)
    ends, turn = kind.transform(column[[0, -1]]).values[:, 0], turn * day
    steps = np.array([1.0, day, 0.999 * YEAR])
    farther = YEAR + np.logspace(0, 15, 20)
    for edge, sign, end in ((column[0], -1.0, ends[0]), (column[-1], 1.0, ends[1])):
        near = kind.transform(edge + sign * steps)
        assert not near.out_of_range.any()
        assert kind.transform(edge + sign * (farther[1:])).out_of_range.all()
        moments, middle = edge + sign * steps, (column[0] + column[-1]) / 2.0
        moments += np.round((middle - moments) / turn) * turn
        assert ((moments >= column[0]) & (moments <= column[-1])).all()
        inside = kind.transform(moments)
        np.testing.assert_allclose(near.values, inside.values, atol=1e-6)
        far = sign * kind.transform(edge + sign * farther).values[:, 0]
        assert (np.diff(far) >= 0.0).all()
        assert far[-1] > 1e6
        beyond = sign * kind.transform(edge + sign * (YEAR + np.array([0.0, day]))).values[:, 0]
        assert beyond[1] - beyond[0] == pytest.approx(day / kind.trend.scale)
        assert beyond[0] <= sign * end + 1e-6
    assert np.isnan(kind.transform(np.array([np.nan])).values).sum() == 0


def test_moments_without_a_cycle_are_at_the_nearer_end():
    kind = Datetime().fit(1.7e9 + np.arange(10.0))
    near = kind.transform(1.7e9 + np.array([-1e6, 0.0, 9.0, 1e6])).values[:, 0]
    assert near[0] == pytest.approx(near[1])
    assert near[3] == pytest.approx(near[2])


@pytest.mark.parametrize("step", [0.125, 1.0, 60.0, 3_600.0])
def test_moments_come_back_at_their_step(step):
    column = 1.7e9 - 1.7e9 % 86_400 + step * np.random.default_rng(0).integers(10**6, size=50)
    kind = Datetime().fit(column)
    assert kind.step == (step if step >= 1.0 else 0.0)
    found = kind.inverse_transform(kind.transform(column).values)
    np.testing.assert_allclose(found, column, rtol=0.0, atol=1e-5 if step < 1.0 else 0.0)
    between = kind.inverse_transform(kind.transform(column).values + 1e-3)
    assert (np.mod(between, step) == 0.0).all() == (step >= 1.0)


def test_moments_are_given_back_by_the_clock_and_the_calendar():
    """Nearest to the trend at the expected hour and weekday, as far as these are clear."""
    hour, day = 3_600.0, 86_400.0
    monday = 1_704_067_200.0  # 2024-01-01
    column = monday + np.arange(0.0, 70 * 24) * hour
    kind = Datetime().fit(column)
    (wednesday_noon,) = kind.transform(np.array([monday + 2 * day + 12 * hour])).values
    (other,) = kind.transform(np.array([monday + 32 * day + 3 * hour])).values  # a Friday night
    mixed = np.append(other[:1], wednesday_noon[1:])[None]
    assert kind.inverse_transform(mixed)[0] == monday + 30 * day + 12 * hour
    late = mixed.copy()  # the week's angle says two o'clock, the day's says noon
    late[:, 3:] = kind.transform(np.array([monday + 2 * day + 14 * hour])).values[:, 3:]
    assert kind.inverse_transform(late)[0] == monday + 30 * day + 12 * hour
    unclear = mixed.copy()
    unclear[:, 1:3] *= 0.1  # no hour stands out: that of the week's angle stays
    assert abs(kind.inverse_transform(unclear)[0] - monday - 30.5 * day) <= hour
    unclear[:, 3:] *= 0.1
    assert kind.inverse_transform(unclear)[0] == monday + 32 * day + 3 * hour


def test_moments_of_older_files_are_what_they_were():
    column = 1.7e9 + np.arange(300) * 3_600.0
    kind = Datetime().fit(column)
    record = kind_to_json(kind)
    del record["horizon"], record["step"]
    older = kind_from_json(record)
    later = older.transform(column[-1:] + 30 * 86_400.0).values
    assert later[0, 0] > kind.transform(column[-1:]).values[0, 0] + 1.0
    later[:, 1:] = 0.6
    trend = kind.trend.inverse_transform(later[:, :1])
    np.testing.assert_array_equal(older.inverse_transform(later), trend)


def test_datetime_tells_moments_of_a_short_span_apart():
    start = 1.7e9
    kind = Datetime().fit(start + np.array([0.0, 0.5, 1.0]))
    values = kind.transform(start + np.array([0.0, 0.5, 1.0])).values
    assert values[:, 0].std() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (Binary(), np.array(["a", "b", "c"], dtype=object), "has 3. Use Categorical"),
        (Constant(), np.array(["a", "b"], dtype=object), "one value, this one has 2"),
        (Cyclic(period=0.0), np.arange(3.0), "needs a period above 0"),
        (Cyclic(period=-1.0), np.arange(3.0), "needs a period above 0"),
        (Cyclic(period=np.inf), np.arange(3.0), "needs a period above 0"),
        (Cyclic(start=np.nan), np.arange(3.0), "finite"),
        (Categorical(max_categories=0), np.array(["a"], dtype=object), "needs 1 or more"),
        (Count("poisson"), np.array([1.0, -1.0]), "whole numbers from 0 up"),
        (Count("negative_binomial"), np.array([1.0, 1.5]), "whole numbers from 0 up"),
        (Real(), np.array([np.inf, np.nan]), "no finite value"),
    ],
)
def test_refusals_say_what_to_do(kind, values, message):
    with pytest.raises(DataError, match=message):
        kind.fit(values)


@pytest.mark.parametrize(
    "kind", [Real(), Positive(), Count(), Count("poisson"), Datetime(), Binary(), Categorical()]
)
def test_not_fitted(kind):
    values = np.array(["a"], dtype=object) if kind.storage == "text" else np.zeros(1)
    with pytest.raises(DataError, match="Call `fit`"):
        kind.transform(values)
    with pytest.raises(DataError, match="Call `fit`"):
        kind.inverse_transform(np.zeros((1, 1)))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"encoding": {"scale": 0.0}}, DataError),
        ({"encoding": {"scale": -1.0}}, DataError),
        ({"encoding": {"scale": 1.0, "loc": float("nan")}}, DataError),
        ({"encoding": {"scale": 1.0, "high": float("inf")}}, DataError),
        ({"encoding": {"scale": "wide"}}, ValueError),
        ({"kind": "categorical", "names": ["a"], "counts": []}, DataError),
    ],
)
def test_damaged_json_is_refused(change, error):
    with pytest.raises(error):
        kind_from_json({"kind": "real", **change})


def test_json_counts_are_never_below_one():
    kind = kind_from_json({"kind": "categorical", "names": ["a", "b"], "counts": [0, -3]})
    assert kind.counts == (1, 1)
    assert np.isfinite(kind.transform(np.array(["a", "b"], dtype=object)).offset).all()


# -- scaled by trusted values alone ---------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        Real(),
        Real("normal_per_column"),
        Real("normal_fixed"),
        Real("student_t"),
        Positive(),
        Count(),
        Count("student_t"),
        Count(log=False),
    ],
)
def test_numbers_are_focused_and_bent(kind):
    values = np.random.default_rng(0).poisson(9.0, 200) + 1.0
    values[150:] *= 5.0
    fitted = kind.fit(values)
    found = focused(fitted, values[:150])
    assert (found.encoding.knee, fitted.encoding.knee) == (3.0, 0.0)
    assert replace(found, encoding=fitted.encoding) == fitted
    cells = found.transform(values)
    assert cells.values[:150].mean() == pytest.approx(0.0, abs=0.05)
    assert not cells.out_of_range.any()
    np.testing.assert_allclose(found.inverse_transform(cells.values), values)


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial"])
def test_counts_of_their_own_likelihood_are_never_bent(likelihood):
    values = np.random.default_rng(0).poisson(9.0, 200).astype(float)
    values[190:] *= 4.0
    found = focused(Count(likelihood).fit(values), values[:190])
    assert found.encoding.knee == 0.0
    assert found.encoding.loc == pytest.approx(values[:190].mean())
    cells = found.transform(values)
    straight = (values - values[:190].mean()) / values[:190].std()
    np.testing.assert_allclose(cells.values[:, 0], straight)
    assert straight.max() > 6.0
    assert found.inverse_transform(cells.values).tolist() == values.tolist()


def test_probabilities_of_counts_stay_those_of_the_counts():
    values = np.r_[np.random.default_rng(0).poisson(9.0, 200), 60.0, 80.0]
    found = focused(Count("poisson").fit(values), values[:200])
    (part,) = found.parts()
    encoded = torch.tensor(found.transform(values).values)
    raw = torch.full((len(values), 1), 0.3, dtype=torch.float64)
    log_p = Joint.of([part])(raw).log_prob_blocks(encoded)
    rate = values[:200].mean() * np.exp(0.3)
    np.testing.assert_allclose(log_p[:, 0], poisson.logpmf(values, rate), rtol=1e-6)


def test_counts_bent_and_back_are_whole():
    values = np.r_[np.arange(60.0), 5e4, 123_456.0]
    found = focused(Count(log=False).fit(values), values[:60])
    assert found.inverse_transform(found.transform(values).values).tolist() == values.tolist()
    halfway = found.inverse_transform(np.array([[0.123], [5.0], [-9.0]]))
    assert halfway.tolist() == np.maximum(np.round(halfway), 0.0).tolist()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Binary(), ["a", "b", "a", "b"]),
        (Categorical(), ["a", "b", "c", "a"]),
        (Constant(), ["a", "a", "a", "a"]),
        (Identifier(), ["a", "b", "c", "d"]),
        (Cyclic(), [1.0, 2.0, 23.0, 5.0]),
        (Datetime(), [1.7e9, 1.71e9, 1.72e9, 1.9e9]),
        (Real(), [1.0, 2.0, 3.0, 4.0]),
    ],
)
def test_other_kinds_are_what_they_were_and_so_are_those_without_trusted_values(kind, values):
    column = np.array(values, dtype=object if kind.storage == "text" else float)
    fitted = kind.fit(column)
    some = np.full(2, np.nan) if isinstance(kind, Real) else column[:2]
    assert focused(fitted, some) == fitted


@pytest.mark.parametrize("kind", [Real(), Positive(), Count(log=False)])
def test_focused_kinds_survive_json_and_older_records_are_read(kind):
    values = np.r_[np.arange(1.0, 40.0), 300.0]
    found = focused(kind.fit(values), values[:30])
    record = json.loads(json.dumps(kind_to_json(found), allow_nan=False))
    assert kind_from_json(record) == found
    del record["encoding"]["knee"]
    record.pop("log", None)
    assert kind_from_json(record).encoding == replace(found.encoding, knee=0.0)
    assert kind_from_json({"kind": "count"}).log


# -- no log scale where anomalies may be what makes the tail --------------------------------


HEAVY = np.random.default_rng(0).lognormal(0.0, 3.0, 500)


@pytest.mark.parametrize(
    ("values", "kind", "without"),
    [
        (HEAVY, Positive(), Real()),
        (np.round(HEAVY), Count(), Count()),
        (np.round(HEAVY) % 7, Count(), Count()),
        (np.log(HEAVY), Real(), Real()),
        (np.arange(500.0) % 2, Binary(), Binary()),
        (np.ones(500), Constant(), Constant()),
    ],
)
def test_kinds_inferred_without_a_log_scale(values, kind, without):
    raw = RawColumn(values, "number", "Float64")
    assert infer_kind(raw, named=True) == kind
    assert infer_kind(raw, named=True, log=False) == without


@pytest.mark.parametrize("values", [["a", "b", "c"], ["2024-01-01", "2024-01-02", "2024-01-03"]])
def test_texts_are_inferred_alike_without_a_log_scale(values):
    raw = RawColumn(np.array(values * 9, dtype=object), "text", "String")
    assert infer_kind(raw, named=True, log=False) == infer_kind(raw, named=True)


def test_counts_without_a_log_scale_stay_whole_and_straight():
    values = np.round(HEAVY)
    logged, straight = Count().fit(values).encoding, Count(log=False).fit(values)
    assert logged.unit > 0.0
    assert straight.encoding.unit == 0.0
    back = straight.inverse_transform(straight.transform(values).values + 1e-4)
    assert back.tolist() == np.round(back).tolist()
    assert (
        straight.inverse_transform(straight.transform(values).values).tolist() == values.tolist()
    )


def test_a_column_is_focused_on_its_trusted_rows_where_there_are_any():
    values = np.r_[np.random.default_rng(0).lognormal(0.0, 0.3, 400), HEAVY[:100] + 1.0]
    raw = RawColumn(values, "number", "Float64")
    plain = fit_column("a", raw, None, None, named=True, by_name=False)
    trusted = fit_column("a", raw, None, None, named=True, by_name=False, trusted=np.arange(400))
    assert plain.kind == Positive().fit(values)
    assert trusted.kind == focused(Real().fit(values), values[:400])
    said = fit_column(
        "a", raw, Positive(), None, named=True, by_name=False, trusted=np.arange(400)
    )
    assert said.kind == focused(Positive().fit(values), values[:400])


@pytest.mark.parametrize("kind", [None, Count()])
def test_counts_are_straight_among_rows_not_trusted(kind):
    """Inferred or said: a tail of anomalies must not decide on a log scale."""
    raw = RawColumn(np.round(HEAVY), "number", "Float64")
    column = fit_column("a", raw, kind, None, named=True, by_name=False, trusted=np.arange(300))
    assert column.kind.encoding.unit == 0.0
    assert not column.kind.log
    plain = fit_column("a", raw, kind, None, named=True, by_name=False)
    assert plain.kind.encoding.unit > 0.0


def test_a_likelihood_said_of_counts_is_known_before_they_are_bent():
    raw = RawColumn(np.round(HEAVY), "number", "Float64")
    column = fit_column(
        "a", raw, None, "poisson", named=True, by_name=True, trusted=np.arange(300)
    )
    assert column.kind.likelihood == "poisson"
    assert column.kind.encoding.knee == 0.0


def test_a_table_takes_scales_from_trusted_rows_and_the_rest_from_all():
    rng = np.random.default_rng(0)
    rows = {"a": rng.normal(size=60), "b": ["x", "y", "z"] * 20, "c": HEAVY[:60]}
    frame = read_frame(pd.DataFrame(rows))
    codec = TableCodec().fit(frame, np.arange(0, 60, 3))
    a, b, c = (column.kind for column in codec.columns)
    assert a == focused(Real().fit(rows["a"]), rows["a"][::3])
    assert b.names == ("x", "y", "z")
    assert isinstance(c, Real)
    assert codec.n_rows == 60
    assert TableCodec.from_json(json.loads(json.dumps(codec.to_json()))).columns == codec.columns


def test_times_of_day_are_rounded_to_their_unit():
    seconds = np.array([32272.899, 86399.9, np.nan])
    assert clock_text(seconds, "s").tolist() == ["08:57:53", "00:00:00", None]
    assert clock_text(np.array([1.0005])).tolist() == ["00:00:01.000500"]
