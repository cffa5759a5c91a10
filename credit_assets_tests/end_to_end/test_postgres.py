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
class DaemonRuns:
    """The project, and its runs after the first and the second daemon."""

    project: Project
    first: list[dg.DagsterRun]
    second: list[dg.DagsterRun]


@pytest.fixture(scope="module")
def daemon_runs(tmp_path_factory: pytest.TempPathFactory) -> DaemonRuns:
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
    return DaemonRuns(project, *runs)


def test_delivery_is_processed_up_to_scores(daemon_runs):
    assert [(run.job_name, run.status) for run in daemon_runs.first] == [
        ("ingest", dg.DagsterRunStatus.SUCCESS),
        ("train", dg.DagsterRunStatus.SUCCESS),
        ("score", dg.DagsterRunStatus.SUCCESS),
    ]
    assert Registry.of(daemon_runs.project, BOOK).champion() is not None
    assert len(table(daemon_runs.project, "scores", BATCH)) == APPLICANTS


def test_new_daemon_repeats_nothing(daemon_runs):
    assert [run.run_id for run in daemon_runs.first] == [run.run_id for run in daemon_runs.second]


def test_nothing_is_stored_in_files_beside_the_database(daemon_runs):
    assert not list((daemon_runs.project.data / "dagster").rglob("*.db"))
