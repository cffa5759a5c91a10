"""The served model: exact contributions, reproducible to the bit, nothing learned from the test; and the baseline
beside it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from sklearn.metrics import log_loss, roc_auc_score

from credit_assets.models.calibration import fit_platt
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators.logistic_regression import LogisticModel, fit_logistic
from credit_assets.models.estimators.xgboost import XGBoostModel, fit_xgboost
from credit_assets.models.folds import Folds
from credit_assets.settings.training import Kind, TrainingConfig
from credit_assets_tests.models.conftest import FEATURES

PARAMS = {"max_depth": 3, "learning_rate": 0.1, "subsample": 0.7, "colsample_bytree": 0.6}


def fitted(design: DesignMatrix, rounds: int = 30, **changes: Any) -> tuple[XGBoostModel, pd.DataFrame]:
    config = TrainingConfig(**{"threads": 1, "cv_folds": 3} | changes)
    return fit_xgboost(design, Folds(design, design.validation(config), config), PARAMS, rounds, config)


@pytest.fixture(scope="module")
def model(design: DesignMatrix) -> XGBoostModel:
    return fitted(design)[0]


@pytest.fixture
def applicants(training_set: pd.DataFrame) -> pd.DataFrame:
    return training_set[training_set["fold"] == "test"]


def test_pds_rank_and_match_the_outcomes_of_unseen_applicants(model: XGBoostModel, applicants: pd.DataFrame) -> None:
    pd_ = model.pd(applicants)
    assert roc_auc_score(applicants["target"], pd_) > 0.7
    assert pd_.mean() == pytest.approx(applicants["target"].mean(), abs=0.06)


def test_training_rows_are_evaluated_by_models_that_did_not_learn_from_them(
    design: DesignMatrix,
) -> None:
    model, by_folds = fitted(design, rounds=60)
    held_out = by_folds[by_folds["fold"] != "test"]
    assert sorted(held_out["key"]) == sorted(design.keys[design.training])
    assert set(held_out["fold"]) == {"train", "valid"}
    assert held_out["pd"].mean() == pytest.approx(held_out["target"].mean(), abs=0.01)
    known = held_out.sort_values("key")
    memorised = model.booster.predict(design.plain(design.training, {}, threads=1), output_margin=True)
    assert roc_auc_score(known["target"], known["pd"]) < roc_auc_score(design.target[design.training], memorised) - 0.02


def test_contributions_sum_to_the_calibrated_log_odds(model: XGBoostModel, applicants: pd.DataFrame) -> None:
    contributions = model.contributions(applicants)
    assert contributions.shape == (len(applicants), len(FEATURES) + 1)
    assert contributions.sum(axis=1) == pytest.approx(logit(model.pd(applicants)), abs=1e-4)


def test_contributions_equal_those_of_shap(design: DesignMatrix, applicants: pd.DataFrame) -> None:
    import shap
    import xgboost

    # shap does not support categories of a booster, so the oracle sees numbers only.
    numbers = [feature for feature in FEATURES if feature != "employer"]
    plain = DesignMatrix.of(
        applicants.assign(fold=np.where(np.arange(len(applicants)) % 4 == 0, "valid", "train")),
        numbers,
        "SK_ID_CURR",
    )
    model, _ = fitted(plain, rounds=15, cv_folds=2)
    explainer = shap.TreeExplainer(model.booster, feature_perturbation="tree_path_dependent")
    matrix = xgboost.DMatrix(applicants[numbers], feature_types=["q"] * len(numbers))
    oracle = explainer.shap_values(matrix) * model.calibration.slope
    np.testing.assert_allclose(model.contributions(applicants)[:, :-1], oracle, atol=1e-4)


def test_unseen_category_counts_as_missing(model: XGBoostModel, applicants: pd.DataFrame) -> None:
    unseen = model.pd(applicants.assign(employer="moon base"))
    missing = model.pd(applicants.assign(employer=None))
    np.testing.assert_array_equal(unseen, missing)
    assert not np.array_equal(missing, model.pd(applicants.assign(employer="farm")))


def test_pd_does_not_depend_on_who_else_is_scored(model: XGBoostModel, applicants: pd.DataFrame) -> None:
    together = model.pd(applicants)
    np.testing.assert_array_equal(model.pd(applicants.iloc[::-1])[::-1], together)
    np.testing.assert_array_equal(model.pd(applicants.iloc[[7]]), together[[7]])


def test_saved_model_gives_the_same_results(model: XGBoostModel, applicants: pd.DataFrame, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded = XGBoostModel.load(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["booster.ubj", "model.json"]
    assert (loaded.encodings, loaded.features, loaded.categories, loaded.calibration) == (
        {},
        model.features,
        model.categories,
        model.calibration,
    )
    np.testing.assert_array_equal(loaded.pd(applicants), model.pd(applicants))
    np.testing.assert_array_equal(loaded.contributions(applicants), model.contributions(applicants))


def test_change_of_the_default_rate_over_time_is_not_corrected_twice(training_set: pd.DataFrame) -> None:
    # Twice as many default in the early batches; a model of all batches knows that already.
    batch = np.array(list("abcdef"))[np.arange(len(training_set)) % 6]
    generator = np.random.default_rng(5)
    bad = training_set["target"].to_numpy(dtype=bool)
    early = batch < "c"
    kept = ~bad | early | (generator.random(len(batch)) < 0.5)
    frame = training_set.assign(batch=batch, fold=np.where(batch == "f", "test", "train"))[kept]
    design = DesignMatrix.of(frame, FEATURES, "SK_ID_CURR")
    model, by_folds = fitted(design, cv="batches", cv_folds=2)
    held_out = by_folds[by_folds["fold"] != "test"]
    assert sorted(set(held_out["batch"])) == ["c", "d", "e"]
    test = frame[frame["fold"] == "test"]
    late, whole = (
        frame.loc[rows, "target"].mean() for rows in (frame["batch"].isin(["c", "d", "e"]), frame["fold"] != "test")
    )
    assert late < 0.8 * whole
    assert model.pd(test).mean() == pytest.approx(late, abs=0.02)


ENCODINGS: dict[str, Kind] = {"employer": "target", "town": "frequency"}


@pytest.fixture(scope="module")
def towns(training_set: pd.DataFrame) -> pd.DataFrame:
    town = np.random.default_rng(4).choice(["Ulm", "Aachen", "Jena", None], len(training_set))
    return training_set.assign(town=town)


def test_model_with_encodings_applies_and_keeps_them(towns: pd.DataFrame, tmp_path: Path) -> None:
    design = DesignMatrix.of(towns, [*FEATURES, "town"], "SK_ID_CURR", ENCODINGS)
    model, held_out = fitted(design)
    baseline = fit_logistic(design, design.validation(TrainingConfig()))
    assert set(model.learned_texts) == {"employer", "town"} and model.categories == {}
    test = towns[towns["fold"] == "test"]
    assert roc_auc_score(test["target"], model.pd(test)) > 0.7
    assert roc_auc_score(held_out["target"], held_out["pd"]) > 0.7
    assert model.contributions(test).sum(axis=1) == pytest.approx(logit(model.pd(test)), abs=1e-4)
    learned = towns.loc[towns["fold"] != "test", "town"]
    assert model.encodings["town"].numbers == pytest.approx((learned.value_counts() / len(learned)).to_dict())
    model.save(tmp_path / "model")
    baseline.save(tmp_path / "baseline")
    loaded = XGBoostModel.load(tmp_path / "model")
    assert loaded.encodings == model.encodings == LogisticModel.load(tmp_path / "baseline").encodings
    np.testing.assert_array_equal(loaded.pd(test), model.pd(test))
    elsewhere = test.assign(town="moon base", employer="moon base")
    rate = towns.loc[towns["fold"] != "test", "target"].mean()
    assert model.encodings["town"].other == 0
    assert model.encodings["employer"].other == pytest.approx(rate)
    for answers in (model.pd, baseline.pd):
        assert not np.array_equal(answers(elsewhere), answers(test.assign(town=None, employer=None)))


def test_category_of_pure_noise_gives_no_held_out_gain(training_set: pd.DataFrame) -> None:
    # 400 categories in 1,500 rows; encoded by its own outcomes, such a feature would rank the training rows nearly
    # perfectly.
    noise = np.random.default_rng(6).integers(0, 400, len(training_set)).astype(str)
    without, with_noise = (
        fitted(DesignMatrix.of(frame, names, "SK_ID_CURR", {"street": "target"} if "street" in names else {}))[1]
        for frame, names in (
            (training_set, FEATURES),
            (training_set.assign(street=noise), [*FEATURES, "street"]),
        )
    )
    before, after = (roc_auc_score(rows["target"], rows["pd"]) for rows in (without, with_noise))
    assert abs(after - before) < 0.01
    # Cross-fitted, it ranks the training rows no better than chance either.
    design = DesignMatrix.of(training_set.assign(street=noise), ["street"], "SK_ID_CURR", {"street": "target"})
    values, _ = design.learned(design.training)
    assert roc_auc_score(design.target[design.training], values[:, 0]) == pytest.approx(0.5, abs=0.06)


def test_outcomes_of_the_test_change_nothing(model: XGBoostModel, training_set: pd.DataFrame) -> None:
    tested = training_set["fold"] == "test"
    other = training_set.assign(
        target=np.where(tested, 1 - training_set["target"], training_set["target"]).astype(np.int8),
        income=np.where(tested, 1.0, training_set["income"]),
        employer=np.where(tested, "word of the test", training_set["employer"]),
    )
    changed, unchanged = (DesignMatrix.of(frame, FEATURES, "SK_ID_CURR") for frame in (other, training_set))
    again, _ = fitted(changed)
    np.testing.assert_array_equal(again.pd(training_set), model.pd(training_set))
    config = TrainingConfig()
    baseline, before = (fit_logistic(design, design.validation(config)) for design in (changed, unchanged))
    np.testing.assert_array_equal(baseline.pd(training_set), before.pd(training_set))


def test_each_row_is_evaluated_once_by_a_model_that_did_not_learn_from_it(design: DesignMatrix) -> None:
    _, by_folds = fitted(design, cv_folds=3)
    assert sorted(by_folds["key"]) == sorted(design.keys)
    on_test = by_folds[by_folds["fold"] == "test"]
    assert sorted(on_test["fold_model"].unique()) == [0, 1, 2]
    assert on_test["fold_model"].value_counts().min() > len(on_test) / 5
    config = TrainingConfig(cv_folds=3, threads=1)
    folds = Folds(design, design.validation(config), config)
    for number, held_out in enumerate(folds.held_out_rows):
        of_model = by_folds[(by_folds["fold_model"] == number) & (by_folds["fold"] != "test")]
        assert sorted(of_model["key"]) == sorted(design.keys[held_out])


def test_model_of_a_trial_does_not_depend_on_earlier_fits(design: DesignMatrix, config: TrainingConfig) -> None:
    fresh, used = Folds(design, design.validation(config), config), Folds(design, design.validation(config), config)
    used.boost({**PARAMS, "max_depth": 5})
    assert used.boost(PARAMS) == fresh.boost(PARAMS)


def test_large_training_part_is_fitted_on_one_pair(training_set: pd.DataFrame, design: DesignMatrix) -> None:
    config = TrainingConfig(cv_below_rows=100, cv_below_defaults=0, threads=2, max_rounds=20)
    folds = Folds(design, design.validation(config), config)
    found = folds.boost(PARAMS)
    [(margins, of_test)] = folds.margins(PARAMS, found.rounds)
    assert len(of_test) == (design.fold == "test").sum()
    [held_out] = folds.held_out_rows
    outcomes = design.target[held_out]
    assert found.auc == pytest.approx(roc_auc_score(outcomes, margins), abs=1e-9)
    # scikit-learn's loss of the calibrated PDs; the parts of the rows have nearly equal weight.
    pds = fit_platt(margins, outcomes).pd(margins)
    assert found.loss == pytest.approx(log_loss(outcomes, pds), abs=1e-9)
    assert np.mean(found.losses) == pytest.approx(found.loss, abs=1e-3)


FIT = """
import sys, hashlib
from credit_assets.models.estimators.logistic_regression import fit_logistic
from credit_assets.settings.training import TrainingConfig
from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators.xgboost import fit_xgboost
from credit_assets.models.folds import Folds
from credit_assets_tests.models.conftest import FEATURES, make_training_set
frame = make_training_set().sample(frac=1, random_state=int(sys.argv[1]))
design = DesignMatrix.of(frame, FEATURES, "SK_ID_CURR")
params = {"max_depth": 3, "subsample": 0.7, "colsample_bytree": 0.6}
frame = make_training_set()
for cv_below_rows in (100, 20_000):
    config = TrainingConfig(threads=int(sys.argv[1]), cv_below_rows=cv_below_rows, cv_below_defaults=0)
    model, _ = fit_xgboost(design, Folds(design, design.validation(config), config), params, 25, config)
    print(hashlib.sha256(model.pd(frame).tobytes() + model.contributions(frame).tobytes()).hexdigest())
print(hashlib.sha256(fit_logistic(design, design.validation(config)).pd(frame).tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_fresh_processes_with_other_threads_and_row_order_give_the_same_bits() -> None:
    printed = {
        subprocess.run([sys.executable, "-c", FIT, threads], capture_output=True, text=True, check=True).stdout
        for threads in ("1", "2")
    }
    assert len(printed) == 1
    assert len(printed.pop().split()) == 3
