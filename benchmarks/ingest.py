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
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import duckdb

from credit_assets.book.book import Book
from credit_assets.ingest.file_names import match_files
from credit_assets.ingest.sources import Target
from credit_assets.ingest.typed_read import ingest
from credit_assets.lake.connections import connect
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.sql import sql_path, sql_text
from credit_assets.lake.tables import Lake
from credit_assets.settings.project import Project

PROJECT = Path(__file__).parents[1]


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
    costs = {}
    with _connected(threads, memory, workspace) as con:
        for table, files in _files(folder).items():
            busy, rows = time.process_time(), 0
            for file in files:
                copy = f"COPY (FROM read_csv({sql_path(file)})) TO {sql_text(f'{workspace}/bare.parquet')}"
                rows += con.execute(f"{copy} (FORMAT parquet, COMPRESSION zstd)").fetchall()[0][0]
            costs[table] = Cost(rows, 0, time.process_time() - busy, _peak())
    return costs


def ingest_files(folder: Path, threads: int, memory: str, workspace: Path) -> dict[str, Cost]:
    """The cost of each table from its files to a committed version."""
    book, costs = Book.load(Project(PROJECT), "home_credit"), {}
    files = _files(folder)
    with _connected(threads, memory, workspace) as con, tempfile.TemporaryDirectory(dir=workspace) as made:
        lake = Lake(Path(made, "lake"))
        for table, model in book.contracts.items():
            busy = time.process_time()
            result = ingest(
                con,
                lake,
                files[table],
                Target(table, model, {parent: lake.query(parent) for parent in book.parents(table)}, "2026-01"),
                max_bad_share=1,
                quarantine_folder=Path(made, "quarantine"),
                scratch=Path(made, "scratch"),
            )
            lake.commit(result.staged, Provenance())
            costs[table] = Cost(result.rows_in, result.rows_quarantined, time.process_time() - busy, _peak())
    return costs


def spoil_files(folder: Path, spoilt: Path, share: float) -> None:
    """Write the files of `folder` to `spoilt`, with every nth row made bad."""
    spoilt.mkdir()
    every = round(1 / share)
    for files in _files(folder).values():
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


def _connected(threads: int, memory: str, workspace: Path) -> duckdb.DuckDBPyConnection:
    """A connection with the settings of the platform's runs."""
    spill = str(workspace / "spill")
    return connect(threads=threads, memory_limit=memory, temp_directory=spill, preserve_insertion_order=False)


def _files(folder: Path) -> dict[str, list[Path]]:
    """The files of each table."""
    portfolio = Book.load(Project(PROJECT), "home_credit").portfolio
    stems = {table: config.files for table, config in portfolio.tables.items()}
    found = match_files(list(folder.iterdir()), stems, {portfolio.outcomes_table}).tables
    return {table: list(files) for table, files in found.items()}


def _in_a_process(
    measure: Callable[[Path, int, str, Path], dict[str, Cost]], folder: Path, *settings: object
) -> dict[str, Cost]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, folder, *settings).result()  # type: ignore[arg-type]


def _report(what: str, folder: Path, costs: dict[str, Cost], beside: tuple[str, dict[str, Cost]] | None = None) -> None:
    """Print the cost of each table, and its ratio to that in another measurement."""
    compared = f"{'times ' + beside[0]:>18}" if beside else ""
    print(f"\n{what:32}{'rows':>12}{'bad':>9}{'MB':>7}{'CPU s':>8}{'peak MB':>9}{compared}")
    sizes = {table: sum(file.stat().st_size for file in files) / 1e6 for table, files in _files(folder).items()}
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
