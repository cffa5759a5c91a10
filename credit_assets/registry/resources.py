"""MLflow tracking as a Dagster resource, and registry errors as failures of a step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from filelock import FileLock

from credit_assets.registry.errors import RegistryError
from credit_assets.registry.tags import DAGSTER_RUN
from credit_assets.registry.tracking import experiment
from credit_assets.settings.project import Project


def mlflow_resource(project: Project, portfolio: str) -> dg.ResourceDefinition:
    """dagster-mlflow's resource, which tracks a Dagster run as an MLflow run, with these additions:

    - The MLflow run is found or created under a lock and never confused with its children, so that steps in several
      processes share it.
    - It ends FAILED if a step of the Dagster run failed (the library ends every run FINISHED).
    - MLflow runs left by killed processes are ended by the next training.
    """

    @dg.resource(description="MLflow: one run per Dagster run, one child run per model.")
    def tracking(context: dg.InitResourceContext) -> Iterator[Any]:
        import mlflow
        from dagster_mlflow.resources import MlFlow

        experiment_id = experiment(project.tracking_uri, portfolio, project.artifacts)
        assert context.instance and context.run_id and context.dagster_run
        with FileLock(project.data / "mlflow" / "runs.lock"):
            _end_abandoned(context.instance, experiment_id)
            settings: dict[str, Any] = {
                "experiment_name": portfolio,
                # None: the address is set already, and a value here would go into the environment.
                "mlflow_tracking_uri": None,
                "mlflow_run_id": _run_of(context.run_id, context.dagster_run.job_name, experiment_id),
                "env": {},
                "extra_tags": {},
            }
            tracked = MlFlow(context.replace_config(settings))
        yield tracked
        failed = context.instance.get_records_for_run(
            context.run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=1
        ).records
        mlflow.end_run("FAILED" if failed else "FINISHED")

    return tracking


@contextmanager
def as_failure(*others: type[Exception]) -> Iterator[None]:
    """Turn a RegistryError, or one of the `others`, into a failure of the step that is not retried."""
    expected: tuple[type[Exception], ...] = (RegistryError, *others)
    try:
        yield
    except expected as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def tracking_run(context: dg.AssetExecutionContext) -> str:
    """The id of the Dagster run's MLflow run, the parent of its models' runs."""
    return context.resources.mlflow.active_run().info.run_id


def _run_of(dagster_run_id: str, job: str, experiment_id: str) -> str:
    """The id of the MLflow run of a Dagster run, created if it is missing."""
    import mlflow
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    client = mlflow.MlflowClient()
    for run in client.search_runs([experiment_id], f"tags.{DAGSTER_RUN} = '{dagster_run_id}'"):
        if MLFLOW_PARENT_RUN_ID not in run.data.tags:
            return run.info.run_id
    tags = {DAGSTER_RUN: dagster_run_id}
    return client.create_run(experiment_id, tags=tags, run_name=job).info.run_id


def _end_abandoned(instance: dg.DagsterInstance, experiment_id: str) -> None:
    """Mark as FAILED the MLflow runs that are RUNNING although their Dagster run has ended."""
    import mlflow

    client = mlflow.MlflowClient()
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        dagster_run = instance.get_run_by_id(run.data.tags.get(DAGSTER_RUN, ""))
        # Runs unknown to this instance belong to others, such as a notebook or another deployment.
        if dagster_run is not None and dagster_run.is_finished:
            client.set_terminated(run.info.run_id, "FAILED")
