"""The model that is served: XGBoost with its calibration, how it is fitted and how it predicts.

How its parameters are found is in `tuning.py`, the baseline in `baseline.py`, the registry in `registry.py`.
"""

from __future__ import annotations

import json
import math
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
from credit_assets.models.calibration import CalibrationError, Platt, fit_platt
from credit_assets.models.design_matrix import DesignMatrix, encode, feature_types
from credit_assets.models.encodings import Encoding, encodings_as_json, encodings_from_json
from credit_assets.settings.training import TrainingConfig

if TYPE_CHECKING:
    import xgboost

T = TypeVar("T")

MAX_BIN = 256
"""Histogram bins of a feature, where the parameters name none: XGBoost's default."""

ROUNDS_AT_A_TIME = 10
"""Rounds that each fold grows before the folds' losses are put together."""

LOWER = 1e-4
"""Share by which a loss must be lower to count as lower: the last fall of a curve is slow, and worth nothing."""

LATER = (1.15, 1.3)
"""Multiples of the rounds of the least log loss that are tried too."""

RAISES = 4
"""Times that the limit of rounds is doubled for a fit whose loss still falls."""

SLOW = 0.05
"""Learning rate below which more rounds without a lower loss are allowed."""

LOSS_PARTS = 20
"""Parts of the held-out rows by which two fits are compared."""

ROUND_S = 5e-4
"""Seconds that a round takes beside its rows."""

CELLS_A_SECOND = 2.5e8
"""Rows times features times levels of a tree that one processor core gets through in a second."""


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


class StillFalling(ValueError):
    """The held-out loss falls for more rounds than a fit may have: the parameters learn too slowly."""

    def __init__(self, rounds: int, params: Mapping[str, Any]) -> None:
        self.rounds = rounds
        super().__init__(
            f"After {rounds:,} boosting rounds at a learning rate of {params.get('learning_rate', 0.3):g} the held-out "
            "loss still falls. Raise training.max_rounds, or give a higher training.learning_rate."
        )


@dataclass(frozen=True)
class Boosted:
    """A fit on every fold: its rounds, the held-out log loss after calibration, and the mean held-out AUC.

    `losses` is the loss of each of LOSS_PARTS parts of the held-out rows: two fits are compared part by part. `lowest`
    is the least log loss over the rounds before calibration (mean over the folds), and `grown` counts the rounds that
    were grown to find it. `ranks` is false where the held-out rows are ranked no better than by chance.
    """

    rounds: int
    loss: float
    auc: float
    losses: tuple[float, ...]
    lowest: float
    grown: int
    ranks: bool


class Folds:
    """The pairs of a design matrix, binned once to be boosted many times.

    Several folds grow in one thread each, side by side: small fits gain nothing from threads of their
    own, and lose much on a busy machine. A single pair uses `config.threads`. Neither changes a bit.
    """

    def __init__(self, design: DesignMatrix, config: TrainingConfig) -> None:
        self.validation = design.validation(config)
        self.features = len(design.features)
        pairs = self.validation.pairs
        self._design = design
        self._config = config
        self.threads = config.threads if len(pairs) == 1 else 1
        self.held_out_rows = [held_out for _, held_out in pairs]
        self.learned_rows = [int(learned.sum()) for learned, _ in pairs]
        # The sum of second derivatives where every PD is the default rate: what a node's weight is measured in.
        self.weight = min(float(design.target[rows].var() * rows.sum()) for rows, _ in pairs)
        whole, by_batches = design.target[design.training].mean(), self.validation.by == "batches"
        self._levels = [
            np.float32(logit(whole) - logit(design.target[rows].mean()) if by_batches else 0.0) for rows, _ in pairs
        ]
        self._targets = [design.target[held_out] for _, held_out in pairs]
        rows = sum(map(len, self._targets))
        self._part = np.arange(rows) % min(LOSS_PARTS, rows)
        self._binned: dict[int, list[xgboost.QuantileDMatrix]] = {}
        # A test row is judged by one fold's model, whichever others there are.
        share = np.floor(hash_share(design.keys, f"{config.seed}:judged") * len(pairs))
        self.test_rows = [~design.training & (share == fold) for fold in range(len(pairs))]
        self._held_out, self._tested = [], []
        for (learned, held_out), tested in zip(pairs, self.test_rows, strict=True):
            _, encodings = design.learned(learned)
            self._held_out.append(design.plain(held_out, encodings, self.threads))
            self._tested.append(partial(design.plain, tested, encodings, self.threads))
        # A fold keeps its thread: XGBoost's cache of predictions belongs to the thread that made them.
        workers = [ThreadPoolExecutor(1) for _ in range(min(len(pairs), config.threads or os.cpu_count() or 1))]
        self._workers = [workers[fold % len(workers)] for fold in range(len(pairs))]

    def work(self, params: Mapping[str, Any], rounds: int) -> float:
        """Seconds of one processor core that so many rounds take on all folds, estimated the same on every machine."""
        levels = min(params["max_depth"], math.log2(params.get("max_leaves", 2 ** params["max_depth"])) + 1)
        drawn = self.features * params.get("colsample_bytree", 1)
        return rounds * sum(ROUND_S + rows * drawn * levels / CELLS_A_SECOND for rows in self.learned_rows)

    def boost(
        self,
        params: Mapping[str, Any],
        on_rounds: Callable[[np.ndarray], None] = lambda losses: None,
        on_limit: Callable[[int], None] = lambda limit: None,
    ) -> Boosted:
        """Boost until the mean held-out log loss over the folds no longer falls.

        Rounds are chosen by log loss: on a few hundred defaults, an AUC's peak over the rounds is mostly luck. A loss
        counts as lower by a share of LOWER, and `early_stopping_rounds` without one end the fit. A limit of
        `max_rounds` is doubled up to RAISES times (`on_limit` gets each new one); StillFalling is raised beyond. Log
        loss rises as soon as PDs become too extreme, while the ranking may still improve; so of the rounds found and
        some LATER ones, those with the least loss after calibration are taken. `on_rounds` gets the loss of each round
        so far, every ROUNDS_AT_A_TIME, and may raise to end the fit.
        """
        boosters = self._boosters(params)
        wait = math.ceil(self._config.early_stopping_rounds * max(1.0, SLOW / params.get("learning_rate", 0.3)))

        def grow(begin: int, fold: int) -> list[float]:
            losses = []
            for number in range(begin, begin + ROUNDS_AT_A_TIME):
                boosters[fold].update(self._learned(params)[fold], number)
                losses.append(float(boosters[fold].eval(self._held_out[fold]).rpartition(":")[2]))
            return losses

        self._learned(params)
        limit, losses, lowest, settled, wanted = self._config.max_rounds, np.empty(0), np.inf, 0, 0
        while True:
            more = np.mean(self._side_by_side(partial(grow, len(losses))), axis=0)
            for number, loss in enumerate(more, start=len(losses) + 1):
                if loss < lowest * (1 - LOWER):
                    lowest, settled = float(loss), number
            losses = np.concatenate([losses, more])
            if not wanted and len(losses) - settled >= wait:
                wanted = math.ceil((int(losses.argmin()) + 1) * LATER[-1])
            if wanted and len(losses) >= wanted:
                break
            if not wanted and len(losses) >= limit:
                if limit >= self._config.max_rounds * 2**RAISES:
                    raise StillFalling(len(losses), params)
                limit *= 2
                on_limit(limit)
            on_rounds(losses)
        first = int(losses.argmin()) + 1
        tried = {min(math.ceil(first * later), len(losses)) for later in (1, *LATER)}
        fits = [self._measured(boosters, rounds, losses) for rounds in sorted(tried)]
        return min(fits, key=lambda fit: fit.loss)

    def _measured(self, boosters: list[xgboost.Booster], rounds: int, curve: np.ndarray) -> Boosted:
        from sklearn.metrics import roc_auc_score

        def predict(fold: int) -> np.ndarray:
            booster, held_out = boosters[fold], self._held_out[fold]
            margin = booster.predict(held_out, iteration_range=(0, rounds), output_margin=True)
            return margin.astype(np.float64) + self._levels[fold]

        margins = self._side_by_side(predict)
        margin, target = np.concatenate(margins), np.concatenate(self._targets)
        try:
            log_odds, ranks = fit_platt(margin, target).log_odds(margin), True
        except CalibrationError:
            # No better than one PD for all.
            log_odds, ranks = np.full(len(target), logit(target.mean())), False
        loss = np.logaddexp(0, log_odds) - target * log_odds
        return Boosted(
            rounds=rounds,
            loss=float(loss.mean()),
            auc=float(np.mean([roc_auc_score(*pair) for pair in zip(self._targets, margins, strict=True)])),
            losses=tuple((np.bincount(self._part, loss) / np.bincount(self._part)).tolist()),
            lowest=float(curve.min()),
            grown=len(curve),
            ranks=ranks,
        )

    def rounds_of_whole(self, rounds: int) -> int:
        """Rounds for the whole training part: more in proportion to its rows, by half at most. More rows overfit later;
        with the rounds of two thirds of them, 1,000 to 3,000 rows gave an AUC lower by 0.001 to 0.003."""
        whole = float(self._design.training.sum() / np.mean(self.learned_rows))
        return math.ceil(rounds * min(whole, 1.5))

    def margins(self, params: Mapping[str, Any], rounds: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each fold, the margins of its held-out rows (`held_out_rows`) and of its test rows (`test_rows`) by one
        model that has learned from neither.

        Where folds are of batches, at the level of a model of the whole training part: moved by the difference of
        the log-odds of the two default rates (Elkan 2001, "The foundations of cost-sensitive learning"). A model of
        early batches has learned their default rate, and a calibration on its margins would correct that of the
        whole for what it does not get wrong.
        """
        boosters = self._boosters(params)
        self._learned(params)

        def fit(fold: int) -> tuple[np.ndarray, np.ndarray]:
            for number in range(rounds):
                boosters[fold].update(self._learned(params)[fold], number)
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
        pairs = zip(self._learned(params), self._held_out, strict=True)
        return [xgboost.Booster(settings, pair) for pair in pairs]

    def _learned(self, params: Mapping[str, Any]) -> list[xgboost.QuantileDMatrix]:
        """The folds' rows to learn from, in so many bins as asked for; those of the two latest are kept."""
        bins = params.get("max_bin", MAX_BIN)
        if bins not in self._binned:
            while len(self._binned) > 1:
                del self._binned[next(iter(self._binned))]
            pairs = self.validation.pairs
            self._binned[bins] = [self._design.binned(rows, self.threads, bins)[0] for rows, _ in pairs]
        return self._binned[bins]


def xgboost_params(params: Mapping[str, Any], seed: int, threads: int) -> dict[str, Any]:
    """All of XGBoost's parameters: those searched for, and those that are always the same."""
    return {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_bin": MAX_BIN,
        "eval_metric": "logloss",
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
