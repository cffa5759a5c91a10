"""A candidate of another kind of model: one line of the configuration changes, everything else stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from credit_assets.application.status import Status, status
from credit_assets.automation.runs import RunOutcome
from credit_assets.models.estimators.logistic_regression import LogisticModel
from credit_assets.models.registered import load_model
from credit_assets.registry.registry import Registry
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import Line
from credit_assets_tests.small_project import BATCHES, BOOK, QUICK, configure, inside, latest_metadata, run_job, table

NEWEST = BATCHES[-1]


@dataclass(frozen=True)
class Trained:
    """The project, whose champion was XGBoost, after a training of the other kind and scores by it."""

    project: Project
    training: RunOutcome
    scoring: RunOutcome
    status: Status


@pytest.fixture(scope="module")
def trained(short_line: Line, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    project = short_line.copy(tmp_path_factory.mktemp("other_kind") / "project")
    # Models of so few applicants vary widely; that is not the subject here.
    gate = QUICK["evaluation"]["gate"] | {"max_score_psi": 3.0, "champion_margin": 0.3}
    configure(project, {"training": {"model": "logistic_regression"}, "evaluation": {"gate": gate}})
    training, scoring = run_job(project, "train"), run_job(project, "score", NEWEST)
    with inside(project):
        return Trained(project, training, scoring, status(project, BOOK))


def test_candidate_of_the_configured_kind_becomes_champion(trained: Trained) -> None:
    assert trained.training.success, trained.training.errors
    registry = Registry.of(trained.project, BOOK)
    champion = registry.champion()
    assert champion is not None and champion.number == 2
    assert isinstance(load_model(registry, champion), LogisticModel)
    about = latest_metadata(trained.project, "candidate")
    assert about["model"] == "logistic_regression"
    assert set(about["parameters"]) == {"inverse_penalty", "bin_weight"}
    assert registry.metrics(champion)["tuning_auc"] == about["tuning_auc"] > 0.6


def test_candidate_is_compared_with_a_champion_of_another_kind(trained: Trained) -> None:
    rows = table(trained.project, "predictions").pivot(index=["applicant", "batch"], columns="model", values="pd")
    assert rows.notna().all().all()
    # The baseline is the same model.
    assert (rows["candidate"] == rows["baseline"]).all()
    assert (rows["candidate"] != rows["champion"]).mean() > 0.99


def test_scores_equal_those_of_the_model_with_reasons_for_every_decline(trained: Trained) -> None:
    assert trained.scoring.success, trained.scoring.errors
    scores = table(trained.project, "scores", NEWEST).set_index("applicant").sort_index()
    assert set(scores["model_version"]) == {2}
    registry = Registry.of(trained.project, BOOK)
    model = load_model(registry, registry.get(2))
    features = table(trained.project, "features", NEWEST).set_index("SK_ID_CURR").loc[scores.index]
    np.testing.assert_array_equal(model.pd(features), scores["pd"])
    declined = scores[scores["decision"] == "decline"]
    assert len(declined) and declined["reason_1"].str.len().min() > 5
    # The first reason is the largest contribution that raised the PD.
    assert (declined["reason_log_odds_1"] > 0).all()
    assert set(scores["features_checked_against"]) == {2}
    assert trained.status.champion is not None and trained.status.champion.version == 2
