"""Files as other tools write them: indexes, views, long integers, times, durations, bytes."""

import datetime as dt
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from test_cli import SMALL, run

from improbable import load
from improbable.cli.feed import as_read_at_fit
from improbable.data.files import open_writer, read_table
from improbable.data.frames import read_frame
from improbable.data.table import TableCodec
from improbable.portable.scorer import load_scorer


def table(n=120, seed=0):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=n)
    return pd.DataFrame(
        {
            "name": [f"{seed}-{i:05d}" for i in range(n)],
            "age": (40 + 9 * hidden).round().astype(int),
            "height": (170 + 8 * hidden + rng.normal(size=n)).round(3),
            "city": rng.choice(["anaheim", "boulder"], n),
            "label": (np.arange(n) < 5).astype(int),
        }
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with rows that pandas wrote, filtered, and a model of them."""
    folder = tmp_path_factory.mktemp("types")
    rows = table().sample(frac=0.9, random_state=0).drop(columns="label")
    rows.to_parquet(folder / "train.parquet")
    rows.to_csv(folder / "train.csv", index=False)
    run("fit", folder / "train.parquet", "-o", folder / "m", *SMALL)
    return folder


def scores(model, path, *options):
    """Scores of the rows of a file."""
    out = path.with_name("scored.parquet")
    run("score", path, "-m", model, "-o", out, *options)
    return pq.read_table(out).to_pandas()


def test_the_index_in_a_file_of_pandas(home, tmp_path):
    new, model = table(30, 1), load(home / "m")
    assert model.model_.codec.names == ("age", "height", "city")
    expected = model.score_samples(new)
    new.set_axis([10**6 + i for i in range(30)]).to_parquet(tmp_path / "new.parquet")
    found = scores(home / "m", tmp_path / "new.parquet")
    np.testing.assert_array_equal(found["score"], expected)
    assert found.reset_index()["__index_level_0__"].tolist()[-1] == 10**6 + 29
    new.to_csv(tmp_path / "new.csv", index=False)
    np.testing.assert_array_equal(scores(home / "m", tmp_path / "new.csv")["score"], expected)


def test_a_series_whose_time_is_the_index(tmp_path):
    wave = np.sin(np.arange(300) / 4.0)
    times = pd.date_range("2026-05-01", periods=300, freq="min", name="when")
    pd.DataFrame({"load": wave}, times).to_parquet(tmp_path / "series.parquet")
    args = ["-o", tmp_path / "m", "--window", "8", "--time", "when", "--max-steps", "20"]
    run("fit", tmp_path / "series.parquet", *args)
    assert load(tmp_path / "m").model_.codec.time == "when"
    assert len(scores(tmp_path / "m", tmp_path / "series.parquet")) == 300


def test_identifiers_are_not_required(home, tmp_path):
    new = table(30, 1)
    new.to_csv(tmp_path / "new.csv", index=False)
    less = new.drop(columns="name")
    less.loc[3, "age"] = np.nan
    less.to_csv(tmp_path / "less.csv", index=False)
    new["age"] = less["age"]
    expected = load(home / "m").score_samples(new)
    np.testing.assert_array_equal(scores(home / "m", tmp_path / "less.csv")["score"], expected)
    found = load_scorer(home / "m").score_samples(less)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    for command in ("reconstruct", "impute", "explain"):
        run(command, tmp_path / "less.csv", "-m", home / "m", "-o", tmp_path / f"{command}.csv")
    assert "name" not in pd.read_csv(tmp_path / "reconstruct.csv")
    assert pd.read_csv(tmp_path / "impute.csv")["age"].notna().all()
    run("sample", "-m", home / "m", "-n", "3", "-o", tmp_path / "drawn.csv")
    assert "name" in pd.read_csv(tmp_path / "drawn.csv")


def test_unused_lists_are_carried_through(home, tmp_path):
    new = table(30, 1)
    expected = load(home / "m").score_samples(new)
    new.assign(p=[[1, 2]] * 30).to_parquet(tmp_path / "new.parquet")
    found = scores(home / "m", tmp_path / "new.parquet")
    np.testing.assert_array_equal(found["score"], expected)
    assert found["p"].map(list).tolist() == [[1, 2]] * 30


def test_views_of_polars(home, tmp_path):
    path = tmp_path / "new.arrow"
    rows = pl.from_pandas(table(60, 1)).with_columns(b=pl.lit(b"ab"), words=pl.lit("a b c"))
    rows.with_columns(pl.col("age").replace({rows["age"][9]: None})).write_ipc(path)
    assert pa.types.is_string_view(pa.ipc.open_file(path).schema.field("city").type)
    assert pa.types.is_string(read_table(path).schema.field("city").type)
    np.testing.assert_array_equal(scores(home / "m", path)["is_outlier"].shape, 60)
    for command in ("impute", "explain"):
        top = ["--top", "3"] if command == "explain" else []
        run(command, path, "-m", home / "m", "-o", tmp_path / "out.csv", *top)
    for options in (
        ["--label", "label"],
        ["--max-rows", "50"],
        ["--window", "4", "--label", "label"],
    ):
        run("fit", path, "-o", tmp_path / "other", *options, *SMALL)
    run(
        "refit",
        path,
        "-m",
        home / "m",
        "-o",
        tmp_path / "again",
        "--label",
        "label",
        "--max-steps",
        "5",
    )
    run("fit", path, "-o", tmp_path / "s", "--sequence", "words", *SMALL)


def test_views_in_arrow_tables(home):
    rows = table(20, 1)
    arrow = pa.Table.from_pandas(rows, preserve_index=False)
    place = arrow.column_names.index("city")
    cells = arrow["city"].cast(pa.string())
    view = arrow.set_column(place, "city", cells.cast(pa.string_view()))
    coded = arrow.set_column(place, "city", cells.cast(pa.string_view()).dictionary_encode())
    model = load(home / "m")
    for data in (view, coded):
        np.testing.assert_array_equal(model.score_samples(data), model.score_samples(rows))


NUMBERS = """1 -1 +1 1. .5 -.5 1e5 1E-5 1e+05 1e400 -1e400 1_000 0x1F 0X1f -0x1 00012 inf
-inf +inf Infinity INF nan NaN NAN -nan +nan 1,000 1'000 1.000,5 1,5 １２ ١٢ 1e
1e1.5 e5 . - + -- 5% $5 (5) 1d5 1f 0b1 true False null NA ? 9007199254740993
123456789012345678901234567890 0.1234567890123456789 1/2 −1""".split()
STAMPS = """2024-01-01 2024-01-01T10 2024-01-01T10:20 2024-01-01T10:20:30.1
2024-01-01T10:20:30.123456 2024-01-01T10:20:30.1234567
1969-12-31T23:59:59.123456789 2024-01-01T10:20:30.1234567890
2024-01-01T10:20:30Z 2024-01-01T10:20:30z 2024-01-01T10:20:30+01
2024-01-01T10:20:30-0130 2024-01-01T10:20:30+01:00
2024-01-01T10:20:30.123456789+01:00 2024-01-01T24:00:00 2024-01-01T23:59:60
20240101 2024-01-01Z 2024-1-1 2024-02-30 01/02/2024
2300-01-01T00:00:00.123456789 0001-01-01 9999-12-31 2024-01-01T10:20:30,5
2024-01-01t10:20:30 1e9 1700000000 NA""".split()
STAMPS += ["2024-01-01 10:20:30", "2024-01-01 10:20:30.1234567", "2024-01-01 10:20:30 +01:00"]


@pytest.mark.parametrize(("words", "others", "data"), [
    (NUMBERS, ["1", "1.5", "abc", "0x2"], np.arange(40) * 0.5),
    (STAMPS, ["2024-01-01", "2024-01-01T10:20:30Z", "abc", "2024-01-01T00:00:00.123456789"],
     pd.date_range("2023-01-01", periods=40, freq="h")),
])  # fmt: skip
def test_a_cell_of_csv_means_the_same_whatever_is_beside_it(words, others, data):
    column = TableCodec().fit(pd.DataFrame({"a": data, "b": np.arange(40) % 7})).columns[0]

    def read(cells):
        frame = read_frame(pa.table({"a": as_read_at_fit(pa.array(cells), column)}))
        values, unreadable = column.read(frame.columns["a"])
        return str(values[0]), bool(unreadable[0])

    for word in words:
        for spelled in (word, f" {word} "):
            alone = read([spelled])
            assert alone == read([word])
            for other in others:
                assert read([spelled, other]) == alone, (word, other)
    unreadable = {word for word in words if read([word])[1]}
    if "0x1F" in words:
        assert {"1_000", "0x1F", "0X1f", "１２", "1,000", "."} <= unreadable
        assert not {"+1", "1.", ".5", "1e5", "inf", "true", "NA"} & unreadable
    else:
        assert {"2024-01-01T24:00:00", "2024-01-01T10:20:30.1234567890"} <= unreadable
        assert not {"1969-12-31T23:59:59.123456789", "2024-01-01T10:20:30+01"} & unreadable


def test_batches_of_csv_do_not_matter(tmp_path):
    rng = np.random.default_rng(0)
    base = pd.Timestamp("2024-01-01")
    rows = pd.DataFrame({"n": rng.integers(0, 40, 200), "x": rng.normal(size=200)})
    rows["t"] = base + pd.to_timedelta(rng.integers(0, 10**15, 200), "us")
    rows.to_csv(tmp_path / "train.csv", index=False)
    run("fit", tmp_path / "train.csv", "-o", tmp_path / "m", *SMALL)
    odd = rows[:12].astype(object)
    odd["n"] = [
        "1",
        "0x1F",
        "2.5",
        "1_0",
        "+5",
        "9223372036854775807",
        "abc",
        "6",
        "7",
        "8",
        "9",
        "",
    ]
    odd["t"] = [f"2024-01-01T00:00:00.{1:09d}"] * 5 + ["abc"] + ["2024-01-01T00:00:00Z"] * 6
    odd.to_csv(tmp_path / "odd.csv", index=False)
    expected = scores(tmp_path / "m", tmp_path / "odd.csv")
    for size in (1, 2, 5):
        found = scores(tmp_path / "m", tmp_path / "odd.csv", "--batch-rows", size)
        pd.testing.assert_frame_equal(found, expected)
    assert expected["n"].tolist()[1] == "0x1F"


def test_hexadecimal_is_no_number_at_fit_either(tmp_path):
    (tmp_path / "a.csv").write_text("a,b,c\n1,0x1F,x\n2,3,0x1F\n")
    found = read_table(tmp_path / "a.csv")
    assert found["b"].to_pylist() == ["0x1F", "3"]
    assert found["a"].to_pylist() == [1, 2]


def test_columns_without_whole_numbers_are_not_searched_for_hexadecimals(tmp_path, monkeypatch):
    read, asked = pa.csv.read_csv, []

    def watched(source, reading, parsing, converting):
        asked.append(converting.include_columns)
        return read(source, reading, parsing, converting)

    monkeypatch.setattr(pa.csv, "read_csv", watched)
    (tmp_path / "a.csv").write_text("to,n,x,at\n0xzz,1,.5,09:30\n0xff,2,.25,10:30\n")
    found = read_table(tmp_path / "a.csv").to_pydict()
    expected = {"to": ["0xzz", "0xff"], "n": [1, 2], "x": [0.5, 0.25], "at": ["09:30", "10:30"]}
    assert found == expected
    assert asked == [[], ["at", "n"]]


def test_a_huge_number_among_small_ones(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"n": rng.integers(0, 5000, 200), "x": rng.normal(size=200)})
    rows.loc[3, "n"] = 2**63 - 1
    rows.to_csv(tmp_path / "a.csv", index=False)
    rows.to_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        run("fit", tmp_path / name, "-o", tmp_path / "m", *SMALL)
        assert load(tmp_path / "m").model_.codec.names == ("n", "x")
        a, b = (scores(tmp_path / "m", tmp_path / f"a.{end}") for end in ("csv", "parquet"))
        np.testing.assert_array_equal(a["score"], b["score"])


def test_nanoseconds_through_text(tmp_path):
    rng = np.random.default_rng(0)
    times = pd.to_datetime(1_700_000_000_000_000_000 + rng.integers(0, 10**17, 100))
    rows = pd.DataFrame({"t": times, "x": rng.normal(size=100)})
    rows.to_parquet(tmp_path / "a.parquet")
    run("fit", tmp_path / "a.parquet", "-o", tmp_path / "m", *SMALL)
    run("score", tmp_path / "a.parquet", "-m", tmp_path / "m", "-o", tmp_path / "a.jsonl")
    expected = scores(tmp_path / "m", tmp_path / "a.parquet")["score"]
    found = scores(tmp_path / "m", tmp_path / "a.jsonl", "--prefix", "again_")["again_score"]
    np.testing.assert_array_equal(found, expected)
    run("fit", tmp_path / "a.jsonl", "-o", tmp_path / "n", *SMALL, "--drop", "q_value,p_value")
    assert load(tmp_path / "n").model_.codec.columns[0].storage == "time"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("end", ["csv", "jsonl"])
def test_durations_are_written_as_seconds(tmp_path, unit, end):
    rng = np.random.default_rng(0)
    per = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    ticks = rng.integers(10 * per, 90 * per, 100)
    wait = pa.array(ticks, pa.duration(unit), mask=np.arange(100) == 3)
    rows = pa.table({"wait": wait, "x": rng.normal(size=100)})
    pq.write_table(rows, tmp_path / "a.parquet")
    run("fit", tmp_path / "a.parquet", "-o", tmp_path / "m", *SMALL)
    expected = scores(tmp_path / "m", tmp_path / "a.parquet")["score"]
    run("score", tmp_path / "a.parquet", "-m", tmp_path / "m", "-o", tmp_path / f"a.{end}")
    written = read_table(tmp_path / f"a.{end}")["wait"].to_pylist()
    assert written[0] == ticks[0] / per
    assert written[3] is None
    found = scores(tmp_path / "m", tmp_path / f"a.{end}", "--prefix", "again_")["again_score"]
    np.testing.assert_array_equal(found, expected)
    for command in (["sample", "-n", "5"], ["impute", tmp_path / "a.parquet"]):
        run(*command, "-m", tmp_path / "m", "-o", tmp_path / f"b.{end}")
        seconds = read_table(tmp_path / f"b.{end}")["wait"].to_numpy().astype(float)
        assert (seconds < 1000.0).all()


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(2), pa.binary_view()])
@pytest.mark.parametrize("names", [[b"ab", b"cd", b"ef"], [b"ab", b"\xff\x00", b"\xfe\x01"]])
def test_bytes(tmp_path, kind, names):
    rng = np.random.default_rng(0)
    cells = [names[i] for i in rng.integers(0, 3, 40)]
    cells[4], x = None, rng.normal(size=40)
    rows = pa.table({"b": pa.array(cells, pa.binary()).cast(kind), "x": x})
    pa.feather.write_feather(rows, tmp_path / "a.arrow")
    run("fit", tmp_path / "a.arrow", "-o", tmp_path / "m", *SMALL)
    column = load(tmp_path / "m").model_.codec.columns[0]
    assert set(column.kind.names) == (
        {"ab", "cd", "ef"} if b"cd" in names else {"ab", "0xff00", "0xfe01"}
    )
    found = scores(tmp_path / "m", tmp_path / "a.arrow", "--batch-rows", "1")
    assert (
        found["score"].tolist() == scores(tmp_path / "m", tmp_path / "a.arrow")["score"].tolist()
    )
    run("impute", tmp_path / "a.arrow", "-m", tmp_path / "m", "-o", tmp_path / "b.arrow")
    filled = read_table(tmp_path / "b.arrow")["b"].to_pylist()
    assert filled[4] in names
    assert [*filled[:4], None, *filled[5:]] == cells
    run("sample", "-m", tmp_path / "m", "-n", "5", "-o", tmp_path / "c.parquet")
    assert set(read_table(tmp_path / "c.parquet")["b"].to_pylist()) <= set(names)
    run("impute", tmp_path / "a.arrow", "-m", tmp_path / "m", "-o", tmp_path / "b.csv")
    written = read_table(tmp_path / "b.csv")["b"].to_pylist()
    assert written[0] == ("0x" + cells[0].hex() if max(cells[0]) > 127 else cells[0].decode())
    run("impute", tmp_path / "b.csv", "-m", tmp_path / "m", "-o", tmp_path / "d.csv")
    for end in ("csv", "jsonl"):
        run("score", tmp_path / "a.arrow", "-m", tmp_path / "m", "-o", tmp_path / f"s.{end}")
        again = scores(tmp_path / "m", tmp_path / f"s.{end}", "--prefix", "again_")
        np.testing.assert_array_equal(again["again_score"], found["score"])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "object"])
def test_times_of_day(tmp_path, unit):
    rng = np.random.default_rng(0)
    seconds = np.clip(rng.normal(14.0, 0.5, 300), 12.0, 16.0) * 3600.0 // 60.0 * 60.0
    times = [(dt.datetime(2024, 1, 1) + dt.timedelta(seconds=s)).time() for s in seconds]
    times[4] = None
    kind = (
        pa.time32(unit) if unit in ("s", "ms") else pa.time64("us" if unit == "object" else unit)
    )
    rows = pa.table({"t": pa.array(times, kind), "x": rng.normal(size=300)})
    pq.write_table(rows, tmp_path / "a.parquet")
    data = pd.DataFrame({"t": times, "x": rows["x"].to_numpy()}) if unit == "object" else rows
    small = ["--max-steps", "60", "--hidden", "32"]
    run("fit", tmp_path / "a.parquet", "-o", tmp_path / "m", *small)
    model = load(tmp_path / "m")
    column = model.model_.codec.columns[0]
    assert (type(column.kind).__name__, column.kind.period) == ("Cyclic", 86_400.0)
    odd = {"t": [dt.time(3, 0), dt.time(14, 0), dt.time(13, 59, 30, 500_000)], "x": [0.0] * 3}
    low, high, between = model.score_samples(pd.DataFrame(odd))
    assert low < high - 3.0
    assert between == pytest.approx(high, abs=0.5)
    assert model.explain(pd.DataFrame(odd)).reasons(0)[0].startswith("t = 03:00:00 (expected 1")
    back = model.impute(data)["t"].to_numpy().tolist() if unit == "object" else None
    if back is not None:
        assert back[:4] == times[:4]
        assert isinstance(back[4], dt.time)
    assert (
        model.sample(4, random_state=0)["t"].type == read_table(tmp_path / "a.parquet")["t"].type
    )
    expected = scores(tmp_path / "m", tmp_path / "a.parquet")["score"]
    for end in ("csv", "jsonl"):
        run("score", tmp_path / "a.parquet", "-m", tmp_path / "m", "-o", tmp_path / f"a.{end}")
        found = scores(tmp_path / "m", tmp_path / f"a.{end}", "--prefix", "again_")
        np.testing.assert_array_equal(found["again_score"], expected)
    run("impute", tmp_path / "a.parquet", "-m", tmp_path / "m", "-o", tmp_path / "b.parquet")
    filled = read_table(tmp_path / "b.parquet")["t"].to_pylist()
    assert [*filled[:4], None, *filled[5:]] == times


def many_types(n=200, seed=0):
    """A table with a column of each of many types, one in ten cells missing."""
    rng = np.random.default_rng(seed)
    k, day = rng.integers(0, 3, n), 86_400
    stamps = 1_700_000_000 + rng.integers(0, 10**7, n)
    columns = {
        "x": pa.array(k + rng.normal(size=n)),
        "single": pa.array(rng.normal(size=n).astype("float32")),
        "whole": pa.array(k.astype("int8")),
        "at": pa.array(rng.integers(0, day, n) * 10**6).cast(pa.time64("us")),
        "wait": pa.array(rng.integers(1, 10**9, n)).cast(pa.duration("us")),
        "pause": pa.array(rng.integers(1, 10**3, n)).cast(pa.duration("s")),
        "when": pa.array(stamps).cast(pa.timestamp("ms")),
        "zoned": pa.array(stamps).cast(pa.timestamp("ms", "Europe/Berlin")),
        "date": pa.array((stamps // day).astype("int32")).cast(pa.date32()),
        "bytes": pa.array([[b"ab", b"beef", b"\xff\x01"][i] for i in k]),
        "flag": pa.array(k == 1),
        "name": pa.array([["u", "v", "w"][i] for i in k], pa.large_string()),
    }
    gaps = {name: pa.array(rng.random(n) < 0.1) for name in columns}
    return pa.table(
        {
            name: pc.if_else(gaps[name], pa.scalar(None, cells.type), cells)
            for name, cells in columns.items()
        }
    )


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder with a table of many types in three formats, and the same imputed."""
    folder, rows = tmp_path_factory.mktemp("filled"), many_types()
    for end in ("parquet", "csv", "jsonl"):
        with open_writer(folder / f"a.{end}", rows.schema) as writer:
            writer.write(rows.combine_chunks().to_batches()[0])
    run("fit", folder / "a.parquet", "-o", folder / "m", *SMALL)
    for end in ("parquet", "csv", "jsonl"):
        run("impute", folder / f"a.{end}", "-m", folder / "m", "-o", folder / f"b.{end}")
    run("impute", folder / "a.parquet", "-m", folder / "m", "-o", folder / "c.csv")
    run("impute", folder / "a.parquet", "-m", folder / "m", "-o", folder / "c.jsonl")
    return folder


@pytest.mark.parametrize("end", ["csv", "jsonl"])
def test_what_is_imputed_in_text_is_what_other_formats_hold(filled, end):
    found, expected = (read_table(filled / f"{name}.{end}").to_pandas() for name in "bc")
    assert found.notna().all().all()
    for name in expected:
        if found[name].dtype.kind in "if":
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-3)
    for name in ("bytes", "flag", "name", "date"):
        assert found[name].tolist() == expected[name].tolist()
    for name in ("when", "zoned", "at"):  # to a tenth of a second, and in one style
        gaps = read_table(filled / "a.parquet")[name].is_null().to_numpy()
        words, others = (table[name][gaps].astype(str).str[:10] for table in (found, expected))
        assert words.tolist() == others.tolist()


@pytest.mark.parametrize("end", ["parquet", "csv", "jsonl"])
def test_other_types_than_at_fit_are_imputed_as_they_came(filled, tmp_path, end):
    run("fit", filled / "a.csv", "-o", tmp_path / "m", *SMALL)
    run("impute", filled / f"a.{end}", "-m", tmp_path / "m", "-o", tmp_path / f"b.{end}")
    found, old = (read_table(folder / f"{name}.{end}") for folder, name in
                  ((tmp_path, "b"), (filled, "a")))  # fmt: skip
    assert found.schema.types == old.schema.types
    seconds = pc.cast(found["wait"], pa.duration("us")) if end == "parquet" else found["wait"]
    assert max(seconds.to_pandas().astype("int64")) < (10**13 if end == "parquet" else 1000)


def test_a_column_without_a_cell_is_imputed_in_json(home, tmp_path):
    rows = table(20, 1).drop(columns="label")
    rows.assign(height=None).to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    run("impute", tmp_path / "a.jsonl", "-m", home / "m", "-o", tmp_path / "b.jsonl")
    assert read_table(tmp_path / "b.jsonl")["height"].to_numpy().min() > 100.0


@pytest.fixture(scope="module")
def clocked(tmp_path_factory):
    """A folder with times of day in files of all formats, and models of three of them."""
    folder, rng = tmp_path_factory.mktemp("clocked"), np.random.default_rng(0)
    seconds = rng.normal(14.0, 0.5, 200) * 3600.0 // 60.0 * 60
    at = pa.array(seconds.astype("int32"), pa.time32("s"), mask=np.arange(200) == 4)
    rows = pa.table({"at": at, "x": rng.normal(size=200)})
    for end in CLOCKED:
        with open_writer(folder / f"a.{end}", rows.schema) as writer:
            writer.write(rows.to_batches()[0])
    told = [f"{cell.hour}:{cell.minute:02d}" if cell else None for cell in at.to_pylist()]
    rows.to_pandas().assign(at=told).to_csv(folder / "short.csv", index=False)
    for end in ("parquet", "csv", "jsonl"):
        run("fit", folder / f"a.{end}", "-o", folder / f"m_{end}", *SMALL)
    return folder


CLOCKED = ("parquet", "arrow", "csv", "tsv", "jsonl")


@pytest.mark.parametrize("end", ["parquet", "csv", "jsonl"])
def test_times_of_day_are_the_same_in_every_format(clocked, tmp_path, end):
    model = clocked / f"m_{end}"
    column = load(model).model_.codec.columns[0]
    assert (type(column.kind).__name__, column.kind.period) == ("Cyclic", 86_400.0)
    run("score", clocked / "a.parquet", "-m", clocked / "m_parquet", "-o", tmp_path / "s.parquet")
    expected = pq.read_table(tmp_path / "s.parquet")["score"].to_pylist()
    for name in (*(f"a.{other}" for other in CLOCKED), "short.csv"):
        run("score", clocked / name, "-m", model, "-o", tmp_path / "s.parquet")
        assert pq.read_table(tmp_path / "s.parquet")["score"].to_pylist() == expected, name
    found = load_scorer(model).score_samples(pq.read_table(clocked / "a.parquet"))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("end", ["csv", "jsonl"])
def test_times_of_day_in_text_are_written_as_such(clocked, tmp_path, end):
    model, cell = clocked / f"m_{end}", r"\d\d:\d\d:\d\d"
    for command in (["sample", "-n", "9"], ["reconstruct", clocked / "short.csv"]):
        run(*command, "-m", model, "-o", tmp_path / "out.parquet")
        found = pq.read_table(tmp_path / "out.parquet")["at"].to_pandas()
        assert found.str.fullmatch(cell).all()
    short = read_table(clocked / "short.csv")["at"].to_pylist()
    for command, blank in (("impute", False), ("score", True)):
        run(command, clocked / "short.csv", "-m", model, "-o", tmp_path / f"out.{end}")
        found = read_table(tmp_path / f"out.{end}")["at"].to_pylist()
        assert [*found[:4], None, *found[5:]] == short
        assert found[4] is None if blank else re.fullmatch(cell, found[4])
    run("impute", clocked / "a.parquet", "-m", model, "-o", tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")["at"]
    assert pa.types.is_time(found.type)
    assert found.null_count == 0


def test_text_that_is_no_time_of_day_was_never_seen(clocked, tmp_path):
    (tmp_path / "odd.csv").write_text("at,x\n25:61,0\nnoon,0\n")
    found = scores(clocked / "m_csv", tmp_path / "odd.csv")
    wanted = [f"at = '{cell}' was never seen in training" for cell in ("25:61", "noon")]
    assert found["warnings"].tolist() == wanted
    stream = load(clocked / "m_csv").stream(alpha=0.1, adapt=False)
    known, odd = (stream.push({"at": at, "x": 0.0})[0] for at in ("14:05", "noon"))
    assert known.score > odd.score
