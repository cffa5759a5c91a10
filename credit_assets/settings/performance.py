"""The `performance:` section of a portfolio: when the scores of a batch count as worse than expected."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PerformanceConfig(BaseModel):
    """When a scored batch counts as worse than expected. Margins are effect sizes, which have to be exceeded beyond
    chance (`false_alarms`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_outcomes: int = Field(default=500, ge=2, description="Known outcomes from which a batch is evaluated")
    min_defaults: int = Field(default=30, ge=2, description="Defaults, and repaid loans, from which one is evaluated")
    auc_margin: float = Field(
        default=0.02, ge=0, lt=0.5, description="AUC below the one that the PDs imply on the same rows"
    )
    max_calibration_gap: float = Field(
        default=0.01, ge=0, lt=1, description="Difference between default rate and mean PD, in either direction"
    )
    max_calibration_share: float = Field(
        default=0.15, ge=0, description="The same as a share of the mean PD, if that is less"
    )
    max_calibration_share_of_band: float = Field(
        default=0.125,
        ge=0,
        description="Of a band or segment: this share of its mean PD, or the overall tolerance if that is more",
    )
    predecessor_margin: float = Field(default=0.005, ge=0, lt=0.5, description="AUC below the predecessor's")
    false_alarms: float = Field(
        default=0.003, gt=0, lt=1, description="Probability that a batch with correct PDs (within the margins) fails"
    )
    cumulative_false_alarms: float = Field(
        default=0.02,
        gt=0,
        lt=1,
        description="Probability that correct PDs ever fail on the outcomes since the promotion, over all batches",
    )
    confidence: float = Field(default=0.95, gt=0, lt=1, description="Confidence of the intervals")
    draws: int = Field(default=500, ge=100, description="Resamples, or outcomes drawn from the PDs, behind an interval")
