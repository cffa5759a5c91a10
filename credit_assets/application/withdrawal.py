"""A delivery that was a mistake is taken back: from inbox, lake, partitions and the checks that failed on it.

Every step can be repeated: a withdrawal that was killed is ended by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as EVALUATED,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord
from dagster._core.storage.tags import PARTITION_NAME_TAG

from credit_assets.automation.active_runs import runs_at_work
from credit_assets.automation.runs import instance_for_commands
from credit_assets.definitions import build
from credit_assets.features.versions import FEATURES
from credit_assets.ingest.inbox import BadDelivery, Inbox
from credit_assets.lake.connections import connect
from credit_assets.lake.tables import BATCH, WITHDRAWN, Lake, TableMissing, sql_text
from credit_assets.models import registry
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import AlreadyRunning, Project
from credit_assets.settings.run_tags import TRAINING_TAG

LOOK_BACK = 50
"""Evaluations of a check that are read, newest first, for the last one on the batch."""


def withdraw(
    project: Project, name: str, batch: str, *, why: str, force: bool, report: Callable[[str], None]
) -> int | None:
    """Take the batch back as a whole; the champion's version where it learned from the batch.

    BadDelivery where there is no such batch, or (unless `force`) the champion learned from it; AlreadyRunning where a
    run is at work on the batch, or a training is.
    """
    portfolio, inbox, lake = Portfolio.load(project, name), Inbox(project.inbox), Lake(project.lake)
    with instance_for_commands(project, name) as instance:
        tables = [table for table in lake.tables(name) if batch in lake.batches(table)]
        delivered = batch in inbox.batches(name)
        if not (tables or delivered or batch in instance.get_dynamic_partitions(f"{name}_batches")):
            raise BadDelivery(f"Portfolio {name} has no batch {batch}, neither in the inbox nor in the lake.")
        _refuse_while_at_work(instance, portfolio, batch)
        champion = _champion_that_learned(project, portfolio, lake, batch)
        if champion is not None and not force:
            raise BadDelivery(
                f"Version {champion} of {name}, the champion, learned from {batch}. With --force the batch is "
                "withdrawn all the same, and the champion decides on until a training without it is promoted."
            )
        definitions = build(name, project)
        if kept := inbox.withdraw(name, batch):
            report(f"{batch} is out of the inbox; its files are in {kept}")
        # The daemon may have started one meanwhile, which would write what is removed here once more.
        _refuse_while_at_work(instance, portfolio, batch)
        _end_failed_checks(instance, definitions, batch)
        # The features first: without them nothing is due for the batch.
        for table in sorted(tables, key=lambda table: (table != portfolio.table(FEATURES), table)):
            lake.withdraw(table, batch, why)
            report(f"{table} no longer holds {batch}; version {lake.version(table) - 1} of the table still does")
        instance.delete_dynamic_partition(f"{name}_batches", batch)
    return champion


def _refuse_while_at_work(instance: dg.DagsterInstance, portfolio: Portfolio, batch: str) -> None:
    for tags in ({PARTITION_NAME_TAG: batch}, {TRAINING_TAG: portfolio.name}):
        if busy := runs_at_work(instance, portfolio, **tags):
            raise AlreadyRunning(
                f"Run {busy[0].run_id} is at work on {batch} or a training. Wait for it to end, then withdraw again."
            )


def _champion_that_learned(project: Project, portfolio: Portfolio, lake: Lake, batch: str) -> int | None:
    """The champion's version, if the batch is in its training set."""
    champion, table = registry.champion(project.tracking_uri, portfolio.name), portfolio.table("training_set")
    if champion is None:
        return None
    try:
        rows = lake.query(table, version=registry.learned_from(champion, table))
    except (KeyError, TableMissing):
        # A version that was not made by this platform's training.
        return None
    with connect() as con:
        found = con.execute(f"SELECT 1 FROM ({rows}) WHERE {BATCH} = {sql_text(batch)} LIMIT 1").fetchall()
    return int(champion.version) if found else None


def _end_failed_checks(instance: dg.DagsterInstance, definitions: dg.Definitions, batch: str) -> None:
    """Report the checks that failed last on the batch as passed: there is nothing left that they are about."""
    for key in definitions.resolve_asset_graph().asset_check_keys:
        for record in _history(instance, key, LOOK_BACK):
            evaluation = record.evaluation
            if evaluation is None or batch not in _batches_of(instance, record):
                continue
            if not evaluation.passed:
                instance.report_runless_asset_event(
                    dg.AssetCheckEvaluation(
                        asset_key=key.asset_key,
                        check_name=key.name,
                        passed=True,
                        severity=evaluation.severity,
                        description=f"The batch {batch} was withdrawn.",
                        metadata={**evaluation.metadata, "batch": batch, WITHDRAWN: True},
                    )
                )
            break


def latest_evaluation(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> AssetCheckExecutionRecord | None:
    """The check's latest evaluation, those of withdrawn batches left out where there are others."""
    # Of those that were evaluated: a run that failed before it came to a check leaves a planned one.
    newest = _history(instance, key, 1)
    if not newest or not _is_withdrawal(newest[0]):
        return next(iter(newest), None)
    withdrawn: set[str] = set()
    for record in _history(instance, key, LOOK_BACK):
        of = _batches_of(instance, record)
        if _is_withdrawal(record):
            withdrawn |= of
        elif withdrawn.isdisjoint(of):
            return record
    return newest[0]


def _history(instance: dg.DagsterInstance, key: dg.AssetCheckKey, limit: int) -> Sequence[AssetCheckExecutionRecord]:
    return instance.event_log_storage.get_asset_check_execution_history(key, limit=limit, status=EVALUATED)


def _is_withdrawal(record: AssetCheckExecutionRecord) -> bool:
    return record.evaluation is not None and WITHDRAWN in record.evaluation.metadata


def _batches_of(instance: dg.DagsterInstance, record: AssetCheckExecutionRecord) -> set[str]:
    """The batch that was checked, by the run and by what the check reports."""
    run, evaluation = instance.get_run_by_id(record.run_id), record.evaluation
    reported = evaluation.metadata.get("batch") if evaluation else None
    named = (run.tags.get(PARTITION_NAME_TAG) if run else None, reported and str(reported.value))
    return {batch for batch in named if batch}
