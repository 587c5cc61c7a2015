"""Intervals of cells: what they hold, and how wide that makes them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from improbable import VAEDetector, load, save
from improbable.data.rows import DenseRows
from improbable.data.table import TableCodec
from improbable.expectations import MOST_STRETCH, Expected, expected_cells, least_values, stretches
from improbable.generation import Mixture

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame({"a": RNG.normal(size=400), "city": RNG.choice(["x", "y", "z"], size=400)})
CODEC = TableCodec().fit(TABLE)


def encoded(n, spread):
    """Rows whose numbers are Normal in encoded units, and a model that expects N(0, 1) of all."""
    shape = n, len(CODEC.names)
    values = np.zeros((n, CODEC.event_size))
    number, name = (CODEC.column_entries(i)[0][0] for i in (0, 1))
    values[:, number], values[:, name] = spread * np.random.default_rng(1).normal(size=n), 1.0
    no = np.zeros(shape, dtype=bool)
    rows = DenseRows(values, np.ones((n, len(CODEC.parts)), dtype=bool), no + 0.0, no, no, no)

    def conditional(index, visible):
        size = 1, len(index), CODEC.event_size
        return Mixture(np.ones(size[:2]), np.zeros(size), np.ones(size))

    return rows, conditional


@pytest.mark.parametrize(("spread", "factor"), [(0.5, 1.0), (1.0, 1.0), (3.0, 3.0)])
def test_factors_are_the_quantiles_of_normals(spread, factor):
    """A value three times as spread as expected needs an interval three times as wide."""
    found = stretches(CODEC, *encoded(2_000, spread))
    assert found[1] == 1.0
    # The density of |x| at its 90 % quantile is .206, and the grid's ends are off by less.
    error = factor * np.sqrt(0.9 * 0.1 / 2_000) / 0.206 / 1.645
    assert found[0] == pytest.approx(max(factor, 1.0), abs=4 * error + 0.1 * factor)


def test_few_rows_take_the_farthest_and_none_change_nothing():
    rows, conditional = encoded(5, 2.0)
    cells = expected_cells(CODEC, rows.observed, np.ones((5, 2), dtype=bool), conditional)
    values = CODEC.inverse_column(0, rows.values)
    ends = np.where(values < cells.middle[:, 0], cells.lower[:, 0], cells.upper[:, 0])
    ratio = (values - cells.middle[:, 0]) / (ends - cells.middle[:, 0])
    assert stretches(CODEC, rows, conditional)[0] == pytest.approx(max(ratio.max(), 1.0))
    nothing = rows.take(slice(0))
    assert stretches(CODEC, nothing, conditional).tolist() == [1.0, 1.0]


def test_a_factor_has_a_limit():
    assert stretches(CODEC, *encoded(50, 1e6))[0] == MOST_STRETCH


def test_intervals_of_no_width_do_not_count():
    rows, conditional = encoded(60, 1.0)

    def sure(index, visible):
        mixture = conditional(index, visible)
        mixture.variance[:, index < 20] = 1e-20
        return mixture

    assert stretches(CODEC, rows, sure)[0] < 2.0


def test_wide_tables_keep_the_intervals_of_the_model():
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 65)))
    codec = TableCodec().fit(table)
    assert (stretches(codec, codec.transform(table), None) == 1.0).all()


def test_intervals_stay_above_what_no_value_is_below():
    codec = TableCodec().fit(pd.DataFrame({"a": [0.5, 1.0, 2.5] * 9, "b": [-1.0, 1.0, 0.5] * 9}))
    least = least_values(codec)
    assert least.tolist() == [0.05, -np.inf]  # no zero in training: a tenth of the lowest
    lower, middle, upper = (np.full((1, 2), end) for end in (1.0, 2.0, 4.0))
    wide = Expected(np.empty((1, 2), dtype=object), lower, middle, upper)
    wide = wide.stretched(np.array([3.0, 3.0]), least)
    assert wide.lower.tolist() == [[0.05, -1.0]]
    assert wide.upper.tolist() == [[8.0, 8.0]]


def test_missing_cells_tell_nothing_of_factors():
    rows, conditional = encoded(500, 1.0)
    missing = rows.missing.copy()
    missing[:200, 0] = True
    values = rows.values.copy()
    values[:200] = 50.0
    holed = replace(rows, values=values, missing=missing)
    assert stretches(CODEC, holed, conditional)[0] < 1.3


@pytest.fixture(scope="module")
def independent():
    table = pd.DataFrame(np.random.default_rng(3).normal(size=(2_000, 6)))
    return VAEDetector(random_state=4, verbose=False).fit(table[:1_400]), table[1_400:]


def test_intervals_hold_nine_tenths_of_new_values(independent):
    detector, new = independent
    found = detector.explain(new)
    assert (found.lower <= found.upper).all()
    held = ((new >= found.lower) & (new <= found.upper)).to_numpy().mean()
    # Factors come from 85 rows a column, each off by sqrt(.9 * .1 / 85) in what it holds.
    assert abs(held - 0.91) < 4 * np.sqrt(0.09 / 85 / 6)
    assert detector.model_.stretch.max() > 1.2, "the model's own intervals are too narrow"


def test_factors_go_into_the_file(independent, tmp_path):
    detector, new = independent
    save(detector, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.model_.stretch, detector.model_.stretch)
    one, other = detector.explain(new[:5]), again.explain(new[:5])
    np.testing.assert_allclose(one.lower, other.lower, atol=1e-9)
    assert again.model_.probe is None


def test_numbers_within_their_interval_are_no_reason_beside_others(independent):
    detector, new = independent
    found = detector.explain(new[:1])
    surprise = np.array([[5.0, 4.0, 3.0, 2.0, 0.5, 0.0]])
    lower, upper = np.full((1, 6), -1.0), np.full((1, 6), 1.0)
    values = np.array([[0.5, 2.0, 0.5, -3.0, 9.0, 9.0]], dtype=object)
    told = replace(found, surprise=surprise, lower=lower, upper=upper, values=values)
    assert [reason[0] for reason in told.reasons(0, 4)] == ["1", "3"]
    inside = replace(told, values=np.zeros((1, 6), dtype=object) + 0.5)
    assert [reason[0] for reason in inside.reasons(0, 4)] == ["0"]


def test_a_table_of_reasons_holds_values_to_the_last_digit(detector, new):
    """Texts that read back, with no separators, as a program wants them."""
    new = new.head(20).assign(income=12345.678901234567)
    table = detector.explain(new).to_frame("pandas")
    income = table[table["column"] == "income"]
    assert income["value"].unique().tolist() == ["12345.678901234567"]
    expected = income["expected"].astype(float)
    assert ((income["lower"] <= expected) & (expected <= income["upper"])).all()
    assert "12,346" in detector.explain(new).reason(0, detector.model_.codec.names.index("income"))
