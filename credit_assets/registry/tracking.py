"""MLflow itself: its database, its client, its experiments and its runs. Which models are registered is in
`mlflow_store.py`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from credit_assets.registry.availability import require

SQLITE = "sqlite:///"


def database_of(tracking_uri: str) -> Path | None:
    """The SQLite file that the address names; None for a server."""
    return Path(tracking_uri.removeprefix(SQLITE)) if tracking_uri.startswith(SQLITE) else None


def prepare(tracking_uri: str) -> None:
    """Make the tracking database where it is a SQLite file that does not exist yet.

    Safe in any number of processes at once (MLflow's own creation is not: "table experiments already
    exists"), and a killed one leaves no half-made database: it is made beside its place and moved there.
    A server, and an older database (`mlflow db upgrade` is its owner's decision), are left as they are.
    """
    import filelock

    database = database_of(tracking_uri)
    if database is None or database.exists():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{database}.lock"):
        if database.exists():
            return
        from mlflow.db import upgrade

        being_made = database.with_name(f"{database.name}.new")
        being_made.unlink(missing_ok=True)
        assert upgrade.callback is not None
        upgrade.callback(f"{SQLITE}{being_made}")
        being_made.replace(database)


def client(tracking_uri: str) -> Any:
    """A client of the server or database at the address, which MLflow's global functions use too from now on.

    Raises RegistryUnavailable where it does not answer.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Where a server goes away in the middle, give up after half a minute; MLflow's default is ten.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    import mlflow

    require(tracking_uri)
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


def experiment(tracking_uri: str, name: str, artifacts: Path) -> str:
    """The id of the experiment, made where it is missing, with its artifacts under `artifacts`.

    On a server the artifacts go where the server puts them.
    """
    import filelock

    connected = client(tracking_uri)
    if found := connected.get_experiment_by_name(name):
        return found.experiment_id
    artifacts.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(artifacts / ".lock"):
        if found := connected.get_experiment_by_name(name):
            return found.experiment_id
        local = database_of(tracking_uri) is not None
        return connected.create_experiment(name, (artifacts / name).resolve().as_uri() if local else None)


@contextmanager
def model_run(
    experiment_id: str,
    run_name: str,
    parent_run: str | None,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> Iterator[str]:
    """A run for one model, whose id is given: FINISHED at the end of the context, FAILED where that raises."""
    import mlflow

    with mlflow.start_run(
        experiment_id=experiment_id,
        run_name=run_name,
        nested=mlflow.active_run() is not None,
        parent_run_id=parent_run,
        tags=dict(tags),
    ) as run:
        mlflow.log_params(dict(params))
        mlflow.log_metrics({key: float(value) for key, value in metrics.items()})
        yield run.info.run_id
