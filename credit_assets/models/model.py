"""The interface of all kinds of model: the protocol, finding a kind by name, and reading a model's files."""

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
"""The file of a model that names its `kind`; a kind may store more in it."""

FIRST_KIND = "xgboost"
"""The kind of models whose files name none, written before there were several kinds."""


class UnknownKind(ConfigError):
    """The configuration or a stored model names a `kind` of model that does not exist."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(f"training.model: {kind} is not one of {', '.join(kinds())}")


class Model(Protocol):
    """A fitted model. Frames passed to it may have more columns than `features`."""

    @property
    def features(self) -> tuple[str, ...]:
        """The model's inputs, in the order of its contributions."""

    @property
    def learned_texts(self) -> Mapping[str, Collection[str]]:
        """For each text feature, the values seen in training. Other values count as missing."""

    def pd(self, frame: DataFrame) -> np.ndarray:
        """Calibrated probability of default, (rows,) in (0, 1)."""

    def contributions(self, frame: DataFrame) -> np.ndarray:
        """Each feature's contribution to the calibrated log-odds of default, (rows, features + 1) float64, in the order
        of `features`, with the base value last. A row sums to log(PD / (1 - PD))."""

    def save(self, folder: Path) -> None:
        """Write the model to MODEL_FILE and other files, in formats that execute no code when read. Equal models write
        equal bytes."""


@dataclass(frozen=True)
class Fitted:
    """A fitted model and the evidence of its fit.

    `by_folds` has the predictions of the folds' models for rows that they were not trained on (`predictions_by_folds`).
    `params` and `metrics` are its parameters and their results on the folds; `search` describes the parameter search,
    and `trials` has a row for each configuration tried.
    """

    model: Model
    by_folds: DataFrame
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    search: Mapping[str, Any] = field(default_factory=dict)
    trials: DataFrame | None = None


@dataclass(frozen=True)
class Estimator:
    """A kind of model. `libraries` are those used to fit it, as shown in the UI."""

    fit: Callable[[Task], Fitted]
    load: Callable[[Path], Model]
    libraries: frozenset[str]


@dataclass(frozen=True)
class Task:
    """The inputs of a fit: the design matrix, its folds, the settings, a folder for resumable searches, a hash of the
    rows that identifies them, and a callback for progress messages."""

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
    """The kind with this name. Raises UnknownKind if there is none."""
    if kind not in kinds():
        raise UnknownKind(kind)
    found: Estimator = import_module(f"{_estimators().__name__}.{kind}").ESTIMATOR
    return found


def read_model(folder: Path) -> Model:
    """The model in the folder, of any kind."""
    kind = json.loads((folder / MODEL_FILE).read_text()).get("kind", FIRST_KIND)
    return estimator(kind).load(folder)


def held_out_of_test(design: DesignMatrix, config: TrainingConfig, folds: int) -> list[np.ndarray]:
    """For each fold, the mask of the test rows that its model predicts; each row has one model, whatever other rows
    there are."""
    share = np.floor(hash_share(design.keys, f"{config.seed}:judged") * folds)
    return [~design.training & (share == fold) for fold in range(folds)]


def levels(design: DesignMatrix, validation: Validation) -> list[float]:
    """For each fold, the shift that brings its model's log-odds to the level of a model of the whole training part.

    For folds of batches this is the difference of the log-odds of the two default rates (Elkan 2001, "The foundations
    of cost-sensitive learning"), otherwise 0. A model of early batches has learned their default rate; without the
    shift, a calibration on its margins would correct the final model for an error that it does not have.
    """
    from scipy.special import logit

    if validation.by != "batches":
        return [0.0] * len(validation.pairs)
    whole = logit(design.target[design.training].mean())
    return [float(whole - logit(design.target[learned].mean())) for learned, _ in validation.pairs]


def predictions_by_folds(
    design: DesignMatrix, masks: Sequence[Sequence[np.ndarray]], pds: Sequence[Sequence[np.ndarray]]
) -> DataFrame:
    """Predictions of the folds' models for rows that they were not trained on: `key`, `batch`, `fold`, `target`, the
    `pd` and `fold_model`, the number of the model.

    For each model, `masks` has row masks and `pds` its PDs of these rows. Each held-out training row and each test row
    occurs once, so that both can be compared on equal terms.
    """
    facts = {"key": design.keys, "batch": design.batch, "fold": design.fold, "target": design.target}
    return concat(
        [
            DataFrame({name: values[mask] for name, values in facts.items()}).assign(pd=given, fold_model=number)
            for number, (of_model, of_masks) in enumerate(zip(masks, pds, strict=True))
            for mask, given in zip(of_model, of_masks, strict=True)
        ],
        ignore_index=True,
    )


def _estimators() -> Any:
    from credit_assets.models import estimators

    return estimators
