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

FIRST_TRIAL = {
    "max_depth": 3,
    "min_child_weight": 20.0,
    "subsample": 0.8,
    "colsample_bytree": 0.15,
    "reg_lambda": 30.0,
    "reg_alpha": 1.0,
    "gamma": 0.01,
}
"""Where the search begins: parameters that are rarely far off on application data."""


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
    name = study_name(config, data_version)
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
            _run_trial(study, folds, config.learning_rate, first=done == 0)
            progress(_line(study, config))
        best = study.best_trial
        return Tuning(
            study=name,
            params={"learning_rate": config.learning_rate, **best.params},
            rounds=int(best.user_attrs["rounds"]),
            auc=study.best_value,
            trials=_trials(study),
        )


def study_name(config: TrainingConfig, data_version: str) -> str:
    """A name that changes with everything a trial's result depends on, and with nothing else."""
    import optuna
    import xgboost

    budget = {"trials", "timeout_s", "threads"}
    space = {name: repr(distribution) for name, distribution in _space().items()}
    versions = [xgboost.__version__, optuna.__version__]
    facts = [data_version, config.model_dump(exclude=budget), FIRST_TRIAL, space, versions]
    return "xgboost-" + hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _run_trial(study: optuna.Study, folds: Folds, learning_rate: float, first: bool) -> None:
    import optuna

    if first and not study.get_trials(states=(optuna.trial.TrialState.WAITING,)):
        study.enqueue_trial(FIRST_TRIAL)
    trial = study.ask(_space())

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


def _space() -> dict[str, optuna.distributions.BaseDistribution]:
    """What is searched. Not the learning rate: lower is better and slower, and one rate prunes fairly."""
    from optuna.distributions import FloatDistribution, IntDistribution

    return {
        "max_depth": IntDistribution(2, 6, log=True),
        "min_child_weight": FloatDistribution(2, 50, log=True),
        "subsample": FloatDistribution(0.6, 0.95),
        "colsample_bytree": FloatDistribution(0.05, 0.4, log=True),
        "reg_lambda": FloatDistribution(3, 100, log=True),
        "reg_alpha": FloatDistribution(0.1, 10, log=True),
        "gamma": FloatDistribution(0.01, 2, log=True),
    }


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
