"""The inbox: deliveries of files, put in place atomically, recognised by content, matched to tables.

What is in the files is `typed_read.py`'s business.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Literal

import pandas as pd

from credit_assets.ingest.compressed import (
    DamagedFile,
    UnpacksToTooMuch,
    copy_unpacked,
    reading_compressed,
    require_space,
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ENDINGS = (".csv.gz", ".csv", ".csv.zip", ".parquet")
OUTCOMES = "outcomes"
# Names of files that some program is still writing: rsync, scp clients, browsers, our own.
PARTIAL = (".part", ".partial", ".filepart", ".crdownload", ".tmp", "~")
RSYNC_FOLDERS = {".~tmp~", ".rsync-partial"}
# What macOS and Windows put beside the files of a user; they hide it.
SHADOWS = {"__MACOSX", "Thumbs.db", "desktop.ini"}
MARKER = "SYNTHETIC.md"
"""The file that marks a delivery as generated."""

# Files that say something of the delivery; there is nothing in them for a table.
COMPANIONS = {MARKER.lower()}
_ANY_ENDING = "|".join(map(re.escape, ENDINGS))
COPY_BLOCK = 4 * 1024 * 1024
UNPACKED = ".unpacked-"
UNPACKING = ".unpacking"


class BadDelivery(Exception):
    """Delivered files that cannot be accepted as they are; nothing of them was committed.

    `examples` holds the first faults (file, row, column, value, rule), empty where the fault is not in
    single rows; `quarantine` is the file with all offending rows, if there is one. Where the message quotes
    what stands in the files, `without_values` is one that does not.
    """

    def __init__(
        self,
        message: str,
        examples: pd.DataFrame | None = None,
        quarantine: Path | None = None,
        without_values: str | None = None,
    ) -> None:
        super().__init__(message)
        self.without_values = message if without_values is None else without_values
        self.examples = pd.DataFrame() if examples is None else examples
        self.quarantine = quarantine


class MissingFile(BadDelivery):
    """A table that must have a file has none (yet)."""


class UnreadableNow(BadDelivery):
    """Files that cannot be read for a reason outside of them, such as permissions or a full disk: the same files may
    be read later."""


@dataclass(frozen=True)
class Delivery:
    """What `Inbox.deliver` did: the batch's folder, its files with their SHA-256, what was replaced.

    `added`: outcomes, beside the files that were there.
    """

    portfolio: str
    batch: str
    folder: Path
    files: Mapping[str, str]
    change: Literal["new", "replaced", "added", "unchanged"]
    superseded: Path | None = None


@dataclass(frozen=True)
class Matched:
    """Files sorted by the table they belong to; `unknown` ones belong to none."""

    tables: Mapping[str, tuple[Path, ...]]
    companions: tuple[Path, ...]
    unknown: tuple[Path, ...]


@dataclass(frozen=True)
class Look:
    """A batch's folder as it was at one moment: its files' names, each with size, time of change (ns) and inode.

    `partial` names the files in it that some program is still writing. `trouble` says why this is no batch
    that can be read; it then has no files. `touched` is when anything in it last changed (seconds since 1970), by
    the clock of the file system, which no copying program sets back.
    """

    batch: str
    folder: Path
    files: Mapping[str, Sequence[int]] = field(default_factory=dict)
    partial: tuple[str, ...] = ()
    trouble: str | None = None
    touched: float = 0.0

    @property
    def paths(self) -> list[Path]:
        return [self.folder / name for name in self.files]

    @property
    def unreadable(self) -> list[str]:
        """The files that this process may not read, or that are gone since."""
        return [file.name for file in self.paths if not _can_be_read(file)]

    @property
    def signature(self) -> str:
        """The same for two looks between which no file was added, removed, replaced or written to."""
        return hashlib.sha256(json.dumps(sorted(self.files.items())).encode()).hexdigest()[:16]


class Inbox:
    """The folder `root/<portfolio>/<batch>/` of delivered files. Hidden folders beside the batches hold:

    `.incoming` copies in progress, `.ready` complete copies about to be swapped in, `.superseded/<batch>/<n>`
    the deliveries that were replaced or withdrawn (1 is the oldest), `.quarantine/<batch>` offending rows,
    `.fingerprints/<batch>.json` the SHA-256 of the files as last seen, `.cutting` a big file's parts that are yet to
    be delivered, `.unpacked-*` a zip archive's files. What is left of these by a killed process is removed by the
    next delivery, run or upkeep (`tidy`).

    A process killed at any moment leaves the old delivery or the new one: a complete copy waiting in
    `.ready` is put in place by whoever looks at the portfolio next. `.delivering` and `.swapping` are
    locks: one delivery at a time, and nobody looks while folders are swapped.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()

    def batches(self, portfolio: str) -> list[str]:
        """The names of the portfolio's batches, in their order (by name)."""
        home = self._portfolio(portfolio)
        if not home.is_dir():
            return []
        with self.settled(portfolio):
            return sorted(entry.name for entry in home.iterdir() if entry.is_dir() and NAME.fullmatch(entry.name))

    def looks(self, portfolio: str) -> list[Look]:
        """All that lies there as a batch, or as if it were one, by name; what is removed meanwhile is left out."""
        home = self._portfolio(portfolio)
        if not home.is_dir():
            return []
        with self.settled(portfolio), os.scandir(home) as entries:
            visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
            return [look for entry in visible if (look := _look(entry))]

    def folder(self, portfolio: str, batch: str) -> Path:
        """Where the batch's files are. BadDelivery if it was never delivered."""
        folder = self._portfolio(portfolio) / checked_name("batch", batch)
        if folder.parent.is_dir():
            with self.settled(portfolio):
                if folder.is_dir():
                    return folder
        raise BadDelivery(f"Portfolio {portfolio} has no batch {batch} in the inbox {self.root}.")

    def files(self, portfolio: str, batch: str) -> list[Path]:
        """The batch's files, by name."""
        return _visible_files(self.folder(portfolio, batch))

    def quarantine(self, portfolio: str, batch: str) -> Path:
        """The folder beside the batch where its offending rows are kept; it may not exist yet."""
        return self._portfolio(portfolio) / ".quarantine" / checked_name("batch", batch)

    def fingerprint(self, portfolio: str, batch: str) -> dict[str, str]:
        """File name to SHA-256. A file whose size, time and inode are as last seen is not read again."""
        remembered = self._remembered(portfolio, batch)
        seen: dict[str, dict[str, Any]] = {}
        for file in self.files(portfolio, batch):
            status = file_status(file)
            known = remembered.get(file.name)
            sha256 = known["sha256"] if known and known["status"] == status else sha256_of(file)
            seen[file.name] = {"status": status, "sha256": sha256}
        if seen != remembered:
            self._remember(portfolio, batch, seen)
        return {name: entry["sha256"] for name, entry in seen.items()}

    def differing(self, portfolio: str, look: Look, expected: Mapping[str, str], read: bool) -> set[str]:
        """Which of the files do not hold the content with the SHA-256 that is expected of each.

        A file is read only where neither its size nor what is remembered tells; without `read` none is. One
        that is not, or cannot be, is named too.
        """
        remembered = self._remembered(portfolio, look.batch)
        differing, hashed = set(), {}
        for name, sha256 in expected.items():
            status, known, found = look.files.get(name), remembered.get(name), None
            if known and known["status"] == status:
                found = known["sha256"]
            elif read and status and not (known and known["sha256"] == sha256 and known["status"][0] != status[0]):
                with contextlib.suppress(BadDelivery):
                    found = sha256_of(look.folder / name)
                    hashed[name] = {"status": status, "sha256": found}
            if found != sha256:
                differing.add(name)
        if hashed:
            self.remember(portfolio, look.batch, hashed)
        return differing

    def remember(self, portfolio: str, batch: str, seen: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep files' SHA-256, each with the `status` that the file had before it was read."""
        with _locked(self._portfolio(portfolio) / ".remembering"):
            self._remember(portfolio, batch, self._remembered(portfolio, batch) | dict(seen))

    def deliver(
        self, source: Path, portfolio: str, batch: str, accept: Callable[[Sequence[Path]], None] = lambda files: None
    ) -> Delivery:
        """Put a copy of one file, or of the files of a folder or zip archive, in place as the batch, in one rename.

        A batch that is there already is replaced, the replaced delivery kept under `.superseded`; the same
        content again changes nothing. A delivery of nothing but outcomes adds them to the batch, beside and
        after those that it has, under the next number (`outcomes.2.csv`); a correction without outcomes keeps
        those delivered before. A `.csv.zip` is one file, as it is; any other zip archive is what it holds. `accept`
        is called with the files first, and raises BadDelivery where they are to be refused. Raises
        BadDelivery for a bad name, a source without files or with one that is still being copied, or outcomes of a
        batch that does not exist.
        """
        checked_name("portfolio", portfolio)
        checked_name("batch", batch)
        home = self._portfolio(portfolio)
        home.mkdir(parents=True, exist_ok=True)
        self.tidy(portfolio)
        with unpacked(Path(source), home) as folder:
            files = delivered_files(folder, Path(source))
            accept(files)
            return self._deliver(files, home, portfolio, batch)

    def withdraw(self, portfolio: str, batch: str) -> Path | None:
        """Take the batch out of the inbox, in one rename; where its files are then. None where it is not there."""
        checked_name("batch", batch)
        home = self._portfolio(portfolio)
        if not home.is_dir():
            return None
        with _locked(home / ".delivering"), self.settled(portfolio):
            superseded = self._set_aside(portfolio, batch)
            self._memory(portfolio, batch).unlink(missing_ok=True)
        shutil.rmtree(self.quarantine(portfolio, batch), ignore_errors=True)
        return superseded

    def last_outcomes(self, portfolio: str, batch: str) -> Path:
        """The file of outcomes that came last for the batch. BadDelivery where it has none in a file of their own."""
        outcomes = sorted(filter(is_outcomes, self.files(portfolio, batch)), key=outcomes_order)
        if not outcomes:
            raise BadDelivery(f"Batch {batch} of {portfolio} has no outcomes in a file of their own.")
        return outcomes[-1]

    def withdraw_outcomes(self, portfolio: str, batch: str) -> tuple[str, Path]:
        """Take the outcomes that came last for the batch back; their file's name, and where it is then.

        BadDelivery where the batch has none in a file of their own."""
        home = self.folder(portfolio, batch).parent
        with _locked(home / ".delivering"):
            files, last = self.files(portfolio, batch), self.last_outcomes(portfolio, batch)
            shutil.rmtree(home / ".incoming", ignore_errors=True)
            incoming = home / ".incoming" / batch
            incoming.mkdir(parents=True)
            for file in files:
                if file != last:
                    os.link(file, incoming / file.name)
            _sync_folder(incoming)
            superseded = self._put_in_place(portfolio, batch, incoming)
        assert superseded is not None
        return last.name, superseded / last.name

    def tidy(self, portfolio: str) -> None:
        """Remove what killed processes left: unpacked archives, and files that were cut or copied in part. What a
        process is at work on stays."""
        home = self._portfolio(portfolio)
        if not home.is_dir():
            return
        remove_abandoned(home)
        for left, lock in ((".cutting", ".cutting.lock"), (".incoming", ".delivering")):
            if (home / left).is_dir():
                with contextlib.suppress(BlockingIOError), _locked(home / lock, wait=False):
                    shutil.rmtree(home / left, ignore_errors=True)

    @contextlib.contextmanager
    def cutting(self, portfolio: str) -> Iterator[Path]:
        """The empty folder to cut files into batches in, for one process at a time; gone afterwards."""
        folder = self._portfolio(portfolio) / ".cutting"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(".cutting.lock")):
            # What a killed process had cut.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder)

    def _deliver(self, delivered: Sequence[Path], home: Path, portfolio: str, batch: str) -> Delivery:
        target = home / batch
        with _locked(home / ".delivering"):
            before = self.fingerprint(portfolio, batch) if batch in self.batches(portfolio) else {}
            placed, kept, adds = _placed(delivered, target, before)
            if before and _same_content(placed, kept, target, before):
                return Delivery(portfolio, batch, target, before, "unchanged")
            # What an earlier, killed delivery had copied so far.
            shutil.rmtree(home / ".incoming", ignore_errors=True)
            incoming = home / ".incoming" / batch
            incoming.mkdir(parents=True)
            seen: dict[str, dict[str, Any]] = {}
            for name, file in placed.items():
                sha256 = _copy(file, incoming / name)
                seen[name] = {"status": file_status(incoming / name), "sha256": sha256}
            for file in kept:
                os.link(file, incoming / file.name)
                seen[file.name] = {"status": file_status(file), "sha256": before[file.name]}
            _sync_folder(incoming)
            superseded = self._put_in_place(portfolio, batch, incoming)
            self._remember(portfolio, batch, seen)
        files = {name: entry["sha256"] for name, entry in sorted(seen.items())}
        change: Literal["added", "replaced", "new"] = "added" if adds else "replaced" if superseded else "new"
        return Delivery(portfolio, batch, target, files, change, superseded)

    def _portfolio(self, portfolio: str) -> Path:
        return self.root / checked_name("portfolio", portfolio)

    def _put_in_place(self, portfolio: str, batch: str, incoming: Path) -> Path | None:
        """Make the complete copy the batch; where the replaced delivery went."""
        home = self._portfolio(portfolio)
        with self.settled(portfolio):
            (home / ".ready").mkdir(exist_ok=True)
            incoming.rename(home / ".ready" / batch)
            _sync_folder(home / ".ready")
            return self._swap_in(portfolio, batch)

    def _swap_in(self, portfolio: str, batch: str) -> Path | None:
        """Make the complete copy in `.ready` the batch; where the replaced delivery went."""
        home = self._portfolio(portfolio)
        superseded = self._set_aside(portfolio, batch)
        (home / ".ready" / batch).rename(home / batch)
        _sync_folder(home)
        return superseded

    def _set_aside(self, portfolio: str, batch: str) -> Path | None:
        """Move the batch to what was superseded; where it is then, None if it was not there."""
        home = self._portfolio(portfolio)
        if not (home / batch).exists():
            return None
        history = home / ".superseded" / batch
        history.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(entry.name) for entry in history.iterdir()), default=0)
        (home / batch).rename(history / str(number))
        _sync_folder(history)
        _sync_folder(home)
        return history / str(number)

    @contextlib.contextmanager
    def settled(self, portfolio: str) -> Iterator[None]:
        """No swap is under way, or will be until this ends; one that a killed process left is finished."""
        home = self._portfolio(portfolio)
        with _locked(home / ".swapping"):
            if (home / ".ready").is_dir():
                for waiting in sorted((home / ".ready").iterdir()):
                    self._swap_in(portfolio, waiting.name)
            yield

    def _memory(self, portfolio: str, batch: str) -> Path:
        return self._portfolio(portfolio) / ".fingerprints" / f"{batch}.json"

    def _remembered(self, portfolio: str, batch: str) -> dict[str, dict[str, Any]]:
        try:
            return json.loads(self._memory(portfolio, batch).read_text())
        except (FileNotFoundError, ValueError):
            return {}

    def _remember(self, portfolio: str, batch: str, seen: Mapping[str, Mapping[str, Any]]) -> None:
        memory = self._memory(portfolio, batch)
        memory.parent.mkdir(exist_ok=True)
        partial = memory.with_name(f"{memory.name}.{uuid.uuid4().hex}")
        partial.write_text(json.dumps(seen, sort_keys=True))
        partial.replace(memory)


def checked_name(what: str, name: str) -> str:
    """The name, if it can be a folder and a partition; BadDelivery otherwise."""
    if not NAME.fullmatch(name):
        raise BadDelivery(
            f"{name!r} cannot be a {what}'s name: use letters, digits, '.', '_' and '-', "
            "and begin with a letter or digit."
        )
    return name


def match_files(
    files: Iterable[Path],
    tables: Mapping[str, Sequence[str]],
    optional: Collection[str] = (),
    outcomes: str | None = None,
    where: Path | None = None,
) -> Matched:
    """Which file belongs to which table, by name without ending, whatever its case.

    `tables` maps a table to the names of its source files (`*` in one stands for anything), any one of which will
    do; an `optional` table may have none. A file that a table has by its full name is of no other's pattern.
    `outcomes` is the table that all files named `outcomes`, `outcomes.2`, `outcomes_may`, ... belong to besides, in
    the order of `outcomes_order`. Messages say that the files are in `where`, or else in their folder. Raises
    MissingFile for a table without a file, and BadDelivery for two files of one name (`bureau.csv` beside
    `bureau.csv.gz`), or one of two tables' patterns.
    """
    files = sorted(files)
    folder = where or (files[0].parent if files else None)

    full_names = {name.lower() for names in tables.values() for name in names}

    def has_name(stem: str, name: str) -> bool:
        by_pattern = stem not in full_names and not (outcomes and _names_outcomes(stem))
        return stem == name.lower() or (by_pattern and fnmatchcase(stem, name.lower()))

    def of_table(stem: str, table: str) -> bool:
        return any(has_name(stem, name) for name in tables[table])

    def later(file: Path) -> str | None:
        return outcomes if is_outcomes(file) else None

    found: dict[str, Path] = {}
    companions, unknown = [], []
    for file in files:
        stem = _stem(file)
        owners = [table for table in tables if stem is not None and of_table(stem, table)]
        if is_companion(file):
            companions.append(file)
        elif stem is None or not (table := next(iter(owners), later(file))):
            unknown.append(file)
        elif len(owners) > 1:
            raise BadDelivery(
                f"{file.name} in {folder} may be of the tables {' and '.join(owners)}, by the names in the portfolio's "
                "configuration. Make the patterns there apart, or name the file as a whole."
            )
        elif stem in found:
            raise BadDelivery(
                f"Table {table}: {found[stem].name} and {file.name} in {folder} are the same file twice. "
                "Keep one of them."
            )
        else:
            found[stem] = file
    matched = {
        table: tuple(dict.fromkeys(found[stem] for name in names for stem in sorted(found) if has_name(stem, name)))
        for table, names in tables.items()
    }
    if outcomes:
        more = [file for stem, file in found.items() if not any(of_table(stem, table) for table in tables)]
        matched[outcomes] = tuple(sorted((*matched[outcomes], *more), key=outcomes_order))
    missing = [table for table, parts in matched.items() if not parts and table not in optional]
    if missing:
        table = missing[0]
        others = f" (also missing: the files of {', '.join(missing[1:])})" if missing[1:] else ""
        strangers = f" Unknown files there: {', '.join(file.name for file in unknown)}." if unknown else ""
        raise MissingFile(
            f"Table {table}: no file {' or '.join(tables[table])} ({', '.join(ENDINGS)}) "
            f"in {folder or 'the delivery'}{others}.{strangers}"
        )
    return Matched(matched, tuple(companions), tuple(unknown))


def outcomes_order(file: Path) -> tuple[int, int, str]:
    """Sorts files of outcomes from the first word to the last: `outcomes`, then those with a name, by name,
    then those with a number (`outcomes.2`), by number, which are what `Inbox.deliver` adds."""
    stem = _stem(file) or ""
    rest = stem[len(OUTCOMES) + 1 :] if is_outcomes(file) else ""
    number = int(rest) if rest.isdecimal() else 0
    return (2 if number else 1 if rest else 0), number, stem


def sha256_of(file: Path) -> str:
    """The file's SHA-256, in hexadecimal. UnreadableNow if it cannot be read."""
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableNow(f"{file} cannot be read: {error.strerror}.") from error


def _stem(file: Path) -> str | None:
    """The file's name in lower case without its ending; None if it is not a data file."""
    return file.name.lower().removesuffix(ending) if (ending := _ending(file)) else None


def _ending(file: Path) -> str | None:
    name = file.name.lower()
    return next((ending for ending in ENDINGS if name.endswith(ending)), None)


def is_outcomes(file: Path) -> bool:
    """Whether the file, by its name, holds outcomes that came later than their batch."""
    return _names_outcomes(_stem(file) or "")


def is_companion(file: Path) -> bool:
    """Whether the file says something of the delivery, and holds nothing for a table."""
    return file.name.lower() in COMPANIONS


def _names_outcomes(stem: str) -> bool:
    return stem == OUTCOMES or bool(re.fullmatch(rf"{OUTCOMES}[._-].+", stem))


def _placed(
    delivered: Sequence[Path], target: Path, before: Mapping[str, str]
) -> tuple[dict[str, Path], list[Path], bool]:
    """The delivered files by their names in the batch's folder; the files there that stay; whether outcomes
    are all that is delivered, to a batch that is there."""
    data = [file for file in delivered if not is_companion(file)]
    only_outcomes = all(is_outcomes(file) for file in data)
    if not target.is_dir():
        if only_outcomes:
            raise BadDelivery(
                f"Outcomes alone were delivered for batch {target.name}, which does not exist ({target}). "
                "Deliver its application files first, or name the batch that the outcomes belong to."
            )
        return {file.name: file for file in delivered}, [], False
    there = _visible_files(target)
    known = sorted(filter(is_outcomes, there), key=outcomes_order)
    if not only_outcomes:
        kept = [] if any(is_outcomes(file) for file in data) else known
        return {file.name: file for file in delivered}, kept, False
    placed = {file.name: file for file in delivered if file not in data}
    added = sorted(data, key=outcomes_order)
    if known:
        placed |= _numbered(added, known, before)
    else:
        placed |= {file.name: file for file in added}
    return placed, [file for file in there if file.name not in placed], True


def _numbered(added: Sequence[Path], known: Sequence[Path], before: Mapping[str, str]) -> dict[str, Path]:
    """Outcomes under names that come after the known ones, less those that repeat the last of these."""
    told, telling = [before[file.name] for file in known], [sha256_of(file) for file in added]
    repeated = next(n for n in range(min(len(told), len(telling)), -1, -1) if told[len(told) - n :] == telling[:n])
    number = max(1, *(outcomes_order(file)[1] for file in known))
    return {f"{OUTCOMES}.{number + nth}{_ending(file)}": file for nth, file in enumerate(added[repeated:], start=1)}


@contextlib.contextmanager
def _locked(file: Path, wait: bool = True) -> Iterator[None]:
    """Hold the file's lock, which goes with its process. Without `wait`, BlockingIOError where another holds it."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def _look(entry: os.DirEntry[str]) -> Look | None:
    """What lies there, as a batch; None if it is gone, or is not meant as one."""
    folder = Path(entry.path)
    if not entry.is_dir():
        if entry.is_file() and (_stem(folder) or folder.suffix.lower() == ".zip"):
            return Look(entry.name, folder, trouble="a file beside the batches; put it into a batch's folder")
        return None
    try:
        checked_name("batch", entry.name)
    except BadDelivery as error:
        return Look(entry.name, folder, trouble=str(error))
    files, partial = {}, []
    try:
        touched = entry.stat().st_ctime
        with os.scandir(folder) as inside:
            for file in inside:
                if _is_partial(file.name):
                    partial.append(file.name)
                elif file.is_file() and not file.name.startswith("."):
                    with contextlib.suppress(FileNotFoundError):
                        status = file.stat()
                        files[file.name] = _identity(status)
                        touched = max(touched, status.st_ctime)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Look(entry.name, folder, trouble=f"cannot be looked into: {error}")
    return Look(entry.name, folder, files, tuple(sorted(partial)), touched=touched)


def _can_be_read(file: Path) -> bool:
    try:
        file.open("rb").close()
    except OSError:
        return False
    return True


def _is_partial(name: str) -> bool:
    """Whether a file of this name is one that some program is still writing, as `.bureau.csv.Xy12Ab` is by rsync."""
    if name.startswith("."):
        return name in RSYNC_FOLDERS or bool(re.fullmatch(rf"\..+({_ANY_ENDING})\.\w{{6}}", name.lower()))
    return name.lower().endswith(PARTIAL)


def _visible_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and not is_hidden(PurePath(file.name)))


@contextlib.contextmanager
def unpacked(source: Path, beside: Path) -> Iterator[Path]:
    """The file or folder, or a temporary folder of what a zip archive holds, for as long as the context lasts.

    The folder is locked for as long, so that `remove_abandoned` tells it from one that a killed process left.
    """
    if not is_archive(source):
        yield source
        return
    with contextlib.ExitStack() as opened:
        with _locked(beside / UNPACKING):
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix=UNPACKED, dir=beside))
            opened.enter_context(_folder_lock(Path(folder)))
        unpack(source, Path(folder))
        yield Path(folder)


def remove_abandoned(beside: Path) -> None:
    """Remove the folders of unpacked archives that killed processes left there."""
    if not any(beside.glob(f"{UNPACKED}*")):
        return
    with _locked(beside / UNPACKING):
        for folder in beside.glob(f"{UNPACKED}*"):
            with contextlib.suppress(BlockingIOError, FileNotFoundError), _folder_lock(folder, wait=False):
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _folder_lock(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold the folder's lock. Without `wait`, BlockingIOError where another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def is_archive(source: Path) -> bool:
    """Whether it is a zip archive of files; a `.csv.zip` is one file."""
    return source.suffix.lower() == ".zip" and not _stem(source) and source.is_file()


def unpack(source: Path, folder: Path) -> None:
    """Write what the zip archive holds, except hidden files, to the folder. BadDelivery where it cannot be read."""
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
        raise BadDelivery(f"{source} holds two files of the same name. Unpack it, and keep one of them.") from error
    except DamagedFile as error:
        raise BadDelivery(f"{source} is no whole zip archive ({error}); download or copy it again.") from error
    except UnpacksToTooMuch as error:
        raise BadDelivery(f"{source} {error}. If it is sound, unpack it yourself, and give the folder.") from error


def _path_in(member: zipfile.ZipInfo, source: Path) -> PurePosixPath | None:
    """The relative path of a file in an archive; None for folders and hidden files. BadDelivery for a file that cannot
    be read, or would lie outside of the archive's folder."""
    # Some programs on Windows separate folders by a backslash.
    inside = PurePosixPath(member.filename.replace("\\", "/"))
    if ".." in inside.parts:
        raise BadDelivery(
            f"{source} holds a path that leads out of it ({member.filename}). Make the archive of the files alone."
        )
    if member.is_dir() or is_hidden(inside):
        return None
    if member.flag_bits & 1:
        raise BadDelivery(f"{source} is protected by a password. Unpack it yourself, and give the folder of its files.")
    return PurePosixPath(*(part for part in inside.parts if part != "/"))


def is_hidden(path: PurePath) -> bool:
    """Whether the relative path is one that macOS, Windows or an editor puts beside the files of a user."""
    return any((part.startswith(".") and part != "..") or part in SHADOWS for part in path.parts)


def delivered_files(source: Path, name: Path | None = None) -> list[Path]:
    """The one file, or those of the folder, or of the one folder in it that holds any. Messages call the source `name`.

    BadDelivery where there is none, where several folders hold files, where there is an archive among them, or a file
    that is still being written.
    """
    shown = name or source
    if source.is_file():
        files, names = [source], [source.name]
    elif source.is_dir():
        folder = _folder_of_files(source, shown)
        files, names = _visible_files(folder), [file.name for file in folder.iterdir()]
    else:
        raise BadDelivery(f"There is no file or folder {source} to deliver.")
    if writing := [name for name in names if _is_partial(name)]:
        raise BadDelivery(
            f"{', '.join(sorted(writing))} in {shown if source.is_dir() else source.parent} is still being written, "
            "by its name. Wait for it, or remove it."
        )
    if not any(_stem(file) for file in files if not is_companion(file)):
        what = f"{shown} holds no" if source.is_dir() else f"{shown} is no"
        raise BadDelivery(
            f"{what} {', '.join(ENDINGS)} file, so there is nothing to deliver. Save it as CSV or Parquet."
        )
    return files


def _folder_of_files(root: Path, shown: Path) -> Path:
    """The folder, or the one folder anywhere in it, whose data files are meant."""
    found: list[Path] = []
    for place, folders, names in os.walk(root):
        folder = Path(place)
        folders[:] = sorted(name for name in folders if not is_hidden(PurePath(name)))
        files = [folder / name for name in names if not is_hidden(PurePath(name))]
        if archives := sorted(str(file.relative_to(root)) for file in files if is_archive(file)):
            raise BadDelivery(
                f"{shown} holds the archive {archives[0]}. Unpack it, or give it alone: files are taken from one "
                "folder or one archive."
            )
        if any(_stem(file) for file in files):
            found.append(folder)
        if len(found) > 1:
            first, second = ("its top folder" if it == root else str(it.relative_to(root)) for it in found)
            raise BadDelivery(
                f"{shown} holds files in several folders ({first}, {second}). Give one of the folders, or put "
                "the files that belong together into one."
            )
    return found[0] if found else root


def _same_content(placed: Mapping[str, Path], kept: Sequence[Path], target: Path, before: Mapping[str, str]) -> bool:
    """Whether the batch would hold just what it holds; sizes are compared first, to spare reading."""
    if {*placed, *(file.name for file in kept)} != set(before):
        return False
    if any(file.stat().st_size != (target / name).stat().st_size for name, file in placed.items()):
        return False
    return all(sha256_of(file) == before[name] for name, file in placed.items())


def _copy(source: Path, target: Path) -> str:
    """Copy to disk (not only to the cache) and return the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    with source.open("rb") as reading, target.open("xb") as writing:
        while block := reading.read(COPY_BLOCK):
            digest.update(block)
            writing.write(block)
        writing.flush()
        os.fsync(writing.fileno())
    return digest.hexdigest()


def file_status(file: Path) -> list[int]:
    """Size, time of change (ns) and inode: another one for another file, or one that was written to."""
    return _identity(file.stat())


def _identity(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
