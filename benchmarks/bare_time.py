"""Runs a `credit-assets` command and measures how much of its runs is spent in the functions of assets and the lake.

    python -m benchmarks.bare_time demo

`demo.py` and `delivery.py` run it in a project's folder. The last line of the output is JSON: for each job, and for all
together, the processor seconds of its runs, and those of the functions that Dagster called: the assets' own, and the
reading and writing of tables. The rest is Dagster's.
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg

from credit_assets.application import work
from credit_assets.cli import main as command
from credit_assets.lake.io_managers import LakeIOManager


@dataclass
class Clock:
    """Processor seconds spent inside `running`; calls within calls count once."""

    seconds: float = 0.0
    depth: int = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        began, self.depth = time.process_time(), self.depth + 1
        try:
            yield
        finally:
            self.depth -= 1
            if not self.depth:
                self.seconds += time.process_time() - began

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time measured; of a generator, only the time until each of its results."""

        @functools.wraps(function)
        def results(*arguments: Any, **named: Any) -> Iterator[Any]:
            made = function(*arguments, **named)
            while True:
                with self.running():
                    try:
                        result = next(made)
                    except StopIteration:
                        return
                yield result

        @functools.wraps(function)
        def result(*arguments: Any, **named: Any) -> Any:
            with self.running():
                return function(*arguments, **named)

        return results if inspect.isgeneratorfunction(function) else result

    def of_decorated(self, decorator: Callable[..., Any]) -> Callable[..., Any]:
        """Dagster's decorator with arguments, applied to functions whose time is measured."""

        def with_arguments(*arguments: Any, **named: Any) -> Callable[..., Any]:
            decorate = decorator(*arguments, **named)
            return lambda function: decorate(self.of(function))

        return with_arguments


def main() -> None:
    bare, jobs = Clock(), {"all": [0.0, 0.0]}
    for decorator in ("asset", "multi_asset"):
        setattr(dg, decorator, bare.of_decorated(getattr(dg, decorator)))
    for method in ("handle_output", "load_input"):
        setattr(LakeIOManager, method, bare.of(getattr(LakeIOManager, method)))
    execute = work.execute

    def timed_execute(*arguments: Any, **named: Any) -> Any:
        began, bare_before = time.process_time(), bare.seconds
        outcome = execute(*arguments, **named)
        for name in (outcome.job, "all"):
            figures = jobs.setdefault(name, [0.0, 0.0])
            figures[0] += time.process_time() - began
            figures[1] += bare.seconds - bare_before
        return outcome

    setattr(work, "execute", timed_execute)  # noqa: B010
    try:
        command()
    finally:
        print(json.dumps({name: {"runs_s": runs, "bare_s": inside} for name, (runs, inside) in jobs.items()}))


if __name__ == "__main__":
    sys.exit(main())
