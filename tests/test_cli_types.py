"""Files as other tools write them: indexes, views, long integers, times, durations, bytes."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from test_cli import SMALL, fails, run

from improbable import load
from improbable.data.files import read_table
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
    for options in (["--label", "label"], ["--max-rows", "50"], ["--window", "4", "--label", "label"]):
        run("fit", path, "-o", tmp_path / "other", *options, *SMALL)
    run("refit", path, "-m", home / "m", "-o", tmp_path / "again", "--label", "label", "--max-steps", "5")
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
