"""Fixtures shared by several rooms, and how the suite is marked, ordered and seeded.

Nothing is asserted here.
"""

from __future__ import annotations

import itertools
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import hypothesis
import pytest
from filelock import FileLock

import credit_assets_tests.unsynced.sitecustomize  # noqa: F401

if TYPE_CHECKING:
    import dagster as dg

    from credit_assets.automation.runs import RunOutcome
    from credit_assets.settings.project import Project

PROJECT = Path(__file__).parents[1]
Made = TypeVar("Made")

# Processes started by tests do not wait for the disk either.
UNSYNCED = PROJECT / "credit_assets_tests" / "unsynced"
os.environ["PYTHONPATH"] = os.pathsep.join([str(UNSYNCED), *filter(None, [os.environ.get("PYTHONPATH")])])

# `make test` uses the same examples every time; `make fuzz` draws new ones. Neither keeps a database of examples.
hypothesis.settings.register_profile("test", derandomize=True, deadline=None, database=None, print_blob=True)
hypothesis.settings.register_profile("fuzz", deadline=None, database=None, print_blob=True)
hypothesis.settings.load_profile("test")

SLOW = [
    "end_to_end/test_year.py",
    "onboarding/test_guide.py",
    "end_to_end/test_draft_reasons.py",
    "end_to_end/test_killed.py",
    "end_to_end/test_changes.py",
    "end_to_end/test_other_sql.py",
    "end_to_end/test_postgres.py",
    "end_to_end/test_other_kind.py",
    "portfolios/test_lending_club_line.py",
    "models/test_search.py",
    "application/test_withdrawal.py",
    "automation/test_refusals.py",
    "automation/test_retraining.py",
    "fairness/test_assets.py",
    "registry/test_resources.py",
]
"""Files of slow tests, longest first: workers start them in this order, and the others follow in random order.

Each of the two workers is given two files at once. The third file waits for the first, and is therefore a short one.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test, restore the order of tests of a story, and move the slowest files to the front.

    This runs after pytest-randomly has shuffled the tests.
    """
    place = {PROJECT / "credit_assets_tests" / name: number for number, name in enumerate(SLOW)}
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        end_to_end = item.path.parent.name == "end_to_end"
        on_disk = fixtures & {"tmp_path", "tmp_path_factory", "built", "real_data"}
        item.add_marker("integration" if on_disk or end_to_end else "unit")
        if end_to_end or fixtures & {"line", "short_line"} or item.path in place:
            item.add_marker("slow")
    items.sort(key=lambda item: place.get(item.path, len(place)))
    files = [list(tests) for _, tests in itertools.groupby(items, key=lambda item: item.path)]
    for tests in files:
        if tests[0].get_closest_marker("story"):
            tests.sort(key=lambda item: item.reportinfo()[1] or 0)
    items[:] = itertools.chain.from_iterable(files)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real public credit data; the test is skipped if it is not available."""
    folder = Path(os.environ.get("CREDIT_ASSETS_REAL_DATA", PROJECT.parent / "shared" / "data"))
    if not (folder / "home_credit").is_dir():
        pytest.skip(f"real data not found at {folder}; set CREDIT_ASSETS_REAL_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def built() -> dg.Definitions:
    """The Dagster definitions of this repository's Home Credit portfolio; read-only."""
    from credit_assets.definitions import build
    from credit_assets.settings.project import Project

    return build("home_credit", Project(PROJECT))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """The result of `make` for an empty folder; the workers of a run share the folder and the result."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, result = root / name, root / f"{name}.pickle"
    with FileLock(root / f"{name}.lock"):
        if not result.exists():
            folder.mkdir()
            result.write_bytes(pickle.dumps(make(folder)))
    made: Made = pickle.loads(result.read_bytes())
    return made


@dataclass(frozen=True)
class Line:
    """A small project whose three synthetic batches (the newest without outcomes) were processed completely, once.

    All workers read the same project at the same time. A test that changes something, or runs a command that takes the
    portfolio's lock, uses a copy.
    """

    project: Project
    outcomes: list[RunOutcome]
    said: list[str]
    untouched: Project
    """The project after that. Its databases are never opened, so that it can be copied at any time."""

    def copy(self, root: Path) -> Project:
        """A copy of the project with all its data, to be changed."""
        from credit_assets_tests.small_project import QUICK, configure, copy_of

        project = copy_of(self.untouched, root)
        configure(project, {"drift": QUICK["drift"]})
        return project


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    # Not at the top: most tests do not need Dagster, whose import takes seconds.
    from credit_assets_tests.small_project import QUICK, copy_of, deliver_sample, make_project, run

    def make(folder: Path) -> Line:
        project = make_project(folder / "project", QUICK | {"drift": {"report_columns": 3}})
        deliver_sample(project)
        said: list[str] = []
        outcomes = run(project, said)
        return Line(project, outcomes, said, copy_of(project, folder / "untouched"))

    return made_once(tmp_path_factory, "line", make)


@pytest.fixture(scope="session")
def short_line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """Like `line`, with three tables and a few features, for tests of what follows the first run."""
    from credit_assets_tests.small_project import copy_of, deliver_sample, make_short_project, run

    def make(folder: Path) -> Line:
        project = make_short_project(folder / "project")
        deliver_sample(project)
        said: list[str] = []
        outcomes = run(project, said)
        return Line(project, outcomes, said, copy_of(project, folder / "untouched"))

    return made_once(tmp_path_factory, "short_line", make)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with its own empty MLflow registry, to be copied only."""
    from credit_assets.registry.tracking import prepare
    from credit_assets_tests.small_project import FEW_FEATURES, make_short_project

    def make(folder: Path) -> Project:
        project = make_short_project(folder / "project", sql=FEW_FEATURES)
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            prepare(project.tracking_uri)
        return project

    return made_once(tmp_path_factory, "empty", make)
