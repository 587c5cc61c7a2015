"""What a caller has told torch elsewhere changes nothing here, and is left as it was."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from improbable import VAEDetector, load, save


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(before)


SURROUNDINGS = {
    "double precision": lambda: default_dtype(torch.float64),
    "half precision": lambda: default_dtype(torch.float16),
    "another device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "no gradients": torch.no_grad,
    "inference mode": torch.inference_mode,
}


@pytest.fixture(scope="module")
def rows():
    found = np.random.default_rng(0).normal(size=(300, 5))
    found[:, 4] = found[:, 4].round()
    found[5, 2] = np.nan
    return found


def fitted(rows):
    return VAEDetector(random_state=0, max_steps=20).fit(rows)


@pytest.fixture(scope="module")
def detector(rows):
    return fitted(rows)


def answers(detector, rows):
    ends = rows[:1], rows[1:2]
    return (
        detector.score_samples(rows),
        detector.impute(rows[:8]),
        detector.reconstruct(rows[:8]),
        detector.sample(5, random_state=0),
        detector.sample(5, given={"x0": 1.0}, random_state=0),
        detector.interpolate(*ends, 4, path="geodesic"),
        detector.explain(rows[:3]).lower,
    )


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_surroundings_change_no_answer(detector, rows, tmp_path, name):
    path = tmp_path / "model.safetensors"
    save(detector, path)
    plain = answers(detector, rows)
    with SURROUNDINGS[name]():
        for one in (detector, load(path), fitted(rows)):
            for found, expected in zip(answers(one, rows), plain, strict=True):
                np.testing.assert_allclose(
                    np.asarray(found, dtype=float), np.asarray(expected, dtype=float), rtol=1e-9
                )
