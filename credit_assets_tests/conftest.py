"""Fixtures that several rooms share: where the real data are, and a small project that went the whole way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import dagster as dg

    from credit_assets.automation.runs import RunOutcome
    from credit_assets.project import Project

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real public credit data; the test skips where it is not at hand."""
    folder = Path(os.environ.get("CREDIT_ASSETS_REAL_DATA", PROJECT.parent / "shared" / "data"))
    if not (folder / "home_credit").is_dir():
        pytest.skip(f"real data not found at {folder}; set CREDIT_ASSETS_REAL_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def built() -> dg.Definitions:
    """This repository's Home Credit portfolio as Dagster sees it; only to be looked at."""
    from credit_assets.definitions import build
    from credit_assets.project import Project

    return build("home_credit", Project(PROJECT))


@dataclass(frozen=True)
class Line:
    """A small project whose three synthetic batches (the newest without outcomes) went the whole way, once.

    Only to be read: what changes something takes a copy (`copy_of`).
    """

    project: Project
    outcomes: list[RunOutcome]
    said: list[str]


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    # Not above: most tests need nothing of Dagster, whose import takes seconds.
    from credit_assets_tests.small_project import deliver_sample, make_project, run

    project = make_project(tmp_path_factory.mktemp("line") / "project")
    deliver_sample(project)
    said: list[str] = []
    return Line(project, run(project, said), said)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a registry of its own, which takes long to make. Only to be copied."""
    from credit_assets.models import registry
    from credit_assets_tests.small_project import FEW_FEATURES, make_project

    project = make_project(tmp_path_factory.mktemp("empty") / "project", sql=FEW_FEATURES)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        registry.prepare(project.tracking_uri)
    return project
