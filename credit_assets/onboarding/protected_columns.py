"""Finds columns with protected attributes by their names and values, and the groups to audit.

What identifies a person, such as a name or an address, is found in `personal.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import duckdb

from credit_assets.fairness.audit import OLDEST
from credit_assets.onboarding import column_names
from credit_assets.onboarding.files import FRACTION, WHOLE, Column, Files
from credit_assets.onboarding.wording import (
    BY_NAME,
    BY_VALUES,
    count_as,
    normalised,
    parts,
    pattern_index,
    plain,
    unique_name,
)

BLOCKING = ("gender", "race", "religion", "national_origin")
"""Attributes whose failed audit stops a promotion."""

AGE_BANDS = (25, 35, 45, 55, 65)

MAX_INVALID_SHARE = 0.01
"""Up to this share of the values in a column of ages may be something else."""

MAX_FLAG = 12
"""A column named like an age, with no number above this, holds flags or classes, not years."""


@dataclass(frozen=True)
class Protected:
    """A protected attribute: `words` maps values to groups; `bands` are limits in years for an age. `not_judged` are
    the values that are not a group."""

    column: str
    kind: str
    why: str
    words: dict[str, str] = field(default_factory=dict)
    bands: tuple[int, ...] = ()
    not_judged: tuple[str, ...] = ()


def find_protected(
    con: duckdb.DuckDBPyConnection, files: Files, excluded: set[str]
) -> tuple[dict[str, Protected], dict[str, str]]:
    """Attributes that can be audited, by name; and the other protected columns, each with the reason why it cannot."""
    protected: dict[str, Protected] = {}
    unaudited: dict[str, str] = {}
    for column in files.columns.values():
        if column.name in excluded or not column.filled:
            continue
        found = _attributes_of(column)
        for attribute, (why, words) in found.items():
            if (item := _groups_of(con, files, attribute, column, why, words)) is None:
                unaudited[column.name] = f"is {attribute.replace('_', ' ')} ({why}), but has no groups to audit"
                continue
            if len(found) > 1 and not words:
                others = " and ".join(other.replace("_", " ") for other in found if other != attribute)
                mixed = f"{item.why}; the column also has {others}: map each code to a group of this attribute alone"
                item = replace(item, why=mixed)
            name = attribute if attribute not in protected else f"{attribute}_{plain(column.name)}"
            protected[unique_name(name, protected)] = item
    return protected, unaudited


def protected_attribute(column: Column) -> str | None:
    """The protected attribute in the column, if any."""
    return next(iter(_attributes_of(column)), None)


def _attributes_of(column: Column) -> dict[str, tuple[str, dict[str, str]]]:
    """The protected attributes of the column, by name or values, each with the reason and a map of values to groups.
    A column may mix sex and marital status; otherwise only the most likely attribute is given."""
    named = [name for name, pattern in column_names.PROTECTED.items() if pattern_index(column.name, (pattern,)) == 0]
    values = column.value_counts or {}
    by_name = "gender" in named or "title" in parts(column.name)
    sexes = _sexes(values, by_name)
    found: dict[str, tuple[str, dict[str, str]]] = {}
    if sexes or "gender" in named:
        found["gender"] = (BY_NAME if "gender" in named else "its values name men and women", sexes)
    married = _marital_status(values) if sexes else {}
    if married or (found and "marital_status" in named):
        why = BY_NAME if "marital_status" in named else "its values name marital status"
        found["marital_status"] = (why, married)
    if not found and named:
        found[named[0]] = (BY_NAME, {})
    for attribute, pattern in column_names.PROTECTED_VALUES.items():
        if not found and sum(re.fullmatch(pattern, normalised(value)) is not None for value in values) > 1:
            found[attribute] = (BY_VALUES, {})
    return found


def _groups_of(
    con: duckdb.DuckDBPyConnection, files: Files, attribute: str, column: Column, why: str, words: dict[str, str]
) -> Protected | None:
    """The groups of an attribute; None if the values have no groups."""
    low, high = column.low or 0, column.high or 0
    if attribute == "age" and column.kind in (WHOLE, FRACTION) and not (low >= 0 and high <= MAX_FLAG):
        return _age_bands(con, files, column, why)
    if not column.value_counts or column.date:
        return None
    unknown = tuple(word for word in column.value_counts if word.strip().lower() in column_names.UNKNOWN)
    if words:
        needed = set(words) != set(words.values())
        return Protected(column.name, "words", why, words=words if needed else {}, not_judged=unknown)
    codes = all(re.fullmatch(r"-?[0-9.]+", word) for word in column.value_counts)
    coded = codes and attribute != "dependents"
    hint = f"; say what its codes mean, as in `words: {{{next(iter(column.value_counts))}: ...}}`" if coded else ""
    return Protected(column.name, "words", f"{why}{hint}", not_judged=unknown)


def _age_bands(con: duckdb.DuckDBPyConnection, files: Files, column: Column, why: str) -> Protected | None:
    """Bands of an age in years, or in days before the application; a few values that cannot be ages are reported."""
    value = f"try_cast({column.sql} AS double)"
    [(years, oldest, youngest, above, below, days)] = con.execute(
        f"SELECT count(*) FILTER (v BETWEEN 0 AND {OLDEST}), max(v) FILTER (v BETWEEN 0 AND {OLDEST}), "
        f"min(v) FILTER (v BETWEEN 0 AND {OLDEST}), count(*) FILTER (v > {OLDEST}), count(*) FILTER (v < 0), "
        f"count(*) FILTER (v BETWEEN -{OLDEST} * 366 AND -10 * 365) "
        f"FROM (SELECT {value} AS v FROM {files.view}) WHERE NOT isnan(v)"
    ).fetchall()
    enough = (1 - MAX_INVALID_SHARE) * (years + above + below - sum(column.sentinels.values()))
    if years >= enough and years and oldest >= 30:
        bands = tuple(band for band in AGE_BANDS if youngest < band <= oldest)
        odd = [
            f"{n:,} row{'s' * (n > 1)} {where}" for n, where in ((above, f"above {OLDEST}"), (below, "below 0")) if n
        ]
        others = f"; {' and '.join(odd)} {count_as(above + below)} not given" if odd else ""
        return Protected(column.name, "years", f"an age in years, {why}{others}", bands=bands) if bands else None
    if days >= enough and days:
        odd_days = years + above + below - days
        others = f"; {odd_days:,} row{'s' * (odd_days > 1)} that cannot be an age {count_as(odd_days)} not given"
        about = f"a date of birth in days before the application{others if odd_days else ''}"
        return Protected(column.name, "days_before", about, bands=AGE_BANDS)
    return None


def _sexes(values: Mapping[str, int], by_name: bool) -> dict[str, str]:
    """Map each value to male or female, if all known values name one; M and F count only if `by_name`."""
    found = {}
    for value in values:
        if value.strip().lower() in column_names.UNKNOWN:
            continue
        terms = {part for part in re.split(r"[\W_]+", normalised(value)) if by_name or len(part) > 2}
        male, female = (
            any(re.fullmatch(of, term) for term in terms) for of in (column_names.MALE, column_names.FEMALE)
        )
        if male == female:
            return {}
        found[value] = "male" if male else "female"
    return found if set(found.values()) == {"male", "female"} else {}


def _marital_status(values: Mapping[str, int]) -> dict[str, str]:
    """Map values that name both sex and marital status to the latter; empty if a value does not."""
    found, sexes = {}, f"{column_names.MALE}|{column_names.FEMALE}"
    for value in values:
        left = [part for part in re.split(r"[\W_]+", normalised(value)) if part and not re.fullmatch(sexes, part)]
        if not left and value.strip().lower() not in column_names.UNKNOWN:
            return {}
        if left:
            found[value] = "/".join(left)
    known = any(
        re.fullmatch(column_names.PROTECTED_VALUES["marital_status"], " ".join(group.split("/")))
        for group in found.values()
    )
    return found if known else {}
