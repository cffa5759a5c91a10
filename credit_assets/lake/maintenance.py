"""Maintenance of a portfolio's tables: checkpoints logs, merges split batches and removes unreferenced files.

The caller passes the table versions that registered models use; `upkeep/retention.py` cleans Dagster's instance.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from deltalake import CommitProperties
from deltalake.exceptions import CommitFailedError

from credit_assets.lake.log import Log, newest_checkpoint, read_commits
from credit_assets.lake.provenance import BATCH
from credit_assets.lake.storage import LOG, Storage
from credit_assets.lake.tables import Lake
from credit_assets.settings.retention import RetentionConfig

CURRENT, RECENT, DECISION, MODEL = "current", "recent", "decision", "model"
COMPACTED = "compacted"
"""Metadata key of a commit that only merged files: the batch, or empty for a whole table."""

# Longer than any run takes between writing a file and committing it.
ORPHANED_AFTER = timedelta(days=1)
# Opening a table reads the log entries since its newest checkpoint, about 0.5 ms each.
CHECKPOINT_AFTER = 20

LOG_FILE = re.compile(r"\d{20}(\.json|\.checkpoint.*\.parquet)")
DATA_FILE = ".parquet"


@dataclass(frozen=True)
class TableUpkeep:
    """The maintenance of one table: its version afterwards, the versions still readable with the reasons, the removed
    files of other versions (`superseded`) or never committed (`orphans`) and their bytes, the batches whose files were
    merged, and whether a checkpoint was written."""

    table: str
    version: int | None
    kept: Mapping[int, tuple[str, ...]]
    superseded: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    bytes_freed: int = 0
    compacted: tuple[str, ...] = ()
    checkpoint: bool = False


@dataclass(frozen=True)
class Summary:
    """The maintenance of all tables; for a dry run, what it would do (without merging or checkpoints)."""

    tables: tuple[TableUpkeep, ...]
    dry_run: bool

    @property
    def files_removed(self) -> int:
        return sum(len(table.superseded) + len(table.orphans) for table in self.tables)

    @property
    def bytes_freed(self) -> int:
        return sum(table.bytes_freed for table in self.tables)

    def versions_kept(self) -> dict[str, int]:
        """The number of table versions kept for each reason; a version may have several."""
        reasons = [reason for table in self.tables for why in table.kept.values() for reason in why]
        return {reason: reasons.count(reason) for reason in (CURRENT, RECENT, DECISION, MODEL)}


@contextmanager
def maintenance_paused(lake: Lake) -> Iterator[None]:
    """Prevent maintenance within the context: what is readable at its start stays readable."""
    with lake.storage.lock("maintenance"):
        yield


def maintain(
    lake: Lake,
    portfolio: str,
    decisions: str,
    referenced: Iterable[tuple[str, int]],
    config: RetentionConfig,
    now: datetime,
    dry_run: bool = False,
) -> Summary:
    """Merge, checkpoint and clean all tables of the portfolio; readers and writers can continue meanwhile.

    A version is kept if it is current or was within `keep_days`; if it is a version of the table `decisions` written
    within `decisions_years`; if it is in `referenced` (table versions that registered models name); or if a kept
    decision or model was made from it, directly or not: each commit names the versions of its `inputs`. Files of no
    kept version are removed, and uncommitted files a day after they were written. Removals are not committed, so
    removed versions stay in the history, and reading one raises an error with the missing file. `now` is
    timezone-aware.
    """
    with maintenance_paused(lake):
        names = _folders(lake, portfolio)
        maintained = {} if dry_run else {name: _merge_and_checkpoint(lake, name) for name in names if lake.exists(name)}
        # Files are listed before the logs are read, so that a file committed in between is in its log.
        files = {name: _data_files(lake.storage, name) for name in names}
        logs = {name: Log.read(lake.storage, name) for name in names if lake.exists(name)}
        kept = _kept(logs, decisions, referenced, config, now)
        done = []
        for name in names:
            log, orphaned_before = logs.get(name, Log()), (now - ORPHANED_AFTER).timestamp() * 1000
            needed = log.files(kept.get(name, {}))
            superseded = [file for file in files[name] if file in log.ever_added and file not in needed]
            orphans = [
                file
                for file in files[name]
                if file not in log.ever_added and _older(lake.storage, f"{name}/{file}", orphaned_before)
            ]
            # Not DeltaTable.vacuum: it commits twice a call, even if there is nothing to remove.
            freed = sum(_remove(lake.storage, f"{name}/{file}", dry_run) for file in (*superseded, *orphans))
            version = log.commits[-1].version if log.commits else None
            done.append(
                TableUpkeep(
                    name,
                    version,
                    kept.get(name, {}),
                    tuple(superseded),
                    tuple(orphans),
                    freed,
                    *maintained.get(name, ()),
                )
            )
    return Summary(tuple(done), dry_run)


def log_files(lake: Lake) -> dict[str, frozenset[str]]:
    """For each table, the names of its log entries and checkpoints; together they are the state of the lake."""
    return {
        table: frozenset(name for name in lake.storage.names(f"{table}/{LOG}") if LOG_FILE.fullmatch(name))
        for table in lake.tables()
    }


def committed_files(lake: Lake, table: str) -> list[str]:
    """The keys of the table's data files that were ever committed and still exist."""
    named = Log.read(lake.storage, table).ever_added
    return [f"{table}/{file}" for file in _data_files(lake.storage, table) if file in named]


# -- retention ---------------------------------------------------------------------------------------------


def _kept(
    logs: Mapping[str, Log],
    decisions: str,
    referenced: Iterable[tuple[str, int]],
    config: RetentionConfig,
    now: datetime,
) -> dict[str, dict[int, tuple[str, ...]]]:
    """For each table and version, the reasons to keep it."""
    recent = (now - timedelta(days=config.keep_days)).timestamp() * 1000
    binding = (now - timedelta(days=365.25 * config.decisions_years)).timestamp() * 1000
    decided = [commit for commit in logs.get(decisions, Log()).commits if commit.timestamp_ms >= binding]
    given = {(decisions, commit.version) for commit in decided}
    reasons = {
        CURRENT: {(table, log.commits[-1].version) for table, log in logs.items()},
        RECENT: {(table, version) for table, log in logs.items() for version in log.current_since(recent)},
        # Only the decision's own sources: older batches in its table are decisions themselves.
        DECISION: given
        | _made_from(logs, (made_from for each in decided for made_from in each.provenance.inputs.items())),
        MODEL: _made_from(logs, referenced),
    }
    kept: dict[str, dict[int, tuple[str, ...]]] = {table: {} for table in logs}
    for reason, versions in reasons.items():
        for table, version in sorted(versions):
            kept[table][version] = (*kept[table].get(version, ()), reason)
    return kept


def _made_from(logs: Mapping[str, Log], sources: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
    """The table versions and everything they were made from, as far as they exist."""
    found: set[tuple[str, int]] = set()
    waiting = list(sources)
    while waiting:
        table, version = waiting.pop()
        if (table, version) in found or table not in logs:
            continue
        if not any(commit.version == version for commit in logs[table].commits):
            continue
        found.add((table, version))
        waiting += [made_from for each in logs[table].writers(version) for made_from in each.provenance.inputs.items()]
    return found


# -- maintenance of one table ------------------------------------------------------------------------------


def _folders(lake: Lake, portfolio: str) -> list[str]:
    """The names of the portfolio's tables, including tables whose first writer was killed before committing."""
    names = set(lake.tables(portfolio))
    for key in lake.storage.files(portfolio):
        *folders, name = key.split("/")
        if name.endswith(DATA_FILE) and folders[-1] != LOG:
            names.add("/".join(folders[:-1] if folders[-1].startswith(f"{BATCH}=") else folders))
    return sorted(names)


def _data_files(storage: Storage, table: str) -> list[str]:
    """The Parquet files below the table's folder, relative to it."""
    files = [key.removeprefix(f"{table}/") for key in storage.files(table) if key.endswith(DATA_FILE)]
    return [file for file in files if LOG not in file.split("/")]


def _older(storage: Storage, key: str, before_ms: float) -> bool:
    try:
        return storage.stat(key).modified_ms < before_ms
    except FileNotFoundError:
        return False


def _remove(storage: Storage, key: str, dry_run: bool) -> int:
    """The bytes freed by removing the file."""
    try:
        size = storage.stat(key).size
    except FileNotFoundError:
        # Its writer discarded it.
        return 0
    if not dry_run:
        storage.remove(key)
    return size


def _merge_and_checkpoint(lake: Lake, name: str) -> tuple[tuple[str, ...], bool]:
    """Merge split batches and checkpoint the log. Returns the merged batches, and whether a checkpoint was written."""
    merged = tuple(_compact(lake, name))
    table = lake.open(name)
    if due := table.version() - newest_checkpoint(lake.storage, name) >= CHECKPOINT_AFTER:
        table.create_checkpoint()
    return merged, due


def _compact(lake: Lake, name: str) -> Iterator[str]:
    """Merge the files of each batch (or of the whole table) with several files, and yield the batch.

    This platform writes one file per batch, so other programs wrote these. The commit's metadata has `compacted` and
    no batch, so that the batch's rows still belong to the commit that wrote them. For a table without batches the
    newest commit describes the rows, so its metadata are repeated.
    """
    table = lake.open(name)
    if table.metadata().partition_columns:
        batches = sorted(partition[BATCH] for partition in table.partitions())
        split = [batch for batch in batches if len(table.file_uris(file_pruning_predicate=[(BATCH, "=", batch)])) > 1]
    else:
        split = [""] if len(table.file_uris()) > 1 else []
    for batch in split:
        metadata = {COMPACTED: batch} if batch else _of_whole(lake.storage, name) | {COMPACTED: batch}
        try:
            table.optimize.compact(
                partition_filters=[(BATCH, "=", batch)] if batch else None,
                commit_properties=CommitProperties(custom_metadata=metadata, max_commit_retries=0),
            )
        except CommitFailedError:
            # The batch is being rewritten, so there is nothing to merge.
            continue
        yield batch


def _of_whole(storage: Storage, table: str) -> dict[str, str]:
    """The stored metadata of the newest commit that wrote a table without batches."""
    newest = (each.provenance for each in reversed(read_commits(storage, table)) if each.provenance.batch is not None)
    return next((provenance.to_metadata() for provenance in newest), {})
