"""Drift and performance as assets: the reference of a model version, and the comparison of each batch with it and with
its outcomes."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
from pydantic import Field

from credit_assets.book.book import Book
from credit_assets.evaluation.checks import cleared
from credit_assets.features.versions import FEATURES
from credit_assets.lake.io_managers import column_schema, contract, frame_table, picture
from credit_assets.lake.resources import LakeResource, batches
from credit_assets.models.registered import load_model
from credit_assets.monitoring import checks
from credit_assets.monitoring.batch_drift import BatchDrift, drift_of_features, drift_of_scores, write_drift_report
from credit_assets.monitoring.batch_performance import BatchPerformance, ScoredBatch, performance_of
from credit_assets.monitoring.drift_report import is_worth_plotting
from credit_assets.monitoring.errors import MonitoringError
from credit_assets.monitoring.performance import is_matured
from credit_assets.monitoring.plots import default_rate_by_band
from credit_assets.monitoring.version_references import build_references, log_references
from credit_assets.registry.resources import as_failure
from credit_assets.schemas.drift import Drift
from credit_assets.schemas.evidence import CandidateVersion, Gate
from credit_assets.schemas.performance import ALL, Performance
from credit_assets.verdicts.checks import check_result
from credit_assets.verdicts.verdict import Verdict

SHOWN = 25
"""The number of features in the metadata, largest shift first."""


class ReferenceOf(dg.Config):
    """The version that the reference is made from."""

    version: int | None = Field(
        default=None, ge=1, description="A version that is to be promoted by hand. The default is the candidate."
    )


def assets(book: Book) -> list[dg.AssetsDefinition]:
    """The assets `drift_reference` and, by batch, `feature_drift` (before scoring), `score_drift` and `performance`."""
    portfolio, registry, name = book.portfolio, book.registry, book.name
    features_key, scores_key = dg.AssetKey([name, "feature_drift"]), dg.AssetKey([name, "score_drift"])
    performance_key = dg.AssetKey([name, "performance"])
    by_batch: dict[str, Any] = {
        "partitions_def": batches(name),
        "io_manager_key": "lake_io",
        "group_name": "monitoring",
        "owners": portfolio.owners,
    }
    of_drift: dict[str, Any] = {
        "dagster_type": contract(Drift),
        "metadata": {"dagster/column_schema": column_schema(Drift)},
    }

    @dg.asset(
        key=[name, "drift_reference"],
        ins={
            "predictions": dg.AssetIn(key=[name, "predictions"], dagster_type=contract(CandidateVersion)),
            "gate": dg.AssetIn(key=[name, "promotion_gate"], dagster_type=contract(Gate)),
        },
        deps=[dg.AssetKey([name, "training_set"]), dg.AssetKey([name, "features"])],
        group_name="champion",
        owners=portfolio.owners,
        kinds={"duckdb", "mlflow"},
    )
    def drift_reference(
        context: dg.AssetExecutionContext,
        config: ReferenceOf,
        lake: LakeResource,
        predictions: pd.DataFrame,
        gate: pd.DataFrame,
    ) -> dg.MaterializeResult:
        """The training data of the candidate that passed the gate (or of `version`, to be promoted by hand) as
        quantiles and category shares of every feature, with its PDs on the test rows; and the same for the newest batch
        at its promotion. The reference is stored with the model before it becomes champion, so that every champion has
        one: batches are compared with it without reading a training row."""
        with as_failure():
            version = registry.get(config.version or cleared(gate, predictions))
            model = load_model(registry, version)
            facts = {
                "model_version": version.number,
                "features": len(model.features),
                "synthetic": version.synthetic,
            }
            decides = registry.champion()
            if decides and decides.number == version.number and registry.has_reference(version):
                context.log.info(f"Version {version.number} is the champion already and keeps its reference.")
                return dg.MaterializeResult(metadata=facts)
            references = build_references(lake.connection, lake.lake, book, version, model)
            log_references(registry, version, references)
        population = references.population.batch if references.population else dg.MetadataValue.null()
        return dg.MaterializeResult(metadata=facts | {"test_rows": references.test_rows, "population": population})

    @dg.asset(
        key=features_key,
        ins={"features": dg.AssetIn(key=[name, "features"])},
        deps=[dg.AssetKey([name, "champion"])],
        check_specs=checks.feature_specs(features_key),
        kinds={"duckdb"},
        **by_batch,
        **of_drift,
    )
    def feature_drift(
        context: dg.AssetExecutionContext, lake: LakeResource, features: duckdb.DuckDBPyRelation
    ) -> dg.MaterializeResult:
        """The drift of each feature of the batch from the champion's training data. Shifts already present at promotion
        are not reported again. The batch is not scored if an important feature of the champion is missing or constant,
        even if it was so before the promotion."""
        batch, read = context.partition_key, lake.reads(context)[portfolio.table(FEATURES)].version
        with as_failure(MonitoringError):
            found = drift_of_features(lake.connection, lake.lake, book, batch, features, read)
        return dg.MaterializeResult(
            value=found.table,
            metadata=_drift_metadata(found),
            check_results=_results(found.verdicts, features_key, batch, found.version.number),
        )

    @dg.asset(
        key=scores_key,
        ins={
            "scores": dg.AssetIn(key=[name, "scores"]),
            "features": dg.AssetIn(key=[name, "features"]),
            "features_drift": dg.AssetIn(key=features_key, dagster_type=contract(Drift)),
        },
        check_specs=checks.score_specs(scores_key),
        kinds={"duckdb", "evidently"},
        **by_batch,
        **of_drift,
    )
    def score_drift(
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        scores: duckdb.DuckDBPyRelation,
        features: duckdb.DuckDBPyRelation,
        features_drift: pd.DataFrame,
    ) -> dg.MaterializeResult:
        """The drift of the batch's PDs from the PDs of the same version on its test rows. Shifts already present at
        promotion are not reported again. A report plots the score and the features with the largest shifts."""
        con, batch = lake.connection, context.partition_key
        with as_failure(MonitoringError):
            found = drift_of_scores(con, lake.lake, book, batch, scores, features_drift)
            metadata = _drift_metadata(found)
            if is_worth_plotting(found.summarised, portfolio.drift):
                page, synthetic = book.project.reports / name / f"drift-{batch}.html", lake.synthetic(context)
                write_drift_report(
                    con, lake.lake, book, found, scores, features, page, batch=batch, synthetic=synthetic
                )
                metadata["report"] = dg.MetadataValue.path(str(page))
        return dg.MaterializeResult(
            value=found.table,
            metadata=metadata,
            check_results=_results(found.verdicts, scores_key, batch, found.version.number),
        )

    @dg.asset(
        key=performance_key,
        ins={
            "scores": dg.AssetIn(key=[name, "scores"]),
            "features": dg.AssetIn(key=[name, "features"]),
            "applications": dg.AssetIn(key=[name, portfolio.application_table]),
            "outcomes": dg.AssetIn(key=[name, portfolio.outcomes_table]),
        },
        check_specs=checks.performance_specs(performance_key),
        dagster_type=contract(Performance),
        metadata={"dagster/column_schema": column_schema(Performance)},
        kinds={"pandas", "deltalake"},
        **by_batch,
    )
    def performance(
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        scores: duckdb.DuckDBPyRelation,
        features: duckdb.DuckDBPyRelation,
        applications: duckdb.DuckDBPyRelation,
        outcomes: duckdb.DuckDBPyRelation,
    ) -> dg.MaterializeResult:
        """The performance of the batch's scores, measured on outcomes if enough are known, and otherwise estimated from
        the PDs (column `basis`). Applicants that the model learned from are excluded."""
        batch = ScoredBatch(context.partition_key, scores, features, applications, outcomes)
        with as_failure(MonitoringError):
            found = performance_of(lake.connection, lake.lake, book, batch)
        return dg.MaterializeResult(
            value=found.table,
            metadata=_performance_metadata(found, portfolio.training.matured_share),
            check_results=_results(found.verdicts, performance_key, batch.name, found.number),
        )

    return [drift_reference, feature_drift, score_drift, performance]


def _results(verdicts: Sequence[Verdict], asset: dg.AssetKey, batch: str, version: int) -> list[dg.AssetCheckResult]:
    """The verdicts as results of the asset's checks, each with the batch and the version that it was compared with."""
    compared = {"batch": batch, "model_version": version}
    return [check_result(verdict, asset, compared) for verdict in verdicts]


def _performance_metadata(found: BatchPerformance, matured_share: float) -> dict[str, Any]:
    """The metadata of the performance: figures of the whole batch, which the UI plots over time, the table, and a
    plot."""
    table, rows = found.table, found.rows
    metadata: dict[str, Any] = {
        "applicants": len(rows),
        "outcomes": int(rows["outcome"].notna().sum()),
        "matured": is_matured(rows, matured_share),
    }
    if len(table):
        whole = table[table["segment"] == ALL].set_index("metric")
        expected = whole["expected"].dropna().add_prefix("expected_").rename({"expected_default_rate": "mean_pd"})
        metadata |= (
            {"basis": str(table["basis"].iloc[0]), "defaults": int(rows["outcome"].sum())}
            | {**whole["value"].to_dict(), **expected.to_dict()}
            | {"performance": frame_table(table), "default rate by band": picture(default_rate_by_band(table))}
        )
    return metadata | {"model_version": found.number}


def _drift_metadata(found: BatchDrift) -> dict[str, Any]:
    """The metadata of the drift: figures, which the UI plots over time, and the features with the largest shifts."""
    summary, drift = found.summary, found.table
    figures: dict[str, Any] = {
        "verdict": summary.verdict,
        "summary": summary.message,
        "features_shifted": summary.shifted,
        "features_moderate": summary.moderate,
        "largest_psi": float(drift["psi"].max()),
        "moved_most": frame_table(drift[["feature", "psi", "ks", "verdict", "change"]].head(SHOWN)),
    }
    score = {"score_psi": summary.score_psi} if summary.score_psi is not None else {}
    return figures | score | {"model_version": found.version.number}
