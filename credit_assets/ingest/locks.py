"""Locks that go with the process that holds them, however it ends. A folder itself can be locked, so that no file has
to lie in it for that, and waiting is not polling: neither is so with `filelock`."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(file: Path, wait: bool = True) -> Iterator[None]:
    """Hold the file's lock, which goes with its process. Without `wait`, BlockingIOError where another holds it."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


@contextlib.contextmanager
def folder_locked(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold the folder's lock. Without `wait`, BlockingIOError where another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
