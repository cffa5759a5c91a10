"""The contract of the training set: all features except those left out, and which may be encoded."""

from __future__ import annotations

from pathlib import Path

import pytest

from credit_assets.book.lineage import lineage, raw_lineage
from credit_assets.book.queries import FeatureQuery, load
from credit_assets.features.contract import (
    FeatureError,
    check_encodings,
    feature_contracts,
    training_set_contract,
)
from credit_assets.features.guard import made_from
from credit_assets.schemas.duckdb_types import column_types
from credit_assets.schemas.table import Table

SQL = """-- Features of a loan, for tests.
select
    id,
    income, -- the income
    purpose, -- what the loan is for
    rate / income as price, -- the price over the income
    (select max(Grade) from loans) as grade_beside -- a grade of another table
from applications
"""


class Applications(Table):
    """Applications."""

    id: int
    income: float
    purpose: str
    rate: float


class Loans(Table):
    """Loans."""

    id: int
    Grade: str


RAW: dict[str, type[Table]] = {"applications": Applications, "loans": Loans}


@pytest.fixture
def query(tmp_path: Path) -> FeatureQuery:
    (tmp_path / "features.sql").write_text(SQL)
    return load(tmp_path, RAW)["features"]


@pytest.fixture
def features(query: FeatureQuery) -> type[Table]:
    return feature_contracts({"features": query}, RAW, "id")["features"]


def test_feature_made_from_an_excluded_column_is_excluded_with_the_reason(query: FeatureQuery) -> None:
    schemas = {table: column_types(model) for table, model in RAW.items()}
    roots = raw_lineage(lineage({"features": query}, schemas))["features"]
    wanted = {name: roots[name] for name in query.descriptions}
    assert made_from(wanted, {"rate": "our own price", "grade": "our own grade"}) == {
        "price": "applications.rate: our own price",
        "grade_beside": "loans.Grade: our own grade",
    }
    assert made_from(wanted, {}) == {}


def test_training_set_holds_every_feature_but_the_excluded_ones(query: FeatureQuery, features: type[Table]) -> None:
    whole = training_set_contract(query, features, "id", left_out=()).to_schema().columns
    assert list(whole) == ["id", "income", "purpose", "price", "grade_beside", "batch", "target", "fold"]
    assert whole["price"].description == "the price over the income"
    kept = training_set_contract(query, features, "id", left_out=["price", "grade_beside"])
    assert list(kept.to_schema().columns) == ["id", "income", "purpose", "batch", "target", "fold"]
    assert column_types(kept)["income"] == "DOUBLE"


def test_excluding_every_feature_is_refused(query: FeatureQuery, features: type[Table]) -> None:
    with pytest.raises(FeatureError, match="left_out: no feature is left"):
        training_set_contract(query, features, "id", left_out=list(query.descriptions))


@pytest.mark.parametrize(("feature", "why"), [("income", "is a number already"), ("purpos", "is not a feature")])
def test_only_text_features_may_be_encoded(features: type[Table], feature: str, why: str) -> None:
    check_encodings(features, ["purpose", "grade_beside"])
    with pytest.raises(FeatureError, match=f"training.encodings: {feature} {why}"):
        check_encodings(features, ["purpose", feature])
