"""Runs the benchmarks of speed and memory and prints their figures, or writes them into benchmarks/README.md.

    python -m benchmarks.page                                        # the small ones: `make bench`
    python -m benchmarks.page --folders small/2026-01 quarter/2026-01 full/2026-01 --write

The folders are deliveries of three sizes, the last one of Kaggle's size, as `benchmarks/sample.py` makes them. Without
them, the line is measured on generated deliveries up to a sixteenth of it, the increment is left out, and a delivery is
processed by the command only. The machine should be idle.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.measure import PROJECT

README = PROJECT / "benchmarks" / "README.md"
BEGIN, END = "<!-- figures: written by `python -m benchmarks.page --write` -->", "<!-- end of figures -->"
SMALL_APPLICANTS = "22266"


def sections(folders: list[Path], scratch: Path) -> Iterator[tuple[str, list[str]]]:
    """The title of each section, and the module with its arguments. The demo's project, and a lake, are made in
    `scratch`."""
    project, lake = scratch / "project", scratch / "project" / "data" / "lake"
    sizes = ["--folders", *map(str, folders)] if folders else ["--applicants", SMALL_APPLICANTS]
    yield "From files to features, and how its cost grows", ["growth", *sizes]
    if folders:
        lake = scratch / "lake"
        yield "A new batch of 1% of the book", ["increment", str(folders[-1]), "--lake", str(lake)]
    yield "The demo, and what Dagster adds to the functions", ["demo", "--project", str(project)]
    yield "Scoring, beside bare predictions and TreeSHAP", ["scoring", str(lake), "2026-01"]
    ways = [] if folders else ["--way", "command"]
    yield "A delivery of 3,000 applicants", ["delivery", "--project", str(project), *ways]
    yield "Start-up", ["startup", "--project", str(project)]
    yield "Events of a run", ["instance_storage"]


def machine() -> str:
    """The date, the machine and the versions that the figures depend on."""
    cpus = Path("/proc/cpuinfo")
    models = [line.split(": ", 1)[1] for line in cpus.read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False
    ).stdout.strip()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "dagster", "xgboost", "pandas"))
    processor, memory = models[0] if models else platform.processor(), psutil.virtual_memory().total / 2**30
    return (
        f"Measured on {date.today()} at commit {commit or 'unknown'}: {psutil.cpu_count()} cores ({processor}), "
        f"{memory:.0f} GiB of memory, "
        f"Python {platform.python_version()}, {libraries}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folders", type=Path, nargs="+", default=[], help="deliveries of three sizes, smallest first")
    parser.add_argument("--write", action="store_true", help="write the figures into benchmarks/README.md")
    asked = parser.parse_args()
    page = [machine()]
    print(page[0], flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for title, (module, *arguments) in sections(asked.folders, Path(temporary)):
            print(f"\n{title}", flush=True)
            command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
            output = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True).stdout
            print(output, end="", flush=True)
            page.append(f"### {title}\n\n```\n{output.strip()}\n```")
    if asked.write:
        text = README.read_text()
        before, after = text[: text.index(BEGIN)], text[text.index(END) :]
        README.write_text("\n\n".join([before + BEGIN, *page, after]))


if __name__ == "__main__":
    main()
