"""The performance of one batch's scores: the rows to evaluate, the figures, and the verdicts. `performance.py` defines
the figures, `outcome_verdicts.py` the verdicts."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.features.target import outcome_sql
from credit_assets.features.training_rows import LEARNED
from credit_assets.features.versions import FEATURES
from credit_assets.lake.sql import identifier
from credit_assets.lake.tables import Lake
from credit_assets.monitoring.check_names import CALIBRATED_IN_SEGMENTS, NOT_WORSE, PERFORMANCE_HOLDS
from credit_assets.monitoring.errors import OtherApplicants
from credit_assets.monitoring.outcome_verdicts import against_predecessor, applicants_of, outcomes_as_expected
from credit_assets.monitoring.performance import performance_table, rows_to_evaluate
from credit_assets.verdicts.verdict import Verdict, no_verdict


@dataclass(frozen=True)
class ScoredBatch:
    """The tables of one batch that has been scored."""

    name: str
    scores: duckdb.DuckDBPyRelation
    features: duckdb.DuckDBPyRelation
    applications: duckdb.DuckDBPyRelation
    outcomes: duckdb.DuckDBPyRelation


@dataclass(frozen=True)
class BatchPerformance:
    """The evaluated `rows`, the figures (`table`) and the verdicts on the version that scored the batch (`number`):
    whether outcomes agree with the PDs, overall and in segments, and whether the predecessor would have ranked
    better."""

    number: int
    rows: pd.DataFrame
    table: pd.DataFrame
    verdicts: tuple[Verdict, Verdict, Verdict]


def performance_of(con: duckdb.DuckDBPyConnection, lake: Lake, book: Book, batch: ScoredBatch) -> BatchPerformance:
    """The performance of the batch's scores. Raises OtherApplicants or RegistryError."""
    portfolio = book.portfolio
    key, outcome = identifier(portfolio.entity_key), outcome_sql(portfolio.target)
    decided = batch.scores.project("applicant, pd, band, model_version").df()
    for table, rows_of_table in ((FEATURES, batch.features), (portfolio.application_table, batch.applications)):
        keys = rows_of_table.project(key).df()[portfolio.entity_key]
        refuse_other_applicants(decided["applicant"], keys, table, batch.name)
    number = int(decided["model_version"].iloc[0])
    columns = dict.fromkeys([portfolio.entity_key, *(group.column for group in portfolio.protected.values())])
    applicants = batch.applications.project(f"{', '.join(map(identifier, columns))}, {outcome} AS outcome").df()
    version = book.registry.find(number)
    rows = rows_to_evaluate(
        decided[["applicant", "pd", "band"]],
        applicants[[portfolio.entity_key, "outcome"]],
        batch.outcomes.project(f"{key}, {outcome}").df(),
        # It is unknown what a deleted version learned from, so no row is evaluated.
        decided["applicant"].to_numpy() if version is None else applicants_of(con, lake, portfolio, version, LEARNED),
    )
    table = performance_table(rows, number, portfolio.performance, portfolio.training.matured_share)
    if version is None:
        reason = f"version {number} is no longer registered."
        verdicts = (
            no_verdict(PERFORMANCE_HOLDS, reason),
            no_verdict(CALIBRATED_IN_SEGMENTS, reason, "warning"),
            no_verdict(NOT_WORSE, reason),
        )
    else:
        verdicts = (
            *outcomes_as_expected(con, lake, book, version, batch.name, rows, batch.features, applicants),
            against_predecessor(con, lake, book, number, rows, batch.features),
        )
    return BatchPerformance(number, rows, table, verdicts)


def refuse_other_applicants(scored: pd.Series, present: pd.Series, table: str, batch: str) -> None:
    """Raise OtherApplicants if scored applicants are not in this table of their batch."""
    if missing := int((~scored.isin(present)).sum()):
        raise OtherApplicants(missing, table, batch)
