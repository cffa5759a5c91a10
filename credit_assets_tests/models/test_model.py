"""Kinds of model: found by the name of their file, all with the same abilities, loaded whatever their kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from sklearn.metrics import roc_auc_score

from credit_assets.features.training_set import TEST
from credit_assets.models import estimators
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.model import Fitted, Model, Task, UnknownKind, estimator, kinds, read_model
from credit_assets.models.registered import load_model
from credit_assets.registry.errors import RegistryError, VersionDamaged
from credit_assets.registry.memory import Memory
from credit_assets.registry.version import Origin
from credit_assets.settings.training import TrainingConfig
from credit_assets_tests.models.conftest import FEATURES

# The default rate of the training part for everybody: the smallest possible model.
TOY = """
import json
from dataclasses import dataclass

import numpy as np

from credit_assets.models.model import MODEL_FILE, Estimator, Fitted, held_out_of_test, predictions_by_folds


@dataclass(frozen=True)
class Constant:
    features: tuple
    rate: float
    learned_texts = {}

    def pd(self, frame):
        return np.full(len(frame), self.rate)

    def contributions(self, frame):
        values = np.zeros((len(frame), len(self.features) + 1))
        values[:, -1] = np.log(self.rate / (1 - self.rate))
        return values

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MODEL_FILE).write_text(json.dumps({"kind": "toy", "features": self.features, "rate": self.rate}))


def load(folder):
    facts = json.loads((folder / MODEL_FILE).read_text())
    return Constant(tuple(facts["features"]), facts["rate"])


def fit(task):
    design, pairs = task.design, task.validation.pairs
    model = Constant(design.features, float(design.target[design.training].mean()))
    rows = list(zip([held_out for _, held_out in pairs], held_out_of_test(design, task.config, len(pairs))))
    pds = [[np.full(mask.sum(), design.target[learned].mean()) for mask in masks]
           for (learned, _), masks in zip(pairs, rows)]
    return Fitted(model, predictions_by_folds(design, rows, pds), params={}, metrics={})


ESTIMATOR = Estimator(fit, load, frozenset())
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An additional kind of model: one file."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(estimators, "__path__", [*estimators.__path__, str(tmp_path)])
    return "toy"


def fitted(kind: str, design: DesignMatrix, tmp_path: Path) -> Fitted:
    config = TrainingConfig(model=kind, trials=1, learning_rate=0.2, threads=1, cv_folds=3)
    return estimator(kind).fit(
        Task(design, design.validation(config), config, tmp_path / "studies", "1", lambda line: None)
    )


def test_kinds_are_the_files_of_the_folder(toy: str) -> None:
    assert kinds() == ["logistic_regression", "toy", "xgboost"]


def test_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownKind, match=r"training\.model: forest is not one of logistic_regression, xgboost"):
        estimator("forest")


@pytest.mark.parametrize("kind", ["xgboost", "logistic_regression", "toy"])
def test_every_kind_predicts_explains_and_is_loaded_unchanged(
    kind: str, toy: str, design: DesignMatrix, training_set: pd.DataFrame, tmp_path: Path
) -> None:
    found = fitted(kind, design, tmp_path)
    model, test = found.model, training_set[training_set["fold"] == TEST]
    contributions = model.contributions(test)
    assert contributions.shape == (len(test), len(FEATURES) + 1)
    assert contributions.sum(axis=1) == pytest.approx(logit(model.pd(test)), abs=1e-4)
    assert contributions[:0].shape == model.contributions(test[:0]).shape
    assert sorted(found.by_folds["key"]) == sorted(design.keys)
    model.save(tmp_path / "model")
    again: Model = read_model(tmp_path / "model")
    assert type(again) is type(model)
    assert (again.features, dict(again.learned_texts)) == (model.features, dict(model.learned_texts))
    np.testing.assert_array_equal(again.pd(test), model.pd(test))
    np.testing.assert_array_equal(again.contributions(test), contributions)


def test_version_of_a_removed_kind_is_named_with_advice(
    toy: str, design: DesignMatrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Memory().registry("book")
    model = fitted("toy", design, tmp_path).model
    version = registry.register(model, Origin(synthetic=True), run_name="toy", params={}, metrics={})
    assert load_model(registry, version).features == model.features
    monkeypatch.undo()
    with pytest.raises(RegistryError, match=r"Version 1 of book is of the kind toy, .* Restore toy\.py in") as error:
        load_model(registry, version)
    # Its files are complete, so nothing may silently replace it.
    assert not isinstance(error.value, VersionDamaged)


@pytest.mark.parametrize("cv", ["applicants", "batches"])
def test_folds_of_the_logistic_regression_evaluate_unseen_rows(
    cv: str, training_set: pd.DataFrame, tmp_path: Path
) -> None:
    batch = np.array(list("abcde"))[np.arange(len(training_set)) % 5]
    frame = training_set.assign(batch=batch, fold=np.where(batch == "e", TEST, "train"))
    design = DesignMatrix.of(frame, FEATURES, "SK_ID_CURR")
    config = TrainingConfig.model_validate({"model": "logistic_regression", "cv": cv, "cv_folds": 2})
    found = estimator("logistic_regression").fit(
        Task(design, design.validation(config), config, tmp_path, "1", lambda line: None)
    )
    held_out = found.by_folds[found.by_folds["fold"] != TEST]
    auc = roc_auc_score(held_out["target"], held_out["pd"])
    assert found.metrics["tuning_auc"] == pytest.approx(auc, abs=0.02)
    assert 0.6 < auc < roc_auc_score(frame["target"], found.model.pd(frame))
    assert held_out["pd"].mean() == pytest.approx(held_out["target"].mean(), abs=0.03)


def test_contributions_of_the_logistic_regression_equal_those_of_shap(
    design: DesignMatrix, training_set: pd.DataFrame, tmp_path: Path
) -> None:
    """By brute force: the contribution of a feature is the drop in the PD when each row gets its value, averaged over
    rows.
    """
    model = fitted("logistic_regression", design, tmp_path).model
    learned, some = training_set[training_set["fold"] != TEST], training_set.head(5)
    contributions = model.contributions(some)
    for position, feature in enumerate(model.features):
        for row in range(len(some)):
            with_all_values = some.iloc[[row] * len(learned)].assign(**{feature: learned[feature].to_numpy()})
            lost = logit(model.pd(some.iloc[[row]]))[0] - logit(model.pd(with_all_values)).mean()
            assert contributions[row, position] == pytest.approx(lost, abs=1e-6)
