"""The baseline: logistic regression on quantile bins and quantile scores, the best simple model of the same features.

What it is compared with, XGBoost, is in `estimators.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pandas import DataFrame

from credit_assets.features.training_set import hash_share
from credit_assets.models.design_matrix import DesignMatrix, encode
from credit_assets.models.encodings import Encoding, encodings_as_json, encodings_from_json
from credit_assets.settings.training import TrainingConfig

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

MAX_ROWS = 40_000
"""Rows that the baseline is fitted on at most: the coefficients are stable by then, and each row costs 8 KB."""

CHOOSING_ROWS = 10_000
"""Rows that a penalty is fitted on, and judged on, at most: the best one hardly depends on the number of rows."""

BINS = 10
ROWS_IN_A_BIN = 100
"""Numbers have so many bins, or fewer where a bin would have fewer training rows than ROWS_IN_A_BIN."""

RARE_ROWS = 20
"""A category with fewer training rows shares the column of all rare ones."""

BLOCK = 2048
"""Rows that are turned into columns at a time."""

STRENGTHS = tuple(1e-4 * 10 ** (step / 2) for step in range(9))
"""Inverse strengths of the L2 penalty that are tried, the strongest penalty first."""

BIN_WEIGHTS = (1.0, 0.3)
"""Scales of the bins' columns beside the scores' that are tried: with a small one, effects are close to linear."""


@dataclass(frozen=True)
class Column:
    """How one feature becomes columns of the regression.

    A number falls into the bin `searchsorted(edges, value)`, each edge the largest value of its bin; and has a
    quantile score, interpolated between `knots` and held constant outside them, of mean 0 and variance 1. A category
    (a feature without edges and knots) has the bin `groups[code]`. A missing value has the last bin and no score.
    """

    edges: np.ndarray
    knots: np.ndarray
    scores: np.ndarray
    groups: np.ndarray
    bins: int

    @classmethod
    def of_number(cls, values: np.ndarray, bins: int) -> Column:
        """From the training values (rows,) of a number, nan where missing."""
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
    def of_category(cls, codes: np.ndarray, words: int) -> Column:
        """From the training codes (rows,) of a category, nan where missing."""
        rows = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=words)
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
class LogisticBaseline:
    """Logistic regression on the columns of each feature; a frame may hold more than `features`."""

    features: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    encodings: dict[str, Encoding]
    columns: tuple[Column, ...]
    bin_weight: float
    regression: LogisticRegression

    def pd(self, frame: DataFrame) -> np.ndarray:
        """Probability of default, (rows,). Logistic regression is its own calibration."""
        values = encode(frame, self.features, self.categories, self.encodings)
        return self.regression.predict_proba(_matrix(self.columns, values, self.bin_weight))[:, 1]

    def save(self, folder: Path) -> None:
        """Write the model as `regression.skops` and `model.json`, formats that run no code when read."""
        import skops.io

        folder.mkdir(parents=True, exist_ok=True)
        skops.io.dump(self.regression, folder / "regression.skops")
        facts = {
            "features": self.features,
            **encodings_as_json(self.categories, self.encodings),
            "columns": [column.as_json() for column in self.columns],
            "bin_weight": self.bin_weight,
        }
        (folder / "model.json").write_text(json.dumps(facts, indent=1))

    @classmethod
    def load(cls, folder: Path) -> LogisticBaseline:
        """Read what `save` wrote."""
        import skops.io

        facts = json.loads((folder / "model.json").read_text())
        return cls(
            features=tuple(facts["features"]),
            **encodings_from_json(facts),
            columns=tuple(map(Column.from_json, facts["columns"])),
            bin_weight=facts["bin_weight"],
            regression=skops.io.load(folder / "regression.skops"),
        )


def fit_logistic(design: DesignMatrix, config: TrainingConfig) -> LogisticBaseline:
    """Fit the baseline on the training part, with the penalty of the least mean log loss on its folds.

    Two penalties are chosen: the strength of the L2 penalty, and how much heavier it is on the bins than on the
    quantile scores. From the strongest on, the search ends where the loss rises.
    """
    from threadpoolctl import threadpool_limits

    # One thread: the order in which BLAS adds up, and with it the last bits, depends on their number.
    with threadpool_limits(limits=1):
        bin_weight, strength = _choose_penalty(design, config)
        rows = _some(design, design.training, MAX_ROWS)
        values, encodings = design.learned(rows)
        columns = _columns(design, values)
        regression = _regression(strength)
        regression.fit(_matrix(columns, values, bin_weight), design.target[rows])
    return LogisticBaseline(design.features, design.native, encodings, columns, bin_weight, regression)


def _choose_penalty(design: DesignMatrix, config: TrainingConfig) -> tuple[float, float]:
    """(bin weight, inverse strength) of the least mean held-out log loss over the folds."""
    folds = []
    for learned, held_out in design.validation(config).pairs:
        rows, judged = _some(design, learned, CHOOSING_ROWS), _some(design, held_out, CHOOSING_ROWS)
        values, encodings = design.learned(rows)
        columns = _columns(design, values)
        folds.append(
            (
                (_matrix(columns, values, 1.0), design.target[rows]),
                (_matrix(columns, design.judged(judged, encodings), 1.0), design.target[judged]),
            )
        )
    best, best_loss = (BIN_WEIGHTS[0], STRENGTHS[0]), np.inf
    for bin_weight in BIN_WEIGHTS:
        for matrix, _ in (part for fold in folds for part in fold):
            # One entry a row for each feature's bin, then the scores.
            matrix.data.reshape(matrix.shape[0], -1)[:, : len(design.features)] = bin_weight
        regressions = [_regression(STRENGTHS[0]) for _ in folds]
        before = np.inf
        for strength in STRENGTHS:
            losses = []
            for regression, (learned_from, (judged_on, outcomes)) in zip(regressions, folds, strict=True):
                regression.C = strength
                regression.fit(*learned_from)
                losses.append(_log_loss(regression.decision_function(judged_on), outcomes))
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
    """Positions of the rows in the mask, at most so many of them, by hash of the entity key."""
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
    """(rows, bins of all features + scores of the numbers): for each feature one bin of `bin_weight`, and its score."""
    from scipy.sparse import csr_matrix

    rows, features = values.shape
    scored = [position for position, column in enumerate(columns) if len(column.knots)]
    width = features + len(scored)
    starts = np.concatenate([[0], np.cumsum([column.bins for column in columns])]).astype(np.int32)
    where = np.empty((rows, width), dtype=np.int32)
    where[:, features:] = starts[-1] + np.arange(len(scored), dtype=np.int32)
    data = np.full((rows, width), bin_weight)
    # In blocks that stay in the processor's cache: whole columns of a wide matrix take three times as long.
    for begin in range(0, rows, BLOCK):
        block = slice(begin, begin + BLOCK)
        for position, column in enumerate(columns):
            where[block, position] = starts[position] + column.bin_of(values[block, position])
        for place, position in enumerate(scored, start=features):
            data[block, place] = columns[position].score_of(values[block, position])
    ends = np.arange(0, rows * width + 1, width)
    return csr_matrix((data.ravel(), where.ravel(), ends), shape=(rows, int(starts[-1]) + len(scored)))
