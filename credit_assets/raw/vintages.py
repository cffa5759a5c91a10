"""Big files cut into batches by a date column, the text of each row as it was. Putting the batches in place is
`delivery.py`'s; nothing is judged here but the date.
"""

from __future__ import annotations

import contextlib
import gzip
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb
import numpy as np
import pyarrow as pa

from credit_assets.lake.connections import connect
from credit_assets.lake.contracts import shorten
from credit_assets.lake.tables import sql_text
from credit_assets.portfolio import Portfolio
from credit_assets.raw.delivery import ENDINGS, BadDelivery, Inbox, delivered_files, match_files, unpacked
from credit_assets.raw.lines import CsvFile, as_bytes, field_patterns, look_over, rows_of

Every = Literal["month", "quarter", "year"]
# DuckDB's `%b-%Y` would read the year of Dec-11 as 11: `%b-%y` first.
FORMATS = ("%b-%y", "%b-%Y", "%Y-%m-%d", "%Y-%m-%d %H:%M:%S")
LOOK_LIKE = "Dec-2011, Dec-11, 2011-12-01 or 2011-12-01 00:00:00"
_NAMES: Mapping[Every, str] = {
    "month": "strftime(_date, '%Y-%m')",
    "quarter": "strftime(_date, '%Y') || '-Q' || quarter(_date)",
    "year": "strftime(_date, '%Y')",
}
# Each is a file that stays open; forty years have fewer months.
MOST_BATCHES = 480
LISTED = 8
COMPRESSION = 4


@dataclass(frozen=True)
class Vintage:
    """A batch cut out of the files: its folder holds a part of each of them, `rows` in all."""

    batch: str
    folder: Path
    rows: int


@dataclass(frozen=True)
class Cut:
    """The vintages, oldest first, and how many lines were passed over as no rows, by pattern."""

    vintages: Sequence[Vintage]
    notes: Mapping[str, int]


@dataclass
class _Part:
    """A part that is being written."""

    compressed: gzip.GzipFile
    rows: int = 0


@contextlib.contextmanager
def cut_up(source: Path, portfolio: Portfolio, column: str, inbox: Inbox) -> Iterator[Cut]:
    """The source (a file, or a folder or zip archive of files of the portfolio's tables) cut into batches by the
    date in the column, one for `delivery.every`; the parts are there for as long as the context lasts.

    Raises BadDelivery for a file of no table, and where `cut` does.
    """
    with inbox.cutting(portfolio.name) as workspace, unpacked(source, workspace) as folder:
        stems = {table: config.files for table, config in portfolio.tables.items()}
        matched = match_files(delivered_files(folder, source), stems, stems, portfolio.outcomes_table, source)
        if strangers := [file.name for file in matched.unknown if file.name.lower().endswith(ENDINGS)]:
            known = ", ".join(stem for names in stems.values() for stem in names)
            raise BadDelivery(
                f"{', '.join(strangers)} belongs to no table of {portfolio.name}, whose files are called {known}. "
                "Rename it, or add its name to `files:` of its table in the portfolio's configuration."
            )
        notes = {file: portfolio.tables[table].notes for table, files in matched.tables.items() for file in files}
        parts = workspace / "parts"
        parts.mkdir()
        yield cut(notes, column, portfolio.delivery.every, parts)


def cut(files: Mapping[Path, Sequence[str]], column: str, every: Every, workspace: Path) -> Cut:
    """Write the rows of CSV files to `workspace/<batch>/<stem of the file>.csv.gz`, by the date in the column.

    `files` gives with each file the patterns of lines that are no rows. A batch is a month (`2010-01`), a quarter
    (`2010-Q1`) or a year (`2010`). Every row's text stays as it is, between the file's header and a line feed, in the
    file's order; the same rows give the same files, byte for byte. A file is read a block at a time.

    Raises BadDelivery for a file that cannot be read, that has no such column, or with a row whose date cannot be
    read: nothing of what was written is of use then.
    """
    counted: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    for file, patterns in files.items():
        if file.name.lower().endswith(".parquet"):
            raise BadDelivery(f"{file.name} is a Parquet file; only CSV files are cut. Deliver its parts by --batch.")
        plain = workspace / ".plain"
        source = look_over(file, file.name, plain, patterns)
        if column not in source.columns:
            raise BadDelivery(f"{file.name} has no column {column!r} to be cut by; it has {_listed(source.columns)}.")
        counted.update(_cut(source, column, every, workspace, notes))
        plain.unlink(missing_ok=True)
    if not counted:
        raise BadDelivery(f"No rows in {', '.join(file.name for file in files)}: nothing to deliver.")
    return Cut([Vintage(batch, workspace / batch, rows) for batch, rows in sorted(counted.items())], notes)


def _cut(source: CsvFile, column: str, every: Every, workspace: Path, notes: Counter[str]) -> dict[str, int]:
    """Write the file's parts; the rows of each batch."""
    parts: dict[str, _Part] = {}
    with connect() as con, contextlib.ExitStack() as opened:
        for rows in rows_of(source, notes):
            batches = _batches(con, rows, source, column, every)
            names, of_row = np.unique(batches, return_inverse=True)
            order = np.argsort(of_row, kind="stable")
            lines = rows["_line"].take(pa.array(order))
            ends = np.cumsum(np.bincount(of_row, minlength=len(names)))
            for name, begin, end in zip(names.tolist(), [0, *ends[:-1]], ends, strict=True):
                part = parts.get(name)
                if part is None:
                    part = parts[name] = _Part(opened.enter_context(_part(source, workspace / name)))
                    part.compressed.write(f"{source.head}\n".encode())
                    if len(parts) > MOST_BATCHES:
                        raise BadDelivery(
                            f"{source.file.name} would be cut into more than {MOST_BATCHES} batches, one a {every} of "
                            f"{column}. Cut it by another column, or set delivery.every to a longer time."
                        )
                part.compressed.write(as_bytes(lines.slice(begin, end - begin)))
                part.rows += int(end - begin)
    return {name: part.rows for name, part in parts.items()}


@contextlib.contextmanager
def _part(source: CsvFile, folder: Path) -> Iterator[gzip.GzipFile]:
    """The file's part in a batch's folder, with neither name nor time in its compressed form."""
    folder.mkdir(exist_ok=True)
    stem = source.file.name[: source.file.name.lower().rindex(".csv")]
    with (
        (folder / f"{stem}.csv.gz").open("xb") as writing,
        gzip.GzipFile("", "wb", COMPRESSION, writing, mtime=0) as compressed,
    ):
        yield compressed


def _batches(
    con: duckdb.DuckDBPyConnection, rows: pa.RecordBatch, source: CsvFile, column: str, every: Every
) -> np.ndarray:
    """The name of each row's batch. BadDelivery at the first row whose date cannot be read."""
    place = source.columns.index(column)
    between, field = field_patterns(source.separator)
    before = rf"(?:(?:{field}){between}){{{place}}}" if place else ""
    pattern = sql_text(f"^{before}({field})(?:{between}|$)")
    # Only the fields up to the date are looked at: what else is wrong with a row is told when it is ingested.
    value = (
        f"CASE WHEN contains(_line, '\"') THEN trim(regexp_extract(_line, {pattern}, 1), ' \"') "
        f"ELSE trim(split_part(_line, {sql_text(source.separator)}, {place + 1})) END"
    )
    formats = ", ".join(map(sql_text, FORMATS))
    con.register("_rows", rows)
    try:
        found = con.execute(
            f"SELECT _row, _value, {_NAMES[every]} AS _batch FROM "
            f"(SELECT _row, _value, try_strptime(_value, [{formats}]) AS _read, "
            "CASE WHEN year(_read) BETWEEN 1900 AND 2199 THEN _read END AS _date FROM "
            f"(SELECT _row, {value} AS _value FROM _rows)) ORDER BY _row"
        ).fetchnumpy()
    finally:
        con.unregister("_rows")
    batches = found["_batch"]
    if np.ma.is_masked(batches):
        first = int(np.flatnonzero(np.ma.getmaskarray(batches))[0])
        told = found["_value"][first]
        what = f"{shorten(str(told))!r} is no date" if told else "no date"
        raise BadDelivery(
            f"{source.file.name}, row {found['_row'][first]}, column {column}: {what}, as {LOOK_LIKE} are. Nothing was "
            "delivered. Correct the file; if the line is none of its rows, name its beginning under `notes:` of the "
            "table in the portfolio's configuration."
        )
    return np.ma.getdata(batches).astype(str)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
