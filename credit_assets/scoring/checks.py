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
            description="The batch's applicants and the scored ones are the same, each once.",
        ),
        dg.AssetCheckSpec(
            AS_CHECKED,
            asset=key,
            blocking=True,
            description="The version that scored the batch is the one that its features were checked against.",
        ),
        dg.AssetCheckSpec(
            REASONS_CONFIRMED,
            asset=key,
            description="No text that a declined applicant may be given as a reason is a draft: none holds a "
            "column's name or is marked as a guess. With `reasons: {unconfirmed: block}` no scores are given "
            "while one is.",
        ),
    ]


def complete(delivered: Mapping[str, np.ndarray], decided: pd.DataFrame) -> dg.AssetCheckResult:
    """Whether the delivered applicants (in the raw table, not in what was made from it) are those scored."""
    [applicants] = delivered.values()
    scored = np.sort(decided["applicant"].to_numpy())
    return check_result(
        Verdict(
            SCORED_ONCE,
            np.array_equal(np.sort(applicants), scored),
            f"Of the applicants {len(applicants):,} were delivered and {len(scored):,} scored.",
            {"delivered": len(applicants), "scored": len(scored)},
        )
    )


def confirmed(drafts: Mapping[str, Draft], features: int) -> dg.AssetCheckResult:
    """Whether no text of the model's features is a draft."""
    message = drafts_message(drafts) if drafts else f"The texts of all {features} features are confirmed."
    verdict = Verdict(REASONS_CONFIRMED, not drafts, message, {"drafts": len(drafts)}, "warning")
    to_write = pd.DataFrame([(name, str(why)) for name, why in drafts.items()], columns=["feature", "why"], dtype=str)
    return check_result(verdict, details={"to_write": frame_table(to_write)})


def as_checked(scored: int, checked: int) -> dg.AssetCheckResult:
    """Whether the version that scored is still the one of the latest check of the features."""
    return check_result(
        Verdict(
            AS_CHECKED,
            scored == checked,
            f"Version {scored} scored the batch, and its features were checked against version {checked}.",
            {"model_version": scored, "features_checked_against": checked},
        )
    )
