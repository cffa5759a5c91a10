"""The size of the instance stays bounded: on a real SQLite instance with real runs."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from credit_assets.dagster_private import make_new_run_id
from credit_assets.settings.run_tags import PORTFOLIO_TAG
from credit_assets.upkeep import retention
from credit_assets.upkeep.retention import Purged, purge

pytestmark = pytest.mark.slow

BOOK, BATCHES = "book", ("b1", "b2")
KEY, WHOLE = dg.AssetKey("scores"), dg.AssetKey("champion")
FOREVER = datetime.now(UTC) + timedelta(days=1)


@dg.asset(
    partitions_def=dg.DynamicPartitionsDefinition(name="batches"),
    check_specs=[dg.AssetCheckSpec("good", asset="scores")],
)
def scores(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    if context.run_tags.get("fails"):
        raise dg.Failure("on purpose")
    context.log.info("x" * 5000)
    return dg.MaterializeResult(
        metadata={"picture": "p" * 20_000},
        check_results=[dg.AssetCheckResult(check_name="good", passed=True, metadata={"run": context.run_id})],
    )


@dg.asset
def champion() -> None: ...


JOBS = dg.Definitions(
    [scores, champion], jobs=[dg.define_asset_job(asset.key.path[0], [asset]) for asset in (scores, champion)]
)


def execute(instance: dg.DagsterInstance, job: str, batch: str | None = None, **tags: str) -> str:
    done = JOBS.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=batch, tags=tags, raise_on_error=False
    )
    return done.run_id


def run_round(instance: dg.DagsterInstance) -> list[str]:
    return [*(execute(instance, "scores", batch) for batch in BATCHES), execute(instance, "champion")]


@pytest.fixture(scope="module")
def used_instance(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[str], str]:
    """The folder of an instance, the runs of its first and second round, and a failed run between them."""
    folder = tmp_path_factory.mktemp("used") / "instance"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        instance.add_dynamic_partitions("batches", list(BATCHES))
        first = run_round(instance)
        failed = execute(instance, "scores", BATCHES[0], fails="yes")
        return folder, first, run_round(instance), failed


@pytest.fixture
def instance(used_instance, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    shutil.copytree(used_instance[0], tmp_path / "instance")
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as instance:
        yield instance


def runs(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def rows(tmp_path: Path) -> dict[str, int]:
    """The rows of the databases, and the files of runs."""
    home, found = tmp_path / "instance", {}
    tables = {
        "runs.db": ("runs", "run_tags"),
        "runs/index.db": ("event_logs", "asset_check_executions", "asset_event_tags"),
    }
    for file, names in tables.items():
        with closing(sqlite3.connect(home / "history" / file)) as database:
            found |= {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}
    logs = {path.parts[-3] for path in (home / "storage").rglob("compute_logs/*")}
    return found | {"databases": len(list((home / "history" / "runs").glob("*-*.db"))), "logs": len(logs)}


def test_knowledge_of_assets_batches_and_checks_survives_the_purge(instance, used_instance, tmp_path):
    second = used_instance[2]
    done = purge(instance, BOOK, [], FOREVER)
    assert (done.deleted, done.kept) == (4, 3)
    assert runs(instance) == set(second)
    assert instance.get_materialized_partitions(KEY) == set(BATCHES)
    for batch, run_id in zip(BATCHES, second, strict=False):
        asked = dg.AssetRecordsFilter(KEY, asset_partitions=[batch])
        [made] = instance.fetch_materializations(asked, limit=5).records
        assert made.run_id == run_id
    latest = instance.get_latest_materialization_event(WHOLE)
    assert latest and latest.run_id == second[-1]
    check = dg.AssetCheckKey(KEY, "good")
    history = instance.event_log_storage.get_asset_check_execution_history(check, limit=9)
    assert [record.run_id for record in history] == second[1::-1]
    assert all(record.evaluation.metadata["run"].value == record.run_id for record in history)
    for run_id in second:
        assert instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_SUCCESS)
    assert rows(tmp_path) | {"event_logs": 0} == {
        "runs": 3,
        "run_tags": sum(len(run.tags) for run in instance.get_runs()),
        "event_logs": 0,
        "asset_check_executions": 2,
        "asset_event_tags": rows(tmp_path)["asset_event_tags"],
        "databases": 3,
        "logs": 3,
    }
    with closing(sqlite3.connect(tmp_path / "instance" / "history" / "runs" / "index.db")) as index:
        assert {run_id for (run_id,) in index.execute("SELECT run_id FROM event_logs")} == set(second)


def test_instance_does_not_grow_over_rounds(instance, tmp_path):
    def size() -> int:
        return sum(file.stat().st_size for file in (tmp_path / "instance").rglob("*") if file.is_file())

    before = size()
    first = purge(instance, BOOK, [], FOREVER)
    after, held = size(), rows(tmp_path)
    assert first.bytes_freed == pytest.approx(before - after, abs=100_000), "but for the logs' own"
    run_round(instance)
    assert purge(instance, BOOK, [], FOREVER).deleted == 3
    assert rows(tmp_path) == held
    assert size() == pytest.approx(after, rel=0.02)
    assert purge(instance, BOOK, [], FOREVER) == Purged(deleted=0, kept=3, bytes_freed=0)


def test_referenced_young_and_active_runs_are_kept(instance, used_instance):
    _, first, second, _ = used_instance
    at_work = instance.create_run_for_job(JOBS.resolve_job_def("champion"), status=dg.DagsterRunStatus.STARTED)
    assert purge(instance, BOOK, [], datetime.now(UTC) - timedelta(days=1)).deleted == 0
    done = purge(instance, BOOK, [first[0]], FOREVER)
    assert runs(instance) == {first[0], *second, at_work.run_id}
    assert (done.deleted, done.kept) == (3, 4)


def test_runs_of_another_portfolio_are_not_purged(instance, used_instance):
    _, first, second, _ = used_instance
    for run_id in first:
        instance.add_run_tags(run_id, {PORTFOLIO_TAG: "other"})
    purge(instance, BOOK, [], FOREVER)
    assert runs(instance) == {*first, *second}
    purge(instance, "other", [], FOREVER)
    assert runs(instance) == set(second)


def test_events_without_a_run_are_kept(instance):
    instance.report_runless_asset_event(dg.AssetMaterialization("by_hand"))
    purge(instance, BOOK, [], FOREVER)
    assert instance.get_latest_materialization_event(dg.AssetKey("by_hand"))


def test_killed_purge_is_completed_by_the_next(instance, used_instance, tmp_path, monkeypatch):
    """Killed before the first run's own row was deleted, or before the databases of the runs were."""
    _, first, second, failed = used_instance

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for moment in ("delete_run", "_delete_event_logs"):
        with monkeypatch.context() as patch:
            patch.setattr(*((instance.run_storage, moment) if moment == "delete_run" else (retention, moment)), killed)
            with pytest.raises(KeyboardInterrupt):
                purge(instance, BOOK, [], FOREVER)
        assert runs(instance) == ({*first, *second, failed} if moment == "delete_run" else set(second))
    assert rows(tmp_path)["databases"] == 7
    assert purge(instance, BOOK, [], FOREVER).bytes_freed > 0
    assert rows(tmp_path)["databases"] == 3


def test_busy_database_is_left_unchanged(instance, tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "SECONDS_TO_WAIT", 0.1)
    database = tmp_path / "instance" / "history" / "runs" / "index.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as busy:
        busy.execute("BEGIN IMMEDIATE")
        retention._vacuum(database)
    with pytest.raises(sqlite3.DatabaseError):
        (tmp_path / "no.db").write_bytes(b"no database at all" * 100)
        retention._vacuum(tmp_path / "no.db")


def test_database_of_an_unknown_run_is_removed(instance, tmp_path):
    stray = Path(instance.event_log_storage.path_for_shard(make_new_run_id()))
    shutil.copy(next(stray.parent.glob("*-*.db")), stray)
    purge(instance, BOOK, [], datetime.now(UTC) - timedelta(days=1))
    assert not stray.exists()
    assert rows(tmp_path)["databases"] == 7
