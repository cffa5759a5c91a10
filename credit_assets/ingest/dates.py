"""Dates written as text: the supported formats, detecting those of a column, and the SQL that parses them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import duckdb

from credit_assets.ingest import month_names
from credit_assets.lake.sql import sql_text

# Dates in digits only, whose order depends on the country: 04/05/19 is in April, in May, or in 2004.
ORDERS: Mapping[str, Sequence[str]] = {
    "day first": ("%d/%m/%y", "%d/%m/%Y", "%d-%m-%y", "%d-%m-%Y"),
    "month first": ("%m/%d/%y", "%m/%d/%Y", "%m-%d-%y", "%m-%d-%Y"),
    "year first": ("%y/%m/%d", "%y-%m-%d"),
}
DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%y", "%d.%m.%Y"),
    *("%d-%b-%y", "%d-%b-%Y", "%d %b %y", "%d %b %Y", "%d/%b/%y", "%d/%b/%Y", "%d%b%y", "%d%b%Y"),
    *("%d %B %Y", "%d. %B %Y", "%d. %b %Y", "%d-%B-%Y", "%b %d, %Y", "%B %d, %Y"),
)
WITHOUT_TIME = ("%Y%m%d", "%b-%y", "%b-%Y", "%b %Y", "%B %Y", "%Y-%m", "%Y/%m", "%m/%Y", "%m-%Y", "%m.%Y", "%Y%m")
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
ISO_TIMES = tuple(
    f"{sign}{time}{zone}"
    for sign in ("T", " ")
    for time in ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f")
    for zone in ("", "Z", "%z")
    if sign == "T" or zone
)


def _with_times(days: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{day}{time}" for day in days for time in TIMES)


_IN_ORDER = {order: _with_times(days) for order, days in ORDERS.items()}
_ANY_ORDER = (*_with_times(DAYS), *(f"%Y-%m-%d{time}" for time in ISO_TIMES), *WITHOUT_TIME)
FORMATS = (*_ANY_ORDER, *(form for forms in _IN_ORDER.values() for form in forms))
"""Every supported date format, as a DuckDB `strptime` pattern."""

_WITH_NAMES = ("%d %b %Y", "%d %b %y", "%d%b%Y", "%d%b%y", "%Y %b %d")
_OTHER_WORDS = {"French": ("%der %b %Y",)}
_MONTHS_ALONE = ("%b %Y", "%b %y", "%Y %b")
IN_LANGUAGES: Mapping[str, Sequence[str]] = {
    language: tuple(
        f"{language} {form}"
        for form in (
            *(f"{day}{time}" for day in (*_WITH_NAMES, *_OTHER_WORDS.get(language, ())) for time in TIMES[:3]),
            *_MONTHS_ALONE,
        )
    )
    for language in month_names.MONTHS
}
"""Formats with month names in another language, prefixed by the language. `%b` is the full or the abbreviated name; a
blank matches any usual separator."""

EXCEL, EXCEL_1904 = "Excel 1900", "Excel 1904"
"""Excel's serial dates: day 1 is 1 January 1900 or, in workbooks with the 1904 system, day 0 is 1 January 1904. They
are used only if configured, since numbers may mean anything."""

EXCEL_RANGES = {
    EXCEL: ((1, 60, "1899-12-31"), (61, 2_958_466, "1899-12-30")),
    EXCEL_1904: ((0, 2_957_004, "1904-01-01"),),
}
"""Ranges of serial days (first, end) and the date each range counts from. Excel's day 60 is 29 February 1900, which did
not exist."""

EXCEL_DAYS = (10_000, 60_000)
"""Serial days of the years 1927 to 2064; numbers outside are rarely dates."""

EXAMPLES = "2019-05-31, 31.05.2019, 05/31/2019, 31-May-19, May-2019 or 2019-05-31 10:30:00"

_SHAPES = {"%Y": "[0-9]{4}", "%b": "[A-Za-z]{3}", "%B": "[A-Za-z]{3,9}", "%f": "[0-9]{1,6}", "%p": "[AaPp][Mm]"}
_SHAPES |= {"%z": "[+-][0-9]{2}(:?[0-9]{2})?", "%y": "[0-9]{2}"}
_EXAMPLE = datetime(2019, 5, 31, 10, 30, tzinfo=UTC)
_SAMPLE = 1000
_RARE = 0.01
FIRST_OF_TWO_DIGITS = 1969
"""The first year of the century into which DuckDB's `%y` places two-digit years."""


@dataclass(frozen=True)
class DateStyle:
    """The formats in which a column's dates are written.

    `formats` parse all, or nearly all, of its values. For digits-only formats, `order` is their order, and `other` is
    another order that parses the values equally well. Two-digit years are in the hundred years from `first_year`.
    A format is one of `FORMATS`, `IN_LANGUAGES`, EXCEL and EXCEL_1904.
    """

    formats: tuple[str, ...]
    order: str | None = None
    other: str | None = None
    first_year: int = FIRST_OF_TWO_DIGITS

    @property
    def pattern(self) -> str:
        """A regular expression of the values, valid in Python and DuckDB."""
        return f"({'|'.join(dict.fromkeys(map(shape, self.formats)))})"

    @property
    def examples(self) -> list[str]:
        """An example date in each of the formats."""
        return [_example(form) for form in self.formats]

    @property
    def language(self) -> str | None:
        """The language of the month names, None for English."""
        return next((language for form in self.formats if (language := _parts(form)[0])), None)

    @property
    def two_digits(self) -> tuple[str, ...]:
        return tuple(form for form in self.formats if "%y" in form)

    def sql(self, text: str) -> str:
        """SQL that parses the text as a timestamp (in UTC if it has an offset); null if it is not a date."""
        read: list[str] = []
        zoned = tuple(form for form in self.formats if "%z" in form)
        for language in dict.fromkeys(_parts(form)[0] for form in self.formats):
            forms = [
                form for form in self.formats if _parts(form)[0] == language and form not in (*zoned, *EXCEL_RANGES)
            ]
            moved = [form for form in forms if "%y" in form and self.first_year != FIRST_OF_TWO_DIGITS]
            # DuckDB's %Y would read 19 as the year 19: formats with %y come first.
            plain = sorted((form for form in forms if form not in moved), key=lambda form: "%Y" in form)
            value = month_names.in_english(text, language) if language else text
            read += [_century(_strptime(value, moved), self.first_year)] if moved else []
            read += [_strptime(value, plain)] if plain else []
        # Parsed in one list with formats that have no offset, these would be in the machine's time zone.
        read += [f"timezone('UTC', {_strptime(text, zoned)})"] if zoned else []
        read += [_excel(text, form) for form in self.formats if form in EXCEL_RANGES]
        return read[0] if len(read) == 1 else f"coalesce({', '.join(read)})"


@dataclass(frozen=True)
class ConflictingOrders:
    """Two values of a column, each of which fits one date order only: the column has no date style."""

    order: str
    value: str
    other_order: str
    other_value: str

    def __str__(self) -> str:
        return f"{self.value!r} is written {self.order}, {self.other_value!r} {self.other_order}"


@cache
def shape(form: str) -> str:
    """A regular expression of the texts that a format is meant for: `strptime` accepts more."""
    if form in EXCEL_RANGES:
        return "[0-9]{1,7}([.,][0-9]+)?"
    language, plain = _parts(form)
    # Without separators, days and months have two digits.
    number = "[0-9]{2}" if plain.startswith("%Y%m") else "[0-9]{1,2}"
    if not language:
        return _shape(plain, number, _SHAPES)
    day, _, time = plain.partition(" %H")
    found = _shape(day, number, _SHAPES | {"%b": month_names.pattern(language), " ": month_names.SEPARATOR})
    return f"{found} {_shape(f'%H{time}', number, _SHAPES)}" if time else f"{found}[.]?"


def _shape(plain: str, number: str, shapes: Mapping[str, str]) -> str:
    parts = re.findall("%.| |[^% ]+", plain)
    return "".join(shapes.get(part, number if part.startswith("%") else part.replace(".", "[.]")) for part in parts)


def is_format(form: str) -> bool:
    """Whether the date format is supported."""
    return form in (*FORMATS, *EXCEL_RANGES) or form in IN_LANGUAGES.get(_parts(form)[0], ())


def _parts(form: str) -> tuple[str, str]:
    """The language of a format (empty for English), and its `strptime` pattern."""
    language, _, plain = form.partition(" ")
    return (language, plain) if language in IN_LANGUAGES else ("", form)


def _example(form: str) -> str:
    """An example date in the format."""
    if form in EXCEL_RANGES:
        *_, (_, _, base) = EXCEL_RANGES[form]
        return str((_EXAMPLE.date() - date.fromisoformat(base)).days)
    language, plain = _parts(form)
    return _EXAMPLE.strftime(plain.replace("%b", month_names.MONTHS[language][4][0]) if language else plain)


def _excel(text: str, form: str) -> str:
    """SQL of the timestamp of an Excel serial date, to the second; null outside its range."""
    days = f"try_cast(replace({text}, ',', '.') as double)"
    cases = (
        f"when {days} >= {first} and {days} < {end} then timestamp '{base}' + to_seconds(round({days} * 86400)::bigint)"
        for first, end, base in EXCEL_RANGES[form]
    )
    return f"case {' '.join(cases)} end"


def detect_date_style(
    con: duckdb.DuckDBPyConnection, values: str, prefer: str | None = None
) -> DateStyle | ConflictingOrders | None:
    """The date style of the distinct texts in column `v` of a SELECT, some of which may be other text; None if none is
    a date. If two orders parse the values equally well, the chosen one has the dates in fewer years or all on
    one day of the month; otherwise it is `prefer`."""
    sample = [v for (v,) in con.execute(f"SELECT v FROM ({values}) ORDER BY hash(v) LIMIT {_SAMPLE}").fetchall()]
    language = month_names.language_of(sample)
    forms = (*FORMATS, *IN_LANGUAGES.get(language or "", ()))
    candidates = [form for form in forms if any(re.fullmatch(shape(form), v) for v in sample)]
    if not candidates:
        return None
    con.execute(f"CREATE OR REPLACE TEMP TABLE _dates AS SELECT {_columns(candidates)} FROM ({values})")
    try:
        return _style_of(con, candidates, prefer)
    finally:
        con.execute("DROP TABLE _dates")


def excel_days(con: duckdb.DuckDBPyConnection, values: str) -> tuple[str, date] | None:
    """The smallest of the texts in column `v` of a SELECT and its date, if all may be Excel serial dates
    (within EXCEL_DAYS); None otherwise."""
    number, (first, last) = "try_cast(replace(v, ',', '.') AS double)", EXCEL_DAYS
    found = _row(
        con,
        f"SELECT bool_and(regexp_full_match(v, {sql_text(shape(EXCEL))}) AND {number} BETWEEN {first} AND {last}), "
        f"min(v), cast({_excel('min(v)', EXCEL)} AS date) FROM ({values}) WHERE v <> ''",
    )
    return (found[1], found[2]) if found[0] else None


def _columns(candidates: Sequence[str]) -> str:
    """SQL of the value, and of its date in each candidate format; `%y` as DuckDB reads it."""
    read = [
        f"CASE WHEN regexp_full_match(v, {sql_text(shape(form))}) THEN {DateStyle((form,)).sql('v')} END AS _{n}"
        for n, form in enumerate(candidates)
    ]
    return ", ".join(["v", *read])


def _style_of(
    con: duckdb.DuckDBPyConnection, candidates: Sequence[str], prefer: str | None
) -> DateStyle | ConflictingOrders | None:
    counts = _row(con, f"SELECT {', '.join(f'count(_{n})' for n in range(len(candidates)))} FROM _dates")
    reads = {form: (f"_{n}", count) for n, (form, count) in enumerate(zip(candidates, counts, strict=True)) if count}
    if not reads:
        return None
    anywhere = [form for form in reads if not any(form in forms for forms in _IN_ORDER.values())]
    orders = {order: forms for order in ORDERS if (forms := [form for form in reads if form in _IN_ORDER[order]])}
    order, other = None, None
    if orders:
        seen = {name: _date_counts(con, [reads[form][0] for form in forms]) for name, forms in orders.items()}
        ranked = sorted(orders, key=lambda name: -seen[name]["n"])
        order = ranked[0]
        several = (
            f"SELECT count(*) FROM _dates WHERE {_any(reads[form][0] for forms in orders.values() for form in forms)}"
        )
        all_in_order = _row(con, several)[0]
        if seen[order]["n"] < (1 - _RARE) * all_in_order:
            return _disagreement(con, orders, ranked, reads)
        equal = [name for name in ranked if seen[name]["n"] == seen[order]["n"]]
        order, other = _likeliest_order(seen, equal, prefer)
    chosen = [*anywhere, *(orders[order] if order else [])]
    chosen.sort(key=lambda form: -reads[form][1])
    found = DateStyle(_without_redundant(con, chosen, reads), order, other)
    if not found.two_digits:
        return found
    read = f"coalesce({', '.join(reads[form][0] for form in found.two_digits)})"
    years = {
        year
        for (year,) in con.execute(
            f"SELECT DISTINCT year({read}) % 100 FROM _dates WHERE {read} IS NOT NULL"
        ).fetchall()
    }
    return replace(found, first_year=_first_year(years, int(_row(con, "SELECT year(current_date)")[0])))


def _date_counts(con: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> dict[str, int]:
    """For the dates in one order: their number, the years they span, and the number of distinct days of the month."""
    read = f"coalesce({', '.join(columns)})"
    n, years, days = _row(
        con,
        f"SELECT count({read}), max(year({read})) - min(year({read})), count(DISTINCT day({read})) FROM _dates",
    )
    return {"n": n, "years": years, "days": days}


def _likeliest_order(
    seen: Mapping[str, Mapping[str, int]], equal: Sequence[str], prefer: str | None
) -> tuple[str, str | None]:
    """The likeliest of orders that parse the same values, and the runner-up unless it is far less likely."""
    least = min(seen[name]["years"] for name in equal)
    close = [name for name in ORDERS if name in equal and seen[name]["years"] <= 2 * least + 2]
    # A column of months gives their first (or last) days.
    close.sort(key=lambda name: (seen[name]["n"] > 2 and seen[name]["days"] != 1, name != prefer))
    return close[0], next(iter(close[1:]), None)


def _without_redundant(
    con: duckdb.DuckDBPyConnection, chosen: Sequence[str], reads: Mapping[str, tuple[str, int]]
) -> tuple[str, ...]:
    """The formats, except those whose values are all parsed by an earlier one."""
    kept: list[str] = []
    for form in chosen:
        more = f"{reads[form][0]} IS NOT NULL"
        if kept:
            more += f" AND NOT ({_any(reads[known][0] for known in kept)})"
        if _row(con, f"SELECT count(*) FROM _dates WHERE {more}")[0]:
            kept.append(form)
    return tuple(kept)


def _disagreement(
    con: duckdb.DuckDBPyConnection,
    orders: Mapping[str, Sequence[str]],
    ranked: Sequence[str],
    reads: Mapping[str, tuple[str, int]],
) -> ConflictingOrders:
    first, second = (_any(reads[form][0] for form in orders[name]) for name in ranked[:2])

    def only(one: str, not_other: str) -> str:
        return str(_row(con, f"SELECT min(v) FROM _dates WHERE {one} AND NOT ({not_other})")[0])

    return ConflictingOrders(ranked[0], only(first, second), ranked[1], only(second, first))


def _first_year(years: Collection[int], today: int) -> int:
    """The first of the hundred years for two-digit years: DuckDB's, unless that splits a run of years, such as births
    from 1955 to 2005. Then the century begins in the middle of the longest gap between years, as late as possible with
    the first year present not after `today`."""
    ordered = sorted(years)
    gaps = [(after - before, before) for before, after in zip(ordered, [*ordered[1:], ordered[0] + 100], strict=True)]
    gap, before = max(gaps)
    first = (before + gap) % 100
    century = (today - first) // 100 * 100
    begins, last = century + first, century + first + 100 - gap
    if begins >= FIRST_OF_TWO_DIGITS or last < FIRST_OF_TWO_DIGITS:
        return FIRST_OF_TWO_DIGITS
    return last - 99 + gap // 2


def _century(read: str, first_year: int) -> str:
    """SQL that moves `%y` dates into the hundred years from `first_year`."""
    if first_year < FIRST_OF_TWO_DIGITS:
        return f"(case when year({read}) > {first_year + 99} then {read} - interval 100 year else {read} end)"
    return f"(case when year({read}) < {first_year} then {read} + interval 100 year else {read} end)"


def _strptime(text: str, formats: Sequence[str]) -> str:
    listed = ", ".join(sql_text(_parts(form)[1]) for form in formats)
    return f"try_strptime({text}, {listed if len(formats) == 1 else f'[{listed}]'})"


def _any(columns: Iterable[str]) -> str:
    return " OR ".join(f"{column} IS NOT NULL" for column in columns)


def _row(con: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    return con.execute(query).fetchall()[0]
