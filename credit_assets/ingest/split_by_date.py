"""Splits large files into batches by a date column, keeping each row unchanged. `inbox.py` puts the batches in place;
`dates.py` detects how dates are written. Nothing else in a row is checked here.
"""

from __future__ import annotations

import contextlib
import gzip
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from credit_assets.book.book import Book
from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.csv_rows import CsvFile, as_bytes, field_patterns, inspect_csv, rows_of
from credit_assets.ingest.dates import (
    EXAMPLES,
    EXCEL,
    EXCEL_RANGES,
    FORMATS,
    IN_LANGUAGES,
    ConflictingOrders,
    DateStyle,
    detect_date_style,
    excel_days,
    is_format,
)
from credit_assets.ingest.delivered_files import delivered_files, unpacked
from credit_assets.ingest.file_names import ENDINGS, match_files
from credit_assets.ingest.headers import check_files
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.connections import connect
from credit_assets.lake.contracts import shorten
from credit_assets.lake.sql import sql_text

Every = Literal["month", "quarter", "year"]
_NAMES: Mapping[Every, str] = {
    "month": "strftime(_date, '%Y-%m')",
    "quarter": "strftime(_date, '%Y') || '-Q' || quarter(_date)",
    "year": "strftime(_date, '%Y')",
}
YEARS = (1900, 2199)
"""The first and last accepted year of a date."""
# Each batch keeps a file open; forty years have 480 months.
MOST_BATCHES = 480
LISTED = 8
COMPRESSION = 4
PARQUET_ROWS = 256 * 1024


@dataclass(frozen=True)
class SplitBatch:
    """A batch split from the files: its folder contains a part of each file, with `rows` rows in all."""

    batch: str
    folder: Path
    rows: int


@dataclass(frozen=True)
class Split:
    """The batches, oldest first, and the number of lines that are not rows, by pattern or reason."""

    batches: Sequence[SplitBatch]
    notes: Mapping[str, int]


Write = Callable[[pa.RecordBatch], int | None]
"""Writes rows to one part of a split file."""


@dataclass(frozen=True)
class _Source:
    """A file as blocks of rows, each with its number in the file (`_row`): `value` is SQL of the text of a row's date,
    `blocks` reads the file, and `part` opens the file's part in a batch's folder."""

    file: Path
    column: str
    value: str
    blocks: Callable[[Counter[str] | None], Iterator[pa.RecordBatch]]
    part: Callable[[Path], AbstractContextManager[Write]]


@contextlib.contextmanager
def split_source(source: Path, book: Book, column: str, inbox: Inbox) -> Iterator[Split]:
    """Split the source (a file, or a folder or zip archive of files of the portfolio's tables) by the date in the
    column, a batch for each `delivery.every`. The parts exist as long as the context.

    Raises BadDelivery for a file of no table, and as `split_files` does.
    """
    portfolio = book.portfolio
    with inbox.parts_folder(portfolio.name) as workspace, unpacked(source, workspace) as folder:
        stems = {table: config.files for table, config in portfolio.tables.items()}
        delivered = delivered_files(folder, source)
        matched = match_files(delivered, stems, stems, portfolio.outcomes_table, source)
        if unmatched := [file.name for file in matched.unknown if file.name.lower().endswith(ENDINGS)]:
            known = ", ".join(stem for names in stems.values() for stem in names)
            raise BadDelivery(
                f"{', '.join(unmatched)} belongs to no table of {portfolio.name}, whose files are called {known}. "
                "Rename it, or add its name to `files:` of its table in the portfolio's configuration."
            )
        check_files(delivered, book, source, whole=False)
        notes = {file: portfolio.tables[table].notes for table, files in matched.tables.items() for file in files}
        parts = workspace / "parts"
        parts.mkdir()
        formats = portfolio.delivery.date_formats.get(column, ())
        yield split_files(notes, column, portfolio.delivery.every, parts, formats)


def split_files(
    files: Mapping[Path, Sequence[str]], column: str, every: Every, workspace: Path, formats: Sequence[str] = ()
) -> Split:
    """Write the rows of the files to `workspace/<batch>/<stem of the file>.csv.gz` or `.parquet`, by the date in the
    column.

    `files` maps each file to the patterns of its lines that are not rows. A batch is a month (`2010-01`), a quarter
    (`2010-Q1`) or a year (`2010`). Each row's text and order are kept, between the file's header and a line feed; rows
    of a Parquet file keep their types. The same rows yield the same files, byte for byte. Files are read in blocks.
    `formats` are the date formats of text; without any, they are detected from the values.

    Raises BadDelivery for an unreadable file, a missing column, a row whose date cannot be read, or ambiguous dates;
    files already written are then incomplete.
    """
    if unknown := [form for form in formats if not is_format(form)]:
        raise BadDelivery(
            f"delivery.date_formats of {column} has {unknown[0]!r}, which is not a supported date format. Those are: "
            f"{', '.join((*FORMATS, *EXCEL_RANGES))}; with months in another language, such as "
            f"'{IN_LANGUAGES['German'][0]}': {', '.join(IN_LANGUAGES)}."
        )
    counted: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    with connect() as con:
        for file, patterns in files.items():
            plain = workspace / ".plain"
            if file.name.lower().endswith(".parquet"):
                source = _parquet(file, column)
            else:
                source = _csv(inspect_csv(file, file.name, plain, patterns), column)
            counted.update(_split(con, source, _date_style(con, source, formats), every, workspace, notes))
            plain.unlink(missing_ok=True)
    if not counted:
        raise BadDelivery(f"No rows in {', '.join(file.name for file in files)}: nothing to deliver.")
    return Split([SplitBatch(batch, workspace / batch, rows) for batch, rows in sorted(counted.items())], notes)


# -- the file to split -----------------------------------------------------------------------------


def _csv(csv: CsvFile, column: str) -> _Source:
    place = _place(csv.file, csv.columns, column)
    between, field = field_patterns(csv.separator)
    before = rf"(?:(?:{field}){between}){{{place}}}" if place else ""
    pattern = sql_text(f"^{before}({field})(?:{between}|$)")
    # Only the fields up to the date are read: other faults of a row are reported when it is ingested.
    value = (
        f"CASE WHEN contains(_line, '\"') THEN trim(regexp_extract(_line, {pattern}, 1), ' \"') "
        f"ELSE trim(split_part(_line, {sql_text(csv.separator)}, {place + 1})) END"
    )

    @contextlib.contextmanager
    def part(folder: Path) -> Iterator[Write]:
        """Open the part, compressed without a file name or time, so that equal rows yield equal bytes."""
        stem = csv.file.name[: csv.file.name.lower().rindex(".csv")]
        with (
            (folder / f"{stem}.csv.gz").open("xb") as writing,
            gzip.GzipFile("", "wb", COMPRESSION, writing, mtime=0) as compressed,
        ):
            compressed.write(f"{csv.header_text}\n".encode())
            yield lambda rows: compressed.write(as_bytes(rows["_line"]))

    return _Source(csv.file, column, value, lambda notes: rows_of(csv, notes), part)


def _parquet(file: Path, column: str) -> _Source:
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise BadDelivery(f"{file.name} is not a complete Parquet file ({error}). Deliver it again.") from error
    place = _place(file, schema.names, column)

    def blocks(_: Counter[str] | None) -> Iterator[pa.RecordBatch]:
        first = 1
        try:
            for rows in pq.ParquetFile(file).iter_batches(PARQUET_ROWS):
                text = _as_text(rows.column(place), f"{file.name}, column {column}")
                numbers = pa.array(range(first, first + rows.num_rows), pa.int64())
                yield rows.append_column("_text", text).append_column("_row", numbers)
                first += rows.num_rows
        except (pa.ArrowException, OSError) as error:
            raise BadDelivery(f"{file.name} is damaged ({error}). Deliver it again.") from error

    @contextlib.contextmanager
    def part(folder: Path) -> Iterator[Write]:
        with pq.ParquetWriter(folder / f"{file.name[: -len('.parquet')]}.parquet", schema) as writing:
            yield lambda rows: writing.write_batch(rows.select(schema.names))

    return _Source(file, column, "_text", blocks, part)


def _place(file: Path, columns: Sequence[str], column: str) -> int:
    if column not in columns:
        raise BadDelivery(f"{file.name} has no column {column!r} to split by; it has {_listed(columns)}.")
    return columns.index(column)


def _as_text(values: pa.Array, where: str) -> pa.Array:
    """The dates of a Parquet column as text, times with a zone in UTC. Raises BadDelivery for a type without dates."""
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return values.cast(pa.timestamp("us"), safe=False).cast(pa.date32(), safe=False).cast(pa.string())
    if (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
    ):
        return pc.utf8_trim_whitespace(values.cast(pa.string()))
    if pa.types.is_null(kind):
        return pa.nulls(len(values), pa.string())
    raise BadDelivery(f"{where}: {kind} has no dates to split by.")


# -- its dates -------------------------------------------------------------------------------------


def _date_style(con: duckdb.DuckDBPyConnection, source: _Source, formats: Sequence[str]) -> DateStyle | None:
    """The column's date style: the given formats, or as detected from its values; None if it has no dates."""
    if formats:
        return DateStyle(tuple(formats))
    con.execute("CREATE OR REPLACE TEMP TABLE _values (v VARCHAR)")
    for rows in source.blocks(None):
        con.register("_rows", rows)
        # Deduplicating each block against all before it would take longer with every block.
        con.execute(
            f"INSERT INTO _values SELECT DISTINCT v FROM (SELECT {source.value} AS v FROM _rows) WHERE v IS NOT NULL"
        )
        con.unregister("_rows")
    where = f"{source.file.name}, column {source.column}"
    style = detect_date_style(con, "SELECT DISTINCT v FROM _values")
    if isinstance(style, ConflictingOrders):
        raise BadDelivery(f"{where}: {style}. Nothing was delivered. Write all dates in one order.")
    if style is None and (day := excel_days(con, "SELECT DISTINCT v FROM _values")):
        setting = f'delivery: {{date_formats: {{{source.column}: ["{EXCEL}"]}}}}'
        raise BadDelivery(
            f"{where}: the values, such as {day[0]!r}, may be Excel serial dates; {day[0]!r} is then {day[1]}. "
            f"Nothing was delivered. If they are dates, set their format in the portfolio's configuration: `{setting}`."
        )
    if style and style.other:
        [(example,)] = con.execute(f"SELECT min(v) FROM _values WHERE {style.sql('v')} IS NOT NULL").fetchall()
        setting = f'delivery: {{date_formats: {{{source.column}: ["{style.formats[0]}"]}}}}'
        raise BadDelivery(
            f"{where}: the dates, such as {example!r}, may be written {style.order} or {style.other}. Nothing was "
            f"delivered. Set the format in the portfolio's configuration; `{setting}` reads them {style.order}."
        )
    return style


def _batches(
    con: duckdb.DuckDBPyConnection, rows: pa.RecordBatch, source: _Source, style: DateStyle | None, every: Every
) -> np.ndarray:
    """The name of each row's batch. Raises BadDelivery at the first row whose date cannot be read."""
    # A format alone parses more than intended: `%Y` reads a two-digit year as the year 19.
    read = style.sql(f"regexp_extract(_value, {sql_text(f'^{style.pattern}$')})") if style else "NULL::timestamp"
    con.register("_rows", rows)
    try:
        found = con.execute(
            f"SELECT _row, _value, {_NAMES[every]} AS _batch FROM "
            f"(SELECT _row, _value, {read} AS _read, "
            f"CASE WHEN year(_read) BETWEEN {YEARS[0]} AND {YEARS[1]} THEN _read END AS _date FROM "
            f"(SELECT _row, {source.value} AS _value FROM _rows)) ORDER BY _row"
        ).fetchnumpy()
    finally:
        con.unregister("_rows")
    batches = found["_batch"]
    if np.ma.is_masked(batches):
        first = int(np.flatnonzero(np.ma.getmaskarray(batches))[0])
        value = found["_value"][first]
        what = f"{shorten(str(value))!r} is not a date" if value else "there is no date"
        like = f"such as the others ({' or '.join(style.formats)})" if style else f"such as {EXAMPLES}"
        raise BadDelivery(
            f"{source.file.name}, row {found['_row'][first]}, column {source.column}: {what}, {like}. Nothing was "
            "delivered. Correct the file; if the line is not a row, add a pattern for it to `notes:` of the "
            "table in the portfolio's configuration."
        )
    return np.ma.getdata(batches).astype(str)


# -- splitting -------------------------------------------------------------------------------------


def _split(
    con: duckdb.DuckDBPyConnection,
    source: _Source,
    style: DateStyle | None,
    every: Every,
    workspace: Path,
    notes: Counter[str],
) -> Counter[str]:
    """Write the file's parts. Returns the number of rows of each batch."""
    parts: dict[str, Write] = {}
    counted: Counter[str] = Counter()
    with contextlib.ExitStack() as opened:
        for rows in source.blocks(notes):
            batches = _batches(con, rows, source, style, every)
            names, of_row = np.unique(batches, return_inverse=True)
            ordered = rows.take(pa.array(np.argsort(of_row, kind="stable")))
            ends = np.cumsum(np.bincount(of_row, minlength=len(names)))
            for name, begin, end in zip(names.tolist(), [0, *ends[:-1]], ends, strict=True):
                if name not in parts:
                    (workspace / name).mkdir(exist_ok=True)
                    parts[name] = opened.enter_context(source.part(workspace / name))
                    if len(parts) > MOST_BATCHES:
                        raise BadDelivery(
                            f"{source.file.name} would be split into more than {MOST_BATCHES} batches, by {every} of "
                            f"{source.column}. Split it by another column, or set delivery.every to a longer time."
                        )
                parts[name](ordered.slice(begin, end - begin))
                counted[name] += int(end - begin)
    return counted


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
