"""Scores and fits of a two-worker cluster beside those of one process, with workers killed."""

import logging
import os
import signal
import sys
import threading
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import SMALL, mixed_table
from typer.testing import CliRunner

from improbable import Cyclic, ImageCodec, ImprobableError, VAEDetector, save, training
from improbable.cli import app
from improbable.distributed import cluster as clusters
from improbable.distributed import fit_distributed, fitting, score_dataset, scoring
from improbable.distributed.scoring import NEVER, Judge
from improbable.errors import CalibrationWarning, DataError, FormatError, SchemaError
from improbable.fitting import fit_model
from improbable.judging import Question, decoded_row, extended, judge
from improbable.settings import check_settings

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.xdist_group("ray")
BATCH_ROWS = 128


@pytest.fixture(scope="module")
def cluster():
    """Room for two workers on this machine, and for some that a job before them left behind."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=100 * 2**20,
    )
    data = pytest.importorskip("ray.data")

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def home(tmp_path_factory, detector):
    """A model, and new rows in one file and in six, one column without any value."""
    folder = tmp_path_factory.mktemp("distributed")
    save(detector, folder / "m.safetensors")
    rows = mixed_table(900, seed=1)
    rows.loc[::50, "height"] = 400.0
    table = pa.Table.from_pandas(rows, preserve_index=False)
    place = table.column_names.index("city")
    table = table.set_column(place, "city", pa.nulls(len(rows), pa.string()))
    pq.write_table(table, folder / "new.parquet")
    (folder / "new").mkdir()
    for i in range(6):
        pq.write_table(table.slice(150 * i, 150), folder / "new" / f"{i}.parquet")
    return folder


def scored_alone(home, *options):
    """What `improbable score` writes in one process."""
    files = [home / "new.parquet", "-m", home / "m.safetensors", "-o", home / "alone.parquet"]
    rows = ["--batch-rows", BATCH_ROWS]
    done = CliRunner().invoke(app, ["score", *map(str, [*files, *rows, *options])])
    assert done.exit_code == 0, done.output
    return pq.read_table(home / "alone.parquet")


def collected(dataset):
    return pa.concat_tables(dataset.iter_batches(batch_format="pyarrow", batch_size=None))


def assert_same(found, wanted, prefix=""):
    """Same columns, types, order and values; standard errors to the last digits."""
    assert found.schema.names == wanted.schema.names
    assert found.schema.types == wanted.schema.types
    error = prefix + "mc_se"
    np.testing.assert_allclose(found[error], wanted[error], rtol=1e-12, atol=1e-12)
    assert found.drop_columns([error]).equals(wanted.drop_columns([error]))


def killed_once(marker):
    """A judge whose process dies at its second batch, unless that happened before."""

    class Fragile:
        def __init__(self, *given):
            self.given, self.calls, self.inner = given, 0, None

        def survive(self):
            self.calls += 1
            if self.calls == 2 and not os.path.exists(marker):
                open(marker, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            if self.inner is None:
                from improbable.distributed.scoring import Judge

                self.inner = Judge(*self.given)

        def judge(self, source, n):
            self.survive()
            return self.inner.judge(source, n)

        def __call__(self, rows):
            self.survive()
            return self.inner(rows)

    return Fragile


def batches_of(home, model):
    """Batches of the file beside their frames, as a command reads them."""
    row = decoded_row(model.codec)
    for batch in pq.read_table(home / "new.parquet").to_batches(max_chunksize=BATCH_ROWS):
        yield batch, extended(model.codec.read(pa.Table.from_batches([batch])), row)


def test_a_killed_worker_loses_no_row_of_a_dataset(cluster, home, tmp_path, monkeypatch):
    marker = str(tmp_path / "killed")
    monkeypatch.setattr(scoring, "Judge", killed_once(marker))
    dataset = ray.data.read_parquet(str(home / "new"))
    options = {"alpha": 0.05, "prefix": "x_", "batch_rows": 100}
    found = score_dataset(dataset, home / "m.safetensors", **options)
    assert os.path.exists(marker)
    wanted = scored_alone(home, "--alpha", 0.05, "--prefix", "x_")
    assert_same(collected(found), wanted, prefix="x_")
    assert sum(wanted["x_is_outlier"].to_pylist()) >= 18
    assert "city is missing in all rows" in wanted["x_warnings"][0].as_py()


def test_a_killed_worker_loses_no_batch(cluster, home, detector, tmp_path, monkeypatch):
    marker = str(tmp_path / "killed")
    monkeypatch.setattr(scoring, "Judge", killed_once(marker))
    question, model = Question(0.05), detector.model_
    path = str(home / "m.safetensors")
    found = list(scoring.judged_by_workers(batches_of(home, model), path, question, 2))
    assert os.path.exists(marker)
    wanted = [(b, judge(model, s, question, b.num_rows)) for b, s in batches_of(home, model)]
    assert len(found) == len(wanted) == 8
    for (batch, one), (same, other) in zip(found, wanted, strict=True):
        assert batch.equals(same)
        for name, values in vars(other).items():
            np.testing.assert_array_equal(getattr(one, name), values)


def test_a_worker_that_dies_again_and_again_ends_in_a_sentence(
    cluster, home, detector, tmp_path, monkeypatch
):
    monkeypatch.setattr(scoring, "Judge", killed_once(str(tmp_path / "killed")))
    monkeypatch.setattr(scoring, "RESTARTS", {})
    path, feed = str(home / "m.safetensors"), batches_of(home, detector.model_)
    with pytest.raises(ImprobableError, match=r"A worker died 4 times.* Give the workers more"):
        list(scoring.judged_by_workers(feed, path, Question(0.05), 1))


def test_errors_of_workers_are_raised_as_they_are(cluster, home, detector, monkeypatch):
    monkeypatch.setattr(scoring, "read_header", lambda path: {"digest": "another"})
    path, feed = str(home / "m.safetensors"), batches_of(home, detector.model_)
    with pytest.raises(FormatError, match=r"holds another model on this worker\. Copy"):
        list(scoring.judged_by_workers(feed, path, Question(0.05), 1))
    with pytest.raises(FormatError, match="holds another model"):
        score_dataset(ray.data.read_parquet(str(home / "new.parquet")), path)


def test_a_dataset_must_suit_the_model(cluster, home, detector, tmp_path, monkeypatch):
    path = home / "m.safetensors"
    table = pq.read_table(home / "new.parquet")
    with pytest.raises(DataError, match="holds no rows"):
        score_dataset(ray.data.from_arrow(table.slice(0, 0)), path)
    with pytest.raises(DataError, match="already has columns named score"):
        score_dataset(ray.data.from_arrow(table.append_column("score", table["age"])), path)
    with pytest.raises(SchemaError, match="height"):
        score_dataset(ray.data.from_arrow(table.drop_columns(["height"])), path)
    with pytest.raises(ImprobableError, match="alpha must be a number"):
        score_dataset(ray.data.from_arrow(table), path, alpha=2.0)
    with pytest.raises(ImprobableError, match=r"no room for 9 workers.* Ask for 4 or"):
        score_dataset(ray.data.from_arrow(table), path, alpha=0.05, n_workers=9)
    images = VAEDetector(codec=ImageCodec(), max_steps=2, hidden=(8,), random_state=0)
    images.fit(np.random.default_rng(0).integers(0, 255, (40, 8, 8)).astype(np.uint8))
    save(images, tmp_path / "images.safetensors")
    with pytest.raises(DataError, match="score --engine ray"):
        score_dataset(ray.data.from_arrow(table), tmp_path / "images.safetensors")


def test_a_judge_scores_tables(home, detector):
    path = str(home / "m.safetensors")
    digest = scoring.read_header(path)["digest"]
    rows = pq.read_table(home / "new.parquet").slice(0, 60)
    with pytest.warns(CalibrationWarning):
        wanted = detector.detect(rows, alpha=1e-6)
    found = Judge(path, digest, Question(1e-6), "x_")(rows)
    assert found["x_score"].to_pylist() == wanted["score"].to_pylist()
    assert set(found[NEVER].to_pylist()) == {"city"}
    assert Judge(path, digest, Question(0.05))(rows.slice(0, 0)).num_rows == 0
    with pytest.raises(FormatError, match="another model"):
        _ = Judge(path, "other", Question(0.05)).model


def test_what_all_rows_tell(home):
    """Q-values, and columns without a value in any batch."""

    class Dataset:
        def select_columns(self, names):
            return self

        def iter_batches(self, **_):
            yield pa.table({"p_value": [0.1, 0.5], NEVER: ["a\nb", "a\nb"]})
            yield pa.table({"p_value": [0.1, 0.5], NEVER: ["b", "b"]})

    with pytest.warns(CalibrationWarning, match="2 of 4 rows are beyond all 9 held-out rows"):
        scoring._decision(Dataset(), Question(0.01, fdr=0.001), "", 9)
    decision = scoring._decision(Dataset(), Question(0.01, fdr=0.3), "", 9)
    assert decision.never_observed == ["b"]
    evidence = {"p_value": [0.1, 0.5], "score": [1.0, 2.0], "mc_se": [0.0, 0.0]}
    rows = pa.table({"k": [7, 8], **evidence, "top_reasons": ["r", "r"], "warnings": ["", "w"]})
    found = scoring._decided(rows, decision, ["k"])
    assert found["is_outlier"].to_pylist() == [True, False]
    assert found["top_reasons"].to_pylist() == ["r", ""]
    assert found["warnings"].to_pylist()[1] == "w; b is missing in all rows"
    np.testing.assert_allclose(found["q_value"], [0.2, 0.5])


def in_threads(world_size, learn):
    """Call `learn` in threads that add up tensors together; its results by rank."""
    barrier, slots, found = threading.Barrier(world_size), [None] * world_size, {}

    def run(rank):
        def all_reduce(tensor):
            slots[rank] = tensor.clone()
            barrier.wait(60)
            tensor.copy_(torch.stack(slots).sum(dim=0))
            barrier.wait(60)

        found[rank] = learn(training.DataParallel(rank, world_size, all_reduce))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return [found[rank] for rank in range(world_size)]


def weights_of(vae):
    return torch.cat([p.detach().flatten().double() for p in vae.parameters()])


@pytest.mark.parametrize("world_size", [2, 3])
def test_steps_of_shards_are_the_steps_of_the_batch(world_size):
    rows = np.random.default_rng(0).normal(size=(500, 4))
    rows[:, 2] += rows[:, 0]
    seen = {}

    def loop(vae, batch, held_out, config, generator, progress):
        state = generator.get_state()

        def learn(parallel):
            own = torch.Generator()
            own.set_state(state)
            copy = deepcopy(vae)
            return training.fit(copy, batch, held_out, config, own, None, parallel), copy

        seen["shared"] = in_threads(world_size, learn)
        return training.fit(vae, batch, held_out, config, generator, progress)

    params = {"max_steps": 40, "hidden": (16,), "batch_size": 64, "random_state": 0}
    settings = check_settings(VAEDetector(**params).get_params(deep=False))
    alone = fit_model(rows, replace(settings, loop=loop))
    (history, first), *others = seen["shared"]
    for other, vae in others:
        assert other == history
        assert torch.equal(weights_of(vae), weights_of(first))
    np.testing.assert_allclose(weights_of(first), weights_of(alone.vae), atol=1e-5)
    np.testing.assert_allclose(history.train_elbo, alone.history.train_elbo, atol=1e-4)
    assert history.steps == alone.history.steps


def test_one_worker_takes_the_steps_of_one_process(tmp_path, monkeypatch):
    """What runs in a worker, here in this process, to the last bit."""
    rows = np.random.default_rng(0).normal(size=(300, 3))
    found = {}

    def loop(vae, batch, held_out, config, generator, progress):
        job = (deepcopy(vae), batch, held_out, config, generator.get_state())

        class Ray:
            get = staticmethod(lambda task: job)

        monkeypatch.setattr(fitting, "ray_module", lambda: Ray)
        store = f"file://{tmp_path}/store"
        torch.distributed.init_process_group("gloo", store, rank=0, world_size=1)
        try:
            found["weights"], found["history"] = fitting.train_worker({"job": None})
        finally:
            torch.distributed.destroy_process_group()
        return training.fit(vae, batch, held_out, config, generator, progress)

    params = {"max_steps": 20, "hidden": (16,), "random_state": 0}
    settings = check_settings(VAEDetector(**params).get_params(deep=False))
    alone = fit_model(rows, replace(settings, loop=loop))
    assert found["history"] == alone.history
    for name, weight in alone.vae.state_dict().items():
        np.testing.assert_array_equal(found["weights"][name], weight.float().numpy())


def killing_train_worker(marker):
    """A training loop whose second process dies at its fifth step, unless it did before."""
    inner = fitting.train_worker

    def train_worker(task):
        step, taken = training._Run.take_step, []

        def take_step(self):
            taken.append(1)
            if len(taken) == 5 and self.parallel.rank == 1 and not os.path.exists(marker):
                open(marker, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            return step(self)

        training._Run.take_step = take_step
        return inner(task)

    return train_worker


def test_a_fit_with_a_killed_worker_is_the_fit_of_one_process(
    cluster, detector, train, new, tmp_path, monkeypatch
):
    marker = str(tmp_path / "killed")
    monkeypatch.setattr(fitting, "train_worker", killing_train_worker(marker))
    before = np.random.get_state()[1].copy()
    handler = signal.getsignal(signal.SIGINT)
    shared = fit_distributed(VAEDetector({"hour": Cyclic(24)}, **SMALL), train, n_workers=2)
    assert signal.getsignal(signal.SIGINT) is handler
    assert os.path.exists(marker)
    np.testing.assert_allclose(
        shared.score_samples(new), detector.score_samples(new), rtol=0, atol=1e-3
    )
    np.testing.assert_array_equal(shared.predict(new), detector.predict(new))
    np.testing.assert_allclose(
        shared.history_.held_out_elbo, detector.history_.held_out_elbo, atol=1e-4
    )
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize(
    ("params", "n_workers", "message"),
    [
        ({"tune": True}, 2, "Tune in one process"),
        ({"device": "cuda"}, 2, r"not on 'cuda'\. Pass device='cpu'"),
        ({"batch_size": 2}, 3, "leaves some of 3 workers without any"),
    ],
)
def test_what_workers_do_not_fit(params, n_workers, message):
    with pytest.raises(ImprobableError, match=message):
        fit_distributed(VAEDetector(**params), [[0.0]], n_workers=n_workers)


def test_failed_training_ends_in_a_sentence():
    class Train:
        class TrainingFailedError(Exception):
            worker_failures = {1: RuntimeError("first\nit broke.")}

    with (
        pytest.raises(ImprobableError, match=r"failed 4 times \(it broke\)\. Give them more"),
        fitting._failures_in_a_sentence(Train),
    ):
        raise Train.TrainingFailedError


def test_without_ray_the_remedy_is_named(home, train, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImprobableError, match=r"pip install 'improbable\[ray\]'"):
        fit_distributed(VAEDetector(**SMALL), train)


@contextmanager
def fake_ray(monkeypatch, *, initialized):
    """Record how a cluster is started, without starting one."""
    seen = []

    class Ray:
        is_initialized = staticmethod(lambda: initialized)
        init = staticmethod(lambda **options: seen.append(options))
        shutdown = staticmethod(lambda: seen.append("shutdown"))
        cluster_resources = staticmethod(lambda: {"CPU": 4.0})

    monkeypatch.setattr(clusters, "ray_module", lambda name="ray": Ray)
    yield seen


def test_the_cluster_is_the_one_that_is_named(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with fake_ray(monkeypatch, initialized=False) as seen, clusters.cluster() as n_workers:
        assert n_workers == 4
    assert seen[0]["address"] == "10.0.0.1:6379"
    assert "num_cpus" not in seen[0]
    assert seen[1] == "shutdown"


def test_a_connection_of_the_user_stays(monkeypatch):
    with fake_ray(monkeypatch, initialized=True) as seen:
        with clusters.cluster(3) as n_workers:
            assert n_workers == 3
        with pytest.raises(ImprobableError, match="Ask for 4 or fewer"), clusters.cluster(5):
            pass
    assert seen == []
