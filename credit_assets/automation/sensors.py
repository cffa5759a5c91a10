"""Sensors of a portfolio. `pending.py` and `retraining.py` determine what is due; the sensors start a run for it, once,
and record the reasons for what is not started on their ticks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import dagster as dg

from credit_assets.automation.active_runs import active_batches, requeue_missed_failures
from credit_assets.automation.cached_instance import cached_instance
from credit_assets.automation.claims import Claims
from credit_assets.automation.due import BatchActive, BatchDue, Due, Outcome, Refused, RunFailed, ScoringFailed, Waiting
from credit_assets.automation.jobs import champion_config
from credit_assets.automation.messages import describe, text
from credit_assets.automation.pending import arrivals, batches_to_score
from credit_assets.automation.refusals import refusal
from credit_assets.automation.retraining import rollback, training
from credit_assets.book.book import Book
from credit_assets.dagster_private import SENSOR_NAME_TAG, UnresolvedAssetJobDefinition
from credit_assets.features.versions import FEATURES
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.resources import batches
from credit_assets.lake.tables import Lake
from credit_assets.registry.availability import RegistryUnavailable
from credit_assets.registry.registry import Registry
from credit_assets.settings.portfolio import Portfolio, settings_fingerprint
from credit_assets.settings.project import Project
from credit_assets.settings.run_tags import AUTOMATIC_TAG, CHAMPION_TAG, CORRECTION_TAG, KEY_TAG, PORTFOLIO_TAG, WHY_TAG

MISSED_FAILURES = "requeue missed failures"


def sensors(book: Book, jobs: Mapping[str, UnresolvedAssetJobDefinition]) -> list[dg.SensorDefinition]:
    """The sensors `deliveries`, `retrain` and `roll_back`, which start these jobs."""
    portfolio, project = book.portfolio, book.project
    name, inbox, lake, registry = portfolio.name, Inbox(project.inbox), Lake(project.lake), book.registry
    interval, loaded = portfolio.automation.interval_s, settings_fingerprint(project, name)

    @dg.sensor(
        name="deliveries",
        jobs=[jobs[job] for job in ("batch", "ingest", "score", "outcomes")],
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a run for each new or corrected delivery, for later outcomes, and for batches that the "
        "champion has not scored. A delivery is due once it is complete and two polls found it unchanged.",
    )
    def deliveries(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        if changed := settings_changed(project, name, loaded):
            return dg.SensorResult(skip_reason=changed, cursor=context.cursor)
        champion, unavailable = champion_or_why_unknown(registry)
        instance = cached_instance(context)
        if Claims(project, name, interval).claim(MISSED_FAILURES, time.time(), rank=-interval):
            requeue_missed_failures(instance)
        found = poll(instance, portfolio, inbox, lake, champion, json.loads(context.cursor or "{}"))
        cursor = json.dumps(found.signatures, sort_keys=True)
        if not found.due:
            nothing = "Every delivery is ingested." if unavailable else "Every delivery is ingested and scored."
            reasons = "; ".join(f"{batch}: {describe(each.reason)}" for batch, each in sorted(found.waiting.items()))
            return dg.SensorResult(skip_reason=f"{unavailable} {reasons or nothing}".lstrip(), cursor=cursor)
        return dg.SensorResult(
            run_requests=[request(portfolio, due) for due in found.due.values()],
            dynamic_partitions_requests=[batches(name).build_add_request(sorted(found.due))],
            cursor=cursor,
        )

    @dg.sensor(
        name="retrain",
        job=jobs["train"],
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts the first training once there are outcomes. Later it starts one after a failed check of "
        "drift or performance, once enough outcomes are known that the newest candidate has not learned from.",
    )
    def retrain(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        instance, now = cached_instance(context), datetime.now(UTC)
        return run_or_skip_reason(project, portfolio, loaded, lambda: training(instance, book, lake, now))

    @dg.sensor(
        name="roll_back",
        job=jobs["rollback"],
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Restores the previous champion if the current one performs worse on later outcomes.",
    )
    def roll_back(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return run_or_skip_reason(
            project, portfolio, loaded, lambda: rollback(cached_instance(context), portfolio, registry)
        )

    return [deliveries, retrain, roll_back]


@dataclass(frozen=True)
class Poll:
    """The result of a poll: the work to start now and the work that waits, by batch; and the `signatures` of deliveries
    for the next poll."""

    due: dict[str, Due]
    waiting: dict[str, Waiting | Refused]
    signatures: dict[str, str]


def poll(
    instance: dg.DagsterInstance,
    portfolio: Portfolio,
    inbox: Inbox,
    lake: Lake,
    champion: int | None,
    before: Mapping[str, str],
) -> Poll:
    """The batches to start a run for, at most `automation.batches_a_look`; `before` are the signatures of the previous
    poll."""
    # Read before the lake: a run that ends while the lake is read would otherwise be started again.
    active = active_batches(instance, portfolio)
    seen = arrivals(portfolio, inbox, lake, before)
    due = [_up_to_scores(item, champion) for item in seen.due]
    due += batches_to_score(portfolio, lake, champion) if champion else []
    started = _started_runs(instance, portfolio, due)
    found = Poll({}, dict(seen.waiting), seen.signatures)
    for item in due:
        batch = str(item.batch)
        if obstacle := _obstacle(instance, portfolio, lake, item, active, started):
            found.waiting.setdefault(batch, obstacle)
        elif len(found.due) < portfolio.automation.batches_a_look:
            found.due.setdefault(batch, item)
    return found


def champion_or_why_unknown(registry: Registry) -> tuple[int | None, str]:
    """The champion's version (None if there is none), and the reason why it is unknown if the registry does not answer.
    Batches are then ingested now and scored later."""
    try:
        found = registry.champion()
    except RegistryUnavailable as error:
        return None, str(error)
    return (found.number if found else None), ""


def settings_changed(project: Project, name: str, loaded: str) -> str | None:
    """A message if the portfolio's files have changed since they were loaded, so that nothing may be started: what is
    due was determined with the old files, and a run would use the new ones. None if they are unchanged."""
    if settings_fingerprint(project, name) == loaded:
        return None
    return (
        f"The configuration, contracts or SQL of {name} have changed since this code location was loaded. "
        "Reload it (Deployment > Code locations > Reload in the UI). Until then, no run is started."
    )


def run_or_skip_reason(
    project: Project, portfolio: Portfolio, loaded: str, determine: Callable[[], Outcome]
) -> dg.RunRequest | dg.SkipReason:
    """The run for what `determine` finds due. A skip reason if nothing is due, if the registry does not answer, or if
    the settings have changed since they were `loaded`; `determine` is not called then."""
    if changed := settings_changed(project, portfolio.name, loaded):
        return dg.SkipReason(changed)
    try:
        found = determine()
    except RegistryUnavailable as error:
        return dg.SkipReason(str(error))
    return request(portfolio, found) if isinstance(found, Due) else dg.SkipReason(text(found))


def request(portfolio: Portfolio, due: Due, again: str = "") -> dg.RunRequest:
    """The run for what is due. Dagster starts one run per key and sensor or schedule; `again` is a suffix for
    another."""
    name = portfolio.name
    why = text(due)
    tags = {KEY_TAG: due.key, WHY_TAG: why, AUTOMATIC_TAG: "true"}
    if due.champion is not None:
        tags[CHAMPION_TAG] = str(due.champion)
    if due.correction:
        tags[CORRECTION_TAG] = "true"
    back = champion_config(name, roll_back=True, from_version=due.champion, why=why)
    return dg.RunRequest(
        run_key=due.key + again,
        job_name=due.job,
        partition_key=due.batch,
        tags=tags,
        run_config=back if due.job == "rollback" else None,
        asset_selection=[dg.AssetKey([name, table]) for table in due.tables] or None,
    )


def _up_to_scores(due: Due, champion: int | None) -> Due:
    """The same work, extended to the scores if it is the ingestion of a delivery and there is a champion."""
    if champion is None or due.job != "ingest" or due.tables:
        return due
    return replace(due, job="batch", champion=champion)


def _obstacle(
    instance: dg.DagsterInstance,
    portfolio: Portfolio,
    lake: Lake,
    due: Due,
    active: Collection[str],
    started: Mapping[str, str],
) -> Waiting | Refused | None:
    """The reason why no run is started for the batch although it is due, or None. `active`: the batches with an active
    run. `started`: the runs that this sensor has started, by key."""
    assert isinstance(due.reason, BatchDue)
    if due.batch in active:
        return Waiting(BatchActive(due.reason))
    if refused := refusal(instance, portfolio, due):
        return refused
    if run := started.get(due.key):
        return Waiting(RunFailed(due.reason, run))
    if due.job == "score" and (tried := failed_scoring_run(instance, portfolio, lake, due)):
        return Waiting(ScoringFailed(tried.run_id))
    return None


def _started_runs(instance: dg.DagsterInstance, portfolio: Portfolio, due: Sequence[Due]) -> dict[str, str]:
    """The runs that this sensor has started, by key. Dagster does not start another run for the same key."""
    if not due:
        return {}
    tags = {SENSOR_NAME_TAG: "deliveries", PORTFOLIO_TAG: portfolio.name, KEY_TAG: [item.key for item in due]}
    return {run.tags[KEY_TAG]: run.run_id for run in instance.get_runs(dg.RunsFilter(tags=tags))}


def failed_scoring_run(
    instance: dg.DagsterInstance, portfolio: Portfolio, lake: Lake, due: Due
) -> dg.DagsterRun | None:
    """The run that made the batch's features, if it failed to score them with this champion; the batch then waits for a
    change."""
    made = lake.batches(portfolio.table(FEATURES))[str(due.batch)]
    run = instance.get_run_by_id(made.provenance.run_id) if made.provenance.run_id else None
    return run if run and run.is_failure and run.tags.get(CHAMPION_TAG) == str(due.champion) else None
