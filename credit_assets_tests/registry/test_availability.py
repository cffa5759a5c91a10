"""A model registry that does not answer correctly: on real sockets, and how long detection takes."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from credit_assets.registry import availability
from credit_assets.registry.availability import RegistryUnavailable, answering, require
from credit_assets.registry.mlflow_store import MlflowStore
from credit_assets.registry.registry import Registry

SETTING = "(MLFLOW_TRACKING_URI)"


@pytest.fixture(autouse=True)
def forget_availability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "_asked", {})
    monkeypatch.setattr(availability, "TIMEOUT_S", 0.5)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "set")


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a socket that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


class CannedAnswers(BaseHTTPRequestHandler):
    """Answers with the status code and body named in the path."""

    def do_GET(self) -> None:
        _, code, body, *_ = self.path.split("/")
        self.send_response(int(code))
        self.end_headers()
        self.wfile.write({"json": b"{}", "page": b"<html>", "list": b"[]"}[body])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), CannedAnswers) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()


def message(uri: str) -> str:
    with pytest.raises(RegistryUnavailable) as raised:
        require(uri)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_refused_connection_is_reported() -> None:
    assert message("http://127.0.0.1:9") == (
        f"The model registry at http://127.0.0.1:9 {SETTING} does not answer: Connection refused."
    )
    assert "Connection refused" in message("postgresql://127.0.0.1:9/mlflow")


def test_hanging_server_is_waited_for_once_up_to_the_timeout(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    assert message(silent) == f"The model registry at {silent} {SETTING} did not answer within 0 seconds."
    assert 0.4 < time.monotonic() - began < 30
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("asked again"))
    message(silent)  # Sensors that check one after the other wait only once.


def test_server_that_never_finishes_its_answer_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            caller, _ = listening.accept()
            with caller, suppress(OSError):
                caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                for _ in range(600):
                    time.sleep(0.1)
                    caller.sendall(b" ")

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        assert "did not answer" in message(f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert time.monotonic() - began < 30


def test_unknown_host_name_is_reported() -> None:
    assert "does not answer: " in message("http://no-such-host.invalid:5000")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("500/json", "fails (HTTP 500 Internal Server Error)."),
        ("503/page", "fails (HTTP 503 Service Unavailable)."),
        ("404/page", "answers, but not as an MLflow server (HTTP 404)."),
        ("200/page", "answers, but not as an MLflow server (HTTP 200)."),
        ("200/list", "answers, but not as an MLflow server (HTTP 200)."),
    ],
)
def test_failing_and_unrelated_servers_are_reported(server: str, path: str, reason: str) -> None:
    assert message(f"{server}/{path}").endswith(f"{SETTING} {reason}")


@pytest.mark.parametrize("path", ["200/json", "401/page", "403/json"])
def test_answering_server_is_used_even_if_it_requires_credentials(server: str, path: str) -> None:
    require(f"{server}/{path}")


@pytest.mark.parametrize("uri", ["http://", "http://a:b", "http://[1"])
def test_invalid_address_is_reported(uri: str) -> None:
    assert "has an address" in message(uri)


def test_credentials_in_the_address_are_not_shown() -> None:
    told = message("http://user:secret@127.0.0.1:9/x?token=secret")
    assert "secret" not in told and "http://127.0.0.1:9/x" in told


def test_local_file_that_is_no_database_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (tmp_path / "mlflow.db").write_text("no database " * 1000)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert message(uri) == (
        f"The model registry at {uri} (set MLFLOW_TRACKING_URI for another) cannot be read: file is not a database."
    )
    assert message(f"sqlite:///{tmp_path}").endswith(" is a folder, not a database file.")
    require(f"sqlite:///{tmp_path / 'other.db'}")
    sqlite3.connect(tmp_path / "there.db").execute("CREATE TABLE t (x)").connection.close()
    require(f"sqlite:///{tmp_path / 'there.db'}")


def test_registry_checks_availability_before_its_client_waits(silent: str, tmp_path: Path) -> None:
    registry = Registry(MlflowStore(silent, "book", tmp_path))
    began = time.monotonic()
    with pytest.raises(RegistryUnavailable):
        registry.champion()
    assert time.monotonic() - began < 60


def test_server_that_stops_midway_is_named_too(server: str) -> None:
    uri = f"{server}/200/json"
    with pytest.raises(RegistryUnavailable, match=r"refuses access .HTTP 401"), answering(uri):
        raise MlflowException("API request to endpoint /x failed with error code 401 != 200. Response body: ''")
    with pytest.raises(RegistryUnavailable, match="does not answer: Connection reset by peer"), answering(uri):
        try:
            raise ConnectionResetError(104, "Connection reset by peer")
        except OSError as error:
            raise MlflowException(f"API request to {uri} failed with exception {error}") from error
    with pytest.raises(MlflowException, match="no such thing"), answering(uri):
        raise MlflowException("RESOURCE_DOES_NOT_EXIST: no such thing")
