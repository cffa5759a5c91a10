"""Big files cut into batches by a date column, each row as it was. Putting the batches in place is `inbox.py`'s, how
dates are written `dates.py`'s. Nothing else of a row is checked here.
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
from credit_assets.ingest.csv_rows import CsvFile, as_bytes, field_patterns, look_over, rows_of
from credit_assets.ingest.dates import (
    EXAMPLES,
    EXCEL,
    EXCEL_RANGES,
    FORMATS,
    IN_LANGUAGES,
    Disagreement,
    Reading,
    excel_days,
    is_format,
    reading_of,
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
"""First and last year of a date that rows are cut by."""
# Each is a file that stays open; forty years have fewer months.
MOST_BATCHES = 480
LISTED = 8
COMPRESSION = 4
PARQUET_ROWS = 256 * 1024


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


Write = Callable[[pa.RecordBatch], int | None]
"""Writes rows to a part of a file."""


@dataclass(frozen=True)
class _Source:
    """A file as blocks of rows, each with its number in the file (`_row`): `value` is SQL of the text that its row is
    cut by, `blocks` reads the file, and `part` opens the file's part in a batch's folder."""

    file: Path
    column: str
    value: str
    blocks: Callable[[Counter[str] | None], Iterator[pa.RecordBatch]]
    part: Callable[[Path], AbstractContextManager[Write]]


@contextlib.contextmanager
def cut_up(source: Path, book: Book, column: str, inbox: Inbox) -> Iterator[Cut]:
    """The source (a file, or a folder or zip archive of files of the portfolio's tables) cut into batches by the
    date in the column, one for `delivery.every`; the parts are there for as long as the context lasts.

    Raises BadDelivery for a file of no table, and where `cut` does.
    """
    portfolio = book.portfolio
    with inbox.cutting(portfolio.name) as workspace, unpacked(source, workspace) as folder:
        stems = {table: config.files for table, config in portfolio.tables.items()}
        delivered = delivered_files(folder, source)
        matched = match_files(delivered, stems, stems, portfolio.outcomes_table, source)
        if strangers := [file.name for file in matched.unknown if file.name.lower().endswith(ENDINGS)]:
            known = ", ".join(stem for names in stems.values() for stem in names)
            raise BadDelivery(
                f"{', '.join(strangers)} belongs to no table of {portfolio.name}, whose files are called {known}. "
                "Rename it, or add its name to `files:` of its table in the portfolio's configuration."
            )
        check_files(delivered, book, source, whole=False)
        notes = {file: portfolio.tables[table].notes for table, files in matched.tables.items() for file in files}
        parts = workspace / "parts"
        parts.mkdir()
        formats = portfolio.delivery.date_formats.get(column, ())
        yield cut(notes, column, portfolio.delivery.every, parts, formats)


def cut(
    files: Mapping[Path, Sequence[str]], column: str, every: Every, workspace: Path, formats: Sequence[str] = ()
) -> Cut:
    """Write the rows of the files to `workspace/<batch>/<stem of the file>.csv.gz` or `.parquet`, by the date in the
    column.

    `files` gives with each file the patterns of lines that are no rows. A batch is a month (`2010-01`), a quarter
    (`2010-Q1`) or a year (`2010`). Every row's text stays as it is, between the file's header and a line feed, in the
    file's order; rows of a Parquet file keep their types. The same rows give the same files, byte for byte. A file is
    read a block at a time. `formats` are those of dates in text; where none are given, the values show them.

    Raises BadDelivery for a file that cannot be read, that has no such column, with a row whose date cannot be read, or
    with dates that can be read two ways: nothing of what was written is of use then.
    """
    if unknown := [form for form in formats if not is_format(form)]:
        raise BadDelivery(
            f"delivery.date_formats of {column} has {unknown[0]!r}, which is none of the formats that dates are read "
            f"in: {', '.join((*FORMATS, *EXCEL_RANGES))}; with months in another language, such as "
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
                source = _csv(look_over(file, file.name, plain, patterns), column)
            counted.update(_cut(con, source, _reading(con, source, formats), every, workspace, notes))
            plain.unlink(missing_ok=True)
    if not counted:
        raise BadDelivery(f"No rows in {', '.join(file.name for file in files)}: nothing to deliver.")
    return Cut([Vintage(batch, workspace / batch, rows) for batch, rows in sorted(counted.items())], notes)


# -- the file that is cut --------------------------------------------------------------------------


def _csv(csv: CsvFile, column: str) -> _Source:
    place = _place(csv.file, csv.columns, column)
    between, field = field_patterns(csv.separator)
    before = rf"(?:(?:{field}){between}){{{place}}}" if place else ""
    pattern = sql_text(f"^{before}({field})(?:{between}|$)")
    # Only the fields up to the date are read: what else is wrong with a row is reported when it is ingested.
    value = (
        f"CASE WHEN contains(_line, '\"') THEN trim(regexp_extract(_line, {pattern}, 1), ' \"') "
        f"ELSE trim(split_part(_line, {sql_text(csv.separator)}, {place + 1})) END"
    )

    @contextlib.contextmanager
    def part(folder: Path) -> Iterator[Write]:
        """The part has neither name nor time in its compressed form."""
        stem = csv.file.name[: csv.file.name.lower().rindex(".csv")]
        with (
            (folder / f"{stem}.csv.gz").open("xb") as writing,
            gzip.GzipFile("", "wb", COMPRESSION, writing, mtime=0) as compressed,
        ):
            compressed.write(f"{csv.head}\n".encode())
            yield lambda rows: compressed.write(as_bytes(rows["_line"]))

    return _Source(csv.file, column, value, lambda notes: rows_of(csv, notes), part)


def _parquet(file: Path, column: str) -> _Source:
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise BadDelivery(f"{file.name} is not a whole Parquet file ({error}). Deliver it again.") from error
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
        raise BadDelivery(f"{file.name} has no column {column!r} to be cut by; it has {_listed(columns)}.")
    return columns.index(column)


def _as_text(values: pa.Array, where: str) -> pa.Array:
    """The dates of a Parquet column as text; a moment with a zone in UTC. BadDelivery where it can hold none."""
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
    raise BadDelivery(f"{where}: {kind} holds no dates to cut by.")


# -- its dates -------------------------------------------------------------------------------------


def _reading(con: duckdb.DuckDBPyConnection, source: _Source, formats: Sequence[str]) -> Reading | None:
    """How the column writes dates: in the formats given, or in those that its values show; None where there is none."""
    if formats:
        return Reading(tuple(formats))
    con.execute("CREATE OR REPLACE TEMP TABLE _values (v VARCHAR)")
    for rows in source.blocks(None):
        con.register("_rows", rows)
        # Held against all before it, each block would take longer than the one before.
        con.execute(
            f"INSERT INTO _values SELECT DISTINCT v FROM (SELECT {source.value} AS v FROM _rows) WHERE v IS NOT NULL"
        )
        con.unregister("_rows")
    where = f"{source.file.name}, column {source.column}"
    reading = reading_of(con, "SELECT DISTINCT v FROM _values")
    if isinstance(reading, Disagreement):
        raise BadDelivery(f"{where}: {reading}. Nothing was delivered. Write all dates in one order.")
    if reading is None and (day := excel_days(con, "SELECT DISTINCT v FROM _values")):
        setting = f'delivery: {{date_formats: {{{source.column}: ["{EXCEL}"]}}}}'
        raise BadDelivery(
            f"{where}: the values, such as {day[0]!r}, may be Excel serial dates; {day[0]!r} is then {day[1]}. "
            f"Nothing was delivered. If they are dates, say so in the portfolio's configuration: `{setting}`."
        )
    if reading and reading.other:
        [(example,)] = con.execute(f"SELECT min(v) FROM _values WHERE {reading.sql('v')} IS NOT NULL").fetchall()
        setting = f'delivery: {{date_formats: {{{source.column}: ["{reading.formats[0]}"]}}}}'
        raise BadDelivery(
            f"{where}: the dates, such as {example!r}, may be written {reading.order} or {reading.other}. Nothing was "
            f"delivered. Say which in the portfolio's configuration; `{setting}` reads them {reading.order}."
        )
    return reading


def _batches(
    con: duckdb.DuckDBPyConnection, rows: pa.RecordBatch, source: _Source, reading: Reading | None, every: Every
) -> np.ndarray:
    """The name of each row's batch. BadDelivery at the first row whose date cannot be read."""
    # A format alone reads more than it is meant for: `%Y` reads the year 19 where a year has two digits.
    read = reading.sql(f"regexp_extract(_value, {sql_text(f'^{reading.pattern}$')})") if reading else "NULL::timestamp"
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
        what = f"{shorten(str(value))!r} is no date" if value else "there is no date"
        like = f"such as the others ({' or '.join(reading.formats)})" if reading else f"such as {EXAMPLES}"
        raise BadDelivery(
            f"{source.file.name}, row {found['_row'][first]}, column {source.column}: {what}, {like}. Nothing was "
            "delivered. Correct the file; if the line is none of its rows, name its beginning under `notes:` of the "
            "table in the portfolio's configuration."
        )
    return np.ma.getdata(batches).astype(str)


# -- cutting ---------------------------------------------------------------------------------------


def _cut(
    con: duckdb.DuckDBPyConnection,
    source: _Source,
    reading: Reading | None,
    every: Every,
    workspace: Path,
    notes: Counter[str],
) -> Counter[str]:
    """Write the file's parts; the rows of each batch."""
    parts: dict[str, Write] = {}
    counted: Counter[str] = Counter()
    with contextlib.ExitStack() as opened:
        for rows in source.blocks(notes):
            batches = _batches(con, rows, source, reading, every)
            names, of_row = np.unique(batches, return_inverse=True)
            ordered = rows.take(pa.array(np.argsort(of_row, kind="stable")))
            ends = np.cumsum(np.bincount(of_row, minlength=len(names)))
            for name, begin, end in zip(names.tolist(), [0, *ends[:-1]], ends, strict=True):
                if name not in parts:
                    (workspace / name).mkdir(exist_ok=True)
                    parts[name] = opened.enter_context(source.part(workspace / name))
                    if len(parts) > MOST_BATCHES:
                        raise BadDelivery(
                            f"{source.file.name} would be cut into more than {MOST_BATCHES} batches, one a {every} of "
                            f"{source.column}. Cut it by another column, or set delivery.every to a longer time."
                        )
                parts[name](ordered.slice(begin, end - begin))
                counted[name] += int(end - begin)
    return counted


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
