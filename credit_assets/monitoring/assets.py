"""Drift and performance as assets: a model's reference, and each batch compared with it and with its outcomes."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import pandas as pd
from pydantic import Field

from credit_assets.book.book import Book
from credit_assets.evaluation.checks import cleared
from credit_assets.features.target import outcome_sql
from credit_assets.features.training_rows import LEARNED, TESTED, training_rows
from credit_assets.features.training_set import training_frame
from credit_assets.features.versions import FEATURES, differing, learned_from, made_by, read_at, stands_now
from credit_assets.lake.contracts import identifier
from credit_assets.lake.io_managers import column_schema, contract, frame_table, picture
from credit_assets.lake.resources import LakeResource, batches
from credit_assets.models.registered import load_model
from credit_assets.monitoring import checks
from credit_assets.monitoring.check_names import CALIBRATED_IN_SEGMENTS, NOT_WORSE, PERFORMANCE_HOLDS
from credit_assets.monitoring.drift import known_at_promotion, measure, told_of_both
from credit_assets.monitoring.drift_report import drawn_columns, sample, worth_drawing, write_report
from credit_assets.monitoring.drift_summary import (
    DriftSummary,
    missing_moved,
    new_categories,
    summary,
    unusable,
    volume,
)
from credit_assets.monitoring.outcome_verdicts import against_predecessor, applicants_of, promises_kept
from credit_assets.monitoring.performance import (
    evidence,
    is_matured,
    performance_table,
)
from credit_assets.monitoring.plots import default_rate_by_band
from credit_assets.monitoring.reference import Reference
from credit_assets.monitoring.reference_batches import standing
from credit_assets.plurals import are, number_of
from credit_assets.registry.errors import RegistryError
from credit_assets.registry.registry import Registry
from credit_assets.registry.resources import as_failure
from credit_assets.registry.version import DRIFT_REFERENCE, POPULATION, ModelVersion
from credit_assets.schemas.drift import Drift
from credit_assets.schemas.evidence import Gate, Predictions
from credit_assets.schemas.performance import ALL, Performance
from credit_assets.settings.portfolio import Portfolio
from credit_assets.verdicts.checks import check_result
from credit_assets.verdicts.verdict import Verdict, not_judged

if TYPE_CHECKING:
    from credit_assets.models.model import Model

SCORE = "pd"
SHOWN = 25


class ReferenceOf(dg.Config):
    """The version that the reference is made from."""

    version: int | None = Field(
        default=None, ge=1, description="A version that is to be promoted by hand; by itself, the candidate."
    )


def assets(book: Book) -> list[dg.AssetsDefinition]:
    """`drift_reference`, and by batch `feature_drift` (before its scores), `score_drift` and `performance` (after)."""
    portfolio, project, queries = book.portfolio, book.project, book.queries
    registry, name, config = book.registry, portfolio.name, portfolio.drift
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
            "predictions": dg.AssetIn(key=[name, "predictions"], dagster_type=contract(book.keyed(Predictions))),
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
        try:
            version = registry.get(config.version or cleared(gate, predictions))
            model = load_model(registry, version)
        except RegistryError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        facts = {
            "model_version": version.number,
            "features": len(model.features),
            "synthetic": version.synthetic,
        }
        decides = registry.champion()
        if decides and decides.number == version.number and registry.has_reference(version):
            context.log.info(f"Version {version.number} is the champion already and keeps its reference.")
            return dg.MaterializeResult(metadata=facts)
        learned = lake.connection.sql(training_rows(lake.lake, portfolio, version))
        test = training_frame(learned.filter(TESTED))
        scores = pd.DataFrame({SCORE: model.pd(test)})
        reference = Reference.build(
            learned.filter(LEARNED),
            model.features,
            portfolio.drift,
            score=SCORE,
            scores=lake.connection.from_df(scores),
        )
        population = _population(context, lake, model, learned.filter(LEARNED))
        with tempfile.TemporaryDirectory() as folder:
            reference.save(Path(folder) / DRIFT_REFERENCE)
            if population:
                population.save(Path(folder) / POPULATION)
            registry.log(version, {}, {"": Path(folder)})
        return dg.MaterializeResult(
            metadata=facts
            | {
                "test_rows": len(test),
                "population": population.batch if population else dg.MetadataValue.null(),
            }
        )

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
        """How far each feature of the batch has moved from the champion's training data; shifts already present at
        promotion are not reported again. The scores are stopped if a feature that the champion relies on is missing or
        constant, whenever this began."""
        version = _champion(registry)
        with as_failure():
            weights, number = registry.importance(version), version.number
        learned, since, drift = _measured(version, features, of_score=False)
        told = summary(drift, config, weights)
        missing = told_of_both(missing_moved(learned, config), missing_moved(since, config))
        new = told_of_both(new_categories(learned, config), new_categories(since, config))
        stands = standing(lake.connection, lake.lake, portfolio, version, context.partition_key)
        return dg.MaterializeResult(
            value=drift,
            metadata=_metadata(drift, told) | {"model_version": number},
            check_results=[
                check_result(verdict, features_key, _against(context, number))
                for verdict in (
                    _as_learned(context, lake, version),
                    checks.features_drifted(told, stands),
                    checks.features_usable(unusable(learned, config, weights), stands),
                    checks.missingness_stable(missing, stands),
                    checks.no_new_categories(new, stands),
                    volume(told.rows_batch, _earlier_volumes(lake, portfolio, context.partition_key), config),
                )
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
        """How far the batch's PDs have moved from the PDs of the same version on its test rows; shifts already present
        at promotion are not reported again. A page plots the score and the features that moved most."""
        number = int(scores.project("model_version").limit(1).fetchall()[0][0])
        if (version := registry.find(number)) is None:
            raise dg.Failure(
                f"Version {number} of {name}, which scored {context.partition_key}, is no longer registered; "
                "run the job score to have the batch scored by the champion.",
                allow_retries=False,
            )
        _, _, drift = _measured(version, scores, of_score=True)
        both = pd.concat([drift, features_drift])
        with as_failure():
            told = summary(both, config, registry.importance(version))
        metadata = _metadata(drift, told) | {"model_version": number}
        if worth_drawing(both, config):
            page = project.reports / name / f"drift-{context.partition_key}.html"
            _draw(page, told.message, both, scores, features, version, lake, context)
            metadata["report"] = dg.MetadataValue.path(str(page))
        stands = standing(lake.connection, lake.lake, portfolio, version, context.partition_key)
        return dg.MaterializeResult(
            value=drift,
            metadata=metadata,
            check_results=[check_result(checks.scores_drifted(drift, stands), scores_key, _against(context, number))],
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
        """How well the batch's scores performed, as they were when they decided: measured on outcomes if enough are
        known, else estimated from the PDs (column `basis`). Applicants that the model learned from are excluded."""
        decided = scores.project("applicant, pd, band, model_version").df()
        for table, rows_of_table in (("features", features), (portfolio.application_table, applications)):
            keys = rows_of_table.project(identifier(portfolio.entity_key)).df()[portfolio.entity_key]
            refuse_other_applicants(decided["applicant"], keys, table, context.partition_key)
        number = int(decided["model_version"].iloc[0])
        columns = dict.fromkeys([portfolio.entity_key, *(group.column for group in portfolio.protected.values())])
        applicants = applications.project(
            f"{', '.join(map(identifier, columns))}, {outcome_sql(portfolio.target)} AS outcome"
        ).df()
        known = f"{identifier(portfolio.entity_key)}, {outcome_sql(portfolio.target)}"
        version = registry.find(number)
        rows = evidence(
            decided[["applicant", "pd", "band"]],
            applicants[[portfolio.entity_key, "outcome"]],
            outcomes.project(known).df(),
            # What a deleted version learned from nobody knows, and so no row is evidence.
            decided["applicant"].to_numpy()
            if version is None
            else applicants_of(lake.connection, lake.lake, portfolio, version, LEARNED),
        )
        matured_share = portfolio.training.matured_share
        table = performance_table(rows, number, portfolio.performance, matured_share)
        rival = against_predecessor(lake.connection, lake.lake, book, number, rows, features)
        if version is None:
            gone = f"version {number} is no longer registered."
            held, rival = not_judged(PERFORMANCE_HOLDS, gone), not_judged(NOT_WORSE, gone)
            segmented = not_judged(CALIBRATED_IN_SEGMENTS, gone, "warning")
        else:
            with as_failure():
                held, segmented = promises_kept(
                    lake.connection, lake.lake, book, version, context.partition_key, rows, features, applicants
                )
        return dg.MaterializeResult(
            value=table,
            metadata=_performance_metadata(table, rows, matured_share) | {"model_version": number},
            check_results=[
                check_result(verdict, performance_key, _against(context, number))
                for verdict in (held, segmented, rival)
            ],
        )

    def _draw(
        page: Path,
        words: str,
        drift: pd.DataFrame,
        scores: duckdb.DuckDBPyRelation,
        features: duckdb.DuckDBPyRelation,
        version: ModelVersion,
        lake: LakeResource,
        context: dg.AssetExecutionContext,
    ) -> None:
        with as_failure():
            model = load_model(registry, version)
        key, columns = portfolio.entity_key, drawn_columns(drift, config)
        test = lake.connection.sql(training_rows(lake.lake, portfolio, version)).filter(TESTED)
        then = sample(test, [name for name in test.columns if name not in ("target", "fold", "batch")], key)
        then[SCORE] = model.pd(then)
        scored = scores.project(f"applicant AS {identifier(key)}, {SCORE}")
        now = features.set_alias("f").join(scored.set_alias("s"), identifier(key))
        write_report(
            then[columns],
            sample(now, columns, key),
            drift,
            page,
            f"{portfolio.title}: batch {context.partition_key} against version {version.number}",
            words,
            config,
            lake.synthetic(context),
        )

    def _population(
        context: dg.AssetExecutionContext, lake: LakeResource, model: "Model", learned: duckdb.DuckDBPyRelation
    ) -> Reference | None:
        """The newest batch and the candidate's PDs of it; None if the candidate learned from it, and for a first
        champion, which no shift requested."""
        if registry.champion() is None:
            return None
        table = portfolio.table("features")
        newest = max(batch for batch, commit in lake.lake.batches(table).items() if commit.provenance.rows)
        if (newest,) in learned.project("batch").distinct().fetchall():
            return None
        rows = lake.connection.sql(lake.select(context, table, [newest]))
        pds = model.pd(training_frame(rows.project(", ".join(map(identifier, model.features)))))
        scores = lake.connection.from_df(pd.DataFrame({SCORE: pds}))
        return replace(Reference.build(rows, model.features, config, SCORE, scores), batch=newest)

    def _measured(
        version: ModelVersion, rows: duckdb.DuckDBPyRelation, of_score: bool
    ) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """The drift of a batch's features or score against a version's training data, against the population at its
        promotion (the same again, if there is none), and with the verdict of both."""
        reference = _reference(registry, version, DRIFT_REFERENCE)
        columns = [SCORE] if of_score else reference.features
        if gone := sorted(set(columns) - set(rows.columns)):
            raise dg.Failure(
                f"Version {version.number} relies on {', '.join(gone)}, which the batch's features do not hold. If the "
                "SQL makes them, run the job `ingest` for the batch; else put them back, or train without them.",
                allow_retries=False,
            )
        learned = measure(reference, rows, config, columns)
        if not registry.has_file(version, POPULATION):
            return learned, learned, learned
        population = _reference(registry, version, POPULATION)
        since = measure(population, rows, config, columns)
        promotion = f"{population.batch}, when version {version.number} was promoted"
        return learned, since, known_at_promotion(learned, since, promotion)

    def _as_learned(context: dg.AssetExecutionContext, lake: LakeResource, version: ModelVersion) -> Verdict:
        """Whether the batch's features were made by the SQL that the champion learned from."""
        features, training_set = portfolio.table(FEATURES), portfolio.table("training_set")
        learned = learned_from(lake.connection, lake.lake, training_set, version.made_from(training_set), features)
        read = read_at(lake.lake.writings, features, context.partition_key, lake.reads(context)[features].version)
        made = made_by(lake.lake.writings, features, read) if read else {}
        if learned == stands_now(queries):
            mend = "The SQL that it learned from stands there now: run `ingest` and `score` for the batch."
        else:
            mend = f"`credit-assets train --portfolio {name}` makes a candidate that learns from what stands there now."
        return checks.features_as_learned(differing(learned, made), mend, version.number)

    return [drift_reference, feature_drift, score_drift, performance]


def refuse_other_applicants(scored: pd.Series, present: pd.Series, table: str, batch: str) -> None:
    """Raise the Failure that says what to make again, if scored applicants are not in a table of their batch."""
    if gone := int((~scored.isin(present)).sum()):
        raise dg.Failure(
            f"{number_of(gone, 'applicant')} scored in {batch} {are(gone)} not in {table} as it is now: the scores "
            f"were made from other rows. Run the job `score` for {batch}, then measure the performance.",
            allow_retries=False,
        )


def _against(context: dg.AssetExecutionContext, version: int) -> dict[str, str | int]:
    """The batch, and the version that it was compared with: metadata of every check."""
    return {"batch": context.partition_key, "model_version": version}


def _champion(registry: Registry) -> ModelVersion:
    found = registry.champion()
    if found is None:
        raise dg.Failure(
            f"Portfolio {registry.name} has no champion to hold a batch against; run the job train first.",
            allow_retries=False,
        )
    return found


def _reference(registry: Registry, version: ModelVersion, file: str) -> Reference:
    with as_failure(), registry.file(version, file) as path:
        return Reference.load(path)


def _earlier_volumes(lake: LakeResource, portfolio: Portfolio, batch: str) -> list[int]:
    """The applicants of each batch before this one, from the commits that wrote them."""
    written = lake.lake.batches(portfolio.table("features"))
    return [commit.provenance.rows for name, commit in written.items() if name < batch]


def _performance_metadata(table: pd.DataFrame, rows: pd.DataFrame, matured_share: float) -> dict[str, Any]:
    """The figures of the whole batch, which the UI plots over time; the table and the plot by band."""
    metadata: dict[str, Any] = {
        "applicants": len(rows),
        "outcomes": int(rows["outcome"].notna().sum()),
        "matured": is_matured(rows, matured_share),
    }
    if not len(table):
        return metadata
    whole = table[table["segment"] == ALL].set_index("metric")
    expected = whole["expected"].dropna().add_prefix("expected_").rename({"expected_default_rate": "mean_pd"})
    return (
        metadata
        | {"basis": str(table["basis"].iloc[0]), "defaults": int(rows["outcome"].sum())}
        | {**whole["value"].to_dict(), **expected.to_dict()}
        | {"performance": frame_table(table), "default rate by band": picture(default_rate_by_band(table))}
    )


def _metadata(drift: pd.DataFrame, told: DriftSummary) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "verdict": told.verdict,
        "summary": told.message,
        "features_shifted": told.shifted,
        "features_moderate": told.moderate,
        "largest_psi": float(drift["psi"].max()),
        "moved_most": frame_table(drift[["feature", "psi", "ks", "verdict", "change"]].head(SHOWN)),
    }
    return figures | ({"score_psi": told.score_psi} if told.score_psi is not None else {})
