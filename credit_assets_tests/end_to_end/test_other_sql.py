"""An analyst changes the SQL of a book in production: nothing becomes due by itself, no training mixes features of two
SQL versions, scores on features that the champion did not learn from are reported, and one command makes everything
consistent again.

One small project goes through it in this order; each step records what it found.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from credit_assets.application.check_results import CheckResult
from credit_assets.application.status import Status, status
from credit_assets.application.train import train
from credit_assets.automation.runs import RunOutcome
from credit_assets.lake.tables import Lake
from credit_assets.settings.project import Project
from credit_assets_tests.small_project import (
    BATCHES,
    BOOK,
    FEW_FEATURES,
    QUICK,
    configure,
    copy_of,
    deliver_sample,
    inside,
    run,
    run_job,
    table,
)

# The tests are steps of one story.
pytestmark = pytest.mark.story

OLDEST, MIDDLE, NEWEST = BATCHES
OTHER = FEW_FEATURES.replace("AMT_INCOME_TOTAL as income", "AMT_INCOME_TOTAL / 12 as income").replace(
    "from applications", "    AMT_CREDIT as credit -- the credit\nfrom applications"
)


@dataclass(frozen=True)
class Step:
    """The runs of a step; the status, and the version of each batch's current scores, after it."""

    outcomes: list[RunOutcome]
    status: Status
    scores: dict[str, int]

    def check(self, name: str) -> CheckResult:
        [found] = [check for check in self.status.checks if check.check == name]
        return found


def step_after(project: Project, outcomes: list[RunOutcome]) -> Step:
    written = Lake(project.lake).batches(f"{BOOK}/scores")
    with inside(project):
        return Step(outcomes, status(project, BOOK), {batch: made.version for batch, made in written.items()})


@pytest.fixture(scope="module")
def project(empty: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = copy_of(empty, tmp_path_factory.mktemp("other_sql") / "project")
    # Models of so few applicants vary widely; that is not the subject here.
    gate = QUICK["evaluation"]["gate"] | {"max_score_psi": 3.0, "champion_margin": 0.3}
    configure(project, {"evaluation": {"gate": gate}})
    deliver_sample(project, applicants=2400)
    return project


@pytest.fixture(scope="module")
def first(project: Project) -> Step:
    return step_after(project, run(project))


@pytest.fixture(scope="module")
def changed(project: Project, first: Step) -> Step:
    (project.sql(BOOK) / "features.sql").write_text(OTHER)
    return step_after(project, run(project))


@pytest.fixture(scope="module")
def mixed(project: Project, changed: Step) -> Step:
    """In the UI the newest batch is ingested with the current SQL, whatever is due runs, the batch is scored, and then
    a training is started.
    """
    outcomes = [run_job(project, "ingest", NEWEST), *run(project)]
    outcomes += [run_job(project, "score", NEWEST), run_job(project, "train")]
    return step_after(project, outcomes)


@pytest.fixture(scope="module")
def trained(project: Project, mixed: Step) -> Step:
    with inside(project):
        outcomes = train(project, BOOK, lambda line: None)
    return step_after(project, outcomes)


def test_champion_scores_features_of_the_sql_it_learned_from(first):
    assert [outcome.errors for outcome in first.outcomes] == [()] * 7
    assert first.check("features_as_learned").passed
    assert (
        first.check("features_as_learned").description
        == "The SQL of the features is the one that version 1 learned from."
    )


def test_changed_sql_makes_nothing_due_and_is_shown_in_the_status(changed):
    assert changed.outcomes == []
    assert changed.status.due == []
    assert changed.status.features_of_other_sql == {batch: ["features.sql"] for batch in BATCHES}


def test_check_reports_scores_by_other_sql_than_the_champion_learned_from(mixed):
    made, looked_over, scored, _ = mixed.outcomes
    assert made.success and looked_over.success and scored.success
    assert f"{BOOK}__scores" in scored.asset_seconds
    # The outcomes table was ingested again too, so the performance is measured; nothing is scored automatically.
    assert f"{BOOK}__scores" not in looked_over.asset_seconds
    told = mixed.check("features_as_learned")
    assert (told.passed, told.severity, told.batch) == (False, "WARN", NEWEST)
    assert told.description == (
        "The SQL of the features differs from what version 1 learned from (features.sql), so drift may come from the "
        "SQL and not from the applicants. "
        f"`credit-assets train --portfolio {BOOK}` trains a candidate on the current SQL."
    )


def test_training_on_features_of_two_sql_versions_is_refused(mixed):
    refusal = mixed.outcomes[-1]
    assert not refusal.success
    assert refusal.errors[0].startswith(
        f"The features of {OLDEST}, {MIDDLE} were made by other SQL than the current sql/{BOOK} (features.sql). "
        f"`credit-assets train --portfolio {BOOK}` recomputes them and trains;"
    )


def test_train_command_rebuilds_features_of_other_sql_and_learns_from_them(project, trained):
    assert [(outcome.job, outcome.batch, outcome.success) for outcome in trained.outcomes] == [
        ("ingest", OLDEST, True),
        ("ingest", MIDDLE, True),
        ("train", None, True),
        ("score", NEWEST, True),
    ]
    # Only the features of the ingestion.
    assert list(trained.outcomes[0].asset_seconds) == [f"{BOOK}__features"]
    assert trained.status.champion.version == 2
    assert trained.status.features_of_other_sql == {}
    assert trained.check("features_as_learned").passed
    incomes = table(project, "applications").set_index("SK_ID_CURR")["AMT_INCOME_TOTAL"] / 12
    features = table(project, "features").set_index("SK_ID_CURR")
    assert features["income"].reindex(incomes.index).tolist() == pytest.approx(incomes.tolist())


def test_champion_was_compared_on_the_features_it_learned_from(project, trained):
    """On a twelfth of the incomes it would have ranked differently."""
    compared = table(project, "predictions").query("model == 'champion'").set_index("applicant")["pd"]
    scored = table(project, "scores", MIDDLE).set_index("applicant")["pd"]
    assert set(compared.index) == set(scored.index)
    assert (compared == scored.reindex(compared.index)).all()


def test_earlier_decisions_are_unchanged(mixed, trained):
    assert {batch for batch in BATCHES if trained.scores[batch] != mixed.scores[batch]} == {NEWEST}
