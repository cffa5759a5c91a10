"""Processor seconds and peak memory of a command in a process of its own, or of a program that keeps running."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

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


class Service:
    """A program that runs until it is stopped, with all processes that it starts. Its output goes to a file."""

    def __init__(self, command: Sequence[str | Path], folder: Path, log: Path) -> None:
        with log.open("a") as output:
            self._process = psutil.Popen(
                [str(word) for word in command], cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.log, self.began = log, time.perf_counter()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *exception: object) -> None:
        """Interrupt the program; what is left of its processes after ten seconds is killed."""
        processes = self._processes()
        self._process.send_signal(signal.SIGINT)
        _, left = psutil.wait_procs(processes, timeout=10)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)

    def cpu_s(self) -> float:
        """Processor seconds of all its processes so far, including those that have ended."""
        total = 0.0
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])
        return total

    def wait_until(self, done: Callable[[], bool], patience_s: float = 600) -> float:
        """The seconds since its start at which `done` is true. Raises RuntimeError if that takes too long, or if the
        program ends."""
        while not done():
            if self._process.poll() is not None or time.perf_counter() > self.began + patience_s:
                raise RuntimeError(f"It has ended or takes too long:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.2)
        return time.perf_counter() - self.began

    def _processes(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return [self._process, *self._process.children(recursive=True)]
        return []
