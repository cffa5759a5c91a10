"""Generated training sets of different kinds, each with a large test fold, and the libraries with which a search on
them is compared.

Nothing is asserted here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

from credit_assets.models.design_matrix import DesignMatrix, feature_types

KEY = "applicant"


@dataclass(frozen=True)
class Drawn:
    """Feature columns, and the log-odds of default up to a constant."""

    columns: dict[str, np.ndarray]
    log_odds: np.ndarray


Draw = Callable[[np.random.Generator, int], Drawn]


@dataclass(frozen=True)
class Problem:
    """How to draw applicants, the usual number of training rows, and the default rate."""

    draw: Draw
    rows: int
    rate: float = 0.15

    def training_set(self, seed: int, rows: int | None = None, test_rows: int = 20_000) -> pd.DataFrame:
        """Applicants with features, `target` and `fold`: this many training and test rows."""
        rows = rows or self.rows
        generator = np.random.default_rng([seed, rows])
        drawn = self.draw(generator, rows + test_rows)
        level = brentq(lambda constant: float(expit(drawn.log_odds + constant).mean()) - self.rate, -40, 40)
        bad = generator.random(rows + test_rows) < expit(drawn.log_odds + level)
        fold = np.where(generator.random(rows + test_rows) < 0.2, "valid", "train").astype(object)
        fold[rows:] = "test"
        frame = pd.DataFrame(drawn.columns).astype(
            {name: np.float32 for name, v in drawn.columns.items() if v.dtype != object}
        )
        return frame.assign(
            **{KEY: np.arange(rows + test_rows), "batch": "2026-01", "target": bad.astype(np.int8), "fold": fold}
        )


def numbered(values: np.ndarray, prefix: str = "x") -> dict[str, np.ndarray]:
    return {f"{prefix}{column}": values[:, column] for column in range(values.shape[1])}


def few_rows(generator: np.random.Generator, rows: int) -> Drawn:
    """A young book: twenty skewed features with gaps, half of them noise."""
    x = generator.normal(size=(rows, 20))
    log_odds = 0.8 * x[:, 0] - 0.6 * np.abs(x[:, 1]) + 0.5 * x[:, 2] * (x[:, 3] > 0) + x[:, 4:10] @ np.full(6, 0.25)
    x[generator.random(x.shape) < 0.1] = np.nan
    return Drawn(numbered(np.exp(x)), log_odds)


def many_rows(generator: np.random.Generator, rows: int) -> Drawn:
    """Enough rows to learn small steps and pairwise interactions."""
    x = generator.normal(size=(rows, 20))
    fine = np.sin(6 * x[:, 0]) + 0.8 * np.sin(9 * x[:, 1])
    log_odds = fine + 0.5 * x[:, 2] * x[:, 3] + 0.4 * x[:, 4] * (x[:, 5] > 0.5) + x[:, 6:] @ np.full(14, 0.1)
    return Drawn(numbered(x), log_odds)


def few_and_strong(generator: np.random.Generator, rows: int) -> Drawn:
    x = generator.normal(size=(rows, 6))
    return Drawn(numbered(x), 1.6 * x[:, 0] + 1.2 * np.tanh(2 * x[:, 1]) - 0.8 * x[:, 2] ** 2)


def many_and_weak(generator: np.random.Generator, rows: int) -> Drawn:
    x = generator.normal(size=(rows, 120))
    return Drawn(numbered(x), x @ generator.normal(0, 0.12, 120))


def categorical(generator: np.random.Generator, rows: int) -> Drawn:
    """Text features with 3 to 300 categories, each with its own default rate, beside a few numbers."""
    columns: dict[str, np.ndarray] = {}
    x = generator.normal(size=(rows, 5))
    log_odds = x @ np.array([0.5, 0.3, 0.2, 0, 0])
    for name, words in (("product", 4), ("region", 30), ("employer", 300), ("colour", 60)):
        code = (words * generator.random(rows) ** 1.7).astype(int)
        effects = generator.normal(0, 0 if name == "colour" else 0.6, words)
        log_odds = log_odds + effects[code]
        columns[name] = np.array([f"{name} {word}" for word in range(words)], dtype=object)[code]
    return Drawn({**numbered(x), **columns}, log_odds)


def deep_interactions(generator: np.random.Generator, rows: int) -> Drawn:
    x = generator.normal(size=(rows, 12))
    cells = (x[:, :4] > 0) @ np.array([1, 2, 4, 8])
    effects = generator.normal(0, 1.3, 16)
    return Drawn(numbered(x), effects[cells] + 0.3 * x[:, 4] + 0.6 * (x[:, 5] > 1) * (x[:, 6] < 0) * x[:, 7])


def shallow_interactions(generator: np.random.Generator, rows: int) -> Drawn:
    x = generator.normal(size=(rows, 30))
    pairs = x[:, 0] * x[:, 1] + np.where(x[:, 2] > 0, x[:, 3], -x[:, 4])
    return Drawn(numbered(x), 0.5 * pairs + x[:, 5:15] @ np.full(10, 0.2))


def imbalanced(generator: np.random.Generator, rows: int) -> Drawn:
    x = generator.normal(size=(rows, 25))
    return Drawn(numbered(x), 0.8 * x[:, 0] + 0.6 * np.maximum(x[:, 1], 0) + 0.5 * x[:, 2] * x[:, 3] + 0.3 * x[:, 4])


def noisy(generator: np.random.Generator, rows: int) -> Drawn:
    x = generator.normal(size=(rows, 40))
    return Drawn(numbered(x), 0.2 * x[:, 0] + 0.15 * np.abs(x[:, 1]) + 0.15 * x[:, 2] * x[:, 3])


def gaps(generator: np.random.Generator, rows: int) -> Drawn:
    """Child tables that most applicants lack: heavy tails, values missing together, counts of few levels."""
    x = generator.normal(size=(rows, 60))
    known = (generator.random((rows, 6)) < np.linspace(0.2, 0.9, 6)).repeat(10, axis=1)
    log_odds = np.where(known, x, 0.3)[:, ::4] @ generator.normal(0, 0.35, 15)
    x[:, 1::3] = np.exp(2 * x[:, 1::3])
    x[:, 2::3] = generator.poisson(np.exp(np.clip(x[:, 2::3], -3, 3)))
    return Drawn(numbered(np.where(known, x, np.nan)), log_odds)


PROBLEMS = {
    "few rows": Problem(few_rows, 1_000, 0.25),
    "many rows": Problem(many_rows, 60_000),
    "few and strong": Problem(few_and_strong, 8_000),
    "many and weak": Problem(many_and_weak, 8_000),
    "categorical": Problem(categorical, 10_000),
    "deep interactions": Problem(deep_interactions, 10_000),
    "shallow interactions": Problem(shallow_interactions, 10_000),
    "imbalanced": Problem(imbalanced, 30_000, 0.005),
    "noisy": Problem(noisy, 5_000),
    "gaps": Problem(gaps, 6_000, 0.08),
}


def lightgbm_by_default(design: DesignMatrix) -> np.ndarray:
    """PDs of the test rows by LightGBM with its defaults, fitted on the training part of the same matrix."""
    import lightgbm

    learned, judged = _matrices(design)
    words = [position for position, feature in enumerate(design.features) if feature in design.native]
    model = lightgbm.LGBMClassifier(n_jobs=1, verbose=-1)
    model.fit(learned, design.target[design.training], categorical_feature=words)
    return np.asarray(model.predict_proba(judged), dtype=np.float64)[:, 1]


def xgboost_by_hand(design: DesignMatrix) -> np.ndarray:
    """PDs of the test rows by XGBoost with a learning rate of 0.03 and 400 trees of depth 4, fitted likewise."""
    import xgboost

    learned, judged = _matrices(design)
    model = xgboost.XGBClassifier(
        learning_rate=0.03,
        max_depth=4,
        n_estimators=400,
        n_jobs=1,
        enable_categorical=True,
        feature_types=feature_types(design.features, design.native),
    )
    model.fit(learned, design.target[design.training])
    return np.asarray(model.predict_proba(judged), dtype=np.float64)[:, 1]


def _matrices(design: DesignMatrix) -> tuple[np.ndarray, np.ndarray]:
    learned, encodings = design.learned(design.training)
    return learned, design.held_out(~design.training, encodings)


UNTUNED: dict[str, Callable[[DesignMatrix], np.ndarray]] = {
    "LightGBM": lightgbm_by_default,
    "XGBoost": xgboost_by_hand,
}
