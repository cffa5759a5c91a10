"""Models registered in MLflow (a SQLite file) and loaded again."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators.logistic_regression import fit_logistic
from credit_assets.models.estimators.xgboost import XGBoostModel, fit_xgboost
from credit_assets.models.folds import Folds
from credit_assets.models.registered import is_complete, load_model
from credit_assets.registry.errors import VersionDamaged
from credit_assets.registry.mlflow_store import MlflowStore
from credit_assets.registry.registry import Registry
from credit_assets.registry.version import ModelVersion, Origin
from credit_assets.settings.training import TrainingConfig

NAME = "home_credit"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("mlflow")
    return Registry(MlflowStore(f"sqlite:///{folder / 'mlflow.db'}", NAME, folder / "artifacts"))


@pytest.fixture(scope="module")
def model(design: DesignMatrix) -> XGBoostModel:
    config = TrainingConfig(threads=1)
    return fit_xgboost(design, Folds(design, design.validation(config), config), {"max_depth": 2}, 10, config)[0]


@pytest.fixture(scope="module")
def version(registry: Registry, model: XGBoostModel) -> ModelVersion:
    return registry.register(model, Origin(synthetic=True), run_name="xgboost", params={}, metrics={})


def test_loaded_model_gives_the_results_of_the_registered_one(
    registry: Registry, version: ModelVersion, model: XGBoostModel, training_set: pd.DataFrame
) -> None:
    loaded = load_model(registry, version)
    np.testing.assert_array_equal(loaded.pd(training_set), model.pd(training_set))
    np.testing.assert_array_equal(loaded.contributions(training_set), model.contributions(training_set))


@pytest.mark.parametrize("lost", ["booster.ubj", "model.json", "importance.json", "everything"])
def test_version_with_missing_files_is_named_with_advice(
    registry: Registry, model: XGBoostModel, tmp_path: Path, lost: str
) -> None:
    assert isinstance(registry.store, MlflowStore)
    # The same database, because creating one takes seconds.
    registry = Registry(MlflowStore(registry.store.tracking_uri, f"lost_{lost}", tmp_path / "artifacts"))
    (tmp_path / "importance.json").write_text("{}")
    artifacts = {"": tmp_path / "importance.json"}
    made = registry.register(model, Origin(synthetic=True), run_name="", params={}, metrics={}, artifacts=artifacts)
    assert is_complete(registry, made)
    store = registry.store
    assert isinstance(store, MlflowStore)
    for file in sorted(store.artifacts.rglob("*"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        if file.name == lost:
            file.unlink()
            break
    if lost == "everything":
        shutil.rmtree(store.artifacts)
    assert not is_complete(registry, made)
    with pytest.raises(VersionDamaged, match=r"is missing or damaged\..*`credit-assets rollback --portfolio lost_"):
        registry.importance(made) if lost == "importance.json" else load_model(registry, made)


def test_mlflow_loader_serves_the_model_with_gaps_and_unseen_categories(
    version: ModelVersion, model: XGBoostModel, training_set: pd.DataFrame
) -> None:
    served = mlflow.pyfunc.load_model(f"models:/{NAME}/{version.number}")
    frame = training_set[list(model.features)].head(50).copy()
    frame.loc[frame.index[:5], "employer"] = ["moon base", None, "farm", "bank", None]
    np.testing.assert_array_equal(served.predict(frame)["pd"], model.pd(frame))
    schema = served.metadata.get_input_schema()
    assert schema.input_names() == list(model.features)
    assert [str(column.type) for column in schema.inputs][1:4] == [
        "DataType.double",
        "DataType.string",
        "DataType.double",
    ]


def test_baseline_is_logged_but_not_registered(registry: Registry, design: DesignMatrix) -> None:
    before = registry.versions()
    run_id = registry.log_model(
        fit_logistic(design, design.validation(TrainingConfig())),
        Origin(synthetic=True),
        run_name="logistic",
        params={},
        metrics={"auc": 0.7},
    )
    store = registry.store
    assert store.has_file(run_id, "model/model.json")
    assert store.metrics(run_id) == {"auc": 0.7}
    assert registry.versions() == before
