"""How well PDs rank and match outcomes: one model on one set of labelled rows, with intervals.

`comparison.py` compares two models on the same rows; `gate.py` decides what may be promoted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd

from credit_assets.statistics.cut_off import AtCutOff

BINS = 10
"""Equal-frequency bins of the decile table and of ECE."""

REFLECTED = frozenset({"ks", "ece"})
"""Metrics that are a maximum or a sum of absolute values: resampling biases them upward (see `evaluate`)."""


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds of its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Confusion:
    """Applicants by decision at the cut-off and by outcome. A bad is an applicant who defaulted."""

    approved_goods: int
    approved_bads: int
    declined_goods: int
    declined_bads: int

    @classmethod
    def of(cls, declined: np.ndarray, bad: np.ndarray) -> Confusion:
        """Count applicants by whether they are declined (n,) and bad (n,)."""
        return cls(
            approved_goods=int((~declined & ~bad).sum()),
            approved_bads=int((~declined & bad).sum()),
            declined_goods=int((declined & ~bad).sum()),
            declined_bads=int((declined & bad).sum()),
        )

    @property
    def approval_rate(self) -> float:
        return (self.approved_goods + self.approved_bads) / self.applicants

    @property
    def approved_default_rate(self) -> float:
        """Default rate of the approved; nan if there are none."""
        return _share(self.approved_bads, self.approved_goods + self.approved_bads)

    @property
    def declined_default_rate(self) -> float:
        """Default rate of the declined; nan if there are none."""
        return _share(self.declined_bads, self.declined_goods + self.declined_bads)

    @property
    def bads_declined(self) -> float:
        """Share of the bads that the cut-off declines."""
        return _share(self.declined_bads, self.approved_bads + self.declined_bads)

    @property
    def goods_approved(self) -> float:
        """Share of the goods that the cut-off approves."""
        return _share(self.approved_goods, self.approved_goods + self.declined_goods)

    @property
    def applicants(self) -> int:
        return self.approved_goods + self.approved_bads + self.declined_goods + self.declined_bads


@dataclass(frozen=True)
class Evaluation:
    """A model's PDs against outcomes.

    `metrics` holds auc, gini, ks, pr_auc, brier, log_loss, ece and calibration_gap (default rate minus
    mean PD), each with its interval. `ece_by_chance` is the ECE that correct PDs would not
    exceed at this confidence on as many rows. `deciles` has one row per bin, riskiest first: applicants, defaults,
    mean_pd, default_rate with its Wilson interval, pd_from, pd_to, lift, cumulative_applicants,
    cumulative_defaults (the gain) and cumulative_lift.
    """

    applicants: int
    defaults: int
    cut_off: float
    confidence: float
    metrics: dict[str, Interval]
    ece_by_chance: float
    deciles: pd.DataFrame
    confusion: Confusion
    at_cut_off: AtCutOff

    @property
    def default_rate(self) -> float:
        return self.defaults / self.applicants

    def figures(self) -> dict[str, float]:
        """Every finite figure under a stable name, bounds as `<metric>_low` and `<metric>_high`."""
        figures: dict[str, float] = {
            "applicants": float(self.applicants),
            "defaults": float(self.defaults),
            "default_rate": self.default_rate,
        }
        for name, interval in self.metrics.items():
            figures |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
        figures |= {
            "ece_by_chance": self.ece_by_chance,
            "cut_off": self.cut_off,
            "approval_rate": self.confusion.approval_rate,
            "approved_default_rate": self.confusion.approved_default_rate,
            "declined_default_rate": self.confusion.declined_default_rate,
            "bads_declined": self.confusion.bads_declined,
            "goods_approved": self.confusion.goods_approved,
        }
        return {name: figure for name, figure in figures.items() if math.isfinite(figure)}


def evaluate(
    y: np.ndarray,
    pds: np.ndarray,
    cut_off: float,
    n_bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Evaluation:
    """Evaluate PDs (n,) against outcomes (n,), 1 = default; an applicant is declined when pd > cut_off.

    AUC counts ties by half (Mann-Whitney); PR-AUC is average precision; KS is the largest distance between
    the distributions of goods and bads. ECE is the mean of |default rate - mean PD| over ten bins of equal frequency,
    weighted by applicants; equal PDs share a bin, so ties may leave bins unequal or empty.

    Intervals are percentiles of `n_bootstrap` resamples of the rows (redrawn if only one class was drawn). For KS and
    ECE, which resampling biases upward, the percentiles are reflected about the estimate and clipped to [0, 1] (basic
    bootstrap: Davison & Hinkley 1997, section 5.2). An ECE that correct PDs could show by chance has the lower bound 0.
    Every interval contains its estimate. The same seed gives the same intervals, whatever the order of the rows.

    Raises ValueError for empty or single-class outcomes, and for PDs that are missing or outside [0, 1].

    Examples:
        >>> outcomes, pds = np.array([0, 0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.4, 0.5])
        >>> evaluation = evaluate(outcomes, pds, cut_off=0.35)
        >>> round(evaluation.metrics["auc"].value, 3), evaluation.confusion.approval_rate
        (0.833, 0.6)
    """
    y, pds = labelled(y, pds)
    cells = _Cells.of(y, pds)
    estimate = cells.statistics(cells.goods, cells.bads)
    resampled = cells.resampled(n_bootstrap, np.random.default_rng(seed))
    ece_by_chance = cells.ece_by_chance(confidence, n_bootstrap, np.random.default_rng(seed))
    tail = (1 - confidence) / 2
    metrics: dict[str, Interval] = {}
    for name, value in estimate.items():
        low, high = np.quantile(resampled[name], [tail, 1 - tail])
        if name in REFLECTED:
            low, high = max(0.0, 2 * value - high), min(1.0, 2 * value - low)
        if name == "ece" and value <= ece_by_chance:
            low = 0.0
        # For a biased figure neither kind of interval need contain the estimate.
        metrics[name] = Interval(value, min(float(low), value), max(float(high), value))
        if name == "auc":
            metrics["gini"] = Interval(*(2 * auc - 1 for auc in vars(metrics["auc"]).values()))
    bad = y == 1
    return Evaluation(
        applicants=y.size,
        defaults=int(bad.sum()),
        cut_off=float(cut_off),
        confidence=confidence,
        metrics=metrics,
        ece_by_chance=ece_by_chance,
        deciles=cells.deciles(confidence),
        confusion=Confusion.of(pds > cut_off, bad),
        at_cut_off=AtCutOff.of(pds, cut_off),
    )


def labelled(y: np.ndarray, pds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes as int8 and PDs as float64. Raises ValueError if they cannot be evaluated."""
    y, pds = np.asarray(y), np.asarray(pds, dtype=np.float64)
    if y.ndim != 1 or y.shape != pds.shape:
        raise ValueError(f"outcomes of shape {y.shape} and PDs of shape {pds.shape} are not rows of one set")
    if y.size == 0:
        raise ValueError("no labelled rows to evaluate")
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"outcomes must be 0 or 1; {int((~np.isin(y, (0, 1))).sum())} of {y.size} are not")
    if not ((pds >= 0) & (pds <= 1)).all():
        bad = int((~((pds >= 0) & (pds <= 1))).sum())
        raise ValueError(f"{bad} of {pds.size} PDs are missing or outside [0, 1]")
    defaults = int((y == 1).sum())
    if defaults in (0, y.size):
        raise ValueError(f"{defaults} defaults among {y.size} rows: both outcomes are needed")
    return y.astype(np.int8), pds


def decile_of(pds: np.ndarray) -> np.ndarray:
    """The bin (n,) of each PD for ECE, 0 for the lowest: bins of equal frequency, equal PDs together."""
    _, group, rows = np.unique(pds, return_inverse=True, return_counts=True)
    return _bins(rows)[group]


def _bins(rows: np.ndarray) -> np.ndarray:
    """The bin of each distinct PD, ascending, from the number of rows with it: the bin of its mid-rank, so that equal
    PDs are never split."""
    return (BINS * (2 * np.cumsum(rows) - rows) // (2 * rows.sum())).astype(np.int64)


def mean(values: np.ndarray) -> float:
    """The correctly rounded mean, which does not depend on the order of the values; nan if there are none.

    Examples:
        >>> mean(np.array([1e16, 1.0, -1e16])), mean(np.array([1e16, -1e16, 1.0]))
        (0.3333333333333333, 0.3333333333333333)
    """
    return math.fsum(values) / len(values) if len(values) else math.nan


def wilson(
    successes: np.ndarray | float, trials: np.ndarray | float, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson score interval of a proportion (Wilson 1927); nan if there are no trials.

    Examples:
        >>> low, high = wilson(successes=0, trials=20)
        >>> f"{low:.3f} to {high:.3f}"
        '0.000 to 0.161'
    """
    successes, trials = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    trials = np.where(trials > 0, trials, np.nan)
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # At no and at all successes the bound is exact; rounding would miss it slightly, as SciPy's and statsmodels' do.
    low = np.where(successes == 0, 0.0, centre - half)
    high = np.where(successes == trials, 1.0, centre + half)
    return np.where(np.isnan(trials), np.nan, low), np.where(np.isnan(trials), np.nan, high)


@dataclass(frozen=True)
class _Cells:
    """The number of rows by distinct PD, ascending, and outcome: all that the metrics depend on.

    `squared_errors` and `log_losses` (2, distinct PDs) are the losses of a good and a bad with that PD.
    """

    pds: np.ndarray
    goods: np.ndarray
    bads: np.ndarray
    bin_of: np.ndarray
    bin_starts: np.ndarray
    cell_of_row: np.ndarray
    squared_errors: np.ndarray
    log_losses: np.ndarray

    @classmethod
    def of(cls, y: np.ndarray, pds: np.ndarray) -> _Cells:
        distinct, group = np.unique(pds, return_inverse=True)
        # Goods of every distinct PD, then bads of every distinct PD.
        cell_of_row = (group + distinct.size * y.astype(np.int64)).astype(np.int32)
        goods, bads = np.bincount(cell_of_row, minlength=2 * distinct.size).reshape(2, -1)
        rows = goods + bads
        bin_of = _bins(rows)
        bin_starts = np.flatnonzero(np.diff(bin_of, prepend=-1))
        floor = np.finfo(np.float64).eps
        bounded = np.clip(distinct, floor, 1 - floor)
        return cls(
            pds=distinct,
            goods=goods,
            bads=bads,
            bin_of=bin_of[bin_starts],
            bin_starts=bin_starts,
            # In the order of the cells, not of the rows, because draws select by position.
            cell_of_row=np.sort(cell_of_row),
            squared_errors=np.array([distinct**2, (1 - distinct) ** 2]),
            log_losses=-np.log(np.array([1 - bounded, bounded])),
        )

    def statistics(self, goods: np.ndarray, bads: np.ndarray) -> dict[str, float]:
        """The metrics for these numbers of goods and bads by distinct PD."""
        goods_up_to, bads_up_to = np.cumsum(goods), np.cumsum(bads)
        n_goods, n_bads = int(goods_up_to[-1]), int(bads_up_to[-1])
        n = n_goods + n_bads
        # Products are summed without BLAS (`@`): its threads slow a busy machine down, and their number would change
        # the last bits.
        expected_in_bin = np.add.reduceat((goods + bads) * self.pds, self.bin_starts)
        bads_in_bin = np.add.reduceat(bads, self.bin_starts)
        at = np.flatnonzero(bads)
        goods_below = goods_up_to[at] - goods[at] / 2
        bads_from = n_bads - bads_up_to[at] + bads[at]
        goods_from = n_goods - goods_up_to[at] + goods[at]
        precision = bads_from / (bads_from + goods_from)
        squared_errors = (goods * self.squared_errors[0]).sum() + (bads[at] * self.squared_errors[1, at]).sum()
        log_losses = (goods * self.log_losses[0]).sum() + (bads[at] * self.log_losses[1, at]).sum()
        return {
            "auc": float((bads[at] * goods_below).sum()) / (n_goods * n_bads),
            "ks": float(np.abs(goods_up_to / n_goods - bads_up_to / n_bads).max()),
            "pr_auc": float((bads[at] * precision).sum()) / n_bads,
            "brier": float(squared_errors) / n,
            "log_loss": float(log_losses) / n,
            "ece": float(np.abs(bads_in_bin - expected_in_bin).sum()) / n,
            "calibration_gap": float(n_bads - expected_in_bin.sum()) / n,
        }

    def resampled(self, times: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The metrics of resamples of the rows with replacement, (times,) each."""
        draws = [self.statistics(*self._resample(rng)) for _ in range(times)]
        return {name: np.array([draw[name] for draw in draws]) for name in draws[0]}

    def _resample(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        n = self.cell_of_row.size
        while True:
            drawn = self.cell_of_row[rng.integers(0, n, n, dtype=np.int32)]
            goods, bads = np.bincount(drawn, minlength=2 * self.pds.size).reshape(2, -1)
            if 0 < int(bads.sum()) < n:
                return goods, bads

    def ece_by_chance(self, confidence: float, times: int, rng: np.random.Generator) -> float:
        """The quantile of ECE if the PDs were correct: defaults of each bin drawn from its mean PD.

        Consistency resampling (Broecker & Smith 2007). Drawing a bin's defaults as binomial slightly
        overstates their variance, by the spread of the PDs within the bin.
        """
        rows = np.add.reduceat(self.goods + self.bads, self.bin_starts)
        mean_pd = np.add.reduceat((self.goods + self.bads) * self.pds, self.bin_starts) / rows
        defaults = rng.binomial(rows, np.clip(mean_pd, 0, 1), size=(times, rows.size))
        return float(np.quantile(np.abs(defaults - rows * mean_pd).sum(axis=1) / rows.sum(), confidence))

    def deciles(self, confidence: float) -> pd.DataFrame:
        rows = self.goods + self.bads
        applicants, defaults, expected = (
            np.add.reduceat(counts, self.bin_starts)[::-1] for counts in (rows, self.bads, rows * self.pds)
        )
        ends = np.append(self.bin_starts[1:], self.pds.size) - 1
        low, high = wilson(defaults, applicants, confidence)
        default_rate = defaults.sum() / applicants.sum()
        cumulative_applicants = np.cumsum(applicants) / applicants.sum()
        cumulative_defaults = np.cumsum(defaults) / defaults.sum()
        return pd.DataFrame(
            {
                "decile": BINS - self.bin_of[::-1],
                "applicants": applicants,
                "defaults": defaults,
                "mean_pd": expected / applicants,
                "default_rate": defaults / applicants,
                "default_rate_low": low,
                "default_rate_high": high,
                "pd_from": self.pds[self.bin_starts][::-1],
                "pd_to": self.pds[ends][::-1],
                "lift": defaults / applicants / default_rate,
                "cumulative_applicants": cumulative_applicants,
                "cumulative_defaults": cumulative_defaults,
                "cumulative_lift": cumulative_defaults / cumulative_applicants,
            }
        )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
