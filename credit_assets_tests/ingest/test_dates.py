"""Dates in text: whatever their format, they are read correctly or reported as ambiguous."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.ingest import month_names
from credit_assets.ingest.dates import (
    EXCEL,
    EXCEL_1904,
    FORMATS,
    IN_LANGUAGES,
    ConflictingOrders,
    DateStyle,
    detect_date_style,
    excel_days,
    is_format,
    shape,
)

CON = duckdb.connect()


def reading(values: Sequence[str], prefer: str | None = None) -> DateStyle | ConflictingOrders | None:
    CON.execute("CREATE OR REPLACE TEMP TABLE texts AS SELECT DISTINCT unnest(?::varchar[]) AS v", [list(values)])
    return detect_date_style(CON, "SELECT v FROM texts", prefer)


def found(values: Sequence[str], prefer: str | None = None) -> DateStyle:
    read = reading(values, prefer)
    assert isinstance(read, DateStyle), read
    return read


def read(how: DateStyle, values: Sequence[str]) -> list[datetime | None]:
    return [CON.execute(f"SELECT {how.sql('v')} FROM (SELECT ? AS v)", [value]).fetchall()[0][0] for value in values]


def days(how: DateStyle, values: Sequence[str]) -> list[date | None]:
    return [moment and moment.date() for moment in read(how, values)]


def written(moment: datetime, form: str) -> str:
    """The moment formatted by Python."""
    return moment.strftime(form)


def precise(moment: datetime, form: str) -> datetime:
    """The moment at the precision of the format."""
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
def test_dates_formatted_by_python_are_read_back_or_reported_as_ambiguous(form, moments):
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
        # Dates of birth: the years are contiguous, so 55 is not 2055.
        (["14/05/55", "31/12/05", "03/04/99"], [date(1955, 5, 14), date(2005, 12, 31), date(1999, 4, 3)]),
        (
            ["31.12.40", "1.2.65", "3.4.88", "3.4.01"],
            [date(1940, 12, 31), date(1965, 2, 1), date(1988, 4, 3), date(2001, 4, 3)],
        ),
        # Maturities are in the future.
        (["05/14/30", "05/31/45"], [date(2030, 5, 14), date(2045, 5, 31)]),
        (["18-05-31", "19-01-02", "18-07-14"], [date(2018, 5, 31), date(2019, 1, 2), date(2018, 7, 14)]),
        (["Dec-2011", "Dec-11", "2011-12-01"], [date(2011, 12, 1)] * 3),
        (["1 May 2019", "12 June 2019"], [date(2019, 5, 1), date(2019, 6, 12)]),
        (["01JAN2019", "31DEC2018"], [date(2019, 1, 1), date(2018, 12, 31)]),
        (["0001-01-01", "9999-12-31"], [date(1, 1, 1), date(9999, 12, 31)]),
    ],
)
def test_dates_are_read_as_intended(values, expected):
    how = found(values)
    assert (days(how, values), how.other) == (expected, None)


@pytest.mark.parametrize("value", ["05/14/0019", "14-May-019", "2019-02-30", "13/13/2019", "soon", "", "2019", "1.5"])
def test_invalid_date_is_not_read(value):
    how = reading([value])
    assert how is None or days(how, [value]) == [date(19, 5, 14)], "a year of four digits is what it says"


def test_both_orders_that_fit_all_values_are_named(tmp_path):
    how = found(["04/05/2019", "06/07/2019", "11/10/2018"])
    assert (how.order, how.other, how.formats) == ("day first", "month first", ("%d/%m/%Y",))
    how = found(["04/05/2019", "06/07/2019", "11/10/2018"], prefer="month first")
    assert (how.order, how.other, how.formats) == ("month first", "day first", ("%m/%d/%Y",))


@pytest.mark.parametrize(("first", "order"), [("01/{:02}/2019", "day first"), ("{:02}/01/2019", "month first")])
def test_first_days_of_months_determine_the_order(first, order):
    how = found([first.format(month) for month in range(1, 13)])
    assert how.order == order


def test_conflicting_orders_in_one_column_are_reported():
    told = reading(["13/05/2019", "05/13/2019", "05/06/2019"])
    assert isinstance(told, ConflictingOrders)
    assert str(told) in {
        "'13/05/2019' is written day first, '05/13/2019' month first",
        "'05/13/2019' is written month first, '13/05/2019' day first",
    }


def test_single_odd_date_does_not_invalidate_the_others():
    many = [f"{month:02}/{day:02}/2019" for month in range(1, 13) for day in range(1, 29)]
    how = found([*many, "31/12/2019"])
    assert (how.order, how.other) == ("month first", None)
    assert days(how, ["31/12/2019"]) == [None]


@pytest.mark.parametrize("hours", [-5, 0, 9])
def test_times_with_an_offset_are_converted_to_utc_on_every_machine(hours):
    here = datetime(2019, 5, 14, 23, 30, tzinfo=timezone(timedelta(hours=hours)))
    values = [here.isoformat(), "2019-05-14T10:00:00Z"]
    how = found(values)
    expected = [here.astimezone(UTC).replace(tzinfo=None), datetime(2019, 5, 14, 10)]
    for zone in ("UTC", "America/New_York"):
        CON.execute(f"SET TimeZone = '{zone}'")
        assert read(how, values) == expected
    CON.execute("SET TimeZone = 'UTC'")


def test_every_format_is_listed_once_and_has_a_pattern():
    assert len(set(FORMATS)) == len(FORMATS)
    moment = datetime(2019, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert [form for form in FORMATS if not re.fullmatch(shape(form), written(moment, form))] == []


@pytest.mark.parametrize(
    ("language", "values", "expected"),
    [
        ("German", ["12. März 2019", "1. Mai 2018", "3.Dez.2019"], ["2019-03-12", "2018-05-01", "2019-12-03"]),
        ("German", ["Mrz-19", "Okt-18"], ["2019-03-01", "2018-10-01"]),
        ("German", ["12 MAERZ 2019", "5 Jänner 2020"], ["2019-03-12", "2020-01-05"]),
        ("German", ["12. März 2019 10:30", "13. Juli 2019 08:00"], ["2019-03-12", "2019-07-13"]),
        ("French", ["1er août 2019", "14 févr. 2018", "3 décembre 2019"], ["2019-08-01", "2018-02-14", "2019-12-03"]),
        ("French", ["14 fevrier 2018", "3 aout 2019"], ["2018-02-14", "2019-08-03"]),
        ("Spanish", ["12 de enero de 2019", "3 de setiembre de 2018"], ["2019-01-12", "2018-09-03"]),
        ("Spanish", ["12-ene-2019", "31-dic-2018"], ["2019-01-12", "2018-12-31"]),
        ("Italian", ["12 gennaio 2019", "1 giu 2018"], ["2019-01-12", "2018-06-01"]),
        ("Portuguese", ["12 de março de 2019", "7 de outubro de 2018"], ["2019-03-12", "2018-10-07"]),
        ("Portuguese", ["fev/2019", "dez/2018"], ["2019-02-01", "2018-12-01"]),
        ("Dutch", ["12 mrt. 2019", "3 mei 2018"], ["2019-03-12", "2018-05-03"]),
        ("Polish", ["12 października 2019", "lipiec 2018"], ["2019-10-12", "2018-07-01"]),
        ("Swedish", ["12 maj 2019", "3 augusti 2018"], ["2019-05-12", "2018-08-03"]),
        ("Hungarian", ["2019. március 12.", "2018. okt. 3."], ["2019-03-12", "2018-10-03"]),
        ("Turkish", ["12 Ağustos 2019", "3 Kasım 2018"], ["2019-08-12", "2018-11-03"]),
    ],
)
def test_month_names_in_other_languages_are_read(language, values, expected):
    how = found(values)
    assert [str(day) for day in days(how, values)] == expected
    assert how.language == language
    assert all(re.fullmatch(how.pattern, value) for value in values)
    assert all(CON.execute("SELECT regexp_full_match(?, ?)", [v, how.pattern]).fetchall() == [(True,)] for v in values)


@pytest.mark.parametrize("value", ["12. Foo 2019", "31. Februar 2019", "Montag 2019", "12. Mai", "März"])
def test_invalid_date_in_another_language_is_not_read(value):
    how = found(["12. März 2019", "1. Mai 2018", "3. Dez. 2019"])
    assert days(how, [value]) == [None]


def test_month_of_another_language_than_the_column_s_does_not_match_its_pattern():
    how = found(["12 mrt 2019", "3 mei 2018"])
    assert not re.fullmatch(how.pattern, "3 mai 2018")
    assert days(how, ["3 mai 2018"]) == [None]


def test_two_digit_years_after_a_month_name_are_read_as_intended():
    values = ["14. Mai 55", "31. Dez. 05", "3. April 99"]
    assert days(found(values), values) == [date(1955, 5, 14), date(2005, 12, 31), date(1999, 4, 3)]


def test_english_months_have_no_language():
    assert found(["Dec-2011", "Mar-2010"]).language is None
    assert found(["3. April 2019", "4. August 2018"]).formats == ("%d. %B %Y",)


def test_month_name_never_means_two_months():
    known: dict[str, int] = {}
    for language, months in month_names.MONTHS.items():
        assert len(months) == 12, language
        for name, number in month_names.numbers_of(language).items():
            assert known.setdefault(name, number) == number, (language, name)
    english = {
        datetime(2019, month, 1).strftime(form).lower(): month for month in range(1, 13) for form in ("%b", "%B")
    }
    assert all(known.get(name, month) == month for name, month in english.items())


@settings(max_examples=50, deadline=None)
@given(
    language=st.sampled_from(sorted(IN_LANGUAGES)),
    moments=st.lists(st.dates(date(1971, 1, 1), date(2025, 12, 31)), min_size=1, max_size=6),
    data=st.data(),
)
def test_dates_with_any_known_month_name_are_read(language, moments, data):
    names = month_names.MONTHS[language]
    values = [f"{day.day} {data.draw(st.sampled_from(names[day.month - 1]))} {day.year}" for day in moments]
    how = DateStyle(IN_LANGUAGES[language])
    assert days(how, values) == moments
    assert days(how, [value.upper() if language != "Turkish" else value for value in values]) == moments
    assert all(re.fullmatch(how.pattern, value) for value in values)


@settings(max_examples=50, deadline=None)
@given(st.integers(61, 2_958_465), st.integers(0, 86_399))
def test_excel_serial_days_are_read_as_excel_shows_them(number, second):
    moment = datetime(1899, 12, 30) + timedelta(days=number, seconds=second)
    value = repr(number + second / 86_400)
    assert read(DateStyle((EXCEL,)), [value, value.replace(".", ",")]) == [moment, moment]


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        (EXCEL, "1", "1900-01-01"),
        (EXCEL, "59", "1900-02-28"),
        (EXCEL, "60", None),
        (EXCEL, "60.5", None),
        (EXCEL, "61", "1900-03-01"),
        (EXCEL, "45000", "2023-03-15"),
        (EXCEL, "45000.5", "2023-03-15"),
        (EXCEL, "2958465", "9999-12-31"),
        (EXCEL, "2958466", None),
        (EXCEL, "0", None),
        (EXCEL, "soon", None),
        (EXCEL_1904, "0", "1904-01-01"),
        (EXCEL_1904, "43538", "2023-03-15"),
        (EXCEL_1904, "2957003", "9999-12-31"),
    ],
)
def test_excel_serial_days_may_start_in_1900_or_1904(form, value, expected):
    [day] = days(DateStyle((form,)), [value])
    assert (day and day.isoformat()) == expected


def test_numbers_are_never_taken_for_excel_days_automatically():
    assert reading(["45000", "45031.5"]) is None
    values = "SELECT unnest(['45000', '45031,5']) AS v"
    assert excel_days(CON, values) == ("45000", date(2023, 3, 15))
    assert excel_days(CON, "SELECT unnest(['45000', '99000']) AS v") is None
    assert excel_days(CON, "SELECT unnest(['45000', 'soon']) AS v") is None
    assert excel_days(CON, "SELECT '' AS v") is None


def test_formats_are_recognised_by_name():
    assert all(map(is_format, (EXCEL, EXCEL_1904, "%d/%m/%Y", *IN_LANGUAGES["Dutch"])))
    assert not any(map(is_format, ("Excel", "Klingon %d %b %Y", "Dutch", "%Q", "")))
