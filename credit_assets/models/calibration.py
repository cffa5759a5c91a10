"""Platt's logistic calibration: from a model's margin to a probability of default. `evaluation/` measures the
calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class CalibrationError(ValueError):
    """The margins of held-out rows cannot be calibrated to probabilities of default."""


@dataclass(frozen=True)
class Platt:
    """log-odds of default = slope * margin + intercept. It is linear, so that contributions stay additive."""

    slope: float
    intercept: float

    def log_odds(self, margin: np.ndarray) -> np.ndarray:
        return self.slope * margin.astype(np.float64) + self.intercept

    def pd(self, margin: np.ndarray) -> np.ndarray:
        from scipy.special import expit

        return expit(self.log_odds(margin))


def fit_platt(margin: np.ndarray, target: np.ndarray) -> Platt:
    """The maximum-likelihood line from margin to log-odds, on rows that the model was not trained on.

    Targets are Platt's (1999, "Probabilistic outputs for support vector machines"), (bads + 1) / (bads + 2) and 1 /
    (goods + 2), which keep the line finite if the margin separates the classes. By Newton's method. Raises
    CalibrationError if the rows lack a class, or if a higher margin does not mean more defaults.
    """
    from scipy.special import expit

    bads = int((target == 1).sum())
    goods = len(target) - bads
    if not bads or not goods:
        raise CalibrationError(f"Calibration needs goods and bads; the held-out rows have {goods} and {bads}.")
    wanted = np.where(target == 1, (bads + 1) / (bads + 2), 1 / (goods + 2))
    # Centred and scaled, so that Newton's steps are well conditioned in any units of the margin.
    centre, scale = float(margin.mean(dtype=np.float64)), float(margin.std(dtype=np.float64)) or 1.0
    x = np.column_stack([(margin.astype(np.float64) - centre) / scale, np.ones(len(margin))])
    beta = np.array([0.0, np.log((bads + 1) / (goods + 1))])
    # Not scipy.optimize.minimize, which stops up to 4e-8 away: PDs must stay the same to the last bit.
    for _ in range(100):
        fitted = expit(x @ beta)
        hessian = (x * (fitted * (1 - fitted))[:, None]).T @ x
        step = np.linalg.lstsq(hessian, x.T @ (wanted - fitted), rcond=None)[0]
        # Half steps until the likelihood no longer falls: a full Newton step may overshoot.
        while _log_loss(x @ (beta + step), wanted) > _log_loss(x @ beta, wanted) + 1e-12:
            step = step / 2
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            break
    if not margin.std():
        raise CalibrationError(
            "All held-out rows have the same margin: the model found no feature that distinguishes applicants. Deliver "
            "more outcomes, or more informative features."
        )
    slope = float(beta[0] / scale)
    if slope <= 0:
        raise CalibrationError(
            f"On held-out rows a higher margin does not mean more defaults (slope {slope:.3g}): "
            "the model ranks no better than chance. Deliver more outcomes, or more informative features."
        )
    return Platt(slope=slope, intercept=float(beta[1] - beta[0] * centre / scale))


def _log_loss(log_odds: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sum(np.logaddexp(0, log_odds) - wanted * log_odds))
