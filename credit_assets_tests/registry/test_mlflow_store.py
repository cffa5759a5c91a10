"""What only a registry in MLflow has: runs with a status, tags written by earlier releases, and several processes."""

from __future__ import annotations

import os
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import mlflow
import pytest

from credit_assets.registry import tracking
from credit_assets.registry.mlflow_store import MlflowStore
from credit_assets.registry.moves import MOVING
from credit_assets.registry.registry import Registry
from credit_assets.registry.tags import CHAMPION
from credit_assets.registry.version import Origin
from credit_assets_tests.bare_versions import EmptyModel, register_bare
from credit_assets_tests.forked import FORKED
from credit_assets_tests.registry.conftest import Book

pytestmark = pytest.mark.slow


@pytest.fixture
def client(in_mlflow: Registry) -> mlflow.MlflowClient:
    return tracking.client(in_mlflow.store.tracking_uri)


def test_version_and_its_run_have_the_tags_of_earlier_releases(
    in_mlflow: Registry, client: mlflow.MlflowClient
) -> None:
    origin = Origin(
        synthetic=True,
        tables={"book/features": 3},
        dagster_run="run",
        root_run="root",
        content="123",
        fingerprint="abc",
        cut_off=0.25,
        why="by hand",
    )
    made = in_mlflow.register(EmptyModel(), origin, run_name="xgboost", params={"max_depth": 2}, metrics={"auc": 0.75})
    in_mlflow.log_gate(1, "It was refused by the gate.", passed=False, better_than=7, better="AUC +0.04")
    run = client.get_run(made.run_id)
    assert (run.info.status, run.data.params, run.data.metrics) == ("FINISHED", {"max_depth": "2"}, {"auc": 0.75})
    tags = client.get_model_version(in_mlflow.name, "1").tags
    of_origin = {
        "portfolio": in_mlflow.name,
        "synthetic": "true",
        "table.book/features": "3",
        "dagster_run_id": "run",
        "dagster_root_run_id": "root",
        "learned_from": "123",
        "fingerprint": "abc",
        "cut_off": "0.25",
        "why": "by hand",
    }
    assert of_origin.items() <= tags.items() and of_origin.items() <= run.data.tags.items()
    assert (tags["gate"], tags["refused_though_better"]) == ("It was refused by the gate.", "7 AUC +0.04")
    assert tags["run_id"] == made.run_id
    assert tags["library.xgboost"].count(".") == 2
    assert tags["git_commit"] and tags["code_version"] and tags["python"]


def test_version_of_another_program_has_no_tags(
    in_mlflow: Registry, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    run_id = client.create_run(tracking.experiment(in_mlflow.store.tracking_uri, "other", tmp_path)).info.run_id
    client.create_registered_model(in_mlflow.name)
    client.create_model_version(in_mlflow.name, "nowhere", run_id)
    [found] = in_mlflow.versions()
    assert (found.number, found.run_id, found.synthetic, found.tables) == (1, run_id, False, {})
    assert [found.cut_off, found.why, found.gate, found.dagster_run, found.refused_though_better(1)] == [None] * 5


def test_failing_run_is_failed_and_registers_nothing(in_mlflow: Registry) -> None:
    settings: dict = {"run_name": "broken", "params": {}, "metrics": {"auc": "high"}}
    with pytest.raises(ValueError, match="could not convert"):
        in_mlflow.register(EmptyModel(), Origin(synthetic=True), **settings)
    [run] = mlflow.search_runs(experiment_names=[in_mlflow.name], output_format="list")
    assert run.info.status == "FAILED"
    assert in_mlflow.versions() == []
    assert mlflow.active_run() is None


def test_model_run_is_a_child_of_the_training_run(
    in_mlflow: Registry, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    store = in_mlflow.store
    parent = client.create_run(tracking.experiment(store.tracking_uri, store.name, store.artifacts)).info.run_id
    (tmp_path / "roc.png").write_bytes(b"picture")
    version = in_mlflow.register(
        EmptyModel(),
        Origin(synthetic=True),
        run_name="xgboost",
        params={},
        metrics={},
        artifacts={"plots": tmp_path / "roc.png"},
        parent_run=parent,
    )
    assert client.get_run(version.run_id).data.tags["mlflow.parentRunId"] == parent
    assert in_mlflow.has_file(version, "plots/roc.png")


def test_run_of_a_killed_training_is_finished_when_its_version_is_found(
    in_mlflow: Registry, client: mlflow.MlflowClient
) -> None:
    number = register_bare(in_mlflow, fingerprint="abc")
    run_id = in_mlflow.get(number).run_id
    assert client.get_run(run_id).info.status == "RUNNING"
    in_mlflow.registered_before("abc")
    ended = client.get_run(run_id).info
    assert ended.status == "FINISHED"
    in_mlflow.registered_before("abc")
    assert client.get_run(run_id).info.end_time == ended.end_time


def test_tracking_address_is_not_left_in_the_environment_by_the_store(
    in_mlflow: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    in_mlflow.champion()
    assert "MLFLOW_TRACKING_URI" not in os.environ
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    in_mlflow.champion()
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:9"


def first_use(folder: Path, barrier: Barrier, made: SimpleQueue[str]) -> None:
    barrier.wait(timeout=60)
    made.put(tracking.experiment(f"sqlite:///{folder / 'mlflow.db'}", "home_credit", folder / "artifacts"))


def test_two_processes_may_create_a_store_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db.new").write_bytes(b"left half made by a crash")
    barrier, made = FORKED.Barrier(2), FORKED.SimpleQueue()
    processes = [FORKED.Process(target=first_use, args=(tmp_path, barrier, made)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert made.get() == made.get() != ""
    assert not (tmp_path / "mlflow.db.new").exists()


def promote_in_turn(store: MlflowStore, numbers: list[int], barrier: Barrier) -> None:
    registry = Registry(store)
    registry.champion()
    barrier.wait(timeout=60)
    for number in numbers:
        registry.promote(number, by="hand", why=f"by {numbers}")


def test_two_concurrent_promotions_leave_one_consistent_history(in_mlflow: Registry) -> None:
    book, store = Book(in_mlflow), in_mlflow.store
    book.add(3)
    book.promote(3)
    barrier = FORKED.Barrier(2)
    processes = [
        FORKED.Process(
            target=promote_in_turn, args=(MlflowStore(store.tracking_uri, store.name, Path("unused")), numbers, barrier)
        )
        for numbers in ([1, 2, 1, 2, 1], [2, 3, 2, 3, 2])
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    events = book.history()
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert [event.replaced for event in events[1:]] == [event.version for event in events[:-1]]
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert book.aliases()[CHAMPION] == events[-1].version
    assert MOVING not in book.tags()


def test_no_telemetry_is_sent() -> None:
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
