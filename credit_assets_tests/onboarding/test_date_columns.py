"""Date columns: the formats in which they are read, and their ambiguities."""

from __future__ import annotations

import re
from datetime import date

import pytest

from credit_assets_tests.onboarding.lender import read, write


@pytest.mark.parametrize(
    ("values", "first"),
    [
        (["2011-12-01", "2010-01-31"], date(2011, 12, 1)),
        (["Dec-2011", "Jan-2010"], date(2011, 12, 1)),
        (["31.12.2011", "01.02.2010"], date(2011, 12, 31)),
        (["12/31/2011", "02/01/2010"], date(2011, 12, 31)),
        (["20111231", "20100201"], date(2011, 12, 31)),
        (["Dec-2011", "2010-01-31"], date(2011, 12, 1)),
    ],
)
def test_dates_are_read_in_the_formats_in_which_they_are_written(column, values, first):
    assert read(column(values), values[0]).date() == first


def test_ambiguous_dates_state_the_chosen_reading(column, read_tables, tmp_path):
    seen = column(["04/05/2019", "06/07/2018"])
    assert seen.doubts == ("'04/05/2019' is read as 2019-05-04, which is day first; it may also be month first",)
    seen = column(["05/14/19", "11/05/95"])
    assert seen.doubts == ("'05/14/19' is read as 2019-05-14: two-digit years are read as 1969 to 2068",)
    assert column(["2019-05-14", "2018-01-01"]).doubts == ()
    # Another column of the same table can be read in only one way.
    path = write(tmp_path / "loans.csv", {"open": ["04/05/2019", "06/07/2018"], "paid": ["04/25/2019", "06/07/2018"]})
    (tmp_path / "workspace" / "0.parquet").unlink()
    [files] = read_tables(path)
    assert files.columns["open"].formats == files.columns["paid"].formats == ("%m/%d/%Y",)
    assert "it may also be day first" in files.columns["open"].doubts[0]


def test_months_in_another_language_name_the_language(column):
    seen = column(["12. März 2019", "1. Mai 2018", "3. Dez. 2019"])
    assert read(seen, "12. März 2019").date() == date(2019, 3, 12)
    assert seen.doubts == ("'1. Mai 2018' is read as 2018-05-01: the month names are taken to be German",)
    assert seen.pattern_text == "a date such as 31 mai 2019"
    assert re.match(seen.pattern, "7. Juni 2020") and not re.match(seen.pattern, "7. June 2020")


@pytest.mark.parametrize("name", ["opening_date", "Antragsdatum", "issue_d", "fecha_alta"])
@pytest.mark.parametrize("values", [[45000, 44961, 45031], [45000.5, 44961.25, 45031]])
def test_numbers_in_a_date_column_are_proposed_as_excel_days(read_tables, tmp_path, name, values):
    [files] = read_tables(write(tmp_path / "one.csv", {"n": range(3), name: values}))
    seen = files.columns[name]
    assert (seen.formats, seen.years) == (("Excel 1900",), (2023, 2023))
    first = "44961.25" if 45000.5 in values else "44961"
    assert seen.doubts == (
        f"{first} is read as 2023-02-04, which Excel stores as this number; it may be an amount or another number",
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [("loan_amount", [45000, 44961, 45031]), ("balance_at_date", [45000, 450000]), ("updates", [45000, 44961])],
)
def test_other_numbers_are_not_taken_for_excel_days(read_tables, tmp_path, name, values):
    [files] = read_tables(write(tmp_path / "one.csv", {"n": range(len(values)), name: values}))
    assert (files.columns[name].date, files.columns[name].doubts) == (None, ())


def test_single_odd_date_is_null_and_many_make_the_column_text(column):
    good = [f"{day:02}.{month:02}.2019" for day in range(1, 29) for month in range(1, 13)]
    seen = column([*good, "31.31.2019", "n/a", "00.00.0000"])
    assert seen.date and seen.missing == ("00.00.0000", "31.31.2019", "n/a")
    assert seen.doubts == ("1 value, first '31.31.2019', is not a date and counts as not known",)
    assert read(seen, "31.31.2019") is None
    assert [bool(re.match(seen.pattern, v)) for v in ("1.2.2020", "n/a", "1.2.20", "2020-01-01")] == [
        True,
        True,
        False,
        False,
    ]
    seen = column(["13/05/2019", "05/13/2019", "05/14/2019"])
    assert not seen.date and "day first" in seen.doubts[0] and "month first" in seen.doubts[0]
    seen = column(["31.12.2019", "30.12.2019", "29.12.2019", "soon, very"])
    assert not seen.date and "'soon, very' is not a date like the others" in seen.doubts[0]


@pytest.mark.parametrize(
    ("values", "years"), [(["0001-01-01", "9999-12-31"], (1, 9999)), (["2019-01-01"], (2019, 2019))]
)
def test_years_of_dates_are_known_however_distant(column, values, years):
    assert column(values).years == years


def test_text_and_numbers_are_no_dates(column):
    assert column(["36 months", "60 months"]).date is None
    assert column(["20111399", "20100201"]).date is None
