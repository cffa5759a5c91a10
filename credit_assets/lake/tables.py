"""Tables of the lake: Delta tables written by DuckDB, one batch at a time, atomically.

A write has two halves: `stage` streams a query to Parquet files that no reader can see yet (so that
they can be validated where they lie), `commit` makes them the batch's rows in one Delta commit.
What a row may look like is `contracts.py`'s business.
"""

from __future__ import annotations

import glob
import json
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, create_table_with_add_actions
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from credit_assets.lake.connections import connect

BATCH = "batch"
# Years, not Delta's 30 days: an auditor asks for the version a decision was made from.
CONFIGURATION: dict[str, str | None] = {
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.deletedFileRetentionDuration": "interval 3650 days",
    # The log is the history: nothing but the upkeep (`maintenance.py`) shortens it.
    "delta.enableExpiredLogCleanup": "false",
}
COMMIT_ATTEMPTS = 20
# DuckDB holds a row group in memory until it is full: a table of 500 columns needs shorter ones.
ROW_GROUP_CELLS = 5_000_000
MIN_ROW_GROUP, MAX_ROW_GROUP = 2_048, 122_880


class TableMissing(LookupError):
    """The table, or the asked batch of it, has never been written."""


@dataclass(frozen=True)
class Staged:
    """Parquet files under a table's folder which no commit names yet."""

    table: str
    batch: str | None
    files: tuple[str, ...]
    rows: int
    schema: pa.Schema

    def query(self) -> str:
        """The SELECT over the staged rows."""
        return f"SELECT * FROM read_parquet({sql_files(self.files)}, hive_partitioning = false)"


WITHDRAWN = "withdrawn"
"""In a commit's metadata, where it withdraws its batch: why."""
WITHDRAWN_FILE = "withdrawn_file"
"""In such a commit's metadata, where one file of several was a mistake: its name."""
CODE_VERSION, SOURCE, MODEL_VERSION = "asset_code_version", "source_sha256", "model_version"
"""In a commit's metadata, where the asset has it: which version of its code made the rows, which files (JSON of name to
SHA-256) they were read from, and which version of the model judged them."""


@dataclass(frozen=True)
class Commit:
    """One entry of a table's history: its version, when, and the metadata it was written with."""

    version: int
    timestamp_ms: int
    metadata: Mapping[str, Any]


Writings = Callable[[str], Mapping[str, Sequence[Commit]]]
"""Table to batch to the commits that wrote it, newest first: `Lake.writings`, or what remembers its answers."""


class Lake:
    """The Delta tables below `root`. A table's name is its path, such as `home_credit/bureau`."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()

    def path(self, table: str) -> Path:
        return self.root / table

    # -- writing -----------------------------------------------------------------------------------

    def stage(self, con: duckdb.DuckDBPyConnection, query: str, table: str, batch: str | None) -> Staged:
        """Stream the query's rows to a new, yet invisible, Parquet file of the table."""
        folder = self.path(table) / (f"{BATCH}={batch}" if batch else "")
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"part-{uuid.uuid4().hex}.parquet"
        try:
            columns = len(con.execute(f"DESCRIBE {query}").fetchall())
            group = max(MIN_ROW_GROUP, min(MAX_ROW_GROUP, ROW_GROUP_CELLS // columns))
            copy = f"COPY ({query}) TO {sql_text(str(file))} (FORMAT parquet, ROW_GROUP_SIZE {group})"
            rows = con.execute(copy).fetchall()[0][0]
            with open(file, "rb+") as written:
                os.fsync(written.fileno())
            written_rows = f"SELECT * FROM read_parquet({sql_files([str(file)])}, hive_partitioning = false) LIMIT 0"
            schema = con.sql(written_rows).to_arrow_table().schema
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return Staged(table, batch, (str(file),), int(rows), schema)

    def commit(self, staged: Staged, metadata: Mapping[str, Any]) -> int:
        """Replace the batch (the whole table where it has none) by the staged rows; the new version.

        Writers of other batches do not disturb each other; of two writers of one batch the later
        commit stands. A commit that loses the race is repeated on the newer version.
        """
        path, partition = str(self.path(staged.table)), [BATCH] if staged.batch else []
        actions = [self._add(staged, file) for file in staged.files] if staged.rows else []
        properties = CommitProperties(
            custom_metadata={**metadata, BATCH: staged.batch or "", "rows": str(staged.rows)},
            max_commit_retries=0,
        )
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
                table = DeltaTable(path)
            except TableNotFoundError:
                create_table_with_add_actions(
                    path,
                    delta_schema,
                    actions,
                    partition_by=partition,
                    configuration=CONFIGURATION,
                    commit_properties=properties,
                )
                return 0
            # No retries inside: the commit lands as the next version of the one just read, or fails.
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
        for file in staged.files:
            Path(file).unlink(missing_ok=True)

    def withdraw(self, table: str, batch: str, why: str, file: str | None = None) -> int:
        """Remove the batch from the table, as if it had never been written; the new version. Earlier versions hold it
        still, and can be read until upkeep removes them. `file`: the one that was a mistake, where the others stay."""
        schema = pa.schema(self._open(table, None).schema())
        bare = schema.remove(schema.get_field_index(BATCH))
        facts = {"inputs": "{}", WITHDRAWN: why} | ({WITHDRAWN_FILE: file} if file else {})
        return self.commit(Staged(table, batch, (), 0, bare), facts)

    def replace(
        self,
        con: duckdb.DuckDBPyConnection,
        query: str,
        table: str,
        batch: str | None,
        metadata: Mapping[str, Any],
    ) -> int:
        """`stage` and `commit` in one, for rows that need no look in between; the new version."""
        return self.commit(self.stage(con, query, table, batch), metadata)

    def _add(self, staged: Staged, file: str) -> AddAction:
        status = os.stat(file)
        return AddAction(
            path=str(Path(file).relative_to(self.path(staged.table))),
            size=status.st_size,
            partition_values={BATCH: staged.batch} if staged.batch else {},
            modification_time=int(status.st_mtime * 1000),
            data_change=True,
            stats=json.dumps({"numRecords": staged.rows}),
        )

    # -- reading -----------------------------------------------------------------------------------

    def tables(self, below: str = "") -> list[str]:
        """The names of all tables that were ever written, or of those of a portfolio."""
        logs = (self.root / below).rglob("_delta_log")
        return sorted(str(log.parent.relative_to(self.root)) for log in logs if _commits(log.parent))

    def exists(self, table: str) -> bool:
        return DeltaTable.is_deltatable(str(self.path(table)))

    def version(self, table: str) -> int:
        """The current version of the table."""
        return self.history(table)[0].version

    def query(self, table: str, batches: Sequence[str] | None = None, version: int | None = None) -> str:
        """The SELECT over one version's rows (of some batches), the column `batch` included.

        The files are fixed when this returns: a later commit does not change what the query reads.
        Raises TableMissing for a table, or a batch, that was never written.
        """
        delta = self._open(table, version)
        if batches is None:
            files = delta.file_uris()
        else:
            written = _by_batch(commit for commit in _commits(self.path(table)) if commit.version <= delta.version())
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
        if not (commits := _commits(self.path(table))):
            raise _missing(table)
        return commits

    def batches(self, table: str) -> dict[str, Commit]:
        """Each batch of the table with the commit that wrote its current rows; empty if no table."""
        return {batch: commits[0] for batch, commits in self.writings(table).items()}

    def writings(self, table: str, *, withdrawn: bool = False) -> dict[str, list[Commit]]:
        """Each batch of the table with all commits that wrote it, newest first; empty if no table. What was withdrawn
        since is left out, unless `withdrawn`."""
        return _by_batch(_commits(self.path(table)), withdrawn)

    def readable(self, table: str, batch: str, version: int) -> bool:
        """Whether the files of a batch in this version are still there: upkeep removes what nothing refers to."""
        files = self._open(table, version).file_uris(file_pruning_predicate=[(BATCH, "=", batch)])
        return all(Path(unquote(file)).exists() for file in files)

    def _open(self, table: str, version: int | None) -> DeltaTable:
        try:
            return DeltaTable(str(self.path(table)), version=version)
        except TableNotFoundError as error:
            raise _missing(table) from error

    def _empty(self, delta: DeltaTable) -> str:
        columns = pa.schema(delta.schema()).empty_table()
        types = connect().sql("SELECT * FROM columns").types
        nulls = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in zip(columns.column_names, types, strict=True))
        return f"SELECT {nulls} WHERE false"


def _lost_race(error: BaseException) -> bool:
    """Whether another writer got in between reading the version and committing the next one."""
    return isinstance(error, CommitFailedError) or (isinstance(error, DeltaError) and "already exists" in str(error))


def _missing(table: str) -> TableMissing:
    return TableMissing(f"Table {table} has never been written; materialize it first.")


def _by_batch(commits: Iterable[Commit], withdrawn: bool = False) -> dict[str, list[Commit]]:
    """The commits, newest first, by batch: of a batch those since it was withdrawn, or (`withdrawn`) all of them."""
    of_batch: dict[str, list[Commit]] = {}
    ended: set[str] = set()
    for commit in commits:
        batch = commit.metadata.get(BATCH)
        if not batch or batch in ended:
            continue
        if WITHDRAWN not in commit.metadata:
            of_batch.setdefault(batch, []).append(commit)
        elif not withdrawn:
            ended.add(batch)
    return of_batch


# -- the log, of which this process reads every entry once -----------------------------------------


@dataclass(frozen=True)
class _Log:
    """What was read of a table's log: its commits by their files' names, and which file the newest is."""

    commits: Mapping[str, Commit]
    newest: str
    status: tuple[int, int]


# `DeltaTable.history` reads the whole log each time: 0.3 s for 500 commits, of each of 17 tables.
_LOGS: dict[Path, _Log] = {}
_READING = threading.Lock()
_ENTRY = re.compile(r"\d{20}\.json")


def _commits(path: Path) -> list[Commit]:
    """All commits of the table, newest first; none if there is no table.

    An entry of a log never changes: it is read once. All that was read is forgotten where the newest entry
    that was known is gone, or is another file: the table was removed, and perhaps made anew.
    """
    log = path / "_delta_log"
    with _READING:
        known = _LOGS.pop(path, None)
        try:
            # By name is by version.
            names = sorted(filter(_ENTRY.fullmatch, os.listdir(log)))
            if not names:
                return []
            status = _identity(log / names[-1])
            if known and (known.newest > names[-1] or _identity(log / known.newest) != known.status):
                known = None
        except FileNotFoundError:
            return []
        commits = {}
        for name in names:
            if commit := (known and known.commits.get(name)) or _commit(log / name):
                commits[name] = commit
        _LOGS[path] = _Log(commits, names[-1], status)
        return list(reversed(commits.values()))


def _identity(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_ino, status.st_mtime_ns


def _commit(entry: Path) -> Commit | None:
    """The entry's commit; None if a clean-up of the log removes it just now, or it names no writer."""
    try:
        content = entry.read_bytes()
    except FileNotFoundError:
        return None
    version = int(entry.stem)
    for line in content.splitlines():
        if b'"commitInfo"' in line and (told := json.loads(line).get("commitInfo")):
            return Commit(version, told["timestamp"], told | {"version": version})
    return None


def sql_text(text: str) -> str:
    """The text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def sql_path(file: str | Path) -> str:
    """The path as an SQL literal that DuckDB does not take for a pattern."""
    return sql_text(glob.escape(str(file)))


def sql_files(files: Sequence[str]) -> str:
    """The files as an SQL list for read_parquet, which would take a `*` or `[` in a path for a pattern."""
    return "[" + ", ".join(map(sql_path, files)) + "]"
