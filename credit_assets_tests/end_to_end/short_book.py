"""Contracts of a short Home Credit book with three tables, which a test's portfolio can name as `contracts`."""

from __future__ import annotations

from credit_assets.schemas import home_credit

TABLES = {name: home_credit.TABLES[name] for name in ("applications", "bureau", "outcomes")}
