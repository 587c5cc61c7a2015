"""The command line: every command, what streams through it, and what it says when it cannot."""

import csv
import errno
import json
import os
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors
from typer.testing import CliRunner

from improbable import load, training
from improbable.calibration import q_values
from improbable.cli import app, commands_model, console, evaluation
from improbable.cli.explaining import explanation_lines
from improbable.cli.scoring import RESULT, Tally
from improbable.data import delimited, files
from improbable.data.files import read_table, spill
from improbable.errors import DataError
from improbable.wording import AS_A_WHOLE

SMALL = ["--max-steps", "20", "--hidden", "16", "--members", "2", "--draws", "4"]
COMMANDS = [
    "fit",
    "score",
    "explain",
    "reconstruct",
    "impute",
    "sample",
    "decode",
    "traverse",
    "interpolate",
    "steer",
    "latent",
    "cluster",
    "evaluate",
    "inspect",
    "version",
    "directions",
    "neighbors",
]


def table(n, seed):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=n)
    return pd.DataFrame(
        {
            "user": [f"{seed:02d}{i:05d}x" for i in range(n)],
            "age": (40 + 9 * hidden + rng.normal(size=n)).round().astype(int),
            "height": (170 + 8 * hidden + rng.normal(size=n)).round(3),
            "city": rng.choice(["anaheim", "boulder", "concord"], n),
            "smoker": rng.integers(0, 2, n),
            "member": rng.random(n) < 0.4,
            "since": [f"2024-0{m}-11" for m in rng.integers(1, 10, n)],
        }
    )


def run(*args, code=0, stdin=None):
    """Standard output and standard error of a command that ends with `code`."""
    done = CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)
    if done.exit_code != code:
        raise AssertionError(f"{done.exit_code}: {done.stdout}{done.stderr}") from done.exception
    return done.stdout, done.stderr


def fails(*args):
    """The one complaint of a command that exits with 2."""
    out, err = run(*args, code=2)
    assert out == ""
    complaints = [line for line in err.splitlines() if not line.startswith("warning: ")]
    assert complaints[0].startswith("error: ")
    return "\n".join(complaints)


def cells(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A folder with a model, the rows it learned from, and new rows, eight of them odd."""
    folder = tmp_path_factory.mktemp("cli")
    table(200, 0).to_csv(folder / "train.csv", index=False)
    new = table(60, 1)
    new.loc[:7, "height"] = 400.0
    new.loc[9, "city"] = "atlantis"
    new.loc[10, "city"] = None
    new["label"] = (np.arange(60) < 8).astype(int)
    new.to_csv(folder / "new.csv", index=False)
    run("fit", folder / "train.csv", "-o", folder / "m.safetensors", *SMALL)
    return folder


@pytest.fixture
def model(home):
    return home / "m.safetensors"


@pytest.fixture
def normal(home):
    return home / "train.csv"


@pytest.fixture
def new(home):
    return home / "new.csv"


@pytest.fixture
def edited(new, tmp_path):
    """Write the new rows with some cells changed."""

    def write(changes, name="edited.csv"):
        frame = pd.read_csv(new, dtype=str, keep_default_na=False)
        for (row, column), value in changes.items():
            frame.loc[row, column] = value
        frame.to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return write


# Help


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['improbable', '--help']\n"
        "from improbable.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'sklearn', 'pyarrow', 'narwhals', 'numpy', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(command in done.stdout for command in COMMANDS)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_an_example(command):
    assert f"Example: improbable {command}" in run(command, "--help")[0]


# fit


def test_fit_sums_up(home, tmp_path):
    out, _ = run("fit", home / "train.csv", "-o", tmp_path / "m", *SMALL, "--kind", "age=real")
    facts = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert facts["rows"] == "200"
    assert facts["columns"].startswith("6: ")
    assert "2 real" in facts["columns"]
    assert facts["set"] == "aside  user"
    assert facts["held"] == "out   40 rows, p-values from 0.024 up"


def test_fit_in_json_agrees_with_the_file(home, tmp_path):
    out, _ = run(
        "fit", home / "train.csv", "-o", tmp_path / "m", *SMALL, "--json", "--drop", "age,city"
    )
    record = json.loads(out)
    assert record["rows"] == 200
    assert record["held_out_rows"] == 40
    assert record["set_aside"] == ["user"]
    assert record["columns"] == {"real": 1, "binary": 2, "datetime": 1}
    assert record["smallest_p_value"] == pytest.approx(1 / 41)
    assert load(tmp_path / "m").feature_names_in_.tolist() == [
        "user",
        "height",
        "smoker",
        "member",
        "since",
    ]


@pytest.mark.parametrize("normal", [[], ["--normal", "0"], ["--normal", "0.0"]])
def test_fit_on_the_normal_rows_of_a_labeled_table(normal, new, tmp_path):
    run("fit", new, "-o", tmp_path / "m", *SMALL, "--label", "label", *normal, "--quiet")
    codec = load(tmp_path / "m").model_.codec
    assert "label" not in [column.name for column in codec.columns]
    assert codec.n_rows == 52 - int(np.ceil(0.2 * 52))


def test_fit_takes_the_arguments_of_the_detector(home, tmp_path):
    chosen = ["--latent-dim", "3", "--contamination", "0.1", "--seed", "7", "-q"]
    out, _ = run(
        "fit", home / "train.csv", "-o", tmp_path / "m", *SMALL, *chosen, "--kind", "age=cyclic:99"
    )
    detector = load(tmp_path / "m")
    assert out == ""
    assert (detector.latent_dim, detector.contamination, detector.random_state) == (3, 0.1, 7)
    assert (detector.hidden, detector.n_members, detector.n_draws) == ((16,), 2, 4)
    assert detector.columns["age"].period == 99.0


def test_an_interrupted_fit_writes_its_best_model(home, new, tmp_path, monkeypatch):
    def stop(run, train_elbo):
        look(run, train_elbo)
        if len(run.steps) == 3:
            raise KeyboardInterrupt

    look = training._Run.look
    monkeypatch.setattr(training._Run, "look", stop)
    monkeypatch.setattr(commands_model, "on_terminal", lambda: True)
    out, err = run("fit", home / "train.csv", "-o", tmp_path / "m", *SMALL, code=130)
    assert "interrupted: the best weights so far are kept" in out + err
    for command in (("fit",), ("refit", "-m", tmp_path / "m")):
        before = (tmp_path / "m").read_bytes()
        out, err = run(*command, home / "train.csv", "-o", tmp_path / "m", code=130)
        assert err.endswith("interrupted: no file was written\n")
        assert "weights" not in out + err
        assert (tmp_path / "m").read_bytes() == before
    monkeypatch.undo()
    history = load(tmp_path / "m").history_
    assert history.stop_reason == "interrupted"
    assert max(history.held_out_elbo) == pytest.approx(np.mean(history.best_elbo), abs=0.5)
    run("score", new, "-m", tmp_path / "m", "-o", tmp_path / "s.csv")
    assert len(cells(tmp_path / "s.csv")) == 60


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    """A table of 200 rows, the first 20 of them odd."""
    path = tmp_path_factory.mktemp("dirty") / "dirty.csv"
    frame = table(200, 2)
    frame.loc[:19, "height"] = 400.0
    frame.to_csv(path, index=False)
    return path


def test_fit_on_rows_with_unknown_anomalies(dirty, tmp_path):
    chosen = ["--contamination", "unknown", "--json"]
    record = json.loads(run("fit", dirty, "-o", tmp_path / "m", *SMALL, *chosen)[0])
    detector = load(tmp_path / "m")
    assert record["held_out_rows"] == 40
    assert record["stop_reason"]
    assert detector.contamination == "unknown"
    assert detector.contamination_ > 0.0
    assert detector.model_.codec.columns[2].kind.encoding.knee == 3.0
    flagged = np.flatnonzero(detector.predict(pd.read_csv(dirty)) == -1)
    assert set(range(20)) <= set(flagged)
    assert record["training_outliers"] == len(flagged)
    assert record["contamination"] == detector.contamination_


def test_fit_on_rows_with_a_known_share_of_anomalies(dirty, tmp_path):
    chosen = ["--contamination", "0.1"]
    out, _ = run("fit", dirty, "-o", tmp_path / "m", *SMALL, *chosen)
    assert "20 training rows flagged" in out
    detector = load(tmp_path / "m")
    assert detector.contamination == 0.1
    flagged = np.flatnonzero(detector.predict(pd.read_csv(dirty)) == -1)
    assert flagged.tolist() == list(range(20))
    shown = run("inspect", tmp_path / "m")[0]
    assert "contamination 0.1" in shown
    record = json.loads(run("inspect", tmp_path / "m", "--json")[0])
    assert record["config"]["contamination"] == 0.1


def test_inspect_and_score_of_a_model_of_contaminated_rows(dirty, new, tmp_path):
    run("fit", dirty, "-o", tmp_path / "m", *SMALL, "--contamination", "unknown", "-q")
    assert "contamination unknown" in run("inspect", tmp_path / "m")[0]
    record = json.loads(run("inspect", tmp_path / "m", "--json")[0])
    assert record["config"]["contamination"] == "unknown"
    run("score", new, "-m", tmp_path / "m", "-o", tmp_path / "s.csv", "--alpha", "0.2")
    found = cells(tmp_path / "s.csv")
    assert all(
        float(row["score"]) < min(float(r["score"]) for r in found[11:]) for row in found[:8]
    )


def test_fit_without_contamination_speaks_of_none(home, tmp_path):
    out, _ = run("fit", home / "train.csv", "-o", tmp_path / "m", *SMALL, "--json")
    assert not {"training_outliers", "contamination", "tuning"} & set(json.loads(out))


@pytest.mark.parametrize("options", [[], ["--contamination", "unknown"]])
def test_fit_tunes(options, dirty, tmp_path):
    out, err = run(
        "fit", dirty, "-o", tmp_path / "m", "--max-steps", "5", "--tune", "2", *options, "--json"
    )
    tuning = json.loads(out)["tuning"]
    assert err == ""
    assert 1 <= tuning["models"] <= 2
    assert not tuning["interrupted"]
    assert tuning["held_out_score"] >= tuning["default_held_out_score"]
    detector = load(tmp_path / "m")
    sizes = detector.model_.settings
    assert sizes["latent_dim"] == tuning["chosen"]["latent_dim"]
    assert sizes["hidden"] == tuning["chosen"]["hidden"]
    assert (detector.tune, detector.budget) == (True, 2)


def test_fit_says_what_it_tuned(dirty, tmp_path):
    out, _ = run("fit", dirty, "-o", tmp_path / "m", "--max-steps", "5", "--tune", "1")
    assert re.search(r"tuned +latent_dim 16, hidden 128, .*, best of 1 model\n", out)
    assert re.search(r" +held-out score -?[\d.,]+ nats, by default -?[\d.,]+\n", out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label", "lable"], "no column 'lable'"),
        (["--drop", "hieght"], r"no column 'hieght' \(nearest: height\)"),
        (["--normal", "0"], "Name the column with --label"),
        (["--label", "city", "--normal", "7"], "No label is 7; there are: anaheim, boulder, conc"),
        (["--label", "city"], "No label looks normal"),
        (["--kind", "age"], "is not NAME=KIND.*--kind age=count"),
        (["--kind", "age=cont"], r"no kind \(nearest: count\)"),
        (["--kind", "age=cyclic:x"], "no period"),
        (["--kind", "aeg=count"], r"did you mean age\?"),
        (["--kind", "city=real"], "--kind 'city="),
        (["--hidden", "a"], "hidden must be"),
        (["--members", "0"], "n_members must be"),
        (["--contamination", "some"], "must be 'auto', 'unknown' or a number above 0.*got 'some'"),
        (["--contamination", "0"], "contamination must be 'auto', 'unknown' or a number above 0"),
        (["--contamination", "0.6"], "contamination must be.*at most 0.5, got 0.6"),
        (["--contamination", "nan"], "contamination must be.*got nan"),
        (["--contamination", "10%"], "contamination must be.*got '10%'"),
        (["--tune", "0"], "budget must be a whole number, 1 or more"),
        (["--format", "xls"], "xls is no format"),
    ],
)
def test_fit_refuses(options, message, home, tmp_path):
    error = fails("fit", home / "train.csv", "-o", tmp_path / "m", *SMALL, *options)
    assert re.search(message, error)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("place", "message"), [(".", "is a folder"), ("no/m", "written to")])
def test_fit_looks_at_its_destination_first(place, message, tmp_path):
    assert message in fails("fit", "absent.csv", "-o", tmp_path / place)


# score


def test_score_keeps_the_input_and_adds_its_columns(new, model, tmp_path):
    _, err = run("score", new, "-m", model, "-o", tmp_path / "out.csv", "--alpha", "0.05")
    before, after = cells(new), cells(tmp_path / "out.csv")
    assert list(after[0]) == [*before[0], *RESULT]
    assert [{name: row[name] for name in before[0]} for row in after] == before
    assert err.startswith("60 rows, ")
    assert "flagged at alpha 0.05" in err
    assert all(row["is_outlier"] == "true" for row in after[:8])
    assert after[0]["top_reasons"].startswith("height = 400")
    assert after[9]["warnings"] == "city = 'atlantis' was never seen in training"


@pytest.mark.parametrize("rows", [7, 1000])
@pytest.mark.parametrize("fdr", [[], ["--fdr", "0.3"]])
def test_score_does_not_depend_on_batches(rows, fdr, new, model, tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK", 512)
    out = tmp_path / "out.parquet"
    run("score", new, "-m", model, "-o", out, "--alpha", "0.05", "--batch-rows", rows, *fdr)
    found = pq.read_table(out)
    wanted = load(model).detect(read_table(new), alpha=0.05, fdr=float(fdr[1]) if fdr else None)
    for name in RESULT:
        assert_same(found[name].to_pylist(), wanted[name].to_pylist())
    p = found["p_value"].to_numpy()
    assert np.array_equal(found["q_value"].to_numpy(), q_values(p))


def assert_same(found, wanted):
    if isinstance(wanted[0], float):
        np.testing.assert_allclose(found, wanted, rtol=1e-9)
    else:
        assert found == wanted


@pytest.mark.parametrize("name", ["o.csv", "o.tsv", "o.parquet", "o.arrow", "o.jsonl", "o.csv.gz"])
def test_score_writes_every_format(name, new, model, tmp_path):
    run("score", new, "-m", model, "-o", tmp_path / name, "--alpha", "0.05")
    found = read_table(tmp_path / name).to_pydict()
    assert list(found) == [*read_table(new).column_names, *RESULT]
    assert found["age"] == read_table(new)["age"].to_pylist()
    assert found["is_outlier"][:8] == [True] * 8


@pytest.mark.parametrize("verb", ["score", "reconstruct", "impute", "explain", "cluster"])
def test_no_verb_writes_over_what_it_reads(verb, new, model, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_bytes(new.read_bytes())
    assert "is named twice. Name another file" in fails(verb, rows, "-m", model, "-o", rows)
    assert rows.read_bytes() == new.read_bytes()


@pytest.mark.parametrize(
    "command",
    [
        ["traverse", "IN", "--dim", "0", "-m", "MODEL", "-o", "IN"],
        ["interpolate", "IN", "--from", "0", "--to", "1", "-m", "MODEL", "-o", "IN"],
        ["cluster", "IN", "-m", "MODEL", "-o", "c.csv", "-k", "2", "--centers", "IN"],
        [
            "cluster",
            "IN",
            "-m",
            "MODEL",
            "-o",
            "c.csv",
            "-k",
            "2",
            "--hierarchy",
            "--merges",
            "IN",
        ],
        ["sample", "-m", "MODEL", "-o", "MODEL", "--output-format", "csv"],
        ["sample", "-m", "MODEL", "--like", "IN", "-o", "IN"],
        ["score", "LINK", "-m", "MODEL", "-o", "IN"],
    ],
)
def test_nothing_that_is_read_is_written(command, new, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = {"IN": tmp_path / "in.csv", "LINK": tmp_path / "l.csv", "MODEL": tmp_path / "m.model"}
    named["IN"].write_bytes(new.read_bytes())
    named["MODEL"].write_bytes(model.read_bytes())
    os.link(named["IN"], named["LINK"])
    assert "is named twice" in fails(*(named.get(word, word) for word in command))
    assert named["IN"].read_bytes() == new.read_bytes()
    assert named["MODEL"].read_bytes() == model.read_bytes()


def test_an_fdr_that_cannot_be_reached_is_said(model, edited):
    rows = edited({(row, "height"): "900" for row in range(30)})
    _, told = run("score", rows, "-m", model, "-o", rows.with_name("o.csv"), "--fdr", "0.001")
    assert "rows are beyond all 40 held-out rows" in told
    assert "Fit on more rows.\n" in told


@pytest.mark.parametrize("name", ["i.tsv", "i.parquet", "i.arrow", "i.jsonl"])
def test_score_reads_every_format(name, new, model, tmp_path):
    rows = read_table(new)
    with files.open_writer(tmp_path / name, rows.schema) as writer:
        for batch in rows.to_batches(max_chunksize=11):
            writer.write(batch)
    run("score", tmp_path / name, "-m", model, "-o", tmp_path / "o.parquet", "--alpha", "0.05")
    found = pq.read_table(tmp_path / "o.parquet")
    wanted = load(model).detect(rows, alpha=0.05)
    assert found["warnings"].to_pylist() == wanted["warnings"].to_pylist()
    np.testing.assert_allclose(found["score"], wanted["score"], rtol=1e-9)


def test_types_come_back_where_no_cell_is_lost(edited, model, tmp_path):
    path = edited({(3, "height"): "tall", (4, "age"): "", (5, "smoker"): "?", (6, "member"): "NA"})
    run("score", path, "-m", model, "-o", tmp_path / "o.parquet", "--alpha", "0.05")
    found = pq.read_table(tmp_path / "o.parquet")
    kinds = {f.name: str(f.type) for f in found.schema}
    assert kinds["age"] == "int64"
    assert kinds["smoker"] == "int64"
    assert kinds["member"] == "bool"
    assert kinds["height"] == "string"
    assert found["height"][3].as_py() == "tall"
    assert found["age"][4].as_py() is None
    assert found["user"].to_pylist() == [row["user"] for row in cells(path)]


def test_cells_mean_what_they_meant_at_fit(edited, new, model, tmp_path):
    """Other spellings of the same value, which typed readers never see."""
    frame = pd.read_csv(new)
    spelled = {(i, "smoker"): f"{float(v)}" for i, v in enumerate(frame["smoker"])}
    spelled |= {(i, "member"): str(v).upper() for i, v in enumerate(frame["member"])}
    spelled |= {(i, "since"): f" {v}" for i, v in enumerate(frame["since"])}
    spelled |= {(i, "age"): f" {v}.0 " for i, v in enumerate(frame["age"])}
    spelled[10, "city"] = "N/A"
    for source, target in ((new, "a.csv"), (edited(spelled), "b.csv")):
        run("score", source, "-m", model, "-o", tmp_path / target, "--alpha", "0.05")
    plain, other = cells(tmp_path / "a.csv"), cells(tmp_path / "b.csv")
    for name in RESULT:
        assert [row[name] for row in plain] == [row[name] for row in other]


def test_a_late_unreadable_cell_is_a_warning(edited, model, tmp_path):
    path = edited({(59, "height"): "tall", (58, "since"): "soon", (57, "smoker"): "2"})
    args = ["-m", model, "-o", tmp_path / "o.csv", "--alpha", "0.05", "--batch-rows", 1]
    run("score", path, *args)
    found = cells(tmp_path / "o.csv")
    for row, column in ((59, "height = 'tall'"), (58, "since = 'soon'"), (57, "smoker = '2'")):
        assert f"{column} was never seen in training" in found[row]["warnings"]


@pytest.mark.parametrize("rows", [7, 1000])
def test_a_column_without_values_is_told_of_every_row(rows, edited, model, tmp_path):
    path = edited({(i, "age"): "" for i in range(60)})
    out = tmp_path / "o.csv"
    run("score", path, "-m", model, "-o", out, "--alpha", "0.05", "--batch-rows", rows)
    assert all("age is missing in all rows" in row["warnings"] for row in cells(out))


def test_a_value_in_one_batch_only_is_no_missing_column(edited, model, tmp_path):
    path = edited({(i, "age"): "" for i in range(59)})
    out = tmp_path / "o.csv"
    run("score", path, "-m", model, "-o", out, "--alpha", "0.05", "--batch-rows", 7)
    assert not any("all rows" in row["warnings"] for row in cells(out))


def test_score_sums_up_in_json(new, model, tmp_path):
    out, err = run(
        "score", new, "-m", model, "-o", tmp_path / "o.csv", "--alpha", "0.05", "--json"
    )
    record = json.loads(out)
    found = cells(tmp_path / "o.csv")
    assert err == ""
    assert record["rows"] == 60
    assert record["flagged"] == sum(row["is_outlier"] == "true" for row in found) >= 8
    assert record["output"] == str(tmp_path / "o.csv")


def test_score_flags_by_false_discovery_rate(new, model, tmp_path):
    run("score", new, "-m", model, "-o", tmp_path / "o.parquet", "--fdr", "0.3")
    found = pq.read_table(tmp_path / "o.parquet")
    assert np.array_equal(found["is_outlier"].to_numpy(), found["q_value"].to_numpy() <= 0.3)


def test_score_warns_once(new, model, tmp_path):
    args = ["-m", model, "-o", tmp_path / "o.csv", "--alpha", "0.001", "--batch-rows", 7]
    _, err = run("score", new, *args)
    warned = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 1
    assert "Fit on more rows, or raise alpha." in warned[0]


def test_score_tells_the_tail_apart(tmp_path):
    table(1500, 0).drop(columns="user").to_csv(tmp_path / "train.csv", index=False)
    options = ["--calibration-fraction", "0.5", "--max-steps", "3", "-q"]
    run("fit", tmp_path / "train.csv", "-o", tmp_path / "m", *SMALL, *options)
    odd = table(6, 1).assign(height=np.arange(6) * 300.0 + 400.0)
    odd.to_csv(tmp_path / "odd.csv", index=False)
    args = ["-m", tmp_path / "m", "--alpha", "1e-4", "--tail", "--batch-rows", 4]
    run("score", tmp_path / "odd.csv", *args, "-o", tmp_path / "o.csv")
    p = [float(row["p_value"]) for row in cells(tmp_path / "o.csv")]
    q = [float(row["q_value"]) for row in cells(tmp_path / "o.csv")]
    assert max(p) < 1 / 751
    assert len(set(p)) == 6
    assert q == q_values(p).tolist()


def test_a_header_without_rows_stays_one(new, model, tmp_path):
    header = new.read_text().splitlines()[0]
    (tmp_path / "i.csv").write_text(header + "\n")
    for command, last in (("score", RESULT[-1]), ("reconstruct", "since"), ("impute", "label")):
        options = ["--alpha", "0.05"] if command == "score" else []
        _, err = run(command, tmp_path / "i.csv", "-m", model, "-o", tmp_path / "o.csv", *options)
        lines = (tmp_path / "o.csv").read_text().splitlines()
        assert len(lines) == 1
        assert lines[0].endswith(last)
        assert err.startswith("0 rows")


def test_results_go_beside_older_ones_under_a_prefix(new, model, tmp_path):
    once, twice = tmp_path / "1.csv", tmp_path / "2.csv"
    run("score", new, "-m", model, "-o", once, "--alpha", "0.05")
    assert "--prefix improbable_" in fails("score", once, "-m", model, "-o", twice)
    assert not twice.exists()
    run("score", once, "-m", model, "-o", twice, "--alpha", "0.05", "--prefix", "again_")
    row = cells(twice)[0]
    assert list(row)[-7:] == ["again_" + name for name in RESULT]
    assert row["again_p_value"] == row["p_value"]


def test_a_pipe_through_standard_input_and_output(new, model):
    command = [sys.executable, "-m", "improbable.cli", "score", "-", "-m", model]
    done = subprocess.run(
        [*command, "--alpha", "0.05", "--json"], input=new.read_bytes(), capture_output=True
    )
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0
    assert len(lines) == 61
    assert lines[0].endswith(",".join(RESULT))
    assert json.loads(done.stderr)["rows"] == 60


def test_rows_on_standard_output_in_a_chosen_format(new, model):
    out, err = run(
        "score",
        "-",
        "-m",
        model,
        "--alpha",
        "0.05",
        "--output-format",
        "jsonl",
        stdin=new.read_bytes(),
    )
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 60
    assert rows[0]["age"] == int(cells(new)[0]["age"])
    assert rows[0]["is_outlier"] is True
    assert err.startswith("60 rows, ")


def test_a_tally_of_p_values_gives_their_q_values():
    p = np.random.default_rng(0).integers(1, 30, 500) / 29
    p[7] = np.nan
    tally = Tally()
    for part in np.split(p, [3, 3, 100, 220]):
        tally.add(part)
    np.testing.assert_array_equal(tally.q_values()(p), q_values(p))


# explain


def test_explain_the_least_normal_rows(new, model):
    out, _ = run("explain", new, "-m", model, "--batch-rows", 7, "--top", 3)
    heads = [line for line in out.splitlines() if line.startswith("row ")]
    scores = load(model).score_samples(read_table(new))
    assert [int(line.split()[1]) for line in heads] == np.argsort(scores)[:3].tolist()
    first = out.splitlines()[1:3]
    assert first[0].split() == ["column", "value", "expected", "interval", "share", "p-value"]
    assert first[1].startswith("height")


def test_explain_chosen_rows_in_json(new, model):
    out, _ = run("explain", new, "-m", model, "--row", 20, "--row", 3, "--json", "--batch-rows", 7)
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["row"] for record in records] == [20, 3]
    detector, rows = load(model), read_table(new)
    shares = sum(cell["share"] for cell in records[0]["columns"])
    wanted = detector.reconstruction_probability(rows)[20]
    assert shares == pytest.approx(wanted, abs=1e-9)
    assert records[1]["p_value"] == detector.p_values(rows)[3]
    cell = next(c for c in records[1]["columns"] if c["column"] == "height")
    assert cell["value"] == 400.0
    assert cell["lower"] < cell["expected"] < cell["upper"] < 400.0
    moment = next(c for c in records[1]["columns"] if c["column"] == "since")
    assert moment["lower"].startswith("202")


def test_explain_shows_what_is_not_there(new, model):
    out, _ = run("explain", new, "-m", model, "--row", 10, "--columns", 6)
    assert "(missing)" in out
    assert "more columns" not in out
    assert "and 5 more columns" in run("explain", new, "-m", model, "--columns", 1)[0]


def test_explain_says_which_rows_are_odd_as_a_whole():
    record = {"row": 4, "score": -9.0, "p_value": 0.01, "reasons": [AS_A_WHOLE], "columns": []}
    assert explanation_lines(record, 5)[0].endswith(f"p-value 0.01   {AS_A_WHOLE}")
    plain = explanation_lines({**record, "reasons": []}, 5)
    assert plain[0].endswith("p-value 0.01")


def test_explain_knows_how_many_rows_there_are(new, model):
    error = fails("explain", new, "-m", model, "--row", 60)
    assert "no row 60: the file has 60 rows" in error


# reconstruct, impute, sample


@pytest.mark.parametrize("name", ["o.csv", "o.parquet"])
def test_reconstruct_agrees_with_the_detector(name, new, model, tmp_path):
    run("reconstruct", new, "-m", model, "-o", tmp_path / name, "--batch-rows", 7)
    found, wanted = read_table(tmp_path / name), load(model).reconstruct(read_table(new))
    assert found.column_names == wanted.column_names
    assert found["age"].to_pylist() == wanted["age"].to_pylist()
    np.testing.assert_allclose(found["height"], wanted["height"], rtol=1e-9)


def test_impute_fills_what_is_missing_and_nothing_else(edited, model, tmp_path):
    holes = {(0, "age"): "", (1, "height"): "NA", (2, "city"): "", (3, "member"): "?"}
    path = edited({**holes, (4, "since"): "", (5, "smoker"): "", (6, "height"): "tall"})
    run("impute", path, "-m", model, "-o", tmp_path / "o.csv", "--batch-rows", 4)
    before, after = cells(path), cells(tmp_path / "o.csv")
    changed = {
        (i, name)
        for i, (old, now) in enumerate(zip(before, after, strict=True))
        for name in old
        if old[name] != now[name]
    }
    assert changed == {*holes, (4, "since"), (5, "smoker"), (10, "city")}
    assert after[0]["age"].isdigit()
    assert after[2]["city"] in ("anaheim", "boulder", "concord")
    assert after[4]["since"].startswith("2024-")
    assert after[5]["smoker"] in ("0", "1")
    run("impute", path, "-m", model, "-o", tmp_path / "o.parquet")
    kinds = pq.read_table(tmp_path / "o.parquet").schema
    assert [str(kinds.field(n).type) for n in ("age", "height")] == ["int64", "string"]


def test_impute_keeps_the_types_of_typed_input(model, new, tmp_path):
    rows = pd.read_csv(new).astype({"city": "category", "height": "float32", "age": "Int8"})
    rows.loc[0, ["age", "height", "smoker"]] = None
    rows.to_parquet(tmp_path / "i.parquet")
    run("impute", tmp_path / "i.parquet", "-m", model, "-o", tmp_path / "o.parquet")
    found = pq.read_table(tmp_path / "o.parquet")
    assert [str(found.schema.field(n).type) for n in ("city", "height", "age")] == [
        "string",
        "float",
        "int8",
    ]
    assert found.drop_columns(["label"]).to_pandas().notna().all(axis=None)


def test_sample_is_repeatable(model, tmp_path):
    args = ["sample", "-m", model, "-n", 9]
    first, err = run(*args)
    assert run(*args)[0] == first != run(*args, "--seed", 1)[0]
    assert len(first.splitlines()) == 10
    assert err == "9 rows sampled\n"
    out, _ = run(*args, "-o", tmp_path / "s.parquet", "--json")
    assert json.loads(out) == {"rows": 9, "output": str(tmp_path / "s.parquet")}
    assert str(pq.read_schema(tmp_path / "s.parquet").field("since").type) == "date32[day]"


# evaluate


def test_evaluate_agrees_with_scikit_learn(new, model):
    out, err = run(
        "evaluate",
        new,
        "-m",
        model,
        "--label",
        "label",
        "--alpha",
        "0.05",
        "--json",
        "--batch-rows",
        7,
    )
    record, rows, detector = json.loads(out), read_table(new), load(model)
    labels, scores = rows["label"].to_numpy(), detector.score_samples(rows)
    p = detector.p_values(rows)
    assert err == ""
    assert record["roc_auc"]["value"] == pytest.approx(roc_auc_score(labels, -scores))
    assert (record["normal"], record["anomalies"], record["unlabeled"]) == (52, 8, 0)
    assert record["detection_rate"] == (p[:8] <= 0.05).mean() == 1.0
    assert record["precision"] == pytest.approx(8 / (p <= 0.05).sum())
    shares = [level["share"] for level in record["reliability"]]
    assert shares == [pytest.approx((p[8:] <= a).mean()) for a in (0.1, 0.01, 0.001)]


def test_areas_with_ties_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 12, 300).astype(float), rng.random(300) < 0.2
    judged = evaluation.Judged(scores, scores, ~labels, 0)
    auc, precision = evaluation.estimate_areas(judged)
    assert auc.value == pytest.approx(roc_auc_score(labels, -scores))
    assert precision.value == pytest.approx(average_precision_score(labels, -scores))
    assert auc.lower < auc.value < auc.upper
    assert 0.05 < auc.upper - auc.lower < 0.25


def test_evaluate_as_a_person_reads_it(edited, model):
    path = edited({(i, "label"): "Normal." if i >= 8 else "theft" for i in range(60)})
    out, _ = run("evaluate", path, "-m", model, "--label", "label", "--alpha", "0.05")
    lines = out.splitlines()
    assert lines[0].split(maxsplit=1) == ["rows", "60  (52 normal, 8 anomalies)"]
    assert lines[3] == "detection rate     100.0% at alpha 0.05"
    assert (
        lines[6].split() == "alpha normal rows with p <= alpha allowed allowed with chance".split()
    )
    assert lines[-1].startswith("The p-values hold")


def test_evaluate_says_where_p_values_do_not_hold():
    p = np.r_[np.full(40, 0.005), np.linspace(0.02, 1.0, 960), np.full(10, 0.001)]
    normal = np.arange(1010) < 1000
    judged = evaluation.Judged(p, p, normal, 0)
    record = evaluation.evaluation(judged, 0.01, 2_000)
    shares, kept = zip(*((v["share"], v["kept"]) for v in record["reliability"]), strict=True)
    assert shares == ((p[:1000] <= 0.1).mean(), 0.04, 0.0)
    assert kept == (True, False, True)
    said = evaluation.evaluation_lines(record)[-1]
    assert said.startswith("Of these normal rows 4.00% have a p-value of at most 0.01, more than")


def test_evaluate_beside_baselines(new, normal, model):
    args = ["-m", model, "--label", "label", "--alpha", "0.05", "--compare"]
    record = json.loads(run("evaluate", new, *args, normal, "--json", "--batch-rows", 7)[0])
    detector, labels = load(model), read_table(new)["label"].to_numpy()
    codec = detector.model_.codec
    learned, rows = (codec.transform(read_table(path)).values for path in (normal, new))
    distance = NearestNeighbors(n_neighbors=5).fit(learned).kneighbors(rows)[0][:, -1]
    found = record["baselines"]["nearest neighbors (k = 5)"]
    assert found["roc_auc"]["value"] == pytest.approx(roc_auc_score(labels, distance))
    expected = average_precision_score(labels, distance)
    assert found["average_precision"]["value"] == pytest.approx(expected)
    centered = PCA(0.95, svd_solver="full").fit(learned)
    left = ((rows - centered.inverse_transform(centered.transform(rows))) ** 2).sum(axis=1)
    found = record["baselines"]["PCA (95 % of the variance)"]
    assert found["roc_auc"]["value"] == pytest.approx(roc_auc_score(labels, left))
    forest = record["baselines"]["isolation forest"]["roc_auc"]["value"]
    assert forest > 0.5
    out, _ = run("evaluate", new, *args, normal)
    assert "this model" in out
    assert "isolation forest" in out


def test_baselines_learn_from_normal_rows_where_there_are_labels(new, model, tmp_path):
    args = ["-m", model, "--label", "label", "--alpha", "0.05", "--json", "--compare"]
    rows = pd.read_csv(new)
    rows[rows["label"] == 0].to_csv(tmp_path / "clean.csv", index=False)
    whole, clean = (
        json.loads(run("evaluate", new, *args, path)[0])["baselines"]
        for path in (new, tmp_path / "clean.csv")
    )
    assert whole == clean


def test_baselines_need_rows(new, model, tmp_path):
    pd.read_csv(new).head(12).to_csv(tmp_path / "few.csv", index=False)
    args = ["-m", model, "--label", "label", "--alpha", "0.05"]
    error = fails("evaluate", new, *args, "--compare", tmp_path / "few.csv")
    assert "has 4 normal rows, the baselines need 20 or more" in error


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ((0.5, 0.4, 0.65), "No baseline has a higher average precision."),
        (
            (0.7, 0.5, 0.8),
            "By average precision forest wins, though the intervals overlap: 0.7000",
        ),
        ((0.9, 0.8, 1.0), "By average precision forest wins, clearly: 0.9000 against 0.6000."),
    ],
)
def test_it_says_when_a_baseline_wins(theirs, words):
    def rated(value, lower, upper):
        estimate = {"value": value, "lower": lower, "upper": upper}
        return {"roc_auc": estimate, "average_precision": estimate}

    record = {**rated(0.6, 0.5, 0.7), "baselines": {"forest": rated(*theirs)}}
    assert evaluation.comparison_lines(record)[-1].startswith(words)


def test_rows_without_a_label_are_left_out(edited, model):
    path = edited({(i, "label"): "" for i in range(50, 60)})
    args = ["-m", model, "--label", "label", "--alpha", "0.05"]
    assert "(42 normal, 8 anomalies, 10 more without a label)" in run("evaluate", path, *args)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label", "lable"], "no column 'lable' (nearest: label)"),
        (["--label", "label", "--normal", "fine"], "No label is fine; there are: 0, 1"),
        (["--label", "city"], "has learned from city, so it is no label"),
        (["--label", "label", "--alpha", "0"], "alpha must be"),
    ],
)
def test_evaluate_refuses(options, message, new, model):
    assert message in fails("evaluate", new, "-m", model, *options)


def test_evaluate_needs_labels(edited, model):
    path = edited({(i, "label"): "" for i in range(60)})
    error = fails("evaluate", path, "-m", model, "--label", "label", "--alpha", "0.05")
    assert "No row has a label" in error


def test_a_tail_is_offered_where_there_is_one(new, model, tmp_path):
    """The model has too few held-out rows for one, and evaluate none at all."""
    out = ("-o", tmp_path / "o.csv")
    for args in (("score", new, *out), ("evaluate", new, "--label", "label")):
        _, err = run(*args, "-m", model, "--alpha", "0.0001")
        assert "raise --alpha" in err or "raise alpha" in err
        assert "tail" not in err


def test_evaluate_needs_both_kinds(edited, model):
    path = edited({(i, "label"): "0" for i in range(60)})
    error = fails("evaluate", path, "-m", model, "--label", "label", "--alpha", "0.05")
    assert "All labeled rows are normal" in error


# inspect, version


def test_inspect(model):
    out, _ = run("inspect", model)
    assert "trained on  160 rows" in out
    assert "held out    40 rows" in out
    assert ["city", "categorical", "String"] in [line.split() for line in out.splitlines()]
    record = json.loads(run("inspect", model, "--json")[0])
    assert record["config"]["n_members"] == 2
    assert record["calibration"]["n"] == 40
    assert [c["name"] for c in record["schema"]["columns"]][:2] == ["user", "age"]


def test_version():
    assert run("version")[0].startswith("improbable 0.")
    assert set(json.loads(run("version", "--json")[0])) == {"improbable", "python", "torch"}


# Errors


@pytest.mark.parametrize("command", ["score", "explain", "reconstruct", "impute"])
def test_what_cannot_be_read_is_one_line(command, new, model, tmp_path):
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    for args, message in (
        (["absent.csv", "-m", model], "there is no file absent.csv. Check"),
        ([tmp_path, "-m", model], "is a folder. Name a file in it, or several, as in '"),
        ([tmp_path / "torn.parquet", "-m", model], "cannot be read as parquet"),
        ([new, "-m", "absent"], "no model file absent. Check the path"),
        ([new, "-m", new], "not a model file"),
        ([new, "-m", tmp_path], "no model file"),
    ):
        error = fails(command, *args)
        assert message in error
        assert "\n" not in error


@pytest.mark.parametrize("command", ["score", "reconstruct", "impute"])
def test_what_cannot_be_written_is_said_first(command, model, tmp_path):
    for place, message in (
        (tmp_path / "no" / "o.csv", "is no folder that can be written to"),
        (tmp_path, "is a folder. Name a file in it."),
        (tmp_path / "o", "--output-format csv"),
        (tmp_path / "o.doc", "Pass one of csv, tsv, parquet, arrow, jsonl, as in --output-format"),
    ):
        assert message in fails(command, "absent.csv", "-m", model, "-o", place)


@pytest.mark.parametrize("command", ["score", "explain", "reconstruct", "impute"])
def test_a_renamed_column_is_named(command, new, model, tmp_path):
    (tmp_path / "i.csv").write_text(new.read_text().replace("height", "heigth"))
    error = fails(command, tmp_path / "i.csv", "-m", model)
    assert "missing:  height (nearest: heigth)" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--alpha", "2"], "alpha must be a number between 0 and 1, got 2.0"),
        (["--fdr", "0"], "fdr must be a number"),
        (["--tail"], "or leave out --tail"),
    ],
)
def test_score_refuses(options, message, new, model, tmp_path):
    assert message in fails("score", new, "-m", model, "-o", tmp_path / "o.csv", *options)
    assert os.listdir(tmp_path) == []


def test_a_retyped_column_is_refused(edited, model, tmp_path):
    path = edited({(i, "height"): "tall" for i in range(60)})
    error = fails("score", path, "-m", model, "-o", tmp_path / "o.csv")
    assert "re-typed: height" in error
    assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize("command", ["score", "reconstruct", "impute"])
@pytest.mark.parametrize("existing", [None, "precious\n"])
def test_a_bad_row_leaves_no_half_of_a_file(command, existing, new, model, tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK", 512)
    lines = new.read_text().splitlines()
    (tmp_path / "i.csv").write_text("\n".join([*lines[:40], "a,b", *lines[40:]]))
    out = tmp_path / "o.csv"
    if existing:
        out.write_text(existing)
    error = fails(command, tmp_path / "i.csv", "-m", model, "-o", out, "--batch-rows", 7)
    assert "Expected 8 columns, got 2" in error
    assert "\n" not in error
    assert sorted(os.listdir(tmp_path)) == (["i.csv", "o.csv"] if existing else ["i.csv"])
    assert not existing or out.read_text() == existing


def test_usage_errors_are_the_parsers_own(new):
    for args in (["score", new], ["score"], ["fit", new], ["explain", new, "--row", "x"]):
        assert "Usage: " in run(*args, code=2)[1]


def test_debug_shows_where_it_happened(model):
    done = CliRunner().invoke(app, ["--debug", "score", "absent.csv", "-m", str(model)])
    assert isinstance(done.exception, DataError)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted: no file was written\n"),
        (MemoryError(), 2, "error: there is not enough memory. Pass fewer rows, or a smaller"),
        (BrokenPipeError(), 141, ""),
        (TypeError("one\ntwo"), 2, "error: one two\n"),
        (PermissionError(errno.EACCES, "No way", "m"), 2, "error: No way: m. Check"),
    ],
)
def test_other_endings(error, code, line, new, model, monkeypatch):
    def end(path):
        raise error

    monkeypatch.setattr("improbable.persistence.load", end)
    out, err = run("score", new, "-m", model, code=code)
    assert out == ""
    assert err.startswith(line)
    assert err.count("\n") == bool(line)


def test_a_closed_pipe_is_left_quietly():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "improbable.cli", "version"],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == b""


def test_a_full_disk_is_a_data_error(monkeypatch):
    monkeypatch.setattr(
        files, "tempfile", SimpleNamespace(TemporaryFile=lambda: open("/dev/full", "r+b"))
    )
    batch = pa.record_batch({"a": ["x" * 100_000]})
    with pytest.raises(DataError, match="kept on disk.*TMPDIR"), spill(batch.schema) as kept:
        kept.write(batch)


def test_no_room_for_temporary_files_is_a_data_error(monkeypatch):
    def refuse():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "tempfile", SimpleNamespace(TemporaryFile=refuse))
    with pytest.raises(DataError, match="No space left"), spill(pa.schema([])):
        pass


# What is shown


def test_a_bar_counts_rows(new, model, tmp_path):
    args = ["-m", model, "-o", tmp_path / "o.csv", "--alpha", "0.05"]
    _, err = run("score", new, *args, "--progress")
    assert "scoring" in err
    assert "writing" in err
    assert "60 rows" in err
    assert "scoring" not in run("score", new, *args, "--no-progress")[1]


def test_tables_are_aligned_and_harmless():
    lines = console.aligned([("a", "long name"), ("\x1b[31m" + "x" * 99, "1")], numbers=(1,))
    assert len({len(line) for line in lines}) == 1
    assert "\x1b" not in lines[1]
    assert lines[1].endswith("…          1")


def test_numbers_are_short():
    shown = [console.number(v) for v in (None, float("nan"), 0.012345678, 1234567.0)]
    assert shown == ["", "", "0.01235", "1,234,567"]


# What a file of text means


def test_clock_times_mean_the_same_at_fit_and_at_score(tmp_path):
    rng = np.random.default_rng(0)
    at = [f"{hour:02d}:30" for hour in rng.integers(8, 12, 200)]
    frame = pd.DataFrame({"at": at, "x": rng.normal(size=200)})
    frame.to_csv(tmp_path / "a.csv", index=False)
    run("fit", tmp_path / "a.csv", "-o", tmp_path / "m.safetensors", *SMALL)
    run("score", tmp_path / "a.csv", "-m", tmp_path / "m.safetensors", "-o", tmp_path / "s.csv")
    assert all(row["warnings"] == "" for row in cells(tmp_path / "s.csv"))


@pytest.mark.parametrize("cell", ["0x{:04X}", "2024-01-01T00:00:00.{:09}"])
def test_a_file_that_fits_can_be_scored(tmp_path, cell):
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 200, 200)
    odd = [cell.format(number) for number in numbers]
    pd.DataFrame({"odd": odd, "x": rng.normal(size=200)}).to_csv(tmp_path / "a.csv", index=False)
    run("fit", tmp_path / "a.csv", "-o", tmp_path / "m.safetensors", *SMALL)
    run("score", tmp_path / "a.csv", "-m", tmp_path / "m.safetensors", "-o", tmp_path / "s.csv")
    assert len(cells(tmp_path / "s.csv")) == 200


def test_digits_of_text_survive_other_formats(tmp_path):
    rng = np.random.default_rng(0)
    zips = [f"{number:05d}" for number in rng.integers(1000, 9999, 120)]
    long = [f"94608216247{number:09d}" for number in rng.integers(0, 10**9, 120)]
    frame = pd.DataFrame({"zip": zips, "long": long, "x": rng.normal(size=120)})
    frame.to_csv(tmp_path / "a.csv", index=False)
    run("fit", tmp_path / "a.csv", "-o", tmp_path / "m.safetensors", *SMALL)
    run("score", tmp_path / "a.csv", "-m", tmp_path / "m.safetensors", "-o", tmp_path / "s.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert [str(line["zip"]) for line in lines] == zips
    assert [str(line["long"]) for line in lines] == long
    assert [line["x"] for line in lines] == frame["x"].tolist()


def test_labels_that_stand_for_nothing_are_no_anomalies(new, model, tmp_path):
    frame = pd.read_csv(new, dtype=str, keep_default_na=False)
    frame.loc[20:39, "label"] = "NA"
    frame.to_csv(tmp_path / "a.csv", index=False)
    record = json.loads(
        run("evaluate", tmp_path / "a.csv", "-m", model, "--label", "label", "--json")[0]
    )
    assert (record["rows"], record["anomalies"], record["unlabeled"]) == (40, 8, 20)


def test_a_model_is_not_written_over_what_it_learns_from(normal):
    before = normal.read_bytes()
    assert "is named twice" in fails("fit", normal, "-o", normal)
    assert normal.read_bytes() == before


def test_a_terminated_command_leaves_nothing(new, model, tmp_path):
    many, made = tmp_path / "many.csv", tmp_path / "made"
    head, *lines = new.read_text().splitlines(keepends=True)
    many.write_text(head + "".join(lines) * 2000)
    made.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "improbable.cli", "reconstruct", str(many), "-m", str(model),
         "-o", str(made / "s.csv"), "--batch-rows", "20"],
    )  # fmt: skip
    until = time.monotonic() + 60.0
    while not list(made.iterdir()) and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(60) == 143
    assert list(made.iterdir()) == []
