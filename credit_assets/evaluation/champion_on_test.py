"""The champion's PDs of the rows that a candidate is tested on. `test_results.py` compares the models."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from logging import Logger

import duckdb
import numpy as np
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.evaluation.gate import NO_CHAMPION
from credit_assets.features.training_rows import LEARNED, TRAINING_SET, training_rows
from credit_assets.features.training_set import TEST, training_frame
from credit_assets.features.versions import FEATURES, commits_made_by, training_sql_versions
from credit_assets.lake.sql import identifier
from credit_assets.lake.tables import Lake
from credit_assets.models.registered import load_model
from credit_assets.registry.errors import VersionDamaged
from credit_assets.registry.version import ModelVersion
from credit_assets.settings.portfolio import Portfolio

PREDICTIONS = "predictions"
"""The table with the PDs of the candidate and the models that it is compared with."""

LISTED = 5
"""Missing features that the gate names."""


def champion_number(lake: Lake, portfolio: Portfolio) -> int | None:
    """The version of the champion that the current predictions compare the candidate with, 0 if there was none; None
    if an earlier release made them."""
    made = (commit.provenance for commit in lake.history(portfolio.table(PREDICTIONS)))
    # A commit that only merged files has no batch, not even an empty one.
    return next((each.champion_version for each in made if each.batch is not None), None)


def compared_champion(lake: Lake, book: Book) -> ModelVersion | None:
    """The champion that the current predictions compare the candidate with, even if another one decides now."""
    number = champion_number(lake, book.portfolio)
    return book.registry.champion() if number is None else book.registry.find(number)


def champion_pds(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    book: Book,
    champion: ModelVersion | None,
    rows: pd.DataFrame,
    training_set: duckdb.DuckDBPyRelation,
    log: Logger,
) -> pd.Series:
    """The champion's PDs of the rows, in their order. They are nan without a champion, if it uses features that no
    longer exist or are excluded, and for rows that it cannot be evaluated on (`new_to_champion`)."""
    test_rows = training_set.filter(f"fold = '{TEST}'")
    if (scored := _scored_by_champion(con, lake, book, champion, test_rows, log)) is None:
        return pd.Series(float("nan"), index=rows.index)
    pds = scored.rename(columns={book.portfolio.entity_key: "applicant", "pd": "champion"}).drop(columns="fold")
    found = rows[["applicant", "batch"]].merge(pds, how="left", on=["applicant", "batch"])["champion"]
    return found.where(new_to_champion(con, lake, book, champion, rows))


def champion_on(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    book: Book,
    champion: ModelVersion | None,
    tested: pd.DataFrame,
    training_set: duckdb.DuckDBPyRelation,
    log: Logger,
) -> pd.DataFrame | None:
    """The champion's PDs of the training rows and of those `tested` rows that it is compared on, with the columns
    applicant, batch, fold and pd; None if there is no champion."""
    if (scored := _scored_by_champion(con, lake, book, champion, training_set, log)) is None:
        return None
    scored = scored.rename(columns={book.portfolio.entity_key: "applicant"})
    left_out = tested.loc[tested["champion"].isna(), ["applicant", "batch"]]
    return scored[~_is_among(scored, left_out)]


def reason_not_compared(book: Book, version: ModelVersion | None, columns: Collection[str]) -> str:
    """Why a candidate is not compared with the champion, which has no PDs of the test rows; `columns` are those of the
    training set."""
    if version is None:
        return NO_CHAMPION
    champion, after = f"The champion, version {version.number},", ""
    try:
        missing = sorted(set(load_model(book.registry, version).features) - set(columns))
    except VersionDamaged:
        why = "cannot be compared, because its model files are missing or damaged"
        after = ", and a candidate that meets them replaces it"
    else:
        if missing:
            more = f" and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
            listed = ", ".join(missing[:LISTED])
            why = f"cannot be compared, because its features {listed}{more} no longer exist or are excluded"
        else:
            why = "learned from all or too many of these test rows, so it cannot be compared on them"
    return f"{champion} {why}. The other requirements apply as if there were no champion{after}."


def new_to_champion(
    con: duckdb.DuckDBPyConnection, lake: Lake, book: Book, champion: ModelVersion | None, rows: pd.DataFrame
) -> np.ndarray:
    """A mask of the test rows (applicant, batch, target) that the champion can be evaluated on: those that it did not
    learn from, or none if too few defaults or non-defaults remain."""
    portfolio = book.portfolio
    if champion is None:
        return np.ones(len(rows), dtype=bool)
    key, rows_then = identifier(portfolio.entity_key), training_rows(lake, portfolio, champion)
    learned = con.sql(f"SELECT {key} AS applicant, batch FROM ({rows_then}) WHERE {LEARNED}").df()
    new = ~_is_among(rows, learned)
    defaults = rows.loc[new, "target"].sum()
    enough = min(defaults, new.sum() - defaults) >= portfolio.evaluation.gate.min_defaults
    return new if enough or new.all() else np.zeros(len(rows), dtype=bool)


def _is_among(rows: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    """A mask of the rows that are also among the others, by applicant and batch (which a different split does not
    change)."""
    keys = ["applicant", "batch"]
    return pd.MultiIndex.from_frame(rows[keys]).isin(pd.MultiIndex.from_frame(others[keys]))


def _scored_by_champion(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    book: Book,
    version: ModelVersion | None,
    rows: duckdb.DuckDBPyRelation,
    log: Logger,
) -> pd.DataFrame | None:
    """Entity key, batch, fold and the champion's PD (`pd`) for these rows of the training set; None if there is no
    champion, if it cannot be loaded, or if it uses features that do not exist."""
    portfolio = book.portfolio
    if version is None:
        return None
    try:
        model = load_model(book.registry, version)
    except VersionDamaged as error:
        # Without this, a damaged champion could never be replaced.
        log.warning(f"{error} The candidate is not compared with it.")
        return None
    about = [portfolio.entity_key, "batch", "fold"]
    # The champion must not benefit from features that have been forbidden or excluded since.
    if not set(model.features) <= set(rows.columns):
        return None
    read = _with_features_as_learned(con, lake, portfolio, rows, about, version)
    frame = training_frame(read.project(", ".join(map(identifier, (*about, *model.features)))))
    return frame[about].assign(pd=model.pd(frame))


def _with_features_as_learned(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    portfolio: Portfolio,
    rows: duckdb.DuckDBPyRelation,
    about: Sequence[str],
    version: ModelVersion,
) -> duckdb.DuckDBPyRelation:
    """The rows with the columns `about` and the features as the model learned them, if the lake has them for all
    batches; otherwise with the features of the current SQL, on which the model would continue to decide."""
    features, training_set = portfolio.table(FEATURES), portfolio.table(TRAINING_SET)
    learned = training_sql_versions(con, lake, training_set, version.made_from(training_set), features)
    batches = sorted(batch for (batch,) in rows.project("batch").distinct().fetchall())
    writes = cache(lake.writes)
    versions = {}
    for batch in batches:
        made = (commit.version for commit in commits_made_by(writes, features, batch, learned))
        versions[batch] = next((version for version in made if lake.readable(features, batch, version)), None)
    if None in versions.values() or all(versions[batch] == writes(features)[batch][0].version for batch in batches):
        return rows
    before = " UNION ALL ".join(lake.query(features, [batch], version) for batch, version in versions.items())
    rows.project(", ".join(map(identifier, about))).create_view("_tested", replace=True)
    key = identifier(portfolio.entity_key)
    return con.sql(f"SELECT * FROM _tested JOIN ({before}) USING ({key}, batch)")
