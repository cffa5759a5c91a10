"""Platt's calibration against scikit-learn's logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from credit_assets.models.calibration import CalibrationError, fit_platt


def margins(rows: int, slope: float, intercept: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    margin = generator.normal(-2, 1, rows).astype(np.float32)
    return margin, (generator.random(rows) < expit(slope * margin + intercept)).astype(int)


def test_calibration_equals_logistic_regression_on_platt_targets() -> None:
    margin, target = margins(2000, 1.7, 0.4)
    bads, goods = target.sum(), (target == 0).sum()
    wanted = np.where(target == 1, (bads + 1) / (bads + 2), 1 / (goods + 2))
    # A row with target t is a bad of weight t and a good of weight 1 - t.
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.concatenate([margin, margin]).astype(np.float64).reshape(-1, 1),
        np.repeat([1, 0], len(margin)),
        sample_weight=np.concatenate([wanted, 1 - wanted]),
    )
    platt = fit_platt(margin, target)
    assert platt.slope == pytest.approx(oracle.coef_[0, 0], rel=1e-4)
    assert platt.intercept == pytest.approx(oracle.intercept_[0], abs=1e-4)
    assert platt.pd(margin) == pytest.approx(expit(platt.log_odds(margin)))


def test_mean_pd_equals_the_default_rate() -> None:
    margin, target = margins(5000, 0.6, -1)
    assert fit_platt(margin, target).pd(margin).mean() == pytest.approx(target.mean(), abs=1e-3)


def test_separated_classes_give_a_finite_line() -> None:
    platt = fit_platt(np.array([-3.0, -2, 2, 3], dtype=np.float32), np.array([0, 0, 1, 1]))
    assert 0 < platt.slope < 10
    assert platt.pd(np.array([-3.0, 3.0]))[1] == pytest.approx(0.75, abs=0.1)


def test_extreme_margin_gives_a_finite_line() -> None:
    margin, target = margins(2000, 1.7, 0.4)
    near, far = fit_platt(margin, target), fit_platt(margin.astype(np.float64) * 1000 + 5e4, target)
    assert far.pd(margin.astype(np.float64) * 1000 + 5e4) == pytest.approx(near.pd(margin), abs=1e-6)


def test_margins_that_rank_backwards_are_refused() -> None:
    margin, target = margins(2000, -1, -4)
    with pytest.raises(CalibrationError, match="no better than chance"):
        fit_platt(margin, target)


def test_single_class_is_refused() -> None:
    with pytest.raises(CalibrationError, match="3 and 0"):
        fit_platt(np.zeros(3, dtype=np.float32), np.zeros(3))
