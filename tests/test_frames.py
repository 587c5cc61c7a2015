"""Any table to plain columns and back; text to numbers, truth values and moments."""

import datetime as dt
import decimal
import time

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from polars.testing import assert_frame_equal as assert_polars_equal

from improbable.data.columns import Binary
from improbable.data.fitted_column import Column
from improbable.data.frames import read_frame, write_frame
from improbable.data.raw import RawColumn, arrow_column, as_storage, as_times, shown_time, zone_of
from improbable.data.table import TableCodec
from improbable.data.texts import number_text, parse_number, parse_time, plain_words, time_text
from improbable.errors import DataError

FUZZ = settings(max_examples=40, deadline=None)
MOMENT = dt.datetime(2024, 2, 29, 23, 59, 58, 123456)


def back(data):
    frame = read_frame(data)
    return frame.to_native()


def text(*values):
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


PANDAS = pd.DataFrame(
    {
        **{f"i{b}": np.array([1, -2, 3], dtype=f"int{b}") for b in (8, 16, 32, 64)},
        **{f"u{b}": np.array([1, 2, 2**b - 1 if b < 64 else 9], f"uint{b}") for b in (8, 32, 64)},
        "f32": np.array([0.1, np.nan, -1e30], dtype="float32"),
        "f64": [0.1, np.nan, -1e300],
        "bool": [True, False, True],
        "text": ["a", None, "žluťoučký 馬"],
        "category": pd.Categorical(["low", "high", None]),
        **{
            f"t_{unit}": np.array(["2024-01-01T01:02:03", "NaT", "1969-07-20"], f"M8[{unit}]")
            for unit in ("s", "ms", "us", "ns")
        },
        "zone": pd.to_datetime(["2024-01-01", "2024-07-01", None]).tz_localize("Europe/Prague"),
    }
)
POLARS = pl.DataFrame(
    {
        **{t.__name__: pl.Series([1, None, 3], dtype=t) for t in (pl.Int8, pl.Int64, pl.UInt32)},
        "f32": pl.Series([0.5, None, 1e30], dtype=pl.Float32),
        "bool": [True, None, False],
        "text": ["a", None, ""],
        "category": pl.Series(["x", None, "y"], dtype=pl.Categorical),
        "date": [dt.date(2024, 2, 29), None, dt.date(1900, 1, 1)],
        "us": [MOMENT, None, MOMENT],
        "ms": pl.Series([dt.datetime(2024, 1, 1), None, None], dtype=pl.Datetime("ms")),
        "zone": pl.Series([MOMENT, None, MOMENT]).dt.replace_time_zone("Asia/Tokyo"),
        "span": [dt.timedelta(days=1), None, dt.timedelta(microseconds=-1)],
    }
)


def test_pandas_round_trip_keeps_values_types_and_order():
    assert_frame_equal(back(PANDAS), PANDAS)


def test_pandas_index_is_kept_and_taken():
    names = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["site", "day"])
    labeled = PANDAS.drop(columns="category").head(3).set_axis(names)
    assert_frame_equal(back(labeled), labeled)
    some = read_frame(labeled).take(np.array([2, 0])).to_native()
    assert_frame_equal(some, labeled.iloc[[2, 0]])


def test_numbers_among_texts_are_written_as_those_alone():
    cells = [1.0, np.float32(0.1), 2, "A", None, np.inf, True]
    column = read_frame(pd.DataFrame({"a": pd.Series(cells, dtype=object)})).columns["a"]
    assert column.values.tolist() == ["1", "0.1", "2", "A", None, "inf", "True"]
    alone = read_frame(pd.DataFrame({"a": [1.0, 2.0]})).columns["a"]
    assert as_storage(alone, "text", "String")[0].tolist() == ["1", "2"]


def test_hidden_cells_of_masked_arrays_are_missing():
    hidden = np.ma.masked_array([[0.0, 999.0], [1.0, 2.0]], mask=[[False, True], [False, False]])
    columns = read_frame(hidden).columns
    assert columns["x0"].values.tolist() == [0.0, 1.0]
    np.testing.assert_array_equal(columns["x1"].values, [np.nan, 2.0])
    assert back(np.ma.masked_array([[1.5, 2.0]])).tolist() == [[1.5, 2.0]]


def test_names_of_single_precision_numbers_are_as_written():
    column = RawColumn(np.float64(np.float32([0.1, 2.5, np.nan, 1e-5])), "number", "Float32")
    assert as_storage(column, "text", "Float64")[0].tolist() == ["0.1", "2.5", None, "1e-05"]


def test_whole_numbers_beyond_floats_stay_exact():
    large = pd.DataFrame({"id": [2**60 + 1, 2**60 + 2, 2**60 + 3], "n": [1, 2, 3]})
    assert_frame_equal(back(large), large)
    column = read_frame(large).columns["id"]
    assert column.values.tolist() == [str(2**60 + i) for i in (1, 2, 3)]
    assert as_storage(column, "text", "Int64")[0].tolist() == column.values.tolist()
    some = pl.DataFrame({"id": [2**63 + 5, None]}, schema={"id": pl.UInt64})
    assert_polars_equal(back(some), some)


def test_polars_round_trip_keeps_values_types_and_order():
    assert_polars_equal(back(POLARS), POLARS)
    assert_polars_equal(back(POLARS.lazy()), POLARS)


def test_arrow_round_trip_keeps_values_types_and_order():
    table = (
        POLARS.drop("category")
        .to_arrow()
        .cast(
            pa.schema(
                [
                    f.with_type(pa.string()) if f.type == pa.large_string() else f
                    for f in POLARS.drop("category").to_arrow().schema
                ]
            )
        )
    )
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert read_frame(chunked).library == "pyarrow"
    assert back(chunked).equals(table)
    assert back(table.to_batches()[0]).equals(table)
    empty = read_frame(table.slice(0, 0))
    assert empty.n_rows == 0
    assert [c.storage for c in empty.columns.values()] == [
        c.storage for c in read_frame(table).columns.values()
    ]


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1.5, np.nan], [-np.inf, 2.0]]),
        np.array([[1, 2], [3, 4]]),
        np.array([[1.5, "a"], [None, "b"]], dtype=object),
        np.array([[1.5, "1"], [2.5, "b"]], dtype=object),
        np.array([[True, "a"], [None, None]], dtype=object),
    ],
)
def test_arrays_come_back(array):
    frame = read_frame(array)
    assert frame.library == "numpy"
    assert not frame.named
    assert list(frame.columns) == ["x0", "x1"]
    found = back(array)
    assert [type(v) for v in found[0]] == [type(v) for v in array.astype(found.dtype)[0]]
    np.testing.assert_array_equal(found, array)


def test_narrow_arrays_are_read_as_float64():
    frame = read_frame(np.array([[1, 250]], dtype=np.uint8))
    assert [c.values.dtype for c in frame.columns.values()] == [np.float64] * 2
    truth = read_frame(np.array([[True, False]])).columns
    assert {c.dtype for c in truth.values()} == {"Boolean"}
    assert back(np.array([[True, False]])).tolist() == [[True, False]]


@pytest.mark.parametrize(
    "dtype",
    ["int64", "int8", "uint16", "float32", "bool", "datetime64[us]", "timedelta64[us]"],
)
def test_arrays_come_back_in_their_type(dtype):
    array = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    assert back(array).dtype == array.dtype
    np.testing.assert_array_equal(back(array), array)


def test_arrays_with_a_gap_come_back_as_objects():
    gap = np.array([["2024-01-01", "NaT"]], dtype="M8[us]")
    assert back(gap)[0].tolist() == [dt.datetime(2024, 1, 1), None]


@pytest.mark.parametrize("unit", ["D", "s", "ns"])
def test_arrays_of_moments_and_durations(unit):
    moments = np.array([["2024-01-01"], ["NaT"]], dtype=f"M8[{unit}]")
    column = read_frame(moments).columns["x0"]
    assert column.storage == "time"
    np.testing.assert_array_equal(column.values, [1704067200.0, np.nan])
    spans = read_frame(np.array([[86400], ["NaT"]], dtype="m8[s]")).columns["x0"]
    np.testing.assert_array_equal(spans.values, [86400.0, np.nan])
    assert spans.storage == "number"


def test_list_of_rows_keeps_numbers_beside_text():
    frame = read_frame([[1.5, "a", True], [2, "2", None]])
    assert [c.storage for c in frame.columns.values()] == ["number", "text", "text"]
    assert [c.dtype for c in frame.columns.values()] == ["Float64", "String", "Boolean"]
    assert read_frame([[1, 2], [3, 4]]).columns["x1"].values.tolist() == [2.0, 4.0]
    assert read_frame(((1, None), (3, 4))).columns["x1"].storage == "number"


def test_list_of_dicts():
    frame = read_frame([{"a": 1, "b": "x"}, {"c": 2.5, "a": None}, {"a": 3}])
    assert list(frame.columns) == ["a", "b", "c"]
    np.testing.assert_array_equal(frame.columns["a"].values, [1.0, np.nan, 3.0])
    assert frame.columns["b"].values.tolist() == ["x", None, None]
    np.testing.assert_array_equal(frame.columns["c"].values, [np.nan, 2.5, np.nan])
    assert frame.named
    mixed = read_frame([{"a": 1}, {"a": "x"}, {"a": None}])
    assert mixed.columns["a"].values.tolist() == ["1", "x", None]
    with pytest.raises(DataError, match="one dict for each row"):
        read_frame([{"a": 1}, 3])


@pytest.mark.parametrize(
    "cells", [[dt.time(9), 1.5], [MOMENT, 5], [MOMENT.date(), 5], [dt.timedelta(1), np.int64(5)]]
)
@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NaT, pd.NA])
def test_times_in_dicts_beside_nothing_and_beside_numbers(cells, nothing):
    for place, order in enumerate(([cells[0], nothing], [nothing, cells[0]])):
        column = read_frame([{"a": cell} for cell in order]).columns["a"]
        expected = read_frame(pa.table({"a": [cells[0]]})).columns["a"]
        assert column.dtype == expected.dtype
        assert column.values[place] == expected.values[0]
        assert np.isnan(column.values).sum() == 1
    for order in (cells, cells[::-1], [*cells, nothing]):
        column = read_frame([{"a": cell} for cell in order]).columns["a"]
        words = {cell: str(cell) for cell in cells} | {nothing: None}
        assert column.values.tolist() == [words[cell] for cell in order]


def test_dicts_as_pandas_makes_them():
    frame = pd.DataFrame({"t": [dt.time(9), None, dt.time(10)], "x": [1.0, np.nan, 3.0]})
    records = frame.assign(t=frame["t"].where(frame["t"].notna(), np.nan)).to_dict("records")
    found, expected = read_frame(records), read_frame(frame)
    for name in frame:
        np.testing.assert_array_equal(found.columns[name].values, expected.columns[name].values)


def test_wide_dicts_are_read_in_time_that_grows_with_their_width():
    wide = [{f"a{i}": 1.0 for i in range(20_000)}]
    began = time.process_time()
    read_frame(wide, list(wide[0])[:10_000])
    assert time.process_time() - began < 10.0


@pytest.mark.parametrize(
    ("cells", "storage", "expected"),
    [
        ([1, 2.5, None], "number", [1.0, 2.5, np.nan]),
        ([1, pd.NA, True], "number", [1.0, np.nan, 1.0]),
        ([decimal.Decimal("1.5"), None], "number", [1.5, np.nan]),
        ([10**400, -(10**400), 1], "number", [np.inf, -np.inf, 1.0]),
        ([1, "a", None], "text", ["1", "a", None]),
        (["a", pd.NaT, float("nan")], "text", ["a", None, None]),
        ([True, None, np.False_], "text", ["True", None, "False"]),
        ([None, None], "text", [None, None]),
        ([b"x", 1], "text", ["b'x'", "1"]),
    ],
)
def test_object_columns(cells, storage, expected):
    for data in (pd.DataFrame({"a": text(*cells)}), text(*cells)[:, None]):
        (column,) = read_frame(data).columns.values()
        assert column.storage == storage
        if storage == "number":
            np.testing.assert_array_equal(column.values, expected, strict=True)
        else:
            assert column.values.tolist() == expected


def test_nullable_pandas_columns():
    data = pd.DataFrame(
        {
            "i": pd.array([1, None], dtype="Int64"),
            "f": pd.array([1.5, None], dtype="Float32"),
            "b": pd.array([True, None], dtype="boolean"),
            "s": pd.array(["a", None], dtype="string"),
        }
    )
    columns = read_frame(data).columns
    np.testing.assert_array_equal(columns["i"].values, [1.0, np.nan])
    assert columns["i"].dtype == "Int64"
    np.testing.assert_array_equal(columns["f"].values, [1.5, np.nan])
    assert columns["b"].values.tolist() == ["True", None]
    assert columns["s"].values.tolist() == ["a", None]


def test_categories_of_numbers_stay_categories():
    columns = read_frame(pd.DataFrame({"a": pd.Categorical([1, 2, None])})).columns
    assert columns["a"].values.tolist() == ["1", "2", None]
    assert columns["a"].dtype == "Categorical"
    enum = pl.DataFrame({"a": pl.Series(["x", "y"], dtype=pl.Enum(["x", "y"]))})
    assert read_frame(enum).columns["a"].dtype == "Enum"
    assert back(enum)["a"].to_list() == ["x", "y"]


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        ("America/New_York", "America/New_York"),
        ("Etc/GMT+5", "Etc/GMT+5"),
        (dt.timezone(dt.timedelta(hours=2)), "+02:00"),
    ],
)
def test_moments_of_every_zone_are_moments(zone, name):
    """Zones with an underscore, a digit or a plain offset, which pandas has and few others."""
    frame = pd.DataFrame({"when": pd.date_range("2026-01-01", periods=3, freq="h", tz=zone)})
    column = read_frame(frame).columns["when"]
    assert (column.storage, zone_of(column.dtype)) == ("time", name)
    assert column.values[0] == pd.Timestamp("2026-01-01", tz=zone).timestamp()
    pd.testing.assert_frame_equal(back(frame), frame, check_freq=False)
    assert shown_time(column.values[0], column.dtype).startswith("2026-01-01T00:00:00")


def test_nanoseconds_are_rounded_to_microseconds():
    stamp = pd.Series(np.array(["2024-01-01T00:00:00.123456789"], dtype="M8[ns]"))
    column = read_frame(pd.DataFrame({"a": stamp})).columns["a"]
    assert column.values[0] == pytest.approx(1704067200.123456, abs=1e-6)


def test_column_names_that_are_numbers_become_text():
    frame = read_frame(pd.DataFrame([[1, 2.5]], columns=[0, 1]))
    assert list(frame.columns) == ["0", "1"]
    assert frame.named
    assert frame.take(np.array([0])).to_native().columns.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), DataError, "names repeat(.|\n)*Rename"),
        (pd.DataFrame([[1, 2]], columns=["1", 1]), DataError, "names repeat(.|\n)*Rename"),
        (pa.table([[1], [2]], names=["a", "a"]), DataError, "names repeat(.|\n)*Rename"),
        (pl.DataFrame({"a": [[1, 2], [3, 4]]}), DataError, "'a' holds cells of type list"),
        (pl.DataFrame({"a": [{"x": [1]}]}), DataError, "'a.x' holds cells of type list"),
        (pd.DataFrame({"a": [{"x": 1}, 2]}), DataError, "'a' holds cells of type dict"),
        (pd.DataFrame({"a": [{"x": 1}, np.ones(2)]}), DataError, "'a' holds cells of type dict"),
        (pd.DataFrame({"a": [np.zeros(2), np.zeros(2)]}), DataError, "type ndarray"),
        (pd.DataFrame({"a": [1 + 2j]}), DataError, "type complex"),
        (scipy.sparse.csr_matrix(np.eye(3)), TypeError, "[Ss]parse"),
        (np.ones((2, 2)) + 1j, ValueError, "Complex data not supported"),
        (np.array([[1j, "a"]], dtype=object), TypeError, "type complex"),
        (np.array([[{}, "a"]], dtype=object), TypeError, "type dict"),
        (np.ones(3), ValueError, "2D array"),
        (np.ones((2, 2, 2)), ValueError, "dim 3"),
        ([[1, 2], [3]], ValueError, "inhomogeneous"),
        ([], ValueError, "2D array"),
        (pd.Series([1, 2]), DataError, "single row or column"),
        (None, DataError, "NoneType is no table"),
        ("a,b", DataError, "is text and no table"),
    ],
)
def test_what_is_no_table_is_refused(data, error, message):
    with pytest.raises(error, match=message):
        read_frame(data)


def test_values_beyond_a_type_are_clipped_to_it_on_the_way_back():
    huge = np.array([1e300, -1e300, np.inf, np.nan])
    columns = {
        name: RawColumn(huge, "number", name) for name in ("Int8", "Int64", "UInt64", "UInt16")
    }
    table = write_frame(columns, "pyarrow").to_pydict()
    assert table["Int8"] == [127, -128, 127, None]
    assert table["UInt16"] == [65535, 0, 65535, None]
    for name, top, bottom in (("Int64", 2**63, -(2**63)), ("UInt64", 2**64, 0)):
        assert top - 4096 <= table[name][0] < top
        assert table[name][1:] == [bottom, table[name][0], None]


@pytest.mark.parametrize(
    "dtype",
    ["Date", *(f"Datetime(time_unit='{u}', time_zone=None)" for u in ("s", "ms", "us", "ns"))],
)
def test_moments_beyond_a_calendar_are_clipped_to_it_on_the_way_back(dtype):
    column = RawColumn(np.array([1e30, -1e30, np.nan]), "time", dtype)
    high, low, none = write_frame({"t": column}, "pyarrow").column("t").to_pylist()
    assert high.year >= 2261
    assert low.year <= 1678
    assert none is None


def test_float32_overflow_is_no_error():
    column = RawColumn(np.array([1e300, 1.0]), "number", "Float32")
    assert write_frame({"a": column}, "pyarrow").to_pydict()["a"] == [np.inf, 1.0]


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "dask-of-nowhere"])
def test_write_to_any_library(library):
    found = write_frame({"a": RawColumn(np.array([1.0]), "number", "Int64")}, library)
    expected = {"pandas": pd.DataFrame, "polars": pl.DataFrame}.get(library, pa.Table)
    assert isinstance(found, expected)


# -- storages -------------------------------------------------------------------------------


def test_text_to_numbers_marks_unreadable_cells_only():
    column = RawColumn(text("1", " 2.5 ", "", "  ", None, "none", "True", "1e3"), "text", "String")
    values, unreadable = as_storage(column, "number", "Float64")
    np.testing.assert_array_equal(values, [1, 2.5, np.nan, np.nan, np.nan, np.nan, 1, 1000])
    assert np.flatnonzero(unreadable).tolist() == [5]
    clean, none = as_storage(RawColumn(text("1", None), "text", "String"), "number", "Int64")
    np.testing.assert_array_equal(clean, [1.0, np.nan])
    assert not none.any()


def test_text_to_times_marks_unreadable_cells_only():
    column = RawColumn(text("1970-01-02", None, "soon", ""), "text", "String")
    values, unreadable = as_storage(column, "time", "String")
    np.testing.assert_array_equal(values, [86400.0, np.nan, np.nan, np.nan])
    assert np.flatnonzero(unreadable).tolist() == [2]


@pytest.mark.parametrize(("storage", "other"), [("number", "time"), ("time", "number")])
def test_numbers_are_no_times_and_times_no_numbers(storage, other):
    values, unreadable = as_storage(RawColumn(np.array([1.0, np.nan]), other, "?"), storage, "?")
    assert np.isnan(values).all()
    assert unreadable.tolist() == [True, False]


@pytest.mark.parametrize(
    ("dtype", "words", "expected"),
    [
        ("Boolean", ["yes", "T", "1", "1.0", " TRUE "], ["True"] * 5),
        ("Boolean", ["no", "f", "0", "0.0", "False"], ["False"] * 5),
        ("Boolean", ["maybe", None, "2"], ["maybe", None, "2"]),
        ("Int64", ["1.0", "01", "true", "x", ""], ["1", "1", "1", "x", None]),
        ("Float32", ["1.50", "1e0", None], ["1.5", "1", None]),
        ("Date", ["2024-01-01T00:00:00", "2024-01-01", "soon"], ["2024-01-01"] * 2 + ["soon"]),
        ("String", ["1.0", "yes", ""], ["1.0", "yes", ""]),
    ],
)
def test_words_that_mean_a_value_of_the_type(dtype, words, expected):
    assert plain_words(text(*words), dtype).tolist() == expected


def test_numbers_and_moments_read_as_the_names_of_a_column():
    numbers = RawColumn(np.array([0.0, 1.0, np.nan]), "number", "Float64")
    assert as_storage(numbers, "text", "Boolean")[0].tolist() == ["False", "True", None]
    assert as_storage(numbers, "text", "String")[0].tolist() == ["0", "1", None]
    moments = RawColumn(np.array([0.0, 1.5, 2.0]), "time", "Datetime")
    assert as_storage(moments, "text", "Datetime")[0].tolist() == [
        "1970-01-01",
        "1970-01-01T00:00:01.500000",
        "1970-01-01T00:00:02",
    ]


@FUZZ
@given(st.lists(st.floats(), max_size=10))
def test_number_text_reads_back(values):
    words = number_text(np.array(values, dtype=float))
    for word, value in zip(words, values, strict=True):
        assert (word is None) == np.isnan(value)
        assert word is None or float(word) == value
    assert number_text(np.array([3.0, 1e300, -0.0])).tolist() == ["3", "1e+300", "0"]


@FUZZ
@given(st.lists(st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)), max_size=5))
def test_time_text_reads_back(moments):
    epoch = dt.datetime(1970, 1, 1)
    seconds = np.array([(m - epoch) / dt.timedelta(seconds=1) for m in moments], dtype=float)
    for word, value in zip(time_text(seconds), seconds, strict=True):
        assert parse_time(word) == pytest.approx(value, abs=1e-4)
    assert time_text(np.array([np.nan])).tolist() == [None]


@FUZZ
@given(st.text())
def test_no_text_breaks_the_parsers(word):
    for parsed in (parse_time(word), parse_number(word)):
        assert parsed is None or isinstance(parsed, float)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("1970-01-01", 0.0),
        (" 1970-01-02 ", 86400.0),
        ("1970-01-01 00:00:01", 1.0),
        ("1970-01-01T00:00:00.5", 0.5),
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1969-12-31T19:00:00-05:00", 0.0),
        ("1969-12-31", -86400.0),
        ("1970/01/02", 86400.0),
        ("1970/1/2 1:00:05.5", 90005.5),
        ("1970-1-2 1:00", 90000.0),
        ("1970/01-02", None),
        ("1970.1.2", None),
        ("02.01.1970", 86400.0),
        ("2.1.1970 00:00", 86400.0),
        ("2.1.1970 1:00:05", 90005.0),
        ("01.01.1970T00:00:00.5", 0.5),
        ("31.02.2024", None),
        ("12.31.2024", None),
        ("01.01.70", None),
        ("1.1.1970 24:00", None),
        ("1.1.1970 1", None),
        ("soon", None),
        ("12345678", None),
        ("2024-13-01", None),
        ("2024-02-30", None),
        ("01/02/2024", None),
        ("2024\ud800-01-01", None),
    ],
)
def test_parse_time(word, expected):
    assert parse_time(word) == expected


def test_no_text_is_a_missing_time():
    assert np.isnan(parse_time(None))
    assert np.isnan(parse_time("  "))


@pytest.mark.parametrize("digits", ["1", "123", "123456", "1234567", "12345678", "123456789"])
@pytest.mark.parametrize("zone", ["", "Z", "+01:00"])
def test_fractions_of_a_second_are_read_to_the_sixth_digit(digits, zone):
    word = f"2024-02-29T23:59:58.{digits}{zone}"
    assert parse_time(word) == parse_time(f"2024-02-29T23:59:58.{digits[:6]}{zone}") is not None
    assert parse_time(f"2024-02-29T23:59:58.{digits:0<10}") is None


def test_times_in_long_integers_are_numbers():
    ticks = 1_700_000_000_000_000_000 + np.arange(5) * 1_000
    column = read_frame(pd.DataFrame({"t": ticks})).columns["t"]
    assert as_times(column).tolist() == ticks.astype(float).tolist()


def test_bytes_are_text_and_bytes_again():
    words, odd = [b"ab", None, "ž".encode()], [b"\xff", b"ab", None]
    for cells, expected in ((words, ["ab", None, "ž"]), (odd, ["ff", "6162", None])):
        tables = (
            pd.DataFrame({"a": pd.Series(cells, dtype=object)}),
            pl.DataFrame({"a": cells}),
            pa.table({"a": cells}),
        )
        for table in tables:
            frame = read_frame(table)
            assert frame.columns["a"].values.tolist() == expected
            assert [*pa.table({"a": frame.to_native()["a"]})["a"].to_pylist()] == cells


def test_bytes_are_spelled_as_in_training():
    utf8, digits = (
        read_frame(pa.table({"a": cells})).columns["a"] for cells in ([b"ab"], [b"\xff"])
    )
    both = read_frame(pa.table({"a": [b"ab", b"\xff"]})).columns["a"]
    assert as_storage(both, "text", utf8.dtype)[0].tolist() == ["ab", "0xff"]
    assert as_storage(utf8, "text", digits.dtype)[0].tolist() == ["6162"]


def test_imputing_leaves_other_bytes_alone():
    cells = [*[b"ab", b"cd", b"ef"] * 10, None]
    codec = TableCodec().fit(pa.table({"a": cells, "x": np.arange(31) % 4}))
    new = pa.table({"a": [b"\xff", None, b"ab"], "x": [1, 2, 3]})
    found = codec.fill(codec.transform(new).values, codec.read(new)).to_native()["a"].to_pylist()
    assert found[::2] == [b"\xff", b"ab"]
    assert found[1] in cells


@pytest.mark.parametrize("kind", ["bytes", "text"])
def test_bytes_mean_the_same_as_the_text_written_of_them(kind):
    cells, words = [b"abc", b"\xff\x00", b"beef"], ["abc", "0xff00", "beef"]
    told = {"bytes": cells, "text": words}
    x = np.arange(36) % 3
    codec = TableCodec().fit(pa.table({"b": [told[kind][i] for i in x], "x": x}))
    assert sorted(codec.columns[0].kind.names) == sorted(words)
    for new in (cells, words):
        found = codec.transform(pa.table({"b": new, "x": [0, 1, 2]}))
        assert not found.unseen.any()
        expected = np.eye(3)[[codec.columns[0].kind.names.index(word) for word in words]]
        assert (found.values[:, codec.column_entries(0)[0]] == expected).all()


def test_what_is_imputed_among_bytes_is_not_taken_for_digits():
    codec = TableCodec().fit(pd.DataFrame({"b": ["beef"] * 9 + ["abcd"], "x": np.arange(10) % 2}))
    new = pa.table({"b": [b"\xff", None, b"0xff"], "x": [0, 1, 0]})
    found = codec.fill(codec.transform(new).values, codec.read(new)).to_native()["b"].to_pylist()
    assert found == [b"\xff", found[1], b"0xff"]
    assert found[1] in (b"beef", b"abcd")


def test_numbers_among_bytes_are_read_and_filled():
    codec = TableCodec().fit(pd.DataFrame({"a": np.linspace(0.1, 5.3, 40)}))
    new = pa.table({"a": [b"1.5", None, b"\xff"]})
    rows, frame = codec.transform(new), codec.read(new)
    assert rows.unseen[:, 0].tolist() == [False, False, True]
    assert codec.columns[0].displayed(frame.columns["a"], np.arange(3)).tolist() == [
        1.5,
        None,
        "0xff",
    ]
    found = codec.fill(rows.values, frame).to_native()["a"].to_numpy()
    assert found[0] == 1.5
    assert np.isfinite(found).all()


def test_bytes_in_files_of_older_versions():
    names = ("616263", "ff00")
    column = Column("b", Binary(names, (3, 3)), "Binary(hex)", "text")
    for cells in ([b"abc", b"\xff\x00"], ["abc", "0xff00"]):
        raw = read_frame(pa.table({"b": cells})).columns["b"]
        assert column.read(raw)[0].tolist() == list(names)
    decoded = RawColumn(text(*names), "text", column.dtype)
    assert arrow_column(decoded).to_pylist() == [b"abc", b"\xff\x00"]


def test_durations_of_numpy_in_dicts_are_durations():
    rows = [{"d": np.timedelta64(5, "s")}, {"d": np.timedelta64(7, "s")}]
    found, wanted = read_frame(rows).columns["d"], read_frame(pd.DataFrame(rows)).columns["d"]
    assert found.storage == wanted.storage == "number"
    np.testing.assert_array_equal(found.values, wanted.values)
    assert found.dtype == wanted.dtype
