"""Updates the locations of models in MLflow's database when the project folder has moved."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

LOCATIONS = {"artifact_location", "artifact_uri", "storage_location", "source", "default_artifact_root"}
"""Columns of MLflow's database that hold a location, as an absolute path or file:// address."""


def relocate(database: Path, before: Path, now: Path) -> None:
    """Replace the former project folder with the current one in all stored locations."""
    if before == now or not database.exists():
        return
    moves = [(f"{before}/", f"{now}/"), (f"file://{quote(str(before))}/", f"file://{quote(str(now))}/")]
    with closing(sqlite3.connect(database)) as connection, connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = {column[1] for column in connection.execute(f'PRAGMA table_info("{table}")')}
            for column, (old, new) in itertools.product(sorted(columns & LOCATIONS), moves):
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, len(old), old),
                )
