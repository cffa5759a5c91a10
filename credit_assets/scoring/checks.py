"""The checks of a batch's scores."""

from collections.abc import Mapping

import dagster as dg
import numpy as np
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.explanations.texts import Draft, drafts_message
from credit_assets.lake.io_managers import frame_table
from credit_assets.verdicts.checks import check_result
from credit_assets.verdicts.verdict import Verdict

SCORED_ONCE, AS_CHECKED = "every_applicant_scored_once", "scored_by_the_version_checked"
REASONS_CONFIRMED = "reasons_confirmed"


def check_specs(book: Book) -> list[dg.AssetCheckSpec]:
    """The checks of the scores."""
    key = dg.AssetKey([book.name, "scores"])
    return [
        dg.AssetCheckSpec(
            SCORED_ONCE,
            asset=key,
            blocking=True,
            description="Every delivered applicant of the batch is scored, exactly once.",
        ),
        dg.AssetCheckSpec(
            AS_CHECKED,
            asset=key,
            blocking=True,
            description="The batch was scored by the version that its features were checked against.",
        ),
        dg.AssetCheckSpec(
            REASONS_CONFIRMED,
            asset=key,
            description="No reason text for declined applicants is a draft: none contains the name of a column or is "
            "marked as a guess. With `reasons: {unconfirmed: block}`, nothing is scored while a draft remains.",
        ),
    ]


def complete(delivered: Mapping[str, np.ndarray], decided: pd.DataFrame) -> dg.AssetCheckResult:
    """The check that the applicants of the raw table are the scored ones."""
    [applicants] = delivered.values()
    scored = np.sort(decided["applicant"].to_numpy())
    return check_result(
        Verdict(
            SCORED_ONCE,
            np.array_equal(np.sort(applicants), scored),
            f"{len(applicants):,} applicants were delivered and {len(scored):,} scored.",
            {"delivered": len(applicants), "scored": len(scored)},
        )
    )


def confirmed(drafts: Mapping[str, Draft], features: int) -> dg.AssetCheckResult:
    """The check that no text of the model's features is a draft."""
    message = drafts_message(drafts) if drafts else f"The texts of all {features} features are confirmed."
    verdict = Verdict(REASONS_CONFIRMED, not drafts, message, {"drafts": len(drafts)}, "warning")
    to_write = pd.DataFrame([(name, str(why)) for name, why in drafts.items()], columns=["feature", "why"], dtype=str)
    return check_result(verdict, details={"to_write": frame_table(to_write)})


def as_checked(scored: int, checked: int) -> dg.AssetCheckResult:
    """The check that the version that scored is the one of the latest check of the features."""
    return check_result(
        Verdict(
            AS_CHECKED,
            scored == checked,
            f"Version {scored} scored the batch; its features were checked against version {checked}.",
            {"model_version": scored, "features_checked_against": checked},
        )
    )
