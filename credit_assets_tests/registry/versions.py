"""Registered versions made by hand.

Nothing is asserted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from credit_assets.registry.version import ModelVersion


def version_made_from(tables: Mapping[str, int], number: int = 1, model: str = "home_credit") -> ModelVersion:
    """A version made from these table versions, without any other content."""
    created = datetime(2026, 1, 1, tzinfo=UTC)
    return ModelVersion(model=model, number=number, run_id="run", created=created, synthetic=False, tables=tables)
