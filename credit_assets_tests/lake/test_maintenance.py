"""Maintenance of tables: referenced versions stay readable, the rest is removed, and writers and readers are not
disturbed.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credit_assets.lake import maintenance
from credit_assets.lake.maintenance import (
    CHECKPOINT_AFTER,
    CURRENT,
    DECISION,
    MODEL,
    RECENT,
    Summary,
    maintain,
    maintenance_paused,
)
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.settings.retention import RetentionConfig

BOOK, SCORES = "book", "book/scores"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
CONFIG = RetentionConfig(keep_days=30, decisions_years=10)
SOURCES = {
    "book/raw": (),
    "book/features": ("book/raw",),
    "book/training": ("book/features",),
    SCORES: ("book/features",),
}


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def write(con, lake: Lake, table: str, batch: str | None, days_ago: float = 0, value: int = 0) -> int:
    """A commit made `days_ago` before NOW, of unique rows, from the current versions of its sources."""
    inputs = {source: lake.version(source) for source in SOURCES.get(table, ()) if lake.exists(source)}
    made = Provenance(run_id="r", synthetic=True, inputs=inputs)
    version = lake.replace(con, f"SELECT {value} AS value, i FROM range(3) t(i)", table, batch, made)
    age(lake, table, version, days_ago)
    return version


def age(lake: Lake, table: str, version: int, days: float) -> None:
    """Move the commit, and the files it added, into the past."""
    then = NOW - timedelta(days=days)
    entry = Path(lake.address(table)) / "_delta_log" / f"{version:020}.json"
    actions = [json.loads(line) for line in entry.read_text().splitlines()]
    for action in actions:
        if "commitInfo" in action:
            action["commitInfo"]["timestamp"] = int(then.timestamp() * 1000)
        elif "add" in action:
            file = Path(lake.address(table)) / action["add"]["path"]
            if file.exists():
                os.utime(file, (then.timestamp(),) * 2)
    entry.write_text("\n".join(map(json.dumps, actions)))


def run_maintenance(lake: Lake, referred=(), config=CONFIG, now=NOW, dry_run=False) -> Summary:
    return maintain(lake, BOOK, SCORES, referred, config, now, dry_run)


def rows(con, lake: Lake, table: str, version: int | None = None) -> list[tuple]:
    return lake.relation(con, table, version=version).order("all").fetchall()


def files(lake: Lake) -> list[Path]:
    return [file for file in Path(lake.address(BOOK)).rglob("*.parquet") if "_delta_log" not in file.parts]


def test_version_superseded_long_ago_is_removed_and_recently_current_one_stays(con, lake):
    for value, days in enumerate((90, 60, 10)):
        write(con, lake, "book/report", None, days, value)
    [done] = run_maintenance(lake).tables
    assert done.kept == {1: (RECENT,), 2: (CURRENT, RECENT)}, "version 1 was the current one until ten days ago"
    assert len(done.superseded) == 1
    assert rows(con, lake, "book/report", 1) == [(1, 0), (1, 1), (1, 2)]
    assert rows(con, lake, "book/report") == [(2, 0), (2, 1), (2, 2)]
    with pytest.raises(duckdb.IOException, match=r"report/part-"):
        rows(con, lake, "book/report", 0)
    assert lake.version("book/report") == 2, "a removal is no commit"


def test_inputs_of_a_decision_stay_for_ten_years(con, lake):
    write(con, lake, "book/raw", "b1", 4000, 1)
    write(con, lake, "book/features", "b1", 3999, 2)
    write(con, lake, SCORES, "b1", 3998, 3)
    for table, value in (("book/raw", 4), ("book/features", 5), (SCORES, 6)):
        write(con, lake, table, "b1", 3000, value)
    for table, value in (("book/raw", 7), ("book/features", 8), (SCORES, 9)):
        write(con, lake, table, "b1", 100, value)
    done = {table.table: table for table in run_maintenance(lake).tables}
    assert done["book/raw"].kept == {1: (DECISION,), 2: (CURRENT, RECENT, DECISION)}
    assert done[SCORES].kept == {1: (DECISION,), 2: (CURRENT, RECENT, DECISION)}
    assert [len(table.superseded) for table in done.values()] == [1, 1, 1]
    assert rows(con, lake, "book/raw", 1) == [(4, i, "b1") for i in range(3)]


def test_inputs_of_a_registered_model_stay_forever(con, lake):
    for value in range(3):
        write(con, lake, "book/raw", "b1", 5000 - value, value)
        write(con, lake, "book/features", "b1", 5000 - value, 10 + value)
        write(con, lake, "book/training", None, 5000 - value, 20 + value)
    done = {table.table: table for table in run_maintenance(lake, [("book/training", 0), ("book/training", 99)]).tables}
    for table in done.values():
        assert table.kept == {0: (MODEL,), 2: (CURRENT, RECENT)}
        assert len(table.superseded) == 1
    assert rows(con, lake, "book/raw", 0) == [(0, i, "b1") for i in range(3)]


Batches = st.sampled_from(["b1", "b 2"])
Steps = st.lists(st.tuples(st.sampled_from(list(SOURCES)), Batches, st.integers(1, 60)), min_size=3, max_size=9)


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=Steps, models=st.sets(st.integers(0, 4)), keep_days=st.integers(2, 90))
def test_kept_versions_are_unchanged_after_any_history_and_the_rest_is_removed(con, tmp_path, steps, models, keep_days):
    lake = Lake(Path(tempfile.mkdtemp(dir=tmp_path)))
    days = sum(gap for *_, gap in steps)
    made_from: dict[tuple[str, int], set[tuple[str, int]]] = {}
    of_batch: dict[tuple[str, str], set[tuple[str, int]]] = {}
    ended: dict[tuple[str, int], int] = {}
    expected = set()
    for value, (table, batch, gap) in enumerate(steps):
        batch = "" if table == "book/training" else batch
        sources = {(source, lake.version(source)) for source in SOURCES[table] if lake.exists(source)}
        version = write(con, lake, table, batch or None, days, value)
        ended[table, version - 1] = days
        of_batch[table, batch] = sources
        # A version depends on the inputs of all its rows, whichever commit wrote them.
        made_from[table, version] = set().union(*(own for (of, _), own in of_batch.items() if of == table))
        if table == SCORES:
            expected |= {(table, version), *sources}
        days -= gap
    expected |= {("book/training", number) for number in models} & set(made_from)
    while further := {source for key in expected if key[0] != SCORES for source in made_from[key]} - expected:
        expected |= further
    expected |= {key for key in made_from if ended.get(key, 0) <= keep_days}
    before = {key: rows(con, lake, *key) for key in made_from}
    needed = {Path(uri).name for t, v in expected for uri in DeltaTable(lake.address(t), version=v).file_uris()}

    def keep(dry_run: bool = False) -> Summary:
        named = [("book/training", number) for number in models]
        return run_maintenance(lake, named, RetentionConfig(keep_days=keep_days), dry_run=dry_run)

    foretold = keep(dry_run=True)
    assert {key: rows(con, lake, *key) for key in made_from} == before, "a dry run changes nothing"
    done = keep()
    assert {(table.table, version) for table in done.tables for version in table.kept} == expected
    assert {key: rows(con, lake, *key) for key in expected} == {key: before[key] for key in expected}
    assert {file.name for file in files(lake)} == needed
    assert foretold.tables == done.tables
    assert done.files_removed == len(made_from) - len(needed)
    assert keep().files_removed == 0, "nothing is left to remove"


def test_uncommitted_file_is_removed_after_a_day(con, lake):
    write(con, lake, "book/raw", "b1", 5)
    killed, staged = (lake.stage(con, "SELECT 1 AS value", table, "b1") for table in ("book/raw", "book/never"))
    for file, hours in ((killed, 25), (staged, 23)):
        os.utime(*file.files.values(), ((NOW - timedelta(hours=hours)).timestamp(),) * 2)
    done = {table.table: table for table in run_maintenance(lake).tables}
    assert [f"book/raw/{file}" for file in done["book/raw"].orphans] == list(killed.files)
    assert done["book/raw"].bytes_freed > 0
    assert done["book/never"].orphans == ()
    assert lake.commit(staged, Provenance()) == 0, "its writer was still at work"
    assert rows(con, lake, "book/never") == [(1, "b1")]


def test_concurrent_writers_lose_nothing(con, lake):
    for value in range(4):
        write(con, lake, "book/raw", "b1", 100 - value, value)
    now, stop = datetime.now(UTC), threading.Event()
    long_ago = (now - NOW) + timedelta(days=40)
    for version in range(3):
        age(lake, "book/raw", version, -long_ago.days + 200)

    def writer(batch: str) -> list[int]:
        with duckdb.connect() as own:
            return [lake.replace(own, f"SELECT {n} AS value", "book/new", batch, Provenance()) for n in range(12)]

    def keeper() -> int:
        removed = 0
        while not stop.is_set():
            removed += run_maintenance(lake, now=now + timedelta(seconds=5)).files_removed
        return removed

    with ThreadPoolExecutor(3) as pool:
        keeping = pool.submit(keeper)
        versions = [*pool.map(writer, ["b1", "b2"])]
        stop.set()
        assert keeping.result() == 3
    assert sorted(itertools.chain(*versions)) == list(range(24))
    for version in range(24):
        assert all(value < 12 for value, _ in rows(con, lake, "book/new", version))
    assert rows(con, lake, "book/raw") == [(3, i, "b1") for i in range(3)]


def test_nothing_is_removed_while_a_reader_holds_the_lock(con, lake):
    for days in (90, 60):
        write(con, lake, "book/report", None, days)
    with ThreadPoolExecutor(1) as pool:
        with maintenance_paused(lake):
            waiting = pool.submit(run_maintenance, lake)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
            assert len(files(lake)) == 2
        assert waiting.result().files_removed == 1


@pytest.mark.parametrize("batch", ["b1", None])
def test_files_appended_by_another_writer_are_merged_without_changing_the_table(con, lake, batch):
    write(con, lake, "book/features", "b1")
    write(con, lake, "book/other", batch, value=7)
    write(con, lake, "book/other", "b2" if batch else None, value=8)
    appended = con.sql(f"SELECT * FROM ({lake.query('book/other')}) WHERE value = {7 if batch else 8}").to_arrow_table()
    write_deltalake(lake.address("book/other"), appended, mode="append")
    before, batches, [*_, first] = rows(con, lake, "book/other"), lake.batches("book/other"), lake.history("book/other")
    done = {table.table: table for table in run_maintenance(lake, now=datetime.now(UTC)).tables}
    assert (done["book/other"].compacted, done["book/features"].compacted) == ((batch or "",), ())
    assert len(DeltaTable(lake.address("book/other")).file_uris()) == (2 if batch else 1)
    assert rows(con, lake, "book/other") == before
    assert lake.batches("book/other") == batches
    if not batch:
        newest = lake.history("book/other")[0]
        assert newest.provenance == first.provenance and newest.version > first.version
        assert DeltaTable(lake.address("book/other")).history(1)[0]["compacted"] == ""
    assert run_maintenance(lake, now=datetime.now(UTC)).tables[1].compacted == ()


def test_batch_rewritten_during_the_merge_has_the_new_rows(con, lake):
    for value, batch in enumerate(("b1", "b2")):
        write(con, lake, "book/other", batch, value=value)
    whole = con.sql(lake.query("book/other")).to_arrow_table()
    write_deltalake(lake.address("book/other"), whole, mode="append")
    merging = maintenance._compact(lake, "book/other")
    assert next(merging) == "b1"
    write(con, lake, "book/other", "b2", value=9)
    assert list(merging) == []
    assert rows(con, lake, "book/other") == sorted(
        [(0, i, "b1") for i in range(3)] * 2 + [(9, i, "b2") for i in range(3)]
    )


def test_long_log_gets_one_checkpoint(con, lake):
    for value in range(CHECKPOINT_AFTER):
        write(con, lake, "book/report", None, 1, value)
    assert run_maintenance(lake, dry_run=True).tables[0].checkpoint is False
    assert [run_maintenance(lake).tables[0].checkpoint for _ in range(2)] == [True, False]
    assert rows(con, lake, "book/report") == [(CHECKPOINT_AFTER - 1, i) for i in range(3)]
    assert len(lake.history("book/report")) == CHECKPOINT_AFTER


def test_log_with_expired_entries_keeps_the_files_they_named(con, lake):
    write(con, lake, "book/raw", "b1", 300, 1)
    for value in range(2, 2 + CHECKPOINT_AFTER):
        write(con, lake, "book/raw", "b2", 300 - value, value)
    assert run_maintenance(lake).tables[0].checkpoint
    write(con, lake, "book/raw", "b2", 100, 99)
    log = Path(lake.address("book/raw")) / "_delta_log"
    for version in range(CHECKPOINT_AFTER):
        (log / f"{version:020}.json").unlink()
    done = run_maintenance(lake).tables[0]
    assert len(done.superseded) == 1
    assert set(rows(con, lake, "book/raw")) == {(1, i, "b1") for i in range(3)} | {(99, i, "b2") for i in range(3)}


def test_table_that_was_never_committed_has_no_version(con, lake):
    lake.stage(con, "SELECT 1 AS value", "book/never", "b1")
    [done] = run_maintenance(lake).tables
    assert (done.version, done.kept) == (None, {})


def test_lake_without_tables_needs_no_maintenance(lake):
    assert run_maintenance(lake) == Summary((), dry_run=False)


def test_summary_counts_the_versions_kept_per_reason(con, lake):
    write(con, lake, "book/raw", "b1", 90, 1)
    write(con, lake, "book/features", "b1", 90, 2)
    write(con, lake, SCORES, "b1", 90, 3)
    done = run_maintenance(lake, [("book/features", 0)])
    assert done.versions_kept() == {CURRENT: 3, RECENT: 3, DECISION: 3, MODEL: 2}
    assert (done.files_removed, done.bytes_freed) == (0, 0)
