"""Fields within fields: dicts, structs and objects of JSON as columns of their own."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from test_cli import SMALL, cells, run
from test_files import contents, write

from improbable import VAEDetector
from improbable.data.files import read_batches, read_table
from improbable.data.frames import read_frame
from improbable.data.nested import flat, flat_rows, flat_schema, parents
from improbable.errors import DataError

ROWS = [
    {"a": 1, "geo": {"asn": 5, "at": {"x": "q"}}},
    {"a": 2, "geo": None},
    {"a": 3, "geo": {"asn": 7, "at": None}},
]
NAMES = ["a", "geo.asn", "geo.at.x"]


def objects(rows):
    """A pandas data frame of whatever the cells are."""
    return pd.DataFrame({name: pd.Series([row[name] for row in rows]) for name in rows[0]})


@pytest.mark.parametrize("form", [list, pa.Table.from_pylist, pl.DataFrame, objects])
def test_fields_are_columns_in_every_form(form):
    frame = read_frame(form(ROWS))
    assert list(frame.columns) == NAMES
    np.testing.assert_array_equal(frame.columns["geo.asn"].values, [5.0, np.nan, 7.0])
    assert frame.columns["geo.at.x"].values.tolist() == ["q", None, None]
    some = read_frame(form(ROWS), ["geo.at.x", "a"])
    assert sorted(some.columns) == ["a", "geo.at.x"]


def test_dicts_beside_other_cells():
    assert flat_rows([{"a": {"x": 1}}, {"a": 5}]) == [{"a.x": 1}, {"a": 5}]
    assert flat_rows([{"a": None, "b": {}}]) == [{"a": None}]
    rows = [{"a": 1}]
    assert flat_rows(rows) == rows


def test_names_that_meet_are_refused():
    for form in (pl.DataFrame, pa.Table.from_pylist):
        with pytest.raises(DataError, match="names repeat: a.x"):
            read_frame(form([{"a": {"x": 1}, "a.x": 2}]))


def test_tables_without_structs_are_left_alone():
    table = pa.table({"a": [1]}).replace_schema_metadata({"k": "v"})
    assert flat(table) is table
    nested = pa.Table.from_pylist(ROWS).replace_schema_metadata({"k": "v"})
    assert flat(nested).schema.metadata == {b"k": b"v"}
    assert flat_schema(nested.schema).names == NAMES
    for batch in nested.to_batches():
        assert pa.Table.from_batches([flat(batch)]).equals(flat(nested))


def test_parents_of_names():
    assert parents(["a.b.c", "d"]) == {"a", "a.b"}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "rows.arrow"])
def test_files_with_fields_in_fields(name, tmp_path):
    path = str(tmp_path / name)
    if name.endswith("jsonl"):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        write(path, pa.Table.from_pylist(ROWS))
    assert read_table(path).to_pydict() == {
        "a": [1, 2, 3],
        "geo.asn": [5, None, 7],
        "geo.at.x": ["q", None, None],
    }


def test_json_whose_first_lines_have_no_fields(tmp_path, monkeypatch):
    monkeypatch.setattr("improbable.data.json_lines.BLOCK", 8)
    lines = ['{"a": 1, "geo": null}', '{"a": 2, "geo": {"x": 3}}', '{"a": 3}']
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    found = contents(read_batches(str(tmp_path / "rows.jsonl")))
    assert found.to_pydict() == {"a": [1, 2, 3], "geo.x": [None, 3, None]}


def test_several_files_with_fields_in_fields(tmp_path):
    for i, row in enumerate([ROWS[0], {"geo": {"at": {"x": "r"}, "asn": 0.5}, "a": 9}]):
        write(str(tmp_path / f"{i}.parquet"), pa.Table.from_pylist([row]))
    found = read_table(str(tmp_path / "*.parquet"))
    assert found.to_pydict() == {"a": [1, 9], "geo.asn": [5.0, 0.5], "geo.at.x": ["q", "r"]}


def logs(n, seed):
    rng = np.random.default_rng(seed)
    return [
        {
            "ms": float(rng.normal()),
            "geo": {"country": str(rng.choice(["DE", "FR"])), "vpn": bool(rng.random() < 0.3)},
        }
        for _ in range(n)
    ]


def test_a_detector_learns_fields():
    detector = VAEDetector(random_state=0, max_steps=20).fit(logs(600, 0))
    assert list(detector.kinds_) == ["ms", "geo.country", "geo.vpn"]
    new = logs(20, 1)
    expected = detector.score_samples(new)
    np.testing.assert_array_equal(detector.score_samples(pl.DataFrame(new)), expected)
    reading = detector.stream().push(new[3])[0]
    assert reading.score == pytest.approx(expected[3], abs=1e-8)
    new[0]["geo"] = None
    assert np.isfinite(detector.score_samples(new)).all()


def test_commands_take_fields_by_their_names(tmp_path):
    for name, rows in (("train", logs(300, 0)), ("new", logs(20, 1))):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)
    model, scored = tmp_path / "m.safetensors", tmp_path / "scored.csv"
    kind = ["--kind", "geo.vpn=categorical", "--drop", "ms"]
    run("fit", tmp_path / "train.jsonl", "-o", model, *kind, *SMALL)
    run("score", tmp_path / "new.jsonl", "-m", model, "-o", scored)
    assert list(cells(scored)[0])[:3] == ["ms", "geo.country", "geo.vpn"]
