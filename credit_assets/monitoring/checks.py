"""Drift and performance as asset checks, each result with the batch and the model version it was held against. What
fails is judged in `drift.py` (by effect size, never by p-value alone) and `performance.py`.

A failure of severity ERROR starts a re-training or a rollback, or stops the scores; a warning is reported. Drift of a
batch that the version was made from, or of an older one, fails no check: it is described, with the reason.
"""

from collections.abc import Mapping, Sequence

import dagster as dg
import pandas as pd

from credit_assets.monitoring.drift import DriftSummary
from credit_assets.monitoring.judgement import Judgement
from credit_assets.monitoring.reference_batches import Standing

FEATURES_DRIFTED, FEATURES_USABLE, SCORES_DRIFTED = "features_stable", "features_usable", "scores_stable"
AS_LEARNED, MISSINGNESS, NEW_CATEGORIES, VOLUME = (
    "features_as_learned",
    "missingness_stable",
    "no_new_categories",
    "volume_as_usual",
)
PERFORMANCE_HOLDS, NOT_WORSE = "performance_holds", "not_worse_than_predecessor"
CALIBRATED_IN_SEGMENTS = "calibrated_in_segments"

Against = Mapping[str, str | int]
"""The `batch`, and the `model_version` that it was held against: metadata of every result."""

LISTED = 8
"""Features that a check names; a shift may be of hundreds."""


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


def features_as_learned(asset: dg.AssetKey, other: Sequence[str], mend: str, against: Against) -> dg.AssetCheckResult:
    """`other`: the SQL files that are others than those the champion learned from; `mend`: what to do then."""
    version = against["model_version"]
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=AS_LEARNED,
        passed=not other,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"The features were made by another {', '.join(other)} than version {version} learned from, so "
        f"that what has moved may be the SQL and not the applicants. {mend}"
        if other
        else f"The SQL is that which version {version} learned from.",
        metadata=against,
    )


def features_drifted(
    asset: dg.AssetKey, told: DriftSummary, standing: Standing, against: Against
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=FEATURES_DRIFTED,
        passed=told.verdict != "shifted" or not standing.is_news,
        description=_with(standing, told.words),
        metadata={
            "standing": standing.kind,
            "shifted": told.shifted,
            "moderate": told.moderate,
            "shifted_share": told.shifted_share,
            **against,
        },
    )


def features_usable(
    asset: dg.AssetKey, why: Mapping[str, str], standing: Standing, against: Against
) -> dg.AssetCheckResult:
    """Of a batch that the version learned from every feature is usable: it knows what they look like there."""
    learned = standing.kind == "learned"
    description = "Every feature the champion relies on is there and varies."
    if why:
        description = _with(standing, f"Not usable: {_listed(why)}.") if learned else f"Not usable: {_listed(why)}."
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=FEATURES_USABLE,
        passed=not why or learned,
        description=description,
        metadata={"unusable": len(why), **against},
    )


def missingness_stable(
    asset: dg.AssetKey, moved: Mapping[str, str], standing: Standing, against: Against
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=MISSINGNESS,
        passed=not moved or not standing.is_news,
        severity=dg.AssetCheckSeverity.WARN,
        description=_with(standing, f"Missing at another rate than in training: {_listed(moved)}.")
        if moved
        else "Features are missing about as often as in training.",
        metadata={"features": len(moved), **against},
    )


def no_new_categories(
    asset: dg.AssetKey, found: Mapping[str, str], standing: Standing, against: Against
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=NEW_CATEGORIES,
        passed=not found or not standing.is_news,
        severity=dg.AssetCheckSeverity.WARN,
        description=_with(standing, f"In categories never seen in training: {_listed(found)}.")
        if found
        else "Hardly a row has a category that training had not.",
        metadata={"features": len(found), **against},
    )


def volume_as_usual(asset: dg.AssetKey, judged: Judgement, against: Against) -> dg.AssetCheckResult:
    return _of_judgement(asset, VOLUME, judged, dg.AssetCheckSeverity.WARN, against)


def scores_drifted(
    asset: dg.AssetKey, drift: pd.DataFrame, standing: Standing, against: Against
) -> dg.AssetCheckResult:
    """Of the score alone: the features have a check of their own, and one shift is one failure."""
    [score] = drift.to_dict("records")
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=SCORES_DRIFTED,
        passed=score["verdict"] != "shifted" or not standing.is_news,
        description=_with(
            standing,
            f"The score is {score['verdict']}: PSI {score['psi']:.3f}, KS {score['ks']:.3f}; {score['change']}.",
        ),
        metadata={"standing": standing.kind, "psi": float(score["psi"]), "ks": float(score["ks"]), **against},
    )


def performance_holds(asset: dg.AssetKey, judged: Judgement, against: Against) -> dg.AssetCheckResult:
    return _of_judgement(asset, PERFORMANCE_HOLDS, judged, dg.AssetCheckSeverity.ERROR, against)


def calibrated_in_segments(asset: dg.AssetKey, judged: Judgement, against: Against) -> dg.AssetCheckResult:
    return _of_judgement(asset, CALIBRATED_IN_SEGMENTS, judged, dg.AssetCheckSeverity.WARN, against)


def not_worse_than_predecessor(
    asset: dg.AssetKey, judged: Judgement, against: Against, predecessor: int | None
) -> dg.AssetCheckResult:
    before = {} if predecessor is None else {"predecessor": predecessor}
    return _of_judgement(asset, NOT_WORSE, judged, dg.AssetCheckSeverity.ERROR, {**against, **before})


def _of_judgement(
    asset: dg.AssetKey, name: str, judged: Judgement, severity: dg.AssetCheckSeverity, against: Against
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=judged.passed,
        severity=severity,
        description=judged.words,
        metadata={**judged.numbers, **against},
    )


def _with(standing: Standing, description: str) -> str:
    return f"{standing.description} {description}".lstrip()


def _listed(why: Mapping[str, str]) -> str:
    told = [f"{feature}: {reason}" for feature, reason in why.items()]
    more = [f"and {len(told) - LISTED} more, in the drift table"] if len(told) > LISTED else []
    return "; ".join(told[:LISTED] + more)
