"""Reads a model directly from MLflow's SQLite file, for read-only commands: importing MLflow takes two seconds. All
writes go through MLflow."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from credit_assets.registry import tracking
from credit_assets.registry.errors import RegistryError
from credit_assets.registry.mlflow_store import MlflowStore
from credit_assets.registry.store import StoredModel, StoredVersion

LOCK_TIMEOUT_S = 20
"""Timeout in seconds for a database lock, the same as MLflow's."""

DELETED = "Deleted_Internal"
"""The stage by which MLflow marks a version as deleted."""


class SqliteStore(MlflowStore):
    """A registered model in MLflow's SQLite file; a missing file counts as empty."""

    def model(self) -> StoredModel | None:
        if not self._rows("SELECT name FROM registered_models WHERE name = ?", self.name):
            return None
        tags = self._rows("SELECT key, value FROM registered_model_tags WHERE name = ?", self.name)
        aliases = self._rows("SELECT alias, version FROM registered_model_aliases WHERE name = ?", self.name)
        return StoredModel(dict(tags), {alias: int(number) for alias, number in aliases})

    def versions(self, model: str | None = None) -> list[StoredVersion]:
        name = model or self.name
        tags: dict[int, dict[str, str]] = {}
        for number, key, value in self._rows("SELECT version, key, value FROM model_version_tags WHERE name = ?", name):
            tags.setdefault(int(number), {})[key] = value
        found = self._rows(
            "SELECT version, run_id, creation_time FROM model_versions "
            "WHERE name = ? AND coalesce(current_stage, '') <> ? ORDER BY version",
            name,
            DELETED,
        )
        return [
            StoredVersion(
                int(number), str(run_id), datetime.fromtimestamp(created / 1000, UTC), tags.get(int(number), {})
            )
            for number, run_id, created in found
        ]

    def version(self, number: int) -> StoredVersion | None:
        return next((version for version in self.versions() if version.number == number), None)

    def aliased(self, alias: str) -> StoredVersion | None:
        model = self.model()
        number = model.aliases.get(alias) if model else None
        return None if number is None else self.version(number)

    def metrics(self, run_id: str) -> dict[str, float]:
        found = self._rows("SELECT key, value, is_nan FROM latest_metrics WHERE run_uuid = ?", run_id)
        return {key: math.nan if is_nan else float(value) for key, value, is_nan in found}

    def has_file(self, run_id: str, path: str) -> bool:
        folder = self._folder(run_id)
        return (folder / path).exists() if folder else super().has_file(run_id, path)

    @contextmanager
    def file(self, run_id: str, path: str) -> Iterator[Path]:
        folder = self._folder(run_id)
        if folder is None:
            with super().file(run_id, path) as downloaded:
                yield downloaded
            return
        if not (folder / path).exists():
            raise RegistryError(f"Run {run_id} of model {self.name} has no file {path} in {folder}.")
        yield folder / path

    def _folder(self, run_id: str) -> Path | None:
        """The folder of the run's files; None if they are in an object store or on a server."""
        [(location,)] = self._rows("SELECT artifact_uri FROM runs WHERE run_uuid = ?", run_id)
        parts = urlsplit(location)
        return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        self.require()
        database = tracking.database_of(self.tracking_uri)
        if database is None or not database.exists():
            return []
        # Not read-only: SQLite first rolls back what a killed writer left, which needs write access.
        address = f"{database.resolve().as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=LOCK_TIMEOUT_S)) as connection:
            return connection.execute(query, values).fetchall()
