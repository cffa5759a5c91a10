"""The batches that a training may learn from, without Dagster, on a lake of a few rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from credit_assets.book.book import Book
from credit_assets.features.guard import LeakageError
from credit_assets.features.training_inputs import (
    FeaturesOfOtherSql,
    SyntheticMixture,
    load_training_rows,
    refuse_features_of_other_sql,
    refuse_synthetic_mixture,
)
from credit_assets.features.versions import current_sql_versions
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets_tests.small_project import BOOK, FEW_FEATURES, make_project

FEATURES = f"{BOOK}/features"


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book.load(make_project(tmp_path / "project", sql=FEW_FEATURES), BOOK)


@pytest.mark.parametrize(("synthetic", "refused"), [((), False), (("2026-01", "2026-02"), False), (("2026-02",), True)])
def test_synthetic_and_real_batches_are_never_mixed(book, con, tmp_path, synthetic, refused) -> None:
    lake = Lake(tmp_path / "lake")
    for batch in ("2026-01", "2026-02"):
        lake.replace(con, "FROM range(3)", FEATURES, batch, Provenance(synthetic=batch in synthetic))
    if not refused:
        refuse_synthetic_mixture(lake, book.portfolio)
        return
    with pytest.raises(SyntheticMixture, match="Batches 2026-02 of home_credit are synthetic") as mixture:
        refuse_synthetic_mixture(lake, book.portfolio)
    assert mixture.value.synthetic == ("2026-02",)


def test_features_of_other_sql_are_refused_if_newer_and_skipped_if_older(book, con, tmp_path) -> None:
    lake, current = Lake(tmp_path / "lake"), current_sql_versions(book.queries)["features"]
    for batch, code in (("2026-01", "older"), ("2026-02", "older"), ("2026-03", current), ("2026-04", "older")):
        made = lake.replace(con, "FROM range(3)", FEATURES, batch, Provenance(asset_code_version=code))
    refuse_features_of_other_sql(lake, book.portfolio, book.queries, made, {"2026-03"})
    with pytest.raises(FeaturesOfOtherSql, match=r"The features of 2026-02, 2026-04 were made by other SQL") as other:
        refuse_features_of_other_sql(lake, book.portfolio, book.queries, made, {"2026-02", "2026-03"})
    assert other.value.batches == ("2026-02", "2026-04")
    assert other.value.files == ("features.sql",)


def test_rows_outside_the_test_are_loaded_with_the_excluded_columns(book, con) -> None:
    applicants = "FROM range(400) t(i), (VALUES ('2026-01'), ('2026-02')) b(batch)"
    key, bad = "i + 1000 * right(batch, 1)::INT AS SK_ID_CURR, batch", "(i % 5 = 0)::INT"
    features = f"{key}, (i * 7919 % 400)::DOUBLE AS income, {bad}::DOUBLE AS arrears"
    con.sql(f"SELECT {features} {applicants}").create_view("_features")
    con.sql(f"SELECT {key}, {bad} AS TARGET {applicants}").create_view("_applications")
    con.sql(f"SELECT {key}, NULL::INT AS TARGET {applicants} WHERE false").create_view("_outcomes")
    found = load_training_rows(con, book.portfolio, ["income"], {"arrears": "known too late"})
    assert found.rows.columns == ["SK_ID_CURR", "batch", "income", "target", "fold"]
    assert set(found.learned["batch"]) == {"2026-01"}
    assert set(found.learned["fold"]) == {"train", "valid"}
    assert found.split.groupby("batch")["rows"].sum().to_dict() == {"2026-01": 400, "2026-02": 400}
    assert list(found.hidden.columns) == ["arrears"]
    assert list(found.reproduced) == []
    alone = found.auc_of_each(book.portfolio, ["income"], {"income": ["applications.AMT_INCOME_TOTAL"]})
    assert 0.4 < alone["income"] < 0.6
    with pytest.raises(LeakageError, match="income"):
        found.auc_of_each(book.portfolio, ["income"], {"income": ["applications.TARGET"]})
