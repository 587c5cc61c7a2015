"""The speed benchmark: counted operations, rows of its table, its command line; nothing timed."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import speed
import speed_parts as parts
from speed_parts import Line, Plan, Report

from improbable import VAEDetector
from improbable.networks import MemberMLP
from improbable.objective import elbo

TINY = {"hidden": (7,), "latent_dim": 3, "n_members": 2}
PAGE = "before\n<!-- speed:start -->\nold\n<!-- speed:end -->\nafter\n"


@pytest.fixture(scope="module")
def detector():
    return VAEDetector(**TINY, max_steps=2, random_state=0, device="cpu").fit(
        parts.made_rows(60, 0, 5)
    )


def test_products_of_a_network_by_hand():
    network = MemberMLP(4, [5, 7, 6])
    assert parts.shapes(network) == [(4, 5, 7), (4, 7, 6), (4, 5, 6)]
    forward = parts.forward_products(network, 10)
    assert forward == [(4, 7, 5, 10), (4, 6, 7, 10), (4, 6, 5, 10)]
    assert parts.operations(forward) == 2 * 4 * 10 * (5 * 7 + 7 * 6 + 5 * 6)
    both = parts.backward_products(network, 10, of_data=False)
    assert parts.operations(both) == 2 * parts.operations(forward)
    no_data = parts.backward_products(network, 10, of_data=True)
    assert parts.operations(both) - parts.operations(no_data) == 2 * 4 * 10 * (5 * 7 + 5 * 6)


def test_products_of_a_step_by_hand(detector):
    vae = detector.model_.vae
    encoder = 10 * 7 + 7 * 6 + 10 * 6  # 5 values and 5 flags to 3 means and 3 scales
    decoder = 3 * 7 + 7 * 10 + 3 * 10  # to 5 means and 5 scales
    needed = 3 * (encoder + decoder) - (10 * 7 + 10 * 6)
    assert parts.operations(parts.step_products(vae, 16)) == 2 * 2 * 16 * needed


def test_a_step_is_what_torch_multiplies():
    """Every product that autograd runs is counted, and none besides."""
    vae, rows, *_ = parts.training_inputs(parts.made_rows(60, 0, 5), device="cpu", **TINY)
    batch = rows[:16]
    noise = torch.randn(2, 16, 3)
    with FlopCounterMode(display=False) as counter:
        elbo(vae, batch, batch.observed, noise).sum().backward()
    assert counter.get_total_flops() == parts.operations(parts.step_products(vae, 16))


def test_products_run(detector):
    products = parts.step_products(detector.model_.vae, 4)
    assert parts.product_seconds(products, torch.float32, "cpu", times=1, repeat=1) > 0.0


def test_training_inputs_are_those_before_training():
    inputs = parts.training_inputs(parts.made_rows(60, 0, 5), device="cpu", **TINY)
    vae, rows = inputs[:2]
    assert next(vae.parameters()).dtype == torch.float32
    assert len(rows) == 42
    seconds, n_threads = parts.step_seconds(inputs, 2)
    assert seconds > 0.0
    assert n_threads == 1


def test_loops_give_the_scores_of_the_library(detector):
    rows = parts.made_rows(4, 1, 5)
    _, batch = next(detector.model_.blocks(detector._rows(rows)))
    expected = detector.reconstruction_probability(rows)
    for loop in (parts.loop_over_rows, parts.loop_over_draws):
        np.testing.assert_allclose(loop(detector.model_, batch), expected, rtol=1e-9)


def test_stages_are_those_of_scoring(detector):
    spent = parts.stage_seconds(detector.model_, parts.made_rows(20, 1, 5))
    assert list(spent) == ["codec", *parts.STAGES]
    assert min(spent.values()) > 0.0
    shares = parts.stage_table({"codec": 1.0, "encoder": 3.0})
    assert [cell.strip() for cell in shares[-1].split("|")[1:-1]] == [
        "encoder",
        "3.00 s",
        "75.0 %",
    ]


def test_rows_are_the_same_however_many(monkeypatch):
    monkeypatch.setattr(parts, "PIECE", 30)
    rows = parts.made_rows(70, 3)
    assert [len(piece) for piece in parts.pieces(70, 3)] == [30, 30, 10]
    np.testing.assert_array_equal(rows[:60], parts.made_rows(60, 3))
    assert abs(np.corrcoef(rows.T)[np.triu_indices(30, 1)]).max() > 0.5


def test_planted_rows_differ_from_the_normal_ones():
    rows, is_anomaly = parts.planted_rows(600, 1)
    assert is_anomaly.sum() == 6
    same = (rows == parts.made_rows(600, 1)).mean(axis=1)
    assert (same[~is_anomaly] == 1.0).all()
    assert (same[:2] > 0.1).all()
    assert (same[:2] < 0.9).all()
    assert (same[2:6] == 0.0).all()


def test_rows_of_the_table():
    quick = parts.faster("fit", 0.5, "PyOD", 20.0, 30.0)
    half = parts.share("step", 0.02, "products", 0.012, 60.0)
    slow = Line("cold", "5.00 s", "torch", "2.00 s", 5.0, "s", 4.0, at_most=True)
    plain = Line("memory", "2 MiB", "fewer rows", "1 MiB", 2.0, "x")
    cells = [line.cells() for line in (quick, half, slow, plain)]
    assert cells[0] == ("fit", "500 ms", "PyOD", "20.0 s", "40.0 x", "at least 30 x", "yes")
    assert cells[1][1:] == ("20.0 ms", "products", "12.0 ms", "60.0 %", "at least 60 %", "yes")
    assert cells[2][4:] == ("5.00 s", "at most 4 s", "no")
    assert cells[3][4:] == ("2.00 x", "", "")
    assert all(len(row) == len(speed.HEADER) for row in cells)


def test_a_fast_fit_of_lower_precision_does_not_reach_the_aim():
    better = speed.beside_rival("fit", (1.0, 0.5), "rival", (40.0, 0.5), 30.0)
    worse = speed.beside_rival("fit", (1.0, 0.4), "rival", (40.0, 0.5), 30.0)
    slower = speed.beside_rival("fit", (1.0, 0.6), "rival", (20.0, 0.5), 30.0)
    assert [line.reached() for line in (better, worse, slower)] == [True, False, False]
    assert worse.cells()[1:4] == ("1.00 s, AP 0.400", "rival", "40.0 s, AP 0.500")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1234.0, "1,234 s"), (12.34, "12.3 s"), (0.01234, "12.3 ms"), (2.5e-6, "2.50 µs")],
)
def test_durations(seconds, words):
    assert parts.duration(seconds) == words


def test_points_of_growth():
    whole, quick = list(parts.growth_points(Plan())), list(parts.growth_points(Plan(quick=True)))
    assert ("rows", 1_000_000, 1_000_000, 30, {}) in whole
    assert ("columns", 200, 100_000, 200, {}) in whole
    assert ("draws", 64, 100_000, 30, {"n_draws": 64}) in whole
    assert ("members", 8, 100_000, 30, {"n_members": 8}) in whole
    assert len(quick) < len(whole)


def made_up(plan, device):
    growth = [("rows", n, n / 1e3, n / 1e4) for n in (10, 100)]
    line = parts.faster(f"made up, {device}", 1.0, "a rival", 3.0, 2.0)
    return Report([line], ["| more |", "| --- |"], [f"Once in {plan.repeat}."], growth)


def test_the_page_is_written(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    monkeypatch.setattr(speed, "WORK", {"one": made_up, "fit": made_up})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert speed.main(["--quick", "--rows-of-work", "fit", "one", "--markdown", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert text.count("| made up, cpu |") == 2
    assert "| more |\n| --- |\n\n| more |" in text
    assert "There is no GPU" in text
    assert "A quick run" in text
    assert "images/scaling.png" in text
    assert (tmp_path / "images/scaling.png").stat().st_size > 1_000
    assert "made up, cpu" in capsys.readouterr().out


def test_rows_that_train_run_again_on_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    asked = [("fit", "cpu"), ("fit", "cuda"), ("cold", "cpu")]
    assert list(speed.runs(["cold", "fit"])) == asked
    assert "no GPU" not in speed.method(Plan())


def test_a_rival_that_is_not_there_is_skipped(monkeypatch):
    def absent(*_):
        raise ImportError("no module of that name")

    monkeypatch.setattr(parts, "fit_pyod", absent)
    monkeypatch.setattr(parts, "fit_pythae", absent)
    plan = Plan(repeat=1, fit_rows=300, test_rows=300, score_rows=100)
    report = speed.fit_work(plan, "cpu")
    assert report.lines == []
    assert "PyOD VAE was not measured" in report.notes[0]
    assert "pythae VAE was not measured" in report.notes[1]
    assert "was not measured" in speed.pyod_score_work(plan, "cpu").notes[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rows-of-work", "flight"], "invalid choice: 'flight'"),
        (["--repeat", "0"], "must be 1 or more"),
        (["--repeat", "often"], "invalid positive value"),
        (["--rows-of-work", "fit", "--rows", "10"], "--rows is the length of a file"),
        (["--rows", "-1"], "must be 1 or more"),
    ],
)
def test_wrong_arguments(arguments, words, capsys):
    with pytest.raises(SystemExit) as end:
        speed.main(arguments)
    assert end.value.code == 2
    assert words in capsys.readouterr().err


def test_a_page_without_a_place_is_refused_before_the_run(tmp_path):
    with pytest.raises(SystemExit, match="no place for the table"):
        speed.main(["--markdown", str(tmp_path / "none.md")])


def test_arguments_make_the_plan():
    def plan(*arguments):
        return speed.planned(speed.parsed(arguments))

    assert plan() == Plan()
    assert plan("--repeat", "7").few == 3
    assert plan("--quick").repeat == 1
    assert plan("--quick", "--repeat", "2").repeat == 2
    assert plan("--rows", "5000000").file_rows == (100_000, 5_000_000)
