"""The search for XGBoost's parameters: a stored Optuna study that resumes where it was killed.

What a trial fits is in `folds.py`.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd

from credit_assets.models.design_matrix import NARROW
from credit_assets.models.folds import Boosted, Folds, StillFalling, Watch
from credit_assets.settings.training import TrainingConfig

if TYPE_CHECKING:
    import optuna

DRAWN = 20
"""Features that a tree draws from at least: with fewer, most trees would miss all that matter."""

MIN_TRIALS = 12
"""Trials that are made whatever they cost."""

BINS: dict[int, tuple[int, ...]] = {1_500: (16, 32, 64), 3_000: (32, 64, 128), 16_000: (64, 128, 256)}
"""Numbers of bins to search among, below so many rows: a trial on few rows takes most of its time for bins, which hold
few rows each."""

MOST_BINS: tuple[int, ...] = (128, 256, 512, 1024)
"""Numbers of bins to search among with more rows."""

WIDE = 200
"""Features beyond which the largest number of bins is left out: each trial would take twice as long."""

RANDOM_TRIALS = 4
"""Trials after the first configurations that are drawn at random, before any are proposed."""

QUIET_S = 20.0
"""Seconds of work without a sure improvement, beside `patience`, before a search has converged: small books, whose
trials cost next to nothing, get many more of them."""

OFF = ("reg_lambda", "reg_alpha", "gamma")
"""Penalties, searched on a logarithmic scale, whose lowest value stands for none at all."""

NATURAL_ENDS = {
    ("subsample", "high"),
    ("colsample_bytree", "high"),
    ("max_depth", "low"),
    ("max_depth", "high"),
    ("learning_rate", "low"),
    ("min_child_weight", "low"),
    *((name, "low") for name in OFF),
}
"""Ends of ranges beyond which there is nothing, or nothing worth its time (the largest depth leaves the limit to
`max_leaves`; the least weight of a leaf is below that of a row)."""

HOPELESS = 4
"""A trial is pruned where even so many times its gain of the last half of its rounds would leave it behind."""

LUCK = 0.5
"""Standard errors by which a trial may be worse than the best on some folds and still be fitted on the others."""


@dataclass(frozen=True)
class Space:
    """What is searched for features and rows like these, and the configurations that are always tried first."""

    searched: dict[str, Any]
    first: list[dict[str, Any]]
    fixed: dict[str, Any]

    @classmethod
    def of(cls, features: int, weight: float, rows: int, learning_rate: float | None = None) -> Space:
        """For so many features, and so many rows of so much `weight` (the sum of second derivatives, rows * p *
        (1 - p)) to learn from.

        The ranges are wide: trees from stumps to 256 leaves, penalties from none to strong. A leaf's least weight is
        kept to shares of the whole that leave room for splits: on a small book, the usual 20 let none be found. The
        share of features drawn for a tree begins at DRAWN of them, or at a fifth where that is less.

        Tried first are strongly regularised trees that are rarely far off on application data, what people fit
        without a search, the defaults of LightGBM and XGBoost, and trees of one split, which add up features without
        interactions.
        """
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        least = min(max(0.05, DRAWN / features), 0.2)
        row = weight / rows
        bins = next((numbers for below, numbers in BINS.items() if rows < below), MOST_BINS)
        if features > WIDE:
            bins = bins[:-1]
        searched: dict[str, Any] = {
            "learning_rate": FloatDistribution(0.02 if features * rows < NARROW / 3 else 0.04, 0.5, log=True),
            "max_depth": IntDistribution(1, 12, log=True),
            "max_leaves": IntDistribution(4, 256, log=True),
            "min_child_weight": FloatDistribution(row / 2, min(200.0, weight / 2.5), log=True),
            "subsample": FloatDistribution(0.3, 1),
            "colsample_bytree": FloatDistribution(least, 1, log=True),
            "reg_lambda": FloatDistribution(0.1, 1000, log=True),
            "reg_alpha": FloatDistribution(0.01, 30, log=True),
            "gamma": FloatDistribution(0.005, 5, log=True),
            "max_bin": CategoricalDistribution(bins),
        }
        plain = {"subsample": 1, "colsample_bytree": 1, "reg_lambda": 1, "reg_alpha": 0, "gamma": 0, "max_bin": 256}
        first: list[dict[str, Any]] = [
            {
                "learning_rate": 0.07,
                "max_depth": 3,
                "max_leaves": 256,
                "min_child_weight": min(20.0, weight / 5),
                "subsample": 0.8,
                "colsample_bytree": min(0.4, 3 * least),
                "reg_lambda": 30.0,
                "reg_alpha": 1.0,
                "gamma": 0.01,
                "max_bin": bins[1],
            },
            # Those of scorers who do not search: a low rate, 400 trees of depth 4 (rounds are found by the trial).
            plain | {"learning_rate": 0.03, "max_depth": 4, "max_leaves": 256, "min_child_weight": 1},
            # LightGBM: leaf by leaf to 31 leaves of at least 20 rows, without penalties.
            plain
            | {"learning_rate": 0.1, "max_depth": 12, "max_leaves": 31, "min_child_weight": 20 * row, "reg_lambda": 0},
            # XGBoost.
            plain | {"learning_rate": 0.3, "max_depth": 6, "max_leaves": 256, "min_child_weight": 1},
        ]
        first.append(first[0] | {"learning_rate": 0.15, "max_depth": 1, "reg_lambda": 3.0, "reg_alpha": 0, "gamma": 0})
        fixed = {}
        if learning_rate is not None:
            del searched["learning_rate"]
            fixed["learning_rate"] = learning_rate
        return cls(searched, [_within(searched, configuration) for configuration in first], fixed)

    def params(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """XGBoost's parameters for the values of a trial."""
        params = {**self.fixed, **values}
        for name in OFF:
            if params[name] <= self.searched[name].low:
                params[name] = 0.0
        if 2 ** params["max_depth"] <= params["max_leaves"]:
            # The limit on leaves does not bind: level by level gives the same trees, faster.
            del params["max_leaves"]
        else:
            params["grow_policy"] = "lossguide"
        return params

    def edges(self, values: Mapping[str, Any]) -> list[str]:
        """Which of a trial's values lie on an end of their range that is not a natural one, such as `max_depth 12`."""
        params, found = self.params(values), []
        for name in sorted(params.keys() & self.searched.keys()):
            distribution, value = self.searched[name], values[name]
            if name == "max_bin":
                continue
            low, high, at = (
                math.log(x) if distribution.log else x for x in (distribution.low, distribution.high, value)
            )
            share = (at - low) / (high - low)
            if (share < 0.02 and (name, "low") not in NATURAL_ENDS) or (
                share > 0.98 and (name, "high") not in NATURAL_ENDS
            ):
                found.append(f"{name} {value:.3g}")
        return found


def _within(searched: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration's searched parameters, moved into their ranges."""
    moved = {}
    for name, distribution in searched.items():
        value = configuration[name]
        if name == "max_bin":
            value = min(value, max(distribution.choices))
        else:
            value = type(distribution.low)(min(max(value, distribution.low), distribution.high))
        moved[name] = value
    return moved


@dataclass(frozen=True)
class Tuning:
    """What the search found: parameters, boosting rounds, held-out log loss after calibration, their mean held-out AUC,
    and every trial's line; how the search ended, and which ends of ranges the best trial lies on."""

    study: str
    params: dict[str, Any]
    rounds: int
    loss: float
    auc: float
    trials: pd.DataFrame
    ended: str
    edges: list[str]


def tune(
    folds: Folds,
    config: TrainingConfig,
    folder: Path,
    data_version: str,
    progress: Callable[[str], None] = print,
) -> Tuning:
    """Search until trials no longer improve surely (`_ended`), or `config.timeout_s` have passed.

    The study is a SQLite file in `folder`, named after the data version and all of the configuration
    that a trial's result depends on. Called again after a crash it goes on with the trials that are
    missing and ends as an uninterrupted search would have: the sampler is seeded anew before each
    trial by how many have finished, and what ends a search is computed from the stored trials. A search that is already
    complete returns at once. At least one trial runs whatever the timeout. `progress` gets one line a trial.
    """
    import filelock
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    space = Space.of(folds.features, folds.weight, min(folds.learned_rows), config.learning_rate)
    name = study_name(config, data_version, space)
    ends_at = time.monotonic() + config.timeout_s
    # One search a study: a second process waits, then finds the trials done.
    with filelock.FileLock(folder / f"{name}.lock"):
        kept = optuna.create_study(
            storage=f"sqlite:///{folder / name}.sqlite3",
            study_name=name,
            direction="minimize",
            load_if_exists=True,
        )
        # In memory a trial is proposed and followed at a tenth of the cost; once it has finished it is kept.
        study = optuna.create_study(direction="minimize")
        study.add_trials(_finished(kept))
        while True:
            finished = _finished(study)
            ended = _ended(finished, config, len(space.first))
            if not ended and finished and time.monotonic() >= ends_at:
                ended = f"out of time: timeout_s ({config.timeout_s:g}) passed"
            if ended:
                break
            done = len(finished)
            study.sampler = optuna.samplers.TPESampler(
                seed=_seed(config.seed, done), n_startup_trials=len(space.first) + RANDOM_TRIALS
            )
            _run_trial(study, folds, space, config, done, progress)
            kept.add_trial(_finished(study)[-1])
            progress(_line(_finished(study), config))
        best = _chosen(finished, len(space.first))
        edges = space.edges(best.params)
        progress(f"The search ended after {len(finished)} trials: {ended}.")
        return Tuning(
            study=name,
            params=space.params(best.params),
            rounds=int(best.user_attrs["rounds"]),
            loss=float(best.value or 0.0),
            auc=float(best.user_attrs["auc"]),
            trials=_trials(finished),
            ended=ended,
            edges=edges,
        )


def study_name(config: TrainingConfig, data_version: str, space: Space) -> str:
    """A name that changes with everything a trial's result depends on, and with nothing else."""
    import optuna
    import xgboost

    ends = {"model", "trials", "patience", "budget_s", "timeout_s", "threads"}
    searched = {name: repr(distribution) for name, distribution in space.searched.items()}
    versions = [xgboost.__version__, optuna.__version__]
    facts = [data_version, config.model_dump(exclude=ends), space.first, searched, versions]
    return "xgboost-" + hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _run_trial(
    study: optuna.Study,
    folds: Folds,
    space: Space,
    config: TrainingConfig,
    done: int,
    progress: Callable[[str], None],
) -> None:
    import optuna

    if done < len(space.first):
        study.enqueue_trial(space.first[done])
    trial = study.ask(space.searched)
    params = space.params(trial.params)
    watch = _BesideTheBest(trial, params, _complete(_finished(study)), len(folds.stages), progress)
    try:
        found = folds.boost(params, watch)
    except (StillFalling, optuna.TrialPruned) as error:
        if isinstance(error, StillFalling):
            if watch.best is None:
                raise
            progress(f"trial {done + 1}: {error}")
            watch.note(error.rounds)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return
    for fact in ("auc", "ranks", "rounds", "work"):
        trial.set_user_attr(fact, getattr(found, fact))
    study.tell(trial, found.loss)


class _BesideTheBest(Watch):
    """Prunes a trial that is hopeless beside those that are complete.

    That is one whose loss would stay above the lowest even with HOPELESS times its gain of the last half of its rounds;
    or one that is worse than the best on the folds of any stage but the last, by LUCK standard errors.
    """

    def __init__(
        self,
        trial: optuna.Trial,
        params: Mapping[str, Any],
        complete: Sequence[optuna.trial.FrozenTrial],
        stages: int,
        progress: Callable[[str], None],
    ) -> None:
        self.best = min(complete, key=_loss, default=None)
        self._lowest = min((other.user_attrs["lowest"] for other in complete), default=math.inf)
        self._trial, self._params, self._stages, self._progress = trial, params, stages, progress
        self._losses: list[tuple[float, ...]] = []
        self._work = 0.0

    def growing(self, losses: np.ndarray, work: float) -> None:
        self._work = work
        rounds, reached = len(losses), float(losses.min())
        if self._losses or rounds < 20 or rounds * self._params["learning_rate"] < 2:
            return
        gain = float(losses[: rounds // 2].min()) - reached
        if reached - HOPELESS * gain > self._lowest:
            self._prune(reached, rounds)

    def grown(self, found: Boosted, lowest: float) -> None:
        self._work = found.work
        if not self._losses:
            self._trial.set_user_attr("lowest", lowest)
        self._losses.append(found.losses)
        stage = len(self._losses)
        if stage == self._stages:
            self._trial.set_user_attr("losses", self._losses)
        elif self.best and _lower(self.best.user_attrs["losses"][stage - 1], found.losses, LUCK):
            self._prune(found.loss, found.rounds)

    def longer(self, limit: int) -> None:
        number = self._trial.number + 1
        self._progress(f"trial {number}: the loss still fell at the limit of rounds, which is raised to {limit}")

    def note(self, rounds: int) -> None:
        """Note what a trial that is not complete has cost."""
        self._trial.set_user_attr("work", self._work)
        self._trial.set_user_attr("rounds", rounds)

    def _prune(self, loss: float, rounds: int) -> NoReturn:
        import optuna

        self.note(rounds)
        self._trial.report(loss, 1)
        raise optuna.TrialPruned


def _ended(finished: Sequence[optuna.trial.FrozenTrial], config: TrainingConfig, first: int) -> str:
    """Why no further trial is needed after these, or nothing.

    A trial improves surely where its loss is lower than that of the last sure improvement by more than the standard
    error of their difference, measured over parts of the held-out rows. A search has converged where `patience` trials,
    and trials of QUIET_S of work, have not improved surely. It ends within a trial's time of `budget_s`, but not before
    MIN_TRIALS and the `first` configurations were tried.
    """
    work = [trial.user_attrs["work"] for trial in finished]
    since = first
    record: Sequence[float] | None = None
    for number, trial in enumerate(finished, start=1):
        if trial.state.name == "COMPLETE":
            losses = trial.user_attrs["losses"][-1]
            if record is not None and not _lower(losses, record):
                continue
            record, since = losses, max(first, number)
    quiet = len(finished) - since
    if quiet >= config.patience and sum(work[since:]) >= QUIET_S:
        return f"converged: no sure improvement in the last {quiet} trials"
    if len(finished) >= config.trials:
        return f"trials used up: {config.trials}"
    if len(finished) >= max(first, MIN_TRIALS) and sum(work) >= config.budget_s:
        return f"budget used up: {config.budget_s:g} seconds of work"
    return ""


def _chosen(finished: Sequence[optuna.trial.FrozenTrial], first: int) -> optuna.trial.FrozenTrial:
    """The trial of the least loss, if it is surely lower than that of the best of the `first` ones; otherwise that one.

    The best of very many trials owes part of its lead to luck. A trial that ranks no better than chance is chosen only
    where all do.
    """
    complete = _complete(finished)
    ranking = [trial for trial in complete if trial.user_attrs["ranks"]] or complete
    best = min(ranking, key=_loss)
    untuned = min((trial for trial in ranking if trial in finished[:first]), key=_loss, default=best)
    return best if _lower(best.user_attrs["losses"][-1], untuned.user_attrs["losses"][-1]) else untuned


def _loss(trial: optuna.trial.FrozenTrial) -> float:
    return math.inf if trial.value is None else trial.value


def _lower(losses: Sequence[float], others: Sequence[float], errors: float = 1.0) -> bool:
    """Whether losses on parts of the held-out rows are lower than others by more than so many standard errors of the
    difference."""
    gains = np.array(others) - np.array(losses)
    return bool(gains.mean() > errors * gains.std(ddof=1) / math.sqrt(len(gains)))


def _seed(seed: int, done: int) -> int:
    return int(np.random.SeedSequence([seed, done]).generate_state(1)[0])


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    import optuna

    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED))


def _complete(finished: Sequence[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in finished if trial.state.name == "COMPLETE"]


def _line(finished: Sequence[optuna.trial.FrozenTrial], config: TrainingConfig) -> str:
    last, complete = finished[-1], _complete(finished)
    result = f"log loss {last.value:.5f}, AUC {last.user_attrs['auc']:.4f}" if last in complete else "pruned"
    seconds = last.duration.total_seconds() if last.duration else 0.0
    best = min((trial.value for trial in complete if trial.value is not None), default=math.nan)
    return f"trial {len(finished)} of at most {config.trials}: {result} in {seconds:.1f} s, best log loss {best:.5f}"


def _trials(finished: Sequence[optuna.trial.FrozenTrial]) -> pd.DataFrame:
    """A line a finished trial: number, state, log loss (a pruned one's so far), AUC, rounds, seconds, parameters."""
    lines = []
    for number, trial in enumerate(finished, start=1):
        lines.append(
            {
                "trial": number,
                "state": trial.state.name.lower(),
                "log_loss": trial.value if trial.state.name == "COMPLETE" else trial.intermediate_values.get(1),
                "auc": trial.user_attrs.get("auc"),
                "rounds": trial.user_attrs["rounds"],
                "seconds": round(trial.duration.total_seconds(), 2) if trial.duration else None,
                **trial.params,
            }
        )
    return pd.DataFrame(lines)
