"""Risk over time: PDs and outcomes by batch, and cumulative defaults by months on book (vintage curves)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import numpy as np
import pandas as pd

from credit_assets.features.target import outcome_sql
from credit_assets.features.training_set import TEST
from credit_assets.ingest.dates import EXAMPLES, DateStyle, detect_date_style
from credit_assets.lake.sql import identifier, sql_text
from credit_assets.settings.evaluation import VintageConfig
from credit_assets.settings.target import Target
from credit_assets.statistics.comparison import auc_interval
from credit_assets.statistics.metrics import mean, wilson

HELD_OUT, LEARNED = "held out", "learned from"
"""Kinds of rows besides the test: those with PDs by models of other folds, and those without such PDs."""

SHOWN_MONTHS = 6


def performance_by_batch(candidate: pd.DataFrame, known: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """The candidate's performance on each batch, oldest first, on rows that the predicting model had not learned from.

    `candidate` is the `CandidatePredictions` table; `known` has `batch`, `fold` and `target` of the whole training set.
    A batch that was used for training only (the first of an expanding window) has a default rate and no PD. Columns:
    batch, fold (test, held out or learned from), rows, defaults, default_rate with Wilson's interval, mean_pd, auc with
    DeLong's (nan with fewer than two defaults or non-defaults).
    """
    held_out, all_known = (
        rows.assign(fold=np.where(rows["fold"] == TEST, TEST, HELD_OUT)) for rows in (candidate, known)
    )
    lines = []
    for (batch, fold), rows in all_known.groupby(["batch", "fold"], observed=True):
        predicted = held_out[(held_out["batch"] == batch) & (held_out["fold"] == fold)]
        shown = predicted if len(predicted) else rows
        defaults = int(shown["target"].sum())
        low, high = wilson(defaults, len(shown), confidence)
        lines.append(
            {
                "batch": batch,
                "fold": fold if len(predicted) else LEARNED,
                "rows": len(shown),
                "defaults": defaults,
                "default_rate": defaults / len(shown),
                "default_rate_low": float(low),
                "default_rate_high": float(high),
                "mean_pd": mean(predicted["pd"].to_numpy()),
                **_auc(predicted, confidence),
            }
        )
    return pd.DataFrame(lines)


def vintage_curves(
    connection: duckdb.DuckDBPyConnection,
    applications: str,
    target: Target,
    config: VintageConfig,
    formats: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """The share of each batch's loans that had defaulted by months on book: batch, months_on_book, loans, defaulted.

    `applications` is a SELECT over the raw applications of all batches. A loan that it does not mark as a default
    counts as repaid; a default without a date (nothing was ever paid) belongs to month 0. The curve of a batch ends
    with the month that its youngest loan had reached at the last date of the batch, so that every point includes all of
    its loans. Loans without a readable opening date are left out. `formats` are the date formats of a column, if they
    cannot be detected from its values (`delivery.date_formats`).

    Raises ValueError if a column has no date at all.
    """
    opened, ended = (
        _date(connection, applications, column, (formats or {}).get(column, ()))
        for column in (config.opened, config.defaulted)
    )
    connection.sql(
        f"SELECT batch, {opened} AS opened, {ended} AS ended, coalesce({outcome_sql(target)} = 1, FALSE) AS bad "
        f"FROM ({applications})"
    ).create_view("_dated_loans", replace=True)
    return connection.execute(CURVES).df()


CURVES = """
WITH vintages AS (
    SELECT batch, count(*) AS loans, date_diff('month', max(opened), max(ended)) AS observed
    FROM _dated_loans WHERE opened IS NOT NULL GROUP BY batch
),
months AS (
    SELECT batch, loans, unnest(range(observed + 1)) AS months_on_book FROM vintages
),
defaults AS (
    SELECT batch, greatest(coalesce(date_diff('month', opened, ended), 0), 0) AS months_on_book, count(*) AS defaults
    FROM _dated_loans WHERE opened IS NOT NULL AND bad GROUP BY ALL
)
SELECT
    batch,
    months_on_book,
    loans,
    sum(coalesce(defaults, 0)) OVER (PARTITION BY batch ORDER BY months_on_book) / loans AS defaulted
FROM months LEFT JOIN defaults USING (batch, months_on_book)
ORDER BY batch, months_on_book
"""


def by_age(curves: pd.DataFrame) -> pd.DataFrame:
    """One row per vintage: batch, loans, and the share of loans that had defaulted by 6, 12, ... months on book."""
    shown = curves[(curves["months_on_book"] % SHOWN_MONTHS == 0) & (curves["months_on_book"] > 0)]
    table = shown.pivot(index=["batch", "loans"], columns="months_on_book", values="defaulted")
    return table.rename(columns=lambda month: f"{month} months").reset_index().rename_axis(columns=None)


def _auc(predicted: pd.DataFrame, confidence: float) -> dict[str, float]:
    defaults = int(predicted["target"].sum())
    if min(defaults, len(predicted) - defaults) < 2:
        return {"auc": np.nan, "auc_low": np.nan, "auc_high": np.nan}
    auc = auc_interval(predicted["target"].to_numpy(), predicted["pd"].to_numpy(), confidence)
    return {"auc": auc.value, "auc_low": auc.low, "auc_high": auc.high}


def _date(connection: duckdb.DuckDBPyConnection, applications: str, column: str, formats: Sequence[str]) -> str:
    """SQL for the date in a column of any type; null if there is none. Raises ValueError if no row has one."""
    text = f"trim(CAST({identifier(column)} AS VARCHAR))"
    if formats:
        given = DateStyle(tuple(formats))
        # Matches whole values only, because DuckDB would read a two-digit year as a four-digit one.
        dates = given.sql(f"regexp_extract({text}, {sql_text(f'^{given.pattern}$')})")
        if connection.sql(f"SELECT 1 FROM ({applications}) WHERE {dates} IS NOT NULL LIMIT 1").fetchall():
            return dates
    # Also reached if the column has a date type, because the formats do not match it then.
    reading = detect_date_style(
        connection, f"SELECT DISTINCT {text} AS v FROM ({applications}) WHERE {text} IS NOT NULL"
    )
    if not isinstance(reading, DateStyle):
        why = f"dates in more than one order ({reading})" if reading else f"no date (such as {EXAMPLES}) in any row"
        raise ValueError(f"evaluation.vintage: {column} has {why}. Set its format under delivery.date_formats.")
    return reading.sql(text)
