"""Drafts messages for missing values: the text of a reason if the feature has no value.

Only the lender knows what a special code or an empty cell means, so each draft is marked as a guess.
"""

from __future__ import annotations

from credit_assets.onboarding.files import Column
from credit_assets.onboarding.wording import parts, phrase

MIN_EMPTY_SHARE = 0.05
"""Share of empty cells from which they are likely to mean something. Below it, the default message is enough."""

EVENT_WORDS = {"since", "last", "recent", "latest", "previous", "prev", "first"}
"""Words in the name of a column that is empty if the event that it counts from never happened."""

TEXTS_FOR_NOTHING = {"none", "nil", "-", "--"}
"""Texts that mean that there is nothing, rather than that it is not known."""

MAX_CODES = 5
"""Maximum number of codes in a message."""


def missing_text(column: Column) -> tuple[str, str]:
    """The message for a missing value of the column, and why it is a guess; two empty texts if the default message
    is enough."""
    empty = column.rows - column.filled
    codes = [*map(str, column.sentinels), *(repr(word.strip()) for word in column.missing if word.strip())]
    if not codes and empty < max(MIN_EMPTY_SHARE * column.rows, 1):
        return "", ""
    means = [f"what {', '.join(codes[:MAX_CODES])} mean{'' if len(codes) > 1 else 's'}"] if codes else []
    if empty:
        means.append(f"what it means that {empty:,} of {column.rows:,} rows have no value")
    return f"{phrase(column.name)}: {_state(column)}", f"say {' and '.join(means)}"


def _state(column: Column) -> str:
    texts = {word.strip().lower() for word in column.missing}
    if EVENT_WORDS & set(parts(column.name)) or (texts and texts <= TEXTS_FOR_NOTHING):
        return "none on record"
    return "no record" if column.sentinels else "not known"
