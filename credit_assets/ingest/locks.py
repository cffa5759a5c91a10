"""File locks that end with their process, however it ends. Unlike `filelock`, a folder itself can be locked, without a
file in it, and waiting does not poll."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(file: Path, wait: bool = True) -> Iterator[None]:
    """Hold a lock on the file. Without `wait`, raises BlockingIOError if another process holds it."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


@contextlib.contextmanager
def folder_locked(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold a lock on the folder. Without `wait`, raises BlockingIOError if another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
