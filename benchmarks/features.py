"""Time and peak memory of each feature query of a portfolio, from the lake's Delta tables to Delta tables. The ratio at
the end is to a bare scan: DuckDB reads every column of the same raw tables once (count and max).

    python -m benchmarks.features data/lake 2026-01 --memory 3GB --threads 2

Reads one batch's raw tables and writes the features to a temporary lake. Each query runs in a separate process, so that
its peak memory can be measured.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

import duckdb

from benchmarks.line_steps import rows_of, scan_files
from credit_assets.book.queries import FeatureQuery, load
from credit_assets.features.compute import compute_query
from credit_assets.lake.provenance import BATCH, Provenance
from credit_assets.lake.tables import Lake

SQL = Path(__file__).parents[1] / "sql"


def run(
    query: FeatureQuery, portfolio: str, lakes: tuple[Path, Path], batch: str, config: dict[str, str | int]
) -> tuple[int, float, float, float]:
    """Compute and write one query; its rows, seconds, processor seconds and peak memory in GB."""
    con = duckdb.connect(config={**config, "preserve_insertion_order": False})
    con.execute("set enable_progress_bar = false")
    raw, made = map(Lake, lakes)
    start, busy = time.perf_counter(), time.process_time()
    for table in query.inputs:
        name = f"{portfolio}/{table}"
        lake = raw if raw.exists(name) else made
        con.sql(rows_of(lake, name, batch)).create_view(table)
    compute_query(con, query).create_view("_made", replace=True)
    staged = made.stage(con, "FROM _made", f"{portfolio}/{query.name}", batch)
    made.commit(staged, Provenance())
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    con.close()
    return staged.rows, seconds, busy, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def scan(
    raw: Path, tables: Collection[str], batch: str, config: dict[str, str | int]
) -> tuple[int, float, float, float]:
    """Read every column of the tables; rows, seconds, processor seconds and peak memory in GB."""
    con, lake, rows = duckdb.connect(config={**config}), Lake(raw), 0
    start, busy = time.perf_counter(), time.process_time()
    for table in tables:
        files = lake.open(table).file_uris(file_pruning_predicate=[(BATCH, "=", batch)])
        rows += scan_files(con, files)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    con.close()
    return rows, seconds, busy, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("lake", type=Path, help="the lake's folder")
    parser.add_argument("batch")
    parser.add_argument("--portfolio", default="home_credit")
    parser.add_argument("--memory", default="2GB", help="DuckDB's memory limit")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    total, peak = [0.0, 0.0], 0.0
    with tempfile.TemporaryDirectory(dir=asked.lake.parent) as folder:
        config: dict[str, str | int] = {
            "memory_limit": asked.memory,
            "threads": asked.threads,
            "temp_directory": str(Path(folder) / "spill"),
        }
        spawn = multiprocessing.get_context("spawn")
        queries = load(SQL / asked.portfolio)
        for query in queries.values():
            with spawn.Pool(1) as pool:
                lakes = (asked.lake, Path(folder) / "lake")
                rows, seconds, busy, memory = pool.apply(run, (query, asked.portfolio, lakes, asked.batch, config))
            print(
                f"{query.name:<30}{rows:>10,} rows x {len(query.columns):>3}{seconds:8.1f} s "
                f"{busy:8.1f} s of processor, peak {memory:.2f} GB",
                flush=True,
            )
            total, peak = [total[0] + seconds, total[1] + busy], max(peak, memory)
    print(f"{'total':<51}{total[0]:8.1f} s {total[1]:8.1f} s of processor, peak {peak:.2f} GB")
    read = {table for query in queries.values() for table in query.inputs} - queries.keys()
    tables = sorted(f"{asked.portfolio}/{table}" for table in read)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        rows, seconds, busy, memory = pool.apply(scan, (asked.lake, tables, asked.batch, config))
    print(f"{'bare scan':<30}{rows:>10,} rows{seconds:14.1f} s {busy:8.1f} s of processor, peak {memory:.2f} GB")
    print(f"ratio of processor seconds: {total[1] / busy:.1f}")


if __name__ == "__main__":
    main()
