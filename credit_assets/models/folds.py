"""The folds of a training part, on which parameters are compared: fitting on them, and its cost.

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

from credit_assets.models.calibration import CalibrationError, fit_platt
from credit_assets.models.design_matrix import DesignMatrix, Validation
from credit_assets.models.model import held_out_of_test, levels
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

STAGES = (0.2, 0.4, 1)
"""Shares of the folds that a fit grows on, one after the other. What is worse on the first ones can end there."""

FEWEST_WAITED = 10
"""Rounds without a lower loss that end a fit at the earliest, however high the learning rate."""

ROUND_S = 2e-4
"""Seconds that a round takes beside its rows and bins."""

CELLS_A_SECOND = 2e9
"""Rows times features times levels of a tree that one processor core adds to histograms in a second."""

BINS_A_SECOND = 1.5e8
"""Bins of drawn features, in all nodes of a tree, that one processor core compares in a second: on small books this
takes most of the time."""

KEPT_CELLS = 2e8
"""Cells of binned folds that are kept in memory, a byte or two each, for later trials with as many bins."""


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

    `losses` is the loss of each of LOSS_PARTS parts of the held-out rows: two fits are compared part by part. `ranks`
    is false where the held-out rows are ranked no better than by chance. `work` is the work of the whole fit in seconds
    of one processor core, estimated (`Folds.work`).
    """

    rounds: int
    loss: float
    auc: float
    losses: tuple[float, ...]
    ranks: bool
    work: float


class Watch:
    """Follows a fit while it grows. Any method may raise to end the fit; these do nothing."""

    def growing(self, losses: np.ndarray, work: float) -> None:
        """Every ROUNDS_AT_A_TIME, with the mean held-out log loss of each round so far over the folds that grow."""

    def grown(self, found: Boosted, lowest: float) -> None:
        """After each stage (`Folds.stages`), with the result on the folds grown so far and the lowest of their mean log
        losses over the rounds. That of the last stage is final."""

    def longer(self, limit: int) -> None:
        """The loss still falls at the limit of rounds, which is raised to this."""


NOT_WATCHED = Watch()


class Folds:
    """The pairs of a design matrix, binned once to be boosted many times.

    Several folds grow in one thread each, side by side: small fits gain nothing from threads of their
    own, and lose much on a busy machine. A single pair uses `config.threads`. Neither changes a bit.
    """

    def __init__(self, design: DesignMatrix, validation: Validation, config: TrainingConfig) -> None:
        self.validation = validation
        self.features = len(design.features)
        pairs = self.validation.pairs
        self._design = design
        self._config = config
        self.threads = config.threads if len(pairs) == 1 else 1
        self.held_out_rows = [held_out for _, held_out in pairs]
        self.learned_rows = [int(learned.sum()) for learned, _ in pairs]
        self.stages = sorted({math.ceil(share * len(pairs)) for share in STAGES})
        # The sum of second derivatives where every PD is the default rate: what a node's weight is measured in.
        self.weight = min(float(design.target[rows].var() * rows.sum()) for rows, _ in pairs)
        self._levels = [np.float32(level) for level in levels(design, validation)]
        self._targets = [design.target[held_out] for _, held_out in pairs]
        self._binned: dict[int, list[xgboost.QuantileDMatrix]] = {}
        self.test_rows = held_out_of_test(design, config, len(pairs))
        self._held_out, self._tested = [], []
        for (learned, held_out), tested in zip(pairs, self.test_rows, strict=True):
            _, encodings = design.learned(learned)
            self._held_out.append(design.plain(held_out, encodings, self.threads))
            self._tested.append(partial(design.plain, tested, encodings, self.threads))
        # A fold keeps its thread: XGBoost's cache of predictions belongs to the thread that made them.
        workers = [ThreadPoolExecutor(1) for _ in range(min(len(pairs), config.threads or os.cpu_count() or 1))]
        self._workers = [workers[fold % len(workers)] for fold in range(len(pairs))]

    def work(self, params: Mapping[str, Any], rounds: Sequence[int]) -> float:
        """Seconds of one processor core that so many rounds on each fold take, estimated the same on every machine.

        A round adds each row to histograms, level by level, and compares every bin of the features drawn in every node.
        """
        levels = min(params["max_depth"], math.log2(params.get("max_leaves", 2 ** params["max_depth"])) + 1)
        light = self.weight / max(params.get("min_child_weight", 1), self.weight / min(self.learned_rows))
        leaves = max(2.0, min(params.get("max_leaves", math.inf), 2 ** params["max_depth"], light))
        drawn = self.features * params.get("colsample_bytree", 1)
        compared = 2 * leaves * drawn * params.get("max_bin", MAX_BIN) / BINS_A_SECOND
        return sum(
            grown * (ROUND_S + rows * self.features * levels / CELLS_A_SECOND + compared)
            for grown, rows in zip(rounds, self.learned_rows, strict=True)
        )

    def boost(self, params: Mapping[str, Any], watch: Watch = NOT_WATCHED) -> Boosted:
        """Boost until the mean held-out log loss over the folds no longer falls.

        Rounds are chosen by log loss: on a few hundred defaults, an AUC's peak over the rounds is mostly luck. Log loss
        rises as soon as PDs become too extreme, while the ranking may still improve; so of the rounds found and some
        LATER ones, those with the least loss after calibration are taken. Folds grow in `stages`, so that `watch` can
        end the fit early. StillFalling is raised as `_grown` says.
        """
        boosters = self._boosters(params)
        curves: list[list[float]] = [[] for _ in boosters]
        for folds in self.stages:
            losses = self._grown(params, boosters, curves, range(folds), watch)
            found = self._least(params, boosters, curves, range(folds), losses)
            watch.grown(found, float(losses.min()))
        return found

    def _grown(
        self,
        params: Mapping[str, Any],
        boosters: list[xgboost.Booster],
        curves: list[list[float]],
        active: range,
        watch: Watch,
    ) -> np.ndarray:
        """Grow the active folds until their mean loss no longer falls; that loss for each round. `curves` get theirs.

        A loss counts as lower by a share of LOWER. What ends the fit is `early_stopping_rounds` without one at a
        learning rate of SLOW, in proportion more or fewer at others. A limit of `max_rounds` is doubled up to RAISES
        times; StillFalling is raised beyond.
        """
        learned = self._learned(params)
        wait = max(
            FEWEST_WAITED,
            math.ceil(self._config.early_stopping_rounds * SLOW / params.get("learning_rate", 0.3)),
        )

        def grow(until: int, fold: int) -> None:
            for number in range(len(curves[fold]), until):
                boosters[fold].update(learned[fold], number)
                curves[fold].append(float(boosters[fold].eval(self._held_out[fold]).rpartition(":")[2]))

        limit, losses, lowest, settled, wanted = self._config.max_rounds, np.empty(0), np.inf, 0, 0
        while True:
            begin, end = len(losses), len(losses) + ROUNDS_AT_A_TIME
            self._side_by_side(partial(grow, end), active)
            more = np.mean([curves[fold][begin:end] for fold in active], axis=0)
            for number, loss in enumerate(more, start=begin + 1):
                if loss < lowest * (1 - LOWER):
                    lowest, settled = float(loss), number
            losses = np.concatenate([losses, more])
            if not wanted and end - settled >= wait:
                wanted = math.ceil((int(losses.argmin()) + 1) * LATER[-1])
            if wanted and end >= wanted:
                return losses
            if not wanted and end >= limit:
                if limit >= self._config.max_rounds * 2**RAISES:
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
        """Of the rounds with the lowest loss and some LATER ones, the fit with the lowest loss after calibration."""
        work = self.work(params, [*map(len, curves)])
        least = int(losses.argmin()) + 1
        tried = {min(math.ceil(least * later), len(losses)) for later in (1, *LATER)}
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
            # No better than one PD for all.
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
        """Rounds for the whole training part: more in proportion to its rows, by half at most. More rows overfit later;
        with the rounds of two thirds of them, 1,000 to 3,000 rows gave an AUC lower by 0.001 to 0.003."""
        whole = float(self._design.training.sum() / np.mean(self.learned_rows))
        return math.ceil(rounds * min(whole, 1.5))

    def margins(self, params: Mapping[str, Any], rounds: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each fold, the margins of its held-out rows (`held_out_rows`) and of its test rows (`test_rows`) by one
        model that has learned from neither.

        The margins are at the level of a model of the whole training part (`levels`).
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

        return self._side_by_side(fit, range(len(boosters)))

    def _side_by_side(self, work: Callable[[int], T], active: range) -> list[T]:
        futures = [self._workers[fold].submit(work, fold) for fold in active]
        return [future.result() for future in futures]

    def _boosters(self, params: Mapping[str, Any]) -> list[xgboost.Booster]:
        import xgboost

        settings = xgboost_params(params, self._config.seed, self.threads)
        pairs = zip(self._learned(params), self._held_out, strict=True)
        return [xgboost.Booster(settings, pair) for pair in pairs]

    def _learned(self, params: Mapping[str, Any]) -> list[xgboost.QuantileDMatrix]:
        """The folds' rows to learn from, in so many bins as asked for; those of the latest are kept (KEPT_CELLS)."""
        bins = params.get("max_bin", MAX_BIN)
        if bins not in self._binned:
            kept = max(2, int(KEPT_CELLS / (sum(self.learned_rows) * self.features)))
            while len(self._binned) >= kept:
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
