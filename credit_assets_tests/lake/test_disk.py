"""Disks that are full, read-only or owned by others: on real file systems if mounting is permitted, otherwise with real
limits.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
import sqlalchemy
from typer.testing import CliRunner

from credit_assets.alerts.outbox import Outbox
from credit_assets.book.book import Book
from credit_assets.cli import app
from credit_assets.lake.disk import RUN_SPACE, copy_database, fault, readable, require_free_space
from credit_assets.schemas.duckdb_types import column_types
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.small_project import BOOK, FEW_FEATURES, inside, make_project

COMMAND = "from credit_assets.cli import main; main()"
Mount = Callable[..., None]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts a file system, and unmounts it afterwards; skips if mounting is not permitted."""
    mounted: list[Path] = []

    def mounting(target: Path, *arguments: str) -> None:
        target.mkdir(exist_ok=True)
        done = subprocess.run(["mount", *arguments, str(target)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        mounted.append(target)

    if shutil.which("mount") is None:
        pytest.skip("there is no mount command here")
    yield mounting
    for target in reversed(mounted):
        subprocess.run(["umount", str(target)], check=True)


def read_only(mount: Mount, folder: Path) -> None:
    mount(folder, "--bind", str(folder))
    subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)


def run_command(project: Project, *arguments: str) -> tuple[int, str]:
    with inside(project):
        done = CliRunner().invoke(app, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


# -- recognising disk errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "No space left on device"),
        (errno.EROFS, "Read-only file system"),
        (errno.EACCES, "Permission denied"),
        (errno.EDQUOT, "Disk quota exceeded"),
        (errno.EFBIG, "File too large"),
    ],
)
def test_disk_error_is_a_sentence_with_path_and_reason(number: int, reason: str) -> None:
    error = OSError(number, os.strerror(number), "/data/x")
    assert fault(error, Path("/data")) == f"/data/x cannot be used: {reason}."
    assert fault(OSError(number, os.strerror(number)), Path("/data")) == f"/data cannot be used: {reason}."
    try:
        raise RuntimeError("it failed") from error
    except RuntimeError as later:
        assert fault(later, Path("/data")) == f"/data/x cannot be used: {reason}."


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (sqlite3.OperationalError("attempt to write a readonly database"), "The database is read-only"),
        (sqlite3.OperationalError("database or disk is full"), "No space left on device"),
        (sqlite3.OperationalError("disk I/O error"), "Input/output error"),
        (sqlite3.OperationalError("unable to open database file"), "The database cannot be opened"),
        (
            sqlalchemy.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full")),
            "No space left on device",
        ),
        (duckdb.IOException("IO Error: Could not write file: No space left on device"), "No space left on device"),
        (
            duckdb.OutOfMemoryException("failed to offload data block of size 256.0 KiB (2.5 MiB/2.6 MiB used)."),
            "No space left on device",
        ),
        (OSError("Generic LocalFileSystem error: No space left on device (os error 28)"), "No space left on device"),
    ],
)
def test_disk_errors_of_databases_and_libraries_are_recognised_by_their_text(error: Exception, reason: str) -> None:
    assert fault(error, Path("/data")) == f"/data cannot be used: {reason}."


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), OSError(errno.ECONNREFUSED, "Connection refused"), sqlite3.OperationalError("no such table: x")],
)
def test_other_errors_are_not_taken_for_disk_errors(error: Exception) -> None:
    assert fault(error, Path("/data")) is None


# -- free space, and reading without write permission --------------------------------------------------


def test_free_space_is_found_and_a_full_disk_is_detected(tmp_path: Path, mount: Mount) -> None:
    require_free_space(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    small = tmp_path / "small"
    mount(small, "-t", "tmpfs", "-o", f"size={RUN_SPACE // 2}", "tmpfs")
    with pytest.raises(OSError, match="No space left on device") as raised:
        require_free_space(small)
    assert raised.value.filename == str(small) and list(small.iterdir()) == []


def test_writable_project_is_read_in_place(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", sql=FEW_FEATURES)
    with readable(project) as read:
        assert read == project
    project.data.mkdir()
    with readable(project) as read:
        assert read == project


def test_status_alerts_lineage_and_check_need_no_write_permission(tmp_path: Path, mount: Mount) -> None:
    project = make_project(tmp_path / "project", sql=FEW_FEATURES)
    (project.inbox / BOOK / "2026-01").mkdir(parents=True)
    config = Portfolio.load(project, BOOK).alerts
    with Outbox(project, BOOK, config):
        pass
    read_only(mount, project.root)
    code, output = run_command(project, "status", "--portfolio", BOOK)
    assert code == 0 and "No champion yet." in output
    code, output = run_command(project, "alerts", "--portfolio", BOOK)
    assert code == 0 and "No alerts." in output
    code, output = run_command(project, "lineage", "income", "--portfolio", BOOK)
    assert code == 0 and "applications.AMT_INCOME_TOTAL" in output
    assert "workspace.yaml:1: no entry has" in run_command(project, "check", BOOK)[1]
    code, output = run_command(project, "run", "--portfolio", BOOK)
    assert code == 1
    assert output.splitlines() == [f"{project.data / 'dagster'} cannot be used: Read-only file system."]


def test_status_works_on_a_full_disk(tmp_path: Path, mount: Mount) -> None:
    root = tmp_path / "project"
    mount(root, "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    made = make_project(tmp_path / "made", sql=FEW_FEATURES)
    shutil.copytree(made.root, root, dirs_exist_ok=True)
    project = Project(root)
    project.data.mkdir()
    with pytest.raises(OSError, match="No space left"), (project.data / "fill").open("wb", buffering=0) as file:
        while True:
            file.write(b"0" * 4096)
    code, output = run_command(project, "status", "--portfolio", BOOK)
    assert code == 0 and "No champion yet." in output
    code, output = run_command(project, "run", "--portfolio", BOOK)
    assert code == 1 and output.splitlines()[-1].endswith("cannot be used: No space left on device.")


def test_file_size_limit_ends_a_delivery_with_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", sql=FEW_FEATURES)
    for name in ("uci_credit_card.yaml", "uci_credit_card.py"):
        shutil.copy(PROJECT / "configs" / name, project.root / "configs")
    book = Book.load(project, "uci_credit_card")
    columns = list(column_types(book.contracts["applications"]))
    lines = [",".join(columns), *(",".join([str(n)] + ["1"] * (len(columns) - 1)) for n in range(8000))]
    file = tmp_path / f"{book.portfolio.tables['applications'].files[0]}.csv"
    file.write_text("\n".join(lines) + "\n")
    environment = {name: value for name, value in os.environ.items() if name != "CREDIT_ASSETS_HOME"}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "deliver", str(file), "--portfolio", book.name, "--batch", "1"],
        cwd=project.root,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, 2**18)),
    )
    assert done.returncode == 1
    line = (done.stdout + done.stderr).splitlines()[-1]
    assert "Traceback" not in done.stdout + done.stderr
    assert line.endswith("cannot be used: File too large.") and str(project.root) in line
    assert not (project.inbox / book.name / "1").exists()


def test_database_is_copied_consistently(tmp_path: Path) -> None:
    live = sqlite3.connect(tmp_path / "x.db")
    live.execute("PRAGMA journal_mode = wal")
    live.execute("CREATE TABLE t (a)")
    live.execute("INSERT INTO t VALUES (1)")
    live.commit()
    live.execute("INSERT INTO t VALUES (2)")
    copy_database(tmp_path / "x.db", tmp_path / "copy.db")
    assert sqlite3.connect(tmp_path / "copy.db").execute("SELECT a FROM t").fetchall() == [(1,)]
    live.close()
    (tmp_path / "other.db").write_text("no database")
    copy_database(tmp_path / "other.db", tmp_path / "other copy.db")
    assert (tmp_path / "other copy.db").read_text() == "no database"
