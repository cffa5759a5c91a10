"""The contracts of a short Home Credit book, of three tables: what a test's portfolio may name as `contracts`."""

from __future__ import annotations

from credit_assets.schemas import home_credit

TABLES = {name: home_credit.TABLES[name] for name in ("applications", "bureau", "outcomes")}
