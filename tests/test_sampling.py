import io
import math
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from improbable.data import sampling
from improbable.data.files import read_table
from improbable.data.sampling import read_sample
from improbable.errors import DataError


@pytest.fixture
def parquet(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(numbered(1_000), path, row_group_size=64)
    return str(path)


def numbered(n):
    return pa.table({"i": np.arange(n), "name": [f"row {i}" for i in range(n)]})


def drawn(path, n_rows, seed=0, **options):
    table, n_seen = read_sample(path, n_rows, seed, **options)
    return table["i"].to_numpy(), n_seen


@pytest.mark.parametrize("n_rows", [1_000, 5_000])
def test_a_short_file_is_read_whole_and_in_order(parquet, n_rows):
    table, n_seen = read_sample(parquet, n_rows, 0)
    assert table.equals(read_table(parquet))
    assert n_seen == 1_000


@pytest.mark.parametrize("n_rows", [1, 7, 64, 999])
def test_so_many_distinct_rows_are_drawn_in_file_order(parquet, n_rows):
    rows, n_seen = drawn(parquet, n_rows)
    assert len(rows) == n_rows
    assert (np.diff(rows) > 0).all()
    assert n_seen == 1_000


def test_rows_stay_whole(parquet):
    table, _ = read_sample(parquet, 50, 3)
    assert table["name"].to_pylist() == [f"row {i}" for i in table["i"].to_pylist()]


def test_the_seed_decides(parquet):
    np.testing.assert_array_equal(drawn(parquet, 30, 1)[0], drawn(parquet, 30, 1)[0])
    assert not np.array_equal(drawn(parquet, 30, 1)[0], drawn(parquet, 30, 2)[0])


def test_batches_do_not_matter(tmp_path):
    found = []
    for size in (10, 64, 1_000):
        path = tmp_path / f"{size}.arrow"
        with pa.ipc.new_file(path, numbered(1_000).schema) as sink:
            sink.write_table(numbered(1_000), max_chunksize=size)
        found.append(drawn(str(path), 100, 5)[0])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_every_row_is_as_likely(parquet):
    """Each third of the file gets its share, within four standard errors over 60 draws."""
    counts = sum(
        np.histogram(drawn(parquet, 100, seed)[0], [0, 333, 666, 1_000])[0] for seed in range(60)
    )
    for count, share in zip(counts, (0.333, 0.333, 0.334), strict=True):
        expected = 6_000 * share
        assert abs(count - expected) < 4 * math.sqrt(expected * (1 - share))


def test_only_rows_to_keep_are_drawn_and_counted(parquet):
    rows, n_seen = drawn(parquet, 40, keep=lambda b: b.column("i").to_numpy() % 3 == 0)
    assert len(rows) == 40
    assert (rows % 3 == 0).all()
    assert n_seen == 334


def test_memory_holds_twice_the_rows_at_most(parquet, monkeypatch):
    held = []
    add = sampling._Sample.add

    def watched(self, batch):
        add(self, batch)
        held.append(sum(len(b) for b in self.batches))

    monkeypatch.setattr(sampling._Sample, "add", watched)
    drawn(parquet, 100)
    assert max(held) <= 200


def test_a_large_text_file_gets_the_types_of_its_rows(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    lines = [f"{i},{i / 4},{'' if i % 5 else 'x'},2024-01-0{1 + i % 9}" for i in range(300)]
    path.write_text("\n".join(["i,share,mark,day", *lines]))
    small = read_table(path)
    monkeypatch.setattr(sampling, "LARGE_TEXT", 0)
    table, n_seen = read_sample(str(path), 120, 0)
    assert table.schema == small.schema
    assert n_seen == 300
    assert table.equals(small.take(table["i"].to_numpy()))


def test_standard_input_is_read(monkeypatch):
    class Stdin:
        buffer = io.BytesIO(b"i,name\n1,a\n2,b\n")

    monkeypatch.setattr(sys, "stdin", Stdin)
    table, n_seen = read_sample("-", 10, 0)
    assert table["i"].to_pylist() == [1, 2]
    assert n_seen == 2


def test_a_file_that_is_absent_is_said():
    with pytest.raises(DataError, match=r"there is no file nowhere\.csv"):
        read_sample("nowhere.csv", 10, 0)


def test_a_file_without_rows_gives_none(tmp_path):
    path = tmp_path / "empty.parquet"
    pq.write_table(numbered(0), path)
    table, n_seen = read_sample(str(path), 10, 0)
    assert (table.num_rows, n_seen) == (0, 0)
    assert table.column_names == ["i", "name"]
