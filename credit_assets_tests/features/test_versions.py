"""Which SQL made what: read from the lake's history, through tables of features that others are made from."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from credit_assets.book.queries import FeatureQuery, load
from credit_assets.features.versions import (
    differing,
    learned_from,
    made_before,
    made_by,
    made_by_other_sql,
    stands_now,
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
    """Write the raw tables of the batch, or what is named, with what the platform notes of each."""
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
def test_a_version_is_of_what_is_computed_and_not_of_what_is_said(folder, change, other):
    before = load(folder)["features"].version
    (folder / "features.sql").write_text(JOINED.replace(*change))
    assert (load(folder)["features"].version != before) is other


def test_text_and_a_column_of_the_same_letters_are_not_the_same(folder):
    versions = set()
    for written in ("'loans'", '"loans"'):
        (folder / "features.sql").write_text(JOINED.replace("    loans", f"    {written} as loans"))
        versions.add(load(folder)["features"].version)
    assert len(versions) == 2


def test_what_stands_now_is_all_that_the_features_are_made_by_and_no_more(folder):
    queries = load(folder)
    assert stands_now(queries) == {name: queries[name].version for name in ("features", "by_loan")}


def test_a_batch_remembers_the_sql_of_every_table_behind_its_features(lake, folder):
    queries = load(folder)
    make(lake, queries, "2026-01")
    made = lake.batches(FEATURES)["2026-01"]
    assert made_by(lake.writings, FEATURES, made) == stands_now(queries)
    assert made_by_other_sql(lake.writings, FEATURES, lake.version(FEATURES), queries) == {}


def test_changed_sql_is_named_for_each_batch_that_it_did_not_make(lake, folder):
    make(lake, load(folder), "2026-01")
    (folder / "by_loan.sql").write_text(LOANS.replace("count(*)", "count(distinct amount)"))
    changed = load(folder)
    make(lake, changed, "2026-02")
    assert made_by_other_sql(lake.writings, FEATURES, lake.version(FEATURES), changed) == {"2026-01": ["by_loan.sql"]}


def test_features_made_again_of_a_table_that_was_not_are_still_of_the_other_sql(lake, folder):
    make(lake, load(folder), "2026-01")
    (folder / "by_loan.sql").write_text(LOANS.replace("count(*)", "count(distinct amount)"))
    changed = load(folder)
    make(lake, changed, "2026-01", "features")
    assert made_by_other_sql(lake.writings, FEATURES, lake.version(FEATURES), changed) == {"2026-01": ["by_loan.sql"]}
    make(lake, changed, "2026-01", "by_loan", "features")
    assert made_by_other_sql(lake.writings, FEATURES, lake.version(FEATURES), changed) == {}


def test_a_file_that_came_or_went_makes_a_difference():
    assert differing({"features": "1", "gone": "2"}, {"features": "1", "new": "3"}) == ["gone.sql", "new.sql"]


def test_what_a_version_held_is_judged_whatever_was_made_since(lake, folder):
    first = load(folder)
    make(lake, first, "2026-01")
    read = lake.version(FEATURES)
    (folder / "features.sql").write_text(JOINED.replace("income,", "income / 12 as income,"))
    second = load(folder)
    make(lake, second, "2026-01", "features")
    make(lake, second, "2026-02")
    assert made_by_other_sql(lake.writings, FEATURES, read, first) == {}
    assert made_by_other_sql(lake.writings, FEATURES, read, second) == {"2026-01": ["features.sql"]}


def test_features_of_two_versions_of_one_file_are_of_neither(lake, folder):
    """Two files read a third, and one of them was not made again after the third was."""
    (folder / "by_loan.sql").write_text(LOANS.replace("from credits", "from credits semi join unused using (ID)"))
    (folder / "features.sql").write_text(JOINED.replace("using (ID)", "using (ID) semi join unused using (ID)"))
    first = load(folder)
    make(lake, first, "2026-01", "applications", "credits", "unused", "by_loan", "features")
    (folder / "unused.sql").write_text(UNUSED.replace("income as other", "2 * income as other"))
    second = load(folder)
    make(lake, second, "2026-01", "unused", "features")
    for queries in (first, second):
        assert "unused.sql" in made_by_other_sql(lake.writings, FEATURES, lake.version(FEATURES), queries)["2026-01"]


def test_what_a_sql_made_before_is_found_while_the_raw_rows_are_the_same(lake, folder):
    def made_before_by(queries: dict[str, FeatureQuery]) -> list[Commit]:
        return made_before(lake.writings, FEATURES, "2026-01", stands_now(queries))

    first = load(folder)
    make(lake, first, "2026-01")
    make(lake, first, "2026-01", "features")
    by_first = lake.writings(FEATURES)["2026-01"]
    (folder / "by_loan.sql").write_text(LOANS.replace("count(*)", "count(distinct amount)"))
    second = load(folder)
    make(lake, second, "2026-01", "by_loan", "features")
    current = lake.batches(FEATURES)["2026-01"]
    assert (made_before_by(first), made_before_by(second)) == (by_first, [current])
    make(lake, second, "2026-01", "credits", "by_loan", "features")
    assert made_before_by(first) == by_first, "the same file, read again"
    make(lake, second, "2026-01", "credits", "by_loan", "features", content="b")
    assert made_before_by(first) == []


def test_what_a_training_set_learned_from_is_told_whatever_was_made_since(lake, folder):
    first = load(folder)
    make(lake, first, "2026-01")
    provenance = Provenance(inputs={FEATURES: lake.version(FEATURES)})
    with duckdb.connect() as con:
        version = lake.replace(con, "SELECT '2026-01' AS batch", "book/training_set", None, provenance)
        (folder / "features.sql").write_text(JOINED.replace("income,", "income / 12 as income,"))
        second = load(folder)
        make(lake, second, "2026-01")
        lake.replace(con, "SELECT '2026-01' AS batch", "book/training_set", None, provenance)
        learned = learned_from(con, lake, "book/training_set", version, FEATURES)
    assert learned == stands_now(first)
    assert differing(learned, stands_now(second)) == ["features.sql"]
