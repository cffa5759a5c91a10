"""An empty project to bring a book into."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from credit_assets.settings.project import Project
from credit_assets_tests.conftest import PROJECT


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    (root / "configs").mkdir(parents=True)
    shutil.copy(PROJECT / "dagster.yaml", root)
    shutil.copy(PROJECT / "workspace.yaml", root)
    return Project(root)
