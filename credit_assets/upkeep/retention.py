"""Retention of the Dagster instance: deletes old runs with their events, evaluations and logs.

Runs with the latest event of an asset, check or batch are kept, and those that the caller names because tables or
promotions refer to them. Dagster itself deletes old ticks (`retention` in dagster.yaml).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import dagster as dg
import sqlalchemy as sa

from credit_assets.dagster_private import COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as EVALUATED
from credit_assets.dagster_private import (
    FINISHED_STATUSES,
    PARTITION_NAME_TAG,
    RUNLESS_RUN_ID,
    AssetCheckExecutionsTable,
    SqlEventLogStorage,
    SqlEventLogStorageTable,
    SqliteEventLogStorage,
    SqlRunStorage,
    SqlScheduleStorage,
)
from credit_assets.settings.run_tags import PORTFOLIO_TAG

# The latest of each of these events defines the state of an asset.
ASSET_EVENTS = [dg.DagsterEventType.ASSET_MATERIALIZATION.value, dg.DagsterEventType.ASSET_OBSERVATION.value]
SECONDS_TO_WAIT = 60


@dataclass(frozen=True)
class Purged:
    """How many old runs were deleted and kept, and by how many bytes the databases shrank."""

    deleted: int
    kept: int
    bytes_freed: int


def purge(instance: dg.DagsterInstance, portfolio: str, keep_runs: Collection[str], before: datetime) -> Purged:
    """Delete the portfolio's runs that ended before this time, and those of no portfolio, with everything that the
    instance stores about them.

    Runs in `keep_runs` are kept, as are runs with the latest materialization or observation of an asset or of a batch
    of it, or the latest evaluation of a check for a batch, because they define the current state of assets, batches and
    checks. The next purge completes one that was killed. SQLite files are vacuumed; Postgres does that itself. The run
    key of a deleted run may be used again.
    """
    events = instance.event_log_storage
    assert isinstance(events, SqlEventLogStorage)
    occupied = sum(map(_size, _databases(instance)))
    ended = instance.get_runs(dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before))
    old = [run.run_id for run in ended if _owner(run) in (portfolio, None)]
    needed = _latest(instance, events) | set(keep_runs)
    deleted = [run_id for run_id in old if run_id not in needed]
    logs = instance.compute_log_manager
    for run_id in deleted:
        logs.delete_logs(prefix=[run_id])
        with events.index_transaction() as connection:
            events.delete_events_for_run(connection, run_id)
            connection.execute(sa.delete(AssetCheckExecutionsTable).where(AssetCheckExecutionsTable.c.run_id == run_id))
        # The run is deleted last, so that the next purge completes one that was killed.
        instance.run_storage.delete_run(run_id)
    freed = 0
    if isinstance(events, SqliteEventLogStorage):
        freed = _delete_event_logs(instance, events)
        if deleted:
            for database in _databases(instance):
                _vacuum(database)
    shrunk = occupied - sum(map(_size, _databases(instance)))
    return Purged(len(deleted), len(old) - len(deleted), freed + shrunk)


def _owner(run: dg.DagsterRun) -> str | None:
    """The portfolio of the run, from its job or, for a run from the UI, from its code location."""
    origin = run.remote_job_origin
    location = origin.repository_origin.code_location_origin.location_name if origin else None
    return run.tags.get(PORTFOLIO_TAG, location)


def _latest(instance: dg.DagsterInstance, events: SqlEventLogStorage) -> set[str]:
    """The runs with the latest event of an asset's batch, or the latest evaluation of a check for a batch."""
    log, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    newest = (
        sa.select(sa.func.max(log.id))
        .where(log.dagster_event_type.in_(ASSET_EVENTS))
        .group_by(log.asset_key, log.partition, log.dagster_event_type)
    )
    evaluated = [status.value for status in EVALUATED]
    with events.index_connection() as connection:
        makers = {row.run_id for row in connection.execute(sa.select(log.run_id).where(log.id.in_(newest)))}
        evaluations = connection.execute(
            sa.select(checks.asset_key, checks.check_name, checks.partition, checks.run_id)
            .where(checks.execution_status.in_(evaluated))
            .order_by(checks.id)
        ).fetchall()
    # Only partitioned checks record their batch, but runs always do.
    batch_of = {run.run_id: run.tags.get(PARTITION_NAME_TAG) for run in instance.get_runs()}
    latest = {(row.asset_key, row.check_name, row.partition or batch_of.get(row.run_id)): row for row in evaluations}
    return makers | {row.run_id for row in latest.values()}


def _delete_event_logs(instance: dg.DagsterInstance, events: SqliteEventLogStorage) -> int:
    """Delete the per-run databases of SQLite's event log that belong to deleted runs; returns their bytes."""
    # In this order, because a run exists before its database.
    found = set(events.get_all_run_ids()) - {RUNLESS_RUN_ID}
    freed = 0
    for run_id in found - {run.run_id for run in instance.get_runs()}:
        database = Path(events.path_for_shard(run_id))
        freed += _size(database)
        for file in (database, *_companions(database)):
            file.unlink(missing_ok=True)
    return freed


def _databases(instance: dg.DagsterInstance) -> Iterator[Path]:
    """The SQLite files of runs, of all runs' asset events, and of ticks; empty for another storage."""
    events, runs, schedules = instance.event_log_storage, instance.run_storage, instance.schedule_storage
    assert isinstance(events, SqlEventLogStorage)
    assert isinstance(runs, SqlRunStorage)
    assert isinstance(schedules, SqlScheduleStorage)
    for connect in (events.index_connection, runs.connect, schedules.connect):
        with connect() as connection:
            if connection.engine.dialect.name == "sqlite" and (file := connection.engine.url.database):
                yield Path(file)


def _vacuum(database: Path) -> None:
    """Return the free pages of the file to the disk. If it is locked for too long, this is left to the next purge."""
    with closing(sqlite3.connect(database, timeout=SECONDS_TO_WAIT, isolation_level=None)) as connection:
        try:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise


def _size(database: Path) -> int:
    return sum(file.stat().st_size for file in (database, *_companions(database)) if file.exists())


def _companions(database: Path) -> list[Path]:
    """The companion files of a SQLite database that is, or was, in use."""
    return [database.with_name(f"{database.name}{ending}") for ending in ("-wal", "-shm")]
