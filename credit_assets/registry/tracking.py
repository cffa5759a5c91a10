"""Access to MLflow: its database, client, experiments and runs. Registered models are in `mlflow_store.py`."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from credit_assets.registry.availability import require

SQLITE = "sqlite:///"


def database_of(tracking_uri: str) -> Path | None:
    """The SQLite file of the address; None for a server."""
    return Path(tracking_uri.removeprefix(SQLITE)) if tracking_uri.startswith(SQLITE) else None


def prepare(tracking_uri: str) -> None:
    """Create the tracking database if it is a SQLite file that does not exist yet.

    Safe for concurrent processes (MLflow's own creation is not: "table experiments already exists"). The database is
    created under a temporary name and renamed, so that a killed process leaves no partial one. Servers and older
    databases are left unchanged: `mlflow db upgrade` is their owner's decision.
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

        temporary = database.with_name(f"{database.name}.new")
        temporary.unlink(missing_ok=True)
        assert upgrade.callback is not None
        with unsynchronised(temporary):
            upgrade.callback(f"{SQLITE}{temporary}")
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(database)


@contextmanager
def unsynchronised(database: Path) -> Iterator[None]:
    """This SQLite database, if it is opened meanwhile, is not synchronised with the disk after each statement: for the
    hundreds of MLflow's migrations that takes seconds, and is needless for a file that is synchronised at the end."""
    import sqlalchemy as sa

    def prepare_connection(connection: Any, record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            [(_, _, file), *_] = connection.execute("PRAGMA database_list").fetchall()
            if file and Path(file) == database.resolve():
                connection.execute("PRAGMA synchronous = OFF")

    sa.event.listen(sa.Engine, "connect", prepare_connection)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "connect", prepare_connection)


def client(tracking_uri: str) -> Any:
    """A client of the server or database at the address, which MLflow's global functions use too afterwards.

    Raises RegistryUnavailable if it does not respond.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # If a server fails in between, give up after half a minute; MLflow's default is ten minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    import mlflow

    require(tracking_uri)
    prepare(tracking_uri)
    configured = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    # MLflow sets the address in the environment, where it would look like the user's choice for every project.
    if configured is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = configured
    return mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def experiment(tracking_uri: str, name: str, artifacts: Path) -> str:
    """The id of the experiment, created if it is missing, with its artifacts under `artifacts`.

    A server chooses the place of the artifacts itself.
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
    """Start a run for one model and yield its id; the run ends FINISHED, or FAILED if the context raises."""
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
