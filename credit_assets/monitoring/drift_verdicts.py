"""The verdicts on the drift of a batch's features and scores. `drift.py` determines what has shifted, by effect size
and never by p-value alone.

A batch that the version was trained or tested on, or an older one, fails no check; its drift is described, with the
reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from credit_assets.monitoring.batch_standing import Standing
from credit_assets.monitoring.check_names import (
    AS_LEARNED,
    FEATURES_DRIFTED,
    FEATURES_USABLE,
    MISSINGNESS,
    NEW_CATEGORIES,
    SCORES_DRIFTED,
)
from credit_assets.monitoring.drift_summary import DriftSummary
from credit_assets.verdicts.verdict import Verdict

LISTED = 8
"""Features that a message names; hundreds may have shifted."""


def features_as_learned(other: Sequence[str], advice: str, version: int) -> Verdict:
    """The verdict on whether the SQL is the one that the `version` learned from. `other`: the files that differ;
    `advice`: what to do if there are any."""
    message = (
        f"The SQL of the features differs from what version {version} learned from ({', '.join(other)}), so drift may "
        f"come from the SQL and not from the applicants. {advice}"
        if other
        else f"The SQL of the features is the one that version {version} learned from."
    )
    return Verdict(AS_LEARNED, not other, message, severity="warning")


def features_drifted(drift: DriftSummary, standing: Standing) -> Verdict:
    """The verdict on the drift of the features; it passes if the batch is not new to the version."""
    return Verdict(
        FEATURES_DRIFTED,
        drift.verdict != "shifted" or not standing.is_new,
        _with(standing, drift.message),
        {
            "standing": standing.kind,
            "shifted": drift.shifted,
            "moderate": drift.moderate,
            "shifted_share": drift.shifted_share,
        },
    )


def features_usable(why: Mapping[str, str], standing: Standing) -> Verdict:
    """The verdict on unusable features (`why`: reason by feature). A batch that the version learned from passes."""
    learned = standing.kind == "learned"
    message = "Every important feature of the champion is present and varies."
    if why:
        message = _with(standing, f"Not usable: {_listed(why)}.") if learned else f"Not usable: {_listed(why)}."
    return Verdict(FEATURES_USABLE, not why or learned, message, {"unusable": len(why)})


def missingness_stable(moved: Mapping[str, str], standing: Standing) -> Verdict:
    """The verdict on changes of missing shares (`moved`: both shares by feature)."""
    message = (
        _with(standing, f"The missing share has changed since training: {_listed(moved)}.")
        if moved
        else "The missing shares are about as in training."
    )
    return Verdict(MISSINGNESS, not moved or not standing.is_new, message, {"features": len(moved)}, "warning")


def no_new_categories(found: Mapping[str, str], standing: Standing) -> Verdict:
    """The verdict on categories not seen in training (`found`: share of such rows by feature)."""
    message = (
        _with(standing, f"Categories not seen in training: {_listed(found)}.")
        if found
        else "Hardly any row has a category not seen in training."
    )
    return Verdict(NEW_CATEGORIES, not found or not standing.is_new, message, {"features": len(found)}, "warning")


def scores_drifted(drift: pd.DataFrame, standing: Standing) -> Verdict:
    """The verdict on the drift of the score alone, so that drift of the features does not fail two checks."""
    [score] = drift.to_dict("records")
    return Verdict(
        SCORES_DRIFTED,
        score["verdict"] != "shifted" or not standing.is_new,
        _with(
            standing,
            f"The score is {score['verdict']}: PSI {score['psi']:.3f}, KS {score['ks']:.3f}; {score['change']}.",
        ),
        {"standing": standing.kind, "psi": float(score["psi"]), "ks": float(score["ks"])},
    )


def _with(standing: Standing, description: str) -> str:
    return f"{standing.description} {description}".lstrip()


def _listed(why: Mapping[str, str]) -> str:
    entries = [f"{feature}: {reason}" for feature, reason in why.items()]
    more = [f"and {len(entries) - LISTED} more, in the drift table"] if len(entries) > LISTED else []
    return "; ".join(entries[:LISTED] + more)
