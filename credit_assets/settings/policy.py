"""The `policy:` section of a portfolio: which PDs are approved."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class PolicyConfig(BaseModel):
    """Either a highest PD or a share of applicants to approve, never both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_pd: float | None = Field(default=None, gt=0, lt=1, description="the highest PD that is approved")
    target_approval_rate: float | None = Field(
        default=None, gt=0, lt=1, description="share of the training applicants to approve, by out-of-fold PDs"
    )

    @model_validator(mode="after")
    def _one_rule(self) -> PolicyConfig:
        if (self.max_pd is None) == (self.target_approval_rate is None):
            raise ValueError("a policy needs exactly one of max_pd and target_approval_rate")
        return self
