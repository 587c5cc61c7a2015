"""The command line in latent space: rows out of it, directions, neighbors, groups."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_cli import SMALL, cells, fails, run, table

from improbable import load
from improbable.cli import GROUPS, console, decoding, grouping, merging, parsing
from improbable.data.files import read_table
from improbable.errors import DataError
from improbable.latent.clusters import hierarchy
from improbable.latent.index import LatentIndex

FIT = [*SMALL, "--latent-dim", "2", "-q"]
EVERY = [f"{group} {name}" for group in ("directions", "neighbors") for name in GROUPS[group][1]]


def labeled(n, seed):
    frame = table(n, seed)
    frame["tall"] = np.where(frame["height"] > 170, "yes", "no")
    return frame


@pytest.fixture(scope="session")
def den(tmp_path_factory):
    """A folder with a model of two latent dimensions, new rows, a direction and an index."""
    folder = tmp_path_factory.mktemp("latent")
    labeled(200, 0).to_csv(folder / "train.csv", index=False)
    frame = labeled(60, 1)
    frame.loc[[3, 4], "tall"] = [None, "?"]
    frame.to_csv(folder / "new.csv", index=False)
    labeled(9, 2).to_csv(folder / "more.csv", index=False)
    run("fit", folder / "train.csv", "-o", folder / "m", *FIT, "--drop", "tall")
    groups = ["--column", "tall", "--with", "yes"]
    run("directions", "add", folder / "train.csv", "-m", folder / "m", "--name", "tall", *groups)
    run("neighbors", "build", folder / "new.csv", "-m", folder / "m", "-o", folder / "i.parquet")
    return folder


@pytest.fixture
def model(den):
    return den / "m"


@pytest.fixture
def new(den):
    return den / "new.csv"


@pytest.fixture
def index(den):
    return den / "i.parquet"


@pytest.fixture
def own(model, tmp_path):
    """A copy of the model that a test may change."""
    return shutil.copy(model, tmp_path / "own")


@pytest.fixture(scope="session")
def detector(den):
    return decoding.in_arrow(load(den / "m"))


@pytest.fixture(scope="session")
def posterior(den, detector):
    return detector.posterior(read_table(den / "new.csv"))


def same_rows(path, wanted):
    found = read_table(path)
    assert found.column_names == wanted.column_names
    for name in ("age", "height", "city"):
        assert_same(found[name].to_pylist(), wanted[name].to_pylist())
    return found


def assert_same(found, wanted):
    if isinstance(wanted[0], str):
        assert found == wanted
    else:
        np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.parametrize("command", EVERY)
def test_each_member_of_a_group_has_an_example(command):
    assert f"Example: improbable {command}" in run(*command.split(), "--help")[0]


# sample


def test_sample_given_columns(model, detector, tmp_path):
    args = ["sample", "-m", model, "-n", 20, "--seed", 3, "-o", tmp_path / "o.parquet"]
    run(*args, "--given", "city=boulder", "--given", "age=41", "--prior", "normal")
    held = {"city": "boulder", "age": 41}
    wanted = detector.sample(20, given=held, prior="normal", random_state=3)
    found = same_rows(tmp_path / "o.parquet", wanted)
    assert set(found["city"].to_pylist()) == {"boulder"}
    assert set(found["age"].to_pylist()) == {41}


def test_sample_says_when_what_is_given_is_rare(model):
    _, err = run("sample", "-m", model, "-n", 2, "--given", "height=400")
    assert "warning: What is given is rare" in err


def test_sample_from_another_prior(model):
    args = ["sample", "-m", model, "-n", 5]
    assert run(*args, "--prior", "aggregated") == run(*args) != run(*args, "--prior", "normal")


@pytest.mark.parametrize("spread", [None, 0.0, 2.5])
def test_sample_like_a_row(spread, new, model, detector, tmp_path):
    wide = [] if spread is None else ["--spread", spread]
    args = ["sample", "-m", model, "--like", new, "--row", 7, "-n", 5, "--seed", 3]
    _, err = run(*args, *wide, "-o", tmp_path / "o.parquet")
    row = read_table(new).slice(7, 1)
    wanted = detector.sample_like(row, 5, spread=1.0 if spread is None else spread, random_state=3)
    same_rows(tmp_path / "o.parquet", wanted)
    assert err == "5 rows sampled\n"


def test_sample_like_the_first_row_of_standard_input(new, model):
    args = ["sample", "-m", model, "-n", 1]
    named = run(*args, "--like", new, "--row", 0)
    assert run(*args, "--like", "-", stdin=new.read_text(encoding="utf-8")) == named
    assert named[1] == "1 row sampled\n"
    assert named[0] != run(*args, "--like", new, "--row", 1)[0]


def test_sample_like_a_row_with_cells_that_cannot_be_read(new, model, tmp_path):
    rows = pd.read_csv(new, dtype=str)
    rows.loc[2, ["age", "city"]] = ["old", None]
    rows.to_csv(tmp_path / "n.csv", index=False)
    rows.loc[2, "age"] = None
    rows.to_csv(tmp_path / "blank.csv", index=False)
    args = ["sample", "-m", model, "-n", 3, "--row", 2, "--like"]
    assert run(*args, tmp_path / "n.csv") == run(*args, tmp_path / "blank.csv")


def test_sample_like_an_image(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 6, 7)).astype(np.uint8)
    np.savez(tmp_path / "i.npz", pictures=images, others=images)
    fit = ["fit", tmp_path / "i.npz", "--array", "pictures", "-o", tmp_path / "m", "-q"]
    run(*fit, "--max-steps", 2, "--latent-dim", 2, "--members", 1)
    args = ["sample", "-m", tmp_path / "m", "--like", tmp_path / "i.npz", "--array", "others"]
    run(*args, "--row", 4, "-n", 3, "-o", tmp_path / "o.npy")
    wanted = load(tmp_path / "m").sample_like(images[4:5], 3, random_state=0)
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--like", "NEW", "--row", 60], "There is no row 60: the file has 60 rows"),
        (["--like", "absent.csv"], "there is no file absent.csv"),
        (["--like", "NEW", "--spread", "-1"], "--spread -1 is no number of 0 or more. Give one"),
        (["--like", "NEW", "--spread", "nan"], "--spread nan is no number"),
        (["--like", "NEW", "--given", "age=1"], "around one row, --given from the whole model"),
        (["--like", "NEW", "--prior", "normal"], "--prior from the whole model. Leave one"),
        (["--like", "NEW", "--array", "a"], "--array is for images"),
        (["--row", 0], "--row is for --like. Name a file, as in --like new.csv."),
        (["--spread", 1], "--spread is for --like"),
        (["--format", "csv"], "--format is for --like"),
        (["--array", "a"], "--array is for --like"),
    ],
)
def test_sample_like_refuses(options, message, new, model, tmp_path):
    options = [new if option == "NEW" else option for option in options]
    assert message in fails("sample", "-m", model, "-o", tmp_path / "o.csv", *options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--given", "ctiy=a"], "Did you mean 'city'?"),
        (["--given", "city"], "--given city is not COLUMN=VALUE. Write it as in --given sex=F."),
        (["--given", "city=atlantis"], "never seen in training"),
        (["--given", "age=old"], "--given age=old is no number. Give one"),
        (["--given", "since=soon"], "--given since=soon is no time"),
        (["--given", "age=1", "--given", "age=2"], "--given names 'age' twice"),
        (["--prior", "uniform"], "prior must be"),
    ],
)
def test_sample_refuses(options, message, model):
    assert message in fails("sample", "-m", model, *options)


# decode


def test_decode_of_points(model, detector, tmp_path):
    _, err = run("decode", "-m", model, "--z", "0.5,-1", "--z", "-1,0", "-o", tmp_path / "o.csv")
    same_rows(tmp_path / "o.csv", detector.decode([[0.5, -1.0], [-1.0, 0.0]]))
    assert err == "2 points decoded\n"


def test_decode_of_files(model, index, detector, posterior, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "BATCH_ENTRIES", 7 * detector.model_.codec.event_size)
    z = posterior.loc
    np.save(tmp_path / "z.npy", z)
    pd.DataFrame(z, columns=["z_0", "z_1"]).assign(note="a").to_csv(tmp_path / "z.csv")
    pd.DataFrame(z, columns=["a", "b"]).to_parquet(tmp_path / "z.parquet")
    for name in (tmp_path / "z.npy", tmp_path / "z.csv", tmp_path / "z.parquet", index):
        run("decode", name, "-m", model, "-o", tmp_path / "o.parquet")
        same_rows(tmp_path / "o.parquet", detector.decode(z))


def test_decode_of_no_points_keeps_the_header(model, tmp_path):
    np.save(tmp_path / "z.npy", np.empty((0, 2)))
    out, err = run("decode", tmp_path / "z.npy", "-m", model)
    assert out.startswith("user,age,height")
    assert len(out.splitlines()) == 1
    assert err == "0 points decoded\n"


def test_decode_draws(model, detector):
    args = ["decode", "-m", model, "--z", "0,0", "--draw"]
    first = run(*args)[0]
    assert run(*args)[0] == first != run(*args, "--seed", 1)[0]
    wanted = detector.decode([0.0, 0.0], draw=True, random_state=np.random.default_rng(0))
    assert first.splitlines()[1].split(",")[1] == str(wanted["age"][0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Say where to begin"),
        (["z.csv", "--z", "0,0"], "not both"),
        (["--z", "0"], "--z 0 has 1 number, the latent space 2 dimensions"),
        (["--z", "0,x"], "--z 0,x is no list of numbers. Write it as in --z 0.5,-1."),
        (["--z", "0,nan"], "--z 0,nan is no list of numbers"),
        (["absent.npy"], "No such file"),
        (["absent.csv"], "there is no file absent.csv"),
    ],
)
def test_decode_refuses(options, message, model):
    assert message in fails("decode", "-m", model, *options)


def test_decode_refuses_what_is_no_points(model, new, tmp_path):
    np.save(tmp_path / "z.npy", np.zeros((4, 3)))
    for path in (new, tmp_path / "z.npy"):
        assert "holds no points: a row must be 2 finite numbers" in fails(
            "decode", path, "-m", model
        )


# traverse, interpolate


def test_traverse(new, model, detector, posterior, tmp_path):
    out = tmp_path / "o.parquet"
    options = ["--row", 5, "--dim", 1, "--values", "-2,0,2"]
    run("traverse", new, "-m", model, *options, "-o", out)
    same_rows(out, detector.traverse(posterior.loc[5], 1, [-2, 0, 2]))
    run("traverse", "-m", model, "--z", "1,1", "--dim", 0, "-o", out)
    same_rows(out, detector.traverse([1.0, 1.0], 0, np.arange(-3, 4)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dim", 2], "dim must be a whole number from 0 to 1"),
        (["--dim", 0, "--row", 60], "There is no row 60"),
        (["--dim", 0, "--values", "1;2"], "--values 1;2 is no list of numbers"),
        (["--dim", 0, "--z", "1,1"], "not both"),
    ],
)
def test_traverse_refuses(options, message, new, model):
    assert message in fails("traverse", new, "-m", model, *options)


def test_traverse_begins_at_one_point(model):
    error = fails("traverse", "-m", model, "--dim", 0, "--z", "1,1", "--z", "0,0")
    assert "One point is wanted, got 2" in error


@pytest.mark.parametrize("path", ["linear", "slerp", "geodesic"])
def test_interpolate(path, new, model, detector, posterior, tmp_path):
    out = tmp_path / "o.parquet"
    run(
        "interpolate", new, "-m", model, "--from", 3, "--to", 8, "-n", 4, "--path", path, "-o", out
    )
    ends = posterior.loc[3], posterior.loc[8]
    found = same_rows(out, detector.interpolate(*ends, 4, path=path))
    decoded = detector.decode(np.array(ends))
    assert_same(found["height"].to_pylist()[::3], decoded["height"].to_pylist())


def test_interpolate_between_points(model, detector, tmp_path):
    run("interpolate", "-m", model, "--z", "0,0", "--z", "1,1", "-o", tmp_path / "o.csv")
    same_rows(tmp_path / "o.csv", detector.interpolate([0.0, 0.0], [1.0, 1.0], 10))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", 3], "Two ends are wanted: pass INPUT with --from 3 --to 17"),
        (["--from", 3, "--to", 4, "--path", "liner"], "--path liner is unknown (nearest: linear)"),
        (["--from", 3, "--to", 60], "There is no row 60"),
        (["--from", 3, "--to", 4, "--z", "0,0"], "not both"),
    ],
)
def test_interpolate_refuses(options, message, new, model):
    assert message in fails("interpolate", new, "-m", model, *options)


def test_interpolate_needs_two_points(model):
    assert "or two points as in" in fails("interpolate", "-m", model, "--z", "0,0")
    args = ["--z", "0,0", "--z", "1,1", "--from", 3]
    assert "Rows are rows of INPUT" in fails("interpolate", "-m", model, *args)


# directions, steer


def test_a_direction_lives_in_the_model_file(den, own):
    train = den / "train.csv"
    before = load(own).score_samples(read_table(train))
    groups = ["--column", "tall", "--with", "no", "--without", "yes"]
    out, _ = run("directions", "add", train, "-m", own, "--name", "short", *groups, "--json")
    record = json.loads(out)
    after = load(own)
    np.testing.assert_array_equal(after.score_samples(read_table(train)), before)
    assert sorted(after.directions) == ["short", "tall"]
    heights = read_table(train)["height"].to_numpy()
    assert (record["with"], record["without"]) == ((heights <= 170).sum(), (heights > 170).sum())
    assert record["separation"] == after.directions["short"].separation > 0.8
    np.testing.assert_allclose(
        after.directions["short"].vector, -after.directions["tall"].vector, rtol=1e-9
    )


def test_rows_without_a_value_take_no_part(new, own):
    groups = ["--column", "tall", "--with", "yes"]
    out, _ = run("directions", "add", new, "-m", own, "--name", "a", *groups, "--json")
    record = json.loads(out)
    assert record["with"] + record["without"] == 58


def test_a_direction_by_numbers_as_they_may_be_spelled(new, own):
    groups = ["--column", "smoker", "--with", "1.0", "--without", "0"]
    run("directions", "add", new, "-m", own, "--name", "smoker", *groups)
    smokers = (pd.read_csv(new)["smoker"] == 1).sum()
    assert load(own).directions["smoker"].n_with == smokers


def test_directions_are_listed_and_removed(own):
    out, _ = run("directions", "list", "-m", own)
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:3] == ["name", "strength", "ROC"]
    assert lines[1][0] == "tall"
    listed = json.loads(run("directions", "list", "-m", own, "--json")[0])["directions"]
    assert listed[0]["vector"] == load(own).directions["tall"].vector.tolist()
    assert "directions  tall\n" in run("inspect", own)[0]
    assert run("directions", "remove", "-m", own, "--name", "tall")[0] == "tall removed\n"
    assert "no directions yet" in run("directions", "list", "-m", own)[0]
    assert "there are: none" in fails("directions", "remove", "-m", own, "--name", "tall")


def test_a_link_to_a_model_stays_one(own, tmp_path):
    os.symlink(own, tmp_path / "link")
    run("directions", "remove", "-m", tmp_path / "link", "--name", "tall", "--json")
    assert os.path.islink(tmp_path / "link")
    assert not load(own).directions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--column", "tal", "--with", "yes"], "no column 'tal' (nearest: tall)"),
        (["--column", "tall", "--with", "maybe"], "--with picks 0 rows by tall, which holds "),
        (["--column", "age", "--with", "1", "--without", "2"], ", ..."),
        (["--column", "tall", "--with", "yes", "--without", "yes"], "name one value"),
        (["--column", "tall", "--with", "yes", "--name", " "], "A direction needs a name"),
    ],
)
def test_directions_add_refuses(options, message, new, own):
    before = (own.stat().st_mtime_ns, own.read_bytes())
    assert message in fails("directions", "add", new, "-m", own, "--name", "a", *options)
    assert (own.stat().st_mtime_ns, own.read_bytes()) == before


def test_steer_carries_identifiers(new, model, detector, posterior, tmp_path):
    out = tmp_path / "o.csv"
    args = ["steer", new, "-m", model, "-d", "tall", "-o", out, "--batch-rows", 7]
    _, err = run(*args, "--amount", "1.5")
    found = same_rows(out, detector.steer(posterior, "tall", 1.5))
    assert found["user"].to_pylist() == read_table(new)["user"].to_pylist()
    assert err == "60 rows steered\n"


def test_steer_some_rows_by_several_amounts(new, model, detector, posterior, tmp_path):
    out = tmp_path / "o.parquet"
    run(
        "steer", new, "-m", model, "-d", "tall", "--row", 9, "--row", 2, "--amount=-1,1", "-o", out
    )
    loc = np.repeat(posterior.loc[[9, 2]], 2, axis=0)
    step = detector.directions["tall"].vector
    wanted = detector.decode(loc + np.array([-1, 1, -1, 1])[:, None] * step)
    found = same_rows(out, wanted)
    users = read_table(new)["user"].to_pylist()
    assert found["user"].to_pylist() == [users[9], users[9], users[2], users[2]]
    heights = found["height"].to_numpy()
    assert heights[1] > heights[0]


def test_steer_points(model, detector):
    out, err = run("steer", "-m", model, "-d", "tall", "--z", "0,0")
    wanted = detector.steer([0.0, 0.0], "tall", 1.0)
    assert out.splitlines()[1].split(",")[1] == str(wanted["age"][0])
    assert err == "1 row steered\n"


def test_steer_knows_its_directions(new, model):
    args = ["steer", new, "-m", model, "-d"]
    assert "there are: tall. Did you mean tall?" in fails(*args, "tal")
    assert "Learn one: improbable directions add." in fails(*args, "zzz")


# latent, cluster


def test_latent_dimensions_the_most_active_first(new, model, detector):
    out, _ = run("latent", new, "-m", model, "--batch-rows", 7)
    lines = [line.split() for line in out.splitlines()]
    wanted = detector.latent_summary(read_table(new))
    assert lines[0] == ["dim", "activity", "kl", "scale", "loc", "low", "high"]
    assert [int(line[0]) for line in lines[1:3]] == wanted.dims.tolist()
    assert out.endswith(f"{wanted.n_active} of 2 dimensions active over 60 rows\n")
    record = json.loads(run("latent", new, "-m", model, "--json")[0])
    activity = [dim["activity"] for dim in record["dims"]]
    np.testing.assert_allclose(activity, wanted.activity, rtol=1e-9)


def test_cluster_keeps_the_input_and_adds_its_columns(new, model, detector, tmp_path):
    out = tmp_path / "o.csv"
    args = ["-k", 3, "-o", out, "--batch-rows", 7, "--seed", 4]
    _, err = run("cluster", new, "-m", model, *args, "--centers", tmp_path / "c.csv")
    before, after = cells(new), cells(out)
    added = ["cluster", "responsibility", "divergence"]
    assert list(after[0]) == [*before[0], *added]
    assert [{name: row[name] for name in before[0]} for row in after] == before
    wanted = detector.cluster(read_table(new), 3, random_state=4)
    assert [int(row["cluster"]) for row in after] == wanted.labels.tolist()
    for name in added[1:]:
        found = [float(row[name]) for row in after]
        np.testing.assert_allclose(found, wanted.to_frame()[name], rtol=1e-6)
    same_rows(tmp_path / "c.csv", detector.decode(wanted.loc))
    assert f"row {wanted.exemplars[0]} " in err.splitlines()[1]
    assert err.endswith("60 rows in 3 clusters\n")


def test_cluster_sums_up_in_json(new, model, tmp_path):
    out, _ = run("cluster", new, "-m", model, "-k", "2..3", "-o", tmp_path / "o.parquet", "--json")
    record = json.loads(out)
    found = pq.read_table(tmp_path / "o.parquet")
    sizes = np.bincount(found["cluster"].to_numpy())
    assert [group["size"] for group in record["clusters"]] == sizes.tolist()
    assert len(sizes) in (2, 3)
    assert str(found.schema.field("age").type) == "int64"
    exemplar = record["clusters"][0]["exemplar"]
    assert found["cluster"][exemplar].as_py() == 0


def test_cluster_chooses_by_itself_and_again_under_a_prefix(new, model, tmp_path):
    once, twice = tmp_path / "1.csv", tmp_path / "2.csv"
    run("cluster", new, "-m", model, "-o", once)
    assert "--prefix improbable_" in fails("cluster", once, "-m", model, "-o", twice)
    run("cluster", once, "-m", model, "-o", twice, "--prefix", "again_")
    row = cells(twice)[0]
    assert row["again_cluster"] == row["cluster"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-k", "many"], "--clusters many is no number and no range. Write 5, or 2..8."),
        (["-k", "0"], "--clusters is 0. Ask for 1 to 60"),
        (["-k", "8..2"], "--clusters 8..2 goes down. Write the smaller number first."),
        (["--divergence", "l2"], "divergence must be kl or reverse_kl"),
        (["--centers", "c.doc"], "does not tell its format"),
    ],
)
def test_cluster_refuses(options, message, new, model, tmp_path):
    args = ["cluster", new, "-m", model, "-o", tmp_path / "o.csv"]
    assert message in fails(*args, *options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("linkage", [None, "complete", "single"])
def test_cluster_by_hierarchy(linkage, new, model, posterior, tmp_path):
    out, tree = tmp_path / "o.parquet", tmp_path / "t.parquet"
    args = ["cluster", new, "-m", model, "--hierarchy", "-k", 4, "-o", out, "--batch-rows", 7]
    how = [] if linkage is None else ["--linkage", linkage]
    _, err = run(*args, *how, "--merges", tree, "--centers", tmp_path / "c.csv")
    wanted = hierarchy(posterior, 4, linkage or "average")
    found, merges = pq.read_table(out), pq.read_table(tree)
    assert found.column_names == [*read_table(new).column_names, *grouping.RESULT]
    assert found["cluster"].to_pylist() == wanted.labels.tolist()
    np.testing.assert_allclose(found["divergence"], wanted.divergences, rtol=1e-6, atol=1e-9)
    assert merges.column_names == ["group", "first", "second", "divergence", "rows"]
    assert merges["group"].to_pylist() == list(range(60, 119))
    ends = np.column_stack([merges[name] for name in ("first", "second", "divergence", "rows")])
    np.testing.assert_allclose(ends, wanted.merges, rtol=1e-6, atol=1e-9)
    assert str(merges.schema.field("first").type) == "int64"
    assert len(cells(tmp_path / "c.csv")) == 4
    assert err.endswith("60 rows in 4 clusters\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hierarchy"], "--hierarchy is cut into one number of clusters. Say it, as in -k 5."),
        (["--hierarchy", "-k", "2..4"], "one number of clusters"),
        (["--hierarchy", "-k", 61], "--clusters is 61. Ask for 1 to 60, the rows."),
        (["--hierarchy", "-k", 2, "--linkage", "singel"], "is unknown (nearest: single)"),
        (["--hierarchy", "-k", 2, "--divergence", "reverse_kl"], "Leave out --divergence."),
        (["--hierarchy", "-k", 2, "--merges", "-"], "--merges takes a file of its own"),
        (["--hierarchy", "-k", 2, "--merges", "t.doc"], "does not tell its format"),
        (["-k", 2, "--linkage", "single"], "--linkage is for hierarchies. Leave it out, or add"),
        (["-k", 2, "--merges", "t.csv"], "--merges is for hierarchies"),
    ],
)
def test_hierarchies_refuse(options, message, new, model, tmp_path):
    assert message in fails("cluster", new, "-m", model, "-o", tmp_path / "o.csv", *options)
    assert os.listdir(tmp_path) == []


def test_hierarchies_have_limits(new, model, tmp_path, monkeypatch):
    pd.read_csv(new)[:1].to_csv(tmp_path / "one.csv", index=False)
    args = ["-m", model, "--hierarchy", "-k", 1]
    error = fails("cluster", tmp_path / "one.csv", *args)
    assert "compares every pair of 2 to 5,000 rows, and INPUT has 1 row. Pass other rows" in error
    run("cluster", new, *args)
    monkeypatch.setattr(merging, "TREE_ROWS", 59)
    many = fails("cluster", new, *args)
    assert many.endswith("INPUT has more than 59 rows. Pass other rows, or leave out --hierarchy.")


# neighbors


def test_build_makes_an_index_of_typed_columns(new, index, posterior):
    found = LatentIndex.load(index)
    np.testing.assert_allclose(found.posterior.loc, posterior.loc, rtol=1e-9)
    assert found.ids.tolist() == list(range(60))
    assert found.columns.column_names == read_table(new).column_names
    assert str(found.columns.schema.field("height").type) == "double"
    assert str(found.columns.schema.field("member").type) == "bool"


def test_build_with_names_and_some_columns(new, model, tmp_path):
    args = ["neighbors", "build", new, "-m", model, "-o", tmp_path / "i"]
    out, _ = run(*args, "--id", "user", "--keep", "age,city", "--keep", "tall", "--json")
    assert json.loads(out) == {"items": 60, "latent_dim": 2, "output": str(tmp_path / "i")}
    found = LatentIndex.load(tmp_path / "i")
    assert found.ids.tolist() == read_table(new)["user"].to_pylist()
    assert found.columns.column_names == ["age", "city", "tall"]
    run(*args, "--keep", "")
    assert LatentIndex.load(tmp_path / "i").columns.num_columns == 0
    assert "no column 'usr' (nearest: user)" in fails(*args, "--id", "usr")
    assert "--keep takes a column of INPUT" in fails(*args, "--keep", "agee")


def test_build_takes_a_column_of_ids_and_categories(new, model, tmp_path):
    rows = pd.read_csv(new).astype({"city": "category", "user": "category"})
    rows.assign(id=rows["user"]).to_parquet(tmp_path / "n.parquet", row_group_size=11)
    rows.assign(id=np.arange(60) + 100).to_csv(tmp_path / "n.csv", index=False)
    for name, ids in (
        ("n.parquet", rows["user"].tolist()),
        ("n.csv", [str(i + 100) for i in range(60)]),
    ):
        run("neighbors", "build", tmp_path / name, "-m", model, "-o", tmp_path / "i")
        assert LatentIndex.load(tmp_path / "i").ids.tolist() == ids


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["0x1F", "17"], "string"),
        (["00501", "94105"], "string"),
        (["5", "17"], "int64"),
        (["5", "NA", "0.5"], "double"),
        (["2024-01-01", "2024-02-01"], "timestamp[us]"),
    ],
)
def test_text_in_an_index_is_a_number_where_it_is_one_to_a_model(
    words, kind, new, model, tmp_path
):
    rows = read_table(new).to_pandas().assign(odd=[words[i % len(words)] for i in range(60)])
    rows.to_csv(tmp_path / "n.csv", index=False)
    args = ["neighbors", "build", tmp_path / "n.csv", "-m", model, "-o", tmp_path / "i"]
    run(*args, "--keep", "odd")
    assert str(LatentIndex.load(tmp_path / "i").columns["odd"].type) == kind


def test_search_answers_as_the_library_does(new, model, index, posterior, tmp_path):
    args = ["search", new, "-m", model, "--index", index, "-k", 3, "--metric", "jeffreys"]
    _, err = run("neighbors", *args, "-o", tmp_path / "o.parquet", "--show", "age")
    found = pq.read_table(tmp_path / "o.parquet")
    wanted = LatentIndex.load(index).search(posterior, 3, "jeffreys")
    assert err == "60 queries answered\n"
    assert found["query"].to_pylist() == np.repeat(np.arange(60), 3).tolist()
    assert found["id"].to_pylist() == wanted.ids.ravel().tolist()
    np.testing.assert_allclose(found["value"], wanted.values.ravel(), rtol=1e-6, atol=1e-9)
    ages = read_table(new)["age"].to_numpy()
    assert found["age"].to_pylist() == ages[wanted.ids.ravel()].tolist()


def test_columns_of_items_named_as_those_of_answers(new, model, tmp_path):
    pd.read_csv(new).assign(rank="a").to_csv(tmp_path / "n.csv", index=False)
    index = tmp_path / "i"
    run("neighbors", "build", tmp_path / "n.csv", "-m", model, "-o", index, "--keep", "rank")
    args = ["--index", index, "--z", "0,0", "-k", 1, "--show", "rank"]
    assert run("neighbors", "search", *args)[0].splitlines()[0].endswith("distance  item_rank")


def test_search_as_a_person_reads_it(new, model, index):
    out, _ = run("neighbors", "search", new, "-m", model, "--index", index, "--row", 7, "-k", 2)
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["query", "rank", "id", "log_density", "probability", "distance"]
    assert [line[:2] for line in lines[1:]] == [["7", "1"], ["7", "2"]]


def test_search_in_json(index):
    args = ["neighbors", "search", "--index", index, "--z", "0,0", "--z", "1,-1", "-k", 2]
    records = [
        json.loads(line) for line in run(*args, "--json", "--show", "since")[0].splitlines()
    ]
    wanted = LatentIndex.load(index).search([[0.0, 0.0], [1.0, -1.0]], 2)
    assert [record["query"] for record in records] == [0, 1]
    assert [n["id"] for n in records[1]["neighbors"]] == wanted.ids[1].tolist()
    assert records[0]["neighbors"][0]["probability"] == pytest.approx(wanted.probabilities[0, 0])
    assert records[0]["neighbors"][0]["since"].startswith("2024-")
    assert "query" not in records[0]["neighbors"][0]


def test_search_among_some_items(new, index):
    rows = read_table(new).to_pandas()
    args = ["neighbors", "search", "--index", index, "--z", "0,0", "-k", 60, "--json"]

    def ids(*filters):
        options = [part for text in filters for part in ("--where", text)]
        (line,) = run(*args, *options)[0].splitlines()
        return sorted(n["id"] for n in json.loads(line)["neighbors"])

    city, age = rows["city"], rows["age"]
    assert ids("city=boulder") == np.flatnonzero(city == "boulder").tolist()
    assert ids("city=boulder", "city=concord") == np.flatnonzero(city != "anaheim").tolist()
    assert ids("age=30..40") == np.flatnonzero(age.between(30, 40)).tolist()
    assert (
        ids("age=..40", "city=boulder")
        == np.flatnonzero((age <= 40) & (city == "boulder")).tolist()
    )
    assert ids(f"age={age[0]}", "age=1") == np.flatnonzero(age == age[0]).tolist()
    assert ids("member=true") == np.flatnonzero(rows["member"]).tolist()
    assert ids("age=900..") == []
    out, _ = run("neighbors", "search", "--index", index, "--z", "0,0", "--where", "age=900..")
    assert out == "no item passes --where\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--where", "agee=3"], "no column 'agee' to filter by. Did you mean age?"),
        (["--where", "age"], "--where age is not COLUMN=VALUE"),
        (["--where", "age=x"], "cannot be compared"),
        (["--where", "age=1..2", "--where", "age=3"], "--where names 'age' twice"),
        (["--metric", "kl"], "Pass rows as INPUT, or use --metric log_density for points."),
        (["--metric", "cosine"], "There is no metric 'cosine'"),
        (["--show", "agee"], "--show takes a column of the index"),
        (["--recall", "2"], "recall must be"),
        (["--row", "3"], "Rows are rows of INPUT"),
    ],
)
def test_search_refuses(options, message, index):
    args = ["neighbors", "search", "--index", index, "--z", "0,0"]
    assert message in fails(*args, *options)


def test_a_file_without_rows_says_so(new, model, tmp_path):
    path = tmp_path / "empty.csv"
    path.write_text(new.read_text().partition("\n")[0] + "\n")
    for command in (["cluster"], ["neighbors", "build"]):
        args = [*command, path, "-m", model, "-o", tmp_path / "o.parquet"]
        assert "INPUT has no rows" in fails(*args)
    assert os.listdir(tmp_path) == ["empty.csv"]


def test_dates_of_text_files_filter_as_dates(new, model, tmp_path):
    """The column is a time stamp in the index, whatever file it came from."""
    run("neighbors", "build", new, "-m", model, "-o", tmp_path / "i.parquet")
    index = LatentIndex.load(tmp_path / "i.parquet")
    assert pa.types.is_timestamp(index.columns["since"].type)
    args = ["neighbors", "search", "--index", tmp_path / "i.parquet", "--z", "0,0", "-k", "60"]
    times = sorted(index.columns["since"].to_pylist())
    span = f"since={times[5].isoformat()}..{times[9].isoformat()}"
    inside = sum(times[5] <= time <= times[9] for time in times)
    assert run(*args, "--where", span)[0].count("\n") == 1 + inside < 61


def test_search_for_rows_needs_their_model(den, new, model, index, tmp_path):
    args = ["neighbors", "search", new, "--index", index]
    assert "Pass it with -m." in fails(*args)
    assert "not both" in fails(*args, "--z", "0,0")
    assert "Say where to begin" in fails("neighbors", "search", "--index", index)
    run("fit", den / "train.csv", "-o", tmp_path / "m3", *SMALL, "-q", "--latent-dim", "3")
    assert "has 3 latent dimensions, the index 2" in fails(*args, "-m", tmp_path / "m3")
    run(
        "fit",
        den / "train.csv",
        "-o",
        tmp_path / "m9",
        *SMALL,
        "-q",
        "--latent-dim",
        "2",
        "--seed",
        "9",
    )
    assert "built with another model" in fails(*args, "-m", tmp_path / "m9")
    more = ["neighbors", "add", new, "--index", index, "-m", tmp_path / "m9"]
    assert "built with another model" in fails(*more)
    assert "cannot be read as an index" in fails(
        "neighbors", "search", "--index", model, "--z", "0"
    )


def test_approximate_search(index):
    pytest.importorskip("faiss")
    args = ["neighbors", "search", "--index", index, "--z", "0,0", "-k", 2, "--recall", "0.5"]
    assert 0.5 <= json.loads(run(*args, "--json")[0])["recall"] <= 1.0


def test_items_are_added_and_removed(den, model, index, tmp_path):
    other = tmp_path / "o.parquet"
    add = ["neighbors", "add", den / "more.csv", "-m", model, "--index"]
    out, _ = run(*add, index, "-o", other, "--json")
    assert json.loads(out) == {"added": 9, "items": 69, "output": str(other)}
    assert LatentIndex.load(other).ids.tolist() == list(range(69))
    assert len(LatentIndex.load(index)) == 60
    assert run(*add, other)[1] == "9 items added, 78 in all\n"
    remove = ["neighbors", "remove", "--index", other]
    out, err = run(*remove, "--id", 0, "--id", 70)
    assert err == "2 items removed, 76 in all\n"
    assert LatentIndex.load(other).ids.tolist() == [i for i in range(78) if i not in (0, 70)]
    assert "--id x is no item" in fails(*remove, "--id", "x")
    assert "has no items 70" in fails(*remove, "--id", 70, "-o", tmp_path / "p")


def test_items_with_names_are_added_by_name(den, new, model, tmp_path):
    index = tmp_path / "i"
    named = ["-m", model, "--id", "user", "--json"]
    run("neighbors", "build", new, "-o", index, *named, "--keep", "city")
    run("neighbors", "add", den / "more.csv", "--index", index, *named)
    users = read_table(den / "more.csv")["user"].to_pylist()
    assert LatentIndex.load(index).ids[60:].tolist() == users
    run("neighbors", "remove", "--index", index, "--id", users[0], "--json")
    assert users[0] not in LatentIndex.load(index).ids
    add = ["neighbors", "add", den / "more.csv", "--index", index, "-m", model]
    assert "Name the column that holds theirs with --id." in fails(*add)
    assert "Ids repeat" in fails(*add, "--id", "user")
    rows = read_table(den / "more.csv").drop_columns(["user"])
    pq.write_table(rows.append_column("user", pa.array(range(9))), tmp_path / "n.parquet")
    run("neighbors", "add", tmp_path / "n.parquet", "--index", index, *named)


def test_items_to_add_have_the_columns_of_the_index(den, model, tmp_path):
    rows = pd.read_csv(den / "more.csv")
    run("neighbors", "build", den / "more.csv", "-m", model, "-o", tmp_path / "i")
    rows.drop(columns="tall").to_csv(tmp_path / "n.csv", index=False)
    error = fails("neighbors", "add", tmp_path / "n.csv", "-m", model, "--index", tmp_path / "i")
    assert "missing: tall" in error


# What options hold


def test_a_pair_splits_where_a_column_ends():
    assert parsing.pair("a=b=c", ["a=b"], "--given") == ("a=b", "c")
    assert parsing.pair("a=b=c", ["a"], "--given") == ("a", "b=c")
    assert parsing.pair("x=1", ["a"], "--given") == ("x", "1")
    with pytest.raises(DataError, match="not COLUMN=VALUE"):
        parsing.pair("=1", ["a"], "--given")


def test_ranges_are_for_columns_with_an_order():
    kinds = {"age": True, "note": False}
    found = parsing.where(["age=-3..4.5", "note=a..b"], kinds)
    assert found == {"age": ("-3", "4.5"), "note": ["a..b"]}
    assert parsing.where(["age=.."], kinds) == {"age": (None, None)}


def test_numbers_of_things():
    found = [console.counted(n, "row") for n in (0, 1, 2, 1200)]
    assert found == ["0 rows", "1 row", "2 rows", "1,200 rows"]
    assert console.counted(1, "query", "queries") == "1 query"
    assert console.counted(3, "query", "queries") == "3 queries"


def test_what_there_is_one_of(new, model, tmp_path):
    one = tmp_path / "one.csv"
    pd.read_csv(new)[:1].to_csv(one, index=False)
    assert run("reconstruct", one, "-m", model)[1] == "1 row reconstructed\n"
    assert run("impute", one, "-m", model)[1] == "1 row imputed\n"
    assert "1 row, 0 flagged" in run("score", one, "-m", model)[1]
    assert run("decode", "-m", model, "--z", "0,0")[1] == "1 point decoded\n"
    assert "active over 1 row\n" in run("latent", one, "-m", model)[0]
    assert run("cluster", one, "-m", model, "-k", 1)[1].endswith("1 row in 1 cluster\n")
    index = ["--index", tmp_path / "i"]
    assert run("neighbors", "build", one, "-m", model, "-o", tmp_path / "i")[1] == (
        "1 item indexed\n"
    )
    search = ["neighbors", "search", *index, "--z", "0,0", "-k", 1, "-o", tmp_path / "a.csv"]
    assert run(*search)[1] == "1 query answered\n"
    assert "There is no row 1: the file has 1 row, counted" in fails(
        "explain", one, "-m", model, "--row", 1
    )
    assert "and 1 more column, less" in run("explain", one, "-m", model, "--columns", 5)[0]


def test_counts_and_sizes():
    assert parsing.counts(None) is None
    assert parsing.counts("5") == 5
    assert list(parsing.counts("2..4")) == [2, 3, 4]
    assert parsing.size("28x32") == (28, 32)
    for text in ("28", "0x5", "ax5"):
        with pytest.raises(DataError, match="HEIGHTxWIDTH"):
            parsing.size(text)
