"""The store in MLflow, on a SQLite file or a server: versions, tags, aliases and files of a model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit_assets.registry import availability, tracking
from credit_assets.registry.errors import RegistryError
from credit_assets.registry.store import Saveable, Servable, StoredModel, StoredVersion

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

SERVING_LIBRARIES = ("xgboost", "scikit-learn", "numpy", "pandas", "scipy", "pydantic", "mlflow")
"""Requirements for loading and predicting. They are given explicitly, since MLflow's inference takes 12 s per model."""

MOST_MODELS, MOST_VERSIONS = 1000, 10_000
"""Page sizes of searches, larger than any project."""


@dataclass(frozen=True)
class MlflowStore:
    """The registered model `name` at a tracking address; `artifacts` is the local folder for a new experiment's
    files."""

    tracking_uri: str
    name: str
    artifacts: Path

    @property
    def _client(self) -> Any:
        return tracking.client(self.tracking_uri)

    def require(self) -> None:
        availability.require(self.tracking_uri)

    def answering(self) -> AbstractContextManager[None]:
        return availability.answering(self.tracking_uri)

    def lock(self) -> AbstractContextManager[Any]:
        """A file lock if the store is a local file."""
        import filelock

        if (database := tracking.database_of(self.tracking_uri)) is None:
            # A server has clients on other machines; there, the run queue allows one training at a time.
            return nullcontext()
        return filelock.FileLock(f"{database}.champion.lock")

    def models(self) -> dict[str, StoredModel]:
        found = self._client.search_registered_models(max_results=MOST_MODELS)
        return {model.name: _model(model) for model in found}

    def model(self) -> StoredModel | None:
        with _missing_is_none():
            return _model(self._client.get_registered_model(self.name))
        return None

    def set_tag(self, tag: str, text: str | None) -> None:
        if text is None:
            self._client.delete_registered_model_tag(self.name, tag)
        else:
            self._client.set_registered_model_tag(self.name, tag, text)

    def set_alias(self, alias: str, number: int | None) -> None:
        if number is None:
            self._client.delete_registered_model_alias(self.name, alias)
        else:
            self._client.set_registered_model_alias(self.name, alias, str(number))

    def versions(self, model: str | None = None) -> list[StoredVersion]:
        found = self._client.search_model_versions(f"name = '{model or self.name}'", max_results=MOST_VERSIONS)
        return sorted(map(_version, found), key=lambda version: version.number)

    def version(self, number: int) -> StoredVersion | None:
        with _missing_is_none():
            return _version(self._client.get_model_version(self.name, str(number)))
        return None

    def aliased(self, alias: str) -> StoredVersion | None:
        # MLflow reports a missing alias as an invalid parameter.
        with _missing_is_none("INVALID_PARAMETER_VALUE"):
            return _version(self._client.get_model_version_by_alias(self.name, alias))
        return None

    def tagged(self, tag: str, text: str) -> StoredVersion | None:
        condition = f"name = '{self.name}' AND tag.`{tag}` = '{text}'"
        found = self._client.search_model_versions(condition, max_results=1, order_by=["version_number DESC"])
        return _version(found[0]) if found else None

    def set_version_tag(self, number: int, tag: str, text: str | None) -> None:
        if text is None:
            self._client.delete_model_version_tag(self.name, str(number), tag)
        else:
            self._client.set_model_version_tag(self.name, str(number), tag, text)

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
        """The signature's inputs are the model's features, numbers as double and text as string, all of them
        optional."""
        import mlflow
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, Schema

        inputs: list[Any] = [
            ColSpec("string" if feature in model.learned_texts else "double", feature, required=False)
            for feature in model.features
        ]
        signature = ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec("double", "pd")]))
        with self._run(run_name, parent_run, tags, params, metrics) as run_id:
            self.log(run_id, {}, artifacts)
            with tempfile.TemporaryDirectory() as folder:
                model.save(Path(folder) / "model")
                logged = mlflow.pyfunc.log_model(
                    name="model",
                    python_model=str(Path(__file__).with_name("mlflow_model.py")),
                    artifacts={"model": str(Path(folder) / "model")},
                    signature=signature,
                    pip_requirements=[f"{library}=={installed(library)}" for library in SERVING_LIBRARIES],
                )
            made = mlflow.register_model(logged.model_uri, self.name, tags={**tags, "run_id": run_id})
        return _version(self._client.get_model_version(self.name, made.version))

    @contextmanager
    def model_files(self, number: int) -> Iterator[Path]:
        import mlflow

        try:
            found = self._client.get_model_version(self.name, str(number))
        except mlflow.MlflowException as error:
            raise RegistryError(f"Model {self.name} has no version {number}.") from error
        with tempfile.TemporaryDirectory() as folder:
            logged = mlflow.artifacts.download_artifacts(found.source, dst_path=folder, tracking_uri=self.tracking_uri)
            yield Path(logged) / "artifacts" / "model"

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
        with (
            self._run(run_name, parent_run, tags, params, metrics) as run_id,
            tempfile.TemporaryDirectory() as folder,
        ):
            model.save(Path(folder) / "model")
            self.log(run_id, {}, {"model": Path(folder) / "model"})
            return run_id

    def log(self, run_id: str, metrics: Mapping[str, float], artifacts: Mapping[str, Path]) -> None:
        client = self._client
        for key, value in metrics.items():
            client.log_metric(run_id, key, float(value))
        for folder, path in artifacts.items():
            log = client.log_artifacts if path.is_dir() else client.log_artifact
            log(run_id, str(path), folder or None)

    def finish(self, run_id: str) -> None:
        client = self._client
        if client.get_run(run_id).info.status != "FINISHED":
            client.set_terminated(run_id, "FINISHED")

    def metrics(self, run_id: str) -> dict[str, float]:
        return dict(self._client.get_run(run_id).data.metrics)

    def has_file(self, run_id: str, path: str) -> bool:
        folder = str(Path(path).parent)
        listed = self._client.list_artifacts(run_id, None if folder == "." else folder)
        return any(file.path == path for file in listed)

    @contextmanager
    def file(self, run_id: str, path: str) -> Iterator[Path]:
        import mlflow

        tracking.client(self.tracking_uri)
        with tempfile.TemporaryDirectory() as folder:
            yield Path(
                mlflow.artifacts.download_artifacts(
                    run_id=run_id, artifact_path=path, dst_path=folder, tracking_uri=self.tracking_uri
                )
            )

    def _run(
        self,
        name: str,
        parent: str | None,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
    ) -> AbstractContextManager[str]:
        experiment_id = tracking.experiment(self.tracking_uri, self.name, self.artifacts)
        return tracking.model_run(experiment_id, name, parent, tags, params, metrics)


def _model(found: RegisteredModel) -> StoredModel:
    return StoredModel(dict(found.tags), {alias: int(number) for alias, number in found.aliases.items()})


def _version(found: ModelVersion) -> StoredVersion:
    created = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    return StoredVersion(int(found.version), str(found.run_id), created, dict(found.tags))


@contextmanager
def _missing_is_none(*codes: str) -> Iterator[None]:
    """Ignore MLflow's error for a missing object."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", *codes}:
            raise
