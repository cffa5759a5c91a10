"""Compressed files: what the libraries raise for damaged ones, as one error, and how much a file may unpack to.

Which files are deliveries, and what messages call them, is not decided here.
"""

from __future__ import annotations

import errno
import gzip
import lzma
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

BLOCK = 4 * 1024 * 1024

MOST_TIMES = 250
"""How many times its size a large file may unpack to. Tables of loans come to 5 to 50 times."""

LARGE = 2**30
"""Unpacked bytes up to which the ratio does not matter."""

_DAMAGE = (
    *(EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    # An unknown method of compression is a NotImplementedError, which is a RuntimeError; directories of garbage
    # give texts and offsets that do not exist.
    *(RuntimeError, ValueError, OverflowError),
)


class DamagedFile(Exception):
    """The compressed file cannot be read to its end; the text says what the library found."""


class UnpacksToTooMuch(Exception):
    """The file would not fit the disk, or unpacks to many times what a table does; the text says so."""


@contextmanager
def reading_compressed() -> Iterator[None]:
    """Raise DamagedFile for whatever a damaged archive or compressed file makes the libraries raise."""
    try:
        yield
    except OSError as error:
        # Faults of the disk have a number; those of bz2 and gzip are texts alone. An offset below zero is EINVAL.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise DamagedFile(str(error)) from error
    except _DAMAGE as error:
        raise DamagedFile(str(error) or type(error).__name__) from error


def require_space(unpacked: int, folder: Path) -> None:
    """Raise UnpacksToTooMuch where the folder's disk has not as many bytes."""
    if unpacked > (free := shutil.disk_usage(folder).free):
        raise UnpacksToTooMuch(f"unpacks to {_size(unpacked)}, and {_size(free)} are free on the disk of {folder}")


def copy_unpacked(reading: IO[bytes] | gzip.GzipFile, writing: IO[bytes], packed: int) -> None:
    """Copy what `packed` bytes unpack to. UnpacksToTooMuch where that is more than any table does."""
    most = max(LARGE, MOST_TIMES * packed)
    written = 0
    while block := reading.read(BLOCK):
        written += len(block)
        if written > most:
            raise UnpacksToTooMuch(f"has {_size(packed)} and unpacks to more than {_size(most)}, which no table does")
        writing.write(block)


def _size(count: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count} bytes"
