"""CSV files as rows of text: which lines are rows, which row a line belongs to, and which files are invalid."""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import tempfile
import zipfile
from collections import Counter, namedtuple
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_assets.ingest import compressed, csv_rows
from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.csv_bytes import SEPARATORS, separator_of
from credit_assets.ingest.csv_rows import (
    CsvFile,
    as_bytes,
    columns_of,
    copy_rows,
    inspect_csv,
    rows_of,
)

NOTES = ["Notes offered by *", "Loans that do not meet the credit policy", "Total amount funded in policy code ?: *"]
HEAD = "id,term,desc\n"


def opened(tmp_path: Path, content: str | bytes, notes: Sequence[str] = (), name: str = "loans.csv") -> CsvFile:
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return inspect_csv(file, f"{name} (table loans)", tmp_path / "plain", notes)


def rows(source: CsvFile, skipped: Counter[str] | None = None) -> list[tuple[int, int, str]]:
    """(line, place, text) of every row."""
    return [tuple(row.values()) for batch in rows_of(source, skipped) for row in batch.to_pylist()]


def texts(source: CsvFile) -> list[str]:
    return [text for _, _, text in rows(source)]


# -- lines that are not rows ----------------------------------------------------------------------------


def test_notes_before_between_and_after_the_rows_are_skipped_and_counted(tmp_path: Path) -> None:
    source = opened(
        tmp_path,
        "Notes offered by Prospectus (https://www.lender.com/prospectus.action)\n"
        + HEAD
        + '1,36,a\n\n"Loans that do not meet the credit policy",,\n2,60,b\n\n\n'
        + '"Total amount funded in policy code 1: 471,701,350",,,\nTotal amount funded in policy code 2: 0\n',
        NOTES,
    )
    found: Counter[str] = Counter()
    assert (source.header_end, source.columns) == (2, ["id", "term", "desc"])
    assert rows(source, found) == [(3, 1, "1,36,a"), (6, 2, "2,60,b")]
    assert found == dict(zip(NOTES, [1, 1, 2], strict=True))
    assert source.rows == 2


def test_row_that_resembles_a_note_is_kept(tmp_path: Path) -> None:
    content = HEAD + 'Total loss,36,a\n"Total, or not",,b\nTotal of it,,\nTotal: 3\n'
    source = opened(tmp_path, content, ["Total*"])
    skipped: Counter[str] = Counter()
    assert [line for batch in rows_of(source, skipped) for line in batch["_line"].to_pylist()] == [
        "Total loss,36,a",
        '"Total, or not",,b',
    ]
    assert skipped == {"Total*": 2}


def test_header_is_the_first_line_without_notes(tmp_path: Path) -> None:
    source = opened(tmp_path, "Total: 3\nTotal: 4\n\nTotal: 5\n")
    assert (source.header_end, source.columns, texts(source)) == (1, ["Total: 3"], ["Total: 4", "Total: 5"])


def test_byte_order_mark_may_precede_a_note_or_the_header(tmp_path: Path) -> None:
    for content, header in ((HEAD, 1), (f'"Notes offered by us"\r\n\n{HEAD}', 3), (f"Notes offered by us\n{HEAD}", 2)):
        source = opened(tmp_path, b"\xef\xbb\xbf" + (content + "1,36,a\n").encode(), NOTES)
        assert (source.header_end, source.columns[0], texts(source)) == (header, "id", ["1,36,a"])


@pytest.mark.parametrize("line", ["My Total *", "total: 3", "Total", "Total:", '1,"Total: 3",x', "[x] of us", "xof us"])
def test_note_pattern_matches_the_whole_line_and_its_case(tmp_path: Path, line: str) -> None:
    source = opened(tmp_path, f"{HEAD}{line}\n", ["Total: *", "[x]of us"])
    assert texts(source) == [line]


def test_only_stars_and_question_marks_are_wildcards(tmp_path: Path) -> None:
    source = opened(tmp_path, f"{HEAD}[x]of us (a+b)\n1,36,a\nxof us (a+b)\n", ["[?]of us (a+*)"])
    assert texts(source) == ["1,36,a", "xof us (a+b)"]


def test_line_within_a_quoted_value_is_no_note(tmp_path: Path) -> None:
    source = opened(tmp_path, f'{HEAD}1,36,"I owe:\nTotal: 5\nplease"\nTotal: 7\n', ["Total: *"])
    assert texts(source) == ['1,36,"I owe:\nTotal: 5\nplease"']


def test_note_with_an_unbalanced_quote_does_not_swallow_the_next_lines(tmp_path: Path) -> None:
    source = opened(tmp_path, f'{HEAD}Total: 5"\n1,36,a\nTotal: 7",,\n', ["Total: *"])
    assert texts(source) == ["1,36,a"]


# -- separators --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "separator"),
    [
        ("id,amount", ","),
        ("id;amount;amount, in EUR", ";"),
        ('id,"amount; in EUR; or USD; or GBP"', ","),
        ('id;"so called ""amount"", or, sum"', ";"),
        (",".join(f"column_{n}" for n in range(20_000)), ","),
        ("id\tamount", "\t"),
        ("id|amount", "|"),
        ("id", ","),
        ("", ","),
    ],
)
def test_separator_is_the_most_frequent_one_in_the_header(head: str, separator: str) -> None:
    assert separator_of(head) == separator


@pytest.mark.parametrize("separator", SEPARATORS)
def test_fields_and_notes_are_recognised_with_every_separator(tmp_path: Path, separator: str) -> None:
    content = f'{HEAD}1,36,a\n"Total: 3",,\n2,60,"b, c"\nTotal: 4,12,d\n'.replace(",", separator)
    source = opened(tmp_path, content, ["Total: *"])
    kept = [line.replace(",", separator) for line in ("1,36,a", '2,60,"b, c"', "Total: 4,12,d")]
    assert (source.columns, texts(source)) == (["id", "term", "desc"], kept)
    assert copy_rows(source, tmp_path / "copy", 1) == (3, {"Total: *": 1})
    assert (tmp_path / "copy").read_text().splitlines() == [
        separator.join(numbered)
        for numbered in zip(("_nth", "1", "2", "3"), content.splitlines()[:1] + kept, strict=True)
    ]


# -- rows of several lines ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        '1,36,"two\nlines"',
        '"two\nlines",36,x',
        '1,"two\nlines","and\n\nthree"',
        '1,36,"said\n""no\n"""',
        '1,36,"two\r\nlines"',
        ' "1", 36 , "a\nb" ',
        '1,36,"\n"',
        '"1","36","\n\n"',
        '1,"\n",""',
        '1,36,"a, b\nc, d"',
    ],
)
def test_line_break_between_quotes_is_part_of_the_row(tmp_path: Path, row: str) -> None:
    source = opened(tmp_path, f"{HEAD}0,36,before\n{row}\n9,60,after\n")
    told = rows(source)
    assert [text for *_, text in told] == ["0,36,before", row, "9,60,after"]
    assert [(line, place) for line, place, _ in told] == [(2, 1), (3, 2), (4 + row.count("\n"), 3)]


@pytest.mark.parametrize(
    "open_quote",
    [
        '1,36,"open',
        '"1,36,open',
        '1,36,"open\n2,60,b\nclosed"',
        '1,36,"open\n2,60,b"',
        '1,36,"\n2,60,"',
        '1,36,"\n2,60,"closed"',
        '1,36,"open\n"2","60","b""',
        '1,36,"too,many\nfields",x',
        '1,36,"open\nclosed" again',
        '1,36,"open\nclosed',
    ],
)
def test_unclosed_quote_swallows_no_other_line(tmp_path: Path, open_quote: str) -> None:
    content = f"0,36,before\n{open_quote}\n9,60,after"
    assert texts(opened(tmp_path, HEAD + content)) == content.split("\n")


def test_row_is_limited_to_a_megabyte(tmp_path: Path) -> None:
    text = '1,36,"a\n{}\nb"'
    for length, several in ((1000, False), (2**20, True)):
        source = opened(tmp_path, HEAD + text.format("x" * length) + "\n2,60,b\n")
        assert len(texts(source)) == (4 if several else 2)


VALUE = st.text(alphabet='ab"\n/ é', max_size=6)


@pytest.mark.parametrize("separator", SEPARATORS)
@settings(max_examples=25, deadline=None)
@given(
    # Without separators in the values, and with one line break at the end, no part of a row resembles a row.
    written=st.lists(st.tuples(VALUE, VALUE, VALUE, st.sampled_from(["", "x", '"'])), max_size=8),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    block=st.sampled_from([3, 16, csv_rows.BLOCK]),
)
def test_output_of_a_csv_writer_is_read_row_by_row(
    separator: str, written: list[tuple[str, ...]], quoting: int, end: str, block: int
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerows([("a", "b", "c", "d"), *written])
    with SmallBlocks(text.getvalue().encode(), block) as source:
        found = (next(csv.reader(io.StringIO(row, newline=""), delimiter=separator)) for row in texts(source))
        filled = [row for row in written if any(value.strip(" ") for value in row)]
        assert list(map(tuple, found)) == filled
        assert source.rows == len(filled)
        assert source.skipped[csv_rows.EMPTY] == len(written) - len(filled)


PIECES = ['1,2,"3', "1,2,3", 'x"', "", '"', 'a"b,c,d', '"1\n', ',"', "Total: 1", '"",', 'b"', '"Total: 2",,']


@settings(max_examples=100, deadline=None)
@given(
    written=st.lists(st.sampled_from(PIECES), max_size=14),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    separator=st.sampled_from(SEPARATORS),
)
def test_every_line_belongs_to_one_row_whatever_the_block_size(
    written: list[str], end: str, last: bool, separator: str
) -> None:
    head = "a,b,c".replace(",", separator)
    content = end.join([head, *(piece.replace(",", separator) for piece in written), *([""] if last else [])]).encode()
    seen = []
    for block in (csv_rows.BLOCK, 5, 1):
        with SmallBlocks(content, block, ["Total: *"]) as source:
            found: Counter[str] = Counter()
            seen.append((rows(source, found), found))
    assert seen[0] == seen[1] == seen[2]
    told, found = seen[0]
    left = dict(enumerate(content.decode().split("\n"), start=1))
    for first, _, text in told:
        taken = [left.pop(line) for line in range(first, first + text.count("\n") + 1)]
        assert "\n".join(taken).rstrip("\r\n") == text
    assert left.pop(1).rstrip("\r") == head
    skipped = [line.rstrip("\r") for line in left.values() if line.rstrip("\r")]
    notes = [line for line in skipped if "Total:" in line]
    empty = [line for line in skipped if not line.strip(f'"{separator}')]
    assert (len(notes), len(empty)) == (found["Total: *"], found[csv_rows.EMPTY])
    assert len(notes) + len(empty) == len(skipped)
    assert [place for _, place, _ in told] == list(range(1, len(told) + 1))


class SmallBlocks:
    """A file with this content, read in blocks of this size."""

    def __init__(self, content: bytes, block: int, notes: Sequence[str] = ()) -> None:
        self.content, self.block, self.notes = content, block, notes

    def __enter__(self) -> CsvFile:
        self.folder = Path(tempfile.mkdtemp())
        self.before = csv_rows.BLOCK
        csv_rows.BLOCK = self.block
        return opened(self.folder, self.content, self.notes)

    def __exit__(self, *_: object) -> None:
        csv_rows.BLOCK = self.before
        shutil.rmtree(self.folder)


# -- copies ----------------------------------------------------------------------------------------


def test_copy_has_each_row_with_its_number_and_nothing_else(tmp_path: Path) -> None:
    source = opened(tmp_path, f'Notes offered by us\r\n{HEAD}1,36,"a\r\nb"\r\n\r\n2,60,é', NOTES)
    assert copy_rows(source, tmp_path / "copy", 8) == (2, {NOTES[0]: 1})
    assert (tmp_path / "copy").read_bytes() == f'_nth,{HEAD}8,1,36,"a\r\nb"\n9,2,60,é\n'.encode()


def test_rows_converted_to_bytes_end_in_line_feeds(tmp_path: Path) -> None:
    [batch] = rows_of(opened(tmp_path, HEAD + "1,2,é\n3,4,\n5,6,x\n"))
    assert bytes(as_bytes(batch["_line"])) == "1,2,é\n3,4,\n5,6,x\n".encode()
    assert bytes(as_bytes(batch["_line"].slice(1, 1))) == b"3,4,\n"
    assert bytes(as_bytes(batch["_line"].slice(1, 0))) == b""


# -- compressed ------------------------------------------------------------------------------------


def zipped(**members: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("_csv", ".csv"), text)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("loans.csv", (HEAD + "1,2,3\n").encode()),
        ("LOANS.CSV.GZ", gzip.compress((HEAD + "1,2,3\n").encode(), mtime=0)),
        ("loans.csv.zip", zipped(anything=HEAD + "1,2,3\n")),
        ("Loans.csv.Zip", zipped(**{"../../etc/x.csv": HEAD + "1,2,3\n", "__MACOSX/x": "shadow"})),
    ],
)
def test_compressed_file_is_read_like_its_content(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "in").mkdir()
    assert texts(opened(tmp_path / "in", content, name=name)) == ["1,2,3"]
    assert {path.name for path in tmp_path.rglob("*")} <= {"in", name, "plain"}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("loans.csv.gz", gzip.compress(HEAD.encode() * 99, mtime=0)[:-12], "is truncated or damaged"),
        ("loans.csv.gz", HEAD.encode(), "is truncated or damaged"),
        ("loans.csv.zip", zipped(a_csv=HEAD * 99)[:-12], "is truncated or damaged"),
        ("loans.csv.zip", zipped(a_csv=HEAD)[:40] + b"?" + zipped(a_csv=HEAD)[41:], "is truncated or damaged"),
        ("loans.csv.zip", HEAD.encode(), "is truncated or damaged"),
        ("loans.csv.zip", zipped(a_csv=HEAD, b_csv=HEAD), "contains 2 files; a .csv.zip contains one"),
        ("loans.csv.zip", zipped(), "contains 0 files"),
        ("loans.zip", zipped(a_csv=HEAD), r"is not a .csv, .csv.gz, .csv.zip or .parquet file"),
    ],
)
def test_file_that_cannot_be_decompressed_is_refused_with_one_message(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    with pytest.raises(BadDelivery, match=rf"^{name} \(table loans\) {told}"):
        opened(tmp_path, content, name=name)


def test_archive_larger_than_the_free_disk_space_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(compressed.shutil, "disk_usage", lambda folder: usage(len(HEAD) - 1))
    with pytest.raises(BadDelivery, match=r"unpacks to .* bytes, and .* bytes are free on the disk"):
        opened(tmp_path, zipped(a_csv=HEAD), name="loans.csv.zip")
    assert not (tmp_path / "plain").exists()


def test_archive_with_internal_damage_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "loans.csv.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("loans.csv", "id,amount\n" + "1,2\n" * 10_000)
    damaged = bytearray(file.read_bytes())
    damaged[45:80] = bytes(255 - byte for byte in damaged[45:80])
    file.write_bytes(damaged)
    with pytest.raises(BadDelivery, match="truncated or damaged"):
        columns_of(file, file.name)
    with pytest.raises(BadDelivery, match="truncated or damaged"):
        inspect_csv(file, file.name, tmp_path / "plain")
