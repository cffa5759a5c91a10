"""The verdicts on the outcomes of one batch, without Dagster: an in-memory registry and a lake of a few rows."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import pytest

from credit_assets.book.book import Book
from credit_assets.lake.tables import Lake
from credit_assets.monitoring.batch_performance import ScoredBatch, performance_of, refuse_other_applicants
from credit_assets.monitoring.batch_standing import Standing
from credit_assets.monitoring.errors import OtherApplicants
from credit_assets.monitoring.outcome_verdicts import against_predecessor, reported_once
from credit_assets.registry.memory import Memory
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets.verdicts.verdict import Verdict
from credit_assets_tests.bare_versions import delete, register_bare
from credit_assets_tests.conftest import PROJECT

PORTFOLIO = Portfolio.load(Project(PROJECT), "home_credit")
NEW, OLDER = Standing("new"), Standing("older", "No alarm is raised.")
ROWS = pd.DataFrame({"applicant": [1], "pd": [0.1], "band": ["B"], "outcome": [0.0]})


@pytest.fixture
def book() -> Book:
    """A book whose registry has two bare versions, both of them former or current champions."""
    registry = Memory().registry(PORTFOLIO.name)
    for _ in range(2):
        registry.promote(register_bare(registry), by="gate", why="a test")
    return Book(Project(PROJECT), PORTFOLIO, registry=registry)


def compare_with_predecessor(book: Book, root: Path, number: int) -> Verdict:
    with duckdb.connect() as con:
        return against_predecessor(con, Lake(root), book, number, ROWS, con.sql("SELECT 1 AS SK_ID_CURR"))


def test_scores_of_other_rows_than_the_current_batch_are_refused_with_advice() -> None:
    scored = pd.Series([1, 2, 3])
    refuse_other_applicants(scored, pd.Series([3, 2, 1, 4]), "features", "2026-01")
    with pytest.raises(
        OtherApplicants, match="2 scored applicants of 2026-01 are not in the current features"
    ) as refused:
        refuse_other_applicants(scored, pd.Series([3, 4]), "features", "2026-01")
    assert "Run the job `score` for 2026-01" in str(refused.value)
    assert (refused.value.applicants, refused.value.table, refused.value.batch) == (2, "features", "2026-01")
    with pytest.raises(OtherApplicants, match="1 scored applicant of 2026-01 is not in the current applications"):
        refuse_other_applicants(scored, pd.Series([2, 1]), "applications", "2026-01")


def test_champion_whose_predecessor_was_deleted_is_not_called_the_first(book: Book, tmp_path: Path) -> None:
    book.registry.store.delete_version(1)
    verdict = compare_with_predecessor(book, tmp_path, 2)
    assert verdict.passed
    assert verdict.message == "No verdict: there is no earlier champion that a rollback would restore."


def test_failure_of_all_applicants_is_not_repeated_by_segment() -> None:
    held, segmented = Verdict("all", False, "Worse."), Verdict("segments", False, "Worse too.", severity="warning")
    both = reported_once(held, segmented, NEW)
    assert [verdict.passed for verdict in both] == [False, True]
    assert both[1].message.endswith("Worse too.")
    assert [verdict.passed for verdict in reported_once(Verdict("all", True, "Well."), segmented, NEW)] == [True, False]


def test_older_batch_is_described_and_fails_nothing() -> None:
    held, segmented = Verdict("all", True, "Well."), Verdict("segments", False, "Worse.", severity="warning")
    assert [(verdict.passed, verdict.message) for verdict in reported_once(held, segmented, OLDER)] == [
        (True, "Well."),
        (True, "No alarm is raised. Worse."),
    ]


def test_first_champion_has_no_predecessor(book: Book, tmp_path: Path) -> None:
    delete(book.registry, 1)
    verdict = compare_with_predecessor(book, tmp_path, 2)
    assert verdict.passed
    assert verdict.figures == {}


def test_scores_of_an_earlier_champion_are_not_compared_with_its_predecessor(book: Book, tmp_path: Path) -> None:
    verdict = compare_with_predecessor(book, tmp_path, 1)
    assert verdict.passed
    assert verdict.message == "No verdict: version 1 scored the batch, but version 2 is the champion now."
    assert verdict.figures == {"predecessor": 1}


def test_predecessor_that_cannot_be_loaded_is_not_compared(book: Book, tmp_path: Path) -> None:
    verdict = compare_with_predecessor(book, tmp_path, 2)
    assert verdict.passed
    assert verdict.message.startswith("No verdict: The model of version 1 of home_credit is missing or damaged.")
    assert verdict.figures == {"predecessor": 1}


def test_nothing_is_judged_by_a_deleted_version(book: Book, tmp_path: Path) -> None:
    delete(book.registry, 2)
    with duckdb.connect() as con:
        keys = "FROM range(3) t(i)"
        protected = ", ".join(f"NULL AS {group.column}" for group in PORTFOLIO.protected.values())
        batch = ScoredBatch(
            "2026-05",
            scores=con.sql(f"SELECT i AS applicant, 0.1 AS pd, 'B' AS band, 2 AS model_version {keys}"),
            features=con.sql(f"SELECT i AS SK_ID_CURR {keys}"),
            applications=con.sql(f"SELECT i AS SK_ID_CURR, 0 AS TARGET, {protected} {keys}"),
            outcomes=con.sql("SELECT 1 AS SK_ID_CURR, 1 AS TARGET WHERE false"),
        )
        found = performance_of(con, Lake(tmp_path), book, batch)
    assert found.number == 2
    assert found.rows.empty
    assert found.table.empty
    assert {verdict.message for verdict in found.verdicts} == {"No verdict: version 2 is no longer registered."}
    assert [verdict.severity for verdict in found.verdicts] == ["error", "warning", "error"]
