"""The champion, and the scores of a batch, as assets."""

from collections.abc import Iterator

import dagster as dg
import duckdb
import pandas as pd
from pydantic import Field

from credit_assets.book.book import Book
from credit_assets.decisions.decide import Provenance, score
from credit_assets.decisions.policy import APPROVE
from credit_assets.evaluation.checks import cleared
from credit_assets.evaluation.report import mark_override
from credit_assets.explanations.reasons import check_descriptions
from credit_assets.explanations.texts import reason_texts
from credit_assets.features.versions import FEATURES, read_at
from credit_assets.lake.contracts import identifier
from credit_assets.lake.io_managers import column_schema, contract, frame_table
from credit_assets.lake.log import Commit
from credit_assets.lake.resources import LakeResource, batches
from credit_assets.models.registered import load_model
from credit_assets.registry.errors import PromotionRefused, RegistryError
from credit_assets.registry.version import ModelVersion
from credit_assets.schemas.evidence import Gate, Predictions
from credit_assets.schemas.scores import Scores
from credit_assets.scoring.checks import as_checked, check_specs, complete, confirmed, drafts_message
from credit_assets.settings.run_tags import AUTOMATIC_TAG, WHY_TAG
from credit_assets.statistics.cut_off import AtCutOff

FEATURE_DRIFT = "feature_drift"
"""The table whose commits say which version a batch's features were checked against."""

PARENT_RUN = "dagster/parent_run_id"
"""Dagster's tag of a run that repeats another one in whole or in part."""

VECTORS = 20
"""Of 2,048 rows that DuckDB hands over at a time: wide enough to score fast, small enough for memory."""


class Promotion(dg.Config):
    """Whether the candidate is promoted (the default), an earlier champion restored, or a version promoted by hand."""

    roll_back: bool = Field(default=False, description="Make an earlier version the champion again.")
    to_version: int | None = Field(
        default=None, ge=1, description="The version to go back to; by itself, the one that decided before."
    )
    from_version: int | None = Field(
        default=None, ge=1, description="Where another version than this is champion by now, nothing is moved."
    )
    promote_version: int | None = Field(
        default=None, ge=1, description="The version to promote by hand, whatever the gate said of it; use job promote."
    )
    by: str = Field(default="", description="Who approves of a promotion by hand, by name.")
    why: str = Field(default="", description="The reason, for the history of champions; a promotion by hand needs one.")


def assets(book: Book) -> list[dg.AssetsDefinition]:
    """`champion` and `scores`. Raises ValueError if a feature has no description to serve as a reason."""
    portfolio, project = book.portfolio, book.project
    texts = reason_texts(book.queries, book.raw_lineage_of_values[FEATURES], book.raw_lineage[FEATURES])
    registry, name = book.registry, portfolio.name
    check_descriptions(list(texts.descriptions), texts.descriptions)
    scored = book.keyed(Scores)

    @dg.asset(
        key=[name, "champion"],
        ins={
            "predictions": dg.AssetIn(key=[name, "predictions"], dagster_type=contract(book.keyed(Predictions))),
            "gate": dg.AssetIn(key=[name, "promotion_gate"], dagster_type=contract(Gate)),
        },
        deps=[dg.AssetKey([name, "drift_reference"])],
        group_name="champion",
        owners=portfolio.owners,
        kinds={"mlflow"},
    )
    def champion(
        context: dg.AssetExecutionContext, config: Promotion, predictions: pd.DataFrame, gate: pd.DataFrame
    ) -> dg.MaterializeResult:
        """The model version whose scores decide. It is the candidate that passed the promotion gate: if a check of the
        gate fails, this asset is not made and the earlier champion stays in place. With `roll_back` an earlier version
        becomes champion again; the gate never promotes the replaced version again. With `promote_version` that version
        becomes champion, whatever the gate's verdict, once it has the approvals that `promotion.approvals` requires;
        until then the champion stays, and `approvals` shows who has approved."""
        approved: dict[str, str] = {}
        try:
            if config.promote_version is not None:
                decides, approved["approvals"] = _overridden(context, config)
            elif config.roll_back:
                decides = _rolled_back(context, config)
            else:
                decides = _promoted(context, config, predictions, gate)
        except (PromotionRefused, RegistryError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
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

    def _overridden(context: dg.AssetExecutionContext, config: Promotion) -> tuple[ModelVersion, str]:
        if config.roll_back or config.to_version or config.from_version:
            raise dg.Failure("promote_version goes with by and why alone.", allow_retries=False)
        assert config.promote_version is not None
        done = registry.override(
            config.promote_version,
            by=config.by,
            why=config.why,
            approvals=portfolio.promotion.approvals,
            dagster_runs=_this_run(context),
        )
        decides = registry.champion()
        if decides is None:
            raise dg.Failure(f"{done} Until then there is no champion.", allow_retries=False)
        if not done.missing:
            page = project.reports / name / f"evaluation-v{done.version}.html"
            if mark_override(page, registry.history()[-1].why):
                registry.log(decides, {}, {"report": page})
        return decides, str(done)

    def _promoted(
        context: dg.AssetExecutionContext, config: Promotion, predictions: pd.DataFrame, gate: pd.DataFrame
    ) -> ModelVersion:
        if config.to_version or config.from_version:
            raise dg.Failure("to_version and from_version are for a rollback; set roll_back too.", allow_retries=False)
        version = cleared(gate, predictions)
        if stays := _stays(context, version):
            return stays
        shown = gate.set_index("verdict")["words"]
        asked = config.why or context.run.tags.get(WHY_TAG, "")
        reasons = [asked, "It passed the gate.", shown["discrimination"], shown["not_worse_than_champion"]]
        why = " ".join(reason if reason.endswith(".") else f"{reason}." for reason in reasons if reason)
        return registry.promote(version, by="gate", why=why, dagster_run=context.run_id)

    def _stays(context: dg.AssetExecutionContext, candidate: int) -> ModelVersion | None:
        """The champion, if this training made a version again that was rolled back or replaced by hand; else None."""
        version = registry.find(candidate)
        undone = version and registry.set_aside_before(version, _this_run(context))
        if not undone:
            return None
        decides = registry.champion()
        if decides is not None:
            what = "rolled back from" if undone.back else "replaced by hand"
            context.log.info(
                f"Version {candidate}, which the training made again, was {what} at {undone.at:%Y-%m-%d %H:%M} UTC. "
                f"Version {decides.number} stays the champion."
            )
        return decides

    def _rolled_back(context: dg.AssetExecutionContext, config: Promotion) -> ModelVersion:
        tags = context.run.tags
        return registry.roll_back(
            by="rollback" if tags.get(AUTOMATIC_TAG) == "true" else "hand",
            why=config.why or tags.get(WHY_TAG) or "no reason given",
            to_version=config.to_version,
            from_version=config.from_version,
            dagster_runs=_this_run(context),
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
        checked = _checked_against(context, lake)
        try:
            version = registry.get(checked)
            model = load_model(registry, version)
        except RegistryError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        drafts = texts.drafts_of(model.features)
        if drafts and portfolio.reasons.unconfirmed == "block":
            raise dg.Failure(
                f"Scores are withheld (`reasons: {{unconfirmed: block}}`): {drafts_message(drafts)}",
                allow_retries=False,
            )
        # Whether an applicant has a row in a history shows in all of its features, if the batch has them.
        beside = {column for history in texts.histories.values() for column in history.features}
        wanted = [portfolio.entity_key, *model.features]
        wanted += [column for column in features.columns if column in beside.difference(model.features)]
        decided = score(
            _parts(features.project(", ".join(map(identifier, wanted)))),
            portfolio.entity_key,
            model,
            version.decline_above,
            portfolio.scorecard,
            texts,
            Provenance(
                model_name=name,
                model_version=version.number,
                model_run_id=version.run_id,
                features_checked_against=checked,
                feature_table_version=lake.reads(context)[portfolio.table(FEATURES)].version,
                synthetic=lake.synthetic(context) or version.synthetic,
            ),
        )
        declined = decided[decided["decision"] != APPROVE]
        applications = lake.select(context, portfolio.table(portfolio.application_table), [context.partition_key])
        delivered = lake.connection.execute(f'SELECT "{portfolio.entity_key}" FROM ({applications})').fetchnumpy()
        # By name where as many were declined for each: the order of the rows shows in no table.
        counts = declined["reason_1"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
        at_cut_off = AtCutOff.of(decided["pd"].to_numpy(), float(decided["cut_off"].iloc[0]))
        reasons = counts.head(10).rename_axis("main reason").reset_index(name="declined")
        return dg.MaterializeResult(
            value=decided,
            metadata={
                "applicants": len(decided),
                "approval_rate": at_cut_off.approval_rate,
                "at_cut_off": str(at_cut_off),
                **at_cut_off.figures(),
                "mean_pd": float(decided["pd"].mean()),
                "model_version": version.number,
                "cut_off": float(decided["cut_off"].iloc[0]),
                "bands": frame_table(
                    decided.groupby("band").agg(applicants=("pd", "size"), mean_pd=("pd", "mean")).reset_index()
                ),
                "main_reasons": frame_table(reasons),
            },
            check_results=[
                complete(delivered, decided),
                as_checked(version.number, _version_of(_drift_of_batch(context, lake))),
                confirmed(drafts, len(model.features)),
            ],
        )

    def _checked_against(context: dg.AssetExecutionContext, lake: LakeResource) -> int:
        """The version that the batch's features were checked against by this run, or by the runs that it repeats; by
        another run only if that version is still champion. Raises Failure if the current features have not been checked
        in this way."""
        # Notes the table among what the scores were made from.
        lake.select(context, portfolio.table(FEATURE_DRIFT), [context.partition_key])
        checked = _drift_of_batch(context, lake)
        batch = context.partition_key
        advice = f"Run the job `score` for {batch}, or materialize feature_drift and scores together."
        reads = lake.reads(context)[portfolio.table(FEATURES)].version
        features = read_at(lake.lake.writings, portfolio.table(FEATURES), batch, reads)
        if features and checked.provenance.inputs[portfolio.table(FEATURES)] < features.version:
            raise dg.Failure(
                f"The features of {batch} were made again since they were checked. {advice}", allow_retries=False
            )
        version = _version_of(checked)
        if checked.provenance.run_id not in _attempts(context):
            decides = registry.champion()
            if decides is None or decides.number != version:
                raise dg.Failure(
                    f"The features of {batch} were checked against version {version}, and "
                    f"{f'version {decides.number}' if decides else 'no version'} is champion now. {advice}",
                    allow_retries=False,
                )
        return version

    def _drift_of_batch(context: dg.AssetExecutionContext, lake: LakeResource) -> Commit:
        return lake.lake.batches(portfolio.table(FEATURE_DRIFT))[context.partition_key]

    return [champion, scores]


def _version_of(checked: Commit) -> int:
    if checked.provenance.model_version is None:
        raise dg.Failure(
            "feature_drift names no model version: an earlier release made it. Materialize it again.",
            allow_retries=False,
        )
    return checked.provenance.model_version


def _attempts(context: dg.AssetExecutionContext) -> set[str]:
    """The run, and the runs that it repeats in whole or in part."""
    found: set[str] = set()
    run: dg.DagsterRun | None = context.run
    while run and run.run_id not in found:
        found.add(run.run_id)
        parent = run.tags.get(PARENT_RUN)
        run = context.instance.get_run_by_id(parent) if parent else None
    return found


def _this_run(context: dg.AssetExecutionContext) -> list[str]:
    """The run, and those that it repeats."""
    repeated = (context.run.tags.get(f"dagster/{of}_run_id") for of in ("parent", "root"))
    return [context.run_id, *filter(None, repeated)]


def _parts(relation: duckdb.DuckDBPyRelation) -> Iterator[pd.DataFrame]:
    while len(part := relation.fetch_df_chunk(VECTORS)):
        yield part
