"""Backup and restore: a project restored elsewhere continues as before, and an invalid archive is refused."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from credit_assets.application.status import status
from credit_assets.automation.instance_storage import SqliteStorage
from credit_assets.cli import app
from credit_assets.definitions import build
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.provenance import Provenance
from credit_assets.lake.tables import Lake
from credit_assets.settings.project import Project
from credit_assets.upkeep import backup as backups
from credit_assets.upkeep.backup import MANIFEST, BackupError, backup, restore
from credit_assets_tests.conftest import Line
from credit_assets_tests.small_project import BATCHES, BOOK, FEW_FEATURES, inside, make_project, run_job, table

# The tests are steps of one story.
pytestmark = pytest.mark.story


@contextmanager
def database(project: Project, name: str) -> Iterator[sqlite3.Connection]:
    path = project.data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
        yield connection


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with some of everything: deliveries, a table, databases, a report, a secret, and scratch files."""
    project = make_project(tmp_path / "project", sql=FEW_FEATURES)
    for batch, text in (("b1", "a,b\n1,2\n"), ("b2", "a,b\n3,4\n"), ("b2", "a,b\n5,6\n")):
        delivery = tmp_path / "delivery"
        delivery.mkdir(exist_ok=True)
        (delivery / "application_train.csv").write_text(text)
        Inbox(project.inbox).deliver(delivery, BOOK, batch)
    with duckdb.connect() as con:
        for value in range(3):
            Lake(project.lake).replace(con, f"SELECT {value} AS value", f"{BOOK}/t", "b 1", Provenance())
    with database(project, "dagster/storage/history/runs/index.db") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE events (n INTEGER)")
    for name in ("dagster/storage/history/runs/0001.db", "mlflow/studies/s.sqlite3", "alerts/b.sqlite"):
        with database(project, name) as connection:
            connection.execute("CREATE TABLE events (n INTEGER)")
            connection.execute("INSERT INTO events VALUES (7)")
    for name in ("data/reports/r.html", "data/spill/1-x/big.tmp", ".env", "data/inbox/home_credit/.incoming/b3/x.csv"):
        path = project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    return project


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@contextmanager
def hidden(folder: Path) -> Iterator[None]:
    """Hide the folder while the context is active."""
    aside = folder.with_name(f"{folder.name}-gone")
    folder.rename(aside)
    try:
        yield
    finally:
        assert not folder.exists(), "something wrote to where the project was"
        aside.rename(folder)


# -- the whole project, moved to another folder ---------------------------------------------------------------


@pytest.fixture(scope="module")
def moved(short_line: Line, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Line, Project]]:
    """The small project restored in another folder, whose path has a space; the original folder is hidden.

    It is moved twice, because other tests use the project in its first folder.
    """
    place = tmp_path_factory.mktemp("other place")
    with inside(short_line.project):
        backup(short_line.project, place / "line.tar")
    second = restore(place / "line.tar", place / "second home").project
    with inside(second):
        backup(second, place / "second.tar")
    with hidden(second.root):
        yield short_line, restore(place / "second.tar", place / "new home").project


def test_restored_project_has_the_same_status(moved):
    _, project = moved
    with inside(project):
        told = status(project, BOOK)
    assert [batch.batch for batch in told.batches] == list(BATCHES)
    assert all(batch.scored_at for batch in told.batches)
    assert told.due == []
    assert told.champion.version == 1
    assert told.champion.metrics["auc"] > 0.5
    assert len({(check.asset, check.check) for check in told.checks}) > 20


def test_restored_project_scores_a_batch_again_to_the_last_bit(moved):
    short_line, project = moved
    before = table(project, "scores", BATCHES[-1])
    made = Lake(project.lake).batches(f"{BOOK}/scores")[BATCHES[-1]]
    outcome = run_job(project, "score", BATCHES[-1])
    assert outcome.errors == ()
    again = Lake(project.lake).batches(f"{BOOK}/scores")[BATCHES[-1]]
    assert again.version > made.version
    inputs, before_it = (dict(commit.provenance.inputs) for commit in (again, made))
    # The job checks the features again before it scores them.
    assert inputs.pop(f"{BOOK}/feature_drift") > before_it.pop(f"{BOOK}/feature_drift")
    assert inputs == before_it
    pd.testing.assert_frame_equal(table(project, "scores", BATCHES[-1]), before, check_exact=True)
    assert again.provenance.run_id not in {ran.run_id for ran in short_line.outcomes}


def test_restored_instance_knows_its_materializations_and_its_definitions_load(moved):
    short_line, project = moved
    definitions = build(BOOK, project)
    with inside(project), dg.DagsterInstance.get() as instance:
        assert {outcome.run_id for outcome in short_line.outcomes} <= {run.run_id for run in instance.get_runs()}
        for key in definitions.resolve_asset_graph().materializable_asset_keys:
            assert instance.get_latest_materialization_event(key), key
        assert all(instance.all_logs(outcome.run_id) for outcome in short_line.outcomes)


def test_mlflow_contains_no_path_to_the_former_folder(moved):
    short_line, project = moved
    with database(project, "mlflow/mlflow.db") as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        values = {str(value) for name in tables for row in connection.execute(f"SELECT * FROM {name}") for value in row}
    assert [value for value in values if str(short_line.project.root) in value or "second home" in value] == []
    assert any(value.startswith(project.root.as_uri()) for value in values)


# -- what is saved, and what is not ------------------------------------------------------------------------------


def test_restored_project_has_everything_but_secrets_and_temporary_files(project, tmp_path):
    before = contents(project.root)
    done = backup(project, tmp_path / "b.tar")
    assert done.left_out == ()
    restored = restore(tmp_path / "b.tar", tmp_path / "restored")
    after = contents(tmp_path / "restored")
    databases = {name for name in before if name.endswith((".db", ".sqlite", ".sqlite3"))}
    passing = {name for name in before if "lock" in name or "/spill/" in name or "/.incoming/" in name}
    passing |= {f"data/inbox/{BOOK}/.{name}" for name in ("swapping", "delivering")} | {".env"}
    assert before.keys() - after.keys() == passing
    assert after.keys() <= before.keys()
    assert {name for name in after if after[name] != before[name]} <= databases
    assert len(after) == restored.files == done.files
    assert {name for name in after if "superseded" in name} == {
        f"data/inbox/{BOOK}/.superseded/b2/1/application_train.csv"
    }
    for name in ("dagster/storage/history/runs/0001.db", "mlflow/studies/s.sqlite3", "alerts/b.sqlite"):
        with database(restored.project, name) as connection:
            assert connection.execute("SELECT n FROM events").fetchall() == [(7,)]
    with duckdb.connect() as con:
        lake = Lake(restored.project.lake)
        for version in range(3):
            assert lake.relation(con, f"{BOOK}/t", version=version).fetchall() == [(version, "b 1")]


def test_archive_is_readable_by_its_owner_only(project, tmp_path):
    done = backup(project, tmp_path / "b.tar")
    assert done.archive.stat().st_mode & 0o777 == 0o600
    assert done.size == done.archive.stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar", "delivery", "project"]


@pytest.mark.parametrize(
    ("storage", "on_server"),
    [
        ({"sqlite": {"base_dir": "data"}}, False),
        ({"custom": {"module": SqliteStorage.__module__, "class": "SqliteStorage"}}, False),
        ({"custom": {"module": "dagster_postgres", "class": "DagsterPostgresStorage"}}, True),
    ],
)
def test_instance_in_sqlite_files_is_not_on_a_server(storage, on_server, tmp_path):
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"storage": storage}))
    assert any("pg_dump" in part for part in backups._on_servers(Project(tmp_path))) is on_server


def test_state_kept_by_servers_is_named(project, tmp_path, monkeypatch):
    settings = yaml.safe_load((project.root / "dagster.yaml").read_text())
    settings["storage"] = {"postgres": {"postgres_db": {"password": {"env": "PASSWORD"}}}}
    (project.root / "dagster.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
    done = backup(project, tmp_path / "b.tar")
    assert "pg_dump" in done.left_out[0]
    assert "MLFLOW_TRACKING_URI" in done.left_out[1]
    assert restore(tmp_path / "b.tar", tmp_path / "restored").left_out == done.left_out


def test_restoring_to_the_original_folder_rewrites_nothing(project, tmp_path):
    with database(project, "mlflow/mlflow.db") as connection:
        connection.execute("CREATE TABLE experiments (artifact_location TEXT)")
        connection.execute("INSERT INTO experiments VALUES (?)", (f"{project.root}/x",))
    backup(project, tmp_path / "b.tar")
    shutil.rmtree(project.root)
    restored = restore(tmp_path / "b.tar", project.root)
    with database(restored.project, "mlflow/mlflow.db") as connection:
        assert connection.execute("SELECT * FROM experiments").fetchall() == [(f"{project.root}/x",)]


# -- while services run ------------------------------------------------------------------------------------------


def test_backup_during_writes_is_consistent(project, tmp_path):
    """A writer commits in turn to a table, to MLflow's database (which names the table's version), to another table
    (which names the model), and to Dagster's (which names that version). A backup holds a prefix of these commits.
    """
    with database(project, "mlflow/mlflow.db") as connection:
        connection.execute("CREATE TABLE models (n INTEGER)")
    stop, written, failures = threading.Event(), threading.Event(), []

    def work() -> None:
        try:
            lake = Lake(project.lake)
            with (
                duckdb.connect() as con,
                database(project, "mlflow/mlflow.db") as models,
                database(project, "dagster/storage/history/runs/index.db") as events,
            ):
                number, took = 0, 0.0
                # As long without writes as with them, however slow the machine: a snapshot needs a moment without any.
                while not stop.wait(took):
                    began = time.monotonic()
                    lake.replace(con, f"SELECT {number} AS value", f"{BOOK}/training", None, Provenance())
                    models.execute("INSERT INTO models VALUES (?)", (number,))
                    lake.replace(con, f"SELECT {number} AS value", f"{BOOK}/scores", "b1", Provenance())
                    events.execute("INSERT INTO events VALUES (?)", (number,))
                    number, took = number + 1, time.monotonic() - began
                    written.set()
        except BaseException as error:
            failures.append(error)

    writer = threading.Thread(target=work)
    writer.start()
    try:
        for number in range(6):
            backup(project, tmp_path / f"{number}.tar")
            written.clear()
            assert written.wait(60) or failures
    finally:
        stop.set()
        writer.join()
    assert failures == []
    seen = []
    for number in range(6):
        restored = restore(tmp_path / f"{number}.tar", tmp_path / f"restored{number}").project
        lake = Lake(restored.lake)
        counts = [
            len(lake.history(table)) if lake.exists(table) else 0 for table in (f"{BOOK}/training", f"{BOOK}/scores")
        ]
        for name, where in (("models", "mlflow/mlflow.db"), ("events", "dagster/storage/history/runs/index.db")):
            with database(restored, where) as connection:
                counts.append(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0])
        trained, scored, registered, told = counts
        assert trained >= registered >= scored >= told >= trained - 1
        seen.append(trained)
        with duckdb.connect() as con:
            for version in range(trained):
                assert lake.relation(con, f"{BOOK}/training", version=version).fetchall() == [(version,)]
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


def test_backup_without_a_consistent_moment_is_refused_and_leaves_nothing(project, tmp_path, monkeypatch):
    looks = backups.log_files

    def look_and_write(lake: Lake) -> Any:
        with database(project, "dagster/storage/history/runs/index.db") as connection:
            connection.execute("INSERT INTO events VALUES (1)")
        return looks(lake)

    monkeypatch.setattr(backups, "log_files", look_and_write)
    monkeypatch.setattr(backups, "SNAPSHOT_ATTEMPTS", 2)
    with pytest.raises(BackupError, match="during each of 2 attempts"):
        backup(project, tmp_path / "b.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["delivery", "project"]


def test_files_removed_during_the_backup_are_skipped_and_growing_ones_cut(project, tmp_path, monkeypatch):
    log, passing = project.data / "dagster" / "logs" / "run.out", project.data / "reports" / "passing.html"
    log.parent.mkdir()
    log.write_text("so far")
    passing.write_text("gone soon")
    (shard,) = (project.data / "dagster" / "storage" / "history" / "runs").glob("0001.db")
    write = backups._ArchiveWriter.add_database

    def meanwhile(self: Any, path: Path, connection: sqlite3.Connection) -> None:
        passing.unlink(missing_ok=True)
        shard.unlink(missing_ok=True)
        write(self, path, connection)

    monkeypatch.setattr(backups._ArchiveWriter, "add_database", meanwhile)
    names = restore(backup(project, tmp_path / "b.tar").archive, tmp_path / "restored").project.root
    assert (names / "data" / "dagster" / "logs" / "run.out").read_text() == "so far"
    assert not (names / passing.relative_to(project.root)).exists()
    assert not (names / shard.relative_to(project.root)).exists()


# -- refusals ----------------------------------------------------------------------------------------------------


@pytest.fixture
def archive(project: Project, tmp_path: Path) -> Path:
    return backup(project, tmp_path / "b.tar").archive


def refused(archive: Path, words: str) -> None:
    folder = archive.parent / "restored"
    with pytest.raises(BackupError, match=words):
        restore(archive, folder)
    assert not folder.exists()
    assert not [path for path in archive.parent.iterdir() if path.name.endswith(".restoring")]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_truncated_archive_is_refused(archive, share):
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content.rstrip(b"\0")) * share)])
    refused(archive, "incomplete or not a backup")


@pytest.mark.parametrize("where", ["data/reports/r.html", "configs/home_credit.yaml"])
def test_altered_archive_is_refused(archive, where):
    content = bytearray(archive.read_bytes())
    with tarfile.open(archive) as tar:
        content[tar.getmember(where).offset_data] ^= 1
    archive.write_bytes(content)
    refused(archive, f"altered.*e.g. {where}")


def rewritten(archive: Path, extra: tarfile.TarInfo, content: bytes = b"") -> None:
    """The archive with an additional first member."""
    whole = io.BytesIO(archive.read_bytes())
    with tarfile.open(fileobj=whole) as before, tarfile.open(archive, "w") as after:
        extra.size = len(content)
        after.addfile(extra, io.BytesIO(content))
        for member in before:
            after.addfile(member, before.extractfile(member))


@pytest.mark.parametrize("name", ["../outside.txt", "data/../../outside.txt", "/tmp/outside.txt"])
def test_archive_that_would_write_elsewhere_is_refused(archive, name):
    rewritten(archive, tarfile.TarInfo(name), b"x")
    outside = archive.parent / "outside.txt"
    with pytest.raises(BackupError):
        restore(archive, archive.parent / "restored")
    assert not outside.exists()
    assert not Path("/tmp/outside.txt").exists()
    assert not (archive.parent / "restored").exists()


def test_archive_with_a_link_is_refused(archive):
    link = tarfile.TarInfo("data/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    rewritten(archive, link)
    refused(archive, "data/link, which is not a plain file")


def test_archive_with_an_additional_file_is_refused(archive):
    rewritten(archive, tarfile.TarInfo("data/more.txt"), b"x")
    refused(archive, "altered.*e.g. data/more.txt")


def test_other_archive_is_refused(archive, tmp_path):
    refused(tmp_path / "nothing.tar", "There is no backup")
    other = tmp_path / "other.tar"
    other.write_bytes(b"PK\3\4" + b"x" * 5000)
    refused(other, "not a backup")
    with tarfile.open(archive) as tar:
        manifest = json.loads(tar.extractfile(MANIFEST).read())
    with tarfile.open(other, "w") as tar:
        content = json.dumps(manifest | {"format": 2}).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    refused(other, "has format 2, but this release reads format")


def test_folder_in_use_is_left_unchanged_and_an_empty_one_accepted(archive, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(BackupError, match="not empty"):
        restore(archive, folder)
    assert contents(folder) == {"mine.txt": b"mine"}
    with pytest.raises(BackupError, match="not empty"):
        restore(archive, folder / "mine.txt")
    (folder / "mine.txt").unlink()
    assert restore(archive, folder).files == len(contents(folder))


def test_backup_into_the_saved_folder_or_a_missing_one_is_refused(project, tmp_path):
    with pytest.raises(BackupError, match="Choose another folder"):
        backup(project, project.data / "b.tar")
    with pytest.raises(BackupError, match="There is no folder"):
        backup(project, tmp_path / "nowhere" / "b.tar")


def test_earlier_backup_is_kept_until_the_new_one_is_complete(project, archive, monkeypatch):
    before = archive.read_bytes()
    monkeypatch.setattr(backups._ArchiveWriter, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        backup(project, archive)
    assert archive.read_bytes() == before
    assert not archive.with_name("b.tar.part").exists()


# -- the commands ------------------------------------------------------------------------------------------------


def test_commands_save_and_restore_and_report_it(project, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with inside(project):
        saved = CliRunner().invoke(app, ["backup", str(tmp_path / "b.tar")])
    assert saved.exit_code == 0, saved.output
    assert f"Wrote {tmp_path / 'b.tar'}: " in saved.output
    monkeypatch.chdir(tmp_path)
    restored = CliRunner().invoke(app, ["restore", "b.tar", "restored"])
    assert restored.exit_code == 0, restored.output
    assert f"{tmp_path / 'restored'}, as of 20" in restored.output
    assert "NOT included" not in restored.output
    again = CliRunner().invoke(app, ["restore", "b.tar", "restored"])
    assert (again.exit_code, "Traceback" in again.output) == (1, False)
    assert "is not empty" in again.output


def test_command_reports_what_is_not_in_the_backup(project, tmp_path):
    with inside(project), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
        said = CliRunner().invoke(app, ["backup", str(tmp_path / "b.tar")]).output
    assert "NOT included: Models and their registry are on an MLflow server" in said.replace("\n", " ")
