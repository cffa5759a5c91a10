"""The search for XGBoost's parameters: a stored Optuna study that resumes where it was killed.

What is fitted with them is in `estimators.py`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from credit_assets.models.config import TrainingConfig
from credit_assets.models.estimators import Folds

if TYPE_CHECKING:
    import optuna

REPORT_EVERY = 20
"""Boosting rounds between two reports to the pruner: each is a write to the study's file."""

DRAWN = 20
"""Features that a tree draws from at least: with fewer, most trees would miss all that matter."""


@dataclass(frozen=True)
class Space:
    """What is searched for features and rows like these, and where the search begins: parameters that are rarely far
    off on application data."""

    searched: dict[str, optuna.distributions.BaseDistribution]
    first: dict[str, Any]

    @classmethod
    def of(cls, features: int, weight: float) -> Space:
        """For so many features, and rows of so much `weight` (the sum of second derivatives, rows * p * (1 - p)) to
        learn from.

        The share of features drawn for a tree was settled on 477 of them. Of few, the same share is next to none: it
        begins at DRAWN features, or at a fifth where that is less. A leaf's least weight is kept to shares of the
        whole that leave room for splits: on a small book, the usual 20 let none be found. Not searched is the
        learning rate: lower is better and slower, and one rate prunes fairly.
        """
        from optuna.distributions import FloatDistribution, IntDistribution

        least = min(max(0.05, DRAWN / features), 0.2)
        return cls(
            searched={
                "max_depth": IntDistribution(2, 6, log=True),
                "min_child_weight": FloatDistribution(min(2.0, weight / 50), min(50.0, weight / 2.5), log=True),
                "subsample": FloatDistribution(0.6, 0.95),
                "colsample_bytree": FloatDistribution(least, min(1.0, 8 * least), log=True),
                "reg_lambda": FloatDistribution(3, 100, log=True),
                "reg_alpha": FloatDistribution(0.1, 10, log=True),
                "gamma": FloatDistribution(0.01, 2, log=True),
            },
            first={
                "max_depth": 3,
                "min_child_weight": min(20.0, weight / 5),
                "subsample": 0.8,
                "colsample_bytree": min(0.4, 3 * least),
                "reg_lambda": 30.0,
                "reg_alpha": 1.0,
                "gamma": 0.01,
            },
        )


@dataclass(frozen=True)
class Tuning:
    """What the search found: parameters, boosting rounds, their mean held-out AUC, and every trial's line."""

    study: str
    params: dict[str, Any]
    rounds: int
    auc: float
    trials: pd.DataFrame


def tune(
    folds: Folds,
    config: TrainingConfig,
    folder: Path,
    data_version: str,
    progress: Callable[[str], None] = print,
) -> Tuning:
    """Search until `config.trials` trials of this study have finished, or `config.timeout_s` have passed.

    The study is a SQLite file in `folder`, named after the data version and all of the configuration
    that a trial's result depends on. Called again after a crash it goes on with the trials that are
    missing and ends as an uninterrupted search would have: the sampler is seeded anew before each
    trial by how many have finished. A search that is already complete returns at once. At least one
    trial runs whatever the timeout. `progress` is told one line a trial.
    """
    import filelock
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    space = Space.of(folds.features, folds.weight)
    name = study_name(config, data_version, space)
    ends_at = time.monotonic() + config.timeout_s
    # One search a study: a second process waits, then finds the trials done.
    with filelock.FileLock(folder / f"{name}.lock"):
        study = optuna.create_study(
            storage=f"sqlite:///{folder / name}.sqlite3",
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2 * REPORT_EVERY),
        )
        for left_by_a_crash in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(left_by_a_crash.number, state=optuna.trial.TrialState.FAIL)
        while (done := len(_finished(study))) < config.trials and (not done or time.monotonic() < ends_at):
            study.sampler = optuna.samplers.TPESampler(seed=_seed(config.seed, done), n_startup_trials=5)
            _run_trial(study, folds, space, config.learning_rate, first=done == 0)
            progress(_line(study, config))
        best = study.best_trial
        return Tuning(
            study=name,
            params={"learning_rate": config.learning_rate, **best.params},
            rounds=int(best.user_attrs["rounds"]),
            auc=study.best_value,
            trials=_trials(study),
        )


def study_name(config: TrainingConfig, data_version: str, space: Space) -> str:
    """A name that changes with everything a trial's result depends on, and with nothing else."""
    import optuna
    import xgboost

    budget = {"trials", "timeout_s", "threads"}
    searched = {name: repr(distribution) for name, distribution in space.searched.items()}
    versions = [xgboost.__version__, optuna.__version__]
    facts = [data_version, config.model_dump(exclude=budget), space.first, searched, versions]
    return "xgboost-" + hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _run_trial(study: optuna.Study, folds: Folds, space: Space, learning_rate: float, first: bool) -> None:
    import optuna

    if first and not study.get_trials(states=(optuna.trial.TrialState.WAITING,)):
        study.enqueue_trial(space.first)
    trial = study.ask(space.searched)

    def report(rounds: int, auc: float) -> None:
        if rounds % REPORT_EVERY == 0:
            trial.report(auc, rounds)
            if trial.should_prune():
                raise optuna.TrialPruned

    try:
        rounds, auc = folds.boost({"learning_rate": learning_rate, **trial.params}, report)
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return
    trial.set_user_attr("rounds", rounds)
    study.tell(trial, auc)


def _seed(seed: int, done: int) -> int:
    return int(np.random.SeedSequence([seed, done]).generate_state(1)[0])


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    import optuna

    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED))


def _line(study: optuna.Study, config: TrainingConfig) -> str:
    finished = _finished(study)
    last = finished[-1]
    said = "pruned" if last.value is None or last.state.name == "PRUNED" else f"AUC {last.value:.4f}"
    seconds = last.duration.total_seconds() if last.duration else 0.0
    return f"trial {len(finished)} of {config.trials}: {said} in {seconds:.1f} s, best {study.best_value:.4f}"


def _trials(study: optuna.Study) -> pd.DataFrame:
    """A line a finished trial: number, state, AUC (a pruned one's last), rounds, seconds, parameters."""
    lines = []
    for number, trial in enumerate(_finished(study), start=1):
        steps = trial.intermediate_values
        lines.append(
            {
                "trial": number,
                "state": trial.state.name.lower(),
                "auc": trial.value if trial.state.name == "COMPLETE" else steps[max(steps)],
                "rounds": trial.user_attrs.get("rounds", max(steps, default=0)),
                "seconds": round(trial.duration.total_seconds(), 2) if trial.duration else None,
                **trial.params,
            }
        )
    return pd.DataFrame(lines)
