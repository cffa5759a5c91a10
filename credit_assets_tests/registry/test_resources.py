"""The MLflow run of a real Dagster run, including steps in several processes."""

import os
import uuid
from multiprocessing.synchronize import Barrier
from pathlib import Path

import dagster as dg
import pytest

from credit_assets.registry.resources import mlflow_resource
from credit_assets.registry.tracking import experiment as experiment_of
from credit_assets.settings.project import Project
from credit_assets_tests.forked import FORKED


def runs_of(project: Project) -> list:
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=project.tracking_uri)
    return client.search_runs([client.get_experiment_by_name("book").experiment_id])


def training(project: Project, fails: bool = False, child: bool = False) -> dg.JobDefinition:
    """A job whose step logs a metric, may log a child run with the same tag, as a model does, and may fail."""

    @dg.op(required_resource_keys={"mlflow"})
    def model(context: dg.OpExecutionContext) -> None:
        context.resources.mlflow.log_metric("auc", 0.75)
        if child:
            with context.resources.mlflow.start_run(nested=True, tags={"dagster_run_id": context.run_id}):
                pass
        if fails:
            raise ValueError("the fit failed")

    @dg.job(resource_defs={"mlflow": mlflow_resource(project, "book")})
    def train() -> None:
        model()

    return train


def train(project: Project, instance: dg.DagsterInstance, fails: bool = False) -> dg.ExecuteInProcessResult:
    return training(project, fails).execute_in_process(instance=instance, raise_on_error=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Project(tmp_path)


def test_successful_run_is_finished_and_a_failed_one_failed(project):
    with dg.DagsterInstance.ephemeral() as instance:
        good, bad = train(project, instance), train(project, instance, fails=True)
    assert good.success
    assert not bad.success
    assert {run.data.tags["dagster_run_id"]: run.info.status for run in runs_of(project)} == {
        good.run_id: "FINISHED",
        bad.run_id: "FAILED",
    }
    assert all(run.data.metrics == {"auc": 0.75} for run in runs_of(project))


def test_run_of_a_killed_process_is_ended_by_the_next_training(project):
    import mlflow

    experiment = experiment_of(project.tracking_uri, "book", project.artifacts)
    client = mlflow.MlflowClient(tracking_uri=project.tracking_uri)
    with dg.DagsterInstance.ephemeral() as instance:
        killed = train(project, instance, fails=True)
        [left] = runs_of(project)
        client.update_run(left.info.run_id, status="RUNNING")
        of_a_notebook = client.create_run(experiment, run_name="notebook")
        of_another_instance = client.create_run(experiment, tags={"dagster_run_id": "elsewhere"})
        train(project, instance)
    assert left.data.tags["dagster_run_id"] == killed.run_id
    assert client.get_run(left.info.run_id).info.status == "FAILED"
    for of_others in (of_a_notebook, of_another_instance):
        assert client.get_run(of_others.info.run_id).info.status == "RUNNING"


def test_later_step_shares_the_run_of_its_dagster_run_and_not_that_of_a_model(project):
    [run_id] = starts(1)
    steps = [training(project, child=True), training(project), training(project, fails=True)]
    for step in steps:
        # Like steps in separate processes, each with the same id.
        with dg.DagsterInstance.ephemeral() as instance:
            step.execute_in_process(instance=instance, run_id=run_id, raise_on_error=False)
    found = {run.data.tags.get("mlflow.parentRunId") is None: run for run in runs_of(project)}
    assert len(runs_of(project)) == 2
    assert (found[True].info.status, found[True].data.metrics) == ("FAILED", {"auc": 0.75})
    assert found[False].info.status == "FINISHED"


def starts(number: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(number)]


def race(root: Path, run_ids: list[str], barrier: Barrier) -> None:
    job = training(Project(root))
    for run_id in run_ids:
        with dg.DagsterInstance.ephemeral() as instance:
            barrier.wait(timeout=60)
            job.execute_in_process(instance=instance, run_id=run_id)


def test_concurrent_processes_share_one_run(project):
    run_ids = starts(4)
    experiment_of(project.tracking_uri, "book", project.artifacts)
    barrier = FORKED.Barrier(2)
    processes = [FORKED.Process(target=race, args=(project.root, run_ids, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(run.data.tags["dagster_run_id"] for run in runs_of(project)) == sorted(run_ids)
    assert {run.info.status for run in runs_of(project)} == {"FINISHED"}


def test_tracking_address_is_not_left_in_the_environment(project):
    with dg.DagsterInstance.ephemeral() as instance:
        train(project, instance)
    assert "MLFLOW_TRACKING_URI" not in os.environ
