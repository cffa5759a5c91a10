"""Which files hold the applicants, and which column identifies them."""

from __future__ import annotations

import pytest

from credit_assets.onboarding.files import BookError
from credit_assets_tests.onboarding.lender import ROWS, loans, turns


def test_unique_column_with_a_key_like_name_is_the_key(guessed):
    book = guessed(voucher_number=range(ROWS))
    assert (book.key, book.numbered) == ("loan_id", False)


def test_first_column_that_counts_the_rows_is_the_key(guessed):
    without = dict.fromkeys(loans())
    assert guessed(**without, row=range(100, 100 + ROWS), was_bad=turns(1, 0)).key == "row"


@pytest.mark.parametrize(
    "column",
    [
        {"loan_id": None},
        {"loan_id": turns("a", "b")},
        {"loan_id": [None, *range(1, ROWS)]},
        {"loan_id": None, "income": [1000.5 + n for n in range(ROWS)]},
    ],
)
def test_rows_are_numbered_without_a_unique_complete_column_named_like_a_key(guessed, column):
    book = guessed(**column)
    assert (book.key, book.numbered) == ("application_id", True)


def test_key_given_by_the_user_is_used_if_possible(guessed, tmp_path):
    assert guessed(settings={"key": "ticket"}, ticket=[f"T{n}" for n in range(ROWS)]).key == "ticket"


@pytest.mark.parametrize(("key", "said"), [("nowhere", "no column nowhere"), ("purpose", "cannot identify applicants")])
def test_unsuitable_key_is_refused(guessed, key, said):
    with pytest.raises(BookError, match=said):
        guessed(settings={"key": key})


@pytest.mark.parametrize("name", ["pd", "Points", "fold"])
def test_key_gets_no_name_reserved_by_the_platform(guessed, name):
    without = dict.fromkeys(loans())
    assert guessed(**without, **{name: range(ROWS)}, was_bad=turns(1, 0)).numbered


def test_key_with_a_reserved_name_is_refused(guessed):
    with pytest.raises(BookError, match="pd cannot identify applicants under this name"):
        guessed(settings={"key": "pd"}, pd=range(ROWS))


def test_key_may_be_called_applicant(guessed):
    assert guessed(settings={"key": "applicant"}, applicant=range(ROWS)).key == "applicant"


def test_files_without_the_outcome_are_applicants_too(guessed):
    later = {name: [value] for name, value in zip(loans(), ("L9999", 1, 2.5, "car"), strict=False)}
    book = guessed({"loans_test": later})
    assert book.applications.files.rows == ROWS + 1
    assert book.applications.columns["default"].filled == ROWS
    assert (book.children, book.unused) == ((), ())


def test_outcomes_in_a_separate_file_are_joined_to_the_applicants(guessed):
    told = {"loan_id": loans(ROWS)["loan_id"][:30], "default": turns(1, 0, 0, rows=30)}
    book = guessed({"labels": told}, default=None)
    assert book.outcomes is not None and book.outcomes.names == "labels.csv"
    assert (book.applications.files.names, book.bads, book.goods) == ("loans.csv", 10, 20)
