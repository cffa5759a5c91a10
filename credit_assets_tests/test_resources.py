"""The lake's connection and MLflow's run in real Dagster runs, steps in several processes included."""

import os
import sys
from pathlib import Path

import dagster as dg
import pytest

from credit_assets.models import registry
from credit_assets.project import Project
from credit_assets.resources import batches, lake_resource, mlflow_resource

STEPS_IN_PROCESSES = """
from pathlib import Path

import dagster as dg

from credit_assets.models import registry
from credit_assets.project import Project
from credit_assets.resources import mlflow_resource

project = Project(Path(__file__).parent)


@dg.op(required_resource_keys={"mlflow"})
def one(context) -> int:
    context.resources.mlflow.log_metric("one", 1)
    # As models are logged: in a child with the same tag.
    with context.resources.mlflow.start_run(nested=True, tags={"dagster_run_id": context.run_id}):
        return 1


@dg.op(required_resource_keys={"mlflow"})
def other(context) -> int:
    context.resources.mlflow.log_metric("other", 1)
    return 1


@dg.op(required_resource_keys={"mlflow"})
def fails(context, one: int, other: int) -> None:
    context.resources.mlflow.log_metric("last", 1)
    raise ValueError("the step fails")


@dg.job(resource_defs={"mlflow": mlflow_resource(project, "book")}, executor_def=dg.multiprocess_executor)
def training():
    fails(one(), other())


def made() -> dg.JobDefinition:
    return training
"""


def runs_of(project: Project) -> list:
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=project.tracking_uri)
    return client.search_runs([client.get_experiment_by_name("book").experiment_id])


def train(project: Project, instance: dg.DagsterInstance, fails: bool = False) -> dg.ExecuteInProcessResult:
    @dg.asset(required_resource_keys={"mlflow"})
    def model(context: dg.AssetExecutionContext) -> None:
        context.resources.mlflow.log_metric("auc", 0.75)
        if fails:
            raise ValueError("the fit failed")

    resources = {"mlflow": mlflow_resource(project, "book")}
    return dg.materialize([model], resources=resources, instance=instance, raise_on_error=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Project(tmp_path)


def test_a_good_run_reads_finished_and_a_failed_one_failed(project):
    with dg.DagsterInstance.ephemeral() as instance:
        good, bad = train(project, instance), train(project, instance, fails=True)
    assert good.success
    assert not bad.success
    assert {run.data.tags["dagster_run_id"]: run.info.status for run in runs_of(project)} == {
        good.run_id: "FINISHED",
        bad.run_id: "FAILED",
    }
    assert all(run.data.metrics == {"auc": 0.75} for run in runs_of(project))


def test_a_run_whose_process_was_killed_is_ended_by_the_next_training(project):
    import mlflow

    experiment = registry.experiment(project.tracking_uri, "book", project.artifacts)
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


def test_steps_in_processes_of_their_own_share_one_run_which_fails_with_any_of_them(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    (project.root / "steps_in_processes.py").write_text(STEPS_IN_PROCESSES)
    (project.root / "dagster").mkdir()
    monkeypatch.setattr(sys, "path", [str(project.root), *sys.path])
    preload = {"forkserver": {"preload_modules": ["credit_assets.resources", "dagster_mlflow", "sqlalchemy"]}}
    with dg.DagsterInstance.local_temp(str(project.root / "dagster")) as instance:
        result = dg.execute_job(
            dg.build_reconstructable_job(
                "steps_in_processes", "made", (), reconstructor_working_directory=str(project.root)
            ),
            instance=instance,
            run_config={"execution": {"config": {"max_concurrent": 2, "start_method": preload}}},
        )
        failed = [event.step_key for event in result.all_events if event.is_step_failure]
    assert failed == ["fails"]
    parents = [run for run in runs_of(project) if "mlflow.parentRunId" not in run.data.tags]
    assert [(run.info.status, run.data.metrics) for run in parents] == [("FAILED", {"one": 1, "other": 1, "last": 1})]


def test_mlflow_s_address_is_not_left_in_the_environment(project):
    with dg.DagsterInstance.ephemeral() as instance:
        train(project, instance)
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_the_connection_is_opened_at_first_use_and_spills_into_a_folder_of_its_own_while_it_lasts(project):
    seen = {}

    @dg.asset
    def looked(lake: dg.ResourceParam[object]) -> None:
        seen["before"] = project.spill.exists()
        [[seen["spill"]]] = lake.connection.sql("SELECT current_setting('temp_directory')").fetchall()
        seen["while"] = Path(seen["spill"]).is_dir()

    assert dg.materialize([looked], resources={"lake": lake_resource(project)}).success
    assert not seen["before"]
    assert seen["while"]
    assert Path(seen["spill"]).parent == project.spill
    assert not Path(seen["spill"]).exists()


def test_duckdb_may_not_reach_for_the_network_by_itself(project, monkeypatch):
    monkeypatch.setenv("CREDIT_ASSETS_MEMORY_LIMIT", "256MB")
    monkeypatch.setenv("CREDIT_ASSETS_THREADS", "1")
    resource = lake_resource(project)
    settings = ("autoinstall_known_extensions", "autoload_known_extensions", "memory_limit", "threads")
    try:
        found = [resource.connection.sql(f"SELECT current_setting('{name}')").fetchall()[0][0] for name in settings]
    finally:
        resource.teardown_after_execution(dg.build_init_resource_context())
    assert found == [False, False, "244.1 MiB", 1]


def test_each_portfolio_has_batches_of_its_own():
    assert batches("one").name == "one_batches"
    assert batches("one") != batches("other")
