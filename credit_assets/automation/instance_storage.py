"""Dagster's SQLite storage with connections that stay open.

Dagster opens the database for each statement and closes it again. Each time SQLAlchemy recompiles the statement,
and SQLite writes its log back and waits for the disk: together a third of a small run. The files are those of Dagster's
own storage, so each of the two can continue what the other has written.
"""

from __future__ import annotations

import os
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool
from watchdog.events import FileSystemEvent
from watchdog.observers import Observer

from credit_assets.dagster_private import (
    ConfigurableClassData,
    DagsterSqliteStorage,
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
    SqliteRunStorage,
    SqliteScheduleStorage,
)

WAIT_S = 30.0
"""Seconds that a statement waits for another process to release the database."""
OPEN_LOGS = 8
"""Event logs of runs that a process keeps open: a worker writes one, and the daemon and the UI read the newest."""


def engine_of(url: str) -> sa.Engine:
    """An engine that keeps its connections, and opens a new one if the file has been replaced or removed.

    A killed process loses nothing. A power cut can lose the newest events, as it can lose the newest files of the lake;
    the database stays consistent (https://www.sqlite.org/pragma.html#pragma_synchronous).
    """
    engine = sa.create_engine(url, poolclass=QueuePool, max_overflow=-1, connect_args={"timeout": WAIT_S})
    file = str(engine.url.database)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        record.info["file"] = _file_of(file)
        connection.execute("PRAGMA synchronous = NORMAL")

    @sa.event.listens_for(engine, "checkout")
    def compare_file(connection: Any, record: Any, proxy: Any) -> None:
        if record.info["file"] != _file_of(file):
            raise DisconnectionError(f"{file} has been replaced")

    return engine


def _file_of(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class _Connections:
    """A mixin for storages of one database, whose address is in `_conn_string`."""

    _conn_string: str

    @cached_property
    def _engine(self) -> sa.Engine:
        engine = engine_of(self._conn_string)
        # An instance does not dispose of its schedule storage.
        weakref.finalize(self, engine.dispose)
        return engine

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        with self._engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        self._engine.dispose()


class RunStorage(_Connections, SqliteRunStorage):
    """The runs, in one database."""


class ScheduleStorage(_Connections, SqliteScheduleStorage):
    """The ticks of sensors and schedules, in one database."""


class EventLogStorage(SqliteEventLogStorage):
    """The event logs: a database for each run, and an index of all of them."""

    _obs: Any

    def __init__(self, base_dir: str) -> None:
        self._engines: OrderedDict[str, sa.Engine] = OrderedDict()
        super().__init__(base_dir)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sa.Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

    def _engine(self, shard: str) -> sa.Engine:
        if shard not in self._engines:
            self._engines[shard] = engine_of(self.conn_string_for_shard(shard))
        self._engines.move_to_end(shard)
        while len(self._engines) > OPEN_LOGS:
            _, oldest = self._engines.popitem(last=False)
            oldest.dispose()
        return self._engines[shard]

    def watch(self, run_id: str, cursor: str | None, callback: Any) -> None:
        if not self._obs:
            self._obs = Observer()
            self._obs.start()
        handler = _LogHandler(self, run_id, callback, cursor)
        watched = self._obs.schedule(handler, self._base_dir, recursive=True)
        self._watchers[run_id][callback] = (handler, watched)

    def dispose(self) -> None:
        super().dispose()
        for engine in self._engines.values():
            engine.dispose()


class _LogHandler(SqliteEventLogStorageWatchdog):
    """Passes new events of a run to the UI. While a connection is open, they are in the file beside the database."""

    @property
    def patterns(self) -> list[str]:
        return [self._log_path, f"{self._log_path}-wal"]

    def on_modified(self, event: FileSystemEvent) -> None:
        self._process_log()


class SqliteStorage(DagsterSqliteStorage):
    """The storage of an instance in SQLite files below `base_dir` (dagster.yaml)."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        # Not DagsterSqliteStorage's own, which would open its three storages.
        super(DagsterSqliteStorage, self).__init__()  # type: ignore[no-untyped-call]
        self.base_dir, self._inst_data = base_dir, inst_data
        history, schedules = Path(base_dir, "history"), Path(base_dir, "schedules")
        self._run_storage = RunStorage.from_local(str(history))
        self._event_log_storage = EventLogStorage(str(history / "runs"))
        self._schedule_storage = ScheduleStorage.from_local(str(schedules))

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Any) -> SqliteStorage:
        return cls.from_local(inst_data=inst_data, **config_value)
