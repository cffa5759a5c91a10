"""Settings of a drafted portfolio that depend on the size of the book. The promotion gate does not."""

from __future__ import annotations

import math

from credit_assets.onboarding.guesses import GuessedBook
from credit_assets.settings.portfolio import DeliveryConfig

SMALL_BOOK = 4000
"""With fewer applicants, the default minimum of rows for groups and later outcomes cannot be met."""

MIN_TEST_DEFAULTS = 25
"""Defaults needed in the test part: a few more than the gate's 20, as the split is random."""

TOLERATED_BAD_ROWS = 3
"""Bad rows that a batch may have without being refused."""

MAX_BAD_SHARE = 0.05
"""The largest share of bad rows that is drafted, however small the batches are."""


def bad_share(book: GuessedBook) -> tuple[float, str] | None:
    """The share of bad rows to allow, and why; None if the default allows a few rows already."""
    default, rows = DeliveryConfig().max_bad_share, book.applications.files.rows / book.batches
    if default * rows >= TOLERATED_BAD_ROWS:
        return None
    digits = 10 ** (math.floor(math.log10(TOLERATED_BAD_ROWS / rows)))
    share = min(round(math.ceil(TOLERATED_BAD_ROWS / rows / digits) * digits, 10), MAX_BAD_SHARE)
    why = (
        f"A batch has about {rows:,.0f} rows, of which up to {100 * share:.2g}% may be bad and are quarantined. The "
        f"default of {default:.1%} would refuse the whole batch for {'one' if default * rows < 1 else 'a few'} of them."
    )
    return share, why


def size_settings(book: GuessedBook) -> list[str]:
    """Lines of the configuration for the book's size, each with its reason."""
    known, rarer = book.bads + book.goods, min(book.bads, book.goods)
    lines = []
    if 0.25 * rarer < MIN_TEST_DEFAULTS:
        lines.append(f"training: {{holdout_share: 0.4}} # {known:,} known outcomes, {rarer:,} of the rarer class")
    if 0.4 * rarer < MIN_TEST_DEFAULTS:
        lines.append(f"# {rarer:,} are too few to evaluate a model: the gate refuses it until more are delivered.")
    odds = max(round(book.goods / max(book.bads, 1)), 1)
    lines.append(f"scorecard: {{base_odds: {odds}}} # odds of good to bad at 600 points: those of this book")
    if known < SMALL_BOOK:
        lines.append("performance: {min_outcomes: 100} # later batches are as small, so intervals are wide")
        lines.append("automation: {min_new_outcomes: 100}")
    return lines
