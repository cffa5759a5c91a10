"""The inbox: whole deliveries or none, corrections, outcomes that come later, files told apart."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from credit_assets.raw.delivery import BadDelivery, Inbox, match_files, sha256_of

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


def test_a_delivered_folder_is_the_batch(inbox: Inbox, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", loans_csv="a\n1\n", payments_csv="b\n2\n")
    (source / ".DS_Store").write_text("not data")
    delivery = inbox.deliver(source, "book", "2026-01")
    assert delivery.change == "new"
    assert delivery.superseded is None
    assert delivery.folder == tmp_path / "inbox" / "book" / "2026-01"
    assert contents(inbox.files("book", "2026-01")) == {"loans.csv": "a\n1\n", "payments.csv": "b\n2\n"}
    assert delivery.files == {"loans.csv": sha256_of(source / "loans.csv"), **delivery.files}
    assert inbox.fingerprint("book", "2026-01") == delivery.files


def test_batches_are_listed_by_name_without_what_is_hidden(inbox: Inbox, tmp_path: Path) -> None:
    assert inbox.batches("book") == []
    source = folder_of(tmp_path / "in", loans_csv="a\n1\n")
    for batch in ["2026-02", "2026-01"]:
        inbox.deliver(source, "book", batch)
    folder_of(tmp_path / "more", loans_csv="a\n2\n")
    inbox.deliver(tmp_path / "more", "book", "2026-01")
    assert inbox.batches("book") == ["2026-01", "2026-02"]


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a b", "-x", "2026-01\n", "ä"])
def test_a_name_that_cannot_be_a_folder_is_refused(inbox: Inbox, tmp_path: Path, name: str) -> None:
    source = folder_of(tmp_path / "in", loans_csv="a\n1\n")
    with pytest.raises(BadDelivery, match="cannot be a batch's name"):
        inbox.deliver(source, "book", name)
    with pytest.raises(BadDelivery, match="cannot be a portfolio's name"):
        inbox.deliver(source, name, "2026-01")


def test_a_folder_without_data_is_refused(inbox: Inbox, tmp_path: Path) -> None:
    with pytest.raises(BadDelivery, match="There is no folder"):
        inbox.deliver(tmp_path / "nowhere", "book", "2026-01")
    with pytest.raises(BadDelivery, match="nothing to deliver"):
        inbox.deliver(folder_of(tmp_path / "in", notes="hello", sample_submission_csv="a\n"), "book", "2026-01")
    with pytest.raises(BadDelivery, match="no batch 2026-01"):
        inbox.files("book", "2026-01")


def test_a_zip_archive_is_delivered_as_what_it_holds(inbox: Inbox, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", bureau_csv="1", applications_csv="2")
    archive = Path(shutil.make_archive(str(tmp_path / "download"), "zip", folder))
    inbox.deliver(archive, "book", "2026-01")
    assert contents(inbox.files("book", "2026-01")) == contents(sorted(folder.iterdir()))
    assert inbox.deliver(folder, "book", "2026-01").change == "unchanged"
    assert inbox.batches("book") == ["2026-01"]


def test_a_zip_archive_that_is_cut_short_is_refused(inbox: Inbox, tmp_path: Path) -> None:
    archive = tmp_path / "download.zip"
    whole = Path(shutil.make_archive(str(tmp_path / "whole"), "zip", folder_of(tmp_path / "in", bureau_csv="1")))
    archive.write_bytes(whole.read_bytes()[:-30])
    with pytest.raises(BadDelivery, match="no whole zip archive"):
        inbox.deliver(archive, "book", "2026-01")
    assert inbox.batches("book") == []


def test_the_same_content_again_changes_nothing(inbox: Inbox, tmp_path: Path) -> None:
    first = inbox.deliver(folder_of(tmp_path / "in", loans_csv="a\n1\n"), "book", "2026-01")
    before = [file.stat() for file in inbox.files("book", "2026-01")]
    again = inbox.deliver(folder_of(tmp_path / "again", loans_csv="a\n1\n"), "book", "2026-01")
    assert again.change == "unchanged"
    assert again.files == first.files
    assert [file.stat() for file in inbox.files("book", "2026-01")] == before


def test_a_correction_replaces_the_batch_and_keeps_the_old_one_aside(inbox: Inbox, tmp_path: Path) -> None:
    inbox.deliver(folder_of(tmp_path / "v1", loans_csv="a\n1\n", payments_csv="b\n2\n"), "book", "2026-01")
    second = inbox.deliver(folder_of(tmp_path / "v2", loans_csv="a\n3\n"), "book", "2026-01")
    third = inbox.deliver(folder_of(tmp_path / "v3", loans_csv="a\n4\n"), "book", "2026-01")
    assert (second.change, third.change) == ("replaced", "replaced")
    assert contents(inbox.files("book", "2026-01")) == {"loans.csv": "a\n4\n"}
    assert second.superseded and third.superseded
    assert contents(sorted(second.superseded.iterdir())) == {"loans.csv": "a\n1\n", "payments.csv": "b\n2\n"}
    assert contents(sorted(third.superseded.iterdir())) == {"loans.csv": "a\n3\n"}


def test_outcomes_delivered_later_join_their_batch(inbox: Inbox, tmp_path: Path) -> None:
    inbox.deliver(folder_of(tmp_path / "v1", loans_csv="a\n1\n"), "book", "2026-01")
    inode = inbox.files("book", "2026-01")[0].stat().st_ino
    later = folder_of(tmp_path / "later", outcomes_csv="a,t\n1,0\n")
    (later / "SYNTHETIC.md").write_text("made up")
    delivery = inbox.deliver(later, "book", "2026-01")
    assert delivery.change == "replaced"
    files = inbox.files("book", "2026-01")
    assert contents(files) == {"SYNTHETIC.md": "made up", "loans.csv": "a\n1\n", "outcomes.csv": "a,t\n1,0\n"}
    assert files[1].stat().st_ino == inode
    assert inbox.deliver(later, "book", "2026-01").change == "unchanged"


def test_outcomes_of_an_unknown_batch_are_refused(inbox: Inbox, tmp_path: Path) -> None:
    with pytest.raises(BadDelivery, match="batch 2026-01, which does not exist"):
        inbox.deliver(folder_of(tmp_path / "in", outcomes_csv="a,t\n1,0\n"), "book", "2026-01")
    assert inbox.batches("book") == []


def test_a_correction_keeps_the_outcomes_delivered_before(inbox: Inbox, tmp_path: Path) -> None:
    inbox.deliver(folder_of(tmp_path / "v1", loans_csv="a\n1\n", old_csv="b\n"), "book", "2026-01")
    inbox.deliver(folder_of(tmp_path / "later", outcomes_csv="a,t\n1,0\n"), "book", "2026-01")
    inbox.deliver(folder_of(tmp_path / "v2", loans_csv="a\n2\n"), "book", "2026-01")
    assert contents(inbox.files("book", "2026-01")) == {"loans.csv": "a\n2\n", "outcomes.csv": "a,t\n1,0\n"}


def test_corrected_outcomes_replace_those_of_another_ending(inbox: Inbox, tmp_path: Path) -> None:
    inbox.deliver(folder_of(tmp_path / "v1", loans_csv="a\n1\n", outcomes_csv="a,t\n1,0\n"), "book", "2026-01")
    corrected = folder_of(tmp_path / "later")
    (corrected / "outcomes.csv.gz").write_bytes(b"compressed")
    inbox.deliver(corrected, "book", "2026-01")
    assert [file.name for file in inbox.files("book", "2026-01")] == ["loans.csv", "outcomes.csv.gz"]


def test_a_fingerprint_follows_a_file_put_in_place_by_hand(inbox: Inbox, tmp_path: Path) -> None:
    inbox.deliver(folder_of(tmp_path / "in", loans_csv="a\n1\n"), "book", "2026-01")
    before = inbox.fingerprint("book", "2026-01")
    replacement = tmp_path / "loans.csv"
    replacement.write_text("a\n9\n")
    replacement.replace(inbox.folder("book", "2026-01") / "loans.csv")
    after = inbox.fingerprint("book", "2026-01")
    assert after != before
    assert after == {"loans.csv": sha256_of(inbox.folder("book", "2026-01") / "loans.csv")}


def deliver_and_die(root: Path, source: Path, moment: int) -> None:
    """Deliver in this process; SIGKILL it just before its `moment`-th look at the file system."""
    looks = 0

    def count(event: str, _: tuple) -> None:
        nonlocal looks
        if event in ("open", "os.rename", "os.mkdir", "os.link", "os.remove", "os.listdir", "os.scandir"):
            looks += 1
            if looks == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    Inbox(root).deliver(source, "book", "2026-01")


def test_a_delivery_killed_at_any_moment_leaves_the_old_batch_or_the_new_one(tmp_path: Path) -> None:
    old, new = (
        {"loans.csv": "a\n1\n", "payments.csv": "b\n2\n"},
        {"loans.csv": "a\n3\n", "payments.csv": "b\n4\n"},
    )
    first = folder_of(tmp_path / "v1", loans_csv="a\n1\n", payments_csv="b\n2\n")
    second = folder_of(tmp_path / "v2", loans_csv="a\n3\n", payments_csv="b\n4\n")
    survived, moment, seen = False, 0, []
    while not survived:
        moment += 1
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


def test_files_are_matched_to_tables_whatever_their_case_and_ending(tmp_path: Path) -> None:
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


def test_one_part_of_a_table_of_several_is_enough(tmp_path: Path) -> None:
    files = [tmp_path / "loans_test.csv", tmp_path / "payments.csv"]
    assert match_files(files, STEMS, ["outcomes"]).tables["loans"] == (files[0],)


def test_a_missing_file_is_named_with_its_table_and_folder(tmp_path: Path) -> None:
    with pytest.raises(BadDelivery) as error:
        match_files([tmp_path / "loans_test.csv", tmp_path / "payments.csv.zip"], STEMS, ["outcomes"])
    for told in ["Table payments", "no file Payments", str(tmp_path), "payments.csv.zip"]:
        assert told in str(error.value)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDelivery, match=r"loans_train.csv and loans_train.csv.gz .* same file twice"):
        match_files([tmp_path / "loans_train.csv", tmp_path / "loans_train.csv.gz"], STEMS)
