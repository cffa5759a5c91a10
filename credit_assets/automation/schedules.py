"""Schedules of a portfolio: runs that start at fixed times."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

import dagster as dg

from credit_assets.automation.active_runs import active_batches
from credit_assets.automation.due import Due
from credit_assets.automation.pending import batches_to_ingest, batches_to_score
from credit_assets.automation.refusals import was_refused
from credit_assets.automation.retraining import challenger
from credit_assets.automation.sensors import (
    champion_or_why_unknown,
    failed_scoring_run,
    request,
    run_or_skip_reason,
    settings_changed,
)
from credit_assets.book.book import Book
from credit_assets.dagster_private import NOT_FINISHED_STATUSES
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.resources import batches
from credit_assets.lake.tables import Lake
from credit_assets.settings.portfolio import Portfolio, settings_fingerprint
from credit_assets.settings.run_tags import KEY_TAG, PORTFOLIO_TAG


def schedules(book: Book, parts: Mapping[str, Collection[dg.AssetKey]]) -> list[dg.ScheduleDefinition]:
    """The schedules `weekly_challenger`, `daily_sweep` and `weekly_maintenance`. `parts`: the assets of each job."""
    portfolio, project = book.portfolio, book.project
    name, lake, inbox = portfolio.name, Lake(project.lake), Inbox(project.inbox)

    loaded = settings_fingerprint(project, name)

    @dg.schedule(
        name="weekly_challenger",
        job_name="train",
        cron_schedule="0 3 * * 1",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Trains a challenger on all known outcomes, if enough are new. The gate decides about it.",
    )
    def weekly_challenger(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        instance = context.instance
        return run_or_skip_reason(
            project, portfolio, loaded, lambda: challenger(instance, portfolio, book.registry, lake)
        )

    @dg.schedule(
        name="daily_sweep",
        # A schedule has one job. This one includes the assets that the other jobs make for a batch.
        job_name="batch",
        cron_schedule="0 5 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Starts what is still due although a sensor should have started it, such as runs that were killed "
        "too often, and deliveries that arrived while a sensor was off. Refused work waits until its input changes.",
    )
    def daily_sweep(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        if changed := settings_changed(project, name, loaded):
            return dg.SkipReason(changed)
        champion, unavailable = champion_or_why_unknown(book.registry)
        # Two polls of the sensor ago: a delivery that is being copied is not ingested half-finished.
        untouched_since = time.time() - 2 * portfolio.automation.interval_s
        missed = missed_batches(context.instance, portfolio, inbox, lake, champion, untouched_since)
        if not missed:
            return dg.SkipReason(unavailable or "Nothing was missed.")
        context.instance.add_dynamic_partitions(str(batches(name).name), sorted(str(item.batch) for item in missed))
        today = context.scheduled_execution_time.date().isoformat()
        return [_as_batch_job(request(portfolio, item, again=f":{today}"), parts) for item in missed]

    @dg.schedule(
        name="weekly_maintenance",
        job_name="maintenance",
        cron_schedule="0 4 * * 0",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Runs the job `maintenance`: compacts and vacuums the lake, and deletes old runs (`retention:`).",
    )
    def weekly_maintenance(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

    return [weekly_challenger, daily_sweep, weekly_maintenance]


def missed_batches(
    instance: dg.DagsterInstance,
    portfolio: Portfolio,
    inbox: Inbox,
    lake: Lake,
    champion: int | None,
    untouched_since: float,
) -> list[Due]:
    """The work that is due for batches without an active run, unless a run refused it. Deliveries that were changed
    after `untouched_since` (seconds since 1970) are left out."""
    # Read before the lake: a run that ends while the lake is read would otherwise be started again.
    active = active_batches(instance, portfolio)
    due = batches_to_ingest(portfolio, inbox, lake, untouched_since)
    due += batches_to_score(portfolio, lake, champion) if champion else []
    missed = {
        item.batch: item
        for item in reversed(due)
        if item.batch not in active and not _is_active_or_refused(instance, portfolio, lake, item)
    }
    return list(missed.values())


def _as_batch_job(wanted: dg.RunRequest, parts: Mapping[str, Collection[dg.AssetKey]]) -> dg.RunRequest:
    selection = wanted.asset_selection or sorted(parts[str(wanted.job_name)])
    return wanted.with_replaced_attrs(job_name="batch", asset_selection=selection)


def _is_active_or_refused(instance: dg.DagsterInstance, portfolio: Portfolio, lake: Lake, due: Due) -> bool:
    """Whether a run for this work is active or has refused it. After other failures, such as a full disk, the work is
    tried again."""
    runs = list(instance.get_runs(dg.RunsFilter(tags={PORTFOLIO_TAG: portfolio.name, KEY_TAG: due.key})))
    if due.job == "score" and (whole := failed_scoring_run(instance, portfolio, lake, due)):
        runs.append(whole)
    return any(run.status in NOT_FINISHED_STATUSES or was_refused(instance, run) for run in runs)
