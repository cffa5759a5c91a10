"""What the `credit-assets` command does through Dagster: run what is outstanding, and tell how things stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import duckdb
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as EVALUATED,
)
from dagster._core.storage.tags import PARTITION_NAME_TAG

from credit_assets.automation.at_work import runs_at_work
from credit_assets.automation.jobs import TRAINING_TAG, champion_config
from credit_assets.automation.outstanding import (
    FEATURES,
    SCORE_DRIFT,
    SCORES,
    Outstanding,
    outcomes_known,
    to_ingest,
    to_score,
    to_train,
)
from credit_assets.automation.retraining import rollback, training
from credit_assets.automation.runs import RunOutcome, execute, instance_for_commands
from credit_assets.automation.sensors import request
from credit_assets.definitions import build
from credit_assets.lake.tables import Commit, Lake
from credit_assets.models import registry
from credit_assets.models.policy import APPROVE
from credit_assets.portfolio import Portfolio
from credit_assets.project import Project
from credit_assets.raw.delivery import Inbox

Report = Callable[[str], None]


def run_outstanding(project: Project, name: str, report: Report) -> list[RunOutcome]:
    """Make everything of the portfolio that is due: batches not ingested, a champion where there is none, scores,
    and what failed checks ask for. A run that fails does not stop those that do not need it; what is still due
    afterwards is due the next time."""
    portfolio, inbox, lake = Portfolio.load(project, name), Inbox(project.inbox), Lake(project.lake)
    outcomes: list[RunOutcome] = []
    with instance_for_commands(project, name) as instance:
        definitions = build(name, project)

        def run(due: Outstanding) -> None:
            report(f"{due.job}{f' {due.batch}' if due.batch else ''}: {due.why}")
            # The daemon's; a command's own have ended.
            if busy := _at_work(instance, portfolio, due):
                report(f"  waits: run {busy} is at work")
                return
            if due.batch:
                instance.add_dynamic_partitions(f"{name}_batches", [due.batch])
            asked = request(portfolio, due)
            outcomes.append(
                execute(
                    instance, definitions, name, due.job, due.batch, report, due.tables, asked.tags, asked.run_config
                )
            )

        def score() -> None:
            if champion := registry.champion(project.tracking_uri, name):
                for due in to_score(portfolio, lake, int(champion.version)):
                    run(due)

        for due in to_ingest(portfolio, inbox, lake):
            run(due)
        for due in to_train(portfolio, lake, registry.champion(project.tracking_uri, name) is not None):
            run(due)
        score()
        for answer in (
            lambda: rollback(instance, portfolio, project),
            lambda: training(instance, portfolio, project, lake, datetime.now(UTC)),
        ):
            asked_for = answer()
            if isinstance(asked_for, Outstanding):
                run(asked_for)
                score()
    return outcomes


def _at_work(instance: dg.DagsterInstance, portfolio: Portfolio, due: Outstanding) -> str | None:
    """The run that makes something of the same batch, or trains too."""
    same = {PARTITION_NAME_TAG: due.batch} if due.batch else {TRAINING_TAG: portfolio.name}
    return next((run.run_id for run in runs_at_work(instance, portfolio, **same)), None)


def roll_back(project: Project, name: str, to: int | None, why: str, report: Report) -> RunOutcome:
    """Have the champion's predecessor, or version `to`, decide again, by the job `rollback`."""
    config: dict[str, Any] = {"roll_back": True, "why": why} | ({"to_version": to} if to else {})
    with instance_for_commands(project, name) as instance:
        asked = champion_config(name, **config)
        outcome = execute(instance, build(name, project), name, "rollback", None, report, run_config=asked)
    if outcome.success:
        move = registry.history(project.tracking_uri, name)[-1]
        report(f"Version {move.version} of {name} decides since {move.at:%Y-%m-%d %H:%M} UTC: {move.why}")
    return outcome


def status(project: Project, name: str) -> dict[str, Any]:
    """How the portfolio stands, as plain data: batches with their rows, the champion with its metrics, the
    latest result of each check, and what is outstanding."""
    portfolio, inbox, lake = Portfolio.load(project, name), Inbox(project.inbox), Lake(project.lake)
    tables = (*portfolio.models, FEATURES, SCORES, SCORE_DRIFT)
    written = {table: lake.batches(portfolio.table(table)) for table in tables}
    delivered = set(inbox.batches(name))
    names = sorted(delivered.union(*written.values()))
    batches = [_batch(portfolio, lake, batch, batch in delivered, written) for batch in names]
    with dg.DagsterInstance.get() as instance:
        checks = list(_latest_checks(instance, build(name, project)))
    champion = _champion(project, name)
    due = to_ingest(portfolio, inbox, lake) + to_train(portfolio, lake, champion is not None)
    due += to_score(portfolio, lake, champion["version"] if champion else None)
    return {
        "portfolio": name,
        "title": portfolio.title,
        "batches": batches,
        "champion": champion,
        "checks": checks,
        "outstanding": [{"job": item.job, "batch": item.batch, "why": item.why} for item in due],
    }


def _batch(
    portfolio: Portfolio, lake: Lake, batch: str, delivered: bool, written: Mapping[str, Mapping[str, Commit]]
) -> dict[str, Any]:
    commits = {table: of_table[batch] for table, of_table in written.items() if batch in of_table}
    rows = {table: int(commit.metadata["rows"]) for table, commit in commits.items()}
    figures: dict[str, Any] = {"outcomes_known": None, "approval_rate": None, "score_psi": None, "drift": None}
    with duckdb.connect() as con:

        def ask(question: str, *tables: str) -> tuple[Any, ...] | None:
            if not all(table in commits for table in tables):
                return None
            sources = [f"({lake.query(portfolio.table(table), [batch])})" for table in tables]
            return con.execute(question.format(*sources)).fetchone()

        if portfolio.application_table in commits and portfolio.outcomes_table in commits:
            figures["outcomes_known"] = outcomes_known(portfolio, lake, batch)
        if found := ask(f"SELECT avg((decision = '{APPROVE}')::INT) FROM {{0}}", SCORES):
            figures["approval_rate"] = found[0]
        if found := ask("SELECT max(psi), max(verdict) FROM {0}", SCORE_DRIFT):
            figures["score_psi"], figures["drift"] = found
    return {
        "batch": batch,
        "delivered": delivered,
        "synthetic": any(commit.metadata.get("synthetic") == "true" for commit in commits.values()),
        "applicants": rows.get(portfolio.application_table),
        "raw_rows": {table: rows[table] for table in portfolio.models if table in rows},
        "ingested_at": _when(commits.get(portfolio.application_table)),
        "scored_at": _when(commits.get(SCORES)),
        **figures,
    }


def _champion(project: Project, name: str) -> dict[str, Any] | None:
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
    }


def _latest_checks(instance: dg.DagsterInstance, definitions: dg.Definitions) -> Iterator[dict[str, Any]]:
    """The latest evaluation of every check of the portfolio that has been evaluated."""
    for key in sorted(definitions.resolve_asset_graph().asset_check_keys):
        # Of those that were evaluated: a run that failed before it came to a check leaves a planned one.
        for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=EVALUATED):
            run = instance.get_run_by_id(record.run_id)
            if record.event and (evaluation := record.evaluation):
                yield {
                    "asset": key.asset_key.path[-1],
                    "check": key.name,
                    "batch": run.tags.get("dagster/partition") if run else None,
                    "passed": evaluation.passed,
                    "severity": evaluation.severity.value,
                    "words": evaluation.description,
                    "at": datetime.fromtimestamp(record.event.timestamp, UTC).isoformat(timespec="seconds"),
                }


def _when(commit: Commit | None) -> str | None:
    return datetime.fromtimestamp(commit.timestamp_ms / 1000, UTC).isoformat(timespec="seconds") if commit else None
