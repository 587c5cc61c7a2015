"""`improbable score --engine ray` beside the same command in one process."""

import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import SMALL, mixed_table
from typer.testing import CliRunner

from improbable import ImageCodec, VAEDetector, save
from improbable.cli import app

pytestmark = pytest.mark.xdist_group("ray")


def score(*args, code=0):
    done = CliRunner().invoke(app, ["score", *map(str, args)])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    mixed_table(300, seed=0).to_csv(folder / "train.csv", index=False)
    rows = mixed_table(500, seed=1)
    rows.loc[::40, "height"] = 400.0
    rows["city"] = ""
    rows.to_csv(folder / "new.csv", index=False)
    options = ["--max-steps", "20", "--hidden", "16", "-o", folder / "m.safetensors"]
    command = ["fit", folder / "train.csv", *options]
    assert CliRunner().invoke(app, list(map(str, command))).exit_code == 0
    return folder


def test_a_cluster_of_its_own_gives_the_same_file(home):
    """Text in, typed columns out, a column without any value, drift, q-values, a prefix."""
    given = [home / "new.csv", "-m", home / "m.safetensors", "--batch-rows", 90, "--fdr", 0.2]
    given += ["--prefix", "x_"]
    alone = score(*given, "-o", home / "alone.parquet")
    found = score(*given, "-o", home / "ray.parquet", "--engine", "ray", "--workers", 2)
    assert pq.read_table(home / "ray.parquet").equals(pq.read_table(home / "alone.parquet"))
    speed = "rows/s"
    assert found.stderr.split(speed)[1] == alone.stderr.split(speed)[1]
    assert found.stderr.split(", ")[:2] == alone.stderr.split(", ")[:2]
    assert "flagged at false discovery rate 0.2" in found.stderr
    assert sys.modules["ray"].is_initialized() is False


def test_images_on_a_cluster(home, tmp_path, monkeypatch):
    """Images, the user's own connection, and what is said once of a level out of reach."""
    ray = pytest.importorskip("ray")
    images = np.random.default_rng(0).integers(0, 255, (60, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "new.npz", images=images)
    params = {**SMALL, "max_steps": 5, "hidden": (8,)}
    save(VAEDetector(codec=ImageCodec(), **params).fit(images), tmp_path / "m.safetensors")
    given = [tmp_path / "new.npz", "-m", tmp_path / "m.safetensors", "--batch-rows", 16]
    alone = score(*given, "-o", tmp_path / "alone.csv")
    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init(address="local", num_cpus=1, object_store_memory=100 * 2**20, **options)
    try:
        found = score(*given, "-o", tmp_path / "ray.csv", "--engine", "ray")
        too_many = score(*given, "--engine", "ray", "--workers", 2, code=2)
        assert ray.is_initialized()
    finally:
        ray.shutdown()
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()
    assert found.stderr.count("held-out rows support") == 1
    assert alone.stderr.count("held-out rows support") == 1
    assert "error: The cluster has no room for 2 workers, one a processor." in too_many.stderr


def test_options_that_do_not_go_together(home):
    given = [home / "new.csv", "-m", home / "m.safetensors"]
    said = score(*given, "--workers", 2, code=2).stderr
    assert said == "error: --workers is for --engine ray. Leave it out.\n"
    said = score(*given, "--engine", "spark", code=2).stderr
    assert said == "error: --engine must be local or ray, got 'spark'.\n"


def test_without_ray_one_sentence_names_the_remedy(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    out = home / "none.csv"
    given = [home / "new.csv", "-m", home / "m.safetensors", "-o", out, "--engine", "ray"]
    said = score(*given, code=2).stderr
    assert "error: Working on a cluster needs Ray. Install it: pip install" in said
    assert "improbable[ray]" in said
    assert not out.exists()


def test_help_imports_neither_ray_nor_torch():
    code = (
        "import sys; sys.argv = ['improbable', 'score', '--help']\n"
        "from improbable.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'ray', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--engine" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
