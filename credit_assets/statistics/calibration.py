"""Whether default rates agree with PDs: in one batch by segment, and over all batches that a version scored.

No PD is exact, because training leaves an error. PDs therefore count as correct while the default rate is within
part of a tolerance around the mean PD. A failure exceeds the whole tolerance, and exceeds that part beyond chance.
`performance.py` selects the rows, and says what a failure means.
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
"""Log-odds by which PDs may be wrong beyond the margin: the alternatives of the cumulative test, with odds ratios of
1.08, 1.22 and 1.65."""


@dataclass(frozen=True)
class Tolerance:
    """How far a default rate may deviate from a mean PD (`around`), and the part of it within which PDs are right."""

    around: Callable[[float], float]
    right_within: float


@dataclass(frozen=True)
class Segment:
    """Outcomes of a segment compared with their PDs.

    `p_value`: the probability of a deviation at least as large if the PDs are correct.
    `beyond_tolerance`: whether the default rate deviates by more than the tolerance.
    """

    name: str
    outcomes: int
    defaults: int
    mean_pd: float
    p_value: float
    beyond_tolerance: bool

    def __str__(self) -> str:
        rate, expected = percent_apart(self.defaults / self.outcomes, self.mean_pd)
        return (
            f"{self.name}: {rate} of {number_of(self.outcomes, 'outcome')} against {expected} expected "
            f"(p = {self.p_value:.2g})"
        )


def segments(known: pd.DataFrame, by: pd.Series, tolerance: Tolerance, *, cumulative: bool = False) -> list[Segment]:
    """Each segment of rows with `pd` and `outcome`, by its name in `by`; rows without a name are left out.

    The p-value is for a single test of the outcomes (`p_value`) or for any number of tests (`anytime_p_value`).
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


def significantly_off(tested: Sequence[Segment], chance: float) -> list[Segment]:
    """The segments that deviate beyond tolerance and chance, the most significant first.

    Beyond chance: by the step-down procedure of Holm (1979), so that the probability of returning any segment with
    correct PDs is at most `chance`, however many are tested.
    """
    ordered = sorted(tested, key=lambda segment: segment.p_value)
    found = []
    for place, segment in enumerate(ordered):
        if segment.p_value > chance / (len(ordered) - place):
            break
        if segment.beyond_tolerance:
            found.append(segment)
    return found


def p_value(defaults: int, outcomes: int, mean_pd: float, margin: float) -> float:
    """The exact binomial test of a default rate: twice the smaller tail, each at the nearest PD within `margin`.

    Outcomes of different PDs vary slightly less than a binomial with their mean, so the test is conservative.

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
    """The inverse of an e-process: if the PDs (n,) are correct within `margin`, it ever falls to alpha with a
    probability of at most alpha, however often it is computed (Ville's inequality; Ramdas, Gruenwald, Vovk and Shafer
    2023, "Game-theoretic statistics and safe anytime-valid inference").

    The e-value is the mean of likelihood ratios. The null hypothesis of each shifts all log-odds by one amount until
    the mean PD is `margin` higher (or lower); the alternative shifts them by one of SHIFTS more.
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
    """The log-likelihood of the outcomes with all log-odds shifted, minus that with the PDs as they are."""
    return shift * defaults - float(np.log1p(pds * np.expm1(shift)).sum())
