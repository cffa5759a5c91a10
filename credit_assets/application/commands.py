"""What the `credit-assets` command does through Dagster: run what is outstanding, and tell how things stand."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import dagster as dg

from credit_assets.application.batch_status import TABLES, batch_status
from credit_assets.application.withdrawal import latest_evaluation
from credit_assets.automation.active_runs import runs_at_work
from credit_assets.automation.due import Due, RequestedByHand
from credit_assets.automation.jobs import champion_config, promotion_config
from credit_assets.automation.messages import text
from credit_assets.automation.pending import to_ingest, to_make_again, to_score, to_train
from credit_assets.automation.refusals import refusal, refusal_text
from credit_assets.automation.retraining import rollback, training
from credit_assets.automation.runs import RunOutcome, execute, instance_for_commands
from credit_assets.automation.sensors import request
from credit_assets.book.book import Book
from credit_assets.dagster_private import PARTITION_NAME_TAG
from credit_assets.definitions import build, definitions_of
from credit_assets.features.versions import FEATURES
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.tables import Lake, TableMissing
from credit_assets.models import registry
from credit_assets.models.availability import answering
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import AlreadyRunning, Project
from credit_assets.settings.run_tags import PORTFOLIO_TAG, TRAINING_TAG

Report = Callable[[str], None]

UNTIL = "It is not tried again until its files, the configuration, contracts, SQL or the release change."
RUNS_LOOKED_AT = 20
"""Of a batch, newest first, for the one that last tried what is due."""


def run_outstanding(project: Project, name: str, report: Report) -> list[RunOutcome]:
    """Make everything of the portfolio that is due: batches not ingested, a champion where there is none, scores,
    and what failed checks ask for. A run that fails does not stop those that do not need it; what is still due
    afterwards is due the next time. Batches are ingested though the model registry does not answer; then
    RegistryUnavailable is raised."""
    with _work(project, name, report) as work:
        portfolio, instance, lake = work.portfolio, work.instance, work.lake
        tried: set[str] = set()
        Inbox(project.inbox).tidy(name)
        # Once more where a batch that came later brought what an earlier one needs: outcomes of both, say.
        while new := [due for due in to_ingest(portfolio, Inbox(project.inbox), lake) if due.key not in tried]:
            for due in new:
                tried.add(due.key)
                if refused := refusal(instance, portfolio, due):
                    report(f"{due.job} {due.batch}: {text(refused)} {UNTIL}")
                else:
                    work.run(due)
        with answering(project.tracking_uri):
            for due in to_train(portfolio, lake, registry.champion(project.tracking_uri, name) is not None):
                work.run(due)
            work.score()
            for answer in (
                lambda: rollback(instance, portfolio, project),
                lambda: training(instance, portfolio, project, lake, datetime.now(UTC)),
            ):
                asked_for = answer()
                if isinstance(asked_for, Due):
                    work.run(asked_for)
                    work.score()
    return work.outcomes


def train(project: Project, name: str, report: Report) -> list[RunOutcome]:
    """Train on all known outcomes, whatever was learned before: first the features that other SQL made are made
    again, of the batches that are learned from and of newer ones, and at the end what is open is scored. It ends with
    the first run that fails; AlreadyRunning where another run is at work on the same, TableMissing where there are no
    features yet."""
    with answering(project.tracking_uri), _work(project, name, report) as work:
        if not work.lake.batches(work.portfolio.table(FEATURES)):
            raise TableMissing(f"Nothing of {name} is ingested yet: `credit-assets deliver`, then `credit-assets run`.")
        stale = to_make_again(work.portfolio, work.lake, work.book.queries)
        for due in [*stale, Due("train", None, RequestedByHand(), key=f"by_hand:{uuid.uuid4()}")]:
            if busy := work.run(due):
                raise AlreadyRunning(f"Run {busy} is at work on {due.batch or 'a training'}. Train once it has ended.")
            if not work.outcomes[-1].success:
                return work.outcomes
        _tell_champion(project, name, report)
        work.score()
    return work.outcomes


@dataclass(frozen=True)
class _Work:
    """Runs of a portfolio, one after the other, and what became of them."""

    book: Book
    instance: dg.DagsterInstance
    definitions: dg.Definitions
    report: Report
    outcomes: list[RunOutcome] = field(default_factory=list)

    @property
    def project(self) -> Project:
        return self.book.project

    @property
    def portfolio(self) -> Portfolio:
        return self.book.portfolio

    @property
    def lake(self) -> Lake:
        return Lake(self.project.lake)

    def run(self, due: Due) -> str | None:
        """Run what is due, unless another run is at work on the same, whose id is returned then."""
        self.report(f"{due.job}{f' {due.batch}' if due.batch else ''}: {text(due)}")
        name = self.portfolio.name
        # The daemon's; a command's own have ended.
        if busy := runs_at_work(self.instance, self.portfolio, **_same_work(self.portfolio, due)):
            self.report(f"  waits: run {busy[0].run_id} is at work")
            return busy[0].run_id
        if due.batch:
            self.instance.add_dynamic_partitions(f"{name}_batches", [due.batch])
        asked = request(self.portfolio, due)
        self.outcomes.append(
            execute(
                self.instance,
                self.definitions,
                name,
                due.job,
                due.batch,
                self.report,
                due.tables,
                asked.tags,
                asked.run_config,
            )
        )
        return None

    def score(self) -> None:
        if champion := registry.champion(self.project.tracking_uri, self.portfolio.name):
            for due in to_score(self.portfolio, self.lake, int(champion.version)):
                self.run(due)


@contextmanager
def _work(project: Project, name: str, report: Report) -> Iterator[_Work]:
    book = Book.load(project, name)
    with instance_for_commands(project, name) as instance:
        yield _Work(book, instance, definitions_of(book), report)


def roll_back(project: Project, name: str, to: int | None, why: str, report: Report) -> RunOutcome:
    """Have the champion's predecessor, or version `to`, decide again, by the job `rollback`."""
    config: dict[str, Any] = {"roll_back": True, "why": why} | ({"to_version": to} if to else {})
    with answering(project.tracking_uri), instance_for_commands(project, name) as instance:
        asked = champion_config(name, **config)
        outcome = execute(instance, build(name, project), name, "rollback", None, report, run_config=asked)
        if outcome.success:
            _tell_champion(project, name, report)
    return outcome


def promote(project: Project, name: str, version: int, by: str, why: str, report: Report) -> RunOutcome | None:
    """Promote a version by hand, whatever the gate said of it, by the job `promote`; or, where more persons have to
    approve, note that this one does, and report who is missing. Raises PromotionRefused or RegistryError."""
    uri, needed = project.tracking_uri, Portfolio.load(project, name).promotion.approvals
    with answering(uri):
        if len(registry.approvals_with(uri, name, version, by)) < needed:
            report(str(registry.override(uri, name, version, by=by, why=why, approvals=needed)))
            return None
        with instance_for_commands(project, name) as instance:
            asked = promotion_config(name, version, by, why)
            outcome = execute(instance, build(name, project), name, "promote", None, report, run_config=asked)
        if outcome.success:
            _tell_champion(project, name, report)
    return outcome


def _tell_champion(project: Project, name: str, report: Report) -> None:
    move = registry.history(project.tracking_uri, name)[-1]
    report(f"Version {move.version} of {name} decides since {move.at:%Y-%m-%d %H:%M} UTC: {move.why}")


def status(project: Project, name: str) -> dict[str, Any]:
    """How the portfolio stands, as plain data: batches with their rows, the champion with its metrics, the
    latest result of each check, and what is outstanding."""
    book = Book.load(project, name)
    portfolio, inbox, lake = book.portfolio, Inbox(project.inbox), Lake(project.lake)
    tables = (*portfolio.tables, *TABLES)
    written = {table: lake.batches(portfolio.table(table)) for table in tables}
    delivered = set(inbox.batches(name))
    names = sorted(delivered.union(*written.values()))
    versions = {int(version.version): version for version in registry.versions(project.tracking_uri, name)}
    importance = cache(lambda number: registry.importance(project.tracking_uri, str(versions[number].run_id)))
    batches = [
        batch_status(portfolio, lake, versions, importance, batch, batch in delivered, written) for batch in names
    ]
    champion = _champion(project, portfolio)
    deliveries = to_ingest(portfolio, inbox, lake)
    due = deliveries + to_train(portfolio, lake, champion is not None)
    due += to_score(portfolio, lake, champion["version"] if champion else None)
    with dg.DagsterInstance.get() as instance:
        checks = list(_latest_checks(instance, definitions_of(book)))
        outstanding = [
            {
                "job": item.job,
                "batch": item.batch,
                "reason": item.reason.code,
                "why": text(item),
                "failure": _failure(instance, portfolio, item),
                "refused": item in deliveries and refusal(instance, portfolio, item) is not None,
            }
            for item in due
        ]
    stale = to_make_again(portfolio, lake, book.queries)
    return {
        "portfolio": name,
        "title": portfolio.title,
        "batches": batches,
        "champion": champion,
        "checks": checks,
        "outstanding": outstanding,
        "features_of_other_sql": {item.batch: text(item) for item in stale},
    }


def _failure(instance: dg.DagsterInstance, portfolio: Portfolio, due: Due) -> str | None:
    """Why the newest run for it failed, if it did; a check that stopped it speaks for itself."""
    runs = instance.get_runs(dg.RunsFilter(tags=_same_work(portfolio, due)), limit=RUNS_LOOKED_AT)
    newest = next((run for run in runs if run.job_name in (due.job, "batch")), None)
    if newest is None or not newest.is_failure:
        return None
    return f"run {newest.run_id} failed: {refusal_text(instance, newest, disclose=True)}"


def _same_work(portfolio: Portfolio, due: Due) -> dict[str, str]:
    """The tags of runs that make something of the same batch, or that train too."""
    return {PORTFOLIO_TAG: portfolio.name} | (
        {PARTITION_NAME_TAG: due.batch} if due.batch else {TRAINING_TAG: portfolio.name}
    )


def _champion(project: Project, portfolio: Portfolio) -> dict[str, Any] | None:
    name = portfolio.name
    found = registry.champion(project.tracking_uri, name)
    if found is None:
        return None
    metrics = registry.metrics(project.tracking_uri, found.run_id)
    return {
        "model": name,
        "version": int(found.version),
        "registered_at": datetime.fromtimestamp(found.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        "synthetic": found.tags["synthetic"] == "true",
        "cut_off": registry.cut_off(project.tracking_uri, name, found.version),
        "metrics": {name: value for name, value in metrics.items() if not name.startswith("air_")},
        "air": {name.removeprefix("air_"): value for name, value in metrics.items() if name.startswith("air_")},
        "protected": list(portfolio.protected),
    }


def _latest_checks(instance: dg.DagsterInstance, definitions: dg.Definitions) -> Iterator[dict[str, Any]]:
    """The latest evaluation of every check of the portfolio that has been evaluated."""
    for key in sorted(definitions.resolve_asset_graph().asset_check_keys):
        record = latest_evaluation(instance, key)
        if record and record.event and (evaluation := record.evaluation):
            run = instance.get_run_by_id(record.run_id)
            candidate = evaluation.metadata.get("candidate_version")
            yield {
                "asset": key.asset_key.path[-1],
                "check": key.name,
                "batch": run.tags.get("dagster/partition") if run else None,
                "candidate_version": candidate.value if candidate else None,
                "passed": evaluation.passed,
                "severity": evaluation.severity.value,
                "words": evaluation.description,
                "at": datetime.fromtimestamp(record.event.timestamp, UTC).isoformat(timespec="seconds"),
            }
