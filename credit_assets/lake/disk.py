"""Recognises and reports a full, read-only or unwritable disk, requires free space, and opens a project for reading
without write access."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from credit_assets.settings.project import Project

RUN_SPACE = 32 * 2**20
"""Free bytes that a command needs to run assets. With fewer, SQLite does not raise an error: the process is killed."""

READ_SPACE = 2**16
"""Free bytes needed for reading: the locks and journals of the databases."""

FULL_BELOW = 2**20
"""Free bytes below which a disk counts as full for a database, which allocates shared memory and logs in blocks."""

FAULTS = {
    getattr(errno, name): reason
    for name, reason in {
        "ENOSPC": "No space left on device",
        "EDQUOT": "Disk quota exceeded",
        "EFBIG": "File too large",
        "EROFS": "Read-only file system",
        "EACCES": "Permission denied",
        "EPERM": "Operation not permitted",
        "EIO": "Input/output error",
        "ENOTDIR": "Not a directory",
        "EISDIR": "Is a directory",
        "ENAMETOOLONG": "File name too long",
        "ESTALE": "Stale file handle",
    }.items()
}
LIBRARY_MESSAGES = {reason.lower(): reason for reason in FAULTS.values()} | {
    "readonly database": "The database is read-only",
    "database or disk is full": "No space left on device",
    "disk i/o error": "Input/output error",
    "unable to open database file": "The database cannot be opened",
    "out of disk space": "No space left on device",
    "failed to offload data block": "No space left on device",
}
"""Messages of databases and libraries for the same faults, which they raise without an error number."""

LIBRARIES = ("sqlite3", "sqlalchemy", "duckdb", "_duckdb", "deltalake", "_internal", "pyarrow", "mlflow")


def fault(error: BaseException, where: Path) -> str | None:
    """A sentence with path and reason if the error, or one of its causes, comes from the disk; else None.

    `where` is reported if the error names no path.
    """
    seen: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in seen:
        seen.append(each)
        if isinstance(each, OSError) and each.errno in FAULTS:
            path = each.filename2 or each.filename or _path_in(str(each))
            return _sentence(path or where, FAULTS[each.errno])
        # Libraries also raise OSError with a message and no number.
        if isinstance(each, OSError) or type(each).__module__.split(".")[0] in LIBRARIES:
            text = str(each).lower()
            if reason := next((known for part, known in LIBRARY_MESSAGES.items() if part in text), None):
                path = _path_in(str(each)) or where
                # SQLite reports an I/O error if its shared memory does not fit on a full disk.
                full = reason == FAULTS[errno.EIO] and _is_full(Path(path))
                return _sentence(path, FAULTS[errno.ENOSPC] if full else reason)
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return None


def _is_full(path: Path) -> bool:
    """Whether the path's disk has too little space for a database."""
    there = next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))
    return shutil.disk_usage(there).free < FULL_BELOW


def _path_in(text: str) -> str | None:
    found = re.search(r"""["'](/[^"']+)["']""", text)
    return found[1] if found else None


def _sentence(path: object, reason: str) -> str:
    shown = os.fsdecode(path) if isinstance(path, bytes | str | os.PathLike) else str(path)
    return f"{shown} cannot be used: {reason}."


def require_free_space(folder: Path) -> None:
    """Create the folder. Raise OSError with the path if it cannot be written to or has too little space."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, RUN_SPACE)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None


WRITTEN_WHEN_READ = {"dagster", "storage", "history", "runs", "schedules", "mlflow", "alerts", "inbox"}
WRITTEN_WHEN_READ |= {".ready", ".fingerprints"}
"""Folders that reading writes to: those of databases, and of an inbox, which stores fingerprints of what it read."""

DATABASE = re.compile(r"\.(db|sqlite)$")
DATABASE_SIDE_FILE = re.compile(r"\.(db|sqlite)-(wal|shm|journal)$")


@contextmanager
def readable(project: Project) -> Iterator[Project]:
    """The project, or, if its data cannot be written to, a temporary copy of it for reading.

    Reading databases and the inbox writes to them (locks, journals, fingerprints), so these are copied; everything else
    is linked.
    """
    if not project.data.is_dir() or _writable(project.data):
        yield project
        return
    with tempfile.TemporaryDirectory(prefix="credit-assets-") as folder:
        copy = Path(folder)
        for path in project.root.iterdir():
            if path != project.data:
                (copy / path.name).symlink_to(path)
        _link_all_but_databases(project.data, copy / "data")
        yield Project(copy)


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, READ_SPACE)
            return True
    except OSError:
        return False


def _link_all_but_databases(source: Path, target: Path) -> None:
    target.mkdir()
    for path in source.iterdir():
        copied = target / path.name
        if path.is_dir() and (path.name in WRITTEN_WHEN_READ or source.name == "inbox"):
            _link_all_but_databases(path, copied)
        elif path.is_file() and DATABASE.search(path.name):
            copy_database(path, copied)
        elif DATABASE_SIDE_FILE.search(path.name):
            continue
        elif path.is_file() and (path.name[0] == "." or source.name == ".fingerprints"):
            shutil.copyfile(path, copied)
        else:
            copied.symlink_to(path)


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database in a consistent state, even while another process writes to it.

    If SQLite cannot open it without write access (its shared memory is missing, or a journal must be rolled back), no
    process has it open, and its files are copied as they are.
    """
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as reading,
            closing(sqlite3.connect(target)) as writing,
        ):
            reading.backup(writing)
    except sqlite3.DatabaseError:
        for ending in ("", "-wal", "-journal"):
            file = source.with_name(source.name + ending)
            if file.is_file():
                shutil.copyfile(file, target.with_name(target.name + ending))
