"""The sensor `alerts`: collects alerts from their sources (`*_alerts.py`), and delivers them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime

import dagster as dg

from credit_assets.alerts.champion_alerts import report_champions
from credit_assets.alerts.lasting_alerts import watch_capacity, watch_deliveries, watch_registry, watch_ticks
from credit_assets.alerts.notifications import format_time
from credit_assets.alerts.outbox import Outbox
from credit_assets.alerts.portfolio_links import PortfolioLinks
from credit_assets.alerts.run_alerts import report_runs
from credit_assets.automation.cached_instance import cached_instance
from credit_assets.automation.claims import Claims
from credit_assets.automation.due import Due
from credit_assets.automation.messages import text
from credit_assets.automation.retraining import latest_training, training
from credit_assets.book.book import Book
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.tables import Lake
from credit_assets.registry.availability import RegistryUnavailable
from credit_assets.settings.portfolio import Portfolio


def alert_sensor(book: Book) -> dg.SensorDefinition:
    """The sensor `alerts`. It starts no runs."""
    portfolio, project = book.portfolio, book.project

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=portfolio.automation.interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends alerts about failures, quarantine, late deliveries, trainings, promotions, rollbacks, "
        "failing ticks, disk and memory over the channels in `alerts:`. Its ticks record what was sent or is due.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        origin = context.code_location_origin
        links = PortfolioLinks(portfolio.name, origin.location_name if origin else portfolio.name, portfolio.alerts.ui)
        with Outbox(project, portfolio.name, portfolio.alerts) as outbox:
            lines, errors = _collect(outbox, links, _names(context), cached_instance(context), book, time.time())
            lines += outbox.deliver(os.environ)
            waiting = outbox.waiting()
        if errors:
            # Alerts from the other sources were delivered. The tick fails, so that the errors are seen.
            raise ExceptionGroup("Some sources of alerts could not be read", errors)
        if waiting:
            lines.append(f"{waiting} waiting")
        return dg.SkipReason("; ".join(lines) or _nothing_new(portfolio))

    return alerts


def _nothing_new(portfolio: Portfolio) -> str:
    if not portfolio.alerts.channels:
        return "No channel is configured under `alerts:`. `credit-assets alerts` lists what would be sent."
    return "There are no new alerts."


def _names(context: dg.SensorEvaluationContext) -> set[str]:
    """The names of the current sensors and schedules. The instance also has state of those of earlier releases."""
    code = context.repository_def
    if code is None:
        return set()
    return {sensor.name for sensor in code.sensor_defs} | {schedule.name for schedule in code.schedule_defs}


def _collect(
    outbox: Outbox,
    links: PortfolioLinks,
    names: Collection[str],
    instance: dg.DagsterInstance,
    book: Book,
    now: float,
) -> tuple[list[str], list[Exception]]:
    """Record the alerts of all sources. Returns messages about what is unavailable, and the errors of sources that
    failed."""
    portfolio, project, registry = book.portfolio, book.project, book.registry
    lake = Lake(project.lake)
    claims = Claims(project, portfolio.name, portfolio.automation.interval_s)

    def response(failed: datetime) -> str:
        started = latest_training(instance, portfolio, registry).effective
        if started and started > failed:
            return f"A training started on {format_time(started)}."
        try:
            due = training(instance, book, lake, datetime.now(UTC))
        except RegistryUnavailable as error:
            return str(error)
        return f"A training is due: {text(due)}." if isinstance(due, Due) else text(due)

    unavailable: list[str] = []

    def champions() -> None:
        try:
            moves = registry.history()
        except RegistryUnavailable as error:
            unavailable.append(str(error))
            watch_registry(outbox, links, claims, str(error), now)
        else:
            watch_registry(outbox, links, claims, None, now)
            report_champions(outbox, links, moves, now)

    sources_of_alerts: list[Callable[[], None]] = [
        lambda: report_runs(outbox, instance, links, response, now),
        champions,
        lambda: watch_deliveries(outbox, links, portfolio, Inbox(project.inbox), lake, now),
        lambda: watch_ticks(outbox, links, names, instance, now),
        lambda: watch_capacity(outbox, links, claims, project.data, instance, now),
    ]
    errors: list[Exception] = []
    for source in sources_of_alerts:
        try:
            source()
        except Exception as error:
            errors.append(error)
    return unavailable, errors
