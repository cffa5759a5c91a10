"""Profiles columns of numbers: how text is read as numbers, their range, codes for missing values, and outliers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import duckdb

from credit_assets.lake.connections import one_row
from credit_assets.lake.contracts import shorten
from credit_assets.lake.sql import sql_text
from credit_assets.onboarding import column_names, numbers
from credit_assets.onboarding.files import FEW_VALUES, FRACTION, NEARLY_ALL, TEXT, WHOLE, Column
from credit_assets.onboarding.wording import alternatives, count_as
from credit_assets.plurals import number_of

REPORTED_SHARE = 0.5
"""From this share of values that parse as numbers or dates, a doubt reports that the column is not read as such."""

INEXACT_FROM = 2**53
MAX_NUMBER = 1e100
"""Numbers of this size or more are errors; sums of them may be infinite."""

OUTLIER = 1e12
OUTLIER_RATIO = 1e6
"""A number of at least OUTLIER that is OUTLIER_RATIO times the 99th percentile of the others is reported."""

MAX_IDENTIFIER_SHARE = 0.01
"""Up to this share of values with leading zeros, or too many digits to be exact, a column still counts as numbers."""

BY_POINT, BY_COMMA = numbers.pattern(comma=False), numbers.pattern(comma=True)

NO_RESULT = (
    *("inf", "+inf", "-inf", "infinity", "+infinity", "-infinity", "∞", "-∞"),
    *("#div/0!", "#num!", "#value!", "#ref!", "#name?", "#null!"),
)
"""Values that programs write if a calculation has no result."""

SENTINELS = (-1, -7, -8, -9, -99, -999, -9999, 96, 97, 98, 99, 999, 9999, 99999, 999999, 9999999, 365243)
"""Numbers that often stand for "not known"."""

MIN_ROWS_OF_SENTINEL = 5
"""Minimum number of rows with a number far from all others for it to be taken for such a code."""


def is_known(text: str) -> str:
    """SQL condition that the text is not null and does not stand for "not known"."""
    missing = ", ".join(map(sql_text, (*column_names.MISSING, *NO_RESULT)))
    return f"({text} IS NOT NULL AND lower(trim({text})) NOT IN ({missing}))"


def are_identifiers(forms: Mapping[str, Any], unique: bool) -> bool:
    """Whether numbers are identifiers: they have leading zeros, or are too long to be exact."""
    odd = max(forms["zeros"], forms["long"])
    return bool(odd) and (unique or odd > MAX_IDENTIFIER_SHARE * forms["real"])


def profile_numbers(con: duckdb.DuckDBPyConnection, view: str, column: Column, forms: dict[str, Any]) -> Column:
    """The column with the profile of its numbers, if it has any; `forms` counts the forms of its texts."""
    if column.kind in (WHOLE, FRACTION):
        column = replace(column, number=column.sql)
    elif column.kind == TEXT and not are_identifiers(forms, column.unique):
        column = _read_numbers_in_text(con, view, column, forms)
    if not column.number:
        return column
    listed = ", ".join(map(str, SENTINELS))
    value = f"try_cast({column.number} AS double)"
    plausible = f"(SELECT v FROM (SELECT {value} AS v FROM {view}) WHERE abs(v) < {MAX_NUMBER})"
    low, high, codes, whole = one_row(
        con,
        f"SELECT min(v) FILTER (v NOT IN ({listed})), max(v) FILTER (v NOT IN ({listed})), "
        f"histogram(try_cast(v AS bigint)) FILTER (v IN ({listed})), "
        f"bool_and(v = trunc(v) AND abs(v) < {INEXACT_FROM}) FROM {plausible}",
    )
    column = replace(column, whole=bool(whole))
    [extremes] = one_row(con, f"SELECT count(*) FROM (SELECT {value} AS v FROM {view}) WHERE NOT abs(v) < {MAX_NUMBER}")
    if extremes:
        doubt = f"{number_of(extremes, 'value')} beyond {MAX_NUMBER:g} {count_as(extremes)} not known"
        number = f"case when abs({value}) < {MAX_NUMBER:g} then {column.number} end"
        column = replace(column, number=number, extremes=extremes, doubts=(*column.doubts, doubt))
    if low is None and not codes:
        return replace(column, number=None)
    if low is None:
        return replace(column, low=min(codes), high=max(codes))
    column = replace(column, doubts=(*column.doubts, *_outlier_doubts(con, plausible, low, high)))
    sentinels = {
        code: rows
        for code, rows in sorted((codes or {}).items())
        if rows >= MIN_ROWS_OF_SENTINEL and _is_far_from(code, low, high)
    }
    others = [low, high, *(code for code in codes or () if code not in sentinels)]
    return replace(column, low=min(others), high=max(others), sentinels=sentinels)


def _outlier_doubts(con: duckdb.DuckDBPyConnection, source: str, low: float, high: float) -> Iterator[str]:
    """A doubt about the largest number, if it is so far from the others that it may be a typing error."""
    farthest = high if high >= -low else low
    if abs(farthest) < OUTLIER:
        return
    usual = max(
        one_row(con, f"SELECT quantile_disc(abs(v), 0.99) FROM {source} WHERE abs(v) < {abs(farthest)!r}")[0] or 0, 1
    )
    if abs(farthest) >= OUTLIER_RATIO * usual:
        times = f"{abs(farthest) / usual:.0e}"
        yield f"{farthest:g} is {times} times the 99th percentile of the others; correct it if it is a typing error"


def _is_far_from(value: int, low: float, high: float) -> bool:
    """Whether the value is further from the others than they are from each other, or is the only one below zero."""
    spread = max(high - low, 1)
    return value > high + spread or value < low - spread or value < 0 <= low


def _read_numbers_in_text(
    con: duckdb.DuckDBPyConnection, view: str, column: Column, forms: Mapping[str, Any]
) -> Column:
    """The column with SQL that reads numbers in text (`13.5%`, `$1,200`, `13,5`, `(7)`), if nearly all values are
    numbers; a doubt shows the first value that is not."""
    name = column.sql
    by_comma = forms["by_comma"]
    plain = not by_comma and forms["plain"] >= forms["point"]
    read = forms["comma" if by_comma else "plain" if plain else "point"]
    real = forms["real"]
    if not real or read < REPORTED_SHARE * real:
        return column
    form = BY_COMMA if by_comma else BY_POINT
    is_read = f"regexp_full_match({name}, {sql_text(numbers.PLAIN if plain else form)})"
    if plain:
        is_read += f" AND isfinite(try_cast({name} AS double))"
    other = f"{is_known(name)} AND NOT ({is_read})"
    doubts: tuple[str, ...] = ()
    if read < real:
        [first] = one_row(con, f"SELECT {name} FROM {view} WHERE {other} LIMIT 1")
        odd = f"{number_of(real - read, 'value')} of {real:,}, first {shorten(str(first))!r},"
        if read < NEARLY_ALL * real:
            are = "are not numbers" if real - read > 1 else "is not a number"
            return replace(column, doubts=(*column.doubts, f"{odd} {are}, so the values are not read as numbers"))
        verbs = "are not numbers and count" if real - read > 1 else "is not a number and counts"
        doubts = (f"{odd} {verbs} as not known",)
    errors = ", ".join(map(sql_text, NO_RESULT))
    [no_result, example] = one_row(
        con, f"SELECT count(*), min({name}) FROM {view} WHERE lower(trim({name})) IN ({errors})"
    )
    if no_result:
        doubts += (f"{number_of(no_result, 'value')} such as {example!r} {count_as(no_result)} not known",)
    others = con.execute(
        f"SELECT DISTINCT {name} FROM {view} WHERE {name} IS NOT NULL AND NOT ({is_read} AND {is_known(name)}) "
        f"ORDER BY 1 LIMIT {FEW_VALUES + 1}"
    ).fetchall()
    words = [word for (word,) in others if word.strip()]
    # Texts of blanks alone are missing values.
    blanks = "|\\s*" if len(words) < len(others) else ""
    seen = _signs(con, view, name, f"{is_read} AND {is_known(name)}")
    pattern = numbers.pattern(by_comma, seen)
    number = f"try_cast({name} as double)" if plain else numbers.value(name, by_comma, seen)
    doubts = (*column.doubts, *doubts, *_mixed_signs(con, view, column))
    allowed = f"({pattern}{''.join(f'|{re.escape(word)}' for word in words)}{blanks})$"
    unmatched = f"{name} IS NOT NULL AND NOT regexp_full_match({name}, {sql_text(allowed)})"
    if len(words) > FEW_VALUES or one_row(con, f"SELECT count(*) FROM {view} WHERE {unmatched}")[0]:
        # No contract restricts the text to a pattern, so the SQL must give null for other texts.
        guard = f"abs({number}) < {MAX_NUMBER:g}" if plain else f"regexp_full_match({name}, {sql_text(pattern)})"
        return replace(column, number=f"case when {guard} then {number} end", doubts=doubts)
    if words:
        number = f"case when {name} not in ({', '.join(map(sql_text, words))}) then {number} end"
    described = alternatives(f"a number such as {numbers.example(by_comma, seen)}", words)
    return replace(column, number=number, missing=tuple(words), pattern=allowed, pattern_text=described, doubts=doubts)


def _signs(con: duckdb.DuckDBPyConnection, view: str, column: str, condition: str) -> set[str]:
    """All characters but digits in the texts of the column that meet the condition."""
    signs = f"unnest(string_split(regexp_replace({column}, '[0-9]', '', 'g'), ''))"
    return {sign for (sign,) in con.execute(f"SELECT DISTINCT {signs} FROM {view} WHERE {condition}").fetchall()}


def _mixed_signs(con: duckdb.DuckDBPyConnection, view: str, column: Column) -> Iterator[str]:
    """Doubts about a column in which some numbers have a percent or currency sign and others have none."""
    for sign in "%$€£¥₹":
        has = f"contains({column.sql}, '{sign}')"
        number = f"regexp_matches({column.sql}, '[1-9]')"
        with_sign, others = one_row(
            con, f"SELECT count(*) FILTER ({has}), count(*) FILTER (NOT {has} AND {number}) FROM {view}"
        )
        if with_sign and others:
            with_it = number_of(with_sign, "value")
            yield f"{sign} is in {with_it} and missing in {others:,}; all are read as they are"
