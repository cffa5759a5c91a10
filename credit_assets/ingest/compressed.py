"""Compressed files: one error for everything that a damaged file makes the libraries raise, and a limit on unpacked
size.

Which files are deliveries is decided in `delivered_files.py` and `csv_rows.py`.
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

MAX_RATIO = 250
"""The largest ratio of unpacked to packed size for a large file. Loan tables compress 5 to 50 times."""

UNCHECKED_SIZE = 2**30
"""Unpacked size in bytes up to which the ratio is not checked."""

_DAMAGE = (
    *(EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    # An unknown compression method raises NotImplementedError, which is a RuntimeError; a corrupt central directory
    # yields invalid text and offsets.
    *(RuntimeError, ValueError, OverflowError),
)


class DamagedFile(Exception):
    """The compressed file cannot be read to its end; the message is the library's."""


class UnpacksToTooMuch(Exception):
    """The file does not fit on the disk, or its compression ratio is too high for a table; the message says which."""


@contextmanager
def reading_compressed() -> Iterator[None]:
    """Raise DamagedFile for whatever a damaged archive or compressed file makes the libraries raise."""
    try:
        yield
    except OSError as error:
        # Disk errors have an errno; those of bz2 and gzip have a message only. A negative offset raises EINVAL.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise DamagedFile(str(error)) from error
    except _DAMAGE as error:
        raise DamagedFile(str(error) or type(error).__name__) from error


def require_space(unpacked: int, folder: Path) -> None:
    """Raise UnpacksToTooMuch if the folder's disk has fewer free bytes than `unpacked`."""
    if unpacked > (free := shutil.disk_usage(folder).free):
        raise UnpacksToTooMuch(f"unpacks to {_size(unpacked)}, and {_size(free)} are free on the disk of {folder}")


def copy_unpacked(reading: IO[bytes] | gzip.GzipFile, writing: IO[bytes], packed: int) -> None:
    """Decompress a stream of `packed` bytes. Raises UnpacksToTooMuch beyond the larger of `UNCHECKED_SIZE` and the
    ratio limit."""
    most = max(UNCHECKED_SIZE, MAX_RATIO * packed)
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
