"""The raw tables of a book: which files belong to an applicant, directly or through another table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from credit_assets.lake.sql import identifier
from credit_assets.onboarding import column_names
from credit_assets.onboarding.applicants import identifies_rows
from credit_assets.onboarding.file_names import undated
from credit_assets.onboarding.files import (
    FRACTION,
    TEXT,
    WHOLE,
    Column,
    Files,
    stem,
)
from credit_assets.onboarding.wording import pattern_index, plain, unique_name


@dataclass(frozen=True)
class Table:
    """A raw table: its files, and the table and column that its rows refer to. `orphans` is the number of rows
    without a parent."""

    name: str
    files: Files
    parent: str | None = None
    link: str | None = None
    orphans: int = 0

    @property
    def columns(self) -> dict[str, Column]:
        return self.files.columns


def child_tables(
    con: duckdb.DuckDBPyConnection, applications: Table, rest: Sequence[Files], key: str
) -> tuple[Table, ...]:
    """Tables whose rows belong to an applicant, then those whose rows belong to one of these, parents first."""
    tables, left = [applications], list(rest)
    links = {key: applications}
    while matches := [(files, link) for files in left for link in links if _may_refer_to(files, link, links[link])]:
        files, link = min(matches, key=lambda pair: list(links).index(pair[1]))
        left.remove(files)
        parent, column = links[link], identifier(link)
        [(orphans,)] = con.execute(
            f"SELECT count(*) FROM {files.view} WHERE {column} IS NOT NULL AND {files.columns[link].identity()} NOT IN "
            f"(SELECT {parent.columns[link].identity()} FROM {parent.files.view} WHERE {column} IS NOT NULL)"
        ).fetchall()
        reserved = {"outcomes", "features", *(table.name for table in tables)}
        reserved |= {f"{name}_features" for name in reserved}
        child = Table(unique_name(_common_name(files), reserved), files, parent.name, link, int(orphans))
        tables.append(child)
        for name, found in files.columns.items():
            if name not in links and identifies_rows(found) and pattern_index(name, (column_names.KEY,)) is not None:
                links[name] = child
    return tuple(tables[1:])


def _may_refer_to(files: Files, link: str, parent: Table) -> bool:
    """Whether rows of the files may refer to rows of the table by the column: both hold identifiers in it."""
    column, referred = files.columns.get(link), parent.columns[link]
    if column is None:
        return False
    whole = column.kind == WHOLE or (column.kind == FRACTION and column.whole)
    return whole if referred.kind != TEXT else column.kind in (WHOLE, TEXT)


def _common_name(files: Files) -> str:
    names = [undated(stem(part.path)) for part in files.parts]
    shared = next((n for n, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1), len(names[0]))
    return plain(names[0][:shared].rstrip("_-. 0123456789") or names[0])
