"""What runs of a portfolio are at work: queued, running, or crashed and about to be launched again."""

from __future__ import annotations

import time

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES, RunRecord
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, PARTITION_NAME_TAG, WILL_RETRY_TAG

from credit_assets.automation.jobs import PORTFOLIO_TAG
from credit_assets.automation.notifications import at
from credit_assets.portfolio import Portfolio

RETRY_DECIDED_S = 1800.0
"""That a failed run counts as at work while Dagster has neither launched it again nor said that it will not."""


def runs_at_work(instance: dg.DagsterInstance, portfolio: Portfolio, **tags: str) -> list[dg.DagsterRun]:
    """The portfolio's runs (with these tags) that have not come to their end."""
    wanted = {PORTFOLIO_TAG: portfolio.name, **tags}
    unfinished = instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES, tags=wanted))
    now = time.time()
    crashed = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], tags=wanted, updated_after=at(now - RETRY_DECIDED_S))
    )
    return [*unfinished, *(record.dagster_run for record in crashed if retry_is_open(instance, record, now))]


def batches_at_work(instance: dg.DagsterInstance, portfolio: Portfolio) -> set[str]:
    """The batches that one of them is making something of."""
    runs = runs_at_work(instance, portfolio)
    return {run.tags[PARTITION_NAME_TAG] for run in runs if PARTITION_NAME_TAG in run.tags}


def retry_is_open(instance: dg.DagsterInstance, record: RunRecord, now: float) -> bool:
    """Whether Dagster may yet launch the failed run again; a command's it never does."""
    run = record.dagster_run
    if not (run.is_failure and instance.run_retries_enabled and run.remote_job_origin):
        return False
    if AUTO_RETRY_RUN_ID_TAG in run.tags or now - record.update_timestamp.timestamp() > RETRY_DECIDED_S:
        return False
    return run.tags.get(WILL_RETRY_TAG, "true") == "true"
