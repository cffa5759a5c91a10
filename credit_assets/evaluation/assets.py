"""The evidence about a candidate as assets: its predictions, its metrics, and the gate with the report."""

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.evaluation.checks import check_specs, gate_result
from credit_assets.evaluation.gate import BASELINE, in_words, promotable, surely_better, verdicts
from credit_assets.evaluation.predictions import by_model, candidate_of, predictions_of
from credit_assets.evaluation.report import html_report, write_page
from credit_assets.evaluation.stability import score_stability
from credit_assets.evaluation.test_results import gather, pictures
from credit_assets.evaluation.vintages import by_age, performance_by_batch, vintage_curves
from credit_assets.features.training_rows import LEARNED, training_rows
from credit_assets.features.training_set import TEST, training_frame
from credit_assets.features.versions import FEATURES, learned_from, made_before
from credit_assets.lake.contracts import identifier
from credit_assets.lake.io_managers import column_schema, contract, frame_table, picture
from credit_assets.lake.resources import LakeResource
from credit_assets.models.registered import load_model
from credit_assets.registry.errors import VersionDamaged
from credit_assets.registry.registry import Registry
from credit_assets.registry.version import ModelVersion
from credit_assets.schemas.evidence import (
    BaselinePredictions,
    CandidatePredictions,
    Gate,
    Metrics,
    Predictions,
)
from credit_assets.schemas.table import Table
from credit_assets.settings.portfolio import Portfolio

LEADING = 3
"""Features that are named where an AUC is too good to be true."""


def assets(book: Book) -> list[dg.AssetsDefinition]:
    """`predictions`, `evaluation` and `promotion_gate`."""
    portfolio, project = book.portfolio, book.project
    registry, name = book.registry, portfolio.name
    gate_key = dg.AssetKey([name, "promotion_gate"])
    vintage, applications = portfolio.evaluation.vintage, portfolio.application_table
    dated = [dg.AssetKey([name, applications])] if vintage else []
    if vintage:
        known = set(book.contracts[applications].to_schema().columns)
        if absent := {vintage.opened, vintage.defaulted} - known:
            raise ValueError(f"evaluation.vintage: table {applications} has no column {', '.join(sorted(absent))}.")

    def loaded(table: str, model: type[Table]) -> dg.AssetIn:
        return dg.AssetIn(key=[name, table], dagster_type=contract(book.keyed(model)))

    def settings(model: type[Table], *kinds: str) -> dict[str, Any]:
        return {
            "dagster_type": contract(model),
            "metadata": {"dagster/column_schema": column_schema(model)},
            "io_manager_key": "lake_io",
            "group_name": "evaluation",
            "owners": portfolio.owners,
            "kinds": set(kinds),
        }

    @dg.asset(
        key=[name, "predictions"],
        ins={
            "candidate": loaded("candidate", CandidatePredictions),
            "baseline": loaded("logistic_regression", BaselinePredictions),
            "training_set": dg.AssetIn(key=[name, "training_set"]),
        },
        **settings(book.keyed(Predictions), "pandas", "deltalake"),
    )
    def predictions(
        lake: LakeResource, candidate: pd.DataFrame, baseline: pd.DataFrame, training_set: duckdb.DuckDBPyRelation
    ) -> pd.DataFrame:
        """PDs of the same test rows by the candidate, the baseline and the champion, if there is one: the basis of
        evaluation, audit and gate. The champion has no PD of rows that it learned from (a different split, for example
        after a withdrawal, can put them into the test). If the SQL has changed since it was trained, it gets the
        features that it was trained on, if the lake has them for all these rows, so that other SQL does not make it
        look worse."""
        test = candidate[candidate["fold"] == TEST].rename(
            columns={"pd": "candidate", "model_version": "candidate_version"}
        )
        rows = test.merge(baseline.rename(columns={"pd": "baseline"}), on=["applicant", "batch"], validate="1:1")
        if len(rows) != len(test):
            raise dg.Failure(
                f"The candidate has {len(test)} test rows and the baseline other ones: they come from different "
                "training sets. Materialize candidate and logistic_regression together.",
                allow_retries=False,
            )
        by_champion = _champion_pds(rows, lake, training_set, portfolio, registry)
        about = ["applicant", "batch", "target", "candidate_version"]
        pds = {"candidate": rows["candidate"], "baseline": rows["baseline"], "champion": by_champion}
        return predictions_of(rows[about], pds)

    @dg.asset(
        key=[name, "evaluation"],
        ins={
            "predictions": loaded("predictions", Predictions),
            "candidate": loaded("candidate", CandidatePredictions),
            "training_set": dg.AssetIn(key=[name, "training_set"]),
        },
        deps=dated,
        **settings(Metrics, "scikitlearn", "deltalake"),
    )
    def evaluation(
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        predictions: pd.DataFrame,
        candidate: pd.DataFrame,
        training_set: duckdb.DuckDBPyRelation,
    ) -> dg.MaterializeResult:
        """How well the candidate ranks and predicts outcomes that it has not learned from, compared with the baseline
        and the champion on the same rows, every figure with its interval; and by batch, to show how risk and model
        developed."""
        version, tested = registry.get(candidate_of(predictions)), by_model(predictions)
        evidence = gather(tested, version.decline_above, portfolio.evaluation, portfolio.training.seed)
        figures = evidence.candidate.figures()
        by_batch = _by_batch(candidate, training_set)
        curves = _curves(context, lake)
        drawn = pictures(tested, evidence.candidate, by_batch, curves)
        with tempfile.TemporaryDirectory() as folder:
            for title, png in drawn.items():
                (Path(folder) / f"{title}.png").write_bytes(png)
            registry.log(version, figures, {"plots": Path(folder)})
        return dg.MaterializeResult(
            value=evidence.metrics(),
            metadata={
                **{title: picture(png) for title, png in drawn.items()},
                "metrics": frame_table(evidence.metrics()),
                "deciles": frame_table(evidence.candidate.deciles),
                "performance_by_batch": frame_table(by_batch),
                **({} if curves is None else {"defaulted_by_age": frame_table(by_age(curves))}),
                "confusion": frame_table(pd.DataFrame([vars(evidence.candidate.confusion)])),
                "candidate_version": version.number,
                "at_cut_off": str(evidence.candidate.at_cut_off),
                **evidence.candidate.at_cut_off.figures(),
                **figures,
            },
        )

    @dg.asset(
        key=gate_key,
        ins={
            "predictions": loaded("predictions", Predictions),
            "candidate": loaded("candidate", CandidatePredictions),
            "groups": dg.AssetIn(key=[name, "fairness_groups"]),
            "audit": dg.AssetIn(key=[name, "fairness_audit"]),
            "training_set": dg.AssetIn(key=[name, "training_set"]),
        },
        deps=[dg.AssetKey([name, "evaluation"]), *dated],
        check_specs=check_specs(book),
        **settings(Gate, "deltalake"),
    )
    def promotion_gate(
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        predictions: pd.DataFrame,
        candidate: pd.DataFrame,
        groups: pd.DataFrame,
        audit: pd.DataFrame,
        training_set: duckdb.DuckDBPyRelation,
    ) -> dg.MaterializeResult:
        """What a candidate must show to become champion. Each requirement is a check; if a blocking one fails, the
        champion stays. The report has all the evidence on one page."""
        version, tested = registry.get(candidate_of(predictions)), by_model(predictions)
        evidence = gather(tested, version.decline_above, portfolio.evaluation, portfolio.training.seed)
        config, champion = portfolio.evaluation, evidence.models.get("champion")
        by_champion = _champion_on(tested, lake, training_set, portfolio, registry) if champion else None
        stable = score_stability(candidate, by_champion, config.n_bootstrap, portfolio.training.seed, config.confidence)
        judged = verdicts(
            evidence.candidate,
            champion,
            evidence.comparisons.get("champion"),
            audit,
            stable.psi,
            stable.noise,
            stable.champion_psi,
            config.gate,
            psi_difference=stable.difference,
            baseline=evidence.comparisons["baseline"],
            max_auc=portfolio.training.max_single_feature_auc,
            leading=_leading(registry, version),
            champion_learned=champion is None and not _new_to_champion(tested, lake, portfolio, registry).any(),
        )
        by_batch = _by_batch(candidate, training_set)
        decides = registry.champion()
        report = project.reports / name / f"evaluation-v{version.number}.html"
        # A champion that a training made again is held against itself: what it was promoted for stays.
        if decides is None or decides.number != version.number or not report.exists():
            page = html_report(
                title=f"{portfolio.title}: candidate {version.number}",
                models=evidence.models,
                comparisons=evidence.comparisons,
                gate=judged,
                fairness_groups=groups,
                fairness_verdicts=audit,
                plots=pictures(tested, evidence.candidate, by_batch, _curves(context, lake)),
                by_batch=by_batch,
                versions={table: f"version {read.version}" for table, read in lake.reads(context).items()},
                synthetic=lake.synthetic(context),
            )
            write_page(report, page)
            registry.log(version, {}, {"report": report})
        better = "" if promotable(judged) else surely_better(evidence.comparisons.get("champion"))
        if decides is None or decides.number != version.number:
            registry.log_gate(
                version.number,
                in_words(judged),
                passed=promotable(judged),
                better_than=decides.number if decides else None,
                better=better,
            )
        table = pd.DataFrame(
            [{"verdict": v.name, "passed": v.passed, "blocking": v.blocking, "words": v.message} for v in judged]
        ).assign(candidate_version=version.number)
        return dg.MaterializeResult(
            value=table,
            metadata={
                "candidate_version": version.number,
                "report": dg.MetadataValue.path(str(report)),
                "verdicts": frame_table(table),
            },
            check_results=[
                gate_result(gate_key, verdict, version.number, better)
                for verdict in judged
                if verdict.blocking or verdict.name == BASELINE
            ],
        )

    def _by_batch(candidate: pd.DataFrame, training_set: duckdb.DuckDBPyRelation) -> pd.DataFrame:
        known = training_set.project("batch, fold, target").df()
        return performance_by_batch(candidate, known, portfolio.evaluation.confidence)

    def _curves(context: dg.AssetExecutionContext, lake: LakeResource) -> pd.DataFrame | None:
        if vintage is None:
            return None
        loans = lake.select(context, portfolio.table(applications), None)
        return vintage_curves(lake.connection, loans, portfolio.target, vintage, portfolio.delivery.date_formats)

    return [predictions, evaluation, promotion_gate]


def _champion_pds(
    rows: pd.DataFrame,
    lake: LakeResource,
    training_set: duckdb.DuckDBPyRelation,
    portfolio: Portfolio,
    registry: Registry,
) -> pd.Series:
    """The champion's PDs of the rows, in their order; nan if there is no champion, if it uses features that are no
    longer made or are left out, and for rows that it cannot be evaluated on (`_new_to_champion`)."""
    if (judged := _judged_by_champion(lake, training_set.filter(f"fold = '{TEST}'"), portfolio, registry)) is None:
        return pd.Series(float("nan"), index=rows.index)
    pds = judged.rename(columns={portfolio.entity_key: "applicant", "pd": "champion"}).drop(columns="fold")
    found = rows[["applicant", "batch"]].merge(pds, how="left", on=["applicant", "batch"])["champion"]
    return found.where(_new_to_champion(rows, lake, portfolio, registry))


def _champion_on(
    tested: pd.DataFrame,
    lake: LakeResource,
    training_set: duckdb.DuckDBPyRelation,
    portfolio: Portfolio,
    registry: Registry,
) -> pd.DataFrame | None:
    """The champion's PDs of training rows, and of the rows `tested` that it is compared on: applicant, batch, fold, pd;
    None if there is no champion."""
    if (judged := _judged_by_champion(lake, training_set, portfolio, registry)) is None:
        return None
    judged = judged.rename(columns={portfolio.entity_key: "applicant"})
    left_out = tested.loc[tested["champion"].isna(), ["applicant", "batch"]]
    return judged[~_among(judged, left_out)]


def _new_to_champion(rows: pd.DataFrame, lake: LakeResource, portfolio: Portfolio, registry: Registry) -> np.ndarray:
    """Which of the test rows (applicant, batch, target) the champion can be evaluated on: those that it did not learn
    from; none, if too few defaults or non-defaults remain."""
    champion = registry.champion()
    if champion is None:
        return np.ones(len(rows), dtype=bool)
    key, rows_then = identifier(portfolio.entity_key), training_rows(lake.lake, portfolio, champion)
    learned = lake.connection.sql(f"SELECT {key} AS applicant, batch FROM ({rows_then}) WHERE {LEARNED}").df()
    new = ~_among(rows, learned)
    defaults = rows.loc[new, "target"].sum()
    enough = min(defaults, new.sum() - defaults) >= portfolio.evaluation.gate.min_defaults
    return new if enough or new.all() else np.zeros(len(rows), dtype=bool)


def _among(rows: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    """Which rows are also among the others, by applicant and batch, which no other split changes."""
    keys = ["applicant", "batch"]
    return pd.MultiIndex.from_frame(rows[keys]).isin(pd.MultiIndex.from_frame(others[keys]))


def _leading(registry: Registry, version: ModelVersion) -> list[str]:
    """The features that the version relies on most."""
    shares = registry.importance(version)
    return sorted(shares, key=shares.__getitem__, reverse=True)[:LEADING]


def _judged_by_champion(
    lake: LakeResource, rows: duckdb.DuckDBPyRelation, portfolio: Portfolio, registry: Registry
) -> pd.DataFrame | None:
    """Entity key, batch, fold and the champion's PD of these rows of the training set; None if there is no champion, if
    it can no longer be loaded, or if it uses features that do not exist."""
    version = registry.champion()
    if version is None:
        return None
    try:
        model = load_model(registry, version)
    except VersionDamaged as error:
        # Else no candidate could take its place.
        dg.get_dagster_logger().warning(f"{error} The candidate is not compared with it.")
        return None
    about = [portfolio.entity_key, "batch", "fold"]
    # What is forbidden or left out by now gives it no advantage.
    if not set(model.features) <= set(rows.columns):
        return None
    read = _as_learned(lake, rows, about, version, portfolio)
    frame = training_frame(read.project(", ".join(map(identifier, (*about, *model.features)))))
    return frame[about].assign(pd=model.pd(frame))


def _as_learned(
    lake: LakeResource,
    rows: duckdb.DuckDBPyRelation,
    about: Sequence[str],
    version: ModelVersion,
    portfolio: Portfolio,
) -> duckdb.DuckDBPyRelation:
    """The rows with the columns `about` and with features made by the SQL that the model learned from, if the lake has
    them for all batches; otherwise with features of the current SQL, with which the model would continue to decide."""
    features, training_set = portfolio.table(FEATURES), portfolio.table("training_set")
    learned = learned_from(lake.connection, lake.lake, training_set, version.made_from(training_set), features)
    batches = sorted(batch for (batch,) in rows.project("batch").distinct().fetchall())
    writings = cache(lake.lake.writings)
    versions = {}
    for batch in batches:
        made = (commit.version for commit in made_before(writings, features, batch, learned))
        versions[batch] = next((version for version in made if lake.lake.readable(features, batch, version)), None)
    if None in versions.values() or all(versions[batch] == writings(features)[batch][0].version for batch in batches):
        return rows
    before = " UNION ALL ".join(lake.lake.query(features, [batch], version) for batch, version in versions.items())
    rows.project(", ".join(map(identifier, about))).create_view("_judged", replace=True)
    key = identifier(portfolio.entity_key)
    return lake.connection.sql(f"SELECT * FROM _judged JOIN ({before}) USING ({key}, batch)")
