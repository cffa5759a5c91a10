"""How the cost of the line grows: at 1/16, 1/4 and all of the size, each step's exponent of time against rows.

    python -m benchmarks.growth
    python -m benchmarks.growth --applicants 22266
    python -m benchmarks.growth --folders small/2026-01 quarter/2026-01 full/2026-01

An exponent of 1 means that twice the rows need twice the time. It is the slope of a line fitted to the logarithms of
processor seconds and rows. Processor seconds exclude the start of the process, as in `line.py`, whose tables are
printed for each size. The deliveries are the synthetic lender's, generated in a temporary folder (1.5 times the 2.7 GB
of the largest, if it has the 356,255 applicants of Kaggle's download), or folders that are there.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.line import Step, as_table, measure_line
from benchmarks.measure import PROJECT

SHARES = (1 / 16, 1 / 4, 1.0)
STEPS = ("ingest", "features", "copy", "scan")
BAR = 1.05
"""The largest wanted exponent of ingest and features."""


def exponent(rows: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of the line fitted to the logarithms by least squares."""
    x, y = ([math.log(value) for value in values] for values in (rows, seconds))
    mean_x, mean_y = (sum(values) / len(values) for values in (x, y))
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def deliveries(applicants: int, folder: Path) -> Iterator[Path]:
    """A synthetic delivery for each share of the applicants, removed before the next one is generated."""
    for share in SHARES:
        with tempfile.TemporaryDirectory(dir=folder) as made:
            size = ["--applicants", str(round(applicants * share))]
            # In a process of its own: those that are measured inherit the peak memory of this one.
            command = [sys.executable, "-m", "benchmarks.sample", made, *size]
            subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
            yield Path(made) / "2026-01"


def report(sizes: Sequence[Mapping[str, Step]]) -> str:
    """Seconds and peak memory of each step at each size, and the exponent."""
    rows = [steps["ingest"].counts["rows"] for steps in sizes]
    heads = "".join(f"{count:>19,} rows" for count in rows)
    lines = [f"{'step':<10}{heads}{'exponent':>10}{'target':>8}"]
    for name in STEPS:
        costs = "".join(f"{steps[name].cpu_s:13.1f} s {steps[name].peak_gb:5.2f} GB" for steps in sizes)
        slope = exponent(rows, [steps[name].cpu_s for steps in sizes])
        lines.append(f"{name:<10}{costs}{slope:10.3f}{f'{BAR:8.2f}' if name in STEPS[:2] else ''}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--applicants", type=int, default=356_255, help="applicants of the largest delivery")
    parser.add_argument("--folders", type=Path, nargs="+", help="deliveries that are there, of at least two sizes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="where deliveries and the lake are written")
    asked = parser.parse_args()
    if asked.folders and len(asked.folders) < 2:
        parser.error("--folders needs at least two deliveries")
    sizes = []
    for folder in asked.folders or deliveries(asked.applicants, asked.scratch):
        with tempfile.TemporaryDirectory(dir=asked.scratch) as workspace:
            sizes.append(measure_line(folder, Path(workspace), threads=asked.threads))
        print(as_table(sizes[-1]), end="\n\n", flush=True)
    print(report(sizes))


if __name__ == "__main__":
    main()
