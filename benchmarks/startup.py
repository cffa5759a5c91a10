"""Processor seconds of `credit-assets --help` and `status`, with their imports, and the time until `make dev` answers.

    python -m benchmarks.startup                      # --help only
    python -m benchmarks.startup --project FOLDER     # also status and dev, in a project made by `demo`

Each command runs several times in a separate process; the lowest figure is the one least disturbed by other work on the
machine. Imports are listed by package, with the time that each takes without what it imports itself.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from benchmarks.measure import PROJECT, Service, measured

BARS = {"--help": 0.6, "status": 3.0}
DEV_BAR_S = 12
"""The wanted seconds until the UI shows the portfolios, on two idle cores."""
QUERY = "{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name } } } } }"
COMMAND = "from credit_assets.cli import main; main()"
IMPORTED = re.compile(r"import time: +(\d+) \| +\d+ \| +(\w+)")


def processor_seconds(project: Path | None, words: list[str]) -> float:
    """User and system time of one run of the command."""
    return measured([sys.executable, "-P", "-c", COMMAND, *words], project or PROJECT).cpu_s


def imports(project: Path | None, words: list[str]) -> Counter[str]:
    """Seconds spent importing each package's modules."""
    called = [sys.executable, "-P", "-X", "importtime", "-c", COMMAND, *words]
    said = subprocess.run(called, cwd=project, capture_output=True, text=True, check=True).stderr
    packages: Counter[str] = Counter()
    for microseconds, package in IMPORTED.findall(said):
        packages[package] += int(microseconds) / 1e6
    return packages


def dev(project: Path) -> tuple[float, float]:
    """Seconds until `make dev` answers with the portfolios, on the clock and of all its processes' processor time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    request = Request(
        f"http://127.0.0.1:{port}/graphql", json.dumps({"query": QUERY}).encode(), {"Content-Type": "application/json"}
    )

    def answers() -> bool:
        try:
            with urlopen(request, timeout=30) as answer:
                return bool(json.load(answer)["data"]["repositoriesOrError"].get("nodes"))
        except (URLError, ConnectionError, TimeoutError):
            return False

    command = [sys.executable, "-W", "ignore", "-m", "credit_assets.automation.dev", "--port", str(port)]
    with tempfile.NamedTemporaryFile() as log, Service(command, project, Path(log.name)) as running:
        return running.wait_until(answers), running.cpu_s()


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
    if asked.project:
        wall, processor = dev(asked.project)
        print(f"{'dev':8}{wall:6.1f} s until it answers (target: below {DEV_BAR_S}), {processor:.1f} s of processor")


if __name__ == "__main__":
    main()
