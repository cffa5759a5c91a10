"""The `drift:` section of a portfolio: when a batch counts as drifted."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class DriftConfig(BaseModel):
    """When a batch counts as drifted. Limits are effect sizes, to be exceeded beyond chance (`false_alarms`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bins: int = Field(10, ge=2, le=100, description="Bins of a numeric feature: deciles of the training data")
    rare_category: float = Field(
        0.01, gt=0, lt=1, description="Categories below this share of the training data form one bin"
    )
    psi_moderate: float = Field(0.1, gt=0, description="PSI from which a feature has moved")
    psi_shifted: float = Field(0.25, gt=0, description="PSI above which a feature has shifted")
    ks_moderate: float = Field(
        0.1, gt=0, lt=1, description="KS from which a feature has moved: a tenth of the rows have moved"
    )
    ks_shifted: float = Field(0.2, gt=0, lt=1, description="KS above which a feature has shifted")
    false_alarms: float = Field(
        0.001, gt=0, lt=1, description="Probability that any column of a batch without drift is reported as moved"
    )
    shifted_features: float = Field(
        0.1, gt=0, le=1, description="Share of features that must have shifted for the batch to fail"
    )
    shifted_importance: float = Field(
        0.25,
        gt=0,
        le=1,
        description="Share of the model's importance on shifted features for the batch to fail",
    )
    important_feature: float = Field(
        0.01, ge=0, le=1, description="Share of the model's importance from which a feature may stop the scores"
    )
    missing_rise: float = Field(
        0.5, gt=0, lt=1, description="Rise of the missing share above which an important feature is unusable"
    )
    missing_moved: float = Field(
        0.1, gt=0, lt=1, description="Rise or fall of a feature's missing share above which a check warns"
    )
    new_categories: float = Field(
        0.01, ge=0, lt=1, description="Share of rows in categories never seen in training above which a check warns"
    )
    volume_ratio: float = Field(
        2, gt=1, description="Ratio of applicants to the median of earlier batches, or its inverse, that warns"
    )
    report_columns: int = Field(30, ge=0, description="Columns on the drift page, those that moved most; 0 for no page")

    @model_validator(mode="after")
    def _bounds_rise(self) -> Self:
        if self.psi_moderate >= self.psi_shifted or self.ks_moderate >= self.ks_shifted:
            raise ValueError("the bound of 'moderate' must be below that of 'shifted'")
        return self
