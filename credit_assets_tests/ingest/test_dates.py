"""Dates in text: whatever format they are written in, they are read as what they were, or as open to two readings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.ingest.dates import FORMATS, Disagreement, Reading, reading_of, shape

CON = duckdb.connect()


def reading(values: Sequence[str], prefer: str | None = None) -> Reading | Disagreement | None:
    CON.execute("CREATE OR REPLACE TEMP TABLE texts AS SELECT DISTINCT unnest(?::varchar[]) AS v", [list(values)])
    return reading_of(CON, "SELECT v FROM texts", prefer)


def found(values: Sequence[str], prefer: str | None = None) -> Reading:
    read = reading(values, prefer)
    assert isinstance(read, Reading), read
    return read


def read(how: Reading, values: Sequence[str]) -> list[datetime | None]:
    return [CON.execute(f"SELECT {how.sql('v')} FROM (SELECT ? AS v)", [value]).fetchall()[0][0] for value in values]


def days(how: Reading, values: Sequence[str]) -> list[date | None]:
    return [moment and moment.date() for moment in read(how, values)]


def written(moment: datetime, form: str) -> str:
    """The moment as Python writes it."""
    return moment.strftime(form)


def precise(moment: datetime, form: str) -> datetime:
    """The moment as far as the format tells of it."""
    if "%H" not in form and "%I" not in form:
        moment = moment.replace(hour=0, minute=0)
    if "%S" not in form:
        moment = moment.replace(second=0)
    if "%f" not in form:
        moment = moment.replace(microsecond=0)
    return moment if "%d" in form else moment.replace(day=1)


@settings(max_examples=50, deadline=None)
@given(
    form=st.sampled_from(FORMATS),
    moments=st.lists(st.datetimes(datetime(1971, 1, 1), datetime(2025, 12, 31)), min_size=1, max_size=12),
)
def test_what_python_writes_in_a_format_is_read_as_what_it_was_or_named_as_open_to_two_readings(form, moments):
    moments = [precise(moment.replace(tzinfo=UTC) if "%z" in form else moment, form) for moment in moments]
    values = [written(moment, form) for moment in moments]
    how = found(values)
    expected = [moment.replace(tzinfo=None) for moment in moments]
    assert how.other or read(how, values) == expected
    assert all(re.fullmatch(how.pattern, value) for value in values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["05/14/19", "11/05/95"], [date(2019, 5, 14), date(1995, 11, 5)]),
        (["14-May-19", "28-Feb-97"], [date(2019, 5, 14), date(1997, 2, 28)]),
        (["05/14/2019", "05/14/19", "1/2/97"], [date(2019, 5, 14), date(2019, 5, 14), date(1997, 1, 2)]),
        # Births: no run of years is broken, so 55 is not 2055.
        (["14/05/55", "31/12/05", "03/04/99"], [date(1955, 5, 14), date(2005, 12, 31), date(1999, 4, 3)]),
        (
            ["31.12.40", "1.2.65", "3.4.88", "3.4.01"],
            [date(1940, 12, 31), date(1965, 2, 1), date(1988, 4, 3), date(2001, 4, 3)],
        ),
        # Maturities lie ahead.
        (["05/14/30", "05/31/45"], [date(2030, 5, 14), date(2045, 5, 31)]),
        (["18-05-31", "19-01-02", "18-07-14"], [date(2018, 5, 31), date(2019, 1, 2), date(2018, 7, 14)]),
        (["Dec-2011", "Dec-11", "2011-12-01"], [date(2011, 12, 1)] * 3),
        (["1 May 2019", "12 June 2019"], [date(2019, 5, 1), date(2019, 6, 12)]),
        (["01JAN2019", "31DEC2018"], [date(2019, 1, 1), date(2018, 12, 31)]),
        (["0001-01-01", "9999-12-31"], [date(1, 1, 1), date(9999, 12, 31)]),
    ],
)
def test_dates_are_those_that_were_meant(values, expected):
    how = found(values)
    assert (days(how, values), how.other) == (expected, None)


@pytest.mark.parametrize("value", ["05/14/0019", "14-May-019", "2019-02-30", "13/13/2019", "soon", "", "2019", "1.5"])
def test_what_is_no_date_is_not_read(value):
    how = reading([value])
    assert how is None or days(how, [value]) == [date(19, 5, 14)], "a year of four digits is what it says"


def test_two_orders_that_read_all_values_are_both_named(tmp_path):
    how = found(["04/05/2019", "06/07/2019", "11/10/2018"])
    assert (how.order, how.other, how.formats) == ("day first", "month first", ("%d/%m/%Y",))
    how = found(["04/05/2019", "06/07/2019", "11/10/2018"], prefer="month first")
    assert (how.order, how.other, how.formats) == ("month first", "day first", ("%m/%d/%Y",))


@pytest.mark.parametrize(("first", "order"), [("01/{:02}/2019", "day first"), ("{:02}/01/2019", "month first")])
def test_months_are_written_by_their_first_days(first, order):
    how = found([first.format(month) for month in range(1, 13)])
    assert how.order == order


def test_dates_of_two_orders_in_one_column_are_none():
    told = reading(["13/05/2019", "05/13/2019", "05/06/2019"])
    assert isinstance(told, Disagreement)
    assert str(told) in {
        "'13/05/2019' is written day first, '05/13/2019' month first",
        "'05/13/2019' is written month first, '13/05/2019' day first",
    }


def test_one_odd_date_among_many_does_not_take_the_others_down():
    many = [f"{month:02}/{day:02}/2019" for month in range(1, 13) for day in range(1, 29)]
    how = found([*many, "31/12/2019"])
    assert (how.order, how.other) == ("month first", None)
    assert days(how, ["31/12/2019"]) == [None]


@pytest.mark.parametrize("hours", [-5, 0, 9])
def test_moments_with_an_offset_are_in_utc_on_every_machine(hours):
    here = datetime(2019, 5, 14, 23, 30, tzinfo=timezone(timedelta(hours=hours)))
    values = [here.isoformat(), "2019-05-14T10:00:00Z"]
    how = found(values)
    expected = [here.astimezone(UTC).replace(tzinfo=None), datetime(2019, 5, 14, 10)]
    for zone in ("UTC", "America/New_York"):
        CON.execute(f"SET TimeZone = '{zone}'")
        assert read(how, values) == expected
    CON.execute("SET TimeZone = 'UTC'")


def test_every_format_is_listed_once_and_has_a_shape_of_its_texts():
    assert len(set(FORMATS)) == len(FORMATS)
    moment = datetime(2019, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert [form for form in FORMATS if not re.fullmatch(shape(form), written(moment, form))] == []
