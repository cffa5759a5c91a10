"""What follows the first run: outcomes, a challenger, a corrected delivery, a candidate that the gate refuses, and a
batch that cannot be scored.

One copy of the small project goes through all of it in this order; each step records what it found.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import dagster as dg
import mlflow
import pandas as pd
import pytest

from credit_assets.application.status import Status, status
from credit_assets.automation.retraining import latest_training
from credit_assets.automation.runs import RunOutcome
from credit_assets.definitions import build
from credit_assets.history.timeline import timeline
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.tables import Lake
from credit_assets.models.registered import load_model
from credit_assets.monitoring.reference import Reference
from credit_assets.registry.registry import Registry
from credit_assets.registry.version import POPULATION
from credit_assets.settings.portfolio import Portfolio
from credit_assets.settings.project import Project
from credit_assets_tests.conftest import Line
from credit_assets_tests.small_project import (
    BATCHES,
    BOOK,
    configure,
    inside,
    instance_of,
    run,
    run_job,
    table,
)

# The tests are steps of one story.
pytestmark = pytest.mark.story

OLDEST, _, NEWEST = BATCHES
BLIND = "2026-04"


@dataclass(frozen=True)
class Step:
    """The runs of a step, and the state after it: the lake (table to batch to version), the aliases, the status, and
    the gate results of each version.
    """

    outcomes: list[RunOutcome]
    versions: dict[str, dict[str, int]]
    aliases: dict[str, int]
    status: Status
    gate: dict[int, str]


def step_after(project: Project, outcomes: list[RunOutcome]) -> Step:
    lake = Lake(project.lake)
    names = [name.removeprefix(f"{BOOK}/") for name in lake.tables(BOOK)]
    client = mlflow.MlflowClient(tracking_uri=project.tracking_uri, registry_uri=project.tracking_uri)
    with inside(project):
        told = status(project, BOOK)
    return Step(
        outcomes,
        {name: {batch: made.version for batch, made in lake.batches(f"{BOOK}/{name}").items()} for name in names},
        {alias: int(number) for alias, number in client.get_registered_model(BOOK).aliases.items()},
        told,
        {each.number: each.gate for each in Registry.of(project, BOOK).versions()},
    )


def rewritten(before: Step, after: Step) -> dict[str, set[str]]:
    """The batches of each table that were written between the two steps."""
    return {
        name: batches
        for name, of_table in after.versions.items()
        if (batches := {batch for batch, made in of_table.items() if made != before.versions[name].get(batch)})
    }


@pytest.fixture(scope="module")
def project(short_line: Line, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return short_line.copy(tmp_path_factory.mktemp("changes") / "project")


@pytest.fixture(scope="module")
def at_first(project: Project) -> Step:
    return step_after(project, [])


@pytest.fixture(scope="module")
def with_outcomes(project: Project, at_first: Step) -> Step:
    """The outcomes of the newest batch are delivered, and the command runs."""
    Inbox(project.inbox).deliver(project.root / "sample" / "outcomes" / NEWEST, BOOK, NEWEST)
    return step_after(project, run(project))


@pytest.fixture(scope="module")
def challenged(project: Project, with_outcomes: Step) -> Step:
    """The weekly challenger learns from them."""
    return step_after(project, [run_job(project, "train")])


@pytest.fixture(scope="module")
def repeated(project: Project, challenged: Step) -> Step:
    """Another training on the same data."""
    return step_after(project, [run_job(project, "train")])


@pytest.fixture(scope="module")
def corrected(project: Project, repeated: Step) -> Step:
    """The oldest batch is delivered again with another income of its first applicant, and the command runs."""
    correction = project.root / "correction"
    shutil.copytree(Inbox(project.inbox).folder(BOOK, OLDEST), correction)
    applications = pd.read_csv(correction / "application_train.csv", dtype=str, keep_default_na=False)
    applications.loc[0, "AMT_INCOME_TOTAL"] = "987654.0"
    applications.to_csv(correction / "application_train.csv", index=False)
    Inbox(project.inbox).deliver(correction, BOOK, OLDEST)
    return step_after(project, run(project))


@pytest.fixture(scope="module")
def refused(project: Project, corrected: Step) -> Step:
    """The gate demands more than any model reaches, and a challenger is trained."""
    config = Portfolio.load(project, BOOK).evaluation.model_dump()
    configure(project, {"evaluation": config | {"gate": config["gate"] | {"min_defaults": 100_000}}})
    return step_after(project, [run_job(project, "train")])


@pytest.fixture(scope="module")
def blind(project: Project, refused: Step) -> Step:
    """A batch arrives without the external scores that the champion relies on, and the command runs."""
    folder = project.root / "blind"
    shutil.copytree(Inbox(project.inbox).folder(BOOK, NEWEST), folder)
    (folder / "outcomes.csv").unlink()
    applications = pd.read_csv(folder / "application_test.csv", dtype=str, keep_default_na=False)
    applications[["EXT_SOURCE_1", "EXT_SOURCE_2", "EXT_SOURCE_3"]] = ""
    applications.to_csv(folder / "application_test.csv", index=False)
    Inbox(project.inbox).deliver(folder, BOOK, BLIND)
    configure(project, {"drift": {"shifted_importance": 0.1}})
    return step_after(project, run(project))


def test_later_outcomes_update_the_performance_and_change_no_score(at_first, with_outcomes):
    assert [(outcome.job, outcome.batch, outcome.success) for outcome in with_outcomes.outcomes] == [
        ("outcomes", NEWEST, True)
    ]
    made = [f"{BOOK}__outcomes", f"{BOOK}__performance", f"{BOOK}__operations__timeline"]
    assert list(with_outcomes.outcomes[0].asset_seconds) == made
    assert rewritten(at_first, with_outcomes) == {"outcomes": {NEWEST}, "performance": {NEWEST}}
    assert with_outcomes.status.batches[-1].outcomes_known == with_outcomes.status.batches[-1].applicants
    assert with_outcomes.status.due == []


def test_challenger_is_tested_on_the_newest_outcomes_and_promoted(project, with_outcomes, challenged):
    assert [outcome.errors for outcome in challenged.outcomes] == [()]
    assert challenged.status.champion.version == 2
    assert challenged.aliases == {"champion": 2, "previous_champion": 1}


def test_drift_population_of_the_challenger_is_the_newest_batch_with_its_pds(project, challenged):
    with inside(project):
        registry = Registry.of(project, BOOK)
        version = registry.get(2)
        with registry.file(version, POPULATION) as path:
            population = Reference.load(path)
        model = load_model(registry, version)
    assert population.batch == NEWEST
    assert population.features == list(model.features)
    pds = pd.Series(model.pd(table(project, "features", NEWEST)))
    assert population.sketches["pd"].rows == len(pds)
    assert population.sketches["pd"].median() == pytest.approx(pds.quantile(0.5, interpolation="lower"))


def test_former_champion_is_evaluated_on_the_same_rows(project, challenged):
    predictions = Lake(project.lake)
    import duckdb

    with duckdb.connect() as con:
        # The versions of this step: later ones belong to later steps.
        rows = con.sql(predictions.query(f"{BOOK}/predictions", version=1)).df()
        models = con.sql(predictions.query(f"{BOOK}/evaluation", version=1)).df()["model"]
    assert set(rows["batch"]) == {NEWEST}
    pds = rows.pivot(index="applicant", columns="model", values="pd")
    assert set(pds) == {"candidate", "baseline", "champion"} and pds.notna().all(axis=None)
    assert set(models) == {"candidate", "baseline", "champion"}
    scored = table(project, "scores", NEWEST).set_index("applicant")["pd"]
    assert (pds["champion"] == scored.reindex(pds.index)).all()


def test_new_champion_changes_no_earlier_decision(with_outcomes, challenged):
    assert "scores" not in rewritten(with_outcomes, challenged)
    assert challenged.status.due == []


def test_retraining_on_unchanged_data_yields_the_same_version(project, challenged, repeated):
    [outcome] = repeated.outcomes
    assert outcome.success
    assert repeated.aliases == challenged.aliases
    registry = Registry.of(project, BOOK)
    first, second = registry.versions()
    assert first.repeats == ()
    [repeat] = second.repeats
    assert (repeat.run_id, repeat.root_run, repeat.why) == (outcome.run_id, outcome.run_id, "by hand")
    assert second.latest_training[0] == outcome.run_id
    assert second.last_made_from(f"{BOOK}/training_set") > second.made_from(f"{BOOK}/training_set")
    moves = registry.history()
    assert [(move.version, move.replaced) for move in moves] == [(1, None), (2, 1)]
    assert {step.status.champion.version for step in (challenged, repeated)} == {2}


def test_version_trained_again_keeps_its_reference_and_gate_result(project, challenged, repeated):
    registry = Registry.of(project, BOOK)
    assert repeated.gate == challenged.gate
    with inside(project), registry.file(registry.get(2), POPULATION) as path:
        assert Reference.load(path).batch == NEWEST
    assert challenged.status.champion.metrics == repeated.status.champion.metrics


def test_repeated_training_is_in_the_timeline_and_answers_the_request(project, repeated):
    told = timeline(Portfolio.load(project, BOOK), Lake(project.lake), Registry.of(project, BOOK))
    trainings_told = told[told["run"] == repeated.outcomes[0].run_id]
    assert trainings_told["words"].tolist() == [
        "training reproduced version 2, the same model from the same rows; by hand"
    ]
    with instance_of(project) as instance:
        known = latest_training(instance, Portfolio.load(project, BOOK), Registry.of(project, BOOK))
        record = instance.get_run_record_by_id(repeated.outcomes[0].run_id)
    assert record is not None
    assert known.effective == record.create_timestamp


def test_corrected_delivery_rewrites_its_batch_only(challenged, corrected):
    assert [(outcome.job, outcome.batch, outcome.success) for outcome in corrected.outcomes] == [
        ("ingest", OLDEST, True),
        ("score", OLDEST, True),
    ]
    again = rewritten(challenged, corrected)
    assert {frozenset(batches) for batches in again.values()} == {frozenset({OLDEST})}
    assert {"applications", "features", "feature_drift", "scores", "score_drift"} <= set(again)


def test_corrected_rows_are_in_the_tables_and_the_earlier_delivery_is_kept(project, corrected):
    kept = project.inbox / BOOK / ".superseded" / OLDEST / "1" / "application_train.csv"
    assert (table(project, "applications", OLDEST)["AMT_INCOME_TOTAL"] == 987654.0).sum() == 1
    assert not (pd.read_csv(kept)["AMT_INCOME_TOTAL"] == 987654.0).any()


def test_each_score_names_the_champion_of_its_time(project, corrected):
    scores = table(project, "scores").groupby("batch")["model_version"].unique()
    assert {batch: made_by.tolist() for batch, made_by in scores.items()} == {
        batch: [2 if batch == OLDEST else 1] for batch in BATCHES
    }


def test_candidate_that_fails_a_blocking_check_is_not_promoted(corrected, refused):
    [outcome] = refused.outcomes
    assert not outcome.success
    assert len(outcome.errors) == 1
    assert outcome.errors[0].startswith("promotion_gate.discrimination: AUC 0.")
    assert "are fewer than the 100000 required" in outcome.errors[0]
    assert refused.aliases == corrected.aliases | {"challenger": 3}
    assert refused.status.champion == corrected.status.champion
    assert {"asset": "promotion_gate", "check": "discrimination", "passed": False} in [
        check.model_dump(include={"asset", "check", "passed"}) for check in refused.status.checks
    ]


def test_refused_run_fails_without_materializing_the_champion(project, refused):
    [outcome] = refused.outcomes
    with instance_of(project) as instance:
        run = instance.get_run_by_id(outcome.run_id)
        assert run is not None
        assert run.status == dg.DagsterRunStatus.FAILURE
        made = {
            event.dagster_event.step_materialization_data.materialization.asset_key.path[-1]
            for event in instance.all_logs(outcome.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
            if event.dagster_event
        }
    assert "promotion_gate" in made
    assert not {"champion", "drift_reference"} & made


def test_refused_training_is_failed_in_mlflow_and_its_models_finished(project, refused):
    [outcome] = refused.outcomes
    client = mlflow.MlflowClient(tracking_uri=project.tracking_uri)
    runs = client.search_runs(
        [client.get_experiment_by_name(BOOK).experiment_id], f"tags.dagster_run_id = '{outcome.run_id}'"
    )
    assert {run.info.run_name: run.info.status for run in runs} == {
        "train": "FAILED",
        "xgboost": "FINISHED",
        "logistic_regression": "FINISHED",
    }


def test_batch_without_important_features_is_not_scored(refused, blind):
    assert [(outcome.job, outcome.batch, outcome.success) for outcome in blind.outcomes] == [
        ("ingest", BLIND, True),
        ("score", BLIND, False),
    ]
    assert blind.outcomes[-1].errors[0].startswith("feature_drift.features_usable: Not usable: external_score_")
    again = rewritten(refused, blind)
    assert again["features"] == again["feature_drift"] == {BLIND}
    assert "scores" not in again
    assert [(due.job, due.batch) for due in blind.status.due] == [("score", BLIND)]


def test_drifted_batch_requests_a_training_that_is_refused_without_new_outcomes(project, blind):
    definitions = build(BOOK, project)
    with instance_of(project) as instance:
        context = dg.build_sensor_context(instance=instance, definitions=definitions)
        tick = definitions.resolve_sensor_def("retrain").evaluate_tick(context)
    assert not tick.run_requests
    assert f"features_stable failed on {BLIND}" in tick.skip_message
    assert "Refused for now" in tick.skip_message
