"""The upkeep of a portfolio's tables: logs checkpointed, split batches merged, and files that nothing refers to
removed.

Which table versions the registered models name is the caller's to say; the runs of Dagster's instance are
`upkeep/retention.py`'s.
"""

from __future__ import annotations

import json
import os
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError
from filelock import FileLock

from credit_assets.lake.tables import BATCH, Lake
from credit_assets.settings.retention import RetentionConfig

CURRENT, RECENT, DECISION, MODEL = "current", "recent", "decision", "model"
COMPACTED = "compacted"
"""Key of a commit that only merged files: the batch, or the empty word for a whole table."""

# Longer than any run may take between writing a file and committing it.
ORPHANED_AFTER = timedelta(days=1)
# Opening reads the log's entries since its newest checkpoint, about 0.5 ms each.
CHECKPOINT_AFTER = 20

LOG = "_delta_log"
LOG_ENTRY = re.compile(r"(\d{20})\.json")
LOG_FILE = re.compile(r"\d{20}(\.json|\.checkpoint.*\.parquet)")
# What Delta itself writes into a commit; the rest is ours.
DELTAS_OWN = {"timestamp", "operation", "operationParameters", "operationMetrics", "readVersion", "isolationLevel"}
DELTAS_OWN |= {"engineInfo", "clientVersion", "isBlindAppend", "userMetadata", "txnId", "inCommitTimestamp"}


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
    lake.root.mkdir(parents=True, exist_ok=True)
    with FileLock(lake.root / ".maintenance.lock"):
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
        tended = {} if dry_run else {name: _tend(lake.path(name)) for name in names if lake.exists(name)}
        # What is on the disk is listed before the logs are read: a file committed in between has its commit.
        files = {name: _data_files(lake.path(name)) for name in names}
        logs = {name: _Log.read(lake.path(name)) for name in names if lake.exists(name)}
        kept = _kept(logs, decisions, referred, config, now)
        done = []
        for name in names:
            log, folder = logs.get(name, _Log()), lake.path(name)
            needed = log.files(kept.get(name, {}))
            superseded = [file for file in files[name] if file in log.named and file not in needed]
            orphans = [file for file in files[name] if file not in log.named and _orphaned(folder / file, now)]
            freed = sum(_remove(folder / file, dry_run) for file in (*superseded, *orphans))
            version = log.entries[-1].version if log.entries else None
            done.append(
                TableUpkeep(
                    name, version, kept.get(name, {}), tuple(superseded), tuple(orphans), freed, *tended.get(name, ())
                )
            )
    return Summary(tuple(done), dry_run)


def log_files(lake: Lake) -> dict[Path, frozenset[str]]:
    """Each table's log folder with the names of its entries and checkpoints: together, the state of the lake."""
    return {
        folder: frozenset(entry.name for entry in os.scandir(folder) if LOG_FILE.fullmatch(entry.name))
        for folder in (lake.path(table) / LOG for table in lake.tables())
    }


def committed_files(log: Path) -> list[Path]:
    """The data files that a commit of the log ever named and that are still there."""
    return [file for name in sorted(_Log.read(log.parent).named) if (file := log.parent / name).exists()]


# -- what is kept ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """One commit of a log: which files (relative to the table's folder) it added and removed, and its metadata."""

    version: int
    timestamp_ms: int
    metadata: Mapping[str, Any]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def inputs(self) -> list[tuple[str, int]]:
        return list(json.loads(self.metadata.get("inputs", "{}")).items())


@dataclass(frozen=True)
class _Log:
    """A table's log, oldest commit first; `before` are the files there were before the first."""

    entries: tuple[_Entry, ...] = ()
    before: frozenset[str] = frozenset()

    @staticmethod
    def read(folder: Path) -> _Log:
        """The log of the table in the folder, in one pass: opening each version takes a thousand times as long."""
        found = {match[1]: file for file in (folder / LOG).iterdir() if (match := LOG_ENTRY.fullmatch(file.name))}
        entries = tuple(_entry(int(version), found[version].read_text()) for version in sorted(found))
        if not entries or entries[0].version == 0:
            return _Log(entries)
        # The oldest entries have expired; a checkpoint stands for them.
        first = DeltaTable(str(folder), version=entries[0].version)
        files = {os.path.relpath(unquote(uri), folder) for uri in first.file_uris()}
        return _Log(entries, frozenset(files - set(entries[0].added)))

    @property
    def named(self) -> set[str]:
        """Every file that a commit ever added."""
        return {file for file, _, _ in self._spans}

    @cached_property
    def _spans(self) -> list[tuple[str, int, float]]:
        """Each file with the version it came with and the one it went with (infinity for a current one)."""
        spans, present = [], dict.fromkeys(self.before, 0)
        for entry in self.entries:
            spans += [(file, present.pop(file), entry.version) for file in entry.removed if file in present]
            present |= dict.fromkeys(entry.added, entry.version)
        return spans + [(file, came, float("inf")) for file, came in present.items()]

    def files(self, versions: Collection[int]) -> set[str]:
        """The files that the versions consist of."""
        ordered = sorted(versions)
        return {
            file
            for file, came, went in self._spans
            if (at := bisect_left(ordered, came)) < len(ordered) and ordered[at] < went
        }

    def current_since(self, timestamp_ms: float) -> list[int]:
        """The versions that were current at some time since then."""
        ended = [entry.timestamp_ms for entry in self.entries[1:]] + [float("inf")]
        return [entry.version for entry, end in zip(self.entries, ended, strict=True) if end >= timestamp_ms]

    def writers(self, version: int) -> list[_Entry]:
        """The commits that wrote the rows of the version: the newest up to it of each batch."""
        newest = {e.metadata[BATCH]: e for e in self.entries if e.version <= version and BATCH in e.metadata}
        return list(newest.values())


def _entry(version: int, text: str) -> _Entry:
    actions = [json.loads(line) for line in text.splitlines()]
    info: dict[str, Any] = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
    added, removed = (
        tuple(unquote(action[kind]["path"]) for action in actions if kind in action) for kind in ("add", "remove")
    )
    return _Entry(version, int(info.get("timestamp", 0)), info, added, removed)


def _kept(
    logs: Mapping[str, _Log],
    decisions: str,
    referred: Iterable[tuple[str, int]],
    config: RetentionConfig,
    now: datetime,
) -> dict[str, dict[int, tuple[str, ...]]]:
    """Table to version to the reasons for which it is kept."""
    recent = (now - timedelta(days=config.keep_days)).timestamp() * 1000
    binding = (now - timedelta(days=365.25 * config.decisions_years)).timestamp() * 1000
    decided = [entry for entry in logs.get(decisions, _Log()).entries if entry.timestamp_ms >= binding]
    given = {(decisions, entry.version) for entry in decided}
    reasons = {
        CURRENT: {(table, log.entries[-1].version) for table, log in logs.items()},
        RECENT: {(table, version) for table, log in logs.items() for version in log.current_since(recent)},
        # Of a decision its own sources: older batches in its table are their own decisions.
        DECISION: given | _made_from(logs, (source for entry in decided for source in entry.inputs)),
        MODEL: _made_from(logs, referred),
    }
    kept: dict[str, dict[int, tuple[str, ...]]] = {table: {} for table in logs}
    for reason, versions in reasons.items():
        for table, version in sorted(versions):
            kept[table][version] = (*kept[table].get(version, ()), reason)
    return kept


def _made_from(logs: Mapping[str, _Log], sources: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
    """The table versions and all that they were made from, as far as there are such tables and versions."""
    found: set[tuple[str, int]] = set()
    waiting = list(sources)
    while waiting:
        table, version = waiting.pop()
        if (table, version) in found or table not in logs:
            continue
        if not any(entry.version == version for entry in logs[table].entries):
            continue
        found.add((table, version))
        waiting += [source for entry in logs[table].writers(version) for source in entry.inputs]
    return found


# -- what is done ------------------------------------------------------------------------------------------


def _folders(lake: Lake, portfolio: str) -> list[str]:
    """The names of the portfolio's tables, and of those that a first writer was killed before it could make."""
    names = set(lake.tables(portfolio))
    for file in (lake.root / portfolio).rglob("*.parquet"):
        folder = file.parent.parent if file.parent.name.startswith(f"{BATCH}=") else file.parent
        if folder.name != LOG:
            names.add(str(folder.relative_to(lake.root)))
    return sorted(names)


def _data_files(folder: Path) -> list[str]:
    """The Parquet files below the table's folder, relative to it."""
    return sorted(
        str(file.relative_to(folder)) for file in folder.rglob("*.parquet") if LOG not in file.relative_to(folder).parts
    )


def _orphaned(file: Path, now: datetime) -> bool:
    try:
        return file.stat().st_mtime < (now - ORPHANED_AFTER).timestamp()
    except FileNotFoundError:
        return False


def _remove(file: Path, dry_run: bool) -> int:
    """The bytes that are free when the file is gone."""
    try:
        size = file.stat().st_size
        if not dry_run:
            file.unlink()
        return size
    except FileNotFoundError:
        # Its writer thought better of it.
        return 0


def _tend(folder: Path) -> tuple[tuple[str, ...], bool]:
    """Merge what was split and checkpoint the log: which batches were merged, whether there is a new checkpoint."""
    merged = tuple(_compact(folder))
    table = DeltaTable(str(folder))
    try:
        newest = json.loads((folder / LOG / "_last_checkpoint").read_text())["version"]
    except FileNotFoundError:
        newest = -1
    if due := table.version() - newest >= CHECKPOINT_AFTER:
        table.create_checkpoint()
    return merged, due


def _compact(folder: Path) -> Iterator[str]:
    """Merge the files of each batch (or of the whole table) that has several, and name it.

    Our own writers make one file a batch, so these are another writer's. The commit says `compacted` and
    names no batch, so that the batch's rows stay those of the commit that wrote them; the newest commit of
    a table without batches speaks for the table, so there its metadata are repeated.
    """
    table = DeltaTable(str(folder))
    if table.metadata().partition_columns:
        batches = sorted(partition[BATCH] for partition in table.partitions())
        split = [batch for batch in batches if len(table.file_uris(file_pruning_predicate=[(BATCH, "=", batch)])) > 1]
    else:
        split = [""] if len(table.file_uris()) > 1 else []
    for batch in split:
        told = {COMPACTED: batch} if batch else _of_whole(table) | {COMPACTED: batch}
        try:
            table.optimize.compact(
                partition_filters=[(BATCH, "=", batch)] if batch else None,
                commit_properties=CommitProperties(custom_metadata=told, max_commit_retries=0),
            )
        except CommitFailedError:
            # The batch is being written again, which leaves nothing to merge.
            continue
        yield batch


def _of_whole(table: DeltaTable) -> dict[str, str]:
    """Our metadata of the newest commit that wrote a table without batches."""
    newest: dict[str, Any] = next((entry for entry in table.history() if BATCH in entry), {})
    return {key: value for key, value in newest.items() if key not in DELTAS_OWN and isinstance(value, str)}
