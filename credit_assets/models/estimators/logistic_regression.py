"""Logistic regression on quantile bins and quantile scores: a strong simple model of the same features, and the
baseline that every candidate is compared with."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pandas import DataFrame

from credit_assets.features.training_set import hash_share
from credit_assets.models.design_matrix import DesignMatrix, Validation, encode
from credit_assets.models.encodings import Encoding, encodings_as_json, encodings_from_json, texts_learned
from credit_assets.models.model import (
    MODEL_FILE,
    Estimator,
    Fitted,
    Task,
    held_out_of_test,
    levels,
    predictions_by_folds,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

MAX_ROWS = 40_000
"""The maximum number of rows that the baseline is fitted on: coefficients are stable by then, and a row takes 8 KB."""

CHOOSING_ROWS = 10_000
"""The maximum number of rows that a penalty is fitted, and evaluated, on: the best penalty hardly depends on it."""

BINS = 10
ROWS_IN_A_BIN = 100
"""The bins of a number, or fewer if a bin would have fewer training rows than ROWS_IN_A_BIN."""

RARE_ROWS = 20
"""A category with fewer training rows shares one column with all rare ones."""

BLOCK = 2048
"""Rows converted to columns at a time."""

STRENGTHS = tuple(1e-4 * 10 ** (step / 2) for step in range(9))
"""Candidate inverse strengths of the L2 penalty, the strongest penalty first."""

BIN_WEIGHTS = (1.0, 0.3)
"""Candidate scales of the bins' columns relative to the scores': with a small scale, effects are nearly linear."""


@dataclass(frozen=True)
class Column:
    """How a feature becomes columns of the regression.

    A number falls into the bin `searchsorted(edges, value)`, where each edge is the largest value of its bin, and has a
    quantile score, interpolated between `knots` and constant outside them, with mean 0 and variance 1. A category (a
    feature without edges and knots) has the bin `groups[code]`. A missing value has the last bin and no score.
    """

    edges: np.ndarray
    knots: np.ndarray
    scores: np.ndarray
    groups: np.ndarray
    bins: int

    @classmethod
    def of_number(cls, values: np.ndarray, bins: int) -> Column:
        """From the training values (rows,) of a number, nan if missing."""
        from scipy.stats import norm

        known = np.sort(values[~np.isnan(values)]).astype(np.float64)
        groups = np.empty(0, dtype=np.int64)
        if not len(known) or known[0] == known[-1]:
            return cls(np.empty(0), np.empty(0), np.empty(0), groups, bins=2)
        levels = np.concatenate([[0.02], np.arange(1, bins) / bins, [0.98]])
        knots = np.unique(known[np.minimum((levels * len(known)).astype(np.int64), len(known) - 1)])
        # The largest value is in the last bin, which needs no edge.
        edges = knots[knots < known[-1]]
        if not len(edges):
            edges = known[np.searchsorted(known, known[-1]) - 1 :][:1]
        if len(knots) == 1:
            knots = np.unique(known[[0, -1]])
        middle = (np.searchsorted(known, knots) + np.searchsorted(known, knots, side="right")) / 2 / len(known)
        scores = norm.ppf(middle)
        line = np.interp(known, knots, scores)
        return cls(edges, knots, (scores - line.mean()) / line.std(), groups, bins=len(edges) + 2)

    @classmethod
    def of_category(cls, codes: np.ndarray, categories: int) -> Column:
        """From the training codes (rows,) of a category, nan if missing."""
        rows = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=categories)
        common = rows >= RARE_ROWS
        groups = np.where(common, np.cumsum(common) - 1, common.sum())
        nothing = np.empty(0)
        return cls(nothing, nothing, nothing, groups, bins=int(common.sum()) + 2)

    def bin_of(self, values: np.ndarray) -> np.ndarray:
        missing = np.isnan(values)
        if len(self.groups):
            found = self.groups[np.where(missing, 0, values).astype(np.int64)]
        else:
            found = np.searchsorted(self.edges, values)
        return np.where(missing, self.bins - 1, found)

    def score_of(self, values: np.ndarray) -> np.ndarray:
        if not len(self.knots):
            return np.zeros(len(values))
        return np.where(np.isnan(values), 0.0, np.interp(values, self.knots, self.scores))

    def as_json(self) -> dict[str, Any]:
        return {name: np.asarray(value).tolist() for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Column:
        arrays = {name: np.asarray(facts[name], dtype=np.float64) for name in ("edges", "knots", "scores")}
        return cls(**arrays, groups=np.asarray(facts["groups"], dtype=np.int64), bins=int(facts["bins"]))


@dataclass(frozen=True)
class LogisticModel:
    """Logistic regression on the columns of each feature; `means` (columns,) are those of the training rows.

    Its probabilities need no calibration. `categories` and `encodings` are as in XGBoostModel.
    """

    features: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    encodings: dict[str, Encoding]
    columns: tuple[Column, ...]
    bin_weight: float
    regression: LogisticRegression
    means: np.ndarray

    @property
    def learned_texts(self) -> Mapping[str, Collection[str]]:
        return texts_learned(self.categories, self.encodings)

    def pd(self, frame: DataFrame) -> np.ndarray:
        return self.regression.predict_proba(self._columns_of(frame))[:, 1]

    def contributions(self, frame: DataFrame) -> np.ndarray:
        """Coefficient times distance from the mean, summed over a feature's columns: the Shapley values of a linear
        model under independent features (Lundberg and Lee 2017)."""
        matrix, weights = self._columns_of(frame), self.regression.coef_[0]
        features = len(self.features)
        # Each row has one bin for each feature, then the scores of the numbers.
        width = features + len(_scored(self.columns))
        terms = (matrix.data * weights[matrix.indices]).reshape(len(frame), width)
        values = np.zeros((len(frame), features + 1))
        values[:, :features] = terms[:, :features]
        values[:, _scored(self.columns)] += terms[:, features:]
        average = np.zeros(features)
        np.add.at(average, _feature_of_column(self.columns), weights * self.means)
        values[:, :features] -= average
        values[:, -1] = self.regression.intercept_[0] + average.sum()
        return values

    def log_odds_of(self, design: DesignMatrix, mask: np.ndarray) -> np.ndarray:
        """Log-odds of default of the rows in the mask, (rows,)."""
        values = design.held_out(np.flatnonzero(mask), self.encodings)
        return self.regression.decision_function(_matrix(self.columns, values, self.bin_weight))

    def _columns_of(self, frame: DataFrame) -> csr_matrix:
        values = encode(frame, self.features, self.categories, self.encodings)
        return _matrix(self.columns, values, self.bin_weight)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        facts = {
            "kind": KIND,
            "features": self.features,
            **encodings_as_json(self.categories, self.encodings),
            "columns": [column.as_json() for column in self.columns],
            "bin_weight": self.bin_weight,
            "means": self.means.tolist(),
            "inverse_penalty": float(self.regression.C),
            "weights": self.regression.coef_[0].tolist(),
            "intercept": float(self.regression.intercept_[0]),
        }
        (folder / MODEL_FILE).write_text(json.dumps(facts, indent=1))

    @classmethod
    def load(cls, folder: Path) -> LogisticModel:
        facts = json.loads((folder / MODEL_FILE).read_text())
        regression = _regression(facts["inverse_penalty"])
        regression.coef_, regression.intercept_ = np.array([facts["weights"]]), np.array([facts["intercept"]])
        regression.classes_ = np.array([0, 1])
        return cls(
            features=tuple(facts["features"]),
            **encodings_from_json(facts),
            columns=tuple(map(Column.from_json, facts["columns"])),
            bin_weight=facts["bin_weight"],
            regression=regression,
            means=np.asarray(facts["means"]),
        )


def fit_logistic(design: DesignMatrix, validation: Validation) -> LogisticModel:
    """Fit the model on the training part, with the penalty of the lowest mean log loss on its folds.

    Two values are chosen: the strength of the L2 penalty, and how much heavier it is on the bins than on the quantile
    scores. The search starts at the strongest penalty and ends when the loss rises.
    """
    from threadpoolctl import threadpool_limits

    # One thread: BLAS's order of summation, and with it the last bits, depends on the number of threads.
    with threadpool_limits(limits=1):
        bin_weight, strength = _choose_penalty(design, validation)
        return _fitted_on(design, design.training, bin_weight, strength)


def _fitted_on(design: DesignMatrix, learned: np.ndarray, bin_weight: float, strength: float) -> LogisticModel:
    """The model of the rows in the mask, or of a sample of them if there are more than MAX_ROWS."""
    rows = _some(design, learned, MAX_ROWS)
    values, encodings = design.learned(rows)
    columns = _columns(design, values)
    matrix, regression = _matrix(columns, values, bin_weight), _regression(strength)
    regression.fit(matrix, design.target[rows])
    means = np.asarray(matrix.mean(axis=0)).ravel()
    return LogisticModel(design.features, design.native, encodings, columns, bin_weight, regression, means)


def _fit(task: Task) -> Fitted:
    from scipy.special import expit
    from sklearn.metrics import roc_auc_score
    from threadpoolctl import threadpool_limits

    design, validation, config = task.design, task.validation, task.config
    pairs, level = validation.pairs, levels(design, validation)
    model = fit_logistic(design, validation)
    penalty = {"inverse_penalty": float(model.regression.C), "bin_weight": model.bin_weight}
    predicted, pds, aucs, losses = [], [], [], []
    with threadpool_limits(limits=1):
        for number, ((learned, held_out), tested) in enumerate(
            zip(pairs, held_out_of_test(design, config, len(pairs)), strict=True)
        ):
            of_fold = _fitted_on(design, learned, model.bin_weight, model.regression.C)
            log_odds = [of_fold.log_odds_of(design, mask) + level[number] for mask in (held_out, tested)]
            predicted.append((held_out, tested))
            pds.append([expit(each) for each in log_odds])
            aucs.append(roc_auc_score(design.target[held_out], log_odds[0]))
            losses.append(_log_loss(log_odds[0], design.target[held_out]))
            task.progress(f"fold {number + 1} of {len(pairs)}: log loss {losses[-1]:.5f}")
    return Fitted(
        model,
        predictions_by_folds(design, predicted, pds),
        params=penalty,
        metrics={"tuning_auc": float(np.mean(aucs)), "tuning_log_loss": float(np.mean(losses))},
    )


def _choose_penalty(design: DesignMatrix, validation: Validation) -> tuple[float, float]:
    """(bin weight, inverse strength) with the lowest mean held-out log loss over the folds."""
    folds = []
    for learned, held_out in validation.pairs:
        rows, evaluated = _some(design, learned, CHOOSING_ROWS), _some(design, held_out, CHOOSING_ROWS)
        values, encodings = design.learned(rows)
        columns = _columns(design, values)
        folds.append(
            (
                (_matrix(columns, values, 1.0), design.target[rows]),
                (_matrix(columns, design.held_out(evaluated, encodings), 1.0), design.target[evaluated]),
            )
        )
    best, best_loss = (BIN_WEIGHTS[0], STRENGTHS[0]), np.inf
    for bin_weight in BIN_WEIGHTS:
        for matrix, _ in (part for fold in folds for part in fold):
            # One entry per row for each feature's bin, then the scores.
            matrix.data.reshape(matrix.shape[0], -1)[:, : len(design.features)] = bin_weight
        regressions = [_regression(STRENGTHS[0]) for _ in folds]
        before = np.inf
        for strength in STRENGTHS:
            losses = []
            for regression, (learned_from, (held_out_matrix, outcomes)) in zip(regressions, folds, strict=True):
                regression.C = strength
                regression.fit(*learned_from)
                losses.append(_log_loss(regression.decision_function(held_out_matrix), outcomes))
            loss = float(np.mean(losses))
            if loss < best_loss:
                best, best_loss = (bin_weight, strength), loss
            if loss > before:
                break
            before = loss
    return best


def _log_loss(log_odds: np.ndarray, target: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, log_odds) - target * log_odds))


def _regression(strength: float) -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=500, tol=3e-4, warm_start=True)


def _some(design: DesignMatrix, mask: np.ndarray, most: int) -> np.ndarray:
    """Positions of the rows in the mask, at most `most` of them, selected by a hash of the entity key."""
    rows = np.flatnonzero(mask)
    if len(rows) > most:
        rows = np.sort(rows[np.argsort(hash_share(design.keys[rows], "baseline"), kind="stable")[:most]])
    return rows


def _columns(design: DesignMatrix, values: np.ndarray) -> tuple[Column, ...]:
    bins = int(np.clip(len(values) // ROWS_IN_A_BIN, 4, BINS))
    return tuple(
        Column.of_category(values[:, position], len(design.native[feature]))
        if feature in design.native
        else Column.of_number(values[:, position], bins)
        for position, feature in enumerate(design.features)
    )


def _matrix(columns: Sequence[Column], values: np.ndarray, bin_weight: float) -> csr_matrix:
    """(rows, bins of all features + scores of numbers): for each feature, `bin_weight` in one bin, and its score."""
    from scipy.sparse import csr_matrix

    rows, features = values.shape
    scored = _scored(columns)
    width = features + len(scored)
    starts = np.concatenate([[0], np.cumsum([column.bins for column in columns])]).astype(np.int32)
    where = np.empty((rows, width), dtype=np.int32)
    where[:, features:] = starts[-1] + np.arange(len(scored), dtype=np.int32)
    data = np.full((rows, width), bin_weight)
    # In blocks that fit the processor's cache: whole columns of a wide matrix take three times as long.
    for begin in range(0, rows, BLOCK):
        block = slice(begin, begin + BLOCK)
        for position, column in enumerate(columns):
            where[block, position] = starts[position] + column.bin_of(values[block, position])
        for place, position in enumerate(scored, start=features):
            data[block, place] = columns[position].score_of(values[block, position])
    ends = np.arange(0, rows * width + 1, width)
    return csr_matrix((data.ravel(), where.ravel(), ends), shape=(rows, int(starts[-1]) + len(scored)))


def _scored(columns: Sequence[Column]) -> list[int]:
    """The positions of the features with a score."""
    return [position for position, column in enumerate(columns) if len(column.knots)]


def _feature_of_column(columns: Sequence[Column]) -> np.ndarray:
    """For each column of the matrix, the position of its feature."""
    bins = np.repeat(np.arange(len(columns)), [column.bins for column in columns])
    return np.concatenate([bins, np.array(_scored(columns), dtype=bins.dtype)])


KIND = "logistic_regression"
ESTIMATOR = Estimator(_fit, LogisticModel.load, frozenset({"scikitlearn"}))
