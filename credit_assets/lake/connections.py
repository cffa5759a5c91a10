"""DuckDB connections that compute the same on every machine."""

from __future__ import annotations

from typing import Any

import duckdb


def connect(**settings: Any) -> duckdb.DuckDBPyConnection:
    """An in-memory connection with DuckDB's `settings`, for which every time is in UTC."""
    con = duckdb.connect(config=settings)
    use_utc(con)
    return con


def use_utc(con: duckdb.DuckDBPyConnection) -> None:
    """Make the connection read and cast times in UTC: DuckDB's default is the time zone of the machine."""
    # Not a setting of `connect`: the extension for time zones is loaded only afterwards.
    con.execute("SET TimeZone = 'UTC'")


def one_row(con: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The only row of a query's result, or the first of several."""
    return con.execute(query).fetchall()[0]
