"""The search: a killed study ends like an uninterrupted one, and a finished one is not searched again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from credit_assets.models.calibration import CalibrationError
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators.xgboost import fit_xgboost
from credit_assets.models.folds import Boosted, Folds, StillFalling, Watch
from credit_assets.models.search_space import Space
from credit_assets.models.tuning import MIN_TRIALS, _chosen, _ended, _lower, study_name, tune
from credit_assets.settings.training import TrainingConfig
from credit_assets_tests.models.conftest import FEATURES, make_training_set

pytestmark = pytest.mark.slow

TRIALS = 7
PARAMETERS = list(Space.of(5, 100, 1000).searched)

SEARCH = """
import sys
from pathlib import Path
from credit_assets.settings.training import TrainingConfig
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.folds import Folds
from credit_assets.models.tuning import tune
from credit_assets_tests.models.conftest import FEATURES, make_training_set

class Announced(Folds):
    def boost(self, params, watch):
        growing, calls = watch.growing, iter(range(10_000))
        def announce(losses, work):
            if next(calls) == 0:
                print("round 10", flush=True)
            growing(losses, work)
        watch.growing = announce
        return super().boost(params, watch)

config = TrainingConfig(trials=7, cv_folds=3, threads=1)
design = DesignMatrix.of(make_training_set(), FEATURES, "SK_ID_CURR")
folds = Announced(design, design.validation(config), config)
tune(folds, config, Path(sys.argv[1]), "features at 3", progress=lambda line: print(line, flush=True))
"""


CONFIG = TrainingConfig(trials=TRIALS, cv_folds=3, threads=1)


@pytest.fixture(scope="module")
def folds(design: DesignMatrix) -> Folds:
    return Folds(design, design.validation(CONFIG), CONFIG)


def lines(trials: pd.DataFrame) -> list[dict[str, object]]:
    return trials.drop(columns="seconds").fillna({"auc": -1.0}).to_dict("records")


def test_search_killed_within_a_trial_ends_like_an_uninterrupted_one(folds: Folds, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    # The fourth and the sixth trial are killed while boosting: twice in total.
    for fatal in (4, 3):
        with subprocess.Popen([sys.executable, "-c", SEARCH, killed], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(fatal):
                while process.stdout.readline() != "round 10\n":
                    assert process.poll() is None
            os.kill(process.pid, signal.SIGKILL)
    resumed_lines: list[str] = []
    resumed = tune(folds, CONFIG, killed, "features at 3", progress=resumed_lines.append)
    uninterrupted = tune(folds, CONFIG, whole, "features at 3", progress=lambda line: None)
    assert 0 < len(resumed_lines) < TRIALS
    assert resumed.params == uninterrupted.params
    assert (resumed.rounds, resumed.auc) == (uninterrupted.rounds, uninterrupted.auc)
    assert lines(resumed.trials) == lines(uninterrupted.trials)
    assert len(resumed.trials) == TRIALS


def test_finished_search_runs_no_trial_and_more_trials_continue_it(
    design: DesignMatrix, config: TrainingConfig, tmp_path: Path
) -> None:
    said: list[str] = []
    first = tune(Folds(design, design.validation(config), config), config, tmp_path, "1", progress=said.append)
    assert len(said) == config.trials + 1
    assert said[0].startswith("trial 1 of at most 4: log loss 0.")
    assert f"best log loss {first.loss:.5f}" in said[-2]
    assert said[-1] == "The search ended after 4 trials: trials used up: 4."
    again = tune(Folds(design, design.validation(config), config), config, tmp_path, "1", progress=said.append)
    assert len(said) == config.trials + 2
    assert again.params == first.params
    longer = config.model_copy(update={"trials": 5})
    more = tune(Folds(design, design.validation(longer), longer), longer, tmp_path, "1", progress=said.append)
    assert lines(more.trials)[:4] == lines(first.trials)
    assert len(more.trials) == 5


def test_lowest_loss_wins_if_its_lead_is_not_chance() -> None:
    first = [trial(0.30, 0.01, number=1), trial(0.29, 0.01, number=2)]
    lucky, better = trial(0.289, 0.01, number=3), trial(0.25, 0.01, number=4)
    assert _chosen([*first, lucky], 2) is first[1]
    assert _chosen([*first, lucky, better], 2) is better
    assert _chosen(first[:1], 2) is first[0]
    # A trial that cannot be calibrated is chosen only if no other can.
    flat = trial(0.28, 0.01, number=2, ranks=False)
    assert _chosen([flat, flat, lucky], 2) is lucky
    assert _chosen([flat, first[0], trial(0.2999, 0.01, number=3)], 2) is first[0]
    assert _chosen([flat], 2) is flat


def test_chosen_trial_is_returned(folds: Folds, tmp_path: Path) -> None:
    found = tune(folds, CONFIG, tmp_path, "1", progress=lambda line: None)
    complete = found.trials[found.trials["state"] == "complete"]
    assert found.loss <= complete["log_loss"][complete["trial"] <= 4].min()
    [best] = complete[complete["log_loss"] == found.loss].to_dict("records")
    off = {name for name, value in found.params.items() if value == 0}
    assert off <= {"reg_lambda", "reg_alpha", "gamma"}
    for name in found.params.keys() - off - {"grow_policy"}:
        assert found.params[name] == best[name]
    assert (found.rounds, found.auc) == (best["rounds"], best["auc"])
    # Fitted again, it gives the same figures.
    again = folds.boost(found.params)
    assert (again.rounds, again.loss, again.auc) == (found.rounds, found.loss, found.auc)


def test_first_trials_are_untuned_configurations_of_both_libraries(folds: Folds, tmp_path: Path) -> None:
    trials = tune(folds, CONFIG, tmp_path, "1", progress=lambda line: None).trials
    fitted = [
        Space.of(folds.features, folds.weight, 800).params(trial) for trial in trials[PARAMETERS].to_dict("records")
    ]
    by_hand, lightgbm, xgboost = fitted[1:4]
    # The largest number of bins that is searched on so few rows.
    none = {"subsample": 1, "colsample_bytree": 1, "reg_alpha": 0, "gamma": 0, "max_bin": 64}
    assert none.items() <= by_hand.items() and none.items() <= lightgbm.items() and none.items() <= xgboost.items()
    assert (by_hand["learning_rate"], by_hand["max_depth"], "max_leaves" in by_hand) == (0.03, 4, False)
    assert (lightgbm["learning_rate"], lightgbm["max_leaves"], lightgbm["grow_policy"]) == (0.1, 31, "lossguide")
    assert (xgboost["learning_rate"], xgboost["max_depth"], xgboost["reg_lambda"]) == (0.3, 6, 1)


def test_hopeless_trial_is_pruned_and_costs_less(design: DesignMatrix, config: TrainingConfig, tmp_path: Path) -> None:
    long = config.model_copy(update={"trials": 12})
    trials = tune(Folds(design, design.validation(long), long), long, tmp_path, "1", progress=lambda line: None).trials
    pruned = trials[trials["state"] == "pruned"]
    assert len(pruned)
    assert pruned["log_loss"].min() > trials["log_loss"].min()


def test_slow_starting_trial_is_not_pruned_too_early(design: DesignMatrix) -> None:
    # With the same trees, a learning rate of 0.02 ends no worse than 0.3 but is far behind at every earlier round.
    folds = Folds(design, design.validation(CONFIG), CONFIG)
    fast, slow = ({"max_depth": 2, "learning_rate": rate} for rate in (0.3, 0.02))
    assert folds.boost(slow).loss < folds.boost(fast).loss


def test_no_trial_starts_after_the_time_limit(design: DesignMatrix, config: TrainingConfig, tmp_path: Path) -> None:
    short = config.model_copy(update={"timeout_s": 1e-6})
    found = tune(Folds(design, design.validation(short), short), short, tmp_path, "1", progress=lambda line: None)
    assert len(found.trials) == 1
    assert found.ended.startswith("out of time")


def test_budget_is_measured_in_work_not_time(design: DesignMatrix, config: TrainingConfig, tmp_path: Path) -> None:
    folds = Folds(design, design.validation(config), config)
    work = [
        folds.work({"max_depth": 3}, [100, 100, 100]),
        folds.work({"max_depth": 6, "max_leaves": 8}, [100, 100, 100]),
        folds.work({"max_depth": 3}, [200, 200, 200]),
        folds.work({"max_depth": 6}, [100, 100, 100]),
    ]
    assert work[0] == pytest.approx(work[2] / 2)
    assert work[0] < work[1] < work[3]
    small = config.model_copy(update={"trials": 300, "budget_s": 1e-6})
    # Some trials run whatever they cost.
    found = tune(folds, small, tmp_path, "1", progress=lambda line: None)
    assert (len(found.trials), found.ended) == (MIN_TRIALS, "budget used up: 1e-06 seconds of work")


def trial(
    loss: float, noise: float = 0.0, work: float = 10.0, number: int = 0, ranks: bool = True
) -> optuna.trial.FrozenTrial:
    losses = loss + noise * np.random.default_rng(number).normal(size=20)
    facts = {"losses": [losses.tolist()], "work": work, "ranks": ranks}
    return optuna.trial.create_trial(value=loss, user_attrs=facts)


def test_search_converges_when_nothing_improves_significantly() -> None:
    config = TrainingConfig(patience=5)
    quiet = [trial(0.3, 0.01, number=n) for n in range(9)]
    assert _ended(quiet[:8], config, 4) == ""
    assert _ended(quiet, config, 4) == "converged: no significant improvement in the last 5 trials"
    # A lower loss that may be chance is no improvement; one beyond its error is.
    lucky = [*quiet[:8], trial(0.2999, 0.01, number=8)]
    assert _ended(lucky, config, 4).startswith("converged")
    sure = [*quiet[:8], trial(0.28, 0.01, number=8)]
    assert _ended(sure, config, 4) == ""
    assert _ended([*sure, *quiet[:5]], config, 4).startswith("converged")
    # Very cheap trials continue for longer.
    cheap = [trial(0.3, 0.01, work=0.1, number=n) for n in range(50)]
    assert _ended(cheap, config, 4) == ""
    assert _ended(cheap, config.model_copy(update={"trials": 50}), 4) == "trials used up: 50"


def test_loss_that_still_falls_at_the_limit_raises_it(design: DesignMatrix) -> None:
    class Limits(Watch):
        def longer(self, limit: int) -> None:
            limits.append(limit)

    limits: list[int] = []
    short = CONFIG.model_copy(update={"max_rounds": 20})
    params = {"max_depth": 2, "learning_rate": 0.05}
    found = Folds(design, design.validation(short), short).boost(params, Limits())
    assert limits[:2] == [40, 80]
    assert found == Folds(design, design.validation(CONFIG), CONFIG).boost(params)
    assert found.rounds > 20


def test_loss_that_never_stops_falling_is_an_error_with_advice(design: DesignMatrix) -> None:
    config = CONFIG.model_copy(update={"max_rounds": 1})
    slow = Folds(design, design.validation(config), config)
    with pytest.raises(StillFalling, match=r"After 50 boosting rounds .* Raise training.max_rounds"):
        slow.boost({"max_depth": 2, "learning_rate": 0.001})


class Stages(Watch):
    """Records the losses of each stage's folds, and ends the fit after this many stages."""

    def __init__(self, last: int = 99) -> None:
        self.found: list[Boosted] = []
        self.last = last

    def grown(self, found: Boosted, lowest: float) -> None:
        self.found.append(found)
        if len(self.found) == self.last:
            raise StopIteration


def test_folds_grow_in_stages_and_a_fit_stopped_early_costs_less(design: DesignMatrix) -> None:
    config = CONFIG.model_copy(update={"cv_folds": 5})
    folds = Folds(design, design.validation(config), config)
    assert folds.stages == [1, 2, 5]
    params = {"max_depth": 3, "learning_rate": 0.1}
    whole = Stages()
    found = folds.boost(params, whole)
    assert (len(whole.found), whole.found[-1]) == (3, found)
    first = Stages(last=1)
    with pytest.raises(StopIteration):
        folds.boost(params, first)
    assert first.found == whole.found[:1]
    assert 0 < 2 * first.found[0].work < found.work
    # A fit stopped early leaves no trace.
    assert folds.boost(params) == found


@pytest.mark.parametrize(("rows", "bins"), [(900, 64), (2_000, 128), (9_000, 256), (50_000, 1024)])
def test_more_rows_are_cut_into_more_bins(rows: int, bins: int) -> None:
    space = Space.of(20, 0.1 * rows, rows)
    assert max(space.searched["max_bin"].choices) == bins
    assert [first["max_bin"] for first in space.first[1:4]] == [min(bins, 256)] * 3
    assert max(Space.of(300, 0.1 * rows, rows).searched["max_bin"].choices) == bins // 2


def test_difference_by_chance_is_not_lower() -> None:
    losses = 0.3 + 0.01 * np.random.default_rng(1).normal(size=20)
    shift = np.linspace(-0.01, 0.01, 20)
    error = shift.std(ddof=1) / np.sqrt(20)
    assert not _lower(losses, losses + shift)
    assert not _lower(losses, losses + shift + 0.99 * error)
    assert _lower(losses, losses + shift + 1.01 * error)
    assert _lower(losses, losses + shift + 0.51 * error, 0.5)


def test_trial_stops_after_the_first_folds_if_it_is_worse_there(design: DesignMatrix, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"cv_folds": 5, "trials": 12})
    folds, studies = Folds(design, design.validation(config), config), tmp_path
    trials = tune(folds, config, studies, "1", progress=lambda line: None).trials
    assert set(trials["state"]) == {"complete", "pruned"}
    [study] = studies.glob("*.sqlite3")
    kept = optuna.load_study(study_name=study.stem, storage=f"sqlite:///{study}").trials
    assert [trial.state.name.lower() for trial in kept] == [*trials["state"]]
    work = {"complete": [], "pruned": []}
    for trial in kept:
        work[trial.state.name.lower()].append(trial.user_attrs["work"] / trial.user_attrs["rounds"])
    assert np.median(work["pruned"]) < np.median(work["complete"])
    assert all(len(trial.user_attrs["losses"]) == 3 for trial in kept if trial.state.name == "COMPLETE")


def test_limits_of_ranges_are_reported_except_natural_ones() -> None:
    space = Space.of(30, 500, 4000)
    inside = space.first[0]
    assert space.edges(inside) == []
    assert space.edges(inside | {"max_depth": 12, "max_leaves": 256, "reg_lambda": 1000.0}) == [
        "max_leaves 256",
        "reg_lambda 1e+03",
    ]
    # Four levels have at most 16 leaves.
    assert space.edges(inside | {"max_depth": 4, "max_leaves": 256}) == []
    assert space.edges(inside | {"subsample": 1.0, "gamma": 0.005, "max_depth": 1}) == []


def test_study_is_named_after_everything_its_results_depend_on(config: TrainingConfig) -> None:
    space, data = Space.of(477, 1000, 9000), "features at 3"
    name = study_name(config, data, space)
    ends = {"trials": 50, "threads": 2, "timeout_s": 9, "budget_s": 7, "patience": 3}
    assert study_name(config.model_copy(update=ends), data, space) == name
    assert study_name(config, "features at 4", space) != name
    assert study_name(config, data, Space.of(30, 1000, 9000)) != name
    for change in ({"seed": 1}, {"cv": "batches"}, {"encodings": {"employer": "target"}}):
        assert study_name(config.model_copy(update=change), data, space) != name


def test_trees_sample_a_larger_share_of_few_features() -> None:
    spaces = {features: Space.of(features, 1000, 9000) for features in (20, 100, 477)}
    drawn = {features: space.searched["colsample_bytree"].low for features, space in spaces.items()}
    assert drawn == {20: 0.2, 100: 0.2, 477: 0.05}
    assert spaces[477].first[0]["colsample_bytree"] == pytest.approx(0.15)


@pytest.mark.parametrize("rate", [None, 0.1])
@pytest.mark.parametrize("weight", [3.0, 50.0, 5000.0])
@pytest.mark.parametrize("features", [2, 60, 900])
def test_search_starts_within_its_ranges_where_splits_are_possible(
    features: int, weight: float, rate: float | None
) -> None:
    space = Space.of(features, weight, int(weight * 5), rate)
    for first in space.first:
        assert first.keys() == space.searched.keys()
        for name, distribution in space.searched.items():
            assert distribution._contains(distribution.to_internal_repr(first[name])), name
        assert space.params(first)["learning_rate"] == (rate or first["learning_rate"])
    # A split leaves two sides.
    assert space.searched["min_child_weight"].high <= weight / 2


def test_uninformative_features_end_in_an_error_with_advice(tmp_path: Path) -> None:
    frame = make_training_set(200).assign(**dict.fromkeys(FEATURES, 1.0))
    design = DesignMatrix.of(frame, FEATURES, "SK_ID_CURR")
    config = TrainingConfig(trials=3, threads=1)
    folds = Folds(design, design.validation(config), config)
    found = tune(folds, config, tmp_path, "1", progress=lambda line: None)
    with pytest.raises(CalibrationError, match="Deliver more outcomes, or more informative features"):
        fit_xgboost(design, folds, found.params, found.rounds, config)


def test_very_small_book_gets_a_model(tmp_path: Path) -> None:
    # 150 rows with 25 defaults have a weight of 14 in two of three folds; with the usual minimum leaf weight of 20 no
    # split would be possible.
    frame = make_training_set(150, seed=3).assign(fold="train")
    bad = np.arange(150) % 6 == 0
    frame = frame.assign(target=bad.astype(np.int8), overdue=frame["noise"] + 2 * bad)
    design = DesignMatrix.of(frame, FEATURES, "SK_ID_CURR")
    small = TrainingConfig(trials=1, threads=1)
    folds = Folds(design, design.validation(small), small)
    assert folds.weight < 20
    found = tune(folds, small, tmp_path, "1", progress=lambda line: None)
    assert found.auc > 0.8
    model, held_out = fit_xgboost(design, folds, found.params, found.rounds, small)
    assert model.calibration.slope > 0
    assert held_out["pd"].nunique() > 10
