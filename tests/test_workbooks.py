"""Workbooks of spreadsheets are read as tables."""

import datetime as dt
import io
import sys
import warnings

import openpyxl
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from improbable.cli import app
from improbable.data.files import open_writer, read_batches, read_table
from improbable.errors import DataError, DataWarning

NOON = dt.datetime(2025, 3, 1, 12, 30)
HEADING = ["no", "amount", "when", "day", "clock", "paid", "code", "mixed"]
ROWS = [
    [1, 1.5, NOON, dt.date(2025, 3, 1), dt.time(8, 30), True, "007", "a"],
    [2, None, dt.datetime(2025, 3, 2), dt.date(2025, 3, 2), dt.time(9, 0), False, "12", 3],
    [3, 2.25, NOON, None, dt.time(9, 1), None, "n/a", 2.5],
]


def book(path, *sheets):
    """A workbook with sheets of rows; one called "hidden" is not shown."""
    made = openpyxl.Workbook()
    made.remove(made.active)
    for name, rows in sheets:
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(row)
        if name == "hidden":
            sheet.sheet_state = "hidden"
    made.save(path)
    return path


def test_cells_come_in_their_types(tmp_path):
    table = read_table(book(tmp_path / "b.xlsx", ("one", [HEADING, *ROWS])))
    assert table.column_names == HEADING
    times = pa.timestamp("us"), pa.date32(), pa.time64("us")
    assert table.schema.types == [
        pa.int64(), pa.float64(), *times, pa.bool_(), pa.string(), pa.string(),
    ]  # fmt: skip
    found = table.to_pydict()
    assert found["no"] == [1, 2, 3]
    assert found["amount"] == [1.5, None, 2.25]
    assert found["when"] == [NOON, dt.datetime(2025, 3, 2), NOON]
    assert found["day"] == [dt.date(2025, 3, 1), dt.date(2025, 3, 2), None]
    assert found["clock"][0] == dt.time(8, 30)
    assert found["paid"] == [True, False, None]
    assert found["code"] == ["007", "12", "n/a"]
    assert found["mixed"] == ["a", "3", "2.5"]


def test_words_for_nothing_among_numbers_are_missing(tmp_path):
    rows = [["a", "b"], [1.5, "NA"], ["n/a", 2], [2.5, 3]]
    table = read_table(book(tmp_path / "b.xlsx", ("one", rows)))
    assert table.to_pydict() == {"a": [1.5, None, 2.5], "b": [None, 2, 3]}
    assert table.schema.types == [pa.float64(), pa.int64()]


def test_titles_and_empty_rows_and_columns_are_passed_over(tmp_path):
    rows = [
        ["Report of March"], [], [None, "a", None, 2024, "c", None],
        [None, 1, None, 5, None, 7], [], [None, 2, None, 6, None, 8],
    ]  # fmt: skip
    table = read_table(book(tmp_path / "b.xlsx", ("one", rows)))
    assert table.to_pydict() == {
        "a": [1, 2], "2024": [5, 6], "c": [None, None], "column 6": [7, 8],
    }  # fmt: skip
    narrow = read_table(book(tmp_path / "n.xlsx", ("one", [["a"], [1], [2]])))
    assert narrow.to_pydict() == {"a": [1, 2]}


def test_the_first_sheet_that_is_shown_and_holds_cells_is_read(tmp_path):
    one, two = [["a"], [1]], [["b"], [2]]
    path = book(tmp_path / "b.xlsx", ("none", []), ("hidden", two), ("one", one))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_table(path).column_names == ["a"]
    path = book(tmp_path / "b.xlsx", ("one", one), ("two", two))
    with pytest.warns(DataWarning, match=r"b\.xlsx has 2 sheets with cells, and the first, 'one'"):
        assert read_table(path).column_names == ["a"]


def test_batches_hold_as_many_rows_as_asked_for(tmp_path):
    path = book(tmp_path / "b.xlsx", ("one", [["a"], *[[i] for i in range(10)]]))
    batches = list(read_batches(path, batch_rows=4, text=True).batches())
    assert [batch.num_rows for batch in batches] == [4, 4, 2]


def test_files_of_several_are_one_table(tmp_path):
    for i in range(2):
        book(tmp_path / f"b{i}.xlsx", ("one", [["a", "b"], [i, i + 0.5]]))
    assert read_table(str(tmp_path / "b*.xlsx")).to_pydict() == {"a": [0, 1], "b": [0.5, 1.5]}


@pytest.mark.parametrize(
    ("sheets", "said"),
    [
        ([("one", [])], "none of its sheets holds a cell"),
        ([("one", [["a", "a"], [1, 2]])], "several columns are named 'a'"),
        ([("one", [["Report"], [None, None, "x"]])], "no row of names"),
    ],
)
def test_workbooks_without_a_table_are_refused(tmp_path, sheets, said):
    with pytest.raises(DataError, match=said):
        read_table(book(tmp_path / "b.xlsx", *sheets))


def test_what_is_no_workbook_is_refused(tmp_path):
    (tmp_path / "b.xlsx").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(DataError, match=r"b\.xlsx cannot be read as excel: .* its true format"):
        read_table(tmp_path / "b.xlsx")


def test_workbooks_are_not_written(tmp_path):
    with (
        pytest.raises(DataError, match="read and not written"),
        open_writer(tmp_path / "b.xlsx", pa.schema([("a", pa.int64())])),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    path = book(tmp_path / "b.xlsx", ("one", [["a"], [1]]))
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(DataError, match=r"pip install 'improbable\[excel\]'"):
        read_table(path)


def test_the_command_line_reads_workbooks(tmp_path, monkeypatch):
    rows = [[i, i % 7 + 0.5 * (i % 3), "ab"[i % 2]] for i in range(200)]
    path = book(tmp_path / "b.xlsx", ("one", [["no", "x", "name"], *rows]))
    model, out = str(tmp_path / "m"), str(tmp_path / "out.csv")
    run = CliRunner().invoke
    assert run(app, ["fit", str(path), "-o", model, "--max-steps", "3"]).exit_code == 0
    assert run(app, ["score", str(path), "-m", model, "-o", out]).exit_code == 0
    table = read_table(out)
    assert table["no"].to_pylist() == list(range(200))
    assert "score" in table.column_names
    refused = run(app, ["score", str(path), "-m", model, "-o", str(tmp_path / "out.xlsx")])
    assert refused.exit_code == 2
    assert "workbooks are read and not written" in refused.output
    piped = io.TextIOWrapper(io.BytesIO(path.read_bytes()))
    monkeypatch.setattr(sys, "stdin", piped)
    assert read_table("-", format="excel").num_rows == 200
