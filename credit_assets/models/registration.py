"""Registers the candidate: its inputs, and whether an equal version exists. Models are fitted in `estimators/`; the
registry stores the version."""

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
from credit_assets.features.versions import training_sql_versions as features_sql
from credit_assets.lake.tables import Lake
from credit_assets.models.fingerprint import fingerprint
from credit_assets.models.model import Fitted
from credit_assets.models.registered import is_complete
from credit_assets.registry.version import IMPORTANCE, ModelVersion, Origin, Repeat, library_versions


@dataclass(frozen=True)
class TrainingRun:
    """The training run: its id and the tables that it read (`origin`), the first of the runs that it retries (itself if
    none), why it was started, and its MLflow run."""

    origin: Origin
    run_id: str
    root_run: str
    why: str
    mlflow_run: str | None = None


@dataclass(frozen=True)
class Trained:
    """A fitted candidate: the hash of its training rows, the PD above which it declines, its feature importance, and
    what its folds are made of."""

    fitted: Fitted
    content: str
    cut_off: float
    shares: pd.Series
    folds_of: str


def register_candidate(
    con: duckdb.DuckDBPyConnection, lake: Lake, book: Book, trained: Trained, run: TrainingRun
) -> tuple[ModelVersion, bool]:
    """The version of the model, registered unless an equal version exists; and whether this training reproduced it.

    A training that was killed and started again yields the same model, which is one version.
    """
    registry, fitted, config = book.registry, trained.fitted, book.portfolio.training
    mark = fingerprint(fitted.model, facts(con, lake, book, trained, run.origin))
    # A version whose files are missing is registered again.
    if (version := registry.registered_before(mark)) and is_complete(registry, version):
        repeat = Repeat(datetime.now(UTC), run.run_id, run.root_run, run.why, run.origin.tables)
        return version, registry.add_repeat(version, repeat)
    with tempfile.TemporaryDirectory() as folder:
        if fitted.trials is not None:
            fitted.trials.to_csv(Path(folder) / "trials.csv", index=False)
        (Path(folder) / IMPORTANCE).write_text(json.dumps(trained.shares.to_dict()))
        # Everything besides the model that a score depends on: split, policy, scorecard, gate.
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
    """The properties of a version besides its model: rows, SQL, libraries and cut-off."""
    table = book.portfolio.table(TRAINING_SET)
    return {
        "cut_off": repr(trained.cut_off),
        "learned_from": trained.content,
        "sql": features_sql(con, lake, table, origin.tables[table], book.portfolio.table(FEATURES)),
        "synthetic": origin.synthetic,
        "libraries": library_versions(),
    }
