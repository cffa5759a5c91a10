"""The evaluation of a candidate as assets: predictions, metrics, and the promotion gate with the report."""

import tempfile
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.evaluation.candidate import Candidate, gate_table, log_verdicts, verdicts_on, write_report
from credit_assets.evaluation.champion_on_test import champion_pds, compared_champion
from credit_assets.evaluation.checks import check_specs, gate_result
from credit_assets.evaluation.gate import BASELINE, promotable, significant_gains
from credit_assets.evaluation.predictions import OtherTestRows, predicted_by_both, predictions_of
from credit_assets.evaluation.test_results import pictures
from credit_assets.evaluation.vintages import by_age, vintage_curves
from credit_assets.lake.io_managers import CHAMPION_VERSION, column_schema, contract, frame_table, picture
from credit_assets.lake.resources import LakeResource
from credit_assets.registry.resources import as_failure
from credit_assets.schemas.evidence import (
    BaselinePredictions,
    CandidatePredictions,
    Gate,
    Metrics,
    Predictions,
)
from credit_assets.schemas.table import Table


def assets(book: Book) -> list[dg.AssetsDefinition]:
    """The assets `predictions`, `evaluation` and `promotion_gate`."""
    portfolio, project = book.portfolio, book.project
    registry, name = book.registry, portfolio.name
    gate_key = dg.AssetKey([name, "promotion_gate"])
    vintage, applications = portfolio.evaluation.vintage, portfolio.application_table
    dated = [dg.AssetKey([name, applications])] if vintage else []
    if vintage:
        known = set(book.contracts[applications].to_schema().columns)
        if absent := {vintage.opened, vintage.defaulted} - known:
            raise ValueError(f"evaluation.vintage: the table {applications} has no column {', '.join(sorted(absent))}.")

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
    ) -> dg.MaterializeResult:
        """PDs of the test rows by the candidate, the baseline and the champion (if there is one). Evaluation, fairness
        audit and gate use them. The champion has no PD for rows that it learned from; a different split, for example
        after a withdrawal, can put such rows into the test. If the SQL has changed since the champion was trained, it
        is evaluated on the features that it was trained on, provided that the lake has them for all these rows."""
        with as_failure(OtherTestRows):
            rows = predicted_by_both(candidate, baseline)
        log = dg.get_dagster_logger()
        champion = registry.champion()
        by_champion = champion_pds(lake.connection, lake.lake, book, champion, rows, training_set, log)
        about = ["applicant", "batch", "target", "candidate_version"]
        pds = {"candidate": rows["candidate"], "baseline": rows["baseline"], "champion": by_champion}
        return dg.MaterializeResult(
            value=predictions_of(rows[about], pds),
            metadata={CHAMPION_VERSION: champion.number if champion else 0},
        )

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
        """The performance of the candidate on outcomes that it has not learned from, compared with the baseline and the
        champion on the same rows. Every metric has a confidence interval. The figures by batch show how risk and model
        performance developed."""
        found = Candidate.of(book, predictions, candidate, training_set)
        version, evidence = found.version, found.evidence
        figures, by_batch = evidence.candidate.figures(), found.by_batch
        curves = _curves(context, lake)
        drawn = pictures(found.tested, evidence.candidate, by_batch, curves)
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
        """The requirements that a candidate must meet to become champion. Each is a check; if a blocking check fails,
        the champion does not change. The report contains all results on one page."""
        found = Candidate.of(book, predictions, candidate, training_set)
        version, evidence = found.version, found.evidence
        decides = compared_champion(lake.lake, book)
        gate_verdicts = verdicts_on(lake.connection, lake.lake, book, found, decides, audit, dg.get_dagster_logger())
        better = "" if promotable(gate_verdicts) else significant_gains(evidence.comparisons.get("champion"))
        # If the training has reproduced the champion, its report and verdicts are not replaced.
        reproduced = decides is not None and decides.number == version.number
        report = project.reports / name / f"evaluation-v{version.number}.html"
        if not reproduced or not report.exists():
            curves = _curves(context, lake)
            write_report(
                report,
                book,
                found,
                gate_verdicts,
                groups=groups,
                audit=audit,
                curves=curves,
                versions={table: f"version {read.version}" for table, read in lake.reads(context).items()},
                synthetic=lake.synthetic(context),
            )
        if not reproduced:
            log_verdicts(registry, version, gate_verdicts, decides, better)
        table = gate_table(gate_verdicts, version.number)
        return dg.MaterializeResult(
            value=table,
            metadata={
                "candidate_version": version.number,
                "report": dg.MetadataValue.path(str(report)),
                "verdicts": frame_table(table),
            },
            check_results=[
                gate_result(gate_key, verdict, version.number, better)
                for verdict in gate_verdicts
                if verdict.blocking or verdict.name == BASELINE
            ],
        )

    def _curves(context: dg.AssetExecutionContext, lake: LakeResource) -> pd.DataFrame | None:
        if vintage is None:
            return None
        loans = lake.select(context, portfolio.table(applications), None)
        return vintage_curves(lake.connection, loans, portfolio.target, vintage, portfolio.delivery.date_formats)

    return [predictions, evaluation, promotion_gate]
