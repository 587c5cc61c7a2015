"""Every latent command, and every command on images, agrees with the library."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL, mixed_table
from numpy.testing import assert_allclose, assert_array_equal
from test_cli import fails, run
from test_images import NEW, ODD, TRAIN

from improbable import ImageCodec, VAEDetector, load, save
from improbable.latent.index import LatentIndex

TABLE = mixed_table(150, seed=3)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a model of a table and one of images, and items for each."""
    folder = tmp_path_factory.mktemp("tour")
    TABLE.to_csv(folder / "t.csv", index=False)
    options = {**SMALL, "max_steps": 20, "latent_dim": 3}
    save(VAEDetector(**options).fit(pd.read_csv(folder / "t.csv")), folder / "t.safetensors")
    np.savez(folder / "train.npz", images=TRAIN)
    np.savez(folder / "new.npz", images=np.concatenate([NEW[:10], ODD[:5]]))
    np.save(folder / "new.npy", NEW[:10])
    pd.DataFrame({"kind": ["plain"] * 10 + ["odd"] * 5}).to_csv(folder / "about.csv", index=False)
    options = {"random_state": 0, "max_steps": 60, "hidden": (8,), "latent_dim": 2, "n_draws": 2}
    save(VAEDetector(codec=ImageCodec(), **options).fit(TRAIN), folder / "i.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _there(home, monkeypatch):
    monkeypatch.chdir(home)


@pytest.fixture
def table_model(home):
    return load(home / "t.safetensors")


@pytest.fixture
def image_model(home):
    return load(home / "i.safetensors")


def assert_rows(path, wanted):
    wanted = wanted.reset_index(drop=True)
    found = pd.read_csv(path)
    assert list(found.columns) == list(wanted.columns)
    for name in found.columns:
        column = wanted[name]
        if pd.api.types.is_numeric_dtype(column):
            assert_allclose(found[name], column)
        else:
            assert found[name].astype(str).tolist() == column.astype(str).tolist()


def decoded(detector, z):
    return detector.decode(z).drop(columns="user")


def kept(path):
    frame = pd.read_csv(path)
    return frame.drop(columns=[c for c in frame.columns if c == "user"])


def test_decode_points(table_model, tmp_path):
    run(
        "decode",
        "-m",
        "t.safetensors",
        "--z",
        "0.5,-1,0",
        "--z",
        "0,0,0",
        "-o",
        tmp_path / "d.csv",
    )
    z = np.array([[0.5, -1.0, 0.0], [0.0, 0.0, 0.0]])
    assert_allclose(kept(tmp_path / "d.csv")["height"], decoded(table_model, z)["height"])
    pd.DataFrame(z, columns=["z_0", "z_1", "z_2"]).to_csv(tmp_path / "z.csv", index=False)
    run("decode", tmp_path / "z.csv", "-m", "t.safetensors", "-o", tmp_path / "e.csv")
    assert (tmp_path / "e.csv").read_text() == (tmp_path / "d.csv").read_text()
    np.save(tmp_path / "z.npy", z)
    run("decode", tmp_path / "z.npy", "-m", "t.safetensors", "-o", tmp_path / "f.csv", "--draw")
    assert len(pd.read_csv(tmp_path / "f.csv")) == 2


def test_traverse_and_interpolate(table_model, tmp_path):
    rows = pd.read_csv("t.csv")
    run(
        "traverse", "t.csv", "-m", "t.safetensors", "--row", 3, "--dim", 1,
        "--values", "-1,0,1", "-o", tmp_path / "a.csv",
    )  # fmt: skip
    wanted = table_model.traverse(rows[3:4], 1, [-1.0, 0.0, 1.0])
    assert_allclose(pd.read_csv(tmp_path / "a.csv")["height"], wanted["height"])
    run(
        "interpolate", "t.csv", "-m", "t.safetensors", "--from", 3, "--to", 7, "-n", 4,
        "--path", "slerp", "-o", tmp_path / "b.csv",
    )  # fmt: skip
    wanted = table_model.interpolate(rows[3:4], rows[7:8], 4, path="slerp")
    assert_allclose(pd.read_csv(tmp_path / "b.csv")["height"], wanted["height"])


def test_directions_and_steer(home, tmp_path):
    (tmp_path / "m").write_bytes((home / "t.safetensors").read_bytes())
    model = tmp_path / "m"
    words = ["--name", "male", "--column", "sex", "--with", "M", "--without", "F"]
    out, _ = run("directions", "add", "t.csv", "-m", model, *words, "--json", "--no-progress")
    assert str(int((TABLE["sex"] == "M").sum())) in out
    assert "male" in run("directions", "list", "-m", model)[0]
    run(
        "steer", "t.csv", "-m", model, "-d", "male", "--row", 2, "--amount", "0,2",
        "-o", tmp_path / "s.csv",
    )  # fmt: skip
    rows = pd.read_csv("t.csv")[2:3]
    detector = load(model)
    wanted = [detector.steer(rows, "male", a)["height"].iloc[0] for a in (0.0, 2.0)]
    assert_allclose(pd.read_csv(tmp_path / "s.csv")["height"], wanted)
    run("directions", "remove", "-m", model, "--name", "male")
    assert load(model).directions == {}
    assert "male" in fails("steer", "t.csv", "-m", model, "-d", "male")


def test_neighbors(table_model, tmp_path):
    index, model = tmp_path / "items.parquet", ["-m", "t.safetensors"]
    run("neighbors", "build", "t.csv", *model, "-o", index, "--id", "user", "--no-progress")
    whole = LatentIndex.load(index)
    assert len(whole) == 150
    out, _ = run(
        "neighbors", "search", "t.csv", *model, "--index", index, "--row", 3, "-k", 4,
        "--where", "sex=F", "--json",
    )  # fmt: skip
    rows = pd.read_csv("t.csv")
    wanted = whole.search(table_model.posterior(rows[3:4]), 4, where={"sex": "F"})
    line = json.loads(out.splitlines()[0])
    assert [item["id"] for item in line["neighbors"]] == wanted.ids[0].tolist()
    run(
        "neighbors", "search", "--index", index, "--z", "0,0,0", "-k", 3,
        "-o", tmp_path / "n.csv", "--metric", "euclidean",
    )  # fmt: skip
    found = pd.read_csv(tmp_path / "n.csv")
    assert found["id"].tolist() == whole.search(np.zeros(3), 3, "euclidean").ids[0].tolist()
    some = whole.ids[5]
    run("neighbors", "remove", "--index", index, "--id", some)
    assert some not in LatentIndex.load(index).ids
    rows[5:6].to_csv(tmp_path / "one.csv", index=False)
    run("neighbors", "add", tmp_path / "one.csv", *model, "--index", index, "--id", "user")
    assert LatentIndex.load(index).ids[-1] == some
    assert "Did you mean" in fails(
        "neighbors", "search", "--index", index, "--z", "0,0,0", "--metric", "kll"
    )


def test_cluster_and_latent(table_model, tmp_path):
    out, _ = run(
        "cluster", "t.csv", "-m", "t.safetensors", "-k", 3, "-o", tmp_path / "c.csv",
        "--centers", tmp_path / "m.csv", "--json",
    )  # fmt: skip
    found = pd.read_csv(tmp_path / "c.csv")
    wanted = table_model.cluster(pd.read_csv("t.csv"), 3, random_state=0)
    assert_array_equal(found["cluster"], wanted.labels)
    assert_allclose(found["divergence"], wanted.divergences)
    assert len(pd.read_csv(tmp_path / "m.csv")) == 3
    json.loads(out)
    out, _ = run("latent", "t.csv", "-m", "t.safetensors", "--json")
    summary = table_model.latent_summary(pd.read_csv("t.csv"))
    assert str(round(float(summary.activity[0]), 3))[:4] in out


def test_sample_given(tmp_path):
    run(
        "sample", "-m", "t.safetensors", "-n", 20, "--given", "sex=F", "--prior", "normal",
        "-o", tmp_path / "s.csv",
    )  # fmt: skip
    assert (pd.read_csv(tmp_path / "s.csv")["sex"] == "F").all()


def test_fit_and_score_images(tmp_path):
    model, images = tmp_path / "m", tmp_path / "s.csv"
    small = ["--max-steps", "5", "--hidden", "8", "--latent-dim", "2", "--draws", "2"]
    run("fit", "train.npz", "-o", model, *small, "--likelihood", "normal", "-q")
    assert load(model).model_.codec.likelihood == "normal"
    run("score", "new.npz", "-m", "i.safetensors", "-o", images, "--alpha", "0.05")
    found = pd.read_csv(images)
    detector = load("i.safetensors")
    stack = np.load("new.npz")["images"]
    assert_allclose(found["score"], detector.score_samples(stack))
    assert found["image"].tolist() == list(range(15))
    assert "inspect" not in run("inspect", "i.safetensors")[0]


def test_explain_and_rebuild_images(image_model, tmp_path):
    run("explain", "new.npz", "-m", "i.safetensors", "--row", "12", "-o", tmp_path / "maps.npz")
    stack = np.load("new.npz")["images"]
    wanted = image_model.explain(stack[12:13])
    with np.load(tmp_path / "maps.npz", allow_pickle=False) as maps:
        assert_allclose(maps["shares"], wanted.shares)
    assert "middle left" in run("explain", "new.npz", "-m", "i.safetensors", "--row", "12")[0]
    run("reconstruct", "new.npy", "-m", "i.safetensors", "-o", tmp_path / "r.npy")
    assert_array_equal(np.load(tmp_path / "r.npy"), image_model.reconstruct(NEW[:10]))
    run("sample", "-m", "i.safetensors", "-n", 4, "-o", tmp_path / "s.npz")
    run("decode", "-m", "i.safetensors", "--z", "0,1", "-o", tmp_path / "d.npy")
    assert_array_equal(np.load(tmp_path / "d.npy"), image_model.decode([0.0, 1.0]))


def test_folders_of_images(image_model, tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "in").mkdir()
    for i in range(3):
        image.fromarray(NEW[i]).save(tmp_path / "in" / f"{i}.png")
    run("score", tmp_path / "in", "-m", "i.safetensors", "-o", tmp_path / "s.csv")
    found = pd.read_csv(tmp_path / "s.csv")
    assert found["image"].tolist() == ["0.png", "1.png", "2.png"]
    run("interpolate", tmp_path / "in", "-m", "i.safetensors", "--from", 0, "--to", 2, "-n", 3,
        "-o", tmp_path / "out/")  # fmt: skip
    assert len(list((tmp_path / "out").iterdir())) == 3
    run("sample", "-m", "i.safetensors", "-n", 2, "-o", tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 0


def test_images_with_columns_about_them(tmp_path):
    run(
        "cluster", "new.npz", "-m", "i.safetensors", "-k", 2, "--labels", "about.csv",
        "-o", tmp_path / "c.csv",
    )  # fmt: skip
    assert pd.read_csv(tmp_path / "c.csv")["kind"].tolist() == ["plain"] * 10 + ["odd"] * 5
    index = tmp_path / "i.parquet"
    run(
        "neighbors",
        "build",
        "new.npz",
        "-m",
        "i.safetensors",
        "--labels",
        "about.csv",
        "-o",
        index,
    )
    out, _ = run(
        "neighbors", "search", "--index", index, "--z", "0,0", "-k", 2, "--where", "kind=odd"
    )
    assert "odd" in out or "1" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["score", "new.npz", "-m", "t.safetensors"], "learned from a table"),
        (["score", "t.csv", "-m", "i.safetensors"], "learned from images"),
        (["fit", "train.npz", "-o", "x", "--kind", "a=real"], "for tables"),
        (["fit", "t.csv", "-o", "x", "--array", "images"], "for images"),
        (["decode", "-m", "t.safetensors"], "pass"),
        (["decode", "-m", "t.safetensors", "--z", "1,x"], "1,x"),
        (["interpolate", "t.csv", "-m", "t.safetensors", "--from", "1"], "Two ends"),
        (["traverse", "t.csv", "-m", "t.safetensors", "--dim", "9"], "dim"),
        (["cluster", "t.csv", "-m", "t.safetensors", "-k", "x"], "x"),
        (["neighbors", "search", "--index", "t.csv", "--z", "0"], "t.csv"),
        (["sample", "-m", "t.safetensors", "--given", "sex"], "sex"),
        (["directions", "add", "t.csv", "-m", "t.safetensors", "--name", "a", "--column", "nope",
          "--with", "x"], "nope"),
    ],
)  # fmt: skip
def test_refusals(words, message):
    assert message in fails(*words)
