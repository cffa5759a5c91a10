"""The verdicts from a batch's outcomes on the version that scored it: whether they agree with its PDs, and whether it
ranks no worse than its predecessor. `performance.py` derives each verdict from rows."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.fairness.attributes import groups
from credit_assets.features.training_rows import LEARNED, TESTED, training_rows
from credit_assets.features.training_set import training_frame
from credit_assets.lake.sql import identifier
from credit_assets.lake.tables import Lake
from credit_assets.models.registered import load_model
from credit_assets.monitoring.batch_standing import Standing, standing
from credit_assets.monitoring.check_names import CALIBRATED_IN_SEGMENTS, NOT_WORSE, PERFORMANCE_HOLDS
from credit_assets.monitoring.outcomes import outcomes_before
from credit_assets.monitoring.performance import (
    calibrated_in_segments,
    enough,
    holds,
    immature,
    is_matured,
    not_worse,
    too_few,
)
from credit_assets.monitoring.segments import leading_features, segment_columns
from credit_assets.monitoring.version_references import read_reference
from credit_assets.registry.champions import predecessor_of
from credit_assets.registry.errors import RegistryError
from credit_assets.registry.version import DRIFT_REFERENCE, ModelVersion
from credit_assets.settings.portfolio import Portfolio
from credit_assets.verdicts.verdict import Verdict, no_verdict


def applicants_of(
    con: duckdb.DuckDBPyConnection, lake: Lake, portfolio: Portfolio, version: ModelVersion, condition: str
) -> np.ndarray:
    """The applicants of the version's training set that satisfy the condition (LEARNED or TESTED)."""
    rows = con.sql(training_rows(lake, portfolio, version)).filter(condition)
    return rows.project(f"{identifier(portfolio.entity_key)} AS applicant").distinct().fetchnumpy()["applicant"]


def outcomes_as_expected(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    book: Book,
    version: ModelVersion,
    batch: str,
    rows: pd.DataFrame,
    features: duckdb.DuckDBPyRelation,
    applicants: pd.DataFrame,
) -> tuple[Verdict, Verdict]:
    """The verdicts on whether the outcomes agree with the PDs, overall and in segments, without applicants that the
    version was tested on. For a batch older than the version's training set, both pass and only describe the batch.

    `rows` are the result of `rows_to_evaluate`; `applicants` have the protected attributes. Raises RegistryError if a
    file of the version is missing.
    """
    portfolio = book.portfolio
    settings, share = portfolio.performance, portfolio.training.matured_share
    batch_standing = standing(con, lake, portfolio, version, batch)
    rows = rows[~rows["applicant"].isin(applicants_of(con, lake, portfolio, version, TESTED))]
    earlier = None
    if batch_standing.is_new and is_matured(rows, share):
        earlier = outcomes_before(con, lake, portfolio, version, batch)
    overall = holds(rows, settings, earlier, share)
    return reported_once(overall, _by_segment(book, version, rows, features, applicants), batch_standing)


def reported_once(overall: Verdict, segmented: Verdict, batch_standing: Standing) -> tuple[Verdict, Verdict]:
    """The two verdicts, such that the second does not warn if the first fails. For a batch that is older than the
    version's training set neither fails; both only describe the batch."""
    if not overall.passed and not segmented.passed:
        message = f"Not a warning, because {PERFORMANCE_HOLDS} fails. {segmented.message}"
        segmented = replace(segmented, passed=True, message=message)
    if batch_standing.kind == "older":
        overall, segmented = (
            found
            if found.passed
            else replace(found, passed=True, message=f"{batch_standing.description} {found.message}")
            for found in (overall, segmented)
        )
    return overall, segmented


def _by_segment(
    book: Book,
    version: ModelVersion,
    rows: pd.DataFrame,
    features: duckdb.DuckDBPyRelation,
    applicants: pd.DataFrame,
) -> Verdict:
    portfolio, registry = book.portfolio, book.registry
    settings, share = portfolio.performance, portfolio.training.matured_share
    known = rows[rows["outcome"].notna()]
    if not enough(known, settings):
        return no_verdict(CALIBRATED_IN_SEGMENTS, "too few outcomes are known.", "warning")
    if not is_matured(rows, share):
        return Verdict(CALIBRATED_IN_SEGMENTS, True, immature(rows, share), severity="warning")
    leading = leading_features(registry.importance(version), features.columns)
    wanted = ", ".join(map(identifier, (portfolio.entity_key, *leading)))
    attributes = groups(applicants, portfolio.protected).set_axis(applicants[portfolio.entity_key])
    by = segment_columns(
        attributes.loc[known["applicant"]].set_axis(known.index),
        features.project(wanted).df().set_index(portfolio.entity_key).loc[known["applicant"]],
        read_reference(registry, version, DRIFT_REFERENCE),
    )
    return calibrated_in_segments(known, by, settings)


def against_predecessor(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    book: Book,
    number: int,
    rows: pd.DataFrame,
    features: duckdb.DuckDBPyRelation,
) -> Verdict:
    """The verdict on whether the version that scored (`number`) ranks `rows` no worse than its predecessor, which a
    rollback would restore."""
    portfolio, registry, key = book.portfolio, book.registry, book.portfolio.entity_key
    # Read once, so that champion and predecessor belong together even if there is a promotion meanwhile.
    moves = registry.history()
    predecessor = predecessor_of(moves, {version.number for version in registry.versions()})
    if predecessor is None:
        return no_verdict(NOT_WORSE, "there is no earlier champion that a rollback would restore.")
    figures = {"predecessor": predecessor}
    if moves[-1].version != number:
        message = f"No verdict: version {number} scored the batch, but version {moves[-1].version} is the champion now."
        return Verdict(NOT_WORSE, True, message, figures)
    version = registry.get(predecessor)
    try:
        model = load_model(registry, version)
    except RegistryError as error:
        return Verdict(NOT_WORSE, True, f"No verdict: {error}", figures)
    if absent := set(model.features) - set(features.columns):
        message = f"No verdict: features that version {predecessor} needs no longer exist, such as {min(absent)}."
        return Verdict(NOT_WORSE, True, message, figures)
    learned = applicants_of(con, lake, portfolio, version, LEARNED)
    unseen = rows[rows["outcome"].notna() & ~rows["applicant"].isin(learned)]
    if not enough(unseen, portfolio.performance):
        few = too_few(NOT_WORSE, unseen, portfolio.performance)
        return replace(few, figures={**few.figures, **figures})
    known = con.from_df(unseen[["applicant"]]).project(f"applicant AS {identifier(key)}")
    wanted = ", ".join(map(identifier, (key, *model.features)))
    frame = training_frame(features.join(known, identifier(key)).project(wanted))
    verdict = not_worse(unseen, pd.Series(model.pd(frame), index=frame[key]), portfolio.performance)
    return replace(verdict, figures={**verdict.figures, **figures})
