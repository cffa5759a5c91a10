"""The champion and the scores of a batch as assets."""

from typing import Any

import dagster as dg
import duckdb
import pandas as pd
from pydantic import Field

from credit_assets.book.book import Book
from credit_assets.decisions.decide import Provenance
from credit_assets.evaluation.champion_on_test import champion_number
from credit_assets.evaluation.checks import cleared
from credit_assets.explanations.reasons import check_descriptions
from credit_assets.explanations.texts import reason_texts
from credit_assets.features.versions import FEATURES
from credit_assets.lake.io_managers import column_schema, contract, frame_table
from credit_assets.lake.resources import LakeResource, batches
from credit_assets.lake.sql import identifier
from credit_assets.lake.tables import Lake
from credit_assets.models.registered import load_model
from credit_assets.registry.errors import PromotionRefused
from credit_assets.registry.registry import Registry
from credit_assets.registry.resources import as_failure
from credit_assets.registry.version import ModelVersion
from credit_assets.schemas.evidence import CandidateVersion, Gate
from credit_assets.schemas.scores import Scores
from credit_assets.scoring.batch_scores import ReasonsUnconfirmed, drafts_allowed, main_reasons, score_batch
from credit_assets.scoring.champion_moves import NoChampionYet, kept_champion, promote_by_hand, reasons_of_promotion
from credit_assets.scoring.checked_version import FEATURE_DRIFT, NotChecked, checked_against, version_checked
from credit_assets.scoring.checks import as_checked, check_specs, complete, confirmed
from credit_assets.settings.run_tags import AUTOMATIC_TAG, WHY_TAG
from credit_assets.statistics.cut_off import AtCutOff

PARENT_RUN = "dagster/parent_run_id"
"""Dagster's tag on a run that repeats another run or part of it, with the id of that run."""


class Promotion(dg.Config):
    """Whether the candidate is promoted (the default), an earlier champion restored, or a version promoted by hand."""

    roll_back: bool = Field(default=False, description="Make an earlier version the champion again.")
    to_version: int | None = Field(
        default=None, ge=1, description="The version to restore. The default is the previous champion."
    )
    from_version: int | None = Field(
        default=None, ge=1, description="Do nothing if the champion is not this version (any more)."
    )
    promote_version: int | None = Field(
        default=None,
        ge=1,
        description="The version to promote by hand, whatever the gate's verdict. Use the job `promote`.",
    )
    by: str = Field(default="", description="The name of the person who approves a promotion by hand.")
    why: str = Field(
        default="", description="The reason, for the history of champions. Required for a promotion by hand."
    )


def assets(book: Book) -> list[dg.AssetsDefinition]:
    """The assets `champion` and `scores`. Raises ValueError if a feature has no description, which reasons need."""
    texts = reason_texts(book.queries, book.raw_lineage_of_values[FEATURES], book.raw_lineage[FEATURES])
    portfolio, registry, name = book.portfolio, book.registry, book.name
    check_descriptions(list(texts.descriptions), texts.descriptions)
    scored = book.keyed(Scores)

    @dg.asset(
        key=[name, "champion"],
        ins={
            "predictions": dg.AssetIn(key=[name, "predictions"], dagster_type=contract(CandidateVersion)),
            "gate": dg.AssetIn(key=[name, "promotion_gate"], dagster_type=contract(Gate)),
        },
        deps=[dg.AssetKey([name, "drift_reference"])],
        group_name="champion",
        owners=portfolio.owners,
        kinds={"mlflow"},
    )
    def champion(
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        config: Promotion,
        predictions: pd.DataFrame,
        gate: pd.DataFrame,
    ) -> dg.MaterializeResult:
        """The model version whose scores decide. It is the candidate that passed the promotion gate: if a check of the
        gate fails, this asset is not made and the earlier champion stays in place. With `roll_back` an earlier version
        becomes champion again; the gate never promotes the replaced version again. With `promote_version` that version
        becomes champion, whatever the gate's verdict, once it has the approvals that `promotion.approvals` requires;
        until then the champion stays, and `approvals` shows who has approved."""
        _refuse_contradictions(config)
        approved: dict[str, str] = {}
        with as_failure(PromotionRefused, NoChampionYet):
            if config.promote_version is not None:
                runs = _this_run(context)
                decides, override = promote_by_hand(book, config.promote_version, config.by, config.why, runs)
                approved["approvals"] = str(override)
            elif config.roll_back:
                decides = _rolled_back(context, config, registry)
            else:
                decides = _promoted(context, lake.lake, book, config, cleared(gate, predictions), gate)
        move = registry.history()[-1]
        return dg.MaterializeResult(
            metadata={
                "model": name,
                "model_version": decides.number,
                "previous_version": dg.MetadataValue.null() if move.replaced is None else move.replaced,
                "by": move.by,
                "why": move.why,
                "since": dg.MetadataValue.timestamp(move.at),
                "cut_off": decides.decline_above,
                "mlflow_run_id": decides.run_id,
                "synthetic": decides.synthetic,
                **approved,
            }
        )

    @dg.asset(
        key=[name, "scores"],
        partitions_def=batches(name),
        ins={"features": dg.AssetIn(key=[name, "features"])},
        deps=[dg.AssetKey([name, "feature_drift"])],
        dagster_type=contract(scored),
        metadata={"dagster/column_schema": column_schema(scored)},
        io_manager_key="lake_io",
        group_name="scoring",
        owners=portfolio.owners,
        kinds={"pandas", "deltalake"},
        check_specs=check_specs(book),
    )
    def scores(
        context: dg.AssetExecutionContext, lake: LakeResource, features: duckdb.DuckDBPyRelation
    ) -> dg.MaterializeResult:
        """One row per applicant of the batch: PD, points, band, decision and, for declined applicants, the reasons,
        with the versions of the model and the features. The model is the champion that the batch's features were
        checked against in the same run, even if another version has been promoted since."""
        batch = context.partition_key
        # Records the table as an input of the scores.
        lake.select(context, portfolio.table(FEATURE_DRIFT), [batch])
        read = lake.reads(context)[portfolio.table(FEATURES)].version
        with as_failure(NotChecked, ReasonsUnconfirmed):
            checked = checked_against(lake.lake, book, batch, read, _runs_repeated(context))
            version = registry.get(checked)
            model = load_model(registry, version)
            drafts = drafts_allowed(book, texts, model.features)
            made_from = Provenance(
                model_name=name,
                model_version=version.number,
                model_run_id=version.run_id,
                features_checked_against=checked,
                feature_table_version=read,
                synthetic=lake.synthetic(context) or version.synthetic,
            )
            decided = score_batch(book, features, model, version, texts, made_from)
            applications = lake.select(context, portfolio.table(portfolio.application_table), [batch])
            key = identifier(portfolio.entity_key)
            delivered = lake.connection.execute(f"SELECT {key} FROM ({applications})").fetchnumpy()
            latest = version_checked(lake.lake, book, batch)
        return dg.MaterializeResult(
            value=decided,
            metadata=_scores_metadata(decided, version.number),
            check_results=[
                complete(delivered, decided),
                as_checked(version.number, latest),
                confirmed(drafts, len(model.features)),
            ],
        )

    return [champion, scores]


def _refuse_contradictions(config: Promotion) -> None:
    """Raise Failure if settings of the run config exclude each other."""
    if config.promote_version is not None and (config.roll_back or config.to_version or config.from_version):
        raise dg.Failure("promote_version may only be combined with by and why.", allow_retries=False)
    if config.promote_version is None and not config.roll_back and (config.to_version or config.from_version):
        raise dg.Failure("to_version and from_version require roll_back.", allow_retries=False)


def _promoted(
    context: dg.AssetExecutionContext, lake: Lake, book: Book, config: Promotion, candidate: int, gate: pd.DataFrame
) -> ModelVersion:
    """Promote the candidate; returns the champion, which may be the current one if it stays."""
    registry = book.registry
    if kept := kept_champion(registry, candidate, _this_run(context)):
        context.log.info(kept.message)
        return kept.champion
    why = reasons_of_promotion(gate, config.why or context.run.tags.get(WHY_TAG, ""))
    compared = champion_number(lake, book.portfolio)
    return registry.promote(candidate, by="gate", why=why, dagster_run=context.run_id, compared_with=compared)


def _rolled_back(context: dg.AssetExecutionContext, config: Promotion, registry: Registry) -> ModelVersion:
    """Roll back, automatically or by hand; returns the champion after it."""
    tags = context.run.tags
    return registry.roll_back(
        by="rollback" if tags.get(AUTOMATIC_TAG) == "true" else "hand",
        why=config.why or tags.get(WHY_TAG) or "no reason given",
        to_version=config.to_version,
        from_version=config.from_version,
        dagster_runs=_this_run(context),
    )


def _scores_metadata(decided: pd.DataFrame, version: int) -> dict[str, Any]:
    """The metadata of the scores: figures, which the UI plots over time, and tables by band and reason."""
    cut_off = float(decided["cut_off"].iloc[0])
    at_cut_off = AtCutOff.of(decided["pd"].to_numpy(), cut_off)
    return {
        "applicants": len(decided),
        "approval_rate": at_cut_off.approval_rate,
        "at_cut_off": str(at_cut_off),
        **at_cut_off.figures(),
        "mean_pd": float(decided["pd"].mean()),
        "model_version": version,
        "cut_off": cut_off,
        "bands": frame_table(
            decided.groupby("band").agg(applicants=("pd", "size"), mean_pd=("pd", "mean")).reset_index()
        ),
        "main_reasons": frame_table(main_reasons(decided)),
    }


def _runs_repeated(context: dg.AssetExecutionContext) -> set[str]:
    """The ids of the run and of all runs that it repeats, directly or indirectly."""
    found: set[str] = set()
    run: dg.DagsterRun | None = context.run
    while run and run.run_id not in found:
        found.add(run.run_id)
        parent = run.tags.get(PARENT_RUN)
        run = context.instance.get_run_by_id(parent) if parent else None
    return found


def _this_run(context: dg.AssetExecutionContext) -> list[str]:
    """The ids of the run, its parent and its root run."""
    repeated = (context.run.tags.get(f"dagster/{of}_run_id") for of in ("parent", "root"))
    return [context.run_id, *filter(None, repeated)]
