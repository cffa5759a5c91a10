"""Alerts about lasting problems: late deliveries, failing ticks, a registry that does not answer, a full disk, memory
or run queue. A problem is reported once it has lasted for a while, again at intervals, and when it has ended."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection
from pathlib import Path

import dagster as dg
import psutil

from credit_assets.alerts.notifications import Alert, at, format_time, is_at_least
from credit_assets.alerts.outbox import DAY, HOUR, Outbox
from credit_assets.alerts.portfolio_links import PortfolioLinks
from credit_assets.automation.claims import Claims
from credit_assets.automation.messages import describe
from credit_assets.automation.pending import Arrivals, arrivals
from credit_assets.automation.runs import root_cause
from credit_assets.dagster_private import (
    InstigatorState,
    InstigatorTick,
    InstigatorType,
    TickStatus,
)
from credit_assets.ingest.inbox import Inbox
from credit_assets.ingest.snapshots import FolderSnapshot
from credit_assets.lake.tables import Lake
from credit_assets.plurals import are, number_of
from credit_assets.rounding import digits_apart, percent_apart
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.run_tags import PORTFOLIO_TAG

ENDED_TICKS = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]


def watch_deliveries(
    outbox: Outbox, links: PortfolioLinks, portfolio: Portfolio, inbox: Inbox, lake: Lake, now: float
) -> None:
    """Watch for a delivery that is late, and for deliveries that stay in the inbox without being ingested."""
    config, applications = outbox.config, portfolio.application_table
    ingested = lake.batches(portfolio.table(applications))
    newest = max((commit.timestamp_ms / 1000 for commit in ingested.values()), default=None)
    late = None
    if newest is not None and config.late_after_days is not None and now - newest > config.late_after_days * DAY:
        late = Alert(
            key=f"late_delivery/{int(newest)}",
            kind="late_delivery",
            severity="warning",
            portfolio=links.portfolio,
            title=f"no delivery for more than {config.late_after_days:g} days",
            details=f"The newest delivery was ingested on {format_time(at(newest))}.",
            since=at(newest),
            what_was_done="Nothing: the platform waits for the delivery.",
            what_to_do="Ask the lender for the delivery.",
            link=links.asset_url(applications),
            parts=(applications,),
        )
    changed = {
        each.batch: _last_written(each) for each in inbox.snapshots(portfolio.name) if each.batch not in ingested
    }
    unread_since = {batch: when for batch, when in changed.items() if now - when > config.unread_after_hours * HOUR}
    seen = arrivals(portfolio, inbox, lake, {}) if unread_since else Arrivals([], {}, {})
    unread = {
        f"unread/{batch}": Alert(
            key=f"unread/{batch}/{int(when)}",
            kind="late_delivery",
            severity="warning",
            portfolio=links.portfolio,
            title=f"{batch} is in the inbox and has not been ingested",
            details=f"Reason: {describe(seen.waiting[batch].reason)}."
            if batch in seen.waiting and batch not in seen.signatures
            else "Its files are complete; see the runs of the batch.",
            since=at(when),
            what_was_done="Every poll checks it again. It is ingested as soon as that is possible.",
            what_to_do="Complete or correct the delivery, or remove it from the inbox.",
            link=links.asset_url(applications),
            batch=batch,
        )
        for batch, when in unread_since.items()
    }
    with outbox.writing():
        outbox.watch("late_delivery", late, now, lasting_s=0)
        for name in {*unread, *outbox.watched("unread/")}:
            outbox.watch(name, unread.get(name), now, lasting_s=0)


def _last_written(snapshot: FolderSnapshot) -> float:
    """The time at which the delivery was last written to, according to its files (seconds since 1970)."""
    try:
        written = [changed_ns / 1e9 for _, changed_ns, *_ in snapshot.files.values()]
        return max([snapshot.folder.stat().st_mtime, *written])
    except FileNotFoundError:
        return time.time()


def watch_ticks(
    outbox: Outbox, links: PortfolioLinks, names: Collection[str], instance: dg.DagsterInstance, now: float
) -> None:
    """Watch whether the newest tick of each running sensor and schedule of the portfolio (`names`) failed."""
    failing: dict[str, Alert] = {}
    for state in instance.all_instigator_state():
        location = state.origin.repository_origin.code_location_origin.location_name
        if location == links.location and state.name in names and state.is_running:
            newest = _newest_tick(instance, state, now)
            if newest and newest.status == TickStatus.FAILURE:
                failing[f"tick/{state.name}"] = _tick_failed(links, state, newest, now)
    with outbox.writing():
        for name in {*failing, *outbox.watched("tick/")}:
            outbox.watch(name, failing.get(name), now, outbox.config.lasting_minutes * 60)


def _newest_tick(instance: dg.DagsterInstance, state: InstigatorState, now: float) -> InstigatorTick | None:
    """The newest tick that has ended."""
    # Dagster's query sorts all ticks that match, tens of thousands a week for a sensor: the last hour is tried first.
    for after in (now - HOUR, None):
        origin, selector = state.instigator_origin_id, state.selector_id
        if ticks := instance.get_ticks(origin, selector, after=after, limit=1, statuses=ENDED_TICKS):
            return ticks[0]
    return None


def _tick_failed(links: PortfolioLinks, state: InstigatorState, tick: InstigatorTick, now: float) -> Alert:
    kind = root_cause(tick.error).cls_name if tick.error else "no error recorded"
    what = "sensor" if state.instigator_type == InstigatorType.SENSOR else "schedule"
    return Alert(
        key=f"tick_failed/{state.name}/{int(now)}",
        kind="tick_failed",
        severity="error",
        portfolio=links.portfolio,
        title=f"the {what} {state.name} fails",
        details=f"Its tick of {format_time(at(tick.timestamp))} failed: {kind}.",
        since=at(tick.timestamp),
        what_was_done="The next tick tries again. Until one succeeds, it starts no runs.",
        what_to_do="Read the error on the tick, and fix its cause.",
        link=f"{links.ui}/locations/{state.origin.repository_origin.repository_name}@{links.location}/{what}s/{state.name}",
        parts=(state.name,),
    )


def watch_registry(outbox: Outbox, links: PortfolioLinks, claims: Claims, reason: str | None, now: float) -> None:
    """Watch whether the model registry answers; `reason` is why it does not. One portfolio reports it for all."""
    found = reason and Alert(
        key=f"registry_unavailable/{int(now)}",
        kind="registry_unavailable",
        severity="error",
        portfolio=links.portfolio,
        title="the model registry does not answer",
        details=reason,
        since=at(now),
        what_was_done="Deliveries are still ingested. Nothing is scored, trained or rolled back until it answers.",
        what_to_do="Start the registry, or correct its address (MLFLOW_TRACKING_URI).",
        link=f"{links.ui}/deployment/daemons",
    )
    with outbox.writing():
        _watch_shared(outbox, claims, "registry", found or None, now)


def _watch_shared(outbox: Outbox, claims: Claims, name: str, found: Alert | None, now: float) -> None:
    """Watch a condition that all portfolios share. One portfolio that finds it reports it, preferably one with a
    channel for it; the others do not report it while that portfolio's sensor polls."""
    if found is None:
        claims.release(f"report {name}")
    else:
        sent = any(is_at_least(found.severity, wants.least) for wants in outbox.config.channels.values())
        if not claims.claim(f"report {name}", now, rank=int(sent)):
            outbox.forget(name)
            return
    outbox.watch(name, found, now, outbox.config.lasting_minutes * 60)


def watch_capacity(
    outbox: Outbox, links: PortfolioLinks, claims: Claims, folder: Path, instance: dg.DagsterInstance, now: float
) -> None:
    """Watch the number of queued runs of the portfolio and, for all portfolios, the disk of `folder` and the memory."""
    config = outbox.config
    free, memory = shutil.disk_usage(folder).free / 1e9, psutil.virtual_memory()
    share = memory.available / memory.total
    queued = instance.get_runs_count(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED], tags={PORTFOLIO_TAG: links.portfolio})
    )

    free_gb = f"{free:.{digits_apart(1, (free, config.disk_free_gb))}f}"
    available, needed = percent_apart(share, config.memory_free_share)
    daemons = f"{links.ui}/deployment/daemons"
    conditions = {
        "disk": _capacity(
            links,
            now,
            "disk",
            "the disk is nearly full",
            f"{free_gb} GB are free on the disk of {folder.name}/; alerts.disk_free_gb is {config.disk_free_gb:g}.",
            "Nothing. A run that needs more space fails, and leaves all tables unchanged.",
            "Free some space: run the job `maintenance`, empty data/spill, or enlarge the disk.",
            daemons,
        )
        if free < config.disk_free_gb
        else None,
        "memory": _capacity(
            links,
            now,
            "memory",
            "the machine's memory is nearly used up",
            f"{available} of {memory.total / 1e9:.0f} GB are available; alerts.memory_free_share is {needed}.",
            "Nothing. The operating system may kill a run; it is then launched again.",
            "Lower CREDIT_ASSETS_MEMORY_LIMIT or the number of concurrent runs (dagster.yaml), or add memory.",
            daemons,
        )
        if share < config.memory_free_share
        else None,
        "backlog": _capacity(
            links,
            now,
            "backlog",
            "runs pile up in the queue",
            f"{number_of(queued, 'run')} {are(queued)} queued; alerts.backlog_runs is {config.backlog_runs}.",
            "The runs are executed in turn; none is lost.",
            "Check whether a run hangs, or allow more concurrent runs (dagster.yaml).",
            f"{links.ui}/runs",
        )
        if queued > config.backlog_runs
        else None,
    }
    with outbox.writing():
        for name in ("disk", "memory"):
            _watch_shared(outbox, claims, name, conditions[name], now)
        outbox.watch("backlog", conditions["backlog"], now, config.lasting_minutes * 60)


def _capacity(
    links: PortfolioLinks, now: float, name: str, title: str, details: str, done: str, do: str, link: str
) -> Alert:
    return Alert(
        key=f"capacity/{name}/{int(now)}",
        kind="capacity",
        severity="warning",
        portfolio=links.portfolio,
        title=title,
        details=details,
        since=at(now),
        what_was_done=done,
        what_to_do=do,
        link=link,
        parts=(name,),
    )
