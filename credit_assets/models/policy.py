"""The decision policy: which PDs are approved. Its cut-off is kept with the model; points and bands are elsewhere."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

APPROVE = "approve"
DECLINE = "decline"


class PolicyConfig(BaseModel):
    """Either a highest PD or a share of applicants to approve, never both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_pd: float | None = Field(default=None, gt=0, lt=1)
    target_approval_rate: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _one_rule(self) -> PolicyConfig:
        if (self.max_pd is None) == (self.target_approval_rate is None):
            raise ValueError("a policy needs exactly one of max_pd and target_approval_rate")
        return self


def cut_off(policy: PolicyConfig, pds: np.ndarray) -> float:
    """The highest PD that is approved; derived when a model is trained and kept with it.

    `pds` (n,) are PDs of rows the model was not fitted on. With a target approval rate the cut-off is the
    lowest of them at or below which that share lies: at least the target is approved, more where PDs tie.
    With `max_pd` they do not matter.

    Raises ValueError where a share is asked of no or missing PDs.
    """
    if policy.max_pd is not None:
        return policy.max_pd
    assert policy.target_approval_rate is not None
    if pds.size == 0 or np.isnan(pds).any():
        raise ValueError(f"no cut-off from {pds.size} PDs, {int(np.isnan(pds).sum())} of them missing")
    return float(np.quantile(pds, policy.target_approval_rate, method="inverted_cdf"))


def decide(pds: np.ndarray, cut_off: float) -> np.ndarray:
    """ "approve" where pd <= cut_off, else "decline" (n,). Raises ValueError for a missing PD."""
    if np.isnan(pds).any():
        raise ValueError(f"{int(np.isnan(pds).sum())} of {pds.size} applicants have no PD to decide on")
    return np.where(pds <= cut_off, APPROVE, DECLINE).astype(object)
