"""A real `dagster-daemon run` on a project: started, watched through the instance, killed and started again.

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

# What `dagster-daemon run` does, but that its sensors' turn comes every second, not every five, and that it does
# not load all code anew every minute.
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
    """Settings of this repository for a daemon of its own that is quick to react; `storage` in SQLite's place.

    A run whose process has not started within the timeout is marked as failed: a busy machine is no reason for that.
    """
    settings = yaml.safe_load((HOME / "dagster.yaml").read_text())
    for kept in ("local_artifact_storage", "compute_logs"):
        settings[kept]["config"]["base_dir"] = str(project.root / settings[kept]["config"]["base_dir"])
    settings["storage"] = storage or {"sqlite": {"base_dir": str(project.data / "dagster" / "storage")}}
    settings["run_coordinator"] = {
        "module": "dagster._core.run_coordinator",
        "class": "QueuedRunCoordinator",
        "config": {"dequeue_interval_seconds": 1} | settings.get("run_coordinator", {}).get("config", {}),
    }
    settings["run_monitoring"] |= {"poll_interval_seconds": 2, "start_timeout_seconds": start_timeout_s}
    (project.root / "dagster.yaml").write_text(yaml.safe_dump(settings))
    write_workspace(project, BOOK)


class Daemon:
    """The daemon of a prepared project, as a context: on leaving, nothing that it started is left."""

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
            # The retries of crashed runs are looked for every second, not every five.
            "DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS": "1",
            **environment,
        }

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        # A process may start another while it is being killed.
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
        """The processes that runs are executed in."""
        forked = [process for process in self.processes() if any("forkserver" in word for word in _words(process))]
        # They look like the process that they were forked from, whose own parent is the code server.
        with suppress(psutil.NoSuchProcess):
            return [process for process in forked if "grpc" not in _words(process.parent() or process)]
        return []

    def processes(self) -> list[psutil.Process]:
        """The processes of this project's instance, whoever has them as children by now."""
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
        """Kill (SIGKILL) the processes and wait until they are gone; how many there were."""
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
        """Wait until nothing is left to do, or it is enough; AssertionError with the daemon's last words when that
        takes too long."""
        began, patience = time.time(), time.monotonic() + PATIENCE_S
        while not enough() and not self._quiet_since(began):
            if time.monotonic() > patience or not self.daemon:
                runs = [(run.job_name, run.status.value, run.tags) for run in self.instance.get_runs(limit=5)]
                raise AssertionError(f"still at work; newest runs: {runs}\n{self.log.read_text()[-5000:]}")
            meanwhile()
            time.sleep(1)

    def stop_schedules(self) -> None:
        """Those that the daemon knows by now: what a test expects is not to depend on the hour it runs at."""
        for state in self.instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE):
            self.instance.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))

    def _quiet_since(self, moment: float) -> bool:
        """Whether all sensors looked LOOKS times since the moment, the last time after the end of all runs, and
        found nothing to do then."""
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


def _words(process: psutil.Process) -> list[str]:
    with suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def _to_be_retried(run: dg.DagsterRun) -> bool:
    if run.status != dg.DagsterRunStatus.FAILURE or AUTO_RETRY_RUN_ID_TAG in run.tags:
        return False
    # Without the tag it is not decided yet.
    return run.tags.get(WILL_RETRY_TAG, "true") == "true" and run.remote_job_origin is not None
