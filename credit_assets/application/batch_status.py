"""The status of one batch, read from the lake, as `credit-assets status` shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import duckdb
from pydantic import BaseModel, ConfigDict

from credit_assets.application.json_times import JsonTime
from credit_assets.automation.pending import (
    FEATURE_DRIFT,
    PERFORMANCE,
    SCORE_DRIFT,
    SCORES,
    outcomes_known,
)
from credit_assets.decisions.policy import APPROVE
from credit_assets.features.target import outcome_sql
from credit_assets.features.versions import FEATURES
from credit_assets.lake.connections import connect
from credit_assets.lake.log import Commit
from credit_assets.lake.sql import identifier
from credit_assets.lake.tables import Lake
from credit_assets.monitoring.batch_standing import standing
from credit_assets.monitoring.drift_summary import summary
from credit_assets.registry.version import ModelVersion
from credit_assets.schemas.performance import ALL, ESTIMATE
from credit_assets.settings.portfolio import Portfolio

TABLES = (FEATURES, FEATURE_DRIFT, SCORES, SCORE_DRIFT, PERFORMANCE)
"""The tables that are read for a batch besides its raw tables."""


class BatchStatus(BaseModel):
    """One batch: rows, decisions, drift of features and score, and outcomes. A value is None if it does not exist yet.

    `default_rate` and `mean_pd` refer to the applicants with a known outcome; without outcomes, `mean_pd` refers to
    all. `auc` refers to those that the version did not learn from. `early`: the batch has not matured, so its default
    rate is too high, because defaults become known first. `standing`: how the version that the features were checked
    against used the batch.
    """

    model_config = ConfigDict(frozen=True)

    batch: str
    delivered: bool
    synthetic: bool
    applicants: int | None
    raw_rows: dict[str, int]
    ingested_at: JsonTime | None
    scored_at: JsonTime | None
    outcomes_known: int | None = None
    approval_rate: float | None = None
    feature_drift: str | None = None
    standing: Literal["learned", "tested", "older", "new"] | None = None
    score_drift: str | None = None
    score_psi: float | None = None
    default_rate: float | None = None
    mean_pd: float | None = None
    auc: float | None = None
    early: bool | None = None


def batch_status(
    portfolio: Portfolio,
    lake: Lake,
    versions: Mapping[int, ModelVersion],
    importance: Callable[[int], Mapping[str, float] | None],
    batch: str,
    delivered: bool,
    written: Mapping[str, Mapping[str, Commit]],
) -> BatchStatus:
    """The status of one batch.

    `versions` are the registered versions by number, `importance` returns the feature importances of a version, and
    `written` has the newest commit of each batch, by table.
    """
    commits = {table: of_table[batch] for table, of_table in written.items() if batch in of_table}
    rows = {table: commit.provenance.rows for table, commit in commits.items()}
    figures: dict[str, Any] = {}
    with connect() as con:

        def query(sql: str, *tables: str) -> tuple[Any, ...] | None:
            if not all(table in commits for table in tables):
                return None
            sources = [f"({lake.query(portfolio.table(table), [batch])})" for table in tables]
            return con.execute(sql.format(*sources)).fetchone()

        applications, outcomes = portfolio.application_table, portfolio.outcomes_table
        if applications in commits and outcomes in commits:
            known = figures["outcomes_known"] = outcomes_known(portfolio, lake, batch)
            if known:
                figures["early"] = known < portfolio.training.matured_share * rows[applications]
        if found := query(f"SELECT avg((decision = '{APPROVE}')::INT), avg(pd) FROM {{0}}", SCORES):
            figures["approval_rate"], figures["mean_pd"] = found
        if found := query("SELECT psi, verdict FROM {0} LIMIT 1", SCORE_DRIFT):
            figures["score_psi"], figures["score_drift"] = found
        if FEATURE_DRIFT in commits:
            figures |= _feature_drift(con, portfolio, lake, versions, importance, commits[FEATURE_DRIFT], batch)
        key, target = identifier(portfolio.entity_key), portfolio.target
        if found := query(
            "SELECT avg(outcome), avg(pd) FROM (SELECT s.pd, "
            f"coalesce({outcome_sql(target, 'o')}, {outcome_sql(target, 'a')}) AS outcome FROM {{0}} s JOIN {{1}} a "
            f"ON a.{key} = s.applicant LEFT JOIN {{2}} o ON o.{key} = s.applicant) WHERE outcome IS NOT NULL",
            *(SCORES, applications, outcomes),
        ):
            rate, mean = found
            if rate is not None:
                figures["default_rate"], figures["mean_pd"] = rate, mean
        measured = f"metric = 'auc' AND segment = '{ALL}' AND basis <> '{ESTIMATE}'"
        if found := query(f"SELECT value FROM {{0}} WHERE {measured}", PERFORMANCE):
            figures["auc"] = found[0]
    return BatchStatus(
        batch=batch,
        delivered=delivered,
        synthetic=any(commit.provenance.synthetic for commit in commits.values()),
        applicants=rows.get(portfolio.application_table),
        raw_rows={table: rows[table] for table in portfolio.tables if table in rows},
        ingested_at=_time_of(commits.get(portfolio.application_table)),
        scored_at=_time_of(commits.get(SCORES)),
        **figures,
    )


def _feature_drift(
    con: duckdb.DuckDBPyConnection,
    portfolio: Portfolio,
    lake: Lake,
    versions: Mapping[int, ModelVersion],
    importance: Callable[[int], Mapping[str, float] | None],
    made: Commit,
    batch: str,
) -> dict[str, Any]:
    """The verdict on the drift of the batch's features, and how the version that they were checked against used the
    batch."""
    drift = con.sql(lake.query(portfolio.table(FEATURE_DRIFT), [batch])).df()
    number = made.provenance.model_version
    if number is None or number not in versions:
        return {"feature_drift": summary(drift, portfolio.drift).verdict}
    used = standing(con, lake, portfolio, versions[number], batch)
    return {"feature_drift": summary(drift, portfolio.drift, importance(number)).verdict, "standing": used.kind}


def _time_of(commit: Commit | None) -> datetime | None:
    return datetime.fromtimestamp(commit.timestamp_ms / 1000, UTC) if commit else None
