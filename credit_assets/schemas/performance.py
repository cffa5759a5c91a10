"""The contract of the performance table: what `monitoring/performance.py` computes for one scored batch."""

from __future__ import annotations

from typing import ClassVar

import pandera.pandas as pa

from credit_assets.schemas.table import Table

INFINITE = float("inf")
ALL = "all"
OUTCOMES, EARLY, ESTIMATE = "outcomes", "early outcomes", "estimate"


class Performance(Table):
    """How well the scores of a batch performed, as they were when they decided: measured on outcomes if enough are
    known, else expected from their PDs. Applicants that the model learned from are excluded."""

    segment: str = pa.Field(description=f"{ALL}, or a band of points")
    metric: str = pa.Field(
        isin=["auc", "ks", "brier", "ece", "calibration_gap", "default_rate"],
        description="auc, ks, brier, ece, calibration_gap (default rate minus mean PD) or default_rate",
    )
    value: float = pa.Field(gt=-INFINITE, lt=INFINITE, description="The figure")
    low: float = pa.Field(gt=-INFINITE, lt=INFINITE, description="Lower bound of its interval")
    high: float = pa.Field(gt=-INFINITE, lt=INFINITE, description="Upper bound of its interval")
    expected: float = pa.Field(
        gt=-INFINITE,
        lt=INFINITE,
        nullable=True,
        description="The value expected from these PDs on the same rows; for a default rate, their mean",
    )
    basis: str = pa.Field(
        isin=[OUTCOMES, EARLY, ESTIMATE],
        description=f"{OUTCOMES}: measured; {EARLY}: measured before the batch is matured; "
        f"{ESTIMATE}: expected from the PDs alone, while outcomes are few",
    )
    applicants: int = pa.Field(ge=1, description="Applicants of the segment that the model did not learn from")
    outcomes: int = pa.Field(ge=0, description="Those with a known outcome")
    defaults: int = pa.Field(ge=0, description="Those who defaulted")
    model_version: int = pa.Field(ge=1, description="Version of the model that made the scores")

    class Config:
        unique: ClassVar[list[str]] = ["segment", "metric"]
