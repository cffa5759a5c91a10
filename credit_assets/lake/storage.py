"""The storage of the tables' files: the only module that accesses a file system for them.

A key names a table (`book/loans`), or a file below it (`book/loans/batch=2026-01/part-1.parquet`), on any storage.
`log.py` and `tables.py` interpret the files.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote

from filelock import FileLock

LOG = "_delta_log"
"""The folder of a table's log."""


@dataclass(frozen=True)
class StoredFile:
    """A file's size in bytes, its modification time, and its identity, which differs if another file replaces it."""

    size: int
    modified_ms: int
    identity: Hashable


class Storage(Protocol):
    """The operations that the lake needs. A missing file raises FileNotFoundError, unless stated otherwise.

    A storage is hashable, and equal to another one with the same files.
    """

    def __hash__(self) -> int: ...

    @property
    def options(self) -> Mapping[str, str]:
        """The options that `deltalake` needs to reach the addresses."""

    def address(self, key: str) -> str:
        """The path or URL of the key for Delta, DuckDB and people."""

    def key(self, address: str) -> str:
        """The key of a file from its address as Delta gives it, which may be percent-encoded."""

    def tables(self, below: str) -> list[str]:
        """The keys of all folders with a log below the key (of all tables, if it is empty); sorted."""

    def files(self, below: str) -> list[str]:
        """The keys of all files below the key; sorted, and empty if there are none."""

    def names(self, folder: str) -> list[str]:
        """The names directly in the folder; sorted, and empty if there is no such folder."""

    def stat(self, key: str) -> StoredFile: ...

    def read(self, key: str) -> bytes: ...

    def open(self, key: str) -> BinaryIO:
        """The file, opened for reading."""

    def prepare_folder(self, key: str) -> None:
        """Create what is needed to write a file at the key's address."""

    def persist(self, key: str) -> None:
        """Return once the written file survives a power failure."""

    def remove(self, key: str) -> None:
        """Remove the file, if it exists."""

    def lock(self, name: str) -> AbstractContextManager[object]:
        """A lock that only one process using the storage can hold at a time."""


@dataclass(frozen=True)
class LocalStorage:
    """A folder on this machine."""

    root: Path

    @property
    def options(self) -> Mapping[str, str]:
        return {}

    def address(self, key: str) -> str:
        return str(self.root / key)

    def key(self, address: str) -> str:
        # Delta returns real paths, while the root may be a symbolic link.
        return os.path.relpath(os.path.realpath(unquote(address)), os.path.realpath(self.root))

    def tables(self, below: str) -> list[str]:
        return self._keys(log.parent for log in (self.root / below).rglob(LOG))

    def files(self, below: str) -> list[str]:
        return self._keys(Path(folder, name) for folder, _, names in os.walk(self.root / below) for name in names)

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(self.root / folder))
        except FileNotFoundError:
            return []

    def stat(self, key: str) -> StoredFile:
        found = os.stat(self.root / key)
        return StoredFile(found.st_size, int(found.st_mtime * 1000), (found.st_ino, found.st_mtime_ns))

    def read(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def open(self, key: str) -> BinaryIO:
        return (self.root / key).open("rb")

    def prepare_folder(self, key: str) -> None:
        (self.root / key).parent.mkdir(parents=True, exist_ok=True)

    def persist(self, key: str) -> None:
        with open(self.root / key, "rb+") as written:
            os.fsync(written.fileno())

    def remove(self, key: str) -> None:
        (self.root / key).unlink(missing_ok=True)

    def lock(self, name: str) -> AbstractContextManager[object]:
        self.root.mkdir(parents=True, exist_ok=True)
        return FileLock(self.root / f".{name}.lock")

    def _keys(self, paths: Iterable[Path]) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in paths)
