"""Features from relations, outside any asset."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from credit_assets.book.queries import FeatureQuery, load
from credit_assets.features.compute import compute_features, compute_query
from credit_assets.lake.provenance import BATCH, Provenance
from credit_assets.lake.tables import Lake

LOANS = """-- The customer's loans, summed.
select
    customer,
    count(*) as loans, -- number of loans
    sum(amount) / sum(paid) as amount_to_paid -- what was lent over what was paid
from loans
group by all
"""
FEATURES = """-- All that is known of a customer.
select
    customers.customer,
    income, -- yearly income
    loans, -- number of loans
    income / amount_to_paid as income_to_ratio -- income over what was lent per paid
from customers
left join by_loan using (customer)
"""
CUSTOMERS = "VALUES ('a''s', 100.0), ('b', 0.0), ('c', 'nan'::double), ('d', 30.0)) t(customer, income"
EXPECTED = {
    # 60 lent, 20 paid: a ratio of 3; nothing paid: an infinite ratio, stored as null; no loan: all null.
    "a's": (100.0, 2, 100 / 3),
    "b": (0.0, 1, None),
    "c": (None, None, None),
    "d": (30.0, 1, None),
}


@pytest.fixture
def queries(tmp_path: Path) -> dict[str, FeatureQuery]:
    (tmp_path / "by_loan.sql").write_text(LOANS)
    (tmp_path / "features.sql").write_text(FEATURES)
    return load(tmp_path, ["customers", "loans"])


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE customers AS FROM ({CUSTOMERS})")
        connection.execute(
            "CREATE TABLE loans AS FROM (VALUES ('a''s', 40.0, 20.0), ('a''s', 20.0, 0.0), ('b', 5.0, 0.0), "
            "('d', 0.0, 7.0)) t(customer, amount, paid)"
        )
        yield connection


def by_customer(relation: duckdb.DuckDBPyRelation) -> dict[str, tuple]:
    return {key: tuple(values) for key, *values in relation.fetchall()}


def test_features_have_one_row_per_applicant_with_finite_values_or_null(con, queries):
    assert by_customer(compute_features(con, queries)) == EXPECTED
    assert compute_features(con, queries).columns == list(queries["features"].columns)


@pytest.mark.parametrize("keys", [[], ["a's"], ["b", "d"], ["d", "nobody"], [*EXPECTED]])
def test_features_of_some_applicants_equal_theirs_among_all(con, queries, keys):
    assert by_customer(compute_features(con, queries, keys)) == {
        key: values for key, values in EXPECTED.items() if key in keys
    }


def test_non_finite_value_of_one_query_is_null_in_the_next(con, queries):
    """0 / infinity is 0, and 0 / null is null."""
    compute_features(con, queries)
    assert con.sql("SELECT amount_to_paid FROM by_loan WHERE customer = 'b'").fetchall() == [(None,)]


def test_features_computed_at_once_equal_those_stored_query_by_query(con, queries, tmp_path):
    """As in the assets, each query's rows are written to the lake and read again."""
    lake = Lake(tmp_path / "lake")
    at_once = compute_features(con, queries).order("customer").fetchall()
    with duckdb.connect() as other:
        for table in ("customers", "loans"):
            other.register(table, con.table(table).to_arrow_table())
        for name, query in queries.items():
            compute_query(other, query).create_view("_made", replace=True)
            lake.replace(other, "FROM _made", f"book/{name}", "2026-01", Provenance())
            other.execute(
                f"CREATE OR REPLACE VIEW {name} AS SELECT * EXCLUDE ({BATCH}) FROM ({lake.query(f'book/{name}')})"
            )
        assert other.sql("FROM features ORDER BY customer").fetchall() == at_once


def test_column_of_a_star_is_made_finite_only_in_its_own_query(con, tmp_path):
    (tmp_path / "by_loan.sql").write_text(LOANS)
    (tmp_path / "features.sql").write_text(
        "-- All that is known of a customer.\nselect\n    customers.customer,\n    by_loan.* exclude (customer),\n"
        "    2 * amount_to_paid as doubled -- twice what was lent over what was paid\n"
        "from customers\nleft join by_loan using (customer)\n"
    )
    queries = load(tmp_path, ["customers", "loans"])
    rows = by_customer(compute_features(con, queries))
    assert rows == {"a's": (2, 3.0, 6.0), "b": (1, None, None), "c": (None, None, None), "d": (1, 0.0, 0.0)}
    # Tables of queries are finite; this one is not, to show where values are replaced.
    con.execute("CREATE OR REPLACE VIEW by_loan AS SELECT 'b' AS customer, 1 AS loans, 'inf'::DOUBLE AS amount_to_paid")
    assert by_customer(compute_query(con, queries["features"]))["b"] == (1, math.inf, None)
