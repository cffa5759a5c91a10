"""The stability of PDs between training and test rows, by the population stability index.

`monitoring/` compares whole batches with a reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from credit_assets.features.training_set import TEST
from credit_assets.statistics.metrics import Interval
from credit_assets.statistics.psi import psi_noise, psi_terms

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

BINS = 10
CHANCE = 0.001
"""Significance level: the probability that equal distributions are found to differ."""


@dataclass(frozen=True)
class Stability:
    """`psi` of the candidate's PDs between training and test rows, and `noise`, the PSI that chance alone does not
    exceed. `champion_psi` is the champion's PSI on the same rows, `difference` the candidate's PSI minus the champion's
    with its paired interval; both are None without a champion."""

    psi: float
    noise: float
    champion_psi: float | None = None
    difference: Interval | None = None


def score_stability(
    candidate: pd.DataFrame,
    champion: pd.DataFrame | None = None,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Stability:
    """The stability of a candidate's PDs between training and test rows, compared with that of the champion.

    `candidate` is the `CandidatePredictions` table. Its `fold_pd` of training and test rows come from the same
    cross-validation models, none of which learned from the row: PDs of rows that were learned from are more extreme,
    and those of the final model differ slightly from those of the folds' models; either would look like a shift. A PD
    counts by its rank among the training rows of the same model, with equal PDs at their mid-rank, so that few distinct
    PDs are compared as well as many. `champion` has its `pd` of the same rows, by `applicant` and `batch`; rows without
    one are left out of the comparison. The order of the rows does not matter.

    The interval of the difference comes from resampling the rows, training and test separately, with both models on the
    same ones.
    """
    # Sorted, because sums of weights depend on the order in the last bits.
    candidate = candidate.sort_values(["batch", "applicant"], ignore_index=True)
    test = _is_test(candidate)
    bins, weights = _bins_and_weights(candidate["fold_pd"], candidate["fold_model"], test)
    psi = _psi(_counts(bins[~test]), _counts(bins[test], weights[test]))
    noise = psi_noise(len(np.unique(bins)), int((~test).sum()), int(test.sum()), CHANCE)
    if champion is None:
        return Stability(psi, noise)
    both = candidate.merge(
        champion[["applicant", "batch", "pd"]], on=["applicant", "batch"], suffixes=("", "_champion")
    )
    test = _is_test(both)
    own, own_weights = _bins_and_weights(both["fold_pd"], both["fold_model"], test)
    other, other_weights = _bins_and_weights(both["pd_champion"], pd.Series(0, index=both.index), test)
    of_champion = _psi(_counts(other[~test]), _counts(other[test], other_weights[test]))
    rng = np.random.default_rng(seed)
    drawn = []
    for rows in (~test, test):
        cells, counts = np.unique(
            np.stack([own[rows], other[rows], own_weights[rows], other_weights[rows]]), axis=1, return_counts=True
        )
        drawn.append((cells, rng.multinomial(counts.sum(), counts / counts.sum(), size=draws)))
    differences = np.array(
        [
            _psi(*(_in_bins(cells[0], times[draw] * cells[2]) for cells, times in drawn))
            - _psi(*(_in_bins(cells[1], times[draw] * cells[3]) for cells, times in drawn))
            for draw in range(draws)
        ]
    )
    value = _psi(_counts(own[~test]), _counts(own[test], own_weights[test])) - of_champion
    low, high = np.quantile(differences, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Stability(psi, noise, of_champion, Interval(value, min(float(low), value), max(float(high), value)))


def _is_test(rows: pd.DataFrame) -> NDArray[np.bool_]:
    return (rows["fold"] == TEST).to_numpy()


def _bins_and_weights(pds: pd.Series, model: pd.Series, test: NDArray[np.bool_]) -> tuple[Counts, Floats]:
    """The bin of each row (by deciles of the training rows of its model) and its weight, such that each model has the
    same weight in the test rows as in the training rows."""
    values, models = pds.to_numpy(dtype=np.float64), model.to_numpy()
    bins, weights = np.zeros(len(values), dtype=np.int64), np.ones(len(values))
    trained = (~test).sum()
    for number in np.unique(models):
        rows = models == number
        reference = np.sort(values[rows & ~test])
        if not len(reference):
            weights[rows] = 0
            continue
        below, up_to = (np.searchsorted(reference, values[rows], side=side) for side in ("left", "right"))
        bins[rows] = np.minimum(BINS * (below + up_to) // (2 * len(reference)), BINS - 1)
        if tested := (rows & test).sum():
            weights[rows & test] = len(reference) / trained * test.sum() / tested
    return bins, weights


def _counts(bins: Counts, weights: Floats | None = None) -> Floats:
    return np.bincount(bins, weights, minlength=BINS).astype(np.float64)


def _in_bins(bins: Floats, rows: Floats) -> Floats:
    return _counts(bins.astype(np.int64), rows)


def _psi(reference: Floats, other: Floats) -> float:
    return float(psi_terms(reference, other).sum())
