"""Reads a delivered CSV file as rows of text: decompressed, checked for UTF-8, without lines that are not rows, and
with line breaks inside quotes kept. Values are interpreted in `typed_read.py` and `split_by_date.py`.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.compressed import DamagedFile, reading_compressed
from credit_assets.ingest.compressed_csv import damaged, gunzip, only_member, unzip
from credit_assets.ingest.csv_bytes import LONGEST_ROW, SEPARATORS, count_lines, separator_of
from credit_assets.ingest.repeated_headers import header_line
from credit_assets.lake.contracts import shorten
from credit_assets.lake.sql import sql_text

BLOCK = 8 * 1024 * 1024
BLANK_BYTES = b' \t,;|"\r\n\x1a'
"""The characters of a line without values; the last one (Ctrl-Z) marks the end of a DOS file."""
OPEN_FIELD = r' *"[^"]*(?:""[^"]*)*'
ROWS = pa.schema([("_row", pa.int64()), ("_nth", pa.int64()), ("_line", pa.string())])

EMPTY = "rows with no values"
"""The key under which lines without any value are counted, besides the patterns of notes. Spreadsheets write `,,,,` for
cleared rows."""
HEADER = "repeated headers"
"""The key under which repeated headers are counted: concatenated files contain one each."""
# The name that pandas gives an unnamed index when it reads a file it wrote.
INDEX_NAMES = {"", "Unnamed: 0"}


@dataclass(frozen=True)
class CsvFile:
    """A delivered CSV file and its layout. `plain` is the decompressed file; `header_text` is the header joined to one
    line. The header spans the lines `header_begin` to `header_end` of the file (from 1) and is followed by `lines`
    more. `notes` are the patterns of lines that are not rows, `separator` is the field separator. `has_index`: the
    first column numbers the rows and is not part of the table. `irregular`: a row may span lines, or have a quote
    without its pair or a carriage return inside."""

    file: Path
    plain: Path
    notes: tuple[str, ...]
    header_begin: int
    header_end: int
    header_text: str
    lines: int
    has_index: bool = False
    irregular: bool = False

    @cached_property
    def separator(self) -> str:
        return separator_of(self.header_text)

    @property
    def columns(self) -> list[str]:
        return column_names(self.header_text)

    @property
    def rows(self) -> int:
        """The number of rows in the file. Reads the file on first use."""
        return self._counted[0]

    @property
    def skipped(self) -> Counter[str]:
        """The number of lines that are not rows, by pattern or `EMPTY`. Reads the file on first use."""
        return self._counted[1]

    @cached_property
    def _counted(self) -> tuple[int, Counter[str]]:
        skipped: Counter[str] = Counter()
        return sum(batch.num_rows for batch in rows_of(self, skipped)), skipped


def has_index(columns: Sequence[str], known: Collection[str]) -> bool:
    """Whether the first column is an index written along with the table: its name is an index's, and not in `known`."""
    return bool(columns) and columns[0].strip() in INDEX_NAMES and columns[0] not in known


def column_names(head: str) -> list[str]:
    """The column names in the header, without the empty ones that spreadsheets add after the last."""
    names = next(csv.reader([head], delimiter=separator_of(head)), [])
    while len(names) > 1 and not names[-1].strip():
        names.pop()
    return names


def field_patterns(separator: str) -> tuple[str, str]:
    """Regular expressions, valid in Python and DuckDB, for the separator and for a field as DuckDB's reader accepts it:
    quoted (with optional blanks around the quotes), or without separators, line breaks and a leading quote."""
    between = {"\t": r"\t", "|": r"\|"}.get(separator, separator)
    return between, rf' *"[^"]*(?:""[^"]*)*" *| *(?:[^ "{between}\n][^{between}\n]*)?'


def inspect_csv(file: Path, where: str, plain: Path, notes: Sequence[str] = (), known: Collection[str] = ()) -> CsvFile:
    """Find the file's header and count its lines. Compressed files are unpacked to `plain`; messages call the file
    `where`; `known` are the names of the table's columns.

    The header is the first line that is neither empty nor a note; a line break inside a quoted column name is read as a
    blank. Raises BadDelivery for a file that is truncated, damaged, not UTF-8 or without line feeds, or whose name is
    not that of a CSV file.
    """
    match file.name.lower().rsplit(".", 2):
        case [*_, "csv", "gz"]:
            gunzip(file, plain, where)
        case [*_, "csv", "zip"]:
            unzip(file, plain, where)
        case [*_, "csv"]:
            plain = file
        case _:
            raise BadDelivery(f"{where} is not a .csv, .csv.gz, .csv.zip or .parquet file.")
    with plain.open("rb") as content:
        begins, header, first = _read_header(content, notes, where)
    lines, irregular = count_lines(plain, header, first, where, BLOCK)
    head = _head(first, where)
    found = CsvFile(file, plain, tuple(notes), begins, header, head, lines - header, irregular=irregular)
    return replace(found, has_index=has_index(found.columns, known))


def columns_of(file: Path, where: str, notes: Sequence[str] = ()) -> list[str]:
    """The column names of a CSV file, read from its beginning alone. Raises BadDelivery as `inspect_csv` does, for
    faults in that part."""
    try:
        with reading_compressed(), contextlib.ExitStack() as opened:
            content: IO[bytes] | gzip.GzipFile
            if file.name.lower().endswith(".gz"):
                content = opened.enter_context(gzip.open(file))
            elif file.name.lower().endswith(".zip"):
                archive = opened.enter_context(zipfile.ZipFile(file))
                content = opened.enter_context(archive.open(only_member(archive, where)))
            else:
                content = opened.enter_context(file.open("rb"))
            _, _, first = _read_header(content, notes, where)
    except DamagedFile as error:
        raise damaged(where, error) from error
    try:
        head = _head(first, where)
    except UnicodeDecodeError as error:
        raise BadDelivery(
            f"{where}: the header is not UTF-8, at {shorten(first.decode('latin-1').strip())!r}. "
            "Save the file as UTF-8 and deliver it again.",
            without_values=f"{where}: the header is not UTF-8. Save the file as UTF-8 and deliver it again.",
        ) from error
    return column_names(head)


def _read_header(content: IO[bytes] | gzip.GzipFile, notes: Sequence[str], where: str) -> tuple[int, int, bytes]:
    """The first and last line of the header, and its bytes."""
    is_note = _note_test(notes)
    begins, first = 1, content.readline(LONGEST_ROW)
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadDelivery(f"{where} is in UTF-16. Save the file as UTF-8 and deliver it again.")
    while first and (not first.removeprefix(codecs.BOM_UTF8).strip(BLANK_BYTES) or is_note(first)):
        begins, first = begins + 1, content.readline(LONGEST_ROW)
    # A quoted name may span lines. If its quotes never close, the header is the first line alone.
    end, whole = begins, first
    while whole.count(b'"') % 2 and len(whole) < LONGEST_ROW and (following := content.readline(LONGEST_ROW)):
        end, whole = end + 1, whole + following
    return (begins, begins, first) if whole.count(b'"') % 2 else (begins, end, whole)


def _head(first: bytes, where: str) -> str:
    """The header joined to one line."""
    head = re.sub(r"\r?\n", " ", first.decode("utf-8-sig").rstrip("\r\n"))
    if "\r" in head:
        raise BadDelivery(f"{where} ends its lines with a carriage return alone; save it with line feeds.")
    return head


def fields_of(separator: str) -> str:
    """SQL of the fields of `_line`, unquoted; null if the quotes are unbalanced."""
    trimmed = "trim(f, ' ')"
    unquoted = (
        f"CASE WHEN starts_with({trimmed}, '\"') "
        f"THEN replace(substring({trimmed}, 2, length({trimmed}) - 2), '\"\"', '\"') ELSE f END"
    )
    between, field = field_patterns(separator)
    return (
        f"CASE WHEN NOT contains(_line, '\"') THEN string_split(_line, {sql_text(separator)}) "
        f"WHEN regexp_full_match(_line, '(?:{field})(?:{between}(?:{field}))*') THEN list_transform("
        f"regexp_extract_all({sql_text(separator)} || _line, '{between}({field})', 1), lambda f: {unquoted}) END"
    )


def rows_of(source: CsvFile, skipped: Counter[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows as text, in blocks: `_row` is the line of the file on which the row begins (from 1), `_nth` the row's
    number (from 1), `_line` its text without the line ending.

    Empty lines, rows without values (an index aside), notes and repeated headers are not rows; `skipped` counts
    them under `EMPTY`, the note's pattern and `HEADER`. A line with an open quote is joined with the following lines up
    to the one that closes it, if together they form one row of the header's width and none of the following lines is a
    row by itself. Otherwise each line is a (bad) row, so that a stray quote costs one row and not the rest of the file.
    """
    nth = 1
    for begins, data, ends in lines_of(source):
        batch = rows_among(source, begins[:-1], text_of(data, ends), skipped, nth)
        nth += batch.num_rows
        if batch.num_rows:
            yield batch


def rows_among(
    source: CsvFile, begins: np.ndarray, text: pa.StringArray, skipped: Counter[str] | None, nth: int = 1
) -> pa.RecordBatch:
    """The rows among some of the file's lines, as in `rows_of`, numbered from `nth`."""
    kept = _kept(begins, text, source, _tests(source), skipped)
    return pa.record_batch([begins[kept], np.arange(nth, nth + kept.sum()), text.filter(kept)], schema=ROWS)


def lines_of(source: CsvFile) -> Iterator[tuple[np.ndarray, bytes, np.ndarray]]:
    """All lines of the file in blocks: the number of each (and of the line after the last), the block's bytes, and the
    offset at which each ends. Lines that form one row, as in `rows_of`, are joined."""
    tests, rest, line = _tests(source), b"", 1
    with source.plain.open("rb") as content:
        for block in chain(iter(partial(content.read, BLOCK), b""), [b""]):
            data = rest + block
            ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
            if not block and data and not data.endswith(b"\n"):
                ends = np.append(ends, len(data))
            last, complete = _last_lines(data, ends, tests, not block)
            rest = data[ends[complete - 1] if complete else 0 :]
            if complete:
                begins = np.concatenate([[0], np.flatnonzero(last) + 1]) + line
                line += complete
                yield begins, data, ends[:complete][last]


def text_of(data: bytes, ends: np.ndarray, chosen: np.ndarray | None = None) -> pa.StringArray:
    """The text of a block's lines, or of some of them, without the line endings."""
    text = _strings(data, ends)
    return pc.ascii_rtrim(text if chosen is None else text.filter(chosen), characters="\r\n")


def copy_rows(source: CsvFile, target: Path, first: int) -> tuple[int, Counter[str]]:
    """Write the rows to another file with a first column `_nth`, which numbers them from `first`. Returns the number of
    rows, and the number of lines that are not rows, by pattern."""
    skipped: Counter[str] = Counter()
    rows = 0
    with target.open("wb") as writing:
        writing.write(f"_nth{source.separator}{source.header_text}\n".encode())
        for batch in rows_of(source, skipped):
            numbers = pc.cast(pc.add(batch["_nth"], first - 1), pa.string())
            writing.write(as_bytes(pc.binary_join_element_wise(numbers, batch["_line"], source.separator)))
            rows += batch.num_rows
    return rows, skipped


def as_bytes(lines: pa.StringArray) -> memoryview:
    """The lines, each ended by a line feed."""
    ended = pc.binary_join_element_wise(lines, "", "\n")
    offsets = np.frombuffer(ended.buffers()[1], np.int32)[ended.offset : ended.offset + len(ended) + 1]
    return memoryview(ended.buffers()[2])[offsets[0] : offsets[-1]] if len(ended) else memoryview(b"")


# -- classifying lines ------------------------------------------------------------------------------


def _tests(source: CsvFile) -> _LineTests:
    return _LineTests(len(source.columns), source.separator, source.notes)


class _LineTests:
    """Tests whether text is a row of `width` fields, the beginning of a row with an open first or last field, or a
    note."""

    def __init__(self, width: int, separator: str, notes: Sequence[str]) -> None:
        between, field = field_patterns(separator)
        self.separator = separator
        before = rf"(?:(?:{field}){between}){{{width - 1}}}" if width else r"(?!)"
        # Spreadsheets add empty fields after the last column.
        self.row = re.compile(rf'{before}(?:{field})(?:{between}(?:"")?)*'.encode())
        self.after_first = re.compile(f"^(?:{field})".encode())
        self.unfilled = f' "{separator}'.encode()
        self.open_at_first = re.compile(OPEN_FIELD.encode())
        self.open_at_last = re.compile(rf"{before}{OPEN_FIELD}".encode())
        self.notes = _note_test(notes)

    def is_row(self, text: bytes) -> bool:
        return bool(self.row.fullmatch(text))

    def is_filled_row(self, text: bytes) -> bool:
        """Whether it is a row with a value beyond the first field."""
        return self.is_row(text) and bool(self.after_first.sub(b"", text, count=1).strip(self.unfilled))

    def first_is_named(self, text: bytes, pattern: str) -> bool:
        """Whether the note's pattern covers more than the first field, and the row's first field matches its first."""
        named, separator, _ = pattern.partition(self.separator)
        first = self.after_first.match(text)
        return bool(separator and first and _note_test([named])(first[0]))

    def opens(self, text: bytes) -> bool:
        """Whether a row that continues on the next line may begin here."""
        return not self.notes(text) and not self.is_row(text)

    def could_be_row(self, text: bytes) -> bool:
        return self.is_row(text) or bool(self.open_at_last.fullmatch(text))


def _note_test(notes: Sequence[str]) -> Callable[[bytes], bool]:
    compiled = re.compile("|".join(map(_note, notes)) or r"(?!)", re.ASCII)
    return lambda line: bool(compiled.fullmatch(line.decode(errors="replace").rstrip("\r\n")))


def _note(pattern: str) -> str:
    """A regular expression of the lines that match a note's pattern, where `*` is any text and `?` any character.
    Spreadsheets and exports may quote such a line or its fields, and add separators after it."""
    characters = {"*": ".*", "?": "."} | {separator: f'[ "]*{re.escape(separator)}[ "]*' for separator in SEPARATORS}
    matched = "".join(characters.get(character) or re.escape(character) for character in pattern)
    return '[\\s"\ufeff]*' + matched + '[\\s",;|]*'


def _empty_row(source: CsvFile) -> str:
    """A regular expression of lines whose fields are all empty or blank, quoted or not."""
    between, field = field_patterns(source.separator)
    empty = r'[ \t\x1a]*(?:"[ \t]*")?[ \t]*'
    first = rf"(?:{field}){between}" if source.has_index else ""
    return rf"^{first}{empty}(?:{between}{empty})*$"


def _kept(
    begins: np.ndarray, text: pa.StringArray, source: CsvFile, tests: _LineTests, skipped: Counter[str] | None
) -> np.ndarray:
    """Which lines are rows. A line that matches a note is a row nevertheless if it has values beyond the first field,
    unless the pattern names the whole first field, as `Total,,*` does."""
    kept = pc.not_equal(pc.binary_length(text), 0).to_numpy(zero_copy_only=False) & (
        (begins < source.header_begin) | (begins > source.header_end)
    )
    empty = pc.match_substring_regex(text, _empty_row(source)).to_numpy(zero_copy_only=False) & kept
    kept &= ~empty
    if skipped is not None and empty.any():
        skipped[EMPTY] += int(empty.sum())
    if len(source.columns) > 1:
        header = header_line(source.columns, source.separator)
        again = pc.match_substring_regex(text, header).to_numpy(zero_copy_only=False) & kept
        kept &= ~again
        if skipped is not None and again.any():
            skipped[HEADER] += int(again.sum())
    for pattern in source.notes:
        found = pc.match_substring_regex(text, f"^(?:{_note(pattern)})$").to_numpy(zero_copy_only=False) & kept
        for line in np.flatnonzero(found):
            content = text[line].as_py().encode()
            found[line] = not tests.is_filled_row(content) or tests.first_is_named(content, pattern)
        kept &= ~found
        if skipped is not None and found.any():
            skipped[pattern] += int(found.sum())
    return kept


def _last_lines(data: bytes, ends: np.ndarray, tests: _LineTests, final: bool) -> tuple[np.ndarray, int]:
    """Whether each line is the last of its row, and how many lines this is known for; the others need the next block.
    `ends` are the offsets just after the lines' line feeds."""
    last = np.ones(len(ends), bool)
    quotes = np.flatnonzero(np.frombuffer(data, np.uint8) == ord('"'))
    odd = np.flatnonzero(np.diff(np.searchsorted(quotes, ends), prepend=0) % 2)

    def text(begin: int, end: int) -> bytes:
        return data[_start(ends, begin) : ends[end]].rstrip(b"\r\n")

    turn = 0
    while turn < len(odd):
        begin = int(odd[turn])
        turn += 1
        if not tests.opens(text(begin, begin)):
            continue
        if turn == len(odd):
            if not final and len(data) - _start(ends, begin) < LONGEST_ROW:
                return last[:begin], begin
            break
        # Lines inside a quoted value have balanced quotes.
        close = int(odd[turn])
        # The line that closes an open first field has as many fields as a row.
        following = range(begin + 1, close if tests.open_at_first.fullmatch(text(begin, begin)) else close + 1)
        if ends[close] - _start(ends, begin) > LONGEST_ROW or any(tests.could_be_row(text(n, n)) for n in following):
            continue
        if tests.is_row(text(begin, close)):
            last[begin:close] = False
            turn += 1
    return last, len(ends)


def _start(ends: np.ndarray, line: int) -> int:
    return int(ends[line - 1]) if line else 0


def _strings(data: bytes, ends: np.ndarray) -> pa.StringArray:
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data))
