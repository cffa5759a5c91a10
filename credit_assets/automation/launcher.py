"""Dagster's default launcher, which here also knows whether a run's process is alive.

Run monitoring asks it (dagster.yaml). Without the answer a run whose process died together with its code server (power
failure, out of memory) would stay STARTED until its maximum runtime is over.
"""

from __future__ import annotations

import json
import socket

import dagster as dg
import psutil

from credit_assets.dagster_private import GRPC_INFO_TAG, CheckRunHealthResult, WorkerStatus
from credit_assets.settings.run_tags import HOST_TAG

SLACK_S = 60.0
"""A process created so long after a run began is not the run's. Not zero: the clock may be set, and process
start times move with it."""


class LocalRunLauncher(dg.DefaultRunLauncher):
    """Launches runs as processes of the code server on this machine, and monitors them by process id."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """FAILED if the run's process is gone from this machine, RUNNING if it is alive or on another machine."""
        began = _began(self._instance, run) if _here(run) else None
        if began is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        process, since = began
        if _lives(process, since):
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(process))
        return CheckRunHealthResult(
            WorkerStatus.FAILED,
            f"the run's process ({process}) is gone: it was killed, or the machine was restarted",
            run_worker_id=str(process),
        )


def _here(run: dg.DagsterRun) -> bool:
    """Whether the run's process is on this machine: a child of a local code server, or a command's."""
    if server := run.tags.get(GRPC_INFO_TAG):
        return json.loads(server)["host"] in ("localhost", "127.0.0.1")
    return run.tags.get(HOST_TAG) == socket.gethostname()


def _began(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[int, float] | None:
    """The run's process id and the time of the event that contains it; None while there is no such event.

    The first event with a process id is the run's own, whether a code server or a command started it.
    """
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        if event and (told := event.engine_event_data.metadata.get("pid")):
            return int(str(told.value)), entry.timestamp
    return None


def _lives(process: int, since: float) -> bool:
    """Whether the process exists, is no zombie, and is no later one with the same number."""
    try:
        found = psutil.Process(process)
        return found.status() != psutil.STATUS_ZOMBIE and found.create_time() <= since + SLACK_S
    except psutil.NoSuchProcess:
        return False
