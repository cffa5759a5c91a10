"""The contract of the drift table: what `monitoring/drift.py` measures for one batch."""

from __future__ import annotations

import pandera.pandas as pa

from credit_assets.schemas.table import Table

VERDICTS = ("stable", "moderate", "shifted")


class Drift(Table):
    """How far each feature and the score of a batch moved from the data that the champion was trained on."""

    feature: str = pa.Field(unique=True, description="Name of the feature, or of the score")
    role: str = pa.Field(isin=["feature", "score"], description="Whether the row is a feature or the score")
    kind: str = pa.Field(isin=["numeric", "categorical"], description="How the column was binned")
    psi: float = pa.Field(ge=0, lt=float("inf"), description="Population stability index, with missing values as a bin")
    psi_noise: float = pa.Field(
        ge=0, lt=float("inf"), description="PSI that sampling alone does not exceed; larger for smaller batches"
    )
    ks: float = pa.Field(
        ge=0,
        le=1,
        nullable=True,
        description="Kolmogorov-Smirnov distance of the non-missing values; null for categories",
    )
    ks_noise: float = pa.Field(
        ge=0, nullable=True, description="KS distance that sampling alone does not exceed; null for categories"
    )
    missing_reference: float = pa.Field(
        ge=0, le=1, description="Share missing in the training data", metadata={"unit": "share"}
    )
    missing_batch: float = pa.Field(ge=0, le=1, description="Share missing in the batch", metadata={"unit": "share"})
    new_category_share: float = pa.Field(
        ge=0,
        le=1,
        description="Share of the batch in categories never seen in training",
        metadata={"unit": "share"},
    )
    new_category_noise: float = pa.Field(
        ge=0,
        le=1,
        description="Share in such categories that chance alone does not exceed; larger for smaller batches",
        metadata={"unit": "share"},
    )
    became_constant: bool = pa.Field(
        description="The batch has one value (or none) although the training data varied, beyond chance"
    )
    rows_reference: int = pa.Field(ge=1, description="Rows of training data behind the reference")
    rows_batch: int = pa.Field(ge=1, description="Rows of the batch")
    change: str = pa.Field(description="The largest change, from what to what")
    verdict: str = pa.Field(isin=list(VERDICTS), description="stable, moderate or shifted, by effect size")
