"""`dagster dev` that starts the code servers of all portfolios at the same time.

    python -m credit_assets.automation.dev --host 127.0.0.1 --port 3000

Dagster starts one after the other, and waits until each has loaded its portfolio.
"""

from __future__ import annotations

import runpy
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from credit_assets.dagster_private import ManagedGrpcPythonEnvCodeLocationOrigin, proxy_server_manager


def start_code_servers(manager: Any) -> None:
    """Start the code servers of the manager's code locations together, and wait until all of them answer.

    An error is kept by the registry, which raises it when the location is used, like the error of a server that Dagster
    starts.
    """
    managed = [origin for origin in manager._origins if isinstance(origin, ManagedGrpcPythonEnvCodeLocationOrigin)]
    if not managed:
        return
    # The registry's public method holds a lock while it waits. Each call adds its own entry, so none is needed here.
    with ThreadPoolExecutor(len(managed)) as pool:
        list(pool.map(manager._grpc_server_registry._get_grpc_server_entry, managed))


def main() -> None:
    """Run `dagster dev` with the arguments of the command line."""
    manager = proxy_server_manager()
    monitor_code_servers = manager._initialize_endpoints

    def initialize_endpoints(self: Any) -> None:
        start_code_servers(self)
        # It finds the servers started, and monitors them.
        monitor_code_servers(self)

    manager._initialize_endpoints = initialize_endpoints
    sys.argv = ["dagster", "dev", *sys.argv[1:]]
    runpy.run_module("dagster", run_name="__main__")


if __name__ == "__main__":
    main()
