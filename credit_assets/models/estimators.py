"""The model that is served: XGBoost with its calibration, how it is fitted and how it predicts.

How its parameters are found is in `tuning.py`, the baseline in `baseline.py`, the registry in `registry.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pandas import DataFrame, concat
from scipy.special import logit

from credit_assets.features.training_set import hash_share
from credit_assets.models.calibration import Platt, fit_platt
from credit_assets.models.config import TrainingConfig
from credit_assets.models.design_matrix import MAX_BIN, DesignMatrix, encode, feature_types
from credit_assets.models.encodings import Encoding, encodings_as_json, encodings_from_json

if TYPE_CHECKING:
    import xgboost

T = TypeVar("T")


@dataclass(frozen=True)
class PDModel:
    """The model that is served: XGBoost and the calibration of its margin to log-odds of default.

    `categories` holds the words each text feature had in training, in code order; of the text features in
    `encodings`, the number of each. A frame may hold more columns than `features`; a category not seen in
    training counts as missing.
    """

    features: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    encodings: dict[str, Encoding]
    booster: xgboost.Booster
    calibration: Platt

    @property
    def text(self) -> set[str]:
        """The features that are words in a frame."""
        return {*self.categories, *self.encodings}

    def margin(self, frame: DataFrame) -> np.ndarray:
        """The booster's raw log-odds, (rows,) float32, before calibration."""
        return self.booster.predict(self._matrix(frame), output_margin=True)

    def pd(self, frame: DataFrame) -> np.ndarray:
        """Calibrated probability of default, (rows,) in (0, 1)."""
        return self.calibration.pd(self.margin(frame))

    def contributions(self, frame: DataFrame) -> np.ndarray:
        """What each feature adds to the calibrated log-odds of default, (rows, features + 1) float64.

        Exact TreeSHAP values (Lundberg et al. 2020) times the calibration's slope, in the order of
        `features`; the last column is the base value. A row sums to log(PD / (1 - PD)).
        """
        values = self.booster.predict(self._matrix(frame), pred_contribs=True).astype(np.float64)
        # Of no rows XGBoost returns no columns either.
        values = values.reshape(len(frame), len(self.features) + 1)
        values *= self.calibration.slope
        values[:, -1] += self.calibration.intercept
        return values

    def _matrix(self, frame: DataFrame) -> xgboost.DMatrix:
        import xgboost

        return xgboost.DMatrix(
            encode(frame, self.features, self.categories, self.encodings),
            feature_names=list(self.features),
            feature_types=feature_types(self.features, self.categories),
            enable_categorical=True,
        )

    def save(self, folder: Path) -> None:
        """Write the model as `booster.ubj` and `model.json`, formats that run no code when read."""
        folder.mkdir(parents=True, exist_ok=True)
        self.booster.save_model(folder / "booster.ubj")
        facts = {
            "features": self.features,
            **encodings_as_json(self.categories, self.encodings),
            "calibration": asdict(self.calibration),
        }
        (folder / "model.json").write_text(json.dumps(facts, indent=1))

    @classmethod
    def load(cls, folder: Path) -> PDModel:
        """Read what `save` wrote."""
        import xgboost

        facts = json.loads((folder / "model.json").read_text())
        booster = xgboost.Booster()
        booster.load_model(folder / "booster.ubj")
        return cls(
            features=tuple(facts["features"]),
            **encodings_from_json(facts),
            booster=booster,
            calibration=Platt(**facts["calibration"]),
        )


class Folds:
    """The pairs of a design matrix, binned once to be boosted many times.

    Several folds grow in one thread each, side by side: small fits gain nothing from threads of their
    own, and lose much on a busy machine. A single pair uses `config.threads`. Neither changes a bit.
    """

    def __init__(self, design: DesignMatrix, config: TrainingConfig) -> None:
        self.validation = design.validation(config)
        self.features = len(design.features)
        pairs = self.validation.pairs
        self._config = config
        self.threads = config.threads if len(pairs) == 1 else 1
        self.held_out_rows = [held_out for _, held_out in pairs]
        # The sum of second derivatives where every PD is the default rate: what a node's weight is measured in.
        self.weight = min(float(design.target[rows].var() * rows.sum()) for rows, _ in pairs)
        whole, by_batches = design.target[design.training].mean(), self.validation.by == "batches"
        self._levels = [
            np.float32(logit(whole) - logit(design.target[rows].mean()) if by_batches else 0.0) for rows, _ in pairs
        ]
        # A test row is judged by one fold's model, whichever others there are.
        share = np.floor(hash_share(design.keys, f"{config.seed}:judged") * len(pairs))
        self.test_rows = [~design.training & (share == fold) for fold in range(len(pairs))]
        self._learned, self._held_out, self._tested = [], [], []
        for (learned, held_out), tested in zip(pairs, self.test_rows, strict=True):
            matrix, encodings = design.binned(learned, self.threads)
            self._learned.append(matrix)
            self._held_out.append(design.plain(held_out, encodings, self.threads))
            self._tested.append(partial(design.plain, tested, encodings, self.threads))
        # A fold keeps its thread: XGBoost's cache of predictions belongs to the thread that made them.
        workers = [ThreadPoolExecutor(1) for _ in range(min(len(pairs), config.threads or os.cpu_count() or 1))]
        self._workers = [workers[fold % len(workers)] for fold in range(len(pairs))]

    def boost(
        self, params: Mapping[str, Any], on_round: Callable[[int, float], None] = lambda rounds, auc: None
    ) -> tuple[int, float]:
        """(rounds, AUC) where the mean held-out log loss over the folds is least.

        Rounds are chosen by log loss and trials compared by the AUC there: on a few hundred defaults
        the AUC's own peak over the rounds is mostly luck. Ends after `early_stopping_rounds` without a
        lower loss, or at `max_rounds`. `on_round` is told the rounds so far and the AUC at the best of
        them, and may raise to end the fit.
        """
        boosters = self._boosters(params)

        def grow(rounds: int, fold: int) -> tuple[float, float]:
            boosters[fold].update(self._learned[fold], rounds - 1)
            said = boosters[fold].eval(self._held_out[fold]).split("\t")[1:]
            auc, log_loss = (float(part.rpartition(":")[2]) for part in said)
            return auc, log_loss

        best_rounds, best_loss, best_auc = 0, np.inf, 0.5
        for rounds in range(1, self._config.max_rounds + 1):
            auc, loss = np.mean(self._side_by_side(partial(grow, rounds)), axis=0)
            if loss < best_loss:
                best_rounds, best_loss, best_auc = rounds, float(loss), float(auc)
            elif rounds - best_rounds >= self._config.early_stopping_rounds:
                break
            # After the last there is nothing left to end.
            if rounds < self._config.max_rounds:
                on_round(rounds, best_auc)
        return best_rounds, best_auc

    def margins(self, params: Mapping[str, Any], rounds: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each fold, the margins of its held-out rows (`held_out_rows`) and of its test rows (`test_rows`) by one
        model that has learned from neither.

        Where folds are of batches, at the level of a model of the whole training part: moved by the difference of
        the log-odds of the two default rates (Elkan 2001, "The foundations of cost-sensitive learning"). A model of
        early batches has learned their default rate, and a calibration on its margins would correct that of the
        whole for what it does not get wrong.
        """
        boosters = self._boosters(params)

        def fit(fold: int) -> tuple[np.ndarray, np.ndarray]:
            for number in range(rounds):
                boosters[fold].update(self._learned[fold], number)
            held_out, tested = (
                boosters[fold].predict(matrix, output_margin=True) + self._levels[fold]
                for matrix in (self._held_out[fold], self._tested[fold]())
            )
            return held_out, tested

        return self._side_by_side(fit)

    def _side_by_side(self, work: Callable[[int], T]) -> list[T]:
        futures = [worker.submit(work, fold) for fold, worker in enumerate(self._workers)]
        return [future.result() for future in futures]

    def _boosters(self, params: Mapping[str, Any]) -> list[xgboost.Booster]:
        import xgboost

        settings = xgboost_params(params, self._config.seed, self.threads)
        return [xgboost.Booster(settings, pair) for pair in zip(self._learned, self._held_out, strict=True)]


def xgboost_params(params: Mapping[str, Any], seed: int, threads: int) -> dict[str, Any]:
    """All of XGBoost's parameters: those searched for, and those that are always the same."""
    return {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_bin": MAX_BIN,
        "eval_metric": ["auc", "logloss"],
        "seed": seed,
        # Otherwise a booster's draws depend on what else was boosted before it in the same thread.
        "seed_per_iteration": True,
        **({"nthread": threads} if threads else {}),
        **params,
    }


def fit_pd_model(
    design: DesignMatrix, folds: Folds, params: Mapping[str, Any], rounds: int, config: TrainingConfig
) -> tuple[PDModel, DataFrame]:
    """Fit the served model on all of the training part, and its calibration on held-out margins.

    The calibration is cross-fitted: each of its rows gets its margin from a model that has not learned
    from it (scikit-learn's CalibratedClassifierCV with ensemble=False does the same), so that no row is
    given away to calibration and none is judged by a model that has memorised it.

    Also returned is how the folds' models judge rows that they have not learned from: `key`, `batch`, `fold`,
    `target`, the calibrated `pd` and `fold_model`, the number of the model. Each training row that a fold held out is
    there, and each test row once, by one of the models: the two can be compared like with like.
    """
    import xgboost

    margins = folds.margins(params, rounds)
    held_out = np.concatenate([np.flatnonzero(mask) for mask in folds.held_out_rows])
    calibration = fit_platt(np.concatenate([of_held_out for of_held_out, _ in margins]), design.target[held_out])
    training, encodings = design.binned(design.training, folds.threads)
    booster = xgboost.train(xgboost_params(params, config.seed, folds.threads), training, num_boost_round=rounds)
    judged = []
    for number, (rows, of_rows) in enumerate(zip(folds.held_out_rows, margins, strict=True)):
        for mask, margin in zip((rows, folds.test_rows[number]), of_rows, strict=True):
            facts = {"key": design.keys, "batch": design.batch, "fold": design.fold, "target": design.target}
            frame = DataFrame({name: values[mask] for name, values in facts.items()})
            judged.append(frame.assign(pd=calibration.pd(margin), fold_model=number))
    by_folds = concat(judged, ignore_index=True)
    return PDModel(design.features, design.native, encodings, booster, calibration), by_folds
