"""The population stability index (PSI): the distance of two binned distributions, and how much of it chance causes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def psi_noise(bins: int, rows_reference: int, rows_batch: int, chance: float) -> float:
    """The PSI that two samples of one distribution exceed with probability `chance`.

    Without drift the PSI of `bins` bins is distributed approximately as (1/n + 1/m) * chi-squared(bins - 1), so its
    mean is (bins - 1) * (1/n + 1/m) and not 0 (Yurdakul 2018, Statistical properties of the population
    stability index).

    Examples:
        >>> round(psi_noise(bins=10, rows_reference=10_000, rows_batch=1_000, chance=0.001), 3)
        0.031
    """
    from scipy.special import chdtri

    if bins < 2:
        return 0.0
    return float(chdtri(bins - 1, chance)) * (1 / rows_reference + 1 / rows_batch)


def psi_terms(reference: Counts | Floats, batch: Counts | Floats) -> Floats:
    """Each bin's part of the population stability index: (p - q) * ln(p / q) of its shares p and q.

    Their sum, the PSI, is the Jeffreys divergence of the binned distributions (Siddiqi 2006, Credit Risk Scorecards). A
    bin that is empty on one side counts there as half a row (as in the Haldane-Anscombe correction), or as the other
    side's share if that is smaller: the absence of something so rare proves nothing. A bin that is empty on both sides
    contributes nothing. The figure thus equals the textbook's if no bin is empty, and an empty bin of a small batch
    does not look like drift, as it would with a fixed floor (often 1e-4).

    Examples:
        >>> psi_terms(np.array([500, 300, 200]), np.array([400, 300, 300])).round(4)
        array([0.0223, 0.    , 0.0405])
    """
    p, q = reference / reference.sum(), batch / batch.sum()
    filled_p = np.where(reference == 0, np.minimum(0.5 / reference.sum(), q), p)
    filled_q = np.where(batch == 0, np.minimum(0.5 / batch.sum(), p), q)
    occupied = (reference > 0) | (batch > 0)
    logs = np.zeros(len(p))
    np.log(filled_p, out=logs, where=occupied)
    logs[occupied] -= np.log(filled_q[occupied])
    return (filled_p - filled_q) * logs
