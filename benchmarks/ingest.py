"""Time and memory needed to ingest Home Credit files into validated Delta tables.

Usage: python benchmarks/ingest.py FOLDER [--threads 2] [--memory 2GB] [--max-bad-share 0.001]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import duckdb

from credit_assets.book.book import Book
from credit_assets.ingest.file_names import match_files
from credit_assets.ingest.sources import Target
from credit_assets.ingest.typed_read import ingest
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.settings.project import Project

PROJECT = Path(__file__).parents[1]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, help="the delivered files, named as on Kaggle")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--memory", default="2GB", help="DuckDB's memory limit")
    arguments.add_argument("--max-bad-share", type=float, default=0.001)
    given = arguments.parse_args()
    book = Book.load(Project(PROJECT), "home_credit")
    portfolio = book.portfolio
    stems = {table: config.files for table, config in portfolio.tables.items()}
    files = match_files(list(given.folder.iterdir()), stems, {portfolio.outcomes_table}).tables
    began, rows = time.perf_counter(), 0
    with tempfile.TemporaryDirectory(dir=given.folder.parent) as workspace, duckdb.connect() as con:
        con.execute(f"SET threads = {given.threads}; SET memory_limit = '{given.memory}'")
        con.execute(f"SET temp_directory = '{workspace}/spill'")
        lake = Lake(Path(workspace) / "lake")
        print(f"{'table':24}{'rows':>12}{'bad':>8}{'MB':>8}{'seconds':>9}{'CPU s':>8}{'peak MB':>9}")
        for table, model in book.contracts.items():
            start, busy = time.perf_counter(), time.process_time()
            result = ingest(
                con,
                lake,
                files[table],
                Target(table, model, {parent: lake.query(parent) for parent in book.parents(table)}, "2026-01"),
                max_bad_share=given.max_bad_share,
                quarantine_folder=Path(workspace) / "quarantine",
                scratch=Path(workspace) / "scratch",
            )
            lake.commit(result.staged, Provenance())
            rows += result.rows_in
            size = sum(file.stat().st_size for file in files[table]) / 1e6
            told = f"{table:24}{result.rows_in:12,}{result.rows_quarantined:8,}{size:8,.0f}"
            took, worked = time.perf_counter() - start, time.process_time() - busy
            print(f"{told}{took:9.1f}{worked:8.1f}{_peak():9,.0f}", flush=True)
    took, worked = time.perf_counter() - began, time.process_time()
    print(f"{'all':24}{rows:12,}{'':16}{took:9.1f}{worked:8.1f}{_peak():9,.0f}")


def _peak() -> float:
    """The largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
