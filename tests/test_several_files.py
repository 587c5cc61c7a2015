"""Several files read as one table, by a pattern."""

import datetime as dt
import gzip
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from test_cli import SMALL, fails, run
from test_files import COLUMNS, contents, write

from improbable.data import sampling
from improbable.data.files import FORMATS, WRITTEN, pattern_of, read_batches, read_table
from improbable.data.sampling import read_sample
from improbable.errors import DataError

EXTENSIONS = [extension for format in WRITTEN for extension in FORMATS[format]]


def parts(folder, extension, *, n=3):
    """A table, and the pattern of the files its rows are in."""
    table = pa.table(COLUMNS)
    for i in range(n):
        write(str(folder / f"part-{i}{extension}"), table.slice(i, 1))
    return table, str(folder / f"part-*{extension}")


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("text", [False, True])
def test_files_of_a_pattern_are_one_table(extension, text, tmp_path):
    table, pattern = parts(tmp_path, extension)
    write(str(tmp_path / f"whole{extension}"), table)
    whole = read_batches(str(tmp_path / f"whole{extension}"), text=text)
    found = read_batches(pattern, text=text, batch_rows=2)
    assert found.schema.equals(whole.schema)
    assert contents(found).equals(contents(whole))


def test_a_name_that_looks_like_a_pattern_is_a_name(tmp_path):
    for name, value in (("a[1].csv", "7"), ("a1.csv", "8")):
        (tmp_path / name).write_text(f"x\n{value}\n")
    assert read_table(str(tmp_path / "a[1].csv"))["x"].to_pylist() == [7]
    os.remove(tmp_path / "a[1].csv")
    assert read_table(str(tmp_path / "a[1].csv"))["x"].to_pylist() == [8]


def test_folders_within_folders(tmp_path):
    for day in ("02", "01"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "log.csv").write_text(f"x\n{day}\n")
    (tmp_path / "folder.csv").mkdir()
    assert read_table(str(tmp_path / "**/*.csv"))["x"].to_pylist() == ["01", "02"]


def test_lines_without_an_end_marks_of_order_and_empty_files(tmp_path):
    texts = [b"\xef\xbb\xbfa,b\r\n1,x", b"", b"\n\na,b\n2,y\n", b'a,b\r\n3,"two\nlines"', b"a,b\n"]
    for i, text in enumerate(texts):
        (tmp_path / f"{i}.csv").write_bytes(text)
    table = read_table(str(tmp_path / "*.csv"))
    assert table.to_pydict() == {"a": [1, 2, 3], "b": ["x", "y", "two\nlines"]}


def test_a_header_of_several_lines(tmp_path):
    for i in range(2):
        (tmp_path / f"{i}.csv").write_text(f'"of two\nlines",b\n{i},x\n')
    assert read_table(str(tmp_path / "*.csv")).to_pydict() == {
        "of two\nlines": [0, 1],
        "b": ["x", "x"],
    }


def test_types_that_go_together_are_widened(tmp_path):
    write(str(tmp_path / "0.parquet"), pa.table({"x": [1], "y": [None], "t": [None]}))
    table = pa.table({"t": [dt.datetime(2024, 1, 1)], "y": ["a"], "x": [0.5]})
    write(str(tmp_path / "1.parquet"), table)
    found = read_table(str(tmp_path / "*.parquet"))
    assert found.select(["x", "y"]).to_pydict() == {"x": [1.0, 0.5], "y": [None, "a"]}
    assert found["t"].to_pylist() == [None, dt.datetime(2024, 1, 1)]


@pytest.mark.parametrize(
    ("name", "first", "second", "said"),
    [
        ("csv", b"a,b\n1,2\n", b"b,a\n1,2\n", "1.csv has other columns than"),
        ("csv", b"a,b\n1,2\n", b"a,b\n1,2\n1,2,3\n", r"1.csv cannot be read as csv.* row 2"),
        ("jsonl", b'{"a": 1}\n', b'{"a": 1}\n{no\n', r"1.jsonl cannot be read as jsonl: line 2"),
        ("csv.gz", gzip.compress(b"a\n1\n", mtime=0), b"a\n1\n", "1.csv.gz cannot be read as csv"),
    ],
)
def test_the_file_to_blame_is_named(name, first, second, said, tmp_path):
    for i, content in enumerate((first, second)):
        (tmp_path / f"{i}.{name}").write_bytes(content)
    with pytest.raises(DataError, match=said):
        contents(read_batches(str(tmp_path / f"*.{name}"), text=True))


def test_views_of_text_go_with_text(tmp_path):
    for i, kind in enumerate((pa.string_view(), pa.string())):
        write(str(tmp_path / f"{i}.arrow"), pa.table({"x": pa.array([str(i)], kind)}))
    assert read_table(str(tmp_path / "*.arrow"))["x"].to_pylist() == ["0", "1"]


def test_files_with_types_to_blame(tmp_path):
    write(str(tmp_path / "0.parquet"), pa.table({"x": [1], "y": ["a"]}))
    write(str(tmp_path / "1.parquet"), pa.table({"x": ["one"], "y": ["a"]}))
    with pytest.raises(DataError, match=r"'x' holds int64 in .*0.parquet and string in .*1.parq"):
        read_batches(str(tmp_path / "*.parquet"))
    write(str(tmp_path / "1.parquet"), pa.table({"x": [1]}))
    with pytest.raises(DataError, match="1.parquet has other columns than"):
        read_batches(str(tmp_path / "*.parquet"))
    (tmp_path / "1.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="1.parquet cannot be read as parquet"):
        read_batches(str(tmp_path / "*.parquet"))


def test_no_file_and_folders(tmp_path):
    with pytest.raises(DataError, match=r"no file matches .*x\*.csv. Check its spelling"):
        read_batches(str(tmp_path / "x*.csv"))
    with pytest.raises(DataError, match=r"is a folder. .* as in '.*\*.csv'"):
        read_batches(str(tmp_path))
    (tmp_path / "a.JSONL").write_text("{}")
    assert pattern_of(str(tmp_path)) == str(tmp_path / "*.jsonl")


def test_large_texts_are_sampled_wherever_they_lie(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "LARGE_TEXT", 60)
    for i in range(4):
        (tmp_path / f"{i}.csv").write_text("x\n" + f"{i}\n" * 20)
    table, n_seen = read_sample(str(tmp_path / "*.csv"), 30, 0)
    assert (table.num_rows, n_seen) == (30, 80)
    assert set(table["x"].to_pylist()) == {0, 1, 2, 3}


@pytest.fixture
def days(tmp_path):
    rng = np.random.default_rng(0)
    for day in range(3):
        x = rng.normal(size=100)
        frame = pd.DataFrame({"x": x, "y": x + rng.normal(size=100)})
        frame.to_csv(tmp_path / f"day-{day}.csv", index=False)
    return tmp_path / "day-*.csv"


def test_commands_take_patterns(days, tmp_path):
    model, scored = tmp_path / "m.safetensors", tmp_path / "scored.csv"
    out, _ = run("fit", days, "-o", model, *SMALL)
    assert "300" in out
    run("score", days, "-m", model, "-o", scored)
    frames = [pd.read_csv(tmp_path / f"day-{day}.csv") for day in range(3)]
    found = pd.read_csv(scored)
    pd.testing.assert_frame_equal(found[["x", "y"]], pd.concat(frames, ignore_index=True))


def test_a_file_that_is_read_is_not_written(days, tmp_path):
    model, first = tmp_path / "m.safetensors", tmp_path / "day-1.csv"
    run("fit", days, "-o", model, *SMALL)
    before = first.read_bytes()
    assert "day-1.csv is named twice" in fails("score", days, "-m", model, "-o", first)
    assert first.read_bytes() == before


def test_how_several_files_are_named(days, tmp_path):
    said = "A pattern in quotes, as in 'logs/*.csv', reads several files."
    files = sorted(map(str, tmp_path.glob("day-*.csv")))
    assert said in run("fit", *files, "-o", tmp_path / "m", code=2)[1]
    assert f"'{tmp_path}/*.csv'" in fails("fit", tmp_path, "-o", tmp_path / "m")
    assert "no file matches" in fails("fit", tmp_path / "night-*.csv", "-o", tmp_path / "m")
