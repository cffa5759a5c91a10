"""The drift of one batch against its model version, without Dagster: an in-memory registry and a lake of a few rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from credit_assets.book.book import Book
from credit_assets.features.versions import current_sql_versions
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.monitoring.batch_drift import (
    as_learned,
    champion_of,
    drift_of_scores,
    earlier_volumes,
    measure_against_version,
)
from credit_assets.monitoring.errors import DeletedVersion, MissingFeatures, NoChampion
from credit_assets.monitoring.reference import Reference
from credit_assets.monitoring.version_references import VersionReferences, log_references
from credit_assets.registry.errors import RegistryError
from credit_assets.registry.memory import Memory
from credit_assets.registry.version import ModelVersion
from credit_assets.settings.drift import DriftConfig
from credit_assets_tests.bare_versions import register_bare
from credit_assets_tests.registry.versions import version_made_from
from credit_assets_tests.small_project import BOOK, FEW_FEATURES, make_project

CONFIG = DriftConfig()
FEATURES, TRAINING_SET = f"{BOOK}/features", f"{BOOK}/training_set"


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture
def book(tmp_path: Path) -> Book:
    project = make_project(tmp_path / "project", sql=FEW_FEATURES)
    loaded = Book.load(project, BOOK)
    return Book(project, loaded.portfolio, registry=Memory().registry(BOOK))


def incomes(con: duckdb.DuckDBPyConnection, first: int) -> duckdb.DuckDBPyRelation:
    return con.sql(f"SELECT (i + {first})::DOUBLE AS income FROM range(2000) t(i)")


def registered(book: Book, con: duckdb.DuckDBPyConnection, at_promotion: int | None = None) -> ModelVersion:
    """A version that learned from incomes of 0 to 1999 and was promoted on incomes from `at_promotion` on."""
    version = book.registry.get(register_bare(book.registry))
    learned = Reference.build(incomes(con, 0), ["income"], CONFIG)
    population = None
    if at_promotion is not None:
        population = Reference.build(incomes(con, at_promotion), ["income"], CONFIG)
    log_references(book.registry, version, VersionReferences(learned, population, test_rows=0))
    return version


def test_shift_is_judged_by_the_training_data_without_a_population(book, con) -> None:
    found = measure_against_version(book.registry, registered(book, con), incomes(con, 1500), CONFIG, of_score=False)
    assert found.milder["verdict"].tolist() == ["shifted"]
    pd.testing.assert_frame_equal(found.milder, found.learned)
    pd.testing.assert_frame_equal(found.since, found.learned)


def test_shift_present_at_the_promotion_is_not_reported_again(book, con) -> None:
    found = measure_against_version(
        book.registry, registered(book, con, 1500), incomes(con, 1500), CONFIG, of_score=False
    )
    assert found.learned["verdict"].tolist() == ["shifted"]
    assert found.since["verdict"].tolist() == ["stable"]
    assert found.milder["verdict"].tolist() != ["shifted"]


def test_feature_missing_in_the_batch_is_named(book, con) -> None:
    with pytest.raises(MissingFeatures, match="needs income, which the batch's features do not contain") as missing:
        measure_against_version(
            book.registry, registered(book, con), con.sql("SELECT 1 AS age"), CONFIG, of_score=False
        )
    assert missing.value.features == ("income",)


def test_nothing_is_compared_without_a_champion(book) -> None:
    with pytest.raises(NoChampion, match=f"Portfolio {BOOK} has no champion"):
        champion_of(book.registry)


def test_scores_of_a_deleted_version_are_refused(book, con, tmp_path) -> None:
    scores = con.sql("SELECT 0.1 AS pd, 7 AS model_version")
    with pytest.raises(DeletedVersion, match="which scored 2026-03, is no longer registered") as gone:
        drift_of_scores(con, Lake(tmp_path / "lake"), book, "2026-03", scores, pd.DataFrame())
    assert gone.value.number == 7


def test_volumes_are_those_of_earlier_batches(con, tmp_path) -> None:
    lake = Lake(tmp_path / "lake")
    for batch, rows in (("2026-02", 20), ("2026-01", 10), ("2026-03", 30), ("2026-04", 40)):
        lake.replace(con, f"FROM range({rows})", FEATURES, batch, Provenance())
    assert sorted(earlier_volumes(lake, FEATURES, "2026-03")) == [10, 20]


@pytest.mark.parametrize(
    ("learned", "made", "passed", "mend"),
    [
        ("now", "now", True, ""),
        ("now", "before", False, "run `ingest` and `score` for the batch"),
        ("before", "now", False, f"`credit-assets train --portfolio {BOOK}` trains a candidate"),
    ],
)
def test_features_by_other_sql_than_learned_from_are_named_with_advice(
    book, con, tmp_path, learned, made, passed, mend
) -> None:
    lake, sql = Lake(tmp_path / "lake"), {"now": current_sql_versions(book.queries)["features"], "before": "older"}

    def make(batch: str, code: str) -> int:
        return lake.replace(con, "FROM range(3)", FEATURES, batch, Provenance(asset_code_version=sql[code]))

    before = make("2026-01", learned)
    rows = "SELECT '2026-01' AS batch, 'train' AS fold"
    training_set = lake.replace(con, rows, TRAINING_SET, None, Provenance(inputs={FEATURES: before}))
    read = make("2026-02", made)
    version = version_made_from({TRAINING_SET: training_set}, number=7)
    verdict = as_learned(con, lake, book, version, "2026-02", read)
    assert verdict.passed is passed
    assert mend in verdict.message
    assert ("features.sql" in verdict.message) is not passed


def test_version_without_a_reference_is_a_registry_error(book, con) -> None:
    bare = book.registry.get(register_bare(book.registry, gated=False))
    with pytest.raises(RegistryError):
        measure_against_version(book.registry, bare, incomes(con, 0), CONFIG, of_score=False)
