"""Withdraw a mistaken delivery: remove it from the inbox, the lake and the partitions, and resolve its failed checks.

Every step can be repeated, so running the command again completes a withdrawal that was killed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import dagster as dg

from credit_assets.application.check_results import WITHDRAWN, check_keys, evaluations, reported_batch
from credit_assets.application.work import Report
from credit_assets.automation.active_runs import active_runs
from credit_assets.automation.runs import instance_for_commands
from credit_assets.book.book import Book
from credit_assets.dagster_private import PARTITION_NAME_TAG
from credit_assets.features.training_rows import TRAINING_SET, training_rows
from credit_assets.features.versions import FEATURES, read_at
from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.connections import connect
from credit_assets.lake.provenance import BATCH
from credit_assets.lake.sql import sql_text
from credit_assets.lake.tables import Lake, TableMissing
from credit_assets.registry.errors import RegistryError
from credit_assets.registry.registry import Registry
from credit_assets.registry.version import ModelVersion
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import AlreadyRunning, Project
from credit_assets.settings.run_tags import TRAINING_TAG


def withdraw(project: Project, name: str, batch: str, *, why: str, force: bool, report: Report) -> int | None:
    """Withdraw the whole batch. Returns the champion's version if it learned from the batch.

    Raises BadDelivery if there is no such batch, or if the champion learned from it and `force` is not set;
    AlreadyRunning if a run is active on the batch, or a training is active.
    """
    portfolio, inbox, lake = Portfolio.load(project, name), Inbox(project.inbox), Lake(project.lake)
    with instance_for_commands(project, name) as instance:
        tables = [table for table in lake.tables(name) if batch in lake.batches(table)]
        delivered = batch in inbox.batches(name)
        if not (tables or delivered or batch in instance.get_dynamic_partitions(f"{name}_batches")):
            raise BadDelivery(f"Portfolio {name} has no batch {batch}, neither in the inbox nor in the lake.")
        champion = _require_allowed(instance, project, portfolio, batch, None, force)
        if kept := inbox.withdraw(name, batch):
            report(f"{batch} is removed from the inbox; its files are kept in {kept}")
        # The daemon may have started a run meanwhile, which would write the removed rows again.
        _refuse_while_active(instance, portfolio, batch)
        _resolve_failed_checks(instance, check_keys(Book(project, portfolio)), batch)
        # Features are removed first, because nothing is due for a batch without them.
        for table in sorted(tables, key=lambda table: (table != portfolio.table(FEATURES), table)):
            _withdraw_rows(lake, table, batch, why, report)
        instance.delete_dynamic_partition(f"{name}_batches", batch)
    return champion


def withdraw_outcomes(project: Project, name: str, batch: str, *, why: str, force: bool, report: Report) -> int | None:
    """Withdraw the newest outcomes file of the batch. Returns the champion's version if it learned from them. The next
    run reads the remaining files.

    Raises BadDelivery if there is no such file, or if the champion learned from it and `force` is not set;
    AlreadyRunning if a run is active on the batch, or a training is active.
    """
    portfolio, inbox, lake = Portfolio.load(project, name), Inbox(project.inbox), Lake(project.lake)
    with instance_for_commands(project, name) as instance:
        file = inbox.last_outcomes(name, batch)
        champion = _require_allowed(instance, project, portfolio, batch, file, force)
        # Rows are removed first: if the command is killed in between, running it again removes the same file.
        table = portfolio.table(portfolio.outcomes_table)
        if lake.exists(table) and batch in lake.batches(table):
            _withdraw_rows(lake, table, batch, why, report, file.name)
        _, kept = inbox.withdraw_outcomes(name, batch)
        report(f"{file.name} of {batch} is removed from the inbox; it is kept as {kept}")
    return champion


def _withdraw_rows(lake: Lake, table: str, batch: str, why: str, report: Report, file: str | None = None) -> None:
    """Remove the batch's rows from the table, or only those of one outcomes file."""
    lake.withdraw(table, batch, why, file)
    report(f"{table} no longer contains {batch}; version {lake.version(table) - 1} of the table still does")


def _require_allowed(
    instance: dg.DagsterInstance, project: Project, portfolio: Portfolio, batch: str, file: Path | None, force: bool
) -> int | None:
    """Check that the withdrawal is allowed. Returns the champion's version if it learned from the batch, or from this
    file of its outcomes. Raises AlreadyRunning if a run is active, and BadDelivery if the champion learned from it and
    `force` is not set."""
    _refuse_while_active(instance, portfolio, batch)
    champion = _champion_that_learned(Registry.of(project, portfolio.name), portfolio, Lake(project.lake), batch, file)
    if champion is not None and not force:
        what, they_are, them = batch, "the batch is", "it"
        if file is not None:
            what, they_are, them = f"outcomes in {file.name} of {batch}", "they are", "them"
        raise BadDelivery(
            f"Version {champion} of {portfolio.name}, the champion, learned from {what}. With --force, {they_are} "
            f"withdrawn, and the champion decides until a training without {them} is promoted."
        )
    return champion


def _refuse_while_active(instance: dg.DagsterInstance, portfolio: Portfolio, batch: str) -> None:
    for tags in ({PARTITION_NAME_TAG: batch}, {TRAINING_TAG: portfolio.name}):
        if active := active_runs(instance, portfolio, **tags):
            raise AlreadyRunning(
                f"Run {active[0].run_id} is active on {batch} or a training. Wait until it ends, then withdraw again."
            )


def _champion_that_learned(
    registry: Registry, portfolio: Portfolio, lake: Lake, batch: str, outcomes: Path | None = None
) -> int | None:
    """The champion's version if the batch, or this file of its outcomes, is in its training set; else None."""
    champion = registry.champion()
    if champion is None:
        return None
    try:
        rows = training_rows(lake, portfolio, champion)
    except (RegistryError, TableMissing):
        # The version was not made by a training of this platform.
        return None
    with connect() as con:
        found = con.execute(f"SELECT 1 FROM ({rows}) WHERE {BATCH} = {sql_text(batch)} LIMIT 1").fetchall()
    if not found or (outcomes is not None and not _read_by(lake, portfolio, batch, champion, outcomes.name)):
        return None
    return champion.number


def _read_by(lake: Lake, portfolio: Portfolio, batch: str, champion: ModelVersion, file: str) -> bool:
    """Whether the file was one of the sources of the batch's outcomes when the champion's training set was made; also
    True if the log does not reach back that far."""
    outcomes, training_set = portfolio.table(portfolio.outcomes_table), portfolio.table(TRAINING_SET)
    made = champion.made_from(training_set)
    commit = next((each for each in lake.history(training_set) if each.version == made), None)
    read = commit.provenance.inputs.get(outcomes) if commit else None
    if read is None:
        return True
    written = read_at(partial(lake.writes, withdrawn=True), outcomes, batch, read)
    return written is not None and file in written.provenance.sources


def _resolve_failed_checks(instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey], batch: str) -> None:
    """Record a passing evaluation of each check whose last one on the batch failed, as nothing is left to check."""
    runs = {run.run_id for run in instance.get_runs(dg.RunsFilter(tags={PARTITION_NAME_TAG: batch}))}
    for key in keys:
        for record in evaluations(instance, key):
            evaluation = record.evaluation
            if evaluation is None or not (record.run_id in runs or reported_batch(evaluation) == batch):
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
