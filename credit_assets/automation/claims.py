"""Work that is done once for all portfolios of a project, such as watching the machine's disk: which portfolio does it.

Each portfolio is a code location of its own, so no process knows them all, and a broken one must not keep the work from
being done. The first to come therefore claims it, and keeps it as long as it comes back in time.
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
LEAST_S = 120.0
"""That a claim lasts at least: polls may be late."""


class Claims:
    """The claims of a project's portfolios, in a SQLite file, for a portfolio that polls every `interval_s`."""

    def __init__(self, project: Project, portfolio: str, interval_s: float) -> None:
        self.path = project.data / "dagster" / "claims.sqlite"
        self.portfolio, self.lasts_s = portfolio, max(LEAST_S, LAPSES_AFTER_INTERVALS * interval_s)

    def claim(self, work: str, now: float, rank: int = 0) -> bool:
        """Whether the work is this portfolio's: nobody has claimed it, or only with a lower rank, or the claim has
        lapsed, as it does unless it is renewed within a few intervals. `now` is seconds since 1970."""
        with self._writing() as con:
            taken = con.execute(
                "INSERT INTO claims VALUES (?1, ?2, ?3, ?4) ON CONFLICT (work) DO UPDATE "
                "SET portfolio = ?2, rank = ?3, until = ?4 WHERE portfolio = ?2 OR until < ?5 OR rank < ?3 "
                "RETURNING 1",
                (work, self.portfolio, rank, now + self.lasts_s, now),
            ).fetchall()
        return bool(taken)

    def release(self, work: str) -> None:
        """End this portfolio's claim, if it has one."""
        with self._writing() as con:
            con.execute("DELETE FROM claims WHERE work = ? AND portfolio = ?", (work, self.portfolio))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=30)) as con, con:
            con.execute(SCHEMA)
            yield con
