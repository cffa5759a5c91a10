"""The models as assets: the candidate, registered as challenger, and the baseline that it is compared with."""

from typing import Any

import dagster as dg
import duckdb
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.dagster_private import ROOT_RUN_ID_TAG
from credit_assets.features.training_set import TEST, training_frame
from credit_assets.features.versions import FEATURES
from credit_assets.lake.io_managers import column_schema, contract, frame_table
from credit_assets.lake.resources import LakeResource
from credit_assets.models.design_matrix import DesignMatrix, fold_table
from credit_assets.models.estimators.logistic_regression import fit_logistic
from credit_assets.models.importance import importance, leading
from credit_assets.models.model import Fitted, Task, estimator
from credit_assets.models.registration import Trained, TrainingRun, register_candidate
from credit_assets.registry.resources import tracking_run
from credit_assets.registry.version import Origin
from credit_assets.schemas.evidence import BaselinePredictions, CandidatePredictions
from credit_assets.settings.run_tags import WHY_TAG
from credit_assets.statistics.cut_off import AtCutOff, cut_off

NOT_FEATURES = ("batch", "target", "fold")
SHOWN = 20


def assets(book: Book) -> list[dg.AssetsDefinition]:
    """`candidate` and `logistic_regression`, both from the training set."""
    portfolio, project, features = book.portfolio, book.project, book.queries[FEATURES]
    registry = book.registry
    config, key = portfolio.training, portfolio.entity_key
    kind = estimator(config.model)
    training_set = {"training_set": dg.AssetIn(key=[portfolio.name, "training_set"])}
    common: dict[str, Any] = {
        "ins": training_set,
        "io_manager_key": "lake_io",
        "required_resource_keys": {"lake", "mlflow"},
        "group_name": "training",
        "owners": portfolio.owners,
    }

    @dg.asset(
        key=[portfolio.name, "candidate"],
        dagster_type=contract(book.keyed(CandidatePredictions)),
        metadata={"dagster/column_schema": column_schema(book.keyed(CandidatePredictions))},
        kinds={*kind.libraries, "mlflow"},
        **common,
    )
    def candidate(context: dg.AssetExecutionContext, training_set: duckdb.DuckDBPyRelation) -> dg.MaterializeResult:
        """The model proposed as champion, of the kind set by `training.model`, with calibrated PDs. It is registered as
        the challenger, unless an equal version is registered already. The table has its PDs of rows that it was not
        trained on."""
        frame = training_frame(training_set)
        design = DesignMatrix.of(frame, feature_names(frame, key), key, config.encodings)
        validation = design.validation(config)
        context.log.info(f"Models are compared on folds of {validation.by}.")
        content = content_version(training_set)
        fitted = kind.fit(Task(design, validation, config, project.studies, content, context.log.info))
        held_out = fitted.by_folds.loc[fitted.by_folds["fold"] != TEST, "pd"].to_numpy()
        threshold = cut_off(portfolio.policy, held_out)
        at_cut_off = AtCutOff.of(held_out, threshold)
        test = frame[frame["fold"] == TEST]
        shares = importance(fitted.model, test, key)
        lake: LakeResource = context.resources.lake
        trained = Trained(fitted, content, threshold, shares, validation.by)
        version, again = register_candidate(lake.connection, lake.lake, book, trained, _run(context))
        if again:
            context.log.info(
                f"The training reproduced version {version.number}: the same model from the same rows, with the same "
                "cut-off. No other version is registered."
            )
        return dg.MaterializeResult(
            value=candidate_predictions(fitted, test, key).assign(model_version=version.number),
            metadata={
                "model_version": version.number,
                "made_again": again,
                "model": config.model,
                **fitted.metrics,
                **fitted.search,
                "features": len(fitted.model.features),
                "cut_off": threshold,
                "approval_rate": at_cut_off.approval_rate,
                "at_cut_off": str(at_cut_off),
                **at_cut_off.figures(),
                "folds_of": validation.by,
                "folds": frame_table(fold_table(design, validation)),
                "parameters": dg.MetadataValue.json(dict(fitted.params)),
                "leading_features": frame_table(leading(shares, features.descriptions, SHOWN)),
                "mlflow_run_id": version.run_id,
            },
        )

    @dg.asset(
        key=[portfolio.name, "logistic_regression"],
        dagster_type=contract(book.keyed(BaselinePredictions)),
        metadata={"dagster/column_schema": column_schema(book.keyed(BaselinePredictions))},
        kinds={"scikitlearn", "mlflow"},
        **common,
    )
    def logistic_regression(
        context: dg.AssetExecutionContext, training_set: duckdb.DuckDBPyRelation
    ) -> dg.MaterializeResult:
        """The baseline on the same rows and features: logistic regression on quantile bins and quantile scores, with a
        separate bin for missing values. The table has its PDs of the test rows."""
        frame = training_frame(training_set)
        names = feature_names(frame, key)
        design = DesignMatrix.of(frame, names, key, config.encodings)
        model = fit_logistic(design, design.validation(config))
        penalty = {"inverse_penalty": float(model.regression.C), "bin_weight": model.bin_weight}
        test = frame[frame["fold"] == TEST]
        run_id = registry.log_model(
            model,
            _origin(context),
            run_name="logistic_regression",
            params=penalty | {"features": len(names)},
            metrics={},
            parent_run=tracking_run(context),
        )
        return dg.MaterializeResult(
            value=pd.DataFrame({"applicant": test[key], "batch": test["batch"], "pd": model.pd(test)}),
            metadata=penalty | {"features": len(names), "mlflow_run_id": run_id},
        )

    return [candidate, logistic_regression]


def feature_names(frame: pd.DataFrame, entity_key: str) -> list[str]:
    return [name for name in frame.columns if name != entity_key and name not in NOT_FEATURES]


def content_version(relation: duckdb.DuckDBPyRelation) -> str:
    """A hash of the rows, independent of their order, so that a search on the same data resumes whatever the table's
    version."""
    relation.create_view("_content", replace=True)
    return str(relation.query("_content", "SELECT sum(hash(_content)) FROM _content").fetchall()[0][0])


def candidate_predictions(fitted: Fitted, test: pd.DataFrame, entity_key: str) -> pd.DataFrame:
    """The `CandidatePredictions` without the version: PDs of test rows by the model, of training rows by the folds."""
    final = pd.DataFrame({"key": test[entity_key], "batch": test["batch"].astype(str)}).assign(
        final=fitted.model.pd(test)
    )
    predictions = fitted.by_folds.rename(columns={"pd": "fold_pd"}).merge(
        final, how="left", on=["key", "batch"], validate="1:1"
    )
    predictions["pd"] = predictions["final"].fillna(predictions["fold_pd"])
    columns = [name for name in CandidatePredictions.to_schema().columns if name != "model_version"]
    return predictions.rename(columns={"key": "applicant"})[columns]


def _run(context: dg.AssetExecutionContext) -> TrainingRun:
    """The training run of this step."""
    tags = context.run.tags
    root, why = tags.get(ROOT_RUN_ID_TAG, context.run_id), tags.get(WHY_TAG, "by hand")
    return TrainingRun(_origin(context), context.run_id, root, why, tracking_run(context))


def _origin(context: dg.AssetExecutionContext) -> Origin:
    """The tables that the step has read, and its run, as the origin of a model."""
    lake: LakeResource = context.resources.lake
    return Origin(
        tables={name: read.version for name, read in lake.reads(context).items()},
        synthetic=lake.synthetic(context),
        dagster_run=context.run_id,
    )
