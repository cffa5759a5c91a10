"""The search on a sample of many rows: what is sampled, which trials are fitted on all rows, and that it repeats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from credit_assets.models import folds as folds_module
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators.xgboost import fit_xgboost
from credit_assets.models.folds import Folds
from credit_assets.models.search_space import Space
from credit_assets.models.tuning import Tuning, _finalists, study_name, tune
from credit_assets.settings.training import TrainingConfig
from credit_assets_tests.models.conftest import FEATURES, make_training_set

CONFIG = TrainingConfig(trials=3, threads=1, cv_below_rows=100, cv_below_defaults=0, early_stopping_rounds=10)
SPACE = Space.of(5, 100, 1000)


@pytest.fixture
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of hundreds of rows."""
    for name, value in {"SAMPLED_ROWS": 600, "SAMPLED_HELD_OUT": 400, "SAMPLED_DEFAULTS": 20}.items():
        monkeypatch.setattr(folds_module, name, value)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_training_set(4000)


def folds_of(frame: pd.DataFrame, config: TrainingConfig = CONFIG) -> Folds:
    design = DesignMatrix.of(frame, FEATURES, "SK_ID_CURR")
    return Folds(design, design.validation(config), config)


def search(frame: pd.DataFrame, folder: Path, config: TrainingConfig = CONFIG) -> tuple[Tuning, list[str]]:
    messages: list[str] = []
    return tune(folds_of(frame, config), config, folder, "1", progress=messages.append), messages


@pytest.mark.usefixtures("few_are_many")
def test_sample_is_a_share_of_each_pair_whatever_the_order_of_the_rows(frame: pd.DataFrame) -> None:
    folds = folds_of(frame)
    sample = folds.sample()
    [(learned, held_out)], [(all_learned, all_held_out)] = sample.validation.pairs, folds.validation.pairs
    assert not (learned & ~all_learned).any() and not (held_out & ~all_held_out).any()
    assert learned.sum() == pytest.approx(600, rel=0.15) and held_out.sum() == pytest.approx(400, rel=0.15)
    shuffled = folds_of(frame.sample(frac=1, random_state=1)).sample()
    np.testing.assert_array_equal(shuffled.validation.pairs[0][0], learned)


def test_few_rows_or_few_defaults_are_not_sampled(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    folds = folds_of(frame)
    assert folds.sample() is folds
    monkeypatch.setattr(folds_module, "SAMPLED_ROWS", 600)
    # Of some hundred defaults, 2,000 cannot be sampled.
    assert folds.sample() is folds


@pytest.mark.usefixtures("few_are_many")
def test_best_trials_of_the_sample_are_fitted_on_all_rows(frame: pd.DataFrame, tmp_path: Path) -> None:
    found, messages = search(frame, tmp_path)
    on_all = found.trials[found.trials["state"].str.endswith("on all rows")]
    assert len(found.trials) == CONFIG.trials + len(on_all) and 1 <= len(on_all) <= 2
    assert found.loss == on_all["log_loss"].min()
    # Fitted again on all rows, it gives the same figures.
    again = folds_of(frame).boost(found.params)
    assert (again.rounds, again.loss, again.auc) == (found.rounds, found.loss, found.auc)
    assert [line for line in messages if " on all rows: log loss 0." in line]


@pytest.mark.usefixtures("few_are_many")
def test_sampled_search_repeats_with_other_threads_and_continues(frame: pd.DataFrame, tmp_path: Path) -> None:
    first, _ = search(frame, tmp_path / "one")
    other, _ = search(frame, tmp_path / "two", CONFIG.model_copy(update={"threads": 2}))
    columns = [name for name in first.trials if name != "seconds"]
    pd.testing.assert_frame_equal(first.trials[columns], other.trials[columns], check_exact=True)
    again, messages = search(frame, tmp_path / "one")
    assert len(messages) == 1
    assert (again.params, again.rounds, again.loss) == (first.params, first.rounds, first.loss)
    pd.testing.assert_frame_equal(again.trials, first.trials, check_exact=True)


@pytest.mark.usefixtures("few_are_many")
def test_model_is_the_same_whether_its_search_ran_here_or_before(frame: pd.DataFrame, tmp_path: Path) -> None:
    fresh = folds_of(frame)
    design = DesignMatrix.of(frame, FEATURES, "SK_ID_CURR")
    found = tune(fresh, CONFIG, tmp_path, "1", progress=lambda line: None)
    model, by_folds = fit_xgboost(design, fresh, found.params, found.rounds, CONFIG)
    later, later_by_folds = fit_xgboost(design, folds_of(frame), found.params, found.rounds, CONFIG)
    assert later.calibration == model.calibration
    pd.testing.assert_frame_equal(later_by_folds, by_folds, check_exact=True)
    np.testing.assert_array_equal(later.pd(frame), model.pd(frame))


@pytest.mark.parametrize("rounds", [5, 60])
def test_margins_of_a_fit_of_the_search_equal_those_of_a_new_fit(design: DesignMatrix, rounds: int) -> None:
    config = TrainingConfig(cv_folds=3, threads=1, early_stopping_rounds=10)
    params = {"max_depth": 3, "learning_rate": 0.3, "subsample": 0.7, "colsample_bytree": 0.6}
    searched, fresh = (Folds(design, design.validation(config), config) for _ in range(2))
    searched.boost(params)
    for kept, new in zip(searched.margins(params, rounds), fresh.margins(params, rounds), strict=True):
        np.testing.assert_array_equal(kept[0], new[0])
        np.testing.assert_array_equal(kept[1], new[1])


def trial(
    number: int, loss: float, depth: int, ranks: bool = True, state: str = "COMPLETE"
) -> optuna.trial.FrozenTrial:
    trial = optuna.trial.create_trial(
        state=optuna.trial.TrialState[state],
        value=loss if state == "COMPLETE" else None,
        params=SPACE.first[0] | {"max_depth": depth, "max_leaves": 256},
        distributions=SPACE.searched,
        user_attrs={"ranks": ranks},
    )
    trial.number = number
    return trial


def test_chosen_trial_and_the_best_with_larger_trees_are_finalists() -> None:
    stumps, other_stumps, deep = trial(0, 0.240, 1), trial(1, 0.2401, 1), trial(2, 0.2415, 4)
    deeper, poor, flat = trial(3, 0.2412, 6), trial(4, 0.2440, 3), trial(5, 0.2405, 5, ranks=False)
    pruned = trial(6, 0.0, 5, state="PRUNED")
    finished = [stumps, other_stumps, deep, deeper, poor, flat, pruned]
    assert _finalists(finished, stumps, SPACE) == [stumps, deeper]
    assert _finalists(finished, deeper, SPACE) == [deeper]
    assert _finalists([stumps, poor], stumps, SPACE) == [stumps]


def test_study_of_a_sample_or_of_a_gpu_has_another_name() -> None:
    names = {
        study_name(CONFIG, "1", SPACE),
        study_name(CONFIG, "1", SPACE, "cuda"),
        study_name(CONFIG, "1", SPACE, "cpu", [600]),
        study_name(CONFIG, "1", SPACE, "cpu", [601]),
    }
    assert len(names) == 4
    assert study_name(CONFIG.model_copy(update={"device": "cpu"}), "1", SPACE) == study_name(CONFIG, "1", SPACE)
