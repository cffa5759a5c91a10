"""What tests read from a drafted portfolio: its files, its marks, and its features of the delivered rows."""

from __future__ import annotations

from typing import Any

import duckdb

from credit_assets.book.book import Book
from credit_assets.features.compute import compute_features
from credit_assets.onboarding.new import Drafted
from credit_assets.schemas.duckdb_types import column_types
from credit_assets.settings.project import Project


def config(project: Project) -> str:
    return project.config("book").read_text()


def sql(project: Project, name: str = "features") -> str:
    return (project.sql("book") / f"{name}.sql").read_text()


def marks(done: Drafted) -> list[str]:
    return [str(finding) for finding in done.to_confirm]


def of_features(project: Project, query: str) -> list[tuple[Any, ...]]:
    """The result of a query on `features` of the delivered rows, typed as in the contracts."""
    book = Book.load(project, "book")
    con = duckdb.connect()
    for table, settings_ in book.portfolio.tables.items():
        for path in project.root.parent.glob(f"{settings_.files[0]}.csv"):
            types = column_types(book.contracts[table])
            columns = ", ".join(f"'{name}': '{kind}'" for name, kind in types.items())
            read = f"read_csv('{path}', types = {{{columns}}}, nullstr = '')"
            con.execute(f"CREATE TABLE {table} AS SELECT * FROM {read}")
    compute_features(con, book.queries)
    return con.execute(query).fetchall()


def persons() -> dict[str, list[Any]]:
    """Columns about people and their homes."""
    names = ("Ana", "Ben", "Cem", "Dana", "Eva", "Finn", "Gil", "Hana")
    return {
        "full_name": [f"{names[n % 8]} {names[n // 8]}" for n in range(40)],
        "Kunde": [f"{names[n // 8]} von {names[n % 8]}" for n in range(40)],
        "contact": [f"a{n}@mail.test" for n in range(40)],
        "ssn": [957676640 + 7919 * n for n in range(40)],
        "doc": [f"{n:04}0000-aaaa-bbbb-cccc-{n:012}" for n in range(40)],
        "rufnummer": [f"030 {n}23 45 67" for n in range(40)],
        "zip": [10115 + 37 * n for n in range(40)],
        "latitude": [52 + n / 97 for n in range(40)],
        "state": ["NY", "CA", "TX", "WA", "OR"] * 8,
    }
