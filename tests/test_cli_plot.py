"""Pictures from the command line."""

import numpy as np
import pytest
from conftest import SMALL, mixed_table
from test_cli import fails, run
from test_images import NEW, TRAIN

from improbable import ImageCodec, VAEDetector, save

pytest.importorskip("matplotlib")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a model of a table and one of images, and rows for each."""
    folder = tmp_path_factory.mktemp("plots")
    table = mixed_table(120, seed=3)
    table.to_csv(folder / "t.csv", index=False)
    save(VAEDetector(**{**SMALL, "max_steps": 5}).fit(table), folder / "t.safetensors")
    np.savez(folder / "i.npz", images=NEW)
    options = {"random_state": 0, "max_steps": 5, "hidden": (8,), "latent_dim": 2, "n_draws": 2}
    detector = VAEDetector(codec=ImageCodec(), **options).fit(TRAIN)
    save(detector, folder / "i.safetensors")
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["map", "t.csv", "-m", "t.safetensors"],
        ["map", "t.csv", "-m", "t.safetensors", "--color", "score"],
        ["map", "t.csv", "-m", "t.safetensors", "--color", "city"],
        ["map", "t.csv", "-m", "t.safetensors", "--color", "height"],
        ["map", "i.npz", "-m", "i.safetensors", "--color", "p_value"],
        ["p-values", "t.csv", "-m", "t.safetensors"],
        ["training", "-m", "t.safetensors"],
        ["samples", "-m", "i.safetensors", "-n", "3"],
        ["surprise", "i.npz", "-m", "i.safetensors", "-n", "2"],
        ["traversals", "i.npz", "-m", "i.safetensors", "--row", "3"],
    ],
    ids=" ".join,
)
def test_pictures_are_written(words, home, tmp_path, monkeypatch):
    monkeypatch.chdir(home)
    run("plot", *words, "-o", tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(PNG)


def test_other_formats(home, tmp_path):
    run("plot", "training", "-m", home / "t.safetensors", "-o", tmp_path / "p.svg")
    assert b"<svg" in (tmp_path / "p.svg").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["map", "t.csv", "-m", "t.safetensors", "-o", "p.txt"], "is no picture"),
        (["map", "t.csv", "-m", "t.safetensors", "-o", "p.png", "--color", "x"], "no column 'x'"),
        (["samples", "-m", "t.safetensors", "-o", "p.png"], "learned from a table"),
        (["surprise", "t.csv", "-m", "i.safetensors", "-o", "p.png"], "learned from images"),
        (["traversals", "i.npz", "-m", "i.safetensors", "--row", "99", "-o", "p.png"], "image 99"),
    ],
)
def test_refusals(words, message, home, monkeypatch):
    monkeypatch.chdir(home)
    assert message in fails("plot", *words)
    assert not (home / "p.png").exists()
