"""A model registry that does not answer, or not as one: real sockets, and how long it takes to find out."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
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
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "_asked", {})
    monkeypatch.setattr(availability, "ANSWER_S", 0.5)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "set")


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a socket that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


class Says(BaseHTTPRequestHandler):
    """Answers with the code and the body that the path names."""

    def do_GET(self) -> None:
        _, code, body, *_ = self.path.split("/")
        self.send_response(int(code))
        self.end_headers()
        self.wfile.write({"json": b"{}", "page": b"<html>", "list": b"[]"}[body])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Says) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()


def message(uri: str) -> str:
    with pytest.raises(RegistryUnavailable) as raised:
        require(uri)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_nothing_that_listens() -> None:
    assert message("http://127.0.0.1:9") == (
        f"The model registry at http://127.0.0.1:9 {SETTING} does not answer: Connection refused."
    )
    assert "Connection refused" in message("postgresql://127.0.0.1:9/mlflow")


def test_a_server_that_hangs_is_waited_for_so_long_and_then_taken_to_hang(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.monotonic()
    assert message(silent) == f"The model registry at {silent} {SETTING} did not answer within 0 seconds."
    assert 0.4 < time.monotonic() - began < 30
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("asked again"))
    message(silent)  # Sensors that ask one after the other wait once.


def test_a_server_that_never_ends_its_answer_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            caller, _ = listening.accept()
            caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(600):
                time.sleep(0.1)
                caller.sendall(b" ")

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        assert "did not answer" in message(f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert time.monotonic() - began < 30


def test_a_name_that_no_server_has() -> None:
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
def test_a_server_that_fails_or_is_another(server: str, path: str, reason: str) -> None:
    assert message(f"{server}/{path}").endswith(f"{SETTING} {reason}")


@pytest.mark.parametrize("path", ["200/json", "401/page", "403/json"])
def test_a_server_that_answers_is_used_also_where_it_wants_credentials(server: str, path: str) -> None:
    require(f"{server}/{path}")


@pytest.mark.parametrize("uri", ["http://", "http://a:b", "http://[1"])
def test_an_address_that_is_none(uri: str) -> None:
    assert "has an address" in message(uri)


def test_credentials_in_the_address_are_not_shown() -> None:
    told = message("http://user:secret@127.0.0.1:9/x?token=secret")
    assert "secret" not in told and "http://127.0.0.1:9/x" in told


def test_a_local_file_that_is_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_registry_asks_before_it_lets_its_client_wait(silent: str, tmp_path: Path) -> None:
    registry = Registry(MlflowStore(silent, "book", tmp_path))
    began = time.monotonic()
    with pytest.raises(RegistryUnavailable):
        registry.champion()
    assert time.monotonic() - began < 60


def test_a_server_that_goes_away_in_the_middle_is_named_too(server: str) -> None:
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
