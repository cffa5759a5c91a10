"""Contracts compiled to SQL against Pandera's own result, and what cannot be compiled."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

import duckdb
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.lake import contracts
from credit_assets.lake.contracts import Violation, check, check_columns, faults, keys, orphans, relation_rules, rules
from credit_assets.schemas.duckdb_types import column_types
from credit_assets.schemas.home_credit import TABLES
from credit_assets.schemas.table import Relation, Table


class Loan(Table):
    """A column for every kind of check and storage type."""

    number: np.int64 = pa.Field(ge=0)
    grade: str = pa.Field(isin=["A", "B", "it's"])
    code: str = pa.Field(nullable=True, str_matches=r"[A-Z]\d", str_length={"min_value": 2, "max_value": 3})
    note: str = pa.Field(nullable=True, str_contains="x.z", notin=["xyz", "xaz"])
    ends: str = pa.Field(nullable=True, str_startswith="a", str_endswith="b%")
    amount: float = pa.Field(nullable=True, gt=0.1, lt=1e6)
    rate: float = pa.Field(in_range={"min_value": 0, "max_value": 1, "include_max": False})
    days: float = pa.Field(nullable=True, in_range_or_sentinel={"min_value": -10, "max_value": 0, "sentinel": 365243})
    flag: pd.Int8Dtype = pa.Field(nullable=True, isin=[0, 1])
    term: np.int16 = pa.Field(le=60, ne=13)
    open: bool = pa.Field(eq=True)
    since: pd.Timestamp = pa.Field(nullable=True, ge=pd.Timestamp("2020-01-02"))


TEXT = st.sampled_from(["A", "B", "C", "it's", "", "A1", "A12", "A123", "a1", "xyz", "xaz", "a x!z", "ab%", "é%"])
NUMBER = st.one_of(
    st.none(), st.sampled_from([math.nan, math.inf, -math.inf, 0.1, 365243.0]), st.floats(-11, 2, width=32)
)
LOANS = st.lists(
    st.tuples(
        st.integers(-2, 2**40),
        st.one_of(st.none(), TEXT),
        st.one_of(st.none(), TEXT),
        st.one_of(st.none(), TEXT),
        st.one_of(st.none(), TEXT),
        NUMBER,
        NUMBER,
        NUMBER,
        st.one_of(st.none(), st.integers(-1, 2)),
        st.sampled_from([-5, 12, 13, 60, 61]),
        st.booleans(),
        st.one_of(st.none(), st.sampled_from(pd.to_datetime(["2020-01-01", "2020-01-02", "2021-05-05"]).tolist())),
    ),
    min_size=1,
    max_size=40,
)


def frame(rows: list[tuple]) -> pd.DataFrame:
    columns = dict(zip(column_types(Loan), zip(*rows, strict=True), strict=True))
    types = {name: column.dtype.type for name, column in Loan.to_schema().columns.items()}
    text = {name for name, kind in column_types(Loan).items() if kind == "VARCHAR"}
    return pd.DataFrame(
        {name: pd.Series(values, dtype=object if name in text else types[name]) for name, values in columns.items()}
    )


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@settings(max_examples=15, deadline=None)
@given(rows=LOANS)
def test_every_row_is_judged_as_by_pandera(rows: list[tuple], con: duckdb.DuckDBPyConnection) -> None:
    loans = frame(rows)
    try:
        Loan.validate(loans, lazy=True)
        expected = set()
    except pa.errors.SchemaErrors as error:
        assert error.failure_cases["index"].notna().all(), "the frame itself must fit, only its values may not"
        expected = set(zip(error.failure_cases["index"], error.failure_cases["column"], strict=True))
    con.register("loans", loans.rename_axis("position").reset_index())
    found = con.execute(f"SELECT position, {faults(rules(Loan))} FROM loans").fetchall()
    assert {(position, told["column"]) for position, list_ in found for told in list_} == expected
    # DuckDB infers the type of a pandas column from its values; it must be given for a column without any.
    typed = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in column_types(Loan).items())
    violations = check(con, f"SELECT {typed} FROM loans", Loan, {})
    assert {violation.column for violation in violations} == {column for _, column in expected}


def test_violation_has_counts_and_examples(con: duckdb.DuckDBPyConnection) -> None:
    class Status(Table):
        status: str = pa.Field(isin=["C", "X"])

    source = "SELECT unnest(['C', 'Q', NULL, 'Q', 'R' || repeat('-', 100)]) AS status"
    assert check(con, source, Status, {}) == [
        Violation("status", "must not be empty", 1),
        Violation("status", "must be one of C, X", 3, ("Q", "R" + "-" * 39 + "...")),
    ]


class Person(Table):
    id: np.int32 = pa.Field(unique=True)


class Month(Table):
    person: np.int32
    agent: float = pa.Field(nullable=True)
    month: np.int8
    relations = (Relation("person", "people", "id"), Relation("agent", "people", "id", enforced=False))

    class Config:
        unique: ClassVar = ["person", "month"]


def test_keys_come_from_config_and_from_unique_columns() -> None:
    assert keys(Month) == [("person", "month")]
    assert keys(Person) == [("id",)]


def test_repeated_key_is_counted_with_all_its_rows(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "CREATE OR REPLACE TEMP TABLE months AS SELECT * FROM (VALUES "
        "(1::INTEGER, NULL::DOUBLE, 1::TINYINT), (1, 2, 1), (1, NULL, 2), (2, NULL, 1)"
        ") AS t(person, agent, month)"
    )
    assert check(con, "months", Month, {}) == [Violation("person, month", "must be unique", 2, ("1, 1",))]


KEY_PARTS = st.tuples(
    st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([-(2**31), 2**31 - 1])),
    st.one_of(st.none(), st.integers(-2, 2), st.sampled_from([-128, 127])),
)


@settings(max_examples=40, deadline=None)
@given(found=st.lists(KEY_PARTS, max_size=12))
@pytest.mark.parametrize("most_bits", [2**29, 1])
def test_repeated_keys_are_counted_with_and_without_a_bitmap(
    found: list[tuple[int | None, int | None]], most_bits: int, con: duckdb.DuckDBPyConnection
) -> None:
    con.execute("CREATE OR REPLACE TEMP TABLE months (person INTEGER, agent DOUBLE, month TINYINT)")
    con.executemany("INSERT INTO months VALUES ($1, NULL, $2)", found or [(0, 0)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contracts, "MOST_BITS", most_bits)
        violations = check(con, "months", Month, {})
    repeated = sum(count for count in Counter(found).values() if count > 1)
    assert [told.count for told in violations if told.check == "must be unique"] == [repeated] * (repeated > 0)


def test_orphan_violates_an_enforced_relation_and_is_counted_in_another(
    con: duckdb.DuckDBPyConnection,
) -> None:
    con.execute(
        "CREATE OR REPLACE TEMP TABLE months AS SELECT * FROM (VALUES "
        "(1::INTEGER, NULL::DOUBLE, 1::TINYINT), (7, 1, 1), (1, 9, 2)) AS t(person, agent, month)"
    )
    parents = {"people": "SELECT unnest([1, 2, NULL]) AS id"}
    assert check(con, "months", Month, parents) == [Violation("person", "must occur in people.id", 1, ("7",))]
    assert orphans(con, "months", Month, parents) == [Violation("agent", "must occur in people.id", 1, ("9.0",))]
    assert [rule.column for rule in relation_rules(Month, parents)] == ["person"]
    assert relation_rules(Month, {}) == []


def test_missing_extra_and_differently_typed_columns_are_reported(con: duckdb.DuckDBPyConnection) -> None:
    source = "SELECT 1::BIGINT AS person, 1::TINYINT AS month, 'x' AS other"
    assert check_columns(con, source, Month) == [
        Violation("person", "column is BIGINT, the contract requires INTEGER", 0),
        Violation("agent", "column is missing", 0),
        Violation("other", "column is not in the contract", 0),
    ]
    assert check(con, source, Month, {}) == check_columns(con, source, Month)


def test_empty_table_violates_nothing(con: duckdb.DuckDBPyConnection) -> None:
    empty = "SELECT 1::INTEGER AS person, 1::DOUBLE AS agent, 1::TINYINT AS month WHERE false"
    assert check(con, empty, Month, {"people": "SELECT 1 AS id"}) == []


def test_types_are_read_from_the_model() -> None:
    assert column_types(Loan) == {
        "number": "BIGINT",
        "grade": "VARCHAR",
        "code": "VARCHAR",
        "note": "VARCHAR",
        "ends": "VARCHAR",
        "amount": "DOUBLE",
        "rate": "DOUBLE",
        "days": "DOUBLE",
        "flag": "TINYINT",
        "term": "SMALLINT",
        "open": "BOOLEAN",
        "since": "TIMESTAMP",
    }


class OfTheWholeTable(Table):
    a: int

    @pa.dataframe_check
    def grows(cls, rows: pd.DataFrame) -> bool:
        return bool(rows["a"].is_monotonic_increasing)


class OfOurOwn(Table):
    a: int

    @pa.check("a")
    def odd(cls, values: pd.Series) -> pd.Series:
        return values % 2 == 1


class TextInNumbers(Table):
    a: int = pa.Field(isin=["1", "2"])


class WarningOnly(Table):
    a: int = pa.Field(ge=1, raise_warning=True)


class LookingAhead(Table):
    a: str = pa.Field(str_matches="(?=a)b")


class OfObjects(Table):
    a: object


@pytest.mark.parametrize(
    "model, told",
    [
        (OfTheWholeTable, "checks of the whole table"),
        (OfOurOwn, "OfOurOwn.a: check odd"),
        (TextInNumbers, "compared with the value '1'"),
        (WarningOnly, "warns"),
        (LookingAhead, "does not work in DuckDB"),
        (OfObjects, "has no counterpart"),
    ],
)
def test_check_that_sql_cannot_express_is_refused_and_not_skipped(model: type[Table], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        rules(model)


@pytest.mark.parametrize("table", TABLES)
def test_every_home_credit_contract_compiles(table: str, con: duckdb.DuckDBPyConnection) -> None:
    types = column_types(TABLES[table])
    nothing = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in types.items())
    assert check(con, f"SELECT {nothing} WHERE false", TABLES[table], {}) == []
    assert len(rules(TABLES[table])) >= 2
