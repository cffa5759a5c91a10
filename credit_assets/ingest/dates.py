"""Dates written as text: the formats that are read, which of them a column is written in, and the SQL that reads it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import duckdb

from credit_assets.lake.tables import sql_text

# Numbers alone, in an order that lands differ on: 04/05/19 is a day in April, in May, or of 2004.
ORDERS: Mapping[str, Sequence[str]] = {
    "day first": ("%d/%m/%y", "%d/%m/%Y", "%d-%m-%y", "%d-%m-%Y"),
    "month first": ("%m/%d/%y", "%m/%d/%Y", "%m-%d-%y", "%m-%d-%Y"),
    "year first": ("%y/%m/%d", "%y-%m-%d"),
}
DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%y", "%d.%m.%Y"),
    *("%d-%b-%y", "%d-%b-%Y", "%d %b %y", "%d %b %Y", "%d/%b/%y", "%d/%b/%Y", "%d%b%y", "%d%b%Y"),
    *("%d %B %Y", "%b %d, %Y", "%B %d, %Y"),
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
        return [_EXAMPLE.strftime(form) for form in self.formats]

    @property
    def two_digits(self) -> tuple[str, ...]:
        return tuple(form for form in self.formats if "%y" in form)

    def sql(self, text: str) -> str:
        """SQL of the text as a timestamp (in UTC, where it has an offset); null where it is no date."""
        moved = self.two_digits if self.first_year != FIRST_OF_TWO_DIGITS else ()
        zoned = tuple(form for form in self.formats if "%z" in form)
        # DuckDB's %Y would read 19 as the year 19: formats with %y come first.
        plain = tuple(
            sorted((form for form in self.formats if form not in (*moved, *zoned)), key=lambda form: "%Y" in form)
        )
        read = [_century(_strptime(text, moved), self.first_year)] if moved else []
        read += [_strptime(text, plain)] if plain else []
        # Read along with formats without an offset, these would be times of this machine's zone.
        read += [f"timezone('UTC', {_strptime(text, zoned)})"] if zoned else []
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
    # Without signs between them, days and months have two digits.
    number = "[0-9]{2}" if form.startswith("%Y%m") else "[0-9]{1,2}"
    return "".join(
        _SHAPES.get(part, number) if part.startswith("%") else part.replace(".", "[.]")
        for part in re.findall("%.|[^%]+", form)
    )


def reading_of(con: duckdb.DuckDBPyConnection, values: str, prefer: str | None = None) -> Reading | Disagreement | None:
    """How the texts in column `v` of a SELECT, each of which comes once, are written as dates; None where not one of
    them is a date. Others among them may be none. Of two orders that read them equally well, it is the one of which
    all dates are in fewer years or on one day of the month, else the one that the caller would `prefer`."""
    sample = [v for (v,) in con.execute(f"SELECT v FROM ({values}) ORDER BY hash(v) LIMIT {_SAMPLE}").fetchall()]
    candidates = [form for form in FORMATS if any(re.fullmatch(shape(form), v) for v in sample)]
    if not candidates:
        return None
    con.execute(f"CREATE OR REPLACE TEMP TABLE _dates AS SELECT {_columns(candidates)} FROM ({values})")
    try:
        return _reading(con, candidates, prefer)
    finally:
        con.execute("DROP TABLE _dates")


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
    anywhere = [form for form in reads if form in _ANY_ORDER]
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
    listed = ", ".join(map(sql_text, formats))
    return f"try_strptime({text}, {listed if len(formats) == 1 else f'[{listed}]'})"


def _any(columns: Iterable[str]) -> str:
    return " OR ".join(f"{column} IS NOT NULL" for column in columns)


def _row(con: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    return con.execute(query).fetchall()[0]
