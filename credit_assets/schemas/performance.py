"""The contract of the performance table: what `monitoring/performance.py` finds of one scored batch.

How the figures are computed and judged lives there, not here.
"""

from __future__ import annotations

from typing import ClassVar

import pandera.pandas as pa

from credit_assets.schemas.table import Table

INFINITE = float("inf")
ALL = "all"
OUTCOMES, EARLY, ESTIMATE = "outcomes", "early outcomes", "estimate"


class Performance(Table):
    """How well the scores of a batch did, as they were when they decided: on outcomes where enough are known,
    else as their PDs let expect. Applicants the model learned from are left out."""

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
        description="What the PDs of the time let expect on the same rows; of a default rate their mean",
    )
    basis: str = pa.Field(
        isin=[OUTCOMES, EARLY, ESTIMATE],
        description=f"{OUTCOMES}: measured; {EARLY}: measured before the batch is matured; "
        f"{ESTIMATE}: expected from the PDs alone, while outcomes are few",
    )
    applicants: int = pa.Field(ge=1, description="Applicants of the segment whom the model did not learn from")
    outcomes: int = pa.Field(ge=0, description="Of these, those whose outcome is known")
    defaults: int = pa.Field(ge=0, description="Of these, those who defaulted")
    model_version: int = pa.Field(ge=1, description="Version of the model that made the scores")

    class Config:
        unique: ClassVar[list[str]] = ["segment", "metric"]
