"""Which SQL computed which features: read from the lake's history, through intermediate feature tables."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from credit_assets.book.queries import FeatureQuery, load
from credit_assets.features.versions import (
    changed_sql_files,
    commits_made_by,
    current_sql_versions,
    made_by_other_sql,
    sql_versions,
    training_sql_versions,
)
from credit_assets.lake.log import Commit
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake

FEATURES = "book/features"
LOANS = """-- Loans by applicant.
select ID, count(*) as loans -- the number of loans
from credits group by ID
"""
JOINED = """-- The applicant.
select ID, income, -- the income
    loans -- the number of loans
from applications left join by_loan using (ID)
"""
UNUSED = """-- Nobody reads it.
select ID, income as other -- another income
from applications
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, sql in {"by_loan": LOANS, "features": JOINED, "unused": UNUSED}.items():
        (tmp_path / f"{name}.sql").write_text(sql)
    return tmp_path


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def make(lake: Lake, queries: dict[str, FeatureQuery], batch: str, *names: str, content: str = "a") -> None:
    """Write the raw tables of the batch, or the named ones, with the provenance that the platform records."""
    for name in names or ("applications", "credits", *queries):
        query = queries.get(name)
        inputs = {f"book/{table}": lake.version(f"book/{table}") for table in query.inputs} if query else {}
        told = {"asset_code_version": query.version} if query else {"source_sha256": {f"{name}.csv": content}}
        with duckdb.connect() as con:
            lake.replace(con, "SELECT 1 AS ID", f"book/{name}", batch, Provenance(inputs=inputs, **told))


@pytest.mark.parametrize(
    ("change", "other"),
    [
        (("-- the income", "-- what the applicant earns"), False),
        (("select ID, income,", "select ID,\n\n    income,"), False),
        (("left join", "/* every applicant */ left join"), False),
        (("ID, income,", "ID, 2 * income as income,"), True),
        (("left join", "join"), True),
        (("loans --", "coalesce(loans, '0') as loans --"), True),
    ],
)
def test_version_depends_on_the_computation_and_not_on_comments_or_layout(folder, change, other):
    before = load(folder)["features"].version
    (folder / "features.sql").write_text(JOINED.replace(*change))
    assert (load(folder)["features"].version != before) is other


def test_text_literal_and_column_of_the_same_name_have_different_versions(folder):
    versions = set()
    for written in ("'loans'", '"loans"'):
        (folder / "features.sql").write_text(JOINED.replace("    loans", f"    {written} as loans"))
        versions.add(load(folder)["features"].version)
    assert len(versions) == 2


def test_current_versions_cover_exactly_the_queries_behind_the_features(folder):
    queries = load(folder)
    assert current_sql_versions(queries) == {name: queries[name].version for name in ("features", "by_loan")}


def test_batch_records_the_sql_of_every_table_behind_its_features(lake, folder):
    queries = load(folder)
    make(lake, queries, "2026-01")
    made = lake.batches(FEATURES)["2026-01"]
    assert sql_versions(lake.writes, FEATURES, made) == current_sql_versions(queries)
    assert made_by_other_sql(lake.writes, FEATURES, lake.version(FEATURES), queries) == {}


def test_changed_sql_is_named_for_each_batch_it_did_not_compute(lake, folder):
    make(lake, load(folder), "2026-01")
    (folder / "by_loan.sql").write_text(LOANS.replace("count(*)", "count(distinct amount)"))
    changed = load(folder)
    make(lake, changed, "2026-02")
    assert made_by_other_sql(lake.writes, FEATURES, lake.version(FEATURES), changed) == {"2026-01": ["by_loan.sql"]}


def test_features_rebuilt_from_an_outdated_table_still_count_as_other_sql(lake, folder):
    make(lake, load(folder), "2026-01")
    (folder / "by_loan.sql").write_text(LOANS.replace("count(*)", "count(distinct amount)"))
    changed = load(folder)
    make(lake, changed, "2026-01", "features")
    assert made_by_other_sql(lake.writes, FEATURES, lake.version(FEATURES), changed) == {"2026-01": ["by_loan.sql"]}
    make(lake, changed, "2026-01", "by_loan", "features")
    assert made_by_other_sql(lake.writes, FEATURES, lake.version(FEATURES), changed) == {}


def test_added_or_removed_file_counts_as_changed_sql():
    assert changed_sql_files({"features": "1", "gone": "2"}, {"features": "1", "new": "3"}) == ["gone.sql", "new.sql"]


def test_sql_of_an_earlier_version_is_found_whatever_was_written_since(lake, folder):
    first = load(folder)
    make(lake, first, "2026-01")
    read = lake.version(FEATURES)
    (folder / "features.sql").write_text(JOINED.replace("income,", "income / 12 as income,"))
    second = load(folder)
    make(lake, second, "2026-01", "features")
    make(lake, second, "2026-02")
    assert made_by_other_sql(lake.writes, FEATURES, read, first) == {}
    assert made_by_other_sql(lake.writes, FEATURES, read, second) == {"2026-01": ["features.sql"]}


def test_features_of_two_versions_of_one_file_match_neither(lake, folder):
    """Two files read a third one, and one of them was not rebuilt after the third was."""
    (folder / "by_loan.sql").write_text(LOANS.replace("from credits", "from credits semi join unused using (ID)"))
    (folder / "features.sql").write_text(JOINED.replace("using (ID)", "using (ID) semi join unused using (ID)"))
    first = load(folder)
    make(lake, first, "2026-01", "applications", "credits", "unused", "by_loan", "features")
    (folder / "unused.sql").write_text(UNUSED.replace("income as other", "2 * income as other"))
    second = load(folder)
    make(lake, second, "2026-01", "unused", "features")
    for queries in (first, second):
        assert "unused.sql" in made_by_other_sql(lake.writes, FEATURES, lake.version(FEATURES), queries)["2026-01"]


def test_earlier_features_of_the_same_sql_are_found_while_raw_rows_are_unchanged(lake, folder):
    def made_before_by(queries: dict[str, FeatureQuery]) -> list[Commit]:
        return commits_made_by(lake.writes, FEATURES, "2026-01", current_sql_versions(queries))

    first = load(folder)
    make(lake, first, "2026-01")
    make(lake, first, "2026-01", "features")
    by_first = lake.writes(FEATURES)["2026-01"]
    (folder / "by_loan.sql").write_text(LOANS.replace("count(*)", "count(distinct amount)"))
    second = load(folder)
    make(lake, second, "2026-01", "by_loan", "features")
    current = lake.batches(FEATURES)["2026-01"]
    assert (made_before_by(first), made_before_by(second)) == (by_first, [current])
    make(lake, second, "2026-01", "credits", "by_loan", "features")
    assert made_before_by(first) == by_first, "the same file, read again"
    make(lake, second, "2026-01", "credits", "by_loan", "features", content="b")
    assert made_before_by(first) == []


def test_sql_of_a_training_set_is_found_whatever_was_written_since(lake, folder):
    first = load(folder)
    make(lake, first, "2026-01")
    provenance = Provenance(inputs={FEATURES: lake.version(FEATURES)})
    with duckdb.connect() as con:
        version = lake.replace(con, "SELECT '2026-01' AS batch", "book/training_set", None, provenance)
        (folder / "features.sql").write_text(JOINED.replace("income,", "income / 12 as income,"))
        second = load(folder)
        make(lake, second, "2026-01")
        lake.replace(con, "SELECT '2026-01' AS batch", "book/training_set", None, provenance)
        learned = training_sql_versions(con, lake, "book/training_set", version, FEATURES)
    assert learned == current_sql_versions(first)
    assert changed_sql_files(learned, current_sql_versions(second)) == ["features.sql"]
