import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import ks_2samp
from typer.testing import CliRunner

from improbable import DataError, SchemaError, VAEDetector, calibration, load, save
from improbable.cli import app
from improbable.errors import CalibrationWarning

SMALL = {"max_steps": 30, "hidden": (16,), "latent_dim": 3, "random_state": 0}


def rows(n=400, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 2))
    return np.hstack([z, z @ [[1.0], [-1.0]]]) + 0.1 * rng.normal(size=(n, 3)) + shift


def weights(detector):
    return torch.cat([p.flatten() for p in detector.model_.vae.parameters()])


@pytest.fixture(scope="module")
def old():
    return VAEDetector(**SMALL).fit(rows())


def refitted(new, **changes):
    detector = VAEDetector(**SMALL).fit(rows())
    return detector.set_params(**changes).refit(new)


def test_new_rows_become_normal(old):
    new = rows(seed=1, shift=4.0)
    after = refitted(new, max_steps=200)
    fresh = rows(seed=2, shift=4.0)
    assert np.median(old.p_values(fresh)) < 0.02
    assert np.median(after.p_values(fresh)) > 0.3


def test_p_values_are_those_of_new_rows(old):
    after = refitted(rows(300, seed=1, shift=1.0))
    assert len(after.model_.held_out) == 60
    assert after.model_.held_out_apart
    p = after.p_values(rows(2_000, seed=3, shift=1.0))
    for alpha in (0.1, 0.5):
        spread = np.sqrt(alpha * (1 - alpha) * (1 / 2_000 + 1 / 60))
        assert abs(np.mean(p <= alpha) - alpha) < 4 * spread + 1 / 61


def test_encoding_noise_and_sizes_stay(old):
    after = refitted(rows(seed=1), hidden=(99,), latent_dim=7, n_draws=2, n_members=3)
    assert after.model_.codec == old.model_.codec
    assert torch.equal(after.model_.noise, old.model_.noise)
    assert after.model_.settings == old.model_.settings


def test_training_begins_at_the_weights_of_before(old):
    """A step at a rate near zero moves nothing; a fresh start would be far away."""
    after = refitted(rows(seed=1), max_steps=1, learning_rate=1e-12)
    torch.testing.assert_close(weights(after), weights(old), atol=1e-6, rtol=0.0)
    fresh = VAEDetector(**{**SMALL, "max_steps": 1, "learning_rate": 1e-12}).fit(rows(seed=1))
    assert (weights(fresh) - weights(old)).abs().max() > 0.01


def test_the_old_model_is_left_alone(old):
    before, scores = old.model_, old.score_samples(rows(20))
    detector = VAEDetector(**SMALL)
    detector._adopt(before, old.offset_)
    detector.refit(rows(seed=1, shift=2.0))
    assert detector.model_ is not before
    assert not any(p.requires_grad for p in before.vae.parameters())
    np.testing.assert_array_equal(old.score_samples(rows(20)), scores)


def test_the_prior_follows_the_networks():
    after = refitted(rows(seed=1, shift=4.0))
    model = after.model_
    train = model.codec.transform(rows(seed=1, shift=4.0))
    posterior = model.posterior(train)
    loc = model.prior.loc[model.lead].numpy()
    nearest = np.abs(posterior.loc[:, None] - loc[None]).max(-1).min(1)
    assert np.median(nearest) < 1e-6


def test_refit_of_a_loaded_model_is_the_same(old, tmp_path):
    save(old, tmp_path / "old.safetensors")
    again = load(tmp_path / "old.safetensors").refit(rows(seed=1))
    np.testing.assert_allclose(
        again.score_samples(rows(9)), refitted(rows(seed=1)).score_samples(rows(9)), atol=1e-6
    )


def test_directions_and_searches_of_before_are_dropped():
    detector = VAEDetector(**SMALL).fit(rows())
    detector.add_direction("up", rows(20, shift=1.0), rows(20))
    detector.refit(rows(seed=1))
    assert detector.directions_ == {}


def test_with_contamination_anomalies_are_found_again():
    new = rows(seed=1)
    new[:20] += 8.0
    after = refitted(new, contamination="unknown")
    assert set(range(20)) <= set(after.training_outliers_)


def test_other_columns_are_refused():
    frame = pd.DataFrame(rows(), columns=["a", "b", "c"])
    detector = VAEDetector(**SMALL).fit(frame)
    with pytest.raises(SchemaError, match=r"missing:  b"):
        detector.refit(frame.drop(columns="b"))
    with pytest.raises(DataError, match="Too few rows to go on learning from: 1"):
        detector.refit(frame[:1])


def test_few_rows_are_said():
    with pytest.warns(CalibrationWarning, match="Only 9 rows") as caught:
        refitted(rows(9))
    assert caught[-1].filename == __file__


def test_unfitted_says_so():
    with pytest.raises(Exception, match="not fitted"):
        VAEDetector().refit(rows())


def test_drift_of_like_rows_and_of_others(old):
    like = old.drift(rows(500, seed=5))
    assert (like.n, like.is_drift) == (500, False)
    other = old.drift(rows(500, seed=5, shift=1.5))
    assert other.is_drift
    assert other.statistic > 0.3


def test_drift_is_the_distance_of_two_samples(old):
    """Without ties, of scores as of p-values: scipy's statistic, but for 1 / (n + 1)."""
    new, held_out = rows(300, seed=6, shift=0.2), old.model_.held_out
    found = old.drift(new)
    known = ks_2samp(old.score_samples(new), held_out, method="asymp")
    assert abs(found.statistic - known.statistic) < 2 / (len(held_out) + 1)
    assert 0.2 < (found.p_value + 1e-12) / (known.pvalue + 1e-12) < 5.0


def test_drift_by_hand():
    """Nine held-out rows, p-values all 0.1: the share is 1 where it should be 0.1."""
    nine = np.arange(9.0)
    found = calibration.drift([0.1], [20], nine)
    assert found.statistic == pytest.approx(0.9)
    assert found.n == 20
    high = calibration.drift([1.0], [20], nine)
    assert high.statistic == pytest.approx(0.9)
    even = calibration.drift(np.arange(1, 11) / 10, np.full(10, 3), nine)
    assert even.statistic == pytest.approx(0.0, abs=1e-12)
    assert even.p_value == 1.0
    # Ties: only 0.1, 0.5 and 1 are possible, and half of the rows may well have 0.5.
    tied = calibration.drift([0.5, 1.0], [10, 10], [1.0] * 4 + [2.0] * 5)
    assert tied.statistic == pytest.approx(0.1)


def test_no_rows_do_not_drift():
    assert calibration.drift([], [], np.arange(10.0)) == calibration.Drift(0.0, 1.0, 0)


@pytest.mark.parametrize("n_values", [0, 3, 40])
def test_false_alarms_are_rare(n_values):
    """At most the level's share of batches of like rows, with ties among scores or without."""
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(400):
        both = rng.normal(size=350) if n_values == 0 else rng.integers(n_values, size=350) + 0.0
        new, held_out = both[:200], both[200:]
        p = calibration.p_values(new, held_out)
        found = calibration.drift(*np.unique(p, return_counts=True), held_out)
        alarms += found.p_value <= 0.05
    assert alarms / 400 < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400)


SHIFTED = (("old", {}), ("like", {"seed": 1}), ("new", {"seed": 1, "shift": 3.0}))


@pytest.fixture
def files(tmp_path):
    for name, options in SHIFTED:
        frame = pd.DataFrame(rows(**options), columns=["a", "b", "c"])
        frame["label"] = np.where(np.arange(len(frame)) % 10, "ok", "bad")
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    run("fit", "old.csv", "-o", "old.model", *TINY, at=tmp_path)
    return tmp_path


TINY = ("--label", "label", "--normal", "ok", "--max-steps", "30", "--hidden", "16")


def run(*arguments, at):
    names = [str(at / a) if a.endswith((".csv", ".model")) else a for a in arguments]
    result = CliRunner().invoke(app, names)
    return result.exit_code, result.stdout, result.stderr


def test_command_refit_writes_a_model_of_the_new_rows(files):
    code, out, _ = run(
        *("refit", "new.csv", "-m", "old.model", "-o", "new.model", "--label", "label"),
        *("--normal", "ok", "--max-steps", "40", "--json"),
        at=files,
    )
    assert code == 0
    record = json.loads(out)
    assert (record["rows"], record["rows_in_input"], record["held_out_rows"]) == (360, 360, 72)
    before, after = load(files / "old.model"), load(files / "new.model")
    assert after.max_steps == 40
    fresh = pd.DataFrame(rows(seed=7, shift=3.0), columns=["a", "b", "c"])
    assert np.median(before.p_values(fresh)) < 0.05 < np.median(after.p_values(fresh))


def test_command_refit_draws_from_many_rows(files):
    code, out, _ = run(
        *("refit", "new.csv", "-m", "old.model", "-o", "new.model", "--drop", "label"),
        *("--max-rows", "50"),
        at=files,
    )
    assert code == 0
    assert "50, drawn from 400" in out


def test_command_refit_names_missing_columns_and_writes_nothing(files):
    pd.DataFrame(rows(), columns=["a", "b", "d"]).to_csv(files / "other.csv", index=False)
    code, _, err = run("refit", "other.csv", "-m", "old.model", "-o", "new.model", at=files)
    assert code != 0
    assert "missing:  c" in err
    assert not (files / "new.model").exists()


@pytest.mark.parametrize(("name", "drifts"), [("like", False), ("new", True)])
def test_command_score_tells_of_drift(files, name, drifts):
    arguments = ("score", f"{name}.csv", "-m", "old.model", "-o", "out.csv")
    assert ("as a whole the rows differ" in run(*arguments, at=files)[2]) == drifts
    record = json.loads(run(*arguments, "--json", at=files)[1])
    assert set(record["drift"]) == {"statistic", "p_value", "n"}
    assert (record["drift"]["p_value"] <= 0.001) == drifts
    frame = pd.read_csv(files / f"{name}.csv")
    known = load(files / "old.model").drift(frame[["a", "b", "c"]])
    assert record["drift"]["statistic"] == pytest.approx(known.statistic, abs=1e-12)


def test_automatic_draws_are_enough():
    detector = VAEDetector(n_draws="auto", **SMALL).fit(rows())
    n = len(detector.model_.noise)
    assert n in (2, 4, 8, 16, 32, 64)
    if 4 <= n < 64:
        found = detector.scores(rows(seed=4))
        low, high = np.quantile(found["elbo"], [0.25, 0.75])
        assert np.median(found["elbo_se"]) < 2 * 0.01 * (high - low) / 1.349


def test_automatic_draws_without_held_out_rows():
    detector = VAEDetector(n_draws="auto", calibration_fraction=0.0, **SMALL).fit(rows())
    assert len(detector.model_.noise) == 16


def test_command_fit_takes_automatic_draws(files):
    code, _, err = run("fit", "old.csv", "-o", "auto.model", *TINY, "--draws", "auto", at=files)
    assert code == 0, err
    assert len(load(files / "auto.model").model_.noise) in (2, 4, 8, 16, 32, 64)
    code, _, err = run("fit", "old.csv", "-o", "auto.model", *TINY, "--draws", "few", at=files)
    assert code != 0
    assert "n_draws must be" in err or "--draws must be" in err
