"""LendingClub's real book from delivery to scores: one file split into quarters, trained on, evaluated and scored."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import yaml

from credit_assets.automation.runs import execute, instance_for_commands
from credit_assets.book.book import Book
from credit_assets.definitions import build
from credit_assets.ingest.inbox import Inbox
from credit_assets.ingest.split_by_date import split_source
from credit_assets.lake.tables import Lake
from credit_assets.registry.registry import Registry
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.small_project import inside, latest_metadata

BOOK = "lending_club"
NEWEST = "2010-Q4"
# The first trial of the search, and no pages.
QUICK = {"training": {"trials": 1}, "evaluation": {"n_bootstrap": 200}, "drift": {"report_columns": 0}}


@pytest.fixture(scope="module")
def project(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The real file delivered by quarter, all ingested, a model trained, and the newest quarter scored."""
    project = Project(tmp_path_factory.mktemp("line") / "project")
    project.config(BOOK).parent.mkdir(parents=True)
    config = yaml.safe_load(Project(PROJECT).config(BOOK).read_text())
    for section, values in QUICK.items():
        config[section] = config[section] | values
    project.config(BOOK).write_text(yaml.safe_dump(config))
    shutil.copy(Project(PROJECT).config(BOOK).with_suffix(".py"), project.config(BOOK).parent)
    shutil.copytree(Project(PROJECT).sql(BOOK), project.sql(BOOK))
    shutil.copy(PROJECT / "dagster.yaml", project.root)

    inbox, book = Inbox(project.inbox), Book.load(project, BOOK)
    assert book.portfolio.delivery.split_by == "issue_d"
    with split_source(real_data / BOOK, book, book.portfolio.delivery.split_by, inbox) as parts:
        for part in parts.batches:
            inbox.deliver(part.folder, BOOK, part.batch)
    with inside(project), instance_for_commands(project, BOOK) as instance:
        batches = inbox.batches(BOOK)
        instance.add_dynamic_partitions(f"{BOOK}_batches", batches)
        definitions = build(BOOK, project)
        for job, batch in [*(("ingest", batch) for batch in batches), ("train", None), ("score", NEWEST)]:
            done = execute(instance, definitions, BOOK, job, batch, lambda line: None)
            assert done.success, done.errors
    return project


def rows(project: Project, table: str) -> pd.DataFrame:
    return duckdb.sql(Lake(project.lake).query(f"{BOOK}/{table}")).df()


def test_every_loan_is_in_its_quarter_of_issue(project):
    applications = rows(project, "applications")
    issued = pd.to_datetime(applications["issue_d"])
    quarters = issued.dt.year.astype(str) + "-Q" + issued.dt.quarter.astype(str)
    assert (applications["batch"] == quarters).all()
    assert len(applications) == 20_814
    assert applications["batch"].nunique() == 15


def test_model_passes_every_gate_and_becomes_champion(project):
    gate = rows(project, "promotion_gate")
    assert gate["passed"].all(), gate[~gate["passed"]]
    assert Registry.of(project, BOOK).champion() is not None
    assert latest_metadata(project, "evaluation", BOOK)["auc"] >= 0.665


def test_evaluation_covers_each_quarter_and_plots_the_vintages(project):
    about = latest_metadata(project, "evaluation", BOOK)
    by_batch = pd.DataFrame([record.data for record in about["performance_by_batch"].records])
    assert by_batch["batch"].tolist() == sorted(rows(project, "applications")["batch"].unique())
    assert by_batch.loc[by_batch["fold"] == "test", "batch"].tolist() == [f"2010-Q{n}" for n in range(1, 5)]
    # The crisis: a fifth of the loans of 2007 and 2008 were lost, and a seventh of later ones.
    rates = by_batch.groupby(by_batch["batch"].str[:4])["default_rate"].mean()
    assert rates[["2007", "2008"]].min() > 0.19 > 0.15 > rates[["2009", "2010"]].max()
    assert "Vintage curves" in about


def test_newest_quarter_is_decided_and_each_decline_has_written_reasons(project):
    scores = rows(project, "scores")
    assert set(scores["batch"]) == {NEWEST}
    assert len(scores) == 3_791
    declined = scores[scores["decision"] == "decline"]
    assert 0.1 < len(declined) / len(scores) < 0.4
    assert declined["reason_1"].notna().all()


def test_audit_reports_that_there_are_no_groups(project):
    assert rows(project, "fairness_audit").empty
