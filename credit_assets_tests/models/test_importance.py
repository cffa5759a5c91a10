"""The importance of each feature for a model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from credit_assets.models import importance as module
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators.xgboost import XGBoostModel, fit_xgboost
from credit_assets.models.folds import Folds
from credit_assets.models.importance import importance, leading
from credit_assets.settings.training import TrainingConfig


@pytest.fixture(scope="module")
def model(design: DesignMatrix) -> XGBoostModel:
    config = TrainingConfig(threads=1)
    folds = Folds(design, design.validation(config), config)
    return fit_xgboost(design, folds, {"max_depth": 3, "learning_rate": 0.1}, 20, config)[0]


def test_importance_is_the_mean_absolute_contribution_largest_first(model, training_set):
    found = importance(model, training_set, "SK_ID_CURR")
    by_hand = np.abs(model.contributions(training_set)[:, :-1]).mean(axis=0)
    assert found.sort_index().to_numpy() == pytest.approx(pd.Series(by_hand, model.features).sort_index().to_numpy())
    assert found.is_monotonic_decreasing
    assert found.index[-1] == "noise"


def test_many_rows_are_explained_by_an_evenly_spaced_sample(model, training_set, monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_ROWS", 4)
    rows = training_set.sort_values("SK_ID_CURR").iloc[:10]
    spaced, shuffled = rows.iloc[[0, 3, 6, 9]], rows.sample(frac=1, random_state=1)
    found = [importance(model, frame, "SK_ID_CURR") for frame in (rows, spaced, shuffled)]
    pd.testing.assert_series_equal(found[0], found[1], check_exact=True)
    pd.testing.assert_series_equal(found[0], found[2], check_exact=True)


def test_leading_features_have_descriptions_and_shares_of_the_total():
    shares = pd.Series({"income": 3.0, "credit": 1.0, "noise": 0.0})
    table = leading(shares, {"income": "the income", "credit": "the credit", "noise": "nothing"}, 2)
    assert table.to_dict("list") == {
        "feature": ["income", "credit"],
        "words": ["the income", "the credit"],
        "share": [0.75, 0.25],
    }
