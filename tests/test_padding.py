"""Codes with zeros in front keep them: in files, in samples, and beside numbers."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from test_cli import SMALL, run

from improbable import VAEDetector, load
from improbable.data.files import read_table
from improbable.data.padding import are_codes, numbered

CODES = np.array(["01067", "04109", "20095", "80331"])


def table(n=120, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"code": rng.choice(CODES, n), "size": rng.normal(size=n).round(3)})


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["01067", "04109", "20095", None], True),
        (["01067", "01067", "20095"], False),
        (["01067", "04109", "2009"], False),
        (["01067", "04109", "2009x"], False),
        (["01067", "04109", *["20095"] * 19], False),
        (["0", "1", "2"], False),
        (["-0123", "-0124"], False),
        ([None], False),
    ],
)
def test_what_codes_are(cells, expected):
    assert are_codes(pa.array(cells, pa.string())) == expected


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [0, 1])
def test_codes_of_csv_are_text(tmp_path, delimiter, quoting):
    rows = table().assign(other=np.arange(120))
    rows.loc[3, "code"] = None
    rows.to_csv(tmp_path / "a.csv", index=False, sep=delimiter, quoting=quoting)
    found = read_table(tmp_path / "a.csv")
    assert found["code"].to_pylist() == [None if v != v else v for v in rows["code"]]
    assert pa.types.is_integer(found.schema.field("other").type)


def test_numbers_of_csv_stay_numbers(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("day,few,n\n" + "".join(f"0{i % 2}/1,{i + 7:02d},{i}\n" for i in range(100)))
    found = read_table(path)
    assert [str(kind) for kind in found.schema.types] == ["string", "int64", "int64"]


def test_samples_and_scores_keep_codes(tmp_path):
    table().to_csv(tmp_path / "train.csv", index=False)
    run("fit", tmp_path / "train.csv", "-o", tmp_path / "m", *SMALL)
    run("sample", "-n", "30", "-m", tmp_path / "m", "-o", tmp_path / "drawn.csv")
    assert set(pd.read_csv(tmp_path / "drawn.csv", dtype=str)["code"]) <= set(CODES)
    new = table(20, 1)
    new.to_csv(tmp_path / "new.csv", index=False)
    run("score", tmp_path / "new.csv", "-m", tmp_path / "m", "-o", tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv", dtype={"code": str})
    assert found["code"].tolist() == new["code"].tolist()
    detector = load(tmp_path / "m")
    expected = detector.score_samples(new)
    np.testing.assert_allclose(found["score"], expected)
    as_numbers = pd.read_csv(tmp_path / "new.csv")
    assert as_numbers["code"].dtype == np.int64
    np.testing.assert_array_equal(detector.score_samples(as_numbers), expected)


def test_a_model_that_took_codes_for_numbers_still_does(tmp_path):
    rows = table()
    detector = VAEDetector(max_steps=5, hidden=(8,)).fit(rows.astype({"code": int}))
    expected = detector.score_samples(rows.astype({"code": int}))
    rows.to_csv(tmp_path / "a.csv", index=False)
    np.testing.assert_array_equal(detector.score_samples(read_table(tmp_path / "a.csv")), expected)


def test_frames_and_json_lines_keep_codes(tmp_path):
    rows = table()
    rows.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    for data in (rows, read_table(tmp_path / "a.jsonl")):
        drawn = VAEDetector(max_steps=5, hidden=(8,), random_state=0).fit(data).sample(20)
        assert set(pd.DataFrame(drawn.to_pydict() if data is not rows else drawn)["code"]) <= set(
            CODES
        )


def test_padded_places_in_time_are_numbers():
    rows = pa.table({"at": ["001", "002", "010"], "code": ["001", "002", "010"]})
    found = numbered(rows, "at")
    assert found["at"].to_pylist() == [1, 2, 10]
    assert found["code"].to_pylist() == ["001", "002", "010"]
    assert numbered(rows, None) is numbered(rows, "none") is rows
