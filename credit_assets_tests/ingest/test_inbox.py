"""The inbox: complete deliveries or none, corrections, later outcomes, and files identified by their content."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.delivered_files import unpack
from credit_assets.ingest.file_names import match_files, outcomes_order
from credit_assets.ingest.inbox import Inbox
from credit_assets.ingest.snapshots import FolderSnapshot, sha256_of

STEMS = {"loans": ["loans_train", "loans_test"], "payments": ["Payments"], "outcomes": ["outcomes"]}


def folder_of(folder: Path, **files: str) -> Path:
    """A folder with the given files; `_csv` at the end of a name stands for `.csv`."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("_csv", ".csv")).write_text(content)
    return folder


def contents(files: list[Path]) -> dict[str, str]:
    return {file.name: file.read_text() for file in files}


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "inbox")


def test_delivered_folder_becomes_the_batch(inbox: Inbox, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", loans_csv="a\n1\n", payments_csv="b\n2\n")
    (source / ".DS_Store").write_text("not data")
    delivery = inbox.deliver(source, "book", "2026-01")
    assert delivery.change == "new"
    assert delivery.superseded is None
    assert delivery.folder == tmp_path / "inbox" / "book" / "2026-01"
    assert contents(inbox.files("book", "2026-01")) == {"loans.csv": "a\n1\n", "payments.csv": "b\n2\n"}
    assert delivery.files == {"loans.csv": sha256_of(source / "loans.csv"), **delivery.files}
    assert inbox.fingerprint("book", "2026-01") == delivery.files


def test_batches_are_listed_by_name_without_hidden_folders(inbox: Inbox, tmp_path: Path) -> None:
    assert inbox.batches("book") == []
    source = folder_of(tmp_path / "in", loans_csv="a\n1\n")
    for batch in ["2026-02", "2026-01"]:
        inbox.deliver(source, "book", batch)
    folder_of(tmp_path / "more", loans_csv="a\n2\n")
    inbox.deliver(tmp_path / "more", "book", "2026-01")
    assert inbox.batches("book") == ["2026-01", "2026-02"]


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a b", "-x", "2026-01\n", "ä"])
def test_name_that_cannot_be_a_folder_is_refused(inbox: Inbox, tmp_path: Path, name: str) -> None:
    source = folder_of(tmp_path / "in", loans_csv="a\n1\n")
    with pytest.raises(BadDelivery, match="cannot be a batch's name"):
        inbox.deliver(source, "book", name)
    with pytest.raises(BadDelivery, match="cannot be a portfolio's name"):
        inbox.deliver(source, name, "2026-01")


def test_folder_without_data_is_refused(inbox: Inbox, tmp_path: Path) -> None:
    with pytest.raises(BadDelivery, match="There is no file or folder"):
        inbox.deliver(tmp_path / "nowhere", "book", "2026-01")
    for name, source in {"in": tmp_path / "in", "README": tmp_path / "in" / "README"}.items():
        if name == "in":
            folder_of(source, README="hello", **{"SYNTHETIC.md": "made up"})
        with pytest.raises(
            BadDelivery, match=rf"{name} (is not a|contains no) \.csv\.gz, .* file, so there is nothing to deliver"
        ):
            inbox.deliver(source, "book", "2026-01")
    with pytest.raises(BadDelivery, match="no batch 2026-01"):
        inbox.files("book", "2026-01")


def test_zip_archive_is_delivered_like_its_content(inbox: Inbox, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", bureau_csv="1", applications_csv="2")
    archive = Path(shutil.make_archive(str(tmp_path / "download"), "zip", folder))
    inbox.deliver(archive, "book", "2026-01")
    assert contents(inbox.files("book", "2026-01")) == contents(sorted(folder.iterdir()))
    assert inbox.deliver(folder, "book", "2026-01").change == "unchanged"
    assert inbox.batches("book") == ["2026-01"]


def zipped(file: Path, names: Sequence[str], password: bool = False) -> Path:
    """A zip archive of small files with these names."""
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, f"{name}\n")
    if password:
        content = bytearray(file.read_bytes())
        for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.index(mark) + flags] |= 1
        file.write_bytes(content)
    return file


# The relevant files among those of a folder, packed or not.
OF_ONE_FOLDER = [
    (["loans.csv"], ["loans.csv"]),
    (["tape/loans.csv", "__MACOSX/tape/._loans.csv"], ["loans.csv"]),
    (
        ["tape/", "tape/loans.csv", "tape/bureau.parquet", "tape/read me.txt"],
        ["bureau.parquet", "loans.csv", "read me.txt"],
    ),
    (["a/b/c/loans.csv", "a/.DS_Store", ".DS_Store", "a/b/Thumbs.db", ".git/old.csv"], ["loans.csv"]),
    (
        ["tape/loans.csv", "tape/.loans.csv.swp", "tape/._loans.csv", "tape/desktop.ini", "docs/terms.pdf"],
        ["loans.csv"],
    ),
    (["tape-main/data/loans.csv.gz", "tape-main/README.md", "tape-main/src/code.py"], ["loans.csv.gz"]),
]
OF_SEVERAL = [
    (["2024/loans.csv", "2025/loans.csv"], ["several folders", "2024", "2025"]),
    (["loans.csv", "old/loans.csv"], ["several folders", "its top folder", "old"]),
    (["tape/loans.csv", "tape/more.zip"], ["the archive", "more.zip", "Unpack it"]),
    (["tape/more.zip"], ["the archive", "more.zip"]),
    (["tape/loans.xlsx"], ["contains no .csv.gz", "Save it as CSV or Parquet"]),
    ([], ["contains no .csv.gz"]),
]


def write_folder(folder: Path, names: Sequence[str]) -> Path:
    """A folder of small files with these names."""
    folder.mkdir()
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".zip"):
            zipped(folder / name, ["x.csv"])
        elif not name.endswith("/"):
            (folder / name).write_text(f"{name}\n")
    return folder


@pytest.mark.parametrize(("names", "meant"), OF_ONE_FOLDER, ids=lambda names: names[0])
def test_folder_and_zip_of_it_deliver_the_one_folder_with_files(
    inbox: Inbox, tmp_path: Path, names: list[str], meant: list[str]
) -> None:
    packed = zipped(tmp_path / "tape.zip", names)
    inbox.deliver(packed, "book", "1")
    assert [file.name for file in inbox.files("book", "1")] == meant
    assert inbox.deliver(write_folder(tmp_path / "in", names), "book", "1").change == "unchanged"


def test_folders_in_a_windows_archive_are_recognised(inbox: Inbox, tmp_path: Path) -> None:
    inbox.deliver(zipped(tmp_path / "tape.zip", ["tape\\loans.csv"]), "book", "1")
    assert [file.name for file in inbox.files("book", "1")] == ["loans.csv"]


def test_archive_writes_nothing_outside_its_folder(tmp_path: Path) -> None:
    packed = zipped(tmp_path / "tape.zip", ["/etc/abs.csv"])
    (tmp_path / "a" / "b").mkdir(parents=True)
    unpack(packed, tmp_path / "a" / "b")
    assert sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.csv")) == [
        "a/b/etc/abs.csv",
    ]


@pytest.mark.parametrize(("names", "told"), OF_SEVERAL, ids=lambda names: str(names[:1]))
@pytest.mark.parametrize("packed", [True, False])
def test_anything_but_the_files_of_one_folder_is_refused_by_its_given_name(
    inbox: Inbox, tmp_path: Path, names: list[str], told: list[str], packed: bool
) -> None:
    source = zipped(tmp_path / "tape.zip", names) if packed else write_folder(tmp_path / "tape", names)
    if packed and "tape/more.zip" in names:
        with zipfile.ZipFile(source, "w") as archive:
            for name in names:
                archive.writestr(name, zipped(tmp_path / "inner.zip", ["x.csv"]).read_bytes())
    with pytest.raises(BadDelivery) as error:
        inbox.deliver(source, "book", "1")
    for part in [str(source), *told]:
        assert part in str(error.value)
    assert ".unpacked" not in str(error.value) and "\n" not in str(error.value)


def test_archive_with_a_password_or_duplicate_names_is_refused(inbox: Inbox, tmp_path: Path) -> None:
    with pytest.raises(BadDelivery, match=r"tape\.zip is protected by a password"):
        inbox.deliver(zipped(tmp_path / "tape.zip", ["loans.csv"], password=True), "book", "1")
    with pytest.raises(BadDelivery, match=r"twice\.zip contains two files of the same name"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inbox.deliver(zipped(tmp_path / "twice.zip", ["loans.csv", "loans.csv"]), "book", "1")


@pytest.mark.parametrize("name", ["loans.csv", "loans.csv.gz", "Loans.CSV.zip", "loans.parquet"])
def test_single_file_becomes_the_batch_unchanged(inbox: Inbox, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"whatever it holds")
    (tmp_path / "beside.csv").touch()
    assert inbox.deliver(tmp_path / name, "book", "2026-01").change == "new"
    assert contents(inbox.files("book", "2026-01")) == {name: "whatever it holds"}
    assert inbox.deliver(tmp_path / name, "book", "2026-01").change == "unchanged"


def test_single_file_of_outcomes_joins_its_batch(inbox: Inbox, tmp_path: Path) -> None:
    inbox.deliver(folder_of(tmp_path / "v1", loans_csv="a\n1\n"), "book", "2026-01")
    (tmp_path / "outcomes.csv").write_text("a,t\n1,0\n")
    assert inbox.deliver(tmp_path / "outcomes.csv", "book", "2026-01").change == "added"
    assert [file.name for file in inbox.files("book", "2026-01")] == ["loans.csv", "outcomes.csv"]


def test_single_file_that_is_being_written_is_refused(inbox: Inbox, tmp_path: Path) -> None:
    (tmp_path / "loans.csv.part").touch()
    with pytest.raises(BadDelivery, match=r"loans\.csv\.part in .* is still being written, according to its name"):
        inbox.deliver(tmp_path / "loans.csv.part", "book", "2026-01")


def test_parts_are_split_in_a_folder_that_is_no_batch(inbox: Inbox, tmp_path: Path) -> None:
    with inbox.parts_folder("book") as folder:
        (folder / "part.csv").write_text("a\n")
        assert (inbox.batches("book"), inbox.snapshots("book")) == ([], [])
        inbox.deliver(folder, "book", "2026-01")
    assert not folder.exists()
    assert [look.batch for look in inbox.snapshots("book")] == ["2026-01"]


def test_truncated_zip_archive_is_refused(inbox: Inbox, tmp_path: Path) -> None:
    archive = tmp_path / "download.zip"
    whole = Path(shutil.make_archive(str(tmp_path / "whole"), "zip", folder_of(tmp_path / "in", bureau_csv="1")))
    archive.write_bytes(whole.read_bytes()[:-30])
    with pytest.raises(BadDelivery, match="is not a complete zip archive"):
        inbox.deliver(archive, "book", "2026-01")
    assert inbox.batches("book") == []


def test_redelivery_of_the_same_content_changes_nothing(inbox: Inbox, tmp_path: Path) -> None:
    first = inbox.deliver(folder_of(tmp_path / "in", loans_csv="a\n1\n"), "book", "2026-01")
    before = [file.stat() for file in inbox.files("book", "2026-01")]
    again = inbox.deliver(folder_of(tmp_path / "again", loans_csv="a\n1\n"), "book", "2026-01")
    assert again.change == "unchanged"
    assert again.files == first.files
    assert [file.stat() for file in inbox.files("book", "2026-01")] == before


def test_correction_replaces_the_batch_and_keeps_the_old_one_aside(inbox: Inbox, tmp_path: Path) -> None:
    inbox.deliver(folder_of(tmp_path / "v1", loans_csv="a\n1\n", payments_csv="b\n2\n"), "book", "2026-01")
    second = inbox.deliver(folder_of(tmp_path / "v2", loans_csv="a\n3\n"), "book", "2026-01")
    third = inbox.deliver(folder_of(tmp_path / "v3", loans_csv="a\n4\n"), "book", "2026-01")
    assert (second.change, third.change) == ("replaced", "replaced")
    assert contents(inbox.files("book", "2026-01")) == {"loans.csv": "a\n4\n"}
    assert second.superseded and third.superseded
    assert contents(sorted(second.superseded.iterdir())) == {"loans.csv": "a\n1\n", "payments.csv": "b\n2\n"}
    assert contents(sorted(third.superseded.iterdir())) == {"loans.csv": "a\n3\n"}


def test_later_outcomes_join_their_batch(inbox: Inbox, tmp_path: Path) -> None:
    inbox.deliver(folder_of(tmp_path / "v1", loans_csv="a\n1\n"), "book", "2026-01")
    inode = inbox.files("book", "2026-01")[0].stat().st_ino
    later = folder_of(tmp_path / "later", outcomes_csv="a,t\n1,0\n")
    (later / "SYNTHETIC.md").write_text("made up")
    delivery = inbox.deliver(later, "book", "2026-01")
    assert delivery.change == "added"
    files = inbox.files("book", "2026-01")
    assert contents(files) == {"SYNTHETIC.md": "made up", "loans.csv": "a\n1\n", "outcomes.csv": "a,t\n1,0\n"}
    assert files[1].stat().st_ino == inode
    assert inbox.deliver(later, "book", "2026-01").change == "unchanged"


def test_outcomes_of_an_unknown_batch_are_refused(inbox: Inbox, tmp_path: Path) -> None:
    with pytest.raises(BadDelivery, match="batch 2026-01, which does not exist"):
        inbox.deliver(folder_of(tmp_path / "in", outcomes_csv="a,t\n1,0\n"), "book", "2026-01")
    assert inbox.batches("book") == []


def test_correction_keeps_the_outcomes_delivered_before(inbox: Inbox, tmp_path: Path) -> None:
    inbox.deliver(folder_of(tmp_path / "v1", loans_csv="a\n1\n", old_csv="b\n"), "book", "2026-01")
    inbox.deliver(folder_of(tmp_path / "later", outcomes_csv="a,t\n1,0\n"), "book", "2026-01")
    inbox.deliver(folder_of(tmp_path / "v2", loans_csv="a\n2\n"), "book", "2026-01")
    assert contents(inbox.files("book", "2026-01")) == {"loans.csv": "a\n2\n", "outcomes.csv": "a,t\n1,0\n"}


# -- partial outcomes ----------------------------------------------------------------------------------


class Months:
    """Deliveries to one batch, of files given as name=content."""

    def __init__(self, inbox: Inbox, tmp_path: Path) -> None:
        self.inbox, self.tmp_path, self.number = inbox, tmp_path, 0

    def deliver(self, **files: str) -> str:
        self.number += 1
        folder = folder_of(self.tmp_path / f"month-{self.number}", **files)
        return self.inbox.deliver(folder, "book", "2026-01").change

    def there(self) -> dict[str, str]:
        return {file.name: file.read_text() for file in self.inbox.files("book", "2026-01") if file.stem != "loans"}


@pytest.fixture
def months(inbox: Inbox, tmp_path: Path) -> Months:
    months = Months(inbox, tmp_path)
    assert months.deliver(loans_csv="a\n1\n") == "new"
    return months


def test_second_file_of_outcomes_is_added_under_a_number(months: Months) -> None:
    assert [months.deliver(outcomes_csv=content) for content in ("may", "june", "july")] == ["added"] * 3
    assert months.there() == {"outcomes.csv": "may", "outcomes.2.csv": "june", "outcomes.3.csv": "july"}


def test_added_outcomes_keep_their_extension(months: Months, tmp_path: Path) -> None:
    months.deliver(outcomes_csv="may")
    (tmp_path / "june").mkdir()
    (tmp_path / "june" / "Outcomes.csv.gz").write_text("june")
    months.inbox.deliver(tmp_path / "june", "book", "2026-01")
    assert months.there() == {"outcomes.csv": "may", "outcomes.2.csv.gz": "june"}


def test_redelivery_of_the_last_outcomes_changes_nothing(months: Months) -> None:
    months.deliver(outcomes_csv="may")
    assert months.deliver(outcomes_csv="may") == "unchanged"
    months.deliver(outcomes_csv="june")
    assert months.deliver(outcomes_csv="june") == "unchanged"
    assert months.there() == {"outcomes.csv": "may", "outcomes.2.csv": "june"}


def test_redelivery_of_earlier_outcomes_is_added_as_the_newest(months: Months) -> None:
    for content in ("may", "june", "may"):
        assert months.deliver(outcomes_csv=content) == "added"
    assert months.there() == {"outcomes.csv": "may", "outcomes.2.csv": "june", "outcomes.3.csv": "may"}


def test_folder_that_collects_outcomes_adds_the_new_files_only(months: Months) -> None:
    collected = {"outcomes_2026_05_csv": "may"}
    assert months.deliver(**collected) == "added"
    collected |= {"outcomes_2026_06_csv": "june", "outcomes_2026_07_csv": "july"}
    assert months.deliver(**collected) == "added"
    assert months.there() == {"outcomes_2026_05.csv": "may", "outcomes.2.csv": "june", "outcomes.3.csv": "july"}
    assert months.deliver(**collected) == "unchanged"


def test_delivered_outcomes_are_ordered_after_copied_ones(months: Months) -> None:
    folder = months.inbox.folder("book", "2026-01")
    for name in ("outcomes_b.csv", "outcomes-a.csv", "outcomes.10.csv", "outcomes.9.csv", "outcomes.csv"):
        (folder / name).write_text(name)
    months.deliver(outcomes_csv="new")
    ordered = sorted(months.inbox.files("book", "2026-01")[1:], key=outcomes_order)
    assert [file.name for file in ordered] == [
        *("outcomes.csv", "outcomes-a.csv", "outcomes_b.csv", "outcomes.9.csv", "outcomes.10.csv", "outcomes.11.csv")
    ]
    assert ordered[-1].read_text() == "new"


def test_correction_without_outcomes_keeps_them_and_one_with_outcomes_replaces_them(months: Months) -> None:
    for content in ("may", "june"):
        months.deliver(outcomes_csv=content)
    assert months.deliver(loans_csv="a\n2\n") == "replaced"
    assert months.there() == {"outcomes.csv": "may", "outcomes.2.csv": "june"}
    assert months.deliver(loans_csv="a\n3\n", outcomes_csv="all") == "replaced"
    assert months.there() == {"outcomes.csv": "all"}


def test_all_files_of_outcomes_belong_to_one_table_in_their_order(tmp_path: Path) -> None:
    names = ["outcomes.10.csv", "Outcomes.csv.gz", "outcomes_late.parquet", "outcomes.2.csv", "outcomesx.csv"]
    files = [tmp_path / name for name in [*names, "loans_test.csv", "payments.csv"]]
    others = {table: stems for table, stems in STEMS.items() if table != "outcomes"}
    matched = match_files(files, others | {"results": ["outcomes"]}, ["results"], outcomes="results")
    ordered = [file.name for file in matched.tables["results"]]
    assert ordered == ["Outcomes.csv.gz", "outcomes_late.parquet", "outcomes.2.csv", "outcomes.10.csv"]
    assert [file.name for file in matched.unknown] == ["outcomesx.csv"]
    twice = [*files, tmp_path / "outcomes.2.parquet"]
    with pytest.raises(BadDelivery, match=r"outcomes\.2\.csv and outcomes\.2\.parquet .* same file twice"):
        match_files(twice, STEMS, ["outcomes"], outcomes="outcomes")


# -- polling the inbox --------------------------------------------------------------------------------

WRITTEN = [
    *("loans.csv.part", "loans.csv.tmp", "loans.csv.filepart", "loans.csv.partial", "loans.csv~", "LOANS.CSV.PART"),
    *(".loans.csv.Xy12aB", ".loans.csv.gz.aaaaaa", ".Loans.csv.zip.a1B2c3", ".~tmp~", ".rsync-partial"),
]


def snapshot(inbox: Inbox) -> FolderSnapshot:
    [look] = inbox.snapshots("book")
    return look


@pytest.mark.parametrize("name", WRITTEN)
def test_name_of_a_file_that_is_being_written_is_recognised(inbox: Inbox, tmp_path: Path, name: str) -> None:
    inbox.deliver(folder_of(tmp_path / "in", loans_csv="a\n1\n"), "book", "2026-01")
    (inbox.folder("book", "2026-01") / name).touch()
    assert snapshot(inbox).partial == (name,)
    with pytest.raises(BadDelivery, match=r"still being written, according to its name"):
        inbox.deliver(inbox.folder("book", "2026-01"), "book", "2026-02")


@pytest.mark.parametrize("name", ["loans.csv", "partial.csv", ".DS_Store", ".gitignore", ".loans.swp", "part"])
def test_other_names_are_not_taken_for_files_being_written(inbox: Inbox, tmp_path: Path, name: str) -> None:
    inbox.deliver(folder_of(tmp_path / "in", loans_csv="a\n1\n"), "book", "2026-01")
    (inbox.folder("book", "2026-01") / name).touch()
    assert snapshot(inbox).partial == ()


def test_snapshot_keeps_its_signature_until_a_file_is_touched(inbox: Inbox, tmp_path: Path) -> None:
    inbox.deliver(folder_of(tmp_path / "in", loans_csv="a\n1\n"), "book", "2026-01")
    file = inbox.folder("book", "2026-01") / "loans.csv"
    seen = [snapshot(inbox).signature]
    assert snapshot(inbox).signature == seen[0]
    for change in (
        lambda: file.open("a").close() or os.utime(file, ns=(1, 1)),
        lambda: file.write_text("a\n12\n"),
        lambda: shutil.copy2(file, tmp_path / "copy") and (tmp_path / "copy").replace(file),
        lambda: (file.parent / "more.csv").touch(),
        lambda: file.unlink(),
    ):
        change()
        seen.append(snapshot(inbox).signature)
    assert len(set(seen)) == len(seen)


def test_invalid_batch_names_are_reported(inbox: Inbox, tmp_path: Path) -> None:
    inbox.deliver(folder_of(tmp_path / "in", loans_csv="a\n1\n"), "book", "2026-01")
    home = inbox.root / "book"
    (home / "May 2026").mkdir()
    (home / "loans.csv").touch()
    (home / "delivery.zip").touch()
    (home / "README").touch()
    (home / "gone").symlink_to(home / "nowhere")
    told = {look.batch: look.problem for look in inbox.snapshots("book")}
    assert "'May 2026' cannot be a batch's name: use letters" in (told.pop("May 2026") or "")
    beside = "a file beside the batches; move it to a batch's folder"
    assert told == {"2026-01": None, "loans.csv": beside, "delivery.zip": beside}


def test_missing_inbox_is_empty(inbox: Inbox) -> None:
    assert inbox.snapshots("book") == []


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Drops root's right to read everything, if the tests run as root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_unreadable_folders_and_files_are_reported() -> None:
    # Not pytest's folder, which only its owner may enter.
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o777)
        with as_nobody():
            inbox = Inbox(Path(root))
            for batch in ("2026-01", "2026-02"):
                folder_of(Path(root) / batch, loans_csv="a\n1\n", payments_csv="b\n")
                inbox.deliver(Path(root) / batch, "book", batch)
            closed, open_ = (inbox.folder("book", batch) for batch in ("2026-01", "2026-02"))
            closed.chmod(0)
            (open_ / "loans.csv").chmod(0)
            try:
                first, second = inbox.snapshots("book")
                assert (first.problem or "").startswith("cannot be read: [Errno 13] Permission denied")
                assert (second.problem, second.unreadable) == (None, ["loans.csv"])
            finally:
                closed.chmod(0o700)


def test_batches_that_appear_and_disappear_during_a_poll_do_no_harm(inbox: Inbox, tmp_path: Path) -> None:
    inbox.deliver(folder_of(tmp_path / "in", loans_csv="a\n1\n"), "book", "2026-01")
    done = threading.Event()

    def disturb() -> None:
        while not done.is_set():
            folder = inbox.root / "book" / "2026-02"
            folder.mkdir()
            for number in range(20):
                (folder / f"{number}.csv").touch()
            shutil.rmtree(folder)

    with ThreadPoolExecutor(1) as pool:
        disturbing = pool.submit(disturb)
        try:
            for _ in range(300):
                assert "2026-01" in {look.batch for look in inbox.snapshots("book")}
        finally:
            done.set()
        disturbing.result()


# -- remembered fingerprints ---------------------------------------------------------------------------


def test_files_are_identified_by_their_content(inbox: Inbox, tmp_path: Path) -> None:
    expected = inbox.deliver(folder_of(tmp_path / "in", loans_csv="1", bureau_csv="2", a_csv="3"), "book", "x").files
    folder = inbox.folder("book", "x")
    (folder / "loans.csv").write_text("10")
    (folder / "bureau.csv").write_text("9")
    os.utime(folder / "a.csv", ns=(1, 1))
    assert inbox.changed_files("book", snapshot(inbox), expected, read=False) == {"loans.csv", "bureau.csv", "a.csv"}
    assert inbox.changed_files("book", snapshot(inbox), expected, read=True) == {"loans.csv", "bureau.csv"}
    assert inbox.changed_files("book", snapshot(inbox), expected, read=False) == {"loans.csv", "bureau.csv"}
    assert inbox.changed_files("book", snapshot(inbox), {"gone.csv": "0"}, read=True) == {"gone.csv"}


def test_unchanged_file_is_not_read_again(inbox: Inbox, tmp_path: Path) -> None:
    expected = inbox.deliver(folder_of(tmp_path / "in", loans_csv="old"), "book", "x").files
    file = inbox.folder("book", "x") / "loans.csv"
    before = file.stat().st_mtime_ns
    file.write_text("new")
    os.utime(file, ns=(before, before))
    assert inbox.changed_files("book", snapshot(inbox), expected, read=True) == set()


def remember_some(root: Path, number: int) -> None:
    for turn in range(20):
        Inbox(root).remember("book", "x", {f"{number}-{turn}": {"status": [0, 0, 0], "sha256": "0"}})


def test_fingerprints_remembered_by_concurrent_processes_are_all_kept(inbox: Inbox, tmp_path: Path) -> None:
    inbox.deliver(folder_of(tmp_path / "in", loans_csv="1"), "book", "x")
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        list(pool.map(remember_some, [inbox.root] * 2, range(2)))
    memory = json.loads((inbox.root / "book" / ".fingerprints" / "x.json").read_text())
    assert len(memory) == 41


# -- killed deliveries --------------------------------------------------------------------------------


def test_fingerprint_changes_with_a_file_replaced_by_hand(inbox: Inbox, tmp_path: Path) -> None:
    inbox.deliver(folder_of(tmp_path / "in", loans_csv="a\n1\n"), "book", "2026-01")
    before = inbox.fingerprint("book", "2026-01")
    replacement = tmp_path / "loans.csv"
    replacement.write_text("a\n9\n")
    replacement.replace(inbox.folder("book", "2026-01") / "loans.csv")
    after = inbox.fingerprint("book", "2026-01")
    assert after != before
    assert after == {"loans.csv": sha256_of(inbox.folder("book", "2026-01") / "loans.csv")}


def deliver_and_die(root: Path, source: Path, moment: int) -> None:
    """Deliver in this process, and kill it (SIGKILL) just before its `moment`-th file system call."""
    looks = 0

    def count(event: str, _: tuple) -> None:
        nonlocal looks
        if event in ("open", "os.rename", "os.mkdir", "os.link", "os.remove", "os.listdir", "os.scandir"):
            looks += 1
            if looks == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    Inbox(root).deliver(source, "book", "2026-01")


@pytest.mark.slow
def test_delivery_killed_at_any_moment_leaves_the_old_batch_or_the_new_one(tmp_path: Path) -> None:
    old, new = (
        {"loans.csv": "a\n1\n", "payments.csv": "b\n2\n"},
        {"loans.csv": "a\n3\n", "payments.csv": "b\n4\n"},
    )
    first = folder_of(tmp_path / "v1", loans_csv="a\n1\n", payments_csv="b\n2\n")
    second = folder_of(tmp_path / "v2", loans_csv="a\n3\n", payments_csv="b\n4\n")
    survived, moment, seen = False, 0, []
    while not survived:
        moment += 1
        assert moment < 1000, "every delivery is killed"
        root = tmp_path / f"inbox-{moment}"
        Inbox(root).deliver(first, "book", "2026-01")
        process = multiprocessing.get_context("fork").Process(target=deliver_and_die, args=(root, second, moment))
        process.start()
        process.join()
        survived = process.exitcode == 0
        assert survived or process.exitcode == -signal.SIGKILL
        left = contents(Inbox(root).files("book", "2026-01"))
        assert left in (old, new), f"killed at moment {moment}"
        seen.append(left)
        delivery = Inbox(root).deliver(second, "book", "2026-01")
        assert delivery.change == ("unchanged" if left == new else "replaced")
        assert contents(Inbox(root).files("book", "2026-01")) == new
        assert contents(sorted((root / "book" / ".superseded" / "2026-01" / "1").iterdir())) == old
    assert moment > 10
    assert old in seen[:-1] and new in seen[:-1]


def test_files_are_matched_to_tables_ignoring_case_and_extension(tmp_path: Path) -> None:
    names = [
        "Loans_Train.csv",
        "loans_test.csv.gz",
        "payments.PARQUET",
        "SYNTHETIC.md",
        "readme.txt",
        "other.csv",
    ]
    matched = match_files([tmp_path / name for name in names], STEMS, optional=["outcomes"])
    assert {table: [file.name for file in files] for table, files in matched.tables.items()} == {
        "loans": ["Loans_Train.csv", "loans_test.csv.gz"],
        "payments": ["payments.PARQUET"],
        "outcomes": [],
    }
    assert [file.name for file in matched.companions] == ["SYNTHETIC.md"]
    assert [file.name for file in matched.unknown] == ["other.csv", "readme.txt"]


def test_one_part_of_a_table_with_several_is_enough(tmp_path: Path) -> None:
    files = [tmp_path / "loans_test.csv", tmp_path / "payments.csv.zip"]
    assert match_files(files, STEMS, ["outcomes"]).tables["loans"] == (files[0],)


def test_missing_file_is_named_with_its_table_and_folder(tmp_path: Path) -> None:
    with pytest.raises(BadDelivery) as error:
        match_files([tmp_path / "loans_test.csv", tmp_path / "payments.xlsx"], STEMS, ["outcomes"])
    for told in ["Table payments", "no file Payments", str(tmp_path), "payments.xlsx"]:
        assert told in str(error.value)


def test_duplicate_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDelivery, match=r"loans_train.csv and loans_train.csv.gz .* same file twice"):
        match_files([tmp_path / "loans_train.csv", tmp_path / "loans_train.csv.gz"], STEMS)


def test_table_may_have_all_files_that_match_its_pattern(tmp_path: Path) -> None:
    names = ["LoanStats3b.csv.zip", "LOANSTATS_2016Q1.csv", "loanstats3a.csv.gz", "RejectStats.csv", "outcomes.2.csv"]
    stems = {"loans": ["LoanStats*"], "outcomes": ["outcomes"]}
    matched = match_files([tmp_path / name for name in names], stems, ["outcomes"], outcomes="outcomes")
    found = {table: [file.name for file in files] for table, files in matched.tables.items()}
    # Sorted by their names in lower case.
    assert found == {
        "loans": ["loanstats3a.csv.gz", "LoanStats3b.csv.zip", "LOANSTATS_2016Q1.csv"],
        "outcomes": ["outcomes.2.csv"],
    }
    assert [file.name for file in matched.unknown] == ["RejectStats.csv"]


def test_file_that_a_table_lists_by_name_matches_no_other_pattern(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("loans_2026.csv", "loans_old.csv", "outcomes.csv", "outcomes_may.csv")]
    stems = {"loans": ["*"], "old": ["loans_old"], "outcomes": ["outcomes"]}
    matched = match_files(files, stems, outcomes="outcomes")
    assert matched.tables == {"loans": (files[0],), "old": (files[1],), "outcomes": (files[2], files[3])}


def test_duplicate_names_under_a_pattern_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDelivery, match=r"LoanStats3a\.csv and LoanStats3a\.csv\.zip .* same file twice"):
        match_files([tmp_path / f"LoanStats3a.csv{end}" for end in ("", ".zip")], {"loans": ["LoanStats*"]})


def test_file_that_matches_the_patterns_of_two_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDelivery, match=r"loans_2010\.csv in .* matches the tables loans and newest"):
        match_files([tmp_path / "loans_2010.csv"], {"loans": ["loans_*"], "newest": ["loans_2010*"]})


def test_pattern_without_a_match_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadDelivery, match=r"Table loans: no file LoanStats\* "):
        match_files([tmp_path / "loans.csv"], {"loans": ["LoanStats*"]})


# -- mistaken deliveries ------------------------------------------------------------------------------


def test_newest_outcomes_are_withdrawn_and_kept_aside(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    for number, name in enumerate(["loans", "outcomes", "outcomes"]):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / f"{name}.csv").write_text(f"a\n{number}\n")
        inbox.deliver(tmp_path / str(number), "book", "01")
    name, kept = inbox.withdraw_outcomes("book", "01")
    assert (name, kept.read_text()) == ("outcomes.2.csv", "a\n2\n")
    assert [file.name for file in inbox.files("book", "01")] == ["loans.csv", "outcomes.csv"]
    # The next file gets a number that no remaining file has.
    assert "outcomes.2.csv" in inbox.deliver(tmp_path / "2", "book", "01").files
    inbox.withdraw_outcomes("book", "01")
    inbox.withdraw_outcomes("book", "01")
    with pytest.raises(BadDelivery, match="has no outcomes in a separate file"):
        inbox.withdraw_outcomes("book", "01")


def test_withdrawn_batch_leaves_the_inbox_with_its_fingerprints(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    (tmp_path / "loans.csv").write_text("a\n1\n")
    inbox.deliver(tmp_path / "loans.csv", "book", "01")
    inbox.quarantine("book", "01").mkdir(parents=True)
    kept = inbox.withdraw("book", "01")
    assert kept is not None and [file.name for file in kept.iterdir()] == ["loans.csv"]
    assert inbox.batches("book") == [] and not inbox.quarantine("book", "01").exists()
    assert inbox.withdraw("book", "01") is None
    assert inbox.withdraw("nobody", "01") is None
    assert inbox.deliver(tmp_path / "loans.csv", "book", "01").change == "new"
