"""Alerts from lasting problems: late deliveries, failing ticks, a registry that does not answer, and a machine or a
queue beyond its limits. Each is reported once it has lasted, again from time to time, and when it is over."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection
from pathlib import Path

import dagster as dg
import psutil

from credit_assets.alerts.notifications import Alert, at, clock, told_at
from credit_assets.alerts.outbox import DAY, HOUR, Outbox
from credit_assets.alerts.place import Place
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
from credit_assets.rounding import digits_apart, percent_apart
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.run_tags import PORTFOLIO_TAG

ENDED = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]


def watch_deliveries(outbox: Outbox, place: Place, portfolio: Portfolio, inbox: Inbox, lake: Lake, now: float) -> None:
    """Watch for a late next delivery, and for a delivery that stays unread in the inbox."""
    config, applications = outbox.config, portfolio.application_table
    read = lake.batches(portfolio.table(applications))
    newest = max((commit.timestamp_ms / 1000 for commit in read.values()), default=None)
    late = None
    if newest is not None and config.late_after_days is not None and now - newest > config.late_after_days * DAY:
        late = Alert(
            key=f"late_delivery/{int(newest)}",
            kind="late_delivery",
            severity="warning",
            portfolio=place.portfolio,
            title=f"no delivery for more than {config.late_after_days:g} days",
            details=f"The newest was read on {clock(at(newest))}.",
            since=at(newest),
            what_was_done="Nothing can be done without it.",
            what_to_do="Ask for it.",
            link=place.asset(applications),
            parts=(applications,),
        )
    changed = {look.batch: _changed(look) for look in inbox.snapshots(portfolio.name) if look.batch not in read}
    lying = {batch: when for batch, when in changed.items() if now - when > config.unread_after_hours * HOUR}
    seen = arrivals(portfolio, inbox, lake, {}) if lying else Arrivals([], {}, {})
    unread = {
        f"unread/{batch}": Alert(
            key=f"unread/{batch}/{int(when)}",
            kind="late_delivery",
            severity="warning",
            portfolio=place.portfolio,
            title=f"{batch} lies in the inbox and is not read",
            details=f"Why: {describe(seen.waiting[batch].reason)}."
            if batch in seen.waiting and batch not in seen.signatures
            else "Its files are whole; see its runs.",
            since=at(when),
            what_was_done="It is looked at again and again, and read as soon as it can be.",
            what_to_do="Complete or correct the delivery, or take it out of the inbox.",
            link=place.asset(applications),
            batch=batch,
        )
        for batch, when in lying.items()
    }
    with outbox.writing():
        outbox.watch("late_delivery", late, now, lasting_s=0)
        for name in {*unread, *outbox.watched("unread/")}:
            outbox.watch(name, unread.get(name), now, lasting_s=0)


def _changed(look: FolderSnapshot) -> float:
    """When the delivery was last written to, according to its files."""
    try:
        written = [changed_ns / 1e9 for _, changed_ns, *_ in look.files.values()]
        return max([look.folder.stat().st_mtime, *written])
    except FileNotFoundError:
        return time.time()


def watch_ticks(outbox: Outbox, place: Place, names: Collection[str], instance: dg.DagsterInstance, now: float) -> None:
    """Watch for sensors and schedules (`names`: the portfolio's) that are switched on and whose newest tick failed."""
    failing: dict[str, Alert] = {}
    for state in instance.all_instigator_state():
        location = state.origin.repository_origin.code_location_origin.location_name
        if location == place.location and state.name in names and state.is_running:
            newest = _newest_tick(instance, state, now)
            if newest and newest.status == TickStatus.FAILURE:
                failing[f"tick/{state.name}"] = _tick_failed(place, state, newest, now)
    with outbox.writing():
        for name in {*failing, *outbox.watched("tick/")}:
            outbox.watch(name, failing.get(name), now, outbox.config.lasting_minutes * 60)


def _newest_tick(instance: dg.DagsterInstance, state: InstigatorState, now: float) -> InstigatorTick | None:
    """The newest that has ended."""
    # Dagster's query sorts all that it is not told to leave out: a sensor's tens of thousands of a week.
    for after in (now - HOUR, None):
        origin, selector = state.instigator_origin_id, state.selector_id
        if ticks := instance.get_ticks(origin, selector, after=after, limit=1, statuses=ENDED):
            return ticks[0]
    return None


def _tick_failed(place: Place, state: InstigatorState, tick: InstigatorTick, now: float) -> Alert:
    kind = root_cause(tick.error).cls_name if tick.error else "no reason recorded"
    what = "sensor" if state.instigator_type == InstigatorType.SENSOR else "schedule"
    return Alert(
        key=f"tick_failed/{state.name}/{int(now)}",
        kind="tick_failed",
        severity="error",
        portfolio=place.portfolio,
        title=f"the {what} {state.name} fails",
        details=f"Its tick of {clock(at(tick.timestamp))}: {kind}.",
        since=at(tick.timestamp),
        what_was_done="It is asked again at its next tick; until one succeeds, what it would start is not started.",
        what_to_do="Read the words on the tick, and mend what they name.",
        link=f"{place.ui}/locations/{state.origin.repository_origin.repository_name}@{place.location}/{what}s/{state.name}",
        parts=(state.name,),
    )


def watch_registry(outbox: Outbox, place: Place, claims: Claims, reason: str | None, now: float) -> None:
    """Watch whether the model registry answers; `reason` says why it does not. One portfolio reports it for all."""
    found = reason and Alert(
        key=f"registry_unavailable/{int(now)}",
        kind="registry_unavailable",
        severity="error",
        portfolio=place.portfolio,
        title="the model registry does not answer",
        details=reason,
        since=at(now),
        what_was_done="Deliveries are ingested. Nothing is scored, trained or rolled back until it answers.",
        what_to_do="Start the registry, or mend its address.",
        link=f"{place.ui}/deployment/daemons",
    )
    with outbox.writing():
        _watch_for_all(outbox, claims, "registry", found or None, now)


def _watch_for_all(outbox: Outbox, claims: Claims, name: str, found: Alert | None, now: float) -> None:
    """Watch for a condition that all portfolios share. One of those that find it reports it, preferably one with a
    channel for it. The others leave it to that one as long as its sensor polls."""
    if found is None:
        claims.release(f"report {name}")
    else:
        sent = any(told_at(found.severity, wants.least) for wants in outbox.config.channels.values())
        if not claims.claim(f"report {name}", now, rank=int(sent)):
            outbox.forget(name)
            return
    outbox.watch(name, found, now, outbox.config.lasting_minutes * 60)


def watch_capacity(
    outbox: Outbox, place: Place, claims: Claims, folder: Path, instance: dg.DagsterInstance, now: float
) -> None:
    """Watch the portfolio's runs waiting in the queue and, for all portfolios, the disk of `folder` and the machine's
    memory."""
    config = outbox.config
    free, memory = shutil.disk_usage(folder).free / 1e9, psutil.virtual_memory()
    share = memory.available / memory.total
    queued = instance.get_runs_count(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED], tags={PORTFOLIO_TAG: place.portfolio})
    )

    free_gb = f"{free:.{digits_apart(1, (free, config.disk_free_gb))}f}"
    available, needed = percent_apart(share, config.memory_free_share)
    daemons = f"{place.ui}/deployment/daemons"
    conditions = {
        "disk": _capacity(
            place,
            now,
            "disk",
            "the disk is nearly full",
            f"{free_gb} GB are free where {folder.name}/ lies; alerts.disk_free_gb is {config.disk_free_gb:g}.",
            "Nothing. A run that finds no space fails, and leaves what was there before as it was.",
            "Make room: run the job `maintenance`, empty data/spill, or give the disk more.",
            daemons,
        )
        if free < config.disk_free_gb
        else None,
        "memory": _capacity(
            place,
            now,
            "memory",
            "the machine's memory is nearly used up",
            f"{available} of {memory.total / 1e9:.0f} GB are available; alerts.memory_free_share is {needed}.",
            "Nothing. The system may end a run; it is then launched again.",
            "Lower CREDIT_ASSETS_MEMORY_LIMIT or the runs at once (dagster.yaml), or give the machine more.",
            daemons,
        )
        if share < config.memory_free_share
        else None,
        "backlog": _capacity(
            place,
            now,
            "backlog",
            "runs pile up in the queue",
            f"{queued} wait; alerts.backlog_runs is {config.backlog_runs}.",
            "They are run in turn; none is lost.",
            "Look whether a run hangs, or let more run at once (dagster.yaml).",
            f"{place.ui}/runs",
        )
        if queued > config.backlog_runs
        else None,
    }
    with outbox.writing():
        for name in ("disk", "memory"):
            _watch_for_all(outbox, claims, name, conditions[name], now)
        outbox.watch("backlog", conditions["backlog"], now, config.lasting_minutes * 60)


def _capacity(place: Place, now: float, name: str, title: str, details: str, done: str, do: str, link: str) -> Alert:
    return Alert(
        key=f"capacity/{name}/{int(now)}",
        kind="capacity",
        severity="warning",
        portfolio=place.portfolio,
        title=title,
        details=details,
        since=at(now),
        what_was_done=done,
        what_to_do=do,
        link=link,
        parts=(name,),
    )
