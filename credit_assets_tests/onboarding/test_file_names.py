"""Patterns of file names: later deliveries of a table match, and files of other tables do not."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_assets.onboarding.file_names import batches_of, patterns, undated


@pytest.mark.parametrize(
    ("first", "pattern", "later"),
    [
        ("loans_2024_01", "loans_20*", "loans_2025_12"),
        ("loans-202401", "loans-20*", "loans-202512"),
        ("loansJan2024", "loans*20*", "loansFeb2025"),
        ("loans_März_2024", "loans_*20*", "loans_April_2025"),
        ("loans_31.01.2024", "loans_*20*", "loans_29.02.2024"),
        ("2024Q1_loans", "20*_loans", "2025Q4_loans"),
        ("loans_2024H1", "loans_20*", "loans_2024H2"),
        ("loans_2024-01-v2", "loans_20*", "loans_2024-02"),
        ("loans_20240131_235959", "loans_20*", "loans_20240229_000001"),
        ("loans_2024-01-31T23:59:59Z", "loans_20*", "loans_2024-02-29T23:59:59Z"),
        ("loans_1706745599", "loans_*", "loans_1709251199"),
        ("loans (1)", "loans*", "loans (2)"),
        ("2024-01", "[0-9][0-9][0-9][0-9]-[0-9][0-9]", "2024-02"),
    ],
)
def test_date_in_a_name_becomes_a_wildcard(first, pattern, later):
    assert patterns([first], []) == [pattern]
    assert fnmatchcase(later, pattern)


@pytest.mark.parametrize(
    "name", ["german_credit", "Book1", "application_train", "loans_may", "part-00012", "marketing", "UCI10", "loans[1]"]
)
def test_name_without_a_date_is_unchanged(name):
    [pattern] = patterns([name], [])
    assert fnmatchcase(name, pattern) and not fnmatchcase(f"{name}x", pattern)


def test_numbers_that_differ_between_files_of_a_table_become_wildcards():
    assert patterns(["loans_7", "loans_8"], []) == ["loans_*"]
    assert patterns(["part-0001", "part-0002"], ["parts"]) == ["part-*"]


def test_files_of_other_tables_do_not_match():
    names = ["loans_2024_01", "loans_2024_01_payments"]
    loans, payments = (patterns([name], [other for other in names if other != name])[0] for name in names)
    assert loans == "loans_[0-9][0-9][0-9][0-9]_[0-9][0-9]" and payments == "loans_20*_payments"
    assert not fnmatchcase("loans_2024_02_payments", loans)


@pytest.mark.parametrize("name", ["payments_2024_01", "2024Q1-payments", "payments_Jan2024", "payments v2", "payments"])
def test_table_name_excludes_the_date(name):
    assert undated(name) == "payments"


@given(st.lists(st.text("ab_-012 ()", min_size=1, max_size=12), min_size=1, max_size=4, unique=True), st.data())
def test_patterns_match_exactly_their_own_table_s_files(stems, data):
    own = data.draw(st.lists(st.sampled_from(stems), min_size=1, unique=True))
    others = [stem for stem in stems if stem not in own]
    made = patterns(own, others)
    assert all(any(fnmatchcase(stem, pattern) for pattern in made) for stem in own)
    assert not any(fnmatchcase(other, pattern) for pattern in made for other in others)


@pytest.mark.parametrize(
    ("stems", "batches"),
    [
        (["loans_2024_01", "loans_2024_02"], ["2024-01", "2024-02"]),
        (["loans202412", "loans202501"], ["2024-12", "2025-01"]),
        (["loans_31.01.2024", "loans_29.02.2024"], ["2024-01-31", "2024-02-29"]),
        (["loansJan24", "loans_juin_2024", "loans-Juli-2024"], ["2024-01", "2024-06", "2024-07"]),
        (["loans_März_2024", "loans_mai_2024", "loans_décembre_2024"], ["2024-03", "2024-05", "2024-12"]),
        (["2024q1_loans", "Q2-2024_loans"], ["2024-Q1", "2024-Q2"]),
        (["loans_2023", "loans_2024"], ["2023", "2024"]),
        (["loans_01.02.2024", "loans_02.02.2024"], None),
        (["loans_2024_01", "loans_2024-01"], None),
        (["loans_2024_01", "loans_2024"], None),
        (["loans_2024_01", "loans"], None),
        (["loans_a", "loans_b"], None),
    ],
)
def test_batches_are_named_by_the_dates_in_file_names(stems, batches):
    assert batches_of(stems) == batches
