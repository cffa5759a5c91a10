"""What a portfolio's `automation:` section may say: how often is looked, and when is re-trained and re-scored."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AutomationConfig(BaseModel):
    """When the platform acts by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    interval_s: int = Field(default=30, ge=1, description="seconds between two looks of a sensor")
    cool_down_hours: float = Field(
        default=24, ge=0, description="from the start of one training until a failed check may start the next"
    )
    min_new_outcomes: int = Field(
        default=500, ge=1, description="outcomes that the newest candidate has not learned from, to train another"
    )
    rescore_open_batches: int = Field(
        default=1, ge=0, description="newest batches without any outcome that a new champion scores again"
    )
    batches_a_look: int = Field(default=20, ge=1, description="runs that a look at the deliveries starts at most")
