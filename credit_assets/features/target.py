"""The outcome of a loan as SQL, from the source's value."""

from __future__ import annotations

from credit_assets.lake.sql import identifier, sql_text
from credit_assets.settings.target import Target, Word


def outcome_sql(target: Target, relation: str | None = None) -> str:
    """SQL of a row's outcome (1: defaulted, 0: repaid, null: unknown); `relation` qualifies the column."""
    column = f"{relation}.{identifier(target.column)}" if relation else identifier(target.column)
    return f"CASE WHEN {column} IN {_listed(target.bad)} THEN 1 WHEN {column} IN {_listed(target.good)} THEN 0 END"


def _listed(words: tuple[Word, ...]) -> str:
    return "(" + ", ".join(str(word) if isinstance(word, int) else sql_text(word) for word in words) + ")"
