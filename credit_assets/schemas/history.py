"""The contracts of a portfolio's story: which version decided when, and what happened in which order.

Where the facts come from is in `history/`.
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
    """One row each time the champion changed: which version decided from when to when, by whom and why."""

    number: int = pa.Field(ge=1, unique=True, description="The change's place in the history")
    version: int = pa.Field(ge=1, description="The version that decided from then on")
    # Delta knows no time but UTC's, written without its name.
    decided_from: pd.Timestamp = pa.Field(description="Since when", metadata={"unit": "UTC"})
    decided_until: pd.Timestamp = pa.Field(
        nullable=True, description="Until when; empty for the one that decides now", metadata={"unit": "UTC"}
    )
    by: str = pa.Field(
        isin=["gate", "rollback", "hand", "override"],
        description="gate: it passed; rollback: taken back by itself; hand: taken back by a person, or found moved in "
        "MLflow; override: promoted by persons, whatever the gate said",
    )
    why: str = pa.Field(description="The reason, in words")
    run: str = pa.Field(nullable=True, description="The Dagster run that did it")
    replaced: pd.Int64Dtype = pa.Field(nullable=True, ge=1, description="The version that decided before")
    auc: float = pa.Field(
        ge=0, le=1, nullable=True, description="Its AUC on the test rows, as it was evaluated before its promotion"
    )
    synthetic: bool = pa.Field(description="Whether it learned from generated data")


class Timeline(Table):
    """What happened in a portfolio, oldest first: deliveries, drift, trainings, champions, performance. A row is
    a fact found in the lake's commits or in the registry, none is kept for this table."""

    at: pd.Timestamp = pa.Field(description="When", metadata={"unit": "UTC"})
    kind: str = pa.Field(isin=list(KINDS), description="What happened")
    batch: str = pa.Field(nullable=True, description="The delivery it is about")
    model_version: pd.Int64Dtype = pa.Field(nullable=True, ge=1, description="The model version it is about or by")
    measure: str = pa.Field(nullable=True, description="What the figure is")
    value: float = pa.Field(gt=-INFINITE, lt=INFINITE, nullable=True, description="The figure")
    low: float = pa.Field(gt=-INFINITE, lt=INFINITE, nullable=True, description="Lower bound of its interval")
    high: float = pa.Field(gt=-INFINITE, lt=INFINITE, nullable=True, description="Upper bound of its interval")
    verdict: str = pa.Field(nullable=True, isin=list(VERDICTS), description="Of drift: stable, moderate or shifted")
    words: str = pa.Field(description="What happened, in words")
    run: str = pa.Field(nullable=True, description="The Dagster run that did it; its tags tell why it was started")
    synthetic: bool = pa.Field(description="Whether generated data are behind it")
