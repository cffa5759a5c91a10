"""Whether as many defaulted as the PDs promised: in one batch by segment, and over all batches that a version scored.

No PD is exact: training leaves an error of its own. So PDs count as right while the default rate lies within a part of
a tolerance about the mean PD. A failure is off by more than the whole tolerance, and by more than that part beyond
chance. Which rows are judged, and what a failure means, is in `performance.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from credit_assets.plurals import number_of
from credit_assets.rounding import percent_apart

Floats = NDArray[np.float64]

SHIFTS = (0.08, 0.2, 0.5)
"""Log-odds by which PDs may be wrong beyond the margin: the alternatives of the cumulative test. Odds ratios of 1.08,
1.22 and 1.65."""


@dataclass(frozen=True)
class Tolerance:
    """How far a default rate may lie off a mean PD (`around`), and the part of that within which PDs are right."""

    around: Callable[[float], float]
    right_within: float


@dataclass(frozen=True)
class Segment:
    """Outcomes of a segment held against their PDs.

    `p_value`: the chance of a default rate as far off, if the PDs are right.
    `beyond_tolerance`: whether the default rate, as it is, is off by more than the tolerance.
    """

    name: str
    outcomes: int
    defaults: int
    mean_pd: float
    p_value: float
    beyond_tolerance: bool

    def __str__(self) -> str:
        rate, promised = percent_apart(self.defaults / self.outcomes, self.mean_pd)
        return (
            f"{self.name}: {rate} of {number_of(self.outcomes, 'outcome')} against {promised} promised "
            f"(p = {self.p_value:.2g})"
        )


def segments(known: pd.DataFrame, by: pd.Series, tolerance: Tolerance, *, cumulative: bool = False) -> list[Segment]:
    """Each segment of rows with `pd` and `outcome`, by its name in `by`; rows without a name are left out.

    The p-value is that of one look at the outcomes (`p_value`) or of any number (`anytime_p_value`).
    """
    found = []
    for name, rows in known.groupby(by, observed=True, sort=True):
        outcomes, defaults, mean_pd = len(rows), int(rows["outcome"].sum()), float(rows["pd"].mean())
        most = tolerance.around(mean_pd)
        margin = tolerance.right_within * most
        if cumulative:
            chance = anytime_p_value(rows["pd"].to_numpy(np.float64), defaults, margin)
        else:
            chance = p_value(defaults, outcomes, mean_pd, margin)
        beyond = abs(defaults / outcomes - mean_pd) > most
        found.append(Segment(str(name), outcomes, defaults, mean_pd, chance, beyond))
    return found


def surely_off(judged: Sequence[Segment], chance: float) -> list[Segment]:
    """The segments that are off beyond tolerance and chance, the clearest first.

    Beyond chance: by the step-down procedure of Holm (1979), so that the chance that any is named whose PDs are right
    is at most `chance`, however many are judged.
    """
    ordered = sorted(judged, key=lambda segment: segment.p_value)
    found = []
    for place, segment in enumerate(ordered):
        if segment.p_value > chance / (len(ordered) - place):
            break
        if segment.beyond_tolerance:
            found.append(segment)
    return found


def p_value(defaults: int, outcomes: int, mean_pd: float, margin: float) -> float:
    """The exact binomial test of a default rate: twice the smaller tail, each at the nearest PD within `margin`.

    Outcomes of PDs that are spread vary a little less than a binomial of their mean, so that the test is on the safe
    side.

    Examples:
        >>> round(p_value(defaults=100, outcomes=1000, mean_pd=0.08, margin=0.0), 3)
        0.027
        >>> round(p_value(defaults=100, outcomes=1000, mean_pd=0.08, margin=0.01), 3)
        0.294
    """
    from scipy.special import bdtr, bdtrc

    lowest, highest = max(mean_pd - margin, 0.0), min(mean_pd + margin, 1.0)
    at_least = float(bdtrc(defaults - 1, outcomes, highest)) if defaults else 1.0
    at_most = float(bdtr(defaults, outcomes, lowest))
    return min(1.0, 2 * min(at_least, at_most))


def anytime_p_value(pds: Floats, defaults: int, margin: float) -> float:
    """The inverse of an e-process: at or below alpha at any time, after however many looks, with a chance of at most
    alpha, if the PDs (n,) are right within `margin` (Ville's inequality; Ramdas, Gruenwald, Vovk and Shafer 2023,
    "Game-theoretic statistics and safe anytime-valid inference").

    The e-value is the mean of likelihood ratios. In each all log-odds are shifted by one amount until the mean PD is
    `margin` higher (or lower), and against that by one of SHIFTS more.
    """
    from scipy.special import logsumexp

    log_odds = np.log(pds) - np.log1p(-pds)
    mean_pd = float(pds.mean())
    ratios = []
    for sign in (1, -1):
        edge = _shift_to(log_odds, min(max(mean_pd + sign * margin, 1e-9), 1 - 1e-9))
        at_edge = _log_likelihood(pds, defaults, edge)
        ratios += [_log_likelihood(pds, defaults, edge + sign * shift) - at_edge for shift in SHIFTS]
    return float(np.exp(min(0.0, np.log(len(ratios)) - float(logsumexp(ratios)))))


def _shift_to(log_odds: Floats, mean: float) -> float:
    """The shift of the log-odds at which the mean probability is `mean`."""
    from scipy.optimize import brentq
    from scipy.special import expit

    return float(brentq(lambda shift: float(expit(log_odds + shift).mean()) - mean, -50, 50, xtol=1e-9))


def _log_likelihood(pds: Floats, defaults: int, shift: float) -> float:
    """Of the outcomes if all log-odds are shifted, less that of the PDs as they are."""
    return shift * defaults - float(np.log1p(pds * np.expm1(shift)).sum())
