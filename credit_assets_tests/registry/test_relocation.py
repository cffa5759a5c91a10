"""Paths in MLflow's database after the project has moved."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from credit_assets.registry.relocation import relocate


def test_only_paths_below_the_former_folder_are_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    locations = ["/old/p/x", "file:///old/p/x", "/old/pq/x", "file:///elsewhere/old/p/x", "models:/m-1", None]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE runs (artifact_uri TEXT, name TEXT)")
        connection.executemany("INSERT INTO runs VALUES (?, ?)", [(location, "/old/p/x") for location in locations])
    relocate(path, Path("/old/p"), Path("/new p"))
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT artifact_uri, name FROM runs ORDER BY rowid").fetchall()
    assert [location for location, _ in found] == ["/new p/x", "file:///new%20p/x", *locations[2:]]
    assert {name for _, name in found} == {"/old/p/x"}
