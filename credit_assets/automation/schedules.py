"""Schedules of a portfolio: what the calendar starts, whether or not anything has happened."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

import dagster as dg

from credit_assets.automation.active_runs import batches_at_work
from credit_assets.automation.due import Due
from credit_assets.automation.pending import to_ingest, to_score
from credit_assets.automation.refusals import was_refused
from credit_assets.automation.retraining import challenger
from credit_assets.automation.sensors import (
    champion_or_why_unknown,
    failed_at_it,
    request,
    run_or_reason,
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
    """`weekly_challenger`, `daily_sweep` and `weekly_maintenance`. `parts`: the assets of each job."""
    portfolio, project = book.portfolio, book.project
    name, lake, inbox = portfolio.name, Lake(project.lake), Inbox(project.inbox)

    loaded = settings_fingerprint(project, name)

    @dg.schedule(
        name="weekly_challenger",
        job_name="train",
        cron_schedule="0 3 * * 1",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="A challenger from all outcomes known by then, if enough are new. The gate judges it.",
    )
    def weekly_challenger(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        instance = context.instance
        return run_or_reason(project, portfolio, loaded, lambda: challenger(instance, portfolio, book.registry, lake))

    @dg.schedule(
        name="daily_sweep",
        # A schedule has one job; what the others make of a batch are parts of it.
        job_name="batch",
        cron_schedule="0 5 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="What is still due although a sensor should have started it: runs that were killed too often, "
        "deliveries made while a sensor was switched off. What failed for a reason waits for that to change.",
    )
    def daily_sweep(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        if changed := settings_changed(project, name, loaded):
            return dg.SkipReason(changed)
        champion, away = champion_or_why_unknown(book.registry)
        # As long as two looks of the sensor: what somebody is copying just now is not taken half.
        untouched_since = time.time() - 2 * portfolio.automation.interval_s
        missed = missed_batches(context.instance, portfolio, inbox, lake, champion, untouched_since)
        if not missed:
            return dg.SkipReason(away or "Nothing was missed.")
        context.instance.add_dynamic_partitions(str(batches(name).name), sorted(str(item.batch) for item in missed))
        today = context.scheduled_execution_time.date().isoformat()
        return [_part_of_batch(request(portfolio, item, again=f":{today}"), parts) for item in missed]

    @dg.schedule(
        name="weekly_maintenance",
        job_name="maintenance",
        cron_schedule="0 4 * * 0",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="The lake compacted and vacuumed, and the instance's old runs purged, within the retention.",
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
    """What is due of each batch that no run is active for and whose work was not refused; `untouched_since` is for
    deliveries that were not changed after it."""
    # First: what a run is still to write, and has written when the lake is read, would be started again.
    busy = batches_at_work(instance, portfolio)
    due = to_ingest(portfolio, inbox, lake, untouched_since)
    due += to_score(portfolio, lake, champion) if champion else []
    missed = {
        item.batch: item
        for item in reversed(due)
        if item.batch not in busy and not _settled(instance, portfolio, lake, item)
    }
    return list(missed.values())


def _part_of_batch(asked: dg.RunRequest, parts: Mapping[str, Collection[dg.AssetKey]]) -> dg.RunRequest:
    selection = asked.asset_selection or sorted(parts[str(asked.job_name)])
    return asked.with_replaced_attrs(job_name="batch", asset_selection=selection)


def _settled(instance: dg.DagsterInstance, portfolio: Portfolio, lake: Lake, due: Due) -> bool:
    """Whether a run for this work is active, or was refused: the same would be refused again. Other causes of failure,
    such as a full disk, are tried again."""
    runs = list(instance.get_runs(dg.RunsFilter(tags={PORTFOLIO_TAG: portfolio.name, KEY_TAG: due.key})))
    if due.job == "score" and (whole := failed_at_it(instance, portfolio, lake, due)):
        runs.append(whole)
    return any(run.status in NOT_FINISHED_STATUSES or was_refused(instance, run) for run in runs)
