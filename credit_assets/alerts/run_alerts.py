"""Alerts from runs: what started, what failed, which checks failed, which rows were quarantined.

They contain no values of rows, since alerts are sent outside; `outbox.py` makes sure that each fact is reported once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import dagster as dg

from credit_assets.alerts.notifications import Alert, Kind, at, identity
from credit_assets.alerts.outbox import Outbox
from credit_assets.alerts.place import Place
from credit_assets.automation.active_runs import may_be_retried
from credit_assets.automation.retraining import RETRAINING_CHECKS, ROLLBACK_CHECKS
from credit_assets.automation.runs import step_failure_text
from credit_assets.dagster_private import AUTO_RETRY_RUN_ID_TAG
from credit_assets.evaluation.checks import SURELY_BETTER
from credit_assets.lake.contracts import WITHOUT_VALUES
from credit_assets.settings.alerts import Severity
from credit_assets.settings.run_tags import CORRECTION_TAG, TRAINING_TAG, WHY_TAG

OVERLAP_S = 120.0
"""A run's update may become visible later than one that is newer; so far back is looked again."""
RUNS_A_LOOK = 20
"""Runs whose events are read in one look; the others wait for the next."""

GATE = "promotion_gate"
QUARANTINE = "no_rows_quarantined"
LISTED = 8
"""Checks or steps that an alert lists; the others are counted."""

Answer = Callable[[datetime], str]
"""What was done about a drift or performance check that failed at the time: a training, or why none."""
Checks = Mapping[str, tuple[dg.AssetCheckEvaluation, datetime]]
"""Checks by name, each with its evaluation and when that was."""


def report_runs(outbox: Outbox, instance: dg.DagsterInstance, place: Place, answer: Answer, now: float) -> None:
    """Record the alerts of the portfolio's runs that started or ended since the last poll.

    A failed run that Dagster launches again is not reported; its last attempt is, with the checks of all attempts.
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
    undecided = [record for record in new if may_be_retried(instance, record, now)]
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
    """The alerts of the run from its start and, unless it is launched again, from its end."""
    yield from _begun(place, instance, record)
    if record.dagster_run.is_finished and not _launched_again(record.dagster_run):
        yield from _Ended(place, instance, record, answer).alerts()


def _updated(record: dg.RunRecord) -> float:
    return record.update_timestamp.timestamp()


def _launched_again(run: dg.DagsterRun) -> bool:
    return run.is_failure and AUTO_RETRY_RUN_ID_TAG in run.tags


def _attempts(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[dg.DagsterRun]:
    """The run and its earlier attempts, the first one first."""
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
    """The events of a run (and of earlier attempts): checks by name; failed steps of the last attempt with the reason,
    without a message if a check stopped them; and messages about the run as a whole."""

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
                found.steps[str(event.step_key).split("__", 1)[-1]] = step_failure_text(event, disclose=False)
            elif event.event_type == dg.DagsterEventType.RUN_FAILURE:
                found.run_words = event.message or ""
    return found


class _Ended:
    """The alerts of a run that ended, with its earlier attempts: at most one about the failure or the failed checks,
    one about quarantined rows, and one about warnings."""

    def __init__(self, place: Place, instance: dg.DagsterInstance, record: dg.RunRecord, answer: Answer) -> None:
        self.place, self.run, self.answer = place, record.dagster_run, answer
        self.attempts = _attempts(instance, self.run)
        self.found = _found(instance, self.attempts)
        self.ended = at(record.end_time) if record.end_time else record.update_timestamp
        self.batch = _batch(self.run)

    def alerts(self) -> Iterator[Alert]:
        errors = self.found.failed(dg.AssetCheckSeverity.ERROR)
        warnings = self.found.failed(dg.AssetCheckSeverity.WARN)
        stopped = any(self.found.steps.values())
        if self.run.is_failure and not stopped and any(name.startswith(f"{GATE}.") for name in errors):
            yield self._not_promoted(errors)
        elif self.run.is_failure:
            yield self._failed(errors)
        elif errors:
            yield self._checks_failed(errors)
        quarantine = {name: item for name, item in warnings.items() if item[0].check_name == QUARANTINE}
        if quarantine:
            yield self._quarantined(quarantine)
        if others := {name: item for name, item in warnings.items() if name not in quarantine}:
            yield self._warned(others)

    def _not_promoted(self, errors: Checks) -> Alert:
        better, version = (
            next(
                (evaluation.metadata[name].value for evaluation, _ in errors.values() if name in evaluation.metadata),
                "",
            )
            for name in (SURELY_BETTER, "candidate_version")
        )
        lacked = "Read what it lacked."
        portfolio, number = self.place.portfolio, version or "VERSION"
        by_hand = f'`credit-assets promote --portfolio {portfolio} --version {number} --why "..."`'
        return self._alert(
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
            _topic(self.run),
            link=self.place.asset(GATE),
        )

    def _failed(self, errors: Checks) -> Alert:
        steps = self.found.steps
        stopped = [f"{step}: {words}" for step, words in steps.items() if words]
        tried = f" It was tried {len(self.attempts)} times." if len(self.attempts) > 1 else ""
        return self._alert(
            "run_failed",
            "error",
            f"{_job(self.run)}{f' of {self.batch}' if self.batch else ''} failed",
            [*stopped, *_words(errors)] or [self.found.run_words],
            dict.fromkeys([*steps, *errors]),
            f"Nothing half-written can be read: every table it did not finish stays as it was.{tried}",
            "Mend what the words name (a corrected delivery under the same name, the configuration, the machine); "
            "a changed delivery is run again by itself, all else from the run's page or by `credit-assets run`.",
            _topic(self.run),
        )

    def _checks_failed(self, errors: Checks) -> Alert:
        names = [evaluation.check_name for evaluation, _ in errors.values()]
        since = _first(errors)
        done, do = _answered(names, since, self.answer)
        return self._alert(
            "check_failed",
            "error",
            f"{_and(names)} failed{f' on {self.batch}' if self.batch else ''}",
            _words(errors),
            errors,
            done,
            do,
            f"checks/{self.batch}",
            since,
        )

    def _quarantined(self, quarantine: Checks) -> Alert:
        tables = [evaluation.asset_key.path[-1] for evaluation, _ in quarantine.values()]
        return self._alert(
            "quarantine",
            "warning",
            f"rows{f' of {self.batch}' if self.batch else ''} were set aside: {_and(tables)}",
            _words(quarantine),
            quarantine,
            "The other rows were taken; rows in = rows kept + rows set aside.",
            "Look at the refused rows and their reasons (the path is in the words), and deliver the batch corrected "
            "under the same name if they matter.",
            f"quarantine/{self.batch}",
            _first(quarantine),
        )

    def _warned(self, warnings: Checks) -> Alert:
        names = [evaluation.check_name for evaluation, _ in warnings.values()]
        return self._alert(
            "check_warning",
            "warning",
            f"{_and(names)} warned{f' on {self.batch}' if self.batch else ''}",
            _words(warnings),
            warnings,
            "Nothing was stopped.",
            "Look at the check's words.",
            f"warnings/{self.batch}",
            _first(warnings),
        )

    def _alert(
        self,
        kind: Kind,
        severity: Severity,
        title: str,
        details: Sequence[str],
        checks: Iterable[str],
        done: str,
        do: str,
        topic: str,
        since: datetime | None = None,
        link: str | None = None,
    ) -> Alert:
        return Alert(
            key=f"{kind}/{self.attempts[0].run_id}",
            kind=kind,
            severity=severity,
            portfolio=self.place.portfolio,
            title=title,
            details="\n".join(_listed(details)),
            since=since or self.ended,
            what_was_done=done,
            what_to_do=do,
            link=link or self.place.run(self.run.run_id),
            batch=self.batch,
            parts=tuple(_listed(list(checks))),
            topic=topic,
            finding=identity(kind, *sorted(details)),
        )


def _first(checks: Checks) -> datetime:
    """When the first of the checks was evaluated."""
    return min(when for _, when in checks.values())


def _answered(checks: Sequence[str], since: datetime, answer: Answer) -> tuple[str, str]:
    """What was done about failed checks that stopped nothing, and what to do."""
    if set(checks) & {check for _, check in ROLLBACK_CHECKS}:
        return (
            "The champion before decides again, where there is one; that is told.",
            "Compare the two versions on the batch's outcomes before the next promotion.",
        )
    if set(checks) & {check for _, check in RETRAINING_CHECKS}:
        return f"The batch is scored all the same. {answer(since)}", "Look at what moved, and whether it was expected."
    return "Nothing was stopped.", "Look at the check's words."


def _words(checks: Checks) -> list[str]:
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
