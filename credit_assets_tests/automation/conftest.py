"""The loop on made-up data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import mlflow
import pytest

from credit_assets.models import registry
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.automation.loop import Loop
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.small_project import BOOK, FEW_FEATURES


@pytest.fixture(scope="package")
def bare_registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a registry, which takes long to make."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('registry') / 'mlflow.db'}"
    registry.prepare(uri)
    return uri


@pytest.fixture(scope="package")
def bare_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("instance"))) as instance:
        yield instance


@pytest.fixture
def loop(
    built: dg.Definitions,
    bare_registry: str,
    bare_instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Loop]:
    """Nothing delivered, nothing registered, nothing run."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", bare_registry)
    portfolio, project = Portfolio.load(Project(PROJECT), BOOK), Project(tmp_path)
    project.sql(BOOK).mkdir(parents=True)
    (project.sql(BOOK) / "features.sql").write_text(FEW_FEATURES)
    yield Loop(portfolio, project, built.get_repository_def(), bare_instance)
    bare_instance.wipe()
    client = mlflow.MlflowClient(bare_registry, registry_uri=bare_registry)
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
