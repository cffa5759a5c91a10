"""Scorecard points and bands of a PD. `policy.py` decides on the PD itself.

Formulas: N. Siddiqi, Credit Risk Scorecards (2006), "Scorecard scaling".
"""

from __future__ import annotations

import numpy as np

from credit_assets.settings.scorecard import ScorecardConfig


def points(pds: np.ndarray, scorecard: ScorecardConfig) -> np.ndarray:
    """Points (n,) int64: offset + factor * ln((1 - pd) / pd), rounded to the nearest integer, halves to even.

    Raises ValueError for a PD that is missing or not strictly between 0 and 1.

    Examples:
        At odds of 30 to 1, of 60 to 1, and at even odds:

        >>> points(np.array([1 / 31, 1 / 61, 0.5]), ScorecardConfig(base_points=600, base_odds=30))
        array([600, 620, 502])
    """
    pds = np.asarray(pds, dtype=np.float64)
    if not ((pds > 0) & (pds < 1)).all():
        outside = int((~((pds > 0) & (pds < 1))).sum())
        raise ValueError(f"{outside} of {pds.size} PDs are missing or not strictly between 0 and 1")
    return np.rint(scorecard.offset + scorecard.factor * (np.log1p(-pds) - np.log(pds))).astype(np.int64)


def pd_of(points: np.ndarray, scorecard: ScorecardConfig) -> np.ndarray:
    """The PD (n,) for which the scorecard gives these points, before rounding: the inverse of `points`.

    Examples:
        >>> pd_of(np.array([600, 620]), ScorecardConfig()).round(4)
        array([0.0323, 0.0164])
    """
    log_odds = (np.asarray(points, dtype=np.float64) - scorecard.offset) / scorecard.factor
    return 1 / (1 + np.exp(log_odds))


def band(points: np.ndarray, scorecard: ScorecardConfig) -> np.ndarray:
    """The name of the band (n,) for rounded points, so that points and band always agree.

    Examples:
        >>> band(np.array([640, 600, 599, 300]), ScorecardConfig()).tolist()
        ['A', 'B', 'C', 'E']
    """
    ascending = scorecard.bands[::-1]
    bounds = np.array([entry.from_points for entry in ascending[1:]], dtype=np.int64)
    names = np.array([entry.name for entry in ascending], dtype=object)
    return names[np.searchsorted(bounds, points, side="right")]
