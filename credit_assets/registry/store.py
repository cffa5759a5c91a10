"""The storage that `Registry` needs: tags, aliases, metrics and files. `mlflow_store.py` implements it with MLflow,
`memory.py` in memory. Rules about champions are in `registry.py`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class StoredVersion:
    """A version of a model; the run `run_id` holds its metrics and files."""

    number: int
    run_id: str
    created: datetime
    tags: Mapping[str, str]


@dataclass(frozen=True)
class StoredModel:
    """A registered model, without its versions."""

    tags: Mapping[str, str]
    aliases: Mapping[str, int]


class Saveable(Protocol):
    """A fitted model that can be written to a folder."""

    def save(self, folder: Path) -> None: ...


class Servable(Saveable, Protocol):
    """A fitted model with named features: those in `learned_texts` are text, the others numbers."""

    @property
    def features(self) -> Sequence[str]: ...

    @property
    def learned_texts(self) -> Mapping[str, Collection[str]]: ...


class Store(Protocol):
    """A registered model, its versions, and their runs."""

    @property
    def name(self) -> str: ...

    def require(self) -> None:
        """Raise RegistryUnavailable if the store does not respond."""

    def answering(self) -> AbstractContextManager[None]:
        """A context that requires the store, and raises RegistryUnavailable if it fails in between."""

    def lock(self) -> AbstractContextManager[Any]:
        """A context that holds the exclusive right to change champions."""

    def models(self) -> dict[str, StoredModel]:
        """All registered models, by name."""

    def model(self) -> StoredModel | None: ...

    def set_tag(self, tag: str, text: str | None) -> None:
        """Set a tag of the model; None removes it."""

    def set_alias(self, alias: str, number: int | None) -> None:
        """Point an alias to a version; None removes it."""

    def versions(self, model: str | None = None) -> list[StoredVersion]:
        """All versions, oldest first, of this model or the named one."""

    def version(self, number: int) -> StoredVersion | None: ...

    def aliased(self, alias: str) -> StoredVersion | None: ...

    def tagged(self, tag: str, text: str) -> StoredVersion | None:
        """The newest version with this tag."""

    def set_version_tag(self, number: int, tag: str, text: str | None) -> None:
        """Set a tag of a version; None removes it."""

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
        """Log the model in a new run and register it as a new version. Registers nothing if it raises."""

    def model_files(self, number: int) -> AbstractContextManager[Path]:
        """The folder of the version's saved model, which exists as long as the context."""

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
        """Log a model in a new run without registering it. Returns the run's id."""

    def log(self, run_id: str, metrics: Mapping[str, float], artifacts: Mapping[str, Path]) -> None:
        """Add metrics and files to a run; `artifacts` maps a folder in the run ("" for its top) to a file or folder."""

    def finish(self, run_id: str) -> None:
        """Mark a run as finished."""

    def metrics(self, run_id: str) -> dict[str, float]:
        """The latest value of each metric of a run."""

    def has_file(self, run_id: str, path: str) -> bool: ...

    def file(self, run_id: str, path: str) -> AbstractContextManager[Path]:
        """A file of a run, which exists as long as the context."""
