"""With its instance on PostgreSQL the daemon gives the same results; a new daemon finds nothing left to do."""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg
import pytest

from credit_assets.ingest.inbox import Inbox
from credit_assets.registry.registry import Registry
from credit_assets.settings.project import Project
from credit_assets_tests.end_to_end.daemon import Daemon
from credit_assets_tests.end_to_end.postgres import postgres
from credit_assets_tests.end_to_end.year import APPLICANTS, MONTHS, draw, make_book
from credit_assets_tests.small_project import BOOK, table

# The tests are steps of one story.
pytestmark = pytest.mark.story

BATCH = MONTHS[0]


@dataclass(frozen=True)
class Lived:
    """The project, and its runs after the first and the second daemon."""

    project: Project
    first: list[dg.DagsterRun]
    second: list[dg.DagsterRun]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    folder = tmp_path_factory.mktemp("postgres")
    draw(folder / "made", 1)
    runs = []
    with postgres() as server:
        project = make_book(folder / "project", {"postgres": {"postgres_db": server}})
        Inbox(project.inbox).deliver(folder / "made" / BATCH, BOOK, BATCH)
        for _ in range(2):
            with Daemon(project) as daemon:
                daemon.until_quiet()
                runs.append(list(daemon.instance.get_runs(ascending=True)))
    return Lived(project, *runs)


def test_delivery_is_processed_up_to_scores(lived):
    assert [(run.job_name, run.status) for run in lived.first] == [
        ("ingest", dg.DagsterRunStatus.SUCCESS),
        ("train", dg.DagsterRunStatus.SUCCESS),
        ("score", dg.DagsterRunStatus.SUCCESS),
    ]
    assert Registry.of(lived.project, BOOK).champion() is not None
    assert len(table(lived.project, "scores", BATCH)) == APPLICANTS


def test_new_daemon_repeats_nothing(lived):
    assert [run.run_id for run in lived.first] == [run.run_id for run in lived.second]


def test_nothing_is_stored_in_files_beside_the_database(lived):
    assert not list((lived.project.data / "dagster").rglob("*.db"))
