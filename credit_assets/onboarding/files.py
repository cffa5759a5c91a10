"""A lender's files looked at with DuckDB: their columns, the kind of each, and how its values lie.

What a column may mean in lending is guessed in `guesses.py`.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from credit_assets.lake.contracts import identifier, shorten
from credit_assets.lake.tables import BATCH, sql_path, sql_text
from credit_assets.onboarding.wording import in_sql
from credit_assets.raw.dates import Disagreement, Reading, reading_of
from credit_assets.raw.delivery import ENDINGS, BadDelivery, delivered_files, is_archive, unpack
from credit_assets.raw.lines import look_over, separator_of

HEADER_BYTES = 1024 * 1024

WHOLE, FRACTION, TEXT, BOOLEAN, TIME, EMPTY = "whole", "fraction", "text", "boolean", "time", "empty"

FEW_WORDS = 50
"""Different values up to which they are all kept, with how often each occurs."""

NEARLY_ALL = 0.95
"""Share of the values that must be read as numbers or dates for a column of them; the others are not known then."""

MOSTLY = 0.5
"""Share from which a column that is not read as numbers or dates is reported."""

NUMBER = r"\s*[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?\s*"
WHOLE_NUMBER = r"\s*[+-]?[0-9]+([.]0*)?\s*"
SIGNS_REMOVED = "regexp_replace({}, '[%$€£, ]', '', 'g')"
# 1.234,56 as 1,234.56. What may be either, such as 1,234 or 1.234, is read like the other columns of its table.
COMMA_READ = "replace(regexp_replace({}, '[%$€£. ]', '', 'g'), ',', '.')"
BY_POINT = r"[%$€£ +-]*([1-9][0-9]?[0-9]?(,[0-9][0-9][0-9])+|[0-9]+)([.][0-9]*)?[%$€£ ]*"
BY_COMMA = r"[%$€£ +-]*([1-9][0-9]?[0-9]?([.][0-9][0-9][0-9])+|[0-9]+)(,[0-9]*)?[%$€£ ]*"
BY_COMMA_ALONE = f"regexp_full_match({{0}}, '{BY_COMMA}') AND NOT regexp_full_match({{0}}, '{BY_POINT}')"
LEADING_ZERO = r"\s*[+-]?0[0-9].*"
EXACT = 2**53

MONTH_NAMES = r".*(date|month|period|vintage|yyyymm|ym).*"
"""Names of columns in which whole numbers such as 201905 are months."""

# What sources write for "not known" among numbers: in words, and as a number that no real one is near.
MISSING = (
    "",
    "?",
    "-",
    "--",
    ".",
    "na",
    "n/a",
    "n.a.",
    "#n/a",
    "nan",
    "nil",
    "null",
    "none",
    "unknown",
    "missing",
    "xna",
)
NO_DATES = ("0000-00-00", "0000-00-00 00:00:00", "00/00/0000", "00.00.0000", "0")
SENTINELS = (-1, -7, -8, -9, -99, -999, -9999, 96, 97, 98, 99, 999, 9999, 99999, 999999, 9999999, 365243)
PILED_UP = 5


class BookError(ValueError):
    """The files cannot be made a portfolio of; the message names the file and what to do."""


@dataclass(frozen=True)
class Column:
    """What a column holds, as the contract will type it (`kind`).

    `distinct` is exact up to FEW_WORDS and near the number of rows, else about right. `words` has every value with
    its rows, most frequent first, where there are few. `number` is SQL of the value as a number, if it is one;
    `low` and `high` are of those without the `sentinels` (number to rows) far away from all others, and `missing`
    are the words among them. `pattern` is a regular expression of all numbers or dates in text. `dates` is how the
    values are read as dates, the first and last of which are in `years`. `doubts` are sentences on how the values were
    read, for a person to confirm.
    """

    name: str
    kind: str
    rows: int
    filled: int
    distinct: int
    length: float
    words: dict[str, int] | None = None
    low: float | None = None
    high: float | None = None
    number: str | None = None
    missing: tuple[str, ...] = ()
    pattern: str | None = None
    sentinels: dict[int, int] = field(default_factory=dict)
    dates: Reading | None = None
    years: tuple[int | None, int | None] = (None, None)
    doubts: tuple[str, ...] = ()

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats that dates in text are written in."""
        return self.dates.formats if self.dates else ()

    @property
    def sql(self) -> str:
        return in_sql(self.name)

    @property
    def unique(self) -> bool:
        return self.filled == self.rows == self.distinct

    @property
    def date(self) -> str | None:
        """SQL of the value as a timestamp; None where it is no date."""
        return self.date_of(None)

    def date_of(self, relation: str | None) -> str | None:
        """The same of the column of a relation."""
        column = f"{relation}.{self.sql}" if relation else self.sql
        if self.kind == TIME:
            return column
        if not self.dates:
            return None
        return self.dates.sql(column if self.kind == TEXT else f"cast({column} as varchar)")


@dataclass(frozen=True)
class Part:
    """A file: the relation that reads it, and the kind that it declares of each column (empty in CSV)."""

    path: Path
    source: str
    kinds: dict[str, str]


@dataclass(frozen=True)
class Files:
    """Files of the same columns, looked at as one table; `view` has their rows, what is from CSV as text."""

    parts: tuple[Part, ...]
    view: str
    rows: int
    columns: dict[str, Column]

    @property
    def names(self) -> str:
        return ", ".join(part.path.name for part in self.parts)


def stem(path: Path) -> str:
    """The file's name without its ending, as a configuration gives it."""
    return path.name[: -len(next(ending for ending in ENDINGS if path.name.lower().endswith(ending)))]


def look_at(con: duckdb.DuckDBPyConnection, given: Sequence[Path], workspace: Path) -> list[Files]:
    """Every set of files with the same columns, in the order given. Folders stand for the files in them, a zip for
    what is packed in it. Raises BookError for what cannot be read as the platform reads deliveries."""
    groups: dict[frozenset[str], list[Part]] = {}
    stems: dict[str, Path] = {}
    for n, path in enumerate(_files(given, workspace)):
        if path.name.lower() in stems:
            raise BookError(f"{path} and {stems[path.name.lower()]} have one name. Give one of them.")
        stems[path.name.lower()] = path
        part = _parquet(path) if path.name.lower().endswith(".parquet") else _csv(con, path, workspace / f"{n}.parquet")
        groups.setdefault(frozenset(part.kinds), []).append(part)
    return [together(con, parts) for parts in groups.values()]


def together(con: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> Files:
    """The files as one table; a column that one of them lacks is empty there."""
    view = f"looked_at_{_row(con, 'SELECT count(*) FROM duckdb_views() WHERE NOT internal')[0]}"
    con.execute(f"CREATE VIEW {view} AS {' UNION ALL BY NAME '.join(f'SELECT * FROM {part.source}' for part in parts)}")
    names = ", ".join(part.path.name for part in parts)
    columns = dict.fromkeys(name for part in parts for name in part.kinds)
    try:
        rows, found = _columns(con, view, {name: _one_kind(name, parts) for name in columns})
    except duckdb.Error as error:
        raise BookError(f"{names}: {error}") from error
    if not rows:
        raise BookError(f"{names} has no rows: there is nothing to look at.")
    return Files(tuple(parts), view, rows, found)


def _files(given: Sequence[Path], workspace: Path) -> Iterator[Path]:
    """The data files of what is given, by the rules of a delivery."""
    for n, source in enumerate(given):
        if not source.exists():
            raise BookError(f"{source} does not exist.")
        try:
            folder = workspace / f"unpacked-{n}" if is_archive(source) else source
            if folder is not source:
                folder.mkdir()
                unpack(source, folder)
            yield from (file for file in delivered_files(folder, source) if file.name.lower().endswith(ENDINGS))
        except BadDelivery as error:
            raise BookError(str(error)) from error


def _csv(con: duckdb.DuckDBPyConnection, path: Path, text: Path) -> Part:
    """The file's rows as a Parquet file of text, which is gone through several times faster than CSV."""
    try:
        if path.name.lower().endswith(".zip"):
            plain = look_over(path, str(path), text.with_suffix(".plain")).plain
            return replace(_csv(con, plain, text), path=path)
        with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as content:
            first = content.readline(HEADER_BYTES).decode("utf-8-sig")
        separator = separator_of(first.rstrip("\r\n"))
        header = next(csv.reader([first.rstrip("\r\n")], delimiter=separator), [])
        if not header:
            raise BookError(f"{path} is empty: not even a header.")
        _refuse_names(path, header)
        columns = ", ".join(f"{sql_text(name)}: 'VARCHAR'" for name in header)
        con.execute(
            f"COPY (SELECT * FROM read_csv({sql_path(path)}, auto_detect = false, header = true, "
            f"columns = {{{columns}}}, delim = {sql_text(separator)}, quote = '\"', escape = '\"', nullstr = '')) "
            f"TO {sql_text(str(text))} (FORMAT parquet)"
        )
    except BadDelivery as error:
        raise BookError(str(error)) from error
    except (UnicodeDecodeError, OSError, EOFError, zlib.error, csv.Error, duckdb.Error) as error:
        raise BookError(f"{path} cannot be read as a CSV file in UTF-8 with a header: {error}") from error
    return Part(path, f"read_parquet({sql_path(text)})", dict.fromkeys(header, ""))


def _parquet(path: Path) -> Part:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise BookError(f"{path} is not a whole Parquet file: {error}") from error
    _refuse_names(path, schema.names)
    kinds = {column.name: _kind(path, column.name, column.type) for column in schema}
    return Part(path, f"read_parquet({sql_path(path)}, hive_partitioning = false)", kinds)


def _kind(path: Path, name: str, kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return _kind(path, name, kind.value_type)
    tests = {
        WHOLE: (pa.types.is_integer,),
        FRACTION: (pa.types.is_floating, pa.types.is_decimal),
        TEXT: (pa.types.is_string, pa.types.is_large_string),
        BOOLEAN: (pa.types.is_boolean,),
        TIME: (pa.types.is_timestamp, pa.types.is_date),
        EMPTY: (pa.types.is_null,),
    }
    for found, of_kind in tests.items():
        if any(test(kind) for test in of_kind):
            return found
    raise BookError(f"{path}, column {name}: {kind} is neither number, text, boolean nor date. Write it as one.")


def _one_kind(name: str, parts: Sequence[Part]) -> str:
    kinds = {part.kinds[name] for part in parts if name in part.kinds} - {EMPTY}
    if len(kinds) > 1 and kinds != {WHOLE, FRACTION}:
        files = ", ".join(part.path.name for part in parts)
        raise BookError(f"Column {name} is not of one kind in {files}. Write it as one kind in all, or as CSV in all.")
    return FRACTION if len(kinds) > 1 else next(iter(kinds), EMPTY)


def _refuse_names(path: Path, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for nth, name in enumerate(names, start=1):
        if not name.strip() or "\x00" in name:
            raise BookError(f"{path}: column {nth} has no name. Give it one in the file, or leave it out.")
        if '"' in name:
            raise BookError(f"{path}: column {nth} has a quotation mark in its name. Rename it in the file.")
        if name.lower() in seen:
            raise BookError(f"{path}: two columns are called {name} (upper and lower case are one). Rename one.")
        if name.lower() == BATCH:
            raise BookError(f"{path}: {name} is the platform's own name for a delivery. Rename the column.")
        seen.add(name.lower())


def _columns(con: duckdb.DuckDBPyConnection, view: str, declared: dict[str, str]) -> tuple[int, dict[str, Column]]:
    """The rows of the view and its columns; `declared` kinds are a Parquet file's, empty where it is CSV."""
    told = _written(con, view, declared)
    by_comma = any(written.get("comma") for written in told.values())
    for written in told.values():
        several = written.get("comma") or written.get("grouped") or written.get("commas")
        written["by_comma"] = bool(by_comma and several and written["grouped"] == written["points"])
    summary = con.execute(
        f'SELECT column_name, approx_unique, "count" FROM (SUMMARIZE SELECT * FROM {view})'
    ).fetchall()
    rows = int(summary[0][2])
    columns = {}
    for name, about, _ in summary:
        written, distinct = told[name], int(about)
        filled = int(written["filled"])
        kind = (declared[name] or _kind_of(written)) if filled else EMPTY
        if filled == rows and 2 * distinct >= rows:
            distinct = int(_row(con, f"SELECT count(DISTINCT {identifier(name)}) FROM {view}")[0])
        column = Column(name, kind, rows, filled, distinct, float(written["length"] or 0))
        if filled and distinct <= 2 * FEW_WORDS:
            words = _words(con, view, column)
            column = replace(column, words=words if len(words) <= FEW_WORDS else None, distinct=len(words))
        columns[name] = _dated(con, view, _numbered(con, view, column, written))
    return rows, _in_one_order(con, view, columns)


def _written(con: duckdb.DuckDBPyConnection, view: str, declared: dict[str, str]) -> dict[str, dict[str, Any]]:
    """For each column how many rows hold something; of text, also its mean length and how many hold a number, a
    whole one, one with leading zeros, one too long to be exact, one between signs such as % and $, one whose comma
    must be the decimal sign, one whose points may group thousands, a point, and a comma."""
    of_text = {
        "length": "avg(length({0}))",
        "numbers": f"count(*) FILTER (regexp_full_match({{0}}, '{NUMBER}'))",
        "whole": f"count(*) FILTER (regexp_full_match({{0}}, '{WHOLE_NUMBER}'))",
        "zeros": f"count(*) FILTER (regexp_full_match({{0}}, '{LEADING_ZERO}'))",
        "long": f"count(*) FILTER (regexp_full_match({{0}}, '{WHOLE_NUMBER}') "
        f"AND abs(try_cast({{0}} AS double)) >= {EXACT})",
        "signs": f"count(*) FILTER (regexp_full_match({SIGNS_REMOVED.format('{0}')}, '{NUMBER}'))",
        "comma": f"count(CASE WHEN contains({{0}}, ',') AND {BY_COMMA_ALONE} THEN 1 END)",
        "grouped": f"count(CASE WHEN contains({{0}}, '.') AND regexp_full_match({{0}}, '{BY_COMMA}') THEN 1 END)",
        "points": "count(CASE WHEN contains({0}, '.') THEN 1 END)",
        "commas": "count(CASE WHEN contains({0}, ',') THEN 1 END)",
    }
    asked = {
        (name, what): form.format(identifier(name))
        for name, kind in declared.items()
        for what, form in ({"filled": "count({0})"} | (of_text if kind in ("", TEXT) else {"length": "0"})).items()
    }
    told: dict[str, dict[str, Any]] = {name: {} for name in declared}
    values = _row(con, f"SELECT {', '.join(asked.values())} FROM {view}")
    for (name, what), value in zip(asked, values, strict=True):
        told[name][what] = value
    return told


def _kind_of(written: dict[str, Any]) -> str:
    """The kind of a CSV column. Numbers with leading zeros, or too long to be exact, are names of something."""
    if written["numbers"] < written["filled"] or written["zeros"] or written["long"] or written["by_comma"]:
        return TEXT
    return WHOLE if written["whole"] == written["filled"] else FRACTION


def _words(con: duckdb.DuckDBPyConnection, view: str, column: Column) -> dict[str, int]:
    counted = con.execute(
        f"SELECT cast({column.sql} AS varchar) AS word, count(*) AS n FROM {view} WHERE {column.sql} IS NOT NULL "
        f"GROUP BY word ORDER BY n DESC, word LIMIT {2 * FEW_WORDS + 1}"
    ).fetchall()
    return dict(counted)


def _numbered(con: duckdb.DuckDBPyConnection, view: str, column: Column, written: dict[str, Any]) -> Column:
    """The column with what its numbers are, if it has any."""
    number: str | None = None
    missing: tuple[str, ...] = ()
    if column.kind in (WHOLE, FRACTION):
        number = column.sql
    elif column.kind == TEXT and not written["zeros"] and not written["long"]:
        number, missing = _number_in_text(con, view, column, written)
        words = "".join(f"|{re.escape(word)}" for word in missing)
        pattern = f"({BY_COMMA if written['by_comma'] else BY_POINT}{words})$"
        unread = f"{column.sql} IS NOT NULL AND NOT regexp_full_match({column.sql}, {sql_text(pattern)})"
        if number and not _row(con, f"SELECT count(*) FROM {view} WHERE {unread}")[0]:
            column = replace(column, pattern=pattern)
    if not number:
        return column
    listed = ", ".join(map(str, SENTINELS))
    value = f"try_cast({number} AS double)"
    low, high, piles = _row(
        con,
        f"SELECT min(v) FILTER (v NOT IN ({listed})), max(v) FILTER (v NOT IN ({listed})), "
        f"histogram(cast(v AS bigint)) FILTER (v IN ({listed})) FROM (SELECT {value} AS v FROM {view}) "
        "WHERE v IS NOT NULL",
    )
    if low is None:
        low, high = min(piles), max(piles)
        return replace(column, number=number, missing=missing, low=low, high=high)
    sentinels = (
        {pile: rows for pile, rows in sorted(piles.items()) if rows >= PILED_UP and _far_off(pile, low, high)}
        if piles
        else {}
    )
    others = [low, high, *(pile for pile in piles or () if pile not in sentinels)]
    return replace(column, number=number, missing=missing, low=min(others), high=max(others), sentinels=sentinels)


def _far_off(value: int, low: float, high: float) -> bool:
    """Whether the value lies further from the others than they lie from each other, or is the only one below zero."""
    spread = max(high - low, 1)
    return value > high + spread or value < low - spread or value < 0 <= low


def _number_in_text(
    con: duckdb.DuckDBPyConnection, view: str, column: Column, written: dict[str, Any]
) -> tuple[str | None, tuple[str, ...]]:
    """SQL that reads numbers between signs (`13.5%`, `$1,200`, `13,5`) or with words for "missing" among them, and
    those words; None where other words occur too, or the comma is the decimal sign in some and the point in others."""
    if not (written["signs"] or written["comma"]) or (written["comma"] and not written["by_comma"]):
        return None, ()
    if written["by_comma"]:
        plain = COMMA_READ.format(column.sql)
    else:
        signs = written["signs"] > written["numbers"]
        plain = SIGNS_REMOVED.format(column.sql) if signs else column.sql
    others = f"SELECT DISTINCT {column.sql} FROM {view} WHERE NOT regexp_full_match({plain}, '{NUMBER}')"
    words = [word for (word,) in con.execute(f"{others} ORDER BY 1 LIMIT {len(MISSING) + 1}").fetchall()]
    if any(word.strip().lower() not in MISSING for word in words):
        return None, ()
    number = f"try_cast({plain} as double)"
    if words:
        number = f"case when {column.sql} not in ({', '.join(sql_text(word) for word in words)}) then {number} end"
    return number, tuple(words)


def _in_one_order(con: duckdb.DuckDBPyConnection, view: str, columns: dict[str, Column]) -> dict[str, Column]:
    """The columns, where dates that can be read in two orders are read like the other dates of their table."""
    dates = [column.dates for column in columns.values() if column.dates]
    known = {read.order for read in dates if read.order and not read.other}
    if len(known) != 1:
        return columns
    [order] = known
    return {
        name: _dated(con, view, replace(column, dates=None, doubts=()), order)
        if column.dates and column.dates.other and column.dates.order != order
        else column
        for name, column in columns.items()
    }


def _dated(con: duckdb.DuckDBPyConnection, view: str, column: Column, prefer: str | None = None) -> Column:
    """The column with how its values are read as dates, if they are dates; else with the first that is none."""
    if column.kind == TIME:
        return replace(column, years=_years(con, view, column))
    whole = column.kind == WHOLE and column.low is not None and column.high is not None
    if whole and not _as_days(column.name, column.low or 0, column.high or 0):
        return column
    if not whole and not (column.kind == TEXT and not column.number and 6 <= column.length <= 32):
        return column
    text = f"trim(cast({column.sql} AS varchar))"
    missing = ", ".join(map(sql_text, (*MISSING, *NO_DATES)))
    dates = f"{column.sql} IS NOT NULL AND lower({text}) NOT IN ({missing})"
    reading = reading_of(con, f"SELECT DISTINCT {text} AS v FROM {view} WHERE {dates}", prefer)
    if reading is None or isinstance(reading, Disagreement):
        doubts = (f"{reading}, so the values are not read as dates",) if reading else ()
        return replace(column, doubts=(*column.doubts, *doubts))
    dated = replace(column, dates=reading)
    unread = f"{dates} AND NOT ({dated.date} IS NOT NULL AND regexp_full_match({text}, {sql_text(reading.pattern)}))"
    all_dates, odd = _row(con, f"SELECT count(*), count(*) FILTER ({unread}) FROM {view} WHERE {dates}")
    read = (all_dates - odd) / all_dates
    if odd:
        [first] = _row(con, f"SELECT {column.sql} FROM {view} WHERE {unread} LIMIT 1")
        if read < NEARLY_ALL or whole:
            doubt = f"{shorten(str(first))!r} is no date such as the others, so the values are not read as dates"
            return replace(column, doubts=(*column.doubts, doubt)) if read >= MOSTLY and not whole else column
        values = f"{odd:,} value{'s' if odd > 1 else ''}"
        dated = replace(
            dated, doubts=(f"{values} such as {shorten(str(first))!r} are no dates and count as not known",)
        )
    other_words = (
        f"SELECT DISTINCT {column.sql} FROM {view} WHERE {column.sql} IS NOT NULL AND NOT ({dates} AND NOT ({unread}))"
    )
    words = [word for (word,) in con.execute(f"{other_words} ORDER BY 1 LIMIT {FEW_WORDS + 1}").fetchall()]
    if column.kind == TEXT and len(words) <= FEW_WORDS:
        pattern = f"( *{reading.pattern} *{''.join(f'|{re.escape(word)}' for word in words)})$"
        dated = replace(dated, pattern=pattern, missing=tuple(words))
    return replace(dated, years=_years(con, view, dated), doubts=(*dated.doubts, *_two_readings(con, view, dated)))


def _as_days(name: str, low: float, high: float) -> bool:
    """Whether whole numbers may be days such as 20190531 or, by the column's name, months such as 201905."""
    months = re.fullmatch(MONTH_NAMES, name.lower()) and 1900_01 <= low <= high <= 2100_12
    return bool(months) or 1900_01_01 <= low <= high <= 2100_01_01


def _years(con: duckdb.DuckDBPyConnection, view: str, column: Column) -> tuple[int | None, int | None]:
    """The years of the first and last date."""
    first, last = _row(con, f"SELECT year(min({column.date})), year(max({column.date})) FROM {view}")
    return first, last


def _two_readings(con: duckdb.DuckDBPyConnection, view: str, column: Column) -> Iterator[str]:
    """Which reading of the dates was taken, where there is another."""
    reading = column.dates
    assert reading
    if reading.other:
        of_other = f"day({column.date}) <> month({column.date})"
        found = con.execute(f"SELECT {column.sql}, cast({column.date} AS date) FROM {view} WHERE {of_other} LIMIT 1")
        for value, day in found.fetchall():
            yield f"{value!r} is read as {day}, which is {reading.order}; it may as well be {reading.other}"
    if reading.two_digits:
        two_digits = f"{replace(reading, formats=reading.two_digits).sql(column.sql)}"
        [(value, day)] = con.execute(
            f"SELECT {column.sql}, cast({two_digits} AS date) FROM {view} WHERE {two_digits} IS NOT NULL LIMIT 1"
        ).fetchall()
        years = f"{reading.first_year} to {reading.first_year + 99}"
        yield f"{value!r} is read as {day}: years of two digits are those from {years}"


def _row(con: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    return con.execute(query).fetchall()[0]
