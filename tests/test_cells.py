"""One improbable cell of a row: tails, the test, and what it does to scores and files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from improbable import VAEDetector, load, save
from improbable.cells import CellTest
from improbable.errors import FormatError, ImprobableError
from improbable.portable.scorer import load_scorer
from improbable.tails import FEWEST_ROWS, LEAST_EXCESS, RANKS, Tails

N_COLUMNS = 12
pytestmark = pytest.mark.filterwarnings("ignore:Column '")  # every row is odd where it is


def draw(n, seed):
    """Columns that know nothing of each other: numbers, names, amounts."""
    rng = np.random.default_rng(seed)
    table = {f"x{i}": rng.normal(size=n) for i in range(N_COLUMNS - 4)}
    table |= {f"name{i}": rng.choice(["a", "b", "c", "d"], n) for i in range(3)}
    return pd.DataFrame({**table, "amount": np.exp(2.5 * rng.normal(size=n)) + 0.01})


@pytest.fixture(scope="module")
def table():
    return draw(2_000, 0)


@pytest.fixture(scope="module")
def detector(table):
    return VAEDetector(random_state=0).fit(table)


@pytest.fixture(scope="module")
def whole(table):
    return VAEDetector(random_state=0, cell_share=0.0).fit(table)


def test_tails_are_those_of_an_exponential_distribution():
    rng = np.random.default_rng(0)
    n = 40_000
    values = -rng.exponential([2.0, 5.0], size=(n, 2))
    at = np.array([[-15.0, -40.0], [-30.0, -90.0]])
    expected = stats.expon.logsf(-at, scale=[2.0, 5.0])
    reach = np.abs(expected - np.log(0.05))
    scores = [Tails.of_scores(column) for column in values.T]
    found = np.column_stack(
        [one.log_probs(x[:, None]) for one, x in zip(scores, at.T, strict=True)]
    )
    # the median of 2,000 excesses has a relative standard error of 1 / (log(2) sqrt(2,000)),
    # as that of a sample of an exponential law
    error = 1.0 / np.log(2.0) / np.sqrt(0.05 * n)
    assert (np.abs(found - expected) < 4.0 * (error * reach + error)).all()
    # the mean of 2,000 excesses has one of 1 / sqrt(2,000)
    error = 1.0 / np.sqrt(0.05 * n)
    found = Tails.of_columns(values).log_probs(at)
    assert (np.abs(found - expected) < 4.0 * (error * reach + error)).all()


def test_shares_of_columns_that_end_in_a_step_are_those_of_the_rows():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1_000, 3))
    values[:7, 0] = -30.0  # a name of seven rows
    values[:3, 1], values[3:20, 1] = -60.0, -9.0
    values[0, 2] = -900.0  # one row far from all others
    tails, ordered = Tails.of_columns(values), np.sort(values, axis=0)
    ranks = np.array([*RANKS, 50])
    for rank in ranks:
        places = ordered[rank - 1]
        # of rows at one place, the last rank that is told
        last = [
            ranks[column[ranks - 1] <= x].max()
            for column, x in zip(ordered.T, places, strict=True)
        ]
        found = tails.log_probs(places[None])[0]
        np.testing.assert_allclose(found, np.log(np.array(last) / 1_001), rtol=1e-12)
    between = tails.log_probs(0.3 * ordered[[7]] + 0.7 * ordered[[15]])[0, [0, 2]]
    np.testing.assert_allclose(between, 0.3 * np.log(8 / 1_001) + 0.7 * np.log(16 / 1_001))
    means = [(ordered[k - 1] - ordered[:k]).sum(axis=0) / (k - 1) for k in (16, 32, 50)]
    np.testing.assert_allclose(
        tails.log_probs(ordered[[1]] - 4.0)[0],
        np.log(2 / 1_001) - 4.0 / np.maximum(np.min(means, axis=0), LEAST_EXCESS),
        rtol=1e-12,
    )


def test_other_columns_have_an_exponential_tail():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1_000, 3))
    values[:7, 1] = -9.0  # less far than the law says that two rows are
    tails, ordered = Tails.of_columns(values), np.sort(values, axis=0)
    mean = (ordered[49] - ordered[:50]).sum(axis=0) / 49
    for at in (ordered[0] - 20.0, ordered[1], ordered[30], ordered[49] - 1e-6):
        np.testing.assert_allclose(
            tails.log_probs(at[None])[0],
            np.log(50 / 1_001) - (ordered[49] - at) / mean,
            rtol=1e-12,
        )


@pytest.mark.parametrize(("rows", "law"), [(7, False), (8, True), (28, True), (29, False)])
def test_the_second_lowest_row_tells_whether_the_tail_is_exponential(rows, law):
    """Of k rows at one place the law says 49 / k nats, the share of two rows log(25)."""
    values = np.where(np.arange(1_000) < rows, -30.0, 0.0)
    assert (-3.0 < np.log(25) - 49 / rows < 1.5) == law
    found = Tails.of_columns(values[:, None]).log_probs(np.array([[-30.0]])).item()
    assert found == pytest.approx(
        np.log(50 / 1_001) - 49 / rows if law else np.log((4 if rows < 8 else 16) / 1_001)
    )


def test_what_lies_above_the_bound_or_is_missing_is_typical():
    values = np.linspace(0.0, 1.0, 200)
    tails = Tails.of_scores(values)
    assert tails.log_share.item() == pytest.approx(np.log(10 / 201))
    assert tails.bound.item() == values[9]
    assert tails.excess.item() == LEAST_EXCESS  # such small differences say nothing
    for one in (tails, Tails.of_columns(values[:, None])):
        found = one.log_probs(np.array([[0.5], [np.nan], [np.inf]]))
        assert (found == tails.log_share.item()).all()


def test_columns_that_few_rows_hold_say_nothing():
    values = np.full((200, 2), np.nan)
    values[:, 0] = np.arange(200.0)
    values[: FEWEST_ROWS - 1, 1] = np.arange(FEWEST_ROWS - 1.0)
    tails = Tails.of_columns(values)
    assert tails.log_probs(np.array([[-50.0, -1e9]]))[0, 1] == 0.0
    assert tails.log_probs(np.array([[-50.0, -1e9]]))[0, 0] < np.log(0.05)


def test_the_test_by_hand():
    one = Tails(np.log([[0.1]]), np.array([[-50.0]]), np.array([10.0]))
    cell = Tails(np.log([[0.1]]), np.array([[-4.0]]), np.array([2.0]))
    columns = Tails(np.log([[0.05, 0.05]]), np.array([[-3.0, -1.0]]), np.array([0.5, 1.0]))
    judge = CellTest(columns, one, cell, share=0.2)
    shares = np.array([[-3.0, -1.0], [-13.0, -1.0], [-13.0, -11.0], [-13.0, -31.0]])
    scores = np.array([-20.0, -20.0, -200.0, -20.0])
    found = judge(scores, shares)
    least = np.log(0.05) - 20.0  # of the second row: ten nats, twenty mean excesses, below -3
    log_p = np.log(0.1) - (-4.0 - least) / 2.0 + np.log(0.8 / 0.2)
    assert found[0] == -20.0
    assert found[1] == pytest.approx(-50.0 + 10.0 * (log_p - np.log(0.1)))
    assert found[2] == -200.0  # the row as a whole is less probable still
    assert found[3] < found[1]
    shares[1, 0] = np.nan  # a missing cell says nothing
    assert judge(scores, shares)[1] == -20.0


def test_tables_of_one_bound_are_read():
    """As format 7 had them: log share, bound and excess of each column."""
    columns = Tails(np.log([[0.05, 0.05]]), np.array([[-3.0, -1.0]]), np.array([0.5, 1.0]))
    one = Tails(np.log([[0.1]]), np.array([[-50.0]]), np.array([10.0]))
    judge = CellTest(columns, one, one, share=0.2)
    table = judge.to_array()
    assert table.shape == (3, 5)
    again = CellTest.from_array(table, 2)
    shares = np.random.default_rng(0).normal(-5.0, 10.0, size=(50, 2))
    scores = np.random.default_rng(1).normal(-40.0, 20.0, size=50)
    np.testing.assert_array_equal(again(scores, shares), judge(scores, shares))


def test_one_odd_cell_of_many_is_found(detector, whole):
    normal = draw(1_000, 1)
    odd = {
        "far": normal.assign(x0=6.5),
        "a name never seen": normal.assign(name1="z"),
        "zero among amounts": normal.assign(amount=0.0),
        "an amount below zero": normal.assign(amount=-3.0),
    }
    for what, rows in odd.items():
        found, before = (np.mean(d.p_values(rows) <= 0.01) for d in (detector, whole))
        assert found > 0.9, what
        assert before < 0.6, what
    # of 1,000 rows .01 are flagged by chance, with 400 held out; four standard errors
    error = np.sqrt(0.01 * 0.99 * (1 / 1_000 + 1 / 400))
    assert np.mean(detector.p_values(normal) <= 0.01) < 0.01 + 4.0 * error


def test_rows_without_an_odd_cell_keep_their_score(detector, whole):
    rows = draw(500, 2)
    kept, plain = detector.score_samples(rows), whole.score_samples(rows)
    assert (kept <= plain).all()
    assert (kept == plain).mean() > 0.97
    elbo = detector.scores(rows)["elbo"].to_numpy()
    np.testing.assert_allclose(elbo, plain, atol=2e-9)  # scores by name are what they are called


def test_the_further_the_less_normal(detector):
    rows = pd.concat([draw(1, 3)] * 12).assign(x1=[2.0**k for k in range(12)])
    assert (np.diff(detector.score_samples(rows)[3:]) < 0.0).all()


def test_detect_gives_the_scores_that_decide(detector):
    rows = draw(60, 4)
    rows.loc[::2, "name0"] = "never"
    found = detector.detect(rows)
    np.testing.assert_array_equal(found["score"], detector.score_samples(rows))
    np.testing.assert_array_equal(found["p_value"], detector.p_values(rows))
    assert (found["mc_se"] >= 0.0).all()


def test_one_row_of_many_scores_as_it_does_alone(detector):
    rows = draw(50, 5).assign(x2=30.0)
    alone = [detector.score_samples(rows.iloc[[i]])[0] for i in range(len(rows))]
    np.testing.assert_array_equal(detector.score_samples(rows), alone)


def test_files_hold_the_test(detector, whole, tmp_path):
    rows = draw(80, 6)
    rows.loc[:40, "x3"] = -11.0
    for name, one in (("cells", detector), ("whole", whole)):
        save(one, tmp_path / name)
        for again in (load(tmp_path / name), load_scorer(tmp_path / name)):
            np.testing.assert_allclose(
                again.score_samples(rows), one.score_samples(rows), atol=1e-8
            )
        assert (load(tmp_path / name).model_.cells is None) == (name == "whole")


@pytest.mark.parametrize("damage", ["width", "height", "nan", "zero", "order", "share"])
def test_a_damaged_test_is_refused(detector, damage):
    table = detector.model_.cells.to_array()
    if damage == "width":
        table = table[:, 1:]
    elif damage == "height":
        table = table[1:]
    else:
        n_bounds = len(table) // 2
        place = {"nan": (0, 0), "zero": (-1, 1), "order": (n_bounds, 2), "share": (0, -1)}[damage]
        table[place] = {"nan": np.nan, "zero": 0.0, "order": 1e3, "share": 0.9}[damage]
    with pytest.raises(FormatError, match="test of cells"):
        CellTest.from_array(table, N_COLUMNS)


def test_where_there_is_no_test():
    few = draw(60, 7)  # twelve rows held out
    assert VAEDetector(random_state=0, max_steps=2).fit(few).model_.cells is None
    mixed = VAEDetector(random_state=0, max_steps=2, contamination=0.05).fit(draw(400, 7))
    assert mixed.model_.cells is None
    for wrong in (-0.1, 0.6, "some", None):
        with pytest.raises(ImprobableError, match="cell_share must be a number 0 or more"):
            VAEDetector(cell_share=wrong).fit(few)


def test_a_share_of_zero_is_a_row_as_a_whole():
    rng = np.random.default_rng(0)
    scores, shares = rng.normal(size=100), rng.normal(size=(100, 2))
    assert CellTest.fit(shares, scores, shares, 0.1) is not None
    assert CellTest.fit(shares, scores, shares, 0.0) is None
    assert CellTest.fit(shares[:, :0], scores, shares[:, :0], 0.1) is None
    assert CellTest.fit(shares, scores[:10], shares[:10], 0.1) is None


def test_p_values_hold_where_tails_are_heavy():
    """Tails of the held-out rows themselves would flag twice as many normal rows."""
    rates = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        train, new = rng.standard_t(2.0, size=(400, 10)), rng.standard_t(2.0, size=(2_000, 10))
        detector = VAEDetector(random_state=seed, max_steps=20).fit(train)
        rates.append(np.mean(detector.p_values(new) <= 2 / 81))  # eighty rows held out
    assert np.mean(rates) < 2 / 81 + 3.0 * np.std(rates) / np.sqrt(len(rates))


def test_held_out_rows_keep_their_score(detector, table):
    held_out = np.sort(detector.score_samples(table))
    places = np.searchsorted(held_out, detector.model_.held_out)
    np.testing.assert_array_equal(held_out[places], detector.model_.held_out)


def test_streams_judge_cells_too(detector):
    rows = draw(40, 9)
    rows.loc[::3, "name2"] = "never"
    stream = detector.stream()
    found = [reading.score for part in (rows[:1], rows[1:]) for reading in stream.push(part)]
    np.testing.assert_allclose(found, detector.score_samples(rows), atol=1e-8)
    lowered = detector.score_samples(rows) < detector.scores(rows)["elbo"].to_numpy() - 1e-6
    assert lowered[::3].all()


def test_a_missing_cell_is_no_improbable_one():
    """Columns that tell all of each other have shares above 0, which a missing cell has."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 1)) + 0.01 * rng.normal(size=(600, 5))
    model = VAEDetector(random_state=0).fit(rows).model_
    assert (model.cells.columns.bound[-1] > 0.5).all()
    holed = rows[:100].copy()
    holed[:, 2] = np.nan
    encoded = model.codec.transform(holed)
    as_a_whole = model.comparable(model.score(encoded, "elbo"), encoded)
    np.testing.assert_allclose(model.decision_scores(encoded), as_a_whole, atol=1e-8)


def test_arithmetic_decides_nothing(tmp_path):
    """A held-out row lies on the bound of the tail exactly; NumPy adds up in another order."""
    for seed in (4, 5):
        rows = draw(600, seed)
        detector = VAEDetector(random_state=seed, cell_share=0.5, max_steps=20).fit(rows)
        save(detector, tmp_path / "half")
        found = load_scorer(tmp_path / "half").score_samples(rows)
        np.testing.assert_allclose(found, detector.score_samples(rows), rtol=1e-6)


def test_whole_amounts_know_their_sign_too():
    rng = np.random.default_rng(0)
    table = draw(1_500, 0).assign(
        cents=np.ceil(np.exp(2.5 * rng.normal(size=1_500) + 5)).astype(int)
    )
    detector = VAEDetector(random_state=0).fit(table)
    assert detector.kinds_["cents"] == "count"
    rows = draw(200, 1).assign(cents=0)
    codec = detector.model_.codec
    offsets = codec.transform(rows).offsets[:, codec.names.index("cents")]
    np.testing.assert_allclose(offsets, -np.log(1_201.0))  # four fifths are learned from
    assert np.mean(detector.p_values(rows) <= 0.01) > 0.9


def test_rare_names_do_not_make_other_cells_look_usual():
    """By an exponential law alone, names of one row in 200 seem as improbable as 6 sd."""
    found = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        rows = draw(2_200, seed).assign(
            **{f"rare{i}": np.where(rng.random(2_200) < 0.005, "b", "a") for i in range(4)}
        )
        train, new = rows[:2_000], rows[2_000:]
        detector = VAEDetector(random_state=seed, max_steps=60).fit(train)
        found.append(np.mean(detector.p_values(new.assign(x0=6.0)) <= 0.01))
    assert np.mean(found) > 0.8


def test_tables_are_judged_a_piece_at_a_time(detector, monkeypatch):
    rows = detector.model_.codec.transform(draw(50, 5).assign(x2=30.0))
    whole, error = detector.model_.decision_with_error(rows)
    monkeypatch.setattr("improbable.model.PIECE", 7)
    found = detector.model_.decision_with_error(rows)
    np.testing.assert_array_equal(found[0], whole)
    np.testing.assert_array_equal(found[1], error)
    np.testing.assert_array_equal(detector.model_.decision_scores(rows), whole)
    assert len(detector.model_.decision_scores(rows.take(slice(0)))) == 0


def test_files_of_before_say_that_cells_count_for_nothing():
    old = load(Path(__file__).parent / "data" / "model_0_1.safetensors")
    assert old.model_.cells is None
    assert old.get_params()["cell_share"] == 0.0
