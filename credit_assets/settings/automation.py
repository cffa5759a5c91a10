"""The `automation:` section of a portfolio: how often sensors poll, and when retraining and rescoring run."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AutomationConfig(BaseModel):
    """When the platform starts runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    interval_s: int = Field(default=30, ge=1, description="seconds between two polls of a sensor")
    cool_down_hours: float = Field(
        default=24, ge=0, description="hours from the start of one training until a failed check may start the next"
    )
    min_new_outcomes: int = Field(
        default=500,
        ge=1,
        description="outcomes that the newest candidate has not learned from, before another training",
    )
    rescore_open_batches: int = Field(
        default=1, ge=0, description="newest batches without outcomes that a new champion scores again"
    )
    batches_a_look: int = Field(
        default=20, ge=1, description="maximum number of runs that one poll of the deliveries starts"
    )
