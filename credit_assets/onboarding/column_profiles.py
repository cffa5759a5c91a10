"""Profiles the columns of a view: the kind of each, and how many of its values have each form.

Numbers are profiled further in `number_columns.py`, dates in `date_columns.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import duckdb

from credit_assets.lake.connections import one_row
from credit_assets.lake.contracts import shorten
from credit_assets.lake.sql import identifier, sql_text
from credit_assets.onboarding import numbers
from credit_assets.onboarding.date_columns import profile_dates, resolve_ambiguous_dates
from credit_assets.onboarding.files import EMPTY, FEW_VALUES, FRACTION, TEXT, WHOLE, Column
from credit_assets.onboarding.number_columns import (
    BY_COMMA,
    BY_POINT,
    INEXACT_FROM,
    are_identifiers,
    is_known,
    profile_numbers,
)
from credit_assets.plurals import number_of

COLUMNS_PER_QUERY = 8

SHORTENED = r"[0-9]([.,][0-9]+)?E[+][0-9]{2,3}"
"""A long number as a spreadsheet displays and saves it."""

FORMULA = r' *="[^"]*" *'
"""A formula that stops a spreadsheet from changing a value."""


def profile_columns(
    con: duckdb.DuckDBPyConnection, view: str, declared: dict[str, str]
) -> tuple[int, dict[str, Column]]:
    """The number of rows and the profile of each column; `declared` has the kinds of a Parquet file, empty for CSV."""
    counted = _count_forms(con, view, declared)
    any_comma = any(forms.get("comma_alone", 0) for forms in counted.values())
    for forms in counted.values():
        forms["by_comma"] = _by_comma(forms, any_comma)
    about = ", ".join(f"approx_count_distinct({identifier(name)})" for name in declared)
    rows, *distincts = one_row(con, f"SELECT count(*), {about} FROM {view}")
    columns = {}
    for name, distinct in zip(declared, distincts, strict=True):
        forms, filled = counted[name], int(counted[name]["filled"])
        kind = (declared[name] or _kind_of_text(forms)) if filled else EMPTY
        if filled == rows and 2 * distinct >= rows:
            distinct = int(one_row(con, f"SELECT count(DISTINCT {identifier(name)}) FROM {view}")[0])
        column = Column(name, kind, rows, filled, distinct, float(forms["length"] or 0), declared[name])
        if filled and distinct <= 2 * FEW_VALUES:
            counts = _value_counts(con, view, column)
            column = replace(column, value_counts=counts if len(counts) <= FEW_VALUES else None, distinct=len(counts))
        column = replace(column, doubts=tuple(_spreadsheet_damage(con, view, column, forms)))
        columns[name] = profile_dates(con, view, profile_numbers(con, view, column, forms))
    return rows, resolve_ambiguous_dates(con, view, columns)


def _spreadsheet_damage(
    con: duckdb.DuckDBPyConnection, view: str, column: Column, forms: Mapping[str, Any]
) -> Iterator[str]:
    """Doubts about values that a spreadsheet has changed."""
    for name, pattern, effect in (
        (
            "shortened",
            SHORTENED,
            "is how a spreadsheet saves a long number: its last digits are lost. Export them as text",
        ),
        (
            "formula",
            FORMULA,
            "is a formula of a spreadsheet, not its value. Export the value alone",
        ),
    ):
        if count := forms.get(name, 0):
            [example] = one_row(
                con, f"SELECT min({column.sql}) FROM {view} WHERE regexp_full_match({column.sql}, {sql_text(pattern)})"
            )
            yield f"{number_of(count, 'value')} such as {shorten(str(example))!r}, which {effect}"


def _by_comma(forms: Mapping[str, Any], others_by_comma: bool) -> bool:
    """Whether a column's numbers have a decimal comma. Ambiguous numbers, such as 1,234 or 1.234, are read like the
    other columns of their table."""
    comma, point = forms.get("comma_alone", 0), forms.get("point_alone", 0)
    return comma > point or (comma == point and others_by_comma and bool(forms.get("either")))


def _count_forms(con: duckdb.DuckDBPyConnection, view: str, declared: dict[str, str]) -> dict[str, dict[str, Any]]:
    """For each column, the number of rows with a value. For text also the mean length and, among the values that do not
    stand for "not known", how many are plain numbers, whole numbers, have leading zeros, are too long to be exact,
    can be read with a decimal point or a decimal comma, with one of them only, or with both."""
    plain = f"(regexp_full_match({{0}}, '{numbers.PLAIN}') AND isfinite(try_cast({{0}} AS double)))"
    whole = f"regexp_full_match({{0}}, '{numbers.WHOLE}')"
    point, comma = (f"regexp_full_match({{0}}, {sql_text(pattern)})" for pattern in (BY_POINT, BY_COMMA))
    of_text = {
        "real": "true",
        "plain": plain,
        "whole": whole,
        "zeros": f"regexp_full_match({{0}}, '{numbers.LEADING_ZERO}')",
        "long": f"{whole} AND abs(try_cast({{0}} AS double)) >= {INEXACT_FROM}",
        "point": point,
        "comma": comma,
        "point_alone": f"contains({{0}}, '.') AND {point} AND NOT {comma}",
        "comma_alone": f"contains({{0}}, ',') AND {comma} AND NOT {point}",
        "shortened": f"regexp_full_match({{0}}, {sql_text(SHORTENED)})",
        "formula": f"regexp_full_match({{0}}, {sql_text(FORMULA)})",
        "either": f"(contains({{0}}, ',') OR contains({{0}}, '.')) AND {point} AND {comma}",
    }
    counted: dict[str, dict[str, Any]] = {}
    names = list(declared)
    # The time to plan a query grows with the square of its expressions, of which a column has a dozen.
    for start in range(0, len(names), COLUMNS_PER_QUERY):
        some = {name: declared[name] for name in names[start : start + COLUMNS_PER_QUERY]}
        counted |= _count_in_one_query(con, view, some, of_text)
    return counted


def _count_in_one_query(
    con: duckdb.DuckDBPyConnection, view: str, declared: Mapping[str, str], of_text: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """The counts of the columns; `of_text` has the conditions on the value {0} of a text column."""
    queried: dict[tuple[str, str], str] = {}
    for name, kind in declared.items():
        column = identifier(name)
        queried[name, "filled"] = f"count({column})"
        queried[name, "length"] = f"avg(length({column}))" if kind in ("", TEXT) else "0"
        if kind in ("", TEXT):
            known = is_known(column)
            queried |= {
                (name, what): f"count(*) FILTER ({known} AND {condition.replace('{0}', column)})"
                for what, condition in of_text.items()
            }
    counted: dict[str, dict[str, Any]] = {name: {} for name in declared}
    for (name, what), value in zip(
        queried, one_row(con, f"SELECT {', '.join(queried.values())} FROM {view}"), strict=True
    ):
        counted[name][what] = value
    return counted


def _kind_of_text(forms: Mapping[str, Any]) -> str:
    """The kind of a CSV column."""
    if forms["plain"] < forms["filled"] or forms["by_comma"] or are_identifiers(forms, unique=False):
        return TEXT
    return WHOLE if forms["whole"] == forms["filled"] and not forms["long"] else FRACTION


def _value_counts(con: duckdb.DuckDBPyConnection, view: str, column: Column) -> dict[str, int]:
    counted = con.execute(
        f"SELECT cast({column.sql} AS varchar), count(*) FROM {view} WHERE {column.sql} IS NOT NULL "
        f"GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {2 * FEW_VALUES + 1}"
    ).fetchall()
    return dict(counted)
