"""The model that is served: XGBoost with its calibration, how it is fitted and how it predicts.

How its parameters are found is in `tuning.py` and `folds.py`, the baseline in `baseline.py`, how it is
loaded from the registry in `registered.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pandas import DataFrame, concat

from credit_assets.models.calibration import Platt, fit_platt
from credit_assets.models.design_matrix import DesignMatrix, encode, feature_types
from credit_assets.models.encodings import Encoding, encodings_as_json, encodings_from_json
from credit_assets.models.folds import MAX_BIN, Folds, xgboost_params
from credit_assets.settings.training import TrainingConfig

if TYPE_CHECKING:
    import xgboost


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


def fit_pd_model(
    design: DesignMatrix, folds: Folds, params: Mapping[str, Any], rounds: int, config: TrainingConfig
) -> tuple[PDModel, DataFrame]:
    """Fit the served model on all of the training part, and its calibration on held-out margins.

    `rounds` are those that are best on the folds; the whole training part gets more (`Folds.rounds_of_whole`).

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
    training, encodings = design.binned(design.training, folds.threads, params.get("max_bin", MAX_BIN))
    booster = xgboost.train(
        xgboost_params(params, config.seed, folds.threads), training, num_boost_round=folds.rounds_of_whole(rounds)
    )
    judged = []
    for number, (rows, of_rows) in enumerate(zip(folds.held_out_rows, margins, strict=True)):
        for mask, margin in zip((rows, folds.test_rows[number]), of_rows, strict=True):
            facts = {"key": design.keys, "batch": design.batch, "fold": design.fold, "target": design.target}
            frame = DataFrame({name: values[mask] for name, values in facts.items()})
            judged.append(frame.assign(pd=calibration.pd(margin), fold_model=number))
    by_folds = concat(judged, ignore_index=True)
    return PDModel(design.features, design.native, encodings, booster, calibration), by_folds
