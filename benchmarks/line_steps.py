"""The steps that `line.py` measures, each run as a process of its own: `python -m benchmarks.line_steps STEP ...`.

The platform's steps call the functions that its assets call, with the same settings. The bare steps are what DuckDB
needs to do nothing but copy, or read, the same data. `ingest_tables` and `compute_tables` are also there for
benchmarks that measure single tables.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb

from benchmarks.measure import PROJECT
from credit_assets.book.book import Book
from credit_assets.book.queries import FeatureQuery
from credit_assets.features.compute import compute_query
from credit_assets.features.contract import feature_contracts
from credit_assets.features.versions import FEATURES
from credit_assets.ingest.checks import compares_keys
from credit_assets.ingest.file_names import match_files
from credit_assets.ingest.repeats import other_batches, repeated_keys
from credit_assets.ingest.sources import Target
from credit_assets.ingest.typed_read import Ingested, ingest
from credit_assets.lake.contracts import check
from credit_assets.lake.provenance import BATCH, Provenance
from credit_assets.lake.resources import LakeResource, lake_resource
from credit_assets.lake.sql import sql_files, sql_path, sql_text
from credit_assets.lake.tables import Lake, Staged
from credit_assets.schemas.table import Table
from credit_assets.settings.project import Project

FIRST_BATCH = "2026-01"


def delivered_files(book: Book, folder: Path) -> Mapping[str, tuple[Path, ...]]:
    """The folder's files by the table that they belong to."""
    tables = book.portfolio.tables
    names = {table: config.files for table, config in tables.items()}
    optional = {table for table, config in tables.items() if config.optional}
    files = [file for file in folder.iterdir() if file.is_file()]
    return match_files(files, names, optional, book.portfolio.outcomes_table).tables


def rows_of(lake: Lake, table: str, batch: str) -> str:
    """The SELECT of the batch's rows, without the column `batch`."""
    return f"SELECT * EXCLUDE ({BATCH}) FROM ({lake.query(table, [batch])})"


def ingest_tables(
    book: Book,
    resource: LakeResource,
    folder: Path,
    workspace: Path,
    batch: str = FIRST_BATCH,
    max_bad_share: float | None = None,
) -> Iterator[tuple[str, Ingested]]:
    """Ingest the delivered files as the batch and commit each table; the tables in order, each with its result.
    `max_bad_share` replaces the portfolio's."""
    portfolio, lake = book.portfolio, resource.lake
    files, applications = delivered_files(book, folder), portfolio.table(portfolio.application_table)
    others = other_batches(lake, applications, batch)
    for table, model in book.contracts.items():
        config, is_outcomes = portfolio.tables[table], table == portfolio.outcomes_table
        result = ingest(
            resource.connection,
            lake,
            files[table],
            Target(
                portfolio.table(table),
                model,
                {parent: rows_of(lake, portfolio.table(parent), batch) for parent in book.parents(table)},
                batch,
                later_file_supersedes=is_outcomes,
                numbered=config.numbered,
                elsewhere={applications: others} if is_outcomes and others else {},
            ),
            max_bad_share=portfolio.delivery.max_bad_share if max_bad_share is None else max_bad_share,
            quarantine_folder=workspace / "quarantine",
            scratch=workspace / "scratch",
            notes=config.notes,
        )
        if compares_keys(book, table):
            repeated_keys(resource.connection, result.staged.query(), portfolio.entity_key, others)
        lake.commit(result.staged, Provenance())
        yield table, result


def compute_tables(
    book: Book, contracts: Mapping[str, type[Table]], resource: LakeResource, batch: str = FIRST_BATCH
) -> Iterator[tuple[FeatureQuery, Staged]]:
    """Compute each query of the book from the batch's tables, check it against its contract and commit it."""
    con, lake, portfolio = resource.connection, resource.lake, book.portfolio
    for name, query in book.queries.items():
        for table in query.inputs:
            con.sql(rows_of(lake, portfolio.table(table), batch)).create_view(table, replace=True)
        compute_query(con, query).create_view("_output", replace=True)
        staged = lake.stage(con, "SELECT * FROM _output", portfolio.table(name), batch)
        if violations := check(con, staged.query(), contracts[name], {}):
            raise RuntimeError(f"{name} violates its contract: {violations[0].without_values}")
        lake.commit(staged, Provenance())
        yield query, staged


def copy_files(files: Mapping[str, tuple[Path, ...]], folder: Path, threads: int) -> None:
    """Copy each delivered file to Parquet with DuckDB: no contract, no check, no hash."""
    with duckdb.connect(config={"threads": threads}) as con:
        for file in (file for of_table in files.values() for file in of_table):
            copy_file(con, file, folder / f"{file.name}.parquet")


def copy_file(con: duckdb.DuckDBPyConnection, file: Path, copy: Path) -> int:
    """Copy one file to Parquet; its rows."""
    reader = "read_parquet" if file.suffix == ".parquet" else "read_csv"
    target = f"{sql_text(str(copy))} (FORMAT parquet, COMPRESSION zstd)"
    return int(con.execute(f"COPY (FROM {reader}({sql_path(file)})) TO {target}").fetchall()[0][0])


def scan_tables(book: Book, resource: LakeResource, threads: int) -> dict[str, int]:
    """Read every column of the ingested tables once with DuckDB; the rows of each table that has any."""
    lake, portfolio = resource.lake, book.portfolio
    files = {table: lake.open(portfolio.table(table)).file_uris() for table in book.contracts}
    with duckdb.connect(config={"threads": threads}) as con:
        return {table: scan_files(con, of_table) for table, of_table in files.items() if of_table}


def scan_files(con: duckdb.DuckDBPyConnection, files: Sequence[str]) -> int:
    """Read every column of Parquet files once; their rows."""
    read = f"read_parquet({sql_files(files)}, hive_partitioning = false)"
    return int(con.execute(f"SELECT count(*), count(COLUMNS(*)), max(COLUMNS(*)) FROM {read}").fetchall()[0][0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("step", choices=["ingest", "features", "copy", "scan"])
    parser.add_argument("folder", type=Path, help="the delivered files")
    parser.add_argument("workspace", type=Path, help="where the lake and other results are written")
    parser.add_argument("--portfolio", default="home_credit")
    parser.add_argument("--batch", default=FIRST_BATCH)
    parser.add_argument("--threads", type=int, required=True)
    asked = parser.parse_args()
    book, resource = Book.load(Project(PROJECT), asked.portfolio), lake_resource(Project(asked.workspace))
    # Contracts are compiled once per process, like the imports.
    contracts = feature_contracts(book.queries, book.contracts, book.portfolio.entity_key)
    made: dict[str, float] = {}
    clock, busy = time.perf_counter(), time.process_time()
    if asked.step == "ingest":
        ingested = ingest_tables(book, resource, asked.folder, asked.workspace, asked.batch)
        made["rows"] = sum(result.rows_in for _, result in ingested)
    elif asked.step == "features":
        rows = {query.name: staged.rows for query, staged in compute_tables(book, contracts, resource, asked.batch)}
        made |= {"applicants": rows[FEATURES], "features": len(book.queries[FEATURES].descriptions)}
    elif asked.step == "copy":
        copy_files(delivered_files(book, asked.folder), asked.workspace, asked.threads)
    else:
        scan_tables(book, resource, asked.threads)
    print(json.dumps({"cpu_s": time.process_time() - busy, "wall_s": time.perf_counter() - clock, **made}))


if __name__ == "__main__":
    main()
