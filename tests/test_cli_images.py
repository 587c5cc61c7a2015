"""The command line for images: what it reads, what it writes, what it refuses."""

import json
import os
import shutil
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from test_cli import cells, fails, run

from improbable import load
from improbable.cli import album, outputs
from improbable.cli.inputs import InputFile, open_feed
from improbable.cli.scoring import RESULT
from improbable.data.files import read_table
from improbable.errors import DataError
from improbable.latent.index import LatentIndex

FIT = ["--max-steps", "12", "--hidden", "16", "--latent-dim", "2", "--draws", "4", "-q"]


def bars(n, seed):
    """Images of one bright bar each, and whether it stands on the left."""
    rng = np.random.default_rng(seed)
    images, place = rng.integers(0, 30, (n, 6, 7)), rng.integers(1, 6, n)
    images[np.arange(n), :, place] = 220
    return images.astype(np.uint8), np.where(place < 3, "left", "right")


def write_pictures(folder, images, names):
    folder.mkdir(parents=True)
    for image, name in zip(images, names, strict=True):
        Image.fromarray(image).save(folder / name)


@pytest.fixture(scope="session")
def studio(tmp_path_factory):
    """A folder with images as files and as arrays, four of 30 new ones odd, and two models."""
    root = tmp_path_factory.mktemp("images")
    images, side = bars(120, 0)
    new, sides = bars(30, 1)
    new[:4] = 255 - new[:4]
    odd = (np.arange(30) < 4).astype(int)
    np.save(root / "train.npy", images)
    np.savez(root / "all.npz", X_train=images, y_train=side, X_new=new, odd=odd, side=sides)
    np.savez(root / "one.npz", X=images / 255.0, side=side)
    names = [f"b{i:02d}.png" for i in range(30)]
    write_pictures(root / "new", new, names)
    (root / "new" / "notes.txt").write_text("not an image")
    about = pd.DataFrame({"image": names, "odd": odd, "side": sides})
    about.iloc[::-1].to_csv(root / "about.csv", index=False)
    run("fit", root / "train.npy", "-o", root / "m", *FIT)
    run("fit", root / "one.npz", "-o", root / "floats", *FIT)
    return root


@pytest.fixture
def model(studio):
    return studio / "m"


@pytest.fixture
def folder(studio):
    return studio / "new"


@pytest.fixture
def arrays(studio):
    return [studio / "all.npz", "--array", "X_new"]


@pytest.fixture(scope="session")
def detector(studio):
    return load(studio / "m")


@pytest.fixture(scope="session")
def new(studio):
    return np.load(studio / "all.npz")["X_new"]


# fit


def test_fit_sums_up(studio, tmp_path):
    out, _ = run("fit", studio / "train.npy", "-o", tmp_path / "m", *FIT[:-1])
    facts = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert facts["images"] == "120 of 6 x 7, 1 channel"
    assert facts["likelihood"] == "continuous_bernoulli"
    assert facts["held"] == "out   24 rows, p-values from 0.04 up"


def test_fit_on_the_normal_images_of_an_array(studio, tmp_path):
    chosen = ["--array", "X_train", "--label", "y_train", "--normal", "left"]
    options = ["--likelihood", "normal", "--contrast", "equal", "--json"]
    out, _ = run("fit", studio / "all.npz", "-o", tmp_path / "m", *FIT, *chosen, *options)
    record = json.loads(out)
    assert record["rows"] == (np.load(studio / "all.npz")["y_train"] == "left").sum()
    assert (record["shape"], record["likelihood"]) == ([1, 6, 7], "normal")
    codec = load(tmp_path / "m").model_.codec
    assert (codec.likelihood, codec.contrast) == ("normal", "equal")


def test_equal_contrast_takes_one_scale_for_all_pixels(studio, arrays, tmp_path):
    out, _ = run(
        "fit", studio / "train.npy", "-o", tmp_path / "m", *FIT[:-1], "--contrast", "equal"
    )
    facts = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert facts["likelihood"] == "normal_shared"
    out, _ = run("inspect", tmp_path / "m")
    assert "contrast equal, likelihood normal_shared" in out
    run("score", *arrays, "-m", tmp_path / "m", "-o", tmp_path / "o.csv")
    scored = np.array([float(row["score"]) for row in cells(tmp_path / "o.csv")])
    images = np.load(studio / "all.npz")["X_new"]
    np.testing.assert_array_equal(scored, load(tmp_path / "m").score_samples(images))


def test_fit_on_files_resized_and_chosen_by_a_table(studio, folder, tmp_path):
    about = ["--labels", studio / "about.csv", "--label", "odd"]
    run("fit", folder, "-o", tmp_path / "m", *FIT, "--size", "5x4", *about)
    fitted = load(tmp_path / "m").model_
    assert fitted.codec.shape == (1, 5, 4)
    assert len(fitted.held_out) == np.ceil(0.2 * 26)
    run("score", folder, "-m", tmp_path / "m", "-o", tmp_path / "o.csv", "--alpha", "0.2")
    assert len(cells(tmp_path / "o.csv")) == 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kind", "a=real"], "--kind is for tables. Leave it out."),
        (["--drop", "a"], "--drop is for tables. Leave it out."),
        (["--format", "csv"], "--format is for tables. Leave it out."),
        (["--likelihood", "poisson"], "No likelihood of images is called 'poisson'"),
        (["--contrast", "more"], "contrast must be"),
        (["--size", "6by7"], "--size 6by7 is not HEIGHTxWIDTH"),
        (["--array", "X"], "--array names an array of an .npz"),
        (["--label", "odd"], "no column 'odd'. --label takes a column of INPUT, or of --labels"),
        (["--normal", "0"], "Name the column with --label"),
        (["--labels", "absent.csv"], "there is no file absent.csv"),
    ],
)
def test_fit_refuses(options, message, folder, tmp_path):
    assert message in fails("fit", folder, "-o", tmp_path / "m", *FIT, *options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("option", ["--array", "--labels", "--size", "--contrast"])
def test_fit_on_a_table_refuses_what_is_for_images(option, tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n2\n")
    error = fails("fit", tmp_path / "t.csv", "-o", tmp_path / "m", option, "x")
    assert error == f"error: {option} is for images. Leave it out."


def test_fit_wants_more_than_one_image_and_arrays_of_one_size(studio, folder, tmp_path):
    assert "too few to fit" in fails("fit", folder / "b01.png", "-o", tmp_path / "m")
    error = fails("fit", studio / "train.npy", "-o", tmp_path / "m", "--size", "5x4")
    assert "--size is for images of a folder" in error


# score, evaluate


def test_score_of_a_folder(studio, folder, model, detector, new, tmp_path):
    out = tmp_path / "o.csv"
    _, err = run("score", folder, "-m", model, "-o", out, "--alpha", "0.05", "--batch-rows", 7)
    found, wanted = cells(out), detector.detect(new, alpha=0.05)
    assert list(found[0]) == ["image", *RESULT]
    assert [row["image"] for row in found] == [f"b{i:02d}.png" for i in range(30)]
    for name in ("p_value", "q_value", "score", "mc_se"):
        np.testing.assert_allclose([float(row[name]) for row in found], wanted[name], rtol=1e-9)
    assert [row["top_reasons"] for row in found] == wanted["top_reasons"].tolist()
    assert all(row["is_outlier"] == "true" for row in found[:4])
    assert "nats below its typical share" in found[0]["top_reasons"]
    assert err.startswith("30 rows, ")


def test_score_of_an_array_keeps_what_is_known(arrays, model, detector, new, tmp_path):
    run("score", *arrays, "-m", model, "-o", tmp_path / "o.parquet", "--alpha", "0.05")
    found = pq.read_table(tmp_path / "o.parquet")
    assert found.column_names == ["image", "odd", "side", *RESULT]
    assert found["image"].to_pylist() == list(range(30))
    assert found["odd"].to_pylist() == [1] * 4 + [0] * 26
    np.testing.assert_allclose(found["score"], detector.score_samples(new), rtol=1e-9)


def test_score_joins_a_table_by_the_names_of_files(studio, folder, model, tmp_path):
    rows = pd.read_csv(studio / "about.csv").iloc[3:]
    rows.to_parquet(tmp_path / "some.parquet")
    args = ["-m", model, "-o", tmp_path / "o.parquet", "--alpha", "0.05"]
    run("score", folder, *args, "--labels", tmp_path / "some.parquet")
    found = pq.read_table(tmp_path / "o.parquet")
    sides = dict(zip(rows["image"], rows["side"], strict=True))
    assert found["side"].to_pylist() == [sides.get(n) for n in found["image"].to_pylist()]


def test_labels_win_over_arrays_of_their_name(arrays, model, tmp_path):
    pd.DataFrame({"odd": range(30)}).to_csv(tmp_path / "l.csv", index=False)
    args = ["-m", model, "-o", tmp_path / "o.parquet", "--alpha", "0.05"]
    run("score", *arrays, *args, "--labels", tmp_path / "l.csv")
    found = pq.read_table(tmp_path / "o.parquet")
    assert found.column_names == ["image", "side", "odd", *RESULT]
    assert found["odd"].to_pylist() == list(range(30))


def test_memory_is_bounded_by_pixels(folder, detector, monkeypatch):
    monkeypatch.setattr(album, "BATCH_ENTRIES", 5 * detector.model_.codec.event_size)
    read = album.pictures.read_file
    seen = []
    monkeypatch.setattr(album.pictures, "read_file", lambda *a: seen.append(a) or read(*a))
    feed = iter(open_feed(InputFile(str(folder)), detector.model_.codec))
    batch, images = next(feed)
    assert batch.num_rows == images.n_rows == len(seen) == 5


def test_evaluate(studio, arrays, folder, model):
    args = ["-m", model, "--label", "odd", "--alpha", "0.05", "--json"]
    out, _ = run("evaluate", *arrays, *args)
    record = json.loads(out)
    assert (record["normal"], record["anomalies"]) == (26, 4)
    assert record["roc_auc"]["value"] == 1.0
    assert run("evaluate", folder, *args, "--labels", studio / "about.csv")[0] == out
    error = fails("evaluate", folder, *args)
    assert "no column 'odd'. --label takes a column of INPUT, or of --labels for images." in error


def test_labels_of_an_array_are_called_label(studio, folder, model, tmp_path):
    np.save(tmp_path / "l.npy", np.arange(30) < 4)
    args = ["-m", model, "--alpha", "0.05", "--labels", tmp_path / "l.npy", "--label", "label"]
    assert "(26 normal, 4 anomalies)" in run("evaluate", folder, *args)[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.csv", "a\n1\n2\n", "has 2 rows, there are 30 images"),
        ("l.csv", "image,a\nq.png,1\n", "must hold their names, such as b00.png"),
        ("l.npy", np.zeros((30, 2)), "is no list of labels"),
        ("l.npy", b"junk", "cannot be read as arrays: it is damaged, or holds objects. Save it"),
    ],
)
def test_labels_that_do_not_fit(name, content, message, folder, model, tmp_path):
    path = tmp_path / name
    if isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in fails("score", folder, "-m", model, "--labels", path)


# explain


def test_explain_in_words(folder, model, detector, new):
    out, _ = run("explain", folder, "-m", model, "--top", 2, "--columns", 3, "--batch-rows", 7)
    heads = [line.split() for line in out.splitlines() if line.startswith("row ")]
    worst = np.argsort(detector.score_samples(new))[:2]
    assert [int(head[1]) for head in heads] == worst.tolist()
    assert heads[0][2] == f"(b{worst[0]:02d}.png)"
    lines = out.splitlines()
    assert lines[1].split() == ["region", "surprise"]
    place = detector.explain(new[worst[:1]]).regions(0)[0]
    assert lines[2].split() == [*place[1].split(), f"{place[0]:.2f}"]


def test_explain_one_file_in_json(folder, model, detector, new, monkeypatch):
    monkeypatch.chdir(folder)
    out, _ = run("explain", "b02.png", "-m", model, "--json")
    record, wanted = json.loads(out), detector.explain(new[2:3])
    assert (record["row"], record["image"]) == (0, "b02.png")
    assert record["reasons"] == wanted.reasons(0)
    assert record["score"] == pytest.approx(detector.score_samples(new)[2])
    assert [region["place"] for region in record["regions"]] == [p for _, p in wanted.regions(0)]


@pytest.mark.parametrize("source", ["folder", "array"])
def test_explain_writes_maps(source, folder, arrays, model, detector, new, tmp_path):
    given = [folder] if source == "folder" else arrays
    out, _ = run("explain", *given, "-m", model, "--row", 8, "--row", 2, "-o", tmp_path / "m.npz")
    maps, wanted = np.load(tmp_path / "m.npz"), detector.explain(new[[8, 2]])
    names = ["b08.png", "b02.png"] if source == "folder" else [8, 2]
    assert maps["name"].tolist() == names
    for name in ("images", "shares", "surprise", "p_values", "expected"):
        np.testing.assert_allclose(maps[name], getattr(wanted, name), rtol=1e-9)
    assert out.startswith("row 8")


def test_explain_writes_a_table_of_a_table(tmp_path):
    rng = np.random.default_rng(0)
    pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc")).to_csv(tmp_path / "t.csv")
    run("fit", tmp_path / "t.csv", "-o", tmp_path / "m", *FIT, "--hidden", "8")
    args = ["-m", tmp_path / "m", "--row", 7, "--row", 5]
    run("explain", tmp_path / "t.csv", *args, "-o", tmp_path / "o.csv")
    found = read_table(tmp_path / "o.csv").to_pydict()
    n = len(found["row"]) // 2
    assert found["row"] == [7] * n + [5] * n
    wanted = load(tmp_path / "m").explain(read_table(tmp_path / "t.csv").take([7, 5]))
    np.testing.assert_allclose(found["share"], wanted.to_frame()["share"], rtol=1e-9)
    out, err = run("explain", tmp_path / "t.csv", *args, "-o", "-")
    assert out.startswith("row,column,value")
    assert "interval" not in out + err


@pytest.mark.parametrize("options", [["-o", "m.csv"], ["-o", "m.npz", "--output-format", "csv"]])
def test_explain_refuses_tables_of_images(options, folder, model):
    assert "is no place for maps. Name an .npz" in fails("explain", folder, "-m", model, *options)


# What is written


def test_reconstruct_into_arrays(folder, arrays, model, detector, new, tmp_path):
    wanted = detector.reconstruct(new)
    _, err = run("reconstruct", folder, "-m", model, "-o", tmp_path / "o.npz", "--batch-rows", 7)
    found = np.load(tmp_path / "o.npz")
    np.testing.assert_array_equal(found["images"], wanted)
    assert found["name"].tolist() == sorted(n for n in os.listdir(folder) if n.endswith(".png"))
    assert err == "30 rows reconstructed\n"
    run("reconstruct", *arrays, "-m", model, "-o", tmp_path / "o.npy", "--batch-rows", 7)
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), wanted)
    run("score", tmp_path / "o.npz", "-m", model, "-o", tmp_path / "s.csv", "--alpha", "0.05")
    assert [row["name"] for row in cells(tmp_path / "s.csv")] == found["name"].tolist()


def test_reconstruct_into_a_folder(folder, model, detector, new, tmp_path):
    run("reconstruct", folder, "-m", model, "-o", tmp_path / "o", "--batch-rows", 7)
    wanted = detector.reconstruct(new)
    assert len(os.listdir(tmp_path / "o")) == 30
    for i in (0, 29):
        np.testing.assert_array_equal(Image.open(tmp_path / "o" / f"b{i:02d}.png"), wanted[i])


def test_files_of_one_stem_stay_apart(studio, model, detector, new, tmp_path):
    write_pictures(tmp_path / "i", new[[5, 5]], ["a.png", "a.bmp"])
    (tmp_path / "o").mkdir()
    run("reconstruct", tmp_path / "i", "-m", model, "-o", tmp_path / "o")
    assert sorted(os.listdir(tmp_path / "o")) == ["a.bmp.png", "a.png.png"]


def test_sample(model, detector, tmp_path):
    wanted = detector.sample(12, random_state=5)
    args = ["sample", "-m", model, "-n", 12, "--seed", 5, "-o"]
    run(*args, tmp_path / "o.npz")
    np.testing.assert_array_equal(np.load(tmp_path / "o.npz")["images"], wanted)
    run(*args, f"{tmp_path}/f.old/")
    assert sorted(os.listdir(tmp_path / "f.old"))[0] == "00.png"
    assert json.loads(run(*args, tmp_path / "o.png", "--json")[0])["rows"] == 12
    np.testing.assert_array_equal(Image.open(tmp_path / "o.png"), np.hstack(list(wanted)))


def test_floats_are_written_as_they_are_and_drawn_as_bytes(studio, tmp_path):
    args = ["-m", studio / "floats", "--z", "0,0", "--z", "1,1"]
    run("decode", *args, "-o", tmp_path / "o.npy")
    run("decode", *args, "-o", tmp_path / "o.png")
    found, codec = np.load(tmp_path / "o.npy"), load(studio / "floats").model_.codec
    assert found.dtype == np.float64
    scaled = 255 * np.clip((found - codec.low) / (codec.high - codec.low), 0, 1)
    np.testing.assert_array_equal(Image.open(tmp_path / "o.png"), np.hstack(scaled.round()))


def test_impute_fills_missing_pixels(studio, tmp_path):
    holes = np.load(studio / "one.npz")["X"][:5]
    holes[2, 1:3] = np.nan
    np.save(tmp_path / "h.npy", holes)
    run("impute", tmp_path / "h.npy", "-m", studio / "floats", "-o", tmp_path / "o.npy")
    found = np.load(tmp_path / "o.npy")
    np.testing.assert_allclose(found, load(studio / "floats").impute(holes), rtol=1e-9)
    assert np.isfinite(found).all()


def test_color_images_of_a_folder(tmp_path):
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 255, (24, 5, 5, 3)).astype(np.uint8)
    write_pictures(tmp_path / "i", colors, [f"{i:02d}.png" for i in range(24)])
    Image.fromarray(colors[0, ..., 0]).save(tmp_path / "i" / "gray.png")
    run("fit", tmp_path / "i", "-o", tmp_path / "m", *FIT)
    run(
        "reconstruct",
        tmp_path / "i",
        "-m",
        tmp_path / "m",
        "-o",
        tmp_path / "o",
        "--batch-rows",
        1,
    )
    assert Image.open(tmp_path / "o" / "gray.png").size == (5, 5)
    assert Image.open(tmp_path / "o" / "gray.png").mode == "RGB"
    run("sample", "-m", tmp_path / "m", "-o", tmp_path / "s.npy")
    assert np.load(tmp_path / "s.npy").shape == (100, 5, 5, 3)


def test_gray_files_go_to_a_model_of_colored_ones_as_in_the_library(tmp_path):
    images, _ = bars(30, 3)
    names = [f"{i:02d}.png" for i in range(30)]
    write_pictures(tmp_path / "c", np.repeat(images[..., None], 3, 3), names)
    write_pictures(tmp_path / "g", images[:3], names[:3])
    run("fit", tmp_path / "c", "-o", tmp_path / "m", *FIT)
    run("score", tmp_path / "g", "-m", tmp_path / "m", "-o", tmp_path / "o.csv")
    scored = [float(row["score"]) for row in cells(tmp_path / "o.csv")]
    np.testing.assert_allclose(load(tmp_path / "m").score_samples(tmp_path / "g"), scored)


def test_files_of_16_bits_keep_their_depth(studio, tmp_path):
    deep = bars(30, 3)[0].astype(np.uint16) * 12
    names = [f"{i:02d}.png" for i in range(30)]
    write_pictures(tmp_path / "i", deep, names)
    run("fit", tmp_path / "i", "-o", tmp_path / "m", *FIT)
    detector = load(tmp_path / "m")
    assert (detector.model_.codec.dtype, detector.model_.codec.high) == ("uint16", 2640.0)
    run("score", tmp_path / "i", "-m", tmp_path / "m", "-o", tmp_path / "o.csv")
    scored = [float(row["score"]) for row in cells(tmp_path / "o.csv")]
    np.testing.assert_allclose(scored, detector.score_samples(deep))
    for output in ("o.npy", "o"):
        run("reconstruct", tmp_path / "i", "-m", tmp_path / "m", "-o", tmp_path / output)
    wanted = detector.reconstruct(deep)
    assert np.load(tmp_path / "o.npy").dtype == np.uint16
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), wanted)
    np.testing.assert_array_equal(Image.open(tmp_path / "o" / "07.png"), wanted[7])
    write_pictures(tmp_path / "j", [deep[0], deep[1].astype(np.uint8)], ["a.png", "b.png"])
    error = fails("score", tmp_path / "j", "-m", tmp_path / "m")
    assert "b.png holds levels of uint8, a.png of uint16. Convert the images to one" in error
    error = fails("score", tmp_path / "i", "-m", studio / "m")
    assert "The detector was fitted on levels 0 to 255" in error


@pytest.mark.parametrize("dtype", [np.uint8, bool])
def test_masks_are_written_as_they_came(dtype, tmp_path):
    masks = (bars(30, 3)[0] > 100).astype(dtype)
    np.save(tmp_path / "x.npy", masks)
    run("fit", tmp_path / "x.npy", "-o", tmp_path / "m", *FIT)
    run("sample", "-m", tmp_path / "m", "-n", 4, "-o", tmp_path / "o.npy")
    run("sample", "-m", tmp_path / "m", "-n", 4, "-o", tmp_path / "o.png")
    found = np.load(tmp_path / "o.npy")
    assert found.dtype == dtype
    assert found.max() <= 1
    factor = 255 if dtype is bool else 1
    np.testing.assert_array_equal(Image.open(tmp_path / "o.png"), np.hstack(found) * factor)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("-", "Standard output takes no images. Name an .npz, an .npy, one .png or a folder"),
        ("o.csv", "o.csv is no place for images"),
        ("no/o.npz", "is no folder that can be written to"),
        ("no/o", "is no folder that can be written to"),
        ("full", "is a folder that is not empty. Name a new one."),
        ("full/a.txt/", "is a file. Name a new folder"),
        ("many.png", "101 images are too many for one .png"),
    ],
)
def test_what_cannot_be_written_is_said(output, message, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("precious")
    assert message in fails("sample", "-m", model, "-n", 101, "-o", output)
    assert os.listdir(tmp_path) == ["full"]
    assert os.listdir(tmp_path / "full") == ["a.txt"]


def test_sample_refuses_what_is_for_tables(model):
    args = ["sample", "-m", model, "-o", "o.npz"]
    assert "--given holds columns of a table" in fails(*args, "--given", "a=1")
    assert "--output-format is for tables" in fails(*args, "--output-format", "csv")


@pytest.mark.parametrize("name", ["o.npz", "o.npy", "o"])
def test_a_bad_image_leaves_no_half_of_anything(name, folder, model, new, tmp_path):
    write_pictures(tmp_path / "i", new[:3], ["a.png", "b.png", "c.png"])
    (tmp_path / "i" / "c.png").write_text("torn")
    args = ["reconstruct", tmp_path / "i", "-m", model, "-o", tmp_path / name, "--batch-rows", 1]
    assert "c.png cannot be read as an image" in fails(*args)
    assert os.listdir(tmp_path) == ["i"]


@pytest.mark.parametrize("name", ["o.npz", "o"])
def test_a_full_disk_is_one_line(name, model, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs, "_stacked", refuse)
    monkeypatch.setattr(outputs, "_picture", refuse)
    error = fails("sample", "-m", model, "-o", tmp_path / name)
    assert "cannot be written (No space left on device). Name another." in error
    assert os.listdir(tmp_path) == []


def test_channels_that_no_picture_has(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.integers(0, 255, (24, 4, 4, 5)).astype(np.uint8))
    run("fit", tmp_path / "x.npy", "-o", tmp_path / "m", *FIT)
    error = fails("sample", "-m", tmp_path / "m", "-o", tmp_path / "o")
    assert "Images of 5 channels are no PNG. Name an .npz or .npy." in error
    assert "5 channels, levels 0 to 255" in run("inspect", tmp_path / "m")[0]


def test_pillow_is_asked_for(model, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL", None)
    error = fails("sample", "-m", model, "-o", tmp_path / "o.png")
    assert "pip install 'improbable[images]'" in error


# What cannot be read


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.npz", "there is no file or folder absent.npz"),
        ("absent", "there is no file or folder absent"),
        ("bad.npz", "bad.npz cannot be read as arrays: File is not a zip file. Save it again."),
        ("flat.npz", "holds no array of shape n x height x width: X 5x4, y 5. Save one, or pass"),
        ("empty.npz", "height x width: nothing."),
        ("two.npz", "several arrays of images: A 5x4x4, B 5x4x4. Name one, as in --array A."),
        ("small.npy", "Images are 4 x 4 with 1 channels"),
        ("zero.npy", "cannot be read as arrays: len() of unsized object"),
        ("floats.npy", "The detector was fitted on levels 0 to 255"),
        ("none", "none holds no image files"),
        ("sizes", "b.png is 5 x 7 with 3 channels, the model learned from images of 6 x 7 with 1"),
        ("t.csv", "t.csv is no image, folder, .npz or .npy. Pass images, or a model of tables."),
        ("-", "The model learned from images, and - is no image"),
    ],
)
def test_what_is_no_images(name, message, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flat, small = np.zeros((5, 4)), np.zeros((5, 4, 4), np.uint8)
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04x")
    np.savez("flat.npz", X=flat, y=flat[:, 0])
    np.savez("empty.npz")
    np.savez("two.npz", A=small, B=small)
    np.save("small.npy", small)
    np.save("zero.npy", np.float64(1))
    np.save("floats.npy", np.full((3, 6, 7), 300.0))
    (tmp_path / "none").mkdir()
    write_pictures(tmp_path / "sizes", [np.zeros((5, 7, 3), np.uint8)], ["b.png"])
    (tmp_path / "t.csv").write_text("a\n1\n")
    error = fails("score", name, "-m", model)
    assert message in error
    assert "\n" not in error


def test_an_array_by_its_name(studio, model):
    error = fails("score", studio / "all.npz", "-m", model, "--array", "X_old")
    assert "has no array 'X_old'; it has X_train 120x6x7" in error


def test_images_are_not_for_a_model_of_tables(studio, folder, tmp_path):
    pd.DataFrame({"a": np.arange(30.0)}).to_csv(tmp_path / "t.csv")
    run("fit", tmp_path / "t.csv", "-o", tmp_path / "m", *FIT)
    for path in (folder, studio / "all.npz", folder / "b00.png"):
        error = fails("score", path, "-m", tmp_path / "m")
        assert "looks like images or arrays. Pass a table, or a model of images." in error
    error = fails("score", tmp_path / "t.csv", "-m", tmp_path / "m", "--array", "x")
    assert "--array is for images" in error


def test_a_codec_of_another_kind_is_refused():
    with pytest.raises(DataError, match="does not read what int does yet"):
        open_feed(InputFile("x"), 3)


def test_inspect(studio):
    out, _ = run("inspect", studio / "m")
    pixels = "images of 6 x 7, 1 channel, levels 0 to 255, contrast kept"
    assert f"trained on  {pixels}, likelihood continuous_bernoulli" in out
    assert "directions  none" in out
    assert json.loads(run("inspect", studio / "m", "--json")[0])["schema"]["shape"] == [1, 6, 7]


# Latent space


def test_a_strip_from_one_image_to_another(folder, model, detector, new, tmp_path):
    args = ["-m", model, "-o", tmp_path / "o.png"]
    run("interpolate", folder, *args, "--from", 5, "--to", 9, "-n", 3)
    wanted = detector.interpolate(new[5:6], new[9:10], 3)
    np.testing.assert_array_equal(Image.open(tmp_path / "o.png"), np.hstack(list(wanted)))
    run("traverse", folder, *args, "--row", 5, "--dim", 1, "--values", "0,1")
    wanted = detector.traverse(new[5:6], 1, [0.0, 1.0])
    np.testing.assert_array_equal(Image.open(tmp_path / "o.png"), np.hstack(list(wanted)))


def test_directions_of_images(studio, folder, model, new, tmp_path):
    own = tmp_path / "own"
    own.write_bytes(model.read_bytes())
    groups = ["--labels", studio / "about.csv", "--column", "side", "--with", "right"]
    run("directions", "add", folder, "-m", own, "--name", "right", *groups)
    detector = load(own)
    assert (
        detector.directions["right"].n_with
        == (pd.read_csv(studio / "about.csv")["side"] == "right").sum()
    )
    run("steer", folder, "-m", own, "-d", "right", "-o", tmp_path / "o.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), detector.steer(new, "right"))


def test_neighbors_of_images(studio, folder, arrays, model, tmp_path):
    about = ["--labels", studio / "about.csv"]
    index = tmp_path / "i.parquet"
    run("neighbors", "build", folder, "-m", model, "-o", index, *about)
    found = LatentIndex.load(index)
    assert found.ids.tolist() == [f"b{i:02d}.png" for i in range(30)]
    assert found.columns.column_names == ["odd", "side"]
    args = ["-m", model, "--index", index, "-k", 1, "--json"]
    out, _ = run("neighbors", "search", folder / "b07.png", *args, "--where", "odd=0..0")
    record = json.loads(out)
    assert record["query"] == "b07.png"
    assert len(record["neighbors"]) == 1
    out, _ = run("neighbors", "search", *arrays, *args, "--row", 7)
    assert json.loads(out)["query"] == 7
    run("neighbors", "build", *arrays, "-m", model, "-o", index)
    run("neighbors", "add", *arrays, "-m", model, "--index", index)
    assert LatentIndex.load(index).ids.tolist() == list(range(60))


def test_cluster_of_images(studio, folder, model, detector, new, tmp_path):
    args = ["-k", 2, "-o", tmp_path / "o.csv", "--centers", tmp_path / "c"]
    _, err = run("cluster", folder, "-m", model, *args, "--labels", studio / "about.csv")
    wanted = detector.cluster(new, 2, random_state=0)
    found = cells(tmp_path / "o.csv")
    assert list(found[0])[:3] == ["image", "odd", "side"]
    assert [int(row["cluster"]) for row in found] == wanted.labels.tolist()
    assert f"b{wanted.exemplars[0]:02d}.png" in err.splitlines()[1]
    assert sorted(os.listdir(tmp_path / "c")) == ["0.png", "1.png"]


def test_neither_labels_nor_images_of_a_folder_are_written_over(folder, model, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(folder, images)
    names = sorted(os.listdir(images))
    labels = tmp_path / "labels.csv"
    pd.DataFrame({"image": names, "odd": 0}).to_csv(labels, index=False)
    before = labels.read_bytes(), (images / names[3]).read_bytes()
    told = fails("score", images, "-m", model, "--labels", labels, "-o", labels)
    assert "labels.csv is named twice" in told
    for verb in (["reconstruct"], ["plot", "surprise", "-n", "1"]):
        assert "is named twice" in fails(*verb, images, "-m", model, "-o", images / names[3])
    assert (labels.read_bytes(), (images / names[3]).read_bytes()) == before
    for _ in range(2):  # what is no image may stand among them, and be made again
        run("score", images, "-m", model, "-o", images / "scored.csv")
