"""The inbox: deliveries of files, put in place atomically and recognised by content.

The content of the files is read in `typed_read.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.delivered_files import delivered_files, remove_abandoned, unpacked, visible_files
from credit_assets.ingest.file_names import OUTCOMES, ending_of, is_companion, is_outcomes, outcomes_order
from credit_assets.ingest.locks import locked
from credit_assets.ingest.snapshots import NAME, FolderSnapshot, checked_name, file_status, sha256_of, snapshot_of

COPY_BLOCK = 4 * 1024 * 1024


@dataclass(frozen=True)
class Delivery:
    """The result of `Inbox.deliver`: the batch's folder, its files with their SHA-256, and where the replaced files
    are.

    A `change` of `added` means that outcomes were added to the existing files.
    """

    portfolio: str
    batch: str
    folder: Path
    files: Mapping[str, str]
    change: Literal["new", "replaced", "added", "unchanged"]
    superseded: Path | None = None


class Inbox:
    """The folders `root/<portfolio>/<batch>/` of delivered files. Hidden folders beside the batches hold:

    `.incoming` copies in progress, `.ready` complete copies about to be swapped in, `.superseded/<batch>/<n>`
    replaced or withdrawn deliveries (1 is the oldest), `.quarantine/<batch>` bad rows, `.fingerprints/<batch>.json` the
    SHA-256 of the files when last read, `.cutting` parts of a split file, `.unpacked-*` the content of a zip archive.
    The next delivery, run or upkeep removes what a killed process left in them (`tidy`).

    A process killed at any moment leaves either the old delivery or the new one: the next access to the portfolio
    swaps in a complete copy waiting in `.ready`. `.delivering` and `.swapping` are lock files: one delivery at a time,
    and no reads while folders are swapped.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()

    def batches(self, portfolio: str) -> list[str]:
        """The names of the portfolio's batches, sorted."""
        home = self._portfolio(portfolio)
        if not home.is_dir():
            return []
        with self.swaps_locked(portfolio):
            return sorted(entry.name for entry in home.iterdir() if entry.is_dir() and NAME.fullmatch(entry.name))

    def snapshots(self, portfolio: str) -> list[FolderSnapshot]:
        """Snapshots of everything beside the batches' hidden folders, by name; entries removed meanwhile are left
        out."""
        home = self._portfolio(portfolio)
        if not home.is_dir():
            return []
        with self.swaps_locked(portfolio), os.scandir(home) as entries:
            visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
            return [snapshot for entry in visible if (snapshot := snapshot_of(entry))]

    def folder(self, portfolio: str, batch: str) -> Path:
        """The batch's folder. Raises BadDelivery if it was never delivered."""
        folder = self._portfolio(portfolio) / checked_name("batch", batch)
        if folder.parent.is_dir():
            with self.swaps_locked(portfolio):
                if folder.is_dir():
                    return folder
        raise BadDelivery(f"Portfolio {portfolio} has no batch {batch} in the inbox {self.root}.")

    def files(self, portfolio: str, batch: str) -> list[Path]:
        """The batch's files, sorted by name."""
        return visible_files(self.folder(portfolio, batch))

    def quarantine(self, portfolio: str, batch: str) -> Path:
        """The folder of the batch's bad rows; it may not exist yet."""
        return self._portfolio(portfolio) / ".quarantine" / checked_name("batch", batch)

    def fingerprint(self, portfolio: str, batch: str) -> dict[str, str]:
        """The SHA-256 of each file, by name. Files of unchanged size, time and inode are not read again."""
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

    def changed_files(
        self, portfolio: str, snapshot: FolderSnapshot, expected: Mapping[str, str], read: bool
    ) -> set[str]:
        """The names of the files whose content does not have the expected SHA-256, or that are missing or unreadable.

        A file is read only if neither its size nor a stored fingerprint decides; without `read`, such a file is named
        unread.
        """
        remembered = self._remembered(portfolio, snapshot.batch)
        differing, hashed = set(), {}
        for name, sha256 in expected.items():
            status, known, found = snapshot.files.get(name), remembered.get(name), None
            if known and known["status"] == status:
                found = known["sha256"]
            elif read and status and not (known and known["sha256"] == sha256 and known["status"][0] != status[0]):
                with contextlib.suppress(BadDelivery):
                    found = sha256_of(snapshot.folder / name)
                    hashed[name] = {"status": status, "sha256": found}
            if found != sha256:
                differing.add(name)
        if hashed:
            self.remember(portfolio, snapshot.batch, hashed)
        return differing

    def remember(self, portfolio: str, batch: str, seen: Mapping[str, Mapping[str, Any]]) -> None:
        """Store files' SHA-256, each with the `status` that the file had before it was read."""
        with locked(self._portfolio(portfolio) / ".remembering"):
            self._remember(portfolio, batch, self._remembered(portfolio, batch) | dict(seen))

    def deliver(
        self, source: Path, portfolio: str, batch: str, accept: Callable[[Sequence[Path]], None] = lambda files: None
    ) -> Delivery:
        """Copy one file, or the files of a folder or zip archive, and rename the copy to the batch's folder.

        An existing batch is replaced, and its files move to `.superseded`; identical content changes nothing. A
        delivery of outcomes alone adds them to the batch under the next number (`outcomes.2.csv`); a correction without
        outcomes keeps those delivered before. A `.csv.zip` is delivered as one file; other zip archives are unpacked.
        `accept` is called with the files first, and raises BadDelivery to refuse them. Raises BadDelivery for an
        invalid name, a source without data files or with one that is still being written, or outcomes for a missing
        batch.
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
        """Remove the batch from the inbox, in one rename. Returns its new folder; None if the batch is not there."""
        checked_name("batch", batch)
        home = self._portfolio(portfolio)
        if not home.is_dir():
            return None
        with locked(home / ".delivering"), self.swaps_locked(portfolio):
            superseded = self._set_aside(portfolio, batch)
            self._memory(portfolio, batch).unlink(missing_ok=True)
        shutil.rmtree(self.quarantine(portfolio, batch), ignore_errors=True)
        return superseded

    def last_outcomes(self, portfolio: str, batch: str) -> Path:
        """The batch's latest file of outcomes. Raises BadDelivery if its outcomes are in no separate file."""
        outcomes = sorted(filter(is_outcomes, self.files(portfolio, batch)), key=outcomes_order)
        if not outcomes:
            raise BadDelivery(f"Batch {batch} of {portfolio} has no outcomes in a separate file.")
        return outcomes[-1]

    def withdraw_outcomes(self, portfolio: str, batch: str) -> tuple[str, Path]:
        """Remove the batch's latest file of outcomes. Returns its name and new path.

        Raises BadDelivery if the batch's outcomes are in no separate file."""
        home = self.folder(portfolio, batch).parent
        with locked(home / ".delivering"):
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
        """Remove what killed processes left: unpacked archives and partial copies. Folders in use are kept."""
        home = self._portfolio(portfolio)
        if not home.is_dir():
            return
        remove_abandoned(home)
        for left, lock in ((".cutting", ".cutting.lock"), (".incoming", ".delivering")):
            if (home / left).is_dir():
                with contextlib.suppress(BlockingIOError), locked(home / lock, wait=False):
                    shutil.rmtree(home / left, ignore_errors=True)

    @contextlib.contextmanager
    def parts_folder(self, portfolio: str) -> Iterator[Path]:
        """An empty folder for the parts of a split file, for one process at a time; removed afterwards."""
        folder = self._portfolio(portfolio) / ".cutting"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(".cutting.lock")):
            # Parts left by a killed process.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder)

    def _deliver(self, delivered: Sequence[Path], home: Path, portfolio: str, batch: str) -> Delivery:
        target = home / batch
        with locked(home / ".delivering"):
            before = self.fingerprint(portfolio, batch) if batch in self.batches(portfolio) else {}
            placed, kept, adds = _placed(delivered, target, before)
            if before and _same_content(placed, kept, target, before):
                return Delivery(portfolio, batch, target, before, "unchanged")
            # Partial copies left by a killed process.
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
        """Make the complete copy the batch. Returns the folder of the replaced delivery."""
        home = self._portfolio(portfolio)
        with self.swaps_locked(portfolio):
            (home / ".ready").mkdir(exist_ok=True)
            incoming.rename(home / ".ready" / batch)
            _sync_folder(home / ".ready")
            return self._swap_in(portfolio, batch)

    def _swap_in(self, portfolio: str, batch: str) -> Path | None:
        """Make the complete copy in `.ready` the batch. Returns the folder of the replaced delivery."""
        home = self._portfolio(portfolio)
        superseded = self._set_aside(portfolio, batch)
        (home / ".ready" / batch).rename(home / batch)
        _sync_folder(home)
        return superseded

    def _set_aside(self, portfolio: str, batch: str) -> Path | None:
        """Move the batch to `.superseded`. Returns its new folder; None if the batch was not there."""
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
    def swaps_locked(self, portfolio: str) -> Iterator[None]:
        """Hold the lock on swaps, after completing a swap that a killed process left unfinished."""
        home = self._portfolio(portfolio)
        with locked(home / ".swapping"):
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


def _placed(
    delivered: Sequence[Path], target: Path, before: Mapping[str, str]
) -> tuple[dict[str, Path], list[Path], bool]:
    """The delivered files by their names in the batch's folder; the existing files that stay; whether the delivery adds
    outcomes alone to an existing batch."""
    data = [file for file in delivered if not is_companion(file)]
    only_outcomes = all(is_outcomes(file) for file in data)
    if not target.is_dir():
        if only_outcomes:
            raise BadDelivery(
                f"Outcomes alone were delivered for batch {target.name}, which does not exist ({target}). "
                "Deliver its application files first, or name the batch that the outcomes belong to."
            )
        return {file.name: file for file in delivered}, [], False
    there = visible_files(target)
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
    """New names for added outcomes, numbered after the known ones, without those that repeat the last of these."""
    old, new = [before[file.name] for file in known], [sha256_of(file) for file in added]
    repeated = next(n for n in range(min(len(old), len(new)), -1, -1) if old[len(old) - n :] == new[:n])
    number = max(1, *(outcomes_order(file)[1] for file in known))
    return {f"{OUTCOMES}.{number + nth}{ending_of(file)}": file for nth, file in enumerate(added[repeated:], start=1)}


def _same_content(placed: Mapping[str, Path], kept: Sequence[Path], target: Path, before: Mapping[str, str]) -> bool:
    """Whether the batch's content would not change; sizes are compared first, to avoid reading files."""
    if {*placed, *(file.name for file in kept)} != set(before):
        return False
    if any(file.stat().st_size != (target / name).stat().st_size for name, file in placed.items()):
        return False
    return all(sha256_of(file) == before[name] for name, file in placed.items())


def _copy(source: Path, target: Path) -> str:
    """Copy and flush to disk. Returns the SHA-256 of the copied bytes."""
    digest = hashlib.sha256()
    with source.open("rb") as reading, target.open("xb") as writing:
        while block := reading.read(COPY_BLOCK):
            digest.update(block)
            writing.write(block)
        writing.flush()
        os.fsync(writing.fileno())
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
