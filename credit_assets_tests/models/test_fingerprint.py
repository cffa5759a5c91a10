"""The fingerprint of a version: equal for the same model and provenance, different for any other."""

from __future__ import annotations

import dataclasses

import pytest

from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators.xgboost import XGBoostModel, fit_xgboost
from credit_assets.models.fingerprint import fingerprint
from credit_assets.models.folds import Folds
from credit_assets.settings.training import TrainingConfig

FACTS: dict[str, object] = {
    "cut_off": "0.1",
    "learned_from": "17",
    "sql": {"features": "a1"},
    "libraries": {"numpy": "2"},
}


def trained(design: DesignMatrix, **settings: int) -> XGBoostModel:
    config = TrainingConfig(**{"threads": 1, **settings})
    folds = Folds(design, design.validation(config), config)
    return fit_xgboost(design, folds, {"max_depth": 2, "subsample": 0.5}, 10, config)[0]


@pytest.fixture(scope="module")
def model(design: DesignMatrix) -> XGBoostModel:
    return trained(design)


def test_two_trainings_on_the_same_rows_have_one_fingerprint(model: XGBoostModel, design: DesignMatrix) -> None:
    assert fingerprint(trained(design), dict(reversed(FACTS.items()))) == fingerprint(model, FACTS)


def test_changed_setting_gives_another_fingerprint(model: XGBoostModel, design: DesignMatrix) -> None:
    assert fingerprint(trained(design, seed=9), FACTS) != fingerprint(model, FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_changed_provenance_gives_another_fingerprint(model: XGBoostModel, name: str) -> None:
    assert fingerprint(model, FACTS | {name: "another"}) != fingerprint(model, FACTS)


def test_changed_calibration_or_tree_gives_another_fingerprint(model: XGBoostModel) -> None:
    marks = {
        fingerprint(each, FACTS)
        for each in (
            model,
            dataclasses.replace(model, booster=model.booster[:9]),
            dataclasses.replace(model, calibration=dataclasses.replace(model.calibration, slope=0.5)),
        )
    }
    assert len(marks) == 3
