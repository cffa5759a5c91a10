"""Active runs of a portfolio: queued, running, or failed with a retry pending."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg

from credit_assets.automation.due import Due
from credit_assets.dagster_private import (
    AUTO_RETRY_RUN_ID_TAG,
    NOT_FINISHED_STATUSES,
    PARTITION_NAME_TAG,
    WILL_RETRY_TAG,
    daemon_cursor_key,
)
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.run_tags import PORTFOLIO_TAG, TRAINING_TAG

RETRY_WINDOW_S = 1800.0
"""Seconds for which a failed run counts as active while Dagster has not decided whether to launch it again."""
FAILURES_PER_READ = 1000
DAEMON_CURSOR = daemon_cursor_key(dg.DagsterEventType.RUN_FAILURE)


def active_runs(instance: dg.DagsterInstance, portfolio: Portfolio, **tags: str) -> list[dg.DagsterRun]:
    """The portfolio's active runs with these tags."""
    wanted = {PORTFOLIO_TAG: portfolio.name, **tags}
    unfinished = instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES, tags=wanted))
    return [*unfinished, *_retryable_failures(instance, wanted)]


def active_batches(instance: dg.DagsterInstance, portfolio: Portfolio) -> set[str]:
    """The batches that an active run is working on."""
    runs = active_runs(instance, portfolio)
    return {run.tags[PARTITION_NAME_TAG] for run in runs if PARTITION_NAME_TAG in run.tags}


def tags_of_same_work(portfolio: Portfolio, due: Due) -> dict[str, str]:
    """Tags that select the runs of the same batch or, if there is none, the trainings of the portfolio."""
    return {PORTFOLIO_TAG: portfolio.name} | (
        {PARTITION_NAME_TAG: due.batch} if due.batch else {TRAINING_TAG: portfolio.name}
    )


def requeue_missed_failures(instance: dg.DagsterInstance) -> list[str]:
    """Make Dagster's daemon re-read run failures that it has read without acting on them; returns the run ids.

    The daemon reads each failure once. If it does so between the event and the run's new status, or while the code
    server does not answer, it does nothing, and the run is never launched again. Reading a failure twice does no
    harm: a run that has been launched again is not launched a third time. The daemon has one cursor for all portfolios,
    so the failures of all portfolios are read again.
    """
    retryable = {run.run_id for run in _retryable_failures(instance, {})}
    if not retryable:
        return []
    # Only the daemon writes the cursor; if there is none, nothing has been missed.
    read_to = instance.daemon_cursor_storage.get_cursor_values({DAEMON_CURSOR}).get(DAEMON_CURSOR)
    if read_to is None:
        return []
    failures = instance.fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(
            event_type=dg.DagsterEventType.RUN_FAILURE, after_timestamp=time.time() - RETRY_WINDOW_S
        ),
        limit=FAILURES_PER_READ,
    ).records
    missed = {
        record.storage_id: record.run_id
        for record in failures
        if record.run_id in retryable and record.storage_id <= int(read_to)
    }
    if missed:
        instance.daemon_cursor_storage.set_cursor_values({DAEMON_CURSOR: str(min(missed) - 1)})
    return sorted(missed.values())


def _retryable_failures(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> list[dg.DagsterRun]:
    """The failed runs with these tags that Dagster may still launch again."""
    now = time.time()
    records = instance.get_run_records(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.FAILURE],
            tags=tags,
            updated_after=datetime.fromtimestamp(now - RETRY_WINDOW_S, UTC),
        )
    )
    return [record.dagster_run for record in records if may_be_retried(instance, record, now)]


def may_be_retried(instance: dg.DagsterInstance, record: dg.RunRecord, now: float) -> bool:
    """Whether Dagster may still launch the failed run again; it never does for the run of a command."""
    run = record.dagster_run
    if not (run.is_failure and instance.run_retries_enabled and run.remote_job_origin):
        return False
    if AUTO_RETRY_RUN_ID_TAG in run.tags or now - record.update_timestamp.timestamp() > RETRY_WINDOW_S:
        return False
    return run.tags.get(WILL_RETRY_TAG, "true") == "true"
