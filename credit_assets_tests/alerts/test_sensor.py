"""The sensor `alerts` and the command on real projects: what a series of runs sends to a real webhook."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner, Result

from credit_assets.alerts import lasting_alerts
from credit_assets.alerts.sensor import alert_sensor
from credit_assets.book.book import Book
from credit_assets.cli import app
from credit_assets.dagster_private import TickStatus
from credit_assets.registry.tracking import prepare
from credit_assets.settings.project import Project
from credit_assets.settings.run_tags import PORTFOLIO_TAG
from credit_assets_tests.alerts.receivers import Sink, free_port, http_sink
from credit_assets_tests.alerts.test_sources import record_tick
from credit_assets_tests.small_project import BOOK, FEW_FEATURES, configure, inside, instance_of, make_project

ALERTS = {"webhook": {"least": "info"}, "disk_free_gb": 0, "memory_free_share": 0, "per_hour": 100}


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    with http_sink() as sink:
        monkeypatch.setenv("CREDIT_ASSETS_WEBHOOK_URL", sink.url)
        yield sink


@pytest.fixture(scope="module")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry without models; creating one takes seconds."""
    database = tmp_path_factory.mktemp("registry") / "mlflow.db"
    prepare(f"sqlite:///{database}")
    return database


@pytest.fixture
def instance(bare_instance: dg.DagsterInstance) -> Iterator[dg.DagsterInstance]:
    yield bare_instance
    bare_instance.wipe()
    assert bare_instance.schedule_storage
    bare_instance.schedule_storage.wipe()


@pytest.fixture
def project(tmp_path: Path, empty_registry: Path) -> Project:
    project = make_project(tmp_path / "project", {"alerts": ALERTS}, sql=FEW_FEATURES)
    (project.data / "mlflow").mkdir(parents=True)
    shutil.copy(empty_registry, project.data / "mlflow" / "mlflow.db")
    return project


def tick(project: Project, instance: dg.DagsterInstance) -> str:
    """What one tick of the sensor reports."""
    sensor = alert_sensor(Book.load(project, BOOK))
    code = dg.Definitions(sensors=[sensor]).get_repository_def()
    skip = sensor(dg.build_sensor_context(instance=instance, repository_def=code))
    assert isinstance(skip, dg.SkipReason)
    return str(skip.skip_message)


def run_alerts_command(project: Project, *arguments: str) -> Result:
    with inside(project):
        return CliRunner().invoke(app, ["alerts", "--portfolio", BOOK, *arguments])


def fail(instance: dg.DagsterInstance) -> str:
    @dg.asset(key=[BOOK, "bureau"])
    def bureau() -> None:
        raise dg.Failure("bureau.csv: row 7 has no amount")

    tags = {PORTFOLIO_TAG: BOOK, "dagster/partition": "2026-03"}
    return dg.materialize([bureau], instance=instance, tags=tags, raise_on_error=False).run_id


def test_alerts_of_a_series_of_runs_are_sent_once_across_restarts(short_line, tmp_path, sink):
    project = short_line.copy(tmp_path / "project")
    configure(project, {"alerts": ALERTS})
    with instance_of(project) as instance:
        said = tick(project, instance)
        assert tick(project, instance) == "There are no new alerts."
    with instance_of(project) as instance:
        assert tick(project, instance) == "There are no new alerts."
    told = {body["kind"]: body for body in sink.posted}
    assert said == f"{len(sink.posted)} sent by webhook"
    assert len({body["id"] for body in sink.posted}) == len(sink.posted)
    assert {"retraining", "promotion"} <= set(told)
    assert not {"run_failed", "capacity", "undelivered"} & set(told)
    assert told["promotion"]["title"] == "version 1 is the champion (there was no champion)"
    listed = run_alerts_command(project).output
    assert "version 1 is the champion (there was no champion) (home_credit, champion)" in listed
    assert "webhook sent" in listed


def test_alerts_are_sent_although_a_source_fails_and_the_tick_reports_it(project, instance, sink, monkeypatch):
    run_id = fail(instance)
    # psutil cannot read the memory of some containers.
    monkeypatch.setattr(lasting_alerts.psutil, "virtual_memory", lambda: 1 / 0)
    with pytest.raises(ExceptionGroup, match="Some sources of alerts could not be read"):
        tick(project, instance)
    [body] = sink.posted
    assert body["title"] == "a materialization by hand of 2026-03 failed"
    assert body["link"] == f"http://localhost:3000/runs/{run_id}"


def test_unusable_registry_is_named_on_the_tick_and_other_alerts_are_sent(project, instance, sink):
    (project.data / "mlflow" / "mlflow.db").write_bytes(b"no database " * 1000)
    fail(instance)
    words = tick(project, instance)
    assert "cannot be read: file is not a database." in words and "webhook" in words
    assert [body["kind"] for body in sink.posted] == ["run_failed"]


def test_failing_ticks_are_reported_including_those_of_the_alert_sensor(project, instance, sink):
    configure(project, {"alerts": {"lasting_minutes": 0}})
    for name in ("alerts", "of_an_earlier_release"):
        record_tick(instance, name, TickStatus.FAILURE, time.time(), location=BOOK)
    tick(project, instance)
    assert [(body["kind"], body["title"]) for body in sink.posted] == [("tick_failed", "the sensor alerts fails")]


def test_undeliverable_alert_is_reported_on_the_tick_and_listed(project, instance, monkeypatch):
    monkeypatch.setenv("CREDIT_ASSETS_WEBHOOK_URL", f"http://127.0.0.1:{free_port()}/SECRET")
    fail(instance)
    assert tick(project, instance) == "webhook: ConnectionError: Connection refused; 1 waiting"
    listed = run_alerts_command(project).output
    assert "webhook waiting (ConnectionError: Connection refused)" in listed
    assert "SECRET" not in listed


def test_tick_and_command_report_that_no_channel_is_configured(project, instance):
    configure(project, {"alerts": {"webhook": None}})
    fail(instance)
    assert tick(project, instance).startswith("No channel is configured")
    listed = run_alerts_command(project).output
    assert "nothing is sent" in listed
    assert "error   a materialization by hand of 2026-03 failed (home_credit, batch 2026-03, bureau)" in listed
    assert "not sent" in listed


def test_command_tries_each_channel(project, sink, monkeypatch):
    done = run_alerts_command(project, "--test")
    assert (done.exit_code, done.output) == (0, "webhook: sent\n")
    assert [body["kind"] for body in sink.posted] == ["test"]
    monkeypatch.delenv("CREDIT_ASSETS_WEBHOOK_URL")
    done = run_alerts_command(project, "--test")
    assert (done.exit_code, done.output) == (1, "webhook: not sent: CREDIT_ASSETS_WEBHOOK_URL is not set\n")


def test_command_lists_no_alerts_before_the_first_run(project):
    assert run_alerts_command(project).output == "No alerts.\n"


def test_alert_sensor_runs_by_default(project):
    sensor = alert_sensor(Book.load(project, BOOK))
    assert sensor.name == "alerts"
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
