"""A PostgreSQL server for one test, from Debian's binaries. Nothing is asserted here."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
USER = "lender"


@contextmanager
def postgres() -> Iterator[dict[str, Any]]:
    """The connection settings of a fresh local server for dagster-postgres; skips the test if PostgreSQL is not
    installed.
    """
    if not BINARIES:
        pytest.skip("no PostgreSQL server here (Debian: apt install postgresql)")
    binaries = BINARIES[-1]
    # The server refuses to run as root, and pytest's folders are accessible to the user only.
    account = pwd.getpwnam("nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    os.chown(folder, account.pw_uid, account.pw_gid)
    by_account: dict[str, Any] = {"cwd": folder, "env": {}, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    if os.geteuid() == 0:
        by_account |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    server = None
    try:
        make = [binaries / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "--no-sync", "--locale=C.UTF-8"]
        subprocess.run(make, check=True, **by_account)
        port = _free_port()
        settings = [
            "-clisten_addresses=127.0.0.1",
            f"-cport={port}",
            f"-cunix_socket_directories={folder}",
            "-cfsync=off",
        ]
        server = subprocess.Popen([binaries / "postgres", "-D", folder / "data", *settings], **by_account)
        _wait_for(port)
        yield {
            "username": USER,
            "password": "",
            "hostname": "127.0.0.1",
            "port": port,
            "db_name": "postgres",
            "scheme": "postgresql+psycopg2",
        }
    finally:
        if server is not None:
            # Open connections are closed.
            server.send_signal(signal.SIGINT)
            server.wait(timeout=300)
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    patience = time.monotonic() + 300
    while True:
        try:
            psycopg2.connect(host="127.0.0.1", port=port, user=USER, dbname="postgres").close()
            return
        except psycopg2.OperationalError:
            if time.monotonic() > patience:
                raise
            time.sleep(0.1)
