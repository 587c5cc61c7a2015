"""Sequences of tokens: known answers on a Markov chain, causality, form, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy.stats import kstest

from improbable import DataError, ImprobableError, SequenceCodec, VAEDetector, load, save
from improbable.codes import Codes
from improbable.data.sequences import LONGEST
from improbable.data.tokens import END, UNKNOWN, from_names, read_sequences, to_names
from improbable.lengths import Leveling
from improbable.model import as_batch
from improbable.networks import initialize
from improbable.recurrent import MemberGRU, Packed
from improbable.schedules import Reliance
from improbable.scores import SCORES, draw, foreseen
from improbable.settings import check_settings
from improbable.vae import assemble_vae
from improbable.wording import AS_A_WHOLE

NAMES = ("red", "green", "blue", "gray", "black")
STOP = 0.08
NEXT = np.array(
    [
        [0.0, 0.7, 0.3, 0.0, 0.0],
        [0.0, 0.0, 0.9, 0.1, 0.0],
        [0.5, 0.0, 0.0, 0.0, 0.5],
        [1.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.2, 0.0, 0.8, 0.0],
    ]
)
SMALL = {"hidden": (32,), "latent_dim": 4, "learning_rate": 1e-2, "random_state": 0}


def chain(n, rng, shortest=4):
    """Walks from red along `NEXT`, each step the last one with probability `STOP`."""
    out = []
    while len(out) < n:
        at, walk = 0, []
        while True:
            walk.append(NAMES[at])
            if rng.random() < STOP:
                break
            at = rng.choice(5, p=NEXT[at])
        if len(walk) >= shortest:
            out.append(walk)
    return out


def entropy_rate(shortest=4):
    """Nats a symbol of the walks, the end included: those of the steps, and of stopping."""
    steps = -np.where(NEXT > 0, NEXT * np.log(np.maximum(NEXT, 1e-300)), 0.0).sum(1)
    stop = -(STOP * np.log(STOP) + (1 - STOP) * np.log(1 - STOP))
    at, nats, symbols = np.eye(5)[0], 0.0, 1.0
    for step in range(2_000):
        free = step >= shortest - 1
        nats += at.sum() * (stop if free else 0.0)
        symbols += at.sum()
        at = at * (1 - STOP) if free else at
        nats += at @ steps
        at = at @ NEXT
    return nats / symbols


def allowed(walk):
    places = [NAMES.index(token) for token in walk]
    return places[:1] == [0] and all(
        NEXT[a, b] > 0 for a, b in zip(places, places[1:], strict=False)
    )


pytestmark = pytest.mark.xdist_group("sequences")  # so that one process alone fits the detector


@pytest.fixture(scope="module")
def walks():
    rng = np.random.default_rng(0)
    return chain(900, rng), chain(1500, rng)


@pytest.fixture(scope="module")
def detector(walks):
    options = {**SMALL, "prior": "normal", "calibration_fraction": 0.4, "n_draws": 8}
    return VAEDetector(codec=SequenceCodec(), max_steps=150, **options).fit(walks[0])


@pytest.fixture(scope="module")
def untrained():
    """Codec, VAE of two members with random weights, and a batch of sequences in float64."""
    items = [["a", "b", "a", "c"], ["b"], ["c", "c", "a"], [], ["a", "x", "b"]] * 2
    codec = SequenceCodec().fit(items)
    vae = assemble_vae(codec, 3, (8,), (8, 6), 2)
    generator = torch.Generator().manual_seed(0)
    for network in (vae.encoder, vae.decoder):
        initialize(network, generator)
        for parameter in network.parameters():
            parameter.data.mul_(3.0)
    return (
        codec,
        vae.double().requires_grad_(requires_grad=False),
        as_batch(codec.transform(items)),
    )


def test_log_likelihood_approaches_the_entropy_rate(detector, walks):
    symbols = sum(len(walk) + 1 for walk in walks[1])
    found = detector.reconstruction_probability(walks[1], "log_marginal").sum() / symbols
    # 540 walks leave it some hundredths of a nat above; none of it can be gained.
    assert -entropy_rate() - 0.1 < found < -entropy_rate() + 0.02


def test_z_is_used(detector, walks):
    assert min(detector.history_.active_units) > 0
    assert -detector.reconstruction_probability(walks[1], "kl").mean() > 0.5


def test_p_values_are_uniform_for_short_and_long_sequences(detector, walks):
    sizes = np.array([len(walk) for walk in walks[1]])
    low, high = np.quantile(sizes, [1 / 3, 2 / 3])
    p = detector.p_values(walks[1])
    plain = detector.reconstruction_probability(walks[1], "elbo")
    rank = plain.argsort().argsort() / len(plain)
    for chosen in (sizes <= low, sizes >= high):
        assert 0.02 < (p[chosen] <= 0.05).mean() < 0.1
        assert kstest(p[chosen], "uniform").statistic < 0.15
        assert kstest(rank[chosen], "uniform").statistic > 0.35  # what raw scores come to


def test_breaks_score_lower_and_are_named(detector, walks):
    rng = np.random.default_rng(1)
    odd, places = [], []
    for walk in walks[1][:150]:
        place = int(rng.integers(1, len(walk)))
        left = [n for n in range(5) if NEXT[NAMES.index(walk[place - 1]), n] == 0]
        odd.append([*walk[:place], NAMES[rng.choice(left)], *walk[place + 1 :]])
        places.append(place)
    normal, broken = detector.score_samples(walks[1][150:]), detector.score_samples(odd)
    assert (broken[:, None] < normal).mean() > 0.97
    found = detector.explain(odd)
    hits = [place in found.ranking(row)[:2] for row, place in enumerate(places)]
    assert np.mean(hits) > 0.9
    assert (detector.detect(odd, alpha=0.05).is_outlier).mean() > 0.7


def test_shares_add_up_to_the_expected_log_prob(detector, walks):
    new = [*walks[1][:20], [], ["red", "never"], walks[1][0] * 40]
    found = detector.explain(new)
    total = detector.reconstruction_probability(new)
    np.testing.assert_allclose(found.shares.sum(axis=1), total, rtol=0, atol=1e-9)
    for row, item in enumerate(new[:21]):
        assert (found.shares[row, : len(item) + 1] < 0).all()
        assert (found.shares[row, len(item) + 1 :] == 0).all()
        assert np.isnan(found.p_values[row, len(item) + 1 :]).all()


def test_reasons_in_words(detector):
    found = detector.explain([["red", "green", "gray", "black", "gray", "red"], ["red"]])
    assert "token 4 = 'black' (expected 'red')" in found.reasons(0)
    assert found.reason(1, 1) == "ends after 1 token (expected 'green')"
    assert "row 0: token 4" in str(found)
    dull = replace(found, surprise=np.zeros_like(found.surprise), odd=np.array([False, True]))
    assert (dull.reasons(0), dull.reasons(1)) == ([], [AS_A_WHOLE])
    frame = found.to_frame("pandas")
    assert list(frame) == ["row", "position", "token", "share", "p_value", "surprise", "expected"]
    assert frame.groupby("row").size().tolist() == [7, 2]
    assert frame.token[frame.row == 0].iloc[0] == "black"
    assert set(frame.token) >= {"(end)", "red"}


def test_same_score_in_any_batch_and_order(detector, walks):
    new = [*walks[1][:40], [], ["never"]]
    whole = detector.score_samples(new)
    alone = np.concatenate([detector.score_samples([item]) for item in new])
    np.testing.assert_allclose(alone, whole, rtol=0, atol=1e-9)
    np.testing.assert_allclose(detector.score_samples(new[::-1])[::-1], whole, rtol=0, atol=1e-9)


def test_all_scores_are_finite(detector, walks):
    found = detector.scores([*walks[1][:5], []])
    assert set(SCORES) <= set(found.dtype.names)
    assert all(np.isfinite(found[name]).all() for name in SCORES)


def test_samples_follow_the_chain(detector):
    drawn = detector.sample(200, random_state=0)
    assert np.mean([allowed(walk) for walk in drawn]) > 0.6
    assert {token for walk in drawn for token in walk} <= set(NAMES)
    assert drawn == detector.sample(200, random_state=0)
    assert drawn != detector.sample(200, random_state=1)


def test_verbs_of_the_latent_space(detector, walks):
    new = walks[1][:30]
    between = detector.interpolate([new[0]], [new[1]], 3)
    assert len(between) == 3
    assert between[0] == detector.decode(detector.posterior([new[0]]).loc)[0]
    assert len(detector.reconstruct(new)) == 30
    assert detector.sample_like([new[0]], 2, random_state=0) != [new[0], new[0]]
    with pytest.warns(match="do not separate"):
        detector.add_direction("later", new[:15], new[15:])
    assert len(detector.steer(new[:2], "later")) == 2
    assert detector.index(new).search(detector.posterior(new[:2]), 1).ids.shape == (2, 1)
    assert len(detector.cluster(new, 2).labels) == 30


def test_what_does_not_suit_sequences_is_refused(detector, walks):
    with pytest.raises(DataError, match="no missing tokens"):
        detector.impute(walks[1][:2])
    with pytest.raises(DataError, match="columns of a table"):
        detector.sample(2, given={"token 1": "red"})
    with pytest.raises(DataError, match="linear"):
        detector.interpolate([walks[1][0]], [walks[1][1]], path="geodesic")
    with pytest.raises(DataError, match="contamination='auto'"):
        VAEDetector(codec=SequenceCodec(), contamination="unknown").fit(walks[0])


def test_round_trip_of_a_file(detector, walks, tmp_path):
    save(detector, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert (again.score_samples(walks[1][:50]) == detector.score_samples(walks[1][:50])).all()
    assert again.sample(5, random_state=0) == detector.sample(5, random_state=0)
    assert again.model_.leveling == detector.model_.leveling


def test_refit_follows_new_sequences(walks):
    options = {**SMALL, "max_steps": 40, "n_members": 1}
    detector = VAEDetector(codec=SequenceCodec(), **options).fit(walks[0][:200])
    longer = [[*walk, "red", "red"] for walk in walks[0][200:400]]
    before = detector.score_samples(longer).mean()
    tokens = detector.model_.codec.tokens
    assert detector.refit(longer).score_samples(longer).mean() > before
    assert detector.model_.codec.tokens == tokens


def test_teacher_forcing_is_what_token_by_token_gives(untrained):
    codec, vae, batch = untrained
    z = torch.randn(2, 3, len(batch), 3, generator=torch.Generator().manual_seed(1)).double()
    whole = vae.decode(z, batch.values).log_prob_blocks(batch.values) * batch.observed
    decoder, codes = vae.decoder, (batch.values * codec.n_codes).round().long()
    for i in range(3):
        state = torch.zeros(2, len(batch), decoder.reader.units).double()
        code = torch.full((len(batch),), codec.n_codes)
        for place in range(codec.event_size):
            state = decoder.reader.step(code.expand(2, -1), state)
            rows = torch.arange(len(batch))
            logits = decoder._logits(state, z[:, i : i + 1], rows)[:, 0]
            code = codes[:, place]
            found = Codes(logits).log_prob(code.double()) * batch.observed[:, place]
            torch.testing.assert_close(found, whole[:, i, :, place])


def test_no_token_looks_ahead(untrained):
    codec, vae, batch = untrained
    z = torch.zeros(2, 1, 1, 3).double()
    first = batch[:1].values
    before = vae.decode(z, first).distributions[0].logits
    for place in range(4):
        other = first.clone()
        other[0, place] = (codec.tokens.index("b") + 2) / codec.n_codes
        other[0, place] += 1 / codec.n_codes if other[0, place] == first[0, place] else 0
        after = vae.decode(z, other).distributions[0].logits
        assert torch.equal(after[:, :, :, : place + 1], before[:, :, :, : place + 1])
        if place < 3:
            assert not torch.equal(after[..., place + 1, :], before[..., place + 1, :])


def test_hidden_tokens_are_unheard_in_training_alone(untrained):
    codec, vae, batch = untrained
    z = torch.zeros(2, 1, len(batch), 3).double()
    plain = vae.decode(z, batch.values).distributions[0].logits
    everything = vae.decode(z, batch.values, torch.ones_like(batch.values))
    assert torch.equal(everything.distributions[0].logits, plain)
    nothing = vae.decode(z, batch.values, torch.zeros_like(batch.values)).distributions[0].logits
    assert torch.equal(nothing[:, :, :, 0], plain[:, :, :, 0])
    assert not torch.equal(nothing[:, :, 0, 1], plain[:, :, 0, 1])
    assert Reliance().heard(batch.values, 4, torch.Generator()) is None
    drawn = Reliance(unheard=0.25).heard(batch.values, 400, torch.Generator().manual_seed(0))
    assert 0.7 < drawn.mean() < 0.8


def test_reading_in_packs_is_reading_one_by_one():
    generator = torch.Generator().manual_seed(0)
    unit = MemberGRU(2, 5, 4).double()
    for parameter in unit.parameters():
        parameter.data.normal_(generator=generator)
    codes = torch.randint(0, 5, (2, 6, 7), generator=generator)
    read = torch.rand(6, 7, generator=generator) < 0.6
    read[2] = False
    packed = Packed.of(read)
    states = unit(packed.take(codes), packed)
    for row in range(6):
        state = torch.zeros(2, 1, 4).double()
        for place in torch.nonzero(read[row]).flatten().tolist():
            state = unit.step(codes[:, row : row + 1, place], state)
            at = torch.nonzero((packed.row == row) & (packed.place == place)).item()
            torch.testing.assert_close(states[:, at], state[:, 0])
        assert packed.last[row] == (-1 if row == 2 else at)


def test_gradients_of_reading_are_right():
    generator = torch.Generator().manual_seed(0)
    unit = MemberGRU(2, 5, 3).double()
    for parameter in unit.parameters():
        parameter.data.normal_(generator=generator)
    codes = torch.randint(0, 5, (2, 4, 3), generator=generator)
    packed = Packed.of(torch.tensor([[1, 1, 0], [1, 1, 1], [0, 0, 0], [0, 1, 0]]).bool())

    def read(table, weight, bias):
        named = {"codes.weight": table, "state.weight": weight, "state.bias": bias}
        return torch.func.functional_call(unit, named, (packed.take(codes), packed))

    parameters = unit.codes.weight, unit.state.weight, unit.state.bias
    assert torch.autograd.gradcheck(read, parameters)


def test_the_end_is_judged():
    codec = SequenceCodec().fit([["a", "b"], ["a", "b", "a", "b"]])
    rows = codec.transform([["a", "b"], [], ["a"] * 4, ["a"] * 9])
    assert rows.observed.sum(axis=1).tolist() == [3, 1, 5, 5]
    assert (rows.values[0, 2:] == END).all()
    assert codec.sizes(rows).tolist() == [3, 1, 5, 5]


def test_a_token_where_all_of_training_had_ended_has_the_rule_of_succession():
    train = [["a", "b"], ["a", "b", "a", "b"]]
    codec = SequenceCodec().fit(train)
    new = [train[1], ["a", "b"] * 2 + ["b"], ["a", "b"] * 9, ["a", "b"] * 2 + ["x"]]
    rows = codec.transform(new)
    codes = (rows.values * codec.n_codes).round()[:, -1].tolist()
    assert codes == [END, codec.tokens.index("b") + 2, codec.tokens.index("a") + 2, UNKNOWN]
    assert rows.out_of_range[:, -1].tolist() == [False, True, True, True]
    assert not rows.out_of_range[:, :-1].any()
    wanted = [0.0, -np.log(3), -np.log(3), -np.log(3) - np.log(7)]
    np.testing.assert_allclose(rows.offsets[:, -1], wanted)
    assert codec.sizes(rows).tolist() == [5] * 4
    assert codec.remarks(rows, codec.read(new)).tolist() == [
        "",
        "5 tokens, those of training have 4 at most",
        "18 tokens, those of training have 4 at most; only the first 5 of 18 tokens are judged",
        "tokens rare or never seen: 'x'; 5 tokens, those of training have 4 at most",
    ]
    record = codec.to_json()
    assert record.pop("n_ended") == 2
    assert not SequenceCodec.from_json(record).transform(new).offsets[1].any()


def test_sequences_cut_in_training_are_judged_as_there():
    codec = SequenceCodec(max_length=2).fit([["a", "b", "b", "a"], ["a", "b"]] * 3)
    new = [["a", "b", "b", "a"], ["a", "b", "b"], ["a", "b"]]
    rows = codec.transform(new)
    assert rows.observed.all()
    assert not rows.offsets.any()
    assert not rows.out_of_range.any()
    notes = codec.remarks(rows, codec.read(new)).tolist()
    assert notes == ["only the first 3 of 4 tokens are judged", "", ""]


@pytest.mark.filterwarnings("ignore::improbable.errors.TrainingWarning")  # so few steps
def test_going_on_past_every_training_sequence_is_improbable(tmp_path):
    rng = np.random.default_rng(0)
    train = [["ping", "pong"] * int(rng.integers(1, 6)) for _ in range(300)]
    detector = VAEDetector(codec=SequenceCodec(), max_steps=30, n_members=1, **SMALL).fit(train)
    usual = ["ping", "pong"] * 5
    new = [usual, [*usual, "ping"], usual * 20, usual + ["rm -rf"] * 50]
    p = detector.p_values(new)
    assert p[0] > 0.3
    assert p[1:].max() < 0.05
    found = detector.explain(new)
    reasons = [found.reasons(row, 1) for row in (1, 2, 3)]
    assert reasons[:2] == [["token 11 = 'ping' (expected the end)"]] * 2
    assert reasons[2] == ["token 11 = 'rm -rf' (expected the end)"]
    total = detector.reconstruction_probability(new)
    np.testing.assert_allclose(found.shares.sum(axis=1), total, rtol=0, atol=1e-9)
    assert max(map(len, detector.reconstruct(new))) <= 10
    save(detector, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors").score_samples(new)
    assert np.array_equal(again, detector.score_samples(new))


def test_unknown_tokens_share_one_code():
    codec = SequenceCodec().fit([["a", "b", "once"], ["a", "b", "too"]])
    assert codec.tokens == ("a", "b")
    assert (codec.n_rare, codec.n_seen) == (2, 6)
    rows = codec.transform([["a", "new", "once"]])
    assert (rows.values * codec.n_codes).round()[0].tolist() == [2, UNKNOWN, UNKNOWN, END]
    assert rows.observed.all()
    np.testing.assert_allclose(rows.offsets[0], [0, -np.log(3), -np.log(3), 0])
    source = codec.read([["a", "new", "once"], ["a"], ["b"] * 5])
    assert codec.remarks(codec.transform(source), source).tolist() == [
        "tokens rare or never seen: 'new', 'once'",
        "",
        "5 tokens, those of training have 3 at most; only the first 4 of 5 tokens are judged",
    ]


def test_where_no_token_is_rare_an_unknown_one_has_the_rule_of_succession():
    codec = SequenceCodec().fit([["a", "b"], ["a", "b"]])
    rows = codec.transform([["a", "new"]])
    assert rows.observed[0].tolist() == [True, False, True]
    np.testing.assert_allclose(rows.offsets[0], [0, -np.log(5), 0])
    assert codec.sizes(rows).tolist() == [3]


def test_unknown_tokens_lower_the_score(detector, walks):
    walk = walks[1][0]
    odd = [*walk[:2], "never", *walk[3:]]
    plain, strange = detector.score_samples([walk, odd])
    assert strange < plain - 3.0
    found = detector.detect([odd])
    assert found.warnings[0] == "tokens rare or never seen: 'never'"


def test_lengths():
    items = [["a"] * 3, ["a"] * (LONGEST + 9)]
    assert SequenceCodec().fit(items).max_length == LONGEST
    assert SequenceCodec(max_length=5).fit(items).event_size == 6
    assert len(SequenceCodec(max_tokens=1).fit([["a", "a", "b", "b"]] * 2).tokens) == 1


@pytest.mark.parametrize(
    "form",
    [
        list,
        lambda x: pd.Series(x, name="events"),
        lambda x: pl.Series("events", x),
        lambda x: pa.array(x),
        lambda x: pd.DataFrame({"events": x}),
        lambda x: pl.DataFrame({"events": x}),
        lambda x: pa.table({"events": x}),
    ],
)
@pytest.mark.parametrize("unit", ["characters", "words", "tokens"])
def test_what_comes_in_comes_out(form, unit):
    items = {
        "characters": ["abca", "b", "", "cab"],
        "words": ["a b c", "b", "", "c a"],
        "tokens": [["a", "b"], ["b", "a", "c"], [], ["c"]],
    }[unit]
    data = form(items)
    codec = SequenceCodec("words" if unit == "words" else "auto", min_count=1).fit(data)
    assert codec.form.unit == unit
    found = codec.inverse_transform(codec.transform(data).values).to_native()
    again = codec.read(found)
    assert list(again.items) == list(read_sequences(items, codec.unit).items)
    if isinstance(data, list | pa.Array):
        assert (found if isinstance(found, list) else found.to_pylist()) == items
    else:
        assert type(found) is type(data)
    record = json.loads(json.dumps(codec.to_json()))
    assert SequenceCodec.from_json(record) == codec


@pytest.mark.parametrize("table", [False, True])
def test_sequences_keep_the_index_of_a_pandas_column(table):
    column = pd.Series(["ab", "b", "", "ba"], index=[7, 5, 9, 1], name="events")
    data = column.to_frame() if table else column
    some = read_sequences(data).take(np.array([3, 0]))
    assert some.row_labels.tolist() == [1, 7]
    assert some.to_native().equals(data.loc[[1, 7]])
    codec = SequenceCodec(min_count=1).fit(data)
    decoded = codec.inverse_transform(codec.transform(data).values, read_sequences(data))
    assert decoded.to_native().index.equals(data.index)


def test_tokens_of_any_plain_kind_come_back():
    items = [[1, "1", 2.5, None, ("a", 3)], [np.int64(1), "1", 2.5, None, ("a", 3)]]
    codec = SequenceCodec().fit(items)
    assert set(codec.tokens) == {1, "1", 2.5, None, ("a", 3)}
    assert from_names(json.loads(json.dumps(to_names(codec.tokens)))) == codec.tokens
    assert codec.inverse_transform(codec.transform(items).values).to_native()[1] == items[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("abc", "Wrap a single sequence"),
        (5, "must be a list"),
        ([["a"], "b"], "in one form"),
        ([["a"], 5], "Row 1 holds 5"),
        ([["a"], None], "Row 1 holds None"),
        (pd.Series([["a"], [], None]), "Row 2 holds None"),
        (pd.Series(["abc", None], dtype=object), "Row 1 holds None, which is no sequence"),
        (pl.Series(["abc", "", None]), "Row 2 holds None, which is no sequence"),
        ([[{"a"}], ["b"]], "Tokens are text"),
        ([[], []], "too few"),
        ([["a"]], "too few"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), "2 columns"),
    ],
)
def test_what_is_no_sequence_is_refused(data, words):
    with pytest.raises(DataError, match=words):
        SequenceCodec().fit(data)


def test_strings_and_lists_do_not_mix(detector):
    with pytest.raises(DataError, match="not lists of tokens"):
        detector.score_samples(["red green"])
    with pytest.raises(DataError, match="not of words"):
        SequenceCodec("words").fit(["a b", "b"]).read([["a"]])
    with pytest.raises(DataError, match="not lists of tokens"):
        SequenceCodec("tokens").fit(["ab", "cd"])
    for wrong in ({"unit": "bytes"}, {"max_length": 0}, {"min_count": "two"}):
        with pytest.raises(ImprobableError, match=next(iter(wrong))):
            SequenceCodec(**wrong).fit([["a"], ["b"]])


def test_leveling_makes_sizes_compare():
    rng = np.random.default_rng(0)
    sizes = rng.integers(2, 60, 3_000)
    scores = -0.5 * sizes + np.sqrt(sizes) * rng.normal(size=3_000)
    leveling = Leveling.fit(scores, sizes)
    level = leveling(scores, sizes)
    for chosen in (sizes < 12, (sizes > 20) & (sizes < 40), sizes > 50):
        assert abs(level[chosen].mean()) < 0.25 * level.std()
        assert 0.75 < level[chosen].std() / level.std() < 1.25
    assert Leveling.from_json(json.loads(json.dumps(leveling.to_json()))) == leveling
    flat = Leveling.fit(np.array([1.0, 3.0]), np.array([4, 4]))
    np.testing.assert_allclose(flat(np.array([1.0, 3.0]), np.array([4, 9])), [-1.0, 1.0])


def test_only_recurrent_networks_rely_on_more_than_the_bound():
    params = VAEDetector(codec=SequenceCodec()).get_params(deep=False)
    assert check_settings(params).train.reliance.free_nats > 0
    assert check_settings(VAEDetector().get_params(deep=False)).train.reliance == Reliance()
    reliance = Reliance(warm_up=0.5)
    assert [reliance.kl_weight(p) for p in (0.0, 0.25, 0.5, 1.0)] == [0.0, 0.5, 1.0, 1.0]


@pytest.mark.filterwarnings("ignore::improbable.errors.TrainingWarning")  # so few steps
def test_tuning_works(walks):
    pytest.importorskip("optuna")
    options = {"max_steps": 40, "n_members": 1, "tune": True, "budget": 1, "random_state": 0}
    detector = VAEDetector(codec=SequenceCodec(), **options).fit(walks[0][:130])
    assert len(detector.tuning_.trials) >= 1


def test_what_the_model_expects_is_its_entropy(untrained):
    codec, vae, batch = untrained
    draws = draw(vae, batch, torch.zeros(1, 3).double())
    log_prob = draws.decoded.distributions[0].logits.log_softmax(-1)
    entropy = -(log_prob.exp() * log_prob).sum(-1) * batch.observed
    torch.testing.assert_close(foreseen(draws), -entropy.sum(-1).mean(dim=(0, 1)))


def test_decision_scores_leave_out_what_the_model_expects(detector, walks):
    model, new = detector.model_, walks[1][:20]
    rows = model.codec.transform(new)
    lost = model.evaluate(rows, foreseen)
    assert (lost < 0.0).all()
    level = model.leveling(model.score(rows, "elbo") - lost, model.sizes(rows))
    np.testing.assert_allclose(detector.score_samples(new), level, rtol=0, atol=1e-8)
