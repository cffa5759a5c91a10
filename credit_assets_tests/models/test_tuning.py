"""The search: a killed study ends as an uninterrupted one, and a finished one is not searched again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from credit_assets.models.config import TrainingConfig
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators import Folds, fit_pd_model
from credit_assets.models.tuning import Space, study_name, tune
from credit_assets_tests.models.conftest import FEATURES, make_training_set

TRIALS = 7

SEARCH = """
import sys
from pathlib import Path
from credit_assets.models.config import TrainingConfig
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators import Folds
from credit_assets.models.tuning import tune
from credit_assets_tests.models.conftest import FEATURES, make_training_set

class Announced(Folds):
    def boost(self, params, on_round):
        def announce(rounds, auc):
            if rounds == 30:
                print("round 30", flush=True)
            on_round(rounds, auc)
        return super().boost(params, announce)

config = TrainingConfig(trials=7, max_rounds=60, early_stopping_rounds=60, threads=1)
folds = Announced(DesignMatrix.of(make_training_set(), FEATURES, "SK_ID_CURR"), config)
tune(folds, config, Path(sys.argv[1]), "features at 3", progress=lambda line: print(line, flush=True))
"""


CONFIG = TrainingConfig(trials=TRIALS, max_rounds=60, early_stopping_rounds=60, threads=1)


@pytest.fixture(scope="module")
def folds(design: DesignMatrix) -> Folds:
    return Folds(design, CONFIG)


def lines(trials: pd.DataFrame) -> list[dict[str, object]]:
    return trials.drop(columns="seconds").to_dict("records")


def test_a_search_killed_within_a_trial_ends_as_one_that_was_not(folds: Folds, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    # The fourth and the sixth trial are killed in mid-boosting: twice in all.
    for fatal in (4, 3):
        with subprocess.Popen([sys.executable, "-c", SEARCH, killed], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(fatal):
                while process.stdout.readline() != "round 30\n":
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


def test_a_finished_search_runs_no_trial_and_more_trials_go_on_from_it(
    design: DesignMatrix, config: TrainingConfig, tmp_path: Path
) -> None:
    said: list[str] = []
    first = tune(Folds(design, config), config, tmp_path, "1", progress=said.append)
    assert len(said) == config.trials
    assert said[0].startswith("trial 1 of 4: AUC 0.")
    assert f"best {first.auc:.4f}" in said[-1]
    again = tune(Folds(design, config), config, tmp_path, "1", progress=said.append)
    assert len(said) == config.trials
    assert again.params == first.params
    longer = config.model_copy(update={"trials": 5})
    more = tune(Folds(design, longer), longer, tmp_path, "1", progress=said.append)
    assert lines(more.trials)[:4] == lines(first.trials)
    assert len(more.trials) == 5


def test_the_best_trial_is_returned(folds: Folds, tmp_path: Path) -> None:
    found = tune(folds, CONFIG, tmp_path, "1", progress=lambda line: None)
    complete = found.trials[found.trials["state"] == "complete"]
    assert found.auc == complete["auc"].max()
    best = complete.loc[complete["auc"].idxmax()]
    assert found.params == {"learning_rate": CONFIG.learning_rate} | {
        name: best[name] for name in found.params if name in found.trials
    }
    assert found.rounds == best["rounds"]


def test_a_hopeless_trial_is_pruned(design: DesignMatrix, config: TrainingConfig, tmp_path: Path) -> None:
    long = config.model_copy(update={"trials": 10, "max_rounds": 100, "early_stopping_rounds": 100})
    trials = tune(Folds(design, long), long, tmp_path, "1", progress=lambda line: None).trials
    pruned = trials[trials["state"] == "pruned"]
    assert len(pruned)
    assert (pruned["rounds"] < 100).all()
    assert pruned["auc"].max() < trials["auc"].max()


def test_no_trial_begins_after_the_time_is_up(design: DesignMatrix, config: TrainingConfig, tmp_path: Path) -> None:
    short = config.model_copy(update={"timeout_s": 1e-6})
    assert len(tune(Folds(design, short), short, tmp_path, "1", progress=lambda line: None).trials) == 1


def test_a_study_is_named_after_what_its_results_depend_on(config: TrainingConfig) -> None:
    space, data = Space.of(477, 1000), "features at 3"
    name = study_name(config, data, space)
    assert study_name(config.model_copy(update={"trials": 50, "threads": 2, "timeout_s": 9}), data, space) == name
    assert study_name(config, "features at 4", space) != name
    assert study_name(config, data, Space.of(30, 1000)) != name
    for change in ({"seed": 1}, {"cv": "batches"}, {"encodings": {"employer": "target"}}):
        assert study_name(config.model_copy(update=change), data, space) != name


def test_of_few_features_a_tree_draws_a_larger_share() -> None:
    drawn = {features: Space.of(features, 1000).searched["colsample_bytree"] for features in (20, 100, 477)}
    assert {features: (found.low, found.high) for features, found in drawn.items()} == {
        20: (0.2, 1.0),
        100: (0.2, 1.0),
        477: (0.05, 0.4),
    }
    assert Space.of(477, 1000).first["colsample_bytree"] == pytest.approx(0.15)


@pytest.mark.parametrize("weight", [3.0, 50.0, 5000.0])
@pytest.mark.parametrize("features", [2, 60, 900])
def test_the_search_begins_within_what_is_searched_and_where_splits_are_possible(features: int, weight: float) -> None:
    space = Space.of(features, weight)
    assert space.first.keys() == space.searched.keys()
    for name, distribution in space.searched.items():
        assert distribution.low <= space.first[name] <= distribution.high
    # A split leaves two sides.
    assert space.searched["min_child_weight"].high <= weight / 2


def test_a_very_small_book_gets_a_model(tmp_path: Path) -> None:
    # 150 rows of which 25 defaulted have a weight of 14 in two of three folds: were the least weight of a leaf the
    # usual 20, none could be split.
    frame = make_training_set(150, seed=3).assign(fold="train")
    bad = np.arange(150) % 6 == 0
    frame = frame.assign(target=bad.astype(np.int8), overdue=frame["noise"] + 2 * bad)
    design = DesignMatrix.of(frame, FEATURES, "SK_ID_CURR")
    small = TrainingConfig(trials=1, threads=1)
    folds = Folds(design, small)
    assert folds.weight < 20
    found = tune(folds, small, tmp_path, "1", progress=lambda line: None)
    assert found.auc > 0.8
    model, held_out = fit_pd_model(design, folds, found.params, found.rounds, small)
    assert model.calibration.slope > 0
    assert held_out["pd"].nunique() > 10
