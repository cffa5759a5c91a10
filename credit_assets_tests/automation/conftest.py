"""The fixtures of a portfolio's automation on made-up data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from credit_assets.registry.memory import Memory
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.automation.loop import Loop
from credit_assets_tests.conftest import PROJECT
from credit_assets_tests.small_project import BOOK, FEW_FEATURES


@pytest.fixture(scope="package")
def bare_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("instance"))) as instance:
        yield instance


@pytest.fixture
def loop(built: dg.Definitions, bare_instance: dg.DagsterInstance, tmp_path: Path) -> Iterator[Loop]:
    """A loop with an empty inbox, an empty registry and no runs."""
    portfolio, project = Portfolio.load(Project(PROJECT), BOOK), Project(tmp_path)
    project.sql(BOOK).mkdir(parents=True)
    (project.sql(BOOK) / "features.sql").write_text(FEW_FEATURES)
    yield Loop(portfolio, project, Memory().registry(BOOK), built.get_repository_def(), bare_instance)
    bare_instance.wipe()
