"""Drift as assets: the reference of a model, and each batch's features and scores held against the champion's."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import pandas as pd

from credit_assets.evaluation.checks import cleared
from credit_assets.features.training_set import TEST, training_frame
from credit_assets.lake.io_managers import column_schema, contract, frame_table
from credit_assets.models import registry
from credit_assets.monitoring import checks
from credit_assets.monitoring.drift import DriftSummary, Reference, measure, summary, unusable
from credit_assets.monitoring.drift_report import drawn_columns, sample, write_report
from credit_assets.portfolio import Portfolio
from credit_assets.project import Project
from credit_assets.resources import LakeResource, batches
from credit_assets.schemas.drift import Drift
from credit_assets.schemas.evidence import Gate, Predictions

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

REFERENCE = "drift_reference.parquet"
SCORE = "pd"
SHOWN = 25


def assets(portfolio: Portfolio, project: Project) -> list[dg.AssetsDefinition]:
    """`drift_reference`, and by batch `feature_drift` (before its scores) and `score_drift` (after)."""
    uri, name, config = project.tracking_uri, portfolio.name, portfolio.drift
    features_key, scores_key = dg.AssetKey([name, "feature_drift"]), dg.AssetKey([name, "score_drift"])
    by_batch: dict[str, Any] = {
        "partitions_def": batches(name),
        "dagster_type": contract(Drift),
        "metadata": {"dagster/column_schema": column_schema(Drift)},
        "io_manager_key": "lake_io",
        "group_name": "monitoring",
        "owners": portfolio.owners,
        "kinds": {"duckdb", "evidently"},
    }

    @dg.asset(
        key=[name, "drift_reference"],
        ins={
            "predictions": dg.AssetIn(key=[name, "predictions"], dagster_type=contract(Predictions)),
            "gate": dg.AssetIn(key=[name, "promotion_gate"], dagster_type=contract(Gate)),
        },
        deps=[dg.AssetKey([name, "training_set"])],
        group_name="champion",
        owners=portfolio.owners,
        kinds={"duckdb", "mlflow"},
    )
    def drift_reference(lake: LakeResource, predictions: pd.DataFrame, gate: pd.DataFrame) -> dg.MaterializeResult:
        """What the candidate that passed the gate learned from, as quantiles and category shares of every
        feature, and of its PDs on the test rows. Kept with the model, and before it becomes champion, so
        that no champion is without: batches are measured against it without reading a training row."""
        model, version = registry.load(uri, name, cleared(gate, predictions))
        learned = lake.connection.sql(_training_set(lake, portfolio, version.tags))
        test = training_frame(learned.filter(f"fold = '{TEST}'"))
        scores = pd.DataFrame({SCORE: model.pd(test)})
        reference = Reference.build(
            learned.filter(f"fold <> '{TEST}'"),
            model.features,
            config,
            score=SCORE,
            scores=lake.connection.from_df(scores),
        )
        with tempfile.TemporaryDirectory() as folder:
            reference.save(Path(folder) / REFERENCE)
            registry.log_evidence(uri, version.run_id, {}, {"": Path(folder) / REFERENCE})
        return dg.MaterializeResult(
            metadata={
                "model_version": int(version.version),
                "features": len(model.features),
                "test_rows": len(test),
                "synthetic": version.tags["synthetic"] == "true",
            }
        )

    @dg.asset(
        key=features_key,
        ins={"features": dg.AssetIn(key=[name, "features"])},
        deps=[dg.AssetKey([name, "champion"])],
        check_specs=checks.feature_specs(features_key),
        **by_batch,
    )
    def feature_drift(context: dg.AssetExecutionContext, features: duckdb.DuckDBPyRelation) -> dg.MaterializeResult:
        """How far each feature of the batch lies from what the champion learned from. Stops the scores where
        a feature the champion relies on has gone missing or no longer varies."""
        version = _champion(portfolio, project)
        reference = _reference(version.run_id, project)
        weights = registry.importance(uri, version.run_id)
        drift = measure(reference, features, config, reference.features)
        told = summary(drift, config, weights)
        return dg.MaterializeResult(
            value=drift,
            metadata=_metadata(drift, told) | {"model_version": int(version.version)},
            check_results=[
                checks.features_drifted(features_key, told),
                checks.features_usable(features_key, unusable(drift, config, weights)),
            ],
        )

    @dg.asset(
        key=scores_key,
        ins={
            "scores": dg.AssetIn(key=[name, "scores"]),
            "features": dg.AssetIn(key=[name, "features"]),
            "features_drift": dg.AssetIn(key=features_key, dagster_type=contract(Drift)),
        },
        check_specs=checks.score_specs(scores_key),
        **by_batch,
    )
    def score_drift(
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        scores: duckdb.DuckDBPyRelation,
        features: duckdb.DuckDBPyRelation,
        features_drift: pd.DataFrame,
    ) -> dg.MaterializeResult:
        """How far the batch's PDs lie from the champion's on its test rows, with a page that draws the
        score and the features that moved most."""
        version = _champion(portfolio, project)
        drift = measure(_reference(version.run_id, project), scores, config, [SCORE])
        both = pd.concat([drift, features_drift])
        told = summary(both, config, registry.importance(uri, version.run_id))
        page = project.reports / name / f"drift-{context.partition_key}.html"
        _draw(page, told.words, both, scores, features, version, lake, context)
        return dg.MaterializeResult(
            value=drift,
            metadata=_metadata(drift, told)
            | {"model_version": int(version.version), "report": dg.MetadataValue.path(str(page))},
            check_results=[checks.scores_drifted(scores_key, drift)],
        )

    def _draw(
        page: Path,
        words: str,
        drift: pd.DataFrame,
        scores: duckdb.DuckDBPyRelation,
        features: duckdb.DuckDBPyRelation,
        version: "ModelVersion",
        lake: LakeResource,
        context: dg.AssetExecutionContext,
    ) -> None:
        key, columns = portfolio.entity_key, drawn_columns(drift)
        model, _ = registry.load(uri, name, version.version)
        test = lake.connection.sql(_training_set(lake, portfolio, version.tags)).filter(f"fold = '{TEST}'")
        then = sample(test, [name for name in test.columns if name not in ("target", "fold", "batch")], key)
        then[SCORE] = model.pd(then)
        now = features.set_alias("f").join(scores.project(f'applicant AS "{key}", {SCORE}').set_alias("s"), key)
        write_report(
            then[columns],
            sample(now, columns, key),
            drift,
            page,
            f"{portfolio.title}: batch {context.partition_key} against champion {version.version}",
            words,
            config,
            lake.synthetic(context),
        )

    return [drift_reference, feature_drift, score_drift]


def _champion(portfolio: Portfolio, project: Project) -> "ModelVersion":
    found = registry.champion(project.tracking_uri, portfolio.name)
    if found is None:
        raise dg.Failure(
            f"Portfolio {portfolio.name} has no champion to hold a batch against; run the job train first.",
            allow_retries=False,
        )
    return found


def _reference(run_id: str, project: Project) -> Reference:
    with registry.artifact(project.tracking_uri, run_id, REFERENCE) as path:
        return Reference.load(path)


def _training_set(lake: LakeResource, portfolio: Portfolio, tags: dict[str, str]) -> str:
    """The SELECT over the training set as it was when the model learned from it."""
    table = portfolio.table("training_set")
    return lake.lake.query(table, version=int(tags[f"table.{table}"]))


def _metadata(drift: pd.DataFrame, told: DriftSummary) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "verdict": told.verdict,
        "summary": told.words,
        "features_shifted": told.shifted,
        "features_moderate": told.moderate,
        "largest_psi": float(drift["psi"].max()),
        "moved_most": frame_table(drift[["feature", "psi", "ks", "verdict", "change"]].head(SHOWN)),
    }
    return figures | ({"score_psi": told.score_psi} if told.score_psi is not None else {})
