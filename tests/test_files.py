"""Reading and writing tables: every format, hostile content, atomic output."""

import csv
import datetime as dt
import gzip
import io
import json
import os
import random
import subprocess
import sys
import time
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from improbable.data import delimited, encodings, json_lines, parquet
from improbable.data.files import (
    FORMATS,
    WRITTEN,
    format_of,
    open_writer,
    read_batches,
    read_table,
    spill,
)
from improbable.errors import DataError

FUZZ = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NAMES = ["a.csv", "a.tsv", "a.parquet", "a.arrow", "a.jsonl", "a.csv.gz", "a.jsonl.gz"]
TYPED = ["a.parquet", "a.arrow"]

COLUMNS = {
    "integers": [1, -2, 2**53 + 1],
    "floats": [0.1, None, 1e-300],
    "strings": ['a,b\t;"c"', "two\nlines\rand three", "žluťoučký 馬 🐎"],
    "sparse strings": [None, " padded ", "plain"],
    "booleans": [True, False, None],
    "times": [dt.datetime(2024, 2, 29, 23, 59, 58), None, dt.datetime(1969, 1, 1)],
}


def write(path, table, *, rows=None, format=None):
    with open_writer(path, table.schema, format=format) as writer:
        for batch in table.to_batches(max_chunksize=rows):
            writer.write(batch)


def contents(reader):
    return pa.Table.from_batches(reader.batches(), schema=reader.schema)


def read_all(path, **options):
    """Whatever reading may do with a file, or the error it is allowed to raise."""
    for text in (True, False):
        try:
            return contents(read_batches(path, text=text, batch_rows=3, **options)).num_rows
        except DataError as error:
            message = str(error)
            assert len(message) < 1000
    return message


@pytest.fixture(params=NAMES)
def path(request, tmp_path):
    return str(tmp_path / request.param)


@pytest.fixture
def table():
    return pa.table(COLUMNS)


def pipe_in(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def pipe_out(monkeypatch):
    # Not a fixture: pytest puts its own stream in place between setup and test.
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=buffer))
    return buffer


def fail_while_writing(path, table, error, **options):
    with open_writer(path, table.schema, **options) as writer:
        writer.write(table.to_batches()[0])
        raise error


# Round trips


def as_read_back(name, values, path):
    """What a column becomes in formats that know fewer types."""
    if name == "times" and "jsonl" in path:
        return [value and value.isoformat(timespec="microseconds") for value in values]
    return values


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_survives_every_format(name, path):
    values = COLUMNS[name]
    write(path, pa.table({"first": [0, 0, 0], name: values}), rows=2)
    assert read_table(path)[name].to_pylist() == as_read_back(name, values, path)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_lone_column_keeps_its_rows(name, path):
    write(path, pa.table({name: COLUMNS[name]}))
    assert read_table(path)[name].to_pylist() == as_read_back(name, COLUMNS[name], path)


@pytest.mark.parametrize("name", TYPED)
def test_types_survive_where_the_format_has_them(name, tmp_path, table):
    write(tmp_path / name, table)
    assert read_table(tmp_path / name).schema.equals(table.schema)


@pytest.mark.parametrize("name", [name for name in NAMES if "jsonl" not in name])
@pytest.mark.parametrize("text", [True, False])
def test_a_table_without_rows_keeps_its_columns(name, text, tmp_path, table):
    write(tmp_path / name, table.slice(0, 0))
    reader = read_batches(tmp_path / name, text=text)
    assert reader.schema.names == table.column_names
    assert list(reader.batches()) == []


def test_a_jsonl_without_rows_is_empty(tmp_path, table):
    write(tmp_path / "a.jsonl", table.slice(0, 0))
    assert (tmp_path / "a.jsonl").read_bytes() == b""
    with pytest.raises(DataError, match="it is empty"):
        read_batches(tmp_path / "a.jsonl")


CELLS = st.text(st.characters(codec="utf-8"), max_size=8)
HEADERS = st.lists(CELLS.filter(str.strip), min_size=1, max_size=4, unique=True)


@FUZZ
@given(data=st.data(), names=HEADERS, delimiter=st.sampled_from(["csv", "tsv"]))
def test_cells_of_csv_pass_through_unchanged(data, names, delimiter, tmp_path):
    cells = st.none() | CELLS.filter(bool)
    rows = data.draw(st.lists(st.tuples(*(cells for _ in names)), max_size=5))
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    table = pa.table(columns, pa.schema([(name, pa.string()) for name in names]))
    write(tmp_path / "a", table, format=delimiter)
    back = contents(read_batches(tmp_path / "a", format=delimiter, text=True))
    assert back.to_pydict() == columns
    assert back.schema == table.schema


@FUZZ
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "number": st.none() | st.floats(allow_nan=False, allow_infinity=False),
                "integer": st.none() | st.integers(-(2**63), 2**63 - 1),
                "text": st.none() | CELLS,
                "flag": st.none() | st.booleans(),
                "list": st.none() | st.lists(CELLS, max_size=3),
            }
        ),
        min_size=1,
        max_size=5,
    )
)
def test_values_of_jsonl_pass_through_unchanged(rows, tmp_path):
    kinds = {
        "number": pa.float64(),
        "integer": pa.int64(),
        "text": pa.string(),
        "flag": pa.bool_(),
        "list": pa.list_(pa.string()),
    }
    write(tmp_path / "a.jsonl", pa.Table.from_pylist(rows, pa.schema(kinds)), rows=2)
    assert read_table(tmp_path / "a.jsonl").to_pylist() == rows


# What is written


def test_csv_quotes_only_what_needs_it(tmp_path):
    cells = ["1", "a b", "x,y", 'say "hi"', None]
    write(tmp_path / "a.csv", pa.table({"cell": cells, "n": [1.0, 0.1, float("nan"), 2.0, None]}))
    expected = 'cell,n\n1,1.0\na b,0.1\n"x,y",nan\n"say ""hi""",2.0\n,\n'
    assert (tmp_path / "a.csv").read_text() == expected


@pytest.mark.parametrize("cell", ["a\rb", "a\nb", "a\r\nb"])
def test_csv_quotes_every_line_end(cell, tmp_path):
    write(tmp_path / "a.csv", pa.table({"cell": [cell, "z"]}))
    assert read_table(tmp_path / "a.csv")["cell"].to_pylist() == [cell, "z"]


def test_csv_holds_lists_as_json(tmp_path):
    table = pa.table({"events": [["a", None, "b, ü"], [], None], "flag": [True, False, None]})
    write(tmp_path / "a.csv", table)
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert [json.loads(row[0]) if row[0] else None for row in rows[1:]] == table[
        "events"
    ].to_pylist()
    assert [row[1] for row in rows[1:]] == ["true", "false", ""]


def test_clock_times_in_csv_stay_as_they_are(tmp_path):
    (tmp_path / "a.csv").write_text("at,n\n11:30,1\n08:05,2\n")
    table = read_table(tmp_path / "a.csv")
    assert table.to_pydict() == {"at": ["11:30", "08:05"], "n": [1, 2]}


def test_jsonl_is_strict_json(tmp_path):
    day = dt.date(2024, 1, 2)
    zoned = pa.array([dt.datetime(2024, 1, 2)], pa.timestamp("ns", "UTC"))
    columns = {
        "nan": [float("nan")],
        "inf": pa.array([float("-inf")], pa.float32()),
        "short": pa.array([0.1], pa.float32()),
        "nested": [{"x": [float("inf"), 1.0]}],
        "day": [day],
        "zoned": zoned,
        "word": ["é"],
    }
    write(tmp_path / "a.jsonl", pa.table(columns))
    line = (tmp_path / "a.jsonl").read_text(encoding="utf-8")
    assert line.endswith("\n")
    assert json.loads(line, parse_constant=pytest.fail) == {
        "nan": None,
        "inf": None,
        "short": 0.1,
        "nested": {"x": [None, 1.0]},
        "day": "2024-01-02",
        "zoned": "2024-01-02T00:00:00.000000000Z",
        "word": "é",
    }
    assert "é" in line


def test_dictionaries_may_differ_between_batches(path):
    batches = [pa.record_batch({"c": pa.array(v).dictionary_encode()}) for v in (["a"], ["b"])]
    with open_writer(path, batches[0].schema) as writer:
        for batch in batches:
            writer.write(batch)
    assert read_table(path)["c"].to_pylist() == ["a", "b"]


def test_a_batch_with_other_columns_is_refused(path, table):
    with pytest.raises(DataError), open_writer(path, table.schema) as writer:
        writer.write(pa.record_batch({"other": [1]}))
    assert not os.path.exists(path)


def test_zipped_output_depends_on_the_rows_only(tmp_path, table, monkeypatch):
    write(tmp_path / "a.csv.gz", table)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    write(tmp_path / "b.csv.gz", table)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()).startswith(b"integers,")


# Batches


def test_batches_are_bounded(path):
    write(path, pa.table({"a": range(100), "b": ["x"] * 100}))
    sizes = [batch.num_rows for batch in read_batches(path, batch_rows=7).batches()]
    assert max(sizes) <= 7
    assert sum(sizes) == 100


def most_memory_while_reading(path, *, text):
    """Bytes, of Python and of Arrow together."""
    before, held = pa.total_allocated_bytes(), 0
    tracemalloc.start()
    for batch in read_batches(path, text=text, batch_rows=1_000).batches():
        assert batch.num_rows <= 1_000
        held = max(held, pa.total_allocated_bytes() - before)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return held + peak


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.arrow"])
def test_a_long_file_is_not_held_in_memory(name, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_TOGETHER", 1_000)
    for module in (delimited, encodings, json_lines):
        monkeypatch.setattr(module, "BLOCK", 1 << 12)
    rows = 25_000
    write(tmp_path / name, pa.table({"a": range(rows), "b": [0.5] * rows}), rows=2_000)
    whole = 16 * rows
    assert most_memory_while_reading(tmp_path / name, text=True) < whole / 2
    if name == "a.csv":
        assert most_memory_while_reading(tmp_path / name, text=False) > whole


def test_rows_come_in_order(path):
    write(path, pa.table({"a": range(1000)}), rows=300)
    batches = read_batches(path, batch_rows=64).batches()
    assert [v for batch in batches for v in batch["a"].to_pylist()] == list(range(1000))


def test_reading_may_stop_early(path):
    write(path, pa.table({"a": range(1000)}))
    batches = read_batches(path, batch_rows=10).batches()
    assert next(batches).num_rows == 10
    batches.close()
    assert list(batches) == []


def test_types_follow_the_last_row_of_a_long_file(tmp_path, monkeypatch):
    for module in (delimited, json_lines):
        monkeypatch.setattr(module, "BLOCK", 1 << 10)
    (tmp_path / "a.csv").write_text("a\n" + "1\n" * 5000 + "1.5\n")
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n' * 5000 + '{"a": 1.5, "b": "late"}\n')
    for name in ("a.csv", "a.jsonl"):
        column = read_table(tmp_path / name)["a"]
        assert column.type == pa.float64()
        assert column.to_pylist()[-1] == 1.5
    assert read_table(tmp_path / "a.jsonl")["b"].to_pylist()[-2:] == [None, "late"]


@pytest.mark.parametrize("text", [True, False])
def test_a_cell_may_run_over_the_end_of_a_block(text, tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK", 100)
    cells = ["x\n\ny" * (n % 9 + 1) for n in range(200)]
    write(tmp_path / "a.csv", pa.table({"a": cells, "b": cells}))
    table = contents(read_batches(tmp_path / "a.csv", text=text))
    assert table.to_pydict() == {"a": cells, "b": cells}


# What CSV means


def test_missing_values_are_null_unless_read_as_text(tmp_path):
    spellings = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"]
    content = "a,b\n" + "".join(f"{cell},x\n" for cell in [*spellings, "1"])
    (tmp_path / "a.csv").write_text(content)
    assert read_table(tmp_path / "a.csv")["a"].to_pylist() == [None] * 9 + [1]
    text = contents(read_batches(tmp_path / "a.csv", text=True))["a"].to_pylist()
    assert text == [None, *spellings[1:], "1"]


def test_text_keeps_the_spelling_of_numbers(tmp_path):
    (tmp_path / "a.csv").write_text("a\n007\n1e3\n 1.50\nTrue\n")
    text = contents(read_batches(tmp_path / "a.csv", text=True))["a"].to_pylist()
    assert text == ["007", "1e3", " 1.50", "True"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfa,b\n1,2\n",
        b"\n\na,b\n\n1,2\n\n",
        b"a,b\r\n1,2\r\n",
        b'"a","b"\n"1","2"',
    ],
)
@pytest.mark.parametrize("text", [True, False])
def test_spreadsheets_write_csv_in_many_ways(content, text, tmp_path):
    (tmp_path / "a.csv").write_bytes(content)
    table = contents(read_batches(tmp_path / "a.csv", text=text))
    one, two = ("1", "2") if text else (1, 2)
    assert table.to_pydict() == {"a": [one], "b": [two]}


def test_a_header_may_hold_line_ends(tmp_path):
    (tmp_path / "a.csv").write_text('"a\nb",c\n1,2\n')
    assert read_table(tmp_path / "a.csv").to_pydict() == {"a\nb": [1], "c": [2]}


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("text", [True, False])
def test_semicolons_tabs_and_bars_stand_for_commas_that_names_lack(delimiter, text, tmp_path):
    lines = [["when", "sum, in euros", "who"], ["2024-01-02", "1.5", "a,b"], ["", "-12.75", "c"]]
    rows = "\n".join(delimiter.join(f'"{cell}"' for cell in line) for line in lines)
    (tmp_path / "a.csv").write_text(rows + f"\n{delimiter}7{delimiter}3,x\n")
    found = contents(read_batches(tmp_path / "a.csv", text=text)).to_pydict()
    assert found["sum, in euros"] == (["1.5", "-12.75", "7"] if text else [1.5, -12.75, 7.0])
    assert found["who"] == ["a,b", "c", "3,x"]


@pytest.mark.parametrize("text", [True, False])
def test_numbers_beside_semicolons_may_have_decimal_commas(text, tmp_path):
    rows = ["1.2;0,5;1,500; 20,38 ;a,b", "1.3;-12,75;2,250;40,1;3,5"]
    (tmp_path / "a.csv").write_text("\n".join(["v;a;b;c;who", *rows, "1.4;7;;3,999;c\n"]))
    found = contents(read_batches(tmp_path / "a.csv", text=text)).to_pydict()
    if text:
        assert found["a"] == ["0.5", "-12.75", "7"]
        assert found["b"] == ["1.500", "2.250", None]
        assert found["c"] == ["20.38", "40.1", "3.999"]
        assert found["v"] == ["1.2", "1.3", "1.4"]
    else:
        assert (found["a"], found["b"]) == ([0.5, -12.75, 7.0], [1.5, 2.25, None])
        assert (found["c"], found["v"]) == ([20.38, 40.1, 3.999], [1.2, 1.3, 1.4])


def test_names_beyond_latin_letters_and_long_cells_leave_decimal_commas_alone(tmp_path):
    (tmp_path / "a.csv").write_text("v;n;w\n1,5;Åsa;2,5\n2,5;Åke;3,5\n", encoding="utf-8")
    found = read_table(tmp_path / "a.csv").to_pydict()
    assert (found["v"], found["w"], found["n"]) == ([1.5, 2.5], [2.5, 3.5], ["Åsa", "Åke"])
    (tmp_path / "a.csv").write_text("n;b\nx;1,5\n" + "x" * 200_000 + ";2,5\n")
    assert read_table(tmp_path / "a.csv")["b"].to_pylist() == [1.5, 2.5]


def test_a_first_row_of_other_length_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("a;b\n3;4;\n3;4;\n")
    with pytest.raises(DataError, match="Expected 2 columns, got 3"):
        read_table(tmp_path / "a.csv")


def test_commas_that_may_part_thousands_are_left_alone(tmp_path):
    (tmp_path / "a.csv").write_text("a;b\n1,500;x\n12,250;y\n")
    assert read_table(tmp_path / "a.csv")["a"].to_pylist() == ["1,500", "12,250"]
    (tmp_path / "a.tsv").write_text("a\tb\n1,5\tx\n")
    assert read_table(tmp_path / "a.tsv")["a"].to_pylist() == ["1,5"]
    (tmp_path / "a.csv").write_text("a;b\n1.5;1,2\n2,5;3,4\n")
    table = contents(read_batches(tmp_path / "a.csv", text=True))
    assert table.to_pydict() == {"a": ["1.5", "2,5"], "b": ["1.2", "3.4"]}
    (tmp_path / "a.csv").write_text('a,"b;c"\n"1,5",2\n')
    assert read_table(tmp_path / "a.csv").to_pydict() == {"a": ["1,5"], "b;c": [2]}


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("name; unit\nfoo\nbar\n", ["name; unit"]),
        ("a;b\n", ["a", "b"]),
        ('a;b\n"x\ny";2\n', ["a", "b"]),
        ('"a\nb;c",d\n1,2\n', ["a\nb;c", "d"]),
    ],
)
def test_another_delimiter_parts_the_first_row_as_well(content, names, tmp_path):
    (tmp_path / "a.csv").write_text(content)
    assert read_batches(tmp_path / "a.csv").schema.names == names


def test_names_of_several_types_in_lines_of_json_are_text(tmp_path, monkeypatch):
    cells = [1, "n/a", None, 2.5, True, 2**64 - 1, 10**30]
    lines = [json.dumps({"a": cell, "b": 2**63 + i - 4}) for i, cell in enumerate(cells)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    words = ["1", "n/a", None, "2.5", "True", str(2**64 - 1), str(10**30)]
    for block in (1 << 20, 8):  # all lines at once, and a few at a time
        monkeypatch.setattr(json_lines, "BLOCK", block)
        table = read_table(tmp_path / "a.jsonl")
        assert table["a"].to_pylist() == words
        assert [int(b) for b in table["b"].to_pylist()] == [2**63 + i - 4 for i in range(7)]


# What cannot be read


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"a,b,a\n1,2,3\n", "several columns are named 'a'"),
        ("a.csv", b"a,b,a\n", "several columns are named 'a'"),
        ("a.csv", b"", "it is empty"),
        ("a.csv", b"\n\n", "it is empty"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "row 2 after the header: Expected 2 columns, got 3"),
        ("a.csv", b"a,b\n1,2\n1,\x81\n", "UTF"),
        ("a.csv", b"a,\x81\n1,2\n", "not UTF-8 text. Save the file"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16")[:-1], "truncated data"),
        ("a.csv", b"a,b\r1,2\r", "new-line"),
        ("a.csv.gz", b"a,b\n1,2\n", "gzip"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9], "end-of-stream"),
        ("a.jsonl", b"", "it is empty"),
        ("a.jsonl", b"\n \n", "it is empty"),
        ("a.jsonl", b"{}\n", "it is empty"),
        ("a.jsonl", b'{"a": 1}\n\n{"a": \n', "line 3: Expecting value"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "line 2: 'list' object is not a mapping"),
        ("a.jsonl", b'[{"a": 1}]\n', "line 1: "),
        (
            "a.jsonl",
            b'{"a": [1]}\n{"a": 2}\n',
            "lines 1 to 2: 'a' holds lists or objects that do not",
        ),
        ("a.jsonl", b'{"a": "\x81"}\n', "line 1: 'utf-8'"),
        ("a.jsonl", b'{"a": "\\ud800"}\n', "surrogates"),
        ("a.jsonl", b'{"a":' + b"[" * 200_000, "line 1: "),
        ("a.jsonl", b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "line 1: "),
        ("a.parquet", b"", "0 bytes"),
        ("a.parquet", b"PAR1 and nothing else PAR1", "cannot be read as parquet"),
        ("a.arrow", b"", "cannot be read as arrow"),
        ("a.arrow", b"ARROW1 and nothing else", "cannot be read as arrow"),
    ],
)
@pytest.mark.parametrize("text", [True, False])
def test_bad_content_is_a_data_error(name, content, message, text, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        contents(read_batches(tmp_path / name, text=text))
    assert str(tmp_path / name) in str(caught.value)


def test_lists_and_plain_values_in_lines_read_apart_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "BLOCK", 4)
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": ["x"]}\n')
    with pytest.raises(DataError, match="lines 2 to 2: .*Give each name one type"):
        read_table(tmp_path / "a.jsonl")


def test_types_that_differ_between_blocks_name_their_lines(tmp_path, monkeypatch):
    for module in (delimited, json_lines):
        monkeypatch.setattr(module, "BLOCK", 1 << 10)
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n' * 1000 + '{"a": ["x"]}\n')
    with pytest.raises(DataError, match=r"lines 9\d\d to 1001: "):
        read_batches(tmp_path / "a.jsonl")


@pytest.mark.parametrize("name", TYPED)
def test_repeated_columns_are_named(name, tmp_path):
    table = pa.table([[1], [2], [3]], names=["a", "b", "a"])
    if name == "a.parquet":
        pq.write_table(table, tmp_path / name)
    else:
        with pa.ipc.new_file(str(tmp_path / name), table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(DataError, match="several columns are named 'a'. Rename"):
        read_batches(tmp_path / name)


def test_a_missing_file_or_a_directory_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="there is no file .*none.csv"):
        read_batches(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="directory"):
        read_batches(tmp_path / "folder.csv")


def test_a_truncated_file_is_never_whole(tmp_path, table):
    for name in ("a.parquet", "a.arrow", "a.csv.gz"):
        write(tmp_path / name, table)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
        with pytest.raises(DataError):
            read_table(tmp_path / name)


def test_offsets_that_point_outside_are_found(tmp_path):
    offsets = pa.py_buffer(np.array([0, 1 << 20, 2], dtype="int32"))
    column = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"ab")])
    batch = pa.record_batch({"a": column})
    with pa.ipc.new_stream(str(tmp_path / "a.arrow"), batch.schema) as writer:
        writer.write(batch)
    with pytest.raises(DataError, match="out of bounds|invariant|ffset"):
        read_table(tmp_path / "a.arrow")


@FUZZ
@given(content=st.binary(max_size=200), format=st.sampled_from(list(FORMATS)))
def test_random_bytes_raise_data_errors_only(content, format, tmp_path):
    (tmp_path / "a").write_bytes(content)
    read_all(tmp_path / "a", format=format)


@pytest.mark.parametrize("name", NAMES)
@FUZZ
@given(random=st.randoms(use_true_random=False))
def test_damaged_files_raise_data_errors_only(name, random, tmp_path, table):
    write(tmp_path / name, table.append_column("list", [[["x"], None, []]]), rows=2)
    content = bytearray((tmp_path / name).read_bytes())
    for _ in range(random.choice([1, 2, 9])):
        damage(content, random)
    (tmp_path / name).write_bytes(content)
    read_all(tmp_path / name)


def damage(content: bytearray, random: random.Random) -> None:
    at = random.randrange(len(content) or 1)
    piece = random.choice([b'"', b"\n", b",", b"{", b"\xff", b"\x00", random.randbytes(4)])
    span = random.choice([0, 1, 4, len(content) // 3])
    content[at : at + span] = piece


# Standard input and output


@pytest.mark.parametrize("format", WRITTEN)
def test_a_table_passes_through_pipes(format, monkeypatch):
    stdout = pipe_out(monkeypatch)
    table = pa.table({"a": [1, None, 3], "b": ["x", "y,\tz", "w"]})
    write("-", table, format=format)
    assert not stdout.closed
    pipe_in(monkeypatch, stdout.getvalue())
    assert read_table("-", format=format).to_pydict() == table.to_pydict()
    assert not sys.stdin.buffer.closed


def test_standard_input_is_csv_unless_told(monkeypatch):
    pipe_in(monkeypatch, b"a\n1\n")
    assert read_table("-").to_pydict() == {"a": [1]}
    pipe_in(monkeypatch, b"\xff")
    with pytest.raises(DataError, match="standard input cannot be read as csv"):
        read_table("-")


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_failure_leaves_no_whole_table_on_standard_output(format, monkeypatch, table):
    stdout = pipe_out(monkeypatch)
    with pytest.raises(KeyError):
        fail_while_writing("-", table, KeyError, format=format)
    if format == "parquet":
        assert stdout.getvalue() == b""
    else:
        assert b"integers" in stdout.getvalue()
        assert not stdout.getvalue().endswith(b"\xff\xff\xff\xff\x00\x00\x00\x00")


class ClosedPipe(io.RawIOBase):
    def writable(self):
        return True

    def write(self, data):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("format", WRITTEN)
def test_a_broken_pipe_is_left_to_the_caller(format, monkeypatch, table):
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=ClosedPipe()))
    with pytest.raises(BrokenPipeError):
        write("-", table, format=format)


def test_a_named_pipe_can_be_read_and_written(tmp_path):
    fifo = tmp_path / "pipe.jsonl"
    os.mkfifo(fifo)
    with subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE) as reader:
        write(fifo, pa.table({"a": [1]}))
        assert reader.communicate()[0] == b'{"a": 1}\n'
    assert fifo.is_fifo(), "it was replaced by a file"
    with subprocess.Popen(f"echo '{{\"a\": 2}}' > {fifo}", shell=True):
        assert read_table(fifo).to_pydict() == {"a": [2]}


# Atomic output


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, OSError, DataError])
def test_an_exception_leaves_the_destination_as_it_was(error, path, table):
    with open(path, "w") as file:
        file.write("old")
    with pytest.raises(error, match="in the block"):
        fail_while_writing(path, table, error("in the block"))
    with open(path) as file:
        assert file.read() == "old"
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


def test_an_exception_leaves_nothing_behind(path, table):
    with pytest.raises(KeyError):
        fail_while_writing(path, table, KeyError)
    assert os.listdir(os.path.dirname(path)) == []


def test_trouble_with_the_hidden_file_does_not_hide_the_first_error(path, table, monkeypatch):
    def refuse(path):
        raise PermissionError

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(KeyError):
        fail_while_writing(path, table, KeyError)


def test_the_destination_appears_at_the_end(path, table):
    with open_writer(path, table.schema) as writer:
        writer.write(table.to_batches()[0])
        (hidden,) = os.listdir(os.path.dirname(path))
        assert hidden.startswith(".")
        assert hidden.endswith(".partial")
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


def test_the_destination_keeps_its_mode_and_its_link(tmp_path, table):
    target, link = tmp_path / "a.csv", tmp_path / "link.csv"
    write(target, table)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask()
    target.chmod(0o600)
    link.symlink_to(target)
    write(link, table.slice(1))
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o600
    assert read_table(target).num_rows == 2


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("format", WRITTEN)
def test_a_full_disk_is_a_data_error(format, table, monkeypatch):
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=full))
        with pytest.raises(DataError, match="No space left on device"):
            write("-", table, format=format)


def test_an_unwritable_destination_is_a_data_error(tmp_path, table):
    with pytest.raises(DataError, match="No such file or directory. Name a file in a folder"):
        write(tmp_path / "none" / "a.csv", table)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="Is a directory"):
        write(tmp_path / "folder.csv", table)


def test_a_read_only_file_is_not_replaced(tmp_path, table, monkeypatch):
    (tmp_path / "a.csv").write_text("old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anything
    with pytest.raises(DataError, match="it is read-only"):
        write(tmp_path / "a.csv", table)
    assert os.listdir(tmp_path) == ["a.csv"]


# Formats by name


@pytest.mark.parametrize("format", FORMATS)
def test_an_extension_tells_the_format(format):
    for extension in FORMATS[format]:
        assert format_of("some.dir/name" + extension.upper()) == format
    assert format_of("name.txt", format) == format
    assert format_of("-", format) == format


@pytest.mark.parametrize("name", ["a", "a.doc", "a.parquet.gz", "a.gz", "csv"])
def test_an_unknown_extension_is_told_what_to_pass(name):
    with pytest.raises(DataError, match="--format csv"):
        format_of(name)


def test_an_unknown_format_is_told_the_known_ones():
    with pytest.raises(DataError, match="word is no format. Pass one of csv, tsv, parquet"):
        format_of("a.csv", "word")
    assert format_of("-") == "csv"


# Rows kept for a second pass


def test_a_spill_gives_its_batches_back_twice():
    batches = [pa.record_batch({"a": pa.array(v).dictionary_encode()}) for v in (["x"], ["y"])]
    with spill(batches[0].schema) as kept:
        for batch in batches:
            kept.write(batch)
        for _ in range(2):
            assert [b.to_pydict() for b in kept.batches()] == [{"a": ["x"]}, {"a": ["y"]}]


def test_a_spill_may_stay_empty():
    with spill(pa.schema({"a": pa.int64()})) as kept:
        assert list(kept.batches()) == []


def test_a_spill_refuses_other_columns():
    with spill(pa.schema({"a": pa.int64()})) as kept, pytest.raises(DataError):
        kept.write(pa.record_batch({"b": [1]}))


def test_csv_agrees_with_the_standard_library(tmp_path):
    rows = [["a", "b"], ['"', ","], ["x\ny", "''"], [" ", "\t"]]
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    table = contents(read_batches(tmp_path / "a.csv", text=True))
    assert [table.column_names, *zip(*table.to_pydict().values(), strict=True)] == [
        rows[0],
        *map(tuple, rows[1:]),
    ]


def test_parquet_has_groups_of_many_batches_and_numbers_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_TOGETHER", 10)
    schema = pa.schema([("x", pa.float32()), ("name", pa.string()), ("n", pa.int64())])
    rows = pa.table(
        {"x": np.arange(27, dtype=np.float32), "name": ["a", "b", None] * 9, "n": range(27)},
        schema=schema,
    )
    with open_writer(tmp_path / "t.parquet", schema) as writer:
        for batch in rows.to_batches(max_chunksize=4):
            writer.write(batch)
    file = pq.ParquetFile(tmp_path / "t.parquet")
    assert file.read().equals(rows)
    groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    assert [group.num_rows for group in groups] == [12, 12, 3]
    has_dictionary = [groups[0].column(i).has_dictionary_page for i in range(3)]
    assert has_dictionary == [False, True, True]


def test_a_parquet_file_without_rows_keeps_its_columns(tmp_path):
    schema = pa.schema([("x", pa.float64()), ("of", pa.list_(pa.string()))])
    with open_writer(tmp_path / "t.parquet", schema):
        pass
    assert pq.read_table(tmp_path / "t.parquet").schema.equals(schema)


def test_repeated_names_are_told_where_cells_are_times_of_day(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("t,t,a\n09:30,09:31,1\n10:30,11:31,2\n")
    with pytest.raises(DataError, match="several columns are named 't'"):
        read_table(path)
