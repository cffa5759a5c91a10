"""The upkeep of a portfolio's tables: logs checkpointed, split batches merged, and files that nothing refers to
removed.

Which table versions the registered models name is the caller's to say; the runs of Dagster's instance are
`upkeep/retention.py`'s.
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
"""Key of a commit that only merged files: the batch, or the empty word for a whole table."""

# Longer than any run may take between writing a file and committing it.
ORPHANED_AFTER = timedelta(days=1)
# Opening reads the log's entries since its newest checkpoint, about 0.5 ms each.
CHECKPOINT_AFTER = 20

LOG_FILE = re.compile(r"\d{20}(\.json|\.checkpoint.*\.parquet)")
DATA_FILE = ".parquet"


@dataclass(frozen=True)
class TableUpkeep:
    """What was done to one table: its version after it, the versions that can still be read with the reasons
    why, files removed that only other versions had (`superseded`) or that were never committed (`orphans`),
    their bytes, the batches whose files were merged, and whether the log got a checkpoint."""

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
    """The upkeep of all tables; of a dry run, what it would have been (nothing is merged or checkpointed in one)."""

    tables: tuple[TableUpkeep, ...]
    dry_run: bool

    @property
    def files_removed(self) -> int:
        return sum(len(table.superseded) + len(table.orphans) for table in self.tables)

    @property
    def bytes_freed(self) -> int:
        return sum(table.bytes_freed for table in self.tables)

    def versions_kept(self) -> dict[str, int]:
        """Reason to the number of table versions kept for it; a version may be kept for several."""
        reasons = [reason for table in self.tables for why in table.kept.values() for reason in why]
        return {reason: reasons.count(reason) for reason in (CURRENT, RECENT, DECISION, MODEL)}


@contextmanager
def undisturbed(lake: Lake) -> Iterator[None]:
    """No upkeep goes on while this lasts: whatever was readable at its start is so until its end."""
    with lake.storage.lock("maintenance"):
        yield


def maintain(
    lake: Lake,
    portfolio: str,
    decisions: str,
    referred: Iterable[tuple[str, int]],
    config: RetentionConfig,
    now: datetime,
    dry_run: bool = False,
) -> Summary:
    """Merge, checkpoint and clear all tables of the portfolio; writers and readers may go on meanwhile.

    A version is kept, whole, if it is the current one or was within `keep_days`; if it is a version of
    the table `decisions` written within `decisions_years`; if `referred` (what registered models name)
    holds it; or if a kept decision or model was made from it, however far back: each commit names the
    versions of its `inputs`. Files of no kept version are removed, and files that no commit ever named,
    a day after they were written. No commit is made for a removal, so the removed versions stay in the
    history, and reading one says which file is gone. `now` is aware of its time zone.
    """
    with undisturbed(lake):
        names = _folders(lake, portfolio)
        tended = {} if dry_run else {name: _tend(lake, name) for name in names if lake.exists(name)}
        # What is on the storage is listed before the logs are read: a file committed in between has its commit.
        files = {name: _data_files(lake.storage, name) for name in names}
        logs = {name: Log.read(lake.storage, name) for name in names if lake.exists(name)}
        kept = _kept(logs, decisions, referred, config, now)
        done = []
        for name in names:
            log, orphaned_before = logs.get(name, Log()), (now - ORPHANED_AFTER).timestamp() * 1000
            needed = log.files(kept.get(name, {}))
            superseded = [file for file in files[name] if file in log.named and file not in needed]
            orphans = [
                file
                for file in files[name]
                if file not in log.named and _older(lake.storage, f"{name}/{file}", orphaned_before)
            ]
            # Not DeltaTable.vacuum: it commits twice a call, even if there is nothing to remove.
            freed = sum(_remove(lake.storage, f"{name}/{file}", dry_run) for file in (*superseded, *orphans))
            version = log.commits[-1].version if log.commits else None
            done.append(
                TableUpkeep(
                    name, version, kept.get(name, {}), tuple(superseded), tuple(orphans), freed, *tended.get(name, ())
                )
            )
    return Summary(tuple(done), dry_run)


def log_files(lake: Lake) -> dict[str, frozenset[str]]:
    """Each table with the names of its log's entries and checkpoints: together, the state of the lake."""
    return {
        table: frozenset(name for name in lake.storage.names(f"{table}/{LOG}") if LOG_FILE.fullmatch(name))
        for table in lake.tables()
    }


def committed_files(lake: Lake, table: str) -> list[str]:
    """The keys of the data files that a commit of the table ever named and that are still there."""
    named = Log.read(lake.storage, table).named
    return [f"{table}/{file}" for file in _data_files(lake.storage, table) if file in named]


# -- what is kept ------------------------------------------------------------------------------------------


def _kept(
    logs: Mapping[str, Log],
    decisions: str,
    referred: Iterable[tuple[str, int]],
    config: RetentionConfig,
    now: datetime,
) -> dict[str, dict[int, tuple[str, ...]]]:
    """Table to version to the reasons for which it is kept."""
    recent = (now - timedelta(days=config.keep_days)).timestamp() * 1000
    binding = (now - timedelta(days=365.25 * config.decisions_years)).timestamp() * 1000
    decided = [commit for commit in logs.get(decisions, Log()).commits if commit.timestamp_ms >= binding]
    given = {(decisions, commit.version) for commit in decided}
    reasons = {
        CURRENT: {(table, log.commits[-1].version) for table, log in logs.items()},
        RECENT: {(table, version) for table, log in logs.items() for version in log.current_since(recent)},
        # Of a decision its own sources: older batches in its table are their own decisions.
        DECISION: given
        | _made_from(logs, (made_from for each in decided for made_from in each.provenance.inputs.items())),
        MODEL: _made_from(logs, referred),
    }
    kept: dict[str, dict[int, tuple[str, ...]]] = {table: {} for table in logs}
    for reason, versions in reasons.items():
        for table, version in sorted(versions):
            kept[table][version] = (*kept[table].get(version, ()), reason)
    return kept


def _made_from(logs: Mapping[str, Log], sources: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
    """The table versions and all that they were made from, as far as there are such tables and versions."""
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


# -- what is done ------------------------------------------------------------------------------------------


def _folders(lake: Lake, portfolio: str) -> list[str]:
    """The names of the portfolio's tables, and of those that a first writer was killed before it could make."""
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
    """The bytes that are free when the file is gone."""
    try:
        size = storage.stat(key).size
    except FileNotFoundError:
        # Its writer thought better of it.
        return 0
    if not dry_run:
        storage.remove(key)
    return size


def _tend(lake: Lake, name: str) -> tuple[tuple[str, ...], bool]:
    """Merge what was split and checkpoint the log: which batches were merged, whether there is a new checkpoint."""
    merged = tuple(_compact(lake, name))
    table = lake.open(name)
    if due := table.version() - newest_checkpoint(lake.storage, name) >= CHECKPOINT_AFTER:
        table.create_checkpoint()
    return merged, due


def _compact(lake: Lake, name: str) -> Iterator[str]:
    """Merge the files of each batch (or of the whole table) that has several, and name it.

    Our own writers make one file a batch, so these are another writer's. The commit says `compacted` and
    names no batch, so that the batch's rows stay those of the commit that wrote them; the newest commit of
    a table without batches speaks for the table, so there its metadata are repeated.
    """
    table = lake.open(name)
    if table.metadata().partition_columns:
        batches = sorted(partition[BATCH] for partition in table.partitions())
        split = [batch for batch in batches if len(table.file_uris(file_pruning_predicate=[(BATCH, "=", batch)])) > 1]
    else:
        split = [""] if len(table.file_uris()) > 1 else []
    for batch in split:
        told = {COMPACTED: batch} if batch else _of_whole(lake.storage, name) | {COMPACTED: batch}
        try:
            table.optimize.compact(
                partition_filters=[(BATCH, "=", batch)] if batch else None,
                commit_properties=CommitProperties(custom_metadata=told, max_commit_retries=0),
            )
        except CommitFailedError:
            # The batch is being written again, which leaves nothing to merge.
            continue
        yield batch


def _of_whole(storage: Storage, table: str) -> dict[str, str]:
    """What the newest commit that wrote a table without batches says of its rows, as a commit stores it."""
    newest = (each.provenance for each in reversed(read_commits(storage, table)) if each.provenance.batch is not None)
    return next((provenance.to_metadata() for provenance in newest), {})
