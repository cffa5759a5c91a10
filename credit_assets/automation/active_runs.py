"""Active runs of a portfolio: queued, running, or crashed and about to be launched again."""

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

RETRY_DECIDED_S = 1800.0
"""That a failed run counts as at work while Dagster has neither launched it again nor said that it will not."""
FAILURES_A_LOOK = 1000
FAILURES_READ = daemon_cursor_key(dg.DagsterEventType.RUN_FAILURE)


def runs_at_work(instance: dg.DagsterInstance, portfolio: Portfolio, **tags: str) -> list[dg.DagsterRun]:
    """The portfolio's runs (with these tags) that have not ended."""
    wanted = {PORTFOLIO_TAG: portfolio.name, **tags}
    unfinished = instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES, tags=wanted))
    return [*unfinished, *_crashed(instance, wanted)]


def batches_at_work(instance: dg.DagsterInstance, portfolio: Portfolio) -> set[str]:
    """The batches that one of them is working on."""
    runs = runs_at_work(instance, portfolio)
    return {run.tags[PARTITION_NAME_TAG] for run in runs if PARTITION_NAME_TAG in run.tags}


def tags_of_same_work(portfolio: Portfolio, due: Due) -> dict[str, str]:
    """The tags of runs that work on the same batch, or that train too."""
    return {PORTFOLIO_TAG: portfolio.name} | (
        {PARTITION_NAME_TAG: due.batch} if due.batch else {TRAINING_TAG: portfolio.name}
    )


def requeue_missed_failures(instance: dg.DagsterInstance) -> list[str]:
    """Make Dagster's daemon read failures of runs, of any portfolio, again that it has read without acting on them;
    returns the ids of the runs.

    The daemon reads each failure once. If it does so between the event and the run's new status, or while the code
    server does not answer, it finds nothing to do, and the run is never launched again. Reading a failure twice does no
    harm: a run that has been launched again is not launched a third time. The daemon has one cursor for all portfolios.
    """
    crashed = {run.run_id for run in _crashed(instance, {})}
    if not crashed:
        return []
    # The daemon alone writes it; without one there is nothing to correct.
    read_to = instance.daemon_cursor_storage.get_cursor_values({FAILURES_READ}).get(FAILURES_READ)
    if read_to is None:
        return []
    failures = instance.fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(
            event_type=dg.DagsterEventType.RUN_FAILURE, after_timestamp=time.time() - RETRY_DECIDED_S
        ),
        limit=FAILURES_A_LOOK,
    ).records
    passed_over = {
        record.storage_id: record.run_id
        for record in failures
        if record.run_id in crashed and record.storage_id <= int(read_to)
    }
    if passed_over:
        instance.daemon_cursor_storage.set_cursor_values({FAILURES_READ: str(min(passed_over) - 1)})
    return sorted(passed_over.values())


def _crashed(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> list[dg.DagsterRun]:
    """The failed runs with these tags that Dagster may still launch again."""
    now = time.time()
    records = instance.get_run_records(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.FAILURE],
            tags=tags,
            updated_after=datetime.fromtimestamp(now - RETRY_DECIDED_S, UTC),
        )
    )
    return [record.dagster_run for record in records if retry_is_open(instance, record, now)]


def retry_is_open(instance: dg.DagsterInstance, record: dg.RunRecord, now: float) -> bool:
    """Whether Dagster may still launch the failed run again; it never does for the run of a command."""
    run = record.dagster_run
    if not (run.is_failure and instance.run_retries_enabled and run.remote_job_origin):
        return False
    if AUTO_RETRY_RUN_ID_TAG in run.tags or now - record.update_timestamp.timestamp() > RETRY_DECIDED_S:
        return False
    return run.tags.get(WILL_RETRY_TAG, "true") == "true"
