"""An in-memory registry with the same behaviour as the one in MLflow, for tests and notebooks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from credit_assets.registry.errors import RegistryError
from credit_assets.registry.registry import Registry
from credit_assets.registry.store import Saveable, Servable, StoredModel, StoredVersion

MODEL = "model"
"""The folder of a run's files that holds the saved model."""


@dataclass
class _Run:
    metrics: dict[str, float] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class _Model:
    tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    versions: dict[int, StoredVersion] = field(default_factory=dict)
    newest: int = 0


@dataclass
class Memory:
    """Registered models and their runs, instead of an MLflow server."""

    models: dict[str, _Model] = field(default_factory=dict)
    runs: dict[str, _Run] = field(default_factory=dict)

    def registry(self, name: str) -> Registry:
        """The registry of the model with this name."""
        return Registry(MemoryStore(self, name))


@dataclass(frozen=True)
class MemoryStore:
    """The registered model `name` in a `Memory`."""

    memory: Memory
    name: str

    def require(self) -> None:
        """Memory is always available."""

    def answering(self) -> AbstractContextManager[None]:
        return nullcontext()

    def lock(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def models(self) -> dict[str, StoredModel]:
        return {name: _stored(model) for name, model in self.memory.models.items()}

    def model(self) -> StoredModel | None:
        found = self.memory.models.get(self.name)
        return None if found is None else _stored(found)

    @property
    def _model(self) -> _Model:
        if self.name not in self.memory.models:
            raise RegistryError(f"There is no registered model {self.name}.")
        return self.memory.models[self.name]

    def set_tag(self, tag: str, text: str | None) -> None:
        _set(self._model.tags, tag, text)

    def set_alias(self, alias: str, number: int | None) -> None:
        _set(self._model.aliases, alias, number)

    def versions(self, model: str | None = None) -> list[StoredVersion]:
        found = self.memory.models.get(model or self.name)
        return [] if found is None else [found.versions[number] for number in sorted(found.versions)]

    def version(self, number: int) -> StoredVersion | None:
        found = self.memory.models.get(self.name)
        return None if found is None else found.versions.get(number)

    def aliased(self, alias: str) -> StoredVersion | None:
        found = self.memory.models.get(self.name)
        return None if found is None or alias not in found.aliases else found.versions[found.aliases[alias]]

    def tagged(self, tag: str, text: str) -> StoredVersion | None:
        return next((version for version in reversed(self.versions()) if version.tags.get(tag) == text), None)

    def set_version_tag(self, number: int, tag: str, text: str | None) -> None:
        if (version := self.version(number)) is None:
            raise RegistryError(f"Model {self.name} has no version {number}.")
        tags = dict(version.tags)
        _set(tags, tag, text)
        self._model.versions[number] = StoredVersion(number, version.run_id, version.created, tags)

    def register(
        self,
        model: Servable,
        *,
        run_name: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        artifacts: Mapping[str, Path],
        parent_run: str | None,
    ) -> StoredVersion:
        run_id = self.log_model(
            model, run_name=run_name, params=params, metrics=metrics, tags=tags, parent_run=parent_run
        )
        self.log(run_id, {}, artifacts)
        return self.add_version(run_id, tags)

    def add_version(self, run_id: str, tags: Mapping[str, str]) -> StoredVersion:
        """Register a logged run as a new version."""
        registered = self.memory.models.setdefault(self.name, _Model())
        registered.newest += 1
        # MLflow's precision is a millisecond.
        now = datetime.now(UTC)
        created = now.replace(microsecond=now.microsecond // 1000 * 1000)
        version = StoredVersion(registered.newest, run_id, created, {**tags, "run_id": run_id})
        registered.versions[version.number] = version
        return version

    def delete_version(self, number: int) -> None:
        """Delete a version and its aliases; its number is not used again."""
        registered = self._model
        del registered.versions[number]
        registered.aliases = {alias: named for alias, named in registered.aliases.items() if named != number}

    @contextmanager
    def model_files(self, number: int) -> Iterator[Path]:
        if (version := self.version(number)) is None:
            raise RegistryError(f"Model {self.name} has no version {number}.")
        with self._unpacked(version.run_id) as folder:
            yield folder / MODEL

    def log_model(
        self,
        model: Saveable,
        *,
        run_name: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        parent_run: str | None,
    ) -> str:
        """Names, parameters, tags and parents of runs serve MLflow's UI only, so they are not stored."""
        figures = {name: float(value) for name, value in metrics.items()}
        run_id = uuid4().hex
        self.memory.runs[run_id] = _Run(figures)
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / MODEL)
            self.log(run_id, {}, {"": Path(folder)})
        return run_id

    def log(self, run_id: str, metrics: Mapping[str, float], artifacts: Mapping[str, Path]) -> None:
        run = self.memory.runs[run_id]
        run.metrics |= {name: float(value) for name, value in metrics.items()}
        for folder, path in artifacts.items():
            files = {path.name: path} if path.is_file() else {str(f.relative_to(path)): f for f in path.rglob("*")}
            run.files |= {str(Path(folder) / name): file.read_bytes() for name, file in files.items() if file.is_file()}

    def finish(self, run_id: str) -> None:
        """Runs in memory have no status."""

    def metrics(self, run_id: str) -> dict[str, float]:
        return dict(self.memory.runs[run_id].metrics)

    def has_file(self, run_id: str, path: str) -> bool:
        return path in self.memory.runs[run_id].files

    @contextmanager
    def file(self, run_id: str, path: str) -> Iterator[Path]:
        with self._unpacked(run_id) as folder:
            yield folder / path

    @contextmanager
    def _unpacked(self, run_id: str) -> Iterator[Path]:
        """The run's files in a temporary folder."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self.memory.runs[run_id].files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            yield Path(folder)


def _stored(model: _Model) -> StoredModel:
    return StoredModel(dict(model.tags), dict(model.aliases))


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    """Set the key; None removes it."""
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value
