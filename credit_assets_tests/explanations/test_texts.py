"""The texts of reasons are read from the SQL: families by name or raw columns, messages, and drafts."""

from __future__ import annotations

from pathlib import Path

import pytest

from credit_assets.book.lineage import lineage, raw_lineage
from credit_assets.book.queries import load
from credit_assets.explanations.texts import Draft, History, ReasonTexts, drafts_message, families, reason_texts

RAW = {
    "people": {"ID": "BIGINT", "INCOME": "DOUBLE", "LOAN": "DOUBLE", "JOB": "VARCHAR", "DebtRatio": "DOUBLE"},
    "loans": {"ID": "BIGINT", "AMOUNT": "DOUBLE", "DAY": "INTEGER"},
}
LOANS = """\
-- Loans of a person.
-- if no row: no earlier loan from us
select
    ID,
    count(*) as loans, -- number of loans
    count(*) filter (DAY > -365) as loans_365, -- number of loans in the last year
    max(AMOUNT) as loan_max, -- largest loan
    sum(AMOUNT) as loan_sum -- all loans; if missing: no amount of a loan known
from loans
where DAY <= 0
group by ID
"""
FEATURES = """\
-- Everything.
with person as (
    select ID, INCOME as income, nullif(LOAN, 0) as loan, JOB from people where INCOME > 0
)
select
    person.ID,
    income, -- income
    log(income) as income_log, -- income on a scale
    loan / income as loan_to_income, -- loan compared with income
    income / loan as income_to_loan, -- income compared with the loan
    JOB as job, -- occupation; family: work
    length(JOB) as job_length, -- length of the occupation; family: Work
    loans.* exclude (ID)
from person
left join loan_features as loans using (ID)
"""


def texts_of(folder: Path) -> ReasonTexts:
    queries = load(folder, RAW)
    values, roots = (raw_lineage(lineage(queries, RAW, of_rows)) for of_rows in (False, True))
    return reason_texts(queries, values["features"], roots["features"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "features.sql").write_text(FEATURES)
    (tmp_path / "loan_features.sql").write_text(LOANS)
    return tmp_path


def test_features_share_a_family_by_name_or_raw_columns_and_composites_stay_apart(folder: Path) -> None:
    texts = texts_of(folder)

    assert texts.families == {
        "income": "people.INCOME",
        "income_log": "people.INCOME",
        "loan_to_income": "people.INCOME, people.LOAN",
        "income_to_loan": "people.INCOME, people.LOAN",
        "job": "work",
        "job_length": "work",
        # Columns that only select rows do not count: counting is no variant of an amount.
        "loans": "loans",
        "loans_365": "loans_365",
        "loan_max": "loans.AMOUNT",
        "loan_sum": "loans.AMOUNT",
    }
    assert texts.histories == {
        "loan_features": History("no earlier loan from us", ("loans", "loans_365", "loan_max", "loan_sum"))
    }
    assert texts.missing_text("income") == "income: not known"
    assert texts.missing_text("loan_max") == "largest loan: none on record"
    assert texts.missing_text("loan_sum") == "no amount of a loan known"
    assert texts.unseen_text("job") == "occupation: not recognised"


def test_chained_composites_stay_apart() -> None:
    columns = {"a": ["x"], "b": ["x", "y"], "c": ["y", "z"], "d": ["z"], "e": ["y", "x"], "f": []}
    values = {feature: tuple(("t", column) for column in of) for feature, of in columns.items()}
    assert families(list(columns), {}, values) == {"a": "a", "b": "t.x, t.y", "c": "c", "d": "d", "e": "t.x, t.y"} | {
        "f": "f"
    }
    assert families(list(columns), {"a": "X", "e": "x"}, values) == {
        "a": "X",
        "b": "b",
        "c": "c",
        "d": "d",
        "e": "X",
        "f": "f",
    }


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("DebtRatio as debt, -- Debt ratio (DebtRatio)", "contains the column name DebtRatio"),
        ("DebtRatio as debt, -- debts as DebtRatio tells", "contains the column name DebtRatio"),
        ("DebtRatio as debt, -- debts; if missing: no DebtRatio", "contains the column name DebtRatio"),
        ("DebtRatio as debt_share, -- the debt_share", "contains the column name debt_share"),
        ("INCOME as income, -- Income (INCOME)", "contains the column name INCOME"),
        ("INCOME as income, -- income -- CONFIRM: by its name", "is marked as a guess (by its name)"),
        ("-- CONFIRM: 9 stands for none\n    INCOME as income, -- income", None),
        ("INCOME as income, -- INCOME as stated", None),
        ("INCOME as income, -- income (monthly)", None),
        ("DebtRatio as debt, -- debt ratio", None),
        ("LOAN / INCOME as loan_to_income, -- loan compared with income", None),
        ("LOAN as loan4, -- loan4ever", None),
    ],
)
def test_text_with_a_column_name_or_a_guess_is_a_draft(tmp_path: Path, sql: str, why: str | None) -> None:
    (tmp_path / "features.sql").write_text(f"-- A.\nselect\n    ID,\n    {sql}\n    JOB as job -- job\nfrom people\n")
    texts = texts_of(tmp_path)

    [feature, _] = texts.descriptions
    assert {name: str(draft) for name, draft in texts.drafts.items()} == ({feature: why} if why else {})
    assert texts.drafts_of([feature]) == texts.drafts and texts.drafts_of(["job"]) == {}


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("no earlier loan -- CONFIRM: no rows", "is marked as a guess (no rows)"),
        ("no row in old_loans", "contains the table name old_loans"),
        ("no row in (loans)", None),
    ],
)
def test_message_for_missing_rows_may_be_a_draft_too(tmp_path: Path, message: str, why: str | None) -> None:
    tables = RAW | {"old_loans": RAW["loans"]}
    sql = LOANS.replace("no earlier loan from us", message).replace("from loans", "from old_loans")
    (tmp_path / "loan_features.sql").write_text(sql)
    (tmp_path / "features.sql").write_text(FEATURES)
    queries = load(tmp_path, tables)
    roots = raw_lineage(lineage(queries, tables))["features"]
    texts = reason_texts(queries, roots, roots)

    assert {name: str(draft) for name, draft in texts.drafts.items()} == ({"loan_features": why} if why else {})
    assert texts.drafts_of(["loan_max"]) == texts.drafts and texts.drafts_of(["income"]) == {}
    assert texts.histories["loan_features"].message == message.split(" -- ")[0]


@pytest.mark.parametrize(
    ("others", "more"),
    [(0, ""), (1, "; 1 other text is a draft too"), (2, "; 2 other texts are drafts too")],
)
def test_message_names_the_first_draft_and_counts_the_others(others: int, more: str) -> None:
    drafts = {"debt": Draft(kind="column", name="DebtRatio")} | {f"f{n}": Draft(guess="?") for n in range(others)}
    expected = f"The text of debt contains the column name DebtRatio{more}. `credit-assets check` lists what to write."
    assert drafts_message(drafts) == expected
