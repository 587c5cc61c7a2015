"""Types that come back: decimals, and those of pandas that NumPy has not."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from conftest import SMALL

from improbable import VAEDetector, load, save
from improbable.cli.retyping import _types
from improbable.data.decimals import arrow_decimals, has_room, is_whole, type_of_objects
from improbable.data.frames import read_frame, write_frame

EXTENDED = {
    "count": "Int64",
    "flag": "boolean",
    "name": "string",
    "load": "double[pyarrow]",
    "small": "Float32",
    "at": "timestamp[us, tz=UTC][pyarrow]",
    "plain": "float64",
}


def rows(n=300):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "count": rng.poisson(5.0, n),
            "flag": rng.random(n) < 0.3,
            "name": rng.choice(["a", "b", "c"], n),
            "load": rng.normal(size=n),
            "small": rng.normal(size=n),
            "at": pd.date_range("2025-01-01", periods=n, freq="h", tz="UTC"),
            "plain": rng.normal(size=n),
            7: rng.normal(size=n),
        }
    )
    table = table.astype(EXTENDED)
    table.loc[5, ["count", "flag", "name", "load", "at"]] = pd.NA
    return table


def types_of(table):
    return {name: str(kind) for name, kind in table.dtypes.items() if name in EXTENDED}


@pytest.fixture(scope="module")
def detector():
    return VAEDetector(**SMALL).fit(rows())


def test_types_that_numpy_has_not_come_back(detector, tmp_path):
    save(detector, tmp_path / "m")
    for one in (detector, load(tmp_path / "m")):
        made = one.sample(9), one.reconstruct(rows()[:9]), one.impute(rows()[:9])
        assert [types_of(table) for table in made] == [EXTENDED] * 3
        assert types_of(one.sample(9, given={"flag": True})) == EXTENDED
    filled = detector.impute(rows()[:9])
    assert not filled.isna().any(axis=None)
    pd.testing.assert_frame_equal(filled.drop(5), rows()[:9].drop(5))


def test_rows_of_other_types_come_back_in_those_of_training(detector):
    plain = rows()[:5].astype({"count": "int64", "flag": "bool", "name": "object"})
    assert types_of(detector.reconstruct(plain)) == EXTENDED
    np.testing.assert_array_equal(
        detector.score_samples(plain), detector.score_samples(rows()[:5])
    )


def test_cells_that_a_type_has_no_room_for_are_kept(detector):
    halves = rows()[:5].astype({"count": "Float64"})
    halves["count"] = 2.5
    filled = detector.impute(halves)
    assert filled["count"].tolist() == [2.5] * 5
    assert types_of(filled) == EXTENDED | {"count": "float64"}


def amounts(n=300):
    cents = np.random.default_rng(1).integers(100, 90_000, n)
    return [Decimal(int(c)) / 100 for c in cents]


@pytest.mark.parametrize(
    ("library", "table"),
    [
        ("pyarrow", lambda held: pa.table(held)),
        ("polars", lambda held: pl.from_arrow(pa.table(held))),
        ("pandas", lambda held: pa.table(held).to_pandas()),
    ],
)
def test_decimals_come_back_as_decimals(library, table):
    n = 300
    rng = np.random.default_rng(2)
    held = {
        "price": pa.array(amounts(), pa.decimal128(12, 2)),
        "row": pa.array([Decimal(i) for i in range(n)], pa.decimal128(20, 0)),
        "pieces": pa.array([Decimal(int(i)) for i in rng.poisson(9.0, n)], pa.decimal128(38, 0)),
        "load": rng.normal(size=n),
    }
    data = table(held)
    detector = VAEDetector(**SMALL).fit(data)
    assert detector.kinds_["row"] == "identifier"
    assert detector.kinds_["pieces"] == "count"
    drawn = detector.sample(20)
    if library == "pandas":
        assert all(type(v) is Decimal for name in ("price", "pieces") for v in drawn[name])
    else:
        schema = data.schema
        assert drawn.schema == schema
        assert detector.impute(data[:9]).schema == schema
    prices = pa.table({"p": drawn["price"]})["p"].to_pylist()
    assert all(price == round(price, 2) and type(price) is Decimal for price in prices)
    floats = pa.table({**held, "price": held["price"].cast(pa.float64())})
    np.testing.assert_array_equal(detector.score_samples(floats), detector.score_samples(data))


def test_decimals_round_and_stop_at_the_largest():
    numbers = np.array([0.1, -2.675, 3.0, 1e30, -np.inf, np.nan])
    found = arrow_decimals(numbers, "Decimal(4, 2)").to_pylist()
    top = Decimal("99.99")
    assert found[0] == Decimal("0.10")
    assert found[2:] == [Decimal("3.00"), top, -top, None]
    most = arrow_decimals(np.array([np.inf]), "Decimal(38, 0)").to_pylist()[0]
    assert Decimal(10) ** 37 < most < Decimal(10) ** 38


def test_room_of_decimals():
    numbers = np.array([0.25, 0.255, 99.99, 100.0, -99.99, np.inf, np.nan])
    expected = [True, False, True, False, True, False, False]
    assert has_room(numbers, "Decimal(4, 2)").tolist() == expected
    assert has_room(np.array([2.0**53 - 1.0]), "Decimal(38, 0)").all()
    assert not has_room(np.array([2.0**53]), "Decimal(38, 0)").any()


def test_cells_that_a_decimal_has_no_room_for_are_kept():
    held = {"price": pa.array(amounts(), pa.decimal128(6, 2)), "load": np.arange(300.0)}
    detector = VAEDetector(**SMALL).fit(pa.table(held))
    fine = pa.table({"price": [1.125, None], "load": [3.0, 4.0]})
    filled = detector.impute(fine)
    assert filled["price"].type == pa.float64()
    assert filled["price"][0].as_py() == 1.125
    text = pa.table({"price": ["1.50", "2"], "load": [3.0, 4.0]})  # as CSV would have it
    assert detector.impute(text)["price"].to_pylist() == [Decimal("1.50"), Decimal("2.00")]


@pytest.mark.parametrize(
    ("numbers", "dtype"),
    [
        ([Decimal("1.5"), Decimal("2.25"), Decimal("NaN")], "Decimal(38, 2)"),
        ([Decimal("1e3"), Decimal("7")], "Decimal(38, 0)"),
        ([Decimal("1e-30")], "Float64"),
        ([Decimal(2**53 - 1)], "Decimal(38, 0)"),
        ([Decimal(2**53)], "Float64"),
    ],
)
def test_python_decimals_have_the_digits_of_the_finest(numbers, dtype):
    assert type_of_objects(numbers, np.array(numbers, dtype=np.float64)) == dtype


def test_decimals_that_floats_do_not_hold_are_floats():
    long = pa.table({"a": pa.array([Decimal(2**60 + 1), None], pa.decimal128(38, 0))})
    assert read_frame(long).columns["a"].dtype == "Float64"


def test_objects_of_decimals_alone_are_such():
    mixed = pd.DataFrame({"a": [Decimal("1.5"), None], "b": [Decimal("1.5"), 2.0]}, dtype=object)
    columns = read_frame(mixed).columns
    assert [raw.dtype for raw in columns.values()] == ["Decimal(38, 1)", "Float64"]
    wide = pa.table({"a": pa.array([Decimal("1.5"), None], pa.decimal256(60, 3))})
    assert read_frame(wide).columns["a"].dtype == "Decimal(38, 3)"
    back = write_frame(columns, "pandas")
    assert back["a"].tolist() == [Decimal("1.5"), None]


def test_types_without_a_point_are_whole():
    assert [is_whole(t) for t in ("Int64", "UInt8", "Decimal(38, 0)")] == [True] * 3
    assert not any(is_whole(t) for t in ("Float64", "Decimal(10, 2)", "String"))
    assert _types("Decimal(38, 0)") == [pa.int64(), pa.float64()]
    assert _types("Decimal(10, 2)") == [pa.float64()]
