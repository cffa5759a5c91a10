"""Profiles columns of dates: how their values are read as dates, and which of them are ambiguous."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import duckdb

from credit_assets.ingest.dates import EXCEL, EXCEL_DAYS, ConflictingOrders, DateStyle, detect_date_style, excel_days
from credit_assets.lake.connections import one_row
from credit_assets.lake.contracts import shorten
from credit_assets.lake.sql import sql_text
from credit_assets.onboarding import column_names
from credit_assets.onboarding.files import FEW_VALUES, FRACTION, NEARLY_ALL, TEXT, TIME, WHOLE, Column
from credit_assets.onboarding.number_columns import REPORTED_SHARE
from credit_assets.onboarding.wording import MAX_EXAMPLES, alternatives, parts, pattern_index
from credit_assets.plurals import are, number_of

MONTH_NAMES = r".*(date|month|period|vintage|yyyymm|ym).*"
"""Names of columns whose whole numbers, such as 201905, are months."""

DATE_WORDS = "date dates datetime dt datum data fecha dato timestamp"
"""Words in the names of date columns. Other names end in `date` or `datum`."""

NO_DATES = ("0000-00-00", "0000-00-00 00:00:00", "00/00/0000", "00.00.0000", "0")
"""Values that programs write for a missing date."""


def resolve_ambiguous_dates(con: duckdb.DuckDBPyConnection, view: str, columns: dict[str, Column]) -> dict[str, Column]:
    """The columns. Dates that can be read day first or month first are read like the other dates of the table."""
    dates = [column.dates for column in columns.values() if column.dates]
    known = {read.order for read in dates if read.order and not read.other}
    if len(known) != 1:
        return columns
    [order] = known
    return {
        name: profile_dates(con, view, replace(column, dates=None, doubts=()), order)
        if column.dates and column.dates.other and column.dates.order != order
        else column
        for name, column in columns.items()
    }


def profile_dates(con: duckdb.DuckDBPyConnection, view: str, column: Column, prefer: str | None = None) -> Column:
    """The column with the formats of its dates, if its values are dates; a doubt shows the first value that is none."""
    if column.kind == TIME:
        return replace(column, years=_years(con, view, column))
    if column.kind in (WHOLE, FRACTION) and _may_be_excel_days(column):
        return _as_excel_days(con, view, column)
    whole = column.kind == WHOLE and column.low is not None and column.high is not None
    if whole and not _may_be_days(column.name, column.low or 0, column.high or 0):
        return column
    if not whole and not (column.kind == TEXT and not column.number and 6 <= column.length <= 32):
        return column
    text = f"trim(cast({column.sql} AS varchar))"
    missing = ", ".join(map(sql_text, (*column_names.MISSING, *NO_DATES)))
    dates = f"{column.sql} IS NOT NULL AND lower({text}) NOT IN ({missing})"
    reading = detect_date_style(con, f"SELECT DISTINCT {text} AS v FROM {view} WHERE {dates}", prefer)
    if reading is None or isinstance(reading, ConflictingOrders):
        doubts = (f"{reading}, so the values are not read as dates",) if reading else ()
        return replace(column, doubts=(*column.doubts, *doubts))
    dated = replace(column, dates=reading)
    unread = f"{dates} AND NOT ({dated.date} IS NOT NULL AND regexp_full_match({text}, {sql_text(reading.pattern)}))"
    all_dates, odd = one_row(con, f"SELECT count(*), count(*) FILTER ({unread}) FROM {view} WHERE {dates}")
    if odd and not whole and (first_day := excel_days(con, f"SELECT DISTINCT {text} AS v FROM {view} WHERE {unread}")):
        value, day = first_day
        reading = replace(reading, formats=(*reading.formats, EXCEL))
        values = number_of(odd, "value")
        doubt = f"{values} such as {value!r} {are(odd)} read as Excel serial dates, {value!r} as {day}"
        dated, odd, unread = replace(column, dates=reading, doubts=(doubt,)), 0, "false"
    read = (all_dates - odd) / all_dates
    if odd:
        [first] = one_row(con, f"SELECT {column.sql} FROM {view} WHERE {unread} LIMIT 1")
        if read < NEARLY_ALL or whole:
            doubt = f"{shorten(str(first))!r} is not a date like the others, so the values are not read as dates"
            return replace(column, doubts=(*column.doubts, doubt)) if read >= REPORTED_SHARE and not whole else column
        count = "are not dates and count" if odd > 1 else "is not a date and counts"
        dated = replace(
            dated, doubts=(f"{number_of(odd, 'value')}, first {shorten(str(first))!r}, {count} as not known",)
        )
    other_texts = (
        f"SELECT DISTINCT {column.sql} FROM {view} WHERE {column.sql} IS NOT NULL AND NOT ({dates} AND NOT ({unread}))"
    )
    words = [word for (word,) in con.execute(f"{other_texts} ORDER BY 1 LIMIT {FEW_VALUES + 1}").fetchall()]
    if column.kind == TEXT and len(words) <= FEW_VALUES:
        pattern = f"( *{reading.pattern} *{''.join(f'|{re.escape(word)}' for word in words)})$"
        described = alternatives(f"a date such as {' or '.join(reading.examples[:MAX_EXAMPLES])}", words)
        dated = replace(dated, pattern=pattern, pattern_text=described, missing=tuple(words))
    return replace(dated, years=_years(con, view, dated), doubts=(*dated.doubts, *_ambiguous_dates(con, view, dated)))


def _may_be_excel_days(column: Column) -> bool:
    """Whether numbers may be Excel's day numbers, by the column's name and their size."""
    words = set(parts(column.name))
    dates = words & set(DATE_WORDS.split()) or any(word.endswith(("date", "datum")) for word in words)
    if not dates and pattern_index(column.name, column_names.DECISION) is None:
        return False
    first, last = EXCEL_DAYS
    return column.low is not None and column.high is not None and first <= column.low and column.high <= last


def _as_excel_days(con: duckdb.DuckDBPyConnection, view: str, column: Column) -> Column:
    dated = replace(column, dates=DateStyle((EXCEL,)))
    value, day = one_row(con, f"SELECT min({column.sql}), cast(min({dated.date}) AS date) FROM {view}")
    doubt = f"{value} is read as {day}, which Excel stores as this number; it may be an amount or another number"
    return replace(dated, years=_years(con, view, dated), doubts=(*dated.doubts, doubt))


def _may_be_days(name: str, low: float, high: float) -> bool:
    """Whether whole numbers may be days such as 20190531 or, by the column's name, months such as 201905."""
    months = re.fullmatch(MONTH_NAMES, name.lower()) and 1900_01 <= low <= high <= 2100_12
    return bool(months) or 1900_01_01 <= low <= high <= 2100_01_01


def _years(con: duckdb.DuckDBPyConnection, view: str, column: Column) -> tuple[int | None, int | None]:
    """The years of the first and last date."""
    first, last = one_row(con, f"SELECT year(min({column.date})), year(max({column.date})) FROM {view}")
    return first, last


def _ambiguous_dates(con: duckdb.DuckDBPyConnection, view: str, column: Column) -> Iterator[str]:
    """Doubts about dates that can be read in more than one way, which state how they are read."""
    reading = column.dates
    assert reading
    if reading.other:
        of_other = f"day({column.date}) <> month({column.date})"
        found = con.execute(f"SELECT {column.sql}, cast({column.date} AS date) FROM {view} WHERE {of_other} LIMIT 1")
        for value, day in found.fetchall():
            yield f"{value!r} is read as {day}, which is {reading.order}; it may also be {reading.other}"
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
        yield f"{value!r} is read as {day}: two-digit years are read as {years}"
