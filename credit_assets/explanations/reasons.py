"""Adverse action reasons: why an applicant was declined, from the contributions to this applicant's own PD.

The contributions are computed with the model that decided (`models/importance.py`); the words are
those of the features' SQL. The duty itself (Regulation B) is described in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

MAX_REASONS = 4
"""More than four are "not likely to be helpful": 12 CFR 1002.9(b)(2), official commentary, paragraph 1."""

RAISED = "raised the PD"
LEAST_FAVOURABLE = "lowered the PD least"


def check_words(features: Sequence[str], words: Mapping[str, str]) -> None:
    """Raise ValueError, naming them, where features have no words to be given as a reason."""
    silent = [feature for feature in features if not words.get(feature, "").strip()]
    if silent:
        raise ValueError(f"{len(silent)} of {len(features)} features have no words: {', '.join(silent)}")


def adverse_action_reasons(
    contributions: np.ndarray,
    features: Sequence[str],
    words: Mapping[str, str],
    max_reasons: int = MAX_REASONS,
) -> pd.DataFrame:
    """The reasons of n declined applicants: one row each, in the order of `contributions`.

    `contributions` (n, k) are in log-odds of default, one column a feature. The reasons are the features
    with the largest positive contributions, largest first, equal ones in the order of `features`. Features
    that share their words say one thing: only the strongest of them is given. Where nothing pushed the PD
    up (the cut-off lies below the model's average PD) the one reason is the feature that lowered it least,
    and `reason_basis` says so. A contribution of zero is never a reason: the feature had no part.

    Columns: reason_1..reason_<max> (words), reason_feature_1..reason_feature_<max> (None past the last
    reason) and reason_basis (`RAISED` or `LEAST_FAVOURABLE`).

    Raises ValueError where a feature has no words, a contribution is not finite, or an applicant has none
    but zeros: such a decline has no reason that could truthfully be given.
    """
    if not 1 <= max_reasons <= MAX_REASONS:
        raise ValueError(f"between 1 and {MAX_REASONS} reasons can be given, not {max_reasons}")
    check_words(features, words)
    remaining = np.array(contributions, dtype=np.float64)
    if remaining.ndim != 2 or remaining.shape[1] != len(features):
        raise ValueError(f"contributions of shape {remaining.shape} for {len(features)} features")
    if not np.isfinite(remaining).all():
        raise ValueError(f"{int((~np.isfinite(remaining)).any(axis=1).sum())} applicants' contributions are not finite")
    remaining[remaining == 0] = -np.inf
    unexplained = int((remaining.max(axis=1) == -np.inf).sum())
    if unexplained:
        raise ValueError(f"no feature contributed to the PD of {unexplained} declined applicants")

    spoken = [words[feature].strip() for feature in features]
    _, words_of = np.unique(spoken, return_inverse=True)
    same_words = words_of[:, np.newaxis] == words_of
    rows = np.arange(len(remaining))
    any_raised = (remaining > 0).any(axis=1)
    reasons: dict[str, np.ndarray] = {}
    names, said = np.array([*features, None], dtype=object), np.array([*spoken, None], dtype=object)
    for rank in range(1, max_reasons + 1):
        top = remaining.argmax(axis=1)
        given = (remaining[rows, top] > 0) | (~any_raised & (rank == 1))
        chosen = np.where(given, top, -1)
        reasons[f"reason_{rank}"] = said[chosen]
        reasons[f"reason_feature_{rank}"] = names[chosen]
        remaining[same_words[top]] = -np.inf
    reasons["reason_basis"] = np.where(any_raised, RAISED, LEAST_FAVOURABLE).astype(object)
    return pd.DataFrame(reasons)
