"""Time series on the command line: fit with --window, then the same commands as for tables."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from improbable import load
from improbable.cli import app

runner = CliRunner()
FAST = ["--max-steps", "20", "--quiet"]


def run(*args, code=0):
    result = runner.invoke(app, [str(a) for a in args])
    assert result.exit_code == code, result.output + str(result.exception)
    return result


def rows(n=1500, seed=0):
    """Minutes of a noisy daily pattern, some of them labelled."""
    wave = np.sin(np.arange(n) / 4.0) + 0.1 * np.random.default_rng(seed).normal(size=n)
    frame = pd.DataFrame({"when": pd.date_range("2026-05-01", periods=n, freq="min")})
    return frame.assign(load=wave.round(4), label=0)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    rows().drop(columns="label").to_csv(folder / "train.csv", index=False)
    new = rows(200, seed=1)
    new.loc[100:104, "load"], new.loc[100:104, "label"] = 4.0, 1
    new.to_csv(folder / "labelled.csv", index=False)
    new.drop(columns="label").to_csv(folder / "new.csv", index=False)
    new.drop(columns="label").to_parquet(folder / "new.parquet")
    run("fit", folder / "train.csv", "-o", folder / "m.safetensors", "--window", "20", *FAST)
    return folder


def test_fit_says_what_the_windows_are(files):
    told = run("fit", files / "train.csv", "-o", files / "again.safetensors", "--window", "20")
    assert "windows    20 points, 60 s apart by when" in told.output
    assert "a row is judged by all that hold it" in told.output
    assert "come out too small." in told.output
    assert "with a smaller length, or with --score-of last." in told.output
    record = json.loads(
        run(
            "fit", files / "train.csv", "-o", files / "again.safetensors", "--score-of", "last",
            "--json", "--max-steps", "5",
        ).stdout
    )  # fmt: skip
    assert (record["score_of"], record["time"], record["entity"]) == ("last", "when", None)


def test_fit_says_that_the_last_rows_of_a_long_series_count(files):
    made = files / "last.safetensors"
    told = run("fit", files / "train.csv", "-o", made, "--window", "5", "--max-rows", "99")
    assert "rows       99, the last of 1,500" in told.output


def test_networks_and_strides_of_series_can_be_chosen(files):
    made = files / "gru.safetensors"
    run(
        "fit", files / "train.csv", "-o", made, "--window", "12", "--network", "gru",
        "--stride", "5", *FAST,
    )  # fmt: skip
    codec = load(made).model_.codec
    assert (codec.network, codec.stride, codec.length) == ("gru", 5, 12)


def test_every_row_is_scored_beside_its_time(files):
    run("score", files / "new.csv", "-m", files / "m.safetensors", "-o", files / "scored.csv")
    found, new = pd.read_csv(files / "scored.csv"), pd.read_csv(files / "new.csv")
    assert found["when"].tolist() == new["when"].tolist()
    assert found["is_outlier"][100:105].all()
    assert found["top_reasons"][102].startswith("load = 4 (expected")
    detector = load(files / "m.safetensors")
    expected = detector.score_samples(pd.read_parquet(files / "new.parquet"))
    np.testing.assert_allclose(found["score"], expected, atol=1e-9)


def test_batches_and_formats_change_nothing(files):
    whole, pieces = files / "whole.parquet", files / "pieces.parquet"
    run("score", files / "new.parquet", "-m", files / "m.safetensors", "-o", whole)
    run(
        "score", files / "new.csv", "-m", files / "m.safetensors", "-o", pieces,
        "--batch-rows", "7",
    )  # fmt: skip
    one, other = pd.read_parquet(whole), pd.read_parquet(pieces)
    pd.testing.assert_series_equal(one["score"], other["score"])
    assert one["top_reasons"].tolist() == other["top_reasons"].tolist()


def test_rows_are_explained_among_their_neighbors(files):
    record = json.loads(
        run(
            "explain", files / "new.csv", "-m", files / "m.safetensors", "--row", "102", "--json"
        ).stdout
    )
    scored = load(files / "m.safetensors").score_samples(pd.read_csv(files / "new.csv"))
    assert record["score"] == pytest.approx(scored[102], abs=1e-9)
    assert record["reasons"][0].startswith("load = 4")


def test_parts_of_the_calendar_are_named_in_one_option_or_two(files):
    for asked in (["hour,weekday"], ["hour", "--calendar", "weekday"]):
        record = json.loads(
            run(
                "fit", files / "train.csv", "-o", files / "dated.safetensors", "--window", "5",
                "--calendar", *asked, "--json", "--max-steps", "2",
            ).stdout
        )  # fmt: skip
        assert record["calendar"] == ["hour", "weekday"]
    assert "with the hour, with the weekday" in run("inspect", files / "dated.safetensors").output


def test_a_file_that_lacks_what_the_model_reads_time_from_says_so(files):
    pd.read_csv(files / "new.csv").rename(columns={"when": "at"}).to_csv(
        files / "renamed.csv", index=False
    )
    told = run("score", files / "renamed.csv", "-m", files / "m.safetensors", code=2).output
    assert "No column is called 'when'; there are: load, at." in told
    assert "The model takes the time from it: pass it, or rename a column." in told
    odd = pd.read_csv(files / "new.csv", dtype=str)
    odd.loc[3, "when"] = None
    odd.to_csv(files / "odd.csv", index=False)
    told = run("score", files / "odd.csv", "-m", files / "m.safetensors", code=2).output
    assert "Remove those rows, or fit without times." in told
    odd.assign(when="3/1/2025").to_csv(files / "odd.csv", index=False)
    told = run("score", files / "odd.csv", "-m", files / "m.safetensors", code=2).output
    assert "as '3/1/2025' is. Write them as 2025-03-01 14:30, remove those rows" in told


def test_other_verbs_read_series(files):
    model = files / "m.safetensors"
    told = run("evaluate", files / "labelled.csv", "-m", model, "--label", "label")
    assert "ROC AUC" in told.output
    run("reconstruct", files / "new.csv", "-m", model, "-o", files / "again.csv")
    again = pd.read_csv(files / "again.csv")
    assert list(again.columns) == ["when", "load"]
    assert len(again) == 200
    run("sample", "-m", model, "-n", "2", "-o", files / "drawn.csv")
    assert pd.read_csv(files / "drawn.csv")["window"].tolist() == [0] * 20 + [1] * 20
    told = run("inspect", model).output
    assert "load    real" in told
    assert "windows     20 points, 60 s apart by when; a row is judged by all" in told
    run("cluster", files / "new.csv", "-m", model, "-o", files / "groups.csv", "--clusters", "2")
    assert len(pd.read_csv(files / "groups.csv")) == 200


def test_missing_cells_are_filled_in_a_file(files):
    holes = pd.read_csv(files / "new.csv")
    holes.loc[50, "load"] = np.nan
    holes.to_csv(files / "holes.csv", index=False)
    run("impute", files / "holes.csv", "-m", files / "m.safetensors", "-o", files / "full.csv")
    full = pd.read_csv(files / "full.csv")
    assert abs(full["load"][50] - np.sin(50 / 4.0)) < 1.0
    assert np.allclose(full["load"].drop(50), holes["load"].drop(50))


def test_a_file_is_filled_as_the_rows_are_whatever_the_batches(files):
    holes = pd.read_csv(files / "new.csv", parse_dates=["when"])
    holes.loc[[*range(15), *range(60, 70)], "load"] = np.nan
    holes.to_csv(files / "holes.csv", index=False)
    model, full = files / "m.safetensors", files / "full.csv"
    run("impute", files / "holes.csv", "-m", model, "-o", full, "--batch-rows", "7")
    found = pd.read_csv(full)["load"]
    np.testing.assert_allclose(found, load(model).impute(holes)["load"], rtol=1e-6)


def test_labelled_rows_are_not_learned_from_and_time_goes_on(files):
    model = files / "labelled.safetensors"
    train = rows()
    train.loc[300:399, "load"], train.loc[300:399, "label"] = 50.0, 1
    train.to_csv(files / "dirty.csv", index=False)
    run("fit", files / "dirty.csv", "-o", model, "--label", "label", "--window", "20", *FAST)
    kind = load(model).model_.codec.point.columns[0].kind
    assert kind.encoding.high < 10.0
    assert load(model).model_.codec.names == ("load",)


def test_series_of_many_machines(files):
    both = pd.concat([rows(400, s).assign(machine=m) for s, m in enumerate("ab")])
    both.drop(columns="label").to_csv(files / "both.csv", index=False)
    model = files / "both.safetensors"
    told = run(
        "fit", files / "both.csv", "-o", model, "--entity", "machine", "--max-steps", "10"
    ).output
    assert "one series a value of machine" in told
    run("score", files / "both.csv", "-m", model, "-o", files / "both.jsonl")
    assert len((files / "both.jsonl").read_text().splitlines()) == 800
    run("refit", files / "both.csv", "-m", model, "-o", model, *FAST)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--window", "x"], "--window x is no number of points"),
        (["--time", "then"], "No column is called 'then'"),
        (["--score-of", "first"], "score_of must be one of"),
        (["--network", "cnn"], "network must be one of"),
        (["--stride", "0"], "--stride"),
    ],
)
def test_wrong_options_are_said_so(files, args, message):
    told = run("fit", files / "train.csv", "-o", files / "none.safetensors", *args, code=2)
    assert message in told.output
    assert not (files / "none.safetensors").exists()


def test_images_have_no_windows(files):
    np.save(files / "i.npy", np.zeros((30, 4, 4), dtype=np.uint8))
    told = run("fit", files / "i.npy", "-o", files / "none.safetensors", "--window", "5", code=2)
    assert "have no series" in told.output


def test_a_table_without_the_time_is_refused(files):
    pd.read_csv(files / "new.csv").drop(columns="when").to_csv(files / "bare.csv", index=False)
    told = run("score", files / "bare.csv", "-m", files / "m.safetensors", code=2)
    assert "No column is called 'when'" in told.output
    told = run("score", files / "i.npy", "-m", files / "m.safetensors", code=2)
    assert "looks like images" in told.output


def test_impute_leaves_everything_else_as_it_was(tmp_path):
    frame = rows(200).drop(columns="label").astype({"load": str})
    frame = frame.assign(host="012", code=[f"{i:04}" for i in range(200)], note="n")
    frame["when"] = frame["when"].dt.strftime("%Y-%m-%d %H:%M")
    frame.to_csv(tmp_path / "a.csv", index=False)
    model, filled = tmp_path / "m.safetensors", tmp_path / "filled.csv"
    run("fit", tmp_path / "a.csv", "-o", model, "--window", "8", "--entity", "host",
        "--drop", "note,code", *FAST)  # fmt: skip
    frame.loc[50, "load"] = ""
    frame.to_csv(tmp_path / "a.csv", index=False)
    run("impute", tmp_path / "a.csv", "-m", model, "-o", filled)
    found = pd.read_csv(filled, dtype=str, keep_default_na=False)
    assert float(found.loc[50, "load"]) != 0.0
    found.loc[50, "load"] = ""
    pd.testing.assert_frame_equal(found, frame, check_dtype=False)
