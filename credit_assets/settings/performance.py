"""The `performance:` section of a portfolio: when the scores of a batch count as worse than promised."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PerformanceConfig(BaseModel):
    """When a scored batch counts as worse than promised. Margins are effect sizes; `false_alarms` keeps chance
    out of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_outcomes: int = Field(default=500, ge=2, description="Known outcomes from which a batch is measured and judged")
    min_defaults: int = Field(default=30, ge=2, description="Defaults, and repaid loans, from which it is")
    auc_margin: float = Field(
        default=0.02, ge=0, lt=0.5, description="AUC that may be missing to what the PDs let expect on the same rows"
    )
    max_calibration_gap: float = Field(
        default=0.01, ge=0, lt=1, description="Default rate may be off the mean PD by so much, either way"
    )
    max_calibration_share: float = Field(
        default=0.15, ge=0, description="And by this share of the mean PD, where that is less"
    )
    max_calibration_share_of_band: float = Field(
        default=0.125,
        ge=0,
        description="In a band or segment: by this share of its mean PD, or by what all may be off, where that is more",
    )
    predecessor_margin: float = Field(
        default=0.005, ge=0, lt=0.5, description="AUC that may be missing to the champion before"
    )
    false_alarms: float = Field(
        default=0.003, gt=0, lt=1, description="Chance that a batch whose PDs are right within the margins fails"
    )
    cumulative_false_alarms: float = Field(
        default=0.02,
        gt=0,
        lt=1,
        description="Chance that right PDs ever fail on all outcomes since the promotion, however many batches come",
    )
    confidence: float = Field(default=0.95, gt=0, lt=1, description="Of the intervals shown")
    draws: int = Field(default=500, ge=100, description="Resamples, or outcomes drawn from the PDs, behind an interval")
