"""A version is promoted while a run processes a batch: the same version checks the features, scores them and is judged
by the outcomes.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from credit_assets.automation.due import OtherChampion, PerformanceNotMeasured, Reason
from credit_assets.automation.pending import batches_to_score
from credit_assets.automation.runs import RunOutcome, execute
from credit_assets.definitions import build
from credit_assets.lake.tables import Lake
from credit_assets.registry.registry import Registry
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import Line
from credit_assets_tests.small_project import (
    BATCHES,
    BOOK,
    inside,
    instance_of,
    latest_metadata,
    register_again,
    table,
)

# The tests are steps of one story.
pytestmark = pytest.mark.story

OPEN = BATCHES[-1]


@pytest.fixture(scope="module")
def project(short_line: Line, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy with a second version, which is not champion yet."""
    project = short_line.copy(tmp_path_factory.mktemp("pinned") / "project")
    register_again(project, trees=5)
    return project


def promote(project: Project, version: int) -> None:
    Registry.of(project, BOOK).promote(version, by="hand", why="in the middle of a run")


def score(project: Project, *tables: str, made: Callable[[str], None] = lambda line: None, **tags: str) -> RunOutcome:
    """The job `score` of the open batch, or some of its assets; `made` is called with each materialized asset."""
    with inside(project), instance_of(project) as instance:
        return execute(instance, build(BOOK, project), BOOK, "score", OPEN, made, tables, tags)


def due(project: Project, champion: int) -> list[tuple[str | None, Reason]]:
    with inside(project):
        found = batches_to_score(Portfolio.load(project, BOOK), Lake(project.lake), champion)
    return [(item.batch, item.reason) for item in found]


@pytest.fixture(scope="module")
def promoted_in_between(project: Project) -> RunOutcome:
    """Version 2 is promoted after the features of the batch have been checked and before they are scored."""

    def promote_after_the_check(line: str) -> None:
        if line.split()[0] == "feature_drift":
            promote(project, 2)

    outcome = score(project, made=promote_after_the_check)
    assert outcome.success, outcome.errors
    return outcome


def test_run_scores_by_the_version_that_checked_the_features(project, promoted_in_between):
    scores = table(project, "scores", OPEN)
    assert set(scores["model_version"]) == set(scores["features_checked_against"]) == {1}
    for asset in ("feature_drift", "scores", "score_drift", "performance"):
        assert latest_metadata(project, asset)["model_version"] == 1, asset


def test_new_champion_makes_the_open_batch_due_again(project, promoted_in_between):
    assert due(project, champion=2) == [(OPEN, OtherChampion(2))]


def test_separate_scoring_is_refused_if_features_were_checked_by_another_version(project, promoted_in_between):
    outcome = score(project, "scores")
    assert outcome.errors == (
        f"The features of {OPEN} were checked against version 1, but version 2 is the champion now. "
        f"Run the job `score` for {OPEN}, or materialize feature_drift and scores together.",
    )


def test_rerun_of_the_remaining_steps_keeps_the_version(project, promoted_in_between):
    repeated = {"dagster/parent_run_id": promoted_in_between.run_id, "dagster/root_run_id": promoted_in_between.run_id}
    again = score(project, "scores", **repeated)
    assert again.success, again.errors
    later = score(project, "scores", **{"dagster/parent_run_id": again.run_id})
    assert later.success, later.errors
    assert set(table(project, "scores", OPEN)["model_version"]) == {1}


def test_separate_scoring_uses_the_champion_that_checked_the_features(project, promoted_in_between):
    assert score(project, "feature_drift").success
    outcome = score(project, "scores", "score_drift")
    assert outcome.success, outcome.errors
    scores = table(project, "scores", OPEN)
    assert set(scores["model_version"]) == set(scores["features_checked_against"]) == {2}
    assert due(project, champion=2) == [(OPEN, PerformanceNotMeasured())]


def test_scoring_is_refused_if_features_were_rebuilt_since_the_check(project, promoted_in_between):
    with inside(project), instance_of(project) as instance:
        assert execute(instance, build(BOOK, project), BOOK, "ingest", OPEN, lambda line: None, ("features",)).success
    [error] = score(project, "scores").errors
    assert error.startswith(f"The features of {OPEN} were computed again after their check.")
