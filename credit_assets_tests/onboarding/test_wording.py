"""Names and descriptions for columns."""

from __future__ import annotations

import duckdb
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from credit_assets.onboarding.wording import in_sql, is_guess, parts, phrase, plain, unique_name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("credit_amount", "Credit amount"),
        ("AMT_INCOME_TOTAL", "Amount income total"),
        ("mths_since_last_delinq", "Months since last delinquency"),
        ("creditHistory", "Credit history"),
        ("BILL_AMT1", "Bill amount 1"),
        ("default payment next month", "Default payment next month"),
        ("???", "Column"),
    ],
)
def test_column_name_is_described_in_plain_words(name, said):
    assert phrase(name) == said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("AverageMInFile", "Average m in file"),
        ("MSinceOldestTradeOpen", "M since oldest trade open"),
        ("NumSatisfactoryTrades", "Num satisfactory trades"),
        ("DebtRatio", "Debt ratio"),
        ("DTIRatio", "Dti ratio"),
        ("DTI", "Debt to income"),
        ("numATMs", "Num atms"),
    ],
)
def test_word_from_a_mixed_case_name_is_no_abbreviation(name, said):
    assert phrase(name) == said


@pytest.mark.parametrize("name", ["credit_amount", "DebtRatio", "purpose", "late_payments_last_12_months", "Loan Type"])
def test_name_of_known_words_reads_as_a_description(name):
    assert not is_guess(name)


@pytest.mark.parametrize(
    "name", ["AverageMInFile", "dti", "mths_since_last_delinq", "V12", "laufkont", "x", "BILL_AMT1", "???", "rate2"]
)
def test_abbreviations_foreign_words_and_codes_are_guesses(name):
    assert is_guess(name)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("Größe", "grosse"),
        ("2nd loan", "column_2nd_loan"),
        ("Área (m²)", "area_m2"),
        ("收入", "column"),
        ("a--b", "a_b"),
    ],
)
def test_name_consists_of_lower_case_letters_digits_and_underscores(name, made):
    assert plain(name) == made


def test_taken_name_is_numbered_whatever_its_case():
    assert unique_name("Rate", ["amount"]) == "Rate"
    assert unique_name("Rate", ["rate", "rate_2"]) == "Rate_3"


@given(st.text(min_size=1, max_size=20))
def test_plain_name_is_always_a_valid_column(name):
    made = plain(name)
    assert made[0].isalpha() and made.isascii() and made == made.lower() and made.replace("_", "a").isalnum()


@pytest.mark.parametrize("upper", [False, True])
def test_column_named_like_a_keyword_is_read_as_a_column(upper):
    with duckdb.connect() as con:
        known = [word for (word,) in con.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()]
        names = [*known, "current_user", "localtime", "rownum", "map", "if", "next", "text", "date"]
        names = list(dict.fromkeys(name.upper() if upper else name for name in names))
        con.execute("CREATE TABLE t (" + ", ".join(f'"{name}" INT' for name in names) + ")")
        con.execute(f"INSERT INTO t VALUES ({', '.join(map(str, range(len(names))))})")
        query = f"SELECT {', '.join(f'{in_sql(name)} AS c{n}' for n, name in enumerate(names))} FROM t"
        assert con.execute(query).fetchall() == [tuple(range(len(names)))]
    for projection, name in zip(sqlglot.parse_one(query, dialect="duckdb").expressions, names, strict=True):
        assert isinstance(projection.this, exp.Column) and projection.this.name == name, name


def test_name_is_split_into_its_parts():
    assert parts("Loan-Status  2") == ["loan", "status", "2"]
