"""Rows at the edges of contracts: they meet the contracts and reach every edge."""

from __future__ import annotations

import datetime
import re
from typing import ClassVar

import duckdb
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.book.book import Book
from credit_assets.features import matching_texts
from credit_assets.features.edge_rows import MAX_CHILD_ROWS, edge_tables, edge_values
from credit_assets.features.matching_texts import texts_that_match
from credit_assets.lake.contracts import check
from credit_assets.schemas.table import Relation, Table
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT


class Loans(Table):
    """Loans."""

    loan: str = pa.Field(unique=True, str_matches=r"L\d{4}$", description="Number")
    amount: float = pa.Field(gt=0, le=5000, description="Amount")
    grade: str = pa.Field(isin=["A", "B"], nullable=True, description="Grade")
    note: str | None = pa.Field(nullable=True, description="Note")
    opened: pd.Timestamp = pa.Field(ge=datetime.datetime(2001, 5, 1), description="Day")
    employed: np.int32 = pa.Field(
        in_range_or_sentinel={"min_value": -100, "max_value": 0, "sentinel": 365243}, description="Days"
    )


class Payments(Table):
    """Payments of loans."""

    loan: str = pa.Field(description="Number of the loan")
    month: np.int16 = pa.Field(ge=-3, le=0, description="Month")
    paid: float = pa.Field(ge=0, le=10, nullable=True, description="Paid")

    relations = (Relation("loan", "loans", "loan"),)

    class Config:
        unique: ClassVar[list[str]] = ["loan", "month"]


SMALL: dict[str, type[Table]] = {"loans": Loans, "payments": Payments}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", ["home_credit", "lending_club", "uci_credit_card"])
def test_generated_rows_meet_every_contract_and_relation(name: str, seed: int) -> None:
    book = Book.load(Project(PROJECT), name)
    drawn = edge_tables(book.contracts, book.portfolio.application_table, book.portfolio.entity_key, seed)
    with duckdb.connect() as con:
        for table, rows in drawn.items():
            con.register(table, rows.rows)
        for table, rows in drawn.items():
            assert check(con, table, book.contracts[table], {parent: parent for parent in drawn}) == []
            assert rows.rows.num_rows >= 80


def test_every_edge_of_a_column_occurs_in_some_row() -> None:
    with duckdb.connect() as con:
        edges = edge_values(con, Loans)
    assert edges["amount"][0] == 1e-9 and edges["amount"][-1] == 5000
    assert edges["grade"] == ["A", "B", None]
    assert {"", " ", "9" * 400, None} <= set(edges["note"])
    assert edges["opened"][0] == datetime.datetime(2001, 5, 1)
    assert {-100, -1, 0, 365243} <= set(edges["employed"]) and min(edges["employed"]) == -100
    rows = edge_tables(SMALL, "loans", "loan")["loans"].rows
    for column in ("amount", "grade", "note", "opened", "employed"):
        assert set(edges[column]) == set(rows.column(column).to_pylist())
    pairs = set(zip(rows.column("employed").to_pylist(), rows.column("grade").to_pylist(), strict=True))
    assert len(pairs) >= 0.8 * len(edges["employed"]) * len(edges["grade"])


def test_columns_of_every_type_are_generated() -> None:
    moment = pd.Timestamp("2020-03-01 12:00", tz="UTC")
    kinds = {
        "zoned": (pd.DatetimeTZDtype("ns", "UTC"), {"ge": moment}),
        "moment": (pd.Timestamp, {"le": pd.Timestamp("2020-03-01")}),
        "flag": (pd.BooleanDtype, {}),
        "tiny": (np.int8, {}),
        "unsigned": (np.uint16, {"le": 9}),
        "single": (np.float32, {"gt": 0}),
        "word": (str, {"str_startswith": "ab"}),
        "sized": (str, {"str_length": {"min_value": 3, "max_value": 5}}),
        "other": (str, {"notin": ["a"]}),
    }
    body = {
        "__doc__": "Every type.",
        "__annotations__": {"key": int} | {name: kind for name, (kind, _) in kinds.items()},
        "key": pa.Field(unique=True, description="Key"),
        **{name: pa.Field(description=name, **rules) for name, (_, rules) in kinds.items()},
    }
    model = type("EveryType", (Table,), body)
    with duckdb.connect() as con:
        values = edge_values(con, model)
        assert all(values.values()), {name for name, some in values.items() if not some}
        con.register("drawn", edge_tables({"all": model}, "all", "key")["all"].rows)
        assert check(con, "drawn", model, {}) == []
    assert values["moment"][-1] == datetime.datetime(2020, 3, 1) and values["flag"] == [False, True]
    assert (values["tiny"][0], values["tiny"][-1], values["unsigned"][-1]) == (-128, 127, 9)


def test_applicants_have_no_one_or_many_child_rows() -> None:
    drawn = edge_tables(SMALL, "loans", "loan")
    of = drawn["payments"].rows.column("loan").to_pylist()
    loans = drawn["loans"].rows.column("loan").to_pylist()
    counts = {loan: of.count(loan) for loan in loans}
    assert set(counts.values()) >= {0, 1, 2, 4}  # four months at most are unique
    assert [loans[owner] for owner in drawn["payments"].applicants] == of
    book = Book.load(Project(PROJECT), "home_credit")
    bureau = edge_tables(book.contracts, book.portfolio.application_table, book.portfolio.entity_key)["bureau"]
    assert max(map(bureau.applicants.count, set(bureau.applicants))) == MAX_CHILD_ROWS


def test_generated_rows_are_reproducible() -> None:
    first, second = (edge_tables(SMALL, "loans", "loan") for _ in range(2))
    other = edge_tables(SMALL, "loans", "loan", seed=2)
    assert first == second and not first["loans"].rows.equals(other["loans"].rows)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(-(2**40), 2**40), st.integers(0, 2**40), st.sampled_from(["ge", "gt"]), st.sampled_from(["le", "lt"])
)
def test_both_bounds_of_a_number_are_generated_and_nothing_beyond(low: int, width: int, lower: str, upper: str) -> None:
    high = low + width
    least, greatest = low + (lower == "gt"), high - (upper == "lt")
    body = {
        "__annotations__": {"x": np.int64},
        "__doc__": "One number.",
        "x": pa.Field(**{lower: low, upper: high}, description="A number"),
    }
    model = type("OneNumber", (Table,), body)
    with duckdb.connect() as con:
        values = edge_values(con, model)["x"]
    assert all(least <= value <= greatest for value in values)
    if least <= greatest:
        assert {values[0], values[-1]} == {least, greatest}


@pytest.mark.parametrize(
    "pattern",
    [
        r"\d{4}-\d{2}-\d{2}$",
        r"[A-Z][a-z]{2}-\d{4}$|\d{4}-\d{2}-\d{2}$",
        r" *\d+(\.\d+)?(e-\d+)? ?%?$",
        r"(?:[^0-9]\w|a.c|\S\s\D)$",
        r"(Mr|Mrs)? ?\w{1,5}?$",
    ],
)
def test_texts_match_the_pattern_they_are_generated_from(pattern: str) -> None:
    texts = texts_that_match(pattern)
    assert len(texts) > 5 and all(re.match(pattern, text) for text in texts)
    if "*" in pattern:
        assert {len(text) > 100 for text in texts} == {True, False}


def test_unsupported_pattern_gives_no_texts() -> None:
    assert texts_that_match(r"(?=a)b") == [] and texts_that_match(r"(a)\1") == []


def test_python_without_the_regex_parser_gives_no_texts_of_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(matching_texts, "import_module", moved)
    assert texts_that_match("[0-9]{4}") == []
    with duckdb.connect() as con:
        assert edge_values(con, Loans)["grade"] == ["A", "B", None]
