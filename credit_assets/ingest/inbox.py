"""The inbox: deliveries of files, put in place atomically and recognised by content.

What is in the files is `typed_read.py`'s business.
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
from credit_assets.ingest.looks import NAME, Look, checked_name, file_status, look_at, sha256_of

COPY_BLOCK = 4 * 1024 * 1024


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
            return [look for entry in visible if (look := look_at(entry))]

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
        return visible_files(self.folder(portfolio, batch))

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
        with locked(self._portfolio(portfolio) / ".remembering"):
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
        with locked(home / ".delivering"), self.settled(portfolio):
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
        """Remove what killed processes left: unpacked archives, and files that were cut or copied in part. What a
        process is at work on stays."""
        home = self._portfolio(portfolio)
        if not home.is_dir():
            return
        remove_abandoned(home)
        for left, lock in ((".cutting", ".cutting.lock"), (".incoming", ".delivering")):
            if (home / left).is_dir():
                with contextlib.suppress(BlockingIOError), locked(home / lock, wait=False):
                    shutil.rmtree(home / left, ignore_errors=True)

    @contextlib.contextmanager
    def cutting(self, portfolio: str) -> Iterator[Path]:
        """The empty folder to cut files into batches in, for one process at a time; gone afterwards."""
        folder = self._portfolio(portfolio) / ".cutting"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(".cutting.lock")):
            # What a killed process had cut.
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
    """Outcomes under names that come after the known ones, less those that repeat the last of these."""
    told, telling = [before[file.name] for file in known], [sha256_of(file) for file in added]
    repeated = next(n for n in range(min(len(told), len(telling)), -1, -1) if told[len(told) - n :] == telling[:n])
    number = max(1, *(outcomes_order(file)[1] for file in known))
    return {f"{OUTCOMES}.{number + nth}{ending_of(file)}": file for nth, file in enumerate(added[repeated:], start=1)}


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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
