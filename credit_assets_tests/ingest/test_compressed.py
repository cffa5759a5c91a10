"""Compressed deliveries: damaged and malicious ones are refused with one message, and killed processes leave nothing
behind.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import multiprocessing
import os
import random
import signal
import zipfile
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from credit_assets.ingest import compressed
from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.csv_rows import columns_of, inspect_csv
from credit_assets.ingest.delivered_files import unpack, unpacked
from credit_assets.ingest.inbox import Inbox

METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bz2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}
TABLE = "loan_id,amount\n" + "".join(f"{n},{n * 7919 % 10007}\n" for n in range(2000))


def packed(file: Path, method: int, **members: str) -> Path:
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_csv", ".csv"), content)
    return file


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["tape.zip", "loans.csv.zip"])
def test_damage_anywhere_in_an_archive_gives_at_most_one_message(tmp_path: Path, method: str, name: str) -> None:
    whole = packed(tmp_path / name, METHODS[method], loans_csv=TABLE).read_bytes()
    draw, damaged = random.Random(1), tmp_path / "damaged" / name
    damaged.parent.mkdir()
    # The directory at the end and the start of the file are short: every byte of them, and a sample of the rest.
    places = [*range(60), *range(len(whole) - 140, len(whole)), *draw.sample(range(len(whole)), 150)]
    refused = 0
    for nth, place in enumerate(places):
        content = bytearray(whole)
        content[place] ^= draw.randrange(1, 256)
        damaged.write_bytes(content)
        target = tmp_path / f"{nth}"
        target.mkdir()
        try:
            if name == "tape.zip":
                unpack(damaged, target)
            else:
                columns_of(damaged, name)
                inspect_csv(damaged, name, target / "plain")
        except BadDelivery as error:
            refused += 1
            assert "\n" not in str(error) and name in str(error)
    assert refused > 100


@pytest.mark.parametrize("left", [5, 12, 400, -1])
def test_truncated_gzip_gives_one_message(tmp_path: Path, left: int) -> None:
    file = tmp_path / "loans.csv.gz"
    file.write_bytes(gzip.compress(TABLE.encode())[:left])
    with pytest.raises(BadDelivery, match="truncated or damaged") as error:
        columns_of(file, "loans.csv.gz")
        inspect_csv(file, "loans.csv.gz", tmp_path / "plain")
    assert "\n" not in str(error.value)


def test_disk_error_is_not_reported_as_damage() -> None:
    with pytest.raises(OSError, match="full"), compressed.reading_compressed():
        raise OSError(28, "full")
    with pytest.raises(compressed.DamagedFile), compressed.reading_compressed():
        bz2.BZ2Decompressor().decompress(b"no bz2")


@pytest.mark.parametrize("name", ["../loans.csv", "tape/../../loans.csv", "..\\loans.csv"])
def test_path_outside_the_archive_folder_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "tape.zip", "w") as archive:
        archive.writestr(name, TABLE)
    with pytest.raises(BadDelivery, match=r"tape\.zip contains a path that leads out of it"):
        Inbox(tmp_path / "inbox").deliver(tmp_path / "tape.zip", "book", "1")
    assert not list(tmp_path.rglob("*.csv"))


def test_archive_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "UNCHECKED_SIZE", 100_000)
    zeros = "0" * 5_000_000
    inbox = Inbox(tmp_path / "inbox")
    for method in ("deflate", "bz2", "lzma"):
        bomb = packed(tmp_path / "tape.zip", METHODS[method], loans_csv=zeros)
        with pytest.raises(BadDelivery, match=r"tape\.zip has .* and unpacks to more than .*, which no table does"):
            inbox.deliver(bomb, "book", "1")
    (tmp_path / "loans.csv.gz").write_bytes(gzip.compress(zeros.encode()))
    with pytest.raises(BadDelivery, match="unpacks to more than"):
        inspect_csv(tmp_path / "loans.csv.gz", "loans.csv.gz", tmp_path / "plain")
    assert inbox.batches("book") == []
    packed(tmp_path / "tape.zip", zipfile.ZIP_DEFLATED, loans_csv=TABLE * 10)
    assert inbox.deliver(tmp_path / "tape.zip", "book", "1").change == "new"


def test_archive_larger_than_the_free_disk_space_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed(tmp_path / "tape.zip", zipfile.ZIP_DEFLATED, loans_csv=TABLE)
    usage = compressed.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(compressed.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(BadDelivery, match=r"tape\.zip unpacks to .* kB, and 1\.0 kB are free"):
        Inbox(tmp_path / "inbox").deliver(tmp_path / "tape.zip", "book", "1")


def test_names_that_differ_only_in_case_count_as_a_duplicate(tmp_path: Path) -> None:
    from credit_assets.ingest.file_names import match_files

    unpack(packed(tmp_path / "tape.zip", 0, loans_csv="a\n1\n", LOANS_csv="a\n2\n"), tmp_path)
    with pytest.raises(BadDelivery, match=r"LOANS\.csv and loans\.csv in .* are the same file twice"):
        match_files(tmp_path.glob("*.csv"), {"loans": ["loans"]})


def _unpack_and_wait(archive: Path, home: Path, ready: Event) -> None:
    with unpacked(archive, home):
        ready.set()
        signal.pause()


def test_files_unpacked_by_a_killed_delivery_are_removed_and_others_stay(tmp_path: Path) -> None:
    inbox, archive = Inbox(tmp_path / "inbox"), packed(tmp_path / "tape.zip", 0, loans_csv=TABLE)
    home = tmp_path / "inbox" / "book"
    home.mkdir(parents=True)
    (home / ".cutting").mkdir()
    fork, processes = multiprocessing.get_context("fork"), []
    for _ in range(2):
        ready = fork.Event()
        process = fork.Process(target=_unpack_and_wait, args=(archive, home, ready))
        process.start()
        processes.append(process)
        assert ready.wait(20)
    try:
        assert len(list(home.glob(".unpacked-*"))) == 2
        os.kill(processes[0].pid, signal.SIGKILL)
        processes[0].join()
        inbox.tidy("book")
        [running] = home.glob(".unpacked-*")
        assert (running / "loans.csv").read_text() == TABLE
        assert not (home / ".cutting").exists()
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.join()
    inbox.deliver(archive, "book", "1")
    assert not list(home.glob(".unpacked-*"))


def test_files_being_split_are_not_removed(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    with inbox.parts_folder("book") as folder:
        inbox.tidy("book")
        assert folder.is_dir()
