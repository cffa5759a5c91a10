"""The logs of Delta tables, read in one place: which commit wrote which files, when, and with which provenance.

Delta itself writes them. `provenance.py` interprets the provenance of a commit.
"""

from __future__ import annotations

import json
import re
import threading
from bisect import bisect_left
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from deltalake import DeltaTable

from credit_assets.lake.provenance import Provenance
from credit_assets.lake.storage import LOG, Storage

ENTRY = re.compile(r"\d{20}\.json")


@dataclass(frozen=True)
class Commit:
    """One entry of a table's log: its version, its time (zero if it has none), the provenance of its rows, and the
    files, relative to the table's folder, that it added and removed."""

    version: int
    timestamp_ms: int
    provenance: Provenance
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Log:
    """A table's log, oldest commit first; `before` are the files that existed before the first."""

    commits: tuple[Commit, ...] = ()
    before: frozenset[str] = frozenset()

    @staticmethod
    def read(storage: Storage, table: str) -> Log:
        """The log, read in one pass: opening every version would take a thousand times as long."""
        commits = read_commits(storage, table)
        if not commits or commits[0].version == 0:
            return Log(commits)
        # The oldest entries have expired; a checkpoint replaces them.
        first = DeltaTable(storage.address(table), version=commits[0].version, storage_options=dict(storage.options))
        files = {storage.key(address).removeprefix(f"{table}/") for address in first.file_uris()}
        return Log(commits, frozenset(files - set(commits[0].added)))

    @cached_property
    def ever_added(self) -> set[str]:
        """Every file that a commit ever added."""
        return {file for file, _, _ in self._spans}

    @cached_property
    def _spans(self) -> list[tuple[str, int, float]]:
        """Each file with the versions that added and removed it (infinity for a current file)."""
        spans, present = [], dict.fromkeys(self.before, 0)
        for commit in self.commits:
            spans += [(file, present.pop(file), commit.version) for file in commit.removed if file in present]
            present |= dict.fromkeys(commit.added, commit.version)
        return spans + [(file, added_at, float("inf")) for file, added_at in present.items()]

    def files(self, versions: Collection[int]) -> set[str]:
        """The files that the versions consist of."""
        ordered = sorted(versions)
        return {
            file
            for file, added_at, removed_at in self._spans
            if (at := bisect_left(ordered, added_at)) < len(ordered) and ordered[at] < removed_at
        }

    def current_since(self, timestamp_ms: float) -> list[int]:
        """The versions that were current at any time since then."""
        ended = [commit.timestamp_ms for commit in self.commits[1:]] + [float("inf")]
        return [commit.version for commit, end in zip(self.commits, ended, strict=True) if end >= timestamp_ms]

    def writers(self, version: int) -> list[Commit]:
        """The commits that wrote the rows of the version: for each batch, the newest one up to it."""
        newest = {each.provenance.batch: each for each in self.commits if each.version <= version}
        return [commit for batch, commit in newest.items() if batch is not None]


def newest_checkpoint(storage: Storage, table: str) -> int:
    """The version of the log's last checkpoint; -1 if there is none."""
    try:
        return int(json.loads(storage.read(f"{table}/{LOG}/_last_checkpoint"))["version"])
    except FileNotFoundError:
        return -1


def by_batch(commits: Iterable[Commit], withdrawn: bool = False) -> dict[str, list[Commit]]:
    """The commits by batch, newest first: only those since the batch was withdrawn, or all of them (`withdrawn`)."""
    of_batch: dict[str, list[Commit]] = {}
    ended: set[str] = set()
    for commit in commits:
        batch = commit.provenance.batch
        if not batch or batch in ended:
            continue
        if commit.provenance.withdrawn is None:
            of_batch.setdefault(batch, []).append(commit)
        elif not withdrawn:
            ended.add(batch)
    return of_batch


# -- log entries, each read once by a process ------------------------------------------------------


@dataclass(frozen=True)
class _Known:
    """The part of a table's log read so far: its commits by file name, and the newest file."""

    commits: Mapping[str, Commit]
    newest: str
    identity: Hashable


# `DeltaTable.history` reads the whole log on every call: 0.3 s for 500 commits, for each of 17 tables.
_KNOWN: dict[str, _Known] = {}
_READING = threading.Lock()


def read_commits(storage: Storage, table: str) -> tuple[Commit, ...]:
    """All commits of the table, oldest first; empty if there is no table.

    Log entries never change, so each is read once. The cache is cleared if the newest known entry is gone or is another
    file, because the table was removed, and perhaps created again.
    """
    log, table_address = f"{table}/{LOG}", storage.address(table)
    with _READING:
        known = _KNOWN.pop(table_address, None)
        # Names sort by version.
        names = [name for name in storage.names(log) if ENTRY.fullmatch(name)]
        if not names:
            return ()
        try:
            identity = storage.stat(f"{log}/{names[-1]}").identity
            if known and (known.newest > names[-1] or storage.stat(f"{log}/{known.newest}").identity != known.identity):
                known = None
        except FileNotFoundError:
            return ()
        commits = {}
        for name in names:
            if commit := (known and known.commits.get(name)) or _read_entry(storage, table, name):
                commits[name] = commit
        _KNOWN[table_address] = _Known(commits, names[-1], identity)
        return tuple(commits.values())


def _read_entry(storage: Storage, table: str, name: str) -> Commit | None:
    """The entry's commit; None if log cleanup has just removed it."""
    try:
        content = storage.read(f"{table}/{LOG}/{name}")
    except FileNotFoundError:
        return None
    version = int(name.partition(".")[0])
    info: dict[str, Any] = {}
    files: dict[str, list[str]] = {"add": [], "remove": []}
    for line in content.splitlines():
        for kind, action in json.loads(line).items():
            if kind == "commitInfo":
                info = action
            elif kind in files:
                files[kind].append(unquote(action["path"]))
    provenance = Provenance.from_metadata(table, version, info)
    return Commit(version, int(info.get("timestamp", 0)), provenance, tuple(files["add"]), tuple(files["remove"]))
