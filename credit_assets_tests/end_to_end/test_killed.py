"""A project whose process is killed during ingestion and again during the search ends like an undisturbed one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from credit_assets.automation.runs import RunOutcome
from credit_assets.registry.registry import Registry
from credit_assets.settings.project import Project
from credit_assets_tests.small_project import (
    BATCHES,
    BOOK,
    deliver_sample,
    instance_of,
    kill_at,
    make_project,
    read_until,
    run,
    start,
    table,
)

# Columns that differ between projects: the run that made a model, and the number of earlier batches.
PROJECT_COLUMNS = ["model_run_id", "model_version", "features_checked_against", "feature_table_version"]


@dataclass(frozen=True)
class Killed:
    """The output of the two killed processes and of a command in between, and the run that followed."""

    project: Project
    ingesting: str
    sockets: list[str]
    beside: str
    training: str
    said: list[str]
    outcomes: list[RunOutcome]


def internet_sockets(process: int) -> list[str]:
    """The process's network sockets, listening or connected, as Linux lists them."""
    opened = set()
    for file in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            opened.add(str(file.readlink()))
    return [
        entry
        for kind in ("tcp", "tcp6", "udp", "udp6")
        for entry in Path(f"/proc/{process}/net/{kind}").read_text().splitlines()[1:]
        if f"socket:[{entry.split()[9]}]" in opened
    ]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """A fresh project with the first two batches of `line`, computed with a different number of threads."""
    project = make_project(tmp_path_factory.mktemp("killed") / "project")
    deliver_sample(project, batches=2)
    command = ("run", "--portfolio", BOOK)
    ingesting = kill_at("bureau_balance", start(project, *command, CREDIT_ASSETS_THREADS="1"))
    training = start(project, *command, CREDIT_ASSETS_THREADS="1")
    at_work = read_until("ingest", training)
    with start(project, *command) as second:
        beside = second.communicate()[0]
    at_work += read_until("trial 1 of at most 2", training)
    sockets = internet_sockets(training.pid)
    with training:
        training.kill()
    said: list[str] = []
    return Killed(project, ingesting, sockets, beside, at_work, said, run(project, said))


def test_second_command_is_told_to_wait_for_the_first(killed):
    assert f"Another credit-assets command is running on {BOOK}" in killed.beside
    assert "Traceback" not in killed.beside


def test_interrupted_batch_is_ingested_again_and_then_the_next(killed):
    assert f"ingest {BATCHES[0]}: its files differ from what was ingested" in killed.training
    assert f"ingest {BATCHES[1]}: delivered, not ingested yet" in killed.training


def test_run_after_a_kill_does_the_remaining_work(killed):
    assert [(outcome.job, outcome.batch, outcome.success) for outcome in killed.outcomes] == [
        ("train", None, True),
        ("score", BATCHES[0], True),
        ("score", BATCHES[1], True),
    ]


def test_killed_runs_are_marked_failed(killed):
    with instance_of(killed.project) as instance:
        ended = {status: instance.get_runs(dg.RunsFilter(statuses=[status])) for status in dg.DagsterRunStatus}
        assert {status for status, runs in ended.items() if runs} == {
            dg.DagsterRunStatus.SUCCESS,
            dg.DagsterRunStatus.FAILURE,
        }
        assert [run.job_name for run in ended[dg.DagsterRunStatus.FAILURE]] == ["train", "ingest"]


def test_search_continues_where_it_was_killed(killed):
    assert not any("trial 1 of at most 2" in line for line in killed.said)
    [study] = killed.project.studies.glob("*.sqlite3")
    import optuna

    trials = optuna.load_study(study_name=study.stem, storage=f"sqlite:///{study}").trials
    assert sum(trial.state.is_finished() and trial.state.name != "FAIL" for trial in trials) == 2


def test_killed_training_leaves_no_running_mlflow_run(killed):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=killed.project.tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name(BOOK).experiment_id])
    parents = [run.info.status for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert sorted(parents) == ["FAILED", "FINISHED"]
    assert not [run for run in runs if run.info.status == "RUNNING"]
    assert Registry.of(killed.project, BOOK).champion() is not None


def test_active_command_neither_listens_nor_connects(killed):
    assert killed.sockets == []


def test_killed_process_leaves_no_scratch_folder(killed):
    assert [path.name for path in killed.project.spill.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("batch", BATCHES[:2])
def test_same_data_and_seed_give_the_same_scores_bit_for_bit(line, killed, batch):
    left_alone, cut_off = (
        table(project, "scores", batch).drop(columns=PROJECT_COLUMNS) for project in (line.project, killed.project)
    )
    pd.testing.assert_frame_equal(left_alone, cut_off, check_exact=True)
    assert left_alone["pd"].to_numpy().tobytes() == cut_off["pd"].to_numpy().tobytes()


@pytest.mark.parametrize("name", ["features", "training_set", "candidate", "logistic_regression", "predictions"])
def test_same_data_and_seed_give_the_same_tables_bit_for_bit(line, killed, name):
    left_alone, cut_off = (table(project, name) for project in (line.project, killed.project))
    if "batch" in left_alone:
        left_alone = left_alone[left_alone["batch"].isin(BATCHES[:2])].reset_index(drop=True)
    made_by = [column for column in ("model_version", "candidate_version") if column in left_alone]
    pd.testing.assert_frame_equal(left_alone.drop(columns=made_by), cut_off.drop(columns=made_by), check_exact=True)
