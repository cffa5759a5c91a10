"""The files with one row for each applicant, the column that identifies an applicant, and other identifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import duckdb

from credit_assets.features.contract import KEY_MAY_BE, RESERVED
from credit_assets.lake.sql import identifier
from credit_assets.onboarding import column_names
from credit_assets.onboarding.files import (
    BOOLEAN,
    FEW_VALUES,
    FRACTION,
    NEARLY_ALL,
    TEXT,
    TIME,
    WHOLE,
    BookError,
    Column,
    Files,
    Part,
)
from credit_assets.onboarding.read_files import as_one_table
from credit_assets.onboarding.wording import parts, pattern_index

MIN_COMMON_COLUMNS = 0.5
"""Minimum share of columns that two layouts of one table have in common."""


def applicants_of(
    con: duckdb.DuckDBPyConnection, labelled: Files, others: Sequence[Files], target: str
) -> tuple[Files, Files | None, list[Files]]:
    """The applicants' files, the files with outcomes alone (if any), and the rest.

    `labelled` has the column `target`. Files that lack only this column hold applicants with outcomes not known yet;
    files that have it, and most of the other columns, hold applicants in an earlier or later layout.
    """
    outcomes = None
    if len(labelled.columns) == 2:
        link = next(name for name in labelled.columns if name != target)
        applicants = [other for other in others if link in other.columns and other.columns[link].unique]
        if applicants and labelled.columns[link].unique:
            others, outcomes = [other for other in others if other is not applicants[0]], labelled
            column = identifier(link)
            part = applicants[0].parts[0]
            joined = (
                f"(SELECT a.*, o.* EXCLUDE ({column}) FROM {applicants[0].view} a LEFT JOIN {labelled.view} o "
                f"ON {applicants[0].columns[link].identity('a')} = {labelled.columns[link].identity('o')})"
            )
            remarks = (*applicants[0].remarks, *labelled.remarks)
            kinds = {name: kind for p in (*labelled.parts, *applicants[0].parts) for name, kind in p.kinds.items()}
            notes = tuple(note for p in applicants[0].parts for note in p.notes)
            return as_one_table(con, [Part(part.path, joined, kinds, remarks, notes)]), outcomes, others
    alike = [
        other
        for other in others
        if set(other.columns) == set(labelled.columns) - {target}
        or (target in other.columns and _have_most_in_common(other, labelled))
    ]
    if not alike:
        return labelled, None, list(others)
    files = as_one_table(con, [*labelled.parts, *(part for other in alike for part in other.parts)])
    return files, None, [other for other in others if other not in alike]


def _have_most_in_common(one: Files, other: Files) -> bool:
    """Whether two sets of files have most columns in common, among them one that identifies the rows of each."""
    common = one.columns.keys() & other.columns.keys()
    identified = any(identifies_rows(one.columns[name]) and identifies_rows(other.columns[name]) for name in common)
    return identified and len(common) >= MIN_COMMON_COLUMNS * max(len(one.columns), len(other.columns))


def find_key(files: Files, target: str, key: str | None) -> tuple[str | None, str]:
    """The column that identifies an applicant, if any, and the reason for this choice; `key` is the user's choice."""
    if key is not None:
        if key not in files.columns:
            raise BookError(f"{files.names} has no column {key} to identify applicants by.")
        if why := _not_an_identifier(files.columns[key]):
            raise BookError(f"Column {key} of {files.names} cannot identify applicants: {why}.")
        if _is_reserved(key):
            raise BookError(f"Column {key} cannot identify applicants under this name, which is reserved.")
        return key, "chosen with --key"
    candidates = [
        column
        for column in files.columns.values()
        if column.name != target and identifies_rows(column) and not _is_reserved(column.name)
    ]
    named = [column for column in candidates if pattern_index(column.name, (column_names.KEY,)) is not None]
    for chosen in sorted(named, key=lambda column: pattern_index(column.name, (column_names.ENTITY, "id")) is None):
        return chosen.name, "unique, never empty and named like a key"
    first = next(iter(files.columns.values()))
    if first in candidates and (first.kind == TEXT or first.high - first.low + 1 == first.rows):  # type: ignore[operator]
        return first.name, "the first column, which is unique and never empty"
    nearly = [
        f"{column.name} is not: {_not_an_identifier(column)}"
        for column in files.columns.values()
        if column.name != target
        and pattern_index(column.name, (column_names.ENTITY, "id")) is not None
        and _nearly_unique(column)
    ]
    why = f" ({'; '.join(nearly)})" if nearly else ""
    no_key = f"no column is unique, never empty and named like a key{why}"
    return None, f"{no_key}, so rows are identified by batch and number"


def _nearly_unique(column: Column) -> bool:
    return column.kind in (WHOLE, TEXT) and column.distinct >= NEARLY_ALL * column.rows


def without_duplicates(con: duckdb.DuckDBPyConnection, files: Files, target: str, key: str | None) -> tuple[Files, int]:
    """The files without duplicate rows, and the number of these; ingestion keeps one of each as well. Duplicates are
    dropped only if a column then identifies applicants that did not do so before."""
    candidates = (
        [key]
        if key in files.columns
        else []
        if key
        else [name for name in files.columns if name != target and pattern_index(name, (column_names.KEY,)) is not None]
    )
    if any(identifies_rows(files.columns[name]) for name in candidates):
        return files, 0
    for column in (files.columns[name] for name in candidates):
        if column.filled < column.rows or not _nearly_unique(column):
            continue
        rows, keys = con.execute(
            f"SELECT count(*), count(DISTINCT {column.sql}) FROM (SELECT DISTINCT * FROM {files.view})"
        ).fetchall()[0]
        if rows == keys:
            first, *others = files.parts
            once = replace(first, source=f"(SELECT DISTINCT * FROM {files.view} ORDER BY ALL)")
            none = [replace(part, source=f"(SELECT * FROM {files.view} LIMIT 0)") for part in others]
            return as_one_table(con, [once, *none]), files.rows - rows
    return files, 0


def _is_reserved(name: str) -> bool:
    return name.lower() in RESERVED and name.lower() != KEY_MAY_BE


def identifies_rows(column: Column) -> bool:
    return _not_an_identifier(column) is None


def _not_an_identifier(column: Column) -> str | None:
    """Why the column cannot identify a row; None if it can."""
    if column.filled < column.rows:
        return f"it is empty in {column.rows - column.filled:,} of {column.rows:,} rows"
    if column.kind == FRACTION and not column.whole:
        return "it has fractions, or numbers too long to be exact"
    if column.kind not in (WHOLE, FRACTION, TEXT):
        return f"it is a {column.kind}" if column.kind != TIME else "it is a date"
    if column.formats:
        return f"its values are read as dates ({', '.join(column.formats)})"
    if not column.unique:
        return f"it has {column.distinct:,} different values in {column.rows:,} rows"
    return None


def is_identifier(column: Column) -> bool:
    """Whether the values only identify rows: an id with many values, or another column named like a key whose values
    hardly repeat."""
    if column.kind == FRACTION and not column.whole:
        return False
    if column.kind in (BOOLEAN, TIME) or column.formats or pattern_index(column.name, (column_names.KEY,)) is None:
        return False
    measures = pattern_index(column.name, (column_names.MEASURES,)) is not None
    if (column.low or 0) < 0 or (measures and not column.unique):
        return False
    return column.distinct > (FEW_VALUES if "id" in parts(column.name) else max(0.9 * column.filled, 1))
