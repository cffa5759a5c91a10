"""Two models on the same labelled rows: whether the candidate is worse than the champion, and how certain that is.

`metrics.py` evaluates a single model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from credit_assets.statistics.metrics import Interval, decile_of, labelled


@dataclass(frozen=True)
class Comparison:
    """Candidate minus champion on the same rows: AUC (higher is better), Brier score, log loss, ECE, and the size of
    the calibration gap (lower is better).

    `p_value` is two-sided, for the hypothesis of equal AUCs.
    """

    applicants: int
    defaults: int
    confidence: float
    auc_candidate: float
    auc_champion: float
    auc_difference: Interval
    p_value: float
    brier_candidate: float
    brier_champion: float
    brier_difference: Interval
    log_loss_difference: Interval
    ece_difference: Interval
    gap_difference: Interval

    def figures(self) -> dict[str, float]:
        """Every figure under a stable name."""
        return {
            "auc_candidate": self.auc_candidate,
            "auc_champion": self.auc_champion,
            "auc_difference": self.auc_difference.value,
            "auc_difference_low": self.auc_difference.low,
            "auc_difference_high": self.auc_difference.high,
            "auc_p_value": self.p_value,
            "brier_candidate": self.brier_candidate,
            "brier_champion": self.brier_champion,
            "brier_difference": self.brier_difference.value,
            "brier_difference_low": self.brier_difference.low,
            "brier_difference_high": self.brier_difference.high,
            "log_loss_difference": self.log_loss_difference.value,
            "log_loss_difference_low": self.log_loss_difference.low,
            "log_loss_difference_high": self.log_loss_difference.high,
        }


def compare(y: np.ndarray, candidate: np.ndarray, champion: np.ndarray, confidence: float = 0.95) -> Comparison:
    """Compare the PDs (n,) of two models on the same outcomes (n,).

    AUCs by DeLong's test for correlated curves (DeLong, DeLong & Clarke-Pearson 1988), in O(n log n) after
    Sun & Xu (2014); the others by the paired mean difference with its normal interval. ECE and the size of the gap
    are sums of absolute values: their intervals are those of the same sums with fixed signs (the delta method). The
    results do not depend on the order of the rows.

    Raises ValueError as `labelled` does, and if an outcome has fewer than two rows.

    Examples:
        >>> outcomes = np.array([0, 0, 0, 1, 1, 1])
        >>> better, worse = np.array([0.1, 0.2, 0.5, 0.4, 0.6, 0.7]), np.array([0.1, 0.6, 0.5, 0.4, 0.3, 0.7])
        >>> compared = compare(outcomes, candidate=better, champion=worse)
        >>> round(compared.auc_candidate, 3), round(compared.auc_champion, 3), round(compared.p_value, 2)
        (0.889, 0.556, 0.22)
    """
    y, candidate = labelled(y, candidate)
    _, champion = labelled(y, champion)
    # In a defined order: sums of fractions depend on it in the last bits.
    order = np.lexsort((y, champion, candidate))
    y, candidate, champion = y[order], candidate[order], champion[order]
    aucs, covariance = _delong(y, np.vstack([candidate, champion]))
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    difference = float(aucs[0] - aucs[1])
    error = math.sqrt(max(0.0, float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])))
    squared_errors = (candidate - y) ** 2, (champion - y) ** 2
    off, off_champion = (y - pds for pds in (candidate, champion))
    return Comparison(
        applicants=y.size,
        defaults=int(y.sum()),
        confidence=confidence,
        auc_candidate=float(aucs[0]),
        auc_champion=float(aucs[1]),
        auc_difference=Interval(difference, difference - z * error, difference + z * error),
        p_value=_two_sided(difference, error),
        brier_candidate=float(squared_errors[0].mean()),
        brier_champion=float(squared_errors[1].mean()),
        brier_difference=_mean(squared_errors[0] - squared_errors[1], z),
        log_loss_difference=_mean(_log_losses(y, candidate) - _log_losses(y, champion), z),
        ece_difference=_mean(
            off * _signs(off, decile_of(candidate)) - off_champion * _signs(off_champion, decile_of(champion)), z
        ),
        gap_difference=_mean(off * np.sign(off.sum()) - off_champion * np.sign(off_champion.sum()), z),
    )


def _mean(differences: np.ndarray, z: float) -> Interval:
    """The mean of paired differences, with its normal interval."""
    mean, error = float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(differences.size)
    return Interval(mean, mean - z * error, mean + z * error)


def _log_losses(y: np.ndarray, pds: np.ndarray) -> np.ndarray:
    floor = np.finfo(np.float64).eps
    return -np.log(np.clip(np.where(y == 1, pds, 1 - pds), floor, 1))


def _signs(off: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Whether the bin of each row has more defaults than expected (1) or fewer (-1)."""
    return np.sign(np.bincount(bins, off))[bins]


def not_worse(comparison: Comparison, margin: float) -> bool:
    """False only if the candidate's AUC is significantly lower, and by more than `margin`.

    Significantly: the whole interval of the difference is below zero. With few rows this requires evidence of harm,
    because the stricter non-inferiority rule (`shown_not_worse`) could then never be met.
    """
    return not (comparison.auc_difference.value < -margin and comparison.auc_difference.high < 0)


def shown_not_worse(comparison: Comparison, margin: float) -> bool:
    """True if the rows are enough to rule out a loss of AUC above `margin` (non-inferiority)."""
    return comparison.auc_difference.low >= -margin


def auc_interval(y: np.ndarray, pds: np.ndarray, confidence: float = 0.95) -> Interval:
    """AUC with DeLong's interval, computed on the logit scale so that it stays within (0, 1).

    With an AUC of 0 or 1 there is no variance to estimate, and the interval is the point itself.
    Raises ValueError as `compare` does.

    Examples:
        >>> interval = auc_interval(np.array([0, 0, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.5, 0.4, 0.6, 0.7]))
        >>> f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
        '0.889 (0.261 to 0.995)'
    """
    y, pds = labelled(y, pds)
    order = np.lexsort((y, pds))
    y, pds = y[order], pds[order]
    aucs, covariance = _delong(y, pds[np.newaxis, :])
    auc, error = float(aucs[0]), math.sqrt(float(covariance[0, 0]))
    if not 0 < auc < 1:
        return Interval(auc, auc, auc)
    logit = math.log(auc / (1 - auc))
    half = NormalDist().inv_cdf((1 + confidence) / 2) * error / (auc * (1 - auc))
    return Interval(auc, 1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit)))


def _delong(y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs (k,) of k scores (k, n) and their covariance (k, k), from the placements of each row."""
    from scipy.stats import rankdata

    bad = y == 1
    n_bads, n_goods = int(bad.sum()), int((~bad).sum())
    if min(n_bads, n_goods) < 2:
        raise ValueError(f"{n_bads} defaults and {n_goods} others: a variance needs two of each")
    ranks, among_bads, among_goods = (rankdata(each, axis=1) for each in (scores, scores[:, bad], scores[:, ~bad]))
    goods_below = (ranks[:, bad] - among_bads) / n_goods
    bads_above = 1 - (ranks[:, ~bad] - among_goods) / n_bads
    covariance = np.atleast_2d(np.cov(goods_below)) / n_bads + np.atleast_2d(np.cov(bads_above)) / n_goods
    return goods_below.mean(axis=1), covariance


def _two_sided(difference: float, error: float) -> float:
    """The p-value of a normal difference; without variance it is 1 for no difference and 0 for any."""
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return math.erfc(abs(difference) / error / math.sqrt(2))
