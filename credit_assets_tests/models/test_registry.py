"""The registry, on a real SQLite store: versions, aliases, tags, and what a failure leaves."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities.model_registry import ModelVersion

from credit_assets.models import registry
from credit_assets.models.baseline import fit_logistic
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators import PDModel, fit_pd_model
from credit_assets.models.folds import Folds
from credit_assets.settings.training import TrainingConfig

NAME = "home_credit"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """(tracking URI, experiment id) of a fresh store."""
    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return uri, registry.experiment(uri, NAME, folder / "artifacts")


@pytest.fixture(scope="module")
def model(design: DesignMatrix) -> PDModel:
    config = TrainingConfig(threads=1)
    return fit_pd_model(design, Folds(design, config), {"max_depth": 2}, 10, config)[0]


def register(store: tuple[str, str], model: PDModel, **changes: object) -> ModelVersion:
    settings: dict = {
        "tracking_uri": store[0],
        "experiment_id": store[1],
        "name": NAME,
        "run_name": "xgboost",
        "params": {"max_depth": 2},
        "metrics": {"auc": 0.75},
        "tags": {"table.features": "3", "synthetic": "true"},
        **changes,
    }
    return registry.log_and_register(model, **settings)


@pytest.fixture(scope="module")
def versions(store: tuple[str, str], model: PDModel) -> list[ModelVersion]:
    return [register(store, model) for _ in range(2)]


def test_a_version_keeps_what_it_was_made_from(store: tuple[str, str], versions: list[ModelVersion]) -> None:
    version = versions[0]
    assert (version.name, str(version.version)) == (NAME, "1")
    assert version.tags.items() >= {"table.features": "3", "synthetic": "true"}.items()
    run = mlflow.MlflowClient(tracking_uri=store[0]).get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"max_depth": "2"}
    assert run.data.metrics == {"auc": 0.75}
    assert run.data.tags["table.features"] == "3"


def test_the_newest_version_is_the_challenger_until_promoted(
    store: tuple[str, str], versions: list[ModelVersion]
) -> None:
    uri, _ = store
    assert registry.champion(uri, NAME) is None
    assert registry.champion(uri, "unheard of") is None
    challenger = registry.challenger(uri, NAME)
    assert challenger is not None and challenger.version == versions[1].version

    registry.promote(uri, NAME, str(versions[0].version), by="hand", why="a test")
    promoted = registry.promote(uri, NAME, str(versions[1].version), by="gate", why="a test")
    assert promoted.aliases == [registry.CHAMPION]
    assert registry.challenger(uri, NAME) is None
    assert registry.load(uri, NAME, registry.PREVIOUS)[1].version == versions[0].version

    rolled_back = registry.promote(uri, NAME, str(versions[0].version), by="hand", why="a test")
    champion = registry.champion(uri, NAME)
    assert champion is not None and champion.version == rolled_back.version == versions[0].version
    assert registry.load(uri, NAME, registry.PREVIOUS)[1].version == versions[1].version


def test_a_loaded_model_answers_as_the_one_registered(
    store: tuple[str, str], versions: list[ModelVersion], model: PDModel, training_set: pd.DataFrame
) -> None:
    loaded, version = registry.load(store[0], NAME, 2)
    assert version.version == versions[1].version
    np.testing.assert_array_equal(loaded.pd(training_set), model.pd(training_set))
    np.testing.assert_array_equal(loaded.contributions(training_set), model.contributions(training_set))


def test_mlflows_own_loader_serves_it_with_gaps_and_unseen_words(
    store: tuple[str, str], versions: list[ModelVersion], model: PDModel, training_set: pd.DataFrame
) -> None:
    served = mlflow.pyfunc.load_model(f"models:/{NAME}/1")
    frame = training_set[list(model.features)].head(50).copy()
    frame.loc[frame.index[:5], "employer"] = ["moon base", None, "farm", "bank", None]
    np.testing.assert_array_equal(served.predict(frame)["pd"], model.pd(frame))
    schema = served.metadata.get_input_schema()
    assert schema.input_names() == list(model.features)
    assert [str(column.type) for column in schema.inputs][1:4] == [
        "DataType.double",
        "DataType.string",
        "DataType.double",
    ]


def test_the_version_of_a_fingerprint_is_found_and_its_repeats_are_kept_once_a_training(
    store: tuple[str, str], model: PDModel
) -> None:
    uri, name = store[0], "repeated"
    tags = {registry.FINGERPRINT: "abc", registry.ROOT_RUN: "first", "dagster_run_id": "first", "table.rows": "3"}
    made = register(store, model, name=name, tags=tags)
    later = register(store, model, name=name, tags={registry.FINGERPRINT: "other"})
    found = registry.registered_before(uri, name, "abc")
    assert found is not None and found.version == made.version
    assert registry.registered_before(uri, name, "unknown") is None
    assert registry.registered_before(uri, "another book", "abc") is None
    challenger = registry.challenger(uri, name)
    assert challenger is not None and challenger.version == made.version
    newest = registry.newest(uri, name)
    assert newest is not None and newest.version == later.version

    def repeat(root: str, rows: int) -> registry.Repeat:
        return registry.Repeat(datetime.now(UTC), f"run of {root}", root, "by hand", {"rows": rows})

    assert not registry.note_repeat(uri, found, repeat("first", 3)), "the first training, launched again"
    again = [repeat("second", 4), repeat("third", 5)]
    for each in (again[0], again[0], again[1]):
        found = registry.registered_before(uri, name, "abc")
        assert found is not None
        registry.note_repeat(uri, found, each)
    newest = registry.newest(uri, name)
    assert newest is not None and newest.version == made.version
    assert registry.repeats(newest) == again
    assert registry.latest_training(newest) == ("run of third", again[1].at)
    assert (registry.learned_from(newest, "rows"), registry.last_learned_from(newest, "rows")) == (3, 5)
    assert registry.table_versions(uri, name) == {("rows", 3), ("rows", 5)}
    number = int(newest.version)
    taken_back = registry.ChampionEvent(2, number + 1, datetime.now(UTC), "hand", "worse", None, number)
    replaced = dataclasses.replace(taken_back, by="override")
    assert registry.set_aside_before(newest, [replaced], ["third"]) == replaced
    assert registry.set_aside_before(newest, [replaced], ["fourth"]) is None
    assert registry.set_aside_before(newest, [], ["third"]) is None
    assert registry.runs_named(uri) >= {"first", "run of third"}


def test_a_run_that_was_killed_after_it_had_registered_its_version_is_finished(
    store: tuple[str, str], model: PDModel
) -> None:
    made = register(store, model, name="killed", tags={registry.FINGERPRINT: "abc"})
    client = mlflow.MlflowClient(tracking_uri=store[0])
    ended = client.get_run(made.run_id).info.end_time
    registry.registered_before(store[0], "killed", "abc")
    assert client.get_run(made.run_id).info.end_time == ended
    client.update_run(made.run_id, status="RUNNING")
    registry.registered_before(store[0], "killed", "abc")
    assert client.get_run(made.run_id).info.status == "FINISHED"


def test_an_unknown_version_or_alias_is_named(store: tuple[str, str], versions: list[ModelVersion]) -> None:
    with pytest.raises(registry.RegistryError, match="home_credit has no version 99"):
        registry.promote(store[0], NAME, "99", by="hand", why="a test")
    with pytest.raises(registry.RegistryError, match="No version of model nothing is its champion"):
        registry.load(store[0], "nothing", registry.CHAMPION)


def test_a_run_that_fails_reads_failed_and_registers_nothing(store: tuple[str, str], model: PDModel) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        register(store, model, name="broken", run_name="broken", metrics={"auc": "high"})
    [run] = mlflow.search_runs([store[1]], "attributes.run_name = 'broken'", output_format="list")
    assert run.info.status == "FAILED"
    assert registry.challenger(store[0], "broken") is None
    assert mlflow.active_run() is None


def test_a_model_is_a_child_of_the_run_that_made_it_and_gets_later_evidence(
    store: tuple[str, str], model: PDModel, tmp_path: Path
) -> None:
    uri, experiment_id = store
    client = mlflow.MlflowClient(tracking_uri=uri)
    parent = client.create_run(experiment_id).info.run_id
    (tmp_path / "roc.png").write_bytes(b"picture")
    version = register(store, model, name="child", parent_run_id=parent, artifacts={"plots": tmp_path / "roc.png"})
    registry.log_evidence(uri, version.run_id, {"gini": 0.5}, {"": tmp_path})
    run = client.get_run(version.run_id)
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.metrics == {"auc": 0.75, "gini": 0.5}
    assert {file.path for file in client.list_artifacts(version.run_id)} >= {"plots", "roc.png"}


def test_the_baseline_is_logged_and_not_registered(store: tuple[str, str], design: DesignMatrix) -> None:
    uri, experiment_id = store
    run_id = registry.log_baseline(
        fit_logistic(design, TrainingConfig()),
        tracking_uri=uri,
        experiment_id=experiment_id,
        run_name="logistic",
        params={},
        metrics={"auc": 0.7},
        tags={},
    )
    client = mlflow.MlflowClient(tracking_uri=uri)
    assert {file.path for file in client.list_artifacts(run_id, "model")} == {
        "model/model.json",
        "model/regression.skops",
    }


def test_provenance_names_tables_code_and_libraries() -> None:
    tags = registry.provenance_tags(portfolio=NAME, tables={"features": 3, "outcomes": 1}, synthetic=True)
    assert (tags["table.features"], tags["table.outcomes"], tags["synthetic"]) == ("3", "1", "true")
    assert tags["library.xgboost"].count(".") == 2
    assert tags["git_commit"]
    assert tags["code_version"]


FIRST_USE = """
import sys
from pathlib import Path
from credit_assets.models import registry
folder = Path(sys.argv[1])
uri = f"sqlite:///{folder / 'mlflow.db'}"
sys.stdin.readline()
print(registry.experiment(uri, "home_credit", folder / "artifacts"))
"""


def test_two_processes_may_use_a_store_that_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db.new").write_bytes(b"left half made by a crash")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_USE, tmp_path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert said[0][0] == said[1][0] != ""
    assert not (tmp_path / "mlflow.db.new").exists()


def test_nothing_is_sent_to_anybody() -> None:
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
