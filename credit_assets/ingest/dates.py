"""Dates written as text: the formats that are read, which of them a column is written in, and the SQL that reads it."""

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

# Numbers alone, in an order that lands differ on: 04/05/19 is a day in April, in May, or of 2004.
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
"""Every format that dates are read in, as DuckDB's strptime has it."""

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
"""Formats with a month's name in another language, which stand after its name. `%b` is the full or the abbreviated
name; a blank stands for any of the usual signs between the parts."""

EXCEL, EXCEL_1904 = "Excel 1900", "Excel 1904"
"""Days as Excel counts them, where 1 is the 1st of January 1900; and in workbooks whose day 0 is that of 1904. Numbers
are read so only where somebody says that they are dates: they may be anything."""

EXCEL_RANGES = {
    EXCEL: ((1, 60, "1899-12-31"), (61, 2_958_466, "1899-12-30")),
    EXCEL_1904: ((0, 2_957_004, "1904-01-01"),),
}
"""From which day, and before which, they are counted from what. Excel's day 60 is a 29th of February 1900, which there
was not."""

EXCEL_DAYS = (10_000, 60_000)
"""Days of the years 1927 to 2064: numbers beyond them are rarely meant as dates."""

EXAMPLES = "2019-05-31, 31.05.2019, 05/31/2019, 31-May-19, May-2019 or 2019-05-31 10:30:00"

_SHAPES = {"%Y": "[0-9]{4}", "%b": "[A-Za-z]{3}", "%B": "[A-Za-z]{3,9}", "%f": "[0-9]{1,6}", "%p": "[AaPp][Mm]"}
_SHAPES |= {"%z": "[+-][0-9]{2}(:?[0-9]{2})?", "%y": "[0-9]{2}"}
_EXAMPLE = datetime(2019, 5, 31, 10, 30, tzinfo=UTC)
_SAMPLE = 1000
_RARE = 0.01
FIRST_OF_TWO_DIGITS = 1969
"""The first year of the hundred that DuckDB's `%y` reads years of two digits in."""


@dataclass(frozen=True)
class Reading:
    """How a column writes dates.

    `formats` read its values (all, or nearly all), in `order` where they are numbers alone; `other` is another order
    that reads them just as well. `first_year` is the first of the hundred years that those of two digits are in.
    Formats may be of `IN_LANGUAGES`, EXCEL or EXCEL_1904.
    """

    formats: tuple[str, ...]
    order: str | None = None
    other: str | None = None
    first_year: int = FIRST_OF_TWO_DIGITS

    @property
    def pattern(self) -> str:
        """A regular expression of the values, as Python and DuckDB read it."""
        return f"({'|'.join(dict.fromkeys(map(shape, self.formats)))})"

    @property
    def examples(self) -> list[str]:
        """A day in each of the formats."""
        return [_example(form) for form in self.formats]

    @property
    def language(self) -> str | None:
        """The language other than English of the months' names, if there is one."""
        return next((language for form in self.formats if (language := _parts(form)[0])), None)

    @property
    def two_digits(self) -> tuple[str, ...]:
        return tuple(form for form in self.formats if "%y" in form)

    def sql(self, text: str) -> str:
        """SQL of the text as a timestamp (in UTC, where it has an offset); null where it is no date."""
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
        # Read along with formats without an offset, these would be times of this machine's zone.
        read += [f"timezone('UTC', {_strptime(text, zoned)})"] if zoned else []
        read += [_excel(text, form) for form in self.formats if form in EXCEL_RANGES]
        return read[0] if len(read) == 1 else f"coalesce({', '.join(read)})"


@dataclass(frozen=True)
class Disagreement:
    """Values of one column of which each can be read in one order only: it has no reading."""

    order: str
    value: str
    other_order: str
    other_value: str

    def __str__(self) -> str:
        return f"{self.value!r} is written {self.order}, {self.other_value!r} {self.other_order}"


@cache
def shape(form: str) -> str:
    """A regular expression of the texts that a format is meant for: strptime alone takes more."""
    if form in EXCEL_RANGES:
        return "[0-9]{1,7}([.,][0-9]+)?"
    language, plain = _parts(form)
    # Without signs between them, days and months have two digits.
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
    """Whether dates are read in the format."""
    return form in (*FORMATS, *EXCEL_RANGES) or form in IN_LANGUAGES.get(_parts(form)[0], ())


def _parts(form: str) -> tuple[str, str]:
    """The language of a format, empty for English, and the format as strptime has it."""
    language, _, plain = form.partition(" ")
    return (language, plain) if language in IN_LANGUAGES else ("", form)


def _example(form: str) -> str:
    """A day in the format."""
    if form in EXCEL_RANGES:
        *_, (_, _, base) = EXCEL_RANGES[form]
        return str((_EXAMPLE.date() - date.fromisoformat(base)).days)
    language, plain = _parts(form)
    return _EXAMPLE.strftime(plain.replace("%b", month_names.MONTHS[language][4][0]) if language else plain)


def _excel(text: str, form: str) -> str:
    """SQL of the time that Excel shows for a number of days, to the second; null where it shows none."""
    days = f"try_cast(replace({text}, ',', '.') as double)"
    cases = (
        f"when {days} >= {first} and {days} < {end} then timestamp '{base}' + to_seconds(round({days} * 86400)::bigint)"
        for first, end, base in EXCEL_RANGES[form]
    )
    return f"case {' '.join(cases)} end"


def reading_of(con: duckdb.DuckDBPyConnection, values: str, prefer: str | None = None) -> Reading | Disagreement | None:
    """How the texts in column `v` of a SELECT, each of which comes once, are written as dates; None where not one of
    them is a date. Others among them may be none. Of two orders that read them equally well, it is the one of which
    all dates are in fewer years or on one day of the month, else the one that the caller would `prefer`."""
    sample = [v for (v,) in con.execute(f"SELECT v FROM ({values}) ORDER BY hash(v) LIMIT {_SAMPLE}").fetchall()]
    language = month_names.language_of(sample)
    forms = (*FORMATS, *IN_LANGUAGES.get(language or "", ()))
    candidates = [form for form in forms if any(re.fullmatch(shape(form), v) for v in sample)]
    if not candidates:
        return None
    con.execute(f"CREATE OR REPLACE TEMP TABLE _dates AS SELECT {_columns(candidates)} FROM ({values})")
    try:
        return _reading(con, candidates, prefer)
    finally:
        con.execute("DROP TABLE _dates")


def excel_days(con: duckdb.DuckDBPyConnection, values: str) -> tuple[str, date] | None:
    """The first of the texts in column `v` of a SELECT, and the day that it is as Excel counts days, if all of them may
    be such days (EXCEL_DAYS); None otherwise."""
    number, (first, last) = "try_cast(replace(v, ',', '.') AS double)", EXCEL_DAYS
    found = _row(
        con,
        f"SELECT bool_and(regexp_full_match(v, {sql_text(shape(EXCEL))}) AND {number} BETWEEN {first} AND {last}), "
        f"min(v), cast({_excel('min(v)', EXCEL)} AS date) FROM ({values}) WHERE v <> ''",
    )
    return (found[1], found[2]) if found[0] else None


def _columns(candidates: Sequence[str]) -> str:
    """SQL of the value and, for each candidate, the date that it reads; of a %y the year as DuckDB takes it."""
    read = [
        f"CASE WHEN regexp_full_match(v, {sql_text(shape(form))}) THEN {Reading((form,)).sql('v')} END AS _{n}"
        for n, form in enumerate(candidates)
    ]
    return ", ".join(["v", *read])


def _reading(
    con: duckdb.DuckDBPyConnection, candidates: Sequence[str], prefer: str | None
) -> Reading | Disagreement | None:
    counts = _row(con, f"SELECT {', '.join(f'count(_{n})' for n in range(len(candidates)))} FROM _dates")
    reads = {form: (f"_{n}", count) for n, (form, count) in enumerate(zip(candidates, counts, strict=True)) if count}
    if not reads:
        return None
    anywhere = [form for form in reads if not any(form in forms for forms in _IN_ORDER.values())]
    orders = {order: forms for order in ORDERS if (forms := [form for form in reads if form in _IN_ORDER[order]])}
    order, other = None, None
    if orders:
        seen = {name: _seen(con, [reads[form][0] for form in forms]) for name, forms in orders.items()}
        ranked = sorted(orders, key=lambda name: -seen[name]["n"])
        order = ranked[0]
        several = (
            f"SELECT count(*) FROM _dates WHERE {_any(reads[form][0] for forms in orders.values() for form in forms)}"
        )
        all_in_order = _row(con, several)[0]
        if seen[order]["n"] < (1 - _RARE) * all_in_order:
            return _disagreement(con, orders, ranked, reads)
        equal = [name for name in ranked if seen[name]["n"] == seen[order]["n"]]
        order, other = _likelier(seen, equal, prefer)
    chosen = [*anywhere, *(orders[order] if order else [])]
    chosen.sort(key=lambda form: -reads[form][1])
    found = Reading(_fewest(con, chosen, reads), order, other)
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


def _seen(con: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> dict[str, int]:
    """Of the dates in one order: how many there are, over how many years, on how many days of the month."""
    read = f"coalesce({', '.join(columns)})"
    n, years, days = _row(
        con,
        f"SELECT count({read}), max(year({read})) - min(year({read})), count(DISTINCT day({read})) FROM _dates",
    )
    return {"n": n, "years": years, "days": days}


def _likelier(
    seen: Mapping[str, Mapping[str, int]], equal: Sequence[str], prefer: str | None
) -> tuple[str, str | None]:
    """The likeliest of orders that read the same values, and the next one that is not far less likely."""
    least = min(seen[name]["years"] for name in equal)
    close = [name for name in ORDERS if name in equal and seen[name]["years"] <= 2 * least + 2]
    # A column of months is written by their first (or last) days.
    close.sort(key=lambda name: (seen[name]["n"] > 2 and seen[name]["days"] != 1, name != prefer))
    return close[0], next(iter(close[1:]), None)


def _fewest(
    con: duckdb.DuckDBPyConnection, chosen: Sequence[str], reads: Mapping[str, tuple[str, int]]
) -> tuple[str, ...]:
    """The formats without those whose every value one before them reads."""
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
) -> Disagreement:
    first, second = (_any(reads[form][0] for form in orders[name]) for name in ranked[:2])

    def only(one: str, not_other: str) -> str:
        return str(_row(con, f"SELECT min(v) FROM _dates WHERE {one} AND NOT ({not_other})")[0])

    return Disagreement(ranked[0], only(first, second), ranked[1], only(second, first))


def _first_year(years: Collection[int], today: int) -> int:
    """The first of the hundred years that years of two digits are in: DuckDB's, unless it would break a run of years,
    such as births from 1955 to 2005. Then the hundred begins in the middle of the longest run of years that do not
    occur, so late that the first year that does occur is not after today's."""
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
    """SQL that moves dates of %y into the hundred years from `first_year`."""
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
