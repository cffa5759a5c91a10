"""The code servers of `make dev` start at the same time."""

from __future__ import annotations

from threading import Barrier, BrokenBarrierError
from types import SimpleNamespace

from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from credit_assets.automation.dev import start_code_servers
from credit_assets.dagster_private import ManagedGrpcPythonEnvCodeLocationOrigin, proxy_server_manager

BOOKS = ("home_credit", "lending_club", "uci_credit_card")


def origins() -> list[ManagedGrpcPythonEnvCodeLocationOrigin]:
    return [
        ManagedGrpcPythonEnvCodeLocationOrigin(
            loadable_target_origin=LoadableTargetOrigin(module_name="credit_assets.locations", attribute=book),
            location_name=book,
        )
        for book in BOOKS
    ]


def manager_of(*locations: object, start: object) -> SimpleNamespace:
    return SimpleNamespace(
        _origins=list(locations), _grpc_server_registry=SimpleNamespace(_get_grpc_server_entry=start)
    )


def test_no_code_server_waits_for_another():
    together, started = Barrier(len(BOOKS), timeout=10), []

    def start(origin: ManagedGrpcPythonEnvCodeLocationOrigin) -> None:
        try:
            together.wait()
        except BrokenBarrierError:
            raise AssertionError("the servers are started one after the other") from None
        started.append(origin.location_name)

    start_code_servers(manager_of(*origins(), start=start))

    assert sorted(started) == sorted(BOOKS)


def test_code_servers_of_another_process_are_not_started():
    elsewhere = GrpcServerCodeLocationOrigin(host="localhost", port=4266)

    start_code_servers(manager_of(elsewhere, start=None))


def test_dagster_still_has_what_is_replaced():
    """`main` replaces this method of a private class; without it `make dev` would fail."""
    assert callable(proxy_server_manager()._initialize_endpoints)
