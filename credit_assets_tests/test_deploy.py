"""The files in deploy/: units accepted by systemd, settings accepted by Dagster, and nothing exposed to the network."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import DagsterInstance
from dagster._config import process_config
from dagster._core.instance.ref import InstanceRef
from dagster._daemon.types import DaemonHeartbeat
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy import create_engine

HOME = Path(__file__).parents[1]
DEPLOY = HOME / "deploy"
UNITS = DEPLOY / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
LOCATIONS = [entry["grpc_server"] for entry in yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"]]


def settings(unit: Path) -> dict[str, str]:
    """A unit's settings by name; for one given twice, the last."""
    lines = [line for line in unit.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_postgres_configuration_differs_in_the_storage_only():
    here = yaml.safe_load((HOME / "dagster.yaml").read_text())
    there = yaml.safe_load((DEPLOY / "dagster-postgres.yaml").read_text())
    assert {**here, "storage": None} == {**there, "storage": None}
    assert list(there["storage"]) == ["postgres"]


def test_dagster_accepts_the_postgres_settings_with_secrets_from_the_environment(tmp_path, monkeypatch):
    shutil.copy(DEPLOY / "dagster-postgres.yaml", tmp_path / "dagster.yaml")
    for name, value in {"HOST": "db", "PORT": "5433", "USER": "me", "PASSWORD": "p@ss", "DATABASE": "runs"}.items():
        monkeypatch.setenv(f"PG{name}", value)
    storage = InstanceRef.from_dir(str(tmp_path)).storage_data
    assert storage is not None
    assert storage.class_name == DagsterPostgresStorage.__name__
    taken = process_config(DagsterPostgresStorage.config_type(), storage.config_dict)
    assert taken.success, taken.errors
    url = pg_url_from_config(taken.value)
    assert url == "postgresql+psycopg2://me:p%40ss@db:5433/runs"
    assert create_engine(url).dialect.driver == "psycopg2"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path, monkeypatch):
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder)
    for service in folder.glob("*.service"):
        # Files installed elsewhere are not found here.
        service.write_text(re.sub(r"/opt/credit-assets/\.venv/bin/[\w-]+", "/bin/true", service.read_text()))
    for location in LOCATIONS:
        shutil.copy(
            folder / "credit-assets-code@.service", folder / f"credit-assets-code@{location['location_name']}.service"
        )
    (folder / "credit-assets-code@.service").unlink()
    monkeypatch.setenv("SYSTEMD_UNIT_PATH", f"{folder}:")
    units = sorted(str(path) for path in folder.iterdir() if path.is_file())
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_services_run_existing_commands(service):
    started = [line for line in service.read_text().splitlines() if line.startswith("ExecStart=")]
    assert started
    for line in started:
        ours = re.search(r"/opt/credit-assets/\.venv/bin/([\w-]+)", line)
        command = Path(sys.executable).parent / ours[1] if ours else Path(line.split("=")[1].split()[0])
        assert command.exists()


@pytest.mark.slow
def test_service_finds_the_instance_although_its_env_file_uses_pwd(tmp_path):
    """systemd sets no PWD, from which .env derives DAGSTER_HOME, and Dagster lets .env override other values."""
    for name, copy in {".env.example": ".env", "dagster.yaml": "dagster.yaml"}.items():
        shutil.copy(HOME / name, tmp_path / copy)
    common = (UNITS / "credit-assets-.service.d" / "all.conf").read_text()
    given = " ".join(re.findall(r"^Environment=(.*)$", common, re.MULTILINE)).replace(
        "/srv/credit-assets", str(tmp_path)
    )
    [alive] = re.findall(
        r"^ExecStart=\S+/(dagster-daemon liveness-check)$",
        (UNITS / "credit-assets-alive.service").read_text(),
        re.MULTILINE,
    )
    command = ["env", "-i", *given.split(), *f"{Path(sys.executable).parent}/{alive}".split()]
    dead = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (dead.returncode, dead.stdout) == (1, "Daemon(s) not running\n"), dead.stderr
    with contextlib.chdir(tmp_path), DagsterInstance.from_config(str(tmp_path)) as instance:
        for daemon in instance.get_required_daemon_types():
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), daemon, daemon_id="one"))
    live = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (live.returncode, live.stdout) == (0, "Daemon live\n"), live.stderr


def test_container_runs_where_its_env_file_finds_the_instance(compose):
    [home] = re.findall(r"^ENV DAGSTER_HOME=(.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    for name in compose["services"].keys() - {"postgres"}:
        service = compose["services"][name]
        assert service["working_dir"] == service["environment"]["PWD"] == home, name


@pytest.mark.parametrize("watched", ["backup", "alive"])
def test_failure_of_a_timer_s_service_is_logged_as_critical(watched):
    unit = UNITS / f"credit-assets-{watched}.service"
    assert unit.with_suffix(".timer").exists()
    assert settings(unit)["OnFailure"] == "credit-assets-failed@%N.service"
    said = shlex.split(settings(UNITS / "credit-assets-failed@.service")["ExecStart"].replace("%i", unit.stem))
    done = subprocess.run(said, capture_output=True, text=True, check=True)
    # <2> is critical to systemd.
    assert done.stdout.startswith(f"<2>{unit.stem} has failed")


def test_services_run_without_privileges_and_without_secrets_in_their_units():
    common = settings(UNITS / "credit-assets-.service.d" / "all.conf")
    assert common["User"] == "credit-assets"
    assert common["NoNewPrivileges"] == "yes"
    assert common["CapabilityBoundingSet"] == ""
    assert common["ProtectSystem"] == "strict"
    text = "".join(path.read_text() for path in DEPLOY.rglob("*") if path.is_file())
    assert not re.search(r"(?i)(password|secret|token)\w*[ ]*[=:][ ]*[^\s{$?]", text)


def test_ui_is_reachable_from_this_machine_only(compose):
    assert "--host 127.0.0.1 " in settings(UNITS / "credit-assets-webserver.service")["ExecStart"]
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:3000:3000"]


def test_every_served_portfolio_has_its_code_server_at_the_expected_socket(compose):
    alone = yaml.safe_load((HOME / "workspace.yaml").read_text())["load_from"]
    names = [entry["python_module"]["location_name"] for entry in alone]
    assert LOCATIONS and {location["location_name"] for location in LOCATIONS} <= set(names)
    unit = settings(UNITS / "credit-assets-code@.service")["ExecStart"]
    for location in LOCATIONS:
        name = location["location_name"]
        assert (HOME / "configs" / f"{name}.yaml").exists()
        for started in (unit.replace("%i", name), compose["services"]["code"]["command"]):
            assert f"--socket {location['socket']} " in started
            assert f"--module-name credit_assets.locations --attribute {name} " in started
            assert f"--location-name {name}" in started


def test_every_container_has_a_health_check_and_no_privileges(compose):
    for name, service in compose["services"].items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        if name != "postgres":
            assert service["cap_drop"] == ["ALL"], name
            assert service["env_file"] == "credit-assets.env", name
    assert compose["services"]["daemon"]["pid"] == "service:code", "or it could not see the processes of runs"


def test_image_is_built_from_existing_files_that_are_not_ignored():
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = re.findall(r"^COPY (.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert {name for names in copied for name in names.split()} == let_in
    assert all((HOME / name).exists() for name in let_in)
