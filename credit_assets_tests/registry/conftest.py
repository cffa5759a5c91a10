"""Registries in MLflow (a SQLite file) and in memory, with helpers that fill them with bare versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from credit_assets.registry.champions import ChampionEvent, ChangedBy
from credit_assets.registry.memory import Memory
from credit_assets.registry.mlflow_store import MlflowStore
from credit_assets.registry.registry import Registry
from credit_assets.registry.tracking import prepare
from credit_assets_tests.bare_versions import register_bare


class Book:
    """A registry with bare versions, promoted by the gate unless a test says otherwise."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.name = registry.name

    def add(self, count: int = 1, *, gated: bool = True, **origin: Any) -> int:
        """Register versions; the number of the last one."""
        return [register_bare(self.registry, gated=gated, **origin) for _ in range(count)][-1]

    def promote(self, number: int, by: ChangedBy = "gate", why: str = "it is better") -> None:
        self.registry.promote(number, by=by, why=why, dagster_run=f"run of {number}")

    def roll_back(self, **changes: Any) -> int:
        return self.registry.roll_back(**{"by": "rollback", "why": "it is worse", **changes}).number

    def history(self) -> list[ChampionEvent]:
        return self.registry.history()

    def versions(self) -> list[int]:
        return [event.version for event in self.history()]

    def aliases(self) -> dict[str, int]:
        found = self.registry.store.model()
        assert found is not None
        return dict(found.aliases)

    def tags(self) -> dict[str, str]:
        found = self.registry.store.model()
        assert found is not None
        return dict(found.tags)


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a SQLite store that all tests share, because creating one takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    prepare(f"sqlite:///{folder / 'mlflow.db'}")
    return folder


@pytest.fixture
def in_mlflow(request: pytest.FixtureRequest, folder: Path) -> Registry:
    """A registry in MLflow with nothing registered under the name of the test."""
    return Registry(MlflowStore(f"sqlite:///{folder / 'mlflow.db'}", request.node.originalname, folder / "artifacts"))


@pytest.fixture(params=["mlflow", "memory"])
def empty(request: pytest.FixtureRequest, folder: Path) -> Registry:
    """A registry without versions."""
    name = request.node.name.replace("[", ".").replace("]", "")
    if request.param == "memory":
        return Memory().registry(name)
    return Registry(MlflowStore(f"sqlite:///{folder / 'mlflow.db'}", name, folder / "artifacts"))


@pytest.fixture
def book(empty: Registry) -> Book:
    """Three versions, none of them promoted."""
    made = Book(empty)
    made.add(3)
    return made
