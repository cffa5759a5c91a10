from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml

from credit_assets.automation.cached_instance import cached_instance
from credit_assets.automation.instance_storage import OPEN_LOGS, EventLogStorage, SqliteStorage
from credit_assets.dagster_private import make_new_run_id

pytestmark = pytest.mark.slow

OURS = {"custom": {"module": SqliteStorage.__module__, "class": SqliteStorage.__name__}}
DAGSTERS: dict[str, dict[str, object]] = {"sqlite": {}}


@dg.asset
def amount() -> int:
    return 1


def make_instance(root: Path, storage: dict[str, dict[str, object]]) -> dg.DagsterInstance:
    [(kind, named)] = storage.items()
    config = {"base_dir": str(root / "storage")}
    settings = {kind: named | {"config": config} if named else config}
    root.mkdir(exist_ok=True)
    (root / "dagster.yaml").write_text(yaml.safe_dump({"storage": settings, "telemetry": {"enabled": False}}))
    return dg.DagsterInstance.from_config(str(root))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with make_instance(tmp_path, OURS) as instance:
        yield instance


def messages(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    return [entry.message for entry in instance.all_logs(run_id)]


@pytest.mark.parametrize(("first", "second"), [(OURS, DAGSTERS), (DAGSTERS, OURS)], ids=["ours first", "dagster first"])
def test_each_storage_continues_the_data_of_the_other(tmp_path, first, second):
    with make_instance(tmp_path, first) as instance:
        run = dg.materialize([amount], instance=instance).run_id
        written = messages(instance, run)
    with make_instance(tmp_path, second) as instance:
        assert messages(instance, run) == written
        again = dg.materialize([amount], instance=instance).run_id
        assert {each.run_id for each in instance.get_runs()} == {run, again}
        assert len(instance.fetch_materializations(dg.AssetKey("amount"), limit=9).records) == 2


@pytest.mark.slow
def test_both_storages_write_the_same_tables_concurrently(tmp_path):
    with make_instance(tmp_path, OURS) as ours, make_instance(tmp_path, DAGSTERS) as theirs:
        for instance in (ours, theirs, ours, theirs):
            dg.materialize([amount], instance=instance)
        assert [run.run_id for run in ours.get_runs()] == [run.run_id for run in theirs.get_runs()]
        assert len(ours.get_runs()) == 4


def test_later_events_of_a_run_open_no_connection(instance):
    run_id = dg.materialize([amount], instance=instance).run_id
    run = instance.get_run_by_id(run_id)
    before = len(messages(instance, run_id))
    opened: list[object] = []

    def note(connection: object, record: object) -> None:
        opened.append(connection)

    sa.event.listen(sa.pool.Pool, "connect", note)
    try:
        for number in range(20):
            instance.report_engine_event(str(number), run)
    finally:
        sa.event.remove(sa.pool.Pool, "connect", note)
    assert len(messages(instance, run_id)) == before + 20
    assert opened == []


@pytest.mark.slow
def test_only_the_newest_logs_stay_open(instance):
    events = instance.event_log_storage
    assert isinstance(events, EventLogStorage)
    runs = [dg.materialize([amount], instance=instance).run_id for _ in range(OPEN_LOGS + 1)]
    assert len(events._engines) == OPEN_LOGS
    assert runs[-1] in events._engines and runs[0] not in events._engines
    assert all(messages(instance, run) for run in runs)


def test_replaced_database_is_reopened(tmp_path):
    """This happens when a backup is restored while the UI is open."""
    with make_instance(tmp_path / "a", OURS) as a:
        kept = dg.materialize([amount], instance=a).run_id
    with make_instance(tmp_path / "b", OURS) as b:
        dg.materialize([amount], instance=b)
        (tmp_path / "b" / "storage").rename(tmp_path / "b" / "aside")
        (tmp_path / "a" / "storage").rename(tmp_path / "b" / "storage")
        assert [run.run_id for run in b.get_runs()] == [kept]
        assert messages(b, kept)


def test_closed_instance_leaves_only_database_files(tmp_path):
    with make_instance(tmp_path, OURS) as instance:
        dg.materialize([amount], instance=instance)
    files = {path.name for path in (tmp_path / "storage" / "history").rglob("*") if path.is_file()}
    assert {Path(name).suffix for name in files} == {".db"}


@pytest.mark.slow
def test_threads_write_runs_concurrently(instance):
    def add(number: int) -> None:
        run = dg.DagsterRun(f"job{number}", make_new_run_id(), tags={"number": str(number)})
        instance.add_run(run)
        instance.report_engine_event(f"event {number}", run)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(24)))
    found = instance.get_runs()
    assert sorted(int(run.tags["number"]) for run in found) == list(range(24))
    assert all(messages(instance, run.run_id) == [f"event {run.tags['number']}"] for run in found)


def test_watcher_sees_events_written_by_another_instance(instance, tmp_path):
    """The UI follows a run this way."""
    seen: queue.Queue[str] = queue.Queue()
    run = dg.DagsterRun("job", make_new_run_id())
    with make_instance(tmp_path, OURS) as watching:
        instance.add_run(run)
        instance.report_engine_event("before", run)
        cursor = watching.get_records_for_run(run.run_id).cursor
        watching.watch_event_logs(run.run_id, cursor, lambda entry, cursor: seen.put(entry.message))
        instance.report_engine_event("first", run)
        assert seen.get(timeout=30) == "first"
        instance.report_engine_event("second", run)
        assert seen.get(timeout=30) == "second"


def test_evaluations_in_one_process_share_an_instance(tmp_path):
    with make_instance(tmp_path / "a", OURS) as a, make_instance(tmp_path / "b", OURS) as b:
        first, second, other = (cached_instance(dg.build_sensor_context(instance)) for instance in (a, a, b))
        assert first is second is not other
        dg.materialize([amount], instance=a)
        assert len(first.get_runs()) == 1
        assert other.get_runs() == []


def test_in_memory_instance_of_the_context_is_used():
    with dg.DagsterInstance.ephemeral() as instance:
        assert cached_instance(dg.build_sensor_context(instance)) is instance
