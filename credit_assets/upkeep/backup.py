"""A project's state in one archive, taken while its services run, and restored here or elsewhere.

The archive does not contain secrets (`.env`), or databases on servers, which it names.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from credit_assets.ingest.inbox import Inbox
from credit_assets.ingest.snapshots import NAME, sha256_of
from credit_assets.lake.maintenance import committed_files, log_files, maintenance_paused
from credit_assets.lake.storage import LOG
from credit_assets.lake.tables import Lake
from credit_assets.plurals import are, number_of
from credit_assets.registry.relocation import relocate
from credit_assets.settings.project import Project, code_version

FORMAT = 1
MANIFEST = "manifest.json"
OF_THE_PROJECT = ("configs", "sql", "dagster.yaml", "workspace.yaml", ".env.example")
# Locks, what SQLite keeps beside a database in use, and deliveries that are not whole yet.
PASSING = re.compile(
    r"\.?lock|.*\.lock|\.(swapping|delivering|remembering|incoming|ready|cutting|unpacking|unpacked-.*)|.*-(wal|shm|journal)"
)
SQLITE = b"SQLite format 3\0"
SECONDS_TO_WAIT = 60
MOMENTS = 300


class BackupError(RuntimeError):
    """No backup could be made, or this one cannot be restored; the message says why and what to do."""


@dataclass(frozen=True)
class Backup:
    """What was written, and, as text, what the archive does not contain and must be saved in another way."""

    archive: Path
    files: int
    size: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Restored:
    """A restored project: its files, when it was saved and by which code, and what remains to be done."""

    project: Project
    files: int
    made_at: str
    code_version: str
    left_out: tuple[str, ...]


# -- saving ------------------------------------------------------------------------------------------------


def backup(project: Project, archive: Path) -> Backup:
    """Write the state of the project to the archive, an uncompressed tar; services may continue meanwhile.

    Dagster's and MLflow's databases and the logs of the lake's tables refer to one another, so they are read as of one
    moment, at which nothing was committed to any of them. What they refer to is written before them, and only upkeep
    removes it, which waits; so it is copied after them: data files, models, event logs of runs, reports. Deliveries
    come last: one that arrives meanwhile is a new delivery. Raises BackupError if the archive would be part of itself,
    or no such moment was found.
    """
    archive = archive.absolute()
    if archive.resolve().is_relative_to(project.data.resolve()):
        raise BackupError(f"{archive} lies in {project.data}, which is what is saved; choose another place.")
    if not archive.parent.is_dir():
        raise BackupError(f"There is no folder {archive.parent} to write a backup to.")
    partial, lake = archive.with_name(f"{archive.name}.part"), Lake(project.lake)
    left_out = tuple(_elsewhere(project))
    try:
        with (
            maintenance_paused(lake),
            tempfile.TemporaryDirectory(prefix=".backup-", dir=archive.parent) as scratch,
            open(partial, "wb", opener=_private) as file,
        ):
            writing = _Writing(file, project.root, Path(scratch))
            _write_state(writing, project, lake)
            _write_deliveries(writing, project.inbox)
            for name in OF_THE_PROJECT:
                for path in _walk(project.root / name):
                    writing.add(path)
            writing.finish(left_out)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(archive)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return Backup(archive, len(writing.sha256), archive.stat().st_size, left_out)


def _write_state(writing: _Writing, project: Project, lake: Lake) -> None:
    """Everything under data/ except the inbox: first what refers, as of one moment, then what it refers to."""
    skipped = (project.lake, project.inbox, project.spill)
    files = [path for path in _walk(project.data) if not any(path.is_relative_to(folder) for folder in skipped)]
    databases = [path for path in files if _is_sqlite(path)]
    # A run's own events are written before the instance's databases tell of them; a study is nobody's source.
    of_their_own = {path for path in databases if _is_of_a_run(path) or path.is_relative_to(project.studies)}
    at_once = [path for path in databases if path not in of_their_own]
    with _one_moment(at_once, lake) as (connections, logs):
        # MLflow first: its database has no write-ahead log, so that its writers wait for us.
        for path in sorted(at_once, key=lambda path: not path.is_relative_to(project.data / "mlflow")):
            writing.add_database(path, connections[path])
            connections[path].close()
    for table, names in logs.items():
        entries = [f"{table}/{LOG}/{name}" for name in sorted(names)]
        for key in [*entries, *committed_files(lake, table)]:
            writing.add(project.lake / key, open_content=partial(lake.storage.open, key))
    for path in files:
        if path in of_their_own:
            with suppress(FileNotFoundError), closing(_connect(path)) as connection:
                writing.add_database(path, connection)
        elif path not in at_once:
            writing.add(path)


class _OnTheMove(Exception):
    """Something was committed while the databases were being opened."""


@contextmanager
def _one_moment(
    databases: list[Path], lake: Lake
) -> Iterator[tuple[dict[Path, sqlite3.Connection], dict[str, frozenset[str]]]]:
    """Connections that read each database as of one moment, and the lake's logs as of then.

    Each connection fixes its database by an open read transaction. It is one moment if nothing was committed from
    before the first was opened until after the last; otherwise it is tried again.
    """

    @retry(
        retry=retry_if_exception_type(_OnTheMove),
        stop=stop_after_attempt(MOMENTS),
        wait=wait_random(0, 0.2),
        reraise=True,
    )
    def hold() -> tuple[ExitStack, dict[Path, sqlite3.Connection], dict[str, frozenset[str]]]:
        with ExitStack() as watching, ExitStack() as holding:
            watchers = [watching.enter_context(closing(_connect(path))) for path in databases]

            def look() -> tuple[list[int], dict[str, frozenset[str]]]:
                changes = [watcher.execute("PRAGMA data_version").fetchone()[0] for watcher in watchers]
                return changes, log_files(lake)

            before = look()
            connections = {path: holding.enter_context(closing(_connect(path))) for path in databases}
            for connection in connections.values():
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if look() != before:
                raise _OnTheMove
            return holding.pop_all(), connections, before[1]

    try:
        held, connections, logs = hold()
    except _OnTheMove:
        raise BackupError(
            f"Something was written to tables or databases at every one of {MOMENTS} looks; "
            "make the backup when less is going on."
        ) from None
    with held:
        yield connections, logs


class _Writing:
    """The archive while it is written: the SHA-256 of every file, by its path in the project."""

    def __init__(self, file: BinaryIO, root: Path, scratch: Path) -> None:
        # dereference: a file that has two names is written twice, not as a link.
        self.tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, dereference=True)
        self.root, self.scratch = root, scratch
        self.sha256: dict[str, str] = {}

    def add(self, path: Path, open_content: Callable[[], BinaryIO] | None = None) -> None:
        """Write the file (or other content as it); one that has disappeared since it was found is skipped."""
        name = path.relative_to(self.root).as_posix()
        try:
            content = open_content() if open_content else path.open("rb")
        except FileNotFoundError:
            return
        with content:
            info = self.tar.gettarinfo(arcname=name, fileobj=content)
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            read = _Hashed(content)
            # As long as it was when it was opened: a log may grow.
            self.tar.addfile(info, read)
        self.sha256[name] = read.digest.hexdigest()

    def add_database(self, path: Path, connection: sqlite3.Connection) -> None:
        """Write the database as the connection sees it."""
        copy = self.scratch / "database"
        with closing(sqlite3.connect(copy)) as target:
            connection.backup(target)
        self.add(path, open_content=lambda: copy.open("rb"))
        copy.unlink()

    def finish(self, left_out: tuple[str, ...]) -> None:
        """Write the manifest, which marks a complete archive."""
        manifest = {
            "format": FORMAT,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "code_version": code_version(),
            "root": str(self.root),
            "left_out": left_out,
            "files": self.sha256,
        }
        content = json.dumps(manifest, indent=1).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size = len(content)
        self.tar.addfile(info, io.BytesIO(content))
        self.tar.close()


class _Hashed(io.RawIOBase):
    """A file whose SHA-256 is computed as it is read."""

    def __init__(self, content: BinaryIO) -> None:
        self.content, self.digest = content, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self.content.read(size)
        self.digest.update(block)
        return block


def _write_deliveries(writing: _Writing, inbox: Path) -> None:
    """The inbox: each batch while nothing is moved into place, and what corrections replaced after it.

    A correction that arrives in between leaves its batch in the archive either as it was before, or as it is now.
    """
    for home in sorted(folder for folder in inbox.glob("*") if folder.is_dir() and NAME.fullmatch(folder.name)):
        entries = sorted(entry for entry in home.iterdir() if not PASSING.fullmatch(entry.name))
        for entry in sorted(entries, key=lambda entry: entry.name.startswith(".")):
            with nullcontext() if entry.name.startswith(".") else Inbox(inbox).settled(home.name):
                for path in _walk(entry):
                    writing.add(path)


def _elsewhere(project: Project) -> Iterator[str]:
    """What belongs to the project's state and is on a server, as text."""
    storage = yaml.safe_load((project.root / "dagster.yaml").read_text()).get("storage", {"sqlite": {}})
    if not storage.keys() & {"sqlite", "custom"}:
        yield (
            f"Dagster's instance is in {', '.join(storage)} (dagster.yaml). Dump it BEFORE this backup, so that the "
            "lake holds all it tells of: pg_dump --format=custom."
        )
    if os.environ.get("MLFLOW_TRACKING_URI"):
        yield (
            "Models and their registry are on an MLflow server (MLFLOW_TRACKING_URI). Save its database and then its "
            "artifacts with its own means, at the time of this backup."
        )


def _walk(top: Path) -> Iterator[Path]:
    """The files below (or the file itself), in order, without temporary ones."""
    if top.is_file():
        yield top
    for folder, folders, files in os.walk(top, followlinks=True):
        folders[:] = sorted(name for name in folders if not PASSING.fullmatch(name))
        yield from (Path(folder, name) for name in sorted(files) if not PASSING.fullmatch(name))


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as content:
            return content.read(len(SQLITE)) == SQLITE
    except FileNotFoundError:
        return False


def _is_of_a_run(path: Path) -> bool:
    """Whether it is the event log of a single run, which Dagster keeps beside the index of all."""
    return path.name != "index.db" and path.with_name("index.db").exists()


def _connect(database: Path) -> sqlite3.Connection:
    """A connection to an existing database; raises FileNotFoundError if it no longer exists."""
    try:
        return sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=SECONDS_TO_WAIT, isolation_level=None)
    except sqlite3.OperationalError:
        if not database.exists():
            raise FileNotFoundError(database) from None
        raise


def _private(path: str, flags: int) -> int:
    """Open for the owner only: the archive contains personal data."""
    return os.open(path, flags, 0o600)


# -- restoring ---------------------------------------------------------------------------------------------


def restore(archive: Path, folder: Path) -> Restored:
    """Restore the saved project to the folder, which must not exist, or be empty.

    Every file is verified against the SHA-256 in the archive's manifest before the folder gets its name, and if the
    project was saved elsewhere, MLflow's database gets the new location of its models. Raises BackupError for a folder
    in use and an archive that is incomplete, altered or not ours.
    """
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder} is not empty; restore to a new folder.")
    if not archive.is_file():
        raise BackupError(f"There is no backup {archive}.")
    being_made = folder.with_name(f".{folder.name}.restoring")
    shutil.rmtree(being_made, ignore_errors=True)
    being_made.mkdir(parents=True)
    try:
        manifest = _unpack(archive, being_made)
        relocate(being_made / "data" / "mlflow" / "mlflow.db", Path(manifest["root"]), folder)
        if folder.exists():
            folder.rmdir()
        being_made.rename(folder)
    except BaseException:
        shutil.rmtree(being_made, ignore_errors=True)
        raise
    return Restored(
        Project(folder),
        len(manifest["files"]),
        manifest["made_at"],
        manifest["code_version"],
        tuple(manifest["left_out"]),
    )


def _unpack(archive: Path, folder: Path) -> Mapping[str, Any]:
    """Extract everything, and verify it against the manifest, which is returned."""
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if not member.isreg():
                    raise BackupError(
                        f"{archive} holds {member.name}, which is no plain file: it is no backup of ours."
                    )
                _put(tar, member, folder, archive)
    except tarfile.TarError as error:
        raise BackupError(f"{archive} is not whole, or no backup: {error}. Take another.") from error
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except (FileNotFoundError, ValueError) as error:
        raise BackupError(f"{archive} is not whole, or no backup: its manifest is missing. Take another.") from error
    if manifest["format"] != FORMAT:
        raise BackupError(f"{archive} is of format {manifest['format']}, made by another release.")
    (folder / MANIFEST).unlink()
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    wrong = sorted(found.keys() ^ manifest["files"].keys())
    wrong += [name for name, sha256 in manifest["files"].items() if name in found and sha256_of(found[name]) != sha256]
    if wrong:
        raise BackupError(
            f"{archive} was altered: {number_of(len(wrong), 'file')} {are(len(wrong))} not as saved, first {wrong[0]}."
        )
    return manifest


def _put(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, archive: Path) -> None:
    """Write the member, a plain file, below the folder. (tarfile's own filters came with Python 3.11.4.)"""
    target = folder / member.name
    if not target.resolve().is_relative_to(folder.resolve()):
        raise BackupError(f"{archive} would write outside of the folder ({member.name}): it is no backup of ours.")
    target.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None
    with content, target.open("wb") as writing:
        shutil.copyfileobj(content, writing)
    # Who may run it, and its owner's rights; never more.
    target.chmod(member.mode & 0o755 | 0o600)
    os.utime(target, (member.mtime, member.mtime))
