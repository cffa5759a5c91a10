"""The folds on which parameters are compared: fitting on them, and an estimate of the cost.

`tuning.py` proposes parameters; `estimators/xgboost.py` fits the model of the whole training part.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from credit_assets.features.training_set import hash_share
from credit_assets.models.calibration import CalibrationError, fit_platt
from credit_assets.models.design_matrix import DesignMatrix, Validation
from credit_assets.models.device import CPU, device
from credit_assets.models.model import held_out_of_test, levels
from credit_assets.models.xgboost_classes import booster_class
from credit_assets.settings.training import TrainingConfig

if TYPE_CHECKING:
    import xgboost

T = TypeVar("T")

MAX_BIN = 256
"""Histogram bins per feature if the parameters set none: XGBoost's default."""

ROUNDS_AT_A_TIME = 10
"""Rounds that each fold is boosted before the folds' losses are averaged."""

MIN_DECREASE = 1e-4
"""The relative decrease from which a loss counts as lower: the end of a loss curve is slow and gains nothing."""

ROUND_FACTORS = (1.15, 1.3)
"""Multiples of the rounds with the lowest log loss that are tried too."""

MAX_DOUBLINGS = 4
"""How often the limit of rounds is doubled for a fit whose loss still falls."""

REFERENCE_RATE = 0.05
"""The learning rate below which more rounds without a lower loss are allowed."""

LOSS_PARTS = 20
"""Parts of the held-out rows by which two fits are compared."""

STAGES = (0.2, 0.4, 1)
"""Shares of the folds that a fit is boosted on, one stage after the other. A fit that is worse on the first can end
there."""

MIN_WAIT_ROUNDS = 10
"""The minimum number of rounds without a lower loss that end a fit, however high the learning rate."""

ROUND_S = 2e-4
"""Seconds of overhead per round."""

CELLS_A_SECOND = 2e9
"""Rows times features times tree levels that one processor core adds to histograms per second."""

BINS_A_SECOND = 1.5e8
"""Bins of sampled features, over all nodes of a tree, that one processor core compares per second: most of the time on
small books."""

KEPT_CELLS = 2e8
"""Cells of binned folds kept in memory, of one or two bytes each, for later trials with the same number of bins."""


SAMPLED_ROWS = 40_000
"""Training rows of a pair that are enough to compare parameters."""

SAMPLED_HELD_OUT = 20_000
"""Held-out rows of a pair that are."""

SAMPLED_DEFAULTS = 2_000
"""Training rows of the rarer outcome that a sample has at least: with fewer, trials differ by chance."""

LARGEST_SHARE = 0.5
"""The share of the training rows above which a sample would save too little."""


class StillFalling(ValueError):
    """The held-out loss still falls at the limit of rounds: the learning rate is too low."""

    def __init__(self, rounds: int, params: Mapping[str, Any]) -> None:
        self.rounds = rounds
        super().__init__(
            f"After {rounds:,} boosting rounds at a learning rate of {params.get('learning_rate', 0.3):g} the held-out "
            "loss still falls. Raise training.max_rounds, or set a higher training.learning_rate."
        )


@dataclass(frozen=True)
class Boosted:
    """A fit on every fold: its rounds, the held-out log loss after calibration, and the mean held-out AUC.

    `losses` is the loss of each of LOSS_PARTS parts of the held-out rows: two fits are compared part by part. `ranks`
    is false if the held-out rows are ranked no better than by chance. `work` is the estimated time of the whole fit in
    seconds of one processor core (`Folds.work`).
    """

    rounds: int
    loss: float
    auc: float
    losses: tuple[float, ...]
    ranks: bool
    work: float


class Watch:
    """Callbacks of a fit. Any method may raise to end the fit; these do nothing."""

    def growing(self, losses: np.ndarray, work: float) -> None:
        """Called every ROUNDS_AT_A_TIME with the mean held-out log loss of each round so far, over the active folds."""

    def grown(self, found: Boosted, lowest: float) -> None:
        """Called after each stage (`Folds.stages`) with the result on the folds so far and the lowest of their mean log
        losses over the rounds. The last stage's result is final."""

    def longer(self, limit: int) -> None:
        """Called when the loss still falls at the limit of rounds, with the raised limit."""


NOT_WATCHED = Watch()


class Folds:
    """The fold pairs of a design matrix, binned once and boosted many times.

    Several folds are boosted in parallel, one thread each: small fits gain nothing from more threads and lose much on a
    busy machine. A single pair uses `config.threads`. Results are bit-identical either way.
    """

    def __init__(self, design: DesignMatrix, validation: Validation, config: TrainingConfig) -> None:
        self.validation = validation
        self.features = len(design.features)
        self.device = device(config.device)
        pairs = self.validation.pairs
        self._design = design
        self._config = config
        self.threads = config.threads if len(pairs) == 1 else 1
        self.held_out_rows = [held_out for _, held_out in pairs]
        self.learned_rows = [int(learned.sum()) for learned, _ in pairs]
        self.stages = sorted({math.ceil(share * len(pairs)) for share in STAGES})
        # The sum of second derivatives if every PD is the default rate; the unit of `min_child_weight`.
        self.weight = min(float(design.target[rows].var() * rows.sum()) for rows, _ in pairs)
        self._levels = [np.float32(level) for level in levels(design, validation)]
        self._targets = [design.target[held_out] for _, held_out in pairs]
        self._binned: dict[int, list[xgboost.QuantileDMatrix]] = {}
        self._lowest: tuple[float, Mapping[str, Any], list[xgboost.Booster]] | None = None
        self.test_rows = held_out_of_test(design, config, len(pairs))
        self._held_out, self._tested = [], []
        for (learned, held_out), tested in zip(pairs, self.test_rows, strict=True):
            _, encodings = design.learned(learned)
            self._held_out.append(design.plain(held_out, encodings, self.threads))
            self._tested.append(partial(design.plain, tested, encodings, self.threads))
        # Each fold keeps its thread, because XGBoost caches predictions per thread.
        workers = [ThreadPoolExecutor(1) for _ in range(min(len(pairs), config.threads or os.cpu_count() or 1))]
        self._workers = [workers[fold % len(workers)] for fold in range(len(pairs))]

    def sample(self) -> Folds:
        """Folds of a sample of the rows, on which parameters are compared in a fraction of the time; or these, if they
        are too few to be sampled.

        Rows are selected by a hash of the entity key. All pairs have the same share, so that with an expanding window
        later pairs still have more rows.
        """
        pairs = self.validation.pairs
        target = self._design.target
        rarer = [min(int(target[rows].sum()), int((target[rows] == 0).sum())) for rows, _ in pairs]
        share = max(SAMPLED_ROWS / min(self.learned_rows), SAMPLED_DEFAULTS / min(rarer))
        if share > LARGEST_SHARE:
            return self
        held_out_share = SAMPLED_HELD_OUT / min(int(held_out.sum()) for _, held_out in pairs)
        place = hash_share(self._design.keys, f"{self._config.seed}:sample")
        sampled = [(rows & (place < share), held_out & (place < held_out_share)) for rows, held_out in pairs]
        return Folds(self._design, Validation(self.validation.by, sampled), self._config)

    def work(self, params: Mapping[str, Any], rounds: Sequence[int]) -> float:
        """Seconds of one processor core for the given rounds on each fold, estimated identically on every machine.

        A round adds each row to histograms, level by level, and compares every bin of the sampled features in every
        node.
        """
        levels = min(params["max_depth"], math.log2(params.get("max_leaves", 2 ** params["max_depth"])) + 1)
        light = self.weight / max(params.get("min_child_weight", 1), self.weight / min(self.learned_rows))
        grown_leaves = max(2.0, min(leaves(params), light))
        drawn = self.features * params.get("colsample_bytree", 1)
        compared = 2 * grown_leaves * drawn * params.get("max_bin", MAX_BIN) / BINS_A_SECOND
        return sum(
            grown * (ROUND_S + rows * self.features * levels / CELLS_A_SECOND + compared)
            for grown, rows in zip(rounds, self.learned_rows, strict=True)
        )

    def boost(self, params: Mapping[str, Any], watch: Watch = NOT_WATCHED) -> Boosted:
        """Boost until the mean held-out log loss over the folds no longer falls.

        Rounds are chosen by log loss: with a few hundred defaults, the peak of AUC over the rounds is mostly chance.
        Log loss rises as soon as PDs become too extreme, while the ranking may still improve; so among the rounds found
        and some ROUND_FACTORS ones, those with the lowest loss after calibration are chosen. Folds are boosted in
        `stages`, so that `watch` can end the fit early. Raises StillFalling as `_grown` does.
        """
        boosters = self._boosters(params)
        curves: list[list[float]] = [[] for _ in boosters]
        for folds in self.stages:
            losses = self._grown(params, boosters, curves, range(folds), watch)
            found = self._least(params, boosters, curves, range(folds), losses)
            watch.grown(found, float(losses.min()))
        if self._lowest is None or found.loss < self._lowest[0]:
            self._lowest = found.loss, dict(params), boosters
        return found

    def _grown(
        self,
        params: Mapping[str, Any],
        boosters: list[xgboost.Booster],
        curves: list[list[float]],
        active: range,
        watch: Watch,
    ) -> np.ndarray:
        """Boost the active folds until their mean loss no longer falls, and extend their `curves`. Returns the mean
        loss of each round.

        A loss counts as lower if it decreases by the share MIN_DECREASE. The fit ends after `early_stopping_rounds`
        without a lower loss at a learning rate of REFERENCE_RATE, and proportionally at others. The limit `max_rounds`
        is doubled up to MAX_DOUBLINGS times; beyond that StillFalling is raised.
        """
        learned = self._learned(params)
        wait = max(
            MIN_WAIT_ROUNDS,
            math.ceil(self._config.early_stopping_rounds * REFERENCE_RATE / params.get("learning_rate", 0.3)),
        )

        def grow(until: int, fold: int) -> None:
            for number in range(len(curves[fold]), until):
                boosters[fold].update(learned[fold], number)
                curves[fold].append(float(boosters[fold].eval(self._held_out[fold]).rpartition(":")[2]))

        limit, losses, lowest, lowest_at, wanted = self._config.max_rounds, np.empty(0), np.inf, 0, 0
        while True:
            begin, end = len(losses), len(losses) + ROUNDS_AT_A_TIME
            self._side_by_side(partial(grow, end), active)
            more = np.mean([curves[fold][begin:end] for fold in active], axis=0)
            for number, loss in enumerate(more, start=begin + 1):
                if loss < lowest * (1 - MIN_DECREASE):
                    lowest, lowest_at = float(loss), number
            losses = np.concatenate([losses, more])
            if not wanted and end - lowest_at >= wait:
                wanted = math.ceil((int(losses.argmin()) + 1) * ROUND_FACTORS[-1])
            if wanted and end >= wanted:
                return losses
            if not wanted and end >= limit:
                if limit >= self._config.max_rounds * 2**MAX_DOUBLINGS:
                    raise StillFalling(end, params)
                limit *= 2
                watch.longer(limit)
            watch.growing(losses, self.work(params, [*map(len, curves)]))

    def _least(
        self,
        params: Mapping[str, Any],
        boosters: list[xgboost.Booster],
        curves: list[list[float]],
        active: range,
        losses: np.ndarray,
    ) -> Boosted:
        """Among the rounds with the lowest loss and some ROUND_FACTORS ones, the fit with the lowest loss after
        calibration."""
        work = self.work(params, [*map(len, curves)])
        least = int(losses.argmin()) + 1
        tried = {min(math.ceil(least * later), len(losses)) for later in (1, *ROUND_FACTORS)}
        fits = [self._measured(boosters, active, rounds, work) for rounds in sorted(tried)]
        return min(fits, key=lambda fit: fit.loss)

    def _measured(self, boosters: list[xgboost.Booster], active: range, rounds: int, work: float) -> Boosted:
        from scipy.special import logit
        from sklearn.metrics import roc_auc_score

        def predict(fold: int) -> np.ndarray:
            booster, held_out = boosters[fold], self._held_out[fold]
            margin = booster.predict(held_out, iteration_range=(0, rounds), output_margin=True)
            return margin.astype(np.float64) + self._levels[fold]

        margins, targets = self._side_by_side(predict, active), [self._targets[fold] for fold in active]
        margin, target = np.concatenate(margins), np.concatenate(targets)
        try:
            log_odds, ranks = fit_platt(margin, target).log_odds(margin), True
        except CalibrationError:
            # The ranking is no better than one PD for all rows.
            log_odds, ranks = np.full(len(target), logit(target.mean())), False
        loss = np.logaddexp(0, log_odds) - target * log_odds
        part = np.arange(len(target)) % min(LOSS_PARTS, len(target))
        return Boosted(
            rounds=rounds,
            loss=float(loss.mean()),
            auc=float(np.mean([roc_auc_score(*pair) for pair in zip(targets, margins, strict=True)])),
            losses=tuple((np.bincount(part, loss) / np.bincount(part)).tolist()),
            ranks=ranks,
            work=work,
        )

    def rounds_of_whole(self, rounds: int) -> int:
        """Rounds for the whole training part: more in proportion to its rows, by at most half. With more rows, a model
        overfits later; with the rounds for two thirds of 1,000 to 3,000 rows, AUC was 0.001 to 0.003 lower."""
        whole = float(self._design.training.sum() / np.mean(self.learned_rows))
        return math.ceil(rounds * min(whole, 1.5))

    def margins(self, params: Mapping[str, Any], rounds: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each fold, the margins of its held-out rows (`held_out_rows`) and of its test rows (`test_rows`), by one
        model that was trained on neither.

        The margins are shifted to the level of a model of the whole training part (`levels`).
        """
        # Parameters that the search has fitted, with the lowest loss so far, are not fitted again.
        boosters = self._lowest[2] if self._lowest and self._lowest[1] == params else self._boosters(params)
        learned = self._learned(params)

        def fit(fold: int) -> tuple[np.ndarray, np.ndarray]:
            for number in range(boosters[fold].num_boosted_rounds(), rounds):
                boosters[fold].update(learned[fold], number)
            held_out, tested = (
                boosters[fold].predict(matrix, output_margin=True, iteration_range=(0, rounds)) + self._levels[fold]
                for matrix in (self._held_out[fold], self._tested[fold]())
            )
            return held_out, tested

        return self._side_by_side(fit, range(len(boosters)))

    def _side_by_side(self, work: Callable[[int], T], active: range) -> list[T]:
        futures = [self._workers[fold].submit(work, fold) for fold in active]
        return [future.result() for future in futures]

    def _boosters(self, params: Mapping[str, Any]) -> list[xgboost.Booster]:
        settings = xgboost_params(params, self._config.seed, self.threads, self.device)
        pairs = zip(self._learned(params), self._held_out, strict=True)
        return [booster_class()(settings, pair) for pair in pairs]

    def _learned(self, params: Mapping[str, Any]) -> list[xgboost.QuantileDMatrix]:
        """The folds' training rows in the given number of bins; the latest ones are cached (KEPT_CELLS)."""
        bins = params.get("max_bin", MAX_BIN)
        if bins not in self._binned:
            kept = max(2, int(KEPT_CELLS / (sum(self.learned_rows) * self.features)))
            while len(self._binned) >= kept:
                del self._binned[next(iter(self._binned))]
            pairs = self.validation.pairs
            self._binned[bins] = [self._design.binned(rows, self.threads, bins)[0] for rows, _ in pairs]
        return self._binned[bins]


def leaves(params: Mapping[str, Any]) -> int:
    """The maximum number of leaves of a tree with these parameters."""
    return min(2 ** int(params["max_depth"]), int(params.get("max_leaves", 2 ** int(params["max_depth"]))))


def xgboost_params(params: Mapping[str, Any], seed: int, threads: int, device: str = CPU) -> dict[str, Any]:
    """XGBoost's parameters: those searched for, and the fixed ones."""
    return {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_bin": MAX_BIN,
        "eval_metric": "logloss",
        "seed": seed,
        # Otherwise a booster's random draws depend on what was boosted before it in the same thread.
        "seed_per_iteration": True,
        **({"nthread": threads} if threads else {}),
        **({"device": device} if device != CPU else {}),
        **params,
    }
