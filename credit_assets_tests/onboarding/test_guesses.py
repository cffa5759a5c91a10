"""The date of the decision, the lender's price and the tables of a book; and the guesses about real files."""

from __future__ import annotations

import gzip

import duckdb
import pytest

from credit_assets.onboarding.guesses import guess
from credit_assets.onboarding.read_files import read_files
from credit_assets_tests.onboarding.lender import ROWS, loans, turns

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    [
        "app_date",
        "appdate",
        "APP_DT",
        "appl_dt",
        "appl_date",
        "applied_on",
        "appliedAt",
        "date_applied",
        "dateOfApplication",
        "date_app",
        "appDate",
        "application_dt",
        "application_timestamp",
        "submission_date",
        "date_submitted",
        "submitted_at",
        "loan_app_date",
        "app_received_date",
        "request_date",
        "requested_on",
        "Antragsdatum",
        "fecha_solicitud",
        "date_de_la_demande",
        "data_richiesta",
    ],
)
def test_application_date_precedes_the_loan_date(guessed, name):
    book = guessed(issue_date=turns("2020-02-05", "2020-03-05"), **{name: turns("2020-01-05", "2020-02-04")})
    assert book.decided == name


@pytest.mark.parametrize("name", ["app_installed", "last_app_date", "app_usage", "appraisal", "card_opened"])
def test_other_dates_are_not_taken_for_the_application_date(guessed, name):
    assert guessed(**{name: turns("2020-01-05", "2020-02-04")}).decided is None


def test_price_of_the_lender_is_recognised(guessed):
    assert set(guessed(int_rate=turns(5, 6), loan_grade=turns("A", "B")).price) == {"int_rate", "loan_grade"}


def test_files_with_the_key_are_children_and_files_joined_to_them_grandchildren(guessed):
    names = loans(ROWS)["loan_id"]
    book = guessed(
        {
            "payments": {
                "payment_id": range(80),
                "loan_id": [*names, *names[:39], "stray"],
                "paid": turns(1, 2, rows=80),
            },
            "reminders": {"payment_id": turns(1, 2, 3), "letters": turns(0, 1)},
            "weather": {"day": turns("sun", "rain")},
        }
    )
    assert [(table.name, table.parent, table.link, table.orphans) for table in book.children] == [
        ("payments", "applications", "loan_id", 1),
        ("reminders", "payments", "payment_id", 0),
    ]
    assert [files.names for files in book.unused] == ["weather.csv"]


def test_german_credit_is_guessed_correctly(real_data, tmp_path):
    con = duckdb.connect()
    book = guess(con, read_files(con, [real_data / "german_credit"], tmp_path))
    assert book.numbered and (book.bads, book.goods) == (300, 700)
    assert {name: item.column for name, item in book.protected.items()} == {
        "gender": "status_and_sex",
        "marital_status": "status_and_sex",
        "age": "age",
        "national_origin": "is_foreign_worker",
    }
    assert set(book.protected["gender"].words.values()) == {"male", "female"}
    assert book.late == {} and book.price == {}


def test_uci_credit_card_is_guessed_correctly(real_data, tmp_path):
    con = duckdb.connect()
    book = guess(con, read_files(con, [real_data / "uci_credit_card"], tmp_path))
    assert (book.key, book.outcome.column) == ("ID", "default payment next month")
    assert (book.bads, book.goods) == (6636, 23364)
    assert {item.column for item in book.protected.values()} == {"SEX", "MARRIAGE", "AGE"}
    assert all(not column.sentinels for column in book.applications.columns.values())


def test_lending_club_is_guessed_correctly(real_data, tmp_path):
    """On its first two thousand loans, every column written after the loan was granted is suspected."""
    with gzip.open(real_data / "lending_club" / "loans_2007_2010.csv.gz", "rt", encoding="utf-8") as file:
        (tmp_path / "loans.csv").write_text("".join(line for line, _ in zip(file, range(2001), strict=False)))
    con = duckdb.connect()
    book = guess(con, read_files(con, [tmp_path / "loans.csv"], tmp_path))
    assert (book.outcome.column, book.decided) == ("loan_status", "issue_d")
    assert "Charged Off" in book.outcome.bad and "Fully Paid" in book.outcome.good
    later = {"recoveries", "collection_recovery_fee", "last_pymnt_d", "last_pymnt_amnt", "last_credit_pull_d"}
    later |= {"total_pymnt", "total_pymnt_inv", "total_rec_prncp", "total_rec_int", "total_rec_late_fee", "out_prncp"}
    assert later <= set(book.late)
    assert {"loan_amnt", "annual_inc", "dti", "purpose", "earliest_cr_line"}.isdisjoint(book.late)
    assert {"int_rate", "grade", "sub_grade"} == set(book.price)
