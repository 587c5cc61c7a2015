"""`improbable watch`: lines in, readings out as they are decided, states, and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from improbable import VAEDetector, WindowCodec, load, load_stream, save
from improbable.cli import app, watching

PERIOD = 12


def wave(n, seed=0):
    noise = np.random.default_rng(seed).normal(size=n)
    return np.sin(2.0 * np.pi * np.arange(n) / PERIOD) + 0.1 * noise


def lines_of(values):
    return [json.dumps({"x0": float(value)}) for value in values]


def run(*args, code=0, stdin=None):
    done = CliRunner().invoke(app, ["watch", *map(str, args)], input=stdin)
    if done.exit_code != code:
        raise AssertionError(f"{done.exit_code}: {done.stdout}{done.stderr}") from done.exception
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    codec = WindowCodec(length=PERIOD, score_of="last")
    detector = VAEDetector(codec=codec, random_state=0, max_steps=60).fit(wave(3_000))
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    save(detector, path)
    return path


@pytest.fixture
def points(tmp_path):
    values = wave(400, 5)
    values[100:103] += 6.0
    path = tmp_path / "points.jsonl"
    path.write_text("\n".join(lines_of(values)))
    return path


def test_alarms_are_written_as_lines(model, points):
    found, said = run(points, "-m", model)
    assert all(record["is_outlier"] for record in found)
    assert {100, 101, 102} <= {record["position"] for record in found}
    assert next(r for r in found if r["position"] == 100)["reasons"][0].startswith("x0 = ")
    assert said.splitlines()[-1] == f"400 points, {len(found)} alarms"


def test_all_readings_are_those_of_the_library(model, points):
    found, _ = run(points, "-m", model, "--all", "--no-adapt", "--alpha", "0.05")
    values = [json.loads(line)["x0"] for line in points.read_text().splitlines()]
    readings = load(model).stream(0.05, adapt=False).push(values)
    assert found == [json.loads(json.dumps(watching.reading_record(r))) for r in readings]


def test_standard_input_is_read_too(model, points):
    assert run("-m", model, stdin=points.read_text()) == run(points, "-m", model)


def test_events_are_written_when_they_are_over(model, points):
    found, _ = run(points, "-m", model, "--events", "--join", "30", "--alpha", "0.001")
    event = next(event for event in found if event["start"] == 100)
    assert event["end"] >= 102
    assert event["n_alarms"] >= 3
    assert "x0" in event["columns"]
    kept = points.read_text().splitlines()[:102]
    found, _ = run("-m", model, "--events", "--alpha", "0.001", stdin="\n".join(kept))
    assert found[-1]["open"] is True
    assert found[-1]["end"] == 101


def test_bad_lines_are_told_by_number_and_left_out(model, points):
    good = points.read_text().splitlines()
    bad = ["{", '{"y": 1}', "[1]", "", '{"x0": [1, 2]}']
    mixed = [*good[:50], *bad, *good[50:]]
    found, said = run("-m", model, "--all", stdin="\n".join(mixed))
    assert found == run(points, "-m", model, "--all")[0]
    told = said.splitlines()
    numbers = sorted(line.split(":")[0] for line in told[:-1])
    assert numbers == [f"line {number} left out" for number in (51, 52, 53, 55)]
    assert told[-1].endswith(", 4 lines left out")


def test_a_state_goes_on(model, points, tmp_path):
    whole, _ = run(points, "-m", model, "--all")
    state = tmp_path / "state.safetensors"
    lines = points.read_text().splitlines()
    parts = []
    for part in (lines[:101], lines[101:250], lines[250:]):
        found, _ = run("-m", model, "--all", "--state", state, stdin="\n".join(part))
        parts += found
    assert parts == whole


def test_a_state_refuses_options_that_it_did_not_begin_with(model, points, tmp_path):
    state = tmp_path / "state.safetensors"
    asked = (points, "-m", model, "--state", state, "--events")
    run(*asked, "--alpha", "0.001", "--join", "9")
    kept = state.read_bytes()
    for options, text in [
        (["--alpha", "0.01"], "began with --alpha 0.001, not --alpha 0.01."),
        (["--join", "5"], "began with --join 9, not --join 5."),
        (["--alpha", "0.001", "--no-adapt"], "began with --adapt, not --no-adapt."),
        (["--depth", "50"], "began with --depth 200, not --depth 50."),
    ]:
        found, said = run(*asked, *options, code=2)
        assert found == []
        assert said.startswith("error: ")
        assert text in said
        assert state.read_bytes() == kept
    for options in ([], ["--join", "9", "--alpha", "0.001"]):
        run(*asked, *options)
        stream = load_stream(state, load(model))
        assert (stream.rule.alpha, stream.rule.join) == (0.001, 9)
    assert stream.n_points == 1_200


def test_what_cannot_be_is_one_line(model, points, tmp_path):
    for args, text in [
        ((points, "-m", model, "--all", "--events"), "ask for different lines"),
        ((points, "-m", model, "--alpha", "2"), "alpha must be a number between 0 and 1"),
        ((tmp_path / "gone.jsonl", "-m", model), "No such file"),
        ((points, "-m", model, "--state", model), "no state of a stream"),
        ((points, "-m", model, "--state", tmp_path / "no" / "s"), "no folder that can be written"),
    ]:
        found, said = run(*args, code=2)
        assert found == []
        assert said.startswith("error: ")
        assert text in said


def test_a_file_of_another_format_is_said_once(model, tmp_path):
    table = tmp_path / "points.csv"
    table.write_text("x0\n" + "1.5\n" * 300)
    found, said = run(table, "-m", model, code=2)
    assert found == []
    *told, _, last = said.splitlines()
    assert [line.split(" left")[0] for line in told] == [f"line {i}" for i in range(1, 6)]
    assert last == (
        "error: None of the 301 lines could be read. "
        "Pass JSON Lines: an object a line that names the columns of a point."
    )


def test_a_model_that_looks_ahead_names_the_option(points, tmp_path):
    codec = WindowCodec(length=4)
    save(VAEDetector(codec=codec, random_state=0, max_steps=5).fit(wave(800)), tmp_path / "m")
    _, said = run(points, "-m", tmp_path / "m", code=2)
    assert "--score-of last" in said


def command(*args):
    words = [sys.executable, "-m", "improbable.cli", "watch", *map(str, args)]
    return subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_readings_come_before_the_input_ends_and_ctrl_c_keeps_the_state(model, points, tmp_path):
    lines = points.read_text().splitlines()
    state = tmp_path / "state.safetensors"
    process = command("-m", model, "--all", "--state", state)
    try:
        process.stdin.write(("\n".join(lines[:70]) + "\n").encode())
        process.stdin.flush()
        found = [json.loads(process.stdout.readline()) for _ in range(70)]
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        said = process.stderr.read().decode()
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert said.strip().endswith("; interrupted")
    rest, _ = run("-m", model, "--all", "--state", state, stdin="\n".join(lines[70:]))
    assert found + rest == run(points, "-m", model, "--all")[0]


def test_ctrl_c_between_points_leaves_none_half_taken():
    stop = watching.Interruption()
    stop(signal.SIGINT, None)
    assert stop.asked
    stop.waiting = True
    with pytest.raises(KeyboardInterrupt):
        stop(signal.SIGINT, None)


def test_lines_are_taken_as_they_wait():
    class Source:
        chunks = [b"a\nb\nc", b"c\n", b"d", b""]

        def read1(self, size):
            return self.chunks.pop(0)

    found = list(watching.waiting_lines(Source(), watching.Interruption()))
    assert found == [[b"a", b"b"], [b"cc"], [b"d"]]


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom improbable.cli import app\n"
        "done = CliRunner().invoke(app, ['watch', '--help'])\n"
        "assert done.exit_code == 0, done.output\n"
        "print(sorted({'torch', 'numpy', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
