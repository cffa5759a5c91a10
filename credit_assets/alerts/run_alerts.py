"""Alerts about runs: trainings and corrections that start, failures, failed checks, quarantined rows.

They contain no values of rows, because alerts leave the platform. `outbox.py` ensures that each fact is reported once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import dagster as dg

from credit_assets.alerts.notifications import Alert, Kind, at, stable_id
from credit_assets.alerts.outbox import Outbox
from credit_assets.alerts.portfolio_links import PortfolioLinks
from credit_assets.automation.active_runs import may_be_retried
from credit_assets.automation.retraining import RETRAINING_CHECKS, ROLLBACK_CHECKS
from credit_assets.automation.runs import step_failure_text
from credit_assets.dagster_private import AUTO_RETRY_RUN_ID_TAG
from credit_assets.evaluation.checks import BETTER_THAN_CHAMPION
from credit_assets.lake.contracts import WITHOUT_VALUES
from credit_assets.settings.alerts import Severity
from credit_assets.settings.run_tags import CORRECTION_TAG, TRAINING_TAG, WHY_TAG

OVERLAP_S = 120.0
"""Seconds before the cursor that are read again, because an update may become visible after a newer one."""
RUNS_PER_POLL = 20
"""Runs whose events are read in one poll; the others wait for the next."""

GATE = "promotion_gate"
QUARANTINE = "no_rows_quarantined"
LISTED = 8
"""Checks or steps that an alert lists. The others are counted."""

Response = Callable[[datetime], str]
"""Describes how the platform responds to a drift or performance check that failed at that time: with a training, or
why there is none."""
Checks = Mapping[str, tuple[dg.AssetCheckEvaluation, datetime]]
"""Checks by name, each with its evaluation and the evaluation's time."""


def report_runs(
    outbox: Outbox, instance: dg.DagsterInstance, links: PortfolioLinks, response: Response, now: float
) -> None:
    """Record the alerts of the portfolio's runs that started or ended since the last poll.

    A failed run that Dagster launches again is not reported; its last attempt is, with the checks of all attempts.
    """
    not_before, until = outbox.cursor(now)
    seen = outbox.runs_read()
    changed = instance.get_run_records(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE],
            updated_after=at(max(until - OVERLAP_S, not_before)),
        ),
        order_by="update_timestamp",
        ascending=True,
    )
    new = [
        record
        for record in changed
        if links.owns(record.dagster_run) and _updated(record) != seen.get(record.dagster_run.run_id)
    ]
    undecided = [record for record in new if may_be_retried(instance, record, now)]
    still_open = {record.dagster_run.run_id for record in undecided}
    decided = [record for record in new if record.dagster_run.run_id not in still_open]
    read, left = decided[:RUNS_PER_POLL], decided[RUNS_PER_POLL:]
    found = [(record, list(_alerts_of_run(links, instance, record, response))) for record in read]
    # Everything that changed has been read, except what is left or undecided: the next poll starts there.
    reached = min(map(_updated, [*left, *undecided]), default=max(map(_updated, changed), default=until))
    if not read and reached - until < OVERLAP_S:
        return
    with outbox.writing():
        for record, alerts in found:
            if record.dagster_run.is_success:
                outbox.mark_resolved(_topic(record.dagster_run))
            for alert in alerts:
                outbox.record(alert, now)
        updates = {record.dagster_run.run_id: _updated(record) for record in read}
        outbox.mark_read(updates, max(until, reached), forget_before=max(until, reached) - 2 * OVERLAP_S)


def _alerts_of_run(
    links: PortfolioLinks, instance: dg.DagsterInstance, record: dg.RunRecord, response: Response
) -> Iterator[Alert]:
    """The alerts of the run from its start and, unless it is launched again, from its end."""
    yield from _start_alerts(links, instance, record)
    if record.dagster_run.is_finished and not _launched_again(record.dagster_run):
        yield from _EndAlerts(links, instance, record, response).alerts()


def _updated(record: dg.RunRecord) -> float:
    return record.update_timestamp.timestamp()


def _launched_again(run: dg.DagsterRun) -> bool:
    return run.is_failure and AUTO_RETRY_RUN_ID_TAG in run.tags


def _attempts(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[dg.DagsterRun]:
    """The run and its earlier attempts, oldest first."""
    attempts = [run]
    while attempts[0].parent_run_id and (before := instance.get_run_by_id(attempts[0].parent_run_id)):
        if before.tags.get(AUTO_RETRY_RUN_ID_TAG) != attempts[0].run_id:
            break
        attempts.insert(0, before)
    return attempts


def _start_alerts(links: PortfolioLinks, instance: dg.DagsterInstance, record: dg.RunRecord) -> Iterator[Alert]:
    """The alert that a training, or the ingestion of a correction, has started."""
    run = record.dagster_run
    trains, corrects = TRAINING_TAG in run.tags, run.tags.get(CORRECTION_TAG) == "true"
    if not trains and not corrects:
        return
    first = _attempts(instance, run)[0]
    why = run.tags.get(WHY_TAG, "it was started by hand")
    since = at(record.start_time) if record.start_time else record.create_timestamp
    if trains:
        yield Alert(
            key=f"retraining/{first.run_id}",
            kind="retraining",
            severity="info",
            portfolio=links.portfolio,
            title="a candidate is being trained",
            details=f"Reason: {why.removesuffix('.')}.",
            since=since,
            what_was_done="The champion, if there is one, keeps deciding until a candidate passes the gate.",
            what_to_do="Nothing. The result is reported.",
            link=links.run_url(run.run_id),
        )
    if corrects:
        yield Alert(
            key=f"correction/{first.run_id}",
            kind="correction",
            severity="info",
            portfolio=links.portfolio,
            title=f"a corrected delivery of {_batch(run)} is being ingested",
            details=f"Reason: {why.removesuffix('.')}.",
            since=since,
            what_was_done="Each valid table replaces its earlier version, which stays readable.",
            what_to_do="Nothing, if the correction was intended.",
            link=links.run_url(run.run_id),
            batch=_batch(run),
        )


@dataclass
class _RunResults:
    """The results of a run and of its earlier attempts, from their events: `checks` by name; the failed `steps` of the
    last attempt, each with its reason (empty if a check stopped it); and the `failure` of the run as a whole."""

    checks: dict[str, tuple[dg.AssetCheckEvaluation, datetime]] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)
    failure: str = ""

    def failed(self, severity: dg.AssetCheckSeverity) -> dict[str, tuple[dg.AssetCheckEvaluation, datetime]]:
        return {
            name: (evaluation, when)
            for name, (evaluation, when) in self.checks.items()
            if not evaluation.passed and evaluation.severity == severity
        }


def _results(instance: dg.DagsterInstance, attempts: Sequence[dg.DagsterRun]) -> _RunResults:
    found = _RunResults()
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
                found.failure = event.message or ""
    return found


class _EndAlerts:
    """The alerts about a run that has ended, including its earlier attempts: at most one about the failure or failed
    checks, one about quarantined rows, and one about warnings."""

    def __init__(
        self, links: PortfolioLinks, instance: dg.DagsterInstance, record: dg.RunRecord, response: Response
    ) -> None:
        self.links, self.run, self.response = links, record.dagster_run, response
        self.attempts = _attempts(instance, self.run)
        self.found = _results(instance, self.attempts)
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
            for name in (BETTER_THAN_CHAMPION, "candidate_version")
        )
        read = "See which requirement it missed."
        portfolio, number = self.links.portfolio, version or "VERSION"
        by_hand = f'`credit-assets promote --portfolio {portfolio} --version {number} --why "..."`'
        return self._alert(
            "promotion_refused",
            "error" if better else "warning",
            "the candidate was not promoted, although it is significantly better than the champion"
            if better
            else "the candidate was not promoted",
            [*([f"Significantly better than the champion: {better}."] if better else []), *_check_lines(errors)],
            errors,
            "It is registered as challenger. The champion does not change."
            + (" Another training starts once enough new outcomes are known." if better else ""),
            f"{read} If that matters less, promote it by hand: {by_hand}."
            if better
            else f"{read} Nothing else needs to be done: the next training makes another candidate.",
            _topic(self.run),
            link=self.links.asset_url(GATE),
        )

    def _failed(self, errors: Checks) -> Alert:
        steps = self.found.steps
        stopped = [f"{step}: {reason}" for step, reason in steps.items() if reason]
        tried = f" It was tried {len(self.attempts)} times." if len(self.attempts) > 1 else ""
        return self._alert(
            "run_failed",
            "error",
            f"{_job(self.run)}{f' of {self.batch}' if self.batch else ''} failed",
            [*stopped, *_check_lines(errors)] or [self.found.failure],
            dict.fromkeys([*steps, *errors]),
            f"No table is left half-written: every table that the run did not finish is unchanged.{tried}",
            "Fix what the message names (correct the delivery under the same name, the configuration, the machine). A "
            "corrected delivery is ingested automatically; start anything else from the run's page or with "
            "`credit-assets run`.",
            _topic(self.run),
        )

    def _checks_failed(self, errors: Checks) -> Alert:
        names = [evaluation.check_name for evaluation, _ in errors.values()]
        since = _earliest(errors)
        done, do = _response_to(names, since, self.response)
        return self._alert(
            "check_failed",
            "error",
            f"{_joined(names)} failed{f' on {self.batch}' if self.batch else ''}",
            _check_lines(errors),
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
            f"rows{f' of {self.batch}' if self.batch else ''} were quarantined: {_joined(tables)}",
            _check_lines(quarantine),
            quarantine,
            "The other rows were ingested: rows delivered = rows kept + rows quarantined.",
            "Read the quarantined rows and their reasons (at the path above). If they matter, deliver a corrected "
            "batch under the same name.",
            f"quarantine/{self.batch}",
            _earliest(quarantine),
        )

    def _warned(self, warnings: Checks) -> Alert:
        names = [evaluation.check_name for evaluation, _ in warnings.values()]
        return self._alert(
            "check_warning",
            "warning",
            f"{_joined(names)} raised a warning{f' on {self.batch}' if self.batch else ''}",
            _check_lines(warnings),
            warnings,
            "The run was not stopped.",
            "Read the description of the check.",
            f"warnings/{self.batch}",
            _earliest(warnings),
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
            portfolio=self.links.portfolio,
            title=title,
            details="\n".join(_listed(details)),
            since=since or self.ended,
            what_was_done=done,
            what_to_do=do,
            link=link or self.links.run_url(self.run.run_id),
            batch=self.batch,
            parts=tuple(_listed(list(checks))),
            topic=topic,
            finding=stable_id(kind, *sorted(details)),
        )


def _earliest(checks: Checks) -> datetime:
    """The time of the earliest evaluation."""
    return min(when for _, when in checks.values())


def _response_to(checks: Sequence[str], since: datetime, response: Response) -> tuple[str, str]:
    """The response of the platform to failed checks that did not stop the run, and what to do."""
    if set(checks) & {check for _, check in ROLLBACK_CHECKS}:
        return (
            "The previous champion is restored, if there is one, which is reported.",
            "Compare the two versions on the batch's outcomes before the next promotion.",
        )
    if set(checks) & {check for _, check in RETRAINING_CHECKS}:
        return (
            f"The batch was scored nevertheless. {response(since)}",
            "Find out what moved, and whether it was expected.",
        )
    return "The run was not stopped.", "Read the description of the check."


def _check_lines(checks: Checks) -> list[str]:
    return [f"{name}: {_description(evaluation) or 'failed'}" for name, (evaluation, _) in checks.items()]


def _description(evaluation: dg.AssetCheckEvaluation) -> str | None:
    bare = evaluation.metadata.get(WITHOUT_VALUES)
    return evaluation.description if bare is None else str(bare.value)


def _listed(lines: Sequence[str]) -> list[str]:
    return [*lines[:LISTED], *([f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else [])]


def _joined(names: Sequence[str]) -> str:
    return ", ".join(_listed(list(dict.fromkeys(names))))


def _batch(run: dg.DagsterRun) -> str | None:
    return run.tags.get("dagster/partition")


def _job(run: dg.DagsterRun) -> str:
    return "a materialization by hand" if run.job_name.startswith("__") else run.job_name


def _topic(run: dg.DagsterRun) -> str:
    return f"runs/{run.job_name}/{_batch(run)}"
