"""Unconfirmed reason texts that a declined applicant would receive: scores come with a warning, or are withheld by
configuration.
"""

from __future__ import annotations

import dagster as dg
import pytest

from credit_assets.automation.runs import RunOutcome, execute
from credit_assets.definitions import build
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import Line
from credit_assets_tests.small_project import BATCHES, BOOK, configure, inside, instance_of, table

# The tests are steps of one story.
pytestmark = pytest.mark.story

OPEN = BATCHES[-1]


@pytest.fixture(scope="module")
def project(line: Line, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy with two draft texts."""
    project = line.copy(tmp_path_factory.mktemp("drafts") / "project")
    sql = project.sql(BOOK) / "application_features.sql"
    text = sql.read_text()
    for old, new in (
        ("-- source of income", "-- Name income type (NAME_INCOME_TYPE)"),
        ("-- level of education", "-- level of education -- CONFIRM: by its name"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    sql.write_text(text)
    return project


def score(project: Project) -> tuple[RunOutcome, list[dg.AssetCheckEvaluation]]:
    """The run, and its check result on the texts."""
    with inside(project), instance_of(project) as instance:
        outcome = execute(instance, build(BOOK, project), BOOK, "score", OPEN, print, ("scores",))
        logged = instance.all_logs(outcome.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    checks = [entry.get_dagster_event().asset_check_evaluation_data for entry in logged]
    return outcome, [check for check in checks if check.check_name == "reasons_confirmed"]


def test_scores_come_with_a_warning_that_names_the_draft_texts(project):
    outcome, [check] = score(project)
    assert outcome.success, outcome.errors
    assert not check.passed and check.severity == dg.AssetCheckSeverity.WARN and not check.blocking
    assert check.description == (
        "The text of income_type contains the column name NAME_INCOME_TYPE; 1 other text is a draft too. "
        "`credit-assets check` lists what to write."
    )
    assert check.metadata["drafts"].value == 2
    assert [record.data["feature"] for record in check.metadata["to_write"].records] == ["income_type", "education"]


def test_scores_are_withheld_if_so_configured(project):
    configure(project, {"reasons": {"unconfirmed": "block"}})
    before = table(project, "scores", OPEN)
    outcome, checks = score(project)
    assert not outcome.success and checks == []
    assert outcome.errors[0].startswith(
        "Scores are withheld (`reasons: {unconfirmed: block}`): The text of income_type contains the column name"
    )
    assert table(project, "scores", OPEN).equals(before)


def test_scores_are_given_once_the_texts_are_confirmed(project):
    configure(project, {"reasons": {"unconfirmed": "block"}})
    for file in project.sql(BOOK).glob("*.sql"):
        written = file.read_text().replace(" (NAME_INCOME_TYPE)", "").replace(" -- CONFIRM: by its name", "")
        file.write_text(written)
    outcome, [check] = score(project)
    assert outcome.success, outcome.errors
    assert check.passed and check.description == "The texts of all 477 features are confirmed."
