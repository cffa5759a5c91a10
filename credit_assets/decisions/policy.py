"""The decision policy: which PDs are approved. The cut-off is stored with the model."""

from __future__ import annotations

import numpy as np

APPROVE = "approve"
DECLINE = "decline"


def decide(pds: np.ndarray, cut_off: float) -> np.ndarray:
    """ "approve" if pd <= cut_off, else "decline" (n,). Raises ValueError for a missing PD.

    Examples:
        >>> decide(np.array([0.02, 0.05, 0.2]), cut_off=0.05).tolist()
        ['approve', 'approve', 'decline']
    """
    if np.isnan(pds).any():
        raise ValueError(f"{int(np.isnan(pds).sum())} of {pds.size} applicants have no PD to decide on")
    return np.where(pds <= cut_off, APPROVE, DECLINE).astype(object)
