"""Models in MLflow: logged, versioned, aliased as champion and challenger, and loaded again.

What a model is and how it is fitted is in `estimators.py`.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit_assets.models.estimators import LogisticBaseline, PDModel
from credit_assets.project import code_version, git_commit

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CUT_OFF = "cut_off"
"""Tag of a version: the PD it declines above."""

IMPORTANCE = "importance.json"
"""Artifact of a run: the weight of each feature."""

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous_champion"

LIBRARIES = ("xgboost", "numpy", "pandas", "scikit-learn", "duckdb", "optuna", "mlflow")
"""Whose versions are kept with every model: a score that is to be repeated needs the same."""

SERVING_LIBRARIES = ("xgboost", "numpy", "pandas", "scipy", "pydantic", "mlflow")
"""What loading and predicting imports. Given explicitly: MLflow's own inference takes 12 s a model."""


class RegistryError(LookupError):
    """A model, version or alias that is not in the registry."""


def prepare(tracking_uri: str) -> None:
    """Make the tracking database where it is a SQLite file that does not exist yet.

    Safe in any number of processes at once (MLflow's own creation is not: "table experiments already
    exists"), and a killed one leaves no half-made database: it is made beside its place and moved there.
    A server, and an older database (`mlflow db upgrade` is its owner's decision), are left as they are.
    """
    import filelock

    if not tracking_uri.startswith("sqlite:///"):
        return
    database = Path(tracking_uri.removeprefix("sqlite:///"))
    if database.exists():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{database}.lock"):
        if database.exists():
            return
        from mlflow.db import upgrade

        being_made = database.with_name(f"{database.name}.new")
        being_made.unlink(missing_ok=True)
        assert upgrade.callback is not None
        upgrade.callback(f"sqlite:///{being_made}")
        being_made.replace(database)


def experiment(tracking_uri: str, name: str, artifacts: Path) -> str:
    """The id of the experiment, made where it is missing, with its artifacts under `artifacts`.

    On a server the artifacts go where the server puts them.
    """
    import filelock

    client = _client(tracking_uri)
    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    artifacts.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(artifacts / ".lock"):
        if found := client.get_experiment_by_name(name):
            return found.experiment_id
        local = tracking_uri.startswith("sqlite:///")
        return client.create_experiment(name, (artifacts / name).resolve().as_uri() if local else None)


def log_and_register(
    model: PDModel,
    *,
    tracking_uri: str,
    experiment_id: str,
    name: str,
    run_name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    parent_run_id: str | None = None,
    artifacts: Mapping[str, Path] | None = None,
) -> ModelVersion:
    """Log the model in an MLflow run of its own and register it under `name` as the challenger.

    The run is FINISHED when this returns and FAILED when it raises, and a child of `parent_run_id`
    where given. `artifacts` maps a folder in the run ("" for its top) to a local file or folder. `tags`
    (see `provenance_tags`) are put on the run and on the version. The version's signature is the
    model's features: numbers as double and words as string, both of which may be missing.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs: list[Any] = [
        ColSpec("string" if feature in model.categories else "double", feature, required=False)
        for feature in model.features
    ]
    signature = ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec("double", "pd")]))
    with _child_run(tracking_uri, experiment_id, run_name, parent_run_id, tags) as run:
        _log(params, metrics, artifacts)
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "model")
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(Path(__file__).with_name("served.py")),
                artifacts={"model": str(Path(folder) / "model")},
                signature=signature,
                pip_requirements=[f"{library}=={version(library)}" for library in SERVING_LIBRARIES],
            )
        client = _client(tracking_uri)
        registered = mlflow.register_model(logged.model_uri, name, tags={**tags, "run_id": run.info.run_id})
        client.set_registered_model_alias(name, CHALLENGER, registered.version)
    return client.get_model_version(name, registered.version)


def log_baseline(
    model: LogisticBaseline,
    *,
    tracking_uri: str,
    experiment_id: str,
    run_name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    parent_run_id: str | None = None,
) -> str:
    """Log the baseline in an MLflow run of its own, whose id is returned. It is never registered."""
    import mlflow

    with _child_run(tracking_uri, experiment_id, run_name, parent_run_id, tags) as run:
        _log(params, metrics, None)
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "model")
            mlflow.log_artifact(str(Path(folder) / "model"))
        return run.info.run_id


def log_evidence(
    tracking_uri: str, run_id: str, metrics: Mapping[str, float], artifacts: Mapping[str, Path] | None = None
) -> None:
    """Add what is found out about a model later (evaluation, fairness) to the run that made it."""
    client = _client(tracking_uri)
    for key, value in metrics.items():
        client.log_metric(run_id, key, float(value))
    for folder, path in (artifacts or {}).items():
        log = client.log_artifacts if path.is_dir() else client.log_artifact
        log(run_id, str(path), folder or None)


def champion(tracking_uri: str, name: str) -> ModelVersion | None:
    """The version whose scores decide; None where none has been promoted."""
    return _by_alias(tracking_uri, name, CHAMPION)


def challenger(tracking_uri: str, name: str) -> ModelVersion | None:
    """The newest version that has not become champion; None where there is none."""
    return _by_alias(tracking_uri, name, CHALLENGER)


def promote(tracking_uri: str, name: str, number: str | int) -> ModelVersion:
    """Make a version the champion; a rollback is the same with an earlier number.

    The champion before gets the alias `previous_champion`; a promoted challenger is one no longer.
    Raises RegistryError where there is no such version.
    """
    client = _client(tracking_uri)
    wanted = _version(tracking_uri, name, number)
    before = champion(tracking_uri, name)
    client.set_registered_model_alias(name, CHAMPION, wanted.version)
    if before and before.version != wanted.version:
        client.set_registered_model_alias(name, PREVIOUS, before.version)
    if (waiting := challenger(tracking_uri, name)) and waiting.version == wanted.version:
        client.delete_registered_model_alias(name, CHALLENGER)
    return _version(tracking_uri, name, number)


def load(tracking_uri: str, name: str, which: str | int) -> tuple[PDModel, ModelVersion]:
    """The model under an alias (`champion`) or a version number (`3`), and its version.

    Raises RegistryError where there is none.
    """
    import mlflow

    which = str(which)
    found = _version(tracking_uri, name, which) if which.isdigit() else _by_alias(tracking_uri, name, which)
    if found is None:
        raise RegistryError(f"No version of model {name} is its {which}.")
    with tempfile.TemporaryDirectory() as folder:
        logged = mlflow.artifacts.download_artifacts(found.source, dst_path=folder, tracking_uri=tracking_uri)
        return PDModel.load(Path(logged) / "artifacts" / "model"), found


def cut_off(tracking_uri: str, name: str, number: str | int) -> float:
    """The highest PD that the version approves, as it was set when it was trained."""
    return float(_version(tracking_uri, name, number).tags[CUT_OFF])


def run_of(tracking_uri: str, name: str, number: str | int) -> str:
    """The id of the run that trained the version."""
    return str(_version(tracking_uri, name, number).run_id)


def metrics(tracking_uri: str, run_id: str) -> dict[str, float]:
    """The latest value of every metric of a run."""
    return dict(_client(tracking_uri).get_run(run_id).data.metrics)


def importance(tracking_uri: str, run_id: str) -> dict[str, float]:
    """How much the run's model relies on each feature (`importance.py`)."""
    with artifact(tracking_uri, run_id, IMPORTANCE) as path:
        return json.loads(path.read_text())


@contextmanager
def artifact(tracking_uri: str, run_id: str, name: str) -> Iterator[Path]:
    """A file that was logged with a run, for as long as the context lasts."""
    import mlflow

    _client(tracking_uri)
    with tempfile.TemporaryDirectory() as folder:
        yield Path(
            mlflow.artifacts.download_artifacts(
                run_id=run_id, artifact_path=name, dst_path=folder, tracking_uri=tracking_uri
            )
        )


def provenance_tags(
    *, portfolio: str, tables: Mapping[str, int], synthetic: bool, dagster_run_id: str | None = None
) -> dict[str, str]:
    """What a model was made from and by: table versions, code, libraries, whether the data are synthetic."""
    tags = {
        "portfolio": portfolio,
        "synthetic": str(synthetic).lower(),
        "git_commit": git_commit(),
        "code_version": code_version(),
        "python": platform.python_version(),
    }
    tags |= {f"table.{table}": str(number) for table, number in sorted(tables.items())}
    tags |= {f"library.{library}": version(library) for library in LIBRARIES}
    return tags | ({"dagster_run_id": dagster_run_id} if dagster_run_id else {})


def _client(tracking_uri: str) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    prepare(tracking_uri)
    configured = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    # MLflow puts the address into the environment, where it would read as its user's choice for any project.
    if configured is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = configured
    return mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def _child_run(
    tracking_uri: str, experiment_id: str, run_name: str, parent_run_id: str | None, tags: Mapping[str, str]
) -> Any:
    import mlflow

    _client(tracking_uri)
    return mlflow.start_run(
        experiment_id=experiment_id,
        run_name=run_name,
        nested=mlflow.active_run() is not None,
        parent_run_id=parent_run_id,
        tags=dict(tags),
    )


def _log(params: Mapping[str, Any], metrics: Mapping[str, float], artifacts: Mapping[str, Path] | None) -> None:
    import mlflow

    mlflow.log_params(dict(params))
    mlflow.log_metrics({key: float(value) for key, value in metrics.items()})
    for folder, path in (artifacts or {}).items():
        log = mlflow.log_artifacts if path.is_dir() else mlflow.log_artifact
        log(str(path), folder or None)


def _by_alias(tracking_uri: str, name: str, alias: str) -> ModelVersion | None:
    from mlflow.exceptions import MlflowException

    try:
        return _client(tracking_uri).get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise


def _version(tracking_uri: str, name: str, number: str | int) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    try:
        return _client(tracking_uri).get_model_version(name, str(number))
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise RegistryError(f"Model {name} has no version {number}.") from None
        raise
