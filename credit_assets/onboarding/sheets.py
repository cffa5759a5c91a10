"""Finds the header and rows of a CSV file of an unknown book, and the titles, units and totals around them.

Deliveries of a known book are read in `ingest/csv_rows.py` and `ingest/typed_read.py`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from credit_assets.ingest import month_names
from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.csv_bytes import SEPARATORS
from credit_assets.ingest.csv_rows import (
    BLANK_BYTES,
    ROWS,
    CsvFile,
    fields_of,
    has_index,
    inspect_csv,
    rows_of,
)
from credit_assets.lake.contracts import shorten
from credit_assets.lake.sql import identifier, sql_path, sql_text
from credit_assets.plurals import are, number_of

HEADER_BYTES = 256 * 1024
"""Bytes at the beginning of a file that are searched for its header."""

COMPARED_LINES = 20
"""Lines after a header that are compared with it."""

MIN_SHARE_LIKE_HEADER = 0.5
"""Share of these lines that must have as many fields as the header."""

END_BYTES = 64 * 1024
LAST_LINES = 5
"""Lines at the end of a file that are searched for totals."""

MAX_BROKEN_SHARE = 0.05
"""Broken lines are left out if they are at most this share."""

MAX_LISTED = 1000
MAX_NOTES = 10
MIN_LETTERS_OF_NOTE = 4
SEPARATOR_LINE = r"(?i)sep="
"""The beginning of a line that states the separator for Excel."""
UNITS = (
    r"(?i)[€$£¥%‰]|eur|usd|gbp|chf|pln|sek|nok|dkk|czk|brl|[tkm] ?[€$£]|(in )?(euro|dollars?|thousands|percent|prozent)"
    r"|(in )?(days?|months?|years?|tage|monate|jahre|jours|mois|ans|annees|días|dias|meses|años|anos|giorni|mesi|anni)"
    r"|0 ?/ ?1|y ?/ ?n|yes ?/ ?no|ja ?/ ?nein|[ymdjta]{2,4}([-./][ymdjta]{2,4}){1,2}"
    r"|text|string|number|integer|int|float|double|date|varchar|char|boolean|bool|zahl|datum|texte|nombre"
)
"""A field of a line of units or types below the header. `(EUR)` and `[EUR]` count as `EUR`."""
OTHER_SEPARATORS = {" ": "blanks", "^": "'^'", "~": "'~'", ":": "':'", "\x01": "a control character"}
TOTAL = (
    r"[\s\"*=-]*(grand |sub[- ]?)?(totals?|sums?|summen?|gesamt\w*|insgesamt|somme|totale?s?|suma|razem"
    r"|end of (file|report))\b(?!\().*"
)
CHANGES = rf"(?i)\w*\d\w*|\b({'|'.join(month_names.any_language())})\b"
"""The parts of a line above or below the rows that change from file to file: numbers and months."""


@dataclass(frozen=True)
class Sheet:
    """A CSV file with its header. `columns` excludes the index column, if there is an `index`; `notes` maps patterns of
    lines that are not rows to such a line and its number."""

    path: Path
    source: CsvFile
    columns: tuple[str, ...]
    index: bool
    notes: dict[str, tuple[int, str]]


def sheet_of(path: Path, plain: Path) -> Sheet:
    """Find the file's header; a compressed file is decompressed to `plain`. Raises BadDelivery for a file that is not a
    table."""
    source = inspect_csv(path, str(path), plain)
    if not source.header_text.strip() and not source.lines:
        raise BadDelivery(f"{path} is empty: not even a header.")
    _refuse_other_separators(path, source)
    notes: dict[str, tuple[int, str]] = {}
    titles = [(line, text, _pattern(text)) for line, text in _above_the_header(source)]
    for line, text, pattern in [*titles, *_units_below(source), *_totals_below(path, source)]:
        if pattern is None:
            raise BadDelivery(f"{path}, line {line}: {shorten(text)!r} is neither a header nor a row. Remove the line.")
        notes[pattern] = line, text
    if notes:
        source = inspect_csv(path, str(path), plain, tuple(notes))
    names = source.columns
    index = has_index(names, ())
    if not names[index:]:
        raise BadDelivery(f"{path}: no column has a name. Write a header above the rows.")
    return Sheet(path, source, tuple(names[1:] if index else names), index, notes)


def write_rows(con: duckdb.DuckDBPyConnection, sheet: Sheet, target: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write the rows as text to a Parquet file, which reads several times faster than CSV. Return the patterns of lines
    that are not rows, and sentences about what was left out.

    Raises BadDelivery if too many lines are neither rows nor notes.
    """
    source, name = sheet.source, sheet.path.name
    notes, remarks = dict(sheet.notes), []
    if sheet.index:
        called = f"called {source.columns[0]}" if source.columns[0].strip() else "without a name"
        remarks.append(f"{name}: the first column, {called}, is taken for an index and left out.")
    if notes or not _write_clean(con, sheet, target):
        broken = _write_what_fits(con, sheet, target, notes)
        if broken:
            remarks.append(broken)
    remarks += [
        f"{name}: line {line}, {shorten(text)!r}, is not a row and is skipped." for line, text in notes.values()
    ]
    return tuple(notes), tuple(remarks)


# -- around the rows -------------------------------------------------------------------------------


def _refuse_other_separators(path: Path, source: CsvFile) -> None:
    if len(source.columns) != 1:
        return
    with source.plain.open("rb") as content:
        lines = content.read(HEADER_BYTES).decode("utf-8-sig", "replace").splitlines()
    compared = [line for line in lines[: COMPARED_LINES + 1] if line.strip()]
    for sign, called in OTHER_SEPARATORS.items():
        header, *widths = [len(line.split() if sign == " " else line.split(sign)) for line in compared] or [0]
        if header > 1 and widths and widths.count(header) >= MIN_SHARE_LIKE_HEADER * len(widths):
            raise BadDelivery(
                f"{path}: the columns are separated by {called}. Separate them by commas, semicolons, tabs or bars: "
                "open the file in the program that wrote it, or in a spreadsheet, and save it as CSV."
            )


def _above_the_header(source: CsvFile) -> list[tuple[int, str]]:
    """The lines above the header, with their numbers. The header is the first line of several fields whose number of
    fields most of the next lines share."""
    with source.plain.open("rb") as content:
        lines = content.read(HEADER_BYTES).decode("utf-8-sig", "replace").splitlines(keepends=True)
    found: list[tuple[int, int]] = []
    for separator in SEPARATORS:
        rows = list(_parsed(lines, separator))
        for n, (line, fields) in enumerate(rows):
            width = max((place for place, field in enumerate(fields, 1) if field.strip()), default=0)
            following = [others for _, others in rows[n + 1 : n + 1 + COMPARED_LINES]]
            alike = sum(len(others) >= width and not "".join(others[width:]).strip() for others in following)
            if width > 1 and following and alike >= MIN_SHARE_LIKE_HEADER * len(following):
                found.append((width, line))
                break
    _, header = max(found, default=(1, 1))
    return [
        (n, line.strip()) for n, line in enumerate(lines[: header - 1], start=1) if line.strip(BLANK_BYTES.decode())
    ]


def _units_below(source: CsvFile) -> list[tuple[int, str, str]]:
    """The line below the header, with its number and pattern, if it has the columns' units or types: all its fields are
    these or empty, unlike those of the next lines."""
    with source.plain.open("rb") as content:
        lines = content.read(HEADER_BYTES).decode("utf-8-sig", "replace").splitlines()[source.header_end :]
    if len(lines) < 2 or not _are_units(lines[0], source.separator):
        return []
    if any(_are_units(line, source.separator) for line in lines[1 : 1 + COMPARED_LINES]):
        return []
    return [(source.header_end + 1, lines[0].strip(), lines[0].strip(' \t"'))]


def _are_units(text: str, separator: str) -> bool:
    fields = [field.strip(" ()[]") for field in _filled(text, separator)]
    return bool(fields) and all(re.fullmatch(UNITS, field) for field in fields)


def _parsed(lines: Sequence[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the number of its first line."""
    reader = csv.reader(lines, delimiter=separator)
    line = 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield line, fields
            line = reader.line_num + 1
    except csv.Error:
        return


def _totals_below(path: Path, source: CsvFile) -> list[tuple[int, str, str | None]]:
    """The last lines that begin like a total, with their numbers and patterns. Raises BadDelivery for one that has the
    fields of a row."""
    with source.plain.open("rb") as content:
        first = content.read(END_BYTES).decode("utf-8-sig", "replace").splitlines()
        content.seek(max(0, source.plain.stat().st_size - END_BYTES))
        last = content.read().decode("utf-8", "replace").splitlines()
    if any(_is_total(line) for line in first[1 : -LAST_LINES or None][:COMPARED_LINES]):
        return []
    found = []
    for n, text in enumerate(reversed(last[-LAST_LINES:])):
        line = source.header_end + source.lines - n
        if line > source.header_end and _is_total(text):
            several = len(_filled(text, source.separator)) > 1
            pattern = _pattern_of_fields(text, source) if several else _pattern(text)
            if several and pattern is None:
                raise BadDelivery(f"{path}, line {line}: {shorten(text)!r} is a total, not a row. Remove the line.")
            found.append((line, text.strip(), pattern))
    return found


def _is_total(text: str) -> bool:
    return bool(re.fullmatch(TOTAL, text, re.IGNORECASE))


def _filled(text: str, separator: str) -> list[str]:
    one_line = re.sub(r"[\r\n]+", " ", text)
    return [field for field in next(csv.reader([one_line], delimiter=separator), []) if field.strip()]


def _pattern_of_fields(text: str, source: CsvFile) -> str | None:
    """The pattern of a total of several fields: its whole first field, the empty ones after it, then anything. None
    if it may be a row: it fills most fields, or has values other than numbers."""
    first, *others = next(csv.reader([text], delimiter=source.separator))
    filled = [n for n, field in enumerate(others) if field.strip()]
    numbers = all(any(sign.isdecimal() for sign in others[n]) for n in filled)
    if source.separator in first or not numbers or len(filled) > max(1, len(source.columns) // 2):
        return None
    if first.strip() == source.columns[0].strip():  # the note would match the header too
        return None
    named = _pattern(first)
    return named and f"{named}{source.separator * (filled[0] + 1)}*"


def _pattern(text: str) -> str | None:
    """The line as a pattern of `notes:`, with `*` for what changes from file to file; None if it has too few letters
    to be distinguished from a row."""
    if re.match(SEPARATOR_LINE, text.strip(' \t"')):
        return "sep=*"
    words = re.sub(CHANGES, "*", text.strip(' \t",;|'))
    pattern = re.sub(r"\*[\W_]*\*", "*", re.sub(r"\*[\W_]*(?=\*)", "", words))
    letters = sum(sign.isalpha() for sign in pattern)
    return pattern if letters >= MIN_LETTERS_OF_NOTE else None


# -- the rows --------------------------------------------------------------------------------------


def _write_clean(con: duckdb.DuckDBPyConnection, sheet: Sheet, target: Path) -> bool:
    """Write the rows of a file that has only rows below its header; return whether it is such a file."""
    source = sheet.source
    index = ["_index" if "_index" not in map(str.lower, sheet.columns) else "_index_"] if sheet.index else []
    types = ", ".join(f"{sql_text(name)}: 'VARCHAR'" for name in [*index, *sheet.columns])
    names = [identifier(name) for name in sheet.columns]
    filled = ", ".join(f"nullif(trim({name}), '')" for name in names)
    header = " AND ".join(f"{identifier(name)} IS NOT DISTINCT FROM {sql_text(name)}" for name in sheet.columns)
    is_row = f"coalesce({filled}) IS NOT NULL AND NOT ({header if len(names) > 1 else 'false'})"
    rows = (
        f"read_csv({sql_path(source.plain)}, auto_detect = false, header = true, columns = {{{types}}}, "
        f"delim = {sql_text(source.separator)}, quote = '\"', escape = '\"', nullstr = '', strict_mode = true)"
    )
    try:
        [(written,)] = con.execute(
            f"COPY (SELECT {', '.join(names)} FROM {rows} WHERE {is_row}) TO {sql_text(str(target))} (FORMAT parquet)"
        ).fetchall()
    except (duckdb.InvalidInputException, duckdb.ConversionException):
        return False
    return bool(written == source.lines or (written < source.lines and written == source.rows))


def _write_what_fits(
    con: duckdb.DuckDBPyConnection, sheet: Sheet, target: Path, notes: dict[str, tuple[int, str]]
) -> str | None:
    """Write the lines with the header's number of fields; add those of the others that look like a title or footer to
    `notes`. Return a remark on the rest, if any; raises BadDelivery if they are too many."""
    source, path = sheet.source, sheet.path
    width = len(source.columns)
    lines = target.with_suffix(".lines")
    con.register("_lines", pa.RecordBatchReader.from_batches(ROWS, rows_of(source)))
    try:
        con.execute(
            f"COPY (SELECT _row, _line, {fields_of(source.separator)} AS _fields FROM _lines) "
            f"TO {sql_text(str(lines))} (FORMAT parquet)"
        )
    finally:
        con.unregister("_lines")
    fits = f"len(_fields) >= {width} AND trim(array_to_string(_fields[{width + 1}:], '')) = ''"
    values = ", ".join(
        f"nullif(_fields[{n}], '') AS {identifier(name)}" for n, name in enumerate(sheet.columns, start=1 + sheet.index)
    )
    rows = f"read_parquet({sql_path(lines)})"
    [(written,)] = con.execute(
        f"COPY (SELECT {values} FROM {rows} WHERE {fits}) TO {sql_text(str(target))} (FORMAT parquet)"
    ).fetchall()
    others = con.execute(
        f"SELECT _row, _line, len(_fields) FROM {rows} WHERE ({fits}) IS NOT TRUE ORDER BY _row LIMIT {MAX_LISTED}"
    ).fetchall()
    broken = []
    for line, text, fields in others:
        pattern = _pattern(text) if _is_total(text) or len(_filled(text, source.separator)) <= 1 else None
        if pattern is None:
            broken.append((line, text, fields))
        else:
            notes.setdefault(pattern, (line, text))
    lines.unlink()
    if not broken:
        return None
    line, text, fields = broken[0]
    has = "quotes that do not pair up" if fields is None else number_of(fields, "field")
    if len(broken) > MAX_BROKEN_SHARE * written or len(notes) > MAX_NOTES:
        raise BadDelivery(
            f"{path}, line {line}: {shorten(text)!r} has {has}, the header {number_of(width, 'field')}. Correct the "
            "file; remove lines above the header and totals below the rows."
        )
    count = f"{number_of(len(broken), 'line')} {are(len(broken))} left out"
    return f"{path.name}: {count}, because the header has {number_of(width, 'field')} and line {line} has {has}."
