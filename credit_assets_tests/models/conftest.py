"""A small training set with signal, text, gaps and a test fold; and its design matrix."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.settings.training import TrainingConfig

FEATURES = ["income", "credit", "employer", "overdue", "noise"]


def make_training_set(rows: int = 1500, seed: int = 8) -> pd.DataFrame:
    """Applicants whose default depends on credit over income, days overdue (with gaps) and employer (text)."""
    generator = np.random.default_rng(seed)
    income, credit = generator.lognormal(11, 0.5, rows), generator.lognormal(12, 0.6, rows)
    overdue = np.where(generator.random(rows) < 0.4, np.nan, generator.poisson(2, rows).astype(float))
    employer = generator.choice(["bank", "farm", "school", None], rows, p=[0.4, 0.3, 0.2, 0.1])
    log_odds = -3.4 + np.log(credit / income) + 0.4 * np.nan_to_num(overdue) + (employer == "farm")
    return pd.DataFrame(
        {
            "SK_ID_CURR": 100_000 + np.arange(rows),
            "batch": "2026-01",
            "income": income,
            "credit": credit,
            "employer": employer,
            "overdue": overdue,
            "noise": generator.normal(size=rows),
            "target": (generator.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(np.int8),
            "fold": np.array(["train", "train", "train", "valid", "test"])[np.arange(rows) % 5],
        }
    )


@pytest.fixture(scope="session")
def training_set() -> pd.DataFrame:
    return make_training_set()


@pytest.fixture(scope="session")
def design(training_set: pd.DataFrame) -> DesignMatrix:
    return DesignMatrix.of(training_set, FEATURES, "SK_ID_CURR")


@pytest.fixture
def config() -> TrainingConfig:
    return TrainingConfig(trials=4, early_stopping_rounds=10, cv_folds=3, threads=1)
