"""Drift as asset checks: by effect size, never by p-value. What fails is judged in `drift.py`."""

from collections.abc import Mapping

import dagster as dg
import pandas as pd

from credit_assets.monitoring.drift import DriftSummary

FEATURES_DRIFTED, FEATURES_USABLE, SCORES_DRIFTED = "features_stable", "features_usable", "scores_stable"


def feature_specs(asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    return [
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
    ]


def score_specs(asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            SCORES_DRIFTED,
            asset=asset,
            description="The batch's PDs are spread as the champion's on its test rows. A failure re-trains.",
        )
    ]


def features_drifted(asset: dg.AssetKey, told: DriftSummary) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=FEATURES_DRIFTED,
        passed=told.verdict != "shifted",
        description=told.words,
        metadata={
            "shifted": told.shifted,
            "moderate": told.moderate,
            "shifted_share": told.shifted_share,
        },
    )


def features_usable(asset: dg.AssetKey, why: Mapping[str, str]) -> dg.AssetCheckResult:
    words = "; ".join(f"{feature}: {reason}" for feature, reason in why.items())
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=FEATURES_USABLE,
        passed=not why,
        description=f"Not usable: {words}" if why else "Every feature the champion relies on is there and varies.",
        metadata={"unusable": len(why)},
    )


def scores_drifted(asset: dg.AssetKey, drift: pd.DataFrame) -> dg.AssetCheckResult:
    """Of the score alone: the features have a check of their own, and one shift is one failure."""
    [score] = drift.to_dict("records")
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=SCORES_DRIFTED,
        passed=score["verdict"] != "shifted",
        description=f"Score {score['verdict']}: PSI {score['psi']:.3f}, KS {score['ks']:.3f}; {score['change']}.",
        metadata={"psi": float(score["psi"]), "ks": float(score["ks"])},
    )
