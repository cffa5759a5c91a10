"""The search against untuned libraries on the same features and rows: never significantly worse.

Small problems and a dozen trials; `benchmarks/search.py` compares at full size and with the default budget.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators.xgboost import fit_xgboost
from credit_assets.models.folds import Folds
from credit_assets.models.tuning import tune
from credit_assets.settings.training import TrainingConfig
from credit_assets.statistics.comparison import compare
from credit_assets_tests.models.problems import KEY, PROBLEMS, UNTUNED

CONFIG = TrainingConfig(trials=10, threads=1, cv_folds=3)


@pytest.mark.parametrize(
    ("name", "rows"),
    [("few rows", 800), ("categorical", 2000), ("deep interactions", 2500), ("gaps", 1500), ("imbalanced", 8000)],
)
def test_search_is_not_significantly_worse_than_an_untuned_library(name: str, rows: int, tmp_path: Path) -> None:
    frame = PROBLEMS[name].training_set(seed=11, rows=rows, test_rows=5000)
    features = [column for column in frame.columns if column not in (KEY, "batch", "target", "fold")]
    design = DesignMatrix.of(frame, features, KEY)
    folds = Folds(design, design.validation(CONFIG), CONFIG)
    found = tune(folds, CONFIG, tmp_path, "1", progress=lambda line: None)
    model, _ = fit_xgboost(design, folds, found.params, found.rounds, CONFIG)
    outcomes = design.target[~design.training]
    pds = model.pd(frame[frame["fold"] == "test"])
    for library, fitted in UNTUNED.items():
        assert compare(outcomes, pds, fitted(design)).auc_difference.high >= 0, library
