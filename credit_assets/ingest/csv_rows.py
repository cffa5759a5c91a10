"""A delivered CSV file as rows of text: decompressed, known to be UTF-8, lines that are no rows passed over, a line
break between quotes left in its row. What a row means is for `typed_read.py` and `split_by_date.py` to say.
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
from credit_assets.lake.contracts import shorten
from credit_assets.lake.sql import sql_text

BLOCK = 8 * 1024 * 1024
# No header, and no row of several lines, is longer than this.
LONGEST = 1024 * 1024
SEPARATORS = (",", ";", "\t", "|")
NOTHING = b' \t,;|"\r\n\x1a'
"""The signs of a line without any value; the last one ends a file that DOS wrote."""
OPEN_FIELD = r' *"[^"]*(?:""[^"]*)*'
ROWS = pa.schema([("_row", pa.int64()), ("_nth", pa.int64()), ("_line", pa.string())])

EMPTY = "rows with no values"
"""What lines without any value are counted as, beside the patterns of notes: `,,,,` is what a sheet writes for a row
that was once used."""
HEADER = "repeated headers"
"""What lines that are the header again are counted as: files that were put together have one each."""
# What pandas calls an index that was written without a name, in a file that was read and written again.
INDEX_NAMES = {"", "Unnamed: 0"}


@dataclass(frozen=True)
class CsvFile:
    """A delivered CSV file, looked over: `plain` is it without compression, `head` its header, on one line, which
    begins on the line `begins` of the file (from 1) and ends on the line `header`; `lines` are those that follow.
    `notes` are the patterns of lines that are no rows, `separator` is what stands between two fields. `has_index`: the
    first column numbers the rows and is none of the table's."""

    file: Path
    plain: Path
    notes: tuple[str, ...]
    begins: int
    header: int
    head: str
    lines: int
    has_index: bool = False

    @cached_property
    def separator(self) -> str:
        return separator_of(self.head)

    @property
    def columns(self) -> list[str]:
        return names_in(self.head)

    @property
    def rows(self) -> int:
        """How many rows the file has. Reads it."""
        return self._counted[0]

    @property
    def passed_over(self) -> Counter[str]:
        """How many lines are no rows, by pattern, or `EMPTY`. Reads the file."""
        return self._counted[1]

    @cached_property
    def _counted(self) -> tuple[int, Counter[str]]:
        passed_over: Counter[str] = Counter()
        return sum(batch.num_rows for batch in rows_of(self, passed_over)), passed_over


def has_index(columns: Sequence[str], known: Collection[str]) -> bool:
    """Whether the first column is, by its name and by those that the table has, an index that was written with it."""
    return bool(columns) and columns[0].strip() in INDEX_NAMES and columns[0] not in known


def separator_of(head: str) -> str:
    """What separates the columns of the header: of comma, semicolon, tab and bar that which occurs most often outside
    of quotes."""
    return max(SEPARATORS, key=re.sub('"[^"]*"', "", head).count)


def names_in(head: str) -> list[str]:
    """The columns that the header names: empty names after the last one are what spreadsheets add."""
    names = next(csv.reader([head], delimiter=separator_of(head)), [])
    while len(names) > 1 and not names[-1].strip():
        names.pop()
    return names


def field_patterns(separator: str) -> tuple[str, str]:
    """Regular expressions, as Python and DuckDB read them, of the separator and of a field as DuckDB's reader takes
    it: quoted (blanks around the quotes are passed over), or free of separators and line breaks and not beginning
    with a quote."""
    between = {"\t": r"\t", "|": r"\|"}.get(separator, separator)
    return between, rf' *"[^"]*(?:""[^"]*)*" *| *(?:[^ "{between}\n][^{between}\n]*)?'


def look_over(file: Path, where: str, plain: Path, notes: Sequence[str] = (), known: Collection[str] = ()) -> CsvFile:
    """The file's header and lines; `plain` is where to decompress to, `where` what messages call the file, `known` the
    names of the table's columns.

    The header is the first line that is neither empty nor a note; a line break in the
    quoted name of a column is a blank. BadDelivery for a file that is cut off or damaged, is no CSV by its name, is
    not UTF-8, or has no line feeds.
    """
    match file.name.lower().rsplit(".", 2):
        case [*_, "csv", "gz"]:
            gunzip(file, plain, where)
        case [*_, "csv", "zip"]:
            unzip(file, plain, where)
        case [*_, "csv"]:
            plain = file
        case _:
            raise BadDelivery(f"{where} is no .csv, .csv.gz, .csv.zip or .parquet file.")
    with plain.open("rb") as content:
        begins, header, first = _read_header(content, notes, where)
    lines = _count_lines(plain, header, first, where)
    found = CsvFile(file, plain, tuple(notes), begins, header, _head(first, where), lines - header)
    return replace(found, has_index=has_index(found.columns, known))


def columns_of(file: Path, where: str, notes: Sequence[str] = ()) -> list[str]:
    """The names in the header of a CSV file, of which no more than the beginning is read. BadDelivery as `look_over`
    raises it, for what the beginning shows."""
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
    return names_in(head)


def _read_header(content: IO[bytes] | gzip.GzipFile, notes: Sequence[str], where: str) -> tuple[int, int, bytes]:
    """The lines that the header begins and ends on, and its bytes."""
    is_note = _note_test(notes)
    begins, first = 1, content.readline(LONGEST)
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadDelivery(f"{where} is in UTF-16. Save the file as UTF-8 and deliver it again.")
    while first and (not first.removeprefix(codecs.BOM_UTF8).strip(NOTHING) or is_note(first)):
        begins, first = begins + 1, content.readline(LONGEST)
    # A name between quotes may go on in the next lines; of quotes that never pair up, the line alone is the header.
    end, whole = begins, first
    while whole.count(b'"') % 2 and len(whole) < LONGEST and (following := content.readline(LONGEST)):
        end, whole = end + 1, whole + following
    return (begins, begins, first) if whole.count(b'"') % 2 else (begins, end, whole)


def _head(first: bytes, where: str) -> str:
    """The header on one line."""
    head = re.sub(r"\r?\n", " ", first.decode("utf-8-sig").rstrip("\r\n"))
    if "\r" in head:
        raise BadDelivery(f"{where} ends its lines with a carriage return alone; save it with line feeds.")
    return head


def fields_of(separator: str) -> str:
    """SQL of the fields of `_line`, without the quotes around them; null where its quotes do not pair up."""
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


def rows_of(source: CsvFile, passed_over: Counter[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows as text, a block of the file at a time: `_row` is the line in the file that the row begins on (the
    file's first being 1), `_nth` its place among the rows, from 1, `_line` all of it without the end of its line.

    Lines with nothing in them are no rows, nor are those whose fields are all empty (an index aside), nor notes:
    `passed_over` counts them, as `EMPTY` and by pattern; the header again is counted as `HEADER`. A line
    whose quotes are left open goes on in the following lines, up to the one that closes them, if all of them together
    are one row of the header's width, and none of the following ones could be a row by itself. Where that is not so,
    each line is a row (a bad one), so that a quote too many costs one row and not all that follow.
    """
    tests = _LineTests(len(source.columns), source.separator, source.notes)
    rest, line, nth = b"", 1, 1
    with source.plain.open("rb") as content:
        for block in chain(iter(partial(content.read, BLOCK), b""), [b""]):
            data = rest + block
            ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
            if not block and data and not data.endswith(b"\n"):
                ends = np.append(ends, len(data))
            last, told = _last_lines(data, ends, tests, not block)
            rest = data[ends[told - 1] if told else 0 :]
            if not told:
                continue
            begins = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1]) + line
            text = pc.ascii_rtrim(_strings(data, ends[:told][last]), characters="\r\n")
            kept = _kept(begins, text, source, tests, passed_over)
            batch = pa.record_batch([begins[kept], np.arange(nth, nth + kept.sum()), text.filter(kept)], schema=ROWS)
            line, nth = line + told, nth + batch.num_rows
            if batch.num_rows:
                yield batch


def copy_rows(source: CsvFile, target: Path, first: int) -> tuple[int, Counter[str]]:
    """Write the rows to another file, each with its number before it, as the column `_nth`, that of the first being
    `first`. How many rows, and how many notes of each pattern were passed over."""
    passed_over: Counter[str] = Counter()
    rows = 0
    with target.open("wb") as writing:
        writing.write(f"_nth{source.separator}{source.head}\n".encode())
        for batch in rows_of(source, passed_over):
            numbers = pc.cast(pc.add(batch["_nth"], first - 1), pa.string())
            writing.write(as_bytes(pc.binary_join_element_wise(numbers, batch["_line"], source.separator)))
            rows += batch.num_rows
    return rows, passed_over


def as_bytes(lines: pa.StringArray) -> memoryview:
    """The lines, each with a line feed."""
    ended = pc.binary_join_element_wise(lines, "", "\n")
    offsets = np.frombuffer(ended.buffers()[1], np.int32)[ended.offset : ended.offset + len(ended) + 1]
    return memoryview(ended.buffers()[2])[offsets[0] : offsets[-1]] if len(ended) else memoryview(b"")


# -- what a line is -------------------------------------------------------------------------------


class _LineTests:
    """Whether text is a row of so many fields, the beginning of one whose first or last field is left open, or a
    note."""

    def __init__(self, width: int, separator: str, notes: Sequence[str]) -> None:
        between, field = field_patterns(separator)
        self.separator = separator
        before = rf"(?:(?:{field}){between}){{{width - 1}}}" if width else r"(?!)"
        # Empty fields after the last column are what spreadsheets add.
        self.row = re.compile(rf'{before}(?:{field})(?:{between}(?:"")?)*'.encode())
        self.after_first = re.compile(f"^(?:{field})".encode())
        self.unfilled = f' "{separator}'.encode()
        self.open_at_first = re.compile(OPEN_FIELD.encode())
        self.open_at_last = re.compile(rf"{before}{OPEN_FIELD}".encode())
        self.notes = _note_test(notes)

    def is_row(self, text: bytes) -> bool:
        return bool(self.row.fullmatch(text))

    def is_filled_row(self, text: bytes) -> bool:
        """Whether it is a row of which more than the first field is filled."""
        return self.is_row(text) and bool(self.after_first.sub(b"", text, count=1).strip(self.unfilled))

    def first_is_named(self, text: bytes, pattern: str) -> bool:
        """Whether the pattern of a note goes on after its first field, and the row's first field is that of the
        pattern."""
        named, separator, _ = pattern.partition(self.separator)
        first = self.after_first.match(text)
        return bool(separator and first and _note_test([named])(first[0]))

    def opens(self, text: bytes) -> bool:
        """Whether a row may begin here that goes on in the next line."""
        return not self.notes(text) and not self.is_row(text)

    def could_be_row(self, text: bytes) -> bool:
        return self.is_row(text) or bool(self.open_at_last.fullmatch(text))


def _note_test(notes: Sequence[str]) -> Callable[[bytes], bool]:
    compiled = re.compile("|".join(map(_note, notes)) or r"(?!)", re.ASCII)
    return lambda line: bool(compiled.fullmatch(line.decode(errors="replace").rstrip("\r\n")))


def _note(pattern: str) -> str:
    """A regular expression of the lines that the pattern names: `*` is anything, `?` any one sign. Spreadsheets and
    exports put such a line, or each of its fields, into quotes, and separators after it."""
    signs = {"*": ".*", "?": "."} | {sign: f'[ "]*{re.escape(sign)}[ "]*' for sign in SEPARATORS}
    words = "".join(signs.get(sign) or re.escape(sign) for sign in pattern)
    return '[\\s"\ufeff]*' + words + '[\\s",;|]*'


def _empty_row(source: CsvFile) -> str:
    """A regular expression of the lines whose fields are all empty: blanks or tabs alone, in quotes or not."""
    between, field = field_patterns(source.separator)
    empty = r'[ \t\x1a]*(?:"[ \t]*")?[ \t]*'
    first = rf"(?:{field}){between}" if source.has_index else ""
    return rf"^{first}{empty}(?:{between}{empty})*$"


def _kept(
    begins: np.ndarray, text: pa.StringArray, source: CsvFile, tests: _LineTests, passed_over: Counter[str] | None
) -> np.ndarray:
    """Which lines are rows: also those that read like a note and fill more than the first field of a row, unless the
    note names the first field as a whole, as `Total,,*` does."""
    kept = pc.not_equal(pc.binary_length(text), 0).to_numpy(zero_copy_only=False) & (
        (begins < source.begins) | (begins > source.header)
    )
    empty = pc.match_substring_regex(text, _empty_row(source)).to_numpy(zero_copy_only=False) & kept
    kept &= ~empty
    if passed_over is not None and empty.any():
        passed_over[EMPTY] += int(empty.sum())
    if len(source.columns) > 1:
        again = pc.equal(text, source.head).to_numpy(zero_copy_only=False) & kept
        kept &= ~again
        if passed_over is not None and again.any():
            passed_over[HEADER] += int(again.sum())
    for pattern in source.notes:
        found = pc.match_substring_regex(text, f"^(?:{_note(pattern)})$").to_numpy(zero_copy_only=False) & kept
        for line in np.flatnonzero(found):
            content = text[line].as_py().encode()
            found[line] = not tests.is_filled_row(content) or tests.first_is_named(content, pattern)
        kept &= ~found
        if passed_over is not None and found.any():
            passed_over[pattern] += int(found.sum())
    return kept


def _last_lines(data: bytes, ends: np.ndarray, tests: _LineTests, final: bool) -> tuple[np.ndarray, int]:
    """Of each line whether it is its row's last; and how many lines that tells of: with the others the file has to go
    on first. `ends` are the places after the lines' line feeds."""
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
            if not final and len(data) - _start(ends, begin) < LONGEST:
                return last[:begin], begin
            break
        # Of a quoted value, the lines between its first and its last have quotes in pairs.
        close = int(odd[turn])
        # The line that closes a first field has as many fields as a row.
        following = range(begin + 1, close if tests.open_at_first.fullmatch(text(begin, begin)) else close + 1)
        if ends[close] - _start(ends, begin) > LONGEST or any(tests.could_be_row(text(n, n)) for n in following):
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


# -- what is wrong with all of a file --------------------------------------------------------------


def _count_lines(plain: Path, header: int, first: bytes, where: str) -> int:
    """How many lines the file has; BadDelivery if it is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, position, block = 0, 0, b""
    with plain.open("rb") as content:
        while following := content.read(BLOCK):
            block = following
            if (nul := block.find(b"\0")) >= 0:
                line = lines + block.count(b"\n", 0, nul) + 1
                raise BadDelivery(
                    f"{where}, row {line}: a byte is zero, as where a file was not written whole. Deliver it again."
                )
            lines += block.count(b"\n")
            pending = decoder.getstate()[0]
            if pending or not block.isascii():
                try:
                    decoder.decode(block)
                except UnicodeDecodeError as error:
                    raise _not_utf8(plain, position - len(pending) + error.start, header, first, where) from error
            position += len(block)
    if decoder.getstate()[0]:
        raise _not_utf8(plain, position - len(decoder.getstate()[0]), header, first, where)
    return lines + (not block.endswith(b"\n"))


def _not_utf8(plain: Path, offset: int, header: int, first: bytes, where: str) -> BadDelivery:
    with plain.open("rb") as content:
        line_number = 1 + sum(
            content.read(min(BLOCK, offset - start)).count(b"\n") for start in range(0, offset, BLOCK)
        )
        content.seek(max(0, offset - LONGEST))
        before = content.read(min(offset, LONGEST)).rsplit(b"\n", 1)[-1].decode("latin-1")
        after = content.read(LONGEST).split(b"\n", 1)[0].decode("latin-1")
    head = re.sub(r"[\r\n]+", " ", first.decode("latin-1")).strip()
    separator = separator_of(head)
    fields = next(csv.reader([before.replace("\r", " ")], delimiter=separator)) or [""]
    nth = len(fields) - 1
    names = next(csv.reader([head], delimiter=separator), [])
    column = names[nth] if line_number > header and nth < len(names) else f"number {nth + 1}"
    value = (fields[-1] + after.split(separator)[0]).strip()
    mend = "Save the file as UTF-8 and deliver it again."
    return BadDelivery(
        f"{where}, row {line_number}, column {column}: the byte 0x{ord(after[0]):02X} is not UTF-8 "
        f"(read as Latin-1 the value is {shorten(value)!r}). {mend}",
        # By its number: in a file without a header, the names are values.
        without_values=f"{where}, row {line_number}, column number {nth + 1}: a byte is not UTF-8. {mend}",
    )
