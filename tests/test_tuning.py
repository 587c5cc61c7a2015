import logging
import signal
import sys
import warnings

import numpy as np
import pytest
from sklearn.base import clone

from improbable import ImprobableError, VAEDetector, tuning
from improbable.errors import TrainingWarning
from improbable.fitting import learned_rows, split_rows
from improbable.settings import check_settings

SMALL = {"max_steps": 8, "random_state": 0}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 2))
    return np.hstack([z, z @ rng.normal(size=(2, 2)) + 0.1 * rng.normal(size=(300, 2))])


@pytest.fixture(scope="module")
def tuned(rows):
    return VAEDetector(tune=True, budget=5, **SMALL).fit(rows)


def test_the_defaults_are_tried_first_and_the_best_is_taken(tuned):
    trials = tuned.tuning_.trials
    assert trials[0].settings["latent_dim"] == 16
    assert trials[0].settings["hidden"] == (128,)
    found = [trial.held_out_score for trial in trials]
    assert tuned.tuning_.best == trials[int(np.argmax(found))].settings
    assert not tuned.tuning_.interrupted


def test_the_final_model_is_the_one_of_the_best_settings(tuned, rows):
    again = VAEDetector(**{**SMALL, **tuned.tuning_.best}).fit(rows)
    np.testing.assert_array_equal(again.score_samples(rows), tuned.score_samples(rows))


def test_a_trial_scores_rows_its_model_never_saw(rows):
    """The mean of the held-out scores of an ordinary fit on the learned rows alone."""
    settings = check_settings(VAEDetector(**SMALL).get_params(deep=False))
    learned = learned_rows(rows, settings)
    score, interrupted = tuning.held_out_score(learned, settings)
    alone = VAEDetector(calibration_fraction=0.3, **SMALL).fit(learned.to_native())
    assert score == pytest.approx(alone.model_.held_out.mean(), abs=1e-12)
    assert not interrupted


def test_the_elbo_judges_whatever_score_decides(rows):
    """A score such as kl alone is best where nothing is learned."""
    found = [
        tuning.held_out_score(learned_rows(rows, settings), settings)
        for settings in (
            check_settings(VAEDetector(score_function=name, **SMALL).get_params(deep=False))
            for name in ("elbo", "kl")
        )
    ]
    assert found[0] == found[1]


def test_rows_for_calibration_take_no_part(rows):
    settings = check_settings(VAEDetector(**SMALL).get_params(deep=False))
    learned = learned_rows(rows, settings).to_native()
    detector = VAEDetector(**SMALL).fit(rows)
    left = [row for row in rows.tolist() if row not in learned.tolist()]
    assert len(left) == len(detector.model_.held_out) == 60
    held_out = np.sort(detector.score_samples(np.array(left)))
    np.testing.assert_allclose(held_out, detector.model_.held_out, atol=1e-9)


def test_what_is_given_stays_as_it_is(rows):
    detector = VAEDetector(tune=True, budget=3, latent_dim=3, hidden=(8,), **SMALL).fit(rows)
    assert {frozenset(t.settings) for t in detector.tuning_.trials} == {
        frozenset({"learning_rate"})
    }
    assert detector.model_.settings["latent_dim"] == 3
    assert detector.model_.settings["hidden"] == [8]


def test_layers_of_the_decoder_count_as_given():
    known = VAEDetector().get_params()
    given = VAEDetector(decoder_hidden=(8,)).get_params()
    assert tuning.free(given, known) == ["latent_dim", "max_steps", "learning_rate"]
    assert tuning.free(known, known) == list(tuning.SPACE)


def test_the_decoder_mirrors_the_layers_tried():
    settings = check_settings(VAEDetector().get_params(deep=False))
    found = tuning.changed(settings, {"hidden": (3, 5), "max_steps": 7, "latent_dim": 2})
    assert (found.hidden, found.decoder_hidden) == ((3, 5), (5, 3))
    assert (found.train.max_steps, found.latent_dim) == (7, 2)
    assert found.train.learning_rate == settings.train.learning_rate


def test_same_seed_same_search(tuned, rows):
    again = clone(tuned).fit(rows)
    assert again.tuning_ == tuned.tuning_


@pytest.mark.parametrize("random_state", [None, np.random.default_rng(0)])
def test_any_random_state_keeps_the_same_rows_apart(rows, random_state):
    """The search and the final fit draw their seed once, together."""
    detector = VAEDetector(tune=True, budget=1, max_steps=8, random_state=random_state)
    assert len(detector.fit(rows).tuning_.trials) == 1


def test_a_choice_that_comes_up_again_is_not_fitted_again(rows, monkeypatch):
    fits = []
    monkeypatch.setattr(tuning, "SPACE", {"latent_dim": (2, 16)})
    monkeypatch.setattr(
        tuning, "held_out_score", lambda _, s: (fits.append(s.latent_dim), (1.0, False))[1]
    )
    VAEDetector(tune=True, budget=9, **SMALL).fit(rows)
    assert sorted(fits) == [2, 16]


def test_too_few_rows_or_nothing_to_vary_is_said_and_changes_nothing(rows):
    with pytest.warns(TrainingWarning, match="only 80 rows to learn from") as caught:
        few = VAEDetector(tune=True, **SMALL).fit(rows[:100])
    assert caught[0].filename == __file__
    assert few.tuning_.trials == ()
    assert few.tuning_.best == {}
    given = {"latent_dim": 3, "hidden": (8,), "learning_rate": 0.01, **SMALL}
    with pytest.warns(TrainingWarning, match="are all given"):
        VAEDetector(tune=True, **given).fit(rows)


def test_no_warning_of_a_trial_reaches_the_user(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VAEDetector(tune=True, budget=2, **SMALL).fit(rows)


def test_interrupting_keeps_the_best_so_far(rows, monkeypatch):
    found = iter([(1.0, False), (2.0, True)])
    monkeypatch.setattr(tuning, "held_out_score", lambda *_: next(found))
    detector = VAEDetector(tune=True, budget=9, **SMALL).fit(rows)
    assert [trial.held_out_score for trial in detector.tuning_.trials] == [1.0]
    assert detector.tuning_.interrupted


def test_interrupting_the_first_model_leaves_nothing_to_keep(rows, monkeypatch, capfd):
    monkeypatch.setattr(tuning, "held_out_score", lambda *_: (2.0, True))
    with pytest.raises(KeyboardInterrupt):
        VAEDetector(tune=True, budget=9, **SMALL).fit(rows)
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_between_trainings_keeps_the_best_so_far(rows, monkeypatch):
    def stopped(*_):
        if stopped.calls:
            signal.raise_signal(signal.SIGINT)
        stopped.calls += 1
        return 1.0, False

    stopped.calls = 0
    monkeypatch.setattr(tuning, "held_out_score", stopped)
    detector = VAEDetector(tune=True, budget=9, **SMALL).fit(rows)
    assert len(detector.tuning_.trials) == 1
    assert detector.tuning_.interrupted


def test_a_fit_without_tune_forgets_an_older_search(rows):
    detector = VAEDetector(tune=True, budget=1, **SMALL).fit(rows)
    detector.set_params(tune=False).fit(rows)
    assert not hasattr(detector, "tuning_")


def test_optuna_keeps_quiet_and_its_level(rows, capfd):
    logger = logging.getLogger("optuna")
    before = logger.level
    VAEDetector(tune=True, budget=2, **SMALL).fit(rows)
    assert logger.level == before
    assert capfd.readouterr() == ("", "")


def test_global_generators_are_left_alone(rows):
    before = np.random.get_state()[1].copy()
    VAEDetector(tune=True, budget=2, **SMALL).fit(rows)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_progress_says_how_many_models(rows, capfd):
    VAEDetector(tune=True, budget=2, verbose=True, **SMALL).fit(rows)
    assert "2/2 models" in capfd.readouterr().err


def test_without_optuna_the_remedy_is_named(rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImprobableError, match=r"pip install 'improbable\[tune\]'"):
        VAEDetector(tune=True, **SMALL).fit(rows)


@pytest.mark.parametrize("budget", [0, 2.5, True])
def test_a_budget_is_a_whole_number(rows, budget):
    with pytest.raises(ImprobableError, match="budget must be a whole number, 1 or more"):
        VAEDetector(tune=True, budget=budget).fit(rows)


def test_learned_positions_are_what_is_not_for_calibration():
    split = split_rows(100, 0.1, 0.2, np.random.default_rng(0))
    together = np.concatenate([split.learned, split.calibration])
    assert sorted(together) == list(range(100))
