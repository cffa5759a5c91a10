"""Whether a run's process is alive is tested on real processes: this one, a killed one, and one that is too young."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import dagster as dg
import psutil
import pytest
from dagster._core.events import EngineEventData
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration

from credit_assets.dagster_private import GRPC_INFO_TAG, WorkerStatus, make_new_run_id
from credit_assets.settings.run_tags import HOST_TAG

pytestmark = pytest.mark.slow

OF_A_CODE_SERVER = {GRPC_INFO_TAG: '{"host": "localhost", "socket": "/run/some.sock"}'}
OF_A_COMMAND = {HOST_TAG: socket.gethostname()}


@pytest.fixture
def instance(tmp_path) -> Iterator[dg.DagsterInstance]:
    overrides = {
        "run_launcher": {"module": "credit_assets.automation.launcher", "class": "LocalRunLauncher"},
        "run_monitoring": {"enabled": True},
    }
    with dg.instance_for_test(temp_dir=str(tmp_path), overrides=overrides) as made:
        yield made


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def started(
    instance: dg.DagsterInstance, process: int | None, tags: dict[str, str], at: float | None = None
) -> dg.DagsterRun:
    """A run that was started in the process at this time, according to the event log."""
    run = dg.DagsterRun("train", make_new_run_id(), status=dg.DagsterRunStatus.STARTED, tags=tags)
    instance.add_run(run)
    for pid in (process, os.getpid()) if process is not None else ():
        event = dg.DagsterEvent(
            dg.DagsterEventType.ENGINE_EVENT.value, run.job_name, event_specific_data=EngineEventData.in_process(pid)
        )
        now = at if at is not None else time.time()
        instance.handle_new_event(dg.EventLogEntry(None, logging.INFO, "", run.run_id, now, dagster_event=event))
    return run


def health(instance: dg.DagsterInstance, run: dg.DagsterRun) -> WorkerStatus:
    return instance.run_launcher.check_run_worker_health(run).status


@pytest.mark.parametrize("tags", [OF_A_CODE_SERVER, OF_A_COMMAND])
def test_run_is_alive_while_the_process_of_its_first_event_is(instance, sleeper, tags):
    run = started(instance, sleeper.pid, tags)
    assert health(instance, run) == WorkerStatus.RUNNING
    sleeper.kill()
    while psutil.Process(sleeper.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert health(instance, run) == WorkerStatus.FAILED
    sleeper.wait()
    assert health(instance, run) == WorkerStatus.FAILED


def test_process_created_after_the_run_is_not_its_process(instance):
    created = psutil.Process().create_time()
    assert health(instance, started(instance, os.getpid(), OF_A_CODE_SERVER, created)) == WorkerStatus.RUNNING
    assert health(instance, started(instance, os.getpid(), OF_A_CODE_SERVER, created - 61)) == WorkerStatus.FAILED


@pytest.mark.parametrize("tags", [{}, {HOST_TAG: "another"}, {GRPC_INFO_TAG: '{"host": "10.0.0.2", "port": 4000}'}])
def test_run_of_another_machine_is_not_checked(instance, sleeper, tags):
    sleeper.kill()
    sleeper.wait()
    assert health(instance, started(instance, sleeper.pid, tags)) == WorkerStatus.RUNNING


def test_run_without_a_process_is_left_to_the_start_timeout(instance):
    assert health(instance, started(instance, None, OF_A_CODE_SERVER)) == WorkerStatus.RUNNING


def test_run_monitoring_fails_the_run_without_a_process_and_no_other(instance, sleeper):
    gone, alive = started(instance, sleeper.pid, OF_A_COMMAND), started(instance, os.getpid(), OF_A_COMMAND)
    sleeper.kill()
    sleeper.wait()
    with create_test_daemon_workspace_context(EmptyWorkspaceTarget(), instance) as workspace:
        list(execute_run_monitoring_iteration(workspace, logging.getLogger()))
    assert instance.get_run_by_id(gone.run_id).status == dg.DagsterRunStatus.FAILURE
    assert instance.get_run_by_id(alive.run_id).status == dg.DagsterRunStatus.STARTED
    [failure] = instance.all_logs(gone.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert f"process ({sleeper.pid}) no longer exists" in failure.message
