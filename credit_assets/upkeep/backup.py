"""Backup of a project to one archive while its services run, and restore from it, to any folder or machine.

The archive does not contain secrets (`.env`) or databases on servers; it lists the latter.
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
PROJECT_FILES = ("configs", "sql", "dagster.yaml", "workspace.yaml", ".env.example")
# Locks, SQLite's companions of a database in use, and incomplete deliveries.
TEMPORARY = re.compile(
    r"\.?lock|.*\.lock|\.(swapping|delivering|remembering|incoming|ready|cutting|unpacking|unpacked-.*)|.*-(wal|shm|journal)"
)
SQLITE = b"SQLite format 3\0"
SECONDS_TO_WAIT = 60
SNAPSHOT_ATTEMPTS = 300


class BackupError(RuntimeError):
    """A backup cannot be made or restored; the message states why and what to do."""


@dataclass(frozen=True)
class Backup:
    """A written archive. `left_out` lists, as text, what it does not contain and must be saved in another way."""

    archive: Path
    files: int
    size: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Restored:
    """A restored project: its number of files, when and by which release it was saved, and what must be restored
    separately."""

    project: Project
    files: int
    made_at: str
    code_version: str
    left_out: tuple[str, ...]


# -- saving ------------------------------------------------------------------------------------------------


def backup(project: Project, archive: Path) -> Backup:
    """Write the state of the project to the archive, an uncompressed tar. Services may continue meanwhile.

    The databases of Dagster and MLflow and the logs of the lake's tables refer to one another, so they are read as of
    one moment. The files that they refer to (data files, models, event logs of runs, reports) are copied after them:
    services write such files before they refer to them, and only upkeep, which waits for the backup, removes them.
    Deliveries come last, because one that arrives meanwhile is a new delivery. Raises BackupError if the archive would
    be part of itself, or if the databases are written to too often for a consistent snapshot.
    """
    archive = archive.absolute()
    if archive.resolve().is_relative_to(project.data.resolve()):
        raise BackupError(f"{archive} is in {project.data}, which is to be backed up. Choose another folder.")
    if not archive.parent.is_dir():
        raise BackupError(f"There is no folder {archive.parent} to write a backup to.")
    partial, lake = archive.with_name(f"{archive.name}.part"), Lake(project.lake)
    left_out = tuple(_on_servers(project))
    try:
        with (
            maintenance_paused(lake),
            tempfile.TemporaryDirectory(prefix=".backup-", dir=archive.parent) as scratch,
            open(partial, "wb", opener=_private) as file,
        ):
            writer = _ArchiveWriter(file, project.root, Path(scratch))
            _write_state(writer, project, lake)
            _write_deliveries(writer, project.inbox)
            for name in PROJECT_FILES:
                for path in _walk(project.root / name):
                    writer.add(path)
            writer.finish(left_out)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(archive)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return Backup(archive, len(writer.sha256), archive.stat().st_size, left_out)


def _write_state(writer: _ArchiveWriter, project: Project, lake: Lake) -> None:
    """Write data/ without the inbox: first databases and logs, as of one moment, then the files that they refer to."""
    skipped = (project.lake, project.inbox, project.spill)
    files = [path for path in _walk(project.data) if not any(path.is_relative_to(folder) for folder in skipped)]
    databases = [path for path in files if _is_sqlite(path)]
    # The event log of a run is written before the instance's databases refer to it, and nothing refers to studies.
    independent = {path for path in databases if _is_of_a_run(path) or path.is_relative_to(project.studies)}
    consistent = [path for path in databases if path not in independent]
    with _snapshot(consistent, lake) as (connections, logs):
        # MLflow first: its database has no write-ahead log, so its writers wait for the backup.
        for path in sorted(consistent, key=lambda path: not path.is_relative_to(project.data / "mlflow")):
            writer.add_database(path, connections[path])
            connections[path].close()
    for table, names in logs.items():
        entries = [f"{table}/{LOG}/{name}" for name in sorted(names)]
        for key in [*entries, *committed_files(lake, table)]:
            writer.add(project.lake / key, open_content=partial(lake.storage.open, key))
    for path in files:
        if path in independent:
            with suppress(FileNotFoundError), closing(_connect(path)) as connection:
                writer.add_database(path, connection)
        elif path not in consistent:
            writer.add(path)


class _ChangedMeanwhile(Exception):
    """A commit happened while the databases were being opened."""


@contextmanager
def _snapshot(
    databases: list[Path], lake: Lake
) -> Iterator[tuple[dict[Path, sqlite3.Connection], dict[str, frozenset[str]]]]:
    """Connections that read all databases as of one moment, and the files of the lake's logs at that moment.

    An open read transaction keeps the state of each database. If nothing was committed from before the first
    transaction until after the last, they show the same moment; otherwise it is tried again.
    """

    @retry(
        retry=retry_if_exception_type(_ChangedMeanwhile),
        stop=stop_after_attempt(SNAPSHOT_ATTEMPTS),
        wait=wait_random(0, 0.2),
        reraise=True,
    )
    def hold() -> tuple[ExitStack, dict[Path, sqlite3.Connection], dict[str, frozenset[str]]]:
        with ExitStack() as watching, ExitStack() as holding:
            watchers = [watching.enter_context(closing(_connect(path))) for path in databases]

            def state() -> tuple[list[int], dict[str, frozenset[str]]]:
                changes = [watcher.execute("PRAGMA data_version").fetchone()[0] for watcher in watchers]
                return changes, log_files(lake)

            before = state()
            connections = {path: holding.enter_context(closing(_connect(path))) for path in databases}
            for connection in connections.values():
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if state() != before:
                raise _ChangedMeanwhile
            return holding.pop_all(), connections, before[1]

    try:
        held, connections, logs = hold()
    except _ChangedMeanwhile:
        raise BackupError(
            f"Tables or databases were written to during each of {SNAPSHOT_ATTEMPTS} attempts at a snapshot. "
            "Make the backup when fewer runs are active."
        ) from None
    with held:
        yield connections, logs


class _ArchiveWriter:
    """Writes the archive, and collects the SHA-256 of every file by its path in the project."""

    def __init__(self, file: BinaryIO, root: Path, scratch: Path) -> None:
        # dereference: a file with two names is written twice, not as a hard link.
        self.tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, dereference=True)
        self.root, self.scratch = root, scratch
        self.sha256: dict[str, str] = {}

    def add(self, path: Path, open_content: Callable[[], BinaryIO] | None = None) -> None:
        """Write the file, or other content under its name. A file that has disappeared meanwhile is skipped."""
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
            # Reads only the size at opening, because a log may grow.
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


def _write_deliveries(writer: _ArchiveWriter, inbox: Path) -> None:
    """Write the inbox: each batch under its lock, then the files that corrections have replaced.

    If a correction arrives meanwhile, the archive contains its batch either before or after it.
    """
    for home in sorted(folder for folder in inbox.glob("*") if folder.is_dir() and NAME.fullmatch(folder.name)):
        entries = sorted(entry for entry in home.iterdir() if not TEMPORARY.fullmatch(entry.name))
        for entry in sorted(entries, key=lambda entry: entry.name.startswith(".")):
            with nullcontext() if entry.name.startswith(".") else Inbox(inbox).swaps_locked(home.name):
                for path in _walk(entry):
                    writer.add(path)


def _on_servers(project: Project) -> Iterator[str]:
    """The parts of the project's state that are on servers, as text."""
    storage = yaml.safe_load((project.root / "dagster.yaml").read_text()).get("storage", {"sqlite": {}})
    ours = str(storage.get("custom", {}).get("module")).startswith("credit_assets.")
    if "sqlite" not in storage and not ours:
        yield (
            f"Dagster's instance is in {', '.join(storage)} (dagster.yaml). Dump it BEFORE this backup, so that the "
            "lake contains everything that it refers to: pg_dump --format=custom."
        )
    if os.environ.get("MLFLOW_TRACKING_URI"):
        yield (
            "Models and their registry are on an MLflow server (MLFLOW_TRACKING_URI). Save its database and then its "
            "artifacts with the tools of that server, at the time of this backup."
        )


def _walk(top: Path) -> Iterator[Path]:
    """The files below the folder (or the file itself), sorted, without temporary ones."""
    if top.is_file():
        yield top
    for folder, folders, files in os.walk(top, followlinks=True):
        folders[:] = sorted(name for name in folders if not TEMPORARY.fullmatch(name))
        yield from (Path(folder, name) for name in sorted(files) if not TEMPORARY.fullmatch(name))


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as content:
            return content.read(len(SQLITE)) == SQLITE
    except FileNotFoundError:
        return False


def _is_of_a_run(path: Path) -> bool:
    """Whether the file is the event log of a single run, which Dagster stores beside the index of all runs."""
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
    """Restore the project to the folder, which must not exist or must be empty.

    Every file is verified against the SHA-256 in the archive's manifest before the folder appears. If the project was
    saved in another folder, the locations of models in MLflow's database are updated. Raises BackupError if the folder
    is not empty, or if the archive is incomplete, altered or not a backup.
    """
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder} is not empty. Restore to a new folder.")
    if not archive.is_file():
        raise BackupError(f"There is no backup {archive}.")
    unfinished = folder.with_name(f".{folder.name}.restoring")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        manifest = _unpack(archive, unfinished)
        relocate(unfinished / "data" / "mlflow" / "mlflow.db", Path(manifest["root"]), folder)
        if folder.exists():
            folder.rmdir()
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return Restored(
        Project(folder),
        len(manifest["files"]),
        manifest["made_at"],
        manifest["code_version"],
        tuple(manifest["left_out"]),
    )


def _unpack(archive: Path, folder: Path) -> Mapping[str, Any]:
    """Extract all files, verify them against the manifest, and return it."""
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if not member.isreg():
                    raise BackupError(
                        f"{archive} is not a backup of a project: it contains {member.name}, which is not a plain file."
                    )
                _extract(tar, member, folder, archive)
    except tarfile.TarError as error:
        raise BackupError(f"{archive} is incomplete or not a backup: {error}. Use another archive.") from error
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except (FileNotFoundError, ValueError) as error:
        raise BackupError(
            f"{archive} is incomplete or not a backup: its manifest is missing. Use another archive."
        ) from error
    if manifest["format"] != FORMAT:
        raise BackupError(
            f"{archive} has format {manifest['format']}, but this release reads format {FORMAT}. Restore it with the "
            "release that wrote it."
        )
    (folder / MANIFEST).unlink()
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    wrong = sorted(found.keys() ^ manifest["files"].keys())
    wrong += [name for name, sha256 in manifest["files"].items() if name in found and sha256_of(found[name]) != sha256]
    if wrong:
        raise BackupError(
            f"{archive} was altered: {number_of(len(wrong), 'file')} {are(len(wrong))} not as saved, e.g. {wrong[0]}."
        )
    return manifest


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, archive: Path) -> None:
    """Extract the member, a plain file, below the folder. (Python before 3.11.4 has no extraction filters.)"""
    target = folder / member.name
    if not target.resolve().is_relative_to(folder.resolve()):
        raise BackupError(f"{archive} is not a backup of a project: it would write outside the folder ({member.name}).")
    target.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None
    with content, target.open("wb") as writing:
        shutil.copyfileobj(content, writing)
    # Keeps the executable bits. The owner may read and write; no further rights are granted.
    target.chmod(member.mode & 0o755 | 0o600)
    os.utime(target, (member.mtime, member.mtime))
