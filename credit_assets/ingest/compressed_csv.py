"""Decompresses CSV files; a file that cannot be decompressed raises BadDelivery."""

from __future__ import annotations

import contextlib
import gzip
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from credit_assets.ingest.bad_delivery import BadDelivery, UnreadableNow
from credit_assets.ingest.compressed import (
    DamagedFile,
    UnpacksToTooMuch,
    copy_unpacked,
    reading_compressed,
    require_space,
)
from credit_assets.ingest.file_names import is_hidden


def gunzip(file: Path, plain: Path, where: str) -> None:
    """Decompress to `plain`: DuckDB reads plain files in parallel, and would read a truncated gzip without an error."""
    with _as_bad_delivery(where), gzip.open(file) as compressed, plain.open("wb") as writing:
        copy_unpacked(compressed, writing, file.stat().st_size)


def unzip(file: Path, plain: Path, where: str) -> None:
    """Decompress the archive's only file to `plain`, whatever its name and path in the archive."""
    with _as_bad_delivery(where), zipfile.ZipFile(file) as archive:
        member = only_member(archive, where)
        try:
            require_space(member.file_size, plain.parent)
        except UnpacksToTooMuch as error:
            raise UnreadableNow(f"{where} {error}. Free some space, or deliver the file in parts.") from error
        with archive.open(member) as compressed, plain.open("wb") as writing:
            copy_unpacked(compressed, writing, member.compress_size)


@contextlib.contextmanager
def _as_bad_delivery(where: str) -> Iterator[None]:
    """Raise BadDelivery for a damaged file, or one that unpacks to more than a table can have."""
    try:
        with reading_compressed():
            yield
    except DamagedFile as error:
        raise damaged(where, error) from error
    except UnpacksToTooMuch as error:
        raise BadDelivery(f"{where} {error}. If it is intact, unpack it and deliver it as CSV.") from error


def damaged(where: str, error: DamagedFile) -> BadDelivery:
    return BadDelivery(f"{where} is truncated or damaged ({error}). Deliver it again.")


def only_member(archive: zipfile.ZipFile, where: str) -> zipfile.ZipInfo:
    members = [m for m in archive.infolist() if not m.is_dir() and not is_hidden(PurePosixPath(m.filename))]
    if len(members) != 1:
        raise BadDelivery(
            f"{where} contains {len(members)} files; a .csv.zip contains one. Unpack it, and deliver its files."
        )
    if members[0].flag_bits & 1:
        raise BadDelivery(f"{where} is protected by a password. Unpack it, and deliver its file.")
    return members[0]
