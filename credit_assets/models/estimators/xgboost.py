"""XGBoost with a calibrated margin: fitting, predicting and explaining.

Its parameters are found in `models/tuning.py` and `models/folds.py`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pandas import DataFrame

from credit_assets.models.calibration import Platt, fit_platt
from credit_assets.models.design_matrix import DesignMatrix, encode, feature_types
from credit_assets.models.device import CPU
from credit_assets.models.encodings import Encoding, encodings_as_json, encodings_from_json, texts_learned
from credit_assets.models.folds import MAX_BIN, Folds, xgboost_params
from credit_assets.models.model import MODEL_FILE, Estimator, Fitted, Task, predictions_by_folds
from credit_assets.models.tuning import tune
from credit_assets.settings.training import TrainingConfig

if TYPE_CHECKING:
    import xgboost


@dataclass(frozen=True)
class XGBoostModel:
    """A booster and the calibration of its margin to log-odds of default.

    `categories` has the training values of each text feature, in code order; `encodings` has the numbers of each
    encoded text feature.
    """

    features: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    encodings: dict[str, Encoding]
    booster: xgboost.Booster
    calibration: Platt

    @property
    def learned_texts(self) -> Mapping[str, Collection[str]]:
        return texts_learned(self.categories, self.encodings)

    def margin(self, frame: DataFrame) -> np.ndarray:
        """The booster's raw log-odds, (rows,) float32, before calibration."""
        values = encode(frame, self.features, self.categories, self.encodings)
        # Without a DMatrix, whose construction takes as long as the prediction.
        return self.booster.inplace_predict(values, predict_type="margin", validate_features=False)

    def pd(self, frame: DataFrame) -> np.ndarray:
        return self.calibration.pd(self.margin(frame))

    def contributions(self, frame: DataFrame) -> np.ndarray:
        """Exact TreeSHAP values (Lundberg et al. 2020) times the calibration's slope."""
        values = self.booster.predict(self._matrix(frame), pred_contribs=True).astype(np.float64)
        # Without rows, XGBoost returns no columns either.
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
        folder.mkdir(parents=True, exist_ok=True)
        self.booster.save_model(folder / "booster.ubj")
        facts = {
            "kind": KIND,
            "features": self.features,
            **encodings_as_json(self.categories, self.encodings),
            "calibration": asdict(self.calibration),
        }
        (folder / MODEL_FILE).write_text(json.dumps(facts, indent=1))

    @classmethod
    def load(cls, folder: Path) -> XGBoostModel:
        import xgboost

        facts = json.loads((folder / MODEL_FILE).read_text())
        booster = xgboost.Booster()
        booster.load_model(folder / "booster.ubj")
        return cls(
            features=tuple(facts["features"]),
            **encodings_from_json(facts),
            booster=booster,
            calibration=Platt(**facts["calibration"]),
        )


def fit_xgboost(
    design: DesignMatrix, folds: Folds, params: Mapping[str, Any], rounds: int, config: TrainingConfig
) -> tuple[XGBoostModel, DataFrame]:
    """Fit the model on the whole training part, and its calibration on held-out margins.

    `rounds` are the best on the folds; the whole training part gets more (`Folds.rounds_of_whole`).

    The calibration is cross-fitted: each row's margin comes from a model that was not trained on it (as in
    scikit-learn's CalibratedClassifierCV with ensemble=False), so that no rows are reserved for calibration and none is
    predicted by a model that has memorised it.

    Also returns the calibrated predictions of the folds' models (`predictions_by_folds`).
    """
    import xgboost

    margins = folds.margins(params, rounds)
    held_out = np.concatenate([np.flatnonzero(mask) for mask in folds.held_out_rows])
    calibration = fit_platt(np.concatenate([of_held_out for of_held_out, _ in margins]), design.target[held_out])
    training, encodings = design.binned(design.training, folds.threads, params.get("max_bin", MAX_BIN))
    booster = xgboost.train(
        xgboost_params(params, config.seed, folds.threads, folds.device),
        training,
        num_boost_round=folds.rounds_of_whole(rounds),
    )
    booster.set_param({"device": CPU})
    by_folds = predictions_by_folds(
        design,
        list(zip(folds.held_out_rows, folds.test_rows, strict=True)),
        [[calibration.pd(margin) for margin in of_fold] for of_fold in margins],
    )
    return XGBoostModel(design.features, design.native, encodings, booster, calibration), by_folds


def _fit(task: Task) -> Fitted:
    folds = Folds(task.design, task.validation, task.config)
    found = tune(folds, task.config, task.studies, task.content, task.progress)
    model, by_folds = fit_xgboost(task.design, folds, found.params, found.rounds, task.config)
    return Fitted(
        model,
        by_folds,
        params=found.params,
        metrics={"tuning_auc": found.auc, "tuning_log_loss": found.loss, "trials": len(found.trials)},
        search={
            "rounds": found.rounds,
            "study": found.study,
            "search_ended": found.ended,
            "at_an_edge": ", ".join(found.edges) or "none",
        },
        trials=found.trials,
    )


KIND = "xgboost"
ESTIMATOR = Estimator(_fit, XGBoostModel.load, frozenset({"xgboost", "optuna"}))
