"""Finds columns with personal data (names, addresses, document numbers, places of residence) by their names and values.

Protected attributes are found in `protected_columns.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import duckdb

from credit_assets.lake.sql import sql_text
from credit_assets.onboarding import column_names
from credit_assets.onboarding.files import TEXT, WHOLE, Column, Files
from credit_assets.onboarding.wording import pattern_index

SAMPLED_ROWS = 20_000
"""The number of rows whose values are examined."""

MAX_CATEGORIES = 12
"""A column with more different values than this can identify persons or their homes."""

MAX_FLAG_VALUES = 3
"""A column called a name holds names, not flags, if it has more different values than this."""

MIN_UNIQUE_SHARE = 0.9
"""From this share of different values, a column identifies rows."""

HOME, REGION = "home", "region"

MIN_WORDS_OF_FREE_TEXT = 5
"""Number of words from which a text counts as free text; a shorter one is a name."""

VALUES = {
    "an e-mail address": r"\s*[^@\s]+@[^@\s]+[.][^@\s]+\s*",
    "an account number": r"\s*[A-Z]{2}[0-9]{2}([ ]?[A-Z0-9]{3,4}){3,8}\s*",
    "an IP address": r"\s*[0-9]{1,3}([.][0-9]{1,3}){3}\s*",
    "a key of letters and digits": r"\s*[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3,}[0-9a-fA-F]{8,}\s*",
    "a telephone number": r"\s*[+]?[0-9(][0-9 ()./-]{6,18}[0-9]\s*",
}


@dataclass(frozen=True)
class Personal:
    """Columns with personal data: `identifying` ones, each with what it seems to be; `home` with places of residence (a
    postcode or more precise), `region` with wider ones; `free_texts` with sentences."""

    identifying: dict[str, str]
    home: tuple[str, ...]
    region: tuple[str, ...]
    free_texts: frozenset[str]


def personal(con: duckdb.DuckDBPyConnection, files: Files, excluded: Collection[str]) -> Personal:
    """The columns of the files with personal data, except the `excluded` ones."""
    columns = [column for column in files.columns.values() if column.filled and column.name not in excluded]
    named = {column.name: what for column in columns if (what := _by_name(column))}
    texts = [column for column in columns if column.kind == TEXT and not column.number and not column.date]
    by_value, free_texts = _by_values(con, files, [column for column in texts if _has_many_values(column)])
    numbers = {
        column.name: "a number of fixed length that hardly repeats, like that of a document"
        for column in columns
        if column.kind == WHOLE and _hardly_repeats(column) and not column.formats and _all_of_one_length(column)
    }
    seen = numbers | by_value | {name: what for name, what in named.items() if what not in (HOME, REGION)}
    home = tuple(name for name, what in named.items() if what == HOME)
    return Personal(
        {column.name: seen[column.name] for column in columns if column.name in seen and column.name not in home},
        home,
        tuple(name for name, what in named.items() if what == REGION and name not in seen),
        frozenset(free_texts - set(named)),
    )


def _by_name(column: Column) -> str | None:
    many = _has_many_values(column)
    if pattern_index(column.name, (column_names.HOME,)) is not None and not _measures(column) and many:
        return HOME
    if pattern_index(column.name, (column_names.REGION,)) is not None and (column.number is None or many):
        return REGION
    found = (what for what, names in column_names.PERSONAL.items() if pattern_index(column.name, (names,)) is not None)
    what = next(found, None)
    enough = column.distinct > MAX_FLAG_VALUES if what == "a person's name" else many
    return f"named like {what}" if what and enough and not _measures(column) else None


def _measures(column: Column) -> bool:
    return pattern_index(column.name, (column_names.MEASURES,)) is not None


def _has_many_values(column: Column) -> bool:
    return column.distinct > MAX_CATEGORIES or 2 * column.distinct > column.filled


def _hardly_repeats(column: Column) -> bool:
    return column.distinct >= MIN_UNIQUE_SHARE * column.filled and column.distinct > MAX_CATEGORIES


def _all_of_one_length(column: Column) -> bool:
    """Whether all numbers have the same number of digits, nine or more."""
    if column.low is None or column.high is None:
        return False
    return column.low >= 10**8 and len(str(int(column.low))) == len(str(int(column.high)))


def _by_values(con: duckdb.DuckDBPyConnection, files: Files, columns: list[Column]) -> tuple[dict[str, str], set[str]]:
    """The kind of personal data that the values of texts look like, and the columns with sentences."""
    if not columns:
        return {}, set()
    selected = []
    for column in columns:
        selected += [
            f"count(*) FILTER (regexp_full_match({column.sql}, {sql_text(pattern)}))" for pattern in VALUES.values()
        ]
        selected += [f"avg(len(regexp_split_to_array(trim({column.sql}), '\\s+')))", f"count({column.sql})"]
    sampled = ", ".join(dict.fromkeys(column.sql for column in columns))
    [values] = con.execute(
        f"SELECT {', '.join(selected)} FROM (SELECT {sampled} FROM {files.view}) "
        f"USING SAMPLE {SAMPLED_ROWS} ROWS (reservoir, 1)"
    ).fetchall()
    found, free_texts = {}, set()
    width = len(VALUES) + 2
    for nth, column in enumerate(columns):
        *counts, words, filled = values[nth * width : (nth + 1) * width]
        looks = next(
            (what for what, n in zip(VALUES, counts, strict=True) if filled and n >= MIN_UNIQUE_SHARE * filled), None
        )
        if looks:
            found[column.name] = f"values like {looks}"
        elif words and words >= MIN_WORDS_OF_FREE_TEXT:
            free_texts.add(column.name)
        elif words and words >= 1.5 and _hardly_repeats(column):
            found[column.name] = "texts of a few words that hardly repeat, like names and addresses"
    return found, free_texts
