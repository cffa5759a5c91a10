"""The search for XGBoost's parameters: a stored Optuna study that resumes after a crash.

`folds.py` fits a trial, `search_space.py` defines the parameters.
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

from credit_assets.models.device import CPU
from credit_assets.models.folds import Boosted, Folds, StillFalling, Watch, leaves
from credit_assets.models.search_space import Space
from credit_assets.settings.training import TrainingConfig

if TYPE_CHECKING:
    import optuna

MIN_TRIALS = 12
"""The minimum number of trials, whatever they cost."""

RANDOM_TRIALS = 4
"""Random trials after the first configurations, before the sampler proposes any."""

QUIET_WORK_S = 20.0
"""Seconds of work without a significant improvement, besides `patience`, after which a search has converged. Small
books, whose trials are cheap, get many more trials."""

PRUNE_FACTOR = 4
"""A trial is pruned if this many times its gain in the last half of its rounds would still leave it behind."""

PRUNE_ERRORS = 0.5
"""Standard errors by which a trial may be worse than the best on some folds and still continue on the others."""

FINAL_MARGIN = 0.01
"""The share by which a trial's loss on the sample may exceed that of the chosen one if it is to be fitted on all
rows."""


@dataclass(frozen=True)
class Tuning:
    """The result of the search: parameters, boosting rounds, held-out log loss after calibration, mean held-out AUC and
    all trials; why the search ended, and the parameters of the best trial at an end of their range."""

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
    """Search until trials no longer improve significantly (`_ended`), or `config.timeout_s` have passed.

    With many rows, trials are compared on a sample of them (`Folds.sample`), and the best two are then fitted on all
    rows, where the one with the lower loss is selected (`_finalists`).

    The study is a SQLite file in `folder`, named after the data version and all settings that a trial's result depends
    on. Called again after a crash, it continues with the missing trials and ends as an uninterrupted search would: the
    sampler is seeded before each trial by the number of finished ones, and the end is computed from the stored trials.
    A completed search returns at once. At least one trial runs whatever the timeout. `progress` gets a line per trial.
    """
    import filelock
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    sample = folds.sample()
    space = Space.of(folds.features, sample.weight, min(sample.learned_rows), config.learning_rate)
    name = study_name(config, data_version, space, sample.device, sample.learned_rows if sample is not folds else ())
    ends_at = time.monotonic() + config.timeout_s
    # One process per study: a second one waits, then finds the trials done.
    with filelock.FileLock(folder / f"{name}.lock"):
        store = f"sqlite:///{folder / name}.sqlite3"
        finished, ended = _search(store, name, sample, space, config, ends_at, progress)
        progress(f"The search ended after {len(finished)} trials: {ended}.")
        best = _chosen(finished, len(space.first))
        trials = _trials(finished)
        if sample is not folds:
            finals = _on_all_rows(store, folds, space, _finalists(finished, best, space), ends_at, progress)
            best = min(_complete(finals), key=_loss)
            on_all = _trials(finals).assign(trial=range(len(trials) + 1, len(trials) + len(finals) + 1))
            trials = pd.concat([trials, on_all.assign(state=on_all["state"] + " on all rows")], ignore_index=True)
        return Tuning(
            study=name,
            params=space.params(best.params),
            rounds=int(best.user_attrs["rounds"]),
            loss=float(best.value or 0.0),
            auc=float(best.user_attrs["auc"]),
            trials=trials,
            ended=ended,
            edges=space.edges(best.params),
        )


def _search(
    store: str,
    name: str,
    folds: Folds,
    space: Space,
    config: TrainingConfig,
    ends_at: float,
    progress: Callable[[str], None],
) -> tuple[list[optuna.trial.FrozenTrial], str]:
    """All finished trials of the study, after the missing ones have run, and why the search ended."""
    import optuna

    kept = optuna.create_study(storage=store, study_name=name, direction="minimize", load_if_exists=True)
    # In memory, proposing and following a trial takes a tenth of the time; finished trials are stored.
    study = optuna.create_study(direction="minimize")
    study.add_trials(_finished(kept))
    while True:
        finished = _finished(study)
        ended = _ended(finished, config, len(space.first))
        if not ended and finished and time.monotonic() >= ends_at:
            ended = f"out of time: timeout_s ({config.timeout_s:g}) passed"
        if ended:
            return finished, ended
        done = len(finished)
        study.sampler = optuna.samplers.TPESampler(
            seed=_seed(config.seed, done), n_startup_trials=len(space.first) + RANDOM_TRIALS
        )
        _run_trial(study, folds, space, space.first[done] if done < len(space.first) else None, progress)
        kept.add_trial(_finished(study)[-1])
        progress(_line(_finished(study), config))


def _finalists(
    finished: Sequence[optuna.trial.FrozenTrial], chosen: optuna.trial.FrozenTrial, space: Space
) -> list[optuna.trial.FrozenTrial]:
    """The trials of a sample that are fitted on all rows: the chosen one, and the best of those with larger trees.

    With more rows, larger trees gain more than small ones, so the order of these two may be the other way round.
    """
    larger = [
        trial
        for trial in _complete(finished)
        if trial.user_attrs["ranks"]
        and leaves(space.params(trial.params)) > leaves(space.params(chosen.params))
        and _loss(trial) <= _loss(chosen) * (1 + FINAL_MARGIN)
    ]
    return [chosen, *sorted(larger, key=_loss)[:1]]


def _on_all_rows(
    store: str,
    folds: Folds,
    space: Space,
    finalists: Sequence[optuna.trial.FrozenTrial],
    ends_at: float,
    progress: Callable[[str], None],
) -> list[optuna.trial.FrozenTrial]:
    """The finalists' fits on all rows, as finished trials; at least the first, whatever the time."""
    import optuna

    name = " ".join(["finalists", *(str(trial.number + 1) for trial in finalists)])
    study = optuna.create_study(storage=store, study_name=name, direction="minimize", load_if_exists=True)
    for number, finalist in enumerate(finalists):
        if number and time.monotonic() >= ends_at:
            break
        if len(_finished(study)) <= number:
            _run_trial(study, folds, space, finalist.params, progress)
            result = _result(_finished(study)[-1])
            progress(f"trial {finalist.number + 1} on all rows: {result}")
    return _finished(study)


def study_name(
    config: TrainingConfig, data_version: str, space: Space, device: str = CPU, sampled_rows: Sequence[int] = ()
) -> str:
    """A name that changes with everything that a trial's result depends on, and with nothing else."""
    import optuna
    import xgboost

    ends = {"model", "trials", "patience", "budget_s", "timeout_s", "threads", "device"}
    searched = {name: repr(distribution) for name, distribution in space.searched.items()}
    versions = [xgboost.__version__, optuna.__version__]
    facts: list[Any] = [data_version, config.model_dump(exclude=ends), space.first, searched, versions]
    # A study on the CPU and on all rows has the name that it had before there were others.
    facts += [[device]] if device != CPU else []
    facts += [[*sampled_rows]] if sampled_rows else []
    return "xgboost-" + hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _run_trial(
    study: optuna.Study,
    folds: Folds,
    space: Space,
    given: Mapping[str, Any] | None,
    progress: Callable[[str], None],
) -> None:
    """Run one trial, of the given values or of those that the sampler proposes."""
    import optuna

    if given:
        study.enqueue_trial(dict(given))
    trial = study.ask(space.searched)
    params = space.params(trial.params)
    watch = _Pruner(trial, params, _complete(_finished(study)), len(folds.stages), progress)
    try:
        found = folds.boost(params, watch)
    except (StillFalling, optuna.TrialPruned) as error:
        if isinstance(error, StillFalling):
            if watch.best is None:
                raise
            progress(f"trial {trial.number + 1}: {error}")
            watch.note(error.rounds)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return
    for fact in ("auc", "ranks", "rounds", "work"):
        trial.set_user_attr(fact, getattr(found, fact))
    study.tell(trial, found.loss)


class _Pruner(Watch):
    """Prunes a trial that is hopeless compared with the complete ones.

    A trial is hopeless if its loss would stay above the lowest even with PRUNE_FACTOR times its gain in the last half
    of its rounds, or if it is worse than the best on the folds of any stage but the last, by PRUNE_ERRORS standard
    errors.
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
        if reached - PRUNE_FACTOR * gain > self._lowest:
            self._prune(reached, rounds)

    def grown(self, found: Boosted, lowest: float) -> None:
        self._work = found.work
        if not self._losses:
            self._trial.set_user_attr("lowest", lowest)
        self._losses.append(found.losses)
        stage = len(self._losses)
        if stage == self._stages:
            self._trial.set_user_attr("losses", self._losses)
        elif self.best and _lower(self.best.user_attrs["losses"][stage - 1], found.losses, PRUNE_ERRORS):
            self._prune(found.loss, found.rounds)

    def longer(self, limit: int) -> None:
        number = self._trial.number + 1
        self._progress(f"trial {number}: the loss still fell at the limit of rounds, which is raised to {limit}")

    def note(self, rounds: int) -> None:
        """Record the cost of an incomplete trial."""
        self._trial.set_user_attr("work", self._work)
        self._trial.set_user_attr("rounds", rounds)

    def _prune(self, loss: float, rounds: int) -> NoReturn:
        import optuna

        self.note(rounds)
        self._trial.report(loss, 1)
        raise optuna.TrialPruned


def _ended(finished: Sequence[optuna.trial.FrozenTrial], config: TrainingConfig, first: int) -> str:
    """Why the search ends after these trials; empty if it continues.

    A trial improves significantly if its loss is lower than that of the last significant improvement by more than the
    standard error of the difference, measured over parts of the held-out rows. A search has converged after `patience`
    trials, and trials of QUIET_WORK_S of work, without one. It also ends within a trial's time of `budget_s`, but not
    before MIN_TRIALS and the `first` configurations.
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
    if quiet >= config.patience and sum(work[since:]) >= QUIET_WORK_S:
        return f"converged: no significant improvement in the last {quiet} trials"
    if len(finished) >= config.trials:
        return f"trials used up: {config.trials}"
    if len(finished) >= max(first, MIN_TRIALS) and sum(work) >= config.budget_s:
        return f"budget used up: {config.budget_s:g} seconds of work"
    return ""


def _chosen(finished: Sequence[optuna.trial.FrozenTrial], first: int) -> optuna.trial.FrozenTrial:
    """The trial with the lowest loss, if it is significantly lower than the best of the `first` trials; otherwise that
    one.

    The best of very many trials owes part of its lead to chance. A trial that ranks no better than chance is selected
    only if all do.
    """
    complete = _complete(finished)
    ranking = [trial for trial in complete if trial.user_attrs["ranks"]] or complete
    best = min(ranking, key=_loss)
    untuned = min((trial for trial in ranking if trial in finished[:first]), key=_loss, default=best)
    return best if _lower(best.user_attrs["losses"][-1], untuned.user_attrs["losses"][-1]) else untuned


def _loss(trial: optuna.trial.FrozenTrial) -> float:
    return math.inf if trial.value is None else trial.value


def _lower(losses: Sequence[float], others: Sequence[float], errors: float = 1.0) -> bool:
    """Whether losses on parts of the held-out rows are lower than others by more than `errors` standard errors of the
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
    best = min((trial.value for trial in _complete(finished) if trial.value is not None), default=math.nan)
    result = _result(finished[-1])
    return f"trial {len(finished)} of at most {config.trials}: {result}, best log loss {best:.5f}"


def _result(trial: optuna.trial.FrozenTrial) -> str:
    complete = trial.state.name == "COMPLETE"
    result = f"log loss {trial.value:.5f}, AUC {trial.user_attrs['auc']:.4f}" if complete else "pruned"
    return f"{result} in {trial.duration.total_seconds() if trial.duration else 0.0:.1f} s"


def _trials(finished: Sequence[optuna.trial.FrozenTrial]) -> pd.DataFrame:
    """One row per finished trial: number, state, log loss (the last one if pruned), AUC, rounds, seconds,
    parameters."""
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
