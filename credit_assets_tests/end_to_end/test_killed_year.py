"""The same year with daemons and runs' processes killed at random moments ends as the undisturbed one."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import dagster as dg
import duckdb
import pandas as pd
import pytest
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, RUN_FAILURE_REASON_TAG

from credit_assets.lake.maintenance import RetentionConfig, committed_files, log_files, maintain
from credit_assets.lake.tables import Lake
from credit_assets.models import registry
from credit_assets_tests.end_to_end.conftest import KILLS, Years
from credit_assets_tests.end_to_end.year import BAD, MONTHS, Lived
from credit_assets_tests.small_project import BOOK

# What differs between two projects: which run made a model, and how many versions and commits there were before.
OF_THE_PROJECT = ["model_run_id", "model_version", "feature_table_version"]


@pytest.fixture(scope="module")
def killed(years: Years) -> Lived:
    return years.killed


def test_it_was_killed_often_enough(killed):
    assert killed.killed.total() >= KILLS
    assert killed.killed["worker"] >= 8 <= killed.killed["daemon"]


def test_every_run_has_ended(killed):
    assert {record.dagster_run.status for record in killed.runs} == {
        dg.DagsterRunStatus.SUCCESS,
        dg.DagsterRunStatus.FAILURE,
    }


def test_killed_runs_read_failed_with_the_reason_and_were_launched_again_as_they_were(killed):
    runs = {record.dagster_run.run_id: record.dagster_run for record in killed.runs}
    crashed = [run for run in runs.values() if run.is_failure and RUN_FAILURE_REASON_TAG not in run.tags]
    assert crashed
    with dg.DagsterInstance.from_config(str(killed.project.root)) as instance:
        for run in crashed:
            words = " ".join(entry.message for entry in instance.all_logs(run.run_id))
            assert "is gone" in words or "terminated by signal 9" in words
            again = runs[run.tags[AUTO_RETRY_RUN_ID_TAG]]
            assert again.job_name == run.job_name
            assert again.run_config == run.run_config
            assert again.asset_selection == run.asset_selection
            ours = {name: value for name, value in run.tags.items() if name.startswith("credit_assets/")}
            assert ours.items() <= again.tags.items()
            assert again.tags.get("dagster/partition") == run.tags.get("dagster/partition")


def test_nothing_but_the_bad_delivery_failed_for_good(killed):
    failed = [run for runs in killed.months().values() for run in runs if run.is_failure]
    assert [run.tags["dagster/partition"] for run in failed] == [BAD]


def test_the_same_is_told_as_of_the_undisturbed_year(years, killed):
    """Once each, as far as the receiver can tell by an alert's id: a sender that was killed before it knew that a
    message had arrived sends it again."""
    ordinary, disturbed = (
        Counter((alert["kind"], alert["batch"]) for alert in {a["id"]: a for a in year.alerts}.values())
        for year in (years.ordinary, killed)
    )
    assert ordinary == disturbed


def test_the_same_champions_followed_each_other_for_the_same_reasons(years, killed):
    ordinary, disturbed = (
        [(event.by, event.version, event.replaced) for event in registry.history(year.project.tracking_uri, BOOK)]
        for year in (years.ordinary, killed)
    )
    assert ordinary == disturbed


def test_no_version_was_registered_beside_the_undisturbed_ones(years, killed):
    ordinary, disturbed = (
        [version.version for version in registry.versions(year.project.tracking_uri, BOOK)]
        for year in (years.ordinary, killed)
    )
    assert ordinary == disturbed


@pytest.mark.parametrize("batch", MONTHS)
def test_the_scores_are_equal_byte_for_byte(years, killed, batch):
    ordinary, disturbed = (
        year.table("scores", batch).drop(columns=OF_THE_PROJECT) for year in (years.ordinary, killed)
    )
    pd.testing.assert_frame_equal(ordinary, disturbed, check_exact=True)
    assert ordinary["pd"].to_numpy().tobytes() == disturbed["pd"].to_numpy().tobytes()


@pytest.mark.parametrize("name", ["applications", "bureau", "outcomes", "features", "feature_drift", "score_drift"])
def test_the_tables_are_equal_byte_for_byte(years, killed, name):
    ordinary, disturbed = (year.table(name) for year in (years.ordinary, killed))
    pd.testing.assert_frame_equal(ordinary, disturbed, check_exact=True)


def test_every_version_of_every_table_can_be_read(killed):
    lake = Lake(killed.project.lake)
    tables = lake.tables(BOOK)
    made = ("scores", "features", "applications", "training_set", "performance", "operations/timeline")
    assert {f"{BOOK}/{name}" for name in made} <= set(tables)
    with duckdb.connect() as con:
        for name in tables:
            for commit in lake.history(name):
                con.execute(f"CREATE OR REPLACE TABLE read AS {lake.query(name, version=commit.version)}")
                assert con.table("read").shape[0] >= int(commit.metadata["rows"])


def test_what_killed_runs_left_half_written_is_no_part_of_a_table_and_upkeep_removes_it(killed):
    lake = Lake(killed.project.lake)

    def orphans() -> set[str]:
        written = {str(file) for file in killed.project.lake.rglob("*.parquet") if "_delta_log" not in file.parts}
        return written - {str(file) for log in log_files(lake) for file in committed_files(log)}

    left = orphans()
    later = datetime.now(UTC) + timedelta(days=2)
    done = maintain(lake, BOOK, f"{BOOK}/scores", [], RetentionConfig(), later)
    assert sum(len(table.orphans) for table in done.tables) == len(left)
    assert orphans() == set()
