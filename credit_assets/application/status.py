"""The status of a portfolio: its batches, champion, checks, and what is due."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import dagster as dg
from pydantic import BaseModel, ConfigDict

from credit_assets.application.batch_status import TABLES, BatchStatus, batch_status
from credit_assets.application.check_results import CheckResult, check_results
from credit_assets.application.json_times import JsonTime
from credit_assets.automation.active_runs import tags_of_same_work
from credit_assets.automation.due import Due, SqlChanged
from credit_assets.automation.messages import text
from credit_assets.automation.pending import batches_to_ingest, batches_to_score, first_training, stale_features
from credit_assets.automation.refusals import refusal, refusal_text
from credit_assets.book.book import Book
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.tables import Lake
from credit_assets.registry.errors import VersionDamaged
from credit_assets.registry.registry import Registry
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project

RUNS_READ = 20
"""Newest runs of a batch among which the last attempt at the due work is searched."""


class ChampionStatus(BaseModel):
    """The champion. `metrics` refer to its test rows, and are empty if it was never evaluated. `air`: the adverse
    impact ratio of each attribute. `protected`: the attributes that the configuration names."""

    model_config = ConfigDict(frozen=True)

    model: str
    version: int
    registered_at: JsonTime
    synthetic: bool
    cut_off: float
    metrics: dict[str, float]
    air: dict[str, float]
    protected: list[str]


class DueStatus(BaseModel):
    """A job that is due. `reason` is a code for programs, `why` the same as text. `failed_run` is the last attempt if
    it failed, and `failure` the reason. `refused`: it is not retried until its files, the configuration or the release
    change."""

    model_config = ConfigDict(frozen=True)

    job: str
    batch: str | None
    reason: str
    why: str
    failed_run: str | None
    failure: str | None
    refused: bool


class Status(BaseModel):
    """The status of a portfolio. `features_of_other_sql`: batch to the SQL files that changed since its features were
    made."""

    model_config = ConfigDict(frozen=True)

    portfolio: str
    title: str
    batches: list[BatchStatus]
    champion: ChampionStatus | None
    checks: list[CheckResult]
    due: list[DueStatus]
    features_of_other_sql: dict[str, list[str]]


def status(project: Project, name: str) -> Status:
    """The current status of the portfolio, from the lake, the registry and Dagster's instance."""
    book = Book(project, Portfolio.load(project, name), registry=Registry.reading(project, name))
    portfolio, inbox, lake = book.portfolio, Inbox(project.inbox), Lake(project.lake)
    champion = _champion(book)
    deliveries = batches_to_ingest(portfolio, inbox, lake)
    due = deliveries + first_training(portfolio, lake, champion is not None)
    due += batches_to_score(portfolio, lake, champion.version if champion else None)
    with dg.DagsterInstance.get() as instance:
        checks = check_results(instance, book)
        pending = [_due_status(instance, portfolio, each, each in deliveries) for each in due]
    stale = stale_features(portfolio, lake, book.queries)
    return Status(
        portfolio=name,
        title=portfolio.title,
        batches=_batches(book, inbox, lake),
        champion=champion,
        checks=checks,
        due=pending,
        features_of_other_sql={
            str(each.batch): list(each.reason.files) for each in stale if isinstance(each.reason, SqlChanged)
        },
    )


def _batches(book: Book, inbox: Inbox, lake: Lake) -> list[BatchStatus]:
    portfolio, registry = book.portfolio, book.registry
    tables = (*portfolio.tables, *TABLES)
    written = {table: lake.batches(portfolio.table(table)) for table in tables}
    delivered = set(inbox.batches(portfolio.name))
    names = sorted(delivered.union(*written.values()))
    versions = {version.number: version for version in registry.versions()}

    @cache
    def importance(number: int) -> Mapping[str, float] | None:
        try:
            return registry.importance(versions[number])
        except VersionDamaged:
            return None

    return [batch_status(portfolio, lake, versions, importance, batch, batch in delivered, written) for batch in names]


def _champion(book: Book) -> ChampionStatus | None:
    found = book.registry.champion()
    if found is None:
        return None
    metrics = book.registry.metrics(found)
    return ChampionStatus(
        model=found.model,
        version=found.number,
        registered_at=found.created,
        synthetic=found.synthetic,
        cut_off=found.decline_above,
        metrics={name: value for name, value in metrics.items() if not name.startswith("air_")},
        air={name.removeprefix("air_"): value for name, value in metrics.items() if name.startswith("air_")},
        protected=list(book.portfolio.protected),
    )


def _due_status(instance: dg.DagsterInstance, portfolio: Portfolio, due: Due, delivery: bool) -> DueStatus:
    failed = _failed_run(instance, portfolio, due)
    return DueStatus(
        job=due.job,
        batch=due.batch,
        reason=due.reason.code,
        why=text(due),
        failed_run=failed.run_id if failed else None,
        failure=refusal_text(instance, failed, disclose=True) if failed else None,
        refused=delivery and refusal(instance, portfolio, due) is not None,
    )


def _failed_run(instance: dg.DagsterInstance, portfolio: Portfolio, due: Due) -> dg.DagsterRun | None:
    """The newest run for the due work, if that run failed."""
    runs = instance.get_runs(dg.RunsFilter(tags=tags_of_same_work(portfolio, due)), limit=RUNS_READ)
    newest = next((run for run in runs if run.job_name in (due.job, "batch")), None)
    return newest if newest and newest.is_failure else None
