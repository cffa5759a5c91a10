"""The inbox: deliveries of files, put in place atomically, recognised by content, matched to tables.

What is in the files is `ingest.py`'s business.
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
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ENDINGS = (".csv.gz", ".csv", ".parquet")
OUTCOMES = "outcomes"
# Files that lenders and Kaggle put beside the data; there is nothing in them for a table.
COMPANIONS = {"homecredit_columns_description.csv", "sample_submission.csv", "synthetic.md"}
COPY_BLOCK = 4 * 1024 * 1024


class BadDelivery(Exception):
    """Delivered files that cannot be accepted as they are; nothing of them was committed.

    `examples` holds the first faults (file, row, column, value, rule), empty where the fault is not in
    single rows; `quarantine` is the file with all offending rows, if there is one.
    """

    def __init__(self, message: str, examples: pd.DataFrame | None = None, quarantine: Path | None = None) -> None:
        super().__init__(message)
        self.examples = pd.DataFrame() if examples is None else examples
        self.quarantine = quarantine


@dataclass(frozen=True)
class Delivery:
    """What `Inbox.deliver` did: the batch's folder, its files with their SHA-256, what was replaced."""

    portfolio: str
    batch: str
    folder: Path
    files: Mapping[str, str]
    change: Literal["new", "replaced", "unchanged"]
    superseded: Path | None = None


@dataclass(frozen=True)
class Matched:
    """Files sorted by the table they belong to; `unknown` ones belong to none."""

    tables: Mapping[str, tuple[Path, ...]]
    companions: tuple[Path, ...]
    unknown: tuple[Path, ...]


class Inbox:
    """The folder `root/<portfolio>/<batch>/` of delivered files. Hidden folders beside the batches hold:

    `.incoming` copies in progress, `.ready` complete copies about to be swapped in, `.superseded/<batch>/<n>`
    the deliveries that corrections replaced (1 is the oldest), `.quarantine/<batch>` offending rows,
    `.fingerprints/<batch>.json` the SHA-256 of the files as last seen.

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
        with self._settled(portfolio):
            return sorted(entry.name for entry in home.iterdir() if entry.is_dir() and NAME.fullmatch(entry.name))

    def folder(self, portfolio: str, batch: str) -> Path:
        """Where the batch's files are. BadDelivery if it was never delivered."""
        if checked_name("batch", batch) not in self.batches(portfolio):
            raise BadDelivery(f"Portfolio {portfolio} has no batch {batch} in the inbox {self.root}.")
        return self._portfolio(portfolio) / batch

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
            status = _status(file)
            known = remembered.get(file.name)
            sha256 = known["sha256"] if known and known["status"] == status else sha256_of(file)
            seen[file.name] = {"status": status, "sha256": sha256}
        if seen != remembered:
            self._remember(portfolio, batch, seen)
        return {name: entry["sha256"] for name, entry in seen.items()}

    def deliver(self, folder: Path, portfolio: str, batch: str) -> Delivery:
        """Put a copy of the files of a folder (or zip archive) in place as the batch, in one rename.

        A batch that is there already is replaced, the replaced delivery kept under `.superseded`; the same
        content again changes nothing. A folder with nothing but an outcomes file adds it to the batch; a
        correction without one keeps the outcomes delivered before. Raises BadDelivery for a bad name, a
        folder without files, or outcomes of a batch that does not exist.
        """
        checked_name("portfolio", portfolio)
        checked_name("batch", batch)
        home = self._portfolio(portfolio)
        home.mkdir(parents=True, exist_ok=True)
        with _unpacked(Path(folder), home) as unpacked:
            return self._deliver(_delivered_files(unpacked), home, portfolio, batch)

    def _deliver(self, delivered: Sequence[Path], home: Path, portfolio: str, batch: str) -> Delivery:
        target = home / batch
        with _locked(home / ".delivering"):
            before = self.fingerprint(portfolio, batch) if batch in self.batches(portfolio) else {}
            kept = _kept(delivered, target)
            if before and _same_content(delivered, kept, target, before):
                return Delivery(portfolio, batch, target, before, "unchanged")
            # What an earlier, killed delivery had copied so far.
            shutil.rmtree(home / ".incoming", ignore_errors=True)
            incoming = home / ".incoming" / batch
            incoming.mkdir(parents=True)
            seen: dict[str, dict[str, Any]] = {}
            for file in delivered:
                sha256 = _copy(file, incoming / file.name)
                seen[file.name] = {"status": _status(incoming / file.name), "sha256": sha256}
            for file in kept:
                os.link(file, incoming / file.name)
                seen[file.name] = {"status": _status(file), "sha256": before[file.name]}
            _sync_folder(incoming)
            with self._settled(portfolio):
                (home / ".ready").mkdir(exist_ok=True)
                incoming.rename(home / ".ready" / batch)
                _sync_folder(home / ".ready")
                superseded = self._swap_in(portfolio, batch)
            self._remember(portfolio, batch, seen)
        files = {name: entry["sha256"] for name, entry in sorted(seen.items())}
        return Delivery(portfolio, batch, target, files, "replaced" if superseded else "new", superseded)

    def _portfolio(self, portfolio: str) -> Path:
        return self.root / checked_name("portfolio", portfolio)

    def _swap_in(self, portfolio: str, batch: str) -> Path | None:
        """Make the complete copy in `.ready` the batch; where the replaced delivery went."""
        home = self._portfolio(portfolio)
        superseded = None
        if (home / batch).exists():
            history = home / ".superseded" / batch
            history.mkdir(parents=True, exist_ok=True)
            number = 1 + max((int(entry.name) for entry in history.iterdir()), default=0)
            superseded = history / str(number)
            (home / batch).rename(superseded)
            _sync_folder(history)
        (home / ".ready" / batch).rename(home / batch)
        _sync_folder(home)
        return superseded

    @contextlib.contextmanager
    def _settled(self, portfolio: str) -> Iterator[None]:
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

    def _remember(self, portfolio: str, batch: str, seen: Mapping[str, dict[str, Any]]) -> None:
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


def match_files(files: Iterable[Path], tables: Mapping[str, Sequence[str]], optional: Collection[str] = ()) -> Matched:
    """Which file belongs to which table, by name without ending, whatever its case.

    `tables` maps a table to the names of its source files, any one of which will do; an `optional` table
    may have none. Raises BadDelivery for a table without a file, or two files of one name (`bureau.csv`
    beside `bureau.csv.gz`).
    """
    files = sorted(files)
    folder = files[0].parent if files else None
    table_of = {stem.lower(): table for table, stems in tables.items() for stem in stems}
    found: dict[str, Path] = {}
    companions, unknown = [], []
    for file in files:
        stem = _stem(file)
        if file.name.lower() in COMPANIONS:
            companions.append(file)
        elif stem not in table_of:
            unknown.append(file)
        elif stem in found:
            raise BadDelivery(
                f"Table {table_of[stem]}: {found[stem].name} and {file.name} in {folder} are the same file "
                "twice. Keep one of them."
            )
        else:
            found[stem] = file
    matched = {
        table: tuple(found[stem.lower()] for stem in stems if stem.lower() in found) for table, stems in tables.items()
    }
    missing = [table for table, parts in matched.items() if not parts and table not in optional]
    if missing:
        table = missing[0]
        others = f" (also missing: the files of {', '.join(missing[1:])})" if missing[1:] else ""
        strangers = f" Unknown files there: {', '.join(file.name for file in unknown)}." if unknown else ""
        raise BadDelivery(
            f"Table {table}: no file {' or '.join(tables[table])} ({', '.join(ENDINGS)}) "
            f"in {folder or 'the delivery'}{others}.{strangers}"
        )
    return Matched(matched, tuple(companions), tuple(unknown))


def sha256_of(file: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _stem(file: Path) -> str | None:
    """The file's name in lower case without its ending; None if it is not a data file."""
    name = file.name.lower()
    return next((name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending)), None)


def _kept(delivered: Sequence[Path], target: Path) -> list[Path]:
    """The files of the batch's folder that stay in it beside the delivered ones."""
    data = [file for file in delivered if file.name.lower() not in COMPANIONS]
    only_outcomes = all(_stem(file) == OUTCOMES for file in data)
    if not target.is_dir():
        if only_outcomes:
            raise BadDelivery(
                f"Outcomes alone were delivered for batch {target.name}, which does not exist ({target}). "
                "Deliver its application files first, or name the batch that the outcomes belong to."
            )
        return []
    brings_outcomes = any(_stem(file) == OUTCOMES for file in data)
    names = {file.name for file in delivered}
    return [
        file
        for file in _visible_files(target)
        if file.name not in names and (not brings_outcomes if _stem(file) == OUTCOMES else only_outcomes)
    ]


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold the file's lock, which goes with its process."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _visible_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))


@contextlib.contextmanager
def _unpacked(source: Path, beside: Path) -> Iterator[Path]:
    """The folder, or what a zip archive holds, for as long as the context lasts."""
    if source.suffix.lower() != ".zip" or not source.is_file():
        yield source
        return
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=beside) as folder:
        try:
            with zipfile.ZipFile(source) as archive:
                archive.extractall(folder)
        except (zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise BadDelivery(f"{source} is no whole zip archive ({error}); download or copy it again.") from error
        yield Path(folder)


def _delivered_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise BadDelivery(f"There is no folder {folder} to deliver.")
    files = _visible_files(folder)
    if not any(_stem(file) for file in files if file.name.lower() not in COMPANIONS):
        raise BadDelivery(f"Folder {folder} holds no {', '.join(ENDINGS)} file: nothing to deliver.")
    return files


def _same_content(delivered: Sequence[Path], kept: Sequence[Path], target: Path, before: Mapping[str, str]) -> bool:
    """Whether the batch would hold just what it holds; sizes are compared first, to spare reading."""
    if {file.name for file in [*delivered, *kept]} != set(before):
        return False
    if any(file.stat().st_size != (target / file.name).stat().st_size for file in delivered):
        return False
    return all(sha256_of(file) == before[file.name] for file in delivered)


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


def _status(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
