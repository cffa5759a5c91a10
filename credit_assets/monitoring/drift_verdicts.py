"""The verdicts on the drift of a batch's features and scores. `drift.py` decides what has shifted: by effect size,
never by p-value alone.

Drift of a batch that the version was made from, or of an older one, fails no check: it is described, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from credit_assets.monitoring.check_names import (
    AS_LEARNED,
    FEATURES_DRIFTED,
    FEATURES_USABLE,
    MISSINGNESS,
    NEW_CATEGORIES,
    SCORES_DRIFTED,
)
from credit_assets.monitoring.drift_summary import DriftSummary
from credit_assets.monitoring.reference_batches import Standing
from credit_assets.verdicts.verdict import Verdict

LISTED = 8
"""Features that a message names; a shift may be of hundreds."""


def features_as_learned(other: Sequence[str], mend: str, version: int) -> Verdict:
    """`other`: the SQL files that differ from those that the `version` learned from; `mend`: what to do then."""
    message = (
        f"The features were made by another {', '.join(other)} than version {version} learned from, so "
        f"that what has moved may be the SQL and not the applicants. {mend}"
        if other
        else f"The SQL is that which version {version} learned from."
    )
    return Verdict(AS_LEARNED, not other, message, severity="warning")


def features_drifted(drift: DriftSummary, standing: Standing) -> Verdict:
    """Whether the features have not shifted, or the version has met this shift before."""
    return Verdict(
        FEATURES_DRIFTED,
        drift.verdict != "shifted" or not standing.is_news,
        _with(standing, drift.message),
        {
            "standing": standing.kind,
            "shifted": drift.shifted,
            "moderate": drift.moderate,
            "shifted_share": drift.shifted_share,
        },
    )


def features_usable(why: Mapping[str, str], standing: Standing) -> Verdict:
    """In a batch that the version learned from, every feature is usable: it knows what they look like there."""
    learned = standing.kind == "learned"
    message = "Every feature the champion relies on is there and varies."
    if why:
        message = _with(standing, f"Not usable: {_listed(why)}.") if learned else f"Not usable: {_listed(why)}."
    return Verdict(FEATURES_USABLE, not why or learned, message, {"unusable": len(why)})


def missingness_stable(moved: Mapping[str, str], standing: Standing) -> Verdict:
    """Whether no feature's missing share has changed (`moved`: feature to the shares)."""
    message = (
        _with(standing, f"Missing at another rate than in training: {_listed(moved)}.")
        if moved
        else "Features are missing about as often as in training."
    )
    return Verdict(MISSINGNESS, not moved or not standing.is_news, message, {"features": len(moved)}, "warning")


def no_new_categories(found: Mapping[str, str], standing: Standing) -> Verdict:
    """Whether few rows have a category that was not in training (`found`: feature to the share of such rows)."""
    message = (
        _with(standing, f"In categories never seen in training: {_listed(found)}.")
        if found
        else "Hardly a row has a category that training had not."
    )
    return Verdict(NEW_CATEGORIES, not found or not standing.is_news, message, {"features": len(found)}, "warning")


def scores_drifted(drift: pd.DataFrame, standing: Standing) -> Verdict:
    """The verdict on the score alone: the features have their own check, and one shift is one failure."""
    [score] = drift.to_dict("records")
    return Verdict(
        SCORES_DRIFTED,
        score["verdict"] != "shifted" or not standing.is_news,
        _with(
            standing,
            f"The score is {score['verdict']}: PSI {score['psi']:.3f}, KS {score['ks']:.3f}; {score['change']}.",
        ),
        {"standing": standing.kind, "psi": float(score["psi"]), "ks": float(score["ks"])},
    )


def _with(standing: Standing, description: str) -> str:
    return f"{standing.description} {description}".lstrip()


def _listed(why: Mapping[str, str]) -> str:
    told = [f"{feature}: {reason}" for feature, reason in why.items()]
    more = [f"and {len(told) - LISTED} more, in the drift table"] if len(told) > LISTED else []
    return "; ".join(told[:LISTED] + more)
