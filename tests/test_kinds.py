"""What columns are, as a fitted detector tells it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from improbable import VAEDetector, WindowCodec
from improbable.data.frames import read_frame

TINY = {"max_steps": 5, "hidden": (8,), "random_state": 0}


def table(n=60):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "txn_id": [f"t{i}" for i in range(n)],
            "size": rng.normal(size=n),
            "month": pd.period_range("2019-01", periods=n, freq="M"),
            7: rng.poisson(9.0, n),
        }
    )


def test_kinds_by_name():
    found = VAEDetector(**TINY).fit(table()).kinds_
    assert found == {"txn_id": "identifier", "size": "real", "month": "datetime", 7: "count"}
    assert VAEDetector(**TINY).fit(np.random.default_rng(0).normal(size=(50, 1))).kinds_ == {
        "x0": "real"
    }


def test_kinds_of_series():
    rows = pd.DataFrame({"load": np.random.default_rng(0).normal(size=300)})
    detector = VAEDetector(codec=WindowCodec(length=4, score_of="last"), **TINY).fit(rows)
    assert detector.kinds_ == {"load": "real"}


def test_no_kinds_before_fit():
    with pytest.raises(NotFittedError):
        _ = VAEDetector().kinds_


def test_verbose_names_identifiers(capsys):
    VAEDetector(**TINY, verbose=True).fit(table())
    assert "set aside as identifiers: txn_id" in capsys.readouterr().err
    VAEDetector(**TINY, verbose=True).fit(table()[["size"]])
    assert "set aside" not in capsys.readouterr().err


def test_periods_are_moments():
    rows = table()
    rows.loc[3, "month"] = pd.NaT
    before = rows.copy()
    raw = read_frame(rows).columns["month"]
    expected = rows["month"].dt.to_timestamp().astype("datetime64[us]").astype("int64") / 1e6
    assert raw.storage == "time"
    assert np.isnan(raw.values[3])
    np.testing.assert_array_equal(np.delete(raw.values, 3), expected.drop(3))
    pd.testing.assert_frame_equal(rows, before)
