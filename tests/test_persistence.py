import json
import pickle
import shutil
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL, mixed_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from improbable import (
    Count,
    DataError,
    FormatError,
    ImprobableError,
    VAEDetector,
    load,
    save,
)
from improbable.container import FORMAT, MAGIC, digest, read_header

ROWS = np.random.default_rng(0).normal(size=(80, 3))


@pytest.fixture(scope="module")
def saved(tmp_path_factory, detector):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save(detector, path)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "model.safetensors"
    save(VAEDetector(**{**SMALL, "max_steps": 5, "hidden": (4,)}).fit(ROWS), path)
    return path


def rewrite(path, target, *, header=None, arrays=None, sign=True):
    """A copy with parts replaced and, unless told otherwise, a matching digest."""
    tensors = load_file(path)
    tensors.update(arrays or {})
    record = read_header(path)
    for key, value in (header or {}).items():
        record[key] = {**record[key], **value} if isinstance(value, dict) else value
    if sign:
        record["digest"] = digest(record, tensors)
    save_file(tensors, target, {MAGIC: json.dumps(record)})
    return target


def test_scores_survive_in_this_and_another_process(saved, detector, new, tmp_path):
    again = load(saved)
    np.testing.assert_allclose(again.score_samples(new), detector.score_samples(new), atol=1e-9)
    np.testing.assert_array_equal(again.p_values(new), detector.p_values(new))
    np.testing.assert_array_equal(again.predict(new), detector.predict(new))
    assert again.explain(new.head(2)).reasons(0) == detector.explain(new.head(2)).reasons(0)
    assert again.get_params()["columns"] == detector.get_params()["columns"]
    new.to_parquet(tmp_path / "new.parquet")
    code = (
        "import pandas as pd; from improbable import load;"
        f"d = load({str(saved)!r}); x = pd.read_parquet({str(tmp_path / 'new.parquet')!r});"
        "print(d.score_samples(x).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    there = json.loads(done.stdout)
    np.testing.assert_allclose(there, detector.score_samples(new), atol=1e-9)


def test_every_argument_survives(tmp_path):
    rng = np.random.default_rng(0)
    counts = rng.poisson(3, size=(60, 2))
    detector = VAEDetector(
        {"x0": Count(), 1: "count"},
        likelihood={"x0": "poisson"},
        decoder_hidden=[8],
        contamination=0.05,
        **{**SMALL, "max_steps": 5, "random_state": np.random.default_rng(1)},
    ).fit(counts)
    save(detector, tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.offset_ == detector.offset_
    assert again.likelihood == {"x0": "poisson"}
    assert again.random_state is None
    np.testing.assert_array_equal(again.predict(counts), detector.predict(counts))


def test_no_pickle_in_the_file(saved):
    data = saved.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    assert json.loads(data[8 : 8 + size])["__metadata__"][MAGIC]
    with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, KeyError)):
        pickle.loads(data)


def test_header_speaks_without_the_model(saved):
    header = read_header(saved)
    assert header["format"] == FORMAT
    assert [c["name"] for c in header["schema"]["columns"]][:2] == ["user", "age"]
    assert header["calibration"]["n"] > 0
    assert {"torch", "numpy", "improbable"} <= set(header["versions"])


def test_saving_leaves_nothing_behind_and_replaces_whole_files(saved, detector, tmp_path):
    target = tmp_path / "model.safetensors"
    target.write_text("old")
    save(detector, target)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    with pytest.raises(DataError, match="cannot be written"):
        save(detector, tmp_path / "nowhere" / "model.safetensors")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FormatError, match="There is no model file"):
        load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04.", b"a,b\n1,2\n", b"\xff" * 100])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(FormatError):
        load(path)


def test_newer_format_says_upgrade(small, tmp_path):
    with pytest.raises(FormatError, match="Upgrade improbable"):
        load(rewrite(small, tmp_path / "m", header={"format": FORMAT + 1}))
    with pytest.raises(FormatError, match="format number"):
        load(rewrite(small, tmp_path / "m", header={"format": "1"}))


def test_truncated_files_are_refused(small, tmp_path):
    data = small.read_bytes()
    for size in (0, 4, 8, 100, len(data) // 2, len(data) - 1):
        path = tmp_path / "cut"
        path.write_bytes(data[:size])
        with pytest.raises(FormatError):
            load(path)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_one_flipped_bit_is_noticed(small, tmp_path, place, bit):
    data = bytearray(small.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path = tmp_path / "flipped"
    path.write_bytes(bytes(data))
    try:
        detector = load(path)
    except FormatError:
        return
    # Padding inside the JSON header carries nothing: the scores must be untouched.
    np.testing.assert_array_equal(detector.score_samples(ROWS), load(small).score_samples(ROWS))


@given(junk=st.binary(max_size=300))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_random_bytes_are_refused(tmp_path, junk):
    path = tmp_path / "junk"
    path.write_bytes(struct.pack("<Q", len(junk)) + junk)
    with pytest.raises(FormatError):
        load(path)


@pytest.mark.parametrize(
    "header",
    [
        {"settings": {"latent_dim": 10**6}},
        {"settings": {"hidden": [10**7]}},
        {"settings": {"n_members": 3}},
        {"settings": {"n_members": -1}},
        {"settings": {"score_function": "os.system"}},
        {"schema": {"columns": []}},
        {"schema": {"columns": [{"kind": "real"}]}},
        {"schema": 3},
        {"config": {"latent_dim": 2, "surprise": 1}},
        {"history": {"best_elbo": []}},
        {"offset": "low"},
    ],
)
def test_hostile_headers_with_a_right_digest_are_refused(small, tmp_path, header):
    with pytest.raises(FormatError):
        load(rewrite(small, tmp_path / "m", header=header))


def test_hostile_columns_are_refused(small, tmp_path):
    for change in ({"scale": "x"}, {"scale": 0.0}, {"loc": float("nan")}, {"what": 1.0}):
        columns = json.loads(json.dumps(read_header(small)["schema"]["columns"]))
        columns[0]["encoding"].update(change)
        with pytest.raises(FormatError):
            load(rewrite(small, tmp_path / "m", header={"schema": {"columns": columns}}))


def test_golden_rows_catch_changed_weights(small, tmp_path):
    weights = {k: v * 1.01 for k, v in load_file(small).items() if k.endswith("linear")}
    with pytest.raises(FormatError, match="differently here"):
        load(rewrite(small, tmp_path / "m", arrays=weights))
    versions = {"versions": {"torch": "0.1"}}
    with pytest.raises(FormatError, match=r"torch 0\.1 then"):
        load(rewrite(small, tmp_path / "m", arrays=weights, header=versions))


def test_wrong_shapes_are_refused(small, tmp_path):
    for name in ("noise", "reference", "vae.decoder.linear"):
        arrays = {name: load_file(small)[name][:, :1].copy()}
        with pytest.raises(FormatError):
            load(rewrite(small, tmp_path / "m", arrays=arrays))


def test_estimator_pickles_in_memory(detector, new):
    again = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(again.score_samples(new), detector.score_samples(new))


def test_every_error_is_of_the_family():
    assert issubclass(FormatError, ImprobableError)
    assert issubclass(ImprobableError, ValueError)


def test_copies_load(small, tmp_path):
    shutil.copy(small, tmp_path / "copy")
    assert load(tmp_path / "copy").n_features_in_ == 3


@pytest.mark.parametrize("contamination", ["unknown", 0.1])
def test_a_model_of_contaminated_rows_survives(tmp_path, contamination):
    table = mixed_table(200, seed=2)
    table.loc[:19, "height"] = 400.0
    detector = VAEDetector(
        contamination=contamination, **{**SMALL, "max_steps": 5, "hidden": (8,)}
    ).fit(table)
    save(detector, tmp_path / "m")
    again = load(tmp_path / "m")
    np.testing.assert_allclose(
        again.score_samples(table), detector.score_samples(table), rtol=0, atol=1e-9
    )
    np.testing.assert_array_equal(again.predict(table), detector.predict(table))
    assert again.contamination == contamination
    assert again.contamination_ == detector.contamination_
    np.testing.assert_array_equal(again.training_outliers_, detector.training_outliers_)
    assert again.contamination_ == detector.contamination_ > 0.0
    assert again.model_.codec.columns == detector.model_.codec.columns
    pd.testing.assert_frame_equal(again.reconstruct(table), detector.reconstruct(table))


def test_a_model_of_contaminated_rows_without_calibration_survives(tmp_path):
    detector = VAEDetector(
        contamination="unknown",
        calibration_fraction=0.0,
        **{**SMALL, "max_steps": 5, "hidden": (4,)},
    ).fit(ROWS)
    save(detector, tmp_path / "m")
    again = load(tmp_path / "m")
    assert (again.offset_, again.contamination_) == (-np.inf, 0.0)


def test_files_without_a_knee_or_a_word_on_log_scales_are_read(small, tmp_path):
    """As files were before columns could be bent."""
    columns = read_header(small)["schema"]["columns"]
    for column in columns:
        del column["encoding"]["knee"]
        column.pop("log", None)
    again = load(rewrite(small, tmp_path / "m", header={"schema": {"columns": columns}}))
    np.testing.assert_array_equal(again.score_samples(ROWS), load(small).score_samples(ROWS))


@pytest.mark.parametrize("knee", ["x", float("nan"), float("inf")])
def test_hostile_knees_are_refused(small, tmp_path, knee):
    columns = read_header(small)["schema"]["columns"]
    columns[0]["encoding"]["knee"] = knee
    with pytest.raises(FormatError):
        load(rewrite(small, tmp_path / "m", header={"schema": {"columns": columns}}))
