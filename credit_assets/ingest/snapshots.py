"""Snapshots of a batch's folder, and the file status and hash by which unchanged files are recognised."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from credit_assets.ingest.bad_delivery import BadDelivery, UnreadableNow
from credit_assets.ingest.file_names import is_partial, stem_of

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class FolderSnapshot:
    """A batch's folder at one moment: its file names, each with size, modification time (ns) and inode.

    `partial` names the files that a program is still writing. `problem` says why the folder is not a readable batch; it
    then has no files. `touched` is when anything in it last changed (seconds since 1970), by the file system's change
    time, which copying programs cannot set back.
    """

    batch: str
    folder: Path
    files: Mapping[str, Sequence[int]] = field(default_factory=dict)
    partial: tuple[str, ...] = ()
    problem: str | None = None
    touched: float = 0.0

    @property
    def paths(self) -> list[Path]:
        return [self.folder / name for name in self.files]

    @property
    def unreadable(self) -> list[str]:
        """The files that this process cannot read, or that no longer exist."""
        return [file.name for file in self.paths if not _can_be_read(file)]

    @property
    def signature(self) -> str:
        """Equal for two snapshots between which no file was added, removed, replaced or changed."""
        return hashlib.sha256(json.dumps(sorted(self.files.items())).encode()).hexdigest()[:16]


def snapshot_of(entry: os.DirEntry[str]) -> FolderSnapshot | None:
    """A snapshot of the directory entry as a batch; None if it no longer exists or is not meant as a batch."""
    folder = Path(entry.path)
    if not entry.is_dir():
        if entry.is_file() and (stem_of(folder) or folder.suffix.lower() == ".zip"):
            return FolderSnapshot(entry.name, folder, problem="a file beside the batches; move it to a batch's folder")
        return None
    try:
        checked_name("batch", entry.name)
    except BadDelivery as error:
        return FolderSnapshot(entry.name, folder, problem=str(error))
    files, partial = {}, []
    try:
        touched = entry.stat().st_ctime
        with os.scandir(folder) as inside:
            for file in inside:
                if is_partial(file.name):
                    partial.append(file.name)
                elif file.is_file() and not file.name.startswith("."):
                    with contextlib.suppress(FileNotFoundError):
                        status = file.stat()
                        files[file.name] = _identity(status)
                        touched = max(touched, status.st_ctime)
    except FileNotFoundError:
        return None
    except OSError as error:
        return FolderSnapshot(entry.name, folder, problem=f"cannot be read: {error}")
    return FolderSnapshot(entry.name, folder, files, tuple(sorted(partial)), touched=touched)


def checked_name(what: str, name: str) -> str:
    """The name, if it is valid for a folder and a partition; raises BadDelivery otherwise."""
    if not NAME.fullmatch(name):
        raise BadDelivery(
            f"{name!r} cannot be a {what}'s name: use letters, digits, '.', '_' and '-', "
            "and begin with a letter or digit."
        )
    return name


def sha256_of(file: Path) -> str:
    """The file's SHA-256, in hexadecimal. Raises UnreadableNow if it cannot be read."""
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableNow(f"{file} cannot be read: {error.strerror}.") from error


def file_status(file: Path) -> list[int]:
    """Size, modification time (ns) and inode: they differ for another file, or one that was written to."""
    return _identity(file.stat())


def _identity(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _can_be_read(file: Path) -> bool:
    try:
        file.open("rb").close()
    except OSError:
        return False
    return True
