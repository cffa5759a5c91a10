"""The contracts of a portfolio's history: which version decided when, and what happened in which order.

`history/` collects the facts.
"""

from __future__ import annotations

import pandas as pd
import pandera.pandas as pa

from credit_assets.schemas.drift import VERDICTS
from credit_assets.schemas.table import Table

KINDS = (
    "delivery",
    "correction",
    "withdrawal",
    "outcomes",
    "drift",
    "scored",
    "re-scored",
    "estimate",
    "performance",
    "training",
    "promotion",
    "rollback",
)

INFINITE = float("inf")


class ChampionHistory(Table):
    """One row per change of the champion: which version decided from when to when, who changed it and why."""

    number: int = pa.Field(ge=1, unique=True, description="The number of the change in the history")
    version: int = pa.Field(ge=1, description="The version that decided from then on")
    # Delta stores times in UTC, without a zone.
    decided_from: pd.Timestamp = pa.Field(description="Start", metadata={"unit": "UTC"})
    decided_until: pd.Timestamp = pa.Field(
        nullable=True, description="End; empty for the current champion", metadata={"unit": "UTC"}
    )
    by: str = pa.Field(
        isin=["gate", "rollback", "hand", "override"],
        description="gate: it passed; rollback: automatic rollback; hand: rollback by a person, or changed in MLflow; "
        "override: promoted by people, whatever the gate's verdict",
    )
    why: str = pa.Field(description="The reason")
    run: str = pa.Field(nullable=True, description="The Dagster run that did it")
    replaced: pd.Int64Dtype = pa.Field(nullable=True, ge=1, description="The version that decided before")
    auc: float = pa.Field(
        ge=0, le=1, nullable=True, description="Its AUC on the test rows, evaluated before its promotion"
    )
    synthetic: bool = pa.Field(description="Whether it was trained on synthetic data")


class Timeline(Table):
    """The history of a portfolio, oldest first: deliveries, drift, trainings, champions, performance. Every row is
    read from the lake's commits or the registry; nothing is stored for this table."""

    at: pd.Timestamp = pa.Field(description="When", metadata={"unit": "UTC"})
    kind: str = pa.Field(isin=list(KINDS), description="What happened")
    batch: str = pa.Field(nullable=True, description="The batch concerned")
    model_version: pd.Int64Dtype = pa.Field(nullable=True, ge=1, description="The model version concerned")
    measure: str = pa.Field(nullable=True, description="The name of the figure")
    value: float = pa.Field(gt=-INFINITE, lt=INFINITE, nullable=True, description="The figure")
    low: float = pa.Field(gt=-INFINITE, lt=INFINITE, nullable=True, description="Lower bound of its interval")
    high: float = pa.Field(gt=-INFINITE, lt=INFINITE, nullable=True, description="Upper bound of its interval")
    verdict: str = pa.Field(nullable=True, isin=list(VERDICTS), description="Of drift: stable, moderate or shifted")
    words: str = pa.Field(description="A description")
    run: str = pa.Field(nullable=True, description="The Dagster run that did it; its tags state why it was started")
    synthetic: bool = pa.Field(description="Whether it is based on synthetic data")
