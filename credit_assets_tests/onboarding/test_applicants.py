"""Which files hold the applicants, and which column identifies them."""

from __future__ import annotations

import pytest

from credit_assets.onboarding.files import BookError
from credit_assets_tests.onboarding.lender import ROWS, loans, turns


def test_the_unique_column_that_is_named_like_a_key_names_the_applicants(guessed):
    book = guessed(voucher_number=range(ROWS))
    assert (book.key, book.numbered) == ("loan_id", False)


def test_a_first_column_that_counts_the_rows_names_them(guessed):
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
def test_where_no_column_is_unique_never_empty_and_named_like_a_key_rows_are_numbered(guessed, column):
    book = guessed(**column)
    assert (book.key, book.numbered) == ("application_id", True)


def test_the_users_word_for_the_key_counts_if_it_can_be_one(guessed, tmp_path):
    assert guessed(settings={"key": "ticket"}, ticket=[f"T{n}" for n in range(ROWS)]).key == "ticket"


@pytest.mark.parametrize(("key", "said"), [("nowhere", "no column nowhere"), ("purpose", "cannot identify applicants")])
def test_a_key_that_is_none_is_refused(guessed, key, said):
    with pytest.raises(BookError, match=said):
        guessed(settings={"key": key})


@pytest.mark.parametrize("name", ["pd", "Points", "fold"])
def test_a_key_does_not_have_a_name_of_the_platforms_own(guessed, name):
    without = dict.fromkeys(loans())
    assert guessed(**without, **{name: range(ROWS)}, was_bad=turns(1, 0)).numbered


def test_a_key_of_a_reserved_name_is_refused(guessed):
    with pytest.raises(BookError, match="pd cannot identify applicants under this name"):
        guessed(settings={"key": "pd"}, pd=range(ROWS))


def test_a_key_may_be_called_applicant(guessed):
    assert guessed(settings={"key": "applicant"}, applicant=range(ROWS)).key == "applicant"


def test_files_without_the_outcome_are_applicants_too(guessed):
    later = {name: [value] for name, value in zip(loans(), ("L9999", 1, 2.5, "car"), strict=False)}
    book = guessed({"loans_test": later})
    assert book.applications.files.rows == ROWS + 1
    assert book.applications.columns["default"].filled == ROWS
    assert (book.children, book.unused) == ((), ())


def test_outcomes_in_a_file_of_their_own_are_joined_to_the_applicants(guessed):
    told = {"loan_id": loans(ROWS)["loan_id"][:30], "default": turns(1, 0, 0, rows=30)}
    book = guessed({"labels": told}, default=None)
    assert book.outcomes is not None and book.outcomes.names == "labels.csv"
    assert (book.applications.files.names, book.bads, book.goods) == ("loans.csv", 10, 20)
