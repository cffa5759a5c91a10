"""Refused deliveries are not retried until something changes, neither by a command nor by the sensor."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from credit_assets.application.run import RETRY_CONDITION
from credit_assets.application.status import status
from credit_assets.automation import pending
from credit_assets.definitions import build
from credit_assets.ingest import typed_read
from credit_assets.ingest.bad_delivery import UnreadableNow
from credit_assets.ingest.inbox import Inbox
from credit_assets.settings.portfolio import settings_fingerprint
from credit_assets.settings.project import Project
from credit_assets_tests.small_project import (
    BATCHES,
    BOOK,
    FEW_FEATURES,
    copy_of,
    deliver_sample,
    inside,
    instance_of,
    make_project,
    run,
)


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose only delivery has a file without a header and was refused."""
    project = make_project(tmp_path_factory.mktemp("refused") / "project", sql=FEW_FEATURES)
    deliver_sample(project, applicants=60, batches=1)
    (Inbox(project.inbox).folder(BOOK, BATCHES[0]) / "application_train.csv").write_text("1,2,3\n")
    [outcome] = run(project)
    assert not outcome.success
    return project


def tick(project: Project) -> dg.SensorResult:
    """The result of the second poll of the sensor `deliveries`."""
    [sensor] = [sensor for sensor in build(BOOK, project).sensors if sensor.name == "deliveries"]
    with instance_of(project) as instance:
        first = sensor(dg.build_sensor_context(instance=instance))
        return sensor(dg.build_sensor_context(instance=instance, cursor=first.cursor))


def test_refused_delivery_is_retried_after_a_change(refused: Project) -> None:
    project, said = refused, []
    assert run(project, said) == []
    [line] = said
    assert RETRY_CONDITION in line and "application_train.csv (table applications) lacks the column" in line
    with inside(project):
        [due] = status(project, BOOK).due
    assert due.refused and "lacks the column" in due.failure
    waiting = tick(project)
    assert not waiting.run_requests
    assert " refused it: " in str(waiting.skip_reason) and "lacks the column" in str(waiting.skip_reason)
    # Any change of the configuration counts, even a comment.
    config = project.config(BOOK)
    config.write_text(config.read_text() + "# changed\n")
    assert len(tick(project).run_requests or ()) == 1
    [outcome] = run(project)
    assert not outcome.success
    assert run(project) == []
    # So does the same file, copied there again.
    os.utime(Inbox(project.inbox).folder(BOOK, BATCHES[0]) / "application_train.csv", (1, 1))
    assert len(run(project)) == 1


def test_another_release_retries_what_this_one_refused(
    refused: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_of(refused, tmp_path / "project")
    run(project)
    assert run(project) == []
    monkeypatch.setattr(pending, "release", lambda: "the next one")
    assert len(run(project)) == 1


def test_files_that_could_not_be_opened_are_retried_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(tmp_path / "project", sql=FEW_FEATURES)
    deliver_sample(project, applicants=60, batches=1)

    def closed(file: Path) -> str:
        raise UnreadableNow(f"{file} cannot be read: Permission denied.")

    with monkeypatch.context() as patch:
        patch.setattr(typed_read, "sha256_of", closed)
        [outcome] = run(project)
    assert not outcome.success and any("Permission denied" in error for error in outcome.errors)
    assert run(project)[0].success


def test_fingerprint_of_settings_covers_configuration_contracts_and_sql(tmp_path: Path) -> None:
    project = Project(tmp_path)
    (tmp_path / "configs").mkdir()
    project.sql("book").mkdir(parents=True)
    project.config("book").write_text(json.dumps({"contracts": "book.py"}))
    files = [project.config("book"), tmp_path / "configs" / "book.py", project.sql("book") / "features.sql"]
    seen = {settings_fingerprint(project, "book")}
    for file in files[1:]:
        file.write_text("")
        seen.add(settings_fingerprint(project, "book"))
    for file in files:
        file.write_text(file.read_text() + "\n")
        seen.add(settings_fingerprint(project, "book"))
        assert settings_fingerprint(project, "book") in seen
    assert len(seen) == 6
    files[2].rename(files[2].with_name("other.sql"))
    assert settings_fingerprint(project, "book") not in seen
    project.config("book").write_text("no: [yaml")
    assert settings_fingerprint(project, "book") not in seen


def test_sensors_and_schedules_start_nothing_when_settings_changed_since_loading(
    refused: Project, tmp_path: Path
) -> None:
    project = copy_of(refused, tmp_path / "project")
    loaded = build(BOOK, project)
    sql = project.sql(BOOK) / "features.sql"
    sql.write_text(sql.read_text() + "\n-- changed\n")
    with instance_of(project) as instance:
        for sensor in loaded.sensors:
            if sensor.name in ("deliveries", "retrain", "roll_back"):
                answer = sensor(dg.build_sensor_context(instance=instance, cursor="{}"))
                reason = answer.skip_reason if isinstance(answer, dg.SensorResult) else answer
                assert "have changed since" in str(reason) and "Reload" in str(reason), sensor.name
        for schedule in loaded.schedules:
            if schedule.name in ("weekly_challenger", "daily_sweep"):
                answer = schedule(
                    dg.build_schedule_context(instance=instance, scheduled_execution_time=datetime.now(UTC))
                )
                assert "have changed since" in str(answer), schedule.name
    # After they are reloaded, they continue.
    assert len(tick(project).run_requests or ()) == 1
