"""The specs of the drift and performance checks. `drift_verdicts.py` and `outcome_verdicts.py` define the verdicts.

A failure of severity ERROR starts a training or a rollback, or stops scoring. A warning is only reported.
"""

import dagster as dg

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


def check_specs(book: Book) -> list[dg.AssetCheckSpec]:
    """The specs of the checks on a batch's features, scores and performance."""
    features, scores, performance = (
        dg.AssetKey([book.name, table]) for table in ("feature_drift", "score_drift", "performance")
    )
    return [*feature_specs(features), *score_specs(scores), *performance_specs(performance)]


def feature_specs(asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The specs of the checks on a batch's features."""
    return [
        dg.AssetCheckSpec(
            AS_LEARNED,
            asset=asset,
            description="The features were computed by the SQL that the champion learned from. Other SQL may compute "
            "another figure under the same name, which looks like drift. A warning.",
        ),
        dg.AssetCheckSpec(
            FEATURES_DRIFTED,
            asset=asset,
            description="The shifted features are few, by number and by importance. A failure starts a training.",
        ),
        dg.AssetCheckSpec(
            FEATURES_USABLE,
            asset=asset,
            blocking=True,
            description="No important feature of the champion has become missing or constant. A failure stops scoring.",
        ),
        dg.AssetCheckSpec(
            MISSINGNESS,
            asset=asset,
            description="The share of missing values of each feature is about as in training. A warning.",
        ),
        dg.AssetCheckSpec(
            NEW_CATEGORIES,
            asset=asset,
            description="Few applicants have categories that were not in the training data. A warning.",
        ),
        dg.AssetCheckSpec(
            VOLUME,
            asset=asset,
            description="The batch has about as many applicants as earlier batches. A warning.",
        ),
    ]


def score_specs(asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The specs of the checks on a batch's scores."""
    return [
        dg.AssetCheckSpec(
            SCORES_DRIFTED,
            asset=asset,
            description="The PDs are distributed like the champion's on its test rows. A failure starts a training.",
        )
    ]


def performance_specs(asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The specs of the checks on the performance of a batch's scores."""
    return [
        dg.AssetCheckSpec(
            PERFORMANCE_HOLDS,
            asset=asset,
            description="On known outcomes, ranking and default rates are as the PDs imply: overall, in each band, and "
            "over all batches since the promotion. A failure starts a training.",
        ),
        dg.AssetCheckSpec(
            CALIBRATED_IN_SEGMENTS,
            asset=asset,
            description="On known outcomes, default rates are as the PDs imply in each group of a protected attribute, "
            "and in each range or category of the most important features. A warning.",
        ),
        dg.AssetCheckSpec(
            NOT_WORSE,
            asset=asset,
            description="On known outcomes, the champion ranks no worse than its predecessor would have. A failure "
            "starts a rollback.",
        ),
    ]
