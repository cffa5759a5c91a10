"""Checks that the model registry responds, within seconds where MLflow's client would take minutes.

The registry is read and written in `registry.py`.
"""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

VARIABLE = "MLFLOW_TRACKING_URI"
ENDPOINT = "/api/2.0/mlflow/registered-models/search"

TIMEOUT_S = 5.0
"""Timeout in seconds for a response; with a command's start-up, a failure is reported within ten seconds."""

REUSE_S = 15.0
"""How long in seconds a check's result is reused: the sensors of a portfolio check one after the other."""

PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""Default ports of database servers."""


class RegistryUnavailable(ConnectionError):
    """The model registry does not respond, or not as an MLflow server; the message names its address and setting."""


_asked: dict[str, tuple[float, str | None]] = {}


def require(tracking_uri: str) -> None:
    """Raise RegistryUnavailable, with address and reason, if the registry cannot be used."""
    when, reason = _asked.get(tracking_uri, (float("-inf"), None))
    if time.monotonic() - when > REUSE_S:
        reason = _reason_in_time(tracking_uri)
        _asked[tracking_uri] = (time.monotonic(), reason)
    if reason is not None:
        raise _unavailable(tracking_uri, reason)


@contextmanager
def answering(tracking_uri: str) -> Iterator[None]:
    """Require the registry, and also raise RegistryUnavailable if it fails within the context."""
    from mlflow.exceptions import MlflowException

    require(tracking_uri)
    try:
        yield
    except MlflowException as error:
        # Errors that a server returns have other messages; this is MLflow's message if no server responds.
        if not str(error).startswith("API request"):
            raise
        raise _unavailable(tracking_uri, _connection_failure(error)) from None


def _unavailable(tracking_uri: str, reason: str) -> RegistryUnavailable:
    setting = VARIABLE if os.environ.get(VARIABLE) else f"set {VARIABLE} for another"
    return RegistryUnavailable(f"The model registry at {_shown(tracking_uri)} ({setting}) {reason}.")


def _reason_in_time(tracking_uri: str) -> str | None:
    """Why the registry cannot be used, None if it can. Runs in a thread, since name resolution has no timeout."""
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(_reason(tracking_uri)), daemon=True)
    thread.start()
    thread.join(TIMEOUT_S + 1)
    return found[0] if found else f"did not answer within {TIMEOUT_S:.0f} seconds"


def _reason(tracking_uri: str) -> str | None:
    try:
        address = urlsplit(tracking_uri)
        host, port = address.hostname, address.port
    except ValueError:
        return "has an address that cannot be read"
    scheme = address.scheme.split("+")[0]
    if scheme == "sqlite":
        return _reason_of_file(Path(tracking_uri.split(":///", 1)[-1]))
    if scheme in ("http", "https"):
        return _reason_of_server(tracking_uri) if host else "has an address without a host"
    if scheme in PORTS and host:
        try:
            socket.create_connection((host, port or PORTS[scheme]), TIMEOUT_S).close()
        except OSError as error:
            return _connection_failure(error)
    return None


def _reason_of_file(path: Path) -> str | None:
    if not path.exists():
        return None
    if path.is_dir():
        return "is a folder, not a database file"
    try:
        # Not read-only: SQLite first rolls back what a killed writer left, which needs write access.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=TIMEOUT_S)) as con:
            con.execute("PRAGMA schema_version").fetchall()
    except sqlite3.DatabaseError as error:
        return f"cannot be read: {error}"
    return None


def _reason_of_server(tracking_uri: str) -> str | None:
    """Why the server cannot be used. Without MLflow, whose import takes seconds, and without credentials: a server that
    requires them responds too."""
    import requests

    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("1", "true")
    try:
        answer = requests.get(
            f"{tracking_uri.rstrip('/')}{ENDPOINT}",
            params={"max_results": 1},
            timeout=TIMEOUT_S,
            verify=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or not insecure,
            cert=os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"),
        )
    except OSError as error:
        return _connection_failure(error)
    code = answer.status_code
    if code in (401, 403):
        return None
    if code >= 500:
        return f"fails (HTTP {code} {answer.reason})"
    try:
        is_mlflow = code == 200 and isinstance(answer.json(), dict)
    except ValueError:
        is_mlflow = False
    return None if is_mlflow else f"answers, but not as an MLflow server (HTTP {code})"


def _connection_failure(error: BaseException) -> str:
    """Why the connection failed, from the operating system's error at the root of the chain."""
    chain: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in chain:
        chain.append(each)
        # urllib3 and requests keep the cause in a field or as an argument.
        inner = [getattr(each, "reason", None), *each.args]
        each = each.__cause__ or each.__context__ or next((i for i in inner if isinstance(i, BaseException)), None)
    if refused := re.search(r"error code (401|403)", str(error)):
        return f"refuses access (HTTP {refused[1]}). Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    if any(isinstance(link, TimeoutError) or "timed out" in str(link) for link in chain):
        return f"did not answer within {TIMEOUT_S:.0f} seconds"
    system = [link for link in chain if isinstance(link, OSError) and link.strerror]
    detail = system[-1].strerror if system else str(chain[-1]).splitlines()[0][:200]
    return f"does not answer: {detail}"


def _shown(tracking_uri: str) -> str:
    """The address without credentials."""
    if tracking_uri.startswith("sqlite:"):
        return tracking_uri
    try:
        address = urlsplit(tracking_uri)
        return urlunsplit(address._replace(netloc=address.netloc.rsplit("@", 1)[-1], query=""))
    except ValueError:
        return tracking_uri.rsplit("@", 1)[-1]
