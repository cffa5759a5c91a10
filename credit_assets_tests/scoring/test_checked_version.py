"""The version that may score a batch, given the version that checked its features. A lake of a few rows, no Dagster."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from credit_assets.book.book import Book
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.registry.memory import Memory
from credit_assets.scoring.checked_version import NotChecked, checked_against, version_checked
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.bare_versions import register_bare
from credit_assets_tests.conftest import PROJECT

PORTFOLIO = Portfolio.load(Project(PROJECT), "home_credit")
FEATURES, FEATURE_DRIFT = PORTFOLIO.table("features"), PORTFOLIO.table("feature_drift")
BATCH = "2026-03"


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture
def book() -> Book:
    """A book whose champion is version 1; version 2 is registered."""
    registry = Memory().registry(PORTFOLIO.name)
    registry.promote(register_bare(registry), by="gate", why="a test")
    register_bare(registry)
    return Book(Project(PROJECT), PORTFOLIO, registry=registry)


def features_made(lake: Lake, con: duckdb.DuckDBPyConnection) -> int:
    return lake.replace(con, "FROM range(3)", FEATURES, BATCH, Provenance())


def checked(lake: Lake, con: duckdb.DuckDBPyConnection, features: int, version: int | None, run: str) -> None:
    """Record that a run checked this version of the feature table against a model version."""
    made_from = Provenance(inputs={FEATURES: features}, model_version=version, run_id=run)
    lake.replace(con, "FROM range(1)", FEATURE_DRIFT, BATCH, made_from)


def test_version_checked_in_the_same_run_scores_even_after_a_promotion(book, con, tmp_path) -> None:
    lake = Lake(tmp_path)
    made = features_made(lake, con)
    checked(lake, con, made, 1, "run")
    book.registry.promote(2, by="gate", why="in between")
    assert checked_against(lake, book, BATCH, made, {"run"}) == 1


def test_check_by_another_run_counts_while_its_version_is_champion(book, con, tmp_path) -> None:
    lake = Lake(tmp_path)
    made = features_made(lake, con)
    checked(lake, con, made, 1, "earlier")
    assert checked_against(lake, book, BATCH, made, {"run"}) == 1
    book.registry.promote(2, by="gate", why="in between")
    with pytest.raises(NotChecked, match="checked against version 1, but version 2 is the champion now"):
        checked_against(lake, book, BATCH, made, {"run"})


def test_features_rebuilt_since_the_check_are_not_scored(book, con, tmp_path) -> None:
    lake = Lake(tmp_path)
    checked(lake, con, features_made(lake, con), 1, "run")
    with pytest.raises(NotChecked, match=r"computed again after their check\. Run the job `score` for 2026-03"):
        checked_against(lake, book, BATCH, features_made(lake, con), {"run"})


def test_check_without_a_version_is_refused(book, con, tmp_path) -> None:
    lake = Lake(tmp_path)
    checked(lake, con, features_made(lake, con), None, "run")
    with pytest.raises(NotChecked, match=r"an earlier release made it\. Materialize it again"):
        version_checked(lake, book, BATCH)
