"""Usual values that never came together in training are improbable together, and said to be."""

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL

from improbable import VAEDetector, WindowCodec, load, load_scorer, save
from improbable.data import pairs as module
from improbable.data.pairs import Pairs, codes_at_fit, codes_in, lower, pairs_of
from improbable.data.table import TableCodec


def rows(n=1_200, seed=0, countries=8):
    """Payments whose currency follows from the country, beside columns that know nothing."""
    rng = np.random.default_rng(seed)
    country = rng.integers(0, countries, n)
    table = pd.DataFrame(
        {
            "country": [f"c{i}" for i in country],
            "currency": [f"m{i // 2}" for i in country],
            "euro": country < 2,
            "channel": rng.choice(["web", "shop", "phone"], n),
        }
    )
    return table.assign(**{f"x{j}": rng.normal(size=n) for j in range(4)})


def odd(table):
    """The same payments in the currency of another country."""
    swapped = (table["currency"].str[1:].astype(int) + 1) % table["currency"].nunique()
    return table.assign(currency="m" + swapped.astype(str))


@pytest.fixture(scope="module")
def detector():
    return VAEDetector(**SMALL).fit(rows())


def counted(codes, i, j):
    """Counts of pairs, and what would be expected, cell by cell."""
    a, b = codes[i], codes[j]
    both = (a >= 0) & (b >= 0)
    seen = {}
    for x, y in zip(a[both].tolist(), b[both].tolist(), strict=True):
        seen[x, y] = seen.get((x, y), 0) + 1
    n = int(both.sum())
    return {
        (x, y): (seen.get((x, y), 0), np.sum(a[both] == x) * np.sum(b[both] == y) / n)
        for x in set(a[both].tolist())
        for y in set(b[both].tolist())
    }


def test_pairs_are_those_that_counts_of_rows_tell():
    rng = np.random.default_rng(1)
    first = rng.choice([-1, 0, 1, 2, 3], 400, p=[0.1, 0.4, 0.3, 0.15, 0.05])
    second = np.where(rng.random(400) < 0.99, first % 3, rng.integers(0, 4, 400))
    codes = {2: first, 5: second, 7: rng.integers(0, 3, 400)}
    found = pairs_of(codes)
    assert [(pairs.first, pairs.second) for pairs in found] == [(2, 5)]
    cells = counted(codes, 2, 5)
    usual = {pair: held for pair, held in cells.items() if held[1] >= 1.0}
    never = {pair: e for pair, (n, e) in usual.items() if n == 0}
    once = sum(n == 1 for n, _ in usual.values())
    assert found[0].lost == pytest.approx(np.log(sum(never.values()) / (once + 1)))
    told = dict(zip(map(tuple, found[0].values.tolist()), found[0].expected, strict=True))
    assert told == pytest.approx(never)
    for (x, y), blamed in zip(told, found[0].blamed, strict=True):
        n_first = sum(n for (a, _), (n, _) in cells.items() if a == x)
        n_second = sum(n for (_, b), (n, _) in cells.items() if b == y)
        assert blamed == (n_second < n_first)


def test_columns_that_know_nothing_of_each_other_have_none():
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        shares = rng.dirichlet(np.ones(20))
        codes = {i: rng.choice(20, 2_000, p=shares) for i in range(4)}
        found.append(sum(pairs.expected.sum() for pairs in pairs_of(codes)) / 2_000 / 6)
    assert np.mean(found) < 1e-3  # share of rows that hold one, of independent columns


def test_pairs_together_are_as_probable_as_those_seen_once():
    """Good: the probability of what was never seen, here of pairs of dependent names."""
    rng = np.random.default_rng(0)
    joint = rng.dirichlet(np.full(400, 0.02)).reshape(20, 20)
    drawn = [rng.choice(400, 3_000, p=joint.ravel()) for _ in range(2)]
    codes = {0: drawn[0] // 20, 1: drawn[0] % 20}
    (pairs,) = pairs_of(codes)
    truth = joint[tuple(pairs.values.T)].sum()
    said = np.exp(-pairs.lost) * pairs.expected.sum() / 3_000
    assert said == pytest.approx(truth, abs=4.0 * np.sqrt(max(truth, 1 / 3_000) / 3_000))


def test_rows_of_other_codes_hold_none():
    codes = {0: np.repeat([0, 1], 50), 1: np.repeat([0, 1], 50)}
    (found,) = pairs_of(codes)
    assert found.lost == pytest.approx(np.log(50.0))
    new = {0: np.array([0, -1, 7, 0, 1]), 1: np.array([1, 1, 0, 9, 0])}
    held, which = found.held_by(new)
    assert held.tolist() == [0, 4]
    assert found.values[which].tolist() == [[0, 1], [1, 0]]


def test_the_cell_of_the_rarer_value_loses(detector):
    codec = detector._fitted().codec
    new = odd(rows(50, seed=4))
    encoded = codec.transform(new)
    names = codec.names
    lost = {pairs.lost for pairs in codec.pairs}
    country, euro = (encoded.offsets[:, names.index(name)] for name in ("country", "euro"))
    assert set((-country).tolist()) <= lost  # a country is rarer than its currency
    assert (encoded.offsets[:, names.index("channel")] == 0.0).all()
    assert (euro <= 0.0).all()
    offsets = np.full(encoded.offsets.shape, -99.0)
    lower(offsets, codec.pairs, codec.modeled, codec._slots, encoded)
    assert (offsets == -99.0).all()  # what is lower already stays


def test_there_are_no_more_than_so_many(monkeypatch):
    rng = np.random.default_rng(0)
    code = rng.integers(0, 12, 3_000)
    monkeypatch.setattr(module, "MOST_PAIRS", 20)
    found = pairs_of({0: code, 1: code, 2: code})
    assert sum(len(pairs.values) for pairs in found) == 20
    assert min(pairs.expected.min() for pairs in found) > 22.0
    monkeypatch.setattr(module, "MOST_COLUMNS", 1)
    assert pairs_of({0: code, 1: code}) == ()
    assert pairs_of({}) == ()


def test_codes_are_the_places_of_names():
    table = rows()
    table.loc[3, "country"] = None
    codec = TableCodec({"channel": "categorical"}).fit(table)
    new = table[:6].assign(currency="m9")
    encoded = codec.transform(new)
    codes = codes_in(codec.modeled, codec._slots, encoded)
    alone = codes_at_fit(codec.modeled, codec.read(new), codec.n_rows)
    assert codes.keys() == alone.keys()
    assert all((codes[i] == alone[i]).all() for i in codes)
    names = [column.name for column in codec.modeled]
    assert {names[i] for i in codes} == {"country", "currency", "euro", "channel"}
    for i, code in codes.items():
        known = codec.modeled[i].kind.names
        for value, place in zip(new[names[i]], code, strict=True):
            word = str(value) if value is not None else None
            assert place == (known.index(word) if word in known else -1)


def test_rare_names_in_a_bucket_have_no_code():
    table = rows(countries=40)
    codec = TableCodec({"country": "categorical"}).fit(table)
    narrow = TableCodec({"country": type(codec.modeled[0].kind)(max_categories=5)}).fit(table)
    code = codes_at_fit(narrow.modeled, narrow.read(table), narrow.n_rows)[0]
    usual = set(narrow.modeled[0].kind.names[:4])
    np.testing.assert_array_equal(code >= 0, table["country"].isin(usual))


def test_such_rows_are_found_and_named(detector):
    new = rows(400, seed=1)
    assert np.mean(detector.p_values(new) <= 0.02) < 0.06
    assert np.mean(detector.p_values(odd(new)) <= 0.02) > 0.95
    notes, train = detector.detect(odd(new)[:40]).warnings, rows()
    for note, (_, row) in zip(notes, odd(new)[:40].iterrows(), strict=True):
        said = f"country = {row['country']!r} and currency = {row['currency']!r} never came"
        assert f"{said} together in training, " in note
        told = int(note.split("training, ")[1].split(" rows were to be expected")[0])
        n = (train["country"] == row["country"]).sum() * (
            train["currency"] == row["currency"]
        ).sum()
        assert told == pytest.approx(n / len(train) * 0.8, rel=0.5)
    assert not any("together" in note for note in detector.detect(new).warnings)
    assert detector.explain(odd(new)[:1]).reasons(0)[0].startswith(("country", "currency"))


def test_files_and_scorers_without_torch_keep_them(detector, tmp_path):
    save(detector, tmp_path / "m")
    new = odd(rows(100, seed=2))
    expected = detector.score_samples(new)
    np.testing.assert_array_equal(load(tmp_path / "m").score_samples(new), expected)
    np.testing.assert_allclose(
        load_scorer(tmp_path / "m").score_samples(new), expected, rtol=1e-6, atol=1e-4
    )
    codec = detector._fitted().codec
    again = TableCodec.from_json(codec.to_json())
    for pairs, other in zip(codec.pairs, again.pairs, strict=True):
        assert other.to_json() == pairs.to_json()
        assert isinstance(other, Pairs)
    record = codec.to_json()
    del record["pairs"]
    old = TableCodec.from_json(record)
    assert old.pairs == ()
    assert (old.transform(new).offsets == 0.0).all()


def test_streams_and_series_say_so(detector):
    new = pd.concat([rows(5, seed=3), odd(rows(5, seed=3))], ignore_index=True)
    readings = detector.stream(adapt=False, alpha=0.02).push(new)
    told = [any("never came together" in note for note in one.warnings) for one in readings]
    assert told == [False] * 5 + [True] * 5
    scores = [reading.score for reading in readings]
    np.testing.assert_allclose(scores, detector.score_samples(new), rtol=1e-9, atol=1e-6)
    codec = WindowCodec(length=4, time=None)
    series = VAEDetector(codec=codec, **SMALL).fit(rows()[["country", "currency", "x0"]])
    notes = series.detect(new).warnings
    assert ["together" in note for note in notes] == told
