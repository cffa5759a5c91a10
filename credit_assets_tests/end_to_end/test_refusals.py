"""Trainings refused in Dagster: for protected attributes, for a leak, for mixing synthetic and real data."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from credit_assets.automation.runs import RunOutcome
from credit_assets.ingest.file_names import MARKER
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.tables import Lake
from credit_assets.registry.registry import Registry
from credit_assets.settings.project import Project
from credit_assets_tests.small_project import (
    BATCHES,
    BOOK,
    FEW_FEATURES,
    configure,
    deliver_sample,
    instance_of,
    make_project,
    run_job,
)

FORBIDDEN = FEW_FEATURES.replace(
    "from applications",
    """    case when CODE_GENDER = 'M' then AMT_CREDIT else 0 end as credit_by_man, -- the credit, if a man asks for it
    DAYS_REGISTRATION as days_registered, -- the days since the registration was changed
    TARGET * 2.5 as trouble -- the trouble to come
from applications""",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("refusals") / "project", sql=FORBIDDEN)
    configure(project, {"post_decision": {"DAYS_REGISTRATION": "the registry tells it a month later"}})
    deliver_sample(project, applicants=900)
    for batch in BATCHES[:2]:
        assert run_job(project, "ingest", batch).success
    return project


@pytest.fixture(scope="module")
def refused(project: Project) -> RunOutcome:
    return run_job(project, "train")


def test_feature_made_from_a_protected_attribute_is_refused_by_name(refused):
    assert not refused.success
    assert "credit_by_man is made from applications.CODE_GENDER, a protected attribute" in refused.errors[0], (
        refused.errors
    )


def test_feature_made_from_the_outcome_is_refused_by_name(refused):
    assert "trouble is made from applications.TARGET, the outcome itself" in refused.errors[0]
    assert "trouble is a copy of the target" in refused.errors[0]


def test_feature_known_only_after_the_decision_is_refused_with_the_reason(refused):
    assert (
        "days_registered is made from applications.DAYS_REGISTRATION, known only after the decision "
        "(the registry tells it a month later)" in refused.errors[0]
    )


def test_permitted_features_are_not_named(refused):
    assert "income" not in refused.errors[0]
    assert "external_score_2" not in refused.errors[0]


def test_refused_training_set_is_not_stored(project, refused):
    lake = Lake(project.lake)
    assert not lake.exists(f"{BOOK}/training_set")
    assert Registry.of(project, BOOK).champion() is None
    assert Registry.of(project, BOOK).challenger() is None
    with instance_of(project) as instance:
        run = instance.get_run_by_id(refused.run_id)
        assert run is not None
        assert run.status == dg.DagsterRunStatus.FAILURE


def test_refused_training_is_failed_in_mlflow(project, refused):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=project.tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name(BOOK).experiment_id])
    assert [run.info.status for run in runs if run.data.tags["dagster_run_id"] == refused.run_id] == ["FAILED"]


def test_no_model_learns_from_synthetic_and_real_batches_together(project, refused, tmp_path: Path):
    real = tmp_path / "real"
    real.mkdir()
    for file in Inbox(project.inbox).files(BOOK, BATCHES[2]):
        if file.name != MARKER:
            (real / file.name).write_bytes(file.read_bytes())
    Inbox(project.inbox).deliver(real, BOOK, BATCHES[2])
    assert run_job(project, "ingest", BATCHES[2]).success
    mixed = run_job(project, "train")
    assert f"Batches {BATCHES[0]}, {BATCHES[1]} of {BOOK} are synthetic and the others are not" in mixed.errors[0]
