"""The job `maintenance`, once, on an aged copy of the small project: what it keeps, removes and reports.

`lake/test_maintenance.py` and `test_retention.py` test which files and runs are removed.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.registry.registry import Registry
from credit_assets.settings.project import Project
from credit_assets.settings.run_tags import PORTFOLIO_TAG
from credit_assets_tests.bare_versions import register_bare
from credit_assets_tests.conftest import Line
from credit_assets_tests.small_project import BOOK, configure, instance_of, run_job

MONTHS = timedelta(days=60)  # longer than `retention.keep_days`
TRAINING_SET, MADE_UP = f"{BOOK}/training_set", f"{BOOK}/made_up"


@dataclass(frozen=True)
class Maintained:
    """The project afterwards; and from before: the contents of tables, the lake's data files with their bytes, the runs
    by purpose, those of the shared project; and what the job reported.
    """

    project: Project
    contents: Mapping[tuple[str, int], tuple[int, int]]
    files: Mapping[Path, int]
    runs: Mapping[str, str]
    of_line: set[str]
    told: Mapping[str, Mapping[str, object]]

    def left(self) -> set[str]:
        with instance_of(self.project) as instance:
            return {run.run_id for run in instance.get_runs()}


def contents(lake: Lake, table: str, version: int) -> tuple[int, int]:
    """The number of rows of the table version, and a checksum."""
    with duckdb.connect() as con:
        found = con.sql(f"SELECT count(*), sum(hash(rows)) FROM ({lake.query(table, version=version)}) AS rows")
        row = found.fetchone()
    assert row
    return row


def data_files(lake: Lake) -> dict[Path, int]:
    return {
        file: file.stat().st_size
        for file in Path(lake.address("")).rglob("*.parquet")
        if not file.name.endswith("checkpoint.parquet")
    }


def record_run(instance: dg.DagsterInstance, portfolio: str = BOOK) -> str:
    """A run that materialized no asset; its id."""

    @dg.job(tags={PORTFOLIO_TAG: portfolio})
    def nothing() -> None: ...

    return nothing.execute_in_process(instance=instance).run_id


def write(lake: Lake, rows: str, table: str, batch: str | None, run_id: str = "") -> None:
    with duckdb.connect() as con:
        lake.replace(con, rows, table, batch, Provenance(run_id=run_id))


def make_old(project: Project, runs: set[str]) -> None:
    """Make all commits and the ends of the runs months old."""
    for entry in project.lake.rglob("_delta_log/*.json"):
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        for action in actions:
            if told := action.get("commitInfo"):
                told["timestamp"] -= int(MONTHS.total_seconds() * 1000)
        entry.write_text("\n".join(map(json.dumps, actions)))
    [database] = project.data.rglob("runs.db")
    then = (datetime.now(UTC) - MONTHS).replace(tzinfo=None)
    with closing(sqlite3.connect(database)) as connection, connection:
        for run_id in runs:
            connection.execute("UPDATE runs SET update_timestamp = ? WHERE run_id = ?", (str(then), run_id))


@pytest.fixture(scope="module")
def maintained(short_line: Line, tmp_path_factory: pytest.TempPathFactory) -> Maintained:
    project = short_line.copy(tmp_path_factory.mktemp("tended") / "project")
    configure(project, {"retention": {"runs_days": 50}})
    lake, other = Lake(project.lake), Registry.of(project, "other")
    with instance_of(project) as instance:
        of_line = {run.run_id for run in instance.get_runs()}
        names = ("nobody", "batch", "whole table", "model", "promotion", "young")
        runs = {name: record_run(instance) for name in names} | {"other portfolio": record_run(instance, "other")}
    # A batch other than the newest, and the newest version of an unpartitioned table.
    for batch, run in (("1", "batch"), ("2", "nobody"), ("2", "young")):
        write(lake, "SELECT 1 AS x", MADE_UP, batch, runs[run])
    write(lake, "SELECT 1 AS x", TRAINING_SET, None, runs["nobody"])
    write(lake, "SELECT 2 AS x", TRAINING_SET, None, runs["whole table"])
    number = register_bare(other, dagster_run=runs["model"])
    other.promote(number, by="hand", why="it is liked", dagster_run=runs["promotion"])
    make_old(project, {*runs.values(), *of_line} - {runs["young"]})
    for name, age in (("old", 2), ("new", 0)):
        orphan = Path(lake.address(f"{BOOK}/features")) / "batch=2026-01" / f"{name}.parquet"
        orphan.write_bytes(b"never committed")
        then = (datetime.now(UTC) - timedelta(days=age)).timestamp()
        os.utime(orphan, (then, then))
    versions = {(table, lake.version(table)) for table in lake.tables()} | Registry.of(project, BOOK).table_versions()
    before = {version: contents(lake, *version) for version in versions}
    files = data_files(lake)
    outcome = run_job(project, "maintenance")
    assert outcome.success, outcome.errors
    with instance_of(project) as instance:
        outputs = instance.all_logs(outcome.run_id, of_type=dg.DagsterEventType.STEP_OUTPUT)
        events = [entry.get_dagster_event() for entry in outputs]
    told = {
        str(event.step_key): {name: value.value for name, value in event.step_output_data.metadata.items()}
        for event in events
    }
    return Maintained(project, before, files, runs, of_line, told)


def test_current_tables_and_inputs_of_registered_models_are_unchanged(maintained):
    lake = Lake(maintained.project.lake)
    assert {table for table, _ in maintained.contents} == set(lake.tables())
    assert len([table for table, _ in maintained.contents if table == TRAINING_SET]) == 2
    assert {version: contents(lake, *version) for version in maintained.contents} == maintained.contents


def test_unneeded_version_is_removed(maintained):
    """The version between the model's input and the current one."""
    lake = Lake(maintained.project.lake)
    current = lake.version(TRAINING_SET)
    with pytest.raises(duckdb.IOException, match="No files found"):
        contents(lake, TRAINING_SET, current - 1)


def test_uncommitted_file_is_removed_after_a_day(maintained):
    folder = Path(Lake(maintained.project.lake).address(f"{BOOK}/features")) / "batch=2026-01"
    assert not (folder / "old.parquet").exists()
    assert (folder / "new.parquet").exists()


def test_runs_behind_current_data_are_kept_and_others_removed(maintained):
    gone = {name for name, run_id in maintained.runs.items() if run_id not in maintained.left()}
    assert gone == {"nobody"}


def test_instance_keeps_its_knowledge_of_each_batch(maintained):
    assert maintained.of_line <= maintained.left()


def test_run_reports_what_it_removed_and_kept(maintained):
    lake, told = Lake(maintained.project.lake), maintained.told["maintain_lake"]
    removed = maintained.files.keys() - data_files(lake).keys()
    assert told["files_removed"] == len(removed) >= 3
    assert told["bytes_freed"] == sum(maintained.files[file] for file in removed)
    assert told["tables"] == told["versions_kept_current"] == told["versions_kept_recent"] == len(lake.tables())
    assert told["versions_kept_decision"]
    assert told["versions_kept_model"]
    assert maintained.told["purge_runs"]["runs_deleted"] == 1
    assert maintained.told["purge_runs"]["old_runs_kept"] == len(maintained.of_line) + 4
