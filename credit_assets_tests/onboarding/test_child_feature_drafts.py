"""Drafted features of child tables: counts, means and last values of an applicant's rows."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credit_assets.book.book import Book
from credit_assets.onboarding.new import new
from credit_assets.schemas.duckdb_types import column_types
from credit_assets_tests.onboarding.drafts import marks, of_features, persons, sql
from credit_assets_tests.onboarding.lender import loans

pytestmark = pytest.mark.slow


def test_child_tables_give_counts_means_maxima_and_last_values(project, drafted):
    names = loans()["loan_id"]
    payments = {
        "loan_id": [names[0]] * 3 + [names[1]],
        "paid_on": ["2020-01-01", "2020-03-01", "2020-02-01", "2020-01-01"],
        "paid": [10, 20, 60, 5],
        "way": ["post", "bank", "post", "post"],
    }
    drafted({"payments": payments})
    assert of_features(
        project,
        "SELECT payments_rows, payments_paid_mean, payments_paid_max, payments_paid_last, payments_way_kinds, "
        "payments_way_last FROM features ORDER BY loan_id LIMIT 3",
    ) == [(3, 30.0, 60, 20, 2, "bank"), (1, 5.0, 5, 5, 1, "post"), (None,) * 6]
    assert "-- CONFIRM: every row of payments was known when the applicant applied" in sql(project, "payments_features")


def test_message_for_applicants_without_child_rows_is_left_to_be_written(project, drafted):
    bureau = {"loan_id": [f"L{n:04d}" for n in range(20)], "sums": [17 * n for n in range(20)]}
    done = drafted({"old_loans": bureau})
    book = Book.load(project, "book")
    queries = book.queries
    assert queries["old_loans_features"].no_row == "no record in old loans"
    assert set(queries["features"].row_of.values()) == {"old_loans_features"}
    [draft] = [draft for draft in done.to_write if draft.file == "sql/book/old_loans_features.sql" and draft.line == 2]
    assert "is marked as a guess (drafted from the table's name)" in draft.message


def test_child_rows_after_the_application_are_ignored(project, drafted):
    names = loans()["loan_id"]
    payments = {"loan_id": [names[0]] * 3, "paid_on": ["2020-01-01", "2020-02-01", "2020-02-02"], "paid": [10, 20, 60]}
    drafted({"payments": payments}, application_date=["01.02.2020"] * 40)
    got = of_features(project, "SELECT payments_rows, payments_paid_max FROM features ORDER BY loan_id LIMIT 1")
    assert got == [(2, 20)]
    assert "-- CONFIRM: a row was known at the application if none of its dates (paid_on) is later" in sql(
        project, "payments_features"
    )


def test_child_rows_with_any_date_after_the_application_are_ignored(project, drafted):
    payments = {
        "loan_id": [loans()["loan_id"][0]] * 4,
        "due_on": ["2020-01-01", "2020-01-02", "2020-01-03", "2020-02-02"],
        "seen_on": ["2020-01-01", "2020-02-02", None, "2020-01-01"],
        "sum": [1, 2, 4, 8],
    }
    drafted({"payments": payments}, application_date=["2020-02-01"] * 40)
    got = of_features(project, "SELECT payments_rows, payments_sum_max FROM features ORDER BY loan_id LIMIT 1")
    assert got == [(2, 4)]


def test_protected_late_and_price_columns_of_a_child_are_withheld_and_marked(project, drafted):
    of_child = {
        "loan_id": loans()["loan_id"],
        "sex": ["m", "f"] * 20,
        "age": [20, 30, 40, 51] * 10,
        "race": ["a", "b"] * 20,
        "birth_date": ["1970-01-31", "1980-02-01"] * 20,
        "recoveries": [0, 1, 2, 3] * 10,
        "closed_date": ["2019-01-01", "2023-01-01"] * 20,
        "int_rate": [3, 4] * 20,
        "income": [1, 2, 3] * 13 + [1],
        "seen": ["2018-01-01", "2018-01-02"] * 20,
    }
    done = drafted({"customers": of_child}, application_date=["2020-02-01"] * 40)
    book = Book.load(project, "book")
    assert set(book.portfolio.post_decision) == {"recoveries", "closed_date"}
    assert set(book.portfolio.left_out) == {"int_rate"}
    made = [name for name in book.queries["features"].descriptions if name.startswith("customers_")]
    assert sorted(made) == sorted(
        ["customers_rows"]
        + [f"customers_{of}_{how}" for of in ("int_rate", "income") for how in ("mean", "max", "last")]
    )
    marked = [mark.split(": a guess: ")[1] for mark in marks(done) if " looks protected " in mark]
    assert marked == [
        "sex looks protected (gender) and is left out",
        "age looks protected (age) and is left out",
        "race looks protected (race) and is left out",
        "birth_date looks protected (age) and is left out",
    ]


def test_table_without_features_is_reported(project, drafted):
    payments = {"payment_id": range(80), "loan_id": loans()["loan_id"] * 2, "sum": [1, 2] * 40}
    done = drafted({"payments": payments, "reminders": {"payment_id": [1, 2, 3], "letters": [0, 1, 0]}})
    assert [table.name for table in done.book.without_features] == ["reminders"]
    [told] = [mark for mark in marks(done) if "reminders: " in mark]
    assert "no features are made from it, as its rows belong to payments" in told


def test_personal_columns_of_a_child_give_no_features(project, drafted):
    drafted({"customers": {"loan_id": loans()["loan_id"], **persons(), "sum": [1, 2] * 20}})
    made = Book.load(project, "book").queries["customers_features"].descriptions
    assert set(made) == {"customers_rows", "customers_sum_mean", "customers_sum_max", "customers_state_kinds"}


def test_special_values_of_child_tables_are_counted_separately(project, drafted):
    bureau = {"loan_id": [f"L{n // 2:04d}" for n in range(80)], "months": [3, -7, -8, 5, 7] * 16}
    drafted({"bureau": bureau})
    got = of_features(
        project,
        "SELECT bureau_months_mean, bureau_months_code_7, bureau_months_code_8 FROM features ORDER BY loan_id LIMIT 3",
    )
    assert got == [(3, 1, 0), (5, 0, 1), (5, 0, 0)]


def test_child_table_joins_its_parent_although_ids_have_another_type(project, tmp_path):
    pq.write_table(pa.table(loans() | {"loan_id": [10000 + n for n in range(40)]}), tmp_path / "loans.parquet")
    visits = {"loan_id": [float(10000 + n // 2) for n in range(60)], "minutes": [float(n % 7) for n in range(60)]}
    visits["loan_id"][7] = None
    pq.write_table(pa.table(visits), tmp_path / "visits.parquet")
    done = new(project, "book", [tmp_path / "loans.parquet", tmp_path / "visits.parquet"])
    assert [(child.name, child.orphans) for child in done.book.children] == [("visits", 0)]
    models = Book.load(project, "book").contracts
    assert {column_types(models[table])["loan_id"] for table in ("applications", "visits")} == {"BIGINT"}
