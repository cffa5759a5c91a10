"""A real `dagster-daemon run` on a project: started, observed through the instance, killed and restarted.

Nothing is asserted here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import yaml
from dagster._core.scheduler.instigation import InstigatorStatus

from credit_assets.dagster_private import (
    AUTO_RETRY_RUN_ID_TAG,
    NOT_FINISHED_STATUSES,
    WILL_RETRY_TAG,
    InstigatorType,
    TickStatus,
)
from credit_assets.settings.project import Project
from credit_assets_tests.small_project import BOOK, HOME, write_workspace

# Like `dagster-daemon run`, except that sensors are evaluated every second instead of every five, and that code is not
# reloaded every minute.
COMMAND = (
    "from dagster._daemon import controller, sensor; "
    "sensor.MIN_INTERVAL_LOOP_TIME = 1; controller.RELOAD_WORKSPACE_INTERVAL = 3600; "
    "from dagster._daemon.cli import main; main()"
)
QUICK = Path(__file__).parent / "quick"
LOOKS = 3
"""Of each sensor after a delivery until all may be quiet: a delivery must be seen twice before it counts."""
PATIENCE_S = 900.0


def prepare(project: Project, storage: dict[str, Any] | None = None, start_timeout_s: int = 180) -> None:
    """Settings of this repository for a separate daemon that reacts quickly; `storage` replaces SQLite.

    A run whose process has not started within the timeout is marked as failed; a busy machine must not cause that.
    """
    settings = yaml.safe_load((HOME / "dagster.yaml").read_text())
    for kept in (settings["local_artifact_storage"], settings["compute_logs"], settings["storage"]["custom"]):
        kept["config"]["base_dir"] = str(project.root / kept["config"]["base_dir"])
    settings["storage"] = storage or settings["storage"]
    settings["run_coordinator"] = {
        "module": "dagster._core.run_coordinator",
        "class": "QueuedRunCoordinator",
        "config": {"dequeue_interval_seconds": 1} | settings.get("run_coordinator", {}).get("config", {}),
    }
    settings["run_monitoring"] |= {"poll_interval_seconds": 2, "start_timeout_seconds": start_timeout_s}
    (project.root / "dagster.yaml").write_text(yaml.safe_dump(settings))
    write_workspace(project, BOOK)


class Daemon:
    """The daemon of a prepared project, as a context manager: on exit, everything that it started is stopped."""

    def __init__(self, project: Project, **environment: str) -> None:
        self.project = project
        self.log = project.root / "daemon.log"
        self.instance = dg.DagsterInstance.from_config(str(project.root))
        self._ours: dict[psutil.Process, bool] = {}
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("MLFLOW_TRACKING_URI", "CREDIT_ASSETS_HOME")
        } | {
            "DAGSTER_HOME": str(project.root),
            "PYTHONPATH": os.pathsep.join([str(QUICK), str(HOME)]),
            # Retries of crashed runs are started every second instead of every five.
            "DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS": "1",
            **environment,
        }

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        # A process may start another one while it is being killed.
        while left := self.processes():
            self.kill(left)
        self.instance.dispose()

    def start(self) -> None:
        with self.log.open("a") as log:
            self._daemon = psutil.Popen(
                [sys.executable, "-W", "ignore", "-c", COMMAND, "run"],
                cwd=self.project.root,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._ours[psutil.Process(self._daemon.pid)] = True

    @property
    def daemon(self) -> list[psutil.Process]:
        return [self._daemon] if self._daemon.poll() is None else []

    def workers(self) -> list[psutil.Process]:
        """The processes that execute runs."""
        forked = [
            process for process in self.processes() if any("forkserver" in word for word in _command_line(process))
        ]
        # They have the command line of the process from which they were forked, whose parent is the code server.
        with suppress(psutil.NoSuchProcess):
            return [process for process in forked if "grpc" not in _command_line(process.parent() or process)]
        return []

    def processes(self) -> list[psutil.Process]:
        """All processes of this project's instance, whatever their parent process is now."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process not in self._ours:
                    self._ours[process] = process.environ().get("DAGSTER_HOME") == str(self.project.root)
                if self._ours[process] and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    @staticmethod
    def kill(processes: Iterable[psutil.Process]) -> int:
        """Kill (SIGKILL) the processes and wait until they have ended; their number."""
        killed = []
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
                killed.append(process)
        psutil.wait_procs(killed, timeout=10)
        return len(killed)

    def until_quiet(
        self, meanwhile: Callable[[], None] = lambda: None, enough: Callable[[], bool] = lambda: False
    ) -> None:
        """Wait until nothing is left to do, or `enough` returns true. Raises AssertionError with the end of the
        daemon's log if that takes too long.
        """
        began, patience = time.time(), time.monotonic() + PATIENCE_S
        while not enough() and not self._quiet_since(began):
            if time.monotonic() > patience or not self.daemon:
                runs = [(run.job_name, run.status.value, run.tags) for run in self.instance.get_runs(limit=5)]
                raise AssertionError(f"still at work; newest runs: {runs}\n{self.log.read_text()[-5000:]}")
            meanwhile()
            time.sleep(1)

    def stop_schedules(self) -> None:
        """Stop the schedules that the daemon knows, so that the results do not depend on the time of day."""
        for state in self.instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE):
            self.instance.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))

    def _quiet_since(self, moment: float) -> bool:
        """Whether each sensor has ticked LOOKS times since the moment, the last time after the end of all runs, without
        finding anything to do.
        """
        if self.instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES), limit=1):
            return False
        since = datetime.fromtimestamp(moment, UTC) - timedelta(minutes=1)
        runs = self.instance.get_run_records(dg.RunsFilter(updated_after=since))
        if any(_to_be_retried(record.dagster_run) for record in runs):
            return False
        ended = max([moment, *(record.end_time or 0 for record in runs)])
        sensors = self.instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
        return bool(sensors) and all(
            len(ticks) == LOOKS
            and ticks[0].status == TickStatus.SKIPPED
            and ticks[0].timestamp > ended
            and ticks[-1].timestamp > moment
            for sensor in sensors
            for ticks in [self.instance.get_ticks(sensor.instigator_origin_id, sensor.selector_id, limit=LOOKS)]
        )


def _command_line(process: psutil.Process) -> list[str]:
    with suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def _to_be_retried(run: dg.DagsterRun) -> bool:
    if run.status != dg.DagsterRunStatus.FAILURE or AUTO_RETRY_RUN_ID_TAG in run.tags:
        return False
    # Without the tag it has not been decided yet.
    return run.tags.get(WILL_RETRY_TAG, "true") == "true" and run.remote_job_origin is not None
