"""Feature SQL on every row that its contracts allow: the books of this repository pass, and failures are located."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import duckdb
import numpy as np
import pandera.pandas as pa
import pytest

from credit_assets.book.book import Book
from credit_assets.book.lineage import lineage
from credit_assets.book.queries import load
from credit_assets.features import edge_rows, totality
from credit_assets.features.compute import finite
from credit_assets.features.totality import Failure, failures
from credit_assets.schemas.duckdb_types import column_types
from credit_assets.schemas.table import Relation, Table
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("smallest", [1e-9, 5e-324])
@pytest.mark.parametrize("name", ["home_credit", "lending_club", "uci_credit_card"])
def test_no_row_that_a_contract_allows_breaks_a_feature(
    monkeypatch: pytest.MonkeyPatch, name: str, smallest: float
) -> None:
    monkeypatch.setattr(edge_rows, "SMALLEST", smallest)
    book = Book.load(Project(PROJECT), name)
    table, key = book.portfolio.application_table, book.portfolio.entity_key
    for seed in (1, 2):
        assert failures(book.queries, book.contracts, table, key, book.lineage, seed=seed) == []


class Cards(Table):
    """Cards."""

    card: np.int64 = pa.Field(unique=True, ge=1, description="Number")
    income: float = pa.Field(ge=0, le=1e9, nullable=True, description="Income")
    rate: str = pa.Field(description="Rate as text")


class Months(Table):
    """Months of cards."""

    card: np.int64 = pa.Field(ge=1, description="Number of the card")
    month: np.int16 = pa.Field(ge=-600, le=0, description="Month")
    balance: float = pa.Field(ge=-5e7, le=5e7, description="Balance")
    card_limit: np.int32 = pa.Field(ge=0, le=50_000_000, description="Limit")

    relations = (Relation("card", "cards", "card"),)

    class Config:
        unique: ClassVar[list[str]] = ["card", "month"]


MODELS: dict[str, type[Table]] = {"cards": Cards, "months": Months}
MONTHS = """-- Months.
with used as (
    select card, (balance / nullif(card_limit, 0))::decimal(18, 6) as used, balance::decimal(18, 3) as balance
    from months
)

select
    card,
    max(balance)::double as balance_max, -- highest balance
    {} -- the feature at hand
from used
group by card
"""
JOINED = """-- All.
select cards.card, income, -- income
    month_features.* exclude (card)
from cards
left join month_features using (card)
"""


def found(folder: Path, month_features: str, features: str = JOINED) -> list[Failure]:
    (folder / "month_features.sql").write_text(month_features)
    (folder / "features.sql").write_text(features)
    queries = load(folder, MODELS)
    direct = lineage(queries, {table: column_types(model) for table, model in MODELS.items()})
    return failures(queries, MODELS, "cards", "card", direct)


def test_sound_sql_has_no_failures(tmp_path: Path) -> None:
    assert found(tmp_path, MONTHS.format("max(used)::double as used_max,")) == []


def test_overflow_is_found_with_only_its_feature_and_row(tmp_path: Path) -> None:
    [failure] = found(tmp_path, MONTHS.format("sqrt(sum(used * used)::double) as used_squared,"))
    assert (failure.query, failure.feature) == ("month_features", "used_squared")
    assert "Overflow in multiplication of DECIMAL(18)" in failure.reason
    assert "months.balance = " in failure.values and "income" not in failure.values


def test_fault_in_a_shared_subquery_names_only_the_features_that_use_it(tmp_path: Path) -> None:
    shared = """-- Months.
with squares as (
    select card, (balance / nullif(card_limit, 0))::decimal(18, 6) as used, balance from months
),
sums as (
    select card, sum(used * used) as squared, max(balance) as balance from squares group by card
)
select
    card,
    sums.balance, -- highest balance
    other.squared::double as squared, -- square
from sums
join sums as other using (card)
"""
    [failure] = found(tmp_path, shared)
    assert failure.feature == "squared" and "Overflow in multiplication of DECIMAL(18)" in failure.reason


def test_fault_among_many_features_is_found_with_few_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    error = totality._Trial.error
    monkeypatch.setattr(
        totality._Trial, "error", lambda self, query, *rest: tried.append(query.sql) or error(self, query, *rest)
    )
    sound = "".join(f"max(balance) + {n} as balance_{n}, -- balance and {n}\n" for n in range(200))
    [failure] = found(tmp_path, MONTHS.format(f"{sound}sqrt(sum(used * used)::double) as used_squared,"))
    assert failure.feature == "used_squared" and "months.balance = " in failure.values
    assert len(tried) < 60, "one query a feature would be 200"


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("max(balance) / min(used)", "inf"),
        ("sum(balance) / sum(abs(balance))", "nan"),
        ("1e300 * max(balance) * 1e300", "inf"),
    ],
)
def test_non_finite_number_is_found(tmp_path: Path, expression: str, said: str) -> None:
    text = MONTHS.format(f"({expression})::double as odd,")
    failed = [failure for failure in found(tmp_path, text) if failure.query == "month_features"]
    assert [failure.feature for failure in failed] == ["odd"]
    assert said in failed[0].reason.lower() and "months.balance = " in failed[0].values


def test_text_that_is_no_number_is_found(tmp_path: Path) -> None:
    joined = JOINED.replace("income, -- income", "rate::double as rate, -- rate\n    income, -- income")
    [failure] = found(tmp_path, MONTHS.format("count(*) as months,"), joined)
    assert (failure.query, failure.feature) == ("features", "rate")
    assert "Could not convert string" in failure.reason and "cards.rate = " in failure.values


def test_lost_and_duplicated_applicants_are_found(tmp_path: Path) -> None:
    sound = MONTHS.format("count(*) as months,")
    [lost] = found(tmp_path, sound, JOINED.replace("left join", "join"))
    assert lost.feature is None and "applicants" in lost.reason and "left join" in lost.reason
    doubled = "-- Months.\nselect card,\n    balance -- balance\nfrom months\n"
    assert [(failure.query, "more than one row" in failure.reason) for failure in found(tmp_path, doubled)] == [
        ("month_features", True),
        ("features", True),
    ]


def test_many_failing_features_are_named_in_part_and_counted(tmp_path: Path) -> None:
    odd = " ".join(f"max(balance) / 0 * {n} as odd_{n}, -- odd {n}\n" for n in range(1, 8))
    failed = found(tmp_path, MONTHS.format(odd))
    assert [failure.feature for failure in failed] == ["odd_1", "odd_2", "odd_3"]
    assert "and so for 4 others" in failed[-1].reason


def test_non_finite_feature_is_stored_as_null() -> None:
    with duckdb.connect() as con:
        rows = con.sql(
            "SELECT * FROM (VALUES (1, 'inf'::DOUBLE, 'nan'::FLOAT, 'a'), (2, -0.0::DOUBLE, 1.5::FLOAT, 'b'), "
            "(3, '-inf'::DOUBLE, NULL, NULL)) t(k, x, y, word)"
        )
        made = finite(rows)
        assert made.columns == rows.columns and made.types == rows.types
        values = made.order("k").fetchall()
    assert values == [(1, None, None, "a"), (2, 0.0, 1.5, "b"), (3, None, None, None)]
    assert math.copysign(1, values[1][1]) == -1
