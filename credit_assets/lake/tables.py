"""Tables of the lake: Delta tables written by DuckDB, one batch at a time, atomically.

A write has two steps: `stage` streams a query to Parquet files that no reader can see yet, so that they can be
validated in place, and `commit` makes them the batch's rows in one Delta commit. `contracts.py` validates rows.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, create_table_with_add_actions
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from credit_assets.lake.connections import connect
from credit_assets.lake.log import Commit, by_batch, read_commits
from credit_assets.lake.provenance import BATCH, Provenance
from credit_assets.lake.sql import identifier, sql_files, sql_text
from credit_assets.lake.storage import LocalStorage, Storage

# Ten years instead of Delta's 30 days: an auditor may ask for the version that a decision was made from.
CONFIGURATION: dict[str, str | None] = {
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.deletedFileRetentionDuration": "interval 3650 days",
    # The log is the history: only maintenance (`maintenance.py`) shortens it.
    "delta.enableExpiredLogCleanup": "false",
}
COMMIT_ATTEMPTS = 20
# DuckDB holds a row group in memory until it is full, so a table of 500 columns needs shorter ones.
ROW_GROUP_CELLS = 5_000_000
MIN_ROW_GROUP, MAX_ROW_GROUP = 2_048, 122_880
# The most distinct values that a column's dictionary may have, as a share of the row group's rows. With DuckDB's own
# limit, a fifth, files are as large and take longer to write: it fills large dictionaries only to discard them.
DICTIONARY_SHARE = 1 / 16


class TableMissing(LookupError):
    """The table, or the requested batch of it, has never been written."""


@dataclass(frozen=True)
class Staged:
    """Parquet files below a table's folder (keys in the storage, and addresses) that are not committed yet."""

    table: str
    batch: str | None
    files: Mapping[str, str]
    rows: int
    schema: pa.Schema

    def query(self) -> str:
        """The SELECT over the staged rows."""
        return f"SELECT * FROM read_parquet({sql_files([*self.files.values()])}, hive_partitioning = false)"


Writes = Callable[[str], Mapping[str, Sequence[Commit]]]
"""A function from a table to the commits that wrote each batch, newest first: `Lake.writes`, or a cache of it."""


class Lake:
    """The Delta tables on a storage, or in a folder of this machine. A table's name is its key there, such as
    `home_credit/bureau`."""

    def __init__(self, storage: Storage | Path) -> None:
        self.storage = LocalStorage(storage.absolute()) if isinstance(storage, Path) else storage

    def address(self, table: str) -> str:
        """The path or URL of the table."""
        return self.storage.address(table)

    # -- writing -----------------------------------------------------------------------------------

    def stage(self, con: duckdb.DuckDBPyConnection, query: str, table: str, batch: str | None) -> Staged:
        """Stream the query's rows to a new Parquet file of the table, invisible until it is committed."""
        key = f"{table}/{f'{BATCH}={batch}/' if batch else ''}part-{uuid.uuid4().hex}.parquet"
        self.storage.prepare_folder(key)
        address = self.storage.address(key)
        try:
            columns = len(con.execute(f"DESCRIBE {query}").fetchall())
            group = max(MIN_ROW_GROUP, min(MAX_ROW_GROUP, ROW_GROUP_CELLS // columns))
            options = f"FORMAT parquet, ROW_GROUP_SIZE {group}, DICTIONARY_SIZE_LIMIT {int(group * DICTIONARY_SHARE)}"
            copy = f"COPY ({query}) TO {sql_text(address)} ({options})"
            rows = con.execute(copy).fetchall()[0][0]
            self.storage.persist(key)
            written_rows = f"SELECT * FROM read_parquet({sql_files([address])}, hive_partitioning = false) LIMIT 0"
            schema = con.sql(written_rows).to_arrow_table().schema
        except BaseException:
            self.storage.remove(key)
            raise
        return Staged(table, batch, {key: address}, int(rows), schema)

    def commit(self, staged: Staged, provenance: Provenance) -> int:
        """Replace the batch (or the whole table, if it has no batches) with the staged rows; returns the new version.
        Batch and number of rows are added to the provenance.

        Writers of different batches do not affect each other; of two writers of one batch, the later commit wins. A
        commit that loses a race is repeated on the newer version.
        """
        path, partition = self.address(staged.table), [BATCH] if staged.batch else []
        options = dict(self.storage.options)
        actions = [self._add(staged, key) for key in staged.files] if staged.rows else []
        of_rows = provenance.model_copy(update={"batch": staged.batch or "", "rows": staged.rows})
        properties = CommitProperties(custom_metadata=of_rows.to_metadata(), max_commit_retries=0)
        schema = staged.schema
        if staged.batch:
            schema = schema.append(pa.field(BATCH, pa.string()))
        delta_schema = Schema.from_arrow(schema)
        filters = [(BATCH, "=", staged.batch)] if staged.batch else None

        @retry(
            retry=retry_if_exception(_lost_race),
            stop=stop_after_attempt(COMMIT_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.02, max=1),
            reraise=True,
        )
        def write() -> int:
            try:
                table = DeltaTable(path, storage_options=options)
            except TableNotFoundError:
                create_table_with_add_actions(
                    path,
                    delta_schema,
                    actions,
                    partition_by=partition,
                    configuration=CONFIGURATION,
                    storage_options=options,
                    commit_properties=properties,
                )
                return 0
            # No retries inside: the commit becomes the version after the one just read, or fails.
            table.create_write_transaction(
                [*actions], "overwrite", delta_schema, partition, filters, commit_properties=properties
            )
            return table.version() + 1

        version = write()
        if not staged.rows:
            self.discard(staged)
        return version

    def discard(self, staged: Staged) -> None:
        """Remove staged files that will not be committed."""
        for key in staged.files:
            self.storage.remove(key)

    def withdraw(self, table: str, batch: str, why: str, file: str | None = None) -> int:
        """Remove the batch from the table, as if it had never been written; returns the new version. Earlier versions
        keep it and can be read until maintenance removes them. `file` is the withdrawn file, if only one of several
        is."""
        schema = pa.schema(self.open(table).schema())
        bare = schema.remove(schema.get_field_index(BATCH))
        provenance = Provenance(inputs={}, withdrawn=why, withdrawn_file=file or None)
        return self.commit(Staged(table, batch, {}, 0, bare), provenance)

    def replace(
        self,
        con: duckdb.DuckDBPyConnection,
        query: str,
        table: str,
        batch: str | None,
        provenance: Provenance,
    ) -> int:
        """`stage` and `commit` in one step, for rows that need no check in between; returns the new version."""
        return self.commit(self.stage(con, query, table, batch), provenance)

    def _add(self, staged: Staged, key: str) -> AddAction:
        file = self.storage.stat(key)
        return AddAction(
            path=key.removeprefix(f"{staged.table}/"),
            size=file.size,
            partition_values={BATCH: staged.batch} if staged.batch else {},
            modification_time=file.modified_ms,
            data_change=True,
            stats=json.dumps({"numRecords": staged.rows}),
        )

    # -- reading -----------------------------------------------------------------------------------

    def tables(self, below: str = "") -> list[str]:
        """The names of all tables ever written, or of those of one portfolio."""
        return [table for table in self.storage.tables(below) if read_commits(self.storage, table)]

    def exists(self, table: str) -> bool:
        return DeltaTable.is_deltatable(self.address(table), storage_options=dict(self.storage.options))

    def version(self, table: str) -> int:
        """The current version of the table."""
        return self.history(table)[0].version

    def query(self, table: str, batches: Sequence[str] | None = None, version: int | None = None) -> str:
        """The SELECT over one version's rows (of some batches), the column `batch` included.

        The files are fixed when this returns: later commits do not change what the query reads.
        Raises TableMissing for a table, or a batch, that was never written.
        """
        delta = self.open(table, version)
        if batches is None:
            files = delta.file_uris()
        else:
            written = by_batch(commit for commit in self._commits(table) if commit.version <= delta.version())
            missing = sorted(set(batches) - set(written))
            if missing:
                raise TableMissing(f"Table {table} has no batch {', '.join(missing)}; materialize it first.")
            files = [
                file for batch in batches for file in delta.file_uris(file_pruning_predicate=[(BATCH, "=", batch)])
            ]
        if not files:
            return self._empty(delta)
        return (
            f"SELECT * FROM read_parquet({sql_files(sorted(map(unquote, files)))}, union_by_name = true, "
            f"hive_partitioning = {'true' if delta.metadata().partition_columns else 'false'}"
            + (f", hive_types = {{'{BATCH}': 'VARCHAR'}})" if delta.metadata().partition_columns else ")")
        )

    def relation(
        self,
        con: duckdb.DuckDBPyConnection,
        table: str,
        batches: Sequence[str] | None = None,
        version: int | None = None,
    ) -> duckdb.DuckDBPyRelation:
        """`query` as a lazy relation of the connection."""
        return con.sql(self.query(table, batches, version))

    def history(self, table: str) -> list[Commit]:
        """All commits of the table, newest first."""
        if not (commits := self._commits(table)):
            raise _missing(table)
        return commits

    def batches(self, table: str) -> dict[str, Commit]:
        """Each batch of the table with the commit that wrote its current rows; empty if there is no table."""
        return {batch: commits[0] for batch, commits in self.writes(table).items()}

    def writes(self, table: str, *, withdrawn: bool = False) -> dict[str, list[Commit]]:
        """Each batch of the table with all commits that wrote it, newest first; empty if there is no table. Withdrawn
        commits are omitted, unless `withdrawn`."""
        return by_batch(self._commits(table), withdrawn)

    def readable(self, table: str, batch: str, version: int) -> bool:
        """Whether the files of a batch in this version still exist: upkeep removes unreferenced files."""
        files = self.open(table, version).file_uris(file_pruning_predicate=[(BATCH, "=", batch)])
        return all(self._is_there(self.storage.key(file)) for file in files)

    def files_of(self, table: str, commit: Commit) -> list[str]:
        """The addresses of the files that the commit added, if they still exist."""
        keys = [f"{table}/{file}" for file in commit.added]
        return [self.storage.address(key) for key in keys if self._is_there(key)]

    def open(self, table: str, version: int | None = None) -> DeltaTable:
        """One version of the table (by default the current one) as a `DeltaTable`.

        Raises TableMissing for a table that was never written.
        """
        try:
            return DeltaTable(self.address(table), version=version, storage_options=dict(self.storage.options))
        except TableNotFoundError as error:
            raise _missing(table) from error

    def _commits(self, table: str) -> list[Commit]:
        """All commits with a time, newest first; empty if there is no table."""
        return [commit for commit in reversed(read_commits(self.storage, table)) if commit.timestamp_ms]

    def _is_there(self, key: str) -> bool:
        try:
            self.storage.stat(key)
        except FileNotFoundError:
            return False
        return True

    def _empty(self, delta: DeltaTable) -> str:
        columns = pa.schema(delta.schema()).empty_table()
        types = connect().sql("SELECT * FROM columns").types
        typed = zip(types, map(identifier, columns.column_names), strict=True)
        nulls = ", ".join(f"NULL::{kind} AS {name}" for kind, name in typed)
        return f"SELECT {nulls} WHERE false"


def _lost_race(error: BaseException) -> bool:
    """Whether another writer committed between reading the version and committing the next one."""
    return isinstance(error, CommitFailedError) or (isinstance(error, DeltaError) and "already exists" in str(error))


def _missing(table: str) -> TableMissing:
    return TableMissing(f"Table {table} has never been written; materialize it first.")
