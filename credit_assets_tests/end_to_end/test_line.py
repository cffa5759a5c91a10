"""The whole platform on a small synthetic lender: the results of `credit-assets run`, compared with its inputs."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from credit_assets.application.status import Status, status
from credit_assets.book.book import Book
from credit_assets.ingest.inbox import Inbox
from credit_assets.lake.tables import Lake
from credit_assets.models.registered import load_model
from credit_assets.registry.registry import Registry
from credit_assets.settings.portfolio import Portfolio
from credit_assets_tests.conftest import Line
from credit_assets_tests.small_project import APPLICANTS, BATCHES, BOOK, inside, instance_of, run, table

REASONS = [f"reason_{rank}" for rank in range(1, 5)]
REASON_FEATURES = [f"reason_feature_{rank}" for rank in range(1, 5)]
REASON_FAMILIES = [f"reason_family_{rank}" for rank in range(1, 5)]


def delivered(line: Line, batch: str) -> pd.DataFrame:
    folder = Inbox(line.project.inbox).folder(BOOK, batch)
    return pd.concat([pd.read_csv(file) for file in folder.glob("application_*.csv")])


def portfolio(line: Line) -> Portfolio:
    return Portfolio.load(line.project, BOOK)


def champion(line: Line):
    found = Registry.of(line.project, BOOK).champion()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def shown(line: Line) -> Status:
    """The status of the project."""
    with inside(line.project):
        return status(line.project, BOOK)


def test_run_ingests_batches_then_trains_then_scores(line):
    assert [outcome.errors for outcome in line.outcomes if not outcome.success] == []
    assert [(outcome.job, outcome.batch) for outcome in line.outcomes] == [
        *(("ingest", batch) for batch in BATCHES),
        ("train", None),
        *(("score", batch) for batch in BATCHES),
    ]
    assert any(said.strip().startswith("applications ") and "1,400 rows" in said for said in line.said)


def test_runs_are_stored_in_the_instance_on_disk(line):
    with instance_of(line.project) as instance:
        runs = instance.get_runs()
        assert {run.run_id for run in runs} == {outcome.run_id for outcome in line.outcomes}
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    assert [file.is_file() for file in (line.project.data / "dagster" / "storage").rglob("runs.db")] == [True]


def test_every_asset_is_materialized_for_every_batch(line, built):
    graph = built.resolve_asset_graph()
    with instance_of(line.project) as instance:
        for key in graph.materializable_asset_keys:
            if graph.get(key).is_partitioned:
                assert instance.get_materialized_partitions(key) == set(BATCHES), key
            else:
                assert instance.get_latest_materialization_event(key), key


def test_every_check_was_evaluated(built, shown):
    graph = built.resolve_asset_graph()
    found = shown.checks
    assert {(check.asset, check.check) for check in found} == {
        (key.asset_key.path[-1], key.name) for key in graph.asset_check_keys
    }
    assert {check.batch for check in found if check.asset == "scores"} == {BATCHES[-1]}


@pytest.mark.parametrize("batch", BATCHES)
def test_every_delivered_applicant_has_one_score(line, batch):
    scores = table(line.project, "scores", batch)
    assert scores["applicant"].is_unique
    assert set(scores["applicant"]) == set(delivered(line, batch)["SK_ID_CURR"])
    assert len(scores) == APPLICANTS // len(BATCHES)


@pytest.mark.parametrize("batch", BATCHES)
def test_every_declined_applicant_has_reasons_described_in_the_sql(line, batch):
    query = Book.load(line.project, BOOK).queries["features"]
    values = table(line.project, "features", batch).set_index("SK_ID_CURR")
    scores = table(line.project, "scores", batch)
    declined = scores[scores["decision"] == "decline"]
    assert 0 < len(declined) < len(scores)
    for row in declined.to_dict("records"):
        features = [row[name] for name in REASON_FEATURES if row[name] is not None]
        assert 1 <= len(features) == len(set(features)) <= 4
        texts = [row[name] for name in REASONS if row[name] is not None]
        assert len(set(texts)) == len(texts) == len(features)
        for text, feature in zip(texts, features, strict=True):
            # Missing values are reported as missing, and no others.
            assert (text == query.descriptions[feature]) == pd.notna(values.loc[row["applicant"], feature])
        assert len({row[name] for name in REASON_FAMILIES if row[name] is not None}) == len(features)
    approved = scores[scores["decision"] == "approve"]
    assert approved[[*REASONS, *REASON_FEATURES, *REASON_FAMILIES]].isna().all(axis=None)


@pytest.mark.parametrize("batch", BATCHES)
def test_each_score_names_its_model_version_and_table_versions(line, batch):
    scores, found = table(line.project, "scores", batch), champion(line)
    assert set(scores["model_name"]) == {BOOK}
    assert set(scores["model_version"]) == {found.number}
    assert set(scores["model_run_id"]) == {found.run_id}
    assert set(scores["feature_table_version"]) == {Lake(line.project.lake).version(f"{BOOK}/features")}
    commit = Lake(line.project.lake).batches(f"{BOOK}/scores")[batch].provenance
    assert commit.inputs[f"{BOOK}/features"] == scores["feature_table_version"].iloc[0]
    [scoring] = [outcome for outcome in line.outcomes if (outcome.job, outcome.batch) == ("score", batch)]
    assert commit.run_id == scoring.run_id


def test_named_model_reproduces_the_pds_from_the_named_features_bit_for_bit(line):
    scores = table(line.project, "scores", BATCHES[-1])
    registry = Registry.of(line.project, BOOK)
    model = load_model(registry, registry.get(int(scores["model_version"].iloc[0])))
    features = table(line.project, "features", BATCHES[-1])
    assert features["SK_ID_CURR"].tolist() == scores["applicant"].tolist()
    np.testing.assert_array_equal(model.pd(features), scores["pd"].to_numpy())


def test_champion_names_its_inputs(line):
    found, lake = champion(line), Lake(line.project.lake)
    assert found.made_from(f"{BOOK}/training_set") == lake.version(f"{BOOK}/training_set")
    [trained] = [outcome for outcome in line.outcomes if outcome.job == "train"]
    assert found.dagster_run == trained.run_id
    made_from = lake.history(f"{BOOK}/training_set")[0].provenance.inputs
    assert made_from == {
        f"{BOOK}/{name}": lake.version(f"{BOOK}/{name}") for name in ("features", "applications", "outcomes")
    }
    assert Registry.of(line.project, BOOK).challenger() is None


def test_no_protected_attribute_is_a_model_input(line):
    registry = Registry.of(line.project, BOOK)
    model = load_model(registry, registry.champion())
    words = Book.load(line.project, BOOK).queries["features"].descriptions
    assert set(model.features) == set(words)
    assert not {column.upper() for column in model.features} & portfolio(line).protected_columns


def test_training_set_holds_known_outcomes_only_with_the_newest_batch_as_test(line):
    rows = table(line.project, "training_set")
    assert set(rows["batch"]) == {BATCHES[0], BATCHES[1]}
    assert set(rows.loc[rows["batch"] == BATCHES[1], "fold"]) == {"test"}
    labels = pd.concat([delivered(line, batch) for batch in BATCHES[:2]]).set_index("SK_ID_CURR")["TARGET"]
    assert (rows.set_index("SK_ID_CURR")["target"] == labels.reindex(rows["SK_ID_CURR"])).all()


def test_mlflow_has_one_finished_run_with_a_child_per_model(line):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=line.project.tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name(BOOK).experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    [parent] = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.run_name for run in children) == ["logistic_regression", "xgboost"]
    assert len(runs) == 3
    [trained] = [outcome for outcome in line.outcomes if outcome.job == "train"]
    assert parent.data.tags["dagster_run_id"] == trained.run_id
    [model] = [run for run in children if run.info.run_name == "xgboost"]
    assert {"auc", "gini", "ks", "ece", "air_gender", "tuning_auc"} <= set(model.data.metrics)


def test_model_has_a_report_and_each_batch_a_drift_page(line):
    pages = sorted(page.name for page in (line.project.reports / BOOK).iterdir())
    assert pages == [*(f"drift-{batch}.html" for batch in BATCHES), "evaluation-v1.html"]


def test_everything_made_from_synthetic_data_is_marked(line):
    lake = Lake(line.project.lake)
    silent = [name for name in lake.tables(BOOK) if not lake.history(name)[0].provenance.synthetic]
    assert f"{BOOK}/operations/timeline" in lake.tables(BOOK)
    assert silent == []
    assert champion(line).synthetic
    assert all(table(line.project, "scores")["synthetic"])
    for page in (line.project.reports / BOOK).iterdir():
        assert "synthetic" in page.read_text().lower(), page


def test_status_agrees_with_the_tables(line, shown):
    assert Status.model_validate_json(shown.model_dump_json()).model_dump_json() == shown.model_dump_json()
    assert shown.due == []
    assert [batch.batch for batch in shown.batches] == list(BATCHES)
    for batch in shown.batches:
        name = batch.batch
        assert batch.delivered
        assert batch.synthetic
        assert batch.applicants == len(delivered(line, name))
        assert batch.raw_rows == {raw: len(table(line.project, raw, name)) for raw in portfolio(line).tables}
        scores = table(line.project, "scores", name)
        assert batch.approval_rate == pytest.approx((scores["decision"] == "approve").mean())
        assert batch.score_psi == table(line.project, "score_drift", name)["psi"].iloc[0]
        assert batch.score_drift == table(line.project, "score_drift", name)["verdict"].iloc[0]
        assert batch.feature_drift in ("stable", "moderate", "shifted")
        assert batch.standing == dict(zip(BATCHES, ("learned", "tested", "new"), strict=True))[name]
        assert (batch.default_rate is None) == (name == BATCHES[-1])
        assert batch.outcomes_known == (0 if name == BATCHES[-1] else len(scores))
    metrics = table(line.project, "evaluation")
    auc = metrics[(metrics["model"] == "candidate") & (metrics["metric"] == "auc")].iloc[0]
    assert shown.champion.version == 1
    assert shown.champion.synthetic
    assert [shown.champion.metrics[name] for name in ("auc", "auc_low", "auc_high")] == pytest.approx(
        [auc["value"], auc["low"], auc["high"]]
    )
    assert shown.champion.cut_off == table(line.project, "scores")["cut_off"].unique()


def test_second_run_finds_nothing_due(line, tmp_path):
    project = line.copy(tmp_path / "project")
    before = {path: path.stat().st_mtime_ns for path in Path(project.lake).rglob("*") if path.is_file()}
    assert run(project) == []
    assert {path: path.stat().st_mtime_ns for path in Path(project.lake).rglob("*") if path.is_file()} == before
