"""Seconds that the events of a run cost on Dagster's SQLite storage, and on ours, whose connections stay open.

    python -m benchmarks.instance_storage
    python -m benchmarks.instance_storage --steps 200 --repeat 9

A run of steps that do nothing is repeated on both in turn, each with an instance in a temporary folder. The lowest
figure is the one least disturbed by other work on the machine.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import yaml

from credit_assets.automation.instance_storage import SqliteStorage

STORAGES = {
    "Dagster's": lambda config: {"sqlite": config},
    "ours": lambda config: {
        "custom": {"module": SqliteStorage.__module__, "class": SqliteStorage.__name__, "config": config}
    },
}


def make_instance(folder: Path, storage: str) -> dg.DagsterInstance:
    config = {"base_dir": str(folder / "storage")}
    settings = {"storage": STORAGES[storage](config), "telemetry": {"enabled": False}}
    folder.mkdir()
    (folder / "dagster.yaml").write_text(yaml.safe_dump(settings))
    return dg.DagsterInstance.from_config(str(folder))


def make_job(steps: int) -> dg.JobDefinition:
    @dg.op
    def nothing() -> None:
        pass

    @dg.job(executor_def=dg.in_process_executor)
    def run_of_steps() -> None:
        for number in range(steps):
            nothing.alias(f"step{number}")()

    return run_of_steps


def seconds_of(job: dg.JobDefinition, instance: dg.DagsterInstance) -> tuple[float, float, int]:
    """Seconds on the clock and of the processor that a run takes, and the number of its events."""
    wall, processor = time.perf_counter(), time.process_time()
    run = job.execute_in_process(instance=instance)
    took = time.perf_counter() - wall, time.process_time() - processor
    return *took, len(instance.all_logs(run.run_id))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=5)
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    job, taken = make_job(asked.steps), {name: [] for name in STORAGES}
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folders = {name: Path(temporary) / str(number) for number, name in enumerate(STORAGES)}
        instances = {name: stack.enter_context(make_instance(folder, name)) for name, folder in folders.items()}
        for _ in range(asked.repeat):
            for name, instance in instances.items():
                taken[name].append(seconds_of(job, instance))
    lowest = {name: [min(figures) for figures in zip(*runs, strict=True)] for name, runs in taken.items()}
    for name, (wall, processor, events) in lowest.items():
        print(f"{name:10} {events} events: {wall:.2f} s, {processor:.2f} s of processor")
    (theirs, theirs_processor, _), (ours, ours_processor, _) = lowest.values()
    print(f"ours / Dagster's: {ours / theirs:.2f}, {ours_processor / theirs_processor:.2f} of processor")


if __name__ == "__main__":
    main()
