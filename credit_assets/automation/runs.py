"""Running a portfolio's jobs from a command: through the instance, with progress, one command at a time.

Which runs are due is found in `pending.py`.
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
from credit_assets.lake.disk import require_room
from credit_assets.plurals import number_of
from credit_assets.settings.project import AlreadyRunning, Project
from credit_assets.settings.run_tags import COMMAND_TAG, HOST_TAG

UNLOGGED = "Exception while writing logger call to event log"
"""Begins what Dagster prints of a message that it cannot log."""

SPILLED = "max_temp_directory_size"
"""In what DuckDB says where the disk of its spill folder has no room."""

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class RunOutcome:
    """What became of one run: its errors in words, the seconds of each asset it made, and whether it ended because the
    promotion gate refused the candidate, which is no failure."""

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
    """The project's instance, held by this command alone as far as commands go.

    While the lock is held, a run of an earlier command that still reads STARTED was killed: it is
    marked failed. Raises AlreadyRunning where another command holds the lock, and OSError where the disk has no room.
    """
    lock = FileLock(project.data / "dagster" / f"{portfolio}.lock")
    require_room(project.data / "dagster")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise AlreadyRunning(
            f"Another credit-assets command is at work on {portfolio}; wait for it to end ({lock.lock_file})."
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
    """Run a job (of `tables` alone, where given) in this process and say what became of it.

    `report` gets a line as each asset is made, and what assets log. Why the run failed is in what is returned alone,
    for the caller to print once.
    """
    run_id = make_new_run_id()
    graph = definitions.resolve_asset_graph()
    progress = _Progress(report, {key for key in graph.asset_check_keys if graph.get(key).blocking})
    instance.add_event_listener(run_id, progress.listen)
    begin = time.monotonic()
    with redirect_stderr(_WithoutUnlogged(sys.stderr)) as unlogged:
        result = definitions.resolve_job_def(job).execute_in_process(
            run_config={**QUIET, **(run_config or {})},
            instance=instance,
            partition_key=batch,
            asset_selection=[dg.AssetKey([portfolio, table]) for table in tables] or None,
            raise_on_error=False,
            run_id=run_id,
            # Its process is the command's: who monitors runs may look for it here, and is not to launch it again.
            tags={COMMAND_TAG: portfolio, HOST_TAG: socket.gethostname(), MAX_RETRIES_TAG: "0", **(tags or {})},
        )
    if unlogged.count:
        report(f"  {number_of(unlogged.count, 'message')} could not be written to Dagster's event log")
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


class _WithoutUnlogged(io.TextIOBase):
    """Text for a terminal without what Dagster prints of each message that it cannot log, with SQL and parameters. They
    are counted. What failed is reported once, at the end."""

    def __init__(self, terminal: TextIO) -> None:
        self.terminal, self.count = terminal, 0

    def write(self, text: str) -> int:
        if text.startswith(UNLOGGED):
            self.count += 1
            return len(text)
        return self.terminal.write(text)

    def flush(self) -> None:
        self.terminal.flush()

    def isatty(self) -> bool:
        return self.terminal.isatty()

    def fileno(self) -> int:
        """By which Dagster keeps what the run prints in a log of its own."""
        return self.terminal.fileno()


@dataclass
class _Progress:
    """What the events of a run say so far. Steps are named by their keys."""

    report: Callable[[str], None]
    blocking: Collection[dg.AssetCheckKey]
    started: dict[str, float] = field(default_factory=dict)
    asset_seconds: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    blocked: dict[str | None, list[str]] = field(default_factory=dict)
    """By step, what its blocking checks found."""
    failed: dict[str | None, bool] = field(default_factory=dict)
    """By step that failed, whether a check stopped it and nothing else."""

    def listen(self, entry: dg.EventLogEntry) -> None:
        """Take in an event, and report it where a person waits for it."""
        event = entry.dagster_event
        if event is None:
            # Not what Dagster logs of steps that do not run after one that failed.
            if int(entry.level) >= logging.INFO and entry.step_key in {None, *self.started}:
                self.report(f"    {entry.user_message}")
        elif event.event_type == DagsterEventType.STEP_START and event.step_key:
            self.started[event.step_key] = time.monotonic()
        elif event.event_type == DagsterEventType.STEP_SUCCESS and event.step_key:
            self.asset_seconds[event.step_key] = time.monotonic() - self.started[event.step_key]
        elif event.event_type == DagsterEventType.ASSET_MATERIALIZATION and event.step_key:
            self.report(_line(event, time.monotonic() - self.started[event.step_key]))
        elif event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            self._checked(event)
        elif event.event_type == DagsterEventType.STEP_FAILURE:
            self._failed(event)
        elif event.event_type == DagsterEventType.RUN_FAILURE and not self.errors and event.job_failure_data.error:
            self.errors.append(plain_cause(event.job_failure_data.error))

    def _checked(self, event: dg.DagsterEvent) -> None:
        evaluation = event.asset_check_evaluation_data
        if evaluation.passed:
            return
        found = f"{evaluation.asset_key.path[-1]}.{evaluation.check_name}: {evaluation.description}"
        blocks = evaluation.asset_check_key in self.blocking
        if blocks and evaluation.severity == dg.AssetCheckSeverity.ERROR:
            self.blocked.setdefault(event.step_key, []).append(found)
        else:
            self.report(f"  check failed ({evaluation.severity.value}) {found}")

    def _failed(self, event: dg.DagsterEvent) -> None:
        cause = step_words(event, disclose=True)
        self.failed[event.step_key] = not cause and event.step_key in self.blocked
        cause = (cause or "; ".join(self.blocked.get(event.step_key, []))) + _delivered_values(event)
        if cause not in self.errors:
            self.errors.append(cause)
        self.report(f"  FAILED {str(event.step_key).split('__', 1)[-1]}")

    def stopped_by_checks_of(self, step: str) -> bool:
        """Whether the run failed in this step alone, and because of its checks alone."""
        return self.failed == {step: True}


def _line(event: dg.DagsterEvent, seconds: float) -> str:
    materialization = event.step_materialization_data.materialization
    rows = materialization.metadata.get("dagster/row_count")
    counted = f"{rows.value:>12,} {'row ' if rows.value == 1 else 'rows'}" if rows is not None else " " * 17
    return f"  {materialization.asset_key.path[-1]:<32}{counted}  {seconds:6.1f} s"


def step_words(event: dg.DagsterEvent, *, disclose: bool) -> str:
    """Why the step failed; nothing where a check stopped it, which speaks for itself.

    Our own refusals, which hold no value of a row, in their words; an unexpected error by its first cause, or, where
    the text is stored or sent (without `disclose`), by its kind alone: its message may hold anything.
    """
    data = event.step_failure_data
    if (refusal := data.user_failure_data) and refusal.description:
        bare = refusal.metadata.get(WITHOUT_VALUES)
        return refusal.description if bare is None else str(bare.value)
    if data.error is None:
        return "no reason recorded"
    if data.error.cls_name == DagsterAssetCheckFailedError.__name__:
        return ""
    return plain_cause(data.error) if disclose else str(first_cause(data.error).cls_name)


def _delivered_values(event: dg.DagsterEvent) -> str:
    """The first refused values, for the terminal of the person who runs the command alone: they are read from the
    quarantine file, and stored nowhere else."""
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


def plain_cause(error: SerializableErrorInfo) -> str:
    """The message of the first cause: of our own errors without their class, of others with its name alone."""
    cause = first_cause(error)
    if SPILLED in cause.message:
        return "data/spill cannot be used: No space left on device. DuckDB puts there what exceeds its memory."
    path, separator, message = cause.message.strip().partition(": ")
    if not separator or path.rsplit(".", 1)[-1] != cause.cls_name:
        return cause.message.strip()
    return message if path.startswith("credit_assets.") else f"{cause.cls_name}: {message}"


def first_cause(error: SerializableErrorInfo) -> SerializableErrorInfo:
    """The error that the others came of."""
    while error.cause is not None:
        error = error.cause
    return error
