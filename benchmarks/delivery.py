"""Cost of a delivery of 3,000 applicants, from its files to their scores.

    python -m benchmarks.delivery
    python -m benchmarks.delivery --project FOLDER     # a project in which `demo` was run; two batches are added to it

"command" is `credit-assets run`, without the processor time of the same command when nothing is due. "daemon" is
`dagster-daemon run` with the settings of the project, from the delivery until the run that scores it has ended, without
what it needs for as long a time when it is idle.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import dagster as dg

from benchmarks.demo import make_project, run_command
from benchmarks.measure import Service
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.tables import Lake
from credit_assets.settings.project import Project
from credit_assets.synthetic.lender import generate

BOOK, APPLICANTS, FIRST_APPLICANT = "home_credit", 3_000, 5_000_000
BAR_S = 12
"""The wanted processor seconds of a delivery, beyond the start of the processes."""
IDLE_S = 60
"""Seconds in which the processor time of an idle daemon is measured."""


def make_deliveries(folder: Path) -> list[Path]:
    """A folder with the files of a delivery for each of the two ways."""
    return generate(
        folder, 2 * APPLICANTS, 2, first_batch="2026-04", first_applicant=FIRST_APPLICANT, unlabelled=2, seed=11
    )


def by_command(project: Project, delivery: Path) -> None:
    idle, _ = run_command(project.root, "run", "--portfolio", BOOK)
    Inbox(project.inbox).deliver(delivery, BOOK, delivery.name)
    done, jobs = run_command(project.root, "run", "--portfolio", BOOK)
    listed = ", ".join(
        f"{name} {job['runs_s']:.1f} ({job['bare_s']:.1f} without Dagster)" for name, job in jobs.items()
    )
    report("command", done.cpu_s - idle.cpu_s, f"start-up {idle.cpu_s:.1f} s; runs: {listed}")


def by_daemon(project: Project, delivery: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "dagster._daemon", "run"]
    with open_instance(project) as instance, Service(command, project.root, project.root / "daemon.log") as daemon:
        states = instance.all_instigator_state
        daemon.wait_until(lambda: any(ticked(instance, state) for state in states()))
        time.sleep(5)
        busy, began = daemon.cpu_s(), time.perf_counter()
        startup = busy
        time.sleep(IDLE_S)
        idle_share = (daemon.cpu_s() - busy) / (time.perf_counter() - began)
        Inbox(project.inbox).deliver(delivery, BOOK, delivery.name)
        busy, began = daemon.cpu_s(), time.perf_counter()
        daemon.wait_until(lambda: is_scored(project, delivery.name) and not instance.get_runs(ACTIVE, limit=1), 900)
        seconds = time.perf_counter() - began
        cpu = daemon.cpu_s() - busy - idle_share * seconds
    report(
        "daemon", cpu, f"start-up {startup:.1f} s; idle {idle_share:.0%} of a processor; {seconds:.0f} s on the clock"
    )


ACTIVE = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])


def ticked(instance: dg.DagsterInstance, state: object) -> bool:
    """Whether the book's sensor `deliveries` has ticked since this program started."""
    if state.instigator_name != "deliveries" or f"{BOOK}" not in str(state.origin.repository_origin):  # type: ignore[attr-defined]
        return False
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)  # type: ignore[attr-defined]
    return bool(ticks) and ticks[0].timestamp > START


START = time.time()


def is_scored(project: Project, batch: str) -> bool:
    return batch in Lake(project.lake).batches(f"{BOOK}/scores")


@contextmanager
def open_instance(project: Project) -> Iterator[dg.DagsterInstance]:
    """The project's instance, whose folders are relative to the working folder."""
    with chdir(project.root):
        os.environ["DAGSTER_HOME"] = str(project.root)
        with dg.DagsterInstance.get() as instance:
            yield instance


def report(way: str, cpu_s: float, more: str) -> None:
    print(f"{way:<8} {cpu_s:.1f} s of processor (target: below {BAR_S}); {more}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--project", type=Path, help="a project in which `credit-assets demo` was run")
    parser.add_argument("--way", choices=["command", "daemon"], help="both by default")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        project = Project((asked.project or make_project(Path(temporary) / "project")).resolve())
        if not asked.project:
            run_command(project.root, "demo")
        first, second = make_deliveries(Path(temporary) / "deliveries")
        if asked.way != "daemon":
            by_command(project, first)
        if asked.way != "command":
            by_daemon(project, second)


if __name__ == "__main__":
    main()
