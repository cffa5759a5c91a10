"""What a model sees of a frame: its features in order, as numbers, text as codes of the categories learned.

The same code makes the matrix in training and in scoring, so that the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from credit_assets.features.training_set import TEST, TRAIN, VALID, TrainingSetError, hash_share
from credit_assets.models.config import TrainingConfig

if TYPE_CHECKING:
    import xgboost

MAX_BIN = 128
"""Histogram bins a feature is cut into: as good as 256 on credit data, and faster."""


@dataclass(frozen=True)
class DesignMatrix:
    """The training set as arrays, sorted by batch and entity key, so that no result depends on row order.

    `values` is (rows, features) float32, nan where missing, a category's code where `categories` names
    the feature; `target` 0/1; `fold` one of train, valid, test.
    """

    features: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    values: np.ndarray
    target: np.ndarray
    fold: np.ndarray
    keys: np.ndarray
    batch: np.ndarray

    @classmethod
    def of(cls, training_set: pd.DataFrame, features: Sequence[str], entity_key: str) -> DesignMatrix:
        """From a frame with the features, `entity_key`, `batch`, `target` and `fold`.

        Text features get the categories seen in train and valid, never those of the test.
        """
        batch = training_set["batch"].astype(str).to_numpy()
        fold = training_set["fold"].astype(str).to_numpy()
        order = np.lexsort((training_set[entity_key].to_numpy(), batch))
        categories = {
            feature: tuple(sorted(map(str, training_set.loc[fold != TEST, feature].dropna().unique())))
            for feature in features
            if is_text(training_set[feature])
        }
        return cls(
            features=tuple(features),
            categories=categories,
            values=encode(training_set, features, categories, order),
            target=training_set["target"].to_numpy(dtype=np.int8)[order],
            fold=fold[order],
            keys=training_set[entity_key].to_numpy()[order],
            batch=batch[order],
        )

    @property
    def training(self) -> np.ndarray:
        """Mask of the rows that may be learned from: train and valid."""
        return self.fold != TEST

    def validation_pairs(self, config: TrainingConfig) -> list[tuple[np.ndarray, np.ndarray]]:
        """Masks of (rows to learn from, rows held out), within the training part.

        One pair, train and valid, or `cv_folds` pairs by hash of the entity key where the training
        part has fewer than `cv_below_rows` rows: few defaults make one fold's AUC too noisy to choose by.
        Raises TrainingSetError where a fold lacks goods or bads.
        """
        if self.training.sum() >= config.cv_below_rows:
            pairs = [(self.fold == TRAIN, self.fold == VALID)]
        else:
            folds = np.floor(hash_share(self.keys, f"{config.seed}:cv") * config.cv_folds)
            held_out = [self.training & (folds == k) for k in range(config.cv_folds)]
            pairs = [(self.training & ~rows, rows) for rows in held_out]
        for number, pair in enumerate(pairs, start=1):
            for rows, role in zip(pair, ("learned from", "held out"), strict=True):
                bads = int(self.target[rows].sum())
                if not 0 < bads < rows.sum():
                    raise TrainingSetError(
                        f"Fold {number} of {len(pairs)} has {bads} defaults among {int(rows.sum())} rows "
                        f"{role}; it needs goods and bads. Deliver more outcomes, or lower training.cv_folds."
                    )
        return pairs

    def binned(self, rows: np.ndarray, threads: int) -> xgboost.QuantileDMatrix:
        """The rows cut into bins, to be learned from."""
        import xgboost

        return xgboost.QuantileDMatrix(
            self.values[rows], label=self.target[rows], max_bin=MAX_BIN, **self._typed(threads)
        )

    def plain(self, rows: np.ndarray, threads: int) -> xgboost.DMatrix:
        """The rows as they are, to be predicted: six times faster than from bins."""
        import xgboost

        return xgboost.DMatrix(self.values[rows], label=self.target[rows], **self._typed(threads))

    def _typed(self, threads: int) -> dict[str, Any]:
        return {
            "feature_names": list(self.features),
            "feature_types": feature_types(self.features, self.categories),
            "enable_categorical": True,
            "nthread": threads or None,
        }


def encode(
    frame: pd.DataFrame,
    features: Sequence[str],
    categories: Mapping[str, Sequence[str]],
    order: np.ndarray | None = None,
) -> np.ndarray:
    """(rows, features) float32 of the frame's rows in `order`, nan where missing.

    A category that was not there in training, and an infinite number, count as missing. Raises
    ValueError naming a feature that is absent or is not a number; no value is ever shown.
    """
    if absent := [feature for feature in features if feature not in frame.columns]:
        raise ValueError(f"{len(absent)} of {len(features)} features are absent: {', '.join(absent[:10])}")
    values = np.empty((len(frame), len(features)), dtype=np.float32)
    for position, feature in enumerate(features):
        column = frame[feature]
        if feature in categories:
            codes = pd.Categorical(column, categories=list(categories[feature])).codes.astype(np.float32)
            codes[codes < 0] = np.nan
        else:
            codes = _numbers(column, feature)
        values[:, position] = codes if order is None else codes[order]
    return values


def feature_types(features: Sequence[str], categories: Mapping[str, Sequence[str]]) -> list[str]:
    """XGBoost's types: c for a category, q for a quantity."""
    return ["c" if feature in categories else "q" for feature in features]


def is_text(column: pd.Series) -> bool:
    """Whether a column holds words (or, as an object column of nulls, was meant to)."""
    return pd.api.types.infer_dtype(column, skipna=True) in {"string", "categorical", "empty", "mixed"}


def _numbers(column: pd.Series, feature: str) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            numbers = column.to_numpy(dtype=np.float32, na_value=np.nan)
    except (TypeError, ValueError):
        # Without its cause: that one quotes the value, which may be personal.
        raise ValueError(f"feature {feature} is not a number in every row (it is {column.dtype})") from None
    if np.isinf(numbers).any():
        numbers = np.where(np.isinf(numbers), np.float32(np.nan), numbers)
    return numbers
