"""Tables of the lake: batches are replaced atomically, whether writers are killed, race or are being read from."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import uuid
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable

from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake, TableMissing
from credit_assets_tests.forked import FORKED


@pytest.fixture
def con():
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def rows(con, lake, *args, **kwargs) -> list[tuple]:
    return lake.relation(con, *args, **kwargs).order("all").fetchall()


def test_batch_is_replaced_and_the_others_stay(con, lake):
    lake.replace(con, "SELECT 1 AS a", "book/t", "2026-01", Provenance())
    lake.replace(con, "SELECT 2 AS a", "book/t", "2026-02", Provenance())
    lake.replace(con, "SELECT 3 AS a", "book/t", "2026-01", Provenance())
    assert rows(con, lake, "book/t") == [(2, "2026-02"), (3, "2026-01")]


def test_every_earlier_version_is_readable(con, lake):
    first = lake.replace(con, "SELECT 1 AS a", "book/t", "2026-01", Provenance())
    lake.replace(con, "SELECT 2 AS a", "book/t", "2026-01", Provenance())
    assert rows(con, lake, "book/t", version=first) == [(1, "2026-01")]
    assert rows(con, lake, "book/t") == [(2, "2026-01")]


def test_version_whose_files_were_removed_is_not_readable(con, lake):
    first = lake.replace(con, "SELECT 1 AS a", "book/t", "2026-01", Provenance())
    [file] = Path(lake.address("book/t")).rglob("*.parquet")
    second = lake.replace(con, "SELECT 2 AS a", "book/t", "2026-01", Provenance())
    assert lake.readable("book/t", "2026-01", first) and lake.readable("book/t", "2026-01", second)
    file.unlink()
    assert not lake.readable("book/t", "2026-01", first)
    assert lake.readable("book/t", "2026-01", second)


def test_table_without_batches_is_replaced_completely(con, lake):
    lake.replace(con, "SELECT 1 AS a", "book/t", None, Provenance())
    lake.replace(con, "SELECT 2 AS a", "book/t", None, Provenance())
    assert rows(con, lake, "book/t") == [(2,)]


def test_batch_may_have_no_rows(con, lake):
    lake.replace(con, "SELECT 1 AS a, 'x' AS b WHERE false", "book/t", "2026-01", Provenance())
    assert lake.relation(con, "book/t", ["2026-01"]).columns == ["a", "b", "batch"]
    assert rows(con, lake, "book/t", ["2026-01"]) == []
    assert list(lake.batches("book/t")) == ["2026-01"]
    assert not list(Path(lake.address("book/t")).rglob("*.parquet")), "the empty file is not left lying about"


def test_column_added_later_is_null_in_earlier_batches(con, lake):
    lake.replace(con, "SELECT 1 AS a", "book/t", "2026-01", Provenance())
    lake.replace(con, "SELECT 2 AS a, 'new' AS b", "book/t", "2026-02", Provenance())
    assert rows(con, lake, "book/t") == [(1, None, "2026-01"), (2, "new", "2026-02")]


def test_history_records_who_wrote_what(con, lake):
    lake.replace(con, "SELECT 1 AS a", "book/t", "2026-01", Provenance(run_id="one"))
    version = lake.replace(con, "SELECT 2 AS a FROM range(5)", "book/t", "2026-02", Provenance(run_id="two"))
    commit = lake.batches("book/t")["2026-02"]
    assert (commit.version, commit.provenance.run_id, commit.provenance.rows) == (version, "two", 5)
    assert [entry.provenance.run_id for entry in lake.history("book/t")] == ["two", "one"]


def test_table_that_was_never_written_is_named(con, lake):
    with pytest.raises(TableMissing, match="book/t has never been written"):
        lake.relation(con, "book/t")
    lake.replace(con, "SELECT 1 AS a", "book/t", "2026-01", Provenance())
    with pytest.raises(TableMissing, match="book/t has no batch 2026-02"):
        lake.relation(con, "book/t", ["2026-02"])


def test_folder_name_may_contain_any_character(con, tmp_path):
    lake = Lake(tmp_path / "it's a [new] 100% *lake*" / "lake")
    lake.replace(con, "SELECT 1 AS a", "book/t", "2026-01", Provenance())
    lake.replace(con, "SELECT 2 AS a", "book/t", "2026-02", Provenance())
    assert rows(con, lake, "book/t") == [(1, "2026-01"), (2, "2026-02")]
    assert rows(con, lake, "book/t", ["2026-02"]) == [(2, "2026-02")]


def test_failing_query_leaves_nothing(con, lake):
    with pytest.raises(duckdb.ConversionException):
        lake.stage(con, "SELECT CAST('x' AS INTEGER) AS a", "book/t", "2026-01")
    assert not list(Path(lake.address("")).rglob("*.parquet"))


def test_staged_rows_are_invisible_until_committed(con, lake):
    lake.replace(con, "SELECT 1 AS a", "book/t", "2026-01", Provenance())
    staged = lake.stage(con, "SELECT 2 AS a", "book/t", "2026-01")
    assert rows(con, lake, "book/t") == [(1, "2026-01")]
    assert con.execute(staged.query()).fetchall() == [(2,)]
    lake.commit(staged, Provenance())
    assert rows(con, lake, "book/t") == [(2, "2026-01")]


def test_reader_sees_one_version_while_a_writer_replaces_it(con, lake):
    lake.replace(con, "SELECT 1 AS a FROM range(1000)", "book/t", "2026-01", Provenance())
    query = lake.query("book/t")
    lake.replace(con, "SELECT 2 AS a FROM range(7)", "book/t", "2026-01", Provenance())
    assert con.execute(f"SELECT count(*), min(a), max(a) FROM ({query})").fetchall() == [(1000, 1, 1)]


# -- incremental reading of a table's log -------------------------------------------------------------


def delta_history(lake: Lake) -> list[tuple[int, int, Provenance]]:
    """The table's complete history, read afresh by the Delta library."""
    entries = DeltaTable(lake.address("book/t")).history()
    return [
        (entry["version"], entry["timestamp"], Provenance.from_metadata("book/t", entry["version"], entry))
        for entry in entries
    ]


def read(lake: Lake) -> list[tuple[int, int, Provenance]]:
    return [(commit.version, commit.timestamp_ms, commit.provenance) for commit in lake.history("book/t")]


def write(con: duckdb.DuckDBPyConnection, lake: Lake, *batches: str) -> None:
    for batch in batches:
        lake.replace(con, "SELECT 1 AS a", "book/t", batch, Provenance(run_id=uuid.uuid4().hex))


def test_history_is_read_incrementally(con, lake):
    for batch in ("2026-01", "2026-02", "2026-01"):
        write(con, lake, batch)
        assert read(lake) == delta_history(lake)
    assert lake.version("book/t") == lake.batches("book/t")["2026-01"].version == 2


def test_log_entry_is_read_once(con, lake):
    write(con, lake, "2026-01", "2026-02")
    before = lake.history("book/t")
    write(con, lake, "2026-03")
    (Path(lake.address("book/t")) / "_delta_log" / f"{0:020}.json").write_text("no longer an entry")
    assert lake.history("book/t")[1:] == before


def test_history_continues_across_checkpoints(con, lake):
    write(con, lake, "2026-01", "2026-02")
    assert read(lake) == delta_history(lake)
    DeltaTable(lake.address("book/t")).create_checkpoint()
    assert read(lake) == delta_history(lake)
    write(con, lake, "2026-03")
    assert read(lake) == delta_history(lake)


def test_cleaned_up_log_entries_leave_the_history(con, lake):
    write(con, lake, "2026-01", "2026-02", "2026-03")
    assert len(read(lake)) == 3
    DeltaTable(lake.address("book/t")).create_checkpoint()
    (Path(lake.address("book/t")) / "_delta_log" / f"{0:020}.json").unlink()
    assert read(lake) == delta_history(lake)
    assert [commit.version for commit in lake.history("book/t")] == [2, 1]


@pytest.mark.parametrize("again", [1, 2, 3], ids=["shorter", "as long", "longer"])
def test_recreated_table_has_its_own_history(con, lake, again):
    write(con, lake, "2026-01", "2026-02")
    assert len(read(lake)) == 2
    shutil.rmtree(lake.address("book/t"))
    assert lake.batches("book/t") == {}
    write(con, lake, "2026-01", "2026-02")
    assert len(read(lake)) == 2
    shutil.rmtree(lake.address("book/t"))
    write(con, lake, *["2026-03"] * again)
    assert read(lake) == delta_history(lake)
    assert list(lake.batches("book/t")) == ["2026-03"]


def test_table_restored_from_a_backup_has_the_backup_s_history(con, lake, tmp_path):
    write(con, lake, "2026-01")
    shutil.copytree(lake.address("book/t"), tmp_path / "backup")
    write(con, lake, "2026-02")
    assert len(read(lake)) == 2
    shutil.rmtree(lake.address("book/t"))
    shutil.copytree(tmp_path / "backup", lake.address("book/t"))
    assert read(lake) == delta_history(lake)
    assert list(lake.batches("book/t")) == ["2026-01"]


def test_compaction_is_in_the_history_and_leaves_each_batch_its_writer(con, lake):
    write(con, lake, "2026-01", "2026-02")
    before = lake.batches("book/t")
    DeltaTable(lake.address("book/t")).optimize.z_order(["a"])
    assert read(lake) == delta_history(lake)
    assert lake.batches("book/t") == before


def write_batches(root: Path, writer: int) -> list[int]:
    lake = Lake(root)
    with duckdb.connect() as con:
        return [
            lake.replace(
                con, f"SELECT {writer} AS writer, {turn} AS turn FROM range(50)", "book/t", f"b{writer}", Provenance()
            )
            for turn in range(8)
        ]


@pytest.mark.slow
def test_concurrent_writers_of_different_batches_all_commit(con, lake):
    write(con, lake, "2026-01")
    assert list(lake.batches("book/t")) == ["2026-01"]
    shutil.rmtree(lake.address("book/t"))
    with ProcessPoolExecutor(3, mp_context=FORKED) as pool:
        versions = list(pool.map(write_batches, [Path(lake.address(""))] * 3, range(3)))
    assert sorted(version for of_writer in versions for version in of_writer) == list(range(24)), (
        "each commit is a version of its own"
    )
    assert read(lake) == delta_history(lake), "what other processes wrote is read too"
    counted = lake.relation(con, "book/t").aggregate("writer, turn, batch, count(*) AS n").order("all")
    assert counted.fetchall() == [(writer, 7, f"b{writer}", 50) for writer in range(3)]


@pytest.mark.parametrize("moment", ["while the file is written", "before the commit"])
def test_kill_9_leaves_the_previous_version_readable(con, lake, moment):
    lake.replace(con, "SELECT 1 AS a", "book/t", "2026-01", Provenance())
    writer = textwrap.dedent(f"""
        import sys, duckdb
        from pathlib import Path
        from credit_assets.lake.tables import Lake
        lake, con = Lake(Path({lake.address("")!r})), duckdb.connect()
        rows = 2_000_000_000 if {moment!r} == "while the file is written" else 10
        print("writing", flush=True)
        staged = lake.stage(con, f"SELECT hash(i) AS a FROM range({{rows}}) t(i)", "book/t", "2026-01")
        print("staged", flush=True)
        sys.stdin.read()
    """)
    process = subprocess.Popen([sys.executable, "-c", writer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    if moment == "before the commit":
        assert process.stdout.readline() == "staged\n"
    else:
        while sum(f.stat().st_size for f in Path(lake.address("book/t")).rglob("*.parquet")) < 5_000_000:
            assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert rows(con, lake, "book/t") == [(1, "2026-01")]
    assert lake.version("book/t") == 0
    lake.replace(con, "SELECT 2 AS a", "book/t", "2026-01", Provenance())
    assert rows(con, lake, "book/t") == [(2, "2026-01")]
