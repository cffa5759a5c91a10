"""The outcome of a loan as SQL, from the source's value."""

from __future__ import annotations

from credit_assets.lake.sql import identifier, sql_text
from credit_assets.settings.target import Target, Word


def outcome_sql(target: Target, relation: str | None = None) -> str:
    """SQL of a row's outcome (1: defaulted, 0: repaid, null: unknown); `relation` qualifies the column."""
    column = f"{relation}.{identifier(target.column)}" if relation else identifier(target.column)
    return f"CASE WHEN {column} IN {_listed(target.bad)} THEN 1 WHEN {column} IN {_listed(target.good)} THEN 0 END"


def _listed(values: tuple[Word, ...]) -> str:
    return "(" + ", ".join(str(value) if isinstance(value, int) else sql_text(value) for value in values) + ")"
