"""The automation of a portfolio on made-up data. Its sensors and schedules are evaluated as Dagster's daemon evaluates
them, over a real inbox, a lake of one-row tables, an in-memory registry of versions without models, and an instance
whose runs are recorded but not executed.

Nothing is asserted here, except that a requested run fits its job.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import RUN_KEY_TAG

from credit_assets.automation.jobs import jobs
from credit_assets.automation.schedules import schedules
from credit_assets.automation.sensors import sensors
from credit_assets.book.book import Book
from credit_assets.book.queries import load
from credit_assets.dagster_private import make_new_run_id
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.registry.registry import Registry
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.bare_versions import register_bare

BOOK = "home_credit"
FILES = (
    "application_train.csv",
    "bureau.csv",
    "bureau_balance.csv",
    "previous_application.csv",
    "POS_CASH_balance.csv",
    "credit_card_balance.csv",
    "installments_payments.csv",
)
OUTCOMES = "outcomes.csv"
# Two applicants per batch, in tables with only the columns that are needed; every other table holds one number.
ROWS = {
    "applications": "SELECT unnest([1, 2]) AS SK_ID_CURR, NULL::INTEGER AS TARGET",
    "outcomes": "SELECT unnest([1, 2]) AS SK_ID_CURR, 0 AS TARGET",
    "features": "SELECT unnest([1, 2]) AS SK_ID_CURR",
    "no outcomes": "SELECT 1 AS SK_ID_CURR, 0 AS TARGET WHERE false",
}
MADE_FROM = {
    "features": ["applications"],
    "scores": ["features"],
    "score_drift": ["scores"],
    "performance": ["scores", "outcomes"],
}
# What a sensor or schedule returns: the requested runs, or the reason why it requests none.
Asked = list[dg.RunRequest] | str


@dataclass
class Loop:
    """`cursor` is what the daemon keeps between two polls."""

    portfolio: Portfolio
    project: Project
    registry: Registry
    repository: dg.RepositoryDefinition
    instance: dg.DagsterInstance
    cursor: str | None = field(default=None)

    @property
    def lake(self) -> Lake:
        return Lake(self.project.lake)

    @property
    def book(self) -> Book:
        return Book(self.project, self.portfolio, registry=self.registry)

    def automated(self, **changes: object) -> None:
        """Change settings of the section `automation`."""
        automation = self.portfolio.automation.model_copy(update=changes)
        self.portfolio = self.portfolio.model_copy(update={"automation": automation})

    # -- people

    def copy(self, batch: str, *names: str, content: str = "A\n1\n") -> Path:
        """Copy files (by default all but outcomes) into the batch's folder by hand; the folder."""
        folder = self.project.inbox / BOOK / batch
        folder.mkdir(parents=True, exist_ok=True)
        for name in names or FILES:
            (folder / name).write_text(content)
        return folder

    # -- runs

    def write(self, table: str, batch: str, rows: str = "SELECT 1 AS x", **fields: Any) -> int:
        made_from = map(self.portfolio.table, MADE_FROM.get(table, []))
        inputs = {source: self.lake.version(source) for source in made_from if self.lake.exists(source)}
        if table == "features":
            fields["asset_code_version"] = load(self.project.sql(BOOK))[table].version
        provenance = Provenance(**{"inputs": inputs, "run_id": "", **fields})
        with duckdb.connect() as con:
            return self.lake.replace(con, rows, self.portfolio.table(table), batch, provenance)

    def ingest(self, batch: str, *tables: str, run_id: str = "") -> None:
        """Write the tables (by default all) as a run would from the delivered files."""
        delivered = Inbox(self.project.inbox).fingerprint(BOOK, batch)
        for table in tables or (*self.portfolio.tables, "features"):
            config = self.portfolio.tables.get(table)
            stems = tuple(f"{stem}." for stem in config.files) if config else ()
            sources = {name: sha256 for name, sha256 in delivered.items() if name.startswith(stems)}
            rows = "no outcomes" if table == "outcomes" and not sources else table
            self.write(table, batch, ROWS.get(rows, "SELECT 1 AS x"), source_sha256=sources, run_id=run_id)

    def score(self, batch: str, version: int, *tables: str) -> None:
        for table in tables or ("scores", "score_drift", "performance"):
            self.write(table, batch, model_version=version)

    def learn(self) -> None:
        """Register a version that learned from all that is known now, with its training set."""
        sources = [self.portfolio.table(table) for table in ("applications", "outcomes", "features")]
        inputs = {table: self.lake.version(table) for table in sources if self.lake.exists(table)}
        with duckdb.connect() as con:
            table = self.portfolio.table("training_set")
            version = self.lake.replace(con, "SELECT 1 AS x", table, None, Provenance(inputs=inputs))
        register_bare(self.registry, tables={table: version})

    def promote(self, version: int) -> None:
        self.registry.promote(version, by="gate", why="it is better")

    def register_champion(self) -> int:
        """Register a new version and promote it at once; its number."""
        self.learn()
        newest = self.registry.newest()
        assert newest
        self.promote(newest.number)
        return newest.number

    # -- the daemon

    def poll(self, sensor: str = "deliveries") -> Asked:
        """One tick of the sensor."""
        made = sensors(self.book, jobs(self.portfolio))
        [asked] = [each for each in made if each.name == sensor]
        context = dg.build_sensor_context(
            self.instance, self.cursor, repository_def=self.repository, instance_ref=self.instance.get_ref()
        )
        found = asked.evaluate_tick(context)
        if sensor == "deliveries":
            self.cursor = found.cursor
        for added in found.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(added.partitions_def_name, list(added.partition_keys))
        return _asked(found.run_requests, found.skip_message)

    def poll_twice(self) -> Asked:
        """The result of the second of two polls of the same files."""
        self.poll()
        return self.poll()

    def due(self, schedule: str, at: datetime, later: float = 3600) -> Asked:
        """One tick of the schedule, `later` seconds from now."""
        built = self.repository
        parts = {job.name: _assets(job) for job in built.get_all_jobs()}
        [asked] = [each for each in schedules(self.book, parts) if each.name == schedule]
        context = dg.build_schedule_context(
            self.instance, at, repository_def=built, instance_ref=self.instance.get_ref()
        )
        with pytest.MonkeyPatch.context() as patch:
            now = time.time()
            patch.setattr("credit_assets.automation.schedules.time.time", lambda: now + later)
            found = asked.evaluate_tick(context)
        return _asked(found.run_requests, found.skip_message)

    def start(self, request: dg.RunRequest, status: dg.DagsterRunStatus = dg.DagsterRunStatus.QUEUED) -> dg.DagsterRun:
        """The run of the real job that the request asks for, with this status."""
        job = self.repository.get_job(str(request.job_name))
        selection = frozenset(request.asset_selection or [])
        assert selection <= _assets(job)
        dg.validate_run_config(job, request.run_config)
        origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(BOOK), self.repository.name)
        return self.instance.add_run(
            dg.DagsterRun(
                job.name,
                make_new_run_id(),
                run_config=request.run_config,
                tags={**job.run_tags, **request.tags, RUN_KEY_TAG: str(request.run_key)},
                status=status,
                asset_selection=selection or None,
                # The run queue requires it.
                remote_job_origin=RemoteJobOrigin(origin, job.name),
            )
        )

    def fail(self, request: dg.RunRequest) -> str:
        """Start the run and fail one of its steps; its id."""
        run = self.start(request, dg.DagsterRunStatus.STARTED)
        reason = JobFailureData(error=None, failure_reason=RunFailureReason.STEP_FAILURE)
        self.instance.report_run_failed(run, "A step failed.", reason)
        return run.run_id

    def kill(self, request: dg.RunRequest) -> str:
        """Start the run and kill its process; its id."""
        run = self.start(request, dg.DagsterRunStatus.STARTED)
        self.instance.report_run_failed(run, "Its process is gone.")
        return run.run_id


def _asked(requests: Iterable[dg.RunRequest] | None, skipped: str | None) -> Asked:
    return list(requests) if requests else str(skipped)


def _assets(job: dg.JobDefinition) -> set[dg.AssetKey]:
    return set(job.asset_layer.executable_asset_keys)
