"""The `retention:` section of a portfolio: how long versions of tables, decisions and runs are kept."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RetentionConfig(BaseModel):
    """How long data is kept that nothing needs any more.

    `keep_days`: every version of a table that was current in these days. `decisions_years`: every version of the
    scores, and everything they were made from. `runs_days`: runs of the instance that are not the latest to make an
    asset, and that no table and no promotion refers to.
    """

    model_config = ConfigDict(extra="forbid")

    keep_days: int = Field(default=30, ge=2)
    decisions_years: int = Field(default=10, ge=1)
    runs_days: int = Field(default=90, ge=1)
