"""The checks of drift and performance: `drift_verdicts.py` and `outcome_verdicts.py` give the verdicts.

A failure of severity ERROR starts a training or a rollback, or stops the scores; a warning is reported.
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
