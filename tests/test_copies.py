"""Copies of rows: a file loaded twice is named at fit, repeats by chance are not."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from improbable import CalibrationWarning, VAEDetector
from improbable.cli import app
from improbable.data.copies import count_copies
from improbable.data.frames import read_frame

TINY = {"max_steps": 5, "hidden": (8,), "random_state": 0}
FINE = np.random.default_rng(0).normal(size=(200, 3))


def copies(table: object) -> int:
    frame = read_frame(table)
    return count_copies(list(frame.columns.values()), frame.n_rows)


@pytest.mark.parametrize("times", [2, 3, 10])
def test_a_table_loaded_several_times_is_found(times: int) -> None:
    assert copies(np.tile(FINE, (times, 1))) == 200 * (times - 1)


def test_some_rows_that_come_again_are_found() -> None:
    assert copies(np.vstack([FINE, FINE[:30]])) == 30
    assert copies(np.vstack([FINE, FINE[:10]])) == 0


def test_missing_cells_and_zeros_of_both_signs_equal_each_other() -> None:
    holed = FINE.copy()
    holed[::5, 1], holed[::7, 2] = np.nan, 0.0
    again = holed.copy()
    again[::7, 2] = -0.0
    assert copies(np.vstack([holed, again])) == 200


def test_texts_and_times_count_as_well() -> None:
    hours = pd.date_range("2024-01-01", periods=200, freq="h")
    table = pd.DataFrame({"at": hours, "site": ["north", "south", None, "east"] * 50})
    assert copies(pd.concat([table, table])) == 200
    other = table.assign(site=table["site"].fillna("west").str.upper())
    assert copies(pd.concat([table, other])) == 0


def test_coarse_numbers_are_found_by_how_often_they_come() -> None:
    coarse = np.random.default_rng(1).lognormal(4.0, 1.0, size=(2_000, 1)).round(1)
    assert copies(coarse) == 0
    assert copies(np.vstack([coarse, coarse])) > 2_000


@pytest.mark.parametrize("seed", range(20))
def test_repeats_by_chance_are_not_copies(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rounded = np.round(rng.normal(size=(rng.integers(50, 2_000), rng.integers(1, 3))), 2)
    counts = rng.poisson(rng.gamma(1.0, 1_000.0, size=(1_000, 1))).astype(float)
    assert copies(rounded) == copies(counts) == 0


def test_one_row_that_comes_often_is_no_sign() -> None:
    assert copies(np.vstack([FINE, np.zeros((100, 3))])) == 0


def test_few_names_repeat_as_they_like() -> None:
    table = pd.DataFrame({"color": ["red", "green", "blue"] * 100, "size": [1.0, 2.0] * 150})
    assert copies(table) == 0


def test_fit_names_copies_in_spite_of_row_numbers() -> None:
    table = pd.DataFrame(np.vstack([FINE, FINE]), columns=list("abc"))
    table.insert(0, "row", np.arange(400))
    with pytest.warns(
        CalibrationWarning, match="200 of 400 rows .* in all columns but row"
    ) as found:
        VAEDetector(**TINY).fit(table)
    assert len(found) == 1
    assert Path(found[0].filename) == Path(__file__)


def test_refit_names_copies() -> None:
    detector = VAEDetector(**TINY).fit(FINE)
    with pytest.warns(CalibrationWarning, match="200 of 400 rows are copies") as found:
        detector.refit(np.vstack([FINE, FINE]))
    assert Path(found[0].filename) == Path(__file__)


def test_distinct_rows_are_fitted_without_a_word() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VAEDetector(**TINY).fit(FINE)


def test_the_command_names_copies(tmp_path: Path) -> None:
    path = tmp_path / "twice.csv"
    pd.DataFrame(np.vstack([FINE, FINE]), columns=list("abc")).to_csv(path, index=False)
    found = CliRunner().invoke(app, ["fit", str(path), "-o", str(tmp_path / "m.safetensors")])
    assert found.exit_code == 0
    assert found.stderr.count("200 of 400 rows are copies of others in all columns") == 1
