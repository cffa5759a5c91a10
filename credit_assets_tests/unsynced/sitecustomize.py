"""SQLite without waiting for the disk, in each process with this folder on its path.

Dagster writes every event in a separate transaction; waiting for the disk takes most of a small run's time. A killed
process loses nothing, because the operating system has its writes; only a power cut would lose some.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Any

_connect = sqlite3.connect


def connect(*args: Any, **settings: Any) -> sqlite3.Connection:
    connection = _connect(*args, **settings)
    # For a file that is no database, the first statement of the caller raises the error.
    with suppress(sqlite3.Error):
        connection.execute("pragma synchronous = off")
    return connection


sqlite3.connect = sqlite3.dbapi2.connect = connect  # type: ignore[assignment]
