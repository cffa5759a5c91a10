"""A lender's files looked at with DuckDB: their columns, the kind of each, and how its values lie.

What a column may mean in lending is guessed in `guesses.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from credit_assets.ingest.bad_delivery import BadDelivery
from credit_assets.ingest.dates import EXCEL, EXCEL_DAYS, Disagreement, Reading, excel_days, reading_of
from credit_assets.ingest.delivered_files import delivered_files, is_archive, unpack
from credit_assets.ingest.file_names import ENDINGS
from credit_assets.ingest.sources import PARQUET_INDEX, has_value
from credit_assets.lake.contracts import identifier, shorten
from credit_assets.lake.provenance import BATCH
from credit_assets.lake.tables import sql_path, sql_text
from credit_assets.onboarding import column_names, numbers
from credit_assets.onboarding.sheets import sheet_of, write_rows
from credit_assets.onboarding.wording import in_sql, parts, place_of
from credit_assets.plurals import are, number_of

WHOLE, FRACTION, TEXT, BOOLEAN, TIME, EMPTY = "whole", "fraction", "text", "boolean", "time", "empty"

FEW_WORDS = 50
"""Different values up to which they are all kept, with how often each occurs."""

NEARLY_ALL = 0.95
"""Share of the values that must be read as numbers or dates for a column of them; the others are not known then."""

MOSTLY = 0.5
"""Share from which a column that is not read as numbers or dates is reported."""

EXACT = 2**53
EXTREME = 1e100
"""From here on a number is none that anything was meant by; sums of them may be infinite."""

FAR = 1e12
FARTHER = 1e6
"""A number beyond FAR that is FARTHER times what nearly all others are is reported."""

LISTED = 3

FEW = 0.01
"""Share of the values up to which leading zeros, or more digits than are exact, do not make names of numbers."""

BY_POINT, BY_COMMA = numbers.pattern(comma=False), numbers.pattern(comma=True)

SHORTENED = r"[0-9]([.,][0-9]+)?E[+][0-9]{2,3}"
"""A long number as a spreadsheet shows it, and saves it."""

FORMULA = r' *="[^"]*" *'
"""A formula that keeps a spreadsheet from changing a value."""

MONTH_NAMES = r".*(date|month|period|vintage|yyyymm|ym).*"
"""Names of columns in which whole numbers such as 201905 are months."""

DATE_WORDS = "date dates datetime dt datum data fecha dato timestamp"
"""Words in names of columns that hold dates. Others end in `date` or `datum`."""

# What programs write where a calculation had no result.
NO_RESULT = (
    *("inf", "+inf", "-inf", "infinity", "+infinity", "-infinity", "∞", "-∞"),
    *("#div/0!", "#num!", "#value!", "#ref!", "#name?", "#null!"),
)
NO_DATES = ("0000-00-00", "0000-00-00 00:00:00", "00/00/0000", "00.00.0000", "0")
# Numbers that stand for "not known", which no real one is near.
SENTINELS = (-1, -7, -8, -9, -99, -999, -9999, 96, 97, 98, 99, 999, 9999, 99999, 999999, 9999999, 365243)
PILED_UP = 5


class BookError(ValueError):
    """The files cannot be made a portfolio of; the message names the file and what to do."""


@dataclass(frozen=True)
class Column:
    """What a column holds, as the contract will type it (`kind`, or `declared` where a Parquet file has no value).

    `distinct` is exact up to FEW_WORDS and near the number of rows, else about right. `words` has every value with
    its rows, most frequent first, where there are few. `number` is SQL of the value as a number, if it is one; of
    these `extremes` are too large to be meant. `low` and `high` are of those without the `sentinels` (number to rows)
    far away from all others, `whole` is whether they are whole and exact, and `missing` are the words among them.
    `pattern` is a regular expression of all numbers or dates in text, `written` the same in words. `dates` is how the
    values are read as dates, the first and last of which are in `years`. `doubts` are sentences on how the values were
    read, for a person to confirm.
    """

    name: str
    kind: str
    rows: int
    filled: int
    distinct: int
    length: float
    declared: str = ""
    words: dict[str, int] | None = None
    low: float | None = None
    high: float | None = None
    number: str | None = None
    whole: bool = False
    extremes: int = 0
    missing: tuple[str, ...] = ()
    pattern: str | None = None
    written: str = ""
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

    def identity(self, relation: str | None = None) -> str:
        """SQL of the value as text by which rows of different files belong together: 5.0 is 5."""
        column = f"{relation}.{self.sql}" if relation else self.sql
        return f"cast({f'cast({column} AS bigint)' if self.kind == FRACTION and self.whole else column} AS varchar)"

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
    """A file: the relation that reads it, the kind that it declares of each column (empty in CSV), sentences on what
    was not read of it, and the patterns of its lines that are no rows."""

    path: Path
    source: str
    kinds: dict[str, str]
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Files:
    """Files of the same columns, looked at as one table; `view` has their rows, what is from CSV as text."""

    parts: tuple[Part, ...]
    view: str
    rows: int
    columns: dict[str, Column]

    @property
    def remarks(self) -> list[str]:
        """Sentences on what was not read of the files."""
        return [remark for part in self.parts for remark in part.remarks]

    @property
    def absent(self) -> list[str]:
        """The columns that some of the files do not have."""
        return [name for name in self.columns if any(name not in part.kinds for part in self.parts)]

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
    faults: list[str] = []
    for n, path in enumerate(_files(given, workspace)):
        if path.name.lower() in stems:
            raise BookError(f"{path} and {stems[path.name.lower()]} have one name. Give one of them.")
        stems[path.name.lower()] = path
        try:
            part = (
                _parquet(con, path)
                if path.name.lower().endswith(".parquet")
                else _csv(con, path, workspace / f"{n}.parquet")
            )
        except BookError as error:
            faults.append(str(error))
            continue
        groups.setdefault(frozenset(part.kinds), []).append(part)
    if faults:
        raise BookError("\n".join(faults))
    return [together(con, parts) for parts in groups.values()]


def together(con: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> Files:
    """The files as one table; a column that one of them lacks is empty there."""
    view = f"looked_at_{_row(con, 'SELECT count(*) FROM duckdb_views() WHERE NOT internal')[0]}"
    con.execute(f"CREATE VIEW {view} AS {' UNION ALL BY NAME '.join(f'SELECT * FROM {part.source}' for part in parts)}")
    names = ", ".join(part.path.name for part in parts)
    columns = dict.fromkeys(name for part in parts for name in part.kinds)
    try:
        rows, found = _columns(con, view, {name: _one_kind(name, parts) for name in columns})
    except duckdb.OutOfMemoryException as error:
        raise BookError(f"{names}: the memory is too small to compare all values. Give fewer rows.") from error
    except duckdb.Error as error:
        raise BookError(
            f"{names}: the values cannot be read to the end. Is a file damaged, or still copied?"
        ) from error
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
    """The file's rows as a Parquet file of text."""
    try:
        sheet = sheet_of(path, text.with_suffix(".plain"))
        _refuse_names(path, sheet.columns)
        notes, remarks = write_rows(con, sheet, text)
    except BadDelivery as error:
        raise BookError(str(error)) from error
    return Part(path, f"read_parquet({sql_path(text)})", dict.fromkeys(sheet.columns, ""), remarks, notes)


def _parquet(con: duckdb.DuckDBPyConnection, path: Path) -> Part:
    """The file's rows, such that a value that is no number is null, and a negative zero is zero."""
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise BookError(f"{path} is not a whole Parquet file: {error}") from error
    columns = [column for column in schema if column.name != PARQUET_INDEX or not pa.types.is_integer(column.type)]
    _refuse_names(path, [column.name for column in columns])
    kinds = {column.name: _kind(column.type) for column in columns}
    if unknown := [f"{column.name} ({column.type})" for column in columns if kinds[column.name] is None]:
        raise BookError(
            f"{path}: {', '.join(unknown)} holds neither numbers, text, booleans nor dates. Write it as one of these, "
            "or leave it out of the file."
        )
    source = f"read_parquet({sql_path(path)}, hive_partitioning = false)"
    known = {name: kind for name, kind in kinds.items() if kind is not None}
    try:
        filled = has_value(known)
        [empty] = _row(con, f"SELECT count(*) FROM {source} WHERE ({filled}) IS NOT TRUE")
        values, known, remarks = _values_of(con, path, source, columns, known)
    except duckdb.Error as error:
        raise BookError(f"{path} is damaged, or still being copied: its values cannot be read.") from error
    if empty:
        remarks = (*remarks, f"{path.name}: {number_of(empty, 'row')} without any value, passed over.")
    return Part(path, f"(SELECT {values} FROM {source} WHERE {filled})", known, remarks)


def _values_of(
    con: duckdb.DuckDBPyConnection, path: Path, source: str, columns: Sequence[pa.Field], kinds: dict[str, str]
) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """SQL of a Parquet file's columns, their kinds, and what is to be said of them."""
    values, remarks = [], []
    for column in columns:
        name, kind = identifier(column.name), column.type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        value = name
        if pa.types.is_floating(kind):
            value = f"CASE WHEN isfinite({name}) THEN CASE WHEN {name} = 0 THEN 0 ELSE {name} END END"
            [infinite] = _row(con, f"SELECT count(*) FROM {source} WHERE isinf({name})")
            if infinite:
                rows = number_of(infinite, "row")
                remarks.append(
                    f"{path.name}: {column.name} is infinite in {rows}, which {_count_as(infinite)} not known"
                )
        elif pa.types.is_decimal(kind) or pa.types.is_uint64(kind):
            value, kinds[column.name] = _exactly(con, source, name, kinds[column.name])
        elif kinds[column.name] == TEXT:
            value = f"CAST({name} AS varchar)"
        values.append(f"{value} AS {name}")
    return ", ".join(values), kinds, tuple(remarks)


def _exactly(con: duckdb.DuckDBPyConnection, source: str, name: str, kind: str) -> tuple[str, str]:
    """SQL and kind of a number that may have more digits than a whole number or a fraction of 64 bits: whole numbers
    that fit are these; longer ones, if no two are alike, are names; others are fractions."""
    whole, largest, unique = _row(
        con,
        f"SELECT bool_and({name} = trunc({name})), max(abs(CAST({name} AS double))), "
        f"count(DISTINCT {name}) = count(*) FROM {source}",
    )
    if whole and largest < 2**63 and (kind == WHOLE or largest >= EXACT):
        return f"CAST({name} AS bigint)", WHOLE
    if whole and unique and largest >= EXACT:
        return f"regexp_replace(CAST({name} AS varchar), '[.]0*$', '')", TEXT
    return f"CAST({name} AS double)", FRACTION


def _kind(kind: pa.DataType) -> str | None:
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    if pa.types.is_decimal(kind):
        return WHOLE if kind.scale <= 0 else FRACTION
    tests = {
        WHOLE: (pa.types.is_integer,),
        FRACTION: (pa.types.is_floating,),
        TEXT: (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, _is_uuid),
        BOOLEAN: (pa.types.is_boolean,),
        TIME: (pa.types.is_timestamp, pa.types.is_date),
        EMPTY: (pa.types.is_null,),
    }
    return next((found for found, of_kind in tests.items() if any(test(kind) for test in of_kind)), None)


def _is_uuid(kind: pa.DataType) -> bool:
    return bool(getattr(kind, "extension_name", None) == "arrow.uuid")


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
    alone = {sign: sum(written.get(sign, 0) for written in told.values()) for sign in ("comma_alone", "point_alone")}
    for written in told.values():
        written["by_comma"] = _by_comma(written, bool(alone["comma_alone"]))
    about = ", ".join(f"approx_count_distinct({identifier(name)})" for name in declared)
    rows, *distincts = _row(con, f"SELECT count(*), {about} FROM {view}")
    columns = {}
    for name, distinct in zip(declared, distincts, strict=True):
        written, filled = told[name], int(told[name]["filled"])
        kind = (declared[name] or _kind_of(written)) if filled else EMPTY
        if filled == rows and 2 * distinct >= rows:
            distinct = int(_row(con, f"SELECT count(DISTINCT {identifier(name)}) FROM {view}")[0])
        column = Column(name, kind, rows, filled, distinct, float(written["length"] or 0), declared[name])
        if filled and distinct <= 2 * FEW_WORDS:
            words = _words(con, view, column)
            column = replace(column, words=words if len(words) <= FEW_WORDS else None, distinct=len(words))
        column = replace(column, doubts=tuple(_of_a_spreadsheet(con, view, column, written)))
        columns[name] = _dated(con, view, _numbered(con, view, column, written))
    return rows, _in_one_order(con, view, columns)


def _of_a_spreadsheet(
    con: duckdb.DuckDBPyConnection, view: str, column: Column, written: Mapping[str, Any]
) -> Iterator[str]:
    """What to confirm of values that a spreadsheet has changed."""
    for what, form, said in (
        (
            "shortened",
            SHORTENED,
            "is how a spreadsheet saves a long number: its last digits are lost. Export them as text",
        ),
        (
            "formula",
            FORMULA,
            "is a formula of a spreadsheet: the value without it is another one. Export the value alone",
        ),
    ):
        if count := written.get(what, 0):
            [example] = _row(
                con, f"SELECT min({column.sql}) FROM {view} WHERE regexp_full_match({column.sql}, {sql_text(form)})"
            )
            yield f"{_values(count)} such as {shorten(str(example))!r}, which {said}"


def _by_comma(written: Mapping[str, Any], others_by_comma: bool) -> bool:
    """Whether a column's numbers have a decimal comma. What may be either, such as 1,234 or 1.234, is read like the
    other columns of its table."""
    comma, point = written.get("comma_alone", 0), written.get("point_alone", 0)
    return comma > point or (comma == point and others_by_comma and bool(written.get("either")))


def _written(con: duckdb.DuckDBPyConnection, view: str, declared: dict[str, str]) -> dict[str, dict[str, Any]]:
    """For each column how many rows hold something; of text, also its mean length and, of what does not stand for "not
    known", how many hold a plain number, a whole one, one with leading zeros, one too long to be exact, one with a
    decimal point or a decimal comma, in that way alone, or in either."""
    plain = f"(regexp_full_match({{0}}, '{numbers.PLAIN}') AND isfinite(try_cast({{0}} AS double)))"
    whole = f"regexp_full_match({{0}}, '{numbers.WHOLE}')"
    point, comma = (f"regexp_full_match({{0}}, {sql_text(pattern)})" for pattern in (BY_POINT, BY_COMMA))
    of_text = {
        "real": "true",
        "plain": plain,
        "whole": whole,
        "zeros": f"regexp_full_match({{0}}, '{numbers.LEADING_ZERO}')",
        "long": f"{whole} AND abs(try_cast({{0}} AS double)) >= {EXACT}",
        "point": point,
        "comma": comma,
        "point_alone": f"contains({{0}}, '.') AND {point} AND NOT {comma}",
        "comma_alone": f"contains({{0}}, ',') AND {comma} AND NOT {point}",
        "shortened": f"regexp_full_match({{0}}, {sql_text(SHORTENED)})",
        "formula": f"regexp_full_match({{0}}, {sql_text(FORMULA)})",
        "either": f"(contains({{0}}, ',') OR contains({{0}}, '.')) AND {point} AND {comma}",
    }
    asked: dict[tuple[str, str], str] = {}
    for name, kind in declared.items():
        column = identifier(name)
        asked[name, "filled"] = f"count({column})"
        asked[name, "length"] = f"avg(length({column}))" if kind in ("", TEXT) else "0"
        if kind in ("", TEXT):
            known = _is_known(column)
            asked |= {
                (name, what): f"count(*) FILTER ({known} AND {condition.replace('{0}', column)})"
                for what, condition in of_text.items()
            }
    told: dict[str, dict[str, Any]] = {name: {} for name in declared}
    for (name, what), value in zip(asked, _row(con, f"SELECT {', '.join(asked.values())} FROM {view}"), strict=True):
        told[name][what] = value
    return told


def _is_known(text: str) -> str:
    """SQL: whether the text is neither empty nor stands for "not known"."""
    missing = ", ".join(map(sql_text, (*column_names.MISSING, *NO_RESULT)))
    return f"({text} IS NOT NULL AND lower(trim({text})) NOT IN ({missing}))"


def _kind_of(written: Mapping[str, Any]) -> str:
    """The kind of a CSV column."""
    if written["plain"] < written["filled"] or written["by_comma"] or _are_names(written, unique=False):
        return TEXT
    return WHOLE if written["whole"] == written["filled"] and not written["long"] else FRACTION


def _are_names(written: Mapping[str, Any], unique: bool) -> bool:
    """Whether numbers are names of something: with leading zeros, or too long to be exact."""
    odd = max(written["zeros"], written["long"])
    return bool(odd) and (unique or odd > FEW * written["real"])


def _words(con: duckdb.DuckDBPyConnection, view: str, column: Column) -> dict[str, int]:
    counted = con.execute(
        f"SELECT cast({column.sql} AS varchar), count(*) FROM {view} WHERE {column.sql} IS NOT NULL "
        f"GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {2 * FEW_WORDS + 1}"
    ).fetchall()
    return dict(counted)


def _numbered(con: duckdb.DuckDBPyConnection, view: str, column: Column, written: dict[str, Any]) -> Column:
    """The column with what its numbers are, if it has any."""
    if column.kind in (WHOLE, FRACTION):
        column = replace(column, number=column.sql)
    elif column.kind == TEXT and not _are_names(written, column.unique):
        column = _number_in_text(con, view, column, written)
    if not column.number:
        return column
    listed = ", ".join(map(str, SENTINELS))
    value = f"try_cast({column.number} AS double)"
    meant = f"(SELECT v FROM (SELECT {value} AS v FROM {view}) WHERE abs(v) < {EXTREME})"
    low, high, piles, whole = _row(
        con,
        f"SELECT min(v) FILTER (v NOT IN ({listed})), max(v) FILTER (v NOT IN ({listed})), "
        f"histogram(try_cast(v AS bigint)) FILTER (v IN ({listed})), bool_and(v = trunc(v) AND abs(v) < {EXACT}) "
        f"FROM {meant}",
    )
    column = replace(column, whole=bool(whole))
    [extremes] = _row(con, f"SELECT count(*) FROM (SELECT {value} AS v FROM {view}) WHERE NOT abs(v) < {EXTREME}")
    if extremes:
        doubt = f"{_values(extremes)} beyond {EXTREME:g} {_count_as(extremes)} not known"
        number = f"case when abs({value}) < {EXTREME:g} then {column.number} end"
        column = replace(column, number=number, extremes=extremes, doubts=(*column.doubts, doubt))
    if low is None and not piles:
        return replace(column, number=None)
    if low is None:
        return replace(column, low=min(piles), high=max(piles))
    column = replace(column, doubts=(*column.doubts, *_far_from_all(con, meant, low, high)))
    sentinels = (
        {pile: rows for pile, rows in sorted(piles.items()) if rows >= PILED_UP and _far_off(pile, low, high)}
        if piles
        else {}
    )
    others = [low, high, *(pile for pile in piles or () if pile not in sentinels)]
    return replace(column, low=min(others), high=max(others), sentinels=sentinels)


def _far_from_all(con: duckdb.DuckDBPyConnection, meant: str, low: float, high: float) -> Iterator[str]:
    """What to confirm of a number that is far from all others, as a slip of the keyboard makes it."""
    farthest = high if high >= -low else low
    if abs(farthest) < FAR:
        return
    usual = max(
        _row(con, f"SELECT quantile_disc(abs(v), 0.99) FROM {meant} WHERE abs(v) < {abs(farthest)!r}")[0] or 0, 1
    )
    if abs(farthest) >= FARTHER * usual:
        times = f"{abs(farthest) / usual:.0e}"
        yield f"{farthest:g} is {times} times what nearly all others are at most; correct it if it is a slip"


def _values(count: int) -> str:
    return number_of(count, "value")


def _count_as(count: int) -> str:
    return "count as" if count > 1 else "counts as"


def _far_off(value: int, low: float, high: float) -> bool:
    """Whether the value lies further from the others than they lie from each other, or is the only one below zero."""
    spread = max(high - low, 1)
    return value > high + spread or value < low - spread or value < 0 <= low


def _number_in_text(con: duckdb.DuckDBPyConnection, view: str, column: Column, written: Mapping[str, Any]) -> Column:
    """The column with SQL that reads the numbers in its text (`13.5%`, `$1,200`, `13,5`, `(7)`), of which nearly all
    values must be; with the first value that is none."""
    name = column.sql
    by_comma = written["by_comma"]
    plain = not by_comma and written["plain"] >= written["point"]
    read = written["comma" if by_comma else "plain" if plain else "point"]
    real = written["real"]
    if not real or read < MOSTLY * real:
        return column
    form = BY_COMMA if by_comma else BY_POINT
    is_read = f"regexp_full_match({name}, {sql_text(numbers.PLAIN if plain else form)})"
    if plain:
        is_read += f" AND isfinite(try_cast({name} AS double))"
    other = f"{_is_known(name)} AND NOT ({is_read})"
    doubts: tuple[str, ...] = ()
    if read < real:
        [first] = _row(con, f"SELECT {name} FROM {view} WHERE {other} LIMIT 1")
        odd = f"{_values(real - read)} of {real:,}, first {shorten(str(first))!r},"
        if read < NEARLY_ALL * real:
            are = "are no numbers" if real - read > 1 else "is no number"
            return replace(column, doubts=(*column.doubts, f"{odd} {are}, so the values are not read as numbers"))
        doubts = (f"{odd} {'are no numbers and count' if real - read > 1 else 'is no number and counts'} as not known",)
    errors = ", ".join(map(sql_text, NO_RESULT))
    [no_result, example] = _row(
        con, f"SELECT count(*), min({name}) FROM {view} WHERE lower(trim({name})) IN ({errors})"
    )
    if no_result:
        doubts += (f"{_values(no_result)} such as {example!r} {_count_as(no_result)} not known",)
    others = con.execute(
        f"SELECT DISTINCT {name} FROM {view} WHERE {name} IS NOT NULL AND NOT ({is_read} AND {_is_known(name)}) "
        f"ORDER BY 1 LIMIT {FEW_WORDS + 1}"
    ).fetchall()
    words = [word for (word,) in others if word.strip()]
    # Blanks alone are no value, however many they are.
    blanks = "|\\s*" if len(words) < len(others) else ""
    seen = {
        sign
        for (sign,) in con.execute(
            f"SELECT DISTINCT unnest(string_split(regexp_replace({name}, '[0-9]', '', 'g'), '')) FROM {view} "
            f"WHERE {is_read} AND {_is_known(name)}"
        ).fetchall()
    }
    pattern = numbers.pattern(by_comma, seen)
    number = f"try_cast({name} as double)" if plain else numbers.value(name, by_comma, seen)
    doubts = (*column.doubts, *doubts, *_mixed(con, view, column))
    allowed = f"({pattern}{''.join(f'|{re.escape(word)}' for word in words)}{blanks})$"
    unmatched = f"{name} IS NOT NULL AND NOT regexp_full_match({name}, {sql_text(allowed)})"
    if len(words) > FEW_WORDS or _row(con, f"SELECT count(*) FROM {view} WHERE {unmatched}")[0]:
        # No contract holds the text to a pattern: of other text than numbers, this is null.
        guard = f"abs({number}) < {EXTREME:g}" if plain else f"regexp_full_match({name}, {sql_text(pattern)})"
        return replace(column, number=f"case when {guard} then {number} end", doubts=doubts)
    if words:
        number = f"case when {name} not in ({', '.join(map(sql_text, words))}) then {number} end"
    said = _in_words(f"a number such as {numbers.example(by_comma, seen)}", words)
    return replace(column, number=number, missing=tuple(words), pattern=allowed, written=said, doubts=doubts)


def _in_words(what: str, words: Sequence[str]) -> str:
    """What the values are, in words that follow "must be"; `words` are those that are allowed beside it."""
    shown = [repr(word) for word in words if word.strip()]
    more = [f"{len(shown) - LISTED} more words"] if len(shown) > LISTED else []
    return " or ".join([what, *shown[:LISTED], *more])


def _mixed(con: duckdb.DuckDBPyConnection, view: str, column: Column) -> Iterator[str]:
    """What to confirm of numbers of which some are percentages, or sums of money, and others are not."""
    for sign in "%$€£¥₹":
        has = f"contains({column.sql}, '{sign}')"
        number = f"regexp_matches({column.sql}, '[1-9]')"
        with_sign, others = _row(
            con, f"SELECT count(*) FILTER ({has}), count(*) FILTER (NOT {has} AND {number}) FROM {view}"
        )
        if with_sign and others:
            yield f"{sign} stands in {_values(with_sign)} and is missing in {others:,}; all are read as they stand"


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
    if column.kind in (WHOLE, FRACTION) and _may_count_days(column):
        return _in_excel_days(con, view, column)
    whole = column.kind == WHOLE and column.low is not None and column.high is not None
    if whole and not _as_days(column.name, column.low or 0, column.high or 0):
        return column
    if not whole and not (column.kind == TEXT and not column.number and 6 <= column.length <= 32):
        return column
    text = f"trim(cast({column.sql} AS varchar))"
    missing = ", ".join(map(sql_text, (*column_names.MISSING, *NO_DATES)))
    dates = f"{column.sql} IS NOT NULL AND lower({text}) NOT IN ({missing})"
    reading = reading_of(con, f"SELECT DISTINCT {text} AS v FROM {view} WHERE {dates}", prefer)
    if reading is None or isinstance(reading, Disagreement):
        doubts = (f"{reading}, so the values are not read as dates",) if reading else ()
        return replace(column, doubts=(*column.doubts, *doubts))
    dated = replace(column, dates=reading)
    unread = f"{dates} AND NOT ({dated.date} IS NOT NULL AND regexp_full_match({text}, {sql_text(reading.pattern)}))"
    all_dates, odd = _row(con, f"SELECT count(*), count(*) FILTER ({unread}) FROM {view} WHERE {dates}")
    if odd and not whole and (first_day := excel_days(con, f"SELECT DISTINCT {text} AS v FROM {view} WHERE {unread}")):
        value, day = first_day
        reading = replace(reading, formats=(*reading.formats, EXCEL))
        doubt = f"{_values(odd)} such as {value!r} {are(odd)} read as Excel serial dates, {value!r} as {day}"
        dated, odd, unread = replace(column, dates=reading, doubts=(doubt,)), 0, "false"
    read = (all_dates - odd) / all_dates
    if odd:
        [first] = _row(con, f"SELECT {column.sql} FROM {view} WHERE {unread} LIMIT 1")
        if read < NEARLY_ALL or whole:
            doubt = f"{shorten(str(first))!r} is no date such as the others, so the values are not read as dates"
            return replace(column, doubts=(*column.doubts, doubt)) if read >= MOSTLY and not whole else column
        count = "are no dates and count" if odd > 1 else "is no date and counts"
        dated = replace(dated, doubts=(f"{_values(odd)}, first {shorten(str(first))!r}, {count} as not known",))
    other_words = (
        f"SELECT DISTINCT {column.sql} FROM {view} WHERE {column.sql} IS NOT NULL AND NOT ({dates} AND NOT ({unread}))"
    )
    words = [word for (word,) in con.execute(f"{other_words} ORDER BY 1 LIMIT {FEW_WORDS + 1}").fetchall()]
    if column.kind == TEXT and len(words) <= FEW_WORDS:
        pattern = f"( *{reading.pattern} *{''.join(f'|{re.escape(word)}' for word in words)})$"
        written = _in_words(f"a date such as {' or '.join(reading.examples[:LISTED])}", words)
        dated = replace(dated, pattern=pattern, written=written, missing=tuple(words))
    return replace(dated, years=_years(con, view, dated), doubts=(*dated.doubts, *_two_readings(con, view, dated)))


def _may_count_days(column: Column) -> bool:
    """Whether numbers may be dates as Excel counts days: by the column's name, and by their size."""
    words = set(parts(column.name))
    dates = words & set(DATE_WORDS.split()) or any(word.endswith(("date", "datum")) for word in words)
    if not dates and place_of(column.name, column_names.DECISION) is None:
        return False
    first, last = EXCEL_DAYS
    return column.low is not None and column.high is not None and first <= column.low and column.high <= last


def _in_excel_days(con: duckdb.DuckDBPyConnection, view: str, column: Column) -> Column:
    dated = replace(column, dates=Reading((EXCEL,)))
    value, day = _row(con, f"SELECT min({column.sql}), cast(min({dated.date}) AS date) FROM {view}")
    doubt = f"{value} is read as {day}, which Excel stores as this number; it may be an amount or another number"
    return replace(dated, years=_years(con, view, dated), doubts=(*dated.doubts, doubt))


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
    if reading.language:
        [(value, day)] = con.execute(
            f"SELECT {column.sql}, cast({column.date} AS date) FROM {view} WHERE {column.date} IS NOT NULL "
            f"ORDER BY 1 LIMIT 1"
        ).fetchall()
        yield f"{value!r} is read as {day}: the month names are taken to be {reading.language}"
    if reading.two_digits:
        two_digits = f"{replace(reading, formats=reading.two_digits).sql(column.sql)}"
        [(value, day)] = con.execute(
            f"SELECT {column.sql}, cast({two_digits} AS date) FROM {view} WHERE {two_digits} IS NOT NULL LIMIT 1"
        ).fetchall()
        years = f"{reading.first_year} to {reading.first_year + 99}"
        yield f"{value!r} is read as {day}: years of two digits are those from {years}"


def _row(con: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    return con.execute(query).fetchall()[0]
