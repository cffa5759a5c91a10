"""A run launcher: Dagster's default one, extended to report whether the process of a run is alive.

Dagster's run monitoring (dagster.yaml) needs this. Without it, a run whose process died together with its code server
(power failure, out of memory) would stay STARTED until its maximum runtime is over.
"""

from __future__ import annotations

import json
import socket

import dagster as dg
import psutil

from credit_assets.dagster_private import GRPC_INFO_TAG, CheckRunHealthResult, WorkerStatus
from credit_assets.settings.run_tags import HOST_TAG

START_TOLERANCE_S = 60.0
"""Seconds: a process created more than this after the start of a run is not that run's process. It is not zero because
process start times shift when the system clock is set."""


class LocalRunLauncher(dg.DefaultRunLauncher):
    """Launches runs as processes of the code server on this machine, and monitors them by process id."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """FAILED if the run's process on this machine no longer exists, RUNNING if it exists or is on another."""
        started = _process_and_start(self._instance, run) if _on_this_machine(run) else None
        if started is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        process, since = started
        if _is_alive(process, since):
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(process))
        return CheckRunHealthResult(
            WorkerStatus.FAILED,
            f"the run's process ({process}) no longer exists: it was killed, or the machine was restarted",
            run_worker_id=str(process),
        )


def _on_this_machine(run: dg.DagsterRun) -> bool:
    """Whether the run's process is on this machine: a child of a local code server, or the process of a command."""
    if server := run.tags.get(GRPC_INFO_TAG):
        return json.loads(server)["host"] in ("localhost", "127.0.0.1")
    return run.tags.get(HOST_TAG) == socket.gethostname()


def _process_and_start(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[int, float] | None:
    """The id of the run's process and the time of the event that contains it; None if there is no such event yet.

    The first event with a process id comes from the run itself, whether a code server or a command started it.
    """
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        if event and (pid := event.engine_event_data.metadata.get("pid")):
            return int(str(pid.value)), entry.timestamp
    return None


def _is_alive(process: int, since: float) -> bool:
    """Whether the process exists, is not a zombie, and is not a later process with the same id."""
    try:
        found = psutil.Process(process)
        return found.status() != psutil.STATUS_ZOMBIE and found.create_time() <= since + START_TOLERANCE_S
    except psutil.NoSuchProcess:
        return False
