"""Cost of the line from delivered files to features, beside the least that DuckDB needs to copy and read the same data.

    python benchmarks/line.py FOLDER
    python benchmarks/line.py FOLDER --json

FOLDER has the delivered files of one batch. Each step runs in a process of its own:

- ingest: files -> validated Delta tables, by the functions of the raw tables' assets
- features: Delta tables -> joined features, by the functions of the features' assets
- copy, the limit of ingest: `COPY (FROM read_csv(file)) TO ... (FORMAT parquet, COMPRESSION zstd)` of every file
- scan, the limit of features: count and max of every column of the ingested Parquet

Seconds are those of the processor, which other work on the machine affects least. They exclude the start and end of
the process (imports, and compiling the portfolio), which have a column of their own. `wall_s` is the time of ingest and
features together, `peak_gb` the larger resident memory (GiB) of these two processes. `rows` are the delivered rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# A script's own folder is on the path, not the project.
sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.measure import measured

LIMITS = {"ingest": "copy", "features": "scan"}
BARS = {"ingest": 1.7, "features": 8.0}
"""The largest wanted ratio to the limit."""


@dataclass(frozen=True)
class Step:
    """The cost of a step beyond the start and end of its process, and what it counted (rows, applicants, features)."""

    cpu_s: float
    startup_cpu_s: float
    wall_s: float
    peak_gb: float
    counts: Mapping[str, int]


def run_step(name: str, folder: Path, workspace: Path, *options: str, threads: int = 2) -> Step:
    """Run a step of `line_steps.py` on the delivered files, in the lake of the workspace."""
    command = [sys.executable, "-m", "benchmarks.line_steps", name, folder.resolve(), workspace]
    done = measured(
        [*command, "--threads", str(threads), *options], environment={"CREDIT_ASSETS_THREADS": str(threads)}
    )
    counts = json.loads(done.output.splitlines()[-1])
    busy, wall = counts.pop("cpu_s"), counts.pop("wall_s")
    return Step(busy, done.cpu_s - busy, wall, done.peak_gb, counts)


def measure_line(folder: Path, workspace: Path, portfolio: str = "home_credit", threads: int = 2) -> dict[str, Step]:
    """The cost of each step; the lake stays in the workspace."""
    steps = {}
    for name in ("copy", "ingest", "scan", "features"):
        steps[name] = run_step(name, folder, workspace, "--portfolio", portfolio, threads=threads)
        if name == "copy":
            for copy in workspace.glob("*.parquet"):
                copy.unlink()
    return steps


def as_json(steps: Mapping[str, Step]) -> dict[str, float]:
    ours = steps["ingest"], steps["features"]
    seconds = {f"{name}_cpu_s": round(steps[name].cpu_s, 2) for name in ("ingest", "features", "copy", "scan")}
    return seconds | {
        "wall_s": round(sum(step.wall_s for step in ours), 2),
        "peak_gb": round(max(step.peak_gb for step in ours), 2),
        "rows": steps["ingest"].counts["rows"],
        "features": steps["features"].counts["features"],
    }


def as_table(steps: Mapping[str, Step]) -> str:
    ingest, features = steps["ingest"], steps["features"]
    rows = [
        f"{ingest.counts['rows']:,} rows, {features.counts['applicants']:,} applicants, "
        f"{features.counts['features']} features; seconds of processor",
        f"{'step':<12}{'ours':>8}{'limit':>8}{'ratio':>8}{'target':>8}{'start-up':>10}{'wall s':>8}{'peak GB':>9}",
    ]
    for name, limit in LIMITS.items():
        step, bare = steps[name], steps[limit]
        rows.append(
            f"{name:<12}{step.cpu_s:8.1f}{bare.cpu_s:8.1f}{step.cpu_s / bare.cpu_s:8.2f}{BARS[name]:8.1f}"
            f"{step.startup_cpu_s:10.1f}{step.wall_s:8.1f}{step.peak_gb:9.2f}"
        )
    ours, bare = ingest.cpu_s + features.cpu_s, steps["copy"].cpu_s + steps["scan"].cpu_s
    startup, peak = ingest.startup_cpu_s + features.startup_cpu_s, max(ingest.peak_gb, features.peak_gb)
    rows.append(
        f"{'both':<12}{ours:8.1f}{bare:8.1f}{ours / bare:8.2f}{'':8}"
        f"{startup:10.1f}{ingest.wall_s + features.wall_s:8.1f}{peak:9.2f}"
    )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="the delivered files of one batch")
    parser.add_argument("--portfolio", default="home_credit")
    parser.add_argument("--threads", type=int, default=2, help="DuckDB's threads, the platform's and the limit's")
    parser.add_argument(
        "--scratch", type=Path, help="where the lake is written; by default the system's temporary folder"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.scratch) as workspace:
        steps = measure_line(asked.folder, Path(workspace), asked.portfolio, asked.threads)
    print(json.dumps(as_json(steps)) if asked.json else as_table(steps))


if __name__ == "__main__":
    main()
