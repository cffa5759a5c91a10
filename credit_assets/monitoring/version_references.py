"""The references that are stored with a model version and that batches are compared with. `reference.py` defines a
reference."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.features.training_rows import LEARNED, TESTED, training_rows
from credit_assets.features.training_set import training_frame
from credit_assets.features.versions import FEATURES
from credit_assets.lake.sql import identifier
from credit_assets.lake.tables import Lake
from credit_assets.models.model import Model
from credit_assets.monitoring.reference import Reference
from credit_assets.registry.registry import Registry
from credit_assets.registry.version import DRIFT_REFERENCE, POPULATION, ModelVersion

SCORE = "pd"
"""The name of the score in a reference and in the drift table."""


@dataclass(frozen=True)
class VersionReferences:
    """`learned`: the data that a version learned from, with its PDs of `test_rows` rows. `population`: the newest batch
    at its promotion, if the version did not learn from it."""

    learned: Reference
    population: Reference | None
    test_rows: int


def build_references(
    con: duckdb.DuckDBPyConnection, lake: Lake, book: Book, version: ModelVersion, model: Model
) -> VersionReferences:
    """Build the references of a version that is to be promoted."""
    rows = con.sql(training_rows(lake, book.portfolio, version))
    test, learned = training_frame(rows.filter(TESTED)), rows.filter(LEARNED)
    scores = con.from_df(pd.DataFrame({SCORE: model.pd(test)}))
    return VersionReferences(
        Reference.build(learned, model.features, book.portfolio.drift, score=SCORE, scores=scores),
        _population(con, lake, book, model, learned),
        len(test),
    )


def _population(
    con: duckdb.DuckDBPyConnection, lake: Lake, book: Book, model: Model, learned: duckdb.DuckDBPyRelation
) -> Reference | None:
    """The newest batch with the model's PDs; None if the model learned from it, and for the first champion, whose
    training no shift requested."""
    if book.registry.champion() is None:
        return None
    table = book.portfolio.table(FEATURES)
    newest = max(batch for batch, commit in lake.batches(table).items() if commit.provenance.rows)
    if (newest,) in learned.project("batch").distinct().fetchall():
        return None
    rows = con.sql(lake.query(table, [newest]))
    pds = model.pd(training_frame(rows.project(", ".join(map(identifier, model.features)))))
    scores = con.from_df(pd.DataFrame({SCORE: pds}))
    return replace(Reference.build(rows, model.features, book.portfolio.drift, SCORE, scores), batch=newest)


def log_references(registry: Registry, version: ModelVersion, references: VersionReferences) -> None:
    """Store the references with the version."""
    with tempfile.TemporaryDirectory() as folder:
        references.learned.save(Path(folder) / DRIFT_REFERENCE)
        if references.population:
            references.population.save(Path(folder) / POPULATION)
        registry.log(version, {}, {"": Path(folder)})


def read_reference(registry: Registry, version: ModelVersion, file: str) -> Reference:
    """The reference that is stored with the version under this name, DRIFT_REFERENCE or POPULATION.

    Raises RegistryError if it is missing.
    """
    with registry.file(version, file) as path:
        return Reference.load(path)
