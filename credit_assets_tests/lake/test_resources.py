"""The lake's connection in real Dagster runs, and the batches of portfolios."""

import os
import subprocess
from pathlib import Path

import dagster as dg
import pytest

from credit_assets.lake.resources import batches, lake_resource
from credit_assets.settings.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_connection_is_opened_at_first_use_with_its_own_temporary_spill_folder(project):
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


def test_spill_files_of_a_killed_process_are_removed_and_those_of_a_running_one_stay(project):
    ended = subprocess.Popen(["true"])
    ended.wait()
    killed, living = project.spill / f"{ended.pid}-abc", project.spill / f"{os.getppid()}-abc"
    for folder in (killed, living):
        folder.mkdir(parents=True)
        (folder / "block.tmp").touch()
    own = lake_resource(project).scratch
    assert sorted(project.spill.iterdir()) == sorted([living, own])


def test_duckdb_does_not_access_the_network_by_itself(project, monkeypatch):
    monkeypatch.setenv("CREDIT_ASSETS_MEMORY_LIMIT", "256MB")
    monkeypatch.setenv("CREDIT_ASSETS_THREADS", "1")
    resource = lake_resource(project)
    settings = ("autoinstall_known_extensions", "autoload_known_extensions", "memory_limit", "threads")
    try:
        found = [resource.connection.sql(f"SELECT current_setting('{name}')").fetchall()[0][0] for name in settings]
    finally:
        resource.teardown_after_execution(dg.build_init_resource_context())
    assert found == [False, False, "244.1 MiB", 1]


def test_each_portfolio_has_its_own_batches():
    assert batches("one").name == "one_batches"
    assert batches("one") != batches("other")
