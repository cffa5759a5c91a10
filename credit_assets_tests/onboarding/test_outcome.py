"""Which column is the outcome, and which of its values are bad."""

from __future__ import annotations

import pytest

from credit_assets.onboarding.files import BookError
from credit_assets_tests.onboarding.lender import turns


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "values", "bad", "good"),
    [
        ("target", turns("good", "bad", "good"), ("bad",), ("good",)),
        ("y", turns("yes", "no", "no"), ("yes",), ("no",)),
        ("default", turns(1, 0, 0), ("1",), ("0",)),
        ("TARGET", turns("1.0", "0.0", None), ("1.0",), ("0.0",)),
        ("SeriousDlqin2yrs", turns(0, 1, 0), ("1",), ("0",)),
        ("default payment next month", turns(0, 1), ("1",), ("0",)),
        ("class", turns(1, 2, 1, 1), ("2",), ("1",)),
        ("Creditability", turns(1, 0, 1), ("0",), ("1",)),
        ("fully_paid", turns("yes", "no", "yes"), ("no",), ("yes",)),
        ("RiskPerformance", turns("Bad", "Good", "Good"), ("Bad",), ("Good",)),
        ("not.fully.paid", turns(0, 0, 1), ("1",), ("0",)),
        ("not.fully.paid", turns(1, 1, 0), ("1",), ("0",)),
        ("unpaid", turns(0, 0, 1), ("1",), ("0",)),
        ("isNonDefault", turns(0, 1, 1), ("0",), ("1",)),
        ("no_default", turns("Y", "N", "Y"), ("N",), ("Y",)),
        ("non_performing", turns(0, 1, 0), ("1",), ("0",)),
        ("good_bad", turns(0, 0, 1), ("1",), ("0",)),
        ("good_bad", turns(1, 1, 0), ("0",), ("1",)),
        ("target", turns(1, 1, 1, 0), ("0",), ("1",)),
        ("default", turns(1, 1, 1, 0), ("1",), ("0",)),
        ("y", turns(-1, -1, 1), ("1",), ("-1",)),
        ("kredit", turns(1, 1, 0), ("0",), ("1",)),
        ("credit_risk", turns(1, 1, 0), ("0",), ("1",)),
        ("Zahlungsausfall", turns("ja", "nein", "nein"), ("ja",), ("nein",)),
        ("incumplimiento", turns("sí", "no", "no"), ("sí",), ("no",)),
        ("Loan_Status", turns("Y", "Y", "N"), ("N",), ("Y",)),
        ("loan_status", turns("Current", "Default", "Current"), ("Default",), ("Current",)),
        ("loan_status", turns("not default", "default"), ("default",), ("not default",)),
        ("status", turns("paid", "late", "paid"), ("late",), ("paid",)),
        ("status", turns("Fully Paid", "Current", "Charged Off"), ("Charged Off",), ("Fully Paid",)),
        ("MIS_Status", turns("P I F", "P I F", "CHGOFF"), ("CHGOFF",), ("P I F",)),
        ("flag", turns("G", "B", "G"), ("B",), ("G",)),
        (
            "loan_status",
            turns("Fully Paid", "Charged Off", "Current", "Late (31-120 days)"),
            ("Charged Off",),
            ("Fully Paid",),
        ),
    ],
)
def test_outcome_is_found_by_its_name_with_its_good_and_bad_values(guessed, name, values, bad, good):
    book = guessed(**{"default": None, name: values})
    assert (book.outcome.column, book.outcome.bad, book.outcome.good) == (name, bad, good)
    assert book.bads == sum(str(value) in bad for value in values)
    assert book.goods == sum(str(value) in good for value in values)


def test_more_likely_name_is_preferred(guessed):
    assert guessed(status=turns("open", "shut"), default=None, target=turns(0, 1)).outcome.column == "target"


def test_book_without_an_outcome_is_refused_with_advice(guessed):
    with pytest.raises(BookError, match=r"No column with the outcome of a loan was found: .* Name the column with --t"):
        guessed(default=None)


def test_outcome_given_by_the_user_is_used(guessed):
    book = guessed(settings={"target": "went"}, went=turns("back", "back", "lost"))
    assert (book.outcome.column, book.outcome.bad, book.outcome.good) == ("went", ("lost",), ("back",))
    assert "inferred from its values" in book.outcome.why


@pytest.mark.parametrize(
    ("name", "values", "other"),
    [
        ("good_bad", turns(0, 0, 1), "bad: [0], good: [1]"),
        ("class", turns(1, 2, 1, 1), "bad: [1], good: [2]"),
        ("default", turns(1, 1, 0), "bad: [0], good: [1]"),
        ("RiskPerformance", turns("Bad", "Bad", "Good"), "bad: [Good], good: [Bad]"),
    ],
)
def test_both_readings_are_given_if_the_name_is_neutral_or_most_are_bad(guessed, name, values, other):
    assert f"if it is the other way round: {other}" in guessed(**{"default": None, name: values}).outcome.why


def test_clear_outcome_has_one_reading(guessed):
    assert "the other way round" not in guessed(default=turns(1, 0, 0)).outcome.why


@pytest.mark.parametrize(
    ("target", "said"), [("nowhere", "No file has a column nowhere"), ("amount", "amount cannot be the target")]
)
def test_unsuitable_outcome_is_refused(guessed, target, said):
    with pytest.raises(BookError, match=said):
        guessed(settings={"target": target})
