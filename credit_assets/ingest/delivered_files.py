"""The files of a delivery: one file, a folder or a zip archive. `inbox.py` puts them in place."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath

from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.compressed import (
    DamagedFile,
    UnpacksToTooMuch,
    copy_unpacked,
    reading_compressed,
    require_space,
)
from credit_assets.ingest.file_names import ENDINGS, is_companion, is_hidden, is_partial, stem_of
from credit_assets.ingest.locks import folder_locked, locked

UNPACKED = ".unpacked-"
UNPACKING = ".unpacking"


@contextlib.contextmanager
def unpacked(source: Path, beside: Path) -> Iterator[Path]:
    """The file or folder itself, or a temporary folder with a zip archive's content.

    The temporary folder is locked, so that `remove_abandoned` keeps it while its process lives.
    """
    if not is_archive(source):
        yield source
        return
    with contextlib.ExitStack() as opened:
        with locked(beside / UNPACKING):
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix=UNPACKED, dir=beside))
            opened.enter_context(folder_locked(Path(folder)))
        unpack(source, Path(folder))
        yield Path(folder)


def remove_abandoned(beside: Path) -> None:
    """Remove the folders of unpacked archives that killed processes left in `beside`."""
    if not any(beside.glob(f"{UNPACKED}*")):
        return
    with locked(beside / UNPACKING):
        for folder in beside.glob(f"{UNPACKED}*"):
            with contextlib.suppress(BlockingIOError, FileNotFoundError), folder_locked(folder, wait=False):
                shutil.rmtree(folder, ignore_errors=True)


def is_archive(source: Path) -> bool:
    """Whether it is a zip archive of files; a `.csv.zip` counts as one file."""
    return source.suffix.lower() == ".zip" and not stem_of(source) and source.is_file()


def unpack(source: Path, folder: Path) -> None:
    """Extract the zip archive, except hidden files, to the folder. Raises BadDelivery if it cannot be read."""
    try:
        with reading_compressed(), zipfile.ZipFile(source) as archive:
            members = [(member, path) for member in archive.infolist() if (path := _path_in(member, source))]
            require_space(sum(member.file_size for member, _ in members), folder)
            for member, path in members:
                file = folder.joinpath(*path.parts)
                file.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as packed, file.open("xb") as writing:
                    copy_unpacked(packed, writing, member.compress_size)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise BadDelivery(f"{source} contains two files of the same name. Unpack it, and keep one of them.") from error
    except DamagedFile as error:
        raise BadDelivery(f"{source} is not a complete zip archive ({error}); download or copy it again.") from error
    except UnpacksToTooMuch as error:
        raise BadDelivery(f"{source} {error}. If it is intact, unpack it, and deliver the folder.") from error


def _path_in(member: zipfile.ZipInfo, source: Path) -> PurePosixPath | None:
    """The relative path of a file in an archive; None for folders and hidden files. Raises BadDelivery for a file that
    is encrypted or would lie outside of the target folder."""
    # Some Windows programs separate folders by backslashes.
    inside = PurePosixPath(member.filename.replace("\\", "/"))
    if ".." in inside.parts:
        raise BadDelivery(
            f"{source} contains a path that leads out of it ({member.filename}). Make an archive of the files alone."
        )
    if member.is_dir() or is_hidden(inside):
        return None
    if member.flag_bits & 1:
        raise BadDelivery(f"{source} is protected by a password. Unpack it, and deliver the folder of its files.")
    return PurePosixPath(*(part for part in inside.parts if part != "/"))


def delivered_files(source: Path, name: Path | None = None) -> list[Path]:
    """The file itself, the folder's files, or those of its only subfolder with data. Messages call the source `name`.

    Raises BadDelivery if there is no data file, if several folders contain data, or if a file is an archive or still
    being written.
    """
    shown = name or source
    if source.is_file():
        files, names = [source], [source.name]
    elif source.is_dir():
        folder = _folder_of_files(source, shown)
        files, names = visible_files(folder), [file.name for file in folder.iterdir()]
    else:
        raise BadDelivery(f"There is no file or folder {source} to deliver.")
    if writing := [name for name in names if is_partial(name)]:
        raise BadDelivery(
            f"{', '.join(sorted(writing))} in {shown if source.is_dir() else source.parent} is still being written, "
            "according to its name. Wait for it, or remove it."
        )
    if not any(stem_of(file) for file in files if not is_companion(file)):
        what = f"{shown} contains no" if source.is_dir() else f"{shown} is not a"
        raise BadDelivery(
            f"{what} {', '.join(ENDINGS)} file, so there is nothing to deliver. Save it as CSV or Parquet."
        )
    return files


def _folder_of_files(root: Path, shown: Path) -> Path:
    """The only folder at or below `root` with data files, or `root` if there are none."""
    found: list[Path] = []
    for place, folders, names in os.walk(root):
        folder = Path(place)
        folders[:] = sorted(name for name in folders if not is_hidden(PurePath(name)))
        files = [folder / name for name in names if not is_hidden(PurePath(name))]
        if archives := sorted(str(file.relative_to(root)) for file in files if is_archive(file)):
            raise BadDelivery(
                f"{shown} contains the archive {archives[0]}. Unpack it, or deliver it alone: files are taken from one "
                "folder or one archive."
            )
        if any(stem_of(file) for file in files):
            found.append(folder)
        if len(found) > 1:
            first, second = ("its top folder" if it == root else str(it.relative_to(root)) for it in found)
            raise BadDelivery(
                f"{shown} contains files in several folders ({first}, {second}). Deliver one of them, or put "
                "the files that belong together into one."
            )
    return found[0] if found else root


def visible_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and not is_hidden(PurePath(file.name)))
