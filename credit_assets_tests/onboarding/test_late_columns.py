"""Columns known only after the decision, recognised by names, dates and how well they rank the outcomes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from credit_assets_tests.onboarding.lender import loans, turns


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "recoveries",
        "total_pymnt_inv",
        "last_pymnt_d",
        "out_prncp",
        "max_dpd",
        "settlement_amount",
        "write_off",
        "amount_repaid",
        "principal_paid",
        "days_in_arrears",
        "dpd_30",
        "closed",
        "closed_on",
        "loss",
        "net_loss",
        "outstanding_balance",
        "balance_outstanding",
    ],
)
def test_column_named_like_a_later_event_is_suspected(guessed, name):
    assert guessed(**{name: turns(1, 2, 3)}).late == {name: "inferred from the column name"}


@pytest.mark.parametrize(
    "name",
    ["chargeoff_within_12_mths", "collections_12_mths_ex_med", "total_acc", "delinq_2yrs", "loan_amnt", "PAY_AMT1"],
)
def test_earlier_bureau_information_is_not_suspected(guessed, name):
    assert guessed(**{name: turns(1, 2, 3)}).late == {}


@pytest.mark.parametrize(
    "name",
    [
        "NumberOfTime30-59DaysPastDueNotWorse",
        "NumberOfTimes90DaysLate",
        "num_times_late_last_2_years",
        "foreclosures_last_7_years",
        "count_of_arrears",
        "prior_losses",
    ],
)
def test_counts_of_earlier_problems_are_history(guessed, name):
    assert guessed(**{name: turns(1, 2, 3)}).late == {}


def many_loans(rows: int = 1200) -> tuple[dict[str, Any], np.random.Generator]:
    """Columns for `guessed` of this many independent loans, and a generator for more."""
    draws = np.random.default_rng(5)
    columns: dict[str, Any] = {
        "loan_id": range(rows),
        "amount": draws.integers(1000, 9000, rows).tolist(),
        "rate": None,
        "purpose": None,
        "default": (draws.random(rows) < 0.3).astype(int).tolist(),
    }
    return columns, draws


def test_history_that_ranks_like_a_leak_is_suspected(guessed):
    columns, _ = many_loans()
    columns["NumberOfTimes90DaysLate"] = [3 * bad + n % 3 for n, bad in enumerate(columns["default"])]
    assert list(guessed(**columns).late) == ["NumberOfTimes90DaysLate"]


@pytest.mark.parametrize("together", ["sum", "difference", "ratio"])
def test_columns_that_together_reproduce_a_leak_are_excluded(guessed, together):
    columns, draws = many_loans()
    leak = np.where(np.array(columns["default"]) == 1, draws.integers(300, 900, 1200), draws.integers(1000, 3000, 1200))
    paid = np.exp(draws.uniform(6, 14, 1200)) if together == "ratio" else draws.integers(5000, 20000, 1200)
    both = {"sum": paid + leak, "difference": paid - leak, "ratio": paid / leak}[together]
    columns |= {"days_used": leak.tolist(), "advanced": paid.tolist(), "xx": both.tolist()}
    late = guessed(**columns).late
    assert set(late) == {"days_used", "xx"}
    assert "reproduces days_used" in late["xx"] and "advanced" in late["xx"]


def test_two_columns_that_leak_by_their_difference_are_found(guessed):
    columns, draws = many_loans()
    leak = np.where(np.array(columns["default"]) == 1, draws.integers(0, 800, 1200), draws.integers(1000, 3000, 1200))
    paid = draws.integers(5000, 20000, 1200)
    late = guessed(**columns, advanced=paid.tolist(), xx=(paid + leak).tolist()).late
    assert len(late) == 1 and set(late) < {"advanced", "xx"}
    assert "ranks the outcomes with AUC" in next(iter(late.values()))


def test_honest_columns_together_are_no_leak(guessed):
    columns, draws = many_loans()
    columns["income"] = draws.integers(1000, 5000, 1200).tolist()
    columns["debt"] = [income + amount for income, amount in zip(columns["income"], columns["amount"], strict=True)]
    assert guessed(**columns).late == {}


def test_column_that_ranks_the_outcomes_almost_perfectly_is_suspected(guessed):
    rows = 400
    outcome = [int(n % 4 == 0) for n in range(rows)]
    columns = {name: turns(*values, rows=rows) for name, values in loans().items() if name != "loan_id"}
    columns |= {"default": outcome, "loan_id": [f"L{n}" for n in range(rows)]}
    columns["fee"] = [100 * bad + n % 90 for n, bad in enumerate(outcome)]
    columns["stamp"] = ["x" if bad and n % 8 else "y" for n, bad in enumerate(outcome)]
    book = guessed(**columns)
    assert set(book.late) == {"fee"}
    assert "it alone ranks the outcomes with an AUC of 1.00" in book.late["fee"]


def test_outcomes_are_ranked_although_few_rows_have_one(guessed, monkeypatch):
    monkeypatch.setattr("credit_assets.onboarding.late_columns.RANKED_ROWS", 100)
    rows = 3000
    went = [("bad", "good", "good")[n % 3] if n < 100 else "open" for n in range(rows)]
    columns = {
        name: turns(*values, rows=rows) for name, values in loans().items() if name not in ("loan_id", "default")
    }
    fee = [100 * (word == "bad") + n % 90 for n, word in enumerate(went)]
    book = guessed(**columns, default=None, loan_id=range(rows), loan_status=went, fee=fee)
    assert "it alone ranks the outcomes with an AUC of 1.00" in book.late["fee"]


def test_date_after_the_application_is_suspected(guessed):
    book = guessed(application_date=turns("2020-01-05", "2020-02-05"), seen_on=turns("2019-12-01", "2020-03-01"))
    assert book.decided == "application_date"
    assert book.late == {"seen_on": "later than application_date in 20 rows"}


def test_numbers_of_a_child_that_reveal_the_outcome_are_suspected(guessed):
    names, outcome = loans(120)["loan_id"], [int(n % 3 == 0) for n in range(120)]
    columns = {name: turns(*values, rows=120) for name, values in loans().items()}
    paid = [50 - 40 * bad + n % 7 for n, bad in enumerate(outcome)]
    book = guessed(
        {
            "payments": {
                "loan_id": [*names, *names],
                "paid": [*paid, *paid],
                "try": turns(1, 2, 3, 4, 5, 6, 7, rows=240),
            }
        },
        **columns | {"loan_id": names, "default": outcome},
    )
    assert set(book.late) == {"paid"}
    assert "its mean in payments alone ranks the outcomes" in book.late["paid"]
