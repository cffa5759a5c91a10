"""Processor seconds and peak memory of a command that runs in a process of its own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Measured:
    """What a process needed, together with the processes that it started and waited for. `peak_gb` is the largest
    resident memory (GiB) of one of them."""

    cpu_s: float
    wall_s: float
    peak_gb: float
    output: str


def measured(
    command: Sequence[str | Path], folder: Path = PROJECT, environment: Mapping[str, str] | None = None
) -> Measured:
    """Run the command in the folder, with these variables added to the environment. Errors go to the terminal.

    Raises RuntimeError if it fails. The process inherits the peak memory of the one that starts it, so that one should
    import little.
    """
    words = [str(word) for word in command]
    began = time.perf_counter()
    process = subprocess.Popen(words, cwd=folder, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE)
    assert process.stdout
    with process.stdout as pipe:
        output = pipe.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    # `Popen` does not know that the process has been waited for.
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} failed with exit code {process.returncode}:\n{output[-3000:]}")
    return Measured(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 2**20, output)
