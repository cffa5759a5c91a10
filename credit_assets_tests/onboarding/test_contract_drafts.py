"""Drafted contracts accept the first files and refuse values that were not in them."""

from __future__ import annotations

import ast
import itertools
import re
import uuid
from datetime import date, timedelta
from decimal import Decimal

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_assets.book.book import Book
from credit_assets.ingest.sources import Target
from credit_assets.ingest.typed_read import ingest
from credit_assets.lake.connections import connect
from credit_assets.lake.contracts import check as held_to
from credit_assets.lake.tables import Lake
from credit_assets.onboarding.contract_drafts import _python
from credit_assets.onboarding.files import BookError
from credit_assets.onboarding.new import new
from credit_assets.schemas.duckdb_types import column_types
from credit_assets_tests.onboarding.drafts import sql
from credit_assets_tests.onboarding.lender import loans, write


def test_drafted_contract_accepts_the_file_and_refuses_new_values(project, drafted):
    drafted(income=[None if n % 3 else 10.5 for n in range(40)])
    model = Book.load(project, "book").contracts["applications"]
    rows = pd.DataFrame(loans() | {"income": [None if n % 3 else 10.5 for n in range(40)]}).astype({"default": float})
    con = duckdb.connect()
    con.register("rows", rows)
    assert held_to(con, "SELECT * FROM rows", model, {}) == []
    for change, said in {
        "CASE WHEN purpose = 'car' THEN 'boat' ELSE purpose END AS purpose": "must be one of",
        "-amount AS amount": "must be at least 0",
        "amount * 1000 AS amount": "must be at most 100000",
        "'L0001' AS loan_id": "must be unique",
        '"default" + 5 AS "default"': "must be one of 0, 1",
        "nullif(purpose, 'car') AS purpose": "must not be empty",
    }.items():
        [broken] = held_to(con, f"SELECT * REPLACE ({change}) FROM rows", model, {})
        assert said in broken.check, broken


def test_category_seen_once_leaves_the_column_open(project, drafted):
    drafted(colour=["red", "blue"] + ["green"] * 38)
    assert "isin" not in project.config("book").with_suffix(".py").read_text().split("colour: ")[1].split("\n")[0]


def test_numbers_in_text_keep_their_notation_and_sign_in_the_contract(project, drafted):
    shares = [f"{n},5" for n in range(40)]
    columns = {"share": shares, "late": [*shares[:32], *["-9"] * 8]}
    drafted(**columns)
    model = Book.load(project, "book").contracts["applications"]
    con = duckdb.connect()
    con.register("rows", pd.DataFrame(loans() | columns).astype({"default": float}))
    assert held_to(con, "SELECT * FROM rows", model, {}) == []
    for value, share, late in (("1.250,5", 0, 0), ("-9", 1, 0), ("12.5", 1, 1), ("x", 1, 1)):
        for name, broken in (("share", share), ("late", late)):
            assert len(held_to(con, f"SELECT * REPLACE ('{value}' AS {name}) FROM rows", model, {})) == broken


WRITTEN = [
    (["1,234.5", "2.5", "n/a"], "must be a number such as 1,234.5 or 'n/a'"),
    (["1.234,5", "2,5", "3,5"], "must be a number such as 1.234,5"),
    (["12.5%", "3%", "4%"], "must be a number such as 12.5%"),
    (["$1,200", "($3)", "$4"], "must be a number such as ($1,234)"),
    (["31.05.2019", "01.06.2019", "?"], "must be a date such as 31.05.2019 or '?'"),
    (["May-2019", "Jun-2019", "Jul-2019"], "must be a date such as May-2019"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("values", "said"), WRITTEN)
def test_refused_value_is_explained_by_its_rule_and_not_by_a_pattern(project, drafted, values, said):
    columns = {"odd": list(itertools.islice(itertools.cycle(values), 40))}
    drafted(**columns)
    model = Book.load(project, "book").contracts["applications"]
    con = duckdb.connect()
    con.register("rows", pd.DataFrame(loans() | columns).astype({"default": float}))
    assert held_to(con, "SELECT * FROM rows", model, {}) == []
    [broken] = held_to(con, "SELECT * REPLACE ('no such value' AS odd) FROM rows", model, {})
    assert broken.check == said


def test_columns_named_like_imports_of_a_contract_are_valid(project, drafted):
    names = ("pa", "pd", "int", "float", "str", "Relation")
    drafted(
        {"payments": {"loan_id": loans()["loan_id"], **dict.fromkeys(names, [1, 2] * 20)}}, seen=["2020-01-01"] * 40
    )
    assert set(names) <= set(Book.load(project, "book").contracts["payments"].to_schema().columns)


@given(st.text(), st.lists(st.text(max_size=5), max_size=4))
def test_text_in_a_contract_equals_that_of_the_file(word, several):
    assert ast.literal_eval(_python(word)) == word
    assert ast.literal_eval(_python(several, 10)) == several


KEYS = {
    "decimal(38, 0)": pa.array([Decimal(10000 + n) for n in range(40)], pa.decimal128(38, 0)),
    "30 digits": pa.array([Decimal(10**29 + n) for n in range(40)], pa.decimal128(38, 0)),
    "decimal with two places": pa.array([Decimal(f"{2**53 + n}.00") for n in range(40)], pa.decimal128(38, 2)),
    "double": pa.array([float(10000 + n) for n in range(40)]),
    "beyond 2**53": pa.array([2**62 + n for n in range(40)]),
    "beyond 2**63": pa.array([2**63 + n for n in range(40)], pa.uint64()),
    "leading zeros": pa.array([f"{n:03}" for n in range(40)]),
    "uuid": pa.array([uuid.UUID(int=2**90 + n).bytes for n in range(40)], pa.uuid()),
}


@pytest.mark.slow
@pytest.mark.parametrize("ids", KEYS.values(), ids=KEYS)
def test_key_of_any_type_is_kept_digit_for_digit_from_draft_to_outcomes(project, tmp_path, ids):
    columns = {name: values for name, values in loans().items() if name not in ("loan_id", "default")}
    pq.write_table(pa.table({"loan_id": ids, **columns}), tmp_path / "loans.parquet")
    names = [str(name).removesuffix(".00").removesuffix(".0") for name in ids.to_pylist()]
    write(tmp_path / "defaults.csv", {"loan_id": names, "default": loans()["default"]})
    done = new(project, "book", [tmp_path / "loans.parquet", tmp_path / "defaults.csv"])
    assert (done.book.key, done.book.bads, done.book.goods, len(done.book.outcomes.parts)) == ("loan_id", 10, 30, 1)
    assert "loan_id," in sql(project) and "loan_id, --" not in sql(project)
    models = Book.load(project, "book").contracts
    folder = {"quarantine_folder": tmp_path / "quarantine", "scratch": tmp_path / "scratch", "max_bad_share": 0.0}
    with connect() as con:
        lake = Lake(tmp_path / "lake")
        loaded = ingest(
            con,
            lake,
            [tmp_path / "loans.parquet"],
            Target("book/applications", models["applications"], batch="1"),
            **folder,
        )
        parents = {"applications": f"SELECT loan_id FROM ({loaded.staged.query()})"}
        outcomes = Target("book/outcomes", models["outcomes"], parents, "1")
        later = ingest(con, lake, [tmp_path / "defaults.csv"], outcomes, **folder)
        for found in (loaded, later):
            assert found.rows_kept == 40
            kept = con.execute(f"SELECT cast(loan_id AS varchar) FROM ({found.staged.query()}) ORDER BY ALL").fetchall()
            assert [name for (name,) in kept] == sorted(names)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([n / 2 for n in range(40)], "it has fractions"),
        ([None, *range(39)], "it is empty in 1 of 40 rows"),
        ([1, *range(1, 40)], "it has 39 different values in 40 rows"),
        ([True, False] * 20, "it is a boolean"),
        ([date(2019, 1, 1) + timedelta(n) for n in range(40)], "it is a date"),
        ([f"2019-{n // 28 + 1:02}-{n % 28 + 1:02}" for n in range(40)], "its values are read as dates (%Y-%m-%d)"),
    ],
    ids=lambda it: str(it)[:20],
)
def test_unsuitable_key_is_refused_with_the_reason(project, tmp_path, values, why):
    columns = {name: column for name, column in loans().items() if name != "loan_id"}
    pq.write_table(pa.table({"ref": values, **columns}), tmp_path / "loans.parquet")
    with pytest.raises(BookError, match=re.escape(f"Column ref of loans.parquet cannot identify applicants: {why}")):
        new(project, "book", [tmp_path / "loans.parquet"], key="ref")


def test_empty_columns_keep_the_type_declared_in_parquet(project, tmp_path):
    nothing = {
        "rate": pa.nulls(40, pa.float64()),
        "ratio": pa.array([float("nan")] * 40),
        "day": pa.nulls(40, pa.timestamp("us")),
        "flag": pa.nulls(40, pa.bool_()),
        "word": pa.nulls(40),
    }
    pq.write_table(pa.table(loans() | nothing), tmp_path / "loans.parquet")
    new(project, "book", [tmp_path / "loans.parquet"])
    types = column_types(Book.load(project, "book").contracts["applications"])
    assert [types[name] for name in nothing] == ["DOUBLE", "DOUBLE", "TIMESTAMP", "BOOLEAN", "VARCHAR"]
