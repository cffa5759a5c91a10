"""What every kind of model can do, how a kind is found by its name, and how its files are read."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pandas import DataFrame, concat

from credit_assets.features.training_set import hash_share
from credit_assets.models.design_matrix import DesignMatrix, Validation
from credit_assets.settings.portfolio import ConfigError
from credit_assets.settings.training import TrainingConfig

MODEL_FILE = "model.json"
"""The file of a model that names its `kind`, beside what else the kind keeps there."""

FIRST_KIND = "xgboost"
"""The kind of a model whose files name none: before there were others."""


class UnknownKind(ConfigError):
    """The configuration, or a stored model, names a `kind` of model that does not exist."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(f"training.model: {kind} is none of {', '.join(kinds())}")


class Model(Protocol):
    """A fitted model. A frame that it predicts may have more columns than `features`."""

    @property
    def features(self) -> tuple[str, ...]:
        """The features that it reads, in the order of its contributions."""

    @property
    def learned_texts(self) -> Mapping[str, Collection[str]]:
        """Of each text feature, the values it had in training. Another value counts as missing."""

    def pd(self, frame: DataFrame) -> np.ndarray:
        """Calibrated probability of default, (rows,) in (0, 1)."""

    def contributions(self, frame: DataFrame) -> np.ndarray:
        """What each feature adds to the calibrated log-odds of default, (rows, features + 1) float64: in the order of
        `features`, the base value last. A row sums to log(PD / (1 - PD))."""

    def save(self, folder: Path) -> None:
        """Write the model as MODEL_FILE and others, in formats that run no code when read. The same model gives the
        same bytes."""


@dataclass(frozen=True)
class Fitted:
    """A fitted model and what a validator asks about its fit.

    `by_folds` is how models of the folds judge rows that they have not learned from (`judged_by_folds`). `params` and
    `metrics` are what it was fitted with and how well that did on the folds; `search` says how they were found, as
    words and figures, and `trials` has a row for each configuration that was tried.
    """

    model: Model
    by_folds: DataFrame
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    search: Mapping[str, Any] = field(default_factory=dict)
    trials: DataFrame | None = None


@dataclass(frozen=True)
class Estimator:
    """One kind of model. `libraries` are those that fit it, as the UI shows them."""

    fit: Callable[[Task], Fitted]
    load: Callable[[Path], Model]
    libraries: frozenset[str]


@dataclass(frozen=True)
class Task:
    """What a kind is fitted on: the training set as numbers, its folds, the settings, a folder for searches that
    resume, a hash of the rows that they belong to, and where to report progress."""

    design: DesignMatrix
    validation: Validation
    config: TrainingConfig
    studies: Path
    content: str
    progress: Callable[[str], None]


def kinds() -> list[str]:
    """The names of all kinds of model."""
    return sorted(module.name for module in pkgutil.iter_modules(_estimators().__path__))


def estimator(kind: str) -> Estimator:
    """The kind with this name. Raises UnknownKind."""
    if kind not in kinds():
        raise UnknownKind(kind)
    found: Estimator = import_module(f"{_estimators().__name__}.{kind}").ESTIMATOR
    return found


def read_model(folder: Path) -> Model:
    """The model whose files are in the folder, whatever its kind."""
    kind = json.loads((folder / MODEL_FILE).read_text()).get("kind", FIRST_KIND)
    return estimator(kind).load(folder)


def held_out_of_test(design: DesignMatrix, config: TrainingConfig, folds: int) -> list[np.ndarray]:
    """For each fold, the mask of the test rows that its model judges: each row has one, whichever others there are."""
    share = np.floor(hash_share(design.keys, f"{config.seed}:judged") * folds)
    return [~design.training & (share == fold) for fold in range(folds)]


def levels(design: DesignMatrix, validation: Validation) -> list[float]:
    """For each fold, what brings log-odds of its model to the level of a model of the whole training part.

    Where folds are of batches it is the difference of the log-odds of the two default rates (Elkan 2001, "The
    foundations of cost-sensitive learning"), otherwise 0. A model of early batches has learned their default rate, and
    a calibration on its margins would correct that of the whole for what it does not get wrong.
    """
    from scipy.special import logit

    if validation.by != "batches":
        return [0.0] * len(validation.pairs)
    whole = logit(design.target[design.training].mean())
    return [float(whole - logit(design.target[learned].mean())) for learned, _ in validation.pairs]


def judged_by_folds(
    design: DesignMatrix, judged: Sequence[Sequence[np.ndarray]], pds: Sequence[Sequence[np.ndarray]]
) -> DataFrame:
    """How the folds' models judge rows that they have not learned from: `key`, `batch`, `fold`, `target`, the `pd` and
    `fold_model`, the number of the model.

    For each model `judged` has the masks of rows and `pds` its PDs of them. Each training row that a fold held out is
    there, and each test row once, by one of the models: the two can be compared like with like.
    """
    facts = {"key": design.keys, "batch": design.batch, "fold": design.fold, "target": design.target}
    return concat(
        [
            DataFrame({name: values[mask] for name, values in facts.items()}).assign(pd=given, fold_model=number)
            for number, (masks, of_masks) in enumerate(zip(judged, pds, strict=True))
            for mask, given in zip(masks, of_masks, strict=True)
        ],
        ignore_index=True,
    )


def _estimators() -> Any:
    from credit_assets.models import estimators

    return estimators
