"""The population stability index: how far two binned distributions lie apart, and what chance makes of that.

A model's PDs on training and test rows are compared here; whole batches with a reference in `monitoring/`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtri

from credit_assets.evaluation.metrics import Interval
from credit_assets.features.training_set import TEST

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

BINS = 10
CHANCE = 0.001
"""Probability at which equal distributions may still be called different."""


@dataclass(frozen=True)
class Stability:
    """PSI of the PDs between the training part and the test, and what chance alone stays below; of a champion, its
    PSI on the same rows, and the candidate's less the champion's with its paired interval."""

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
    """How far a candidate's PDs of the test rows lie from those of the training rows, beside the champion's.

    `candidate` is the `CandidatePredictions` table. Its `fold_pd` of training and test rows come from the same models
    of the cross-validation, none of which learned from the row: a PD of a row that was learned from lies further out,
    and that of the final model a hair beside those of the folds' models, and either would look like a shift. A PD
    is placed by its rank among the training rows that the same model judged, equal PDs in the middle of theirs, so
    that few different PDs are compared as well as many. `champion` has its `pd` of the same rows, by `applicant` and
    `batch`; rows that it does not judge are left out of the comparison. The order of the rows does not matter.

    The interval of the difference comes from resampling the rows, training and test each, both models on the same.
    """
    # In a fixed order: sums of weights depend on it in the last bits.
    candidate = candidate.sort_values(["batch", "applicant"], ignore_index=True)
    test = _on_test(candidate)
    bins, weights = _placed(candidate["fold_pd"], candidate["fold_model"], test)
    psi = _psi(_counts(bins[~test]), _counts(bins[test], weights[test]))
    noise = psi_noise(len(np.unique(bins)), int((~test).sum()), int(test.sum()), CHANCE)
    if champion is None:
        return Stability(psi, noise)
    both = candidate.merge(
        champion[["applicant", "batch", "pd"]], on=["applicant", "batch"], suffixes=("", "_champion")
    )
    test = _on_test(both)
    own, own_weights = _placed(both["fold_pd"], both["fold_model"], test)
    other, other_weights = _placed(both["pd_champion"], pd.Series(0, index=both.index), test)
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


def _on_test(rows: pd.DataFrame) -> NDArray[np.bool_]:
    return (rows["fold"] == TEST).to_numpy()


def _placed(pds: pd.Series, model: pd.Series, test: NDArray[np.bool_]) -> tuple[Counts, Floats]:
    """Each row's bin, of ten equal parts of its model's training rows, and its weight: each model weighs in the test
    what it does in the training part."""
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


def psi_terms(reference: Counts | Floats, batch: Counts | Floats) -> Floats:
    """Each bin's part of the population stability index: (p - q) * ln(p / q) of its shares p and q.

    Their sum, the PSI, is the Jeffreys divergence of the binned distributions (Siddiqi 2006, Credit Risk
    Scorecards). A bin empty on one side counts there as half a row (as in the Haldane-Anscombe correction),
    or as the other side's share where that is smaller still: the absence of something so rare says nothing.
    Bins empty on both sides count nothing. So the figure is the textbook's wherever every bin is filled; and
    an unlucky empty bin of a small batch does not look like drift, as with a fixed floor (often 1e-4).
    """
    p, q = reference / reference.sum(), batch / batch.sum()
    filled_p = np.where(reference == 0, np.minimum(0.5 / reference.sum(), q), p)
    filled_q = np.where(batch == 0, np.minimum(0.5 / batch.sum(), p), q)
    occupied = (reference > 0) | (batch > 0)
    logs = np.zeros(len(p))
    np.log(filled_p, out=logs, where=occupied)
    logs[occupied] -= np.log(filled_q[occupied])
    return (filled_p - filled_q) * logs


def psi_noise(bins: int, rows_reference: int, rows_batch: int, chance: float) -> float:
    """The PSI that two samples of one distribution exceed with probability `chance`.

    Without drift the PSI of `bins` bins is distributed about as (1/n + 1/m) * chi-squared(bins - 1), so its
    mean is (bins - 1) * (1/n + 1/m) and not 0 (Yurdakul 2018, Statistical properties of the population
    stability index).
    """
    if bins < 2:
        return 0.0
    return float(chdtri(bins - 1, chance)) * (1 / rows_reference + 1 / rows_batch)
