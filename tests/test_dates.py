"""Dates as people and servers write them are moments, in the order that their column tells."""

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import SMALL
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from improbable import VAEDetector, WindowCodec, load, save
from improbable.cli import app
from improbable.data.dates import in_order, iso_text, ordered_type
from improbable.data.frames import read_frame
from improbable.data.inference import infer_kind
from improbable.data.raw import with_order
from improbable.data.texts import parse_time

MOMENT = dt.datetime(2024, 12, 3, 23, 59, 1, tzinfo=dt.UTC)
MONTH_FIRST, DAY_FIRST = "TextDate(m/d)", "TextDate(d-m)"


@pytest.mark.parametrize(
    "form",
    [
        "%d.%m.%Y %H:%M:%S",
        "%-d.%-m.%Y %H:%M:%S",
        "%Y/%m/%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%SZ",
        "%d %B %Y %H:%M:%S",
        "%-d. %b %Y %H:%M:%S",
        "%d-%b-%Y %H:%M:%S",
        "%B %-d, %Y at %I:%M:%S %p",
        "%b. %-d %Y, %-I:%M:%S%p",
        "%d/%b/%Y:%H:%M:%S +0000",  # of web servers
        "%a, %d %b %Y %H:%M:%S GMT",  # of mails
        "%a %b %e %H:%M:%S %Y",  # of C
        "%A, %B %d, %Y, %H:%M:%S utc",
    ],
)
def test_orders_that_nobody_reads_in_two_ways(form):
    word = MOMENT.strftime(form)
    assert parse_time(word) == MOMENT.timestamp()
    assert parse_time(f" {word.upper()} ") == MOMENT.timestamp()


@pytest.mark.parametrize(
    ("word", "dtype", "moment"),
    [
        ("12/3/2024 11:59:01 PM", MONTH_FIRST, MOMENT),
        ("03-12-2024 23:59:01", DAY_FIRST, MOMENT),
        ("03/12/2024T23:59:01", DAY_FIRST, MOMENT),
        ("12/3/2024", MONTH_FIRST, dt.datetime(2024, 12, 3)),
        ("12/3/2024 12:05 am", MONTH_FIRST, dt.datetime(2024, 12, 3, 0, 5)),
        ("12/3/2024 12:05 p.m.", MONTH_FIRST, dt.datetime(2024, 12, 3, 12, 5)),
        ("12/3/2024 1:05 AM", MONTH_FIRST, dt.datetime(2024, 12, 3, 1, 5)),
        ("12/3/2024 9 PM", MONTH_FIRST, dt.datetime(2024, 12, 3, 21)),
        ("12/3/2024 21:05 +02:00", MONTH_FIRST, dt.datetime(2024, 12, 3, 19, 5)),
        ("2024-12-03", MONTH_FIRST, dt.datetime(2024, 12, 3)),
        ("3 Dec 2024", DAY_FIRST, dt.datetime(2024, 12, 3)),
    ],
)
def test_dates_of_an_order_that_the_column_tells(word, dtype, moment):
    assert parse_time(word, dtype) == moment.replace(tzinfo=dt.UTC).timestamp()


@pytest.mark.parametrize(
    ("word", "dtype"),
    [
        ("12/3/2024", ""),  # of no known order
        ("13/3/2024", MONTH_FIRST),
        ("30/2/2024", DAY_FIRST),
        ("12/3/2024 13:05 am", MONTH_FIRST),
        ("12/3/2024 0:05 am", MONTH_FIRST),
        ("12/3/24", MONTH_FIRST),
        ("12/3-2024", MONTH_FIRST),
        ("marble 14 2025", ""),
        ("1 Marzo 2024", ""),
        ("3 Dec", ""),
        ("1.2.3.2024", ""),
        ("", "soon"),
    ],
)
def test_what_is_no_date(word, dtype):
    found = parse_time(word, dtype)
    assert found is None if word else np.isnan(found)


def test_words_for_nothing_are_no_moments():
    assert all(np.isnan(parse_time(word)) for word in (None, " ", "NA", "NaN", "null"))


@pytest.mark.parametrize(
    ("words", "dtype"),
    [
        (["1/2/2024", "1/13/2024"], MONTH_FIRST),
        (["1/2/2024", "13/1/2024"], "TextDate(d/m)"),
        (["1-2-2024", "13-1-2024"], DAY_FIRST),
        (["1-2-2024", "1/13/2024 8:00"], MONTH_FIRST),
        (["1/2/2024", "2/1/2024"], ""),  # anyone's guess
        (["1/13/2024", "13/1/2024"], ""),  # neither
        (["1/13/2024", "soon"], ""),
        (["1/13/2024", "2024-01-14"], ""),
        (["1/13/2024"], ""),  # one value is a constant
        ([], ""),
    ],
)
def test_a_number_that_is_no_month_tells_the_order(words, dtype):
    assert ordered_type(words) == dtype
    column = read_frame(pd.DataFrame({"at": [*words, None, "", "NA"]})).columns["at"]
    assert with_order(column).dtype == (dtype or "String")


MOMENTS = st.datetimes(dt.datetime(1001, 1, 1), dt.datetime(9999, 1, 1))


@given(st.lists(MOMENTS, min_size=2, max_size=20), st.sampled_from(["m/d", "d/m", "m-d", "d-m"]))
def test_moments_come_back_in_their_order(moments, order):
    """What is written of a type is read as the same moments, and tells the type again."""
    dtype = f"TextDate({order})"
    iso = np.array([*(moment.isoformat() for moment in moments), None], dtype=object)
    words = in_order(iso, dtype)
    assert words[-1] is None
    seconds = [parse_time(word, dtype) for word in words[:-1]]
    np.testing.assert_allclose(seconds, [parse_time(word) for word in iso[:-1]], atol=1e-6)
    if len(set(words)) > 2 and any(moment.day > 12 for moment in moments):
        assert ordered_type(set(words[:-1])) == dtype


def events(n=600, form="%-m/%-d/%Y %-I:%M %p"):
    """Moments to the minute, and a load that follows the hour of the day."""
    rng = np.random.default_rng(0)
    at = pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.integers(0, 180 * 1_440, n), unit="min")
    load = 50.0 + 20.0 * np.sin(at.hour / 24.0 * 2.0 * np.pi) + rng.normal(0.0, 3.0, n)
    rows = pd.DataFrame({"at": at, "load": load, "host": rng.choice(["a", "b", "c"], n)})
    return rows, rows.assign(at=at.strftime(form))


@pytest.fixture(scope="module")
def detector():
    return VAEDetector(**SMALL).fit(events()[1])


def test_a_table_of_such_dates_is_one_of_moments(detector):
    stamps, written = events()
    assert detector.kinds_ == {"at": "datetime", "load": "real", "host": "categorical"}
    expected = VAEDetector(**SMALL).fit(stamps).score_samples(stamps)
    np.testing.assert_allclose(detector.score_samples(written), expected, atol=1e-9)
    np.testing.assert_allclose(detector.score_samples(stamps), expected, atol=1e-9)
    other = events(form="%Y-%m-%d %H:%M")[1]  # as another program may write them
    np.testing.assert_allclose(detector.score_samples(other), expected, atol=1e-9)


def test_rows_come_back_with_dates_in_their_order(detector, tmp_path):
    written = events()[1]
    for rows in (detector.sample(50), detector.reconstruct(written[:50])):
        assert ordered_type(set(rows["at"])) == MONTH_FIRST
    holes = written[:5].copy()
    holes.loc[1, "at"] = None
    filled = detector.impute(holes)
    assert filled["at"].drop(1).equals(written["at"][:5].drop(1))
    assert parse_time(filled["at"][1], MONTH_FIRST) is not None
    save(detector, tmp_path / "model.improbable")
    again = load(tmp_path / "model.improbable").score_samples(written)
    np.testing.assert_array_equal(again, detector.score_samples(written))


def test_reasons_tell_moments_and_what_is_none(detector):
    odd = events()[1][:2].copy()
    odd["at"] = ["3/14/1925 2:05 PM", "2:05 PM on Friday"]
    found = detector.explain(odd)
    assert "at = 1925-03-14T14:05:00" in found.reasons(0)[0]
    assert "at = 2:05 PM on Friday" in found.reasons(1)[0]
    assert "never seen" in detector.detect(odd).warnings[1]


def test_names_may_look_like_dates():
    written = events()[1]
    rows = written.assign(at=written["at"].str.split(" ").str[0])
    detector = VAEDetector(**SMALL, columns={"at": "categorical"}).fit(rows)
    assert detector.kinds_["at"] == "categorical"
    assert set(detector.sample(50)["at"]) <= set(rows["at"])
    column = read_frame(rows).columns["at"]
    assert type(infer_kind(with_order(column), named=True)).__name__ == "Datetime"


def test_arrow_and_categories_hold_dates():
    written = events()[1]
    detector = VAEDetector(**SMALL).fit(pa.Table.from_pandas(written))
    assert detector.sample(5)["at"].type == pa.string()
    held = written.assign(at=written["at"].astype("category"))
    np.testing.assert_array_equal(detector.score_samples(held), detector.score_samples(written))
    assert VAEDetector(**SMALL).fit(held).kinds_["at"] == "datetime"


def test_series_are_laid_out_by_such_dates():
    hours = pd.date_range("2025-01-01", periods=1_500, freq="h")
    rng = np.random.default_rng(0)
    load = np.sin(np.arange(1_500.0) / 4.0) + rng.normal(0.0, 0.1, 1_500)
    rows = pd.DataFrame({"time": hours, "load": load})
    written = rows.assign(time=hours.strftime("%d/%m/%Y %H:%M"))
    stamped, detector = (
        VAEDetector(codec=WindowCodec(length=8, time="time"), **SMALL).fit(of)
        for of in (rows, written)
    )
    expected = stamped.score_samples(rows)
    np.testing.assert_allclose(detector.score_samples(written), expected, atol=1e-9)
    # nothing in these rows tells the order, training did
    early = detector.score_samples(written[:210])[:200]
    np.testing.assert_allclose(early, expected[:200], atol=1e-9)


def test_the_command_line_reads_and_writes_such_dates(tmp_path):
    events()[1].to_csv(tmp_path / "rows.csv", index=False)
    model, rows, out = (str(tmp_path / name) for name in ("m.improbable", "rows.csv", "out.csv"))
    run = CliRunner().invoke
    fit = run(app, ["fit", rows, "-o", model, "--max-steps", "5", "--json"])
    assert fit.exit_code == 0, fit.output
    assert "taken for names" not in fit.output
    assert run(app, ["score", rows, "-m", model, "-o", out]).exit_code == 0
    scored = pd.read_csv(out)
    assert scored["at"].tolist() == events()[1]["at"].tolist()
    assert scored["warnings"].isna().all()
    holes = events()[1][:20].assign(at=None)
    holes.to_csv(tmp_path / "holes.csv", index=False)
    assert run(app, ["impute", str(tmp_path / "holes.csv"), "-m", model, "-o", out]).exit_code == 0
    assert not np.isnan([parse_time(word, MONTH_FIRST) for word in pd.read_csv(out)["at"]]).any()


def test_texts_that_are_no_dates_stay_as_they_are():
    assert iso_text("soon") == "soon"
    assert iso_text("soon", MONTH_FIRST) == "soon"
