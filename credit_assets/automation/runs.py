"""Runs a portfolio's jobs in the process of a command, one command at a time, and reports progress.

`pending.py` determines which runs are due.
"""

from __future__ import annotations

import io
import logging
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import dagster as dg
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus, RunsFilter
from filelock import FileLock, Timeout

from credit_assets.dagster_private import (
    MAX_RETRIES_TAG,
    DagsterAssetCheckFailedError,
    SerializableErrorInfo,
    make_new_run_id,
)
from credit_assets.lake.connections import connect
from credit_assets.lake.contracts import EXAMPLES, WITHOUT_VALUES, shorten
from credit_assets.lake.disk import require_free_space
from credit_assets.plurals import number_of
from credit_assets.settings.project import AlreadyRunning, Project
from credit_assets.settings.run_tags import COMMAND_TAG, HOST_TAG

LOGGING_FAILED = "Exception while writing logger call to event log"
"""The beginning of what Dagster prints when it cannot log a message."""

SPILL_DISK_FULL = "max_temp_directory_size"
"""Part of DuckDB's error message when the disk of its spill folder is full."""

QUIET_CONSOLE = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class RunOutcome:
    """The result of one run: its error messages, and the seconds that each asset took.

    `refused_by_gate`: the run ended because the promotion gate refused the candidate, which is not an error.
    """

    run_id: str
    job: str
    batch: str | None
    success: bool
    seconds: float
    errors: tuple[str, ...] = ()
    asset_seconds: dict[str, float] = field(default_factory=dict)
    refused_by_gate: bool = False


@contextmanager
def instance_for_commands(project: Project, portfolio: str) -> Iterator[DagsterInstance]:
    """The project's Dagster instance, locked against other commands on the portfolio.

    Under the lock, a run of an earlier command whose status is still STARTED must have been killed, so it is marked as
    failed. Raises AlreadyRunning if another command holds the lock, and OSError if the disk is full.
    """
    lock = FileLock(project.data / "dagster" / f"{portfolio}.lock")
    require_free_space(project.data / "dagster")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise AlreadyRunning(
            f"Another credit-assets command is running on {portfolio}. Wait until it has finished "
            f"(lock: {lock.lock_file})."
        ) from error
    try:
        with DagsterInstance.get() as instance:
            unfinished = RunsFilter(
                tags={COMMAND_TAG: portfolio}, statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.NOT_STARTED]
            )
            for run in instance.get_runs(unfinished):
                instance.report_run_failed(run, "The command that ran it was killed.")
            yield instance
    finally:
        lock.release()


def execute(
    instance: DagsterInstance,
    definitions: dg.Definitions,
    portfolio: str,
    job: str,
    batch: str | None,
    report: Callable[[str], None],
    tables: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    run_config: Mapping[str, Any] | None = None,
) -> RunOutcome:
    """Run a job, or only its assets `tables`, in this process, and return the result.

    `report` receives a line for each asset that is made, and each message that an asset logs. The reasons of a failure
    are only in the result, so that the caller prints them once.
    """
    run_id = make_new_run_id()
    graph = definitions.resolve_asset_graph()
    progress = _Progress(report, {key for key in graph.asset_check_keys if graph.get(key).blocking})
    instance.add_event_listener(run_id, progress.listen)
    begin = time.monotonic()
    with redirect_stderr(_LoggingErrorFilter(sys.stderr)) as filtered:
        result = definitions.resolve_job_def(job).execute_in_process(
            run_config={**QUIET_CONSOLE, **(run_config or {})},
            instance=instance,
            partition_key=batch,
            asset_selection=[dg.AssetKey([portfolio, table]) for table in tables] or None,
            raise_on_error=False,
            run_id=run_id,
            # The run lives in this command's process: run monitoring finds it by its host, and must not relaunch it.
            tags={COMMAND_TAG: portfolio, HOST_TAG: socket.gethostname(), MAX_RETRIES_TAG: "0", **(tags or {})},
        )
    if filtered.count:
        report(f"  {number_of(filtered.count, 'message')} could not be written to Dagster's event log")
    return RunOutcome(
        run_id,
        job,
        batch,
        result.success,
        time.monotonic() - begin,
        tuple(progress.errors),
        progress.asset_seconds,
        refused_by_gate=progress.stopped_by_checks_of(f"{portfolio}__promotion_gate"),
    )


class _LoggingErrorFilter(io.TextIOBase):
    """Writes text to a terminal, except what Dagster prints when it cannot log a message (with SQL and parameters).
    Those are only counted, for one report at the end."""

    def __init__(self, terminal: TextIO) -> None:
        self.terminal, self.count = terminal, 0

    def write(self, text: str) -> int:
        if text.startswith(LOGGING_FAILED):
            self.count += 1
            return len(text)
        return self.terminal.write(text)

    def flush(self) -> None:
        self.terminal.flush()

    def isatty(self) -> bool:
        return self.terminal.isatty()

    def fileno(self) -> int:
        """The terminal's descriptor, which Dagster needs to capture the output of the run in a log."""
        return self.terminal.fileno()


@dataclass
class _Progress:
    """The state of a run according to its events so far, by step key."""

    report: Callable[[str], None]
    blocking: Collection[dg.AssetCheckKey]
    started: dict[str, float] = field(default_factory=dict)
    asset_seconds: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    blocked: dict[str | None, list[str]] = field(default_factory=dict)
    """Failed blocking checks by step, each with its description."""
    failed: dict[str | None, bool] = field(default_factory=dict)
    """By failed step, whether only a check stopped it."""

    def listen(self, entry: dg.EventLogEntry) -> None:
        """Update the state from an event, and report the event if it is of interest on a terminal."""
        event = entry.dagster_event
        if event is None:
            # Leaves out what Dagster logs about the steps that are skipped after a failed one.
            if int(entry.level) >= logging.INFO and entry.step_key in {None, *self.started}:
                self.report(f"    {entry.user_message}")
        elif event.event_type == DagsterEventType.STEP_START and event.step_key:
            self.started[event.step_key] = time.monotonic()
        elif event.event_type == DagsterEventType.STEP_SUCCESS and event.step_key:
            self.asset_seconds[event.step_key] = time.monotonic() - self.started[event.step_key]
        elif event.event_type == DagsterEventType.ASSET_MATERIALIZATION and event.step_key:
            self.report(_materialization_line(event, time.monotonic() - self.started[event.step_key]))
        elif event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            self._record_check(event)
        elif event.event_type == DagsterEventType.STEP_FAILURE:
            self._record_failure(event)
        elif event.event_type == DagsterEventType.RUN_FAILURE and not self.errors and event.job_failure_data.error:
            self.errors.append(root_cause_text(event.job_failure_data.error))

    def _record_check(self, event: dg.DagsterEvent) -> None:
        evaluation = event.asset_check_evaluation_data
        if evaluation.passed:
            return
        found = f"{evaluation.asset_key.path[-1]}.{evaluation.check_name}: {evaluation.description}"
        blocks = evaluation.asset_check_key in self.blocking
        if blocks and evaluation.severity == dg.AssetCheckSeverity.ERROR:
            self.blocked.setdefault(event.step_key, []).append(found)
        else:
            self.report(f"  check failed ({evaluation.severity.value}) {found}")

    def _record_failure(self, event: dg.DagsterEvent) -> None:
        cause = step_failure_text(event, disclose=True)
        self.failed[event.step_key] = not cause and event.step_key in self.blocked
        cause = (cause or "; ".join(self.blocked.get(event.step_key, []))) + _refused_values(event)
        if cause not in self.errors:
            self.errors.append(cause)
        self.report(f"  FAILED {str(event.step_key).split('__', 1)[-1]}")

    def stopped_by_checks_of(self, step: str) -> bool:
        """Whether this step is the only one that failed, and only because of its checks."""
        return self.failed == {step: True}


def _materialization_line(event: dg.DagsterEvent, seconds: float) -> str:
    materialization = event.step_materialization_data.materialization
    rows = materialization.metadata.get("dagster/row_count")
    counted = f"{rows.value:>12,} {'row ' if rows.value == 1 else 'rows'}" if rows is not None else " " * 17
    return f"  {materialization.asset_key.path[-1]:<32}{counted}  {seconds:6.1f} s"


def step_failure_text(event: dg.DagsterEvent, *, disclose: bool) -> str:
    """The reason why the step failed; empty if a check stopped it, because the check has its own description.

    For a refusal (`dg.Failure`) it is the description, without values of rows. For an unexpected error it is the
    message of the root cause with `disclose`, and only its class without: the message may contain personal data, so it
    must not be stored or sent.
    """
    data = event.step_failure_data
    if (refusal := data.user_failure_data) and refusal.description:
        bare = refusal.metadata.get(WITHOUT_VALUES)
        return refusal.description if bare is None else str(bare.value)
    if data.error is None:
        return "no reason recorded"
    if data.error.cls_name == DagsterAssetCheckFailedError.__name__:
        return ""
    return root_cause_text(data.error) if disclose else str(root_cause(data.error).cls_name)


def _refused_values(event: dg.DagsterEvent) -> str:
    """The first refused values, read from the quarantine file. They may only be shown on the terminal of the person who
    runs the command, and are not stored anywhere else."""
    refusal = event.step_failure_data.user_failure_data
    path = refusal.metadata.get("quarantine") if refusal else None
    if path is None or not Path(str(path.value)).is_file():
        return ""
    with connect() as con:
        found = con.execute(
            'SELECT row, fault."column", fault.value FROM '
            "(SELECT file, row, unnest(faults) AS fault FROM read_parquet($file)) "
            f"WHERE fault.value IS NOT NULL ORDER BY file, row LIMIT {EXAMPLES}",
            {"file": str(path.value)},
        ).fetchall()
    shown = [f"row {row}, column {column} holds {shorten(value)!r}" for row, column, value in found]
    return f" As delivered: {'; '.join(shown)}." if shown else ""


def root_cause_text(error: SerializableErrorInfo) -> str:
    """The message of the root cause, preceded by the name of its class unless it is an error of this package."""
    cause = root_cause(error)
    if SPILL_DISK_FULL in cause.message:
        return "data/spill cannot be used: No space left on device. DuckDB writes there what exceeds its memory."
    path, separator, message = cause.message.strip().partition(": ")
    if not separator or path.rsplit(".", 1)[-1] != cause.cls_name:
        return cause.message.strip()
    return message if path.startswith("credit_assets.") else f"{cause.cls_name}: {message}"


def root_cause(error: SerializableErrorInfo) -> SerializableErrorInfo:
    """The innermost error in the chain of causes."""
    while error.cause is not None:
        error = error.cause
    return error
