"""Claims: which portfolio does the work that is done once for all portfolios, such as watching the machine's disk.

Each portfolio is a separate code location, so no process knows all of them, and a broken one must not prevent the work.
The first portfolio to poll claims the work, and keeps it as long as it renews its claim in time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from credit_assets.settings.project import Project

SCHEMA = """
CREATE TABLE IF NOT EXISTS claims (
    work TEXT PRIMARY KEY, portfolio TEXT NOT NULL, rank INTEGER NOT NULL, until REAL NOT NULL
)
"""
LAPSES_AFTER_INTERVALS = 3
SHORTEST_CLAIM_S = 120.0
"""Shortest duration of a claim, because polls may be late."""


class Claims:
    """The claims of all portfolios of a project, in a SQLite file, as used by a portfolio that polls every `interval_s`
    seconds."""

    def __init__(self, project: Project, portfolio: str, interval_s: float) -> None:
        self.path = project.data / "dagster" / "claims.sqlite"
        self.portfolio, self.lasts_s = portfolio, max(SHORTEST_CLAIM_S, LAPSES_AFTER_INTERVALS * interval_s)

    def claim(self, work: str, now: float, rank: int = 0) -> bool:
        """Claim the work, or renew the claim; returns whether this portfolio has it.

        It succeeds unless another portfolio has a claim of the same or a higher rank that has not lapsed. A claim
        lapses if it is not renewed within LAPSES_AFTER_INTERVALS intervals. `now` is in seconds since 1970.
        """
        with self._transaction() as con:
            claimed = con.execute(
                "INSERT INTO claims VALUES (?1, ?2, ?3, ?4) ON CONFLICT (work) DO UPDATE "
                "SET portfolio = ?2, rank = ?3, until = ?4 WHERE portfolio = ?2 OR until < ?5 OR rank < ?3 "
                "RETURNING 1",
                (work, self.portfolio, rank, now + self.lasts_s, now),
            ).fetchall()
        return bool(claimed)

    def release(self, work: str) -> None:
        """End this portfolio's claim, if it has one."""
        with self._transaction() as con:
            con.execute("DELETE FROM claims WHERE work = ? AND portfolio = ?", (work, self.portfolio))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=30)) as con, con:
            con.execute(SCHEMA)
            yield con
