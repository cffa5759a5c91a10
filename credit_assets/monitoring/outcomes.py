"""The outcomes of the batches that a model version has scored since its promotion."""

from __future__ import annotations

import duckdb
import pandas as pd

from credit_assets.features.training_rows import training_rows
from credit_assets.features.training_set import known_outcomes_sql
from credit_assets.lake.sql import identifier
from credit_assets.lake.tables import Lake
from credit_assets.registry.version import ModelVersion
from credit_assets.settings.portfolio import Portfolio


def outcomes_before(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    portfolio: Portfolio,
    version: ModelVersion,
    batch: str,
) -> pd.DataFrame:
    """`pd`, `band` and `outcome` of the matured batches before this one that the version scored.

    Batches that the version was made from, older ones, and applicants in its training set are left out. A batch counts
    once it is matured (`training.matured_share`). The rows are ordered by their values, because sums of PDs depend on
    the order.
    """
    training_set = training_rows(lake, portfolio, version)
    taken = {name for (name,) in con.sql(f"SELECT DISTINCT batch FROM ({training_set})").fetchall()}
    tables = [portfolio.table(name) for name in ("scores", portfolio.application_table, portfolio.outcomes_table)]
    written = [lake.batches(table) for table in tables]
    before = [
        name
        for name, commit in written[0].items()
        if min(taken) < name < batch
        and name not in taken
        and commit.provenance.model_version == version.number
        and all(name in batches for batches in written)
    ]
    if not before:
        return pd.DataFrame({"pd": [0.0], "band": [""], "outcome": [0.0]}).head(0)
    scores, applications, outcomes = (f"({lake.query(table, before)})" for table in tables)
    known = known_outcomes_sql(
        applications=applications,
        outcomes=outcomes,
        entity_key=portfolio.entity_key,
        target=portfolio.target,
        matured_share=portfolio.training.matured_share,
    )
    key = identifier(portfolio.entity_key)
    return con.sql(
        f"""
        SELECT scores.pd, scores.band, known.target::DOUBLE AS outcome
        FROM {scores} AS scores
        JOIN ({known}) AS known ON known.{key} = scores.applicant AND known.batch = scores.batch
        WHERE scores.applicant NOT IN (SELECT {key} FROM ({training_set}))
        ORDER BY ALL
        """
    ).df()
