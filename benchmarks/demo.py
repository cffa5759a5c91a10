"""Time of `credit-assets demo` in a new project, and how much of the processor time of its runs is Dagster's.

    python -m benchmarks.demo
    python -m benchmarks.demo --project FOLDER    # keep the project, for startup.py and delivery.py

The overhead is the processor time of the runs over that of the functions that Dagster called (`bare_time.py`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import PROJECT, Measured, measured

BAR_S, OVERHEAD_BAR = 60, 1.3
"""The wanted seconds of the demo on two idle cores, and the wanted overhead of its runs."""


def make_project(folder: Path) -> Path:
    """A project with this repository's settings and no data."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("configs", "sql"):
        shutil.copytree(PROJECT / name, folder / name)
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, folder)
    shutil.copy(PROJECT / ".env.example", folder / ".env")
    return folder


def run_command(project: Path, *arguments: str) -> tuple[Measured, dict[str, dict[str, float]]]:
    """Run a command of `credit-assets` in the project: what it needed, and the seconds of its runs by job."""
    environment = {"PYTHONPATH": str(PROJECT)}
    done = measured([sys.executable, "-m", "benchmarks.bare_time", *arguments], project, environment)
    return done, json.loads(done.output.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--project", type=Path, help="a folder that does not exist yet, for the project")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        project = make_project((asked.project or Path(temporary) / "project").resolve())
        done, jobs = run_command(project, "demo")
    print(
        f"demo: {done.wall_s:.0f} s on the clock (target: below {BAR_S} on two idle cores), {done.cpu_s:.0f} s of "
        f"processor, peak {done.peak_gb:.2f} GB"
    )
    print(f"{'job':<10}{'processor s':>13}{'functions alone':>17}{'overhead':>10}")
    for name, job in sorted(jobs.items(), key=lambda item: item[0] == "all"):
        target = f"  (target: at most {OVERHEAD_BAR})" if name == "all" else ""
        print(f"{name:<10}{job['runs_s']:13.1f}{job['bare_s']:17.1f}{job['runs_s'] / job['bare_s']:10.2f}{target}")


if __name__ == "__main__":
    main()
