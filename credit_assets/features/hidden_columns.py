"""The columns hidden from the models, which no combination of inputs may reproduce (`combined_leaks.py`)."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pandas as pd

from credit_assets.features.training_set import training_frame
from credit_assets.lake.sql import identifier
from credit_assets.settings.portfolio import Portfolio
from credit_assets.statistics.column_auc import single_feature_auc

NUMBERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL"}
"""The DuckDB types of columns that inputs could reproduce."""


def hidden_columns(
    portfolio: Portfolio,
    learned: pd.DataFrame,
    applications: duckdb.DuckDBPyRelation,
    features: duckdb.DuckDBPyRelation,
    left_out: Mapping[str, str],
) -> pd.DataFrame:
    """The columns hidden from the models, for the rows that are learned from: numbers of the application table known
    only after the decision, and left-out features that alone rank like a leak."""
    keys = [portfolio.entity_key, "batch"]
    rows = learned[keys]
    late = [
        column
        for column, kind in zip(applications.columns, applications.types, strict=True)
        if column in portfolio.post_decision and str(kind).partition("(")[0] in NUMBERS
    ]
    if late:
        numbers = (f"CAST({identifier(name)} AS DOUBLE) AS {identifier(name)}" for name in late)
        wanted = ", ".join([*map(identifier, keys), *numbers])
        rows = rows.merge(applications.project(wanted).df(), how="left", on=keys)
    if left_out:
        outside = training_frame(features.project(", ".join(map(identifier, (*keys, *left_out)))))
        outcome = learned[[*keys, "target"]].merge(outside, how="left", on=keys)
        bad = outcome["target"].to_numpy(dtype=bool)
        limit = portfolio.training.max_single_feature_auc
        leaks = [name for name in left_out if single_feature_auc(outcome[name], bad)[0] > limit]
        rows = rows.merge(outside[[*keys, *leaks]], how="left", on=keys)
    return rows.drop(columns=keys)
