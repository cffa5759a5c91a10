"""The drift of one batch from its model version: measurement, summary and verdicts. `drift.py` measures,
`drift_summary.py` summarises, and `drift_verdicts.py` defines the verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.features.training_rows import TESTED, TRAINING_SET, training_rows
from credit_assets.features.versions import (
    FEATURES,
    changed_sql_files,
    current_sql_versions,
    read_at,
    sql_versions,
    training_sql_versions,
)
from credit_assets.lake.sql import identifier
from credit_assets.lake.tables import Lake
from credit_assets.models.registered import load_model
from credit_assets.monitoring import drift_verdicts
from credit_assets.monitoring.batch_standing import standing
from credit_assets.monitoring.drift import in_both_warnings, known_at_promotion, measure
from credit_assets.monitoring.drift_report import plotted_columns, sample, write_report
from credit_assets.monitoring.drift_summary import (
    DriftSummary,
    missing_moved,
    new_categories,
    summary,
    unusable,
    volume,
)
from credit_assets.monitoring.errors import DeletedVersion, MissingFeatures, NoChampion
from credit_assets.monitoring.version_references import SCORE, read_reference
from credit_assets.registry.registry import Registry
from credit_assets.registry.version import DRIFT_REFERENCE, POPULATION, ModelVersion
from credit_assets.settings.drift import DriftConfig
from credit_assets.verdicts.verdict import Verdict


@dataclass(frozen=True)
class Measured:
    """Drift tables of a batch: `learned` against the version's training data, `since` against the population at its
    promotion (equal to `learned` if there is none), and `milder` with the milder verdict of both."""

    learned: pd.DataFrame
    since: pd.DataFrame
    milder: pd.DataFrame


@dataclass(frozen=True)
class BatchDrift:
    """The drift of a batch's features or score from a version. `summary` summarises the table `summarised`, which for
    the score also has the features."""

    version: ModelVersion
    table: pd.DataFrame
    summarised: pd.DataFrame
    summary: DriftSummary
    verdicts: tuple[Verdict, ...]


def champion_of(registry: Registry) -> ModelVersion:
    """The champion. Raises NoChampion if there is none."""
    found = registry.champion()
    if found is None:
        raise NoChampion(registry.name)
    return found


def measure_against_version(
    registry: Registry, version: ModelVersion, rows: duckdb.DuckDBPyRelation, config: DriftConfig, *, of_score: bool
) -> Measured:
    """The drift of the score or, without `of_score`, of every feature in the version's reference.

    Raises MissingFeatures if the rows lack a feature, and RegistryError if a reference is missing.
    """
    reference = read_reference(registry, version, DRIFT_REFERENCE)
    columns = [SCORE] if of_score else reference.features
    if missing := sorted(set(columns) - set(rows.columns)):
        raise MissingFeatures(version.number, missing)
    learned = measure(reference, rows, config, columns)
    if not registry.has_file(version, POPULATION):
        return Measured(learned, learned, learned)
    population = read_reference(registry, version, POPULATION)
    since = measure(population, rows, config, columns)
    promotion = f"{population.batch}, when version {version.number} was promoted"
    return Measured(learned, since, known_at_promotion(learned, since, promotion))


def drift_of_features(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    book: Book,
    batch: str,
    features: duckdb.DuckDBPyRelation,
    features_version: int,
) -> BatchDrift:
    """The drift of a batch's features (read from this version of their table) against the champion.

    Raises NoChampion, MissingFeatures, or RegistryError.
    """
    version, config = champion_of(book.registry), book.portfolio.drift
    weights = book.registry.importance(version)
    found = measure_against_version(book.registry, version, features, config, of_score=False)
    drift = summary(found.milder, config, weights)
    missing = in_both_warnings(missing_moved(found.learned, config), missing_moved(found.since, config))
    new = in_both_warnings(new_categories(found.learned, config), new_categories(found.since, config))
    batch_standing = standing(con, lake, book.portfolio, version, batch)
    verdicts = (
        as_learned(con, lake, book, version, batch, features_version),
        drift_verdicts.features_drifted(drift, batch_standing),
        drift_verdicts.features_usable(unusable(found.learned, config, weights), batch_standing),
        drift_verdicts.missingness_stable(missing, batch_standing),
        drift_verdicts.no_new_categories(new, batch_standing),
        volume(drift.rows_batch, earlier_volumes(lake, book.portfolio.table(FEATURES), batch), config),
    )
    return BatchDrift(version, found.milder, found.milder, drift, verdicts)


def drift_of_scores(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    book: Book,
    batch: str,
    scores: duckdb.DuckDBPyRelation,
    features_drift: pd.DataFrame,
) -> BatchDrift:
    """The drift of a batch's scores from the version that scored it.

    Raises DeletedVersion if that version is no longer registered, or RegistryError.
    """
    number = int(scores.project("model_version").limit(1).fetchall()[0][0])
    if (version := book.registry.find(number)) is None:
        raise DeletedVersion(book.name, number, batch)
    drift = measure_against_version(book.registry, version, scores, book.portfolio.drift, of_score=True).milder
    both = pd.concat([drift, features_drift])
    summarised = summary(both, book.portfolio.drift, book.registry.importance(version))
    batch_standing = standing(con, lake, book.portfolio, version, batch)
    return BatchDrift(version, drift, both, summarised, (drift_verdicts.scores_drifted(drift, batch_standing),))


def write_drift_report(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    book: Book,
    found: BatchDrift,
    scores: duckdb.DuckDBPyRelation,
    features: duckdb.DuckDBPyRelation,
    page: Path,
    *,
    batch: str,
    synthetic: bool,
) -> None:
    """Write the report that plots the score and the features with the largest shifts against the version's test
    rows."""
    portfolio, config = book.portfolio, book.portfolio.drift
    model = load_model(book.registry, found.version)
    key, columns = portfolio.entity_key, plotted_columns(found.summarised, config)
    test = con.sql(training_rows(lake, portfolio, found.version)).filter(TESTED)
    then = sample(test, [name for name in test.columns if name not in ("target", "fold", "batch")], key)
    then[SCORE] = model.pd(then)
    scored = scores.project(f"applicant AS {identifier(key)}, {SCORE}")
    now = features.set_alias("f").join(scored.set_alias("s"), identifier(key))
    write_report(
        then[columns],
        sample(now, columns, key),
        found.summarised,
        page,
        f"{portfolio.title}: batch {batch} against version {found.version.number}",
        found.summary.message,
        config,
        synthetic,
    )


def as_learned(
    con: duckdb.DuckDBPyConnection, lake: Lake, book: Book, version: ModelVersion, batch: str, features_version: int
) -> Verdict:
    """The verdict on whether the batch's features, in this version of their table, were made by the SQL that the
    `version` learned from."""
    features, training_set = book.portfolio.table(FEATURES), book.portfolio.table(TRAINING_SET)
    learned = training_sql_versions(con, lake, training_set, version.made_from(training_set), features)
    read = read_at(lake.writes, features, batch, features_version)
    made = sql_versions(lake.writes, features, read) if read else {}
    if learned == current_sql_versions(book.queries):
        advice = "The current SQL is the one that it learned from: run `ingest` and `score` for the batch."
    else:
        train = f"`credit-assets train --portfolio {book.name}`"
        advice = f"{train} trains a candidate on the current SQL."
    return drift_verdicts.features_as_learned(changed_sql_files(learned, made), advice, version.number)


def earlier_volumes(lake: Lake, features: str, batch: str) -> list[int]:
    """The number of applicants of each earlier batch, from the commits of the features table."""
    return [commit.provenance.rows for name, commit in lake.batches(features).items() if name < batch]
