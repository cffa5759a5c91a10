"""Processor time and memory needed to ingest Home Credit files into validated Delta tables, beside a bare copy.

Usage: python -m benchmarks.ingest FOLDER [--bad-rows 0.01] [--threads 2] [--memory 2GB]

The bare copy is DuckDB's `COPY (FROM read_csv(file)) TO Parquet` of the same files in the same run: nothing is checked,
and the types are guessed. With `--bad-rows`, the files are also ingested with that share of their rows made bad: a
wrong type, a missing field, a quote without its pair, an empty key, and a repeated row, in turn. Each measurement is a
process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.line_steps import copy_file, delivered_files, ingest_tables
from benchmarks.measure import PROJECT
from credit_assets.book.book import Book
from credit_assets.lake.connections import connect
from credit_assets.lake.resources import lake_resource
from credit_assets.settings.project import Project


@dataclass(frozen=True)
class Cost:
    """What one table took: rows, bad rows, processor seconds, and the process's peak memory in MB so far."""

    rows: int
    bad: int
    cpu: float
    peak: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="the delivered CSV files, named as on Kaggle")
    parser.add_argument("--bad-rows", type=float, default=0.0, help="the share of rows to make bad in a second run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", default="2GB", help="DuckDB's memory limit")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as workspace:
        settings = (given.threads, given.memory, Path(workspace))
        bare = _in_a_process(copy_files, given.folder, *settings)
        _report("bare copy", given.folder, bare)
        ours = _in_a_process(ingest_files, given.folder, *settings)
        _report("ingest", given.folder, ours, ("bare copy", bare))
        if given.bad_rows:
            spoilt = Path(workspace, "spoilt")
            spoil_files(given.folder, spoilt, given.bad_rows)
            bad = _in_a_process(ingest_files, spoilt, *settings)
            _report(f"ingest with {given.bad_rows:.2%} of bad rows", spoilt, bad, ("ingest", ours))


def copy_files(folder: Path, threads: int, memory: str, workspace: Path) -> dict[str, Cost]:
    """The cost of the bare copy of each table's files."""
    book, costs = Book.load(Project(PROJECT), "home_credit"), {}
    with connect(threads=threads, memory_limit=memory, temp_directory=str(workspace / "spill")) as con:
        for table, files in delivered_files(book, folder).items():
            busy = time.process_time()
            rows = sum(copy_file(con, file, workspace / "bare.parquet") for file in files)
            costs[table] = Cost(rows, 0, time.process_time() - busy, _peak())
    return costs


def ingest_files(folder: Path, threads: int, memory: str, workspace: Path) -> dict[str, Cost]:
    """The cost of each table from its files to a committed version."""
    os.environ |= {"CREDIT_ASSETS_THREADS": str(threads), "CREDIT_ASSETS_MEMORY_LIMIT": memory}
    book, costs = Book.load(Project(PROJECT), "home_credit"), {}
    with tempfile.TemporaryDirectory(dir=workspace) as temporary:
        made = Path(temporary)
        tables = ingest_tables(book, lake_resource(Project(made)), folder, made, max_bad_share=1)
        busy = time.process_time()
        for table, result in tables:
            costs[table] = Cost(result.rows_in, result.rows_quarantined, time.process_time() - busy, _peak())
            busy = time.process_time()
    return costs


def spoil_files(folder: Path, spoilt: Path, share: float) -> None:
    """Write the files of `folder` to `spoilt`, with every nth row made bad."""
    spoilt.mkdir()
    every = round(1 / share)
    for files in delivered_files(Book.load(Project(PROJECT), "home_credit"), folder).values():
        for file in files:
            with file.open("rb") as reading, (spoilt / file.name).open("wb") as writing:
                before = b""
                for n, line in enumerate(reading):
                    writing.write(_spoilt(line, before, n // every) if n and n % every == 0 else line)
                    before = line


def _spoilt(line: bytes, before: bytes, nth: int) -> bytes:
    first, *others = line.rstrip(b"\r\n").split(b",")
    kinds = (
        [b"x" + first, *others],
        [first, *others[:-1]],
        [first, b'"' + others[0], *others[1:]],
        [b"", *others],
        before.rstrip(b"\r\n").split(b","),
    )
    return b",".join(kinds[nth % len(kinds)]) + b"\n"


def _in_a_process(
    measure: Callable[[Path, int, str, Path], dict[str, Cost]], folder: Path, *settings: object
) -> dict[str, Cost]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, folder, *settings).result()  # type: ignore[arg-type]


def _report(what: str, folder: Path, costs: dict[str, Cost], beside: tuple[str, dict[str, Cost]] | None = None) -> None:
    """Print the cost of each table, and its ratio to that in another measurement."""
    compared = f"{'times ' + beside[0]:>18}" if beside else ""
    print(f"\n{what:32}{'rows':>12}{'bad':>9}{'MB':>7}{'CPU s':>8}{'peak MB':>9}{compared}")
    files = delivered_files(Book.load(Project(PROJECT), "home_credit"), folder)
    sizes = {table: sum(file.stat().st_size for file in of_table) / 1e6 for table, of_table in files.items()}
    whole = Cost(
        *(sum(getattr(cost, name) for cost in costs.values()) for name in ("rows", "bad", "cpu")), _most(costs)
    )
    for table, cost in [*costs.items(), ("all", whole)]:
        size = sizes.get(table, sum(sizes.values()))
        line = f"{table:32}{cost.rows:12,}{cost.bad:9,}{size:7,.0f}{cost.cpu:8.2f}{cost.peak:9,.0f}"
        if beside:
            others = beside[1].values() if table == "all" else [beside[1][table]]
            other = sum(each.cpu for each in others)
            line += f"{cost.cpu / other:18.2f}" if other > 0.05 else ""
        print(line, flush=True)


def _most(costs: dict[str, Cost]) -> float:
    return max(cost.peak for cost in costs.values())


def _peak() -> float:
    """The largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
