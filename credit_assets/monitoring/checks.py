"""The checks of drift and performance, and the verdicts on a batch's features and scores. `drift.py` decides what has
shifted (by effect size, never by p-value alone), `performance.py` gives the verdicts on outcomes.

A failure of severity ERROR starts a training or a rollback, or stops the scores; a warning is reported. Drift of a
batch that the version was made from, or of an older one, fails no check: it is described, with the reason.
"""

from collections.abc import Mapping, Sequence

import dagster as dg
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.monitoring.check_names import (
    AS_LEARNED,
    CALIBRATED_IN_SEGMENTS,
    FEATURES_DRIFTED,
    FEATURES_USABLE,
    MISSINGNESS,
    NEW_CATEGORIES,
    NOT_WORSE,
    PERFORMANCE_HOLDS,
    SCORES_DRIFTED,
    VOLUME,
)
from credit_assets.monitoring.drift_summary import DriftSummary
from credit_assets.monitoring.reference_batches import Standing
from credit_assets.verdicts.verdict import Verdict

LISTED = 8
"""Features that a check names; a shift may be of hundreds."""


def check_specs(book: Book) -> list[dg.AssetCheckSpec]:
    """The checks of a batch's features, scores and performance."""
    features, scores, performance = (
        dg.AssetKey([book.name, table]) for table in ("feature_drift", "score_drift", "performance")
    )
    return [*feature_specs(features), *score_specs(scores), *performance_specs(performance)]


def feature_specs(asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            AS_LEARNED,
            asset=asset,
            description="The features were made by the SQL that the champion learned from. By other SQL, one of the "
            "same name may be another figure, and no drift of the applicants.",
        ),
        dg.AssetCheckSpec(
            FEATURES_DRIFTED,
            asset=asset,
            description="Few features, and little of what the champion relies on, have shifted. A failure re-trains.",
        ),
        dg.AssetCheckSpec(
            FEATURES_USABLE,
            asset=asset,
            blocking=True,
            description="No feature that the champion relies on has gone missing or stopped varying. "
            "A failure stops the scores: the model would answer on what is not there.",
        ),
        dg.AssetCheckSpec(
            MISSINGNESS,
            asset=asset,
            description="No feature is missing much more or less often than in training. A warning.",
        ),
        dg.AssetCheckSpec(
            NEW_CATEGORIES,
            asset=asset,
            description="Few applicants have categories that the champion has never seen. A warning.",
        ),
        dg.AssetCheckSpec(
            VOLUME,
            asset=asset,
            description="The batch has about as many applicants as those before it. A warning.",
        ),
    ]


def score_specs(asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            SCORES_DRIFTED,
            asset=asset,
            description="The batch's PDs are spread as the champion's on its test rows. A failure re-trains.",
        )
    ]


def performance_specs(asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            PERFORMANCE_HOLDS,
            asset=asset,
            description="On known outcomes the scores rank as well as their PDs promised, and as many defaulted: of "
            "all, in each band, and over all batches since the promotion. A failure re-trains.",
        ),
        dg.AssetCheckSpec(
            CALIBRATED_IN_SEGMENTS,
            asset=asset,
            description="On known outcomes as many defaulted as was promised in each group of a protected attribute, "
            "and in each range or category of the leading features. A warning.",
        ),
        dg.AssetCheckSpec(
            NOT_WORSE,
            asset=asset,
            description="On known outcomes the champion ranks no worse than the one before it would have. "
            "A failure rolls back.",
        ),
    ]


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
