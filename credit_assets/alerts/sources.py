"""What there is to tell: found in Dagster's runs, checks and ticks, the history of champions, the lake and the machine.

Only found and put in words here, which hold no values of rows, as alerts leave the house; `outbox.py` sees to it
that each fact is told once.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import dagster as dg
import psutil

from credit_assets.alerts.notifications import Alert, Kind, at, clock, identity, told_at
from credit_assets.alerts.outbox import DAY, HOUR, Outbox
from credit_assets.automation.active_runs import retry_is_open
from credit_assets.automation.claims import Claims
from credit_assets.automation.messages import describe
from credit_assets.automation.pending import Arrivals, arrivals
from credit_assets.automation.retraining import RETRAINS, ROLLS_BACK
from credit_assets.automation.runs import first_cause, step_words
from credit_assets.dagster_private import (
    AUTO_RETRY_RUN_ID_TAG,
    InstigatorState,
    InstigatorTick,
    InstigatorType,
    TickStatus,
)
from credit_assets.evaluation.checks import SURELY_BETTER
from credit_assets.ingest.inbox import Inbox
from credit_assets.ingest.looks import Look
from credit_assets.lake.contracts import WITHOUT_VALUES
from credit_assets.lake.tables import Lake
from credit_assets.registry.champions import ChampionEvent
from credit_assets.rounding import digits_apart, percent_apart
from credit_assets.settings.alerts import Severity
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.run_tags import CORRECTION_TAG, PORTFOLIO_TAG, TRAINING_TAG, WHY_TAG

OVERLAP_S = 120.0
"""A run's update may become visible later than one that is newer; so far back is looked again."""
RUNS_A_LOOK = 20
"""Runs whose events are read in one look; the others wait for the next."""

ENDED = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]

GATE = "promotion_gate"
QUARANTINE = "no_rows_quarantined"
LISTED = 8
"""Checks or steps that an alert lists; the others are counted."""

Answer = Callable[[datetime], str]
"""What was done about a drift or performance check that failed at the time: a training, or why none."""


@dataclass(frozen=True)
class Place:
    """Whose runs are told of: those of a portfolio, which is a code location; and where the UI is."""

    portfolio: str
    location: str
    ui: str

    def holds(self, run: dg.DagsterRun) -> bool:
        """Whether the run is of this portfolio: its jobs say so, a run from the UI names its code location."""
        origin = run.remote_job_origin
        return run.tags.get(PORTFOLIO_TAG) == self.portfolio or (
            origin is not None and origin.repository_origin.code_location_origin.location_name == self.location
        )

    def run(self, run_id: str) -> str:
        return f"{self.ui}/runs/{run_id}"

    def asset(self, name: str) -> str:
        return f"{self.ui}/assets/{self.portfolio}/{name}"


# -- runs and their checks ---------------------------------------------------------------------------


def tell_runs(outbox: Outbox, instance: dg.DagsterInstance, place: Place, answer: Answer, now: float) -> None:
    """Record what the portfolio's runs that began or ended since the last look have to tell.

    A failed run that Dagster launches again is not told; its last attempt is, with the checks of all.
    """
    floor, until = outbox.since(now)
    seen = outbox.looked_at()
    changed = instance.get_run_records(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE],
            updated_after=at(max(until - OVERLAP_S, floor)),
        ),
        order_by="update_timestamp",
        ascending=True,
    )
    new = [
        record
        for record in changed
        if place.holds(record.dagster_run) and _updated(record) != seen.get(record.dagster_run.run_id)
    ]
    undecided = [record for record in new if retry_is_open(instance, record, now)]
    still_open = {record.dagster_run.run_id for record in undecided}
    decided = [record for record in new if record.dagster_run.run_id not in still_open]
    read, left = decided[:RUNS_A_LOOK], decided[RUNS_A_LOOK:]
    told = [(record, list(_of_run(place, instance, record, answer))) for record in read]
    # All that changed has been looked at, but for what is left or open: the next look begins there.
    reached = min(map(_updated, [*left, *undecided]), default=max(map(_updated, changed), default=until))
    if not read and reached - until < OVERLAP_S:
        return
    with outbox.writing():
        for record, alerts in told:
            if record.dagster_run.is_success:
                outbox.settled(_topic(record.dagster_run))
            for alert in alerts:
                outbox.record(alert, now)
        looked = {record.dagster_run.run_id: _updated(record) for record in read}
        outbox.looked(looked, max(until, reached), forget_before=max(until, reached) - 2 * OVERLAP_S)


def _of_run(place: Place, instance: dg.DagsterInstance, record: dg.RunRecord, answer: Answer) -> Iterator[Alert]:
    """What the run tells by having begun and, unless it is launched again, by how it ended."""
    yield from _begun(place, instance, record)
    if record.dagster_run.is_finished and not _launched_again(record.dagster_run):
        yield from _ended(place, instance, record, answer)


def _updated(record: dg.RunRecord) -> float:
    return record.update_timestamp.timestamp()


def _launched_again(run: dg.DagsterRun) -> bool:
    return run.is_failure and AUTO_RETRY_RUN_ID_TAG in run.tags


def _attempts(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[dg.DagsterRun]:
    """The run and those that Dagster launched it again after, the first one first."""
    attempts = [run]
    while attempts[0].parent_run_id and (before := instance.get_run_by_id(attempts[0].parent_run_id)):
        if before.tags.get(AUTO_RETRY_RUN_ID_TAG) != attempts[0].run_id:
            break
        attempts.insert(0, before)
    return attempts


def _begun(place: Place, instance: dg.DagsterInstance, record: dg.RunRecord) -> Iterator[Alert]:
    run = record.dagster_run
    trains, corrects = TRAINING_TAG in run.tags, run.tags.get(CORRECTION_TAG) == "true"
    if not trains and not corrects:
        return
    first = _attempts(instance, run)[0]
    why = run.tags.get(WHY_TAG, "started by hand")
    since = at(record.start_time) if record.start_time else record.create_timestamp
    if trains:
        yield Alert(
            key=f"retraining/{first.run_id}",
            kind="retraining",
            severity="info",
            portfolio=place.portfolio,
            title="a candidate is being trained",
            details=f"Why: {why}.",
            since=since,
            what_was_done="The champion, where there is one, goes on deciding until a candidate passes the gate.",
            what_to_do="Nothing; what comes of it is told.",
            link=place.run(run.run_id),
        )
    if corrects:
        yield Alert(
            key=f"correction/{first.run_id}",
            kind="correction",
            severity="info",
            portfolio=place.portfolio,
            title=f"a corrected delivery of {_batch(run)} is being read",
            details=f"Why: {why}.",
            since=since,
            what_was_done="Each table that is valid takes the place of its earlier one, which stays readable.",
            what_to_do="Nothing, if the correction was meant.",
            link=place.run(run.run_id),
            batch=_batch(run),
        )


@dataclass
class _Found:
    """What the events of a run (and of earlier attempts) say: checks by name; failed steps of the last attempt and
    why, with no words where a check stopped them; and what is said of the run as a whole."""

    checks: dict[str, tuple[dg.AssetCheckEvaluation, datetime]] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)
    run_words: str = ""

    def failed(self, severity: dg.AssetCheckSeverity) -> dict[str, tuple[dg.AssetCheckEvaluation, datetime]]:
        return {
            name: (evaluation, when)
            for name, (evaluation, when) in self.checks.items()
            if not evaluation.passed and evaluation.severity == severity
        }


def _found(instance: dg.DagsterInstance, attempts: Sequence[dg.DagsterRun]) -> _Found:
    found = _Found()
    for run in attempts:
        found.steps.clear()
        logs = instance.event_log_storage.get_logs_for_run(
            run.run_id,
            of_type={
                dg.DagsterEventType.ASSET_CHECK_EVALUATION,
                dg.DagsterEventType.STEP_FAILURE,
                dg.DagsterEventType.RUN_FAILURE,
            },
        )
        for entry in logs:
            event = entry.dagster_event
            if event is None:
                continue
            if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                evaluation = event.asset_check_evaluation_data
                name = f"{evaluation.asset_key.path[-1]}.{evaluation.check_name}"
                found.checks[name] = (evaluation, at(entry.timestamp))
            elif event.event_type == dg.DagsterEventType.STEP_FAILURE:
                found.steps[str(event.step_key).split("__", 1)[-1]] = step_words(event, disclose=False)
            elif event.event_type == dg.DagsterEventType.RUN_FAILURE:
                found.run_words = event.message or ""
    return found


def _ended(place: Place, instance: dg.DagsterInstance, record: dg.RunRecord, answer: Answer) -> Iterator[Alert]:
    """At most one alert of the failure or the failed checks, one of quarantined rows, one of warnings."""
    run = record.dagster_run
    attempts = _attempts(instance, run)
    found = _found(instance, attempts)
    ended = at(record.end_time) if record.end_time else record.update_timestamp
    errors, warnings = found.failed(dg.AssetCheckSeverity.ERROR), found.failed(dg.AssetCheckSeverity.WARN)
    quarantine = {name: item for name, item in warnings.items() if item[0].check_name == QUARANTINE}
    batch, first = _batch(run), attempts[0].run_id
    of_batch = f" of {batch}" if batch else ""

    def alert(
        kind: Kind,
        severity: Severity,
        title: str,
        details: Sequence[str],
        checks: Iterable[str],
        done: str,
        do: str,
        topic: str,
        since: datetime = ended,
        link: str = place.run(run.run_id),
    ) -> Alert:
        return Alert(
            key=f"{kind}/{first}",
            kind=kind,
            severity=severity,
            portfolio=place.portfolio,
            title=title,
            details="\n".join(_listed(details)),
            since=since,
            what_was_done=done,
            what_to_do=do,
            link=link,
            batch=batch,
            parts=tuple(_listed(list(checks))),
            topic=topic,
            finding=identity(kind, *sorted(details)),
        )

    if run.is_failure and not any(found.steps.values()) and any(name.startswith(f"{GATE}.") for name in errors):
        better, version = (
            next(
                (evaluation.metadata[name].value for evaluation, _ in errors.values() if name in evaluation.metadata),
                "",
            )
            for name in (SURELY_BETTER, "candidate_version")
        )
        lacked = "Read what it lacked."
        by_hand = f'`credit-assets promote --portfolio {place.portfolio} --version {version or "VERSION"} --why "..."`'
        yield alert(
            "promotion_refused",
            "error" if better else "warning",
            "the candidate was not promoted, though it is surely better than the champion"
            if better
            else "the candidate was not promoted",
            [*([f"Surely better than the champion: {better}."] if better else []), *_words(errors)],
            errors,
            "It is registered as challenger; the champion before goes on deciding."
            + (" Another training starts when the next outcomes are known." if better else ""),
            f"{lacked} If that matters less: {by_hand}."
            if better
            else f"{lacked} Nothing has to be done: the next training makes another candidate.",
            _topic(run),
            link=place.asset(GATE),
        )
    elif run.is_failure:
        stopped = [f"{step}: {words}" for step, words in found.steps.items() if words]
        details = [*stopped, *_words(errors)] or [found.run_words]
        tried = f" It was tried {len(attempts)} times." if len(attempts) > 1 else ""
        yield alert(
            "run_failed",
            "error",
            f"{_job(run)}{of_batch} failed",
            details,
            dict.fromkeys([*found.steps, *errors]),
            f"Nothing half-written can be read: every table it did not finish stays as it was.{tried}",
            "Mend what the words name (a corrected delivery under the same name, the configuration, the machine); "
            "a changed delivery is run again by itself, all else from the run's page or by `credit-assets run`.",
            _topic(run),
        )
    elif errors:
        names = [evaluation.check_name for evaluation, _ in errors.values()]
        since = min(when for _, when in errors.values())
        done, do = _answered(names, since, answer)
        yield alert(
            "check_failed",
            "error",
            f"{_and(names)} failed{f' on {batch}' if batch else ''}",
            _words(errors),
            errors,
            done,
            do,
            f"checks/{batch}",
            since,
        )
    if quarantine:
        tables = [evaluation.asset_key.path[-1] for evaluation, _ in quarantine.values()]
        yield alert(
            "quarantine",
            "warning",
            f"rows{of_batch} were set aside: {_and(tables)}",
            _words(quarantine),
            quarantine,
            "The other rows were taken; rows in = rows kept + rows set aside.",
            "Look at the refused rows and their reasons (the path is in the words), and deliver the batch corrected "
            "under the same name if they matter.",
            f"quarantine/{batch}",
            min(when for _, when in quarantine.values()),
        )
    if others := {name: item for name, item in warnings.items() if name not in quarantine}:
        names = [evaluation.check_name for evaluation, _ in others.values()]
        yield alert(
            "check_warning",
            "warning",
            f"{_and(names)} warned{f' on {batch}' if batch else ''}",
            _words(others),
            others,
            "Nothing was stopped.",
            "Look at the check's words.",
            f"warnings/{batch}",
            min(when for _, when in others.values()),
        )


def _answered(checks: Sequence[str], since: datetime, answer: Answer) -> tuple[str, str]:
    """What was done about failed checks that stopped nothing, and what is to be done."""
    if set(checks) & {check for _, check in ROLLS_BACK}:
        return (
            "The champion before decides again, where there is one; that is told.",
            "Compare the two versions on the batch's outcomes before the next promotion.",
        )
    if set(checks) & {check for _, check in RETRAINS}:
        return f"The batch is scored all the same. {answer(since)}", "Look at what moved, and whether it was expected."
    return "Nothing was stopped.", "Look at the check's words."


def _words(checks: Mapping[str, tuple[dg.AssetCheckEvaluation, datetime]]) -> list[str]:
    return [f"{name}: {_said(evaluation) or 'failed'}" for name, (evaluation, _) in checks.items()]


def _said(evaluation: dg.AssetCheckEvaluation) -> str | None:
    bare = evaluation.metadata.get(WITHOUT_VALUES)
    return evaluation.description if bare is None else str(bare.value)


def _listed(lines: Sequence[str]) -> list[str]:
    return [*lines[:LISTED], *([f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else [])]


def _and(names: Sequence[str]) -> str:
    return ", ".join(_listed(list(dict.fromkeys(names))))


def _batch(run: dg.DagsterRun) -> str | None:
    return run.tags.get("dagster/partition")


def _job(run: dg.DagsterRun) -> str:
    return "a materialization by hand" if run.job_name.startswith("__") else run.job_name


def _topic(run: dg.DagsterRun) -> str:
    return f"runs/{run.job_name}/{_batch(run)}"


# -- champions ---------------------------------------------------------------------------------------


def tell_champions(outbox: Outbox, place: Place, history: Iterable[ChampionEvent], now: float) -> None:
    """Record promotions and rollbacks."""
    floor, _ = outbox.since(now)
    with outbox.writing():
        for event in history:
            if event.at.timestamp() >= floor:
                outbox.record(_champion(place, event), now)


def _champion(place: Place, event: ChampionEvent) -> Alert:
    before = f"version {event.replaced}" if event.replaced else "no champion"
    back, override = event.by == "rollback" or event.back, event.by == "override"
    if back:
        what_to_do = "Find out why the version after it did worse."
    elif override:
        what_to_do = "Make sure that the override was meant. Its evaluation report shows what the gate found."
    else:
        what_to_do = "Nothing."
    return Alert(
        key=f"champion/{event.number}",
        kind="rollback" if back else "promotion",
        severity="warning" if back or override else "info",
        portfolio=place.portfolio,
        title=f"version {event.version} decides {'again' if back else 'now'}, after {before}"
        + (": an override of the gate" if override else ""),
        details=f"By {event.by}. Why: {event.why}",
        since=event.at,
        what_was_done="New batches are scored by it. Decisions already given stay as they are.",
        what_to_do=what_to_do,
        link=place.run(event.run_id) if event.run_id else place.asset("champion"),
        parts=("champion",),
    )


# -- what lasts --------------------------------------------------------------------------------------


def tell_deliveries(outbox: Outbox, place: Place, portfolio: Portfolio, inbox: Inbox, lake: Lake, now: float) -> None:
    """Watch for a next delivery that is late, and for one that lies in the inbox and is not read."""
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
    changed = {look.batch: _changed(look) for look in inbox.looks(portfolio.name) if look.batch not in read}
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
            if batch in seen.waiting and batch not in seen.looks
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


def _changed(look: Look) -> float:
    """When the delivery was last written to, as far as its files tell."""
    try:
        written = [changed_ns / 1e9 for _, changed_ns, *_ in look.files.values()]
        return max([look.folder.stat().st_mtime, *written])
    except FileNotFoundError:
        return time.time()


def tell_ticks(outbox: Outbox, place: Place, names: Collection[str], instance: dg.DagsterInstance, now: float) -> None:
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
    kind = first_cause(tick.error).cls_name if tick.error else "no reason recorded"
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


def tell_registry(outbox: Outbox, place: Place, claims: Claims, reason: str | None, now: float) -> None:
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
    """Watch for a condition of what all portfolios share. Of those that find it, one reports it: preferably one with a
    channel for it. The others leave it to that one for as long as its sensor polls."""
    if found is None:
        claims.release(f"report {name}")
    else:
        sent = any(told_at(found.severity, wants.least) for wants in outbox.config.channels.values())
        if not claims.claim(f"report {name}", now, rank=int(sent)):
            outbox.forget(name)
            return
    outbox.watch(name, found, now, outbox.config.lasting_minutes * 60)


def tell_capacity(
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

    def alert(name: str, title: str, details: str, done: str, do: str, link: str) -> Alert:
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

    free_gb = f"{free:.{digits_apart(1, (free, config.disk_free_gb))}f}"
    available, needed = percent_apart(share, config.memory_free_share)
    daemons = f"{place.ui}/deployment/daemons"
    conditions = {
        "disk": alert(
            "disk",
            "the disk is nearly full",
            f"{free_gb} GB are free where {folder.name}/ lies; alerts.disk_free_gb is {config.disk_free_gb:g}.",
            "Nothing. A run that finds no space fails, and leaves what was there before as it was.",
            "Make room: run the job `maintenance`, empty data/spill, or give the disk more.",
            daemons,
        )
        if free < config.disk_free_gb
        else None,
        "memory": alert(
            "memory",
            "the machine's memory is nearly used up",
            f"{available} of {memory.total / 1e9:.0f} GB are available; alerts.memory_free_share is {needed}.",
            "Nothing. The system may end a run; it is then launched again.",
            "Lower CREDIT_ASSETS_MEMORY_LIMIT or the runs at once (dagster.yaml), or give the machine more.",
            daemons,
        )
        if share < config.memory_free_share
        else None,
        "backlog": alert(
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
