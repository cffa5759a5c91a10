"""Finds columns known only after the decision by their names, their dates, and how well they rank the outcomes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import duckdb
import numpy as np
import pandas as pd

from credit_assets.features.combined_leaks import leading_pairs, reproduced_columns
from credit_assets.lake.connections import one_row
from credit_assets.lake.sql import identifier, sql_text
from credit_assets.onboarding import column_names
from credit_assets.onboarding.child_tables import Table
from credit_assets.onboarding.files import Column, Files
from credit_assets.onboarding.outcome import Outcome
from credit_assets.onboarding.wording import BY_NAME, pattern_index
from credit_assets.statistics.column_auc import single_feature_auc

LEAK_AUC = 0.9
"""A column that alone ranks better than this is suspected of leaking; the best legitimate ones stay below 0.8."""

RANKED_ROWS = 50_000
"""Number of sampled rows on which AUCs are measured."""

MAX_PARTS_OF_LEAKS = 10
"""Maximum number of columns that are left out as parts of a leak by a sum, difference, ratio or product."""


def late_columns(
    con: duckdb.DuckDBPyConnection,
    files: Files,
    children: Sequence[Table],
    outcome: Outcome,
    key: str,
    excluded: set[str],
    decided: str | None,
    protected_in: Mapping[str, Mapping[str, str]],
) -> dict[str, str]:
    """Columns that seem to be known only after the decision, each with the reason; none of the `excluded` columns.

    `protected_in` has the protected columns of each child table, which are not examined.
    """
    columns = [column for column in files.columns.values() if column.filled and column.name not in excluded]
    late = {column.name: BY_NAME for column in columns if column.name != decided and is_late_by_name(column.name)}
    if decided:
        late |= _dated_after(con, files, [column for column in columns if column.name not in {decided, *late}], decided)
    values = {column.name: f"({_value_sql(column)})" for column in columns}
    rows, bad = _labelled_sample(con, files.view, values, files.columns[outcome.column].sql, outcome)
    aucs = {name: single_feature_auc(rows[name], bad)[0] for name in rows}
    for name, auc in aucs.items():
        if auc > LEAK_AUC and name not in late:
            late[name] = f"it alone ranks the outcomes with an AUC of {auc:.2f}"
    late |= _parts_of_leaks(rows, bad, aucs, late)
    for child in children:
        if child.parent == "applications":
            late |= _leaking_means(con, files, child, outcome, key, {*late, *protected_in[child.name]})
    return late


def _dated_after(
    con: duckdb.DuckDBPyConnection, files: Files, columns: Sequence[Column], decided: str
) -> dict[str, str]:
    """Columns with dates after the decision, each with the number of such rows."""
    found = {}
    decision = files.columns[decided].date
    for column in columns:
        if decision and column.date:
            [after] = one_row(con, f"SELECT count(*) FILTER ({column.date} > {decision}) FROM {files.view}")
            if after > 0.01 * column.filled:
                found[column.name] = f"later than {decided} in {after:,} rows"
    return found


def _leaking_means(
    con: duckdb.DuckDBPyConnection, files: Files, child: Table, outcome: Outcome, key: str, skipped: set[str]
) -> dict[str, str]:
    """Numbers of a child table whose mean for each applicant ranks the outcomes too well, each with the reason."""
    numbers = {
        column.name: f"avg(try_cast({column.number} AS double))"
        for column in child.columns.values()
        if column.number and column.name not in {key, child.link, *skipped}
    }
    if not numbers:
        return {}
    target, link = identifier(outcome.column), child.columns[key].identity()
    grouped = ", ".join(f"{value} AS {identifier(name)}" for name, value in numbers.items())
    joined = (
        f"(SELECT a.{target} AS _outcome, c.* FROM {files.view} a LEFT JOIN "
        f"(SELECT {link} AS _link, {grouped} FROM {child.files.view} GROUP BY 1) c "
        f"ON {files.columns[key].identity('a')} = _link)"
    )
    means, bad = _labelled_sample(con, joined, {name: identifier(name) for name in numbers}, "_outcome", outcome)
    aucs = {name: single_feature_auc(means[name], bad)[0] for name in means}
    return {
        name: f"its mean in {child.name} alone ranks the outcomes with an AUC of {auc:.2f}"
        for name, auc in aucs.items()
        if auc > LEAK_AUC
    }


def is_late_by_name(column: str) -> bool:
    """Whether the name is that of something that happens after the decision. Counts of earlier problems are history."""
    late = pattern_index(column, column_names.LATE) is not None
    return late and pattern_index(column, (column_names.HISTORY,)) is None


def _parts_of_leaks(
    rows: pd.DataFrame, bad: np.ndarray, aucs: Mapping[str, float], late: Collection[str]
) -> dict[str, str]:
    """Columns to leave out, each with the reason, so that no two or three of the rest reproduce a late column, or rank
    the outcomes too well by a sum, difference, ratio or product. Of a leaking pair or triple, the column with the
    highest AUC of its own is left out."""
    found: dict[str, str] = {}
    hidden = rows[[name for name in rows if name in late]]
    while len(found) < MAX_PARTS_OF_LEAKS:
        left = rows[[name for name in rows if name not in late and name not in found]]
        leaks = [
            leak for leak in reproduced_columns(hidden, left, bad) if leak.auc > LEAK_AUC or len(leak.features) == 1
        ]
        leaks += leading_pairs(left, bad, LEAK_AUC)
        if not leaks:
            break
        for leak in leaks:
            if not set(leak.features) & set(found):
                found[max(leak.features, key=lambda name: aucs[name])] = f"a leak together with others: {leak}"
    return found


def _value_sql(column: Column) -> str:
    if column.number:
        return f"try_cast({column.number} AS double)"
    return f"epoch({column.date})" if column.date else f"cast({column.sql} AS varchar)"


def _labelled_sample(
    con: duckdb.DuckDBPyConnection, source: str, values: Mapping[str, str], target: str, outcome: Outcome
) -> tuple[pd.DataFrame, np.ndarray]:
    """A sample of rows with known outcomes, with the columns given as SQL of their values; and which rows are bad."""
    bad, known = (", ".join(map(sql_text, values)) for values in (outcome.bad, (*outcome.bad, *outcome.good)))
    target = f"cast({target} AS varchar)"
    rows = con.execute(
        f"SELECT {', '.join([f'{target} IN ({bad})', *values.values()])} "
        # DuckDB samples before the WHERE of the same SELECT, and few rows may have a known outcome.
        f"FROM (SELECT * FROM {source} WHERE {target} IN ({known})) USING SAMPLE {RANKED_ROWS} ROWS (reservoir, 1)"
    ).df()
    return rows.iloc[:, 1:].set_axis(list(values), axis=1), rows.iloc[:, 0].to_numpy(dtype=bool)
