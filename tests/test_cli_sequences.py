"""The command line for sequences: CSV, JSON Lines and Parquet, and what is refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_cli import fails, run

from improbable import load
from improbable.data.files import read_table

FIT = ["--max-steps", "25", "--members", "1", "--hidden", "16", "--latent-dim", "2"]
FIT += ["--learning-rate", "0.02", "-q"]


def says(*args):
    """Standard output of a command."""
    return run(*args)[0]


def sessions(n, rng):
    """Sessions of a few events in a fixed order, some of them repeated."""
    return [
        [
            "open",
            *["read"] * int(rng.integers(1, 5)),
            *["write", "sync"] * int(rng.integers(0, 3)),
            "close",
        ]
        for _ in range(n)
    ]


@pytest.fixture(scope="session")
def logs(tmp_path_factory):
    """The same sessions in every form, ten of 60 new ones broken, and two models."""
    root = tmp_path_factory.mktemp("logs")
    rng = np.random.default_rng(0)
    train, new = sessions(160, rng), sessions(60, rng)
    for events in new[:10]:
        events[0], events[-1] = events[-1], events[0]
    odd = [int(i < 10) for i in range(60)]
    about = {"user": [f"u{i}" for i in range(60)], "odd": odd}
    for name, items, others in (("train", train, {}), ("new", new, about)):
        lists, words = {"events": items, **others}, {"events": map(" ".join, items), **others}
        table = pa.table(lists)
        pq.write_table(table, root / f"{name}.parquet")
        text = pa.table({key: list(values) for key, values in words.items()}).to_pandas()
        text.to_csv(root / f"{name}.csv", index=False)
        lines = "".join(json.dumps(row) + "\n" for row in table.to_pylist())
        (root / f"{name}.jsonl").write_text(lines)
        quoted = text.assign(events=list(map(json.dumps, items)))
        quoted.to_csv(root / f"{name}_json.csv", index=False)
    run("fit", root / "train.jsonl", "-o", root / "m", "--sequence", "events", *FIT)
    run(
        "fit",
        root / "train.csv",
        "-o",
        root / "w",
        "--sequence",
        "events",
        "--unit",
        "words",
        *FIT,
    )
    return root


def test_every_form_gives_the_same_scores(logs, tmp_path):
    found = []
    for name in ("new.jsonl", "new.parquet", "new_json.csv"):
        run("score", logs / name, "-m", logs / "m", "-o", tmp_path / "out.jsonl")
        found.append(read_table(tmp_path / "out.jsonl"))
    run("score", logs / "new.csv", "-m", logs / "w", "-o", tmp_path / "out.csv")
    found.append(read_table(tmp_path / "out.csv"))
    for table in found:
        assert table["score"].to_pylist() == found[0]["score"].to_pylist()
        assert table["user"].to_pylist() == [f"u{i}" for i in range(60)]
        assert list(map(int, table["odd"].to_pylist())) == [int(i < 10) for i in range(60)]
    detector = load(logs / "m")
    items = read_table(logs / "new.jsonl")["events"].to_pylist()
    np.testing.assert_allclose(found[0]["score"].to_pylist(), detector.score_samples(items))
    scores = np.array(found[0]["score"].to_pylist())
    assert scores[:10].max() < np.median(scores[10:])


def test_batches_change_nothing(logs, tmp_path):
    for rows in (7, 8192):
        out = tmp_path / f"{rows}.parquet"
        run("score", logs / "new.parquet", "-m", logs / "m", "-o", out, "--batch-rows", str(rows))
    small, whole = (read_table(tmp_path / f"{rows}.parquet") for rows in (7, 8192))
    for name in ("events", "user", "score", "p_value", "q_value", "warnings"):
        assert small[name].equals(whole[name])
    assert small["events"].type == whole["events"].type == pa.list_(pa.string())


def test_explain_names_the_tokens(logs, tmp_path):
    out = says("explain", logs / "new.jsonl", "-m", logs / "m", "--row", "0", "--json")
    record = json.loads(out)
    assert record["row"] == 0
    assert record["tokens"][0]["token"] in ("close", "open", "(end)")
    assert {token["position"] for token in record["tokens"]} == set(
        range(1, len(record["tokens"]) + 1)
    )
    table = says("explain", logs / "new.jsonl", "-m", logs / "m", "-o", tmp_path / "why.csv")
    assert "position" in table
    assert read_table(tmp_path / "why.csv").column_names[:3] == ["row", "position", "token"]


def test_fit_and_inspect_say_what_the_sequences_are(logs, tmp_path):
    fit = [option for option in FIT if option != "-q"]
    out = says("fit", logs / "train.csv", "-o", tmp_path / "c", "--sequence", "events", *fit)
    assert "characters of events" in out
    assert "sequences" in says("inspect", logs / "m")
    assert json.loads(says("inspect", logs / "w", "--json"))["schema"]["form"]["unit"] == "words"


def test_evaluate_by_labels(logs):
    out = says("evaluate", logs / "new.jsonl", "-m", logs / "m", "--label", "odd", "--json")
    assert json.loads(out)["roc_auc"]["value"] > 0.9
    out = says("evaluate", logs / "new.csv", "-m", logs / "w", "--label", "odd", "--json")
    assert json.loads(out)["anomalies"] == 10


def test_fit_on_labeled_rows_takes_the_normal_ones(logs, tmp_path):
    arguments = ["--sequence", "events", "--label", "odd", *FIT, "--json"]
    out = says("fit", logs / "new.jsonl", "-o", tmp_path / "m", *arguments)
    assert json.loads(out)["rows"] == 50


def test_sample_reconstruct_and_the_latent_commands(logs, tmp_path):
    out = tmp_path / "out.jsonl"
    run("sample", "-m", logs / "m", "-n", "5", "-o", out)
    assert all(isinstance(cell, list) for cell in read_table(out)["events"].to_pylist())
    run("sample", "-m", logs / "w", "-n", "5", "-o", tmp_path / "out.csv")
    assert read_table(tmp_path / "out.csv").num_rows == 5
    run("reconstruct", logs / "new.jsonl", "-m", logs / "m", "-o", out)
    assert read_table(out).num_rows == 60
    run("refit", logs / "train.jsonl", "-m", logs / "m", "-o", tmp_path / "again", *FIT[:2], "-q")
    assert load(tmp_path / "again").model_.codec.tokens == load(logs / "m").model_.codec.tokens


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "train.jsonl", "-o", "x", "--sequence", "evnts"], "nearest: events"),
        (["fit", "train.jsonl", "-o", "x", "--unit", "words"], "--sequence"),
        (["fit", "new.csv", "-o", "x", "--sequence", "odd"], "holds int64 values, no sequences"),
        (["fit", "train.csv", "-o", "x", "--sequence", "events", "--unit", "tokens"], "JSON"),
        (["fit", "train.csv", "-o", "x", "--sequence", "events", "--window", "8"], "--window"),
        (["impute", "new.jsonl", "-m", "m", "-o", "x.jsonl"], "no missing tokens"),
        (["sample", "-m", "m", "--given", "a=b", "-o", "x.jsonl"], "--given"),
    ],
)
def test_refusals(logs, monkeypatch, arguments, words):
    monkeypatch.chdir(logs)
    assert words in fails(*arguments)


@pytest.mark.parametrize("name", ["null.jsonl", "null.parquet", "words.jsonl"])
def test_a_null_is_no_sequence(logs, tmp_path, name):
    events = [["open", "close"], [], None, ["open", "close"]]
    model, unit = logs / "m", []
    if name.startswith("words"):
        events = ["open close", "", None, "open close"]
        model, unit = logs / "w", ["--unit", "words"]
    path = tmp_path / name
    if name.endswith("jsonl"):
        path.write_text("".join(json.dumps({"events": cell}) + "\n" for cell in events))
    else:
        pq.write_table(pa.table({"events": events}), path)
    wanted = "Row 2 holds None, which is no sequence. Remove it, or pass '' or []"
    assert wanted in fails("score", path, "-m", model, "--batch-rows", "2")
    assert wanted in fails("fit", path, "-o", tmp_path / "x", "--sequence", "events", *unit, *FIT)


def test_an_empty_cell_of_csv_is_an_empty_sequence(logs, tmp_path):
    (tmp_path / "a.csv").write_text("events,user\nopen close,u\n,v\n")
    run("score", tmp_path / "a.csv", "-m", logs / "w", "-o", tmp_path / "o.jsonl")
    found = read_table(tmp_path / "o.jsonl")["score"].to_pylist()
    np.testing.assert_allclose(found, load(logs / "w").score_samples(["open close", ""]))


def test_numbers_are_taken_apart_if_that_is_asked_for(logs, tmp_path):
    few = (*FIT[2:-3], "--max-steps", "1", "-q")
    asked = ("--sequence", "odd", "--unit", "characters")
    run("fit", logs / "new.csv", "-o", tmp_path / "m", *asked, *few)
    assert load(tmp_path / "m").model_.codec.tokens == ("0", "1")
