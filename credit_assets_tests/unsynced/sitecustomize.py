"""SQLite that does not wait for the disk, in each process that has this folder on its path.

Dagster writes every event in a transaction of its own; waiting for the disk is most of a small run. A killed process
loses nothing by it, for the operating system has what it wrote; only a power cut would.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Any

_connect = sqlite3.connect


def connect(*args: Any, **settings: Any) -> sqlite3.Connection:
    connection = _connect(*args, **settings)
    # What is no database is refused by the first statement of whoever opened it.
    with suppress(sqlite3.Error):
        connection.execute("pragma synchronous = off")
    return connection


sqlite3.connect = sqlite3.dbapi2.connect = connect  # type: ignore[assignment]
