"""Runs that refused their input. The same input would be refused again, so the work waits for a change."""

from __future__ import annotations

import dagster as dg

from credit_assets.automation.due import BatchDue, Due, Refused, RunRefused
from credit_assets.automation.runs import step_failure_text
from credit_assets.dagster_private import RUN_FAILURE_REASON_TAG, DagsterAssetCheckFailedError
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.run_tags import KEY_TAG, PORTFOLIO_TAG


def refusal(instance: dg.DagsterInstance, portfolio: Portfolio, due: Due) -> Refused | None:
    """The refusal by the newest run for this work; None if there was no run, or if the work may succeed now."""
    tags = {PORTFOLIO_TAG: portfolio.name, KEY_TAG: due.key}
    for run in instance.get_runs(dg.RunsFilter(tags=tags), limit=1):
        # Without a failed step that gives the reason, the work does not wait.
        if was_refused(instance, run) and _failures(instance, run):
            assert isinstance(due.reason, BatchDue)
            return Refused(RunRefused(due.reason, run.run_id, refusal_text(instance, run)))
    return None


def was_refused(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the run failed because a step or a check refused the data, not because of a problem of the machine."""
    if run.tags.get(RUN_FAILURE_REASON_TAG) != "STEP_FAILURE":
        return False
    failures = [entry.dagster_event.step_failure_data for entry in _failures(instance, run) if entry.dagster_event]
    return not failures or any(
        data.user_failure_data or (data.error and data.error.cls_name == DagsterAssetCheckFailedError.__name__)
        for data in failures
    )


def refusal_text(instance: dg.DagsterInstance, run: dg.DagsterRun, *, disclose: bool = False) -> str:
    """The reasons why steps of the run failed, without those that a check stopped.

    `disclose` adds the messages of unexpected errors, for the terminal of the person who runs a command. They must not
    be stored, so ticks contain only the classes.
    """
    texts = [
        step_failure_text(entry.dagster_event, disclose=disclose)
        for entry in _failures(instance, run)
        if entry.dagster_event
    ]
    return "; ".join(filter(None, texts)) or "see the run and its failed checks"


def _failures(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[dg.EventLogEntry]:
    return list(instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE))
