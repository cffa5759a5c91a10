"""The sensor `alerts`: collects alerts from their sources (`*_alerts.py`), and delivers them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime

import dagster as dg

from credit_assets.alerts.champion_alerts import report_champions
from credit_assets.alerts.lasting_alerts import watch_capacity, watch_deliveries, watch_registry, watch_ticks
from credit_assets.alerts.notifications import clock
from credit_assets.alerts.outbox import Outbox
from credit_assets.alerts.place import Place
from credit_assets.alerts.run_alerts import report_runs
from credit_assets.automation.claims import Claims
from credit_assets.automation.due import Due
from credit_assets.automation.held_instance import held_instance
from credit_assets.automation.messages import text
from credit_assets.automation.retraining import latest_training, training
from credit_assets.book.book import Book
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.tables import Lake
from credit_assets.registry.availability import RegistryUnavailable
from credit_assets.settings.portfolio import Portfolio


def alert_sensor(book: Book) -> dg.SensorDefinition:
    """`alerts`, which starts no run."""
    portfolio, project = book.portfolio, book.project

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=portfolio.automation.interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of failures, quarantine, late deliveries, trainings, promotions, rollbacks, ticks that fail "
        "and a machine that runs full, over the channels in `alerts:`. Its ticks say what was sent and what waits.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        origin = context.code_location_origin
        place = Place(portfolio.name, origin.location_name if origin else portfolio.name, portfolio.alerts.ui)
        with Outbox(project, portfolio.name, portfolio.alerts) as outbox:
            said, found_wrong = _collect(outbox, place, _names(context), held_instance(context), book, time.time())
            said += outbox.deliver(os.environ)
            waiting = outbox.waiting()
        if found_wrong:
            # What could be found was delivered; the tick fails, so that what could not is seen, and tried again.
            raise ExceptionGroup("Not everything could be looked at", found_wrong)
        if waiting:
            said.append(f"{waiting} waiting")
        return dg.SkipReason("; ".join(said) or _nothing(portfolio))

    return alerts


def _nothing(portfolio: Portfolio) -> str:
    if not portfolio.alerts.channels:
        return "No channel is configured under `alerts:`; `credit-assets alerts` lists what would be told."
    return "Nothing new to tell."


def _names(context: dg.SensorEvaluationContext) -> set[str]:
    """The existing sensors and schedules: the instance remembers those of earlier releases too."""
    code = context.repository_def
    if code is None:
        return set()
    return {sensor.name for sensor in code.sensor_defs} | {schedule.name for schedule in code.schedule_defs}


def _collect(
    outbox: Outbox,
    place: Place,
    names: Collection[str],
    instance: dg.DagsterInstance,
    book: Book,
    now: float,
) -> tuple[list[str], list[Exception]]:
    """Record every fact that can be found; returns what is unavailable, and the errors of sources that failed."""
    portfolio, project, registry = book.portfolio, book.project, book.registry
    lake = Lake(project.lake)
    claims = Claims(project, portfolio.name, portfolio.automation.interval_s)

    def answer(failed: datetime) -> str:
        began = latest_training(instance, portfolio, registry).effective
        if began and began > failed:
            return f"A training began on {clock(began)}."
        try:
            due = training(instance, book, lake, datetime.now(UTC))
        except RegistryUnavailable as error:
            return str(error)
        return f"A training is due: {text(due)}." if isinstance(due, Due) else text(due)

    away: list[str] = []

    def champions() -> None:
        try:
            moves = registry.history()
        except RegistryUnavailable as error:
            away.append(str(error))
            watch_registry(outbox, place, claims, str(error), now)
        else:
            watch_registry(outbox, place, claims, None, now)
            report_champions(outbox, place, moves, now)

    sources_of_alerts: list[Callable[[], None]] = [
        lambda: report_runs(outbox, instance, place, answer, now),
        champions,
        lambda: watch_deliveries(outbox, place, portfolio, Inbox(project.inbox), lake, now),
        lambda: watch_ticks(outbox, place, names, instance, now),
        lambda: watch_capacity(outbox, place, claims, project.data, instance, now),
    ]
    errors: list[Exception] = []
    for source in sources_of_alerts:
        try:
            source()
        except Exception as error:
            errors.append(error)
    return away, errors
