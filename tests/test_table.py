"""The codec of tables: schema, overrides, layout, and the way back."""

import datetime as dt
import json
import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from polars.testing import assert_frame_equal as assert_polars_equal

from improbable.data.columns import (
    Categorical,
    Constant,
    Count,
    Cyclic,
    Positive,
    Real,
)
from improbable.data.frames import read_frame
from improbable.data.inference import infer_kind
from improbable.data.kinds import COLUMNS
from improbable.data.rows import DenseRows
from improbable.data.table import TableCodec, as_kind
from improbable.errors import DataError, DataWarning, ImprobableError, SchemaError

RNG = np.random.default_rng(0)
N = 200
FUZZ = settings(max_examples=60, deadline=None)


def training(n=N):
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "customer": [f"c-{i:05d}" for i in range(n)],
            "age": rng.integers(18, 90, n),
            "income": np.round(rng.lognormal(3.0, 3.0, n), 2),
            "balance": rng.normal(0.0, 50.0, n),
            "visits": np.where(rng.random(n) < 0.6, 0, rng.poisson(5, n)),
            "member": rng.random(n) < 0.5,
            "flag": rng.integers(0, 2, n),
            "plan": rng.choice(["free", "plus", "pro"], n),
            "tier": pd.Categorical(rng.choice(["a", "b", "c"], n)),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**7, n), "s"),
            "joined": [str(dt.date(2020, 1, 1) + dt.timedelta(days=int(d))) for d in range(n)],
            "country": ["CZ"] * n,
        }
    )


TABLE = training()
CODEC = TableCodec().fit(TABLE)


def same_rows(one, other):
    for field in DenseRows.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), err_msg=field)


def assert_layout(codec):
    """Every encoded entry and every part belongs to one column, once."""
    slots = [codec.column_entries(i) for i in range(len(codec.modeled))]
    assert sorted(e for entries, _ in slots for e in entries) == list(range(codec.event_size))
    assert sorted(p for _, parts in slots for p in parts) == list(range(len(codec.parts)))
    starts = np.cumsum([0, *(part.width for part in codec.parts)])
    assert starts[-1] == codec.event_size
    for i, (entries, parts) in enumerate(slots):
        assert codec.modeled[i].kind.parts() == tuple(codec.parts[p] for p in parts)
        flat = [e for p in parts for e in range(starts[p], starts[p] + codec.parts[p].width)]
        assert entries == flat
        assert all(codec.part_columns[p] == i for p in parts)
    runs = [(part.likelihood, part.width) for part in codec.parts]
    assert len([1 for a, b in zip(runs, runs[1:], strict=False) if a != b]) == max(
        len(set(runs)) - 1, 0
    )


# -- what comes in --------------------------------------------------------------------------


def test_kinds_of_a_plausible_table():
    kinds = {column.name: type(column.kind).__name__ for column in CODEC.columns}
    assert kinds == {
        "customer": "Identifier",
        "age": "Count",
        "income": "Positive",
        "balance": "Real",
        "visits": "Count",
        "member": "Binary",
        "flag": "Binary",
        "plan": "Categorical",
        "tier": "Categorical",
        "when": "Datetime",
        "joined": "Datetime",
        "country": "Constant",
    }
    assert CODEC.names == tuple(name for name in TABLE.columns if name != "customer")
    assert CODEC.library == "pandas"
    assert CODEC.n_rows == N
    assert_layout(CODEC)


def test_training_rows_are_observed_and_within_range():
    rows = CODEC.transform(TABLE)
    assert rows.values.shape == (N, CODEC.event_size)
    assert np.isfinite(rows.values).all()
    assert not (rows.missing | rows.unseen | rows.out_of_range).any()
    assert (rows.offsets == 0.0).all()
    spikes = {p for p, part in enumerate(CODEC.parts) if part.likelihood == "normal"}
    assert rows.observed[:, [p for p in range(len(CODEC.parts)) if p not in spikes]].all()


def test_order_and_further_columns_change_nothing():
    rows = CODEC.transform(TABLE)
    shuffled = TABLE[RNG.permutation(TABLE.columns)]
    same_rows(CODEC.transform(shuffled), rows)
    same_rows(CODEC.transform(shuffled.assign(extra=1, another="x")), rows)


@pytest.mark.parametrize("library", ["polars", "pyarrow", "dicts"])
def test_the_library_changes_nothing(library):
    frame = {
        "polars": pl.from_pandas(TABLE),
        "pyarrow": pl.from_pandas(TABLE).to_arrow(),
        "dicts": pl.from_pandas(TABLE).to_dicts(),
    }[library]
    same_rows(CODEC.transform(frame), CODEC.transform(TABLE))


def test_rows_are_encoded_one_by_one_as_all_together():
    rows = CODEC.transform(TABLE)
    for i in (0, 7, N - 1):
        same_rows(CODEC.transform(TABLE.iloc[[i]]), rows.take(slice(i, i + 1)))
    assert len(CODEC.transform(TABLE.iloc[:0])) == 0


def test_text_of_numbers_and_truth_values_means_the_same():
    as_text = TABLE.copy()
    for name in ("age", "income", "balance", "visits", "flag", "member", "when"):
        as_text[name] = as_text[name].astype(str)
    as_text["flag"] += ".0"
    same_rows(CODEC.transform(as_text), CODEC.transform(TABLE))
    swapped = TABLE.assign(member=TABLE["member"].astype(int), flag=TABLE["flag"] == 1)
    same_rows(CODEC.transform(swapped), CODEC.transform(TABLE))


def test_arrays_take_columns_by_position():
    data = RNG.normal(size=(50, 3))
    named = TableCodec().fit(pd.DataFrame(data, columns=list("abc")))
    with pytest.warns(DataWarning, match="taken by position"):
        by_position = named.transform(data)
    same_rows(by_position, named.transform(pd.DataFrame(data, columns=list("abc"))))
    unnamed = TableCodec().fit(data)
    same_rows(unnamed.transform(pd.DataFrame(data, columns=list("cab"))), by_position)
    with pytest.raises(SchemaError, match="X has 2 features, but VAEDetector is expecting 3"):
        unnamed.transform(data[:, :2])


# -- what is wrong with it ------------------------------------------------------------------


def test_schema_error_lists_missing_extra_and_retyped_with_the_nearest_name():
    wrong = TABLE.rename(columns={"income": "incomes"}).drop(columns="plan")
    wrong["balance"] = "odd"
    with pytest.raises(SchemaError) as caught:
        CODEC.transform(wrong)
    lines = str(caught.value).splitlines()
    assert lines[1] == "  missing:  income (nearest: incomes), plan"
    assert lines[2] == "  extra:    incomes"
    assert lines[3] == "  re-typed: balance (Float64 at fit, String now)"
    assert "Rename" in lines[4]


def test_missing_columns_without_further_ones():
    with pytest.raises(SchemaError, match="missing:  age\n") as caught:
        CODEC.transform(TABLE.drop(columns="age"))
    assert "extra" not in str(caught.value)
    assert "re-typed" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("balance", "odd"),
        ("balance", pd.Timestamp("2024-01-01")),
        ("when", 5.0),
        ("when", "soon"),
        ("plan", 3.5),
        ("flag", "x"),
    ],
)
def test_columns_of_another_type_are_named(column, values):
    changed = TABLE.assign(**{column: values}, tier=None)
    with pytest.raises(SchemaError, match=f"re-typed: {column} "):
        CODEC.transform(changed)


def test_a_value_never_seen_is_no_change_of_type():
    """Even in a batch of one row, where it is all there is of a column."""
    strange = TABLE.iloc[[0]].assign(flag=7, plan="gold", member=None, country="SK")
    rows = CODEC.transform(strange)
    unseen = dict(zip(CODEC.names, rows.unseen[0], strict=True))
    assert [name for name, hit in unseen.items() if hit] == ["flag", "plan", "country"]
    assert rows.missing[0, CODEC.names.index("member")]
    for name in ("flag", "plan", "country"):
        assert rows.offsets[0, CODEC.names.index(name)] == pytest.approx(-np.log(N + 1))


def test_unreadable_numbers_are_scored_as_never_seen():
    words = TABLE["balance"].astype(object)
    words[3], words[5] = "odd", None
    rows = CODEC.transform(TABLE.assign(balance=words))
    i = CODEC.names.index("balance")
    assert np.flatnonzero(rows.unseen[:, i]).tolist() == [3]
    assert np.flatnonzero(rows.missing[:, i]).tolist() == [5]
    assert rows.offsets[3, i] == pytest.approx(-np.log(N + 1))
    assert rows.offsets[5, i] == 0.0
    entries, parts = CODEC.column_entries(i)
    assert not rows.observed[np.ix_([3, 5], parts)].any()
    assert (rows.values[np.ix_([3, 5], entries)] == 0.0).all()
    assert rows.observed[:, parts].sum() == N - 2


def test_unreadable_cells_leave_the_offsets_of_others():
    codec = TableCodec({"age": Cyclic(24.0)}).fit(TABLE[["age", "balance"]])
    words = TABLE["age"].astype(str)
    words[0], words[1] = "inf", "odd"
    rows = codec.transform(TABLE[["balance"]].assign(age=words))
    np.testing.assert_allclose(rows.offsets[:3, 0], [-np.log(N + 1), -np.log(N + 1), 0.0])
    assert rows.unseen[:3, 0].tolist() == [True, True, False]


def test_a_column_all_missing_is_masked():
    rows = CODEC.transform(TABLE.assign(balance=np.nan, plan=None, when=pd.NaT))
    for name in ("balance", "plan", "when"):
        i = CODEC.names.index(name)
        assert rows.missing[:, i].all()
        assert not rows.unseen[:, i].any()
        assert (rows.offsets[:, i] == 0.0).all()
        assert not rows.observed[:, CODEC.column_entries(i)[1]].any()


def test_far_values_get_further_and_are_flagged():
    far = [10.0**k for k in range(3, 12)]
    rows = CODEC.transform(pd.concat([TABLE.iloc[[0]]] * len(far)).assign(balance=far))
    i = CODEC.names.index("balance")
    sizes = rows.values[:, CODEC.column_entries(i)[0][0]]
    assert (np.diff(sizes[:6]) > 0.0).all()
    assert (np.diff(sizes) >= 0.0).all()
    assert rows.out_of_range[:, i].all()
    assert rows.out_of_range.sum() == len(far)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (TABLE.iloc[:0], DataError, "0 sample"),
        (TABLE.iloc[:1], DataError, "minimum of 2 is required. Pass more rows"),
        (TABLE[["customer"]], DataError, "nothing is left to model. Say what"),
    ],
)
def test_tables_that_cannot_be_fitted(data, error, message):
    with pytest.raises(error, match=message):
        TableCodec().fit(data)


# -- overrides ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Positive(), Positive, "positive"])
def test_kinds_by_object_class_or_name(kind):
    codec = TableCodec({"age": kind}).fit(TABLE)
    assert type(codec.columns[1].kind) is Positive
    assert type(codec.columns[3].kind) is Real


def test_kinds_keep_their_arguments():
    codec = TableCodec({"age": Cyclic(period=7.0), "plan": Categorical(2)}).fit(TABLE)
    kinds = {column.name: column.kind for column in codec.columns}
    assert kinds["age"].period == 7.0
    assert kinds["plan"].width == 2
    assert_layout(codec)
    rare = codec.transform(TABLE).offsets[:, codec.names.index("plan")]
    assert (rare < 0.0).any()


def test_numbers_name_columns_by_position_in_arrays_and_by_name_in_frames():
    data = RNG.random((30, 2))
    for key in (1, np.int64(1), "x1"):
        assert isinstance(TableCodec({key: "positive"}).fit(data).columns[1].kind, Positive)
    frame = pd.DataFrame(data, columns=[10, 11])
    for key in (11, "11"):
        assert isinstance(TableCodec({key: "positive"}).fit(frame).columns[1].kind, Positive)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"kinds": {"agee": "count"}},
            SchemaError,
            r"columns names .*agee \(did you mean age\?\)",
        ),
        ({"kinds": {"zzzzzz": "count"}}, SchemaError, "does not have: zzzzzz[.]"),
        ({"kinds": {"age": "number"}}, DataError, "'number' is not a column kind. Use one of"),
        ({"kinds": {"age": int}}, DataError, "is not a column kind"),
        ({"kinds": {"age": None}}, DataError, "is not a column kind"),
        ({"kinds": [("age", "count")]}, DataError, "must map names to kinds"),
        ({"kinds": {"plan": "real"}}, DataError, "'plan' cannot be read as number: '(free|p)"),
        ({"kinds": {"age": "datetime"}}, DataError, "'age' cannot be read as time"),
        ({"kinds": {"plan": "binary"}}, DataError, "'plan': A Binary column has two values"),
        ({"kinds": {"plan": "constant"}}, DataError, "'plan': A Constant column has one value"),
        ({"kinds": {"balance": Count("poisson")}}, DataError, "'balance': .*whole numbers"),
        ({"kinds": {"age": Real("poisson")}}, DataError, "'poisson' is not a likelihood"),
        ({"kinds": {"age": Real("nonsense")}}, DataError, "'nonsense' is not a likelihood"),
        ({"likelihood": "nonsense"}, DataError, "'nonsense' is not a likelihood"),
        ({"likelihood": {"age": "nonsense"}}, DataError, "'nonsense' is not a likelihood"),
        ({"likelihood": {"agee": "normal"}}, SchemaError, r"likelihood .*did you mean age\?"),
        ({"likelihood": {"balance": "poisson"}}, DataError, "'balance': 'poisson' is not"),
        ({"likelihood": {"plan": "normal"}}, DataError, "'plan': .*one likelihood only"),
    ],
)
def test_overrides_refused(options, error, message):
    with pytest.raises(error, match=message):
        TableCodec(**options).fit(TABLE)


def test_override_on_a_column_without_values():
    data = TABLE[["age"]].assign(empty=np.nan)
    assert isinstance(TableCodec().fit(data).columns[1].kind, Constant)
    with pytest.raises(DataError, match="'empty' has no value at all"):
        TableCodec({"empty": "real"}).fit(data)
    with pytest.raises(DataError, match="'empty': .*no finite value"):
        TableCodec({"empty": "real"}).fit(data.assign(empty=np.inf))


def likelihoods(codec):
    return {c.name: getattr(c.kind, "likelihood", None) for c in codec.columns}


def test_likelihood_for_all_goes_where_it_can():
    found = likelihoods(TableCodec(likelihood="student_t").fit(TABLE))
    assert found["age"] == found["balance"] == found["income"] == "student_t"
    assert found["plan"] is None
    found = likelihoods(TableCodec(likelihood="poisson").fit(TABLE))
    assert found["age"] == found["visits"] == "poisson"
    assert found["balance"] == "normal"
    assert likelihoods(TableCodec(likelihood="auto").fit(TABLE)) == likelihoods(CODEC)
    codec = TableCodec({"age": Count("poisson")}, likelihood="student_t").fit(TABLE)
    assert likelihoods(codec)["age"] == "poisson", "what is said of one column wins"
    assert_layout(codec)


def test_likelihood_by_name():
    codec = TableCodec(likelihood={"age": "negative_binomial", "balance": "auto"}).fit(TABLE)
    assert likelihoods(codec)["age"] == "negative_binomial"
    assert likelihoods(codec)["balance"] == "normal"
    assert likelihoods(TableCodec(likelihood={}).fit(TABLE)) == likelihoods(CODEC)
    by_position = TableCodec(likelihood={0: "student_t"}).fit(RNG.random((9, 2)))
    assert likelihoods(by_position) == {"x0": "student_t", "x1": "normal"}


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_as_kind_knows_every_name(name):
    assert as_kind(name) == as_kind(COLUMNS[name]) == as_kind(COLUMNS[name]())


# -- and back -------------------------------------------------------------------------------


def returned(codec, data):
    frame = codec.read(data)
    return codec.inverse_transform(codec.transform(data).values, frame).to_native()


def test_the_training_table_comes_back():
    assert_frame_equal(returned(CODEC, TABLE), TABLE, rtol=1e-9)


def test_a_polars_table_comes_back():
    data = pl.from_pandas(TABLE).with_columns(
        pl.col("when").dt.date().alias("day"),
        pl.col("when").dt.replace_time_zone("Europe/Prague", ambiguous="earliest").alias("zone"),
        pl.col("age").cast(pl.UInt8).alias("small"),
        pl.duration(seconds=pl.col("visits")).alias("span"),
        pl.lit(dt.datetime(2024, 1, 1)).alias("start"),
        pl.lit(dt.date(2024, 1, 1)).alias("start day"),
        pl.lit(True).alias("yes"),  # noqa: FBT003
    )
    codec = TableCodec().fit(data)
    assert_polars_equal(returned(codec, data), data, rel_tol=1e-9, categorical_as_str=True)


def test_moments_told_apart_by_name_come_back_as_moments():
    data = TABLE[["when", "age"]].assign(when=TABLE["when"].dt.floor("30D"))
    codec = TableCodec({"when": "categorical"}).fit(data)
    assert_frame_equal(returned(codec, data), data)


def test_an_array_comes_back():
    data = np.column_stack([RNG.normal(size=40), RNG.integers(0, 9, 40), RNG.integers(0, 2, 40)])
    codec = TableCodec().fit(data)
    np.testing.assert_allclose(returned(codec, data), data, atol=1e-9)
    mixed = data.astype(object)
    mixed[:, 2] = np.where(data[:, 2] > 0, "yes", "no")
    found = returned(TableCodec().fit(mixed), mixed)
    np.testing.assert_allclose(found[:, :2].astype(float), data[:, :2], atol=1e-9)
    assert found[:, 2].tolist() == mixed[:, 2].tolist()


def test_identifiers_are_carried_or_missing():
    rows = CODEC.transform(TABLE)
    carried = CODEC.inverse_transform(rows.values, CODEC.read(TABLE)).columns
    assert carried["customer"].values.tolist() == TABLE["customer"].tolist()
    alone = CODEC.inverse_transform(rows.values).columns
    assert alone["customer"].values.tolist() == [None] * N
    assert list(alone) == list(TABLE.columns)
    numbered = TABLE.assign(row=np.arange(N))
    codec = TableCodec().fit(numbered)
    frame = codec.inverse_transform(codec.transform(numbered).values).to_native()
    assert frame["row"].isna().all()


def test_displayed_values_are_what_the_user_wrote():
    strange = TABLE.assign(balance=TABLE["balance"].astype(object))
    strange.loc[1, "balance"] = "odd"
    strange.loc[2, "balance"] = None
    frame = CODEC.read(strange)
    columns = {c.name: c for c in CODEC.columns}
    index = np.array([2, 1, 0])
    shown = columns["balance"].displayed(frame.columns["balance"], index)
    assert shown.tolist() == [None, "odd", TABLE["balance"][0]]
    when = columns["when"].displayed(frame.columns["when"], index)
    assert when[2] == TABLE["when"][0].isoformat()
    assert columns["flag"].displayed(frame.columns["flag"], index).tolist() == [
        str(v) for v in TABLE["flag"][[2, 1, 0]]
    ]


def test_json_round_trip():
    stored = json.loads(json.dumps(CODEC.to_json(), allow_nan=False))
    again = TableCodec.from_json(stored)
    assert again.columns == CODEC.columns
    assert again.parts == CODEC.parts
    probe = TABLE.assign(
        plan=["gold", None, "free", "free"] * (N // 4), balance=[1e9, 0.0] * (N // 2)
    )
    same_rows(again.transform(probe), CODEC.transform(probe))


# -- any table ------------------------------------------------------------------------------

CELLS = {
    "real": st.floats(-1e3, 1e3),
    "float": st.floats(),
    "int": st.integers(-(2**62), 2**62),
    "small": st.integers(0, 3),
    "truth": st.booleans(),
    "text": st.text(max_size=5),
    "names": st.sampled_from(["a", "b", "", " ", "1", "true", "nan", "2024-01-01"]),
    "time": st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)),
    "mixed": st.one_of(st.integers(), st.floats(), st.text(max_size=2), st.booleans()),
    "one": st.just(7),
}


@st.composite
def tables(draw):
    n = draw(st.integers(2, 40))
    names = draw(st.lists(st.text(max_size=4), min_size=1, max_size=5, unique=True))
    columns = {}
    for name in names:
        cells = CELLS[draw(st.sampled_from(sorted(CELLS)))]
        if draw(st.booleans()):
            cells = st.one_of(st.none(), cells)
        some = draw(st.lists(cells, min_size=1, max_size=n))
        columns[name] = [some[i % len(some)] for i in range(n)]
    chosen = draw(
        st.dictionaries(st.sampled_from(names), st.sampled_from(sorted(COLUMNS)), max_size=2)
    )
    return pd.DataFrame(columns), chosen


@FUZZ
@given(tables(), tables())
def test_any_table_fits_and_transforms(table, other):
    data, kinds = table
    try:
        codec = TableCodec(kinds).fit(data)
    except ImprobableError:
        if not kinds:
            assert all_identifiers(data)
        return
    assert_layout(codec)
    rows = codec.transform(data)
    assert np.isfinite(rows.values).all()
    assert np.isfinite(rows.offsets).all()
    assert not rows.unseen[:, [not is_circle(c) for c in codec.modeled]].any()
    back = returned(codec, data)
    assert list(back.columns) == list(data.columns)
    assert len(back) == len(data)
    again = TableCodec.from_json(json.loads(json.dumps(codec.to_json(), allow_nan=False)))
    same_rows(again.transform(data), rows)
    half = len(data) // 2
    later, (strangers, _) = data.iloc[half:], other
    same_rows(codec.transform(read_part(codec, data, half)), rows.take(slice(half, None)))
    for probe in (later, strangers, strangers.to_numpy()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            try:
                found = codec.transform(probe)
            except ImprobableError:
                continue
        assert np.isfinite(found.values).all()
        assert np.isfinite(found.offsets).all()


def is_circle(column):
    return isinstance(column.kind, Cyclic)


def all_identifiers(data):
    kinds = [infer_kind(c, named=True) for c in read_frame(data).columns.values()]
    return {type(kind).__name__ for kind in kinds} == {"Identifier"}


def read_part(codec, data, start):
    """The later rows as they were read with all others: in the same types."""
    return codec.read(data).take(np.arange(start, len(data)))


def test_numbers_as_text_that_a_word_spoils_are_said_to_be_set_aside():
    cells = [f"{i / 8}" for i in range(100)]
    table = pa.table({"a": np.arange(100.0) ** 1.5, "b": [*cells[:-1], "n.a."]})
    with pytest.warns(DataWarning, match="'b' is set aside as an identifier.*'n.a.' is none"):
        TableCodec().fit(table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TableCodec({"b": "identifier"}).fit(table)
        TableCodec().fit(table.set_column(1, "b", [[f"user {i}" for i in range(100)]]))
        codec = TableCodec().fit(table.set_column(1, "b", [[*cells[:-1], "?"]]))
    assert [type(column.kind).__name__ for column in codec.columns] == ["Real", "Real"]
    assert codec.inverse_transform(codec.transform(table).values).to_native()["b"].type == "string"


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (lambda i: f"{1_000 + i * 37:,}.50", "numbers"),
        (lambda i: f"{i},{i % 10}0", "numbers"),
        (lambda i: f"CHF {i}.25", "numbers"),
        (lambda i: f"{i}.5 %", "numbers"),
        (lambda i: f"-€{i}", "numbers"),
        (lambda i: f"{i % 28 + 1}.{i % 12 + 1}.24", "dates"),
        (lambda i: f"{i % 12 + 1}/{i % 28 + 1}/24 10:{i % 60:02d}", "dates"),
        (lambda i: f"{i % 28 + 1} Mar {i % 30:02d}", "dates"),
        (lambda i: f"{i % 12 + 1}/{i // 9 + 1}/2024", "dates"),  # the day may be either
    ],
)
def test_numbers_and_dates_written_in_another_way_are_said_to_be_names(write, what):
    cells = [write(i) for i in range(1, 101)]
    table = pa.table({"a": np.arange(100.0) ** 1.5, "b": cells})
    with pytest.warns(DataWarning, match=f"'b' is taken for names, .* look like {what}"):
        TableCodec().fit(table)


@pytest.mark.parametrize(
    "write",
    [
        lambda i: f"192.168.{i}.{i * 7 % 256}",
        lambda i: f"A-{i}",
        lambda i: f"1.{i}.3",
        lambda i: f"555-01{i:02d}",
        lambda i: f"user{i}@host",
        lambda i: f"{i:05d}",
        lambda i: f"SKU{i:04d}",
        lambda i: f"REQ-{i}",
        lambda i: f"ABC {i}",
        lambda i: f"#{i}",
        lambda i: f"192.168.{100 + i}.{200 + i % 50}",
        lambda i: f"Room {i:03d}",
        lambda i: f"Mark {1900 + i}",
    ],
)
def test_names_with_digits_are_names(write):
    cells = [write(i) for i in range(1, 101)]
    codec = TableCodec().fit(pa.table({"a": np.arange(100.0) ** 1.5, "b": cells}))
    assert {type(column.kind).__name__ for column in codec.columns} <= {"Real", "Identifier"}


def test_row_numbers_are_set_aside_whichever_rows_are_kept_out():
    numbers = np.random.default_rng(0).permutation(np.arange(500, 1500))[:600]
    table = pa.table({"a": np.random.default_rng(1).normal(size=600), "row": numbers})
    assert TableCodec().fit(table).names == ("a",)


@pytest.mark.parametrize(("then", "now"), [("Asia/Tokyo", None), (None, "Asia/Tokyo")])
def test_times_without_the_zone_of_before_are_said_to_be_taken_for_utc(then, now):
    when = pd.date_range("2024-01-01", periods=60, freq="h")
    table = pd.DataFrame({"when": when.tz_localize(then), "a": np.arange(60) ** 1.5})
    codec = TableCodec().fit(table)
    with pytest.warns(DataWarning, match="'when' has .* are taken for UTC"):
        codec.transform(table.assign(when=when.tz_localize(now)))


def test_no_zone_is_utc():
    when = pd.date_range("2024-01-01", periods=60, freq="h")
    table = pd.DataFrame({"when": when, "a": np.arange(60) ** 1.5})
    TableCodec().fit(table).transform(table.assign(when=when.tz_localize("UTC")))


def test_times_of_two_zones_are_the_same_moments():
    when = pd.date_range("2024-01-01", periods=60, freq="h", tz="Asia/Tokyo")
    table = pd.DataFrame({"when": when, "a": np.arange(60) ** 1.5})
    codec = TableCodec().fit(table)
    moved = codec.transform(table.assign(when=when.tz_convert("UTC")))
    np.testing.assert_array_equal(moved.values, codec.transform(table).values)


def pandas_table(frame):
    """Arrow table as pandas writes one, its index among the columns."""
    return pa.Table.from_pandas(frame, preserve_index=True)


@pytest.mark.parametrize("name", [None, "row"])
def test_the_index_of_pandas_is_set_aside_and_not_asked_for(name):
    frame = TABLE[["age", "balance"]].sample(frac=1.0, random_state=0).rename_axis(name)
    codec = TableCodec().fit(pandas_table(frame))
    assert codec.names == ("age", "balance")
    assert codec.columns[-1].name == name or name is None
    assert_array(codec.transform(pandas_table(frame)), codec.transform(frame))
    carried = codec.inverse_transform(
        codec.transform(frame).values, codec.read(pandas_table(frame))
    )
    assert carried.to_native()[codec.columns[-1].name].to_pylist() == frame.index.tolist()
    named = TableCodec({codec.columns[-1].name: "count"}).fit(pandas_table(frame))
    assert len(named.names) == 3


def assert_array(found, expected):
    np.testing.assert_array_equal(found.values, expected.values)


def test_a_range_for_an_index_and_odd_metadata_are_no_columns():
    frame = pa.Table.from_pandas(TABLE[["age", "balance"]], preserve_index=False)
    odd = [b"[", b"[]", b'{"index_columns": null}', b'{"index_columns": 3}']
    for metadata in (frame.schema.metadata, *({b"pandas": words} for words in odd)):
        assert TableCodec().fit(frame.replace_schema_metadata(metadata)).names == (
            "age",
            "balance",
        )


def test_identifiers_are_not_asked_for():
    rows = CODEC.transform(TABLE)
    without = TABLE.drop(columns="customer")
    assert_array(CODEC.transform(without), rows)
    frame = CODEC.read(without)
    assert not CODEC.is_reordered(frame)
    assert list(CODEC.inverse_transform(rows.values, frame).columns) == list(without.columns)
    assert list(CODEC.fill(rows.values, frame).columns) == list(without.columns)
    with pytest.raises(SchemaError, match="missing:  age$|missing:  age\n"):
        CODEC.read(without.drop(columns="age"))


@pytest.mark.parametrize("convert", [lambda t: t, pl.from_pandas, pa.Table.from_pandas])
def test_columns_that_are_not_modeled_are_not_read(convert):
    data = TABLE[["age", "balance"]]
    codec = TableCodec().fit(convert(data))
    odd = convert(data.assign(p=[[1]] * len(data), s=[{"a": 1}] * len(data)))
    assert_array(codec.transform(odd), codec.transform(data))
    with pytest.raises(SchemaError, match=r"age \(nearest: Age\)"):
        codec.read(convert(data.rename(columns={"age": "Age"}).assign(p=[[1]] * len(data))))


def test_other_columns_may_share_a_name():
    data = TABLE[["age", "balance"]]
    codec = TableCodec().fit(data)
    odd = pd.concat([data, data.rename(columns={"age": "x", "balance": "x"})], axis=1)
    arrow = pa.Table.from_arrays(
        [pa.array(data[n]) for n in data] * 2, ["age", "balance", "x", "x"]
    )
    for table in (odd, arrow):
        assert_array(codec.transform(table), codec.transform(data))
    records = [{**row, "x": [1, {}]} for row in data.to_dict("records")]
    assert_array(codec.transform(records), codec.transform(data))
    with pytest.raises(DataError, match="age"):
        codec.read(pd.concat([data, data[["age"]]], axis=1))


def test_lists_are_called_by_their_type():
    empty = pa.table({"a": [1.0], "p": pa.array([None], pa.list_(pa.int64()))})
    for table, name in ((empty, "List"), (pl.DataFrame({"p": [None, [1]]}), "list")):
        with pytest.raises(DataError, match=f"'p' holds cells of type {name}"):
            read_frame(table)


def test_long_integers_are_read_as_the_column_was_at_fit():
    small, long = np.arange(200) % 50, 2**60 + np.arange(200) % 20
    data = pd.DataFrame({"n": small, "id": long, "x": np.random.default_rng(0).normal(size=200)})
    data.loc[7, "n"] = 2**63 - 1
    codec = TableCodec({"id": "categorical"}).fit(data)
    assert [c.storage for c in codec.columns] == ["number", "text", "number"]
    whole = codec.transform(data)
    for index in (slice(0, 5), slice(7, 8), slice(6, 9)):
        assert_array(codec.transform(data[index]), whole.take(np.arange(200)[index]))
    odd = pd.DataFrame({"n": [1, 2, 3], "id": [2**60, 5, 2**60 + 1], "x": 0.0})
    assert codec.transform(odd).unseen[:, 1].tolist() == [False, True, False]
    assert codec.transform(odd[1:2]).unseen[:, 1].tolist() == [True]


def test_imputing_keeps_long_integers():
    cells = [*range(50), None, 2**63 - 1]
    data = pl.DataFrame({"n": cells, "x": np.arange(52) % 7 * 1.5})
    codec = TableCodec().fit(data)
    filled = codec.fill(codec.transform(data).values, codec.read(data)).to_native()
    assert filled["n"].to_list()[51] == 2**63 - 1
    assert filled["n"].null_count() == 0


def test_one_cell_alone_is_odd_and_no_other_type():
    data = TABLE[["age", "balance"]]
    codec = TableCodec().fit(data)
    odd = data[:3].astype(object)
    odd.loc[0, "age"] = "old"
    rows = codec.transform(odd[:1])
    assert rows.unseen.tolist() == [[True, False]]
    assert "never seen" in codec.remarks(rows, codec.read(odd[:1]))[0]
    assert_array(rows, codec.transform(odd).take(np.arange(1)))
    odd["age"] = ["old", None, None]
    assert codec.transform(odd).unseen[0, 0]
    odd["age"] = ["old", None, "older"]
    with pytest.raises(SchemaError, match="re-typed"):
        codec.transform(odd)


TIMES = [dt.time(9, 5), dt.time(17, 30, 20), dt.time(23, 59, 59, 250_001)] * 4
WRITTEN = ["9:05", "17:30:20", "23:59:59.250001"] * 4


@pytest.mark.parametrize("kind", [None, "cyclic", Cyclic(period=3600.0), "categorical", "real"])
@pytest.mark.parametrize("seen", [1, 2, 3])
def test_times_of_day_as_text_are_times_of_day(kind, seen):
    kinds = None if kind is None or seen == 1 else {"at": kind}
    x = np.arange(12) % 5
    told = [pd.DataFrame({"at": cells, "x": x})[:seen] for cells in (TIMES, WRITTEN)]
    told = [pd.concat([rows] * 8, ignore_index=True) for rows in told]
    told.append(told[1].astype({"at": "category"}))
    codecs = [TableCodec(kinds).fit(rows) for rows in told]
    kinds_found = [codec.columns[0].kind for codec in codecs]
    assert kinds_found[0] == kinds_found[1] == kinds_found[2]
    if kind in (None, "cyclic") and seen > 1:
        assert kinds_found[0].period == 86_400.0
    for codec in codecs:
        for rows in told:
            assert_array(codec.transform(rows), codecs[0].transform(told[0]))


@pytest.mark.parametrize("odd", ["24:00", "9:5", "9:60", "9", "-1:00", "9:05 pm", "9:05:60"])
def test_one_text_that_is_no_time_of_day_makes_names(odd):
    assert isinstance(TableCodec().fit(pd.DataFrame({"at": WRITTEN})).columns[0].kind, Cyclic)
    found = TableCodec().fit(pd.DataFrame({"at": [*WRITTEN, odd]})).columns[0]
    assert (found.kind.storage, found.dtype) == ("text", "String")


def test_times_of_day_that_are_imputed_stand_among_those_that_came():
    codec = TableCodec().fit(pd.DataFrame({"at": WRITTEN, "x": np.arange(12) % 5}))
    new = pd.DataFrame({"at": ["8:00", None, "noon"], "x": [1, 2, 3]})
    found = codec.fill(codec.transform(new).values, codec.read(new)).to_native()["at"].tolist()
    assert found[0] == "8:00"
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d(\.\d{6})?", cell) for cell in found[1:])


def test_remarks_name_the_value_never_seen():
    table = pd.DataFrame({"city": ["oslo", "rome"] * 20, "size": np.arange(40.0), "one": "same"})
    codec = TableCodec().fit(table)
    odd = pd.DataFrame({"city": ["a; {b}\n", "x" * 99, None], "size": 1.5, "one": ["?"] * 3})
    found = codec.remarks(codec.transform(odd), codec.read(odd))
    ends = "one = '?' was never seen in training"
    assert found[0] == f"city = 'a; {{b}}\\n' was never seen in training; {ends}"
    assert found[1] == f"city = '{'x' * 39}…' was never seen in training; {ends}"
    assert found[2] == ends


def told_of(codec, data):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        codec.transform(data)
    return [str(warning.message) for warning in caught if warning.category is DataWarning]


def test_a_whole_column_in_another_spelling_is_told():
    names = pd.DataFrame({"plan": ["free"] * 60 + ["plus"] * 30 + ["pro"] * 10, "one": "same"})
    codec = TableCodec().fit(names)
    upper = names.assign(plan=names["plan"].str.upper(), one="Same")
    plan, one = told_of(codec, upper)
    assert plan.startswith("Column 'plan' holds no value that was seen in training (such as ")
    assert "'free', 'plus', 'pro'" in plan
    assert one.startswith("Column 'one' holds no value that was seen in training. If ")
    assert told_of(codec, upper.iloc[:9]) == []  # so few may be odd by chance
    mixed = upper.assign(one="same").iloc[:60]
    assert told_of(codec, mixed.assign(plan=["free", *mixed["plan"][1:]])) == []
    assert told_of(
        codec, mixed.assign(plan=[None] * 50 + ["PRO"] * 10)
    )  # judged where it is there


def test_new_names_are_expected_where_most_were_seen_once():
    names = [f"host {i}" for i in range(45)] + ["host a"] * 30 + ["host b"] * 25
    table = pd.DataFrame({"host": names, "size": np.arange(100.0) % 7})
    codec = TableCodec({"host": Categorical()}).fit(table)
    new = table.assign(host=[f"new {i}" for i in range(100)])
    assert told_of(codec, new.iloc[:8]) == []  # .45 to the power of n: 1e-3 at 8.7 names
    assert len(told_of(codec, new.iloc[:10])) == 1
    often = TableCodec({"host": Categorical()}).fit(table.iloc[:50])  # nine names in ten once
    assert told_of(often, new.iloc[:30]) == []
    assert len(told_of(often, new)) == 1


def test_a_column_that_was_empty_at_fit_has_no_spelling():
    codec = TableCodec().fit(pd.DataFrame({"a": np.arange(30.0), "b": [None] * 30}))
    assert told_of(codec, pd.DataFrame({"a": np.arange(30.0), "b": ["x"] * 30})) == []
