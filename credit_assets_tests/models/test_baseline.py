"""The baseline: robust to extreme values, able to follow curves and missing values, and close to a straight line if the
truth is one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from credit_assets.models.design_matrix import DesignMatrix
from credit_assets.models.estimators import logistic_regression as module
from credit_assets.models.estimators.logistic_regression import BINS, RARE_ROWS, Column, LogisticModel, fit_logistic
from credit_assets.settings.training import TrainingConfig

CONFIG = TrainingConfig()


def frame_of(columns: dict[str, np.ndarray], log_odds: np.ndarray, seed: int) -> pd.DataFrame:
    rows = len(log_odds)
    bad = np.random.default_rng(seed).random(rows) < expit(log_odds)
    fold = np.array(["train", "train", "train", "valid", "test"])[np.arange(rows) % 5]
    return pd.DataFrame({"id": np.arange(rows), **columns, "batch": "a", "target": bad.astype(np.int8), "fold": fold})


def auc_on_test(frame: pd.DataFrame) -> float:
    features = [name for name in frame.columns if name not in ("id", "batch", "target", "fold")]
    design = DesignMatrix.of(frame, features, "id")
    model = fit_logistic(design, design.validation(CONFIG))
    test = frame[frame["fold"] == "test"]
    return roc_auc_score(test["target"], model.pd(test))


def best_auc(frame: pd.DataFrame, log_odds: np.ndarray) -> float:
    test = frame["fold"] == "test"
    return roc_auc_score(frame.loc[test, "target"], log_odds[test])


def test_few_extreme_values_do_not_distort_a_column() -> None:
    generator = np.random.default_rng(1)
    x = generator.normal(size=(4000, 3))
    log_odds = x @ np.array([1.0, -0.8, 0.5]) - 1.5
    frame = frame_of({f"x{j}": x[:, j] for j in range(3)}, log_odds, seed=1)
    spoilt = frame.copy()
    for j, value in enumerate((3e38, -3e38, 1e15)):
        spoilt.loc[generator.random(4000) < 0.003, f"x{j}"] = value
    assert auc_on_test(frame) == pytest.approx(best_auc(frame, log_odds), abs=0.005)
    assert auc_on_test(spoilt) == pytest.approx(auc_on_test(frame), abs=0.01)


def test_curve_and_missing_values_are_followed() -> None:
    generator = np.random.default_rng(2)
    age, score = generator.uniform(-2, 2, 6000), generator.normal(size=6000)
    missing = generator.random(6000) < 0.2
    log_odds = 1.2 * age**2 - 3 + np.where(missing, 1.5, score)
    frame = frame_of({"age": age, "score": np.where(missing, np.nan, score)}, log_odds, seed=2)
    assert auc_on_test(frame) > best_auc(frame, log_odds) - 0.01


def test_many_weak_linear_effects_are_estimated_as_well_as_by_plain_logistic_regression() -> None:
    generator = np.random.default_rng(3)
    x = generator.normal(size=(4000, 60))
    log_odds = x @ generator.normal(0, 0.15, 60) - 1
    frame = frame_of({f"x{j}": x[:, j] for j in range(60)}, log_odds, seed=3)
    test = (frame["fold"] == "test").to_numpy()
    plain = LogisticRegression().fit(x[~test], frame["target"][~test])
    assert auc_on_test(frame) > roc_auc_score(frame["target"][test], plain.decision_function(x[test])) - 0.01


def test_noise_gets_almost_no_weight() -> None:
    generator = np.random.default_rng(4)
    x = generator.normal(size=(1000, 100))
    frame = frame_of({f"x{j}": x[:, j] for j in range(100)}, np.full(1000, -1.5), seed=4)
    design = DesignMatrix.of(frame, [f"x{j}" for j in range(100)], "id")
    model = fit_logistic(design, design.validation(CONFIG))
    assert model.pd(frame).std() < 0.02


def test_rare_categories_share_a_column_and_unseen_ones_count_as_missing() -> None:
    rows = 400
    town = np.array(["Ulm", "Jena"])[np.arange(rows) % 2].astype(object)
    town[:3] = ["Aachen", "Bonn", None]
    frame = frame_of({"town": town, "x": np.random.default_rng(5).normal(size=rows)}, np.zeros(rows) - 0.5, seed=5)
    design = DesignMatrix.of(frame, ["town", "x"], "id")
    model = fit_logistic(design, design.validation(CONFIG))
    # Jena and Ulm, the rare categories, missing.
    assert model.columns[0].bins == 4 and RARE_ROWS > 3
    pds = model.pd(pd.DataFrame({"town": ["Aachen", "Bonn", "moon base", None], "x": 0.0}))
    assert pds[0] == pds[1] and pds[2] == pds[3]


def test_deciles_equal_an_example_by_hand() -> None:
    column = Column.of_number(np.append(np.arange(1, 101), np.nan).astype(np.float32), bins=10)
    assert column.edges.tolist() == [3, 11, 21, 31, 41, 51, 61, 71, 81, 91, 99]
    # Each edge is the largest value of its bin; missing values have the last bin.
    assert column.bin_of(np.array([-5, 3, 4, 11, 12, 99, 100, 1e9, np.nan])).tolist() == [0, 0, 1, 1, 2, 10, 11, 11, 12]
    assert column.bins == 13
    scores = column.score_of(np.array([-1e9, 3, 51, 99, 1e9, np.nan]))
    assert scores[0] == scores[1] < scores[2] < scores[3] == scores[4]
    assert scores[5] == 0


@pytest.mark.parametrize("share", [0.001, 0.03, 0.5, 0.97, 0.999])
def test_each_of_two_values_has_its_own_bin(share: float) -> None:
    values = (np.arange(2000) < 2000 * share).astype(np.float32)
    column = Column.of_number(values, bins=BINS)
    low, high = column.bin_of(np.array([0.0, 1.0]))
    assert low != high


@settings(max_examples=200, deadline=None)
@given(
    arrays(
        np.float32,
        st.integers(1, 60),
        elements=st.one_of(st.sampled_from([0, 1, np.nan]), st.floats(width=32, allow_infinity=False)),
    )
)
def test_any_column_gives_valid_bins_and_finite_scores(values: np.ndarray) -> None:
    column = Column.of_number(values, bins=5)
    missing = np.isnan(values)
    bins, scores = column.bin_of(values), column.score_of(values)
    assert ((bins == column.bins - 1) == missing).all()
    assert ((bins >= 0) & (bins < column.bins)).all()
    assert np.isfinite(scores).all() and (scores[missing] == 0).all()
    order = np.argsort(values[~missing], kind="stable")
    assert (np.diff(bins[~missing][order]) >= 0).all()
    assert (np.diff(scores[~missing][order]) >= -1e-9).all()
    if len(np.unique(values[~missing])) > 1:
        assert scores[~missing].mean() == pytest.approx(0, abs=1e-6)
        assert scores[~missing].std() == pytest.approx(1, abs=1e-6)
    again = Column.from_json(column.as_json())
    np.testing.assert_array_equal(again.bin_of(values), bins)
    np.testing.assert_array_equal(again.score_of(values), scores)


def test_baseline_predicts_after_being_saved_without_pickle(
    design: DesignMatrix, training_set: pd.DataFrame, tmp_path: Path
) -> None:
    applicants = training_set[training_set["fold"] == "test"]
    baseline = fit_logistic(design, design.validation(CONFIG))
    pds = baseline.pd(applicants.assign(employer="moon base"))
    assert ((pds > 0) & (pds < 1)).all()
    assert roc_auc_score(applicants["target"], baseline.pd(applicants)) > 0.7
    baseline.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json"]
    loaded = LogisticModel.load(tmp_path)
    np.testing.assert_array_equal(loaded.pd(applicants), baseline.pd(applicants))


def test_baseline_learns_from_a_sample_of_very_many_rows(
    design: DesignMatrix, training_set: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    applicants = training_set[training_set["fold"] == "test"]
    from_all = fit_logistic(design, design.validation(CONFIG)).pd(applicants)
    monkeypatch.setattr(module, "MAX_ROWS", 800)
    monkeypatch.setattr(module, "CHOOSING_ROWS", 500)
    from_some = fit_logistic(design, design.validation(CONFIG)).pd(applicants)
    assert not np.array_equal(from_some, from_all)
    assert np.corrcoef(from_some, from_all)[0, 1] > 0.9
