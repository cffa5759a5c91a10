"""dagster-webserver on a project, for tests of the UI. Nothing is asserted here."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from credit_assets.settings.project import Project


@contextmanager
def serving(project: Project) -> Iterator[str]:
    """Start the server as workspace.yaml configures it; its address, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster_webserver", "--host", "127.0.0.1", "--port", str(port)],
        cwd=project.root,
        env=os.environ | {"DAGSTER_HOME": str(project.root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            assert process.poll() is None, "dagster-webserver ended"
            try:
                urllib.request.urlopen(f"{address}/server_info", timeout=1).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                # A tenth of a second, or less if the server has ended.
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(300)
