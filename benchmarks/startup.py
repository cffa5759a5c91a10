"""Processor seconds of `credit-assets --help`, and of `status` on a project, with the cost of their imports.

    python benchmarks/startup.py                      # --help only
    python benchmarks/startup.py --project FOLDER     # also status, in a project made by `demo`

Each command runs several times in a separate process; the lowest figure is the one least disturbed by other work on the
machine. Imports are listed by package, with the time that each takes without what it imports itself.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path

BARS = {"--help": 0.6, "status": 3.0}
COMMAND = "from credit_assets.cli import main; main()"
IMPORTED = re.compile(r"import time: +(\d+) \| +\d+ \| +(\w+)")


def processor_seconds(project: Path | None, words: list[str]) -> float:
    """User and system time of one run of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-P", "-c", COMMAND, *words], cwd=project, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def imports(project: Path | None, words: list[str]) -> Counter[str]:
    """Seconds spent importing each package's modules."""
    called = [sys.executable, "-P", "-X", "importtime", "-c", COMMAND, *words]
    said = subprocess.run(called, cwd=project, capture_output=True, text=True, check=True).stderr
    packages: Counter[str] = Counter()
    for microseconds, package in IMPORTED.findall(said):
        packages[package] += int(microseconds) / 1e6
    return packages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--project", type=Path, help="a folder in which `credit-assets demo` was run")
    parser.add_argument("--portfolio", default="home_credit")
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    commands = {"--help": ["--help"]}
    if asked.project:
        commands["status"] = ["status", "--portfolio", asked.portfolio]
    for name, words in commands.items():
        seconds = min(processor_seconds(asked.project, words) for _ in range(asked.times))
        packages = imports(asked.project, words).most_common(8)
        listed = ", ".join(f"{package} {took:.2f}" for package, took in packages)
        print(f"{name:8}{seconds:6.2f} s of processor (target: below {BARS[name]:g}); imports: {listed}", flush=True)


if __name__ == "__main__":
    main()
