"""Time and memory of measuring a batch's drift, and the ratio to Evidently's own figures on the same rows.

    python benchmarks/drift.py --rows 356255 --columns 450

Columns are made up, of the kinds that loan data has. Nothing is stored.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from credit_assets.monitoring.drift import measure
from credit_assets.monitoring.reference import Reference
from credit_assets.settings.drift import DriftConfig

EVIDENTLY_ROWS, EVIDENTLY_COLUMNS = 20_000, 40


def column(i: int) -> str:
    """The SQL of a column: normal, skewed, mostly zero, half missing, few values, or (1 in 24) a category."""
    uniform = f"(hash(row, {i}) % 1000003 + 1) / 1000004.0"
    kind = i % 6 if i % 24 == 5 or i % 6 < 5 else 0
    return [
        f"sqrt(-2 * ln({uniform})) * cos(2 * pi() * (hash(row, {i}, 1) % 1000003) / 1000003.0)",
        f"exp(2 * {uniform})",
        f"greatest({uniform} - 0.9, 0)",
        f"case when hash(row, {i}, 2) % 2 = 0 then {uniform} end",
        f"(hash(row, {i}) % 7)::integer",
        f"'category ' || hash(row, {i}) % 40",
    ][kind]


def write(con: duckdb.DuckDBPyConnection, path: Path, first: int, rows: int, columns: int) -> None:
    listed = ", ".join(f"{column(i)} as x{i}" for i in range(columns))
    con.execute(f"copy (select {listed} from range({first}, {first + rows}) t(row)) to '{path}'")


def timed(what: str, work: Callable[[], object]) -> float:
    """Run it and print its processor seconds, which are least affected by other work on the machine."""
    start, busy = time.perf_counter(), time.process_time()
    work()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what:<60}{seconds:8.2f} s {busy:8.2f} s of processor, peak {peak:.2f} GB", flush=True)
    return busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=356_255, help="rows of the batch")
    parser.add_argument("--columns", type=int, default=450)
    parser.add_argument("--training-rows", type=int, default=300_000)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    config = DriftConfig()
    names = [f"x{i}" for i in range(asked.columns)]
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as con:
        con.execute(f"set threads = {asked.threads}; set memory_limit = '1GB'")
        then, now, saved = (
            Path(folder, "then.parquet"),
            Path(folder, "now.parquet"),
            Path(folder, "reference.parquet"),
        )
        size = f"{asked.columns} columns"
        write(con, then, 0, asked.training_rows, asked.columns)
        write(con, now, asked.training_rows, asked.rows, asked.columns)
        timed(
            f"reference of {asked.training_rows:,} rows x {size}",
            lambda: Reference.build(con.read_parquet(str(then)), names, config).save(saved),
        )
        print(f"{'reference file':<60}{saved.stat().st_size / 2**20:9.2f} MB")
        timed(
            f"drift of {asked.rows:,} rows x {size}, from Parquet",
            lambda: measure(Reference.load(saved), con.read_parquet(str(now)), config),
        )
        against_evidently(con, then, now, names[:EVIDENTLY_COLUMNS], config)


def against_evidently(
    con: duckdb.DuckDBPyConnection, then: Path, now: Path, names: list[str], config: DriftConfig
) -> None:
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from evidently import Report
    from evidently.presets import DataDriftPreset

    reference, batch = (con.read_parquet(str(path)).select(*names).limit(EVIDENTLY_ROWS) for path in (then, now))
    frames = batch.df(), reference.df()
    size = f"{EVIDENTLY_ROWS:,} rows a side x {len(names)} columns"
    ours = timed(
        f"ours, with its reference, {size}",
        lambda: measure(Reference.build(reference, names, config), batch, config),
    )
    theirs = timed(f"Evidently, {size}", lambda: Report([DataDriftPreset(method="psi")]).run(*frames).dict())
    print(f"Evidently needs {theirs / ours:.0f} times the processor time")


if __name__ == "__main__":
    main()
