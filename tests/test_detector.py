import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from conftest import SMALL, mixed_table
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from improbable import (
    CalibrationWarning,
    Categorical,
    DataError,
    DataWarning,
    ImageCodec,
    ImprobableError,
    SchemaError,
    TrainingWarning,
    VAEDetector,
    fitting,
    load,
    save,
)
from improbable.calibration import p_values, q_values
from improbable.data.numeric import bend
from improbable.errors import NotCalibratedError
from improbable.explanations import Reference
from improbable.priors import AggregatedPosterior, StandardNormal
from improbable.randomness import numpy_generator, seed_sequence
from improbable.settings import check_settings
from improbable.typical import typical_cells
from improbable.wording import AS_A_WHOLE

RNG = np.random.default_rng(0)
BLOB = RNG.normal(size=(200, 3))


def fast(**params):
    return VAEDetector(**{**SMALL, "max_steps": 20, "hidden": (8,), **params})


def test_scores_do_not_depend_on_batch_or_order(detector, new):
    whole = detector.score_samples(new)
    assert whole.dtype == np.float64
    for size in (1, 7):
        parts = [detector.score_samples(new[i : i + size]) for i in range(0, len(new), size)]
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-9, rtol=0)
    np.testing.assert_allclose(detector.score_samples(new[::-1])[::-1], whole, atol=1e-9, rtol=0)
    np.testing.assert_array_equal(detector.score_samples(new), whole)


def test_same_seed_same_model_even_in_another_process(tmp_path):
    np.save(tmp_path / "x.npy", BLOB)
    code = (
        "import numpy as np; from improbable import VAEDetector;"
        f"x = np.load({str(tmp_path / 'x.npy')!r});"
        "d = VAEDetector(max_steps=20, hidden=(8,), n_members=2, random_state=0).fit(x);"
        "print(repr(d.score_samples(x[:5]).tolist()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    there = np.array(eval(done.stdout))  # noqa: S307
    np.testing.assert_allclose(there, fast().fit(BLOB).score_samples(BLOB[:5]), atol=1e-6)


def test_nothing_touches_a_global_generator():
    np.random.seed(7)
    torch.manual_seed(7)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    detector = fast(random_state=None).fit(BLOB)
    detector.detect(BLOB, alpha=0.1)
    detector.sample(5)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_different_seeds_differ():
    one, two = (fast(random_state=seed).fit(BLOB).score_samples(BLOB) for seed in (0, 1))
    assert np.abs(one - two).max() > 1e-6


def test_far_out_scores_fall_without_end():
    detector = fast(max_steps=60).fit(RNG.normal(size=(800, 4)))
    for sign in (1, -1):
        for column in range(4):
            rows = np.zeros((12, 4))
            rows[:, column] = sign * np.array([5, 6, 8, 10, 15, 30, 100, 1e3, 1e5, 1e7, 1e9, 1e11])
            scores = detector.score_samples(rows)
            assert np.isfinite(scores).all()
            assert (np.diff(scores[:10]) < 0).all()
            assert (np.diff(scores) <= 0).all()
    assert np.isfinite(detector.score_samples([[np.inf, -np.inf, 1e300, 0]])).all()


def test_units_change_nothing():
    rows = RNG.normal(size=(300, 3)) + 5
    one, other = fast().fit(rows), fast().fit(rows * [1, 1000, 1])
    new = RNG.normal(size=(50, 3)) * 2 + 5
    np.testing.assert_allclose(one.p_values(new), other.p_values(new * [1, 1000, 1]))
    np.testing.assert_array_equal(one.predict(new), other.predict(new * [1, 1000, 1]))
    shares = [d.explain(x).shares for d, x in ((one, new), (other, new * [1, 1000, 1]))]
    np.testing.assert_allclose(*shares, atol=1e-5)


@pytest.mark.parametrize(
    "rows",
    [
        [[1.0, 2.0], [2.0, 1.0], [3.0, 5.0]],
        np.repeat(RNG.normal(size=(2, 3)), 40, axis=0),
        RNG.normal(size=(60, 1)),
        np.column_stack([np.ones(50), RNG.normal(size=50)]),
        np.column_stack([RNG.random(50) < 0.5, RNG.normal(size=50)]).astype(object),
        [[True, "a"], [False, "b"], [True, "a"], [True, "b"]],
        np.where(RNG.random((80, 3)) < 0.3, np.nan, RNG.normal(size=(80, 3))),
        np.array([[1.0, np.inf], [2.0, 3.0], [4.0, 5.0], [0.5, 1.0]] * 10),
    ],
)
def test_strange_tables_give_finite_bounded_scores(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        warnings.simplefilter("ignore", TrainingWarning)
        detector = fast().fit(rows)
    scores = detector.score_samples(rows)
    assert np.isfinite(scores).all()
    has_inf = "inf" in np.asarray(rows, dtype=object).astype(str)
    assert np.abs(scores).max() < (1e18 if has_inf else 1e6)
    p = detector.p_values(rows)
    assert ((p > 0) & (p <= 1)).all()


def test_constant_column_that_changes_is_a_surprise():
    detector = fast().fit(np.column_stack([np.ones(100), RNG.normal(size=100)]))
    same, other = detector.score_samples([[1.0, 0.0], [1.001, 0.0]])
    assert same - other == pytest.approx(np.log(81), abs=1e-9)


def test_too_few_rows_to_hold_out_is_said():
    with pytest.warns(CalibrationWarning, match="20 rows"):
        fast().fit(RNG.normal(size=(6, 2)))


@pytest.mark.parametrize(
    ("rows", "text"), [(np.ones((50, 2)), "one value"), ([[1.0]], "1 sample")]
)
def test_nothing_to_learn_is_said(rows, text):
    with pytest.raises(DataError, match=text):
        fast().fit(rows)


def test_contamination_flags_that_share_of_training_rows():
    detector = fast(contamination=0.1).fit(BLOB)
    assert (detector.predict(BLOB) == -1).sum() == 20
    np.testing.assert_allclose(
        detector.decision_function(BLOB), detector.score_samples(BLOB) - detector.offset_
    )


def test_auto_threshold_agrees_with_p_values(gaussian):
    detector, rows = gaussian
    flagged = detector.predict(rows) == -1
    np.testing.assert_array_equal(flagged, detector.p_values(rows) <= 0.01)


def test_clean_data_is_flagged_at_most_alpha(gaussian):
    detector, rows = gaussian
    p, n = detector.p_values(rows), len(detector.model_.held_out)
    for alpha in (0.1, 0.01, 0.001):
        slack = 4 * np.sqrt(alpha * (1 - alpha) * (1 / len(rows) + 1 / n))
        assert (p <= alpha).mean() <= alpha + slack
    assert (p <= 0.1).mean() > 0.05


def test_false_discovery_rate_is_kept(gaussian):
    """The guarantee is over calibration sets too, so each trial draws one from the pool."""
    detector, rows = gaussian
    pool = np.concatenate([detector.model_.held_out, detector.score_samples(rows)])
    rng = np.random.default_rng(0)
    far = detector.score_samples(rows[:200] + rng.choice([-30.0, 30.0], size=(200, 5)))
    rates = []
    for _ in range(200):
        rng.shuffle(pool)
        mixed = np.concatenate([rng.choice(far, 20), pool[:380]])
        flagged = q_values(p_values(mixed, pool[380:2780])) <= 0.1
        rates.append(flagged[20:].sum() / max(flagged.sum(), 1))
    assert np.mean(rates) <= 0.1 + 3 * np.std(rates) / np.sqrt(200)
    assert np.mean(rates) > 0.03


def test_fdr_flags_by_q_value(detector, new):
    found = detector.detect(new, fdr=0.3)
    np.testing.assert_array_equal(found["is_outlier"], found["q_value"] <= 0.3)


def test_one_moved_feature_of_a_hundred_is_named_first():
    rows = np.random.default_rng(0).normal(size=(600, 100))
    detector = fast(max_steps=60).fit(rows)
    for column in (0, 57, 99):
        row = np.zeros((1, 100))
        row[0, column] = 20.0
        explanation = detector.explain(row)
        assert explanation.ranking(0)[0] == column
        assert explanation.columns[column] in explanation.reasons(0)[0]
        assert explanation.p_values[0, column] < 0.02


def test_shares_add_up(detector, new):
    total = detector.explain(new).shares.sum(axis=1)
    expected = detector.reconstruction_probability(new, definition="expected_log_prob")
    np.testing.assert_allclose(total, expected, atol=1e-9, rtol=0)


def test_a_column_seen_in_few_held_out_rows_has_a_typical_cell(detector):
    model = detector.model_
    table = mixed_table(200, seed=1)
    table.loc[: len(table) - 4, "age"] = None
    rows = model.codec.transform(table)
    shares = np.where(rows.missing, np.nan, model.shares(rows))
    found = typical_cells(replace(model, reference=Reference(shares)), rows)
    age = list(model.codec.names).index("age")
    assert found[age] == pytest.approx(np.median(shares[-3:, age]))
    unseen = typical_cells(replace(model, reference=Reference(shares[:-3])), rows)
    assert unseen[age] == 0.0


def test_missing_cells_add_nothing_and_rows_compare_with_like(detector, new):
    raw = detector.reconstruction_probability(new, "elbo")
    decision = detector.score_samples(new)
    missing = new[list(detector.model_.codec.names)].isna().to_numpy()
    added = decision - raw - missing @ detector.model_.typical
    assert (added <= 1e-8).all()  # an odd cell lowers the score of a row or two
    assert np.mean(np.abs(added) <= 1e-8) > 0.9
    whole = new[~missing.any(axis=1)]
    scores = detector.score_samples(whole)
    for column in ("age", "income", "height", "sex", "city", "visits"):
        shift = detector.score_samples(whole.assign(**{column: None})) - scores
        assert abs(np.median(shift)) < 0.3 * scores.std()


def test_all_cells_missing_is_ordinary(detector, new):
    nothing = new.head(3).copy()
    for name in nothing.columns:
        nothing[name] = None
    p = detector.p_values(nothing)
    assert (p > 0.05).all()


def test_warnings_name_the_cells(detector, new):
    odd = new.head(3).copy()
    odd["age"] = [500, 30, 30]
    odd.iloc[1, odd.columns.get_loc("city")] = "paris"
    odd["income"] = np.nan
    found = detector.detect(odd[odd.columns[::-1]])
    assert "age is outside" in found["warnings"][0]
    assert "city = 'paris' was never seen" in found["warnings"][1]
    assert all("income is missing in all rows" in w for w in found["warnings"])
    assert all("another order" in w for w in found["warnings"])
    assert not any("another order" in w for w in detector.detect(odd)["warnings"])
    assert "age = 500" in found["top_reasons"][0]


def test_every_flagged_row_has_a_reason_and_no_other_one(detector, new):
    """The score's KL belongs to a row as a whole: all columns may be usual by themselves."""
    found = detector.detect(new, alpha=0.5)
    flagged = found["is_outlier"].to_numpy()
    assert (found["top_reasons"][flagged] != "").all()
    assert (found["top_reasons"][~flagged] == "").all()
    explained = detector.explain(new)
    said = [explained.reasons(row) for row in range(len(new))]
    whole = np.array([not reasons for reasons in said]) & flagged
    assert whole.any()
    assert set(found["top_reasons"][whole]) == {AS_A_WHOLE}


def test_explanations_tell_rows_that_are_odd_as_a_whole(detector, new):
    found = detector.explain(new)
    np.testing.assert_array_equal(found.odd, detector.p_values(new) <= 0.01)
    plain = next(row for row in range(10) if not found.reasons(row))
    assert f"row {plain}: nothing stands out" in str(found)
    odd = replace(found, odd=np.arange(len(new)) == plain)
    assert odd.reasons(plain) == [AS_A_WHOLE]
    assert f"row {plain}: {AS_A_WHOLE}" in str(odd)
    loud = max(range(len(new)), key=lambda row: found.surprise[row].max())
    assert replace(found, odd=np.ones(len(new), dtype=bool)).reasons(loud) == found.reasons(loud)


def test_detect_gives_the_library_back(detector, train, new):
    for convert, kind in ((lambda f: f, pd.DataFrame), (pl.from_pandas, pl.DataFrame)):
        found = detector.detect(convert(new))
        assert isinstance(found, kind)
    assert isinstance(detector.detect(pa.Table.from_pandas(new)), pa.Table)
    assert isinstance(fast().fit(BLOB).detect(BLOB, alpha=0.1), np.ndarray)
    assert list(found.columns) == [
        "is_outlier",
        "p_value",
        "q_value",
        "score",
        "mc_se",
        "top_reasons",
        "warnings",
    ]


def test_rare_names_are_drawn_as_often_as_they_come():
    rng = np.random.default_rng(0)
    counts = np.array([300, 200, 90, *[7] * 30])
    shops = rng.permutation(np.repeat([f"shop {i}" for i in range(len(counts))], counts))
    table = pd.DataFrame({"shop": shops, "a": rng.normal(size=len(shops))})
    columns = {"shop": Categorical(max_categories=3)}
    detector = VAEDetector(columns, random_state=0, max_steps=40, verbose=False).fit(table)
    drawn = detector.sample(2_000, random_state=1)["shop"].value_counts()
    rare = drawn.drop(["shop 0", "shop 1"])
    assert len(rare) == 31, "every name that shares the entry"
    expected = rare.sum() * 90 / 300
    assert abs(rare["shop 2"] - expected) < 5 * np.sqrt(expected)
    assert (
        detector.sample(200, given={"shop": "shop 2"}, random_state=0)["shop"].eq("shop 2").all()
    )
    alike = detector.sample_like(table[shops == "shop 7"][:1], 300, random_state=0)["shop"]
    assert alike.nunique() > 10
    hidden = detector.impute(table.assign(shop=None))["shop"]
    assert (hidden == "shop 2").mean() < 0.2


def test_few_held_out_rows_flag_what_is_below_all_but_one_of_them():
    rows = np.random.default_rng(0).normal(size=(60, 3))
    detector = VAEDetector(random_state=0, max_steps=5, verbose=False).fit(rows)
    assert detector.offset_ == detector.model_.held_out[1]


def test_errors_do_not_depend_on_the_batch(gaussian):
    detector, _ = gaussian
    rows = np.random.default_rng(6).normal(size=(30, 5))
    one_by_one = [float(detector.detect(row[None]).mc_se[0]) for row in rows]
    assert detector.detect(rows).mc_se.tolist() == one_by_one


def test_imputing_changes_missing_cells_alone():
    whole = np.random.default_rng(0).integers(0, 5, size=(200, 3))
    detector = VAEDetector(random_state=0, max_steps=5, verbose=False).fit(whole)
    holed = whole[:4].astype(float)
    holed[0, 0], holed[1, 1], holed[2, 2] = np.nan, 1.5, 2.7
    found = detector.impute(holed)
    np.testing.assert_array_equal(found[~np.isnan(holed)], holed[~np.isnan(holed)])
    holed[1, 1], holed[2, 2] = 1.0, 2.0
    assert detector.impute(holed).dtype == whole.dtype
    narrow = VAEDetector(random_state=0, max_steps=5, verbose=False).fit(whole.astype("int8"))
    holed[3, 0] = 300.0
    assert narrow.impute(holed)[3, 0] == 300.0


def test_columns_keep_labels_that_are_numbers():
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)), columns=[2, 0, 7])
    table.iloc[3, 1] = np.nan
    detector = VAEDetector(random_state=0, max_steps=2, verbose=False).fit(table)
    assert detector.sample(2).columns.tolist() == [2, 0, 7]
    for found in (detector.reconstruct(table), detector.impute(table[[7, 0, 2]])):
        assert found.columns.tolist() == [2, 0, 7]
        assert not (table - found).isna().drop(index=3).any(axis=None)


def test_rows_keep_the_index_of_a_pandas_data_frame(detector, new):
    labels = np.random.default_rng(0).permutation(len(new))
    shuffled = new.set_axis(labels)
    found = detector.detect(shuffled, alpha=0.2)
    flagged = np.flatnonzero(found["is_outlier"].to_numpy())
    assert 0 < len(flagged) < len(new)
    pd.testing.assert_frame_equal(shuffled[found["is_outlier"]], shuffled.iloc[flagged])
    verbs = (detector.scores, detector.reconstruct, detector.impute)
    posterior = detector.posterior(shuffled)
    clusters = detector.cluster(shuffled, 2)
    for table in (*(verb(shuffled) for verb in verbs), posterior.to_frame(), clusters.to_frame()):
        np.testing.assert_array_equal(table.index, labels)
    assert isinstance(posterior.to_frame("polars"), pl.DataFrame)
    assert isinstance(detector.sample(3).index, pd.RangeIndex)


def test_an_fdr_that_cannot_be_reached_is_said(gaussian):
    detector, _ = gaussian
    usual = np.random.default_rng(5).normal(size=(100, 5))
    rows = np.vstack([usual, np.full((4, 5), 50.0)])
    with pytest.warns(CalibrationWarning, match=r"of 104 rows are beyond all \d+ held-out rows"):
        found = detector.detect(rows, fdr=1e-3)
    assert not found["is_outlier"].any()
    assert detector.detect(rows, fdr=1e-3, tail=True)["is_outlier"].sum() >= 4
    detector.detect(usual[:20], fdr=1e-3)


def test_numbers_of_numpy_are_numbers(tmp_path):
    detector = fast(learning_rate=np.float32(1e-3), columns={0: "real"}).fit(BLOB)
    expected = detector.detect(BLOB, alpha=np.float32(0.25))
    save(detector, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.detect(BLOB, alpha=0.25), expected)
    assert list(again.columns) == [0]
    again.fit(BLOB)


def test_reasons_tell_times_in_their_zone():
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2024-01-01", periods=200, freq="h", tz="Asia/Tokyo")
    table = pd.DataFrame({"when": stamps, "a": rng.normal(size=200)})
    detector = fast().fit(table)
    late = table[:1].assign(when=pd.Timestamp("2030-01-01 08:00", tz="Asia/Tokyo"))
    found = detector.explain(late)
    column = found.columns.index("when")
    reason = found.reason(0, column)
    assert reason.startswith("when = 2030-01-01T08:00:00+09:00 (expected 202")
    assert reason.count("+09:00") == 4
    assert ", near 2024-01-" in reason


def test_moments_of_an_odd_hour_are_told_from_those_outside():
    rng = np.random.default_rng(0)
    days, minutes = rng.integers(0, 365, 800), rng.integers(540, 1020, 800)
    stamps = np.datetime64("2024-01-01T00:00") + days * 1440 + minutes
    table = pd.DataFrame({"when": stamps.astype("datetime64[s]"), "a": rng.normal(size=800)})
    detector = VAEDetector(random_state=0).fit(table)
    night = table[:1].assign(when=np.datetime64("2024-06-05T03:00:00"))
    (reason,) = detector.explain(night).reasons(0)
    assert reason.startswith("when = 2024-06-05T03:00:00 (an unusual hour, weekday or season, ")
    later = detector.explain(table[:1].assign(when=np.datetime64("2030-06-05T12:00:00")))
    assert later.reason(0, 0).startswith("when = 2030-06-05T12:00:00 (expected 202")


def test_reasons_tell_durations_in_seconds():
    rng = np.random.default_rng(0)
    spans = pd.to_timedelta(rng.normal(600.0, 5.0, size=200), unit="s")
    table = pd.DataFrame({"took": spans, "a": rng.normal(size=200)}, index=range(200, 400))
    long = table[:1].assign(took=pd.Timedelta(hours=2))
    found = fast().fit(table).explain(long)
    reason = found.reason(0, found.columns.index("took"))
    assert reason.startswith("took = 7,200 s (expected ")
    assert reason.endswith(" s)")
    assert found.to_frame().loc[200, "column"].tolist() == ["took", "a"]


def test_unsupported_alpha_is_said(detector, new):
    with pytest.warns(CalibrationWarning, match="alpha=1e-06"):
        found = detector.detect(new, alpha=1e-6)
    assert not found["is_outlier"].any()


def test_tail_tells_extremes_apart(gaussian):
    detector, _ = gaussian
    rows = np.outer([1.0, 8.0, 12.0], np.ones(5))
    plain, tail = detector.p_values(rows), detector.p_values(rows, tail=True)
    assert plain[1] == plain[2]
    assert 0 < tail[2] < tail[1] < plain[1]
    detector.detect(rows, alpha=1e-6, tail=True)


def test_rows_come_back_as_the_training_table(detector, train, new):
    for table in (detector.reconstruct(new), detector.impute(new), detector.sample(50)):
        assert list(table.columns) == list(train.columns)
        known = [c for c in train.columns if c != "user"]
        assert (table[known].dtypes == train[known].dtypes).all()
    assert list(detector.reconstruct(new)["user"]) == list(new["user"])


def test_impute_keeps_observed_cells_and_fills_the_rest(detector, new):
    filled = detector.impute(new)
    assert not filled.isna().any().any()
    for name in new.columns:
        seen = new[name].notna()
        pd.testing.assert_series_equal(filled[name][seen], new[name][seen], check_dtype=False)


def test_impute_beats_the_mean(train):
    detector = VAEDetector(**{**SMALL, "max_steps": 300}).fit(train[["age", "height"]])
    truth = mixed_table(300, seed=9)[["age", "height"]]
    filled = detector.impute(truth.assign(height=np.nan))
    error = np.abs(filled["height"] - truth["height"]).mean()
    assert error < 0.6 * np.abs(truth["height"] - train["height"].mean()).mean()


def test_samples_look_like_the_training_rows(detector, train):
    drawn = detector.sample(4000, random_state=0)
    assert drawn["age"].mean() == pytest.approx(train["age"].mean(), abs=4)
    assert drawn["age"].std() == pytest.approx(train["age"].std(), rel=0.35)
    share = (drawn["city"] == "anaheim").mean()
    assert share == pytest.approx(
        (train["city"] == "anaheim").sum() / train["city"].notna().sum(), abs=0.12
    )
    assert (drawn["income"] >= 0).all()
    pd.testing.assert_frame_equal(drawn, detector.sample(4000, random_state=0))


def test_posterior_is_that_of_the_lead_member(detector, new):
    posterior = detector.posterior(new)
    assert posterior.loc.shape == (len(new), detector.model_.vae.latent_dim)
    assert (posterior.scale > 0).all()
    assert len(posterior) == len(new)
    assert list(posterior.to_frame("pandas").columns[:1]) == ["loc_0"]
    assert (posterior.kl_to_prior() >= 0).all()


def test_scores_lists_every_definition_with_its_error(detector, new):
    table = detector.scores(new)
    assert table["elbo"].mean() <= table["log_marginal"].mean()
    assert (table["expected_log_prob"] <= table["log_expected_prob"] + 1e-9).all()
    assert {"kl_se", "conditional_log_prob"} <= set(table.columns)
    np.testing.assert_allclose(
        table["log_prob_of_mean"], detector.reconstruction_probability(new, "log_prob_of_mean")
    )


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"n_members": 0}, "n_members must be a whole number"),
        ({"latent_dim": "big"}, "latent_dim must be"),
        ({"hidden": (0,)}, "hidden must be"),
        ({"hidden": "wide"}, "hidden must be"),
        ({"learning_rate": 2.0}, "learning_rate"),
        ({"prior": "flat"}, "prior"),
        ({"score_function": "mse"}, "log_marginal"),
        ({"contamination": 0.7}, "contamination"),
        ({"calibration_fraction": -1}, "calibration_fraction"),
        ({"validation_fraction": 0}, "validation_fraction"),
        ({"random_state": "x"}, "random_state"),
        ({"device": "abacus"}, "device"),
        ({"columns": {"y7": "real"}}, "y7"),
        ({"columns": {"x0": "colour"}}, "column kind"),
        ({"columns": ["x0"]}, "map names"),
        ({"likelihood": "gamma"}, "gamma"),
    ],
)
def test_bad_arguments_get_one_clear_sentence(params, text):
    with pytest.raises(ImprobableError, match=text):
        fast(**params).fit(BLOB)


@pytest.mark.parametrize(("alpha", "fdr"), [(0.0, None), (2, None), (0.1, 1.5)])
def test_bad_levels(detector, new, alpha, fdr):
    with pytest.raises(ImprobableError, match="between 0 and 1"):
        detector.detect(new, alpha=alpha, fdr=fdr)


def test_without_calibration_rows_decisions_are_refused():
    detector = fast(calibration_fraction=0.0).fit(BLOB)
    assert np.isfinite(detector.score_samples(BLOB)).all()
    with pytest.raises(ImprobableError, match="calibration_fraction"):
        detector.p_values(BLOB)


@pytest.mark.parametrize("n", [0, -3, 1.5])
def test_bad_sample_sizes(detector, n):
    with pytest.raises(ImprobableError, match="n_samples"):
        detector.sample(n)


def test_not_fitted():
    with pytest.raises(NotFittedError):
        VAEDetector().score_samples(BLOB)


def test_wrong_columns(detector, new):
    with pytest.raises(SchemaError, match=r"missing: +age \(nearest: agee\)\n +extra: +agee"):
        detector.score_samples(new.rename(columns={"age": "agee"}))


def test_array_for_a_named_table_is_taken_by_position(detector, new):
    with pytest.warns(DataWarning, match="by position"):
        found = detector.score_samples(new.astype(object).to_numpy())
    np.testing.assert_allclose(found, detector.score_samples(new), atol=1e-6)


@pytest.mark.parametrize("likelihood", ["normal_per_column", "normal_fixed", "student_t"])
def test_likelihoods_of_numbers(likelihood):
    scores = fast(likelihood=likelihood).fit(BLOB).score_samples([[0, 0, 0], [9, 9, 9]])
    assert scores[0] > scores[1]


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial"])
def test_likelihoods_of_counts(likelihood):
    counts = pd.DataFrame({"n": RNG.poisson(3, 300), "m": RNG.poisson(30, 300)})
    detector = fast(likelihood={"n": likelihood, "m": likelihood}).fit(counts)
    scores = detector.score_samples(pd.DataFrame({"n": [3, 60], "m": [30, 400]}))
    assert scores[0] > scores[1] + 10
    assert detector.sample(200, random_state=0)["m"].mean() == pytest.approx(30, abs=6)


def test_scikit_learn_tools():
    pipeline = make_pipeline(StandardScaler(), fast()).fit(BLOB)
    assert set(pipeline.predict(BLOB)) <= {1, -1}
    search = GridSearchCV(
        fast(),
        {"latent_dim": [1, 2]},
        scoring=lambda d, x, y=None: d.score_samples(x).mean(),
        cv=2,
    ).fit(BLOB)
    assert search.best_params_["latent_dim"] in (1, 2)
    means = cross_val_score(
        fast(), BLOB, scoring=lambda d, x, y=None: d.score_samples(x).mean(), cv=2
    )
    assert np.isfinite(means).all()
    assert clone(fast(latent_dim=2)).get_params()["latent_dim"] == 2


def test_verbose_shows_a_bar(capsys):
    fast(verbose=True).fit(BLOB)
    assert "training" in capsys.readouterr().err


# -- anomalies among the training rows ------------------------------------------------------


def planted(n, seed):
    """Correlated Normal rows, one in ten of them in a cluster of its own."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(99)
    rows = rng.normal(size=(n, 2)) @ fixed.normal(size=(2, 6)) + 0.3 * rng.normal(size=(n, 6))
    odd = rng.permutation(np.arange(n) < n // 10)
    rows[odd] = 0.3 * rows[odd] + 3.0 * fixed.normal(size=6)
    return rows, odd


DIRTY, ODD = planted(600, 0)


def parts_of(n, random_state=0, calibration_fraction=0.2):
    """Positions of rows to learn from, to stop on and to calibrate with, as `fit` draws them."""
    seed = seed_sequence(random_state).spawn(4)[0]
    return fitting.split_rows(n, 0.1, calibration_fraction, numpy_generator(seed))


def assert_same_network(one, other):
    weights, others = one.model_.vae.state_dict(), other.model_.vae.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.fixture(scope="module")
def fits():
    """The same rows as normal ones, and twice as what they are."""
    return {c: fast(contamination=c).fit(DIRTY) for c in ("auto", "unknown", 0.1)}


@pytest.mark.parametrize("contamination", ["unknown", 0.1])
@pytest.mark.parametrize("seed", [1, 2])
def test_new_anomalies_of_a_kind_seen_in_training_are_found(fits, contamination, seed):
    rows, odd = planted(400, seed)
    naive, found = (
        roc_auc_score(odd, -fits[c].score_samples(rows)) for c in ("auto", contamination)
    )
    assert found > 0.99
    assert naive < 0.7


@pytest.mark.parametrize("contamination", ["unknown", 0.1])
def test_training_outliers_are_the_rows_that_predict_flags(fits, contamination):
    detector = fits[contamination]
    flagged = np.flatnonzero(detector.predict(DIRTY) == -1)
    np.testing.assert_array_equal(detector.training_outliers_, flagged)
    assert set(np.flatnonzero(ODD)) <= set(flagged)


def test_a_known_share_is_flagged(fits):
    np.testing.assert_array_equal(fits[0.1].training_outliers_, np.flatnonzero(ODD))
    assert fits[0.1].offset_ == np.percentile(fits[0.1].score_samples(DIRTY), 10.0)


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5])
def test_any_known_share_is_flagged(share):
    detector = fast(contamination=share).fit(DIRTY)
    assert len(detector.training_outliers_) == 600 * share


def test_an_unknown_share_is_flagged_below_the_outer_fence(fits):
    held_out = fits["unknown"].model_.held_out
    low, high = np.percentile(held_out, [25.0, 75.0])
    assert fits["unknown"].offset_ == pytest.approx(low - 3.0 * (high - low), abs=1e-9)
    assert len(fits["unknown"].training_outliers_) < 100


@pytest.mark.parametrize("contamination", ["auto", "unknown", 0.1])
def test_contamination_is_the_share_of_held_out_rows_flagged(fits, contamination):
    detector = fits[contamination]
    kept_apart = DIRTY[parts_of(600).calibration]
    flagged = (detector.predict(kept_apart) == -1).mean()
    assert detector.contamination_ == pytest.approx(flagged, abs=1e-12)
    truth = 0.0 if contamination == "auto" else ODD[parts_of(600).calibration].mean()
    assert detector.contamination_ == pytest.approx(truth, abs=0.05)


@pytest.mark.parametrize("contamination", ["auto", "unknown", 0.1])
def test_no_held_out_score_is_left_out(fits, contamination):
    """p-values stay valid: they compare with all rows kept apart, anomalies too."""
    detector = fits[contamination]
    scores = detector.score_samples(DIRTY[parts_of(600).calibration])
    np.testing.assert_allclose(detector.model_.held_out, np.sort(scores), atol=1e-9)
    assert len(scores) == 120


def test_clean_rows_among_contaminated_ones_are_flagged_at_most_alpha():
    rows, _ = planted(3000, 3)
    detector = fast(contamination="unknown").fit(rows)
    p = detector.p_values(planted(3000, 4)[0])
    for alpha in (0.05, 0.2):
        slack = 4 * np.sqrt(alpha * (1 - alpha) * (1 / 3000 + 1 / 600))
        assert (p <= alpha).mean() == pytest.approx(alpha, abs=slack)


def test_a_number_changes_what_is_flagged_and_nothing_else(fits):
    assert_same_network(fits["unknown"], fits[0.1])
    np.testing.assert_array_equal(
        fits["unknown"].score_samples(DIRTY), fits[0.1].score_samples(DIRTY)
    )
    assert fits["unknown"].model_.settings == fits[0.1].model_.settings


@pytest.mark.parametrize(("contamination", "share"), [("unknown", 0.6), (0.1, 0.6), (0.5, 0.5)])
def test_only_rows_like_the_others_are_learned_from(contamination, share):
    settings = check_settings(fast(contamination=contamination).get_params(deep=False))
    source, before = settings.codec.open(DIRTY), parts_of(600)
    after, *rows = fitting._trusted(source, before, settings)
    codec = settings.codec.fit(*rows)
    assert len(after.learned) == np.ceil(share * len(before.learned))
    assert set(after.train) <= set(before.train)
    assert set(after.validation) <= set(before.validation)
    assert len(set(after.learned)) == len(after.learned)
    assert not ODD[after.learned].any()
    np.testing.assert_array_equal(after.calibration, before.calibration)
    chosen = DIRTY[after.learned]
    for column, values in zip(codec.columns, chosen.T, strict=True):
        assert column.kind.encoding.loc == pytest.approx(values.mean())
        assert column.kind.encoding.scale == pytest.approx(values.std())
        assert column.kind.encoding.knee == 3.0
    assert codec.n_rows == len(before.learned)


def test_the_network_sees_trusted_rows_alone(monkeypatch):
    seen, train = [], fitting._train
    monkeypatch.setattr(fitting, "_train", lambda *a: (seen.extend(a[1:3]), train(*a))[1])
    detector = fast(contamination="unknown").fit(DIRTY)
    learned = np.concatenate([rows.values for rows in seen])
    assert len(learned) == 288
    odd = detector.model_.codec.transform(DIRTY[ODD]).values
    assert not (learned[:, None] == odd[None]).all(axis=2).any()


def test_rows_for_calibration_take_no_part_in_the_choice():
    place = parts_of(600).calibration
    changed = DIRTY.copy()
    changed[place] = 100.0 * np.random.default_rng(5).normal(size=(120, 6))
    one, other = (fast(contamination="unknown").fit(rows) for rows in (DIRTY, changed))
    assert_same_network(one, other)
    assert one.model_.codec == other.model_.codec
    np.testing.assert_array_equal(one.score_samples(DIRTY), other.score_samples(DIRTY))
    assert one.model_.held_out[0] != other.model_.held_out[0]


def test_a_row_to_stop_on_is_left_where_none_of_those_is_trusted():
    settings = check_settings(fast(contamination="unknown").get_params(deep=False))
    odd, rest = np.flatnonzero(ODD)[:3], np.flatnonzero(~ODD)
    before = fitting.Split(rest[:40], odd, rest[40:50], apart=True)
    after, *_ = fitting._trusted(settings.codec.open(DIRTY), before, settings)
    assert (len(after.validation), len(after.train)) == (1, 25)
    assert set(after.learned) <= set(rest[:40])


def test_trust_reaches_so_many_rows_and_no_more(monkeypatch):
    monkeypatch.setattr(fitting, "TRUST_ROWS", 100)
    settings = check_settings(fast(contamination="unknown").get_params(deep=False))
    before = parts_of(600)
    after, seen, _ = fitting._trusted(settings.codec.open(DIRTY), before, settings)
    assert len(after.learned) == 60
    assert set(after.learned) <= set(before.learned[:100])
    assert seen.n_rows == 100


def test_fewer_than_twenty_rows_are_all_learned_from():
    with pytest.warns(CalibrationWarning, match="20 rows"):
        detector = fast(contamination="unknown").fit(DIRTY[:12])
    assert len(detector.model_.held_out) == 12
    assert detector.model_.codec.columns[0].kind.encoding.knee == 0.0
    flagged = np.flatnonzero(detector.predict(DIRTY[:12]) == -1)
    np.testing.assert_array_equal(detector.training_outliers_, flagged)


@pytest.mark.parametrize(("contamination", "flagged"), [("unknown", 0), (0.1, 60)])
def test_contamination_without_calibration_rows(contamination, flagged):
    detector = fast(contamination=contamination, calibration_fraction=0.0).fit(DIRTY)
    assert len(detector.training_outliers_) == flagged
    assert detector.contamination_ == 0.0


def test_a_fit_on_normal_rows_forgets_older_outliers(fits):
    detector = clone(fits["unknown"]).fit(DIRTY)
    assert len(detector.training_outliers_) > 0
    detector.set_params(contamination="auto").fit(DIRTY)
    assert not hasattr(detector, "training_outliers_")
    np.testing.assert_array_equal(detector.score_samples(DIRTY), fits["auto"].score_samples(DIRTY))
    assert not hasattr(fits["auto"], "training_outliers_")


def test_contamination_is_asked_of_a_fitted_detector():
    assert not hasattr(VAEDetector(contamination=0.1), "contamination_")
    with pytest.raises(NotFittedError):
        _ = VAEDetector(contamination=0.1).contamination_


def test_contaminated_rows_of_every_kind_of_column():
    table = mixed_table(300, seed=3)
    table.loc[:29, "height"] = 400.0
    table.loc[:29, "city"] = "atlantis"
    detector = VAEDetector(**SMALL, contamination="unknown").fit(table)
    kinds = {c.name: type(c.kind).__name__ for c in detector.model_.codec.columns}
    assert kinds["income"] == "Real", "a log scale would hide anomalies"
    assert set(kinds.values()) >= {"Count", "Binary", "Categorical", "Datetime", "Identifier"}
    new = mixed_table(100, seed=4)
    odd = new.assign(height=400.0, city="atlantis")
    assert np.isfinite(detector.score_samples(new)).all()
    assert (detector.score_samples(odd) < detector.score_samples(new) - 5.0).all()
    assert set(range(30)) <= set(detector.training_outliers_)
    back = detector.impute(new)
    pd.testing.assert_series_equal(back["height"], new["height"])


def test_units_change_nothing_among_contaminated_rows():
    one, other = (fast(contamination=0.1).fit(DIRTY * k) for k in (1.0, 1000.0))
    np.testing.assert_array_equal(one.training_outliers_, other.training_outliers_)


def test_far_out_scores_fall_without_end_beyond_the_knee(fits):
    rows = np.outer([4, 8, 30, 100, 1e3, 1e5, 1e7, 1e9], np.ones(6))
    for sign in (1.0, -1.0):
        scores = fits["unknown"].score_samples(sign * rows)
        assert np.isfinite(scores).all()
        assert (np.diff(scores) < 0).all()


def test_contaminated_images():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, size=(80, 6, 6)).astype(np.uint8)
    images[:8] = 255 - images[:8]
    detector = fast(codec=ImageCodec(), contamination="unknown", max_steps=8).fit(images)
    found = -detector.score_samples(images)
    assert roc_auc_score(np.arange(80) < 8, found) > 0.98
    flagged = np.flatnonzero(detector.predict(images) == -1)
    np.testing.assert_array_equal(detector.training_outliers_, flagged)
    assert 0 < len(flagged)
    assert flagged.max() < 8, "no other image"
    assert isinstance(detector.model_.prior, StandardNormal)


@pytest.mark.parametrize(
    ("prior", "contamination", "kind"),
    [
        ("auto", "auto", AggregatedPosterior),
        ("auto", "unknown", StandardNormal),
        ("auto", 0.1, StandardNormal),
        ("aggregated", "unknown", AggregatedPosterior),
        ("normal", "auto", StandardNormal),
    ],
)
def test_the_prior_knows_no_anomalies_unless_it_is_asked_to(prior, contamination, kind):
    detector = fast(prior=prior, contamination=contamination, max_steps=3).fit(DIRTY[:100])
    assert isinstance(detector.model_.prior, kind)


@pytest.mark.parametrize(
    "value", ["none", "Unknown", "", 0, 0.0, -0.1, 0.51, 1, 10, True, None, np.nan, np.inf, [0.1]]
)
def test_no_other_contamination(value):
    with pytest.raises(ImprobableError, match="'auto', 'unknown' or a number above 0") as error:
        fast(contamination=value).fit(BLOB)
    assert str(error.value).count("\n") == 0
    assert repr(value) in str(error.value)


def test_contamination_is_a_parameter_as_any_other():
    detector = fast(contamination="unknown")
    assert detector.get_params()["contamination"] == "unknown"
    assert clone(detector).contamination == "unknown"
    assert "contamination='unknown'" in repr(detector)


def test_same_seed_same_model_among_contaminated_rows(fits):
    again = clone(fits["unknown"]).fit(DIRTY)
    assert_same_network(again, fits["unknown"])
    assert again.offset_ == fits["unknown"].offset_
    np.testing.assert_array_equal(again.training_outliers_, fits["unknown"].training_outliers_)


def test_settings_are_tuned_on_contaminated_rows_too():
    detector = fast(contamination="unknown", tune=True, budget=1, max_steps=5).fit(DIRTY)
    alone = fast(contamination="unknown", max_steps=5).fit(DIRTY)
    assert len(detector.tuning_.trials) == 1
    np.testing.assert_array_equal(detector.score_samples(DIRTY), alone.score_samples(DIRTY))


def test_the_choice_is_made_without_log_scales(monkeypatch):
    """On a log scale an anomaly would be one of a heavy tail."""
    seen, choose = [], fitting.trusted_rows
    monkeypatch.setattr(fitting, "trusted_rows", lambda v, s: (seen.append(v), choose(v, s))[1])
    rows = np.exp(3.0 * DIRTY)
    settings = check_settings(fast(contamination="unknown").get_params(deep=False))
    before = parts_of(600)
    fitting._trusted(settings.codec.open(rows), before, settings)
    learned = rows[before.learned]
    standard = (learned - learned.mean(axis=0)) / learned.std(axis=0)
    np.testing.assert_allclose(seen[0], bend(standard, 3.0), rtol=1e-9, atol=1e-12)


def test_a_row_at_the_offset_itself_is_no_outlier():
    rows, _ = planted(601, 7)
    detector = fast(contamination=0.1).fit(rows)
    assert (detector.score_samples(rows) == detector.offset_).sum() == 1
    flagged = np.flatnonzero(detector.predict(rows) == -1)
    np.testing.assert_array_equal(detector.training_outliers_, flagged)
    assert len(flagged) == 60


def equicorrelated(n, seed, r=0.99, d=5):
    rng = np.random.default_rng(seed)
    return np.sqrt(r) * rng.normal(size=(n, 1)) + np.sqrt(1 - r) * rng.normal(size=(n, d))


@pytest.fixture(scope="module")
def tight():
    return VAEDetector(random_state=0).fit(equicorrelated(1500, 0))


@pytest.mark.parametrize("n_missing", [1, 3])
def test_rows_with_missing_cells_are_flagged_no_more_often(tight, n_missing):
    """Of rows whose columns tell nearly all of each other; the exact test flags .05 as well."""
    rows = equicorrelated(2000, 1)
    rows[:, :n_missing] = np.nan
    share = np.mean(tight.p_values(rows) <= 0.05)
    assert share <= 0.05 + 4.0 * np.sqrt(0.05 * 0.95 * (1 / 2000 + 1 / 300))


def test_a_likely_row_with_a_missing_name_is_no_anomaly():
    def table(n, seed):
        rng = np.random.default_rng(seed)
        told = np.where(rng.random(n) < 0.15, "yes", "no")
        return pd.DataFrame({"told": told, "side": np.where(rng.random(n) < 0.5, "u", "v")})

    detector = VAEDetector(random_state=0).fit(table(1000, 0))
    rows = pd.DataFrame({"told": ["yes", "yes", "yes"], "side": ["u", "v", None]})
    p = detector.p_values(rows)
    assert p[2] >= 0.5 * min(p[:2])


@pytest.mark.parametrize("name", ["log_prob_of_mean", "log_prob_moment_matched"])
def test_scores_without_shares_know_what_a_missing_cell_stands_for(name):
    detector = VAEDetector(score_function=name, random_state=0).fit(equicorrelated(1000, 0, 0.5))
    rows = equicorrelated(1000, 1, 0.5)
    whole = np.median(detector.score_samples(rows))
    rows[:, 0] = np.nan
    assert np.median(detector.score_samples(rows)) == pytest.approx(whole, abs=0.3)


def test_no_drift_is_told_where_no_row_was_kept_out():
    rows = np.random.default_rng(0).normal(size=(12, 3))
    with pytest.warns(CalibrationWarning, match="most p-values are too small"):
        detector = fast().fit(rows)
    with pytest.raises(NotCalibratedError):
        detector.drift(rows)
