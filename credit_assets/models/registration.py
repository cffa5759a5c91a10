"""The candidate as a registered version: what it is made from, and whether an equal version exists. Fitting is in
`estimators/`, and the registry keeps the version."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd

from credit_assets.book.book import Book
from credit_assets.features.training_rows import TRAINING_SET
from credit_assets.features.versions import FEATURES
from credit_assets.features.versions import learned_from as features_sql
from credit_assets.lake.tables import Lake
from credit_assets.models.fingerprint import fingerprint
from credit_assets.models.model import Fitted
from credit_assets.models.registered import is_whole
from credit_assets.registry.version import IMPORTANCE, ModelVersion, Origin, Repeat, library_versions


@dataclass(frozen=True)
class TrainingRun:
    """The run that trains: its id and the tables that it has read (`origin`), the first of the runs that it repeats
    (itself, if none), why it was started, and its run in MLflow."""

    origin: Origin
    run_id: str
    root_run: str
    why: str
    mlflow_run: str | None = None


@dataclass(frozen=True)
class Trained:
    """A fitted candidate: the hash of the rows that it learned from, the PD above which it declines, how much it relies
    on each feature, and what the folds are of."""

    fitted: Fitted
    content: str
    cut_off: float
    shares: pd.Series
    folds_of: str


def registered(
    con: duckdb.DuckDBPyConnection, lake: Lake, book: Book, trained: Trained, run: TrainingRun
) -> tuple[ModelVersion, bool]:
    """The version of the model, registered unless an equal version exists; and whether an earlier training had made it.

    A training that was killed and launched again gives the same model, which is one version.
    """
    registry, fitted, config = book.registry, trained.fitted, book.portfolio.training
    mark = fingerprint(fitted.model, facts(con, lake, book, trained, run.origin))
    # One whose files are gone is registered anew.
    if (version := registry.registered_before(mark)) and is_whole(registry, version):
        repeat = Repeat(datetime.now(UTC), run.run_id, run.root_run, run.why, run.origin.tables)
        return version, registry.add_repeat(version, repeat)
    with tempfile.TemporaryDirectory() as folder:
        if fitted.trials is not None:
            fitted.trials.to_csv(Path(folder) / "trials.csv", index=False)
        (Path(folder) / IMPORTANCE).write_text(json.dumps(trained.shares.to_dict()))
        # Split, policy, scorecard, gate: what a score of this model depends on beside the model.
        (Path(folder) / "portfolio.json").write_text(book.portfolio.model_dump_json(indent=1))
        version = registry.register(
            fitted.model,
            replace(
                run.origin,
                root_run=run.root_run,
                content=trained.content,
                fingerprint=mark,
                cut_off=trained.cut_off,
                why=run.why,
            ),
            run_name=config.model,
            params={**fitted.params, "seed": config.seed, **fitted.search, "folds_of": trained.folds_of},
            metrics=fitted.metrics,
            artifacts={"": Path(folder)},
            parent_run=run.mlflow_run,
        )
    return version, False


def facts(
    con: duckdb.DuckDBPyConnection, lake: Lake, book: Book, trained: Trained, origin: Origin
) -> dict[str, object]:
    """What a version is made from besides its model: rows, SQL and libraries, and the PD above which it declines."""
    table = book.portfolio.table(TRAINING_SET)
    return {
        "cut_off": repr(trained.cut_off),
        "learned_from": trained.content,
        "sql": features_sql(con, lake, table, origin.tables[table], book.portfolio.table(FEATURES)),
        "synthetic": origin.synthetic,
        "libraries": library_versions(),
    }
