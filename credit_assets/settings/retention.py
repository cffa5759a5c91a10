"""The `retention:` section of a portfolio: how long versions of tables, decisions and runs are kept."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RetentionConfig(BaseModel):
    """How long data that nothing needs any more is kept."""

    model_config = ConfigDict(extra="forbid")

    keep_days: int = Field(default=30, ge=2, description="every version of a table that was current within these days")
    decisions_years: int = Field(
        default=10, ge=1, description="every version of the scores, and everything that they were made from"
    )
    runs_days: int = Field(
        default=90,
        ge=1,
        description="runs of the instance that are not the latest to make an asset, and that no table and no "
        "promotion refers to",
    )
